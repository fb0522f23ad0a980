//! What each target does with any bytes: it must neither panic nor take long, and what it says is bounded, of one line and without
//! control characters. The fuzzer runs it, and an ordinary test with the seeds and with what was found.

use jiff::Timestamp;
use kubehealer_core::diagnosis::logs::{LogTail, MAX_BYTES, MAX_LINES, TailReader, classify};
use kubehealer_core::diagnosis::message::Message;
use kubehealer_core::diagnosis::{Context, Finding, Snapshot, Sources, diagnose, image, survey};
use kubehealer_core::objects::decode::{
    Encoding, Frames, JsonEvent, ProtobufEvent, Unwanted, json_object, protobuf_list, protobuf_object,
};
use kubehealer_core::objects::{Event, Node, Object, Pod};
use kubehealer_core::redact;
use kubehealer_rules::RuleSet;

use super::files;

/// A name, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 9] = [
    ("pod", pod),
    ("event", event),
    ("node", node),
    ("watch", watch),
    ("rules", rules),
    ("dump", dump),
    ("message", message),
    ("log", log),
    ("image_reference", image_reference),
];

fn now() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().expect("a time")
}

/// An object, in JSON if it begins with a brace, else in protobuf. What was decoded and is written again reads the same: no
/// secret shows up late, and nothing is cut twice.
fn object<T: Object + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let object: T = match std::str::from_utf8(data) {
        Ok(text) if data.starts_with(b"{") => json_object(text).ok()?,
        _ => protobuf_object(data).ok()?,
    };
    let again = protobuf_object::<T>(&object.encode_to_vec());
    assert!(again.as_ref() == Ok(&object), "decoded {object:?}\nand again {again:?}");
    Some(object)
}

/// One clean line of a bounded length.
fn check(text: &str, longest: usize) {
    assert!(text.len() <= longest, "{} bytes: {text}", text.len());
    assert_eq!(redact::clean(text), text);
}

fn check_findings(findings: &[Finding]) {
    for finding in findings {
        check(&finding.summary, 4096);
        check(&finding.cause.text, 4096);
        assert!(finding.evidence.len() <= 100 && finding.next_steps.len() <= 100);
        for text in finding.evidence.iter().map(|e| &e.text).chain(&finding.next_steps) {
            check(text, 4096);
        }
    }
}

/// A pod.
fn pod(data: &[u8]) {
    let Some(pod) = object::<Pod>(data) else { return };
    check_findings(&diagnose(&pod, &Context::pod_only(), now()).findings);
}

/// An event about a pod that does not start.
fn event(data: &[u8]) {
    let Some(mut event) = object::<Event>(data) else { return };
    let pod: Pod = serde_json::from_str(
        r#"{"metadata":{"namespace":"shop","name":"cart","uid":"u","creationTimestamp":"2026-11-30T09:00:00Z"},
            "spec":{"nodeName":"node-a","containers":[{"name":"cart","image":"cart:1"}]},
            "status":{"phase":"Pending","containerStatuses":[{"name":"cart","image":"cart:1","state":{"waiting":{"reason":"ContainerCreating"}}}]}}"#,
    )
    .expect("a pod");
    event.involved_object.uid = "u".to_owned();
    let snapshot = Snapshot {
        pods: vec![pod],
        events: vec![event.into()],
        sources: Sources::ALL,
        ..Snapshot::default()
    };
    check_findings(&survey(&snapshot, now()).findings);
}

/// A node.
fn node(data: &[u8]) {
    let Some(node) = object::<Node>(data) else { return };
    let snapshot = Snapshot { nodes: vec![node], sources: Sources::ALL, ..Snapshot::default() };
    check_findings(&survey(&snapshot, now()).findings);
}

/// The body of a watch; the first byte says where it is torn in two. The frames are the same as of the whole.
fn watch(data: &[u8]) {
    let Some((at, body)) = data.split_first() else { return };
    let (one, two) = body.split_at(body.len() * usize::from(*at) / 256);
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let whole = frames(encoding, &[body]);
        assert_eq!(frames(encoding, &[one, two]), whole);
        for frame in &whole {
            read_frame(encoding, frame);
        }
    }
    let _ = protobuf_list(body, |raw| drop(protobuf_object::<Pod>(raw)));
}

fn frames(encoding: Encoding, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut frames = Frames::new(encoding);
    let mut all = Vec::new();
    for chunk in chunks {
        frames.push(bytes::Bytes::copy_from_slice(chunk));
        while let Ok(Some(frame)) = frames.next_frame() {
            all.push(frame.to_vec());
        }
    }
    all
}

fn read_frame(encoding: Encoding, frame: &[u8]) {
    match encoding {
        Encoding::Json => {
            let Ok(text) = std::str::from_utf8(frame) else { return };
            if let Ok(event) = JsonEvent::read(text) {
                let _ = (event.resource_version(), event.bookmark());
                let _ = json_object::<Pod>(event.object.get());
            }
        }
        Encoding::Protobuf => {
            let Ok(event) = ProtobufEvent::read(frame) else { return };
            let _ = (event.bookmark(), event.status());
            let mut out = Vec::new();
            if Unwanted::leave_out(Unwanted::OF_POD, event.object, &mut out).is_some() {
                // What is left out is nothing that is read.
                assert_eq!(protobuf_object::<Pod>(event.object), protobuf_object::<Pod>(&out));
            }
        }
    }
}

/// A file of rules, applied to a pod that fails.
fn rules(data: &[u8]) {
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
            check_findings(&rules.apply(&pod, &[], findings, now()).findings);
        }
        Err(errors) => assert!(!errors.is_empty()),
    }
}

/// A dump of a cluster, in JSON or YAML.
fn dump(data: &[u8]) {
    let dump = files::read(&["-".into()], data);
    check_findings(&survey(&dump.snapshot, now()).findings);
    let _ = (files::account(&dump, &[]), dump.newest_time(now()));
}

/// A text as an error message. What is hidden once stays hidden.
fn message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let hidden = redact::redact_text(&text);
    assert!(hidden.len() <= redact::MAX_TEXT + redact::MAX_LINE);
    assert_eq!(redact::redact_text(&hidden), hidden);
    let message = Message::read(&text);
    for said in [message.cause(), message.detail()].iter().chain(&message.others()) {
        check(said, 1100);
    }
    let named = [message.object(), message.host(), message.peer()];
    named.iter().flatten().for_each(|name| check(name, 300));
    let _ = (message.innermost(), message.operation(), message.lookup());
}

/// A log: what is said of it is short, whatever is in it and in whatever pieces it comes.
fn log(data: &[u8]) {
    let mut reader = TailReader::new();
    data.chunks(7).for_each(|piece| reader.push(piece));
    let in_pieces = reader.finish();
    let tail = LogTail::from_bytes(data);
    if data.len() < MAX_BYTES {
        assert_eq!(in_pieces, tail);
    }
    assert!(tail.lines().len() <= MAX_LINES);
    assert!(tail.lines().iter().map(String::len).sum::<usize>() <= 4 * MAX_BYTES);
    for line in tail.lines() {
        assert_eq!(redact::redact(line), *line);
    }
    for exit_code in [None, Some(0), Some(1), Some(137)] {
        if let Some(verdict) = classify(&tail, exit_code) {
            check(&verdict.text, 1024);
            check(&verdict.line, 1024);
        }
    }
}

/// An image, and in the next line what its pull came to.
fn image_reference(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, message) = text.split_once('\n').unwrap_or((&text, "not found"));
    check(&image::registry_of(name), 300);
    if let Some(error) = image::classify(name, "node-a", message) {
        check(&error.short, 4096);
        check(&error.text, 4096);
    }
}
