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
    let node = text::name(&pod.spec.node_name);
    let driver = match driver(message) {
        Some(driver) => format!("DRA driver {driver}"),
        None => "DRA driver".to_owned(),
    };
    let step = if is_gone(message) {
        format!(
            "the pod of the {driver} must run on node {node} and register with the kubelet: kubectl get pods -A -o wide --field-selector spec.nodeName={}",
            text::arg(&node)
        )
    } else {
        format!("read the log of the pod of the {driver} on node {node}")
    };
    let mut finding = finding.scope("node", node);
    finding.next_steps.insert(0, step);
    finding
}

/// The driver that a message names.
fn driver(message: &str) -> Option<String> {
    let named = ["DRA driver ", "for driver ", "plugin name ", "driver name "];
    let rest = named.iter().find_map(|before| message.split_once(before))?.1;
    let name = rest.split([' ', ':', ',']).next()?.trim_matches('"');
    name.contains('.').then(|| text::name(name))
}

/// Whether the driver is not there at all.
fn is_gone(message: &str) -> bool {
    ["is not registered", "not found in the list of registered", "connection refused", "no such file"]
        .iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_that_is_not_there_is_named() {
        let pod: Pod =
            serde_json::from_str(r#"{"metadata":{"name":"a","namespace":"shop"},"spec":{"nodeName":"n1"}}"#)
                .unwrap();
        for (message, said, step) in [
            (
                "Failed to prepare dynamic resources: prepare dynamic resources: DRA driver gpu.example.com is not registered",
                "cannot be prepared: DRA driver gpu.example.com is not registered",
                "the pod of the DRA driver gpu.example.com must run on node n1",
            ),
            (
                "Failed to prepare dynamic resources: failed to get gRPC client for driver gpu.example.com: plugin name gpu.example.com not found in the list of registered DRA plugins",
                "plugin name gpu.example.com not found in the list of registered DRA plugins",
                "the pod of the DRA driver gpu.example.com must run on node n1",
            ),
            (
                "Failed to prepare dynamic resources: prepare dynamic resources: NodePrepareResources: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
                "NodePrepareResources: context deadline exceeded",
                "read the log of the pod of the DRA driver on node n1",
            ),
        ] {
            let finding = dynamic_resources(&pod, message);
            assert!(finding.summary.ends_with(said), "{}", finding.summary);
            assert!(finding.next_steps[0].starts_with(step), "{:?}", finding.next_steps);
        }
    }
}
