//! The analyzer. Pure: (objects, events, logs, now) -> findings.
//!
//! Built on what the kubelet really writes, see `docs/how-it-decides.md`. One file per family of failures; `reason` and
//! `cause` hold the vocabulary. Must not know where objects come from, nor read a clock.

mod autoscaler;
pub mod cause;
pub mod changes;
pub mod container;
pub mod context;
pub mod crash;
mod devices;
mod draft;
pub mod ending;
pub mod exit;
pub mod finding;
pub mod image;
pub mod logs;
pub mod message;
pub mod messages;
pub mod nodes;
pub mod owners;
pub mod ownership;
pub mod prepare;
pub mod probe;
pub mod problems;
pub mod ready;
pub mod reason;
mod refused;
pub mod runtime;
pub mod scheduling;
pub mod start;
pub mod starts;
pub mod steps;
pub mod survey;
pub mod text;
pub mod victims;
mod volume;
pub mod world;

pub use cause::CauseCode;
pub use changes::Change;
pub use context::{ContainerLog, Context, Sources};
pub use finding::{
    Cause, Confidence, ContainerType, Evidence, Finding, Key, ReasonName, Scope, Source, Stage, WorkloadRef,
};
pub use ownership::{Mute, OwnerLabels, Ownership};
pub use problems::{Problem, Reach};
pub use reason::{Family, Heals, Reason, Severity, Subject};
pub use starts::{Start, revision_of, slowest_starts};
pub use survey::{Snapshot, Summary, Survey, Undecodable, survey, survey_with};
pub use world::{Judge, World};

use jiff::Timestamp;

use crate::objects::{ConditionType, Pod};
pub use draft::{Look, cron_job_of, workload_of};

/// What a look at one pod shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDiagnosis {
    /// At most one per container, and at most one about the pod itself per family; leading ones first.
    pub findings: Vec<Finding>,
    /// When time alone will change the verdict (a grace ends, a recovery is proven), if nothing else happens.
    /// A pod without findings and without this is at rest: it need not be looked at again before it changes.
    pub recheck: Option<Timestamp>,
    /// What the people behind the pod say about it.
    pub ownership: Ownership,
}

/// Without a sandbox no container can be tried: what one waits for, by its own word, is what an earlier try left over.
/// Where an event tells what holds the pod up now, that leads.
fn stale_reasons(pod: &Pod, context: &Context<'_>, findings: &mut Vec<Finding>, look: &mut Look) {
    let is_left_over = |f: &Finding| f.reason.known().is_some_and(|r| r.family() == Family::Start);
    if !findings.iter().any(is_left_over) {
        return;
    }
    let Some(mut present) = prepare::without_sandbox(pod, context, look) else { return };
    for old in findings.extract_if(.., |f| is_left_over(f)) {
        present.add(Source::Status, format!("before that: {}", old.summary), None);
    }
    findings.push(present);
}

/// Looks at one pod. One subject, one leading finding, the rest as its evidence.
pub fn diagnose(pod: &Pod, context: &Context<'_>, now: Timestamp) -> PodDiagnosis {
    let mut look = Look::at(now);
    // Whatever a pod does while it is being deleted is expected; only that it stays is not.
    if pod.metadata.deletion_timestamp.is_known() {
        let found = ending::terminating(pod, context, &mut look);
        return look.done(found.into_iter().collect());
    }
    if pod.status.phase == "Succeeded" {
        let found = container::views(pod).filter_map(|view| crash::completed(&view, context, &mut look));
        let found: Vec<Finding> = found.collect();
        return look.done(found);
    }
    if let Some(failed) = ending::failed(pod, &mut look).or_else(|| ending::blocked(pod, &mut look)) {
        return look.done(vec![failed]);
    }
    if pod.status.phase == "Failed"
        && pod.status.condition(&ConditionType::DisruptionTarget).is_some_and(|c| c.is_true())
    {
        return look.done(Vec::new());
    }
    let mut findings = Vec::new();
    for view in container::views(pod) {
        let found = start::diagnose(&view, context, &mut look)
            .or_else(|| crash::diagnose(&view, context, &mut look))
            .or_else(|| ready::diagnose(&view, context, &mut look));
        findings.extend(found);
        findings.extend(ready::device(&view, &mut look));
    }
    findings.extend(ready::kept_open(pod, &mut look));
    if findings.is_empty() {
        findings.extend(ending::failed_silently(pod));
        findings.extend(scheduling::diagnose(pod, context, &mut look));
        findings.extend(ready::gates(pod, context, &mut look));
    }
    let held_up = findings.iter().any(|f| f.container_type != Some(ContainerType::Ephemeral));
    if !held_up {
        findings.extend(prepare::diagnose(pod, context, &mut look));
    } else {
        stale_reasons(pod, context, &mut findings, &mut look);
    }
    findings.extend(ending::resize(pod, &mut look));
    nodes::explain(&mut findings, context.node);
    // A planned end is near: drain, preemption, taint. What its containers do from here on is expected.
    if pod.status.condition(&ConditionType::DisruptionTarget).is_some_and(|c| c.is_true()) {
        for finding in &mut findings {
            finding.severity = Severity::Info;
            finding.add(Source::Status, "the pod is about to be terminated: DisruptionTarget", None);
        }
    }
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (std::cmp::Reverse(f.severity), f.stage != Stage::Active);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.container, a.reason.as_str()).cmp(&(&b.container, b.reason.as_str())))
    });
    look.done(findings)
}
