//! The last hours in buckets of five minutes: what opened, resolved and terminated, for the whole cluster and for workloads.
//!
//! Pure: must not know how incidents come about, nor read a clock.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::accounting::{Termination, TerminationReason};
use super::store::WorkloadKey;

/// How long a bucket is.
pub const BUCKET: SignedDuration = SignedDuration::from_mins(5);
/// Buckets that are kept: six hours.
pub const BUCKETS: usize = 72;
/// Workloads that are kept. Where there are more, the one that nothing has happened to for longest is forgotten.
pub const WORKLOADS: usize = 500;

/// What happened within five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Five minutes since 1970.
    number: i64,
    /// Incidents. Those that were there when the program started are not counted.
    pub opened: u32,
    pub resolved: u32,
    terminations: [u32; TerminationReason::ALL.len()],
}

impl Bucket {
    /// When it begins.
    pub fn begins(&self) -> Timestamp {
        begin(self.number)
    }

    /// By reason; those without a termination are left out.
    pub fn terminations(&self) -> impl Iterator<Item = (TerminationReason, u32)> {
        TerminationReason::ALL.iter().copied().zip(self.terminations).filter(|(_, count)| *count > 0)
    }

    pub(super) fn terminated(&mut self, termination: &Termination<'_>) {
        if let Some(count) = self.terminations.get_mut(termination.reason as usize) {
            *count = count.saturating_add(termination.times);
        }
    }
}

/// The buckets in which something happened, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Strip(VecDeque<Bucket>);

impl Strip {
    /// Those of the last hours.
    pub fn buckets(&self, now: Timestamp) -> impl Iterator<Item = &Bucket> {
        let first = first(now);
        self.0.iter().filter(move |bucket| bucket.number >= first)
    }

    fn at(&mut self, now: Timestamp) -> Option<&mut Bucket> {
        let (number, first) = (number(now), first(now));
        while self.0.front().is_some_and(|oldest| oldest.number < first) {
            self.0.pop_front();
        }
        // A clock that goes back adds to the newest one.
        if self.0.back().is_none_or(|newest| newest.number < number) {
            let terminations = [0; TerminationReason::ALL.len()];
            self.0.push_back(Bucket { number, opened: 0, resolved: 0, terminations });
        }
        self.0.back_mut()
    }

    fn newest(&self) -> i64 {
        self.0.back().map_or(i64::MIN, |bucket| bucket.number)
    }
}

/// When the oldest bucket begins that is kept.
pub fn from(now: Timestamp) -> Timestamp {
    begin(first(now))
}

fn begin(number: i64) -> Timestamp {
    Timestamp::from_second(number * BUCKET.as_secs()).unwrap_or_default()
}

fn number(at: Timestamp) -> i64 {
    at.as_second().div_euclid(BUCKET.as_secs())
}

fn first(now: Timestamp) -> i64 {
    number(now) - BUCKETS as i64 + 1
}

#[derive(Debug, Default)]
pub struct History {
    cluster: Strip,
    by_workload: HashMap<Arc<WorkloadKey>, Strip>,
}

impl History {
    pub fn cluster(&self) -> &Strip {
        &self.cluster
    }

    pub fn of(&self, workload_key: &WorkloadKey) -> Option<&Strip> {
        self.by_workload.get(workload_key)
    }

    /// The workloads of which something is kept, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = (&Arc<WorkloadKey>, &Strip)> {
        self.by_workload.iter()
    }

    /// Notes what happened now, to a workload if it was to one.
    pub(super) fn note(
        &mut self,
        workload_key: Option<&Arc<WorkloadKey>>,
        now: Timestamp,
        what: impl Fn(&mut Bucket),
    ) {
        self.cluster.at(now).into_iter().for_each(&what);
        let Some(workload_key) = workload_key else { return };
        if !self.by_workload.contains_key(workload_key) && self.by_workload.len() >= WORKLOADS {
            let idle = self.by_workload.iter().min_by_key(|(_, strip)| strip.newest());
            if let Some(idle) = idle.map(|(key, _)| Arc::clone(key)) {
                self.by_workload.remove(&idle);
            }
        }
        self.by_workload.entry(Arc::clone(workload_key)).or_default().at(now).into_iter().for_each(&what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::WorkloadRef;

    fn key(n: usize) -> Arc<WorkloadKey> {
        let workload = WorkloadRef { kind: "Pod".to_owned(), name: format!("job-{n}") };
        Arc::new(WorkloadKey { namespace: "churn".to_owned(), workload })
    }

    #[test]
    fn six_hours_are_kept_of_the_workloads_that_something_has_happened_to_last() {
        let mut history = History::default();
        let mut now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        let steady = key(usize::MAX);
        for n in 0..10_000 {
            now += SignedDuration::from_secs(10);
            history.note(Some(&key(n)), now, |bucket| bucket.opened += 1);
            if n % 30 == 0 {
                history.note(Some(&steady), now, |bucket| bucket.resolved += 1);
            }
        }
        assert_eq!(history.workloads().count(), WORKLOADS);
        let buckets: Vec<&Bucket> = history.cluster().buckets(now).collect();
        assert_eq!(buckets.len(), BUCKETS);
        assert_eq!(buckets[10].opened, 30);
        assert_eq!(buckets[1].begins().duration_since(buckets[0].begins()), BUCKET);
        let of_steady: u32 = history.of(&steady).unwrap().buckets(now).map(|bucket| bucket.resolved).sum();
        assert_eq!(of_steady, 72);
        let later = now + SignedDuration::from_hours(6);
        assert_eq!(history.cluster().buckets(later).count(), 0);
    }
}
