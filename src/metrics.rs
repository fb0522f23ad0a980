//! What Prometheus scrapes: the incidents as text, of which no series outlives what it is about.
//!
//! A scrape looks at the pods that have changed since the last one, holding the incidents' lock for a few of them at a time, so
//! it never holds up the watch. How all others look is remembered ([`memory`]), and the text, which has 30 MB with 150,000
//! series, is written as it is read ([`pieces`]). What each metric means stands in `docs/metrics.md`.
//!
//! Must not know HTTP, nor change an incident.

mod address;
mod counts;
mod memory;
mod pages;
mod pieces;
mod process;
mod series;
mod text;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

use crate::incidents::Incidents;
use memory::Memory;
use pages::Page;
use pieces::Family;
pub use pieces::Pieces;
use series::Writer;
use text::{FamilyText, Kind};
pub use watch::{OWNERS, Sources};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the text is written from, besides the incidents, which are always the same ones.
#[derive(Debug)]
pub struct Metrics {
    /// Series per metric at most.
    max_series: usize,
    /// The state of the watches and of the sources of evidence.
    pub sources: Sources,
    memory: Mutex<Memory>,
    dropped: [AtomicU64; LIMITED.len()],
    warned: AtomicBool,
}

/// The metrics whose series are limited in number, in the order in which they are written.
const LIMITED: [(&str, Kind, &str); 7] = [
    (series::WORKLOAD_UNHEALTHY_PODS, Kind::Gauge, "Pods of a workload with an open incident, by reason."),
    (
        series::WORKLOAD_PODS,
        Kind::Gauge,
        "Pods of a workload that has an open incident: all of them, healthy ones too.",
    ),
    (
        series::TERMINATIONS,
        Kind::Counter,
        "Ends of containers, each counted once; ends that no status showed have the reason Unobserved.",
    ),
    (
        series::PROBLEM_PODS,
        Kind::Gauge,
        "Pods with an open incident that share a cause, where there are at least two.",
    ),
    (
        series::UNHEALTHY,
        Kind::Gauge,
        "1 while a pod or container has an open incident; pod is empty for one of a workload or node.",
    ),
    (series::UNHEALTHY_SINCE, Kind::Gauge, "Since when it is unhealthy, from the API's own times."),
    (
        series::LAST_TERMINATION,
        Kind::Gauge,
        "When a container last ended for this reason, if that was within the last hour and no completion.",
    ),
];

impl Metrics {
    /// With at most so many series per metric.
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            sources: Sources::default(),
            memory: Mutex::default(),
            dropped: [const { AtomicU64::new(0) }; LIMITED.len()],
            warned: AtomicBool::new(false),
        }
    }

    /// The text, written as it is read. Blocks until all is looked at that has changed since the last time: for a millisecond
    /// mostly, or a tenth of a second where 30,000 pods fail and nothing was known of them.
    pub fn render(&self, incidents: &RwLock<Incidents>, now: Timestamp) -> Pieces {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.look(incidents, now);
        let (mut others, tracked, open, stale) = {
            let incidents = incidents.read().unwrap_or_else(PoisonError::into_inner);
            let others: Vec<_> = incidents.others().map(|i| (i.finding(), Arc::clone(&i.kept))).collect();
            (others, incidents.pods(), incidents.open_count(), incidents.stale())
        };
        others.sort_by_key(|(f, _)| f.key());
        let mut writer = Writer::<3>::default();
        for (f, kept) in &others {
            let names = (&*f.namespace, &*f.pod, f.workload.as_ref());
            writer.object(names, &f.node, std::iter::once(&**kept), std::iter::empty());
        }
        let others = writer.texts().map(Page::new);
        let problems = Page::new(&memory.counts.problems());
        let [by_reason, all] = memory.counts.pages.pages();
        let [ends] = memory.ends.pages();
        let [mut pods, mut since, mut last] = memory.pods.pages();
        drop(memory);
        for (pages, others) in [&mut pods, &mut since, &mut last].into_iter().zip(others) {
            pages.push(Arc::new(others));
        }
        let pages = [by_reason, all, ends, vec![Arc::new(problems)], pods, since, last];

        let mut dropped = FamilyText::new(
            "kubehealer_series_dropped_total",
            Kind::Counter,
            "Series left out of scrapes because their metric had reached the limit of --max-series, summed over all scrapes.",
        );
        let mut families = Vec::with_capacity(LIMITED.len());
        for (((name, kind, help), pages), total) in LIMITED.into_iter().zip(pages).zip(&self.dropped) {
            let series: usize = pages.iter().map(|page| page.series()).sum();
            let over = series.saturating_sub(self.max_series) as u64;
            let sum = total.fetch_add(over, Relaxed) + over;
            dropped.series(&[("metric", name)], sum);
            if over > 0 && !self.warned.swap(true, Relaxed) {
                tracing::warn!(
                    metric = name,
                    dropped = over,
                    max_series = self.max_series,
                    "more series than --max-series allows; the rest is left out and counted in kubehealer_series_dropped_total"
                );
            }
            let head = text::head(name, kind, help);
            families.push(Family { head, pages, limit: series.min(self.max_series) });
        }

        let mut text = dropped.finish();
        for (name, help, value) in [
            ("kubehealer_tracked_pods", "Pods that are watched.", tracked),
            ("kubehealer_open_incidents", "Incidents that are open.", open),
        ] {
            text::single(&mut text, name, Kind::Gauge, help, value);
        }
        text::single(
            &mut text,
            "kubehealer_stale_updates_total",
            Kind::Counter,
            "Pods that a list showed in an older state than was known already, and that were passed over.",
            stale,
        );
        let mut build = FamilyText::new("kubehealer_build_info", Kind::Gauge, "The version, as a label.");
        build.series(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.push_str(&build.finish());
        self.sources.write(&mut text);
        process::write(&mut text);

        Pieces::new(families, text)
    }
}
