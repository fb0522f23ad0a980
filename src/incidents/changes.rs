//! Which incidents have changed of late, by a version that rises with each change: for readers that ask for differences.
//!
//! Pure: must not know who reads it.

use std::collections::VecDeque;

use super::incident::IncidentId;

/// Changes that are kept.
const KEPT: usize = 100;

kubehealer_core::words! {
    /// What changed about an incident, for somebody who shows it.
    pub enum Change {
        Opened = "opened",
        /// Anything that is shown of it.
        Updated = "updated",
        Resolved = "resolved",
    }
}

#[derive(Debug, Default)]
pub struct Changes {
    version: u64,
    /// The newest one last.
    recent: VecDeque<(IncidentId, Change)>,
}

impl Changes {
    /// Rises by one with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The changes after a version, oldest first, as far as they are kept.
    pub fn since(&self, version: u64) -> impl Iterator<Item = (IncidentId, Change)> {
        let wanted = usize::try_from(self.version.saturating_sub(version)).unwrap_or(usize::MAX);
        self.recent.iter().skip(self.recent.len().saturating_sub(wanted)).copied()
    }

    pub(super) fn note(&mut self, id: IncidentId, change: Change) {
        self.version += 1;
        if self.recent.len() >= KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back((id, change));
    }
}
