//! Looks again whenever something has changed: `diagnose --watch`.

use jiff::Timestamp;
use kube::Client;
use tokio::time::{Duration, Instant};

use super::watching::{View, Watching};
use super::{Clock, CouldNotLook, OWNERS};
use crate::diagnosis::Snapshot;
use crate::objects::Revision;
use crate::select::{Kind, RevisionsThatMatter, revisions_that_matter};

/// How long the first lists may take before it says why nothing is shown.
const FIRST: Duration = Duration::from_secs(30);

/// What there is to see at one instant.
pub struct Seen {
    pub snapshot: Snapshot,
    pub now: Timestamp,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

/// One look after another.
pub struct Looks<'c> {
    watching: Watching<'c>,
    clock: Clock,
    begun: Instant,
    is_first: bool,
    /// The revisions that were read, and which were wanted.
    revisions: (RevisionsThatMatter, Vec<Revision>),
}

impl<'c> Looks<'c> {
    /// Watches this namespace; all of them if there is none.
    pub fn new(client: &'c Client, namespace: Option<&str>, clock: Clock) -> Self {
        let namespaces: Vec<String> = namespace.map(str::to_owned).into_iter().collect();
        let watching = Watching::new(client, &namespaces, &[OWNERS, &[Kind::Claim]].concat());
        Self { watching, clock, begun: Instant::now(), is_first: true, revisions: Default::default() }
    }

    /// The next look: at once for the first one, else when something has changed or after a second.
    pub async fn next(&mut self, mut narrow: impl FnMut(&mut Snapshot)) -> Result<Seen, CouldNotLook> {
        loop {
            let far = Instant::now() + FIRST;
            if !std::mem::take(&mut self.is_first) {
                self.watching.pause(far).await;
            }
            let view = self.watching.view(&self.clock, &mut narrow, &self.revisions.1, far).await?;
            let Some(View { mut seen, survey, now }) = view else {
                match self.watching.store.trouble() {
                    Some((why, _)) if self.begun.elapsed() >= FIRST => {
                        return Err(CouldNotLook {
                            what: format!("cannot watch pods: {why}"),
                            hint: String::new(),
                        });
                    }
                    _ => continue,
                }
            };
            let wanted = revisions_that_matter(&survey, &seen.snapshot);
            if wanted != self.revisions.0 {
                let read = self.watching.revisions(wanted.clone()).await;
                seen.snapshot.revisions.clone_from(&read);
                self.revisions = (wanted, read);
            }
            return Ok(Seen { snapshot: seen.snapshot, now, notes: self.watching.notes() });
        }
    }
}
