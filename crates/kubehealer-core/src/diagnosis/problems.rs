//! What several findings share: one bad image, one full node, one missing Secret. A problem is known by cause code and
//! scope, so its identity does not change as pods come and go.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, Hash};

use serde::Serialize;

use super::cause::CauseCode;
use super::finding::{Cause, Finding, Scope, Stage, WorkloadRef};
use super::reason::Severity;
use super::victims::Causes;

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

/// Groups findings one at a time and keeps none of them. `M` is what else the caller notes of each group.
#[derive(Clone, Debug, Default)]
pub struct Groups<M> {
    causes: Causes,
    by_key: BTreeMap<ProblemKey, Group<M>>,
    hasher: RandomState,
}

/// What is known of the findings of one group.
#[derive(Clone, Debug)]
pub struct Group<M> {
    /// The sentence of the first one's cause.
    pub cause: String,
    /// The worst of them.
    pub severity: Severity,
    /// How many there are.
    pub findings: usize,
    /// What the caller has noted.
    pub more: M,
    pods: Digests,
    workloads: Digests,
    nodes: Digests,
}

/// Where a finding belongs, as far as its group counts it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'f> {
    /// How bad it is.
    pub severity: Severity,
    /// Empty for a node.
    pub namespace: &'f str,
    /// Empty for a workload or a node.
    pub pod: &'f str,
    /// None for a node.
    pub workload: Option<&'f WorkloadRef>,
    /// Empty if there is none.
    pub node: &'f str,
}

/// Distinct names, by digest: there may be tens of thousands.
#[derive(Clone, Debug, Default)]
struct Digests(HashSet<u64>);

impl Digests {
    fn add(&mut self, hasher: &RandomState, name: impl Hash) {
        self.0.insert(hasher.hash_one(name));
    }
}

impl<M: Default> Groups<M> {
    /// No groups yet. What follows from one of these findings is one problem with it.
    pub fn with(causes: Causes) -> Self {
        Self { causes, by_key: BTreeMap::new(), hasher: RandomState::new() }
    }

    /// Adds a finding; none if it is not part of a problem.
    pub fn add(&mut self, finding: &Finding) -> Option<&mut M> {
        let Self { causes, by_key, hasher } = self;
        let of = causes.of(finding).unwrap_or(finding);
        let member = Member {
            severity: finding.severity,
            namespace: &finding.namespace,
            pod: &finding.pod,
            workload: finding.workload.as_ref(),
            node: &finding.node,
        };
        let group = by_key.entry(key(of)?).or_insert_with(|| Group::of(of.cause.text.clone(), of.severity));
        Some(group.add(&member, hasher))
    }

    /// Adds a finding to a group. `cause` is the sentence of its cause, which is asked for of the first one.
    pub fn put(&mut self, key: ProblemKey, cause: impl FnOnce() -> String, member: &Member<'_>) -> &mut M {
        let group = self.by_key.entry(key).or_insert_with(|| Group::of(cause(), member.severity));
        group.add(member, &self.hasher)
    }

    /// What is noted of a group, if there is one.
    pub fn get_mut(&mut self, key: &ProblemKey) -> Option<&mut M> {
        self.by_key.get_mut(key).map(|group| &mut group.more)
    }
}

impl<M: Default> Group<M> {
    fn of(cause: String, severity: Severity) -> Self {
        Self {
            cause,
            severity,
            findings: 0,
            more: M::default(),
            pods: Digests::default(),
            workloads: Digests::default(),
            nodes: Digests::default(),
        }
    }
}

impl<M> Group<M> {
    fn add(&mut self, member: &Member<'_>, hasher: &RandomState) -> &mut M {
        self.findings += 1;
        self.severity = self.severity.max(member.severity);
        if !member.pod.is_empty() {
            self.pods.add(hasher, (member.namespace, member.pod));
        }
        if let Some(workload) = member.workload {
            self.workloads.add(hasher, (member.namespace, workload));
        }
        if !member.node.is_empty() {
            self.nodes.add(hasher, member.node);
        }
        &mut self.more
    }

    /// How far they reach.
    pub fn reach(&self) -> Reach {
        Reach { pods: self.pods.0.len(), workloads: self.workloads.0.len(), nodes: self.nodes.0.len() }
    }
}

impl<M> IntoIterator for Groups<M> {
    type Item = (ProblemKey, Group<M>);
    type IntoIter = std::collections::btree_map::IntoIter<ProblemKey, Group<M>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_key.into_iter()
    }
}

/// Groups findings, farthest reach first. One finding alone is a problem as well: the list is complete. What follows from
/// another finding is one problem with it.
pub fn group(findings: &[impl Borrow<Finding>]) -> Vec<Problem> {
    let mut groups = Groups::<Vec<usize>>::with(Causes::among(findings.iter().map(Borrow::borrow)));
    for (at, finding) in findings.iter().enumerate() {
        if let Some(members) = groups.add(finding.borrow()) {
            members.push(at);
        }
    }
    let problem = |(key, group): (ProblemKey, Group<Vec<usize>>)| Problem {
        reach: group.reach(),
        cause: Cause { code: key.code, text: group.cause },
        scope: key.scope,
        severity: group.severity,
        findings: group.more,
    };
    let mut problems: Vec<Problem> = groups.into_iter().map(problem).collect();
    problems.sort_by(|a, b| {
        (b.severity, b.reach.pods, b.reach.workloads)
            .cmp(&(a.severity, a.reach.pods, a.reach.workloads))
            .then_with(|| (a.cause.code.as_str(), &a.scope).cmp(&(b.cause.code.as_str(), &b.scope)))
    });
    problems
}
