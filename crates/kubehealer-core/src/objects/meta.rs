//! Metadata that every object has.

use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};
use serde::{Deserialize, Serialize};

use super::Time;
use super::lenient::{self, Entry};
use super::time;
use crate::redact::{cut, redact};

/// Bytes of the annotations that are meant for this program.
const MAX_OWN: usize = 200;

/// `metav1.ObjectMeta`.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Unique within namespace and kind at one time; a StatefulSet uses it again.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Empty for a cluster-scoped object.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub namespace: String,
    /// Unique over all time.
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "lenient::text")]
    pub uid: String,
    /// Opaque; where a watch is to go on from.
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    pub resource_version: String,
    /// Rises with every change of the spec.
    #[prost(int64, tag = "7")]
    #[serde(deserialize_with = "lenient::int64")]
    pub generation: i64,
    /// When the API server took the object in.
    #[prost(message, required, tag = "8")]
    #[serde(deserialize_with = "time::lenient")]
    pub creation_timestamp: Time,
    /// When the object is to be gone: the request to delete plus the grace period, so it may lie in the future.
    #[prost(message, required, tag = "9")]
    #[serde(deserialize_with = "time::lenient")]
    pub deletion_timestamp: Time,
    /// Seconds of grace that `deletion_timestamp` includes.
    #[prost(int64, optional, tag = "10")]
    #[serde(deserialize_with = "lenient::some_int64")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// In the order of their keys.
    #[prost(message, repeated, tag = "11")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "as_map")]
    pub labels: Vec<Label>,
    /// Only those that [`Annotation`] names.
    #[prost(message, repeated, tag = "12")]
    #[serde(deserialize_with = "lenient::entries", serialize_with = "annotations_as_map")]
    pub annotations: Vec<Annotation>,
    /// At most one of them is the controller.
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "lenient::objects")]
    pub owner_references: Vec<OwnerReference>,
    /// What must be done before the object may go.
    #[prost(string, repeated, tag = "14")]
    #[serde(deserialize_with = "lenient::texts")]
    pub finalizers: Vec<String>,
}

impl ObjectMeta {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|l| l.key == key).map(|l| l.value.as_str())
    }

    /// The value of one of the annotations that are read.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|a| a.key == key).map(|a| a.value.as_str())
    }

    /// The owner that manages this object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller == Some(true))
    }

    /// Takes the labels of its pod template that it lacks itself: they tell whose a workload is where its own do not.
    pub(super) fn adopt(&mut self, template: Vec<Label>) {
        let lacks = |label: &Label| self.label(&label.key).is_none_or(str::is_empty);
        let more: Vec<Label> = template.into_iter().filter(lacks).collect();
        if !more.is_empty() {
            self.labels.retain(|own| more.iter().all(|label| label.key != own.key));
            self.labels.extend(more);
            self.labels.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }

    pub(super) fn trim(&mut self) {
        self.annotations.retain(|a| Annotation::wanted(&a.key));
        for annotation in self.annotations.iter_mut().filter(|a| a.key.starts_with(Annotation::OWN)) {
            annotation.value = cut(&redact(&annotation.value), MAX_OWN).to_owned();
        }
    }

    pub(super) fn compact(&mut self) {
        self.trim();
        self.annotations.shrink_to_fit();
        self.labels.shrink_to_fit();
        self.owner_references.shrink_to_fit();
        self.finalizers.shrink_to_fit();
    }
}

/// A label: an entry of a `map<string, string>`, which protobuf encodes as a list of such messages.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Label {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Entry for Label {
    fn new(key: String, value: String) -> Self {
        Self { key, value }
    }
}

/// Serializes entries as the object they were read from.
pub(super) fn as_map<S: serde::Serializer>(labels: &[Label], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|l| (&l.key, &l.value)))
}

fn annotations_as_map<S: serde::Serializer>(list: &[Annotation], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|a| (&a.key, &a.value)))
}

/// An annotation that the program uses. Others are skipped unread in both encodings:
/// `kubectl.kubernetes.io/last-applied-configuration` holds env values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Annotation {
    /// On a mirror pod: the uid under which the kubelet writes events of the static pod.
    pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
    /// On a ReplicaSet: the revision of its Deployment.
    pub const REVISION: &str = "deployment.kubernetes.io/revision";
    /// On a DaemonSet: the number that its newest pods carry in the label `pod-template-generation`.
    pub const DAEMON_SET_GENERATION: &str = "deprecated.daemonset.template.generation";
    /// On a pod or workload: until when its incidents do not alert.
    pub const MUTE_UNTIL: &str = "kubehealer.dev/mute-until";
    /// On a pod or workload: why they do not.
    pub const MUTE_REASON: &str = "kubehealer.dev/mute-reason";
    /// What the annotations begin with that are meant for this program: people write into them what they like.
    const OWN: &str = "kubehealer.dev/";
}

impl Entry for Annotation {
    fn wanted(key: &str) -> bool {
        matches!(
            key,
            Self::CONFIG_MIRROR
                | Self::REVISION
                | Self::DAEMON_SET_GENERATION
                | Self::MUTE_UNTIL
                | Self::MUTE_REASON
        )
    }
    fn new(key: String, value: String) -> Self {
        Self { key, value }
    }
}

/// Written by hand, since the derive would read every value. The key is encoded before the value.
impl prost::Message for Annotation {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::string::encode(1, &self.key, buf);
        encoding::string::encode(2, &self.value, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::string::merge(wire_type, &mut self.key, buf, ctx),
            2 if Self::wanted(&self.key) => encoding::string::merge(wire_type, &mut self.value, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        encoding::string::encoded_len(1, &self.key) + encoding::string::encoded_len(2, &self.value)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// `metav1.OwnerReference`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// Such as `ReplicaSet`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub kind: String,
    /// Its name, in the same namespace (or cluster-scoped).
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Its uid.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    pub uid: String,
    /// Whether this owner manages the object.
    #[prost(bool, optional, tag = "6")]
    #[serde(deserialize_with = "lenient::some_flag")]
    pub controller: Option<bool>,
}
