//! What the daemon knows of the cluster besides the pods, and which evidence it has asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::evidence::{Events, Evidence, Job, Siblings};
use crate::diagnosis::{
    Change, Finding, Mute, Ownership, PodDiagnosis, Reason, Start, Subject, WorkloadRef, World, nodes, world,
};
use crate::incidents::store::{Uid, WorkloadKey};
use crate::incidents::{ActivePod, Incidents, uid_of};
use crate::metrics::Metrics;
use crate::objects::{Event, Node, ObjectMeta, Packed, Pod, Time};
use crate::rules::{EvaluationError, RuleSet};

/// What is known besides the pods.
pub(super) struct ClusterState {
    /// Owners, nodes, sources.
    pub(super) world: World,
    /// The user's own rules.
    pub(super) rules: Arc<RuleSet>,
    pub(super) evidence: HashMap<Uid, Evidence>,
    /// What events say about nodes on which containers were killed, and when they were asked for.
    pub(super) node_events: HashMap<String, (Packed<Events>, Instant)>,
    /// How long the pods take to start of revisions of which a probe kills some, and when they were asked for.
    starts: HashMap<Uid, (Vec<Start>, Instant)>,
    /// What revisions changed of which pods fail, and when they were asked for.
    changes: HashMap<Uid, (Option<Change>, Instant)>,
    /// Workloads that lack pods (or Jobs), by uid: their events are read, and read again, until they have them.
    pub(super) lacking: HashMap<Uid, Lacking>,
    /// Workloads that say something else of themselves than when their pods were judged: whose they are, what is muted.
    pub(super) reowned: HashSet<WorkloadKey>,
    /// Why which mutes do not count, as it was logged.
    refused: HashMap<Uid, String>,
}

/// Refused mutes that are remembered.
const MAX_REFUSED: usize = 1_000;

/// A workload that lacks pods, or Jobs.
pub(super) struct Lacking {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
}

/// How old evidence may be before a pod that is judged again gets fresh one.
const EVIDENCE_AGE: Duration = Duration::from_secs(60);
/// The same of how long the pods of a revision take to start: it seldom changes, and is a list of pods.
const STARTS_AGE: Duration = Duration::from_secs(600);
/// How long what was read about nodes and revisions is kept when nothing asks for it any more. Events live as long.
const MAX_EVIDENCE_AGE: Duration = Duration::from_secs(3600);

impl ClusterState {
    pub(super) fn new(world: World, rules: Arc<RuleSet>) -> Self {
        Self {
            world,
            rules,
            evidence: HashMap::new(),
            node_events: HashMap::new(),
            starts: HashMap::new(),
            changes: HashMap::new(),
            lacking: HashMap::new(),
            reowned: HashSet::new(),
            refused: HashMap::new(),
        }
    }

    /// Takes down whether only events can tell why a workload does not get what it should create: a StatefulSet, a DaemonSet,
    /// a ReplicaSet of its own or a Job without its pods, a CronJob without its Jobs.
    pub(super) fn wants_events(&mut self, kind: &'static str, meta: &ObjectMeta, wants: bool) {
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

    /// An owner is there, new or changed, and is not taken in yet.
    pub(super) fn heard_of(&mut self, kind: &str, meta: &ObjectMeta, now: Timestamp) {
        self.check_mute(kind, meta, now);
        let workload = WorkloadRef { kind: kind.to_owned(), name: meta.name.clone() };
        let labels = &self.world.owner_labels;
        let says = |meta: &ObjectMeta| Ownership::of(labels, Some(meta), None, now);
        let before = self.world.owners.meta(&meta.namespace, &workload).map(says).unwrap_or_default();
        if says(meta) != before {
            self.reowned.insert(WorkloadKey { namespace: meta.namespace.clone(), workload });
        }
    }

    /// Logs that a mute does not count, once.
    pub(super) fn check_mute(&mut self, kind: &str, meta: &ObjectMeta, now: Timestamp) {
        let uid = Uid::of(&meta.uid);
        let Err(why) = Mute::of(meta, now) else {
            self.refused.remove(&uid);
            return;
        };
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        if self.refused.insert(uid, why.clone()).as_ref() != Some(&why) {
            let object = format!("{kind}/{}", meta.name);
            tracing::warn!(
                namespace = meta.namespace,
                object,
                why,
                "invalid mute-until: ignoring the mute, incidents still alert"
            );
        }
    }

    /// An owner is gone.
    pub(super) fn forget(&mut self, kind: &str, namespace: &str, name: &str) {
        self.world.owners.remove(kind, namespace, name);
        let Self { lacking, evidence, .. } = self;
        lacking.retain(|uid, of| {
            let gone = of.kind == kind && of.namespace == namespace && of.name == name;
            if gone {
                evidence.remove(uid);
            }
            !gone
        });
    }

    /// Judges a pod with all that is known.
    pub(super) fn judge(
        &self,
        metrics: &Metrics,
        pod: &Pod,
        workload: &WorkloadRef,
        now: Timestamp,
    ) -> PodDiagnosis {
        let of_pod = self.evidence.get(&uid_of(pod));
        let events = of_pod.map(Evidence::events).unwrap_or_default();
        let claim_events = of_pod.map(Evidence::claim_events).unwrap_or_default();
        let node_events = self.node_events.get(&pod.spec.node_name);
        let node_events = node_events.map(|(events, _)| events.unpack().items).unwrap_or_default();
        let is_compared = !self.starts.is_empty() || !self.changes.is_empty();
        let revision = is_compared.then(|| Siblings::of(pod)).flatten().map(|siblings| siblings.revision);
        let starts = revision.and_then(|r| self.starts.get(&r)).map(|(starts, _)| starts.as_slice());
        let evidence = world::Evidence {
            events: &events,
            claim_events: &claim_events,
            node_events: &node_events,
            logs: of_pod.map_or(&[], |e| &e.logs),
            starts: starts.unwrap_or_default(),
            change: revision.and_then(|r| self.changes.get(&r)).and_then(|(change, _)| change.as_ref()),
        };
        self.world.judge(pod, workload, &evidence, &mut self.rules(metrics, now), now)
    }

    /// The user's own rules, which count what they do.
    pub(super) fn rules<'r>(
        &'r self,
        metrics: &'r Metrics,
        now: Timestamp,
    ) -> impl FnMut(Option<world::Subject<'_>>, Vec<Finding>) -> (Vec<Finding>, Option<Timestamp>) + 'r {
        move |subject, findings| {
            if self.rules.is_empty() {
                return (findings, None);
            }
            let applied = self.rules.judge(subject, findings, now);
            log_rule_errors(&metrics.sources.count_rules(&applied));
            (applied.findings, applied.recheck)
        }
    }

    /// Evidence is asked for: it is not asked for again soon.
    pub(super) fn asked(
        &mut self,
        uid: Uid,
        node: Option<String>,
        revision: Option<Uid>,
        compared: Option<Uid>,
    ) {
        let now = Instant::now();
        self.evidence.entry(uid).or_default().asked = Some(now);
        if let Some(node) = node {
            self.node_events.entry(node).or_insert_with(|| (Packed::default(), now)).1 = now;
        }
        if let Some(revision) = revision {
            self.starts.entry(revision).or_insert_with(|| (Vec::new(), now)).1 = now;
        }
        if let Some(revision) = compared {
            self.changes.entry(revision).or_insert((None, now)).1 = now;
        }
    }

    /// What was asked for is not coming: it may be asked for again.
    pub(super) fn not_asked(&mut self, uid: Uid) {
        if let Some(evidence) = self.evidence.get_mut(&uid) {
            evidence.asked = None;
        }
    }

    /// Events about a node have come. Whether they say something new.
    pub(super) fn put_node_events(&mut self, node: &str, events: Packed<Events>) -> bool {
        self.node_events.retain(|_, (_, asked)| asked.elapsed() < MAX_EVIDENCE_AGE);
        let Some((known, _)) = self.node_events.get_mut(node) else { return false };
        let is_new = *known != events;
        *known = events;
        is_new
    }

    /// It is known how long the pods of a revision take to start.
    pub(super) fn put_starts(&mut self, revision: Uid, starts: Vec<Start>) {
        self.starts.retain(|_, (_, asked)| asked.elapsed() < MAX_EVIDENCE_AGE);
        if let Some((known, _)) = self.starts.get_mut(&revision) {
            *known = starts;
        }
    }

    /// It is known what a revision changed.
    pub(super) fn put_change(&mut self, revision: Uid, change: Change) {
        self.changes.retain(|_, (_, asked)| asked.elapsed() < MAX_EVIDENCE_AGE);
        if let Some((known, _)) = self.changes.get_mut(&revision) {
            *known = Some(change);
        }
    }

    /// A node is there; whether it says anything new. Whose pods are to be judged again is added: the node's name, or "" for the
    /// pods that have no node.
    pub(super) fn put_node(&mut self, mut node: Node, changed: &mut HashSet<String>) -> bool {
        // A heartbeat alone is no news: each node sends one every few minutes, and there may be very many nodes.
        node.metadata.resource_version.clear();
        node.status.conditions.iter_mut().for_each(|c| c.last_heartbeat_time = Time::default());
        if self.world.node(&node.metadata.name) == Some(&node) {
            return false;
        }
        let (name, spec) = (node.metadata.name.clone(), node.spec.clone());
        let condition = (nodes::is_down(&node), nodes::has_problem(&node));
        let old = self.world.put_node(node);
        if old.as_ref().is_none_or(|old| old.spec != spec) {
            // Taints tell why a pod has no node.
            changed.insert(String::new());
        }
        if old.as_ref().map(|old| (nodes::is_down(old), nodes::has_problem(old))) != Some(condition) {
            changed.insert(name);
        }
        true
    }

    /// A node is gone.
    pub(super) fn remove_node(&mut self, name: String, changed: &mut HashSet<String>) {
        let old = self.world.remove_node(&name);
        self.node_events.remove(&name);
        changed.insert(String::new());
        if old.as_ref().is_some_and(|old| nodes::is_down(old) || nodes::has_problem(old)) {
            changed.insert(name);
        }
    }

    /// The workloads whose events are to be read again.
    pub(super) fn lacking(&self) -> Vec<Job> {
        if !self.world.sources.events {
            return Vec::new();
        }
        let wanting = self.lacking.iter().filter(|(uid, _)| {
            let asked = self.evidence.get(uid).and_then(|e| e.asked);
            asked.is_none_or(|at| at.elapsed() >= EVIDENCE_AGE)
        });
        wanting.map(|(uid, of)| Job::of_workload(*uid, &of.namespace, &of.name, &of.uid)).collect()
    }

    /// The events about the workloads that lack pods.
    pub(super) fn events_of_lacking(&self) -> HashMap<Uid, Vec<Event>> {
        let events = self.lacking.keys().filter_map(|uid| Some((*uid, self.evidence.get(uid)?.events())));
        events.collect()
    }

    /// Forgets the evidence about pods that are gone or healthy.
    pub(super) fn forget_evidence(&mut self, incidents: &Incidents) {
        let Self { evidence, lacking, .. } = self;
        evidence.retain(|uid, _| incidents.pod(*uid).is_some() || lacking.contains_key(uid));
    }

    /// The job to be done for a pod, if it is active: at once when something has happened to it, when what is known has grown
    /// old, and when it has become possible to compare its revision with the one before.
    pub(super) fn wants_evidence(
        &mut self,
        pod: &Pod,
        active: Option<ActivePod<'_>>,
        at_once: bool,
        may_ask: impl FnOnce(&str) -> bool,
    ) -> Option<Job> {
        if !self.world.sources.events && !self.world.sources.logs {
            return None;
        }
        let uid = uid_of(pod);
        let Some(active) = active else {
            self.evidence.remove(&uid);
            return None;
        };
        if active.findings.is_empty() {
            return None;
        }
        let now = Instant::now();
        let age = if at_once { Duration::from_secs(5) } else { EVIDENCE_AGE };
        let asked = self.evidence.get(&uid).and_then(|e| e.asked);
        let compared = self.wanted_revisions(pod, now);
        let is_known = compared.is_none() && asked.is_some_and(|at| now.duration_since(at) < age);
        if is_known || !may_ask(&active.workload_key.namespace) {
            return None;
        }
        let findings: Vec<Finding> = active.findings.iter().map(|f| f.finding()).collect();
        Some(Job {
            node: self.wanted_node(pod, &findings, now),
            siblings: self.wanted_siblings(pod, &findings, now),
            compared,
            ..Job::of(pod, &findings, self.world.sources)
        })
    }

    /// The node whose events are to be read for these findings, unless that was done of late: many containers that were
    /// killed on one node are one question.
    fn wanted_node(&self, pod: &Pod, findings: &[Finding], now: Instant) -> Option<String> {
        let name = &pod.spec.node_name;
        let readable = self.world.sources.events && self.world.sources.nodes && !name.is_empty();
        if !readable || !findings.iter().any(Finding::wants_node_events) {
            return None;
        }
        let known = self.node_events.get(name);
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

    /// The ReplicaSets whose templates tell what the revision of a pod changed, unless they were compared of late.
    fn wanted_revisions(&self, pod: &Pod, now: Instant) -> Option<(Uid, [String; 2])> {
        let revision = Siblings::of(pod)?.revision;
        let known = self.changes.get(&revision);
        if known.is_some_and(|(_, asked)| now.duration_since(*asked) < MAX_EVIDENCE_AGE) {
            return None;
        }
        let sets = self.world.owners.revisions_of(pod)?;
        Some((revision, sets.map(|set| set.metadata.name.clone())))
    }

    /// Whether a workload or node with these findings is still there.
    pub(super) fn exists(&self, findings: &[Finding]) -> bool {
        let owners = &self.world.owners;
        findings.first().is_some_and(|f| match (&f.workload, f.reason.known().map(Reason::subject)) {
            (_, Some(Subject::Node)) => self.world.node(&f.node).is_some(),
            (Some(w), _) => {
                owners.get(&w.kind, &f.namespace, &w.name).is_some()
                    || owners.job(&f.namespace, &w.name).is_some()
            }
            (None, _) => false,
        })
    }
}

fn log_rule_errors(errors: &[EvaluationError]) {
    for error in errors {
        tracing::warn!(rule = &*error.rule, error = &*error.message, "cannot evaluate the rule");
    }
}

/// The objects that a watch has shown, to tell what a list does not show any more.
#[derive(Default)]
pub(super) struct SeenSet {
    /// Namespace and name to the number of the list in which it was seen last.
    seen: HashMap<(String, String), u32>,
    list: u32,
}

impl SeenSet {
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    pub(super) fn saw(&mut self, namespace: &str, name: &str) {
        self.seen.insert((namespace.to_owned(), name.to_owned()), self.list);
    }

    pub(super) fn lost(&mut self, namespace: &str, name: &str) {
        self.seen.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn unseen(&mut self) -> Vec<(String, String)> {
        let list = self.list;
        self.seen.extract_if(|_, seen| *seen != list).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnosis::Sources;

    #[test]
    fn a_heartbeat_of_a_node_is_no_news() {
        let mut state = ClusterState::new(World::new(Sources::NONE), Arc::default());
        let mut put = |version: &str, heartbeat: &str, ready: &str| {
            let node = json!({"metadata": {"name": "node-a", "resourceVersion": version}, "status": {"conditions": [
                {"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat, "lastTransitionTime": "2026-11-22T10:00:00Z"}]}});
            state.put_node(serde_json::from_value(node).unwrap(), &mut HashSet::new())
        };
        assert!(put("1", "2026-11-22T10:00:00Z", "True"));
        assert!(!put("2", "2026-11-22T10:05:00Z", "True"));
        assert!(put("3", "2026-11-22T10:10:00Z", "False"));
    }
}
