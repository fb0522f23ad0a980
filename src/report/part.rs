//! A part of a report that fits into a bounded room, for readers that pay for each word: programs that ask for a language model.
//!
//! The same facts as text, in the words of the table, and as JSON. Must not know who asks.

use serde::Serialize;
use serde_json::Value;

use super::Style;
use super::groups::{Group, groups};
use super::table::{FACTS, NAMES, Paint, details, headline, name, subject};
use crate::diagnosis::{Cause, Evidence, Mute, Severity, Survey};
use crate::redact::clean;

/// Some of the causes of a survey, worst first.
#[derive(Debug)]
pub struct Part {
    /// How it stands, then each cause in detail.
    pub text: String,
    /// The same causes as JSON.
    pub causes: Vec<Value>,
    /// The causes behind these.
    pub left: usize,
}

/// What one cause is to a program.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    severity: Severity,
    reasons: Vec<&'a str>,
    /// As `diagnose` takes it, if it is one object.
    r#where: String,
    summary: &'a str,
    cause: &'a Cause,
    confidence: &'static str,
    stage: &'static str,
    pod_count: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted: Option<&'a Mute>,
    evidence: &'a [Evidence],
    /// Facts that are left out.
    #[serde(skip_serializing_if = "is_none")]
    more_evidence: usize,
    next_steps: &'a [String],
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

impl<'a> Row<'a> {
    fn of(group: &Group<'a>, facts: usize) -> Option<Self> {
        let first = *group.findings.first()?;
        let several = group.findings.len() > 1;
        Some(Self {
            severity: group.severity(),
            reasons: group.reasons(),
            r#where: subject(group),
            summary: &first.summary,
            cause: group.problem.map_or(&first.cause, |problem| &problem.cause),
            confidence: first.confidence.as_str(),
            stage: first.stage.as_str(),
            pod_count: group.pods().len(),
            pods: group.findings.iter().take(if several { NAMES } else { 0 }).map(|f| name(f)).collect(),
            since: group.findings.iter().filter_map(|f| f.since).min(),
            exit_code: first.exit_code,
            muted: first.muted.as_ref().filter(|_| group.is_muted()),
            evidence: first.evidence.get(..facts).unwrap_or(&first.evidence),
            more_evidence: first.evidence.len().saturating_sub(facts),
            next_steps: &first.next_steps,
        })
    }

    fn value(&self) -> Value {
        // Strings, numbers and lists only: there is nothing that could fail.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        clean_all(&mut value);
        value
    }
}

/// Takes what no reader sees out of all texts of a document.
fn clean_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(clean_all),
        Value::Object(fields) => fields.values_mut().for_each(clean_all),
        _ => {}
    }
}

/// The causes from this one on, at most so many, as far as both forms fit into so many characters. At least one, cut if it must be.
pub fn part(survey: &Survey, style: &Style, from: usize, most: usize, room: usize) -> Part {
    let paint = Paint { on: style.colour };
    let mut text = format!("{}\n", paint.bold(&headline(survey)));
    let groups = groups(survey, style.wide);
    let mut causes = Vec::new();
    let mut room_of_json = room;
    for group in groups.iter().skip(from).take(most) {
        let mut detail = "\n".to_owned();
        details(&mut detail, group, survey.observed_at, style, paint);
        let mut facts = if style.wide { usize::MAX } else { FACTS };
        let Some(mut row) = Row::of(group, facts).map(|row| row.value()) else { continue };
        let fits = |text: &str, detail: &str, row: &Value, left: usize| {
            text.chars().count() + detail.chars().count() <= room && characters(row) <= left
        };
        if causes.is_empty() {
            let left = room.saturating_sub(text.chars().count() + 2);
            if let Some((end, _)) = detail.char_indices().nth(left) {
                detail.truncate(end);
                detail.push_str("…\n");
            }
            while characters(&row) > room_of_json && facts > 0 {
                facts = facts.min(FACTS) - 1;
                row = Row::of(group, facts).map(|row| row.value()).unwrap_or_default();
            }
        } else if !fits(&text, &detail, &row, room_of_json) {
            break;
        }
        text.push_str(&detail);
        room_of_json = room_of_json.saturating_sub(characters(&row));
        causes.push(row);
    }
    let left = groups.len().saturating_sub(from + causes.len());
    Part { text, causes, left }
}

fn characters(value: &Value) -> usize {
    value.to_string().chars().count()
}
