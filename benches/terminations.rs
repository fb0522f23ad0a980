//! How many OOM kills are reported: KubeHealer's books against sampling `state` and `lastState`, as a scrape of
//! kube-state-metrics does. Prints the table of `docs/termination-accounting.md`; with `--write` puts it there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kubehealer::diagnosis::{PodDiagnosis, workload_of};
use kubehealer::incidents::accounting::TerminationReason;
use kubehealer::incidents::{FirstSeen, Incidents, uid_of};
use kubehealer::objects::pod::{Container, ContainerState, ContainerStatus, Pod, Running, Terminated};
use kubehealer::objects::{Label, OwnerReference};

const PODS: usize = 10;
const HOURS: i64 = 24;

/// The same histories each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What the API server shows from a moment on; none when the pod is gone.
struct Change {
    at: Timestamp,
    uid: u64,
    pod: Option<Pod>,
}

fn pod(uid: u64, created: Timestamp) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.uid = format!("00000000-0000-4000-8000-{uid:012x}");
    pod.metadata.name = format!("app-5d8f-{uid}");
    pod.metadata.namespace = "bench".to_owned();
    pod.metadata.creation_timestamp = created.into();
    pod.metadata.labels = vec![Label { key: "pod-template-hash".to_owned(), value: "5d8f".to_owned() }];
    pod.metadata.owner_references = vec![OwnerReference {
        kind: "ReplicaSet".to_owned(),
        name: "app-5d8f".to_owned(),
        uid: "rs".to_owned(),
        controller: Some(true),
    }];
    pod.spec.containers = vec![Container { name: "app".to_owned(), ..Container::default() }];
    pod.status.phase = "Running".to_owned();
    pod
}

fn running(id: u64, at: Timestamp, count: i32, last: Option<&Terminated>) -> ContainerStatus {
    ContainerStatus {
        name: "app".to_owned(),
        state: ContainerState {
            running: Some(Running { started_at: at.into() }),
            ..ContainerState::default()
        },
        last_state: ContainerState { terminated: last.cloned().map(Box::new), ..ContainerState::default() },
        ready: true,
        restart_count: count,
        container_id: format!("containerd://{id}"),
        ..ContainerStatus::default()
    }
}

/// The history of one place in the Deployment, and how many OOM kills it holds in truth.
fn history(random: &mut Random, per_hour: f64, ids: &mut u64, start: Timestamp) -> (Vec<Change>, u64) {
    let end = start.checked_add(SignedDuration::from_hours(HOURS)).unwrap();
    let after =
        |at: Timestamp, seconds: f64| at.checked_add(SignedDuration::from_secs_f64(seconds.ceil())).unwrap();
    // A third of the ends come as a second one right after the first.
    let mean = 3600.0 / per_hour * PODS as f64 * 4.0 / 3.0;
    let mut changes = Vec::new();
    let mut kills = 0;
    let mut now = start;
    'pods: loop {
        *ids += 1;
        let uid = *ids;
        let mut pod = pod(uid, now);
        let mut count = 0;
        let mut last: Option<Terminated> = None;
        let mut again = false;
        let mut back_off = 0.0;
        loop {
            *ids += 1;
            let id = *ids;
            pod.status.container_statuses = vec![running(id, now, count, last.as_ref())];
            changes.push(Change { at: now, uid, pod: Some(pod.clone()) });
            let began = now;
            let lasts = if again { 1.0 + 2.0 * random.next() } else { -mean * (1.0 - random.next()).ln() };
            now = after(now, lasts.max(1.0));
            if now >= end {
                break 'pods;
            }
            let oom = random.next() < 0.7;
            kills += u64::from(oom);
            let record = Terminated {
                exit_code: if oom { 137 } else { 1 },
                reason: if oom { "OOMKilled" } else { "Error" }.to_owned(),
                message: String::new(),
                started_at: began.into(),
                finished_at: now.into(),
                container_id: format!("containerd://{id}"),
            };
            let status = &mut pod.status.container_statuses[0];
            status.state =
                ContainerState { terminated: Some(Box::new(record.clone())), ..ContainerState::default() };
            status.ready = false;
            changes.push(Change { at: now, uid, pod: Some(pod.clone()) });
            if random.next() < 0.05 {
                now = after(now, 2.0);
                changes.push(Change { at: now, uid, pod: None });
                continue 'pods;
            }
            // The first restart is immediate; one right after it waits for ten seconds.
            back_off = if again { f64::max(10.0, back_off * 2.0).min(300.0) } else { 0.0 };
            again = !again && random.next() < 1.0 / 3.0;
            now = after(now, 1.0 + back_off);
            count += 1;
            last = Some(record);
        }
    }
    (changes, kills)
}

fn counted(changes: &[Change], start: Timestamp) -> u64 {
    let mut incidents = Incidents::new();
    let mark = incidents.mark();
    incidents.sweep(mark, None, start);
    let mut uids = BTreeMap::new();
    for change in changes {
        match &change.pod {
            Some(pod) => {
                uids.insert(change.uid, uid_of(pod));
                let nothing = PodDiagnosis::default();
                incidents.apply(pod, &workload_of(pod), nothing, FirstSeen::Later, change.at);
            }
            None => drop(incidents.gone(uids[&change.uid], None, change.at)),
        }
    }
    let counts = incidents.terminations().iter().flat_map(|row| row.by_reason());
    counts.filter(|(reason, _)| *reason == TerminationReason::OOMKilled).map(|(_, count)| count).sum()
}

fn sampled(changes: &[Change], start: Timestamp, every: i64) -> u64 {
    let mut seen = BTreeSet::new();
    let mut there: BTreeMap<u64, &Pod> = BTreeMap::new();
    let mut next = 0;
    for n in 0..HOURS * 3600 / every {
        let now = start.checked_add(SignedDuration::from_secs(n * every)).unwrap();
        while let Some(change) = changes.get(next).filter(|c| c.at <= now) {
            match &change.pod {
                Some(pod) => drop(there.insert(change.uid, pod)),
                None => drop(there.remove(&change.uid)),
            }
            next += 1;
        }
        for (uid, pod) in &there {
            let status = &pod.status.container_statuses[0];
            for end in [&status.state, &status.last_state].into_iter().filter_map(|s| s.terminated.as_deref())
            {
                if end.reason == "OOMKilled" {
                    seen.insert((*uid, end.finished_at.get()));
                }
            }
        }
    }
    seen.len() as u64
}

fn main() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut table = String::from(
        "| terminations per hour | OOM kills | KubeHealer | sampled each 15 s | sampled each 60 s |\n|---|---|---|---|---|\n",
    );
    for per_hour in [1.0, 10.0, 100.0] {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut ids = 0;
        let mut changes = Vec::new();
        let mut kills = 0;
        for _ in 0..PODS {
            let (more, of_pod) = history(&mut random, per_hour, &mut ids, start);
            changes.extend(more);
            kills += of_pod;
        }
        changes.sort_by_key(|c| c.at);
        let share = |n: u64| format!("{n} ({:.0} %)", 100.0 * n as f64 / kills as f64);
        let line =
            [counted(&changes, start), sampled(&changes, start, 15), sampled(&changes, start, 60)].map(share);
        table += &format!("| {per_hour} | {kills} | {} | {} | {} |\n", line[0], line[1], line[2]);
    }
    print!("{table}");
    if std::env::args().any(|a| a == "--write") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/termination-accounting.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once("<!-- table -->\n").expect("the mark of the table");
        let (_, tail) = rest.split_once("<!-- /table -->").expect("the end of the table");
        std::fs::write(path, format!("{head}<!-- table -->\n{table}<!-- /table -->{tail}")).unwrap();
    }
}
