//! Incidents over time, one story each.

use jiff::{SignedDuration, Timestamp};
use kubehealer::diagnosis::{Context, diagnose, workload_of};
use kubehealer::incidents::{Ending, FirstSeen, IncidentEvent, Incidents, What, uid_of};
use kubehealer::objects::{Object, Pod};
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn text(seconds: i64) -> String {
    at(seconds).to_string()
}

/// A pod of Deployment `cart`, created at 0, with this status of its one container.
fn pod(uid: &str, name: &str, status: Value) -> Pod {
    let mut status = status;
    status["name"] = json!("app");
    let ready = if status["ready"] == true { "True" } else { "False" };
    let value = json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "creationTimestamp": text(0),
            "labels": {"pod-template-hash": "5d8f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-5d8f", "uid": "rs", "controller": true}]},
        "spec": {"nodeName": "node-a", "containers": [{"name": "app", "image": "cart:1"}]},
        "status": {"phase": "Running", "startTime": text(0), "containerStatuses": [status],
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": text(0)},
                {"type": "Ready", "status": ready, "lastTransitionTime": text(0)}]}
    });
    let mut pod: Pod = serde_json::from_value(value).unwrap();
    pod.compact();
    pod
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": 0})
}

/// Running since `since`; the run before began at `from` and ended then.
fn running(run: i64, since: i64, from: i64) -> Value {
    let mut status = json!({"state": {"running": {"startedAt": text(since)}}, "ready": true, "started": true,
        "restartCount": run, "containerID": format!("containerd://{run}")});
    if run > 0 {
        status["lastState"] = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": text(from),
            "finishedAt": text(since - 1), "containerID": format!("containerd://{}", run - 1)}});
    }
    status
}

#[derive(Default)]
struct Watcher {
    incidents: Incidents,
    log: Vec<IncidentEvent>,
}

impl Watcher {
    fn see(&mut self, pod: &Pod, sight: FirstSeen, now: i64) {
        self.wait(now);
        let diagnosis = diagnose(pod, &Context::pod_only(), at(now));
        self.log.extend(self.incidents.apply(pod, &workload_of(pod), diagnosis, sight, at(now)));
    }

    fn wait(&mut self, now: i64) {
        while let Some(due) = self.incidents.next_due().filter(|t| *t <= at(now)) {
            for uid in self.incidents.due(due) {
                let diagnosis = diagnose(&self.incidents.pod(uid).unwrap().pod(), &Context::pod_only(), due);
                self.log.extend(self.incidents.recheck(uid, diagnosis, due));
            }
        }
    }

    fn words(&self) -> Vec<String> {
        self.log.iter().map(|e| format!("{} {}", e.what.as_str(), e.finding.reason.as_str())).collect()
    }

    fn metrics(&mut self, max_series: usize, now: i64) -> String {
        crate::metrics::text(&mut self.incidents, max_series, at(now))
    }
}

#[test]
fn a_crash_every_29_minutes_is_one_incident_until_it_has_stopped_for_an_hour() {
    let mut watcher = Watcher::default();
    let period = 29 * 60;
    for run in 0..8 {
        let since = run * period;
        watcher.see(
            &pod("u1", "cart-5d8f-a", running(run, since, since - period + 1)),
            FirstSeen::Later,
            since,
        );
    }
    assert_eq!(watcher.words(), ["opened FrequentRestarts"]);
    assert_eq!(watcher.incidents.open_count(), 1);
    watcher.wait(7 * period + 3_700);
    assert_eq!(watcher.words(), ["opened FrequentRestarts", "resolved FrequentRestarts"]);
    assert_eq!(watcher.log[1].what, What::Resolved(Ending::Recovered));
    assert!(
        watcher.log[1].text.starts_with("the container has been running since"),
        "{}",
        watcher.log[1].text
    );
}

#[test]
fn an_image_that_is_fixed_and_then_a_missing_secret_is_one_incident() {
    let mut watcher = Watcher::default();
    let image = waiting("ImagePullBackOff", "Back-off pulling image \"cart:1\": ErrImagePull: not found");
    watcher.see(&pod("u1", "cart-5d8f-a", image), FirstSeen::Later, 5);
    watcher.wait(90);
    let secret = waiting("CreateContainerConfigError", "secret \"cart-env\" not found");
    watcher.see(&pod("u1", "cart-5d8f-a", secret), FirstSeen::Later, 100);
    watcher.wait(200);
    assert_eq!(watcher.words(), ["opened ImagePullBackOff", "changed CreateContainerConfigError"]);
    assert_eq!(watcher.log[0].id, watcher.log[1].id);
    assert_eq!(watcher.incidents.open_count(), 1);
}

#[test]
fn a_name_that_is_used_again_is_another_pod() {
    let mut watcher = Watcher::default();
    watcher.see(&pod("u1", "db-0", running(3, 100, 90)), FirstSeen::InFirstList, 100);
    let gone = watcher.incidents.gone(uid_of(&pod("u1", "db-0", json!({}))), None, at(110));
    watcher.log.extend(gone);
    let mut new = pod("u2", "db-0", running(1, 130, 120));
    new.metadata.creation_timestamp = at(111).into();
    watcher.see(&new, FirstSeen::Later, 130);
    let total = |w: &Watcher| -> u64 {
        w.incidents.terminations().iter().flat_map(|ended| ended.by_reason().map(|(_, n)| n)).sum()
    };
    // The end of the old one that nobody saw, and the end of the new one: no past of the old one, nothing twice.
    assert_eq!(total(&watcher), 2);
    assert_eq!(watcher.incidents.pods(), 1);
}

#[test]
fn a_list_from_a_cache_that_is_behind_changes_nothing() {
    let mut watcher = Watcher::default();
    let version = |version: &str, run, since, from| {
        let mut pod = pod("u1", "cart-5d8f-a", running(run, since, from));
        pod.metadata.resource_version = version.to_owned();
        pod
    };
    watcher.see(&version("10", 0, 0, 0), FirstSeen::InFirstList, 0);
    watcher.see(&version("20", 1, 30, 0), FirstSeen::Later, 30);
    watcher.see(&version("10", 0, 0, 0), FirstSeen::Later, 31);
    watcher.see(&version("20", 1, 30, 0), FirstSeen::Later, 32);
    let totals: Vec<u64> =
        watcher.incidents.terminations().iter().flat_map(|ended| ended.by_reason().map(|(_, n)| n)).collect();
    assert_eq!(totals, [1]);
    assert_eq!(watcher.incidents.stale(), 1);
}

#[test]
fn an_old_state_from_before_its_node_was_known_does_not_count_a_pod_twice() {
    let mut watcher = Watcher::default();
    let version = |version: &str, node: &str| {
        let mut pod = pod("u1", "cart-5d8f-a", running(0, 0, 0));
        pod.metadata.resource_version = version.to_owned();
        pod.spec.node_name = node.to_owned();
        pod
    };
    watcher.see(&version("20", "node-a"), FirstSeen::InFirstList, 0);
    watcher.see(&version("10", ""), FirstSeen::Later, 1);
    watcher.see(&version("30", "node-a"), FirstSeen::Later, 2);
    assert_eq!(watcher.incidents.pods_on("node-a"), 1);
}

#[test]
fn the_first_state_of_a_pod_that_a_watch_replays_after_an_outage_is_no_incident_if_the_next_state_is_well() {
    let mut unscheduled = pod("u1", "cart-5d8f-a", json!({"state": {"waiting": {}}, "restartCount": 0}));
    unscheduled.spec.node_name.clear();
    unscheduled.status.conditions.clear();
    unscheduled.status.container_statuses.clear();
    unscheduled.status.phase = "Pending".to_owned();

    // Whether it was known before or not.
    for known in [false, true] {
        let mut watcher = Watcher::default();
        if known {
            watcher.see(&unscheduled, FirstSeen::Later, 5);
            watcher.incidents.put_off(uid_of(&unscheduled), at(62));
        }
        watcher.see(&unscheduled, FirstSeen::CatchingUp, 62);
        watcher.see(&pod("u1", "cart-5d8f-a", running(0, 2, 2)), FirstSeen::CatchingUp, 62);
        watcher.wait(200);
        assert!(watcher.log.is_empty(), "{:?}", watcher.log);
    }

    // A pod that stays so is told two seconds later.
    let mut watcher = Watcher::default();
    watcher.see(&unscheduled, FirstSeen::CatchingUp, 90);
    watcher.wait(96);
    assert_eq!(watcher.log.len(), 1, "{:?}", watcher.log);
}

#[test]
fn a_budget_on_series_leaves_the_workloads_whole_and_counts_what_it_drops() {
    let mut watcher = Watcher::default();
    for n in 0..50 {
        let image = waiting("ImagePullBackOff", "Back-off pulling image \"cart:1\": ErrImagePull: not found");
        watcher.see(&pod(&format!("u{n}"), &format!("cart-5d8f-{n}"), image), FirstSeen::InFirstList, 100);
    }
    let text = watcher.metrics(10, 200);
    let count = |name: &str| text.lines().filter(|l| l.starts_with(&format!("{name}{{"))).count();
    assert_eq!(count("kubehealer_pod_unhealthy"), 10);
    assert!(text.contains("kubehealer_series_dropped_total{metric=\"kubehealer_pod_unhealthy\"} 40\n"));
    let whole = "kubehealer_workload_unhealthy_pods{namespace=\"shop\",workload_kind=\"Deployment\",workload=\"cart\",reason=\"ImagePullBackOff\"} 50\n";
    assert!(text.contains(whole), "{text}");
    assert!(text.contains("workload=\"cart\"} 50\n"), "kubehealer_workload_pods");
    assert!(text.contains("kubehealer_open_incidents 50\n"));
    let problems: Vec<&str> = text.lines().filter(|l| l.starts_with("kubehealer_problem_pods{")).collect();
    assert!(problems.len() == 1 && problems[0].ends_with("} 50"), "one image for all: {problems:?}");
    let workloads: Vec<&str> =
        text.lines().filter(|l| l.starts_with("kubehealer_problem_workloads{")).collect();
    assert!(workloads.len() == 1 && workloads[0].ends_with("} 1"), "of one workload: {workloads:?}");
}

/// A pod without a controller that cannot get its image.
fn bare(namespace: &str, name: &str) -> Pod {
    let image = waiting("ImagePullBackOff", "Back-off pulling image \"cart:1\": ErrImagePull: not found");
    let mut pod = pod(&format!("{namespace}-{name}"), name, image);
    pod.metadata.namespace = namespace.to_owned();
    pod.metadata.owner_references.clear();
    pod.metadata.labels.clear();
    pod
}

#[test]
fn a_storm_of_one_tenant_does_not_hide_the_failures_of_another() {
    let mut watcher = Watcher::default();
    for n in 0..500 {
        watcher.see(&bare("storm", &format!("job-{n}")), FirstSeen::InFirstList, 100);
    }
    let image = waiting("ImagePullBackOff", "Back-off pulling image \"cart:1\": ErrImagePull: not found");
    let mut own = pod("w", "web-5d8f-a", image.clone());
    own.metadata.namespace = "storm".to_owned();
    watcher.see(&own, FirstSeen::InFirstList, 100);
    watcher.see(&bare("other", "late"), FirstSeen::InFirstList, 100);
    watcher.see(&pod("u", "cart-5d8f-a", image), FirstSeen::InFirstList, 100);

    let text = watcher.metrics(100, 200);
    let count = |start: &str| text.lines().filter(|l| l.starts_with(start)).count();
    for family in
        ["kubehealer_pod_unhealthy", "kubehealer_workload_unhealthy_pods", "kubehealer_workload_pods"]
    {
        assert_eq!(count(&format!("{family}{{namespace=\"storm\"")), 98, "{family}");
        assert_eq!(count(&format!("{family}{{namespace=\"other\"")), 1, "{family}");
        assert_eq!(count(&format!("{family}{{namespace=\"shop\"")), 1, "{family}");
    }
    // The Deployment in the storm's own namespace is not pushed out either.
    let own = "kubehealer_workload_pods{namespace=\"storm\",workload_kind=\"Deployment\"";
    assert_eq!(count(own), 1);
    assert!(
        text.contains("kubehealer_series_dropped_total{metric=\"kubehealer_pod_unhealthy\"} 403\n"),
        "{text}"
    );
    let cut: Vec<&str> =
        text.lines().filter(|l| l.starts_with("kubehealer_namespace_series_dropped{")).collect();
    assert_eq!(cut.len(), 1, "{cut:?}");
    // 403 series in each of the families that share: three of them are looked at above.
    assert_eq!(cut[0], "kubehealer_namespace_series_dropped{namespace=\"storm\"} 2015");
}

#[test]
fn a_restart_of_the_kubelet_neither_ends_nor_changes_what_keeps_a_container_from_starting() {
    let mut watcher = Watcher::default();
    let pull = |reason| waiting(reason, "Back-off pulling image \"cart:1\": ErrImagePull: not found");
    watcher.see(&pod("u1", "cart-5d8f-a", pull("ImagePullBackOff")), FirstSeen::InFirstList, 400);
    assert_eq!(watcher.words(), ["found ImagePullBackOff"]);
    // The kubelet has forgotten the pull, and tries it again.
    watcher.see(&pod("u1", "cart-5d8f-a", waiting("ContainerCreating", "")), FirstSeen::Later, 460);
    watcher.see(&pod("u1", "cart-5d8f-a", pull("ErrImagePull")), FirstSeen::Later, 475);
    watcher.see(&pod("u1", "cart-5d8f-a", pull("ImagePullBackOff")), FirstSeen::Later, 490);
    assert_eq!(watcher.words(), ["found ImagePullBackOff"]);
    // It is over when the container runs.
    watcher.see(&pod("u1", "cart-5d8f-a", waiting("ContainerCreating", "")), FirstSeen::Later, 500);
    watcher.see(&pod("u1", "cart-5d8f-a", running(0, 510, 0)), FirstSeen::Later, 510);
    assert_eq!(watcher.words(), ["found ImagePullBackOff", "resolved ImagePullBackOff"]);
}

#[test]
fn a_pod_that_is_gone_takes_its_series_along_and_leaves_its_terminations() {
    let mut watcher = Watcher::default();
    let looping = |run, since| pod("u1", "cart-5d8f-a", running(run, since, since - 2));
    watcher.see(&looping(0, 0), FirstSeen::Later, 0);
    for run in 1..5 {
        watcher.see(&looping(run, run * 20), FirstSeen::Later, run * 20);
    }
    assert!(watcher.metrics(1_000, 100).contains("pod=\"cart-5d8f-a\""));
    let mark = watcher.incidents.mark();
    let events = watcher.incidents.sweep(mark, None, at(110));
    watcher.log.extend(events);
    let text = watcher.metrics(1_000, 110);
    assert!(!text.contains("pod=\"cart-5d8f-a\""), "{text}");
    assert!(text.contains("reason=\"Error\"} 4\n") && text.contains("reason=\"Unobserved\"} 1\n"), "{text}");
    assert_eq!(watcher.words(), ["opened CrashLoopBackOff", "resolved CrashLoopBackOff"]);
}
