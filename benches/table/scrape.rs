//! What a scrape costs: CPU time from the incidents to the last byte of the text, beside a registry that holds the same
//! series as gauges and only has to gather and encode them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::{FirstSeen, Incidents, uid_of};
use kubehealer::metrics::Metrics;
use kubehealer::objects::Pod;
use kubehealer::objects::decode::{protobuf_list, protobuf_object};
use kubehealer::simulator::{Cluster, client};
use parking_lot::RwLock;
use prometheus::Encoder as _;

use crate::fleet::Fleet;
use crate::measure;
use crate::parent::goal;

/// The pods, and those of them that fail.
fn incidents(pods: u32, failing: f64, now: jiff::Timestamp) -> (Incidents, Vec<Pod>) {
    let cluster = Cluster::new();
    cluster.set_clock(now - jiff::SignedDuration::from_mins(10), 0.0);
    let _fleet = Fleet::new(&cluster, pods, failing);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async { client(&cluster) });
    let mut incidents = Incidents::new();
    let mut fail = Vec::new();
    let mut from = String::new();
    loop {
        let body = runtime.block_on(async {
            let request = http::Request::get(format!("/api/v1/pods?limit=5000&continue={from}"))
                .header("accept", "application/vnd.kubernetes.protobuf")
                .body(kube::client::Body::empty());
            client.send(request.unwrap()).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        });
        let end = protobuf_list(&body, |raw| {
            let pod: Pod = protobuf_object(raw).unwrap();
            apply(&mut incidents, &pod, FirstSeen::InFirstList, now);
            if incidents.pod(uid_of(&pod)).is_some() {
                fail.push(pod);
            }
        });
        from = end.unwrap().continue_token;
        if from.is_empty() {
            return (incidents, fail);
        }
    }
}

fn apply(incidents: &mut Incidents, pod: &Pod, sight: FirstSeen, now: jiff::Timestamp) {
    let diagnosis = diagnose(pod, &Context::pod_only(), now);
    incidents.apply(pod, &workload_of(pod), diagnosis, sight, now);
}

/// A pod as it is after it was tried once more: it has ended anew, or its image is still not there.
fn fail_again(pod: &mut Pod) {
    for status in &mut pod.status.container_statuses {
        let ends = [&mut status.state, &mut status.last_state].map(|state| state.terminated.as_deref_mut());
        let mut ended = false;
        for end in ends.into_iter().flatten() {
            end.started_at.seconds += 10;
            end.finished_at.seconds += 10;
            ended = true;
        }
        status.restart_count += i32::from(ended);
        if let Some(waiting) = status.state.waiting.as_deref_mut().filter(|_| !ended) {
            let (err, backs_off) = ("ErrImagePull", "ImagePullBackOff");
            waiting.reason = if waiting.reason == err { backs_off } else { err }.to_owned();
        }
    }
}

/// The system accounts for a thread when it gives way.
fn cpu() -> Duration {
    std::thread::sleep(Duration::from_micros(100));
    measure::cpu()
}

/// The CPU time of one run of several, in seconds: the median.
fn median(times: usize, mut run: impl FnMut()) -> f64 {
    let mut each: Vec<f64> = (0..=times)
        .map(|_| {
            let start = cpu();
            run();
            (cpu() - start).as_secs_f64()
        })
        .skip(1)
        .collect();
    each.sort_by(f64::total_cmp);
    each[times / 2]
}

/// Takes the text as the server does: what is written is gone when the next comes.
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += std::hint::black_box(bytes).len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn scrape(metrics: &Metrics, incidents: &RwLock<Incidents>, now: jiff::Timestamp) {
    metrics.write(incidents, now, &mut Count(0)).unwrap();
}

/// No limit.
const ALL: usize = 10_000_000;
/// That of `--max-series`.
const DEFAULT: usize = 20_000;

pub fn run() {
    let now = jiff::Timestamp::now();
    let mut goals = Vec::new();
    println!(
        "| scrape of | --max-series | series | bytes | CPU | registry of gauges | update waits for the lock, p99 / longest |\n\
         |---|---|---|---|---|---|---|"
    );
    for (pods, failing, max_series) in
        [(30_000, 0.02, ALL), (150_000, 0.02, ALL), (150_000, 0.2, DEFAULT), (150_000, 0.2, ALL)]
    {
        let (mut incidents, mut fail) = incidents(pods, failing, now);
        // What has ended is counted from now on: all series are there before anything is measured.
        for pod in &mut fail {
            fail_again(pod);
            apply(&mut incidents, pod, FirstSeen::Later, now);
        }
        let incidents = RwLock::new(incidents);
        let metrics = Metrics::new(max_series).unwrap();
        let mut text = Vec::new();
        metrics.write(&incidents, now, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let series = text.lines().filter(|l| !l.starts_with('#')).count();
        let ours = median(15, || scrape(&metrics, &incidents, now));
        let registry = library(&text);
        let theirs = median(5, || {
            let mut out = Vec::new();
            prometheus::TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
            std::hint::black_box(out);
        });
        // Now and then the machine itself takes a thread away for longer than any part of a scrape lasts, so the median of
        // several runs.
        let mut runs: Vec<_> = (0..5).map(|_| waits(&metrics, &incidents, now)).collect();
        runs.sort_by_key(|(_, longest)| *longest);
        let (p99, longest) = runs[2];
        println!(
            "| {} failing of {pods} pods | {max_series} | {series} | {} | {:.1} ms | {:.1} ms | {:.2} / {:.2} ms |",
            incidents.read().open_count(),
            text.len(),
            ours * 1e3,
            theirs * 1e3,
            p99.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3,
        );
        goals.push((series, ours, longest));
    }
    println!("\n| goal | measured | |\n|---|---|---|");
    for (series, ours, longest) in goals {
        // Every 30 s.
        let share = ours / 30.0 * 100.0;
        let text =
            format!("{series} series: {:.1} ms, {share:.2} % of a core at a scrape in 30 s", ours * 1e3);
        goal("a scrape takes less than 2 % of a core", &text, share < 2.0);
        let text = format!("{series} series: {:.2} ms at the longest", longest.as_secs_f64() * 1e3);
        goal("a scrape holds an update up for 5 ms at most", &text, longest.as_millis() < 5);
    }
}

/// How long an update waits for the lock while scrapes go on without a pause.
fn waits(metrics: &Metrics, incidents: &RwLock<Incidents>, now: jiff::Timestamp) -> (Duration, Duration) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Relaxed) {
                scrape(metrics, incidents, now);
            }
        });
        let mut waits: Vec<Duration> = (0..2_000)
            .map(|_| {
                std::thread::sleep(Duration::from_micros(500));
                let asked = Instant::now();
                drop(incidents.write());
                asked.elapsed()
            })
            .collect();
        stop.store(true, Relaxed);
        waits.sort();
        (waits[waits.len() * 99 / 100], waits[waits.len() - 1])
    })
}

/// The same series, as a program of the usual kind would keep them.
fn library(text: &str) -> prometheus::Registry {
    let registry = prometheus::Registry::new();
    let mut family: Option<(&str, prometheus::IntGaugeVec)> = None;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let (names, values): (Vec<&str>, Vec<&str>) =
            labels.strip_suffix('"').unwrap().split("\",").map(|l| l.split_once("=\"").unwrap()).unzip();
        if family.as_ref().is_none_or(|(of, _)| *of != name) {
            let vec = prometheus::IntGaugeVec::new(prometheus::Opts::new(name, "x"), &names).unwrap();
            registry.register(Box::new(vec.clone())).unwrap();
            family = Some((name, vec));
        }
        let value = value.parse::<f64>().unwrap() as i64;
        family.as_ref().unwrap().1.with_label_values(&values).set(value);
    }
    registry
}
