//! What stands together on the screen: the findings of one problem, and the same failure in the pods of one workload.
//!
//! Must not know how a line is drawn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::diagnosis::{Finding, Mute, Problem, Severity, Stage, Survey};

/// One line of the table.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// Worst first, never empty. The first one stands for all.
    pub(super) findings: Vec<&'a Finding>,
    /// The common cause, if several findings have one.
    pub(super) problem: Option<&'a Problem>,
}

impl<'a> Group<'a> {
    /// The worst of them.
    pub(super) fn severity(&self) -> Severity {
        self.findings.iter().map(|f| f.severity).max().unwrap_or(Severity::Info)
    }

    /// Whether none of them alerts for now.
    pub(super) fn is_muted(&self) -> bool {
        self.findings.iter().all(|f| f.muted.is_some())
    }

    /// Which of them do not alert, until when and why.
    pub(super) fn mute(&self) -> Option<String> {
        let mutes: Vec<&Mute> = self.findings.iter().filter_map(|f| f.muted.as_ref()).collect();
        let last = mutes.iter().max_by_key(|mute| mute.until)?;
        let which = match (mutes.len(), self.findings.len()) {
            (muted, all) if muted == all => String::new(),
            (muted, all) => format!("{muted} of {all} "),
        };
        let why = if last.reason.is_empty() { String::new() } else { format!(": {}", last.reason) };
        Some(format!("{which}muted until {}{why}", last.until))
    }

    fn is_past(&self) -> bool {
        self.findings.iter().all(|f| f.stage == Stage::Recovered)
    }

    /// Distinct reasons, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<&'a str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(finding.reason.as_str()).or_default() += 1;
        }
        let mut reasons: Vec<(usize, &str)> = counts.into_iter().map(|(reason, n)| (n, reason)).collect();
        reasons.sort_by_key(|&(n, reason)| (Reverse(n), reason));
        reasons.into_iter().map(|(_, reason)| reason).collect()
    }

    pub(super) fn pods(&self) -> BTreeSet<(&'a str, &'a str)> {
        let pods = self.findings.iter().filter(|f| !f.pod.is_empty());
        pods.map(|f| (f.namespace.as_str(), f.pod.as_str())).collect()
    }

    /// Distinct workloads with their namespaces.
    pub(super) fn workloads(&self) -> BTreeSet<(&'a str, &'a str, &'a str)> {
        self.findings
            .iter()
            .filter_map(|f| {
                f.workload.as_ref().map(|w| (f.namespace.as_str(), w.kind.as_str(), w.name.as_str()))
            })
            .collect()
    }

    pub(super) fn nodes(&self) -> BTreeSet<&'a str> {
        self.findings.iter().map(|f| f.node.as_str()).filter(|n| !n.is_empty()).collect()
    }
}

/// From so many on, bare pods of which the same is said share a line.
const MANY: usize = 5;

/// The survey in lines: worst first, then the farthest reach.
pub(super) fn groups(survey: &Survey, each: bool) -> Vec<Group<'_>> {
    let mut taken = vec![false; survey.findings.len()];
    let mut groups = Vec::new();
    for problem in survey.problems.iter().filter(|p| p.findings.len() > 1 && !each) {
        let mut findings = Vec::new();
        for &at in &problem.findings {
            if let (Some(finding), Some(taken)) = (survey.findings.get(at), taken.get_mut(at))
                && !*taken
            {
                *taken = true;
                findings.push(finding);
            }
        }
        if !findings.is_empty() {
            groups.push(Group { findings, problem: Some(problem) });
        }
    }
    let mut alike: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for (at, finding) in survey.findings.iter().enumerate() {
        if taken.get(at).copied().unwrap_or(false) {
            continue;
        }
        let alone = finding.pod.is_empty() || each;
        // Bare pods have no workload in common; what they may have in common is what is said of them.
        let workload = finding.workload.as_ref().filter(|w| w.name != finding.pod);
        let (container, said) = match workload {
            Some(_) => (finding.container.as_str(), ""),
            None => ("", finding.cause.text.as_str()),
        };
        let key = (
            if alone { at } else { usize::MAX },
            Reverse(finding.severity),
            finding.stage as u8,
            finding.reason.as_str(),
            finding.cause.code.as_str(),
            finding.namespace.as_str(),
            workload,
            (container, said),
        );
        alike.entry(key).or_default().push(finding);
    }
    for ((.., workload, _), findings) in alike {
        if workload.is_none() && findings.len() < MANY {
            groups.extend(findings.into_iter().map(|f| Group { findings: vec![f], problem: None }));
        } else {
            groups.push(Group { findings, problem: None });
        }
    }
    groups.sort_by_cached_key(|group| {
        let first = group.findings.first();
        (
            Reverse(group.severity()),
            group.is_muted(),
            group.is_past(),
            Reverse(group.pods().len()),
            first.map(|f| (f.reason.as_str(), f.namespace.as_str(), f.pod.as_str(), f.container.as_str())),
        )
    });
    groups
}
