//! The columns that kubectl prints for pods and events; for all other kinds it gets plain objects and prints names.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Object;
use super::resources::{EVENTS, PODS};

/// Name, JSON type, priority: above 0 only with `-o wide`.
const POD: [(&str, &str, u8); 7] = [
    ("Name", "string", 0),
    ("Ready", "string", 0),
    ("Status", "string", 0),
    ("Restarts", "string", 0),
    ("Age", "string", 0),
    ("IP", "string", 1),
    ("Node", "string", 1),
];
const EVENT: [(&str, &str, u8); 5] = [
    ("Last Seen", "string", 0),
    ("Type", "string", 0),
    ("Reason", "string", 0),
    ("Object", "string", 0),
    ("Message", "string", 0),
];

/// Whether there are columns for this kind.
pub(super) fn has(resource: usize) -> bool {
    matches!(resource, PODS | EVENTS)
}

/// A `meta.k8s.io/v1` Table of the objects.
pub(super) fn table(resource: usize, objects: &[Arc<Object>], columns: bool, now: Timestamp) -> Value {
    let definitions: &[(&str, &str, u8)] = if resource == PODS { &POD } else { &EVENT };
    let definitions: Vec<Value> = definitions
        .iter()
        .map(|(name, kind, priority)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let value = object.value();
            let cells = if resource == PODS { pod(&value, now) } else { event(&value, now) };
            let about = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]
            });
            json!({"cells": cells, "object": about})
        })
        .collect();
    let version = objects.last().map_or_else(String::new, |object| object.version.to_string());
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": if columns { definitions } else { Vec::new() }, "rows": rows
    })
}

fn event(event: &Value, now: Timestamp) -> Value {
    let last = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    let seen =
        last.iter().find_map(|time| time.as_str()).map_or_else(|| "<unknown>".to_owned(), |t| age(t, now));
    let about = &event["involvedObject"];
    let word = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let object = format!("{}/{}", word(&about["kind"]).to_lowercase(), word(&about["name"]));
    json!([seen, event["type"], event["reason"], object, word(&event["message"]).trim()])
}

fn list<'a>(pod: &'a Value, name: &str) -> impl DoubleEndedIterator<Item = &'a Value> + Clone {
    pod["status"][name].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn pod(pod: &Value, now: Timestamp) -> Value {
    let count = |name: &str| pod["spec"][name].as_array().map_or(0, Vec::len);
    let apps = list(pod, "containerStatuses");
    let ready = apps.clone().filter(|c| c["ready"] == true).count();
    let restarts: i64 = apps.clone().filter_map(|c| c["restartCount"].as_i64()).sum();
    let last = apps.filter_map(|c| c["lastState"]["terminated"]["finishedAt"].as_str()).max();
    let restarts = match last {
        Some(last) if restarts > 0 => format!("{restarts} ({} ago)", age(last, now)),
        _ => restarts.to_string(),
    };
    let ready = format!("{ready}/{}", count("containers"));
    let or_none = |value: &Value| value.as_str().filter(|s| !s.is_empty()).unwrap_or("<none>").to_owned();
    let created = pod["metadata"]["creationTimestamp"].as_str().map_or_else(String::new, |t| age(t, now));
    json!([
        pod["metadata"]["name"],
        ready,
        word(pod, count("initContainers")),
        restarts,
        created,
        or_none(&pod["status"]["podIP"]),
        or_none(&pod["spec"]["nodeName"])
    ])
}

/// The STATUS column: kubectl's one word for the state of a pod, which is no field of the API.
fn word(pod: &Value, inits: usize) -> String {
    let status = &pod["status"];
    let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let mut word =
        text(&status["reason"]).or_else(|| text(&status["phase"])).unwrap_or_else(|| "Unknown".to_owned());
    let gated =
        list(pod, "conditions").any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    if gated {
        "SchedulingGated".clone_into(&mut word);
    }
    let sidecar = |name: &Value| {
        let specs = pod["spec"]["initContainers"].as_array().into_iter().flatten();
        specs.filter(|c| c["name"] == *name).any(|c| c["restartPolicy"] == "Always")
    };
    let ended = |state: &Value| {
        text(&state["reason"]).unwrap_or_else(|| match state["signal"].as_i64() {
            Some(signal) if signal != 0 => format!("Signal:{signal}"),
            _ => format!("ExitCode:{}", state["exitCode"].as_i64().unwrap_or(0)),
        })
    };
    let mut initializing = false;
    for (at, init) in list(pod, "initContainerStatuses").enumerate() {
        let state = &init["state"];
        if state["terminated"]["exitCode"] == 0 || (sidecar(&init["name"]) && init["started"] == true) {
            continue;
        }
        let waiting = text(&state["waiting"]["reason"]).filter(|reason| reason != "PodInitializing");
        word = match (state["terminated"].is_object(), waiting) {
            (true, _) => format!("Init:{}", ended(&state["terminated"])),
            (false, Some(reason)) => format!("Init:{reason}"),
            (false, None) => format!("Init:{at}/{inits}"),
        };
        initializing = true;
        break;
    }
    if !initializing {
        let mut running = false;
        for container in list(pod, "containerStatuses").rev() {
            let state = &container["state"];
            if let Some(reason) = text(&state["waiting"]["reason"]) {
                word = reason;
            } else if state["terminated"].is_object() {
                word = ended(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
            }
        }
        if word == "Completed" && running {
            let ready = list(pod, "conditions").any(|c| c["type"] == "Ready" && c["status"] == "True");
            if ready { "Running" } else { "NotReady" }.clone_into(&mut word);
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let lost = status["reason"] == "NodeLost";
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        if lost {
            "Unknown".clone_into(&mut word);
        } else if !over {
            "Terminating".clone_into(&mut word);
        }
    }
    word
}

/// `5s`, `2m30s`, `3h`, `2d`: kubectl's way to shorten.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else {
        return "<invalid>".to_owned();
    };
    let seconds = now.as_second() - since.as_second();
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{}m{}s", seconds / 60, seconds % 60),
        120..10800 => format!("{}m", seconds / 60),
        10800..28800 if seconds % 3600 >= 60 => {
            format!("{}h{}m", seconds / 3600, seconds % 3600 / 60)
        }
        10800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}
