//! The status page: rendered here as a whole and readable without JavaScript, which only keeps it up to date.
//!
//! maud escapes every text; [`clean`] takes out what reorders or hides text. Links are relative, so that they work behind a proxy
//! that serves all of this below a path of its own.
//!
//! Must not know how incidents come about, and changes none.

mod incident;
mod index;
mod runbook;
mod strip;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::answers::Rendered;
use super::api::Params;
use super::listen::Client;
use super::page::BadToken;
use super::query::{self, Asked, BadFilter};
use super::{Served, Shown};
use crate::diagnosis::{Finding, Severity};
use crate::incidents::IncidentId;
use crate::redact::clean;
use crate::report::{age, count, span, thousands};

/// The stylesheet.
pub(super) const CSS: &str = include_str!("status/page.css");
/// What keeps a page up to date.
pub(super) const JS: &str = include_str!("status/page.js");

const HTML: &str = "text/html; charset=utf-8";

/// What a page is, and whether it is what was asked for.
type Page = (StatusCode, String);
/// Who asks, and what they have already.
type Visit = (Served, Extension<Client>, HeaderMap);

pub(super) async fn list(visit: Visit, asked: Params<Asked>) -> Response {
    let asked = asked.map(|Query(asked)| asked).map_err(|rejection| super::api::why_unreadable(&rejection));
    let question = format!("page {asked:?}");
    let render = move |shown: &Shown| {
        let (asked, list) = match asked {
            Ok(asked) => {
                let list = index::list(shown, &asked);
                (asked, list)
            }
            Err(why) => (Asked::default(), Err(Failure::Query(why))),
        };
        match list {
            Ok(page) => (StatusCode::OK, page),
            Err(why) => (StatusCode::BAD_REQUEST, index::refused(shown, &asked, &why)),
        }
    };
    answer(visit, question, render).await
}

/// A path of bytes that are not UTF-8 leads nowhere, as any other that is not known.
type Part = Result<Path<String>, PathRejection>;

pub(super) async fn incident(visit: Visit, id: Part) -> Response {
    let id = id.ok().and_then(|Path(id)| id.parse::<IncidentId>().ok());
    let render = move |shown: &Shown| match id.and_then(|id| query::incident(shown, id)) {
        Some(detail) => (StatusCode::OK, incident::incident(shown, &detail)),
        None => (StatusCode::NOT_FOUND, incident::unknown(shown)),
    };
    answer(visit, format!("page of {id:?}"), render).await
}

pub(super) async fn runbook(visit: Visit, reason: Part) -> Response {
    let reason = reason.ok().and_then(|Path(reason)| crate::runbooks::names().find(|name| *name == reason));
    let render = move |shown: &Shown| match reason.and_then(|reason| incident::of_reason(shown, reason)) {
        Some(page) => (StatusCode::OK, page),
        None => (StatusCode::NOT_FOUND, incident::unknown_reason(shown)),
    };
    answer(visit, format!("runbook {reason:?}"), render).await
}

/// A page, rendered once for everybody who asks for it within a second.
async fn answer(
    visit: Visit,
    question: String,
    render: impl FnOnce(&Shown) -> Page + Send + 'static,
) -> Response {
    let (State(server), Extension(from), headers) = visit;
    let shown = Arc::clone(&server.shown);
    let render = move || {
        let (status, page) = render(&shown);
        Rendered { status, content_type: HTML, bytes: page.into_bytes() }
    };
    let response = server.answers.answer(question, from.0, &headers, render).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE { in_words(response) } else { response }
}

/// The answer that there is too much to do, as a page that asks again.
fn in_words(response: Response) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content="2";
                title { "KubeHealer is busy" }
            }
            body { main { h1 { "KubeHealer is busy" } p { "There are too many requests at the moment. This page retries in 2 s." } } }
        }
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    Response::from_parts(parts, Body::from(page.into_string()))
}

/// A page with this between its head and its foot. `root` is the way from it to `/`.
fn page(shown: &Shown, root: &str, title: &str, main: &Markup) -> Markup {
    let cluster = clean(&shown.instance.cluster);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · KubeHealer" @if !cluster.is_empty() { " " (cluster) } }
                link rel="icon" href="data:,";
                link rel="stylesheet" href={ (root) "status.css" };
                script src={ (root) "status.js" } defer {}
            }
            body data-root=(root) {
                a.skip href="#main" { "Skip to content" }
                header {
                    div.top { div.page #about { (about(shown, root, &cluster)) } }
                    div.page #notes { (notes(shown)) }
                }
                (main)
                (foot(root))
                p.unseen #say role="status" {}
            }
        }
    }
}

/// What this is, what is watched, and how fresh it is.
fn about(shown: &Shown, root: &str, cluster: &str) -> Markup {
    let pods = shown.incidents.read().pods();
    let scope = match shown.instance.scope.as_str() {
        "" => "in all namespaces",
        scope => scope,
    };
    let mut resources: Vec<&str> = shown.metrics.sources.watches().iter().map(|w| w.resource).collect();
    resources.dedup();
    let now = (shown.clock)();
    html! {
        a.brand href=(root) { (logo()) "KubeHealer" }
        @if !cluster.is_empty() { span.cluster { (cluster) } }
        span.quiet title={ "watched: " (resources.join(", ")) } { (count(pods, "pod")) " " (clean(scope)) }
        span.fresh #fresh { "As of " time #as-of datetime=(seconds(now)) { (now.strftime("%H:%M:%S UTC")) } }
    }
}

/// What the reader must know before the rest.
fn notes(shown: &Shown) -> Markup {
    let sources = &shown.metrics.sources;
    let not_ready = shown.ready().err();
    let mut unread: Vec<String> = sources.watches().iter().filter_map(|w| w.trouble()).collect();
    // What is wrong with the pods' watches is said already.
    unread.retain(|why| not_ready.as_ref().is_none_or(|said| !said.contains(why)));
    unread.extend(sources.unavailable().into_iter().map(str::to_owned));
    unread.sort_unstable();
    unread.dedup();
    html! {
        @if !shown.page.banner.is_empty() { p.note { (clean(&shown.page.banner)) } }
        @if let Some(why) = not_ready { p.note.bad { "Not up to date: " (clean(&why)) } }
        @if let Some(note) = shown.instance.note() {
            p.note.part { "Only part of the cluster: " (clean(&note)) ". For all of it: " code { "kubehealer diagnose -A" } }
        }
        @for why in unread.iter().take(NOTES) { p.note.part { "Cannot be read: " (clean(why)) } }
        @if unread.len() > NOTES { p.note.part { (unread.len() - NOTES) " more cannot be read: see the metrics" } }
    }
}

/// Notes about what cannot be read.
const NOTES: usize = 5;

fn foot(root: &str) -> Markup {
    html! {
        footer {
            div.page {
                span { "KubeHealer " (env!("CARGO_PKG_VERSION")) }
                a href={ (root) "api/v1/incidents" } { "incidents as JSON" }
                a href={ (root) "api/v1/problems" } { "problems as JSON" }
                a href={ (root) "api/v1/diagnosis" } { "diagnosis as JSON" }
                a href={ (root) "metrics" } { "metrics" }
                a href={ (root) "readyz" } { "readiness" }
                button.scripted-only data-does="keys" { "Keyboard" }
            }
        }
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keyboard" }
            dl {
                @for (key, does) in KEYS {
                    dt { kbd { (key) } }
                    dd { (does) }
                }
            }
            button data-does="close" { "Close" }
        }
    }
}

const KEYS: [(&str, &str); 6] = [
    ("/", "search"),
    ("j", "next row"),
    ("k", "previous row"),
    ("Enter", "open the row"),
    ("Esc", "leave a field"),
    ("?", "this help"),
];

fn logo() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" {
            path d="M12 2l8.7 5v10L12 22l-8.7-5V7z" {}
            path stroke-linecap="round" d="M6.5 12.5h3l1.5-4 2.5 7 1.5-3h2.5" {}
        }
    }
}

fn severity(severity: Severity) -> Markup {
    let word = severity.as_str();
    html! { span class={ "sev " (word) } { (word) } }
}

/// Why there is no list, in words.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the query cannot be read: {0}")]
    Query(String),
    #[error(transparent)]
    Filter(#[from] BadFilter),
    #[error(transparent)]
    Token(#[from] BadToken),
}

/// The address of the first page of a list like this one. `root` is the way to `/`.
fn address(root: &str, asked: &Asked, change: impl FnOnce(&mut Asked)) -> String {
    let mut wanted = Asked { after: None, ..asked.clone() };
    change(&mut wanted);
    let (limit, after) = (wanted.limit.map(|n| n.to_string()), wanted.after);
    let fields = [
        ("q", &wanted.q),
        ("severity", &wanted.severity),
        ("namespace", &wanted.namespace),
        ("reason", &wanted.reason),
        ("owner", &wanted.owner),
        ("node", &wanted.node),
        ("group", &wanted.group),
        ("sort", &wanted.sort),
        ("limit", &limit.unwrap_or_default()),
        ("continue", &after.unwrap_or_default()),
    ];
    let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { root.to_owned() } else { format!("{root}?{query}") }
}

/// Whose a finding is, without the pod.
fn brief_name(finding: &Finding) -> String {
    match &finding.workload {
        Some(workload) => format!("{} / {}/{}", finding.namespace, workload.kind, workload.name),
        None => format!("node {}", finding.node),
    }
}

/// As `datetime` has it.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A point in time, said so, and exactly to whoever asks.
fn time(at: Timestamp, said: &str) -> Markup {
    html! { time datetime=(seconds(at)) title=(at.strftime("%Y-%m-%d %H:%M:%S UTC")) { (said) } }
}

/// How long ago.
fn ago(at: Timestamp, now: Timestamp) -> Markup {
    time(at, &age(at, now))
}

/// What the clock showed.
fn clock(at: Timestamp, now: Timestamp) -> Markup {
    let day = |time: Timestamp| time.as_second().div_euclid(86_400);
    let format = if day(at) == day(now) { "%H:%M:%S" } else { "%b %-d %H:%M" };
    time(at, &at.strftime(format).to_string())
}

/// A sentence with its times as people read them.
fn sentence(text: &str, now: Timestamp) -> Markup {
    html! {
        @for (n, word) in clean(text).split(' ').enumerate() {
            @if n > 0 { " " }
            @match begins_with_time(word) {
                Some((at, rest)) => { (clock(at, now)) " UTC" (rest) },
                None => (word),
            }
        }
    }
}

/// The time at the beginning of a word, and what is behind it.
fn begins_with_time(word: &str) -> Option<(Timestamp, &str)> {
    let (time, rest) = word.split_at_checked(word.find('Z')? + 1)?;
    Some((time.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    #[tokio::test]
    async fn a_page_that_has_to_wait_is_a_page_and_not_json() {
        let response = in_words(crate::server::answers::Busy.into_response());
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (503, &HeaderValue::from_static(HTML))
        );
        assert_eq!(response.headers()["retry-after"], "1");
        let page = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(String::from_utf8_lossy(&page).contains("<h1>KubeHealer is busy</h1>"), "{page:?}");
    }

    #[test]
    fn the_times_of_a_sentence_are_those_of_a_clock_and_the_rest_stays() {
        let now = "2026-12-02T10:00:00Z".parse().unwrap();
        let text = "Zoo <b> since 2026-12-02T09:23:37Z, from 2026-12-01T09:23:37.5Z to 99Z";
        let plain = regex::Regex::new("<[^>]*>").unwrap();
        assert_eq!(
            plain.replace_all(&sentence(text, now).into_string(), ""),
            "Zoo &lt;b&gt; since 09:23:37 UTC, from Dec 1 09:23 UTC to 99Z"
        );
    }
}
