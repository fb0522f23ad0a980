//! The counters of container terminations: per workload, so that they outlive the pod.
//!
//! A row leaves [`IDLE`] after its last termination; a workload that goes on to fail keeps its rows for ever. Bounded by the
//! number of workloads and containers, not of pods.
//!
//! Pure: must not know how ends are found, nor read a clock.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{End, EndReason};
use super::changes::Changes;
use super::store::Home;
use crate::diagnosis::ContainerType;

/// How long the counters of a container without a termination are kept.
pub const IDLE: SignedDuration = SignedDuration::from_hours(24);

/// How often each of [`EndReason::ALL`] has occurred.
pub type ByReason = [u64; EndReason::ALL.len()];

/// Whose terminations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Of {
    /// Namespace and workload.
    pub home: Arc<Home>,
    /// The container's name.
    pub container: Box<str>,
    /// Its kind.
    pub container_type: ContainerType,
}

/// The terminations of one container over all pods of its workload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    by_reason: ByReason,
    last: Timestamp,
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub struct Terminations {
    rows: HashMap<Arc<Of>, Row>,
    /// Of the rows, those included that are gone.
    changes: Changes<Arc<Of>>,
    swept: Option<Timestamp>,
}

impl Terminations {
    /// Books an end.
    pub fn add(&mut self, home: &Arc<Home>, end: &End<'_>, now: Timestamp) {
        let of = Of {
            home: Arc::clone(home),
            container: end.container.into(),
            container_type: end.container_type,
        };
        let (of, row) = match self.rows.entry(Arc::new(of)) {
            Entry::Occupied(row) => (Arc::clone(row.key()), row.into_mut()),
            Entry::Vacant(row) => {
                (Arc::clone(row.key()), row.insert(Row { by_reason: ByReason::default(), last: now }))
            }
        };
        row.last = row.last.max(now);
        if let Some(count) = row.by_reason.get_mut(end.reason as usize) {
            *count += u64::from(end.times);
        }
        self.changes.note(of, self.rows.len());
    }

    /// Every container with its terminations by reason; reasons that never occurred are left out. In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Of>, impl Iterator<Item = (EndReason, u64)>)> {
        self.rows.iter().map(|(of, row)| {
            let reasons = EndReason::ALL.into_iter().zip(row.by_reason);
            (of, reasons.filter(|(_, count)| *count > 0))
        })
    }

    /// The rows as they changed, each as one and the same thing for as long as it is there.
    pub fn changes(&self) -> &Changes<Arc<Of>> {
        &self.changes
    }

    /// The counts of a row; none if it is gone, even if another one has come of the same container.
    pub fn get(&self, of: &Arc<Of>) -> Option<&ByReason> {
        let (is, row) = self.rows.get_key_value(of)?;
        Arc::ptr_eq(is, of).then_some(&row.by_reason)
    }

    /// Lets go of what is idle. Cheap to call often: it looks once in ten minutes.
    pub fn sweep(&mut self, now: Timestamp) {
        let every = SignedDuration::from_mins(10);
        if self.swept.is_some_and(|at| now.duration_since(at) < every) {
            return;
        }
        self.swept = Some(now);
        let idle = self.rows.extract_if(|_, row| now.duration_since(row.last) >= IDLE);
        let idle: Vec<_> = idle.map(|(of, _)| of).collect();
        idle.into_iter().for_each(|of| self.changes.note(of, self.rows.len()));
    }

    /// All terminations of a reason.
    pub fn total(&self, reason: EndReason) -> u64 {
        self.rows.values().filter_map(|row| row.by_reason.get(reason as usize)).sum()
    }
}
