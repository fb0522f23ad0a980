//! What autoscalers answer to a pod without a node: that one is coming, that they add none, that the cloud gives none.

use super::cause::CauseCode;
use super::context::{Context, oldest_first};
use super::finding::Finding;
use super::message::{Message, Words};
use super::text;
use crate::objects::Event;

/// Who else than the default scheduler says under its reason why there is no node: an autoscaler that makes none, or the
/// scheduler of a cloud's own kind of nodes.
pub fn is_other_scheduler(event: &Event) -> bool {
    matches!(component(event), "karpenter" | "cluster-autoscaler") || event.reporter().contains("fargate")
}

/// Who reports an event, without the domain that some put before it.
fn component(event: &Event) -> &str {
    let reporter = event.reporter();
    let name = reporter.rsplit('/').next().unwrap_or(reporter);
    if name.contains("karpenter") { "karpenter" } else { name }
}

/// What autoscalers answer to a pod without a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// A node is coming.
    Coming,
    /// No node will come, for a reason.
    Refused,
    /// A node was asked for, and the cloud gives none.
    Failed,
}

/// By whom it is reported and under which reason, a rule each.
const SCALING: &[(&str, &str, Scaling)] = &[
    ("", "TriggeredScaleUp", Scaling::Coming),
    ("", "Nominated", Scaling::Coming),
    ("", "NotTriggerScaleUp", Scaling::Refused),
    ("", "FailedScaleUp", Scaling::Failed),
    ("karpenter", "FailedScheduling", Scaling::Refused),
    ("cluster-autoscaler", "FailedScheduling", Scaling::Refused),
    ("karpenter", "NoCompatibleInstanceTypes", Scaling::Refused),
    ("karpenter", "InsufficientCapacityError", Scaling::Failed),
];

/// What an event about the pod, or about the NodeClaim that is nominated for it, says of a node to come.
pub fn scaling(event: &Event) -> Option<Scaling> {
    let by = component(event);
    let known =
        SCALING.iter().find(|(who, reason, _)| (who.is_empty() || *who == by) && *reason == event.reason);
    let of_claim = event.involved_object.kind == "NodeClaim" && event.kind == "Warning";
    // What is said of a node that is removed again is no failure to launch it.
    let removed = ["Disrupt", "Terminating", "Terminated"].iter().any(|word| event.reason.contains(word));
    known.map(|rule| rule.2).or((of_claim && !removed).then_some(Scaling::Failed))
}

/// The longest first line that a second fact is added to, in bytes.
pub const LONGEST: usize = 280;

/// Adds what autoscalers say of the pod. Says whether a node is coming for it.
pub fn autoscalers(finding: &mut Finding, context: &Context<'_>) -> bool {
    let newest = |wanted: Scaling| {
        let events = context.events.iter().chain(context.claim_events);
        events.filter(|e| scaling(e) == Some(wanted)).max_by(|a, b| oldest_first(a, b))
    };
    let (coming, refused) = (newest(Scaling::Coming), newest(Scaling::Refused));
    let failed = newest(Scaling::Failed);
    let at = |e: Option<&Event>| e.and_then(Event::last_seen);
    if let Some(event) = coming {
        finding.add_event(event);
    }
    // It fails after it was asked for: in the same second, as a rule.
    if let Some(event) = failed.filter(|e| at(Some(e)) >= at(coming) && at(Some(e)) >= at(refused)) {
        add_failure(finding, event);
        return false;
    }
    if coming.is_some() && at(refused) <= at(coming) {
        return true;
    }
    let Some(event) = refused else { return false };
    finding.add_event(event);
    let (who, why) = refusal(event);
    finding.cause.text = format!("{who} adds no node: {why}; {}", finding.cause.text);
    let summary = format!("{}; {who} adds no node: {why}", finding.summary);
    finding.summary =
        if summary.len() <= LONGEST { summary } else { format!("{}; {who} adds no node", finding.summary) };
    let step = step_for_refusal(who, &why);
    finding.next_steps.push(step);
    false
}

/// What to do where an autoscaler adds no node, by its own words.
fn step_for_refusal(who: &str, why: &str) -> String {
    let label = text::between(why, "label \"", "\" does not have known values");
    if let Some(label) = label {
        let label = text::name(label);
        return format!(
            "give the template of a NodePool the label {label}, or correct the pod's nodeSelector and affinity: kubectl describe nodepools"
        );
    }
    let step = if who == "Karpenter" && why.contains("tolerate") {
        "compare the pod's tolerations with the taints of the NodePools: kubectl describe nodepools"
    } else if who == "Karpenter" {
        "compare the pod's requirements with those and the limits of the NodePools: kubectl describe nodepools"
    } else if why.contains("max node group size reached") || why.contains("max limit reached") {
        "raise the maximum size of the node group, or free capacity: kubectl -n kube-system describe configmap cluster-autoscaler-status"
    } else if why.contains("Insufficient ") {
        "a new node would be too small as well: lower the requests, or add a node group with larger nodes"
    } else {
        "see the limits and the log of the autoscaler: kubectl -n kube-system describe configmap cluster-autoscaler-status"
    };
    step.to_owned()
}

/// The cloud gives no node: why comes first, since the scheduler's own words are only about the nodes that are there.
fn add_failure(finding: &mut Finding, event: &Event) {
    finding.add_event(event);
    let of = &event.involved_object;
    let what = match (component(event), of.kind.as_str()) {
        (_, "NodeClaim") => format!("Karpenter cannot launch NodeClaim {}", text::name(&of.name)),
        ("karpenter", _) => "Karpenter cannot add a node".to_owned(),
        _ => "the autoscaler cannot add a node".to_owned(),
    };
    let why = launch_error(event);
    let before = finding.summary.strip_prefix("pod cannot be scheduled: ").unwrap_or(&finding.summary);
    let summary = format!("pod cannot be scheduled: {what}: {why}");
    let whole = format!("{summary}; {before}");
    finding.summary = if whole.len() <= LONGEST { whole } else { summary };
    finding.cause.text = format!("{what}: {why}; {}", finding.cause.text);
    // A node was asked for that fits: what keeps the pod from the nodes that are there is not to be changed.
    use CauseCode as C;
    if matches!(finding.cause.code, C::UntoleratedTaint | C::NodeSelectorMismatch | C::AffinityUnsatisfied) {
        finding.next_steps.drain(..finding.next_steps.len().min(1));
        finding.cause.code = C::SchedulingConstraints;
    }
    if of.kind == "NodeClaim" {
        let name = text::arg(&of.name);
        finding.next_steps.insert(0, format!("kubectl describe nodeclaim {name}"));
    }
    finding.next_steps.insert(0, step_for_failure(&why).to_owned());
}

/// Why the cloud gives no node, in its own words.
fn launch_error(event: &Event) -> String {
    let said = text::uncombined(&event.message);
    let claim = format!("NodeClaim {} event: ", event.involved_object.name);
    let said = said.strip_prefix(&claim).unwrap_or(said);
    // Karpenter counts every error of the fleet as a lack of capacity; the error itself stands behind it.
    let said = said.split_once("with fleet error(s), ").map_or(said, |(_, error)| error);
    let said = said.split_once(" associated with this pod failed: ").map_or(said, |(_, why)| why);
    let said = said.split_once(". Pod is at risk").map_or(said, |(why, _)| why);
    text::quote(&Message::read(said).detail())
}

/// What to do about it, by what it says.
fn step_for_failure(why: &str) -> &'static str {
    let words = Words::of(why, &[]);
    let has = |any: &[&str]| any.iter().any(|w| words.have(w));
    if has(&["servicelinkedrole", "service-linked role"]) {
        "create the service-linked role that the message names (for EC2 Spot: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com), or allow Karpenter's IAM role to create it"
    } else if has(&["instance profile", "instanceprofile"]) {
        "check the role or instanceProfile of the node class, and that it exists in IAM: kubectl describe ec2nodeclasses"
    } else if has(&[
        "unauthorizedoperation",
        "not authorized",
        "authfailure",
        "accessdenied",
        "permission",
        "forbidden",
    ]) {
        "give the autoscaler's own role in the cloud (IAM) the permission that the message names"
    } else if has(&["quota", "limitexceeded", "limit exceeded"]) {
        "raise the quota in the cloud's account or project, or use another kind of machine"
    } else if has(&["ip space exhausted", "insufficientfreeaddresses", "subnet"]) {
        "check the free addresses of the subnets that the nodes use"
    } else if has(&["capacity", "out of resources", "stockout", "skunotavailable", "allocationfailed"]) {
        "the cloud has no such machine there at the moment: allow more instance types and zones"
    } else {
        "read the log of the autoscaler"
    }
}

/// Which autoscaler adds no node, and why in its own words.
fn refusal(event: &Event) -> (&'static str, String) {
    let said = text::uncombined(&event.message);
    if component(event) != "karpenter" {
        let why = said.split_once(": ").map_or(said, |(_, why)| why);
        return ("the autoscaler", text::quote(why));
    }
    let why = said.strip_prefix("Failed to schedule pod, ").unwrap_or(said);
    // What the DaemonSets of a node take is in the message for the reader of a log.
    let mut why = why.to_owned();
    while let Some((before, rest)) = why.split_once("daemonset overhead={")
        && let Some((_, after)) = rest.split_once("}, ")
    {
        why = format!("{before}{after}");
    }
    ("Karpenter", text::quote(&why))
}
