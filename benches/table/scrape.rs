//! What a scrape costs: KubeHealer's text beside the usual client library's gather and encode of as many series.

use std::sync::RwLock;

use jiff::Timestamp;
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::{Incidents, Sight};
use kubehealer::metrics::Metrics;
use kubehealer::objects::Pod;
use kubehealer::objects::decode::{Encoding, decode_list};
use prometheus::Encoder as _;

use crate::measure;

pub fn run(body: &[u8]) {
    let now = jiff::Timestamp::now();
    let mut incidents = Incidents::new();
    decode_list(body, Encoding::Protobuf, |pod: Pod| {
        let diagnosis = diagnose(&pod, &Context::pod_only(), now);
        let workload = workload_of(&pod);
        incidents.apply(pod, &workload, diagnosis, Sight::First, now);
    })
    .unwrap();
    let incidents = RwLock::new(incidents);
    let metrics = Metrics::new(10_000_000);
    let (ours, series) = render(&metrics, &incidents, now);
    let theirs = library(series);
    println!(
        "{} open incidents, {series} series: {:.2} ms of CPU, {:.2} us a series; prometheus crate, as many series: {:.2} ms; ratio {:.3}",
        incidents.read().unwrap().open_count(),
        ours * 1e3,
        ours * 1e6 / series as f64,
        theirs * 1e3,
        ours / theirs,
    );
}

/// CPU seconds of one scrape, and how many series it has.
fn render(metrics: &Metrics, incidents: &RwLock<Incidents>, now: Timestamp) -> (f64, usize) {
    let series = metrics.render(incidents, now).lines().filter(|l| !l.starts_with('#')).count();
    let before = measure::cpu();
    for _ in 0..10 {
        std::hint::black_box(metrics.render(incidents, now));
    }
    ((measure::cpu() - before).as_secs_f64() / 10.0, series)
}

/// A gauge of nine labels, as a program of the usual kind would keep it.
fn library(series: usize) -> f64 {
    let labels = [
        "namespace",
        "pod",
        "container",
        "container_type",
        "workload_kind",
        "workload",
        "node",
        "reason",
        "severity",
    ];
    let gauge = prometheus::IntGaugeVec::new(prometheus::Opts::new("pod_unhealthy", "x"), &labels).unwrap();
    let registry = prometheus::Registry::new();
    registry.register(Box::new(gauge.clone())).unwrap();
    for n in 0..series {
        let (namespace, workload, pod, node) = (
            format!("team-{:03}", n % 100),
            format!("app-{:05}", n / 10),
            format!("app-{:05}-5d8f9c7b6d-{n:07}", n / 10),
            format!("node-{:04}", n / 30),
        );
        let values =
            [&namespace, &pod, "app", "app", "Deployment", &workload, &node, "CrashLoopBackOff", "warning"];
        gauge.with_label_values(&values).set(1);
    }
    let scrape = || {
        let mut out = Vec::new();
        prometheus::TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        out.len()
    };
    scrape();
    let before = measure::cpu();
    for _ in 0..5 {
        std::hint::black_box(scrape());
    }
    (measure::cpu() - before).as_secs_f64() / 5.0
}
