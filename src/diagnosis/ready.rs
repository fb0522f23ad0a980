//! Containers that run and do not serve: readiness, init containers and sidecars that hold the pod up, sick devices,
//! readiness gates.

use jiff::SignedDuration;

use super::cause::CauseCode;
use super::container::View;
use super::context::Context;
use super::crash::describe_probe;
use super::draft::Look;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::reason::Reason;
use super::text;
use crate::objects::{ConditionType, Pod};

/// Looks at a container that runs.
pub fn diagnose(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if !view.is_running() {
        return None;
    }
    match view.kind {
        ContainerType::Init => init_stuck(view, look),
        ContainerType::Sidecar => not_started(view, context, look).or_else(|| not_ready(view, context, look)),
        ContainerType::App => not_ready(view, context, look),
        ContainerType::Ephemeral => None,
    }
}

/// An init container that runs and runs: the containers behind it wait.
fn init_stuck(view: &View<'_>, look: &mut Look) -> Option<Finding> {
    let started = view.running_since()?;
    // Below a minute there is nothing to say, not even as a pending remark: most init containers take some time.
    if look.within(started, SignedDuration::from_secs(60)) {
        return None;
    }
    let container = text::name(view.name);
    let waiting: Vec<String> = view.pod.spec.containers.iter().map(|c| text::name(&c.name)).collect();
    let finding = Finding::of_container(view, Reason::InitStuck);
    let step = finding.kubectl(&format!("logs {} -c {container}", finding.pod));
    Some(
        finding
            .says(format!("init container {container} is still running: the app containers have not started"))
            .because(CauseCode::InitWaiting, format!("init container {container} has not ended since it started, as one does that waits for a dependency"))
            .sure(Confidence::Probable)
            .with(Source::Status, format!("running; waiting for it: {}", waiting.join(", ")), Some(started))
            .next(step)
            .lasting(Some(started), None, look),
    )
}

/// A sidecar whose startup probe does not pass: all containers behind it wait.
fn not_started(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if view.status.started == Some(true) {
        return None;
    }
    let started = view.running_since()?;
    let probe = view.spec.and_then(|c| c.startup_probe.as_deref());
    if look.within(started, SignedDuration::from_secs(60)) {
        return None;
    }
    let container = text::name(view.name);
    let budget = probe.map_or(60, crate::objects::Probe::budget);
    let finding = Finding::of_container(view, Reason::SidecarNotStarted);
    let step = finding.kubectl(&format!("logs {} -c {container}", finding.pod));
    let mut finding = finding
        .says(format!(
            "sidecar {container} runs but has not started by its startup probe: the containers behind it wait"
        ))
        .because(CauseCode::StartupProbe, "its startup probe has not passed".to_owned())
        .next(step);
    if let Some(probe) = probe {
        finding.add(Source::Spec, describe_probe("startup", probe), None);
    }
    unhealthy(&mut finding, view, context, "Startup");
    Some(finding.lasting(Some(started), Some(SignedDuration::from_secs(budget)), look))
}

/// Running and started, and not ready for longer than its probe explains.
fn not_ready(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if view.status.ready || view.status.started == Some(false) {
        return None;
    }
    let probe = view.spec?.readiness_probe.as_deref()?;
    // What a silent node says of its containers is frozen (trap 11).
    if context.node.is_some_and(|n| !n.is_ready()) {
        return None;
    }
    let started = view.running_since()?;
    let ready = view.pod.status.condition(&ConditionType::Ready).filter(|c| c.is_false());
    let unready = ready.and_then(|c| c.last_transition_time.get()).unwrap_or(started);
    let since = unready.max(started);
    let startup = if unready <= started { i64::from(probe.initial_delay_seconds.max(0)) } else { 0 };
    let grace = (3 * probe.period() * probe.threshold()).max(60) + startup;
    if look.within(
        started,
        SignedDuration::from_secs(i64::from(probe.initial_delay_seconds.max(0)) + probe.period()),
    ) {
        return None;
    }
    let container = text::name(view.name);
    let finding = Finding::of_container(view, Reason::ReadinessProbeFailed);
    let step = finding.kubectl(&format!("logs {} -c {container}", finding.pod));
    let mut finding = finding
        .says(format!("container {container} runs but is not ready: its readiness probe fails"))
        .because(CauseCode::ReadinessProbe, "its readiness probe does not pass".to_owned())
        .with(Source::Spec, describe_probe("readiness", probe), None);
    if let Some(ready) = ready {
        finding.add(
            Source::Status,
            format!("Ready False: {}", text::quote(&ready.message)),
            ready.last_transition_time.get(),
        );
    }
    unhealthy(&mut finding, view, context, "Readiness");
    let describe = finding.kubectl(&format!("describe pod {}", finding.pod));
    Some(finding.next(step).next(describe).lasting(Some(since), Some(SignedDuration::from_secs(grace)), look))
}

/// What the probe said, by the newest event about it.
fn unhealthy(finding: &mut Finding, view: &View<'_>, context: &Context<'_>, probe: &str) {
    let newest = context
        .container_events(view)
        .filter(|e| {
            e.reason == "Unhealthy"
                && e.message.trim_start_matches("(combined from similar events): ").starts_with(probe)
        })
        .last();
    match newest {
        Some(event) => {
            finding.add_event(event);
            let said = event.message.split_once("probe failed: ").or_else(|| event.message.split_once(": "));
            let said = said.map_or(event.message.as_str(), |(_, said)| said);
            finding.cause.text = format!("{}: {}", finding.cause.text, text::quote(said));
        }
        None if context.sources.events => {
            finding.add(Source::Event, "no event tells what the probe said: events last about an hour", None);
        }
        None => finding.add(Source::Event, "events were not read: they would tell what the probe said", None),
    }
}

/// A device that the container was given and that is not healthy.
pub fn device(view: &View<'_>, look: &mut Look) -> Option<Finding> {
    let (resource, sick) = view.status.allocated_resources_status.iter().find_map(|s| {
        // Only what is said to be unhealthy: unknown is what a plugin that does not report says for ever.
        s.resources.iter().find(|r| r.health == "Unhealthy").map(|r| (text::name(&s.name), r))
    })?;
    let container = text::name(view.name);
    let id = text::quote(&sick.resource_id);
    let said = sick.message.as_deref().map(|m| format!(": {}", text::quote(m))).unwrap_or_default();
    Some(
        Finding::of_container(view, Reason::DeviceUnhealthy)
            .says(format!("container {container} has an unhealthy device: {resource} {id}"))
            .because(
                CauseCode::DeviceUnhealthy,
                format!("device {id} of {resource} is reported as unhealthy{said}"),
            )
            .with(Source::Status, format!("{resource} {id}: Unhealthy{said}"), None)
            .about("node", text::name(&view.pod.spec.node_name))
            .next("the log of the device plugin on the node tells more; a new pod gets another device")
            .lasting(None, None, look),
    )
}

/// All containers are ready and a readiness gate is not.
pub fn gates(pod: &Pod, look: &mut Look) -> Option<Finding> {
    let ready = pod
        .status
        .condition(&ConditionType::Ready)
        .filter(|c| c.is_false() && &*c.reason == "ReadinessGatesNotReady")?;
    let open: Vec<String> = pod
        .spec
        .readiness_gates
        .iter()
        .filter(|g| !pod.status.conditions.iter().any(|c| c.kind.as_str() == g.condition_type && c.is_true()))
        .map(|g| text::name(&g.condition_type))
        .collect();
    let gates = open.join(", ");
    let finding = Finding::of_pod(pod, Reason::ReadinessGatesNotReady);
    let describe = finding.kubectl(&format!("describe pod {}", finding.pod));
    Some(
        finding
            .says(format!("all containers are ready, but the pod is not: readiness gate {gates} is not True"))
            .because(
                CauseCode::ReadinessGate,
                format!("readiness gate {gates} has not been set by its controller"),
            )
            .with(
                Source::Status,
                format!("Ready False: {}", text::quote(&ready.message)),
                ready.last_transition_time.get(),
            )
            .next(describe)
            .next(
                "look at the log of the controller that sets this condition, such as that of a load balancer",
            )
            .lasting(ready.last_transition_time.get(), None, look),
    )
}
