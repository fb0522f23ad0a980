//! The last hours, for the whole cluster and for the workloads to which something has happened.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::diagnosis::WorkloadRef;
use crate::incidents::history;
use crate::incidents::store::WorkloadKey;
use crate::redact::clean;
use crate::server::Shown;
use crate::server::page::{BadToken, Page, Wanted};

/// What happened within one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// When it began.
    pub at: Timestamp,
    pub opened: u32,
    pub resolved: u32,
    /// By reason.
    pub terminations: BTreeMap<&'static str, u32>,
}

impl From<&history::Bucket> for Bucket {
    fn from(bucket: &history::Bucket) -> Self {
        let (at, opened, resolved) = (bucket.begins(), bucket.opened, bucket.resolved);
        let terminations = bucket.terminations().map(|(reason, count)| (reason.as_str(), count)).collect();
        Self { at, opened, resolved, terminations }
    }
}

/// The last hours; the workloads are a page of those to which something happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    pub bucket_seconds: i64,
    /// The first bucket that is kept; those in which nothing happened are left out.
    pub from: Timestamp,
    pub buckets: Vec<Bucket>,
    pub workloads: Vec<OfWorkload>,
    /// Workloads of which something is kept.
    pub total: usize,
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct OfWorkload {
    pub namespace: String,
    pub workload: WorkloadRef,
    pub buckets: Vec<Bucket>,
}

/// The workload to which something happened last stands first.
pub(in crate::server) type Key = (Reverse<Timestamp>, String, String, String);

/// The last hours.
pub fn history(shown: &Shown, wanted: &Wanted) -> Result<History, BadToken> {
    let now = (shown.clock)();
    let mut page = Page::<Key, Arc<WorkloadKey>>::new(wanted)?;
    let buckets = {
        let incidents = shown.incidents.read();
        let history = incidents.history();
        for (key, strip) in history.workloads() {
            if let Some(newest) = strip.buckets(now).last() {
                let WorkloadRef { kind, name } = key.workload.clone();
                let place = (Reverse(newest.begins()), key.namespace.clone(), kind, name);
                page.offer(place, || Arc::clone(key));
            }
        }
        history.cluster().buckets(now).map(Bucket::from).collect()
    };
    let total = page.total;
    // A bucket takes some 100 bytes; a workload has six hours of them at most.
    let (keys, next) = page.done(|_| history::BUCKETS * 30);
    let workloads = keys.iter().map(|key| OfWorkload {
        namespace: clean(&key.namespace).into_owned(),
        workload: key.workload.clone(),
        buckets: of_workload(shown, key, now),
    });
    Ok(History {
        bucket_seconds: history::BUCKET.as_secs(),
        from: history::from(now),
        buckets,
        workloads: workloads.collect(),
        total,
        next,
    })
}

pub(super) fn of_workload(shown: &Shown, key: &WorkloadKey, now: Timestamp) -> Vec<Bucket> {
    let incidents = shown.incidents.read();
    incidents.history().of(key).into_iter().flat_map(|strip| strip.buckets(now)).map(Bucket::from).collect()
}
