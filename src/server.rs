//! HTTP for machines and people: metrics, probes, the API and the status page.
//!
//! Bound before anything else is begun, so that a taken port is said at once. It only reads: nothing here changes a state. A
//! request may be of anyone: sizes, times and connections are limited.
//!
//! Must not know clusters, nor how incidents come about.

mod api;

use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::incidents::Incidents;
use crate::metrics::{self, Metrics};

/// Open connections at most; more must wait.
const CONNECTIONS: usize = 256;
/// Bytes of a request's head at most.
const HEAD: usize = 16 * 1024;
/// How long a request's head may take, and how long a connection may idle.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests that are answered may go on when the program ends.
const DRAIN: Duration = Duration::from_millis(1000);
/// Bytes of the metrics that are sent at once.
const CHUNK: usize = 64 * 1024;
/// How old the last sign of life of the watch's task may be, seconds.
const PULSE: i64 = 60;

pub struct Shown {
    pub incidents: Arc<RwLock<Incidents>>,
    pub metrics: Arc<Metrics>,
    /// The time that the incidents know.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The time of the process, which probes are about.
    pub wall_clock: fn() -> Timestamp,
    /// Seconds since 1970 when the watch's task last gave a sign of life.
    pub pulse: Arc<AtomicI64>,
    /// The document that `diagnose -A -o json` would print.
    pub diagnosis: Box<dyn Fn() -> String + Send + Sync>,
}

impl Shown {
    /// Whether the first list is done and the watch is fresh; else why not, in words.
    fn ready(&self) -> Result<(), String> {
        let watches = self.metrics.sources.watches();
        let now = (self.wall_clock)();
        let mut pods = watches.iter().filter(|w| w.resource == "pods").peekable();
        if pods.peek().is_none() {
            return Err("no watch has begun".to_owned());
        }
        let troubles: Vec<String> = pods.filter_map(|w| w.ready(now).err()).collect();
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("\n")) }
    }

    fn alive(&self) -> Result<(), String> {
        let age = (self.wall_clock)().as_second() - self.pulse.load(Relaxed);
        if age <= PULSE { Ok(()) } else { Err(format!("the watch's task gave no sign of life for {age} s")) }
    }
}

/// A port that is taken, or an address that is not ours.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", bind_trouble(.error))]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

fn bind_trouble(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is taken by another program; choose another one with --listen".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need a privilege, choose another one with --listen"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "the address does not belong to this machine; choose another one with --listen".to_owned()
        }
        _ => error.to_string(),
    }
}

/// A port that is ours, not served yet.
#[derive(Debug)]
pub struct Bound(TcpListener);

impl Bound {
    /// Takes the port. Every address of IPv6 are those of IPv4 as well, and those alone where there is no IPv6.
    pub async fn to(address: SocketAddr) -> Result<Self, BindError> {
        use io::ErrorKind::{AddrInUse, PermissionDenied};
        let failed = match TcpListener::bind(address).await {
            Ok(listener) => return Ok(Self(listener)),
            Err(error) => BindError { address, error },
        };
        if address.ip() != Ipv6Addr::UNSPECIFIED
            || matches!(failed.error.kind(), AddrInUse | PermissionDenied)
        {
            return Err(failed);
        }
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await.map(Self).map_err(|_| failed)
    }

    /// Which one it is.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `stop`, and then for a moment what is being answered.
    pub async fn serve(self, shown: Arc<Shown>, stop: CancellationToken) {
        let router = router(shown);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let slot = Arc::clone(&slots).acquire_owned().await;
                    (self.0.accept().await, slot)
                } => accepted,
            };
            let (stream, slot) = match accepted {
                (Ok((stream, _)), slot) => (stream, slot),
                (Err(error), _) => {
                    // Out of file descriptors, mostly: what is open must end first.
                    tracing::debug!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let stop = stop.clone();
            connections.spawn(async move {
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD);
                let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
                // A connection that breaks is the client's affair.
                tokio::select! {
                    _ = &mut connection => {}
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
                drop(slot);
            });
        }
        drop(self.0);
        let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    }
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/v1/incidents", get(|shown, asked| aside(|| api::incidents(shown, asked))))
        .route("/api/v1/problems", get(|shown, asked| aside(|| api::problems(shown, asked))))
        .route("/api/v1/diagnosis", get(diagnosis))
        .route("/", get(|| page(include_str!("server/status.html"), "text/html; charset=utf-8")))
        .route("/status.css", get(|| page(include_str!("server/status.css"), "text/css; charset=utf-8")))
        .route("/status.js", get(|| page(include_str!("server/status.js"), "text/javascript; charset=utf-8")))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found; there is /, /metrics, /livez, /readyz, /api/v1/incidents, /api/v1/problems and /api/v1/diagnosis\n") })
        .layer(axum::middleware::map_response(headers))
        .with_state(shown)
}

/// What every answer says: nothing may be guessed, framed or loaded from elsewhere.
async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(text: &'static str, content_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// Not in a task: in a storm it takes longer than an update may wait.
async fn aside(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The text goes out as it is written, in chunks of which there are a few at a time. A failure breaks the answer off, so
/// that a part of the text is never taken for the whole.
async fn scrape(State(shown): State<Arc<Shown>>) -> Response {
    let (sender, receiver) = mpsc::channel(1);
    let writer = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut out = BufWriter::with_capacity(CHUNK, Chunks(sender));
        let written = shown.metrics.write(&shown.incidents, (shown.clock)(), &mut out);
        written.map_err(io::Error::other)?;
        out.flush()
    });
    let chunks = stream::try_unfold((receiver, Some(writer)), async |(mut receiver, mut writer)| {
        if let Some(chunk) = receiver.recv().await {
            return Ok(Some((chunk, (receiver, writer))));
        }
        match writer.take() {
            Some(writer) => writer.await.map_err(io::Error::other).flatten().map(|()| None),
            None => Ok(None),
        }
    });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], Body::from_stream(chunks)).into_response()
}

/// Hands on what is written, and waits for the reader.
struct Chunks(mpsc::Sender<Bytes>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn livez(State(shown): State<Arc<Shown>>) -> Response {
    probe(shown.alive())
}

async fn readyz(State(shown): State<Arc<Shown>>) -> Response {
    probe(shown.ready())
}

fn probe(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

async fn diagnosis(State(shown): State<Arc<Shown>>) -> Response {
    aside(move || ([(header::CONTENT_TYPE, "application/json")], (shown.diagnosis)()).into_response()).await
}
