//! How long the pods of one revision take to start: what a probe kills in one of them may be up and ready in another.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::cause::CauseCode;
use super::container::views;
use super::finding::Finding;
use super::{probe, text};
use crate::objects::Pod;

/// How long a container of a pod takes to become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The container's name.
    pub container: String,
    /// Until the pod was ready.
    pub took: SignedDuration,
    /// The pod's name.
    pub pod: String,
}

/// The longest start of each container among these pods.
pub fn slowest_starts<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Vec<Start> {
    let mut longest: BTreeMap<&str, (SignedDuration, &str)> = BTreeMap::new();
    for pod in pods {
        for view in views(pod) {
            let Some(took) = probe::ready_after(&view) else { continue };
            let new = (took, pod.metadata.name.as_str());
            longest.entry(view.name).and_modify(|old| *old = (*old).max(new)).or_insert(new);
        }
    }
    let start = |(container, (took, pod)): (&str, (SignedDuration, &str))| Start {
        container: container.to_owned(),
        took,
        pod: pod.to_owned(),
    };
    longest.into_iter().map(start).collect()
}

/// What a probe kills in one pod may be up and ready in another of its revision: then the time that one took tells whether
/// the container is only slow to start. (An earlier revision proves nothing: it is another program.)
pub fn compare_starts(finding: &mut Finding, pod: &Pod, starts: &[Start]) {
    let Some(start) = starts.iter().find(|s| s.container == finding.container && s.pod != finding.pod) else {
        return;
    };
    let Some(spec) = views(pod).find(|v| v.name == finding.container).and_then(|v| v.spec) else { return };
    let startup = finding.cause.code == CauseCode::StartupProbe;
    let probe = if startup { &spec.startup_probe } else { &spec.liveness_probe };
    if let Some(probe) = probe.as_deref() {
        probe::needs_longer(finding, probe, start.took, &format!("pod {}", text::name(&start.pod)));
    }
}

/// What pods made from one template have in common: namespace, controller, and the label with its hash.
pub fn revision_of(pod: &Pod) -> Option<(&str, &str, &'static str, &str)> {
    let meta = &pod.metadata;
    let owner = meta.controller()?;
    let label = if owner.kind == "ReplicaSet" { "pod-template-hash" } else { "controller-revision-hash" };
    Some((&meta.namespace, &owner.uid, label, meta.label(label)?))
}
