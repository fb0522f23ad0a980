//! What to do about each cause: one row per cause code. The steps are templates with the names of a finding in braces; a step
//! whose name is not known is left out.

use super::cause::CauseCode;
use super::finding::Finding;
use super::message::Message;
use super::text;

/// The names that a step may have in it: `{namespace}`, `{pod}`, `{container}`, `{image}`, `{registry}`, `{node}`, `{host}`,
/// `{peer}`, `{path}`, `{name}`, `{volume}`, `{claim}`, `{class}`, `{server}`, `{url}`.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: Vec<(&'static str, String)>,
}

impl Names {
    /// Those that a finding has.
    pub fn of(finding: &Finding) -> Self {
        Self::default()
            .with("namespace", Some(finding.namespace.clone()))
            .with("pod", Some(finding.pod.clone()))
            .with("container", Some(finding.container.clone()))
            .with("image", Some(finding.image.clone()))
            .with("node", Some(finding.node.clone()))
    }

    /// With one more.
    pub fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            self.known.retain(|(known, _)| *known != name);
            self.known.push((name, value));
        }
        self
    }

    /// With those of a message.
    pub fn and_of(self, message: &Message) -> Self {
        let server = message.lookup().and_then(|(_, server)| server);
        self.with("host", message.host())
            .with("peer", message.peer())
            .with("server", server)
            .with("path", message.object().filter(|o| o.starts_with('/')))
    }

    /// A template with the names filled in, as words of a command; none if one is not known.
    pub fn command(&self, template: &str) -> Option<String> {
        self.fill(template, text::arg)
    }

    /// A template with the names filled in, as words of a sentence; none if one is not known.
    pub fn sentence(&self, template: &str) -> Option<String> {
        self.fill(template, text::name)
    }

    fn fill(&self, template: &str, form: impl Fn(&str) -> String) -> Option<String> {
        let mut out = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}')?;
            // Braces that are not those of a name: of jsonpath and the like.
            if !name.bytes().all(|b| b.is_ascii_lowercase()) || name.is_empty() {
                out.push_str(before);
                out.push('{');
                rest = after;
                continue;
            }
            let (_, value) = self.known.iter().find(|(known, _)| *known == name)?;
            out.push_str(before);
            out.push_str(&form(value));
            rest = behind;
        }
        out.push_str(rest);
        Some(out)
    }
}

impl Finding {
    /// Adds steps from templates.
    pub fn steps(self, templates: &[&str], names: &Names) -> Self {
        let filled = templates.iter().filter_map(|template| names.command(template));
        filled.fold(self, Finding::next_step)
    }

    /// Adds the steps of its cause code.
    pub fn steps_of_its_cause(self, names: &Names) -> Self {
        let steps = of(self.cause.code);
        self.steps(steps, names)
    }
}

/// The steps of a cause code.
pub fn of(code: CauseCode) -> &'static [&'static str] {
    STEPS.iter().find(|(of, _)| *of == code).map_or(&[], |(_, steps)| steps)
}

type Row = (CauseCode, &'static [&'static str]);

use CauseCode as C;

const NODE_LOG: &str = "on node {node}: read the logs of the kubelet and the container runtime";
const DESCRIBE_NODE: &str = "kubectl describe node {node}";
const LOGS: &str = "kubectl -n {namespace} logs {pod} -c {container} --previous";
const POD: &str = "kubectl -n {namespace} describe pod {pod}";
const SPEC: &str = "kubectl -n {namespace} get pod {pod} -o yaml";
const DISK: &str =
    "on node {node}: df -h, df -i; free space, or remove images that nothing uses: crictl rmi --prune";
const OWNER: &str = "kubectl -n {namespace} get events --sort-by=.lastTimestamp";

/// One row per cause code.
const STEPS: &[Row] = &[
    // Image
    (
        C::ImageNotFound,
        &["check the repository and the tag for a typo, and that the push of the image has succeeded"],
    ),
    (
        C::ImageNotFoundOrPrivate,
        &[
            "check the repository and the tag for a typo; if the image is private, give the pod (or its ServiceAccount) imagePullSecrets",
        ],
    ),
    (
        C::RegistryUnauthorized,
        &[
            "check the credentials that the pod (imagePullSecrets) or the node uses for {registry}, and what they are allowed to read",
        ],
    ),
    (
        C::RegistryRateLimited,
        &["pull with credentials or through a mirror, or wait: the kubelet keeps retrying"],
    ),
    (C::RegistryUnreachable, &["from node {node}: curl -v {url}"]),
    (C::RegistryError, &["from node {node}: curl -v {url}"]),
    (
        C::RegistryNameNotResolved,
        &[
            "on node {node}: getent hosts {host}, and the nameserver lines of /etc/resolv.conf: the node's DNS is used, not the cluster's",
        ],
    ),
    (
        C::RegistryTlsError,
        &[
            "give the container runtime on the nodes the CA that signed the certificate of {registry} (containerd: certs.d/{registry}/hosts.toml, or the CA certificates of the node's system), or replace the certificate",
        ],
    ),
    (
        C::KubeletPullThrottled,
        &[
            "the kubelet retries on its own; registryPullQPS and registryBurst in its configuration set the limit",
        ],
    ),
    (
        C::ImagePlatformMismatch,
        &[
            "push an image for the node's architecture and system, or pin the pod with a nodeSelector on kubernetes.io/arch or kubernetes.io/os",
        ],
    ),
    (C::NodeDiskFull, &[DISK, DESCRIBE_NODE]),
    (
        C::InvalidImageReference,
        &["correct the image in the workload's pod template: the kubelet keeps retrying this name"],
    ),
    (C::ImageShortName, &["write the image with its registry: registry/repository:tag"]),
    (
        C::ImageSignature,
        &["sign the image, or correct the node's policy (CRI-O: /etc/containers/policy.json)"],
    ),
    (
        C::ImageCorrupt,
        &[
            "push the image again with a current builder; on node {node}: crictl rmi {image}, then the kubelet pulls it again",
        ],
    ),
    (C::ImageNotPresent, &["load the image onto the node, or set imagePullPolicy: IfNotPresent"]),
    (C::ImagePullFailed, &[NODE_LOG]),
    (C::ImagePullSlow, &["from node {node}: curl -v {url} and check how fast layers arrive"]),
    // Configuration and start
    (
        C::MissingConfigMap,
        &[
            "kubectl -n {namespace} get configmap {name}",
            "create it (the chart or pipeline that installs the workload should), or mark the reference optional",
        ],
    ),
    (
        C::MissingSecret,
        &[
            "kubectl -n {namespace} get secret {name}",
            "create it (the chart, pipeline or operator that installs the workload should), or mark the reference optional",
        ],
    ),
    (
        C::MissingConfigMapKey,
        &["kubectl -n {namespace} describe configmap {name}", "add the key, or correct its name in the pod"],
    ),
    (
        C::MissingSecretKey,
        &["kubectl -n {namespace} describe secret {name}", "add the key, or correct its name in the pod"],
    ),
    (
        C::RunAsNonRootViolated,
        &["set runAsUser to a number other than 0, or build the image with a numeric USER"],
    ),
    (C::SubPathFailed, &["check the subPath in volumeMounts, and what is at that path in the volume"]),
    (C::MountFailed, &["compare volumeMounts (mountPath, subPath) with what is at those paths in the image"]),
    (
        C::ExecutableNotFound,
        &["check command and args of the container: does image {image} have that program?"],
    ),
    (
        C::ExecutableNotPermitted,
        &[
            "make the file executable (chmod +x in the image, defaultMode for a ConfigMap), or run it through its interpreter",
        ],
    ),
    (
        C::ExecFormatError,
        &["use an image for the node's architecture, or a multi-arch image; a script needs a #! line"],
    ),
    (C::NoCommand, &["set command in the pod, or an ENTRYPOINT or CMD in the image"]),
    (
        C::UnknownUser,
        &["set runAsUser to a number (on Windows: correct runAsUserName), or add the user to the image"],
    ),
    (
        C::ContainerNameReserved,
        &["on node {node}: run crictl ps -a, and check the node's load and the container runtime's log"],
    ),
    (
        C::RuntimeTimeout,
        &["on node {node}: check load, disk latency and the container runtime's log", DESCRIBE_NODE],
    ),
    (C::RuntimeError, &[NODE_LOG]),
    (
        C::HookFailed,
        &["run the hook's command by hand: kubectl -n {namespace} exec {pod} -c {container} -- ...", SPEC],
    ),
    // Ends
    (
        C::MemoryLimitReached,
        &[
            "raise the memory limit (and check its unit: Mi, not Ki or m), or lower what the program uses",
            "kubectl -n {namespace} top pod {pod} --containers",
        ],
    ),
    (
        C::ChildMemoryLimitReached,
        &[
            "kubectl -n {namespace} top pod {pod} --containers",
            "raise the memory limit, or run fewer child processes",
        ],
    ),
    (C::Killed, &[POD, DESCRIBE_NODE]),
    (C::Terminated, &[POD]),
    (
        C::SegmentationFault,
        &[LOGS, "check that the image is built for the node's CPU and libc; take a core dump"],
    ),
    (C::Aborted, &[LOGS]),
    (
        C::IllegalInstruction,
        &[
            "compare the CPU features and the architecture of the node with what the image is built for",
            "kubectl get node {node} -o wide",
        ],
    ),
    (
        C::BusError,
        &[
            "check for a full /dev/shm or tmpfs, and for huge pages that the node offers but the container is not allowed to use",
        ],
    ),
    (
        C::BadSystemCall,
        &["check securityContext.seccompProfile: the profile forbids a system call of the program"],
    ),
    (C::Signal, &[LOGS]),
    (C::ApplicationError, &[LOGS]),
    (
        C::CommandCompleted,
        &[
            "a program that exits belongs in a Job; otherwise correct command and args so that it keeps running",
            SPEC,
        ],
    ),
    (
        C::CommandNotExecutable,
        &[
            "make the file executable in the image, set defaultMode on its volume, or run it through its interpreter",
        ],
    ),
    (C::CommandNotFound, &["check command and args of the container: does image {image} have that program?"]),
    (C::LivenessProbe, &[LOGS, SPEC]),
    (C::StartupProbe, &[LOGS, SPEC]),
    (C::ReadinessProbe, &["kubectl -n {namespace} logs {pod} -c {container}", POD]),
    (C::ContainerVanished, &[NODE_LOG]),
    (C::NodeRestarted, &[DESCRIBE_NODE]),
    (C::RestartRule, &[SPEC]),
    // From the log
    (C::Panic, &[LOGS]),
    (C::HeapExhausted, &["raise the program's own heap limit, and the memory limit with it", LOGS]),
    (
        C::AddressInUse,
        &[
            "give one of the two processes another port; with hostNetwork, another pod on the node may have it",
        ],
    ),
    (
        C::DependencyUnreachable,
        &[
            "check that {peer} runs and accepts connections",
            "kubectl -n {namespace} get service,endpointslices",
        ],
    ),
    (
        C::DependencyNameNotResolved,
        &[
            "kubectl -n {namespace} get service",
            "kubectl -n {namespace} exec {pod} -c {container} -- getent hosts {host}",
        ],
    ),
    (
        C::PermissionDenied,
        &[
            "kubectl -n {namespace} get pod {pod} -o jsonpath='{.spec.securityContext}{.spec.containers[*].securityContext}'",
        ],
    ),
    (C::FileNotFound, &["check volumeMounts and the image for {path}", SPEC]),
    (C::LibraryNotFound, &["check that image {image} was built with it, for this architecture and libc"]),
    (C::MissingConfiguration, &["set it in the container's env, its ConfigMap or its Secret", SPEC]),
    (
        C::InvalidConfiguration,
        &["correct the setting in the ConfigMap, Secret or env that it comes from", SPEC],
    ),
    (
        C::BadArguments,
        &[
            "correct the named option where it is set (args, the environment, a configuration file): this version of the program does not accept it",
        ],
    ),
    (
        C::TlsError,
        &["check the certificate and the CA of the peer: openssl s_client -connect {host} -showcerts"],
    ),
    (
        C::AuthenticationFailed,
        &["check the Secret that the credentials come from, and that the account still exists"],
    ),
    (C::DependencyError, &["read the log of the service that answered with the error"]),
    (C::LockHeld, &["find the other process or pod that holds the lock", "kubectl -n {namespace} get pods"]),
    (
        C::DataIncompatible,
        &[
            "run the version of the program that wrote the data, or follow its upgrade path; make a backup first",
        ],
    ),
    (
        C::LeaseLost,
        &[
            "check how fast the API server answered at that time (its load, the disks of etcd), and whether the container was short of CPU",
            "kubectl -n {namespace} get leases",
        ],
    ),
    (C::LicenseInvalid, &["give the program a valid license, and check the Secret that it comes from"]),
    (C::DatabaseSchema, &["read the migration's log, and check the version of the schema"]),
    (
        C::ResourceExhausted,
        &[
            "check the limits of the node and the container: disk, open files, processes, inotify",
            DESCRIBE_NODE,
        ],
    ),
    (C::LoggedError, &[LOGS]),
    // Scheduling
    (
        C::InsufficientResources,
        &["lower the requests, free up capacity, or add nodes: kubectl describe nodes"],
    ),
    (
        C::NodeSelectorMismatch,
        &["compare nodeSelector and node affinity with kubectl get nodes --show-labels"],
    ),
    (C::UntoleratedTaint, &["kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints"]),
    (C::AffinityUnsatisfied, &["kubectl -n {namespace} get pods -o wide --show-labels", SPEC]),
    (C::HostPortTaken, &["on node {node}: ss -ltnp shows what listens on it"]),
    (C::VolumeUnavailable, &["kubectl -n {namespace} get pvc,pv", "kubectl get storageclasses"]),
    (
        C::NodesUnschedulable,
        &["kubectl get nodes", "uncordon the nodes that may run pods again: kubectl uncordon NODE"],
    ),
    (C::TooManyPods, &["add nodes, or raise maxPods of the kubelets"]),
    (C::SchedulingConstraints, &[POD]),
    (C::SchedulingGate, &["kubectl -n {namespace} get pod {pod} -o jsonpath='{.spec.schedulingGates}'"]),
    // Pod
    (C::VolumeMountFailed, &["kubectl -n {namespace} get pvc,pv,volumeattachments"]),
    (C::VolumeAttachFailed, &["kubectl -n {namespace} get pvc,pv,volumeattachments"]),
    (
        C::NetworkSetupFailed,
        &[
            "check the network plugin's pod on the node: kubectl get pods -A -o wide --field-selector spec.nodeName={node}",
        ],
    ),
    (C::SandboxFailed, &[NODE_LOG]),
    (
        C::DeviceAllocationFailed,
        &[
            "check the driver and the device plugin on the node: kubectl get pods -A -o wide --field-selector spec.nodeName={node}",
            DESCRIBE_NODE,
        ],
    ),
    (C::DeviceUnhealthy, &[DESCRIBE_NODE]),
    (C::KubeletSilent, &[DESCRIBE_NODE]),
    (C::Unexplained, &[POD]),
    (C::InitWaiting, &["kubectl -n {namespace} logs {pod} -c {container}"]),
    (
        C::ReadinessGate,
        &["kubectl -n {namespace} get pod {pod} -o jsonpath='{.spec.readinessGates}{.status.conditions}'"],
    ),
    (C::NodePressure, &[DESCRIBE_NODE]),
    (
        C::StorageLimitExceeded,
        &["raise the limit (ephemeral-storage, sizeLimit), or write to a persistent volume"],
    ),
    (C::DeadlineReached, &["raise activeDeadlineSeconds, or find out why the work takes so long"]),
    (C::NodeFull, &[DESCRIBE_NODE]),
    (C::NodeRefused, &["check that node {node} supports what the pod asks for", DESCRIBE_NODE]),
    (C::Preemption, &["kubectl get priorityclasses"]),
    (C::NodeShutDown, &[DESCRIBE_NODE]),
    (C::Disruption, &[POD]),
    (
        C::Finalizer,
        &[
            "kubectl -n {namespace} get pod {pod} -o jsonpath='{.metadata.finalizers}'",
            "check the controller that should remove the finalizer",
        ],
    ),
    (
        C::ContainersNotStopped,
        &["on node {node}: run crictl ps, and read the logs of the kubelet and the container runtime"],
    ),
    (C::NodeLost, &[DESCRIBE_NODE]),
    (C::ResizeRefused, &[DESCRIBE_NODE]),
    // Workload
    (C::QuotaExceeded, &["kubectl -n {namespace} describe resourcequota"]),
    (C::MissingServiceAccount, &["kubectl -n {namespace} get serviceaccounts"]),
    (C::AdmissionDenied, &["kubectl get namespace {namespace} --show-labels"]),
    (C::WebhookDenied, &["kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"]),
    (C::CreateRefused, &[OWNER]),
    (C::BadRevision, &["kubectl -n {namespace} rollout undo deployment/{name}"]),
    (C::TooManyFailures, &[OWNER]),
    (C::FailurePolicy, &[OWNER]),
    (
        C::WorkDone,
        &[
            "stop the sidecar when the work is done, or make it a native sidecar: an init container with restartPolicy: Always",
        ],
    ),
    // Node
    (C::KubeletStopped, &["on node {node}: systemctl status kubelet, journalctl -u kubelet"]),
    (
        C::NodeProblem,
        &[DESCRIBE_NODE, "on node {node}: read dmesg and the log of the agent that set the condition"],
    ),
    (C::NodeUnready, &[DESCRIBE_NODE, NODE_LOG]),
    // Rules
    (C::UserRule, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_code_has_one_row_with_known_names() {
        let names = [
            "namespace",
            "pod",
            "container",
            "image",
            "registry",
            "node",
            "host",
            "peer",
            "port",
            "path",
            "name",
            "volume",
            "claim",
            "class",
            "server",
            "url",
        ];
        for code in CauseCode::ALL {
            let rows = STEPS.iter().filter(|(of, _)| of == code).count();
            assert_eq!(rows, 1, "{code}");
            assert!(!code.meaning().is_empty(), "{code}");
        }
        // A step that begins with a command is nothing but the command: people paste it as it stands.
        for step in STEPS.iter().flat_map(|(_, steps)| *steps).filter(|s| s.starts_with("kubectl ")) {
            let prose = [": ", "; ", " the ", " then ", ", "].iter().find(|words| step.contains(**words));
            assert_eq!(prose, None, "{step}");
        }
        for (code, steps) in STEPS {
            let full = names.iter().fold(Names::default(), |all, name| all.with(name, Some("x".to_owned())));
            for step in *steps {
                assert!(full.command(step).is_some(), "{code}: {step}");
            }
            assert!(!steps.is_empty() || *code == CauseCode::UserRule, "{code}");
        }
    }

    #[test]
    fn a_step_without_its_name_is_left_out_and_names_cannot_break_out() {
        let names = Names::default().with("node", Some("a;reboot".to_owned()));
        assert_eq!(
            names.command("kubectl describe node {node}").as_deref(),
            Some("kubectl describe node 'a;reboot'")
        );
        assert_eq!(names.command("kubectl get secret {name}"), None);
        assert_eq!(names.command("-o jsonpath='{.spec.x}'").as_deref(), Some("-o jsonpath='{.spec.x}'"));
    }
}
