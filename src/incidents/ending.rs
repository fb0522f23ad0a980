//! How an incident of a pod ended, in words: what the pod shows now, or what is left of its workload.

use jiff::Timestamp;

use super::compact::CompactFinding;
use super::incident::Ending;
use crate::diagnosis::WorkloadRef;
use crate::diagnosis::container::views;
use crate::objects::Pod;
use crate::redact::{clean, redact};

/// Why a finding about a pod that is still there has gone.
pub(super) fn over(
    pod: &Pod,
    finding: &CompactFinding,
    workload: &WorkloadRef,
    newest: Option<i64>,
    others: u32,
) -> (Ending, String) {
    if pod.metadata.deletion_timestamp.is_known() {
        let (ending, text) = departed(pod, workload, newest, others);
        return (ending, format!("the pod is being deleted: {text}"));
    }
    let status = views(pod).find(|v| *v.name == *finding.container).map(|v| v.status);
    let phase = pod.status.phase.as_str();
    if let Some(running) = status.and_then(|s| s.state.running.as_ref()) {
        let since = running.started_at;
        let ready = if status.is_some_and(|s| s.ready) { " and is ready" } else { "" };
        let restarts = match status.map_or(0, |s| s.restart_count) {
            ..=0 => String::new(),
            1 => ", after 1 restart".to_owned(),
            n => format!(", after {n} restarts"),
        };
        let text = format!("the container has been running since {since}{ready}{restarts}");
        return (Ending::Recovered, text);
    }
    if phase == "Succeeded" {
        return (Ending::Completed, "the pod has completed".to_owned());
    }
    if let Some(termination) = status.and_then(|s| s.state.terminated.as_deref()) {
        if termination.exit_code == 0 {
            return (
                Ending::Completed,
                format!("the container terminated with exit code 0 at {}", termination.finished_at),
            );
        }
        let text =
            format!("the container terminated for another reason, with exit code {}", termination.exit_code);
        return (Ending::Superseded, text);
    }
    if phase == "Failed" {
        let reason = match redact(&pod.status.reason) {
            reason if reason.is_empty() => "no reason is given".into(),
            reason => reason,
        };
        return (Ending::Superseded, format!("the pod has failed: {reason}"));
    }
    if let Some(status) = status {
        let text = match status.state.waiting.as_deref().map(|w| redact(&w.reason)) {
            Some(reason) if !reason.is_empty() => {
                format!("the container now waits for another reason: {reason}")
            }
            _ => "the container no longer waits for this reason".to_owned(),
        };
        return (Ending::Recovered, text);
    }
    let node = clean(&pod.spec.node_name);
    let text = if node.is_empty() {
        "no longer the case".to_owned()
    } else {
        format!("no longer the case: the pod is on node {node}")
    };
    (Ending::Recovered, text)
}

/// Why a pod goes: what can be told from the other pods of its workload.
pub(super) fn departed(
    pod: &Pod,
    workload: &WorkloadRef,
    newest: Option<i64>,
    others: u32,
) -> (Ending, String) {
    let created = pod.metadata.creation_timestamp.get().map(Timestamp::as_second);
    let WorkloadRef { kind, name } = workload;
    if kind == "Pod" {
        return (Ending::Deleted, "it was deleted".to_owned());
    }
    if newest > created && others > 0 {
        return (Ending::Replaced, format!("a newer pod of {kind}/{name} has taken its place"));
    }
    let text = if matches!(kind.as_str(), "Job" | "CronJob") {
        let left = if others == 0 { "no other pod".to_owned() } else { format!("{others} other pods") };
        format!("{kind}/{name} has {left}, so the Job has finished, was deleted, or is about to retry")
    } else if others == 0 {
        format!(
            "{kind}/{name} has no other pod, so it was scaled to zero, deleted, or is about to replace it"
        )
    } else {
        format!("{kind}/{name} keeps {others} other pods, so it was scaled down, or is about to replace it")
    };
    (Ending::Deleted, text)
}
