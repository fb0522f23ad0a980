//! Evidence about pods that are not well: their events, and the ends of their containers' logs, fetched in the background.
//!
//! A bounded queue and two workers with a rate: the API server is asked gently, and nothing else ever waits for it. What
//! does not fit into the queue is dropped and counted; the pod is asked about again when it is looked at the next time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Engine;
use super::queue::Queue;
use crate::cluster::client::{Failure, Kind};
use crate::cluster::evidence::{self, LogOf};
use crate::cluster::lean::BoundedClient;
use crate::diagnosis::container::views;
use crate::diagnosis::{self, ContainerLog, Finding, Sources, crash, scheduling};
use crate::incidents::store::Uid;
use crate::incidents::uid_of;
use crate::objects::{Annotation, Event, Packed, Pod};

const WORKERS: usize = 2;
/// The pause of a worker between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a source that is forbidden is left alone.
const FORBIDDEN: Duration = Duration::from_secs(300);
/// Logs of one pod that are read at most.
const LOGS: usize = 3;

/// What is known about one pod besides itself. There is as much of it as there are pods that fail, so it is kept small.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    events: Packed<Events>,
    claim_events: Packed<Events>,
    /// What the ends of its containers' logs say; read already, their texts are not kept.
    pub(super) logs: Vec<ContainerLog>,
    /// When it was last asked for.
    pub(super) asked: Option<Instant>,
}

/// Events, to be packed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Events {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<Event>,
}

impl Evidence {
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.unpack().items
    }

    /// The events about the claims that it waits for.
    pub(super) fn claim_events(&self) -> Vec<Event> {
        self.claim_events.unpack().items
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) uid: Uid,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Under which uids the events are.
    pub(super) uids: Vec<String>,
    pub(super) events: bool,
    /// Claims that the pod waits for, whose events are wanted.
    pub(super) claims: Vec<String>,
    /// Whether it has no node yet, so that events about the NodeClaims that are nominated for it are wanted.
    pub(super) unbound: bool,
    /// Whose logs, and the exit code of the run that ended.
    pub(super) logs: Vec<(LogOf, Option<i32>)>,
    /// The node whose events may say who killed a container of the pod.
    pub(super) node: Option<String>,
    /// The pods that were made from the same template: how long they take to start.
    pub(super) siblings: Option<Siblings>,
    /// Its revision, and the ReplicaSets of it and of the one before, whose templates are compared.
    pub(super) compared: Option<(Uid, [String; 2])>,
}

/// Pods of one revision.
#[derive(Debug)]
pub(super) struct Siblings {
    pub(super) revision: Uid,
    label: &'static str,
    value: String,
    owner: String,
}

impl Siblings {
    /// Those of a pod.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let (_, owner, label, value) = diagnosis::revision_of(pod)?;
        let revision = Uid::of(&format!("{owner}/{value}"));
        Some(Self { revision, label, value: value.to_owned(), owner: owner.to_owned() })
    }
}

impl Job {
    /// For a pod with these findings.
    pub(super) fn of(pod: &Pod, findings: &[Finding], sources: Sources) -> Self {
        let meta = &pod.metadata;
        // The kubelet writes the events of a static pod under the uid that it knows.
        let mirror = meta.annotation(Annotation::CONFIG_MIRROR).map(str::to_owned);
        let logs = views(pod).filter(|_| sources.logs).filter_map(|view| {
            let of = |f: &&Finding| f.is_active() && f.wants_log() && f.container == view.name;
            let crashed = findings.iter().find(of)?.is_crash();
            // The run that crashed is the present container until it is started again, and the previous one after that.
            let previous = crashed && view.is_running();
            let end = view.newest_end().filter(|_| crashed);
            if crashed && end.is_none_or(|end| end.container_id.is_empty()) {
                return None;
            }
            let of = LogOf {
                namespace: meta.namespace.clone(),
                pod: meta.name.clone(),
                container: view.name.to_owned(),
                previous,
            };
            Some((of, end.map(|end| end.exit_code)))
        });
        Self {
            uids: [Some(meta.uid.clone()), mirror].into_iter().flatten().collect(),
            events: sources.events,
            claims: scheduling::awaited_claims(pod).take(evidence::MAX_CLAIMS).collect(),
            unbound: pod.spec.node_name.is_empty(),
            logs: logs.take(LOGS).collect(),
            ..Self::of_workload(uid_of(pod), &meta.namespace, &meta.name, &meta.uid)
        }
    }

    /// For a workload that lacks pods.
    pub(super) fn of_workload(uid: Uid, namespace: &str, name: &str, uid_text: &str) -> Self {
        Self {
            uid,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uids: vec![uid_text.to_owned()],
            events: true,
            claims: Vec::new(),
            unbound: false,
            logs: Vec::new(),
            node: None,
            siblings: None,
            compared: None,
        }
    }
}

/// The workers.
pub(super) fn workers(
    client: BoundedClient,
    queue: Queue,
    engine: &Arc<Engine>,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> + use<> {
    let engine = Arc::clone(engine);
    (0..WORKERS).map(move |_| {
        let worker = Worker { client: client.clone(), engine: Arc::clone(&engine), refused: [None; 2] };
        worker.run(queue.clone())
    })
}

struct Worker {
    client: BoundedClient,
    engine: Arc<Engine>,
    /// When events and logs were last refused.
    refused: [Option<Instant>; 2],
}

const SOURCES: [&str; 2] = ["events", "logs"];

impl Worker {
    async fn run(mut self, queue: Queue) {
        loop {
            self.work(queue.pop().await).await;
        }
    }

    async fn work(&mut self, job: Job) {
        self.surroundings(&job).await;
        let mut of_claims = Vec::new();
        if job.events && self.may_ask(0) {
            let events = evidence::events(&self.client, &job.namespace, &job.name, &job.uids);
            let events = within(events).await;
            if let Some(events) = self.result(0, events) {
                of_claims = self.of_node_claims(&job, &events).await;
                let events = Packed::new(&Events { items: events });
                self.engine.evidence(job.uid, |e| e.events = events);
            }
            tokio::time::sleep(PAUSE).await;
        }
        for claim in &job.claims {
            if !self.may_ask(0) {
                break;
            }
            let events = within(evidence::claim_events(&self.client, &job.namespace, claim)).await;
            of_claims.extend(self.result(0, events).unwrap_or_default());
            tokio::time::sleep(PAUSE).await;
        }
        if !job.claims.is_empty() || !of_claims.is_empty() {
            let events = Packed::new(&Events { items: of_claims });
            self.engine.evidence(job.uid, |e| e.claim_events = events);
        }
        let mut logs = Vec::new();
        for (log, exit_code) in job.logs {
            // Where the log of the run that terminated is gone or says nothing, that of the run beside it may.
            let runs = if exit_code.is_some() { 2 } else { 1 };
            for previous in [log.previous, !log.previous].into_iter().take(runs) {
                if !self.may_ask(1) {
                    break;
                }
                let of = LogOf { previous, ..log.clone() };
                let tail = within(evidence::log(&self.client.client, &of)).await;
                let tail = self.result(1, tail);
                tokio::time::sleep(PAUSE).await;
                let Some(tail) = tail else { continue };
                let LogOf { namespace, pod, container, previous } = of;
                let mut read = ContainerLog { namespace, pod, container, previous, tail, reading: None };
                // Here rather than where it is looked at: there the watch would wait for it.
                read.settle(exit_code);
                let is_telling = read.read(exit_code).verdict.is_some();
                logs.push(read);
                if is_telling {
                    break;
                }
            }
        }
        if !logs.is_empty() {
            self.engine.evidence(job.uid, |e| e.logs = logs);
        }
    }

    /// What is said of the nodes that are being made for a pod. Who may not read it has lost nothing but a detail.
    async fn of_node_claims(&self, job: &Job, events: &[Event]) -> Vec<Event> {
        let mut claims: Vec<&str> =
            events.iter().filter(|_| job.unbound).filter_map(scheduling::nominated).collect();
        claims.dedup();
        let mut found = Vec::new();
        for claim in claims.into_iter().rev().take(evidence::MAX_CLAIMS) {
            let events = within(evidence::node_claim_events(&self.client, claim)).await;
            let result = if events.is_ok() { "ok" } else { "failed" };
            self.engine.metrics.sources.count_evidence("node_events", result);
            found.extend(events.unwrap_or_default());
            tokio::time::sleep(PAUSE).await;
        }
        found
    }

    /// What is known about a node, or about the pods of a revision: asked for once in a while, whatever fails of them. Who may
    /// not read it (with a Role in some namespaces only, events about nodes are out of reach) has lost nothing but a detail.
    async fn surroundings(&self, job: &Job) {
        let sources = &self.engine.metrics.sources;
        let counted = |result: &Result<_, Failure>| match result {
            Ok(()) => "ok",
            Err(_) => "failed",
        };
        if let Some(node) = &job.node {
            // The kubelet and problem detectors give a node's name for its uid, and its events are in this namespace.
            let events = evidence::events(&self.client, "default", node, std::slice::from_ref(node));
            let found = within(events).await.map(|mut events| {
                events.retain(crash::tells_of_memory);
                self.engine.node_events(node, Packed::new(&Events { items: events }));
            });
            sources.count_evidence("node_events", counted(&found));
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(of) = &job.siblings {
            let pods = evidence::pods_with(&self.client, &job.namespace, of.label, &of.value);
            let found = within(pods).await.map(|pods| {
                let same = |p: &&Pod| p.metadata.controller().is_some_and(|o| o.uid == of.owner);
                self.engine.starts(of.revision, diagnosis::slowest_starts(pods.iter().filter(same)));
            });
            sources.count_evidence("siblings", counted(&found));
            tokio::time::sleep(PAUSE).await;
        }
        if let Some((revision, sets)) = &job.compared {
            let read = evidence::replica_sets(&self.client, &job.namespace, sets);
            let found = within(read).await.map(|sets| self.engine.change(job.uid, *revision, &sets));
            sources.count_evidence("revisions", counted(&found));
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn may_ask(&self, source: usize) -> bool {
        self.refused.get(source).copied().flatten().is_none_or(|at| at.elapsed() >= FORBIDDEN)
    }

    /// Counts a result, and says once that a source cannot be read, or can be again.
    fn result<T>(&mut self, at: usize, result: Result<T, Failure>) -> Option<T> {
        let source = SOURCES.get(at).copied().unwrap_or_default();
        let sources = &self.engine.metrics.sources;
        match result {
            Ok(value) => {
                sources.count_evidence(source, "ok");
                if self.engine.source(source, true) && self.refused.get(at).copied().flatten().is_some() {
                    tracing::info!(source, "evidence can be read again");
                }
                if let Some(refused) = self.refused.get_mut(at) {
                    *refused = None;
                }
                Some(value)
            }
            // The pod or its container is gone, or has no log yet.
            Err(failure) if failure.kind == Kind::Refused => {
                sources.count_evidence(source, "gone");
                None
            }
            Err(failure) => {
                sources.count_evidence(source, "failed");
                if matches!(failure.kind, Kind::Forbidden | Kind::Unauthorized) {
                    if let Some(refused) = self.refused.get_mut(at) {
                        *refused = Some(Instant::now());
                    }
                    if self.engine.source(source, false) {
                        tracing::warn!(source, error = %failure, "cannot read evidence, diagnosing without it");
                    }
                } else {
                    tracing::debug!(source, error = %failure, "evidence is missing");
                }
                None
            }
        }
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(Kind::Timeout, format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, request).await.unwrap_or_else(|_| Err(late()))
}
