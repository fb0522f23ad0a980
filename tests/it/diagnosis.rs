//! The analyzer against the recordings of a real cluster: it says what `expected.json` says, and nothing of the healthy.

use std::path::{Path, PathBuf};

use super::reasons::packed;
use jiff::Timestamp;
use kubehealer::diagnosis::container::views;
use kubehealer::diagnosis::{
    self, ContainerLog, ContainerType, Finding, Severity, Snapshot, Source, Sources, Survey,
};
use kubehealer::incidents::compact::CompactFinding;
use kubehealer::objects::{Event, Object, Pod};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings")
}

fn list<T: Object + DeserializeOwned>(path: &Path) -> Vec<T> {
    let Ok(text) = std::fs::read(path) else { return Vec::new() };
    let list: Value = serde_json::from_slice(&text).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let mut object: T = serde_json::from_value(item.clone()).unwrap();
            object.compact();
            object
        })
        .collect()
}

fn logs(dir: &Path) -> Vec<ContainerLog> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let parts: Vec<&str> = name.split('.').collect();
        if let [namespace, pod, container, which, "log"] = parts.as_slice() {
            logs.push(ContainerLog {
                namespace: (*namespace).to_owned(),
                pod: (*pod).to_owned(),
                container: (*container).to_owned(),
                previous: *which == "previous",
                tail: std::fs::read(&path).unwrap(),
                reading: None,
            });
        }
    }
    logs
}

/// Everything of one directory of lists and logs.
fn snapshot(dir: &str) -> Snapshot {
    let dir = recordings().join(dir);
    Snapshot {
        pods: list(&dir.join("pods.json")),
        events: packed(list(&dir.join("events.json"))),
        nodes: list(&dir.join("nodes.json")),
        replica_sets: list(&dir.join("replicasets.json")),
        deployments: list(&dir.join("deployments.json")),
        stateful_sets: list(&dir.join("statefulsets.json")),
        daemon_sets: list(&dir.join("daemonsets.json")),
        jobs: list(&dir.join("jobs.json")),
        cron_jobs: list(&dir.join("cronjobs.json")),
        claims: list(&dir.join("pvcs.json")),
        revisions: Vec::new(),
        logs: logs(&dir.join("logs")),
        sources: Sources::ALL,
        ..Snapshot::default()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Everything a reader of the finding sees.
fn words(finding: &Finding) -> String {
    let evidence: Vec<&str> = finding.evidence.iter().map(|e| e.text.as_str()).collect();
    format!("{} {} {}", finding.summary, finding.cause.text, evidence.join(" ")).to_lowercase()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|a| a.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Whether a finding is about what a case of `expected.json` is about.
fn concerns(finding: &Finding, case: &Value) -> bool {
    let workload = (&case["workload"]["kind"], &case["workload"]["name"]);
    let of_workload = finding
        .workload
        .as_ref()
        .is_some_and(|w| workload.0 == w.kind.as_str() && workload.1 == w.name.as_str());
    let prefix = case["pod_prefix"].as_str();
    let of_pod = !finding.pod.is_empty() && prefix.is_some_and(|p| finding.pod.starts_with(p));
    let container = case["container"].as_str();
    let of_container = container.is_none_or(|c| c == finding.container || finding.container.is_empty());
    case["namespace"] == finding.namespace.as_str()
        && (of_pod || (finding.pod.is_empty() && of_workload))
        && of_container
}

/// What is wrong with a survey, case by case.
fn failures(survey: &Survey, expected: &Value, sources: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let cases = expected["cases"].as_array().unwrap();
    for case in cases {
        let name =
            format!("{}/{}", case["namespace"].as_str().unwrap(), case["workload"]["name"].as_str().unwrap());
        let mine: Vec<&Finding> = survey.findings.iter().filter(|f| concerns(f, case)).collect();
        let traps = strings(&case["traps"]);
        for finding in &mine {
            if traps.contains(&finding.reason.as_str()) {
                wrong.push(format!(
                    "{name}: fell into the trap {}: {}",
                    finding.reason.as_str(),
                    finding.summary
                ));
            }
        }
        if case["healthy"] == true {
            let prefix = case["pod_prefix"].as_str().unwrap();
            for finding in survey.findings.iter().filter(|f| f.severity > Severity::Info) {
                let here = case["namespace"] == finding.namespace.as_str() && finding.pod.starts_with(prefix);
                let container = case["container"].as_str();
                let same = container.is_none_or(|c| c == finding.container);
                let excepted = cases.iter().any(|other| {
                    other["healthy"] != true
                        && other["pod_prefix"].as_str().is_some_and(|p| {
                            p.len() > prefix.len() || other["container"] == finding.container.as_str()
                        })
                        && concerns(finding, other)
                });
                if here && same && !excepted {
                    wrong.push(format!("{name}: {} is healthy: {}", finding.pod, finding.summary));
                }
            }
            continue;
        }
        if case["optional"] == true || strings(&case["needs"]).iter().any(|n| !sources.contains(n)) {
            continue;
        }
        let mut reasons = strings(&case["acceptable_reasons"]);
        reasons.push(case["reason"].as_str().unwrap());
        let named: Vec<&&Finding> = mine.iter().filter(|f| reasons.contains(&f.reason.as_str())).collect();
        if named.is_empty() {
            let said: Vec<&str> = mine.iter().map(|f| f.reason.as_str()).collect();
            wrong.push(format!("{name}: expected one of {reasons:?}, found {said:?}"));
            continue;
        }
        let keywords = strings(&case["cause_keywords"]);
        let any = strings(&case["cause_keywords_any"]);
        let explained = named.iter().any(|f| {
            let words = words(f);
            keywords.iter().all(|k| words.contains(k))
                && (any.is_empty() || any.iter().any(|k| words.contains(k)))
        });
        if !explained {
            wrong.push(format!("{name}: expected {keywords:?} and one of {any:?} in: {}", words(named[0])));
        }
        if let Some(kind) = case["container_type"].as_str() {
            let wanted = |f: &&&Finding| f.container_type.is_none_or(|t: ContainerType| t.as_str() == kind);
            if !named.iter().any(wanted) {
                wrong.push(format!("{name}: expected a container of type {kind}"));
            }
        }
    }
    wrong
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(recordings().join("expected.json")).unwrap()).unwrap()
}

#[test]
fn the_pods_alone_name_every_failure_that_they_decide() {
    let mut snapshot = snapshot("final");
    snapshot = Snapshot { pods: snapshot.pods, ..Snapshot::default() };
    let survey = diagnosis::survey(&snapshot, at("2026-11-22T11:23:11Z"));
    let wrong = failures(&survey, &expected(), &["pod"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn events_logs_and_owners_name_every_cause() {
    let survey = diagnosis::survey(&snapshot("final"), at("2026-11-22T11:23:11Z"));
    let wrong = failures(&survey, &expected(), &["pod", "event", "log", "owner"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expected_changes_raise_nothing_above_info() {
    let survey = diagnosis::survey(&snapshot("changes/final"), at("2026-11-22T12:16:22Z"));
    let above: Vec<String> = survey
        .findings
        .iter()
        .filter(|f| f.severity > Severity::Info && matches!(f.namespace.as_str(), "calm" | "healing"))
        .map(|f| format!("{}/{} {}: {}", f.namespace, f.pod, f.reason.as_str(), f.summary))
        .collect();
    assert!(above.is_empty(), "{}", above.join("\n"));
}

#[test]
fn events_are_matched_by_uid_and_never_by_name_alone() {
    let mut events: Vec<Event> = list(&recordings().join("final/events.json"));
    let pods = list(&recordings().join("final/pods.json"));
    for event in &mut events {
        event.involved_object.uid = "00000000-0000-0000-0000-000000000000".to_owned();
    }
    let claims = list(&recordings().join("final/pvcs.json"));
    let sources = Sources { events: true, ..Sources::NONE };
    let with = Snapshot { pods, events: packed(events), claims, sources, ..Snapshot::default() };
    let survey = diagnosis::survey(&with, at("2026-11-22T11:23:11Z"));
    let from_events = survey
        .findings
        .iter()
        .flat_map(|f| &f.evidence)
        .filter(|e| e.source == diagnosis::Source::Event && e.at.is_some());
    assert_eq!(from_events.count(), 0);
}

#[test]
fn a_finding_that_is_kept_comes_out_as_it_went_in() {
    let survey = diagnosis::survey(&snapshot("final"), at("2026-11-22T11:23:11Z"));
    assert!(survey.findings.len() > 100);
    for finding in &survey.findings {
        assert_eq!(CompactFinding::new(finding).finding(), *finding);
    }
}

#[test]
fn a_log_that_is_read_and_let_go_says_what_it_said_before() {
    let mut snapshot = snapshot("final");
    let before = diagnosis::survey(&snapshot, at("2026-11-22T11:23:11Z"));
    let pods = &snapshot.pods;
    for log in &mut snapshot.logs {
        let of = |p: &&Pod| p.metadata.namespace == log.namespace && p.metadata.name == log.pod;
        let view = pods.iter().find(of).and_then(|p| views(p).find(|v| v.name == log.container));
        log.settle(view.and_then(|v| v.newest_end()).map(|end| end.exit_code));
        assert_eq!(log.tail, b"");
    }
    assert!(before.findings.iter().flat_map(|f| &f.evidence).any(|e| e.source == Source::Log));
    assert_eq!(diagnosis::survey(&snapshot, at("2026-11-22T11:23:11Z")), before);
}
