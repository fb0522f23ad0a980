//! What Prometheus scrapes. What each metric means stands in `docs/metrics.md`.
//!
//! KubeHealer's own health is in a [`Registry`]. The incidents are read, encoded and written a part at a time ([`incidents`]),
//! so that a storm of failing pods is neither held in memory nor holds up the watch.
//!
//! Must not know HTTP, nor change an incident.

mod family;
mod incidents;
mod process;
mod shares;
mod sources;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use prometheus::{Encoder as _, IntCounterVec, IntGaugeVec, Opts, Registry, Result, TextEncoder};

use crate::incidents::Incidents;
use incidents::{LIMITED, Scrape};
pub use sources::{OWNERS, Sources};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metric by which the alert rules tell an end from a restart.
const SYNCED: &str = "kubehealer_watch_synced";

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The state of the watches and of the sources of evidence.
    pub sources: Arc<Sources>,
    /// Series per metric at most.
    max_series: usize,
    dropped: IntCounterVec,
    warned: AtomicBool,
}

impl Metrics {
    /// With at most so many series per metric. Fails only if two metrics have one name.
    pub fn new(max_series: usize) -> Result<Self> {
        let registry = Registry::new();
        let dropped = Opts::new(
            "kubehealer_series_dropped_total",
            "Series left out of scrapes because their metric had reached the limit of --max-series, summed over all scrapes.",
        );
        let dropped = IntCounterVec::new(dropped, &["metric"])?;
        LIMITED.iter().for_each(|metric| drop(dropped.with_label_values(&[metric])));
        let build = Opts::new("kubehealer_build_info", "The version, as a label.");
        let build = IntGaugeVec::new(build, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(dropped.clone()))?;
        registry.register(Box::new(build))?;
        registry.register(Box::new(process::collector()?))?;
        let sources = Sources::new(&registry)?;
        Ok(Self { registry, sources, max_series, dropped, warned: AtomicBool::new(false) })
    }

    /// Writes the text. Takes a tenth of a second or more in a storm, and waits for `out`, so it is not for a task; the lock is
    /// free while it waits.
    pub fn write(&self, incidents: &RwLock<Incidents>, now: Timestamp, out: &mut dyn Write) -> Result<()> {
        // Read before the incidents: a list that is completed meanwhile must not stand beside the incidents of before, which
        // would look as if they had ended.
        let synced = self.registry.gather().into_iter().find(|family| family.name() == SYNCED);
        let dropped = |metric, series| self.count_dropped(metric, series);
        Scrape { incidents, now, max_series: self.max_series, out, dropped: &dropped, lost: BTreeMap::new() }
            .write()?;
        let mut own = self.registry.gather();
        if let (Some(synced), Some(family)) = (synced, own.iter_mut().find(|f| f.name() == SYNCED)) {
            *family = synced;
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&own, &mut text)?;
        Ok(out.write_all(&text)?)
    }

    fn count_dropped(&self, metric: &'static str, series: u64) {
        self.dropped.with_label_values(&[metric]).inc_by(series);
        if series > 0 && !self.warned.swap(true, Relaxed) {
            tracing::warn!(
                metric,
                dropped = series,
                max_series = self.max_series,
                "series above --max-series are dropped and counted in kubehealer_series_dropped_total"
            );
        }
    }
}
