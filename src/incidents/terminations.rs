//! The counters of container terminations: per workload, so that they outlive the pod.
//!
//! A row leaves [`IDLE`] after its last termination; a workload that goes on to fail keeps its rows for ever. Bounded by the
//! number of workloads and containers, not of pods.
//!
//! Pure: must not know how ends are found, nor read a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{End, EndReason};
use super::store::Home;
use crate::diagnosis::ContainerType;

/// How long the counters of a container without a termination are kept.
pub const IDLE: SignedDuration = SignedDuration::from_hours(24);

/// The terminations of one container over all pods of its workload.
#[derive(Debug)]
pub struct Ended {
    /// Namespace and workload.
    pub home: Arc<Home>,
    /// The container's name.
    pub container: Arc<str>,
    /// Its kind.
    pub container_type: ContainerType,
    by_reason: [u64; EndReason::ALL.len()],
    last: Timestamp,
}

impl Ended {
    /// How often each reason has occurred; those that never did are left out.
    pub fn by_reason(&self) -> impl Iterator<Item = (EndReason, u64)> {
        EndReason::ALL.into_iter().zip(self.by_reason).filter(|(_, count)| *count > 0)
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Terminations {
    /// In the order of their first terminations.
    rows: BTreeMap<u64, Ended>,
    places: HashMap<(Arc<Home>, Arc<str>, ContainerType), u64>,
    next_place: u64,
    swept: Option<Timestamp>,
}

impl Terminations {
    /// Counts a termination.
    pub fn add(&mut self, home: &Arc<Home>, end: &End<'_>, now: Timestamp) {
        let key = (Arc::clone(home), Arc::from(end.container), end.container_type);
        let place = *self.places.entry(key).or_insert_with_key(|(home, container, container_type)| {
            let row = Ended {
                home: Arc::clone(home),
                container: Arc::clone(container),
                container_type: *container_type,
                by_reason: [0; EndReason::ALL.len()],
                last: now,
            };
            self.next_place += 1;
            self.rows.insert(self.next_place - 1, row);
            self.next_place - 1
        });
        let Some(row) = self.rows.get_mut(&place) else { return };
        row.last = now.max(row.last);
        if let Some(count) = row.by_reason.get_mut(end.reason as usize) {
            *count += u64::from(end.times);
        }
    }

    /// Every container with terminations, in the order of their first ones.
    pub fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.rows.values()
    }

    /// The same from a place on, each with its place.
    pub fn from(&self, place: u64) -> impl Iterator<Item = (u64, &Ended)> {
        self.rows.range(place..).map(|(place, row)| (*place, row))
    }

    /// The place that the next new row will have.
    pub fn next_place(&self) -> u64 {
        self.next_place
    }

    /// Removes what is idle. Cheap to call often: it looks once in ten minutes.
    pub fn sweep(&mut self, now: Timestamp) {
        let every = SignedDuration::from_mins(10);
        if self.swept.is_some_and(|at| now.duration_since(at) < every) {
            return;
        }
        self.swept = Some(now);
        self.rows.retain(|_, row| now.duration_since(row.last) < IDLE);
        let Self { rows, places, .. } = self;
        places.retain(|_, place| rows.contains_key(place));
    }

    /// All terminations of a reason.
    pub fn total(&self, reason: EndReason) -> u64 {
        self.iter().flat_map(|row| row.by_reason()).filter(|(r, _)| *r == reason).map(|(_, n)| n).sum()
    }
}
