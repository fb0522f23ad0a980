//! Which finding follows from another one: pods without network while their network plugin's pod on the node fails, without
//! volumes while the CSI driver's does, without names while CoreDNS is down, refused by a webhook whose pods fail.

use super::cause::CauseCode;
use super::finding::{Finding, Stage};
use super::reason::Reason;

/// Network plugins: a word of the victim's message, and one of the name of the workload that serves it.
const NETWORKS: &[(&str, &str)] = &[
    ("flannel", "flannel"),
    ("calico", "calico"),
    ("cilium", "cilium"),
    ("aws-cni", "aws-node"),
    ("azure", "azure-cns"),
    ("antrea", "antrea"),
    ("weave", "weave"),
    ("multus", "multus"),
    ("kube-router", "kube-router"),
    ("kube-ovn", "kube-ovn"),
    ("ovn-k8s", "ovnkube"),
    ("istio-cni", "istio-cni"),
];

/// Parts of the names of drivers and webhooks that tell none from another.
const COMMON: &[&str] = &[
    "webhook",
    "webhooks",
    "validate",
    "validation",
    "validating",
    "mutate",
    "mutating",
    "mutation",
    "namespace",
    "object",
    "sidecar-injector",
    "admission",
    "controller",
    "policy",
    "default",
    "driver",
    "amazonaws",
    "azure",
    "google",
    "storage",
    "gke",
    "aws",
    "k8s",
    "x-k8s",
    "csi",
    "com",
    "svc",
    "svc-fail",
    "svc-ignore",
    "kubernetes",
];

/// The finding, of those that a cause may be, from which this one follows.
pub fn cause_of<'a>(victim: &Finding, causes: &[&'a Finding]) -> Option<&'a Finding> {
    causes.iter().copied().find(|cause| follows(victim, cause))
}

/// Whether others may follow from a finding: a pod of a workload that fails.
pub fn may_be_cause(finding: &Finding) -> bool {
    let own = matches!(
        finding.reason.known(),
        Some(
            Reason::FailedCreatePodSandBox
                | Reason::VolumeNotReady
                | Reason::FailedCreate
                | Reason::Unschedulable
                | Reason::ReadinessProbeFailed
        )
    );
    finding.stage == Stage::Active && !finding.pod.is_empty() && finding.workload.is_some() && !own
}

fn follows(victim: &Finding, cause: &Finding) -> bool {
    if victim.stage != Stage::Active || same_workload(victim, cause) {
        return false;
    }
    let Some(workload) = &cause.workload else { return false };
    let serves = workload.name.as_str();
    let on_node = !victim.node.is_empty() && victim.node == cause.node;
    let said = victim.cause.text.to_lowercase();
    match victim.reason.known() {
        Some(Reason::FailedCreatePodSandBox) => {
            let plugin = |(word, of): &(&str, &str)| said.contains(word) && serves.contains(of);
            on_node && NETWORKS.iter().any(plugin)
        }
        Some(Reason::VolumeNotReady) => {
            (on_node || &*workload.kind != "DaemonSet") && serves_driver(serves, &said)
        }
        Some(Reason::FailedCreate) => {
            let webhook = victim.scope.as_ref().filter(|s| s.kind == "webhook");
            let unanswered = said.contains("cannot be called");
            unanswered && webhook.is_some_and(|s| telling(&s.name).any(|part| serves.contains(part)))
        }
        _ => {
            let silent = ["timeout", "timed out", "refused", "temporary failure", "eai_again", "misbehaving"];
            victim.cause.code == CauseCode::DependencyNameNotResolved
                && matches!(serves, "coredns" | "kube-dns" | "rke2-coredns-rke2-coredns")
                && silent.iter().any(|word| said.contains(word))
        }
    }
}

fn same_workload(a: &Finding, b: &Finding) -> bool {
    a.namespace == b.namespace && a.workload == b.workload
}

/// Whether a workload serves the CSI driver that a message names: `ebs-csi-node` serves `ebs.csi.aws.com`.
fn serves_driver(workload: &str, said: &str) -> bool {
    let drivers =
        said.split([' ', '"', '\'', ',', '/', ':']).filter(|w| w.contains("csi") && w.contains('.'));
    workload.contains("csi")
        && drivers.into_iter().any(|driver| telling(driver).any(|part| workload.contains(part)))
}

/// The parts of a dotted name that tell whose it is.
fn telling(name: &str) -> impl Iterator<Item = &str> {
    name.split('.').filter(|part| part.len() > 2 && !COMMON.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_and_a_webhook_are_known_by_the_telling_parts_of_their_names() {
        for (workload, said, serves) in [
            ("ebs-csi-node", "driver name ebs.csi.aws.com not found in the list", true),
            ("csi-azuredisk-node", "driver name disk.csi.azure.com not found in the list", true),
            ("csi-rbdplugin", "unix:///csi/rbd.csi.ceph.com/csi.sock", true),
            ("efs-csi-node", "driver name ebs.csi.aws.com not found in the list", false),
            ("web", "driver name ebs.csi.aws.com not found in the list", false),
        ] {
            assert_eq!(serves_driver(workload, said), serves, "{workload}: {said}");
        }
        assert!(telling("webhook.cert-manager.io").any(|part| "cert-manager-webhook".contains(part)));
        assert!(!telling("validate.kyverno.svc-fail").any(|part| "default-backend".contains(part)));
    }
}
