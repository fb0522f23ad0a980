//! A finding over time: one incident from its first proof to its end, whatever it flickers through.
//!
//! Pure: must not know pods, stores or the time; it is given what is found and why a finding may be gone.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::compact::CompactFinding;
use super::timeline::{Happened, Is, Timeline};
use crate::diagnosis::finding::Key;
use crate::diagnosis::{CauseCode, Finding, Ownership, ReasonName, Severity, Stage};

/// Names an incident: a digest of its key, so the same before and after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(u64);

impl IncidentId {
    /// Of a finding's key.
    pub fn of(key: &Key) -> Self {
        let family = key.family.map_or("", |f| f.as_str());
        let rule = key.rule.as_deref().unwrap_or("");
        Self(digest(&[&key.uid, &key.container, family, rule]))
    }
}

/// Of these texts, the same in every process.
pub fn digest(texts: &[&str]) -> u64 {
    let bytes = texts.join("\0");
    bytes.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The id as it is shown.
impl std::str::FromStr for IncidentId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for IncidentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an incident is known by in logs: a change of it is worth a line.
type IncidentSummary = (ReasonName, CauseCode, Severity);

fn summary(compact: &CompactFinding) -> IncidentSummary {
    (compact.reason.clone(), compact.cause, compact.severity)
}

/// A finding of now, whole and as it is to be kept.
#[derive(Clone, Debug)]
pub struct NewFinding {
    /// Whole: for what is said of it now.
    pub finding: Arc<Finding>,
    /// For as long as it lasts.
    pub compact: Arc<CompactFinding>,
}

impl NewFinding {
    pub fn new(finding: Finding) -> Self {
        Self { compact: Arc::new(CompactFinding::new(&finding)), finding: Arc::new(finding) }
    }

    /// Takes in what the people behind it say, where it was found before they said so or beside the others.
    pub fn belongs_to(&mut self, ownership: &Ownership) {
        let is_known = self.finding.muted == ownership.mute
            && ownership.labels.iter().all(|(name, _)| self.finding.labels.iter().any(|(n, _)| n == name));
        if !is_known {
            let mut finding = (*self.finding).clone();
            finding.belongs_to(ownership);
            *self = Self::new(finding);
        }
    }
}

impl From<Arc<CompactFinding>> for NewFinding {
    fn from(compact: Arc<CompactFinding>) -> Self {
        Self { finding: Arc::new(compact.finding()), compact }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: IncidentId,
    /// What is found now.
    pub compact: Arc<CompactFinding>,
    /// When this process first saw it. What it is since is in the finding, from the API's own times.
    pub noticed: Timestamp,
    /// What has happened since.
    pub timeline: Timeline,
    /// The summary before this one: a flicker back to it is no news.
    before: Option<IncidentSummary>,
}

impl Incident {
    /// What is found now. Unpacks it, which takes a microsecond or two.
    pub fn finding(&self) -> Finding {
        self.compact.finding()
    }

    /// Whether it does not alert for now.
    pub fn is_muted(&self) -> bool {
        self.compact.muted.is_some()
    }
}

kubehealer_core::words! {
    /// How an incident ended.
    pub enum Ending {
        /// It works again, and that is proven.
        Recovered = "recovered",
        /// It ended as it should.
        Completed = "completed",
        /// A newer pod of its workload has taken its place.
        Replaced = "replaced",
        /// The pod (or other object) was deleted, and nothing newer has come.
        Deleted = "deleted",
        /// Another failure of the same object has ended it.
        Superseded = "superseded",
    }
}

/// What happened to an incident.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Opened,
    /// It was there when this process first looked: no news, but good to know.
    Found,
    /// It has another reason, cause or severity.
    Changed {
        /// The reason until now.
        from: ReasonName,
        /// The code of the cause until now.
        from_cause: CauseCode,
    },
    /// It does not alert any more, as its owner wants.
    Muted,
    /// It alerts again.
    Unmuted,
    Resolved(Ending),
}

impl What {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Found => "found",
            Self::Changed { .. } => "changed",
            Self::Muted => "muted",
            Self::Unmuted => "unmuted",
            Self::Resolved(_) => "resolved",
        }
    }
}

/// One thing that happened to an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentEvent {
    pub what: What,
    pub id: IncidentId,
    /// Its finding; when it is over, the last one.
    pub finding: Arc<Finding>,
    /// When it was noticed.
    pub noticed: Timestamp,
    pub at: Timestamp,
    /// In words: the summary, or how it ended.
    pub text: String,
    /// The incident, when it is over.
    pub over: Option<Box<Incident>>,
}

/// Brings `open` in line with `findings`, which are all that is known now of its subject.
///
/// `end` says how an incident ended whose finding is gone. `first` is set when a subject is seen for the first time since
/// this process started and had existed before.
pub fn reconcile(
    open: &mut Vec<Incident>,
    findings: &[NewFinding],
    first: bool,
    now: Timestamp,
    end: impl Fn(&CompactFinding) -> (Ending, String),
) -> Vec<IncidentEvent> {
    let mut events = Vec::new();
    if open.is_empty() && findings.is_empty() {
        return events;
    }
    let mut before = std::mem::take(open);
    for found in findings {
        let finding = &found.finding;
        let id = IncidentId::of(&finding.key());
        let was = before.iter().position(|i| i.id == id).map(|at| before.swap_remove(at));
        match (was, finding.stage) {
            (Some(incident), Stage::Active) => {
                open.push(update(incident, found, now, &mut events));
            }
            (None, Stage::Active) => {
                let what = if first { What::Found } else { What::Opened };
                let text = finding.summary.clone();
                events.push(IncidentEvent {
                    what,
                    id,
                    finding: Arc::clone(finding),
                    noticed: now,
                    at: now,
                    text,
                    over: None,
                });
                open.push(Incident {
                    id,
                    compact: Arc::clone(&found.compact),
                    noticed: now,
                    timeline: Timeline::default(),
                    before: None,
                });
            }
            // Its grace began again, or another failure of its family has begun: not over yet.
            (Some(incident), Stage::Pending) => open.push(incident),
            (Some(incident), Stage::Recovered) => {
                events.push(resolved(incident, Ending::Recovered, finding.summary.clone(), now));
            }
            (None, Stage::Pending | Stage::Recovered) => {}
        }
    }
    for incident in before {
        let (ending, text) = end(&incident.compact);
        events.push(resolved(incident, ending, text, now));
    }
    events
}

fn update(
    mut incident: Incident,
    found: &NewFinding,
    now: Timestamp,
    events: &mut Vec<IncidentEvent>,
) -> Incident {
    let (old, new) = (summary(&incident.compact), summary(&found.compact));
    let mut happened = |what| {
        events.push(IncidentEvent {
            what,
            id: incident.id,
            finding: Arc::clone(&found.finding),
            noticed: incident.noticed,
            at: now,
            text: found.finding.summary.clone(),
            over: None,
        });
    };
    if old != new && incident.before.as_ref() != Some(&new) {
        happened(What::Changed { from: old.0.clone(), from_cause: old.1 });
        let is = Is::of(&found.compact, &incident.compact);
        incident.timeline.add(now, Happened::Changed(Box::new(is)));
    }
    match (&incident.compact.muted, &found.compact.muted) {
        (was, Some(is)) if was.as_ref() != Some(is) => {
            happened(What::Muted);
            incident.timeline.add(now, Happened::Muted);
        }
        (Some(_), None) => {
            happened(What::Unmuted);
            incident.timeline.add(now, Happened::Unmuted);
        }
        _ => {}
    }
    if old != new {
        incident.before = Some(old);
    }
    incident.compact = Arc::clone(&found.compact);
    incident
}

fn resolved(incident: Incident, ending: Ending, text: String, now: Timestamp) -> IncidentEvent {
    IncidentEvent {
        what: What::Resolved(ending),
        id: incident.id,
        finding: Arc::new(incident.finding()),
        noticed: incident.noticed,
        at: now,
        text,
        over: Some(Box::new(incident)),
    }
}
