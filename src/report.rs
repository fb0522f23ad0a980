//! What `diagnose` prints: a table for a person, JSON and YAML for programs, Markdown for an issue.
//!
//! Pure: a survey in, text out. Ages are counted here, from the time of the look; JSON and YAML have none, so that the same
//! objects always give the same bytes. Must not know where the objects came from, nor what a terminal is: width and colour
//! come in.

mod flags;
mod groups;
mod markdown;
mod page;
mod part;
mod table;
mod text;

use serde::Serialize;

use crate::diagnosis::{Finding, Problem, Snapshot, Sources, Summary, Survey};

pub use flags::ClusterFlags;
pub use markdown::{escape as escape_markdown, markdown, markdown_findings};
pub use page::{glossary, page};
pub use part::{Part, part};
pub use table::{findings, sources, table, tables};
pub use text::{adds_to, age, count, cut, span, thousands, wrap};

#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What the cluster is called; empty if that does not matter.
    pub cluster: &'a str,
    /// Why it could not be looked at at all; empty if it was.
    pub error: &'a str,
    pub survey: &'a Survey,
    /// What was looked at.
    pub snapshot: &'a Snapshot,
    /// What could not be looked at, in words.
    pub notes: &'a [String],
}

/// For whom the table is.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Whether colours are shown.
    pub colour: bool,
    /// Every finding on a line of its own, and all of its evidence.
    pub wide: bool,
    /// The details of every row, not only of the first ones.
    pub all: bool,
}

/// The JSON contract, see `docs/diagnosis.schema.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    observed_at: jiff::Timestamp,
    summary: Summary,
    sources: Sources,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    /// Where the next page begins, if the findings are only a part.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    findings: &'a [Finding],
    problems: &'a [Problem],
}

fn document<'a>(look: &Look<'a>) -> Document<'a> {
    Document {
        api_version: crate::API_VERSION,
        kind: "Diagnosis",
        cluster: look.cluster,
        error: look.error,
        observed_at: look.survey.observed_at,
        summary: look.survey.summary,
        sources: look.snapshot.sources,
        notes: look.notes,
        next: None,
        findings: &look.survey.findings,
        problems: &look.survey.problems,
    }
}

/// The report as JSON.
pub fn json(look: &Look<'_>) -> String {
    json_page(look, None)
}

/// The reports of several clusters as JSON.
pub fn json_list(looks: &[Look<'_>]) -> String {
    escaped(&serde_json::to_string_pretty(&List::of(looks)).unwrap_or_default())
}

/// The same as YAML.
pub fn yaml_list(looks: &[Look<'_>]) -> String {
    as_yaml(&List::of(looks))
}

/// The reports of several clusters.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Document<'a>>,
}

impl<'a> List<'a> {
    fn of(looks: &[Look<'a>]) -> Self {
        let items = looks.iter().map(document).collect();
        Self { api_version: crate::API_VERSION, kind: "DiagnosisList", items }
    }
}

/// A page of a report as JSON, and where the next one begins. The summary counts all pages; problems are those of this one.
pub fn json_page(look: &Look<'_>, next: Option<&str>) -> String {
    pretty(&Document { next, ..document(look) })
}

/// A document as JSON that is safe to show.
pub fn pretty(document: &impl Serialize) -> String {
    // Strings, numbers and lists only: there is nothing that could fail.
    escaped(&serde_json::to_string_pretty(document).unwrap_or_default())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    // JSON allows them as they are, a terminal would obey them. They can only stand in strings, where they may be escaped.
    for c in text.chars() {
        if reorders(c) || matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}') {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// The report as YAML, of the same content as the JSON, but for characters that would turn the order of others around:
/// YAML has no way to write them that holds in every kind of scalar.
pub fn yaml(look: &Look<'_>) -> String {
    as_yaml(&document(look))
}

fn as_yaml(document: &impl Serialize) -> String {
    let mut text = serde_saphyr::to_string(document).unwrap_or_default();
    text.retain(|c| !reorders(c));
    text
}

fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
