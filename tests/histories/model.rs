//! What may happen in a history and to its connection, and what is known to have happened.

use std::collections::{BTreeMap, BTreeSet};

use kubehealer::diagnosis::ContainerType;
use kubehealer::simulator::kubelet::Termination;
use proptest::prelude::*;

/// Histories that are played side by side.
pub const HISTORIES_PER_RUN: usize = 100;
/// Pods of one history at a time.
pub const PODS: usize = 5;

/// What the connection goes through while a round of steps is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Faults {
    /// Everything is delivered.
    Calm,
    /// What happens is delivered with the next round, or lost with it.
    Late,
    /// Time goes by, then everything is delivered.
    Wait(u16),
    /// The watch ends in order, and resumes.
    End,
    /// The watch breaks inside a line, and resumes.
    MidLine,
    /// Each watch breaks after so many events, and resumes.
    MidLineAfter(u8),
    /// 503 for a moment: the watch resumes.
    ShortOutage,
    /// The watch says nothing for a while, and goes on.
    Stall,
    /// 410 in the watch: everything is listed again.
    GoneInWatch,
    /// 410 as the answer to a watch that resumes.
    GoneAtRequest,
    /// The connection is lost until the past is forgotten.
    Compacted,
    /// 503 for minutes: everything is listed again.
    LongOutage(u16),
    /// Everything is listed again; the first list breaks off within, then more happens.
    BrokenList(u8),
    /// Everything is listed again, as it was before this round.
    OldList,
    /// The daemon ends, and begins again after the round.
    Restart,
    /// The same, and its first list breaks off within.
    RestartIntoBrokenList(u8),
}

impl Faults {
    /// Whether every update of the round is delivered, and in order.
    pub fn delivers_all(self) -> bool {
        matches!(
            self,
            Self::Calm
                | Self::Wait(_)
                | Self::End
                | Self::MidLine
                | Self::MidLineAfter(_)
                | Self::ShortOutage
                | Self::Stall
        )
    }
}

pub fn faults() -> impl Strategy<Value = Faults> {
    prop_oneof![
        4 => Just(Faults::Calm),
        2 => Just(Faults::Late),
        2 => (1..2000u16).prop_map(Faults::Wait),
        1 => Just(Faults::End),
        1 => Just(Faults::MidLine),
        1 => any::<u8>().prop_map(Faults::MidLineAfter),
        1 => Just(Faults::ShortOutage),
        1 => Just(Faults::Stall),
        2 => Just(Faults::GoneInWatch),
        1 => Just(Faults::GoneAtRequest),
        1 => Just(Faults::Compacted),
        1 => (10..600u16).prop_map(Faults::LongOutage),
        1 => any::<u8>().prop_map(Faults::BrokenList),
        1 => Just(Faults::OldList),
        2 => Just(Faults::Restart),
        1 => any::<u8>().prop_map(Faults::RestartIntoBrokenList),
    ]
}

/// How the API is read, drawn for each run.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    pub protobuf: bool,
    /// Items per page; none for a list as a watch.
    pub pages: Option<u32>,
}

pub fn wire() -> impl Strategy<Value = Wire> {
    (any::<bool>(), prop_oneof![2 => Just(None), 1 => Just(Some(5)), 1 => Just(Some(50))])
        .prop_map(|(protobuf, pages)| Wire { protobuf, pages })
}

/// What kind of workload a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Deployment of two containers.
    Web,
    /// A Deployment with an init container and a sidecar.
    Mesh,
    /// A StatefulSet: names are used again.
    Db,
    /// A Job whose pods never restart.
    Batch,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Web, Self::Mesh, Self::Db, Self::Batch];

    pub fn containers(self) -> &'static [(&'static str, ContainerType)] {
        match self {
            Self::Web => &[("app", ContainerType::App), ("helper", ContainerType::App)],
            Self::Mesh => &[
                ("setup", ContainerType::Init),
                ("proxy", ContainerType::Sidecar),
                ("app", ContainerType::App),
            ],
            Self::Db | Self::Batch => &[("app", ContainerType::App)],
        }
    }

    pub fn workload(self) -> (&'static str, &'static str) {
        match self {
            Self::Web => ("Deployment", "web"),
            Self::Mesh => ("Deployment", "mesh"),
            Self::Db => ("StatefulSet", "db"),
            Self::Batch => ("Job", "batch"),
        }
    }

    pub fn app(self) -> usize {
        if self == Self::Mesh { 2 } else { 0 }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Completed,
    Error,
    Oom,
    Terminated,
}

impl Exit {
    pub fn termination(self) -> Termination {
        match self {
            Self::Completed => Termination::exit(0),
            Self::Error => Termination::exit(1),
            Self::Oom => Termination::oom(),
            Self::Terminated => Termination::exit(143),
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error | Self::Terminated => "Error",
            Self::Oom => "OOMKilled",
        }
    }
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub enum Step {
    /// A controller makes a pod.
    Create(u8),
    /// It makes one that comes up as it should.
    Launch(u8),
    Start(u8, u8),
    End(u8, u8, Exit),
    /// The container is made and cannot be started.
    FailToStart(u8, u8),
    /// The runtime has lost it.
    Vanish(u8, u8),
    /// It starts with its count lost.
    StartUncounted(u8, u8),
    /// The kubelet says that it waits, after an end or for its image.
    BackOff(u8, u8),
    /// The kubelet writes the status; several changes may come as one.
    Publish(u8),
    /// The pod is marked as deleted, and its containers end.
    Delete(u8, Exit),
    /// The pod is removed.
    Remove(u8),
    /// The pod is deleted in good order from first to last.
    Drain(u8, Exit),
    /// A pod of the StatefulSet gives way to one of the same name.
    Replace(u8),
    /// The node is gone: what it ran is never heard of again, and removed.
    LoseNode(u8),
    /// The kubelet evicts the pod.
    Evict(u8),
    /// A Job's pod completes.
    Finish(u8),
}

pub fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        2 => Just(Exit::Completed), 4 => Just(Exit::Error), 3 => Just(Exit::Oom), 1 => Just(Exit::Terminated)
    ]
}

pub fn stormy() -> impl Strategy<Value = Step> {
    let pod = any::<u8>;
    prop_oneof![
        3 => pod().prop_map(Step::Create),
        1 => pod().prop_map(Step::Launch),
        10 => (pod(), pod()).prop_map(|(p, c)| Step::Start(p, c)),
        10 => (pod(), pod(), exit()).prop_map(|(p, c, e)| Step::End(p, c, e)),
        1 => (pod(), pod()).prop_map(|(p, c)| Step::FailToStart(p, c)),
        1 => (pod(), pod()).prop_map(|(p, c)| Step::Vanish(p, c)),
        1 => (pod(), pod()).prop_map(|(p, c)| Step::StartUncounted(p, c)),
        3 => (pod(), pod()).prop_map(|(p, c)| Step::BackOff(p, c)),
        8 => pod().prop_map(Step::Publish),
        1 => (pod(), exit()).prop_map(|(p, e)| Step::Delete(p, e)),
        1 => pod().prop_map(Step::Remove),
        1 => pod().prop_map(Step::Replace),
        1 => pod().prop_map(Step::LoseNode),
        1 => pod().prop_map(Step::Evict),
    ]
}

/// Only what is meant to happen.
pub fn calm() -> impl Strategy<Value = Step> {
    let pod = any::<u8>;
    let exit =
        || prop_oneof![2 => Just(Exit::Terminated), 1 => Just(Exit::Completed), 1 => Just(Exit::Error)];
    prop_oneof![
        3 => pod().prop_map(Step::Launch),
        2 => (pod(), exit()).prop_map(|(p, e)| Step::Drain(p, e)),
        1 => (pod(), exit()).prop_map(|(p, e)| Step::Delete(p, e)),
        2 => pod().prop_map(Step::Remove),
        1 => pod().prop_map(Step::Replace),
        1 => pod().prop_map(Step::LoseNode),
        2 => pod().prop_map(Step::Finish),
        1 => pod().prop_map(Step::Publish),
    ]
}

/// What becomes of a pod when the history is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    Healthy,
    CrashLoop,
    OomLoop,
    ImagePull,
    Gone,
}

/// What happens in one namespace.
#[derive(Clone, Debug)]
pub struct History {
    /// Only what is meant to happen, so no incident may open.
    pub calm: bool,
    /// What is there before the daemon.
    pub first: Step,
    /// One list of steps for each faults.
    pub rounds: Vec<Vec<Step>>,
    pub finals: Vec<Final>,
}

/// Rounds of a run, at most.
pub const ROUNDS: usize = 8;

pub fn history() -> impl Strategy<Value = History> {
    let rounds =
        |step: BoxedStrategy<Step>| proptest::collection::vec(proptest::collection::vec(step, 0..6), ROUNDS);
    let final_state = prop_oneof![
        4 => Just(Final::Healthy),
        2 => Just(Final::CrashLoop),
        1 => Just(Final::OomLoop),
        2 => Just(Final::ImagePull),
        3 => Just(Final::Gone)
    ];
    let stormy =
        (any::<u8>(), rounds(stormy().boxed()), proptest::collection::vec(final_state, PODS)).prop_map(
            |(first, rounds, finals)| History { calm: false, first: Step::Create(first), rounds, finals },
        );
    let calm = (any::<u8>(), rounds(calm().boxed())).prop_map(|(first, rounds)| History {
        calm: true,
        first: Step::Launch(first),
        rounds,
        finals: vec![Final::Healthy; PODS],
    });
    prop_oneof![4 => stormy, 1 => calm]
}

/// A container as it is in truth.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Runs that began.
    pub begun: u32,
    /// How the runs ended so far; one fewer than begun while one goes on.
    pub ends: Vec<&'static str>,
    /// Which end stands in `state`, and which in `lastState`.
    pub state: Option<u32>,
    pub last: Option<u32>,
    /// It waits for its image.
    pub pulls: bool,
}

impl Truth {
    pub fn runs(&self) -> bool {
        self.begun as usize > self.ends.len()
    }

    pub fn ended(&self) -> u32 {
        self.ends.len() as u32
    }
}

/// A pod as it was written once.
#[derive(Debug)]
pub struct Written {
    pub player: usize,
    pub kind: Kind,
    pub uid: String,
    pub truths: Vec<Truth>,
}

/// What the daemon should have counted of a container.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Ends before this are not ours.
    pub from: u32,
    /// The newest status that was delivered.
    pub last: Truth,
    /// Ends that any delivered status showed.
    pub shown: BTreeSet<u32>,
}

pub type Counts = BTreeMap<(&'static str, String, String, &'static str), BTreeMap<String, u64>>;

/// How often what has happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage(pub BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn saw(&mut self, what: &'static str) {
        self.saw_times(what, 1);
    }

    pub fn saw_times(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.saw_times(what, *times));
    }
}
