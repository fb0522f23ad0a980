//! Why a container cannot be created or started: the words of runc, crun, containerd, CRI-O, Docker, Kata, gVisor and hcsshim.

use super::generic::Fact;
use super::{Of, Rule, rule};
use crate::diagnosis::cause::CauseCode as C;

const ON_NODE: &str = "on node {node}: read the logs of the kubelet and the container runtime";
const SECURITY: &str =
    "check the securityContext of the container: kubectl -n {namespace} get pod {pod} -o yaml";

const CREATE: &str = "if no volume holds the parent directory: create the path in the image";
const COVERED: &str = "if a volume holds the parent directory (compare the volumeMounts): create the path within that volume, or choose another mountPath; what is mounted over the parent directory hides the data in it";

/// First match wins.
pub const RULES: &[Rule] = &[
    // What the runtime itself needs on the node is not in the image, nor should it be.
    rule("shim missing", C::RuntimeError)
        .any(&["exec: \"containerd-shim-", "failed to create shim: not found"])
        .of(Of::Node)
        .note("the node lacks this shim")
        .only(&["install the runtime on node {node}, or keep such pods off it: scheduling.nodeSelector of the RuntimeClass"]),
    rule("tool of the runtime missing", C::RuntimeError)
        .any(&["exec: \"apparmor_parser\"", "fork/exec "])
        .fact(&[Fact::NotFound])
        .of(Of::Node)
        .note("missing on the node, not in the image")
        .only(&["install it on node {node}", ON_NODE]),
    rule("tool of the runtime missing, in PATH", C::RuntimeError)
        .all(&["apparmor_parser", "not found"])
        .of(Of::Node)
        .note("missing on the node, not in the image")
        .only(&["install it on node {node}", ON_NODE]),
    // Profiles, devices and working directories are missing with the words of a missing program.
    rule("seccomp", C::NodeRefused)
        .any(&["seccomp", "/seccomp/"])
        .of(Of::Node)
        .only(&["put the profile into the kubelet's seccomp directory (/var/lib/kubelet/seccomp) on node {node}, or name another one in securityContext.seccompProfile"]),
    rule("AppArmor", C::NodeRefused)
        .any(&["apparmor"])
        .of(Of::Node)
        .only(&["load the AppArmor profile on node {node} (apparmor_parser, aa-status), or name another one in securityContext.appArmorProfile"]),
    rule("SELinux", C::NodeRefused)
        .any(&["selinux", "/attr/keycreate", "/attr/exec"])
        .note("SELinux label")
        .of(Of::Node)
        .only(&["check securityContext.seLinuxOptions, and SELinux on node {node}: getenforce"]),
    rule("user namespace", C::NodeRefused)
        .any(&["idmap", "user namespace", "userns"])
        .note("user namespaces need support in kernel, runtime and file system")
        .of(Of::Node)
        .only(&["hostUsers: false needs a kernel, a runtime and file systems that support it: check node {node}"]),
    // No volume of the pod: what every container has.
    rule("kernel file system", C::RuntimeError)
        .any(&["mounting \"proc\"", "mounting \"sysfs\"", "mounting \"cgroup", "mounting \"mqueue\"", "mounting \"devpts\"", "mounting \"tmpfs\""])
        .of(Of::Node)
        .note("a mount that the runtime makes for every container")
        .only(&[ON_NODE, SECURITY]),
    rule("device", C::DeviceAllocationFailed).of(Of::Node).any(&[
        "custom device",
        "lstat /dev/",
        "nvidia-container-cli",
        "nvidia-container-runtime",
        "nvml",
        "cdi device",
        "select device driver",
        "no such device",
    ]),
    rule("device hook", C::DeviceAllocationFailed).of(Of::Node).all(&["hook"]).any(&["nvidia", "/nvidia"]),
    rule("working directory forbidden", C::PermissionDenied)
        .any(&["chdir to cwd", "working directory"])
        .fact(&[Fact::Permission])
        .only(&["give the container's user permission to enter the directory, or set workingDir"]),
    rule("working directory", C::FileNotFound)
        .any(&["chdir to cwd", "working directory", "cwd"])
        .fact(&[Fact::NotFound])
        .only(&["correct workingDir: the image does not have that directory"]),
    rule("Windows version", C::ImagePlatformMismatch).any(&["does not match the host operating system", "0xc0370101"])
        .note("the image's Windows build differs from the node's").steps(&["use the image for the node's Windows build, or pin the pod with a nodeSelector on node.kubernetes.io/windows-build"]),
    rule("Windows user", C::UnknownUser).any(&["the user name or password is incorrect"]),
    rule("Windows access", C::ExecutableNotPermitted).all(&["createprocess", "access is denied"]),
    rule("Windows program", C::ExecutableNotFound).any(&["the system cannot find the file specified"]),
    // The layers of the image are the node's own; the pod's volumes have no part in them.
    rule("content gone", C::ImageCorrupt).all(&["content digest", "not found"]).of(Of::Node).note("the node's copy of the image is damaged").only(&["on node {node}: crictl rmi {image}, then the kubelet pulls it again"]),
    rule("layers", C::ImageCorrupt)
        .any(&["layer not known", "stat lower layer", "missing parent", "failed to resolve rootfs", "snapshot does not exist"])
        .of(Of::Node)
        .note("the node's copy of the image is damaged")
        .only(&["on node {node}: crictl rmi {image}, then the kubelet pulls it again"]),
    rule("layer missing", C::ImageCorrupt)
        .any(&["error creating overlay mount", "mount rootfs"])
        .fact(&[Fact::NotFound])
        .of(Of::Node)
        .note("the node's copy of the image is damaged")
        .only(&["on node {node}: crictl rmi {image}, then the kubelet pulls it again"]),
    rule("kernel keys", C::ResourceExhausted).all(&["session key", "quota"]).of(Of::Node).note("the node's limit on kernel keys is reached").only(&["on node {node}: raise kernel.keys.maxkeys and kernel.keys.maxbytes"]),
    rule("disk full", C::NodeDiskFull).fact(&[Fact::DiskFull]).note("on node {node}").of(Of::Node).none(&["/sys/fs/cgroup", "~csi/"]),
    rule("root file system", C::RuntimeError).any(&["error creating overlay mount", "mount rootfs"]).of(Of::Node).only(&["on node {node}: dmesg may show why the mount failed", "if it shows nothing, the node's copy of the image may be damaged: on node {node}: crictl rmi {image}, then the kubelet pulls it again"]),
    rule("cgroup room", C::ResourceExhausted).any(&["/sys/fs/cgroup"]).fact(&[Fact::DiskFull]).of(Of::Node).note("the kernel has no room for another cgroup"),
    rule("stale volume", C::MountFailed)
        .all(&["creating mount source path", "file exists"])
        .of(Of::Node)
        .note("that path is a file or a stale mount")
        .only(&["on node {node}: ls -ld and findmnt of that path; move the file away, or unmount the stale mount"]),
    rule("stale mount", C::MountFailed).fact(&[Fact::Stale]).of(Of::Node).note("the mount is broken").only(&["on node {node}: umount that path, or restart the storage driver's pod there"]),
    rule("mount propagation", C::MountFailed)
        .any(&["is not a shared mount", "not a shared or slave mount"])
        .of(Of::Node)
        .note("mountPropagation needs a shared mount on the node")
        .only(&["on node {node}: mount --make-rshared on that path, or leave mountPropagation out of volumeMounts"]),
    rule("path on the node", C::MountFailed)
        .any(&["failed to generate spec", "failed to apply oci options", "failed to mkdir", "failed to stat "])
        .fact(&[Fact::NotFound, Fact::ReadOnly, Fact::Permission, Fact::InUse])
        .none(&["/var/lib/kubelet/pods"])
        .of(Of::Node)
        .note("a path on the node, for a hostPath volume")
        .only(&["check hostPath.path and type of the pod's volumes against node {node}: the runtime must create or find that path there"]),
    rule("node disk read-only", C::RuntimeError).any(&["/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/kubelet"]).fact(&[Fact::ReadOnly, Fact::IoError]).of(Of::Node).none(&["to rootfs at", "/volumes/"]).note("the node's own disk").only(&["on node {node}: dmesg, and the health of its disk", "kubectl describe node {node}"]),
    rule("files exhausted", C::ResourceExhausted).fact(&[Fact::FilesExhausted]).of(Of::Node).note("on the node").only(&["on node {node}: sysctl fs.inotify fs.file-max, ulimit -n of the container runtime's service"]),
    rule("memory limit too low", C::MemoryLimitReached).any(&["unable to set memory limit to", "container init was oom-killed", "memory limit too low"]).note("too low even to start the container"),
    rule("memory limit busy", C::MemoryLimitReached).any(&["memory.max", "memory.limit_in_bytes"]).all(&["device or resource busy"]).note("too low even to start the container"),
    rule("capability", C::InvalidConfiguration).any(&["unknown capability", "invalid capability"]).only(&["correct capabilities in the securityContext of the container"]),
    rule("processes or memory", C::ResourceExhausted).fact(&[Fact::MemoryExhausted]).of(Of::Node).note("the node's memory or PIDs, or the pod's PID limit").only(&["kubectl describe node {node}", "on node {node}: check PIDs and memory: sysctl kernel.pid_max, free -m"]),
    rule("freezer", C::RuntimeError).any(&["unable to freeze"]).of(Of::Node).note("cgroup freezer").only(&[ON_NODE, "update runc on the node"]),
    rule("sysctl", C::NodeRefused)
        .any(&["/proc/sys/"])
        .of(Of::Node)
        .only(&["check securityContext.sysctls: the kernel of node {node} must have that sysctl (uname -r), and the pod may set only namespaced sysctls", SECURITY]),
    rule("image volume", C::MountFailed).any(&["imagevolumemountfailed"]),
    rule("read-only mount point", C::MountFailed)
        .any(&["mountpoint"])
        .fact(&[Fact::ReadOnly])
        .note("the path does not exist, and its parent is on a read-only file system")
        .only(&[CREATE, COVERED]),
    rule("read-only root", C::FileNotFound)
        .any(&[": mkdir /", "mkdirat "])
        .fact(&[Fact::ReadOnly])
        .note("the path does not exist, and its parent is on a read-only file system")
        .only(&[CREATE, COVERED]),
    rule("file in the way", C::FileNotFound).any(&[": mkdir /"]).all(&["not a directory"]).note("a part of that path is a file in the image").only(&["choose another mountPath"]),
    rule("mount, file and directory", C::MountFailed)
        .any(&["/var/lib/kubelet/pods/", "/volumes/kubernetes.io~", "/volume-subpaths/"])
        .all(&["mount", "not a directory"])
        .note("one is a file, the other a directory")
        .only(&["mount single files with subPath, and check that the ConfigMap or Secret has that key: volumeMounts of container {container}"]),
    rule("mount, path on the node", C::MountFailed)
        .any(&["mounting", "mountpoint", "failed to mount", "mount "])
        .all(&["not a directory"])
        .note("one is a file, the other a directory")
        .only(&["on node {node}: ls -ld of the path that is mounted; compare it with what is at the mountPath in the image", "hostPath.type File or Directory refuses what is not of that type"]),
    rule("mount", C::MountFailed).any(&["error mounting", "mounting \"", "mountpoint", "failed to mount", "to rootfs at"]),
    rule("architecture", C::ExecFormatError).any(&["exec format error"]).note("built for another CPU architecture, or a script without #! line"),
    // Only what is said of the program itself: the runtime opens, writes and makes much else before it.
    rule("program in PATH", C::ExecutableNotFound).any(&["executable file not found in", "executable file `"]).fact(&[Fact::NotFound]),
    rule("program", C::ExecutableNotFound).any(&["exec: \"", ": exec ", "open executable", "crun: exec"]).any(&["exec: \"", ": exec ", "open executable", "crun: exec", "exec /"]).fact(&[Fact::NotFound]),
    rule("program may not run", C::ExecutableNotPermitted).any(&["exec: \"", ": exec ", "open executable", "crun: exec", "exec /"]).fact(&[Fact::Permission]),
    rule("program is a directory", C::ExecutableNotPermitted).any(&["exec: \"", ": exec ", "open executable", "crun: exec", "exec /"]).all(&["is a directory"]),
    rule("sandbox gone", C::SandboxFailed).any(&["namespace path: lstat /proc/0/"]).of(Of::Node).note("the pod's sandbox had already stopped"),
    rule("sandbox not running", C::SandboxFailed).all(&["sandbox container", "is not running"]).of(Of::Node).note("the pod's sandbox had already stopped"),
    rule("no command", C::NoCommand).any(&["no command specified", "no command provided"]),
    rule("group", C::UnknownUser).any(&["unable to find group"]).note("the image's /etc/group does not have that group"),
    rule("user", C::UnknownUser).any(&["no users found", "unable to find user", "no matching entries in passwd", "no such user"]).note("the image's /etc/passwd does not have that user"),
    rule("name reserved under load", C::ContainerNameReserved)
        .any(&["system load"])
        .of(Of::Node)
        .only(&["on node {node}: CPU and disk load, and the log of CRI-O: it did not finish an earlier attempt in time", "kubectl describe node {node}"]),
    rule("name reserved", C::ContainerNameReserved)
        .any(&["is reserved for", "name is reserved", "name is already in use", "is already in use by container"])
        .of(Of::Node)
        .note("the runtime has not finished an earlier attempt"),
    rule("time-out", C::RuntimeTimeout).fact(&[Fact::TimeOut]).of(Of::Node).none(&["dial tcp", "http://", "https://"]).note("the container runtime did not answer in time"),
    rule("runtime gone", C::RuntimeTimeout).any(&["transport is closing", "containerd.sock", "crio.sock", "cri-dockerd.sock", "docker.sock"]).fact(&[Fact::Refused, Fact::NotFound, Fact::Reset]).of(Of::Node).note("the container runtime does not answer the kubelet").only(&["on node {node}: systemctl status of the container runtime, and its log"]),
];
