//! Recorded watch streams of a real cluster, played through the analyzer and the incidents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use jiff::Timestamp;
use kubehealer::diagnosis::{self, Context, Finding, Severity, Sources};
use kubehealer::incidents::{Ending, FirstSeen, IncidentEvent, Incidents, What, uid_of};
use kubehealer::objects::{Event, Object, Pod};
use serde_json::Value;

pub fn recordings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings")
}

/// One line of a recorded stream.
pub enum Step {
    Applied(Box<Pod>),
    Deleted(Box<Pod>),
    Event(Box<Event>),
}

/// The lines of a recording's watch, pods and events merged in the order of their resourceVersions, each with the time at
/// which a watcher had it: the newest time that any object showed until then.
pub fn steps(folder: &str, with_events: bool) -> Vec<(Timestamp, Step)> {
    let mut lines: Vec<(u64, Value)> = Vec::new();
    for file in ["pods-watch.jsonl", "events-watch.jsonl"] {
        if !with_events && file.starts_with("events") {
            continue;
        }
        let text = std::fs::read_to_string(recordings().join(folder).join(file)).unwrap();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            if value["type"] == "BOOKMARK" {
                continue;
            }
            let version = value["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            lines.push((version, value));
        }
    }
    lines.sort_by_key(|(version, _)| *version);
    let mut now = Timestamp::UNIX_EPOCH;
    let mut steps = Vec::new();
    for (_, mut line) in lines {
        now = now.max(newest_time(&line["object"]).unwrap_or(now));
        let object = line["object"].take();
        let step = match (object["kind"].as_str(), line["type"].as_str()) {
            (Some("Event"), Some("DELETED")) => continue,
            (Some("Event"), _) => {
                let mut event: Event = serde_json::from_value(object).unwrap();
                event.compact();
                Step::Event(Box::new(event))
            }
            (_, kind) => {
                let mut pod: Pod = serde_json::from_value(object).unwrap();
                pod.compact();
                if kind == Some("DELETED") {
                    Step::Deleted(Box::new(pod))
                } else {
                    Step::Applied(Box::new(pod))
                }
            }
        };
        steps.push((now, step));
    }
    steps
}

/// The newest time in an object that is not in the future of its making: deletion times include a grace.
pub fn newest_time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Array(list) => list.iter().filter_map(newest_time).max(),
        Value::Object(map) => map
            .iter()
            .filter(|(k, _)| *k != "deletionTimestamp" && *k != "annotations")
            .filter_map(|(_, v)| newest_time(v))
            .max(),
        _ => None,
    }
}

/// A watcher as the daemon is one, without the daemon.
#[derive(Default)]
pub struct Watcher {
    pub incidents: Incidents,
    pub events: HashMap<String, Vec<Event>>,
    pub log: Vec<IncidentEvent>,
    pub now: Timestamp,
}

impl Watcher {
    fn look(&self, pod: &Pod, now: Timestamp) -> diagnosis::PodDiagnosis {
        let events = self.events.get(&pod.metadata.uid).map_or(&[][..], Vec::as_slice);
        let sources = Sources { events: !self.events.is_empty(), ..Sources::NONE };
        diagnosis::diagnose(pod, &Context { sources, events, ..Context::pod_only() }, now)
    }

    pub fn pass_time(&mut self, until: Timestamp) {
        while let Some(at) = self.incidents.next_due().filter(|at| *at <= until) {
            for uid in self.incidents.due(at) {
                let diagnosis = self.look(&self.incidents.pod(uid).unwrap().pod(), at);
                self.log.extend(self.incidents.recheck(uid, diagnosis, at));
            }
        }
        self.now = until;
    }

    pub fn apply(&mut self, pod: &Pod, sight: FirstSeen, now: Timestamp) {
        let diagnosis = self.look(pod, now);
        let workload = diagnosis::workload_of(pod);
        self.log.extend(self.incidents.apply(pod, &workload, diagnosis, sight, now));
    }

    pub fn step(&mut self, now: Timestamp, step: &Step) {
        self.pass_time(now);
        match step {
            Step::Applied(pod) => self.apply(pod, FirstSeen::Later, now),
            Step::Deleted(pod) => self.log.extend(self.incidents.gone(uid_of(pod), Some(pod), now)),
            Step::Event(event) => {
                let uid = &event.involved_object.uid;
                let of_pod = self.events.entry(uid.clone()).or_default();
                of_pod.retain(|e| e.metadata.uid != event.metadata.uid);
                of_pod.push((**event).clone());
                let uid = kubehealer::incidents::store::Uid::of(uid);
                if let Some(active) = self.incidents.pod(uid) {
                    let diagnosis = self.look(&active.pod(), now);
                    self.log.extend(self.incidents.recheck(uid, diagnosis, now));
                }
            }
        }
    }

    /// A relist that shows `pods`.
    pub fn relist(&mut self, pods: &[&Pod], sight: FirstSeen, now: Timestamp) {
        self.pass_time(now);
        let mark = self.incidents.mark();
        for pod in pods {
            self.apply(pod, sight, now);
        }
        self.log.extend(self.incidents.sweep(mark, None, now));
    }

    /// Terminations per namespace, workload, container and kind, by reason.
    pub fn totals(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let rows = self.incidents.terminations().iter();
        rows.map(|of| {
            let w = &of.workload_key.workload;
            let key = format!(
                "{} {}/{} {} {}",
                of.workload_key.namespace,
                w.kind,
                w.name,
                of.container,
                of.container_type.as_str()
            );
            (key, of.by_reason().map(|(r, n)| (r.as_str().to_owned(), n)).collect())
        })
        .collect()
    }

    /// What is open, as it would be shown.
    pub fn open(&self) -> BTreeSet<String> {
        self.incidents
            .open()
            .map(|i| {
                let f = i.finding();
                format!(
                    "{} {}/{} {} {} {:?}",
                    i.id,
                    f.namespace,
                    f.pod,
                    f.container,
                    f.reason.as_str(),
                    f.since
                )
            })
            .collect()
    }
}

fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(recordings().join("expected.json")).unwrap()).unwrap()
}

fn expected_totals() -> BTreeMap<String, BTreeMap<String, u64>> {
    let expected = expected();
    let rows = expected["terminations"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let key = format!(
            "{} {}/{} {} {}",
            text(&row["namespace"]),
            text(&row["workload"]["kind"]),
            text(&row["workload"]["name"]),
            text(&row["container"]),
            text(&row["container_type"])
        );
        let reasons = row["by_reason"].as_object().unwrap().iter();
        let reasons: BTreeMap<String, u64> =
            reasons.map(|(r, n)| (r.clone(), n.as_u64().unwrap())).filter(|(_, n)| *n > 0).collect();
        assert_eq!(reasons.values().sum::<u64>(), row["total"].as_u64().unwrap());
        (key, reasons)
    })
    .collect()
}

#[test]
fn the_recorded_terminations_are_counted_by_workload_container_and_reason() {
    let mut watcher = Watcher::default();
    for (now, step) in &steps("watch", false) {
        watcher.step(*now, step);
    }
    let (got, want) = (watcher.totals(), expected_totals());
    for (key, reasons) in &want {
        assert_eq!(got.get(key), Some(reasons), "{key}");
    }
    assert_eq!(
        got.len(),
        want.len(),
        "{:?}",
        got.keys().filter(|k| !want.contains_key(*k)).collect::<Vec<_>>()
    );
}

/// Plays a recording; after every `every`-th line the connection is cut for `blind` lines, and what is there then is listed.
fn cut(steps: &[(Timestamp, Step)], every: usize, blind: usize) -> Watcher {
    let mut watcher = Watcher::default();
    let mut there: BTreeMap<&str, &Pod> = BTreeMap::new();
    for (at, (now, step)) in steps.iter().enumerate() {
        match step {
            Step::Applied(pod) => drop(there.insert(&pod.metadata.uid, pod)),
            Step::Deleted(pod) => drop(there.remove(pod.metadata.uid.as_str())),
            Step::Event(_) => {}
        }
        match at % every {
            0 if at > 0 => {
                let pods: Vec<&Pod> = there.values().copied().collect();
                watcher.relist(&pods, FirstSeen::Later, *now);
            }
            n if n >= every - blind => {}
            _ => watcher.step(*now, step),
        }
    }
    let pods: Vec<&Pod> = there.values().copied().collect();
    watcher.relist(&pods, FirstSeen::Later, steps.last().unwrap().0);
    watcher
}

#[test]
fn cut_anywhere_and_listed_anew_the_open_incidents_and_the_totals_are_the_same() {
    for folder in ["watch", "changes/watch"] {
        let steps = steps(folder, false);
        let whole = cut(&steps, steps.len() + 1, 0);
        for every in [10, 50, 333] {
            let cut = cut(&steps, every, 0);
            assert_eq!(cut.totals(), whole.totals(), "{folder}, a list after every {every} lines");
            assert_eq!(cut.open(), whole.open(), "{folder}, a list after every {every} lines");
        }
        // With blindness, the sums are those of the whole for every container that was seen at all; what was not shown is
        // Unobserved.
        for (every, blind) in [(100, 20), (300, 100)] {
            let cut = cut(&steps, every, blind);
            assert_eq!(cut.open(), whole.open(), "{folder}, blind for {blind} of {every} lines");
            let sums = |w: &Watcher| -> BTreeMap<String, u64> {
                w.totals().into_iter().map(|(k, reasons)| (k, reasons.values().sum())).collect()
            };
            let (got, want) = (sums(&cut), sums(&whole));
            for (key, sum) in &want {
                let got = got.get(key).copied().unwrap_or(0);
                assert!(got <= *sum, "{folder} {key}: {got} of {sum}");
            }
        }
    }
}

/// The series that tell of pods and workloads, but for counters.
fn series(watcher: &mut Watcher, now: Timestamp) -> BTreeSet<String> {
    let text = crate::metrics::text(&mut watcher.incidents, 1_000_000, now);
    let about_pods =
        ["kubehealer_pod_", "kubehealer_workload_", "kubehealer_problem_", "kubehealer_container_last_"];
    let lines: BTreeSet<String> =
        text.lines().filter(|l| about_pods.iter().any(|p| l.starts_with(p))).map(str::to_owned).collect();
    assert!(lines.len() > 10);
    lines
}

#[test]
fn a_restart_in_between_leaves_the_same_incidents_open() {
    for folder in ["watch", "changes/watch"] {
        let steps = steps(folder, false);
        let end = steps.last().unwrap().0;
        let mut whole = cut(&steps, steps.len() + 1, 0);
        let mut there: BTreeMap<&str, &Pod> = BTreeMap::new();
        for (_, step) in &steps {
            match step {
                Step::Applied(pod) => drop(there.insert(&pod.metadata.uid, pod)),
                Step::Deleted(pod) => drop(there.remove(pod.metadata.uid.as_str())),
                Step::Event(_) => {}
            }
        }
        let mut fresh = Watcher::default();
        fresh.relist(&there.values().copied().collect::<Vec<_>>(), FirstSeen::InFirstList, end);
        assert_eq!(fresh.open(), whole.open(), "{folder}");
        assert_eq!(series(&mut fresh, end), series(&mut whole, end), "{folder}");
        assert_eq!(fresh.totals(), BTreeMap::new(), "the past is not counted");
        assert!(fresh.log.iter().all(|e| e.what == What::Found), "no news at a start");
    }
}

/// Severity, reason, ending and words of the incidents of one workload, in the order in which they opened.
fn story(watcher: &Watcher, workload: &str) -> Vec<(Severity, String, Ending, String)> {
    let of_workload = |f: &Finding| f.workload.as_ref().is_some_and(|w| w.name == workload);
    let opened = watcher.log.iter().filter(|e| e.what == What::Opened && of_workload(&e.finding));
    opened
        .map(|open| {
            let same = |e: &&IncidentEvent| e.id == open.id;
            assert_eq!(
                watcher.log.iter().filter(same).filter(|e| e.what == What::Opened).count(),
                1,
                "{open:?}"
            );
            let mut ends = watcher.log.iter().filter(same).filter_map(|e| match e.what {
                What::Resolved(ending) => Some((ending, e.text.clone())),
                _ => None,
            });
            let (ending, text) = ends.next().unwrap_or_else(|| panic!("not resolved: {open:?}"));
            assert!(ends.next().is_none(), "resolved twice: {open:?}");
            (open.finding.severity, open.finding.reason.as_str().to_owned(), ending, text)
        })
        .collect()
}

/// What `timeline.json` tells of namespace `healing`, as incidents of pods. The first break of `checkout` is not among
/// them: its one new pod waited for a node for 48 s and for its image for 52 s, each within a grace of 60 s. A Job's tries
/// are for information: it is the Job that fails.
#[rustfmt::skip]
const HEALING: &[(&str, &[(&str, Ending)])] = &[
    ("checkout", &[("ImagePullBackOff", Ending::Deleted)]),
    ("landing", &[("ImagePullBackOff", Ending::Deleted), ("ImagePullBackOff", Ending::Replaced)]),
    ("gateway", &[("CreateContainerConfigError", Ending::Recovered)]),
    ("pricing", &[("CrashLoopBackOff", Ending::Replaced)]),
    ("reports", &[("OOMKilled", Ending::Replaced), ("OOMKilled", Ending::Replaced)]),
    ("search", &[("CrashLoopBackOff|LivenessProbeFailed", Ending::Replaced)]),
    ("cache", &[("Unschedulable", Ending::Recovered)]),
    ("archiver", &[("StuckTerminating", Ending::Deleted)]),
    ("archiver-2", &[("StuckTerminating", Ending::Deleted)]),
    ("import", &[("Error", Ending::Replaced), ("Error", Ending::Deleted)]),
    ("import-2", &[("Error", Ending::Replaced), ("Error", Ending::Deleted)]),
    // One pod of it waited for a node for more than a minute before it could crash.
    ("mailer", &[("CrashLoopBackOff", Ending::Deleted), ("Unschedulable", Ending::Recovered), ("CrashLoopBackOff", Ending::Deleted), ("CrashLoopBackOff", Ending::Deleted)]),
];

fn check_healing(watcher: &Watcher) {
    for (workload, wanted) in HEALING {
        let mut got = story(watcher, workload);
        let mut wanted: Vec<_> = wanted.to_vec();
        got.sort();
        wanted.sort();
        assert_eq!(got.len(), wanted.len(), "{workload}: {got:?}");
        for wanted in &wanted {
            let at = got.iter().position(|(_, reason, ending, _)| {
                wanted.0.split('|').any(|r| r == reason) && *ending == wanted.1
            });
            let at = at.unwrap_or_else(|| panic!("{workload}: {wanted:?} is not in {got:?}"));
            got.remove(at);
        }
    }
    // Nothing else in the namespace, but what was broken there by the node that was full.
    for event in watcher.log.iter().filter(|e| e.what == What::Opened && e.finding.namespace == "healing") {
        let workload = &event.finding.workload.as_ref().unwrap().name;
        assert!(HEALING.iter().any(|(name, _)| name == workload), "{event:?}");
    }
}

fn check_calm(watcher: &Watcher) {
    let loud =
        watcher.log.iter().filter(|e| e.finding.namespace == "calm" && e.finding.severity > Severity::Info);
    assert_eq!(loud.count(), 0);
}

#[test]
fn what_is_fixed_opens_once_and_is_resolved_once_in_the_right_words() {
    for events in [false, true] {
        let mut watcher = Watcher::default();
        for (now, step) in &steps("changes/watch", events) {
            watcher.step(*now, step);
        }
        check_healing(&watcher);
        check_calm(&watcher);
        let words = |workload: &str| story(&watcher, workload).pop().unwrap().3;
        assert!(words("gateway").starts_with("the container has been running since 2026-11-22T12:08:48Z"));
        assert!(words("cache").contains("on node node-a"), "{}", words("cache"));
        assert!(words("pricing").contains("a newer pod of Deployment/pricing has taken its place"));
        assert!(words("mailer").contains("Deployment/mailer has no other pod, so it was scaled to zero"));
        assert_eq!(words("archiver"), "the pod is gone: it was deleted");
    }
    let steps = steps("changes/watch", false);
    for every in [10, 150] {
        let cut = cut(&steps, every, 0);
        check_healing(&cut);
        check_calm(&cut);
    }
}

#[test]
fn a_failure_that_flickers_is_one_incident() {
    let mut watcher = Watcher::default();
    let steps = steps("watch", false);
    for (now, step) in &steps {
        watcher.step(*now, step);
    }
    let mut opened: BTreeMap<_, usize> = BTreeMap::new();
    for event in watcher.log.iter().filter(|e| e.what == What::Opened) {
        *opened.entry(event.id).or_default() += 1;
    }
    let twice: Vec<_> = opened.iter().filter(|(_, n)| **n > 1).collect();
    // quotes is not ready for a minute, ready for a minute, and so on: it fails again each time.
    for (id, _) in &twice {
        let event = watcher.log.iter().find(|e| e.id == **id).unwrap();
        assert_eq!(event.finding.workload.as_ref().unwrap().name, "quotes", "{event:?}");
    }
    // Every failing case of the recording that the pods alone show has an incident open at its end.
    let expected = expected();
    let open: Vec<_> = watcher.incidents.open().map(|i| i.finding()).collect();
    for case in expected["cases"].as_array().unwrap() {
        let absent = |key: &str| case[key].is_null() || case[key] == false;
        let by_pod = case["needs"] == serde_json::json!(["pod"]);
        let plain = ["healthy", "optional", "gone", "no_pod", "recovered"].iter().all(|k| absent(k));
        if !by_pod || !plain {
            continue;
        }
        let prefix = case["pod_prefix"].as_str().unwrap();
        let namespace = case["namespace"].as_str().unwrap();
        assert!(
            open.iter().any(|f| f.namespace == namespace && f.pod.starts_with(prefix)),
            "no incident is open for {namespace}/{prefix}"
        );
    }
}
