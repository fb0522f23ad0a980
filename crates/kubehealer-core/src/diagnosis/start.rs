//! Containers that cannot be started: the waiting reasons but those of a crash.

use super::cause::CauseCode;
use super::container::View;
use super::context::Context;
use super::draft::Look;
use super::finding::{Confidence, ContainerType, Finding, Source};
use super::image;
use super::reason::{Reason, Severity};
use super::runtime;
use super::steps::Names;
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
    let mut finding = Finding::of_container(view, reason);
    finding.image = text::name(view.image);
    let message = waiting.message.as_str();
    finding = match reason {
        Reason::ImagePullBackOff => pull(finding, view, context, message),
        Reason::InvalidImageName => invalid_name(finding, view, message),
        Reason::ErrImageNeverPull => never_pulled(finding, view),
        Reason::SignatureValidationFailed => signature(finding, view),
        Reason::ImageInspectError => not_inspected(finding, view, message),
        Reason::CreateContainerConfigError => config(finding, view, message),
        Reason::CreateContainerError => create(finding, view, message),
        _ => other(finding, view, message, &waiting.reason),
    };
    let fact = if message.is_empty() {
        format!("waiting: {}", text::name(&waiting.reason))
    } else {
        format!("waiting: {}: {}", text::name(&waiting.reason), text::quote(message))
    };
    finding.evidence.insert(0, super::Evidence { source: Source::Status, text: fact, at: None });
    if finding.next_steps.is_empty() {
        let describe = finding.kubectl_pod("describe pod");
        finding = finding.next_step(describe);
    }
    // One that ran before has been failing since its last end at the earliest.
    let since = view.newest_end().and_then(|e| e.finished_at.get()).or_else(|| view.could_start_since());
    let mut finding = finding.grace(since, None, look);
    if view.kind == ContainerType::Ephemeral {
        finding.severity = Severity::Info;
    }
    Some(finding)
}

fn invalid_name(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let image = text::name(view.image);
    let why = format!("{image} is not a valid image name{}", flaw(view.image, message));
    let finding = finding
        .summary(format!("{}: {why}", who(view)))
        .cause(CauseCode::InvalidImageReference, why)
        .scope("image", image);
    let names = Names::of(&finding);
    finding.steps_of_its_cause(&names)
}

fn never_pulled(finding: Finding, view: &View<'_>) -> Finding {
    let image = text::name(view.image);
    let why = format!(
        "image {image} is not on node {} (or this pod may not use it), and imagePullPolicy Never forbids pulling it",
        text::name(&view.pod.spec.node_name)
    );
    finding
        .summary(format!(
            "{}: image {image} is not on the node, and imagePullPolicy Never forbids the pull",
            who(view)
        ))
        .cause(CauseCode::ImageNotPresent, why)
        .scope("image", image)
        .next_step("load the image onto the node, or set imagePullPolicy IfNotPresent")
}

fn signature(finding: Finding, view: &View<'_>) -> Finding {
    let image = text::name(view.image);
    finding
        .summary(format!("{}: the signature of image {image} is not accepted", who(view)))
        .cause(
            CauseCode::ImageSignature,
            format!("the signature of image {image} is missing or not accepted"),
        )
        .scope("image", image)
        .next_step("sign the image, or correct the node's policy (with CRI-O: /etc/containers/policy.json)")
}

fn not_inspected(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let node = &view.pod.spec.node_name;
    let error = image::classify(view.image, node, message);
    // Nothing is asked of a registry here: what does not answer is the runtime.
    let code = error.as_ref().map_or(CauseCode::RuntimeError, |e| match e.code {
        CauseCode::RegistryUnreachable => CauseCode::RuntimeTimeout,
        CauseCode::ImageShortName
        | CauseCode::NodeDiskFull
        | CauseCode::InvalidImageReference
        | CauseCode::ImageCorrupt => e.code,
        _ => CauseCode::RuntimeError,
    });
    let why = format!("cannot inspect image {}: {}", text::name(view.image), runtime::innermost(message));
    finding.summary(format!("{}: {why}", who(view))).cause(code, why).next_step(match code {
        CauseCode::ImageShortName => "write the image with its registry: registry/repository:tag".to_owned(),
        _ => runtime::on_node(node),
    })
}

fn other(finding: Finding, view: &View<'_>, message: &str, reason: &str) -> Finding {
    // A kubelet that blocks the pod says why of the pod as a whole.
    let said = [message, view.pod.status.message.as_str(), reason];
    let why = said.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
    let (code, why) = runtime::error(why);
    let confidence = if finding.reason.known() == Some(Reason::Other) {
        Confidence::Possible
    } else {
        Confidence::Confirmed
    };
    finding
        .summary(format!("{}: cannot start: {why}", who(view)))
        .cause(code, why)
        .next_step(runtime::on_node(&view.pod.spec.node_name))
        .confidence(confidence)
}

/// Words of virtual kubelets for a container that is on its way: no error, like `ContainerCreating`.
pub fn is_progress(word: &str) -> bool {
    ["waiting", "pending", "creating", "pulling", "starting", "initializing", "provisioning", "scheduling"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
}

fn pull(mut finding: Finding, view: &View<'_>, context: &Context<'_>, message: &str) -> Finding {
    // An image volume has an image of its own, and its pull is told as the container's.
    let wanted = text::between(message, "Back-off pulling image \"", "\"").unwrap_or(view.image);
    // After a restart the kubelet no longer knows the cause, and of a long message only the beginning may be left; the
    // event of the failed pull may still tell.
    let node = &view.pod.spec.node_name;
    let from_event = || {
        let failed = context
            .container_events(view)
            .filter(|e| text::uncombined(&e.message).starts_with("Failed to pull image"))
            .last();
        failed.and_then(|e| {
            let error = e.message.split_once("\": ").map_or("", |(_, error)| error);
            image::classify(wanted, node, error).map(|found| (found, e))
        })
    };
    let (error, event) = match image::classify(wanted, node, message) {
        Some(error) if error.code != CauseCode::ImagePullFailed => (Some(error), None),
        vague => match from_event() {
            Some((error, event)) => (Some(error), Some(event)),
            None => (vague, None),
        },
    };
    let image = text::name(wanted);
    finding.image = image.clone();
    let who = who(view);
    finding = match &error {
        Some(error) => {
            let finding =
                finding.summary(format!("{who}: {}", error.short)).cause(error.code, error.text.clone());
            finding.scope("image", image.clone())
        }
        None => finding
            .summary(format!("{who}: cannot pull image {image}"))
            .cause(
                CauseCode::ImagePullFailed,
                format!("image {image} cannot be pulled; the kubelet no longer says why"),
            )
            .confidence(Confidence::Possible)
            .scope("image", image.clone()),
    };
    if let Some(event) = event {
        finding.add_event(event);
    }
    if finding.cause.code == CauseCode::KubeletPullThrottled {
        finding.severity = Severity::Info;
    }
    if let Some(error) = &error {
        if image::wants_credentials(error) {
            finding = credentials(finding, view, context);
        }
        let names = error.names.clone().with("namespace", Some(finding.namespace.clone()));
        finding = match error.rule {
            Some(rule) => runtime::by_rule(finding, rule, &names),
            None => finding.steps_of_its_cause(&names),
        };
    }
    if finding.cause.code == CauseCode::ImagePlatformMismatch
        && let Some(info) = context.node.and_then(|n| n.status.node_info.as_ref())
    {
        let architecture = text::name(&info.architecture);
        finding.add(Source::Node, format!("the node's architecture is {architecture}"), None);
    }
    let describe = finding.kubectl_pod("describe pod");
    finding.next_step(describe)
}

/// The container as the subject of a sentence.
fn who(view: &View<'_>) -> String {
    format!("{} {}", view.noun(), text::name(view.name))
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
            "{}; the pod's imagePullSecret {names} cannot be read: most likely it does not exist",
            finding.cause.text
        );
        let each: Vec<String> = names.split(", ").map(text::arg).collect();
        let step = finding.kubectl(&format!("get secret {}", each.join(" ")));
        return finding.next_step(step);
    }
    if let Some(identity) = image::identity_of(&image::registry_of(&finding.image)) {
        finding = finding.next_step(identity);
    }
    match secrets.first() {
        Some(name) => {
            let step = finding.kubectl(&format!("get secret {}", text::arg(name)));
            finding.next_step(step)
        }
        None => finding.next_step(
            "give the pod (or its ServiceAccount) imagePullSecrets with credentials for the registry",
        ),
    }
}

/// What is wrong with an image name, where that can be seen.
fn flaw(image: &str, message: &str) -> &'static str {
    if message.contains("must be lowercase") {
        ": a repository name must be lowercase"
    } else if image.contains("://") {
        ": it begins with a scheme; an image has no https:// before its registry"
    } else if image.contains(['$', '{', '<', '%']) {
        ": it looks like a template with a variable that was not replaced"
    } else if image.trim() != image || image.contains(' ') {
        ": it contains a space"
    } else if image.ends_with(':') {
        ": its tag is empty"
    } else {
        ""
    }
}

fn config(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let who = who(view);
    if let Some((kind, name)) = missing_object(message) {
        return without_object(finding, &who, kind, &name);
    }
    if let Some(rest) = message.strip_prefix("couldn't find key ") {
        return without_key(finding, &who, rest);
    }
    if message.contains("runAsNonRoot") || message.contains("non-root") {
        return as_root(finding, &who, message);
    }
    let late = message.contains("failed to sync") && message.contains("cache");
    if late || message.contains("have not yet been read") {
        return not_read(finding, &who, message);
    }
    if let Some(key) = message.strip_prefix("environment variable key ") {
        return finding
            .summary(format!("{who}: environment variable key {}", text::quote(key)))
            .cause(CauseCode::MissingConfiguration, format!("environment variable key {}", text::quote(key)))
            .next_step(
                "make the init container write the key into the file, or mark the reference optional",
            );
    }
    let said = text::quote(&text::normalise(message));
    if message.contains("subPath") || message.contains("subpath") {
        let of = text::between(message, "volumeMount \"", "\"")
            .map(|v| format!(" (volumeMount {})", text::name(v)));
        let of = of.unwrap_or_else(|| " of one of its volumes".to_owned());
        let finding = finding
            .summary(format!("{who}: a subPath{of} cannot be prepared{}", subpath_trouble(message)))
            .cause(CauseCode::SubPathFailed, said);
        let names = Names::of(&finding);
        return finding.steps_of_its_cause(&names);
    }
    let (code, why) = runtime::error(message);
    let code = if code == CauseCode::RuntimeError { CauseCode::InvalidConfiguration } else { code };
    let finding = finding.summary(format!("{who}: cannot start: {why}")).cause(code, why);
    if code == CauseCode::InvalidConfiguration { finding } else { runtime::advice(finding, message) }
}

/// The ConfigMap or Secret that was not found.
fn missing_object(message: &str) -> Option<(&'static str, String)> {
    ["ConfigMap", "Secret"].into_iter().find_map(|kind| {
        let name = text::between(message, &format!("{} \"", kind.to_lowercase()), "\" not found")?;
        Some((kind, text::name(name)))
    })
}

fn without_object(finding: Finding, who: &str, kind: &str, name: &str) -> Finding {
    let namespace = finding.namespace.clone();
    let resource = kind.to_lowercase();
    let code = if kind == "ConfigMap" { CauseCode::MissingConfigMap } else { CauseCode::MissingSecret };
    let step = finding.kubectl(&format!("get {resource} {}", text::arg(name)));
    finding
        .summary(format!("{who}: {kind} {name} does not exist"))
        .cause(code, format!("{kind} {name} was not found in namespace {namespace}"))
        .scope(if kind == "ConfigMap" { "configmap" } else { "secret" }, format!("{namespace}/{name}"))
        .next_step(step)
        .next_step("create it, or mark the reference optional")
}

/// A ConfigMap or Secret without a key: `KEY in Secret namespace/name`.
fn without_key(finding: Finding, who: &str, rest: &str) -> Finding {
    let (key, rest) = rest.split_once(" in ").unwrap_or((rest, ""));
    let (kind, object) = rest.split_once(' ').unwrap_or(("Secret", rest));
    let (key, object) = (text::name(key), text::name(object.trim()));
    let name = object.rsplit('/').next().unwrap_or(&object).to_owned();
    let (code, kind, resource) = if kind == "ConfigMap" {
        (CauseCode::MissingConfigMapKey, "ConfigMap", "configmap")
    } else {
        (CauseCode::MissingSecretKey, "Secret", "secret")
    };
    let step = finding.kubectl(&format!("describe {resource} {}", text::arg(&name)));
    finding
        .summary(format!("{who}: {kind} {name} has no key {key}"))
        .cause(code, format!("key {key} was not found in {kind} {object}"))
        .scope(resource, object.clone())
        .next_step(step)
        .next_step("add the key, or correct its name in the pod")
}

/// The kubelet's own words on `runAsNonRoot`, without the pod behind them.
fn as_root(finding: Finding, who: &str, message: &str) -> Finding {
    let said = message.split_once(" (pod: ").map_or(message, |(said, _)| said);
    let why = text::quote(&text::normalise(said));
    let step = if said.contains("runAsUserName") {
        "set securityContext.windowsOptions.runAsUserName to ContainerUser, or, only if the program needs root, drop runAsNonRoot: the container may then run as root"
    } else if said.contains("runAsUser breaks") {
        "set runAsUser to a number other than 0 where the pod or the container sets it, or, only if the program needs root, drop runAsNonRoot: the container may then run as root"
    } else {
        "set runAsUser to a number other than 0, or build the image with a numeric USER"
    };
    finding
        .summary(format!("{who}: cannot start: {why}"))
        .cause(CauseCode::RunAsNonRootViolated, why)
        .next_step(step)
}

fn not_read(finding: Finding, who: &str, message: &str) -> Finding {
    let node = finding.node.clone();
    let said = text::quote(message);
    finding
        .summary(format!("{who}: the kubelet has not yet read what it needs from the API server"))
        .cause(
            CauseCode::RuntimeTimeout,
            format!("the kubelet could not read it from the API server in time: {said}"),
        )
        .scope("node", node.clone())
        .next_step(format!(
            "if it persists, check whether the kubelet reaches the API server; {}",
            runtime::on_node(&node)
        ))
}

/// What is wrong with a subPath, where the kubelet says it.
fn subpath_trouble(message: &str) -> String {
    text::between(message, "missing value for \"", "\"")
        .map(|name| format!(": its environment variable {} is not set", text::name(name)))
        .unwrap_or_default()
}

fn create(finding: Finding, view: &View<'_>, message: &str) -> Finding {
    let (code, why) = runtime::error(message);
    let finding = finding.summary(format!("{}: cannot start: {why}", who(view))).cause(code, why);
    runtime::advice(finding, message)
}
