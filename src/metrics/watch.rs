//! The state of what the program reads: its watches, and the sources of evidence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::cluster::watch::WatchHealth;
use crate::rules::{Applied, EvaluationError, RuleCounters, RuleSet};

use super::text::{FamilyText, Kind, single};

/// The resources that owners of pods are of.
pub const OWNERS: &[&str] = &["replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"];

/// Everything that is read.
#[derive(Debug, Default)]
pub struct Sources {
    watches: Mutex<Vec<Arc<WatchHealth>>>,
    /// Whether each source of evidence can be read, as far as it was tried.
    available: Mutex<BTreeMap<&'static str, bool>>,
    evidence: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    rules: Mutex<Rules>,
}

/// The user's rules.
#[derive(Debug, Default)]
struct Rules {
    counters: RuleCounters,
    loaded: usize,
    loaded_at: Option<Timestamp>,
    refused: u64,
    /// The newest version that was read is the one in force.
    newest: bool,
}

impl Sources {
    /// A watch that is to be shown.
    pub fn add(&self, health: Arc<WatchHealth>) {
        lock(&self.watches).push(health);
    }

    /// The watches.
    pub fn watches(&self) -> Vec<Arc<WatchHealth>> {
        lock(&self.watches).clone()
    }

    /// Whether a source can be read. Returns whether that is news.
    pub fn set_available(&self, source: &'static str, yes: bool) -> bool {
        lock(&self.available).insert(source, yes) != Some(yes)
    }

    /// One request for evidence has had this result: `ok`, `failed`, `dropped`.
    pub fn count_evidence(&self, source: &'static str, result: &'static str) {
        *lock(&self.evidence).entry((source, result)).or_default() += 1;
    }

    /// Rules have been loaded.
    pub fn loaded_rules(&self, rules: &RuleSet, now: Timestamp) {
        let mut own = lock(&self.rules);
        own.counters.reloaded(rules);
        own.loaded = rules.len();
        own.loaded_at = Some(now);
        own.newest = true;
    }

    /// A new version of the rules was refused.
    pub fn refused_rules(&self) {
        let mut own = lock(&self.rules);
        own.refused += 1;
        own.newest = false;
    }

    /// Rules were applied. Gives the errors that are to be logged.
    pub fn count_rules(&self, applied: &Applied) -> Vec<EvaluationError> {
        lock(&self.rules).counters.add(applied)
    }

    /// Whether everything of these resources is known; also if none of them is watched.
    pub fn is_synced(&self, resources: &[&str]) -> bool {
        lock(&self.watches).iter().filter(|w| resources.contains(&w.resource)).all(|w| w.is_synced())
    }

    fn write_rules(&self, out: &mut String) {
        let rules = lock(&self.rules);
        single(out, "kubehealer_rules_loaded", Kind::Gauge, "Rules in force.", rules.loaded);
        if rules.loaded == 0 && rules.refused == 0 {
            return;
        }
        single(
            out,
            "kubehealer_rules_last_reload_successful",
            Kind::Gauge,
            "1 if the newest version of the rules is in force, 0 if it was refused and an older one is.",
            u8::from(rules.newest),
        );
        if let Some(at) = rules.loaded_at {
            single(
                out,
                "kubehealer_rules_last_reload_timestamp_seconds",
                Kind::Gauge,
                "When the rules in force were loaded.",
                at.as_second(),
            );
        }
        single(
            out,
            "kubehealer_rules_reload_errors_total",
            Kind::Counter,
            "Versions of the rules that were refused.",
            rules.refused,
        );
        let family = |name, help| FamilyText::new(name, Kind::Counter, help);
        let mut findings = family(
            "kubehealer_rule_findings_total",
            "Findings that a rule raised or changed, once per look at their pod.",
        );
        let mut ignored = family(
            "kubehealer_rule_ignored_total",
            "Findings that a rule ignored, once per look at their pod.",
        );
        let mut errors = family("kubehealer_rule_errors_total", "Looks at a pod in which a rule failed.");
        for (rule, counts) in rules.counters.iter() {
            let label = [("rule", rule)];
            findings.series(&label, counts.findings);
            ignored.series(&label, counts.ignored);
            errors.series(&label, counts.errors);
        }
        for family in [findings, ignored, errors] {
            out.push_str(&family.finish());
        }
    }

    /// Writes the metrics.
    pub fn write(&self, out: &mut String) {
        let mut by_resource: BTreeMap<&str, Vec<Arc<WatchHealth>>> = BTreeMap::new();
        for health in self.watches() {
            by_resource.entry(health.resource).or_default().push(health);
        }
        let family = |name, kind, help| FamilyText::new(name, kind, help);
        let mut events = family(
            "kubehealer_watch_events_total",
            Kind::Counter,
            "What the watches were shown, by resource and type.",
        );
        let mut errors = family(
            "kubehealer_watch_errors_total",
            Kind::Counter,
            "What failed while listing and watching, by resource and kind.",
        );
        let mut relists = family(
            "kubehealer_watch_relists_total",
            Kind::Counter,
            "Lists after the first one: times when the watch had lost its place.",
        );
        let mut undecodable = family(
            "kubehealer_watch_undecodable_total",
            Kind::Counter,
            "Objects that could not be decoded and were skipped.",
        );
        let mut synced = family(
            "kubehealer_watch_synced",
            Kind::Gauge,
            "1 when the first list of every watch of this resource is complete.",
        );
        let mut last = String::new();
        for (resource, watches) in &by_resource {
            let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
            let mut error_sums: BTreeMap<&str, u64> = BTreeMap::new();
            for watch in watches {
                for (kind, count) in watch.events() {
                    *sums.entry(kind).or_default() += count;
                }
                for (kind, count) in watch.errors() {
                    *error_sums.entry(kind).or_default() += count;
                }
            }
            for (kind, count) in sums {
                events.series(&[("resource", resource), ("type", kind)], count);
            }
            for (kind, count) in error_sums {
                errors.series(&[("resource", resource), ("kind", kind)], count);
            }
            let label = [("resource", *resource)];
            relists.series(&label, watches.iter().map(|w| w.relists()).sum());
            undecodable.series(&label, watches.iter().map(|w| w.undecodable()).sum());
            synced.series(&label, u64::from(watches.iter().all(|w| w.is_synced())));
            // The oldest of several: one silent watch is enough to be blind.
            if let Some(at) = watches.iter().map(|w| w.last_sign_of_life()).min().flatten() {
                use std::fmt::Write;
                let _ = writeln!(
                    last,
                    "kubehealer_watch_last_event_timestamp_seconds{{resource=\"{resource}\"}} {:.3}",
                    at.as_millisecond() as f64 / 1000.0
                );
            }
        }
        for family in [events, errors, relists, undecodable, synced] {
            out.push_str(&family.finish());
        }
        if !last.is_empty() {
            let name = "kubehealer_watch_last_event_timestamp_seconds";
            out.push_str(&format!("# HELP {name} When a watch last gave a sign of life, bookmarks included.\n# TYPE {name} gauge\n{last}"));
        }
        let mut available = family(
            "kubehealer_source_available",
            Kind::Gauge,
            "1 if a source of evidence can be read, 0 if it is refused or fails.",
        );
        for (source, yes) in lock(&self.available).iter() {
            available.series(&[("source", source)], u64::from(*yes));
        }
        for (source, resources) in [("owners", OWNERS), ("nodes", &["nodes"])] {
            let mut watches =
                by_resource.iter().filter(|(r, _)| resources.contains(*r)).flat_map(|(_, w)| w).peekable();
            if watches.peek().is_some() {
                let yes = watches.all(|w| w.is_synced() && w.trouble().is_none());
                available.series(&[("source", source)], u64::from(yes));
            }
        }
        out.push_str(&available.finish());
        let mut evidence = family(
            "kubehealer_evidence_requests_total",
            Kind::Counter,
            "Requests for evidence about pods that are not well, by source and result.",
        );
        for ((source, result), count) in lock(&self.evidence).iter() {
            evidence.series(&[("source", source), ("result", result)], *count);
        }
        out.push_str(&evidence.finish());
        self.write_rules(out);
        single(
            out,
            "kubehealer_watches",
            Kind::Gauge,
            "Watches that are run.",
            by_resource.values().map(Vec::len).sum::<usize>(),
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
