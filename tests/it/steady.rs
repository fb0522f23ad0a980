//! Verdicts hold still: they change when an object changes or when `recheck` says so, never by the length of a look, the
//! order of a list or the luck of a frame.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use kubehealer::diagnosis::{
    self, Context, Finding, PodDiagnosis, Reason, Severity, Snapshot, Sources, Stage,
};
use kubehealer::incidents::compact::CompactFinding;
use kubehealer::objects::{Event, Node, Object, Packed, Pod};
use proptest::prelude::*;
use serde_json::Value;

use crate::replay::{Step, recordings, steps};

const WITH_EVENTS: Sources = Sources { events: true, ..Sources::NONE };

fn look(pod: &Pod, events: Option<&[Event]>, now: Timestamp) -> PodDiagnosis {
    let sources = if events.is_some() { WITH_EVENTS } else { Sources::NONE };
    diagnosis::diagnose(
        pod,
        &Context { sources, events: events.unwrap_or_default(), ..Context::pod_only() },
        now,
    )
}

type Verdict = BTreeSet<(String, String, String, String)>;

/// What must not change by itself.
fn verdict(diagnosis: &PodDiagnosis) -> Verdict {
    let stage = |s: Stage| format!("{s:?}");
    diagnosis
        .findings
        .iter()
        .map(|f| {
            (
                f.container.clone(),
                f.reason.as_str().to_owned(),
                stage(f.stage),
                f.severity.as_str().to_owned(),
            )
        })
        .collect()
}

fn later(t: Timestamp, seconds: i64) -> Timestamp {
    t.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// Follows a pod that does not change through time: between two rechecks nothing changes, and after the last one nothing
/// ever does.
fn holds_still(pod: &Pod, events: Option<&[Event]>, from: Timestamp) -> Result<(), String> {
    let mut now = from;
    for _ in 0..20 {
        let here = look(pod, events, now);
        let same = |at: Timestamp| {
            let there = look(pod, events, at);
            let (a, b) = (verdict(&here), verdict(&there));
            if a == b {
                return Ok(());
            }
            Err(format!(
                "{}: {a:?} at {now} became {b:?} at {at}, recheck {:?}",
                pod.metadata.name, here.recheck
            ))
        };
        let Some(next) = here.recheck else {
            for seconds in [1, 59, 61, 299, 301, 599, 601, 3599, 3601, 86_400, 86_400 * 400] {
                same(later(now, seconds))?;
            }
            return Ok(());
        };
        assert!(next > now, "{}: a recheck lies in the past", pod.metadata.name);
        let room = next.duration_since(now).as_secs();
        for seconds in [1, room / 3, room / 2, room - 1] {
            if (1..room).contains(&seconds) {
                same(later(now, seconds))?;
            }
        }
        now = next;
    }
    Err(format!("{}: twenty rechecks without an end", pod.metadata.name))
}

/// Every pod frame of a recording with the time at which it was seen and the events until then.
fn frames(folder: &str) -> Vec<(Timestamp, Pod, Vec<Event>)> {
    let mut events: HashMap<String, Vec<Event>> = HashMap::new();
    let mut frames = Vec::new();
    for (now, step) in steps(folder, true) {
        match step {
            Step::Applied(pod) => {
                let of_pod = events.get(&pod.metadata.uid).cloned().unwrap_or_default();
                frames.push((now, *pod, of_pod));
            }
            Step::Deleted(_) => {}
            Step::Event(event) => {
                let of_pod = events.entry(event.involved_object.uid.clone()).or_default();
                of_pod.retain(|e| e.metadata.uid != event.metadata.uid);
                of_pod.push(*event);
            }
        }
    }
    frames
}

#[test]
fn a_verdict_that_time_alone_changes_says_when_on_every_recorded_frame() {
    let mut wrong = Vec::new();
    for folder in ["watch", "changes/watch"] {
        for (now, pod, events) in frames(folder) {
            wrong.extend(holds_still(&pod, None, now).err());
            wrong.extend(holds_still(&pod, Some(&events), now).err());
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_raised(f: &Finding) -> bool {
    f.stage == Stage::Active && f.severity > Severity::Info
}

/// Every look that a watcher takes at a pod: at each of its frames and events, and at each recheck between them.
fn looks(folder: &str, with_events: bool) -> BTreeMap<String, Vec<(Timestamp, bool, PodDiagnosis)>> {
    let mut pods: HashMap<String, Pod> = HashMap::new();
    let mut events: HashMap<String, Vec<Event>> = HashMap::new();
    let mut looks: BTreeMap<String, Vec<(Timestamp, bool, PodDiagnosis)>> = BTreeMap::new();
    for (now, step) in steps(folder, with_events) {
        let (uid, by_event) = match step {
            Step::Applied(pod) => {
                let uid = pod.metadata.uid.clone();
                pods.insert(uid.clone(), *pod);
                (uid, false)
            }
            Step::Deleted(pod) => {
                pods.remove(&pod.metadata.uid);
                continue;
            }
            Step::Event(event) => {
                let uid = event.involved_object.uid.clone();
                let of_pod = events.entry(uid.clone()).or_default();
                of_pod.retain(|e| e.metadata.uid != event.metadata.uid);
                of_pod.push(*event);
                (uid, true)
            }
        };
        let Some(pod) = pods.get(&uid) else { continue };
        let events = events.get(&uid).map_or(&[][..], Vec::as_slice);
        let events = with_events.then_some(events);
        let name = format!("{}/{} {uid}", pod.metadata.namespace, pod.metadata.name);
        let of_pod = looks.entry(name).or_default();
        // What time has changed since the last look, as the daemon's timer sees it.
        while let Some((_, _, last)) = of_pod.last()
            && let Some(at) = last.recheck.filter(|at| *at < now)
        {
            of_pod.push((at, false, look(pod, events, at)));
        }
        of_pod.push((now, by_event, look(pod, events, now)));
    }
    looks
}

#[test]
fn expected_changes_raise_nothing_at_any_moment() {
    let mut wrong = Vec::new();
    for with_events in [false, true] {
        for (pod, looks) in looks("changes/watch", with_events) {
            if !pod.starts_with("calm/") {
                continue;
            }
            for (at, _, look) in looks {
                for f in look.findings.iter().filter(|f| is_raised(f)) {
                    wrong.push(format!("{pod} at {at}: {} {}", f.reason.as_str(), f.summary));
                }
            }
        }
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_failure_is_one_reason_however_its_state_flickers() {
    let mut wrong = Vec::new();
    for folder in ["watch", "changes/watch"] {
        for with_events in [false, true] {
            for (pod, looks) in looks(folder, with_events) {
                let mut history: BTreeMap<String, Vec<(Timestamp, String)>> = BTreeMap::new();
                let mut keys: BTreeSet<String> = BTreeSet::new();
                for (_, _, look) in &looks {
                    keys.extend(
                        look.findings.iter().filter(|f| is_raised(f)).map(|f| format!("{:?}", f.key())),
                    );
                }
                for (at, _, look) in &looks {
                    for key in &keys {
                        let now =
                            look.findings.iter().find(|f| is_raised(f) && format!("{:?}", f.key()) == *key);
                        let word = now.map_or("-".to_owned(), |f| f.reason.as_str().to_owned());
                        let of_key = history.entry(key.clone()).or_default();
                        if of_key.last().is_none_or(|(_, last)| *last != word) {
                            of_key.push((*at, word));
                        }
                    }
                }
                for (_, said) in history {
                    // Once something was said, it may change to something else, but not go and come back.
                    let mut seen = BTreeSet::new();
                    for (at, word) in said.iter().skip_while(|(_, w)| w == "-") {
                        if !seen.insert(word) {
                            let all: Vec<String> = said.iter().map(|(t, w)| format!("{t} {w}")).collect();
                            wrong.push(format!(
                                "{folder} events={with_events} {pod}: {word} again at {at}: {}",
                                all.join(", ")
                            ));
                            break;
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn since_does_not_move_while_a_failure_lasts() {
    let mut wrong = Vec::new();
    for folder in ["watch", "changes/watch"] {
        for (pod, looks) in looks(folder, true) {
            let mut since: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
            for (at, _, look) in &looks {
                let raised: Vec<&Finding> = look.findings.iter().filter(|f| is_raised(f)).collect();
                let keys: BTreeSet<String> = raised.iter().map(|f| format!("{:?}", f.key())).collect();
                since.retain(|key, _| keys.contains(key));
                for f in raised {
                    let key = format!("{:?}", f.key());
                    let was = since.insert(key, f.since);
                    if let Some(was) = was
                        && was != f.since
                    {
                        wrong.push(format!(
                            "{folder} {pod} at {at}: {} since {was:?} became {:?}",
                            f.reason.as_str(),
                            f.since
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

fn items<T: Object + serde::de::DeserializeOwned>(path: &str) -> Vec<T> {
    let text = std::fs::read(recordings().join(path)).unwrap();
    let list: Value = serde_json::from_slice(&text).unwrap();
    let of = |item: &Value| {
        let mut object: T = serde_json::from_value(item.clone()).unwrap();
        object.compact();
        object
    };
    list["items"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_packed_pod_comes_out_as_it_went_in_and_is_diagnosed_alike() {
    let streams = ["watch", "changes/watch"].map(|folder| steps(folder, false));
    let streamed = streams.into_iter().flatten().filter_map(|(_, step)| match step {
        Step::Applied(pod) | Step::Deleted(pod) => Some(*pod),
        Step::Event(_) => None,
    });
    let listed =
        ["final/pods.json", "after-node-restart/pods.json", "changes/final/pods.json"].map(items::<Pod>);
    let now = "2026-11-22T11:23:11Z".parse().unwrap();
    let mut count = 0;
    for pod in listed.into_iter().flatten().chain(streamed) {
        let unpacked = Packed::new(&pod).unpack();
        assert_eq!(unpacked, pod);
        assert_eq!(look(&unpacked, None, now), look(&pod, None, now));
        count += 1;
    }
    assert!(count > 500, "{count}");
}

#[test]
fn a_restart_of_the_node_is_one_finding_and_blames_no_healthy_pod() {
    let nodes: Vec<Node> = items("final/nodes.json");
    let sources = Sources { nodes: true, ..Sources::NONE };
    let survey = |path: &str, now: &str| {
        let pods: Vec<Pod> = items(path);
        let snapshot = Snapshot { pods, nodes: nodes.clone(), sources, ..Snapshot::default() };
        diagnosis::survey(&snapshot, now.parse().unwrap())
    };
    let failing = |findings: &[Finding]| -> BTreeSet<String> {
        findings.iter().filter(|f| f.stage != Stage::Recovered).map(|f| f.uid.clone()).collect()
    };
    let before = failing(&survey("final/pods.json", "2026-11-22T11:23:11Z").findings);
    let pods: Vec<Pod> = items("after-node-restart/pods.json");
    let newest = |p: &Pod| {
        let running =
            |s: &kubehealer::objects::ContainerStatus| s.state.running.and_then(|r| r.started_at.get());
        p.status.container_statuses.iter().filter_map(running).max()
    };
    let restarted = pods.iter().filter_map(newest).max().unwrap();
    for seconds in [5, 45, 300] {
        let after = survey("after-node-restart/pods.json", &later(restarted, seconds).to_string());
        let blamed: Vec<&Finding> = after
            .findings
            .iter()
            .filter(|f| f.severity > Severity::Info && !f.pod.is_empty() && !before.contains(&f.uid))
            // Between the recordings one more leak came to its end, and one more pod to its disk limit.
            .filter(|f| f.reason != Reason::OOMKilled.into() && f.reason != Reason::Evicted.into())
            .filter(|f| {
                pods.iter().any(|p| {
                    p.metadata.uid == f.uid
                        && p.metadata.creation_timestamp.get() < Some("2026-11-22T11:23:11Z".parse().unwrap())
                })
            })
            .collect();
        let words: Vec<String> =
            blamed.iter().map(|f| format!("{}/{} {}", f.namespace, f.pod, f.summary)).collect();
        assert!(words.is_empty(), "{seconds} s after: {}", words.join("\n"));
        let of_nodes = after.findings.iter().filter(|f| f.reason == Reason::NodeRestart.into());
        assert_eq!(of_nodes.count(), 1, "{seconds} s after");
    }
}

/// A random change of a JSON value, anywhere in it.
#[derive(Clone, Debug)]
enum Mutation {
    Remove,
    Null,
    Number(i64),
    Text(String),
    Empty,
    Twice,
    Nested,
}

fn mutations() -> impl Strategy<Value = Vec<(u32, Mutation)>> {
    let text = prop_oneof![
        Just("\u{1b}[31m\0\u{202e}evil".to_owned()),
        Just("OOMKilled".to_owned()),
        Just("CrashLoopBackOff".to_owned()),
        Just("RestartingAllContainers".to_owned()),
        Just("\"; $(reboot)\n".to_owned()),
        Just("0/4294967296 nodes are available: 99999999999 x, {{{{, 1 node(s)".to_owned()),
        Just("9999-12-31T23:59:59Z".to_owned()),
        Just("-009999-01-01T00:00:00Z".to_owned()),
        Just("2026-11-22T11:23:00Z".to_owned()),
        Just("ü".repeat(5000)),
        "[ -~]{0,40}",
    ];
    let number = prop_oneof![
        Just(i64::MAX),
        Just(i64::MIN),
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        Just(0),
        Just(-1),
        Just(137),
        any::<i64>()
    ];
    let mutation = prop_oneof![
        Just(Mutation::Remove),
        Just(Mutation::Null),
        number.prop_map(Mutation::Number),
        text.prop_map(Mutation::Text),
        Just(Mutation::Empty),
        Just(Mutation::Twice),
        Just(Mutation::Nested),
    ];
    prop::collection::vec((any::<u32>(), mutation), 1..12)
}

/// Walks to the `n`th place of a value and changes it.
fn mutate(value: &mut Value, n: &mut u32, how: &Mutation) {
    let here = *n == 0;
    *n = n.wrapping_sub(1);
    if here {
        *value = match how {
            Mutation::Remove | Mutation::Null => Value::Null,
            Mutation::Number(number) => (*number).into(),
            Mutation::Text(text) => text.clone().into(),
            Mutation::Empty => {
                if value.is_array() {
                    Value::Array(vec![])
                } else {
                    serde_json::json!({})
                }
            }
            Mutation::Twice => Value::Array(vec![value.clone(), value.clone()]),
            Mutation::Nested => serde_json::json!({ "items": value.clone() }),
        };
        return;
    }
    match value {
        Value::Array(list) => {
            if matches!(how, Mutation::Twice) && list.len() == 1 {
                list.push(list[0].clone());
            }
            list.iter_mut().for_each(|v| mutate(v, n, how));
        }
        Value::Object(map) => {
            if matches!(how, Mutation::Remove) && *n < 8 {
                let key = map.keys().nth(*n as usize).cloned();
                key.and_then(|k| map.remove(&k));
            }
            map.values_mut().for_each(|v| mutate(v, n, how));
        }
        _ => {}
    }
}

fn places(value: &Value) -> u32 {
    1 + match value {
        Value::Array(list) => list.iter().map(places).sum(),
        Value::Object(map) => map.values().map(places).sum(),
        _ => 0,
    }
}

/// Recorded pods and their events as JSON, without what the slim types skip anyway.
fn recorded() -> Vec<(Value, Vec<Value>)> {
    let read = |path: &str| -> Vec<Value> {
        let text = std::fs::read(recordings().join(path)).unwrap();
        let mut list: Value = serde_json::from_slice(&text).unwrap();
        serde_json::from_value(list["items"].take()).unwrap()
    };
    let mut events: HashMap<String, Vec<Value>> = HashMap::new();
    for event in read("final/events.json") {
        let uid = event["involvedObject"]["uid"].as_str().unwrap_or_default().to_owned();
        events.entry(uid).or_default().push(event);
    }
    let mut pods = read("final/pods.json");
    for pod in &mut pods {
        pod["metadata"].as_object_mut().unwrap().remove("managedFields");
    }
    let of = |pod: &Value| events.get(pod["metadata"]["uid"].as_str().unwrap()).cloned().unwrap_or_default();
    pods.into_iter()
        .map(|pod| {
            let events = of(&pod);
            (pod, events)
        })
        .collect()
}

/// Nothing that a terminal, a page or a log would take for more than text, and nothing without a bound.
fn is_harmless(finding: &Finding) -> Result<(), String> {
    let json = serde_json::to_string(finding).unwrap();
    if json.len() > 60_000 {
        return Err(format!("{} bytes in {}", json.len(), finding.reason.as_str()));
    }
    let mut texts = vec![finding.summary.clone(), finding.cause.text.clone()];
    texts.extend(finding.next_steps.iter().cloned());
    texts.extend(finding.evidence.iter().map(|e| e.text.clone()));
    texts.extend(
        [&finding.namespace, &finding.pod, &finding.container, &finding.node, &finding.image]
            .map(String::clone),
    );
    texts.extend(finding.workload.iter().flat_map(|w| [w.kind.clone(), w.name.clone()]));
    texts.extend(finding.scope.iter().map(|s| s.name.clone()));
    match texts.iter().find(|t| t.chars().any(|c| c.is_control() || c == '\u{202e}')) {
        Some(text) => Err(format!("{}: {text:?}", finding.reason.as_str())),
        None => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_pod_or_event_makes_the_analyzer_panic_or_say_something_harmful(
        which in any::<prop::sample::Index>(), changes in mutations(), of_event in mutations(), seconds in -100_000i64..100_000_000,
    ) {
        thread_local! { static RECORDED: Vec<(Value, Vec<Value>)> = recorded(); }
        let (mut pod, mut events) = RECORDED.with(|r| which.get(r).clone());
        for (n, how) in &changes {
            let mut n = n % places(&pod);
            mutate(&mut pod, &mut n, how);
        }
        for (n, how) in &of_event {
            for event in &mut events {
                let mut n = n % places(event);
                mutate(event, &mut n, how);
            }
        }
        let Ok(mut pod) = serde_json::from_value::<Pod>(pod) else { return Ok(()) };
        pod.compact();
        prop_assert_eq!(&Packed::new(&pod).unpack(), &pod, "packing loses something");
        let events: Vec<Event> = events.into_iter().filter_map(|e| serde_json::from_value(e).ok()).collect();
        let now = later("2026-11-22T11:23:11Z".parse().unwrap(), seconds);
        for events in [None, Some(events.as_slice())] {
            let found = look(&pod, events, now);
            for finding in &found.findings {
                is_harmless(finding).map_err(TestCaseError::fail)?;
                prop_assert_eq!(&CompactFinding::new(finding).finding(), finding, "keeping loses something");
            }
            holds_still(&pod, events, now).map_err(TestCaseError::fail)?;
        }
        let snapshot = Snapshot { pods: vec![pod.clone(), pod], events: super::reasons::packed(events), sources: WITH_EVENTS, ..Snapshot::default() };
        diagnosis::survey(&snapshot, now);
    }

    #[test]
    fn the_order_of_lists_changes_nothing(seed in any::<u64>()) {
        thread_local! { static FINAL: Snapshot = Snapshot {
            pods: items("final/pods.json"), events: super::reasons::packed(items("final/events.json")), nodes: items("final/nodes.json"),
            replica_sets: items("final/replicasets.json"), deployments: items("final/deployments.json"),
            stateful_sets: items("final/statefulsets.json"), daemon_sets: items("final/daemonsets.json"),
            jobs: items("final/jobs.json"), cron_jobs: items("final/cronjobs.json"), sources: Sources::ALL, ..Snapshot::default()
        }; }
        // The whole of a survey is large: a few shuffles tell.
        if seed % 40 != 0 { return Ok(()); }
        let mut shuffled = FINAL.with(Clone::clone);
        let mut state = seed | 1;
        let mut next = |n: usize| { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); (state >> 33) as usize % n };
        fn shuffle<T>(list: &mut [T], next: &mut impl FnMut(usize) -> usize) {
            for i in (1..list.len()).rev() { list.swap(i, next(i + 1)); }
        }
        shuffle(&mut shuffled.pods, &mut next);
        shuffle(&mut shuffled.events, &mut next);
        shuffle(&mut shuffled.jobs, &mut next);
        shuffle(&mut shuffled.replica_sets, &mut next);
        shuffle(&mut shuffled.deployments, &mut next);
        for pod in &mut shuffled.pods {
            shuffle(&mut pod.status.conditions, &mut next);
            shuffle(&mut pod.status.container_statuses, &mut next);
        }
        let now = "2026-11-22T11:23:11Z".parse().unwrap();
        let a = FINAL.with(|f| diagnosis::survey(f, now));
        let b = diagnosis::survey(&shuffled, now);
        for (x, y) in a.findings.iter().zip(&b.findings) {
            prop_assert_eq!(x, y);
        }
        prop_assert_eq!(a.problems, b.problems);
    }
}
