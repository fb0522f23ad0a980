//! How many pods are not well, by workload and by cause: counted as pods come and go.
//!
//! Must not know which pods those are.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::HashMap;

use super::address::ByAddress;
use super::pages::Pages;
use super::series::Writer;
use crate::diagnosis::{CauseCode, ReasonName, Scope};
use crate::incidents::kept::Kept;
use crate::incidents::store::Home;

/// The counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Those of which a pod has an open incident.
    workloads: HashMap<ByAddress<Home>, Workload>,
    /// Their series: pods by reason, and all pods.
    pub pages: Pages<2>,
    causes: HashMap<OfCause, u64>,
}

#[derive(Debug)]
struct Workload {
    /// Its pods with an open incident by reason, in the order of reasons.
    reasons: Vec<(ReasonName, u64)>,
    /// All its pods, as it is written; none if it is to be written anew.
    written: Option<u32>,
    place: usize,
}

impl Counts {
    /// Counts a pod with open incidents: once per reason and once per common cause, however many of its containers have it.
    pub fn add(&mut self, home: &Arc<Home>, incidents: &[Arc<Kept>]) {
        for reason in reasons(incidents) {
            let workload = self.workloads.entry(ByAddress(Arc::clone(home))).or_insert_with(|| Workload {
                reasons: Vec::with_capacity(1),
                written: None,
                place: self.pages.take(),
            });
            workload.written = None;
            match workload.reasons.binary_search_by(|(r, _)| r.cmp(reason)) {
                Ok(at) => workload.reasons.get_mut(at).into_iter().for_each(|(_, pods)| *pods += 1),
                Err(at) => workload.reasons.insert(at, (reason.clone(), 1)),
            }
        }
        for cause in causes(incidents) {
            *self.causes.entry(cause).or_default() += 1;
        }
    }

    /// Undoes [`add`](Self::add).
    pub fn remove(&mut self, home: &Arc<Home>, incidents: &[Arc<Kept>]) {
        let home = ByAddress(Arc::clone(home));
        for reason in reasons(incidents) {
            let Some(workload) = self.workloads.get_mut(&home) else { continue };
            workload.written = None;
            if one_less(workload.reasons.iter_mut().find(|(r, _)| r == reason).map(|(_, pods)| pods)) {
                workload.reasons.retain(|(r, _)| r != reason);
            }
            if workload.reasons.is_empty() {
                self.pages.give_back(workload.place);
                self.workloads.remove(&home);
            }
        }
        for cause in causes(incidents) {
            if one_less(self.causes.get_mut(&cause)) {
                self.causes.remove(&cause);
            }
        }
    }

    /// Writes the workloads whose pods have become more or less, the healthy ones too.
    pub fn write_workloads(&mut self) {
        let mut writer = Writer::<2>::default();
        for (ByAddress(home), workload) in &mut self.workloads {
            let pods = home.pods();
            if workload.written != Some(pods) {
                workload.written = Some(pods);
                writer.clear();
                // None is left if they have gone in the meantime.
                if pods > 0 {
                    writer.workload(home, &workload.reasons, pods);
                }
                self.pages.set(workload.place, writer.texts());
            }
        }
    }

    /// The series of the causes that pods have in common, in order.
    pub fn problems(&self) -> String {
        let common = self.causes.iter().filter(|(_, pods)| **pods > 1);
        let mut problems: Vec<_> = common.map(|(of, pods)| (&*of.0, *pods)).collect();
        problems.sort_unstable_by(|(a, _), (b, _)| cause(a).cmp(&cause(b)));
        let mut writer = Writer::<1>::default();
        problems.iter().for_each(|(finding, pods)| writer.problem(finding, *pods));
        let [text] = writer.texts();
        text.to_owned()
    }
}

/// Whether pods with these incidents count for the same.
pub fn same(some: &[Arc<Kept>], others: &[Arc<Kept>]) -> bool {
    some.len() == others.len()
        && some
            .iter()
            .zip(others)
            .all(|(a, b)| a.reason == b.reason && a.cause == b.cause && a.scope == b.scope)
}

fn reasons(incidents: &[Arc<Kept>]) -> impl Iterator<Item = &ReasonName> {
    let is_new = |(n, f): &(usize, &Arc<Kept>)| !incidents.iter().take(*n).any(|b| b.reason == f.reason);
    incidents.iter().enumerate().filter(is_new).map(|(_, f)| &f.reason)
}

fn causes(incidents: &[Arc<Kept>]) -> impl Iterator<Item = OfCause> {
    let is_new = |(n, f): &(usize, &Arc<Kept>)| {
        f.scope.is_some() && !incidents.iter().take(*n).any(|b| cause(b) == cause(f))
    };
    incidents.iter().enumerate().filter(is_new).map(|(_, f)| OfCause(Arc::clone(f)))
}

/// Counts down; whether none is left.
fn one_less(count: Option<&mut u64>) -> bool {
    count.is_some_and(|count| {
        *count = count.saturating_sub(1);
        *count == 0
    })
}

/// What a finding's cause is about; none of one that no other can share.
fn cause(kept: &Kept) -> Option<(CauseCode, &Scope)> {
    kept.scope.as_deref().map(|scope| (kept.cause, scope))
}

/// A finding by what its cause is about.
#[derive(Debug)]
struct OfCause(Arc<Kept>);

impl PartialEq for OfCause {
    fn eq(&self, other: &Self) -> bool {
        cause(&self.0) == cause(&other.0)
    }
}

impl Eq for OfCause {}

impl Hash for OfCause {
    fn hash<H: Hasher>(&self, state: &mut H) {
        cause(&self.0).hash(state);
    }
}
