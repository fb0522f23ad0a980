//! Markdown, for an issue or a chat.

use super::Look;
use super::groups::groups;
use super::table::{below_summary, headline, name, seconds};
use super::text::age;
use crate::diagnosis::Severity;
use crate::redact::clean;

/// The report as Markdown.
pub fn markdown(look: &Look<'_>) -> String {
    let cluster = match look.cluster {
        "" => String::new(),
        name => format!("cluster {}, ", escape(name)),
    };
    let headline = headline(look.survey);
    format!("## KubeHealer: {cluster}{}\n\n{}", headline.trim_end_matches('.'), body(look, 1))
}

/// The same without its headline, for what has said in its own words how it stands; of one row the details say it all.
pub fn markdown_findings(look: &Look<'_>) -> String {
    body(look, 2)
}

/// The table if it has so many rows, the details, and the notes.
fn body(look: &Look<'_>, least: usize) -> String {
    let survey = look.survey;
    let now = survey.observed_at;
    let mut out = format!("Observed at {}.\n", seconds(now));
    let groups = groups(survey, false);
    let rows = if groups.len() >= least { groups.as_slice() } else { &[] };
    if !rows.is_empty() {
        out.push_str("\n| severity | reason | pods | workload | cause |\n|---|---|---|---|---|\n");
    }
    for group in rows {
        let Some(first) = group.findings.first() else { continue };
        let workloads: Vec<String> =
            group.workloads().iter().take(3).map(|(ns, kind, name)| format!("{ns}/{kind}/{name}")).collect();
        let more = if group.workloads().len() > 3 { ", ..." } else { "" };
        out.push_str(&format!(
            "| {} | {} | {} | {}{more} | {} |\n",
            group.severity().as_str(),
            escape(&group.reasons().join(", ")),
            group.pods().len(),
            escape(&workloads.join(", ")),
            escape(first.brief()),
        ));
    }
    // What is only worth knowing has its row, unless there is nothing else.
    let unhealthy = groups.iter().any(|g| g.severity() > Severity::Info);
    for group in groups.iter().filter(|g| !unhealthy || g.severity() > Severity::Info) {
        let Some(first) = group.findings.first() else { continue };
        let who = match group.findings.len() {
            1 => name(first),
            more => format!("{} and {} more", name(first), more - 1),
        };
        out.push_str(&format!(
            "\n### {}: {}\n\n{}\n\n",
            escape(&group.reasons().join(", ")),
            escape(&who),
            escape(&first.summary)
        ));
        if let Some(mute) = group.mute() {
            out.push_str(&format!("{}\n\n", escape(&mute)));
        }
        out.push_str(&format!("**Cause**: {}\n", escape(&below_summary(first, &first.cause))));
        if !first.evidence.is_empty() {
            out.push_str("\n**Evidence**\n\n");
        }
        for fact in &first.evidence {
            let at = fact.at.map(|at| format!(", {}", age(at, now))).unwrap_or_default();
            out.push_str(&format!("- {}{at}: {}\n", fact.source.as_str(), code(&fact.text)));
        }
        if !first.next_steps.is_empty() {
            out.push_str("\n**Next steps**\n\n");
        }
        for step in &first.next_steps {
            let step = if step.starts_with("kubectl ") { code(step) } else { escape(step) };
            out.push_str(&format!("- {step}\n"));
        }
    }
    for note in look.notes {
        out.push_str(&format!("\n> {}\n", escape(note)));
    }
    out
}

/// Text that Markdown shows as it is: no markup, no table cells, no mentions of people.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '@' => out.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as code, whatever backticks it holds.
fn code(text: &str) -> String {
    let text = clean(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("{fence}{text}{fence}") }
}
