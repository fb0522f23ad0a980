//! The slim Event: both shapes (`core/v1` and `events.k8s.io/v1`) in one type.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Object, ObjectMeta, Time, lenient, time};
use crate::redact::redact_in_place;

/// `core/v1.Event`; in JSON also `events.k8s.io/v1.Event`, whose fields have other names for the same things.
/// (Its protobuf form has other field numbers: ask for `core/v1` there.)
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// Name and creation.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// What it is about.
    #[prost(message, required, tag = "2")]
    #[serde(alias = "regarding", deserialize_with = "lenient::object")]
    pub involved_object: ObjectReference,
    /// In a word, such as `BackOff`.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// In words.
    #[prost(string, tag = "4")]
    #[serde(alias = "note", deserialize_with = "lenient::text")]
    pub message: String,
    /// Who reports it, in the old shape.
    #[prost(message, required, tag = "5")]
    #[serde(alias = "deprecatedSource", deserialize_with = "lenient::object")]
    pub source: EventSource,
    /// First seen, in the old shape.
    #[prost(message, required, tag = "6")]
    #[serde(alias = "deprecatedFirstTimestamp", deserialize_with = "time::lenient")]
    pub first_timestamp: Time,
    /// Last seen, in the old shape.
    #[prost(message, required, tag = "7")]
    #[serde(alias = "deprecatedLastTimestamp", deserialize_with = "time::lenient")]
    pub last_timestamp: Time,
    /// How often, in the old shape; a lower bound.
    #[prost(int32, tag = "8")]
    #[serde(alias = "deprecatedCount", deserialize_with = "lenient::int32")]
    pub count: i32,
    /// `Normal` or `Warning`.
    #[prost(string, tag = "9")]
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub kind: String,
    /// First seen, in the new shape.
    #[prost(message, required, tag = "10")]
    #[serde(deserialize_with = "time::lenient")]
    pub event_time: Time,
    /// Repetition, in the new shape.
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "lenient::some_object")]
    pub series: Option<EventSeries>,
    /// Who reports it, in the new shape.
    #[prost(string, tag = "14")]
    #[serde(alias = "reportingController", deserialize_with = "lenient::text")]
    pub reporting_component: String,
}

impl Event {
    /// When it was last seen: the newest of its times.
    pub fn last_seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref().map(|s| s.last_observed_time).unwrap_or_default();
        [series, self.last_timestamp, self.event_time, self.metadata.creation_timestamp]
            .into_iter()
            .filter_map(Time::get)
            .max()
    }

    /// When it was first seen: the oldest of its times.
    pub fn first_seen(&self) -> Option<Timestamp> {
        [self.first_timestamp, self.event_time, self.metadata.creation_timestamp]
            .into_iter()
            .filter_map(Time::get)
            .min()
    }

    /// Who reports it, such as `kubelet`, in either shape.
    pub fn reporter(&self) -> &str {
        if self.source.component.is_empty() { &self.reporting_component } else { &self.source.component }
    }

    /// How often it was seen, at least.
    pub fn times(&self) -> i32 {
        self.series.as_ref().map_or(0, |s| s.count).max(self.count).max(1)
    }

    /// Whether its type is `Warning`.
    pub fn is_warning(&self) -> bool {
        self.kind == "Warning"
    }
}

impl Object for Event {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.metadata.compact();
        redact_in_place(&mut self.message);
    }
}

/// `core/v1.ObjectReference`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectReference {
    /// Such as `Pod`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub kind: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub namespace: String,
    /// Its name.
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Its uid; of a static pod, the uid that the kubelet knows.
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    pub uid: String,
    /// Which part, such as `spec.containers{app}`; unreliable on combined events.
    #[prost(string, tag = "7")]
    #[serde(deserialize_with = "lenient::text")]
    pub field_path: String,
}

/// `core/v1.EventSource`.
#[derive(Clone, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EventSource {
    /// Such as `kubelet`.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    pub component: String,
}

/// `core/v1.EventSeries`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EventSeries {
    /// How often, refreshed every half hour only.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub count: i32,
    /// Last seen.
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "time::lenient")]
    pub last_observed_time: Time,
}
