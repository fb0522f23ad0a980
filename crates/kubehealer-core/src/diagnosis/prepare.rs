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
use super::reason::Reason;
use super::{devices, image, runtime, start, text, volume};
use crate::objects::{ConditionType, Event, Pod};

/// A pull that takes longer is worth a word.
const SLOW_PULL: SignedDuration = SignedDuration::from_secs(600);

/// The longest pause between two attempts at a volume, with some time to spare.
const RETRY: SignedDuration = SignedDuration::from_secs(180);

/// An event may be so much older than the state that it explains.
const EARLY: SignedDuration = SignedDuration::from_secs(120);

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
            .summary(format!("the pod is assigned to node {node}, and its kubelet gives no sign of life"))
            .cause(CauseCode::KubeletSilent, format!("the kubelet on node {node} has not taken up the pod"))
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
                "the pod waits for its volumes, its network or its sandbox; the Pod object does not tell which"
            } else {
                "the pod waits for an image pull or for the container runtime; the Pod object does not tell which"
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
        "no event tells what it waits for"
    } else {
        "events were not read: they would tell what it waits for"
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

/// Says only that some volume was not there in time, which the attempt at that volume explains in an event of its own.
fn is_vague(event: &Event) -> bool {
    let message = text::uncombined(&event.message);
    message.starts_with("Unable to attach or mount volumes")
        || message.starts_with("Unable to mount volumes for pod")
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
    let event = if is_of_volumes(newest) {
        context.newest_event(|e| is_of_volumes(e) && current(e) && !is_vague(e)).unwrap_or(newest)
    } else {
        newest
    };
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
            .summary("the pod cannot start: its memory limit is too low even for the sandbox")
            .cause(CauseCode::MemoryLimitReached, said)
            .next_step("raise the memory limit: some MiB are needed to start a container at all; check the unit (Mi, not Ki or m)");
        finding.add(Source::Spec, format!("memory limit: {}", limits.join(", ")), None);
        return finding;
    }
    if lower.contains("runtime handler") || lower.contains("no runtime for") {
        let class = pod.spec.runtime_class_name.as_deref().map(text::name).unwrap_or_default();
        return finding
            .summary(format!(
                "the pod cannot start: node {node} does not know the runtime of RuntimeClass {class}"
            ))
            .cause(CauseCode::SandboxFailed, said)
            .scope("runtimeclass", class.clone())
            .next_step(format!("kubectl get runtimeclass {} -o yaml", text::arg(&class)))
            .next_step("its handler must be set up in the node's container runtime");
    }
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    // What runs the sandbox is asked for in vain on this node, whoever asks.
    let shim = text::between(message, "exec: \"containerd-shim-", "\"").is_some()
        || has(&["failed to create shim: not found"]);
    if shim || has(&["could not access kvm", "failed to initialize kvm"]) {
        let class = pod.spec.runtime_class_name.as_deref().map(text::name).unwrap_or_default();
        let lacks = if shim { "has not installed the runtime" } else { "has no KVM for the runtime" };
        let finding = finding
            .summary(format!("the pod cannot start: node {node} {lacks} of RuntimeClass {class}"))
            .cause(CauseCode::SandboxFailed, said)
            .scope("runtimeclass", class.clone());
        if class.is_empty() {
            return finding.scope("node", node.clone()).next_step(runtime::on_node(&node));
        }
        return finding.next_step(format!("kubectl get runtimeclass {} -o yaml", text::arg(&class))).next_step(
            "let such pods run on nodes that are set up for it: scheduling.nodeSelector of the RuntimeClass",
        );
    }
    // The kubelet does not reach the runtime at all; that of a CNI's own daemon is told below.
    if has(&["transport is closing", "containerd.sock", "crio.sock", "cri-dockerd.sock"]) {
        return finding
            .summary(format!(
                "the pod cannot start: the container runtime on node {node} does not answer the kubelet"
            ))
            .cause(CauseCode::RuntimeTimeout, said)
            .scope("node", node.clone())
            .next_step(format!("on node {node}: whether the container runtime runs, and its log"));
    }
    if has(&["failed to get sandbox image", "failed to pull image", "error pulling image"]) {
        // The pause image, which the node's own configuration names.
        let pull = image::classify("", message).map_or(CauseCode::ImagePullFailed, |e| e.code);
        return finding
            .summary(format!("the pod cannot start: node {node} cannot pull the sandbox (pause) image"))
            .cause(pull, said)
            .scope("node", node.clone())
            .next_step(format!("on node {node}: the runtime's setting of the sandbox image, and whether that registry can be reached"));
    }
    if has(&[
        "failed to assign an ip address",
        "no available ip",
        "no ip addresses available",
        "no addresses available",
    ]) || has(&[
        "range is full",
        "no more free",
        "insufficientcidrblocks",
        "no free ip",
        "no available addresses",
    ]) || has(&[
        "ips exhausted",
        "pool exhausted",
        "addresses exhausted",
        "unable to allocate ip",
        "unable to assign an ip",
        "could not allocate ip",
        "no configured calico pools",
    ]) {
        return finding
            .summary("the pod cannot start: no IP address is left for it")
            .cause(CauseCode::NetworkSetupFailed, format!("no IP address could be given to the pod: {said}"))
            .scope("node", node.clone())
            .next_step("free addresses (pods, subnets, IP pools), or let the node take fewer pods; the CNI's log on the node says which pool");
    }
    let cni = event.reason == "NetworkNotReady"
        || has(&["network", "cni", "ipam", "ip address", "calico", "cilium", "flannel", "multus", "veth"]);
    if cni {
        if let Some(name) = text::between(message, "network-attachment-definition (", ")") {
            let (name, space) =
                (text::name(name), text::between(message, "in namespace (", ")").map(text::name));
            let space = space.unwrap_or_else(|| text::name(&pod.metadata.namespace));
            return finding
                .summary(format!("the pod cannot start: NetworkAttachmentDefinition {name} does not exist in namespace {space}"))
                .cause(CauseCode::NetworkSetupFailed, said)
                .next_step(format!("kubectl -n {} get network-attachment-definitions", text::arg(&space)));
        }
        if has(&["address already in use"]) {
            return finding
                .summary(format!("the pod cannot start: a host port of it is in use on node {node}"))
                .cause(CauseCode::HostPortTaken, said)
                .scope("node", node.clone())
                .next_step(format!("on node {node}: ss -ltnp shows who listens there"));
        }
        if has(&["\" already has an ip address different from"]) {
            return finding
                .summary(format!("the pod cannot start: the CNI's bridge on node {node} has an address of an earlier network"))
                .cause(CauseCode::NetworkSetupFailed, said)
                .scope("node", node.clone())
                .next_step(format!("on node {node}: ip link delete the bridge (cni0), which the CNI makes anew"));
        }
        let silent = has(&["connection refused", "timeout", "timed out", "deadline exceeded"]);
        let why = if has(&[
            "cni plugin not initialized",
            "cni config uninitialized",
            "no networks found",
            "runtimenetworknotready",
            "network is not ready",
        ]) {
            ": the node has no working CNI (yet)"
        } else if has(&["failed to find plugin"]) {
            ": a CNI plugin is not installed on the node"
        } else if has(&["unauthorized", "forbidden", "x509"]) {
            ": the CNI may not talk to the API server"
        } else if has(&["toomanyrequests"]) {
            ": the CNI's own daemon on the node has too much to do"
        // A service of the cluster at the port of HTTPS: what is asked for there is the API.
        } else if silent && has(&[":443/api/", ":443/apis/", ":6443/api"]) {
            ": the CNI does not reach the API server from the node"
        // OVN: the control plane gives the addresses, and the node waits for them.
        } else if has(&["timed out waiting for annotations", "timed out waiting for ovs port binding"]) {
            ": the CNI's control plane has not set it up in time"
        } else if silent || has(&["no such file or directory"]) {
            ": the CNI's own daemon on the node does not answer"
        } else {
            ""
        };
        let why = if why.is_empty() { format!(": {}", runtime::innermost(message)) } else { why.to_owned() };
        return finding
            .summary(format!("the pod cannot start: its network cannot be set up{why}"))
            .cause(CauseCode::NetworkSetupFailed, said)
            .scope("node", node.clone())
            .next_step(format!(
                "look at the CNI's pod on the node: kubectl get pods -A -o wide --field-selector spec.nodeName={}",
                text::arg(&node)
            ));
    }
    if has(&["operating system does not match", "0xc0370101"]) {
        return finding
            .summary(format!("the pod cannot start: its image is for another version of Windows than that of node {node}"))
            .cause(CauseCode::ImagePlatformMismatch, said)
            .next_step("use the image of the node's build, or pin the pod with a nodeSelector on node.kubernetes.io/windows-build");
    }
    let (code, why) = if has(&["/proc/sys/"]) {
        let sysctl = text::between(message, "/proc/sys/", ":").map(|s| text::name(&s.replace('/', ".")));
        let sysctl = sysctl.unwrap_or_default();
        let finding = finding
            .summary(format!("the pod cannot start: sysctl {sysctl} cannot be set on node {node}"))
            .cause(CauseCode::NodeRefused, said)
            .scope("node", node.clone());
        return finding.next_step("check its name and value in securityContext.sysctls; if it is not there, the node's runtime sets it");
    } else if has(&["/sys/fs/cgroup"]) && has(&["no space left on device"]) {
        (CauseCode::ResourceExhausted, ": the node has no room for another cgroup")
    } else if has(&["no space left on device", "disk quota exceeded"]) {
        (CauseCode::NodeDiskFull, ": the node's disk is full")
    } else if has(&["is reserved for", "name is reserved"]) {
        (CauseCode::ContainerNameReserved, ": the runtime still holds one from an attempt that took too long")
    } else if has(&["apparmor", "seccomp", "selinux", "/attr/", "user namespace", "userns", "sysctl"]) {
        (CauseCode::NodeRefused, ": the node cannot apply its security settings")
    } else if has(&["resource temporarily unavailable", "cannot allocate memory"]) {
        (CauseCode::ResourceExhausted, ": the node has no processes or memory left for it")
    } else if has(&["deadlineexceeded", "deadline exceeded", "timed out", "timeout"]) {
        (CauseCode::RuntimeTimeout, ": the runtime did not answer in time")
    } else {
        (CauseCode::SandboxFailed, "")
    };
    let profile = text::between(message, "seccomp profile \"", "\"").map(text::name);
    let why = match profile {
        Some(profile) => format!(": seccomp profile {profile} cannot be loaded on the node"),
        None if why.is_empty() => format!(": {}", runtime::innermost(message)),
        None => why.to_owned(),
    };
    finding
        .summary(format!("the pod cannot start: its sandbox cannot be created{why}"))
        .cause(code, said)
        .scope("node", node.clone())
        .next_step(format!("on node {node}: the log of the kubelet and of the container runtime"))
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
                .summary(format!("image {image} is being pulled for a long time"))
                .cause(CauseCode::ImagePullSlow, format!("the pull of image {image} has neither ended nor failed"))
                .confidence(Confidence::Probable)
                .next_step("the kubelet pulls one image after the other by default: another large one may be ahead of it");
            finding.image = image;
            (finding, Some(SLOW_PULL))
        }
        "Started" => (
            finding
                .summary("a container of the pod was started, and the kubelet does not get on")
                .cause(
                    CauseCode::HookFailed,
                    "the container was started and is not shown as running, as while its postStart hook runs",
                )
                .confidence(Confidence::Possible)
                .next_step("if the container has a postStart hook: it has not ended"),
            None,
        ),
        "Pulled" | "Created" => (
            finding
                .summary("a container of the pod is not started although its image is there")
                .cause(
                    CauseCode::RuntimeTimeout,
                    format!("the container runtime on node {node} has not finished to create or start it"),
                )
                .confidence(Confidence::Probable)
                .scope("node", node.clone())
                .next_step(format!("on node {node}: the log of the kubelet and of the container runtime")),
            None,
        ),
        _ => return None,
    };
    finding.add_event(newest);
    Some(Some(finding.grace(at, grace, look)).filter(Finding::is_active))
}
