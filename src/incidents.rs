//! Findings over time: incidents that open, change and resolve; every termination of a container counted once.
//!
//! One writer. [`Incidents::apply`] takes in what a watch shows of a pod and what the analyzer says of it, in that order of
//! things: count the terminations, reconcile the incidents, keep the pod if it is active. Nothing here walks over all pods but
//! the end of a list ([`Incidents::sweep`]).
//!
//! What an incident shows (reason, since) is that of the newest finding, a pure function of the API's objects: a restart of
//! this program loses nothing but counters and the memory of slow flappers ([`frequent`]).
//!
//! Pure: must not know how pods come in, who reads it, or read a clock. See `docs/termination-accounting.md`.

pub mod accounting;
pub mod changes;
pub mod compact;
mod ending;
pub mod frequent;
pub mod history;
pub mod incident;
pub mod steady;
pub mod store;
pub mod terminations;
pub mod timeline;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;
use jiff::{SignedDuration, Timestamp};

use crate::diagnosis::container::{View, views};
use crate::diagnosis::{Family, Finding, PodDiagnosis, Reason, Severity, Stage, WorkloadRef, nodes};
use crate::objects::{Packed, Pod};
use accounting::{Termination, TerminationReason};
use changes::{Change, Changes};
use compact::CompactFinding;
use ending::{departed, over};
use frequent::LongRun;
use history::History;
use incident::NewFinding;
pub use incident::{Ending, Incident, IncidentEvent, IncidentId, What};
use store::{Identity, Mark, Record, Store, Uid, WorkloadKey};
use terminations::Terminations;

/// How long the newest termination of a container is shown by `kubehealer_container_last_termination_timestamp_seconds`.
pub const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// Resolved incidents that are remembered, unless they are too long.
pub const REMEMBERED: usize = 500;
/// Bytes of their texts at most.
pub const REMEMBERED_BYTES: usize = 1 << 20;
/// How long a look that time alone asks for is put off: what announces the change is often just on its way.
const SLACK: SignedDuration = SignedDuration::from_secs(2);
/// Clocks of the API server and of this process may differ by this much.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How a pod was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSeen {
    /// In the first list of its watch: it existed before, and its past is not counted.
    InFirstList,
    /// By a watch that shows what was missed, so that its next state may be a moment away.
    CatchingUp,
    /// In any later list or update.
    Later,
}

/// What is kept of an active pod: one that fails, or that must be looked at again.
#[derive(Debug)]
pub struct Active {
    place: u64,
    pod: Packed<Pod>,
    /// All that is found now, graces and recoveries included.
    findings: Vec<Arc<CompactFinding>>,
    incidents: Vec<Incident>,
    long_runs: Vec<LongRun>,
    recheck: Option<Timestamp>,
    recent: Box<[RecentTermination]>,
    ended_with_node: Option<nodes::EndedWithNode>,
}

/// A termination of a container that is shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentTermination {
    pub container: Box<str>,
    pub reason: TerminationReason,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct ActivePod<'a> {
    pub uid: Uid,
    /// Its namespace and workload.
    pub workload_key: &'a Arc<WorkloadKey>,
    pub name: &'a str,
    /// Where it runs; empty until it is scheduled.
    pub node: &'a str,
    /// All that is found now, graces and recoveries included.
    pub findings: &'a [Arc<CompactFinding>],
    pub incidents: &'a [Incident],
    /// When its containers ended as they do when their node restarts, if they did and the pod goes on.
    pub ended_with_node: Option<nodes::EndedWithNode>,
    recent: &'a [RecentTermination],
    packed: &'a Packed<Pod>,
}

impl<'a> ActivePod<'a> {
    fn of(record: &'a Record<Active>, active: &'a Active) -> Self {
        Self {
            uid: record.uid,
            workload_key: &record.workload_key,
            name: &record.name,
            node: &record.node,
            findings: &active.findings,
            incidents: &active.incidents,
            ended_with_node: active.ended_with_node,
            recent: &active.recent,
            packed: &active.pod,
        }
    }

    /// The pod as it was last shown. Unpacks it, which takes some microseconds.
    pub fn pod(&self) -> Pod {
        self.packed.unpack()
    }

    /// The newest terminations of its containers that were not what was wanted, if they are recent: at most one per reason.
    pub fn recent_terminations(&self, now: Timestamp) -> impl Iterator<Item = &'a RecentTermination> {
        self.recent.iter().filter(move |termination| is_recent(termination.at, now))
    }
}

/// How many incidents there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub critical: usize,
    pub warning: usize,
    pub info: usize,
    /// Those of any severity that do not alert for now.
    pub muted: usize,
}

impl Counts {
    pub fn total(&self) -> usize {
        self.critical + self.warning + self.info
    }

    /// One more with this finding.
    pub fn add(&mut self, compact: &CompactFinding) {
        *self.of(compact.severity) += 1;
        self.muted += usize::from(compact.muted.is_some());
    }

    fn remove(&mut self, compact: &CompactFinding) {
        let count = self.of(compact.severity);
        *count = count.saturating_sub(1);
        self.muted = self.muted.saturating_sub(usize::from(compact.muted.is_some()));
    }

    fn of(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Critical => &mut self.critical,
            Severity::Warning => &mut self.warning,
            Severity::Info => &mut self.info,
        }
    }
}

/// An incident that is over.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// As it was last.
    pub incident: Incident,
    pub ending: Ending,
    pub at: Timestamp,
    /// How it ended, in words.
    pub text: String,
}

impl Resolved {
    fn size(&self) -> usize {
        self.incident.compact.size() + self.incident.timeline.size() + self.text.len()
    }
}

/// The incidents, the counters, and the pods that they are about.
#[derive(Debug, Default)]
pub struct Incidents {
    store: Store<Active>,
    /// The active pods by place, in the order in which they became active.
    active: BTreeMap<u64, Uid>,
    next_place: u64,
    /// Incidents of what is no pod: workloads, nodes.
    workloads_and_nodes: HashMap<Uid, Vec<Incident>>,
    timers: BinaryHeap<Reverse<(Timestamp, Uid)>>,
    terminations: Terminations,
    /// How many pods run on each node.
    on_node: HashMap<Arc<str>, u32>,
    /// When the newest pod of each workload was created, seconds since 1970.
    newest: HashMap<Arc<WorkloadKey>, i64>,
    /// Ready pods of older revisions, of workloads whose newest one is not ready.
    served_by_older: HashMap<WorkloadKey, i32>,
    resolved: VecDeque<Resolved>,
    /// Bytes of the resolved ones.
    remembered: usize,
    counts: Counts,
    changes: Changes,
    history: History,
    stale: u64,
    /// When this process first saw a pod, or a list without one.
    began: Option<Timestamp>,
}

impl Incidents {
    pub fn new() -> Self {
        Self::default()
    }

    /// A pod as a list or a watch shows it, its top controller, and what the analyzer says of it.
    pub fn apply(
        &mut self,
        pod: &Pod,
        workload: &WorkloadRef,
        mut diagnosis: PodDiagnosis,
        seen: FirstSeen,
        now: Timestamp,
    ) -> Vec<IncidentEvent> {
        let began = *self.began.get_or_insert(now);
        let meta = &pod.metadata;
        let uid = uid_of(pod);
        let version = meta.resource_version.parse().unwrap_or(0);
        let runs = nodes::runs(pod);
        let shown = self.store.digest((&pod.spec.node_name, workload, runs, accounting::Shown(pod)));
        if let Some(record) = self.store.see(uid) {
            if version != 0 && version < record.version {
                // An answer from a cache that is behind: what is newer was seen already.
                self.stale += 1;
                return Vec::new();
            }
            // Most updates are of healthy pods, and say nothing that is not known.
            let is_known = record.shown == shown
                && record.active.is_none()
                && diagnosis.findings.is_empty()
                && diagnosis.recheck.is_none()
                && views(pod).all(|v| recent_terminations(pod, v, now).next().is_none());
            if is_known {
                record.version = version;
                return Vec::new();
            }
        }
        let before =
            self.store.get(uid).map(|r| (r.runs.then(|| Arc::clone(&r.node)), Arc::clone(&r.workload_key)));
        let known = before.is_some();
        if seen == FirstSeen::CatchingUp {
            self.hold_replayed(uid, &mut diagnosis, now);
        }
        let (ran_on, was_of) = before.unzip();
        let record = self.store.upsert(Identity {
            uid,
            namespace: &meta.namespace,
            name: &meta.name,
            node: &pod.spec.node_name,
            workload,
        });
        record.version = version;
        record.shown = shown;
        record.runs = runs;
        let workload_key = Arc::clone(&record.workload_key);
        let runs_on = record.runs.then(|| Arc::clone(&record.node));
        self.moved(ran_on.flatten(), runs_on);
        let Some(record) = self.store.get(uid) else { return Vec::new() };

        // A pod that comes into view later and is older than this process was there unseen (its labels or our permissions
        // have changed): its past is as little ours as that of a pod in the first list.
        let created = meta.creation_timestamp.get();
        let older = created.is_some_and(|c| c.checked_add(SKEW).is_ok_and(|c| c < began));
        let ours = known || (seen != FirstSeen::InFirstList && !older);
        let (terminations, memory) = accounting::count(ours.then_some(&*record.counted), pod);
        let is_new =
            memory.len() != record.counted.len() || !memory.iter().all(|m| record.counted.contains(m));
        self.terminated(&workload_key, &terminations, now);
        if is_new {
            self.store.set_counted(uid, memory);
        }
        // When a pod was created does not change.
        let moved = was_of.is_none_or(|was| !Arc::ptr_eq(&was, &workload_key));
        if let Some(created) = created.filter(|_| moved) {
            let newest = self.newest.entry(Arc::clone(&workload_key)).or_insert(i64::MIN);
            *newest = (*newest).max(created.as_second());
        }

        self.settle(
            uid,
            &workload_key,
            Some(pod),
            diagnosis,
            &terminations,
            !known && seen == FirstSeen::InFirstList,
            now,
        )
    }

    /// Another look at a pod that has not changed: time has passed, or there is new evidence.
    pub fn recheck(&mut self, uid: Uid, diagnosis: PodDiagnosis, now: Timestamp) -> Vec<IncidentEvent> {
        let Some(record) = self.store.get(uid) else { return Vec::new() };
        let workload_key = Arc::clone(&record.workload_key);
        self.settle(uid, &workload_key, None, diagnosis, &[], false, now)
    }

    /// The look at a pod that was due is to be made a little later.
    pub fn put_off(&mut self, uid: Uid, now: Timestamp) {
        if let Some(active) = self.store.get_mut(uid).and_then(|r| r.active.as_deref_mut()) {
            active.recheck = Some(now);
            self.set_timer(now, uid);
        }
    }

    /// Holds what time alone has made a failure, unless it is one already.
    fn hold_replayed(&self, uid: Uid, diagnosis: &mut PodDiagnosis, now: Timestamp) {
        let is_open = |finding: &Finding| {
            let id = IncidentId::of(&finding.key());
            self.pod(uid).is_some_and(|pod| pod.incidents.iter().any(|incident| incident.id == id))
        };
        for finding in diagnosis.findings.iter_mut().filter(|f| f.is_active()) {
            let has_grace = finding.reason.known().is_some_and(|r| r.grace() > SignedDuration::ZERO);
            if has_grace && !is_open(finding) {
                finding.stage = Stage::Pending;
                finding.severity = Severity::Info;
                diagnosis.recheck = Some(diagnosis.recheck.map_or(now, |at| at.min(now)));
            }
        }
    }

    /// A pod is gone; `last` is its last state, if that was shown.
    pub fn gone(&mut self, uid: Uid, last: Option<&Pod>, now: Timestamp) -> Vec<IncidentEvent> {
        let Some(record) = self.store.get(uid) else { return Vec::new() };
        let workload_key = Arc::clone(&record.workload_key);
        let mut memory = record.counted.to_vec();
        let mut terminations = Vec::new();
        if let Some(pod) = last {
            (terminations, memory) = accounting::count(Some(&memory), pod);
        }
        terminations.extend(accounting::unobserved(&memory));
        self.terminated(&workload_key, &terminations, now);

        let Some(mut record) = self.store.remove(uid) else { return Vec::new() };
        self.left_node(record.runs.then_some(&*record.node));
        if let Some(active) = &record.active {
            self.active.remove(&active.place);
        }
        let left = self.store.pods_of(&workload_key);
        let newest = self.newest.get(&workload_key).copied();
        if left == 0 {
            self.newest.remove(&workload_key);
        }
        let Some(active) = record.active.as_deref_mut() else { return Vec::new() };
        let was = shown(&active.incidents);
        take_down(&mut active.incidents, &terminations, now);
        let (ending, text) = departed(&active.pod.unpack(), &workload_key.workload, newest, left);
        let events = incident::reconcile(&mut active.incidents, &[], false, now, |_| {
            (ending, format!("the pod is gone: {text}"))
        });
        self.count(&was, &[], &events, Some(&workload_key), now);
        events
    }

    /// All that is known of a workload or a node: its findings, none if there are none any more.
    pub fn apply_workload_or_node(
        &mut self,
        uid: &str,
        findings: Vec<Finding>,
        now: Timestamp,
    ) -> Vec<IncidentEvent> {
        let uid = Uid::of(uid);
        let first = self.began.is_none();
        let findings: Vec<NewFinding> = findings.into_iter().map(NewFinding::new).collect();
        let mut incidents = self.workloads_and_nodes.remove(&uid).unwrap_or_default();
        let was = shown(&incidents);
        let events = incident::reconcile(&mut incidents, &findings, first, now, |f| {
            (Ending::Recovered, format!("{} is over", f.reason.as_str()))
        });
        self.count(&was, &incidents, &events, None, now);
        if !incidents.is_empty() {
            self.workloads_and_nodes.insert(uid, incidents);
        }
        events
    }

    /// A workload or a node is gone.
    pub fn workload_or_node_gone(&mut self, uid: &str, now: Timestamp) -> Vec<IncidentEvent> {
        let Some(mut incidents) = self.workloads_and_nodes.remove(&Uid::of(uid)) else { return Vec::new() };
        let was = shown(&incidents);
        let events = incident::reconcile(&mut incidents, &[], false, now, |_| {
            (Ending::Deleted, "it was deleted".to_owned())
        });
        self.count(&was, &[], &events, None, now);
        events
    }

    /// Which workloads have ready pods of older revisions, and how many, while their newest one is not ready.
    pub fn set_served_by_older(&mut self, served: HashMap<WorkloadKey, i32>) {
        self.served_by_older = served;
    }

    /// How many pods of older revisions of a workload are ready while its newest one is not.
    pub fn served_by_older(&self, workload_key: &WorkloadKey) -> i32 {
        self.served_by_older.get(workload_key).copied().unwrap_or(0)
    }

    /// A list begins.
    pub fn mark(&mut self) -> Mark {
        self.store.mark()
    }

    /// The list that began at `mark` is complete: what it did not show is gone. `namespace` is its scope; none for all.
    pub fn sweep(&mut self, mark: Mark, namespace: Option<&str>, now: Timestamp) -> Vec<IncidentEvent> {
        self.began.get_or_insert(now);
        let unseen = self.store.unseen(mark, namespace);
        unseen.into_iter().flat_map(|uid| self.gone(uid, None, now)).collect()
    }

    /// The pods that time alone may have changed: look at each again ([`pod`](Self::pod), [`recheck`](Self::recheck)).
    pub fn due(&mut self, now: Timestamp) -> Vec<Uid> {
        self.terminations.sweep(now);
        let mut due = Vec::new();
        while let Some(Reverse((at, uid))) = self.timers.peek().copied() {
            if late(at) > now {
                break;
            }
            self.timers.pop();
            let active = self.store.get(uid).and_then(|r| r.active.as_deref());
            // A timer may have been set to this time more than once.
            if active.is_some_and(|a| a.recheck == Some(at)) && due.last() != Some(&uid) {
                due.push(uid);
            }
        }
        due
    }

    /// When [`due`](Self::due) has something, unless anything changes before.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((at, _))| late(*at))
    }

    /// A pod, if it is active.
    pub fn pod(&self, uid: Uid) -> Option<ActivePod<'_>> {
        let record = self.store.get(uid)?;
        Some(ActivePod::of(record, record.active.as_deref()?))
    }

    /// All active pods, in the order in which they became active.
    pub fn active_pods(&self) -> impl Iterator<Item = ActivePod<'_>> {
        self.active_from(0).map(|(_, pod)| pod)
    }

    /// The same from a place on, each with its place: for a reader that does not hold the lock all the time.
    pub fn active_from(&self, place: u64) -> impl Iterator<Item = (u64, ActivePod<'_>)> {
        self.active.range(place..).filter_map(|(place, uid)| Some((*place, self.pod(*uid)?)))
    }

    /// The place that the next pod will have that becomes active.
    pub fn next_place(&self) -> u64 {
        self.next_place
    }

    /// The uids of all active pods, in the order in which they became active.
    pub fn active_uids(&self) -> impl Iterator<Item = Uid> {
        self.active.values().copied()
    }

    /// All open incidents of workloads and nodes, in no order.
    pub fn workloads_and_nodes(&self) -> impl Iterator<Item = &Incident> {
        self.workloads_and_nodes.values().flatten()
    }

    /// All open incidents, in no order.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.active_pods().flat_map(|p| p.incidents).chain(self.workloads_and_nodes())
    }

    /// How many incidents are open.
    pub fn open_count(&self) -> usize {
        self.counts.total()
    }

    /// The same by severity.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The incidents that were resolved last, newest first.
    pub fn resolved(&self) -> impl Iterator<Item = &Resolved> {
        self.resolved.iter()
    }

    /// Which incidents have changed of late.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What happened in the last hours.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.store.pods()
    }

    /// How many pods a workload has.
    pub fn pods_of(&self, workload_key: &WorkloadKey) -> u32 {
        self.store.pods_of(workload_key)
    }

    /// How many pods run on a node, as [`nodes::runs`] tells.
    pub fn pods_on(&self, node: &str) -> u32 {
        self.on_node.get(node).copied().unwrap_or(0)
    }

    fn moved(&mut self, from: Option<Arc<str>>, to: Option<Arc<str>>) {
        if from != to {
            self.left_node(from.as_deref());
            if let Some(node) = to {
                *self.on_node.entry(node).or_default() += 1;
            }
        }
    }

    fn left_node(&mut self, node: Option<&str>) {
        let Some(node) = node else { return };
        if let Some(count) = self.on_node.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.on_node.remove(node);
            }
        }
    }

    /// The counters of terminations.
    pub fn terminations(&self) -> &Terminations {
        &self.terminations
    }

    /// Updates that were older than what was known already.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Reconciles the incidents of a pod and keeps of it what is needed.
    #[expect(clippy::too_many_arguments, reason = "one step of one path")]
    fn settle(
        &mut self,
        uid: Uid,
        workload_key: &Arc<WorkloadKey>,
        pod: Option<&Pod>,
        diagnosis: PodDiagnosis,
        terminations: &[Termination<'_>],
        first: bool,
        now: Timestamp,
    ) -> Vec<IncidentEvent> {
        let Some(record) = self.store.get_mut(uid) else { return Vec::new() };
        let was = record.active.take().map(|a| *a);
        let place = was.as_ref().map(|a| a.place);
        let (packed, mut incidents, mut long_runs, old_recheck) = match was {
            Some(a) => (Some(a.pod), a.incidents, a.long_runs, a.recheck),
            None => (None, Vec::new(), Vec::new(), None),
        };
        // What was packed stands for a pod that has not changed.
        let packed = packed.filter(|_| pod.is_none());
        let unpacked = packed.as_ref().map(Packed::unpack);
        let Some(pod) = pod.or(unpacked.as_ref()) else { return Vec::new() };

        long_runs.extend(terminations.iter().filter_map(LongRun::of));
        frequent::forget(&mut long_runs, now);
        let mut recheck = diagnosis.recheck;
        let mut look_at = |at: Option<Timestamp>| {
            if let Some(at) = at.filter(|at| *at > now) {
                recheck = Some(recheck.map_or(at, |r: Timestamp| r.min(at)));
            }
        };
        let PodDiagnosis { findings, ownership, .. } = diagnosis;
        let mut findings: Vec<NewFinding> = findings.into_iter().map(NewFinding::new).collect();
        let recent: Vec<_> = views(pod).flat_map(|view| recent_terminations(pod, view, now)).collect();
        recent.iter().for_each(|termination| look_at(termination.at.checked_add(RECENT).ok()));
        // A container without a termination has nothing to flap with: the common case.
        for view in views(pod).filter(|view| view.status.restart_count != 0) {
            let flaps = frequent::find(pod, view, &long_runs, &workload_key.workload)
                .map(|(finding, until)| (NewFinding::new(finding), until))
                .or_else(|| still_flaps(&incidents, view, now));
            let Some((found, until)) = flaps else { continue };
            look_at(Some(until));
            let key = found.finding.key();
            if !findings.iter().any(|f| f.compact.stage != Stage::Recovered && f.finding.key() == key) {
                findings.retain(|f| f.finding.key() != key);
                findings.push(found);
            }
        }
        look_at(frequent::recheck(&long_runs));
        hold_forgotten(&mut findings, &incidents, pod);
        findings.iter_mut().for_each(|found| found.belongs_to(&ownership));

        let was = shown(&incidents);
        take_down(&mut incidents, terminations, now);
        let events = incident::reconcile(&mut incidents, &findings, first, now, |finding| {
            let others = self.store.pods_of(workload_key).saturating_sub(1);
            over(pod, finding, &workload_key.workload, self.newest.get(workload_key).copied(), others)
        });
        take_down_newest(&mut incidents, &events, pod, now);
        self.count(&was, &incidents, &events, Some(workload_key), now);

        if findings.is_empty() && incidents.is_empty() && recheck.is_none() && long_runs.is_empty() {
            if let Some(place) = place {
                self.active.remove(&place);
            }
        } else if let Some(record) = self.store.get_mut(uid) {
            let set = recheck.filter(|at| Some(*at) != old_recheck);
            let over = matches!(pod.status.phase.as_str(), "Failed" | "Succeeded");
            let ended_with_node = nodes::ended_with_node(pod).filter(|_| !over);
            // CompactFinding for as long as the failure lasts: no room is left over.
            let mut findings: Vec<_> = findings.into_iter().map(|f| f.compact).collect();
            findings.shrink_to_fit();
            incidents.shrink_to_fit();
            long_runs.shrink_to_fit();
            let place = place.unwrap_or_else(|| {
                self.next_place += 1;
                self.active.insert(self.next_place - 1, uid);
                self.next_place - 1
            });
            record.active = Some(Box::new(Active {
                place,
                pod: packed.unwrap_or_else(|| Packed::new(pod)),
                findings,
                incidents,
                long_runs,
                recheck,
                recent: recent.into(),
                ended_with_node,
            }));
            if let Some(at) = set {
                self.set_timer(at, uid);
            }
        }
        events
    }

    /// A timer that was set to another time meanwhile stays where it is until it is due, or until such ones are too many.
    fn set_timer(&mut self, at: Timestamp, uid: Uid) {
        self.timers.push(Reverse((at, uid)));
        if self.timers.len() > 4 * self.active.len() + 1024 {
            let recheck = |uid| self.store.get(uid)?.active.as_deref()?.recheck;
            let mut timers = std::mem::take(&mut self.timers).into_vec();
            timers.retain(|Reverse((at, uid))| recheck(*uid) == Some(*at));
            timers.sort_unstable();
            timers.dedup();
            timers.shrink_to_fit();
            self.timers = timers.into();
        }
    }

    /// Containers of a pod have terminated.
    fn terminated(
        &mut self,
        workload_key: &Arc<WorkloadKey>,
        terminations: &[Termination<'_>],
        now: Timestamp,
    ) {
        for termination in terminations {
            self.terminations.add(workload_key, termination, now);
            self.history.note(Some(workload_key), now, |bucket| bucket.terminated(termination));
        }
    }

    /// Takes down what has become of the incidents of one object.
    fn count(
        &mut self,
        was: &[(IncidentId, Arc<CompactFinding>)],
        is: &[Incident],
        events: &[IncidentEvent],
        workload_key: Option<&Arc<WorkloadKey>>,
        now: Timestamp,
    ) {
        was.iter().for_each(|(_, compact)| self.counts.remove(compact));
        for incident in is {
            self.counts.add(&incident.compact);
            let before = was.iter().find(|(id, _)| *id == incident.id);
            if before.is_none_or(|(_, before)| *before != incident.compact) {
                let change = if before.is_none() { Change::Opened } else { Change::Updated };
                self.changes.note(incident.id, change);
            }
        }
        for event in events {
            let of_event = || {
                let workload = event.finding.workload.as_ref()?;
                Some(Arc::new(WorkloadKey::new(&event.finding.namespace, workload)))
            };
            let workload_key = workload_key.map(Arc::clone).or_else(of_event);
            match (&event.what, &event.over) {
                (What::Opened, _) => {
                    self.history.note(workload_key.as_ref(), now, |bucket| bucket.opened += 1);
                }
                (What::Resolved(ending), Some(incident)) => {
                    self.history.note(workload_key.as_ref(), now, |bucket| bucket.resolved += 1);
                    self.changes.note(event.id, Change::Resolved);
                    self.remember(Resolved {
                        incident: (**incident).clone(),
                        ending: *ending,
                        at: event.at,
                        text: event.text.clone(),
                    });
                }
                _ => {}
            }
        }
    }

    fn remember(&mut self, resolved: Resolved) {
        self.remembered += resolved.size();
        self.resolved.push_front(resolved);
        while self.resolved.len() > REMEMBERED || self.remembered > REMEMBERED_BYTES {
            let Some(oldest) = self.resolved.pop_back() else { break };
            self.remembered -= oldest.size();
        }
    }
}

/// What is shown of incidents now, to tell what changes.
fn shown(incidents: &[Incident]) -> Vec<(IncidentId, Arc<CompactFinding>)> {
    incidents.iter().map(|incident| (incident.id, Arc::clone(&incident.compact))).collect()
}

/// Notes the terminations of their containers in the timelines of open incidents.
fn take_down(incidents: &mut [Incident], terminations: &[Termination<'_>], now: Timestamp) {
    for incident in incidents {
        let container = &*incident.compact.container;
        let own = terminations.iter().filter(|termination| termination.container == container);
        own.for_each(|termination| incident.timeline.terminated(termination, now));
    }
}

/// The newest termination of a container was before its incident opened, mostly: it is what opened it.
fn take_down_newest(incidents: &mut [Incident], events: &[IncidentEvent], pod: &Pod, now: Timestamp) {
    for event in events.iter().filter(|event| event.what == What::Opened) {
        let Some(incident) = incidents.iter_mut().find(|incident| incident.id == event.id) else { continue };
        let view = views(pod).find(|view| *view.name == *incident.compact.container);
        if let Some(termination) = view.and_then(Termination::newest) {
            incident.timeline.terminated(&termination, now);
        }
    }
}

fn late(at: Timestamp) -> Timestamp {
    at.checked_add(SLACK).unwrap_or(at)
}

/// The uid of a pod; its name where a file has none.
pub fn uid_of(pod: &Pod) -> Uid {
    match pod.metadata.uid.as_str() {
        "" => Uid::of(&format!("{}/{}", pod.metadata.namespace, pod.metadata.name)),
        uid => Uid::of(uid),
    }
}

/// The terminations that a container's status shows, if they are recent and were not what was wanted: at most one per reason, newest
/// first. The past of a pod that is being deleted is of no interest.
fn recent_terminations(pod: &Pod, view: View<'_>, now: Timestamp) -> impl Iterator<Item = RecentTermination> {
    let deleting = pod.metadata.deletion_timestamp.is_known();
    let state = view.status.state.terminated.as_deref();
    let last = view.status.last_state.terminated.as_deref();
    let last = last
        .filter(|l| state.is_none_or(|s| TerminationReason::of_record(s) != TerminationReason::of_record(l)));
    [state, last].into_iter().flatten().filter_map(move |termination| {
        let (reason, at) = (TerminationReason::of_record(termination), termination.finished_at.get()?);
        let shown = !deleting && reason != TerminationReason::Completed && is_recent(at, now);
        shown.then(|| RecentTermination { container: view.name.into(), reason, at })
    })
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < RECENT
}

/// A container that has flapped does so until its last termination is out of the window: its terminations may come a little too seldom for
/// three of them to be within it at all times.
fn still_flaps(incidents: &[Incident], view: View<'_>, now: Timestamp) -> Option<(NewFinding, Timestamp)> {
    let flaps =
        |f: &CompactFinding| *f.container == *view.name && f.reason == Reason::FrequentRestarts.into();
    let compact = incidents.iter().map(|i| &i.compact).find(|f| flaps(f))?;
    let until = view.newest_end()?.finished_at.get()?.checked_add(frequent::WINDOW).ok()?;
    (now < until).then(|| (Arc::clone(compact).into(), until))
}

/// Holds what kept a container from starting. A kubelet that has restarted has forgotten it, and shows the container as being
/// created until it has tried again.
fn hold_forgotten(findings: &mut Vec<NewFinding>, incidents: &[Incident], pod: &Pod) {
    let vague = Reason::PodNotStarted.into();
    for view in views(pod) {
        let is_created = |reason: &str| matches!(reason, "ContainerCreating" | "PodInitializing" | "");
        if !view.waiting().is_some_and(|w| is_created(w.reason.as_str())) {
            continue;
        }
        let started_not = |f: &CompactFinding| {
            *f.container == *view.name && f.reason.known().is_some_and(|r| r.family() == Family::Start)
        };
        let Some(compact) = incidents.iter().map(|i| &i.compact).find(|f| started_not(f)) else { continue };
        let is_known = findings.iter().any(|f| {
            (f.compact.container.is_empty() && f.compact.reason != vague)
                || *f.compact.container == *view.name
        });
        if !is_known {
            findings.retain(|f| f.compact.reason != vague);
            findings.push(Arc::clone(compact).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_not_scaled() {
        for (others, left) in [(0, "no other pod"), (2, "2 other pods")] {
            let job = WorkloadRef { kind: "Job".into(), name: "import".into() };
            let (ending, text) = departed(&Pod::default(), &job, None, others);
            let wanted =
                format!("Job/import has {left}, so the Job has finished, was deleted, or is about to retry");
            assert_eq!((ending, text), (Ending::Deleted, wanted));
        }
    }

    #[test]
    fn timers_that_are_set_anew_with_every_update_do_not_pile_up() {
        let mut incidents = Incidents::new();
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let mut pod = Pod::default();
        pod.metadata.uid = "a".to_owned();
        let workload = WorkloadRef { kind: "Pod".to_owned(), name: "a".to_owned() };
        let at = |n: i64| now + SignedDuration::from_secs(60 + n % 100);
        for n in 0..10_000 {
            let diagnosis = PodDiagnosis { recheck: Some(at(n)), ..PodDiagnosis::default() };
            incidents.apply(&pod, &workload, diagnosis, FirstSeen::Later, now);
            assert!(incidents.timers.len() < 2_000, "{}", incidents.timers.len());
        }
        assert_eq!(incidents.due(at(9_999) + SLACK), [Uid::of("a")]);
    }
}
