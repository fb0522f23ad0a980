//! From the API server's bytes to slim objects: the envelopes of lists and watch frames, and one object in either encoding.
//!
//! An object that does not decode is named if its name can be read, and never quoted: its content may hold a password.
//!
//! Wire format as in `k8s.io/apimachinery`: a protobuf body is `k8s\0` and a `runtime.Unknown`; a watch of it is a row of
//! `metav1.WatchEvent`, each after its length in four bytes, big-endian; a watch of JSON is one `WatchEvent` a line.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{
    WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::meta::Label;
use super::{Object, lenient};

/// How the API server writes objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What begins every protobuf body.
const MAGIC: &[u8] = b"k8s\0";

/// An object that did not decode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Its index in the list; 0 in a watch.
    pub position: usize,
    /// Empty if it cannot be read.
    pub namespace: String,
    /// Empty if it cannot be read.
    pub name: String,
    /// Empty if it cannot be read. A watch resumes from here all the same.
    pub resource_version: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.namespace.as_str(), self.name.as_str()) {
            (_, "") => write!(f, "item {}", self.position),
            ("", name) => f.write_str(name),
            (namespace, name) => write!(f, "{namespace}/{name}"),
        }
    }
}

/// Why a body is no list. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Broken or cut off.
    #[error("the list is cut off or broken at byte {at} of {len}")]
    Broken {
        /// Byte.
        at: usize,
        /// Length of the body, bytes.
        len: usize,
    },
    /// It reads, but as something else, such as a proxy's page.
    #[error("the answer is not a list of Kubernetes objects")]
    NoList,
}

/// `metav1.Status`: what the API server says when it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// HTTP status, 0 if it was not given.
    pub code: i32,
    /// In a word, such as `Expired`.
    pub reason: String,
    /// In words. The server's, so not to be trusted.
    pub message: String,
    /// Seconds to wait, 0 if it was not given.
    pub retry_after: i32,
}

/// Reads the body of a refusal; none if it is no `Status`, such as a proxy's page.
pub fn decode_status(body: &[u8]) -> Option<Status> {
    if body.starts_with(MAGIC) {
        return unknown(body).and_then(|u| WireStatus::decode(u.raw).ok()).map(Status::from);
    }
    serde_json::from_slice::<WireStatus>(body)
        .ok()
        .filter(|s| s.code != 0 || !s.message.is_empty())
        .map(Status::from)
}

/// Reads an object from protobuf.
pub fn protobuf_object<T: Object>(raw: &[u8]) -> Result<T, Unread> {
    let mut object = T::decode(raw).map_err(|_| unread(Partial::decode(raw).unwrap_or_default()))?;
    object.trim();
    Ok(object)
}

/// Reads an object from JSON.
pub fn json_object<T: Object>(raw: &str) -> Result<T, Unread> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    match lenient::some_object::<_, T>(&mut deserializer) {
        Ok(Some(mut object)) => {
            object.trim();
            Ok(object)
        }
        _ => Err(unread(serde_json::from_str(raw).unwrap_or_default())),
    }
}

/// The metadata of anything: all that is read of a bookmark, or of an object that does not decode.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct Partial {
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    metadata: PartialMeta,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PartialMeta {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    namespace: String,
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    resource_version: String,
}

fn unread(object: Partial) -> Unread {
    let PartialMeta { name, namespace, resource_version } = object.metadata;
    Unread { position: 0, namespace, name, resource_version }
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct Bookmark {
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    metadata: BookmarkMeta,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BookmarkMeta {
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "lenient::text")]
    resource_version: String,
    #[prost(message, repeated, tag = "12")]
    #[serde(deserialize_with = "lenient::entries")]
    annotations: Vec<Label>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireStatus {
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "lenient::text")]
    message: String,
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "lenient::text")]
    reason: String,
    #[prost(message, required, tag = "5")]
    #[serde(deserialize_with = "lenient::object")]
    details: StatusDetails,
    #[prost(int32, tag = "6")]
    #[serde(deserialize_with = "lenient::int32")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusDetails {
    #[prost(int32, tag = "5")]
    #[serde(deserialize_with = "lenient::int32")]
    retry_after_seconds: i32,
}

impl From<WireStatus> for Status {
    fn from(s: WireStatus) -> Self {
        Self {
            code: s.code,
            reason: s.reason,
            message: s.message,
            retry_after: s.details.retry_after_seconds,
        }
    }
}

/// `metav1.ListMeta`.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    /// Where a watch is to start.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    pub resource_version: String,
    /// Asks for the next page; empty on the last one.
    #[prost(string, tag = "3")]
    #[serde(rename = "continue", deserialize_with = "lenient::text")]
    pub continue_token: String,
}

words! {
    /// The type of a watch event.
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    pub enum EventType {
        /// An object is new, or begins to match the selectors.
        Added = "ADDED",
        /// An object has changed.
        Modified = "MODIFIED",
        /// An object is gone, or matches no more; as it was last.
        Deleted = "DELETED",
        /// Nothing changed up to here.
        Bookmark = "BOOKMARK",
        /// The watch failed.
        Error = "ERROR",
    }
}

/// What a bookmark says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmarked {
    /// Where to resume.
    pub resource_version: String,
    /// All objects that existed when the watch began have been sent.
    pub initial_events_end: bool,
}

impl From<Bookmark> for Bookmarked {
    fn from(Bookmark { metadata }: Bookmark) -> Self {
        let end = |a: &Label| a.key == "k8s.io/initial-events-end" && a.value == "true";
        Self {
            initial_events_end: metadata.annotations.iter().any(end),
            resource_version: metadata.resource_version,
        }
    }
}

// ---- JSON

/// A watch event in JSON, its object undecoded.
#[derive(Debug, Deserialize)]
pub struct JsonEvent<'a> {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Its object.
    #[serde(borrow)]
    pub object: &'a RawValue,
}

impl<'a> JsonEvent<'a> {
    /// Reads a line. The fields come in any order.
    pub fn read(line: &'a str) -> Result<Self, Unread> {
        serde_json::from_str(line).map_err(|_| {
            #[derive(Default, Deserialize)]
            #[serde(default)]
            struct Line {
                #[serde(deserialize_with = "lenient::object")]
                object: Partial,
            }
            unread(serde_json::from_str::<Line>(line).unwrap_or_default().object)
        })
    }

    /// The resourceVersion of its object; empty if it has none.
    pub fn resource_version(&self) -> String {
        let object: Partial = serde_json::from_str(self.object.get()).unwrap_or_default();
        object.metadata.resource_version
    }

    /// Its object as a bookmark.
    pub fn bookmark(&self) -> Bookmarked {
        serde_json::from_str::<Bookmark>(self.object.get()).unwrap_or_default().into()
    }
}

/// The resourceVersion of a list; none if the body is none.
pub fn list_version(body: &[u8], encoding: Encoding) -> Option<String> {
    #[derive(Deserialize)]
    struct List {
        metadata: ListMeta,
    }
    match encoding {
        Encoding::Protobuf => protobuf_list(body, |_| {}).ok().map(|meta| meta.resource_version),
        Encoding::Json => {
            serde_json::from_slice::<List>(body).ok().map(|list| list.metadata.resource_version)
        }
    }
}

// ---- Protobuf

/// A field of a message.
struct Field<'a> {
    tag: u32,
    /// Of a text or a message; empty for a number.
    content: &'a [u8],
    /// With its key.
    whole: &'a [u8],
}

/// The message is broken.
#[derive(Clone, Copy, Debug)]
struct Broken;

/// The fields of a message. Ends after an error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let whole = self.0;
        let (tag, wire_type) = decode_key(&mut self.0).ok()?;
        let length = match wire_type {
            WireType::Varint => decode_varint(&mut self.0).ok().map(|_| 0)?,
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut self.0).ok()?).ok()?,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let whole = whole.get(..whole.len() - rest.len())?;
        Some(Field {
            tag,
            content: if wire_type == WireType::LengthDelimited { content } else { &[] },
            whole,
        })
    }

    /// The content of a field, the last if it is given more than once.
    fn find(self, wanted: u32) -> Option<&'a [u8]> {
        let mut found = None;
        for field in self {
            let field = field.ok()?;
            if field.tag == wanted {
                found = Some(field.content);
            }
        }
        found
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Broken);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// `runtime.Unknown`.
struct Unknown<'a> {
    kind: &'a [u8],
    raw: &'a [u8],
}

fn unknown(body: &[u8]) -> Option<Unknown<'_>> {
    let message = body.strip_prefix(MAGIC)?;
    // typeMeta = 1, whose kind = 2; raw = 2.
    let kind = Fields(Fields(message).find(1)?).find(2)?;
    Some(Unknown { kind, raw: Fields(message).find(2).unwrap_or_default() })
}

/// Hands out the items of a list in protobuf, undecoded. After an error, items may have been handed out already.
pub fn protobuf_list(body: &[u8], mut each: impl FnMut(&[u8])) -> Result<ListMeta, ListError> {
    let Some(Unknown { kind, raw }) = unknown(body) else {
        // Cut off within the envelope, or something else altogether.
        return Err(match body.starts_with(MAGIC) {
            true => ListError::Broken { at: body.len(), len: body.len() },
            false => ListError::NoList,
        });
    };
    if !kind.ends_with(b"List") {
        return Err(ListError::NoList);
    }
    let mut meta = ListMeta::default();
    let mut at = body.len() - raw.len();
    for field in Fields(raw) {
        let broken = ListError::Broken { at, len: body.len() };
        let Ok(field) = field else { return Err(broken) };
        at += field.whole.len();
        match field.tag {
            1 => meta = ListMeta::decode(field.content).map_err(|_| broken)?,
            2 => each(field.content),
            _ => {}
        }
    }
    // Without a resourceVersion a body is no answer of an API server. Taking it for an empty list would report every
    // object as gone.
    if meta.resource_version.is_empty() { Err(ListError::NoList) } else { Ok(meta) }
}

/// A watch event in protobuf, its object undecoded.
#[derive(Clone, Copy, Debug)]
pub struct ProtobufEvent<'a> {
    /// Its type.
    pub kind: EventType,
    /// Its object.
    pub object: &'a [u8],
}

impl<'a> ProtobufEvent<'a> {
    /// Reads a frame.
    pub fn read(frame: &'a [u8]) -> Result<Self, Unread> {
        // WatchEvent: type = 1, object = 2, a RawExtension whose raw = 1 is `k8s\0` and an Unknown.
        let object = Fields(frame).find(2).and_then(|o| Fields(o).find(1)).and_then(unknown);
        let Some(Unknown { raw: object, .. }) = object else { return Err(Unread::default()) };
        let kind = Fields(frame).find(1).and_then(|word| EventType::of(std::str::from_utf8(word).ok()?));
        match kind {
            Some(kind) => Ok(Self { kind, object }),
            None => Err(unread(Partial::decode(object).unwrap_or_default())),
        }
    }

    /// Its object as a bookmark.
    pub fn bookmark(&self) -> Option<Bookmarked> {
        Bookmark::decode(self.object).ok().map(Bookmarked::from)
    }

    /// Its object as a refusal.
    pub fn status(&self) -> Option<Status> {
        WireStatus::decode(self.object).ok().map(Status::from)
    }
}

/// Fields that no slim type reads, as a tree of field numbers: they need not be carried any further.
#[derive(Debug)]
pub struct Unwanted {
    tags: &'static [u32],
    /// Left out as a whole if it is empty, else what is left out of the field.
    of_it: &'static [Unwanted],
}

impl Unwanted {
    /// Of every object: `metadata.managedFields`, often a third of it.
    pub const OF_ANY: &[Self] = &[Self { tags: &[1], of_it: &[Self { tags: &[17], of_it: &[] }] }];
    /// Of a pod also what may hold secrets, `command`, `args`, `env` and `envFrom` of its containers, and what is long:
    /// `volumeMounts`, `affinity` and `tolerations`.
    pub const OF_POD: &[Self] = &[
        Self { tags: &[1], of_it: &[Self { tags: &[17], of_it: &[] }] },
        Self {
            tags: &[2],
            of_it: &[
                Self { tags: &[18, 22], of_it: &[] },
                Self { tags: &[2, 20], of_it: Self::OF_CONTAINER },
                Self { tags: &[34], of_it: &[Self { tags: &[1], of_it: Self::OF_CONTAINER }] },
            ],
        },
    ];
    const OF_CONTAINER: &[Self] = &[Self { tags: &[3, 4, 7, 9, 19], of_it: &[] }];
    /// Of a node also `status.images`.
    pub const OF_NODE: &[Self] = &[
        Self { tags: &[1], of_it: &[Self { tags: &[17], of_it: &[] }] },
        Self { tags: &[3], of_it: &[Self { tags: &[8], of_it: &[] }] },
    ];

    fn find<'u>(all: &'u [Self], field: &Field<'_>) -> Option<&'u Self> {
        // A number has no content, and is none of these.
        all.iter().find(|u| u.tags.contains(&field.tag) && !field.content.is_empty())
    }

    /// The length of a message without them; none if it is broken.
    fn length(all: &[Self], message: &[u8]) -> Option<usize> {
        let mut length = 0;
        for field in Fields(message) {
            let field = field.ok()?;
            length += match Self::find(all, &field) {
                None => field.whole.len(),
                Some(unwanted) if unwanted.of_it.is_empty() => 0,
                Some(unwanted) => {
                    let inner = Self::length(unwanted.of_it, field.content)?;
                    key_len(field.tag) + encoded_len_varint(inner as u64) + inner
                }
            };
        }
        Some(length)
    }

    fn write_rest(all: &[Self], message: &[u8], out: &mut Vec<u8>) -> Option<()> {
        for field in Fields(message) {
            let field = field.ok()?;
            match Self::find(all, &field) {
                None => out.extend_from_slice(field.whole),
                Some(unwanted) if unwanted.of_it.is_empty() => {}
                Some(unwanted) => {
                    encode_key(field.tag, WireType::LengthDelimited, out);
                    encode_varint(Self::length(unwanted.of_it, field.content)? as u64, out);
                    Self::write_rest(unwanted.of_it, field.content, out)?;
                }
            }
        }
        Some(())
    }

    /// Writes an object without them. Says whether it has a resourceVersion; none if it is broken.
    pub fn leave_out(all: &[Self], object: &[u8], out: &mut Vec<u8>) -> Option<bool> {
        out.clear();
        Self::write_rest(all, object, out)?;
        let version = Fields(object).find(1).and_then(|metadata| Fields(metadata).find(6));
        Some(version.is_some_and(|version| !version.is_empty()))
    }
}

// ---- Frames

/// The longest frame that is taken: etcd holds at most 1.5 MiB an object, and JSON is some times as long. Each of the
/// daemon's watches may hold one, within the smallest memory limit of `docs/performance.md`.
pub const MAX_FRAME: usize = 4 << 20;

/// Cuts the bytes of a watch into frames.
#[derive(Debug)]
pub struct Frames {
    encoding: Encoding,
    /// What came last, lent: mostly whole frames.
    came: Bytes,
    /// What came of a frame that is not whole, and all that came after; if it is not empty, `came` is.
    torn: Vec<u8>,
    /// Where the first frame that was not taken begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
}

/// A frame is longer than any object can be: the bytes are something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the watch is longer than any object can be")]
pub struct FrameTooLong;

impl Frames {
    /// Of a watch in this encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, came: Bytes::new(), torn: Vec::new(), start: 0, searched: 0 }
    }

    fn bytes(&self) -> &[u8] {
        if self.torn.is_empty() { &self.came } else { &self.torn }
    }

    /// Takes in what came.
    pub fn push(&mut self, bytes: Bytes) {
        self.searched = self.searched.saturating_sub(self.start);
        if self.is_within_frame() {
            self.torn.drain(..self.start.min(self.torn.len()));
            let begun = self.came.get(self.start..).unwrap_or_default();
            // No more than that: a long frame would be held in twice its room.
            self.torn.reserve_exact(begun.len() + bytes.len());
            self.torn.extend_from_slice(begun);
            self.torn.extend_from_slice(&bytes);
            self.came = Bytes::new();
        } else {
            self.came = bytes;
            self.torn.clear();
        }
        self.start = 0;
        // One huge object is not to hold its room for ever.
        if self.torn.capacity() > 1 << 20 {
            self.torn.shrink_to(self.torn.len() * 2);
        }
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        let (from, to, next) = match self.encoding {
            Encoding::Json => {
                let unsearched = self.bytes().get(self.searched.max(self.start)..).unwrap_or_default();
                let Some(at) = memchr::memchr(b'\n', unsearched) else {
                    self.searched = self.bytes().len();
                    return self.incomplete(self.searched - self.start);
                };
                let end = self.searched.max(self.start) + at;
                (self.start, end, end + 1)
            }
            Encoding::Protobuf => {
                let rest = self.bytes().get(self.start..).unwrap_or_default();
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let len = u32::from_be_bytes(*len) as usize;
                if rest.len() < len {
                    return self.incomplete(len);
                }
                let from = self.start + 4;
                (from, from + len, from + len)
            }
        };
        self.start = next;
        self.searched = next;
        Ok(self.bytes().get(from..to))
    }

    fn incomplete(&self, len: usize) -> Result<Option<&[u8]>, FrameTooLong> {
        if len > MAX_FRAME { Err(FrameTooLong) } else { Ok(None) }
    }

    /// Whether bytes of a frame have come that is not complete.
    pub fn is_within_frame(&self) -> bool {
        self.begun() > 0
    }

    /// Bytes of the frame that is not whole yet.
    pub fn begun(&self) -> usize {
        self.bytes().len().saturating_sub(self.start)
    }
}
