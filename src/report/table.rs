//! The table: made for a person at night, in 80 columns, using 200 well.

use std::collections::BTreeSet;

use anstyle::{AnsiColor, Style as Ansi};
use jiff::Timestamp;

use super::groups::{Group, groups};
use super::text::{adds_to, age, count, pad, thousands, width, wrap};
use super::{Look, Style};
use crate::diagnosis::{Cause, Evidence, Finding, Severity, Stage, Survey};
use crate::redact::clean;

/// From this width on the cause stands beside the names, below under them.
const SENTENCES: usize = 160;
/// Columns that the cause has at least, beside the names.
const CAUSE: usize = 32;
/// Columns of the severity.
const SEVERITY: usize = 8;
/// Between two columns.
const GAP: &str = "  ";
/// Rows that are shown in detail unless all are wanted.
const DETAILS: usize = 10;
/// Facts that the details show unless they are to show all.
pub(super) const FACTS: usize = 6;
/// Columns of the labels of the details.
const LABEL: usize = 10;
/// Names that the details list of pods that fail alike.
pub(super) const NAMES: usize = 4;
/// Namespaces that are named of a failure that several have.
const PLACES: usize = 3;
/// Lines below the headline that scroll it away; then the worst are repeated at the end.
const LONG: usize = 58;
/// How many are repeated.
const WORST: usize = 3;
/// Lines of text are not longer than this, however wide the terminal is: the eye loses the next line.
const READABLE: usize = 140;

pub fn table(look: &Look<'_>, style: &Style) -> String {
    let paint = Paint { on: style.colour };
    let mut out = String::new();
    if !look.cluster.is_empty() {
        out.push_str(&format!("{}\n", paint.bold(&clean(&format!("Cluster {}", look.cluster)))));
    }
    out.push_str(&format!("{}\n\n", paint.bold(&headline(look.survey))));
    out.push_str(&body(look, style, 1));
    out
}

/// Several clusters, one after another. What is said of the first ones may have scrolled away, so the end has a line for each.
pub fn tables(looks: &[Look<'_>], style: &Style) -> String {
    let read = |look: &&Look<'_>| look.error.is_empty();
    let mut out = looks.iter().filter(read).map(|look| table(look, style)).collect::<Vec<_>>().join("\n");
    if looks.len() > 1 {
        out.push_str(&format!("\n{}\n", Paint { on: style.colour }.bold("All clusters:")));
        for look in looks {
            let how =
                if look.error.is_empty() { headline(look.survey) } else { "Could not be read.".to_owned() };
            out.push_str(&format!("{}: {how}\n", clean(look.cluster)));
        }
    }
    out
}

/// The same without its headline, for what has said in its own words how it stands; of one row the details say it all.
pub fn findings(look: &Look<'_>, style: &Style) -> String {
    body(look, style, 2)
}

/// The table if it has so many rows, the details, and what was looked at.
fn body(look: &Look<'_>, style: &Style, least: usize) -> String {
    let paint = Paint { on: style.colour };
    let groups = groups(look.survey, style.wide);
    let mut out = String::new();
    if !groups.is_empty() {
        if groups.len() >= least {
            rows(&mut out, &groups, style, paint);
            out.push('\n');
        }
        // What is only worth knowing has its row; details are for what is unhealthy, unless there is nothing else.
        let unhealthy = groups.iter().any(|g| g.severity() > Severity::Info);
        let of_interest = |g: &&Group<'_>| style.wide || !unhealthy || g.severity() > Severity::Info;
        let shown = if style.wide || style.all { usize::MAX } else { DETAILS };
        for (number, group) in groups.iter().filter(of_interest).take(shown).enumerate() {
            if number > 0 {
                out.push('\n');
            }
            details(&mut out, group, look.survey.observed_at, style, paint);
        }
        let more = groups.iter().filter(of_interest).count().saturating_sub(shown);
        if more > 0 {
            let rows = count(more, "more row");
            out.push_str(&format!("\n{rows} of the table: --all shows the details of each.\n"));
        }
        out.push('\n');
    }
    footer(&mut out, look, &groups, style);
    if groups.len() > WORST && out.lines().count() > LONG {
        let worst: Vec<Group<'_>> = groups.into_iter().filter(|g| !g.is_muted()).take(WORST).collect();
        if !worst.is_empty() {
            out.push_str(&format!("\n{}\n", paint.bold("Worst first:")));
            rows(&mut out, &worst, style, paint);
        }
    }
    out
}

#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub(super) on: bool,
}

impl Paint {
    fn with(self, style: Ansi, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with(Ansi::new().bold(), text)
    }

    fn dim(self, text: &str) -> String {
        self.with(Ansi::new().dimmed(), text)
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        let colour = match severity {
            Severity::Critical => AnsiColor::Red.on_default().bold(),
            Severity::Warning => AnsiColor::Yellow.on_default().bold(),
            Severity::Info => AnsiColor::Cyan.on_default(),
        };
        self.with(colour, text)
    }
}

/// The cause, below the summary: its text only where that says more.
pub(super) fn below_summary(finding: &Finding, cause: &Cause) -> String {
    let code = format!("{} ({})", cause.code, finding.confidence.as_str());
    if adds_to(&finding.summary, &cause.text) { format!("{code}: {}", cause.text) } else { code }
}

/// How many pods are unhealthy, and the findings by severity, in one sentence.
pub(super) fn headline(survey: &Survey) -> String {
    let summary = survey.summary;
    let pods = count(summary.pods, "pod");
    let info = (summary.info > 0).then(|| format!("{} info", thousands(summary.info)));
    let muted = (summary.muted > 0).then(|| format!("{} of these muted", thousands(summary.muted)));
    let problems = [
        (summary.critical > 0).then(|| format!("{} critical", thousands(summary.critical))),
        (summary.warning > 0).then(|| count(summary.warning, "warning")),
    ];
    let problems = problems.into_iter().flatten();
    match (summary.pods, summary.critical + summary.warning) {
        (0, 0) => "No pods found.".to_owned(),
        (_, 0) => format!("No problems found in {pods}."),
        // All that is worse than information is about workloads or nodes; the rest may be about pods.
        _ if summary.unhealthy_pods == 0 => {
            let problems = problems.collect::<Vec<_>>().join(", ");
            let also = info.map(|info| format!("also {info}"));
            let rest: String = also.into_iter().chain(muted).map(|text| format!("; {text}")).collect();
            format!("0 of {pods} unhealthy; workloads and nodes: {problems}{rest}.")
        }
        _ => {
            let counts: Vec<String> = problems.chain(info).chain(muted).collect();
            format!("{} of {pods} unhealthy: {}.", thousands(summary.unhealthy_pods), counts.join(", "))
        }
    }
}

/// One row each. Nothing is cut: what does not fit into its column goes on in the next line. Narrow screens have the cause below, and
/// there a name that does not fit has a line of its own, to be copied as a whole.
fn rows(out: &mut String, groups: &[Group<'_>], style: &Style, paint: Paint) {
    let cells: Vec<[String; 3]> =
        groups.iter().map(|g| [g.reasons().join(", "), subject(g), cause(g)]).collect();
    let widest = |at: usize, head: &str| {
        cells.iter().filter_map(|row| row.get(at)).map(|t| width(t)).max().unwrap_or(0).max(width(head))
    };
    let beside = style.width >= SENTENCES;
    let gaps = if beside { 3 } else { 2 };
    let room = style.width.saturating_sub(SEVERITY + gaps * GAP.len());
    // A reason is never broken; of several each has its own line where no single one is as wide.
    let words = cells.iter().flat_map(|[reason, ..]| reason.split(' ')).map(width);
    let reasons = widest(0, "REASON").min(words.max().unwrap_or(0).max("REASON".len()));
    let rest = room.saturating_sub(reasons);
    let places = widest(1, "WHERE").min(if beside { rest.saturating_sub(CAUSE).max(16) } else { rest });
    let head = [pad("SEVERITY", SEVERITY), pad("REASON", reasons), pad("WHERE", places)].join(GAP);
    let head = if beside { format!("{head}{GAP}CAUSE") } else { head };
    out.push_str(&format!("{}\n", paint.dim(head.trim_end())));
    for (group, [reason, place, cause]) in groups.iter().zip(&cells) {
        let below = style.width - SEVERITY - GAP.len();
        let is_long = !beside && width(place) > places;
        let name = if is_long { wrap(place, below) } else { Vec::new() };
        let place = if is_long { Vec::new() } else { wrap(place, places) };
        let reason = wrap(reason, reasons);
        let sentence = wrap(cause, if beside { rest.saturating_sub(places) } else { below });
        let lines = reason.len().max(place.len()).max(if beside { sentence.len() } else { 0 });
        for at in 0..lines {
            let cell = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let severity = match (at, group.is_muted()) {
                (0, true) => "muted",
                (0, false) => group.severity().as_str(),
                _ => "",
            };
            let severity = paint.severity(group.severity(), &pad(severity, SEVERITY));
            let line = [pad(&cell(&reason), reasons), pad(&cell(&place), places)].join(GAP);
            let cause = if beside { format!("{GAP}{}", cell(&sentence)) } else { String::new() };
            out.push_str(format!("{severity}{GAP}{line}{cause}").trim_end());
            out.push('\n');
        }
        for line in name.iter().chain(sentence.iter().filter(|_| !beside)) {
            out.push_str(&format!("{}{GAP}{line}\n", pad("", SEVERITY)));
        }
    }
}

/// Who fails. What is printed is accepted as a target again.
pub(super) fn subject(group: &Group<'_>) -> String {
    let Some(first) = group.findings.first() else { return String::new() };
    if group.findings.len() == 1 {
        return name(first);
    }
    let pods = match group.pods().len() {
        0 => String::new(),
        pods => format!(" ({})", count(pods, "pod")),
    };
    let workloads = group.workloads();
    let container = match first.container.as_str() {
        "" => String::new(),
        name if group.findings.iter().all(|f| f.container == name) => format!("[{name}]"),
        _ => String::new(),
    };
    let text = match workloads.first() {
        Some((namespace, kind, name)) if workloads.len() == 1 => {
            format!("{namespace}/{kind}/{name}{container}{pods}")
        }
        _ => {
            let namespaces: BTreeSet<&str> =
                group.findings.iter().map(|f| f.namespace.as_str()).filter(|n| !n.is_empty()).collect();
            let places: BTreeSet<String> = match namespaces.is_empty() {
                true => group.findings.iter().map(|f| name(f)).collect(),
                false => namespaces.into_iter().map(|namespace| format!("namespace/{namespace}")).collect(),
            };
            let more = match places.len().saturating_sub(PLACES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let places = places.into_iter().take(PLACES).collect::<Vec<_>>().join(", ");
            let counts = [(workloads.len(), "workload"), (group.pods().len(), "pod")];
            let counts: Vec<String> =
                counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, one)| count(n, one)).collect();
            let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
            format!("{places}{more}{counts}")
        }
    };
    clean(&text).into_owned()
}

/// One subject by name.
pub(super) fn name(finding: &Finding) -> String {
    let text = match (&finding.workload, finding.pod.as_str(), finding.container.as_str()) {
        (Some(workload), "", _) => format!("{}/{}/{}", finding.namespace, workload.kind, workload.name),
        (None, "", _) => format!("node/{}", finding.node),
        (_, pod, "") => format!("{}/{pod}", finding.namespace),
        (_, pod, container) => format!("{}/{pod}[{container}]", finding.namespace),
    };
    clean(&text).into_owned()
}

/// What is wrong, in the fewest words.
fn cause(group: &Group<'_>) -> String {
    let Some(first) = group.findings.first() else { return String::new() };
    let text = if first.cause.text.is_empty() { first.cause.code.as_str() } else { first.brief() };
    clean(text).into_owned()
}

/// Everything about one line of the table.
pub(super) fn details(out: &mut String, group: &Group<'_>, now: Timestamp, style: &Style, paint: Paint) {
    let Some(first) = group.findings.first() else { return };
    let severity = group.severity();
    let title =
        format!("{}  {}", paint.severity(severity, &group.reasons().join(", ")), paint.bold(&subject(group)));
    out.push_str(&title);
    out.push('\n');

    for line in wrap(&circumstances(group, first, now), style.width.min(READABLE) - 2) {
        out.push_str(&format!("  {line}\n"));
    }
    let columns = style.width.min(READABLE).saturating_sub(LABEL + 4);
    let mut field = |label: &str, lines: Vec<String>| {
        for (number, line) in lines.iter().enumerate() {
            let label = pad(if number == 0 { label } else { "" }, LABEL);
            out.push_str(&format!("  {}  {line}\n", paint.dim(&label)));
        }
    };
    if let Some(mute) = group.mute() {
        field("mute", wrap(&clean(&mute), columns));
    }
    field("summary", wrap(&clean(&first.summary), columns));
    let cause = group.problem.map_or(&first.cause, |p| &p.cause);
    field("cause", wrap(&clean(&below_summary(first, cause)), columns));
    if group.findings.len() > 1 {
        field("pods", wrap(&pods(group), columns));
    }
    let shown = if style.wide { usize::MAX } else { FACTS };
    let fact = |fact: &Evidence| {
        let at = fact.at.map(|at| format!(" ({})", age(at, now))).unwrap_or_default();
        wrap(&format!("{}: {}{at}", fact.source.as_str(), clean(&fact.text)), columns)
    };
    let mut facts: Vec<String> = first.evidence.iter().take(shown).flat_map(fact).collect();
    if first.evidence.len() > shown {
        facts.push(format!("and {} more, see -o wide", first.evidence.len() - shown));
    }
    field("evidence", facts);
    let step = |step: &String| {
        let step = clean(step);
        // What is to be copied is never broken.
        let whole = step.starts_with("kubectl ") || step.starts_with("http");
        if whole { vec![step.into_owned()] } else { wrap(&step, columns) }
    };
    field("next steps", first.next_steps.iter().chain(&first.runbook_url).flat_map(step).collect());
}

/// Where it runs, since when, how often.
fn circumstances(group: &Group<'_>, first: &Finding, now: Timestamp) -> String {
    let mut parts = vec![group.severity().as_str().to_owned()];
    match first.stage {
        Stage::Active => {}
        Stage::Pending if first.is_final() => parts.push("within its grace period".to_owned()),
        Stage::Pending => parts.push("may still recover on its own".to_owned()),
        Stage::Recovered => parts.push("recovered".to_owned()),
    }
    if group.findings.len() == 1 {
        if let Some(workload) =
            first.workload.as_ref().filter(|w| !first.pod.is_empty() && w.name != first.pod)
        {
            parts.push(format!("{}/{}", workload.kind, workload.name));
        }
        if !first.node.is_empty() && !first.pod.is_empty() {
            parts.push(format!("on {}", first.node));
        }
        if let Some(kind) = first.container_type.map(|t| t.as_str()).filter(|&t| t != "app") {
            parts.push(format!("{kind} container"));
        }
    } else {
        let nodes = group.nodes().len();
        if nodes > 0 {
            parts.push(format!("on {}", count(nodes, "node")));
        }
    }
    parts.extend(first.labels.iter().map(|(name, value)| format!("{name}={value}")));
    if let Some(since) = group.findings.iter().filter_map(|f| f.since).min() {
        parts.push(format!("started {}", age(since, now)));
    }
    let restarts: i64 = group.findings.iter().filter_map(|f| f.restart_count).map(i64::from).sum();
    if restarts > 0 {
        parts.push(count(usize::try_from(restarts).unwrap_or(0), "restart"));
    }
    if let Some(code) = first.exit_code {
        parts.push(format!("exit {code}"));
    }
    clean(&parts.join(", ")).into_owned()
}

/// The names of pods that fail alike, the first few of them.
fn pods(group: &Group<'_>) -> String {
    let mut names: Vec<String> = group.findings.iter().map(|f| name(f)).collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let mut text = names.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {} more, see -o wide", thousands(more)));
    }
    text
}

/// The time to the second, which is what the API's own times have.
pub(super) fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What was looked at, what was not, and where to go on.
fn footer(out: &mut String, look: &Look<'_>, groups: &[Group<'_>], style: &Style) {
    let mut text = sources(look);
    if let Some(reason) =
        groups.iter().find(|g| g.severity() > Severity::Info).and_then(|g| g.reasons().first().copied())
    {
        text.push_str(&format!("\nMore about a reason: kubehealer explain {}", clean(reason)));
    }
    for paragraph in text.lines() {
        for line in wrap(paragraph, style.width.min(READABLE)) {
            out.push_str(&line);
            out.push('\n');
        }
    }
}

/// What was looked at and what was not, one paragraph a line.
pub fn sources(look: &Look<'_>) -> String {
    let snapshot = look.snapshot;
    let namespaces: BTreeSet<&str> = snapshot.pods.iter().map(|p| p.metadata.namespace.as_str()).collect();
    let mut seen =
        vec![format!("{} in {}", count(snapshot.pods.len(), "pod"), count(namespaces.len(), "namespace"))];
    let mut lacking = Vec::new();
    let workloads = snapshot.deployments.len()
        + snapshot.replica_sets.len()
        + snapshot.stateful_sets.len()
        + snapshot.daemon_sets.len()
        + snapshot.jobs.len()
        + snapshot.cron_jobs.len();
    for (read, number, one) in [
        (snapshot.sources.events, snapshot.events.len(), "event"),
        (snapshot.sources.owners, workloads, "owner"),
        (snapshot.sources.nodes, snapshot.nodes.len(), "node"),
        (snapshot.sources.logs, snapshot.logs.len(), "log"),
    ] {
        if read {
            seen.push(count(number, one));
        } else {
            lacking.push(format!("{one}s"));
        }
    }
    let mut text = format!("Looked at {}, as of {}.", seen.join(", "), seconds(look.survey.observed_at));
    // Why it was not read may be told below.
    lacking.retain(|what| !look.notes.iter().any(|note| note.starts_with(&format!("without {what}"))));
    if !lacking.is_empty() {
        text.push_str(&format!(" Without {}.", lacking.join(", ")));
    }
    for note in look.notes {
        text.push_str(&format!("\n{}.", clean(note).trim_end_matches('.')));
    }
    text
}
