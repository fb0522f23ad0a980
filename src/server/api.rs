//! The API: what [`query`] finds, as JSON.
//!
//! Must not know how incidents come about, and changes none.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answers::Rendered;
use super::listen::Client;
use super::page::{self, BadToken, FindingKey, Page, Wanted};
use super::problem::problem;
use super::query::{self, Asked, Filter, Sort};
use super::{Instance, Served, Server, Shown};
use crate::API_VERSION;
use crate::incidents::{Counts, IncidentId};

/// The beginning of every answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    api_version: &'static str,
    kind: &'static str,
    observed_at: Timestamp,
    #[serde(flatten)]
    instance: &'a Instance,
    tracked_pods: usize,
    /// Why the picture may be old or incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    /// All open incidents, whatever is asked for.
    open: Counts,
}

impl<'a> Head<'a> {
    fn of(shown: &'a Shown, kind: &'static str) -> Self {
        let (tracked_pods, open) = {
            let incidents = shown.incidents.read();
            (incidents.pods(), incidents.counts())
        };
        Self {
            api_version: API_VERSION,
            kind,
            observed_at: (shown.clock)(),
            instance: &shown.instance,
            tracked_pods,
            not_ready: shown.ready().err(),
            open,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, T> {
    #[serde(flatten)]
    head: Head<'a>,
    /// All that match; `items` may hold fewer.
    total: usize,
    /// The incidents that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
    /// Where the next page begins, if there is one.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    items: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolved: Vec<query::Resolved>,
}

/// One thing, with the head of a list.
#[derive(Serialize)]
struct One<'a, T> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    item: T,
}

pub(super) type Params<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// A query that cannot be read, in words.
fn unreadable(rejection: &axum::extract::rejection::QueryRejection, known: &str) -> Response {
    bad(format!("the query is not valid: {}; valid parameters: {known}", why_unreadable(rejection)))
}

/// What is wrong with a query, without what the parser adds: "field" is its word for a parameter.
pub(super) fn why_unreadable(rejection: &axum::extract::rejection::QueryRejection) -> String {
    let words = rejection.body_text();
    let why = words.strip_prefix("Failed to deserialize query string: ").unwrap_or(&words);
    let why = why.split(", expected ").next().unwrap_or(why);
    let (parameter, rest) = why.split_once(": ").unwrap_or(("", why));
    let rest = rest.replacen("unknown field", "unknown parameter", 1).replacen(
        "duplicate field",
        "more than one parameter",
        1,
    );
    // Of one that is not known the name is in the words as well.
    if parameter.is_empty() || rest.contains(&format!("`{parameter}`")) {
        return rest;
    }
    format!("{parameter}: {rest}")
}

/// A request that cannot be answered, in words.
pub(super) fn bad(why: impl std::fmt::Display) -> Response {
    problem(StatusCode::BAD_REQUEST, why)
}

pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists only: there is nothing that could fail.
    serde_json::to_vec(document).unwrap_or_default()
}

/// Makes a page of a list.
type Render = fn(&Shown, &Filter, Sort, &Wanted) -> Result<Vec<u8>, BadToken>;

/// A list, rendered by what is asked for. A question is known by its words, so the bad ones are found out before it is shared.
async fn list<K: Ord + Serialize + DeserializeOwned>(
    server: Arc<Server>,
    from: Client,
    headers: HeaderMap,
    asked: Params<Asked>,
    kind: &'static str,
    render: Render,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => {
            return unreadable(
                &rejection,
                "namespace, severity, reason, owner, node, q, group, sort, limit and continue",
            );
        }
    };
    let (filter, sort, wanted) = match (asked.filter(), asked.sort()) {
        (Ok(filter), Ok(sort)) => (filter, sort, asked.page()),
        (Err(why), _) | (_, Err(why)) => return bad(why),
    };
    if let Err(why) = Page::<K, ()>::new(&wanted) {
        return bad(why);
    }
    let question = format!("{kind} {asked:?}");
    let shown = Arc::clone(&server.shown);
    // The token has been read before.
    let render = move || match filter.unknown_reason(&shown) {
        Some(why) => Rendered::problem(StatusCode::BAD_REQUEST, why.to_string()),
        None => Rendered::json(render(&shown, &filter, sort, &wanted).unwrap_or_default()),
    };
    server.answers.answer(question, from.0, &headers, render).await
}

pub(super) async fn incidents(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Params<Asked>,
) -> Response {
    list::<query::Key>(server, from, headers, asked, "IncidentList", |shown, filter, sort, wanted| {
        let overview = query::Overview::new(shown);
        let query::List { counts, items, next } = query::incidents(&overview, filter, sort, wanted)?;
        let resolved = if wanted.after.is_none() { query::resolved(&overview, filter) } else { Vec::new() };
        let (head, total) = (Head::of(shown, "IncidentList"), counts.total());
        Ok(json(&List { head, total, counts: Some(counts), next, items, resolved }))
    })
    .await
}

pub(super) async fn groups(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Params<Asked>,
) -> Response {
    list::<query::GroupKey>(server, from, headers, asked, "GroupList", |shown, filter, sort, wanted| {
        let query::Groups { total, counts, items, next } =
            query::groups(&query::Overview::new(shown), filter, sort, wanted)?;
        let head = Head::of(shown, "GroupList");
        Ok(json(&List { head, total, counts: Some(counts), next, items, resolved: Vec::new() }))
    })
    .await
}

pub(super) async fn problems(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Params<Asked>,
) -> Response {
    list::<query::ProblemKey>(server, from, headers, asked, "ProblemList", |shown, filter, _, wanted| {
        let query::Problems { total, items, next } =
            query::problems(&query::Overview::new(shown), filter, wanted)?;
        let head = Head::of(shown, "ProblemList");
        Ok(json(&List { head, total, counts: None, next, items, resolved: Vec::new() }))
    })
    .await
}

pub(super) async fn incident(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // Bytes that are not UTF-8.
    let Ok(Path(id)) = id else {
        return bad("the id of the incident is not valid: use one from /api/v1/incidents");
    };
    let Ok(id) = id.parse::<IncidentId>() else { return problem(StatusCode::NOT_FOUND, unknown(&id)) };
    let shown = Arc::clone(&server.shown);
    let render = move || match query::incident(&shown, id) {
        Some(item) => Rendered::json(json(&One { head: Head::of(&shown, "Incident"), item })),
        None => Rendered::problem(StatusCode::NOT_FOUND, unknown(&id.to_string())),
    };
    server.answers.answer(format!("incident {id}"), from.0, &headers, render).await
}

fn unknown(id: &str) -> String {
    let id = crate::redact::clean(crate::redact::cut(id, 100)).into_owned();
    format!("no open or recently resolved incident has the id {id}")
}

/// What may be asked for where there is nothing to filter.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pages {
    #[serde(default, deserialize_with = "page::limit")]
    limit: Option<usize>,
    #[serde(default, rename = "continue", deserialize_with = "page::token")]
    after: Option<String>,
}

/// The page that is asked for of a list with such keys.
fn page_of<K: Ord + Serialize + DeserializeOwned>(asked: Params<Pages>) -> Result<Wanted, Box<Response>> {
    let wanted = match asked {
        Ok(Query(Pages { limit, after })) => Wanted { limit, after, order: "" },
        Err(rejection) => return Err(Box::new(unreadable(&rejection, "limit and continue"))),
    };
    Page::<K, ()>::new(&wanted).map_err(|why| Box::new(bad(why)))?;
    Ok(wanted)
}

pub(super) async fn history(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Params<Pages>,
) -> Response {
    let wanted = match page_of::<query::HistoryKey>(asked) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let question = format!("history {wanted:?}");
    let shown = Arc::clone(&server.shown);
    let render = move || {
        // The token has been read before.
        let found = query::history(&shown, &wanted).ok();
        Rendered::json(
            found.map(|item| json(&One { head: Head::of(&shown, "History"), item })).unwrap_or_default(),
        )
    };
    server.answers.answer(question, from.0, &headers, render).await
}

pub(super) async fn diagnosis(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Params<Pages>,
) -> Response {
    let wanted = match page_of::<FindingKey>(asked) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let question = format!("diagnosis {wanted:?}");
    let shown = Arc::clone(&server.shown);
    // The token has been read before.
    let render = move || Rendered::json((shown.diagnosis)(&wanted).unwrap_or_default().into_bytes());
    server.answers.answer(question, from.0, &headers, render).await
}
