//! The watch keeps what it shows equal to the cluster, whatever goes wrong in between.

#![allow(clippy::disallowed_methods, reason = "readiness is asked as the daemon asks it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use kube::runtime::watcher::Event;
use kubehealer::cluster::client::{Connect, connect};
use kubehealer::cluster::evidence::{self, LogOf};
use kubehealer::cluster::watch::{InitialList, Resource, Settings, Shard, Watch, WatchHealth, WatchScope};
use kubehealer::objects::Pod;
use kubehealer::simulator::{Api, Cluster, Cut, Fault, client};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "registry.example/app:1"}]},
        "status": {"phase": "Running"}
    })
}

pub fn with_pods(count: usize) -> Cluster {
    let cluster = Cluster::new();
    for number in 0..count {
        cluster.apply(pod("shop", &format!("web-{number:03}"))).unwrap();
    }
    cluster
}

/// What a sink is left with: the objects, by name, with their resource version, and a line for each thing that happened.
#[derive(Default)]
pub struct Seen {
    objects: BTreeMap<String, String>,
    unseen: BTreeMap<String, String>,
    log: Vec<String>,
}

impl Seen {
    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => {
                self.unseen.extend(std::mem::take(&mut self.objects));
                self.log.push("Init".into());
            }
            Event::InitApply(pod) | Event::Apply(pod) => {
                self.unseen.remove(&pod.metadata.name);
                self.log.push(format!("Apply {}", pod.metadata.name));
                self.objects.insert(pod.metadata.name, pod.metadata.resource_version);
            }
            Event::Delete(pod) => {
                self.objects.remove(&pod.metadata.name);
                self.log.push(format!("Delete {}", pod.metadata.name));
            }
            Event::InitDone => {
                self.unseen.clear();
                self.log.push("InitDone".into());
            }
        }
    }
}

/// A watch that runs until it is dropped.
pub struct Running {
    seen: Arc<Mutex<Seen>>,
    pub health: Arc<WatchHealth>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn run(client: kube::Client, scope: WatchScope, settings: Settings) -> Running {
    let watch = Watch::new(Resource::PODS, scope, settings);
    let health = watch.health();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let sink = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        let never = watch.run(client, |event| sink.lock().unwrap().take(event)).await;
        match never {}
    });
    Running { seen, health, task }
}

fn watch(cluster: &Cluster) -> Running {
    run(client(cluster), WatchScope::default(), Settings::default())
}

pub const BY_PAGES: Settings = Settings {
    initial: InitialList::Pages,
    protobuf: true,
    page: 3,
    timeout: Duration::from_secs(150),
    answer: Duration::from_secs(60),
};

impl Running {
    /// In the virtual time of a paused clock.
    async fn until(&self, what: &str, mut done: impl FnMut(&Seen) -> bool) {
        for _ in 0..40_000 {
            if done(&self.seen.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not in half an hour; {:?}; {:?}", self.health, self.seen.lock().unwrap().log);
    }

    pub async fn synced(&self) {
        self.until("synced", |seen| seen.log.iter().any(|l| l == "InitDone")).await;
    }

    /// The same objects as the cluster has, at the same versions.
    pub async fn equal(&self, cluster: &Cluster) {
        let want: BTreeMap<_, _> = cluster
            .all("pods")
            .iter()
            .map(|p| {
                let text = |key: &str| p["metadata"][key].as_str().unwrap().to_owned();
                (text("name"), text("resourceVersion"))
            })
            .collect();
        self.until(&format!("equal to {want:?}"), |seen| seen.objects == want && seen.unseen.is_empty())
            .await;
    }

    fn count(&self, line: &str) -> usize {
        self.seen.lock().unwrap().log.iter().filter(|l| *l == line).count()
    }
}

/// In real time, since in a rush it is the thread that sleeps.
#[tokio::test]
async fn an_update_on_a_quiet_watch_is_taken_at_once_and_in_a_rush_several_are_taken_together() {
    let cluster = with_pods(1);
    let watch = Watch::new(Resource::PODS, WatchScope::default(), Settings::default());
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let (sink, client) = (Arc::clone(&arrivals), client(&cluster));
    let task = tokio::spawn(async move {
        let take = |_: Event<Pod>| sink.lock().unwrap().push(Instant::now());
        match watch.run(client, take).await {}
    });
    let arrived = async |count| {
        while arrivals.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut *arrivals.lock().unwrap())
    };
    let write = || cluster.apply(pod("shop", "web-000")).unwrap();
    // Init, a pod, InitDone.
    arrived(3).await;

    // However slow the machine is, the quickest of several has not slept through the window of 5 ms.
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let written = Instant::now();
        write();
        quickest = quickest.min(arrived(1).await[0] - written);
    }
    assert!(quickest < Duration::from_millis(4), "{quickest:?}");

    let rush = {
        let cluster = cluster.clone();
        std::thread::spawn(move || {
            for _ in 0..200 {
                cluster.apply(pod("shop", "web-000")).unwrap();
                std::thread::sleep(Duration::from_micros(500));
            }
        })
    };
    let arrived = arrived(200).await;
    rush.join().unwrap();
    let pauses = arrived.windows(2).filter(|two| two[1] - two[0] >= Duration::from_millis(2)).count();
    assert!(pauses >= 10, "{pauses} pauses");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn the_first_list_comes_as_a_watch_where_the_server_offers_it() {
    let cluster = with_pods(7);
    let running = watch(&cluster);
    running.synced().await;
    running.equal(&cluster).await;
    assert_eq!((cluster.asked("list", "pods"), cluster.asked("watch", "pods")), (0, 1));
    let request = cluster.requests().pop().unwrap();
    assert!(request.query.contains("sendInitialEvents=true"), "{}", request.query);
    assert!(
        request.accept.starts_with("application/vnd.kubernetes.protobuf;stream=watch"),
        "{}",
        request.accept
    );
    // The same stream goes on with what changes.
    cluster.apply(pod("shop", "late")).unwrap();
    cluster.delete("pods", "shop", "web-003");
    running.equal(&cluster).await;
    assert_eq!(cluster.asked("watch", "pods"), 1);
    assert_eq!(running.count("Init"), 1);
    assert_eq!(running.health.events().map(|(_, n)| n).collect::<Vec<_>>(), [7, 1, 0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_it_is_listed_by_pages() {
    let cluster = with_pods(7);
    cluster.fault("watch pods", Fault::RefuseWatchList);
    let running = run(client(&cluster), WatchScope::default(), Settings { page: 3, ..Settings::default() });
    running.synced().await;
    running.equal(&cluster).await;
    assert_eq!(cluster.asked("list", "pods"), 3);
    cluster.apply(pod("shop", "late")).unwrap();
    running.equal(&cluster).await;
    assert_eq!(running.count("Init"), 1);
    assert_eq!(running.health.errors().map(|(_, n)| n).sum::<u64>(), 0, "falling back is no error");
}

/// The simulated server behind one that changes what is asked.
fn behind(cluster: &Cluster, change: fn(String) -> String) -> kube::Client {
    let api = Api::new(cluster.clone()).map_request(move |mut request: Request<kube::client::Body>| {
        *request.uri_mut() = change(request.uri().to_string()).parse().unwrap();
        request
    });
    kube::Client::new(api, "default")
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_wish_for_a_list_as_a_watch_is_listed_by_pages() {
    let cluster = with_pods(7);
    let deaf = |uri: String| uri.replace("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "x=y");
    let running = run(behind(&cluster, deaf), WatchScope::default(), Settings::default());
    running.synced().await;
    running.equal(&cluster).await;
    assert!(cluster.asked("list", "pods") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_at_a_list_as_a_watch_is_listed_by_pages_and_asked_again_the_next_time() {
    let cluster = with_pods(7);
    cluster.fault("watch pods", Fault::InternalError);
    let running = watch(&cluster);
    running.synced().await;
    assert!(running.health.errors().any(|(kind, n)| kind == "server" && n >= 2));
    cluster.heal_all();
    cluster.apply(pod("shop", "late")).unwrap();
    running.equal(&cluster).await;
    let lists = cluster.asked("list", "pods");
    cluster.cut_watches("pods", Cut::Gone);
    running.until("listed anew", |seen| seen.log.iter().filter(|l| *l == "InitDone").count() == 2).await;
    assert_eq!(cluster.asked("list", "pods"), lists, "as a watch, since that works again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_restored_to_an_older_state_is_listed_anew() {
    let (before, restored) = (with_pods(40), with_pods(3));
    let is_restored = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (both, now) = ([&before, &restored].map(|c| Api::new(c.clone())), Arc::clone(&is_restored));
    let server = tower::service_fn(move |request: Request<kube::client::Body>| {
        both[usize::from(now.load(std::sync::atomic::Ordering::Relaxed))].clone().oneshot(request)
    });
    let running = run(kube::Client::new(server, "default"), WatchScope::default(), Settings::default());
    running.synced().await;
    running.equal(&before).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    is_restored.store(true, std::sync::atomic::Ordering::Relaxed);
    before.cut_watches("pods", Cut::End);
    restored.apply(pod("shop", "late")).unwrap();
    let began = tokio::time::Instant::now();
    running.equal(&restored).await;
    assert!(began.elapsed() < Duration::from_secs(200), "{:?}", began.elapsed());
    let errors: Vec<_> = running.health.errors().filter(|(_, n)| *n > 0).collect();
    assert_eq!(errors, [("expired", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_resource_is_not_listed_anew() {
    let cluster = with_pods(3);
    cluster.fault("watch pods", Fault::NoBookmarks);
    let running = watch(&cluster);
    running.synced().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(running.count("Init"), 1);
    assert_eq!(running.health.errors().map(|(_, n)| n).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_protobuf_is_read_as_json() {
    let cluster = with_pods(7);
    cluster.fault("*", Fault::RefuseProtobuf);
    for settings in [Settings::default(), BY_PAGES] {
        let running = run(client(&cluster), WatchScope::default(), settings);
        running.synced().await;
        cluster.apply(pod("shop", "late")).unwrap();
        running.equal(&cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_refuses_an_unknown_media_type_is_asked_for_json_alone() {
    let cluster = with_pods(2);
    let inner = Api::new(cluster.clone());
    let proxy = tower::service_fn(move |request: Request<kube::client::Body>| {
        let inner = inner.clone();
        async move {
            if request.headers()[http::header::ACCEPT].to_str().unwrap().contains("protobuf") {
                let body = http_body_util::Full::new(Bytes::from("<html>406</html>"));
                let body = http_body_util::BodyExt::map_err(body, |never| match never {});
                let mut response = Response::new(http_body_util::BodyExt::boxed_unsync(body));
                *response.status_mut() = http::StatusCode::NOT_ACCEPTABLE;
                return Ok(response);
            }
            inner.oneshot(request).await
        }
    });
    let running = run(kube::Client::new(proxy, "default"), WatchScope::default(), Settings::default());
    running.synced().await;
    running.equal(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_breaks_off_goes_on_where_it_was() {
    let cluster = with_pods(3);
    let running = watch(&cluster);
    running.synced().await;
    for (round, cut) in [Cut::End, Cut::MidLine, Cut::End, Cut::MidLine].into_iter().enumerate() {
        cluster.cut_watches("pods", cut);
        cluster.apply(pod("shop", &format!("late-{round}"))).unwrap();
        cluster.delete("pods", "shop", &format!("web-{round:03}"));
        running.equal(&cluster).await;
    }
    assert_eq!(running.count("Init"), 1, "nothing was listed anew");
    assert_eq!(running.health.relists(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_resource_version_leads_to_one_new_list() {
    for settings in [Settings::default(), BY_PAGES] {
        let cluster = with_pods(7);
        let running = run(client(&cluster), WatchScope::default(), settings);
        running.synced().await;
        cluster.cut_watches("pods", Cut::Gone);
        cluster.delete("pods", "shop", "web-001");
        running.equal(&cluster).await;
        assert_eq!(running.count("Init"), 2);
        assert_eq!(running.count("InitDone"), 2);
        assert_eq!(running.count("Delete web-001"), 0, "a list shows who is gone by their absence");
        assert_eq!(running.health.relists(), 1);
        let errors: Vec<_> = running.health.errors().filter(|(_, n)| *n > 0).collect();
        assert_eq!(errors, [("expired", 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_at_every_watch_is_not_listed_without_pause() {
    let cluster = with_pods(3);
    let running = run(client(&cluster), WatchScope::default(), BY_PAGES);
    running.synced().await;
    cluster.fault("watch pods", Fault::GoneOnWatch);
    cluster.cut_watches("pods", Cut::Gone);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let lists = cluster.asked("list", "pods");
    assert!((3..40).contains(&lists), "{lists} lists in ten minutes");
    cluster.heal_all();
    cluster.apply(pod("shop", "late")).unwrap();
    running.equal(&cluster).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_expire_or_break_off_start_the_list_again() {
    for fault in [Fault::GoneOnPage, Fault::CutList] {
        let cluster = with_pods(7);
        cluster.fault("list pods", fault);
        let running = run(client(&cluster), WatchScope::default(), BY_PAGES);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!running.health.is_synced());
        assert!(running.health.errors().any(|(_, n)| n > 0));
        assert!(running.health.ready(jiff::Timestamp::now()).is_err());
        cluster.heal_all();
        running.synced().await;
        running.equal(&cluster).await;
        assert_eq!(running.health.relists(), 0, "still the first list");
    }
}

#[tokio::test(start_paused = true)]
async fn without_permission_it_keeps_trying_with_growing_pauses_and_says_why() {
    let cluster = with_pods(3);
    cluster.fault("*", Fault::Forbidden);
    let running = watch(&cluster);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tries = cluster.asked("watch", "pods") + cluster.asked("list", "pods");
    assert!((60..200).contains(&tries), "{tries} tries in an hour");
    let reason = running.health.ready(jiff::Timestamp::now()).unwrap_err();
    assert!(reason.starts_with("pods: the first list is not complete: not allowed: "), "{reason}");
    assert!(reason.contains("cannot watch resource \"pods\"") && reason.contains("ClusterRole"), "{reason}");
    cluster.heal_all();
    running.synced().await;
    running.equal(&cluster).await;
    assert_eq!(running.health.ready(jiff::Timestamp::now()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_given_the_time() {
    let cluster = with_pods(3);
    cluster.fault("*", Fault::TooManyRequests { retry_after: 100 });
    let running = watch(&cluster);
    tokio::time::sleep(Duration::from_secs(950)).await;
    assert_eq!(cluster.asked("watch", "pods"), 10);
    assert_eq!(running.health.errors().find(|(_, n)| *n > 0), Some(("throttled", 10)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_or_falls_silent_is_noticed() {
    let cluster = with_pods(3);
    let running = watch(&cluster);
    running.synced().await;
    cluster.fault("watch pods", Fault::StallWatch);
    cluster.apply(pod("shop", "late")).unwrap();
    tokio::time::sleep(Duration::from_secs(400)).await;
    cluster.fault("*", Fault::BlackHole);
    tokio::time::sleep(Duration::from_secs(900)).await;
    let kinds: Vec<_> = running.health.errors().filter(|(_, n)| *n > 0).map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["timeout"]);
    cluster.heal_all();
    running.equal(&cluster).await;
    assert_eq!(running.count("Init"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_and_a_failing_server_are_told_in_words_and_outlived() {
    for (fault, kind, words) in [
        (Fault::Unauthorized, "unauthorized", "Has the token expired?"),
        (Fault::InternalError, "server", "the API server returns an error"),
        (Fault::Unavailable { retry_after: None }, "server", "currently unable to handle the request"),
    ] {
        let cluster = with_pods(3);
        let running = watch(&cluster);
        running.synced().await;
        cluster.fault("*", fault);
        cluster.cut_watches("pods", Cut::End);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(
            running.health.trouble().is_some_and(|t| t.contains(words)),
            "{:?}",
            running.health.trouble()
        );
        assert!(running.health.errors().any(|(k, n)| k == kind && n > 2));
        cluster.heal_all();
        cluster.apply(pod("shop", "late")).unwrap();
        running.equal(&cluster).await;
        assert_eq!(running.health.trouble(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_object_is_counted_and_skipped_and_its_content_is_never_told() {
    let log = Arc::default();
    let guard = capture(&log, "trace");
    let bad = r#"{"metadata":{"name":"bad","namespace":"shop"},"spec":{"containers":[{"env":[{"name":"P","value":"hunter2"}]}]},"spec":{}}"#;
    for settings in
        [Settings { protobuf: false, ..Settings::default() }, Settings { protobuf: false, ..BY_PAGES }]
    {
        let cluster = with_pods(7);
        cluster.fault("*", Fault::BadItem { at: 1, json: Bytes::from(bad) });
        let running = run(client(&cluster), WatchScope::default(), settings);
        running.synced().await;
        assert!(running.health.undecodable() > 0);
        assert!(!running.seen.lock().unwrap().objects.contains_key("bad"));
        let want = if settings.initial == InitialList::Auto { 6 } else { 5 };
        assert_eq!(running.seen.lock().unwrap().objects.len(), want);
    }
    drop(guard);
    let log = String::from_utf8(std::mem::take(&mut log.lock().unwrap())).unwrap();
    assert!(log.contains("shop/bad"), "{log}");
    assert!(log.contains("TRACE"), "the log is at its most talkative");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Everything that any crate logs in this thread, but for what is always off.
pub fn capture(log: &Arc<Mutex<Vec<u8>>>, level: &str) -> tracing::subscriber::DefaultGuard {
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut filter = tracing_subscriber::EnvFilter::new(level);
    for directive in kubehealer::cluster::FORCED_LOG_DIRECTIVES {
        filter = filter.add_directive(directive.parse().unwrap());
    }
    let log = Arc::clone(log);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || Writer(Arc::clone(&log)))
        .finish();
    tracing::subscriber::set_default(subscriber)
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_proxy_is_not_taken_for_an_empty_cluster() {
    let cluster = with_pods(3);
    let running = watch(&cluster);
    running.synced().await;
    let login = tower::service_fn(|_: Request<kube::client::Body>| async {
        let body = http_body_util::Full::new(Bytes::from("<html>log in</html>"));
        let mut response = Response::new(body);
        response.headers_mut().insert("content-type", "text/html".parse().unwrap());
        Ok::<_, std::convert::Infallible>(response)
    });
    let running = run(kube::Client::new(login, "default"), WatchScope::default(), Settings::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.count("Init"), 0);
    let reason = running.health.ready(jiff::Timestamp::now()).unwrap_err();
    assert!(reason.contains("text/html"), "{reason}");
}

#[tokio::test]
async fn a_log_that_breaks_off_is_not_taken_for_one_that_ends() {
    let log = |broken: bool| async move {
        let kubelet = tower::service_fn(move |_: Request<kube::client::Body>| async move {
            let line = Ok(http_body::Frame::data(Bytes::from("loading the settings\n")));
            let end = broken.then(|| Err(std::io::Error::other("connection reset")));
            let frames = futures::stream::iter([Some(line), end].into_iter().flatten());
            Ok::<_, std::convert::Infallible>(Response::new(http_body_util::StreamBody::new(frames)))
        });
        let of =
            LogOf { namespace: "shop".into(), pod: "cart".into(), container: "app".into(), previous: false };
        evidence::log(&kube::Client::new(kubelet, "default"), &of).await
    };
    assert_eq!(log(false).await.unwrap(), b"loading the settings\n");
    assert_eq!(log(true).await.unwrap_err().to_string(), "the connection broke in the middle of the log");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_namespace_and_of_selected_pods_shows_no_others() {
    let cluster = with_pods(2);
    cluster.apply(pod("ml", "trainer")).unwrap();
    let scope = WatchScope { namespace: Some("ml".into()), ..WatchScope::default() };
    let running = run(client(&cluster), scope, Settings::default());
    running.synced().await;
    assert_eq!(running.seen.lock().unwrap().objects.keys().collect::<Vec<_>>(), ["trainer"]);
    let scope = WatchScope {
        fields: "metadata.name=web-001".into(),
        labels: "app in (web)".into(),
        ..WatchScope::default()
    };
    let running = run(client(&cluster), scope, BY_PAGES);
    running.synced().await;
    assert_eq!(running.seen.lock().unwrap().objects.keys().collect::<Vec<_>>(), ["web-001"]);
}

#[tokio::test(start_paused = true)]
async fn shards_share_all_pods_among_them() {
    let cluster = with_pods(60);
    let mut names = Vec::new();
    for index in 0..3 {
        let scope = WatchScope { shard: Shard::new(index, 3), ..WatchScope::default() };
        let running = run(client(&cluster), scope, Settings::default());
        running.synced().await;
        let seen = running.seen.lock().unwrap();
        assert!(seen.objects.len() > 5);
        names.extend(seen.objects.keys().cloned());
    }
    names.sort();
    assert_eq!(names, (0..60).map(|n| format!("web-{n:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_watch_over_a_socket_says_when_the_server_is_down() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, kubehealer::simulator::kubeconfig(address)).unwrap();
    let how = Connect { kubeconfig: Some(path), ..Connect::default() };
    let connected = connect(&how).await.unwrap();
    assert_eq!(connected.server, format!("http://{address}"));
    let running = run(connected.client, WatchScope::default(), Settings::default());
    running.until("trouble", |_| running.health.trouble().is_some()).await;
    let trouble = running.health.trouble().unwrap();
    assert!(trouble.contains("cannot connect to the API server: Connection refused"), "{trouble}");
}

#[tokio::test]
async fn a_broken_kubeconfig_is_told_in_words_without_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let context = "contexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'http://x'}}]\n";
    for (text, context_flag, words) in [
        ("users: [{name: u, user: {token: hunter2}}]\nclusters: [}\n", None, "not valid YAML"),
        ("users:\n- name: u\n  user: {token: [hunter2]}\n", None, "not valid YAML"),
        ("kind: Config\n", None, "no current context"),
        ("current-context: b\n", None, "no context \"b\""),
        (context, Some("z"), "no context \"z\""),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: none, user: u}}]\n",
            None,
            "names a cluster \"none\"",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let context = context_flag.map(str::to_owned);
        let how = Connect { kubeconfig: Some(path.clone()), context, ..Connect::default() };
        let said = connect(&how).await.err().unwrap().to_string();
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let how = Connect { kubeconfig: Some(dir.path().join("absent")), ..Connect::default() };
    let said = connect(&how).await.err().unwrap().to_string();
    assert!(said.contains("cannot read the kubeconfig") && said.contains("absent"), "{said}");
}
