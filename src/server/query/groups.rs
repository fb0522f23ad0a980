//! The open incidents in groups, a row for each problem or workload, as the report of `diagnose` has them.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use serde::{Serialize, Serializer};

use super::{Filter, Overview, Seen, Sort, each_of_workloads_and_nodes, each_open, each_resolved};
use crate::diagnosis::problems::{self, ProblemKey};
use crate::diagnosis::victims::{Causes, may_serve};
use crate::diagnosis::{Cause, Finding, Reach, Reason, ReasonName, Scope, Severity, survey};
use crate::incidents::compact::CompactFinding;
use crate::incidents::incident::digest;
use crate::incidents::store::WorkloadKey;
use crate::incidents::{Counts, IncidentId, Incidents};
use crate::redact::clean;
use crate::server::page::{BadToken, Page, Wanted};

/// Incidents that began within this time tell whether a group grows.
const LATELY: SignedDuration = SignedDuration::from_mins(10);
/// Workloads, and owner labels, of a group that are named; its reach counts all.
const NAMED: usize = 8;
/// Incidents of workloads that serve others that are unpacked to tell what follows from them.
const MAX_SERVING: usize = 1_000;

/// A page of the groups.
#[derive(Debug)]
pub struct Groups {
    /// All groups.
    pub total: usize,
    /// All incidents that match.
    pub counts: Counts,
    pub items: Vec<Group>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// Incidents with one common cause, or of one workload and with one cause.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Sixteen hexadecimal digits, the same as long as the cause is the same.
    pub id: String,
    /// The worst of its incidents'.
    pub severity: Severity,
    /// The most frequent one first.
    pub reasons: Vec<String>,
    /// What is wrong. Without what differs between its incidents, if there are several.
    pub summary: String,
    pub cause: Cause,
    pub scope: Scope,
    pub reach: Reach,
    pub incidents: usize,
    /// So many of them do not alert for now.
    pub muted: usize,
    /// When the oldest one began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the newest one began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    pub trend: Trend,
    /// `NAMESPACE/KIND/NAME`, some of them; the reach counts all.
    pub workloads: Vec<String>,
    /// Names and values of owner labels, some of them.
    #[serde(serialize_with = "as_lists")]
    pub labels: Vec<(String, String)>,
    /// The worst and oldest incident, which stands for the others.
    pub first: IncidentId,
    /// The incident that keeps this rollout from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<IncidentId>,
}

kubehealer_core::words! {
    /// How a group has changed in the last ten minutes.
    pub enum Trend {
        /// All of it began then.
        New = "new",
        /// More incidents began than ended.
        Growing = "growing",
        /// More incidents ended than began.
        Shrinking = "shrinking",
        Steady = "steady",
    }
}

/// Labels by name, each with its values.
fn as_lists<S: Serializer>(labels: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut lists: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for (name, value) in labels {
        lists.entry(name).or_default().push(value);
    }
    serializer.collect_map(lists)
}

/// What belongs together.
pub(in crate::server) struct Grouping {
    causes: Causes,
    stuck: HashMap<WorkloadKey, Stuck>,
}

/// A rollout that does not go on.
struct Stuck {
    revision: Option<Box<Scope>>,
    /// The worst incident of its pods.
    by: Option<(Severity, Reverse<Option<Timestamp>>, IncidentId)>,
}

impl Grouping {
    /// `look` sees all open incidents on the way.
    pub(in crate::server) fn of(incidents: &RwLock<Incidents>, mut look: impl FnMut(&Seen<'_>)) -> Self {
        let mut stuck = HashMap::new();
        each_of_workloads_and_nodes(incidents, |seen| {
            if seen.compact.reason == Reason::ProgressDeadlineExceeded.into()
                && let Some(workload) = seen.workload()
            {
                let revision = seen.compact.scope.clone();
                stuck.insert(WorkloadKey::new(seen.namespace(), workload), Stuck { revision, by: None });
            }
        });
        let mut serving = Vec::new();
        each_open(incidents, |seen| {
            look(seen);
            let Some(workload) = seen.workload().filter(|_| !seen.pod().is_empty()) else { return };
            if serving.len() < MAX_SERVING && may_serve(&workload.name) {
                serving.push(seen.finding());
            }
            if stuck.is_empty() || seen.compact.severity == Severity::Info {
                return;
            }
            let Some(stuck) = stuck.get_mut(&WorkloadKey::new(seen.namespace(), workload)) else { return };
            if survey::is_of_revision(seen.pod(), stuck.revision.as_deref()) {
                let one = (seen.compact.severity, Reverse(seen.compact.since), seen.id);
                stuck.by = stuck.by.max(Some(one));
            }
        });
        Self { causes: Causes::among(&serving), stuck }
    }

    /// The incident that keeps a rollout from going on, if this is about one.
    pub(in crate::server) fn caused_by(&self, seen: &Seen<'_>) -> Option<IncidentId> {
        if seen.compact.reason != Reason::ProgressDeadlineExceeded.into() {
            return None;
        }
        let stuck = self.stuck.get(&WorkloadKey::new(seen.namespace(), seen.workload()?))?;
        stuck.by.map(|(.., id)| id)
    }

    /// The finding from which an incident follows.
    pub(super) fn cause(&self, seen: &Seen<'_>) -> Option<&Finding> {
        let may_follow = self.causes.may_follow(&seen.compact.reason, seen.compact.cause);
        may_follow.then(|| self.causes.of(&seen.finding())).flatten()
    }

    /// The id of the group that an incident is in.
    pub(in crate::server) fn id(&self, seen: &Seen<'_>) -> u64 {
        id(&key(seen, self.cause(seen)))
    }
}

/// What an incident is a part of, as [`problems::key`] has it, without unpacking it.
pub(super) fn problem_key(seen: &Seen<'_>, cause: Option<&Finding>) -> Option<ProblemKey> {
    if let Some(key) = cause.and_then(problems::key) {
        return Some(key);
    }
    let scope = seen.compact.scope.as_deref().cloned().or_else(|| {
        let workload = seen.workload()?;
        let name = format!("{}/{}/{}", seen.namespace(), workload.kind, workload.name);
        Some(Scope { kind: "workload", name })
    });
    Some(ProblemKey { code: seen.compact.cause, scope: scope? })
}

/// The same, but bare pods of one namespace of which the same is said are a group, and a node is one.
fn key(seen: &Seen<'_>, cause: Option<&Finding>) -> ProblemKey {
    let is_bare = seen.workload().is_some_and(|workload| workload.name == seen.pod());
    if is_bare && cause.is_none() && seen.compact.scope.is_none() {
        let name = format!("{}: {}", seen.namespace(), seen.compact.steady);
        return ProblemKey { code: seen.compact.cause, scope: Scope { kind: BARE_PODS, name } };
    }
    problem_key(seen, cause).unwrap_or_else(|| ProblemKey {
        code: seen.compact.cause,
        scope: Scope { kind: "node", name: seen.node().to_owned() },
    })
}

/// The sentence of the cause.
pub(super) fn said(seen: &Seen<'_>, of: Option<&Finding>) -> String {
    of.map_or_else(|| seen.finding().cause.text, |finding| finding.cause.text.clone())
}

/// An incident as its group counts it.
pub(super) fn member<'a>(seen: &'a Seen<'_>) -> problems::Member<'a> {
    problems::Member {
        severity: seen.compact.severity,
        namespace: seen.namespace(),
        pod: seen.pod(),
        workload: seen.workload(),
        node: seen.node(),
    }
}

/// The scope of bare pods of one namespace of which the same is said.
const BARE_PODS: &str = "pods";

fn id(key: &ProblemKey) -> u64 {
    digest(&[key.code.as_str(), key.scope.kind, &key.scope.name])
}

/// What is noted of a group on the way through its incidents.
#[derive(Debug, Default)]
struct Row {
    reasons: Vec<(ReasonName, usize)>,
    workloads: Vec<String>,
    muted: usize,
    since: Option<Timestamp>,
    newest: Option<Timestamp>,
    /// Incidents that began lately.
    began: usize,
    /// Incidents that ended lately.
    ended: usize,
    labels: Vec<(String, String)>,
    /// The worst and oldest one.
    first: Option<(First, Arc<CompactFinding>)>,
    caused_by: Option<IncidentId>,
}

type First = (Reverse<u8>, Option<Timestamp>, IncidentId);

impl Row {
    fn add(&mut self, seen: &Seen<'_>, lately: Timestamp) {
        let compact = seen.compact;
        match self.reasons.iter_mut().find(|(reason, _)| *reason == compact.reason) {
            Some((_, count)) => *count += 1,
            None => self.reasons.push((compact.reason.clone(), 1)),
        }
        if let Some(workload) = seen.workload().filter(|_| self.workloads.len() < NAMED) {
            let name = format!("{}/{}/{}", seen.namespace(), workload.kind, workload.name);
            if !self.workloads.contains(&name) {
                self.workloads.push(name);
            }
        }
        for label in &compact.labels {
            if self.labels.len() < NAMED && !self.labels.contains(label) {
                self.labels.push(label.clone());
            }
        }
        self.muted += usize::from(compact.muted.is_some());
        if let Some(since) = compact.since {
            self.since = Some(self.since.map_or(since, |at| at.min(since)));
            self.newest = self.newest.max(Some(since));
            self.began += usize::from(since >= lately);
        }
        let place = (Reverse(compact.severity as u8), compact.since, seen.id);
        if self.first.as_ref().is_none_or(|(first, _)| place < *first) {
            self.first = Some((place, Arc::clone(compact)));
        }
    }

    fn trend(&self, lately: Timestamp) -> Trend {
        match self.began.cmp(&self.ended) {
            _ if self.since.is_some_and(|since| since >= lately) => Trend::New,
            Ordering::Greater => Trend::Growing,
            Ordering::Less => Trend::Shrinking,
            Ordering::Equal => Trend::Steady,
        }
    }
}

/// The open incidents that match, in groups, a page of them.
pub fn groups(
    overview: &Overview<'_>,
    filter: &Filter,
    sort: Sort,
    wanted: &Wanted,
) -> Result<Groups, BadToken> {
    let shown = overview.shown;
    let now = (shown.clock)();
    let lately = now.checked_sub(LATELY).unwrap_or(now);
    let mut page = Page::<Key, (ProblemKey, problems::Group<Row>)>::new(wanted)?;
    let grouping = overview.grouping();
    let mut counts = Counts::default();
    let mut matching = filter.matching(overview);
    let mut groups = problems::Groups::<Row>::default();
    each_open(&shown.incidents, |seen| {
        if !matching.matches(seen) {
            return;
        }
        counts.add(seen.compact);
        let of = grouping.cause(seen);
        let row = groups.put(key(seen, of), || said(seen, of), &member(seen));
        row.add(seen, lately);
        row.caused_by = row.caused_by.or_else(|| grouping.caused_by(seen));
    });
    each_resolved(&shown.incidents, lately, |seen| {
        if matching.matches(seen)
            && let Some(row) = groups.get_mut(&key(seen, grouping.cause(seen)))
        {
            row.ended += 1;
        }
    });
    for (key, group) in groups {
        page.offer(sort.of_group(&key, &group), || (key, group));
    }
    let total = page.total;
    let (items, next) = page.done(|(key, group)| size(key, group));
    let items = items.into_iter().filter_map(|(key, group)| Group::of(key, group, lately)).collect();
    Ok(Groups { total, counts, items, next })
}

/// Where a group stands: what is muted last among equals, then the farthest reach, or the age; then its id.
pub(in crate::server) type Key = (u8, bool, i64, String, String);

impl Sort {
    fn of_group(self, key: &ProblemKey, group: &problems::Group<Row>) -> Key {
        let row = &group.more;
        let is_muted = row.muted == group.findings;
        let at = |time: Option<Timestamp>| time.map_or(i64::MAX, Timestamp::as_microsecond);
        let id = format!("{:016x}", id(key));
        match self {
            Self::Severity => {
                let reach = group.reach();
                let pods = i64::try_from(reach.pods.max(reach.workloads)).unwrap_or(i64::MAX);
                (u8::MAX - group.severity as u8, is_muted, -pods, String::new(), id)
            }
            Self::Newest => (0, false, at(row.newest).saturating_neg(), String::new(), id),
            Self::Oldest => (0, false, at(row.since), String::new(), id),
            Self::Name => (0, false, 0, row.workloads.first().unwrap_or(&key.scope.name).clone(), id),
        }
    }
}

/// About, in bytes.
fn size(key: &ProblemKey, group: &problems::Group<Row>) -> usize {
    let row = &group.more;
    let workloads: usize = row.workloads.iter().map(String::len).sum();
    let labels: usize = row.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    300 + key.scope.name.len() + group.cause.len() + workloads + labels
}

impl Group {
    fn of(mut key: ProblemKey, group: problems::Group<Row>, lately: Timestamp) -> Option<Self> {
        let id = format!("{:016x}", id(&key));
        if key.scope.kind == BARE_PODS
            && let Some((namespace, _)) = key.scope.name.split_once(": ")
        {
            key.scope.name = namespace.to_owned();
        }
        let (reach, trend) = (group.reach(), group.more.trend(lately));
        let mut row = group.more;
        row.reasons.sort_by(|(a, of_a), (b, of_b)| (of_b, a).cmp(&(of_a, b)));
        let ((.., first), compact) = row.first?;
        let summary =
            if group.findings == 1 { compact.finding().summary } else { compact.steady.to_string() };
        Some(Self {
            id,
            severity: group.severity,
            reasons: row.reasons.iter().map(|(reason, _)| reason.as_str().to_owned()).collect(),
            summary,
            cause: Cause { code: key.code, text: group.cause },
            // A namespace in them is a key, as it is in the cluster.
            scope: Scope { name: clean(&key.scope.name).into_owned(), ..key.scope },
            reach,
            incidents: group.findings,
            muted: row.muted,
            since: row.since,
            newest: row.newest,
            trend,
            workloads: row.workloads.iter().map(|name| clean(name).into_owned()).collect(),
            labels: row.labels,
            first,
            caused_by: row.caused_by,
        })
    }
}
