//! The counters of container terminations: per workload, so that they outlive the pod.
//!
//! A row leaves [`IDLE`] after its last termination; a workload that goes on to fail keeps its rows for ever. Bounded by the
//! number of workloads and containers, not of pods.
//!
//! Pure: must not know how ends are found, nor read a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{End, EndReason};
use super::changes::Changes;
use super::store::{Beside, Home};
use crate::diagnosis::ContainerType;

/// How long the counters of a container without a termination are kept.
pub const IDLE: SignedDuration = SignedDuration::from_hours(24);

/// The terminations of one container over all pods of its workload. Whoever holds it sees them change.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// Namespace and workload.
    pub home: Arc<Home>,
    /// The container's name.
    pub container: Box<str>,
    /// Its kind.
    pub container_type: ContainerType,
    by_reason: Beside<[AtomicU64; EndReason::ALL.len()]>,
}

impl Ended {
    /// How often each reason has occurred; those that never did are left out. All are, once it is idle.
    pub fn by_reason(&self) -> impl Iterator<Item = (EndReason, u64)> {
        let counts = self.by_reason.0.iter().map(|count| count.load(Relaxed));
        EndReason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Terminations {
    /// With the time of the last.
    rows: HashMap<Arc<Ended>, Timestamp>,
    /// Of the rows, those included that are gone.
    changes: Changes<Arc<Ended>>,
    swept: Option<Timestamp>,
}

impl Terminations {
    /// Books an end.
    pub fn add(&mut self, home: &Arc<Home>, end: &End<'_>, now: Timestamp) {
        let ended = Ended {
            home: Arc::clone(home),
            container: end.container.into(),
            container_type: end.container_type,
            by_reason: Beside::default(),
        };
        let row = self.rows.entry(Arc::new(ended));
        let ended = Arc::clone(row.key());
        let last = row.or_insert(now);
        *last = now.max(*last);
        if let Some(count) = ended.by_reason.0.get(end.reason as usize) {
            count.fetch_add(end.times.into(), Relaxed);
        }
        self.changes.note(ended, self.rows.len());
    }

    /// Every container with terminations, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Ended>> {
        self.rows.keys()
    }

    /// The rows as they changed, each as one and the same thing for as long as it is there.
    pub fn changes(&self) -> &Changes<Arc<Ended>> {
        &self.changes
    }

    /// Lets go of what is idle. Cheap to call often: it looks once in ten minutes.
    pub fn sweep(&mut self, now: Timestamp) {
        let every = SignedDuration::from_mins(10);
        if self.swept.is_some_and(|at| now.duration_since(at) < every) {
            return;
        }
        self.swept = Some(now);
        let idle = self.rows.extract_if(|_, last| now.duration_since(*last) >= IDLE);
        let idle: Vec<_> = idle.map(|(ended, _)| ended).collect();
        for ended in idle {
            ended.by_reason.0.iter().for_each(|count| count.store(0, Relaxed));
            self.changes.note(ended, self.rows.len());
        }
    }

    /// All terminations of a reason.
    pub fn total(&self, reason: EndReason) -> u64 {
        self.iter().flat_map(|ended| ended.by_reason()).filter(|(r, _)| *r == reason).map(|(_, n)| n).sum()
    }
}
