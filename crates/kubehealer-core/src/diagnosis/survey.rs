//! A look at many pods at once: every pod with its events, sorted worst first, and what several findings share.
//!
//! Pure, like all of the analyzer: whoever has the objects, from a cluster or from files, gets the same survey.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

use jiff::Timestamp;
use serde::Serialize;

use super::changes::Change;
use super::context::{ContainerLog, Sources};
use super::finding::{Finding, Scope, WorkloadRef};
use super::ownership::OwnerLabels;
use super::problems::{self, Problem};
use super::reason::{Reason, Severity};
use super::starts::{Start, revision_of, slowest_starts};
use super::world::{Evidence, Judge, Pods, World};
use super::{nodes, scheduling};
use crate::objects::{
    Annotation, CronJob, Event, Job, Node, Packed, PersistentVolumeClaim, Pod, Revision, Workload,
};

/// Everything that one look sees.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Pods.
    pub pods: Vec<Pod>,
    /// Events of whatever is here.
    pub events: Vec<Packed<Event>>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// ReplicaSets.
    pub replica_sets: Vec<Workload>,
    /// Deployments.
    pub deployments: Vec<Workload>,
    /// StatefulSets.
    pub stateful_sets: Vec<Workload>,
    /// DaemonSets.
    pub daemon_sets: Vec<Workload>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// CronJobs.
    pub cron_jobs: Vec<CronJob>,
    /// Claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The templates of failing revisions and of those before them, as far as they were read.
    pub revisions: Vec<Revision>,
    /// Ends of container logs.
    pub logs: Vec<ContainerLog>,
    /// Which sources could be read at all.
    pub sources: Sources,
    /// Which labels tell whose something is.
    pub owner_labels: OwnerLabels,
    /// What could not be decoded.
    pub undecodable: Vec<Undecodable>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            pods: Vec::new(),
            events: Vec::new(),
            nodes: Vec::new(),
            replica_sets: Vec::new(),
            deployments: Vec::new(),
            stateful_sets: Vec::new(),
            daemon_sets: Vec::new(),
            jobs: Vec::new(),
            cron_jobs: Vec::new(),
            claims: Vec::new(),
            revisions: Vec::new(),
            logs: Vec::new(),
            sources: Sources::NONE,
            owner_labels: OwnerLabels::default(),
            undecodable: Vec::new(),
        }
    }
}

/// A document or list item that could not be decoded: where it stands, and why in words without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Such as `pods.json, line 7`.
    pub place: String,
    /// In words.
    pub why: String,
}

/// What one look at many pods shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// When it was so.
    pub observed_at: Timestamp,
    /// Worst first, but for a cause, which stands before what comes of it; in the same order for the same objects, however they
    /// came in.
    pub findings: Vec<Finding>,
    /// What several findings share, farthest reach first.
    pub problems: Vec<Problem>,
    /// Counts.
    pub summary: Summary,
}

/// Counts over a survey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Pods looked at.
    pub pods: usize,
    /// Pods with a finding above info.
    pub unhealthy_pods: usize,
    /// Findings.
    pub critical: usize,
    /// Findings.
    pub warning: usize,
    /// Findings.
    pub info: usize,
    /// Findings that do not alert for now, of any severity.
    #[serde(skip_serializing_if = "is_none")]
    pub muted: usize,
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

/// Counts findings one at a time and keeps none of them.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    summary: Summary,
    /// Digests of the names of unhealthy pods: there may be tens of thousands.
    unhealthy: HashSet<u64>,
    hasher: RandomState,
}

impl Tally {
    /// Counts a finding.
    pub fn add(&mut self, finding: &Finding) {
        *match finding.severity {
            Severity::Critical => &mut self.summary.critical,
            Severity::Warning => &mut self.summary.warning,
            Severity::Info => &mut self.summary.info,
        } += 1;
        self.summary.muted += usize::from(finding.muted.is_some());
        if finding.severity > Severity::Info && !finding.pod.is_empty() {
            self.unhealthy.insert(self.hasher.hash_one((&finding.namespace, &finding.pod)));
        }
    }

    /// The counts, over so many pods.
    pub fn summary(&self, pods: usize) -> Summary {
        Summary { pods, unhealthy_pods: self.unhealthy.len(), ..self.summary }
    }
}

/// Looks at all of it.
pub fn survey(snapshot: &Snapshot, now: Timestamp) -> Survey {
    survey_with(snapshot, now, &mut |_, findings| (findings, None))
}

/// Looks at all of it, with the user's own rules.
pub fn survey_with(snapshot: &Snapshot, now: Timestamp, rules: &mut Judge<'_>) -> Survey {
    let seen = Seen::of(snapshot);
    let mut world = World::new(snapshot.sources);
    world.owner_labels = snapshot.owner_labels.clone();
    take_owners(&mut world, snapshot);
    snapshot.nodes.iter().for_each(|node| drop(world.put_node(node.clone())));
    let mut findings = Vec::new();
    for pod in &snapshot.pods {
        let (events, logs) = (seen.events_of_pod(pod), seen.logs(pod));
        let claim_events = seen.claim_events(pod, &events);
        let starts = seen.starts(pod);
        let change = seen.change(pod);
        let evidence = Evidence {
            events: &events,
            claim_events: &claim_events,
            node_events: seen.node_events.get(pod.spec.node_name.as_str()).map_or(&[], Vec::as_slice),
            logs,
            starts: &starts,
            change: change.as_ref(),
        };
        let workload = world.owners.workload_of(pod);
        findings.append(&mut world.judge(pod, &workload, &evidence, rules, now).findings);
    }
    // Owners quote the findings of their pods: always the same ones.
    findings.sort_by(worst_first);
    let pods = AllPods::of(&seen, &findings, &snapshot.pods);
    let (of_others, _) = world.judge_workloads_and_nodes(&pods, rules, now);
    findings.extend(of_others);
    Survey::of(findings, snapshot.pods.len(), now)
}

/// What a snapshot has, by what it is about.
struct Seen<'s> {
    events: EventsBy<'s, String>,
    /// A node's are asked for by each of its pods.
    node_events: HashMap<String, Vec<Event>>,
    claim_events: EventsBy<'s, [String; 2]>,
    logs: HashMap<(&'s str, &'s str), Vec<ContainerLog>>,
    /// The longest starts of the revisions of which there are several pods.
    starts: HashMap<RevisionKey<'s>, Vec<Start>>,
    /// By namespace: a pod's own one is looked for.
    revisions: HashMap<&'s str, Vec<&'s Revision>>,
}

type EventsBy<'s, K> = HashMap<K, Vec<&'s Packed<Event>>>;
type RevisionKey<'s> = (&'s str, &'s str, &'static str, &'s str);

impl<'s> Seen<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        // Pods name claims without their uid. Where the claim is known, what was said of one of that name before it is not its.
        let claims: HashMap<(&str, &str), &str> = snapshot
            .claims
            .iter()
            .map(|c| ((c.metadata.namespace.as_str(), c.metadata.name.as_str()), c.metadata.uid.as_str()))
            .collect();
        let (mut events, mut claim_events) = (EventsBy::new(), EventsBy::new());
        let mut node_events: HashMap<String, Vec<Event>> = HashMap::new();
        for packed in &snapshot.events {
            let event = packed.unpack();
            let about = &event.involved_object;
            let (kind, claim) = (about.kind.as_str(), (about.namespace.as_str(), about.name.as_str()));
            if kind == "PersistentVolumeClaim" && claims.get(&claim).is_none_or(|uid| *uid == about.uid) {
                let claim = [about.namespace.clone(), about.name.clone()];
                claim_events.entry(claim).or_default().push(packed);
            }
            // A NodeClaim has no namespace, and pods name it without its uid.
            if kind == "NodeClaim" {
                claim_events.entry([String::new(), about.name.clone()]).or_default().push(packed);
            }
            if !about.uid.is_empty() {
                events.entry(about.uid.clone()).or_default().push(packed);
            }
            // The kubelet gives a node's name for its uid.
            if kind == "Node" {
                node_events.entry(about.name.clone()).or_default().push(event);
            }
        }
        let mut logs: HashMap<(&str, &str), Vec<ContainerLog>> = HashMap::new();
        for log in &snapshot.logs {
            logs.entry((log.namespace.as_str(), log.pod.as_str())).or_default().push(log.clone());
        }
        let mut revisions: HashMap<RevisionKey<'_>, Vec<&Pod>> = HashMap::new();
        for pod in &snapshot.pods {
            if let Some(revision) = revision_of(pod) {
                revisions.entry(revision).or_default().push(pod);
            }
        }
        let starts = revisions.into_iter().filter(|(_, pods)| pods.len() > 1);
        let starts = starts.map(|(revision, pods)| (revision, slowest_starts(pods))).collect();
        let mut revisions: HashMap<&str, Vec<&Revision>> = HashMap::new();
        for revision in &snapshot.revisions {
            revisions.entry(&revision.metadata.namespace).or_default().push(revision);
        }
        Self { events, node_events, claim_events, logs, starts, revisions }
    }

    /// The kubelet writes the events of a static pod under the uid that it knows, not the mirror pod's.
    fn events_of_pod(&self, pod: &Pod) -> Vec<Event> {
        let mirror = pod.metadata.annotation(Annotation::CONFIG_MIRROR).unwrap_or("");
        let uids = [pod.metadata.uid.as_str(), mirror].into_iter().filter(|uid| !uid.is_empty());
        uids.flat_map(|uid| self.events.get(uid).into_iter().flatten()).map(|event| event.unpack()).collect()
    }

    /// Those about the claims of a pod without a node, and about the NodeClaims that are nominated for it.
    fn claim_events(&self, pod: &Pod, events: &[Event]) -> Vec<Event> {
        let claims = scheduling::awaited_claims(pod).map(|claim| [pod.metadata.namespace.clone(), claim]);
        let pending = events.iter().filter(|_| pod.spec.node_name.is_empty());
        let mut nodes: Vec<&str> = pending.filter_map(scheduling::nominated).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let nodes = nodes.into_iter().map(|claim| [String::new(), claim.to_owned()]);
        let events = claims.chain(nodes).filter_map(|claim| self.claim_events.get(&claim)).flatten();
        events.map(|event| event.unpack()).collect()
    }

    fn change(&self, pod: &Pod) -> Option<Change> {
        Change::of(pod, self.revisions.get(pod.metadata.namespace.as_str())?.iter().copied())
    }

    fn logs(&self, pod: &'s Pod) -> &[ContainerLog] {
        let name = (pod.metadata.namespace.as_str(), pod.metadata.name.as_str());
        self.logs.get(&name).map_or(&[], Vec::as_slice)
    }

    fn starts(&self, pod: &Pod) -> Vec<Start> {
        revision_of(pod).and_then(|revision| self.starts.get(&revision)).cloned().unwrap_or_default()
    }
}

/// All pods of a snapshot, as far as workloads and nodes are judged by them.
struct AllPods<'s> {
    events: &'s EventsBy<'s, String>,
    by_workload: HashMap<(&'s str, &'s WorkloadRef), Vec<&'s Finding>>,
    on_node: HashMap<&'s str, usize>,
    terminations: Vec<(String, nodes::EndedWithNode)>,
}

impl<'s> AllPods<'s> {
    fn of(seen: &'s Seen<'s>, findings: &'s [Finding], pods: &'s [Pod]) -> Self {
        let mut by_workload: HashMap<(&str, &WorkloadRef), Vec<&Finding>> = HashMap::new();
        for finding in findings {
            if let Some(workload) = &finding.workload {
                by_workload.entry((finding.namespace.as_str(), workload)).or_default().push(finding);
            }
        }
        let (mut on_node, mut terminations) = (HashMap::<&str, usize>::new(), Vec::new());
        for pod in pods.iter().filter(|p| nodes::runs(p)) {
            let node = pod.spec.node_name.as_str();
            *on_node.entry(node).or_default() += 1;
            terminations.extend(nodes::ended_with_node(pod).map(|at| (node.to_owned(), at)));
        }
        Self { events: &seen.events, by_workload, on_node, terminations }
    }
}

impl Pods for AllPods<'_> {
    fn findings_of(&self, namespace: &str, workload: &WorkloadRef) -> Vec<Finding> {
        let found = self.by_workload.get(&(namespace, workload)).into_iter().flatten();
        found.map(|f| (*f).clone()).collect()
    }

    fn on_node(&self, node: &str) -> usize {
        self.on_node.get(node).copied().unwrap_or_default()
    }

    fn terminations_with_node(&self) -> Vec<(String, nodes::EndedWithNode)> {
        self.terminations.clone()
    }

    fn events_of(&self, uid: &str) -> Cow<'_, [Event]> {
        self.events.get(uid).into_iter().flatten().map(|event| event.unpack()).collect()
    }
}

impl Survey {
    /// Of findings in any order about so many pods.
    pub fn of(mut findings: Vec<Finding>, pods: usize, observed_at: Timestamp) -> Self {
        findings.sort_by(worst_first);
        let findings = causes_first(findings);
        let mut tally = Tally::default();
        findings.iter().for_each(|finding| tally.add(finding));
        let summary = tally.summary(pods);
        let problems = problems::group(&findings);
        Self { observed_at, findings, problems, summary }
    }
}

fn take_owners(world: &mut World, snapshot: &Snapshot) {
    let owners = &mut world.owners;
    for (kind, list) in [
        ("ReplicaSet", &snapshot.replica_sets),
        ("Deployment", &snapshot.deployments),
        ("StatefulSet", &snapshot.stateful_sets),
        ("DaemonSet", &snapshot.daemon_sets),
    ] {
        list.iter().for_each(|w| owners.apply(kind, w.clone()));
    }
    snapshot.jobs.iter().for_each(|j| owners.apply_job(j.clone()));
    snapshot.cron_jobs.iter().for_each(|c| owners.apply_cron_job(c.clone()));
}

/// Whether a finding about a workload only tells what its pods' findings come to.
fn is_consequence(finding: &Finding) -> bool {
    finding.pod.is_empty() && finding.reason.known() == Some(Reason::ProgressDeadlineExceeded)
}

/// Moves the worst finding of a workload's pods in front of the workload's own finding, where that one only tells what
/// comes of it: who reads the first line reads the cause.
fn causes_first(findings: Vec<Finding>) -> Vec<Finding> {
    let mut consequences: HashMap<(&str, &WorkloadRef), usize> = HashMap::new();
    let mut moves: Vec<(usize, usize)> = Vec::new();
    for (at, finding) in findings.iter().enumerate() {
        let Some(workload) = &finding.workload else { continue };
        let key = (finding.namespace.as_str(), workload);
        if is_consequence(finding) {
            consequences.insert(key, at);
        } else if let Some(&consequence) = consequences.get(&key)
            && is_cause(finding, findings.get(consequence))
        {
            moves.push((at, consequence));
            consequences.remove(&key);
        }
    }
    if moves.is_empty() {
        return findings;
    }
    let causes: HashMap<usize, usize> = moves.iter().map(|&(cause, before)| (before, cause)).collect();
    let mut slots: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(slots.len());
    for at in 0..slots.len() {
        let first = causes.get(&at).copied();
        for at in first.into_iter().chain([at]) {
            ordered.extend(slots.get_mut(at).and_then(Option::take));
        }
    }
    ordered
}

/// Whether a finding may be why a rollout is stuck.
fn is_cause(finding: &Finding, rollout: Option<&Finding>) -> bool {
    finding.severity > Severity::Info
        && finding.is_active()
        && !finding.pod.is_empty()
        && is_of_revision(&finding.pod, rollout.and_then(|r| r.scope.as_ref()))
}

/// Whether a pod is of the revision that a rollout is stuck at, as far as its name tells.
pub fn is_of_revision(pod: &str, revision: Option<&Scope>) -> bool {
    let revision = revision.and_then(|scope| scope.name.rsplit('/').next());
    let own = |name: &str| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    revision.is_none_or(|name| name.is_empty() || own(name))
}

/// Severity, then what is so now before what may heal and what has healed, then by name: never by the order of input.
pub fn worst_first(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    fn key(f: &Finding) -> impl Ord + '_ {
        (
            Reverse(f.severity),
            f.stage.place(),
            f.reason.as_str(),
            f.namespace.as_str(),
            f.pod.as_str(),
            f.workload.as_ref(),
            f.container.as_str(),
            f.uid.as_str(),
        )
    }
    key(a).cmp(&key(b))
}
