//! Causes that several open incidents share.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::groups::{member, problem_key, said};
use super::{Filter, Overview, each_open};
use crate::diagnosis::problems::Groups;
use crate::diagnosis::{Cause, Reach, Scope, Severity};
use crate::incidents::IncidentId;
use crate::server::page::{BadToken, Page, Wanted};

/// Incidents and workloads of a problem that are named; its reach counts all.
const NAMED: usize = 100;

/// A page of the problems.
pub struct Problems {
    /// All problems.
    pub total: usize,
    pub items: Vec<Problem>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    cause: Cause,
    scope: Scope,
    severity: Severity,
    reasons: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    reach: Reach,
    workloads: BTreeSet<String>,
    incidents: Vec<IncidentId>,
}

/// Worst first, farthest reach first, then by name.
pub(in crate::server) type Key = (Reverse<u8>, Reverse<usize>, Reverse<usize>, String, String, String);

/// What is named of a problem beside its reach.
#[derive(Default)]
struct Named {
    reasons: BTreeSet<String>,
    since: Option<Timestamp>,
    workloads: BTreeSet<String>,
    incidents: Vec<IncidentId>,
}

impl Named {
    fn add(&mut self, seen: &super::Seen<'_>) {
        if !self.reasons.contains(seen.compact.reason.as_str()) {
            self.reasons.insert(seen.compact.reason.as_str().to_owned());
        }
        self.since = match (self.since, seen.compact.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(w) = seen.workload() {
            self.workloads.insert(format!("{}/{}/{}", seen.namespace(), w.kind, w.name));
            if self.workloads.len() > NAMED {
                self.workloads.pop_last();
            }
        }
        if self.incidents.len() < NAMED {
            self.incidents.push(seen.id);
        }
    }
}

/// The causes that several matching incidents share, a page of them.
pub fn problems(overview: &Overview<'_>, filter: &Filter, wanted: &Wanted) -> Result<Problems, BadToken> {
    let mut page = Page::<Key, Problem>::new(wanted)?;
    let grouping = overview.grouping();
    let mut matching = filter.matching(overview);
    let mut groups = Groups::<Named>::default();
    each_open(&overview.shown.incidents, |seen| {
        let of = grouping.cause(seen);
        if matching.matches(seen)
            && let Some(key) = problem_key(seen, of)
        {
            groups.put(key, || said(seen, of), &member(seen)).add(seen);
        }
    });
    // Incidents of their own are no problem of several.
    for (key, group) in groups.into_iter().filter(|(_, group)| group.findings > 1) {
        let reach = group.reach();
        let place = (
            Reverse(group.severity as u8),
            Reverse(reach.pods),
            Reverse(reach.workloads),
            key.code.as_str().to_owned(),
            key.scope.kind.to_owned(),
            key.scope.name.clone(),
        );
        page.offer(place, || Problem {
            reach,
            cause: Cause { code: key.code, text: group.cause },
            scope: key.scope,
            severity: group.severity,
            reasons: group.more.reasons,
            since: group.more.since,
            workloads: group.more.workloads,
            incidents: group.more.incidents,
        });
    }
    let total = page.total;
    let (items, next) = page.done(Problem::size);
    Ok(Problems { total, items, next })
}

impl Problem {
    /// About, in bytes.
    fn size(&self) -> usize {
        let workloads: usize = self.workloads.iter().map(|w| w.len() + 4).sum();
        200 + self.cause.text.len() + self.scope.name.len() + workloads + 20 * self.incidents.len()
    }
}
