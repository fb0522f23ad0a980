//! What must never be shown does not leave the daemon on any of its ways out: log, metrics, API and page.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kubehealer::daemon::{self, Running};
use kubehealer::redact::MARK;
use kubehealer::simulator::{Cluster, Log};
use serde_json::{Value, json};

use crate::daemon::{get, settings};
use crate::samples::{leaks, samples};
use crate::watch::capture;

const BEGAN: &str = "2026-11-22T09:00:00Z";

/// A pod that fails, and a text that comes into it in some way.
type Way = fn(&Cluster, &str, &str);

const WAYS: [(&str, Way); 5] = [
    ("termination message", |cluster, name, text| {
        crash(cluster, name, text);
    }),
    ("command line", |cluster, name, text| {
        let said = format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"{text}\": executable file not found in $PATH: unknown"
        );
        apply(
            cluster,
            name,
            "web:1",
            &json!({"waiting": {"reason": "RunContainerError", "message": said}}),
            &json!({}),
        );
    }),
    ("image", |cluster, name, text| {
        let image = format!("{text}/app:1");
        let said = format!(
            "Back-off pulling image \"{image}\": ErrImagePull: failed to resolve reference \"{image}\": {image}: not found"
        );
        apply(
            cluster,
            name,
            &image,
            &json!({"waiting": {"reason": "ImagePullBackOff", "message": said}}),
            &json!({}),
        );
    }),
    ("log", |cluster, name, text| {
        cluster.set_log(
            "shop",
            name,
            "web",
            true,
            Log::Text(format!("starting\nfatal: cannot start: {text}\n").into()),
        );
        crash(cluster, name, "");
    }),
    ("event", |cluster, name, text| {
        let about =
            json!({"kind": "Pod", "namespace": "shop", "name": name, "uid": name, "apiVersion": "v1"});
        let message = format!(
            "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32\nMounting arguments: {text}"
        );
        let event = json!({"kind": "Event", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": format!("{name}.1")},
            "involvedObject": about, "type": "Warning", "reason": "FailedMount", "message": message, "count": 9,
            "firstTimestamp": BEGAN, "lastTimestamp": "2026-11-22T09:59:50Z"});
        cluster.apply(event).unwrap();
        apply(cluster, name, "web:1", &json!({"waiting": {"reason": "ContainerCreating"}}), &json!({}));
    }),
];

/// A crash loop, with this termination message.
fn crash(cluster: &Cluster, name: &str, message: &str) {
    let last = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message,
        "startedAt": "2026-11-22T09:58:00Z", "finishedAt": "2026-11-22T09:59:00Z", "containerID": "containerd://1"}});
    let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}});
    apply(cluster, name, "web:1", &state, &last);
}

fn apply(cluster: &Cluster, name: &str, image: &str, state: &Value, last: &Value) {
    let condition =
        |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": BEGAN});
    let pod = json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": "shop", "name": name, "uid": name, "creationTimestamp": BEGAN},
        "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": image}]},
        "status": {"phase": "Pending", "startTime": BEGAN, "conditions": [condition("PodScheduled", "True"), condition("Ready", "False")],
            "containerStatuses": [{"name": "web", "image": image, "restartCount": 5, "ready": false, "containerID": "containerd://2",
                "state": state, "lastState": last}]}});
    cluster.apply(pod).unwrap();
}

/// What the daemon shows of these texts, which come in by these ways in turn: lines, by way out. One that is about a pod names it.
async fn shown(texts: &[&str], ways: &[(&str, Way)]) -> Vec<(&'static str, Vec<String>)> {
    let log = Arc::default();
    let guard = capture(&log, "kubehealer=trace");
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 1.0);
    let running = daemon::start(daemon::Settings { logs: true, ..settings(&cluster) }).await.unwrap();
    for (number, (text, (_, put))) in texts.iter().zip(ways.iter().cycle()).enumerate() {
        put(&cluster, &pod(number), text);
        // So that each has its lines in the log, and its events and log are read.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    tokio::time::resume();
    let mut shown = vec![("page", lines(&get(&running, "/").await.1))];
    shown.push((
        "metrics",
        lines(&get(&running, "/metrics").await.1.replace("\\\"", "\"").replace("\\\\", "\\")),
    ));
    for (name, path, list) in [
        ("incidents", "/api/v1/incidents", "items"),
        ("problems", "/api/v1/problems", "items"),
        ("diagnosis", "/api/v1/diagnosis", "findings"),
    ] {
        shown.push((name, items(&running, path, list).await));
    }
    running.stop().await;
    drop(guard);
    let log = String::from_utf8(std::mem::take(&mut *log.lock().unwrap())).unwrap();
    shown.push(("log", lines(&log)));
    tokio::time::pause();
    shown
}

fn pod(number: usize) -> String {
    format!("pod-{number:04}")
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The strings of each item of a list, page by page.
async fn items(running: &Running, path: &str, list: &str) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let page: Value =
            serde_json::from_str(&get(running, &format!("{path}?limit=500{next}")).await.1).unwrap();
        for item in page[list].as_array().unwrap() {
            let mut texts = Vec::new();
            strings(item, &mut texts);
            found.push(texts.join("\n"));
        }
        match page["continue"].as_str() {
            Some(token) => next = format!("&continue={token}"),
            None => return found,
        }
    }
}

fn strings(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, texts)),
        _ => {}
    }
}

/// Which pod a line is about.
fn number(line: &str) -> Option<usize> {
    line.split("pod-").skip(1).find_map(|rest| rest.get(..4)?.parse().ok())
}

#[tokio::test(start_paused = true)]
async fn no_secret_leaves_the_daemon_by_its_log_its_metrics_its_api_or_its_page() {
    let samples = samples();
    let texts: Vec<&str> = samples.iter().map(|sample| &*sample.text).collect();
    for (out, lines) in shown(&texts, &WAYS).await {
        let pods: BTreeSet<usize> = lines.iter().filter_map(|line| number(line)).collect();
        assert!(
            matches!(out, "page" | "problems") || pods.len() == samples.len(),
            "{out} shows {}",
            pods.len()
        );
        let of = |line: &str| match number(line) {
            Some(number) => std::slice::from_ref(&samples[number]),
            None => &samples[..],
        };
        let leaked = |line: &String| {
            of(line).iter().filter(|sample| leaks(sample, line).is_some()).collect::<Vec<_>>()
        };
        let kinds: BTreeSet<&str> = lines.iter().flat_map(leaked).map(|sample| &*sample.kind).collect();
        assert_eq!(kinds, BTreeSet::new(), "{out} shows secrets");
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_a_secret_leaves_the_daemon_as_it_came() {
    let corpus = include_str!("../data/redaction.txt").replace('¦', "");
    let plain: Vec<&str> = corpus.lines().filter_map(|line| line.strip_prefix("same: ")).collect();
    // Nobody calls an image like a sentence.
    let ways: Vec<(&str, Way)> = WAYS.into_iter().filter(|(name, _)| *name != "image").collect();
    for (out, lines) in shown(&plain, &ways).await {
        let hidden: Vec<&String> = lines.iter().filter(|line| line.contains(MARK)).collect();
        assert!(hidden.is_empty(), "{out}: {hidden:#?}");
        if out == "diagnosis" {
            let whole =
                lines.iter().filter(|line| number(line).is_some_and(|n| line.contains(plain[n]))).count();
            assert!(whole * 10 >= plain.len() * 9, "{whole} of {} are shown", plain.len());
        }
    }
}
