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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::Timestamp;
use parking_lot::RwLock;
use prometheus::{Encoder as _, IntCounterVec, IntGaugeVec, Opts, Registry, Result, TextEncoder};

use crate::diagnosis::OwnerLabels;
use crate::incidents::Incidents;
use incidents::{LIMITED, Scrape};
pub use sources::{OWNERS, Sources};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels that Prometheus, or the rules, set.
const OF_PROMETHEUS: [&str; 7] = ["cluster", "job", "instance", "alertname", "alertstate", "le", "quantile"];

/// Labels whose names no owner label may have.
fn taken_labels() -> impl Iterator<Item = &'static str> {
    LIMITED.iter().flat_map(|family| family.labels.iter().copied()).chain(OF_PROMETHEUS)
}

pub struct Metrics {
    registry: Registry,
    /// The state of the watches and of the sources of evidence.
    pub sources: Arc<Sources>,
    /// Series per metric at most.
    max_series: usize,
    /// The names of the owner labels.
    owner_labels: Vec<String>,
    cluster_name: String,
    dropped: IntCounterVec,
    warned: AtomicBool,
}

impl Metrics {
    /// With at most so many series per metric. Fails only if two metrics have one name.
    pub fn new(max_series: usize) -> Result<Self> {
        let registry = Registry::new();
        let dropped = Opts::new(
            "kubehealer_series_dropped_total",
            "Series dropped from scrapes because their metric had reached the limit of --max-series, summed over all scrapes.",
        );
        let dropped = IntCounterVec::new(dropped, &["metric"])?;
        LIMITED.iter().for_each(|family| drop(dropped.with_label_values(&[family.name])));
        let build = Opts::new("kubehealer_build_info", "The version, as a label.");
        let build = IntGaugeVec::new(build, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(dropped.clone()))?;
        registry.register(Box::new(build))?;
        registry.register(Box::new(process::collector()?))?;
        let sources = Sources::new(&registry)?;
        let (owner_labels, cluster_name, warned) = (Vec::new(), String::new(), AtomicBool::new(false));
        Ok(Self { registry, sources, max_series, owner_labels, cluster_name, dropped, warned })
    }

    /// With these owner labels, in a cluster of this name. Gives the name of a label that metrics have already, if one is
    /// among them.
    pub fn labelled(
        mut self,
        owner_labels: &OwnerLabels,
        cluster_name: &str,
    ) -> std::result::Result<Self, String> {
        let taken: Vec<&str> = taken_labels().collect();
        if let Some(name) = owner_labels.names().find(|name| taken.contains(name)) {
            return Err(name.to_owned());
        }
        self.owner_labels = owner_labels.names().map(str::to_owned).collect();
        self.cluster_name = cluster_name.to_owned();
        Ok(self)
    }

    /// Writes the text. Takes a tenth of a second or more in a storm, and waits for `out`, so it is not for a task; the lock is
    /// free while it waits.
    pub fn write(&self, incidents: &RwLock<Incidents>, now: Timestamp, out: &mut dyn Write) -> Result<()> {
        // Read before the incidents: a list that is completed meanwhile must not stand beside the incidents of before, which
        // would look as if they had ended.
        let mut synced = self.sources.synced();
        let dropped = |metric, series| self.count_dropped(metric, series);
        Scrape {
            incidents,
            now,
            max_series: self.max_series,
            owner_labels: &self.owner_labels,
            cluster_name: &self.cluster_name,
            out,
            dropped: &dropped,
            lost: BTreeMap::new(),
        }
        .write()?;
        let mut text = Vec::new();
        synced.write(true, &mut text, out)?;
        text.clear();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_refuses_the_owner_labels_that_the_daemon_refuses() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../charts/kubehealer/values.schema.json")).unwrap();
        let pattern = schema["properties"]["ownerLabels"]["items"]["not"]["pattern"].as_str().unwrap();
        let refused = regex::Regex::new(pattern).unwrap();
        for name in taken_labels() {
            for separator in ["_", "-", ".", "/"] {
                let key = name.replace('_', separator);
                assert!(refused.is_match(&key), "the chart takes {key}");
            }
        }
        assert!(!refused.is_match("team") && !refused.is_match("app.kubernetes.io/part-of"));
    }
}
