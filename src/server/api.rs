//! The API: open incidents, those resolved last, and problems, as JSON, a page at a time.
//!
//! Must not know how incidents come about, and changes none.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::listen::Client;
use super::page::{self, BadToken, FindingKey, Page};
use super::{Instance, Served, Shown};
use crate::API_VERSION;
use crate::diagnosis::problems::Groups;
use crate::diagnosis::victims::{Causes, may_serve};
use crate::diagnosis::{Cause, Finding, Reach, Scope, Severity};
use crate::incidents::compact::CompactFinding;
use crate::incidents::store::WorkloadKey;
use crate::incidents::{Ending, Incident, IncidentEvent, IncidentId, Incidents, What};

/// Resolved incidents that are shown.
const RESOLVED: usize = 50;
/// Incidents and workloads of a problem that are named; its reach counts all.
const NAMED: usize = 100;

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    namespace: Option<String>,
    severity: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    observed_at: Timestamp,
    #[serde(flatten)]
    instance: &'a Instance,
    tracked_pods: usize,
    /// Why the picture may be old or incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    /// All that match; `items` may hold fewer.
    total: usize,
    /// Where the next page begins, if there is one.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    items: Vec<T>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolved: Vec<Resolved>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    id: IncidentId,
    noticed_at: Timestamp,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved {
    id: IncidentId,
    resolved_at: Timestamp,
    ending: Ending,
    text: String,
    #[serde(flatten)]
    finding: Finding,
}

impl Resolved {
    fn of(event: &IncidentEvent) -> Option<Self> {
        let What::Resolved(ending) = event.what else { return None };
        Some(Self {
            id: event.id,
            resolved_at: event.at,
            ending,
            text: event.text.clone(),
            finding: (*event.finding).clone(),
        })
    }
}

impl Wanted {
    fn severity(&self) -> Result<Option<Severity>, String> {
        self.severity.as_deref().map(str::parse).transpose()
    }

    fn matches(&self, severity: Option<Severity>, finding: &Finding) -> bool {
        self.is_in(&finding.namespace)
            && self.reason.as_ref().is_none_or(|r| r == finding.reason.as_str())
            && severity.is_none_or(|s| finding.severity >= s)
    }

    fn is_in_namespace_of(&self, namespace: Option<&str>, compact: &CompactFinding) -> bool {
        match namespace {
            Some(namespace) => self.is_in(namespace),
            None => self.is_in(&compact.finding().namespace),
        }
    }

    /// All but the namespace.
    fn matches_compact(&self, severity: Option<Severity>, compact: &CompactFinding) -> bool {
        self.reason.as_ref().is_none_or(|r| r == compact.reason.as_str())
            && severity.is_none_or(|s| compact.severity >= s)
    }

    fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|n| n == namespace)
    }

    fn page(&self) -> page::Wanted {
        page::Wanted { after: self.after.clone(), limit: self.limit }
    }
}

type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// A query that cannot be read, in words.
fn unreadable(rejection: &axum::extract::rejection::QueryRejection, known: &str) -> Response {
    let words = rejection.body_text();
    let why = words.strip_prefix("Failed to deserialize query string: ").unwrap_or(&words);
    bad(format!("the query cannot be read: {why}; known are {known}"))
}

/// A request that cannot be answered, in words.
fn bad(why: impl std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
}

/// Makes a page of a list.
type Render = fn(&Shown, &Wanted, Option<Severity>) -> Result<Vec<u8>, BadToken>;

/// A list, rendered by what is asked for. A question is known by its words, so the bad ones are found out before it is shared.
async fn list<K: Ord + Serialize + serde::de::DeserializeOwned>(
    server: Arc<super::Server>,
    from: Client,
    headers: HeaderMap,
    asked: Asked<Wanted>,
    kind: &'static str,
    render: Render,
) -> Response {
    let wanted = match asked {
        Ok(Query(wanted)) => wanted,
        Err(rejection) => {
            return unreadable(&rejection, "namespace, severity, reason, limit and continue");
        }
    };
    let severity = match wanted.severity() {
        Ok(severity) => severity,
        Err(why) => return bad(why),
    };
    if let Err(why) = Page::<K, ()>::new(&wanted.page()) {
        return bad(why);
    }
    let question = format!("{kind} {wanted:?}");
    let shown = Arc::clone(&server.shown);
    // The token has been read before.
    let render = move || render(&shown, &wanted, severity).unwrap_or_default();
    server.answers.answer(question, from.0, &headers, render).await
}

/// Worst first; among equals the newest, which is what somebody who looks has come for.
type IncidentKey = (Reverse<u8>, Reverse<Option<Timestamp>>, String);

/// Goes through the open incidents, with their workloads where they are at hand. The lock is held for some pods at a time.
fn each_open(incidents: &RwLock<Incidents>, mut look: impl FnMut(Option<&WorkloadKey>, &Incident)) {
    const PODS: usize = 100;
    let mut place = 0;
    loop {
        let incidents = incidents.read();
        let mut more = false;
        for (at, pod) in incidents.active_from(place).take(PODS) {
            pod.incidents.iter().for_each(|i| look(Some(pod.workload_key), i));
            (place, more) = (at + 1, true);
        }
        if !more {
            incidents.workloads_and_nodes().for_each(|i| look(None, i));
            return;
        }
    }
}

pub(super) async fn incidents(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Asked<Wanted>,
) -> Response {
    list::<IncidentKey>(server, from, headers, asked, "incidents", render_incidents).await
}

fn render_incidents(shown: &Shown, wanted: &Wanted, severity: Option<Severity>) -> Result<Vec<u8>, BadToken> {
    let mut page = Page::<IncidentKey, (IncidentId, Timestamp, Arc<CompactFinding>)>::new(&wanted.page())?;
    each_open(&shown.incidents, |workload_key, incident| {
        let compact = &incident.compact;
        if !wanted.matches_compact(severity, compact)
            || wanted.namespace.is_some()
                && !wanted.is_in_namespace_of(workload_key.map(|key| &*key.namespace), compact)
        {
            return;
        }
        let key = (Reverse(compact.severity as u8), Reverse(compact.since), incident.id.to_string());
        page.offer(key, || (incident.id, incident.noticed, Arc::clone(compact)));
    });
    let (resolved, tracked_pods) = {
        let incidents = shown.incidents.read();
        let resolved = incidents
            .resolved()
            .filter(|e| wanted.matches(severity, &e.finding))
            .filter_map(Resolved::of)
            .take(if wanted.after.is_none() { RESOLVED } else { 0 })
            .collect();
        (resolved, incidents.pods())
    };
    let total = page.total;
    let (open, next) = page.done(|(.., compact)| compact.size());
    let items = open
        .into_iter()
        .map(|(id, noticed_at, compact)| Open { id, noticed_at, finding: compact.finding() })
        .collect();
    Ok(json(&List {
        api_version: API_VERSION,
        kind: "IncidentList",
        observed_at: (shown.clock)(),
        instance: &shown.instance,
        tracked_pods,
        not_ready: shown.ready().err(),
        total,
        next,
        items,
        resolved,
    }))
}

fn json(list: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists only: there is nothing that could fail.
    serde_json::to_vec(list).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    cause: Cause,
    scope: Scope,
    severity: Severity,
    reasons: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    reach: Reach,
    workloads: Vec<String>,
    incidents: Vec<IncidentId>,
}

/// Worst first, farthest reach first, then by name.
type ProblemKey = (Reverse<u8>, Reverse<usize>, Reverse<usize>, String, String, String);

pub(super) async fn problems(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Asked<Wanted>,
) -> Response {
    list::<ProblemKey>(server, from, headers, asked, "problems", render_problems).await
}

/// What is named of a problem beside its reach.
#[derive(Default)]
struct Named {
    reasons: BTreeSet<String>,
    since: Option<Timestamp>,
    workloads: BTreeSet<String>,
    incidents: Vec<IncidentId>,
}

impl Named {
    fn add(&mut self, id: IncidentId, finding: &Finding) {
        if !self.reasons.contains(finding.reason.as_str()) {
            self.reasons.insert(finding.reason.as_str().to_owned());
        }
        self.since = match (self.since, finding.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(w) = &finding.workload {
            self.workloads.insert(format!("{}/{}/{}", finding.namespace, w.kind, w.name));
            if self.workloads.len() > NAMED {
                self.workloads.pop_last();
            }
        }
        if self.incidents.len() < NAMED {
            self.incidents.push(id);
        }
    }
}

/// The incidents from which others may follow, unpacked.
fn causes(incidents: &RwLock<Incidents>) -> Causes {
    let mut serving = Vec::new();
    each_open(incidents, |workload_key, incident| {
        if serving.len() < MAX_SERVING && workload_key.is_some_and(|key| may_serve(&key.workload.name)) {
            serving.push(incident.compact.finding());
        }
    });
    Causes::among(&serving)
}

/// Incidents that are unpacked for that.
const MAX_SERVING: usize = 1_000;

/// The incidents are unpacked one at a time: in a storm there are tens of thousands.
fn render_problems(shown: &Shown, wanted: &Wanted, severity: Option<Severity>) -> Result<Vec<u8>, BadToken> {
    let mut page = Page::<ProblemKey, Problem>::new(&wanted.page())?;
    let mut groups = Groups::<Named>::with(causes(&shown.incidents));
    each_open(&shown.incidents, |workload_key, incident| {
        let compact = &incident.compact;
        if wanted.matches_compact(severity, compact)
            && (wanted.namespace.is_none()
                || wanted.is_in_namespace_of(workload_key.map(|key| &*key.namespace), compact))
        {
            let finding = compact.finding();
            if let Some(named) = groups.add(&finding) {
                named.add(incident.id, &finding);
            }
        }
    });
    // Incidents of their own are no problem of several.
    for (key, group) in groups.into_iter().filter(|(_, group)| group.findings > 1) {
        let place = (
            Reverse(group.severity as u8),
            Reverse(group.reach().pods),
            Reverse(group.reach().workloads),
            key.code.as_str().to_owned(),
            key.scope.kind.to_owned(),
            key.scope.name.clone(),
        );
        page.offer(place, || Problem {
            reach: group.reach(),
            cause: Cause { code: key.code, text: group.cause },
            scope: key.scope,
            severity: group.severity,
            reasons: group.more.reasons,
            since: group.more.since,
            workloads: group.more.workloads.into_iter().collect(),
            incidents: group.more.incidents,
        });
    }
    let total = page.total;
    let (items, next) = page.done(Problem::size);
    let tracked_pods = shown.incidents.read().pods();
    Ok(json(&List {
        api_version: API_VERSION,
        kind: "ProblemList",
        observed_at: (shown.clock)(),
        instance: &shown.instance,
        tracked_pods,
        not_ready: shown.ready().err(),
        total,
        next,
        items,
        resolved: Vec::new(),
    }))
}

impl Problem {
    /// About, in bytes.
    fn size(&self) -> usize {
        let workloads: usize = self.workloads.iter().map(|w| w.len() + 4).sum();
        200 + self.cause.text.len() + self.scope.name.len() + workloads + 20 * self.incidents.len()
    }
}

/// What may be asked for of a diagnosis.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedOfDiagnosis {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    after: Option<String>,
}

pub(super) async fn diagnosis(
    State(server): Served,
    Extension(from): Extension<Client>,
    headers: HeaderMap,
    asked: Asked<WantedOfDiagnosis>,
) -> Response {
    let wanted = match asked {
        Ok(Query(WantedOfDiagnosis { limit, after })) => page::Wanted { limit, after },
        Err(rejection) => return unreadable(&rejection, "limit and continue"),
    };
    if let Err(why) = Page::<FindingKey, ()>::new(&wanted) {
        return bad(why);
    }
    let question = format!("diagnosis {wanted:?}");
    let shown = Arc::clone(&server.shown);
    // The token has been read before.
    let render = move || (shown.diagnosis)(&wanted).unwrap_or_default().into_bytes();
    server.answers.answer(question, from.0, &headers, render).await
}
