//! The HTTP server: pages of the API, who may look, TLS, and clients that mean no good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubehealer::daemon::{self, Running, Settings, Target};
use kubehealer::server::tls::Files;
use kubehealer::simulator::{self, Cluster, Fault};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub fn settings(cluster: &Cluster) -> Settings {
    let target = Target::Client(simulator::client(cluster), "a simulated cluster".to_owned());
    let mut settings = Settings::new(target);
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.probe_listen = Some(settings.listen);
    let clock = cluster.clone();
    settings.clock = Arc::new(move || clock.now());
    settings
}

/// A pod that fails, of a workload of ten.
pub fn failing_pod(n: usize) -> Value {
    let name = format!("app-{:03}", n / 10);
    json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": format!("ns-{}", n % 7), "name": format!("{name}-x-{n:05}"), "uid": format!("uid-{n}"),
            "creationTimestamp": "2026-11-22T08:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": "u", "controller": true}]},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running", "startTime": "2026-11-22T08:00:00Z", "containerStatuses": [{
            "name": "app", "restartCount": 7, "containerID": "containerd://c", "image": "app:1", "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 1 + n % 3, "reason": "Error", "containerID": "containerd://c",
                "startedAt": "2026-11-22T09:50:00Z", "finishedAt": format!("2026-11-22T09:{}:00Z", 51 + n % 5)}}}]}})
}

/// A cluster with so many pods that fail, each of its own workload of ten.
fn failing(pods: usize) -> Cluster {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    for n in 0..pods {
        cluster.apply(failing_pod(n)).unwrap();
    }
    cluster
}

pub async fn start(settings: Settings) -> Running {
    let running = daemon::start(settings).await.unwrap();
    let probes = running.probe_address.unwrap();
    until("readiness", async || (get(probes, "/readyz", "").await.0 == 200).then_some(())).await;
    running
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> Answer {
    let host = if headers.contains("Host:") { "" } else { "Host: x\r\n" };
    let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub async fn answer(to: SocketAddr, path: &str, headers: &str) -> Answer {
    ask(TcpStream::connect(to).await.unwrap(), path, headers).await
}

pub async fn get(to: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let answer = answer(to, path, headers).await;
    (answer.status, answer.body)
}

/// Asks until the answer is as wanted; gives up after twenty seconds.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The pages of a list, one after another.
async fn pages(to: SocketAddr, path: &str, limit: usize) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    loop {
        let next = pages.last().and_then(|page| page["continue"].as_str());
        if !pages.is_empty() && next.is_none() {
            return pages;
        }
        let next = next.map(|token| format!("&continue={token}")).unwrap_or_default();
        let (status, body) = get(to, &format!("{path}?limit={limit}{next}"), "").await;
        assert_eq!(status, 200, "{body}");
        pages.push(serde_json::from_str(&body).unwrap());
    }
}

fn concat(pages: &[Value], list: &str) -> Vec<Value> {
    pages.iter().flat_map(|page| page[list].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn probes_answer_while_everything_else_is_held_up() {
    use std::io::{Read as _, Write as _};
    let running = start(settings(&failing(5))).await;
    // This holds up the thread that the daemon runs on.
    let mut stream = std::net::TcpStream::connect(running.probe_address.unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_each_list_hold_together_what_the_whole_list_holds_in_its_order() {
    let running = start(settings(&failing(120))).await;
    let to = running.address;
    until("the workloads", async || {
        let list: Value = serde_json::from_str(&get(to, "/api/v1/diagnosis", "").await.1).unwrap();
        (list["summary"]["unhealthyPods"] == 120).then_some(())
    })
    .await;
    for (path, list) in [("incidents", "items"), ("problems", "items"), ("diagnosis", "findings")] {
        let path = format!("/api/v1/{path}");
        let whole = pages(to, &path, 5_000).await;
        assert_eq!(whole.len(), 1, "{path}");
        let whole_list = concat(&whole, list);
        assert!(whole_list.len() > 10, "{path}: {}", whole_list.len());
        let parts = pages(to, &path, 7).await;
        assert_eq!(parts.len(), whole_list.len().div_ceil(7), "{path}");
        assert_eq!(concat(&parts, list), whole_list, "{path}");
        for part in &parts {
            assert_eq!(part["total"], whole[0]["total"], "{path}: total is that of all pages");
            assert_eq!(part["summary"], whole[0]["summary"], "{path}: the summary is that of all pages");
        }
    }
    // The problems of a page are about the findings of that page.
    for page in pages(to, "/api/v1/diagnosis", 7).await {
        let findings = page["findings"].as_array().unwrap().len() as u64;
        let members = concat(page["problems"].as_array().unwrap(), "findings");
        assert!(!members.is_empty() && members.iter().all(|at| at.as_u64().unwrap() < findings));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_a_page_is_bounded_and_says_that_more_is_there() {
    let running = start(settings(&failing(600))).await;
    let to = running.address;
    for (path, list) in [("incidents", "items"), ("diagnosis", "findings")] {
        let page = until("all incidents", async || {
            let page: Value = serde_json::from_str(&get(to, &format!("/api/v1/{path}"), "").await.1).unwrap();
            page["continue"].is_string().then_some(page)
        })
        .await;
        assert_eq!(page[list].as_array().unwrap().len(), 500, "{path}");
    }
    for path in ["incidents?continue=x", "problems?continue=bnVsbA", "diagnosis?continue=x"] {
        let (status, why) = get(to, &format!("/api/v1/{path}"), "").await;
        assert_eq!((status, why.contains("invalid continue token")), (400, true), "{path}: {why}");
    }
    // A form sends its empty fields as well.
    for path in ["incidents", "groups", "problems", "history", "diagnosis"] {
        let (status, why) = get(to, &format!("/api/v1/{path}?limit=&continue="), "").await;
        assert_eq!(status, 200, "{path}: {why}");
    }
    // A place in one order is none in another.
    for path in ["incidents", "groups"] {
        let list = async |query: &str| get(to, &format!("/api/v1/{path}?limit=1{query}"), "").await;
        let first: Value = serde_json::from_str(&list("").await.1).unwrap();
        let token = format!("&continue={}", first["continue"].as_str().unwrap());
        assert_eq!(list(&format!("{token}&sort=severity")).await.0, 200, "the usual one");
        let (status, why) = list(&format!("{token}&sort=name")).await;
        assert_eq!((status, why.contains("is of a list with another sort")), (400, true), "{path}: {why}");
    }
    let (status, why) = get(to, "/api/v1/diagnosis?bad=1", "").await;
    assert_eq!((status, why.contains("valid parameters: limit and continue")), (400, true), "{why}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let running = start(settings(&failing(20))).await;
    let to = running.address;
    for path in ["/api/v1/incidents", "/api/v1/problems", "/api/v1/diagnosis"] {
        let first = answer(to, path, "").await;
        let tag = format!("If-None-Match: {}\r\n", first.header("etag").unwrap());
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let again = answer(to, path, &tag).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_web_page_may_have_rebound_is_refused_in_words() {
    let mut settings = settings(&Cluster::new());
    settings.allowed_hosts = vec!["status.example.com".to_owned()];
    let running = start(settings).await;
    let to = running.address;
    for path in ["/", "/metrics", "/api/v1/incidents", "/api/v1/diagnosis", "/status.js"] {
        let (status, why) = get(to, path, "Host: evil.example:8080\r\n").await;
        assert_eq!((status, why.contains("--allowed-hosts")), (421, true), "{path}: {why}");
        for host in ["127.0.0.1:8080", "kubehealer.mon.svc:8080", "status.example.com"] {
            assert_eq!(get(to, path, &format!("Host: {host}\r\n")).await.0, 200, "{path} of {host}");
        }
    }
    assert_eq!(get(to, "/livez", "Host: evil.example\r\n").await.0, 200, "a probe may have any name");
    running.stop().await;
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_authorization_the_api_server_says_who_may_look() {
    let cluster = failing(5);
    cluster.set_token("of-prometheus", Some("prometheus"));
    cluster.set_token("of-viewer", Some("viewer"));
    cluster.set_token("of-nobody", Some("nobody"));
    cluster.allow_paths("prometheus", &["/metrics"]);
    cluster.allow_paths("viewer", &["/", "/runbooks/*", "/status.css", "/status.js", "/api/*"]);
    let mut settings = settings(&cluster);
    settings.authorization = true;
    let running = start(settings).await;
    let to = running.address;
    let paths = [
        "/metrics",
        "/api/v1/incidents",
        "/api/v1/problems",
        "/api/v1/diagnosis",
        "/",
        "/runbooks/OOMKilled",
        "/status.css",
        "/status.js",
    ];
    for path in paths {
        let none = answer(to, path, "").await;
        assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
    assert_eq!(get(to, "/metrics", &bearer("wrong")).await.0, 401);
    let (status, why) = get(to, "/metrics", &bearer("of-nobody")).await;
    assert_eq!(status, 403);
    assert!(why.contains("nobody is not allowed to get /metrics"), "{why}");
    assert_eq!(get(to, "/metrics", &bearer("of-prometheus")).await.0, 200);
    assert_eq!(get(to, "/api/v1/incidents", &bearer("of-prometheus")).await.0, 403);
    for path in &paths[1..] {
        assert_eq!(get(to, path, &bearer("of-viewer")).await.0, 200, "{path}");
    }
    // Probes are for everybody, on both ports.
    for at in [to, running.probe_address.unwrap()] {
        assert_eq!(get(at, "/livez", "").await.0, 200);
        assert_eq!(get(at, "/readyz", "").await.0, 200);
    }
    // What was said holds for a while; what is new is not let in when the API server cannot be asked.
    cluster.fault("tokenreviews", Fault::InternalError);
    assert_eq!(get(to, "/metrics", &bearer("of-prometheus")).await.0, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, why) = get(to, "/metrics", &bearer("new")).await;
    assert_eq!((status, why.contains("cannot be checked")), (503, true), "{why}");
    cluster.heal("tokenreviews");
    cluster.fault("subjectaccessreviews", Fault::Forbidden);
    assert_eq!(get(to, "/status.js", &bearer("of-prometheus")).await.0, 503);
    cluster.heal("subjectaccessreviews");
    // A rotated token is as good as the old one, which is refused once its time is over.
    cluster.set_token("of-prometheus", None);
    cluster.set_token("of-prometheus-2", Some("prometheus"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(get(to, "/metrics", &bearer("of-prometheus-2")).await.0, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_tokens_reaches_the_api_server_ten_times_a_second_at_most() {
    let cluster = failing(5);
    let mut settings = settings(&cluster);
    settings.authorization = true;
    let running = start(settings).await;
    let to = running.address;
    let began = Instant::now();
    let flood = (0..20).map(|client| async move {
        let mut seen = Vec::new();
        for n in 0..25 {
            seen.push(get(to, "/metrics", &bearer(&format!("bad-{client}-{n}"))).await.0);
        }
        seen
    });
    let seen: Vec<u16> = futures::future::join_all(flood).await.concat();
    let seconds = began.elapsed().as_secs() as usize + 1;
    let asked = cluster.requests().iter().filter(|r| r.resource == "tokenreviews").count();
    assert!(asked <= 10 + 10 * seconds && asked > 0, "{asked} in {seconds} s");
    assert!(seen.iter().all(|status| matches!(status, 401 | 429)), "{seen:?}");
    assert_eq!(seen.iter().filter(|status| **status == 401).count(), asked);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_api_and_page_are_served_over_tls_and_probes_without() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files { cert: dir.path().join("tls.crt"), key: dir.path().join("tls.key") };
    let made = rcgen::generate_simple_self_signed(["kubehealer.mon.svc".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut settings = settings(&failing(5));
    settings.tls = Some(files);
    let running = start(settings).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for path in ["/metrics", "/api/v1/incidents", "/", "/readyz"] {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let name = "kubehealer.mon.svc".try_into().unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        assert_eq!(ask(stream, path, "").await.status, 200, "{path}");
    }
    assert_eq!(get(running.probe_address.unwrap(), "/livez", "").await.0, 200);
    // Whoever speaks no TLS gets nothing, and disturbs nobody.
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got).await;
    assert!(!got.starts_with(b"HTTP"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_of_no_use_is_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&Cluster::new());
    settings.tls = Some(Files { cert: dir.path().join("none.crt"), key: dir.path().join("none.key") });
    let Err(error) = daemon::start(settings).await else { panic!("it serves TLS without a certificate") };
    assert!(error.to_string().contains("none.crt"), "{error}");
}

/// How long the probes take to answer on their own port, at worst of some.
async fn worst_probe(running: &Running) -> Duration {
    let mut worst = Duration::ZERO;
    for path in ["/livez", "/readyz"].repeat(5) {
        let began = Instant::now();
        let (status, why) = get(running.probe_address.unwrap(), path, "").await;
        assert_eq!(status, 200, "{path}: {why}");
        worst = worst.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worst
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_within_a_second_while_hundreds_of_clients_hold_both_ports() {
    let running = start(settings(&failing(300))).await;
    for port in [running.address, running.probe_address.unwrap()] {
        for request in ["", "GET /livez HTTP/1.1\r\nX: a", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut held = Vec::new();
            for _ in 0..500 {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_recv_buffer_size(4096).unwrap();
                let mut stream = socket.connect(port).await.unwrap();
                let _ = stream.write_all(request.as_bytes()).await;
                held.push(stream);
            }
            let worst = worst_probe(&running).await;
            assert!(worst < Duration::from_secs(1), "{worst:?} with {request:?} at {port}");
            // On the port that is attacked as well: the newcomer is taken, the oldest one that waits goes.
            assert_eq!(get(running.address, "/livez", "").await.0, 200);
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_is_dropped_and_others_are_answered() {
    let running = start(settings(&failing(2_000))).await;
    until("all incidents", async || {
        let (_, text) = get(running.address, "/api/v1/incidents?limit=1", "").await;
        (serde_json::from_str::<Value>(&text).ok()?["total"].as_u64()? >= 2_000).then_some(())
    })
    .await;
    let slow = async |path: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut slow = socket.connect(running.address).await.unwrap();
        slow.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        slow
    };
    let began = Instant::now();
    // Two scrapes are the share of one address.
    let _scrapes = [slow("/metrics").await, slow("/metrics").await];
    let mut slow = slow("/api/v1/incidents?limit=5000").await;
    assert_eq!(get(running.address, "/api/v1/incidents", "").await.0, 200);
    let more = answer(running.address, "/metrics", "").await;
    assert_eq!((more.status, more.header("retry-after")), (503, Some("1")), "{}", more.body);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let other = socket.connect(running.address).await.unwrap();
    assert_eq!(ask(other, "/metrics", "").await.status, 200, "of another address");
    // Nothing is read until the server must have given up; then what comes ends too early.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut got = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut got)).await;
    assert!(end.is_ok(), "still open after {:?}", began.elapsed());
    let text = String::from_utf8_lossy(&got);
    let length: usize =
        text.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    assert!(got.len() < length, "{} of {length}", got.len());
    running.stop().await;
}
