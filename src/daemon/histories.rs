//! Histories of a cluster, played through the simulator's API server and the real watch into a whole daemon: containers that
//! start and end in every way, pods that are replaced, evicted, lost with their node, beneath a connection that is cut, answers
//! 410, falls silent, lists halves and old states; and a daemon that is started anew in the midst of it.
//!
//! In each run [`COMPANY`] histories, each in a namespace of its own, share one API server, one daemon and one [`Weather`],
//! which keeps a history as cheap as its own pods are. Whatever the daemon booked, in every namespace, must be what the model
//! knows to have happened and to have been shown; what is open when all has settled must be what still fails; what ended as it
//! should must never have opened an incident; and a daemon started at the end must write the same metrics. One history that
//! fails is played again alone, shrunk to its core, and printed.
//!
//! What the daemon was shown follows from the weather alone: a watch that resumes shows every update, a list only the newest.
//! So an update that the watch loses on its way is found as well. The clock of the cluster stands while the daemon reconnects,
//! so a history is the same each time, whatever pauses are drawn.
//!
//! `KUBEHEALER_HISTORIES` is the number of histories, `KUBEHEALER_SEED` chooses others.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::{Running, Settings, Target, start};
use crate::cluster::watch;
use crate::diagnosis::{ContainerType, ReasonName, Severity};
use crate::incidents::Incidents;
use crate::incidents::bugs::Bug;
use crate::metrics::Metrics;
use crate::simulator::kubelet::{End, Pod};
use crate::simulator::{Cluster, Cut, Fault, client};

/// Histories that are played side by side.
const COMPANY: usize = 100;
/// Pods of one history at a time.
const PODS: usize = 5;

/// What the connection goes through while a round of steps is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weather {
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

impl Weather {
    /// Whether every update of the round is delivered, and in order.
    fn delivers_all(self) -> bool {
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

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        4 => Just(Weather::Calm),
        2 => Just(Weather::Late),
        2 => (1..2000u16).prop_map(Weather::Wait),
        1 => Just(Weather::End),
        1 => Just(Weather::MidLine),
        1 => any::<u8>().prop_map(Weather::MidLineAfter),
        1 => Just(Weather::ShortOutage),
        1 => Just(Weather::Stall),
        2 => Just(Weather::GoneInWatch),
        1 => Just(Weather::GoneAtRequest),
        1 => Just(Weather::Compacted),
        1 => (10..600u16).prop_map(Weather::LongOutage),
        1 => any::<u8>().prop_map(Weather::BrokenList),
        1 => Just(Weather::OldList),
        2 => Just(Weather::Restart),
        1 => any::<u8>().prop_map(Weather::RestartIntoBrokenList),
    ]
}

/// How the API is read, drawn for each run.
#[derive(Clone, Copy, Debug)]
struct Wire {
    protobuf: bool,
    /// Items per page; none for a list as a watch.
    pages: Option<u32>,
}

fn wire() -> impl Strategy<Value = Wire> {
    (any::<bool>(), prop_oneof![2 => Just(None), 1 => Just(Some(5)), 1 => Just(Some(50))])
        .prop_map(|(protobuf, pages)| Wire { protobuf, pages })
}

/// What kind of workload a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
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
    const ALL: [Self; 4] = [Self::Web, Self::Mesh, Self::Db, Self::Batch];

    fn containers(self) -> &'static [(&'static str, ContainerType)] {
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

    fn workload(self) -> (&'static str, &'static str) {
        match self {
            Self::Web => ("Deployment", "web"),
            Self::Mesh => ("Deployment", "mesh"),
            Self::Db => ("StatefulSet", "db"),
            Self::Batch => ("Job", "batch"),
        }
    }

    fn app(self) -> usize {
        if self == Self::Mesh { 2 } else { 0 }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Completed,
    Error,
    Oom,
    Terminated,
}

impl Exit {
    fn end(self) -> End {
        match self {
            Self::Completed => End::exit(0),
            Self::Error => End::exit(1),
            Self::Oom => End::oom(),
            Self::Terminated => End::exit(143),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error | Self::Terminated => "Error",
            Self::Oom => "OOMKilled",
        }
    }
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
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

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        2 => Just(Exit::Completed), 4 => Just(Exit::Error), 3 => Just(Exit::Oom), 1 => Just(Exit::Terminated)
    ]
}

fn stormy() -> impl Strategy<Value = Step> {
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
fn calm() -> impl Strategy<Value = Step> {
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

/// How a pod comes to rest when the history is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Healthy,
    CrashLoop,
    OomLoop,
    ImagePull,
    Gone,
}

/// What happens in one namespace.
#[derive(Clone, Debug)]
struct History {
    /// Only what is meant to happen, so no incident may open.
    calm: bool,
    /// What is there before the daemon.
    first: Step,
    /// One list of steps for each weather.
    rounds: Vec<Vec<Step>>,
    rests: Vec<Rest>,
}

/// Rounds of a run, at most.
const ROUNDS: usize = 8;

fn history() -> impl Strategy<Value = History> {
    let rounds =
        |step: BoxedStrategy<Step>| proptest::collection::vec(proptest::collection::vec(step, 0..6), ROUNDS);
    let rest = prop_oneof![
        4 => Just(Rest::Healthy),
        2 => Just(Rest::CrashLoop),
        1 => Just(Rest::OomLoop),
        2 => Just(Rest::ImagePull),
        3 => Just(Rest::Gone)
    ];
    let stormy = (any::<u8>(), rounds(stormy().boxed()), proptest::collection::vec(rest, PODS)).prop_map(
        |(first, rounds, rests)| History { calm: false, first: Step::Create(first), rounds, rests },
    );
    let calm = (any::<u8>(), rounds(calm().boxed())).prop_map(|(first, rounds)| History {
        calm: true,
        first: Step::Launch(first),
        rounds,
        rests: vec![Rest::Healthy; PODS],
    });
    prop_oneof![4 => stormy, 1 => calm]
}

/// A container as it is in truth.
#[derive(Clone, Debug, Default)]
struct Truth {
    /// Runs that began.
    begun: u32,
    /// How the runs ended so far; one fewer than begun while one goes on.
    ends: Vec<&'static str>,
    /// Which end stands in `state`, and which in `lastState`.
    state: Option<u32>,
    last: Option<u32>,
    /// It waits for its image.
    pulls: bool,
}

impl Truth {
    fn runs(&self) -> bool {
        self.begun as usize > self.ends.len()
    }

    fn ended(&self) -> u32 {
        self.ends.len() as u32
    }
}

/// A pod as it was written once.
#[derive(Debug)]
struct Written {
    player: usize,
    kind: Kind,
    uid: String,
    truths: Vec<Truth>,
}

/// What the daemon should have booked of a container.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Ends before this are not ours.
    from: u32,
    /// The newest status that was delivered.
    last: Truth,
    /// Ends that any delivered status showed.
    shown: BTreeSet<u32>,
}

type Books = BTreeMap<(&'static str, String, String, &'static str), BTreeMap<String, u64>>;

/// How often what has happened.
#[derive(Clone, Debug, Default)]
struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    fn saw(&mut self, what: &'static str) {
        self.saw_times(what, 1);
    }

    fn saw_times(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.saw_times(what, *times));
    }
}

/// The API's side: the cluster, and what was written into it.
struct Writer {
    cluster: Cluster,
    /// What there is, by namespace and name, in the order of lists.
    there: BTreeMap<(String, String), Arc<Written>>,
    /// What was written since the daemon was last told everything.
    untold: Vec<(bool, Arc<Written>)>,
    seen: Coverage,
}

impl Writer {
    fn wrote(&mut self, player: usize, place: &Place) {
        let written = Arc::new(Written {
            player,
            kind: place.kind,
            uid: place.pod.uid().to_owned(),
            truths: place.truths.clone(),
        });
        self.there.insert(place.key(), Arc::clone(&written));
        self.untold.push((true, written));
    }

    fn publish(&mut self, player: usize, place: &mut Place) {
        self.seen.saw("updates");
        self.seen.saw_times("changes that came as one update", u64::from(place.changes > 1));
        place.changes = 0;
        assert!(place.pod.publish(), "the pod is there");
        self.wrote(player, place);
    }

    fn remove(&mut self, place: &Place) {
        place.pod.remove();
        if let Some(written) = self.there.remove(&place.key()) {
            self.untold.push((false, written));
        }
    }
}

struct Place {
    pod: Pod,
    kind: Kind,
    node: u8,
    truths: Vec<Truth>,
    deleting: bool,
    /// Evicted.
    failed: bool,
    /// Since the status was written.
    changes: u32,
}

impl Place {
    fn key(&self) -> (String, String) {
        (self.pod.namespace().to_owned(), self.pod.name().to_owned())
    }

    fn name(&self, container: usize) -> &'static str {
        self.kind.containers()[container].0
    }

    fn start(&mut self, c: usize, counted: bool) {
        let name = self.name(c);
        let truth = &mut self.truths[c];
        let over = self.kind == Kind::Batch && truth.begun > 0;
        if truth.runs() || self.deleting || self.failed || over {
            return;
        }
        truth.begun += 1;
        truth.pulls = false;
        let state = truth.state.take();
        if counted {
            truth.last = state.or(truth.last);
            self.pod.start(name);
        } else {
            truth.last = None;
            self.pod.start_uncounted(name);
        }
        self.changes += 1;
    }

    fn end(&mut self, c: usize, exit: Exit, seen: &mut Coverage) {
        let (name, kind) = self.kind.containers()[c];
        let truth = &mut self.truths[c];
        if !truth.runs() {
            return;
        }
        truth.state = Some(truth.ended());
        truth.ends.push(exit.reason());
        self.pod.end(name, &exit.end());
        self.changes += 1;
        seen.saw(match exit {
            Exit::Completed => "exit 0",
            Exit::Error => "exit 1",
            Exit::Oom => "exit 137, out of memory",
            Exit::Terminated => "exit 143",
        });
        seen.saw_times("ends of init containers", u64::from(kind == ContainerType::Init));
        seen.saw_times("ends of sidecars", u64::from(kind == ContainerType::Sidecar));
    }

    /// The container has ended, or never began, and the kubelet says that it waits.
    fn wait(&mut self, c: usize, seen: &mut Coverage) {
        let name = self.name(c);
        let truth = &mut self.truths[c];
        if truth.runs() || self.deleting || self.failed || self.kind == Kind::Batch && truth.begun > 0 {
            return;
        }
        truth.last = truth.state.take().or(truth.last);
        if truth.begun > 0 {
            seen.saw("back-offs after an end");
            let message = format!("back-off 10s restarting failed container={name}");
            self.pod.wait(name, "CrashLoopBackOff", &message);
        } else {
            truth.pulls = true;
            seen.saw("back-offs of an image pull");
            let message = "Back-off pulling image \"registry.example.com/app:1\": ErrImagePull: not found";
            self.pod.wait(name, "ImagePullBackOff", message);
        }
        self.changes += 1;
    }
}

/// One history on its way.
struct Player {
    number: usize,
    calm: bool,
    namespace: String,
    places: Vec<Place>,
    names: u32,
    /// By uid; begins anew with the daemon.
    expected: BTreeMap<String, (Kind, Vec<Expected>)>,
    /// What is expected of pods that are gone.
    settled: BTreeMap<(Kind, usize), BTreeMap<&'static str, u64>>,
    failure: Option<String>,
}

impl Player {
    fn new(number: usize, calm: bool) -> Self {
        Self {
            number,
            calm,
            namespace: format!("history-{number:03}"),
            places: Vec::new(),
            names: 0,
            expected: BTreeMap::new(),
            settled: BTreeMap::new(),
            failure: None,
        }
    }

    fn fails(&mut self, how: String) {
        self.failure.get_or_insert(how);
    }

    fn pick(&self, pod: u8) -> Option<usize> {
        (!self.places.is_empty()).then(|| usize::from(pod) % self.places.len())
    }

    fn step(&mut self, step: &Step, weather: Weather, api: &mut Writer) {
        let number = self.number;
        let pod = match *step {
            Step::Create(kind) | Step::Launch(kind) => {
                if self.places.len() < PODS && weather != Weather::OldList {
                    let at = self.create(Kind::ALL[usize::from(kind) % Kind::ALL.len()], api);
                    if matches!(step, Step::Launch(_)) {
                        self.launch(at, api);
                    }
                }
                return;
            }
            Step::LoseNode(node) => {
                while let Some(at) = self.places.iter().position(|p| p.node == node % 2) {
                    if weather == Weather::OldList {
                        return;
                    }
                    api.seen.saw("pods lost with their node");
                    let place = self.places.remove(at);
                    api.remove(&place);
                }
                return;
            }
            Step::Start(pod, _)
            | Step::End(pod, ..)
            | Step::FailToStart(pod, _)
            | Step::Vanish(pod, _)
            | Step::StartUncounted(pod, _)
            | Step::BackOff(pod, _)
            | Step::Publish(pod)
            | Step::Delete(pod, _)
            | Step::Remove(pod)
            | Step::Drain(pod, _)
            | Step::Replace(pod)
            | Step::Evict(pod)
            | Step::Finish(pod) => pod,
        };
        let Some(at) = self.pick(pod) else { return };
        let place = &mut self.places[at];
        let c = |container: u8| usize::from(container) % place.truths.len();
        match *step {
            Step::Start(_, container) => place.start(c(container), true),
            Step::End(_, container, exit) => place.end(c(container), exit, &mut api.seen),
            Step::FailToStart(_, container) => {
                let c = c(container);
                let name = place.name(c);
                let truth = &mut place.truths[c];
                if !truth.runs() && !place.deleting && !place.failed && place.kind != Kind::Batch {
                    truth.last = Some(truth.ended());
                    truth.state = None;
                    truth.begun += 1;
                    truth.pulls = false;
                    truth.ends.push("StartError");
                    place.pod.fail_to_start(name, "exec: \"serve\": executable file not found in $PATH");
                    place.changes += 1;
                    api.seen.saw("starts that failed");
                }
            }
            Step::Vanish(_, container) => {
                let c = c(container);
                let name = place.name(c);
                let truth = &mut place.truths[c];
                if truth.runs() && !place.deleting && !place.failed && place.kind != Kind::Batch {
                    truth.last = Some(truth.ended());
                    truth.ends.push("ContainerStatusUnknown");
                    place.pod.vanish(name);
                    place.changes += 1;
                    api.seen.saw("containers that the runtime lost");
                }
            }
            Step::StartUncounted(_, container) => {
                let c = c(container);
                // Provable only where the run before was shown, and its end before the count has risen again.
                if weather.delivers_all() && place.truths[c].begun > 0 && !place.truths[c].runs() {
                    let began = place.truths[c].begun;
                    api.publish(number, place);
                    place.start(c, false);
                    if place.truths[c].begun > began {
                        api.seen.saw("restartCounts that fell");
                        api.publish(number, place);
                    }
                }
            }
            Step::BackOff(_, container) => place.wait(c(container), &mut api.seen),
            Step::Publish(_) => api.publish(number, place),
            Step::Delete(_, exit) => {
                if !place.deleting {
                    place.deleting = true;
                    place.pod.mark_deleted(30);
                    api.seen.saw("graceful deletions");
                }
                api.publish(number, place);
                (0..place.truths.len()).for_each(|c| place.end(c, exit, &mut api.seen));
            }
            Step::Finish(_) => {
                if place.kind == Kind::Batch {
                    place.end(0, Exit::Completed, &mut api.seen);
                    api.publish(number, place);
                }
            }
            Step::Evict(_) => {
                if !place.failed && !place.deleting && place.kind != Kind::Batch {
                    place.failed = true;
                    place.pod.fail("Evicted", "The node was low on resource: memory. ");
                    api.seen.saw("evictions");
                    (0..place.truths.len()).for_each(|c| place.end(c, Exit::Error, &mut api.seen));
                    api.publish(number, place);
                }
            }
            // What is listed old must still be there.
            _ if weather == Weather::OldList => {}
            Step::Remove(_) => {
                if place.deleting {
                    api.publish(number, place);
                }
                let place = self.places.remove(at);
                api.remove(&place);
            }
            Step::Drain(_, exit) => {
                let mut place = self.places.remove(at);
                if !place.deleting {
                    place.deleting = true;
                    place.pod.mark_deleted(30);
                    api.seen.saw("graceful deletions");
                    api.publish(number, &mut place);
                }
                (0..place.truths.len()).for_each(|c| place.end(c, exit, &mut api.seen));
                api.publish(number, &mut place);
                api.remove(&place);
            }
            Step::Replace(_) => {
                let Some(at) = self.places.iter().position(|p| p.kind == Kind::Db) else { return };
                let old = self.places.remove(at);
                api.remove(&old);
                api.seen.saw("names used again");
                let at = self.create_named(Kind::Db, old.pod.name(), api);
                self.launch(at, api);
            }
            Step::Create(_) | Step::Launch(_) | Step::LoseNode(_) => {}
        }
    }

    fn create(&mut self, kind: Kind, api: &mut Writer) -> usize {
        let name = match kind {
            Kind::Db => {
                let taken = |name: &str| self.places.iter().any(|p| p.pod.name() == name);
                (0..).map(|n| format!("db-{n}")).find(|name| !taken(name)).unwrap()
            }
            Kind::Web => format!("web-5d8f-{}", self.names),
            Kind::Mesh => format!("mesh-77c4-{}", self.names),
            Kind::Batch => format!("batch-{}", self.names),
        };
        self.create_named(kind, &name, api)
    }

    fn create_named(&mut self, kind: Kind, name: &str, api: &mut Writer) -> usize {
        self.names += 1;
        let (workload, of) = kind.workload();
        let (owner, owner_name, hash) = match kind {
            Kind::Web => ("ReplicaSet", "web-5d8f", Some("5d8f")),
            Kind::Mesh => ("ReplicaSet", "mesh-77c4", Some("77c4")),
            Kind::Db | Kind::Batch => (workload, of, None),
        };
        let spec = |of: ContainerType| -> Vec<_> {
            let containers = kind.containers().iter().filter(|(_, kind)| *kind == of);
            containers.map(|(name, _)| json!({"name": name, "image": "registry.example.com/app:1"})).collect()
        };
        let mut manifest = json!({
            "metadata": {"namespace": self.namespace, "name": name, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": owner, "name": owner_name, "uid": owner_name, "controller": true}]},
            "spec": {"containers": spec(ContainerType::App)}
        });
        if let Some(hash) = hash {
            manifest["metadata"]["labels"] = json!({"pod-template-hash": hash});
        }
        if kind == Kind::Batch {
            manifest["spec"]["restartPolicy"] = json!("Never");
        }
        if kind == Kind::Mesh {
            let mut inits = spec(ContainerType::Init);
            inits.extend(spec(ContainerType::Sidecar));
            inits[1]["restartPolicy"] = json!("Always");
            manifest["spec"]["initContainers"] = json!(inits);
        }
        let pod = Pod::create(&api.cluster, manifest).unwrap();
        let node = (self.names % 2) as u8;
        let truths = vec![Truth::default(); kind.containers().len()];
        let mut place = Place { pod, kind, node, truths, deleting: false, failed: false, changes: 0 };
        api.wrote(self.number, &place);
        place.pod.assign(if node == 0 { "node-a" } else { "node-b" });
        place.pod.accept();
        api.publish(self.number, &mut place);
        self.places.push(place);
        self.places.len() - 1
    }

    /// Everything starts as it should.
    fn launch(&mut self, at: usize, api: &mut Writer) {
        let place = &mut self.places[at];
        for c in 0..place.truths.len() {
            place.start(c, true);
            if place.kind.containers()[c].1 == ContainerType::Init {
                api.publish(self.number, place);
                place.end(c, Exit::Completed, &mut api.seen);
            }
        }
        api.publish(self.number, place);
    }

    /// Takes note of what the daemon is shown.
    fn expect(&mut self, written: &Written, first: bool) {
        let new = !self.expected.contains_key(&written.uid);
        let (_, expected) = self
            .expected
            .entry(written.uid.clone())
            .or_insert_with(|| (written.kind, vec![Expected::default(); written.truths.len()]));
        for (e, truth) in expected.iter_mut().zip(&written.truths) {
            if new && first {
                e.from = truth.ended();
            }
            e.shown.extend(truth.state.iter().chain(&truth.last).filter(|n| **n >= e.from));
            e.last = truth.clone();
        }
    }

    /// The daemon is shown that a pod is gone: each run that was seen to have begun has ended.
    fn gone(&mut self, uid: &str) {
        let Some((kind, expected)) = self.expected.remove(uid) else { return };
        for (n, e) in expected.iter().enumerate() {
            count(self.settled.entry((kind, n)).or_default(), e, e.last.begun);
        }
    }

    /// What the books should say.
    fn books(&self) -> Books {
        let mut all = self.settled.clone();
        for (kind, expected) in self.expected.values() {
            for (n, e) in expected.iter().enumerate() {
                count(all.entry((*kind, n)).or_default(), e, e.last.ended());
            }
        }
        all.retain(|_, reasons| !reasons.is_empty());
        let rows = all.into_iter().map(|((kind, n), reasons)| {
            let (container, container_type) = kind.containers()[n];
            let (workload, name) = kind.workload();
            let of = (workload, name.to_owned(), container.to_owned(), container_type.as_str());
            (of, reasons.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect())
        });
        rows.collect()
    }
}

/// Adds the ends up to `until` that are expected.
fn count(reasons: &mut BTreeMap<&'static str, u64>, e: &Expected, until: u32) {
    for n in e.from..until {
        let reason = e.last.ends.get(n as usize).filter(|_| e.shown.contains(&n));
        *reasons.entry(reason.copied().unwrap_or("Unobserved")).or_default() += 1;
    }
}

/// Several histories, one cluster, one daemon.
struct Run {
    api: Writer,
    wire: Wire,
    bug: Option<Bug>,
    daemon: Option<Running>,
    /// The daemon has not had a whole list yet.
    first: bool,
    now: Timestamp,
    players: Vec<Player>,
    beats: u32,
}

impl Run {
    fn new(wire: Wire, histories: &[&History], bug: Option<Bug>) -> Self {
        let cluster = Cluster::new();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        cluster.set_clock(now, 0.0);
        let api = Writer { cluster, there: BTreeMap::new(), untold: Vec::new(), seen: Coverage::default() };
        let players = histories.iter().enumerate().map(|(n, history)| Player::new(n, history.calm)).collect();
        let mut run = Self { api, wire, bug, daemon: None, first: true, now, players, beats: 0 };
        run.beat();
        run
    }

    /// Lets the clock of the cluster go on.
    fn tick(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.api.cluster.set_clock(self.now, 0.0);
    }

    /// A pod of no history that is written now and then, so that every watch delivers something.
    fn beat(&mut self) {
        self.beats += 1;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a-beat", "name": "beat",
            "annotations": {"beat": self.beats.to_string()}}, "spec": {"nodeName": "node-a"}, "status": {"phase": "Running"}});
        self.api.cluster.apply(pod).unwrap();
    }

    async fn start(&mut self) {
        let cluster = &self.api.cluster;
        let mut settings = Settings::new(Target::Client(client(cluster), "a simulated cluster".to_owned()));
        settings.listen = ([127, 0, 0, 1], 0).into();
        let clock = cluster.clone();
        settings.clock = Arc::new(move || clock.now());
        (settings.events, settings.owners, settings.nodes) = (false, false, false);
        settings.watch.protobuf = self.wire.protobuf;
        if let Some(page) = self.wire.pages {
            settings.watch.initial = watch::InitialList::Pages;
            settings.watch.page = page;
        }
        let daemon = start(settings).await.unwrap();
        // Its tasks have not run yet.
        daemon.incidents.write().unwrap_or_else(PoisonError::into_inner).bug = self.bug;
        self.daemon = Some(daemon);
        self.first = true;
    }

    async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let stale = daemon.incidents.read().unwrap_or_else(PoisonError::into_inner).stale();
            self.api.seen.saw_times("updates passed over as old", stale);
            daemon.stop().await;
        }
        for player in &mut self.players {
            player.expected.clear();
            player.settled.clear();
        }
        self.api.untold.clear();
    }

    fn incidents(&self) -> RwLockReadGuard<'_, Incidents> {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        daemon.incidents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> u64 {
        self.api.cluster.asked("watch", "pods") + self.api.cluster.asked("list", "pods")
    }

    /// Until the daemon has asked so many times since, and has taken in what it was answered.
    async fn attempts(&self, since: u64, attempts: u64) {
        for _ in 0..10_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.asked() >= since + attempts {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return;
            }
        }
        panic!("the daemon does not ask any more");
    }

    /// Until the daemon has been told everything.
    async fn told(&mut self) {
        for beat in [true, false] {
            let mut tries = 0;
            while self.api.cluster.told("pods") != Some(self.api.cluster.version()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                tries += 1;
                assert!(tries < 10_000, "the daemon never came back");
            }
            if beat {
                self.beat();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// The watch has resumed: everything was shown.
    fn was_shown_all(&mut self) {
        for (there, written) in std::mem::take(&mut self.api.untold) {
            let player = &mut self.players[written.player];
            player.expect(&written, false);
            if !there {
                player.gone(&written.uid);
            }
        }
    }

    /// Everything was listed again: only what there is was shown.
    fn was_shown_list(&mut self) {
        let mut updates: BTreeMap<&str, u64> = BTreeMap::new();
        self.api.untold.iter().for_each(|(_, w)| *updates.entry(&w.uid).or_default() += 1);
        let known = |w: &Written| self.players[w.player].expected.contains_key(&w.uid);
        let unseen = self.api.untold.iter().filter(|(there, w)| !there && !known(w)).count() as u64;
        let merged = updates.values().filter(|n| **n > 1).count() as u64;
        self.api.seen.saw_times("updates merged by a list", merged);
        self.api.seen.saw_times("pods gone and come between two looks", unseen);
        self.api.untold.clear();
        for written in self.api.there.values() {
            let player = &mut self.players[written.player];
            let known = player.expected.contains_key(&written.uid);
            let same = |(_, e): &(Kind, Vec<Expected>)| {
                e.iter().zip(&written.truths).all(|(e, t)| e.last.begun == t.begun && e.last.ends == t.ends)
            };
            let repeated = player.expected.get(&written.uid).is_some_and(same);
            self.api.seen.saw_times("updates that came again", u64::from(known && repeated));
            player.expect(written, self.first);
        }
        let there: BTreeSet<&str> = self.api.there.values().map(|w| w.uid.as_str()).collect();
        for player in &mut self.players {
            let gone: Vec<String> =
                player.expected.keys().filter(|uid| !there.contains(uid.as_str())).cloned().collect();
            self.api.seen.saw_times("pods gone before a list", gone.len() as u64);
            gone.iter().for_each(|uid| player.gone(uid));
        }
        self.first = false;
    }

    /// A list broke off after so many objects.
    fn was_shown_part(&mut self, objects: usize) {
        self.api.untold.clear();
        // The first object is the beat.
        for written in self.api.there.values().take(objects.saturating_sub(1)) {
            self.players[written.player].expect(written, self.first);
        }
    }

    /// One weather, and what happens in it.
    async fn round(&mut self, weather: Weather, steps: &[&[Step]]) {
        let cluster = self.api.cluster.clone();
        let asked = self.asked();
        let unavailable = || cluster.fault("* pods", Fault::Unavailable { retry_after: None });
        let was = cluster.version();
        match weather {
            Weather::Calm | Weather::Late | Weather::Wait(_) | Weather::GoneInWatch => {}
            Weather::End => cluster.cut_watches("pods", Cut::End),
            Weather::MidLine => cluster.cut_watches("pods", Cut::MidLine),
            Weather::MidLineAfter(after) => {
                cluster.fault("watch pods", Fault::CutWatchMidLine { after: usize::from(after) });
                cluster.cut_watches("pods", Cut::End);
            }
            Weather::ShortOutage => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
                self.attempts(asked, 1).await;
            }
            Weather::Stall => cluster.fault("watch pods", Fault::StallWatch),
            Weather::GoneAtRequest => {
                cluster.fault("watch pods", Fault::GoneOnWatch);
                cluster.cut_watches("pods", Cut::End);
                match self.pages() {
                    // It is listed at once; the next watch is refused again.
                    Some(pages) => {
                        self.attempts(asked, pages + 2).await;
                        self.was_shown_list();
                    }
                    None => self.attempts(asked, 1).await,
                }
            }
            Weather::Compacted => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
            }
            Weather::LongOutage(seconds) => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
                self.pass(seconds).await;
                self.attempts(asked, 6).await;
            }
            Weather::BrokenList(part) => {
                let part = self.break_list(part);
                cluster.cut_watches("pods", Cut::Gone);
                self.listed_part(asked, part).await;
            }
            Weather::OldList => {
                self.told().await;
                self.was_shown_all();
            }
            Weather::Restart => self.stop().await,
            Weather::RestartIntoBrokenList(part) => {
                self.stop().await;
                let part = self.break_list(part);
                self.start().await;
                self.listed_part(asked, part).await;
            }
        }
        let old = if weather == Weather::OldList { cluster.version() } else { was };

        let most = steps.iter().map(|steps| steps.len()).max().unwrap_or(0);
        for n in 0..most {
            self.tick(1);
            for (player, steps) in self.players.iter_mut().zip(steps) {
                if let Some(step) = steps.get(n) {
                    player.step(step, weather, &mut self.api);
                }
            }
        }
        if self.daemon.is_some() && weather != Weather::Late {
            self.after(weather, old).await;
            self.check();
        }
        if weather == Weather::Restart {
            self.api.seen.saw("restarts of the daemon");
            self.start().await;
            self.told().await;
            self.was_shown_list();
            self.check();
        }
    }

    async fn after(&mut self, weather: Weather, old: u64) {
        let cluster = self.api.cluster.clone();
        let name = match weather {
            Weather::Calm | Weather::Late | Weather::Restart => "calm",
            Weather::Wait(seconds) => {
                self.pass(seconds).await;
                "waits"
            }
            Weather::End => "watches that ended in order",
            Weather::MidLine => "watches cut within a line",
            Weather::MidLineAfter(_) => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                "watches cut after some events"
            }
            Weather::ShortOutage => "short outages",
            Weather::Stall => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                "silent watches"
            }
            Weather::GoneInWatch => {
                cluster.cut_watches("pods", Cut::Gone);
                "410 in a watch"
            }
            Weather::GoneAtRequest => "410 at the request",
            Weather::Compacted => {
                cluster.compact();
                "410 after a compaction"
            }
            Weather::LongOutage(_) => "long outages",
            Weather::BrokenList(_) => "lists cut in their midst",
            Weather::OldList => {
                self.told().await;
                self.was_shown_all();
                let asked = self.asked();
                cluster.fault("pods", Fault::Behind { version: old });
                cluster.cut_watches("pods", Cut::Gone);
                // With pages, the watch begins after the last of them.
                self.attempts(asked, self.pages().map_or(1, |pages| pages + 1)).await;
                "lists from a cache that is behind"
            }
            Weather::RestartIntoBrokenList(_) => "restarts into a list cut in its midst",
        };
        self.api.seen.saw(name);
        cluster.heal_all();
        self.told().await;
        if weather.delivers_all() || weather == Weather::OldList {
            self.was_shown_all();
        } else {
            self.was_shown_list();
        }
    }

    /// How many pages a list has; none for a list as a watch.
    fn pages(&self) -> Option<u64> {
        let objects = self.api.there.len() as u64 + 1;
        self.wire.pages.map(|size| objects.div_ceil(u64::from(size)))
    }

    /// Lets lists break off after a part of what there is: how many objects they show, and whether that is all.
    fn break_list(&self, part: u8) -> (usize, bool) {
        let objects = self.api.there.len() + 1;
        if let Some(page) = self.wire.pages {
            self.api.cluster.fault("list pods", Fault::GoneOnPage);
            return ((page as usize).min(objects), objects <= page as usize);
        }
        let after = usize::from(part) % objects;
        self.api.cluster.fault("watch pods", Fault::CutWatchMidLine { after });
        (after, false)
    }

    async fn listed_part(&mut self, asked: u64, (objects, whole): (usize, bool)) {
        let requests = if self.wire.pages.is_some() && !whole { 2 } else { 1 };
        self.attempts(asked, requests).await;
        if whole {
            self.was_shown_list();
        } else {
            self.was_shown_part(objects);
        }
    }

    /// Time passes for the cluster and the daemon, not faster than the daemon has something to do.
    async fn pass(&mut self, seconds: u16) {
        // What is on its way is not that late.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let until = self.now.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap();
        while self.now < until {
            let due = self.incidents().next_due().unwrap_or(until).min(until);
            let step = due.duration_since(self.now).as_secs().max(20);
            self.tick(step.min(until.duration_since(self.now).as_secs()));
            // The daemon looks every half second whether something is due.
            tokio::time::sleep(Duration::from_millis(600)).await;
            self.check_calm();
        }
    }

    /// Nothing that was meant to happen is an incident.
    fn check_calm(&mut self) {
        // A pod that is deleted and stays is rightly called stuck.
        let loud = |severity, reason: &ReasonName| {
            severity > Severity::Info && reason.as_str() != "StuckTerminating"
        };
        let calm = |namespace: &str| -> Option<usize> {
            let number: usize = namespace.strip_prefix("history-")?.parse().ok()?;
            self.players[number].calm.then_some(number)
        };
        let mut found = Vec::new();
        {
            let incidents = self.incidents();
            for pod in incidents.active_pods() {
                let of = pod.incidents.iter().find(|i| loud(i.compact.severity, &i.compact.reason));
                let of = of.zip(calm(&pod.workload_key.namespace));
                found.extend(of.map(|(incident, number)| (number, incident.finding().summary)));
            }
            for finding in incidents.resolved().map(|e| &e.finding) {
                let number = calm(&finding.namespace).filter(|_| loud(finding.severity, &finding.reason));
                found.extend(number.map(|number| (number, finding.summary.clone())));
            }
        }
        for (player, what) in found {
            self.players[player]
                .fails(format!("an incident was opened for what was meant to happen: {what}"));
        }
    }

    /// The daemon was told everything: its books are those of the model.
    fn check(&mut self) {
        self.check_calm();
        self.metrics();
        let mut books: BTreeMap<String, Books> = BTreeMap::new();
        let pods = {
            let incidents = self.incidents();
            for of in incidents.terminations().iter() {
                let kind = match of.workload_key.workload.kind.as_str() {
                    "Deployment" => "Deployment",
                    "StatefulSet" => "StatefulSet",
                    "Job" => "Job",
                    _ => "another",
                };
                let row = (
                    kind,
                    of.workload_key.workload.name.clone(),
                    of.container.to_string(),
                    of.container_type.as_str(),
                );
                let reasons = of.by_reason().map(|(reason, n)| (reason.as_str().to_owned(), n)).collect();
                books.entry(of.workload_key.namespace.clone()).or_default().insert(row, reasons);
            }
            incidents.pods()
        };
        let there = self.api.there.len() + 1;
        for player in &mut self.players {
            let booked = books.remove(&player.namespace).unwrap_or_default();
            let expected = player.books();
            self.api.seen.saw_times("looks at the books", 1);
            if booked != expected {
                player.fails(format!("booked: {booked:?}\n  in truth: {expected:?}"));
            } else if pods != there {
                player.fails(format!("the daemon knows {pods} pods, and there are {there}"));
            }
        }
    }

    /// Lets every pod come to rest, and looks at what is open then.
    async fn settle(&mut self, histories: &[&History]) {
        self.api.cluster.heal_all();
        self.told().await;
        self.was_shown_all();
        // What should be open in the end: player, pod, container, reason.
        let mut wanted: BTreeSet<(usize, String, String, &'static str)> = BTreeSet::new();
        let mut loops: Vec<(usize, usize, Exit)> = Vec::new();
        for (player, history) in self.players.iter_mut().zip(histories) {
            let mut rests = history.rests.iter().cycle();
            let mut at = 0;
            while at < player.places.len() {
                let rest = rests.next().copied().unwrap_or(Rest::Gone);
                let place = &mut player.places[at];
                let began = place.truths.iter().any(|t| t.begun > 0);
                let app = place.kind.app();
                let (number, kind, name) = (player.number, place.kind, place.pod.name().to_owned());
                let wants =
                    |c: usize, reason| (number, name.clone(), kind.containers()[c].0.to_owned(), reason);
                match rest {
                    _ if place.deleting || place.failed => {
                        let place = player.places.remove(at);
                        self.api.remove(&place);
                        continue;
                    }
                    Rest::Gone => {
                        let place = player.places.remove(at);
                        self.api.remove(&place);
                        continue;
                    }
                    Rest::ImagePull if !began => {
                        let waits: &[usize] = if place.kind == Kind::Web { &[0, 1] } else { &[0] };
                        waits.iter().for_each(|c| place.wait(*c, &mut self.api.seen));
                        let pulls = (0..place.truths.len()).filter(|c| place.truths[*c].pulls);
                        wanted.extend(pulls.map(|c| wants(c, "ImagePullBackOff")));
                    }
                    _ if place.kind == Kind::Batch => {
                        place.start(0, true);
                        place.end(0, Exit::Completed, &mut self.api.seen);
                        if place.truths[0].ends.last() != Some(&"Completed") {
                            let reason =
                                if place.truths[0].ends == ["OOMKilled"] { "OOMKilled" } else { "Error" };
                            wanted.insert(wants(0, reason));
                        }
                    }
                    _ => {
                        for c in 0..place.truths.len() {
                            let init = place.kind.containers()[c].1 == ContainerType::Init;
                            if init
                                && place.truths[c].state.is_some()
                                && place.truths[c].ends.last() == Some(&"Completed")
                            {
                                continue;
                            }
                            place.start(c, true);
                            if init {
                                place.end(c, Exit::Completed, &mut self.api.seen);
                            }
                        }
                        if matches!(rest, Rest::CrashLoop | Rest::OomLoop) {
                            let oom = rest == Rest::OomLoop;
                            wanted.insert(wants(app, if oom { "OOMKilled" } else { "CrashLoopBackOff" }));
                            loops.push((player.number, at, if oom { Exit::Oom } else { Exit::Error }));
                        }
                    }
                }
                let place = &mut player.places[at];
                self.api.publish(player.number, place);
                at += 1;
            }
        }
        for _ in 0..3 {
            self.crash(&loops).await;
        }
        // An incident is held for ten minutes through whatever else ends the container, which only memory can tell.
        for _ in 0..3 {
            self.pass(280).await;
            self.check();
            self.crash(&loops).await;
        }
        self.compare(true).await;
        // The longest that anything is remembered: an hour.
        for _ in 0..2 {
            self.pass(1800).await;
            self.crash(&loops).await;
        }
        self.pass(200).await;
        self.check();

        let mut open: Vec<BTreeSet<(String, String, String)>> = vec![BTreeSet::new(); self.players.len()];
        for incident in self.incidents().open() {
            let f = incident.finding();
            let number = f.namespace.strip_prefix("history-").and_then(|n| n.parse::<usize>().ok());
            let Some(number) = number else { continue };
            open[number].insert((f.pod, f.container, f.reason.as_str().to_owned()));
        }
        for player in &mut self.players {
            let wanted: BTreeSet<_> = wanted
                .iter()
                .filter(|w| w.0 == player.number)
                .map(|(_, pod, container, reason)| (pod.clone(), container.clone(), (*reason).to_owned()))
                .collect();
            self.api.seen.saw_times("incidents open in the end", wanted.len() as u64);
            let open = &open[player.number];
            if wanted != *open {
                let (more, less): (Vec<_>, Vec<_>) =
                    (open.difference(&wanted).collect(), wanted.difference(open).collect());
                player.fails(format!(
                    "open in the end, and should not be: {more:?}; should be, and is not: {less:?}"
                ));
            }
        }
        self.compare(false).await;
    }

    /// What loops starts, and ends two seconds later.
    async fn crash(&mut self, loops: &[(usize, usize, Exit)]) {
        for ends in [false, true] {
            for (player, at, exit) in loops {
                let place = &mut self.players[*player].places[*at];
                let app = place.kind.app();
                if ends {
                    place.end(app, *exit, &mut self.api.seen);
                    self.api.publish(*player, place);
                    place.wait(app, &mut self.api.seen);
                } else {
                    place.start(app, true);
                }
                self.api.publish(*player, place);
            }
            self.tick(if ends { 18 } else { 2 });
            self.told().await;
            self.was_shown_all();
        }
    }

    /// What a scrape shows.
    fn metrics(&self) -> String {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        let (metrics, mut text) = (Metrics::new(100_000).unwrap(), Vec::new());
        metrics.write(&daemon.incidents, self.now, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with("kubehealer_")) {
            let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
            assert!(seen.insert(series), "twice in one scrape: {line}");
        }
        text
    }

    /// A daemon that begins now writes the same metrics, but for what counts, and slow flapping that has gone on `lately`,
    /// which only memory can tell.
    async fn compare(&mut self, lately: bool) {
        let before = self.metrics();
        self.stop().await;
        self.start().await;
        self.told().await;
        self.was_shown_list();
        // What time alone decides is looked at twice a second.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let after = self.metrics();
        let flapping: BTreeSet<String> = before
            .lines()
            .chain(after.lines())
            .filter(|line| lately && line.contains("reason=\"FrequentRestarts\""))
            .filter_map(namespace_of)
            .collect();
        let (before, after) = (by_namespace(&before, &flapping), by_namespace(&after, &flapping));
        for lines in after.values() {
            self.api.seen.saw_times("series compared with a new daemon's", lines.len() as u64);
            let problems = lines.iter().filter(|line| line.starts_with("kubehealer_problem_pods{")).count();
            self.api.seen.saw_times("problems compared with a new daemon's", problems as u64);
        }
        // What is of no namespace comes last: it only differs with another, or is a puzzle.
        let namespaces: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for namespace in namespaces.into_iter().rev() {
            let (was, is) = (before.get(namespace), after.get(namespace));
            if was != is && (!namespace.is_empty() || self.players.iter().all(|p| p.failure.is_none())) {
                self.differs(namespace, was, is);
            }
        }
    }

    fn differs(&mut self, namespace: &str, was: Option<&BTreeSet<String>>, is: Option<&BTreeSet<String>>) {
        let none = BTreeSet::new();
        let (was, is) = (was.unwrap_or(&none), is.unwrap_or(&none));
        let player = namespace.strip_prefix("history-").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let (gone, new) = (was.difference(is), is.difference(was));
        let text = format!(
            "metrics after a restart: gone {:#?}, new {:#?}",
            gone.collect::<Vec<_>>(),
            new.collect::<Vec<_>>()
        );
        self.players[player].fails(text);
    }
}

fn namespace_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("namespace=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The lines about incidents and pods by namespace, empty for those of none; nothing that counts, nothing of the process, its
/// watches, or of these namespaces. With one of them left out, nothing over all namespaces either.
fn by_namespace(text: &str, without: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let own = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        line.starts_with("kubehealer_") && !name.ends_with("_total") && !name.starts_with("kubehealer_watch_")
    };
    for line in text.lines().filter(own) {
        let namespace = namespace_of(line).unwrap_or_default();
        if !without.contains(&namespace) && (without.is_empty() || !namespace.is_empty()) {
            all.entry(namespace).or_default().insert(line.to_owned());
        }
    }
    all
}

/// What came of a run: which histories failed, and how.
struct Outcome {
    failures: Vec<(usize, String)>,
    seen: Coverage,
}

fn play(wire: Wire, weathers: &[Weather], histories: &[&History], bug: Option<Bug>) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(wire, histories, bug);
        for (player, history) in run.players.iter_mut().zip(histories) {
            player.step(&history.first, Weather::Calm, &mut run.api);
        }
        run.api.seen.saw(if wire.protobuf { "runs over protobuf" } else { "runs over JSON" });
        run.api.seen.saw(if wire.pages.is_some() { "runs over pages" } else { "runs over lists as watches" });
        run.start().await;
        run.told().await;
        run.was_shown_list();
        run.check();
        for (n, weather) in weathers.iter().enumerate() {
            let steps: Vec<&[Step]> =
                histories.iter().map(|h| h.rounds.get(n).map_or(&[][..], Vec::as_slice)).collect();
            run.round(*weather, &steps).await;
            if run.players.iter().any(|p| p.failure.is_some()) {
                break;
            }
        }
        if run.players.iter().all(|p| p.failure.is_none()) {
            run.settle(histories).await;
        }
        run.stop().await;
        let failures = run.players.into_iter().filter_map(|p| Some((p.number, p.failure?))).collect();
        Outcome { failures, seen: run.api.seen }
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Plays run number `number`, and a history that fails again alone, ever less of it. Returns what was seen, or a report.
fn run(number_of_run: u64, bug: Option<Bug>) -> Result<Coverage, String> {
    let seed = number("KUBEHEALER_SEED", 7);
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&(number_of_run + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let wire = wire().new_tree(&mut runner).unwrap().current();
    let mut weathers = proptest::collection::vec(weather(), 3..=ROUNDS).new_tree(&mut runner).unwrap();
    let strategy = history();
    let mut trees: Vec<_> = (0..COMPANY).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
    let histories: Vec<History> = trees.iter().map(ValueTree::current).collect();
    let outcome = play(wire, &weathers.current(), &histories.iter().collect::<Vec<_>>(), bug);
    let Some((failed, how)) = outcome.failures.first() else { return Ok(outcome.seen) };

    let mut report = format!("seed {seed}, run {number_of_run}, history {failed}: {how}\n");
    let tree = &mut trees[*failed];
    let alone = |weathers: &[Weather], history: &History| {
        play(wire, weathers, &[history], bug).failures.pop().map(|(_, how)| how)
    };
    if alone(&weathers.current(), &tree.current()).is_none() {
        let _ = write!(
            report,
            "alone it does not fail; {wire:?}, {:?}, {:#?}",
            weathers.current(),
            tree.current()
        );
        return Err(report);
    }
    shrink(&mut weathers, |weathers| alone(weathers, &tree.current()).is_some());
    let weathers = weathers.current();
    shrink(tree, |history| alone(&weathers, history).is_some());
    let least = tree.current();
    let how = alone(&weathers, &least).unwrap_or_default();
    let _ = writeln!(report, "shrunk, {wire:?}: {how}\n  first: {:?}", least.first);
    for (weather, steps) in weathers.iter().zip(&least.rounds) {
        let _ = writeln!(report, "  {weather:?}: {steps:?}");
    }
    let _ = writeln!(report, "  rests: {:?}", least.rests);
    Err(report)
}

/// Makes it as small as it can be and still fail, in a bounded number of tries.
fn shrink<T: ValueTree>(tree: &mut T, fails: impl Fn(&T::Value) -> bool) {
    for _ in 0..500 {
        if !tree.simplify() {
            return;
        }
        while !fails(&tree.current()) {
            if !tree.complicate() {
                return;
            }
        }
    }
}

/// What must happen in histories, and how often in a hundred runs at least: else they are too dull to prove anything.
const MUST_BE_SEEN: [(&str, u64); 42] = [
    ("410 after a compaction", 5),
    ("410 at the request", 5),
    ("410 in a watch", 8),
    ("back-offs after an end", 1_000),
    ("back-offs of an image pull", 500),
    ("calm", 40),
    ("changes that came as one update", 5_000),
    ("containers that the runtime lost", 100),
    ("ends of init containers", 1_000),
    ("ends of sidecars", 500),
    ("evictions", 500),
    ("exit 0", 1_000),
    ("exit 1", 1_000),
    ("exit 137, out of memory", 1_000),
    ("exit 143", 1_000),
    ("graceful deletions", 1_000),
    ("incidents open in the end", 1_000),
    ("lists cut in their midst", 5),
    ("lists from a cache that is behind", 5),
    ("long outages", 5),
    ("looks at the books", 10_000),
    ("names used again", 500),
    ("pods gone before a list", 1_000),
    ("pods lost with their node", 1_000),
    ("problems compared with a new daemon's", 50),
    ("pods gone and come between two looks", 100),
    ("restartCounts that fell", 20),
    ("restarts into a list cut in its midst", 5),
    ("restarts of the daemon", 8),
    ("runs over JSON", 8),
    ("runs over pages", 8),
    ("runs over protobuf", 8),
    ("series compared with a new daemon's", 10_000),
    ("short outages", 5),
    ("silent watches", 5),
    ("starts that failed", 100),
    ("updates merged by a list", 1_000),
    ("updates passed over as old", 200),
    ("updates that came again", 1_000),
    ("waits", 8),
    ("watches cut after some events", 5),
    ("watches cut within a line", 5),
];

/// A quarter of all histories: in four tests, so that they run at the same time.
fn quarter(quarter: u64) {
    let all = number("KUBEHEALER_HISTORIES", 40_000).div_ceil(COMPANY as u64);
    let runs: Vec<u64> = (0..all).filter(|n| n % 4 == quarter).collect();
    let mut seen = Coverage::default();
    for number in &runs {
        match run(*number, None) {
            Ok(of_run) => seen.add(&of_run),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{} histories: {:#?}", runs.len() * COMPANY, seen.0);
    // In a few runs chance decides.
    if runs.len() >= 100 {
        for (what, times) in MUST_BE_SEEN {
            let times = times * runs.len() as u64 / 100;
            let seen = seen.0.get(what).copied().unwrap_or(0);
            assert!(seen >= times, "{what}: seen {seen} times in {} runs, rather than {times}", runs.len());
        }
    }
}

#[test]
fn the_books_balance_in_every_history_1() {
    quarter(0);
}

#[test]
fn the_books_balance_in_every_history_2() {
    quarter(1);
}

#[test]
fn the_books_balance_in_every_history_3() {
    quarter(2);
}

#[test]
fn the_books_balance_in_every_history_4() {
    quarter(3);
}

/// Plays until the bug is found, which must not take more than ten runs.
fn found(bug: Bug) {
    let report = (0..10).find_map(|number| run(number, Some(bug)).err());
    let report = report.unwrap_or_else(|| panic!("{bug:?} is not found in 1,000 histories"));
    println!("{bug:?}: {report}");
    let (_, least) = report.split_once("shrunk").expect("it fails alone as well");
    let (_, least) = least.split_once("first:").unwrap();
    let steps = least.matches('(').count();
    assert!(steps <= 12, "{steps} steps are not the core of it: {report}");
}

#[test]
fn a_list_whose_deletes_are_dropped_is_found() {
    found(Bug::DropDeletesOfRelists);
}

#[test]
fn a_repeated_update_that_is_booked_twice_is_found() {
    found(Bug::BookRepeatsTwice);
}

#[test]
fn a_last_state_that_is_forgotten_is_found() {
    found(Bug::ForgetLastState);
}

#[test]
fn a_baseline_at_zero_is_found() {
    found(Bug::BaselineAtZero);
}
