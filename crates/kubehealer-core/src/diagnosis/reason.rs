//! The vocabulary of failures: a bounded set of reasons, used alike in code, metrics, alerts, runbooks and docs.
//!
//! A reason is Kubernetes' own string wherever it has one. What a reason means, how it is detected and what to do stands in
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

macro_rules! reasons {
    ($($variant:ident $name:literal $subject:ident $family:ident $severity:ident $grace:literal;)*) => {
        /// The name of a kind of failure.
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
        }
    };
}

// A crash loop's grace is its second end, not a time.
reasons! {
    CrashLoopBackOff "CrashLoopBackOff" Container Crash Warning 0;
    OOMKilled "OOMKilled" Container Crash Warning 0;
    CompletedLoop "CompletedLoop" Container Crash Warning 0;
    LivenessProbeFailed "LivenessProbeFailed" Container Crash Warning 0;
    StartupProbeFailed "StartupProbeFailed" Container Crash Warning 0;
    FrequentRestarts "FrequentRestarts" Container Crash Warning 0;
    Error "Error" Container Crash Warning 0;
    RunContainerError "RunContainerError" Container Crash Warning 0;
    PostStartHookError "PostStartHookError" Container Crash Warning 0;
    ContainerStatusUnknown "ContainerStatusUnknown" Container Crash Warning 0;
    RestartingAllContainers "RestartingAllContainers" Container Crash Info 0;
    ReadinessProbeFailed "ReadinessProbeFailed" Container Ready Warning 60;
    SidecarStillRunning "SidecarStillRunning" Container Ready Warning 300;
    DeviceUnhealthy "DeviceUnhealthy" Container Device Warning 60;
    ImagePullBackOff "ImagePullBackOff" Container Start Warning 60;
    InvalidImageName "InvalidImageName" Container Start Warning 0;
    ErrImageNeverPull "ErrImageNeverPull" Container Start Warning 0;
    ImageInspectError "ImageInspectError" Container Start Warning 60;
    SignatureValidationFailed "SignatureValidationFailed" Container Start Warning 0;
    CreateContainerConfigError "CreateContainerConfigError" Container Start Warning 30;
    CreateContainerError "CreateContainerError" Container Start Warning 60;
    PreCreateHookError "PreCreateHookError" Container Start Warning 60;
    PreStartHookError "PreStartHookError" Container Start Warning 60;
    InitStuck "InitStuck" Container Start Warning 600;
    SidecarNotStarted "SidecarNotStarted" Container Start Warning 0;
    Other "Other" Container Start Warning 60;
    Unschedulable "Unschedulable" Pod Schedule Warning 60;
    SchedulerError "SchedulerError" Pod Schedule Warning 60;
    SchedulingGated "SchedulingGated" Pod Schedule Info 600;
    VolumeNotReady "VolumeNotReady" Pod Prepare Warning 120;
    FailedCreatePodSandBox "FailedCreatePodSandBox" Pod Prepare Warning 60;
    FailedPrepareDynamicResources "FailedPrepareDynamicResources" Pod Prepare Warning 60;
    PodNotStarted "PodNotStarted" Pod Prepare Warning 300;
    ReadinessGatesNotReady "ReadinessGatesNotReady" Pod Ready Warning 60;
    Evicted "Evicted" Pod End Warning 0;
    DeadlineExceeded "DeadlineExceeded" Pod End Warning 0;
    OutOfcpu "OutOfcpu" Pod End Warning 0;
    OutOfmemory "OutOfmemory" Pod End Warning 0;
    OutOfephemeralStorage "OutOfephemeral-storage" Pod End Warning 0;
    OutOfpods "OutOfpods" Pod End Warning 0;
    NodeAffinity "NodeAffinity" Pod End Warning 0;
    NodeName "NodeName" Pod End Warning 0;
    NodePorts "NodePorts" Pod End Warning 0;
    TaintToleration "TaintToleration" Pod End Warning 0;
    UnexpectedAdmissionError "UnexpectedAdmissionError" Pod End Warning 0;
    TopologyAffinityError "TopologyAffinityError" Pod End Warning 0;
    SMTAlignmentError "SMTAlignmentError" Pod End Warning 0;
    SysctlForbidden "SysctlForbidden" Pod End Warning 0;
    AppArmor "AppArmor" Pod End Warning 0;
    PodOSNotSupported "PodOSNotSupported" Pod End Warning 0;
    PodFeatureUnsupported "PodFeatureUnsupported" Pod End Warning 0;
    VolumeAttachmentLimitExceeded "VolumeAttachmentLimitExceeded" Pod End Warning 0;
    AdmissionRejected "AdmissionRejected" Pod End Warning 0;
    PodFailed "PodFailed" Pod End Warning 0;
    Preempted "Preempted" Pod End Info 0;
    NodeShutdown "NodeShutdown" Pod End Info 0;
    StuckTerminating "StuckTerminating" Pod Terminate Warning 60;
    FailedPreStopHook "FailedPreStopHook" Pod Terminate Info 0;
    ResizeDeferred "ResizeDeferred" Pod Resize Info 600;
    ResizeInfeasible "ResizeInfeasible" Pod Resize Warning 0;
    ResizeError "ResizeError" Pod Resize Warning 0;
    FailedCreate "FailedCreate" Workload Workload Warning 60;
    ProgressDeadlineExceeded "ProgressDeadlineExceeded" Workload Workload Warning 0;
    BackoffLimitExceeded "BackoffLimitExceeded" Workload Workload Warning 0;
    PodFailurePolicy "PodFailurePolicy" Workload Workload Warning 0;
    FailedIndexes "FailedIndexes" Workload Workload Warning 0;
    JobDeadlineExceeded "DeadlineExceeded" Workload Workload Warning 0;
    NodeNotReady "NodeNotReady" Node Node Critical 0;
    NodeProblem "NodeProblem" Node Node Warning 120;
    NodeRestart "NodeRestart" Node Node Warning 0;
    MemoryPressure "MemoryPressure" Node Node Warning 60;
    DiskPressure "DiskPressure" Node Node Warning 60;
    PIDPressure "PIDPressure" Node Node Warning 60;
}

impl Reason {
    /// The reason of this name, if it is one.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == name)
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
