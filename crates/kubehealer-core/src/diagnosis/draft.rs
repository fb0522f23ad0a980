//! How findings are put together.

use jiff::{SignedDuration, Timestamp};

use super::PodDiagnosis;
use super::cause::CauseCode;
use super::container::View;
use super::finding::{Cause, Confidence, Evidence, Finding, ReasonName, Scope, Source, Stage, WorkloadRef};
use super::ownership::Ownership;
use super::reason::{Reason, Severity};
use super::text;
use crate::objects::{Event, Pod, Time};

impl Finding {
    fn new(reason: Reason) -> Self {
        Self {
            reason: ReasonName::Known(reason),
            severity: reason.severity(),
            confidence: Confidence::Confirmed,
            stage: Stage::Active,
            namespace: String::new(),
            pod: String::new(),
            uid: String::new(),
            container: String::new(),
            container_type: None,
            workload: None,
            node: String::new(),
            since: None,
            summary: String::new(),
            cause: Cause { code: CauseCode::Unexplained, text: String::new() },
            restart_count: None,
            exit_code: None,
            image: String::new(),
            scope: None,
            evidence: Vec::new(),
            next_steps: Vec::new(),
            runbook_url: None,
            labels: Vec::new(),
            muted: None,
        }
    }

    /// About a pod.
    pub fn of_pod(pod: &Pod, reason: Reason) -> Self {
        Self {
            namespace: text::name(&pod.metadata.namespace),
            pod: text::name(&pod.metadata.name),
            uid: text::name(&pod.metadata.uid),
            node: text::name(&pod.spec.node_name),
            workload: Some(workload_of(pod)),
            ..Self::new(reason)
        }
    }

    /// About a container.
    pub fn of_container(view: &View<'_>, reason: Reason) -> Self {
        Self {
            container: text::name(view.name),
            container_type: Some(view.kind),
            restart_count: Some(view.status.restart_count),
            exit_code: view.newest_end().map(|e| e.exit_code),
            ..Self::of_pod(view.pod, reason)
        }
    }

    /// About an object that is no pod: a workload, or a node (which has no namespace).
    pub fn of_object(meta: &crate::objects::ObjectMeta, reason: Reason) -> Self {
        Self { namespace: text::name(&meta.namespace), uid: text::name(&meta.uid), ..Self::new(reason) }
    }

    /// Says why.
    pub fn cause(mut self, code: CauseCode, text: impl Into<String>) -> Self {
        self.cause = Cause { code, text: text.into() };
        self
    }

    /// Sets the one plain sentence.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Sets how sure the cause is.
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// Names what the cause is about.
    pub fn scope(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.scope = Some(Scope { kind, name: name.into() });
        self
    }

    /// Adds a fact.
    pub fn with(mut self, source: Source, text: impl Into<String>, at: Option<Timestamp>) -> Self {
        self.add(source, text, at);
        self
    }

    /// Adds a fact.
    pub fn add(&mut self, source: Source, text: impl Into<String>, at: Option<Timestamp>) {
        let text = text.into();
        if !text.is_empty() && self.evidence.iter().all(|e| e.text != text) {
            self.evidence.push(Evidence { source, text, at });
        }
    }

    /// Adds an event as a fact.
    pub fn add_event(&mut self, event: &Event) {
        let times = event.times();
        let repeated = if times > 1 { format!(" (x{times})") } else { String::new() };
        let text = format!("{}: {}{repeated}", text::name(&event.reason), text::quote(&event.message));
        self.add(Source::Event, text, event.last_seen());
    }

    /// Adds an event of the node as a fact.
    pub fn add_node_event(&mut self, event: &Event) {
        let text = format!("{}: {}", text::name(&event.reason), text::quote(&event.message));
        self.add(Source::Node, text, event.last_seen());
    }

    /// Adds something to do.
    pub fn next_step(mut self, step: impl Into<String>) -> Self {
        let step = step.into();
        if !self.next_steps.contains(&step) {
            self.next_steps.push(step);
        }
        self
    }

    /// Lets the finding wait for its reason's grace, or for `grace`: until then it is pending and only info.
    pub fn grace(mut self, since: Option<Timestamp>, grace: Option<SignedDuration>, look: &mut Look) -> Self {
        self.since = since;
        let grace = grace.unwrap_or_else(|| self.reason.known().map_or(SignedDuration::ZERO, Reason::grace));
        let Some(due) = since.and_then(|s| s.checked_add(grace).ok()) else { return self };
        if look.now < due {
            self.stage = Stage::Pending;
            self.severity = Severity::Info;
            look.recheck_at(due);
        }
        self
    }

    /// Marks it as past: it was so, and the subject has recovered.
    pub fn recovered(mut self) -> Self {
        self.stage = Stage::Recovered;
        self.severity = Severity::Info;
        self
    }

    /// Marks a pod's finding as past: its controller has all its pods, and they are ready.
    pub fn replaced(&mut self) {
        self.stage = Stage::Recovered;
        self.severity = Severity::Info;
        self.add(
            Source::Owner,
            "its controller has all its pods, and all are ready; this one is kept only for inspection",
            None,
        );
    }

    /// `kubectl -n NS` for the next steps. Names within `command` go through [`text::arg`].
    pub fn kubectl(&self, command: &str) -> String {
        format!("kubectl -n {} {command}", text::arg(&self.namespace))
    }

    /// `kubectl -n NS VERB POD` for the next steps.
    pub fn kubectl_pod(&self, verb: &str) -> String {
        self.kubectl(&format!("{verb} {}", text::arg(&self.pod)))
    }

    /// The command that shows the events of the pod.
    pub fn kubectl_events(&self) -> String {
        self.kubectl(&format!("get events --field-selector involvedObject.name={}", text::arg(&self.pod)))
    }
}

/// The state of one look: the time, and when it is worth looking again.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Now.
    pub now: Timestamp,
    recheck: Option<Timestamp>,
}

impl Look {
    /// A look at this time.
    pub fn at(now: Timestamp) -> Self {
        Self { now, recheck: None }
    }

    /// Time alone will change the verdict then.
    pub fn recheck_at(&mut self, at: Timestamp) {
        if at > self.now {
            self.recheck = Some(self.recheck.map_or(at, |r| r.min(at)));
        }
    }

    /// Whether less than `limit` has passed since `since`; if so, it is worth looking again when it has.
    pub fn within(&mut self, since: Timestamp, limit: SignedDuration) -> bool {
        match since.checked_add(limit) {
            Ok(end) if self.now < end => {
                self.recheck_at(end);
                true
            }
            _ => false,
        }
    }

    /// What the look has shown.
    pub fn done(self, findings: Vec<Finding>) -> PodDiagnosis {
        PodDiagnosis { findings, recheck: self.recheck, ownership: Ownership::default() }
    }
}

/// The top controller of a pod, as far as the pod alone tells: a Deployment from the ReplicaSet's name and the label
/// `pod-template-hash`, a CronJob from the minute that its Job's name ends in.
pub fn workload_of(pod: &Pod) -> WorkloadRef {
    let meta = &pod.metadata;
    let Some(owner) = meta.controller() else {
        return WorkloadRef { kind: "Pod".to_owned(), name: text::name(&meta.name) };
    };
    let (kind, name) = match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = meta.label("pod-template-hash").unwrap_or_default();
            match owner.name.strip_suffix(hash).and_then(|n| n.strip_suffix('-')) {
                Some(name) if !hash.is_empty() && !name.is_empty() => ("Deployment", name),
                _ => ("ReplicaSet", owner.name.as_str()),
            }
        }
        "Job" => match cron_job_of(&owner.name, meta.creation_timestamp) {
            Some(name) => ("CronJob", name),
            None => ("Job", owner.name.as_str()),
        },
        // A mirror pod belongs to its node, and is nobody's but its own.
        "Node" => ("Pod", meta.name.as_str()),
        kind => (kind, owner.name.as_str()),
    };
    WorkloadRef { kind: text::name(kind), name: text::name(name) }
}

/// The CronJob of a Job, if the Job's name ends in the minute for which it was scheduled, as the CronJob controller
/// names them (`<cronjob>-<minutes since 1970>`), and that minute is near the time of its pod.
pub fn cron_job_of(job: &str, created: Time) -> Option<&str> {
    const DAY: i64 = 24 * 60;
    let (name, minutes) = job.rsplit_once('-')?;
    let minutes: i64 = minutes.parse().ok().filter(|_| minutes.len() == 8)?;
    let created = created.get()?.as_second() / 60;
    ((created - 7 * DAY..=created + DAY).contains(&minutes) && !name.is_empty()).then_some(name)
}
