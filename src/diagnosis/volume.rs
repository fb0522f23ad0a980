//! Volumes that are not there, by the words of the kubelet, the attach controller and storage drivers.

use super::cause::CauseCode;
use super::finding::{Finding, Source};
use super::text;
use crate::objects::{Event, Pod};

/// Reads the event that tells why a volume is not there: what it names, what keeps it, what to do.
pub fn not_ready(finding: Finding, pod: &Pod, event: &Event, message: &str) -> Finding {
    let namespace = finding.namespace.clone();
    let volume = text::between(message, "for volume \"", "\"")
        .or_else(|| text::between(message, "unmounted volumes=[", "]"))
        .map(text::name)
        .unwrap_or_default();
    let quoted = |kind: &str| {
        let name = text::between(message, &format!("{kind} \""), "\"")
            .or_else(|| text::between(message, &format!("{kind}s \""), "\""));
        // A driver's own Secret may live in another namespace, and its words are not the kubelet's.
        name.filter(|_| !message.contains("rpc error")).map(text::name)
    };
    if message.contains("not found")
        && let Some(name) = quoted("secret")
    {
        let step = finding.kubectl(&format!("get secret {}", text::arg(&name)));
        return finding
            .says(format!("the pod cannot start: Secret {name} of volume {volume} does not exist"))
            .because(
                CauseCode::MissingSecret,
                format!("Secret {name} was not found in namespace {namespace}"),
            )
            .about("secret", format!("{namespace}/{name}"))
            .next(step);
    }
    if message.contains("not found")
        && let Some(name) = quoted("configmap")
    {
        let step = finding.kubectl(&format!("get configmap {}", text::arg(&name)));
        return finding
            .says(format!("the pod cannot start: ConfigMap {name} of volume {volume} does not exist"))
            .because(
                CauseCode::MissingConfigMap,
                format!("ConfigMap {name} was not found in namespace {namespace}"),
            )
            .about("configmap", format!("{namespace}/{name}"))
            .next(step);
    }
    if let Some(key) =
        message.split_once("references non-existent secret key: ").map(|(_, key)| text::name(key))
    {
        let secret = source(pod, &volume).and_then(|s| s.secret.as_ref()).map(|s| text::name(&s.secret_name));
        return missing_key(finding, "Secret", secret, &volume, &key, CauseCode::MissingSecretKey);
    }
    if let Some(key) =
        message.split_once("references non-existent config key: ").map(|(_, key)| text::name(key))
    {
        let map =
            source(pod, &volume).and_then(|s| s.config_map.as_ref()).map(|m| text::name(&m.reference.name));
        return missing_key(finding, "ConfigMap", map, &volume, &key, CauseCode::MissingConfigMapKey);
    }
    if let Some(account) = text::between(message, "serviceaccounts \"", "\" not found").map(text::name) {
        let step = finding.kubectl(&format!("get serviceaccount {}", text::arg(&account)));
        return finding
            .says(format!("the pod cannot start: its ServiceAccount {account} does not exist any more"))
            .because(
                CauseCode::MissingServiceAccount,
                format!("ServiceAccount {account} was not found in namespace {namespace}, so the kubelet gets no token for the pod"),
            )
            .about("serviceaccount", format!("{namespace}/{account}"))
            .next(step);
    }
    let attach = event.reason == "FailedAttachVolume";
    let code = if attach { CauseCode::VolumeAttachFailed } else { CauseCode::VolumeMountFailed };
    let verb = if attach { "attached" } else { "mounted" };
    let (short, step) = volume_trouble(message);
    let short = if short.is_empty() { innermost(message) } else { short };
    let slow = event.reason == "VolumePermissionChangeInProgress";
    let cannot = |what: String| match slow {
        true => format!("the pod waits for {what}: {short}"),
        false => format!("the pod cannot start: {what} cannot be {verb}: {short}"),
    };
    let mut finding = finding
        .says(cannot(format!("volume {volume}")))
        .because(code, text::quote(&text::normalise(message)));
    if !step.is_empty() {
        finding = finding.next(step);
    }
    let claims = pod
        .spec
        .volumes
        .iter()
        .filter_map(|v| v.source.as_ref()?.persistent_volume_claim.as_ref().map(|c| (v, c)));
    let claims: Vec<_> = claims.collect();
    let named = claims
        .iter()
        .find(|(v, _)| v.name == volume)
        // Drivers name the volume that is bound to the claim; any other of the pod's own is no claim.
        .or_else(|| {
            claims.first().filter(|_| claims.len() == 1 && pod.spec.volumes.iter().all(|v| v.name != volume))
        });
    if let Some((_, claim)) = named {
        let claim = text::name(&claim.claim_name);
        if volume.is_empty() {
            finding.summary = cannot(format!("claim {claim}"));
        }
        finding.add(Source::Spec, format!("claim {claim}"), None);
        let step = finding.kubectl("get pvc,pv,volumeattachments");
        finding = finding.about("claim", format!("{namespace}/{claim}")).next(step);
    }
    finding
}

/// What a message says behind its wrappings: the driver's own words, or the part that follows the name of the volume.
fn innermost(message: &str) -> String {
    let said = message.rsplit_once(" desc = ").map(|(_, said)| said);
    let said = said.or_else(|| message.split_once("\" : ").map(|(_, said)| said)).unwrap_or(message);
    let said = said.rsplit_once("Output: ").map_or(said, |(_, said)| said);
    text::quote(&text::normalise(said.trim_end_matches(['.', ' '])))
}

/// What is wrong with a volume in a few words, and what to do about it.
fn volume_trouble(message: &str) -> (String, &'static str) {
    let driver = text::between(message, "driver name ", " not found")
        .or_else(|| message.split_once("does not contain driver ").map(|(_, name)| name.trim()));
    if let Some(driver) = driver {
        let words = format!("CSI driver {} is not (yet) registered on the node", text::name(driver));
        return (
            words,
            "check that the driver's node pod runs on that node: kubectl get csinodes,pods -A -o wide",
        );
    }
    if let Some(holders) = message.split_once("already used by pod(s) ").map(|(_, pods)| text::name(pods)) {
        return (
            format!("it is still attached to another node, where {holders} uses it"),
            "let that pod go first; if its node is dead, delete the pod by force or taint the node out-of-service",
        );
    }
    let (words, step) = known_trouble(message);
    (words.to_owned(), step)
}

/// The same, for words that are always the same.
fn known_trouble(message: &str) -> (&'static str, &'static str) {
    let lower = message.to_lowercase();
    let has = |word: &str| lower.contains(word);
    if has("multi-attach error") {
        return (
            "it is still attached to another node",
            "find the pod that still holds the volume; if its node is dead, delete that pod by force or taint the node out-of-service",
        );
    }
    if has("setting volume ownership") || has("is taking longer than expected") {
        return (
            "changing the owner of all its files takes long",
            "set securityContext.fsGroupChangePolicy: OnRootMismatch",
        );
    }
    if has("access denied by server") {
        return (
            "the NFS server denies access",
            "check the server's exports: the path, and whether they allow the node's address",
        );
    }
    if has("no such file or directory") && (has("mount.nfs") || has("mounting")) {
        return ("the server has no such path", "check the path of the volume on its server");
    }
    if has("wrong fs type") || has("bad superblock") || has("helper program") {
        return (
            "wrong file system type, or its helper is not installed on the node",
            "check fsType, and that the node has the client (nfs-common, cifs-utils, ...) installed",
        );
    }
    if has("hostpath type check failed") {
        return ("", "check hostPath.path and type on that node");
    }
    if has("not registered") || has("failed to sync") {
        return (
            "the kubelet has not read yet what it needs for it",
            "if it lasts, look whether the kubelet on that node reaches the API server",
        );
    }
    if has("maximum number of attachments") || has("attachment limit") {
        return (
            "as many volumes are attached to the node as it takes",
            "let the pod run on another node, or use larger nodes",
        );
    }
    if has("permissiondenied")
        || has("permission denied")
        || has("access denied")
        || has("unauthorized")
        || has("forbidden")
    {
        return (
            "access is denied",
            "check the credentials and rights of the storage driver, or of the pod's identity",
        );
    }
    if (has("mount.nfs") || has("-t nfs") || has("nfs4"))
        && (has("timed out") || has("unreachable") || has("no route"))
    {
        return (
            "the NFS server does not answer",
            "check that the node reaches the server (address, firewall, port 2049)",
        );
    }
    if has("deadlineexceeded") || has("deadline exceeded") || has("timed out") || has("timeout") {
        return ("it timed out", "look at the pods of the storage driver, on that node and its controller");
    }
    if has("operation with the given volume id") || has("operation already exists") {
        return ("an earlier attempt still runs", "look at the pod of the storage driver on that node");
    }
    if has("nodeaffinity check failed") {
        return (
            "the volume lives on another node or zone",
            "let the pod go where the volume is, or restore the volume",
        );
    }
    ("", "")
}

fn source<'a>(pod: &'a Pod, volume: &str) -> Option<&'a crate::objects::pod::VolumeSource> {
    pod.spec.volumes.iter().find(|v| v.name == volume)?.source.as_deref()
}

fn missing_key(
    finding: Finding,
    kind: &str,
    object: Option<String>,
    volume: &str,
    key: &str,
    code: CauseCode,
) -> Finding {
    // A projected volume takes from several objects, and the message names only the key.
    let object =
        object.map_or_else(|| format!("the {kind} of volume {volume}"), |name| format!("{kind} {name}"));
    let scope = format!("{}/{}", finding.namespace, object.rsplit(' ').next().unwrap_or_default());
    let describe = object.to_lowercase().replacen("the ", "", 1);
    let step = finding.kubectl(&format!("describe {describe}"));
    let finding = finding
        .says(format!(
            "the pod cannot start: {object}, which volume {volume} takes keys from, has no key {key}"
        ))
        .because(code, format!("key {key} was not found in {object}"))
        .about(if kind == "Secret" { "secret" } else { "configmap" }, scope);
    if object.starts_with("the ") { finding } else { finding.next(step) }
        .next("add the key, or correct the items of the volume")
}
