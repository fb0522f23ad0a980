//! Which incidents are asked for.

use std::fmt::Write as _;

use parking_lot::RwLock;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::Seen;
use super::groups::Grouping;
use crate::diagnosis::{Finding, Severity};
use crate::incidents::{IncidentId, Incidents};
use crate::server::page::Wanted;

/// Bytes of a search at most, and its words.
const MAX_SEARCH: usize = 200;
const MAX_WORDS: usize = 8;

/// The parameters as they come in a query. Empty ones are as good as none: a form sends them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    pub namespace: String,
    pub severity: String,
    pub reason: String,
    pub owner: String,
    pub node: String,
    /// Words, all of which must be in what is shown of an incident.
    pub q: String,
    /// The id of a group.
    pub group: String,
    pub sort: String,
    pub limit: Option<usize>,
    #[serde(rename = "continue")]
    pub after: Option<String>,
}

/// A filter that cannot be applied, in words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

kubehealer_core::words! {
    /// What stands first in a list.
    pub enum Sort {
        /// Worst first; among equals the newest, which is what somebody who looks has come for.
        Severity = "severity",
        Newest = "newest",
        Oldest = "oldest",
        /// Namespace, workload, pod.
        Name = "name",
    }
}

impl Asked {
    pub fn filter(&self) -> Result<Filter, BadFilter> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let severity = some(&self.severity).map(|text| text.parse()).transpose().map_err(BadFilter)?;
        let group = some(&self.group).map(|id| u64::from_str_radix(&id, 16)).transpose();
        let group = group.map_err(|_| {
            BadFilter(format!("{:?} is not the id of a group: take one of /api/v1/groups", self.group))
        })?;
        let words: Vec<&str> = self.q.split_whitespace().collect();
        if self.q.len() > MAX_SEARCH || words.len() > MAX_WORDS {
            return Err(BadFilter(format!(
                "q is too long: at most {MAX_WORDS} words and {MAX_SEARCH} bytes"
            )));
        }
        let word = |word: &&str| RegexBuilder::new(&regex::escape(word)).case_insensitive(true).build();
        let words = words.iter().map(word).collect::<Result<_, _>>();
        Ok(Filter {
            namespace: some(&self.namespace),
            severity,
            reason: some(&self.reason),
            owner: some(&self.owner),
            node: some(&self.node),
            group,
            words: words.map_err(|_| BadFilter("q cannot be searched for".to_owned()))?,
        })
    }

    pub fn sort(&self) -> Result<Sort, BadFilter> {
        let unknown =
            || BadFilter(format!("unknown sort {:?}: one of {}", self.sort, Sort::WORDS.join(", ")));
        if self.sort.is_empty() { Ok(Sort::Severity) } else { Sort::of(&self.sort).ok_or_else(unknown) }
    }

    pub fn page(&self) -> Wanted {
        Wanted { after: self.after.clone(), limit: self.limit }
    }
}

/// Which incidents are asked for: those that match all of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    namespace: Option<String>,
    /// This one and worse.
    severity: Option<Severity>,
    reason: Option<String>,
    /// The value of any of its labels.
    owner: Option<String>,
    node: Option<String>,
    group: Option<u64>,
    words: Vec<Regex>,
}

impl Filter {
    /// To be applied to these incidents.
    pub(super) fn matching(&self, incidents: &RwLock<Incidents>) -> Matching<'_> {
        let grouping = self.group.map(|_| Grouping::of(incidents));
        Matching { filter: self, grouping, text: String::new() }
    }
}

/// A filter, while it is applied.
pub(super) struct Matching<'f> {
    filter: &'f Filter,
    grouping: Option<Grouping>,
    /// What is shown of an incident; made anew for each, in the same memory.
    text: String,
}

impl Matching<'_> {
    pub(super) fn matches(&mut self, seen: &Seen<'_>) -> bool {
        let filter = self.filter;
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        let fits = filter.severity.is_none_or(|severity| seen.compact.severity >= severity)
            && is(&filter.reason, seen.compact.reason.as_str())
            && is(&filter.namespace, seen.namespace())
            && is(&filter.node, seen.node())
            && filter
                .owner
                .as_ref()
                .is_none_or(|owner| seen.compact.labels.iter().any(|(_, value)| value == owner))
            && self.grouping.as_ref().is_none_or(|grouping| Some(grouping.id(seen)) == filter.group);
        if !fits || filter.words.is_empty() {
            return fits;
        }
        self.text.clear();
        // Writing to a string does not fail.
        let _ = write_all(&mut self.text, seen.id, &seen.finding());
        filter.words.iter().all(|word| word.is_match(&self.text))
    }
}

/// All that is shown of an incident, each on a line: no word is found across two of them.
fn write_all(text: &mut String, id: IncidentId, finding: &Finding) -> std::fmt::Result {
    let f = finding;
    for one in [f.reason.as_str(), f.severity.as_str(), f.confidence.as_str(), &f.namespace, &f.pod] {
        writeln!(text, "{one}")?;
    }
    for one in [&f.container, &f.node, &f.summary, &f.cause.text, &f.image] {
        writeln!(text, "{one}")?;
    }
    writeln!(text, "{}\n{id}", f.cause.code.as_str())?;
    if let Some(workload) = &f.workload {
        writeln!(text, "{}/{}", workload.kind, workload.name)?;
    }
    if let Some(scope) = &f.scope {
        writeln!(text, "{} {}", scope.kind, scope.name)?;
    }
    for evidence in &f.evidence {
        writeln!(text, "{} {}", evidence.source.as_str(), evidence.text)?;
    }
    for step in f.next_steps.iter().chain(&f.runbook_url) {
        writeln!(text, "{step}")?;
    }
    for (name, value) in &f.labels {
        writeln!(text, "{name}: {value}")?;
    }
    if let Some(mute) = &f.muted {
        writeln!(text, "muted {}", mute.reason)?;
    }
    Ok(())
}
