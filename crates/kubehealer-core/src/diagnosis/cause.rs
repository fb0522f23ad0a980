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
    /// The registry says the same of a missing and of a private repository.
    ImageNotFoundOrPrivate;
    /// The registry wants credentials, or other ones.
    RegistryUnauthorized;
    /// The registry limits the rate of pulls.
    RegistryRateLimited;
    /// The registry cannot be reached.
    RegistryUnreachable;
    /// The registry answers with an error of its own.
    RegistryError;
    /// The registry's name does not resolve.
    RegistryNameNotResolved;
    /// The registry's certificate is not accepted.
    RegistryTlsError;
    /// The kubelet itself limits the rate of pulls.
    KubeletPullThrottled;
    /// The image does not exist for this architecture.
    ImagePlatformMismatch;
    /// The node's disk is full.
    NodeDiskFull;
    /// The name of the image is not valid.
    InvalidImageReference;
    /// The runtime refuses a short name.
    ImageShortName;
    /// The signature is missing or wrong.
    ImageSignature;
    /// The image is broken.
    ImageCorrupt;
    /// The image is not on the node, and must not be pulled.
    ImageNotPresent;
    /// A pull that no rule explains.
    ImagePullFailed;
    /// A pull goes on for long.
    ImagePullSlow;
    // Configuration and start
    /// A ConfigMap that does not exist.
    MissingConfigMap;
    /// A Secret that does not exist.
    MissingSecret;
    /// A key that its ConfigMap does not have.
    MissingConfigMapKey;
    /// A key that its Secret does not have.
    MissingSecretKey;
    /// The image would run as root, or nobody can tell.
    RunAsNonRootViolated;
    /// A path inside a volume.
    SubPathFailed;
    /// A mount inside the container.
    MountFailed;
    /// The program is not in the image.
    ExecutableNotFound;
    /// The program may not be run.
    ExecutableNotPermitted;
    /// The program is for another architecture.
    ExecFormatError;
    /// The image names no program.
    NoCommand;
    /// The image names a user that it does not have.
    UnknownUser;
    /// A container of this name is still known to the runtime.
    ContainerNameReserved;
    /// The runtime took too long.
    RuntimeTimeout;
    /// The runtime refuses for a reason of its own.
    RuntimeError;
    /// A hook failed.
    HookFailed;
    // Ends
    /// The memory limit was reached.
    MemoryLimitReached;
    /// A child process reached the memory limit; the main process went on or ended by itself.
    ChildMemoryLimitReached;
    /// SIGKILL, and nothing tells from whom.
    Killed;
    /// SIGTERM, and nothing tells from whom.
    Terminated;
    /// Killed by SIGSEGV.
    SegmentationFault;
    /// Killed by SIGABRT.
    Aborted;
    /// Killed by SIGILL: instruction set or architecture.
    IllegalInstruction;
    /// Killed by SIGBUS.
    BusError;
    /// Killed by SIGSYS: seccomp.
    BadSystemCall;
    /// Killed by another signal.
    Signal;
    /// The program said so itself, by its exit code.
    ApplicationError;
    /// The program did its work and ended, where it should go on.
    CommandCompleted;
    /// 126: not executable.
    CommandNotExecutable;
    /// 127: not found.
    CommandNotFound;
    /// The liveness probe had it killed.
    LivenessProbe;
    /// The startup probe had it killed.
    StartupProbe;
    /// The readiness probe fails.
    ReadinessProbe;
    /// The container vanished from the runtime.
    ContainerVanished;
    /// The node or its runtime was restarted.
    NodeRestarted;
    /// Another container's exit restarts all of them.
    RestartRule;
    // From the log
    /// The program crashed with a stack trace.
    Panic;
    /// The program's own memory limit (heap) was reached.
    HeapExhausted;
    /// Its port is taken.
    AddressInUse;
    /// Something it depends on refuses connections or does not answer.
    DependencyUnreachable;
    /// The name of something it depends on does not resolve.
    DependencyNameNotResolved;
    /// It may not do what it wants to.
    PermissionDenied;
    /// A file is missing.
    FileNotFound;
    /// A module, class or shared library is missing.
    LibraryNotFound;
    /// An environment variable or setting is missing.
    MissingConfiguration;
    /// A setting is wrong.
    InvalidConfiguration;
    /// A flag or argument is wrong.
    BadArguments;
    /// TLS or a certificate.
    TlsError;
    /// Credentials were refused.
    AuthenticationFailed;
    /// Something it depends on answers with an error.
    DependencyError;
    /// Another process holds the lock.
    LockHeld;
    /// The data on its disk are broken, or of another version or cluster.
    DataIncompatible;
    /// A licence is missing or not valid any more.
    LicenseInvalid;
    /// The schema of a database, or a migration.
    DatabaseSchema;
    /// Disk, file descriptors and the like are used up.
    ResourceExhausted;
    /// What else the log says last.
    LoggedError;
    // Scheduling
    /// CPU, memory or another resource does not suffice.
    InsufficientResources;
    /// No node has the wanted labels.
    NodeSelectorMismatch;
    /// Taints that the pod does not tolerate.
    UntoleratedTaint;
    /// Affinity, anti-affinity or spread.
    AffinityUnsatisfied;
    /// A host port is taken.
    HostPortTaken;
    /// A claim is unbound, missing or elsewhere.
    VolumeUnavailable;
    /// Cordoned nodes.
    NodesUnschedulable;
    /// Too many pods on the nodes.
    TooManyPods;
    /// Other constraints.
    SchedulingConstraints;
    /// A scheduling gate.
    SchedulingGate;
    // Pod
    /// A volume cannot be mounted.
    VolumeMountFailed;
    /// A volume cannot be attached.
    VolumeAttachFailed;
    /// Network set-up.
    NetworkSetupFailed;
    /// The pod's sandbox.
    SandboxFailed;
    /// Dynamic resources.
    DeviceAllocationFailed;
    /// A device is not healthy.
    DeviceUnhealthy;
    /// The kubelet gives no sign of life.
    KubeletSilent;
    /// No event tells what it waits for.
    Unexplained;
    /// An init container runs and runs.
    InitWaiting;
    /// An init container must end first.
    ReadinessGate;
    /// The node ran out of a resource.
    NodePressure;
    /// The pod used more local storage than its limit.
    StorageLimitExceeded;
    /// Ran longer than allowed.
    DeadlineReached;
    /// The node had not enough left.
    NodeFull;
    /// The node's policy or features.
    NodeRefused;
    /// A more important pod.
    Preemption;
    /// The node was shut down.
    NodeShutDown;
    /// A planned disruption.
    Disruption;
    /// A finalizer that nobody removes.
    Finalizer;
    /// Containers that do not stop.
    ContainersNotStopped;
    /// The node is gone or silent.
    NodeLost;
    /// A resize must wait or cannot be done.
    ResizeRefused;
    // Workload
    /// A quota is used up.
    QuotaExceeded;
    /// A ServiceAccount that does not exist.
    MissingServiceAccount;
    /// Pod security or another admission check.
    AdmissionDenied;
    /// An admission webhook.
    WebhookDenied;
    /// Pods cannot be created for another reason.
    CreateRefused;
    /// The new revision does not come up.
    BadRevision;
    /// Too many pods of a Job failed.
    TooManyFailures;
    /// A container without end keeps a pod open whose work is done.
    WorkDone;
    /// A rule of the Job's failure policy.
    FailurePolicy;
    // Node
    /// The kubelet stopped posting.
    KubeletStopped;
    /// The node says it is not ready.
    NodeUnready;
    /// A node agent reports a problem of the node.
    NodeProblem;
    // Rules
    /// A rule of the user's.
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
