//! What an end says by its reason and exit code.

use jiff::Timestamp;

use super::crash_loop::Shape;
use super::kills::unexplained_kill;
use super::last_words::with_message;
use super::out_of_memory::out_of_memory;
use super::{again, log_command};
use crate::diagnosis::container::{View, uptime};
use crate::diagnosis::{
    CauseCode, Confidence, Context, Finding, Reason, Severity, Source, Stage, exit, probe, runtime, text,
};
use crate::objects::Terminated;

pub(super) fn by_end(view: &View<'_>, end: &Terminated, shape: Shape, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let again = again(shape);
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    let waiting = view.waiting();
    let logs = |finding: &Finding| log_command(finding, view);

    let start_error = matches!(end.reason.as_str(), "StartError" | "ContainerCannotRun")
        || waiting.is_some_and(|w| w.reason == "RunContainerError");
    if start_error {
        let message = waiting
            .filter(|w| w.reason == "RunContainerError")
            .map_or(end.message.as_str(), |w| w.message.as_str());
        return cannot_start(view, message, end.finished_at.get(), again);
    }
    // With 143 it was stopped in good order, and the kernel's mark is of some child before.
    if end.reason == "OOMKilled" && (end.exit_code != 143 || shape == Shape::Child) {
        return out_of_memory(view, end, shape, context);
    }
    if end.reason == "ContainerStatusUnknown" {
        let finding = Finding::of_container(view, Reason::ContainerStatusUnknown);
        let node = finding.node.clone();
        return finding
            .summary(format!("{kind} {container} vanished: the kubelet does not know how it ended"))
            .cause(CauseCode::ContainerVanished, format!("the runtime on node {node} lost it: a restart of the node, an eviction, or a removal by hand"))
            .confidence(Confidence::Probable)
            .next_step(format!("kubectl describe node {}", text::arg(&node)));
    }
    if shape == Shape::Flapping {
        let (code, words) = exit::meaning(end.exit_code, &end.reason);
        let finding = Finding::of_container(view, Reason::FrequentRestarts);
        let (step, restarts) = (logs(&finding), view.status.restart_count);
        let finding = finding
            .summary(format!(
                "{kind} {container} keeps ending: {restarts} restarts, the last one{lasted} with {words}"
            ))
            .cause(code, format!("it ended with {words}"))
            .confidence(Confidence::Probable)
            .next_step(step);
        return with_message(finding, end);
    }
    if shape == Shape::Final {
        let (code, words) = exit::meaning(end.exit_code, &end.reason);
        let finding = Finding::of_container(view, Reason::Error);
        let step = logs(&finding);
        let finding = finding
            .summary(format!(
                "{kind} {container} failed{lasted} with exit code {} and is not restarted",
                end.exit_code
            ))
            .cause(code, format!("it ended with {words}"))
            .next_step(step);
        return with_message(finding, end);
    }
    // A loop.
    if end.exit_code == 0 {
        return ended_in_peace(view, end, context);
    }
    let (code, words) = exit::meaning(end.exit_code, &end.reason);
    let finding = Finding::of_container(view, Reason::CrashLoopBackOff);
    let step = logs(&finding);
    let mut finding = finding
        .summary(format!("{kind} {container} crashes{again}{lasted}: {words}"))
        .cause(code, format!("it ended with {words}"))
        .next_step(step);
    if matches!(end.exit_code, 137 | 143) {
        finding = unexplained_kill(finding, view, end, context);
    }
    if end.reason == "OOMKilled" {
        finding.add(
            Source::Status,
            "the runtime marks it OOMKilled: some process in it was, at some time; that did not end it",
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

/// Exit code 0, again and again: a command that ends where it should go on, or a server that its probe has killed and
/// that went in peace.
fn ended_in_peace(view: &View<'_>, end: &Terminated, context: &Context<'_>) -> Finding {
    let container = text::name(view.name);
    let kind = view.noun();
    let lasted = uptime(end).map(|u| format!(" after {}", text::duration(u))).unwrap_or_default();
    if let Some((name, probe)) = probe::suspect(view, end) {
        let finding = Finding::of_container(view, Reason::CrashLoopBackOff);
        let step = finding.kubectl_events();
        let code = if name == "startup" { CauseCode::StartupProbe } else { CauseCode::LivenessProbe };
        let mut finding = finding
            .summary(format!("{kind} {container} ends again and again{lasted} with exit code 0"))
            .cause(
                code,
                format!(
                    "the run lasted as long as its {name} probe allows: that probe may be what had it stopped"
                ),
            )
            .confidence(Confidence::Possible)
            .with(Source::Spec, probe::describe(name, probe), None)
            .next_step(step);
        if !context.sources.events {
            finding.add(
                Source::Event,
                "events were not read: they would tell whether a probe had it killed",
                None,
            );
        }
        return finding;
    }
    let finding = Finding::of_container(view, Reason::CompletedLoop);
    let step = log_command(&finding, view);
    let mut finding = finding
        .summary(format!("{kind} {container} does its work and ends{lasted} with exit code 0, again and again"))
        .cause(CauseCode::CommandCompleted, "its command completed with exit code 0, and restartPolicy Always starts it anew")
        .next_step("if the work is meant to end, use a Job or CronJob; if not, keep its main process in the foreground")
        .next_step(step);
    if view.ends() < 3 {
        finding.stage = Stage::Pending;
        finding.severity = Severity::Info;
    }
    finding
}

/// Waiting after an end that the kubelet no longer knows, or that it has not published yet.
pub(super) fn without_end(view: &View<'_>, shape: Shape) -> Finding {
    let (container, kind) = (text::name(view.name), view.noun());
    let again = again(shape);
    let waiting = view.waiting();
    match waiting.map(|w| (w.reason.as_str(), w.message.as_str())) {
        Some(("RunContainerError", message)) => cannot_start(view, message, None, again),
        Some(("PostStartHookError", message)) => Finding::of_container(view, Reason::PostStartHookError)
            .summary(format!("{kind} {container} is killed{again} because its postStart hook failed"))
            .cause(CauseCode::HookFailed, format!("its postStart hook failed: {}", text::quote(message))),
        _ => Finding::of_container(view, Reason::CrashLoopBackOff)
            .summary(format!("{kind} {container} ends again and again"))
            .cause(CauseCode::Unexplained, "the kubelet no longer knows how it ended".to_owned())
            .confidence(Confidence::Possible),
    }
}

/// The runtime created the container and could not start its program.
fn cannot_start(view: &View<'_>, message: &str, at: Option<Timestamp>, again: &str) -> Finding {
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
    let failing = if again.is_empty() { "cannot start" } else { "cannot start, again and again" };
    let finding = finding.summary(format!("{kind} {container}: {failing}: {why}")).cause(code, why).with(
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
            "container {container} ended with exit code {code}, and its rule restarts all containers of the pod"
        ))
        .cause(
            CauseCode::RestartRule,
            format!("a restart rule of container {container} answers exit code {code} by restarting all containers"),
        );
    // Once or twice is what the rule is for.
    if view.status.restart_count >= 3 {
        finding.severity = Severity::Warning;
    }
    let logs = log_command(&finding, view);
    with_message(finding, end).next_step(logs)
}
