//! Which incidents are asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::groups::Grouping;
use super::{Overview, Seen};
use crate::diagnosis::{Confidence, Finding, Reason, Severity, Source};
use crate::redact;
use crate::select;
use crate::server::Shown;
use crate::server::page::{self, Wanted};

/// Characters of a search at most, and its words: a sentence that the page shows must fit.
const MAX_SEARCH: usize = 400;
const MAX_WORDS: usize = 40;

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
    #[serde(deserialize_with = "page::limit")]
    pub limit: Option<usize>,
    #[serde(rename = "continue", deserialize_with = "page::token")]
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
            BadFilter(format!("{:?} is not a group id: use one from /api/v1/groups", self.group))
        })?;
        let words: Vec<&str> = self.q.split_whitespace().collect();
        if self.q.chars().count() > MAX_SEARCH || words.len() > MAX_WORDS {
            return Err(BadFilter(format!(
                "q is too long: at most {MAX_WORDS} words and {MAX_SEARCH} characters"
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
            words: words.map_err(|_| BadFilter("q is not a valid search".to_owned()))?,
        })
    }

    pub fn sort(&self) -> Result<Sort, BadFilter> {
        let unknown =
            || BadFilter(format!("unknown sort {:?}: one of {}", self.sort, Sort::WORDS.join(", ")));
        if self.sort.is_empty() { Ok(Sort::Severity) } else { Sort::of(&self.sort).ok_or_else(unknown) }
    }

    pub fn page(&self) -> Wanted {
        // A sort that is not known is refused elsewhere.
        let order = self.sort().unwrap_or(Sort::Severity).as_str();
        Wanted { after: self.after.clone(), limit: self.limit, order }
    }
}

/// Which incidents are asked for: those that match all of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    namespace: Option<String>,
    /// This one and above.
    severity: Option<Severity>,
    reason: Option<String>,
    /// The value of any of its labels.
    owner: Option<String>,
    node: Option<String>,
    group: Option<u64>,
    words: Vec<Regex>,
}

impl Filter {
    /// Why nothing can have the reason that is asked for, if so. Rules raise reasons of their own, and those of earlier rules may be open still.
    pub fn unknown_reason(&self, shown: &Shown) -> Option<BadFilter> {
        let wanted = self.reason.as_ref().filter(|wanted| Reason::of(wanted).is_none())?;
        let mut known: BTreeSet<String> =
            Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
        known.extend(shown.metrics.sources.rule_reasons());
        let mut add = |seen: &Seen<'_>| {
            if !known.contains(seen.compact.reason.as_str()) {
                known.insert(seen.compact.reason.as_str().to_owned());
            }
        };
        super::each_open(&shown.incidents, &mut add);
        super::each_resolved(&shown.incidents, Timestamp::MIN, &mut add);
        if known.contains(wanted) {
            return None;
        }
        let near = select::near_in_any_case(wanted, known.iter().map(String::as_str));
        let guess = match near.as_slice() {
            [] => String::new(),
            near => format!("; {}", select::did_you_mean(near)),
        };
        Some(BadFilter(format!("no incident has the reason {:?}{guess}", redact::cut(wanted, 100))))
    }

    /// To be applied to these incidents.
    pub(super) fn matching<'f>(&'f self, overview: &'f Overview<'_>) -> Matching<'f> {
        let grouping = self.group.map(|_| overview.grouping());
        Matching { filter: self, grouping, text: String::new() }
    }
}

/// A filter, while it is applied.
pub(super) struct Matching<'f> {
    filter: &'f Filter,
    grouping: Option<&'f Grouping>,
    /// What is shown of an incident; made again for each, in the same memory.
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
        let _ = write_names(&mut self.text, seen);
        if filter.words.iter().all(|word| word.is_match(self.text.as_bytes())) {
            return true;
        }
        let may_match = |word: &Regex| {
            word.is_match(self.text.as_bytes()) || word.is_match(seen.compact.packed()) || is_source(word)
        };
        if !filter.words.iter().all(may_match) {
            return false;
        }
        let _ = write_texts(&mut self.text, &seen.finding());
        filter.words.iter().all(|word| word.is_match(self.text.as_bytes()))
    }
}

/// What is shown of an incident and need not be unpacked, each on a line: no word is found across two of them.
fn write_names(text: &mut String, seen: &Seen<'_>) -> std::fmt::Result {
    let compact = seen.compact;
    for one in
        [compact.reason.as_str(), compact.severity.as_str(), compact.cause.as_str(), &compact.container]
    {
        writeln!(text, "{one}")?;
    }
    let namespace = seen.namespace();
    writeln!(text, "{namespace}/{}\n{}\n{}", seen.pod(), seen.node(), seen.id)?;
    if let Some(workload) = seen.workload() {
        writeln!(text, "{namespace}/{}/{}", workload.kind, workload.name)?;
    }
    if let Some(scope) = &compact.scope {
        writeln!(text, "{} {}", scope.kind, scope.name)?;
    }
    for (name, value) in &compact.labels {
        writeln!(text, "{name}: {value}")?;
    }
    if let Some(mute) = &compact.muted {
        writeln!(text, "muted {}", mute.reason)?;
    }
    Ok(())
}

/// The rest of what is shown of it.
fn write_texts(text: &mut String, finding: &Finding) -> std::fmt::Result {
    let f = finding;
    for one in [f.confidence.as_str(), &f.summary, &f.cause.text, &f.image] {
        writeln!(text, "{one}")?;
    }
    for evidence in &f.evidence {
        writeln!(text, "{} {}", evidence.source.as_str(), evidence.text)?;
    }
    for step in f.next_steps.iter().chain(&f.runbook_url) {
        writeln!(text, "{step}")?;
    }
    Ok(())
}

/// Whether a word is in what stands before a piece of evidence, or in how sure the cause is: neither is in the packed texts.
fn is_source(word: &Regex) -> bool {
    let words =
        Source::ALL.iter().map(|source| source.as_str()).chain(Confidence::ALL.iter().map(|c| c.as_str()));
    words.into_iter().any(|text| word.is_match(text.as_bytes()))
}
