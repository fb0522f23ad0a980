//! One incident: what is wrong, what to do, and how that is known.

use std::borrow::Cow;

use jiff::Timestamp;
use maud::{Markup, html};

use super::runbook::runbook;
use super::strip::strip;
use super::{address, ago, brief_name, clock, count, page, sentence, severity};
use crate::diagnosis::{Change, Evidence, Finding, Source};
use crate::redact::clean;
use crate::report::adds_to;
use crate::runbooks;
use crate::server::Shown;
use crate::server::query::{Asked, Detail};

/// From a page of this kind to `/`.
const ROOT: &str = "../";

/// The page of an incident.
pub(super) fn incident(shown: &Shown, detail: &Detail) -> String {
    let now = (shown.clock)();
    let f = &detail.finding;
    let main = html! {
        main.page.incident #main {
            p.crumbs {
                a href=(ROOT) { "All incidents" } " › "
                a href=(list_of(|a| a.group.clone_from(&detail.group))) { "its group" }
            }
            (head(detail, now))
            div.columns {
                div.stack {
                    (next_steps(shown, f))
                    @if !detail.changes.is_empty() { (changes(&detail.changes, now)) }
                    (evidence(&f.evidence, now))
                    (timeline(detail, now))
                    @if let Some(text) = runbooks::runbook(f.reason.as_str()) {
                        section.card {
                            details #runbook {
                                summary { h2 { "Runbook" } }
                                div.runbook { (runbook(text, ROOT)) }
                            }
                        }
                    }
                }
                aside aria-label="Particulars" {
                    (facts(shown, detail, now))
                    @if let Some(picture) = strip(&detail.history, now) {
                        section.card { h2 { "Last 6 hours of this workload" } (picture) }
                    }
                }
            }
        }
    };
    let title = format!("{} {}", f.reason.as_str(), brief_name(f));
    page(shown, ROOT, &clean(&title), &main).into_string()
}

/// The page of an incident that is not known, or not any more.
pub(super) fn unknown(shown: &Shown) -> String {
    let why =
        "KubeHealer keeps the last few hundred resolved incidents in memory and loses them when it restarts.";
    not_there(shown, "No such incident", why)
}

/// The page of a runbook that does not exist.
pub(super) fn unknown_reason(shown: &Shown) -> String {
    not_there(
        shown,
        "There is no such runbook",
        "Each built-in reason has one: kubehealer explain lists them.",
    )
}

fn not_there(shown: &Shown, title: &str, why: &str) -> String {
    let main = html! {
        main.page.incident #main {
            p.crumbs { a href=(ROOT) { "All incidents" } }
            section.card { h1 { (title) } p { (why) } }
        }
    };
    page(shown, ROOT, title, &main).into_string()
}

/// The runbook of a reason, on a page of its own.
pub(super) fn of_reason(shown: &Shown, reason: &str) -> Option<String> {
    let text = runbooks::runbook(reason)?;
    let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let main = html! {
        main.page.incident #main {
            p.crumbs {
                a href=(ROOT) { "All incidents" } " › "
                a href=(list_of(|a| reason.clone_into(&mut a.reason))) { "those with this reason" }
            }
            section.card { h1 { (title) } h2.quiet { "Runbook" } div.runbook { (runbook(text, ROOT)) } }
        }
    };
    Some(page(shown, ROOT, title, &main).into_string())
}

fn list_of(change: impl FnOnce(&mut Asked)) -> String {
    address(ROOT, &Asked::default(), change)
}

fn head(detail: &Detail, now: Timestamp) -> Markup {
    let f = &detail.finding;
    html! {
        header.card.(f.severity.as_str()).muted[f.muted.is_some()] {
            p {
                (severity(f.severity)) " " b { (clean(f.reason.as_str())) } " "
                @match &detail.over {
                    Some(over) => {
                        span.sev.good { "resolved: " (over.ending.as_str()) } " "
                        span.quiet { (ago(over.resolved_at, now)) }
                    },
                    None => span.quiet {
                        "open" @if let Some(since) = f.since { ", began " (ago(since, now)) }
                    },
                }
            }
            h1 { (clean(&f.summary)) }
            p.quiet { (clean(&brief_name(f))) @if !f.pod.is_empty() && !is_bare_pod(f) { " / " (clean(&f.pod)) } }
            @if let Some(over) = &detail.over { p { (sentence(&over.text, now)) } }
            @if adds_to(&f.summary, &f.cause.text) {
                p { (f.cause.code.as_str()) " (" (f.confidence.as_str()) "): " (clean(&f.cause.text)) }
            }
            @if let Some(mute) = &f.muted {
                p { "Muted until " (mute.until.strftime("%Y-%m-%d %H:%M UTC")) @if !mute.reason.is_empty() { ": " (clean(&mute.reason)) } }
            }
            @if let Some(id) = detail.caused_by { p { "Caused by " a href=(id) { "incident " (id) } "." } }
        }
    }
}

/// A pod that nothing owns is its own workload.
fn is_bare_pod(finding: &Finding) -> bool {
    finding.workload.as_ref().is_some_and(|workload| workload.kind == "Pod" && workload.name == finding.pod)
}

fn next_steps(shown: &Shown, finding: &Finding) -> Markup {
    let cluster = clean(&shown.instance.cluster);
    html! {
        section.card {
            h2 { "Next steps" }
            @if !cluster.is_empty() { p.quiet { "In the cluster " (cluster) ":" } }
            ol.steps {
                @for step in &finding.next_steps {
                    @let text = shown.page.flags.with(step);
                    @let (says, command) = command_of(&text);
                    li {
                        @if !says.is_empty() { span { (clean(says)) } }
                        @if !command.is_empty() {
                            code { (clean(command)) }
                            button.scripted-only data-does="copy" { "Copy" }
                        }
                    }
                }
            }
        }
    }
}

/// What a step says, and the command that it is or ends with: one that can be copied as it stands.
fn command_of(step: &str) -> (&str, &str) {
    let programs = ["kubectl ", "kubehealer "];
    if programs.iter().any(|program| step.starts_with(program)) {
        return ("", step);
    }
    let at = programs.iter().find_map(|program| Some(step.find(&format!(": {program}"))? + 2));
    match at.and_then(|at| step.split_at_checked(at)) {
        Some((says, command)) if !command.contains("; ") && !command.contains(", ") => (says, command),
        _ => (step, ""),
    }
}

fn changes(changes: &[Evidence], now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "What changed" }
            @for change in changes { (fact(change, now)) }
        }
    }
}

/// Where a fact is from, as a heading.
const SOURCES: [(Source, &str); 7] = [
    (Source::Status, "Status"),
    (Source::Log, "Log"),
    (Source::Event, "Events"),
    (Source::Spec, "Spec"),
    (Source::Node, "Node"),
    (Source::Owner, "Owner"),
    (Source::Rule, "Rules"),
];

fn evidence(evidence: &[Evidence], now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "Evidence" }
            @for (source, title) in SOURCES {
                // What changed has a part of its own.
                @let facts: Vec<&Evidence> = evidence.iter().filter(|fact| fact.source == source && !Change::is(fact)).collect();
                @if !facts.is_empty() {
                    h3 { (title) }
                    @for one in facts { (fact(one, now)) }
                }
            }
        }
    }
}

fn fact(fact: &Evidence, now: Timestamp) -> Markup {
    html! { p.quote { (clean(&fact.text)) @if let Some(at) = fact.at { " " span.quiet { "· " (ago(at, now)) } } } }
}

fn timeline(detail: &Detail, now: Timestamp) -> Markup {
    html! {
        section.card {
            div.line { h2 { "Timeline" } p { "UTC" } }
            ol.timeline {
                @for moment in detail.timeline.iter().rev() {
                    li class=(moment.event.as_str()) { (clock(moment.at, now)) p { (sentence(&moment.text, now)) } }
                }
            }
            @if detail.earlier_terminations > 0 {
                p.quiet { (count(detail.earlier_terminations as usize, "earlier termination")) " not listed." }
            }
        }
    }
}

/// A name, and where it leads if that is a list.
struct Row<'a>(&'static str, Cow<'a, str>, Option<String>);

fn facts(shown: &Shown, detail: &Detail, now: Timestamp) -> Markup {
    let f = &detail.finding;
    let text = |name, value: &'_ str| Row(name, Cow::Owned(clean(value).into_owned()), None);
    let mut rows = vec![
        Row("Namespace", clean(&f.namespace), Some(list_of(|a| a.namespace.clone_from(&f.namespace)))),
        text("Workload", &f.workload.as_ref().map(|w| format!("{}/{}", w.kind, w.name)).unwrap_or_default()),
        text("Pod", &f.pod),
        text("Container", &f.container),
        Row("Node", clean(&f.node), Some(list_of(|a| a.node.clone_from(&f.node)))),
        text("Image", &f.image),
        text("Restarts", &f.restart_count.map(|n| n.to_string()).unwrap_or_default()),
        text("Exit code", &f.exit_code.map(|n| n.to_string()).unwrap_or_default()),
        text("Cause", f.cause.code.as_str()),
        text("Confidence", f.confidence.as_str()),
    ];
    rows.retain(|row| !row.1.is_empty());
    html! {
        section.card {
            h2 { "Facts" }
            dl.facts {
                @for Row(name, value, href) in &rows {
                    dt { (name) }
                    dd { @match href { Some(href) => a href=(href) { (value) }, None => (value) } }
                }
                @for (name, value) in &f.labels {
                    dt { (clean(name)) }
                    dd { a href=(list_of(|a| a.owner.clone_from(value))) { (clean(value)) } }
                }
                dt { "Noticed" }
                dd { (ago(detail.noticed_at, now)) }
                dt { "Incident" }
                dd { a href={ (ROOT) "api/v1/incidents/" (detail.id) } { (detail.id) } }
                @if !shown.page.alertmanager_url.is_empty() {
                    dt { "Alerts" }
                    dd { a href=(alerts(&shown.page.alertmanager_url, f)) { "in Alertmanager" } }
                }
                @if let Some(url) = f.runbook_url.as_ref().filter(|url| url.starts_with("https://") || url.starts_with("http://")) {
                    dt { "More" }
                    dd { a href=(url) rel="noreferrer" { (clean(url)) } }
                }
            }
        }
    }
}

/// Its alerts in Alertmanager, by the labels that all of them have.
fn alerts(url: &str, finding: &Finding) -> String {
    let quoted =
        |name: &str, value: &str| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let matchers = match &finding.workload {
        Some(workload) => {
            [quoted("namespace", &finding.namespace), quoted("workload", &workload.name)].join(",")
        }
        None => quoted("node", &finding.node),
    };
    let filter: String = form_urlencoded::byte_serialize(format!("{{{matchers}}}").as_bytes()).collect();
    // It reads a space for what it is only in this form.
    format!("{url}/#/alerts?filter={}", filter.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_only_if_it_adds_to_the_summary() {
        let summary =
            "init container migrate: crash loop (exit code 1): relation \"accounts\" already exists";
        assert!(!adds_to(summary, "relation \"accounts\" already exists (exit code 1)"));
        assert!(adds_to(summary, "relation \"users\" already exists (exit code 1)"));
        assert!(adds_to(
            "container web: Secret tls does not exist",
            "Secret tls was not found in namespace shop"
        ));
    }

    #[test]
    fn a_command_is_told_from_the_sentence_that_it_ends() {
        let command = "kubectl describe nodes";
        assert_eq!(command_of(command), ("", command));
        assert_eq!(command_of("add nodes: kubectl describe nodes"), ("add nodes: ", command));
        for sentence in [
            "add nodes; kubectl describe nodes shows what they have",
            "find out why: kubectl get nodes, kubectl describe nodes",
            "compare with kubectl get nodes --show-labels",
        ] {
            assert_eq!(command_of(sentence), (sentence, ""));
        }
    }
}
