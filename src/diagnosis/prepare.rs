//! Pods on a node whose containers are not even created: volumes, sandbox, network, devices, slow pulls.
//!
//! In the Pod all of these look alike, and like a healthy start: `ContainerCreating` (or `PodInitializing`) without a
//! message. The condition `PodReadyToStartContainers` and events tell them apart (taxonomy 1.4).

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{bound_since, views};
use super::context::Context;
use super::draft::Look;
use super::finding::{Confidence, Finding, Source};
use super::reason::Reason;
use super::text;
use crate::objects::{ConditionType, Event, Pod};

/// A pull that takes longer is worth a word.
const SLOW_PULL: SignedDuration = SignedDuration::from_secs(600);

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
            .says(format!("the pod is assigned to node {node}, and its kubelet gives no sign of life"))
            .because(CauseCode::KubeletSilent, format!("the kubelet on node {node} has not taken up the pod"))
            .sure(Confidence::Probable)
            .about("node", node.clone())
            .next(format!("kubectl describe node {node}"))
            .lasting(since, None, look);
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
    if let Some(finding) = by_event(pod, context, since, no_sandbox, look) {
        return Some(finding);
    }
    let finding = Finding::of_pod(pod, Reason::PodNotStarted);
    let describe = finding.kubectl(&format!("describe pod {}", finding.pod));
    let mut finding = finding
        .says("the containers of the pod are not created")
        .because(
            CauseCode::Unexplained,
            if no_sandbox {
                "the pod waits for its volumes, its network or its sandbox; the Pod object does not tell which"
            } else {
                "the pod waits for an image pull or for the container runtime; the Pod object does not tell which"
            },
        )
        .sure(Confidence::Possible)
        .next(describe);
    if let Some(condition) = sandbox.filter(|c| c.is_false()) {
        finding.add(Source::Status, "PodReadyToStartContainers False", condition.last_transition_time.get());
    }
    let missing = if context.sources.events {
        "no event tells what it waits for"
    } else {
        "events were not read: they would tell what it waits for"
    };
    finding.add(Source::Event, missing, None);
    Some(finding.lasting(since, None, look)).filter(Finding::is_active)
}

/// Whether some container should be created now and has no error of its own: the first init container that is not done,
/// or, behind them, the app containers.
fn waits_for_creation(pod: &Pod) -> bool {
    let mut blocked = false;
    for view in views(pod) {
        let default = view
            .waiting()
            .is_some_and(|w| matches!(w.reason.as_str(), "ContainerCreating" | "PodInitializing" | ""));
        match view.kind {
            super::ContainerType::Ephemeral => {}
            super::ContainerType::Init if blocked => {}
            super::ContainerType::Init => {
                if view.ended().is_some_and(|e| e.exit_code == 0) {
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

/// The newest event that tells what the pod waits for.
fn by_event(
    pod: &Pod,
    context: &Context<'_>,
    since: Option<Timestamp>,
    no_sandbox: bool,
    look: &mut Look,
) -> Option<Finding> {
    let telling = |e: &&Event| {
        matches!(
            e.reason.as_str(),
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
    };
    let event = context.events.iter().filter(telling).max_by_key(|e| e.last_seen());
    let Some(event) = event
        .filter(|_| no_sandbox || pod.status.condition(&ConditionType::PodReadyToStartContainers).is_none())
    else {
        return slow_pull(pod, context, look);
    };
    let message = event.message.trim_start_matches("(combined from similar events): ");
    let said = text::quote(&text::normalise(message));
    let mut finding = match event.reason.as_str() {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" | "VolumePermissionChangeInProgress" => {
            volume(Finding::of_pod(pod, Reason::VolumeNotReady), pod, event, message)
        }
        "FailedPrepareDynamicResources" | "FailedResourceClaimCreation" => {
            Finding::of_pod(pod, Reason::FailedPrepareDynamicResources)
                .says("the pod cannot start: its dynamic resources (devices) cannot be prepared")
                .because(CauseCode::DeviceAllocationFailed, said)
                .next("kubectl get resourceclaims,resourceslices; the log of the DRA driver on the node")
        }
        _ => sandbox(Finding::of_pod(pod, Reason::FailedCreatePodSandBox), pod, event, message),
    };
    finding.add_event(event);
    let describe = finding.kubectl(&format!("describe pod {}", finding.pod));
    Some(finding.next(describe).lasting(since, None, look))
}

fn volume(finding: Finding, pod: &Pod, event: &Event, message: &str) -> Finding {
    let namespace = finding.namespace.clone();
    let volume = text::between(message, "for volume \"", "\"").map(text::name).unwrap_or_default();
    let quoted = |kind: &str| text::between(message, &format!("{kind} \""), "\"").map(text::name);
    if message.contains("not found")
        && let Some(name) = quoted("secret")
    {
        let step = finding.kubectl(&format!("get secret {name}"));
        return finding
            .says(format!("the pod cannot start: Secret {name} of volume {volume} does not exist"))
            .because(
                CauseCode::MissingSecret,
                format!("Secret {name} was not found in namespace {namespace}"),
            )
            .about("secret", format!("{namespace}/{name}"))
            .next(step);
    }
    if message.contains("not found")
        && let Some(name) = quoted("configmap")
    {
        let step = finding.kubectl(&format!("get configmap {name}"));
        return finding
            .says(format!("the pod cannot start: ConfigMap {name} of volume {volume} does not exist"))
            .because(
                CauseCode::MissingConfigMap,
                format!("ConfigMap {name} was not found in namespace {namespace}"),
            )
            .about("configmap", format!("{namespace}/{name}"))
            .next(step);
    }
    if let Some(key) =
        message.split_once("references non-existent secret key: ").map(|(_, key)| text::name(key))
    {
        let secret = source(pod, &volume).and_then(|s| s.secret.as_ref()).map(|s| text::name(&s.secret_name));
        return missing_key(finding, "Secret", secret, &volume, &key, CauseCode::MissingSecretKey);
    }
    if let Some(key) =
        message.split_once("references non-existent config key: ").map(|(_, key)| text::name(key))
    {
        let map =
            source(pod, &volume).and_then(|s| s.config_map.as_ref()).map(|m| text::name(&m.reference.name));
        return missing_key(finding, "ConfigMap", map, &volume, &key, CauseCode::MissingConfigMapKey);
    }
    let attach = event.reason == "FailedAttachVolume";
    let code = if attach { CauseCode::VolumeAttachFailed } else { CauseCode::VolumeMountFailed };
    let verb = if attach { "attached" } else { "mounted" };
    let short =
        if message.contains("Multi-Attach error") { ": it is still attached to another node" } else { "" };
    let mut finding = finding
        .says(format!("the pod cannot start: volume {volume} cannot be {verb}{short}"))
        .because(code, text::quote(&text::normalise(message)))
        .next("kubectl get pvc,pv,volumeattachments");
    let claims = pod
        .spec
        .volumes
        .iter()
        .filter_map(|v| v.source.as_ref()?.persistent_volume_claim.as_ref().map(|c| (v, c)));
    let claims: Vec<_> = claims.collect();
    let named = claims
        .iter()
        .find(|(v, _)| v.name == volume)
        .or_else(|| claims.first().filter(|_| claims.len() == 1));
    if let Some((_, claim)) = named {
        let claim = text::name(&claim.claim_name);
        finding.add(Source::Spec, format!("claim {claim}"), None);
        finding = finding.about("claim", format!("{namespace}/{claim}"));
    }
    finding
}

fn source<'a>(pod: &'a Pod, volume: &str) -> Option<&'a crate::objects::pod::VolumeSource> {
    pod.spec.volumes.iter().find(|v| v.name == volume)?.source.as_deref()
}

fn missing_key(
    finding: Finding,
    kind: &str,
    object: Option<String>,
    volume: &str,
    key: &str,
    code: CauseCode,
) -> Finding {
    // A projected volume takes from several objects, and the message names only the key.
    let object =
        object.map_or_else(|| format!("the {kind} of volume {volume}"), |name| format!("{kind} {name}"));
    let scope = format!("{}/{}", finding.namespace, object.rsplit(' ').next().unwrap_or_default());
    let describe = object.to_lowercase().replacen("the ", "", 1);
    let step = finding.kubectl(&format!("describe {describe}"));
    let finding = finding
        .says(format!(
            "the pod cannot start: {object}, which volume {volume} takes keys from, has no key {key}"
        ))
        .because(code, format!("key {key} was not found in {object}"))
        .about(if kind == "Secret" { "secret" } else { "configmap" }, scope);
    if object.starts_with("the ") { finding } else { finding.next(step) }
        .next("add the key, or correct the items of the volume")
}

fn sandbox(finding: Finding, pod: &Pod, event: &Event, message: &str) -> Finding {
    let node = text::name(&pod.spec.node_name);
    let said = text::quote(&text::normalise(message));
    let lower = message.to_lowercase();
    if lower.contains("memory limit too low") || lower.contains("container init was oom-killed") {
        let limits: Vec<String> = pod
            .spec
            .containers
            .iter()
            .filter_map(|c| Some(format!("{} {}", text::name(&c.name), text::name(c.limit("memory")?))))
            .collect();
        let mut finding = finding
            .says("the pod cannot start: its memory limit is too low even for the sandbox")
            .because(CauseCode::MemoryLimitReached, said)
            .next("raise the memory limit: some MiB are needed to start a container at all; check the unit (Mi, not Ki or m)");
        finding.add(Source::Spec, format!("memory limit: {}", limits.join(", ")), None);
        return finding;
    }
    let network = event.reason == "NetworkNotReady"
        || ["network", "cni", "ipam", "ip address"].iter().any(|w| lower.contains(w));
    if lower.contains("runtime handler") || lower.contains("no runtime for") {
        let class = pod.spec.runtime_class_name.as_deref().map(text::name).unwrap_or_default();
        return finding
            .says(format!("the pod cannot start: node {node} does not know the runtime of RuntimeClass {class}"))
            .because(CauseCode::SandboxFailed, said)
            .about("runtimeclass", class.clone())
            .next(format!("kubectl get runtimeclass {class} -o yaml; its handler must be set up in the node's container runtime"));
    }
    if network {
        return finding
            .says("the pod cannot start: its network cannot be set up")
            .because(CauseCode::NetworkSetupFailed, said)
            .about("node", node.clone())
            .next(format!("look at the CNI pod on node {node}"));
    }
    finding
        .says("the pod cannot start: its sandbox cannot be created")
        .because(CauseCode::SandboxFailed, said)
        .about("node", node.clone())
        .next(format!("on node {node}: the log of the kubelet and of the container runtime"))
}

/// A pull that began long ago and has neither ended nor failed.
fn slow_pull(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let newest = context
        .events
        .iter()
        .filter(|e| {
            matches!(e.reason.as_str(), "Pulling" | "Pulled" | "Failed" | "BackOff" | "Created" | "Started")
        })
        .max_by_key(|e| e.last_seen())?;
    let began = newest.last_seen().filter(|_| newest.reason == "Pulling")?;
    let image = text::between(&newest.message, "Pulling image \"", "\"").map(text::name).unwrap_or_default();
    let mut finding = Finding::of_pod(pod, Reason::PodNotStarted)
        .says(format!("image {image} is being pulled for a long time"))
        .because(CauseCode::ImagePullSlow, format!("the pull of image {image} has neither ended nor failed"))
        .sure(Confidence::Probable)
        .next("the kubelet pulls one image after the other by default: another large one may be ahead of it");
    finding.image = image;
    finding.add_event(newest);
    Some(finding.lasting(Some(began), Some(SLOW_PULL), look)).filter(Finding::is_active)
}
