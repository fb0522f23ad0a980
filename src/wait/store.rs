//! What the watches have shown: a copy of the cluster, as far as it is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::runtime::watcher::Event as Change;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cluster::client::Kind as Failed;
use crate::cluster::lean::BoundedClient;
use crate::cluster::watch::{Resource, Settings, Watch, WatchHealth, WatchScope};
use crate::diagnosis::{Snapshot, Sources};
use crate::objects::{CronJob, Event, Job, Node, Object, PersistentVolumeClaim, Pod, Workload};
use crate::select::Kind;

/// The objects of one watch, by uid.
#[derive(Default)]
struct Mirror<T> {
    objects: BTreeMap<String, T>,
    /// Those of a list that is not complete yet.
    listed: BTreeMap<String, T>,
}

impl<T: Object> Mirror<T> {
    fn take(&mut self, change: Change<T>) {
        match change {
            Change::Init => self.listed.clear(),
            Change::InitApply(object) => drop(self.listed.insert(object.meta().uid.clone(), object)),
            Change::InitDone => self.objects = std::mem::take(&mut self.listed),
            Change::Apply(object) => drop(self.objects.insert(object.meta().uid.clone(), object)),
            Change::Delete(object) => drop(self.objects.remove(&object.meta().uid)),
        }
    }
}

/// One mirror for each namespace that is watched.
type Mirrors<T> = Vec<Mirror<T>>;

fn all<T: Clone>(mirrors: &Mirrors<T>) -> Vec<T> {
    mirrors.iter().flat_map(|mirror| mirror.objects.values().cloned()).collect()
}

#[derive(Default)]
struct Objects {
    pods: Mirrors<Pod>,
    events: Mirrors<Event>,
    nodes: Mirrors<Node>,
    replica_sets: Mirrors<Workload>,
    deployments: Mirrors<Workload>,
    stateful_sets: Mirrors<Workload>,
    daemon_sets: Mirrors<Workload>,
    rollouts: Mirrors<Workload>,
    jobs: Mirrors<Job>,
    cron_jobs: Mirrors<CronJob>,
    claims: Mirrors<PersistentVolumeClaim>,
}

/// The watches and what they have shown.
pub(super) struct Store {
    objects: Arc<Mutex<Objects>>,
    /// Notified at each change.
    pub(super) changed: Arc<Notify>,
    health: Vec<Arc<WatchHealth>>,
    running: FuturesUnordered<BoxFuture<'static, std::convert::Infallible>>,
}

/// What the watches show at one instant.
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    pub(super) rollouts: Vec<Workload>,
}

impl Store {
    /// Watches these namespaces (all of them if there is none) for what pods of these kinds of owners need.
    pub(super) fn watching(client: &Client, namespaces: &[String], kinds: &[Kind]) -> Self {
        let mut store = Self {
            objects: Arc::default(),
            changed: Arc::default(),
            health: Vec::new(),
            running: FuturesUnordered::new(),
        };
        let client = &BoundedClient::from(client.clone());
        let scope = |namespace: Option<&String>| WatchScope {
            namespace: namespace.cloned(),
            ..WatchScope::default()
        };
        let scopes = match namespaces {
            [] => vec![scope(None)],
            some => some.iter().map(|namespace| scope(Some(namespace))).collect(),
        };
        for scope in scopes {
            let at = |resource| Watch::new(resource, scope.clone(), Settings::default());
            store.watch(client, at(Resource::PODS), |objects| &mut objects.pods);
            store.watch(client, at(Resource::EVENTS), |objects| &mut objects.events);
            for kind in kinds {
                match kind {
                    Kind::ReplicaSet => {
                        store.watch(client, at(Resource::REPLICA_SETS), |o| &mut o.replica_sets)
                    }
                    Kind::Deployment => {
                        store.watch(client, at(Resource::DEPLOYMENTS), |o| &mut o.deployments)
                    }
                    Kind::StatefulSet => {
                        store.watch(client, at(Resource::STATEFUL_SETS), |o| &mut o.stateful_sets)
                    }
                    Kind::DaemonSet => store.watch(client, at(Resource::DAEMON_SETS), |o| &mut o.daemon_sets),
                    Kind::Rollout => store.watch(client, at(Resource::ROLLOUTS), |o| &mut o.rollouts),
                    Kind::Job => store.watch(client, at(Resource::JOBS), |o| &mut o.jobs),
                    Kind::CronJob => store.watch(client, at(Resource::CRON_JOBS), |o| &mut o.cron_jobs),
                    Kind::Claim => store.watch(client, at(Resource::CLAIMS), |o| &mut o.claims),
                    _ => {}
                }
            }
        }
        let nodes = Watch::new(Resource::NODES, WatchScope::default(), Settings::default());
        store.watch(client, nodes, |objects| &mut objects.nodes);
        store
    }

    fn watch<T: Object + Send>(
        &mut self,
        client: &BoundedClient,
        watch: Watch,
        slot: impl Fn(&mut Objects) -> &mut Mirrors<T> + Send + 'static,
    ) {
        let mut objects = self.objects.lock();
        let mirrors = slot(&mut objects);
        let index = mirrors.len();
        mirrors.push(Mirror { objects: BTreeMap::new(), listed: BTreeMap::new() });
        drop(objects);
        self.health.push(watch.health());
        let (objects, changed) = (Arc::clone(&self.objects), Arc::clone(&self.changed));
        let sink = move |change| {
            if let Some(mirror) = slot(&mut objects.lock()).get_mut(index) {
                mirror.take(change);
            }
            changed.notify_one();
        };
        self.running.push(Box::pin(watch.run(client.clone(), sink)));
    }

    /// Whether each watch has shown all there is, or cannot.
    pub(super) fn is_settled(&self) -> bool {
        self.health.iter().all(|watch| watch.is_synced() || watch.trouble().is_some())
    }

    /// Whether all watches of this resource have shown what there is.
    pub(super) fn has(&self, resource: Resource) -> bool {
        self.health.iter().filter(|watch| watch.resource == resource.plural).all(|watch| watch.is_synced())
    }

    /// Why the pods cannot be seen, and whether to ask again is of no use.
    pub(super) fn trouble(&self) -> Option<(String, bool)> {
        let mut blind = self.health.iter().filter(|w| w.resource == Resource::PODS.plural && !w.is_synced());
        let refused = [Failed::Forbidden, Failed::Unauthorized, Failed::Refused];
        blind.find_map(|watch| Some((watch.trouble()?, has_failed(watch, &refused))))
    }

    /// What could not be read, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self
            .health
            .iter()
            .filter_map(|watch| {
                if watch.is_synced() {
                    let why = watch.trouble().filter(|why| !why.is_empty())?;
                    return Some(format!("{} may be out of date: {why}", watch.resource));
                }
                let why = match has_failed(watch, &[Failed::Forbidden]) {
                    true => "no permission to list them".to_owned(),
                    false => watch.trouble()?,
                };
                Some(format!("without {}: {why}", watch.resource))
            })
            .collect();
        notes.dedup();
        notes
    }

    /// Does the work while the watches go on.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            Some(never) = self.running.next() => match never {},
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let owners = [Resource::REPLICA_SETS, Resource::JOBS];
        let objects = self.objects.lock();
        let snapshot = Snapshot {
            pods: all(&objects.pods),
            events: all(&objects.events).into_iter().map(Into::into).collect(),
            nodes: all(&objects.nodes),
            replica_sets: all(&objects.replica_sets),
            deployments: all(&objects.deployments),
            stateful_sets: all(&objects.stateful_sets),
            daemon_sets: all(&objects.daemon_sets),
            jobs: all(&objects.jobs),
            cron_jobs: all(&objects.cron_jobs),
            claims: all(&objects.claims),
            sources: Sources {
                events: self.has(Resource::EVENTS),
                owners: owners.into_iter().all(|resource| self.has(resource)),
                nodes: self.has(Resource::NODES),
                logs: false,
            },
            ..Snapshot::default()
        };
        Seen { snapshot, rollouts: all(&objects.rollouts) }
    }
}

fn has_failed(watch: &WatchHealth, how: &[Failed]) -> bool {
    watch.errors().any(|(kind, count)| count > 0 && how.iter().any(|how| how.as_str() == kind))
}
