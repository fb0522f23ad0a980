//! Out-of-memory kills. `OOMKilled` belongs to the cgroup, not to the exit; exit code 137 is no proof of it.

use jiff::{SignedDuration, Timestamp};

use super::crash_loop::Shape;
use super::{log_command, spell};
use crate::diagnosis::container::{View, is_oom, uptime, views};
use crate::diagnosis::context::oldest_first;
use crate::diagnosis::{CauseCode, Confidence, Context, Finding, Reason, Source, text};
use crate::objects::{Event, Terminated, quantity};

pub(super) fn out_of_memory(
    view: &View<'_>,
    end: &Terminated,
    shape: Shape,
    context: &Context<'_>,
) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let actual = view.status.resources.as_deref().and_then(|r| r.limit("memory"));
    let wanted = view.spec.and_then(|c| c.limit("memory"));
    let pod = view.pod.spec.resources.as_deref().and_then(|r| r.limit("memory"));
    let pod_wide = actual.or(wanted).is_none() && pod.is_some();
    let limit = actual.or(wanted).or(pod).map(|limit| text::name(&quantity::shown(limit)));
    let lasted = uptime(end).map(|u| format!(", {} after start", spell(u))).unwrap_or_default();
    let told = end.finished_at.get().and_then(|at| node_out_of_memory(context, at));
    let of_node = told.is_some_and(|(_, node)| node) && limit.is_some();
    let recovered = match shape {
        Shape::Past | Shape::Child => ", recovered since",
        _ => "",
    };
    let at = match &limit {
        Some(limit) if of_node => {
            format!(
                "when node {} ran out of memory (memory limit {limit})",
                text::name(&view.pod.spec.node_name)
            )
        }
        Some(limit) if pod_wide => format!("at the pod's {limit} memory limit"),
        Some(limit) => format!("at its {limit} memory limit"),
        None => "it has no memory limit: the node ran out of memory".to_owned(),
    };
    let place = if limit.is_some() { format!(" {at}") } else { format!(" ({at})") };
    let mut finding = Finding::of_container(view, Reason::OOMKilled);
    finding = match end.exit_code {
        137 => finding
            .summary(format!("{kind} {container}: OOM-killed{place}{lasted}{recovered}"))
            .cause(
                CauseCode::MemoryLimitReached,
                match &limit {
                    Some(_) if of_node => format!("killed by the kernel {at}"),
                    Some(limit) if pod_wide => format!("reached the pod's memory limit of {limit}"),
                    Some(limit) => format!("reached its memory limit of {limit}"),
                    None => "the node ran out of memory: the container has no memory limit of its own".to_owned(),
                },
            )
            .confidence(if limit.is_some() && !of_node { Confidence::Confirmed } else { Confidence::Probable }),
        code if is_oom(end) => finding
            .summary(format!("{kind} {container}: exit code {code} after a process in it was OOM-killed{place}{lasted}{recovered}"))
            .cause(
                CauseCode::ChildMemoryLimitReached,
                format!("a child process was OOM-killed{place}; the main process (PID 1) then exited with code {code}"),
            )
            .confidence(Confidence::Probable),
        code => finding
            .summary(format!("{kind} {container}: exit code {code}; a process in it was OOM-killed{place} earlier{recovered}"))
            .cause(
                CauseCode::ChildMemoryLimitReached,
                format!("a child process was OOM-killed{place} earlier; the container itself exited with code {code}"),
            )
            .confidence(Confidence::Possible),
    };
    add_facts(&mut finding, view, end, actual, wanted);
    if of_node {
        finding.cause.code = CauseCode::NodePressure;
    }
    if let Some((event, node)) = told {
        finding.add_node_event(event);
        if limit.is_none() && node {
            finding.confidence = Confidence::Confirmed;
        }
    }
    let advice = advice(end, limit.is_some(), of_node);
    with_steps(finding, view, advice)
}

fn with_steps(finding: Finding, view: &View<'_>, advice: &str) -> Finding {
    // What no longer runs uses nothing.
    let step = if view.is_running() {
        finding.kubectl(&format!("top pod {} --containers", text::arg(&finding.pod)))
    } else {
        log_command(&finding, view)
    };
    let mut finding = finding.next_step(advice);
    let volumes = in_memory(view);
    if !volumes.is_empty() {
        // Which container mounts a volume is not read.
        let condition = if views(view.pod).count() > 1 { "if this container writes to it: " } else { "" };
        finding = finding.next_step(format!(
            "{condition}files in emptyDir {volumes} (medium: Memory) count towards the memory of the container that writes them: measure them (df), set a sizeLimit and leave room for it in the memory limit, or use an emptyDir on disk"
        ));
    }
    finding.next_step(step)
}

/// The volumes of the pod whose files are in memory.
fn in_memory(view: &View<'_>) -> String {
    let in_memory = view.pod.spec.volumes.iter().filter(|volume| {
        let source = volume.source.as_ref().and_then(|source| source.empty_dir.as_ref());
        source.is_some_and(|empty_dir| empty_dir.medium == "Memory")
    });
    text::list(&in_memory.map(|volume| &volume.name).collect::<Vec<_>>())
}

fn advice(end: &Terminated, has_limit: bool, of_node: bool) -> &'static str {
    match uptime(end).map(|u| u.as_secs()) {
        _ if of_node => {
            "the pods of the node use more than it has: raise memory requests to what they use, so that fewer share a node"
        }
        _ if !has_limit => {
            "give the container a memory request near what it uses, and a limit: without them it is among the first that the kernel kills when the node is short of memory; or make it use less"
        }
        Some(0..60) => {
            "it was killed within a minute of its start: the limit is probably too low for it to run at all; raise the limit, or reduce the program's heap size"
        }
        Some(3600..) => {
            "it ran for a long time before: look for a leak or for growing load; a higher limit alone only delays the next kill"
        }
        _ => "raise the memory limit, or make the program use less (heap size, workers, caches)",
    }
}

/// Limits, requests and times to the kill, for the evidence.
fn add_facts(
    finding: &mut Finding,
    view: &View<'_>,
    end: &Terminated,
    actual: Option<&str>,
    wanted: Option<&str>,
) {
    if let Some(actual) = actual
        && let Some(wanted) = wanted
        && actual != wanted
    {
        finding.add(
            Source::Status,
            format!("actual memory limit {}, in the spec {}", text::name(actual), text::name(wanted)),
            None,
        );
    }
    if let Some(request) = view.spec.and_then(|c| c.request("memory")) {
        finding.add(Source::Spec, format!("memory request {}", text::name(request)), None);
    }
    match (uptime(end), view.end_before().filter(|e| e.reason == "OOMKilled").and_then(uptime)) {
        (Some(last), Some(before)) => {
            let words = format!(
                "ran {} until it was killed, and {} in the run before",
                text::duration(last),
                text::duration(before)
            );
            finding.add(Source::Status, words, end.finished_at.get());
        }
        (Some(last), None) => {
            finding.add(
                Source::Status,
                format!("ran {} until it was killed", text::duration(last)),
                end.finished_at.get(),
            );
        }
        _ => {}
    }
}

/// An event of the node that tells of an out-of-memory kill about when the container ended, and whether it was the node
/// that was short of memory (else some cgroup was, such as a container's). The kubelet's `SystemOOM` is only of the node as
/// a whole; a problem detector's `OOMKilling` is of both.
pub(super) fn node_out_of_memory<'a>(context: &Context<'a>, at: Timestamp) -> Option<(&'a Event, bool)> {
    let near =
        |t: Option<Timestamp>| t.is_some_and(|t| t.duration_since(at).abs() <= SignedDuration::from_secs(30));
    let events = context
        .node_events
        .iter()
        .filter(|e| tells_of_memory(e) && (near(e.last_seen()) || near(e.first_seen())));
    let event = events.max_by(|a, b| oldest_first(a, b))?;
    let cgroup = event.message.to_lowercase().contains("memory cgroup");
    Some((event, event.reason == "SystemOOM" || !cgroup))
}

/// Whether an event about a node may tell who killed a container on it: its kubelet's or a problem detector's word on memory.
pub fn tells_of_memory(event: &Event) -> bool {
    matches!(event.reason.as_str(), "SystemOOM" | "OOMKilling")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_memory_are_named_as_what_counts_and_those_on_disk_are_not() {
        let pod = r#"{"spec":{"containers":[{"name":"a"}],"volumes":[{"name":"cache","emptyDir":{"medium":"Memory"}},
            {"name":"work","emptyDir":{}},{"name":"big","emptyDir":{"sizeLimit":"1Gi"}}]},
            "status":{"containerStatuses":[{"name":"a"}]}}"#;
        let pod: crate::objects::Pod = serde_json::from_str(pod).unwrap();
        let view = views(&pod).next().unwrap();
        assert_eq!(in_memory(&view), "cache");
        let finding = with_steps(Finding::of_container(&view, Reason::OOMKilled), &view, "raise it");
        assert!(finding.next_steps.iter().any(|s| s.starts_with("files in emptyDir cache (medium: Memory)")));
        // Another container may be the one that mounts it.
        let pod = r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}],"volumes":[{"name":"cache","emptyDir":{"medium":"Memory"}}]},
            "status":{"containerStatuses":[{"name":"a"},{"name":"b"}]}}"#;
        let pod: crate::objects::Pod = serde_json::from_str(pod).unwrap();
        let view = views(&pod).next().unwrap();
        let finding = with_steps(Finding::of_container(&view, Reason::OOMKilled), &view, "raise it");
        assert!(finding.next_steps.iter().any(|s| s.starts_with("if this container writes to it: ")));
    }
}
