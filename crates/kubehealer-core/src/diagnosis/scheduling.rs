//! Pods without a node: the scheduler's sentence taken apart into counts per constraint.

use super::cause::CauseCode;
use super::context::{Context, oldest_first};
use super::devices;
use super::draft::Look;
use super::finding::{Confidence, Finding, Source};
use super::reason::Reason;
use super::text;
use crate::objects::node::Taint;
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
const DEVICES: [&str; 7] = [
    "resourceclaim",
    "ResourceClaim",
    "resource claim",
    "allocate all claims",
    "dynamic resource",
    "DynamicResources",
    "device class",
];

/// How taints are seen.
const TAINTS: &str = "give the pod a toleration, or use nodes without the taint: kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints";

/// Where nodes are not ready.
const UNREADY: &str = "the nodes are not ready, or not yet: kubectl get nodes";

/// Where nodes are short of something.
const PRESSED: &str = "the nodes are short of disk, memory or process ids: kubectl describe nodes";

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

/// The claims that a pod without a node may wait for, by name, where its scheduler says that it waits for one.
pub fn awaited_claims(pod: &Pod) -> impl Iterator<Item = &str> {
    let waits = pod.spec.node_name.is_empty()
        && pod
            .status
            .condition(&ConditionType::PodScheduled)
            .is_some_and(|c| c.is_false() && kind_of_all(&c.message).contains(&CauseCode::VolumeUnavailable));
    let claims = pod.spec.volumes.iter().filter(move |_| waits);
    claims.filter_map(|v| Some(v.source.as_ref()?.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn kind_of_all(message: &str) -> Vec<CauseCode> {
    match parse(message) {
        Some(fit) => fit.constraints.iter().map(|c| c.code).collect(),
        None => vec![kind(message)],
    }
}

/// Adds what the controllers say of the claims that the pod waits for: there, not at the scheduler, it is seen why.
fn add_claims(finding: &mut Finding, pod: &Pod, context: &Context<'_>) {
    // What is only news of the way is worth less than a failure.
    let failed =
        |e: &&Event| matches!(e.reason.as_str(), "ProvisioningFailed" | "FailedBinding" | "ClaimLost");
    let waits = |e: &&Event| matches!(e.reason.as_str(), "ExternalProvisioning");
    // A claim may be older than the pod, and have failed for an earlier one of the same name; it goes on failing, then.
    let born = pod.metadata.creation_timestamp.get();
    let events =
        context.claim_events.iter().filter(|e| born.zip(e.last_seen()).is_none_or(|(b, at)| b <= at));
    let newest = events.clone().filter(failed).max_by(|a, b| oldest_first(a, b));
    let Some(event) = newest.or_else(|| events.filter(waits).max_by(|a, b| oldest_first(a, b))) else {
        return;
    };
    let claim = text::name(&event.involved_object.name);
    let said = text::uncombined(&event.message);
    let words = match event.reason.as_str() {
        "ExternalProvisioning" => {
            let driver = text::between(said, "provisioner '", "'")
                .or_else(|| text::between(said, "provisioner \"", "\""));
            format!(
                "claim {claim} waits for its provisioner {} to make the volume",
                driver.map(text::name).unwrap_or_default()
            )
        }
        _ => format!("claim {claim}: {}", provisioning(said)),
    };
    finding.summary = format!("the pod cannot be scheduled: {words}");
    finding.cause.text = format!("{words}; {}", finding.cause.text);
    finding.scope = Some(super::Scope { kind: "claim", name: format!("{}/{claim}", finding.namespace) });
    finding.add_event(event);
    let step = finding.kubectl(&format!("describe pvc {}", text::arg(&event.involved_object.name)));
    finding.next_steps.retain(|s| !s.ends_with(" get pvc") && !s.starts_with("the claim must exist"));
    finding.next_steps.insert(0, step);
}

/// What a provisioner says, without its wrappings.
fn provisioning(said: &str) -> String {
    let said = said.rsplit_once(" desc = ").map_or(said, |(_, said)| said);
    text::quote(&text::normalise(said.trim_end_matches(['.', ' '])))
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
                .summary(format!("the pod is held back by scheduling gate {gates}"))
                .cause(CauseCode::SchedulingGate, format!("scheduling gate {gates} has not been removed"))
                .with(Source::Status, message, since)
                .next_step("the controller that owns the gate (a queue, a quota system) removes it");
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
                    (format!("the scheduler waits in vain for the pod's volumes: {said}"), claims)
                }
                CauseCode::DeviceAllocationFailed => {
                    (format!("the scheduler waits in vain for the pod's devices: {said}"), devices)
                }
                _ => (
                    format!("the scheduler failed on this pod: {said}"),
                    "look at the log of the scheduler (and of its plugins and extenders)".to_owned(),
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
            // Karpenter says under the same reason why it makes no node.
            let of_karpenter =
                |e: &Event| e.reason == "FailedScheduling" && e.source.component.contains("karpenter");
            if let Some(event) = context.newest_event(of_karpenter) {
                finding.add_event(event);
                let why = event.message.strip_prefix("Failed to schedule pod, ").unwrap_or(&event.message);
                finding.cause.text =
                    format!("{}; Karpenter adds no node: {}", finding.cause.text, text::quote(why));
            }
            if let Some(event) = context.newest_event(|e| e.reason == "FailedScheduling" && !of_karpenter(e))
            {
                // The condition is current; the event may hold the first sentence only. It adds how long and how often.
                let times = event.times();
                finding.add(Source::Event, format!("FailedScheduling (x{times})"), event.last_seen());
            }
            if finding.cause.code == CauseCode::VolumeUnavailable {
                add_claims(&mut finding, pod, context);
            }
            let scaling = context.newest_event(is_autoscaler);
            if let Some(event) = scaling {
                finding.add_event(event);
                if !is_coming(event) {
                    let why = event.message.split_once(": ").map_or(event.message.as_str(), |(_, why)| why);
                    finding.cause.text =
                        format!("{}; the autoscaler adds no node: {}", finding.cause.text, text::quote(why));
                }
            }
            let coming = scaling.is_some_and(is_coming);
            Some(finding.grace(since, coming.then_some(AUTOSCALER), look))
        }
        _ => unseen(pod, context, look),
    }
}

/// What autoscalers say of a pod: that a node is coming for it, or that none will.
fn is_autoscaler(event: &Event) -> bool {
    is_coming(event) || matches!(event.reason.as_str(), "NotTriggerScaleUp" | "FailedScaleUp")
}

fn is_coming(event: &Event) -> bool {
    matches!(event.reason.as_str(), "TriggeredScaleUp" | "Nominated")
}

/// What a plugin of the scheduler said, without the scheduler's own words about it.
fn plugins_word(message: &str) -> String {
    let said =
        message.strip_prefix("running ").and_then(|m| m.split_once("\": ")).map_or(message, |(_, said)| said);
    text::quote(said)
}

/// A pod that no scheduler has taken up: there is not even a condition.
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
    let finding = Finding::of_pod(pod, Reason::SchedulerError)
        .summary("no scheduler has looked at this pod")
        .cause(
            CauseCode::SchedulingConstraints,
            "the scheduler that the pod names does not run, or cannot keep up".to_owned(),
        )
        .confidence(Confidence::Probable);
    let step = finding
        .kubectl(&format!("get pod {} -o jsonpath='{{.spec.schedulerName}}'", text::arg(&finding.pod)));
    Some(finding.next_step(step).next_step("look whether that scheduler runs").grace(Some(since), None, look))
        .filter(Finding::is_active)
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
            finding.summary(format!("the pod cannot be scheduled: {said}")).cause(kind(message), said);
        details(&mut finding, pod, &alone);
        if message.starts_with("no nodes available") {
            finding = finding.next_step("the cluster has no node that takes pods: kubectl get nodes");
        }
        return finding;
    };
    let counted: Vec<String> = fit
        .constraints
        .iter()
        .map(|c| match c.nodes {
            Some(n) => format!("{n} {}", c.words),
            None => c.words.clone(),
        })
        .collect();
    let all = counted.join(", ");
    // Nodes that the pod is not meant for anyway (taints, cordons) are seldom the matter where others fail for a reason
    // that can be mended; nor are sick nodes, where well ones fail for another.
    let rank = |c: &&Constraint| match c.code {
        _ if is_ruled_out_before(&c.words) => 2,
        CauseCode::UntoleratedTaint | CauseCode::NodesUnschedulable => 2,
        CauseCode::NodeUnready | CauseCode::NodePressure => 1,
        _ => 0,
    };
    let leading = fit.constraints.iter().min_by_key(rank);
    let (code, words) =
        leading.map_or((CauseCode::SchedulingConstraints, ""), |c| (c.code, c.words.as_str()));
    let total = fit.total;
    // Each of the leading ones has to be mended, or rules out nodes of its own.
    let least = leading.map(|c| rank(&c));
    let matter: Vec<String> = fit
        .constraints
        .iter()
        .filter(|c| Some(rank(c)) == least)
        .take(3)
        .map(|c| particulars(pod, c))
        .collect();
    let matter = if matter.is_empty() { "no reason given".to_owned() } else { matter.join(", ") };
    let nodes = if total == 1 {
        "the only node does not fit".to_owned()
    } else {
        format!("none of {total} nodes fits")
    };
    let mut finding = finding
        .summary(format!("{nodes} the pod: {matter}"))
        .cause(code, format!("0 of {total} nodes fit: {all}"));
    details(&mut finding, pod, &fit);
    // A device that only tainted nodes have looks like one that no node has enough of.
    let device = words.starts_with("Insufficient ") && words.contains('/');
    if device && fit.constraints.iter().any(|c| c.code == CauseCode::UntoleratedTaint) {
        finding.cause.text.push_str("; the nodes that have it may be those with the taint");
        finding = finding.next_step(TAINTS);
    }
    let claims = finding.kubectl("get pvc");
    let advice = match code {
        CauseCode::InsufficientResources => {
            "lower the requests, free room, or add nodes; what is allocated, shows: kubectl describe nodes"
        }
        CauseCode::NodeSelectorMismatch => {
            "compare the pod's nodeSelector and affinity with kubectl get nodes --show-labels"
        }
        CauseCode::UntoleratedTaint => TAINTS,
        CauseCode::AffinityUnsatisfied => "relax the affinity, anti-affinity or spread rule, or add nodes",
        CauseCode::HostPortTaken => {
            "another pod on each node that fits has the host port: use a Service instead of hostPort, or fewer replicas"
        }
        CauseCode::VolumeUnavailable if words.contains("max volume count") => {
            "the nodes have as many volumes attached as they may: add nodes"
        }
        CauseCode::VolumeUnavailable if words.contains("node affinity") => {
            "the volume lives in a zone or on a node that has no room for the pod or is not allowed to it: kubectl describe pv"
        }
        CauseCode::VolumeUnavailable if words.contains("ReadWriteOncePod") => {
            "another pod has the claim, which only one pod at a time may use: let that one go first"
        }
        CauseCode::VolumeUnavailable if words.contains("not found") => {
            finding = finding.next_step(claims);
            "create the claim, or correct its name in the pod"
        }
        CauseCode::VolumeUnavailable => {
            finding = finding.next_step(claims).next_step("kubectl get storageclass");
            "the claim must exist and be bound, in a zone that the node can reach"
        }
        CauseCode::NodesUnschedulable if is_taint_of_an_end(words) => {
            "the autoscaler is about to remove the nodes: others must come, see its log"
        }
        CauseCode::NodesUnschedulable => {
            "when the maintenance is over, for each of them: kubectl uncordon NODE"
        }
        CauseCode::NodeUnready if is_taint_of_a_start(words) => {
            "an agent that every node needs is not ready there, or not yet: see its pod: kubectl get pods -A -o wide"
        }
        CauseCode::NodeUnready => UNREADY,
        CauseCode::NodePressure => PRESSED,
        CauseCode::TooManyPods => "the nodes run as many pods as they may: add nodes",
        CauseCode::DeviceAllocationFailed => {
            "look at the claims and devices: kubectl get resourceclaims,resourceslices -A"
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
        (what, names) => format!("{what} {}: {words}", text::list(&names)),
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
    let claims = pod.spec.volumes.iter().filter_map(|v| v.source.as_ref()?.persistent_volume_claim.as_ref());
    claims.map(|c| text::name(&c.claim_name)).collect()
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

/// Whether the nodes' own taints would tell more than the scheduler, which since 1.36 no longer names them.
pub fn wants_taints(finding: &Finding) -> bool {
    finding.reason.known() == Some(Reason::Unschedulable)
        && finding.cause.text.contains("had untolerated taint(s)")
}

/// Adds which taints they are that the pod does not tolerate, as the nodes have them. What it tolerates is not known here,
/// so that only as many tainted nodes as the scheduler counts are a proof.
pub fn name_taints<'n>(finding: &mut Finding, pod: &Pod, nodes: impl IntoIterator<Item = &'n Node>) {
    const WORDS: &str = "node(s) had untolerated taint(s)";
    let message = pod.status.condition(&ConditionType::PodScheduled).map_or("", |c| &c.message);
    let Some(fit) = parse(message) else { return };
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
    finding.summary = finding.summary.replace(WORDS, &format!("{on} has the taint {most}{more}"));
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
