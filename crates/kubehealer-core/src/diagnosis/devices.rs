//! Devices that a pod asks for by resource claims.

use super::cause::CauseCode;
use super::finding::Finding;
use super::reason::Reason;
use super::{runtime, text};
use crate::objects::Pod;

/// Devices that a pod asks for by claims and that cannot be had.
pub fn dynamic_resources(pod: &Pod, message: &str) -> Finding {
    let finding = Finding::of_pod(pod, Reason::FailedPrepareDynamicResources)
        .summary(format!(
            "pod cannot start: its dynamic resources (devices) cannot be prepared: {}",
            runtime::innermost(message)
        ))
        .cause(CauseCode::DeviceAllocationFailed, super::message::Message::read(message).detail())
        .next_step(format!("kubectl -n {} get resourceclaims", text::arg(&pod.metadata.namespace)));
    if pod.spec.node_name.is_empty() {
        return finding.next_step(format!(
            "kubectl -n {} get resourceclaimtemplates",
            text::arg(&pod.metadata.namespace)
        ));
    }
    finding
        .scope("node", text::name(&pod.spec.node_name))
        .next_step("read the log of the DRA driver on the node")
}
