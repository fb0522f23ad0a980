//! The incidents as metrics, read at scrape time: no series outlives what it is about.
//!
//! Each family is read, encoded and written some pods at a time. The lock is held for one such part, so an update never waits
//! long, and a storm of failing pods takes no more memory than a part. What is written while the lock is free may be a
//! moment newer than what was written before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard};
use prometheus::Result;

use super::family::{Family, Part};
use super::shares::Shares;
use crate::diagnosis::{CauseCode, Finding, ReasonName, Scope, WorkloadRef};
use crate::incidents::compact::CompactFinding;
use crate::incidents::store::WorkloadKey;
use crate::incidents::{ActivePod, Incident, Incidents};

/// Pods (or rows) that are read under one lock. The lock is then handed to an update that waits; the scrape itself would be
/// quicker to take it again.
const CHUNK: usize = 100;

const UNHEALTHY: Family = Family::gauge(
    "kubehealer_pod_unhealthy",
    "1 while a pod or container has an open incident; pod is empty for an incident of a workload or node.",
    &[
        "namespace",
        "pod",
        "workload_kind",
        "workload",
        "container",
        "node",
        "reason",
        "container_type",
        "cause",
        "severity",
    ],
)
.owned();
const UNHEALTHY_SINCE: Family = Family::gauge(
    "kubehealer_pod_unhealthy_since_timestamp_seconds",
    "Start of the incident, from the API's own times; where the API has none, when KubeHealer noticed it.",
    &[
        "namespace",
        "pod",
        "workload_kind",
        "workload",
        "container",
        "node",
        "reason",
        "container_type",
        "severity",
    ],
)
.owned();
const INCIDENT_INFO: Family = Family::gauge(
    "kubehealer_incident_info",
    "1 for each workload, container and reason with an open incident: what is wrong, in one sentence.",
    &[
        "namespace",
        "workload_kind",
        "workload",
        "container",
        "reason",
        "severity",
        "cause",
        "summary",
        "cluster_name",
    ],
)
.owned();
const MUTED: Family = Family::gauge(
    "kubehealer_incidents_muted",
    "Muted open incidents of a pod, or of a workload if pod is empty: they do not alert until the mute expires.",
    &["namespace", "pod", "workload_kind", "workload"],
)
.owned();
const LAST_TERMINATION: Family = Family::gauge(
    "kubehealer_container_last_termination_timestamp_seconds",
    "Time of a container's last termination with this reason, if within the last hour and not a completion.",
    &["namespace", "pod", "workload_kind", "workload", "container", "reason"],
);
const WORKLOAD_UNHEALTHY_PODS: Family = Family::gauge(
    "kubehealer_workload_unhealthy_pods",
    "Pods of a workload with an open incident, by reason.",
    &["namespace", "workload_kind", "workload", "reason"],
)
.owned();
const WORKLOAD_PODS: Family = Family::gauge(
    "kubehealer_workload_pods",
    "All pods of a workload that has an open incident, healthy ones included.",
    &["namespace", "workload_kind", "workload"],
)
.owned();
const OLD_REVISION_READY_PODS: Family = Family::gauge(
    "kubehealer_workload_old_revision_ready_pods",
    "Ready pods of older revisions of a Deployment that has an open incident and whose newest revision is not ready.",
    &["namespace", "workload_kind", "workload"],
)
.owned();
const TERMINATIONS: Family = Family::counter(
    "kubehealer_container_terminations_total",
    "Container terminations, each counted once; those that no status showed have the reason Unobserved.",
    &["namespace", "workload_kind", "workload", "container", "container_type", "reason"],
);
const PROBLEM_PODS: Family = Family::gauge(
    "kubehealer_problem_pods",
    "Pods with open incidents that share a cause, if there are at least two.",
    &["cause", "scope_kind", "scope"],
);
const PROBLEM_WORKLOADS: Family = Family::gauge(
    "kubehealer_problem_workloads",
    "Workloads of the pods in kubehealer_problem_pods.",
    &["cause", "scope_kind", "scope"],
);
const LOST: Family = Family::gauge(
    "kubehealer_namespace_series_dropped",
    "Series of a namespace that --max-series dropped from this scrape, over all metrics; for at most 100 namespaces.",
    &["namespace"],
);
/// Namespaces that are named in it.
const MAX_LOST: usize = 100;
const TRACKED_PODS: Family = Family::gauge("kubehealer_tracked_pods", "Number of watched pods.", &[]);
const OPEN_INCIDENTS: Family = Family::gauge("kubehealer_open_incidents", "Number of open incidents.", &[]);
const STALE_UPDATES: Family = Family::counter(
    "kubehealer_stale_updates_total",
    "Pods of a list that were older than the known state, and were ignored.",
    &[],
);

/// The metrics whose series are limited in number.
pub const LIMITED: [&Family; 11] = [
    &UNHEALTHY,
    &UNHEALTHY_SINCE,
    &INCIDENT_INFO,
    &MUTED,
    &LAST_TERMINATION,
    &WORKLOAD_UNHEALTHY_PODS,
    &WORKLOAD_PODS,
    &OLD_REVISION_READY_PODS,
    &TERMINATIONS,
    &PROBLEM_PODS,
    &PROBLEM_WORKLOADS,
];

/// One scrape of the incidents.
pub struct Scrape<'a> {
    pub incidents: &'a RwLock<Incidents>,
    pub now: Timestamp,
    /// Series of a family at most.
    pub max_series: usize,
    /// The names of the owner labels.
    pub owner_labels: &'a [String],
    /// What the cluster is called, if it has a name.
    pub cluster_name: &'a str,
    /// Where the text goes.
    pub out: &'a mut dyn Write,
    /// Told of each limited family how many series were left out.
    pub dropped: &'a dyn Fn(&'static str, u64),
    /// How many series each namespace lost.
    pub lost: BTreeMap<String, u64>,
}

impl Scrape<'_> {
    pub fn write(mut self) -> Result<()> {
        let counts = self.pods_and_others()?;
        self.info(counts.sentences)?;
        self.workloads(&counts.workloads)?;
        self.terminations()?;
        self.problems(counts.causes)?;
        self.lost()?;
        self.totals()
    }

    /// What is open, since when, and the newest terminations. Gives what is counted over all pods.
    fn pods_and_others(&mut self) -> Result<Counts> {
        let mut others = self.others();
        // What becomes active from here on is for the next scrape: a pod that is active again would be written twice.
        let end = self.read().next_place();
        let now = self.now;
        // Room for all from the start: a table that grows while the lock is held makes an update wait for it.
        let mut counts = Counts::with_capacity(self.read().open_count());
        self.muted(end, &others)?;
        // They are in no other series: alerts are built on those.
        others.retain(|(_, incident)| !incident.is_muted());
        for (finding, incident) in &others {
            counts.sentences.add(&workload_of(finding), &incident.compact);
        }
        self.family(&UNHEALTHY, |scrape, family| {
            scrape.pods(end, family, |family, pod| {
                if !family.shares.is_counting() {
                    counts.add(pod.workload_key, alerting(pod));
                }
                let of = Labels::of(pod);
                alerting(pod).for_each(|incident| of.unhealthy(family, &incident.compact));
            })?;
            others.iter().for_each(|(f, other)| Labels::of_other(f).unhealthy(family, &other.compact));
            Ok(())
        })?;
        self.family(&UNHEALTHY_SINCE, |scrape, family| {
            scrape.pods(end, family, |family, pod| {
                let of = Labels::of(pod);
                alerting(pod).for_each(|incident| of.since(family, incident));
            })?;
            others.iter().for_each(|(f, other)| Labels::of_other(f).since(family, other));
            Ok(())
        })?;
        self.family(&LAST_TERMINATION, |scrape, family| {
            scrape.pods(end, family, |family, pod| {
                let of = Labels::of(pod);
                for last in pod.recent_terminations(now) {
                    let values =
                        [of.namespace, of.pod, of.kind, of.workload, &last.container, last.reason.as_str()];
                    family.add(&values, last.at.as_second() as f64);
                }
            })
        })?;
        Ok(counts)
    }

    /// What does not alert, by pod.
    fn muted(&mut self, end: u64, others: &[(Finding, Incident)]) -> Result<()> {
        self.family(&MUTED, |scrape, family| {
            scrape.pods(end, family, |family, pod| {
                let mut muted = pod.incidents.iter().filter(|incident| incident.is_muted()).peekable();
                if let Some(first) = muted.peek() {
                    let of = Labels::of(pod);
                    let values = [of.namespace, of.pod, of.kind, of.workload];
                    family.add_owned(&values, &first.compact.labels, muted.count() as f64);
                }
            })?;
            let mut muted = BTreeMap::new();
            for (finding, other) in others.iter().filter(|(_, other)| other.is_muted()) {
                let of = Labels::of_other(finding);
                let key = [of.namespace, of.pod, of.kind, of.workload];
                muted.entry(key).or_insert((&other.compact.labels, 0.0)).1 += 1.0;
            }
            muted.iter().for_each(|(values, (labels, count))| family.add_owned(values, labels, *count));
            Ok(())
        })
    }

    fn workloads(&mut self, workloads: &[UnhealthyWorkload]) -> Result<()> {
        self.family(&WORKLOAD_UNHEALTHY_PODS, |scrape, family| {
            for chunk in workloads.chunks(CHUNK) {
                for workload in chunk {
                    let [namespace, kind, name] = of_workload(&workload.key);
                    for (first, pods) in &workload.by_reason {
                        let values = [namespace, kind, name, first.reason.as_str()];
                        family.add_owned(&values, &first.labels, *pods as f64);
                    }
                }
                family.write(scrape.out)?;
            }
            Ok(())
        })?;
        // None is left if they have gone in the meantime.
        self.pods_of_workloads(&WORKLOAD_PODS, workloads, |incidents, key| incidents.pods_of(key).into())?;
        self.pods_of_workloads(&OLD_REVISION_READY_PODS, workloads, |incidents, key| {
            incidents.served_by_older(key).into()
        })
    }

    /// A number of pods for each of these workloads that has any.
    fn pods_of_workloads(
        &mut self,
        family: &'static Family,
        workloads: &[UnhealthyWorkload],
        pods: fn(&Incidents, &WorkloadKey) -> f64,
    ) -> Result<()> {
        self.family(family, |scrape, family| {
            for chunk in workloads.chunks(CHUNK) {
                let incidents = scrape.read();
                for UnhealthyWorkload { key, by_reason } in chunk {
                    let pods = pods(&incidents, key);
                    if let Some((first, _)) = by_reason.first().filter(|_| pods > 0.0) {
                        family.add_owned(&of_workload(key), &first.labels, pods);
                    }
                }
                RwLockReadGuard::unlock_fair(incidents);
                family.write(scrape.out)?;
            }
            Ok(())
        })
    }

    fn info(&mut self, sentences: Sentences) -> Result<()> {
        self.family(&INCIDENT_INFO, |scrape, family| {
            for chunk in sentences.rows.chunks(CHUNK) {
                for row in chunk {
                    let [namespace, kind, name] = of_workload(&row.workload_key);
                    let Some(said) = row.most_said() else { continue };
                    let values = [
                        namespace,
                        kind,
                        name,
                        &row.container,
                        row.reason.as_str(),
                        said.first.severity.as_str(),
                        said.first.cause.as_str(),
                        &said.first.steady,
                        scrape.cluster_name,
                    ];
                    family.add_owned(&values, &said.first.labels, 1.0);
                }
                family.write(scrape.out)?;
            }
            Ok(())
        })
    }

    fn terminations(&mut self) -> Result<()> {
        self.family(&TERMINATIONS, |scrape, family| {
            let (mut place, end) = (0, scrape.read().terminations().next_place());
            while place < end {
                let incidents = scrape.read();
                let mut rows = incidents.terminations().from(place).take(CHUNK).peekable();
                place = end;
                while let Some((at, row)) = rows.next_if(|(at, _)| *at < end) {
                    let [namespace, kind, name] = of_workload(&row.workload_key);
                    for (reason, count) in row.by_reason() {
                        let values = [
                            namespace,
                            kind,
                            name,
                            &row.container,
                            row.container_type.as_str(),
                            reason.as_str(),
                        ];
                        family.add(&values, count as f64);
                    }
                    place = at + 1;
                }
                drop(rows);
                RwLockReadGuard::unlock_fair(incidents);
                family.write(scrape.out)?;
            }
            Ok(())
        })
    }

    fn problems(&mut self, causes: HashMap<(CauseCode, Scope), Reach>) -> Result<()> {
        let mut problems: Vec<_> = causes.into_iter().filter(|(_, reach)| reach.pods > 1).collect();
        problems.sort_unstable_by(|a, b| b.1.pods.cmp(&a.1.pods).then_with(|| a.0.cmp(&b.0)));
        self.problem(&PROBLEM_PODS, &problems, |reach| reach.pods)?;
        self.problem(&PROBLEM_WORKLOADS, &problems, |reach| reach.workloads.len() as u64)
    }

    fn problem(
        &mut self,
        family: &'static Family,
        problems: &[((CauseCode, Scope), Reach)],
        count: fn(&Reach) -> u64,
    ) -> Result<()> {
        self.family(family, |scrape, family| {
            for chunk in problems.chunks(CHUNK) {
                for ((cause, scope), reach) in chunk {
                    family.add(&[cause.as_str(), scope.kind, &scope.name], count(reach) as f64);
                }
                family.write(scrape.out)?;
            }
            Ok(())
        })
    }

    /// Which namespaces the limit has cut, the most cut first.
    fn lost(&mut self) -> Result<()> {
        let mut lost: Vec<_> = std::mem::take(&mut self.lost).into_iter().collect();
        lost.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut part = Part::new(&LOST);
        for (namespace, series) in lost.iter().take(MAX_LOST) {
            part.add(&[namespace], *series as f64);
        }
        part.write(true, &mut Vec::new(), self.out)
    }

    fn totals(&mut self) -> Result<()> {
        let totals = {
            let incidents = self.read();
            [
                (&TRACKED_PODS, incidents.pods() as u64),
                (&OPEN_INCIDENTS, incidents.open_count() as u64),
                (&STALE_UPDATES, incidents.stale()),
            ]
        };
        for (family, value) in totals {
            let mut part = Part::new(family);
            part.add(&[], value as f64);
            part.write(true, &mut Vec::new(), self.out)?;
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Incidents> {
        self.incidents.read()
    }

    /// The incidents of workloads and nodes, always in the same order.
    fn others(&self) -> Vec<(Finding, Incident)> {
        let others: Vec<_> = self.read().workloads_and_nodes().cloned().collect();
        let mut others: Vec<_> = others.into_iter().map(|incident| (incident.finding(), incident)).collect();
        others.sort_by_key(|(f, _)| f.key());
        others
    }

    /// Writes a family. Where not all of its series may fit, it is filled twice: first to count who has how many.
    fn family(
        &mut self,
        family: &'static Family,
        mut fill: impl FnMut(&mut Self, &mut Limited) -> Result<()>,
    ) -> Result<()> {
        let mut limited = Limited::new(family, self.max_series, self.owner_labels);
        let may_be_too_many = {
            let incidents = self.read();
            // A container may have a few series of one family.
            incidents.open_count().max(incidents.terminations().containers()).saturating_mul(4)
                > self.max_series
        };
        if may_be_too_many {
            fill(self, &mut limited)?;
            limited.shares.divide(self.max_series);
        } else {
            limited.shares.divide(usize::MAX);
        }
        fill(self, &mut limited)?;
        limited.write(self.out)?;
        (self.dropped)(family.name, limited.dropped);
        for (namespace, dropped) in limited.shares.lost() {
            *self.lost.entry(namespace.to_owned()).or_default() += dropped;
        }
        Ok(())
    }

    /// Looks at all active pods, those that are active for longest first.
    fn pods(
        &mut self,
        end: u64,
        family: &mut Limited,
        mut look: impl FnMut(&mut Limited, &ActivePod<'_>),
    ) -> Result<()> {
        let mut place = 0;
        while place < end {
            let incidents = self.read();
            let mut pods = incidents.active_from(place).take(CHUNK).peekable();
            place = end;
            while let Some((at, pod)) = pods.next_if(|(at, _)| *at < end) {
                look(family, &pod);
                place = at + 1;
            }
            drop(pods);
            RwLockReadGuard::unlock_fair(incidents);
            family.write(self.out)?;
        }
        Ok(())
    }
}

/// A family on its way out.
struct Limited {
    part: Part,
    shares: Shares,
    limit: usize,
    written: usize,
    dropped: u64,
    is_first: bool,
    text: Vec<u8>,
}

impl Limited {
    fn new(family: &'static Family, limit: usize, owner_labels: &[String]) -> Self {
        Self {
            part: Part::with(family, owner_labels),
            shares: Shares::of(family),
            limit,
            written: 0,
            dropped: 0,
            is_first: true,
            text: Vec::new(),
        }
    }

    fn add(&mut self, values: &[&str], value: f64) {
        self.add_owned(values, &[], value);
    }

    fn add_owned(&mut self, values: &[&str], labels: &[(String, String)], value: f64) {
        if !self.shares.take(values, self.written < self.limit) {
            self.dropped += u64::from(!self.shares.is_counting());
            return;
        }
        self.written += 1;
        self.part.add_owned(values, labels, value);
    }

    fn write(&mut self, out: &mut dyn Write) -> Result<()> {
        self.part.write(self.is_first, &mut self.text, out)?;
        self.is_first &= self.written == 0;
        Ok(())
    }
}

/// What the series of a pod, or of a workload or a node, begin with.
struct Labels<'a> {
    namespace: &'a str,
    pod: &'a str,
    kind: &'a str,
    workload: &'a str,
    node: &'a str,
}

impl<'a> Labels<'a> {
    fn of(pod: &ActivePod<'a>) -> Self {
        let [namespace, kind, workload] = of_workload(pod.workload_key);
        Self { namespace, pod: pod.name, kind, workload, node: pod.node }
    }

    fn of_other(f: &'a Finding) -> Self {
        let (kind, workload) = f.workload.as_ref().map_or(("", ""), |w| (&w.kind, &w.name));
        Self { namespace: &f.namespace, pod: &f.pod, kind, workload, node: &f.node }
    }

    fn unhealthy(&self, family: &mut Limited, f: &CompactFinding) {
        let container_type = f.container_type.map_or("", |t| t.as_str());
        let [a, b, c, d, e, g, h] = self.subject(f);
        let values = [a, b, c, d, e, g, h, container_type, f.cause.as_str(), f.severity.as_str()];
        family.add_owned(&values, &f.labels, 1.0);
    }

    fn since(&self, family: &mut Limited, incident: &Incident) {
        let f = &*incident.compact;
        let container_type = f.container_type.map_or("", |t| t.as_str());
        let [a, b, c, d, e, g, h] = self.subject(f);
        let at = f.since.unwrap_or(incident.noticed).as_second();
        family.add_owned(&[a, b, c, d, e, g, h, container_type, f.severity.as_str()], &f.labels, at as f64);
    }

    fn subject<'b>(&'b self, f: &'b CompactFinding) -> [&'b str; 7] {
        [self.namespace, self.pod, self.kind, self.workload, &f.container, self.node, f.reason.as_str()]
    }
}

fn of_workload(workload_key: &WorkloadKey) -> [&str; 3] {
    let WorkloadKey { namespace, workload: WorkloadRef { kind, name } } = workload_key;
    [namespace, kind, name]
}

/// The workload of an incident that is no pod's. A node has none: it stands for itself.
fn workload_of(f: &Finding) -> Arc<WorkloadKey> {
    let node = || WorkloadRef { kind: "Node".to_owned(), name: f.node.clone() };
    Arc::new(WorkloadKey {
        namespace: f.namespace.clone(),
        workload: f.workload.clone().unwrap_or_else(node),
    })
}

/// The incidents of a pod that are not muted.
fn alerting<'a>(pod: &ActivePod<'a>) -> impl Iterator<Item = &'a Incident> + Clone {
    pod.incidents.iter().filter(|incident| !incident.is_muted())
}

/// What is said of each workload, container and reason, in the order in which it was said first.
struct Sentences {
    rows: Vec<Row>,
    places: HashMap<(Arc<WorkloadKey>, Box<str>, ReasonName), usize>,
}

struct Row {
    workload_key: Arc<WorkloadKey>,
    container: Box<str>,
    reason: ReasonName,
    said: Vec<Said>,
}

/// One sentence, of the first that says it, and how many pods it is true of.
struct Said {
    first: Arc<CompactFinding>,
    pods: u64,
}

/// Different sentences about one workload, container and reason that are told apart.
const MAX_SAID: usize = 20;

impl Sentences {
    fn add(&mut self, workload_key: &Arc<WorkloadKey>, f: &Arc<CompactFinding>) {
        let key = (Arc::clone(workload_key), f.container.clone(), f.reason.clone());
        let place = *self.places.entry(key).or_insert_with_key(|(workload_key, container, reason)| {
            let (workload_key, container) = (Arc::clone(workload_key), container.clone());
            self.rows.push(Row {
                workload_key,
                container,
                reason: reason.clone(),
                said: Vec::with_capacity(1),
            });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(place) else { return };
        let key = |f: &CompactFinding| (f.cause, f.severity);
        let same = |s: &Said| s.first.steady == f.steady && key(&s.first) == key(f);
        if let Some(said) = row.said.iter_mut().find(|said| same(said)) {
            said.pods += 1;
        } else if row.said.len() < MAX_SAID {
            row.said.push(Said { first: Arc::clone(f), pods: 1 });
        }
    }
}

impl Row {
    /// What is true of most pods; of two such, the one that comes first in the alphabet.
    fn most_said(&self) -> Option<&Said> {
        let rank = |s: &Said| (Reverse(s.pods), s.first.steady.clone(), s.first.cause, s.first.severity);
        self.said.iter().min_by_key(|said| rank(said))
    }
}

/// A workload with the pods of each reason, and the first finding that has it.
struct UnhealthyWorkload {
    key: Arc<WorkloadKey>,
    by_reason: Vec<(Arc<CompactFinding>, u64)>,
}

/// How many pods are unhealthy, by workload and by cause. Each pod counts once per reason and once per cause, however many
/// of its containers have it.
struct Counts {
    /// In the order in which their first pods became unhealthy.
    workloads: Vec<UnhealthyWorkload>,
    places: HashMap<Arc<WorkloadKey>, usize>,
    causes: HashMap<(CauseCode, Scope), Reach>,
    sentences: Sentences,
}

/// How many pods have a cause, and which workloads.
#[derive(Default)]
struct Reach {
    pods: u64,
    workloads: HashSet<Arc<WorkloadKey>>,
}

impl Counts {
    fn with_capacity(incidents: usize) -> Self {
        let places = HashMap::with_capacity_and_hasher(incidents, Default::default());
        let sentences = Sentences { rows: Vec::with_capacity(incidents), places };
        let places = HashMap::with_capacity_and_hasher(incidents, Default::default());
        Self { workloads: Vec::with_capacity(incidents), places, causes: HashMap::default(), sentences }
    }

    fn add<'i>(
        &mut self,
        workload_key: &Arc<WorkloadKey>,
        incidents: impl Iterator<Item = &'i Incident> + Clone,
    ) {
        for (at, incident) in incidents.clone().enumerate() {
            let f = &incident.compact;
            self.sentences.add(workload_key, f);
            let before = || incidents.clone().take(at).map(|i| &*i.compact);
            if before().all(|b| b.reason != f.reason) {
                self.count_reason(workload_key, f);
            }
            if let Some(scope) = f.scope.as_deref()
                && before().all(|b| (b.cause, b.scope.as_deref()) != (f.cause, Some(scope)))
            {
                let reach = self.causes.entry((f.cause, scope.clone())).or_default();
                reach.pods += 1;
                reach.workloads.insert(Arc::clone(workload_key));
            }
        }
    }

    fn count_reason(&mut self, workload_key: &Arc<WorkloadKey>, f: &Arc<CompactFinding>) {
        let place = match self.places.entry(Arc::clone(workload_key)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let by_reason = Vec::with_capacity(1);
                self.workloads.push(UnhealthyWorkload { key: Arc::clone(workload_key), by_reason });
                *new.insert(self.workloads.len() - 1)
            }
        };
        let Some(UnhealthyWorkload { by_reason, .. }) = self.workloads.get_mut(place) else { return };
        match by_reason.iter_mut().find(|(first, _)| first.reason == f.reason) {
            Some((_, pods)) => *pods += 1,
            None => by_reason.push((Arc::clone(f), 1)),
        }
    }
}
