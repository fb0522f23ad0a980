//! The daemon as a whole, against the simulated cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kubehealer::cluster::snapshot::{self, Progress, Wanted};
use kubehealer::daemon::{self, Running, Settings, StartError, Target};
use kubehealer::diagnosis::{Snapshot, Survey, survey};
use kubehealer::report;
use kubehealer::select::revisions_that_matter;
use kubehealer::simulator::{self, Cluster, Cut, Fault, kubelet};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::replay::recordings;
use crate::watch::capture;

pub fn settings(cluster: &Cluster) -> Settings {
    let target = Target::Client(simulator::client(cluster), "a simulated cluster".to_owned());
    let mut settings = Settings::new(target);
    settings.listen = ([127, 0, 0, 1], 0).into();
    let clock = cluster.clone();
    settings.clock = Arc::new(move || clock.now());
    settings
}

/// Status and body.
pub async fn get(running: &Running, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

pub async fn json(running: &Running, path: &str) -> Value {
    serde_json::from_str(&get(running, path).await.1).unwrap()
}

/// Asks until the answer is as wanted; gives up after ten seconds.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn reasons(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|i| i["reason"].as_str().unwrap().to_owned()).collect()
}

/// What was recorded at one instant, in a cluster whose time stands still there.
fn recorded() -> Cluster {
    let cluster = Cluster::new();
    simulator::replay::load(&cluster, &recordings().join("final")).unwrap();
    cluster.set_clock("2026-11-22T11:23:29Z".parse().unwrap(), 0.0);
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_open_in_the_log_the_metrics_and_the_api_and_end_with_what_they_are_about() {
    let cluster = simulator::demo(60.0);
    let running = daemon::start(settings(&cluster)).await.unwrap();
    let mut wanted =
        vec!["CrashLoopBackOff", "OOMKilled", "ImagePullBackOff", "Unschedulable", "StuckTerminating"];
    until("the demo's failures", async || {
        let found = reasons(&json(&running, "/api/v1/incidents").await);
        wanted.iter().all(|w| found.iter().any(|f| f == w)).then_some(())
    })
    .await;
    let metrics = get(&running, "/metrics").await.1;
    // The demo's unschedulable pod is muted.
    wanted.retain(|reason| *reason != "Unschedulable");
    for reason in wanted {
        assert!(
            metrics
                .lines()
                .any(|l| l.starts_with("kubehealer_pod_unhealthy{")
                    && l.contains(&format!("reason=\"{reason}\""))),
            "{reason} is not in the metrics"
        );
    }
    until("an incident that is resolved", async || {
        let list = json(&running, "/api/v1/incidents").await;
        list["resolved"].as_array()?.iter().any(|r| r["reason"] == "ImagePullBackOff").then_some(())
    })
    .await;
    let problems = json(&running, "/api/v1/problems").await;
    assert_eq!(problems["kind"], "ProblemList");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_finds_to_the_byte_what_diagnose_finds() {
    let cluster = recorded();
    let running = daemon::start(settings(&cluster)).await.unwrap();
    let client = simulator::client(&cluster);
    let mut seen = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await.unwrap();
    let now = cluster.now();
    let failing = revisions_that_matter(&survey(&seen.snapshot, now), &seen.snapshot);
    seen.snapshot.revisions = snapshot::revisions(&client, failing).await;
    let survey = survey(&seen.snapshot, now);
    let wanted = document_of(&survey, &seen.snapshot);
    let wanted_value: Value = serde_json::from_str(&wanted).unwrap();
    let began = Instant::now();
    let mut got = String::new();
    // The evidence comes in the background.
    while began.elapsed() < Duration::from_secs(30) && got != wanted {
        tokio::time::sleep(Duration::from_millis(200)).await;
        got = get(&running, "/api/v1/diagnosis").await.1;
    }
    let got_value: Value = serde_json::from_str(&got).unwrap();
    let list = |v: &Value| v["findings"].as_array().unwrap().clone();
    for finding in list(&wanted_value) {
        let same = |f: &&Value| ["uid", "container", "reason"].iter().all(|key| f[key] == finding[key]);
        assert_eq!(list(&got_value).iter().find(same), Some(&finding));
    }
    assert_eq!(got_value["summary"], wanted_value["summary"]);
    assert_eq!(got, wanted);
    running.stop().await;
}

/// A pod of ReplicaSet `NAME-7d9f` on node-a, whose container `app` is in this state, at noon.
pub fn pod_at_noon(name: &str, container: Value, state: Value, ready: &str) -> Value {
    let set = name.rsplit_once('-').unwrap().0;
    let condition = |kind: &str, status: &str, at: &str| json!({"type": kind, "status": status, "reason": "", "message": "", "lastProbeTime": null, "lastTransitionTime": at});
    let mut spec = json!({"name": "app", "image": "r.example.com/a:1", "resources": {}});
    spec.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let mut status = json!({"name": "app", "image": "r.example.com/a:1", "imageID": "", "ready": ready == "True", "started": true,
        "restartCount": 4, "lastState": {}});
    status.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("0a1b2c3d-0000-4000-8000-{name:0>12}"),
            "creationTimestamp": "2026-11-22T11:00:00Z", "labels": {"pod-template-hash": "7d9f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": set, "controller": true}]},
        "spec": {"restartPolicy": "Always", "nodeName": "node-a", "terminationGracePeriodSeconds": 30, "containers": [spec]},
        "status": {"phase": "Running", "startTime": "2026-11-22T11:00:00Z", "containerStatuses": [status],
            "conditions": [condition("PodScheduled", "True", "2026-11-22T11:00:00Z"), condition("Initialized", "True", "2026-11-22T11:00:00Z"),
                condition("Ready", ready, "2026-11-22T11:00:56Z")]}})
}

fn event_at(about: Value, reason: &str, message: &str, at: &str) -> Value {
    let namespace = about["namespace"].as_str().unwrap_or("default").to_owned();
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": reason.to_lowercase(), "namespace": namespace, "uid": reason, "creationTimestamp": at},
        "involvedObject": about, "reason": reason, "message": message, "type": "Warning", "source": {"component": "kubelet"},
        "firstTimestamp": at, "lastTimestamp": at, "count": 3, "eventTime": null})
}

/// What `diagnose` prints of it as JSON.
fn document_of(survey: &Survey, snapshot: &Snapshot) -> String {
    report::json(&report::Look { cluster: "", error: "", survey, snapshot, notes: &[] })
}

/// What `diagnose` says of a cluster, and the daemon to the byte, in time.
async fn said_by_both(cluster: &Cluster) -> String {
    let seen = snapshot::snapshot(&simulator::client(cluster), &Wanted::default(), &Progress::default())
        .await
        .unwrap();
    let survey = survey(&seen.snapshot, cluster.now());
    let wanted = document_of(&survey, &seen.snapshot);

    let running = daemon::start(settings(cluster)).await.unwrap();
    let mut got = String::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) && got != wanted {
        tokio::time::sleep(Duration::from_millis(100)).await;
        got = get(&running, "/api/v1/diagnosis").await.1;
    }
    assert_eq!(got, wanted);
    running.stop().await;
    wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_of_the_node_and_other_pods_of_the_revision_tell_reaches_the_daemon_too() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T12:00:00Z".parse().unwrap(), 0.0);
    let killed = json!({"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 137, "startedAt": "2026-11-22T11:52:20Z", "finishedAt": "2026-11-22T11:59:00Z",
            "containerID": "containerd://1"}}});
    let probed = json!({"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 137, "startedAt": "2026-11-22T11:54:00Z", "finishedAt": "2026-11-22T11:54:31Z",
            "containerID": "containerd://2"}}});
    let up = json!({"state": {"running": {"startedAt": "2026-11-22T11:00:01Z"}}, "restartCount": 0});
    let probes = json!({"livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}});
    let slow = pod_at_noon("slow-7d9f-aaaaa", probes.clone(), probed, "False");
    let about_slow = json!({"kind": "Pod", "namespace": "shop", "name": "slow-7d9f-aaaaa", "uid": slow["metadata"]["uid"],
        "fieldPath": "spec.containers{app}"});
    cluster
        .load([
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a", "uid": "n1"},
                "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": "2026-11-01T00:00:00Z"}]}}),
            pod_at_noon("hungry-7d9f-bbbbb", json!({}), killed, "False"),
            slow,
            pod_at_noon("slow-7d9f-ccccc", probes, up, "True"),
            event_at(about_slow, "Killing", "Container app failed liveness probe, will be restarted", "2026-11-22T11:54:30Z"),
            event_at(json!({"kind": "Node", "name": "node-a", "uid": "node-a"}), "SystemOOM",
                "System OOM encountered, victim process: java, pid: 4242", "2026-11-22T11:58:59Z"),
        ])
        .unwrap();
    let wanted = said_by_both(&cluster).await;
    assert!(wanted.contains("NodePressure"), "{wanted}");
    assert!(wanted.contains("pod slow-7d9f-ccccc was ready after 55s"), "{wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_say_of_a_claim_reaches_the_pod_that_waits_for_it_in_the_daemon_as_in_diagnose() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T12:00:00Z".parse().unwrap(), 0.0);
    let unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    let claim =
        json!({"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data-db-0", "uid": "c1"});
    let earlier =
        json!({"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data-db-0", "uid": "c0"});
    let mut old = event_at(earlier, "ProvisioningFailed", "of a claim that is gone", "2026-11-22T11:30:00Z");
    old["metadata"]["name"] = "old".into();
    cluster
        .load([
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0", "namespace": "shop", "uid": "c1"},
                "spec": {}, "status": {"phase": "Pending"}}),
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "db-0", "namespace": "shop", "uid": "p1", "creationTimestamp": "2026-11-22T11:40:00Z"},
                "spec": {"containers": [{"name": "app", "image": "db:1"}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]},
                "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": unbound, "lastTransitionTime": "2026-11-22T11:40:00Z"}]}}),
            event_at(claim, "ProvisioningFailed", "failed to provision volume with StorageClass \"fast\": rpc error: code = ResourceExhausted desc = volume limit (10) has been reached", "2026-11-22T11:59:00Z"),
            old,
        ])
        .unwrap();
    let wanted = said_by_both(&cluster).await;
    assert!(
        wanted.contains("pod cannot be scheduled: claim data-db-0: ")
            && wanted.contains(": volume limit (10) has been reached"),
        "{wanted}"
    );
    assert!(!wanted.contains("that is gone"), "{wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_a_cron_job_and_a_pod_without_a_node_lack_is_told_by_the_daemon_as_by_diagnose() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T12:00:00Z".parse().unwrap(), 0.0);
    let meta = |name: &str| json!({"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-11-22T11:00:00Z"});
    let about =
        |kind: &str, name: &str| json!({"kind": kind, "namespace": "shop", "name": name, "uid": name});
    let quota = |what: &str| {
        format!(
            "Error creating: {what} \"x\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=5, limited: pods=5"
        )
    };
    let mut of_cron_job =
        event_at(about("CronJob", "sync"), "FailedCreate", &quota("jobs.batch"), "2026-11-22T11:59:00Z");
    of_cron_job["metadata"]["name"] = "other".into();
    cluster
        .load([
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-1", "uid": "n1"},
                "spec": {"taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]},
                "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": "2026-11-01T00:00:00Z"}]}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("embedder"),
                "spec": {"containers": [{"name": "app", "image": "a:1"}]},
                "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 node(s) had untolerated taint(s).", "lastTransitionTime": "2026-11-22T11:40:00Z"}]}}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("import"), "spec": {"backoffLimit": 6}, "status": {}}),
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta("sync"), "spec": {"schedule": "* * * * *"}, "status": {}}),
            event_at(about("Job", "import"), "FailedCreate", &quota("pods"), "2026-11-22T11:58:00Z"),
            of_cron_job,
        ])
        .unwrap();
    let wanted = said_by_both(&cluster).await;
    for said in [
        "node gpu-1 has the taint dedicated=gpu:NoSchedule",
        "pods of Job import cannot be created: exceeded quota: few",
        "Jobs of CronJob sync cannot be created: exceeded quota: few",
    ] {
        assert!(wanted.contains(said), "{said:?} is not in {wanted}");
    }
}

/// Pods that have not begun or are over are on the node, but a restart of it ends none of their containers.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_a_node_is_told_by_the_pods_that_ran_on_it_in_the_daemon_as_in_diagnose() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T12:00:00Z".parse().unwrap(), 0.0);
    let restarted = json!({"state": {"running": {"startedAt": "2026-11-22T11:58:20Z"}},
        "lastState": {"terminated": {"reason": "Unknown", "exitCode": 255, "startedAt": "2026-11-22T11:00:01Z", "finishedAt": "2026-11-22T11:58:00Z",
            "containerID": "containerd://1"}}});
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a", "uid": "n1"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": "2026-11-01T00:00:00Z"}]}}),
    ];
    for n in 0..3 {
        objects.push(pod_at_noon(&format!("web-7d9f-{n}aaaa"), json!({}), restarted.clone(), "True"));
    }
    for n in 0..5 {
        let done = json!({"ready": false, "restartCount": 0, "state": {"terminated": {"reason": "Completed", "exitCode": 0,
            "startedAt": "2026-11-22T11:00:01Z", "finishedAt": "2026-11-22T11:10:00Z", "containerID": format!("containerd://done{n}")}}});
        let mut over = pod_at_noon(&format!("job-7d9f-{n}bbbb"), json!({}), done, "False");
        over["status"]["phase"] = "Succeeded".into();
        objects.push(over);
    }
    cluster.load(objects).unwrap();
    let wanted = said_by_both(&cluster).await;
    assert!(wanted.contains("NodeRestart"), "{wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_may_not_list_pods_says_so_keeps_trying_and_is_ready_once_it_may() {
    let cluster = recorded();
    cluster.fault("pods", Fault::Forbidden);
    let running = daemon::start(settings(&cluster)).await.unwrap();
    let (status, why) = until("the refusal", async || {
        Some(get(&running, "/readyz").await).filter(|(_, why)| why.contains("not allowed"))
    })
    .await;
    assert_eq!(status, 503);
    assert!(why.contains("pods") && why.contains("ClusterRole"), "{why}");
    assert_eq!(get(&running, "/livez").await.0, 200, "it lives, whatever the API server says");
    cluster.heal("pods");
    until("readiness", async || (get(&running, "/readyz").await.0 == 200).then_some(())).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_events_owners_and_nodes_forbidden_pods_are_watched_all_the_same() {
    let cluster = recorded();
    for resource in
        ["events", "nodes", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs"]
    {
        cluster.fault(resource, Fault::Forbidden);
    }
    let running = daemon::start(settings(&cluster)).await.unwrap();
    until("readiness", async || (get(&running, "/readyz").await.0 == 200).then_some(())).await;
    until("incidents", async || {
        let found = reasons(&json(&running, "/api/v1/incidents").await);
        ["OOMKilled", "ImagePullBackOff", "CreateContainerConfigError"]
            .iter()
            .all(|w| found.iter().any(|f| f == w))
            .then_some(())
    })
    .await;
    // Owners that cannot be read are not waited for.
    let wanted = [
        "kubehealer_source_available{source=\"events\"} 0\n",
        "kubehealer_watch_synced{resource=\"pods\",scope=\"\"} 1\n",
    ];
    until("the metrics", async || {
        let text = get(&running, "/metrics").await.1;
        wanted.iter().all(|line| text.contains(line)).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_before_anything_is_begun() {
    let cluster = Cluster::new();
    let first = daemon::start(settings(&cluster)).await.unwrap();
    let mut second = settings(&cluster);
    second.listen = first.address;
    let Err(error) = daemon::start(second).await else { panic!("two daemons on one port") };
    assert!(matches!(error, StartError::Bind(_)));
    let text = error.to_string();
    assert!(text.contains(&first.address.to_string()) && text.contains("--listen"), "{text}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_told_otherwise_it_is_served_at_every_address_of_the_machine() {
    let cluster = Cluster::new();
    let mut settings = settings(&cluster);
    settings.listen.set_ip(daemon::Settings::new(settings.target.clone()).listen.ip());
    let running = daemon::start(settings).await.unwrap();
    let port = running.address.port();
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // In a cluster that has no other addresses, probes come by these. Where there are none, there is nothing to serve.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        tokio::net::TcpStream::connect(("::1", port)).await.unwrap();
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_within_two_seconds_whatever_its_clients_do() {
    let cluster = simulator::demo(1.0);
    cluster.fault("nodes", Fault::BlackHole);
    let running = daemon::start(settings(&cluster)).await.unwrap();
    // One client says nothing, one has sent half a request.
    let _silent = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(running.address).await.unwrap();
    half.write_all(b"GET /metrics HTT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    running.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_is_slow_does_not_hold_up_an_incident() {
    let cluster = recorded();
    cluster.fault("events", Fault::Delay(Duration::from_secs(30)));
    let running = daemon::start(settings(&cluster)).await.unwrap();
    until("readiness", async || (get(&running, "/readyz").await.0 == 200).then_some(())).await;
    let mut pod = cluster.get("pods", "shop", "price-export").unwrap();
    pod["metadata"]["name"] = json!("price-export-2");
    pod["metadata"]["uid"] = json!("00000000-0000-4000-8000-00000000abcd");
    pod["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let began = Instant::now();
    cluster.apply(pod).unwrap();
    until("the incident", async || {
        let list = json(&running, "/api/v1/incidents?namespace=shop").await;
        list["items"].as_array()?.iter().any(|i| i["pod"] == "price-export-2").then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_answered_in_words() {
    let cluster = Cluster::new();
    let running = daemon::start(settings(&cluster)).await.unwrap();
    assert_eq!(get(&running, "/nope").await.0, 404);
    let (status, why) = get(&running, "/api/v1/incidents?severity=loud").await;
    assert_eq!((status, why.contains("one of info, warning, critical")), (400, true), "{why}");
    let (status, why) = get(&running, "/api/v1/incidents?colour=red").await;
    assert_eq!((status, why.contains("valid parameters: namespace")), (400, true), "{why}");
    for page in ["/", "/status.js", "/status.css"] {
        assert_eq!(get(&running, page).await.0, 200, "{page}");
    }
    let documented: Vec<&str> = include_str!("../../docs/api.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `/")?.split('`').next())
        // One needs an id, and one has no end.
        .filter(|path| !path.ends_with("/ID") && !path.ends_with("/events"))
        .collect();
    assert_eq!(documented.len(), 10);
    for path in documented {
        assert!(matches!(get(&running, &format!("/{path}")).await.0, 200 | 503), "/{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_name_in_two_namespaces_count_as_two_in_the_reach_of_a_problem() {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 0.0);
    let image = "registry.example/shop/web:1.9";
    let began = "2026-11-22T09:00:00Z";
    for namespace in ["blue", "green"] {
        let pod = json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"namespace": namespace, "name": "web-0", "creationTimestamp": began},
            "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": image}]},
            "status": {"phase": "Pending", "startTime": began,
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": began}],
                "containerStatuses": [{"name": "web", "image": image, "ready": false, "restartCount": 0, "state": {"waiting": {
                    "reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\": ErrImagePull: rpc error: code = NotFound desc = {image}: not found")}}}]}});
        cluster.apply(pod).unwrap();
    }
    let running = daemon::start(settings(&cluster)).await.unwrap();
    let problem = until("the problem", async || {
        let list = json(&running, "/api/v1/problems").await;
        list["items"].as_array()?.iter().find(|p| p["scope"]["kind"] == "image").cloned()
    })
    .await;
    assert_eq!(problem["reach"], json!({"pods": 2, "workloads": 2, "nodes": 1}));
    running.stop().await;
}

fn image_failure(name: &str, at: jiff::Timestamp) -> Value {
    let at = at.to_string();
    let image = "registry.example/shop/web:1.9";
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": name, "creationTimestamp": at},
        "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": image}]},
        "status": {"phase": "Pending", "startTime": at,
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}],
            "containerStatuses": [{"name": "web", "image": image, "ready": false, "restartCount": 0, "state": {"waiting": {
                "reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found")}}}]}})
}

/// The image cannot be pulled for four minutes: after which seconds the number of open incidents changes, and what the metrics
/// and the log say in between.
async fn image_failure_with_clock(ahead: SignedDuration) -> (Vec<usize>, String, String) {
    let log = Arc::default();
    let _guard = capture(&log, "kubehealer=info");
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T10:00:00Z".parse().unwrap(), 1.0);
    let mut settings = settings(&cluster);
    let clock = cluster.clone();
    settings.clock = Arc::new(move || clock.now() + ahead);
    let running = daemon::start(settings).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.apply(image_failure("web-0", cluster.now())).unwrap();
    let (mut changes, mut open, mut metrics) = (Vec::new(), 0, String::new());
    for second in 0..420 {
        match second {
            200 => metrics = get(&running, "/metrics").await.1,
            240 => drop(cluster.delete("pods", "shop", "web-0")),
            _ => {}
        }
        let now = running.incidents.read().open().count();
        if now != open {
            changes.push(second);
            open = now;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.stop().await;
    let log = String::from_utf8(std::mem::take(&mut *log.lock().unwrap())).unwrap();
    (changes, metrics, log)
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_found_within_its_grace_period_with_a_clock_that_is_an_hour_off() {
    let (right, _, log) = image_failure_with_clock(SignedDuration::ZERO).await;
    assert!(matches!(right[..], [60..70, 240..250]), "{right:?}");
    assert!(!log.contains("clock"), "{log}");
    for hours in [1, -1] {
        let (changes, metrics, log) = image_failure_with_clock(SignedDuration::from_hours(hours)).await;
        assert!(
            changes.len() == 2 && changes.iter().zip(&right).all(|(a, b)| a.abs_diff(*b) <= 2),
            "{hours}: {changes:?} rather than {right:?}"
        );
        let value = |name: &str| -> f64 {
            let line = metrics.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let skew = value("kubehealer_clock_skew_seconds");
        assert!((skew + 3600.0 * hours as f64).abs() < 3.0, "{skew}");
        let since = value("kubehealer_pod_unhealthy_since_timestamp_seconds");
        let began: jiff::Timestamp = "2026-11-22T10:00:05Z".parse().unwrap();
        assert!((since - began.as_second() as f64).abs() < 3.0, "{since}");
        let lines = log.lines().filter(|line| line.contains("clock")).count();
        assert_eq!(lines, 1, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_of_which_a_part_has_panicked_ends_rather_than_look_alive() {
    let cluster = Cluster::new();
    let mut settings = settings(&cluster);
    let calls = AtomicUsize::new(0);
    settings.clock = Arc::new(move || {
        // The first call is from the start itself.
        assert_eq!(calls.fetch_add(1, Relaxed), 0, "this test's clock has stopped");
        cluster.now()
    });
    let ended = tokio::time::timeout(Duration::from_secs(10), daemon::run(settings)).await;
    assert!(matches!(ended, Ok(Err(StartError::Failed))), "{ended:?}");
}

/// An API server that goes away a moment after it has shown that a pod was created: the pod, and the daemon that saw it.
async fn cut_off_after_the_first_state_of_a_pod(replayed: bool) -> (Cluster, kubelet::Pod, Running) {
    let cluster = Cluster::new();
    cluster.set_clock("2026-11-22T12:00:00Z".parse().unwrap(), 1.0);
    let running = daemon::start(settings(&cluster)).await.unwrap();
    shown(&cluster).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let go_away = || {
        cluster.fault("* pods", Fault::Unavailable { retry_after: None });
        cluster.cut_watches("pods", Cut::MidLine);
    };
    if replayed {
        go_away();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let container = json!({"name": "app", "image": "r.example.com/a:1"});
    let manifest =
        json!({"metadata": {"namespace": "shop", "name": "cart"}, "spec": {"containers": [container]}});
    let pod = kubelet::Pod::create(&cluster, manifest).unwrap();
    if replayed {
        tokio::time::sleep(Duration::from_secs(90)).await;
        cluster.heal_all();
    }
    shown(&cluster).await;
    assert_eq!(running.incidents.read().pods(), 1);
    go_away();
    (cluster, pod, running)
}

/// Until the watch of pods has been told everything.
async fn shown(cluster: &Cluster) {
    while cluster.delivered("pods") != Some(cluster.version()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// The reasons of all incidents, open and resolved.
fn all_incidents(running: &Running) -> Vec<String> {
    let incidents = running.incidents.read();
    let open = incidents.open().map(|incident| incident.compact.reason.as_str().to_owned());
    open.chain(incidents.resolved().map(|over| over.incident.compact.reason.as_str().to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_not_judged_by_the_time_that_passes_while_its_next_state_cannot_be_shown() {
    for replayed in [false, true] {
        let (cluster, mut pod, running) = cut_off_after_the_first_state_of_a_pod(replayed).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        pod.assign("node-a");
        pod.accept();
        assert!(pod.publish());
        pod.start("app");
        assert!(pod.publish());
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(all_incidents(&running).is_empty(), "{replayed} {:?}", all_incidents(&running));
        cluster.heal_all();
        shown(&cluster).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(all_incidents(&running).is_empty(), "{replayed} {:?}", all_incidents(&running));
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_still_when_the_watch_is_back_or_has_not_come_back_for_ten_minutes_is_an_incident() {
    for comes_back in [true, false] {
        let (cluster, _, running) = cut_off_after_the_first_state_of_a_pod(comes_back).await;
        tokio::time::sleep(Duration::from_secs(if comes_back { 90 } else { 580 })).await;
        assert!(all_incidents(&running).is_empty(), "{comes_back} {:?}", all_incidents(&running));
        if comes_back {
            cluster.heal_all();
            shown(&cluster).await;
        } else {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(all_incidents(&running), ["SchedulerError"], "{comes_back}");
        running.stop().await;
    }
}
