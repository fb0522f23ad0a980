//! Owners of pods: who a pod's top controller is, and workloads that lack pods, do not get on with a rollout, or have
//! failed for good.
//!
//! A workload that wants pods and has none cannot be seen in any pod: it is explained here. Jobs are judged at the Job:
//! a failed pod of one may be a try that it allows for; a later success of its CronJob ends the matter.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;

use super::cause::CauseCode;
use super::changes::predecessor;
use super::context::oldest_first;
use super::draft::{self, Look};
use super::finding::{Confidence, Finding, Source, Stage, WorkloadRef};
use super::reason::{Reason, Severity};
use super::refused;
use super::text;
use crate::objects::node::NodeCondition;
use crate::objects::{Annotation, CronJob, Event, Job, ObjectMeta, Pod, Workload};

/// How many failing pods of a workload are quoted as evidence.
const QUOTED_PODS: usize = 3;

/// The findings of the pods of a workload, by its namespace: always in the same order for the same ones, since not all are
/// quoted. Asked for only where they are.
pub type PodsOf<'p> = dyn Fn(&str, &WorkloadRef) -> Vec<Finding> + 'p;

type Names<T> = HashMap<String, HashMap<String, T>>;

/// The owners that are known, by kind, namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    workloads: HashMap<&'static str, Names<Workload>>,
    jobs: Names<Job>,
    cron_jobs: Names<CronJob>,
}

/// Kinds that [`Owners::apply`] takes.
pub const WORKLOAD_KINDS: [&str; 4] = ["ReplicaSet", "Deployment", "StatefulSet", "DaemonSet"];

fn put<T>(names: &mut Names<T>, meta: &ObjectMeta, object: T) {
    names.entry(meta.namespace.clone()).or_default().insert(meta.name.clone(), object);
}

fn take<T>(names: &mut Names<T>, namespace: &str, name: &str) -> Option<T> {
    let inner = names.get_mut(namespace)?;
    let found = inner.remove(name);
    if inner.is_empty() {
        names.remove(namespace);
    }
    found
}

impl Owners {
    /// Takes in a ReplicaSet, Deployment, StatefulSet or DaemonSet; `kind` is one of [`WORKLOAD_KINDS`].
    pub fn apply(&mut self, kind: &'static str, workload: Workload) {
        let meta = workload.metadata.clone();
        put(self.workloads.entry(kind).or_default(), &meta, workload);
    }

    /// Takes in a Job.
    pub fn apply_job(&mut self, job: Job) {
        let meta = job.metadata.clone();
        put(&mut self.jobs, &meta, job);
    }

    /// Takes in a CronJob.
    pub fn apply_cron_job(&mut self, cron_job: CronJob) {
        let meta = cron_job.metadata.clone();
        put(&mut self.cron_jobs, &meta, cron_job);
    }

    /// Forgets an owner of any kind.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        match kind {
            "Job" => drop(take(&mut self.jobs, namespace, name)),
            "CronJob" => drop(take(&mut self.cron_jobs, namespace, name)),
            _ => {
                if let Some(names) = self.workloads.get_mut(kind) {
                    take(names, namespace, name);
                }
            }
        }
    }

    /// A workload by kind and name.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Workload> {
        self.workloads.get(kind)?.get(namespace)?.get(name)
    }

    /// A Job by name.
    pub fn job(&self, namespace: &str, name: &str) -> Option<&Job> {
        self.jobs.get(namespace)?.get(name)
    }

    /// The metadata of a workload of any kind that is known.
    pub fn meta(&self, namespace: &str, workload: &WorkloadRef) -> Option<&ObjectMeta> {
        let name = workload.name.as_str();
        match workload.kind.as_str() {
            "Job" => self.job(namespace, name).map(|job| &job.metadata),
            "CronJob" => self.cron_jobs.get(namespace)?.get(name).map(|cron_job| &cron_job.metadata),
            kind => self.get(kind, namespace, name).map(|workload| &workload.metadata),
        }
    }

    /// The Deployments whose newest revision is not ready while older ones serve: namespace, name, and how many pods of older ones
    /// are ready.
    pub fn served_by_older_revisions(&self) -> Vec<(&str, &str, i32)> {
        let mut revisions: HashMap<(&str, &str), Vec<(i64, &Workload)>> = HashMap::new();
        let sets = self.workloads.get("ReplicaSet").into_iter().flat_map(HashMap::values);
        for set in sets.flat_map(HashMap::values) {
            let meta = &set.metadata;
            let Some(owner) = meta.controller().filter(|owner| owner.kind == "Deployment") else { continue };
            // A set without pods may be the newest one, whose pods are refused.
            let revision = meta.annotation(Annotation::REVISION).and_then(|r| r.parse().ok());
            let Some(revision) = revision.filter(|_| set.wanted() > 0 || set.ready() > 0) else { continue };
            revisions.entry((&meta.namespace, &owner.name)).or_default().push((revision, set));
        }
        let served = revisions.into_iter().filter_map(|((namespace, name), mut sets)| {
            sets.sort_unstable_by_key(|(revision, _)| *revision);
            let (_, newest) = sets.pop()?;
            let older = sets.iter().map(|(_, set)| set.ready()).sum();
            (newest.ready() < newest.wanted() && older > 0).then_some((namespace, name, older))
        });
        served.collect()
    }

    /// How many owners are known.
    pub fn len(&self) -> usize {
        let count = |n: usize| n;
        self.workloads.values().flat_map(HashMap::values).map(HashMap::len).sum::<usize>()
            + self.jobs.values().map(HashMap::len).map(count).sum::<usize>()
            + self.cron_jobs.values().map(HashMap::len).map(count).sum::<usize>()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The top controller of a pod: from the owners themselves where they are known, else from names alone.
    pub fn workload_of(&self, pod: &Pod) -> WorkloadRef {
        let guess = draft::workload_of(pod);
        let namespace = pod.metadata.namespace.as_str();
        let above = |meta: &ObjectMeta| meta.controller().map(|o| (o.kind.clone(), o.name.clone()));
        let top = pod.metadata.controller().and_then(|owner| match owner.kind.as_str() {
            "ReplicaSet" => {
                self.get("ReplicaSet", namespace, &owner.name).map(|w| (owner, above(&w.metadata)))
            }
            "Job" => self.job(namespace, &owner.name).map(|j| (owner, above(&j.metadata))),
            _ => None,
        });
        match top {
            Some((_, Some((kind, name)))) => WorkloadRef { kind: text::name(&kind), name: text::name(&name) },
            Some((owner, None)) => {
                WorkloadRef { kind: text::name(&owner.kind), name: text::name(&owner.name) }
            }
            None => guess,
        }
    }

    /// The ReplicaSet of a pod, and that of the revision before it.
    pub fn revisions_of(&self, pod: &Pod) -> Option<[&Workload; 2]> {
        let owner = pod.metadata.controller().filter(|owner| owner.kind == "ReplicaSet")?;
        let sets = self.workloads.get("ReplicaSet")?.get(&pod.metadata.namespace)?;
        let own = sets.get(&owner.name)?;
        Some([own, predecessor(own, sets.values())?])
    }

    /// Whether the controller of a pod has all the pods that it wants, and all of them ready: then one of its pods that has
    /// failed is only kept for inspection.
    pub fn have_replaced(&self, pod: &Pod) -> bool {
        let Some(owner) = pod.metadata.controller() else { return false };
        let workload = self.get(&owner.kind, &pod.metadata.namespace, &owner.name);
        workload.is_some_and(|w| w.metadata.uid == owner.uid && w.wanted() > 0 && w.ready() >= w.wanted())
    }

    /// Looks at all owners. `events_of` gives the events about an object by its uid.
    pub fn diagnose<'e>(
        &self,
        events_of: &dyn Fn(&str) -> Cow<'e, [Event]>,
        pods_of: &PodsOf<'_>,
        now: Timestamp,
    ) -> (Vec<Finding>, Option<Timestamp>) {
        let mut look = Look::at(now);
        let mut findings = Vec::new();
        for kind in WORKLOAD_KINDS {
            for names in self.workloads.get(kind).into_iter().flat_map(HashMap::values) {
                for workload in names.values() {
                    let events = events_of(&workload.metadata.uid);
                    findings.extend(self.workload(kind, workload, &events, pods_of, &mut look));
                }
            }
        }
        for jobs in self.jobs.values() {
            for job in jobs.values().filter(|j| self.is_newest_of_its_cron_job(j)) {
                findings.extend(self.failed_job(job, pods_of, &mut look));
            }
            for job in jobs.values() {
                findings.extend(self.podless_job(job, &events_of(&job.metadata.uid), &mut look));
            }
        }
        for cron_job in self.cron_jobs.values().flat_map(HashMap::values) {
            let events = events_of(&cron_job.metadata.uid);
            findings.extend(self.jobless_cron_job(cron_job, &events, &mut look));
        }
        (findings, look.done(Vec::new()).recheck)
    }

    /// Looks at one ReplicaSet, Deployment, StatefulSet or DaemonSet.
    pub fn workload(
        &self,
        kind: &str,
        workload: &Workload,
        events: &[Event],
        pods_of: &PodsOf<'_>,
        look: &mut Look,
    ) -> Option<Finding> {
        let meta = &workload.metadata;
        if meta.deletion_timestamp.is_known() {
            return None;
        }
        let mut of = WorkloadRef { kind: kind.to_owned(), name: text::name(&meta.name) };
        let deployment = meta.controller().filter(|o| kind == "ReplicaSet" && o.kind == "Deployment");
        if let Some(owner) = deployment {
            // A ReplicaSet's failure is told of its Deployment, which copies the condition, some time later.
            let told = self.get("Deployment", &meta.namespace, &owner.name);
            if told.is_none_or(|d| d.condition("ReplicaFailure").is_some_and(|c| c.status == "True")) {
                return None;
            }
            of = WorkloadRef { kind: "Deployment".to_owned(), name: text::name(&owner.name) };
        }
        if let Some(condition) = workload.condition("ReplicaFailure").filter(|c| c.status == "True") {
            let since = condition.last_transition_time.get();
            let mut finding = refused::failed_create(
                "pods",
                meta,
                &of,
                &condition.message,
                Some((workload.ready(), workload.wanted())),
            );
            finding.add(
                Source::Owner,
                format!(
                    "ReplicaFailure {}: {}",
                    text::name(&condition.reason),
                    text::quote(&condition.message)
                ),
                since,
            );
            return Some(finding.grace(since, None, look));
        }
        // StatefulSets and DaemonSets have no such condition: only their events tell.
        let refused = events
            .iter()
            .filter(|e| e.reason == "FailedCreate" && e.is_warning())
            .max_by(|a, b| oldest_first(a, b))
            .filter(|_| workload.pods() < workload.wanted() && workload.ready() < workload.wanted())
            .filter(|refused| {
                let made =
                    events.iter().filter(|e| e.reason == "SuccessfulCreate").filter_map(Event::last_seen);
                kind != "ReplicaSet" || made.max() < refused.last_seen()
            });
        if kind != "Deployment"
            && let Some(event) = refused
        {
            let mut finding = refused::failed_create(
                "pods",
                meta,
                &of,
                &event.message,
                Some((workload.ready(), workload.wanted())),
            );
            finding.add_event(event);
            return Some(finding.grace(event.first_seen(), None, look));
        }
        let stuck = workload
            .condition("Progressing")
            .filter(|c| c.status == "False" && c.reason == "ProgressDeadlineExceeded")?;
        Some(self.stuck_rollout(workload, of, stuck, pods_of))
    }

    fn stuck_rollout(
        &self,
        deployment: &Workload,
        of: WorkloadRef,
        condition: &NodeCondition,
        pods_of: &PodsOf<'_>,
    ) -> Finding {
        let meta = &deployment.metadata;
        let name = of.name.clone();
        let namespace = meta.namespace.as_str();
        let new = text::between(&condition.message, "ReplicaSet \"", "\"").unwrap_or_default();
        let sets = self.workloads.get("ReplicaSet").and_then(|n| n.get(namespace));
        let own = sets.into_iter().flat_map(HashMap::values).filter(|rs| {
            rs.metadata.controller().is_some_and(|o| o.uid == meta.uid)
                && rs.metadata.name != new
                && rs.status.replicas > 0
        });
        let old_ready: i32 = own.map(Workload::ready).sum();
        let new_set = sets.and_then(|s| s.get(new));
        let (new_ready, new_wanted) =
            new_set.map_or((0, deployment.wanted()), |rs| (rs.ready(), rs.wanted()));
        let new = text::name(new);
        let serving = if old_ready > 0 {
            format!("the old revision still serves with {old_ready} of {} pods", deployment.wanted())
        } else {
            "no pod of an older revision is ready".to_owned()
        };
        let mut finding = Finding::of_object(meta, Reason::ProgressDeadlineExceeded)
            .summary(format!(
                "rollout of Deployment {name} is stuck: {new} has {new_ready} of {new_wanted} pods ready"
            ))
            .cause(
                CauseCode::BadRevision,
                format!("revision {new} does not become ready within its progress deadline"),
            )
            .scope("revision", format!("{namespace}/{new}"));
        let pods = pods_of(namespace, &of);
        finding.workload = Some(of);
        finding.since = condition.last_transition_time.get();
        if old_ready == 0 && new_ready == 0 && deployment.wanted() > 0 {
            finding.severity = Severity::Critical;
        }
        finding.add(Source::Owner, text::quote(&condition.message), condition.last_transition_time.get());
        if let Some(revision) = new_set.and_then(|rs| rs.metadata.annotation(Annotation::REVISION)) {
            finding.add(Source::Owner, format!("{new} is revision {}", text::name(revision)), None);
        }
        let of_new: Vec<&Finding> = pods.iter().filter(|f| f.pod.starts_with(&format!("{new}-"))).collect();
        quote_pods(&mut finding, of_new.iter().copied());
        if let Some(first) = of_new.first() {
            finding.cause.text = format!("{}: {}", finding.cause.text, first.cause.text);
            finding.summary = format!("{}: {}", finding.summary, text::head(first.brief(), 240));
        }
        finding.summary = format!("{}; {serving}", finding.summary);
        // What is to be done about its pods is what is to be done about it.
        let mut steps: Vec<String> = of_new
            .first()
            .map(|first| first.next_steps.iter().take(2).cloned().collect())
            .unwrap_or_default();
        if old_ready > 0 {
            steps.insert(0, finding.kubectl(&format!("rollout undo deployment/{}", text::arg(&name))));
        }
        if steps.is_empty() {
            steps.push(finding.kubectl(&format!("rollout status deployment/{}", text::arg(&name))));
        }
        steps.into_iter().fold(finding, Finding::next_step)
    }

    /// Of the Jobs of one CronJob only the newest that has ended counts: its success ends the matter, and its failure is
    /// one matter with those before. A Job of its own always counts.
    fn is_newest_of_its_cron_job(&self, job: &Job) -> bool {
        let Some(owner) = job.metadata.controller().filter(|o| o.kind == "CronJob") else { return true };
        let ended = |j: &Job| {
            verdict(j).and_then(|c| c.last_transition_time.get()).or_else(|| j.status.completion_time.get())
        };
        let Some(mine) = ended(job) else { return false };
        let jobs = self.jobs.get(&job.metadata.namespace);
        let siblings = jobs.into_iter().flat_map(HashMap::values).filter(|j| {
            j.metadata.uid != job.metadata.uid && j.metadata.controller().is_some_and(|o| o.uid == owner.uid)
        });
        let newest = siblings.filter_map(|j| Some((ended(j)?, &j.metadata.name))).max();
        let success = self.cron_jobs.get(&job.metadata.namespace).and_then(|c| c.get(&owner.name));
        let success = success.and_then(|c| c.status.last_successful_time.get());
        newest.is_none_or(|n| n < (mine, &job.metadata.name)) && success.is_none_or(|s| s < mine)
    }

    /// A Job that goes on and whose pods are refused: only its events tell.
    pub fn podless_job(&self, job: &Job, events: &[Event], look: &mut Look) -> Option<Finding> {
        let meta = &job.metadata;
        let over = verdict(job).is_some() || job.status.completion_time.is_known();
        if meta.deletion_timestamp.is_known() || job.spec.suspend || over {
            return None;
        }
        let newest =
            |reason: &str| events.iter().filter(|e| e.reason == reason).max_by(|a, b| oldest_first(a, b));
        let refused = newest("FailedCreate").filter(|e| e.is_warning())?;
        if newest("SuccessfulCreate").is_some_and(|made| made.last_seen() >= refused.last_seen()) {
            return None;
        }
        let mut finding = refused::failed_create("pods", meta, &job_workload(job), &refused.message, None);
        finding.add_event(refused);
        Some(finding.grace(refused.first_seen(), None, look))
    }

    /// A CronJob that makes no Job at its time: only its events tell.
    pub fn jobless_cron_job(&self, cron_job: &CronJob, events: &[Event], look: &mut Look) -> Option<Finding> {
        let meta = &cron_job.metadata;
        if meta.deletion_timestamp.is_known() || cron_job.spec.suspend {
            return None;
        }
        let wrong = |e: &&Event| {
            e.is_warning()
                && matches!(
                    e.reason.as_str(),
                    "FailedCreate" | "UnparseableSchedule" | "UnknownTimeZone" | "MissSchedule"
                )
        };
        let event = events.iter().filter(wrong).max_by(|a, b| oldest_first(a, b))?;
        let since_then = cron_job.status.last_schedule_time.get().zip(event.last_seen());
        if since_then.is_some_and(|(made, failed)| made >= failed) {
            return None;
        }
        let of = WorkloadRef { kind: "CronJob".to_owned(), name: text::name(&meta.name) };
        let message = text::uncombined(&event.message);
        let said = text::quote(message);
        let why = match event.reason.as_str() {
            "UnparseableSchedule" => "its schedule is not valid",
            "UnknownTimeZone" => "its timeZone is not known",
            "MissSchedule" => "its startingDeadlineSeconds passed before a Job was created",
            _ => "",
        };
        let mut finding = if why.is_empty() {
            refused::failed_create("Jobs", meta, &of, message, None)
        } else {
            let mut finding = Finding::of_object(meta, Reason::FailedCreate)
                .summary(format!("CronJob {} creates no Jobs: {why}: {}", of.name, text::head(&said, 160)))
                .cause(CauseCode::InvalidConfiguration, format!("{why}: {said}"));
            finding.workload = Some(of.clone());
            if event.reason == "MissSchedule" {
                finding = finding.next_step(
                    "raise startingDeadlineSeconds (below 10 the controller may miss every run), or check whether the controller manager was down",
                );
            }
            let step = finding.kubectl(&format!("describe cronjob {}", text::arg(&of.name)));
            finding.next_step(step)
        };
        finding.add_event(event);
        Some(finding.grace(event.first_seen(), None, look))
    }

    /// Looks at a Job that has failed for good. Its pods are those of its CronJob, if it has one.
    pub fn failed_job(&self, job: &Job, pods_of: &PodsOf<'_>, look: &mut Look) -> Option<Finding> {
        let meta = &job.metadata;
        if meta.deletion_timestamp.is_known() {
            return None;
        }
        let condition = verdict(job)?;
        let reason = match condition.reason.as_str() {
            "DeadlineExceeded" => Reason::JobDeadlineExceeded,
            "PodFailurePolicy" => Reason::PodFailurePolicy,
            "FailedIndexes" | "MaxFailedIndexesExceeded" => Reason::FailedIndexes,
            _ => Reason::BackoffLimitExceeded,
        };
        let of = job_workload(job);
        let since = condition.last_transition_time.get();
        let said = text::quote(&condition.message);
        let name = text::name(&meta.name);
        let (code, why) = why_failed(job, reason);
        let whose = if of.kind == "CronJob" { format!(" of CronJob {}", of.name) } else { String::new() };
        let mut finding = Finding::of_object(meta, reason)
            .summary(format!("Job {name}{whose} has failed: {why}"))
            .cause(code, format!("{why}: {said}"))
            .with(Source::Owner, format!("{}: {said}", text::name(&condition.reason)), since);
        if let Some(owner) = meta.controller().filter(|o| o.kind == "CronJob") {
            // One finding for the CronJob, whichever of its Jobs is the newest.
            finding.uid = text::name(&owner.uid);
        }
        let mut failing = pods_of(&meta.namespace, &of);
        finding.workload = Some(of);
        finding.since = since;
        if let Some(limit) = job.spec.backoff_limit.filter(|_| reason == Reason::BackoffLimitExceeded) {
            finding.add(
                Source::Owner,
                format!("{} of its pods failed, backoffLimit {limit}", job.status.failed),
                None,
            );
        }
        if !job.status.failed_indexes.is_empty() {
            finding.add(
                Source::Owner,
                format!("failed indexes: {}", text::quote(&job.status.failed_indexes)),
                None,
            );
        }
        // Pods of this Job tell most; those of its CronJob's other Jobs tell the same story.
        let own = format!("{name}-");
        // One whose log is read tells more than a newer one.
        let vague =
            |f: &Finding| matches!(f.cause.code, CauseCode::ApplicationError | CauseCode::Unexplained);
        failing
            .sort_by_key(|f| (!f.pod.starts_with(&own), vague(f), std::cmp::Reverse(f.since), f.pod.clone()));
        quote_pods(&mut finding, failing.iter());
        if let Some(first) = failing.first().filter(|_| reason != Reason::JobDeadlineExceeded) {
            finding.cause.text = format!("{}; {}: {}", finding.cause.text, first.container, first.cause.text);
            finding.exit_code = first.exit_code;
            let of = if first.container.is_empty() {
                "its pods".to_owned()
            } else {
                format!("container {}", first.container)
            };
            let cause = text::head(&first.cause.text, 240);
            finding.summary = format!("Job {name}{whose} has failed: {of}: {cause}; {why}");
        } else if failing.is_empty() {
            if reason == Reason::PodFailurePolicy {
                finding.summary = format!("{}: {}", finding.summary, text::head(&said, 240));
            }
            finding.add(Source::Owner, "its pods and their logs are gone", None);
            finding.confidence = Confidence::Probable;
        }
        let logs = finding.kubectl(&format!("logs job/{} --all-containers", text::arg(&name)));
        let describe = finding.kubectl(&format!("describe job {}", text::arg(&name)));
        let _ = look;
        Some(match failing.first() {
            None => finding.next_step(describe),
            Some(first) => {
                // What its pod needs, but for the pod's own log: all of them are asked for.
                let fitting =
                    first.next_steps.iter().filter(|step| !step.contains(" logs ")).take(1).cloned();
                fitting.fold(finding, Finding::next_step).next_step(logs).next_step(describe)
            }
        })
    }
}

/// Why a Job has failed for good, by its own settings.
fn why_failed(job: &Job, reason: Reason) -> (CauseCode, String) {
    match reason {
        Reason::JobDeadlineExceeded => {
            let deadline = job.spec.active_deadline_seconds.map(|s| format!(" of {s}s"));
            let deadline = deadline.unwrap_or_default();
            (CauseCode::DeadlineReached, format!("it ran longer than its activeDeadlineSeconds{deadline}"))
        }
        Reason::PodFailurePolicy => {
            (CauseCode::FailurePolicy, "a rule of its podFailurePolicy failed the Job".to_owned())
        }
        Reason::FailedIndexes => {
            let indexes = text::name(&job.status.failed_indexes);
            let indexes = if indexes.is_empty() { indexes } else { format!(": {indexes}") };
            (CauseCode::TooManyFailures, format!("too many of its indexes failed{indexes}"))
        }
        _ => {
            let limit = job.spec.backoff_limit.map(|l| format!(" of {l}")).unwrap_or_default();
            (
                CauseCode::TooManyFailures,
                format!("more of its pods failed than its backoffLimit{limit} allows"),
            )
        }
    }
}

/// The condition by which a Job has failed for good.
fn verdict(job: &Job) -> Option<&NodeCondition> {
    let find = |kind: &str| job.status.conditions.iter().find(|c| c.kind == kind && c.status == "True");
    find("Failed").or_else(|| find("FailureTarget"))
}

fn job_workload(job: &Job) -> WorkloadRef {
    match job.metadata.controller() {
        Some(owner) => WorkloadRef { kind: text::name(&owner.kind), name: text::name(&owner.name) },
        None => WorkloadRef { kind: "Job".to_owned(), name: text::name(&job.metadata.name) },
    }
}

/// Quotes what the findings of pods say: each sentence once, and how many say it.
fn quote_pods<'a>(finding: &mut Finding, pods: impl Iterator<Item = &'a Finding>) {
    let mut said: Vec<(String, usize)> = Vec::new();
    for pod in pods.filter(|f| f.stage != Stage::Pending) {
        let log = pod
            .evidence
            .iter()
            .find(|e| e.source == Source::Log)
            .map(|e| format!("; log: {}", e.text))
            .unwrap_or_default();
        let words = format!("{}: {}{log}", pod.reason.as_str(), pod.cause.text);
        if let Some((_, n)) = said.iter_mut().find(|(w, _)| *w == words) {
            *n += 1;
        } else if said.len() < QUOTED_PODS {
            said.push((words, 1));
        }
    }
    for (words, n) in said {
        finding.add(
            Source::Status,
            format!("{}: {words}", text::count(i64::try_from(n).unwrap_or(i64::MAX), "pod")),
            None,
        );
    }
}
