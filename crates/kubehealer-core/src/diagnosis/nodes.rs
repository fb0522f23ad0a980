//! Nodes: one finding for a node with the pods that it took down, not one per pod.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{STABLE, views};
use super::draft::Look;
use super::exit;
use super::finding::{Confidence, Finding, Source};
use super::reason::{Reason, Severity};
use super::text;
use crate::objects::{Node, Pod};

/// Ends of containers that belong together.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(120);
/// A node that says itself that it is not ready is often only starting: its network comes last.
const STARTING: SignedDuration = SignedDuration::from_secs(120);
/// Fewer pods than this prove nothing about their node.
const FEWEST: usize = 3;

/// Looks at one node. `pods` is how many pods run on it, as [`runs`] tells.
pub fn diagnose(node: &Node, pods: usize, look: &mut Look) -> Vec<Finding> {
    let name = text::name(&node.metadata.name);
    let mut findings = Vec::new();
    // A node that is taken out of the cluster goes silent, as it should.
    if node.metadata.deletion_timestamp.is_known() {
        return findings;
    }
    let describe = format!("kubectl describe node {}", text::arg(&name));
    if let Some(ready) = node.condition("Ready").filter(|c| c.status != "True") {
        let since = ready.last_transition_time.get();
        let silent = ready.status == "Unknown";
        let said = text::quote(&ready.message);
        let (code, words) = if silent {
            (CauseCode::KubeletStopped, "its kubelet has stopped posting status")
        } else {
            (CauseCode::NodeUnready, "its kubelet says that it is not ready")
        };
        // Of a silent kubelet the message says only that it is silent.
        let why = if silent || said.is_empty() { words.to_owned() } else { unreadiness(&ready.message) };
        let mut finding = of_node(node, Reason::NodeNotReady)
            .summary(format!("node {name} is not ready: {why}"))
            .cause(code, format!("{words}: {said}"))
            .with(
                Source::Node,
                format!("Ready {}: {}: {said}", text::name(&ready.status), text::name(&ready.reason)),
                since,
            )
            .scope("node", name.clone())
            .next_step(describe.clone());
        if silent && pods > 0 {
            let pods = text::count(i64::try_from(pods).unwrap_or(i64::MAX), "pod");
            finding = finding
                .next_step(format!("what the API says of the {pods} on it is frozen; a drain moves them"));
        }
        // Of a silent kubelet the control plane has waited long enough already.
        finding = finding.grace(since, Some(if silent { SignedDuration::ZERO } else { STARTING }), look);
        // A cordoned node is being worked on.
        if node.spec.unschedulable {
            finding.severity = finding.severity.min(Severity::Warning);
            finding.add(Source::Node, "the node is cordoned: somebody may be at work on it", None);
        }
        findings.push(finding);
    }
    for (kind, reason) in [
        ("MemoryPressure", Reason::MemoryPressure),
        ("DiskPressure", Reason::DiskPressure),
        ("PIDPressure", Reason::PIDPressure),
    ] {
        let Some(condition) = node.condition(kind).filter(|c| c.status == "True") else { continue };
        let since = condition.last_transition_time.get();
        let said = text::quote(&condition.message);
        let what = match reason {
            Reason::MemoryPressure => "memory",
            Reason::DiskPressure => "disk space",
            _ => "process ids",
        };
        findings.push(
            of_node(node, reason)
                .summary(format!("node {name} is short of {what}: it evicts pods and takes no new ones"))
                .cause(CauseCode::NodePressure, format!("the kubelet says: {said}"))
                .with(Source::Node, format!("{kind} True: {said}"), since)
                .scope("node", name.clone())
                .next_step(describe.clone())
                .grace(since, None, look),
        );
    }
    findings
}

/// What a kubelet says of itself, without the wrappings around the network's own words.
fn unreadiness(message: &str) -> String {
    let said = message.rsplit_once(" message:").map_or(message, |(_, said)| said);
    let network = message.contains("network not ready") && !said.contains("network");
    format!(
        "{}{}",
        if network { "its network is not ready: " } else { "" },
        text::head(&text::quote(said), 160)
    )
}

fn of_node(node: &Node, reason: Reason) -> Finding {
    let mut finding = Finding::of_object(&node.metadata, reason);
    finding.namespace = String::new();
    finding.node = text::name(&node.metadata.name);
    finding
}

/// The end of a container as a restart of its node or runtime leaves it: when, unless it is not known.
/// 255 with `Unknown` is containerd's word for a task that was gone when it came back; the kubelet makes up
/// `ContainerStatusUnknown`; where processes were killed in good order it is 137 or 143 like any other.
pub fn ended_with_node(pod: &Pod) -> Option<Timestamp> {
    if pod.metadata.deletion_timestamp.is_known() {
        return None;
    }
    let ends = views(pod).filter_map(|v| v.newest_end());
    ends.filter(|e| exit::is_made_up(&e.reason, e.exit_code) || matches!(e.exit_code, 137 | 143 | 255))
        .filter(|e| e.reason != "OOMKilled" && e.reason != "RestartingAllContainers")
        .filter_map(|e| e.finished_at.get())
        .max()
}

/// Whether a pod is one of those that a restart of their node would end: it has begun, and is not over.
pub fn runs(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_str(), "Failed" | "Succeeded")
        && views(pod).any(|v| v.is_running() || v.newest_end().is_some())
}

/// Whether it does not say that it is ready.
pub fn is_down(node: &Node) -> bool {
    node.condition("Ready").is_some_and(|c| c.status != "True")
}

/// A node on which most containers ended at the same time, if they did. `ends` are the [`ended_with_node`] of the pods that
/// [`runs`] tells to be on it, which are `pods`.
pub fn restarted(node: &Node, mut ends: Vec<Timestamp>, pods: usize, look: &mut Look) -> Option<Finding> {
    ends.sort_unstable();
    let best = ends.iter().enumerate().map(|(at, from)| {
        let after = ends.iter().skip(at);
        (after.take_while(|end| end.duration_since(*from) <= SAME_TIME).count(), *from)
    });
    let (together, from) = best.max()?;
    if together < FEWEST || together * 2 < pods {
        return None;
    }
    let name = text::name(&node.metadata.name);
    let pods = text::count(i64::try_from(together).unwrap_or(i64::MAX), "pod");
    let mut finding = of_node(node, Reason::NodeRestart)
        .summary(format!("containers of {pods} on node {name} ended at the same time: the node or its container runtime was restarted"))
        .cause(CauseCode::NodeRestarted, format!("containers of {pods} on node {name} ended within two minutes"))
        .confidence(Confidence::Probable)
        .with(Source::Status, format!("containers of {pods} ended within two minutes"), Some(from))
        .scope("node", name.clone())
        .next_step(format!(
            "kubectl get events -A --field-selector involvedObject.kind=Node,involvedObject.name={}",
            text::arg(&name)
        ))
        .next_step(format!("kubectl describe node {}", text::arg(&name)));
    finding.since = Some(from);
    if look.within(from, STABLE) {
        return Some(finding);
    }
    look.within(from, SignedDuration::from_secs(3600)).then(|| finding.recovered())
}
