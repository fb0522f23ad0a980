//! Memory and allocations, counted: exact and the same on every machine, so that a change that costs more than a fifth fails
//! here rather than in a cluster. What it costs in time is for `cargo bench --bench table`.
//!
//! A binary of its own, since the allocator counts for the whole process; one test, since tests run side by side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::alloc::System;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::core::ObjectList;
use kubehealer::cluster::lean::Lean;
use kubehealer::daemon::{self, Settings, Target};
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::files;
use kubehealer::incidents::{FirstSeen, Incidents};
use kubehealer::metrics::Metrics;
use kubehealer::objects::decode::{Encoding, protobuf_list, protobuf_object};
use kubehealer::objects::{Object as _, Packed, Pod};
use kubehealer::redact::redact;
use kubehealer::simulator::kubelet::{self, Termination};
use kubehealer::simulator::{Cluster, client};
use parking_lot::RwLock;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../benches/table/fleet.rs"]
mod fleet;
use fleet::Fleet;

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn held() -> usize {
    let stats = GLOBAL.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// What something cost.
#[derive(Clone, Copy)]
struct Cost {
    /// Heap that is held afterwards, bytes.
    held: usize,
    /// Heap that was asked for in between, bytes.
    asked: usize,
    /// Times that heap was asked for.
    times: usize,
}

fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let region = Region::new(GLOBAL);
    let result = work();
    let change = region.change();
    let cost = Cost {
        held: change.bytes_allocated.saturating_sub(change.bytes_deallocated),
        asked: change.bytes_allocated,
        times: change.allocations + change.reallocations,
    };
    (result, cost)
}

/// The pods of a list, from what the transport makes of it.
fn each(body: &[u8], encoding: Encoding, mut each: impl FnMut(Pod)) {
    match encoding {
        Encoding::Json => {
            let list: ObjectList<Lean<Pod>> = serde_json::from_slice(body).unwrap();
            list.items.into_iter().for_each(|pod| each(pod.into_object().unwrap()));
        }
        Encoding::Protobuf => {
            protobuf_list(body, |raw| each(protobuf_object(raw).unwrap())).unwrap();
        }
    }
}

fn decode(body: &[u8], encoding: Encoding) -> Vec<Pod> {
    let mut pods = Vec::new();
    each(body, encoding, |mut pod| {
        pod.compact();
        pods.push(pod);
    });
    pods.shrink_to_fit();
    pods
}

/// The figures as they are, and as they were when they were last looked at.
#[derive(Default)]
struct Gate(Vec<String>);

impl Gate {
    fn hold(&mut self, what: &str, now: f64, was: f64) {
        println!("{what}: {now:.3} (was {was})");
        if now > was * 1.2 {
            self.0.push(format!("{what} rose from {was} to {now:.3}"));
        }
        if now < was * 0.7 {
            self.0.push(format!("{what} fell from {was} to {now:.3}: very good, now hold it there"));
        }
    }
}

/// The list of a simulated cluster of many pods.
fn list(pods: u32, failing: f64, accept: &'static str) -> Vec<u8> {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    let _fleet = Fleet::new(&cluster, pods, failing);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = http::Request::get("/api/v1/pods").header("accept", accept);
        let request = request.body(kube::client::Body::empty()).unwrap();
        let answer = client(&cluster).send(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes().to_vec()
    })
}

#[test]
fn memory_and_allocations_have_not_grown_by_a_fifth() {
    let mut gate = Gate::default();

    // The patterns that texts are looked through with are compiled when the first text asks for them, however many pods fail.
    let kinds = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/secrets.txt"))
        .unwrap();
    let ((), patterns) = cost(|| kinds.lines().for_each(|line| drop(redact(line))));
    gate.hold("heap of the patterns that hide secrets, bytes", patterns.held as f64, PATTERNS_HEAP);

    // A slim pod of the realistic mix.
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings");
    let recorded = std::fs::read(recordings.join("final/pods.json")).unwrap();
    let (pods, slim) = cost(|| decode(&recorded, Encoding::Json));
    let count = pods.len() as f64;
    gate.hold("heap of a recorded pod as decoded, bytes", slim.held as f64 / count, SLIM_HEAP);
    let (packed, kept) = cost(|| pods.iter().map(Packed::new).collect::<Vec<_>>());
    let kept = kept.held as f64 / count;
    gate.hold("heap of a recorded pod as kept, bytes", kept, KEPT_HEAP);
    assert!(kept <= 1024.0, "a slim pod is to take at most 1 KB");
    assert!(packed.iter().zip(&pods).all(|(packed, pod)| packed.unpack() == *pod));
    drop((packed, pods));

    // What a dump holds most of.
    let events = [recordings.join("final/events.json")];
    drop(files::read(&events, std::io::empty()));
    let (dump, cost_of_events) = cost(|| files::read(&events, std::io::empty()));
    let count = dump.snapshot.events.len() as f64;
    gate.hold("heap of a recorded event in a dump, bytes", cost_of_events.held as f64 / count, EVENT_HEAP);
    drop(dump);

    // Against the full type, on the pods of the simulator, in both encodings.
    let json = list(500, 0.02, "application/json");
    let protobuf = list(500, 0.02, "application/vnd.kubernetes.protobuf");
    let (full, full_cost) =
        cost(|| serde_json::from_slice::<k8s_openapi::List<k8s_openapi::api::core::v1::Pod>>(&json).unwrap());
    assert_eq!(full.items.len(), 500);
    drop(full);
    for (name, body, encoding, times, asked) in [
        ("JSON", &json, Encoding::Json, JSON_TIMES, JSON_ASKED),
        ("protobuf", &protobuf, Encoding::Protobuf, PB_TIMES, PB_ASKED),
    ] {
        let (pods, cost) = cost(|| decode(body, encoding));
        assert_eq!(pods.len(), 500);
        let ratio = |a: usize, b: usize| a as f64 / b as f64;
        gate.hold(
            &format!("allocations of decoding {name}, of full"),
            ratio(cost.times, full_cost.times),
            times,
        );
        gate.hold(
            &format!("bytes asked for in decoding {name}, of full"),
            ratio(cost.asked, full_cost.asked),
            asked,
        );
    }

    // From decoded pods to the state of the incidents.
    let pods = decode(&list(20_000, 0.0, "application/vnd.kubernetes.protobuf"), Encoding::Protobuf);
    let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
    let apply = |incidents: &mut Incidents, pod: &Pod, sight| {
        let diagnosis = diagnose(pod, &Context::pod_only(), now);
        let workload = workload_of(pod);
        incidents.apply(pod, &workload, diagnosis, sight, now);
    };
    let mut incidents = Incidents::new();
    let before = held();
    for pod in &pods {
        apply(&mut incidents, pod, FirstSeen::InFirstList);
    }
    assert_eq!(incidents.pods(), 20_000);
    gate.hold("heap of a healthy pod, bytes", (held() - before) as f64 / 20_000.0, HEALTHY_HEAP);
    let ((), update) = cost(|| pods.iter().for_each(|pod| apply(&mut incidents, pod, FirstSeen::Later)));
    gate.hold("allocations of an update that changes nothing", update.times as f64 / 20_000.0, UPDATE_TIMES);

    drop(incidents);

    // From the bytes to the state of the incidents, with 2 % of the pods failing.
    for (name, body, encoding, was) in [
        ("JSON", &json, Encoding::Json, JSON_UPDATE_TIMES),
        ("protobuf", &protobuf, Encoding::Protobuf, PB_UPDATE_TIMES),
    ] {
        let mut incidents = Incidents::new();
        let mut updates = || {
            each(body, encoding, |pod| apply(&mut incidents, &pod, FirstSeen::Later));
        };
        updates();
        let ((), update) = cost(updates);
        gate.hold(&format!("allocations of an update from {name}"), update.times as f64 / 500.0, was);
    }

    // A pod that fails, with all that is known of it: what a storm multiplies.
    let failing = decode(&list(2_000, 1.0, "application/vnd.kubernetes.protobuf"), Encoding::Protobuf);
    for pod in failing.iter().take(3) {
        diagnose(pod, &Context::pod_only(), now);
    }
    let mut incidents = Incidents::new();
    let before = held();
    for pod in &failing {
        apply(&mut incidents, pod, FirstSeen::InFirstList);
    }
    assert!(incidents.open_count() > 1_000);
    gate.hold("heap of a pod that fails, bytes", (held() - before) as f64 / 2_000.0, FAIL_HEAP);

    // A scrape of them: what it allocates, and that it keeps nothing.
    let incidents = RwLock::new(incidents);
    let (metrics, mut text) = (Metrics::new(1_000_000).unwrap(), Vec::with_capacity(8 << 20));
    let mut scrape = || {
        text.clear();
        metrics.write(&incidents, now, &mut text).unwrap();
    };
    scrape();
    let ((), cost) = cost(&mut scrape);
    let series = text.iter().filter(|b| **b == b'\n').count() as f64;
    assert!(series > 5_000.0 && text.capacity() == 8 << 20);
    gate.hold("allocations of a scrape, a series", cost.times as f64 / series, SCRAPE_TIMES);
    assert!(cost.held < 10_000, "a scrape leaves {} B behind", cost.held);

    assert!(gate.0.is_empty(), "{:#?}", gate.0);
    drop((incidents, failing));

    read_a_support_bundle_of_200_mb();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(hold_with_names_that_come_and_go());
}

/// Counts what goes through.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Notes how much is held whenever more is read.
struct Observed<R> {
    inner: R,
    most: usize,
}

impl<R: Read> Read for Observed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.most = self.most.max(held());
        self.inner.read(buffer)
    }
}

/// A bundle as support gets it: 20,000 pods in 20 namespaces and 4,000 logs that hardly compress, made while it is read.
fn read_a_support_bundle_of_200_mb() {
    let (reader, writer) = std::io::pipe().unwrap();
    let made = std::thread::spawn(move || {
        let gzip = GzEncoder::new(Counted { inner: writer, bytes: 0 }, Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        let mut put = |name: String, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, format!("bundle/cluster-resources/{name}"), content).unwrap();
        };
        let mut random = fastrand::Rng::with_seed(7);
        let noise: String = (0..4 << 20).map(|_| random.alphanumeric()).collect();
        let mut log = String::new();
        let json = list(1_000, 0.02, "application/json");
        let json = String::from_utf8(json).unwrap();
        for namespace in 0..20 {
            for pod in 0..200 {
                log.clear();
                while log.len() < 70_000 {
                    let from = random.usize(..noise.len() - 100);
                    log.push_str(&noise[from..from + 100]);
                    log.push('\n');
                }
                put(format!("pods/logs/ns-{namespace}/pod-{pod}/main.log"), log.as_bytes());
            }
            let pods = json.replace("\"uid\":\"", &format!("\"uid\":\"{namespace}-"));
            put(format!("pods/ns-{namespace}.json"), pods.as_bytes());
        }
        tar.into_inner().unwrap().finish().unwrap().bytes
    });
    let before = held();
    let mut bundle = Observed { inner: reader, most: 0 };
    let dump = files::read(&["-".into()], &mut bundle);
    let most = (bundle.most.max(held()) - before) / 1_000_000;
    let size = made.join().unwrap() / 1_000_000;
    println!("a bundle of {size} MB: at most {most} MB held, {} pods", dump.snapshot.pods.len());
    assert!(size >= 200 && most < 200, "{size} {most}");
    assert_eq!((dump.snapshot.pods.len(), dump.broken.len()), (20_000, 0), "{:?}", dump.broken);
    let kept = dump.snapshot.logs.len();
    assert!(kept > 500 && kept + dump.skipped.len() == 4_000, "{kept} {}", dump.skipped.len());
}

/// The whole daemon and the simulated cluster, for three simulated days in which a pod with a fresh name comes, fails and goes
/// every minute. The counters of pods that are gone are kept for a day, so that the first day fills them.
async fn hold_with_names_that_come_and_go() {
    const DAY: u32 = 24 * 60;
    let before = held();
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 1.0);
    // What the simulated cluster remembers is not to be counted.
    cluster.set_history(100);
    let mut settings = Settings::new(Target::Client(client(&cluster), String::new()));
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.clock = Arc::new({
        let cluster = cluster.clone();
        move || cluster.now()
    });
    let running = daemon::start(settings).await.unwrap();
    let (metrics, mut days) = (Metrics::new(20_000).unwrap(), Vec::new());
    for minute in 0..3 * DAY {
        let manifest = json!({"metadata": {"namespace": "batch", "name": format!("report-{minute:06}")},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "report:1"}]}});
        let mut pod = kubelet::Pod::create(&cluster, manifest).unwrap();
        pod.assign("node-a");
        pod.accept();
        pod.start("main");
        pod.publish();
        tokio::time::sleep(Duration::from_secs(20)).await;
        pod.terminate("main", &Termination::exit(1));
        pod.publish();
        tokio::time::sleep(Duration::from_secs(20)).await;
        pod.remove();
        tokio::time::sleep(Duration::from_secs(20)).await;
        if minute % 60 == 59 {
            metrics.write(&running.incidents, cluster.now(), &mut std::io::sink()).unwrap();
        }
        if (minute + 1) % DAY == 0 {
            days.push(held() - before);
        }
    }
    println!("heap at the end of each day, bytes: {days:?}");
    let (shown, resolved) = {
        let incidents = running.incidents.read();
        (incidents.open_count(), incidents.resolved().count())
    };
    assert!(shown < 10 && resolved > 100, "{shown} incidents are open, {resolved} are remembered");
    running.stop().await;
    assert!(days[2] as f64 <= days[0] as f64 * 1.05, "heap at the end of each day, bytes: {days:?}");
}

const SLIM_HEAP: f64 = 2116.0;
const EVENT_HEAP: f64 = 354.0;
const KEPT_HEAP: f64 = 631.0;
const JSON_TIMES: f64 = 0.446;
const JSON_ASKED: f64 = 0.145;
const PB_TIMES: f64 = 0.376;
const PB_ASKED: f64 = 0.128;
const PATTERNS_HEAP: f64 = 7_115_000.0;
const HEALTHY_HEAP: f64 = 274.0;
const FAIL_HEAP: f64 = 2507.0;
const SCRAPE_TIMES: f64 = 8.02;
const UPDATE_TIMES: f64 = 2.0;
const JSON_UPDATE_TIMES: f64 = 113.9;
const PB_UPDATE_TIMES: f64 = 87.8;
