//! One engine: the daemon's API, `diagnose` against the cluster, `diagnose -f` of its lists and of what `dump` wrote say the same of
//! every recording, with the user's own rules as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kubehealer::daemon::{self, Settings, Target};
use kubehealer::files;
use kubehealer::rules::RuleSet;
use kubehealer::simulator::replay::Recording;
use kubehealer::simulator::{self, Cluster, RESOURCES};
use serde_json::Value;

use crate::cli::{folder, kubehealer};
use crate::contract::Server;
use crate::daemon::get;
use crate::replay::recordings;

/// One rule of each kind. They match something in every recording that has a failing container.
const RULES: &str = "
rules:
- name: ours
  match: {reasons: ['*BackOff', OOMKilled, Error, Unschedulable]}
  change: {severity: critical, text: 'Call {{ finding.workload.name }}.', labels: {team: us}}
- name: restarted
  when: container.restartCount > 0
  raise: {reason: Restarted, severity: info, summary: '{{ container.name }} has restarted {{ container.restartCount }} times'}
- name: nodes-are-not-ours
  when: '!has(finding.pod) && has(finding.node)'
  change: {text: 'Call the platform team.'}
- name: killed
  match: {reasons: [LivenessProbeFailed, NodeNotReady]}
  ignore: {comment: 'known'}
";

/// Writes what the cluster holds as `kubectl get KIND -A -o json` prints it, with these logs.
async fn dump(cluster: &Cluster, logs: Option<&Path>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let client = simulator::client(cluster);
    for resource in &RESOURCES {
        let root = if resource.group.is_empty() { "api" } else { "apis" };
        let request = http::Request::get(format!("/{root}/{}/{}", resource.api_version(), resource.plural))
            .body(Vec::new())
            .unwrap();
        let list = client.request_text(request).await.unwrap();
        std::fs::write(folder.path().join(format!("{}.json", resource.plural)), list).unwrap();
    }
    if let Some(logs) = logs {
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        for log in std::fs::read_dir(logs).unwrap() {
            let log = log.unwrap();
            std::fs::copy(log.path(), folder.path().join("logs").join(log.file_name())).unwrap();
        }
    }
    folder
}

/// What the daemon says once its evidence is there; the last that it said if that is not as wanted within minutes.
fn of_daemon(cluster: &Cluster, rules: &Arc<RuleSet>, logs: bool, wanted: &Value) -> Value {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut settings =
            Settings::new(Target::Client(simulator::client(cluster), "a simulated cluster".to_owned()));
        settings.listen = ([127, 0, 0, 1], 0).into();
        let clock = cluster.clone();
        settings.clock = Arc::new(move || clock.now());
        settings.rules = Arc::clone(rules);
        settings.logs = logs;
        let running = daemon::start(settings).await.unwrap();
        let mut said = Value::Null;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            said = without_events_of_starting_pods(content(&get(&running, "/api/v1/diagnosis").await.1));
            if said == *wanted {
                break;
            }
        }
        running.stop().await;
        said
    })
}

/// All but what was read, which differs: files may hold no logs or no owners.
fn content(document: &str) -> Value {
    let mut value: Value = serde_json::from_str(document).unwrap_or_else(|e| panic!("{e}: {document}"));
    for of_reading in ["sources", "notes"] {
        value.as_object_mut().unwrap().remove(of_reading);
    }
    value
}

/// Without the findings that only an event tells of a pod whose grace is not over: for a pod that starts, the daemon does not ask
/// for events before something is wrong with it. That would be a request for each pod of each rollout.
fn without_events_of_starting_pods(mut document: Value) -> Value {
    let from_event = |f: &Value| f["evidence"].as_array().unwrap().iter().any(|e| e["source"] == "event");
    let findings = document["findings"].as_array_mut().unwrap();
    let before = findings.len();
    findings.retain(|f| !(f["stage"] == "pending" && from_event(f)));
    let left_out = before - findings.len();
    let info = document["summary"]["info"].as_u64().unwrap() - left_out as u64;
    document["summary"]["info"] = info.into();
    document
}

/// Where they differ, finding by finding.
pub fn same(what: &str, got: &Value, wanted: &Value) {
    let list = |v: &Value| v["findings"].as_array().unwrap().clone();
    let key = |f: &Value| ["uid", "container", "reason"].map(|k| f[k].to_string());
    for finding in list(wanted) {
        let found = list(got).into_iter().find(|f| key(f) == key(&finding));
        assert_eq!(found.as_ref(), Some(&finding), "{what}");
    }
    for finding in list(got) {
        assert!(list(wanted).iter().any(|f| key(f) == key(&finding)), "{what}: more is found: {finding:#}");
    }
    assert_eq!(got, wanted, "{what}");
}

fn all_ways_agree(name: &str, server: &Server, now: Timestamp, logs: Option<&Path>) {
    let cluster = &server.cluster;
    cluster.set_clock(now, 0.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dump = runtime.block_on(dump(cluster, logs));
    let rule_file = folder(&[("rules.yaml", RULES.as_bytes())]);
    let rule_file = rule_file.path().join("rules.yaml");
    let loaded = RuleSet::load(&[("rules.yaml".to_owned(), RULES.to_owned())]).unwrap();
    for (rules, with_rules) in [(RuleSet::empty(), false), (loaded, true)] {
        let what = format!("{name}, rules {with_rules}");
        let now = now.to_string();
        let mut options = vec!["-o", "json", "--now", &now];
        if with_rules {
            options.extend(["--rules", rule_file.to_str().unwrap()]);
        }
        if logs.is_none() {
            options.push("--no-logs");
        }
        let in_files = kubehealer(&[&["diagnose", "-f", dump.path().to_str().unwrap()], &*options].concat());
        let in_cluster = server.diagnose(&[&["-A"], &*options].concat());
        assert_eq!((in_files.code, in_cluster.code), (0, 0), "{what}: {} {}", in_files.err, in_cluster.err);
        let (in_files, in_cluster) = (content(&in_files.out), content(&in_cluster.out));
        assert!(!in_cluster["findings"].as_array().unwrap().is_empty(), "{what}: nothing is found");
        let ruled = in_cluster.to_string().contains("by the rule ours");
        assert_eq!(ruled, with_rules, "{what}");
        same(&format!("{what}: files"), &in_files, &in_cluster);
        let written = rule_file.with_file_name("dump.tar.gz");
        let to = written.to_str().unwrap();
        let no_logs: &[&str] = if logs.is_none() { &["--no-logs"] } else { &[] };
        let run = server.run(&[&["dump", "-A", "-o", to], no_logs].concat(), &[]);
        assert_eq!(run.code, 0, "{what}: {}", run.err);
        let in_dump = kubehealer(&[&["diagnose", "-f", to], &*options].concat());
        same(&format!("{what}: dump"), &content(&in_dump.out), &in_cluster);
        let in_cluster = without_events_of_starting_pods(in_cluster);
        let of_daemon = of_daemon(cluster, &Arc::new(rules), logs.is_some(), &in_cluster);
        same(&format!("{what}: daemon"), &of_daemon, &in_cluster);
    }
}

/// A folder of lists, of which the simulated server knows most kinds.
fn of_lists(folder: &str) {
    let path = recordings().join(folder);
    let server = Server::new();
    let mut lists = Vec::new();
    for entry in std::fs::read_dir(&path).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            let list: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let kind = list["kind"].as_str().unwrap_or_default().trim_end_matches("List");
            let kind =
                if kind.is_empty() { list["items"][0]["kind"].as_str().unwrap_or_default() } else { kind };
            if RESOURCES.iter().any(|r| r.kind == kind) {
                lists.push(list);
            }
        }
    }
    assert!(!lists.is_empty());
    server.cluster.load(lists).unwrap();
    let logs = path.join("logs");
    let logs = logs.is_dir().then_some(logs.as_path());
    if let Some(logs) = logs {
        let only_logs = folder_with_link(logs);
        simulator::replay::load(&server.cluster, only_logs.path()).unwrap();
    }
    let limit = "2027-01-01T00:00:00Z".parse().unwrap();
    let now = files::read(&[path], std::io::empty()).newest_time(limit).unwrap();
    all_ways_agree(folder, &server, now, logs);
}

fn folder_with_link(logs: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(logs, folder.path().join("logs")).unwrap();
    folder
}

/// Recorded watches, played until a part of them is through.
fn of_streams(files: &[&str], part: f64) {
    let paths = files.iter().map(|file| recordings().join(file));
    let streams: Vec<_> = paths.map(|path: PathBuf| std::fs::File::open(path).unwrap()).collect();
    let recording = Recording::read(streams).unwrap();
    let count = (recording.lines.len() as f64 * part) as usize;
    let server = Server::new();
    recording.lines[..count].iter().for_each(|line| line.apply(&server.cluster));
    all_ways_agree(&format!("{part} of {files:?}"), &server, recording.lines[count - 1].at, None);
}

const WATCH: [&str; 2] = ["watch/pods-watch.jsonl", "watch/events-watch.jsonl"];
const CHANGES: [&str; 2] = ["changes/watch/pods-watch.jsonl", "changes/watch/events-watch.jsonl"];

#[test]
fn daemon_cluster_and_files_agree_on_a_cluster_full_of_failures() {
    of_lists("final");
}

#[test]
fn daemon_cluster_and_files_agree_on_a_cluster_after_changes() {
    of_lists("changes/final");
}

#[test]
fn daemon_cluster_and_files_agree_on_pods_after_their_node_has_restarted() {
    of_lists("after-node-restart");
}

#[test]
fn daemon_cluster_and_files_agree_on_pods_and_events_of_several_namespaces() {
    of_lists("protobuf");
}

#[test]
fn daemon_cluster_and_files_agree_in_the_midst_and_at_the_end_of_a_recorded_watch() {
    for part in [0.3, 1.0] {
        of_streams(&WATCH, part);
    }
}

#[test]
fn daemon_cluster_and_files_agree_in_the_midst_and_at_the_end_of_recorded_changes() {
    for part in [0.3, 0.6, 1.0] {
        of_streams(&CHANGES, part);
    }
}
