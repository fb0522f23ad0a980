//! Jobs for evidence that wait: bounded, and fair between namespaces, so that one tenant's storm does not keep the others'
//! pods from being asked about.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::evidence::Job;

/// Jobs that may wait: about what the workers do in the time after which evidence is old, and would be asked for again.
const MOST: usize = 1_000;

/// A queue, to be shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<(Mutex<Waiting>, Notify)>);

#[derive(Debug, Default)]
struct Waiting {
    by_namespace: BTreeMap<String, VecDeque<Job>>,
    jobs: usize,
    /// Whose job was taken last.
    last: String,
}

impl Queue {
    /// Adds a job; the newest job of the namespace with most of them leaves if there is no room. Gives what was left out.
    pub(super) fn push(&self, job: Job) -> Option<Job> {
        let mut waiting = self.0.0.lock();
        let mut dropped = None;
        if waiting.jobs >= MOST {
            match waiting.drop_for(&job.namespace) {
                Some(other) => dropped = Some(other),
                None => return Some(job),
            }
        }
        waiting.jobs += 1;
        waiting.by_namespace.entry(job.namespace.clone()).or_default().push_back(job);
        drop(waiting);
        self.0.1.notify_one();
        dropped
    }

    /// Whether a job of this namespace would find room.
    pub(super) fn has_room(&self, namespace: &str) -> bool {
        let waiting = self.0.0.lock();
        waiting.jobs < MOST || waiting.largest().is_some_and(|(_, most)| waiting.of(namespace) + 1 < most)
    }

    /// The next job, once there is one: the namespaces take turns.
    pub(super) async fn pop(&self) -> Job {
        loop {
            if let Some(job) = self.try_pop() {
                return job;
            }
            self.0.1.notified().await;
        }
    }

    fn try_pop(&self) -> Option<Job> {
        let mut waiting = self.0.0.lock();
        let last = std::mem::take(&mut waiting.last);
        let after = waiting.by_namespace.range((Excluded(last), Unbounded)).next();
        let namespace = after.or_else(|| waiting.by_namespace.first_key_value())?.0.clone();
        let jobs = waiting.by_namespace.get_mut(&namespace)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            waiting.by_namespace.remove(&namespace);
        }
        waiting.jobs -= usize::from(job.is_some());
        waiting.last = namespace;
        let more = waiting.jobs > 0;
        drop(waiting);
        if more {
            self.0.1.notify_one();
        }
        job
    }
}

impl Waiting {
    fn of(&self, namespace: &str) -> usize {
        self.by_namespace.get(namespace).map_or(0, VecDeque::len)
    }

    fn largest(&self) -> Option<(&String, usize)> {
        self.by_namespace.iter().map(|(namespace, jobs)| (namespace, jobs.len())).max_by_key(|(_, n)| *n)
    }

    /// Takes the newest job of the namespace with most, if that has more than this one would have.
    fn drop_for(&mut self, namespace: &str) -> Option<Job> {
        let (largest, most) = self.largest()?;
        if self.of(namespace) + 1 >= most {
            return None;
        }
        let largest = largest.clone();
        let job = self.by_namespace.get_mut(&largest)?.pop_back();
        self.jobs -= usize::from(job.is_some());
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::store::Uid;

    fn job(namespace: &str, name: &str) -> Job {
        Job::of_workload(Uid::of(name), namespace, name, name)
    }

    #[test]
    fn a_storm_in_one_namespace_neither_fills_the_queue_nor_makes_others_wait() {
        let queue = Queue::default();
        let left_out = (0..5_000).filter_map(|n| queue.push(job("storm", &n.to_string()))).count();
        assert_eq!(left_out, 4_000);
        assert!(!queue.has_room("storm"));
        assert!(queue.has_room("shop"));
        assert_eq!(queue.push(job("shop", "cart")).map(|j| j.namespace), Some("storm".to_owned()));
        let next: Vec<String> = (0..2).filter_map(|_| queue.try_pop()).map(|j| j.namespace).collect();
        assert!(next.contains(&"shop".to_owned()), "{next:?}");
        assert_eq!(std::iter::from_fn(|| queue.try_pop()).count(), 998);
    }

    #[tokio::test]
    async fn a_job_wakes_a_worker_that_waits() {
        let queue = Queue::default();
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop().await.namespace }
        });
        tokio::task::yield_now().await;
        assert!(queue.push(job("shop", "cart")).is_none());
        assert_eq!(waits.await.unwrap(), "shop");
    }
}
