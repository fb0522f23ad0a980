//! Why a volume is not there: the words of the kubelet, the attach controller, mount commands and storage drivers.

use super::generic::Fact;
use super::{Rule, rule};
use crate::diagnosis::cause::CauseCode as C;

const DRIVER: &str =
    "check that the driver's node pod runs on node {node}: kubectl get csinodes,pods -A -o wide";
const HOLDER: &str = "find the node and the pod that still use the volume: kubectl get volumeattachments; it is detached when that pod has terminated; only if its node is certainly shut down, taint the node node.kubernetes.io/out-of-service";
const DRIVER_LOG: &str = "read the log of the storage driver's pod on node {node} and of its controller";

/// First match wins. The codes are those of a mount; an attachment has its own.
pub const RULES: &[Rule] = &[
    rule("attached elsewhere", C::VolumeMountFailed)
        .any(&["multi-attach error", "already attached to a server", "already attached to node", "is already attached to an instance", "already used by pod(s)"])
        .note("still attached to another node")
        .only(&[HOLDER, "a Deployment whose pods share one ReadWriteOnce claim needs strategy Recreate"]),
    rule("in use", C::VolumeMountFailed)
        .any(&["is still being used", "volumeinuse", "resource 'volume' is in use"])
        .only(&[HOLDER]),
    rule("detaching", C::VolumeMountFailed).any(&["volume attachment is being deleted"]).note("its previous attachment has not been removed yet").only(&["kubectl get volumeattachments"]),
    rule("ownership", C::VolumeMountFailed)
        .any(&["setting volume ownership", "is taking longer than expected"])
        .note("changing the owner of every file is slow")
        .only(&["set securityContext.fsGroupChangePolicy: OnRootMismatch"]),
    rule("driver not registered", C::VolumeMountFailed).all(&["driver name ", "not found in the list of registered csi drivers"])
        .note("the CSI driver is not registered on the node").only(&[DRIVER]),
    rule("driver not on the node", C::VolumeMountFailed).any(&["does not contain driver "]).note("the CSI driver is not registered on the node").only(&[DRIVER]),
    rule("driver not installed", C::VolumeMountFailed).any(&["(no csidriver object)"]).note("the CSI driver is not installed in the cluster").only(&["kubectl get csidrivers"]),
    rule("driver silent", C::VolumeMountFailed).any(&["dial unix", "transport is closing"]).note("the CSI driver's pod on the node does not answer").only(&[DRIVER]),
    rule("provider missing", C::VolumeMountFailed).any(&["provider not found"]).note("the provider's pod does not run on the node").only(&["check that the provider's pod runs on node {node}: kubectl get pods -A -o wide"]),
    rule("no SecretProviderClass", C::VolumeMountFailed).all(&["secretproviderclass", "not found"]).only(&["kubectl -n {namespace} get secretproviderclasses"]),
    rule("vault sealed", C::VolumeMountFailed).any(&["vault is sealed"]).only(&["unseal Vault (vault operator unseal), and find out why it restarted: vault status"]),
    rule("secret not in the store", C::VolumeMountFailed)
        .any(&["secretnotfound", "resourcenotfoundexception", "was not found in this key vault", "secrets manager can't find", "no value found at"])
        .only(&["check that the secret is in the store under that name, and the names in the SecretProviderClass: kubectl -n {namespace} get secretproviderclasses -o yaml"]),
    rule("role missing", C::VolumeMountFailed).any(&["iam role must be associated"]).only(&["annotate the ServiceAccount of the pod with the role that may read the secret"]),
    rule("secret or permission", C::VolumeMountFailed).any(&["verify secret exists and required permissions"]).only(&["check the names in the SecretProviderClass, and what the pod's identity may read"]),
    rule("held on the node", C::VolumeMountFailed)
        .any(&["apparently in use by the system"])
        .note("another program on the node holds the device, for example multipathd")
        .only(&["on node {node}: lsblk shows what uses it; blacklist the driver's devices in /etc/multipath.conf"]),
    rule("busy", C::VolumeMountFailed)
        .any(&["already mounted or mount point busy", "device or resource busy"])
        .only(&["on node {node}: findmnt and lsblk show what uses the device", DRIVER_LOG]),
    rule("machine gone", C::VolumeMountFailed)
        .all(&["instance ", "not found"])
        .only(&["check that the machine of node {node} still exists in the cloud, and what providerID the node has: kubectl get nodes -o custom-columns=NAME:.metadata.name,ID:.spec.providerID"]),
    rule("file system damaged", C::VolumeMountFailed)
        .any(&["'fsck' found errors", "run fsck manually"])
        .note("fsck found errors on the file system that it could not correct")
        .only(&["take a snapshot, then repair it with fsck (e2fsck) while it is not mounted anywhere; or restore a backup"]),
    rule("file system needs repair", C::VolumeMountFailed)
        .any(&["structure needs cleaning"])
        .note("the kernel found errors in the file system")
        .only(&["on node {node}: dmesg; take a snapshot, then repair it with fsck (xfs_repair) while it is not mounted anywhere; or restore a backup"]),
    rule("other zone", C::VolumeMountFailed)
        .any(&["not in the same availability zone", "zonemismatch", "nodeaffinity check failed"])
        .note("the volume is on another node or zone")
        .only(&["run the pod where the volume is, or restore the volume"]),
    rule("no healthy copy", C::VolumeMountFailed)
        .any(&["faulted volume", "not ready for workloads", " not scheduled, code="])
        .note("the storage system has no healthy copy of it yet")
        .only(&["check the volume in the storage system: its replicas, and the disks of their nodes"]),
    rule("too many volumes", C::VolumeMountFailed)
        .any(&["maximum number of attachments", "attachment limit", "maximum number of data disks", "exceed the limit of attach", "exceeded the limit of attach", "attachmentlimitexceeded", "volumelimitexceeded"])
        .only(&["run the pod on another node, or use nodes of a size that supports more disks: kubectl get csinodes -o yaml"]),
    rule("rate limit", C::VolumeMountFailed).fact(&[Fact::RateLimited]).only(&["the driver retries; if this persists, find out what calls that API so often"]),
    rule("key", C::VolumeMountFailed).any(&["kms key", "kms.", "key vault key"]).only(&["check that the key is enabled, and that the storage driver may use it"]),
    rule("NFS export", C::VolumeMountFailed).any(&["access denied by server"]).only(&["check the server's exports: the path, and whether they allow the address of node {node}"]),
    rule("name", C::VolumeMountFailed)
        .fact(&[Fact::Dns])
        .note("DNS of the node, or of the driver's pod there")
        .only(&["on node {node}: getent hosts {host}, and the nameserver lines of /etc/resolv.conf"]),
    rule("server name", C::VolumeMountFailed).any(&["failed to resolve"]).note("DNS of the node, or of the driver's pod there").only(&["check the server's name, and DNS on node {node}"]),
    rule("local ports", C::VolumeMountFailed).any(&["locate an available port"]).note("the driver has no local port left").only(&["restart the driver's pod on node {node}: it holds ports of mounts that are gone"]),
    rule("stale", C::VolumeMountFailed)
        .fact(&[Fact::Stale])
        .note("the node's mount is broken")
        .only(&["on node {node}: umount the path, or restart the driver's pod; the kubelet then mounts the volume again"]),
    rule("NFS version", C::VolumeMountFailed).any(&["protocol not supported", "requested nfs version"]).only(&["set nfsvers in the mountOptions to a version that the server supports"]),
    rule("rpc.statd", C::VolumeMountFailed).any(&["rpc.statd"]).only(&["install the NFS client on the nodes (nfs-common, nfs-utils), or mount with nolock or nfsvers=4"]),
    rule("token", C::VolumeMountFailed)
        .any(&["failed to fetch token", "serviceaccounts/token"])
        .note("the kubelet gets no token for the pod's ServiceAccount")
        .only(&["check that the ServiceAccount still exists, and read the log of the kubelet on node {node}"]),
    rule("mount's catch-all, network file system", C::VolumeMountFailed)
        .any(&["wrong fs type, bad option", "bad superblock", "/sbin/mount."])
        .all(&[":/"])
        .none(&["-t ceph"])
        .note("mount lists possible reasons; the node's kernel log may show which")
        .only(&["on node {node}: check that mount.nfs is installed (package nfs-common or nfs-utils), and dmesg"]),
    // mount(8) prints all that it could be; which of them, only the kernel says.
    rule("mount's catch-all", C::VolumeMountFailed)
        .any(&["wrong fs type, bad option", "bad superblock"])
        .note("mount lists possible reasons; the node's kernel log may show which")
        .only(&[
            "on node {node}: dmesg may show why the mount failed (unknown features, damaged superblock, unknown type)",
            "on node {node}: run blkid on the device, and check whether the node's kernel supports that file system: uname -r",
        ]),
    rule("share refused", C::VolumeMountFailed)
        .any(&["mount error(13)"])
        .only(&["check the account key or password in the volume's Secret, and the firewall of the storage account: the server answers EACCES in both cases"]),
    rule("share silent", C::VolumeMountFailed)
        .any(&["mount error(115)", "mount error(110)", "mount error(112)", "mount error(113)"])
        .note("the SMB server does not answer")
        .only(&["check that node {node} reaches the server (address, firewall, port 445)"]),
    rule("share missing", C::VolumeMountFailed).any(&["mount error(2)"]).note("the server has no such share or path").only(&["check the name of the share"]),
    rule("local path missing", C::VolumeMountFailed).all(&["path \"", "does not exist"]).none(&["rpc error", "device path", "/dev/", "globalmount"]).only(&["mount the disk that belongs to that path on node {node}, or correct the PersistentVolume; an empty directory there would only hide that the disk is missing"]),
    rule("host path", C::VolumeMountFailed).any(&["hostpath type check failed"]).only(&["check hostPath.path and type against node {node}; with containerd there is no /var/run/docker.sock"]),
    rule("path on the server", C::VolumeMountFailed).any(&["mount.nfs", "mounting"]).all(&["no such file or directory"]).only(&["check the path of the volume on its server"]),
    rule("not read yet", C::VolumeMountFailed)
        .any(&["not registered", "failed to sync"])
        .note("the kubelet has not read it from the API server yet")
        .only(&["if it persists, check whether the kubelet on node {node} reaches the API server"]),
    rule("iSCSI", C::VolumeMountFailed)
        .any(&["iscsi"])
        .only(&["on node {node}: systemctl status iscsid, iscsiadm -m session, and whether the portal can be reached (port 3260)", DRIVER_LOG]),
    rule("owner or mode", C::VolumeMountFailed)
        .any(&["chmod /", "chown /", "lchown /", "applyfsgroup failed"])
        .fact(&[Fact::Permission])
        .only(&["check whether the file system lets the node change owners and modes (NFS root squash, SMB), and the pod's fsGroup"]),
    rule("permission", C::VolumeMountFailed)
        .fact(&[Fact::Forbidden, Fact::Unauthorized, Fact::Permission, Fact::NoCredentials])
        .only(&["check the credentials and permissions of the storage driver, or of the pod's identity"]),
    rule("disk full", C::VolumeMountFailed).fact(&[Fact::DiskFull]).only(&["check the disk of node {node} (df -h), or of the storage system"]),
    rule("read-only", C::VolumeMountFailed).fact(&[Fact::ReadOnly]).only(&["choose a path that is writable on node {node}; if its whole disk is read-only: dmesg"]),
    rule("I/O error", C::VolumeMountFailed).fact(&[Fact::IoError]).only(&["check the health of the storage system, and the kernel's log on node {node}"]),
    rule("unreachable NFS", C::VolumeMountFailed)
        .any(&["mount.nfs", "-t nfs", "nfs4"])
        .fact(&[Fact::TimeOut, Fact::Unreachable])
        .note("the NFS server does not answer")
        .only(&["check that node {node} reaches the server (address, firewall, port 2049)"]),
    rule("refused", C::VolumeMountFailed).fact(&[Fact::Refused, Fact::Unreachable]).only(&["check that the server runs, its address and its port, and whether node {node} reaches it"]),
    rule("earlier attempt", C::VolumeMountFailed).any(&["operation with the given volume id", "operation already exists", "operation is already in progress"]).note("an earlier attempt still runs").only(&[DRIVER_LOG]),
    rule("time-out without a word", C::VolumeMountFailed)
        .all(&["unable to attach or mount volumes", "timed out waiting for the condition"])
        .none(&["error processing"])
        .note("no event says why")
        .only(&[DRIVER_LOG]),
    rule("time-out", C::VolumeMountFailed).fact(&[Fact::TimeOut]).only(&[DRIVER_LOG]),
    rule("gone", C::VolumeMountFailed).any(&["image not found", "invalidvolume.notfound"]).only(&["check in the storage system whether the volume still exists", DRIVER_LOG]),
];
