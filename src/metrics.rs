//! What Prometheus scrapes, written straight as text from the incidents at scrape time: no series outlives what it is about.
//!
//! A scrape holds the incidents' lock for one small piece at a time, so it never holds up the watch. What each metric means
//! stands in `docs/metrics.md`.
//!
//! Must not know HTTP, nor change an incident.

mod process;
mod text;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use crate::diagnosis::{CauseCode, Finding, Scope};
use crate::incidents::accounting::EndReason;
use crate::incidents::store::{Home, Uid};
use crate::incidents::{ActivePod, Incidents};
use text::{FamilyText, Kind};
pub use watch::{OWNERS, Sources};

/// Pods that are written under one lock.
const CHUNK: usize = 200;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the text is written from, besides the incidents.
#[derive(Debug)]
pub struct Metrics {
    /// Series per metric at most.
    max_series: usize,
    /// The state of the watches and of the sources of evidence.
    pub sources: Sources,
    dropped: [AtomicU64; FAMILIES.len()],
    warned: AtomicBool,
}

/// The metrics that are limited.
const FAMILIES: [&str; 7] = [
    "kubehealer_workload_unhealthy_pods",
    "kubehealer_workload_pods",
    "kubehealer_container_terminations_total",
    "kubehealer_problem_pods",
    "kubehealer_pod_unhealthy",
    "kubehealer_pod_unhealthy_since_timestamp_seconds",
    "kubehealer_container_last_termination_timestamp_seconds",
];

impl Metrics {
    /// With at most so many series per metric.
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            sources: Sources::default(),
            dropped: [const { AtomicU64::new(0) }; FAMILIES.len()],
            warned: AtomicBool::new(false),
        }
    }

    /// The text.
    pub fn render(&self, incidents: &RwLock<Incidents>, now: Timestamp) -> String {
        let read = || incidents.read().unwrap_or_else(PoisonError::into_inner);
        let limit = self.max_series;
        let family = |at: usize, kind, help| {
            FamilyText::new(FAMILIES.get(at).copied().unwrap_or_default(), kind, help, limit)
        };
        let mut w_unhealthy = family(0, Kind::Gauge, "Pods of a workload with an open incident, by reason.");
        let mut w_pods = family(
            1,
            Kind::Gauge,
            "Pods of a workload that has an open incident: all of them, healthy ones too.",
        );
        let mut ends = family(
            2,
            Kind::Counter,
            "Ends of containers, each counted once; ends that no status showed have the reason Unobserved.",
        );
        let mut problems = family(
            3,
            Kind::Gauge,
            "Pods with an open incident that share a cause, where there are at least two.",
        );
        let mut pods = family(
            4,
            Kind::Gauge,
            "1 while a pod or container has an open incident; pod is empty for one of a workload or node.",
        );
        let mut since = family(5, Kind::Gauge, "Since when it is unhealthy, from the API's own times.");
        let mut last = family(
            6,
            Kind::Gauge,
            "When a container last ended for this reason, if that was within the last hour and no completion.",
        );

        // One pass over what is not at rest, in pieces.
        let mut uids: Vec<Uid> = read().active_uids().collect();
        // What does not fit is left out in the same order each time, so that the series that fit stay.
        uids.sort_unstable();
        let mut by_reason: HashMap<(Arc<Home>, String), u64> = HashMap::new();
        let mut by_cause: HashMap<(CauseCode, Scope), u64> = HashMap::new();
        for chunk in uids.chunks(CHUNK) {
            let incidents = read();
            for pod in chunk.iter().filter_map(|uid| incidents.pod(*uid)) {
                write_pod(&pod, now, &mut pods, &mut since, &mut last);
                count_pod(&pod, &mut by_reason, &mut by_cause);
            }
        }

        let (rows, others, tracked, open, stale) = {
            let incidents = read();
            let others: Vec<_> = incidents.others().map(|i| Arc::clone(&i.finding)).collect();
            (
                incidents.terminations().snapshot(),
                others,
                incidents.pods(),
                incidents.open_count(),
                incidents.stale(),
            )
        };
        let mut others = others;
        others.sort_by_key(|f| f.key());
        for finding in &others {
            write_finding(finding, &mut pods, &mut since);
        }
        let mut homes: BTreeMap<Arc<Home>, Vec<(String, u64)>> = BTreeMap::new();
        for ((home, reason), count) in by_reason {
            homes.entry(home).or_default().push((reason, count));
        }
        for (home, mut reasons) in homes {
            reasons.sort_unstable();
            let labels = [
                ("namespace", &*home.namespace),
                ("workload_kind", &*home.workload.kind),
                ("workload", &*home.workload.name),
            ];
            let [namespace, kind, name] = labels;
            for (reason, count) in &reasons {
                w_unhealthy.series(&[namespace, kind, name, ("reason", reason)], as_int(*count));
            }
            w_pods.series(&labels, i64::from(read().pods_of(&home)));
        }
        for (of, by_reason) in &rows {
            for (reason, count) in EndReason::ALL.iter().zip(by_reason).filter(|(_, count)| **count > 0) {
                ends.series(
                    &[
                        ("namespace", &of.home.namespace),
                        ("workload_kind", &of.home.workload.kind),
                        ("workload", &of.home.workload.name),
                        ("container", &of.container),
                        ("container_type", of.container_type.as_str()),
                        ("reason", reason.as_str()),
                    ],
                    as_int(*count),
                );
            }
        }
        let mut by_cause: Vec<_> = by_cause.into_iter().filter(|(_, count)| *count > 1).collect();
        by_cause.sort_unstable();
        for ((cause, scope), count) in &by_cause {
            problems.series(
                &[("cause", cause.as_str()), ("scope_kind", scope.kind), ("scope", &scope.name)],
                as_int(*count),
            );
        }

        let families = [w_unhealthy, w_pods, ends, problems, pods, since, last];
        let mut out = String::with_capacity(families.iter().map(|f| f.len() + 200).sum::<usize>() + 8192);
        let mut dropped = FamilyText::new(
            "kubehealer_series_dropped_total",
            Kind::Counter,
            "Series left out of scrapes because their metric had reached the limit of --max-series, summed over all scrapes.",
            usize::MAX,
        );
        for (family, total) in families.into_iter().zip(&self.dropped) {
            let over = family.dropped();
            let sum = total.fetch_add(over, Relaxed) + over;
            dropped.series(&[("metric", family.name())], as_int(sum));
            if over > 0 && !self.warned.swap(true, Relaxed) {
                tracing::warn!(
                    metric = family.name(),
                    dropped = over,
                    max_series = limit,
                    "more series than --max-series allows; the rest is left out and counted in kubehealer_series_dropped_total"
                );
            }
            family.finish(&mut out);
        }
        dropped.finish(&mut out);
        text::single(
            &mut out,
            "kubehealer_tracked_pods",
            Kind::Gauge,
            "Pods that are watched.",
            tracked as u64,
        );
        text::single(
            &mut out,
            "kubehealer_open_incidents",
            Kind::Gauge,
            "Incidents that are open.",
            open as u64,
        );
        text::single(
            &mut out,
            "kubehealer_stale_updates_total",
            Kind::Counter,
            "Pods that a list showed in an older state than was known already, and that were passed over.",
            stale,
        );
        let mut build = FamilyText::new("kubehealer_build_info", Kind::Gauge, "The version, as a label.", 1);
        build.series(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        build.finish(&mut out);
        self.sources.write(&mut out);
        process::write(&mut out);
        out
    }
}

fn as_int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn write_pod(
    pod: &ActivePod<'_>,
    now: Timestamp,
    pods: &mut FamilyText,
    since: &mut FamilyText,
    last: &mut FamilyText,
) {
    let namespace = &*pod.home.namespace;
    let workload = &pod.home.workload;
    for incident in pod.incidents {
        write_finding(&incident.finding, pods, since);
    }
    for end in pod.recent_ends(now) {
        last.series(
            &[
                ("namespace", namespace),
                ("pod", pod.name),
                ("container", &end.container),
                ("workload_kind", &workload.kind),
                ("workload", &workload.name),
                ("reason", end.reason.as_str()),
            ],
            end.at.as_second(),
        );
    }
}

/// An open incident, of whatever subject.
fn write_finding(f: &Finding, pods: &mut FamilyText, since: &mut FamilyText) {
    let (kind, workload) = f.workload.as_ref().map_or(("", ""), |w| (w.kind.as_str(), w.name.as_str()));
    let reason = f.reason.as_str();
    let container_type = f.container_type.map_or("", |t| t.as_str());
    pods.series(
        &[
            ("namespace", &f.namespace),
            ("pod", &f.pod),
            ("container", &f.container),
            ("container_type", container_type),
            ("workload_kind", kind),
            ("workload", workload),
            ("node", &f.node),
            ("reason", reason),
            ("cause", f.cause.code.as_str()),
            ("severity", f.severity.as_str()),
        ],
        1,
    );
    if let Some(at) = f.since {
        since.series(
            &[
                ("namespace", &f.namespace),
                ("pod", &f.pod),
                ("container", &f.container),
                ("workload_kind", kind),
                ("workload", workload),
                ("node", &f.node),
                ("reason", reason),
            ],
            at.as_second(),
        );
    }
}

/// Each pod once per reason and once per common cause, however many of its containers have it.
fn count_pod(
    pod: &ActivePod<'_>,
    by_reason: &mut HashMap<(Arc<Home>, String), u64>,
    by_cause: &mut HashMap<(CauseCode, Scope), u64>,
) {
    for (at, incident) in pod.incidents.iter().enumerate() {
        let f = &incident.finding;
        let before = pod.incidents.iter().take(at).map(|i| &i.finding);
        if !before.clone().any(|b| b.reason == f.reason) {
            *by_reason.entry((Arc::clone(pod.home), f.reason.as_str().to_owned())).or_default() += 1;
        }
        if let Some(scope) = &f.scope
            && !before.clone().any(|b| b.cause.code == f.cause.code && b.scope == f.scope)
        {
            *by_cause.entry((f.cause.code, scope.clone())).or_default() += 1;
        }
    }
}
