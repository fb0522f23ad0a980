//! What the histories are played to: the daemon as it runs in a cluster, or its incidents behind a sink of this test's own. The
//! sink can be made wrong on purpose, which shows that the histories find faults.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use kubehealer::cluster::watch::{Resource, Watch, WatchHealth, WatchScope};
use kubehealer::daemon::{self, Settings, Target};
use kubehealer::diagnosis::world::Evidence;
use kubehealer::diagnosis::{PodDiagnosis, Sources, WorkloadRef, World};
use kubehealer::incidents::store::Mark;
use kubehealer::incidents::{FirstSeen, Incidents, uid_of};
use kubehealer::objects::{ContainerState, Pod};
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;

/// What a history is played to.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// The daemon.
    Daemon,
    /// The test's own sink, with a fault or without.
    Sink(Option<Mutant>),
}

/// A fault of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// What a list does not show any more stays.
    KeepsWhatAListLacks,
    /// An update that comes twice is counted twice.
    CountsRepeatsTwice,
    /// Only `state` is looked at.
    ForgetsLastState,
    /// What happened before the first list is counted.
    CountsThePast,
}

/// A subject that runs.
pub enum Running {
    Daemon(daemon::Running),
    Sink { incidents: Arc<RwLock<Incidents>>, tasks: JoinSet<()> },
}

impl Running {
    pub fn incidents(&self) -> &Arc<RwLock<Incidents>> {
        match self {
            Self::Daemon(running) => &running.incidents,
            Self::Sink { incidents, .. } => incidents,
        }
    }

    pub async fn stop(self) {
        match self {
            Self::Daemon(running) => running.stop().await,
            Self::Sink { mut tasks, .. } => tasks.shutdown().await,
        }
    }
}

impl Subject {
    pub async fn start(self, settings: Settings) -> Running {
        let Self::Sink(mutant) = self else { return Running::Daemon(daemon::start(settings).await.unwrap()) };
        let Target::Client(client, _) = settings.target else { panic!("a simulated cluster has a client") };
        let sink = Arc::new(Sink {
            incidents: Arc::default(),
            world: World::new(Sources { events: false, owners: false, nodes: false, logs: false }),
            clock: settings.clock,
            mutant,
        });
        let mut tasks = JoinSet::new();
        let watch = Watch::new(Resource::PODS, WatchScope::default(), settings.watch);
        let events = Arc::clone(&sink).events(watch.health());
        tasks.spawn(async move { match watch.run(client, events).await {} });
        let incidents = Arc::clone(&sink.incidents);
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                sink.time_passes();
            }
        });
        Running::Sink { incidents, tasks }
    }
}

/// Does with events what the daemon does, without evidence.
struct Sink {
    incidents: Arc<RwLock<Incidents>>,
    world: World,
    clock: daemon::Clock,
    mutant: Option<Mutant>,
}

impl Sink {
    fn incidents(&self) -> RwLockWriteGuard<'_, Incidents> {
        self.incidents.write()
    }

    fn judge(&self, pod: &Pod, workload: &WorkloadRef, now: Timestamp) -> PodDiagnosis {
        self.world.judge(pod, workload, &Evidence::default(), &mut |_, findings| (findings, None), now)
    }

    fn events(self: Arc<Self>, health: Arc<WatchHealth>) -> impl FnMut(Event<Pod>) {
        let mut mark: Option<Mark> = None;
        let mut is_first = true;
        let mut versions: HashMap<String, String> = HashMap::new();
        move |event| match event {
            Event::Init => mark = Some(self.incidents().mark()),
            Event::InitApply(pod) | Event::Apply(pod) => {
                let version = pod.metadata.resource_version.clone();
                let before = versions.insert(pod.metadata.uid.clone(), version.clone());
                let seen = match is_first {
                    true => FirstSeen::InFirstList,
                    false if health.is_catching_up() => FirstSeen::CatchingUp,
                    false => FirstSeen::Later,
                };
                self.apply(pod, seen, before == Some(version));
            }
            Event::Delete(pod) => {
                self.incidents().gone(uid_of(&pod), Some(&pod), (self.clock)());
            }
            Event::InitDone => {
                is_first = false;
                if self.mutant != Some(Mutant::KeepsWhatAListLacks) {
                    self.incidents().sweep(mark.take().unwrap(), None, (self.clock)());
                }
            }
        }
    }

    fn apply(&self, mut pod: Pod, mut seen: FirstSeen, is_repeated: bool) {
        let now = (self.clock)();
        let workload = self.world.owners.workload_of(&pod);
        let diagnosis = self.judge(&pod, &workload, now);
        let mut incidents = self.incidents();
        match self.mutant {
            Some(Mutant::CountsRepeatsTwice) if is_repeated => {
                // As if it were another pod: all that it shows is counted once more.
                incidents.gone(uid_of(&pod), None, now);
            }
            Some(Mutant::ForgetsLastState) => {
                for status in &mut pod.status.container_statuses {
                    status.last_state = ContainerState::default();
                }
            }
            Some(Mutant::CountsThePast) => {
                seen = FirstSeen::Later;
                pod.metadata.creation_timestamp = Default::default();
            }
            _ => {}
        }
        incidents.apply(&pod, &workload, diagnosis, seen, now);
    }

    fn time_passes(&self) {
        let now = (self.clock)();
        let mut incidents = self.incidents();
        for uid in incidents.due(now) {
            let Some(active) = incidents.pod(uid) else { continue };
            let diagnosis = self.judge(&active.pod(), &active.workload_key.workload, now);
            incidents.recheck(uid, diagnosis, now);
        }
    }
}
