//! What "ready" means for each kind, by its status: the same as for `kubectl rollout status` and `kubectl wait`.

use jiff::{SignedDuration, Timestamp};

use crate::objects::{Annotation, Condition, ConditionType, ContainerStatus, Job, Pod, Workload};
use crate::select::Kind;

/// Whether something is ready, and in words how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) ready: bool,
    pub(super) text: String,
    /// The controller has not seen the newest spec: what its status says is about an older one.
    pub(super) stale: bool,
    /// It no longer runs.
    pub(super) over: bool,
}

fn waiting(text: impl Into<String>) -> Progress {
    Progress { ready: false, text: text.into(), stale: false, over: false }
}

fn ready(text: impl Into<String>) -> Progress {
    Progress { ready: true, text: text.into(), stale: false, over: false }
}

/// A Deployment, ReplicaSet, StatefulSet, DaemonSet or Rollout.
pub(super) fn workload(kind: Kind, workload: &Workload) -> Progress {
    let status = &workload.status;
    if status.observed_generation < workload.metadata.generation {
        return Progress { stale: true, ..waiting("its controller has not observed the latest change yet") };
    }
    let wanted = workload.wanted();
    match kind {
        Kind::Deployment => {
            let (updated, available) = (status.updated_replicas, status.available_replicas);
            if updated < wanted {
                waiting(format!("{updated} of {wanted} pods updated"))
            } else if status.replicas > updated {
                waiting(format!("{} old pods are pending termination", status.replicas - updated))
            } else {
                available_of(available, updated)
            }
        }
        Kind::DaemonSet => {
            let (updated, wanted) = (status.updated_number_scheduled, status.desired_number_scheduled);
            if updated < wanted && workload.spec.update_strategy.kind != "OnDelete" {
                waiting(format!("{updated} of {wanted} pods updated"))
            } else {
                available_of(status.number_available, wanted)
            }
        }
        Kind::StatefulSet => stateful_set(workload, wanted),
        Kind::Rollout if status.phase == "Healthy" => available_of(status.available_replicas, wanted),
        Kind::Rollout => {
            let why = if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
            let phase = if status.phase.is_empty() { "Progressing" } else { &status.phase };
            waiting(format!("phase {phase}{why}"))
        }
        _ => available_of(status.available_replicas, wanted),
    }
}

fn available_of(available: i32, wanted: i32) -> Progress {
    let text = format!("{available} of {wanted} pods available");
    if available < wanted { waiting(text) } else { ready(text) }
}

fn stateful_set(set: &Workload, wanted: i32) -> Progress {
    let (status, strategy) = (&set.status, &set.spec.update_strategy);
    let text = format!("{} of {wanted} pods ready", status.ready_replicas);
    if status.ready_replicas < wanted {
        return waiting(text);
    }
    // The pods below the partition keep the old revision.
    let to_update = wanted - strategy.rolling_update.partition;
    let is_update = status.update_revision != status.current_revision && strategy.kind != "OnDelete";
    if is_update && status.updated_replicas < to_update {
        return waiting(format!("{} of {to_update} pods updated", status.updated_replicas));
    }
    if is_update && strategy.rolling_update.partition == 0 {
        return waiting("the newest revision is not rolled out yet");
    }
    ready(text)
}

/// A Job; it has failed for good only where a finding says so.
pub(super) fn job(job: &Job) -> Progress {
    let is = |kind: &str| job.status.conditions.iter().any(|c| c.kind == kind && c.status == "True");
    if is("Complete") || is("SuccessCriteriaMet") {
        ready("complete")
    } else if job.spec.suspend {
        waiting("it is suspended")
    } else {
        waiting(format!("{} active, {} failed", count(job.status.active), job.status.failed))
    }
}

fn count(pods: i32) -> String {
    format!("{pods} pod{}", if pods == 1 { "" } else { "s" })
}

/// How long a container without a readiness probe must run before its pod counts: it is "ready" as soon as it starts. After a
/// crash it must also run for longer than it did before.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);
/// The longest that is asked for.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// Whether a pod is ready and stays so, as far as that can be told.
pub(super) fn is_settled(pod: &Pod, now: Timestamp) -> bool {
    pod.status.phase == "Succeeded"
        || is_ready(pod) && pod.status.container_statuses.iter().all(|c| has_run(pod, c, now))
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    pod.status.condition(&ConditionType::Ready).is_some_and(Condition::is_true)
}

fn has_run(pod: &Pod, status: &ContainerStatus, now: Timestamp) -> bool {
    let spec = pod.spec.containers.iter().find(|c| c.name == status.name);
    if spec.is_some_and(|c| c.readiness_probe.is_some()) {
        return true;
    }
    let Some(since) = status.state.running.and_then(|run| run.started_at.get()) else {
        return status.state.terminated.is_some();
    };
    let before = status
        .last_state
        .terminated
        .as_ref()
        .and_then(|end| Some(end.finished_at.get()?.duration_since(end.started_at.get()?)));
    let needed = SETTLED.saturating_add(before.unwrap_or_default()).min(LONGEST);
    now.duration_since(since) >= needed
}

/// A pod of its own, or one that is asked for by its name.
pub(super) fn pod(pod: &Pod, now: Timestamp) -> Progress {
    let status = &pod.status;
    let job = pod.metadata.controller().filter(|owner| owner.kind == "Job");
    let has_ended = matches!(status.phase.as_str(), "Succeeded" | "Failed");
    // How a pod of a Job has ended stays true; that of another one came of the deletion.
    if pod.metadata.deletion_timestamp.is_known() && !(job.is_some() && has_ended) {
        let finalizers = match pod.metadata.finalizers.as_slice() {
            [] => String::new(),
            list => format!("; finalizers: {}", list.join(", ")),
        };
        return waiting(format!("it is being deleted{finalizers}"));
    }
    match status.phase.as_str() {
        "Succeeded" => return Progress { over: true, ..ready("succeeded") },
        "Failed" => {
            let why = [&status.message, &status.reason].into_iter().find(|text| !text.is_empty());
            let text = why.map_or("phase Failed", String::as_str);
            return Progress { over: true, ..waiting(text) };
        }
        _ => {}
    }
    match job {
        Some(job) if is_at_work(pod, now) => ready(format!("running as part of Job {}", job.name)),
        _ if is_settled(pod, now) => ready("ready"),
        _ if is_ready(pod) => waiting("ready, but it has only just started"),
        _ => waiting("not ready"),
    }
}

/// Whether each container of a Job's pod runs, or has done its work: then the pod is no longer "Ready".
fn is_at_work(pod: &Pod, now: Timestamp) -> bool {
    pod.status.phase == "Running"
        && pod.status.container_statuses.iter().all(|container| match &container.state.terminated {
            Some(end) => end.exit_code == 0,
            None => container.ready && has_run(pod, container, now),
        })
}

/// By the pods of the newest revision alone, where their controller cannot be read.
pub(super) fn pods(pods: &[&Pod], old: usize, now: Timestamp) -> Progress {
    let settled = pods.iter().filter(|pod| is_settled(pod, now)).count();
    let text = format!("{settled} of {} pods ready", pods.len());
    if settled < pods.len() || pods.is_empty() {
        waiting(text)
    } else if old > 0 {
        waiting(format!("{text}, {old} of an older revision still there"))
    } else {
        ready(text)
    }
}

/// What the pods of the newest revision of a workload are labelled with; none if that is not known.
pub(super) fn newest_revision(kind: Kind, workload: &Workload) -> Option<(&'static str, &str)> {
    let revision = match kind {
        Kind::StatefulSet => ("controller-revision-hash", workload.status.update_revision.as_str()),
        Kind::DaemonSet => {
            ("pod-template-generation", workload.metadata.annotation(Annotation::DAEMON_SET_GENERATION)?)
        }
        Kind::Rollout => ("rollouts-pod-template-hash", workload.status.current_pod_hash.as_str()),
        _ => return None,
    };
    Some(revision).filter(|(_, value)| !value.is_empty())
}

/// Whether a Job has failed for good.
pub(super) fn has_failed(job: &Job) -> bool {
    job.status
        .conditions
        .iter()
        .any(|c| c.status == "True" && matches!(c.kind.as_str(), "Failed" | "FailureTarget"))
}
