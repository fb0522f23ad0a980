//! Words that Kubernetes, kubectl and kernels print and that are no reason of KubeHealer's: what each means and where to look.

/// What a word means.
pub(super) struct Word {
    /// How it is written; the first is the one that is shown.
    pub(super) names: &'static [&'static str],
    pub(super) what: &'static str,
    pub(super) meaning: &'static str,
    pub(super) look: &'static [&'static str],
    /// Reasons that go on from here.
    pub(super) reasons: &'static [&'static str],
}

const STATUS: &str = "in kubectl's STATUS column";
const EVENT: &str = "the reason of an event";
const EXIT: &str = "an exit code";

const DESCRIBE: &str = "kubectl -n NAMESPACE describe pod POD";
const DIAGNOSE: &str = "kubehealer diagnose -n NAMESPACE POD";
const PREVIOUS: &str = "kubectl -n NAMESPACE logs POD -c CONTAINER --previous";
const LOGS: &str = "kubectl -n NAMESPACE logs POD -c CONTAINER";

const fn word(
    names: &'static [&'static str],
    what: &'static str,
    meaning: &'static str,
    look: &'static [&'static str],
    reasons: &'static [&'static str],
) -> Word {
    Word { names, what, meaning, look, reasons }
}

pub(super) const WORDS: &[Word] = &[
    // kubectl's STATUS
    word(
        &["Pending"],
        STATUS,
        "The pod has no node yet, or none of its containers has started. The condition PodScheduled says why it has no node.",
        &[DIAGNOSE, DESCRIBE],
        &["Unschedulable", "PodNotStarted"],
    ),
    word(
        &["ContainerCreating"],
        STATUS,
        "The pod has a node. The kubelet mounts volumes, sets up the network and pulls images. Events say which of them it waits for.",
        &[DIAGNOSE, DESCRIBE],
        &["VolumeNotReady", "FailedCreatePodSandBox", "PodNotStarted"],
    ),
    word(
        &["PodInitializing", "Init:N/M"],
        STATUS,
        "Init containers run one after the other. The containers of the pod start when the last of them has succeeded.",
        &["kubectl -n NAMESPACE logs POD -c INIT_CONTAINER", DIAGNOSE],
        &["InitStuck"],
    ),
    word(
        &["Init:Error"],
        STATUS,
        "An init container has terminated with an error; the containers of the pod wait for it. What happens next depends on the pod's restartPolicy: with \
         Always or OnFailure the kubelet starts it again (then Init:CrashLoopBackOff), with Never the pod has failed.",
        &["kubectl -n NAMESPACE logs POD -c INIT_CONTAINER --previous", DIAGNOSE],
        &["CrashLoopBackOff", "Error"],
    ),
    word(
        &["Running"],
        STATUS,
        "At least one container runs. That says nothing about readiness: compare the READY column.",
        &[DIAGNOSE],
        &["ReadinessProbeFailed"],
    ),
    word(
        &["Completed", "Succeeded"],
        STATUS,
        "All containers have exited with code 0. For a Job that is success. A server should not exit; the kubelet starts it again.",
        &[LOGS],
        &["CompletedLoop"],
    ),
    word(
        &["Terminating"],
        STATUS,
        "The pod is being deleted. Its containers received SIGTERM and have terminationGracePeriodSeconds to stop. If it is not removed, a finalizer blocks the deletion, or its node does not answer.",
        &["kubectl -n NAMESPACE get pod POD -o yaml: deletionTimestamp and finalizers", DIAGNOSE],
        &["StuckTerminating"],
    ),
    word(
        &["Unknown"],
        STATUS,
        "The node no longer reports the state of the pod.",
        &["kubectl get nodes", DIAGNOSE],
        &["NodeNotReady", "ContainerStatusUnknown"],
    ),
    // Events
    word(
        &["BackOff", "Back-off"],
        EVENT,
        "The kubelet waits before it restarts a container or pulls an image again. The wait doubles, up to 5 minutes. Earlier events and the log show the cause.",
        &[PREVIOUS, DESCRIBE],
        &["CrashLoopBackOff", "ImagePullBackOff"],
    ),
    word(
        &["Unhealthy"],
        EVENT,
        "A probe failed; the message says which one, and with what result. A failed readiness probe takes the pod out of its Services. A failed liveness or startup probe restarts the container.",
        &[DESCRIBE, LOGS],
        &["ReadinessProbeFailed", "LivenessProbeFailed", "StartupProbeFailed"],
    ),
    word(
        &["FailedScheduling"],
        EVENT,
        "The scheduler finds no node for the pod. The message counts the nodes for each reason that rules them out.",
        &[DIAGNOSE, DESCRIBE],
        &["Unschedulable"],
    ),
    word(
        &["FailedMount"],
        EVENT,
        "The kubelet cannot mount a volume: a Secret or ConfigMap does not exist, a claim is not bound, or a storage plugin fails. The message names the volume.",
        &[DIAGNOSE, DESCRIBE, "kubectl -n NAMESPACE get pvc"],
        &["VolumeNotReady"],
    ),
    word(
        &["FailedAttachVolume"],
        EVENT,
        "A volume cannot be attached to the node: another node still has it, the node's limit is reached, or the storage driver fails.",
        &[DIAGNOSE, DESCRIBE, "kubectl get volumeattachments"],
        &["VolumeNotReady"],
    ),
    word(
        &["NetworkNotReady", "NetworkPluginNotReady"],
        EVENT,
        "The container runtime of the node has no working network plugin (CNI). Pods that need the pod network do not start there.",
        &[
            "kubectl describe node NODE",
            "kubectl get pods -A --field-selector spec.nodeName=NODE: do the pods of the network plugin run?",
        ],
        &["NodeNotReady", "FailedCreatePodSandBox"],
    ),
    word(
        &["Killing"],
        EVENT,
        "The kubelet stops a container: the pod is deleted or evicted, or a liveness or startup probe failed. The message says which.",
        &[DESCRIBE],
        &["LivenessProbeFailed", "Evicted"],
    ),
    word(
        &["Failed"],
        EVENT,
        "An image could not be pulled, or a container could not be created or started; the message says why. As a phase of a pod: all containers have exited, and one of them failed.",
        &[DESCRIBE, DIAGNOSE],
        &["ImagePullBackOff", "CreateContainerError", "PodFailed"],
    ),
    // Exit codes and signals
    word(
        &["0"],
        EXIT,
        "The program succeeded. With restartPolicy Always the kubelet starts the container again.",
        &[PREVIOUS],
        &["CompletedLoop"],
    ),
    word(
        &["1", "2", "255"],
        EXIT,
        "The program reports a failure: an exception, a wrong flag, a missing setting. Its log says which.",
        &[PREVIOUS, DIAGNOSE],
        &["CrashLoopBackOff", "Error"],
    ),
    word(
        &["126"],
        EXIT,
        "The shell found the command and could not run it: it is not executable, or not a program.",
        &[PREVIOUS, "see the cause CommandNotExecutable"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["127"],
        EXIT,
        "The shell did not find the command: a typo, or it is not in the image.",
        &[PREVIOUS, "see the cause CommandNotFound"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["128"],
        EXIT,
        "Its meaning depends on the reason next to it. With StartError or ContainerCannotRun, the container runtime could not start the program. \
         With Error, the program itself exited with 128, as git does after a fatal error: the log says why.",
        &["kubectl -n NAMESPACE describe pod POD: Last State, Reason", PREVIOUS],
        &["RunContainerError", "CrashLoopBackOff"],
    ),
    word(
        &["130", "SIGINT"],
        EXIT,
        "128 + 2: SIGINT, the signal of Ctrl-C, stopped the program.",
        &[PREVIOUS],
        &["Error"],
    ),
    word(
        &["132", "SIGILL"],
        EXIT,
        "128 + 4: SIGILL. The CPU does not support an instruction of the program: it was built for a newer CPU or another architecture.",
        &[PREVIOUS, "see the cause IllegalInstruction"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["134", "SIGABRT"],
        EXIT,
        "128 + 6: SIGABRT. The program aborted: a failed assertion, a corrupted heap, a fatal error of its runtime. The log says which.",
        &[PREVIOUS, "see the cause Aborted"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["135", "SIGBUS"],
        EXIT,
        "128 + 7: SIGBUS. The program accessed mapped memory that has no backing: a mapped file was truncated, or huge pages or /dev/shm are used up.",
        &[PREVIOUS, "see the cause BusError"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["136", "SIGFPE"],
        EXIT,
        "128 + 8: SIGFPE, an arithmetic error such as a division by zero.",
        &[PREVIOUS],
        &["CrashLoopBackOff"],
    ),
    word(
        &["critical", "warning", "info"],
        "the severities of KubeHealer",
        "critical: a whole workload or node is down. warning: something fails and needs attention. info: worth knowing; it makes no pod unhealthy, and it \
         may still recover on its own.",
        &["kubehealer diagnose -A --severity critical", "kubehealer diagnose -A --fail-on warning"],
        &[],
    ),
    word(
        &["confirmed", "probable", "possible"],
        "how sure KubeHealer is of a cause",
        "confirmed: the API says so. probable: the most likely explanation. possible: one of several explanations. The confidence is about the cause, not \
         about the failure: that something fails is certain. Events and logs that could not be read make a cause less sure.",
        &["kubehealer diagnose -n NAMESPACE POD -o wide, which shows all evidence"],
        &[],
    ),
    word(
        &["mute", "muted"],
        "an annotation of KubeHealer",
        "Mutes the alerts of a workload or of one pod until a given time: the annotations kubehealer.dev/mute-until and \
         kubehealer.dev/mute-reason. Its incidents stay open and are counted. The time is required and can be at most 90 days ahead.",
        &[
            "kubectl -n NAMESPACE annotate deployment NAME kubehealer.dev/mute-until=TIME kubehealer.dev/mute-reason=WHY",
            "kubectl -n NAMESPACE annotate deployment NAME kubehealer.dev/mute-until-",
            "kubehealer diagnose -n NAMESPACE deployment/NAME",
        ],
        &[],
    ),
    word(
        &["137", "SIGKILL"],
        EXIT,
        "128 + 9: SIGKILL. With the reason OOMKilled, the container reached its memory limit. Otherwise the container did not stop within its grace period after SIGTERM (a failed liveness probe, a deletion), or the node's kernel had no memory left.",
        &[DIAGNOSE, "kubectl -n NAMESPACE describe pod POD: Last State, Reason"],
        &["OOMKilled", "LivenessProbeFailed"],
    ),
    word(
        &["139", "SIGSEGV"],
        EXIT,
        "128 + 11: SIGSEGV. The program accessed memory that it is not allowed to access: a bug in native code, or libraries that do not match.",
        &[PREVIOUS, "see the cause SegmentationFault"],
        &["CrashLoopBackOff"],
    ),
    word(
        &["143", "SIGTERM"],
        EXIT,
        "128 + 15: SIGTERM. The container was asked to stop and did: a deletion, a rollout, an eviction, a failed liveness probe.",
        &[DIAGNOSE, DESCRIBE],
        &["LivenessProbeFailed", "Evicted"],
    ),
    word(
        &["159", "SIGSYS"],
        EXIT,
        "128 + 31: SIGSYS. The seccomp profile does not allow a system call.",
        &[PREVIOUS, "see the cause BadSystemCall"],
        &["CrashLoopBackOff"],
    ),
];

/// The word that is written so: `137`, `exit 137`, `exit code 137`, `SIGKILL`, `Init:1/2`, in any case.
pub(super) fn of(text: &str) -> Option<&'static Word> {
    let lower = text.trim().to_lowercase();
    let code = ["exit code ", "exitcode ", "exit "].iter().find_map(|prefix| lower.strip_prefix(prefix));
    let bare = match code.unwrap_or(&lower).trim() {
        "likely" => "probable",
        bare => bare,
    };
    let number = |part: &str| part.parse::<u32>().is_ok();
    let steps = bare.strip_prefix("init:").and_then(|rest| rest.split_once('/'));
    let bare = if steps.is_some_and(|(n, m)| number(n) && number(m)) { "init:n/m" } else { bare };
    WORDS.iter().find(|word| word.names.iter().any(|name| name.eq_ignore_ascii_case(bare)))
}
