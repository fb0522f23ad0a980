//! A look at many pods at once: every pod with its events, sorted worst first, and what several findings share.
//!
//! Pure, like all of the analyzer: whoever has the objects, from a cluster or from files, gets the same survey.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::container::views;
use super::context::ContainerLog;
use super::draft::Look;
use super::owners::Owners;
use super::problems::Problem;
use super::{
    CauseCode, Context, Finding, Reason, Severity, Source, Sources, Stage, WorkloadRef, nodes, probe,
    problems, scheduling, text,
};
use crate::objects::{Annotation, CronJob, Event, Job, Node, PersistentVolumeClaim, Pod, Workload};

/// Everything that one look sees.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Pods.
    pub pods: Vec<Pod>,
    /// Events of whatever is here.
    pub events: Vec<Event>,
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
    /// Ends of container logs.
    pub logs: Vec<ContainerLog>,
    /// Which sources could be read at all.
    pub sources: Sources,
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
            logs: Vec::new(),
            sources: Sources::NONE,
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
}

/// What may still be done to findings before they are counted: given the pod that they are about, with its workload and
/// events, or no pod for findings about workloads and nodes.
pub type Judge<'j> =
    dyn FnMut(Option<&Pod>, Option<&WorkloadRef>, &[Event], Vec<Finding>) -> Vec<Finding> + 'j;

/// Looks at all of it.
pub fn survey(snapshot: &Snapshot, now: Timestamp) -> Survey {
    survey_with(snapshot, now, &mut |_, _, _, findings| findings)
}

/// Looks at all of it, and hands the findings of each pod to the judge.
pub fn survey_with(snapshot: &Snapshot, now: Timestamp, judge: &mut Judge<'_>) -> Survey {
    let mut events: HashMap<&str, Vec<Event>> = HashMap::new();
    for event in snapshot.events.iter().filter(|e| !e.involved_object.uid.is_empty()) {
        events.entry(&event.involved_object.uid).or_default().push(event.clone());
    }
    // The kubelet gives a node's name for its uid.
    let mut node_events: HashMap<&str, Vec<Event>> = HashMap::new();
    for event in snapshot.events.iter().filter(|e| e.involved_object.kind == "Node") {
        node_events.entry(&event.involved_object.name).or_default().push(event.clone());
    }
    // Pods name claims without their uid. Where the claim is known, what was said of one of that name before it is not its.
    let claims: HashMap<(&str, &str), &str> = snapshot
        .claims
        .iter()
        .map(|c| ((c.metadata.namespace.as_str(), c.metadata.name.as_str()), c.metadata.uid.as_str()))
        .collect();
    let mut claim_events: HashMap<(&str, &str), Vec<Event>> = HashMap::new();
    for event in snapshot.events.iter().filter(|e| e.involved_object.kind == "PersistentVolumeClaim") {
        let about = (event.involved_object.namespace.as_str(), event.involved_object.name.as_str());
        if claims.get(&about).is_none_or(|uid| *uid == event.involved_object.uid) {
            claim_events.entry(about).or_default().push(event.clone());
        }
    }
    let by_name: HashMap<&str, &Node> =
        snapshot.nodes.iter().map(|n| (n.metadata.name.as_str(), n)).collect();

    let owners = owners_of(snapshot);
    let mut logs: HashMap<(&str, &str), Vec<ContainerLog>> = HashMap::new();
    for log in &snapshot.logs {
        logs.entry((log.namespace.as_str(), log.pod.as_str())).or_default().push(log.clone());
    }

    let mut findings = Vec::new();
    for pod in &snapshot.pods {
        // The kubelet writes the events of a static pod under the uid that it knows, not the mirror pod's.
        let mut of_pod = Vec::new();
        let uids =
            [pod.metadata.uid.as_str(), pod.metadata.annotation(Annotation::CONFIG_MIRROR).unwrap_or("")];
        for uid in uids.into_iter().filter(|uid| !uid.is_empty()) {
            of_pod.extend(events.get(uid).into_iter().flatten().cloned());
        }
        let mut of_claims = Vec::new();
        for claim in scheduling::awaited_claims(pod) {
            of_claims.extend(
                claim_events.get(&(pod.metadata.namespace.as_str(), claim)).into_iter().flatten().cloned(),
            );
        }
        let context = Context {
            sources: snapshot.sources,
            events: &of_pod,
            claim_events: &of_claims,
            logs: logs
                .get(&(pod.metadata.namespace.as_str(), pod.metadata.name.as_str()))
                .map(Vec::as_slice)
                .unwrap_or_default(),
            node: by_name.get(pod.spec.node_name.as_str()).copied(),
            node_events: node_events.get(pod.spec.node_name.as_str()).map(Vec::as_slice).unwrap_or_default(),
        };
        let mut found = super::diagnose(pod, &context, now).findings;
        let workload = owners.workload_of(pod);
        for finding in &mut found {
            finding.workload = Some(workload.clone());
            if finding.is_of_ended_pod() && owners.have_replaced(pod) {
                finding.replaced();
            }
            if scheduling::wants_nodes(finding) {
                scheduling::add_nodes(finding, pod, &snapshot.nodes);
            }
        }
        findings.append(&mut judge(Some(pod), Some(&workload), &of_pod, found));
    }
    slow_starters(&mut findings, &snapshot.pods);
    // Owners quote the findings of their pods: always the same ones.
    findings.sort_by(worst_first);
    let none: &[Event] = &[];
    let events_of = |uid: &str| events.get(uid).map_or(none, Vec::as_slice);
    let mut by_workload: HashMap<(&str, &WorkloadRef), Vec<&Finding>> = HashMap::new();
    for finding in &findings {
        if let Some(workload) = &finding.workload {
            by_workload.entry((finding.namespace.as_str(), workload)).or_default().push(finding);
        }
    }
    let pods_of = |namespace: &str, of: &WorkloadRef| {
        let found = by_workload.get(&(namespace, of)).into_iter().flatten();
        found.map(|f| (*f).clone()).collect()
    };
    let (of_owners, _) = owners.diagnose(&events_of, &pods_of, now);
    findings.extend(judge(None, None, &[], of_owners));
    let of_nodes = of_nodes(snapshot, &by_name, &mut findings, now);
    findings.extend(judge(None, None, &[], of_nodes));
    Survey::of(findings, snapshot.pods.len(), now)
}

impl Survey {
    /// Of findings in any order about so many pods.
    pub fn of(mut findings: Vec<Finding>, pods: usize, observed_at: Timestamp) -> Self {
        findings.sort_by(worst_first);
        let findings = causes_first(findings);
        let severity = |wanted| findings.iter().filter(|f: &&Finding| f.severity == wanted).count();
        let unhealthy: BTreeSet<(&str, &str)> = findings
            .iter()
            .filter(|f| f.severity > Severity::Info && !f.pod.is_empty())
            .map(|f| (f.namespace.as_str(), f.pod.as_str()))
            .collect();
        let summary = Summary {
            pods,
            unhealthy_pods: unhealthy.len(),
            critical: severity(Severity::Critical),
            warning: severity(Severity::Warning),
            info: severity(Severity::Info),
        };
        let problems = problems::group(&findings);
        Self { observed_at, findings, problems, summary }
    }
}

/// How long a container of a pod takes to become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The container's name.
    pub container: String,
    /// Until the pod was ready.
    pub took: SignedDuration,
    /// The pod's name.
    pub pod: String,
}

/// The longest start of each container among these pods.
pub fn slowest_starts<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Vec<Start> {
    let mut longest: BTreeMap<&str, (SignedDuration, &str)> = BTreeMap::new();
    for pod in pods {
        for view in views(pod) {
            let Some(took) = probe::ready_after(&view) else { continue };
            let new = (took, pod.metadata.name.as_str());
            longest.entry(view.name).and_modify(|old| *old = (*old).max(new)).or_insert(new);
        }
    }
    let start = |(container, (took, pod)): (&str, (SignedDuration, &str))| Start {
        container: container.to_owned(),
        took,
        pod: pod.to_owned(),
    };
    longest.into_iter().map(start).collect()
}

/// What a probe kills in one pod may be up and ready in another of its revision: then the time that one took tells whether
/// the container is only slow to start. (An earlier revision proves nothing: it is another program.)
pub fn compare_starts(finding: &mut Finding, pod: &Pod, starts: &[Start]) {
    let Some(start) = starts.iter().find(|s| s.container == finding.container && s.pod != finding.pod) else {
        return;
    };
    let Some(spec) = views(pod).find(|v| v.name == finding.container).and_then(|v| v.spec) else { return };
    let startup = finding.cause.code == CauseCode::StartupProbe;
    let probe = if startup { &spec.startup_probe } else { &spec.liveness_probe };
    if let Some(probe) = probe.as_deref() {
        probe::needs_longer(finding, probe, start.took, &format!("pod {}", text::name(&start.pod)));
    }
}

/// What pods made from one template have in common: namespace, controller, and the label with its hash.
pub fn revision_of(pod: &Pod) -> Option<(&str, &str, &'static str, &str)> {
    let meta = &pod.metadata;
    let owner = meta.controller()?;
    let label = if owner.kind == "ReplicaSet" { "pod-template-hash" } else { "controller-revision-hash" };
    Some((&meta.namespace, &owner.uid, label, meta.label(label)?))
}

fn slow_starters(findings: &mut [Finding], pods: &[Pod]) {
    if !findings.iter().any(Finding::wants_siblings) {
        return;
    }
    let by_uid: HashMap<&str, &Pod> = pods.iter().map(|p| (p.metadata.uid.as_str(), p)).collect();
    let mut revisions: HashMap<_, Vec<&Pod>> = HashMap::new();
    for pod in pods {
        if let Some(revision) = revision_of(pod) {
            revisions.entry(revision).or_default().push(pod);
        }
    }
    for finding in findings.iter_mut().filter(|f| f.wants_siblings()) {
        let Some(pod) = by_uid.get(finding.uid.as_str()) else { continue };
        let Some(siblings) = revision_of(pod).and_then(|r| revisions.get(&r)) else { continue };
        compare_starts(finding, pod, &slowest_starts(siblings.iter().copied()));
    }
}

fn owners_of(snapshot: &Snapshot) -> Owners {
    let mut owners = Owners::default();
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
    owners
}

/// The findings about nodes. What a node's silence explains is taken out of the findings of pods and becomes its evidence.
fn of_nodes(
    snapshot: &Snapshot,
    by_name: &HashMap<&str, &Node>,
    findings: &mut Vec<Finding>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut look = Look::at(now);
    let mut found = nodes::restarts(&snapshot.pods, by_name, &mut look);
    for node in &snapshot.nodes {
        let name = node.metadata.name.as_str();
        let pods = snapshot.pods.iter().filter(|p| p.spec.node_name == name && nodes::runs(p)).count();
        let mut of_node = nodes::diagnose(node, pods, &mut look);
        if let Some(down) = of_node.iter_mut().find(|f| f.reason == Reason::NodeNotReady.into()) {
            let explained = |f: &Finding| {
                f.node == down.node && f.reason.known().is_some_and(nodes::is_explained_by_node)
            };
            let count = findings.iter().filter(|f| explained(f)).count();
            findings.retain(|f| !explained(f));
            if count > 0 {
                down.add(
                    Source::Status,
                    format!("explains {count} of its pods that are not ready or do not end"),
                    None,
                );
            }
        }
        found.append(&mut of_node);
    }
    found
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
            && is_of_revision(finding, findings.get(consequence))
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

/// Whether a finding is about a pod of the revision that a rollout is stuck at, as far as its name tells.
fn is_of_revision(finding: &Finding, rollout: Option<&Finding>) -> bool {
    let revision = rollout.and_then(|r| r.scope.as_ref()).and_then(|s| s.name.rsplit('/').next());
    let own = |name: &str| finding.pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    finding.severity > Severity::Info
        && finding.is_active()
        && !finding.pod.is_empty()
        && revision.is_none_or(|name| name.is_empty() || own(name))
}

/// Severity, then what is so now before what may heal and what has healed, then by name: never by the order of input.
pub fn worst_first(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    fn key(f: &Finding) -> impl Ord + '_ {
        let stage = match f.stage {
            Stage::Active => 0,
            Stage::Pending => 1,
            Stage::Recovered => 2,
        };
        (
            Reverse(f.severity),
            stage,
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
