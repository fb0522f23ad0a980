//! Why something fails, as far as the evidence goes: a bounded set of codes. The particulars are in the cause's text.

use std::fmt;

use serde::{Serialize, Serializer};

use super::reason::Heals;

macro_rules! causes {
    ($(#[doc = $meaning:literal] $variant:ident;)*) => {
        /// The code of a cause. More of them come as more is understood.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CauseCode { $(#[doc = $meaning] $variant),* }

        impl CauseCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// All words, in this order.
            pub const WORDS: &[&str] = &[$(stringify!($variant)),*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                let meaning = match self { $(Self::$variant => $meaning),* };
                meaning.trim()
            }
        }
    };
}

causes! {
    // Image
    /// The registry has no such repository or tag.
    ImageNotFound;
    /// The repository does not exist or is private; the registry gives the same answer for both.
    ImageNotFoundOrPrivate;
    /// The registry requires credentials, or rejects those that were sent.
    RegistryUnauthorized;
    /// The registry limits the rate of pulls.
    RegistryRateLimited;
    /// The registry cannot be reached.
    RegistryUnreachable;
    /// The registry answers with an error.
    RegistryError;
    /// The registry's host name does not resolve.
    RegistryNameNotResolved;
    /// The container runtime rejects the registry's TLS certificate.
    RegistryTlsError;
    /// The kubelet itself limits the rate of pulls.
    KubeletPullThrottled;
    /// The image does not exist for the node's architecture or operating system.
    ImagePlatformMismatch;
    /// The node's disk is full.
    NodeDiskFull;
    /// The name of the image is not valid.
    InvalidImageReference;
    /// The container runtime rejects an image name without a registry.
    ImageShortName;
    /// The signature is missing or wrong.
    ImageSignature;
    /// The image is corrupt.
    ImageCorrupt;
    /// The image is not on the node, and imagePullPolicy Never forbids the pull.
    ImageNotPresent;
    /// The pull failed with an error that no rule explains.
    ImagePullFailed;
    /// The image pull is slow.
    ImagePullSlow;
    // Configuration and start
    /// A ConfigMap does not exist.
    MissingConfigMap;
    /// A Secret does not exist.
    MissingSecret;
    /// A ConfigMap does not have the key that the pod uses.
    MissingConfigMapKey;
    /// A Secret does not have the key that the pod uses.
    MissingSecretKey;
    /// runAsNonRoot is set, but the image runs as root, or its user is not a number.
    RunAsNonRootViolated;
    /// A subPath of a volume cannot be prepared.
    SubPathFailed;
    /// A mount inside the container fails.
    MountFailed;
    /// The program is not in the image.
    ExecutableNotFound;
    /// The program is not executable.
    ExecutableNotPermitted;
    /// The program is for another architecture.
    ExecFormatError;
    /// Neither the image nor the pod names a command.
    NoCommand;
    /// The user to run as does not exist in the image.
    UnknownUser;
    /// The container runtime still has a container with this name.
    ContainerNameReserved;
    /// The container runtime did not answer in time.
    RuntimeTimeout;
    /// The container runtime reports another error.
    RuntimeError;
    /// A lifecycle hook failed.
    HookFailed;
    // Ends
    /// The container reached its memory limit.
    MemoryLimitReached;
    /// A child process reached the memory limit; the main process continued, or exited on its own.
    ChildMemoryLimitReached;
    /// Killed by SIGKILL; nothing shows who sent it.
    Killed;
    /// Terminated by SIGTERM; nothing shows who sent it.
    Terminated;
    /// Killed by SIGSEGV.
    SegmentationFault;
    /// Killed by SIGABRT.
    Aborted;
    /// Killed by SIGILL: wrong CPU features or architecture.
    IllegalInstruction;
    /// Killed by SIGBUS.
    BusError;
    /// Killed by SIGSYS: seccomp forbids a system call.
    BadSystemCall;
    /// Killed by another signal.
    Signal;
    /// The program exited with an error code, and nothing shows why.
    ApplicationError;
    /// The program completed, but should keep running.
    CommandCompleted;
    /// Exit code 126: the command is not executable.
    CommandNotExecutable;
    /// Exit code 127: the command was not found.
    CommandNotFound;
    /// The kubelet killed the container because its liveness probe failed.
    LivenessProbe;
    /// The kubelet killed the container because its startup probe failed.
    StartupProbe;
    /// The readiness probe fails.
    ReadinessProbe;
    /// The container disappeared from the runtime.
    ContainerVanished;
    /// The node or its runtime was restarted.
    NodeRestarted;
    /// A restart rule of another container restarts all containers.
    RestartRule;
    // From the log
    /// The program crashed with a stack trace.
    Panic;
    /// The program reached its own heap limit.
    HeapExhausted;
    /// The port is already in use.
    AddressInUse;
    /// A dependency refuses connections or does not answer.
    DependencyUnreachable;
    /// The name of a dependency does not resolve.
    DependencyNameNotResolved;
    /// The program lacks a permission.
    PermissionDenied;
    /// A file is missing.
    FileNotFound;
    /// A module, class or shared library is missing.
    LibraryNotFound;
    /// An environment variable or setting is missing.
    MissingConfiguration;
    /// A setting is invalid.
    InvalidConfiguration;
    /// A flag or argument is invalid.
    BadArguments;
    /// A TLS connection fails, or a certificate is not valid.
    TlsError;
    /// Credentials were rejected.
    AuthenticationFailed;
    /// A dependency answers with an error.
    DependencyError;
    /// Another process holds the lock.
    LockHeld;
    /// The program could not renew its leader election lease, so it exited.
    LeaseLost;
    /// The data on disk is damaged, or belongs to another version or cluster.
    DataIncompatible;
    /// A license is missing or invalid.
    LicenseInvalid;
    /// The database schema does not match, or a migration fails.
    DatabaseSchema;
    /// Disk space, file descriptors or another resource is used up.
    ResourceExhausted;
    /// The log shows another error.
    LoggedError;
    // Scheduling
    /// No node has enough CPU, memory or another resource left.
    InsufficientResources;
    /// No node has the required labels.
    NodeSelectorMismatch;
    /// Nodes have taints that the pod does not tolerate.
    UntoleratedTaint;
    /// Affinity, anti-affinity or topology spread rules cannot be satisfied.
    AffinityUnsatisfied;
    /// A host port is in use.
    HostPortTaken;
    /// A volume claim is unbound, missing, or in another zone.
    VolumeUnavailable;
    /// Nodes are cordoned.
    NodesUnschedulable;
    /// Nodes already run their maximum number of pods.
    TooManyPods;
    /// Other scheduling constraints are not met.
    SchedulingConstraints;
    /// A scheduling gate holds the pod back.
    SchedulingGate;
    // Pod
    /// A volume cannot be mounted.
    VolumeMountFailed;
    /// A volume cannot be attached.
    VolumeAttachFailed;
    /// The pod's network cannot be set up.
    NetworkSetupFailed;
    /// The pod's sandbox cannot be created.
    SandboxFailed;
    /// A device cannot be allocated or prepared.
    DeviceAllocationFailed;
    /// A device is not healthy.
    DeviceUnhealthy;
    /// The kubelet has stopped reporting.
    KubeletSilent;
    /// No event says what the pod waits for.
    Unexplained;
    /// An init container keeps running.
    InitWaiting;
    /// A readiness gate is not True.
    ReadinessGate;
    /// The node ran out of a resource.
    NodePressure;
    /// The pod used more local storage than its limit.
    StorageLimitExceeded;
    /// The pod or Job ran longer than its deadline allows.
    DeadlineReached;
    /// The node did not have enough resources left.
    NodeFull;
    /// The node rejected the pod because of its policy or features.
    NodeRefused;
    /// A pod with a higher priority needed the resources.
    Preemption;
    /// The node was shut down.
    NodeShutDown;
    /// A planned disruption removes the pod.
    Disruption;
    /// A finalizer has not been removed.
    Finalizer;
    /// Containers do not stop.
    ContainersNotStopped;
    /// The node is gone or does not answer.
    NodeLost;
    /// A resize has to wait or cannot be done.
    ResizeRefused;
    // Workload
    /// A quota is used up.
    QuotaExceeded;
    /// A ServiceAccount does not exist.
    MissingServiceAccount;
    /// Pod security or another admission check denies the pods.
    AdmissionDenied;
    /// An admission webhook denies the pods or does not answer.
    WebhookDenied;
    /// Pods cannot be created for another reason.
    CreateRefused;
    /// The new revision does not become ready.
    BadRevision;
    /// Too many pods of a Job failed.
    TooManyFailures;
    /// The pod's work is done, but a helper container keeps it running.
    WorkDone;
    /// A rule of the Job's podFailurePolicy failed the Job.
    FailurePolicy;
    // Node
    /// The kubelet stopped posting node status.
    KubeletStopped;
    /// The node reports that it is not ready.
    NodeUnready;
    /// A node agent reports a problem of the node.
    NodeProblem;
    // Rules
    /// One of your own rules raised this finding.
    UserRule;
}

impl CauseCode {
    /// Whether a failure of this cause may end without a change by a person, where the cause alone tells.
    pub fn heals(self) -> Option<Heals> {
        Some(match self {
            Self::ImageNotFound
            | Self::ImagePlatformMismatch
            | Self::InvalidImageReference
            | Self::ImageShortName
            | Self::RunAsNonRootViolated
            | Self::ExecutableNotFound
            | Self::ExecutableNotPermitted
            | Self::ExecFormatError
            | Self::NoCommand
            | Self::UnknownUser
            | Self::CommandNotExecutable
            | Self::CommandNotFound
            | Self::LibraryNotFound
            | Self::BadArguments => Heals::Never,
            Self::ImageNotFoundOrPrivate
            | Self::RegistryUnauthorized
            | Self::ImageSignature
            | Self::MissingConfigMap
            | Self::MissingSecret
            | Self::MissingConfigMapKey
            | Self::MissingSecretKey
            | Self::QuotaExceeded
            | Self::MissingServiceAccount
            | Self::AdmissionDenied => Heals::Unlikely,
            _ => return None,
        })
    }

    /// The code of this name, if it is one.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.as_str() == name)
    }
}

impl fmt::Display for CauseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for CauseCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
