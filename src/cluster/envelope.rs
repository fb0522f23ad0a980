//! What the API server writes, as the JSON that kube reads: an object in protobuf becomes a text in base64, JSON stays as it is.
//! It costs less than reading JSON from the server, for the server as well, and kube knows no protobuf.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD};
use serde_json::json;

use super::watch::Resource;
use crate::objects::decode::{
    Bookmarked, Encoding, EventType, JsonEvent, ListError, ProtobufEvent, Status, Unread, Unwanted,
    decode_status, protobuf_list,
};

/// How protobuf is written into JSON.
pub(super) const BASE64: GeneralPurpose = STANDARD_NO_PAD;

/// A list in JSON. None if it is none.
pub(super) fn list(body: Vec<u8>, encoding: Encoding, resource: &Resource) -> Result<Vec<u8>, ListError> {
    if encoding == Encoding::Json {
        // kube takes no list with bytes that are no UTF-8; here they spoil only the object that they are in.
        return Ok(match String::from_utf8(body) {
            Ok(text) => text.into_bytes(),
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
        });
    }
    // In base64 it is a third longer.
    let mut out = Vec::with_capacity(body.len() + body.len() / 2);
    let mut writer = Writer::new(resource);
    out.extend_from_slice(b"{\"items\":[");
    let start = out.len();
    let meta = protobuf_list(&body, |object| {
        if out.len() > start {
            out.push(b',');
        }
        writer.object(object, &mut out);
    })?;
    let meta = json!({"resourceVersion": meta.resource_version, "continue": meta.continue_token});
    // Writing to memory does not fail.
    let _ = write!(out, "],\"metadata\":{meta}}}");
    Ok(out)
}

/// What a frame of a watch was.
pub(super) enum Seen {
    Object(EventType),
    Bookmark {
        /// It ends the first list.
        initial_events_end: bool,
    },
    /// The server reports an error.
    Error,
    /// Nothing that can be passed on.
    Unread(Unread),
}

/// Writes frames of a watch as lines of JSON.
pub(super) struct Writer {
    unwanted: &'static [Unwanted],
    pruned: Vec<u8>,
}

impl Writer {
    /// For objects of this resource.
    pub(super) fn new(resource: &Resource) -> Self {
        let unwanted = match *resource {
            Resource::PODS => Unwanted::OF_POD,
            Resource::NODES => Unwanted::OF_NODE,
            _ => Unwanted::OF_ANY,
        };
        Self { unwanted, pruned: Vec::new() }
    }

    /// Writes a frame, if it can be passed on.
    pub(super) fn frame(&mut self, frame: &[u8], encoding: Encoding, out: &mut Vec<u8>) -> Seen {
        let seen = match encoding {
            Encoding::Json => json_frame(frame, out),
            Encoding::Protobuf => self.protobuf_frame(frame, out),
        };
        seen.unwrap_or_else(|unread| {
            // So that the watch resumes behind it.
            if !unread.resource_version.is_empty() {
                let bookmarked =
                    Bookmarked { resource_version: unread.resource_version.clone(), ..Bookmarked::default() };
                bookmark(&bookmarked, out);
            }
            Seen::Unread(unread)
        })
    }

    fn protobuf_frame(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Seen, Unread> {
        let event = ProtobufEvent::read(frame)?;
        match event.kind {
            EventType::Bookmark => {
                let bookmarked = event.bookmark().ok_or_else(Unread::default)?;
                bookmark(&bookmarked, out);
                Ok(Seen::Bookmark { initial_events_end: bookmarked.initial_events_end })
            }
            EventType::Error => {
                error(&event.status().ok_or_else(Unread::default)?, out);
                Ok(Seen::Error)
            }
            kind => {
                let before = out.len();
                let _ = write!(out, "{{\"type\":\"{}\",\"object\":", kind.as_str());
                if !self.object(event.object, out) {
                    // Without a version kube-runtime would list everything again.
                    out.truncate(before);
                    return Err(Unread::default());
                }
                out.extend_from_slice(b"}\n");
                Ok(Seen::Object(kind))
            }
        }
    }

    /// Writes an object of protobuf. Says whether it has a resourceVersion.
    fn object(&mut self, object: &[u8], out: &mut Vec<u8>) -> bool {
        let has_version = Unwanted::leave_out(self.unwanted, object, &mut self.pruned);
        let object = if has_version.is_some() { &self.pruned } else { object };
        out.push(b'"');
        let from = out.len();
        out.resize(from + base64::encoded_len(object.len(), false).unwrap_or_default(), 0);
        if let Some(room) = out.get_mut(from..) {
            // It has the length that is needed.
            let _ = BASE64.encode_slice(object, room);
        }
        out.push(b'"');
        has_version.unwrap_or_default()
    }
}

fn json_frame(frame: &[u8], out: &mut Vec<u8>) -> Result<Seen, Unread> {
    let line = String::from_utf8_lossy(frame);
    let event = JsonEvent::read(&line)?;
    let seen = match event.kind {
        EventType::Bookmark => {
            let bookmarked = event.bookmark();
            if bookmarked.resource_version.is_empty() {
                return Err(Unread::default());
            }
            bookmark(&bookmarked, out);
            return Ok(Seen::Bookmark { initial_events_end: bookmarked.initial_events_end });
        }
        EventType::Error => {
            error(&decode_status(event.object.get().as_bytes()).unwrap_or_default(), out);
            return Ok(Seen::Error);
        }
        _ if event.resource_version().is_empty() => return Err(Unread::default()),
        kind => Seen::Object(kind),
    };
    // The type comes first, so that kube reads the object where it stands.
    let _ = writeln!(out, "{{\"type\":\"{}\",\"object\":{}}}", event.kind.as_str(), event.object.get());
    Ok(seen)
}

fn bookmark(bookmarked: &Bookmarked, out: &mut Vec<u8>) {
    let annotations = match bookmarked.initial_events_end {
        true => json!({"k8s.io/initial-events-end": "true"}),
        false => json!({}),
    };
    let object = json!({
        "kind": "", "apiVersion": "",
        "metadata": {"resourceVersion": bookmarked.resource_version, "annotations": annotations},
    });
    let _ = writeln!(out, "{{\"type\":\"BOOKMARK\",\"object\":{object}}}");
}

fn error(status: &Status, out: &mut Vec<u8>) {
    let object = json!({
        "status": "Failure", "code": status.code.clamp(0, 999), "reason": status.reason, "message": status.message,
        "details": {"retryAfterSeconds": status.retry_after.max(0)},
    });
    let _ = writeln!(out, "{{\"type\":\"ERROR\",\"object\":{object}}}");
}
