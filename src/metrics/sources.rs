//! The state of what the program reads: its watches, the sources of evidence, and the user's rules.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry, Result};

use super::family::{Family, OnScrape, Part};
use crate::cluster::clock::ClusterClock;
use crate::cluster::watch::WatchHealth;
use crate::rules::{Applied, EvaluationError, RuleCounters, RuleSet};

const WATCHES: [&Family; 8] = [
    &Family::counter(
        "kubehealer_watch_events_total",
        "Events received by the watches, by resource and type.",
        &["resource", "type"],
    ),
    &Family::counter(
        "kubehealer_watch_errors_total",
        "Errors of lists and watches, by resource and kind.",
        &["resource", "kind"],
    ),
    &Family::counter(
        "kubehealer_watch_relists_total",
        "Lists after the first one, because the watch could not be resumed.",
        &["resource"],
    ),
    &Family::counter(
        "kubehealer_watch_undecodable_total",
        "Objects that could not be decoded and were skipped.",
        &["resource"],
    ),
    &Family::gauge(
        "kubehealer_watch_last_event_timestamp_seconds",
        "Time at which a watch last received anything, bookmarks included.",
        &["resource"],
    ),
    &Family::gauge("kubehealer_watches", "Number of watches.", &[]),
    &Family::gauge(
        "kubehealer_clock_skew_seconds",
        "How far the API server's clock is ahead of this process's clock; 0 if the difference is within five seconds.",
        &[],
    ),
    &Family::gauge(
        "kubehealer_source_available",
        "1 if a source of evidence can be read, 0 if access is denied or it fails.",
        &["source"],
    ),
];

/// By it the alert rules tell an end from a restart.
const SYNCED: Family = Family::gauge(
    "kubehealer_watch_synced",
    "1 when the first list of every watch of this resource is complete; scope names the pods, if not all.",
    &["resource", "scope"],
);

const RULES: [&Family; 7] = [
    &Family::gauge("kubehealer_rules_loaded", "Number of loaded rules.", &[]),
    &Family::gauge(
        "kubehealer_rules_last_reload_successful",
        "1 if the newest version of the rules is loaded, 0 if it was rejected and an older one stays loaded.",
        &[],
    ),
    &Family::gauge(
        "kubehealer_rules_last_reload_timestamp_seconds",
        "Time at which the rules were loaded.",
        &[],
    ),
    &Family::counter(
        "kubehealer_rules_reload_errors_total",
        "Versions of the rules that were rejected.",
        &[],
    ),
    &Family::counter(
        "kubehealer_rule_findings_total",
        "Findings that a rule raised or changed, once per diagnosis of the pod.",
        &["rule"],
    ),
    &Family::counter(
        "kubehealer_rule_ignored_total",
        "Findings that a rule ignored, once per diagnosis of the pod.",
        &["rule"],
    ),
    &Family::counter("kubehealer_rule_errors_total", "Diagnoses of a pod in which a rule failed.", &["rule"]),
];

/// The resources that owners of pods are of.
pub const OWNERS: &[&str] = &["replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"];

/// Everything that is read.
pub struct Sources {
    watches: Mutex<Vec<Arc<WatchHealth>>>,
    /// Which pods are watched, if not all of the cluster.
    scope: OnceLock<String>,
    clock: OnceLock<Arc<ClusterClock>>,
    /// Whether each source of evidence can be read, as far as it was tried.
    available: Mutex<BTreeMap<&'static str, bool>>,
    evidence: IntCounterVec,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    counters: RuleCounters,
    loaded: usize,
    /// What they raise.
    reasons: Vec<String>,
    loaded_at: Option<Timestamp>,
    refused: u64,
    /// The newest version that was read is the one in force.
    newest: bool,
}

impl Sources {
    /// Nothing read yet; its metrics are registered.
    pub fn new(registry: &Registry) -> Result<Arc<Self>> {
        let evidence = Opts::new(
            "kubehealer_evidence_requests_total",
            "Requests for evidence about failing pods, by source and result.",
        );
        let sources = Arc::new(Self {
            watches: Mutex::default(),
            scope: OnceLock::new(),
            clock: OnceLock::new(),
            available: Mutex::default(),
            evidence: IntCounterVec::new(evidence, &["source", "result"])?,
            rules: Mutex::default(),
        });
        registry.register(Box::new(sources.evidence.clone()))?;
        let of = Arc::clone(&sources);
        registry.register(Box::new(OnScrape::new(&WATCHES, move || of.read_watches())?))?;
        let of = Arc::clone(&sources);
        registry.register(Box::new(OnScrape::new(&RULES, move || of.read_rules())?))?;
        Ok(sources)
    }

    /// A watch that is to be shown.
    pub fn add(&self, health: Arc<WatchHealth>) {
        self.watches.lock().push(health);
    }

    /// Which pods are watched; empty for all. Two instances of one scope stand in for each other.
    pub fn set_scope(&self, scope: String) {
        let _ = self.scope.set(scope);
    }

    /// The clock whose skew is to be shown.
    pub fn set_clock(&self, clock: Arc<ClusterClock>) {
        let _ = self.clock.set(clock);
    }

    pub fn watches(&self) -> Vec<Arc<WatchHealth>> {
        self.watches.lock().clone()
    }

    /// Whether a source can be read. Returns whether that is news.
    pub fn set_available(&self, source: &'static str, yes: bool) -> bool {
        self.available.lock().insert(source, yes) != Some(yes)
    }

    /// The sources of evidence that cannot be read, as far as it was tried.
    pub fn unavailable(&self) -> Vec<&'static str> {
        self.available.lock().iter().filter(|(_, yes)| !**yes).map(|(source, _)| *source).collect()
    }

    /// One request for evidence has had this result: `ok`, `failed`, `dropped`.
    pub fn count_evidence(&self, source: &'static str, result: &'static str) {
        self.evidence.with_label_values(&[source, result]).inc();
    }

    /// Rules have been loaded.
    pub fn loaded_rules(&self, rules: &RuleSet, now: Timestamp) {
        let mut own = self.rules.lock();
        own.counters.reloaded(rules);
        own.loaded = rules.len();
        own.reasons = rules.reasons().map(str::to_owned).collect();
        own.loaded_at = Some(now);
        own.newest = true;
    }

    /// The reasons that the rules in force raise.
    pub fn rule_reasons(&self) -> Vec<String> {
        self.rules.lock().reasons.clone()
    }

    /// A new version of the rules was refused.
    pub fn refused_rules(&self) {
        let mut own = self.rules.lock();
        own.refused += 1;
        own.newest = false;
    }

    /// Rules were applied. Gives the errors that are to be logged.
    pub fn count_rules(&self, applied: &Applied) -> Vec<EvaluationError> {
        self.rules.lock().counters.add(applied)
    }

    /// Whether everything of these resources is known; also if none of them is watched.
    pub fn is_synced(&self, resources: &[&str]) -> bool {
        self.watches.lock().iter().filter(|w| resources.contains(&w.resource)).all(|w| w.is_synced())
    }

    fn by_resource(&self) -> BTreeMap<&'static str, Vec<Arc<WatchHealth>>> {
        let mut by_resource: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for health in self.watches() {
            by_resource.entry(health.resource).or_default().push(health);
        }
        by_resource
    }

    /// Which first lists are complete. Pods wait for their owners, as far as those can be read: whose a pod is and what is
    /// muted is known with them only.
    pub(super) fn synced(&self) -> Part {
        let by_resource = self.by_resource();
        let mut owners = by_resource.iter().filter(|(r, _)| OWNERS.contains(r)).flat_map(|(_, w)| w);
        let knows_owners = owners.all(|w| w.is_synced() || w.trouble().is_some());
        let scope = self.scope.get().map_or("", String::as_str);
        let mut synced = Part::new(&SYNCED);
        for (resource, watches) in &by_resource {
            let is_synced = watches.iter().all(|w| w.is_synced()) && (*resource != "pods" || knows_owners);
            synced.add(&[resource, scope], f64::from(is_synced));
        }
        synced
    }

    /// What the watches count, summed by resource.
    fn read_watches(&self) -> Vec<Part> {
        let by_resource = self.by_resource();
        let [
            mut events,
            mut errors,
            mut relists,
            mut undecodable,
            mut last,
            mut count,
            mut skew,
            mut available,
        ] = WATCHES.map(Part::new);
        for (resource, watches) in &by_resource {
            let (mut event_sums, mut error_sums) = (BTreeMap::new(), BTreeMap::new());
            for watch in watches {
                for (kind, count) in watch.events() {
                    *event_sums.entry(kind).or_insert(0) += count;
                }
                for (kind, count) in watch.errors() {
                    *error_sums.entry(kind).or_insert(0) += count;
                }
            }
            event_sums.into_iter().for_each(|(kind, count)| events.add(&[resource, kind], count as f64));
            error_sums.into_iter().for_each(|(kind, count)| errors.add(&[resource, kind], count as f64));
            let sum = |of: fn(&WatchHealth) -> u64| watches.iter().map(|w| of(w)).sum::<u64>() as f64;
            relists.add(&[resource], sum(WatchHealth::relists));
            undecodable.add(&[resource], sum(WatchHealth::undecodable));
            // The oldest of several: one silent watch is enough to be blind.
            if let Some(at) = watches.iter().map(|w| w.last_contact()).min().flatten() {
                last.add(&[resource], at.as_millisecond() as f64 / 1000.0);
            }
        }
        count.add(&[], by_resource.values().map(Vec::len).sum::<usize>() as f64);
        if let Some(clock) = self.clock.get() {
            skew.add(&[], clock.skew().as_secs_f64());
        }
        for (source, yes) in self.available.lock().iter() {
            available.add(&[source], f64::from(*yes));
        }
        for (source, resources) in [("owners", OWNERS), ("nodes", &["nodes"])] {
            let mut watches =
                by_resource.iter().filter(|(r, _)| resources.contains(*r)).flat_map(|(_, w)| w).peekable();
            if watches.peek().is_some() {
                let yes = watches.all(|w| w.is_synced() && w.trouble().is_none());
                available.add(&[source], f64::from(yes));
            }
        }
        vec![events, errors, relists, undecodable, last, count, skew, available]
    }

    fn read_rules(&self) -> Vec<Part> {
        let rules = self.rules.lock();
        let [mut loaded, mut successful, mut loaded_at, mut refused, mut findings, mut ignored, mut errors] =
            RULES.map(Part::new);
        loaded.add(&[], rules.loaded as f64);
        if rules.loaded == 0 && rules.refused == 0 {
            return vec![loaded];
        }
        successful.add(&[], f64::from(rules.newest));
        rules.loaded_at.iter().for_each(|at| loaded_at.add(&[], at.as_second() as f64));
        refused.add(&[], rules.refused as f64);
        for (rule, counts) in rules.counters.iter() {
            findings.add(&[rule], counts.findings as f64);
            ignored.add(&[rule], counts.ignored as f64);
            errors.add(&[rule], counts.errors as f64);
        }
        vec![loaded, successful, loaded_at, refused, findings, ignored, errors]
    }
}
