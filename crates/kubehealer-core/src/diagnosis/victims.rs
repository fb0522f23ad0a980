//! Which finding follows from another one: pods without network while their network plugin's pod on the node fails, without
//! volumes while the CSI driver's does, without names while CoreDNS is down, refused by a webhook whose pods fail.

use std::sync::LazyLock;

use regex::Regex;

use super::cause::CauseCode;
use super::finding::{Finding, ReasonName, Stage};
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

/// What the names of workloads that serve others hold, besides those of network plugins.
const SERVING: &[&str] = &[
    "csi",
    "dns",
    "webhook",
    "gatekeeper",
    "kyverno",
    "operator",
    "controller",
    "injector",
    "admission",
    "policy",
];

/// Findings of one cause are many pods' at most; so many are compared with each victim.
const MAX_CAUSES: usize = 200;

/// Findings from which others may follow.
#[derive(Clone, Debug, Default)]
pub struct Causes(Vec<Finding>);

impl Causes {
    /// Those among these findings.
    pub fn among<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Self {
        Self(findings.into_iter().filter(|f| may_be_cause(f)).take(MAX_CAUSES).cloned().collect())
    }

    /// Whether a finding of this reason and cause may follow from one of them.
    pub fn may_follow(&self, reason: &ReasonName, cause: CauseCode) -> bool {
        !self.0.is_empty() && may_follow(reason, cause)
    }

    /// The finding from which this one follows.
    pub fn of(&self, victim: &Finding) -> Option<&Finding> {
        if victim.stage != Stage::Active || !self.may_follow(&victim.reason, victim.cause.code) {
            return None;
        }
        let said = victim.cause.text.to_lowercase();
        self.0.iter().find(|cause| follows(victim, &said, cause))
    }
}

/// Whether a workload of this name may serve other pods.
#[expect(clippy::expect_used, reason = "the words are constants, and a test compiles them")]
pub fn may_serve(workload: &str) -> bool {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        let words = SERVING.iter().copied().chain(NETWORKS.iter().map(|(_, serves)| *serves));
        let words: Vec<String> = words.map(regex::escape).collect();
        Regex::new(&words.join("|")).expect("escaped words are a pattern")
    });
    WORDS.is_match(workload)
}

/// Whether others may follow from a finding: a pod of a workload that serves them fails.
fn may_be_cause(finding: &Finding) -> bool {
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
    let serves = finding.workload.as_ref().is_some_and(|workload| may_serve(&workload.name));
    finding.stage == Stage::Active && !finding.pod.is_empty() && serves && !own
}

fn may_follow(reason: &ReasonName, cause: CauseCode) -> bool {
    let by_reason = matches!(
        reason.known(),
        Some(Reason::FailedCreatePodSandBox | Reason::VolumeNotReady | Reason::FailedCreate)
    );
    by_reason || cause == CauseCode::DependencyNameNotResolved
}

fn follows(victim: &Finding, said: &str, cause: &Finding) -> bool {
    if same_workload(victim, cause) {
        return false;
    }
    let Some(workload) = &cause.workload else { return false };
    let serves = workload.name.as_str();
    let on_node = !victim.node.is_empty() && victim.node == cause.node;
    match victim.reason.known() {
        Some(Reason::FailedCreatePodSandBox) => on_node && serves_network(serves, said).is_some(),
        Some(Reason::VolumeNotReady) => {
            (on_node || &*workload.kind != "DaemonSet") && serves_driver(serves, said)
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

/// The network plugin that a message names and a workload serves.
fn serves_network(workload: &str, said: &str) -> Option<&'static (&'static str, &'static str)> {
    NETWORKS.iter().find(|(word, of)| said.contains(word) && workload.contains(of))
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

    /// What pods without network are told, by the DaemonSet of each plugin as its own manifests call it.
    const SAMPLES: &[(&str, &str)] = &[
        (
            "kube-flannel-ds",
            "plugin type=\"flannel\" failed (add): loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory",
        ),
        (
            "calico-node",
            "plugin type=\"calico\" failed (add): stat /var/lib/calico/nodename: no such file or directory",
        ),
        ("cilium", "plugin type=\"cilium-cni\" failed (add): unable to connect to Cilium agent"),
        (
            "aws-node",
            "plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container",
        ),
        (
            "azure-cns",
            "plugin type=\"azure-vnet\" failed (add): IPAM Invoker Add failed with error: http request failed: connect: connection refused",
        ),
        (
            "antrea-agent",
            "plugin type=\"antrea\" failed (add): rpc error: code = Unavailable desc = connection error: dial unix /var/run/antrea/cni.sock",
        ),
        (
            "weave-net",
            "plugin type=\"weave-net\" failed (add): unable to allocate IP address: dial tcp 127.0.0.1:6784: connect: connection refused",
        ),
        (
            "kube-multus-ds",
            "plugin type=\"multus-shim\" failed (add): CmdAdd (shim): failed to send CNI request: dial unix /run/multus/multus.sock: connect: connection refused",
        ),
        ("kube-router", "failed to find plugin \"bridge\" for network \"kube-router\""),
        ("kube-ovn-cni", "plugin type=\"kube-ovn\" failed (add): RPC failed; request ip return 500"),
        (
            "ovnkube-node",
            "plugin type=\"ovn-k8s-cni-overlay\" failed (add): failed to send CNI request: dial unix /var/run/ovn-kubernetes/cni/ovn-cni-server.sock",
        ),
        ("istio-cni-node", "plugin type=\"istio-cni\" failed (add): unable to push CNI event"),
    ];

    #[test]
    fn every_network_plugin_is_known_by_what_it_says_and_by_the_name_of_its_daemon_set() {
        for row in NETWORKS {
            let found = |(workload, said): &&(&str, &str)| {
                serves_network(workload, &said.to_lowercase()) == Some(row)
            };
            assert!(SAMPLES.iter().any(|sample| found(&sample)), "no sample of {row:?}");
        }
        for (workload, said) in SAMPLES {
            assert!(
                may_serve(workload) && serves_network(workload, &said.to_lowercase()).is_some(),
                "{workload}"
            );
            assert_eq!(serves_network("web", &said.to_lowercase()), None, "{said}");
        }
    }
}
