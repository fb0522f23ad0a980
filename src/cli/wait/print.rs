//! How an outcome and the way to it are printed.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::json;

use super::super::{Trouble, output};
use crate::redact::clean;
use crate::report::{self, ClusterFlags, Look, Style};
use crate::wait::{Item, Outcome, State, Verdict};

/// Pods that are shown of one object.
const PODS: usize = 10;
/// Before the further lines of a sentence.
const INDENT: &str = "  ";

/// How far it is: a line for each object and, on a terminal, one for each of its pods. Elsewhere only what changed is printed, so
/// those of its pods that fail will do. What the object's line says is not said again of its pods.
pub(super) fn progress(items: &[Item], elapsed: Duration, live: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for item in items {
        let (mark, age) = (mark(item.state), output::span(elapsed));
        let head = format!("{mark} {item}: {}", item.text);
        lines.push(if live { format!("{head} ({age})") } else { head });
        let shown = item.pods.iter().filter(|pod| (live || !pod.ready) && pod.text != item.text);
        lines.extend(shown.take(PODS).map(|pod| format!("    pod {}: {}", pod.name, pod.text)));
        if item.pods.len() > PODS && live {
            lines.push(format!("    and {} more pods", item.pods.len() - PODS));
        }
    }
    lines.iter().map(|line| clean(line).into_owned()).collect()
}

fn mark(state: State) -> &'static str {
    match state {
        State::Ready => "✓",
        State::Waiting => "…",
        State::Failed => "✗",
    }
}

/// How it came out with one object.
fn sentence(outcome: &Outcome, item: &Item) -> String {
    let after = output::span(outcome.elapsed);
    let text = match item.state {
        State::Ready if item.over => format!("{item} has completed"),
        State::Failed if item.over => format!("{item} has failed: {}", item.text),
        State::Ready => format!("{item} is ready: {}", item.text),
        State::Failed => format!("{item} cannot become ready: {}", item.text),
        State::Waiting if outcome.verdict == Verdict::TimedOut => {
            let wrong = item.findings.first().map_or(String::new(), |f| format!("; {}", f.summary));
            format!("{item} is not ready after {after}: {}{wrong}", item.text)
        }
        State::Waiting => format!("{item} is not ready yet: {}", item.text),
    };
    clean(&text).into_owned()
}

/// The report of what is not ready, in this form.
fn details(outcome: &Outcome, flags: &ClusterFlags, form: impl FnOnce(&Look<'_>) -> String) -> String {
    let mut survey = outcome.survey();
    flags.add_to(&mut survey);
    if survey.findings.is_empty() {
        return String::new();
    }
    form(&Look {
        cluster: "",
        error: "",
        survey: &survey,
        snapshot: &outcome.snapshot,
        notes: &outcome.notes,
    })
}

pub(super) fn text(outcome: &Outcome, flags: &ClusterFlags) -> String {
    let style = Style { width: output::width(), colour: output::colour(), wide: false, all: false };
    let mut out = String::new();
    for item in &outcome.items {
        let sentence = sentence(outcome, item);
        // A terminal would break it within a word; elsewhere one line is one object.
        let lines = match io::stdout().is_terminal() {
            true => report::wrap(&sentence, style.width.saturating_sub(INDENT.len())),
            false => vec![sentence],
        };
        out.push_str(&format!("{}\n", lines.join(&format!("\n{INDENT}"))));
    }
    let details = details(outcome, flags, |look| report::findings(look, &style));
    if !details.is_empty() {
        out.push_str(&format!("\n{details}"));
    }
    out
}

pub(super) fn json(outcome: &Outcome, flags: &ClusterFlags) -> String {
    let mut survey = outcome.survey();
    flags.add_to(&mut survey);
    let objects: Vec<_> = outcome
        .items
        .iter()
        .map(|item| {
            json!({
                "kind": item.kind, "namespace": item.namespace, "name": item.name, "state": item.state.as_str(),
                "text": item.text
            })
        })
        .collect();
    let document = json!({
        "apiVersion": crate::API_VERSION, "kind": "Wait", "result": outcome.verdict.as_str(),
        "observedAt": outcome.observed_at, "elapsedSeconds": outcome.elapsed.as_secs(), "objects": objects,
        "findings": survey.findings, "notes": outcome.notes
    });
    report::pretty(&document)
}

pub(super) fn markdown(outcome: &Outcome, flags: &ClusterFlags) -> String {
    let mut out = String::new();
    for item in &outcome.items {
        out.push_str(&format!("- {}\n", report::escape_markdown(&sentence(outcome, item))));
    }
    let details = details(outcome, flags, report::markdown_findings);
    if details.is_empty() { out } else { format!("{out}\n{details}") }
}

/// Annotations on stdout, and the whole as the step's summary where the runner takes one.
pub(super) fn github(outcome: &Outcome, flags: &ClusterFlags) -> Result<String, Trouble> {
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(markdown(outcome, flags).as_bytes()));
        written.map_err(|e| {
            Trouble::new(format_args!("{}: {e}", path.display()), "unset GITHUB_STEP_SUMMARY")
        })?;
    }
    let mut out = String::new();
    for item in &outcome.items {
        let kind = match item.state {
            State::Failed => "error",
            State::Ready => "notice",
            State::Waiting if outcome.verdict == Verdict::TimedOut => "error",
            State::Waiting => "warning",
        };
        let title = item.findings.first().map_or(item.to_string(), |f| f.reason.as_str().to_owned());
        out.push_str(&format!(
            "::{kind} title={}::{}\n",
            command_property(&title),
            command_text(&sentence(outcome, item))
        ));
    }
    Ok(out)
}

/// The text of a workflow command, which ends with its line.
fn command_text(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn command_property(text: &str) -> String {
    command_text(text).replace(':', "%3A").replace(',', "%2C")
}

pub(super) fn junit(outcome: &Outcome, flags: &ClusterFlags) -> String {
    let seconds = outcome.elapsed.as_secs();
    let failed = outcome.items.iter().filter(|item| item.state != State::Ready).count();
    let all = outcome.items.len();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"kubehealer wait\" tests=\"{all}\" \
         failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{seconds}\">\n"
    );
    let style = Style { width: 100, colour: false, wide: false, all: false };
    for item in &outcome.items {
        let (namespace, name) = (output::xml(&item.namespace), output::xml(&item.to_string()));
        out.push_str(&format!("<testcase classname=\"{namespace}\" name=\"{name}\" time=\"{seconds}\""));
        if item.state == State::Ready {
            out.push_str("/>\n");
            continue;
        }
        let kind = item.findings.first().map_or("NotReady", |f| f.reason.as_str());
        let details = details(outcome, flags, |look| report::findings(look, &style));
        out.push_str(&format!(
            "><failure type=\"{}\" message=\"{}\">{}</failure></testcase>\n",
            output::xml(kind),
            output::xml(&sentence(outcome, item)),
            output::xml(&details)
        ));
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}
