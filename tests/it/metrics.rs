//! The text of `/metrics` is a contract: names, types, help, labels and values on all recordings.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it metrics::` writes the golden texts anew; look at the difference before you keep it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubehealer::daemon::{self, Settings, Target};
use kubehealer::incidents::{FirstSeen, Incidents};
use kubehealer::metrics::Metrics;
use kubehealer::objects::{Object, Pod};
use kubehealer::rules::RuleSet;
use kubehealer::simulator::{self, Cluster};
use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::daemon::get;
use crate::replay::{Watcher, recordings, steps};

/// The text of a scrape.
pub fn text(incidents: &mut Incidents, max_series: usize, now: Timestamp) -> String {
    let shared = RwLock::new(std::mem::take(incidents));
    let mut text = Vec::new();
    Metrics::new(max_series).unwrap().write(&shared, now, &mut text).unwrap();
    *incidents = shared.into_inner();
    String::from_utf8(text).unwrap()
}

/// A line of the text: a name, labels and a value.
#[derive(Debug)]
struct Series<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    value: &'a str,
}

impl<'a> Series<'a> {
    /// Reads a line as Prometheus does; panics where Prometheus would refuse it.
    fn read(line: &'a str) -> Self {
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(mut inner) = rest.strip_prefix('{') {
            while !inner.starts_with('}') {
                let (label, after) = inner.split_once("=\"").unwrap();
                let mut escaped = false;
                let quote = after.char_indices().find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                let (value, after) = after.split_at(quote.unwrap_or_else(|| panic!("{line}")).0);
                assert!(labels.insert(label, value).is_none(), "{line}");
                inner = after[1..].strip_prefix(',').unwrap_or(&after[1..]);
            }
            rest = &inner[1..];
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        Self { name, labels, value }
    }

    /// With its labels in order: which stands first means nothing.
    fn canonical(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
        format!("{}{{{}}} {}", self.name, labels.join(","), self.value)
    }
}

/// The lines in order, each family with one HELP and one TYPE before its series. What each run has its own values of is
/// left without them.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut family, mut families, mut seen) = ("", BTreeSet::new(), BTreeSet::new());
    let mut rows = text.lines();
    while let Some(line) = rows.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is described twice");
            let kind = rows.next().unwrap();
            assert!(kind.starts_with(&format!("# TYPE {family} ")), "{kind}");
            lines.extend([line.to_owned(), kind.to_owned()]);
            continue;
        }
        let mut series = Series::read(line);
        assert_eq!(series.name, family, "{line}");
        if family.starts_with("process_") || family == "kubehealer_watch_last_event_timestamp_seconds" {
            series.value = "0";
        }
        let canonical = series.canonical();
        assert!(seen.insert(canonical.rsplit_once(' ').unwrap().0.to_owned()), "twice: {line}");
        lines.push(canonical);
    }
    lines.sort();
    lines
}

/// A body as it was before it was sent in chunks.
fn whole(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&rest[..length]);
        chunks = rest[length..].trim_start_matches("\r\n");
    }
    body
}

fn golden(name: &str, lines: &[String]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/metrics").join(name);
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let (got, want): (BTreeSet<&str>, BTreeSet<&str>) = (text.lines().collect(), wanted.lines().collect());
    let (new, gone): (Vec<_>, Vec<_>) = (got.difference(&want).collect(), want.difference(&got).collect());
    assert!(text == wanted, "{name} has changed; new: {new:#?}; gone: {gone:#?}");
}

#[test]
fn the_text_of_the_recorded_watches_is_as_it_was() {
    for (name, folder) in [("watch", "watch"), ("changes-watch", "changes/watch")] {
        let steps = steps(folder, true);
        let mut watcher = Watcher::default();
        for (at, (now, step)) in steps.iter().enumerate() {
            watcher.step(*now, step);
            // In the middle of it, too, when most is going on.
            if at == steps.len() / 2 {
                let text = text(&mut watcher.incidents, 1_000_000, *now);
                golden(&format!("{name}-half.txt"), &lines(&text));
            }
        }
        let text = text(&mut watcher.incidents, 1_000_000, watcher.now);
        golden(&format!("{name}.txt"), &lines(&text));
    }
}

#[test]
fn the_text_of_the_recorded_lists_is_as_it_was() {
    let mut files: Vec<String> =
        ["final", "changes/final", "after-node-restart"].map(|folder| format!("{folder}/pods.json")).into();
    files.extend(["batch", "ml", "payments", "platform", "shop"].map(|n| format!("protobuf/pods-{n}.json")));
    for file in files {
        let list: Value =
            serde_json::from_str(&std::fs::read_to_string(recordings().join(&file)).unwrap()).unwrap();
        let pods: Vec<Pod> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let mut pod: Pod = serde_json::from_value(item.clone()).unwrap();
                pod.compact();
                pod
            })
            .collect();
        let now = crate::replay::newest_time(&list["items"]).unwrap();
        let mut watcher = Watcher::default();
        watcher.relist(&pods.iter().collect::<Vec<_>>(), FirstSeen::InFirstList, now);
        let text = text(&mut watcher.incidents, 1_000_000, now);
        golden(&file.replace('/', "-").replace(".json", ".txt"), &lines(&text));
    }
}

/// What a daemon tells of itself: its families, and the series of those whose labels do not hang on the time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_tells_of_itself_is_as_it_was() {
    let cluster = Cluster::new();
    simulator::replay::load(&cluster, &recordings().join("final")).unwrap();
    cluster.set_clock("2026-11-22T11:23:29Z".parse().unwrap(), 0.0);
    let target = Target::Client(simulator::client(&cluster), "a simulated cluster".to_owned());
    let mut settings = Settings::new(target);
    settings.listen = ([127, 0, 0, 1], 0).into();
    let clock = cluster.clone();
    settings.clock = Arc::new(move || clock.now());
    let rules = "rules:\n- name: restarted\n  when: container.restartCount > 1000\n  raise: {reason: Restarted, severity: info, summary: restarted}\n";
    settings.rules = Arc::new(RuleSet::load(&[("rules.yaml".to_owned(), rules.to_owned())]).unwrap());
    let running = daemon::start(settings).await.unwrap();
    let began = Instant::now();
    let text = loop {
        let text = whole(&get(&running, "/metrics").await.1);
        let wanted = ["source=\"events\"", "source=\"owners\"} 1", "source=\"nodes\"} 1"];
        let seen = |what: &&&str| {
            text.lines().any(|l| l.starts_with("kubehealer_source_available") && l.contains(**what))
        };
        let synced = text.lines().filter(|l| l.starts_with("kubehealer_watch_synced{") && l.ends_with("} 1"));
        // Workloads are judged after their pods; this family has series once they are.
        let judged = text.contains("kubehealer_workload_old_revision_ready_pods{");
        if judged && wanted.iter().filter(seen).count() == wanted.len() && synced.count() == 8 {
            break text;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    running.stop().await;
    let about_itself = [
        "kubehealer_watch",
        "kubehealer_source",
        "kubehealer_rule",
        "kubehealer_build",
        "kubehealer_tracked",
        "kubehealer_stale",
        "kubehealer_series",
        "process_",
    ];
    let lines = lines(&text).into_iter().filter_map(|line| {
        if line.starts_with('#') {
            return Some(line);
        }
        let of_itself = about_itself.iter().any(|p| line.starts_with(p));
        // Their labels are the contract; how many there were is of this run.
        let (series, value) = line.rsplit_once(' ').unwrap();
        let counts = ["kubehealer_watch_events", "kubehealer_watch_relists"];
        let value = if counts.iter().any(|p| line.starts_with(p)) { "?" } else { value };
        // Read in the background, after the events: they may be tried by now.
        let tried = series.contains("source=\"logs\"");
        (of_itself && !tried).then(|| format!("{series} {value}"))
    });
    golden("daemon.txt", &lines.collect::<Vec<_>>());
}

/// Pods of one Deployment without their image, each with its kubelet's words.
fn pulls(watcher: &mut Watcher, words: &[&str], now: Timestamp) {
    for (n, message) in words.iter().enumerate() {
        let pod = json!({
            "metadata": {"name": format!("api-7d9f8b6c5-x{n}x4q"), "namespace": "payments", "uid": format!("{n}"),
                "creationTimestamp": "2026-11-22T10:00:00Z", "labels": {"pod-template-hash": "7d9f8b6c5"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-7d9f8b6c5", "uid": "r", "controller": true}]},
            "spec": {"nodeName": "node-a", "containers": [{"name": "api", "image": "registry.example.com/payments/api:4.9.9"}]},
            "status": {"phase": "Pending", "startTime": "2026-11-22T10:00:00Z", "containerStatuses": [{
                "name": "api", "image": "registry.example.com/payments/api:4.9.9", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}]}
        });
        watcher.apply(&serde_json::from_value::<Pod>(pod).unwrap(), FirstSeen::InFirstList, now);
    }
}

fn sentences(text: &str) -> Vec<(&str, &str, &str, &str)> {
    let of = text.lines().filter(|l| l.starts_with("kubehealer_incident_info{")).map(Series::read);
    of.map(|s| (s.labels["workload"], s.labels["container"], s.labels["reason"], s.labels["summary"]))
        .collect()
}

#[test]
fn one_series_says_why_for_each_workload_container_and_reason_and_only_the_cause_changes_it() {
    let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
    let missing = |id: &str| {
        format!(
            "Back-off pulling image \"registry.example.com/payments/api:4.9.9\": ErrImagePull: rpc error: code = NotFound desc = \
             failed to pull and unpack image \"registry.example.com/payments/api:4.9.9\": failed to resolve reference: \
             registry.example.com/payments/api:4.9.9: not found (request {id})"
        )
    };
    let [a, b] =
        ["6b5a1e0c-9d0e-4a55-8a54-1a2b3c4d5e6f", "7b5a1e0c-9d0e-4a55-8a54-1a2b3c4d5e60"].map(missing);
    let mut watcher = Watcher::default();
    pulls(&mut watcher, &[&a, &b, "another thing entirely"], now);
    let first = text(&mut watcher.incidents, 1_000, now);
    let wanted =
        [("api", "api", "ImagePullBackOff", "image not found: registry.example.com/payments/api:4.9.9")];
    assert_eq!(sentences(&first), wanted, "what most pods say");
    // Other pods say it, and later: the series is the same.
    pulls(&mut watcher, &["another thing entirely", &b, &a], now);
    assert_eq!(sentences(&text(&mut watcher.incidents, 1_000, now)), wanted);
    pulls(&mut watcher, &["another thing entirely"; 3], now);
    assert_ne!(sentences(&text(&mut watcher.incidents, 1_000, now)), wanted);
}

#[test]
fn sentences_above_the_limit_of_series_are_counted() {
    let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
    let mut watcher = Watcher::default();
    pulls(&mut watcher, &["x"], now);
    let text = text(&mut watcher.incidents, 0, now);
    assert_eq!(sentences(&text), []);
    assert!(
        text.contains("kubehealer_series_dropped_total{metric=\"kubehealer_incident_info\"} 1\n"),
        "{text}"
    );
}

#[test]
fn hostile_values_cannot_end_a_label_or_a_line() {
    let now: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
    let mut watcher = Watcher::default();
    for (uid, node) in [("1", "1\"} 5\n# evil\\ \u{1b}[2J\u{85}é"), ("2", "\\"), ("3", "node-a")] {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": uid, "creationTimestamp": "2026-11-22T10:00:00Z"},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": "web:1"}]},
            "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        });
        watcher.apply(&serde_json::from_value::<Pod>(pod).unwrap(), FirstSeen::InFirstList, now);
    }
    let text = text(&mut watcher.incidents, 1_000, now);
    let of_pods: Vec<Series<'_>> =
        text.lines().filter(|l| l.starts_with("kubehealer_pod_unhealthy{")).map(Series::read).collect();
    assert_eq!(of_pods.len(), 3, "{text}");
    assert!(lines(&text).iter().all(|l| !l.chars().any(char::is_control)), "{text}");
    assert!(of_pods.iter().any(|s| s.labels["node"] == "\\\\"), "{text}");
    assert!(of_pods.iter().any(|s| s.labels["node"].starts_with("1\\\"} 5")), "{text}");
}
