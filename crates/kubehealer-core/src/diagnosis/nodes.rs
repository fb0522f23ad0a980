//! Nodes: one finding for a node with the pods that it took down, not one per pod.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{STABLE, views};
use super::draft::Look;
use super::exit;
use super::finding::{Confidence, Finding, Source};
use super::reason::{Reason, Severity};
use super::text;
use crate::objects::node::NodeCondition;
use crate::objects::quantity;
use crate::objects::{Node, Pod};

/// Ends of containers that belong together.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(120);
/// A node that says itself that it is not ready is often only starting: its network comes last.
const STARTING: SignedDuration = SignedDuration::from_secs(120);
/// Fewer pods than this prove nothing about their node.
const FEWEST: usize = 3;
/// So many of them must be such as no probe can have killed.
const FEWEST_UNPROBED: usize = 2;

/// The taint that the cloud's node controller sets when the machine of a silent node is stopped (k8s.io/cloud-provider/api).
const SHUT_DOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

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
        let shut_down = silent && node.spec.taints.iter().any(|taint| taint.key == SHUT_DOWN);
        let (code, words) = if shut_down {
            (CauseCode::NodeShutDown, "the cloud provider reports that its machine is shut down")
        } else if silent && ready.reason == "NodeStatusNeverUpdated" {
            (CauseCode::KubeletStopped, "its kubelet has never posted status")
        } else if silent {
            (CauseCode::KubeletStopped, "its kubelet has stopped posting status")
        } else {
            (CauseCode::NodeUnready, "its kubelet reports that it is not ready")
        };
        // Of a silent kubelet the message says only that it is silent.
        let why = match (silent, said.is_empty()) {
            _ if shut_down => words.to_owned(),
            (true, true) | (false, true) => words.to_owned(),
            (true, false) => format!("{words}: {said}"),
            (false, false) => unreadiness(&ready.message),
        };
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
        if shut_down {
            finding =
                finding.next_step("start its machine again, or delete the node if it does not come back");
        } else if silent && pods > 0 {
            let pods = text::count(i64::try_from(pods).unwrap_or(i64::MAX), "pod");
            finding = finding.next_step(format!(
                "the status of its {pods} is out of date; if the node does not come back, drain it"
            ));
        }
        // Of a silent kubelet the control plane has waited long enough already.
        finding = finding.grace(since, Some(if silent { SignedDuration::ZERO } else { STARTING }), look);
        // A cordoned node is being worked on.
        if node.spec.unschedulable {
            finding.severity = finding.severity.min(Severity::Warning);
            finding.add(Source::Node, "the node is cordoned: it may be under maintenance", None);
        }
        findings.push(finding);
    }
    for (kind, reason) in PRESSURES {
        let Some(condition) = node.condition(kind).filter(|c| c.status == "True") else { continue };
        findings.push(pressure(node, condition, reason, look));
    }
    findings.extend(problem(node, look));
    findings
}

/// The kubelet's own conditions about what a node is short of.
const PRESSURES: [(&str, Reason); 3] = [
    ("MemoryPressure", Reason::MemoryPressure),
    ("DiskPressure", Reason::DiskPressure),
    ("PIDPressure", Reason::PIDPressure),
];

fn pressure(node: &Node, condition: &NodeCondition, reason: Reason, look: &mut Look) -> Finding {
    let name = text::name(&node.metadata.name);
    let since = condition.last_transition_time.get();
    let said = text::quote(&condition.message);
    let (what, resource) = match reason {
        Reason::MemoryPressure => ("memory", "memory"),
        Reason::DiskPressure => ("disk space", "ephemeral-storage"),
        _ => ("process IDs", ""),
    };
    // The condition has no numbers of its own.
    let amount = node.allocatable(resource).and_then(quantity::parse);
    let of = amount.map(|bytes| format!(", {} for pods", quantity::bytes(bytes)));
    let of = of.unwrap_or_default();
    of_node(node, reason)
        .summary(format!(
            "node {name} is short of {what} ({reason}{of}): it evicts pods and accepts no new ones"
        ))
        .cause(CauseCode::NodePressure, format!("the kubelet reports: {said}"))
        .with(Source::Node, format!("{reason} True: {said}"), since)
        .scope("node", name.clone())
        .next_step(format!("kubectl describe node {}", text::arg(&name)))
        .grace(since, None, look)
}

/// Conditions of the kubelet and the control plane, which have findings of their own, or are seen in `Ready`; and those of
/// others that are neither good nor bad.
const NOT_PROBLEMS: [&str; 6] =
    ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "OutOfDisk", "EtcdIsVoter"];

/// What the types of conditions are named after that are good when they are True.
const GOOD: [&str; 5] = ["ready", "healthy", "available", "succeeded", "operational"];

/// What the types of conditions are named after that are bad when they are True.
const BAD: [&str; 24] = [
    "unhealthy",
    "notready",
    "unready",
    "unavailable",
    "problem",
    "deadlock",
    "readonly",
    "corrupt",
    "frequent",
    "pressure",
    "fail",
    "error",
    "degraded",
    "hung",
    "lost",
    "exhausted",
    "mismatch",
    "missing",
    "expired",
    "overload",
    "throttl",
    "unreachable",
    "outof",
    "defect",
];

/// Whether a condition of a node agent (the node-problem-detector, a cloud's monitoring agent) has its bad status. The name of
/// its type tells which that is; of a name that tells nothing, nothing is claimed.
fn is_bad(condition: &NodeCondition) -> bool {
    if NOT_PROBLEMS.contains(&condition.kind.as_str()) {
        return false;
    }
    let kind = condition.kind.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| kind.contains(w));
    match condition.status.as_str() {
        "True" => has(&BAD),
        "False" => !has(&BAD) && has(&GOOD),
        _ => false,
    }
}

/// Whether a node agent reports a problem of the node.
pub fn has_problem(node: &Node) -> bool {
    node.status.conditions.iter().any(is_bad)
}

/// The words of a condition: type, status, reason and message, whatever they are.
fn words_of(condition: &NodeCondition) -> String {
    let reason = text::name(&condition.reason);
    let (open, close) = if reason.is_empty() { ("", "") } else { (" (", ")") };
    let said = text::quote(&condition.message);
    let colon = if said.is_empty() { "" } else { ": " };
    format!(
        "{} {}{open}{reason}{close}{colon}{said}",
        text::name(&condition.kind),
        text::name(&condition.status)
    )
}

/// What node agents report, in their own words: one finding for all of it.
fn problem(node: &Node, look: &mut Look) -> Option<Finding> {
    let mut bad: Vec<&NodeCondition> = node.status.conditions.iter().filter(|c| is_bad(c)).collect();
    bad.sort_by(|a, b| (a.last_transition_time.get(), &a.kind).cmp(&(b.last_transition_time.get(), &b.kind)));
    let first = bad.first()?;
    let name = text::name(&node.metadata.name);
    let words: Vec<String> = bad.iter().map(|c| words_of(c)).collect();
    let all = words.join("; ");
    let mut finding = of_node(node, Reason::NodeProblem)
        .summary(format!("node {name} has a problem: {}", text::head(&all, 240)))
        .cause(CauseCode::NodeProblem, all)
        .scope("node", name.clone())
        .next_step(format!("kubectl describe node {}", text::arg(&name)))
        .next_step(format!(
            "keep new pods off the node until it is repaired or replaced: kubectl cordon {}",
            text::arg(&name)
        ));
    for (condition, words) in bad.iter().zip(words) {
        finding.add(Source::Node, words, condition.last_transition_time.get());
    }
    Some(finding.grace(first.last_transition_time.get(), None, look))
}

/// Lets the findings of a pod say what is wrong with its node, where they have no cause of their own.
pub fn explain(findings: &mut [Finding], node: Option<&Node>) {
    let Some(node) = node else { return };
    let bad: Vec<String> = node.status.conditions.iter().filter(|c| is_bad(c)).map(words_of).collect();
    let Some(words) = bad.first() else { return };
    let name = text::name(&node.metadata.name);
    for finding in findings.iter_mut().filter(|f| f.severity > Severity::Info) {
        finding.add(Source::Node, format!("node {name}: {}", bad.join("; ")), None);
        if matches!(finding.cause.code, CauseCode::Unexplained | CauseCode::KubeletSilent) {
            finding.summary = format!("{}; node {name} has {}", finding.summary, text::head(words, 160));
            finding.cause.text = format!("node {name} has {words}; {}", finding.cause.text);
            finding.confidence = Confidence::Probable;
        }
    }
}

/// What a kubelet says of itself, without the wrappings around the network's own words.
fn unreadiness(message: &str) -> String {
    let said = match message.rsplit_once(" message:") {
        Some((_, said)) if message.contains("network not ready") => {
            format!("container runtime network not ready: {said}")
        }
        _ => message.to_owned(),
    };
    text::head(&text::quote(said.trim()), 240)
}

fn of_node(node: &Node, reason: Reason) -> Finding {
    let mut finding = Finding::of_object(&node.metadata, reason);
    finding.namespace = String::new();
    finding.node = text::name(&node.metadata.name);
    finding
}

/// That containers of a pod ended as a restart of their node or runtime leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedWithNode {
    /// When.
    pub at: Timestamp,
    /// Whether no probe of their own can have had them killed: many fail at once with what they depend on.
    pub unprobed: bool,
}

/// The end of a container as a restart of its node or runtime leaves it, if its time is known.
/// 255 with `Unknown` is containerd's word for a task that was gone when it came back; the kubelet makes up
/// `ContainerStatusUnknown`; where processes were killed in good order it is 137 or 143 like any other. A run that ended as
/// the one before did is no sign of the node.
pub fn ended_with_node(pod: &Pod) -> Option<EndedWithNode> {
    if pod.metadata.deletion_timestamp.is_known() {
        return None;
    }
    let ends = views(pod).filter_map(|view| {
        let end = view.newest_end()?;
        let made_up = exit::is_made_up(&end.reason, end.exit_code);
        let again = view.end_before().is_some_and(|before| before.exit_code == end.exit_code);
        let killed = matches!(end.exit_code, 137 | 143 | 255) && !again;
        let own = matches!(end.reason.as_str(), "OOMKilled" | "RestartingAllContainers");
        let probed = view.spec.is_some_and(|c| c.liveness_probe.is_some() || c.startup_probe.is_some());
        let unprobed = made_up || end.exit_code == 255 || !probed;
        let at = end.finished_at.get()?;
        ((made_up || killed) && !own).then_some(EndedWithNode { at, unprobed })
    });
    ends.reduce(|a, b| EndedWithNode { at: a.at.max(b.at), unprobed: a.unprobed || b.unprobed })
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
pub fn restarted(node: &Node, mut ends: Vec<EndedWithNode>, pods: usize, look: &mut Look) -> Option<Finding> {
    ends.sort_unstable();
    let best = ends.iter().enumerate().map(|(at, from)| {
        let after = ends.iter().skip(at).take_while(|end| end.at.duration_since(from.at) <= SAME_TIME);
        let (all, unprobed) =
            after.fold((0, 0), |(all, unprobed), end| (all + 1, unprobed + usize::from(end.unprobed)));
        (all, unprobed, from.at)
    });
    let (together, unprobed, from) = best.max()?;
    if together < FEWEST || together * 2 < pods || unprobed < FEWEST_UNPROBED {
        return None;
    }
    let name = text::name(&node.metadata.name);
    let pods = text::count(i64::try_from(together).unwrap_or(i64::MAX), "pod");
    let mut finding = of_node(node, Reason::NodeRestart)
        .summary(format!("containers of {pods} on node {name} terminated at the same time: the node or its container runtime was restarted"))
        .cause(CauseCode::NodeRestarted, format!("containers of {pods} on node {name} terminated within two minutes"))
        .confidence(Confidence::Probable)
        .with(Source::Status, format!("containers of {pods} terminated within two minutes"), Some(from))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str) -> NodeCondition {
        NodeCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: "SomeReason".to_owned(),
            message: "some message".to_owned(),
            ..NodeCondition::default()
        }
    }

    #[test]
    fn what_a_probe_or_the_program_itself_can_have_ended_is_no_sign_of_its_node() {
        let end = |code: i32, reason: &str| serde_json::json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2026-11-30T10:00:00Z"}});
        let pod = |probe: bool, last: serde_json::Value, now: serde_json::Value| -> Pod {
            let probe =
                if probe { serde_json::json!({"httpGet": {"port": 8080}}) } else { serde_json::Value::Null };
            serde_json::from_value(serde_json::json!({
                "spec": {"containers": [{"name": "a", "livenessProbe": probe}]},
                "status": {"containerStatuses": [{"name": "a", "lastState": last, "state": now}]},
            }))
            .unwrap()
        };
        let running = || serde_json::json!({"running": {"startedAt": "2026-11-30T10:00:10Z"}});
        for (probe, last, now, unprobed) in [
            (false, end(137, "Error"), running(), Some(true)),
            (false, end(255, "Error"), running(), Some(true)),
            (true, end(255, "Unknown"), running(), Some(true)),
            (true, end(137, "Error"), running(), Some(false)),
            (true, end(143, "Error"), running(), Some(false)),
            (false, end(255, "Error"), end(255, "Error"), None),
            (false, end(137, "OOMKilled"), running(), None),
        ] {
            let words = format!("{probe} {last} {now}");
            assert_eq!(ended_with_node(&pod(probe, last, now)).map(|end| end.unprobed), unprobed, "{words}");
        }
        let mut node = Node::default();
        node.metadata.name = "n1".to_owned();
        let at = |unprobed: usize| {
            let ends = (0..5).map(|n| EndedWithNode { at: Timestamp::UNIX_EPOCH, unprobed: n < unprobed });
            restarted(&node, ends.collect(), 6, &mut Look::at(Timestamp::UNIX_EPOCH)).is_some()
        };
        assert!(at(5) && at(2) && !at(1) && !at(0));
    }

    #[test]
    fn of_a_condition_the_name_of_its_type_tells_which_status_is_bad() {
        for (kind, status) in [
            ("KernelDeadlock", "True"),
            ("ReadonlyFilesystem", "True"),
            ("CorruptDockerOverlay2", "True"),
            ("FrequentKubeletRestart", "True"),
            ("KubeletUnhealthy", "True"),
            ("NetworkUnavailable", "True"),
            ("FilesystemCorruptionProblem", "True"),
            ("AcceleratedHardwareReady", "False"),
            ("ContainerRuntimeReady", "False"),
            ("StorageReady", "False"),
        ] {
            assert!(is_bad(&condition(kind, status)), "{kind} {status}");
            let other = if status == "True" { "False" } else { "True" };
            assert!(!is_bad(&condition(kind, other)), "{kind} {other}");
            assert!(!is_bad(&condition(kind, "Unknown")), "{kind} Unknown");
        }
        // The kubelet's own have findings of their own; of the others the name tells nothing.
        for (kind, status) in [
            ("Ready", "False"),
            ("DiskPressure", "True"),
            ("EtcdIsVoter", "False"),
            ("VMEventScheduled", "True"),
        ] {
            assert!(!is_bad(&condition(kind, status)), "{kind} {status}");
        }
    }

    #[test]
    fn a_bad_condition_is_quoted_and_a_good_one_raises_nothing() {
        let mut node = Node::default();
        node.metadata.name = "gpu-1".to_owned();
        node.status.conditions =
            vec![condition("Ready", "True"), condition("AcceleratedHardwareReady", "False")];
        let look = &mut Look::at(Timestamp::UNIX_EPOCH);
        let found = diagnose(&node, 0, look);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].summary,
            "node gpu-1 has a problem: AcceleratedHardwareReady False (SomeReason): some message"
        );
        node.status.conditions = vec![condition("Ready", "True"), condition("KernelDeadlock", "False")];
        assert!(diagnose(&node, 0, look).is_empty());
    }
}
