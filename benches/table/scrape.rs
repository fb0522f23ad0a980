//! What a scrape costs: KubeHealer's text, to its last byte, beside the usual client library's gather and encode of the same
//! series.
//!
//! KubeHealer remembers how pods looked that have not changed, so three scrapes are measured: the first, one after a tenth of
//! the pods that fail was updated, and one after nothing was. A crash loop at its back-off of five minutes is updated some
//! three times within seconds (it starts, it ends, it waits), once in five minutes; of many such, every 30 s another tenth.
//! That is what the goals are held against.

use std::cell::RefCell;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::{Incidents, Sight, uid_of};
use kubehealer::metrics::Metrics;
use kubehealer::objects::Pod;
use kubehealer::objects::decode::{protobuf_list, protobuf_object};
use kubehealer::simulator::bulk::Fleet;
use kubehealer::simulator::{Cluster, client};
use prometheus::Encoder as _;

use crate::measure;
use crate::parent::goal;

/// The pods that fail are updated in so many parts.
const TENTH: usize = 10;

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
            apply(&mut incidents, &pod, Sight::First, now);
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

fn apply(incidents: &mut Incidents, pod: &Pod, sight: Sight, now: jiff::Timestamp) {
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

/// The CPU time of one run of several, in seconds: the median. `before` each of them something happens that does not count.
fn median(times: usize, mut before: impl FnMut(), mut run: impl FnMut()) -> f64 {
    let mut each: Vec<f64> = (0..=times)
        .map(|_| {
            before();
            let start = cpu();
            run();
            (cpu() - start).as_secs_f64()
        })
        .skip(1)
        .collect();
    each.sort_by(f64::total_cmp);
    each[times / 2]
}

/// Reads all of it, as the server does: each piece is gone when the next is asked for.
fn scrape(metrics: &Metrics, incidents: &RwLock<Incidents>, now: jiff::Timestamp) {
    for piece in metrics.render(incidents, now) {
        std::hint::black_box(&piece);
    }
}

pub fn run() {
    let now = jiff::Timestamp::now();
    let mut goals = Vec::new();
    println!(
        "| scrape of | series | bytes | CPU, all new | a tenth updated | nothing updated | prometheus crate | ratio, a tenth updated | update waits for the lock, p99 / longest |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (pods, failing) in [(30_000, 0.02), (150_000, 0.02), (150_000, 0.2)] {
        let (incidents, mut fail) = incidents(pods, failing, now);
        let incidents = RwLock::new(incidents);
        let mut part = (0..TENTH).cycle();
        let mut update = || {
            let part = part.next().unwrap();
            let mut incidents = incidents.write().unwrap();
            for pod in fail.iter_mut().skip(part).step_by(TENTH) {
                fail_again(pod);
                apply(&mut incidents, pod, Sight::Later, now);
            }
        };
        let metrics = Metrics::new(10_000_000);
        // What has ended is counted from now on: all series are there before anything is measured.
        (0..TENTH).for_each(|_| update());
        let fresh = RefCell::new(Metrics::new(10_000_000));
        let forget = || drop(fresh.replace(Metrics::new(10_000_000)));
        let first = median(5, forget, || scrape(&fresh.borrow(), &incidents, now));
        let ours = median(31, &mut update, || scrape(&metrics, &incidents, now));
        let again = median(21, || (), || scrape(&metrics, &incidents, now));
        let text = metrics.render(&incidents, now).text();
        let series = text.lines().filter(|l| !l.starts_with('#')).count();
        let registry = library(&text);
        let theirs = median(
            5,
            || (),
            || {
                let mut out = Vec::new();
                prometheus::TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
                std::hint::black_box(out);
            },
        );
        // Now and then the machine itself takes a thread away for longer than any piece of a scrape lasts, so the median of
        // several runs.
        let mut runs: Vec<_> = (0..5).map(|_| waits(&incidents, now)).collect();
        runs.sort_by_key(|(_, longest)| *longest);
        let (p99, longest) = runs[2];
        println!(
            "| {} failing of {pods} pods | {series} | {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {:.3} | {:.2} / {:.2} ms |",
            incidents.read().unwrap().open_count(),
            text.len(),
            first * 1e3,
            ours * 1e3,
            again * 1e3,
            theirs * 1e3,
            ours / theirs,
            p99.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3,
        );
        goals.push((series, ours, theirs, longest));
    }
    println!("\n| goal | measured | |\n|---|---|---|");
    for (at, (series, ours, theirs, longest)) in goals.into_iter().enumerate() {
        let (ms, ratio) = (ours * 1e3, ours / theirs);
        match at {
            // 600 pods that fail have about 3,000 series, and 3,000 of them about 15,000.
            0 => goal("3,000 series in 1 ms of CPU", &format!("{series} series: {ms:.2} ms"), ms <= 1.0),
            1 => goal(
                "a scrape of 3,000 pods that fail in 1 ms of CPU",
                &format!("{series} series: {ms:.2} ms"),
                ms <= 1.0,
            ),
            _ => {
                let text = format!("{series} series: {ms:.1} of {:.1} ms: {ratio:.3} x", theirs * 1e3);
                goal("150,000 series at 0.05 x of the prometheus crate", &text, ratio <= 0.05);
                let text =
                    format!("{:.2} ms at the longest, with {series} series", longest.as_secs_f64() * 1e3);
                goal("a scrape holds an update up for 5 ms at most", &text, longest.as_millis() < 5);
            }
        }
    }
}

/// How long an update waits for the lock while scrapes go on without a pause, each of which looks at every pod that fails.
fn waits(incidents: &RwLock<Incidents>, now: jiff::Timestamp) -> (Duration, Duration) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Relaxed) {
                scrape(&Metrics::new(10_000_000), incidents, now);
            }
        });
        let mut waits: Vec<Duration> = (0..2_000)
            .map(|_| {
                std::thread::sleep(Duration::from_micros(500));
                let asked = Instant::now();
                drop(incidents.write().unwrap());
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
            labels.trim_end_matches('"').split("\",").map(|l| l.split_once("=\"").unwrap()).unzip();
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
