//! Devices that a pod asks for by resource claims.

use super::cause::CauseCode;
use super::finding::{Confidence, Finding};
use super::message::Message;
use super::reason::Reason;
use super::{runtime, text};
use crate::objects::{Event, Pod};

/// Devices that a pod asks for by claims and that cannot be had.
pub fn dynamic_resources(pod: &Pod, message: &str) -> Finding {
    let finding = Finding::of_pod(pod, Reason::FailedPrepareDynamicResources)
        .summary(format!(
            "pod cannot start: its dynamic resources (devices) cannot be prepared: {}",
            runtime::innermost(message)
        ))
        .cause(CauseCode::DeviceAllocationFailed, Message::read(message).detail())
        .next_step(format!("kubectl -n {} get resourceclaims", text::arg(&pod.metadata.namespace)));
    if pod.spec.node_name.is_empty() {
        return finding.next_step(format!(
            "kubectl -n {} get resourceclaimtemplates",
            text::arg(&pod.metadata.namespace)
        ));
    }
    let node = text::name(&pod.spec.node_name);
    let step = step_for(message, &node);
    let mut finding = finding.scope("node", node);
    finding.next_steps.insert(0, step);
    finding
}

/// Whether an event is about the preparation or the release of devices that are asked for by claim.
pub fn is_of_devices(event: &Event) -> bool {
    event.reason.contains("PrepareDynamicResources") || event.message.contains("NodeUnprepareResources")
}

/// A pod that stays, since the kubelet finishes it only when its driver has released the devices.
pub fn not_released(finding: Finding, event: &Event) -> Finding {
    let said = Message::read(text::uncombined(&event.message));
    let what = "the kubelet waits for the DRA driver to release its devices";
    let node = finding.node.clone();
    let step = step_for(&event.message, &node);
    let mut finding = finding
        .summary(format!("pod is stuck terminating: {what}: {}", said.cause()))
        .cause(CauseCode::DeviceAllocationFailed, format!("{what}: {}", said.detail()))
        .confidence(Confidence::Probable)
        .scope("node", node)
        .next_step(step);
    finding.add_event(event);
    finding
}

/// Where to look for the driver.
fn step_for(message: &str, node: &str) -> String {
    let driver = match driver(message) {
        Some(driver) => format!("DRA driver {driver}"),
        None => "DRA driver".to_owned(),
    };
    if is_gone(message) {
        format!(
            "the pod of the {driver} must run on node {node} and register with the kubelet: kubectl get pods -A -o wide --field-selector spec.nodeName={}",
            text::arg(node)
        )
    } else {
        format!("read the log of the pod of the {driver} on node {node}")
    }
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
    fn a_pod_stays_until_its_driver_releases_the_devices() {
        let pod: Pod =
            serde_json::from_str(r#"{"metadata":{"name":"a","namespace":"shop"},"spec":{"nodeName":"n1"}}"#)
                .unwrap();
        let event: Event = serde_json::from_str(
            r#"{"reason":"FailedPrepareDynamicResources","message":"Failed to prepare dynamic resources: prepare dynamic resources: DRA driver gpu.example.com is not registered"}"#,
        )
        .unwrap();
        assert!(is_of_devices(&event));
        let finding = not_released(Finding::of_pod(&pod, Reason::StuckTerminating), &event);
        assert!(
            finding.summary.ends_with(": DRA driver gpu.example.com is not registered"),
            "{}",
            finding.summary
        );
        assert!(finding.next_steps[0].contains("DRA driver gpu.example.com must run on node n1"));
    }

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
