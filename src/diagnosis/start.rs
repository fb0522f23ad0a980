//! Containers that cannot be started: the waiting reasons but those of a crash (taxonomy section 1).

use super::cause::CauseCode;
use super::container::View;
use super::context::Context;
use super::draft::Look;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::image;
use super::reason::{Reason, Severity};
use super::text;

/// Looks at a waiting container whose reason is an error of starting it.
pub fn diagnose(view: &View<'_>, context: &Context<'_>, look: &mut Look) -> Option<Finding> {
    // What still waits in a pod that has failed waits for nothing.
    let waiting = view.waiting().filter(|_| view.pod.status.phase != "Failed")?;
    let reason = match waiting.reason.as_str() {
        // Not errors (yet), and those that `crash` reads.
        ""
        | "ContainerCreating"
        | "PodInitializing"
        | "CrashLoopBackOff"
        | "RunContainerError"
        | "PostStartHookError"
        | "RestartingAllContainers" => return None,
        word if is_progress(word) && waiting.message.is_empty() => return None,
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => Reason::ImagePullBackOff,
        known => Reason::of(known).filter(|r| r.family() == super::Family::Start).unwrap_or(Reason::Other),
    };
    let container = text::name(view.name);
    let mut finding = Finding::of_container(view, reason);
    finding.image = text::name(view.image);
    let message = waiting.message.as_str();
    finding = match reason {
        Reason::ImagePullBackOff => pull(finding, view, context, message),
        Reason::InvalidImageName => {
            let why = format!("{} is no valid image name{}", text::name(view.image), lowercase_hint(message));
            let image = text::name(view.image);
            finding
                .says(format!(
                    "container {container} cannot start: its image name is not valid and never will be"
                ))
                .because(CauseCode::InvalidImageReference, why)
                .about("image", image)
        }
        Reason::ErrImageNeverPull => {
            let image = text::name(view.image);
            let why = format!(
                "image {image} is not on node {} (or not for this pod's credentials), and imagePullPolicy Never forbids to pull it",
                text::name(&view.pod.spec.node_name)
            );
            finding
                .says(format!(
                    "container {container} cannot start: its image is not on the node and must not be pulled"
                ))
                .because(CauseCode::ImageNotPresent, why)
                .about("image", image)
        }
        Reason::SignatureValidationFailed => {
            let image = text::name(view.image);
            finding
                .says(format!(
                    "container {container} cannot start: the signature of its image is not accepted"
                ))
                .because(
                    CauseCode::ImageSignature,
                    format!("the signature of image {image} is missing or not accepted"),
                )
                .about("image", image)
        }
        Reason::ImageInspectError => {
            let error = image::classify(view.image, message);
            let code = error.map_or(CauseCode::RuntimeError, |e| match e.code {
                CauseCode::ImagePullFailed => CauseCode::RuntimeError,
                code => code,
            });
            let why = format!(
                "the runtime cannot tell whether it has the image: {}",
                text::quote(&text::normalise(message))
            );
            finding
                .says(format!("container {container} cannot start: the runtime cannot inspect its image"))
                .because(code, why)
        }
        Reason::CreateContainerConfigError => config(finding, view, message),
        Reason::CreateContainerError => create(finding, view, message),
        _ => {
            let why = if message.is_empty() { waiting.reason.as_str() } else { message };
            finding
                .says(format!("container {container} cannot start: {}", text::quote(&waiting.reason)))
                .because(CauseCode::RuntimeError, text::quote(&text::normalise(why)))
                .sure(if reason == Reason::Other { Confidence::Possible } else { Confidence::Confirmed })
        }
    };
    let fact = if message.is_empty() {
        format!("waiting: {}", text::name(&waiting.reason))
    } else {
        format!("waiting: {}: {}", text::name(&waiting.reason), text::quote(message))
    };
    finding.evidence.insert(0, super::Evidence { source: Source::Status, text: fact, at: None });
    if finding.next_steps.is_empty() {
        let describe = finding.kubectl_pod("describe pod");
        finding = finding.next(describe);
    }
    // One that ran before has been failing since its last end at the earliest.
    let since = view.newest_end().and_then(|e| e.finished_at.get()).or_else(|| view.could_start_since());
    let mut finding = finding.lasting(since, None, look);
    if view.kind == ContainerType::Ephemeral {
        finding.severity = Severity::Info;
    }
    Some(finding)
}

/// Words of virtual kubelets for a container that is on its way: no error, like `ContainerCreating`.
pub fn is_progress(word: &str) -> bool {
    ["waiting", "pending", "creating", "pulling", "starting", "initializing", "provisioning", "scheduling"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
}

fn pull(mut finding: Finding, view: &View<'_>, context: &Context<'_>, message: &str) -> Finding {
    let container = text::name(view.name);
    // After a restart the kubelet no longer knows the cause; the event of the failed pull still may.
    let from_event = || {
        let failed = context
            .container_events(view)
            .filter(|e| text::uncombined(&e.message).starts_with("Failed to pull image"))
            .last();
        failed.and_then(|e| {
            let error = e.message.split_once("\": ").map_or("", |(_, error)| error);
            image::classify(view.image, error).map(|found| (found, e))
        })
    };
    let (error, event) = match image::classify(view.image, message) {
        Some(error) => (Some(error), None),
        None => match from_event() {
            Some((error, event)) => (Some(error), Some(event)),
            None => (None, None),
        },
    };
    let image = text::name(view.image);
    let short = match error.as_ref().map(|e| e.code) {
        Some(CauseCode::ImageNotFound) => "image not found",
        Some(CauseCode::ImageNotFoundOrPrivate) => "image not found or private",
        Some(CauseCode::RegistryUnauthorized) => "the registry refuses access",
        Some(CauseCode::RegistryRateLimited) => "the registry limits the rate of pulls",
        Some(CauseCode::RegistryUnreachable) => "the registry cannot be reached",
        Some(CauseCode::RegistryError) => "the registry is in trouble",
        Some(CauseCode::RegistryNameNotResolved) => "the registry's name does not resolve",
        Some(CauseCode::RegistryTlsError) => "the registry's certificate is not accepted",
        Some(CauseCode::KubeletPullThrottled) => "the kubelet spaces out its pulls",
        Some(CauseCode::ImagePlatformMismatch) => "no image for this platform",
        Some(CauseCode::NodeDiskFull) => "the node's disk is full",
        _ => "the image cannot be pulled",
    };
    finding = finding.says(format!("container {container} cannot start: {short}: {image}"));
    finding = match error {
        Some(error) => {
            use CauseCode as C;
            let registry = image::registry_of(view.image);
            let finding = finding.because(error.code, error.text);
            match error.code {
                C::RegistryRateLimited
                | C::RegistryUnreachable
                | C::RegistryError
                | C::RegistryTlsError
                | C::RegistryNameNotResolved => finding.about("registry", registry),
                C::NodeDiskFull => finding.about("node", text::name(&view.pod.spec.node_name)),
                _ => finding.about("image", image.clone()),
            }
        }
        None => finding
            .because(
                CauseCode::ImagePullFailed,
                format!("image {image} cannot be pulled; the kubelet no longer says why"),
            )
            .sure(Confidence::Possible)
            .about("image", image.clone()),
    };
    if let Some(event) = event {
        finding.add_event(event);
    }
    if finding.cause.code == CauseCode::KubeletPullThrottled {
        finding.severity = Severity::Info;
    }
    if matches!(finding.cause.code, CauseCode::RegistryUnauthorized | CauseCode::ImageNotFoundOrPrivate) {
        finding = credentials(finding, view, context);
    }
    let advice = match finding.cause.code {
        CauseCode::ImageNotFound => Some("check the repository and the tag for a typo, and that the push of the image has succeeded".to_owned()),
        CauseCode::ImagePlatformMismatch => Some("push an image for the node's architecture, or pin the pod with a nodeSelector on kubernetes.io/arch".to_owned()),
        CauseCode::RegistryRateLimited => Some("pull with credentials, through a mirror, or wait: the kubelet goes on trying".to_owned()),
        CauseCode::NodeDiskFull => Some(format!("kubectl describe node {}", text::arg(&view.pod.spec.node_name))),
        CauseCode::RegistryTlsError => Some("give the nodes' container runtime the registry's CA, or mend the certificate".to_owned()),
        CauseCode::RegistryNameNotResolved => Some("check the registry's name, and DNS on the node (not in the cluster: the kubelet pulls)".to_owned()),
        CauseCode::ImageShortName => Some("write the image with its registry: registry/repository:tag".to_owned()),
        _ => None,
    };
    let describe = finding.kubectl_pod("describe pod");
    finding = finding.next(describe);
    if let Some(advice) = advice {
        finding = finding.next(advice);
    }
    finding
}

fn credentials(mut finding: Finding, view: &View<'_>, context: &Context<'_>) -> Finding {
    let secrets: Vec<String> = view.pod.spec.image_pull_secrets.iter().map(|s| text::name(&s.name)).collect();
    let missing = context.newest_event(|e| e.reason == "FailedToRetrieveImagePullSecret");
    if secrets.is_empty() {
        finding.add(Source::Spec, "the pod names no imagePullSecrets", None);
    } else {
        finding.add(Source::Spec, format!("imagePullSecrets: {}", text::list(&secrets)), None);
    }
    if let Some(event) = missing {
        finding.add_event(event);
        let names = text::between(&event.message, "(", ")").map_or_else(|| text::list(&secrets), text::name);
        finding.cause.text = format!(
            "{}; the pod's imagePullSecret {names} cannot be read: it does not exist",
            finding.cause.text
        );
        let each: Vec<String> = names.split(", ").map(text::arg).collect();
        let step = finding.kubectl(&format!("get secret {}", each.join(" ")));
        return finding.next(step);
    }
    match secrets.first() {
        Some(name) => {
            let step = finding.kubectl(&format!("get secret {}", text::arg(name)));
            finding.next(step)
        }
        None => finding
            .next("give the pod (or its ServiceAccount) imagePullSecrets with credentials for the registry"),
    }
}

fn lowercase_hint(message: &str) -> &'static str {
    if message.contains("must be lowercase") { ": a repository name must be lowercase" } else { "" }
}

fn config(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let container = text::name(view.name);
    let namespace = finding.namespace.clone();
    let missing = |kind: &str| {
        let name = text::between(message, &format!("{kind} \""), "\" not found")?;
        Some(text::name(name))
    };
    if let Some(name) = missing("configmap") {
        let step = finding.kubectl(&format!("get configmap {}", text::arg(&name)));
        return finding
            .says(format!("container {container} cannot start: ConfigMap {name} does not exist"))
            .because(
                CauseCode::MissingConfigMap,
                format!("ConfigMap {name} was not found in namespace {namespace}"),
            )
            .about("configmap", format!("{namespace}/{name}"))
            .next(step)
            .next("create it, or mark the reference optional");
    }
    if let Some(name) = missing("secret") {
        let step = finding.kubectl(&format!("get secret {}", text::arg(&name)));
        return finding
            .says(format!("container {container} cannot start: Secret {name} does not exist"))
            .because(
                CauseCode::MissingSecret,
                format!("Secret {name} was not found in namespace {namespace}"),
            )
            .about("secret", format!("{namespace}/{name}"))
            .next(step)
            .next("create it, or mark the reference optional");
    }
    if let Some(rest) = message.strip_prefix("couldn't find key ") {
        let (key, rest) = rest.split_once(" in ").unwrap_or((rest, ""));
        let (kind, object) = rest.split_once(' ').unwrap_or(("Secret", rest));
        let object = object.trim();
        let (key, object) = (text::name(key), text::name(object));
        let name = object.rsplit('/').next().unwrap_or(&object).to_owned();
        let (code, scope, resource) = if kind == "ConfigMap" {
            (CauseCode::MissingConfigMapKey, "configmap", "configmap")
        } else {
            (CauseCode::MissingSecretKey, "secret", "secret")
        };
        let step = finding.kubectl(&format!("describe {resource} {}", text::arg(&name)));
        let kind = if scope == "configmap" { "ConfigMap" } else { "Secret" };
        return finding
            .says(format!("container {container} cannot start: {kind} {name} has no key {key}"))
            .because(code, format!("key {key} was not found in {kind} {object}"))
            .about(scope, object.clone())
            .next(step)
            .next("add the key, or correct its name in the pod");
    }
    if message.contains("runAsNonRoot") || message.contains("non-root") {
        let why = if message.contains("non-numeric user") {
            let user = text::between(message, "non-numeric user (", ")").map(text::name).unwrap_or_default();
            format!(
                "runAsNonRoot is set and the image's user {user} is non-numeric, so the kubelet cannot tell that it is not root"
            )
        } else {
            "runAsNonRoot is set and the container would run as root".to_owned()
        };
        return finding
            .says(format!("container {container} cannot start: runAsNonRoot does not allow its user"))
            .because(CauseCode::RunAsNonRootViolated, why)
            .next("set runAsUser to a number other than 0, or build the image with a numeric USER");
    }
    if message.contains("failed to sync") && message.contains("cache") {
        return finding
            .says(format!(
                "container {container} cannot start: the kubelet cannot read a ConfigMap or Secret of it"
            ))
            .because(
                CauseCode::RuntimeTimeout,
                format!(
                    "the kubelet could not read it from the API server in time: {}",
                    text::quote(message)
                ),
            );
    }
    if let Some(key) = message.strip_prefix("environment variable key ") {
        return finding
            .says(format!(
                "container {container} cannot start: its file of environment variables lacks a key"
            ))
            .because(
                CauseCode::MissingConfiguration,
                format!("environment variable key {}", text::quote(key)),
            )
            .next("let the init container write the key into the file, or mark the reference optional");
    }
    if message.contains("subPath") || message.contains("subpath") {
        return finding
            .says(format!(
                "container {container} cannot start: a subPath of one of its volumes cannot be prepared"
            ))
            .because(CauseCode::SubPathFailed, text::quote(&text::normalise(message)));
    }
    finding
        .says(format!("container {container} cannot start: its configuration cannot be put together"))
        .because(CauseCode::InvalidConfiguration, text::quote(&text::normalise(message)))
}

/// Reads what a runtime says when a container can be created but not started, or not even created: the same texts come
/// through `CreateContainerError` (CRI-O), `RunContainerError` and `StartError` (containerd).
pub fn runtime_error(message: &str) -> (CauseCode, String) {
    use CauseCode as C;
    // Runtimes before 2021 quote one error within another.
    let message = &message.replace("\\\"", "\"");
    let lower = message.to_lowercase();
    let has = |word: &str| lower.contains(word);
    let program = text::between(message, "exec: \"", "\"")
        .or_else(|| text::between(message, "executable file `", "`"))
        .or_else(|| text::between(message, "stat ", ":"))
        .map(text::name);
    let named = |words: &str| match &program {
        Some(p) => format!("{p}: {words}"),
        None => words.to_owned(),
    };
    if has("executable file") && has("not found in") {
        return (
            C::ExecutableNotFound,
            named("no such program in the image (executable file not found in $PATH)"),
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
    if has("custom device")
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
    if has("the system cannot find the file specified") {
        return (
            C::ExecutableNotFound,
            "no such program in the image (the system cannot find the file specified)".to_owned(),
        );
    }
    if has("error mounting") || has("mountpoint") || has("failed to mount") || has("imagevolumemountfailed") {
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
        return (C::ExecFormatError, named("built for another CPU architecture (exec format error)"));
    }
    let starting = has("exec: \"")
        || has("starting container process")
        || has("unable to start container process")
        || has("open executable")
        || has("crun: exec");
    if starting && has("permission denied") {
        return (C::ExecutableNotPermitted, named("not executable (permission denied)"));
    }
    if starting && has("is a directory") {
        return (C::ExecutableNotPermitted, named("is a directory, not a program"));
    }
    if starting && has("no such file or directory") {
        return (C::ExecutableNotFound, named("not in the image (no such file or directory)"));
    }
    if has("sandbox container") && has("is not running") {
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
    if has("is reserved for") || has("name is reserved") {
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
fn innermost(message: &str) -> String {
    let message = text::normalise(message);
    let parts: Vec<&str> = message.split(": ").collect();
    let from = parts.len().saturating_sub(3);
    text::quote(&parts.get(from..).unwrap_or_default().join(": "))
}

fn create(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let container = text::name(view.name);
    let (code, why) = runtime_error(message);
    let finding = finding.says(format!("container {container} cannot be created: {why}")).because(code, why);
    let image = text::name(view.image);
    advice(finding, code, &image)
}

/// What to do about an error of the runtime.
pub fn advice(finding: Finding, code: CauseCode, image: &str) -> Finding {
    use CauseCode as C;
    let node = finding.node.clone();
    match code {
        C::NoCommand => finding.next("set command in the pod, or an ENTRYPOINT or CMD in the image"),
        C::UnknownUser => finding.next("set runAsUser to a number, or add the user to the image"),
        C::ContainerNameReserved | C::RuntimeTimeout => finding
            .about("node", node.clone())
            .next(format!("on node {node}: crictl ps -a, and the log of the container runtime")),
        C::NodeRefused | C::DeviceAllocationFailed | C::NodeDiskFull => finding
            .about("node", node.clone())
            .next(format!("check that node {node} has what the pod asks for: kubectl describe node {}", text::arg(&node))),
        C::MemoryLimitReached => finding.next("raise the memory limit; check its unit (Mi, not Ki or m)"),
        C::ExecFormatError | C::ImagePlatformMismatch => finding.next(
            "build the image for the node's architecture and system, or pin the pod with a nodeSelector on kubernetes.io/arch or os",
        ),
        C::MountFailed => finding.next("compare volumeMounts (mountPath, subPath) with what is at those paths in the image"),
        _ => finding.next(format!("check command, args and workingDir of the container against image {image}")),
    }
}
