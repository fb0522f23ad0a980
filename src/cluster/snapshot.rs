//! One look at a cluster: pods, and what surrounds them, as far as the user may read it.
//!
//! Pods are needed; every other source that cannot be read is named once, and the look goes on without it. Everything is
//! bounded: pages, requests at a time, bytes of a log, time. Must not know what the objects mean, nor how a look is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Failure, Kind};
use super::evidence::{self, LogOf};
use super::lean::{self, BoundedClient, Lean, Page};
use super::watch::Resource;
use crate::diagnosis::{ContainerLog, OwnerLabels, Snapshot, Sources, Undecodable, scheduling};
use crate::objects::decode::Unread;
use crate::objects::{Object, Pod, Revision};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// None: all of them.
    pub namespace: Option<String>,
    /// Of pods; empty for all of them.
    pub label_selector: String,
    /// Of pods; empty for all of them.
    pub field_selector: String,
}

/// How far a look has come, for whoever waits.
#[derive(Debug, Default)]
pub struct Progress {
    what: Mutex<String>,
    objects: AtomicUsize,
}

impl Progress {
    /// What is being read, and how many objects have been.
    pub fn get(&self) -> (String, usize) {
        let what = self.what.lock().map(|w| w.clone()).unwrap_or_default();
        (what, self.objects.load(Ordering::Relaxed))
    }

    fn begin(&self, what: &str) {
        if let Ok(mut now) = self.what.lock() {
            what.clone_into(&mut now);
        }
    }
}

/// What a look gave.
#[derive(Debug)]
pub struct Seen {
    pub snapshot: Snapshot,
    /// What could not be read, in words.
    pub notes: Vec<String>,
    /// The API server's own clock, where it gave it.
    pub server_time: Option<Timestamp>,
}

/// Objects in one answer. The API server's own page size for its own clients.
const PAGE: u32 = 500;
/// How long a page is asked for again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a server that is busy or fails is asked.
const TRIES: usize = 6;
/// The pause after the first of these; it doubles, and is never shorter than the server asks for.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// A list whose pages expire is begun again so often: a large cluster may take longer than the server remembers.
const LISTS: usize = 3;
/// Logs that are read at a time.
const LOGS_AT_A_TIME: usize = 8;
/// For one log. A kubelet that does not answer must not hold up the look.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at pods, their events, owners and nodes. Logs are [`logs`], since only the pods tell which ones matter.
pub async fn snapshot(client: &Client, wanted: &Wanted, progress: &Progress) -> Result<Seen, Failure> {
    let client = &BoundedClient::from(client.clone());
    let reader = Reader { client, wanted, progress };
    progress.begin("pods");
    let params = ListParams::default().labels(&wanted.label_selector).fields(&wanted.field_selector);
    let pods = reader.list::<Pod>(Resource::PODS, &params).await?;
    let mut notes = Vec::new();
    let mut undecodable = pods.undecodable("pods");
    let server_time = pods.server_time;
    let pods = pods.items;

    progress.begin("events, owners and nodes");
    // Of one pod alone its own events are enough, and its own node: a large cluster has thousands, each of 15 KB.
    let (mut one, mut its_node) = (String::new(), String::new());
    if let [pod] = pods.as_slice()
        && !wanted.field_selector.is_empty()
    {
        one = format!("involvedObject.name={}", pod.metadata.name);
        if !pod.spec.node_name.is_empty() {
            its_node = format!("metadata.name={}", pod.spec.node_name);
        }
    }
    let all = ListParams::default();
    let events = all.clone().fields(&one);
    let nodes = all.clone().fields(&its_node);
    // Events about nodes are kept in `default`, whichever namespace is looked at.
    let about_nodes = all.clone().fields("involvedObject.kind=Node");
    let node_events = async {
        if one.is_empty() && wanted.namespace.as_deref().is_none_or(|namespace| namespace == "default") {
            return Ok(List::empty());
        }
        reader.list_in(Resource::EVENTS, Some("default"), &about_nodes).await
    };
    let (
        events,
        node_events,
        nodes,
        replica_sets,
        deployments,
        stateful_sets,
        daemon_sets,
        jobs,
        cron_jobs,
        claims,
    ) = tokio::join!(
        reader.list(Resource::EVENTS, &events),
        node_events,
        reader.list_in(Resource::NODES, None, &nodes),
        reader.list(Resource::REPLICA_SETS, &all),
        reader.list(Resource::DEPLOYMENTS, &all),
        reader.list(Resource::STATEFUL_SETS, &all),
        reader.list(Resource::DAEMON_SETS, &all),
        reader.list(Resource::JOBS, &all),
        reader.list(Resource::CRON_JOBS, &all),
        reader.list(Resource::CLAIMS, &all),
    );
    let mut lacking = Lacking { notes: &mut notes, undecodable: &mut undecodable };
    let mut sources = Sources { events: events.is_ok(), owners: true, nodes: nodes.is_ok(), logs: false };
    sources.owners = replica_sets.is_ok() && jobs.is_ok();
    let mut events = lacking.take("events", events);
    events.extend(lacking.take("events about nodes", node_events));
    if !one.is_empty() {
        let claims = pods.iter().flat_map(claims_of);
        let reads = claims.map(|(namespace, claim)| async move {
            evidence::claim_events(client, &namespace, &claim).await.unwrap_or_default()
        });
        events.extend(futures::future::join_all(reads).await.into_iter().flatten());
    }
    let snapshot = Snapshot {
        pods,
        events: events.into_iter().map(Into::into).collect(),
        nodes: lacking.take("nodes", nodes),
        replica_sets: lacking.take("replicasets", replica_sets),
        deployments: lacking.take("deployments", deployments),
        stateful_sets: lacking.take("statefulsets", stateful_sets),
        daemon_sets: lacking.take("daemonsets", daemon_sets),
        jobs: lacking.take("jobs", jobs),
        cron_jobs: lacking.take("cronjobs", cron_jobs),
        claims: lacking.take("persistentvolumeclaims", claims),
        revisions: Vec::new(),
        logs: Vec::new(),
        sources,
        owner_labels: OwnerLabels::default(),
        undecodable,
    };
    Ok(Seen { snapshot, notes, server_time })
}

/// The claims that a pod waits for, whose events are not among its own.
fn claims_of(pod: &Pod) -> Vec<(String, String)> {
    let claims = scheduling::awaited_claims(pod).take(evidence::MAX_CLAIMS);
    claims.map(|claim| (pod.metadata.namespace.clone(), claim)).collect()
}

/// What cannot be read is said once, and is empty.
struct Lacking<'a> {
    notes: &'a mut Vec<String>,
    undecodable: &'a mut Vec<Undecodable>,
}

impl Lacking<'_> {
    fn take<T>(&mut self, what: &str, list: Result<List<T>, Failure>) -> Vec<T> {
        match list {
            Ok(list) => {
                self.undecodable.extend(list.undecodable(what));
                list.items
            }
            Err(failure) => {
                let why = match failure.kind {
                    // Usual for who may only read some namespaces, and nothing for a cluster's owner to mend.
                    Kind::Forbidden => "no permission to list them",
                    _ => &failure.text,
                };
                self.notes.push(format!("without {what}: {why}"));
                Vec::new()
            }
        }
    }
}

struct List<T> {
    items: Vec<T>,
    unread: Vec<Unread>,
    server_time: Option<Timestamp>,
}

impl<T> List<T> {
    fn empty() -> Self {
        Self { items: Vec::new(), unread: Vec::new(), server_time: None }
    }

    fn undecodable(&self, what: &str) -> Vec<Undecodable> {
        let named = self.unread.iter().map(|unread| Undecodable {
            place: format!("{what}: {unread}"),
            why: "cannot be decoded".to_owned(),
        });
        named.collect()
    }
}

struct Reader<'a> {
    client: &'a BoundedClient,
    wanted: &'a Wanted,
    progress: &'a Progress,
}

impl Reader<'_> {
    /// The list in the wanted namespace, or in all of them.
    async fn list<T: Object>(&self, resource: Resource, params: &ListParams) -> Result<List<T>, Failure> {
        self.list_in(resource, self.wanted.namespace.as_deref(), params).await
    }

    /// The list in this namespace, or in all of them. Begins again when its pages expire.
    async fn list_in<T: Object>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<List<T>, Failure> {
        let (api, wire) = lean::reader(self.client, resource, namespace);
        let mut begun = 0;
        loop {
            begun += 1;
            match self.pages(&api, params).await {
                Err(failure) if failure.kind == Kind::Expired && begun < LISTS => {}
                list => return list.map(|list| List { server_time: wire.server_time(), ..list }),
            }
        }
    }

    async fn pages<T: Object>(&self, api: &Api<Lean<T>>, params: &ListParams) -> Result<List<T>, Failure> {
        let mut params = params.clone().limit(PAGE);
        let mut list = List::empty();
        loop {
            let mut page = page_in_time(api, &params).await?;
            self.progress.objects.fetch_add(page.items.len(), Ordering::Relaxed);
            let before = list.items.len() + list.unread.len();
            page.unread.iter_mut().for_each(|unread| unread.position += before);
            list.items.append(&mut page.items);
            list.unread.append(&mut page.unread);
            if page.continue_token.is_empty() {
                return Ok(list);
            }
            params = params.continue_token(&page.continue_token);
        }
    }
}

/// Asks again when the server is busy or fails, as long as there is time.
async fn page_in_time<T: Object>(api: &Api<Lean<T>>, params: &ListParams) -> Result<Page<T>, Failure> {
    let end = Instant::now() + REQUEST_TIMEOUT;
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_times(TRIES - 1);
    (|| lean::page(api, params))
        .retry(pauses)
        .when(|failure| matches!(failure.kind, Kind::Throttled | Kind::Server))
        .adjust(|failure, pause| {
            let pause = pause?.max(failure.retry_after.unwrap_or_default());
            (Instant::now() + pause < end).then_some(pause)
        })
        .await
}

/// The end of a log. A server that asks to slow down is asked twice more.
async fn log_in_time(client: &Client, log: &LogOf) -> Result<Vec<u8>, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let tail = timeout(LOG_TIMEOUT, evidence::log(client, log)).await.unwrap_or_else(|_| {
            let text = format!("no answer within {} s", LOG_TIMEOUT.as_secs());
            Err(Failure::new(Kind::Timeout, text))
        });
        match tail {
            Err(failure) if failure.kind == Kind::Throttled && tries < 3 => {
                sleep(failure.retry_after.unwrap_or(FIRST_PAUSE).min(LOG_TIMEOUT)).await;
            }
            result => return result,
        }
    }
}

/// Reads the ends of logs. What cannot be read is said once for each reason; a log that does not exist (any more) is no
/// failure.
pub async fn logs(
    client: &Client,
    wanted: Vec<LogOf>,
    progress: &Progress,
) -> (Vec<ContainerLog>, Vec<String>) {
    progress.begin("logs");
    let results: Vec<_> = futures::stream::iter(wanted)
        .map(|log| async move {
            let tail = log_in_time(client, &log).await;
            progress.objects.fetch_add(1, Ordering::Relaxed);
            (log, tail)
        })
        .buffer_unordered(LOGS_AT_A_TIME)
        .collect()
        .await;
    let mut logs = Vec::new();
    let mut failures: BTreeMap<&'static str, (usize, String)> = BTreeMap::new();
    for (LogOf { namespace, pod, container, previous }, tail) in results {
        match tail {
            Ok(tail) => logs.push(ContainerLog { namespace, pod, container, previous, tail, reading: None }),
            Err(failure) if failure.kind == Kind::Refused => {}
            Err(Failure { kind, text, .. }) => {
                let why =
                    if kind == Kind::Forbidden { "no permission to read them".to_owned() } else { text };
                failures.entry(kind.as_str()).or_insert((0, why)).0 += 1;
            }
        }
    }
    logs.sort_by(|a, b| {
        let key = |l: &ContainerLog| (l.namespace.clone(), l.pod.clone(), l.container.clone(), l.previous);
        key(a).cmp(&key(b))
    });
    let notes =
        failures.into_values().map(|(number, text)| format!("could not read {number} of the logs: {text}"));
    (logs, notes.collect())
}

/// The names of all objects of a resource (its group, version and plural), as far as one page goes: to guess which one was meant, and
/// to complete what is typed.
pub async fn names(
    client: &Client,
    (group, version, plural): (&str, &str, &str),
    namespace: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let kind = GroupVersionKind::gvk(group, version, "");
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    let api: Api<DynamicObject> = match namespace {
        None => Api::all_with(client.clone(), &resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let list = api.list_metadata(&ListParams::default().limit(PAGE)).await;
    let list = list.map_err(|error| Failure::of(&error))?;
    Ok(list.items.into_iter().filter_map(|object| object.metadata.name).collect())
}

/// The templates of these ReplicaSets, and the ControllerRevisions of these namespaces. They add to a diagnosis: what cannot be
/// read is left out.
pub async fn revisions(
    client: &Client,
    (sets, namespaces): (BTreeSet<(String, String)>, BTreeSet<String>),
) -> Vec<Revision> {
    let client = &BoundedClient::from(client.clone());
    let wanted = sets
        .into_iter()
        .map(|(namespace, name)| (Resource::REPLICA_SETS, namespace, format!("metadata.name={name}")));
    let all =
        namespaces.into_iter().map(|namespace| (Resource::CONTROLLER_REVISIONS, namespace, String::new()));
    let lists = futures::stream::iter(wanted.chain(all)).map(|(resource, namespace, fields)| async move {
        let params = ListParams::default().fields(&fields).limit(PAGE);
        let page = page_in_time(&lean::reading(client, resource, Some(&namespace)), &params).await;
        page.map(|page| page.items).unwrap_or_default()
    });
    lists.buffer_unordered(LOGS_AT_A_TIME).collect::<Vec<_>>().await.concat()
}

/// The API server's own clock, where it gives it; with it, whether the server answers and lets this user list pods.
pub async fn server_time(client: &Client, namespace: &str) -> Result<Option<Timestamp>, Failure> {
    let (api, wire) = lean::reader::<Pod>(&client.clone().into(), Resource::PODS, Some(namespace));
    page_in_time(&api, &ListParams::default().limit(1)).await?;
    Ok(wire.server_time())
}

/// Whether there are pods in a namespace, as far as this user may know.
pub async fn has_pods(client: &Client, namespace: &str) -> bool {
    let api = lean::reading::<Pod>(&client.clone().into(), Resource::PODS, Some(namespace));
    lean::page(&api, &ListParams::default().limit(1)).await.is_ok_and(|page| !page.items.is_empty())
}

/// The labels that a Service selects its pods by.
pub async fn service_labels(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let api = Api::<Service>::namespaced(client.clone(), namespace);
    let service = api.get(name).await.map_err(|error| Failure::of(&error))?;
    Ok(service.spec.and_then(|spec| spec.selector).unwrap_or_default())
}

/// The Services behind an Ingress.
pub async fn ingress_services(client: &Client, namespace: &str, name: &str) -> Result<Vec<String>, Failure> {
    let api = Api::<Ingress>::namespaced(client.clone(), namespace);
    let spec = api.get(name).await.map_err(|error| Failure::of(&error))?.spec.unwrap_or_default();
    let paths = spec.rules.into_iter().flatten().filter_map(|rule| rule.http).flat_map(|http| http.paths);
    let backends = spec.default_backend.into_iter().chain(paths.map(|path| path.backend));
    let services: BTreeSet<String> = backends.filter_map(|backend| Some(backend.service?.name)).collect();
    Ok(services.into_iter().collect())
}

/// Kind and name of what a HorizontalPodAutoscaler scales.
pub async fn scaled_by(client: &Client, namespace: &str, name: &str) -> Result<(String, String), Failure> {
    let api = Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), namespace);
    let scaled = api.get(name).await.map_err(|error| Failure::of(&error))?.spec.unwrap_or_default();
    Ok((scaled.scale_target_ref.kind, scaled.scale_target_ref.name))
}
