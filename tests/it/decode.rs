//! Lists and watches are read alike in both encodings, and one bad object spoils nothing but itself.

use std::path::Path;

use bytes::Bytes;
use kubehealer::objects::decode::{
    Encoding, Frames, ListEnd, ListError, Unread, WatchEvent, decode_list, decode_status, decode_watch_frame,
};
use kubehealer::objects::{Event, Object, Pod};
use prost::Message;

fn recording(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings").join(path)).unwrap()
}

fn list<T: Object>(body: &[u8], encoding: Encoding) -> Result<(Vec<T>, ListEnd), ListError> {
    let mut items = Vec::new();
    decode_list(body, encoding, |item| items.push(item)).map(|end| (items, end))
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

#[test]
fn recorded_lists_give_the_same_items_in_both_encodings() {
    fn equal<T: Object + std::fmt::Debug>(name: &str) {
        let json = list::<T>(&recording(&format!("protobuf/{name}.json")), Encoding::Json).unwrap();
        let binary = list::<T>(&recording(&format!("protobuf/{name}.pb")), Encoding::Protobuf).unwrap();
        assert!(!json.0.is_empty());
        assert_eq!(json.0.len(), binary.0.len());
        for (a, b) in json.0.iter().zip(&binary.0) {
            assert_eq!(a, b);
        }
        assert_eq!(json.1, binary.1);
        assert!(!json.1.resource_version.is_empty());
    }
    for namespace in ["platform", "payments", "ml", "shop", "batch"] {
        equal::<Pod>(&format!("pods-{namespace}"));
    }
    equal::<Event>("events");
}

fn watch(bytes: &[u8], encoding: Encoding, chunk: usize) -> Vec<WatchEvent<Pod>> {
    let mut frames = Frames::new(encoding);
    let mut events = Vec::new();
    for chunk in bytes.chunks(chunk) {
        frames.push(Bytes::copy_from_slice(chunk));
        while let Some(frame) = frames.next_frame().unwrap() {
            events.push(decode_watch_frame(frame, encoding).unwrap());
        }
    }
    assert!(!frames.is_within_frame());
    events
}

#[test]
fn a_recorded_watch_gives_the_same_events_in_both_encodings_however_its_bytes_arrive() {
    let json = watch(&recording("protobuf/watch-platform.jsonl"), Encoding::Json, 1 << 20);
    assert_eq!(json.len(), 37);
    let ends = |e: &&WatchEvent<Pod>| matches!(e, WatchEvent::Bookmark { initial_events_end: true, resource_version } if !resource_version.is_empty());
    assert_eq!(json.iter().filter(ends).count(), 1);
    for chunk in [1, 7, 4096, 1 << 20] {
        assert!(watch(&recording("protobuf/watch-platform.jsonl"), Encoding::Json, chunk) == json, "{chunk}");
        assert!(
            watch(&recording("protobuf/watch-platform.pb"), Encoding::Protobuf, chunk) == json,
            "{chunk}"
        );
    }
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

#[test]
fn an_item_that_does_not_decode_is_counted_named_and_skipped() {
    for &(bad, name) in BAD {
        let body = [
            br#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"next"},"items":["#.as_slice(),
            br#"{"metadata":{"name":"a"}},{"metadata":{"name":"b"}},"#,
            bad,
            br#",{"metadata":{"name":"c"}}]}"#,
        ]
        .concat();
        let (pods, end) = list::<Pod>(&body, Encoding::Json).unwrap();
        let names: Vec<_> = pods.iter().map(|p| p.metadata.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"], "{name}");
        assert_eq!((end.resource_version.as_str(), end.continue_token.as_str()), ("7", "next"));
        assert_eq!(end.undecodable.count, 1, "{name}");
        let unread = &end.undecodable.named[0];
        assert_eq!((unread.position, unread.to_string().as_str()), (2, name));
    }
}

#[test]
fn a_protobuf_item_that_does_not_decode_is_counted_named_and_skipped() {
    let pod = |name: &str| {
        let mut pod = Pod::default();
        pod.metadata.name = name.to_owned();
        pod.encode_to_vec()
    };
    // A status (field 3) whose phase (field 1) is no UTF-8.
    let bad = [pod("bad"), vec![0x1a, 3, 0x0a, 1, 0xff]].concat();
    let body = protobuf_list(vec![pod("a"), bad, vec![0xff; 40], pod("b")]);
    let (pods, end) = list::<Pod>(&body, Encoding::Protobuf).unwrap();
    assert_eq!(pods.iter().map(|p| p.metadata.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(end.undecodable.count, 2);
    let named: Vec<_> = end.undecodable.named.iter().map(Unread::to_string).collect();
    assert_eq!(named, ["bad", "item 2"]);
}

#[test]
fn an_event_that_does_not_decode_tells_its_name_and_where_to_go_on() {
    let frame = br#"{"type":"MODIFIED","object":{"metadata":{"name":"x","namespace":"n","resourceVersion":"9"},"spec":{},"spec":{}}}"#;
    let unread = decode_watch_frame::<Pod>(frame, Encoding::Json).unwrap_err();
    assert_eq!((unread.to_string().as_str(), unread.resource_version.as_str()), ("n/x", "9"));
    for frame in [b"".as_slice(), b"{}", b"<html>", br#"{"type":"NEW","object":{}}"#, br#"{"type":"ADDED"}"#]
    {
        assert!(decode_watch_frame::<Pod>(frame, Encoding::Json).is_err());
        assert!(decode_watch_frame::<Pod>(frame, Encoding::Protobuf).is_err());
    }
}

#[test]
fn an_event_reads_the_same_whichever_field_comes_first() {
    let first = br#"{"type":"DELETED","object":{"metadata":{"name":"x"}}}"#;
    let last = br#"{"object":{"metadata":{"name":"x"}},"type":"DELETED"}"#;
    let event = decode_watch_frame::<Pod>(first, Encoding::Json).unwrap();
    assert!(matches!(&event, WatchEvent::Deleted(pod) if pod.metadata.name == "x"));
    assert_eq!(event, decode_watch_frame(last, Encoding::Json).unwrap());
}

#[test]
fn no_body_that_is_cut_off_is_taken_for_a_list() {
    // A protobuf body ends with two empty fields that nobody misses.
    for (name, encoding, tail) in [("pods-ml.json", Encoding::Json, 2), ("pods-ml.pb", Encoding::Protobuf, 5)]
    {
        let body = recording(&format!("protobuf/{name}"));
        for len in (0..body.len() - tail).step_by(997).chain([1, 3, 4, 5, body.len() - tail]) {
            assert!(list::<Pod>(&body[..len], encoding).is_err(), "{name} cut at {len}");
        }
    }
}

#[test]
fn what_is_no_list_is_not_taken_for_an_empty_one() {
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"kind":"Status","metadata":{},"status":"Failure","code":500}"#,
        r#"{"metadata":{"resourceVersion":"1"}}"#,
        r#"{"items":[]}"#,
        "<html>login</html>",
    ] {
        assert!(list::<Pod>(body.as_bytes(), Encoding::Json).is_err(), "{body}");
        assert!(list::<Pod>(body.as_bytes(), Encoding::Protobuf).is_err(), "{body}");
    }
    let status = envelope("Status", RawList { metadata: None, items: vec![] }.encode_to_vec());
    assert_eq!(list::<Pod>(&status, Encoding::Protobuf).unwrap_err(), ListError::NoList);
    let null = br#"{"metadata":{"resourceVersion":"1"},"items":null}"#;
    assert!(list::<Pod>(null, Encoding::Json).unwrap().0.is_empty());
}

#[test]
fn what_is_said_of_a_bad_body_never_quotes_it() {
    for &(bad, _) in BAD {
        let lists = [
            [b"{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[", bad, b"]}"].concat(),
            [b"{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[", bad].concat(),
            bad.to_vec(),
        ];
        for body in lists {
            let said = format!("{:?}", list::<Pod>(&body, Encoding::Json).map(|(_, end)| end));
            assert!(!said.contains("hunter2"), "{said}");
        }
        let frame = [b"{\"type\":\"ADDED\",\"object\":", bad, b"}"].concat();
        let said = format!("{:?}", decode_watch_frame::<Pod>(&frame, Encoding::Json).map(|_| ()));
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
