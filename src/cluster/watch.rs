//! Keeps up with one resource: a list, then a watch, for as long as the program runs.
//!
//! Not kube-runtime's watcher and reflector: at 100,000 pods they took 58 us of CPU a pod for the first list and 120 us an
//! update with the full Pod, and still 38 and 100 us (and 6.3 KB a pod) with a slim one, since each object is decoded from
//! JSON with its whole metadata, cloned and kept. This loop with the incidents behind it takes 6 and 13 us and 0.4 KB
//! (`docs/performance.md`). The answer is read through [`kube::Client::send`], which does connection, TLS and
//! authentication, and decoded straight into the slim types, from protobuf where the server offers it. Owners and nodes go
//! the same way: one generic loop is less code than two ways to watch.
//!
//! Must not know what becomes of the objects. Failures are kept in [`WatchHealth`], for metrics and readiness; the loop
//! itself never ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::client::{Failure, Kind};
use crate::objects::Object;
use crate::objects::decode::{Encoding, Frames, LARGE, Unread, WatchEvent, lend_list, lend_watch_frame};
use crate::redact::clean;

/// A resource of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Group and version as in the path, such as `apis/apps/v1`.
    pub api: &'static str,
    /// Such as `pods`; the `resource` label of metrics.
    pub plural: &'static str,
    /// Whether the slim type has Kubernetes' own protobuf tags.
    pub protobuf: bool,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

macro_rules! resources {
    ($($name:ident: $api:literal $plural:literal $protobuf:literal $namespaced:literal $doc:literal;)*) => {
        impl Resource {
            $(
                #[doc = $doc]
                pub const $name: Self =
                    Self { api: $api, plural: $plural, protobuf: $protobuf, namespaced: $namespaced };
            )*
        }
    };
}
resources! {
    PODS: "api/v1" "pods" true true "`objects::Pod`.";
    EVENTS: "api/v1" "events" true true "`objects::Event`.";
    NODES: "api/v1" "nodes" true false "`objects::Node`.";
    CLAIMS: "api/v1" "persistentvolumeclaims" true true "`objects::PersistentVolumeClaim`.";
    REPLICA_SETS: "apis/apps/v1" "replicasets" false true "`objects::Workload`.";
    DEPLOYMENTS: "apis/apps/v1" "deployments" false true "`objects::Workload`.";
    STATEFUL_SETS: "apis/apps/v1" "statefulsets" false true "`objects::Workload`.";
    DAEMON_SETS: "apis/apps/v1" "daemonsets" false true "`objects::Workload`.";
    JOBS: "apis/batch/v1" "jobs" false true "`objects::Job`.";
    CRON_JOBS: "apis/batch/v1" "cronjobs" false true "`objects::CronJob`.";
}

/// Which pods this instance is for: what the flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Empty for all.
    pub namespaces: Vec<String>,
    /// A label selector, empty for none.
    pub labels: String,
    /// A field selector, empty for none.
    pub fields: String,
    /// Only pods on this node.
    pub node: Option<String>,
    /// Only pods on no node yet.
    pub unscheduled: bool,
    /// Only this share of the pods.
    pub shard: Option<Shard>,
}

impl Selection {
    /// The watches that show these pods.
    pub fn pods(&self) -> Vec<WatchScope> {
        let node = match (&self.node, self.unscheduled) {
            (Some(node), _) => Some(format!("spec.nodeName={node}")),
            (None, true) => Some("spec.nodeName=".to_owned()),
            (None, false) => None,
        };
        let fields: Vec<_> = [Some(&self.fields), node.as_ref()]
            .into_iter()
            .flatten()
            .filter(|f| !f.is_empty())
            .cloned()
            .collect();
        let one = WatchScope {
            labels: self.labels.clone(),
            fields: fields.join(","),
            shard: self.shard,
            ..WatchScope::default()
        };
        one.in_each(&self.namespaces)
    }

    /// The watches that show everything around them (events, owners, nodes): labels, nodes and shards are the pods' alone.
    pub fn others(&self, resource: &Resource) -> Vec<WatchScope> {
        let namespaces = if resource.namespaced { self.namespaces.as_slice() } else { &[] };
        WatchScope::default().in_each(namespaces)
    }
}

/// What one watch shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchScope {
    /// None for all.
    pub namespace: Option<String>,
    /// A label selector, empty for none.
    pub labels: String,
    /// A field selector, empty for none.
    pub fields: String,
    /// Only this share of the objects.
    pub shard: Option<Shard>,
}

impl WatchScope {
    fn in_each(self, namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![self];
        }
        namespaces.iter().map(|n| Self { namespace: Some(n.clone()), ..self.clone() }).collect()
    }
}

/// One of several shares of all objects, by uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Share `index` (from 0) of `of`. None unless `index < of`.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (index < of).then_some(Self { index, of })
    }

    /// Whether an object is in this share. Depends on its uid alone, so that all instances agree; of `n` shares, one more takes
    /// only an `n+1`-th of the objects over and leaves the others where they are (jump consistent hash, Lamping and Veach).
    pub fn holds(self, uid: &str) -> bool {
        // FNV-1a: stable between versions, unlike the standard library's hashers.
        let mut key = uid
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let (mut share, mut next) = (0, 0.0);
        while next < f64::from(self.of) {
            share = next as u32;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            next = (f64::from(share) + 1.0) * (f64::from(1u32 << 31) / ((key >> 33) + 1) as f64);
            next = next.floor();
        }
        share == self.index
    }
}

/// How the first list is had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialList {
    /// As a watch that begins with all objects (`sendInitialEvents`), by pages where the server does not offer that.
    #[default]
    Auto,
    /// By pages.
    Pages,
}

/// How to watch.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How the first list is had.
    pub initial: InitialList,
    /// Whether to ask for protobuf.
    pub protobuf: bool,
    /// Items per page of a list.
    pub page: u32,
    /// How long one watch request lasts before it is made anew. A connection that has died in silence is noticed
    /// [`GRACE`] after that.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { initial: InitialList::Auto, protobuf: true, page: 500, timeout: Duration::from_secs(150) }
    }
}

/// How long after the end of its time a watch may still be silent.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(60);
/// How long an answer may pause.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Updates that come this close together are a rush, in which most of what one costs is to wake up for it: the connection
/// may gather some ...
const RUSH: Duration = Duration::from_millis(1);
/// ... for this long before they are taken. An update on a quiet watch is taken at once.
const GATHER: Duration = Duration::from_millis(7);
/// How often a resource version may be refused before everything is listed anew.
const REFUSED_RESUMES: u32 = 4;

/// How often a list as a watch may be refused before it is tried by pages: half as often, so that both take turns.
const REFUSED_LISTS: u32 = REFUSED_RESUMES / 2;

/// What a watch hands to its sink. Objects are lent: to keep one, take it. What is left is read anew in their place.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// A list begins; objects that it does not show before [`Change::InitDone`] are gone. May come again before that.
    Init,
    /// An object is there, new or changed.
    Apply(T),
    /// An object is gone; as it was last.
    Delete(T),
    /// The list is complete.
    InitDone,
}

/// The state of one watch, read by metrics and readiness while it runs.
#[derive(Debug)]
pub struct WatchHealth {
    /// Of which resource.
    pub resource: &'static str,
    /// Of which namespace; none for all.
    pub namespace: Option<String>,
    listed: AtomicU64,
    added: AtomicU64,
    modified: AtomicU64,
    deleted: AtomicU64,
    bookmarks: AtomicU64,
    errors: [AtomicU64; Kind::ALL.len()],
    relists: AtomicU64,
    undecodable: AtomicU64,
    /// Milliseconds since 1970; 0 for never.
    last_sign_of_life: AtomicI64,
    synced: AtomicBool,
    stale_after: Duration,
    trouble: Mutex<Option<String>>,
}

impl WatchHealth {
    /// Of a watch that has not begun.
    pub fn new(resource: &Resource, scope: &WatchScope, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            resource: resource.plural,
            namespace: scope.namespace.clone(),
            listed: AtomicU64::new(0),
            added: AtomicU64::new(0),
            modified: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            bookmarks: AtomicU64::new(0),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
            relists: AtomicU64::new(0),
            undecodable: AtomicU64::new(0),
            last_sign_of_life: AtomicI64::new(0),
            synced: AtomicBool::new(false),
            // A watch without bookmarks is only heard of when it is made anew.
            stale_after: settings.timeout + GRACE + ANSWER,
            trouble: Mutex::new(None),
        })
    }

    /// What came, by the label `type`.
    pub fn events(&self) -> [(&'static str, u64); 5] {
        [
            ("listed", self.listed.load(Relaxed)),
            ("added", self.added.load(Relaxed)),
            ("modified", self.modified.load(Relaxed)),
            ("deleted", self.deleted.load(Relaxed)),
            ("bookmark", self.bookmarks.load(Relaxed)),
        ]
    }

    /// What failed, by the label `kind`.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::ALL.iter().zip(&self.errors).map(|(kind, count)| (kind.as_str(), count.load(Relaxed)))
    }

    /// How many lists were begun after the first one that was completed.
    pub fn relists(&self) -> u64 {
        self.relists.load(Relaxed)
    }

    /// How many objects did not decode.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Relaxed)
    }

    /// When the server last said something that shows the watch to work.
    pub fn last_sign_of_life(&self) -> Option<Timestamp> {
        Some(self.last_sign_of_life.load(Relaxed))
            .filter(|t| *t != 0)
            .and_then(|t| Timestamp::from_millisecond(t).ok())
    }

    /// Whether a list was completed once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Relaxed)
    }

    /// What is wrong at the moment, in words.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the objects are known and fresh; else the reason in words.
    pub fn ready(&self, now: Timestamp) -> Result<(), String> {
        let reason = if !self.is_synced() {
            "the first list is not complete".to_owned()
        } else {
            let silent = self
                .last_sign_of_life()
                .map_or(Duration::ZERO, |t| now.duration_since(t).try_into().unwrap_or(Duration::ZERO));
            if silent <= self.stale_after {
                return Ok(());
            }
            format!("no sign of life for {} s", silent.as_secs())
        };
        let place = self.namespace.as_ref().map(|n| format!(" in {n}")).unwrap_or_default();
        let trouble = self.trouble().map(|t| format!(": {t}")).unwrap_or_default();
        Err(format!("{}{place}: {reason}{trouble}", self.resource))
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a sign of life is when it comes; nothing is decided by it here"
    )]
    fn alive(&self) {
        self.last_sign_of_life.store(Timestamp::now().as_millisecond(), Relaxed);
    }

    fn failed(&self, failure: &Failure) -> bool {
        if let Some(count) = self.errors.get(failure.kind as usize) {
            count.fetch_add(1, Relaxed);
        }
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = trouble.as_ref() != Some(&failure.text);
        *trouble = Some(failure.text.clone());
        is_new
    }

    fn recovered(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// Pauses between tries: doubling, with jitter, up to [`MAX_PAUSE`].
#[derive(Debug)]
struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    fn next(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.0.mul_f64(0.5 + 0.5 * random());
        self.0 = (self.0 * 2).min(MAX_PAUSE);
        pause.max(asked.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

/// From 0 to 1. Good enough to keep instances from acting in step.
fn random() -> f64 {
    // The standard library seeds this differently each time.
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

/// A watch to be run.
#[derive(Debug)]
pub struct Watch {
    resource: Resource,
    scope: WatchScope,
    settings: Settings,
    health: Arc<WatchHealth>,
    list_anew: Arc<Notify>,
    /// Where to go on; none before the first list and when that is too old.
    resume: Option<String>,
    /// What the server has shown not to offer.
    protobuf: bool,
    watch_list: bool,
    pauses: Pauses,
    refused: u32,
}

/// Why a request ended.
enum End {
    /// Something is not offered: to be asked for otherwise, at once.
    Otherwise,
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Watch {
    /// Of a resource, as far as `scope` reaches.
    pub fn new(resource: Resource, scope: WatchScope, settings: Settings) -> Self {
        Self {
            health: WatchHealth::new(&resource, &scope, &settings),
            list_anew: Arc::default(),
            protobuf: settings.protobuf && resource.protobuf,
            watch_list: settings.initial == InitialList::Auto,
            resume: None,
            pauses: Pauses::new(),
            refused: 0,
            resource,
            scope,
            settings,
        }
    }

    /// Its state.
    pub fn health(&self) -> Arc<WatchHealth> {
        Arc::clone(&self.health)
    }

    /// Makes it list anew, whenever it is notified.
    pub fn list_anew(&self) -> Arc<Notify> {
        Arc::clone(&self.list_anew)
    }

    /// What it shows.
    pub fn scope(&self) -> &WatchScope {
        &self.scope
    }

    /// Watches until it is dropped. The sink is called in between and must not take long. While updates come in a rush the
    /// thread sleeps now and then for some milliseconds, so it should be a runtime of one thread.
    pub async fn run<T: Object>(
        mut self,
        client: Client,
        mut sink: impl FnMut(Change<&mut T>),
    ) -> Infallible {
        loop {
            let list_anew = Arc::clone(&self.list_anew);
            let end = tokio::select! {
                end = self.once(&client, &mut sink) => end,
                () = list_anew.notified() => {
                    self.resume = None;
                    continue;
                }
            };
            let failure = match end {
                Ok(()) | Err(End::Otherwise) => continue,
                Err(End::Failed(failure)) => failure,
            };
            // A resource version may be refused for other reasons than its age.
            self.refused += u32::from(matches!(failure.kind, Kind::Refused | Kind::Server));
            if failure.kind == Kind::Expired || self.refused >= REFUSED_RESUMES {
                self.resume = None;
                self.refused = 0;
            }
            let pause = self.pauses.next(failure.retry_after);
            let (resource, namespace) = self.names();
            let kind = failure.kind.as_str();
            if self.health.failed(&failure) {
                warn!(resource, namespace, kind, retry_in = ?pause, "the watch of {resource} fails: {failure}");
            } else {
                debug!(resource, namespace, kind, retry_in = ?pause, "the watch of {resource} still fails: {failure}");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One list or one watch.
    async fn once<T: Object>(
        &mut self,
        client: &Client,
        sink: &mut impl FnMut(Change<&mut T>),
    ) -> Result<(), End> {
        match self.resume.clone() {
            Some(version) => self.follow(client, Some(version), sink).await,
            // A list as a watch needs a cache that is in order: where it fails, a list by pages may still be had.
            None if self.watch_list && self.refused < REFUSED_LISTS => self.follow(client, None, sink).await,
            None => self.pages(client, sink).await,
        }
    }

    fn begin<T>(&mut self, sink: &mut impl FnMut(Change<&mut T>)) {
        if self.health.is_synced() {
            self.health.relists.fetch_add(1, Relaxed);
        }
        sink(Change::Init);
    }

    fn done<T>(&mut self, version: String, sink: &mut impl FnMut(Change<&mut T>)) {
        self.resume = Some(version);
        sink(Change::InitDone);
        self.health.synced.store(true, Relaxed);
        self.recovered();
    }

    /// Everything, by pages.
    async fn pages<T: Object>(
        &mut self,
        client: &Client,
        sink: &mut impl FnMut(Change<&mut T>),
    ) -> Result<(), End> {
        let limit = self.settings.page.to_string();
        let mut token = String::new();
        let mut first = true;
        loop {
            let mut query = vec![("limit", limit.as_str())];
            if !token.is_empty() {
                query.push(("continue", &token));
            }
            let response = self.ask(client, &query, false).await?;
            let encoding = self.encoding(&response)?;
            let body = collect(response.into_body()).await?;
            if std::mem::take(&mut first) {
                self.begin(sink);
            }
            let health = Arc::clone(&self.health);
            let shard = self.scope.shard;
            let end = lend_list(&body, encoding, |item: &mut T| {
                health.listed.fetch_add(1, Relaxed);
                if shard.is_none_or(|s| s.holds(&item.meta().uid)) {
                    sink(Change::Apply(item));
                }
            });
            drop(body);
            let end = end.map_err(|error| self.unreadable(encoding, &error.to_string()))?;
            self.health.alive();
            self.skipped(end.undecodable.count, end.undecodable.named.first());
            if end.continue_token.is_empty() {
                self.done(end.resource_version, sink);
                return Ok(());
            }
            token = end.continue_token;
        }
    }

    /// A watch from `version` on; without one it begins with all objects.
    async fn follow<T: Object>(
        &mut self,
        client: &Client,
        version: Option<String>,
        sink: &mut impl FnMut(Change<&mut T>),
    ) -> Result<(), End> {
        // Not all watches are to be made anew at the same time.
        let lasts = self.settings.timeout.mul_f64(0.9 + 0.1 * random()).as_secs().max(1).to_string();
        let mut query = vec![("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", &lasts)];
        let mut initial = version.is_none();
        match &version {
            Some(version) => query.push(("resourceVersion", version)),
            // No version: up to date, not from a cache that may lag behind.
            None => query.extend([("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]),
        }
        let response = self.ask(client, &query, true).await?;
        let encoding = self.encoding(&response)?;
        if initial {
            self.begin(sink);
        }
        self.health.alive();
        let mut frames = Frames::new(encoding);
        let mut object = T::default();
        let mut body = response.into_body();
        let began = Instant::now();
        let mut delivered = false;
        let idle = self.settings.timeout + GRACE;
        let mut rush = false;
        let mut came = began;
        loop {
            let chunk = match timeout(if initial { ANSWER } else { idle }, piece(&mut body, rush)).await {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(Failure::of(&error).into()),
                Ok(None) => break,
                Err(_) if initial => {
                    // A server that ignores `sendInitialEvents` never says that this was all.
                    self.watch_list = false;
                    return Err(Failure::new(Kind::Timeout, "the first list stopped coming").into());
                }
                Err(_) => {
                    let text = format!("nothing came for {} s: the connection seems dead", idle.as_secs());
                    return Err(Failure::new(Kind::Timeout, text).into());
                }
            };
            frames.push(chunk);
            let mut count = 0;
            while let Some(frame) =
                frames.next_frame().map_err(|e| Failure::new(Kind::Protocol, e.to_string()))?
            {
                if frame.is_empty() {
                    continue;
                }
                count += 1;
                let is_large = frame.len() > LARGE;
                let event = lend_watch_frame(frame, encoding, &mut object);
                delivered |= !initial && !matches!(event, Ok(WatchEvent::Error(_)));
                self.event(event, &mut initial, sink)?;
                if is_large {
                    object = T::default();
                }
            }
            self.health.alive();
            if delivered {
                self.works();
            }
            let now = Instant::now();
            rush = !initial && (count > 1 || now.duration_since(came) < RUSH);
            came = now;
        }
        if initial {
            self.watch_list = false;
            return Err(Failure::new(Kind::Protocol, "the watch ended within the first list").into());
        }
        if frames.is_within_frame() {
            return Err(Failure::new(Kind::Unreachable, "the watch broke off within an event").into());
        }
        if !delivered && began.elapsed() < Duration::from_secs(1) {
            return Err(Failure::new(Kind::Protocol, "the watch was closed as soon as it began").into());
        }
        if let Some(version) = version.filter(|_| !delivered) {
            self.check_reached::<T>(client, &version).await?;
        }
        self.works();
        Ok(())
    }

    /// Whether the server has come as far as the version that a silent watch began with. After its data were restored from a
    /// backup it counts on from an older one, and until it has caught up such a watch hears nothing, not even an error.
    async fn check_reached<T: Object>(&mut self, client: &Client, version: &str) -> Result<(), End> {
        let response = self.ask(client, &[("limit", "1")], false).await?;
        let encoding = self.encoding(&response)?;
        let body = collect(response.into_body()).await?;
        let end = lend_list(&body, encoding, |_: &mut T| {});
        let newest = end.map_err(|error| self.unreadable(encoding, &error.to_string()))?.resource_version;
        // Versions of one resource can be compared as numbers; what is none may be anything.
        if let (Ok(newest), Ok(version)) = (newest.parse::<u64>(), version.parse::<u64>())
            && newest < version
        {
            let text = format!(
                "the API server is at {newest}, before the {version} that it had reached: was it restored?"
            );
            return Err(Failure::new(Kind::Expired, text).into());
        }
        Ok(())
    }

    /// The watch delivers. (A list alone does not prove that the watch after it will, so it leaves the pauses as they are.)
    fn works(&mut self) {
        self.pauses.reset();
        self.refused = 0;
        self.recovered();
    }

    fn recovered(&self) {
        if self.health.recovered() {
            let (resource, namespace) = self.names();
            info!(resource, namespace, "the watch of {resource} works again");
        }
    }

    fn names(&self) -> (&'static str, &str) {
        (self.resource.plural, self.scope.namespace.as_deref().unwrap_or("*"))
    }

    fn event<T: Object>(
        &mut self,
        event: Result<WatchEvent<&mut T>, Unread>,
        initial: &mut bool,
        sink: &mut impl FnMut(Change<&mut T>),
    ) -> Result<(), Failure> {
        let (count, object, is_gone) = match event {
            Ok(WatchEvent::Added(object)) if *initial => (&self.health.listed, object, false),
            Ok(WatchEvent::Added(object)) => (&self.health.added, object, false),
            Ok(WatchEvent::Modified(object)) => (&self.health.modified, object, false),
            Ok(WatchEvent::Deleted(object)) => (&self.health.deleted, object, true),
            Ok(WatchEvent::Bookmark { resource_version, initial_events_end }) => {
                self.health.bookmarks.fetch_add(1, Relaxed);
                if std::mem::take(initial) {
                    *initial = !initial_events_end;
                    if initial_events_end {
                        self.done(resource_version, sink);
                    }
                } else {
                    self.reached(&resource_version);
                }
                return Ok(());
            }
            Ok(WatchEvent::Error(status)) => return Err(Failure::status(&status, None)),
            Err(unread) => {
                if !*initial {
                    self.reached(&unread.resource_version);
                }
                self.skipped(1, Some(&unread));
                return Ok(());
            }
        };
        count.fetch_add(1, Relaxed);
        if !*initial {
            self.reached(&object.meta().resource_version);
        }
        if self.scope.shard.is_none_or(|s| s.holds(&object.meta().uid)) {
            sink(if is_gone { Change::Delete(object) } else { Change::Apply(object) });
        }
        Ok(())
    }

    fn reached(&mut self, version: &str) {
        if !version.is_empty() {
            let resume = self.resume.get_or_insert_default();
            resume.clear();
            resume.push_str(version);
        }
    }

    /// Told at the first, the second, the fourth ...: a broken controller may write them all day.
    fn skipped(&self, count: u64, first: Option<&Unread>) {
        if count == 0 {
            return;
        }
        let before = self.health.undecodable.fetch_add(count, Relaxed);
        let total = before + count;
        if before == 0 || before.ilog2() != total.ilog2() {
            let (resource, namespace) = self.names();
            let example = first.map(Unread::to_string).unwrap_or_default();
            let example = clean(&example);
            warn!(resource, namespace, %example, total, "objects of {resource} do not decode and are skipped");
        }
    }

    /// Asks, and gives the answer if it is a success.
    async fn ask(
        &mut self,
        client: &Client,
        query: &[(&str, &str)],
        watching: bool,
    ) -> Result<Response<Body>, End> {
        let request = self.request(query, watching).map_err(|_| {
            Failure::new(Kind::Refused, "a namespace or a selector has characters that no request can carry")
        })?;
        let response = match timeout(ANSWER, client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Failure::of(&error).into()),
            Err(_) => {
                let text = format!("the API server did not answer within {} s", ANSWER.as_secs());
                return Err(Failure::new(Kind::Timeout, text).into());
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if self.protobuf && matches!(status, StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE)
        {
            self.no_protobuf("refuses it");
            return Err(End::Otherwise);
        }
        if watching && self.resume.is_none() && Failure::is_not_understood(status) {
            debug!(resource = self.resource.plural, %status, "the server offers no list as a watch: listing by pages");
            self.watch_list = false;
            return Err(End::Otherwise);
        }
        Err(Failure::response(response).await.into())
    }

    fn request(&self, query: &[(&str, &str)], watching: bool) -> http::Result<Request<Body>> {
        let mut uri = format!("/{}", self.resource.api);
        if let Some(namespace) = &self.scope.namespace {
            uri.push_str("/namespaces/");
            uri.extend(form_urlencoded::byte_serialize(namespace.as_bytes()));
        }
        uri.push('/');
        uri.push_str(self.resource.plural);
        let mut pairs = form_urlencoded::Serializer::new(uri + "?");
        pairs.extend_pairs(query);
        for (key, selector) in [("labelSelector", &self.scope.labels), ("fieldSelector", &self.scope.fields)]
        {
            if !selector.is_empty() {
                pairs.append_pair(key, selector);
            }
        }
        let accept = match (self.protobuf, watching) {
            (true, false) => "application/vnd.kubernetes.protobuf, application/json",
            (true, true) => "application/vnd.kubernetes.protobuf;stream=watch, application/json",
            (false, _) => "application/json",
        };
        Request::get(pairs.finish()).header(header::ACCEPT, accept).body(Body::empty())
    }

    /// What the answer is written in.
    fn encoding(&mut self, response: &Response<Body>) -> Result<Encoding, End> {
        let kind =
            response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            return Ok(Encoding::Json);
        }
        if kind.starts_with("application/vnd.kubernetes.protobuf") {
            return Ok(Encoding::Protobuf);
        }
        if self.protobuf {
            self.no_protobuf("answers with something else");
            return Err(End::Otherwise);
        }
        Err(Failure::content_type(kind).into())
    }

    fn no_protobuf(&mut self, why: &str) {
        self.protobuf = false;
        debug!(resource = self.resource.plural, "protobuf is not to be had, the server {why}: reading JSON");
    }

    /// An answer that does not read. What is no protobuf may be JSON that says so.
    fn unreadable(&mut self, encoding: Encoding, why: &str) -> Failure {
        if encoding == Encoding::Protobuf {
            self.no_protobuf("writes what does not read");
        }
        Failure::new(Kind::Protocol, why)
    }
}

/// The next piece of a body. In a rush, if there is none yet, once some have gathered.
async fn piece(body: &mut Body, rush: bool) -> Option<Result<Frame<Bytes>, kube::Error>> {
    if rush {
        if let Some(piece) = body.frame().now_or_never() {
            return piece;
        }
        // The connection's task hands them over one at a time.
        let_others_run().await;
        if let Some(piece) = body.frame().now_or_never() {
            return piece;
        }
        // The thread sleeps, not the task: a runtime that waits is woken by every packet, which is what is to be spared.
        std::thread::sleep(GATHER);
    }
    body.frame().await
}

/// Unlike tokio's own `yield_now`, without a look at the sockets in between: that is a system call for each update.
async fn let_others_run() {
    let mut is_next = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_next, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The longest list body that is taken: a page of 500 objects of the largest size there is.
const MAX_BODY: usize = 1 << 30;

/// The whole of a body, unless it pauses for too long.
pub(super) async fn collect(mut body: Body) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    loop {
        match timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => whole.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Ok(Some(Err(error))) => return Err(Failure::of(&error)),
            Ok(None) => return Ok(whole),
            Err(_) => {
                let text = format!("the answer stopped coming for {} s", SILENCE.as_secs());
                return Err(Failure::new(Kind::Timeout, text));
            }
        }
        if whole.len() > MAX_BODY {
            return Err(Failure::new(Kind::Protocol, "the answer is longer than any page of a list can be"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_in_exactly_one_share_and_shares_are_even() {
        let mut counts = [0u32; 7];
        for n in 0..70_000u32 {
            let uid = format!("{:08x}-1111-4222-8333-{:012x}", n.wrapping_mul(2_654_435_761), n);
            let holders: Vec<_> = (0..7).filter(|&i| Shard::new(i, 7).unwrap().holds(&uid)).collect();
            assert_eq!(holders.len(), 1);
            counts[holders[0] as usize] += 1;
            let stays = Shard::new(holders[0], 8).unwrap().holds(&uid);
            assert!(stays || Shard::new(7, 8).unwrap().holds(&uid), "only the new share takes over");
        }
        assert!(counts.iter().all(|c| (9_000..11_000).contains(c)), "{counts:?}");
        assert_eq!(Shard::new(7, 7), None);
        assert_eq!(Shard::new(0, 0), None);
    }

    #[test]
    fn the_share_of_a_uid_is_the_same_in_every_release() {
        let uid = "0a1b2c3d-0000-4000-8000-00000000000f";
        assert_eq!((0..8).find(|&i| Shard::new(i, 8).unwrap().holds(uid)), Some(6));
    }

    #[test]
    fn pauses_grow_and_are_never_shorter_than_asked() {
        let mut pauses = Pauses::new();
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            longest = pauses.next(None).max(longest);
            assert!(longest <= MAX_PAUSE);
        }
        assert!(longest >= MAX_PAUSE / 2);
        assert!(pauses.next(Some(Duration::from_secs(90))) >= Duration::from_secs(90));
        assert!(pauses.next(Some(Duration::from_secs(90_000))) <= MAX_RETRY_AFTER);
        pauses.reset();
        assert!(pauses.next(None) <= Pauses::FIRST);
    }

    #[test]
    fn a_selection_becomes_one_watch_per_namespace() {
        let selection = Selection {
            namespaces: vec!["a".into(), "b".into()],
            labels: "app=web".into(),
            fields: "status.phase=Running".into(),
            node: Some("node-a".into()),
            ..Selection::default()
        };
        let pods = selection.pods();
        assert_eq!(pods.len(), 2);
        assert_eq!(pods[1].namespace.as_deref(), Some("b"));
        assert_eq!(pods[0].fields, "status.phase=Running,spec.nodeName=node-a");
        assert_eq!(selection.others(&Resource::NODES), [WatchScope::default()]);
        assert_eq!(selection.others(&Resource::JOBS).len(), 2);
        assert_eq!(selection.others(&Resource::JOBS)[0].labels, "");
        let unscheduled = Selection { unscheduled: true, ..Selection::default() };
        assert_eq!(unscheduled.pods()[0].fields, "spec.nodeName=");
    }
}
