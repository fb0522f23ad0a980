//! What is known of a cluster besides the pod at hand, and the one place that joins it with a pod.
//!
//! `diagnose` builds a world from what it has read and judges every pod; the daemon keeps one up to date and judges what has
//! changed. So the same objects give the same findings, whichever way they came.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::changes::Change;
use super::context::{ContainerLog, Context, Sources};
use super::draft::Look;
use super::finding::{Finding, WorkloadRef};
use super::owners::Owners;
use super::ownership::{OwnerLabels, Ownership};
use super::reason::Reason;
use super::starts::{Start, compare_starts};
use super::{PodDiagnosis, diagnose, nodes, scheduling};
use crate::objects::{Event, Node, Pod};

/// Owners, nodes, and which sources can be read at all.
#[derive(Clone, Debug)]
pub struct World {
    /// The owners that are known.
    pub owners: Owners,
    /// Which sources could be read.
    pub sources: Sources,
    /// Which labels tell whose something is.
    pub owner_labels: OwnerLabels,
    nodes: BTreeMap<String, Node>,
}

/// What was read about one pod: events in any order, logs, and how long its siblings took to start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Events about the pod.
    pub events: &'a [Event],
    /// Events about the claims that a pod without a node waits for.
    pub claim_events: &'a [Event],
    /// Events about the node that it runs on.
    pub node_events: &'a [Event],
    /// Logs of its containers.
    pub logs: &'a [ContainerLog],
    /// The longest starts among the pods of its revision.
    pub starts: &'a [Start],
    /// What its revision changed.
    pub change: Option<&'a Change>,
}

/// The subject of findings that are about a pod.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its top controller.
    pub workload: &'a WorkloadRef,
    /// Events about it.
    pub events: &'a [Event],
}

/// What may still be done to findings before they count: the user's own rules. They are given the pod that the findings are
/// about, or none for findings about workloads and nodes, and return the findings and when to look at them again.
pub type Judge<'j> = dyn FnMut(Option<Subject<'_>>, Vec<Finding>) -> (Vec<Finding>, Option<Timestamp>) + 'j;

/// All pods, as far as workloads and nodes are judged by them.
pub trait Pods {
    /// The findings of a workload's pods, in the order of [`super::survey::worst_first`].
    fn findings_of(&self, namespace: &str, workload: &WorkloadRef) -> Vec<Finding>;
    /// How many pods run on a node, as [`nodes::runs`] tells.
    fn on_node(&self, node: &str) -> usize;
    /// When which node's pods terminated as with their node, as [`nodes::ended_with_node`] tells.
    fn terminations_with_node(&self) -> Vec<(String, nodes::EndedWithNode)>;
    /// The events about a workload, by its uid.
    fn events_of(&self, uid: &str) -> Cow<'_, [Event]>;
}

impl World {
    /// Nothing is known yet.
    pub fn new(sources: Sources) -> Self {
        let owner_labels = OwnerLabels::default();
        Self { owners: Owners::default(), sources, owner_labels, nodes: BTreeMap::new() }
    }

    /// Takes in a node; returns what it was before.
    pub fn put_node(&mut self, node: Node) -> Option<Node> {
        self.nodes.insert(node.metadata.name.clone(), node)
    }

    /// Forgets a node; returns what it was.
    pub fn remove_node(&mut self, name: &str) -> Option<Node> {
        self.nodes.remove(name)
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Judges a pod. The only place that builds a [`Context`] for one.
    pub fn judge(
        &self,
        pod: &Pod,
        workload: &WorkloadRef,
        evidence: &Evidence<'_>,
        rules: &mut Judge<'_>,
        now: Timestamp,
    ) -> PodDiagnosis {
        let node = self.node(&pod.spec.node_name);
        // A cluster with pods has nodes: if there are none, as in a recording of pods, they were not read.
        let sources = Sources { nodes: self.sources.nodes && !self.nodes.is_empty(), ..self.sources };
        let context = Context {
            sources,
            events: evidence.events,
            claim_events: evidence.claim_events,
            logs: evidence.logs,
            node,
            node_events: evidence.node_events,
        };
        let PodDiagnosis { mut findings, recheck, .. } = diagnose(pod, &context, now);
        for finding in &mut findings {
            finding.workload = Some(workload.clone());
            if finding.is_of_ended_pod() && self.owners.have_replaced(pod) {
                finding.replaced();
            }
            if scheduling::wants_nodes(finding) {
                scheduling::add_nodes(finding, pod, self.nodes.values());
            }
            if finding.wants_siblings() {
                compare_starts(finding, pod, evidence.starts);
            }
            if let Some(change) = evidence.change {
                change.add_to(finding);
            }
        }
        // What the silence of a node explains is the node's finding, not the pod's.
        if node.is_some_and(nodes::is_down) {
            findings.retain(|f| !f.reason.known().is_some_and(Reason::is_explained_by_node));
        }
        let (mut findings, again) = rules(Some(Subject { pod, workload, events: evidence.events }), findings);
        let meta = &pod.metadata;
        let top = self.owners.meta(&meta.namespace, workload);
        let ownership = Ownership::of(&self.owner_labels, top, Some(meta), now);
        findings.iter_mut().for_each(|finding| finding.belongs_to(&ownership));
        let muted = ownership.mute.as_ref().map(|mute| mute.until).filter(|_| !findings.is_empty());
        PodDiagnosis { findings, recheck: [recheck, again, muted].into_iter().flatten().min(), ownership }
    }

    /// Judges all workloads and nodes; the second value is when time alone will change the verdict.
    pub fn judge_workloads_and_nodes(
        &self,
        pods: &dyn Pods,
        rules: &mut Judge<'_>,
        now: Timestamp,
    ) -> (Vec<Finding>, Option<Timestamp>) {
        let findings_of = |namespace: &str, workload: &WorkloadRef| pods.findings_of(namespace, workload);
        let (mut findings, of_owners) = self.owners.diagnose(&|uid| pods.events_of(uid), &findings_of, now);
        let mut look = Look::at(now);
        for (name, node) in &self.nodes {
            findings.extend(nodes::diagnose(node, pods.on_node(name), &mut look));
        }
        let mut terminations: HashMap<String, Vec<nodes::EndedWithNode>> = HashMap::new();
        for (node, at) in pods.terminations_with_node() {
            terminations.entry(node).or_default().push(at);
        }
        for (name, at) in terminations {
            if let Some(node) = self.node(&name) {
                findings.extend(nodes::restarted(node, at, pods.on_node(&name), &mut look));
            }
        }
        let of_nodes = look.done(Vec::new()).recheck;
        let (mut findings, of_rules) = rules(None, findings);
        for finding in &mut findings {
            let workload = finding.workload.as_ref();
            let top = workload.and_then(|workload| self.owners.meta(&finding.namespace, workload));
            finding.belongs_to(&Ownership::of(&self.owner_labels, top, None, now));
        }
        let of_mutes = findings.iter().filter_map(|finding| Some(finding.muted.as_ref()?.until)).min();
        (findings, [of_owners, of_nodes, of_rules, of_mutes].into_iter().flatten().min())
    }
}
