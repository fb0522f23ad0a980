//! The API: open incidents, those resolved last, and problems, as JSON.
//!
//! Must not know how incidents come about, and changes none.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Shown;
use crate::API_VERSION;
use crate::diagnosis::{Cause, Finding, Reach, Scope, Severity, problems};
use crate::incidents::compact::CompactFinding;
use crate::incidents::{Ending, IncidentEvent, IncidentId, What};

/// Items of a list if nothing else is asked for.
const ITEMS: usize = 500;
/// Items of a list at most.
const MAX_ITEMS: usize = 10_000;
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
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    api_version: &'static str,
    kind: &'static str,
    observed_at: Timestamp,
    tracked_pods: usize,
    /// Why the picture may be old or incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    /// All that match; `items` may hold fewer.
    total: usize,
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

    /// All but the namespace.
    fn matches_kept(&self, severity: Option<Severity>, compact: &CompactFinding) -> bool {
        self.reason.as_ref().is_none_or(|r| r == compact.reason.as_str())
            && severity.is_none_or(|s| compact.severity >= s)
    }

    fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|n| n == namespace)
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(ITEMS).min(MAX_ITEMS)
    }
}

type Asked = Result<Query<Wanted>, axum::extract::rejection::QueryRejection>;

fn check(asked: Asked) -> Result<(Wanted, Option<Severity>), String> {
    let Query(wanted) = asked.map_err(|rejection| {
        format!("{}; known are namespace, severity, reason and limit", rejection.body_text())
    })?;
    let severity = wanted.severity()?;
    Ok((wanted, severity))
}

pub(super) fn incidents(State(shown): State<Arc<Shown>>, asked: Asked) -> Response {
    let (wanted, severity) = match check(asked) {
        Ok(checked) => checked,
        Err(why) => return (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    };
    // Under the lock only what is shared is taken hold of; the rest is unpacked after it.
    let (mut open, resolved, tracked_pods) = {
        let incidents = shown.incidents.read().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<(IncidentId, Timestamp, Arc<CompactFinding>)> = incidents
            .open()
            .filter(|i| wanted.matches_kept(severity, &i.compact))
            .map(|i| (i.id, i.noticed, Arc::clone(&i.compact)))
            .collect();
        let resolved: Vec<Resolved> = incidents
            .resolved()
            .filter(|e| wanted.matches(severity, &e.finding))
            .filter_map(Resolved::of)
            .take(RESOLVED)
            .collect();
        (open, resolved, incidents.pods())
    };
    if wanted.namespace.is_some() {
        open.retain(|(.., compact)| wanted.is_in(&compact.finding().namespace));
    }
    let total = open.len();
    // Worst first; among equals the newest, which is what somebody who looks has come for.
    open.sort_by(|a, b| (b.2.severity, b.2.since).cmp(&(a.2.severity, a.2.since)).then(a.0.cmp(&b.0)));
    open.truncate(wanted.limit());
    let items = open
        .into_iter()
        .map(|(id, noticed_at, compact)| Open { id, noticed_at, finding: compact.finding() })
        .collect();
    let list = List {
        api_version: API_VERSION,
        kind: "IncidentList",
        observed_at: (shown.clock)(),
        tracked_pods,
        not_ready: shown.ready().err(),
        total,
        items,
        resolved,
    };
    Json(list).into_response()
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

pub(super) fn problems(State(shown): State<Arc<Shown>>, asked: Asked) -> Response {
    let (wanted, severity) = match check(asked) {
        Ok(checked) => checked,
        Err(why) => return (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    };
    let (open, tracked_pods) = {
        let incidents = shown.incidents.read().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<(IncidentId, Arc<CompactFinding>)> = incidents
            .open()
            .filter(|i| wanted.matches_kept(severity, &i.compact))
            .map(|i| (i.id, Arc::clone(&i.compact)))
            .collect();
        (open, incidents.pods())
    };
    let found = open.into_iter().map(|(id, compact)| (id, without_details(&compact)));
    let open: Vec<_> = found.filter(|(_, finding)| wanted.is_in(&finding.namespace)).collect();
    let mut items = group(&open);
    let total = items.len();
    items.truncate(wanted.limit());
    let list = List {
        api_version: API_VERSION,
        kind: "ProblemList",
        observed_at: (shown.clock)(),
        tracked_pods,
        not_ready: shown.ready().err(),
        total,
        items,
        resolved: Vec::new(),
    };
    Json(list).into_response()
}

/// What problems are made of, without the longest parts: in a storm tens of thousands are unpacked at once.
fn without_details(compact: &CompactFinding) -> Finding {
    let mut finding = compact.finding();
    finding.summary = String::new();
    finding.evidence = Vec::new();
    finding.next_steps = Vec::new();
    finding
}

/// Open incidents by what they share; incidents of their own are no problem of several.
fn group(open: &[(IncidentId, Finding)]) -> Vec<Problem> {
    let findings: Vec<&Finding> = open.iter().map(|(_, finding)| finding).collect();
    let shared = problems::group(&findings).into_iter().filter(|problem| problem.findings.len() > 1);
    shared
        .map(|problem| {
            let members = || problem.findings.iter().filter_map(|&at| open.get(at));
            let workloads: BTreeSet<String> = members()
                .filter_map(|(_, f)| {
                    f.workload.as_ref().map(|w| format!("{}/{}/{}", f.namespace, w.kind, w.name))
                })
                .collect();
            Problem {
                reasons: members().map(|(_, f)| f.reason.as_str().to_owned()).collect(),
                since: members().filter_map(|(_, f)| f.since).min(),
                workloads: workloads.into_iter().take(NAMED).collect(),
                incidents: members().map(|(id, _)| *id).take(NAMED).collect(),
                cause: problem.cause,
                scope: problem.scope,
                severity: problem.severity,
                reach: problem.reach,
            }
        })
        .collect()
}
