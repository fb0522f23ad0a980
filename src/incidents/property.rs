//! A model of the kubelet, an API server and a watch that all do what they may do, played against the books and the
//! incidents in at least 100,000 histories; and bugs put in on purpose, each of which the histories must find.
//!
//! The model knows which runs of a container have begun and ended in truth. A history is a list of steps, so that a failing
//! one is printed and shrunk to its core by proptest. Set `KUBEHEALER_HISTORIES` for another number of histories,
//! `KUBEHEALER_SEED` for others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::store::Booked;
use super::{IncidentEvent, Incidents, Sight, What, uid_of};
use crate::diagnosis::{Context, PodDiagnosis, Severity, diagnose, workload_of};
use crate::objects::pod::{Condition, ConditionStatus, ConditionType};
use crate::objects::{
    Container, ContainerState, ContainerStatus, Label, OwnerReference, Pod, Running, Terminated, Waiting,
};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// What a list does not show any more stays.
    DropDeletesOfRelists,
    /// An update that comes twice is booked twice.
    BookRepeatsTwice,
    /// Only `state` is looked at.
    ForgetLastState,
    /// What happened before the first list is booked.
    BaselineAtZero,
}

pub(super) fn break_pod(bug: Option<Bug>, ours: bool, mut pod: Pod) -> (bool, Pod) {
    match bug {
        Some(Bug::BaselineAtZero) => (true, pod),
        Some(Bug::ForgetLastState) => {
            for status in &mut pod.status.container_statuses {
                status.last_state = ContainerState::default();
            }
            (ours, pod)
        }
        _ => (ours, pod),
    }
}

pub(super) fn break_memory(bug: Option<Bug>, repeated: bool, booked: &[Booked]) -> &[Booked] {
    if bug == Some(Bug::BookRepeatsTwice) && repeated { &[] } else { booked }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Completed,
    Error,
    Oom,
    /// It cannot be started.
    Start,
    /// The runtime lost it; the kubelet makes up a record without an id.
    Vanished,
}

impl Exit {
    fn reason(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::Oom => "OOMKilled",
            Self::Start => "StartError",
            Self::Vanished => "ContainerStatusUnknown",
        }
    }

    fn code(self) -> i32 {
        match self {
            Self::Completed => 0,
            Self::Error => 1,
            Self::Oom | Self::Vanished => 137,
            Self::Start => 128,
        }
    }
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    /// A controller makes a pod.
    Create { workload: u8 },
    /// A container starts, or starts again.
    Start { pod: u8, container: u8 },
    /// A container ends.
    End { pod: u8, container: u8, exit: Exit },
    /// It starts again with its count lost: logs and containers were removed from the node.
    StartWithCountLost { pod: u8, container: u8 },
    /// The kubelet writes the status; several changes may come as one.
    Publish { pod: u8 },
    /// The pod is deleted: the mark, and its containers end.
    Delete { pod: u8 },
    /// The pod is removed, as it is published.
    Remove { pod: u8 },
    /// The node is gone: what it runs is never heard of again, and removed.
    LoseNode { node: u8 },
    /// Seconds go by.
    Wait { seconds: u16 },
    /// The watch delivers what it has.
    Deliver,
    /// The watch delivers the last update of a pod once more.
    Repeat { pod: u8 },
    /// The connection is cut: what was not delivered never will be.
    Cut,
    /// Everything is listed; nothing is delivered before that after a cut.
    List,
    /// Everything is listed from a cache that is behind.
    ListStale,
    /// The daemon is started anew.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let pod = any::<u8>;
    let exit = prop_oneof![
        2 => Just(Exit::Completed), 4 => Just(Exit::Error), 3 => Just(Exit::Oom), 1 => Just(Exit::Start), 1 => Just(Exit::Vanished)
    ];
    prop_oneof![
        3 => (0..3u8).prop_map(|workload| Step::Create { workload }),
        10 => (pod(), 0..2u8).prop_map(|(pod, container)| Step::Start { pod, container }),
        10 => (pod(), 0..2u8, exit).prop_map(|(pod, container, exit)| Step::End { pod, container, exit }),
        1 => (pod(), 0..2u8).prop_map(|(pod, container)| Step::StartWithCountLost { pod, container }),
        10 => pod().prop_map(|pod| Step::Publish { pod }),
        1 => pod().prop_map(|pod| Step::Delete { pod }),
        1 => pod().prop_map(|pod| Step::Remove { pod }),
        1 => (0..2u8).prop_map(|node| Step::LoseNode { node }),
        3 => (1..2000u16).prop_map(|seconds| Step::Wait { seconds }),
        8 => Just(Step::Deliver),
        2 => pod().prop_map(|pod| Step::Repeat { pod }),
        2 => Just(Step::Cut),
        2 => Just(Step::List),
        1 => Just(Step::ListStale),
        1 => Just(Step::Restart),
    ]
}

/// A container as it is in truth.
#[derive(Clone, Debug)]
struct Truth {
    /// The kubelet's count.
    restart_count: i32,
    /// Runs that began.
    begun: u32,
    /// How the runs ended so far, in order; one fewer than begun while one goes on.
    ends: Vec<Exit>,
    /// When the present run began.
    started: Timestamp,
    /// The record of the present end, and the one before.
    state: Option<(usize, Terminated)>,
    last: Option<(usize, Terminated)>,
    /// The next run is counted already.
    counted: bool,
    id: String,
}

/// What one published status shows of a container, in terms of the truth.
#[derive(Clone, Debug, Default)]
struct ShownTruth {
    begun: u32,
    ended: u32,
    /// Which of its ends (from 0) stand in it.
    records: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Published {
    pod: Pod,
    truth: [ShownTruth; 2],
}

#[derive(Clone, Debug)]
struct ModelPod {
    uid: String,
    workload: u8,
    node: u8,
    containers: [Truth; 2],
    deleting: bool,
    pod: Pod,
}

/// What the watcher should have booked of a container.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Ends before this are not ours.
    from: u32,
    /// The newest status that was delivered.
    last: ShownTruth,
    /// Ends that any delivered status showed.
    shown: BTreeSet<usize>,
}

enum Delivery {
    Apply(Arc<Published>),
    Delete(Arc<Published>),
}

struct World {
    now: Timestamp,
    version: u64,
    ids: u64,
    pods: Vec<ModelPod>,
    /// What the API server has, and had a while ago.
    api: BTreeMap<String, Arc<Published>>,
    behind: BTreeMap<String, Arc<Published>>,
    pending: Vec<Delivery>,
    connected: bool,
    first_list: bool,
    incidents: Incidents,
    log: Vec<IncidentEvent>,
    with_diagnosis: bool,
    bug: Option<Bug>,
    /// By uid; reset when the daemon is started anew.
    expected: BTreeMap<String, (u8, [Expected; 2])>,
    /// What is expected of pods that are gone.
    settled: BTreeMap<(u8, usize), BTreeMap<&'static str, u64>>,
    truths: BTreeMap<String, [Vec<Exit>; 2]>,
}

const CONTAINERS: [&str; 2] = ["app", "helper"];

impl World {
    fn new(bug: Option<Bug>, with_diagnosis: bool) -> Self {
        let mut world = Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            version: 1,
            ids: 0,
            pods: Vec::new(),
            api: BTreeMap::new(),
            behind: BTreeMap::new(),
            pending: Vec::new(),
            connected: false,
            first_list: true,
            incidents: Incidents { bug, ..Incidents::default() },
            log: Vec::new(),
            with_diagnosis,
            bug,
            expected: BTreeMap::new(),
            settled: BTreeMap::new(),
            truths: BTreeMap::new(),
        };
        world.step(&Step::Create { workload: 0 });
        world.step(&Step::List);
        world
    }

    fn pick(&self, pod: u8) -> Option<usize> {
        (!self.pods.is_empty()).then(|| usize::from(pod) % self.pods.len())
    }

    fn step(&mut self, step: &Step) {
        self.now = self.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        match *step {
            Step::Create { workload } => {
                if self.pods.len() < 6 {
                    self.create(workload);
                }
            }
            Step::Start { pod, container } => self.start(pod, container, false),
            // Provable only where the run before was shown, and shown before the count has risen again.
            Step::StartWithCountLost { pod, container } => {
                self.step(&Step::Deliver);
                let Some(at) = self.pick(pod).filter(|_| self.connected) else { return };
                let c = usize::from(container);
                let shown = self.expected.get(&self.pods[at].uid).map_or(0, |(_, e)| e[c].last.begun);
                if shown == self.pods[at].containers[c].begun {
                    self.start(pod, container, true);
                    self.publish(at);
                    self.step(&Step::Deliver);
                }
            }
            Step::End { pod, container, exit } => {
                if let Some(at) = self.pick(pod) {
                    let now = self.now;
                    self.pods[at].containers[usize::from(container)].end(exit, now);
                }
            }
            Step::Publish { pod } => {
                if let Some(at) = self.pick(pod) {
                    self.publish(at);
                }
            }
            Step::Delete { pod } => {
                if let Some(at) = self.pick(pod) {
                    let now = self.now;
                    let pod = &mut self.pods[at];
                    if !pod.deleting {
                        pod.deleting = true;
                        pod.pod.metadata.deletion_timestamp = now.into();
                    }
                    self.publish(at);
                    for container in 0..2 {
                        self.pods[at].containers[container].end(Exit::Error, now);
                    }
                }
            }
            Step::Remove { pod } => {
                if let Some(at) = self.pick(pod) {
                    if self.pods[at].deleting {
                        self.publish(at);
                    }
                    self.remove(at);
                }
            }
            Step::LoseNode { node } => {
                while let Some(at) = self.pods.iter().position(|p| p.node == node) {
                    self.remove(at);
                }
            }
            Step::Wait { seconds } => {
                self.now = self.now.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap();
                self.time_passes();
            }
            Step::Deliver => {
                for delivery in std::mem::take(&mut self.pending) {
                    self.deliver(delivery);
                }
            }
            Step::Repeat { pod } => {
                // Only what was delivered can be delivered again: nothing newer may wait.
                if self.connected
                    && self.pending.is_empty()
                    && let Some(uid) = self.pick(pod).map(|at| self.pods[at].uid.clone())
                    && let Some(published) = self.api.get(&uid).cloned()
                {
                    self.see(&published, Sight::Later);
                }
            }
            Step::Cut => {
                self.connected = false;
                self.pending.clear();
            }
            Step::List => {
                let list: Vec<Arc<Published>> = self.api.values().cloned().collect();
                self.list(&list);
                self.behind = self.api.clone();
            }
            Step::ListStale => {
                // A pod that the cache does not know yet is not shown, one that is gone since still is; what is newer comes
                // by the watch. A daemon that starts takes what it is given.
                if !self.first_list {
                    let list: Vec<Arc<Published>> = self
                        .behind
                        .iter()
                        .filter(|(uid, _)| self.api.contains_key(*uid))
                        .map(|(_, p)| Arc::clone(p))
                        .collect();
                    let known: Vec<Arc<Published>> = self
                        .api
                        .iter()
                        .filter(|(uid, _)| !self.behind.contains_key(*uid))
                        .map(|(_, p)| Arc::clone(p))
                        .collect();
                    self.list(&[list, known].concat());
                    let now: Vec<Arc<Published>> = self.api.values().cloned().collect();
                    for published in now {
                        self.see(&published, Sight::Later);
                    }
                }
            }
            Step::Restart => {
                self.incidents = Incidents { bug: self.bug, ..Incidents::default() };
                self.expected.clear();
                self.settled.clear();
                self.pending.clear();
                self.connected = false;
                self.first_list = true;
                self.step(&Step::List);
            }
        }
    }

    fn create(&mut self, workload: u8) {
        self.ids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.ids);
        let name = format!("w{workload}-{}", self.ids);
        let mut pod = Pod::default();
        pod.metadata.name.clone_from(&name);
        pod.metadata.namespace = "model".to_owned();
        pod.metadata.uid.clone_from(&uid);
        pod.metadata.creation_timestamp = self.now.into();
        pod.metadata.owner_references.push(OwnerReference {
            kind: "ReplicaSet".to_owned(),
            name: format!("w{workload}-5d8f"),
            uid: "x".to_owned(),
            controller: Some(true),
        });
        pod.metadata.labels.push(Label { key: "pod-template-hash".to_owned(), value: "5d8f".to_owned() });
        pod.spec.node_name = format!("node-{}", self.ids % 2);
        pod.spec.restart_policy = "Always".to_owned();
        pod.spec.containers = CONTAINERS
            .iter()
            .map(|name| Container { name: (*name).to_owned(), ..Container::default() })
            .collect();
        pod.status.phase = "Pending".to_owned();
        pod.status.start_time = self.now.into();
        let truth = Truth {
            restart_count: 0,
            begun: 0,
            ends: Vec::new(),
            started: self.now,
            state: None,
            last: None,
            counted: false,
            id: String::new(),
        };
        self.pods.push(ModelPod {
            uid,
            workload,
            node: (self.ids % 2) as u8,
            containers: [truth.clone(), truth],
            deleting: false,
            pod,
        });
        self.publish(self.pods.len() - 1);
    }

    fn start(&mut self, pod: u8, container: u8, lose_count: bool) {
        let Some(at) = self.pick(pod) else { return };
        self.ids += 1;
        let id = format!("containerd://{:064x}", self.ids);
        let pod = &mut self.pods[at];
        if pod.deleting {
            return;
        }
        let c = &mut pod.containers[usize::from(container)];
        if c.begun as usize > c.ends.len() || (lose_count && c.begun == 0) {
            return;
        }
        if lose_count {
            c.restart_count = 0;
            c.last = None;
        } else if c.begun > 0 {
            c.restart_count += i32::from(!c.counted);
            c.last = c.state.take().or(c.last.take());
        }
        c.counted = false;
        c.state = None;
        c.begun += 1;
        c.started = self.now;
        c.id = id;
    }

    /// The status that the kubelet would write now.
    fn publish(&mut self, at: usize) {
        let now = self.now;
        let model = &mut self.pods[at];
        self.version += 1;
        model.pod.metadata.resource_version = self.version.to_string();
        let mut truth = [ShownTruth::default(), ShownTruth::default()];
        let mut statuses = Vec::new();
        for (n, c) in model.containers.iter_mut().enumerate() {
            statuses.push(c.status(CONTAINERS[n]));
            truth[n] = ShownTruth {
                begun: c.begun,
                ended: c.ends.len() as u32,
                records: c.state.iter().chain(&c.last).map(|(n, _)| *n).collect(),
            };
        }
        let ready = statuses.iter().all(|s| s.ready);
        let pod = &mut model.pod;
        pod.status.phase =
            if statuses.iter().any(|s| s.state.running.is_some()) { "Running" } else { "Pending" }.to_owned();
        pod.status.container_statuses = statuses;
        pod.status.conditions = vec![Condition {
            kind: ConditionType::Ready,
            status: if ready { ConditionStatus::True } else { ConditionStatus::False },
            last_transition_time: now.into(),
            ..Condition::default()
        }];
        let published = Arc::new(Published { pod: pod.clone(), truth });
        self.truths.insert(model.uid.clone(), model.containers.clone().map(|c| c.ends));
        self.api.insert(model.uid.clone(), Arc::clone(&published));
        if self.connected {
            self.pending.push(Delivery::Apply(published));
        }
    }

    fn remove(&mut self, at: usize) {
        let model = self.pods.remove(at);
        let Some(published) = self.api.remove(&model.uid) else { return };
        let mut published = (*published).clone();
        self.version += 1;
        published.pod.metadata.resource_version = self.version.to_string();
        if self.connected {
            self.pending.push(Delivery::Delete(Arc::new(published)));
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Apply(published) => self.see(&published, Sight::Later),
            Delivery::Delete(published) => {
                self.expect(&published, Sight::Later);
                let now = self.now;
                self.log.extend(self.incidents.gone(uid_of(&published.pod), Some(&published.pod), now));
                self.gone(&published.pod.metadata.uid);
            }
        }
    }

    fn see(&mut self, published: &Published, sight: Sight) {
        self.expect(published, sight);
        let pod = &published.pod;
        let diagnosis = self.look(pod);
        let now = self.now;
        let events = self.incidents.apply(pod.clone(), &workload_of(pod), diagnosis, sight, now);
        self.log.extend(events);
    }

    fn look(&self, pod: &Pod) -> PodDiagnosis {
        if self.with_diagnosis {
            diagnose(pod, &Context::pod_only(), self.now)
        } else {
            PodDiagnosis::default()
        }
    }

    fn time_passes(&mut self) {
        if !self.with_diagnosis {
            return;
        }
        for uid in self.incidents.due(self.now) {
            let diagnosis = self.look(&self.incidents.pod(uid).unwrap().pod());
            let now = self.now;
            self.log.extend(self.incidents.recheck(uid, diagnosis, now));
        }
    }

    /// Takes note of what the daemon is shown.
    fn expect(&mut self, published: &Published, sight: Sight) {
        let uid = &published.pod.metadata.uid;
        let Some(workload) = self.pods.iter().find(|p| p.uid == *uid).map(|p| p.workload).or_else(|| {
            published.pod.metadata.name.strip_prefix('w').and_then(|n| n.split('-').next()?.parse().ok())
        }) else {
            return;
        };
        let new = !self.expected.contains_key(uid);
        let (_, expected) = self
            .expected
            .entry(uid.clone())
            .or_insert((workload, [Expected::default(), Expected::default()]));
        for (e, truth) in expected.iter_mut().zip(&published.truth) {
            if new && sight == Sight::First {
                e.from = truth.ended;
            }
            if truth.begun < e.last.begun || truth.ended < e.last.ended {
                continue;
            }
            e.last = truth.clone();
            e.shown.extend(truth.records.iter().filter(|n| **n as u32 >= e.from));
        }
    }

    fn gone(&mut self, uid: &str) {
        let Some((workload, expected)) = self.expected.remove(uid) else { return };
        for (n, e) in expected.iter().enumerate() {
            let truth = self.truths.get(uid).map(|t| t[n].clone()).unwrap_or_default();
            // Each run that was seen to have begun has ended.
            add(self.settled.entry((workload, n)).or_default(), e, e.last.begun, &truth);
        }
    }

    fn list(&mut self, list: &[Arc<Published>]) {
        self.pending.clear();
        let sight = if self.first_list { Sight::First } else { Sight::Later };
        let mark = self.incidents.mark();
        for published in list {
            self.see(published, sight);
        }
        let now = self.now;
        self.log.extend(self.incidents.sweep(mark, None, now));
        let gone: Vec<String> = self
            .expected
            .keys()
            .filter(|uid| !list.iter().any(|p| p.pod.metadata.uid == **uid))
            .cloned()
            .collect();
        gone.iter().for_each(|uid| self.gone(uid));
        self.first_list = false;
        self.connected = true;
    }

    fn check_books(&self) -> Result<(), TestCaseError> {
        let mut wanted = self.settled.clone();
        for (uid, (workload, expected)) in &self.expected {
            for (n, e) in expected.iter().enumerate() {
                let truth = self.truths.get(uid).map(|t| t[n].clone()).unwrap_or_default();
                add(wanted.entry((*workload, n)).or_default(), e, e.last.ended, &truth);
            }
        }
        wanted.retain(|_, reasons| !reasons.is_empty());
        let mut got: BTreeMap<(u8, usize), BTreeMap<&'static str, u64>> = BTreeMap::new();
        for (of, reasons) in self.incidents.terminations().iter() {
            let workload: u8 = of.home.workload.name.strip_prefix('w').unwrap().parse().unwrap();
            let n = CONTAINERS.iter().position(|c| **c == *of.container).unwrap();
            got.insert((workload, n), reasons.map(|(r, count)| (r.as_str(), count)).collect());
        }
        prop_assert_eq!(got, wanted);
        let tracked = self.api.len();
        prop_assert_eq!(self.incidents.pods(), tracked, "pods");
        Ok(())
    }
}

/// Adds the ends up to `until` that are expected.
fn add(reasons: &mut BTreeMap<&'static str, u64>, e: &Expected, until: u32, truth: &[Exit]) {
    for n in e.from..until {
        let shown = e.shown.contains(&(n as usize));
        let reason = truth.get(n as usize).filter(|_| shown).map_or("Unobserved", |exit| exit.reason());
        *reasons.entry(reason).or_default() += 1;
    }
}

impl Truth {
    fn end(&mut self, exit: Exit, now: Timestamp) {
        if self.begun as usize == self.ends.len() {
            return;
        }
        let vanished = exit == Exit::Vanished;
        let record = Terminated {
            exit_code: exit.code(),
            reason: exit.reason().to_owned(),
            message: String::new(),
            started_at: if vanished || exit == Exit::Start {
                Default::default()
            } else {
                self.started.into()
            },
            finished_at: if vanished { Default::default() } else { now.into() },
            container_id: if vanished { String::new() } else { self.id.clone() },
        };
        let number = self.ends.len();
        self.ends.push(exit);
        if vanished {
            // The kubelet counts it at once and shows it as the last state of a container that waits.
            self.restart_count += 1;
            self.counted = true;
            self.last = Some((number, record));
            self.state = None;
            self.id = String::new();
        } else {
            self.state = Some((number, record));
        }
    }

    fn status(&self, name: &str) -> ContainerStatus {
        let runs = self.begun as usize > self.ends.len();
        let state = if runs {
            ContainerState {
                running: Some(Running { started_at: self.started.into() }),
                ..ContainerState::default()
            }
        } else if let Some((_, record)) = &self.state {
            ContainerState { terminated: Some(Box::new(record.clone())), ..ContainerState::default() }
        } else {
            let reason = "ContainerCreating".to_owned();
            ContainerState {
                waiting: Some(Box::new(Waiting { reason, message: String::new() })),
                ..ContainerState::default()
            }
        };
        let last = self.last.as_ref().map(|(_, record)| Box::new(record.clone()));
        ContainerStatus {
            name: name.to_owned(),
            state,
            last_state: ContainerState { terminated: last, ..ContainerState::default() },
            ready: runs,
            restart_count: self.restart_count,
            container_id: self.id.clone(),
            started: Some(runs),
            ..ContainerStatus::default()
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn runner(histories: u32, seed: u64) -> TestRunner {
    TestRunner::new(Config {
        cases: histories,
        rng_seed: RngSeed::Fixed(number("KUBEHEALER_SEED", 7).wrapping_add(seed)),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    })
}

fn books(bug: Option<Bug>, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(bug, false);
    for step in steps {
        world.step(step);
    }
    for at in 0..world.pods.len() {
        world.publish(at);
    }
    world.step(&Step::List);
    world.check_books()
}

/// A quarter of all histories: in four tests, so that they run at the same time.
fn the_books_balance(quarter: u64) {
    let histories = (number("KUBEHEALER_HISTORIES", 100_000) / 4) as u32;
    let steps = proptest::collection::vec(step(), 1..30);
    if let Err(error) = runner(histories, quarter).run(&steps, |steps| books(None, &steps)) {
        panic!("{error}");
    }
}

#[test]
fn the_books_balance_in_every_history_1() {
    the_books_balance(1);
}

#[test]
fn the_books_balance_in_every_history_2() {
    the_books_balance(2);
}

#[test]
fn the_books_balance_in_every_history_3() {
    the_books_balance(3);
}

#[test]
fn the_books_balance_in_every_history_4() {
    the_books_balance(4);
}

#[test]
fn every_bug_that_is_put_in_on_purpose_is_found() {
    for bug in [Bug::DropDeletesOfRelists, Bug::BookRepeatsTwice, Bug::ForgetLastState, Bug::BaselineAtZero] {
        let steps = proptest::collection::vec(step(), 1..50);
        let result = runner(5_000, 0).run(&steps, |steps| books(Some(bug), &steps));
        assert!(result.is_err(), "{bug:?} is not found");
    }
}

/// After any history a pod comes to rest in one of these ways.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Healthy,
    CrashLoop,
    ImagePull,
    Gone,
}

fn rest() -> impl Strategy<Value = Rest> {
    prop_oneof![Just(Rest::Healthy), Just(Rest::CrashLoop), Just(Rest::ImagePull), Just(Rest::Gone)]
}

fn settles(steps: &[Step], rests: &[Rest]) -> Result<(), TestCaseError> {
    let mut world = World::new(None, true);
    for step in steps {
        world.step(step);
    }
    // What should be open in the end: uid and container.
    let mut wanted = BTreeSet::new();
    let mut pulling = BTreeSet::new();
    let mut gone = Vec::new();
    for (at, rest) in rests.iter().enumerate().take(world.pods.len()) {
        let number = at as u8;
        let uid = world.pods[at].uid.clone();
        let never_began = world.pods[at].containers.iter().all(|c| c.begun == 0);
        match rest {
            _ if world.pods[at].deleting => gone.push(uid),
            Rest::Healthy => (0..2).for_each(|container| world.start(number, container, false)),
            Rest::CrashLoop => {
                world.start(number, 1, false);
                for _ in 0..3 {
                    world.start(number, 0, false);
                    let now = world.now;
                    world.pods[at].containers[0].end(Exit::Error, now);
                    world.now = now.checked_add(SignedDuration::from_secs(20)).unwrap();
                }
                wanted.insert((uid, CONTAINERS[0]));
            }
            // Only a container that has never begun waits for its image.
            Rest::ImagePull if never_began => {
                wanted.extend(CONTAINERS.map(|name| (uid.clone(), name)));
                pulling.insert(uid);
            }
            Rest::ImagePull | Rest::Gone => gone.push(uid),
        }
    }
    for uid in gone {
        let at = world.pods.iter().position(|p| p.uid == uid).unwrap();
        world.remove(at);
    }
    for at in 0..world.pods.len() {
        world.publish(at);
        let uid = &world.pods[at].uid;
        if pulling.contains(uid) {
            let published = Arc::make_mut(world.api.get_mut(uid).unwrap());
            for status in &mut published.pod.status.container_statuses {
                status.state.waiting = Some(Box::new(Waiting {
                    reason: "ImagePullBackOff".to_owned(),
                    message: "Back-off pulling image \"x\": ErrImagePull: not found".to_owned(),
                }));
            }
        }
    }
    world.step(&Step::List);
    world.now = world.now.checked_add(SignedDuration::from_secs(200)).unwrap();
    world.time_passes();
    let open = |incidents: &Incidents| -> BTreeSet<(String, String)> {
        incidents.open().map(|i| (i.finding().uid, i.finding().container)).collect()
    };
    for (uid, container) in &wanted {
        let found = open(&world.incidents);
        prop_assert!(found.contains(&(uid.clone(), (*container).to_owned())), "{uid} {container}: {found:?}");
    }

    // A daemon that starts now sees the same, but for what only memory tells.
    let mut fresh = Incidents::default();
    let mark = fresh.mark();
    let mut log = Vec::new();
    for published in world.api.values() {
        let pod = &published.pod;
        log.extend(fresh.apply(pod.clone(), &workload_of(pod), world.look(pod), Sight::First, world.now));
    }
    log.extend(fresh.sweep(mark, None, world.now));
    let faces = |incidents: &Incidents| -> BTreeSet<(String, String, Option<Timestamp>)> {
        let known = incidents.open().filter(|i| i.kept.reason.as_str() != "FrequentRestarts");
        known.map(|i| (i.id.to_string(), i.kept.reason.as_str().to_owned(), i.kept.since)).collect()
    };
    prop_assert_eq!(faces(&fresh), faces(&world.incidents));
    prop_assert!(!log.iter().any(|e| e.what == What::Opened), "no news at a start");

    // What runs for long enough has recovered: only what still fails is open.
    world.now = world.now.checked_add(SignedDuration::from_secs(3_700)).unwrap();
    world.time_passes();
    let lasting: BTreeSet<(String, String)> =
        wanted.iter().map(|(uid, container)| (uid.clone(), (*container).to_owned())).collect();
    let healthy: BTreeSet<&String> = world
        .pods
        .iter()
        .filter(|p| p.containers.iter().all(|c| c.begun as usize > c.ends.len()))
        .map(|p| &p.uid)
        .collect();
    let still = open(&world.incidents);
    prop_assert!(lasting.is_subset(&still), "{lasting:?} should be open: {still:?}");
    prop_assert!(!still.iter().any(|(uid, _)| healthy.contains(uid)), "{healthy:?} are healthy: {still:?}");
    Ok(())
}

#[test]
fn what_fails_is_open_when_it_settles_and_a_restart_sees_the_same() {
    let histories = (number("KUBEHEALER_HISTORIES", 100_000) / 50).max(1) as u32;
    let all = (proptest::collection::vec(step(), 1..40), proptest::collection::vec(rest(), 6));
    if let Err(error) = runner(histories, 0).run(&all, |(steps, rests)| settles(&steps, &rests)) {
        panic!("{error}");
    }
}

/// Nothing but deletions and completions ever happens: nothing may open.
#[test]
fn no_incident_opens_for_an_expected_end() {
    let calm = prop_oneof![
        3 => (0..3u8).prop_map(|workload| Step::Create { workload }),
        8 => (any::<u8>(), 0..2u8).prop_map(|(pod, container)| Step::Start { pod, container }),
        8 => any::<u8>().prop_map(|pod| Step::Publish { pod }),
        3 => any::<u8>().prop_map(|pod| Step::Delete { pod }),
        3 => any::<u8>().prop_map(|pod| Step::Remove { pod }),
        3 => (1..20u16).prop_map(|seconds| Step::Wait { seconds }),
        8 => Just(Step::Deliver),
        1 => Just(Step::Cut),
        2 => Just(Step::List),
        1 => Just(Step::Restart),
    ];
    let histories = (number("KUBEHEALER_HISTORIES", 100_000) / 50).max(1) as u32;
    let steps = proptest::collection::vec(calm, 1..25);
    let result = runner(histories, 0).run(&steps, |steps| {
        let mut world = World::new(None, true);
        for step in &steps {
            world.step(step);
        }
        // A pod that is deleted and stays is rightly called stuck.
        let loud = |e: &&IncidentEvent| {
            e.finding.severity > Severity::Info && e.finding.reason.as_str() != "StuckTerminating"
        };
        let loud: Vec<_> = world.log.iter().filter(loud).collect();
        prop_assert!(loud.is_empty(), "{:?}", loud);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
