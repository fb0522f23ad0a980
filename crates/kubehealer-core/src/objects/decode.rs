//! From the API server's bytes to slim objects: lists and watch frames, JSON and protobuf.
//!
//! An object that does not decode is counted, named if its name can be read, and skipped: it never blocks a list or a watch.
//! What is said about it never quotes its content, which may hold a password. Objects are handed out one by one, so that a
//! page of a list is never held decoded as a whole.
//!
//! Wire format as in `k8s.io/apimachinery`: a protobuf body is `k8s\0` and a `runtime.Unknown`; a watch of it is a row of
//! `metav1.WatchEvent`, each after its length in four bytes, big-endian; a watch of JSON is one `WatchEvent` a line.
//!
//! Pure: must not know where the bytes come from.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
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

/// How many undecodable objects of a list are named.
const NAMED: usize = 10;

/// What a list says besides its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListEnd {
    /// Where a watch is to start.
    pub resource_version: String,
    /// Asks for the next page; empty on the last one.
    pub continue_token: String,
    /// What could not be read.
    pub undecodable: Undecodable,
}

/// Objects that did not decode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undecodable {
    /// How many.
    pub count: u64,
    /// The first few of them.
    pub named: Vec<Unread>,
}

/// An object that did not decode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Where in the list, from 0; 0 in a watch.
    pub position: usize,
    /// Empty if it cannot be read.
    pub namespace: String,
    /// Empty if it cannot be read.
    pub name: String,
    /// Empty if it cannot be read. A watch goes on from here all the same.
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
    #[error("the answer is no list of Kubernetes objects")]
    NoList,
}

/// Reads a list, handing out its items as they are read. After an error, items may have been handed out already.
pub fn decode_list<T: Object>(
    body: &[u8],
    encoding: Encoding,
    mut each: impl FnMut(T),
) -> Result<ListEnd, ListError> {
    lend_list(body, encoding, |item| each(std::mem::take(item)))
}

/// The same for items that are only looked at: one is read in place of the other.
pub fn lend_list<T: Object>(
    body: &[u8],
    encoding: Encoding,
    mut each: impl FnMut(&mut T),
) -> Result<ListEnd, ListError> {
    match encoding {
        Encoding::Json => json_list(body, &mut |mut item| each(&mut item)),
        Encoding::Protobuf => protobuf_list(body, &mut each),
    }
}

/// An event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent<T> {
    /// An object is new, or begins to match the selectors.
    Added(T),
    /// An object has changed.
    Modified(T),
    /// An object is gone, or matches no more; as it was last.
    Deleted(T),
    /// Nothing changed up to here.
    Bookmark {
        /// Where to resume.
        resource_version: String,
        /// All objects that existed when the watch began have been sent.
        initial_events_end: bool,
    },
    /// The watch failed.
    Error(Status),
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

impl<T> WatchEvent<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> WatchEvent<U> {
        match self {
            Self::Added(object) => WatchEvent::Added(change(object)),
            Self::Modified(object) => WatchEvent::Modified(change(object)),
            Self::Deleted(object) => WatchEvent::Deleted(change(object)),
            Self::Bookmark { resource_version, initial_events_end } => {
                WatchEvent::Bookmark { resource_version, initial_events_end }
            }
            Self::Error(status) => WatchEvent::Error(status),
        }
    }
}

/// Reads one event of a watch.
pub fn decode_watch_frame<T: Object>(frame: &[u8], encoding: Encoding) -> Result<WatchEvent<T>, Unread> {
    let mut object = T::default();
    lend_watch_frame(frame, encoding, &mut object).map(|event| event.map(std::mem::take))
}

/// Objects longer than this are not to leave their room to the next: one would hold it for ever.
pub const LARGE: usize = 64 << 10;

/// The same, with its object read in place of what `object` was. After an error that holds anything.
pub fn lend_watch_frame<'a, T: Object>(
    frame: &[u8],
    encoding: Encoding,
    object: &'a mut T,
) -> Result<WatchEvent<&'a mut T>, Unread> {
    match encoding {
        Encoding::Json => serde_json::from_slice::<JsonEvent<T>>(frame)
            .map_err(|_| {
                #[derive(Default, Deserialize)]
                #[serde(default)]
                struct Frame {
                    #[serde(deserialize_with = "lenient::object")]
                    object: Partial,
                }
                unread(0, serde_json::from_slice::<Frame>(frame).unwrap_or_default().object)
            })
            .map(|event| {
                event.0.map(|new| {
                    *object = new;
                    object
                })
            }),
        Encoding::Protobuf => protobuf_event(frame, object),
    }
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

fn unread(position: usize, object: Partial) -> Unread {
    let PartialMeta { name, namespace, resource_version } = object.metadata;
    Unread { position, namespace, name, resource_version }
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

impl<T> From<Bookmark> for WatchEvent<T> {
    fn from(Bookmark { metadata }: Bookmark) -> Self {
        let end = |a: &Label| a.key == "k8s.io/initial-events-end" && a.value == "true";
        Self::Bookmark {
            initial_events_end: metadata.annotations.iter().any(end),
            resource_version: metadata.resource_version,
        }
    }
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
struct ListMeta {
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "lenient::text")]
    resource_version: String,
    #[prost(string, tag = "3")]
    #[serde(rename = "continue", deserialize_with = "lenient::text")]
    continue_token: String,
}

impl Undecodable {
    fn add(&mut self, unread: Unread) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(unread);
        }
    }
}

/// Without a resource version a body is no answer of an API server. Taking it for an empty list would report every object
/// as gone.
fn list_end(meta: ListMeta, undecodable: Undecodable) -> Result<ListEnd, ListError> {
    if meta.resource_version.is_empty() {
        return Err(ListError::NoList);
    }
    let ListMeta { resource_version, continue_token } = meta;
    Ok(ListEnd { resource_version, continue_token, undecodable })
}

// ---- JSON

/// Reads straight into the objects; where one does not decode, reads again with the text of each item apart.
fn json_list<T: Object>(body: &[u8], each: &mut impl FnMut(T)) -> Result<ListEnd, ListError> {
    let mut undecodable = Undecodable::default();
    let mut read = 0;
    let whole = json_envelope(body, |Item(item)| {
        match item {
            Some(item) => each(item),
            None => undecodable.add(Unread { position: read, ..Unread::default() }),
        }
        read += 1;
    });
    if let Ok(meta) = whole {
        return list_end(meta.ok_or(ListError::NoList)?, undecodable);
    }
    // Bytes that are no UTF-8 spoil only the object that they are in.
    let text = String::from_utf8_lossy(body);
    let mut position = 0;
    let meta = json_envelope(text.as_bytes(), |raw: &RawValue| {
        if position >= read {
            match serde_json::from_str(raw.get()) {
                Ok(Item(Some(item))) => each(item),
                _ => undecodable.add(unread(position, serde_json::from_str(raw.get()).unwrap_or_default())),
            }
        }
        position += 1;
    })
    .map_err(|error| ListError::Broken { at: offset(&text, &error), len: body.len() })?;
    list_end(meta.ok_or(ListError::NoList)?, undecodable)
}

/// An object, or none for anything else that is JSON.
struct Item<T>(Option<T>);

impl<'de, T: Object> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut item: Option<T> = lenient::some_object(d)?;
        item.iter_mut().for_each(Object::trim);
        Ok(Self(item))
    }
}

fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let lines: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    lines + error.column()
}

/// Reads the fields of a list and hands out its items. None if it has no field `items`.
fn json_envelope<'de, I: Deserialize<'de>>(
    body: &'de [u8],
    each: impl FnMut(I),
) -> Result<Option<ListMeta>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let meta = deserializer.deserialize_map(Envelope(each, PhantomData))?;
    deserializer.end()?;
    Ok(meta)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum ListField {
    Metadata,
    Items,
    #[serde(other)]
    Other,
}

struct Envelope<I, F>(F, PhantomData<I>);

impl<'de, I: Deserialize<'de>, F: FnMut(I)> Visitor<'de> for Envelope<I, F> {
    type Value = Option<ListMeta>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut meta = ListMeta::default();
        let mut has_items = false;
        while let Some(field) = map.next_key()? {
            match field {
                ListField::Metadata => meta = map.next_value()?,
                ListField::Items => {
                    has_items = true;
                    map.next_value_seed(Items(&mut self.0, PhantomData))?;
                }
                ListField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(has_items.then_some(meta))
    }
}

struct Items<'a, I, F>(&'a mut F, PhantomData<I>);

impl<'de, I: Deserialize<'de>, F: FnMut(I)> DeserializeSeed<'de> for Items<'_, I, F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de, I: Deserialize<'de>, F: FnMut(I)> Visitor<'de> for Items<'_, I, F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
    /// What Go makes of a list that was never filled.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum EventField {
    Type,
    Object,
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

impl EventType {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "ADDED" => Self::Added,
            "MODIFIED" => Self::Modified,
            "DELETED" => Self::Deleted,
            "BOOKMARK" => Self::Bookmark,
            "ERROR" => Self::Error,
            _ => return None,
        })
    }

    fn wrap<T>(self, object: T) -> WatchEvent<T> {
        match self {
            Self::Modified => WatchEvent::Modified(object),
            Self::Deleted => WatchEvent::Deleted(object),
            _ => WatchEvent::Added(object),
        }
    }
}

struct JsonEvent<T>(WatchEvent<T>);

impl<'de, T: Object> Deserialize<'de> for JsonEvent<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(EventVisitor(PhantomData)).map(Self)
    }
}

/// The object of an event, of which the type is known.
struct EventObject<T>(EventType, PhantomData<T>);

impl<'de, T: Object> DeserializeSeed<'de> for EventObject<T> {
    type Value = WatchEvent<T>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<WatchEvent<T>, D::Error> {
        Ok(match self.0 {
            EventType::Bookmark => Bookmark::deserialize(d)?.into(),
            EventType::Error => WatchEvent::Error(WireStatus::deserialize(d)?.into()),
            other => match Item::deserialize(d)? {
                Item(Some(object)) => other.wrap(object),
                Item(None) => return Err(serde::de::Error::custom("no object")),
            },
        })
    }
}

struct EventVisitor<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for EventVisitor<T> {
    type Value = WatchEvent<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch event")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WatchEvent<T>, A::Error> {
        let (mut kind, mut event) = (None, None);
        // The server writes the type first, so that the object is read in one go. Others may not.
        let mut early: Option<&RawValue> = None;
        while let Some(field) = map.next_key()? {
            match (field, kind) {
                (EventField::Type, _) => kind = Some(map.next_value::<EventType>()?),
                (EventField::Object, Some(kind)) => {
                    event = Some(map.next_value_seed(EventObject(kind, PhantomData))?);
                }
                (EventField::Object, None) => early = Some(map.next_value()?),
                (EventField::Other, _) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (event, early, kind) {
            (Some(event), ..) => Ok(event),
            (None, Some(raw), Some(kind)) => EventObject(kind, PhantomData)
                .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
                .map_err(|_| serde::de::Error::custom("the object does not decode")),
            _ => Err(serde::de::Error::custom("no watch event")),
        }
    }
}

// ---- Protobuf

/// The fields of a message that have a length, as tag and content; others are passed over.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// None at the end; an error if the message is broken.
    fn next(&mut self) -> Option<Result<(u32, &'a [u8]), ()>> {
        while !self.0.is_empty() {
            let Ok((tag, wire_type)) = decode_key(&mut self.0) else { return Some(Err(())) };
            let skip = match wire_type {
                WireType::Varint => {
                    if decode_varint(&mut self.0).is_err() {
                        return Some(Err(()));
                    }
                    continue;
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => {
                    let field = decode_varint(&mut self.0)
                        .ok()
                        .and_then(|len| usize::try_from(len).ok())
                        .and_then(|len| self.0.split_at_checked(len));
                    let Some((content, rest)) = field else { return Some(Err(())) };
                    self.0 = rest;
                    return Some(Ok((tag, content)));
                }
                WireType::StartGroup | WireType::EndGroup => return Some(Err(())),
            };
            if self.0.len() < skip {
                return Some(Err(()));
            }
            self.0.advance(skip);
        }
        None
    }

    /// The content of a field, the last if it is given more than once.
    fn find(mut self, wanted: u32) -> Option<&'a [u8]> {
        let mut found = None;
        while let Some(field) = self.next() {
            match field {
                Ok((tag, content)) if tag == wanted => found = Some(content),
                Ok(_) => {}
                Err(()) => return None,
            }
        }
        found
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

fn protobuf_list<T: Object>(body: &[u8], each: &mut impl FnMut(&mut T)) -> Result<ListEnd, ListError> {
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
    let mut undecodable = Undecodable::default();
    let mut position = 0;
    let mut item = T::default();
    let mut fields = Fields(raw);
    while let Some(field) = fields.next() {
        let broken = |()| ListError::Broken { at: body.len() - fields.0.len(), len: body.len() };
        match field.map_err(broken)? {
            (1, content) => meta = ListMeta::decode(content).map_err(|_| broken(()))?,
            (2, content) => {
                match protobuf_item(content, &mut item) {
                    Ok(()) => {
                        each(&mut item);
                        if content.len() > LARGE {
                            item = T::default();
                        }
                    }
                    Err(_) => {
                        undecodable.add(unread(position, Partial::decode(content).unwrap_or_default()));
                    }
                }
                position += 1;
            }
            _ => {}
        }
    }
    list_end(meta, undecodable)
}

fn protobuf_item<T: Object>(bytes: &[u8], item: &mut T) -> Result<(), prost::DecodeError> {
    item.replace(bytes)?;
    item.trim();
    Ok(())
}

fn protobuf_event<'a, T: Object>(frame: &[u8], item: &'a mut T) -> Result<WatchEvent<&'a mut T>, Unread> {
    // WatchEvent: type = 1, object = 2, a RawExtension whose raw = 1 is `k8s\0` and an Unknown.
    let object = Fields(frame).find(2).and_then(|o| Fields(o).find(1)).and_then(unknown);
    let kind = Fields(frame).find(1).and_then(|k| std::str::from_utf8(k).ok()).and_then(EventType::of);
    let Some(Unknown { raw, .. }) = object else { return Err(Unread::default()) };
    let event = match kind {
        Some(EventType::Bookmark) => Bookmark::decode(raw).map(WatchEvent::from).ok(),
        Some(EventType::Error) => WireStatus::decode(raw).map(|s| WatchEvent::Error(s.into())).ok(),
        Some(other) => protobuf_item(raw, item).map(|()| other.wrap(item)).ok(),
        None => None,
    };
    event.ok_or_else(|| unread(0, Partial::decode(raw).unwrap_or_default()))
}

// ---- Frames

/// The longest frame that is taken: etcd holds at most 1.5 MiB an object, and JSON is a few times as long.
const MAX_FRAME: usize = 32 << 20;

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
            self.torn.extend_from_slice(self.came.get(self.start..).unwrap_or_default());
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
        self.start < self.bytes().len()
    }
}
