//! The counters of container terminations: per workload, so that they outlive the pod.
//!
//! A row leaves [`IDLE`] after its last termination; a workload that goes on to fail keeps its rows for ever. There are
//! [`MAX_ROWS`] at most: where names come and go faster than that, those without a termination for longest leave first.
//!
//! Pure: must not know how terminations are found, nor read a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{Termination, TerminationReason};
use super::store::WorkloadKey;
use crate::diagnosis::ContainerType;

/// How long the counters of a container without a termination are kept.
pub const IDLE: SignedDuration = SignedDuration::from_hours(24);

/// Containers that are counted at a time.
pub const MAX_ROWS: usize = 20_000;

/// The terminations of one container over all pods of its workload.
#[derive(Debug)]
pub struct ContainerTerminations {
    pub workload_key: Arc<WorkloadKey>,
    pub container: Arc<str>,
    pub container_type: ContainerType,
    by_reason: [u64; TerminationReason::ALL.len()],
    last: Timestamp,
}

impl ContainerTerminations {
    /// How often each reason has occurred; those that never did are left out.
    pub fn by_reason(&self) -> impl Iterator<Item = (TerminationReason, u64)> {
        TerminationReason::ALL.iter().copied().zip(self.by_reason).filter(|(_, count)| *count > 0)
    }
}

#[derive(Debug, Default)]
pub struct Terminations {
    /// In the order of their first terminations.
    rows: BTreeMap<u64, ContainerTerminations>,
    places: HashMap<(Arc<WorkloadKey>, Arc<str>, ContainerType), u64>,
    next_place: u64,
    swept: Option<Timestamp>,
}

impl Terminations {
    pub fn add(&mut self, workload_key: &Arc<WorkloadKey>, termination: &Termination<'_>, now: Timestamp) {
        let key = (Arc::clone(workload_key), Arc::from(termination.container), termination.container_type);
        let place =
            *self.places.entry(key).or_insert_with_key(|(workload_key, container, container_type)| {
                let row = ContainerTerminations {
                    workload_key: Arc::clone(workload_key),
                    container: Arc::clone(container),
                    container_type: *container_type,
                    by_reason: [0; TerminationReason::ALL.len()],
                    last: now,
                };
                self.next_place += 1;
                self.rows.insert(self.next_place - 1, row);
                self.next_place - 1
            });
        let Some(row) = self.rows.get_mut(&place) else { return };
        row.last = now.max(row.last);
        if let Some(count) = row.by_reason.get_mut(termination.reason as usize) {
            *count += u64::from(termination.times);
        }
        if self.rows.len() > MAX_ROWS {
            self.make_room();
        }
    }

    /// Removes the twentieth of all rows that has had no termination for longest.
    fn make_room(&mut self) {
        let mut idle: Vec<(Timestamp, u64)> =
            self.rows.iter().map(|(place, row)| (row.last, *place)).collect();
        let (longest, ..) = idle.select_nth_unstable(MAX_ROWS / 20);
        longest.iter().for_each(|(_, place)| drop(self.rows.remove(place)));
        let Self { rows, places, .. } = self;
        places.retain(|_, place| rows.contains_key(place));
    }

    /// Every container with terminations, in the order of their first ones.
    pub fn iter(&self) -> impl Iterator<Item = &ContainerTerminations> {
        self.rows.values()
    }

    /// How many containers have terminations.
    pub fn containers(&self) -> usize {
        self.rows.len()
    }

    /// The same from a place on, each with its place.
    pub fn from(&self, place: u64) -> impl Iterator<Item = (u64, &ContainerTerminations)> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::WorkloadRef;

    #[test]
    fn counters_of_names_that_come_and_go_are_bounded_and_those_of_a_steady_failure_stay() {
        let mut terminations = Terminations::default();
        let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut end = |name: &str, now: Timestamp| {
            let workload = WorkloadRef { kind: "Pod".to_owned(), name: name.to_owned() };
            let key = Arc::new(WorkloadKey { namespace: "churn".to_owned(), workload });
            let termination = Termination {
                container: "app",
                container_type: ContainerType::App,
                reason: TerminationReason::Error,
                exit_code: Some(1),
                at: Some(now),
                uptime: None,
                times: 1,
            };
            terminations.add(&key, &termination, now);
        };
        for n in 0..200_000 {
            now += SignedDuration::from_millis(100);
            end(&format!("job-{n}"), now);
            if n % 10_000 == 0 {
                end("steady", now);
            }
        }
        assert!(
            terminations.containers() <= MAX_ROWS && terminations.places.len() == terminations.containers()
        );
        let steady = terminations.iter().find(|row| row.workload_key.workload.name == "steady");
        assert_eq!(steady.unwrap().by_reason().map(|(_, n)| n).sum::<u64>(), 20);
    }
}
