//! Why a pod gets no sandbox: network plugins, the runtime, RuntimeClasses, the pause image.

use super::generic::Fact;
use super::{Of, Rule, rule};
use crate::diagnosis::cause::CauseCode as C;

const PLUGIN: &str = "check the network plugin's pod on node {node}: kubectl get pods -A -o wide --field-selector spec.nodeName={node}";
const CLASS: &str = "kubectl get runtimeclass {class} -o yaml";
const ON_NODE: &str = "on node {node}: read the logs of the kubelet and the container runtime";

/// First match wins; what no rule knows is left to the table of the runtime.
pub const RULES: &[Rule] = &[
    rule("memory limit", C::MemoryLimitReached)
        .any(&["memory limit too low", "container init was oom-killed"])
        .note("too low even for the pod's sandbox")
        .only(&["raise the memory limit: a container needs a few MiB just to start; check the unit (Mi, not Ki or m)"]),
    rule("handler", C::SandboxFailed)
        .any(&["runtime handler", "no runtime for", "unknown runtime handler"])
        .of(Of::RuntimeClass)
        .note("RuntimeClass: node {node} does not have this runtime handler")
        .only(&[CLASS, "set up its handler in the config of the container runtime on node {node} (for nvidia: the container toolkit), and restart the runtime"]),
    rule("shim", C::SandboxFailed)
        .any(&["exec: \"containerd-shim-", "failed to create shim: not found"])
        .of(Of::RuntimeClass)
        .note("the runtime of RuntimeClass {class} is not installed on node {node}")
        .only(&[CLASS, "run such pods only on nodes that are set up for it: scheduling.nodeSelector of the RuntimeClass"]),
    rule("KVM", C::SandboxFailed)
        .any(&["could not access kvm", "failed to initialize kvm", "/dev/kvm"])
        .of(Of::RuntimeClass)
        .note("the runtime of RuntimeClass {class} needs KVM")
        .only(&[CLASS, "run such pods only on nodes with KVM: scheduling.nodeSelector of the RuntimeClass"]),
    rule("sandbox of a virtual machine", C::SandboxFailed)
        .any(&["agent create container", "kata", "/kata", "qemu", "/qemu", "cloud-hypervisor", "firecracker", "dragonball", "runsc", "/runsc", "gvisor"])
        .none(&["plugin type=", "networkplugin cni", "cni network"])
        .of(Of::Node)
        .note("the sandbox agent (Kata, gVisor) failed, not the container")
        .only(&[CLASS, ON_NODE]),
    rule("runtime gone", C::RuntimeTimeout)
        .any(&["transport is closing", "containerd.sock", "crio.sock", "cri-dockerd.sock"])
        .of(Of::Node)
        .note("the container runtime on node {node} does not answer the kubelet")
        .only(&["on node {node}: systemctl status of the container runtime, and its log"]),
    rule("layers", C::ImageCorrupt)
        .any(&["stat lower layer", "layer not known", "failed to resolve rootfs"])
        .of(Of::Node)
        .note("node {node} does not have all layers of the sandbox (pause) image")
        .only(&["on node {node}: crictl rmi of the pause image, then the kubelet pulls it again", ON_NODE]),
    // The kubelet's sysctls and the kernel's are told by the path.
    rule("no such sysctl", C::NodeRefused)
        .any(&["/proc/sys/"])
        .of(Of::Node)
        .note("the sysctl cannot be set on node {node}")
        .only(&["check its name and value in securityContext.sysctls, and whether the kernel of node {node} has it (uname -r): kubectl get node {node} -o wide"]),
    rule("Windows version", C::ImagePlatformMismatch)
        .any(&["operating system does not match", "does not match the host operating system", "0xc0370101"])
        .of(Of::Node)
        .note("the image's Windows build differs from the node's")
        .only(&["use the image (the pause image too) for the node's Windows build, or pin the pod with a nodeSelector on node.kubernetes.io/windows-build"]),
    // Addresses
    rule("no address of the cloud", C::NetworkSetupFailed)
        .any(&["/privateipv4address"])
        .of(Of::Node)
        .note("the pod did not get an IP address: the VPC resource controller or its webhook did not set it")
        .only(&["check the vpc-resource-controller and vpc-admission-webhook (on EKS: enable-windows-ipam in ConfigMap amazon-vpc-cni), then delete the pod"]),
    rule("addresses used up", C::NetworkSetupFailed)
        .any(&[
            "failed to assign an ip address",
            "no available ip",
            "no ip addresses available",
            "no addresses available",
            "range is full",
            "no more free",
            "insufficientcidrblocks",
            "no free ip",
            "no available addresses",
            "ips exhausted",
            "pool exhausted",
            "addresses exhausted",
            "not enough ips",
            "unable to allocate ip",
            "unable to assign an ip",
            "could not allocate ip",
            "no configured calico pools",
            "ip addresses are exhausted",
        ])
        .none(&["connection refused", "timeout", "deadline exceeded"])
        .of(Of::Node)
        .note("no IP address is left for the pod")
        .only(&["free addresses (pods, subnets, IP pools), or limit the node to fewer pods; the network plugin's log on node {node} says which pool", PLUGIN]),
    rule("host port", C::HostPortTaken)
        .any(&["address already in use"])
        .of(Of::Node)
        .note("the host port is in use on node {node}"),
    rule("bridge address", C::NetworkSetupFailed)
        .any(&["already has an ip address different from"])
        .of(Of::Node)
        .note("the bridge on node {node} has an address of an earlier network")
        .only(&[PLUGIN]),
    rule("attachment definition", C::NetworkSetupFailed)
        .any(&["network-attachment-definition"])
        .fact(&[Fact::NotFound])
        .note("the NetworkAttachmentDefinition that the pod names does not exist")
        .only(&["kubectl -n {namespace} get network-attachment-definitions"]),
    rule("ztunnel", C::NetworkSetupFailed)
        .any(&["ztunnel", "/ztunnel"])
        .of(Of::Node)
        .only(&["a ztunnel pod must be ready on node {node}: kubectl get pods -A -l app=ztunnel -o wide", "kubectl -n istio-system get daemonset ztunnel istio-cni-node"]),
    rule("not initialised", C::NetworkSetupFailed)
        .any(&["cni plugin not initialized", "cni config uninitialized", "no networks found", "runtimenetworknotready", "network is not ready", "networkpluginnotready", "no valid networks found"])
        .of(Of::Node)
        .note("no network plugin is set up on node {node} yet")
        .only(&[PLUGIN, "on node {node}: ls /etc/cni/net.d"]),
    rule("plugin not installed", C::NetworkSetupFailed)
        .any(&["failed to find plugin"])
        .of(Of::Node)
        .note("the plugin's binary is not on node {node}")
        .only(&["on node {node}: ls /opt/cni/bin; the network plugin's DaemonSet installs it", PLUGIN]),
    rule("plugin busy", C::NetworkSetupFailed).any(&["[429]", "putendpointidtoomanyrequests"]).of(Of::Node).note("the network plugin's agent on the node is overloaded"),
    rule("clock", C::NetworkSetupFailed)
        .fact(&[Fact::NotYetValid])
        .all(&["get \"https://"])
        .of(Of::Node)
        .note("that is the time on node {node}: check its clock")
        .only(&["on node {node}: date, timedatectl, chronyc tracking: correct the time (NTP); only if it is right, look at the certificate"]),
    rule("server certificate expired", C::NetworkSetupFailed)
        .fact(&[Fact::Expired])
        .all(&["get \"https://"])
        .of(Of::Node)
        .only(&["renew the certificate of the server that the message names (for a kubeadm API server: kubeadm certs check-expiration); if it is valid, correct the clock of node {node}"]),
    // The plugin is the client: it is the one that looks at a certificate.
    rule("server not trusted", C::NetworkSetupFailed)
        .any(&["x509: ", "failed to verify certificate"])
        .all(&["get \"https://"])
        .of(Of::Node)
        .note("the network plugin does not trust the server's certificate")
        .only(&["restart the network plugin's pod on node {node}: it writes a new kubeconfig with the CA of the API server to /etc/cni/net.d", PLUGIN]),
    rule("plugin refused", C::NetworkSetupFailed)
        .any(&["plugin type=", "networkplugin cni", "cni network", "cni request", "calico", "flannel", "cilium", "multus", "network for sandbox", "pod network"])
        .fact(&[Fact::Unauthorized])
        .of(Of::Node)
        .note("the API server does not accept the network plugin's credentials")
        .only(&["restart the network plugin's pod on node {node}: it writes a new token and kubeconfig to /etc/cni/net.d; check that its ServiceAccount still exists", PLUGIN]),
    rule("API server unreachable", C::NetworkSetupFailed)
        .any(&[":443/api", ":443/apis/", ":6443/api"])
        .fact(&[Fact::TimeOut, Fact::Refused, Fact::Unreachable])
        .of(Of::Node)
        .note("the network plugin cannot reach the API server from node {node}")
        .only(&["from node {node}: curl -k https://{peer}/healthz; check kube-proxy and the firewall", PLUGIN]),
    rule("control plane late", C::NetworkSetupFailed)
        .any(&["timed out waiting for annotations", "timed out waiting for ovs port binding", "waiting for ovn"])
        .of(Of::Node)
        .note("the network plugin's control plane did not set up the pod in time"),
    rule("agent silent", C::NetworkSetupFailed)
        .any(&["127.0.0.1:", "[::1]:", "localhost:", "dial unix", ".sock", "api client timeout"])
        .fact(&[Fact::TimeOut, Fact::Refused, Fact::NotFound])
        .of(Of::Node)
        .note("the network plugin's agent on node {node} does not answer")
        .only(&[PLUGIN]),
    rule("agent's file missing", C::NetworkSetupFailed)
        .any(&["/run/flannel/subnet.env", "/var/lib/calico/nodename"])
        .fact(&[Fact::NotFound])
        .of(Of::Node)
        .note("the network plugin's pod on node {node} writes this file when it is up")
        .only(&[PLUGIN]),
    rule("network", C::NetworkSetupFailed)
        .any(&["plugin type=", "networkplugin cni", "cni network", "cni request", "cni plugin", "network for sandbox", "pod network", "ipam", "veth", "calico", "flannel", "cilium", "multus"])
        .of(Of::Node)
        .only(&[PLUGIN]),
];
