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
    let missing = missing_objects(message);
    if let [_, _, ..] = missing.as_slice() {
        let names: Vec<String> = missing.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        let names = text::list(&names);
        let of_secret = missing.iter().any(|(kind, _)| *kind == "Secret");
        let code = if of_secret { CauseCode::MissingSecret } else { CauseCode::MissingConfigMap };
        return missing.iter().fold(
            finding
                .summary(format!("the pod cannot start: of volume {volume} these do not exist: {names}"))
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
            .summary(format!("the pod cannot start: Secret {name} of volume {volume} does not exist"))
            .cause(CauseCode::MissingSecret, format!("Secret {name} was not found in namespace {namespace}"))
            .scope("secret", format!("{namespace}/{name}"))
            .next_step(step);
    }
    if message.contains("not found")
        && let Some(name) = quoted("configmap")
    {
        let step = finding.kubectl(&format!("get configmap {}", text::arg(&name)));
        return finding
            .summary(format!("the pod cannot start: ConfigMap {name} of volume {volume} does not exist"))
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
            .summary(format!("the pod cannot start: its ServiceAccount {account} does not exist any more"))
            .cause(
                CauseCode::MissingServiceAccount,
                format!("ServiceAccount {account} was not found in namespace {namespace}, so the kubelet gets no token for the pod"),
            )
            .scope("serviceaccount", format!("{namespace}/{account}"))
            .next_step(step);
    }
    let attach = event.reason == "FailedAttachVolume";
    let code = if attach { CauseCode::VolumeAttachFailed } else { CauseCode::VolumeMountFailed };
    let verb = if attach { "attached" } else { "mounted" };
    let (short, step) = trouble(message, &finding.namespace);
    let short = if short.is_empty() { innermost(message) } else { short };
    let slow = event.reason == "VolumePermissionChangeInProgress";
    let cannot = |what: String| match slow {
        true => format!("the pod waits for {what}: {short}"),
        false => format!("the pod cannot start: {what} cannot be {verb}: {short}"),
    };
    let mut finding = finding
        .summary(cannot(format!("volume {volume}")))
        .cause(code, text::quote(&text::normalise(message)));
    if !step.is_empty() {
        finding = finding.next_step(step);
    }
    let claims = pod
        .spec
        .volumes
        .iter()
        .filter_map(|v| v.source.as_ref()?.persistent_volume_claim.as_ref().map(|c| (v, c)));
    let claims: Vec<_> = claims.collect();
    // A volume that is bound to a claim is called by its own name, not by the pod's. What is attached or staged is one; of
    // what is only set up the name tells, since it may as well be a volume of the pod that is no claim at all.
    let bound = attach || !message.contains("MountVolume.SetUp") || volume.starts_with("pvc-");
    let named = claims
        .iter()
        .find(|(v, _)| v.name == volume)
        .or_else(|| claims.first().filter(|_| claims.len() == 1 && bound && !is_of_the_pod(pod, &volume)));
    if let Some((_, claim)) = named {
        let claim = text::name(&claim.claim_name);
        if volume.is_empty() {
            finding.summary = cannot(format!("claim {claim}"));
        }
        finding.add(Source::Spec, format!("claim {claim}"), None);
        let step = finding.kubectl("get pvc,pv,volumeattachments");
        finding = finding.scope("claim", format!("{namespace}/{claim}")).next_step(step);
    }
    finding
}

/// The objects that must be there before the pod's volumes can be.
pub fn needs(pod: &Pod) -> Vec<String> {
    let sources = pod.spec.volumes.iter().filter_map(|v| v.source.as_deref());
    let named = sources.flat_map(|s| {
        [
            s.config_map.as_ref().map(|m| ("ConfigMap", &m.reference.name)),
            s.secret.as_ref().map(|m| ("Secret", &m.secret_name)),
            s.persistent_volume_claim.as_ref().map(|c| ("claim", &c.claim_name)),
        ]
    });
    named.flatten().map(|(kind, name)| format!("{kind} {}", text::name(name))).collect()
}

/// Whether the pod itself calls a volume so, claims aside.
fn is_of_the_pod(pod: &Pod, volume: &str) -> bool {
    volume.starts_with("kube-api-access-") || pod.spec.volumes.iter().any(|v| v.name == volume)
}

/// What a message says behind its wrappings: the driver's own words, or the part that follows the name of the volume.
fn innermost(message: &str) -> String {
    let said = message.rsplit_once(" desc = ").map(|(_, said)| said);
    let said = said.or_else(|| message.split_once("\" : ").map(|(_, said)| said)).unwrap_or(message);
    // Behind what the command printed, or what the storage's own tool did.
    let said = ["Output: ", "rbd error output: ", "error processing PVC ", "objects for pod "]
        .iter()
        .find_map(|mark| said.rsplit_once(mark))
        .map_or(said, |(_, said)| said);
    text::quote(&text::normalise(said.trim_end_matches(['.', ' '])))
}

/// What is wrong with a volume in a few words, and what to do about it.
fn trouble(message: &str, namespace: &str) -> (String, String) {
    let driver = text::between(message, "driver name ", " not found")
        .or_else(|| message.split_once("does not contain driver ").map(|(_, name)| name.trim()));
    if let Some(driver) = driver {
        return (
            format!("CSI driver {} is not (yet) registered on the node", text::name(driver)),
            "check that the driver's node pod runs on that node: kubectl get csinodes,pods -A -o wide"
                .to_owned(),
        );
    }
    if let Some(driver) = text::between(message, "supported by driver ", " (no CSIDriver object)") {
        return (
            format!("CSI driver {} is not installed in the cluster", text::name(driver)),
            "kubectl get csidrivers".to_owned(),
        );
    }
    if let Some(provider) = text::between(message, "provider not found: provider \"", "\"") {
        return (
            format!("provider {} of the secrets store is not there on the node", text::name(provider)),
            "check that the provider's pod runs on that node: kubectl get pods -A -o wide".to_owned(),
        );
    }
    if let Some(class) =
        text::between(message, "SecretProviderClass.secrets-store.csi.x-k8s.io \"", "\" not found")
    {
        return (
            format!("SecretProviderClass {} does not exist", text::name(class)),
            format!("kubectl -n {} get secretproviderclasses", text::arg(namespace)),
        );
    }
    if let Some(holders) = message.split_once("already used by pod(s) ").map(|(_, pods)| text::name(pods)) {
        return (
            format!("it is still attached to another node, where {holders} uses it"),
            "let that pod go first; if its node is dead, delete the pod by force or taint the node out-of-service".to_owned(),
        );
    }
    if let Some(path) = text::between(message, " : path \"", "\" does not exist") {
        return (
            format!("path {} does not exist on the node", text::name(path)),
            "make it (or mount its disk) on that node, or correct the PersistentVolume".to_owned(),
        );
    }
    let (words, step) = known_trouble(&message.to_lowercase());
    (words.to_owned(), step.to_owned())
}

/// The same, for words that are always the same; `said` is in lower case. Where the words are empty, the message says it best.
fn known_trouble(said: &str) -> (&'static str, &'static str) {
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let nfs = any(&["mount.nfs", "-t nfs", "nfs4"]);
    if any(&["multi-attach error", "already attached to a server", "already attached to node"]) {
        return (
            "it is still attached to another node",
            "find the pod that still holds the volume; if its node is dead, delete that pod by force or taint the node out-of-service",
        );
    }
    if any(&["is still being used", "volumeinuse", "resource 'volume' is in use"]) {
        return (
            "it is still in use, most likely on another node",
            "find the pod that still holds the volume; if its node is dead, delete that pod by force or taint the node out-of-service",
        );
    }
    if any(&["volume attachment is being deleted"]) {
        return ("its last attachment has not been taken back yet", "kubectl get volumeattachments");
    }
    if any(&["setting volume ownership", "is taking longer than expected"]) {
        return (
            "changing the owner of all its files takes long",
            "set securityContext.fsGroupChangePolicy: OnRootMismatch",
        );
    }
    if any(&["dial unix", "transport is closing"]) {
        return (
            "the CSI driver's pod on the node does not answer",
            "check that the driver's node pod runs on that node: kubectl get csinodes,pods -A -o wide",
        );
    }
    if any(&["apparently in use by the system"]) {
        return (
            "another program on the node holds its device, as multipathd does",
            "on that node lsblk shows who holds it; leave the driver's devices out of /etc/multipath.conf",
        );
    }
    if any(&["'fsck' found errors", "run fsck manually", "structure needs cleaning"]) {
        return (
            "its file system is damaged",
            "repair it with fsck while nobody has it mounted, or restore the volume",
        );
    }
    if any(&["not in the same availability zone", "zonemismatch", "nodeaffinity check failed"]) {
        return (
            "the volume lives on another node or zone",
            "let the pod go where the volume is, or restore the volume",
        );
    }
    if any(&["faulted volume", "not ready for workloads", " not scheduled, code="]) {
        return (
            "the storage system has no healthy copy of it (yet)",
            "look at the volume in the storage system: its replicas, and the disks of their nodes",
        );
    }
    if any(&["maximum number of attachments", "attachment limit", "maximum number of data disks"]) {
        return (
            "as many volumes are attached to the node as it takes",
            "let the pod run on another node, or use larger nodes",
        );
    }
    if any(&["throttled", "requestlimitexceeded", "too many requests"]) {
        return (
            "the cloud's API limits the rate of calls",
            "it is tried again; if it lasts, look who calls that API so often",
        );
    }
    if any(&["kms key"]) {
        return (
            "the key that it is encrypted with cannot be used",
            "check that the key is enabled, and that the storage driver may use it",
        );
    }
    if any(&["access denied by server"]) {
        return (
            "the NFS server denies access",
            "check the server's exports: the path, and whether they allow the node's address",
        );
    }
    if any(&["failed to resolve", "name or service not known", "no such host", "could not resolve"]) {
        return (
            "the name of its server does not resolve on the node",
            "check the server's name, and DNS on the node (which is not that of the cluster)",
        );
    }
    if any(&["locate an available port"]) {
        return (
            "its driver has no local port left on the node",
            "restart the driver's pod on that node: it holds ports of mounts that are gone",
        );
    }
    if any(&["stale nfs file handle", "stale file handle", "transport endpoint is not connected"]) {
        return (
            "an old mount of it on the node is dead (stale)",
            "on that node umount the path, or restart the driver's pod; then delete the pod",
        );
    }
    if any(&["protocol not supported"]) && nfs {
        return (
            "the server does not speak this version of NFS",
            "set nfsvers in the mountOptions to one that the server has",
        );
    }
    if any(&["rpc.statd"]) {
        return (
            "rpc.statd, which NFS locks need, does not run on the node",
            "install the NFS client on the nodes, or mount with nolock or nfsvers=4",
        );
    }
    if any(&["failed to fetch token", "serviceaccounts/token"]) {
        return (
            "the kubelet gets no token for the pod's ServiceAccount",
            "check that the ServiceAccount is still there, and the log of the kubelet on that node",
        );
    }
    if any(&["iam role must be associated"]) {
        return ("", "annotate the ServiceAccount of the pod with the role that may read the secret");
    }
    if any(&["verify secret exists and required permissions"]) {
        return ("", "check the names in the SecretProviderClass, and what the pod's identity may read");
    }
    if any(&["no such file or directory"]) && any(&["mount.nfs", "mounting"]) {
        return ("the server has no such path", "check the path of the volume on its server");
    }
    if any(&["wrong fs type", "bad superblock", "helper program"]) {
        return (
            "wrong file system type, or its helper is not installed on the node",
            "check fsType, and that the node has the client (nfs-common, cifs-utils, ...) installed",
        );
    }
    if any(&["hostpath type check failed"]) {
        return ("", "check hostPath.path and type on that node");
    }
    if any(&["not registered", "failed to sync"]) {
        return (
            "the kubelet has not read yet what it needs for it",
            "if it lasts, look whether the kubelet on that node reaches the API server",
        );
    }
    if any(&["permissiondenied", "permission denied", "access denied", "unauthorized", "forbidden"])
        || any(&["unauthenticated", "authorization failure", "status=403"])
    {
        return (
            "access is denied",
            "check the credentials and rights of the storage driver, or of the pod's identity",
        );
    }
    if nfs && any(&["timed out", "unreachable", "no route"]) {
        return (
            "the NFS server does not answer",
            "check that the node reaches the server (address, firewall, port 2049)",
        );
    }
    // What mount.cifs prints for EINPROGRESS, ETIMEDOUT, EHOSTDOWN and EHOSTUNREACH.
    if any(&["mount error(115)", "mount error(110)", "mount error(112)", "mount error(113)"]) {
        return (
            "the SMB server does not answer",
            "check that the node reaches the server (address, firewall, port 445)",
        );
    }
    if any(&["connection refused"]) {
        return (
            "its server refuses the connection",
            "check that the server runs, its address and its port, and whether the node reaches it",
        );
    }
    if any(&["timed out waiting for the condition"]) && is_late(said) {
        return (
            "it is not there in time, and no event tells why",
            "look at the pods of the storage driver, on that node and its controller",
        );
    }
    if any(&["deadlineexceeded", "deadline exceeded", "timed out", "timeout"]) {
        return ("it timed out", "look at the pods of the storage driver, on that node and its controller");
    }
    if any(&["operation with the given volume id", "operation already exists"]) {
        return ("an earlier attempt still runs", "look at the pod of the storage driver on that node");
    }
    if any(&["no space left on device"]) {
        return ("no space is left on the disk", "look at the disk of that node, or of the storage system");
    }
    if any(&["read-only file system"]) {
        return (
            "its path on the node can only be read (read-only file system)",
            "choose a path that the node may write to",
        );
    }
    if any(&["input/output error"]) {
        return (
            "its storage fails to read or write (input/output error)",
            "look at the health of the storage system, and at the kernel's log on that node",
        );
    }
    if any(&["code = notfound", "image not found", "invalidvolume.notfound"]) {
        return ("", "the storage system does not know it any more: restore the volume, or make a new claim");
    }
    ("", "")
}

/// Whether a message (in lower case) says only that some volume was not there in time.
fn is_late(said: &str) -> bool {
    said.starts_with("unable to attach or mount volumes") && !said.contains("error processing")
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
        .summary(format!("the pod cannot start: {object} has no key {key}"))
        .cause(code, format!("key {key} was not found in {object}"));
    if let Some(scope) = scope {
        finding = finding.scope(if kind == "Secret" { "secret" } else { "configmap" }, scope);
    }
    if let Some(step) = step {
        finding = finding.next_step(step);
    }
    finding.next_step("add the key, or correct the items of the volume")
}
