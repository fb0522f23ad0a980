//! What an end says by its reason and exit code.

use jiff::Timestamp;

use super::crash_loop::Shape;
use super::kills::unexplained_kill;
use super::last_words::{IF_MEANT, with_message};
use super::out_of_memory::out_of_memory;
use super::{failing, log_command, spell};
use crate::diagnosis::container::{View, uptime};
use crate::diagnosis::{
    CauseCode, Confidence, ContainerType, Context, Finding, Reason, Severity, Source, Stage, exit, probe,
    runtime, text,
};
use crate::objects::Terminated;

pub(super) fn by_end(view: &View<'_>, end: &Terminated, shape: Shape, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let waiting = view.waiting();

    let start_error = matches!(end.reason.as_str(), "StartError" | "ContainerCannotRun")
        || waiting.is_some_and(|w| w.reason == "RunContainerError");
    if start_error {
        let message = waiting
            .filter(|w| w.reason == "RunContainerError")
            .map_or(end.message.as_str(), |w| w.message.as_str());
        return cannot_start(view, message, end.finished_at.get(), shape == Shape::Loop);
    }
    // With 143 it was stopped in good order, and the kernel's mark is of some child before.
    if end.reason == "OOMKilled" && (end.exit_code != 143 || shape == Shape::Child) {
        return out_of_memory(view, end, shape, context);
    }
    if end.reason == "ContainerStatusUnknown" {
        return vanished(view);
    }
    // A loop.
    if end.exit_code == 0 && !matches!(shape, Shape::Flapping | Shape::Final) {
        return completed(view, end, context);
    }
    let (code, words) = exit::meaning(end.exit_code, &end.reason);
    let label = exit::label(end.exit_code);
    let lasted = uptime(end).map(|u| format!(" after {}", spell(u))).unwrap_or_default();
    let (reason, summary) = match shape {
        Shape::Flapping => (
            Reason::FrequentRestarts,
            format!(
                "{kind} {container}: {} restarts ({label}, last run {})",
                view.status.restart_count,
                lasted.trim_start_matches(" after ")
            ),
        ),
        Shape::Final => {
            (Reason::Error, format!("{kind} {container}: failed{lasted} ({label}), not restarted"))
        }
        _ => (Reason::CrashLoopBackOff, format!("{kind} {container}: {} ({label})", failing(shape))),
    };
    let finding = Finding::of_container(view, reason);
    let mut finding = finding.summary(summary).cause(code, words);
    if shape == Shape::Flapping {
        finding = finding.confidence(Confidence::Probable);
    }
    if matches!(end.exit_code, 137 | 143) && !matches!(shape, Shape::Flapping | Shape::Final) {
        finding = unexplained_kill(finding, view, end, context);
    }
    if end.reason == "OOMKilled" {
        finding.add(
            Source::Status,
            "the runtime marks it OOMKilled: the kernel killed a process in it earlier, which did not terminate the container",
            end.finished_at.get(),
        );
    }
    if matches!(finding.cause.code, CauseCode::IllegalInstruction)
        && let Some(architecture) =
            context.node.and_then(|n| n.status.node_info.as_ref()).map(|i| text::name(&i.architecture))
    {
        finding.add(Source::Node, format!("the node's architecture is {architecture}"), None);
    }
    with_message(finding, end)
}

fn vanished(view: &View<'_>) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let finding = Finding::of_container(view, Reason::ContainerStatusUnknown);
    let node = finding.node.clone();
    finding
        .summary(format!("{kind} {container}: the kubelet does not know how it terminated"))
        .cause(
            CauseCode::ContainerVanished,
            format!("the container runtime on node {node} no longer has this container: node restart, eviction, or manual removal"),
        )
        .confidence(Confidence::Probable)
        .next_step(format!("kubectl describe node {}", text::arg(&node)))
}

/// Exit code 0 in a loop: a command that completes where it should go on, or a server that its probe had killed and that
/// shut down in order.
fn completed(view: &View<'_>, end: &Terminated, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let lasted = uptime(end).map(|u| format!(" after {}", spell(u))).unwrap_or_default();
    if let Some((name, probe)) = probe::suspect(view, end) {
        let finding = Finding::of_container(view, Reason::CrashLoopBackOff);
        let step = finding.kubectl_events();
        let code = if name == "startup" { CauseCode::StartupProbe } else { CauseCode::LivenessProbe };
        let mut finding = finding
            .summary(format!("{kind} {container}: exits with code 0{lasted} and is restarted; its {name} probe may have killed it"))
            .cause(
                code,
                format!(
                    "the run lasted as long as its {name} probe allows: that probe may have killed it"
                ),
            )
            .confidence(Confidence::Possible)
            .with(Source::Spec, probe::describe(name, probe), None)
            .next_step(step);
        if !context.sources.events {
            finding.add(
                Source::Event,
                "events were not read: they would show whether a probe killed it",
                None,
            );
        }
        return finding;
    }
    let finding = Finding::of_container(view, Reason::CompletedLoop);
    let step = log_command(&finding, view);
    let mut finding = finding
        .summary(format!("{kind} {container}: completes with exit code 0{lasted} and is restarted"))
        .cause(
            CauseCode::CommandCompleted,
            "its command completed with exit code 0, and restartPolicy Always restarts it",
        )
        .next_step(to_go_on(view))
        .next_step(step);
    if view.ends() < 3 {
        finding.stage = Stage::Pending;
        finding.severity = Severity::Info;
    }
    finding
}

/// What to do about a command that ends: a Job can replace a Deployment or a pod of its own, not what has one pod per node or
/// an identity.
fn to_go_on(view: &View<'_>) -> String {
    let owner = view.pod.metadata.controller().map_or("", |owner| owner.kind.as_str());
    match owner {
        "" | "ReplicaSet" | "ReplicationController" if view.kind == ContainerType::App => {
            format!("{IF_MEANT}, use a Job or CronJob; if not, keep the main process in the foreground")
        }
        _ => "the main process must keep running: keep it in the foreground, and look in its log for why it exits".to_owned(),
    }
}

/// Waiting after an end that the kubelet no longer knows, or that it has not published yet.
pub(super) fn without_end(view: &View<'_>, shape: Shape) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let waiting = view.waiting();
    let looping = shape == Shape::Loop;
    match waiting.map(|w| (w.reason.as_str(), w.message.as_str())) {
        Some(("RunContainerError", message)) => cannot_start(view, message, None, looping),
        Some(("PostStartHookError", message)) => Finding::of_container(view, Reason::PostStartHookError)
            .summary(format!("{kind} {container}: killed because its postStart hook failed"))
            .cause(CauseCode::HookFailed, format!("postStart hook failed: {}", text::quote(message))),
        _ => Finding::of_container(view, Reason::CrashLoopBackOff)
            .summary(format!("{kind} {container}: crash loop"))
            .cause(CauseCode::Unexplained, "the kubelet no longer knows how it terminated".to_owned())
            .confidence(Confidence::Possible),
    }
}

/// The runtime created the container and could not start its program.
fn cannot_start(view: &View<'_>, message: &str, at: Option<Timestamp>, looping: bool) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let (code, why) = runtime::error(message);
    let mut finding = Finding::of_container(view, Reason::RunContainerError);
    let image = text::name(view.image);
    finding.image = image.clone();
    let limit = view.spec.and_then(|c| c.limit("memory")).filter(|_| code == CauseCode::MemoryLimitReached);
    if let Some(limit) = limit {
        finding.add(Source::Spec, format!("memory limit {}", text::name(limit)), None);
    }
    let step = finding.kubectl(&format!("get pod {} -o yaml", text::arg(&finding.pod)));
    let failing = if looping { "keeps failing to start" } else { "cannot be started" };
    let why = if why.is_empty() { "the runtime gave no reason".to_owned() } else { why };
    let finding = finding.summary(format!("{kind} {container} {failing}: {why}")).cause(code, why).with(
        Source::Status,
        text::quote(message),
        at,
    );
    runtime::advice(finding, message).next_step(step)
}

/// An exit that the container's own rule answers by a restart of all containers of the pod.
pub(super) fn restarts_all(view: &View<'_>, end: &Terminated) -> Finding {
    let (container, code) = (text::name(view.name), end.exit_code);
    let mut finding = Finding::of_container(view, Reason::RestartingAllContainers)
        .summary(format!(
            "container {container}: exit code {code}, and its restart rule restarts all containers of the pod"
        ))
        .cause(
            CauseCode::RestartRule,
            format!("a restart rule of container {container} restarts all containers on exit code {code}"),
        );
    // Once or twice is what the rule is for.
    if view.status.restart_count >= 3 {
        finding.severity = Severity::Warning;
    }
    let logs = log_command(&finding, view);
    with_message(finding, end).next_step(logs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::container::views;
    use crate::objects::Pod;

    #[test]
    fn a_job_is_proposed_only_where_it_can_take_the_place_of_the_owner() {
        for (owner, job) in
            [("ReplicaSet", true), ("StatefulSet", false), ("DaemonSet", false), ("Node", false)]
        {
            let pod = format!(
                r#"{{"metadata":{{"ownerReferences":[{{"kind":"{owner}","name":"app","uid":"1","controller":true}}]}},
                "spec":{{"containers":[{{"name":"a"}}]}},"status":{{"containerStatuses":[{{"name":"a"}}]}}}}"#
            );
            let pod: Pod = serde_json::from_str(&pod).unwrap();
            let step = to_go_on(&views(&pod).next().unwrap());
            assert_eq!(step.contains("Job"), job, "{owner}: {step}");
        }
    }
}
