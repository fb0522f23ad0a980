//! What a container runtime says when a container can be created but not started, or not even created.

use super::cause::CauseCode;
use super::finding::Finding;
use super::text;

/// Reads the text: the same ones come through `CreateContainerError` (CRI-O), `RunContainerError` and `StartError`
/// (containerd).
pub fn error(message: &str) -> (CauseCode, String) {
    use CauseCode as C;
    // Runtimes before 2021 quote one error within another.
    let message = &message.replace("\\\"", "\"");
    let lower = message.to_lowercase();
    let has = |word: &str| lower.contains(word);
    let program = text::between(message, "exec: \"", "\"")
        .or_else(|| text::between(message, "executable file `", "`"))
        .or_else(|| text::between(message, ": exec ", ": "))
        .map(text::name);
    // In the form of a list each part is an argument: `["server --port 80"]` is a program of that name.
    let as_one = if program.as_ref().is_some_and(|p| p.contains(' ')) {
        "; all of it is taken for the program's name: in command, each argument is an item of its own"
    } else {
        ""
    };
    let named = |words: &str| match &program {
        Some(p) => format!("{p}: {words}"),
        None => words.to_owned(),
    };
    // What the runtime itself needs on the node is not in the image, nor should it be.
    let tool = program.as_deref().filter(|p| p.starts_with("containerd-shim-") || *p == "apparmor_parser");
    let tool = tool.map(str::to_owned).or_else(|| text::between(message, "fork/exec ", ": ").map(text::name));
    if let Some(tool) = tool {
        return (
            C::RuntimeError,
            format!("the node lacks {tool}, which its container runtime needs for this pod"),
        );
    }
    if has("executable file") && has("not found in") {
        return (
            C::ExecutableNotFound,
            named(&format!("no such program in the image (executable file not found in $PATH){as_one}")),
        );
    }
    // Profiles, devices and working directories are missing with the words of a missing program.
    if has("apparmor") || has("seccomp") || has("selinux") {
        return (C::NodeRefused, format!("a security profile cannot be applied: {}", innermost(message)));
    }
    if has("idmap") || has("user namespace") || has("userns") || has("mount_setattr") {
        let why = innermost(message);
        return (C::NodeRefused, format!("the node cannot give the pod a user namespace of its own: {why}"));
    }
    if has("/attr/keycreate") || has("/attr/exec") {
        return (C::NodeRefused, format!("an SELinux label cannot be set: {}", innermost(message)));
    }
    if has("custom device")
        || has("/dev/") && has("lstat /dev/")
        || has("executing hook") && has("nvidia")
        || has("nvidia-container-cli")
        || has("cdi device")
        || has("select device driver")
        || has("no such device")
    {
        return (
            C::DeviceAllocationFailed,
            format!("a device cannot be given to it: {}", innermost(message)),
        );
    }
    if has("chdir to cwd") || has("working directory") {
        let dir = text::between(message, "cwd (\"", "\")").map(text::name).unwrap_or_default();
        return if has("permission denied") {
            (
                C::PermissionDenied,
                format!("its user may not enter the working directory {dir} (permission denied)"),
            )
        } else {
            (C::FileNotFound, format!("its working directory {dir} is not in the image"))
        };
    }
    if has("does not match the host operating system") || has("hcsshim") && has("0xc0370101") {
        return (
            C::ImagePlatformMismatch,
            "the image is for another version of Windows than the node's".to_owned(),
        );
    }
    if has("the user name or password is incorrect") {
        return (C::UnknownUser, "Windows does not know the user that it is to run as".to_owned());
    }
    if has("createprocess") && has("access is denied") {
        return (C::ExecutableNotPermitted, "its program may not be executed (access is denied)".to_owned());
    }
    if has("the system cannot find the file specified") {
        return (
            C::ExecutableNotFound,
            "no such program in the image (the system cannot find the file specified)".to_owned(),
        );
    }
    let content = has("content digest") && has("not found");
    // The layers of the image are the node's own; the pod's volumes have no part in them.
    let layers = has("error creating overlay mount") || has("layer not known") || has("missing parent");
    if content || layers || has("mount rootfs") || has("failed to resolve rootfs") {
        return (C::ImageCorrupt, format!("the node's copy of the image is damaged: {}", innermost(message)));
    }
    if has("failed to generate spec") && (has("failed to stat ") || has("failed to mkdir ")) {
        let why = innermost(message);
        return (C::MountFailed, format!("a volume's path on the node cannot be used: {why}"));
    }
    if has("creating mount source path") && has("file exists") {
        let path = text::between(message, "mount source path \"", "\"").map(text::name).unwrap_or_default();
        return (C::MountFailed, format!("a volume's old mount on the node is dead (stale): {path}"));
    }
    if has("is not a shared mount") || has("not a shared or slave mount") {
        let why = innermost(message);
        return (C::MountFailed, format!("the node's path does not allow this mountPropagation: {why}"));
    }
    if has("/var/lib/containerd") || has("/var/lib/containers") {
        if has("read-only file system") {
            return (
                C::RuntimeError,
                "the node's own disk can only be read (read-only file system)".to_owned(),
            );
        }
        if has("input/output error") {
            return (C::RuntimeError, "the node's own disk fails (input/output error)".to_owned());
        }
    }
    if has("too many open files") {
        return (C::ResourceExhausted, "the node has too many files open (too many open files)".to_owned());
    }
    if has("memory.limit_in_bytes") || has("memory.max") && has("device or resource busy") {
        return (C::MemoryLimitReached, "the memory limit is too low even to start the container".to_owned());
    }
    if has("unknown capability") || has("invalid capability") {
        let why = innermost(message);
        return (C::InvalidConfiguration, format!("its securityContext is not valid: {why}"));
    }
    if has("session key") {
        return (
            C::ResourceExhausted,
            "the node's limit on kernel keys is used up (kernel.keys.maxkeys, maxbytes)".to_owned(),
        );
    }
    if has("resource temporarily unavailable") || has("cannot allocate memory") {
        let why = innermost(message);
        return (
            C::ResourceExhausted,
            format!("the node has no processes or memory left to start it: {why}"),
        );
    }
    if has("imagevolumemountfailed") {
        return (C::MountFailed, format!("an image volume cannot be mounted: {}", innermost(message)));
    }
    if has(": mkdir /") && has("read-only file system") {
        let dir = text::between(message, ": mkdir ", ": ").map(text::name).unwrap_or_default();
        return (
            C::FileNotFound,
            format!("{dir} is not in the image and cannot be made: the root file system is read-only"),
        );
    }
    if has(": mkdir /") && has("not a directory") {
        let dir = text::between(message, ": mkdir ", ": ").map(text::name).unwrap_or_default();
        return (
            C::FileNotFound,
            format!("{dir} cannot be made: a part of that path is a file in the image"),
        );
    }
    if has("error mounting") || has("mountpoint") || has("failed to mount") {
        let target = text::between(message, "to rootfs at \"", "\"").map(text::name);
        let what = target.map_or_else(
            || "a volume cannot be mounted".to_owned(),
            |t| format!("a volume cannot be mounted at {t}"),
        );
        let why = if has("not a directory") {
            ": a file and a directory do not fit onto each other (not a directory)".to_owned()
        } else if has("read-only file system") {
            ": the place to mount it is on a read-only file system and does not exist in the image".to_owned()
        } else {
            format!(": {}", innermost(message))
        };
        return (C::MountFailed, format!("{what}{why}"));
    }
    if has("exec format error") {
        let words = "built for another CPU architecture, or a script without #! line (exec format error)";
        return (C::ExecFormatError, named(words));
    }
    // Only what is said of the program itself: the runtime opens, writes and makes much else before it.
    let starting = program.is_some() || has("open executable") || has("crun: exec");
    if starting && has("permission denied") {
        return (C::ExecutableNotPermitted, named("not executable (permission denied)"));
    }
    if starting && has("is a directory") {
        return (C::ExecutableNotPermitted, named("is a directory, not a program"));
    }
    if starting && has("no such file or directory") {
        return (
            C::ExecutableNotFound,
            named(&format!("not in the image (no such file or directory){as_one}")),
        );
    }
    if has("namespace path: lstat /proc/0/") || has("sandbox container") && has("is not running") {
        return (C::SandboxFailed, "the pod's sandbox had ended before the container could start".to_owned());
    }
    if has("no command specified") {
        return (
            C::NoCommand,
            "neither the pod nor the image names a command (no command specified)".to_owned(),
        );
    }
    if has("no users found") || has("unable to find user") || has("no matching entries in passwd") {
        return (
            C::UnknownUser,
            "the image names a user that its /etc/passwd does not have (no users found)".to_owned(),
        );
    }
    if has("is reserved for")
        || has("name is reserved")
        || has("name is already in use")
        || has("is already in use by container")
    {
        return (
            C::ContainerNameReserved,
            "the runtime still holds a container of this name from an attempt that took too long".to_owned(),
        );
    }
    if has("container init was oom-killed") || has("memory limit too low") {
        return (C::MemoryLimitReached, "the memory limit is too low even to start the container".to_owned());
    }
    if has("no space left on device") {
        return (C::NodeDiskFull, "no space is left on the node's disk".to_owned());
    }
    if has("deadline exceeded") || has("timed out") || has("timeout") || has("not yet finished") {
        return (C::RuntimeTimeout, "the runtime did not answer in time".to_owned());
    }
    (C::RuntimeError, innermost(message))
}

/// The end of a chain of errors: the part that names the matter.
pub fn innermost(message: &str) -> String {
    let message = text::normalise(message);
    // What gRPC adds to an error without a code, and what the shim could not read of the runtime's own log.
    let message = message.trim_end_matches(": unknown");
    let message = match message.split_once("unable to retrieve OCI runtime error (") {
        Some((_, rest)) => rest.split_once("): ").map_or(message, |(_, said)| said),
        None => message,
    };
    let parts: Vec<&str> = message.split(": ").collect();
    let from = parts.len().saturating_sub(3);
    text::quote(&parts.get(from..).unwrap_or_default().join(": "))
}

/// What to do about an error of the runtime.
pub fn advice(finding: Finding, code: CauseCode, image: &str) -> Finding {
    use CauseCode as C;
    let node = finding.node.clone();
    match code {
        C::NoCommand => finding.next_step("set command in the pod, or an ENTRYPOINT or CMD in the image"),
        C::UnknownUser => finding.next_step("set runAsUser to a number (on Windows: correct runAsUserName), or add the user to the image"),
        C::ContainerNameReserved | C::RuntimeTimeout => finding
            .scope("node", node.clone())
            .next_step(format!("on node {node}: crictl ps -a, and the log of the container runtime")),
        C::NodeRefused | C::DeviceAllocationFailed | C::NodeDiskFull | C::ResourceExhausted => finding
            .scope("node", node.clone())
            .next_step(format!("check that node {node} has what the pod asks for: kubectl describe node {}", text::arg(&node))),
        C::MemoryLimitReached => finding.next_step("raise the memory limit; check its unit (Mi, not Ki or m)"),
        C::ExecFormatError | C::ImagePlatformMismatch => finding.next_step(
            "build the image for the node's architecture and system, or pin the pod with a nodeSelector on kubernetes.io/arch or os",
        ),
        // What the node has at the volume's path is at fault, not what the image has there.
        C::MountFailed if finding.summary.contains("on the node") || finding.summary.contains("the node's path") => {
            finding.scope("node", node.clone()).next_step(format!(
                "look at that path on node {node}; a dead mount goes with umount, or with a restart of the storage driver's pod there"
            ))
        }
        C::MountFailed => finding.next_step("compare volumeMounts (mountPath, subPath) with what is at those paths in the image"),
        C::ExecutableNotFound | C::ExecutableNotPermitted | C::FileNotFound | C::PermissionDenied => finding
            .next_step(format!("check command, args and workingDir of the container against image {image}")),
        C::ImageCorrupt => finding.scope("node", node.clone()).next_step(format!(
            "on node {node}: crictl rmi {}, so that it is pulled again",
            text::arg(image)
        )),
        C::InvalidConfiguration => finding.next_step("correct the securityContext of the container"),
        _ => finding.next_step(on_node(&node)),
    }
}

/// Where to look for what only the node knows.
pub fn on_node(node: &str) -> String {
    format!("on node {}: the log of the kubelet and of the container runtime", text::name(node))
}
