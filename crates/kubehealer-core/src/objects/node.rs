//! The slim Node: its conditions and whether it takes pods.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pod::{ResourceQuantity, quantities_as_map};
use super::{Object, ObjectMeta, lenient};
use crate::redact::redact_in_place;

/// `core/v1.Node`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Node {
    /// Name and uid.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "lenient::object")]
    pub spec: NodeSpec,
    /// What the kubelet (and the node lifecycle controller) say.
    #[prost(message, required, tag = "3")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: NodeStatus,
}

impl Object for Node {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.metadata.compact();
        self.status.conditions.iter_mut().for_each(NodeCondition::hide_secrets);
        self.status.conditions.shrink_to_fit();
        self.spec.taints.shrink_to_fit();
        self.status.allocatable.shrink_to_fit();
    }
}

/// `core/v1.NodeSpec`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSpec {
    /// Cordoned.
    #[prost(bool, tag = "4")]
    #[serde(deserialize_with = "lenient::flag")]
    pub unschedulable: bool,
    /// What keeps pods away that do not tolerate it.
    #[prost(message, repeated, tag = "5")]
    #[serde(deserialize_with = "lenient::objects")]
    pub taints: Vec<Taint>,
}

/// `core/v1.Taint`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Taint {
    /// Such as `node-role.kubernetes.io/control-plane`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub key: String,
    /// Often empty.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub effect: String,
}

impl Taint {
    /// Whether no pod that does not tolerate it is scheduled there.
    pub fn keeps_out(&self) -> bool {
        matches!(self.effect.as_str(), "NoSchedule" | "NoExecute")
    }

    /// As `kubectl` writes it: `key=value:effect`.
    pub fn words(&self) -> String {
        let value = if self.value.is_empty() { String::new() } else { format!("={}", self.value) };
        format!("{}{value}:{}", self.key, self.effect)
    }
}

/// `core/v1.NodeStatus`. A node condition with its two times has tags of its own, see [`NodeCondition`].
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStatus {
    /// What pods may request of it, by resource name.
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "quantities_as_map")]
    pub allocatable: Vec<ResourceQuantity>,
    /// `Ready`, `MemoryPressure`, `DiskPressure`, `PIDPressure`, and what a problem detector adds.
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "lenient::objects")]
    pub conditions: Vec<NodeCondition>,
    /// Boot and runtime.
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub node_info: Option<NodeInfo>,
}

/// `core/v1.NodeCondition`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeCondition {
    /// Which one.
    #[prost(string, tag = "1")]
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// When it was last reported; of a workload's condition, when it was last changed in any way.
    #[prost(message, required, tag = "3")]
    #[serde(alias = "lastUpdateTime", deserialize_with = "super::time::lenient")]
    pub last_heartbeat_time: super::Time,
    /// When `status` last changed.
    #[prost(message, required, tag = "4")]
    #[serde(deserialize_with = "super::time::lenient")]
    pub last_transition_time: super::Time,
    /// In a word.
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// In words.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    pub message: String,
}

impl NodeCondition {
    /// Hides the secrets in what it says.
    pub(super) fn hide_secrets(&mut self) {
        redact_in_place(&mut self.message);
    }
}

/// `core/v1.NodeSystemInfo`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeInfo {
    /// Such as `amd64`.
    #[prost(string, tag = "10")]
    #[serde(deserialize_with = "lenient::text")]
    pub architecture: String,
}

impl Node {
    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.status.conditions.iter().find(|c| c.kind == kind)
    }

    /// How much of a resource pods may request of it; none where it does not offer it.
    pub fn allocatable(&self, resource: &str) -> Option<&str> {
        self.status.allocatable.iter().find(|e| e.key == resource).map(|e| e.value.string.as_str())
    }

    /// Whether it became not ready before this time, and still is: what it says of its containers is older than that.
    pub fn was_silent_before(&self, due: Timestamp) -> bool {
        let Some(ready) = self.condition("Ready").filter(|_| !self.is_ready()) else { return false };
        ready.last_transition_time.get().is_none_or(|at| at < due)
    }

    /// Whether the node says it is ready. A node that says nothing counts as ready: absence proves nothing.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_none_or(|c| c.status == "True")
    }
}
