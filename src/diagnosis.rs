//! The analyzer. Pure: (objects, events, logs, now) -> findings.
//!
//! Built on what the kubelet really writes, see `docs/how-it-decides.md`. One file per family of failures; `reason` and
//! `cause` hold the vocabulary. Must not know where objects come from, nor read a clock.

pub mod cause;
pub mod context;
pub mod finding;
pub mod reason;
pub mod survey;

pub use cause::CauseCode;
pub use context::{Context, Sources};
pub use finding::{
    Cause, Confidence, ContainerType, Evidence, Finding, Key, ReasonName, Scope, Source, Stage, WorkloadRef,
};
pub use reason::{Family, Reason, Severity, Subject};
pub use survey::{ContainerLog, Problem, Reach, Snapshot, Summary, Survey, Undecodable, survey};

use jiff::Timestamp;

use crate::objects::Pod;

/// What a look at one pod shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDiagnosis {
    /// At most one per container, and at most one about the pod itself per family; leading ones first.
    pub findings: Vec<Finding>,
    /// When time alone will change the verdict (a grace ends, a recovery is proven), if nothing else happens.
    /// A pod without findings and without this is at rest: it need not be looked at again before it changes.
    pub recheck: Option<Timestamp>,
}

/// Looks at one pod.
pub fn diagnose(_pod: &Pod, _context: &Context<'_>, _now: Timestamp) -> PodDiagnosis {
    PodDiagnosis::default()
}
