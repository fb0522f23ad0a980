//! Follows workloads by watch until their outcome is certain: they are ready, or they cannot become ready without a change, or
//! the time is up; and shows pods for as long as somebody looks. What is wrong is found by the analyzer that `diagnose` and the daemon use.
//!
//! Must not know how an outcome is shown.

mod rollout;
mod store;
mod watch;
mod watching;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;

use self::rollout::Progress;
use self::store::Store;
pub use self::watch::{Looks, Seen};
use self::watching::{View, Watching};
pub use crate::cluster::clock::Clock;
use crate::cluster::watch::Resource;
use crate::diagnosis::{Family, Finding, Reason, Severity, Snapshot, Stage, Survey};
use crate::objects::{Job, ObjectMeta, Pod, Revision, Workload};
use crate::select::{self, Kind, Selection, Target, revisions_that_matter};

/// Which failures end the waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// Every failure that has lasted longer than its grace.
    Strict,
    /// Those that cannot heal by themselves.
    #[default]
    Usual,
    /// None: only the time.
    Patient,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// What to wait for: objects by name, and what others stand for.
    pub targets: Vec<Target>,
    pub timeout: Duration,
    pub patience: Patience,
}

kubehealer_core::words! {
    /// How it came out.
    pub enum Verdict {
        /// All of it is ready.
        Ready = "ready",
        /// Something cannot become ready.
        Failed = "failed",
        /// The time is up.
        TimedOut = "timeout",
    }
}

kubehealer_core::words! {
    /// How it stands with one object.
    pub enum State {
        /// It is ready.
        Ready = "ready",
        /// It is not ready yet.
        Waiting = "waiting",
        /// It cannot become ready.
        Failed = "failed",
    }
}

/// How it stands with one object that is waited for.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub state: State,
    /// It no longer runs: it has completed or has failed.
    pub over: bool,
    /// How far it is, or why it cannot become ready.
    pub text: String,
    /// What is wrong with it and with its newest pods; worst first.
    pub findings: Vec<Finding>,
    /// Its newest pods, each with how it stands with it; unhealthy ones first.
    pub pods: Vec<PodLine>,
}

/// A pod in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodLine {
    pub ready: bool,
    pub name: String,
    pub text: String,
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// How it came out, and what was seen then.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub items: Vec<Item>,
    pub snapshot: Snapshot,
    pub observed_at: Timestamp,
    /// What could not be read, in words.
    pub notes: Vec<String>,
    pub elapsed: Duration,
}

impl Outcome {
    /// The findings of what is not ready.
    pub fn survey(&self) -> Survey {
        let findings = self.items.iter().filter(|i| i.state != State::Ready).flat_map(|i| i.findings.clone());
        Survey::of(findings.collect(), self.snapshot.pods.len(), self.observed_at)
    }
}

/// Why nothing can be said: what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouldNotLook {
    pub what: String,
    pub hint: String,
}

/// Waits. `progress` is called after each look.
pub async fn follow(
    client: &Client,
    settings: &Settings,
    clock: &Clock,
    mut progress: impl FnMut(&[Item], Duration),
) -> Result<Outcome, CouldNotLook> {
    let started = Instant::now();
    let deadline = started + settings.timeout;
    let mut watching = Watching::new(client, &namespaces(&settings.targets), &kinds(&settings.targets));
    let selection = Selection { targets: settings.targets.clone(), ..Selection::default() };
    let mut revisions: Option<Vec<Revision>> = None;
    let mut is_known = false;
    loop {
        let is_late = Instant::now() >= deadline;
        let mut names = BTreeSet::new();
        let narrow = |snapshot: &mut Snapshot| {
            names = select::names(snapshot, None);
            selection.narrow(snapshot);
        };
        let view = watching.view(clock, narrow, revisions.as_deref().unwrap_or_default(), deadline).await?;
        if let Some(view) = view {
            let look = Look { view, names };
            let items = look.items(&watching.store, settings, is_known)?;
            is_known = true;
            progress(&items, started.elapsed());
            let is = |state| move |item: &Item| item.state == state;
            let verdict = if items.iter().all(is(State::Ready)) {
                Some(Verdict::Ready)
            } else if items.iter().any(is(State::Failed)) {
                Some(Verdict::Failed)
            } else {
                is_late.then_some(Verdict::TimedOut)
            };
            let View { seen, survey, now } = look.view;
            if verdict.is_some_and(|verdict| verdict != Verdict::Ready) && revisions.is_none() {
                // What changed is told with the outcome.
                let wanted = revisions_that_matter(&survey, &seen.snapshot);
                revisions = Some(watching.revisions(wanted).await);
                continue;
            }
            if let Some(verdict) = verdict {
                let (notes, elapsed) = (watching.notes(), started.elapsed());
                return Ok(Outcome {
                    verdict,
                    items,
                    snapshot: seen.snapshot,
                    observed_at: now,
                    notes,
                    elapsed,
                });
            }
        } else if is_late {
            let why = watching.store.trouble().map_or(String::new(), |(why, _)| format!(": {why}"));
            let what = format!("pods could not be listed in {} s{why}", settings.timeout.as_secs());
            return Err(CouldNotLook {
                what,
                hint: "is the API server reachable? see: kubectl get pods".to_owned(),
            });
        }
        watching.pause(deadline).await;
    }
}

/// The namespaces to watch; none for all of them.
fn namespaces(targets: &[Target]) -> Vec<String> {
    let own: Option<BTreeSet<String>> = targets.iter().map(|target| target.namespace.clone()).collect();
    own.unwrap_or_default().into_iter().collect()
}

/// The kinds of owners to watch.
fn kinds(targets: &[Target]) -> Vec<Kind> {
    let mut kinds = BTreeSet::new();
    for target in targets {
        kinds.extend(match target.known_kind() {
            Some(Kind::Pod) => [].as_slice(),
            Some(Kind::Deployment) => &[Kind::Deployment, Kind::ReplicaSet],
            Some(Kind::Rollout) => &[Kind::Rollout, Kind::ReplicaSet],
            Some(Kind::CronJob) => &[Kind::CronJob, Kind::Job],
            Some(Kind::ReplicaSet) => &[Kind::ReplicaSet],
            Some(Kind::StatefulSet) => &[Kind::StatefulSet],
            Some(Kind::DaemonSet) => &[Kind::DaemonSet],
            Some(Kind::Job) => &[Kind::Job],
            _ => OWNERS,
        });
    }
    kinds.into_iter().collect()
}

/// The kinds of owners that every cluster has.
const OWNERS: &[Kind] =
    &[Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

/// One look at what the watches show, narrowed to what is waited for.
struct Look {
    view: View,
    /// All names, for a guess.
    names: BTreeSet<String>,
}

impl Look {
    fn workloads(&self, kind: Kind) -> &[Workload] {
        match kind {
            Kind::Deployment => &self.view.seen.snapshot.deployments,
            Kind::ReplicaSet => &self.view.seen.snapshot.replica_sets,
            Kind::StatefulSet => &self.view.seen.snapshot.stateful_sets,
            Kind::DaemonSet => &self.view.seen.snapshot.daemon_sets,
            Kind::Rollout => &self.view.seen.rollouts,
            _ => &[],
        }
    }

    /// The metadata of all objects of a kind.
    fn metas(&self, kind: Kind) -> Vec<&ObjectMeta> {
        let snapshot = &self.view.seen.snapshot;
        match kind {
            Kind::Pod => snapshot.pods.iter().map(|pod| &pod.metadata).collect(),
            Kind::Job => snapshot.jobs.iter().map(|job| &job.metadata).collect(),
            Kind::CronJob => snapshot.cron_jobs.iter().map(|job| &job.metadata).collect(),
            _ => self.workloads(kind).iter().map(|workload| &workload.metadata).collect(),
        }
    }

    /// What is waited for: the objects that are named, and the top owners of the pods that are selected otherwise.
    fn subjects(
        &self,
        store: &Store,
        targets: &[Target],
        is_known: bool,
    ) -> Result<BTreeSet<Subject>, CouldNotLook> {
        let mut subjects = BTreeSet::new();
        let mut selects = false;
        for target in targets {
            let Some(kind) = target.known_kind().filter(|kind| is_waited_for(*kind)) else {
                selects = true;
                continue;
            };
            let place = target.namespace.as_ref();
            let mut named = self.metas(kind);
            named.retain(|meta| {
                meta.name == target.name && place.is_none_or(|place| *place == meta.namespace)
            });
            subjects.extend(named.iter().map(|meta| Subject::new(kind.name(), &meta.namespace, &meta.name)));
            let resource = resource_of(kind);
            if named.is_empty() && resource.is_none_or(|resource| store.has(resource)) {
                let place = place.map_or(String::new(), |place| format!(" in namespace {place}"));
                let what = if is_known { "has been deleted" } else { "not found" };
                let near = select::near_target(target, &self.names);
                let hint = match resource.filter(|_| near.is_empty() && !is_known) {
                    Some(Resource { plural, .. }) => {
                        format!("is it in another namespace? see: kubectl get {plural} -A")
                    }
                    None => select::did_you_mean(&near),
                };
                return Err(CouldNotLook { what: format!("{target}: {what}{place}"), hint });
            }
            if named.is_empty() {
                // Its kind cannot be read: its pods are all there is.
                subjects.insert(Subject::new(kind.name(), place.map_or("", String::as_str), &target.name));
            }
        }
        if selects {
            let owners = select::controllers(&self.view.seen.snapshot);
            for pod in &self.view.seen.snapshot.pods {
                if let Some((kind, name)) =
                    select::owners(pod, &owners).iter().rfind(|(kind, _)| *kind != "Node")
                {
                    subjects.insert(Subject::new(kind, &pod.metadata.namespace, name));
                }
            }
            for kind in OWNERS {
                let metas = self.metas(*kind);
                let own = metas.into_iter().filter(|meta| {
                    meta.controller().is_none() && targets.iter().any(|target| target.has_workload(meta))
                });
                subjects.extend(own.map(|meta| Subject::new(kind.name(), &meta.namespace, &meta.name)));
            }
        }
        if subjects.is_empty() {
            let what = "nothing to wait for: no object is selected".to_owned();
            return Err(CouldNotLook { what, hint: "see: kubectl get pods --show-labels".to_owned() });
        }
        Ok(subjects)
    }

    fn items(&self, store: &Store, settings: &Settings, is_known: bool) -> Result<Vec<Item>, CouldNotLook> {
        let subjects = self.subjects(store, &settings.targets, is_known)?;
        Ok(subjects.into_iter().map(|subject| self.item(subject, settings.patience)).collect())
    }

    fn item(&self, subject: Subject, patience: Patience) -> Item {
        let Stand { progress, pods } = self.stand(&subject);
        let of_pods: BTreeSet<&str> = pods.iter().map(|pod| pod.metadata.uid.as_str()).collect();
        let findings: Vec<Finding> = self
            .view
            .survey
            .findings
            .iter()
            .filter(|f| f.stage != Stage::Recovered && !progress.stale)
            .filter(|f| of_pods.contains(f.uid.as_str()) || f.pod.is_empty() && self.is_about(f, &subject))
            .cloned()
            .collect();
        let has_controller =
            |uid: &str| pods.iter().any(|p| p.metadata.uid == uid && p.metadata.controller().is_some());
        let ends = |f: &&Finding| match patience {
            // The controller makes another pod.
            _ if subject.kind != "Pod" && is_of_ended_pod(f) && has_controller(&f.uid) => false,
            Patience::Patient => false,
            Patience::Usual => f.is_final(),
            Patience::Strict => f.is_final() || f.is_active() && f.severity > Severity::Info,
        };
        // Of these the progress itself takes that into account.
        let is_whole = subject.kind == "Pod" || self.job(&subject).is_some();
        let unsettled = pods.iter().find(|pod| !is_whole && !rollout::is_settled(pod, self.view.now));
        let has_failed = progress.over && !progress.ready && patience != Patience::Patient;
        let (state, text) = match (progress.ready, findings.iter().find(ends), unsettled) {
            (false, ..) if has_failed => {
                (State::Failed, findings.first().map_or(progress.text, |finding| finding.summary.clone()))
            }
            (true, _, None) => (State::Ready, progress.text),
            (_, Some(finding), _) => (State::Failed, finding.summary.clone()),
            (true, None, Some(pod)) => (
                State::Waiting,
                format!("{}; pod {} has only just started", progress.text, pod.metadata.name),
            ),
            (false, None, _) => (State::Waiting, progress.text),
        };
        let mut pods: Vec<PodLine> = pods.iter().map(|pod| line(pod, &findings)).collect();
        pods.sort();
        let Subject { kind, namespace, name } = subject;
        Item { kind, namespace, name, state, over: progress.over, text, findings, pods }
    }

    /// How far a subject is, and its pods of the newest revision.
    fn stand(&self, subject: &Subject) -> Stand<'_> {
        let pods = self.pods_of(subject);
        let is_it = |meta: &ObjectMeta| meta.namespace == subject.namespace && meta.name == subject.name;
        let kind = Kind::of(&subject.kind);
        if let Some(job) = self.job(subject) {
            let own = |pod: &&Pod| pod.metadata.controller().is_some_and(|o| o.uid == job.metadata.uid);
            return Stand { progress: rollout::job(job), pods: pods.into_iter().filter(own).collect() };
        }
        if let (Some(Kind::Pod), Some(pod)) = (kind, pods.first()) {
            return Stand { progress: rollout::pod(pod, self.view.now), pods };
        }
        let own = |kind| self.workloads(kind).iter().find(|workload| is_it(&workload.metadata));
        if let Some((kind, workload)) = kind.and_then(|kind| Some((kind, own(kind)?))) {
            return Stand {
                progress: rollout::workload(kind, workload),
                pods: self.newest(kind, workload, pods),
            };
        }
        let all = pods.len();
        let pods = newest_by_age(pods);
        Stand { progress: rollout::pods(&pods, all - pods.len(), self.view.now), pods }
    }

    /// The pods of a subject that are neither over nor being deleted; a pod that is asked for by its name counts as it is.
    fn pods_of(&self, subject: &Subject) -> Vec<&Pod> {
        let owners = select::controllers(&self.view.seen.snapshot);
        let own = |pod: &&Pod| {
            // A failed pod of a controller is only kept for inspection.
            let is_left = pod.status.phase == "Failed" || pod.metadata.deletion_timestamp.is_known();
            pod.metadata.namespace == subject.namespace
                && (!is_left || subject.kind == "Pod")
                && select::owners(pod, &owners).contains(&(subject.kind.as_str(), subject.name.as_str()))
        };
        self.view.seen.snapshot.pods.iter().filter(own).collect()
    }

    /// A Job, or the newest one of a CronJob.
    fn job(&self, subject: &Subject) -> Option<&Job> {
        let jobs =
            self.view.seen.snapshot.jobs.iter().filter(|job| job.metadata.namespace == subject.namespace);
        jobs.filter(|job| match subject.kind.as_str() {
            "Job" => job.metadata.name == subject.name,
            "CronJob" => {
                job.metadata.controller().is_some_and(|o| o.kind == "CronJob" && o.name == subject.name)
            }
            _ => false,
        })
        .max_by_key(|job| job.metadata.creation_timestamp.get())
    }

    /// Those of these pods that are of the newest revision.
    fn newest<'p>(&self, kind: Kind, workload: &Workload, pods: Vec<&'p Pod>) -> Vec<&'p Pod> {
        if let Some((label, value)) = rollout::newest_revision(kind, workload) {
            return pods.into_iter().filter(|pod| pod.metadata.label(label) == Some(value)).collect();
        }
        let revision =
            |meta: &ObjectMeta| meta.annotation(crate::objects::Annotation::REVISION).map(str::to_owned);
        let set = self.view.seen.snapshot.replica_sets.iter().find(|set| {
            kind == Kind::Deployment
                && set.metadata.controller().is_some_and(|o| o.uid == workload.metadata.uid)
                && revision(&set.metadata) == revision(&workload.metadata)
        });
        match set {
            Some(set) => {
                let own = |pod: &&Pod| pod.metadata.controller().is_some_and(|o| o.uid == set.metadata.uid);
                pods.into_iter().filter(own).collect()
            }
            None => newest_by_age(pods),
        }
    }

    /// Whether a finding that is about no pod is about this subject.
    fn is_about(&self, finding: &Finding, subject: &Subject) -> bool {
        let is = |kind: &str, name: &str| {
            finding.workload.as_ref().is_some_and(|w| w.kind == kind && w.name == name)
        };
        if finding.namespace != subject.namespace {
            return false;
        }
        let Some(job) = self.job(subject) else { return is(&subject.kind, &subject.name) };
        let owner = job
            .metadata
            .controller()
            .map_or((subject.kind.as_str(), subject.name.as_str()), |o| (&o.kind, &o.name));
        // What an earlier Job of the CronJob came to is past.
        is(owner.0, owner.1) && !rollout::job(job).ready && (rollout::has_failed(job) || job.lacks_pods())
    }
}

/// Whether a finding is about a pod that does not run any more.
fn is_of_ended_pod(finding: &Finding) -> bool {
    finding.reason.known().is_some_and(|reason| {
        reason.family() == Family::End || matches!(reason, Reason::Error | Reason::ContainerStatusUnknown)
    })
}

/// How far something is, and its pods of the newest revision.
struct Stand<'p> {
    progress: Progress,
    pods: Vec<&'p Pod>,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

impl Subject {
    fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Whether the object itself says when it is ready; others stand for the pods that they select.
fn is_waited_for(kind: Kind) -> bool {
    OWNERS.contains(&kind) || matches!(kind, Kind::Pod | Kind::Rollout)
}

fn resource_of(kind: Kind) -> Option<Resource> {
    Some(match kind {
        Kind::Pod => Resource::PODS,
        Kind::Deployment => Resource::DEPLOYMENTS,
        Kind::ReplicaSet => Resource::REPLICA_SETS,
        Kind::StatefulSet => Resource::STATEFUL_SETS,
        Kind::DaemonSet => Resource::DAEMON_SETS,
        Kind::Rollout => Resource::ROLLOUTS,
        Kind::Job => Resource::JOBS,
        Kind::CronJob => Resource::CRON_JOBS,
        _ => return None,
    })
}

/// The pods of the revision that the newest pod is of: they have its controller and, where that makes all revisions itself, its label.
fn newest_by_age(pods: Vec<&Pod>) -> Vec<&Pod> {
    let revision = |pod: &Pod| {
        let meta = &pod.metadata;
        let hash = meta.label("controller-revision-hash").map(str::to_owned);
        (meta.controller().map(|owner| owner.uid.clone()), hash)
    };
    let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.get());
    let Some(newest) = newest.map(|pod| revision(pod)) else { return pods };
    pods.into_iter().filter(|pod| revision(pod) == newest).collect()
}

/// A pod in one line: what is wrong with it, or how far it is.
fn line(pod: &Pod, findings: &[Finding]) -> PodLine {
    let ready = rollout::is_ready(pod) || pod.status.phase == "Succeeded";
    let wrong = findings.iter().find(|f| f.uid == pod.metadata.uid).map(|f| f.summary.clone());
    let waiting = || {
        let states = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
        states
            .filter_map(|c| Some(c.state.waiting.as_ref()?.reason.clone()))
            .find(|reason| !reason.is_empty())
    };
    let text = match (wrong, ready) {
        (Some(wrong), _) => wrong,
        (None, true) => "ready".to_owned(),
        (None, false) => waiting().unwrap_or_else(|| format!("{}, not ready", pod.status.phase)),
    };
    PodLine { ready, name: pod.metadata.name.clone(), text }
}
