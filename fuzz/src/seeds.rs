//! Inputs to begin with: the samples and recordings of the tests, and what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kubehealer_core::objects::decode::protobuf_list;
use serde_json::{Value, json};

/// Inputs by target.
pub type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// What the tests hold, by target.
pub fn seeds(root: &Path) -> Seeds {
    let mut seeds = Seeds::new();
    let data = root.join("tests/data");
    for path in files(&data.join("field/learn")).into_iter().chain(files(&data.join("recordings/final"))) {
        let bytes = fs::read(&path).expect("a readable file");
        match path.extension().and_then(|e| e.to_str()) {
            Some("log") => put(&mut seeds, "log", bytes),
            Some("json") if !path.ends_with("truth.json") => objects(&mut seeds, &bytes),
            _ => {}
        }
    }
    for path in files(&data.join("recordings/protobuf")) {
        protobuf(&mut seeds, &path);
    }
    for path in files(&root.join("examples/rules")).into_iter().chain(files(&data.join("rules"))) {
        let bytes = fs::read(&path).expect("a readable file");
        put(&mut seeds, "dump", bytes.clone());
        put(&mut seeds, "rules", bytes);
    }
    for sample in fs::read_to_string(data.join("logs.txt")).expect("samples of logs").split("\n## ") {
        put(&mut seeds, "log", sample.split_once('\n').map_or("", |(_, log)| log));
    }
    seeds
}

/// What the fuzzer found once, by target: `fuzz/found/TARGET/NAME`.
pub fn found(root: &Path) -> Seeds {
    let mut found = Seeds::new();
    for (target, _) in super::targets::TARGETS {
        for path in files(&root.join("fuzz/found").join(target)) {
            put(&mut found, target, fs::read(path).expect("a readable file"));
        }
    }
    found
}

fn put(seeds: &mut Seeds, target: &'static str, data: impl Into<Vec<u8>>) {
    seeds.entry(target).or_default().insert(data.into());
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The objects of a document in JSON, one by one.
fn objects(seeds: &mut Seeds, bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return };
    let items = match document.get("items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![document],
    };
    for mut item in items {
        if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let text = item.to_string();
        match item["kind"].as_str() {
            Some("Pod") => {
                put(seeds, "watch", format!("\u{7f}{}\n", json!({"type": "MODIFIED", "object": item})));
                put(seeds, "dump", text.clone());
                put(seeds, "pod", text);
                for status in item["status"]["containerStatuses"].as_array().into_iter().flatten() {
                    let (image, why) =
                        (status["image"].as_str(), status["state"]["waiting"]["message"].as_str());
                    put(seeds, "image_reference", [image, why].map(Option::unwrap_or_default).join("\n"));
                }
            }
            Some("Event") => {
                put(seeds, "message", item["message"].as_str().unwrap_or_default());
                put(seeds, "event", text);
            }
            Some("Node") => put(seeds, "node", text),
            _ => {}
        }
    }
}

/// A recorded list or watch in protobuf.
fn protobuf(seeds: &mut Seeds, path: &Path) {
    let bytes = fs::read(path).expect("a readable file");
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.ends_with(".pb") {
        return;
    }
    let mut rest = bytes.as_slice();
    if name.starts_with("watch") {
        while let Some(length) = rest.first_chunk().map(|length| 4 + u32::from_be_bytes(*length) as usize) {
            let (frame, behind) = rest.split_at(length);
            put(seeds, "watch", [&[127], frame].concat());
            rest = behind;
        }
    } else {
        let target = if name.starts_with("events") { "event" } else { "pod" };
        protobuf_list(rest, |object| put(seeds, target, object)).expect("a recorded list");
    }
}
