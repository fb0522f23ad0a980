//! Whose a workload is, and what its owner has muted: in the findings, the incidents, the metrics and the reports.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kubehealer::cluster::watch::{Selection, Shard};
use kubehealer::daemon::{self, Running, StartError};
use kubehealer::diagnosis::{OwnerLabels, Snapshot, Sources, World, nodes, survey, world};
use kubehealer::incidents::{FirstSeen, Incidents, What};
use kubehealer::metrics::Metrics;
use kubehealer::objects::{CronJob, Job, Object, Pod, Workload, from_object};
use kubehealer::simulator::{Cluster, Fault};
use serde_json::{Value, json};

use crate::cli::kubehealer as command;
use crate::daemon::{get, json, pod_at_noon, settings, until};

const NOW: &str = "2026-11-22T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn labels(keys: &[&str]) -> OwnerLabels {
    OwnerLabels::new(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// A pod of Deployment cart that does not find its image.
fn cart() -> Value {
    let state = json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}, "restartCount": 0});
    let mut pod = pod_at_noon("cart-7d9f-aaaaa", json!({}), state, "False");
    pod["metadata"]["labels"]["team"] = "of-the-pod".into();
    pod["metadata"]["labels"]["app.kubernetes.io/part-of"] = "shop".into();
    pod
}

fn deployment(labels: Value, annotations: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "cart", "namespace": "shop", "uid": "cart", "labels": labels, "annotations": annotations},
        "spec": {"replicas": 1}, "status": {"replicas": 1}})
}

fn muted_until(time: &str) -> Value {
    json!({"kubehealer.dev/mute-until": time, "kubehealer.dev/mute-reason": "moved\u{1b}[2J, password=hunter2"})
}

/// The series of a metric.
fn series<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect()
}

/// A daemon, an hour-glass that the test turns, and what it has logged.
struct Watched {
    running: Running,
    cluster: Cluster,
    now: Arc<Mutex<Timestamp>>,
}

impl Watched {
    async fn start(objects: impl IntoIterator<Item = Value>, keys: &[&str]) -> Self {
        Self::start_on(Cluster::new(), objects, keys).await
    }

    async fn start_on(cluster: Cluster, objects: impl IntoIterator<Item = Value>, keys: &[&str]) -> Self {
        cluster.set_clock(at(NOW), 0.0);
        cluster.load(objects).unwrap();
        let now = Arc::new(Mutex::new(at(NOW)));
        let mut settings = settings(&cluster);
        let clock = Arc::clone(&now);
        settings.clock = Arc::new(move || *clock.lock().unwrap());
        settings.owner_labels = labels(keys);
        settings.cluster_name = "eu-1".to_owned();
        Self { running: daemon::start(settings).await.unwrap(), cluster, now }
    }

    /// Waits until the only incident is as wanted.
    async fn incident(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, async || {
            let list = json(&self.running, "/api/v1/incidents").await;
            let incident = list["items"].get(0)?.clone();
            wanted(&incident).then_some(incident)
        })
        .await
    }

    async fn metrics(&self) -> String {
        get(&self.running, "/metrics").await.1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_the_workload_then_of_the_pod_are_in_api_and_metrics_and_follow_the_workload() {
    let watched = Watched::start(
        [cart(), deployment(json!({"team": "payments"}), json!({}))],
        &["team", "app.kubernetes.io/part-of", "tier"],
    )
    .await;
    let incident = watched.incident("the team", |i| i["labels"]["team"] == "payments").await;
    assert_eq!(incident["labels"], json!({"team": "payments", "app_kubernetes_io_part_of": "shop"}));
    let text = watched.metrics().await;
    for name in [
        "kubehealer_pod_unhealthy",
        "kubehealer_pod_unhealthy_since_timestamp_seconds",
        "kubehealer_workload_unhealthy_pods",
        "kubehealer_workload_pods",
        "kubehealer_incident_info",
    ] {
        let [line] = series(&text, name)[..] else { panic!("{name}: {text}") };
        assert!(line.contains(r#"team="payments",app_kubernetes_io_part_of="shop",tier="""#), "{line}");
    }
    assert!(series(&text, "kubehealer_incident_info")[0].contains(r#"cluster_name="eu-1""#));

    watched.cluster.apply(deployment(json!({"team": "checkout"}), json!({}))).unwrap();
    watched.incident("another team", |i| i["labels"]["team"] == "checkout").await;
    let text = watched.metrics().await;
    assert!(series(&text, "kubehealer_workload_pods")[0].contains(r#"team="checkout""#), "{text}");
    watched.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_the_pod_template_come_before_those_that_a_pod_claims() {
    let template =
        json!({"metadata": {"labels": {"team": "payments", "app.kubernetes.io/part-of": "tills"}}});
    let mut by_template = deployment(json!({"app.kubernetes.io/part-of": "payments"}), json!({}));
    by_template["spec"]["template"] = template.clone();
    let keys = ["team", "app.kubernetes.io/part-of"];
    let watched = Watched::start([cart(), by_template], &keys).await;
    let incident = watched.incident("the team", |i| i["labels"]["team"] == "payments").await;
    // The workload's own label comes first.
    assert_eq!(incident["labels"], json!({"team": "payments", "app_kubernetes_io_part_of": "payments"}));
    watched.running.stop().await;

    let metadata = json!({"name": "cart", "namespace": "shop"});
    let spec = json!({"template": template});
    let job: Job = from_object(&json!({"metadata": metadata, "spec": spec})).unwrap();
    let spec = json!({"jobTemplate": {"spec": spec}});
    let cron_job: CronJob = from_object(&json!({"metadata": metadata, "spec": spec})).unwrap();
    for meta in [job.meta(), cron_job.meta()] {
        assert_eq!(meta.label("team"), Some("payments"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muted_incident_leaves_the_series_of_alerts_and_comes_back_when_its_time_is_up() {
    let end = "2026-11-22T18:00:00Z";
    let watched = Watched::start([cart(), deployment(json!({}), muted_until(end))], &[]).await;
    let incident = watched.incident("a mute", |i| i["muted"].is_object()).await;
    assert_eq!(incident["muted"], json!({"until": end, "reason": "moved, password=[redacted]"}));
    let text = watched.metrics().await;
    for name in [
        "kubehealer_pod_unhealthy",
        "kubehealer_pod_unhealthy_since_timestamp_seconds",
        "kubehealer_workload_pods",
    ] {
        assert_eq!(series(&text, name), [""; 0]);
    }
    let [line] = series(&text, "kubehealer_incidents_muted")[..] else { panic!("{text}") };
    assert!(line.contains(r#"pod="cart-7d9f-aaaaa""#) && line.ends_with(" 1"), "{line}");
    assert!(text.contains("\nkubehealer_open_incidents 1\n"));

    // Nothing else happens.
    *watched.now.lock().unwrap() = at("2026-11-22T18:00:03Z");
    watched.incident("the end of the mute", |i| i["muted"].is_null()).await;
    let text = watched.metrics().await;
    assert_eq!(series(&text, "kubehealer_pod_unhealthy").len(), 1);
    assert_eq!(series(&text, "kubehealer_incidents_muted"), [""; 0]);
    watched.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_that_comes_goes_or_is_refused_while_the_incident_is_open() {
    let watched = Watched::start([cart(), deployment(json!({}), json!({}))], &[]).await;
    watched.incident("an incident", |i| i["muted"].is_null()).await;
    watched.cluster.apply(deployment(json!({}), muted_until("2026-11-22T18:00:00Z"))).unwrap();
    watched.incident("a mute", |i| i["muted"].is_object()).await;
    watched.cluster.apply(deployment(json!({}), muted_until("2028-01-01T00:00:00Z"))).unwrap();
    let refused = watched.incident("a mute without a near end", |i| i["muted"].is_null()).await;
    let said = json!({"source": "owner", "text": "not muted: kubehealer.dev/mute-until \"2028-01-01T00:00:00Z\": more than 90 days ahead"});
    assert!(refused["evidence"].as_array().unwrap().contains(&said), "{refused}");
    // On the pod alone.
    watched.cluster.apply(deployment(json!({}), json!({}))).unwrap();
    let mut pod = cart();
    pod["metadata"]["annotations"] = muted_until("2026-11-22T18:00:00Z");
    watched.cluster.apply(pod).unwrap();
    watched.incident("a mute of the pod", |i| i["muted"].is_object()).await;
    watched.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cron_job_says_reaches_pods_that_are_seen_before_their_job() {
    let cluster = Cluster::new();
    cluster.fault("jobs", Fault::Delay(Duration::from_secs(1)));
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
    let mut cron_job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "0 1 * * *"}, "status": {},
        "metadata": {"name": "nightly", "namespace": "shop", "uid": "nightly", "labels": {"team": "payments"}}});
    cron_job["metadata"]["annotations"] = muted_until("2026-11-22T18:00:00Z");
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {}, "status": {"active": 1},
        "metadata": {"name": "nightly-1", "namespace": "shop", "uid": "nightly-1", "ownerReferences": owner("CronJob", "nightly")}});
    let mut pod = cart();
    pod["metadata"]["labels"] = json!({});
    pod["metadata"]["ownerReferences"] = owner("Job", "nightly-1");
    let watched = Watched::start_on(cluster, [cron_job, job, pod], &["team"]).await;
    watched.incident("the pod", |_| true).await;
    let incident = watched.incident("the team", |i| i["labels"]["team"] == "payments").await;
    assert_eq!(incident["workload"], json!({"kind": "CronJob", "name": "nightly"}));
    assert!(incident["muted"].is_object(), "{incident}");
    watched.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_label_with_the_name_of_another_label_is_refused_at_the_start() {
    for key in ["node", "workload-kind", "job", "cluster_name"] {
        let mut settings = settings(&Cluster::new());
        settings.owner_labels = labels(&[key]);
        let Err(StartError::OwnerLabel(name)) = daemon::start(settings).await else { panic!("{key}") };
        assert_eq!(name, key.replace('-', "_"));
    }
}

/// Pods and Deployments, judged and taken in as the daemon does.
struct Judged {
    world: World,
    incidents: Incidents,
    now: Timestamp,
}

impl Judged {
    fn new(deployment: Value) -> Self {
        let mut world = World::new(Sources::NONE);
        world.owner_labels = labels(&["team"]);
        let mut workload: Workload = serde_json::from_value(deployment).unwrap();
        workload.compact();
        world.owners.apply("Deployment", workload);
        Self { world, incidents: Incidents::new(), now: at(NOW) }
    }

    fn see(&mut self, pod: Value) -> Vec<What> {
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        pod.compact();
        let workload = self.world.owners.workload_of(&pod);
        let evidence = world::Evidence::default();
        let diagnosis =
            self.world.judge(&pod, &workload, &evidence, &mut |_, findings| (findings, None), self.now);
        let events = self.incidents.apply(&pod, &workload, diagnosis, FirstSeen::InFirstList, self.now);
        events.into_iter().map(|event| event.what).collect()
    }
}

#[test]
fn a_mute_and_its_end_are_news_once() {
    let mut judged = Judged::new(deployment(json!({"team": "payments"}), json!({})));
    let mut muted = cart();
    muted["metadata"]["annotations"] = muted_until("2026-11-22T18:00:00Z");
    let mut see = |pod: &Value, now: &str| {
        judged.now = at(now);
        judged.see(pod.clone())
    };
    assert_eq!(see(&cart(), NOW), [What::Found]);
    for (pod, now, wanted) in [
        (&muted, NOW, vec![What::Muted]),
        (&muted, "2026-11-22T17:59:59Z", vec![]),
        (&muted, "2026-11-22T18:00:00Z", vec![What::Unmuted]),
        (&muted, "2026-11-22T18:00:01Z", vec![]),
    ] {
        assert_eq!(see(pod, now), wanted, "{now}");
    }
}

#[test]
fn what_incidents_find_by_themselves_is_the_owners_too() {
    let mut judged =
        Judged::new(deployment(json!({"team": "payments"}), muted_until("2026-11-23T00:00:00Z")));
    let run = |restarts: i64, from: &str, to: &str| {
        let last = json!({"exitCode": 1, "reason": "Error", "startedAt": from, "finishedAt": to, "containerID": format!("containerd://{restarts}")});
        let state = json!({"state": {"running": {"startedAt": to, "containerID": format!("containerd://{}", restarts + 1)}}, "restartCount": restarts,
            "lastState": {"terminated": last}});
        pod_at_noon("cart-7d9f-aaaaa", json!({}), state, "True")
    };
    for (restarts, from, to) in [
        (4, "2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z"),
        (5, "2026-11-22T12:00:00Z", "2026-11-22T12:15:00Z"),
        (6, "2026-11-22T12:15:00Z", "2026-11-22T12:30:00Z"),
        (7, "2026-11-22T12:30:00Z", "2026-11-22T12:45:00Z"),
    ] {
        judged.now = at(to);
        judged.see(run(restarts, from, to));
    }
    let flaps = judged.incidents.open().find(|i| i.finding().reason.as_str() == "FrequentRestarts").unwrap();
    assert_eq!(*flaps.compact.labels, [("team".to_owned(), "payments".to_owned())]);
    assert!(flaps.is_muted());
}

#[test]
fn muted_incidents_of_one_workload_are_one_series() {
    let broken = |kind: &str, reason: &str| {
        json!({"type": kind, "status": if kind == "ReplicaFailure" { "True" } else { "False" }, "reason": reason,
            "message": "pods \"cart\" is forbidden: exceeded quota", "lastTransitionTime": "2026-11-22T11:00:00Z"})
    };
    let mut object = deployment(json!({}), muted_until("2026-11-23T00:00:00Z"));
    object["status"]["conditions"] = json!([broken("ReplicaFailure", "FailedCreate")]);
    let mut judged = Judged::new(object);
    let pods = Vec::new();
    let (findings, recheck) = judged.world.judge_workloads_and_nodes(
        &NoPods(&pods),
        &mut |_, findings| (findings, None),
        judged.now,
    );
    assert_eq!(recheck, Some(at("2026-11-23T00:00:00Z")), "{findings:?}");
    let mut twice = findings.clone();
    twice.extend(findings.into_iter().map(|mut f| {
        f.reason = kubehealer::diagnosis::Reason::ProgressDeadlineExceeded.into();
        f
    }));
    judged.incidents.apply_workload_or_node("cart", twice, judged.now);
    let text = crate::metrics::text(&mut judged.incidents, 1_000, judged.now);
    let [line] = series(&text, "kubehealer_incidents_muted")[..] else { panic!("{text}") };
    assert!(line.ends_with(" 2"), "{line}");
}

struct NoPods<'e>(&'e [kubehealer::objects::Event]);

impl world::Pods for NoPods<'_> {
    fn findings_of(
        &self,
        _: &str,
        _: &kubehealer::diagnosis::WorkloadRef,
    ) -> Vec<kubehealer::diagnosis::Finding> {
        Vec::new()
    }
    fn on_node(&self, _: &str) -> usize {
        0
    }
    fn terminations_with_node(&self) -> Vec<(String, nodes::EndedWithNode)> {
        Vec::new()
    }
    fn events_of(&self, _: &str) -> std::borrow::Cow<'_, [kubehealer::objects::Event]> {
        self.0.into()
    }
}

#[test]
fn a_label_that_a_rule_sets_wins_and_owner_labels_are_in_no_series_beyond_the_limit() {
    let metrics = Metrics::new(10).unwrap().labelled(&labels(&["team"]), "").unwrap();
    let mut judged = Judged::new(deployment(json!({"team": "payments"}), json!({})));
    let mut pod: Pod = serde_json::from_value(cart()).unwrap();
    pod.compact();
    let rules = kubehealer::rules::RuleSet::load(&[(
        "r.yaml".into(),
        "rules:\n- name: images\n  match: {reasons: [ImagePullBackOff]}\n  change: {labels: {team: registry}}\n".into(),
    )])
    .unwrap();
    let workload = judged.world.owners.workload_of(&pod);
    let now = judged.now;
    let diagnosis = judged.world.judge(
        &pod,
        &workload,
        &world::Evidence::default(),
        &mut |subject, findings| (rules.judge(subject, findings, now).findings, None),
        now,
    );
    assert_eq!(diagnosis.findings[0].labels, [("team".to_owned(), "registry".to_owned())]);
    judged.incidents.apply(&pod, &workload, diagnosis, FirstSeen::Later, now);
    let shared = parking_lot::RwLock::new(judged.incidents);
    let mut text = Vec::new();
    metrics.write(&shared, now, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("kubehealer_series_dropped_total{metric=\"kubehealer_incidents_muted\"} 0\n"),
        "{text}"
    );
}

#[test]
fn a_mute_on_a_replica_set_counts_if_nothing_controls_it() {
    let mut pod = cart();
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-7d9f", "uid": "rs", "controller": true}]);
    let set = |owners: Value| {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "cart-7d9f", "namespace": "shop", "uid": "rs", "labels": {"team": "payments"}, "ownerReferences": owners,
                "annotations": muted_until("2026-11-22T18:00:00Z")},
            "spec": {"replicas": 1}, "status": {"replicas": 1}})
    };
    // The Deployment's controller copies annotations to its ReplicaSets: these are not meant for them.
    let of_cart = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "uid": "cart", "controller": true}]);
    for (set, deployments, wanted) in [
        (set(json!([])), vec![], Some(("payments", at("2026-11-22T18:00:00Z")))),
        (set(of_cart), vec![deployment(json!({"team": "checkout"}), json!({}))], None),
    ] {
        let snapshot = Snapshot {
            pods: vec![from_object(&pod).unwrap()],
            replica_sets: vec![from_object(&set).unwrap()],
            deployments: deployments.iter().map(|d| from_object(d).unwrap()).collect(),
            owner_labels: labels(&["team"]),
            sources: Sources { owners: true, ..Sources::NONE },
            ..Snapshot::default()
        };
        let survey = survey(&snapshot, at(NOW));
        let finding = survey.findings.iter().find(|f| !f.pod.is_empty()).unwrap();
        assert_eq!(finding.muted.as_ref().map(|mute| mute.until), wanted.map(|(_, until)| until));
        let team = wanted.map_or("checkout", |(team, _)| team);
        assert_eq!(finding.labels, [("team".to_owned(), team.to_owned())]);
    }
}

#[test]
fn diagnose_shows_labels_and_mutes_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.json");
    let items = [cart(), deployment(json!({"team": "payments"}), muted_until("2026-11-22T18:00:00Z"))];
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).unwrap();
    let look = |more: &[&str]| {
        let run = command(
            &[&["diagnose", "-f", file.to_str().unwrap(), "--now", NOW, "--owner-labels", "team"], more]
                .concat(),
        );
        run.out
    };
    let table = look(&[]);
    for wanted in [
        "1 of these muted.",
        "\nmuted     ImagePullBackOff  shop/cart",
        "muted until 2026-11-22T18:00:00Z: moved, password=[redacted]",
        "team=payments",
    ] {
        assert!(table.contains(wanted), "{wanted}: {table}");
    }
    assert!(look(&["-o", "markdown"]).contains("muted until 2026-11-22T18:00:00Z"));
    let document: Value = serde_json::from_str(&look(&["-o", "json"])).unwrap();
    assert_eq!(document["summary"]["muted"], 1);
    assert_eq!(document["findings"][0]["muted"]["until"], "2026-11-22T18:00:00Z");
    assert_eq!(document["findings"][0]["labels"], json!({"team": "payments"}));
    let bad = command(&["diagnose", "-f", file.to_str().unwrap(), "--owner-labels", "a b"]);
    assert!(bad.code == 2 && bad.err.contains("--owner-labels"), "{}", bad.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_whose_previous_revision_serves_is_told_by_its_ready_pods() {
    let set = |name: &str, revision: &str, wanted: i64, ready: i64| {
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [{"kind": "Deployment", "name": "cart", "uid": "cart", "controller": true}]},
            "spec": {"replicas": wanted}, "status": {"replicas": wanted, "readyReplicas": ready}})
    };
    let objects = [
        cart(),
        deployment(json!({}), json!({})),
        set("cart-7d9f", "10", 1, 0),
        set("cart-old", "9", 3, 3),
        set("cart-older", "8", 0, 0),
    ];
    let watched = Watched::start(objects, &[]).await;
    let name = "kubehealer_workload_old_revision_ready_pods";
    until("the older revision", async || {
        let text = watched.metrics().await;
        let wanted = format!("{name}{{namespace=\"shop\",workload_kind=\"Deployment\",workload=\"cart\"}} 3");
        (series(&text, name) == [wanted.as_str()]).then_some(())
    })
    .await;
    watched.cluster.apply(set("cart-7d9f", "10", 1, 1)).unwrap();
    until("the newest one to be ready", async || {
        series(&watched.metrics().await, name).is_empty().then_some(())
    })
    .await;
    watched.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_share_of_the_pods_says_so_and_names_the_others() {
    let mut settings = settings(&Cluster::new());
    settings.selection.shard = Shard::new(0, 3);
    settings.selection.stateful_set = "kubehealer".to_owned();
    settings.cluster_name = "eu-1".to_owned();
    let running = daemon::start(settings).await.unwrap();
    for path in ["/api/v1/incidents", "/api/v1/problems"] {
        let list = json(&running, path).await;
        assert_eq!(
            [&list["cluster"], &list["scope"], &list["others"]],
            ["eu-1", "shard=0/3", "kubehealer-1, kubehealer-2"]
        );
    }
    let diagnosis = json(&running, "/api/v1/diagnosis").await;
    assert_eq!(diagnosis["cluster"], "eu-1");
    let note = "this instance watches only pods with shard=0/3; kubehealer-1, kubehealer-2 watch the rest";
    assert_eq!(diagnosis["notes"], json!([note]));
    running.stop().await;
}

#[test]
fn each_kind_of_share_names_who_watches_the_rest() {
    let of = |selection: Selection| selection.others();
    let shard = |of| Selection { shard: Shard::new(1, of), ..Selection::default() };
    assert_eq!(of(Selection::default()), "");
    assert_eq!(of(shard(1)), "");
    assert_eq!(of(shard(3)), "shard 0/3, shard 2/3");
    assert!(of(shard(100)).ends_with("shard 10/100, ..."), "{}", of(shard(100)));
    assert!(of(Selection { node: Some("a".into()), ..Selection::default() }).contains("other nodes"));
    assert!(of(Selection { unscheduled: true, ..Selection::default() }).contains("on the nodes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_contexts_are_looked_at_and_each_finding_says_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut clusters, mut contexts) = (Vec::new(), Vec::new());
    for (name, objects) in [("eu", vec![cart()]), ("us", vec![])] {
        let cluster = Cluster::new();
        cluster.set_clock(at(NOW), 0.0);
        cluster.load(objects).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(kubehealer::simulator::serve(listener, cluster));
        clusters.push(json!({"name": name, "cluster": {"server": format!("http://{address}")}}));
        contexts.push(json!({"name": name, "context": {"cluster": name, "user": "nobody"}}));
    }
    // Nobody listens there.
    clusters.push(json!({"name": "gone", "cluster": {"server": "http://127.0.0.1:1"}}));
    contexts.push(json!({"name": "gone", "context": {"cluster": "gone", "user": "nobody"}}));
    let config = json!({"apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts,
        "users": [{"name": "nobody", "user": {}}]});
    let file = folder.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let look = async |contexts: &'static str, more: &'static [&'static str]| {
        let file = file.to_str().unwrap().to_owned();
        let args = ["diagnose", "-A", "--now", NOW, "--kubeconfig", &file, "--context", contexts];
        let args: Vec<String> = args.iter().chain(more).map(|&arg| arg.to_owned()).collect();
        tokio::task::spawn_blocking(move || command(&args.iter().map(String::as_str).collect::<Vec<_>>()))
            .await
            .unwrap()
    };
    let list = look("eu,us", &["-o", "json"]).await;
    let value: Value = serde_json::from_str(&list.out).unwrap();
    assert_eq!((list.code, value["kind"].as_str()), (0, Some("DiagnosisList")));
    let found: Vec<(&str, usize)> = value["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["cluster"].as_str().unwrap(), item["findings"].as_array().unwrap().len()))
        .collect();
    assert_eq!(found, [("eu", 1), ("us", 0)]);
    let step = value["items"][0]["findings"][0]["nextSteps"].to_string();
    assert!(!step.contains("kubectl ") || step.contains("kubectl --context eu"), "{step}");
    let table = look("us,eu", &["--fail-on", "warning"]).await;
    let places = ["Cluster us", "Cluster eu", "ImagePullBackOff"].map(|word| table.out.find(word).unwrap());
    assert!(places.is_sorted() && table.code == 2, "{}\n{}", table.code, table.out);
    let end: Vec<&str> = table.out.lines().rev().take(3).collect();
    assert!(
        end[2] == "All clusters:" && end[1].starts_with("us: ") && end[0].starts_with("eu: 1 of "),
        "{}",
        table.out
    );
    let gone = look("eu,gone", &[]).await;
    assert!(gone.out.ends_with("\ngone: Could not be read.\n"), "{}", gone.out);
    assert!(
        gone.code == 2 && gone.out.contains("ImagePullBackOff") && gone.err.contains("gone: "),
        "{}",
        gone.err
    );
    let gone = look("eu,gone", &["-o", "json"]).await;
    let value: Value = serde_json::from_str(&gone.out).unwrap();
    let [eu, dead] = &value["items"].as_array().unwrap()[..] else { panic!("{value}") };
    assert_eq!(
        (gone.code, eu.get("error"), &dead["cluster"], &dead["findings"]),
        (2, None, &json!("gone"), &json!([]))
    );
    assert!(dead["error"].as_str().unwrap().contains("127.0.0.1:1"), "{dead}");
    // One alone is as it ever was.
    let one = look("eu", &["-o", "json"]).await;
    let value: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!((value["kind"].as_str(), value.get("cluster")), (Some("Diagnosis"), None));
}
