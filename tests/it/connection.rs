//! The connection to the API server: one for all watches where the server speaks HTTP/2, one for each where it does not.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kubehealer::cluster::client::{Connect, connect};
use kubehealer::cluster::watch::{Resource, Settings, Watch, WatchHealth, WatchScope};
use kubehealer::objects::Pod;
use kubehealer::simulator::{Api, Cluster, Fault, Log};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::cli::command;
use crate::watch::pod;

/// An API server behind TLS.
struct Server {
    cluster: Cluster,
    kubeconfig: tempfile::TempDir,
    /// Connections that were accepted, and those that are open.
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// Open connections fall silent, without being closed.
    silence: Arc<std::sync::Mutex<CancellationToken>>,
    /// The next answer that has data stalls: half of them come, and no more.
    stall: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

/// An answer that may stall.
struct Stalling<B> {
    body: B,
    stall: Arc<AtomicBool>,
    is_stalled: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Stalling<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.is_stalled {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_data() && self.stall.swap(false, SeqCst) => {
                self.is_stalled = true;
                frame.into_data().ok().map(|data| Ok(Frame::data(data.slice(..data.len() / 2))))
            }
            frame => frame,
        })
    }
}

/// One that offers these protocols.
async fn server(protocols: &[&str]) -> Server {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubeconfig = tempfile::tempdir().unwrap();
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nusers: [{{name: a, user: {{}}}}]\n\
         clusters: [{{name: a, cluster: {{server: 'https://localhost:{}', certificate-authority-data: {}}}}}]\n",
        listener.local_addr().unwrap().port(),
        BASE64_STANDARD.encode(made.cert.pem())
    );
    std::fs::write(kubeconfig.path().join("config"), text).unwrap();
    let mut server = Server {
        cluster: Cluster::new(),
        kubeconfig,
        accepted: Arc::default(),
        open: Arc::default(),
        silence: Arc::default(),
        stall: Arc::default(),
        _tasks: JoinSet::new(),
    };
    server._tasks.spawn(accept(
        listener,
        Arc::new(tls).into(),
        server.cluster.clone(),
        Arc::clone(&server.accepted),
        Arc::clone(&server.open),
        Arc::clone(&server.silence),
        Arc::clone(&server.stall),
    ));
    server
}

async fn accept(
    listener: TcpListener,
    tls: tokio_rustls::TlsAcceptor,
    cluster: Cluster,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    silence: Arc<std::sync::Mutex<CancellationToken>>,
    stall: Arc<AtomicBool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        accepted.fetch_add(1, SeqCst);
        let (tls, cluster, open, stall) =
            (tls.clone(), cluster.clone(), Arc::clone(&open), Arc::clone(&stall));
        let silence = silence.lock().unwrap().clone();
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            open.fetch_add(1, SeqCst);
            let http = {
                let mut http = auto::Builder::new(TokioExecutor::new());
                http.http1().timer(TokioTimer::new());
                http
            };
            let stalling = move |response: http::Response<_>| {
                response.map(|body| Stalling { body, stall: Arc::clone(&stall), is_stalled: false })
            };
            let service = ServiceExt::<http::Request<Incoming>>::map_response(Api::new(cluster), stalling);
            let service = TowerToHyperService::new(service);
            let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut serving => {}
                () = silence.cancelled() => std::future::pending().await,
            }
            open.fetch_sub(1, SeqCst);
        });
    }
}

async fn client(server: &Server) -> kube::Client {
    let how = Connect { kubeconfig: Some(server.kubeconfig.path().join("config")), ..Connect::default() };
    connect(&how).await.unwrap().client
}

/// Eight watches over one client.
fn watches(client: &kube::Client) -> (Vec<Arc<WatchHealth>>, JoinSet<()>) {
    let (mut healths, mut tasks) = (Vec::new(), JoinSet::new());
    for _ in 0..8 {
        let watch = Watch::new(Resource::PODS, WatchScope::default(), Settings::default());
        healths.push(watch.health());
        let client = client.clone();
        tasks.spawn(async move { match watch.run::<Pod>(client, |_| {}).await {} });
    }
    (healths, tasks)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(300), "not within 300 s: {what}");
        sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

fn updates(healths: &[Arc<WatchHealth>]) -> Vec<u64> {
    healths.iter().map(|h| h.events().find(|(kind, _)| *kind == "added").unwrap().1).collect()
}

#[tokio::test]
async fn all_watches_share_one_connection_where_the_server_speaks_http_2() {
    for (protocols, connections) in [(&["h2", "http/1.1"][..], 1), (&["http/1.1"], 8), (&[], 8)] {
        let server = server(protocols).await;
        let (healths, _tasks) = watches(&client(&server).await);
        until("all lists", || healths.iter().all(|h| h.is_synced())).await;
        server.cluster.apply(pod("shop", "web")).unwrap();
        until("an update on each", || updates(&healths).iter().all(|n| *n == 1)).await;
        // Those that began at the same time are given up for the first one.
        until("as many connections", || server.open.load(SeqCst) == connections).await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_logged_once_a_watch_however_often_it_is_tried() {
    let server = server(&["h2"]).await;
    let config = server.kubeconfig.path().join("config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.split(", certificate-authority-data").next().unwrap().to_owned() + "}}]\n")
        .unwrap();
    let mut daemon = command()
        .args(["watch", "--listen", "127.0.0.1:0", "--kubeconfig"])
        .arg(&config)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while server.accepted.load(SeqCst) < 40 {
        sleep(Duration::from_millis(50)).await;
    }
    daemon.kill().unwrap();
    let output = daemon.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("invalid peer certificate"), "{log}");
    assert!(log.lines().count() <= 1 + 9, "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_in_silence_is_noticed_within_a_minute() {
    let server = server(&["h2"]).await;
    let (healths, _tasks) = watches(&client(&server).await);
    until("all lists", || healths.iter().all(|h| h.is_synced())).await;
    sleep(Duration::from_secs(100)).await;
    let before = server.accepted.load(SeqCst);
    let silence = std::mem::take(&mut *server.silence.lock().unwrap());
    silence.cancel();
    server.cluster.apply(pod("shop", "web")).unwrap();
    let took = until("an update on each", || updates(&healths).iter().all(|n| *n >= 1)).await;
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert!(server.accepted.load(SeqCst) > before);
}

/// As `until`, but the paused time goes on by `step` only after the sockets had a turn, so that it tells how long a thing takes.
async fn paced(what: &str, step: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(200), "not within 200 s: {what}");
        let turn = std::time::Instant::now();
        while turn.elapsed() < Duration::from_millis(1) {
            tokio::task::yield_now().await;
        }
        sleep(step).await;
    }
    began.elapsed()
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_is_asked_for_again_and_holds_up_no_other() {
    let server = server(&["h2"]).await;
    let (healths, _tasks) = watches(&client(&server).await);
    paced("all lists", MILLISECOND, || healths.iter().all(|h| h.is_synced())).await;
    let accepted = server.accepted.load(SeqCst);
    server.stall.store(true, SeqCst);
    for (number, name) in [(1, "web"), (2, "late")] {
        server.cluster.apply(pod("shop", name)).unwrap();
        let updated = || updates(&healths).iter().filter(|n| **n == number).count() == 7;
        let took = paced("an update on the others", MILLISECOND, updated).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    // The connection is alive, so only its silence tells that a watch is not.
    let all = || updates(&healths).iter().all(|n| *n == 2);
    let took = paced("an update on the one that stalled", Duration::from_millis(100), all).await;
    assert!(took < Duration::from_secs(160), "{took:?}");
    assert_eq!(server.accepted.load(SeqCst), accepted, "it goes on over the same connection");
}

#[tokio::test(start_paused = true)]
async fn readers_that_stop_leave_room_on_the_connection_for_the_watches() {
    let server = server(&["h2"]).await;
    let client = client(&server).await;
    let (healths, _tasks) = watches(&client);
    paced("all lists", MILLISECOND, || healths.iter().all(|h| h.is_synced())).await;
    paced("one connection", MILLISECOND, || server.open.load(SeqCst) == 1).await;
    server.cluster.apply(pod("shop", "noisy")).unwrap();
    server.cluster.set_log("shop", "noisy", "app", false, Log::Text(vec![b'x'; 4 << 20].into()));
    let mut unread = Vec::new();
    for _ in 0..10 {
        let request = http::Request::get("/api/v1/namespaces/shop/pods/noisy/log?container=app");
        unread.push(client.send(request.body(kube::client::Body::empty()).unwrap()).await.unwrap());
    }
    // Time to send all of the logs that may be sent.
    let mut turns = 0;
    paced("some turns", MILLISECOND, || {
        turns += 1;
        turns == 500
    })
    .await;
    for n in 0..100 {
        server.cluster.apply(pod("shop", &format!("web-{n}"))).unwrap();
    }
    let updated = || updates(&healths).iter().all(|n| *n == 101);
    let took = paced("the updates on each", MILLISECOND, updated).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A daemon, which is killed at the end.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The memory that it holds beside its program, bytes.
#[cfg(target_os = "linux")]
fn memory(daemon: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn answers_without_end_fit_into_the_memory_limit() {
    let peak = async |protocol, target| {
        let server = server(&[protocol]).await;
        // In protobuf a frame says how long it is. In JSON it is read until it is too long.
        server.cluster.fault("*", Fault::RefuseProtobuf);
        server.cluster.fault(target, Fault::Endless);
        let mut daemon = command();
        daemon.args(["watch", "--listen", "127.0.0.1:0", "--kubeconfig"]);
        daemon.arg(server.kubeconfig.path().join("config")).stderr(std::process::Stdio::null());
        let daemon = Running(daemon.spawn().unwrap());
        let mut peak = 0;
        until("some answers", || {
            peak = peak.max(memory(&daemon));
            server.cluster.asked("watch", "pods") + server.cluster.asked("list", "pods") >= 6
        })
        .await;
        println!("{protocol}, {target}: {} KiB", peak >> 10);
        peak
    };
    let peaks = tokio::join!(
        peak("h2", "watch *"),
        peak("h2", "*"),
        peak("http/1.1", "watch *"),
        peak("http/1.1", "*")
    );
    for peak in [peaks.0, peaks.1, peaks.2, peaks.3] {
        assert!(peak < 24 << 20, "{peaks:?}");
    }
}
