//! What the simulated cluster holds: objects, their changes, logs, faults and the requests that came. It knows no HTTP.
//!
//! Objects are kept as rendered JSON, since they are written to many clients more often than they change.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::{Cut, Fault};
use super::kubelet::hash;
use super::protobuf;
use super::resources::{PODS, RESOURCES, Resource};

/// How many changes per kind can be watched after the fact, until [`Cluster::set_history`] says otherwise.
const HISTORY: usize = 10_000;
/// How many requests [`Cluster::requests`] remembers.
const REQUESTS: usize = 10_000;
/// How many list snapshots stay good for `continue` tokens.
const SNAPSHOTS: usize = 32;

/// An object as it was written at one resourceVersion.
#[derive(Debug)]
pub struct Object {
    /// Empty for nodes and namespaces.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub version: u64,
    pub(super) resource: usize,
    pub(super) labels: Vec<(String, String)>,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) body: Body,
    /// The message in protobuf, once it was asked for.
    pub(super) encoded: OnceLock<Bytes>,
}

/// What an object says.
#[derive(Debug)]
pub(super) enum Body {
    /// The object's JSON without its first brace, `kind` and `apiVersion`, which lists leave out.
    Rendered(Bytes),
    /// One of many that are alike.
    Stamped { template: Arc<dyn Template>, number: u32 },
}

/// Writes pods that are alike but for a number: so that very many of them take little memory.
pub trait Template: std::fmt::Debug + Send + Sync {
    /// Appends a pod's JSON without its first brace, `kind` and `apiVersion`.
    fn write_json(&self, number: u32, version: u64, out: &mut Vec<u8>);

    /// A pod's message in protobuf.
    fn protobuf(&self, number: u32, version: u64) -> Vec<u8>;
}

/// A pod that a [`Template`] writes, and what it can be selected by.
#[derive(Debug)]
pub struct Stamped {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: Vec<(String, String)>,
    pub fields: Vec<(&'static str, String)>,
    pub template: Arc<dyn Template>,
    /// Its number there.
    pub number: u32,
}

impl Object {
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A selectable field; empty when it is not set.
    pub(super) fn field(&self, path: &str) -> &str {
        match path {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => self.fields.iter().find(|(p, _)| *p == path).map_or("", |(_, v)| v.as_str()),
        }
    }

    /// The object as an item of a list, where the API server leaves `kind` and `apiVersion` out.
    pub(super) fn write_item(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_rest(out);
    }

    /// The object standing alone.
    pub(super) fn write_whole(&self, out: &mut Vec<u8>) {
        let resource = &RESOURCES[self.resource];
        let head = format!(r#"{{"kind":"{}","apiVersion":"{}","#, resource.kind, resource.api_version());
        out.extend_from_slice(head.as_bytes());
        self.write_rest(out);
    }

    fn write_rest(&self, out: &mut Vec<u8>) {
        match &self.body {
            Body::Rendered(rest) => out.extend_from_slice(rest),
            Body::Stamped { template, number } => template.write_json(*number, self.version, out),
        }
    }

    /// The object's message in protobuf.
    pub(super) fn protobuf(&self) -> Bytes {
        match &self.body {
            // Encoded once: each list asks again.
            Body::Rendered(_) => self
                .encoded
                .get_or_init(|| protobuf::message(RESOURCES[self.resource].kind, &self.value()).into())
                .clone(),
            Body::Stamped { template, number } => template.protobuf(*number, self.version).into(),
        }
    }

    /// The object with `kind` and `apiVersion`.
    pub fn value(&self) -> Value {
        let mut text = Vec::new();
        self.write_whole(&mut text);
        // Through the parser that serde_json itself was compiled with, which is optimised in tests as well.
        std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).unwrap_or(Value::Null)
    }

    /// The same object at another version, as the last word of a watch on a deleted one.
    pub(super) fn at_version(&self, version: u64) -> Arc<Self> {
        let mut value = self.value();
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        Arc::new(render(self.resource, version, value))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn render(resource: usize, version: u64, mut value: Value) -> Object {
    let field =
        |path: &str| path.split('.').try_fold(&value, |at, key| at.get(key)).map(text).unwrap_or_default();
    let mut object = Object {
        namespace: field("metadata.namespace"),
        name: field("metadata.name"),
        uid: field("metadata.uid"),
        version,
        resource,
        labels: value["metadata"]["labels"]
            .as_object()
            .map(|labels| labels.iter().map(|(k, v)| (k.clone(), text(v))).collect())
            .unwrap_or_default(),
        fields: RESOURCES[resource]
            .fields
            .iter()
            .map(|path| (*path, field(path)))
            .filter(|(_, v)| !v.is_empty())
            .collect(),
        body: Body::Rendered(Bytes::new()),
        encoded: OnceLock::new(),
    };
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    object.body = Body::Rendered(Bytes::from(value.to_string()).slice(1..));
    object
}

/// What a container's log endpoint answers.
#[derive(Debug, Clone)]
pub enum Log {
    /// These bytes; `tailLines` and `limitBytes` apply.
    Text(Bytes),
    /// Pieces with a pause before each, whatever the limits in the request: a slow, or a hostile, kubelet.
    Slow(Vec<(Duration, Bytes)>),
    /// The runtime has already removed it: 200 and the kubelet's own sentence as the body.
    Gone {
        /// With the scheme: `containerd://...`.
        container_id: String,
    },
    /// The kubelet cannot be asked: a 500 with this message.
    Failed(String),
}

/// A request that came, for tests to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `list`, `watch`, `get`, `create`, or the HTTP method.
    pub verb: &'static str,
    /// `pods`, `pods/log`; the path for what is no resource.
    pub resource: String,
    /// Empty for all namespaces.
    pub namespace: String,
    /// Empty for lists and watches.
    pub name: String,
    pub query: String,
    pub accept: String,
}

/// One write: what was there before, and what is there now. One of both is always there.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub version: u64,
    pub old: Option<Arc<Object>>,
    /// For a deletion: the old object, at the deletion's version.
    pub new: Arc<Object>,
    pub deleted: bool,
}

type Key = (String, String);
type Snapshot = Arc<Vec<Arc<Object>>>;

#[derive(Debug, Default)]
struct Collection {
    objects: BTreeMap<Key, Arc<Object>>,
    changes: VecDeque<Change>,
    /// A watch can begin at this version, or after it.
    floor: u64,
    /// The version of the newest change that is no longer in `changes`.
    lost: u64,
    /// How often, and how, open watches were cut.
    cuts: (u64, Option<Cut>),
}

struct State {
    version: u64,
    history: usize,
    uids: u64,
    collections: Vec<Collection>,
    snapshots: VecDeque<(usize, u64, Snapshot)>,
    logs: HashMap<(String, String, String, bool), Log>,
    requests: VecDeque<Request>,
    asked: HashMap<String, u64>,
    faults: Vec<(String, Fault)>,
    /// Per open watch, by a number: the kind, and the version up to which it has said everything.
    watches: BTreeMap<u64, (usize, u64)>,
    /// Whose each token is.
    tokens: HashMap<String, String>,
    /// The paths that each user may get; one that ends with `*` is all that begin so.
    paths: HashMap<String, Vec<String>>,
    clock: Clock,
}

/// A time that runs `speed` times as fast as tokio's.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Timestamp,
    origin: Instant,
    speed: f64,
}

/// What can be wrong with an object that is written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kind is none of [`RESOURCES`].
    #[error("the simulated cluster knows no kind {kind:?} in {api_version:?}")]
    UnknownKind {
        /// As the object says.
        api_version: String,
        /// As the object says.
        kind: String,
    },
    /// An object needs a name.
    #[error("a {0} without metadata.name")]
    NoName(&'static str),
}

/// A handle on the simulated cluster; clones see the same one.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    /// One per kind, notified of each write, cut or fault.
    wakers: Arc<Vec<watch::Sender<()>>>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// An empty cluster, whose clock shows the real time.
    pub fn new() -> Self {
        let collections =
            RESOURCES.iter().map(|_| Collection { floor: 1, ..Collection::default() }).collect();
        let state = State {
            version: 1,
            history: HISTORY,
            uids: 0,
            collections,
            snapshots: VecDeque::new(),
            logs: HashMap::new(),
            requests: VecDeque::new(),
            asked: HashMap::new(),
            faults: Vec::new(),
            watches: BTreeMap::new(),
            tokens: HashMap::new(),
            paths: HashMap::new(),
            clock: Clock { start: real_time(), origin: Instant::now(), speed: 1.0 },
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            wakers: Arc::new(RESOURCES.iter().map(|_| watch::Sender::new(())).collect()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a test elsewhere must not turn into a second one here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, resource: usize) {
        if let Some(waker) = self.wakers.get(resource) {
            waker.send_replace(());
        }
    }

    fn wake_all(&self) {
        (0..RESOURCES.len()).for_each(|resource| self.wake(resource));
    }

    pub(super) fn waker(&self, resource: usize) -> watch::Receiver<()> {
        self.wakers[resource].subscribe()
    }

    /// From now on this token is this user's, as `TokenReview` tells; with none it is nobody's any more.
    pub fn set_token(&self, token: &str, user: Option<&str>) {
        let mut state = self.lock();
        match user {
            Some(user) => state.tokens.insert(token.to_owned(), user.to_owned()),
            None => state.tokens.remove(token),
        };
    }

    /// From now on this user may `get` these paths, as `SubjectAccessReview` tells; `/api/*` is all that begin so.
    pub fn allow_paths(&self, user: &str, paths: &[&str]) {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        self.lock().paths.insert(user.to_owned(), paths);
    }

    pub(super) fn user_of(&self, token: &str) -> Option<String> {
        self.lock().tokens.get(token).cloned()
    }

    pub(super) fn may_get(&self, user: &str, path: &str) -> bool {
        let matches = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => allowed == path,
        };
        self.lock().paths.get(user).is_some_and(|paths| paths.iter().any(matches))
    }

    /// The cluster's time: what creation and status times are taken from.
    pub fn now(&self) -> Timestamp {
        let Clock { start, origin, speed } = self.lock().clock;
        let passed = origin.elapsed().as_secs_f64() * speed;
        start.checked_add(jiff::SignedDuration::from_secs_f64(passed)).unwrap_or(start)
    }

    /// Lets the cluster's time go on from `start`, `speed` times as fast as tokio's; 0 stops it.
    pub fn set_clock(&self, start: Timestamp, speed: f64) {
        self.lock().clock = Clock { start, origin: Instant::now(), speed };
    }

    /// Waits until this much of the cluster's time has passed; for ever when its clock stands.
    pub async fn sleep(&self, time: Duration) {
        match Duration::try_from_secs_f64(time.as_secs_f64() / self.speed()) {
            Ok(time) => tokio::time::sleep(time).await,
            Err(_) => std::future::pending().await,
        }
    }

    /// How many of the cluster's seconds pass in one of tokio's.
    pub fn speed(&self) -> f64 {
        self.lock().clock.speed
    }

    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Creates or replaces an object and gives it the next resourceVersion. `uid` and `creationTimestamp` are kept from
    /// the object it replaces, or made, when missing. Another uid is another object: the old one is deleted first.
    pub fn apply(&self, object: Value) -> Result<u64, Error> {
        self.write(object, false)
    }

    /// Like [`Cluster::apply`] for recorded objects: keeps their resourceVersion where it is newer than the newest.
    pub fn apply_recorded(&self, object: Value) -> Result<u64, Error> {
        self.write(object, true)
    }

    fn write(&self, mut object: Value, recorded: bool) -> Result<u64, Error> {
        let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let resource =
            Resource::of_kind(&api_version, &kind).ok_or(Error::UnknownKind { api_version, kind })?;
        let described = &RESOURCES[resource];
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            return Err(Error::NoName(described.kind));
        }
        let now = self.now();
        let mut state = self.lock();
        let state = &mut *state;
        let meta = &mut object["metadata"];
        if described.namespaced && meta["namespace"].as_str().is_none_or(str::is_empty) {
            meta["namespace"] = json!("default");
        }
        let key = (text(&meta["namespace"]), text(&meta["name"]));
        let old = state.collections[resource].objects.get(&key).cloned();
        if meta["uid"].is_null() {
            state.uids += 1;
            let (left, right) =
                (hash(&format!("{}/left", state.uids)), hash(&format!("{}/right", state.uids)));
            let (a, b, c) = (left >> 32, left >> 16 & 0xffff, left & 0xfff);
            let made = format!(
                "{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}",
                right >> 48 & 0xfff,
                right & 0xffff_ffff_ffff
            );
            meta["uid"] = json!(old.as_ref().map_or(made, |old| old.uid.clone()));
        }
        let replaced = old.filter(|old| {
            let same = old.uid == meta["uid"];
            if !same {
                state.remove(resource, &key, None);
            }
            same
        });
        if meta["creationTimestamp"].is_null() {
            let kept = replaced.as_ref().map(|old| old.value()["metadata"]["creationTimestamp"].clone());
            meta["creationTimestamp"] = kept.unwrap_or_else(|| json!(seconds(now)));
        }
        let own = recorded.then(|| meta["resourceVersion"].as_str().and_then(|v| v.parse().ok())).flatten();
        let version = own.filter(|own| *own > state.version).unwrap_or(state.version + 1);
        meta["resourceVersion"] = json!(version.to_string());
        let new = Arc::new(render(resource, version, object));
        state.collections[resource].objects.insert(key, new.clone());
        state.push(resource, Change { version, old: replaced, new, deleted: false });
        self.wake(resource);
        Ok(version)
    }

    /// Writes one of many pods that are alike.
    pub fn put_stamped(&self, pod: Stamped) {
        let Stamped { namespace, name, uid, labels, fields, template, number } = pod;
        let key = (namespace.clone(), name.clone());
        let mut state = self.lock();
        let version = state.version + 1;
        let body = Body::Stamped { template, number };
        let encoded = OnceLock::new();
        let new =
            Arc::new(Object { namespace, name, uid, version, resource: PODS, labels, fields, body, encoded });
        let old = state.collections[PODS].objects.insert(key, new.clone());
        state.push(PODS, Change { version, old, new, deleted: false });
        drop(state);
        self.wake(PODS);
    }

    /// Lets versions go on from this one, with an empty past.
    pub fn skip_to(&self, version: u64) {
        self.lock().version = version;
        self.compact();
    }

    /// Writes an object again as `change` leaves it; false when there is none.
    pub fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        let Some(mut object) = self.get(resource, namespace, name) else {
            return false;
        };
        change(&mut object);
        self.apply(object).is_ok()
    }

    /// Removes an object at once; false when there is none. The graceful way is an update that sets `deletionTimestamp`.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.remove(resource, namespace, name, None)
    }

    pub(super) fn remove(&self, resource: &str, namespace: &str, name: &str, recorded: Option<u64>) -> bool {
        let Some(resource) = Resource::named(resource) else {
            return false;
        };
        let gone = self.lock().remove(resource, &(namespace.to_owned(), name.to_owned()), recorded);
        self.wake(resource);
        gone
    }

    /// The object as it is now, with `kind` and `apiVersion`.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        Some(self.object(Resource::named(resource)?, namespace, name)?.value())
    }

    pub(super) fn object(&self, resource: usize, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.lock().collections[resource].objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Every object of a kind, ordered by namespace and name.
    pub fn all(&self, resource: &str) -> Vec<Value> {
        let Some(resource) = Resource::named(resource) else {
            return Vec::new();
        };
        let objects: Vec<_> = self.lock().collections[resource].objects.values().cloned().collect();
        objects.iter().map(|object| object.value()).collect()
    }

    /// How many objects of a kind there are.
    pub fn len(&self, resource: &str) -> usize {
        Resource::named(resource).map_or(0, |resource| self.lock().collections[resource].objects.len())
    }

    /// Writes recorded objects, single ones and `List`s alike, in the order of their resourceVersions.
    pub fn load(&self, values: impl IntoIterator<Item = Value>) -> Result<(), Error> {
        let mut objects = Vec::new();
        for mut value in values {
            let kind = text(&value["kind"]);
            let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) else {
                objects.push(value);
                continue;
            };
            let items = std::mem::take(items);
            let api_version = value["apiVersion"].take();
            for mut item in items {
                // Items of a `PodList` do not say what they are; those of a `List` do.
                if item["kind"].is_null() {
                    item["kind"] = json!(kind.strip_suffix("List").unwrap_or(&kind));
                    item["apiVersion"] = api_version.clone();
                }
                objects.push(item);
            }
        }
        objects.sort_by_key(|object| {
            object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0)
        });
        objects.into_iter().try_for_each(|object| self.apply_recorded(object).map(drop))
    }

    /// What the log endpoint answers for a container; `previous` is its run before the present one.
    pub fn set_log(&self, namespace: &str, pod: &str, container: &str, previous: bool, log: Log) {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned(), previous);
        self.lock().logs.insert(key, log);
    }

    pub(super) fn log(&self, namespace: &str, pod: &str, container: &str, previous: bool) -> Option<Log> {
        let key = (namespace.to_owned(), pod.to_owned(), container.to_owned(), previous);
        self.lock().logs.get(&key).cloned()
    }

    /// How many changes per kind a watch can resume over.
    pub fn set_history(&self, changes: usize) {
        self.lock().history = changes;
    }

    /// Forgets the past, as etcd does every five minutes: older resourceVersions and `continue` tokens answer 410.
    pub fn compact(&self) {
        let mut state = self.lock();
        let version = state.version;
        for collection in &mut state.collections {
            if let Some(last) = collection.changes.drain(..).next_back() {
                collection.lost = last.version;
            }
            collection.floor = version;
        }
        state.snapshots.clear();
    }

    /// Makes something go wrong from now on. `target` is `pods`, `pods/log`, `watch pods`, `list *`, `*`.
    pub fn fault(&self, target: &str, fault: Fault) {
        self.lock().faults.push((target.to_owned(), fault));
        self.wake_all();
    }

    /// Takes back every fault that was set for exactly this target.
    pub fn heal(&self, target: &str) {
        self.lock().faults.retain(|(t, _)| t != target);
        self.wake_all();
    }

    /// Takes back every fault.
    pub fn heal_all(&self) {
        self.lock().faults.clear();
        self.wake_all();
    }

    pub(super) fn faults(&self, verb: &str, resource: &str) -> Vec<Fault> {
        let meets = |target: &str| {
            let (v, r) = target.split_once(' ').unwrap_or((verb, target));
            (v == verb || v == "*") && (r == resource || r == "*")
        };
        self.lock().faults.iter().filter(|(target, _)| meets(target)).map(|(_, f)| f.clone()).collect()
    }

    /// Ends every watch of a kind that is open now.
    pub fn cut_watches(&self, resource: &str, cut: Cut) {
        let Some(resource) = Resource::named(resource) else {
            return;
        };
        let cuts = &mut self.lock().collections[resource].cuts;
        *cuts = (cuts.0 + 1, Some(cut));
        self.wake(resource);
    }

    pub(super) fn cuts(&self, resource: usize) -> (u64, Option<Cut>) {
        self.lock().collections[resource].cuts
    }

    /// The newest requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    /// How many requests of this verb for this resource ever came.
    pub fn asked(&self, verb: &str, resource: &str) -> u64 {
        self.lock().asked.get(&format!("{verb} {resource}")).copied().unwrap_or(0)
    }

    /// The version up to which every open watch of a kind has said everything; none when no watch is open.
    pub fn delivered(&self, resource: &str) -> Option<u64> {
        let resource = Resource::named(resource)?;
        self.lock().watches.values().filter(|(of, _)| *of == resource).map(|(_, version)| *version).min()
    }

    pub(super) fn opened(&self, resource: usize) -> Opened {
        let mut state = self.lock();
        let number = state.watches.last_key_value().map_or(0, |(last, _)| last + 1);
        state.watches.insert(number, (resource, 0));
        Opened { cluster: self.clone(), number }
    }

    pub(super) fn note(&self, request: Request) {
        let mut state = self.lock();
        *state.asked.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
        if state.requests.len() == REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(request);
    }

    /// Everything of a kind at the newest version (or an older one: [`Fault::Behind`]), kept for `continue` tokens.
    pub(super) fn snapshot(&self, resource: usize) -> (u64, Snapshot) {
        let behind =
            self.faults("list", RESOURCES[resource].plural).into_iter().find_map(|fault| match fault {
                Fault::Behind { version } => Some(version),
                _ => None,
            });
        let mut state = self.lock();
        let version = behind.unwrap_or(u64::MAX).min(state.version);
        let known = state.snapshots.iter().find(|(r, v, _)| *r == resource && *v == version);
        if let Some((_, _, snapshot)) = known {
            return (version, snapshot.clone());
        }
        let collection = &state.collections[resource];
        let snapshot: Snapshot = if version == state.version {
            Arc::new(collection.objects.values().cloned().collect())
        } else {
            let mut objects = collection.objects.clone();
            for change in collection.changes.iter().rev().take_while(|change| change.version > version) {
                let key = (change.new.namespace.clone(), change.new.name.clone());
                match &change.old {
                    Some(old) => objects.insert(key, old.clone()),
                    None => objects.remove(&key),
                };
            }
            Arc::new(objects.into_values().collect())
        };
        if state.snapshots.len() == SNAPSHOTS {
            state.snapshots.pop_front();
        }
        state.snapshots.push_back((resource, version, snapshot.clone()));
        (version, snapshot)
    }

    /// The snapshot of an earlier page, unless it is too old.
    pub(super) fn snapshot_at(&self, resource: usize, version: u64) -> Option<Snapshot> {
        let state = self.lock();
        state.snapshots.iter().find(|(r, v, _)| *r == resource && *v == version).map(|(_, _, s)| s.clone())
    }

    /// The oldest version that a watch can begin at.
    pub(super) fn floor(&self, resource: usize) -> u64 {
        self.lock().collections[resource].floor
    }

    /// Up to `limit` changes after a version; none when some of them are lost.
    pub(super) fn changes(&self, resource: usize, after: u64, limit: usize) -> Option<Vec<Change>> {
        let state = self.lock();
        let Collection { changes, lost, .. } = &state.collections[resource];
        if after < *lost {
            return None;
        }
        let start = changes.partition_point(|change| change.version <= after);
        Some(changes.range(start..).take(limit).cloned().collect())
    }
}

/// An open watch; dropped, it is none any more.
pub(super) struct Opened {
    cluster: Cluster,
    number: u64,
}

impl Opened {
    /// Everything up to this version has been said.
    pub(super) fn said(&self, version: u64) {
        if let Some((_, delivered)) = self.cluster.lock().watches.get_mut(&self.number) {
            *delivered = version;
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.cluster.lock().watches.remove(&self.number);
    }
}

impl State {
    fn push(&mut self, resource: usize, change: Change) {
        self.version = change.version;
        let collection = &mut self.collections[resource];
        collection.changes.push_back(change);
        while collection.changes.len() > self.history {
            if let Some(first) = collection.changes.pop_front() {
                collection.lost = first.version;
                collection.floor = collection.floor.max(first.version);
            }
        }
    }

    fn remove(&mut self, resource: usize, key: &Key, recorded: Option<u64>) -> bool {
        let Some(old) = self.collections[resource].objects.remove(key) else {
            return false;
        };
        let version = recorded.filter(|v| *v > self.version).unwrap_or(self.version + 1);
        let new = old.at_version(version);
        self.push(resource, Change { version, old: Some(old), new, deleted: true });
        true
    }
}

/// The simulated cluster is a clock of its own, which starts at the real time.
#[allow(clippy::disallowed_methods)]
pub(super) fn real_time() -> Timestamp {
    Timestamp::now()
}

/// A time as Kubernetes writes it: whole seconds, UTC.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
