//! Keeps up with one resource for as long as the program runs: kube-runtime's watcher, restarted where it would not recover.
//! Failures are kept in [`WatchHealth`], for metrics and readiness.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event, InitialListStrategy, watcher};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::client::{Failure, Kind};
pub use super::health::WatchHealth;
use super::lean::{self, BoundedClient, Lean};
use super::transport::{self, ANSWER, Wire};
use crate::objects::Object;

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
    CONTROLLER_REVISIONS: "apis/apps/v1" "controllerrevisions" false true "`objects::Revision`.";
    ROLLOUTS: "apis/argoproj.io/v1alpha1" "rollouts" false true "Of Argo Rollouts, as `objects::Workload`.";
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
    /// The StatefulSet whose pods have one share each; empty if that is not so.
    pub stateful_set: String,
}

impl Selection {
    /// Which pods these are, in words; empty for all. The same for all instances that watch the same pods.
    pub fn scope(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |name: &str, value: &str| {
            if !value.is_empty() {
                parts.push(format!("{name}={value}"));
            }
        };
        let mut namespaces = self.namespaces.clone();
        namespaces.sort_unstable();
        part("namespaces", &namespaces.join(","));
        part("labels", &self.labels);
        part("fields", &self.fields);
        part("node", self.node.as_deref().unwrap_or_default());
        if self.unscheduled {
            part("node", "none");
        }
        if let Some(Shard { index, of }) = self.shard {
            part("shard", &format!("{index}/{of}"));
        }
        parts.join(" ")
    }

    /// Which instances watch the other pods, where several share them; empty for one alone.
    pub fn others(&self) -> String {
        const NAMED: usize = 10;
        match (&self.node, self.unscheduled, self.shard) {
            (Some(_), ..) => {
                "the agents on other nodes, and the instance for pods without a node,".to_owned()
            }
            (None, true, _) => "the agents on the nodes".to_owned(),
            (None, false, Some(Shard { index, of })) if of > 1 => {
                let name = |n: u32| match self.stateful_set.as_str() {
                    "" => format!("shard {n}/{of}"),
                    set => format!("{set}-{n}"),
                };
                let others = (0..of).filter(|n| *n != index);
                let mut names: Vec<String> = others.take(NAMED).map(name).collect();
                if of as usize - 1 > NAMED {
                    names.push("...".to_owned());
                }
                names.join(", ")
            }
            (None, false, _) => String::new(),
        }
    }

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

    /// The watches that show the rest (events, owners, nodes): labels, nodes and shards are the pods' alone.
    pub fn scopes_of(&self, resource: &Resource) -> Vec<WatchScope> {
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

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How the first list is had.
    pub initial: InitialList,
    /// Whether to ask for protobuf.
    pub protobuf: bool,
    /// Items per page of a list.
    pub page: u32,
    /// How long one watch request lasts before the next one. A connection that has died in silence is noticed
    /// some seconds after that.
    pub timeout: Duration,
    /// How long an answer may take to begin.
    pub answer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: InitialList::Auto,
            protobuf: true,
            page: 500,
            timeout: Duration::from_secs(150),
            answer: ANSWER,
        }
    }
}

/// So many events are passed on at once. The HTTP server runs on the same thread: without turns of its own it has to wait for
/// as long as updates come faster than they are taken.
const TURN: u32 = 32;
/// The longest pause between two tries of a request that a server answers.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The same while there is no connection: that costs no server anything, and it is to be noticed soon when it is back.
const MAX_OUTAGE_PAUSE: Duration = Duration::from_secs(2);
/// If a resourceVersion expires again within this time, everything is listed again only after a pause.
const CALM: Duration = Duration::from_secs(60);
/// How often a request may be refused before everything is listed again.
const REFUSED_RESUMES: u32 = 4;
/// How often a streaming list may fail before it is tried by pages: half as often, so that both take turns.
const REFUSED_LISTS: u32 = REFUSED_RESUMES / 2;
/// The pauses between tries: doubling, with jitter.
fn pauses() -> ExponentialBackoff {
    // The jitter comes on top, and is as long as the pause at most.
    let pauses =
        ExponentialBuilder::new().with_min_delay(Duration::from_millis(250)).with_max_delay(MAX_PAUSE / 2);
    pauses.with_jitter().without_max_times().build()
}

/// A watch to be run.
#[derive(Debug)]
pub struct Watch {
    resource: Resource,
    scope: WatchScope,
    settings: Settings,
    health: Arc<WatchHealth>,
    relist: Arc<Notify>,
}

impl Watch {
    /// Of a resource, as far as `scope` reaches.
    pub fn new(resource: Resource, scope: WatchScope, settings: Settings) -> Self {
        let health = WatchHealth::new(&resource, &scope, &settings);
        Self { resource, scope, settings, health, relist: Arc::default() }
    }

    /// Its state.
    pub fn health(&self) -> Arc<WatchHealth> {
        Arc::clone(&self.health)
    }

    /// Makes it list everything again, whenever it is notified.
    pub fn relist(&self) -> Arc<Notify> {
        Arc::clone(&self.relist)
    }

    /// Watches until it is dropped. The sink is called in between and must not take long.
    pub async fn run<T: Object>(
        mut self,
        client: impl Into<BoundedClient>,
        mut sink: impl FnMut(Event<T>),
    ) -> Infallible {
        let BoundedClient { client, turn } = client.into();
        // Not all watches are to reconnect at the same time.
        self.settings.timeout = self.settings.timeout.mul_f64(0.9 + 0.1 * fastrand::f64());
        let wire = Arc::new(Wire::new(self.resource, self.health(), &self.settings, turn));
        let client = transport::client(client, Arc::clone(&wire));
        let api = lean::api::<T>(client, &self.resource, self.scope.namespace.as_deref());
        let mut supervisor = Supervisor { pauses: pauses(), refused: 0, expired: None };
        let mut passed = 0;
        loop {
            let streams = wire.streaming.load(Relaxed) && supervisor.refused < REFUSED_LISTS;
            let mut events = pin!(watcher(api.clone(), self.config(streams)));
            let mut list = List::NotBegun;
            loop {
                let event = tokio::select! {
                    biased;
                    () = self.relist.notified() => break,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(event)) => {
                        if matches!(event, Event::InitDone) {
                            wire.listed();
                        }
                        self.pass(event, &mut list, &mut sink);
                        passed = (passed + 1) % TURN;
                        if passed == 0 {
                            yield_now().await;
                        }
                    }
                    Some(Err(_)) if wire.take_otherwise() => break,
                    Some(Err(error)) => {
                        let failure = Failure::of_watch(&error);
                        if supervisor.failed(&self.health, &failure, &list).await {
                            break;
                        }
                        list = List::Complete;
                    }
                    None => break,
                }
            }
        }
    }

    fn config(&self, streams: bool) -> watcher::Config {
        let some = |selector: &String| Some(selector.clone()).filter(|s| !s.is_empty());
        watcher::Config {
            label_selector: some(&self.scope.labels),
            field_selector: some(&self.scope.fields),
            timeout: u32::try_from(self.settings.timeout.as_secs().max(1)).ok(),
            initial_list_strategy: match streams {
                true => InitialListStrategy::StreamingList,
                false => InitialListStrategy::ListWatch,
            },
            page_size: Some(self.settings.page),
            ..watcher::Config::default()
        }
    }

    /// Passes an event on, without kube's envelope.
    fn pass<T: Object>(&self, event: Event<Lean<T>>, list: &mut List, sink: &mut impl FnMut(Event<T>)) {
        let (lean, wrap): (_, fn(T) -> Event<T>) = match event {
            // kube-runtime says so before it has asked. Nothing is known to be gone before an answer has come.
            Event::Init => return *list = List::NotBegun,
            Event::InitDone => {
                let is_empty = matches!(list, List::NotBegun);
                self.begin(list, sink);
                *list = if is_empty { List::Empty } else { List::Complete };
                sink(Event::InitDone);
                return self.health.listed();
            }
            Event::InitApply(lean) => {
                self.begin(list, sink);
                self.health.count_listed();
                (lean, Event::InitApply)
            }
            Event::Apply(lean) => (lean, Event::Apply),
            Event::Delete(lean) => (lean, Event::Delete),
        };
        match lean.into_object() {
            Ok(object) if self.scope.shard.is_none_or(|s| s.holds(&object.meta().uid)) => sink(wrap(object)),
            Ok(_) => {}
            Err(unread) => self.health.skipped(&unread),
        }
    }

    fn begin<T>(&self, list: &mut List, sink: &mut impl FnMut(Event<T>)) {
        if matches!(list, List::NotBegun) {
            *list = List::Begun;
            self.health.begins_list();
            sink(Event::Init);
        }
    }
}

/// How far a list has come.
enum List {
    NotBegun,
    Begun,
    /// Complete, without one object.
    Empty,
    Complete,
}

/// Decides how a watch goes on after a failure.
struct Supervisor {
    pauses: ExponentialBackoff,
    /// How often it was refused since it worked last.
    refused: u32,
    /// When the resourceVersion expired last.
    expired: Option<Instant>,
}

impl Supervisor {
    /// Logs and waits. Says whether everything is to be listed again: where kube-runtime would resume for ever from what the
    /// server refuses.
    async fn failed(&mut self, health: &WatchHealth, failure: &Failure, list: &List) -> bool {
        let is_expired = failure.kind == Kind::Expired;
        let has_worked = health.take_progress();
        // An event between two expiries is no progress if everything has to be listed again right after it.
        let expires_again =
            is_expired && self.expired.is_some_and(|last| !has_worked || last.elapsed() < CALM);
        if has_worked && !expires_again {
            *self = Self { pauses: pauses(), refused: 0, expired: None };
        }
        // A list has to come from somewhere: a server may fail at one way of listing and not at the other. Nor is a watch that
        // keeps breaking to be resumed: its bookmarks may have skipped events.
        self.refused += u32::from(matches!(failure.kind, Kind::Refused | Kind::Server | Kind::Protocol));
        if is_expired {
            self.expired = Some(Instant::now());
        }
        let pause = if is_expired && !expires_again {
            Duration::ZERO
        } else {
            let longest = if failure.kind == Kind::Unreachable { MAX_OUTAGE_PAUSE } else { MAX_PAUSE };
            let asked = failure.retry_after.unwrap_or_default();
            self.pauses.next().unwrap_or(MAX_PAUSE).min(longest).max(asked)
        };
        let ((resource, namespace), kind) = (health.names(), failure.kind.as_str());
        match (health.failed(failure), is_expired) {
            (true, true) => {
                info!(resource, namespace, error = %failure, "cannot resume the watch, relisting")
            }
            (true, false) => {
                warn!(resource, namespace, kind, retry_in = ?pause, error = %failure, "watch failed, retrying")
            }
            (false, _) => {
                debug!(resource, namespace, kind, retry_in = ?pause, error = %failure, "watch still failing, retrying")
            }
        }
        sleep(pause).await;
        let is_refused = self.refused >= REFUSED_RESUMES;
        if is_refused {
            self.refused = 0;
        }
        // That there is nothing is not relied on where the watch broke before it delivered anything.
        let is_listed = match list {
            List::NotBegun | List::Begun => false,
            List::Empty => has_worked || failure.kind != Kind::Protocol,
            List::Complete => true,
        };
        is_refused || is_expired || !is_listed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use serde_json::json;

    use super::*;
    use crate::objects::Pod;
    use crate::simulator::{Cluster, client};

    #[tokio::test]
    async fn other_tasks_have_their_turn_within_a_long_list() {
        let cluster = Cluster::new();
        for n in 0..500 {
            let metadata = json!({"namespace": "shop", "name": format!("web-{n}")});
            cluster.apply(json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata})).unwrap();
        }
        let settings = Settings { initial: InitialList::Pages, ..Settings::default() };
        let watch = Watch::new(Resource::PODS, WatchScope::default(), settings);
        let in_a_row = Arc::new(AtomicU32::new(0));
        let other = Arc::clone(&in_a_row);
        tokio::spawn(async move {
            loop {
                other.store(0, Relaxed);
                yield_now().await;
            }
        });
        let (most, done) = (AtomicU32::new(0), Notify::new());
        let sink = |event: Event<Pod>| match event {
            Event::InitDone => done.notify_one(),
            _ => {
                most.fetch_max(in_a_row.fetch_add(1, Relaxed) + 1, Relaxed);
            }
        };
        tokio::select! {
            _ = watch.run(client(&cluster), sink) => {}
            () = done.notified() => {}
        }
        assert!((1..=TURN).contains(&most.load(Relaxed)), "{most:?}");
    }

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
    fn pauses_grow_up_to_half_a_minute() {
        let mut pauses = pauses();
        assert!(pauses.next().unwrap() <= Duration::from_millis(500));
        let longest = pauses.take(12).max().unwrap();
        assert!(longest > MAX_PAUSE / 2 && longest <= MAX_PAUSE, "{longest:?}");
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
        assert_eq!(selection.scopes_of(&Resource::NODES), [WatchScope::default()]);
        assert_eq!(selection.scopes_of(&Resource::JOBS).len(), 2);
        assert_eq!(selection.scopes_of(&Resource::JOBS)[0].labels, "");
        let unscheduled = Selection { unscheduled: true, ..Selection::default() };
        assert_eq!(unscheduled.pods()[0].fields, "spec.nodeName=");
    }
}
