//! The runbooks of all reasons, built into the program from `docs/runbooks`.
//!
//! Text only. It must not know how a runbook is shown.

macro_rules! runbooks {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../runbooks/", $name, ".md")))),*]
    };
}

/// Reason and runbook, in the order of the vocabulary.
const RUNBOOKS: &[(&str, &str)] = runbooks![
    "CrashLoopBackOff",
    "OOMKilled",
    "CompletedLoop",
    "LivenessProbeFailed",
    "StartupProbeFailed",
    "FrequentRestarts",
    "Error",
    "RunContainerError",
    "PostStartHookError",
    "ContainerStatusUnknown",
    "RestartingAllContainers",
    "ReadinessProbeFailed",
    "SidecarStillRunning",
    "DeviceUnhealthy",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "InitStuck",
    "SidecarNotStarted",
    "Other",
    "Unschedulable",
    "SchedulerError",
    "SchedulingGated",
    "VolumeNotReady",
    "FailedCreatePodSandBox",
    "FailedPrepareDynamicResources",
    "PodNotStarted",
    "ReadinessGatesNotReady",
    "Evicted",
    "DeadlineExceeded",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfephemeral-storage",
    "OutOfpods",
    "NodeAffinity",
    "NodeName",
    "NodePorts",
    "TaintToleration",
    "UnexpectedAdmissionError",
    "TopologyAffinityError",
    "SMTAlignmentError",
    "SysctlForbidden",
    "AppArmor",
    "PodOSNotSupported",
    "PodFeatureUnsupported",
    "VolumeAttachmentLimitExceeded",
    "AdmissionRejected",
    "PodFailed",
    "Preempted",
    "NodeShutdown",
    "StuckTerminating",
    "FailedPreStopHook",
    "ResizeDeferred",
    "ResizeInfeasible",
    "ResizeError",
    "FailedCreate",
    "ProgressDeadlineExceeded",
    "BackoffLimitExceeded",
    "PodFailurePolicy",
    "FailedIndexes",
    "NodeNotReady",
    "NodeProblem",
    "NodeRestart",
    "MemoryPressure",
    "DiskPressure",
    "PIDPressure",
];

/// The runbook of a reason, as Markdown; letter case does not count.
pub fn runbook(reason: &str) -> Option<&'static str> {
    RUNBOOKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(reason)).map(|(_, text)| *text)
}

/// The names of all reasons that have a runbook, in the order of the vocabulary.
pub fn names() -> impl Iterator<Item = &'static str> {
    RUNBOOKS.iter().map(|(name, _)| *name)
}

/// What a runbook's reason means, in its one sentence.
pub fn meaning(runbook: &str) -> &str {
    runbook.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
}
