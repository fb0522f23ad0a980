//! The one way of a change: from the watch through the analyzer into the incidents.
//!
//! Whatever a watch shows is dealt with at once, in the watch's own task, in microseconds. Two locks, always taken in this
//! order: the state of the cluster (owners, nodes, evidence), then the incidents.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::announce::Announcer;
use super::evidence::{Events, Evidence, Job};
use super::queue::Queue;
use super::state::{ClusterState, SeenSet};
use super::{Clock, Settings};
use crate::cluster::watch::{Resource, Watch, WatchHealth};
use crate::diagnosis::nodes::EndedWithNode;
use crate::diagnosis::survey::Tally;
use crate::diagnosis::world::Pods;
use crate::diagnosis::{Change, Finding, Snapshot, Sources, Start, Survey, WorkloadRef, World, survey};
use crate::incidents::compact::CompactFinding;
use crate::incidents::store::{Uid, WorkloadKey};
use crate::incidents::{ActivePod, FirstSeen, IncidentEvent, Incidents, uid_of};
use crate::metrics::{Metrics, OWNERS};
use crate::objects::{self, CronJob, Event, Node, Object, Packed, Pod, Revision, Workload};
use crate::report;
use crate::rules::RuleSet;
use crate::server::Instance;
use crate::server::page::{self, BadToken, FindingKey, Page};

/// The state, and what is done with each change of it.
pub(super) struct Engine {
    clock: Clock,
    incidents: Arc<RwLock<Incidents>>,
    state: Mutex<ClusterState>,
    /// The findings of workloads and nodes.
    workloads_and_nodes: Mutex<WorkloadsAndNodes>,
    announcer: Announcer,
    jobs: Queue,
    pub(super) metrics: Arc<Metrics>,
    /// Owners, nodes or findings have changed since workloads and nodes were judged.
    is_changed: AtomicBool,
    /// The watches of pods, and what makes each list everything again.
    watches: Mutex<Vec<(Arc<WatchHealth>, Arc<Notify>)>>,
}

/// The findings of workloads and nodes, as they were judged last.
#[derive(Default)]
struct WorkloadsAndNodes {
    /// By uid.
    findings: BTreeMap<String, Vec<Finding>>,
    /// When to judge them again, even if nothing changes.
    recheck: Option<Timestamp>,
    /// When that was, and how long it took.
    judged: Option<(Instant, Duration)>,
}

/// How often workloads and nodes are judged, at most.
const JUDGE_EVERY: Duration = Duration::from_secs(2);
/// One part in so many of the time is spent on it, at most.
const JUDGE_SHARE: u32 = 20;
/// How long a pod that its watch does not show any more is not judged by the time alone: a control plane that is replaced is
/// back by then, and what failed before is not to be hidden for ever.
const MAX_OUT_OF_DATE: Duration = Duration::from_secs(600);

impl Engine {
    pub(super) fn new(
        settings: &Settings,
        incidents: Arc<RwLock<Incidents>>,
        metrics: Arc<Metrics>,
        jobs: Queue,
    ) -> Self {
        let sources = Sources {
            events: settings.events,
            owners: settings.owners,
            nodes: settings.nodes,
            logs: settings.logs,
        };
        let mut world = World::new(sources);
        world.owner_labels.clone_from(&settings.owner_labels);
        Self {
            clock: Arc::clone(&settings.clock),
            incidents,
            state: Mutex::new(ClusterState::new(world, Arc::clone(&settings.rules))),
            workloads_and_nodes: Mutex::default(),
            announcer: Announcer::new(&settings.cluster_name),
            jobs,
            metrics,
            is_changed: AtomicBool::new(false),
            watches: Mutex::default(),
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Puts other rules in force. Healthy pods are not kept, so all pods are listed again: a new rule may be about them.
    pub(super) fn set_rules(&self, rules: Arc<RuleSet>) {
        self.metrics.sources.loaded_rules(&rules, self.now());
        self.state.lock().rules = rules;
        self.is_changed.store(true, Relaxed);
        for (_, relist) in self.watches.lock().iter() {
            relist.notify_one();
        }
    }

    /// The sink of a watch of pods.
    pub(super) fn pods(self: Arc<Self>, watch: &Watch) -> impl FnMut(watcher::Event<Pod>) + Send + use<> {
        let health = watch.health();
        self.watches.lock().push((watch.health(), watch.relist()));
        let mut mark = None;
        let mut is_first = true;
        move |event| match event {
            watcher::Event::Init => mark = Some(self.incidents.write().mark()),
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) => {
                let seen = match is_first {
                    true => FirstSeen::InFirstList,
                    false if health.is_catching_up() => FirstSeen::CatchingUp,
                    false => FirstSeen::Later,
                };
                self.pod(&pod, seen);
            }
            watcher::Event::Delete(pod) => {
                let events = self.incidents.write().gone(uid_of(&pod), Some(&pod), self.now());
                self.state.lock().evidence.remove(&uid_of(&pod));
                self.happened(&events);
            }
            watcher::Event::InitDone => {
                is_first = false;
                if let Some(mark) = mark.take() {
                    let events = self.incidents.write().sweep(mark, health.namespace.as_deref(), self.now());
                    self.happened(&events);
                    self.state.lock().forget_evidence(&self.incidents.write());
                }
            }
        }
    }

    fn pod(&self, pod: &Pod, seen: FirstSeen) {
        let now = self.now();
        let uid = uid_of(pod);
        let mut state = self.state.lock();
        state.check_mute("Pod", &pod.metadata, now);
        let workload = state.world.owners.workload_of(pod);
        let diagnosis = state.judge(&self.metrics, pod, &workload, now);
        let mut incidents = self.incidents.write();
        let events = incidents.apply(pod, &workload, diagnosis, seen, now);
        // No incident of its own, but of its node, if enough pods ended so.
        let active = incidents.pod(uid);
        if active.is_some_and(|pod| pod.ended_with_node.is_some()) {
            self.is_changed.store(true, Relaxed);
        }
        let at_once = !events.is_empty();
        let job = state.wants_evidence(pod, active, at_once, |namespace| self.may_ask(namespace));
        drop(incidents);
        drop(state);
        self.happened(&events);
        self.ask(job);
    }

    /// Looks at a pod again: time has passed, or its surroundings have changed.
    fn judge_again(&self, uid: Uid, fresh_evidence: bool) {
        let now = self.now();
        let mut state = self.state.lock();
        let mut incidents = self.incidents.write();
        let Some(active) = incidents.pod(uid) else {
            state.evidence.remove(&uid);
            return;
        };
        if self.is_out_of_date(&active.workload_key.namespace) {
            return incidents.put_off(uid, now);
        }
        let pod = active.pod();
        let diagnosis = state.judge(&self.metrics, &pod, &active.workload_key.workload, now);
        let events = incidents.recheck(uid, diagnosis, now);
        let job = if fresh_evidence {
            None
        } else {
            let (active, at_once) = (incidents.pod(uid), !events.is_empty());
            state.wants_evidence(&pod, active, at_once, |namespace| self.may_ask(namespace))
        };
        drop(incidents);
        drop(state);
        self.happened(&events);
        self.ask(job);
    }

    /// Whether the pods of this namespace may be in another state than was shown last.
    fn is_out_of_date(&self, namespace: &str) -> bool {
        self.watches.lock().iter().any(|(watch, _)| {
            watch.namespace.as_ref().is_none_or(|of| of == namespace)
                && watch.out_of_date().is_some_and(|time| time < MAX_OUT_OF_DATE)
        })
    }

    /// Time has passed.
    pub(super) fn time_passes(&self) {
        let due = self.incidents.write().due(self.now());
        for uid in due {
            self.judge_again(uid, false);
        }
        self.judge_reowned();
        self.ask_for_workloads();
        self.judge_workloads_and_nodes();
        self.announcer.summarize();
    }

    fn happened(&self, events: &[IncidentEvent]) {
        if !events.is_empty() {
            self.is_changed.store(true, Relaxed);
            self.announcer.announce(events);
        }
    }

    fn ask(&self, job: Option<Job>) {
        let Some(job) = job else { return };
        let (uid, node, revision) = (job.uid, job.node.clone(), job.siblings.as_ref().map(|s| s.revision));
        let compared = job.compared.as_ref().map(|(revision, _)| *revision);
        let mut state = self.state.lock();
        // Of what cannot be asked for now nothing is kept: in a storm that is most. It is asked for at a later look.
        let left_out = self.jobs.push(job);
        if let Some(left_out) = &left_out {
            self.metrics.sources.count_evidence("all", "dropped");
            state.not_asked(left_out.uid);
        }
        if left_out.is_none_or(|left_out| left_out.uid != uid) {
            state.asked(uid, node, revision, compared);
        }
    }

    /// Whether there is room for a job: without it, none is made up.
    fn may_ask(&self, namespace: &str) -> bool {
        let room = self.jobs.has_room(namespace);
        if !room {
            self.metrics.sources.count_evidence("all", "dropped");
        }
        room
    }

    /// New evidence about a pod has come.
    pub(super) fn evidence(&self, uid: Uid, take: impl FnOnce(&mut Evidence)) {
        {
            let mut state = self.state.lock();
            let Some(evidence) = state.evidence.get_mut(&uid) else { return };
            take(evidence);
            if state.lacking.contains_key(&uid) {
                self.is_changed.store(true, Relaxed);
                return;
            }
        }
        self.judge_again(uid, true);
    }

    /// Events about a node have come.
    pub(super) fn node_events(&self, node: &str, events: Packed<Events>) {
        let is_new = self.state.lock().put_node_events(node, events);
        if is_new {
            self.judge_pods_on(&HashSet::from([node.to_owned()]));
        }
    }

    /// It is known how long the pods of a revision take to start.
    pub(super) fn starts(&self, revision: Uid, starts: Vec<Start>) {
        self.state.lock().put_starts(revision, starts);
    }

    /// The ReplicaSets of a revision and of the one before it were read.
    pub(super) fn change(&self, uid: Uid, revision: Uid, sets: &[Revision]) {
        let (change, pods): (_, Vec<Uid>) = {
            let incidents = self.incidents.read();
            let Some(active) = incidents.pod(uid) else { return };
            let of_workload = incidents.active_pods().filter(|p| p.workload_key == active.workload_key);
            (Change::of(&active.pod(), sets.iter()), of_workload.map(|pod| pod.uid).collect())
        };
        let Some(change) = change else { return };
        self.state.lock().put_change(revision, change);
        // What is said of all of its pods.
        pods.into_iter().for_each(|uid| self.judge_again(uid, true));
    }

    /// Whether a source can be read after all.
    pub(super) fn source(&self, source: &'static str, available: bool) -> bool {
        let mut state = self.state.lock();
        match source {
            "events" => state.world.sources.events = available,
            "logs" => state.world.sources.logs = available,
            _ => {}
        }
        drop(state);
        self.metrics.sources.set_available(source, available)
    }

    /// The sink of a watch of ReplicaSets, Deployments, StatefulSets or DaemonSets.
    pub(super) fn workloads(
        self: Arc<Self>,
        kind: &'static str,
    ) -> impl FnMut(watcher::Event<Workload>) + Send {
        self.owners(kind, move |state, w: Workload| {
            let of_deployment = w.metadata.controller().is_some_and(|o| o.kind == "Deployment");
            let lacks = kind != "Deployment" && !of_deployment && w.status.replicas < w.wanted();
            state.wants_events(kind, &w.metadata, lacks);
            state.world.owners.apply(kind, w);
        })
    }

    /// The sink of a watch of Jobs.
    pub(super) fn jobs(self: Arc<Self>) -> impl FnMut(watcher::Event<objects::Job>) + Send {
        self.owners("Job", |state, job: objects::Job| {
            state.wants_events("Job", &job.metadata, job.lacks_pods());
            state.world.owners.apply_job(job);
        })
    }

    /// The sink of a watch of CronJobs.
    pub(super) fn cron_jobs(self: Arc<Self>) -> impl FnMut(watcher::Event<CronJob>) + Send {
        let engine = Arc::clone(&self);
        self.owners("CronJob", move |state, cron_job: CronJob| {
            // How often it should make a Job is not known here: none at all, or none for a day, is worth a question.
            let made = cron_job.status.last_schedule_time.get();
            let day = SignedDuration::from_hours(24);
            let lacks = made.is_none_or(|at| engine.now().duration_since(at) > day);
            state.wants_events("CronJob", &cron_job.metadata, lacks && !cron_job.spec.suspend);
            state.world.owners.apply_cron_job(cron_job);
        })
    }

    /// Reads the events of workloads that lack pods, now and then.
    fn ask_for_workloads(&self) {
        let jobs = self.state.lock().lacking();
        jobs.into_iter().for_each(|job| self.ask(Some(job)));
    }

    /// The sink of a watch of owners.
    fn owners<T: Object>(
        self: Arc<Self>,
        kind: &'static str,
        put: impl Fn(&mut ClusterState, T) + Send,
    ) -> impl FnMut(watcher::Event<T>) + Send {
        let mut known = SeenSet::default();
        move |event| {
            let mut state = self.state.lock();
            match event {
                watcher::Event::Init => known.begin(),
                watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                    let meta = object.meta();
                    known.saw(&meta.namespace, &meta.name);
                    state.heard_of(kind, meta, self.now());
                    put(&mut state, object);
                }
                watcher::Event::Delete(object) => {
                    let meta = object.meta();
                    known.lost(&meta.namespace, &meta.name);
                    state.forget(kind, &meta.namespace, &meta.name);
                }
                watcher::Event::InitDone => {
                    for (namespace, name) in known.unseen() {
                        state.forget(kind, &namespace, &name);
                    }
                    drop(state);
                    // Before this list counts as complete: until then nobody believes that an incident alerts.
                    self.judge_reowned();
                    match kind {
                        // Pods that were judged before it was known which revisions there are: what changed is not compared yet.
                        "ReplicaSet" => self.judge_active(|_| true),
                        "Job" => self.find_cron_jobs(),
                        _ => {}
                    }
                }
            }
            self.is_changed.store(true, Relaxed);
        }
    }

    /// The sink of a watch of nodes.
    pub(super) fn nodes(self: Arc<Self>) -> impl FnMut(watcher::Event<Node>) + Send {
        let mut known = SeenSet::default();
        let mut is_listing = false;
        // The nodes whose pods are to be judged again; "" for the pods that have none.
        let mut changed = HashSet::new();
        move |event| {
            let is_news = match event {
                watcher::Event::Init => {
                    known.begin();
                    is_listing = true;
                    false
                }
                watcher::Event::InitApply(node) | watcher::Event::Apply(node) => {
                    known.saw("", &node.metadata.name);
                    self.state.lock().put_node(node, &mut changed)
                }
                watcher::Event::Delete(node) => {
                    known.lost("", &node.metadata.name);
                    self.state.lock().remove_node(node.metadata.name, &mut changed);
                    true
                }
                watcher::Event::InitDone => {
                    is_listing = false;
                    for (_, name) in known.unseen() {
                        self.state.lock().remove_node(name, &mut changed);
                    }
                    true
                }
            };
            if !is_listing && !changed.is_empty() {
                self.judge_pods_on(&std::mem::take(&mut changed));
            }
            if is_news {
                self.is_changed.store(true, Relaxed);
            }
        }
    }

    /// Judges the pods again that are on these nodes and not healthy.
    fn judge_pods_on(&self, names: &HashSet<String>) {
        self.judge_active(|pod| names.contains(pod.node));
    }

    /// Judges the pods again whose workloads say something else of themselves.
    fn judge_reowned(&self) {
        let reowned = std::mem::take(&mut self.state.lock().reowned);
        if !reowned.is_empty() {
            self.judge_active(|pod| reowned.contains(&**pod.workload_key));
        }
    }

    /// Pods that were seen before their Job belong to its CronJob.
    fn find_cron_jobs(&self) {
        let of_jobs: Vec<Uid> = {
            let incidents = self.incidents.read();
            let pods = incidents.active_pods();
            pods.filter(|pod| pod.workload_key.workload.kind == "Job").map(|pod| pod.uid).collect()
        };
        for uid in of_jobs {
            let now = self.now();
            let state = self.state.lock();
            let mut incidents = self.incidents.write();
            let Some(active) = incidents.pod(uid) else { continue };
            let pod = active.pod();
            let workload = state.world.owners.workload_of(&pod);
            if workload == active.workload_key.workload {
                continue;
            }
            let diagnosis = state.judge(&self.metrics, &pod, &workload, now);
            let events = incidents.apply(&pod, &workload, diagnosis, FirstSeen::CatchingUp, now);
            drop(incidents);
            drop(state);
            self.happened(&events);
        }
    }

    fn judge_active(&self, which: impl Fn(&ActivePod<'_>) -> bool) {
        let pods: Vec<Uid> = {
            let incidents = self.incidents.read();
            incidents.active_pods().filter(which).map(|p| p.uid).collect()
        };
        for uid in pods {
            self.judge_again(uid, false);
        }
    }

    /// Judges workloads and nodes, if there is a reason to.
    fn judge_workloads_and_nodes(&self) {
        let now = self.now();
        let mut last = self.workloads_and_nodes.lock();
        let due = last.recheck.is_some_and(|at| at <= now);
        let is_early =
            last.judged.is_some_and(|(at, took)| at.elapsed() < JUDGE_EVERY.max(took * JUDGE_SHARE));
        if is_early || !self.is_changed.swap(false, Relaxed) && !due {
            return;
        }
        let began = Instant::now();
        let events = self.state.lock().events_of_lacking();
        let pods = ActivePods::of(self, events);
        let state = self.state.lock();
        let (findings, recheck) =
            state.world.judge_workloads_and_nodes(&pods, &mut state.rules(&self.metrics, now), now);
        let mut by_uid: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in findings {
            by_uid.entry(finding.uid.clone()).or_default().push(finding);
        }
        let served = state.world.owners.served_by_older_revisions().into_iter();
        let served = served.map(|(namespace, name, pods)| {
            let workload = WorkloadRef { kind: "Deployment".to_owned(), name: name.to_owned() };
            (WorkloadKey { namespace: namespace.to_owned(), workload }, pods)
        });
        let served = served.collect();
        let mut incidents = self.incidents.write();
        incidents.set_served_by_older(served);
        let mut events = Vec::new();
        for (uid, old) in last.findings.iter().filter(|(uid, _)| !by_uid.contains_key(*uid)) {
            events.extend(if state.exists(old) {
                incidents.apply_workload_or_node(uid, Vec::new(), now)
            } else {
                incidents.workload_or_node_gone(uid, now)
            });
        }
        for (uid, findings) in &by_uid {
            events.extend(incidents.apply_workload_or_node(uid, findings.clone(), now));
        }
        drop(incidents);
        drop(state);
        *last = WorkloadsAndNodes { findings: by_uid, recheck, judged: Some((began, began.elapsed())) };
        drop(last);
        self.announcer.announce(&events);
    }

    /// The findings of these pods, always in the same order.
    fn findings_of<'u>(&self, uids: impl Iterator<Item = &'u Uid>) -> Vec<Finding> {
        let uids: Vec<Uid> = uids.copied().collect();
        let mut findings = Vec::new();
        self.in_chunks(&uids, |pod| findings.extend(pod.findings.iter().map(|f| f.finding())));
        findings.sort_by(survey::worst_first);
        findings
    }

    fn active_uids(&self) -> Vec<Uid> {
        self.incidents.read().active_uids().collect()
    }

    /// Looks at these pods, some at a time, so that no update waits.
    fn in_chunks(&self, uids: &[Uid], mut look: impl FnMut(ActivePod<'_>)) {
        const CHUNK: usize = 200;
        for chunk in uids.chunks(CHUNK) {
            let incidents = self.incidents.read();
            chunk.iter().filter_map(|uid| incidents.pod(*uid)).for_each(&mut look);
        }
    }

    /// What `diagnose -A -o json` would print, a page of it. Findings are unpacked one at a time, and only those of the page
    /// are kept: in a storm there are tens of thousands.
    pub(super) fn document(&self, wanted: &page::Wanted, instance: &Instance) -> Result<String, BadToken> {
        let mut page = Page::<FindingKey, Arc<CompactFinding>>::new(wanted)?;
        let mut tally = Tally::default();
        let uids = self.active_uids();
        let mut findings = Vec::new();
        for chunk in uids.chunks(100) {
            self.in_chunks(chunk, |pod| findings.extend(pod.findings.iter().map(Arc::clone).enumerate()));
            for (number, compact) in findings.drain(..) {
                let finding = compact.finding();
                tally.add(&finding);
                page.offer(key_of(finding, number), || compact);
            }
        }
        let last = self.workloads_and_nodes.lock();
        for (number, finding) in last.findings.values().flatten().enumerate() {
            tally.add(finding);
            page.offer(key_of(finding.clone(), number), || Arc::new(CompactFinding::new(finding)));
        }
        drop(last);
        let pods = self.incidents.read().pods();
        let mut sources = self.state.lock().world.sources;
        sources.owners &= self.metrics.sources.is_synced(OWNERS);
        sources.nodes &= self.metrics.sources.is_synced(&["nodes"]);
        let snapshot = Snapshot { sources, ..Snapshot::default() };
        let (findings, next) = page.done(|compact| compact.size());
        let findings = findings.iter().map(|compact| compact.finding()).collect();
        let mut survey = Survey::of(findings, pods, self.now());
        survey.summary = tally.summary(pods);
        let notes: Vec<String> = instance.note().into_iter().collect();
        let look = report::Look {
            cluster: &instance.cluster,
            error: "",
            survey: &survey,
            snapshot: &snapshot,
            notes: &notes,
        };
        Ok(report::json_page(&look, next.as_deref()))
    }
}

/// The place of a finding in a diagnosis, as [`survey::worst_first`] has it.
fn key_of(f: Finding, number: usize) -> FindingKey {
    let workload = f.workload.map(|w| (w.kind, w.name));
    let reason = f.reason.as_str().to_owned();
    (
        Reverse(f.severity as u8),
        f.stage.place(),
        reason,
        f.namespace,
        f.pod,
        workload,
        f.container,
        f.uid,
        number,
    )
}

/// The pods of the incidents, as far as workloads and nodes are judged by them.
struct ActivePods<'e> {
    engine: &'e Engine,
    /// Those with findings, by where they belong.
    by_workload: HashMap<Arc<WorkloadKey>, Vec<Uid>>,
    terminations: Vec<(String, EndedWithNode)>,
    events: HashMap<Uid, Vec<Event>>,
}

impl<'e> ActivePods<'e> {
    fn of(engine: &'e Engine, events: HashMap<Uid, Vec<Event>>) -> Self {
        let (mut by_workload, mut terminations) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        engine.in_chunks(&engine.active_uids(), |pod| {
            if !pod.findings.is_empty() {
                by_workload.entry(Arc::clone(pod.workload_key)).or_default().push(pod.uid);
            }
            terminations.extend(pod.ended_with_node.map(|at| (pod.node.to_owned(), at)));
        });
        terminations.sort_unstable();
        Self { engine, by_workload, terminations, events }
    }
}

impl Pods for ActivePods<'_> {
    fn findings_of(&self, namespace: &str, workload: &WorkloadRef) -> Vec<Finding> {
        let workload_key = WorkloadKey::new(namespace, workload);
        self.engine.findings_of(self.by_workload.get(&workload_key).into_iter().flatten())
    }

    fn on_node(&self, node: &str) -> usize {
        let incidents = self.engine.incidents.read();
        incidents.pods_on(node) as usize
    }

    fn terminations_with_node(&self) -> Vec<(String, EndedWithNode)> {
        self.terminations.clone()
    }

    fn events_of(&self, uid: &str) -> Cow<'_, [Event]> {
        self.events.get(&Uid::of(uid)).map(Cow::from).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::watch::WatchScope;
    use crate::daemon::Target;
    use crate::diagnosis::{self, workload_of};

    #[tokio::test(start_paused = true)]
    async fn what_a_full_queue_drops_is_asked_for_at_the_next_look_its_surroundings_included() {
        let incidents = Arc::new(RwLock::new(Incidents::new()));
        let target =
            Target::Client(crate::simulator::client(&crate::simulator::Cluster::new()), String::new());
        let settings = Settings::new(target);
        let engine = Engine::new(
            &settings,
            Arc::clone(&incidents),
            Arc::new(Metrics::new(100).unwrap()),
            Queue::default(),
        );
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
        let diagnosis = diagnosis::diagnose(&pod, &diagnosis::Context::pod_only(), now);
        assert!(diagnosis.findings.iter().any(Finding::wants_node_events));
        engine.incidents.write().apply(&pod, &workload_of(&pod), diagnosis, FirstSeen::Later, now);
        let look = || {
            let incidents = engine.incidents.write();
            let active = incidents.pod(Uid::of("a"));
            let job = engine.state.lock().wants_evidence(&pod, active, false, |ns| engine.may_ask(ns));
            drop(incidents);
            let made = job.is_some();
            engine.ask(job);
            made
        };

        let other = || Job::of_workload(Uid::of("other"), "shop", "other", "other");
        let full = (0..).take_while(|_| engine.jobs.push(other()).is_none()).count();
        // Made while there was room, and dropped since there is none any more.
        let job = {
            let incidents = engine.incidents.write();
            engine.state.lock().wants_evidence(&pod, incidents.pod(Uid::of("a")), false, |_| true)
        };
        assert_eq!(job.as_ref().and_then(|j| j.node.as_deref()), Some("node-a"));
        engine.ask(job);
        assert!(!look(), "a job is made up for a queue that is full");

        for _ in 0..full {
            drop(engine.jobs.pop().await);
        }
        assert!(look());
        assert_eq!(engine.jobs.pop().await.node.as_deref(), Some("node-a"));
        assert!(engine.state.lock().node_events.contains_key("node-a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_without_a_node_that_is_seen_before_the_nodes_is_judged_again_when_they_come() {
        let jobs = Queue::default();
        let target =
            Target::Client(crate::simulator::client(&crate::simulator::Cluster::new()), String::new());
        let mut settings = Settings::new(target);
        settings.clock = Arc::new(|| "2026-11-22T10:10:00Z".parse().unwrap());
        let incidents = Arc::new(RwLock::new(Incidents::new()));
        let engine = Arc::new(Engine::new(
            &settings,
            Arc::clone(&incidents),
            Arc::new(Metrics::new(100).unwrap()),
            jobs,
        ));
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "cart", "uid": "a", "creationTimestamp": "2026-11-22T10:00:00Z"},
            "spec": {"containers": [{"name": "cart", "image": "cart:1"}]},
            "status": {"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "lastTransitionTime": "2026-11-22T10:00:00Z",
                "message": "0/1 nodes are available: 1 node(s) had untolerated taint(s)."}]}
        }))
        .unwrap();
        let node = |taint: &str| -> Node {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "node-a", "uid": "n"},
                "spec": {"taints": [{"key": taint, "effect": "NoSchedule"}]}
            }))
            .unwrap()
        };
        let summary = || {
            let incidents = incidents.read();
            incidents.open().map(|i| i.finding().summary.clone()).collect::<Vec<_>>().concat()
        };
        let watch = Watch::new(Resource::PODS, WatchScope::default(), settings.watch);
        let mut pods = Arc::clone(&engine).pods(&watch);
        for event in [watcher::Event::Init, watcher::Event::InitApply(pod), watcher::Event::InitDone] {
            pods(event);
        }
        assert!(summary().contains("untolerated taint"), "{}", summary());
        let mut nodes = Arc::clone(&engine).nodes();
        for event in [watcher::Event::Init, watcher::Event::InitApply(node("gpu")), watcher::Event::InitDone]
        {
            nodes(event);
        }
        assert!(summary().contains("node-a has the taint gpu"), "{}", summary());
        nodes(watcher::Event::Apply(node("spot")));
        assert!(summary().contains("node-a has the taint spot"), "{}", summary());
    }
}
