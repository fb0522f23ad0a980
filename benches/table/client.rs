//! The programs that are compared. Each says a line of figures when its list is complete, and then obeys lines on its
//! standard input.

use std::convert::Infallible;
use std::io::BufRead as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod as FullPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, Config};
use kubehealer::cluster::watch::{InitialList, Resource, Settings, Watch, WatchScope};
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::store::{Mark, Uid};
use kubehealer::incidents::{FirstSeen, Incidents};
use kubehealer::objects::{Object as _, Pod};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use crate::measure;

/// What every kind counts.
#[derive(Default)]
struct Tally {
    lists: u64,
    updates: u64,
    /// Version and time of arrival in the store.
    arrivals: Vec<(u64, u64)>,
    incidents: Option<Incidents>,
    mark: Option<Mark>,
    opened: u64,
    open: usize,
    address: Option<std::net::SocketAddr>,
    /// Whether the daemon is asked for its counters.
    scraping: bool,
    /// Whether the daemon is asked if it is ready.
    probing: bool,
    probes: u32,
    unready: u32,
    last_opened: u64,
}

type Shared = Arc<(Mutex<Tally>, Notify)>;

fn arrived(shared: &Shared, version: Option<&str>) {
    let mut tally = shared.0.lock().unwrap();
    if tally.lists > 0 {
        tally.updates += 1;
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            tally.arrivals.push((version, measure::now()));
        }
    }
}

fn listed(shared: &Shared) {
    shared.0.lock().unwrap().lists += 1;
    shared.1.notify_one();
}

pub fn run(kind: &str, kubeconfig: &str) {
    // One thread, as `kubehealer watch` has it, which is the cheapest there is for all kinds.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let shared = Shared::default();
        // Room for what is measured, not counted to anyone.
        shared.0.lock().unwrap().arrivals.reserve(100_000);
        // The connection and all code that it needs.
        client.apiserver_version().await.unwrap();
        let base = (measure::anonymous(), measure::cpu(), measure::now());
        let path = kubeconfig.to_owned();
        // As a task of its own, as in the daemon.
        let work = {
            let (client, shared, kind) = (client.clone(), Arc::clone(&shared), kind.to_owned());
            tokio::spawn(async move {
                match kind.as_str() {
                    "naive" => naive(client, shared, |_| {}).await,
                    "stripped" => naive(client, shared, strip).await,
                    "lean" => lean(client, shared, watcher::Config::default()).await,
                    "lean-watchlist" => {
                        lean(client, shared, watcher::Config::default().streaming_lists()).await
                    }
                    "json" => ours(client, shared, false, InitialList::Pages).await,
                    "protobuf" => ours(client, shared, true, InitialList::Pages).await,
                    "json-watchlist" => ours(client, shared, false, InitialList::Auto).await,
                    "watchlist" => ours(client, shared, true, InitialList::Auto).await,
                    "daemon" => daemon(path, shared).await,
                    other => panic!("no kind {other}"),
                }
            })
        };
        tokio::select! {
            never = work => match never.unwrap() {},
            () = obey(&shared, base) => {}
        }
    });
}

/// Reports the list, then does what it is told.
async fn obey(shared: &Shared, (anonymous, cpu, at): (u64, Duration, u64)) {
    let (lines, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if lines.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    shared.1.notified().await;
    let (wall, used) = (measure::now() - at, measure::cpu() - cpu);
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!(
        "{}",
        json!({
            "wall": wall as f64 / 1e9, "cpu": used.as_secs_f64(), "anonymous": measure::anonymous() - anonymous,
            "resident": measure::resident(), "peak": measure::peak(),
        })
    );
    let mut started = (0, Duration::ZERO, 0);
    while let Some(command) = commands.recv().await {
        let words: Vec<&str> = command.split(' ').collect();
        // What the daemon has used is read before it is asked for its counters: asking costs as well.
        let mut used = None;
        if words[0] == "stop" && shared.0.lock().unwrap().address.is_some() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            used = Some(measure::cpu() - started.1);
        }
        {
            let mut tally = shared.0.lock().unwrap();
            tally.scraping = matches!(words[0], "stop" | "relist");
            tally.probing = words[0] == "storm";
        }
        match words[0] {
            "go" => {
                let mut tally = shared.0.lock().unwrap();
                tally.arrivals.clear();
                started = (tally.updates, measure::cpu(), measure::now());
                println!("{{}}");
            }
            "stop" => {
                // Until everything has come.
                let wanted: u64 = words[1].parse().unwrap();
                let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
                while shared.0.lock().unwrap().updates < started.0 + wanted
                    && tokio::time::Instant::now() < deadline
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let used = used.unwrap_or_else(|| measure::cpu() - started.1);
                let tally = shared.0.lock().unwrap();
                let text: String =
                    tally.arrivals.iter().map(|(version, at)| format!("{version} {at}\n")).collect();
                std::fs::write(words[2], text).unwrap();
                println!(
                    "{}",
                    json!({
                        "updates": tally.updates - started.0, "cpu": used.as_secs_f64(),
                        "resident": measure::resident(), "peak": measure::peak(),
                    })
                );
            }
            "relist" => {
                shared.1.notified().await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                println!(
                    "{}",
                    json!({"resident": measure::resident(), "anonymous": measure::anonymous() - anonymous, "peak": measure::peak()})
                );
            }
            "storm" => {
                let wanted: usize = words[1].parse().unwrap();
                let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
                loop {
                    let open = open(&shared.0.lock().unwrap());
                    if open >= wanted || tokio::time::Instant::now() > deadline {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                // Until the log has counted up what it held back.
                tokio::time::sleep(Duration::from_secs(25)).await;
                let (resident, peak) = (measure::resident(), measure::peak());
                let address = shared.0.lock().unwrap().address.unwrap();
                for _ in 0..3 {
                    scrape(address).await;
                }
                let tally = shared.0.lock().unwrap();
                let (lines, told) = log::told();
                println!(
                    "{}",
                    json!({
                        "open": open(&tally), "last": tally.last_opened,
                        "resident": resident, "peak": peak, "scraped": measure::peak(), "opened": tally.opened,
                        "probes": tally.probes, "unready": tally.unready, "lines": lines, "told": told,
                    })
                );
            }
            "figures" => {
                let tally = shared.0.lock().unwrap();
                println!(
                    "{}",
                    json!({
                        "address": tally.address.map(|a| a.to_string()), "open": open(&tally),
                        "cpu": measure::cpu_of_all().as_secs_f64(), "peak": measure::peak(),
                    })
                );
            }
            other => panic!("{other}?"),
        }
    }
}

fn open(tally: &Tally) -> usize {
    tally.incidents.as_ref().map_or(tally.open, Incidents::open_count)
}

/// As tutorials do it.
async fn naive(client: Client, shared: Shared, change: fn(&mut FullPod)) -> Infallible {
    let (_reader, writer) = reflector::store();
    let watch = watcher(Api::<FullPod>::all(client), watcher::Config::default()).modify(change);
    let mut stream = std::pin::pin!(reflector(writer, watch).default_backoff());
    loop {
        match stream.next().await.unwrap() {
            Ok(watcher::Event::InitDone) => listed(&shared),
            Ok(watcher::Event::Apply(pod)) => arrived(&shared, pod.metadata.resource_version.as_deref()),
            _ => {}
        }
    }
}

/// What is commonly dropped to save memory.
fn strip(pod: &mut FullPod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        spec.volumes = None;
        spec.tolerations = None;
        spec.init_containers = None;
        for container in &mut spec.containers {
            *container = k8s_openapi::api::core::v1::Container {
                name: std::mem::take(&mut container.name),
                image: container.image.take(),
                resources: container.resources.take(),
                ..Default::default()
            };
        }
    }
}

/// A slim type through kube-runtime's reflector, with no more metadata than its store needs.
#[derive(Clone, Debug)]
struct LeanPod {
    metadata: ObjectMeta,
    #[allow(dead_code, reason = "kept to be weighed")]
    pod: Pod,
}

impl<'de> Deserialize<'de> for LeanPod {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut pod = Pod::deserialize(deserializer)?;
        pod.compact();
        let meta = &pod.metadata;
        let metadata = ObjectMeta {
            name: Some(meta.name.clone()),
            namespace: Some(meta.namespace.clone()),
            uid: Some(meta.uid.clone()),
            resource_version: Some(meta.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, pod })
    }
}

impl kube::Resource for LeanPod {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;
    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "Pod".into()
    }
    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

async fn lean(client: Client, shared: Shared, config: watcher::Config) -> Infallible {
    let (_reader, writer) = reflector::store();
    let watch = watcher(Api::<LeanPod>::all(client), config);
    let mut stream = std::pin::pin!(reflector(writer, watch).default_backoff());
    loop {
        match stream.next().await.unwrap() {
            Ok(watcher::Event::InitDone) => listed(&shared),
            Ok(watcher::Event::Apply(pod)) => arrived(&shared, pod.metadata.resource_version.as_deref()),
            _ => {}
        }
    }
}

/// The way of the daemon: from the socket to the state of the incidents.
async fn ours(client: Client, shared: Shared, protobuf: bool, initial: InitialList) -> Infallible {
    shared.0.lock().unwrap().incidents = Some(Incidents::new());
    let watch = Watch::new(
        Resource::PODS,
        WatchScope::default(),
        Settings { protobuf, initial, ..Settings::default() },
    );
    watch
        .run(client, |event: watcher::Event<Pod>| {
            let now = jiff::Timestamp::now();
            let mut tally = shared.0.lock().unwrap();
            let first = tally.lists == 0;
            let incidents = tally.incidents.as_mut().unwrap();
            let mut events = Vec::new();
            match event {
                watcher::Event::Init => tally.mark = Some(incidents.mark()),
                watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                    let version = (!first).then(|| pod.metadata.resource_version.clone());
                    let diagnosis = diagnose(&pod, &Context::pod_only(), now);
                    let sight = if first { FirstSeen::InFirstList } else { FirstSeen::Later };
                    let workload = workload_of(&pod);
                    events = incidents.apply(&pod, &workload, diagnosis, sight, now);
                    drop(tally);
                    if version.is_some() {
                        arrived(&shared, version.as_deref());
                    }
                }
                watcher::Event::Delete(pod) => {
                    let uid = Uid::of(&pod.metadata.uid);
                    events = incidents.gone(uid, Some(&pod), now);
                }
                watcher::Event::InitDone => {
                    let mark = tally.mark.unwrap();
                    events = tally.incidents.as_mut().unwrap().sweep(mark, None, now);
                    drop(tally);
                    listed(&shared);
                }
            }
            if !events.is_empty() {
                let mut tally = shared.0.lock().unwrap();
                tally.opened += events.len() as u64;
                tally.last_opened = measure::now();
            }
        })
        .await
}

/// The daemon itself, with its server, and its watches of owners and nodes.
async fn daemon(kubeconfig: String, shared: Shared) -> Infallible {
    use kubehealer::cluster::client::Connect;
    use kubehealer::daemon::{Settings, Target, start};

    log::count();
    let how = Connect { kubeconfig: Some(kubeconfig.into()), ..Connect::default() };
    let mut settings = Settings::new(Target::Find(how));
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.max_series = 1_000_000;
    let running = start(settings).await.unwrap();
    shared.0.lock().unwrap().address = Some(running.address);
    while !get(running.address, "/readyz").await.starts_with("HTTP/1.1 200") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    listed(&shared);
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (scraping, probing) = {
            let mut tally = shared.0.lock().unwrap();
            tally.open = running.incidents.read().open_count();
            if tally.open != tally.opened as usize {
                tally.opened = tally.open as u64;
                tally.last_opened = measure::now();
            }
            (tally.scraping, tally.probing)
        };
        if probing {
            let ready = get(running.address, "/readyz").await.starts_with("HTTP/1.1 200");
            let mut tally = shared.0.lock().unwrap();
            tally.probes += 1;
            tally.unready += u32::from(!ready);
        }
        // Asking costs as well, and is not to be measured.
        if !scraping {
            continue;
        }
        let text = get(running.address, "/metrics").await;
        let events = |kind: &str| {
            sample(&text, &format!("kubehealer_watch_events_total{{resource=\"pods\",type=\"{kind}\"}}"))
        };
        shared.0.lock().unwrap().updates = events("modified");
        let lists = 1 + sample(&text, "kubehealer_watch_relists_total{resource=\"pods\"}");
        let done = get(running.address, "/readyz").await.starts_with("HTTP/1.1 200");
        if done && lists > shared.0.lock().unwrap().lists {
            // Begun is not done: the list is when every pod has been shown again.
            let listed_pods = events("listed");
            if listed_pods >= lists * running.incidents.read().pods() as u64 {
                listed(&shared);
            }
        }
    }
}

/// The sample of a series, 0 if there is none.
fn sample(text: &str, series: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with(series));
    line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) as u64
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Reads the metrics and throws them away: who asks is in this process, and is not to be weighed.
async fn scrape(address: std::net::SocketAddr) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut some = [0; 16 * 1024];
    while stream.read(&mut some).await.unwrap() > 0 {}
}

/// Counts the lines of the log rather than to write them.
mod log {
    use std::io;
    use std::sync::Mutex;

    use serde_json::Value;

    /// Lines, and the incidents that they tell of as opened, by line or by count.
    static LINES: Mutex<(u64, u64)> = Mutex::new((0, 0));

    struct Counting;

    impl io::Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Ok(line) = serde_json::from_slice::<Value>(bytes) else { return Ok(bytes.len()) };
            let mut lines = LINES.lock().unwrap();
            lines.0 += 1;
            if matches!(line["event"].as_str(), Some("opened" | "found")) {
                lines.1 += line["count"].as_u64().unwrap_or(1);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// From here on.
    pub fn count() {
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(|| Counting).init();
    }

    /// Lines so far, and the incidents that they told of.
    pub fn told() -> (u64, u64) {
        *LINES.lock().unwrap()
    }
}
