//! One container as a whole: spec and status joined by name, its ends, and whether it would be restarted.
//!
//! `containerStatuses` is sorted by name and the spec is not; a status can exist without a spec entry and the other way
//! round.

use jiff::{SignedDuration, Timestamp};

use super::finding::ContainerType;
use crate::objects::{Condition, ConditionType, Container, ContainerStatus, Pod, Terminated, Waiting};

/// The kubelet's own rule: a container that has run for so long has recovered, and its back-off starts anew.
pub const STABLE: SignedDuration = SignedDuration::from_secs(600);

/// A container of a pod.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its pod.
    pub pod: &'a Pod,
    /// Its name.
    pub name: &'a str,
    /// Which kind it is.
    pub kind: ContainerType,
    /// None for an ephemeral container, or one that the spec does not have (yet).
    pub spec: Option<&'a Container>,
    /// What the kubelet says of it.
    pub status: &'a ContainerStatus,
    /// The image as the spec has it, else as the status has it.
    pub image: &'a str,
    /// Position among the init containers.
    pub init_index: usize,
}

/// All containers of a pod that have a status: init containers and sidecars in order, then app, then ephemeral ones.
pub fn views(pod: &Pod) -> impl Iterator<Item = View<'_>> {
    let spec = &pod.spec;
    let status = &pod.status;
    let init = status.init_container_statuses.iter().enumerate().map(move |(init_index, status)| {
        let found = spec.init_containers.iter().find(|c| c.name == status.name);
        let sidecar = found.is_some_and(|c| c.restart_policy.as_deref() == Some("Always"));
        let kind = if sidecar { ContainerType::Sidecar } else { ContainerType::Init };
        View::new(pod, kind, found, status, init_index)
    });
    let app = status.container_statuses.iter().map(move |status| {
        let found = spec.containers.iter().find(|c| c.name == status.name);
        View::new(pod, ContainerType::App, found, status, 0)
    });
    let ephemeral = status
        .ephemeral_container_statuses
        .iter()
        .map(move |status| View::new(pod, ContainerType::Ephemeral, None, status, 0));
    init.chain(app).chain(ephemeral)
}

/// What a container does after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnd {
    /// It is started again.
    Restart,
    /// It is started again because a rule of its own says that this exit is to be answered so.
    RestartByRule,
    /// The same, and all other containers of the pod with it.
    RestartAllByRule,
    /// That was all.
    Stays,
}

impl<'a> View<'a> {
    fn new(
        pod: &'a Pod,
        kind: ContainerType,
        spec: Option<&'a Container>,
        status: &'a ContainerStatus,
        init_index: usize,
    ) -> Self {
        let ephemeral = || {
            let list = &pod.spec.ephemeral_containers;
            list.iter().find(|c| c.common.name == status.name).map(|c| c.common.image.as_str())
        };
        let image = spec.map(|c| c.image.as_str()).or_else(ephemeral).filter(|i| !i.is_empty());
        Self {
            pod,
            name: &status.name,
            kind,
            spec,
            status,
            image: image.unwrap_or(&status.image),
            init_index,
        }
    }

    /// What to call it: `container`, `init container`, `sidecar`, `debug container`.
    pub fn noun(&self) -> &'static str {
        match self.kind {
            ContainerType::App => "container",
            ContainerType::Init => "init container",
            ContainerType::Sidecar => "sidecar",
            ContainerType::Ephemeral => "debug container",
        }
    }

    /// It waits.
    pub fn waiting(&self) -> Option<&'a Waiting> {
        self.status.state.waiting.as_deref()
    }

    /// When the present run began.
    pub fn running_since(&self) -> Option<Timestamp> {
        self.status.state.running.and_then(|r| r.started_at.get())
    }

    /// Whether it runs now.
    pub fn is_running(&self) -> bool {
        self.status.state.running.is_some()
    }

    /// The end it is in now.
    pub fn ended(&self) -> Option<&'a Terminated> {
        self.status.state.terminated.as_deref()
    }

    /// The newest end, of now or before.
    pub fn newest_end(&self) -> Option<&'a Terminated> {
        self.ended().or(self.status.last_state.terminated.as_deref())
    }

    /// The end before the newest, if both are known.
    pub fn end_before(&self) -> Option<&'a Terminated> {
        self.ended().and(self.status.last_state.terminated.as_deref())
    }

    /// How many ends there have been, at least: every restart had one before it, and so has a container that does not run.
    pub fn ends(&self) -> i64 {
        let now = !self.is_running() && self.newest_end().is_some();
        i64::from(self.status.restart_count.max(0)) + i64::from(now)
    }

    /// Whether the kubelet takes this end for a failure: to it an init container that was out of memory has failed even if
    /// it ended with 0.
    pub fn has_failed(&self, end: &Terminated) -> bool {
        end.exit_code != 0 || (self.kind == ContainerType::Init && end.reason == "OOMKilled")
    }

    /// What the kubelet does after an end: a rule of the container, else its policy, else the pod's, as
    /// `ContainerShouldRestart` has it.
    pub fn after_end(&self, end: &Terminated) -> AfterEnd {
        let exit_code = end.exit_code;
        if self.kind == ContainerType::Ephemeral {
            return AfterEnd::Stays;
        }
        if self.kind == ContainerType::Sidecar {
            return AfterEnd::Restart;
        }
        let rules = self.spec.map(|c| c.restart_policy_rules.as_slice()).unwrap_or_default();
        let matches = |rule: &&crate::objects::pod::RestartRule| {
            rule.exit_codes.as_ref().is_some_and(|codes| match codes.operator.as_str() {
                "In" => codes.values.contains(&exit_code),
                "NotIn" => !codes.values.contains(&exit_code),
                _ => false,
            })
        };
        match rules.iter().find(matches).map(|r| r.action.as_str()) {
            Some("Restart") => return AfterEnd::RestartByRule,
            Some("RestartAllContainers") => return AfterEnd::RestartAllByRule,
            _ => {}
        }
        let own = self.spec.and_then(|c| c.restart_policy.as_deref());
        let restarts = match own.unwrap_or(&self.pod.spec.restart_policy) {
            "Never" => false,
            "OnFailure" => self.has_failed(end),
            // A regular init container is done once it has succeeded.
            _ => self.kind != ContainerType::Init || self.has_failed(end),
        };
        if restarts { AfterEnd::Restart } else { AfterEnd::Stays }
    }

    /// When the container could first have started: its sandbox was there and the init containers before it were done.
    /// From the API's own times, and the same for as long as the pod lives.
    pub fn could_start_since(&self) -> Option<Timestamp> {
        if self.kind == ContainerType::Init || self.kind == ContainerType::Sidecar {
            let before = self.pod.status.init_container_statuses.iter().take(self.init_index);
            let done = before.filter_map(|s| s.state.terminated.as_ref()?.finished_at.get()).max();
            return done.or_else(|| bound_since(self.pod));
        }
        if self.kind == ContainerType::App
            && !self.pod.spec.init_containers.is_empty()
            && let Some(initialized) = self.pod.status.condition(&ConditionType::Initialized)
            && initialized.is_true()
        {
            return initialized.last_transition_time.get().or_else(|| bound_since(self.pod));
        }
        bound_since(self.pod)
    }
}

/// When the pod got its node.
pub fn bound_since(pod: &Pod) -> Option<Timestamp> {
    let scheduled = pod.status.condition(&ConditionType::PodScheduled).filter(|c| c.is_true());
    scheduled
        .and_then(|c: &Condition| c.last_transition_time.get())
        .or_else(|| pod.status.start_time.get())
        .or_else(|| pod.metadata.creation_timestamp.get())
}

/// Whether nothing of the pod is to run any more: every app container has ended and stays so. Sidecars are stopped then.
pub fn work_is_done(pod: &Pod) -> bool {
    let mut apps = views(pod).filter(|v| v.kind == ContainerType::App).peekable();
    apps.peek().is_some() && apps.all(|v| v.ended().is_some_and(|e| v.after_end(e) == AfterEnd::Stays))
}

/// How long a run lasted, if both of its times are known.
pub fn uptime(end: &Terminated) -> Option<SignedDuration> {
    let (from, to) = (end.started_at.get()?, end.finished_at.get()?);
    Some(to.duration_since(from).max(SignedDuration::ZERO))
}

/// Whether this end counts as an out-of-memory kill of the container: with exit code 0 or 143 only a child was killed
/// some time before, and the container ended for another reason.
pub fn is_oom(end: &Terminated) -> bool {
    end.reason == "OOMKilled" && !matches!(end.exit_code, 0 | 143)
}
