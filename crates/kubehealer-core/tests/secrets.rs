//! What must never be shown, in every way that text of a cluster gets into a finding; and what only looks like it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

#[path = "../../../tests/it/support/secrets.rs"]
mod samples;

use kubehealer_core::diagnosis::{ContainerLog, Snapshot, Sources, survey};
use kubehealer_core::objects::{Event, Job, Node, Object, Packed, Pod, Workload, from_object};
use kubehealer_core::redact::{MARK, redact};
use samples::{Sample, leaks, samples};
use serde_json::{Value, json};

const NOW: &str = "2026-11-22T10:00:00Z";

fn pod(status: Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": "cart-0", "uid": "u1", "creationTimestamp": "2026-11-22T09:00:00Z"},
        "spec": {"nodeName": "node-a", "containers": [{"name": "cart", "image": "web:1"}]}, "status": status})
}

fn container(state: Value, last: Value) -> Value {
    pod(json!({"phase": "Running", "startTime": "2026-11-22T09:00:00Z",
        "containerStatuses": [{"name": "cart", "image": "web:1", "restartCount": 5, "ready": false, "started": false, "containerID": "containerd://1", "state": state, "lastState": last}]}))
}

fn terminated(reason: &str, code: i32, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": message, "startedAt": "2026-11-22T09:59:00Z", "finishedAt": "2026-11-22T09:59:10Z"}})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn event(kind: &str, uid: &str, reason: &str, message: &str) -> Packed<Event> {
    let name = if kind == "Node" { "node-a" } else { "cart-0" };
    let event: Event = from_object(&json!({"metadata": {"namespace": "shop", "name": "e", "uid": "e"}, "type": "Warning", "reason": reason, "message": message, "count": 30,
        "firstTimestamp": "2026-11-22T09:10:00Z", "lastTimestamp": "2026-11-22T09:59:50Z",
        "involvedObject": {"kind": kind, "namespace": "shop", "name": name, "uid": uid, "fieldPath": "spec.containers{cart}"}}))
    .unwrap();
    event.into()
}

fn of<T: Object>(value: &Value) -> T {
    from_object(value).unwrap()
}

fn snapshot(pods: &[Value]) -> Snapshot {
    Snapshot { pods: pods.iter().map(of::<Pod>).collect(), sources: Sources::ALL, ..Snapshot::default() }
}

/// Each way in, by its name: a snapshot with the text in that place.
/// What a way in is called, and a snapshot into which the text came by it.
type Way = (&'static str, fn(&str) -> Snapshot);

const WAYS: &[Way] = &[
    ("termination message", |text| {
        let pod = container(
            waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container"),
            terminated("Error", 1, text),
        );
        snapshot(&[pod])
    }),
    ("end of a termination message", |text| {
        let pod = container(
            waiting("CrashLoopBackOff", "back-off 5m0s"),
            terminated("Error", 1, &format!("starting\n{text}\n")),
        );
        snapshot(&[pod])
    }),
    ("StartError's command line", |text| {
        let said = format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"{text}\": executable file not found in $PATH: unknown"
        );
        snapshot(&[container(waiting("RunContainerError", &said), terminated("StartError", 128, &said))])
    }),
    ("StartError's command line in a crash loop", |text| {
        let said = format!(
            "failed to create containerd task: OCI runtime create failed: exec: \"{text}\": stat {text}: no such file or directory: unknown"
        );
        snapshot(&[container(
            waiting("CrashLoopBackOff", "back-off 5m0s"),
            terminated("StartError", 128, &said),
        )])
    }),
    ("CreateContainerError", |text| {
        snapshot(&[container(
            waiting("CreateContainerError", &format!("failed to generate spec: {text}")),
            json!({}),
        )])
    }),
    ("CreateContainerConfigError", |text| {
        snapshot(&[container(
            waiting("CreateContainerConfigError", &format!("invalid value: {text}")),
            json!({}),
        )])
    }),
    ("postStart hook", |text| {
        let said = format!(
            "PostStartHook failed: Exec lifecycle hook ([{text}]) for Container \"cart\" failed - error: exited with 1, message: \"{text}\""
        );
        let mut all =
            snapshot(&[container(waiting("PostStartHookError", &said), terminated("Error", 1, ""))]);
        all.events = vec![event("Pod", "u1", "FailedPostStartHook", &said)];
        all
    }),
    ("unknown waiting reason", |text| snapshot(&[container(waiting("SomethingNew", text), json!({}))])),
    ("invalid image name", |text| {
        let image = format!("registry.example.com/{text}");
        let said = format!(
            "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid reference format"
        );
        let mut pod = container(waiting("InvalidImageName", &said), json!({}));
        pod["spec"]["containers"][0]["image"] = json!(image);
        snapshot(&[pod])
    }),
    ("image that is not found", |text| {
        let image = format!("{text}/app:1");
        let said = format!(
            "Back-off pulling image \"{image}\": ErrImagePull: failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
        );
        let mut pod = container(waiting("ImagePullBackOff", &said), json!({}));
        pod["spec"]["containers"][0]["image"] = json!(image);
        pod["status"]["containerStatuses"][0]["image"] = json!(image);
        snapshot(&[pod])
    }),
    ("registry's answer", |text| {
        let said = format!(
            "failed to pull and unpack image \"web:1\": failed to authorize: failed to fetch oauth token: unexpected status: 401: {text}"
        );
        snapshot(&[container(
            waiting("ImagePullBackOff", &format!("Back-off pulling image \"web:1\": ErrImagePull: {said}")),
            json!({}),
        )])
    }),
    ("log", |text| {
        let mut all =
            snapshot(&[container(waiting("CrashLoopBackOff", "back-off 5m0s"), terminated("Error", 1, ""))]);
        let tail = format!("starting\nfatal: cannot start: {text}\n").into_bytes();
        all.logs = vec![log(tail)];
        all
    }),
    ("last line of a log", |text| {
        let mut all =
            snapshot(&[container(waiting("CrashLoopBackOff", "back-off 5m0s"), terminated("Error", 1, ""))]);
        all.logs = vec![log(format!("starting\n{text}\n").into_bytes())];
        all
    }),
    ("log in JSON", |text| {
        let mut all =
            snapshot(&[container(waiting("CrashLoopBackOff", "back-off 5m0s"), terminated("Error", 1, ""))]);
        let line = json!({"level": "error", "msg": "cannot start", "error": text});
        all.logs = vec![log(format!("{line}\n").into_bytes())];
        all
    }),
    ("mount event", |text| {
        let mut all = snapshot(&[container(waiting("ContainerCreating", ""), json!({}))]);
        all.events = vec![event(
            "Pod",
            "u1",
            "FailedMount",
            &format!(
                "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32\nMounting arguments: {text}"
            ),
        )];
        all
    }),
    ("sandbox event", |text| {
        let mut all = snapshot(&[container(waiting("ContainerCreating", ""), json!({}))]);
        all.events = vec![event(
            "Pod",
            "u1",
            "FailedCreatePodSandBox",
            &format!("Failed to create pod sandbox: plugin type=\"x\" failed (add): {text}"),
        )];
        all
    }),
    ("probe event", |text| {
        let mut pod = container(json!({"running": {"startedAt": "2026-11-22T09:00:00Z"}}), json!({}));
        pod["spec"]["containers"][0]["readinessProbe"] =
            json!({"exec": {"command": [text]}, "periodSeconds": 5, "failureThreshold": 3});
        pod["status"]["containerStatuses"][0]["started"] = json!(true);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": text, "lastTransitionTime": "2026-11-22T09:05:00Z"}]);
        let mut all = snapshot(&[pod]);
        all.events = vec![event("Pod", "u1", "Unhealthy", &format!("Readiness probe failed: {text}"))];
        all
    }),
    ("probe's URL", |text| {
        let mut pod = container(json!({"running": {"startedAt": "2026-11-22T09:00:00Z"}}), json!({}));
        pod["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"path": format!("/{text}"), "port": 80}, "periodSeconds": 5, "failureThreshold": 3});
        pod["status"]["containerStatuses"][0]["started"] = json!(true);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": "2026-11-22T09:05:00Z"}]);
        snapshot(&[pod])
    }),
    ("liveness kill", |text| {
        let mut pod = container(
            json!({"running": {"startedAt": "2026-11-22T09:59:20Z"}}),
            terminated("Error", 137, ""),
        );
        pod["spec"]["containers"][0]["livenessProbe"] =
            json!({"exec": {"command": ["x"]}, "periodSeconds": 5, "failureThreshold": 3});
        let mut all = snapshot(&[pod]);
        all.events = vec![
            event("Pod", "u1", "Unhealthy", &format!("Liveness probe failed: {text}")),
            event("Pod", "u1", "Killing", "Container cart failed liveness probe, will be restarted"),
        ];
        all
    }),
    ("pod that failed", |text| {
        snapshot(&[pod(
            json!({"phase": "Failed", "reason": "Evicted", "message": format!("The node was low on resource: memory. {text}")}),
        )])
    }),
    ("pod that was refused", |text| {
        snapshot(&[pod(
            json!({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": format!("Pod was rejected: {text}")}),
        )])
    }),
    ("pod that is not scheduled", |text| {
        let mut pod = pod(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": format!("0/3 nodes are available: {text}."), "lastTransitionTime": "2026-11-22T09:05:00Z"}]}),
        );
        pod["spec"]["nodeName"] = json!("");
        snapshot(&[pod])
    }),
    ("node's condition", |text| {
        let mut all = snapshot(&[]);
        all.nodes = vec![of::<Node>(
            &json!({"metadata": {"name": "node-a", "uid": "n"}, "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": format!("container runtime is down: {text}"), "lastTransitionTime": "2026-11-22T09:05:00Z"}]}}),
        )];
        all
    }),
    ("workload's condition", |text| {
        let mut all = snapshot(&[]);
        all.replica_sets = vec![of::<Workload>(
            &json!({"metadata": {"namespace": "shop", "name": "cart-1", "uid": "r", "creationTimestamp": "2026-11-22T09:00:00Z"}, "spec": {"replicas": 3}, "status": {"replicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": format!("admission webhook \"w.example.com\" denied the request: {text}"), "lastTransitionTime": "2026-11-22T09:05:00Z"}]}}),
        )];
        all
    }),
    ("event of a workload", |text| {
        let mut all = snapshot(&[]);
        all.jobs = vec![of::<Job>(
            &json!({"metadata": {"namespace": "shop", "name": "cart-0", "uid": "j", "creationTimestamp": "2026-11-22T09:00:00Z"}, "spec": {"backoffLimit": 6}, "status": {}}),
        )];
        all.events = vec![event(
            "Job",
            "j",
            "FailedCreate",
            &format!("Error creating: pods \"cart-0-\" is forbidden: {text}"),
        )];
        all
    }),
    ("job's condition", |text| {
        let mut all = snapshot(&[]);
        all.jobs = vec![of::<Job>(
            &json!({"metadata": {"namespace": "shop", "name": "cart-0", "uid": "j", "creationTimestamp": "2026-11-22T09:00:00Z"}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": format!("Container cart failed: {text}"), "lastTransitionTime": "2026-11-22T09:05:00Z"}]}}),
        )];
        all
    }),
];

fn log(tail: Vec<u8>) -> ContainerLog {
    ContainerLog {
        namespace: "shop".into(),
        pod: "cart-0".into(),
        container: "cart".into(),
        previous: true,
        tail,
        reading: None,
    }
}

/// All that is said of it.
fn said(all: &Snapshot) -> String {
    let survey = survey(all, NOW.parse().unwrap());
    let scopes: Vec<String> =
        survey.findings.iter().filter_map(|f| f.scope.as_ref()).map(|s| s.name.clone()).collect();
    let problems: Vec<Value> =
        survey.problems.iter().map(|p| json!({"cause": p.cause, "reach": p.reach})).collect();
    let mut texts = Vec::new();
    collect(&json!({"findings": survey.findings, "problems": problems, "scopes": scopes}), &mut texts);
    texts.join("\n")
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, texts)),
        _ => {}
    }
}

#[test]
fn there_are_three_hundred_kinds_of_secrets_and_each_is_hidden_by_itself() {
    let samples = samples();
    assert!(samples.len() >= 300, "{}", samples.len());
    let wrong: Vec<String> = samples
        .iter()
        .filter_map(|s| {
            leaks(s, &redact(&s.text)).map(|leak| {
                format!("{}: {leak}\n    text  {}\n    shown {}", s.kind, s.text, redact(&s.text))
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} kinds:\n{}", wrong.len(), samples.len(), wrong.join("\n"));
}

#[test]
fn at_least_95_of_100_kinds_are_hidden_whichever_way_they_came_in() {
    let samples = samples();
    let leaks_of = |(way, place): &(&str, fn(&str) -> Snapshot)| {
        let shown: Vec<(&Sample, String)> = samples.iter().map(|s| (s, said(&place(&s.text)))).collect();
        assert!(
            shown.iter().filter(|(_, text)| text.len() > 40).count() > samples.len() * 9 / 10,
            "{way}: nothing is said"
        );
        let leaked: Vec<String> = shown
            .iter()
            .filter_map(|(s, text)| leaks(s, text).map(|leak| format!("{way}: {}: {leak}", s.kind)))
            .collect();
        println!("{way:45} {} of {} kinds hidden", samples.len() - leaked.len(), samples.len());
        assert!(leaked.len() * 20 <= samples.len(), "{way}: {}", leaked.join("\n"));
        leaked
    };
    let (some, others) = WAYS.split_at(WAYS.len() / 2);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let some = scope.spawn(|| some.iter().flat_map(leaks_of).collect::<Vec<_>>());
        others.iter().flat_map(leaks_of).chain(some.join().unwrap()).collect()
    });
    println!("{}", wrong.join("\n"));
}

#[test]
fn what_only_looks_like_a_secret_stays_readable_whichever_way_it_came_in() {
    let corpus = include_str!("../../../tests/data/redaction.txt").replace('¦', "");
    let plain: Vec<&str> = corpus.lines().filter_map(|line| line.strip_prefix("same: ")).collect();
    assert!(plain.len() >= 100, "{}", plain.len());
    let mut wrong = Vec::new();
    for (way, place) in WAYS {
        // Nobody calls an image like a sentence.
        let image = way.contains("image");
        for text in plain.iter().filter(|text| !image || !text.contains([' ', '=', '"'])) {
            let shown = said(&place(text));
            if shown.contains(MARK) {
                let line = shown.lines().find(|line| line.contains(MARK)).unwrap_or_default();
                wrong.push(format!("{way}: {text}\n    {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_decoded_object_holds_no_secret_any_more() {
    for sample in samples() {
        let pod: Pod = of(&container(waiting("X", &sample.text), terminated("Error", 1, &sample.text)));
        let event = event("Pod", "u1", "X", &sample.text);
        let held = format!("{pod:?} {event:?}");
        let held = held.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
        assert_eq!(leaks(&sample, &held), None, "{}", sample.kind);
    }
}
