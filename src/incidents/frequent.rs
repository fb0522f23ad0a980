//! The slow flapper: a container that ends again and again after running for so long that the kubelet's back-off forgets it.
//!
//! No look at the pod alone shows it: it needs the times of the last ends. This is the one thing that a restart of this
//! program forgets, for up to an hour; what `restartCount` and the pod's age prove, the analyzer says at once.
//!
//! Pure: must not know how ends are booked, nor read a clock.

use jiff::{SignedDuration, Timestamp};

use super::accounting::End;
use crate::diagnosis::container::View;
use crate::diagnosis::finding::Evidence;
use crate::diagnosis::{
    Cause, CauseCode, Confidence, ContainerType, Finding, Reason, Source, Stage, WorkloadRef,
};
use crate::objects::Pod;

/// How far back ends count.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// So many ends within the window are too many.
pub const ENDS: usize = 3;
/// Shorter runs are a crash loop, which the analyzer sees by itself. The kubelet forgets its back-off after as long.
const LONG_RUN: SignedDuration = SignedDuration::from_secs(600);

/// An end after a long run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongRun {
    container: Box<str>,
    ended: Timestamp,
}

impl LongRun {
    /// If this end is one.
    pub fn of(end: &End<'_>) -> Option<Self> {
        let restarts = matches!(end.container_type, ContainerType::App | ContainerType::Sidecar);
        let long = end.uptime.is_some_and(|u| u > LONG_RUN);
        (restarts && long).then_some(Self { container: end.container.into(), ended: end.at? })
    }
}

/// Forgets what is out of the window.
pub fn forget(runs: &mut Vec<LongRun>, now: Timestamp) {
    runs.retain(|r| now.duration_since(r.ended) < WINDOW);
}

/// When the oldest of the runs leaves the window.
pub fn recheck(runs: &[LongRun]) -> Option<Timestamp> {
    runs.iter().filter_map(|r| r.ended.checked_add(WINDOW).ok()).min()
}

/// The finding about a container that flaps, and when to look again.
pub fn find(
    pod: &Pod,
    view: View<'_>,
    runs: &[LongRun],
    workload: &WorkloadRef,
) -> Option<(Finding, Timestamp)> {
    if pod.metadata.deletion_timestamp.is_known()
        || matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
    {
        return None;
    }
    let status = view.status;
    let mut ends: Vec<Timestamp> =
        runs.iter().filter(|r| *r.container == *status.name).map(|r| r.ended).collect();
    ends.sort_unstable();
    let third = ends.len().checked_sub(ENDS).and_then(|at| ends.get(at))?;
    let (count, until) = (ends.len(), third.checked_add(WINDOW).ok()?);
    let newest = view.newest_end()?;
    let ended = newest.finished_at.get()?;
    let restarts = status.restart_count;
    let name = &status.name;
    let since = ends.first().copied().unwrap_or(ended);
    let summary = format!(
        "{} {name} has ended {count} times within an hour, each time after running for more than 10 minutes",
        view.noun()
    );
    let what =
        format!("last end: {} with exit code {}", crate::redact::clean(&newest.reason), newest.exit_code);
    let finding = Finding {
        reason: Reason::FrequentRestarts.into(),
        severity: Reason::FrequentRestarts.severity(),
        confidence: Confidence::Confirmed,
        stage: Stage::Active,
        namespace: pod.metadata.namespace.clone(),
        pod: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        container: name.clone(),
        container_type: Some(view.kind),
        workload: Some(workload.clone()),
        node: pod.spec.node_name.clone(),
        since: Some(since),
        summary,
        cause: Cause {
            code: match (newest.reason.as_str(), newest.exit_code) {
                ("OOMKilled", _) => CauseCode::MemoryLimitReached,
                (_, 0) => CauseCode::CommandCompleted,
                _ => CauseCode::ApplicationError,
            },
            text: "it ends too seldom for the kubelet's back-off and too often to be left alone: a slow leak, a periodic job or a dependency that comes and goes".to_owned(),
        },
        restart_count: Some(restarts),
        exit_code: Some(newest.exit_code),
        image: String::new(),
        scope: None,
        evidence: vec![Evidence { source: Source::Status, text: what, at: Some(ended) }],
        next_steps: vec![format!(
            "kubectl logs {} -n {} -c {name} --previous",
            pod.metadata.name, pod.metadata.namespace
        )],
        runbook_url: None,
        labels: Vec::new(),
    };
    Some((finding, until))
}
