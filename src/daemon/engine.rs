//! The one way of a change: from the watch through the analyzer into the incidents.
//!
//! Whatever a watch shows is dealt with at once, in the watch's own task, in microseconds. Two locks, always taken in this
//! order: what surrounds pods (owners, nodes, evidence), then the incidents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::announce::Announcer;
use super::evidence::{Events, Evidence, Job, Jobs, Siblings};
use super::{Clock, Settings};
use crate::cluster::watch::{Change, Resource};
use crate::diagnosis::owners::Owners;
use crate::diagnosis::{
    self, Context, Finding, Look, PodDiagnosis, Reason, Snapshot, Sources, Start, Survey, WorkloadRef, nodes,
    scheduling, survey,
};
use crate::incidents::packed::Packed;
use crate::incidents::store::{Home, Uid};
use crate::incidents::{ActivePod, IncidentEvent, Incidents, Sight, uid_of};
use crate::metrics::{Metrics, OWNERS};
use crate::objects::{self, CronJob, Event, Node, Object, ObjectMeta, Pod, Workload};
use crate::report;
use crate::rules::{EvaluationError, RuleSet};

/// The state, and what is done with each change of it.
pub(super) struct Engine {
    clock: Clock,
    incidents: Arc<RwLock<Incidents>>,
    around: Mutex<Around>,
    announcer: Announcer,
    jobs: Jobs,
    pub(super) metrics: Arc<Metrics>,
    /// Owners, nodes or findings have changed since workloads and nodes were looked at.
    others_changed: AtomicBool,
    /// Makes the watches of pods list anew.
    list_anew: Mutex<Vec<Arc<Notify>>>,
}

/// What surrounds the pods.
struct Around {
    owners: Owners,
    nodes: HashMap<String, Node>,
    /// Nodes that are not ready: what their silence explains is no finding of a pod.
    down: HashSet<String>,
    evidence: HashMap<Uid, Evidence>,
    /// What events say about nodes on which containers were killed, and when they were asked for.
    on_nodes: HashMap<String, (Packed<Events>, Instant)>,
    /// How long the pods take to start of revisions of which a probe kills some, and when they were asked for.
    starts: HashMap<Uid, (Vec<Start>, Instant)>,
    sources: Sources,
    /// The user's own rules.
    rules: Arc<RuleSet>,
    /// The findings of workloads and nodes, by uid, as they were found last.
    others: BTreeMap<String, Vec<Finding>>,
    /// Workloads that lack pods (or Jobs), by uid: their events are read, and read again, until they have them.
    lacking: HashMap<Uid, Lacking>,
    /// When to look at workloads and nodes again, even if nothing changes.
    others_recheck: Option<Timestamp>,
    others_looked: Option<(Instant, Duration)>,
}

/// When pods ended as with their node, and on which.
type NodeEnds = Vec<(String, Timestamp)>;

/// A workload that lacks pods, or Jobs.
struct Lacking {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
}

/// How often workloads and nodes are looked at, at most.
const OTHERS: Duration = Duration::from_secs(2);
/// The look at workloads and nodes takes at most this share of the time.
const OTHERS_SHARE: u32 = 20;
/// How old evidence may be before a pod that is looked at again gets fresh one.
const EVIDENCE_AGE: Duration = Duration::from_secs(60);
/// The same of how long the pods of a revision take to start: it seldom changes, and is a list of pods.
const STARTS_AGE: Duration = Duration::from_secs(600);
/// How long what was read about nodes and revisions is kept when nothing asks for it any more. Events live as long.
const SURROUNDINGS_KEPT: Duration = Duration::from_secs(3600);

impl Engine {
    pub(super) fn new(
        settings: &Settings,
        incidents: Arc<RwLock<Incidents>>,
        metrics: Arc<Metrics>,
        jobs: Jobs,
    ) -> Self {
        let sources = Sources {
            events: settings.events,
            owners: settings.owners,
            nodes: settings.nodes,
            logs: settings.logs,
        };
        Self {
            clock: Arc::clone(&settings.clock),
            incidents,
            around: Mutex::new(Around {
                owners: Owners::default(),
                nodes: HashMap::new(),
                down: HashSet::new(),
                evidence: HashMap::new(),
                on_nodes: HashMap::new(),
                starts: HashMap::new(),
                sources,
                rules: Arc::clone(&settings.rules),
                others: BTreeMap::new(),
                lacking: HashMap::new(),
                others_recheck: None,
                others_looked: None,
            }),
            announcer: Announcer::new(),
            jobs,
            metrics,
            others_changed: AtomicBool::new(false),
            list_anew: Mutex::default(),
        }
    }

    fn around(&self) -> MutexGuard<'_, Around> {
        self.around.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn incidents(&self) -> RwLockWriteGuard<'_, Incidents> {
        self.incidents.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// How to make a watch of pods list anew.
    pub(super) fn list_pods_anew_with(&self, notify: Arc<Notify>) {
        self.list_anew.lock().unwrap_or_else(PoisonError::into_inner).push(notify);
    }

    /// Puts other rules in force. Pods at rest are not kept, so all pods are listed anew: a new rule may be about them.
    pub(super) fn set_rules(&self, rules: Arc<RuleSet>) {
        self.metrics.sources.loaded_rules(&rules, self.now());
        self.around().rules = rules;
        self.others_changed.store(true, Relaxed);
        for notify in self.list_anew.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            notify.notify_one();
        }
    }

    /// The sink of a watch of pods. `namespace` is what it is limited to.
    pub(super) fn pods(self: Arc<Self>, namespace: Option<String>) -> impl FnMut(Change<&mut Pod>) + Send {
        let mut mark = None;
        let mut sight = Sight::First;
        move |change| match change {
            Change::Init => mark = Some(self.incidents().mark()),
            Change::Apply(pod) => self.pod(pod, sight),
            Change::Delete(pod) => {
                let events = self.incidents().gone(uid_of(pod), Some(pod), self.now());
                self.around().evidence.remove(&uid_of(pod));
                self.happened(&events);
            }
            Change::InitDone => {
                sight = Sight::Later;
                if let Some(mark) = mark.take() {
                    let events = self.incidents().sweep(mark, namespace.as_deref(), self.now());
                    self.happened(&events);
                    self.forget_evidence();
                }
            }
        }
    }

    fn pod(&self, pod: &Pod, sight: Sight) {
        let now = self.now();
        let uid = uid_of(pod);
        let mut around = self.around();
        let workload = around.owners.workload_of(pod);
        let diagnosis = around.look(&self.metrics, pod, &workload, now);
        let mut incidents = self.incidents();
        let events = incidents.apply(pod, &workload, diagnosis, sight, now);
        let job = around.wants_evidence(&incidents, uid, !events.is_empty(), || self.may_ask());
        drop(incidents);
        drop(around);
        self.happened(&events);
        self.ask(job);
    }

    /// Looks at a pod again: time has passed, or its surroundings have changed.
    fn look_again(&self, uid: Uid, fresh_evidence: bool) {
        let now = self.now();
        let mut around = self.around();
        let mut incidents = self.incidents();
        let Some(active) = incidents.pod(uid) else {
            around.evidence.remove(&uid);
            return;
        };
        let diagnosis = around.look(&self.metrics, &active.pod(), &active.home.workload, now);
        let events = incidents.recheck(uid, diagnosis, now);
        let job = if fresh_evidence {
            None
        } else {
            around.wants_evidence(&incidents, uid, !events.is_empty(), || self.may_ask())
        };
        drop(incidents);
        drop(around);
        self.happened(&events);
        self.ask(job);
    }

    /// Time has passed.
    pub(super) fn time_passes(&self) {
        let due = self.incidents().due(self.now());
        for uid in due {
            self.look_again(uid, false);
        }
        self.ask_for_workloads();
        self.look_at_others();
        self.announcer.summarize();
    }

    fn happened(&self, events: &[IncidentEvent]) {
        if !events.is_empty() {
            self.others_changed.store(true, Relaxed);
            self.announcer.announce(events);
        }
    }

    fn ask(&self, job: Option<Job>) {
        let Some(job) = job else { return };
        let (uid, node, revision) = (job.uid, job.node.clone(), job.siblings.as_ref().map(|s| s.revision));
        let mut around = self.around();
        // Of what cannot be asked for now nothing is kept: in a storm that is most. It is asked for at a later look.
        if !self.jobs.push(job) {
            self.metrics.sources.count_evidence("all", "dropped");
            return;
        }
        let now = Instant::now();
        around.evidence.entry(uid).or_default().asked = Some(now);
        if let Some(node) = node {
            around.on_nodes.entry(node).or_insert_with(|| (Packed::default(), now)).1 = now;
        }
        if let Some(revision) = revision {
            around.starts.entry(revision).or_insert_with(|| (Vec::new(), now)).1 = now;
        }
    }

    /// Whether there is room for a job: without it, none is made up.
    fn may_ask(&self) -> bool {
        let room = self.jobs.have_room();
        if !room {
            self.metrics.sources.count_evidence("all", "dropped");
        }
        room
    }

    /// New evidence about a pod has come.
    pub(super) fn evidence(&self, uid: Uid, take: impl FnOnce(&mut Evidence)) {
        {
            let mut around = self.around();
            let Some(evidence) = around.evidence.get_mut(&uid) else { return };
            take(evidence);
            if around.lacking.contains_key(&uid) {
                self.others_changed.store(true, Relaxed);
                return;
            }
        }
        self.look_again(uid, true);
    }

    /// Events about a node have come.
    pub(super) fn node_events(&self, node: &str, events: Packed<Events>) {
        let mut around = self.around();
        around.on_nodes.retain(|_, (_, asked)| asked.elapsed() < SURROUNDINGS_KEPT);
        let Some((known, _)) = around.on_nodes.get_mut(node) else { return };
        let news = *known != events;
        *known = events;
        drop(around);
        if news {
            self.look_at_node(node);
        }
    }

    /// It is known how long the pods of a revision take to start.
    pub(super) fn starts(&self, revision: Uid, starts: Vec<Start>) {
        let mut around = self.around();
        around.starts.retain(|_, (_, asked)| asked.elapsed() < SURROUNDINGS_KEPT);
        if let Some((known, _)) = around.starts.get_mut(&revision) {
            *known = starts;
        }
    }

    /// Whether a source can be read after all.
    pub(super) fn source(&self, source: &'static str, available: bool) -> bool {
        let mut around = self.around();
        match source {
            "events" => around.sources.events = available,
            "logs" => around.sources.logs = available,
            _ => {}
        }
        drop(around);
        self.metrics.sources.set_available(source, available)
    }

    fn forget_evidence(&self) {
        let mut around = self.around();
        let incidents = self.incidents();
        let Around { evidence, lacking, .. } = &mut *around;
        evidence.retain(|uid, _| incidents.pod(*uid).is_some() || lacking.contains_key(uid));
    }

    /// The sink of a watch of ReplicaSets, Deployments, StatefulSets or DaemonSets.
    pub(super) fn workloads(self: Arc<Self>, kind: &'static str) -> impl FnMut(Change<&mut Workload>) + Send {
        self.others(kind, move |around, w: Workload| {
            let of_deployment = w.metadata.controller().is_some_and(|o| o.kind == "Deployment");
            let lacks = kind != "Deployment" && !of_deployment && w.status.replicas < w.wanted();
            around.wants_events(kind, &w.metadata, lacks);
            around.owners.apply(kind, w);
        })
    }

    /// The sink of a watch of Jobs.
    pub(super) fn jobs(self: Arc<Self>) -> impl FnMut(Change<&mut objects::Job>) + Send {
        self.others("Job", |around, job: objects::Job| {
            around.wants_events("Job", &job.metadata, job.lacks_pods());
            around.owners.apply_job(job);
        })
    }

    /// The sink of a watch of CronJobs.
    pub(super) fn cron_jobs(self: Arc<Self>) -> impl FnMut(Change<&mut CronJob>) + Send {
        let engine = Arc::clone(&self);
        self.others("CronJob", move |around, cron_job: CronJob| {
            // How often it should make a Job is not known here: none at all, or none for a day, is worth a question.
            let made = cron_job.status.last_schedule_time.get();
            let day = SignedDuration::from_hours(24);
            let lacks = made.is_none_or(|at| engine.now().duration_since(at) > day);
            around.wants_events("CronJob", &cron_job.metadata, lacks && !cron_job.spec.suspend);
            around.owners.apply_cron_job(cron_job);
        })
    }

    /// Reads the events of workloads that lack pods, now and then.
    fn ask_for_workloads(&self) {
        let around = self.around();
        if !around.sources.events {
            return;
        }
        let wanting = around.lacking.iter().filter(|(uid, _)| {
            let asked = around.evidence.get(uid).and_then(|e| e.asked);
            asked.is_none_or(|at| at.elapsed() >= EVIDENCE_AGE)
        });
        let jobs: Vec<Job> =
            wanting.map(|(uid, of)| Job::of_workload(*uid, &of.namespace, &of.name, &of.uid)).collect();
        drop(around);
        jobs.into_iter().for_each(|job| self.ask(Some(job)));
    }

    fn others<T: Object>(
        self: Arc<Self>,
        kind: &'static str,
        put: impl Fn(&mut Around, T) + Send,
    ) -> impl FnMut(Change<&mut T>) + Send {
        let mut known = Known::default();
        move |change| {
            let mut around = self.around();
            match change {
                Change::Init => known.begin(),
                Change::Apply(object) => {
                    let meta = object.meta();
                    known.saw(&meta.namespace, &meta.name);
                    put(&mut around, std::mem::take(object));
                }
                Change::Delete(object) => {
                    let meta = object.meta();
                    known.lost(&meta.namespace, &meta.name);
                    around.forget(kind, &meta.namespace, &meta.name);
                }
                Change::InitDone => {
                    for (namespace, name) in known.unseen() {
                        around.forget(kind, &namespace, &name);
                    }
                }
            }
            self.others_changed.store(true, Relaxed);
        }
    }

    /// The sink of a watch of nodes.
    pub(super) fn nodes(self: Arc<Self>) -> impl FnMut(Change<&mut Node>) + Send {
        let mut known = Known::default();
        move |change| {
            match change {
                Change::Init => known.begin(),
                Change::Apply(node) => {
                    known.saw("", &node.metadata.name);
                    let name = node.metadata.name.clone();
                    let down = node.condition("Ready").is_some_and(|c| c.status != "True");
                    let mut around = self.around();
                    let was =
                        if down { !around.down.insert(name.clone()) } else { around.down.remove(&name) };
                    let problem = nodes::has_problem(node);
                    let old = around.nodes.insert(name.clone(), std::mem::take(node));
                    drop(around);
                    if was != down || old.as_ref().is_some_and(nodes::has_problem) != problem {
                        self.look_at_node(&name);
                    }
                }
                Change::Delete(node) => {
                    known.lost("", &node.metadata.name);
                    self.lost_node(&node.metadata.name);
                }
                Change::InitDone => {
                    for (_, name) in known.unseen() {
                        self.lost_node(&name);
                    }
                    // Pods without a node that came before the nodes: these tell why.
                    self.look_at_node("");
                }
            }
            self.others_changed.store(true, Relaxed);
        }
    }

    fn lost_node(&self, name: &str) {
        let mut around = self.around();
        around.nodes.remove(name);
        around.on_nodes.remove(name);
        let was_down = around.down.remove(name);
        drop(around);
        if was_down {
            self.look_at_node(name);
        }
    }

    /// A node went down or came back: its pods that are not at rest are looked at again.
    fn look_at_node(&self, name: &str) {
        let pods: Vec<Uid> = {
            let incidents = self.incidents.read().unwrap_or_else(PoisonError::into_inner);
            incidents.active_pods().filter(|p| p.node == name).map(|p| p.uid).collect()
        };
        for uid in pods {
            self.look_again(uid, false);
        }
    }

    /// Looks at workloads and nodes, if there is a reason to.
    fn look_at_others(&self) {
        let now = self.now();
        {
            let around = self.around();
            let due = around.others_recheck.is_some_and(|at| at <= now);
            if let Some((at, took)) = around.others_looked
                && at.elapsed() < OTHERS.max(took * OTHERS_SHARE)
            {
                return;
            }
            if !self.others_changed.swap(false, Relaxed) && !due {
                return;
            }
        }
        let began = Instant::now();
        let (by_home, ends) = self.pods_by_home();
        let mut around = self.around();
        let events = around.lacking.keys().filter_map(|uid| Some((*uid, around.evidence.get(uid)?.events())));
        let events: HashMap<Uid, Vec<Event>> = events.collect();
        let events_of = |uid: &str| events.get(&Uid::of(uid)).map_or(&[][..], Vec::as_slice);
        let pods_of = |namespace: &str, workload: &WorkloadRef| {
            let home = Home::new(namespace, workload);
            self.findings_of(by_home.get(&home).into_iter().flatten())
        };
        let (mut findings, mut recheck) = around.owners.diagnose(&events_of, &pods_of, now);
        let mut look = Look::at(now);
        findings.extend(self.of_nodes(&around, ends, &mut look));
        recheck = recheck.into_iter().chain(look.done(Vec::new()).recheck).min();
        if !around.rules.is_empty() {
            let applied = around.rules.apply_without_pod(findings, now);
            log_rule_errors(&self.metrics.sources.count_rules(&applied));
            recheck = recheck.into_iter().chain(applied.recheck).min();
            findings = applied.findings;
        }

        let mut by_uid: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in findings {
            by_uid.entry(finding.uid.clone()).or_default().push(finding);
        }
        let before = std::mem::take(&mut around.others);
        let mut incidents = self.incidents();
        let mut events = Vec::new();
        for (uid, old) in &before {
            if by_uid.contains_key(uid) {
                continue;
            }
            events.extend(if around.exists(old) {
                incidents.apply_other(uid, Vec::new(), now)
            } else {
                incidents.other_gone(uid, now)
            });
        }
        for (uid, findings) in &by_uid {
            events.extend(incidents.apply_other(uid, findings.clone(), now));
        }
        drop(incidents);
        around.others = by_uid;
        around.others_recheck = recheck;
        around.others_looked = Some((began, began.elapsed()));
        drop(around);
        self.announcer.announce(&events);
    }

    /// The pods with findings by where they belong, and when which node's pods ended as with their node. In pieces, so that
    /// no update waits.
    fn pods_by_home(&self) -> (HashMap<Arc<Home>, Vec<Uid>>, NodeEnds) {
        let (mut by_home, mut ends) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        self.in_pieces(&self.active_uids(), |pod| {
            if !pod.findings.is_empty() {
                by_home.entry(Arc::clone(pod.home)).or_default().push(pod.uid);
            }
            ends.extend(pod.ended_with_node.map(|end| (pod.node.to_owned(), end)));
        });
        (by_home, ends)
    }

    /// The findings of these pods, always in the same order.
    fn findings_of<'u>(&self, uids: impl Iterator<Item = &'u Uid>) -> Vec<Finding> {
        let uids: Vec<Uid> = uids.copied().collect();
        let mut findings = Vec::new();
        self.in_pieces(&uids, |pod| findings.extend(pod.findings.iter().map(|f| f.finding())));
        findings.sort_by(survey::worst_first);
        findings
    }

    fn active_uids(&self) -> Vec<Uid> {
        self.incidents.read().unwrap_or_else(PoisonError::into_inner).active_uids().collect()
    }

    fn in_pieces(&self, uids: &[Uid], mut look: impl FnMut(ActivePod<'_>)) {
        const PIECE: usize = 200;
        for piece in uids.chunks(PIECE) {
            let incidents = self.incidents.read().unwrap_or_else(PoisonError::into_inner);
            piece.iter().filter_map(|uid| incidents.pod(*uid)).for_each(&mut look);
        }
    }

    fn of_nodes(&self, around: &Around, mut ends: NodeEnds, look: &mut Look) -> Vec<Finding> {
        let mut findings = Vec::new();
        let incidents = self.incidents.read().unwrap_or_else(PoisonError::into_inner);
        for (name, node) in &around.nodes {
            let on_node = incidents.pods_on(name) as usize;
            findings.extend(nodes::diagnose(node, on_node, look));
        }
        ends.sort_unstable();
        for of_node in ends.chunk_by(|a, b| a.0 == b.0) {
            let Some((name, _)) = of_node.first() else { continue };
            let Some(node) = around.nodes.get(name) else { continue };
            let ends = of_node.iter().map(|(_, end)| *end).collect();
            findings.extend(nodes::restarted(node, ends, incidents.pods_on(name) as usize, look));
        }
        findings
    }

    /// What `diagnose -A -o json` would print.
    pub(super) fn document(&self) -> String {
        let mut findings = self.findings_of(self.active_uids().iter());
        let pods = self.incidents.read().unwrap_or_else(PoisonError::into_inner).pods();
        let around = self.around();
        findings.extend(around.others.values().flatten().cloned());
        let mut sources = around.sources;
        drop(around);
        sources.owners &= self.metrics.sources.is_synced(OWNERS);
        sources.nodes &= self.metrics.sources.is_synced(&["nodes"]);
        let snapshot = Snapshot { sources, ..Snapshot::default() };
        let survey = Survey::of(findings, pods, self.now());
        report::json(&report::Look { survey: &survey, snapshot: &snapshot, notes: &[] })
    }
}

fn log_rule_errors(errors: &[EvaluationError]) {
    for error in errors {
        tracing::warn!(rule = &*error.rule, "the rule {} cannot be evaluated: {}", error.rule, error.message);
    }
}

/// The kind that a resource's objects are of.
pub(super) fn kind_of(resource: &Resource) -> &'static str {
    match resource.plural {
        "replicasets" => "ReplicaSet",
        "deployments" => "Deployment",
        "statefulsets" => "StatefulSet",
        _ => "DaemonSet",
    }
}

impl Around {
    /// Takes down whether only events can tell why a workload does not get what it should create: a StatefulSet, a DaemonSet,
    /// a ReplicaSet of its own or a Job without its pods, a CronJob without its Jobs.
    fn wants_events(&mut self, kind: &'static str, meta: &ObjectMeta, wants: bool) {
        let uid = Uid::of(&meta.uid);
        if !wants {
            if self.lacking.remove(&uid).is_some() {
                self.evidence.remove(&uid);
            }
            return;
        }
        self.lacking.entry(uid).or_insert_with(|| Lacking {
            kind,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        });
    }

    /// An owner is gone.
    fn forget(&mut self, kind: &str, namespace: &str, name: &str) {
        self.owners.remove(kind, namespace, name);
        let Self { lacking, evidence, .. } = self;
        lacking.retain(|uid, of| {
            let gone = of.kind == kind && of.namespace == namespace && of.name == name;
            if gone {
                evidence.remove(uid);
            }
            !gone
        });
    }

    /// Looks at a pod with what surrounds it.
    fn look(
        &self,
        metrics: &Metrics,
        pod: &Pod,
        workload: &diagnosis::WorkloadRef,
        now: Timestamp,
    ) -> PodDiagnosis {
        let evidence = self.evidence.get(&uid_of(pod));
        let events = evidence.map(Evidence::events).unwrap_or_default();
        let claim_events = evidence.map(Evidence::claim_events).unwrap_or_default();
        let node_events = self.on_nodes.get(&pod.spec.node_name);
        let node_events = node_events.map(|(events, _)| events.unpack().items).unwrap_or_default();
        let context = Context {
            sources: self.sources,
            events: &events,
            claim_events: &claim_events,
            logs: evidence.map_or(&[], |e| &e.logs),
            node: self.nodes.get(&pod.spec.node_name),
            node_events: &node_events,
        };
        let mut diagnosis = diagnosis::diagnose(pod, &context, now);
        for finding in &mut diagnosis.findings {
            finding.workload = Some(workload.clone());
            if finding.is_of_ended_pod() && self.owners.have_replaced(pod) {
                finding.replaced();
            }
            if scheduling::wants_nodes(finding) {
                scheduling::add_nodes(finding, pod, self.nodes.values());
            }
            if finding.wants_siblings()
                && let Some((starts, _)) = Siblings::of(pod).and_then(|s| self.starts.get(&s.revision))
            {
                diagnosis::compare_starts(finding, pod, starts);
            }
        }
        if self.down.contains(&pod.spec.node_name) {
            diagnosis.findings.retain(|f| !f.reason.known().is_some_and(nodes::is_explained_by_node));
        }
        if self.rules.is_empty() {
            return diagnosis;
        }
        let applied = self.rules.apply_for(pod, workload, context.events, diagnosis.findings, now);
        log_rule_errors(&metrics.sources.count_rules(&applied));
        let recheck = diagnosis.recheck.into_iter().chain(applied.recheck).min();
        PodDiagnosis { findings: applied.findings, recheck }
    }

    /// The job to be done for a pod that is not at rest: at once when something has happened to it, and when what is
    /// known has grown old.
    fn wants_evidence(
        &mut self,
        incidents: &Incidents,
        uid: Uid,
        at_once: bool,
        may_ask: impl FnOnce() -> bool,
    ) -> Option<Job> {
        if !self.sources.events && !self.sources.logs {
            return None;
        }
        let Some(active) = incidents.pod(uid).filter(|a| !a.findings.is_empty()) else {
            if incidents.pod(uid).is_none() {
                self.evidence.remove(&uid);
            }
            return None;
        };
        let now = Instant::now();
        let age = if at_once { Duration::from_secs(5) } else { EVIDENCE_AGE };
        let asked = self.evidence.get(&uid).and_then(|e| e.asked);
        if asked.is_some_and(|at| now.duration_since(at) < age) || !may_ask() {
            return None;
        }
        let findings: Vec<Finding> = active.findings.iter().map(|f| f.finding()).collect();
        let pod = active.pod();
        let node = self.wanted_node(&pod, &findings, now);
        let siblings = self.wanted_siblings(&pod, &findings, now);
        Some(Job::of(&pod, &findings, self.sources).with_node(node).with_siblings(siblings))
    }

    /// The node whose events are to be read for these findings, unless that was done of late: many containers that were
    /// killed on one node are one question.
    fn wanted_node(&self, pod: &Pod, findings: &[Finding], now: Instant) -> Option<String> {
        let name = &pod.spec.node_name;
        let readable = self.sources.events && self.sources.nodes && !name.is_empty();
        if !readable || !findings.iter().any(Finding::wants_node_events) {
            return None;
        }
        let known = self.on_nodes.get(name);
        if known.is_some_and(|(_, asked)| now.duration_since(*asked) < EVIDENCE_AGE) {
            return None;
        }
        Some(name.clone())
    }

    /// The revision whose pods are to be compared for these findings, unless that was done of late.
    fn wanted_siblings(&self, pod: &Pod, findings: &[Finding], now: Instant) -> Option<Siblings> {
        let siblings = Siblings::of(pod).filter(|_| findings.iter().any(Finding::wants_siblings))?;
        let known = self.starts.get(&siblings.revision);
        if known.is_some_and(|(_, asked)| now.duration_since(*asked) < STARTS_AGE) {
            return None;
        }
        Some(siblings)
    }

    /// Whether a workload or node with these findings is still there.
    fn exists(&self, findings: &[Finding]) -> bool {
        findings.first().is_some_and(|f| match (&f.workload, f.reason.known()) {
            (
                _,
                Some(
                    Reason::NodeNotReady
                    | Reason::NodeProblem
                    | Reason::NodeRestart
                    | Reason::MemoryPressure
                    | Reason::DiskPressure
                    | Reason::PIDPressure,
                ),
            ) => self.nodes.contains_key(&f.node),
            (Some(w), _) => {
                self.owners.get(&w.kind, &f.namespace, &w.name).is_some()
                    || self.owners.job(&f.namespace, &w.name).is_some()
            }
            (None, _) => false,
        })
    }
}

/// The objects that a watch has shown, to tell what a list does not show any more.
#[derive(Default)]
struct Known {
    /// Namespace and name to the number of the list in which it was seen last.
    seen: HashMap<(String, String), u32>,
    list: u32,
}

impl Known {
    fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    fn saw(&mut self, namespace: &str, name: &str) {
        self.seen.insert((namespace.to_owned(), name.to_owned()), self.list);
    }

    fn lost(&mut self, namespace: &str, name: &str) {
        self.seen.remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn unseen(&mut self) -> Vec<(String, String)> {
        let list = self.list;
        self.seen.extract_if(|_, seen| *seen != list).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence;
    use super::*;
    use crate::daemon::Target;
    use crate::diagnosis::workload_of;

    #[tokio::test(start_paused = true)]
    async fn what_a_full_queue_drops_is_asked_for_at_the_next_look_its_surroundings_included() {
        let (jobs, queue) = evidence::queue();
        let incidents = Arc::new(RwLock::new(Incidents::new()));
        let target =
            Target::Client(crate::simulator::client(&crate::simulator::Cluster::new()), String::new());
        let settings = Settings::new(target);
        let engine = Engine::new(&settings, Arc::clone(&incidents), Arc::new(Metrics::new(100)), jobs);
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": "cart-5d8f9c7b6d-abcde", "uid": "a",
                "labels": {"pod-template-hash": "5d8f9c7b6d"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d8f9c7b6d", "uid": "b", "controller": true}
                ]
            },
            "spec": {"nodeName": "node-a", "containers": [{"name": "cart", "image": "cart:1"}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "cart", "restartCount": 7, "containerID": "containerd://c",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "Error", "containerID": "containerd://c",
                    "startedAt": "2026-11-22T10:00:00Z", "finishedAt": "2026-11-22T10:01:00Z"}}
            }]}
        }))
        .unwrap();
        let now: Timestamp = "2026-11-22T10:02:00Z".parse().unwrap();
        let diagnosis = diagnosis::diagnose(&pod, &Context::pod_only(), now);
        assert!(diagnosis.findings.iter().any(Finding::wants_node_events));
        engine.incidents().apply(&pod, &workload_of(&pod), diagnosis, Sight::Later, now);
        let look = || {
            let incidents = engine.incidents();
            let job = engine.around().wants_evidence(&incidents, Uid::of("a"), false, || engine.may_ask());
            drop(incidents);
            let made = job.is_some();
            engine.ask(job);
            made
        };

        let other = || Job::of_workload(Uid::of("other"), "shop", "other", "other");
        let full = (0..).take_while(|_| engine.jobs.push(other())).count();
        // Made while there was room, and dropped since there is none any more.
        let job = {
            let incidents = engine.incidents();
            engine.around().wants_evidence(&incidents, Uid::of("a"), false, || true)
        };
        assert_eq!(job.as_ref().and_then(|j| j.node.as_deref()), Some("node-a"));
        engine.ask(job);
        assert!(!look(), "a job is made up for a queue that is full");

        let mut queue = queue.lock().await;
        (0..full).for_each(|_| drop(queue.try_recv().unwrap()));
        assert!(look());
        assert_eq!(queue.try_recv().unwrap().node.as_deref(), Some("node-a"));
        assert!(engine.around().on_nodes.contains_key("node-a"));
    }
}
