//! Every row of every table has a message as it is written, and is the first of its table to match it.

use super::{Rule, find, image, runtime, sandbox, volume};
use crate::diagnosis::message::Message;

type Samples = &'static [(&'static str, &'static str)];

const IMAGE: Samples = &[
    ("kubelet throttle", "pull QPS exceeded"),
    (
        "rate limit",
        "failed to pull and unpack image \"docker.io/a/b:1\": failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/a/b/manifests/1: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit.",
    ),
    (
        "no build for the platform",
        "rpc error: code = NotFound desc = failed to pull and unpack image \"x\": no match for platform in manifest: not found",
    ),
    (
        "layer without Windows parts",
        "failed to extract layer sha256:02f2bcb26af5: hcsshim::ProcessBaseLayer \\\\?\\C:\\ProgramData\\containerd\\snapshots\\167: The system cannot find the path specified.: unknown",
    ),
    ("slow handshake", "Get \"https://r.example.com/v2/\": net/http: TLS handshake timeout"),
    ("signature", "Source image rejected: A signature was required, but no signature exists"),
    (
        "clock",
        "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-02T09:59:20Z is before 2026-11-10T10:00:00Z",
    ),
    (
        "expired certificate",
        "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-22T09:59:20Z is after 2026-11-10T10:00:00Z",
    ),
    (
        "plain HTTP",
        "failed to do request: Head \"https://registry:5000/v2/a/manifests/1\": http: server gave HTTP response to HTTPS client",
    ),
    (
        "TLS",
        "failed to do request: Head \"https://r/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ),
    (
        "named policy of the registry",
        "unexpected status from GET request to https://r/v2/a/manifests/1: 403 Forbidden: DENIED: Artifact download request rejected: blocked by Xray policy block-high",
    ),
    (
        "expired token",
        "Error response from daemon: pull access denied for a, repository does not exist or may require 'docker login': denied: Your authorization token has expired. Reauthenticate and try again.",
    ),
    ("disk full", "writing blob: adding layer with blob \"sha256:ab\": write /x: no space left on device"),
    (
        "the node cannot store it",
        "failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: read-only file system",
    ),
    (
        "proxy",
        "failed to do request: Head \"https://registry-1.docker.io/v2/a/b/manifests/1\": proxyconnect tcp: dial tcp 127.0.0.1:1082: connect: connection refused",
    ),
    (
        "name server silent",
        "failed to do request: Head \"https://r.example.com/v2/a\": dial tcp: lookup r.example.com on [::1]:53: read udp [::1]:47364->[::1]:53: read: connection refused",
    ),
    ("name", "dial tcp: lookup r.example.com on 10.0.0.10:53: no such host"),
    (
        "cut off",
        "failed to copy: read tcp 192.168.16.6:35464->104.18.122.25:443: read: connection reset by peer",
    ),
    (
        "unreachable",
        "failed to do request: Head \"https://10.1.2.3/v2/a\": dial tcp 10.1.2.3:443: connect: connection refused",
    ),
    (
        "slow to unpack",
        "failed to pull and unpack image \"x\": failed to prepare extraction snapshot \"extract-1 sha256:ab\": context deadline exceeded",
    ),
    (
        "storage of the registry",
        "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://weumanaged37.blob.core.windows.net/b34aef/docker/registry/v2/blobs/sha256/5a/5a6b/data?se=x: 403 This request is not authorized to perform this operation.",
    ),
    (
        "store lacks a part",
        "failed to pull and unpack image \"r.example.com/a:1\": failed to prepare extraction snapshot \"extract-795119289-7389 sha256:9281\": parent snapshot sha256:0b16 does not exist: not found",
    ),
    (
        "part not found",
        "failed to copy: httpReadSeeker: failed open: content at https://r.example.com/v2/a/manifests/sha256:7a5f not found: not found",
    ),
    (
        "part missing",
        "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:5b0b (application/vnd.docker.image.rootfs.diff.tar.gzip) from remote: not found",
    ),
    ("too slow", "failed to pull and unpack image \"x\": failed to copy: context canceled"),
    ("no answer", "failed to do request: Head \"https://10.1.2.3/v2/a\": dial tcp 10.1.2.3:443: i/o timeout"),
    ("registry unavailable", "image pull failed for x because the registry is unavailable: no mirror left"),
    (
        "registry fails",
        "unexpected status from HEAD request to https://r/v2/a/manifests/1: 503 Service Unavailable",
    ),
    (
        "old service",
        "reading manifest 1 in gcr.io/google-containers/x: denied: Container Registry is deprecated and shutting down",
    ),
    (
        "firewall of the registry",
        "403 Forbidden: client with IP '20.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall to grant access",
    ),
    (
        "policy of the registry",
        "unknown: current image with 12 vulnerabilities cannot be pulled due to configured policy",
    ),
    (
        "blocked on the node",
        "registry docker.io is blocked in /etc/containers/registries.conf or /etc/containers/registries.conf.d",
    ),
    (
        "no credentials",
        "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
    ),
    ("bad login", "unable to retrieve auth token: invalid username/password: unauthorized"),
    (
        "not found or private",
        "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    ),
    (
        "refused",
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized",
    ),
    ("short name", "short name mode is enforcing, but image name \"nginx\" returns ambiguous list"),
    ("signature policy", "copying system image: reading signature: sigstore attachments differ"),
    ("reference", "couldn't parse image reference \"<a>:<b>\": invalid reference format"),
    (
        "broken",
        "failed commit on ref \"layer-sha256:3690\": unexpected commit size 5674492, expected 2312958: unknown",
    ),
    ("digest", "layer digest sha256:ab: mismatch with sha256:cd"),
    (
        "not found",
        "initializing source docker://quay.io/a/b:x: reading manifest x in quay.io/a/b: manifest unknown",
    ),
    ("not found, other words", "artifact shop/web@latest not found"),
    (
        "odd status",
        "unexpected status from HEAD request to https://harbor.corp/v2/library/nginx/manifests/1: 412 Precondition Failed",
    ),
];

const RUNTIME: Samples = &[
    (
        "shim missing",
        "failed to start shim: start failed: io.containerd.spin.v2: exec: \"containerd-shim-spin-v2\": executable file not found in $PATH",
    ),
    (
        "tool of the runtime missing",
        "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/x/log.json: no such file or directory): fork/exec /usr/bin/nvidia-container-runtime: no such file or directory: unknown",
    ),
    (
        "tool of the runtime missing, in PATH",
        "failed to create containerd container: apparmor_parser: command not found",
    ),
    (
        "seccomp",
        "cannot load seccomp profile \"/var/lib/kubelet/seccomp/profiles/a.json\": open /var/lib/kubelet/seccomp/profiles/a.json: no such file or directory",
    ),
    ("AppArmor", "Cannot enforce AppArmor: profile \"web\" is not loaded"),
    ("SELinux", "error during container init: write /proc/self/attr/keycreate: permission denied: unknown"),
    (
        "user namespace",
        "failed to create containerd container: snapshotter overlayfs does not support idmap mounts",
    ),
    (
        "device",
        "stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown",
    ),
    ("device hook", "error running hook #0: nvidia toolkit: exit status 1"),
    (
        "working directory forbidden",
        "chdir to cwd (\"/root\") set in config.json failed: permission denied: unknown",
    ),
    (
        "working directory",
        "chdir to cwd (\"/srv/app\") set in config.json failed: no such file or directory: unknown",
    ),
    (
        "Windows version",
        "hcs::CreateComputeSystem x: The container operating system does not match the host operating system.: unknown",
    ),
    ("Windows user", "hcs::System::CreateProcess app: The user name or password is incorrect.: unknown"),
    ("Windows access", "hcs::System::CreateProcess app: Access is denied.: unknown"),
    (
        "Windows program",
        "hcs::System::CreateProcess app: The system cannot find the file specified.: unknown",
    ),
    (
        "content gone",
        "failed to create containerd container: error unpacking image: failed to get reader from content store: content digest sha256:ab: not found",
    ),
    (
        "layers",
        "failed to create containerd container: failed to create snapshot: missing parent \"k8s.io/12/sha256:ab\" bucket: not found",
    ),
    (
        "layer missing",
        "error creating overlay mount to /var/lib/containers/storage/overlay/x/merged: no such file or directory",
    ),
    (
        "disk full",
        "failed to create containerd task: write /run/containerd/x: no space left on device: unknown",
    ),
    (
        "root file system",
        "failed to create containerd task: failed to mount rootfs component: invalid argument: unknown",
    ),
    (
        "cgroup room",
        "unable to apply cgroup configuration: failed to write 1234: write /sys/fs/cgroup/pids/kubepods/cgroup.procs: no space left on device: unknown",
    ),
    (
        "stale volume",
        "error while creating mount source path \"/var/lib/kubelet/pods/c40d/volumes/x/mount\": mkdir /var/lib/kubelet/pods/c40d/volumes/x/mount: file exists",
    ),
    (
        "stale mount",
        "failed to generate spec: failed to stat \"/mnt/data\": stat /mnt/data: transport endpoint is not connected",
    ),
    (
        "mount propagation",
        "failed to generate spec: path \"/mnt/data\" is mounted on \"/\" but it is not a shared mount",
    ),
    (
        "path on the node",
        "failed to apply OCI options: failed to mkdir \"/usr/local\": mkdir /usr/local: read-only file system",
    ),
    (
        "node disk read-only",
        "failed to create containerd container: mkdir /var/lib/containerd/io.containerd.metadata.v1.bolt: input/output error",
    ),
    ("files exhausted", "failed to create containerd container: too many open files in system"),
    ("memory limit too low", "container init was OOM-killed (memory limit too low?): unknown"),
    (
        "memory limit busy",
        "error setting cgroup config for procHooks process: write /sys/fs/cgroup/kubepods/memory.max: device or resource busy",
    ),
    ("capability", "error during container init: unknown capability \"CAP_NET_ADMINS\": unknown"),
    (
        "kernel keys",
        "error during container init: unable to join session keyring: unable to create session key: disk quota exceeded: unknown",
    ),
    (
        "processes or memory",
        "runc create failed: unable to start container process: can't get final child's PID from pipe: fork: resource temporarily unavailable",
    ),
    (
        "kernel file system",
        "error mounting \"proc\" to rootfs at \"/proc\": mount src=proc, dst=/proc, flags=MS_NOSUID: operation not permitted",
    ),
    ("freezer", "error setting cgroup config for procHooks process: unable to freeze: unknown"),
    (
        "sysctl",
        "error during container init: open /proc/sys/net/ipv4/tcp_rmem2: no such file or directory: unknown",
    ),
    ("image volume", "ImageVolumeMountFailed: failed to unpack the layer"),
    (
        "read-only mount point",
        "error mounting \"/x\" to rootfs at \"/data/in\": create mountpoint for /data/in mount: mkdirat /merged/data/in: read-only file system",
    ),
    ("read-only root", "error during container init: mkdir /src: read-only file system: unknown"),
    ("file in the way", "error during container init: mkdir /src: not a directory: unknown"),
    (
        "mount, file and directory",
        "error mounting \"/var/lib/kubelet/pods/1/volume-subpaths/conf/app/0\" to rootfs at \"/etc/app.yml\": mount src=/x, dst=/etc/app.yml: not a directory: unknown",
    ),
    (
        "mount, path on the node",
        "error mounting \"/etc/localtime\" to rootfs at \"/etc/localtime\": mount src=/etc/localtime, dst=/etc/localtime: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type: unknown",
    ),
    (
        "mount",
        "error mounting \"/x\" to rootfs at \"/mnt/data/config.php\": open /mnt/data/config.php: permission denied",
    ),
    ("architecture", "exec /app/server: exec format error"),
    ("program in PATH", "exec: \"bash\": executable file not found in $PATH: unknown"),
    ("program", "exec: \"./agent\": stat ./agent: no such file or directory"),
    ("program may not run", "exec: \"/docker_entrypoint.sh\": permission denied: unknown"),
    ("program is a directory", "exec: \"/app\": is a directory: unknown"),
    (
        "sandbox gone",
        "unable to create new parent process: namespace path: lstat /proc/0/ns/ipc: no such file or directory: unknown",
    ),
    ("sandbox not running", "sandbox container \"4f5e\" is not running"),
    ("no command", "failed to generate container \"x\" spec: no command specified"),
    ("group", "unable to find group www-data: no matching entries in group file"),
    ("user", "unable to find user app: no matching entries in passwd file"),
    (
        "name reserved under load",
        "Kubelet may be retrying requests that are timing out in CRI-O due to system load: error reserving ctr name k8s_a for id 8c: name is reserved",
    ),
    (
        "name reserved",
        "failed to reserve container name \"app_cart\": name \"app_cart\" is reserved for \"4f5e\"",
    ),
    ("time-out", "context deadline exceeded"),
    (
        "runtime gone",
        "connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
    ),
];

const VOLUME: Samples = &[
    (
        "busy",
        "MountVolume.MountDevice failed: mount failed: exit status 32: mount: /globalmount: /dev/sdb already mounted or mount point busy.",
    ),
    ("machine gone", "rpc error: code = NotFound desc = Instance \"i-0123456789abcdef0\" not found"),
    (
        "attached elsewhere",
        "Multi-Attach error Volume is already exclusively attached to one node and can't be attached to another",
    ),
    ("in use", "rbd image replicapool/csi-vol-e4d2d56e is still being used"),
    ("detaching", "volume attachment is being deleted"),
    (
        "ownership",
        "Setting volume ownership for 5e30/volumes/x is taking longer than expected, consider using OnRootMismatch",
    ),
    (
        "driver not registered",
        "MountVolume.MountDevice failed: kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name ebs.csi.aws.com not found in the list of registered CSI drivers",
    ),
    ("driver not on the node", "CSINode worker-3 does not contain driver ebs.csi.aws.com"),
    (
        "driver not installed",
        "volume mode \"Ephemeral\" not supported by driver secrets-store.csi.k8s.io (no CSIDriver object)",
    ),
    (
        "driver silent",
        "connection error: desc = \"transport: Error while dialing dial unix /var/lib/kubelet/plugins/x/csi.sock: connect: connection refused\"",
    ),
    ("provider missing", "error connecting to provider \"aws\": provider not found: provider \"aws\""),
    (
        "no SecretProviderClass",
        "failed to get secretproviderclass shop/cart-secrets, error: SecretProviderClass.secrets-store.csi.x-k8s.io \"cart-secrets\" not found",
    ),
    (
        "vault sealed",
        "failed to login: Error making API request.\n\nURL: POST http://vault:8200/v1/auth/kubernetes/login\nCode: 503. Errors:\n\n* Vault is sealed",
    ),
    (
        "secret not in the store",
        "Service returned an error. Status=404 Code=\"SecretNotFound\" Message=\"A secret with (name/id) db was not found in this key vault.\"",
    ),
    ("role missing", "An IAM role must be associated with service account default (namespace: shop)"),
    ("secret or permission", "Failed fetching secret db: verify secret exists and required permissions"),
    (
        "held on the node",
        "mke2fs 1.47.0 (5-Feb-2023)\n/dev/longhorn/pvc-7e is apparently in use by the system; will not make a filesystem here!",
    ),
    (
        "file system damaged",
        "'fsck' found errors on device /dev/longhorn/pvc-7e but could not correct them: fsck from util-linux 2.39.3",
    ),
    ("file system needs repair", "mount: /x: mount(2) system call failed: Structure needs cleaning."),
    (
        "other zone",
        "api error InvalidVolume.ZoneMismatch: The volume 'vol-0ddf92e1' is not in the same availability zone as instance 'i-0a1b2c'",
    ),
    ("no healthy copy", "volume pvc-7e failed to attach to node worker-3: faulted volume cannot be attached"),
    (
        "too many volumes",
        "OperationNotAllowed: The maximum number of data disks allowed to be attached to a VM of this size is 8.",
    ),
    (
        "rate limit",
        "azure cloud provider throttled for operation VMSSVMUpdateAsync with reason \"client throttled\"",
    ),
    (
        "key",
        "Client.InternalError: Client error on launch; KMS key arn:aws:kms:eu-west-1:1:key/x is disabled",
    ),
    ("NFS export", "mount.nfs: access denied by server while mounting nfs.example.com:/export"),
    ("name", "mount.nfs: Failed to resolve server nfs.shop.svc.cluster.local: Name or service not known"),
    (
        "server name",
        "Failed to resolve \"fs-1234abcd.efs.eu-west-1.amazonaws.com\" - check that your file system ID is correct",
    ),
    (
        "owner or mode",
        "chmod /var/lib/kubelet/pods/x/volumes/kubernetes.io~csi/pv/mount: operation not permitted",
    ),
    ("local ports", "Could not locate an available port in range [20049, 20449]"),
    ("stale", "lstat /var/lib/kubelet/plugins/kubernetes.io/csi/efs/x/globalmount: stale NFS file handle"),
    ("NFS version", "mount.nfs: Protocol not supported"),
    ("rpc.statd", "mount.nfs: rpc.statd is not running but is required for remote locking."),
    ("token", "failed to fetch token: cannot create resource \"serviceaccounts/token\" in API group \"\""),
    (
        "mount's catch-all, network file system",
        "mount: wrong fs type, bad option, bad superblock on nfs.example.com:/export",
    ),
    (
        "mount's catch-all",
        "mount: /x: wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.",
    ),
    ("share refused", "mount error(13): Permission denied"),
    ("share silent", "mount error(115): Operation now in progress"),
    ("share missing", "mount error(2): No such file or directory"),
    ("local path missing", "path \"/mnt/disks/ssd1\" does not exist"),
    ("host path", "hostPath type check failed: /var/run/docker.sock is not a socket file"),
    (
        "path on the server",
        "mount.nfs: mounting 10.0.0.5:/export failed, reason given by server: No such file or directory",
    ),
    ("not read yet", "object \"shop\"/\"kube-root-ca.crt\" not registered"),
    ("iSCSI", "Unable to find device after multiple discovery attempts: [can't find active iSCSI session]"),
    (
        "permission",
        "rpc error: code = PermissionDenied desc = Caller is not authorized to perform action on resource",
    ),
    (
        "disk full",
        "mkdir /var/lib/kubelet/pods/7b1e/volumes/kubernetes.io~empty-dir/cache: no space left on device",
    ),
    ("read-only", "mkdir /opt/cni: read-only file system"),
    ("I/O error", "rbd: sysfs write failed\nrbd: map failed: (5) Input/output error"),
    ("unreachable NFS", "mount.nfs: Connection timed out"),
    ("refused", "failed to connect to 10.0.0.9: connection refused"),
    (
        "earlier attempt",
        "rpc error: code = Aborted desc = an operation with the given Volume ID 7 already exists",
    ),
    (
        "time-out without a word",
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data]: timed out waiting for the condition",
    ),
    ("time-out", "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
    ("gone", "InvalidVolume.NotFound: The volume vol-7e does not exist"),
];

const SANDBOX: Samples = &[
    (
        "layers",
        "failed to mount container k8s_POD_cart in pod sandbox k8s_cart: Can't stat lower layer \"/var/lib/containers/storage/overlay/l/STE3PTA74\" because it does not exist.",
    ),
    ("memory limit", "container init was OOM-killed (memory limit too low?): unknown"),
    ("handler", "failed to get sandbox runtime: no runtime for \"nvidia\" is configured"),
    (
        "shim",
        "failed to start shim: start failed: io.containerd.kata.v2: exec: \"containerd-shim-kata-v2\": executable file not found in $PATH: not found",
    ),
    (
        "KVM",
        "failed to launch qemu: exit status 1, error messages from qemu log: Could not access KVM kernel module: No such file or directory",
    ),
    (
        "sandbox of a virtual machine",
        "failed to handle message create container\n\nCaused by:\n    0: create\n    1: agent create container\n    2: Establishing a D-Bus connection",
    ),
    (
        "runtime gone",
        "connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
    ),
    (
        "no such sysctl",
        "write sysctl key net.ipv4.ip_unprivileged_port_start: open /proc/sys/net/ipv4/ip_unprivileged_port_start: no such file or directory",
    ),
    (
        "Windows version",
        "hcsshim::CreateComputeSystem e2: The container operating system does not match the host operating system.",
    ),
    (
        "no address of the cloud",
        "networkPlugin cni failed to set up pod \"a\" network: failed to parse Kubernetes args: pod does not have label vpc.amazonaws.com/PrivateIPv4Address",
    ),
    (
        "addresses used up",
        "plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container",
    ),
    (
        "host port",
        "plugin type=\"portmap\" failed (add): could not open TCP port 8080: listen tcp4 :8080: bind: address already in use",
    ),
    (
        "bridge address",
        "failed to set bridge addr: \"cni0\" already has an IP address different from 10.244.0.1/24",
    ),
    (
        "attachment definition",
        "Multus: error getting k8s network: cannot find a network-attachment-definition (macvlan) in namespace (shop): network-attachment-definitions.k8s.cni.cncf.io \"macvlan\" not found",
    ),
    (
        "ztunnel",
        "plugin type=\"istio-cni\" name=\"istio-cni\" failed (add): unable to push CNI event (status code 500): partial add error: no ztunnel connection",
    ),
    (
        "not initialised",
        "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
    ),
    (
        "plugin not installed",
        "plugin type=\"calico\" failed (add): failed to find plugin \"calico\" in path [/opt/cni/bin]",
    ),
    (
        "plugin busy",
        "plugin type=\"cilium-cni\" failed (add): unable to create endpoint: [PUT /endpoint/{id}][429] too many requests",
    ),
    (
        "plugin refused",
        "plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized",
    ),
    (
        "API server unreachable",
        "plugin type=\"multus\" failed (add): error getting pod: Get \"https://10.96.0.1:443/api/v1/namespaces/shop/pods/cart\": dial tcp 10.96.0.1:443: i/o timeout",
    ),
    (
        "control plane late",
        "CNI request failed with status 400: 'failed to configure pod interface: timed out waiting for OVS port binding'",
    ),
    (
        "clock",
        "failed to setup network for sandbox \"ab\": plugin type=\"calico\" failed (add): error getting ClusterInformation: Get \"https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default\": x509: certificate has expired or is not yet valid: current time 2026-11-30T09:00:00Z is before 2026-11-30T09:30:00Z",
    ),
    (
        "server certificate expired",
        "failed to setup network for sandbox \"ab\": plugin type=\"calico\" failed (add): error getting ClusterInformation: Get \"https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default\": x509: certificate has expired or is not yet valid: current time 2026-11-30T09:00:00Z is after 2026-11-29T09:30:00Z",
    ),
    (
        "server not trusted",
        "plugin type=\"calico\" failed (add): error getting ClusterInformation: Get \"https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default\": x509: certificate signed by unknown authority",
    ),
    (
        "agent silent",
        "plugin type=\"cilium-cni\" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get \"http://localhost/v1/config\": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory",
    ),
    (
        "agent's file missing",
        "plugin type=\"flannel\" failed (add): loadFlannelSubnetEnv failed: open /run/flannel/subnet.env: no such file or directory",
    ),
    (
        "network",
        "plugin type=\"bridge\" failed (add): failed to create bridge \"cni0\": operation not supported",
    ),
];

#[test]
fn every_rule_has_a_message_that_it_is_the_first_to_match() {
    let tables: &[(&str, &'static [Rule], Samples)] = &[
        ("image", image::RULES, IMAGE),
        ("runtime", runtime::RULES, RUNTIME),
        ("volume", volume::RULES, VOLUME),
        ("sandbox", sandbox::RULES, SANDBOX),
    ];
    let mut wrong = Vec::new();
    for (family, rules, samples) in tables {
        for rule in *rules {
            let of = samples.iter().filter(|(name, _)| *name == rule.name).count();
            if of == 0 {
                wrong.push(format!("{family}: no sample of {:?}", rule.name));
            }
        }
        for (name, message) in *samples {
            let found = find(rules, &Message::read(message)).map_or("nothing", |r| r.name);
            if found != *name {
                wrong.push(format!("{family}: {found:?}, not {name:?}: {message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn steps_and_notes_of_rules_have_names_that_are_known() {
    use crate::diagnosis::steps::Names;
    let all = [
        "namespace",
        "pod",
        "container",
        "image",
        "registry",
        "node",
        "host",
        "peer",
        "path",
        "class",
        "server",
        "url",
    ];
    let names = all.iter().fold(Names::default(), |names, name| names.with(name, Some("x".to_owned())));
    for rule in [image::RULES, runtime::RULES, volume::RULES, sandbox::RULES].into_iter().flatten() {
        assert!(names.sentence(rule.note).is_some(), "{}: {}", rule.name, rule.note);
        for step in rule.steps {
            assert!(names.command(step).is_some(), "{}: {step}", rule.name);
            // A step that begins with a command is nothing but the command: people paste it as it stands.
            let prose = [": ", "; ", " the ", " then ", ", "].iter().find(|words| step.contains(**words));
            assert!(!step.starts_with("kubectl ") || prose.is_none(), "{}: {step}", rule.name);
        }
    }
}

/// Messages with the words of a rule and others that make its note untrue: another rule has them, or none.
const REFUTED: &[(&str, &str, &str)] = &[
    (
        "runtime",
        "disk full",
        "failed to create subPath directory: mkdir /var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-7e/mount/a: no space left on device",
    ),
    (
        "runtime",
        "cgroup room",
        "open /sys/fs/cgroup/pids/kubepods/cgroup.procs: no such file or directory: unknown",
    ),
    (
        "runtime",
        "layers",
        "error creating overlay mount to /var/lib/docker/overlay2/x/merged: no space left on device",
    ),
    (
        "runtime",
        "layer missing",
        "failed to create containerd task: failed to mount rootfs component: invalid argument: unknown",
    ),
    (
        "runtime",
        "kernel keys",
        "error during container init: unable to create session key: operation not permitted: unknown",
    ),
    (
        "runtime",
        "path on the node",
        "failed to generate spec: failed to stat \"/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-7e/mount\": no such file or directory",
    ),
    (
        "runtime",
        "node disk read-only",
        "relabel failed: lsetxattr /var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/assets/mount: read-only file system",
    ),
    (
        "runtime",
        "memory limit busy",
        "open /sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes: no such file or directory",
    ),
    ("runtime", "user namespace", "mount_setattr /data: function not implemented: unknown"),
    (
        "runtime",
        "time-out",
        "failed to generate spec: Get \"https://10.0.0.1/meta\": dial tcp 10.0.0.1:443: i/o timeout",
    ),
    (
        "sandbox",
        "sandbox of a virtual machine",
        "failed to setup network for sandbox of pod kata-demo: plugin type=\"bridge\" failed (add): operation not supported",
    ),
    (
        "sandbox",
        "addresses used up",
        "plugin type=\"aws-cni\" failed (add): failed to assign an ip address: dial tcp 127.0.0.1:50051: connect: connection refused",
    ),
    (
        "sandbox",
        "plugin refused",
        "plugin type=\"calico\" failed (add): pods \"a\" is forbidden: User \"x\" cannot get resource \"pods\"",
    ),
    (
        "sandbox",
        "agent silent",
        "plugin type=\"multus\" failed (add): lstat /sys/bus/pci/devices/0000:41:00.0/physfn/net: no such file or directory",
    ),
    (
        "volume",
        "time-out without a word",
        "Unable to attach or mount volumes: unmounted volumes=[data]: error processing PVC shop/data: timed out waiting for the condition",
    ),
    ("image", "layer without Windows parts", "hcsshim::ProcessBaseLayer: Access is denied."),
];

/// Notes that follow from the words of their rule alone, by family and name.
const CERTAIN: &[(&str, &str, &str)] = &[
    ("image", "part missing", "only a manifest names it"),
    ("image", "part not found", "only a manifest names it"),
    ("image", "storage of the registry", "the address that was asked is the storage's"),
    ("image", "store lacks a part", "unpacking begins when all parts have come"),
    ("image", "clock", "both times are in the message"),
    ("image", "proxy", "the client of the runtime names its proxy"),
    ("image", "name server silent", "Go names the server that it asked"),
    ("image", "name", "the look-up is the runtime's own, on the node"),
    ("image", "no credentials", "the client says that it has none"),
    ("runtime", "shim missing", "the runtime starts the shim from the node's disk"),
    ("runtime", "tool of the runtime missing", "the runtime starts it from the node's disk"),
    ("runtime", "tool of the runtime missing, in PATH", "the runtime starts it from the node's disk"),
    ("runtime", "SELinux", "the attribute is SELinux's"),
    ("runtime", "Windows version", "hcsshim compares the builds"),
    ("runtime", "content gone", "the runtime's own store lacks it"),
    (
        "runtime",
        "stale volume",
        "mkdir says EEXIST where stat sees no directory: of a file, or of a dead mount",
    ),
    ("runtime", "stale mount", "what the kernel's ESTALE and ENOTCONN mean"),
    ("runtime", "mount propagation", "runc checks it"),
    ("runtime", "files exhausted", "the runtime's own process is meant"),
    ("runtime", "memory limit too low", "the runtime says so"),
    ("runtime", "processes or memory", "it names all that EAGAIN and ENOMEM of fork may be"),
    ("runtime", "kernel file system", "the sources are the kernel's own"),
    ("runtime", "freezer", "it names what runc uses"),
    ("runtime", "read-only mount point", "the runtime makes only what is not there"),
    ("runtime", "read-only root", "the runtime makes only what is not there"),
    ("runtime", "file in the way", "what ENOTDIR of mkdir means"),
    ("runtime", "mount, file and directory", "what ENOTDIR of mount means"),
    ("runtime", "mount, path on the node", "what ENOTDIR of mount means"),
    ("runtime", "architecture", "what the kernel's ENOEXEC may mean"),
    ("runtime", "sandbox gone", "process 0 is none"),
    ("runtime", "sandbox not running", "the runtime says so"),
    ("runtime", "group", "runc reads that file"),
    ("runtime", "user", "runc reads that file"),
    ("runtime", "name reserved", "the runtime reserves a name for one attempt"),
    ("runtime", "runtime gone", "it is the runtime's own socket"),
    ("sandbox", "memory limit", "the runtime says so"),
    ("sandbox", "handler", "the runtime says so"),
    ("sandbox", "shim", "the runtime starts the shim from the node's disk"),
    ("sandbox", "KVM", "it asked for KVM"),
    ("sandbox", "runtime gone", "it is the runtime's own socket"),
    ("sandbox", "no such sysctl", "it is the path of the sysctl"),
    ("sandbox", "Windows version", "hcsshim compares the builds"),
    ("sandbox", "no address of the cloud", "both of them set that label"),
    ("sandbox", "host port", "the port map is the only one that binds"),
    ("sandbox", "bridge address", "the plugin compares the addresses"),
    ("sandbox", "attachment definition", "the API server's word"),
    ("sandbox", "not initialised", "the runtime says so"),
    ("sandbox", "plugin not installed", "the paths are in the message"),
    ("sandbox", "plugin busy", "what status 429 means"),
    ("sandbox", "clock", "both times are in the message"),
    ("sandbox", "server not trusted", "only a client looks at a certificate"),
    ("sandbox", "API server unreachable", "it is the path of its API"),
    ("sandbox", "control plane late", "the plugin waits for it"),
    ("sandbox", "agent's file missing", "its documented place"),
    ("volume", "attached elsewhere", "the attach controller's word"),
    ("volume", "detaching", "the API server's word"),
    ("volume", "ownership", "the kubelet's word"),
    ("volume", "driver not registered", "the kubelet's list"),
    ("volume", "driver not on the node", "the CSINode's list"),
    ("volume", "driver not installed", "the API server's word"),
    ("volume", "driver silent", "the kubelet speaks to a driver over its socket"),
    ("volume", "provider missing", "the driver looks for its socket"),
    ("volume", "held on the node", "mke2fs opens it exclusively"),
    ("volume", "file system damaged", "fsck's word"),
    ("volume", "file system needs repair", "what the kernel's EUCLEAN means"),
    ("sandbox", "layers", "the storage of the runtime says that it lacks them"),
    ("volume", "other zone", "the cloud compares the zones"),
    ("volume", "no healthy copy", "the storage system's word"),
    ("volume", "name", "it names both that may ask"),
    ("volume", "server name", "it names both that may ask"),
    ("volume", "local ports", "the driver's word"),
    ("volume", "stale", "what the kernel's ESTALE and ENOTCONN mean"),
    ("volume", "token", "only the kubelet asks for it"),
    ("volume", "mount's catch-all, network file system", "it only says where to look"),
    ("volume", "mount's catch-all", "it only says where to look"),
    ("volume", "share silent", "the number of the error"),
    ("volume", "share missing", "the number of the error"),
    ("volume", "not read yet", "the kubelet's own cache"),
    ("volume", "unreachable NFS", "the client's word"),
    ("volume", "earlier attempt", "the driver's word"),
];

#[test]
fn each_note_has_what_refutes_it_or_is_certain() {
    let tables: [(&str, &'static [Rule]); 4] = [
        ("image", image::RULES),
        ("runtime", runtime::RULES),
        ("volume", volume::RULES),
        ("sandbox", sandbox::RULES),
    ];
    let mut wrong = Vec::new();
    for (family, rules) in tables {
        for rule in rules.iter().filter(|rule| !rule.note.is_empty()) {
            let is = |(of, name): (&str, &str)| of == family && name == rule.name;
            let refuted: Vec<&str> = REFUTED.iter().filter(|r| is((r.0, r.1))).map(|r| r.2).collect();
            if refuted.is_empty() && !CERTAIN.iter().any(|r| is((r.0, r.1))) {
                wrong.push(format!("{family}: what refutes {:?} ({})?", rule.name, rule.note));
            }
            for message in refuted {
                if find(rules, &Message::read(message)).is_some_and(|found| found.name == rule.name) {
                    wrong.push(format!("{family}: {:?} is not refuted by {message}", rule.name));
                }
            }
        }
    }
    let known = |r: &&(&str, &str, &str)| {
        tables.iter().any(|(family, rules)| *family == r.0 && rules.iter().any(|rule| rule.name == r.1))
    };
    wrong.extend(REFUTED.iter().chain(CERTAIN).filter(|r| !known(r)).map(|r| format!("no rule {r:?}")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
