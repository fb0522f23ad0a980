//! Containers that run and do not serve: readiness, init containers and sidecars that hold the pod up, sick devices,
//! readiness gates.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{AfterEnd, View, views};
use super::context::Context;
use super::draft::Look;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::logs::LogVerdict;
use super::reason::{Reason, Severity};
use super::{probe as probes, text};
use crate::objects::{ConditionType, Pod, Probe};

/// Looks at a container that runs.
pub fn diagnose(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if !view.is_running() {
        return None;
    }
    match view.kind {
        ContainerType::Init => init_stuck(view, context, look),
        ContainerType::Sidecar => not_started(view, context, look).or_else(|| not_ready(view, context, look)),
        ContainerType::App => never_started(view, context, look).or_else(|| not_ready(view, context, look)),
        ContainerType::Ephemeral => None,
    }
}

/// An init container that runs and runs: the containers behind it wait.
fn init_stuck(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let started = view.running_since()?;
    // Below a minute there is nothing to say, not even as a pending remark: most init containers take some time.
    if look.within(started, SignedDuration::from_secs(60)) {
        return None;
    }
    let container = text::name(view.name);
    let waiting: Vec<String> = view.pod.spec.containers.iter().map(|c| text::name(&c.name)).collect();
    let finding = Finding::of_container(view, Reason::InitStuck);
    let step = finding.kubectl(&format!("logs {} -c {}", text::arg(&finding.pod), text::arg(view.name)));
    let mut finding = finding
        .summary(format!("init container {container} is still running: the app containers have not started"))
        .cause(CauseCode::InitWaiting, "it may be waiting for a dependency")
        .confidence(Confidence::Probable)
        .with(Source::Status, format!("running; waiting for it: {}", text::list(&waiting)), Some(started))
        .next_step(step);
    if let Some(verdict) = present_log(view, context) {
        finding.summary = format!("{}; log: {}", finding.summary, verdict.text);
        finding.cause.text = format!("{}; log: {}", finding.cause.text, verdict.text);
        finding.add(Source::Log, verdict.line, None);
    }
    Some(finding.grace(Some(started), None, look))
}

/// What the log of the present run says, where it says something that is known, or says it in no doubt up to now.
fn present_log(view: &View<'_>, context: &Context<'_>) -> Option<LogVerdict> {
    let log = context.logs.iter().find(|l| l.container == view.name && !l.previous)?;
    log.read(None).into_owned().verdict.filter(|verdict| verdict.specific || verdict.strong && verdict.last)
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
    let step = finding.kubectl(&format!("logs {} -c {}", text::arg(&finding.pod), text::arg(view.name)));
    let mut finding = finding
        .summary(format!(
            "sidecar {container} runs, but its startup probe does not pass, so the containers after it wait"
        ))
        .cause(CauseCode::StartupProbe, "its startup probe has not passed".to_owned())
        .next_step(step);
    if let Some(probe) = probe {
        finding.add(Source::Spec, probes::describe("startup", probe), None);
    }
    unhealthy(&mut finding, view, context, "Startup", probe);
    if let Some(verdict) = present_log(view, context) {
        finding.add(Source::Log, verdict.line, None);
    }
    Some(finding.grace(Some(started), Some(SignedDuration::from_secs(budget)), look))
}

/// An app container whose startup probe neither passes nor has it killed: the kubelet does not count a probe that it could
/// not carry out.
fn never_started(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let probe = view.spec?.startup_probe.as_deref()?;
    if view.status.started == Some(true) || view.status.ready {
        return None;
    }
    let started = view.running_since()?;
    // What fails as it should is killed by then, and is a matter of its end.
    let due = SignedDuration::from_secs(probes::longest_run(view, probe).saturating_add(60));
    if look.within(started, due) || is_old(context, started, due) {
        return None;
    }
    let container = text::name(view.name);
    let finding = Finding::of_container(view, Reason::StartupProbeFailed);
    let describe = finding.kubectl_pod("describe pod");
    let mut finding = finding
        .summary(format!("container {container} has not started: its startup probe does not pass"))
        .cause(
            CauseCode::StartupProbe,
            "its startup probe has neither passed nor reached its failureThreshold".to_owned(),
        )
        .confidence(Confidence::Probable)
        .with(Source::Spec, probes::describe("startup", probe), None)
        .next_step(describe);
    unhealthy(&mut finding, view, context, "Startup", Some(probe));
    finding.since = Some(started);
    Some(finding)
}

/// Running and started, and not ready for longer than its probe explains.
fn not_ready(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if view.status.ready || view.status.started == Some(false) {
        return None;
    }
    let spec = view.spec?;
    let probe = spec.readiness_probe.as_deref()?;
    let started = view.running_since()?;
    let ready = view.pod.status.condition(&ConditionType::Ready).filter(|c| c.is_false());
    // The node controller sets Ready alone. When the kubelet comes back, it asks anew, and ContainersReady has the time of that.
    let containers = view.pod.status.condition(&ConditionType::ContainersReady).filter(|c| c.is_false());
    let unready = ready
        .into_iter()
        .chain(containers)
        .filter_map(|c| c.last_transition_time.get())
        .max()
        .unwrap_or(started);
    let since = unready.max(started);
    // Readiness is not asked before the startup probe has passed, and nothing tells when that was.
    let startup = if unready <= started {
        let first = i64::from(probe.initial_delay_seconds.max(0));
        first.saturating_add(spec.startup_probe.as_deref().map_or(0, Probe::budget))
    } else {
        0
    };
    let patience = probe.period().saturating_mul(probe.threshold()).saturating_mul(3);
    let grace = SignedDuration::from_secs(patience.max(60).saturating_add(startup));
    let first = SignedDuration::from_secs(i64::from(probe.initial_delay_seconds.max(0)) + probe.period());
    if look.within(started, first) || is_old(context, since, grace) {
        return None;
    }
    let container = text::name(view.name);
    let finding = Finding::of_container(view, Reason::ReadinessProbeFailed);
    let step = finding.kubectl(&format!("logs {} -c {}", text::arg(&finding.pod), text::arg(view.name)));
    let mut finding = finding
        .summary(format!("container {container} is not ready: its readiness probe fails"))
        .cause(CauseCode::ReadinessProbe, "its readiness probe does not pass".to_owned())
        .with(Source::Spec, probes::describe("readiness", probe), None);
    if let Some(ready) = ready {
        finding.add(
            Source::Status,
            format!("Ready False: {}", text::quote(&ready.message)),
            ready.last_transition_time.get(),
        );
    }
    unhealthy(&mut finding, view, context, "Readiness", Some(probe));
    if let Some(verdict) = present_log(view, context) {
        finding.add(Source::Log, verdict.line, None);
    }
    let describe = finding.kubectl_pod("describe pod");
    Some(finding.next_step(step).next_step(describe).grace(Some(since), Some(grace), look))
}

/// Whether the node became silent before `grace` was over: what it says of its containers has not changed since then.
/// What was overdue before is still open.
fn is_old(context: &Context<'_>, since: Timestamp, grace: SignedDuration) -> bool {
    let due = since.checked_add(grace).unwrap_or(Timestamp::MAX);
    context.node.is_some_and(|node| node.was_silent_before(due))
}

/// What the container's own log says, where the probe only shows that the program is not well.
fn add_log(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
    const LONGEST: usize = 300;
    let Some(verdict) = present_log(view, context) else { return };
    let summary = format!("{}; log: {}", finding.summary, verdict.text);
    if summary.chars().count() <= LONGEST {
        finding.summary = summary;
    }
    finding.cause.text = format!("log: {}; {}", verdict.text, finding.cause.text);
}

/// A pod whose work is done and that is kept open by a container that never ends: one that helps others, not declared as a
/// sidecar. Its Job waits for ever.
pub fn kept_open(pod: &Pod, look: &mut Look) -> Option<Finding> {
    let over = |v: &View<'_>| v.ended().is_some_and(|e| v.after_end(e) == AfterEnd::Stays);
    let apps = || views(pod).filter(|v| v.kind == ContainerType::App);
    if pod.status.phase != "Running" || !matches!(pod.spec.restart_policy.as_str(), "Never" | "OnFailure") {
        return None;
    }
    let done: Vec<View<'_>> = apps().filter(over).collect();
    let running: Vec<View<'_>> = apps().filter(View::is_running).collect();
    let all = apps().count();
    let well = done.iter().all(|v| v.ended().is_some_and(|e| e.exit_code == 0));
    if done.is_empty() || running.is_empty() || done.len() + running.len() < all || !well {
        return None;
    }
    let since = done.iter().filter_map(|v| v.ended()?.finished_at.get()).max()?;
    let helper = running.iter().all(|v| is_helper(v.name, v.image));
    let first = running.first()?;
    let names = text::list(&running.iter().map(|v| v.name).collect::<Vec<_>>());
    let work = text::list(&done.iter().map(|v| v.name).collect::<Vec<_>>());
    let job = pod.metadata.controller().filter(|o| o.kind == "Job").map(|o| text::name(&o.name));
    let waits = job.map(|job| format!(", so Job {job} does not complete")).unwrap_or_default();
    let still = if running.len() == 1 {
        format!("container {names} still runs")
    } else {
        format!("containers {names} still run")
    };
    let words = format!("{still} after container {work} has completed (exit code 0){waits}");
    let finding = Finding::of_container(first, Reason::SidecarStillRunning)
        .summary(words.clone())
        .cause(CauseCode::WorkDone, words)
        .confidence(if helper { Confidence::Probable } else { Confidence::Possible })
        .with(Source::Status, format!("completed: {work}; running: {names}"), Some(since))
        .next_step(format!("make {names} a sidecar: move it to initContainers with restartPolicy: Always (Kubernetes 1.29 and later)"))
        .next_step("or make the main container stop it when it is done, for example through its /quitquitquit endpoint");
    let mut finding = finding.grace(Some(since), None, look);
    if !helper {
        finding.severity = Severity::Info;
    }
    Some(finding)
}

/// What containers are called that serve others in their pod and never end by themselves.
const HELPERS: [&str; 24] = [
    "proxy",
    "sidecar",
    "envoy",
    "istio",
    "linkerd",
    "agent",
    "fluent",
    "filebeat",
    "vector",
    "otel",
    "collector",
    "telegraf",
    "promtail",
    "logger",
    "log-",
    "dind",
    "docker",
    "exporter",
    "consul",
    "dapr",
    "cloudsql",
    "cloud-sql",
    "vault",
    "tailscale",
];

fn is_helper(name: &str, image: &str) -> bool {
    let image = image.rsplit('/').next().unwrap_or(image).to_lowercase();
    let name = name.to_lowercase();
    HELPERS.iter().any(|h| name.contains(h) || image.contains(h))
}

/// What the probe said, by the newest event about it.
fn unhealthy(
    finding: &mut Finding,
    view: &View<'_>,
    context: &Context<'_>,
    kind: &str,
    probe: Option<&Probe>,
) {
    let newest = context
        .container_events(view)
        .filter(|e| e.reason == "Unhealthy" && text::uncombined(&e.message).starts_with(kind))
        .last();
    match newest {
        Some(event) => {
            finding.add_event(event);
            let said = probes::words_of(event);
            let complaint = probes::read(said, probe);
            let of_program = complaint.of_program;
            let said =
                if said.trim().is_empty() { "the probe command failed and printed nothing" } else { said };
            finding.cause.text = format!("{}: {}", finding.cause.text, text::quote(said));
            complaint.tell(finding);
            if probes::is_refused(said)
                && let Some(log) = context.logs.iter().find(|l| l.container == view.name && !l.previous)
            {
                probes::compare_with_log(finding, said, &log.listens());
            }
            if of_program {
                add_log(finding, view, context);
            }
        }
        None if context.sources.events => {
            finding.add(
                Source::Event,
                "no event says why the probe failed: events are kept for about an hour",
                None,
            );
        }
        None => {
            finding.add(Source::Event, "events were not read: they would show why the probe failed", None)
        }
    }
}

/// A device that the container was given and that is not healthy.
pub fn device(view: &View<'_>, look: &mut Look) -> Option<Finding> {
    // Only what is said to be unhealthy: unknown is what a plugin that does not report says for ever.
    let devices = view.status.allocated_resources_status.iter();
    let sick = devices.flat_map(|s| s.resources.iter().map(move |r| (&s.name, r)));
    let sick = sick.filter(|(_, r)| r.health == "Unhealthy");
    let (resource, sick) = sick.min_by_key(|(name, r)| (name.as_str(), r.resource_id.as_str()))?;
    let resource = text::name(resource);
    let container = text::name(view.name);
    let id = text::quote(&sick.resource_id);
    let said = sick.message.as_deref().map(|m| format!(": {}", text::quote(m))).unwrap_or_default();
    Some(
        Finding::of_container(view, Reason::DeviceUnhealthy)
            .summary(format!("container {container} has an unhealthy device: {resource} {id}"))
            .cause(
                CauseCode::DeviceUnhealthy,
                format!("device {id} of {resource} is reported as unhealthy{said}"),
            )
            .with(Source::Status, format!("{resource} {id}: Unhealthy{said}"), None)
            .scope("node", text::name(&view.pod.spec.node_name))
            .next_step("read the log of the device plugin on the node; a new pod may get another device")
            .grace(None, None, look),
    )
}

/// All containers are ready and the pod is not: a readiness gate, or a node that the control plane has given up on.
pub fn gates(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let ready = pod.status.condition(&ConditionType::Ready).filter(|c| c.is_false())?;
    let since = ready.last_transition_time.get();
    let said = format!("Ready False: {}", text::quote(&ready.message));
    if &*ready.reason != "ReadinessGatesNotReady" {
        return marked_unready(pod, context, look);
    }
    let is_set = |gate: &str| pod.status.conditions.iter().any(|c| c.kind.as_str() == gate && c.is_true());
    let open = pod.spec.readiness_gates.iter().map(|g| g.condition_type.as_str());
    let mut open: Vec<&str> = open.filter(|gate| !is_set(gate)).collect();
    // Those whose names were dropped come last, where they are only counted.
    open.sort_unstable_by_key(|gate| (gate.is_empty(), *gate));
    let gates = text::list(&open);
    let finding = Finding::of_pod(pod, Reason::ReadinessGatesNotReady);
    let describe = finding.kubectl_pod("describe pod");
    Some(
        finding
            .summary(format!(
                "all containers are ready, but the pod is not: readiness gate {gates} is not True"
            ))
            .cause(
                CauseCode::ReadinessGate,
                format!("readiness gate {gates} has not been set by its controller"),
            )
            .with(Source::Status, said, since)
            .next_step(describe)
            .next_step(
                "read the log of the controller that sets this condition, for example the load balancer controller",
            )
            .grace(since, None, look),
    )
}

/// The node lifecycle controller marks the pods of a silent node as not ready and touches nothing else. Where nodes can be
/// read, the node itself is the finding.
fn marked_unready(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    // Control planes before 1.27 put such a pod into phase Unknown.
    if context.sources.nodes || !matches!(pod.status.phase.as_str(), "Running" | "Unknown") {
        return None;
    }
    let ready = pod.status.condition(&ConditionType::Ready)?;
    let mut apps = views(pod).filter(|v| v.kind != ContainerType::Ephemeral).peekable();
    apps.peek()?;
    let done = |v: &View<'_>| v.kind == ContainerType::Init && v.ended().is_some_and(|e| !v.has_failed(e));
    if !apps.all(|v| done(&v) || (v.is_running() && v.status.ready)) {
        return None;
    }
    let node = text::name(&pod.spec.node_name);
    let since = ready.last_transition_time.get();
    let grace = Reason::ReadinessGatesNotReady.grace();
    let mut finding = Finding::of_pod(pod, Reason::NodeNotReady)
        .summary(format!("the pod is marked not ready although all of its containers are: the kubelet on node {node} no longer posts its status"))
        .cause(
            CauseCode::KubeletSilent,
            format!("node {node} posts no status, so the container statuses in the pod are out of date"),
        )
        .confidence(Confidence::Probable)
        .scope("node", node.clone())
        .with(Source::Status, "Ready False, and every container is ready", since)
        .with(Source::Node, "nodes were not read: they would show whether the node is the cause", None)
        .next_step(format!("kubectl describe node {}", text::arg(&node)));
    // It is a node's reason, but one pod is never critical by itself.
    finding.severity = Severity::Warning;
    Some(finding.grace(since, Some(grace), look))
}
