//! `kubehealer wait`: what it waits for, when it ends and how, on the simulator and on recordings, in paused time.
//!
//! `UPDATE_GENERATED=1 cargo test --test it wait::` writes the tables of docs/ci.md.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubehealer::diagnosis::{Finding, Stage};
use kubehealer::select::Target;
use kubehealer::simulator::replay::Recording;
use kubehealer::simulator::{self, Cluster, Fault, scenarios};
use kubehealer::wait::{self, Clock, CouldNotLook, Outcome, Patience, Settings, State, Verdict};
use serde_json::{Value, json};

use super::replay::recordings;

fn settings(words: &[&str]) -> Settings {
    let targets = words.iter().map(|word| word.parse::<Target>().unwrap()).collect();
    Settings { targets, timeout: Duration::from_secs(600), patience: Patience::default() }
}

async fn follow(cluster: &Cluster, settings: &Settings) -> Result<Outcome, CouldNotLook> {
    let clock: Clock = {
        let cluster = cluster.clone();
        Arc::new(move || cluster.now())
    };
    wait::follow(&simulator::client(cluster), settings, &clock, |_, _| {}).await
}

fn code(outcome: &Outcome) -> u8 {
    match outcome.verdict {
        Verdict::Ready => 0,
        Verdict::Failed => 1,
        Verdict::TimedOut => 3,
    }
}

/// A Deployment with its status, and its newest ReplicaSet.
fn deployment(cluster: &Cluster, generation: u64, status: Value) {
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"app": "cart"}}});
    let meta = json!({
        "namespace": "shop", "name": "cart", "uid": "d", "generation": generation, "labels": {"app": "cart"},
        "annotations": {"deployment.kubernetes.io/revision": "2"}
    });
    cluster
        .apply(json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": meta, "spec": spec, "status": status}))
        .unwrap();
    for (revision, hash) in [("1", "old"), ("2", "new")] {
        let meta = json!({
            "namespace": "shop", "name": format!("cart-{hash}"), "uid": hash, "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": "d", "controller": true}]
        });
        let set =
            json!({"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": meta, "spec": {"replicas": 1}});
        cluster.apply(set).unwrap();
    }
}

/// A pod of the revision with this hash, which has been ready for a minute or waits for this reason.
fn pod(cluster: &Cluster, name: &str, hash: &str, waiting: Option<(&str, &str)>) {
    let ago = |seconds| cluster.now().checked_sub(SignedDuration::from_secs(seconds)).unwrap().to_string();
    let state = match waiting {
        None => json!({"running": {"startedAt": ago(60)}}),
        Some((reason, message)) => json!({"waiting": {"reason": reason, "message": message}}),
    };
    let ready = if waiting.is_none() { "True" } else { "False" };
    let meta = json!({
        "namespace": "shop", "name": name, "uid": name, "labels": {"app": "cart", "pod-template-hash": hash},
        "creationTimestamp": ago(90),
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("cart-{hash}"), "uid": hash, "controller": true}]
    });
    let status = json!({
        "phase": if waiting.is_none() { "Running" } else { "Pending" }, "startTime": ago(80),
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(85)},
            {"type": "Ready", "status": ready, "lastTransitionTime": ago(70)}
        ],
        "containerStatuses": [{"name": "cart", "ready": waiting.is_none(), "restartCount": 0, "state": state}]
    });
    let spec =
        json!({"nodeName": "node-a", "containers": [{"name": "cart", "image": "registry.example/cart:2"}]});
    cluster
        .apply(json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": status}))
        .unwrap();
}

fn complete() -> Value {
    json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2})
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_ready_when_its_newest_revision_is_available_and_not_before() {
    for (status, why) in [
        (
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            "latest change",
        ),
        (
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
            "1 of 2 pods updated",
        ),
        (
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
            "1 old pods",
        ),
        (
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
            "1 of 2 pods available",
        ),
    ] {
        let cluster = Cluster::new();
        deployment(&cluster, 2, status);
        pod(&cluster, "cart-new-1", "new", None);
        let (short, late) = (
            Settings { timeout: Duration::from_secs(20), ..settings(&["shop/deployment/cart"]) },
            cluster.clone(),
        );
        let outcome = follow(&cluster, &short).await.unwrap();
        assert_eq!(outcome.verdict, Verdict::TimedOut, "{why}");
        assert!(outcome.items[0].text.contains(why), "{}", outcome.items[0].text);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            deployment(&late, 2, complete());
        });
        let outcome = follow(&cluster, &settings(&["shop/deployment/cart"])).await.unwrap();
        assert_eq!(outcome.verdict, Verdict::Ready, "{why}");
        assert!((30..35).contains(&outcome.elapsed.as_secs()), "{:?}", outcome.elapsed);
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_older_revision_fail_no_rollout_and_those_of_the_newest_do() {
    let broken =
        Some(("ErrImagePull", "rpc error: code = NotFound desc = registry.example/cart:2: not found"));
    let updating =
        json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 0});
    let cluster = Cluster::new();
    deployment(&cluster, 2, updating.clone());
    pod(&cluster, "cart-old-1", "old", broken);
    let late = cluster.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        late.delete("pods", "shop", "cart-old-1");
        pod(&late, "cart-new-1", "new", None);
        deployment(&late, 2, complete());
    });
    assert_eq!(code(&follow(&cluster, &settings(&["shop/deployment/cart"])).await.unwrap()), 0);

    let cluster = Cluster::new();
    deployment(&cluster, 2, updating);
    pod(&cluster, "cart-new-1", "new", broken);
    let outcome = follow(&cluster, &settings(&["shop/deployment/cart"])).await.unwrap();
    assert_eq!(code(&outcome), 1);
    assert!(outcome.elapsed < Duration::from_secs(5), "{:?}", outcome.elapsed);
    assert!(
        outcome.items[0].text.contains("image not found: registry.example/cart:2"),
        "{}",
        outcome.items[0].text
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_newest_revision_of_a_stateful_set_or_daemon_set_changed_is_told_with_the_failure() {
    for (kind, hash) in [("StatefulSet", "own-new"), ("DaemonSet", "new")] {
        let cluster = Cluster::new();
        let meta = json!({"namespace": "shop", "name": "own", "uid": "own", "generation": 2,
            "annotations": {"deprecated.daemonset.template.generation": "2"}});
        let status = json!({"observedGeneration": 2, "updateRevision": "own-new", "currentRevision": "own-old",
            "desiredNumberScheduled": 1, "updatedNumberScheduled": 1});
        let spec = json!({"replicas": 1});
        cluster.apply(json!({"kind": kind, "apiVersion": "apps/v1", "metadata": meta, "spec": spec, "status": status})).unwrap();
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": "own", "uid": "own", "controller": true}]);
        for (revision, name) in [(1, "old"), (2, "new")] {
            let meta = json!({"namespace": "shop", "name": format!("own-{name}"), "ownerReferences": owner});
            let image = format!("registry.example/cart:{revision}");
            let data =
                json!({"spec": {"template": {"spec": {"containers": [{"name": "cart", "image": image}]}}}});
            cluster
                .apply(json!({"kind": "ControllerRevision", "apiVersion": "apps/v1", "metadata": meta, "data": data, "revision": revision}))
                .unwrap();
        }
        pod(&cluster, "own-0", "x", Some(("ErrImagePull", "registry.example/cart:2: not found")));
        let mut own = cluster.get("pods", "shop", "own-0").unwrap();
        own["metadata"]["ownerReferences"] = owner;
        own["metadata"]["labels"] = json!({"controller-revision-hash": hash, "pod-template-generation": "2"});
        cluster.apply(own).unwrap();
        let outcome = follow(&cluster, &settings(&[&format!("shop/{kind}/own")])).await.unwrap();
        assert_eq!(code(&outcome), 1, "{kind}: {outcome:?}");
        let evidence = &outcome.items[0].findings[0].evidence;
        let is_told = evidence.iter().any(|fact| fact.text == "since revision 1: image 1 -> 2");
        assert!(is_told, "{kind}: {evidence:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_heal_ends_only_strict_waiting_and_patience_ends_nothing() {
    for (reason, message, codes) in [
        ("ErrImagePull", "rpc error: code = NotFound desc = registry.example/cart:2: not found", [1, 1, 3]),
        ("CreateContainerConfigError", "configmap \"cart-config\" not found", [1, 1, 3]),
        ("ErrImagePull", "dial tcp 10.1.2.3:443: i/o timeout", [1, 3, 3]),
    ] {
        for (patience, expected) in
            [Patience::Strict, Patience::Usual, Patience::Patient].into_iter().zip(codes)
        {
            let cluster = Cluster::new();
            deployment(&cluster, 2, json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}));
            pod(&cluster, "cart-new-1", "new", Some((reason, message)));
            let settings = Settings {
                patience,
                timeout: Duration::from_secs(120),
                ..settings(&["shop/deployment/cart"])
            };
            let outcome = follow(&cluster, &settings).await.unwrap();
            assert_eq!(code(&outcome), expected, "{message} {patience:?}");
            assert!(!outcome.survey().findings.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_is_ready_as_its_status_says() {
    let cluster = Cluster::new();
    let put = |kind: &str, version: &str, name: &str, spec: Value, status: Value| {
        let meta = json!({"namespace": "shop", "name": name, "generation": 1});
        let object =
            json!({"kind": kind, "apiVersion": version, "metadata": meta, "spec": spec, "status": status});
        cluster.apply(object).unwrap();
    };
    let replicas = json!({"replicas": 2});
    let set = |update: &str| json!({"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": update});
    put("StatefulSet", "apps/v1", "done", replicas.clone(), set("a"));
    put("StatefulSet", "apps/v1", "rolling", replicas.clone(), set("b"));
    let partition = json!({"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    put("StatefulSet", "apps/v1", "canary", partition, set("b"));
    let daemons = |updated: i32, available: i32| json!({"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberAvailable": available});
    put("DaemonSet", "apps/v1", "done", json!({}), daemons(3, 3));
    put("DaemonSet", "apps/v1", "rolling", json!({}), daemons(2, 3));
    put("DaemonSet", "apps/v1", "by-hand", json!({"updateStrategy": {"type": "OnDelete"}}), daemons(0, 3));
    let rollout = |phase: &str| json!({"observedGeneration": "1", "availableReplicas": 2, "phase": phase, "message": "CanaryPauseStep"});
    put("Rollout", "argoproj.io/v1alpha1", "done", replicas.clone(), rollout("Healthy"));
    put("Rollout", "argoproj.io/v1alpha1", "rolling", replicas, rollout("Paused"));
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}]});
    put("Job", "batch/v1", "done", json!({}), condition("Complete"));
    put("Job", "batch/v1", "failed", json!({"backoffLimit": 1}), condition("Failed"));
    put("Job", "batch/v1", "rolling", json!({}), json!({"active": 1}));
    for (target, expected) in [
        ("shop/statefulset/done", 0),
        ("shop/statefulset/rolling", 3),
        ("shop/statefulset/canary", 0),
        ("shop/daemonset/done", 0),
        ("shop/daemonset/rolling", 3),
        ("shop/daemonset/by-hand", 0),
        ("shop/rollout/done", 0),
        ("shop/rollout/rolling", 3),
        ("shop/job/done", 0),
        ("shop/job/failed", 1),
        ("shop/job/rolling", 3),
    ] {
        let settings = Settings { timeout: Duration::from_secs(15), ..settings(&[target]) };
        let outcome = follow(&cluster, &settings).await.unwrap();
        assert_eq!(code(&outcome), expected, "{target}: {}", outcome.items[0].text);
    }
    let both = follow(&cluster, &settings(&["shop/job/done", "shop/job/failed"])).await.unwrap();
    let states: Vec<State> = both.items.iter().map(|item| item.state).collect();
    assert_eq!((both.verdict, states), (Verdict::Failed, vec![State::Ready, State::Failed]));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_listed_or_goes_is_no_pass() {
    let cluster = Cluster::new();
    deployment(&cluster, 2, json!({"observedGeneration": 1}));
    let error = follow(&cluster, &settings(&["shop/deployment/card"])).await.unwrap_err();
    assert_eq!(error.what, "deployment/card: not found in namespace shop");
    assert_eq!(error.hint, "did you mean deployment/cart?");
    let error = follow(&cluster, &settings(&["foo/statefulset/bar"])).await.unwrap_err();
    assert_eq!(error.hint, "is it in another namespace? see: kubectl get statefulsets -A");
    let late = cluster.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        late.delete("deployments", "shop", "cart");
    });
    let error = follow(&cluster, &settings(&["shop/deployment/cart"])).await.unwrap_err();
    assert_eq!(error.what, "deployment/cart: has been deleted in namespace shop");
    let labelled = Target::labelled("app=nosuch".parse().unwrap(), Some("shop".to_owned()));
    let nothing = Settings { targets: vec![labelled], ..settings(&[]) };
    assert!(follow(&cluster, &nothing).await.unwrap_err().what.contains("nothing to wait for"));
    cluster.fault("pods", Fault::Forbidden);
    let error = follow(&cluster, &settings(&["shop/deployment/cart"])).await.unwrap_err();
    assert!(error.what.contains("cannot watch pods: not allowed"), "{}", error.what);
}

#[tokio::test(start_paused = true)]
async fn by_label_workloads_are_waited_for_that_have_no_pods_yet() {
    let cluster = Cluster::new();
    deployment(&cluster, 2, json!({"observedGeneration": 2}));
    let labelled = Target::labelled("app=cart".parse().unwrap(), Some("shop".to_owned()));
    let settings = Settings { targets: vec![labelled], timeout: Duration::from_secs(30), ..settings(&[]) };
    let outcome = follow(&cluster, &settings).await.unwrap();
    assert_eq!(outcome.items[0].to_string(), "deployment/cart");
    assert_eq!(code(&outcome), 3);
}

/// A pod of the Job nightly, changed like this.
fn pod_of_job(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    pod(cluster, "nightly-x", "new", None);
    let mut pod = cluster.get("pods", "shop", "nightly-x").unwrap();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": "n", "controller": true}]);
    change(&mut pod);
    cluster.apply(pod).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_job_is_at_work_has_completed_or_has_failed() {
    let ended = |code: i32| json!({"terminated": {"exitCode": code, "finishedAt": "2026-11-22T10:00:00Z"}});
    let over = |phase: &'static str, code: i32| {
        move |pod: &mut Value| {
            pod["status"]["phase"] = phase.into();
            pod["status"]["conditions"][1]["status"] = "False".into();
            pod["status"]["containerStatuses"][0]["state"] = ended(code);
        }
    };
    for (change, code, is_over, text) in [
        (
            Box::new(|_: &mut Value| {}) as Box<dyn FnOnce(&mut Value)>,
            0,
            false,
            "running as part of Job nightly",
        ),
        (
            Box::new(|pod: &mut Value| {
                // The second container has done its part, which makes the pod "not ready".
                let done = json!({"name": "fetch", "ready": false, "restartCount": 0, "state": ended(0)});
                pod["status"]["containerStatuses"].as_array_mut().unwrap().push(done);
                pod["status"]["conditions"][1]["status"] = "False".into();
            }),
            0,
            false,
            "running as part of Job nightly",
        ),
        (Box::new(over("Succeeded", 0)), 0, true, "succeeded"),
        (Box::new(over("Failed", 3)), 1, true, "code 3"),
    ] {
        let cluster = Cluster::new();
        pod_of_job(&cluster, change);
        let settings = Settings { timeout: Duration::from_secs(60), ..settings(&["shop/pod/nightly-x"]) };
        let outcome = follow(&cluster, &settings).await.unwrap();
        let item = &outcome.items[0];
        assert_eq!((code, item.over), (super::wait::code(&outcome), is_over), "{}", item.text);
        assert!(item.text.contains(text), "{}", item.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_being_deleted_is_waited_for_with_its_finalizers() {
    let cluster = Cluster::new();
    pod(&cluster, "export", "new", None);
    let mut export = cluster.get("pods", "shop", "export").unwrap();
    export["metadata"]["finalizers"] = json!(["example.com/archived"]);
    export["metadata"]["deletionTimestamp"] = cluster.now().to_string().into();
    cluster.apply(export).unwrap();
    let settings = Settings { timeout: Duration::from_secs(5), ..settings(&["shop/pod/export"]) };
    let outcome = follow(&cluster, &settings).await.unwrap();
    assert_eq!(
        (code(&outcome), outcome.items[0].text.as_str()),
        (3, "it is being deleted; finalizers: example.com/archived")
    );
}

#[test]
fn a_word_is_the_one_workload_or_pod_that_it_names() {
    let server = super::contract::Server::recorded();
    let run = server.run(&["wait", "-n", "shop", "web"], &[]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "deployment/web is ready: 3 of 3 pods available\n"),
        "{}",
        run.err
    );
    assert!(run.err.contains("no pod is named web; showing deployment/web"), "{}", run.err);
    // Several pods begin so.
    assert_eq!(server.run(&["wait", "-n", "shop", "web-"], &[]).code, 2);
}

#[test]
fn a_failed_pod_is_shown_without_a_headline_that_says_there_is_no_problem() {
    let server = super::contract::Server::new();
    pod_of_job(&server.cluster, |pod| {
        pod["status"]["phase"] = "Failed".into();
        let ended = json!({"exitCode": 3, "reason": "Error", "finishedAt": pod["status"]["startTime"]});
        pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": ended});
    });
    for format in ["text", "junit"] {
        let run = server.run(&["wait", "-n", "shop", "nightly-x", "-o", format], &[]);
        assert_eq!(run.code, 1, "{}{}", run.out, run.err);
        assert!(run.out.contains("pod/nightly-x has failed: container cart: "), "{}", run.out);
        assert!(run.out.contains("next steps") && !run.out.contains("No problems found"), "{}", run.out);
    }
}

/// The rest of a line of a table in docs/ci.md.
fn row(outcome: &Outcome) -> String {
    let item = &outcome.items[0];
    let text = match outcome.verdict {
        Verdict::TimedOut => match item.findings.first() {
            Some(finding) => format!("{}; {}", item.text, finding.summary),
            None => item.text.clone(),
        },
        _ => item.text.clone(),
    };
    format!("{} | {} s | {} |", code(outcome), outcome.elapsed.as_secs(), text.replace('|', "\\|"))
}

/// When the pods of a cluster first said that an image does not exist, by uid.
type FirstSeen = Arc<Mutex<HashMap<String, Timestamp>>>;

fn watch_images(cluster: &Cluster) -> FirstSeen {
    let first = FirstSeen::default();
    let (seen, cluster) = (Arc::clone(&first), cluster.clone());
    tokio::spawn(async move {
        loop {
            for pod in cluster.all("pods") {
                let status = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
                if status["message"].as_str().is_some_and(|message| message.contains("not found")) {
                    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
                    seen.lock().unwrap().entry(uid).or_insert(cluster.now());
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    first
}

/// A failure is told within five seconds of the moment from which it is certain: when it was first shown, and the end of its
/// grace where something that is still being created may end it. What is said of one that is told later.
fn late(outcome: &Outcome, images: &FirstSeen) -> Option<String> {
    let finding = outcome.survey().findings.into_iter().find(|f| f.is_final())?;
    let pending = Finding { stage: Stage::Pending, ..finding.clone() };
    let grace =
        finding.reason.known().filter(|_| !pending.is_final()).map_or(SignedDuration::ZERO, |r| r.grace());
    let shown = images.lock().unwrap().get(&finding.uid).copied().unwrap_or_default();
    let late = outcome.observed_at.duration_since((finding.since? + grace).max(shown));
    (late >= SignedDuration::from_secs(5)).then(|| format!("{late:#} late: {}", finding.summary))
}

/// A row of a table without its time, and the time in seconds.
fn timed(row: &str) -> (String, i64) {
    let mut cells: Vec<&str> = row.split(" | ").collect();
    let at = cells.iter().position(|cell| cell.ends_with(" s")).map(|at| cells.remove(at));
    let seconds = at.map_or(0, |cell| cell.trim_end_matches(" s").parse().expect("seconds"));
    (cells.join(" | "), seconds)
}

/// Watches reconnect at random times, so that a second more or less means nothing.
fn is_same(row: &str, other: &str) -> bool {
    let ((row, took), (other, other_took)) = (timed(row), timed(other));
    row == other && (took - other_took).abs() <= 2
}

fn write(mark: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&format!("<!-- {mark} -->\n")).expect("the table");
    let (written, after) = rest.split_once("<!-- end -->").expect("the end of the table");
    let is_fresh = written.lines().count() == table.lines().count()
        && written.lines().zip(table.lines()).all(|(row, other)| is_same(row, other));
    if !is_fresh {
        assert!(
            std::env::var_os("UPDATE_GENERATED").is_some(),
            "docs/ci.md is behind: UPDATE_GENERATED=1 cargo test --test it wait:: writes\n{table}"
        );
        let fresh = format!("{before}<!-- {mark} -->\n{table}<!-- end -->{after}");
        std::fs::write(path, fresh).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn each_scenario_of_the_simulator_ends_as_the_table_says() {
    const SCENARIOS: [&str; 16] = [
        "shop/deployment/web",
        "shop/deployment/frontend",
        "batch/job/seed",
        "shop/deployment/cart",
        "ml/deployment/trainer",
        "ml/deployment/feature-store",
        "ml/deployment/llm",
        "payments/deployment/api",
        "payments/pod/settlement",
        "payments/deployment/gateway",
        "payments/deployment/payouts",
        "platform/deployment/proxy",
        "platform/pod/mail-relay",
        "platform/deployment/accounts",
        "batch/pod/audit-export",
        "batch/job/nightly-report",
    ];
    let cluster = Cluster::new();
    tokio::spawn(scenarios::play(cluster.clone()));
    let images = watch_images(&cluster);
    // It begins with all objects.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let waits = SCENARIOS.map(|target| {
        let cluster = cluster.clone();
        tokio::spawn(async move { follow(&cluster, &settings(&[target])).await.unwrap() })
    });
    let mut wrong: Vec<String> = Vec::new();
    let mut table = "| target | exit code | after | what it says |\n|---|---|---|---|\n".to_owned();
    for (target, wait) in SCENARIOS.iter().zip(waits) {
        let outcome = wait.await.unwrap();
        wrong.extend(late(&outcome, &images));
        table += &format!("| `{target}` | {}\n", row(&outcome));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{table}");
    write("scenarios", &table);
}

/// The workloads of the recording, in namespace order; when the first pod of each was there.
fn recorded() -> Vec<(String, Timestamp)> {
    let mut first: BTreeMap<String, Timestamp> = BTreeMap::new();
    for (now, step) in super::replay::steps("changes/watch", false) {
        if let super::replay::Step::Applied(pod) = step {
            let of = kubehealer::diagnosis::workload_of(&pod);
            let target = format!("{}/{}/{}", pod.metadata.namespace, of.kind.to_lowercase(), of.name);
            first.entry(target).or_insert(now);
        }
    }
    first
        .into_iter()
        .filter(|(target, _)| target.starts_with("calm/") || target.starts_with("healing/"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_recorded_change_ends_as_the_table_says_and_nothing_that_heals_has_failed() {
    let files = ["pods-watch.jsonl", "events-watch.jsonl"].map(|file| {
        std::io::BufReader::new(std::fs::File::open(recordings().join("changes/watch").join(file)).unwrap())
    });
    let recording = Recording::read(files).unwrap();
    let cluster = Cluster::new();
    cluster.set_clock(recording.start(), 1.0);
    // It holds pods and events alone.
    for resource in ["deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs", "nodes"]
    {
        cluster.fault(resource, Fault::Forbidden);
    }
    let images = watch_images(&cluster);
    let playing = cluster.clone();
    tokio::spawn(async move { recording.play(&playing, 1.0).await });
    let waits: Vec<_> = recorded()
        .into_iter()
        .map(|(target, first)| {
            let cluster = cluster.clone();
            let wait = tokio::spawn({
                let target = target.clone();
                async move {
                    let until = first.duration_since(cluster.now()) + SignedDuration::from_secs(1);
                    cluster.sleep(Duration::try_from(until).unwrap_or_default()).await;
                    follow(&cluster, &settings(&[&target])).await
                }
            });
            (target, wait)
        })
        .collect();
    let mut wrong: Vec<String> = Vec::new();
    let mut table = "| target | exit code | after | what it says |\n|---|---|---|---|\n".to_owned();
    for (target, wait) in waits {
        match wait.await.unwrap() {
            Ok(outcome) => {
                wrong.extend(late(&outcome, &images));
                wrong.extend(
                    (target.starts_with("calm/") && outcome.verdict != Verdict::Ready)
                        .then(|| target.clone()),
                );
                table += &format!("| `{target}` | {}\n", row(&outcome));
            }
            Err(error) => table += &format!("| `{target}` | 2 | | {} |\n", error.what),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{table}");
    write("recordings", &table);
}

#[test]
fn each_form_and_exit_code_of_the_command() {
    let server = super::contract::Server::recorded();
    let wait = |args: &[&str]| server.run(&[&["wait"], args].concat(), &[]);
    let run = wait(&["-n", "shop", "deployment/web"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "deployment/web is ready: 3 of 3 pods available\n"),
        "{}",
        run.err
    );
    let run = wait(&["-n", "payments", "deployment/api"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(
        run.out.starts_with("deployment/api cannot become ready: container api: image not found: "),
        "{}",
        run.out
    );
    assert!(run.out.contains("\n  next steps  "), "{}", run.out);
    // What it waits for, then that it failed.
    assert!(run.err.contains("deployment/api: "), "{}", run.err);
    let run = wait(&["-n", "payments", "deployment/quotes", "--timeout", "2s"]);
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.out.starts_with("deployment/quotes is not ready after 2s: "), "{}", run.out);
    // What may heal ends it with --strict; with --patient nothing does.
    let run = wait(&["-n", "payments", "deployment/quotes", "--strict", "--timeout", "60s"]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    assert!(run.out.starts_with("deployment/quotes cannot become ready: "), "{}", run.out);
    let run = wait(&["-n", "payments", "deployment/api", "--patient", "--timeout", "2s"]);
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    assert_eq!(wait(&["deployment/web", "--strict", "--patient"]).code, 2);
    let run = wait(&["-n", "shop", "deployment/nosuch"]);
    assert!(
        run.code == 2 && run.err.contains("deployment/nosuch: not found in namespace shop"),
        "{}",
        run.err
    );
    assert_eq!(wait(&["-n", "shop"]).code, 2);
    assert_eq!(wait(&["deployment/web", "--timeout", "soon"]).code, 2);

    let run = wait(&["payments/deployment/api", "shop/deployment/web", "-o", "json"]);
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &json["kind"], &json["result"]), (1, &json!("Wait"), &json!("failed")));
    assert_eq!(json["objects"][0]["state"], "failed");
    assert_eq!(json["objects"][1]["state"], "ready");
    assert_eq!(json["findings"][0]["reason"], "ImagePullBackOff");

    let run = wait(&["payments/deployment/api", "shop/deployment/web", "-o", "junit"]);
    assert!(run.out.contains("tests=\"2\" failures=\"1\""), "{}", run.out);
    assert!(run.out.contains("<testcase classname=\"shop\" name=\"deployment/web\""), "{}", run.out);
    assert!(
        run.out.contains("<failure type=\"ImagePullBackOff\" message=\"deployment/api cannot"),
        "{}",
        run.out
    );
    assert_eq!(
        run.out.matches("<testcase").count(),
        run.out.matches("/>").count() + run.out.matches("</testcase>").count()
    );

    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary.md");
    let variables = [("GITHUB_STEP_SUMMARY", summary.as_os_str())];
    let run = server.run(&["wait", "payments/deployment/api", "-o", "github"], &variables);
    assert!(
        run.out.starts_with("::error title=ImagePullBackOff::deployment/api cannot become ready: "),
        "{}",
        run.out
    );
    assert_eq!(run.out.lines().count(), 1);
    let markdown = std::fs::read_to_string(summary).unwrap();
    assert!(
        markdown.contains("- deployment/api cannot become ready")
            && markdown.contains("### ImagePullBackOff"),
        "{markdown}"
    );
    let run = wait(&["payments/deployment/api", "-o", "markdown"]);
    let but_time =
        |text: &str| text.lines().filter(|l| !l.starts_with("Observed")).collect::<Vec<_>>().join("\n");
    assert_eq!(but_time(&run.out), but_time(&markdown));
}

#[tokio::test(start_paused = true)]
async fn nothing_has_happened_after_the_time_of_the_outcome() {
    let cluster = Cluster::new();
    let start = cluster.now();
    // A clock of the cluster that is faster than that of this process, as in `kubehealer demo`.
    cluster.set_clock(start, 10.0);
    tokio::spawn(scenarios::play(cluster.clone()));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = tokio::time::Instant::now();
    let clock: Clock = Arc::new(move || start + began.elapsed());
    let client = simulator::client(&cluster);
    let outcome =
        wait::follow(&client, &settings(&["batch/job/nightly-report"]), &clock, |_, _| {}).await.unwrap();
    assert_eq!(outcome.verdict, Verdict::Failed);
    for finding in &outcome.items[0].findings {
        let times = finding.evidence.iter().filter_map(|fact| fact.at).chain(finding.since);
        assert_eq!(
            times.max().filter(|at| *at > outcome.observed_at),
            None,
            "{}: {finding:?}",
            outcome.observed_at
        );
    }
}

#[test]
fn what_fails_is_said_once_by_each_part_of_the_output_and_not_as_if_all_were_well() {
    let server = super::contract::Server::new();
    deployment(&server.cluster, 2, json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}));
    let message = "rpc error: code = NotFound desc = registry.example/cart:2: not found";
    for name in ["cart-new-1", "cart-new-2"] {
        pod(&server.cluster, name, "new", Some(("ErrImagePull", message)));
        let mut young = server.cluster.get("pods", "shop", name).unwrap();
        let now = server.cluster.now().to_string();
        young["status"]["startTime"] = now.clone().into();
        young["status"]["conditions"][0]["lastTransitionTime"] = now.into();
        server.cluster.apply(young).unwrap();
    }
    let sentence = "container cart: image not found: registry.example/cart:2";
    let run = server.run(&["wait", "-n", "shop", "deployment/cart"], &[]);
    assert_eq!(run.code, 1, "{}{}", run.out, run.err);
    // How far it is; how it came out; the details.
    assert_eq!(
        (run.err.matches(sentence).count(), run.out.matches(sentence).count()),
        (1, 2),
        "{}{}",
        run.err,
        run.out
    );
    assert!(run.out.contains("\n  next steps  ") && !run.out.contains("SEVERITY"), "{}", run.out);
    assert!(!run.out.contains("may still recover"), "{}", run.out);
    let run = server.run(&["wait", "-n", "shop", "deployment/cart", "-o", "markdown"], &[]);
    assert_eq!((run.code, run.out.matches(sentence).count()), (1, 2), "{}", run.out);
    assert!(run.out.contains("\n### ") && run.out.contains("**Next steps**"), "{}", run.out);
    assert!(!run.out.contains("No problems found") && !run.out.contains("unhealthy"), "{}", run.out);
    let observed = run.out.lines().find_map(|line| line.strip_prefix("Observed at ")).unwrap();
    assert_eq!(observed.len(), "2026-11-22T10:00:00Z.".len(), "{observed}");
}
