//! What to do about a crash: the steps of its cause code, or those that the words of the cause decide.

use std::sync::LazyLock;

use regex::Regex;

use super::log_command;
use crate::diagnosis::container::View;
use crate::diagnosis::steps::{self, Names};
use crate::diagnosis::{CauseCode, Finding, Reason, text};

/// A host inside the cluster, `name.namespace.svc`, or a bare name that has to be a Service of the same namespace.
static SERVICE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:lookup |ENOTFOUND |EAI_AGAIN |bad address |(?:resolve |upstream )?host(?:name)?(?: name| address)?:? |resolve |upstream |resolver |UnknownHostException: )[\x22'`]?([a-z][a-z0-9-]*)(?:\.([a-z0-9-]+)\.svc[a-z0-9.-]*)?[\x22'`]?(?:[\s:,]|$)").ok()
});

/// The directory or file that could not be written.
static PATH: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(/[\w.@-]+(?:/[\w.@-]+)+)").ok());

/// The value that Kubernetes gives the variables of a Service: `tcp://10.0.0.1:8080`.
static SERVICE_LINK: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\b(?:tcp|udp)(?:://|///)(?:\d{1,3}\.){3}\d{1,3}\b|\bPORT[._]\d+[._](?:TCP|UDP)\b").ok()
});

/// An object of the cluster that is not there.
static OBJECT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(configmap|secret|serviceaccount|service|namespace|storageclass|ingressclass)(?:e?s)? \x22([a-z0-9.-]+)\x22 not found").ok()
});

/// A kind that is not served, with its group.
static KIND: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"no matches for kind \x22\w+\x22 in version \x22([a-z0-9.-]+)/").ok());

/// Adds the steps that fit the cause; to read the log again comes last.
pub(super) fn add(finding: &mut Finding, view: &View<'_>) {
    if !matches!(
        finding.reason.known(),
        Some(Reason::CrashLoopBackOff | Reason::Error | Reason::FrequentRestarts)
    ) {
        return;
    }
    let mut fitting: Vec<String> = Vec::new();
    let said = finding.cause.text.clone();
    match finding.cause.code {
        CauseCode::DependencyNameNotResolved => fitting.extend(of_name(finding, &said)),
        CauseCode::MissingConfiguration => fitting.push(of_setting(&said)),
        CauseCode::InvalidConfiguration => fitting.push(of_configuration(&said).to_owned()),
        CauseCode::FileNotFound if said.contains("/proc/sys/") => fitting.push(
            "the kernel of the node has no such parameter: load the kernel module that provides it (such as br_netfilter), now and at boot".to_owned(),
        ),
        CauseCode::PermissionDenied => fitting.push(of_permission(&said)),
        CauseCode::ResourceExhausted => fitting.push(of_resource(&said).to_owned()),
        CauseCode::DataIncompatible => fitting.push(of_data(&said).to_owned()),
        CauseCode::HeapExhausted => fitting.push(of_memory(&said).to_owned()),
        CauseCode::LibraryNotFound => fitting.push(of_library(&said).to_owned()),
        CauseCode::CommandNotFound => fitting.push(of_command(&said).to_owned()),
        CauseCode::DatabaseSchema => fitting.push(of_schema(&said).to_owned()),
        CauseCode::TlsError => fitting.push(of_tls(&said).to_owned()),
        CauseCode::AuthenticationFailed => fitting.push(of_login(&said).to_owned()),
        CauseCode::DependencyError
            if said.to_lowercase().contains("throttl")
                || said.contains("ate exceeded")
                || said.contains(" 429") =>
        {
            fitting.push("lower the rate of calls (interval, cache, retries with back-off), or raise the quota of the service".to_owned());
        }
        // What the table says of these codes fits whatever the words of the cause are.
        CauseCode::AddressInUse
        | CauseCode::BadArguments
        | CauseCode::BusError
        | CauseCode::CommandNotExecutable
        | CauseCode::ExecFormatError
        | CauseCode::IllegalInstruction
        | CauseCode::LeaseLost
        | CauseCode::LicenseInvalid
        | CauseCode::LockHeld => {
            let names = Names::of(finding);
            fitting.extend(steps::of(finding.cause.code).iter().filter_map(|step| names.command(step)));
        }
        _ => {}
    }
    fitting.push(log_command(finding, view));
    for step in fitting {
        if !finding.next_steps.contains(&step) {
            finding.next_steps.push(step);
        }
    }
}

fn of_name(finding: &Finding, said: &str) -> Vec<String> {
    // A word of the sentence is no name: "unable to resolve host address 'repo.example.com'", "host not found in upstream".
    const WORDS: &str = "host hostname name address not resolving error found by the in for lookup";
    let is_word = |name: &str| WORDS.split(' ').any(|word| word == name);
    let found = SERVICE.as_ref().and_then(|pattern| {
        pattern.captures_iter(said).find(|found| !found.get(1).is_some_and(|m| is_word(m.as_str())))
    });
    let Some(found) = found else {
        return vec![
            "check the host name in the program's settings, and the cluster DNS (CoreDNS)".to_owned(),
        ];
    };
    let name = found.get(1).map_or("", |m| m.as_str());
    let namespace = found.get(2).map_or(finding.namespace.as_str(), |m| m.as_str());
    vec![
        format!("kubectl -n {} get service {}", text::arg(namespace), text::arg(name)),
        "if the Service exists: check the cluster DNS (CoreDNS) and the pod's dnsPolicy".to_owned(),
    ]
}

/// An object or a kind that the API server does not have is no setting.
fn of_setting(said: &str) -> String {
    let captured = |pattern: &LazyLock<Option<Regex>>, n: usize| {
        let found = pattern.as_ref().and_then(|pattern| pattern.captures(said))?;
        found.get(n).map(|m| text::arg(&m.as_str().to_ascii_lowercase()))
    };
    if let (Some(kind), Some(name)) = (captured(&OBJECT, 1), captured(&OBJECT, 2)) {
        return format!(
            "kubectl get {kind} -A --field-selector metadata.name={name}: create it where the program looks for it, or correct the name"
        );
    }
    if said.contains("nameservers") {
        return RESOLV_CONF.to_owned();
    }
    if let Some(group) = captured(&KIND, 1) {
        // Groups of Kubernetes itself have no CRD.
        if !group.contains('.') || group.ends_with(".k8s.io") {
            return format!(
                "kubectl api-resources --api-group={group}: if the cluster no longer serves this version, update the program to a release that uses a served one"
            );
        }
        return format!(
            "kubectl api-resources --api-group={group}: install the CRD in the version that the program needs"
        );
    }
    "set the named setting in the environment, ConfigMap or Secret of the container".to_owned()
}

fn of_permission(said: &str) -> String {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["/proc/sys", "sysctl", "conntrack"]) {
        return "set this kernel parameter (sysctl) on the node, or configure the program not to set it"
            .to_owned();
    }
    if has(&["read-only file system", "erofs"]) {
        let path = PATH.as_ref().and_then(|pattern| pattern.captures(said)).map(|found| found[1].to_owned());
        let at = path.map(|path| format!(" at {}", text::name(&path))).unwrap_or_default();
        return format!("mount a writable volume (emptyDir){at}, or set readOnlyRootFilesystem: false");
    }
    if has(&["needs cap_", "cap_", "setgroups", "setgid", "setuid"]) {
        return "add the capability to securityContext.capabilities.add, or run the image as a user that does not need it".to_owned();
    }
    if has(&["is forbidden: user", "cannot list resource", "cannot get resource", "cannot create resource"]) {
        return "grant the verb on the resource to the pod's ServiceAccount (Role and RoleBinding); check with kubectl auth can-i".to_owned();
    }
    if has(&["permission denied for ", "command denied to user", "must be owner"]) {
        return "grant the permission to the database user that the program uses".to_owned();
    }
    if has(&["clone3", "pthread_create", "seccomp"]) {
        return "update the container runtime (libseccomp, runc) of the node, or use another seccomp profile for the pod".to_owned();
    }
    if has(&["bind(", "bind:", "bind to", "listen "]) {
        return "make the program listen on a port above 1023, or add the capability NET_BIND_SERVICE"
            .to_owned();
    }
    if has(&[
        "denied on resource",
        "not authorized to perform",
        "accessdenied",
        "permission_denied",
        "permissiondenied",
        " 403",
    ]) {
        return "grant the permission to the identity (cloud role, service account) that the pod uses"
            .to_owned();
    }
    if PATH.as_ref().is_some_and(|pattern| pattern.is_match(said)) {
        return "compare owner and mode of the path with the user of the container: securityContext.runAsUser and fsGroup, defaultMode of the volume, chmod in the image".to_owned();
    }
    "check the user (runAsUser), the capabilities and the seccomp profile in the container's securityContext"
        .to_owned()
}

fn of_resource(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["cuda out of memory", "cuda error: out of memory", "hip out of memory", "cudamalloc"]) {
        "the GPU's memory is full, not the container's: use a smaller batch or model, a GPU with more memory, or stop other programs that use this GPU (nvidia-smi)"
    } else if has(&["inotify", "file watchers"]) {
        "raise fs.inotify.max_user_instances and max_user_watches (sysctl) on the node"
    } else if has(&["aio-max-nr", "io_setup"]) {
        "raise fs.aio-max-nr (sysctl) on the node"
    } else if has(&["max_map_count", "virtual memory areas"]) {
        "raise vm.max_map_count (sysctl) on the node"
    } else if has(&["max_locks", "lock table"]) {
        "raise the named setting of the database server"
    } else if has(&["/dev/shm", "shared memory limit", "shared memory segment"]) {
        "mount an emptyDir of medium Memory at /dev/shm"
    } else if has(&["no space left", "disk full", "disk is full", "enospc", "quota exceeded"]) {
        "free space on the volume or expand it; without a volume, free space on the node's disk"
    } else if has(&["open files", "emfile", "nofile"]) {
        "raise the limit on open files (ulimit -n) of the container runtime, or make the program open fewer"
    } else if has(&["cannot allocate memory"]) {
        "the kernel refused more memory: compare what the program asks for with the container's memory limit"
    } else if has(&["thread", "fork", "process"]) {
        "raise the limit on processes and threads (pids limit of the kubelet or runtime, ulimit -u), or make the program start fewer"
    } else {
        "raise the named limit, or make the program use less of it"
    }
}

/// Where CoreDNS has its upstream servers from: with dnsPolicy Default it is the node's file.
const RESOLV_CONF: &str = "check the resolv.conf that it forwards to, usually the node's (the kubelet's resolvConf): it must name a DNS server other than a local one such as 127.0.0.53";

/// A value that no ConfigMap or Secret holds is not corrected there.
fn of_configuration(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    if lower.contains("plugin/loop") {
        RESOLV_CONF
    } else if lower.contains("is a directory") || lower.contains("eisdir") {
        "a file is expected at the named path: check its volumeMount, whose subPath must be a key of the ConfigMap or Secret, and the setting that names the path"
    } else if ["port", "int", "number", "colons"].iter().any(|word| lower.contains(word))
        && SERVICE_LINK.as_ref().is_some_and(|pattern| pattern.is_match(said))
    {
        "Kubernetes sets a variable of this form (NAME_PORT) for a Service: set the variable in the pod, rename the Service, or set enableServiceLinks: false"
    } else {
        "correct the named setting in the ConfigMap, Secret or environment of the container"
    }
}

fn of_data(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["data is newer", "downgrad"]) {
        "use an image at least as new as the one that wrote the data on the volume; to go back, restore a backup from before the upgrade"
    } else if has(&[
        "corrupt",
        "malformed",
        "bad file format",
        "checksum",
        "crc ",
        "magic",
        "checkpoint record",
    ]) {
        "keep a copy of the data, then check and repair the data with the program's own tool, or restore a backup"
    } else if has(&["data", "database", "volume", "directory", "format", "rdb", "redo log", "upgrad"]) {
        "compare the version of the image with that of the data on the volume before you change either; keep a backup"
    } else {
        "compare the named versions or ids on both sides before you change either"
    }
}

/// A limit of the program's own, or the system's answer.
fn of_memory(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    if lower.contains("metaspace") {
        return "raise or remove -XX:MaxMetaspaceSize (-Xmx does not limit it), within the container's memory limit";
    }
    if lower.contains("direct buffer") {
        return "raise -XX:MaxDirectMemorySize, within the container's memory limit, or make it use less";
    }
    if lower.contains("outofmemoryexception") {
        return "raise the .NET heap limit (DOTNET_GCHeapHardLimit or GCHeapHardLimitPercent; 75 % of the container's memory limit by default) or that memory limit, or make the program use less";
    }
    let own = ["heap", "outofmemoryerror", "allowed memory size", "gc overhead"];
    if own.iter().any(|word| lower.contains(word)) {
        "raise the program's own heap limit (JVM -Xmx or MaxRAMPercentage, Node.js --max-old-space-size, PHP memory_limit) together with the container's memory limit, or make it use less"
    } else {
        "the kernel refused the program more memory: compare what it asks for with the container's memory limit and with ulimit -v"
    }
}

fn of_library(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    if ["cuda-capable", "cuda driver", "cuda_error", "libcuda", "nvidia", "nvml"]
        .iter()
        .any(|word| lower.contains(word))
    {
        "check that the pod requests a GPU, and that the node's driver and device plugin work and are new enough for the image"
    } else {
        "use an image that has the named library, runtime or module in the needed version"
    }
}

fn of_command(said: &str) -> &'static str {
    if said.contains("Windows line endings") {
        "save the script with Unix line endings (dos2unix), then rebuild the image or update the ConfigMap"
    } else if said.contains("nsenter") {
        "install the program on the node, or remove the command that calls it"
    } else {
        "correct the command, or use an image that contains it"
    }
}

fn of_schema(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    if ["duplicate", "violates", "already exists"].iter().any(|word| lower.contains(word)) {
        "check what already exists under that name: it may be left over from an earlier attempt, or a second process created it"
    } else if ["dirty", "failed migration", "migration started at", "detected failed"]
        .iter()
        .any(|word| lower.contains(word))
    {
        "find out why the named migration failed, undo or complete it, then mark it as resolved in the migration tool: until then the tool applies no other migration"
    } else if ["database \"", "database '", "unknown database"].iter().any(|word| lower.contains(word)) {
        "create the database on the server, or correct its name in the settings of the program"
    } else {
        "run the migrations (init job, db:migrate) that belong to this version of the image, or use the image that matches the schema"
    }
}

fn of_tls(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&[
        "private key",
        "key values",
        "pem",
        "no start line",
        "keystore",
        "decrypt",
        "cannot load",
        "trustanchors",
    ]) {
        "check the certificate, key and password: they must belong together and have the format that the program expects"
    } else if has(&[
        "wrong version number",
        "first record",
        "http response",
        "unrecognized ssl",
        "not support ssl",
        "not enabled",
    ]) {
        "one side speaks TLS and the other does not: compare the scheme and port with what the server offers"
    } else if has(&["expired", "not yet valid", "notyetvalid"]) {
        "renew the named certificate; if it is valid, correct the clock of the node"
    } else if has(&["remote error", "alert"]) {
        "the other side rejects the connection: read its log; check the client's certificate and the TLS versions of both sides"
    } else {
        "compare the server's certificate with the CA bundle and the host name that the program uses"
    }
}

fn of_login(said: &str) -> &'static str {
    if said.contains("pg_hba.conf") {
        "allow this user, database and address in the server's pg_hba.conf, or connect the way it requires (TLS)"
    } else {
        "compare the credentials in the pod's Secret or environment with those that the server has; restart the pod after a change"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_no_configmap_holds_is_not_to_be_corrected_there() {
        let link = "ValueError: invalid literal for int() with base 10: 'tcp://10.96.14.2:8080'";
        assert!(of_configuration(link).contains("enableServiceLinks"));
        let colons = "listen tcp: address tcp://10.96.14.2:8080: too many colons in address";
        assert!(of_configuration(colons).contains("enableServiceLinks"));
        let named = "invalid value for LISTEN: tcp://10.96.14.2:8080: unknown scheme";
        assert!(!of_configuration(named).contains("enableServiceLinks"));
        assert!(of_configuration("read /etc/app/app.toml: is a directory").contains("subPath"));
        assert!(of_configuration("invalid value for LOG_LEVEL").contains("ConfigMap"));
    }

    #[test]
    fn the_memory_of_a_gpu_is_no_limit_on_processes() {
        let said = "OutOfMemoryError: CUDA out of memory. Tried to allocate 3.12 GiB. GPU 0 has a total capacity of 14.56 GiB, this process has 13.49 GiB memory in use";
        assert!(of_resource(said).contains("GPU"), "{}", of_resource(said));
        assert!(of_memory("OutOfMemoryException: Exception of type").contains("GCHeapHardLimit"));
    }

    #[test]
    fn a_service_is_named_by_the_host_and_not_by_a_word_of_the_sentence() {
        let finding = Finding::of_pod(&crate::objects::Pod::default(), Reason::CrashLoopBackOff);
        for (said, wanted) in [
            (
                "host not found in upstream \"api.shop.svc\" in /etc/nginx/nginx.conf:3",
                "-n shop get service api",
            ),
            ("host not found in upstream \"backend:8080\"", "get service backend"),
            (
                "host not found in resolver \"kube-dns.kube-system.svc.cluster.local\"",
                "-n kube-system get service kube-dns",
            ),
            ("hostname resolving error (lookup pg on 10.96.0.10:53: no such host)", "get service pg"),
            ("unable to resolve host address 'repo.example.com'", "check the host name"),
        ] {
            let steps = of_name(&finding, said);
            assert!(steps[0].contains(wanted), "{said}: {steps:?}");
        }
    }

    #[test]
    fn the_heap_is_not_raised_for_memory_outside_of_it() {
        assert!(of_memory("OutOfMemoryError: Metaspace").contains("MaxMetaspaceSize"));
        assert!(of_memory("OutOfMemoryError: Direct buffer memory").contains("MaxDirectMemorySize"));
        assert!(of_memory("OutOfMemoryError: Java heap space").contains("-Xmx"));
    }
}
