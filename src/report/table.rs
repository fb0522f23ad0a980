//! The table: made for a person at night, in 80 columns, using 200 well.

use anstyle::{AnsiColor, Style as Ansi};

use super::groups::{Group, groups};
use super::text::{age, count, cut, cut_middle, pad, thousands, width, wrap};
use super::{Look, Style};
use crate::diagnosis::{Finding, Severity, Stage};
use crate::redact::clean;

/// From this width on the table holds the cause as a sentence, below as a word.
const SENTENCES: usize = 110;
/// Facts that the details show unless they are to show all.
const FACTS: usize = 6;
/// Names that the details list of pods that fail alike.
const NAMES: usize = 4;
/// Lines that scroll the top of a report away; then the worst are repeated at its end.
const LONG: usize = 60;
/// How many are repeated.
const WORST: usize = 3;
/// The width of the labels of details.
const LABEL: usize = 10;
/// Lines of text are not longer than this, however wide the terminal is: the eye loses the next line.
const READABLE: usize = 140;

pub fn table(look: &Look<'_>, style: &Style) -> String {
    let paint = Paint { on: style.colour };
    let groups = groups(look.survey, style.wide);
    let mut out = String::new();
    if !look.cluster.is_empty() {
        out.push_str(&format!("{}\n", paint.bold(&clean(&format!("Cluster {}", look.cluster)))));
    }
    headline(&mut out, look, paint);
    if !groups.is_empty() {
        out.push('\n');
        lines(&mut out, &groups, style, paint);
        // An info has its line; details are for warnings and worse, unless there is nothing else.
        let failing = groups.iter().any(|g| g.severity() > Severity::Info);
        for group in groups.iter().filter(|g| style.wide || !failing || g.severity() > Severity::Info) {
            out.push('\n');
            details(&mut out, group, look, style, paint);
        }
    }
    footer(&mut out, look, &groups, style);
    if let Some(worst) = groups.get(..WORST).filter(|_| groups.len() > WORST && out.lines().count() > LONG) {
        out.push_str(&format!("\n{}\n", paint.bold("The worst, from the top:")));
        lines(&mut out, worst, style, paint);
    }
    out
}

#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn with(self, style: Ansi, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
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

/// How it stands, in one line.
fn headline(out: &mut String, look: &Look<'_>, paint: Paint) {
    let summary = look.survey.summary;
    let pods = count(summary.pods, "pod");
    let mut counts = Vec::new();
    for (number, text) in [
        (summary.critical, format!("{} critical", thousands(summary.critical))),
        (summary.warning, count(summary.warning, "warning")),
        (summary.info, format!("{} info", thousands(summary.info))),
        (summary.muted, format!("{} muted", thousands(summary.muted))),
    ] {
        if number > 0 {
            counts.push(text);
        }
    }
    let text = match (summary.pods, summary.critical + summary.warning) {
        (0, 0) => "No pods found.".to_owned(),
        (_, 0) => format!("No problems found in {pods}."),
        _ if summary.unhealthy_pods == 0 => {
            format!("{pods}, none unhealthy by itself: {}.", counts.join(", "))
        }
        _ => format!("{} of {pods} unhealthy: {}.", thousands(summary.unhealthy_pods), counts.join(", ")),
    };
    out.push_str(&paint.bold(&text));
    out.push('\n');
}

/// One line each.
fn lines(out: &mut String, groups: &[Group<'_>], style: &Style, paint: Paint) {
    let wheres: Vec<Vec<String>> = groups.iter().map(subjects).collect();
    let reasons: Vec<String> = groups.iter().map(|g| g.reasons().join(", ")).collect();
    let causes: Vec<String> = groups.iter().map(|g| cause(g, style)).collect();
    let widest =
        |texts: &[String], head: &str| texts.iter().map(|t| width(t)).max().unwrap_or(0).max(width(head));
    let severity_width = 8;
    let mut reason_width = widest(&reasons, "REASON").min((style.width / 4).max(18));
    let longest: Vec<String> = wheres.iter().filter_map(|w| w.first().cloned()).collect();
    let mut where_width = widest(&longest, "WHERE");
    let mut cause_width = widest(&causes, "CAUSE");
    // Severity is always whole; the rest shares what is left. The cause gives way first, to a floor, then the names.
    let room = style.width.saturating_sub(severity_width + 3 * 2);
    if style.width < SENTENCES {
        reason_width = reason_width.min(20);
    }
    // A code has no shorter form; names are whole in the details.
    let floor = if style.width < SENTENCES { cause_width } else { cause_width.min(style.width / 3) };
    let rest = room.saturating_sub(reason_width);
    where_width = where_width.min(rest.saturating_sub(floor).max(16));
    cause_width = cause_width.min(rest.saturating_sub(where_width));

    let head = format!(
        "{}  {}  {}  {}",
        pad("SEVERITY", severity_width),
        pad("REASON", reason_width),
        pad("WHERE", where_width),
        "CAUSE"
    );
    out.push_str(&paint.dim(&head));
    out.push('\n');
    for (((group, place), reason), cause) in groups.iter().zip(&wheres).zip(&reasons).zip(&causes) {
        let severity = group.severity();
        let line = format!(
            "{}  {}  {}  {}",
            paint.severity(
                severity,
                &pad(if group.is_muted() { "muted" } else { severity.as_str() }, severity_width)
            ),
            pad(&cut(reason, reason_width), reason_width),
            pad(&fitting(place, where_width), where_width),
            cut(cause, cause_width)
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Who fails, one subject by name, several by number: in full, and ever shorter for narrow screens.
fn subjects(group: &Group<'_>) -> Vec<String> {
    let Some(first) = group.findings.first() else { return Vec::new() };
    if group.findings.len() == 1 {
        let full = name(first);
        let bare = full.strip_suffix(&format!("[{}]", clean(&first.container))).map(str::to_owned);
        // Of a ReplicaSet's pod, the hash in the middle says least.
        let shorter = first.workload.as_ref().and_then(|workload| {
            let rest = first.pod.strip_prefix(&workload.name)?.strip_prefix('-')?;
            let (_, own) = rest.rsplit_once('-')?;
            Some(clean(&format!("{}/{}-…-{own}", first.namespace, workload.name)).into_owned())
        });
        return std::iter::once(full.clone()).chain(bare).chain(shorter).collect();
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
    let texts = match workloads.first() {
        Some((namespace, kind, name)) if workloads.len() == 1 => vec![
            format!("{namespace}/{kind}/{name}{container}{pods}"),
            format!("{namespace}/{name}{container}{pods}"),
            format!("{namespace}/{name}{pods}"),
        ],
        _ => {
            let namespaces: std::collections::BTreeSet<&str> =
                group.findings.iter().map(|f| f.namespace.as_str()).filter(|n| !n.is_empty()).collect();
            let place = match namespaces.first() {
                Some(namespace) if namespaces.len() == 1 => (*namespace).to_owned(),
                _ => count(namespaces.len(), "namespace"),
            };
            let workloads = count(workloads.len(), "workload");
            vec![format!("{place}, {workloads}{pods}"), format!("{workloads}{pods}")]
        }
    };
    texts.into_iter().map(|text| clean(&text).into_owned()).collect()
}

/// Who fails, in full.
fn subject(group: &Group<'_>) -> String {
    subjects(group).into_iter().next().unwrap_or_default()
}

/// Who fails, in at most so many columns.
fn fitting(subjects: &[String], columns: usize) -> String {
    match subjects.iter().find(|s| width(s) <= columns) {
        Some(subject) => subject.clone(),
        None => subjects.last().map(|s| cut_middle(s, columns)).unwrap_or_default(),
    }
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

fn cause(group: &Group<'_>, style: &Style) -> String {
    let first = group.findings.first();
    let cause = match (group.problem, first) {
        (Some(problem), _) => &problem.cause,
        (None, Some(finding)) => &finding.cause,
        (None, None) => return String::new(),
    };
    if style.width < SENTENCES || cause.text.is_empty() {
        cause.code.as_str().to_owned()
    } else {
        clean(first.map_or(&cause.text, |f| f.brief())).into_owned()
    }
}

/// Everything about one line of the table.
fn details(out: &mut String, group: &Group<'_>, look: &Look<'_>, style: &Style, paint: Paint) {
    let Some(first) = group.findings.first() else { return };
    let now = look.survey.observed_at;
    let severity = group.severity();
    let title =
        format!("{}  {}", paint.severity(severity, &group.reasons().join(", ")), paint.bold(&subject(group)));
    out.push_str(&title);
    out.push('\n');

    let columns = style.width.min(READABLE);
    let mut field = |label: &str, text: &str| {
        let mut label = label;
        for line in wrap(text, columns.saturating_sub(LABEL + 4)) {
            out.push_str(&format!("  {}  {line}\n", paint.dim(&pad(label, LABEL))));
            label = "";
        }
    };
    field("", &circumstances(group, first, now));
    if let Some(mute) = group.mute() {
        field("", &clean(&mute));
    }
    field("summary", &clean(&first.summary));
    let cause = group.problem.map_or(&first.cause, |p| &p.cause);
    let (code, confidence) = (cause.code, first.confidence.as_str());
    // Where the summary has the cause in the same words, they are not repeated.
    match !cause.text.is_empty() && first.summary.contains(&cause.text) {
        true => field("cause", &format!("{code} ({confidence})")),
        false => field("cause", &format!("{} ({confidence}: {code})", clean(&cause.text))),
    }
    if group.findings.len() > 1 {
        field("pods", &who(group));
    }
    let facts = if style.wide { usize::MAX } else { FACTS };
    let mut label = "evidence";
    for fact in first.evidence.iter().take(facts) {
        let at = fact.at.map(|at| format!(" ({})", age(at, now))).unwrap_or_default();
        field(label, &format!("{}: {}{at}", fact.source.as_str(), clean(&fact.text)));
        label = "";
    }
    if first.evidence.len() > facts {
        field("", &format!("and {} more, see -o wide", first.evidence.len() - facts));
    }
    let mut label = "next steps";
    for step in first.next_steps.iter().chain(&first.runbook_url) {
        let step = clean(step);
        // What is to be copied is never broken.
        let whole = step.starts_with("kubectl ") || step.starts_with("http");
        let lines =
            if whole { vec![step.into_owned()] } else { wrap(&step, columns.saturating_sub(LABEL + 4)) };
        for line in lines {
            out.push_str(&format!("  {}  {line}\n", paint.dim(&pad(label, LABEL))));
            label = "";
        }
    }
}

/// Where it runs, since when, how often.
fn circumstances(group: &Group<'_>, first: &Finding, now: jiff::Timestamp) -> String {
    let mut parts = vec![group.severity().as_str().to_owned()];
    match first.stage {
        Stage::Active => {}
        Stage::Pending => parts.push("may still recover by itself".to_owned()),
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
fn who(group: &Group<'_>) -> String {
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
fn seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What was looked at, what was not, and where to go on.
fn footer(out: &mut String, look: &Look<'_>, groups: &[Group<'_>], style: &Style) {
    let snapshot = look.snapshot;
    let namespaces: std::collections::BTreeSet<&str> =
        snapshot.pods.iter().map(|p| p.metadata.namespace.as_str()).collect();
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
    out.push('\n');
    for note in look.notes {
        text.push_str(&format!("\n{}.", clean(note).trim_end_matches('.')));
    }
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
