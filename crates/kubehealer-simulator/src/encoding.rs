//! How objects are written into lists and watches, by the media type that a client accepts.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Object;
use super::resources::{RESOURCES, Resource};
use super::{protobuf, table};

/// The media type of Kubernetes' protobuf.
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    /// Events under their names in `events.k8s.io/v1`.
    NewEvents,
    /// What kubectl prints: the server chooses the columns.
    Table,
    /// Pods and events alone.
    Protobuf,
    /// The metadata of objects alone.
    Metadata,
}

impl Encoding {
    /// The first of the accepted media types that can be served.
    pub(super) fn negotiate(
        accept: &str,
        resource: usize,
        group: &str,
        refuse_protobuf: bool,
    ) -> Option<Self> {
        let json = if group == "events.k8s.io" { Self::NewEvents } else { Self::Json };
        if accept.trim().is_empty() {
            return Some(json);
        }
        accept.split(',').find_map(|alternative| {
            let mut parts = alternative.split(';').map(str::trim);
            let media = parts.next().unwrap_or("");
            let transform = parts.find_map(|p| p.strip_prefix("as="));
            match (media, transform) {
                ("application/json" | "*/*" | "application/*", None) => Some(json),
                ("application/json", Some("Table")) if table::has(resource) && json == Self::Json => {
                    Some(Self::Table)
                }
                ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList"))
                    if json == Self::Json =>
                {
                    Some(Self::Metadata)
                }
                (PROTOBUF, None)
                    if !refuse_protobuf
                        && json == Self::Json
                        && protobuf::knows(RESOURCES[resource].kind) =>
                {
                    Some(Self::Protobuf)
                }
                _ => None,
            }
        })
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => PROTOBUF,
            _ => "application/json",
        }
    }

    pub(super) fn stream_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            _ => "application/json",
        }
    }

    pub(super) fn api_version(self, resource: &Resource) -> String {
        match self {
            Self::NewEvents => "events.k8s.io/v1".to_owned(),
            Self::Metadata => "meta.k8s.io/v1".to_owned(),
            _ => resource.api_version(),
        }
    }

    pub(super) fn list_kind(self, resource: &Resource) -> String {
        format!("{}List", if self == Self::Metadata { "PartialObjectMetadata" } else { resource.kind })
    }

    pub(super) fn write_item(self, object: &Object, out: &mut Vec<u8>) {
        match self {
            Self::NewEvents => out.extend_from_slice(new_event(object.value()).to_string().as_bytes()),
            Self::Metadata => {
                let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value()["metadata"]});
                out.extend_from_slice(object.to_string().as_bytes());
            }
            _ => object.write_item(out),
        }
    }

    pub(super) fn write_object(self, object: &Arc<Object>, now: Timestamp, out: &mut Vec<u8>) {
        match self {
            Self::Json => object.write_whole(out),
            Self::NewEvents | Self::Metadata => self.write_item(object, out),
            Self::Protobuf => {
                let kind = RESOURCES[object.resource].kind;
                out.extend_from_slice(&protobuf::enveloped("v1", kind, &object.protobuf()));
            }
            Self::Table => {
                let table = table::table(object.resource, std::slice::from_ref(object), true, now);
                out.extend_from_slice(table.to_string().as_bytes());
            }
        }
    }

    /// One frame of a watch. Only the first of a watch of tables names the columns.
    pub(super) fn write_event(
        self,
        kind: &str,
        object: &Arc<Object>,
        first: bool,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) {
        if self == Self::Protobuf {
            let mut whole = Vec::new();
            self.write_object(object, now, &mut whole);
            return protobuf::frame(kind, &whole, out);
        }
        out.extend_from_slice(format!(r#"{{"type":"{kind}","object":"#).as_bytes());
        match self {
            Self::Table => {
                let table = table::table(object.resource, std::slice::from_ref(object), first, now);
                out.extend_from_slice(table.to_string().as_bytes());
            }
            _ => self.write_object(object, now, out),
        }
        out.extend_from_slice(b"}\n");
    }

    /// A frame whose object is none of the cluster's: a bookmark, or a Status.
    pub(super) fn write_value_event(self, kind: &str, object: &Value, out: &mut Vec<u8>) {
        if self == Self::Protobuf {
            let name = object["kind"].as_str().unwrap_or("Status");
            let whole = protobuf::enveloped("v1", name, &protobuf::message(name, object));
            return protobuf::frame(kind, &whole, out);
        }
        out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").as_bytes());
    }

    /// A frame whose object is these bytes, whatever they are.
    pub(super) fn write_raw_event(self, kind: &str, object: &[u8], out: &mut Vec<u8>) {
        if self == Self::Protobuf {
            return protobuf::frame(kind, object, out);
        }
        out.extend_from_slice(format!(r#"{{"type":"{kind}","object":"#).as_bytes());
        out.extend_from_slice(object);
        out.extend_from_slice(b"}\n");
    }

    /// The beginning of a frame that never ends.
    pub(super) fn write_half_event(self, out: &mut Vec<u8>) {
        match self {
            Self::Protobuf => out.extend_from_slice(&[0, 0, 4, 0, 10, 8, b'M', b'O', b'D']),
            _ => out.extend_from_slice(br#"{"type":"MODIFIED","object":{"kind":"Pod","apiVers"#),
        }
    }
}

/// A core/v1 event under the names that events.k8s.io/v1 gives its fields.
fn new_event(mut event: Value) -> Value {
    let Some(map) = event.as_object_mut() else {
        return event;
    };
    map.insert("apiVersion".to_owned(), json!("events.k8s.io/v1"));
    for (old, new) in [
        ("involvedObject", "regarding"),
        ("message", "note"),
        ("reportingComponent", "reportingController"),
        ("source", "deprecatedSource"),
        ("count", "deprecatedCount"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
    ] {
        if let Some(value) = map.remove(old) {
            map.insert(new.to_owned(), value);
        }
    }
    event
}
