//! Volumes that are not there, by the words of the kubelet, the attach controller and storage drivers.

use super::cause::CauseCode;
use super::finding::{Finding, Source};
use super::message::Message;
use super::messages;
use super::runtime;
use super::steps::Names;
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
    let missing = missing_objects(message);
    if let [_, _, ..] = missing.as_slice() {
        let names: Vec<String> = missing.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        let names = text::list(&names);
        let of_secret = missing.iter().any(|(kind, _)| *kind == "Secret");
        let code = if of_secret { CauseCode::MissingSecret } else { CauseCode::MissingConfigMap };
        return missing.iter().fold(
            finding
                .summary(format!(
                    "pod cannot start: volume {volume} needs objects that do not exist: {names}"
                ))
                .cause(code, format!("not found in namespace {namespace}: {names}")),
            |finding, (kind, name)| {
                let step = finding.kubectl(&format!("get {} {}", kind.to_lowercase(), text::arg(name)));
                finding.next_step(step)
            },
        );
    }
    if message.contains("not found")
        && let Some(name) = quoted("secret")
    {
        let step = finding.kubectl(&format!("get secret {}", text::arg(&name)));
        return finding
            .summary(format!("pod cannot start: Secret {name} of volume {volume} does not exist"))
            .cause(CauseCode::MissingSecret, format!("Secret {name} was not found in namespace {namespace}"))
            .scope("secret", format!("{namespace}/{name}"))
            .next_step(step);
    }
    if message.contains("not found")
        && let Some(name) = quoted("configmap")
    {
        let step = finding.kubectl(&format!("get configmap {}", text::arg(&name)));
        return finding
            .summary(format!("pod cannot start: ConfigMap {name} of volume {volume} does not exist"))
            .cause(
                CauseCode::MissingConfigMap,
                format!("ConfigMap {name} was not found in namespace {namespace}"),
            )
            .scope("configmap", format!("{namespace}/{name}"))
            .next_step(step);
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
            .summary(format!("pod cannot start: its ServiceAccount {account} no longer exists"))
            .cause(
                CauseCode::MissingServiceAccount,
                format!("ServiceAccount {account} was not found in namespace {namespace}, so the kubelet gets no token for the pod"),
            )
            .scope("serviceaccount", format!("{namespace}/{account}"))
            .next_step(step);
    }
    other(finding, pod, event, &volume, message)
}

/// What no object of the cluster explains: a driver, a server, a node.
fn other(finding: Finding, pod: &Pod, event: &Event, volume: &str, message: &str) -> Finding {
    let namespace = finding.namespace.clone();
    let attach = event.reason == "FailedAttachVolume";
    let read = Message::read(&message.replacen(&format!(" for volume \"{volume}\""), "", 1));
    let rule = messages::find(messages::volume::RULES, &read);
    let code = if attach { CauseCode::VolumeAttachFailed } else { CauseCode::VolumeMountFailed };
    let claims = pod.spec.volumes.iter().filter_map(|v| v.claim(&pod.metadata.name).map(|claim| (v, claim)));
    let claims: Vec<_> = claims.collect();
    // A volume that is bound to a claim is called by its own name, not by the pod's. What is attached or staged is one; of
    // what is only set up the name tells, since it may as well be a volume of the pod that is no claim at all.
    let bound = attach || !message.contains("MountVolume.SetUp") || volume.starts_with("pvc-");
    let named = claims
        .iter()
        .find(|(v, _)| v.name == *volume)
        .or_else(|| claims.first().filter(|_| claims.len() == 1 && bound && !is_of_the_pod(pod, volume)));
    let claim = named.map(|(_, claim)| text::name(claim));
    let names = Names::of(&finding)
        .and_of(&read)
        .with("volume", Some(volume.to_owned()))
        .with("claim", claim.clone());
    // The pod's own name of the volume is the shorter one; that of what is bound to the claim stands in the event.
    let what = match (named, volume) {
        (Some((_, claim)), "") => format!("claim {}", text::name(claim)),
        (Some((of_pod, claim)), _) => {
            format!("volume {} (claim {})", text::name(&of_pod.name), text::name(claim))
        }
        (None, volume) => format!("volume {volume}"),
    };
    let said = runtime::explained(&read, rule, &names);
    let slow = event.reason == "VolumePermissionChangeInProgress";
    let verb = if slow { "pod waits for" } else { "pod cannot start:" };
    let mut finding = finding
        .summary(format!("{verb} {what}: {said}"))
        .cause(code, format!("{what}: {}", runtime::detailed(&read, rule, &names)));
    finding = match rule {
        Some(rule) => runtime::by_rule(finding, rule, &names),
        None => finding,
    };
    if let Some(claim) = claim {
        finding.add(Source::Spec, format!("claim {claim}"), None);
        let step = finding.kubectl("get pvc,pv,volumeattachments");
        finding = finding.scope("claim", format!("{namespace}/{claim}")).next_step(step);
    }
    finding
}

/// The objects that must be there before the pod's volumes can be.
pub fn needs(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.volumes.iter().filter_map(|v| Some((v, v.source.as_deref()?)));
    let named = volumes.flat_map(|(v, s)| {
        [
            s.config_map.as_ref().map(|m| ("ConfigMap", m.reference.name.clone())),
            s.secret.as_ref().map(|m| ("Secret", m.secret_name.clone())),
            v.claim(&pod.metadata.name).map(|claim| ("claim", claim)),
        ]
    });
    named.flatten().map(|(kind, name)| format!("{kind} {}", text::name(&name))).collect()
}

/// Whether the pod itself calls a volume so, claims aside.
fn is_of_the_pod(pod: &Pod, volume: &str) -> bool {
    volume.starts_with("kube-api-access-") || pod.spec.volumes.iter().any(|v| v.name == volume)
}

fn source<'a>(pod: &'a Pod, volume: &str) -> Option<&'a crate::objects::pod::VolumeSource> {
    pod.spec.volumes.iter().find(|v| v.name == volume)?.source.as_deref()
}

/// The objects that a projected volume lacks: it takes from several, and the kubelet names all that are missing.
fn missing_objects(message: &str) -> Vec<(&'static str, String)> {
    if message.contains("rpc error") {
        return Vec::new();
    }
    let kinds = [("configmap \"", "ConfigMap"), ("secret \"", "Secret")];
    let of_kind = |(before, kind): (&str, &'static str)| {
        let found = message.split(before).skip(1).filter_map(|rest| rest.split_once("\" not found"));
        let found = found.filter(|(name, _)| !name.contains('"')).map(|(name, _)| (kind, text::name(name)));
        found.collect::<Vec<_>>()
    };
    let mut found: Vec<_> = kinds.into_iter().flat_map(of_kind).collect();
    found.dedup();
    found
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
    let (object, step, scope) = match object.filter(|name| !name.is_empty()) {
        Some(name) => (
            format!("{kind} {name} of volume {volume}"),
            Some(finding.kubectl(&format!("describe {} {}", kind.to_lowercase(), text::arg(&name)))),
            Some(format!("{}/{name}", finding.namespace)),
        ),
        None => (format!("the {kind} of volume {volume}"), None, None),
    };
    let mut finding = finding
        .summary(format!("pod cannot start: {object} has no key {key}"))
        .cause(code, format!("key {key} was not found in {object}"));
    if let Some(scope) = scope {
        finding = finding.scope(if kind == "Secret" { "secret" } else { "configmap" }, scope);
    }
    if let Some(step) = step {
        finding = finding.next_step(step);
    }
    finding.next_step("add the key, or correct the items of the volume")
}
