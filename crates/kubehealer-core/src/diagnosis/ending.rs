//! Pods that were ended or refused from outside, that do not go away, or that cannot be resized.

use jiff::{SignedDuration, Timestamp};

use super::cause::CauseCode;
use super::container::{uptime, views};
use super::context::Context;
use super::devices;
use super::draft::Look;
use super::exit;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::message::Message;
use super::reason::{Reason, Severity};
use super::scheduling;
use super::text;
use crate::objects::{ConditionStatus, ConditionType, Event, Pod, Terminated};

/// For how long an ended pod that its controller has replaced by another is worth more than a remark.
const HUSK: SignedDuration = SignedDuration::from_secs(3600);

/// Reads why a pod as a whole has failed. Leads over what its containers say: the kubelet killed them (137).
pub fn failed(pod: &Pod, look: &mut Look) -> Option<Finding> {
    let status = &pod.status;
    if status.phase != "Failed" {
        return None;
    }
    let message = text::quote(&status.message);
    let disruption = status.condition(&ConditionType::DisruptionTarget).filter(|c| c.is_true());
    let rejected = status.message.strip_prefix("Pod was rejected: ");
    let of = |reason| Finding::of_pod(pod, reason);
    let mut finding = match status.reason.as_str() {
        "Evicted" => evicted(of(Reason::Evicted), &status.message),
        "DeadlineExceeded" => over_deadline(of(Reason::DeadlineExceeded), pod),
        "Preempting" => of(Reason::Preempted)
            .summary("the kubelet stopped the pod to make room for a critical pod")
            .cause(CauseCode::Preemption, "a critical pod needed its resources on the node".to_owned()),
        "Terminated" | "NodeShutdown" | "Shutdown" => {
            let node = text::name(&pod.spec.node_name);
            let what = if rejected.is_some() { "was rejected" } else { "was stopped" };
            of(Reason::NodeShutdown)
                .summary(format!("the pod {what} because node {node} was shut down"))
                .cause(CauseCode::NodeShutDown, format!("node {node} was shut down"))
                .scope("node", node)
        }
        "" if disruption.is_some_and(|c| &*c.reason == "PreemptionByScheduler") => of(Reason::Preempted)
            .summary("the scheduler preempted the pod for one of higher priority")
            .cause(CauseCode::Preemption, "a pod of higher priority needed its resources".to_owned()),
        // A drain, a taint, a node that is gone: planned, and the controller makes another pod.
        "" if disruption.is_some() => return None,
        "" => return None,
        "NodeLost" => of(Reason::PodFailed)
            .summary(format!("the pod was lost with its node {}", text::name(&pod.spec.node_name)))
            .cause(CauseCode::NodeLost, message.clone())
            .scope("node", text::name(&pod.spec.node_name)),
        word => refused(pod, word, rejected),
    };
    finding.add(Source::Status, format!("{}: {message}", text::name(&status.reason)), None);
    if finding.next_steps.is_empty() {
        let describe = finding.kubectl_pod("describe pod");
        finding = finding.next_step(describe);
    }
    add_ends(&mut finding, pod);
    let since = ended_at(pod);
    finding.since = since;
    // A Job makes another, too, or has failed itself, which is then its own finding.
    let replaced = pod.metadata.controller().is_some_and(|o| o.kind != "Node");
    if replaced
        && let Some(since) = since
        && !look.within(since, HUSK)
    {
        finding = finding.recovered();
        finding.add(
            Source::Owner,
            "its controller creates another pod in its place; this one is kept for inspection",
            None,
        );
    }
    Some(finding)
}

fn over_deadline(finding: Finding, pod: &Pod) -> Finding {
    let limit = pod.spec.active_deadline_seconds;
    let limit = limit.map(|s| format!(" of {s}s (activeDeadlineSeconds)")).unwrap_or_default();
    let finding = finding
        .summary(format!("the pod was stopped: it ran longer than its deadline{limit}"))
        .cause(CauseCode::DeadlineReached, format!("it was active longer than its deadline{limit}"));
    // More time would not have helped one that never started.
    if let Some(why) = never_started(pod) {
        let describe = finding.kubectl_pod("describe pod");
        let mut finding = finding.next_step(describe);
        finding.summary = format!("{}; {why}", finding.summary);
        finding.cause.text = format!("{}; {why}", finding.cause.text);
        return finding;
    }
    let logs = finding.kubectl_pod("logs");
    finding.next_step(logs).next_step("if the work needs longer, raise activeDeadlineSeconds")
}

/// Adds how the containers of an ended pod ended.
fn add_ends(finding: &mut Finding, pod: &Pod) {
    // The kubelet makes up ends of containers that never ran when it restarts.
    let ends = views(pod).filter_map(|v| Some((text::name(v.name), v.ended()?)));
    let mut ends: Vec<(String, &Terminated)> =
        ends.filter(|(_, e)| e.exit_code != 0 && !exit::is_made_up(&e.reason, e.exit_code)).collect();
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    for (container, end) in ends.iter().take(10) {
        let lasted = uptime(end).map(|u| format!(", ran {}", text::duration(u))).unwrap_or_default();
        let words = format!(
            "container {container}: {} with exit code {}{lasted}",
            text::name(&end.reason),
            end.exit_code
        );
        finding.add(Source::Status, words, end.finished_at.get());
    }
}

/// A pod that its kubelet blocks without failing it: kubelets before 1.30 wait until the node has what the pod wants, such as
/// an AppArmor profile. Its containers wait as `Blocked`, and the pod says why.
pub fn blocked(pod: &Pod, look: &mut Look) -> Option<Finding> {
    let is_blocked = views(pod).any(|v| v.waiting().is_some_and(|w| w.reason == "Blocked"));
    if pod.status.phase != "Pending" || !is_blocked || pod.status.reason.is_empty() {
        return None;
    }
    let word = pod.status.reason.as_str();
    let said = text::quote(&pod.status.message);
    let reason =
        Reason::of(word).filter(|r| r.family() == super::Family::End).unwrap_or(Reason::AdmissionRejected);
    let node = text::name(&pod.spec.node_name);
    let since = pod.status.start_time.get().or_else(|| pod.metadata.creation_timestamp.get());
    let finding = Finding::of_pod(pod, reason)
        .summary(format!("node {node} blocks the pod: {}: {said}", text::name(word)))
        .cause(CauseCode::NodeRefused, said)
        .scope("node", node.clone());
    let finding = if word == "AppArmor" {
        finding.next_step(format!(
            "load the profile on node {node} (apparmor_parser), or correct its name in the pod"
        ))
    } else {
        finding
    };
    Some(finding.next_step(format!("kubectl describe node {}", text::arg(&node))).grace(since, None, look))
}

/// What an ended pod's container waited for that never ran: the kubelet's last word on it.
fn never_started(pod: &Pod) -> Option<String> {
    let by_default = ["", "ContainerCreating", "PodInitializing"];
    let mut views = views(pod).filter(|v| v.newest_end().is_none() && v.kind != ContainerType::Ephemeral);
    let (view, waiting) =
        views.find_map(|v| Some((v, v.waiting().filter(|w| !by_default.contains(&w.reason.as_str()))?)))?;
    let said = text::head(&text::quote(&text::normalise(&waiting.message)), 240);
    let (noun, name, reason) = (view.noun(), text::name(view.name), text::name(&waiting.reason));
    Some(format!("{noun} {name} never started: {reason}: {said}"))
}

/// When the pod ended: the last end of a container or when it stopped being ready, whichever is later, since the one may be
/// published before the other; else when it began.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let last = views(pod).filter_map(|v| v.ended()?.finished_at.get()).max();
    let unready = pod.status.condition(&ConditionType::Ready).filter(|c| c.status == ConditionStatus::False);
    last.max(unready.and_then(|c| c.last_transition_time.get()))
        .or_else(|| pod.status.start_time.get())
        .or_else(|| pod.metadata.creation_timestamp.get())
}

fn evicted(finding: Finding, message: &str) -> Finding {
    let said = message.trim();
    if let Some(rest) = said.strip_prefix("The node was low on resource: ") {
        let resource = text::name(rest.split(['.', ' ']).next().unwrap_or_default().trim_matches(['[', ']']));
        let node = finding.node.clone();
        // The first offender is the largest one.
        let used = rest.split_once("Container ").and_then(|(_, used)| {
            let used = used.split_once(", has larger").map_or(used, |(used, _)| used);
            Some(format!("; container {}", text::quote(used.split(". ").next()?.trim_end_matches('.'))))
        });
        let used = used.unwrap_or_default();
        return finding
            .summary(format!("pod was evicted: node {node} was low on {resource}{used}"))
            .cause(CauseCode::NodePressure, text::quote(said))
            .scope("node", node.clone())
            .next_step(format!("kubectl describe node {}", text::arg(&node)))
            .next_step(match resource.as_str() {
                "inodes" => "find what writes so many small files: run df -i and du --inodes on the node",
                "pids" => "find what starts so many processes; the kubelet's podPidsLimit limits each pod",
                "memory" => "set memory requests to what the pod really uses: pods above their requests are evicted first",
                _ => "find out what fills the disk of the node: images, logs, emptyDir volumes; pods above their requests are evicted first",
            });
    }
    if said.contains("The node had condition") {
        let node = finding.node.clone();
        let pressure = text::between(said, "condition: [", "]").map(text::name);
        let pressure = pressure.unwrap_or_else(|| "pressure".to_owned());
        return finding
            .summary(format!("pod rejected: node {node} has {pressure}"))
            .cause(CauseCode::NodePressure, text::quote(said.trim_start_matches("Pod was rejected: ")))
            .scope("node", node.clone())
            .next_step(format!("kubectl describe node {}", text::arg(&node)));
    }
    let what = if let Some(volume) = text::between(said, "EmptyDir volume \"", "\"") {
        format!("emptyDir {} grew beyond its sizeLimit{}", text::name(volume), limit_of(said))
    } else if let Some(container) =
        text::between(said, "Container ", " exceeded its local ephemeral storage limit")
    {
        format!(
            "container {} used more local storage than its limit{}",
            text::name(container),
            limit_of(said)
        )
    } else {
        let total = text::between(said, "total limit of containers ", ". ")
            .or_else(|| said.split_once("total limit of containers ").map(|(_, total)| total));
        let total = total.map(|t| format!(" of {}", text::name(t.trim_end_matches(['.', ' ']))));
        format!("it used more local ephemeral storage than its limit{}", total.unwrap_or_default())
    };
    finding
        .summary(format!("pod was evicted: {what}"))
        .cause(CauseCode::StorageLimitExceeded, text::quote(said))
        .next_step("raise the limit, or write less (logs, caches, temporary files) to the container's disk")
}

/// ` of 1Gi`, from a message that ends in `the limit "1Gi"`.
fn limit_of(said: &str) -> String {
    let limit = said.split_once("limit \"").and_then(|(_, rest)| rest.split('"').next());
    limit.map(|l| format!(" of {}", text::name(l))).unwrap_or_default()
}

/// The kubelet (or the node's admission) would not run the pod.
fn refused(pod: &Pod, word: &str, rejected: Option<&str>) -> Finding {
    let node = text::name(&pod.spec.node_name);
    let said = text::quote(rejected.unwrap_or(&pod.status.message));
    // Kubelets before 1.31 do not begin with those words, and have the same sentences.
    let old = ["Predicate ", "Pod Predicate ", "Node didn't have enough resource"];
    let rejected = rejected.or_else(|| {
        Some(pod.status.message.as_str()).filter(|m| old.iter().any(|words| m.starts_with(words)))
    });
    let reason = Reason::of(word)
        .filter(|r| r.family() == super::Family::End)
        .unwrap_or(if rejected.is_some() { Reason::AdmissionRejected } else { Reason::PodFailed });
    let finding = Finding::of_pod(pod, reason);
    if rejected.is_none() && reason == Reason::PodFailed {
        return finding
            .summary(format!("the pod has failed: {}", text::name(word)))
            .cause(CauseCode::Unexplained, said);
    }
    let message = rejected.unwrap_or(&pod.status.message);
    // The memory and CPU managers of the kubelet fail with the same words.
    let manager = ["[memorymanager]", "[cpumanager]", "not enough cpus available"]
        .iter()
        .any(|name| message.contains(name));
    let device = !manager && (message.contains("Allocate failed") || message.contains("devices unavailable"));
    let code = match word {
        _ if message.contains("no space left on device") => CauseCode::NodeDiskFull,
        _ if word.starts_with("OutOf") => CauseCode::NodeFull,
        "UnexpectedAdmissionError" if device => CauseCode::DeviceAllocationFailed,
        _ => CauseCode::NodeRefused,
    };
    let why = match code {
        CauseCode::NodeFull => shortage(message).unwrap_or_else(|| text::name(word)),
        _ if message.is_empty() => text::name(word),
        // The kubelet says in other words what the reason says.
        _ => {
            let why = message.rsplit_once(" failed: ").map_or(message, |(_, why)| why);
            let wanted = match word {
                "NodeAffinity" => ("nodeSelector", scheduling::node_selector(pod)),
                "NodePorts" => ("host port", scheduling::host_ports(pod)),
                _ => ("", Vec::new()),
            };
            let wanted = match wanted {
                (_, names) if names.is_empty() => String::new(),
                (what, names) => format!(" ({what} {})", text::list(&names)),
            };
            format!("{}{wanted}", text::quote(why.trim_end_matches(", which is unexpected")))
        }
    };
    let finding = finding
        .summary(format!("node {node} rejected the pod: {why}"))
        .cause(code, said)
        .scope("node", node.clone());
    let describe = format!("kubectl describe node {}", text::arg(&node));
    match word {
        _ if code == CauseCode::NodeDiskFull => {
            finding.next_step(describe).next_step("the kubelet cannot write to its own disk: free space on the node")
        }
        _ if code == CauseCode::NodeFull && message.contains("capacity: 0") => finding.next_step(describe).next_step(
            "the node no longer offers it, or does not offer it yet: after a restart its device plugin must register first",
        ),
        _ if code == CauseCode::NodeFull => finding
            .next_step(describe)
            .next_step("a pod with spec.nodeName set by hand bypasses the scheduler; let the scheduler choose, or lower its requests"),
        "NodeAffinity" | "TaintToleration" => finding
            .next_step(describe)
            .next_step("labels or taints of the node changed after the pod was assigned to it, or spec.nodeName was set by hand"),
        "SysctlForbidden" => finding
            .next_step("leave the sysctl out, or allow it on the nodes (kubelet: allowedUnsafeSysctls)"),
        "UnexpectedAdmissionError" if message.contains("not enough cpus available") => finding.next_step(describe).next_step(
            "the static CPU manager has too few whole CPUs left, and may still count those of pods that have just ended: request fewer, or wait for the next pod of the controller",
        ),
        "UnexpectedAdmissionError" if manager => finding.next_step(describe).next_step(
            "the scheduler does not count NUMA nodes: request what fits into one NUMA node that is free, or change the kubelet's memory manager, CPU manager or topology manager policy",
        ),
        "UnexpectedAdmissionError" if device => finding
            .next_step(describe)
            .next_step("the device plugin on the node was restarted or has lost a device; the controller creates a new pod, which the scheduler places again"),
        _ => finding.next_step(describe),
    }
}

/// `not enough cpu left (requested 4, used 7.5, capacity 8)`: the kubelet counts CPU in thousandths and the rest in bytes.
fn shortage(message: &str) -> Option<String> {
    let resource = text::between(message, "resource: ", ",")?;
    let figure = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: "))?;
        let number: i64 = rest.split(',').next()?.trim().parse().ok()?;
        Some(match resource {
            "cpu" => format!("{name} {}", number as f64 / 1000.0),
            "memory" | "ephemeral-storage" => format!("{name} {}Mi", number >> 20),
            _ => format!("{name} {number}"),
        })
    };
    let figures: Vec<String> = ["requested", "used", "capacity"].into_iter().filter_map(figure).collect();
    Some(format!("not enough {} left ({})", text::name(resource), figures.join(", ")))
}

/// A pod that should be gone by now. `deletionTimestamp` includes the grace period.
pub fn terminating(pod: &Pod, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    let due = pod.metadata.deletion_timestamp.get()?;
    let grace = Reason::StuckTerminating.grace();
    if look.within(due, grace) {
        return unwilling(pod, context, due);
    }
    let finalizers = &pod.metadata.finalizers;
    let mut alive: Vec<&str> =
        views(pod).filter(super::container::View::is_running).map(|v| v.name).collect();
    alive.sort_unstable();
    let node = text::name(&pod.spec.node_name);
    let newest = |reason: &str| context.newest_event(|e| e.reason == reason);
    let kill = newest("FailedKillPod").or_else(|| newest("ExceededGracePeriod"));
    // Where nodes were read and none has that name, nobody is left to report that the containers have stopped.
    let node_gone = context.sources.nodes && context.node.is_none() && !node.is_empty();
    let node_lost = context.node.is_some_and(|n| !n.is_ready());
    let finding = Finding::of_pod(pod, Reason::StuckTerminating);
    let mut finding = if node_lost {
        of_lost_node(finding, &node)
    } else if !finalizers.is_empty() && (alive.is_empty() || node_gone) {
        of_finalizers(finding, finalizers, node_gone.then_some(node.as_str()))
    } else if node_gone {
        finding
            .summary(format!("pod is stuck terminating: its node {node} no longer exists"))
            .cause(CauseCode::NodeLost, format!("node {node} is not in the cluster: no kubelet reports that the containers have stopped"))
            .scope("node", node.clone())
            .next_step("the pod garbage collector removes such pods after some time; if it does not, and the node is gone for good: kubectl delete pod --grace-period=0 --force")
    } else {
        still_there(finding, pod, context, &alive, kill)
    };
    if !finalizers.is_empty() {
        finding.add(Source::Status, format!("finalizers: {}", text::list(finalizers)), None);
    }
    if !alive.is_empty() {
        finding.add(Source::Status, format!("still running: {}", text::list(&alive)), None);
        if context.node.is_none() {
            finding.add(
                Source::Node,
                format!("node {node} was not read: if it is down, the status of the pod is out of date"),
                None,
            );
        }
    }
    finding.add(Source::Status, "its grace period is over", Some(due));
    for event in kill.into_iter().chain(newest("FailedPreStopHook")) {
        finding.add_event(event);
    }
    finding.since = Some(due);
    Some(finding)
}

fn of_lost_node(finding: Finding, node: &str) -> Finding {
    finding
        .summary(format!("pod is stuck terminating: node {node} is not ready"))
        .cause(
            CauseCode::NodeLost,
            format!("node {node} does not answer, so nothing confirms that the containers have stopped"),
        )
        .scope("node", node)
        .next_step(format!("kubectl describe node {}", text::arg(node)))
}

/// Held by finalizers, whose controllers have not removed them; `gone` is its node, where that no longer exists.
fn of_finalizers(finding: Finding, finalizers: &[String], gone: Option<&str>) -> Finding {
    let list = text::list(finalizers);
    let (word, has, its) = match finalizers.len() {
        1 => ("finalizer", "has", "controller"),
        _ => ("finalizers", "have", "controllers"),
    };
    let step = finding
        .kubectl(&format!("get pod {} -o jsonpath='{{.metadata.finalizers}}'", text::arg(&finding.pod)));
    let node = gone.map(|node| format!("; its node {node} no longer exists")).unwrap_or_default();
    finding
        .summary(format!("pod is stuck terminating: held by {word} {list}{node}"))
        .cause(CauseCode::Finalizer, format!("{word} {list} {has} not been removed by the {its}{node}"))
        .scope("finalizer", list)
        .next_step("find out why the controller that owns the finalizer has not removed it; remove it by hand only when its work is done")
        .next_step(step)
}

/// Held by its kubelet: by what that says itself, else by containers that run, else by what comes after their end.
fn still_there(
    finding: Finding,
    pod: &Pod,
    context: &Context<'_>,
    alive: &[&str],
    kill: Option<&Event>,
) -> Finding {
    let node = text::name(&pod.spec.node_name);
    let list = text::list(alive);
    let of_node = format!("on node {node}: read the logs of the kubelet and the container runtime");
    let error = kill.filter(|e| e.reason == "FailedKillPod").map(|e| {
        let said = text::uncombined(&e.message);
        Message::read(said.strip_prefix("error killing pod: ").unwrap_or(said))
    });
    if let Some(error) = error {
        let (code, what, step) = of_kill(&error, &list);
        let finding = finding.summary(format!("pod is stuck terminating: {what}: {}", error.cause()));
        let finding = finding.cause(code, error.detail());
        return step.into_iter().fold(finding, Finding::next_step).next_step(of_node);
    }
    // Once a container has run, its devices were prepared, and an earlier failure is over.
    let never_ran = || views(pod).all(|view| view.newest_end().is_none());
    if alive.is_empty()
        && never_ran()
        && let Some(event) = context.newest_event(devices::is_of_devices)
    {
        return devices::not_released(finding, event).next_step(of_node);
    }
    // Of a node that is down the pod would say the same.
    let told = if context.node.is_some() { Confidence::Confirmed } else { Confidence::Probable };
    let hooks = alive.iter().filter_map(|name| hook_of(pod, name)).collect::<Vec<_>>().join("; ");
    let (what, sure) = match alive.len() {
        0 => {
            let words = "its containers have terminated, but the kubelet has not finished: usually because a volume cannot be unmounted";
            (words.to_owned(), Confidence::Probable)
        }
        1 => (format!("container {list} still runs after its grace period"), told),
        _ => (format!("containers {list} still run after the grace period"), told),
    };
    let hooks = if hooks.is_empty() { hooks } else { format!("; {hooks}") };
    let finding = finding
        .summary(format!("pod is stuck terminating: {what}{hooks}"))
        .cause(CauseCode::ContainersNotStopped, format!("{what}{hooks}"))
        .confidence(sure);
    let finding = if hooks.is_empty() {
        finding
    } else {
        finding.next_step("make the preStop hook finish within terminationGracePeriodSeconds")
    };
    finding.next_step(of_node)
}

/// What the kubelet could not do, by its own error: the runtime did not stop a container, or the network or the sandbox was
/// not torn down. Only what it says is taken for the cause.
fn of_kill(error: &Message, alive: &str) -> (CauseCode, String, Option<&'static str>) {
    let whole = error.lower();
    if error.has(&["cni", "network for sandbox", "networkplugin", "teardown pod", "destroy network"]) {
        let step =
            "check the network plugin's pod on this node, and read its log: kubectl get pods -A -o wide";
        return (CauseCode::NetworkSetupFailed, "its network cannot be torn down".to_owned(), Some(step));
    }
    if error.has(&["unmount", "umount", "device is busy", "target is busy"])
        && !whole.contains("killcontainer")
    {
        return (CauseCode::VolumeMountFailed, "a volume cannot be unmounted".to_owned(), None);
    }
    let what = if alive.is_empty() {
        "the kubelet cannot stop it".to_owned()
    } else {
        format!("container {alive} cannot be stopped")
    };
    let step = "find the process on the node: one in uninterruptible sleep (state D) waits for a disk or network file system; otherwise restart the container runtime";
    (CauseCode::ContainersNotStopped, what, Some(step))
}

/// The preStop hook of a container, in words.
fn hook_of(pod: &Pod, container: &str) -> Option<String> {
    let spec = pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|c| c.name == container)?;
    let hook = spec.lifecycle.as_ref()?.pre_stop.as_ref()?;
    let program = hook.exec.as_ref().map(|e| text::name(&e.program)).filter(|p| !p.is_empty());
    let command = program.map(|p| format!(" ({p})"));
    Some(format!("it has a preStop hook{}, which may still be running", command.unwrap_or_default()))
}

/// A pod on its way out, in time, that did not go as it was asked to: its preStop hook failed, or it did not heed SIGTERM.
fn unwilling(pod: &Pod, context: &Context<'_>, due: Timestamp) -> Option<Finding> {
    // An event of an earlier life of the container (a probe had it killed) is none of this end.
    let grace =
        SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(30).clamp(0, 1 << 32));
    let asked = due.checked_sub(grace).unwrap_or(due);
    let event = context.newest_event(|e| {
        matches!(e.reason.as_str(), "FailedPreStopHook" | "ExceededGracePeriod")
            && e.last_seen().is_none_or(|at| at >= asked)
    })?;
    let hook = event.reason == "FailedPreStopHook";
    let finding = Finding::of_pod(pod, Reason::FailedPreStopHook);
    let describe = finding.kubectl_pod("describe pod");
    let mut finding = if hook {
        finding
            .summary("the pod is being deleted, and one of its preStop hooks failed")
            .cause(CauseCode::HookFailed, "its preStop hook failed; the kubelet's event omits the output")
            .next_step(describe)
            .next_step("run the hook's command by hand in the image: its work may be unfinished")
    } else {
        finding
            .summary("the pod is being deleted, and its containers did not stop within the grace period")
            .cause(
                CauseCode::ContainersNotStopped,
                "its containers did not stop within the grace period and were killed",
            )
            .next_step("make the main process (PID 1) handle SIGTERM, or raise terminationGracePeriodSeconds")
    };
    finding.add_event(event);
    finding.since = Some(asked);
    Some(finding)
}

/// A resize that waits, cannot be done, or failed.
pub fn resize(pod: &Pod, look: &mut Look) -> Option<Finding> {
    let pending = pod.status.condition(&ConditionType::PodResizePending).filter(|c| c.is_true());
    let progress = pod
        .status
        .condition(&ConditionType::PodResizeInProgress)
        .filter(|c| c.is_true() && &*c.reason == "Error");
    let (reason, condition, words) = match (pending, progress) {
        (_, Some(condition)) => (Reason::ResizeError, condition, "the resize of the pod fails"),
        (Some(condition), _) if &*condition.reason == "Infeasible" => {
            (Reason::ResizeInfeasible, condition, "the pod cannot be resized on its node")
        }
        (Some(condition), _) => {
            (Reason::ResizeDeferred, condition, "the resize of the pod waits for free resources on its node")
        }
        (None, None) => return None,
    };
    let said = text::quote(&condition.message);
    let since = condition.last_transition_time.get();
    let finding = Finding::of_pod(pod, reason);
    let step = finding.kubectl(&format!("get pod {} -o yaml", text::arg(&finding.pod)));
    Some(
        finding
            .summary(if said.is_empty() { words.to_owned() } else { format!("{words}: {said}") })
            .cause(CauseCode::ResizeRefused, said.clone())
            .with(Source::Status, format!("{}: {said}", text::name(&condition.reason)), since)
            .next_step(step)
            .grace(since, None, look),
    )
}

/// A pod that failed with no word of anybody: its containers say why, or nothing does.
pub fn failed_silently(pod: &Pod) -> Option<Finding> {
    let status = &pod.status;
    let disrupted = status.condition(&ConditionType::DisruptionTarget).is_some_and(|c| c.is_true());
    if status.phase != "Failed" || !status.reason.is_empty() || disrupted {
        return None;
    }
    let mut finding = Finding::of_pod(pod, Reason::PodFailed)
        .summary("the pod has failed, and no container status shows why")
        .cause(
            CauseCode::Unexplained,
            "neither the pod status nor a container status gives a reason".to_owned(),
        );
    if !status.message.is_empty() {
        finding.cause.text = text::quote(&status.message);
    }
    finding.since = ended_at(pod);
    if pod.metadata.controller().is_some_and(|o| o.kind == "Job") {
        finding.severity = Severity::Info;
    }
    Some(finding)
}
