//! The demo's cluster: workloads that fail, heal or behave, each as one line of events in the cluster's own time.
//!
//! The order of statuses and the waits between them are those of the recorded kubelet: the first restart is immediate, the
//! back-off doubles from 10 s to 5 min, `CrashLoopBackOff` is written at the sync after the termination and not at once.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::cluster::{Cluster, seconds};
use super::kubelet::{Pod, Termination, hash, write_event};

const NODE: &str = "node-a";
/// Whose the Deployments of a namespace are: their label `team`. The others have none, as in many a cluster.
const TEAMS: [(&str, &str); 3] = [("ml", "research"), ("payments", "payments"), ("shop", "checkout")];
const REGISTRY: &str = "registry.example.com";

/// Plays everything, until dropped. All of it is one future: it needs no task of its own beyond the one that polls it.
pub async fn play(cluster: Cluster) {
    nodes_and_namespaces(&cluster);
    let c = &cluster;
    let lines: Vec<BoxFuture<'_, ()>> = vec![
        Box::pin(healthy(c)),
        Box::pin(crash_loop(c)),
        Box::pin(out_of_memory(c)),
        Box::pin(out_of_memory_once(c)),
        Box::pin(missing_image_then_fixed(c)),
        Box::pin(private_image(c)),
        Box::pin(missing_config_map_then_created(c)),
        Box::pin(crash_loop_that_recovers(c)),
        Box::pin(liveness(c)),
        Box::pin(never_ready(c)),
        Box::pin(init_crash_loop(c)),
        Box::pin(unschedulable(c)),
        Box::pin(stuck_terminating(c)),
        Box::pin(failing_job(c)),
        Box::pin(completing_job(c)),
        Box::pin(rollout_of_a_healthy_deployment(c)),
        Box::pin(controllers(c)),
    ];
    join_all(lines).await;
}

// ---------------------------------------------------------------------------------------------------------------------
// The lines. Times are seconds of the cluster's clock.

async fn healthy(c: &Cluster) {
    let web = Deployment::new(c, "shop", "web", 3, app("web", "shop/web:1.8.2", "64Mi"));
    let web = &web;
    let starts = (0..3).map(|number| async move {
        if let Some(mut pod) = web.pod(number) {
            begin(c, &mut pod).await;
            run(c, &mut pod, "web", "listening on :8080\n").await;
        }
    });
    join_all(starts).await;
}

async fn crash_loop(c: &Cluster) {
    let cart = Deployment::new(c, "shop", "cart", 2, app("cart", "shop/cart:2.4.1", "128Mi"));
    let cart = &cart;
    let pods = (0..2).map(|number| async move {
        let Some(mut pod) = cart.pod(number) else { return };
        begin(c, &mut pod).await;
        let log = "INFO cart starting version=2.4.1\nINFO connecting to redis at redis.shop.svc:6379\n\
                   ERROR dial tcp: lookup redis.shop.svc: no such host\npanic: could not connect to redis\n";
        restart_for_ever(c, &mut pod, "cart", 3, &Termination::exit(1), log, None).await;
    });
    join_all(pods).await;
}

async fn out_of_memory(c: &Cluster) {
    let trainer = Deployment::new(c, "ml", "trainer", 1, app("trainer", "ml/trainer:2026.8", "256Mi"));
    let Some(mut pod) = trainer.pod(0) else { return };
    begin(c, &mut pod).await;
    restart_for_ever(
        c,
        &mut pod,
        "trainer",
        12,
        &Termination::oom(),
        "loading the model\nepoch 1: 4096 samples\n",
        None,
    )
    .await;
}

async fn out_of_memory_once(c: &Cluster) {
    let store = Deployment::new(c, "ml", "feature-store", 1, app("store", "ml/feature-store:3.1.0", "512Mi"));
    let Some(mut pod) = store.pod(0) else { return };
    begin(c, &mut pod).await;
    run(c, &mut pod, "store", "serving features\ncompaction started\n").await;
    wait(c, 60).await;
    pod.terminate("store", &Termination::oom());
    pod.publish();
    wait(c, 2).await;
    run(c, &mut pod, "store", "serving features\n").await;
}

async fn missing_image_then_fixed(c: &Cluster) {
    let mut api = Deployment::new(c, "payments", "api", 2, app("api", "payments/api:4.9.9", "128Mi"));
    let pull = |image: &str| {
        format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve image: {image}: not \
             found"
        )
    };
    let mut broken: Vec<Pod> = (0..2).filter_map(|number| api.pod(number)).collect();
    let pulls = broken.iter_mut().map(|pod| async {
        begin(c, pod).await;
        fail_to_pull(c, pod, "api", pull, 240).await;
    });
    join_all(pulls).await;
    // Someone sets an image that exists.
    api.roll(app("api", "payments/api:4.9.8", "128Mi"));
    let api = &api;
    let fixed = (0..2).map(|number| async move {
        let Some(mut pod) = api.pod(number) else { return };
        begin(c, &mut pod).await;
        run(c, &mut pod, "api", "payments api 4.9.8 ready\n").await;
    });
    join_all(fixed).await;
    for mut pod in broken {
        delete(c, &mut pod, "api", None).await;
    }
}

async fn private_image(c: &Cluster) {
    let manifest = bare("payments", "settlement", app("settlement", "private/settlement:1.4.0", "64Mi"));
    let Ok(mut pod) = Pod::create(c, manifest) else { return };
    begin(c, &mut pod).await;
    let refusal = |image: &str| {
        format!(
            "failed to pull and unpack image \"{image}\": failed to resolve image: pull access denied, repository does not exist \
             or may require authorization: authorization failed: no basic auth credentials"
        )
    };
    fail_to_pull(c, &mut pod, "settlement", refusal, i64::MAX).await;
}

async fn missing_config_map_then_created(c: &Cluster) {
    let mut spec = app("gateway", "payments/gateway:2.0.3", "64Mi");
    spec["containers"][0]["env"] = json!([{
        "name": "ACQUIRER_URL", "valueFrom": {"configMapKeyRef": {"name": "gateway-config", "key": "acquirer-url"}}
    }]);
    let gateway = Deployment::new(c, "payments", "gateway", 1, spec);
    let Some(mut pod) = gateway.pod(0) else { return };
    begin(c, &mut pod).await;
    let message = "configmap \"gateway-config\" not found";
    for attempt in 0..24 {
        pulled(&pod, "gateway");
        pod.event("Warning", "Failed", &format!("Error: {message}"), Some("gateway"));
        if attempt == 0 {
            pod.wait("gateway", "CreateContainerConfigError", message);
            pod.publish();
        }
        wait(c, 10 + (hash(pod.uid()).wrapping_add(attempt) % 6) as i64).await;
    }
    // Someone created it.
    run(c, &mut pod, "gateway", "gateway ready\n").await;
}

async fn crash_loop_that_recovers(c: &Cluster) {
    let payouts =
        Deployment::new(c, "payments", "payouts", 1, app("payouts", "payments/payouts:5.1.0", "128Mi"));
    let Some(mut pod) = payouts.pod(0) else { return };
    begin(c, &mut pod).await;
    let log = "INFO payouts starting\nERROR migration 42 not applied yet, giving up\n";
    // Until its database has been migrated, by a person, after three minutes.
    restart_for_ever(c, &mut pod, "payouts", 4, &Termination::exit(1), log, Some(180)).await;
    run(c, &mut pod, "payouts", "INFO payouts starting\nINFO ready\n").await;
}

async fn liveness(c: &Cluster) {
    let mut spec = app("proxy", "platform/proxy:1.29.0", "64Mi");
    spec["containers"][0]["livenessProbe"] = json!({
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3
    });
    let proxy = Deployment::new(c, "platform", "proxy", 1, spec);
    let Some(mut pod) = proxy.pod(0) else { return };
    begin(c, &mut pod).await;
    let mut restarts = 0;
    loop {
        run(c, &mut pod, "proxy", "proxy up\n").await;
        for _ in 0..3 {
            wait(c, 10).await;
            let address = pod.object()["status"]["podIP"].as_str().unwrap_or("").to_owned();
            let message = format!(
                "Liveness probe failed: Get \"http://{address}:8080/healthz\": dial tcp {address}:8080: connect: connection refused"
            );
            pod.event("Warning", "Unhealthy", &message, Some("proxy"));
        }
        pod.event(
            "Normal",
            "Killing",
            "Container proxy failed liveness probe, will be restarted",
            Some("proxy"),
        );
        wait(c, 2).await;
        pod.terminate("proxy", &Termination::exit(137));
        if restarts == 0 {
            // The first restart comes with the same sync: the termination is only ever seen in lastState.
            restarts += 1;
            continue;
        }
        back_off(c, &mut pod, "proxy", restarts, true).await;
        restarts += 1;
    }
}

async fn never_ready(c: &Cluster) {
    let mut spec = app("relay", "platform/relay:2.2.0", "64Mi");
    spec["containers"][0]["readinessProbe"] = json!({
        "tcpSocket": {"port": 2525}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
    });
    let Ok(mut pod) = Pod::create(c, bare("platform", "mail-relay", spec)) else { return };
    begin(c, &mut pod).await;
    run(c, &mut pod, "relay", "waiting for the upstream\n").await;
    loop {
        wait(c, 10).await;
        let address = pod.object()["status"]["podIP"].as_str().unwrap_or("").to_owned();
        let message = format!("Readiness probe failed: dial tcp {address}:2525: connect: connection refused");
        pod.event("Warning", "Unhealthy", &message, Some("relay"));
    }
}

async fn init_crash_loop(c: &Cluster) {
    let mut spec = app("accounts", "platform/accounts:7.0.1", "128Mi");
    spec["initContainers"] = json!([container("migrate", "platform/accounts:7.0.1", "64Mi")]);
    let accounts = Deployment::new(c, "platform", "accounts", 1, spec);
    let Some(mut pod) = accounts.pod(0) else { return };
    begin(c, &mut pod).await;
    let log = "applying 0042_add_iban.sql\nERROR: relation \"accounts\" already exists\n";
    restart_for_ever(c, &mut pod, "migrate", 2, &Termination::exit(1), log, None).await;
}

async fn unschedulable(c: &Cluster) {
    let mut spec = app("llm", "ml/inference:0.14.0", "512Gi");
    spec["containers"][0]["resources"]["requests"] = json!({"cpu": "64", "memory": "512Gi"});
    // Its team knows, and has muted it for a day.
    let until = c.now().checked_add(SignedDuration::from_hours(24)).unwrap_or_else(|_| c.now());
    let mute = json!({
        "kubehealer.dev/mute-until": seconds(until), "kubehealer.dev/mute-reason": "larger nodes are ordered"
    });
    let llm = Deployment::annotated(c, "ml", "llm", 1, spec, mute);
    let Some(mut pod) = llm.pod(0) else { return };
    let message = "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint(s). no new \
                   claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";
    pod.unschedulable(message);
    pod.publish();
}

async fn stuck_terminating(c: &Cluster) {
    let mut manifest = bare("batch", "audit-export", app("audit", "batch/export:0.3.2", "64Mi"));
    manifest["metadata"]["finalizers"] = json!(["example.com/audit-archived"]);
    let Ok(mut pod) = Pod::create(c, manifest) else { return };
    begin(c, &mut pod).await;
    run(c, &mut pod, "audit", "exporting\n").await;
    wait(c, 20).await;
    pod.mark_deleted(30);
    pod.publish();
    pod.event("Normal", "Killing", "Stopping container audit", Some("audit"));
    wait(c, 31).await;
    pod.terminate("audit", &Termination::exit(137));
    // Nobody takes the finalizer away, so the pod stays.
    pod.publish();
}

async fn failing_job(c: &Cluster) {
    let job = Job::new(c, "batch", "nightly-report", app("report", "batch/report:1.0.0", "64Mi"));
    for attempt in 0..3_u32 {
        let Some(mut pod) = job.pod(attempt) else { return };
        begin(c, &mut pod).await;
        run(c, &mut pod, "report", "querying the warehouse\nERROR: permission denied for schema finance\n")
            .await;
        wait(c, 4).await;
        pod.terminate("report", &Termination::exit(3));
        pod.publish();
        wait(c, 10 * (1 << attempt)).await;
    }
    job.finish(3, false);
}

async fn completing_job(c: &Cluster) {
    let job = Job::new(c, "batch", "seed", app("seed", "batch/etl:7.7.1", "64Mi"));
    let Some(mut pod) = job.pod(0) else { return };
    begin(c, &mut pod).await;
    run(c, &mut pod, "seed", "done\n").await;
    wait(c, 10).await;
    pod.terminate("seed", &Termination::exit(0));
    pod.publish();
    wait(c, 1).await;
    job.finish(1, true);
}

/// What must raise nothing: pods replaced one by one, each ending with 143.
async fn rollout_of_a_healthy_deployment(c: &Cluster) {
    let mut frontend =
        Deployment::new(c, "shop", "frontend", 2, app("frontend", "shop/frontend:3.0.0", "128Mi"));
    let mut old: Vec<Pod> = Vec::new();
    for version in 0.. {
        for at in 0..2 {
            let Some(mut pod) = frontend.pod(at as u32) else { return };
            begin(c, &mut pod).await;
            run(c, &mut pod, "frontend", "listening on :3000\n").await;
            if old.len() == 2 {
                let mut gone = std::mem::replace(&mut old[at], pod);
                delete(c, &mut gone, "frontend", Some(&Termination::exit(143))).await;
            } else {
                old.push(pod);
            }
        }
        wait(c, 300).await;
        frontend.roll(app("frontend", &format!("shop/frontend:3.0.{}", version + 1), "128Mi"));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What the lines are made of.

async fn wait(c: &Cluster, seconds: i64) {
    c.sleep(Duration::from_secs(seconds.max(0).unsigned_abs())).await;
}

/// From the scheduler to a sandbox with a network.
async fn begin(c: &Cluster, pod: &mut Pod) {
    c.sleep(Duration::from_millis(200)).await;
    pod.bind(NODE);
    pod.publish();
    c.sleep(Duration::from_millis(800)).await;
    pod.accept();
    pod.publish();
    wait(c, 3).await;
    pod.sandbox();
    pod.publish();
}

fn pulled(pod: &Pod, container: &str) {
    let image = image_of(pod, container);
    let message =
        format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
    pod.event("Normal", "Pulled", &message, Some(container));
}

async fn run(c: &Cluster, pod: &mut Pod, container: &str, log: &str) {
    pulled(pod, container);
    wait(c, 1).await;
    pod.event("Normal", "Created", "Container created", Some(container));
    pod.start(container);
    pod.set_log(container, log);
    pod.event("Normal", "Started", "Container started", Some(container));
    pod.publish();
}

/// The wait before the next start: nothing before the first restart, then 10 s and twice as much each time, to 5 min.
fn pause(restarts: u32) -> i64 {
    match restarts {
        0 => 0,
        n => (10_i64 << (n - 1).min(5)).min(300),
    }
}

/// From a termination to the next start. `seen` says that another sync soon shows `CrashLoopBackOff`, as after a kill.
async fn back_off(c: &Cluster, pod: &mut Pod, container: &str, restarts: u32, seen: bool) {
    let until = c.now().as_second() + pause(restarts);
    let words = match pause(restarts) {
        s if s < 60 => format!("{s}s"),
        s => format!("{}m{}s", s / 60, s % 60),
    };
    let full = format!("{}_{}({})", pod.name(), pod.namespace(), pod.uid());
    let waiting = format!("back-off {words} restarting failed container={container} pod={full}");
    let event = format!("Back-off restarting failed container {container} in pod {full}");
    if seen {
        pod.wait(container, "CrashLoopBackOff", &waiting);
    }
    pod.publish();
    pod.event("Warning", "BackOff", &event, Some(container));
    let mut round = 0;
    loop {
        // The next sync comes when the back-off is over, or after a minute, and up to half as much later.
        let left = until - c.now().as_second();
        let most = left.clamp(1, 60);
        let jitter = (hash(&format!("{full}{restarts}{round}")) % 50) as i64;
        c.sleep(Duration::from_millis((most * (1000 + 10 * jitter)).unsigned_abs())).await;
        round += 1;
        if !seen || round > 1 {
            pod.wait(container, "CrashLoopBackOff", &waiting);
            pod.publish();
        }
        if c.now().as_second() >= until {
            return;
        }
        pod.event("Warning", "BackOff", &event, Some(container));
    }
}

/// Runs, terminates, backs off, over and over; after `until` seconds it gives up, with the container waiting.
async fn restart_for_ever(
    c: &Cluster,
    pod: &mut Pod,
    container: &str,
    runs: i64,
    termination: &Termination,
    log: &str,
    until: Option<i64>,
) {
    let begun = c.now().as_second();
    for restarts in 0.. {
        run(c, pod, container, log).await;
        wait(c, runs).await;
        pod.terminate(container, termination);
        if restarts == 0 {
            pod.publish();
        } else {
            back_off(c, pod, container, restarts, false).await;
        }
        if until.is_some_and(|seconds| c.now().as_second() - begun > seconds) {
            return;
        }
    }
}

/// Fails to pull, with the back-off of images, for so many seconds.
async fn fail_to_pull(c: &Cluster, pod: &mut Pod, container: &str, why: impl Fn(&str) -> String, time: i64) {
    let begun = c.now().as_second();
    let image = image_of(pod, container);
    let error = why(&image);
    let event =
        |pod: &Pod, kind: &str, reason: &str, text: &str| pod.event(kind, reason, text, Some(container));
    for attempt in 1.. {
        event(pod, "Normal", "Pulling", &format!("Pulling image \"{image}\""));
        wait(c, 2).await;
        event(pod, "Warning", "Failed", &format!("Failed to pull image \"{image}\": {error}"));
        event(pod, "Warning", "Failed", "Error: ErrImagePull");
        pod.wait(container, "ErrImagePull", &error);
        pod.publish();
        let until = c.now().as_second() + pause(attempt);
        wait(c, 11).await;
        event(pod, "Normal", "BackOff", &format!("Back-off pulling image \"{image}\""));
        event(pod, "Warning", "Failed", "Error: ImagePullBackOff");
        let waiting = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
        pod.wait(container, "ImagePullBackOff", &waiting);
        pod.publish();
        while c.now().as_second() < until {
            wait(c, 13.min(until - c.now().as_second())).await;
            if c.now().as_second().saturating_sub(begun) > time {
                return;
            }
            event(pod, "Normal", "BackOff", &format!("Back-off pulling image \"{image}\""));
        }
    }
}

/// A graceful delete. `termination` is how the container takes it, none if it never ran.
async fn delete(c: &Cluster, pod: &mut Pod, container: &str, termination: Option<&Termination>) {
    pod.mark_deleted(30);
    pod.publish();
    if let Some(termination) = termination {
        pod.event("Normal", "Killing", &format!("Stopping container {container}"), Some(container));
        wait(c, 2).await;
        pod.terminate(container, termination);
        pod.publish();
    }
    wait(c, 1).await;
    pod.remove();
}

fn image_of(pod: &Pod, container: &str) -> String {
    let lists = ["containers", "initContainers"].map(|list| pod.object()["spec"][list].as_array());
    let found = lists.into_iter().flatten().flatten().find(|c| c["name"] == container);
    found.and_then(|c| c["image"].as_str()).unwrap_or("").to_owned()
}

fn container(name: &str, image: &str, memory: &str) -> Value {
    json!({
        "name": name, "image": format!("{REGISTRY}/{image}"), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"limits": {"memory": memory}, "requests": {"cpu": "5m", "memory": memory}},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
    })
}

/// A pod spec of one container.
fn app(name: &str, image: &str, memory: &str) -> Value {
    json!({
        "containers": [container(name, image, memory)], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "securityContext": {},
        "schedulerName": "default-scheduler"
    })
}

/// A pod that no controller owns.
fn bare(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// A name's suffix as Kubernetes makes them, the same in every run.
fn suffix(of: &str, length: usize) -> String {
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = hash(of);
    (0..length)
        .map(|_| {
            let letter = letters[(rest % letters.len() as u64) as usize];
            rest = (rest / letters.len() as u64) ^ rest.rotate_left(17);
            char::from(letter)
        })
        .collect()
}

fn controller(kind: &str, api_version: &str, owner: &Value) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true
    }])
}

fn created(c: &Cluster, kind: &str, owner: &Value, source: &str, pod: &str) {
    let about = json!({
        "kind": kind, "apiVersion": owner["apiVersion"], "namespace": owner["metadata"]["namespace"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]
    });
    let message = format!("Created pod: {pod}");
    write_event(c, "Normal", "SuccessfulCreate", &message, &about, &json!({ "component": source }));
}

/// A Deployment and its newest ReplicaSet.
struct Deployment<'a> {
    c: &'a Cluster,
    namespace: &'static str,
    name: &'static str,
    replicas: u32,
    annotations: Value,
    spec: Value,
    revision: u32,
}

impl<'a> Deployment<'a> {
    fn new(c: &'a Cluster, namespace: &'static str, name: &'static str, replicas: u32, spec: Value) -> Self {
        Self::annotated(c, namespace, name, replicas, spec, json!({}))
    }

    fn annotated(
        c: &'a Cluster,
        namespace: &'static str,
        name: &'static str,
        replicas: u32,
        spec: Value,
        annotations: Value,
    ) -> Self {
        let mut new = Self { c, namespace, name, replicas, annotations, spec: Value::Null, revision: 0 };
        new.roll(spec);
        new
    }

    fn replica_set(&self) -> String {
        format!("{}-{}", self.name, suffix(&format!("{}/{}", self.name, self.revision), 9))
    }

    /// Sets another pod template: the old ReplicaSet goes to 0, a new one comes.
    fn roll(&mut self, spec: Value) {
        if self.revision > 0 {
            self.c.update("replicasets", self.namespace, &self.replica_set(), |rs| {
                rs["spec"]["replicas"] = json!(0)
            });
        }
        self.revision += 1;
        self.spec = spec;
        let revision = json!({"deployment.kubernetes.io/revision": self.revision.to_string()});
        let mut annotations = self.annotations.clone();
        annotations["deployment.kubernetes.io/revision"] = json!(self.revision.to_string());
        let mut labels = json!({"app": self.name});
        if let Some((_, team)) = TEAMS.iter().find(|(namespace, _)| *namespace == self.namespace) {
            labels["team"] = json!(team);
        }
        let selector = json!({"matchLabels": {"app": self.name}});
        let template = json!({"metadata": {"labels": {"app": self.name}}, "spec": self.spec});
        let deployment = json!({
            "kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {
                "namespace": self.namespace, "name": self.name, "labels": labels, "annotations": annotations,
                "generation": self.revision
            },
            "spec": {
                "replicas": self.replicas, "selector": selector, "template": template, "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
            },
            "status": {"observedGeneration": self.revision}
        });
        // Kinds and names are set right here, so these cannot be refused.
        let _ = self.c.apply(deployment);
        let owner = self.c.get("deployments", self.namespace, self.name).unwrap_or_default();
        let hash = self.replica_set().rsplit('-').next().unwrap_or("").to_owned();
        let set = json!({
            "kind": "ReplicaSet", "apiVersion": "apps/v1",
            "metadata": {
                "namespace": self.namespace, "name": self.replica_set(), "labels": {"app": self.name, "pod-template-hash": hash},
                "annotations": revision, "ownerReferences": controller("Deployment", "apps/v1", &owner)
            },
            "spec": {"replicas": self.replicas, "selector": selector, "template": template},
            "status": {"replicas": 0}
        });
        let _ = self.c.apply(set);
    }

    /// A pod of the newest ReplicaSet; its number decides its name.
    fn pod(&self, number: u32) -> Option<Pod> {
        let set = self.c.get("replicasets", self.namespace, &self.replica_set())?;
        let name =
            format!("{}-{}", self.replica_set(), suffix(&format!("{}{number}", self.replica_set()), 5));
        let manifest = json!({
            "metadata": {
                "namespace": self.namespace, "name": name, "generateName": format!("{}-", self.replica_set()),
                "labels": set["metadata"]["labels"], "ownerReferences": controller("ReplicaSet", "apps/v1", &set)
            },
            "spec": self.spec
        });
        created(self.c, "ReplicaSet", &set, "replicaset-controller", &name);
        Pod::create(self.c, manifest).ok()
    }
}

/// A Job whose pods are tried again.
struct Job<'a> {
    c: &'a Cluster,
    namespace: &'static str,
    name: &'static str,
    spec: Value,
}

impl<'a> Job<'a> {
    fn new(c: &'a Cluster, namespace: &'static str, name: &'static str, mut spec: Value) -> Self {
        spec["restartPolicy"] = json!("Never");
        let job = json!({
            "kind": "Job", "apiVersion": "batch/v1",
            "metadata": {"namespace": namespace, "name": name, "labels": {"job-name": name}},
            "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 2, "template": {"spec": spec}},
            "status": {"startTime": seconds(c.now()), "active": 1}
        });
        let _ = c.apply(job);
        Self { c, namespace, name, spec }
    }

    fn pod(&self, number: u32) -> Option<Pod> {
        let job = self.c.get("jobs", self.namespace, self.name)?;
        let name = format!("{}-{}", self.name, suffix(&format!("{}{number}", self.name), 5));
        let manifest = json!({
            "metadata": {
                "namespace": self.namespace, "name": name, "generateName": format!("{}-", self.name),
                "labels": {"job-name": self.name, "batch.kubernetes.io/job-name": self.name},
                "ownerReferences": controller("Job", "batch/v1", &job)
            },
            "spec": self.spec
        });
        created(self.c, "Job", &job, "job-controller", &name);
        Pod::create(self.c, manifest).ok()
    }

    fn finish(&self, pods: u32, succeeded: bool) {
        let now = seconds(self.c.now());
        let (kinds, reason, message) = if succeeded {
            (
                ["SuccessCriteriaMet", "Complete"],
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        } else {
            (
                ["FailureTarget", "Failed"],
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        };
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                json!({
                    "type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": now,
                    "lastTransitionTime": now
                })
            })
            .collect();
        let count = if succeeded { "succeeded" } else { "failed" };
        self.c.update("jobs", self.namespace, self.name, |job| {
            job["status"] =
                json!({"conditions": conditions, "startTime": job["status"]["startTime"], "ready": 0});
            job["status"][count] = json!(pods);
            if succeeded {
                job["status"]["completionTime"] = json!(now);
            }
        });
    }
}

/// Keeps the counts in the status of ReplicaSets and Deployments in step with their pods.
async fn controllers(c: &Cluster) {
    loop {
        wait(c, 5).await;
        let pods = c.all("pods");
        let owned =
            |pod: &Value, set: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == set["metadata"]["uid"];
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        let sets = c.all("replicasets");
        for set in &sets {
            let mine: Vec<&Value> = pods.iter().filter(|pod| owned(pod, set)).collect();
            let count = mine.iter().copied().filter(ready).count();
            let status = json!({"replicas": mine.len(), "readyReplicas": count, "availableReplicas": count, "observedGeneration": 1});
            write_status(c, "replicasets", set, &status);
        }
        for deployment in c.all("deployments") {
            let mine: Vec<&Value> = sets.iter().filter(|set| owned(set, &deployment)).collect();
            let newest = mine.iter().copied().filter(|set| set["spec"]["replicas"] != 0);
            let all: Vec<&Value> = pods.iter().filter(|pod| mine.iter().any(|set| owned(pod, set))).collect();
            let updated = newest.map(|set| pods.iter().filter(|pod| owned(pod, set)).count()).sum::<usize>();
            let available = all.iter().copied().filter(ready).count();
            let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(0);
            let generation = &deployment["metadata"]["generation"];
            let begun = mine.iter().filter(|set| set["spec"]["replicas"] != 0).find_map(|set| {
                set["metadata"]["creationTimestamp"].as_str()?.parse::<jiff::Timestamp>().ok()
            });
            let waited = begun.map_or(0, |begun| c.now().as_second() - begun.as_second());
            let old = |kind: &str| {
                let conditions = deployment["status"]["conditions"].as_array();
                conditions
                    .and_then(|list| list.iter().find(|c| c["type"] == kind))
                    .cloned()
                    .unwrap_or_default()
            };
            // A rollout that was complete once stays so, whatever becomes of its pods.
            let was_complete = old("Progressing")["reason"] == "NewReplicaSetAvailable"
                && deployment["status"]["observedGeneration"] == *generation;
            let complete = available as u64 >= wanted && updated as u64 == wanted;
            let (progressing, why) = match complete || was_complete {
                true => ("True", "NewReplicaSetAvailable"),
                false if waited > 600 => ("False", "ProgressDeadlineExceeded"),
                false => ("True", "ReplicaSetUpdated"),
            };
            let set = mine
                .iter()
                .find(|set| set["spec"]["replicas"] != 0)
                .map_or("", |set| set["metadata"]["name"].as_str().unwrap_or(""));
            let words = match why {
                "NewReplicaSetAvailable" => format!("ReplicaSet \"{set}\" has successfully progressed."),
                "ReplicaSetUpdated" => format!("ReplicaSet \"{set}\" is progressing."),
                _ => format!("ReplicaSet \"{set}\" has timed out progressing."),
            };
            let condition = |kind: &str, status: &str, reason: &str, message: &str| {
                let old = old(kind);
                let since = Some(&old["lastTransitionTime"]).filter(|_| old["status"] == status).cloned();
                json!({
                    "type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": since.unwrap_or_else(|| json!(seconds(c.now())))
                })
            };
            let available_now = match available as u64 >= wanted {
                true => condition(
                    "Available",
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                ),
                false => condition(
                    "Available",
                    "False",
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                ),
            };
            let status = json!({
                "observedGeneration": generation, "replicas": all.len(), "updatedReplicas": updated,
                "readyReplicas": available, "availableReplicas": available,
                "unavailableReplicas": (all.len() as u64).max(wanted).saturating_sub(available as u64),
                "conditions": [available_now, condition("Progressing", progressing, why, &words)]
            });
            write_status(c, "deployments", &deployment, &status);
        }
    }
}

fn write_status(c: &Cluster, resource: &str, object: &Value, status: &Value) {
    if object["status"] != *status {
        let word = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_owned();
        c.update(resource, &word("namespace"), &word("name"), |object| object["status"] = status.clone());
    }
}

fn nodes_and_namespaces(c: &Cluster) {
    for name in ["shop", "payments", "ml", "platform", "batch"] {
        let _ = c.apply(json!({
            "kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": "Active"}
        }));
    }
    let taint = json!([{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]);
    for (name, cpu, memory, taints) in [(NODE, "16", "64Gi", Value::Null), ("gpu-1", "16", "64Gi", taint)] {
        let sizes = json!({"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "100Gi"});
        let now = seconds(c.now());
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now
            })
        };
        let mut node = json!({
            "kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {},
            "status": {
                "capacity": sizes, "allocatable": sizes,
                "conditions": [
                    condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                    condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                    condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                    condition("Ready", "True", "KubeletReady")
                ],
                "nodeInfo": {
                    "kubeletVersion": "v1.36.2", "containerRuntimeVersion": "containerd://2.1.9", "architecture": "amd64",
                    "operatingSystem": "linux", "osImage": "", "kernelVersion": "", "kubeProxyVersion": "", "bootID": "",
                    "machineID": "", "systemUUID": ""
                }
            }
        });
        if !taints.is_null() {
            node["spec"]["taints"] = taints;
        }
        let _ = c.apply(node);
    }
}
