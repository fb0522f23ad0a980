//! One incident, open or resolved lately, with what has happened to it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::groups::Grouping;
use super::history::{Bucket, of_workload};
use super::{each_open, each_resolved};
use crate::diagnosis::{CauseCode, Change, Evidence, Finding, ReasonName, Severity, text};
use crate::incidents::store::WorkloadKey;
use crate::incidents::timeline::{CHANGES, Ended, Entry, Happened, Timeline};
use crate::incidents::{Ending, IncidentId};
use crate::runbooks;
use crate::server::Shown;

/// An incident, whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    pub id: IncidentId,
    pub noticed_at: Timestamp,
    /// How it ended, if it is over.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    #[serde(flatten)]
    pub finding: Finding,
    /// The group that it is in.
    pub group: String,
    /// The incident that keeps this rollout from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<IncidentId>,
    /// The runbook of its reason, as `kubehealer explain` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// What the revision changed that it came with.
    pub changes: Vec<Evidence>,
    /// Oldest first.
    pub timeline: Vec<Moment>,
    /// Terminations before those of the timeline.
    pub earlier_terminations: u32,
    /// The last hours of its workload.
    pub history: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Over {
    pub resolved_at: Timestamp,
    pub ending: Ending,
    /// How it ended.
    pub text: String,
}

kubehealer_core::words! {
    /// What happened to an incident.
    pub enum Event {
        /// The revision was made that it came with.
        RolledOut = "rolledOut",
        /// The failure began, as the API server tells.
        Began = "began",
        /// KubeHealer opened the incident.
        Opened = "opened",
        /// Its container has terminated.
        Terminated = "terminated",
        /// It has another reason, cause or severity.
        Changed = "changed",
        Muted = "muted",
        Unmuted = "unmuted",
        Resolved = "resolved",
    }
}

/// One thing that happened to an incident.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    pub at: Timestamp,
    pub event: Event,
    /// One sentence.
    pub text: String,
    /// Of a termination, or what it is since a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it is since a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseCode>,
    /// What it is since a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Of a termination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Of a termination: how long the container had run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran_seconds: Option<u32>,
    /// Terminations that nobody saw, if it stands for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// The incident of this id: the open one, else the one that was resolved last. Its timeline tells of the times before, too, as
/// far as they are remembered.
pub fn incident(shown: &Shown, id: IncidentId) -> Option<Detail> {
    let mut found = Vec::new();
    let grouping = Grouping::of(&shown.incidents, |_| ());
    let mut look = |seen: &super::Seen<'_>| {
        if seen.id == id {
            let over = seen.over.map(|over| Over {
                resolved_at: over.at,
                ending: over.ending,
                text: over.text.clone(),
            });
            found.push(Found {
                noticed: seen.noticed,
                finding: seen.finding(),
                timeline: seen.timeline.clone(),
                group: format!("{:016x}", grouping.id(seen)),
                caused_by: grouping.caused_by(seen),
                over,
            });
        }
    };
    each_open(&shown.incidents, &mut look);
    each_resolved(&shown.incidents, Timestamp::MIN, &mut look);
    let mut timeline: Vec<Moment> = found.iter().flat_map(Found::moments).collect();
    timeline.sort_by_key(|moment| moment.at);
    timeline.dedup();
    let earlier = found.iter().map(|found| found.timeline.earlier_terminations()).sum();
    let newest = found.into_iter().next()?.detail(shown, id);
    Some(Detail { timeline, earlier_terminations: earlier, ..newest })
}

struct Found {
    noticed: Timestamp,
    finding: Finding,
    timeline: Timeline,
    group: String,
    caused_by: Option<IncidentId>,
    over: Option<Over>,
}

impl Found {
    fn detail(self, shown: &Shown, id: IncidentId) -> Detail {
        let changes = self.changes().cloned().collect();
        let finding = self.finding;
        let key = finding.workload.as_ref().map(|workload| WorkloadKey::new(&finding.namespace, workload));
        let reason = finding.reason.as_str();
        Detail {
            id,
            noticed_at: self.noticed,
            group: self.group,
            caused_by: self.caused_by,
            runbook: runbooks::runbook(reason).map(|_| reason.to_owned()),
            timeline: Vec::new(),
            earlier_terminations: 0,
            history: key.map_or_else(Vec::new, |key| of_workload(shown, &key, (shown.clock)())),
            changes,
            over: self.over,
            finding,
        }
    }

    /// What its revision has changed.
    fn changes(&self) -> impl Iterator<Item = &Evidence> {
        self.finding.evidence.iter().filter(|evidence| Change::is(evidence))
    }

    fn moments(&self) -> Vec<Moment> {
        let (finding, timeline) = (&self.finding, &self.timeline);
        let revision = |change: &Evidence| Some(Moment::new(change.at?, Event::RolledOut, &change.text));
        let mut moments: Vec<Moment> = self.changes().filter_map(revision).collect();
        moments.extend(finding.since.map(|at| Moment::new(at, Event::Began, "the failure began")));
        let changes = timeline.entries().iter().filter_map(|entry| match &entry.what {
            Happened::Changed(is) => Some(is),
            _ => None,
        });
        let opened = match changes.clone().next() {
            None => format!("incident opened: {}", words(&(finding.reason.clone(), finding.cause.code))),
            // The first change that is kept may not have been the first one.
            Some(_) if changes.count() == CHANGES => "incident opened".to_owned(),
            Some(is) => format!("incident opened: {}", words(&is.was)),
        };
        moments.push(Moment::new(self.noticed, Event::Opened, &opened));
        moments.extend(timeline.entries().iter().map(|entry| Moment::of(entry, &finding.container)));
        moments.extend(self.over.iter().map(|over| {
            let text = format!("{}: {}", over.ending.as_str(), over.text);
            Moment::new(over.resolved_at, Event::Resolved, &text)
        }));
        moments
    }
}

fn words((reason, cause): &(ReasonName, CauseCode)) -> String {
    format!("{} ({})", reason.as_str(), cause.as_str())
}

impl Moment {
    fn new(at: Timestamp, event: Event, text: &str) -> Self {
        Self {
            at,
            event,
            text: text.to_owned(),
            reason: None,
            cause: None,
            severity: None,
            exit_code: None,
            ran_seconds: None,
            times: None,
        }
    }

    fn of(entry: &Entry, container: &str) -> Self {
        let at = entry.at();
        match &entry.what {
            Happened::Muted => Self::new(at, Event::Muted, "muted: no alerts until the mute expires"),
            Happened::Unmuted => Self::new(at, Event::Unmuted, "no longer muted"),
            Happened::Changed(is) => Self {
                reason: Some(is.reason.as_str().to_owned()),
                cause: Some(is.cause),
                severity: Some(is.severity),
                ..Self::new(at, Event::Changed, &format!("was {}, is now: {}", words(&is.was), is.text))
            },
            Happened::Terminated(ended) => Self {
                reason: Some(ended.reason.as_str().to_owned()),
                exit_code: ended.exit_code,
                ran_seconds: ended.ran,
                times: (ended.times > 1).then_some(ended.times),
                ..Self::new(at, Event::Terminated, &said_of(ended, container))
            },
        }
    }
}

/// Of a termination, in words.
fn said_of(ended: &Ended, container: &str) -> String {
    let Some(exit_code) = ended.exit_code else {
        let which = match ended.times {
            1 => "a termination".to_owned(),
            times => format!("{times} terminations"),
        };
        return format!("container {container}: {which} that no status showed");
    };
    let ran = ended.ran.map(|seconds| text::duration(SignedDuration::from_secs(seconds.into())));
    let ran = ran.map_or_else(String::new, |ran| format!(", {ran} after start"));
    format!("container {container} terminated: {}, exit code {exit_code}{ran}", ended.reason.as_str())
}
