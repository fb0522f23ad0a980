//! The vocabulary of failures: a bounded set of reasons, used alike in code, metrics, alerts, runbooks and docs.
//!
//! A reason is Kubernetes' own string wherever it has one. What a reason means and what to do is in
//! `docs/runbooks/<Reason>.md`.

use std::fmt;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

words! {
    /// How bad it is. A single pod is never critical by itself.
    pub enum Severity {
        /// Worth knowing.
        Info = "info",
        /// Somebody should look.
        Warning = "warning",
        /// A whole workload or node is down.
        Critical = "critical",
    }
}

impl std::str::FromStr for Severity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown severity {text:?}: one of {}", Self::WORDS.join(", "));
        Self::of(text).ok_or_else(unknown)
    }
}

/// What a reason is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One container.
    Container,
    /// A pod.
    Pod,
    /// A controller of pods.
    Workload,
    /// A node.
    Node,
}

words! {
    /// Reasons that are one incident when they follow each other on the same subject: a container flickers between them, or
    /// one hides behind the other.
    pub enum Family {
        /// A container that started and ended.
        Crash = "crash",
        /// A container that cannot be started: image, configuration, creation.
        Start = "start",
        /// A container or pod that runs and does not serve.
        Ready = "ready",
        /// A pod that waits for a node.
        Schedule = "schedule",
        /// A pod on its node that waits for volumes, network, devices.
        Prepare = "prepare",
        /// A pod that was ended from outside.
        End = "end",
        /// A pod that does not go away.
        Terminate = "terminate",
        /// A pod that is not resized.
        Resize = "resize",
        /// A device.
        Device = "device",
        /// A workload that lacks pods or has failed.
        Workload = "workload",
        /// A node.
        Node = "node",
    }
}

words! {
    /// Whether a failure may end without a change by a person.
    pub enum Heals {
        /// Nothing that goes on in the cluster ends it.
        Never = "no",
        /// Something that is still being created may end it: not any more when its grace is over.
        Unlikely = "not after its grace",
        /// A dependency, a node or a registry may come back.
        Maybe = "maybe",
    }
}

/// What holds of some reasons only.
#[allow(non_camel_case_types, reason = "as the rows have them")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    down,
    explained_by_node,
    wants_running_log,
}

macro_rules! reasons {
    ($(
        $variant:ident $name:literal $subject:ident $family:ident $severity:ident $grace:literal [$($flag:ident),*] $heals:ident
            $alert:literal
            $detected:literal;
    )*) => {
        /// The name of a kind of failure. Kubernetes releases bring new ones.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each has its runbook")]
        pub enum Reason { $($variant),* }

        impl Reason {
            /// All of them, in the order of the docs.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it is said of.
            pub fn subject(self) -> Subject {
                match self { $(Self::$variant => Subject::$subject),* }
            }

            /// Which incident it belongs to.
            pub fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family),* }
            }

            /// How bad it is once its grace is over.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),* }
            }

            /// How long it must last before it counts: until then it may well heal by itself.
            pub fn grace(self) -> SignedDuration {
                SignedDuration::from_secs(match self { $(Self::$variant => $grace),* })
            }

            /// What else holds of it.
            fn flags(self) -> &'static [Flag] {
                match self { $(Self::$variant => &[$(Flag::$flag),*]),* }
            }

            /// Whether it may heal by itself, where its cause does not tell.
            pub fn heals(self) -> Heals {
                match self { $(Self::$variant => Heals::$heals),* }
            }

            /// The alert that fires for it, in `charts/kubehealer/files/alerts.yaml`.
            pub fn alert(self) -> &'static str {
                match self { $(Self::$variant => $alert),* }
            }

            /// What shows it, in one line of Markdown: from the pod's status and spec, from events, from owners or nodes.
            pub fn detected(self) -> &'static str {
                match self { $(Self::$variant => $detected),* }
            }

            /// Its runbook, as Markdown.
            pub fn runbook(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../runbooks/", $name, ".md"))),* }
            }
        }
    };
}

// One row a reason: variant, name, subject, family, severity, grace in seconds, flags, whether it heals by itself (the cause may
// tell more, see `CauseCode::heals`), alert; below it, how it is detected.
// A crash loop's grace is its second termination, not a time. After a change run
// `UPDATE_GENERATED=1 cargo test --test it generated::`, which writes the docs and the alert rules anew.
reasons! {
    CrashLoopBackOff "CrashLoopBackOff" Container Crash Warning 0 [down] Maybe "ContainerCrashLooping"
        "status: the container waits with that reason; or it has terminated at least twice, the last run was shorter than 10 minutes, and it has not run for 10 minutes since. The signal or exit code is the cause";
    OOMKilled "OOMKilled" Container Crash Warning 0 [] Maybe "ContainerOOMKilled"
        "status: reason `OOMKilled` of the last termination; confirmed with exit code 137; probable with any other code except 0 and 143 (a child process was killed, then the main process exited); info with 0 and 143 (only a child process was killed). Exit code 137 alone is not enough. Node events `SystemOOM` and `OOMKilling` add evidence";
    CompletedLoop "CompletedLoop" Container Crash Warning 0 [down] Maybe "ContainerCrashLooping"
        "status: three terminations with exit code 0 under restartPolicy Always, and no run lasted as long as a probe allows";
    LivenessProbeFailed "LivenessProbeFailed" Container Crash Warning 0 [down] Maybe "ContainerProbeKilling"
        "event: `Killing` for the liveness probe in the run that terminated; or `Unhealthy` in a run that lasted as long as the probe allows (probable). Without events, a loop whose runs last that long keeps its own reason and names the probe as a possible cause";
    StartupProbeFailed "StartupProbeFailed" Container Crash Warning 0 [down] Maybe "ContainerProbeKilling"
        "event: `Killing` for the startup probe; or status: `started` is still false long after the probe's time is up";
    FrequentRestarts "FrequentRestarts" Container Crash Warning 0 [] Maybe "ContainerRestartsFrequent"
        "daemon: three terminations within an hour, each after more than 10 minutes of running; immediately if restart count and age prove it";
    Error "Error" Container Crash Warning 0 [down] Never "ContainerFailed"
        "status: terminated with a code other than 0, and not restarted. Info for a pod of a Job: the Job decides whether it has failed";
    RunContainerError "RunContainerError" Container Crash Warning 0 [down] Maybe "ContainerStartFailing"
        "status: that waiting reason, or a termination with `StartError` or `ContainerCannotRun`, from the second attempt on; the runtime's message says why";
    PostStartHookError "PostStartHookError" Container Crash Warning 0 [down] Maybe "ContainerStartFailing"
        "status: that waiting reason, visible for a second or two; event `FailedPostStartHook`. Without events, a killed container that has such a hook is reported as possible";
    ContainerStatusUnknown "ContainerStatusUnknown" Container Crash Warning 0 [] Never "ContainerFailed"
        "status: the kubelet did not see the container exit and filled in that termination; the container is not running again";
    RestartingAllContainers "RestartingAllContainers" Container Crash Info 0 [] Maybe "ContainerCrashLooping"
        "status and spec: an exit code for which the container's rule restarts all containers. Warning from the third restart on; the other containers raise no findings";
    ReadinessProbeFailed "ReadinessProbeFailed" Container Ready Warning 60 [down, explained_by_node, wants_running_log] Maybe "PodNotReady"
        "status: the container runs and has started, but has not been ready for three times as long as its probe allows (at least a minute), on a node that is ready";
    SidecarStillRunning "SidecarStillRunning" Container Ready Warning 300 [] Maybe "ContainerInitStuck"
        "status: in a pod with restartPolicy `Never` or `OnFailure` some containers completed with exit code 0, and another one keeps running. Info if neither its name nor its image looks like a helper (a proxy, an agent, a log shipper)";
    DeviceUnhealthy "DeviceUnhealthy" Container Device Warning 60 [] Maybe "ContainerDeviceUnhealthy"
        "status: `allocatedResourcesStatus` says `Unhealthy`. The API gives no time for it, so it is reported immediately";
    ImagePullBackOff "ImagePullBackOff" Container Start Warning 60 [down] Maybe "ContainerImagePullFailing"
        "status: `ErrImagePull`, `ImagePullBackOff` or `RegistryUnavailable`; the cause from the message, or from the event of the failed pull";
    InvalidImageName "InvalidImageName" Container Start Warning 0 [down] Never "ContainerImagePullFailing"
        "status: that waiting reason";
    ErrImageNeverPull "ErrImageNeverPull" Container Start Warning 0 [down] Never "ContainerImagePullFailing"
        "status: that waiting reason";
    ImageInspectError "ImageInspectError" Container Start Warning 60 [down] Maybe "ContainerImagePullFailing"
        "status: that waiting reason";
    SignatureValidationFailed "SignatureValidationFailed" Container Start Warning 0 [down] Unlikely "ContainerImagePullFailing"
        "status: that waiting reason";
    CreateContainerConfigError "CreateContainerConfigError" Container Start Warning 30 [down] Maybe "ContainerConfigError"
        "status: that waiting reason; the message names the object, the key or the rule";
    CreateContainerError "CreateContainerError" Container Start Warning 60 [down] Maybe "ContainerStartFailing"
        "status: that waiting reason; with CRI-O, a wrong command is reported with this reason";
    PreCreateHookError "PreCreateHookError" Container Start Warning 60 [down] Maybe "ContainerStartFailing"
        "status: that waiting reason";
    PreStartHookError "PreStartHookError" Container Start Warning 60 [down] Maybe "ContainerStartFailing"
        "status: that waiting reason";
    InitStuck "InitStuck" Container Start Warning 600 [down, wants_running_log] Maybe "ContainerInitStuck"
        "status: an init container runs for more than 10 minutes";
    SidecarNotStarted "SidecarNotStarted" Container Start Warning 0 [down, wants_running_log] Maybe "ContainerInitStuck"
        "status: a sidecar runs and `started` stays false for longer than its startup probe allows";
    Other "Other" Container Start Warning 60 [down] Maybe "ContainerStartFailing"
        "status: a waiting reason that KubeHealer does not know, shown unchanged; Kubernetes sometimes puts whole sentences there";
    Unschedulable "Unschedulable" Pod Schedule Warning 60 [down] Maybe "PodUnschedulable"
        "status: condition `PodScheduled`; the scheduler's message is split into counts per cause; for a claim that it waits for, the claim's events say why. Only after five minutes if an autoscaler says that it is adding a node";
    SchedulerError "SchedulerError" Pod Schedule Warning 60 [down] Maybe "PodUnschedulable"
        "status: condition `PodScheduled` with reason `SchedulerError`, with the volume or device that the scheduler's plugin waited for; or no such condition after a minute: no scheduler handles the pod";
    SchedulingGated "SchedulingGated" Pod Schedule Info 600 [] Maybe "PodDisrupted"
        "status: condition `PodScheduled` with reason `SchedulingGated`";
    VolumeNotReady "VolumeNotReady" Pod Prepare Warning 120 [down] Maybe "PodStuckCreating"
        "event: `FailedMount`, `FailedAttachVolume`, `FailedMapVolume` while there is no sandbox";
    FailedCreatePodSandBox "FailedCreatePodSandBox" Pod Prepare Warning 60 [down] Maybe "PodStuckCreating"
        "event: `FailedCreatePodSandBox`, `NetworkNotReady` or `FailedCreatePodContainer` while there is no sandbox, or `SandboxChanged` four times";
    FailedPrepareDynamicResources "FailedPrepareDynamicResources" Pod Prepare Warning 60 [down] Maybe "PodStuckCreating"
        "event: `FailedPrepareDynamicResources` or `FailedResourceClaimCreation` while there is no sandbox";
    PodNotStarted "PodNotStarted" Pod Prepare Warning 300 [down, explained_by_node] Maybe "PodStuckCreating"
        "status: the pod has a node, no container is created, and no event says why; after ten minutes if an image is being pulled, or if events are not read and there is a sandbox";
    ReadinessGatesNotReady "ReadinessGatesNotReady" Pod Ready Warning 60 [down, explained_by_node] Maybe "PodNotReady"
        "status: condition `Ready` with reason `ReadinessGatesNotReady`";
    Evicted "Evicted" Pod End Warning 0 [] Never "PodEvicted"
        "status: reason of the pod; node pressure and the pod's own limit are distinguished";
    DeadlineExceeded "DeadlineExceeded" Pod End Warning 0 [] Never "PodFailed"
        "status: reason of the pod";
    OutOfcpu "OutOfcpu" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `OutOfcpu` of a pod that its node rejected";
    OutOfmemory "OutOfmemory" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `OutOfmemory` of a pod that its node rejected";
    OutOfephemeralStorage "OutOfephemeral-storage" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `OutOfephemeral-storage` of a pod that its node rejected";
    OutOfpods "OutOfpods" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `OutOfpods` of a pod that its node rejected";
    NodeAffinity "NodeAffinity" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `NodeAffinity` of a pod that its node rejected";
    NodeName "NodeName" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `NodeName` of a pod that its node rejected";
    NodePorts "NodePorts" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `NodePorts` of a pod that its node rejected";
    TaintToleration "TaintToleration" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `TaintToleration` of a pod that its node rejected";
    UnexpectedAdmissionError "UnexpectedAdmissionError" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `UnexpectedAdmissionError` of a pod that its node rejected";
    TopologyAffinityError "TopologyAffinityError" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `TopologyAffinityError` of a pod that its node rejected";
    SMTAlignmentError "SMTAlignmentError" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `SMTAlignmentError` of a pod that its node rejected";
    SysctlForbidden "SysctlForbidden" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `SysctlForbidden` of a pod that its node rejected";
    AppArmor "AppArmor" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `AppArmor` of a pod that its node rejected";
    PodOSNotSupported "PodOSNotSupported" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `PodOSNotSupported` of a pod that its node rejected";
    PodFeatureUnsupported "PodFeatureUnsupported" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `PodFeatureUnsupported` of a pod that its node rejected";
    VolumeAttachmentLimitExceeded "VolumeAttachmentLimitExceeded" Pod End Warning 0 [] Never "PodRejected"
        "status: reason `VolumeAttachmentLimitExceeded` of a pod that its node rejected";
    AdmissionRejected "AdmissionRejected" Pod End Warning 0 [] Never "PodRejected"
        "status: a message that begins with `Pod was rejected` (or, with older kubelets, has the same sentence after the reason), with a reason that is not in this list";
    PodFailed "PodFailed" Pod End Warning 0 [] Never "PodFailed"
        "status: the pod has failed, and neither a known reason nor a container says why";
    Preempted "Preempted" Pod End Info 0 [] Never "PodDisrupted"
        "status: `Preempting`, or `DisruptionTarget` set by the scheduler";
    NodeShutdown "NodeShutdown" Pod End Info 0 [] Never "PodDisrupted"
        "status: `Terminated`, `NodeShutdown` or `Shutdown`";
    StuckTerminating "StuckTerminating" Pod Terminate Warning 60 [explained_by_node] Maybe "PodStuckTerminating"
        "status: still there a minute after `deletionTimestamp`, which includes the grace period; finalizer, lost node and running containers are distinguished";
    FailedPreStopHook "FailedPreStopHook" Pod Terminate Info 0 [] Maybe "PodDisrupted"
        "event: `FailedPreStopHook` or `ExceededGracePeriod`, after the pod was deleted";
    ResizeDeferred "ResizeDeferred" Pod Resize Info 600 [] Maybe "PodDisrupted"
        "status: condition `PodResizePending`";
    ResizeInfeasible "ResizeInfeasible" Pod Resize Warning 0 [] Maybe "PodResizeFailing"
        "status: condition `PodResizePending`";
    ResizeError "ResizeError" Pod Resize Warning 0 [] Maybe "PodResizeFailing"
        "status: condition `PodResizeInProgress` with reason `Error`";
    FailedCreate "FailedCreate" Workload Workload Warning 60 [] Maybe "WorkloadCannotCreatePods"
        "owner: condition `ReplicaFailure`; StatefulSets, DaemonSets, Jobs and CronJobs have no such condition, so their events show it (for a CronJob: that it creates no Job). Critical if no pod is ready";
    ProgressDeadlineExceeded "ProgressDeadlineExceeded" Workload Workload Warning 0 [] Never "WorkloadRolloutStuck"
        "owner: condition `Progressing` of a Deployment. Critical if no revision serves";
    BackoffLimitExceeded "BackoffLimitExceeded" Workload Workload Warning 0 [] Never "JobFailed"
        "owner: condition of the Job; a later success of its CronJob resolves it";
    PodFailurePolicy "PodFailurePolicy" Workload Workload Warning 0 [] Never "JobFailed"
        "owner: condition of the Job";
    FailedIndexes "FailedIndexes" Workload Workload Warning 0 [] Never "JobFailed"
        "owner: condition of the Job";
    JobDeadlineExceeded "DeadlineExceeded" Workload Workload Warning 0 [] Never "JobFailed"
        "owner: condition of the Job; its pods are deleted, so only the Job shows it";
    NodeNotReady "NodeNotReady" Node Node Critical 0 [down, explained_by_node] Maybe "NodeUnhealthy"
        "node: condition `Ready`: immediately if the kubelet has stopped reporting; after two minutes if the kubelet itself reports it (a new node's network comes up last). If nodes are not watched: a warning on a pod that is not ready although all its containers are ready";
    NodeProblem "NodeProblem" Node Node Warning 120 [] Maybe "NodeUnhealthy"
        "node: a condition of a node agent (node-problem-detector, the monitoring agent of EKS) has the status that means a problem: True for `KernelDeadlock`, `ReadonlyFilesystem` and other names of problems, False for names such as `AcceleratedHardwareReady`";
    NodeRestart "NodeRestart" Node Node Warning 0 [] Maybe "NodeUnhealthy"
        "status: most pods of a node (at least three) terminated within two minutes, the way they do when a node restarts";
    MemoryPressure "MemoryPressure" Node Node Warning 60 [] Maybe "NodeUnhealthy"
        "node: condition `MemoryPressure`";
    DiskPressure "DiskPressure" Node Node Warning 60 [] Maybe "NodeUnhealthy"
        "node: condition `DiskPressure`";
    PIDPressure "PIDPressure" Node Node Warning 60 [] Maybe "NodeUnhealthy"
        "node: condition `PIDPressure`";
}

impl Reason {
    /// The reason of this name, if it is one.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == name)
    }

    /// Whether a pod with it does not serve, so that a workload all of whose pods have it is down.
    pub fn is_down(self) -> bool {
        self.flags().contains(&Flag::down)
    }

    /// Whether it is only what the silence of a node looks like, where the node is not ready.
    pub fn is_explained_by_node(self) -> bool {
        self.flags().contains(&Flag::explained_by_node)
    }

    /// Whether the log of the run that goes on may say why.
    pub fn wants_running_log(self) -> bool {
        self.flags().contains(&Flag::wants_running_log)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
