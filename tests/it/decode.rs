//! Lists and watches are read alike in both encodings, and one bad object spoils nothing but itself.

use std::convert::Infallible;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{Request, Response};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kubehealer::cluster::client::Failure;
use kubehealer::cluster::lean::{self, BoundedClient, Page};
use kubehealer::cluster::watch::Resource;
use kubehealer::objects::decode::{Encoding, Frames, Unread, decode_status};
use kubehealer::objects::{Event, Object, Pod};
use prost::Message;

fn recording(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings").join(path)).unwrap()
}

/// A server that answers everything with this body, in pieces of `chunk` bytes.
fn server(body: &[u8], encoding: Encoding, chunk: usize) -> BoundedClient {
    let body = Bytes::copy_from_slice(body);
    let content_type = match encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
    };
    let answer = tower::service_fn(move |_: Request<kube::client::Body>| {
        let body = body.clone();
        let starts = (0..body.len()).step_by(chunk);
        let frames = starts.map(move |at| body.slice(at..body.len().min(at + chunk)));
        let frames = frames.map(|frame| Ok::<_, Infallible>(http_body::Frame::data(frame)));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()));
        let answer = Response::builder().header("content-type", content_type).body(body).unwrap();
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    kube::Client::new(answer, "default").into()
}

const WHOLE: usize = 1 << 20;

/// A list, as everything that lists reads it.
pub async fn list<T: Object>(body: &[u8], encoding: Encoding) -> Result<Page<T>, Failure> {
    let api = lean::reading(&server(body, encoding, WHOLE), Resource::PODS, None);
    lean::page(&api, &ListParams::default()).await
}

/// What is read of one event of a watch.
#[derive(Debug, PartialEq)]
pub enum Shown<T> {
    Object(&'static str, T),
    Unread(Unread),
    /// The version, and whether it ends the first list.
    Bookmark(String, bool),
    Error(u16),
}

/// A watch, as everything that watches reads it. Gives what it showed before it ended.
pub async fn watch<T: Object>(body: &[u8], encoding: Encoding, chunk: usize) -> Vec<Shown<T>> {
    let api = lean::reading::<T>(&server(body, encoding, chunk), Resource::PODS, None);
    let events = api.watch(&WatchParams::default(), "1").await.unwrap();
    let mut events = std::pin::pin!(events);
    let mut seen = Vec::new();
    while let Ok(Some(event)) = events.try_next().await {
        let (kind, object) = match event {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark(mark) => {
                let ends = mark.metadata.annotations.contains_key("k8s.io/initial-events-end");
                seen.push(Shown::Bookmark(mark.metadata.resource_version, ends));
                continue;
            }
            WatchEvent::Error(status) => {
                seen.push(Shown::Error(status.code));
                continue;
            }
        };
        seen.push(match object.into_object() {
            Ok(object) => Shown::Object(kind, object),
            Err(unread) => Shown::Unread(unread),
        });
    }
    seen
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
}

#[derive(Clone, PartialEq, Message)]
struct RawList {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    items: Vec<Vec<u8>>,
}

fn envelope(kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta = Some(TypeMeta { kind: kind.to_owned() });
    [b"k8s\0".as_slice(), &Unknown { type_meta, raw }.encode_to_vec()].concat()
}

fn protobuf_list(items: Vec<Vec<u8>>) -> Vec<u8> {
    let metadata = Some(ListMeta { resource_version: "7".into() });
    envelope("PodList", RawList { metadata, items }.encode_to_vec())
}

#[tokio::test]
async fn recorded_lists_give_the_same_items_in_both_encodings() {
    async fn equal<T: Object + std::fmt::Debug>(name: &str) {
        let json = list::<T>(&recording(&format!("protobuf/{name}.json")), Encoding::Json).await.unwrap();
        let binary = list::<T>(&recording(&format!("protobuf/{name}.pb")), Encoding::Protobuf).await.unwrap();
        assert!(!json.items.is_empty());
        assert_eq!(json.items.len(), binary.items.len());
        for (a, b) in json.items.iter().zip(&binary.items) {
            assert_eq!(a, b);
        }
        assert_eq!((json.unread.len(), binary.unread.len()), (0, 0));
        assert_eq!(json.continue_token, binary.continue_token);
    }
    for namespace in ["platform", "payments", "ml", "shop", "batch"] {
        equal::<Pod>(&format!("pods-{namespace}")).await;
    }
    equal::<Event>("events").await;
}

#[tokio::test]
async fn a_recorded_watch_gives_the_same_events_in_both_encodings_however_its_bytes_arrive() {
    let recorded = recording("protobuf/watch-platform.jsonl");
    let json: Vec<Shown<Pod>> = watch(&recorded, Encoding::Json, WHOLE).await;
    assert_eq!(json.len(), 37);
    let ends = |e: &&Shown<Pod>| matches!(e, Shown::Bookmark(version, true) if !version.is_empty());
    assert_eq!(json.iter().filter(ends).count(), 1);
    for chunk in [1, 7, 4096, WHOLE] {
        assert!(watch(&recorded, Encoding::Json, chunk).await == json, "{chunk}");
        let binary = watch(&recording("protobuf/watch-platform.pb"), Encoding::Protobuf, chunk).await;
        assert!(binary == json, "{chunk}");
    }
}

#[test]
fn what_is_left_out_on_the_way_is_what_no_slim_type_reads() {
    use kubehealer::objects::Node;
    use kubehealer::objects::decode::{Unwanted, protobuf_list, protobuf_object};
    fn same<T: Object + std::fmt::Debug>(name: &str, unwanted: &[Unwanted]) {
        let (mut objects, mut before, mut after) = (0, 0, 0);
        let mut rest = Vec::new();
        protobuf_list(&recording(name), |raw| {
            assert_eq!(Unwanted::leave_out(unwanted, raw, &mut rest), Some(true));
            assert_eq!(protobuf_object::<T>(&rest).unwrap(), protobuf_object::<T>(raw).unwrap());
            (objects, before, after) = (objects + 1, before + raw.len(), after + rest.len());
            // Whatever is cut off is broken, or an object without its last fields.
            for length in (0..raw.len()).step_by(97) {
                Unwanted::leave_out(unwanted, &raw[..length], &mut rest);
            }
        })
        .unwrap();
        assert!(objects > 0 && after < before, "{name}: {after} of {before} bytes");
    }
    for namespace in ["platform", "payments", "ml", "shop", "batch"] {
        same::<Pod>(&format!("protobuf/pods-{namespace}.pb"), Unwanted::OF_POD);
    }
    same::<Event>("protobuf/events.pb", Unwanted::OF_ANY);
    let mut out = Vec::new();
    // A status with two images, and a condition's type.
    let node = [&[0x1a, 12][..], &[0x42, 1, 1, 0x42, 1, 2], &[0x22, 4, 0x0a, 2, b'o', b'k']].concat();
    assert_eq!(Unwanted::leave_out(Unwanted::OF_NODE, &node, &mut out), Some(false));
    assert_eq!(out, [0x1a, 6, 0x22, 4, 0x0a, 2, b'o', b'k']);
    assert!(protobuf_object::<Node>(&out).is_ok());
}

/// Pods that no deserializer takes: with the name that can be read all the same.
const BAD: &[(&[u8], &str)] = &[
    // A field twice.
    (br#"{"metadata":{"namespace":"shop","name":"twice"},"spec":{"env":"hunter2"},"spec":{}}"#, "shop/twice"),
    // Half a surrogate pair.
    (br#"{"metadata":{"name":"half"},"status":{"message":"hunter2 \ud800"}}"#, "half"),
    // No UTF-8.
    (b"{\"metadata\":{\"name\":\"bytes\"},\"status\":{\"message\":\"hunter2 \xff\"},\"status\":{}}", "bytes"),
    // No object.
    (br#""hunter2""#, "item 2"),
    (b"[[\"hunter2\"]]", "item 2"),
];

#[tokio::test]
async fn an_item_that_does_not_decode_is_named_and_skipped() {
    for &(bad, name) in BAD {
        let body = [
            br#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"next"},"items":["#.as_slice(),
            br#"{"metadata":{"name":"a"}},{"metadata":{"name":"b"}},"#,
            bad,
            br#",{"metadata":{"name":"c"}}]}"#,
        ]
        .concat();
        let page = list::<Pod>(&body, Encoding::Json).await.unwrap();
        let names: Vec<_> = page.items.iter().map(|p| p.metadata.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"], "{name}");
        assert_eq!(page.continue_token, "next");
        assert_eq!(page.unread.len(), 1, "{name}");
        assert_eq!((page.unread[0].position, page.unread[0].to_string().as_str()), (2, name));
    }
}

#[tokio::test]
async fn a_protobuf_item_that_does_not_decode_is_named_and_skipped() {
    let pod = |name: &str| {
        let mut pod = Pod::default();
        pod.metadata.name = name.to_owned();
        pod.encode_to_vec()
    };
    // A status (field 3) whose phase (field 1) is no UTF-8.
    let bad = [pod("bad"), vec![0x1a, 3, 0x0a, 1, 0xff]].concat();
    let body = protobuf_list(vec![pod("a"), bad, vec![0xff; 40], pod("b")]);
    let page = list::<Pod>(&body, Encoding::Protobuf).await.unwrap();
    assert_eq!(page.items.iter().map(|p| p.metadata.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let named: Vec<_> = page.unread.iter().map(Unread::to_string).collect();
    assert_eq!(named, ["bad", "item 2"]);
}

#[tokio::test]
async fn an_event_that_does_not_decode_tells_its_name_and_where_to_resume() {
    let frame = br#"{"type":"MODIFIED","object":{"metadata":{"name":"x","namespace":"n","resourceVersion":"9"},"spec":{},"spec":{}}}
{"type":"NEW","object":{"metadata":{"name":"y","resourceVersion":"10"}}}
"#;
    let seen = watch::<Pod>(frame, Encoding::Json, WHOLE).await;
    assert!(
        matches!(&seen[0], Shown::Unread(u) if u.to_string() == "n/x" && u.resource_version == "9"),
        "{seen:?}"
    );
    assert_eq!(seen[1..], [Shown::Bookmark("10".into(), false)]);
    for frame in [
        b"{}\n".as_slice(),
        b"<html>\n",
        b"{\"type\":\"NEW\",\"object\":{}}\n",
        b"{\"type\":\"ADDED\"}\n",
        b"{\"type\":\"ADDED\",\"object\":null}\n",
        b"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n",
        b"\n",
    ] {
        assert_eq!(watch::<Pod>(frame, Encoding::Json, WHOLE).await, []);
        assert_eq!(watch::<Pod>(frame, Encoding::Protobuf, WHOLE).await, []);
    }
}

#[tokio::test]
async fn an_event_reads_the_same_whichever_field_comes_first() {
    let first =
        b"{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"7\"}}}\n";
    let last =
        b"{\"object\":{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"7\"}},\"type\":\"DELETED\"}\n";
    let seen = watch::<Pod>(first, Encoding::Json, WHOLE).await;
    assert!(matches!(&seen[..], [Shown::Object("DELETED", pod)] if pod.metadata.name == "x"));
    assert_eq!(seen, watch(last, Encoding::Json, WHOLE).await);
}

#[tokio::test]
async fn no_body_that_is_cut_off_is_taken_for_a_list() {
    // A protobuf body ends with two empty fields that nobody misses.
    for (name, encoding, tail) in [("pods-ml.json", Encoding::Json, 2), ("pods-ml.pb", Encoding::Protobuf, 5)]
    {
        let body = recording(&format!("protobuf/{name}"));
        for len in (0..body.len() - tail).step_by(997).chain([1, 3, 4, 5, body.len() - tail]) {
            assert!(list::<Pod>(&body[..len], encoding).await.is_err(), "{name} cut at {len}");
        }
    }
}

#[tokio::test]
async fn what_is_no_list_is_not_taken_for_an_empty_one() {
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"kind":"Status","metadata":{},"status":"Failure","code":500}"#,
        r#"{"metadata":{"resourceVersion":"1"}}"#,
        r#"{"items":[]}"#,
        "<html>login</html>",
    ] {
        assert!(list::<Pod>(body.as_bytes(), Encoding::Json).await.is_err(), "{body}");
        assert!(list::<Pod>(body.as_bytes(), Encoding::Protobuf).await.is_err(), "{body}");
    }
    let status = envelope("Status", RawList { metadata: None, items: vec![] }.encode_to_vec());
    let failure = list::<Pod>(&status, Encoding::Protobuf).await.unwrap_err();
    assert_eq!(failure.text, "the answer is not a list of Kubernetes objects");
    let null = br#"{"metadata":{"resourceVersion":"1"},"items":null}"#;
    assert!(list::<Pod>(null, Encoding::Json).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn what_is_said_of_a_bad_body_never_quotes_it() {
    for &(bad, _) in BAD {
        let lists = [
            [b"{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[", bad, b"]}"].concat(),
            [b"{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[", bad].concat(),
            bad.to_vec(),
        ];
        for body in lists {
            let said = format!("{:?}", list::<Pod>(&body, Encoding::Json).await.map(|page| page.unread));
            assert!(!said.contains("hunter2"), "{said}");
        }
        let frame = [b"{\"type\":\"ADDED\",\"object\":", bad, b"}\n"].concat();
        let said = format!("{:?}", watch::<Pod>(&frame, Encoding::Json, WHOLE).await);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_refusal_is_read_in_both_encodings() {
    #[derive(Clone, PartialEq, Message)]
    struct Details {
        #[prost(int32, tag = "5")]
        retry_after_seconds: i32,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(string, tag = "3")]
        message: String,
        #[prost(string, tag = "4")]
        reason: String,
        #[prost(message, optional, tag = "5")]
        details: Option<Details>,
        #[prost(int32, tag = "6")]
        code: i32,
    }
    let json = decode_status(
        br#"{"kind":"Status","message":"too many requests","reason":"TooManyRequests","details":{"retryAfterSeconds":3},"code":429}"#,
    );
    let status = Status {
        message: "too many requests".into(),
        reason: "TooManyRequests".into(),
        details: Some(Details { retry_after_seconds: 3 }),
        code: 429,
    };
    assert_eq!(json, decode_status(&envelope("Status", status.encode_to_vec())));
    assert_eq!(json.map(|s| (s.code, s.retry_after)), Some((429, 3)));
    assert_eq!(decode_status(b"<html>"), None);
    assert_eq!(decode_status(b"{}"), None);
}

#[test]
fn bytes_without_end_are_refused_rather_than_kept() {
    let mut frames = Frames::new(Encoding::Protobuf);
    frames.push(Bytes::from_static(b"\xff\xff\xff\xff"));
    assert!(frames.next_frame().is_err());
    let mut frames = Frames::new(Encoding::Json);
    let refused = (0..64).any(|_| {
        frames.push(vec![b' '; 1 << 20].into());
        frames.next_frame().is_err()
    });
    assert!(refused);
}
