//! Bugs put in on purpose, each of which the histories (`daemon::histories`) must find.
#![cfg(test)]

use super::store::Counted;
use crate::objects::{ContainerState, Pod};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What a list does not show any more stays.
    DropDeletesOfRelists,
    /// An update that comes twice is counted twice.
    BookRepeatsTwice,
    /// Only `state` is looked at.
    ForgetLastState,
    /// What happened before the first list is counted.
    BaselineAtZero,
}

pub(super) fn break_pod(bug: Option<Bug>, ours: bool, mut pod: Pod) -> (bool, Pod) {
    match bug {
        Some(Bug::BaselineAtZero) => (true, pod),
        Some(Bug::ForgetLastState) => {
            for status in &mut pod.status.container_statuses {
                status.last_state = ContainerState::default();
            }
            (ours, pod)
        }
        _ => (ours, pod),
    }
}

pub(super) fn break_memory(bug: Option<Bug>, repeated: bool, counted: &[Counted]) -> &[Counted] {
    if bug == Some(Bug::BookRepeatsTwice) && repeated { &[] } else { counted }
}
