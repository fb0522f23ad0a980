//! Several histories, one cluster, one daemon: plays them side by side, and compares the daemon with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubehealer::cluster::watch;
use kubehealer::daemon::{Settings, Target};
use kubehealer::diagnosis::{ContainerType, ReasonName, Severity};
use kubehealer::incidents::Incidents;
use kubehealer::metrics::Metrics;
use kubehealer::simulator::{Cluster, Cut, Fault, client};
use parking_lot::RwLockReadGuard;
use serde_json::json;

use super::model::*;
use super::player::*;
use super::subject::{Running, Subject};

/// Several histories, one cluster, one daemon.
pub struct Run {
    pub api: Writer,
    pub wire: Wire,
    pub subject: Subject,
    pub daemon: Option<Running>,
    /// The daemon has not had a whole list yet.
    pub first: bool,
    pub now: Timestamp,
    pub players: Vec<Player>,
    pub beats: u32,
}

impl Run {
    pub fn new(wire: Wire, histories: &[&History], subject: Subject) -> Self {
        let cluster = Cluster::new();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        cluster.set_clock(now, 0.0);
        let api =
            Writer { cluster, there: BTreeMap::new(), undelivered: Vec::new(), seen: Coverage::default() };
        let players = histories.iter().enumerate().map(|(n, history)| Player::new(n, history.calm)).collect();
        let mut run = Self { api, wire, subject, daemon: None, first: true, now, players, beats: 0 };
        run.beat();
        run
    }

    /// Lets the clock of the cluster go on.
    pub fn tick(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.api.cluster.set_clock(self.now, 0.0);
    }

    /// A pod of no history that is written now and then, so that every watch delivers something.
    pub fn beat(&mut self) {
        self.beats += 1;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a-beat", "name": "beat",
            "annotations": {"beat": self.beats.to_string()}}, "spec": {"nodeName": "node-a"}, "status": {"phase": "Running"}});
        self.api.cluster.apply(pod).unwrap();
    }

    pub async fn start(&mut self) {
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
        self.daemon = Some(self.subject.start(settings).await);
        self.first = true;
    }

    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let stale = daemon.incidents().read().stale();
            self.api.seen.saw_times("updates passed over as old", stale);
            daemon.stop().await;
        }
        for player in &mut self.players {
            player.expected.clear();
            player.settled.clear();
        }
        self.api.undelivered.clear();
    }

    pub fn incidents(&self) -> RwLockReadGuard<'_, Incidents> {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        daemon.incidents().read()
    }

    pub fn asked(&self) -> u64 {
        self.api.cluster.asked("watch", "pods") + self.api.cluster.asked("list", "pods")
    }

    /// Until the daemon has asked so many times since, and has taken in what it was answered.
    pub async fn attempts(&self, since: u64, attempts: u64) {
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
    pub async fn told(&mut self) {
        for beat in [true, false] {
            let mut tries = 0;
            while self.api.cluster.delivered("pods") != Some(self.api.cluster.version()) {
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
    pub fn expect_all(&mut self) {
        for (there, written) in std::mem::take(&mut self.api.undelivered) {
            let player = &mut self.players[written.player];
            player.expect(&written, false);
            if !there {
                player.gone(&written.uid);
            }
        }
    }

    /// Everything was listed again: only what there is was shown.
    pub fn expect_list(&mut self) {
        let mut updates: BTreeMap<&str, u64> = BTreeMap::new();
        self.api.undelivered.iter().for_each(|(_, w)| *updates.entry(&w.uid).or_default() += 1);
        let known = |w: &Written| self.players[w.player].expected.contains_key(&w.uid);
        let unseen = self.api.undelivered.iter().filter(|(there, w)| !there && !known(w)).count() as u64;
        let merged = updates.values().filter(|n| **n > 1).count() as u64;
        self.api.seen.saw_times("updates merged by a list", merged);
        self.api.seen.saw_times("pods gone and come between two looks", unseen);
        self.api.undelivered.clear();
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
    pub fn expect_part(&mut self, objects: usize) {
        self.api.undelivered.clear();
        // The first object is the beat.
        for written in self.api.there.values().take(objects.saturating_sub(1)) {
            self.players[written.player].expect(written, self.first);
        }
    }

    /// One faults, and what happens in it.
    pub async fn round(&mut self, faults: Faults, steps: &[&[Step]]) {
        let cluster = self.api.cluster.clone();
        let asked = self.asked();
        let unavailable = || cluster.fault("* pods", Fault::Unavailable { retry_after: None });
        let was = cluster.version();
        match faults {
            Faults::Calm | Faults::Late | Faults::Wait(_) | Faults::GoneInWatch => {}
            Faults::End => cluster.cut_watches("pods", Cut::End),
            Faults::MidLine => cluster.cut_watches("pods", Cut::MidLine),
            Faults::MidLineAfter(after) => {
                cluster.fault("watch pods", Fault::CutWatchMidLine { after: usize::from(after) });
                cluster.cut_watches("pods", Cut::End);
            }
            Faults::ShortOutage => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
                self.attempts(asked, 1).await;
            }
            Faults::Stall => cluster.fault("watch pods", Fault::StallWatch),
            Faults::GoneAtRequest => {
                cluster.fault("watch pods", Fault::GoneOnWatch);
                cluster.cut_watches("pods", Cut::End);
                match self.pages() {
                    // It is listed at once; the next watch is refused again.
                    Some(pages) => {
                        self.attempts(asked, pages + 2).await;
                        self.expect_list();
                    }
                    None => self.attempts(asked, 1).await,
                }
            }
            Faults::Compacted => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
            }
            Faults::LongOutage(seconds) => {
                unavailable();
                cluster.cut_watches("pods", Cut::End);
                self.pass(seconds).await;
                self.attempts(asked, 6).await;
            }
            Faults::BrokenList(part) => {
                let part = self.break_list(part);
                cluster.cut_watches("pods", Cut::Gone);
                self.listed_part(asked, part).await;
            }
            Faults::OldList => {
                self.told().await;
                self.expect_all();
            }
            Faults::Restart => self.stop().await,
            Faults::RestartIntoBrokenList(part) => {
                self.stop().await;
                let part = self.break_list(part);
                self.start().await;
                self.listed_part(asked, part).await;
            }
        }
        let old = if faults == Faults::OldList { cluster.version() } else { was };

        let most = steps.iter().map(|steps| steps.len()).max().unwrap_or(0);
        for n in 0..most {
            self.tick(1);
            for (player, steps) in self.players.iter_mut().zip(steps) {
                if let Some(step) = steps.get(n) {
                    player.step(step, faults, &mut self.api);
                }
            }
        }
        if self.daemon.is_some() && faults != Faults::Late {
            self.after(faults, old).await;
            self.check();
        }
        if faults == Faults::Restart {
            self.api.seen.saw("restarts of the daemon");
            self.start().await;
            self.told().await;
            self.expect_list();
            self.check();
        }
    }

    pub async fn after(&mut self, faults: Faults, old: u64) {
        let cluster = self.api.cluster.clone();
        let name = match faults {
            Faults::Calm | Faults::Late | Faults::Restart => "calm",
            Faults::Wait(seconds) => {
                self.pass(seconds).await;
                "waits"
            }
            Faults::End => "watches that ended in order",
            Faults::MidLine => "watches cut within a line",
            Faults::MidLineAfter(_) => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                "watches cut after some events"
            }
            Faults::ShortOutage => "short outages",
            Faults::Stall => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                "silent watches"
            }
            Faults::GoneInWatch => {
                cluster.cut_watches("pods", Cut::Gone);
                "410 in a watch"
            }
            Faults::GoneAtRequest => "410 at the request",
            Faults::Compacted => {
                cluster.compact();
                "410 after a compaction"
            }
            Faults::LongOutage(_) => "long outages",
            Faults::BrokenList(_) => "lists cut in their midst",
            Faults::OldList => {
                self.told().await;
                self.expect_all();
                let asked = self.asked();
                cluster.fault("pods", Fault::Behind { version: old });
                cluster.cut_watches("pods", Cut::Gone);
                // With pages, the watch begins after the last of them.
                self.attempts(asked, self.pages().map_or(1, |pages| pages + 1)).await;
                "lists from a cache that is behind"
            }
            Faults::RestartIntoBrokenList(_) => "restarts into a list cut in its midst",
        };
        self.api.seen.saw(name);
        cluster.heal_all();
        self.told().await;
        if faults.delivers_all() || faults == Faults::OldList {
            self.expect_all();
        } else {
            self.expect_list();
        }
    }

    /// How many pages a list has; none for a list as a watch.
    pub fn pages(&self) -> Option<u64> {
        let objects = self.api.there.len() as u64 + 1;
        self.wire.pages.map(|size| objects.div_ceil(u64::from(size)))
    }

    /// Lets lists break off after a part of what there is: how many objects they show, and whether that is all.
    pub fn break_list(&self, part: u8) -> (usize, bool) {
        let objects = self.api.there.len() + 1;
        if let Some(page) = self.wire.pages {
            self.api.cluster.fault("list pods", Fault::GoneOnPage);
            return ((page as usize).min(objects), objects <= page as usize);
        }
        let after = usize::from(part) % objects;
        self.api.cluster.fault("watch pods", Fault::CutWatchMidLine { after });
        (after, false)
    }

    pub async fn listed_part(&mut self, asked: u64, (objects, whole): (usize, bool)) {
        let requests = if self.wire.pages.is_some() && !whole { 2 } else { 1 };
        self.attempts(asked, requests).await;
        if whole {
            self.expect_list();
        } else {
            self.expect_part(objects);
        }
    }

    /// Time passes for the cluster and the daemon, not faster than the daemon has something to do.
    pub async fn pass(&mut self, seconds: u16) {
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
    pub fn check_calm(&mut self) {
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
            for finding in incidents.resolved().map(|over| over.incident.finding()) {
                let number = calm(&finding.namespace).filter(|_| loud(finding.severity, &finding.reason));
                found.extend(number.map(|number| (number, finding.summary.clone())));
            }
        }
        for (player, what) in found {
            self.players[player]
                .fails(format!("an incident was opened for what was meant to happen: {what}"));
        }
    }

    /// The daemon was told everything: its counts are those of the model.
    pub fn check(&mut self) {
        self.check_calm();
        self.metrics();
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
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
                counts.entry(of.workload_key.namespace.clone()).or_default().insert(row, reasons);
            }
            incidents.pods()
        };
        let there = self.api.there.len() + 1;
        for player in &mut self.players {
            let counted = counts.remove(&player.namespace).unwrap_or_default();
            let expected = player.counts();
            self.api.seen.saw_times("comparisons of counts", 1);
            if counted != expected {
                player.fails(format!("counted: {counted:?}\n  in truth: {expected:?}"));
            } else if pods != there {
                player.fails(format!("the daemon knows {pods} pods, and there are {there}"));
            }
        }
    }

    /// Brings every pod to its final state, and looks at what is open then.
    pub async fn settle(&mut self, histories: &[&History]) {
        self.api.cluster.heal_all();
        self.told().await;
        self.expect_all();
        // What should be open in the end: player, pod, container, reason.
        let mut wanted: BTreeSet<(usize, String, String, &'static str)> = BTreeSet::new();
        let mut loops: Vec<(usize, usize, Exit)> = Vec::new();
        for (player, history) in self.players.iter_mut().zip(histories) {
            let mut finals = history.finals.iter().cycle();
            let mut at = 0;
            while at < player.places.len() {
                let final_state = finals.next().copied().unwrap_or(Final::Gone);
                let place = &mut player.places[at];
                let began = place.truths.iter().any(|t| t.begun > 0);
                let app = place.kind.app();
                let (number, kind, name) = (player.number, place.kind, place.pod.name().to_owned());
                let wants =
                    |c: usize, reason| (number, name.clone(), kind.containers()[c].0.to_owned(), reason);
                match final_state {
                    _ if place.deleting || place.failed => {
                        let place = player.places.remove(at);
                        self.api.remove(&place);
                        continue;
                    }
                    Final::Gone => {
                        let place = player.places.remove(at);
                        self.api.remove(&place);
                        continue;
                    }
                    Final::ImagePull if !began => {
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
                        if matches!(final_state, Final::CrashLoop | Final::OomLoop) {
                            let oom = final_state == Final::OomLoop;
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
    pub async fn crash(&mut self, loops: &[(usize, usize, Exit)]) {
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
            self.expect_all();
        }
    }

    /// What a scrape shows.
    pub fn metrics(&self) -> String {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        let (metrics, mut text) = (Metrics::new(100_000).unwrap(), Vec::new());
        metrics.write(daemon.incidents(), self.now, &mut text).unwrap();
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
    pub async fn compare(&mut self, lately: bool) {
        let before = self.metrics();
        self.stop().await;
        self.start().await;
        self.told().await;
        self.expect_list();
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

    pub fn differs(
        &mut self,
        namespace: &str,
        was: Option<&BTreeSet<String>>,
        is: Option<&BTreeSet<String>>,
    ) {
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

pub fn namespace_of(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("namespace=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The lines about incidents and pods by namespace, empty for those of none; nothing that counts, nothing of the process, its
/// watches, or of these namespaces. With one of them left out, nothing over all namespaces either.
pub fn by_namespace(text: &str, without: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
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
