//! The slim Pod: what the analyzer reads of `core/v1.Pod`, and no more.
//!
//! Field numbers are those of `k8s.io/api/core/v1/generated.proto`. `env`, `envFrom`, `command` and `args` have no field here on
//! purpose: they hold secrets. Of `lifecycle` only the presence of its
//! hooks is read, and of the command of a probe or hook only the program.

use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};
use serde::{Deserialize, Serialize};

use super::lenient::{self, Entry};
use super::meta::as_map;
use super::{Label, Object, ObjectMeta, Time, time};
use crate::redact::redact_in_place;

/// `core/v1.Pod`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    /// Name, owners, deletion.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: PodSpec,
    /// What the kubelet (and others) say of it.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: PodStatus,
}

impl Object for Pod {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn compact(&mut self) {
        self.trim();
        self.metadata.compact();
        self.metadata.finalizers.shrink_to_fit();
        let spec = &mut self.spec;
        spec.volumes.shrink_to_fit();
        spec.readiness_gates.shrink_to_fit();
        spec.scheduling_gates.shrink_to_fit();
        spec.node_selector.shrink_to_fit();
        spec.image_pull_secrets.shrink_to_fit();
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            container.compact();
        }
        spec.containers.shrink_to_fit();
        spec.init_containers.shrink_to_fit();
        spec.ephemeral_containers.shrink_to_fit();
        let status = &mut self.status;
        status.conditions.shrink_to_fit();
        for list in [
            &mut status.container_statuses,
            &mut status.init_container_statuses,
            &mut status.ephemeral_container_statuses,
        ] {
            list.iter_mut().for_each(ContainerStatus::compact);
            list.shrink_to_fit();
        }
    }

    fn trim(&mut self) {
        self.hide_secrets();
        self.metadata.trim();
        let spec = &mut self.spec;
        spec.volumes.retain(|v| v.source.as_ref().is_some_and(|s| s.is_wanted()));
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            container.trim();
        }
        let status = &mut self.status;
        let ready = status.condition(&ConditionType::Ready).is_some_and(Condition::is_true);
        let staged = !spec.init_containers.is_empty();
        status.conditions.retain(|c| c.is_wanted(ready, staged));
        self.bound();
        let (spec, status) = (&self.spec, &mut self.status);
        for container in &mut status.container_statuses {
            container.trim(spec.containers.iter().find(|c| c.name == container.name));
        }
        for container in &mut status.init_container_statuses {
            container.trim(spec.init_containers.iter().find(|c| c.name == container.name));
        }
        status.ephemeral_container_statuses.iter_mut().for_each(|c| c.trim(None));
    }
}

impl Pod {
    /// Hides the secrets in all that is free text: whoever holds a pod that was decoded holds none of them.
    fn hide_secrets(&mut self) {
        let spec = &mut self.spec;
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            redact_in_place(&mut container.image);
            let hooks = container.lifecycle.iter_mut().filter_map(|l| l.pre_stop.as_mut()?.exec.as_mut());
            hooks.for_each(|exec| redact_in_place(&mut exec.program));
            for probe in
                [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe]
            {
                let Some(probe) = probe else { continue };
                probe.handler.exec.iter_mut().for_each(|exec| redact_in_place(&mut exec.program));
                probe.handler.http_get.iter_mut().for_each(|get| redact_in_place(&mut get.path));
            }
        }
        spec.ephemeral_containers.iter_mut().for_each(|c| redact_in_place(&mut c.common.image));
        let status = &mut self.status;
        redact_in_place(&mut status.message);
        for condition in &mut status.conditions {
            if !condition.message.is_empty() {
                let mut message = std::mem::take(&mut condition.message).into_string();
                redact_in_place(&mut message);
                condition.message = message.into_boxed_str();
            }
        }
        let lists = [
            &mut status.container_statuses,
            &mut status.init_container_statuses,
            &mut status.ephemeral_container_statuses,
        ];
        for container in lists.into_iter().flatten() {
            redact_in_place(&mut container.image);
            for state in [&mut container.state, &mut container.last_state] {
                state.waiting.iter_mut().for_each(|w| redact_in_place(&mut w.message));
                state.terminated.iter_mut().for_each(|t| redact_in_place(&mut t.message));
            }
            for device in container.allocated_resources_status.iter_mut().flat_map(|s| &mut s.resources) {
                device.message.iter_mut().for_each(redact_in_place);
            }
        }
    }
}

/// `core/v1.PodSpec`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Only those of a claim, a Secret, a ConfigMap, or with a size limit: events name the others in full.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "lenient::objects")]
    pub volumes: Vec<Volume>,
    /// App containers.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "lenient::objects")]
    pub containers: Vec<Container>,
    /// `Always` (also when empty), `OnFailure` or `Never`.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub restart_policy: String,
    /// Seconds.
    #[prost(int64, optional, tag = "4")]
    #[serde(deserialize_with = "lenient::some_int64")]
    pub termination_grace_period_seconds: Option<i64>,
    /// Seconds from `status.startTime`.
    #[prost(int64, optional, tag = "5")]
    #[serde(deserialize_with = "lenient::some_int64")]
    pub active_deadline_seconds: Option<i64>,
    /// Labels that the node must have.
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "as_map")]
    pub node_selector: Vec<Label>,
    /// Empty until scheduled.
    #[prost(string, tag = "10")]
    #[serde(deserialize_with = "lenient::text")]
    pub node_name: String,
    /// Names of Secrets; their content is never read.
    #[prost(message, repeated, tag = "15")]
    #[serde(deserialize_with = "lenient::objects")]
    pub image_pull_secrets: Vec<Named>,
    /// Which scheduler is to find its node.
    #[prost(string, tag = "19")]
    #[serde(deserialize_with = "lenient::text")]
    pub scheduler_name: String,
    /// In order; restartable ones are sidecars.
    #[prost(message, repeated, tag = "20")]
    #[serde(deserialize_with = "lenient::objects")]
    pub init_containers: Vec<Container>,
    /// Conditions that others must set before the pod is ready.
    #[prost(message, repeated, tag = "28")]
    #[serde(deserialize_with = "lenient::objects")]
    pub readiness_gates: Vec<ReadinessGate>,
    /// Name of the RuntimeClass.
    #[prost(string, optional, tag = "29")]
    #[serde(deserialize_with = "some_text")]
    pub runtime_class_name: Option<String>,
    /// Debug containers.
    #[prost(message, repeated, tag = "34")]
    #[serde(deserialize_with = "lenient::objects")]
    pub ephemeral_containers: Vec<EphemeralContainer>,
    /// What holds scheduling back.
    #[prost(message, repeated, tag = "38")]
    #[serde(deserialize_with = "lenient::objects")]
    pub scheduling_gates: Vec<Named>,
    /// Limits and requests of the pod as a whole.
    #[prost(message, optional, boxed, tag = "40")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub resources: Option<Box<ResourceRequirements>>,
}

fn some_text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Some(lenient::text(d)?).filter(|t| !t.is_empty()))
}

/// Anything of which only the name matters: `LocalObjectReference`, `PodSchedulingGate`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
}

/// `core/v1.PodReadinessGate`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReadinessGate {
    /// Type of the pod condition that must be True.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub condition_type: String,
}

/// `core/v1.Volume`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(from = "FlatVolume")]
pub struct Volume {
    /// Its name within the pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Inlined in JSON, a message of its own in protobuf.
    #[prost(message, optional, boxed, tag = "2")]
    #[serde(flatten)]
    pub source: Option<Box<VolumeSource>>,
}

/// A volume as JSON writes it. Not `#[serde(flatten)]`, which would keep every field of every kind of volume for a while.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlatVolume {
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::some_object")]
    empty_dir: Option<EmptyDir>,
    #[serde(deserialize_with = "lenient::some_object")]
    secret: Option<SecretVolume>,
    #[serde(deserialize_with = "lenient::some_object")]
    persistent_volume_claim: Option<Claim>,
    #[serde(deserialize_with = "lenient::some_object")]
    config_map: Option<Named>,
    #[serde(deserialize_with = "lenient::some_object")]
    ephemeral: Option<Ephemeral>,
}

impl From<FlatVolume> for Volume {
    fn from(flat: FlatVolume) -> Self {
        let source = VolumeSource {
            empty_dir: flat.empty_dir,
            secret: flat.secret,
            persistent_volume_claim: flat.persistent_volume_claim,
            config_map: flat.config_map.map(|reference| ConfigMapVolume { reference }),
            ephemeral: flat.ephemeral,
        };
        Self { name: flat.name, source: Some(Box::new(source)) }
    }
}

/// `core/v1.VolumeSource`: only the kinds that the analyzer names.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSource {
    /// Scratch space.
    #[prost(message, optional, tag = "2")]
    pub empty_dir: Option<EmptyDir>,
    /// A Secret, by name; its content is never read.
    #[prost(message, optional, tag = "6")]
    pub secret: Option<SecretVolume>,
    /// A claim.
    #[prost(message, optional, tag = "10")]
    pub persistent_volume_claim: Option<Claim>,
    /// A ConfigMap, by name; its content is never read.
    #[prost(message, optional, tag = "19")]
    pub config_map: Option<ConfigMapVolume>,
    /// A claim that is made for the pod.
    #[prost(message, optional, tag = "29")]
    pub ephemeral: Option<Ephemeral>,
}

impl Volume {
    /// The claim behind the volume: one by name, or one that is made for the pod of this name.
    pub fn claim(&self, pod: &str) -> Option<String> {
        let source = self.source.as_ref()?;
        let named = source.persistent_volume_claim.as_ref().map(|c| c.claim_name.clone());
        named.or_else(|| source.ephemeral.as_ref().map(|_| format!("{pod}-{}", self.name)))
    }
}

impl VolumeSource {
    fn is_wanted(&self) -> bool {
        self.persistent_volume_claim.is_some()
            || self.ephemeral.is_some()
            || self.secret.is_some()
            || self.config_map.is_some()
            || self.empty_dir.as_ref().is_some_and(|e| e.size_limit.is_some() || e.medium == "Memory")
    }
}

/// `core/v1.EmptyDirVolumeSource`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EmptyDir {
    /// `Memory` for a file system in memory; empty for the node's disk.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub medium: String,
    /// More than this, and the pod is evicted.
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "some_quantity")]
    pub size_limit: Option<Quantity>,
}

fn some_quantity<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Quantity>, D::Error> {
    Ok(Some(Quantity { string: lenient::text_or_number(d)? }).filter(|q| !q.string.is_empty()))
}

/// `core/v1.SecretVolumeSource`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretVolume {
    /// In the pod's namespace.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub secret_name: String,
}

/// `core/v1.ConfigMapVolumeSource`.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
pub struct ConfigMapVolume {
    /// Inlined in JSON, a message of its own in protobuf.
    #[prost(message, required, tag = "1")]
    #[serde(flatten)]
    pub reference: Named,
}

/// `core/v1.PersistentVolumeClaimVolumeSource`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Claim {
    /// In the pod's namespace.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub claim_name: String,
}

/// `core/v1.EphemeralVolumeSource`, whose template says nothing that the analyzer needs.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default)]
pub struct Ephemeral {}

/// `core/v1.Container`, without everything that can hold a secret.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// Unique in the pod.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// As written in the spec.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub image: String,
    /// Only those with a host port.
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "lenient::objects")]
    pub ports: Vec<Port>,
    /// Limits and requests.
    #[prost(message, optional, boxed, tag = "8")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub resources: Option<Box<ResourceRequirements>>,
    /// Failing it restarts the container.
    #[prost(message, optional, boxed, tag = "10")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub liveness_probe: Option<Box<Probe>>,
    /// Failing it takes the pod out of its Services.
    #[prost(message, optional, boxed, tag = "11")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub readiness_probe: Option<Box<Probe>>,
    /// Hooks: only whether there is one that runs at the start.
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub lifecycle: Option<Lifecycle>,
    /// The other probes wait for it; failing it restarts the container.
    #[prost(message, optional, boxed, tag = "22")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub startup_probe: Option<Box<Probe>>,
    /// Overrides the pod's; `Always` on an init container makes it a sidecar.
    #[prost(string, optional, tag = "24")]
    #[serde(deserialize_with = "some_text")]
    pub restart_policy: Option<String>,
    /// The first that matches an exit decides, before any policy.
    #[prost(message, repeated, tag = "25")]
    #[serde(deserialize_with = "lenient::objects")]
    pub restart_policy_rules: Vec<RestartRule>,
}

impl Container {
    fn trim(&mut self) {
        self.ports.retain(|p| p.host_port != 0);
        if self.resources.as_ref().is_some_and(|r| r.limits.is_empty() && r.requests.is_empty()) {
            self.resources = None;
        }
    }

    fn compact(&mut self) {
        self.ports.shrink_to_fit();
        self.resources.iter_mut().for_each(|r| r.compact());
        self.restart_policy_rules.shrink_to_fit();
    }

    /// A limit, such as `64Mi` for `memory`.
    pub fn limit(&self, resource: &str) -> Option<&str> {
        self.resources.as_ref().and_then(|r| r.limit(resource))
    }

    /// A request.
    pub fn request(&self, resource: &str) -> Option<&str> {
        self.resources.as_ref().and_then(|r| r.request(resource))
    }
}

/// `core/v1.Lifecycle`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Lifecycle {
    /// Failing it has the container killed.
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub post_start: Option<Empty>,
    /// What runs before the container is stopped, within its grace period.
    #[prost(message, optional, boxed, tag = "2")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub pre_stop: Option<Box<Hook>>,
}

/// `core/v1.LifecycleHandler`, without its requests.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hook {
    /// A command in the container.
    #[prost(message, optional, boxed, tag = "1")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub exec: Option<Box<Exec>>,
}

/// `core/v1.EphemeralContainer`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(from = "EphemeralContainerCommon")]
pub struct EphemeralContainer {
    /// Inlined in JSON, a message of its own in protobuf.
    #[prost(message, required, tag = "1")]
    #[serde(flatten)]
    pub common: EphemeralContainerCommon,
}

impl From<EphemeralContainerCommon> for EphemeralContainer {
    fn from(common: EphemeralContainerCommon) -> Self {
        Self { common }
    }
}

/// `core/v1.EphemeralContainerCommon`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EphemeralContainerCommon {
    /// Unique in the pod.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// As written in the spec.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub image: String,
}

/// `core/v1.ContainerPort`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// Port on the node, 0 for none.
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "lenient::int32")]
    pub host_port: i32,
}

/// `core/v1.ResourceRequirements`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// By resource name.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "quantities_as_map")]
    pub limits: Vec<ResourceQuantity>,
    /// By resource name.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "quantities_as_map")]
    pub requests: Vec<ResourceQuantity>,
}

impl ResourceRequirements {
    fn compact(&mut self) {
        self.limits.shrink_to_fit();
        self.requests.shrink_to_fit();
    }

    /// A limit.
    pub fn limit(&self, resource: &str) -> Option<&str> {
        self.limits.iter().find(|e| e.key == resource).map(|e| e.value.string.as_str())
    }

    /// A request.
    pub fn request(&self, resource: &str) -> Option<&str> {
        self.requests.iter().find(|e| e.key == resource).map(|e| e.value.string.as_str())
    }
}

/// An entry of a `map<string, Quantity>`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResourceQuantity {
    /// Such as `memory`.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Such as `64Mi`.
    #[prost(message, required, tag = "2")]
    pub value: Quantity,
}

impl Entry for ResourceQuantity {
    fn new(key: String, value: String) -> Self {
        Self { key, value: Quantity { string: value } }
    }
}

pub(super) fn quantities_as_map<S: serde::Serializer>(
    list: &[ResourceQuantity],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|e| (&e.key, &e.value.string)))
}

/// `resource.Quantity`, as written.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Quantity {
    /// Such as `64Mi`.
    #[prost(string, tag = "1")]
    pub string: String,
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.string)
    }
}

/// `core/v1.Probe`. The API server fills in the defaults; hand-written YAML does not: use the methods.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(from = "FlatProbe", rename_all = "camelCase")]
pub struct Probe {
    /// Inlined in JSON, a message of its own in protobuf.
    #[prost(message, required, tag = "1")]
    #[serde(flatten)]
    pub handler: ProbeHandler,
    /// Seconds before the first probe.
    #[prost(int32, tag = "2")]
    pub initial_delay_seconds: i32,
    /// Seconds; 0 means the default of 1.
    #[prost(int32, tag = "3")]
    pub timeout_seconds: i32,
    /// Seconds; 0 means the default of 10.
    #[prost(int32, tag = "4")]
    pub period_seconds: i32,
    /// Failures in a row that count; 0 means the default of 3.
    #[prost(int32, tag = "6")]
    pub failure_threshold: i32,
}

/// A probe as JSON writes it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlatProbe {
    #[serde(deserialize_with = "lenient::some_boxed")]
    exec: Option<Box<Exec>>,
    #[serde(deserialize_with = "lenient::some_boxed")]
    http_get: Option<Box<HttpGet>>,
    #[serde(deserialize_with = "lenient::some_boxed")]
    tcp_socket: Option<Box<TcpSocket>>,
    #[serde(deserialize_with = "lenient::some_object")]
    grpc: Option<Grpc>,
    #[serde(deserialize_with = "lenient::int32")]
    initial_delay_seconds: i32,
    #[serde(deserialize_with = "lenient::int32")]
    timeout_seconds: i32,
    #[serde(deserialize_with = "lenient::int32")]
    period_seconds: i32,
    #[serde(deserialize_with = "lenient::int32")]
    failure_threshold: i32,
}

impl From<FlatProbe> for Probe {
    fn from(p: FlatProbe) -> Self {
        Self {
            handler: ProbeHandler {
                exec: p.exec,
                http_get: p.http_get,
                tcp_socket: p.tcp_socket,
                grpc: p.grpc,
            },
            initial_delay_seconds: p.initial_delay_seconds,
            timeout_seconds: p.timeout_seconds,
            period_seconds: p.period_seconds,
            failure_threshold: p.failure_threshold,
        }
    }
}

impl Probe {
    /// Seconds between two probes.
    pub fn period(&self) -> i64 {
        if self.period_seconds > 0 { i64::from(self.period_seconds) } else { 10 }
    }

    /// Seconds that one probe may take.
    pub fn timeout(&self) -> i64 {
        if self.timeout_seconds > 0 { i64::from(self.timeout_seconds) } else { 1 }
    }

    /// Failures in a row that count.
    pub fn threshold(&self) -> i64 {
        if self.failure_threshold > 0 { i64::from(self.failure_threshold) } else { 3 }
    }

    /// Seconds from the start of the container until the probe has used up its failures.
    pub fn budget(&self) -> i64 {
        // The product of two 32-bit numbers and a third fit into 64 bits.
        i64::from(self.initial_delay_seconds.max(0)) + self.period() * self.threshold()
    }
}

/// `core/v1.ExecAction`, of which only the program is read: what follows may be a script or hold a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Exec {
    /// The first word of the command.
    #[serde(rename = "command", deserialize_with = "lenient::first_text", serialize_with = "as_list")]
    pub program: String,
}

fn as_list<S: serde::Serializer>(program: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq([program])
}

/// Written by hand, since the derive would read every word.
impl prost::Message for Exec {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::string::encode(1, &self.program, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag == 1 && self.program.is_empty() {
            encoding::string::merge(wire_type, &mut self.program, buf, ctx)
        } else {
            encoding::skip_field(wire_type, tag, buf, ctx)
        }
    }

    fn encoded_len(&self) -> usize {
        encoding::string::encoded_len(1, &self.program)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// `core/v1.ProbeHandler`.
#[derive(Clone, PartialEq, Eq, prost::Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeHandler {
    /// A command in the container.
    #[prost(message, optional, boxed, tag = "1")]
    pub exec: Option<Box<Exec>>,
    /// An HTTP request.
    #[prost(message, optional, boxed, tag = "2")]
    pub http_get: Option<Box<HttpGet>>,
    /// A TCP connection.
    #[prost(message, optional, boxed, tag = "3")]
    pub tcp_socket: Option<Box<TcpSocket>>,
    /// A gRPC health check.
    #[prost(message, optional, tag = "4")]
    pub grpc: Option<Grpc>,
}

/// A message of which only the presence matters.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
pub struct Empty {}

/// `core/v1.HTTPGetAction`, without its headers.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpGet {
    /// Path and query.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub path: String,
    /// Number or name.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "int_or_string")]
    pub port: IntOrString,
    /// `HTTP` or `HTTPS`.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    pub scheme: String,
}

/// `core/v1.TCPSocketAction`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TcpSocket {
    /// Number or name.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "int_or_string")]
    pub port: IntOrString,
}

/// `core/v1.GRPCAction`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Grpc {
    /// Number.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub port: i32,
    /// Of the health service; empty for the server as a whole.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub service: String,
}

/// `util.intstr.IntOrString`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IntOrString {
    /// 0 for a number, 1 for a string.
    #[prost(int64, tag = "1")]
    pub kind: i64,
    /// The number.
    #[prost(int32, tag = "2")]
    pub int_val: i32,
    /// The string.
    #[prost(string, tag = "3")]
    pub str_val: String,
}

fn int_or_string<'de, D: serde::Deserializer<'de>>(d: D) -> Result<IntOrString, D::Error> {
    let text = lenient::text_or_number(d)?;
    Ok(match text.parse() {
        Ok(int_val) => IntOrString { kind: 0, int_val, str_val: String::new() },
        Err(_) => IntOrString { kind: i64::from(!text.is_empty()), int_val: 0, str_val: text },
    })
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind == 0 { self.int_val.fmt(f) } else { self.str_val.fmt(f) }
    }
}

impl Serialize for IntOrString {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.kind == 0 {
            serializer.serialize_i32(self.int_val)
        } else {
            serializer.serialize_str(&self.str_val)
        }
    }
}

/// `core/v1.ContainerRestartRule`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartRule {
    /// `Restart` or `RestartAllContainers`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub action: String,
    /// Which exits it is for.
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub exit_codes: Option<RestartRuleExitCodes>,
}

/// `core/v1.ContainerRestartRuleOnExitCodes`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartRuleExitCodes {
    /// `In` or `NotIn`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub operator: String,
    /// Exit codes.
    #[prost(int32, repeated, packed = "false", tag = "2")]
    #[serde(deserialize_with = "lenient::int32s")]
    pub values: Vec<i32>,
}

/// `core/v1.PodStatus`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`. Says little: a pod that crashes again and again is `Running`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub phase: String,
    /// Only those that are read, see `Condition::is_wanted`.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "lenient::objects")]
    pub conditions: Vec<Condition>,
    /// In words, why the pod is in this phase.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
    /// In a word, such as `Evicted`.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// When the kubelet first saw the pod.
    #[prost(message, required, tag = "7")]
    #[serde(deserialize_with = "time::lenient")]
    pub start_time: Time,
    /// Of app containers, sorted by name.
    #[prost(message, repeated, tag = "8")]
    #[serde(deserialize_with = "lenient::objects")]
    pub container_statuses: Vec<ContainerStatus>,
    /// `Guaranteed`, `Burstable`, `BestEffort`.
    #[prost(string, tag = "9")]
    #[serde(deserialize_with = "lenient::text")]
    pub qos_class: String,
    /// Of init containers and sidecars, in the order of the spec.
    #[prost(message, repeated, tag = "10")]
    #[serde(deserialize_with = "lenient::objects")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// The node that a scheduler has in mind for it.
    #[prost(string, tag = "11")]
    #[serde(deserialize_with = "lenient::text")]
    pub nominated_node_name: String,
    /// Of debug containers, sorted by name.
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "lenient::objects")]
    pub ephemeral_container_statuses: Vec<ContainerStatus>,
}

impl PodStatus {
    /// A condition by type.
    pub fn condition(&self, kind: &ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == *kind)
    }
}

/// The type of a pod condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConditionType {
    /// The scheduler has found a node.
    PodScheduled,
    /// Sandbox and network are there; False while volumes are awaited as well.
    PodReadyToStartContainers,
    /// All init containers are done.
    Initialized,
    /// All containers are ready.
    ContainersReady,
    /// The pod serves.
    Ready,
    /// A planned end is near: drain, preemption, taint.
    DisruptionTarget,
    /// A resize waits.
    PodResizePending,
    /// A resize goes on.
    PodResizeInProgress,
    /// A rule restarts all containers of the pod.
    AllContainersRestarting,
    /// Any other, such as a readiness gate's.
    Other(Box<str>),
    /// None was given.
    #[default]
    Unset,
}

impl ConditionType {
    fn of(text: &str) -> Self {
        match text {
            "PodScheduled" => Self::PodScheduled,
            "PodReadyToStartContainers" => Self::PodReadyToStartContainers,
            "Initialized" => Self::Initialized,
            "ContainersReady" => Self::ContainersReady,
            "Ready" => Self::Ready,
            "DisruptionTarget" => Self::DisruptionTarget,
            "PodResizePending" => Self::PodResizePending,
            "PodResizeInProgress" => Self::PodResizeInProgress,
            "AllContainersRestarting" => Self::AllContainersRestarting,
            "" => Self::Unset,
            other => Self::Other(other.into()),
        }
    }

    /// Kubernetes' own word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::PodScheduled => "PodScheduled",
            Self::PodReadyToStartContainers => "PodReadyToStartContainers",
            Self::Initialized => "Initialized",
            Self::ContainersReady => "ContainersReady",
            Self::Ready => "Ready",
            Self::DisruptionTarget => "DisruptionTarget",
            Self::PodResizePending => "PodResizePending",
            Self::PodResizeInProgress => "PodResizeInProgress",
            Self::AllContainersRestarting => "AllContainersRestarting",
            Self::Other(other) => other,
            Self::Unset => "",
        }
    }
}

words! {
    /// The status of a condition.
    #[derive(Default)]
    pub enum ConditionStatus {
        /// It holds.
        True = "True",
        /// It does not.
        False = "False",
        /// Nobody knows, or an unknown word.
        #[default]
        Unknown = "Unknown",
    }
}

/// `core/v1.PodCondition`. Written by hand for both encodings: five conditions with four strings each would be the larger
/// part of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Which one.
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// In a word.
    pub reason: Box<str>,
    /// In words.
    pub message: Box<str>,
    /// When `status` last changed; a change of reason or message does not move it.
    pub last_transition_time: Time,
}

impl Condition {
    /// `ContainersReady` follows from the container statuses; where it is not true, its time is the kubelet's, which that of `Ready`
    /// is not after the node controller has set it. `Initialized` says when the app containers could start, which
    /// matters where there are init containers; a sandbox that is there matters for as long as the pod is not ready.
    fn is_wanted(&self, ready: bool, staged: bool) -> bool {
        let telling = self.status != ConditionStatus::True || !self.reason.is_empty();
        match self.kind {
            ConditionType::Unset => false,
            ConditionType::ContainersReady => self.status != ConditionStatus::True,
            ConditionType::Initialized => telling || staged,
            ConditionType::PodReadyToStartContainers => telling || !ready,
            ConditionType::AllContainersRestarting => telling,
            _ => true,
        }
    }

    /// Whether it is `False`.
    pub fn is_false(&self) -> bool {
        self.status == ConditionStatus::False
    }

    /// Whether it is `True`.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Wire {
            #[serde(rename = "type", deserialize_with = "lenient::text")]
            kind: String,
            #[serde(deserialize_with = "lenient::text")]
            status: String,
            #[serde(deserialize_with = "lenient::text")]
            reason: String,
            #[serde(deserialize_with = "lenient::text")]
            message: String,
            #[serde(deserialize_with = "time::lenient")]
            last_transition_time: Time,
        }
        let w = Wire::deserialize(d)?;
        Ok(Self {
            kind: ConditionType::of(&w.kind),
            status: ConditionStatus::of(&w.status).unwrap_or_default(),
            reason: w.reason.into(),
            message: w.message.into(),
            last_transition_time: w.last_transition_time,
        })
    }
}

impl Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Condition", 5)?;
        s.serialize_field("type", self.kind.as_str())?;
        s.serialize_field("status", self.status.as_str())?;
        s.serialize_field("reason", &self.reason)?;
        s.serialize_field("message", &self.message)?;
        s.serialize_field("lastTransitionTime", &self.last_transition_time)?;
        s.end()
    }
}

impl prost::Message for Condition {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for (tag, text) in self.texts() {
            encoding::encode_key(tag, WireType::LengthDelimited, buf);
            encoding::encode_varint(text.len() as u64, buf);
            buf.put_slice(text.as_bytes());
        }
        encoding::message::encode(4, &self.last_transition_time, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut text = || {
            let mut text = String::new();
            encoding::string::merge(wire_type, &mut text, buf, ctx.clone()).map(|()| text)
        };
        match tag {
            1 => self.kind = ConditionType::of(&text()?),
            2 => self.status = ConditionStatus::of(&text()?).unwrap_or_default(),
            4 => return encoding::message::merge(wire_type, &mut self.last_transition_time, buf, ctx),
            5 => self.reason = text()?.into(),
            6 => self.message = text()?.into(),
            _ => return encoding::skip_field(wire_type, tag, buf, ctx),
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let length = |(tag, text): (u32, &str)| {
            encoding::key_len(tag) + encoding::encoded_len_varint(text.len() as u64) + text.len()
        };
        self.texts().map(length).sum::<usize>()
            + encoding::message::encoded_len(4, &self.last_transition_time)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Condition {
    /// The texts that are not empty, by tag.
    fn texts(&self) -> impl Iterator<Item = (u32, &str)> {
        let all: [(u32, &str); 4] =
            [(1, self.kind.as_str()), (2, self.status.as_str()), (5, &self.reason), (6, &self.message)];
        all.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

/// `core/v1.ContainerStatus`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Joins the status to the spec.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Now.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub state: ContainerState,
    /// The previous end, however old.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub last_state: ContainerState,
    /// Started, and the readiness probe passes if there is one.
    #[prost(bool, tag = "4")]
    #[serde(deserialize_with = "lenient::flag")]
    pub ready: bool,
    /// Not a count of failures: ends with exit code 0 count, and it can fall.
    #[prost(int32, tag = "5")]
    #[serde(deserialize_with = "lenient::int32")]
    pub restart_count: i32,
    /// As the runtime names it; kept only where the spec names none.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    pub image: String,
    /// Of the newest container, shortened (see `shorten`); empty before the first.
    #[prost(string, tag = "8")]
    #[serde(rename = "containerID", deserialize_with = "lenient::text")]
    pub container_id: String,
    /// Whether the startup probe has passed; none is as good as false.
    #[prost(bool, optional, tag = "9")]
    #[serde(deserialize_with = "lenient::some_flag")]
    pub started: Option<bool>,
    /// What is in force, which differs from the spec during a resize.
    #[prost(message, optional, boxed, tag = "11")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub resources: Option<Box<ResourceRequirements>>,
    /// Health of devices.
    #[prost(message, repeated, tag = "14")]
    #[serde(deserialize_with = "lenient::objects")]
    pub allocated_resources_status: Vec<ResourceStatus>,
}

impl ContainerStatus {
    /// What only repeats the spec is dropped: both say the same but during a resize. Of a pod's heap that is a third.
    fn trim(&mut self, spec: Option<&Container>) {
        if let Some(resources) = &self.resources {
            let says_nothing = resources.limits.is_empty() && resources.requests.is_empty();
            if says_nothing || spec.is_some_and(|s| s.resources == self.resources) {
                self.resources = None;
            }
        }
        if spec.is_some_and(|s| !s.image.is_empty()) {
            self.image.clear();
        }
        shorten(&mut self.container_id);
        for state in [&mut self.state, &mut self.last_state] {
            if let Some(end) = &mut state.terminated {
                shorten(&mut end.container_id);
            }
        }
        for status in &mut self.allocated_resources_status {
            status.resources.retain(|r| r.health != "Healthy");
        }
        self.allocated_resources_status.retain(|s| !s.resources.is_empty());
    }

    fn compact(&mut self) {
        self.resources.iter_mut().for_each(|r| r.compact());
        self.container_id.shrink_to_fit();
        for end in [&mut self.state, &mut self.last_state].into_iter().filter_map(|s| s.terminated.as_mut()) {
            end.container_id.shrink_to_fit();
        }
        self.allocated_resources_status.iter_mut().for_each(|s| s.resources.shrink_to_fit());
        self.allocated_resources_status.shrink_to_fit();
    }
}

/// Takes `runtime://` and 64 hexadecimal digits to the first 16 of them, which tell the runs of a container apart as well.
/// Anything else stays as it is.
fn shorten(id: &mut String) {
    let Some((scheme, hex)) = id.split_once("://") else { return };
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        let start = scheme.len() + 3;
        id.drain(..start);
        id.truncate(16);
    }
}

/// `core/v1.ContainerState`: at most one is set; none at all is waiting without a word.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerState {
    /// Not started, or not yet again.
    #[prost(message, optional, boxed, tag = "1")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub waiting: Option<Box<Waiting>>,
    /// Running.
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub running: Option<Running>,
    /// Ended.
    #[prost(message, optional, boxed, tag = "3")]
    #[serde(deserialize_with = "lenient::some_boxed")]
    pub terminated: Option<Box<Terminated>>,
}

/// `core/v1.ContainerStateWaiting`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Waiting {
    /// An open set: runtimes and versions add their own.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// The error's text.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
}

/// `core/v1.ContainerStateRunning`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Running {
    /// When this run began.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "time::lenient")]
    pub started_at: Time,
}

/// `core/v1.ContainerStateTerminated`. `signal` is never filled in by a kubelet.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Terminated {
    /// 128 + n for signal n on Linux; may be negative or large on Windows.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub exit_code: i32,
    /// An open set: runtimes and versions add their own.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// The runtime's words and the termination message.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
    /// Unknown for a container that never started.
    #[prost(message, required, tag = "5")]
    #[serde(deserialize_with = "time::lenient")]
    pub started_at: Time,
    /// Unknown for a record that the kubelet made up.
    #[prost(message, required, tag = "6")]
    #[serde(deserialize_with = "time::lenient")]
    pub finished_at: Time,
    /// Identifies this end; empty for a record that the kubelet made up.
    #[prost(string, tag = "7")]
    #[serde(rename = "containerID", deserialize_with = "lenient::text")]
    pub container_id: String,
}

/// `core/v1.ResourceStatus`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceStatus {
    /// Name of the resource, such as `nvidia.com/gpu`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Only those that are not healthy.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "lenient::objects")]
    pub resources: Vec<ResourceHealth>,
}

/// `core/v1.ResourceHealth`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceHealth {
    /// Which device.
    #[prost(string, tag = "1")]
    #[serde(rename = "resourceID", deserialize_with = "lenient::text")]
    pub resource_id: String,
    /// `Healthy`, `Unhealthy`, `Unknown`.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub health: String,
    /// In words.
    #[prost(string, optional, tag = "3")]
    #[serde(deserialize_with = "some_text")]
    pub message: Option<String>,
}
