//! The slow flapper: a container that terminates over and over after running for so long that the kubelet's back-off forgets it.
//!
//! No look at the pod alone shows it: it needs the times of the last terminations. This is the one thing that a restart of this
//! program forgets, for up to an hour; what `restartCount` and the pod's age prove, the analyzer says at once.
//!
//! Pure: must not know how terminations are counted, nor read a clock.

use jiff::{SignedDuration, Timestamp};

use super::accounting::Termination;
use crate::diagnosis::container::View;
use crate::diagnosis::{CauseCode, ContainerType, Finding, Reason, Source, WorkloadRef};
use crate::objects::Pod;

/// How far back terminations count.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// So many terminations within the window are too many.
pub const TERMINATIONS: usize = 3;
/// Shorter runs are a crash loop, which the analyzer sees by itself. The kubelet forgets its back-off after as long.
const LONG_RUN: SignedDuration = SignedDuration::from_secs(600);

/// A termination after a long run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongRun {
    container: Box<str>,
    terminated: Timestamp,
}

impl LongRun {
    /// If this termination is one.
    pub fn of(termination: &Termination<'_>) -> Option<Self> {
        let restarts = matches!(termination.container_type, ContainerType::App | ContainerType::Sidecar);
        let long = termination.uptime.is_some_and(|u| u > LONG_RUN);
        (restarts && long)
            .then_some(Self { container: termination.container.into(), terminated: termination.at? })
    }
}

/// Forgets what is out of the window.
pub fn forget(runs: &mut Vec<LongRun>, now: Timestamp) {
    runs.retain(|r| now.duration_since(r.terminated) < WINDOW);
}

/// When the oldest of the runs leaves the window.
pub fn recheck(runs: &[LongRun]) -> Option<Timestamp> {
    runs.iter().filter_map(|r| r.terminated.checked_add(WINDOW).ok()).min()
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
    let mut terminations: Vec<Timestamp> =
        runs.iter().filter(|r| *r.container == *status.name).map(|r| r.terminated).collect();
    terminations.sort_unstable();
    let third = terminations.len().checked_sub(TERMINATIONS).and_then(|at| terminations.get(at))?;
    let (count, until) = (terminations.len(), third.checked_add(WINDOW).ok()?);
    let newest = view.newest_end()?;
    let terminated = newest.finished_at.get()?;
    let name = &status.name;
    let since = terminations.first().copied().unwrap_or(terminated);
    let summary = format!(
        "{} {name} has terminated {count} times within an hour, each time after running for more than 10 minutes",
        view.noun()
    );
    let what = format!(
        "last termination: {} with exit code {}",
        crate::redact::redact(&newest.reason),
        newest.exit_code
    );
    let code = match (newest.reason.as_str(), newest.exit_code) {
        ("OOMKilled", _) => CauseCode::MemoryLimitReached,
        (_, 0) => CauseCode::CommandCompleted,
        _ => CauseCode::ApplicationError,
    };
    let why = "each run is too long for the kubelet to back off: look for a slow leak, a periodic task, or a dependency that fails from time to time";
    let meta = &pod.metadata;
    let log = format!("kubectl logs {} -n {} -c {name} --previous", meta.name, meta.namespace);
    let finding = Finding::of_container(&view, Reason::FrequentRestarts)
        .summary(summary)
        .cause(code, why)
        .with(Source::Status, what, Some(terminated))
        .next_step(log);
    let finding = Finding { workload: Some(workload.clone()), since: Some(since), ..finding };
    Some((finding, until))
}
