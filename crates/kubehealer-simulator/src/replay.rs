//! Recorded watch streams, played into the cluster in their own order and, if wanted, at their own pace.
//!
//! A recording is what `kubectl get pods -A -w -o json --output-watch-events`, or a raw watch, prints: JSON values, on one line
//! each or on many, of `{"type": ..., "object": ...}`. Plain objects and lists are taken as they are, too. Streams of one
//! cluster (pods and events, say) are merged by resourceVersion, which counts all writes of a cluster.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::cluster::{self, Cluster, Log};
use super::resources::{RESOURCES, Resource};

#[derive(Debug, Clone)]
pub struct Line {
    /// The newest time that this or an earlier line knows of: about when it was written.
    pub at: Timestamp,
    /// Whether the object is gone.
    pub deleted: bool,
    /// The object with `kind` and `apiVersion`.
    pub object: Value,
}

/// A whole recording, in order.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// In the order of their resourceVersions.
    pub lines: Vec<Line>,
}

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON; the text names line and column.
    #[error("value {number} of the recording cannot be read: {error}")]
    Json {
        /// Counted from 1.
        number: usize,
        error: serde_json::Error,
    },
    /// There is nothing to play in it.
    #[error(
        "the recording holds no object: it should hold values like {{\"type\": \"ADDED\", \"object\": ...}}"
    )]
    Empty,
    /// An object cannot be written.
    #[error("value {number} of the recording: {error}")]
    Object {
        /// Counted from 1.
        number: usize,
        error: cluster::Error,
    },
}

impl Recording {
    /// Reads one or more streams of one cluster.
    pub fn read<R: Read>(streams: impl IntoIterator<Item = R>) -> Result<Self, Error> {
        let mut lines = Vec::new();
        for stream in streams {
            let values = serde_json::Deserializer::from_reader(stream).into_iter::<Value>();
            for (number, value) in (1..).zip(values) {
                let mut value = value.map_err(|error| Error::Json { number, error })?;
                let kind = value["type"].as_str().unwrap_or("").to_owned();
                if matches!(kind.as_str(), "BOOKMARK" | "ERROR") {
                    continue;
                }
                let mut object = if value["object"].is_object() { value["object"].take() } else { value };
                let items = object.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
                let list_kind = object["kind"].as_str().unwrap_or("").trim_end_matches("List").to_owned();
                let objects = match items {
                    Some(items) => items,
                    None => vec![object],
                };
                for mut object in objects.into_iter().filter(Value::is_object) {
                    if object["kind"].is_null() {
                        object["kind"] = Value::from(list_kind.as_str());
                        object["apiVersion"] = Value::Null;
                    }
                    known(&object).map_err(|error| Error::Object { number, error })?;
                    lines.push(Line {
                        at: newest(&object).unwrap_or(Timestamp::MIN),
                        deleted: kind == "DELETED",
                        object,
                    });
                }
            }
        }
        if lines.is_empty() {
            return Err(Error::Empty);
        }
        lines.sort_by_key(|line| version(&line.object));
        let mut at = Timestamp::MIN;
        for line in &mut lines {
            at = at.max(line.at);
            line.at = at;
        }
        Ok(Self { lines })
    }

    /// When the play begins: at the first line, but not more than a minute before the first change to what was there.
    pub fn start(&self) -> Timestamp {
        let mut seen = std::collections::HashSet::new();
        let change = self
            .lines
            .iter()
            .find(|line| line.deleted || !seen.insert(line.object["metadata"]["uid"].to_string()));
        let (first, last) = (self.lines.first().map(|line| line.at), self.lines.last().map(|line| line.at));
        let first = first.unwrap_or(Timestamp::UNIX_EPOCH);
        let before = change
            .map(|line| line.at)
            .or(last)
            .and_then(|at| at.checked_sub(SignedDuration::from_secs(60)).ok());
        before.map_or(first, |before| before.max(first))
    }

    /// Plays it, `speed` times as fast as it was, on the cluster's clock, which shows the recorded time from then on.
    pub async fn play(&self, cluster: &Cluster, speed: f64) {
        cluster.set_clock(self.start(), speed);
        for line in &self.lines {
            let wait = line.at.duration_since(cluster.now());
            if let Some(wait) = Duration::try_from(wait).ok().filter(|wait| !wait.is_zero()) {
                cluster.sleep(wait).await;
            }
            line.apply(cluster);
        }
    }
}

impl Line {
    /// Writes this line into the cluster, at its own resourceVersion if that is newer than all others there.
    pub fn apply(&self, cluster: &Cluster) {
        let meta = &self.object["metadata"];
        if self.deleted {
            let word = |key: &str| meta[key].as_str().unwrap_or("").to_owned();
            let kind = self.object["kind"].as_str().unwrap_or("");
            if let Some(at) = Resource::of_kind("", kind) {
                cluster.remove(
                    RESOURCES[at].plural,
                    &word("namespace"),
                    &word("name"),
                    Some(version(&self.object)),
                );
            }
        } else {
            // Checked when it was read.
            let _ = cluster.apply_recorded(self.object.clone());
        }
    }
}

/// Fills a cluster with what a folder holds: a list of objects in each `*.json`, as `kubectl get KIND -A -o json` prints it, and
/// container logs in `logs/NAMESPACE.POD.CONTAINER.previous.log` and `...current.log`. The clock is left alone.
pub fn load(cluster: &Cluster, folder: &Path) -> Result<(), LoadError> {
    let files = |folder: &Path, suffix: &str| -> Result<Vec<PathBuf>, LoadError> {
        let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        let mut paths = read().map_err(|error| LoadError::Read { path: folder.to_owned(), error })?;
        paths.retain(|path| path.to_string_lossy().ends_with(suffix));
        paths.sort();
        Ok(paths)
    };
    let read = |path: &Path| fs::read(path).map_err(|error| LoadError::Read { path: path.to_owned(), error });
    let mut lists = Vec::new();
    for path in files(folder, ".json")? {
        let value: Value =
            serde_json::from_slice(&read(&path)?).map_err(|error| LoadError::Json { path, error })?;
        // `version.json` and the like.
        if value["items"].is_array() {
            lists.push(value);
        }
    }
    cluster.load(lists)?;
    let logs = folder.join("logs");
    for path in if logs.is_dir() { files(&logs, ".log")? } else { Vec::new() } {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let previous = name.ends_with(".previous.log");
        let bare = name.trim_end_matches(".log").trim_end_matches(".previous").trim_end_matches(".current");
        let parts = bare.split_once('.').and_then(|(ns, rest)| Some((ns, rest.rsplit_once('.')?)));
        if let Some((namespace, (pod, container))) = parts {
            cluster.set_log(namespace, pod, container, previous, Log::Text(read(&path)?.into()));
        }
    }
    Ok(())
}

/// What is wrong with a folder of recorded objects.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It, or a file in it, cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        error: io::Error,
    },
    /// A file is not JSON.
    #[error("{} is not JSON: {error}", path.display())]
    Json { path: PathBuf, error: serde_json::Error },
    /// An object cannot be written.
    #[error(transparent)]
    Object(#[from] cluster::Error),
}

fn known(object: &Value) -> Result<(), cluster::Error> {
    let word = |key: &str| object[key].as_str().unwrap_or("").to_owned();
    let Some(at) = Resource::of_kind(&word("apiVersion"), &word("kind")) else {
        return Err(cluster::Error::UnknownKind { api_version: word("apiVersion"), kind: word("kind") });
    };
    match object["metadata"]["name"].as_str() {
        None | Some("") => Err(cluster::Error::NoName(RESOURCES[at].kind)),
        Some(_) => Ok(()),
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The newest of the times at which something wrote to this object. The time of a deletion is not one: it lies ahead.
fn newest(value: &Value) -> Option<Timestamp> {
    const TIMES: [&str; 10] = [
        "creationTimestamp",
        "time",
        "lastTransitionTime",
        "startTime",
        "startedAt",
        "finishedAt",
        "firstTimestamp",
        "lastTimestamp",
        "eventTime",
        "lastObservedTime",
    ];
    match value {
        Value::Array(list) => list.iter().filter_map(newest).max(),
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key != "spec" && *key != "annotations")
            .filter_map(|(key, value)| match value.as_str() {
                Some(text) if TIMES.contains(&key.as_str()) => text.parse().ok(),
                Some(_) => None,
                None => newest(value),
            })
            .max(),
        _ => None,
    }
}
