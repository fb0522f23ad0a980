//! Pods without a node: the scheduler's sentence taken apart into counts per constraint.

use super::autoscaler::{self, LONGEST, Scaling, autoscalers, scaling};
use super::cause::CauseCode;
use super::context::{Context, oldest_first};
use super::devices;
use super::draft::Look;
use super::finding::{Confidence, Finding, Source};
use super::message::Message;
use super::reason::Reason;
use super::text;
use crate::objects::node::Taint;
use crate::objects::quantity;
use crate::objects::{ConditionType, Event, Node, Pod};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// How many nodes one constraint rules out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Nodes; none where the sentence gives no count (a claim that is unbound rules them all out).
    pub nodes: Option<u32>,
    /// The scheduler's words.
    pub words: String,
    /// The kind of cause.
    pub code: CauseCode,
}

/// The scheduler's sentence `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s). preemption: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitError {
    /// Nodes of the cluster that were looked at.
    pub total: u32,
    /// What rules how many of them out, most first.
    pub constraints: Vec<Constraint>,
}

/// A new node takes so long to come: the autoscaler has its turn first.
const AUTOSCALER: SignedDuration = SignedDuration::from_secs(300);

/// What the scheduler says of devices that are asked for by claim.
const DEVICES: [&str; 8] = [
    "resourceclaim",
    "ResourceClaim",
    "resource claim",
    "allocate all claims",
    "dynamic resource",
    "resource driver",
    "DynamicResources",
    "device class",
];

/// How taints are seen.
const TAINTS: &str = "give the pod a toleration, or use nodes without the taint: kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints";

/// Where only the taint of the control plane is left: what to add is workers.
const CONTROL_PLANE: &str = "control-plane nodes do not accept such pods: add worker nodes, or find out why they do not join: kubectl get nodes; in a cluster without worker nodes, remove the taint";

/// Where no node could have what the pod requests, even if it were empty.
const TOO_LARGE: &str = "lower the requests, or add nodes that are large enough: more of the same size do not help; what they have: kubectl describe nodes";

/// Where a cloud's nodes wait for its controller.
const UNINITIALIZED: &str = "the cloud controller manager removes this taint when it has initialized the node: check its pods and their log: kubectl get pods -A -o wide";

/// Where nodes are not ready.
const UNREADY: &str = "the nodes are not ready: find out why: kubectl get nodes, kubectl describe nodes";

/// Where nodes are short of something.
const PRESSED: &str = "the nodes are short of disk, memory or process IDs: kubectl describe nodes";

/// Takes the sentence apart; none if it is none.
pub fn parse(message: &str) -> Option<FitError> {
    // Before 1.27 a comma stands within the words about a taint.
    let message = &message.replace("}, that the pod", "} that the pod");
    let (head, rest) = message
        .split_once(" nodes are available: ")
        .or_else(|| message.split_once(" nodes are available"))?;
    let total = head.rsplit('/').next()?.trim().parse().ok()?;
    let rest = rest.split("preemption: ").next().unwrap_or_default();
    let mut constraints = Vec::new();
    for part in sentences(rest) {
        let part = part.trim().trim_end_matches([',', '.']);
        // What the plugins tried in vain, before preemption.
        let tried = ["no new claims to deallocate", "still not schedulable", "deallocation of "];
        if part.is_empty() || part == "not found" || tried.iter().any(|t| part.starts_with(t)) {
            continue;
        }
        let (nodes, words) = match part.split_once(' ') {
            Some((n, words)) if n.parse::<u32>().is_ok() => (n.parse().ok(), words),
            _ => (None, part),
        };
        constraints.push(Constraint { nodes, words: text::quote(words), code: kind(words) });
    }
    constraints.sort_by(|a, b| {
        let nodes = |c: &Constraint| c.nodes.unwrap_or(u32::MAX);
        nodes(b).cmp(&nodes(a)).then_with(|| a.words.cmp(&b.words))
    });
    Some(FitError { total, constraints })
}

/// Splits at commas and full stops outside of braces: a taint is written `{key: value}`, and names hold dots.
fn sentences(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_u32, 0);
    for (i, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' | '.' if depth == 0 => {
                let next = text.get(i + 1..).unwrap_or_default();
                if next.is_empty() || next.starts_with(' ') {
                    parts.push(text.get(from..i).unwrap_or_default());
                    from = i + 1;
                }
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

/// The taint that a node agent (a CNI, a storage driver, an autoscaler) takes off a new node when it is ready there. They
/// have no prefix in common, but say what they are.
fn is_taint_of_a_start(words: &str) -> bool {
    let key = text::between(words, "taint {", ":").unwrap_or_default();
    !key.starts_with("node.kubernetes.io/")
        && !key.starts_with("node.cloudprovider.kubernetes.io/")
        && ["not-ready", "not_ready", "uninitialized", "unregistered", "startup"]
            .iter()
            .any(|w| key.ends_with(w))
}

/// The taints that keep pods from the control plane.
fn is_taint_of_the_control_plane(words: &str) -> bool {
    let key = text::between(words, "taint {", ":").unwrap_or_default();
    matches!(key, "node-role.kubernetes.io/control-plane" | "node-role.kubernetes.io/master")
}

/// Nodes that were not looked at, since the pod is for others: for each of a DaemonSet's pods all nodes but one.
fn is_ruled_out_before(words: &str) -> bool {
    words.starts_with("node(s) didn't satisfy plugin")
}

/// The taints that autoscalers put on a node that they are about to remove.
fn is_taint_of_an_end(words: &str) -> bool {
    let key = text::between(words, "taint {", ":").unwrap_or_default();
    matches!(
        key,
        "ToBeDeletedByClusterAutoscaler"
            | "DeletionCandidateOfClusterAutoscaler"
            | "karpenter.sh/disrupted"
            | "karpenter.sh/disruption"
    )
}

fn kind(words: &str) -> CauseCode {
    use CauseCode as C;
    let has = |w: &str| words.contains(w);
    if has("Too many pods") {
        C::TooManyPods
    } else if has("Insufficient") || has("enough free storage") || has("enough resource") {
        C::InsufficientResources
    } else if DEVICES.iter().any(|w| has(w)) {
        C::DeviceAllocationFailed
    // Taints that the control plane sets for the state of a node: no toleration is the cure.
    } else if has("taint {node.kubernetes.io/not-ready")
        || has("taint {node.kubernetes.io/unreachable")
        || has("taint {node.kubernetes.io/network-unavailable")
        || has("taint {node.cloudprovider.kubernetes.io/uninitialized")
        || is_taint_of_a_start(words)
    {
        C::NodeUnready
    } else if has("taint {node.kubernetes.io/") && has("-pressure") {
        C::NodePressure
    } else if has("taint {node.kubernetes.io/unschedulable") || is_taint_of_an_end(words) {
        C::NodesUnschedulable
    } else if has("taint") {
        C::UntoleratedTaint
    } else if has("pod affinity") || has("anti-affinity") || has("topology spread") {
        C::AffinityUnsatisfied
    // Before 1.34, and since.
    } else if has("volume node affinity") || has("PersistentVolume's node affinity") {
        C::VolumeUnavailable
    } else if (is_ruled_out_before(words) && has("NodeAffinity"))
        || has("node affinity")
        || has("node selector")
        || has("match node")
        || has("requested node name")
    {
        C::NodeSelectorMismatch
    } else if has("free ports") {
        C::HostPortTaken
    } else if ["ersistentvolume", "PersistentVolume", "olume", "pvc", "storageclass"].iter().any(|w| has(w)) {
        C::VolumeUnavailable
    } else if has("were unschedulable") {
        C::NodesUnschedulable
    } else {
        C::SchedulingConstraints
    }
}

/// The NodeClaims that Karpenter has nominated for a pod without a node, by the events about the pod.
pub fn nominated(event: &Event) -> Option<&str> {
    let to = event.message.split_once("nodeclaim/").filter(|_| event.reason == "Nominated")?.1;
    to.split([' ', ',']).next().filter(|name| !name.is_empty())
}

/// The claims that a pod without a node may wait for, by name, where its scheduler says that it waits for one.
pub fn awaited_claims(pod: &Pod) -> impl Iterator<Item = String> {
    let of_volumes = |message: &str| kind_of_all(message).contains(&CauseCode::VolumeUnavailable);
    // Without a condition only the events about the claims may tell what the pod waits for.
    let waits = pod.spec.node_name.is_empty()
        && pod
            .status
            .condition(&ConditionType::PodScheduled)
            .is_none_or(|c| c.is_false() && of_volumes(&c.message));
    let claims = pod.spec.volumes.iter().filter(move |_| waits);
    claims.filter_map(|v| v.claim(&pod.metadata.name))
}

fn kind_of_all(message: &str) -> Vec<CauseCode> {
    match parse(message) {
        Some(fit) => fit.constraints.iter().map(|c| c.code).collect(),
        None => vec![kind(message)],
    }
}

/// What the controllers say of the claims that the pod waits for: there, not at the scheduler, it is seen why. A failure is
/// worth more than news of the way; that a claim waits for its first consumer is no failure at all.
fn news_of_claims<'a>(pod: &Pod, context: &Context<'a>) -> Option<&'a Event> {
    let failed =
        |e: &&Event| matches!(e.reason.as_str(), "ProvisioningFailed" | "FailedBinding" | "ClaimLost");
    let waits = |e: &&Event| matches!(e.reason.as_str(), "ExternalProvisioning");
    // A claim may be older than the pod, and have failed for an earlier one of the same name; it goes on failing, then.
    let born = pod.metadata.creation_timestamp.get();
    let events =
        context.claim_events.iter().filter(|e| born.zip(e.last_seen()).is_none_or(|(b, at)| b <= at));
    let newest = events.clone().filter(failed).max_by(|a, b| oldest_first(a, b));
    newest.or_else(|| events.filter(waits).max_by(|a, b| oldest_first(a, b)))
}

/// What is said of a claim, in words.
fn words_of_claim(event: &Event) -> String {
    let claim = text::name(&event.involved_object.name);
    let said = text::uncombined(&event.message);
    if event.reason != "ExternalProvisioning" {
        return format!("claim {claim}: {}", provisioning(said));
    }
    let driver =
        text::between(said, "provisioner '", "'").or_else(|| text::between(said, "provisioner \"", "\""));
    format!(
        "claim {claim} waits for its provisioner {} to create the volume",
        driver.map(text::name).unwrap_or_default()
    )
}

/// Lets a finding say what is said of the claims that the pod waits for.
fn add_claims(finding: &mut Finding, pod: &Pod, context: &Context<'_>) {
    let Some(event) = news_of_claims(pod, context) else { return };
    let claim = text::name(&event.involved_object.name);
    let words = words_of_claim(event);
    finding.summary = format!("pod cannot be scheduled: {words}");
    finding.cause.text = format!("{words}; {}", finding.cause.text);
    finding.scope = Some(super::Scope { kind: "claim", name: format!("{}/{claim}", finding.namespace) });
    finding.add_event(event);
    let describe = finding.kubectl(&format!("describe pvc {}", text::arg(&event.involved_object.name)));
    finding.next_steps.retain(|s| !s.ends_with(" get pvc") && !s.starts_with("the claim must exist"));
    if event.reason == "ExternalProvisioning" {
        finding.next_steps.insert(0, "check that the pods of the provisioner (the CSI driver) run, and read their log: kubectl get pods -A, kubectl get csidrivers".to_owned());
    }
    finding.next_steps.insert(0, describe);
}

/// What a provisioner says, without its wrappings.
fn provisioning(said: &str) -> String {
    Message::read(said).detail()
}

/// Looks at a pod that has no node.
pub fn diagnose(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let Some(condition) = pod.status.condition(&ConditionType::PodScheduled) else {
        return unseen(pod, context, look);
    };
    if condition.is_true() || !pod.spec.node_name.is_empty() {
        return None;
    }
    let since = condition.last_transition_time.get().or_else(|| pod.metadata.creation_timestamp.get());
    let message = text::quote(&condition.message);
    let describe = |f: Finding| {
        let step = f.kubectl_pod("describe pod");
        f.next_step(step)
    };
    match &*condition.reason {
        "SchedulingGated" => {
            let mut gates: Vec<&str> = pod.spec.scheduling_gates.iter().map(|g| g.name.as_str()).collect();
            gates.sort_unstable();
            let gates = text::list(&gates);
            let finding = Finding::of_pod(pod, Reason::SchedulingGated)
                .summary(format!("pod is held back by scheduling gate {gates}"))
                .cause(CauseCode::SchedulingGate, format!("scheduling gate {gates} has not been removed"))
                .with(Source::Status, message, since)
                .next_step("wait for the controller that owns the gate (a queue, a quota system) to remove it, or read its log");
            Some(finding.grace(since, None, look))
        }
        "SchedulerError" => {
            let finding = Finding::of_pod(pod, Reason::SchedulerError);
            let claims = finding.kubectl("get pvc");
            let devices = finding.kubectl("get resourceclaims");
            let code = kind(&condition.message);
            let said = plugins_word(&condition.message);
            // What a plugin could not get done in time is no failure of the scheduler.
            let (words, step) = match code {
                CauseCode::VolumeUnavailable => {
                    (format!("pod cannot be scheduled: waiting for its volumes: {said}"), claims)
                }
                CauseCode::DeviceAllocationFailed => {
                    (format!("pod cannot be scheduled: waiting for its devices: {said}"), devices)
                }
                _ => (
                    format!("pod cannot be scheduled: scheduler error: {said}"),
                    "read the log of the scheduler (and of its plugins and extenders)".to_owned(),
                ),
            };
            let mut finding = finding
                .summary(words)
                .cause(code, message.clone())
                .with(Source::Status, message, since)
                .next_step(step);
            if code == CauseCode::VolumeUnavailable {
                add_claims(&mut finding, pod, context);
            }
            Some(describe(finding).grace(since, None, look))
        }
        "Unschedulable" => {
            let mut finding = describe(unschedulable(pod, &condition.message));
            finding.evidence.insert(0, super::Evidence { source: Source::Status, text: message, at: since });
            let of_condition =
                |e: &Event| e.reason == "FailedScheduling" && !autoscaler::is_other_scheduler(e);
            if let Some(event) = context.newest_event(of_condition) {
                // The condition is current; the event may hold the first sentence only. It adds how long and how often.
                let times = event.times();
                finding.add(Source::Event, format!("FailedScheduling (x{times})"), event.last_seen());
            }
            if finding.cause.code == CauseCode::VolumeUnavailable {
                zones(&mut finding, pod, context, &condition.message);
                add_claims(&mut finding, pod, context);
            }
            let coming = autoscalers(&mut finding, context);
            Some(finding.grace(since, coming.then_some(AUTOSCALER), look))
        }
        _ => unseen(pod, context, look),
    }
}

/// Several volumes that no one node has in reach. Karpenter says it outright: of the zones that the volumes allow none is
/// left.
fn zones(finding: &mut Finding, pod: &Pod, context: &Context<'_>, message: &str) {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let Some(fit) = parse(message) else { return };
    let conflict = |c: &Constraint| {
        c.nodes == Some(fit.total)
            && (c.words.contains("volume node affinity")
                || c.words.contains("PersistentVolume's node affinity"))
    };
    let claims = claims_of(pod);
    if claims.len() < 2 || !fit.constraints.iter().any(conflict) {
        return;
    }
    let none_left = [format!("{ZONE} DoesNotExist"), format!("{ZONE} In []")];
    let apart = context.newest_event(|e| {
        scaling(e) == Some(Scaling::Refused) && none_left.iter().any(|w| e.message.contains(w))
    });
    let (n, list) = (claims.len(), text::list(&claims));
    let words = match apart {
        Some(_) => format!(
            "the volumes of its {n} claims ({list}) are in different zones, so no node can attach all of them"
        ),
        None => format!(
            "no node can attach all {n} of its volumes (claims {list}); they may be in different zones"
        ),
    };
    finding.summary =
        format!("pod cannot be scheduled: 0/{} nodes: volume node affinity conflict: {words}", fit.total);
    finding.cause.text = format!("{words}; {}", finding.cause.text);
    finding.next_steps.insert(0, "compare the zones of the volumes: kubectl get pv -o custom-columns=NAME:.metadata.name,CLAIM:.spec.claimRef.name,AFFINITY:.spec.nodeAffinity".to_owned());
    finding.next_steps.insert(1, "use a StorageClass with volumeBindingMode WaitForFirstConsumer, so that the scheduler chooses one zone for all volumes".to_owned());
}

/// What a plugin of the scheduler said, without the scheduler's own words about it.
fn plugins_word(message: &str) -> String {
    let said =
        message.strip_prefix("running ").and_then(|m| m.split_once("\": ")).map_or(message, |(_, said)| said);
    text::quote(said)
}

/// A pod that no scheduler has taken up, as far as its status tells: there is not even a condition. What an event, a claim or
/// a nominated node shows of a scheduler comes first.
fn unseen(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let waits = pod.spec.node_name.is_empty() && matches!(pod.status.phase.as_str(), "Pending" | "");
    let since = pod.metadata.creation_timestamp.get().filter(|_| waits)?;
    // A pod whose claims on devices cannot be made is not even put into the scheduler's queue.
    if let Some(event) = context.newest_event(|e| e.reason == "FailedResourceClaimCreation") {
        let finding = devices::dynamic_resources(pod, &event.message);
        return Some(finding.grace(Some(since), None, look)).filter(Finding::is_active).map(|mut f| {
            f.add_event(event);
            f
        });
    }
    let failed = |e: &Event| e.reason == "FailedScheduling" && scaling(e).is_none();
    let mut finding = if let Some(event) = context.newest_event(failed) {
        let mut finding = of_scheduler(pod, event);
        finding.add_event(event);
        finding
    } else if let Some(event) = news_of_claims(pod, context) {
        Finding::of_pod(pod, Reason::Unschedulable).summary("pod cannot be scheduled").cause(
            CauseCode::VolumeUnavailable,
            format!("{}: {}", text::name(&event.reason), text::quote(&event.message)),
        )
    } else if !pod.status.nominated_node_name.is_empty() {
        let node = text::name(&pod.status.nominated_node_name);
        Finding::of_pod(pod, Reason::Unschedulable)
            .summary(format!("pod is not scheduled yet: node {node} is nominated for it"))
            .cause(
                CauseCode::SchedulingConstraints,
                format!("the scheduler has nominated node {node}, but has not bound the pod"),
            )
            .next_step(format!("kubectl get node {}", text::arg(&node)))
            .confidence(Confidence::Probable)
    } else if let Some(event) = context.newest_event(|e| scaling(e).is_some()) {
        Finding::of_pod(pod, Reason::Unschedulable)
            .summary("pod cannot be scheduled: no node fits it yet")
            .cause(
                CauseCode::SchedulingConstraints,
                format!("{}: {}", text::name(&event.reason), text::quote(&event.message)),
            )
    } else {
        ignored(pod)
    };
    add_claims(&mut finding, pod, context);
    let coming = autoscalers(&mut finding, context);
    let describe = finding.kubectl_pod("describe pod");
    let finding = finding.next_step(describe);
    Some(finding.grace(Some(since), coming.then_some(AUTOSCALER), look)).filter(Finding::is_active)
}

/// What a scheduler says in an event, where the pod has no condition: the sentence about nodes, or its own words.
fn of_scheduler(pod: &Pod, event: &Event) -> Finding {
    let said = text::uncombined(&event.message);
    if parse(said).is_some() {
        return unschedulable(pod, said);
    }
    let by = text::name(event.reporter());
    let mut finding = unschedulable(pod, said);
    if !matches!(by.as_str(), "" | "default-scheduler") {
        finding.summary = format!("pod cannot be scheduled: {by}: {}", text::quote(said));
        finding.cause.text = format!("{by} says: {}", text::quote(said));
    }
    finding
}

/// A pod of which nothing shows that a scheduler has seen it.
fn ignored(pod: &Pod) -> Finding {
    let named = text::name(&pod.spec.scheduler_name);
    let who = if named.is_empty() { String::new() } else { format!(": schedulerName is {named}") };
    let finding = Finding::of_pod(pod, Reason::SchedulerError)
        .summary(format!("pod is not scheduled: no scheduler has handled it{who}"))
        .cause(
            CauseCode::SchedulingConstraints,
            format!("no condition and no event from a scheduler: the pod's scheduler is not running, or is overloaded{who}"),
        )
        .confidence(Confidence::Probable);
    let step = finding
        .kubectl(&format!("get pod {} -o jsonpath='{{.spec.schedulerName}}'", text::arg(&finding.pod)));
    finding.next_step(step).next_step("check that this scheduler runs: kubectl get pods -A")
}

fn unschedulable(pod: &Pod, message: &str) -> Finding {
    let finding = Finding::of_pod(pod, Reason::Unschedulable);
    let Some(fit) = parse(message) else {
        // Such as `persistentvolumeclaim "x" not found`: a check before any node was looked at.
        let said = text::quote(message);
        let alone = FitError {
            total: 0,
            constraints: vec![Constraint { nodes: None, words: said.clone(), code: kind(message) }],
        };
        let mut finding =
            finding.summary(format!("pod cannot be scheduled: {said}")).cause(kind(message), said);
        details(&mut finding, pod, &alone);
        if message.starts_with("no nodes available") {
            finding = finding.next_step("the cluster has no node that accepts pods: kubectl get nodes");
        } else if finding.cause.code == CauseCode::VolumeUnavailable {
            finding = advise(finding, CauseCode::VolumeUnavailable, message);
        }
        return finding;
    };
    // Each of the leading ones has to be mended, or rules out nodes of its own; they come first.
    let mut ordered: Vec<&Constraint> = fit.constraints.iter().collect();
    ordered.sort_by_key(|c| rank(c));
    let leading = ordered.first().copied();
    let (code, words) =
        leading.map_or((CauseCode::SchedulingConstraints, ""), |c| (c.code, c.words.as_str()));
    let counted = |c: &Constraint, words: String| match c.nodes {
        Some(n) => format!("{n} {words}"),
        None => words,
    };
    let all: Vec<String> = fit.constraints.iter().map(|c| counted(c, c.words.clone())).collect();
    let total = fit.total;
    let mut summary = format!("pod cannot be scheduled: 0/{total} nodes: ");
    for (i, constraint) in ordered.iter().enumerate() {
        let words = counted(constraint, particulars(pod, constraint));
        if i > 0 && summary.len() + words.len() > LONGEST {
            summary.push_str(", ...");
            break;
        }
        summary.push_str(if i > 0 { ", " } else { "" });
        summary.push_str(&words);
    }
    if ordered.is_empty() {
        summary.push_str("no reason given");
    }
    let mut finding =
        finding.summary(summary).cause(code, format!("0 of {total} nodes fit: {}", all.join(", ")));
    details(&mut finding, pod, &fit);
    named_by_taint(&mut finding, &fit, words);
    advise(finding, code, words)
}

/// A device that only tainted nodes have looks like one that no node has enough of. Without the nodes only a taint of the
/// device's own name tells that.
fn named_by_taint(finding: &mut Finding, fit: &FitError, words: &str) {
    let Some(resource) = words.strip_prefix("Insufficient ").filter(|r| r.contains('/')) else { return };
    let named = format!("taint {{{resource}:");
    if fit.constraints.iter().any(|c| c.words.contains(&named)) {
        let words = format!("a taint is named {}, so the tainted nodes likely have it", text::name(resource));
        finding.cause.text = format!("{}; {words}", finding.cause.text);
        finding.next_steps.insert(0, TAINTS.to_owned());
    }
}

/// Nodes that the pod is not meant for anyway (taints, cordons) are seldom the matter where others fail for a reason that can
/// be mended; nor are sick nodes, where well ones fail for another. What a node lacks is looked at only when it matches the
/// pod's selector: the nodes that the pod is meant for are those that lack something.
fn rank(constraint: &Constraint) -> u8 {
    match constraint.code {
        _ if is_ruled_out_before(&constraint.words) => 2,
        CauseCode::UntoleratedTaint | CauseCode::NodesUnschedulable => 2,
        CauseCode::NodeUnready | CauseCode::NodePressure | CauseCode::NodeSelectorMismatch => 1,
        _ => 0,
    }
}

/// Puts what to do first. The words are those of the leading constraint.
fn advise(mut finding: Finding, code: CauseCode, words: &str) -> Finding {
    let claims = finding.kubectl("get pvc");
    let advice = match code {
        CauseCode::InsufficientResources => {
            "lower the requests, free capacity, or add nodes; what is allocated: kubectl describe nodes"
        }
        CauseCode::NodeSelectorMismatch => {
            "compare the pod's nodeSelector and affinity with kubectl get nodes --show-labels"
        }
        CauseCode::UntoleratedTaint if is_taint_of_the_control_plane(words) => CONTROL_PLANE,
        CauseCode::UntoleratedTaint => TAINTS,
        CauseCode::AffinityUnsatisfied if words.contains("pod affinity") => {
            "check that pods with the labels and namespaces that its podAffinity names are running: more nodes do not help"
        }
        CauseCode::AffinityUnsatisfied if words.contains("missing required label") => {
            "the nodes lack the label that the rule's topologyKey names: label them, or correct the topologyKey: kubectl get nodes --show-labels"
        }
        CauseCode::AffinityUnsatisfied => "relax the affinity, anti-affinity or spread rule, or add nodes",
        CauseCode::HostPortTaken => {
            "another pod on each node that fits has the host port: use a Service instead of hostPort, or fewer replicas"
        }
        CauseCode::VolumeUnavailable if words.contains("max volume count") => {
            "the nodes have reached their limit of attached volumes: add nodes"
        }
        CauseCode::VolumeUnavailable if words.contains("node affinity") => {
            "compare the zone or node of the volume with the nodes: kubectl describe pv"
        }
        CauseCode::VolumeUnavailable if words.contains("ReadWriteOncePod") => {
            "another pod uses the claim, and only one pod at a time may use it: that pod must terminate first"
        }
        CauseCode::VolumeUnavailable if words.contains("not found") => {
            finding = finding.next_step(claims);
            "correct the claim's name in the pod, or find out why what installs the workload (a chart, an operator) has not created the claim"
        }
        CauseCode::VolumeUnavailable => {
            finding = finding.next_step(claims).next_step("kubectl get storageclass");
            "the claim must exist and be bound, in a zone that the node can reach"
        }
        CauseCode::NodesUnschedulable if is_taint_of_an_end(words) => {
            "the autoscaler is removing these nodes: check in its log that it adds others"
        }
        CauseCode::NodesUnschedulable => {
            "when the maintenance is over, uncordon each of these nodes: kubectl uncordon NODE"
        }
        CauseCode::NodeUnready if is_taint_of_a_start(words) => {
            "an agent removes this taint when it is ready on the node: check its pods: kubectl get pods -A -o wide; if the agent was removed, remove the taint: kubectl taint nodes NODE KEY-"
        }
        CauseCode::NodeUnready if words.contains("node.cloudprovider.kubernetes.io/uninitialized") => {
            UNINITIALIZED
        }
        CauseCode::NodeUnready => UNREADY,
        CauseCode::NodePressure => PRESSED,
        CauseCode::TooManyPods => "the nodes already run their maximum number of pods: add nodes",
        CauseCode::DeviceAllocationFailed => {
            "check the claims and devices: kubectl get resourceclaims,resourceslices -A"
        }
        _ => "kubectl describe nodes",
    };
    finding.next_steps.insert(0, advice.to_owned());
    finding
}

/// A constraint with what it is of the pod that it is about, where its own words do not say it.
fn particulars(pod: &Pod, constraint: &Constraint) -> String {
    let words = &constraint.words;
    let what = match constraint.code {
        CauseCode::InsufficientResources => {
            let resource = words.strip_prefix("Insufficient ").unwrap_or_default();
            let whole = pod.spec.resources.as_deref().and_then(|r| r.request(resource));
            let each = pod.spec.containers.iter().filter_map(|c| c.request(resource));
            let asked: Vec<&str> = whole.map_or_else(|| each.collect(), |w| vec![w]);
            let asked: Vec<String> = asked.into_iter().map(quantity::shown).collect();
            let who = if asked.len() == 1 { "the pod requests" } else { "its containers request" };
            return if asked.is_empty() {
                words.clone()
            } else {
                format!("{words} ({who} {})", text::list(&asked))
            };
        }
        CauseCode::NodeSelectorMismatch => ("nodeSelector", node_selector(pod)),
        CauseCode::HostPortTaken => ("host port", host_ports(pod)),
        CauseCode::VolumeUnavailable if !words.contains('"') => ("claim", claims_of(pod)),
        _ => return words.clone(),
    };
    match what {
        (_, names) if names.is_empty() => words.clone(),
        (what, names) => format!("{words} ({what} {})", text::list(&names)),
    }
}

/// The labels that its node must have.
pub fn node_selector(pod: &Pod) -> Vec<String> {
    let labels = pod.spec.node_selector.iter();
    let mut labels: Vec<String> =
        labels.map(|l| format!("{}={}", text::name(&l.key), text::name(&l.value))).collect();
    labels.sort();
    labels
}

/// The ports of its node that it wants.
pub fn host_ports(pod: &Pod) -> Vec<String> {
    let ports = pod.spec.containers.iter().flat_map(|c| &c.ports).filter(|p| p.host_port != 0);
    ports.map(|p| p.host_port.to_string()).collect()
}

fn claims_of(pod: &Pod) -> Vec<String> {
    let claims = pod.spec.volumes.iter().filter_map(|v| v.claim(&pod.metadata.name));
    claims.map(|claim| text::name(&claim)).collect()
}

/// What the pod asks for, where that is what does not fit.
fn details(finding: &mut Finding, pod: &Pod, fit: &FitError) {
    let has = |code| fit.constraints.iter().any(|c| c.code == code);
    if has(CauseCode::InsufficientResources) {
        for container in pod.spec.containers.iter().take(10) {
            let Some(resources) = &container.resources else { continue };
            let asks = resources.requests.iter().map(|r| format!("{} {}", r.key, r.value.string));
            let mut asks: Vec<String> = asks.collect();
            asks.sort();
            if !asks.is_empty() {
                let words =
                    format!("container {} requests {}", text::name(&container.name), text::list(&asks));
                finding.add(Source::Spec, words, None);
            }
        }
    }
    if has(CauseCode::NodeSelectorMismatch) && !pod.spec.node_selector.is_empty() {
        let labels = text::list(&node_selector(pod));
        finding.add(Source::Spec, format!("nodeSelector {labels}"), None);
        finding.scope = Some(super::Scope { kind: "selector", name: labels });
    }
    if has(CauseCode::HostPortTaken) {
        finding.add(Source::Spec, format!("host port {}", text::list(&host_ports(pod))), None);
    }
    if has(CauseCode::VolumeUnavailable) {
        let claims = claims_of(pod);
        if let Some(first) = claims.first() {
            finding.scope =
                Some(super::Scope { kind: "claim", name: format!("{}/{first}", finding.namespace) });
            finding.add(Source::Spec, format!("claims: {}", text::list(&claims)), None);
        }
    }
}

/// Whether the nodes themselves may tell more than the scheduler: which taints they have, which since 1.36 it no longer
/// names, and whether any of them could ever have what the pod requests.
pub fn wants_nodes(finding: &Finding) -> bool {
    finding.reason.known() == Some(Reason::Unschedulable)
        && (finding.cause.text.contains("had untolerated taint(s)")
            || finding.cause.code == CauseCode::InsufficientResources)
}

/// Adds what the nodes tell.
pub fn add_nodes<'n>(finding: &mut Finding, pod: &Pod, nodes: impl IntoIterator<Item = &'n Node>) {
    let nodes: Vec<&Node> = nodes.into_iter().collect();
    name_taints(finding, pod, nodes.iter().copied());
    if finding.cause.code == CauseCode::InsufficientResources {
        compare_resources(finding, pod, &nodes);
    }
}

/// Compares what the pod requests with what the nodes could give if they were empty. Only where as many nodes are known as the
/// scheduler has looked at, and each says what it has: else one that is not seen may have it.
fn compare_resources(finding: &mut Finding, pod: &Pod, nodes: &[&Node]) {
    let message = scheduler_message(pod);
    let Some(fit) = parse(message) else { return };
    let all_known = usize::try_from(fit.total).is_ok_and(|total| nodes.len() >= total)
        && nodes.iter().all(|n| !n.status.allocatable.is_empty());
    if !all_known {
        return;
    }
    // Schedulers with plugins of their own also call quotas insufficient, which no node has.
    let is_resource = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-./_".contains(c));
    let short = fit.constraints.iter().filter_map(|c| c.words.strip_prefix("Insufficient "));
    for resource in short.filter(is_resource) {
        let name = text::name(resource);
        let size = |n: &Node| n.allocatable(resource).and_then(quantity::parse).unwrap_or(0.0);
        let having: Vec<&Node> = nodes.iter().copied().filter(|n| size(n) > 0.0).collect();
        if having.is_empty() {
            finding.summary = format!("{}: no node advertises {name}", finding.summary);
            finding.cause.text = format!("no node advertises {name}; {}", finding.cause.text);
            let step = if resource.contains('/') {
                format!(
                    "check that the device plugin that offers {name} runs on the nodes: kubectl get pods -A -o wide; kubectl describe nodes must then list {name} under Allocatable"
                )
            } else {
                format!("no node has {name} in its Allocatable: kubectl describe nodes")
            };
            finding.next_steps.retain(|s| !s.starts_with("lower the requests"));
            finding.next_steps.insert(0, step);
            return;
        }
        let largest = having.iter().copied().max_by(|a, b| size(a).total_cmp(&size(b)));
        if let Some(largest) = largest
            && let Some(wanted) = requested(pod, resource)
            && wanted > size(largest)
        {
            let has = text::name(&quantity::shown(largest.allocatable(resource).unwrap_or_default()));
            let words = format!("no node is large enough: the largest has {name} {has}");
            finding.summary = format!("{}; {words}", finding.summary);
            finding.cause.text = format!("{words}; {}", finding.cause.text);
            if let Some(step) = finding.next_steps.iter_mut().find(|s| s.starts_with("lower the requests")) {
                *step = TOO_LARGE.to_owned();
            }
            return;
        }
        tainted_with_it(finding, resource, &having, nodes.len());
    }
}

/// Says which taint keeps the pod from the nodes that have a device: only where each of them has one that keeps pods out.
fn tainted_with_it(finding: &mut Finding, resource: &str, having: &[&Node], all: usize) {
    let taint = |n: &Node| n.spec.taints.iter().find(|t| t.keeps_out()).map(Taint::words);
    let taints: Vec<String> = having.iter().filter_map(|n| taint(n)).collect();
    if !resource.contains('/') || having.len() == all || taints.len() < having.len() {
        return;
    }
    let names: Vec<&str> = having.iter().map(|n| n.metadata.name.as_str()).collect();
    let taints: BTreeSet<String> = taints.iter().map(|t| text::name(t)).collect();
    let taints: Vec<String> = taints.into_iter().collect();
    let words = format!(
        "every node that has {} is tainted: {} ({})",
        text::name(resource),
        text::list(&names),
        text::list(&taints)
    );
    finding.cause.text = format!("{words}; {}", finding.cause.text);
    finding.add(Source::Node, words, None);
    finding.next_steps.insert(0, TAINTS.to_owned());
}

/// What all containers of the pod request of a resource together, or the pod as a whole.
fn requested(pod: &Pod, resource: &str) -> Option<f64> {
    if let Some(whole) = pod.spec.resources.as_deref().and_then(|r| r.request(resource)) {
        return quantity::parse(whole);
    }
    let each = pod.spec.containers.iter().filter_map(|c| c.request(resource)).filter_map(quantity::parse);
    Some(each.sum()).filter(|sum: &f64| *sum > 0.0)
}

/// The scheduler's sentence about the pod, from its condition.
fn scheduler_message(pod: &Pod) -> &str {
    pod.status.condition(&ConditionType::PodScheduled).map_or("", |c| &c.message)
}

/// Adds which taints they are that the pod does not tolerate, as the nodes have them. What it tolerates is not known here,
/// so that only as many tainted nodes as the scheduler counts are a proof.
fn name_taints<'n>(finding: &mut Finding, pod: &Pod, nodes: impl IntoIterator<Item = &'n Node>) {
    const WORDS: &str = "node(s) had untolerated taint(s)";
    let Some(fit) = parse(scheduler_message(pod)) else { return };
    let counted = fit.constraints.iter().find(|c| c.words == WORDS).and_then(|c| c.nodes);
    // Of a cordoned node the scheduler says so, and not that it is tainted.
    let keeps_out = |n: &&Node| !n.spec.unschedulable && n.spec.taints.iter().any(Taint::keeps_out);
    let mut tainted: Vec<&Node> = nodes.into_iter().filter(keeps_out).collect();
    if tainted.is_empty() || u32::try_from(tainted.len()).ok() != counted {
        return;
    }
    tainted.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    // What tells the state of a node comes first, and last what nearly every cluster has.
    let of_state = |taint: &Taint| kind(&format!("taint {{{}: }}", taint.key));
    let rank = |taint: &Taint| match of_state(taint) {
        CauseCode::UntoleratedTaint if taint.key == "node-role.kubernetes.io/control-plane" => 2,
        CauseCode::UntoleratedTaint => 1,
        _ => 0,
    };
    let mut words: BTreeMap<(i32, String), Vec<&str>> = BTreeMap::new();
    for node in &tainted {
        let mut taints: Vec<&Taint> = node.spec.taints.iter().filter(|t| t.keeps_out()).collect();
        // Often one is there twice, with each effect.
        taints.sort_by(|a, b| (rank(a), &a.key, &b.effect).cmp(&(rank(b), &b.key, &a.effect)));
        taints.dedup_by(|a, b| (&a.key, &a.value) == (&b.key, &b.value));
        let first = taints.first().map_or(1, |t| rank(t));
        let taints: Vec<String> = taints.into_iter().map(|t| text::name(&t.words())).collect();
        words.entry((first, text::list(&taints))).or_default().push(&node.metadata.name);
    }
    let mut named: Vec<((i32, String), Vec<&str>)> = words.into_iter().collect();
    named.sort_by_key(|((rank, _), on)| (*rank, std::cmp::Reverse(on.len())));
    for ((_, taints), on) in named.iter().take(5) {
        finding.add(Source::Node, format!("taint {taints} on {}", text::list(on)), None);
    }
    let Some(((_, most), on)) = named.first() else { return };
    let on = if on.len() == 1 {
        format!("node {}", text::list(on))
    } else {
        text::count(i64::try_from(on.len()).unwrap_or(i64::MAX), "node")
    };
    let more = if named.len() > 1 { ", and others" } else { "" };
    let counted = counted.map_or(WORDS.to_owned(), |n| format!("{n} {WORDS}"));
    finding.summary = finding.summary.replace(&counted, &format!("{on} has the taint {most}{more}"));
    if finding.cause.code != CauseCode::UntoleratedTaint {
        return;
    }
    // A taint that tells the state of a node is no matter of tolerations.
    finding.cause.text = format!("{}; {on} has the taint {most}{more}", finding.cause.text);
    let states = tainted.iter().flat_map(|n| &n.spec.taints).filter(|t| t.keeps_out()).map(of_state);
    let states: BTreeSet<&str> = states.map(CauseCode::as_str).collect();
    for code in [CauseCode::NodeUnready, CauseCode::NodePressure] {
        if states.contains(code.as_str()) {
            finding.cause.code = code;
            finding.next_steps.retain(|s| s != TAINTS);
            finding
                .next_steps
                .insert(0, if code == CauseCode::NodeUnready { UNREADY } else { PRESSED }.to_owned());
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(message: &str) -> (u32, Vec<(Option<u32>, CauseCode)>) {
        let fit = parse(message).unwrap();
        (fit.total, fit.constraints.into_iter().map(|c| (c.nodes, c.code)).collect())
    }

    #[test]
    fn the_sentence_is_taken_apart_into_counts_per_constraint() {
        use CauseCode as C;
        assert_eq!(
            codes(
                "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
            ),
            (
                2,
                vec![
                    (Some(1), C::InsufficientResources),
                    (Some(1), C::InsufficientResources),
                    (Some(1), C::UntoleratedTaint)
                ]
            )
        );
        assert_eq!(
            codes("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"),
            (2, vec![(None, C::VolumeUnavailable)])
        );
        assert_eq!(
            codes(
                "0/12 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu, or.else}, 9 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: 12 No preemption victims found for incoming pod."
            ),
            (12, vec![(Some(9), C::InsufficientResources), (Some(3), C::UntoleratedTaint)])
        );
        assert_eq!(
            codes(
                "0/5 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't match pod anti-affinity rules, 1 node(s) were unschedulable."
            ),
            (
                5,
                vec![
                    (Some(2), C::NodeSelectorMismatch),
                    (Some(2), C::AffinityUnsatisfied),
                    (Some(1), C::NodesUnschedulable)
                ]
            )
        );
        assert_eq!(
            codes(
                "0/3 nodes are available: 3 node(s) had volume node affinity conflict. preemption: not eligible due to preemptionPolicy=Never."
            ),
            (3, vec![(Some(3), C::VolumeUnavailable)])
        );
        assert_eq!(parse("persistentvolumeclaim \"x\" not found"), None);
    }
}
