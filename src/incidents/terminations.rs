//! The counters of container terminations: per workload, so that they outlive the pod.
//!
//! A row leaves [`IDLE`] after its last termination; a workload that goes on to fail keeps its rows for ever. Bounded by the
//! number of workloads and containers, not of pods.
//!
//! Pure: must not know how ends are found, nor read a clock.

use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{End, EndReason};
use super::store::Home;
use crate::diagnosis::ContainerType;

/// How long the counters of a container without a termination are kept.
pub const IDLE: SignedDuration = SignedDuration::from_hours(24);

const REASONS: usize = EndReason::ALL.len();

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
    by_reason: [u64; REASONS],
    last: Timestamp,
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub struct Terminations {
    rows: HashMap<Arc<Of>, Row>,
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
        let row = self.rows.entry(Arc::new(of)).or_insert(Row { by_reason: [0; REASONS], last: now });
        row.last = row.last.max(now);
        if let Some(count) = row.by_reason.get_mut(end.reason as usize) {
            *count += u64::from(end.times);
        }
    }

    /// Every container with its terminations by reason; reasons that never occurred are left out. In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Of>, impl Iterator<Item = (EndReason, u64)>)> {
        self.rows.iter().map(|(of, row)| {
            let reasons = EndReason::ALL.into_iter().zip(row.by_reason);
            (of, reasons.filter(|(_, count)| *count > 0))
        })
    }

    /// A copy to be written from at leisure, in no order: counts in the order of [`EndReason::ALL`].
    pub fn snapshot(&self) -> Vec<(Arc<Of>, [u64; REASONS])> {
        self.rows.iter().map(|(of, row)| (Arc::clone(of), row.by_reason)).collect()
    }

    /// Lets go of what is idle. Cheap to call often: it looks once in ten minutes.
    pub fn sweep(&mut self, now: Timestamp) {
        let every = SignedDuration::from_mins(10);
        if self.swept.is_some_and(|at| now.duration_since(at) < every) {
            return;
        }
        self.swept = Some(now);
        self.rows.retain(|_, row| now.duration_since(row.last) < IDLE);
    }

    /// All terminations of a reason.
    pub fn total(&self, reason: EndReason) -> u64 {
        self.rows.values().filter_map(|row| row.by_reason.get(reason as usize)).sum()
    }
}
