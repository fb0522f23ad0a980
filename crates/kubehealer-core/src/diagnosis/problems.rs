//! What several findings share: one bad image, one full node, one missing Secret. A problem is known by cause code and
//! scope, so its identity does not change as pods come and go.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::cause::CauseCode;
use super::finding::{Cause, Finding, Scope, Stage};
use super::reason::Severity;
use super::victims;

/// Several findings with one common cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The cause.
    pub cause: Cause,
    /// What it is about.
    pub scope: Scope,
    /// The worst of its findings'.
    pub severity: Severity,
    /// How far it reaches.
    pub reach: Reach,
    /// Positions in the survey's findings, rising.
    pub findings: Vec<usize>,
}

/// How far a problem reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Distinct pods.
    pub pods: usize,
    /// Distinct workloads.
    pub workloads: usize,
    /// Distinct nodes.
    pub nodes: usize,
}

/// What makes findings one problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProblemKey {
    /// The cause's code.
    pub code: CauseCode,
    /// What it is about.
    pub scope: Scope,
}

/// What a finding is a part of: the scope of its cause, else its own workload (a crash is the matter of its revision).
pub fn key(finding: &Finding) -> Option<ProblemKey> {
    if finding.stage != Stage::Active {
        return None;
    }
    let scope = finding.scope.clone().or_else(|| {
        let workload = finding.workload.as_ref()?;
        Some(Scope {
            kind: "workload",
            name: format!("{}/{}/{}", finding.namespace, workload.kind, workload.name),
        })
    })?;
    Some(ProblemKey { code: finding.cause.code, scope })
}

/// Groups findings, farthest reach first. One finding alone is a problem as well: the list is complete. What follows from
/// another finding is one problem with it.
pub fn group(findings: &[impl Borrow<Finding>]) -> Vec<Problem> {
    let mut groups: BTreeMap<ProblemKey, Vec<usize>> = BTreeMap::new();
    let causes: Vec<&Finding> =
        findings.iter().map(Borrow::borrow).filter(|f| victims::may_be_cause(f)).collect();
    let mut follow = Vec::new();
    for (i, finding) in findings.iter().enumerate() {
        let finding = finding.borrow();
        match victims::cause_of(finding, &causes) {
            Some(cause) => follow.extend(key(cause).map(|key| (key, i))),
            None => {
                if let Some(key) = key(finding) {
                    groups.entry(key).or_default().push(i);
                }
            }
        }
    }
    // Behind their cause, whose words are the problem's.
    for (key, i) in follow {
        groups.entry(key).or_default().push(i);
    }
    let mut problems: Vec<Problem> = groups
        .into_iter()
        .filter_map(|(key, mut members)| {
            let of: Vec<&Finding> =
                members.iter().filter_map(|&i| findings.get(i)).map(Borrow::borrow).collect();
            let first = of.first()?;
            let text = first.cause.text.clone();
            let (severity, reach) = (of.iter().map(|f| f.severity).max()?, reach(&of));
            members.sort_unstable();
            Some(Problem {
                cause: Cause { code: key.code, text },
                scope: key.scope,
                severity,
                reach,
                findings: members,
            })
        })
        .collect();
    problems.sort_by(|a, b| {
        (b.severity, b.reach.pods, b.reach.workloads)
            .cmp(&(a.severity, a.reach.pods, a.reach.workloads))
            .then_with(|| (a.cause.code.as_str(), &a.scope).cmp(&(b.cause.code.as_str(), &b.scope)))
    });
    problems
}

fn reach(findings: &[&Finding]) -> Reach {
    let pods: BTreeSet<_> =
        findings.iter().filter(|f| !f.pod.is_empty()).map(|f| (&f.namespace, &f.pod)).collect();
    let workloads: BTreeSet<_> =
        findings.iter().filter_map(|f| f.workload.as_ref().map(|w| (&f.namespace, w))).collect();
    let nodes: BTreeSet<_> = findings.iter().filter(|f| !f.node.is_empty()).map(|f| &f.node).collect();
    Reach { pods: pods.len(), workloads: workloads.len(), nodes: nodes.len() }
}
