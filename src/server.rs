//! HTTP for machines and people: metrics, probes, the API and the status page.
//!
//! Bound before anything else is begun, so that a taken port is reported at once. It only reads: nothing here changes a state.
//! A request may come from anyone: sizes, times, connections and answers are limited ([`listen`], [`answers`]), names are
//! checked ([`hosts`]), and if it is asked for so is who may look ([`access`]).
//!
//! Must not know clusters, nor how incidents come about.

pub mod access;
mod answers;
mod api;
pub mod hosts;
mod listen;
mod live;
mod openapi;
pub mod page;
mod problem;
pub mod query;
mod status;
pub mod tls;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;
use jiff::Timestamp;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::incidents::Incidents;
use crate::metrics::{self, Metrics};
use crate::report::ClusterFlags;
use access::Access;
use answers::{Answers, Budget, CHUNK, WHOLE, in_time};
use hosts::Hosts;
use listen::Client;
pub use listen::{BindError, Bound, Limits};
use live::Live;
use page::BadToken;
use problem::problem;

/// Scrapes at the same time; each takes a thread for as long as it is being sent.
const SCRAPES: usize = 4;
/// How long the watch's task may report nothing, seconds.
const PULSE: i64 = 60;

/// What somebody reads who asks for something else.
const NOT_FOUND: &str =
    "not found; available: /, /metrics, /livez, /readyz, and what /api/v1/openapi.json describes";

/// Makes a page of a diagnosis.
pub type Diagnose = Box<dyn Fn(&page::Wanted) -> Result<String, BadToken> + Send + Sync>;

/// Whose answers these are, where there are several instances or clusters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Instance {
    /// What the cluster is called; empty if it has no name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Which pods it watches, such as `shard=0/3`; empty for all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Who watches the others; empty if nobody is known to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub others: String,
}

impl Instance {
    /// That it does not watch all pods, in words.
    pub fn note(&self) -> Option<String> {
        let Self { scope, others, .. } = self;
        match (scope.as_str(), others.as_str()) {
            ("", _) => None,
            (_, "") => Some(format!("only pods with {scope} are watched")),
            _ => Some(format!("this instance watches only pods with {scope}; {others} watch the rest")),
        }
    }
}

/// What the pages say beside the incidents.
#[derive(Clone, Debug, Default)]
pub struct PageSettings {
    /// At the top of each page; empty for nothing.
    pub banner: String,
    /// Where people open Alertmanager; empty if that is not known.
    pub alertmanager_url: String,
    /// What the commands need to find the cluster.
    pub flags: ClusterFlags,
}

/// What is served.
pub struct Shown {
    pub incidents: Arc<RwLock<Incidents>>,
    pub metrics: Arc<Metrics>,
    /// The time that the incidents know.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The time of the process, which probes are about.
    pub wall_clock: fn() -> Timestamp,
    /// Seconds since 1970 when the watch's task last reported.
    pub pulse: Arc<AtomicI64>,
    /// The document that `diagnose -A -o json` would print, a page of it.
    pub diagnosis: Diagnose,
    pub instance: Instance,
    pub page: PageSettings,
}

impl Shown {
    /// Whether the first list is done and the watch is fresh; else why not, in words.
    fn ready(&self) -> Result<(), String> {
        let watches = self.metrics.sources.watches();
        let now = (self.wall_clock)();
        let mut pods = watches.iter().filter(|w| w.resource == "pods").peekable();
        if pods.peek().is_none() {
            return Err("no watch has started".to_owned());
        }
        let troubles: Vec<String> = pods.filter_map(|w| w.ready(now).err()).collect();
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("\n")) }
    }

    fn alive(&self) -> Result<(), String> {
        let age = (self.wall_clock)().as_second() - self.pulse.load(Relaxed);
        if age <= PULSE { Ok(()) } else { Err(format!("the watch task has not reported for {age} s")) }
    }
}

/// Everything, with who may see it.
pub struct Server {
    shown: Arc<Shown>,
    hosts: Hosts,
    access: Option<Access>,
    answers: Answers,
    live: Live,
    scrapes: Arc<Budget>,
}

type Served = State<Arc<Server>>;

impl Server {
    /// With `access`, who may look is asked of the API server.
    pub fn new(shown: Arc<Shown>, hosts: Hosts, access: Option<Access>) -> Arc<Self> {
        let scrapes = Budget::new(SCRAPES, SCRAPES / 2);
        Arc::new(Self { shown, hosts, access, answers: Answers::new(), live: Live::new(), scrapes })
    }

    /// What the main listener serves.
    pub fn router(self: Arc<Self>) -> Router {
        let guarded = Router::new()
            .route("/metrics", get(scrape))
            .route("/api/v1/groups", get(api::groups))
            .route("/api/v1/incidents", get(api::incidents))
            .route("/api/v1/incidents/{id}", get(api::incident))
            .route("/api/v1/history", get(api::history))
            .route("/api/v1/events", get(live::events))
            .route("/api/v1/openapi.json", get(openapi::openapi))
            .route("/api/v1/problems", get(api::problems))
            .route("/api/v1/diagnosis", get(api::diagnosis))
            .route("/", get(status::list))
            .route("/incidents/{id}", get(status::incident))
            .route("/runbooks/{reason}", get(status::runbook))
            .route("/status.css", get(|| file(status::CSS, "text/css; charset=utf-8")))
            .route("/status.js", get(|| file(status::JS, "text/javascript; charset=utf-8")))
            .layer(from_fn_with_state(Arc::clone(&self), guard))
            .with_state(Arc::clone(&self));
        probes(Arc::clone(&self.shown))
            .merge(guarded)
            .fallback(|| async { problem(StatusCode::NOT_FOUND, NOT_FOUND) })
            .method_not_allowed_fallback(|| async {
                problem(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed: this server is read-only")
            })
            .layer(map_response(headers))
    }
}

/// The probes alone: what their own listener serves. They are cheap, and wait for no lock of the incidents.
pub fn probes(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found; available: /livez and /readyz\n") })
        .with_state(shown)
}

/// Names first: a page that rebinds its name must not even learn that there is something.
async fn guard(
    State(server): Served,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(host) = server.hosts.refuse(&request) {
        let host = crate::redact::clean(crate::redact::cut(&host, 100)).into_owned();
        let words = format!(
            "this server does not accept the host name {host}. If it is yours, allow it with --allowed-hosts; \
             IP addresses, localhost and NAME.NAMESPACE.svc are always allowed"
        );
        return problem(StatusCode::MISDIRECTED_REQUEST, words);
    }
    if let Some(access) = &server.access
        && let Err(refusal) = access.check(request.headers(), request.uri().path(), client.0).await
    {
        return refusal;
    }
    next.run(request).await
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
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn file(text: &'static str, content_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// The text goes out as it is written, in chunks of which there are a few at a time. A failure breaks the answer off, so
/// that a part of the text is never taken for the whole.
async fn scrape(State(server): Served, Extension(client): Extension<Client>) -> Response {
    let share = match server.scrapes.take(client.0, 1).await {
        Ok(share) => share,
        Err(busy) => return busy.into_response(),
    };
    let held = client.hold();
    let (sender, receiver) = mpsc::channel(1);
    let until = Instant::now() + WHOLE;
    let writer = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let (_share, _held) = (share, held);
        let shown = &server.shown;
        let mut out = BufWriter::with_capacity(CHUNK, Chunks(sender));
        let written = shown.metrics.write(&shown.incidents, (shown.clock)(), &mut out);
        written.map_err(io::Error::other)?;
        out.flush()
    });
    let chunks =
        stream::try_unfold((receiver, Some(writer), until), async |(mut receiver, mut writer, until)| {
            in_time(until)?;
            if let Some(chunk) = receiver.recv().await {
                return Ok(Some((chunk, (receiver, writer, until))));
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
