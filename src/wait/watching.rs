//! One view after another of what the watches show, with the logs of what fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, sleep, sleep_until};

use super::store::{Seen, Store};
use super::{Clock, CouldNotLook};
use crate::cluster::evidence::LogOf;
use crate::cluster::snapshot;
use crate::cluster::watch::Resource;
use crate::diagnosis::{ContainerLog, Snapshot, Survey, survey};
use crate::files::not_before;
use crate::objects::Revision;
use crate::select::{Kind, RevisionsThatMatter, logs_that_matter};

/// How long changes are gathered before they are judged: one write is followed by others.
const GATHER: Duration = Duration::from_millis(250);
/// How often it is judged when nothing changes: graces end.
const TICK: Duration = Duration::from_secs(1);
/// Logs that are read after one look.
const LOGS: usize = 20;

/// What the watches show at one instant, narrowed to what is asked for.
pub(super) struct View {
    pub(super) seen: Seen,
    pub(super) survey: Survey,
    pub(super) now: Timestamp,
}

/// The watches, and the logs that were read.
pub(super) struct Watching<'c> {
    client: &'c Client,
    pub(super) store: Store,
    logs: Logs,
    /// When the last view began. Large clusters take their time: what is done with a view is no more than a part of all time.
    viewed: Instant,
}

impl<'c> Watching<'c> {
    pub(super) fn new(client: &'c Client, namespaces: &[String], kinds: &[Kind]) -> Self {
        let store = Store::watching(client, namespaces, kinds);
        Self { client, store, logs: Logs::default(), viewed: Instant::now() }
    }

    /// What there is now; none before the watches have shown all of it. Logs of what fails are read first, until this time.
    pub(super) async fn view(
        &mut self,
        clock: &Clock,
        mut narrow: impl FnMut(&mut Snapshot),
        revisions: &[Revision],
        until: Instant,
    ) -> Result<Option<View>, CouldNotLook> {
        loop {
            if let Some((why, true)) = self.store.trouble() {
                return Err(CouldNotLook { what: format!("cannot watch pods: {why}"), hint: String::new() });
            }
            if !self.store.is_settled() || !self.store.has(Resource::PODS) {
                return Ok(None);
            }
            self.viewed = Instant::now();
            let mut seen = self.store.seen();
            narrow(&mut seen.snapshot);
            let now = not_before(&seen.snapshot, clock());
            seen.snapshot.revisions = revisions.to_vec();
            self.logs.add_to(&mut seen.snapshot);
            let survey = survey(&seen.snapshot, now);
            let wanted = self.logs.wanted(&survey, &seen.snapshot);
            if wanted.is_empty() || Instant::now() >= until {
                return Ok(Some(View { seen, survey, now }));
            }
            let wanted = self.logs.begin(wanted);
            let progress = snapshot::Progress::default();
            let (read, lacking) = self.store.beside(snapshot::logs(self.client, wanted, &progress)).await;
            self.logs.put(read, lacking);
        }
    }

    /// Until something has changed, or a second is over, or this time has come.
    pub(super) async fn pause(&mut self, until: Instant) {
        let took = self.viewed.elapsed();
        let changed = Arc::clone(&self.store.changed);
        let pause = async {
            tokio::select! {
                () = changed.notified() => sleep(GATHER.max(took * 4)).await,
                () = sleep_until(until.min(Instant::now() + TICK.max(took * 4))) => {}
            }
        };
        self.store.beside(pause).await;
    }

    /// The templates of these revisions.
    pub(super) async fn revisions(&mut self, wanted: RevisionsThatMatter) -> Vec<Revision> {
        self.store.beside(snapshot::revisions(self.client, wanted)).await
    }

    /// What could not be read, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.store.notes();
        notes.extend(self.logs.lacking.iter().cloned());
        notes
    }
}

/// Logs that were read, and of which run of the container: one is read once a run.
#[derive(Default)]
struct Logs {
    read: BTreeMap<LogOf, (i32, Option<ContainerLog>)>,
    /// What could not be read the last time, in words.
    lacking: Vec<String>,
}

impl Logs {
    /// Those to be read now, each with its run.
    fn wanted(&self, survey: &Survey, snapshot: &Snapshot) -> Vec<(LogOf, i32)> {
        let runs: BTreeMap<(&str, &str, &str), i32> = survey
            .findings
            .iter()
            .map(|f| {
                ((f.namespace.as_str(), f.pod.as_str(), f.container.as_str()), f.restart_count.unwrap_or(0))
            })
            .collect();
        let run = |log: &LogOf| {
            runs.get(&(log.namespace.as_str(), log.pod.as_str(), log.container.as_str()))
                .copied()
                .unwrap_or(0)
        };
        let all = logs_that_matter(survey, snapshot).into_iter().map(|log| (run(&log), log));
        let new = all.filter(|(run, log)| self.read.get(log).is_none_or(|(of, _)| of != run));
        new.map(|(run, log)| (log, run)).take(LOGS).collect()
    }

    /// They count as read from now on.
    fn begin(&mut self, wanted: Vec<(LogOf, i32)>) -> Vec<LogOf> {
        let begun = wanted.into_iter().map(|(log, run)| {
            self.read.insert(log.clone(), (run, None));
            log
        });
        begun.collect()
    }

    fn put(&mut self, read: Vec<ContainerLog>, lacking: Vec<String>) {
        self.lacking = lacking;
        for log in read {
            let of = LogOf {
                namespace: log.namespace.clone(),
                pod: log.pod.clone(),
                container: log.container.clone(),
                previous: log.previous,
            };
            if let Some((_, slot)) = self.read.get_mut(&of) {
                *slot = Some(log);
            }
        }
    }

    /// Puts them into the snapshot, and forgets those of pods that are gone.
    fn add_to(&mut self, snapshot: &mut Snapshot) {
        let metas = snapshot.pods.iter().map(|pod| &pod.metadata);
        let pods: BTreeSet<(&str, &str)> = metas.map(|m| (m.namespace.as_str(), m.name.as_str())).collect();
        self.read.retain(|log, _| pods.contains(&(log.namespace.as_str(), log.pod.as_str())));
        snapshot.logs = self.read.values().filter_map(|(_, log)| log.clone()).collect();
        snapshot.sources.logs = self.lacking.is_empty() || !snapshot.logs.is_empty();
    }
}
