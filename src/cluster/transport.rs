//! The layer between kube and its connection, one for each watch or list: it asks for protobuf and hands on JSON (see
//! [`envelope`](super::envelope)), and holds what kube-runtime does not give: time-outs, bounds, pacing, last contact.
//!
//! Bounds: a page of a list is at most [`MAX_PAGE`] long, a frame of a watch at most
//! [`MAX_FRAME`](crate::objects::decode::MAX_FRAME). Every request passes [`Pace`].

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tower::BoxError;
use tracing::debug;

use super::client::{Failure, Kind};
use super::clock::server_time;
use super::envelope;
use super::health::WatchHealth;
use super::watch::{InitialList, Resource, Settings};
use super::watching::Watching;
use crate::objects::decode::{Encoding, list_version};

/// How long an answer of a watch may take to begin, and its first list to go on.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// How long the body of a list may bring less than [`SOME`] bytes ...
const SILENCE: Duration = Duration::from_secs(30);
const SOME: usize = 16;
/// ... and how long it may take as a whole, over a slow line.
const WHOLE: Duration = Duration::from_secs(300);
/// The longest page of a list that is taken. A longer one is asked for again in pages of half as many objects.
pub const MAX_PAGE: usize = 4 << 20;
/// What is longer than this is read by one of the watches at a time, so that all together fit into the memory limit.
pub(super) const LONG: usize = 256 << 10;
/// Pages of one list at most.
const MAX_PAGES: usize = 2_000;
/// Before the last page of a list, an API server sends only full ones. No object takes less than so many bytes ...
const OBJECT: usize = 64;
/// ... and no page worth asking for at once less than so many. A page with less is short ...
const FULL_PAGE: usize = 1 << 10;
/// ... and the next one waits. So many may be short in one list.
const MAX_SHORT: usize = 20;

/// Paces the requests of one watch: some at once, then one every two seconds.
#[derive(Debug)]
struct Pace(Instant);

impl Pace {
    const EVERY: Duration = Duration::from_secs(2);
    const AT_ONCE: u32 = 5;

    /// When the next request may go out.
    fn next(&mut self, now: Instant) -> Instant {
        let spent = self.0.max(now);
        self.0 = spent + Self::EVERY;
        now + (spent - now).saturating_sub(Self::EVERY * (Self::AT_ONCE - 1))
    }

    /// The last request reached no server: it counts for nothing, so that the first ones after an outage need not wait. (The
    /// supervisor pauses between such tries.)
    fn refund(&mut self) {
        self.0 = self.0.checked_sub(Self::EVERY).unwrap_or(self.0);
    }
}

/// Follows the pages of a list.
#[derive(Debug, Default)]
struct Pages {
    /// Hashes of the `continue` tokens.
    tokens: HashSet<u64>,
    /// The last page was full.
    is_full: bool,
    /// How many were not, before the last.
    short: usize,
    /// A list had no end, and none has ended since: every page waits.
    is_endless: bool,
}

/// What a transport and the reader of its stream tell each other.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) resource: Resource,
    pub(super) health: Arc<WatchHealth>,
    /// How long an answer may take to begin.
    answer: Duration,
    /// How long a watch lasts.
    pub(super) lasts: Duration,
    /// Objects in a page.
    page: AtomicU32,
    /// The server has not shown that it offers no protobuf.
    protobuf: AtomicBool,
    /// The server has not shown that it offers no list as a watch.
    pub(super) streaming: AtomicBool,
    /// What failed is to be asked for otherwise, at once.
    otherwise: AtomicBool,
    /// The last watch ended without an event.
    pub(super) silent: AtomicBool,
    pace: Mutex<Pace>,
    pages: Mutex<Pages>,
    server_time: Mutex<Option<Timestamp>>,
    /// Who reads a long body, or a long frame.
    pub(super) turn: Arc<Semaphore>,
}

impl Wire {
    /// `turn` is shared by all that may read long bodies at the same time.
    pub(super) fn new(
        resource: Resource,
        health: Arc<WatchHealth>,
        settings: &Settings,
        turn: Arc<Semaphore>,
    ) -> Self {
        Self {
            resource,
            health,
            answer: settings.answer,
            lasts: settings.timeout,
            page: AtomicU32::new(settings.page),
            protobuf: AtomicBool::new(settings.protobuf && resource.protobuf),
            streaming: AtomicBool::new(settings.initial == InitialList::Auto),
            otherwise: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            pace: Mutex::new(Pace(Instant::now())),
            pages: Mutex::default(),
            server_time: Mutex::default(),
            turn,
        }
    }

    /// Whether what failed is to be asked for otherwise, at once.
    pub(super) fn take_otherwise(&self) -> bool {
        self.otherwise.swap(false, Relaxed)
    }

    /// The API server's own clock, where it gave it.
    pub(super) fn server_time(&self) -> Option<Timestamp> {
        *self.server_time.lock()
    }

    /// Falls back to JSON. Says whether that is news: a server that goes on is not asked a third time.
    pub(super) fn no_protobuf(&self, why: &str) -> bool {
        let is_new = self.protobuf.swap(false, Relaxed);
        if is_new {
            let resource = self.resource.plural;
            debug!(resource, why, "server does not offer protobuf, falling back to JSON");
        }
        is_new
    }

    pub(super) fn no_streaming(&self) {
        self.streaming.store(false, Relaxed);
    }

    /// Waits until the next request may go out.
    async fn pace(&self) {
        let next = self.pace.lock().next(Instant::now());
        sleep_until(next).await;
    }

    /// Follows the pages of a list. Says whether the next one is to be paced: those after a full one are not.
    fn turn_page(&self, token: Option<&str>) -> Result<bool, Failure> {
        let mut pages = self.pages.lock();
        let Some(token) = token else {
            *pages = Pages { is_endless: pages.is_endless, ..Pages::default() };
            return Ok(true);
        };
        let mut hasher = DefaultHasher::new();
        token.hash(&mut hasher);
        let is_new = pages.tokens.insert(hasher.finish());
        let is_full = std::mem::take(&mut pages.is_full);
        pages.short += usize::from(!is_full);
        let why = if !is_new {
            "the list has no end: the API server repeats a continue token".to_owned()
        } else if pages.short > MAX_SHORT {
            format!("the list has no end: {MAX_SHORT} pages before the last are not full")
        } else if pages.tokens.len() > MAX_PAGES {
            format!("the list does not end after {MAX_PAGES} pages")
        } else {
            return Ok(!is_full || pages.is_endless);
        };
        pages.is_endless = true;
        Err(Failure::new(Kind::Protocol, why))
    }

    /// A list has ended.
    pub(super) fn listed(&self) {
        self.pages.lock().is_endless = false;
    }
}

/// What a request asks for.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    fn pairs(&self) -> impl Iterator<Item = &'a str> {
        self.0.split('&')
    }

    /// As it is encoded.
    fn get(&self, key: &str) -> Option<&'a str> {
        self.pairs().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }

    fn is_watch(&self) -> bool {
        self.get("watch") == Some("true")
    }

    /// Whether the watch begins with all objects.
    fn is_initial(&self) -> bool {
        self.get("sendInitialEvents") == Some("true")
    }
}

fn with_query(uri: &Uri, query: &[&str]) -> Result<Uri, Failure> {
    let uri = format!("{}?{}", uri.path(), query.join("&"));
    uri.parse().map_err(|_| Failure::new(Kind::Refused, "the request cannot be written"))
}

#[derive(Clone)]
struct Transport {
    client: Client,
    wire: Arc<Wire>,
}

/// A client whose requests go through a transport.
pub(super) fn client(client: Client, wire: Arc<Wire>) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Transport { client, wire }, namespace)
}

impl tower::Service<Request<Body>> for Transport {
    type Response = Response<WireBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.clone();
        let uri = request.into_parts().0.uri;
        async move { transport.answer(&uri).await.map_err(BoxError::from) }.boxed()
    }
}

impl Transport {
    async fn answer(&self, uri: &Uri) -> Result<Response<WireBody>, Failure> {
        let query = Query::of(uri);
        let body = if query.is_watch() {
            WireBody::Watch(Box::new(self.watch(uri).await?))
        } else {
            WireBody::Whole(Some(self.list(uri).await?))
        };
        Ok(Response::new(body))
    }

    async fn watch(&self, uri: &Uri) -> Result<Watching, Failure> {
        let query = Query::of(uri);
        let is_initial = query.is_initial();
        if self.wire.silent.swap(false, Relaxed) && !is_initial {
            self.check_restored(uri).await?;
        }
        let uri = match is_initial {
            // With version 0 the server may begin with the state of a cache that is behind.
            true => {
                with_query(uri, &query.pairs().filter(|p| *p != "resourceVersion=0").collect::<Vec<_>>())?
            }
            false => uri.clone(),
        };
        let (encoding, response) = self.ask(&uri, true, true).await?;
        Ok(Watching::new(Arc::clone(&self.wire), response.into_body(), encoding, is_initial))
    }

    /// One page. One that is too long is asked for again with half as many objects.
    async fn list(&self, uri: &Uri) -> Result<Bytes, Failure> {
        let wire = &self.wire;
        let query = Query::of(uri);
        let mut is_paced = wire.turn_page(query.get("continue"))?;
        loop {
            let page = wire.page.load(Relaxed);
            let limit = format!("limit={page}");
            let is_longer =
                query.get("limit").is_some_and(|limit| limit.parse().is_ok_and(|n: u32| n > page));
            let pair = |pair| if is_longer && str::starts_with(pair, "limit=") { &*limit } else { pair };
            let uri = with_query(uri, &query.pairs().map(pair).collect::<Vec<_>>())?;
            let (encoding, response) = self.ask(&uri, false, std::mem::replace(&mut is_paced, true)).await?;
            let body = match self.collect(response.into_body(), MAX_PAGE).await? {
                Some(body) => body,
                None if page > 1 => {
                    wire.page.store(page / 2, Relaxed);
                    continue;
                }
                None => {
                    let text = format!("a page of the list is longer than {} MiB", MAX_PAGE >> 20);
                    return Err(Failure::new(Kind::Protocol, text));
                }
            };
            wire.pages.lock().is_full = body.len() >= FULL_PAGE.max(OBJECT * page as usize);
            match envelope::list(body, encoding, &wire.resource) {
                Ok(list) => {
                    wire.health.alive();
                    return Ok(list.into());
                }
                Err(why) if encoding == Encoding::Protobuf && wire.no_protobuf(&why.to_string()) => {}
                Err(why) => return Err(Failure::new(Kind::Protocol, why.to_string())),
            }
        }
    }

    /// Asks, and gives the answer if it is a success. Falls back to JSON.
    async fn ask(
        &self,
        uri: &Uri,
        watching: bool,
        mut is_paced: bool,
    ) -> Result<(Encoding, Response<Body>), Failure> {
        let wire = &self.wire;
        loop {
            if std::mem::replace(&mut is_paced, true) {
                wire.pace().await;
            }
            let protobuf = wire.protobuf.load(Relaxed);
            let accept = match (protobuf, watching) {
                (true, false) => "application/vnd.kubernetes.protobuf, application/json",
                (true, true) => "application/vnd.kubernetes.protobuf;stream=watch, application/json",
                (false, _) => "application/json",
            };
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = uri.clone();
            request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
            let asked = Instant::now();
            let response = match timeout(wire.answer, self.client.send(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    let failure = Failure::of(&error);
                    if failure.kind == Kind::Unreachable {
                        wire.pace.lock().refund();
                    }
                    return Err(failure);
                }
                Err(_) => {
                    wire.health.troubled_since(asked);
                    let text = format!(
                        "the API server gave no answer within {} s. Is it down or overloaded?",
                        wire.answer.as_secs()
                    );
                    return Err(Failure::new(Kind::Timeout, text));
                }
            };
            let status = response.status();
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            if let Some(time) = server_time(response.headers()) {
                *wire.server_time.lock() = Some(time);
            }
            let encoding = match &kind {
                kind if kind.starts_with("application/json") => Some(Encoding::Json),
                kind if kind.starts_with("application/vnd.kubernetes.protobuf") => Some(Encoding::Protobuf),
                _ => None,
            };
            match encoding {
                Some(encoding) if status.is_success() => return Ok((encoding, response)),
                None if status.is_success()
                    && wire.no_protobuf("the answer is neither protobuf nor JSON") => {}
                None if status.is_success() => return Err(Failure::content_type(&kind)),
                _ if matches!(status, StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE)
                    && wire.no_protobuf("the server rejects protobuf") => {}
                _ => {
                    if Query::of(uri).is_initial() && Failure::is_not_understood(status) {
                        debug!(resource = wire.resource.plural, %status, "server does not offer streaming lists");
                        wire.no_streaming();
                        wire.otherwise.store(true, Relaxed);
                    }
                    return Err(Failure::response(response).await);
                }
            }
        }
    }

    /// The whole of a body, unless it comes too slowly; none if it is too long.
    async fn collect(&self, mut body: Body, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        let slow = |_| {
            let (silence, whole) = (SILENCE.as_secs(), WHOLE.as_secs());
            let text = format!("the answer stalled for {silence} s, or took longer than {whole} s");
            Failure::new(Kind::Timeout, text)
        };
        let (mut whole, mut turn) = (Vec::new(), None);
        let end = Instant::now() + WHOLE;
        let (mut until, mut enough) = (Instant::now() + SILENCE, SOME);
        while let Some(frame) = timeout_at(end.min(until), body.frame()).await.map_err(slow)? {
            let bytes = frame.map_err(|error| Failure::of(&error))?.into_data().unwrap_or_default();
            if whole.len() + bytes.len() > most {
                return Ok(None);
            }
            if turn.is_none() && whole.len() + bytes.len() > LONG {
                turn = Some(timeout_at(end, self.wire.turn.acquire()).await.map_err(slow)?);
                enough = 0;
            }
            whole.extend_from_slice(&bytes);
            if whole.len() >= enough {
                (until, enough) = (Instant::now() + SILENCE, whole.len() + SOME);
            }
        }
        Ok(Some(whole))
    }

    /// Whether the server has come as far as the version that a silent watch began with. After its data were restored from
    /// a backup it counts on from an older one, and until it has caught up such a watch hears nothing, not even an error.
    async fn check_restored(&self, uri: &Uri) -> Result<(), Failure> {
        let query = Query::of(uri);
        // Versions of one resource can be compared as numbers; what is none may be anything.
        let Some(version) = query.get("resourceVersion").and_then(|v| v.parse::<u64>().ok()) else {
            return Ok(());
        };
        let selects = |pair: &&str| pair.starts_with("labelSelector=") || pair.starts_with("fieldSelector=");
        let pairs: Vec<&str> = std::iter::once("limit=1").chain(query.pairs().filter(selects)).collect();
        let (encoding, response) = self.ask(&with_query(uri, &pairs)?, false, true).await?;
        let body = self.collect(response.into_body(), MAX_PAGE).await?.unwrap_or_default();
        let newest = list_version(&body, encoding).unwrap_or_default();
        if newest.parse::<u64>().is_ok_and(|newest| newest < version) {
            let text = format!(
                "the API server is at resourceVersion {newest}, behind {version} that it reached earlier: was it restored from a backup?"
            );
            return Err(Failure::new(Kind::Expired, text));
        }
        Ok(())
    }
}

/// The body of an answer, in JSON.
enum WireBody {
    Whole(Option<Bytes>),
    Watch(Box<Watching>),
}

impl HttpBody for WireBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Watch(watching) => {
                let lines = ready!(watching.poll_lines(cx));
                Poll::Ready(lines.map(|lines| lines.map(Frame::data).map_err(BoxError::from)))
            }
        }
    }
}
