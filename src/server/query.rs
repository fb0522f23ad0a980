//! What the API and the status page ask of the incidents: which match a filter, in groups or one by one, one of them alone,
//! and the last hours.
//!
//! It goes through the incidents some pods per lock and keeps no more than a page. Must not know HTTP, JSON or HTML.

mod detail;
mod filter;
mod groups;
mod history;
mod problems;
mod values;

use std::cell::OnceCell;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard};
use serde::Serialize;

use super::Shown;
use super::page::{BadToken, Page, Wanted};
use crate::diagnosis::{Finding, WorkloadRef};
use crate::incidents::compact::CompactFinding;
use crate::incidents::timeline::Timeline;
use crate::incidents::{self, ActivePod, Counts, Ending, Incident, IncidentId, Incidents};

pub use detail::{Detail, Moment, incident};
pub use filter::{Asked, BadFilter, Filter, Sort};
use groups::Grouping;
pub(super) use groups::Key as GroupKey;
pub use groups::{Group, Groups, Trend, groups};
pub(super) use history::Key as HistoryKey;
pub use history::{Bucket, History, OfWorkload, history};
pub(super) use problems::Key as ProblemKey;
pub use problems::{Problem, Problems, problems};
pub use values::Values;

/// Resolved incidents that are shown beside open ones.
const RESOLVED: usize = 50;

/// The incidents, while one question about them is answered. What the parts of the answer need of all of them is found once.
pub struct Overview<'a> {
    shown: &'a Shown,
    known: OnceCell<(Grouping, Values)>,
}

impl<'a> Overview<'a> {
    pub fn new(shown: &'a Shown) -> Self {
        Self { shown, known: OnceCell::new() }
    }

    fn known(&self) -> &(Grouping, Values) {
        self.known.get_or_init(|| {
            let mut values = values::All::default();
            let grouping = Grouping::of(&self.shown.incidents, |seen| values.add(seen));
            (grouping, values.first())
        })
    }

    /// What belongs together.
    fn grouping(&self) -> &Grouping {
        &self.known().0
    }

    /// What there is to filter by.
    pub fn values(&self) -> &Values {
        &self.known().1
    }
}

/// An open incident, while it is looked at.
pub(super) struct Seen<'a> {
    pub(super) id: IncidentId,
    pub(super) noticed: Timestamp,
    pub(super) compact: &'a Arc<CompactFinding>,
    timeline: &'a Timeline,
    about: About<'a>,
    /// How it ended, if it is over.
    over: Option<&'a incidents::Resolved>,
}

/// What an incident is about.
enum About<'a> {
    Pod(ActivePod<'a>),
    /// A workload or a node, or whatever it was about that is over: the finding, unpacked.
    Other(Box<Finding>),
}

impl<'a> Seen<'a> {
    fn of(incident: &'a Incident, about: About<'a>) -> Self {
        let Incident { id, noticed, compact, timeline, .. } = incident;
        Self { id: *id, noticed: *noticed, compact, timeline, about, over: None }
    }

    /// Empty for a node.
    pub(super) fn namespace(&self) -> &str {
        match &self.about {
            About::Pod(pod) => &pod.workload_key.namespace,
            About::Other(finding) => &finding.namespace,
        }
    }

    /// None for a node.
    pub(super) fn workload(&self) -> Option<&WorkloadRef> {
        match &self.about {
            About::Pod(pod) => Some(&pod.workload_key.workload),
            About::Other(finding) => finding.workload.as_ref(),
        }
    }

    /// Empty for a workload or a node.
    pub(super) fn pod(&self) -> &str {
        match &self.about {
            About::Pod(pod) => pod.name,
            About::Other(finding) => &finding.pod,
        }
    }

    /// Empty for a workload, and for a pod that is not scheduled.
    pub(super) fn node(&self) -> &str {
        match &self.about {
            About::Pod(pod) => pod.node,
            About::Other(finding) => &finding.node,
        }
    }

    /// What is found. Unpacks it, which takes a microsecond or two.
    pub(super) fn finding(&self) -> Finding {
        match &self.about {
            About::Pod(_) => self.compact.finding(),
            About::Other(finding) => (**finding).clone(),
        }
    }
}

/// Goes through the open incidents, those of one pod one after another. The lock is held for some pods at a time.
pub(super) fn each_open(incidents: &RwLock<Incidents>, mut look: impl FnMut(&Seen<'_>)) {
    const PODS: usize = 100;
    let mut place = 0;
    loop {
        let incidents = incidents.read();
        let mut more = false;
        for (at, pod) in incidents.active_from(place).take(PODS) {
            pod.incidents.iter().for_each(|incident| look(&Seen::of(incident, About::Pod(pod))));
            (place, more) = (at + 1, true);
        }
        // To an update that waits.
        RwLockReadGuard::unlock_fair(incidents);
        if !more {
            break;
        }
    }
    each_of_workloads_and_nodes(incidents, look);
}

fn each_of_workloads_and_nodes(incidents: &RwLock<Incidents>, mut look: impl FnMut(&Seen<'_>)) {
    let others: Vec<Incident> = incidents.read().workloads_and_nodes().cloned().collect();
    for incident in &others {
        look(&Seen::of(incident, About::Other(Box::new(incident.finding()))));
    }
}

/// A page of the open incidents that match.
#[derive(Debug)]
pub struct List {
    /// All that match.
    pub counts: Counts,
    pub items: Vec<Open>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    pub id: IncidentId,
    pub noticed_at: Timestamp,
    #[serde(flatten)]
    pub finding: Finding,
}

/// Where an incident stands in a list: by what it is sorted, and by its id.
pub(super) type Key = (u8, i64, String, String);

/// The open incidents that match, a page of them.
pub fn incidents(
    overview: &Overview<'_>,
    filter: &Filter,
    sort: Sort,
    wanted: &Wanted,
) -> Result<List, BadToken> {
    let mut page = Page::<Key, (IncidentId, Timestamp, Arc<CompactFinding>)>::new(wanted)?;
    let mut counts = Counts::default();
    let mut matching = filter.matching(overview);
    each_open(&overview.shown.incidents, |seen| {
        if matching.matches(seen) {
            counts.add(seen.compact);
            let key = sort.key(seen.compact, seen.id, || {
                let kind = seen.workload().map_or("", |workload| &workload.name);
                [seen.namespace(), kind, seen.pod(), &seen.compact.container].join("/")
            });
            page.offer(key, || (seen.id, seen.noticed, Arc::clone(seen.compact)));
        }
    });
    let (open, next) = page.done(|(.., compact)| compact.size());
    let open = open.into_iter();
    let items =
        open.map(|(id, noticed_at, compact)| Open { id, noticed_at, finding: compact.finding() }).collect();
    Ok(List { counts, items, next })
}

/// An incident that is over.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    pub id: IncidentId,
    pub resolved_at: Timestamp,
    pub ending: Ending,
    /// How it ended.
    pub text: String,
    #[serde(flatten)]
    pub finding: Finding,
}

impl From<&incidents::Resolved> for Resolved {
    fn from(over: &incidents::Resolved) -> Self {
        Self {
            id: over.incident.id,
            resolved_at: over.at,
            ending: over.ending,
            text: over.text.clone(),
            finding: over.incident.finding(),
        }
    }
}

/// The incidents that were resolved last and match, newest first.
pub fn resolved(overview: &Overview<'_>, filter: &Filter) -> Vec<Resolved> {
    let mut matching = filter.matching(overview);
    let mut found: Vec<Resolved> = Vec::new();
    each_resolved(&overview.shown.incidents, Timestamp::MIN, |seen| {
        if found.len() < RESOLVED && matching.matches(seen) {
            found.extend(seen.over.map(Resolved::from));
        }
    });
    found
}

/// Goes through the incidents that were resolved at this time or later, newest first. The lock is held for some at a time.
fn each_resolved(incidents: &RwLock<Incidents>, from: Timestamp, mut look: impl FnMut(&Seen<'_>)) {
    let resolved: Vec<incidents::Resolved> =
        incidents.read().resolved().take_while(|over| over.at >= from).cloned().collect();
    for over in &resolved {
        let about = About::Other(Box::new(over.incident.finding()));
        look(&Seen { over: Some(over), ..Seen::of(&over.incident, about) });
    }
}

/// All open incidents, counted.
pub fn counts(shown: &Shown) -> Counts {
    shown.incidents.read().counts()
}

impl Sort {
    /// `name` is for those that are sorted by it.
    fn key(self, compact: &CompactFinding, id: IncidentId, name: impl FnOnce() -> String) -> Key {
        let since = compact.since.map(Timestamp::as_microsecond);
        let newest_first = since.map_or(i64::MAX, |at| -at);
        let id = id.to_string();
        match self {
            Self::Severity => (u8::MAX - compact.severity as u8, newest_first, String::new(), id),
            Self::Newest => (0, newest_first, String::new(), id),
            Self::Oldest => (0, since.unwrap_or(i64::MAX), String::new(), id),
            Self::Name => (0, 0, name(), id),
        }
    }
}
