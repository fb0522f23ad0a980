//! Pods on a node whose containers are not even created: volumes, sandbox, network, devices, slow pulls.
//!
//! In the Pod all of these look alike, and like a healthy start: `ContainerCreating` (or `PodInitializing`) without a
//! message. The condition `PodReadyToStartContainers` and events tell them apart.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{bound_since, views};
use super::context::Context;
use super::draft::Look;
use super::finding::{Confidence, Finding, Source};
use super::message::Message;
use super::messages;
use super::reason::Reason;
use super::steps::Names;
use super::{devices, image, runtime, start, text, volume};
use crate::objects::{ConditionType, Event, Pod};

/// A pull that takes longer is worth a word.
const SLOW_PULL: SignedDuration = SignedDuration::from_secs(600);

/// The longest pause between two attempts at a volume, with some time to spare.
const RETRY: SignedDuration = SignedDuration::from_secs(180);

/// An event may be so much older than the state that it explains.
const EARLY: SignedDuration = SignedDuration::from_secs(120);

/// A sandbox is replaced once or twice when its node restarts.
const RECREATED: i32 = 4;

/// Looks at a pod that is bound to a node and of which no container has been created.
pub fn diagnose(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    if pod.spec.node_name.is_empty() || matches!(pod.status.phase.as_str(), "Failed" | "Succeeded") {
        return None;
    }
    let since = bound_since(pod);
    let seen = pod.status.start_time.is_known()
        || !pod.status.container_statuses.is_empty()
        || !pod.status.init_container_statuses.is_empty();
    if !seen {
        let node = text::name(&pod.spec.node_name);
        let finding = Finding::of_pod(pod, Reason::PodNotStarted)
            .summary(format!("pod is assigned to node {node}, whose kubelet no longer posts its status"))
            .cause(CauseCode::KubeletSilent, format!("the kubelet on node {node} has not picked up the pod"))
            .confidence(Confidence::Probable)
            .scope("node", node.clone())
            .next_step(format!("kubectl describe node {}", text::arg(&node)))
            .grace(since, None, look);
        return Some(finding).filter(Finding::is_active);
    }
    if !waits_for_creation(pod) {
        return None;
    }
    let sandbox = pod.status.condition(&ConditionType::PodReadyToStartContainers);
    let no_sandbox = sandbox.is_some_and(|c| c.is_false());
    // A pod whose sandbox died after it ran: what counts is since then.
    let since = match sandbox {
        Some(c) if no_sandbox => c.last_transition_time.get().max(since),
        _ => since,
    };
    if let Some(finding) = by_event(pod, context, since, sandbox.map(|c| c.is_false()), look) {
        return Some(finding);
    }
    // With a sandbox it is most likely a pull, which may well take that long; an event would tell.
    let pulling = sandbox.is_some_and(|c| c.is_true()) && !context.sources.events;
    if let Some(finding) = recreated(pod, context, look) {
        return Some(finding);
    }
    if let Some(pull) = slow_pull(pod, context, look) {
        return pull;
    }
    let finding = Finding::of_pod(pod, Reason::PodNotStarted);
    let describe = finding.kubectl_pod("describe pod");
    let mut finding = finding
        .summary("the containers of the pod are not created")
        .cause(
            CauseCode::Unexplained,
            if no_sandbox {
                "the pod waits for its volumes, its network or its sandbox; the Pod object does not say which"
            } else {
                "the pod waits for an image pull or for the container runtime; the Pod object does not say which"
            },
        )
        .confidence(Confidence::Possible)
        .next_step(describe);
    if let Some(condition) = sandbox.filter(|c| c.is_false()) {
        finding.add(Source::Status, "PodReadyToStartContainers False", condition.last_transition_time.get());
        let needs = volume::needs(pod);
        if !needs.is_empty() {
            finding.add(Source::Spec, format!("its volumes need {}", text::list(&needs)), None);
        }
    }
    let missing = if context.sources.events {
        "no event says what it waits for"
    } else {
        "events were not read: they would show what it waits for"
    };
    finding.add(Source::Event, missing, None);
    let grace = pulling.then_some(SLOW_PULL);
    Some(finding.grace(since, grace, look)).filter(Finding::is_active)
}

/// What holds up a pod without a sandbox, by its events, whatever its containers wait for by their own word.
pub fn without_sandbox(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let sandbox = pod.status.condition(&ConditionType::PodReadyToStartContainers).filter(|c| c.is_false())?;
    let since = sandbox.last_transition_time.get().max(bound_since(pod));
    by_event(pod, context, since, Some(true), look)
}

/// Whether some container should be created now and has no error of its own: the first init container that is not done,
/// or, behind them, the app containers.
fn waits_for_creation(pod: &Pod) -> bool {
    let mut blocked = false;
    for view in views(pod) {
        let default = view.waiting().is_some_and(|w| {
            matches!(w.reason.as_str(), "ContainerCreating" | "PodInitializing" | "")
                || start::is_progress(&w.reason)
        });
        match view.kind {
            super::ContainerType::Ephemeral => {}
            super::ContainerType::Init if blocked => {}
            super::ContainerType::Init => {
                if view.ended().is_some_and(|e| !view.has_failed(e)) {
                    continue;
                }
                if default {
                    return true;
                }
                blocked = true;
            }
            super::ContainerType::Sidecar if blocked => {}
            super::ContainerType::Sidecar => {
                if default {
                    return true;
                }
                blocked |= view.status.started != Some(true);
            }
            super::ContainerType::App => {
                if default && !blocked {
                    return true;
                }
            }
        }
    }
    false
}

/// What a pod waits for, by its events.
fn is_telling(event: &Event) -> bool {
    matches!(
        event.reason.as_str(),
        "FailedMount"
            | "FailedAttachVolume"
            | "FailedMapVolume"
            | "FailedCreatePodSandBox"
            | "FailedPodSandBoxStatus"
            | "NetworkNotReady"
            | "FailedPrepareDynamicResources"
            | "FailedResourceClaimCreation"
            | "FailedCreatePodContainer"
            | "VolumePermissionChangeInProgress"
    )
}

fn is_of_volumes(event: &Event) -> bool {
    matches!(
        event.reason.as_str(),
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" | "VolumePermissionChangeInProgress"
    )
}

/// Says only that some volume was not there in time, or that an earlier attempt holds this one up: the attempt itself explains it
/// in an event of its own.
fn is_vague(event: &Event) -> bool {
    let message = text::uncombined(&event.message);
    message.starts_with("Unable to attach or mount volumes")
        || message.starts_with("Unable to mount volumes for pod")
        || ["due to backoff condition", "operation with the given Volume ID", "is reserved for"]
            .iter()
            .any(|words| message.contains(words))
}

/// The event that tells what the pod waits for: the newest, but rather the one that says why a volume is not there.
fn by_event(
    pod: &Pod,
    context: &Context<'_>,
    since: Option<Timestamp>,
    no_sandbox: Option<bool>,
    look: &mut Look,
) -> Option<Finding> {
    // The kubelet mounts volumes before it makes the sandbox, and pulls after that. Kubelets before 1.28 do not tell of it.
    if no_sandbox == Some(false) {
        return None;
    }
    // Not of an earlier sandbox. An attach may fail, once, before the kubelet first says anything of the pod.
    let current = |e: &Event| since.zip(e.last_seen()).is_none_or(|(s, at)| s.duration_since(at) <= EARLY);
    let newest = context.newest_event(|e| is_telling(e) && current(e))?;
    let alike = |e: &Event| if is_of_volumes(newest) { is_of_volumes(e) } else { e.reason == newest.reason };
    let event = context.newest_event(|e| alike(e) && current(e) && !is_vague(e)).unwrap_or(newest);
    let message = text::uncombined(&event.message);
    let mut finding = match event.reason.as_str() {
        _ if is_of_volumes(event) => {
            volume::not_ready(Finding::of_pod(pod, Reason::VolumeNotReady), pod, event, message)
        }
        "FailedPrepareDynamicResources" | "FailedResourceClaimCreation" => {
            devices::dynamic_resources(pod, message)
        }
        _ => sandbox(Finding::of_pod(pod, Reason::FailedCreatePodSandBox), pod, event, message),
    };
    finding.add_event(event);
    // Another volume may be missing, too: it has an event of its own, which is no newer than this one.
    let of_volume = |e: &Event| text::between(&e.message, "for volume \"", "\"").map(str::to_owned);
    if let Some(first) = of_volume(event).filter(|_| is_of_volumes(event)) {
        let other = |e: &Event| of_volume(e).is_some_and(|v| v != first);
        let late = |e: &Event| {
            event.last_seen().zip(e.last_seen()).is_some_and(|(new, at)| new.duration_since(at) <= RETRY)
        };
        if let Some(too) = context.newest_event(|e| is_of_volumes(e) && current(e) && other(e) && late(e)) {
            finding.add_event(too);
        }
    }
    let describe = finding.kubectl_pod("describe pod");
    Some(finding.next_step(describe).grace(since, None, look))
}

/// Reads the event that tells why the pod has no sandbox.
fn sandbox(finding: Finding, pod: &Pod, event: &Event, message: &str) -> Finding {
    let read = Message::read(message);
    if read.has(&["failed to get sandbox image", "failed to pull image", "error pulling image"]) {
        return pause_image(finding, message, &read);
    }
    let class = pod.spec.runtime_class_name.as_deref().map(text::name);
    let names = Names::of(&finding).and_of(&read).with("class", class);
    // A sandbox has no volumeMounts, of which the steps of a failed mount speak.
    let rule = messages::find(messages::sandbox::RULES, &read)
        .or_else(|| messages::find(messages::runtime::RULES, &read))
        .filter(|rule| rule.code != CauseCode::MountFailed || rule.only);
    let network = event.reason == "NetworkNotReady";
    let code = match rule {
        Some(rule) => rule.code,
        None if network => CauseCode::NetworkSetupFailed,
        None => CauseCode::SandboxFailed,
    };
    let what = match code {
        CauseCode::NetworkSetupFailed => "network setup failed",
        CauseCode::HostPortTaken => "host port not available",
        CauseCode::MemoryLimitReached => "memory limit too low",
        _ => "sandbox cannot be created",
    };
    let mut finding = finding
        .summary(format!("pod cannot start: {what}: {}", runtime::explained(&read, rule, &names)))
        .cause(code, runtime::detailed(&read, rule, &names));
    if code == CauseCode::MemoryLimitReached {
        let of_container = |c: &crate::objects::Container| {
            Some(format!("{} {}", text::name(&c.name), text::name(c.limit("memory")?)))
        };
        let limits: Vec<String> = pod.spec.containers.iter().filter_map(of_container).collect();
        let limits = limits.join(", ");
        if !limits.is_empty() {
            finding.summary = finding.summary.replacen(
                "memory limit too low",
                &format!("memory limit too low ({limits})"),
                1,
            );
            finding.add(Source::Spec, format!("memory limit: {limits}"), None);
        }
    }
    match rule {
        Some(rule) => runtime::by_rule(finding, rule, &names),
        None => {
            let node = finding.node.clone();
            finding.scope("node", node).steps_of_its_cause(&names)
        }
    }
}

/// The pause image, which the node's own configuration names, and which the node pulls with its own credentials.
fn pause_image(finding: Finding, message: &str, read: &Message) -> Finding {
    let node = finding.node.clone();
    let named =
        read.named("sandbox image \"", "\"").or_else(|| read.named("image \"", "\"")).unwrap_or_default();
    let error = image::classify(&named, &node, message);
    let code = error.as_ref().map_or(CauseCode::ImagePullFailed, |e| e.code);
    // With the host that failed, where it is not the registry.
    let lead = format!("cannot pull image {named}: ");
    let said =
        error.as_ref().and_then(|e| e.short.strip_prefix(&lead)).map_or_else(|| read.cause(), str::to_owned);
    let finding = finding
        .summary(format!("pod cannot start: cannot pull the sandbox (pause) image {named}: {said}"))
        .cause(code, format!("node {node}, image {named}: {}", read.detail()))
        .scope("node", node.clone());
    let finding = match error {
        Some(error) if image::wants_credentials(&error) => finding.next_step(format!(
            "the node pulls it with its own credentials: check them on node {node} (its role, credential provider), or find out why the image was removed from the node: the runtime should pin it"
        )),
        _ => finding,
    };
    finding.next_step(format!(
        "on node {node}: check the runtime's sandbox image setting, and try crictl pull {}",
        text::arg(&named)
    ))
}

/// A sandbox that the kubelet keeps on replacing, without an error of its creation. Each time it says so in a `SandboxChanged` event
/// (kuberuntime's `computePodActions`), and the containers begin anew, so no state lasts.
fn recreated(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let event = context.newest_event(|e| e.reason == "SandboxChanged" && e.times() >= RECREATED)?;
    let now = look.now;
    if event.last_seen().is_none_or(|at| now.duration_since(at) > RETRY) {
        return None;
    }
    let times = event.times();
    let mut why = format!("the kubelet has killed and re-created its sandbox {times} times");
    let warning = context.newest_event(|e| e.is_warning() && e.last_seen() >= event.first_seen());
    if let Some(warning) = warning {
        why.push_str(&format!("; its last warning: {}", text::quote(text::uncombined(&warning.message))));
    }
    let mut finding = Finding::of_pod(pod, Reason::FailedCreatePodSandBox)
        .summary(format!("pod cannot start: {why}"))
        .cause(CauseCode::SandboxFailed, why)
        .confidence(Confidence::Probable);
    finding.add_event(event);
    if let Some(warning) = warning {
        finding.add_event(warning);
    }
    let names = Names::of(&finding);
    let finding = finding.scope("node", text::name(&pod.spec.node_name)).steps_of_its_cause(&names);
    Some(finding.grace(event.first_seen(), None, look)).filter(Finding::is_active)
}

/// What the newest event about a container says of a pod that has a sandbox: a pull that has neither ended nor failed, or a
/// step after it that hangs. The outer option says whether an event tells.
fn slow_pull(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Option<Finding>> {
    let newest = context.newest_event(|e| {
        matches!(e.reason.as_str(), "Pulling" | "Pulled" | "Failed" | "BackOff" | "Created" | "Started")
    })?;
    let at = newest.last_seen();
    let finding = Finding::of_pod(pod, Reason::PodNotStarted);
    let node = text::name(&pod.spec.node_name);
    let (mut finding, grace) = match newest.reason.as_str() {
        "Pulling" => {
            let image =
                text::between(&newest.message, "Pulling image \"", "\"").map(text::name).unwrap_or_default();
            let mut finding = finding
                .summary(format!("the pull of image {image} takes unusually long"))
                .cause(CauseCode::ImagePullSlow, format!("the pull of image {image} has neither finished nor failed"))
                .confidence(Confidence::Probable)
                .next_step("the kubelet pulls one image after the other by default: another large image may be ahead of it");
            finding.image = image;
            (finding, Some(SLOW_PULL))
        }
        "Started" => (
            finding
                .summary("a container of the pod was started, and the kubelet makes no progress")
                .cause(
                    CauseCode::HookFailed,
                    "the container was started but is not shown as running: this happens while its postStart hook runs",
                )
                .confidence(Confidence::Possible)
                .next_step("if the container has a postStart hook, the hook has not finished"),
            None,
        ),
        "Pulled" | "Created" => (
            finding
                .summary("a container of the pod has not started although its image is present")
                .cause(
                    CauseCode::RuntimeTimeout,
                    format!("the container runtime on node {node} is still creating or starting it"),
                )
                .confidence(Confidence::Probable)
                .scope("node", node.clone())
                .next_step(format!("on node {node}: read the logs of the kubelet and the container runtime")),
            None,
        ),
        _ => return None,
    };
    finding.add_event(newest);
    Some(Some(finding.grace(at, grace, look)).filter(Finding::is_active))
}
