//! What Prometheus scrapes, written straight as text from the incidents at scrape time: no series outlives what it is about.
//!
//! A scrape holds the incidents' lock for one small piece at a time, so it never holds up the watch. Nothing of an incident is
//! copied but into the text, which is handed on in pieces: with 150,000 series it has 30 MB. What each metric means stands in
//! `docs/metrics.md`.
//!
//! Must not know HTTP, nor change an incident.

mod process;
mod text;
mod watch;

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;

use crate::diagnosis::{CauseCode, ReasonName, Scope};
use crate::incidents::accounting::EndReason;
use crate::incidents::kept::Kept;
use crate::incidents::store::{Home, Uid};
use crate::incidents::{ActivePod, Incidents};
use text::{FamilyText, Kind, label, word};
pub use watch::{OWNERS, Sources};

/// Pods that are written under one lock; workloads, for which none is needed, whose texts are fetched at once.
const CHUNK: usize = 200;
/// How long the lock is left alone before each piece: a writer that is woken for it is not to find it taken again, as it did
/// for the whole of a scrape.
const PAUSE: Duration = Duration::from_micros(100);

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

    /// The text, in pieces. Blocks for some milliseconds, or a tenth of a second with 150,000 series.
    pub fn render(&self, incidents: &RwLock<Incidents>, now: Timestamp) -> Vec<String> {
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

        // What does not fit is left out in the same order each time, so that the series that fit stay.
        let in_order = self.dropped.iter().any(|d| d.load(Relaxed) > 0);
        // One pass over what is not at rest, in pieces.
        let mut uids: Vec<Uid> = read().active_uids().collect();
        if in_order {
            uids.sort_unstable();
        }
        let mut labels = String::new();
        let mut reasons: Vec<(Arc<Home>, ReasonName)> = Vec::with_capacity(uids.len());
        let mut causes: HashMap<OfCause, u64> = HashMap::default();
        let read_piece = || {
            std::thread::sleep(PAUSE);
            read()
        };
        for chunk in uids.chunks(CHUNK) {
            let incidents = read_piece();
            let found = incidents.several(chunk);
            fetch(&found);
            for pod in &found {
                write_pod(pod, now, &mut labels, [&mut pods, &mut since, &mut last]);
                count_pod(pod, &mut reasons, &mut causes);
            }
        }

        let (mut rows, mut others, tracked, open, stale) = {
            let incidents = read();
            let others: Vec<_> = incidents.others().map(|i| (i.finding(), Arc::clone(&i.kept))).collect();
            (
                incidents.terminations().snapshot(),
                others,
                incidents.pods(),
                incidents.open_count(),
                incidents.stale(),
            )
        };
        others.sort_by_key(|(f, _)| f.key());
        for (f, kept) in &others {
            let (kind, workload) = f.workload.as_ref().map_or(("", ""), |w| (&w.kind, &w.name));
            write_subject(&mut labels, &f.namespace, &f.pod, kind, workload);
            write_incident(kept, &f.node, &mut labels, &mut pods, &mut since);
        }
        // By address, which is quick: a workload in use has one.
        reasons.sort_unstable_by(|a, b| (Arc::as_ptr(&a.0), &a.1).cmp(&(Arc::as_ptr(&b.0), &b.1)));
        let mut homes: Vec<_> = reasons.chunk_by(|a, b| Arc::ptr_eq(&a.0, &b.0)).collect();
        if in_order {
            homes.sort_unstable();
        }
        for (at, of_home) in homes.iter().enumerate() {
            if at % CHUNK == 0 {
                let ahead = homes.iter().skip(at).take(CHUNK).filter_map(|h| h.first());
                std::hint::black_box(ahead.map(|(home, _)| first_bytes(home)).sum::<u32>());
            }
            let Some((home, _)) = of_home.first() else { continue };
            write_workload(&mut labels, home);
            // None is left if they have gone in the meantime.
            match home.pods() {
                0 => continue,
                count => w_pods.add(&labels, i64::from(count)),
            }
            let shared = labels.len();
            for same in of_home.chunk_by(|a, b| a.1 == b.1) {
                let Some((_, reason)) = same.first() else { continue };
                labels.truncate(shared);
                label(&mut labels, "\",reason=\"", reason.as_str());
                w_unhealthy.add(&labels, as_int(same.len() as u64));
            }
        }
        if in_order {
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        for (of, by_reason) in &rows {
            for (reason, count) in EndReason::ALL.iter().zip(by_reason).filter(|(_, count)| **count > 0) {
                write_workload(&mut labels, &of.home);
                label(&mut labels, "\",container=\"", &of.container);
                word(&mut labels, "\",container_type=\"", of.container_type.as_str());
                word(&mut labels, "\",reason=\"", reason.as_str());
                ends.add(&labels, as_int(*count));
            }
        }
        let mut causes: Vec<_> = causes.into_iter().filter(|(_, count)| *count > 1).collect();
        causes.sort_unstable_by(|(a, _), (b, _)| a.key().cmp(&b.key()));
        for (of, count) in &causes {
            let Some((cause, scope)) = of.key() else { continue };
            problems.series(
                &[("cause", cause.as_str()), ("scope_kind", scope.kind), ("scope", &scope.name)],
                as_int(*count),
            );
        }

        let families = [w_unhealthy, w_pods, ends, problems, pods, since, last];
        let mut pieces = Vec::with_capacity(families.len() + 1);
        let mut out = String::with_capacity(8192);
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
            pieces.extend(family.finish());
        }
        out.extend(dropped.finish());
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
        out.extend(build.finish());
        self.sources.write(&mut out);
        process::write(&mut out);
        pieces.push(out);
        pieces
    }
}

fn as_int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a byte of each text that is about to be written. Of many pods in a loop of their own, the processor fetches them
/// at once; in the course of writing it would wait for each in turn, which took longer than all the rest.
fn fetch(pods: &[ActivePod<'_>]) {
    let kept: Vec<&Kept> = pods.iter().flat_map(|p| p.incidents).map(|i| &*i.kept).collect();
    let of_pods = pods.iter().map(|p| {
        let ends: u32 = p.ends().iter().map(|e| first_byte(&e.container)).sum();
        first_byte(p.name) + first_byte(p.node) + first_bytes(p.home) + ends
    });
    let of_kept =
        kept.iter().map(|k| first_byte(&k.container) + k.scope.as_ref().map_or(0, |s| first_byte(&s.name)));
    std::hint::black_box(of_pods.chain(of_kept).sum::<u32>());
}

fn first_bytes(home: &Home) -> u32 {
    first_byte(&home.namespace) + first_byte(&home.workload.kind) + first_byte(&home.workload.name)
}

fn first_byte(text: &str) -> u32 {
    text.as_bytes().first().copied().unwrap_or_default().into()
}

/// The labels that all series of a pod begin with.
fn write_subject(labels: &mut String, namespace: &str, pod: &str, kind: &str, workload: &str) {
    labels.clear();
    label(labels, "{namespace=\"", namespace);
    label(labels, "\",pod=\"", pod);
    label(labels, "\",workload_kind=\"", kind);
    label(labels, "\",workload=\"", workload);
}

/// The labels that all series of a workload begin with.
fn write_workload(labels: &mut String, home: &Home) {
    labels.clear();
    label(labels, "{namespace=\"", &home.namespace);
    label(labels, "\",workload_kind=\"", &home.workload.kind);
    label(labels, "\",workload=\"", &home.workload.name);
}

fn write_pod(
    pod: &ActivePod<'_>,
    now: Timestamp,
    labels: &mut String,
    [pods, since, last]: [&mut FamilyText; 3],
) {
    let Home { namespace, workload, .. } = &**pod.home;
    write_subject(labels, namespace, pod.name, &workload.kind, &workload.name);
    let shared = labels.len();
    for incident in pod.incidents {
        labels.truncate(shared);
        write_incident(&incident.kept, pod.node, labels, pods, since);
    }
    for end in pod.recent_ends(now) {
        labels.truncate(shared);
        label(labels, "\",container=\"", &end.container);
        word(labels, "\",reason=\"", end.reason.as_str());
        last.add(labels, end.at.as_second());
    }
}

/// An open incident, of whatever subject, whose labels are there already.
fn write_incident(f: &Kept, node: &str, labels: &mut String, pods: &mut FamilyText, since: &mut FamilyText) {
    label(labels, "\",container=\"", &f.container);
    label(labels, "\",node=\"", node);
    label(labels, "\",reason=\"", f.reason.as_str());
    if let Some(at) = f.since {
        since.add(labels, at.as_second());
    }
    word(labels, "\",container_type=\"", f.container_type.map_or("", |t| t.as_str()));
    word(labels, "\",cause=\"", f.cause.as_str());
    word(labels, "\",severity=\"", f.severity.as_str());
    pods.add(labels, 1);
}

/// A finding by what its cause is about.
struct OfCause(Arc<Kept>);

impl OfCause {
    fn key(&self) -> Option<(CauseCode, &Scope)> {
        self.0.scope.as_deref().map(|scope| (self.0.cause, scope))
    }
}

impl PartialEq for OfCause {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for OfCause {}

impl Hash for OfCause {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Each pod once per reason and once per common cause, however many of its containers have it.
fn count_pod(
    pod: &ActivePod<'_>,
    reasons: &mut Vec<(Arc<Home>, ReasonName)>,
    causes: &mut HashMap<OfCause, u64>,
) {
    for (at, incident) in pod.incidents.iter().enumerate() {
        let f = &incident.kept;
        let before = pod.incidents.iter().take(at).map(|i| &i.kept);
        if !before.clone().any(|b| b.reason == f.reason) {
            reasons.push((Arc::clone(pod.home), f.reason.clone()));
        }
        if f.scope.is_some() && !before.clone().any(|b| b.cause == f.cause && b.scope == f.scope) {
            *causes.entry(OfCause(Arc::clone(f))).or_default() += 1;
        }
    }
}
