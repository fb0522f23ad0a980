//! A pod as the kubelet writes it: the moves from one status to the next, each as in the recordings. What moves when is decided
//! elsewhere ([`super::scenarios`], or a test), and nothing here waits.
//!
//! Every method changes the pod in hand; [`Pod::publish`] writes it. Several changes before one write are what a watcher
//! sees when the kubelet's status manager leaves states out.

use bytes::Bytes;
use serde_json::{Value, json};

use super::cluster::{Cluster, Error, Log, seconds};
use super::resources::PODS;

/// How a container terminated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// As the runtime gives it: 137 for a kill.
    pub exit_code: i32,
    /// `Error`, `OOMKilled`, `Completed`, `Unknown` ...
    pub reason: String,
    /// The termination message; empty for none.
    pub message: String,
}

impl Termination {
    /// By itself: `Completed` for 0, else `Error`.
    pub fn exit(exit_code: i32) -> Self {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        Self { exit_code, reason: reason.to_owned(), message: String::new() }
    }

    /// Over its memory limit.
    pub fn oom() -> Self {
        Self { exit_code: 137, reason: "OOMKilled".to_owned(), message: String::new() }
    }
}

/// A pod and its hand on the cluster.
#[derive(Clone)]
pub struct Pod {
    cluster: Cluster,
    object: Value,
    ids: u64,
}

/// The lists of container statuses, with the list of the spec that each belongs to.
const LISTS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

impl Pod {
    /// Writes a new pod from its manifest (`metadata` and `spec`): Pending, with no status from a kubelet yet.
    pub fn create(cluster: &Cluster, mut manifest: Value) -> Result<Self, Error> {
        manifest["kind"] = json!("Pod");
        manifest["apiVersion"] = json!("v1");
        if manifest["spec"]["restartPolicy"].is_null() {
            manifest["spec"]["restartPolicy"] = json!("Always");
        }
        if manifest["spec"]["terminationGracePeriodSeconds"].is_null() {
            manifest["spec"]["terminationGracePeriodSeconds"] = json!(30);
        }
        if manifest["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
            manifest["metadata"]["namespace"] = json!("default");
        }
        manifest["status"] = json!({"phase": "Pending", "qosClass": "Burstable"});
        let mut pod = Self { cluster: cluster.clone(), object: manifest, ids: 0 };
        let known = cluster.object(PODS, pod.namespace(), pod.name());
        if known.is_none() && pod.object["metadata"]["creationTimestamp"].is_null() {
            pod.object["metadata"]["creationTimestamp"] = pod.now();
        }
        cluster.apply(pod.object.clone())?;
        let written = cluster.object(PODS, pod.namespace(), pod.name());
        pod.object = match written {
            // Whose uid is made, and whose creation is known.
            Some(written) if known.is_none() => {
                pod.object["metadata"]["uid"] = json!(written.uid);
                pod.object
            }
            Some(written) => written.value(),
            None => pod.object,
        };
        // Container ids must differ between pods, and between two pods of one name.
        pod.ids = hash(pod.uid());
        Ok(pod)
    }

    pub fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or("")
    }

    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or("")
    }

    pub fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or("")
    }

    /// The pod in hand, which may be ahead of what is published.
    pub fn object(&self) -> &Value {
        &self.object
    }

    /// Whether the API still has this very pod.
    pub fn exists(&self) -> bool {
        self.cluster.object(PODS, self.namespace(), self.name()).is_some_and(|pod| pod.uid == self.uid())
    }

    fn now(&self) -> Value {
        json!(seconds(self.cluster.now()))
    }

    /// Writes the pod, its conditions and its phase as they follow from the containers; false when it is gone.
    pub fn publish(&mut self) -> bool {
        self.settle();
        self.exists() && self.cluster.apply(self.object.clone()).is_ok()
    }

    /// The pod has a node, without the scheduler's event.
    pub fn assign(&mut self, node: &str) {
        self.object["spec"]["nodeName"] = json!(node);
        self.condition("PodScheduled", true, "", "");
    }

    /// The scheduler found a node.
    pub fn bind(&mut self, node: &str) {
        self.assign(node);
        let message = format!("Successfully assigned {}/{} to {node}", self.namespace(), self.name());
        self.scheduler_event("Normal", "Scheduled", &message);
    }

    /// The scheduler found none.
    pub fn unschedulable(&mut self, message: &str) {
        self.condition("PodScheduled", false, "Unschedulable", message);
        self.scheduler_event("Warning", "FailedScheduling", message);
    }

    /// The kubelet has seen the pod: every container waits.
    pub fn accept(&mut self) {
        let initial = if self.object["spec"]["initContainers"].is_array() {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        for (statuses, specs) in LISTS {
            let Some(containers) = self.object["spec"][specs].as_array() else { continue };
            let waiting: Vec<Value> = containers
                .iter()
                .map(|spec| {
                    json!({
                        "name": spec["name"], "state": {"waiting": {"reason": initial}}, "lastState": {}, "ready": false,
                        "restartCount": 0, "image": spec["image"], "imageID": "", "started": false
                    })
                })
                .collect();
            self.object["status"][statuses] = json!(waiting);
        }
        self.object["status"]["startTime"] = self.now();
        self.object["status"]["hostIP"] = json!("10.0.0.10");
        self.condition("PodReadyToStartContainers", false, "", "");
    }

    /// The sandbox and its network are there.
    pub fn sandbox(&mut self) {
        let address = hash(self.uid());
        self.object["status"]["podIP"] =
            json!(format!("10.42.{}.{}", address >> 8 & 0xff, 1 + (address & 0x7f)));
        self.condition("PodReadyToStartContainers", true, "", "");
    }

    /// The container waits: `ErrImagePull`, `CrashLoopBackOff`, `CreateContainerConfigError` ... A termination becomes `lastState`.
    pub fn wait(&mut self, container: &str, reason: &str, message: &str) {
        let Some(status) = self.status(container) else { return };
        keep_termination(status);
        let mut waiting = json!({"reason": reason});
        if !message.is_empty() {
            waiting["message"] = json!(message);
        }
        status["state"] = json!({ "waiting": waiting });
        status["ready"] = json!(false);
        status["started"] = json!(false);
        self.copy_log(container);
    }

    /// The container runs, again if it ran before: then `restartCount` rises.
    pub fn start(&mut self, container: &str) {
        let probe = |of: &Value, name: &str| of[name].is_object();
        let spec = self.spec(container).cloned().unwrap_or_default();
        let (now, id) = (self.now(), self.container_id());
        let Some(status) = self.status(container) else { return };
        keep_termination(status);
        made(status, &id);
        status["state"] = json!({"running": {"startedAt": now}});
        status["started"] = json!(!probe(&spec, "startupProbe"));
        status["ready"] = json!(!probe(&spec, "startupProbe") && !probe(&spec, "readinessProbe"));
        let image = spec["image"].as_str().unwrap_or("");
        let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
        status["imageID"] = json!(format!("{repository}@sha256:{}", hex(image)));
        self.copy_log(container);
    }

    /// The container terminated.
    pub fn terminate(&mut self, container: &str, termination: &Termination) {
        let (now, init) = (self.now(), self.is_init(container));
        let Some(status) = self.status(container) else { return };
        let mut terminated = json!({
            "exitCode": termination.exit_code, "reason": termination.reason, "startedAt": status["state"]["running"]["startedAt"],
            "finishedAt": now, "containerID": status["containerID"]
        });
        if !termination.message.is_empty() {
            terminated["message"] = json!(termination.message);
        }
        status["state"] = json!({ "terminated": terminated });
        // A completed init container counts as ready.
        status["ready"] = json!(init && termination.exit_code == 0);
        status["started"] = json!(false);
    }

    /// The runtime made a container that could not be started: `RunContainerError`, with a `StartError` behind it.
    pub fn fail_to_start(&mut self, container: &str, message: &str) {
        let (now, id) = (self.now(), self.container_id());
        let Some(status) = self.status(container) else { return };
        made(status, &id);
        status["lastState"] = json!({"terminated": {
            "exitCode": 128, "reason": "StartError", "message": message, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": now,
            "containerID": id
        }});
        status["state"] = json!({"waiting": {"reason": "RunContainerError", "message": message}});
        status["ready"] = json!(false);
        status["started"] = json!(false);
    }

    /// A container that ran is not to be found in the runtime: the kubelet counts it, and makes up its termination without id and times.
    pub fn vanish(&mut self, container: &str) {
        let Some(status) = self.status(container) else { return };
        status["lastState"] = json!({"terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null,
            "message": "The container could not be located when the pod was deleted.  The container used to be Running"
        }});
        status["state"] = json!({"waiting": {"reason": "ContainerCreating"}});
        status["restartCount"] = json!(status["restartCount"].as_i64().unwrap_or(0) + 1);
        status["containerID"] = Value::Null;
        status["ready"] = json!(false);
        status["started"] = json!(false);
    }

    /// The container runs again, and is counted from 0 again: what was left of its runs before was removed from the node.
    pub fn start_uncounted(&mut self, container: &str) {
        self.start(container);
        let Some(status) = self.status(container) else { return };
        status["lastState"] = json!({});
        status["restartCount"] = json!(0);
    }

    /// Someone asked to delete the pod: its time is up in `grace` seconds.
    pub fn mark_deleted(&mut self, grace: u32) {
        let until = self.cluster.now() + jiff::SignedDuration::from_secs(grace.into());
        self.object["metadata"]["deletionTimestamp"] = json!(seconds(until));
        self.object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    }

    /// The pod is removed from the API.
    pub fn remove(&self) {
        if self.exists() {
            self.cluster.delete("pods", self.namespace(), self.name());
        }
    }

    /// The pod's final word from the kubelet itself: `Failed` with a reason such as `Evicted`.
    pub fn fail(&mut self, reason: &str, message: &str) {
        self.object["status"]["phase"] = json!("Failed");
        self.object["status"]["reason"] = json!(reason);
        self.object["status"]["message"] = json!(message);
    }

    /// A container's restarts so far.
    pub fn restarts(&self, container: &str) -> i64 {
        self.look(container).and_then(|status| status["restartCount"].as_i64()).unwrap_or(0)
    }

    /// What the container has written since it started.
    pub fn set_log(&self, container: &str, text: &str) {
        let log = Log::Text(Bytes::copy_from_slice(text.as_bytes()));
        self.cluster.set_log(self.namespace(), self.name(), container, false, log);
    }

    /// A container that has terminated is the previous one from now on.
    fn copy_log(&self, container: &str) {
        let ended = self.look(container).is_some_and(|status| status["lastState"]["terminated"].is_object());
        if let Some(log) = self.cluster.log(self.namespace(), self.name(), container, false).filter(|_| ended)
        {
            self.cluster.set_log(self.namespace(), self.name(), container, true, log);
        }
    }

    /// The kubelet's event about this pod, or one of its containers. The same again only raises its count.
    pub fn event(&self, kind: &str, reason: &str, message: &str, container: Option<&str>) {
        let path = container.map(|name| {
            let list = if self.is_init(name) { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        let node = self.object["spec"]["nodeName"].as_str().unwrap_or("");
        let source = json!({"component": "kubelet", "host": node});
        self.write_event(kind, reason, message, path.as_deref(), &source);
    }

    /// An event as any legacy recorder writes it.
    fn write_event(&self, kind: &str, reason: &str, message: &str, path: Option<&str>, source: &Value) {
        let mut about = json!({
            "kind": "Pod", "apiVersion": "v1", "namespace": self.namespace(), "name": self.name(), "uid": self.uid()
        });
        if let Some(path) = path {
            about["fieldPath"] = json!(path);
        }
        write_event(&self.cluster, kind, reason, message, &about, source);
    }

    /// The scheduler's events have the newer shape: `eventTime`, and no count.
    fn scheduler_event(&self, kind: &str, reason: &str, message: &str) {
        let time = format!("{:.6}", self.cluster.now());
        let event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {
                "namespace": self.namespace(), "name": format!("{}.{:016x}", self.name(), hash(&format!("{message}{time}")))
            },
            "involvedObject": {
                "kind": "Pod", "apiVersion": "v1", "namespace": self.namespace(), "name": self.name(), "uid": self.uid()
            },
            "reason": reason, "message": message, "type": kind, "eventTime": time, "action": "Binding", "source": {},
            "firstTimestamp": null, "lastTimestamp": null,
            "reportingComponent": "default-scheduler", "reportingInstance": "default-scheduler-control-1"
        });
        // Its kind and its name are set just above, so it cannot be refused.
        let _ = self.cluster.apply(event);
    }

    fn is_init(&self, container: &str) -> bool {
        let inits = self.object["spec"]["initContainers"].as_array();
        inits.is_some_and(|list| list.iter().any(|spec| spec["name"] == container))
    }

    fn spec(&self, container: &str) -> Option<&Value> {
        LISTS
            .iter()
            .filter_map(|(_, specs)| self.object["spec"][specs].as_array())
            .flatten()
            .find(|c| c["name"] == container)
    }

    fn look(&self, container: &str) -> Option<&Value> {
        LISTS
            .iter()
            .filter_map(|(list, _)| self.object["status"][list].as_array())
            .flatten()
            .find(|c| c["name"] == container)
    }

    fn status(&mut self, container: &str) -> Option<&mut Value> {
        let list = LISTS.iter().map(|(list, _)| *list).find(|list| {
            let statuses = self.object["status"][list].as_array();
            statuses.is_some_and(|statuses| statuses.iter().any(|c| c["name"] == container))
        })?;
        self.object["status"][list].as_array_mut()?.iter_mut().find(|c| c["name"] == container)
    }

    fn container_id(&mut self) -> String {
        self.ids = self.ids.wrapping_add(1);
        format!("containerd://{}", hex(&self.ids.to_string()))
    }

    fn condition(&mut self, kind: &str, holds: bool, reason: &str, message: &str) {
        let status = if holds { "True" } else { "False" };
        let now = self.now();
        let conditions = &mut self.object["status"]["conditions"];
        if !conditions.is_array() {
            *conditions = json!([]);
        }
        let Some(conditions) = conditions.as_array_mut() else { return };
        let old = conditions.iter().position(|c| c["type"] == kind);
        let since = old.map(|at| conditions[at].clone()).filter(|c| c["status"] == status);
        let mut new = json!({
            "type": kind, "status": status, "lastProbeTime": null,
            "lastTransitionTime": since.map_or(now, |c| c["lastTransitionTime"].clone())
        });
        for (key, text) in [("reason", reason), ("message", message)] {
            if !text.is_empty() {
                new[key] = json!(text);
            }
        }
        match old {
            Some(at) => conditions[at] = new,
            None => conditions.push(new),
        }
    }

    /// Phase and conditions as the kubelet derives them from the containers.
    fn settle(&mut self) {
        let Some(Settled { phase, incomplete, unready }) = self.settled() else { return };
        let over = match phase {
            "Succeeded" => Some("PodCompleted"),
            "Failed" => Some("PodFailed"),
            _ => None,
        };
        self.object["status"]["phase"] = json!(phase);
        if incomplete.is_empty() || over.is_some() {
            self.condition("Initialized", true, "", "");
        } else {
            let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
            self.condition("Initialized", false, "ContainersNotInitialized", &message);
        }
        let not_ready = format!("containers with unready status: [{}]", unready.join(" "));
        for kind in ["Ready", "ContainersReady"] {
            match over {
                Some(reason) => self.condition(kind, false, reason, ""),
                None if unready.is_empty() && incomplete.is_empty() => self.condition(kind, true, "", ""),
                None => self.condition(kind, false, "ContainersNotReady", &not_ready),
            }
        }
        if over.is_some() {
            self.condition("PodReadyToStartContainers", false, "", "");
        }
    }

    /// None before the kubelet has seen the pod.
    fn settled(&self) -> Option<Settled> {
        let list = |name: &str| self.object["status"][name].as_array().map(Vec::as_slice).unwrap_or_default();
        let (apps, inits) = (list("containerStatuses"), list("initContainerStatuses"));
        if apps.is_empty() {
            return None;
        }
        let named = |statuses: Vec<&Value>| {
            statuses.iter().map(|c| c["name"].as_str().unwrap_or("").to_owned()).collect()
        };
        let sidecar = |c: &Value| {
            c["name"]
                .as_str()
                .and_then(|name| self.spec(name))
                .is_some_and(|spec| spec["restartPolicy"] == "Always")
        };
        let done =
            |c: &Value| c["state"]["terminated"]["exitCode"] == 0 || (sidecar(c) && c["started"] == true);
        let incomplete: Vec<&Value> = inits.iter().filter(|c| !done(c)).collect();
        let unready = apps.iter().filter(|c| c["ready"] != true).collect();
        let forever = self.object["spec"]["restartPolicy"] == "Always";
        let never = self.object["spec"]["restartPolicy"] == "Never";
        let deleting = self.object["metadata"]["deletionTimestamp"].is_string();
        let failed =
            |c: &Value| c["state"]["terminated"].is_object() && c["state"]["terminated"]["exitCode"] != 0;
        let never_ran =
            |c: &Value| c["state"]["waiting"].is_object() && !c["lastState"]["terminated"].is_object();
        let all_ended = apps.iter().all(|c| c["state"]["terminated"].is_object());
        let phase = match self.object["status"]["phase"].as_str() {
            // Nothing leads out of these.
            Some("Failed") => "Failed",
            Some("Succeeded") => "Succeeded",
            _ if never && inits.iter().any(failed) => "Failed",
            _ if !incomplete.is_empty() || apps.iter().any(never_ran) => "Pending",
            _ if !all_ended || (forever && !deleting) => "Running",
            _ if !apps.iter().any(failed) => "Succeeded",
            _ if never || deleting => "Failed",
            _ => "Running",
        };
        Some(Settled { phase, incomplete: named(incomplete), unready: named(unready) })
    }
}

/// What the statuses of the containers make of the pod.
struct Settled {
    phase: &'static str,
    /// Init containers that are not done.
    incomplete: Vec<String>,
    /// App containers that are not ready.
    unready: Vec<String>,
}

/// What was `state.terminated` becomes `lastState`.
fn keep_termination(status: &mut Value) {
    if status["state"]["terminated"].is_object() {
        status["lastState"] = status["state"].take();
    }
}

/// One more container was made for this status.
fn made(status: &mut Value, id: &str) {
    if status["containerID"].is_string() {
        status["restartCount"] = json!(status["restartCount"].as_i64().unwrap_or(0) + 1);
    }
    status["containerID"] = json!(id);
}

/// Writes an event, or raises the count of the same one.
pub(super) fn write_event(
    cluster: &Cluster,
    kind: &str,
    reason: &str,
    message: &str,
    about: &Value,
    source: &Value,
) {
    let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (namespace, name) = (word(&about["namespace"]), word(&about["name"]));
    let key = hash(&format!("{}{}{reason}{message}", word(&about["uid"]), word(&about["fieldPath"])));
    let event_name = format!("{name}.{key:016x}");
    let now = json!(seconds(cluster.now()));
    let known = cluster.update("events", &namespace, &event_name, |event| {
        event["count"] = json!(event["count"].as_i64().unwrap_or(0) + 1);
        event["lastTimestamp"] = now.clone();
    });
    if !known {
        let event = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": event_name},
            "involvedObject": about, "reason": reason, "message": message, "source": source, "firstTimestamp": now,
            "lastTimestamp": now, "count": 1, "type": kind, "eventTime": null, "reportingComponent": source["component"],
            "reportingInstance": source["host"].as_str().unwrap_or("")
        });
        // Its kind and its name are set just above, so it cannot be refused.
        let _ = cluster.apply(event);
    }
}

/// FNV-1a: ids that differ, and are the same in every run.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// 64 hexadecimal digits, as of a digest.
fn hex(text: &str) -> String {
    (0..4).map(|part| format!("{:016x}", hash(&format!("{part}{text}{part}")))).collect()
}
