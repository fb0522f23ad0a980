//! What the objects in hand contradict is not said: each hint beside what refutes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use jiff::Timestamp;
use kubehealer_core::diagnosis::{Finding, Severity, Snapshot, Sources, Stage, Survey, survey};
use kubehealer_core::objects::{Event, Node, Pod, Workload};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn decode<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn look(pods: Vec<Value>, nodes: Vec<Value>, events: Vec<Value>, more: Snapshot) -> Survey {
    let sources = Sources { events: true, owners: true, nodes: !nodes.is_empty(), logs: false };
    let snapshot = Snapshot {
        pods: pods.into_iter().map(decode::<Pod>).collect(),
        nodes: nodes.into_iter().map(decode::<Node>).collect(),
        events: events.into_iter().map(|event| decode::<Event>(event).into()).collect(),
        sources,
        ..more
    };
    survey(&snapshot, now())
}

fn first(pods: Vec<Value>, nodes: Vec<Value>, events: Vec<Value>) -> Finding {
    look(pods, nodes, events, Snapshot::default()).findings.remove(0)
}

/// Everything that a person may read of a finding.
fn words(f: &Finding) -> String {
    format!("{} | {} | {}", f.summary, f.cause.text, f.next_steps.join(" / "))
}

fn pending(message: &str, more: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": "p", "creationTimestamp": "2026-11-22T11:00:00Z"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "schedulerName": "default-scheduler"},
        "status": {"phase": "Pending"}
    });
    if !message.is_empty() {
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": "2026-11-22T11:00:00Z"}]);
    }
    for (key, value) in more.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn event(by: &str, reason: &str, message: &str) -> Value {
    json!({"metadata": {"name": reason}, "type": "Warning", "reason": reason, "message": message, "reportingComponent": by,
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "p", "uid": "p"},
        "eventTime": "2026-11-22T11:58:00.000000Z"})
}

fn node(name: &str, allocatable: Value, taints: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"taints": taints},
        "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}})
}

#[test]
fn that_no_scheduler_has_handled_a_pod_is_refuted_by_whatever_shows_one() {
    let alone = first(vec![pending("", json!({}))], vec![], vec![]);
    assert!(
        alone.summary.contains("no scheduler has handled it: schedulerName is default-scheduler"),
        "{}",
        words(&alone)
    );

    let said = "Pod provisioning timed out (will retry) for pod: shop/p";
    let fargate = first(
        vec![pending("", json!({}))],
        vec![],
        vec![event("fargate-scheduler", "FailedScheduling", said)],
    );
    assert_eq!(fargate.summary, format!("pod cannot be scheduled: fargate-scheduler: {said}"));

    let mut nominated = pending("", json!({}));
    nominated["status"]["nominatedNodeName"] = json!("fargate-1");
    let nominated = first(vec![nominated], vec![], vec![]);
    assert!(nominated.summary.contains("node fargate-1 is nominated"), "{}", words(&nominated));

    let claims = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    let mut failed = event(
        "provisioner",
        "ProvisioningFailed",
        "rpc error: code = Internal desc = quota of disks is used up",
    );
    failed["involvedObject"] =
        json!({"kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": "c"});
    let claim = first(vec![pending("", claims)], vec![], vec![failed]);
    assert_eq!(claim.summary, "pod cannot be scheduled: claim data: quota of disks is used up");

    for f in [fargate, nominated, claim] {
        assert!(!words(&f).contains("no scheduler"), "{}", words(&f));
    }
}

#[test]
fn that_tainted_nodes_have_a_device_is_said_only_where_they_have_it() {
    let message = "0/2 nodes are available: 1 node(s) had untolerated taint {pool: backend}, 1 Insufficient example.com/nic.";
    let asks = json!({"containers": [{"name": "app", "resources": {"requests": {"example.com/nic": "1"}}}]});
    let taint = json!([{"key": "pool", "value": "backend", "effect": "NoSchedule"}]);
    let of = |plain: Value, tainted: Value| {
        let nodes = vec![node("plain", plain, json!([])), node("tainted", tainted, taint.clone())];
        first(vec![pending(message, asks.clone())], nodes, vec![])
    };
    let none = of(json!({"cpu": "4"}), json!({"cpu": "4"}));
    assert!(none.summary.contains("no node advertises example.com/nic"), "{}", words(&none));
    assert!(!none.next_steps[0].contains("toleration"), "{}", words(&none));
    let taken = of(json!({"cpu": "4", "example.com/nic": "2"}), json!({"cpu": "4"}));
    assert!(!words(&taken).contains("every node that has"), "{}", words(&taken));
    let behind = of(json!({"cpu": "4"}), json!({"cpu": "4", "example.com/nic": "2"}));
    assert!(
        words(&behind).contains("every node that has example.com/nic is tainted: tainted"),
        "{}",
        words(&behind)
    );
    // Without the nodes nothing is guessed.
    let unknown = first(vec![pending(message, asks)], vec![], vec![]);
    assert!(
        !words(&unknown).contains("advertises") && !words(&unknown).contains("likely have it"),
        "{}",
        words(&unknown)
    );
}

#[test]
fn a_request_that_no_node_could_ever_meet_is_said_with_the_largest_node() {
    let message = "0/1 nodes are available: 1 Insufficient memory.";
    let of = |memory: &str| {
        let asks = json!({"containers": [{"name": "app", "resources": {"requests": {"memory": memory}}}]});
        first(vec![pending(message, asks)], vec![node("a", json!({"memory": "8Gi"}), json!([]))], vec![])
    };
    assert!(
        of("64Gi").summary.contains("no node is large enough: the largest has memory 8Gi"),
        "{}",
        words(&of("64Gi"))
    );
    let steps = of("64Gi").next_steps;
    assert!(steps.iter().any(|s| s.contains("more of the same size do not help")), "{steps:?}");
    assert!(!steps.iter().any(|s| s.contains("free capacity")), "{steps:?}");
    assert!(!of("4Gi").summary.contains("large enough"), "{}", words(&of("4Gi")));
    assert!(of("4Gi").next_steps.iter().any(|s| s.contains("free capacity")));
}

#[test]
fn several_volumes_out_of_reach_of_every_node_are_said_to_be_apart_and_certain_by_karpenter() {
    let message = "0/3 nodes are available: 3 node(s) had volume node affinity conflict.";
    let volume = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let two = json!({"volumes": [volume("a"), volume("b")]});
    let f = first(vec![pending(message, two.clone())], vec![], vec![]);
    assert!(f.summary.contains("no node can attach all 2 of its volumes (claims a, b)"), "{}", words(&f));
    let karpenter = event(
        "karpenter",
        "FailedScheduling",
        "Failed to schedule pod, incompatible with nodepool \"default\", daemonset overhead={\"cpu\":\"1\"}, no instance type satisfied requirements topology.kubernetes.io/zone DoesNotExist",
    );
    let f = first(vec![pending(message, two)], vec![], vec![karpenter]);
    assert!(f.summary.contains("(a, b) are in different zones"), "{}", words(&f));
    assert!(!words(&f).contains("daemonset overhead"), "{}", words(&f));
    let one = first(vec![pending(message, json!({"volumes": [volume("a")]}))], vec![], vec![]);
    assert!(!words(&one).contains("zones"), "{}", words(&one));
}

#[test]
fn a_deleted_pod_says_what_the_kubelet_could_not_do_and_guesses_no_volume_beside_it() {
    let deleted = |more: Value| {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "p", "deletionTimestamp": "2026-11-22T11:00:00Z", "deletionGracePeriodSeconds": 30},
            "spec": {"nodeName": "a", "containers": [{"name": "app", "image": "app:1"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-22T11:00:00Z"}}}]}
        });
        for (key, value) in more.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        pod
    };
    let here = || vec![node("a", json!({"cpu": "4"}), json!([]))];
    let guess = first(vec![deleted(json!({}))], here(), vec![]);
    assert!(words(&guess).contains("volume cannot be unmounted"), "{}", words(&guess));
    let cni = "error killing pod: failed to \"KillPodSandbox\" for \"x\" with KillPodSandboxError: \"rpc error: code = Unknown desc = failed to destroy network for sandbox \\\"abc\\\": plugin type=\\\"calico\\\" failed (delete): connection is unauthorized: Unauthorized\"";
    let f = first(vec![deleted(json!({}))], here(), vec![event("kubelet", "FailedKillPod", cni)]);
    assert!(
        f.summary.contains("its network cannot be torn down") && f.summary.contains("Unauthorized"),
        "{}",
        words(&f)
    );
    assert!(!words(&f).contains("unmount"), "{}", words(&f));
    // A node that is gone has no kubelet that could be at fault.
    let held = deleted(json!({"finalizers": ["example.com/runner"]}));
    let f = first(vec![held], vec![node("b", json!({"cpu": "4"}), json!([]))], vec![]);
    assert!(
        f.summary.contains("held by finalizer example.com/runner; its node a no longer exists"),
        "{}",
        words(&f)
    );
}

#[test]
fn a_pod_that_its_controller_has_replaced_raises_no_alarm() {
    let husk = json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": "p", "creationTimestamp": "2026-11-22T11:50:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-1", "uid": "rs", "controller": true}]},
        "spec": {"nodeName": "a", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "Pod was rejected: The node had condition: [DiskPressure]. ", "startTime": "2026-11-22T11:50:00Z"}
    });
    let of = |ready: i32| {
        let set: Workload = decode(json!({"metadata": {"name": "cart-1", "namespace": "shop", "uid": "rs"},
            "spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": ready}}));
        let more = Snapshot { replica_sets: vec![set], ..Snapshot::default() };
        look(vec![husk.clone()], vec![], vec![], more).findings.remove(0)
    };
    assert_eq!((of(2).severity, of(2).stage), (Severity::Info, Stage::Recovered));
    assert_eq!((of(1).severity, of(1).stage), (Severity::Warning, Stage::Active));
}

#[test]
fn a_job_is_kept_open_by_a_helper_and_not_by_another_worker() {
    let pod = |other: &str| {
        json!({
            "metadata": {"name": "p", "namespace": "shop", "uid": "p",
                "ownerReferences": [{"kind": "Job", "name": "import", "uid": "j", "controller": true}]},
            "spec": {"nodeName": "a", "restartPolicy": "Never", "containers": [{"name": "import", "image": "import:1"}, {"name": other, "image": "x:1"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "import", "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-11-22T10:00:00Z", "finishedAt": "2026-11-22T11:00:00Z"}}},
                {"name": other, "ready": true, "started": true, "state": {"running": {"startedAt": "2026-11-22T10:00:00Z"}}}]}
        })
    };
    let f = first(vec![pod("istio-proxy")], vec![], vec![]);
    assert_eq!((f.reason.as_str(), f.severity), ("SidecarStillRunning", Severity::Warning));
    assert_eq!(
        f.summary,
        "container istio-proxy still runs after container import has completed (exit code 0), so Job import does not complete"
    );
    assert_eq!(first(vec![pod("second-half")], vec![], vec![]).severity, Severity::Info);
}

#[test]
fn a_container_that_its_probe_killed_is_no_success_though_it_exited_with_0() {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": "p"},
        "spec": {"nodeName": "a", "restartPolicy": "OnFailure", "containers": [{"name": "web", "image": "web:1",
            "livenessProbe": {"httpGet": {"path": "/health", "port": 80}}}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "web",
            "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-11-22T11:57:00Z", "finishedAt": "2026-11-22T11:58:00Z"}}}]}
    });
    let of_web = |reason: &str, message: &str| {
        let mut e = event("kubelet", reason, message);
        e["involvedObject"]["fieldPath"] = json!("spec.containers{web}");
        e
    };
    let events = vec![
        of_web("Killing", "Container web failed liveness probe, will be restarted"),
        of_web("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404"),
    ];
    let f = first(vec![pod.clone()], vec![], events);
    assert_eq!(f.reason.as_str(), "LivenessProbeFailed");
    assert!(
        f.summary.contains("killed by its liveness probe")
            && f.summary.contains("GET :80/health: HTTP status 404"),
        "{}",
        words(&f)
    );
    assert!(look(vec![pod], vec![], vec![], Snapshot::default()).findings.is_empty());
}

#[test]
fn the_cause_stands_before_the_stuck_rollout() {
    let pod = pending("0/3 nodes are available: 3 Insufficient cpu.", json!({}));
    let mut of_new = pod.clone();
    of_new["metadata"] = json!({"name": "cart-2-x", "namespace": "shop", "uid": "p", "labels": {"pod-template-hash": "2"}, "creationTimestamp": "2026-11-22T11:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-2", "uid": "rs", "controller": true}]});
    let deployment: Workload = decode(
        json!({"metadata": {"name": "cart", "namespace": "shop", "uid": "d"}, "spec": {"replicas": 1},
        "status": {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"cart-2\" has timed out progressing.", "lastTransitionTime": "2026-11-22T11:30:00Z"}]}}),
    );
    let old: Workload = decode(json!({"metadata": {"name": "cart-1", "namespace": "shop", "uid": "rs1",
            "ownerReferences": [{"kind": "Deployment", "name": "cart", "uid": "d", "controller": true}]},
        "spec": {"replicas": 1}, "status": {"replicas": 1, "readyReplicas": 1}}));
    let of = |replica_sets: Vec<Workload>| {
        let deployments = vec![deployment.clone()];
        look(
            vec![of_new.clone()],
            vec![],
            vec![],
            Snapshot { deployments, replica_sets, ..Snapshot::default() },
        )
    };
    let found = of(vec![]);
    let reasons: Vec<&str> = found.findings.iter().map(|f| f.reason.as_str()).collect();
    assert_eq!(reasons, ["Unschedulable", "ProgressDeadlineExceeded"]);
    assert_eq!(found.findings[1].severity, Severity::Critical);
    // The cause is that of the new revision: it stands beside it.
    assert_eq!(
        of(vec![old]).findings[1].summary,
        "rollout of Deployment cart is stuck: cart-2 has 0 of 1 pods ready: 0/3 nodes: 3 Insufficient cpu; the old revision still serves with 1 of 1 pods"
    );
}

#[test]
fn a_sandbox_that_is_replaced_all_the_time_is_said_with_the_kubelets_last_warning() {
    let mut pod = pending("", json!({"nodeName": "n"}));
    pod["status"] = json!({"phase": "Running", "startTime": "2026-11-22T11:30:00Z",
        "conditions": [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": "2026-11-22T11:59:40Z"}],
        "containerStatuses": [{"name": "app", "restartCount": 3, "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-22T11:59:39Z"}}}]});
    let changed = |times| {
        let mut event =
            event("kubelet", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        event["type"] = json!("Normal");
        event["count"] = json!(times);
        event["firstTimestamp"] = json!("2026-11-22T11:40:00Z");
        event["lastTimestamp"] = json!("2026-11-22T11:59:41Z");
        event["eventTime"] = Value::Null;
        event
    };
    let warning = event(
        "kubelet",
        "Unhealthy",
        "Readiness probe failed: failure in a Windows system call (0xc0370105)",
    );
    let pulled = event("kubelet", "Pulled", "Container image \"app:1\" already present on machine");
    let found = first(vec![pod.clone()], vec![], vec![changed(31), pulled.clone(), warning]);
    assert_eq!(found.reason.as_str(), "FailedCreatePodSandBox");
    for said in ["re-created its sandbox 31 times", "failure in a Windows system call (0xc0370105)"] {
        assert!(found.summary.contains(said), "{}", found.summary);
    }
    // After a restart of the node it is replaced, which is no failure.
    let quiet = look(vec![pod], vec![], vec![changed(2), pulled], Snapshot::default());
    assert!(quiet.findings.iter().all(|f| f.reason.as_str() != "FailedCreatePodSandBox"));
}
