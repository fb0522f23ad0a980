//! Very many pods at little cost, for benchmarks: written from templates, at the places where pods differ.
//!
//! A pod takes a few hundred bytes here rather than its 7.5 KB, and writing one, in either encoding, is a copy.
#![allow(dead_code, reason = "each of the benchmarks and tests that take it in needs a part of it")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kubehealer::simulator::kubelet::{Pod, Termination};
use kubehealer::simulator::{Cluster, Stamped, Template, protobuf_message};
use serde_json::{Value, json};

/// Pods of one workload.
const REPLICAS: u32 = 10;
/// Pods of one node.
const PER_NODE: u32 = 30;
/// So many namespaces share all workloads.
const NAMESPACES: u32 = 100;
/// The first resourceVersion: all of them have the same length from here on.
const FIRST: u64 = 1_000_000_000;

/// Where pods differ. The marks stand in a template in place of as many digits.
const MARKS: [(&str, Mark); 5] = [
    ("~nnnnn~", Mark::Pod),
    ("~www~", Mark::Workload),
    ("~s~", Mark::Namespace),
    ("~hh~", Mark::Node),
    ("~vvvvvvvv~", Mark::Version),
];

#[derive(Debug, Clone, Copy)]
enum Mark {
    Pod,
    Workload,
    Namespace,
    Node,
    Version,
    /// The id of a container. It has no mark: it stands where the template has one.
    ContainerId(u64),
}

/// Before a container's id, and how many of its digits are each pod's own: more is not kept of it.
const ID: &[u8] = b"containerd://";
const ID_DIGITS: usize = 16;

impl Mark {
    fn number(self, pod: u32, version: u64) -> u64 {
        match self {
            Self::Pod => pod.into(),
            Self::Workload => (pod / REPLICAS).into(),
            Self::Namespace => (pod / REPLICAS % NAMESPACES).into(),
            Self::Node => (pod / PER_NODE).into(),
            Self::Version => version,
            // All its digits differ from pod to pod, as those of a random number do.
            Self::ContainerId(id) => {
                let mixed = (id ^ u64::from(pod)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
            }
        }
    }
}

/// A pod in both encodings, with marks.
#[derive(Debug)]
struct PodTemplate {
    json: Marked,
    protobuf: Marked,
}

#[derive(Debug)]
struct Marked {
    bytes: Vec<u8>,
    places: Vec<(usize, usize, Mark)>,
}

impl Marked {
    fn new(bytes: Vec<u8>) -> Self {
        let places = MARKS.iter().flat_map(|(text, mark)| {
            let found =
                bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
            found.map(|(at, window)| (at, window.len(), *mark)).collect::<Vec<_>>()
        });
        let ids = bytes.windows(ID.len() + ID_DIGITS).enumerate().filter_map(|(at, window)| {
            let digits = window.strip_prefix(ID)?;
            let id = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some((at + ID.len(), ID_DIGITS, Mark::ContainerId(id)))
        });
        Self { places: places.chain(ids).collect(), bytes }
    }

    fn write(&self, pod: u32, version: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for (at, length, mark) in &self.places {
            let mut number = mark.number(pod, version);
            if let Some(digits) = out.get_mut(start + at..start + at + length) {
                for digit in digits.iter_mut().rev() {
                    *digit = b'0' + (number % 10) as u8;
                    number /= 10;
                }
            }
        }
    }
}

impl PodTemplate {
    fn new(pod: &Value) -> Self {
        let mut bare = pod.clone();
        if let Some(map) = bare.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        let json = bare.to_string().into_bytes().split_off(1);
        Self { json: Marked::new(json), protobuf: Marked::new(protobuf_message("Pod", pod)) }
    }
}

impl Template for PodTemplate {
    fn write_json(&self, pod: u32, version: u64, out: &mut Vec<u8>) {
        self.json.write(pod, version, out);
    }

    fn protobuf(&self, pod: u32, version: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.protobuf.write(pod, version, &mut out);
        out
    }
}

/// How one of the many pods is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Ready, after so many restarts; the last end, if any, was an exit with 1.
    Running {
        /// `restartCount` of its first container.
        restarts: u32,
    },
    /// Its first container has just ended with 1.
    Crashed {
        /// `restartCount` of its first container.
        restarts: u32,
    },
    /// The same, killed for its memory.
    OutOfMemory {
        /// `restartCount` of its first container.
        restarts: u32,
    },
    /// `CrashLoopBackOff`.
    BackOff {
        /// `restartCount` of its first container.
        restarts: u32,
    },
    /// `ImagePullBackOff`: a tag that does not exist.
    NoImage,
}

/// A cluster of many pods.
pub struct Fleet {
    cluster: Cluster,
    count: u32,
    templates: Mutex<HashMap<State, Arc<PodTemplate>>>,
}

impl Fleet {
    /// Fills a new cluster with `count` pods, of which every `1 / failing`th fails: for want of an image, in a crash loop or
    /// for its memory, by turns.
    pub fn new(cluster: &Cluster, count: u32, failing: f64) -> Self {
        cluster.skip_to(FIRST);
        let fleet = Self { cluster: cluster.clone(), count, templates: Mutex::default() };
        let mut due = 0.0;
        let mut turn = (0..3).cycle();
        for pod in 0..count {
            due += failing;
            let state = if due < 1.0 {
                State::Running { restarts: 0 }
            } else {
                due -= 1.0;
                match turn.next() {
                    Some(0) => State::NoImage,
                    Some(1) => State::BackOff { restarts: 5 },
                    _ => State::OutOfMemory { restarts: 3 },
                }
            };
            fleet.set(pod, state);
        }
        fleet
    }

    /// How many pods there are, or were before some were removed. They are numbered from 0.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Namespace and name of a pod.
    pub fn name(&self, pod: u32) -> (String, String) {
        let (workload, namespace) = (pod / REPLICAS, pod / REPLICAS % NAMESPACES);
        (format!("team-{namespace:03}"), format!("app-{workload:05}-5d8f9c7b6d-{pod:07}"))
    }

    /// Writes a pod in this state.
    pub fn set(&self, pod: u32, state: State) {
        let template = self.template(state);
        let (namespace, name) = self.name(pod);
        let phase = if state == State::NoImage { "Pending" } else { "Running" };
        let labels =
            [("app", format!("app-{:05}", pod / REPLICAS)), ("pod-template-hash", "5d8f9c7b6d".to_owned())];
        self.cluster.put_stamped(Stamped {
            namespace,
            name,
            uid: format!("5f3c9a1e-7b2d-4c6f-8a1b-00000{pod:07}"),
            labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
            fields: vec![
                ("spec.nodeName", format!("node-{:04}", pod / PER_NODE)),
                ("status.phase", phase.to_owned()),
            ],
            template,
            number: pod,
        });
    }

    /// Removes a pod.
    pub fn remove(&self, pod: u32) {
        let (namespace, name) = self.name(pod);
        self.cluster.delete("pods", &namespace, &name);
    }

    fn template(&self, state: State) -> Arc<PodTemplate> {
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        templates
            .entry(state)
            .or_insert_with(|| Arc::new(PodTemplate::new(&pod(state, &self.cluster))))
            .clone()
    }
}

/// One pod in this state, with marks where pods differ, as the model of the kubelet writes it.
fn pod(state: State, around: &Cluster) -> Value {
    let cluster = Cluster::new();
    let begun = around.now();
    cluster.set_clock(begun, 0.0);
    let after = |seconds: u32| begun + jiff::SignedDuration::from_secs(seconds.into());
    let Ok(mut pod) = Pod::create(&cluster, manifest(&begun.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
    else {
        return Value::Null;
    };
    pod.bind("node-~hh~");
    pod.accept();
    pod.sandbox();
    pod.start("proxy");
    let restarts = match state {
        State::NoImage => 0,
        State::Running { restarts }
        | State::Crashed { restarts }
        | State::OutOfMemory { restarts }
        | State::BackOff { restarts } => restarts,
    };
    for restart in 0..=restarts {
        cluster.set_clock(after(restart * 60), 0.0);
        if restart > 0 {
            pod.terminate("app", &Termination::exit(1));
        }
        pod.start("app");
    }
    cluster.set_clock(after(restarts * 60 + 20), 0.0);
    match state {
        State::Running { .. } => {}
        State::Crashed { .. } => pod.terminate("app", &Termination::exit(1)),
        State::OutOfMemory { .. } => pod.terminate("app", &Termination::oom()),
        State::BackOff { .. } => {
            pod.terminate("app", &Termination::exit(1));
            let message = format!(
                "back-off 5m0s restarting failed container=app pod={}_{}({})",
                pod.name(),
                pod.namespace(),
                pod.uid()
            );
            pod.wait("app", "CrashLoopBackOff", &message);
        }
        State::NoImage => {
            let Ok(fresh) =
                Pod::create(&cluster, manifest(&begun.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
            else {
                return Value::Null;
            };
            pod = fresh;
            pod.bind("node-~hh~");
            pod.accept();
            pod.sandbox();
            pod.start("proxy");
            let image = "registry.example.com/team-~s~/app-~www~:2026.11.22-rc1";
            let message = format!(
                "Back-off pulling image \"{image}\": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack \
                 image \"{image}\": failed to resolve image: {image}: not found"
            );
            pod.wait("app", "ImagePullBackOff", &message);
        }
    }
    pod.publish();
    let mut object = pod.object().clone();
    object["metadata"]["resourceVersion"] = json!("~vvvvvvvv~");
    object
}

/// What a pod of a service mesh's cluster carries along: two containers, environment, probes, and who manages which field.
fn manifest(created: &str) -> Value {
    let variables = |count: usize| -> Vec<Value> {
        let names = [
            "DATABASE_URL",
            "CACHE_ADDRESS",
            "LOG_LEVEL",
            "REGION",
            "FEATURE_FLAGS",
            "TRACE_ENDPOINT",
            "POOL_SIZE",
        ];
        let plain = (0..count).map(|at| {
            json!({
                "name": format!("{}_{at}", names[at % names.len()]),
                "value": format!("value-{at}-of-a-setting.svc.cluster.local")
            })
        });
        let field = json!({
            "name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
        });
        plain.chain([field]).collect()
    };
    let probe = |port: u16| {
        json!({
            "httpGet": {"path": "/healthz", "port": port, "scheme": "HTTP"}, "initialDelaySeconds": 5, "timeoutSeconds": 1,
            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
        })
    };
    let container = |name: &str, image: &str, port: u16, count: usize| {
        json!({
            "name": name, "image": image, "imagePullPolicy": "IfNotPresent",
            "args": ["--listen", format!(":{port}"), "--config", "/etc/app/config.yaml"],
            "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}], "env": variables(count),
            "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
            "livenessProbe": probe(port), "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app", "readOnly": true},
                {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}
            ],
            "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true}
        })
    };
    json!({
        "metadata": {
            "namespace": "team-~s~", "name": "app-~www~-5d8f9c7b6d-~nnnnn~", "generateName": "app-~www~-5d8f9c7b6d-",
            "uid": "5f3c9a1e-7b2d-4c6f-8a1b-00000~nnnnn~", "creationTimestamp": created,
            "labels": {"app": "app-~www~", "pod-template-hash": "5d8f9c7b6d"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "8f14e45fceea167a"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-~www~-5d8f9c7b6d",
                "uid": "6a2d8c4b-1e3f-4a5b-9c7d-0000000~www~", "controller": true, "blockOwnerDeletion": true
            }],
            "managedFields": [
                managed("kube-controller-manager", created, &[
                    "f:metadata.f:generateName", "f:metadata.f:labels.f:app", "f:metadata.f:labels.f:pod-template-hash",
                    "f:metadata.f:ownerReferences", "f:spec.f:containers.f:app.f:args", "f:spec.f:containers.f:app.f:env",
                    "f:spec.f:containers.f:app.f:image", "f:spec.f:containers.f:app.f:livenessProbe.f:httpGet",
                    "f:spec.f:containers.f:app.f:resources.f:limits", "f:spec.f:containers.f:app.f:volumeMounts",
                    "f:spec.f:containers.f:proxy.f:args", "f:spec.f:containers.f:proxy.f:env",
                    "f:spec.f:containers.f:proxy.f:image", "f:spec.f:containers.f:proxy.f:resources.f:limits",
                    "f:spec.f:dnsPolicy", "f:spec.f:enableServiceLinks", "f:spec.f:restartPolicy", "f:spec.f:schedulerName",
                    "f:spec.f:securityContext", "f:spec.f:terminationGracePeriodSeconds", "f:spec.f:volumes.f:config"
                ]),
                managed("kubelet", created, &[
                    "f:status.f:conditions.f:ContainersReady.f:lastTransitionTime",
                    "f:status.f:conditions.f:ContainersReady.f:status", "f:status.f:conditions.f:Initialized.f:status",
                    "f:status.f:conditions.f:PodReadyToStartContainers.f:status", "f:status.f:conditions.f:Ready.f:status",
                    "f:status.f:containerStatuses", "f:status.f:hostIP", "f:status.f:phase", "f:status.f:podIP",
                    "f:status.f:podIPs", "f:status.f:startTime"
                ])
            ]
        },
        "spec": {
            "containers": [
                container("app", "registry.example.com/team-~s~/app-~www~:2026.11.22-rc1", 8080, 10),
                container("proxy", "registry.example.com/mesh/proxy:1.29.0", 15001, 6)
            ],
            "volumes": [
                {"name": "config", "configMap": {"name": "app-~www~", "defaultMode": 420}},
                {"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]}}
                ]}}
            ],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "app", "serviceAccount": "app", "securityContext": {"fsGroup": 1000},
            "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ]
        }
    })
}

/// An entry of `managedFields` that owns these paths.
fn managed(manager: &str, time: &str, paths: &[&str]) -> Value {
    let mut fields = json!({});
    for path in paths {
        let mut at = &mut fields;
        for key in path.split('.') {
            at = &mut at[key];
        }
        *at = json!({});
    }
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields
    })
}
