//! What each target does with any bytes: it must neither panic nor take long, and what it says is bounded and hides secrets.

use kubehealer_core::diagnosis::logs::{LogTail, MAX_BYTES, MAX_LINES, classify};
use kubehealer_core::diagnosis::message::Message;
use kubehealer_core::diagnosis::{Context, Snapshot, Sources, diagnose, image, survey};
use kubehealer_core::objects::decode::{
    Encoding, Frames, JsonEvent, ProtobufEvent, Unwanted, json_object, protobuf_list, protobuf_object,
};
use kubehealer_core::objects::{Event, Node, Object, Pod};
use kubehealer_rules::RuleSet;

fn now() -> jiff::Timestamp {
    "2026-11-30T10:00:00Z".parse().expect("a time")
}

/// An object, in JSON if it begins with a brace, else in protobuf.
fn object<T: Object>(data: &[u8]) -> Option<T> {
    match std::str::from_utf8(data) {
        Ok(text) if data.starts_with(b"{") => json_object(text).ok(),
        _ => protobuf_object(data).ok(),
    }
}

/// A pod.
pub fn pod(data: &[u8]) {
    let Some(pod) = object::<Pod>(data) else { return };
    diagnose(&pod, &Context::pod_only(), now());
}

/// An event about a pod that does not start.
pub fn event(data: &[u8]) {
    let Some(mut event) = object::<Event>(data) else { return };
    let pod: Pod = serde_json::from_str(
        r#"{"metadata":{"namespace":"shop","name":"cart","uid":"u","creationTimestamp":"2026-11-30T09:00:00Z"},
            "spec":{"nodeName":"node-a","containers":[{"name":"cart","image":"cart:1"}]},
            "status":{"phase":"Pending","containerStatuses":[{"name":"cart","image":"cart:1","state":{"waiting":{"reason":"ContainerCreating"}}}]}}"#,
    )
    .expect("a pod");
    event.involved_object.uid = "u".to_owned();
    let snapshot =
        Snapshot { pods: vec![pod], events: vec![event], sources: Sources::ALL, ..Snapshot::default() };
    survey(&snapshot, now());
}

/// A node, with a pod on it.
pub fn node(data: &[u8]) {
    let Some(node) = object::<Node>(data) else { return };
    let snapshot = Snapshot { nodes: vec![node], sources: Sources::ALL, ..Snapshot::default() };
    survey(&snapshot, now());
}

/// The body of a watch that comes in two pieces; the first byte says where it is torn. What looks like a list is read as one.
pub fn watch(data: &[u8]) {
    let Some((at, body)) = data.split_first() else { return };
    let (one, two) = body.split_at(body.len() * usize::from(*at) / 256);
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let mut frames = Frames::new(encoding);
        let mut out = Vec::new();
        for piece in [one, two] {
            frames.push(bytes::Bytes::copy_from_slice(piece));
            while let Ok(Some(frame)) = frames.next_frame() {
                match encoding {
                    Encoding::Json => {
                        let Ok(text) = std::str::from_utf8(frame) else { continue };
                        if let Ok(event) = JsonEvent::read(text) {
                            let _ = (event.resource_version(), event.bookmark());
                            let _ = json_object::<Pod>(event.object.get());
                        }
                    }
                    Encoding::Protobuf => {
                        if let Ok(event) = ProtobufEvent::read(frame) {
                            let _ = (event.bookmark(), event.status());
                            if Unwanted::leave_out(Unwanted::OF_POD, event.object, &mut out).is_some() {
                                // What is left out is nothing that is read.
                                let (whole, pruned) = (protobuf_object::<Pod>(event.object), protobuf_object::<Pod>(&out));
                                assert_eq!(whole.is_ok(), pruned.is_ok());
                            }
                        }
                    }
                }
            }
        }
    }
    let _ = protobuf_list(body, |raw| drop(protobuf_object::<Pod>(raw)));
}

/// A file of rules, applied to a pod that fails.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pod: Pod = serde_json::from_str(
        r#"{"metadata":{"namespace":"shop","name":"cart","uid":"u","labels":{"app":"cart"}},
            "spec":{"containers":[{"name":"cart","image":"cart:1"}]},
            "status":{"phase":"Running","containerStatuses":[{"name":"cart","restartCount":7,
                "state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 5m0s"}},
                "lastState":{"terminated":{"exitCode":1,"reason":"Error","startedAt":"2026-11-30T09:00:00Z","finishedAt":"2026-11-30T09:01:00Z"}}}]}}"#,
    )
    .expect("a pod");
    match RuleSet::load(&[("rules.yaml".to_owned(), text.to_owned())]) {
        Ok(rules) => {
            let findings = diagnose(&pod, &Context::pod_only(), now()).findings;
            rules.apply(&pod, &[], findings, now());
        }
        Err(errors) => assert!(!errors.is_empty()),
    }
}

/// A dump of a cluster, in JSON or YAML.
#[cfg(feature = "dump")]
pub fn dump(data: &[u8]) {
    use kubehealer::files;
    let dump = files::read(&["-".into()], data);
    survey(&dump.snapshot, now());
    let _ = (files::account(&dump), dump.newest_time(now()));
}

/// A text as an error message.
pub fn message(data: &[u8]) {
    let message = Message::read(&String::from_utf8_lossy(data));
    assert!(message.cause().chars().count() <= 8192 && message.detail().chars().count() <= 8192);
    let _ = (message.others(), message.object(), message.host());
    let _ = (message.innermost(), message.operation(), message.peer(), message.lookup());
}

/// A log: what is said of it is short, whatever is in it.
pub fn log(data: &[u8]) {
    let tail = LogTail::from_bytes(data);
    assert!(tail.lines().len() <= MAX_LINES);
    assert!(tail.lines().iter().map(String::len).sum::<usize>() <= 4 * MAX_BYTES);
    for exit_code in [None, Some(1), Some(137)] {
        if let Some(verdict) = classify(&tail, exit_code) {
            assert!(verdict.text.len() <= 1024 && verdict.line.len() <= 1024);
        }
    }
}

/// An image, and in the next line what its pull came to.
pub fn image_reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, message) = text.split_once('\n').unwrap_or((&text, "not found"));
    let _ = image::registry_of(name);
    let _ = image::classify(name, "node-a", message);
}
