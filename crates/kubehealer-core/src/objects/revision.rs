//! The pod template of a revision, as a flat list of settings that can be compared. Read as JSON only.
//!
//! Of what may hold a secret (`env`, `command`, `args`, annotations) a digest is kept and no value: it tells that something
//! changed, not what.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Object, ObjectMeta, lenient};
use crate::redact::redact_in_place;

/// A ReplicaSet or a ControllerRevision.
#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Revision {
    /// Name, owner, and the revision of a ReplicaSet.
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "lenient::object")]
    pub metadata: ObjectMeta,
    /// Of a ControllerRevision.
    #[prost(int64, tag = "2")]
    #[serde(deserialize_with = "lenient::int64")]
    pub revision: i64,
    /// What its template sets.
    #[prost(message, repeated, tag = "3")]
    #[serde(rename = "spec", alias = "data", deserialize_with = "settings")]
    pub settings: Vec<Setting>,
    /// Of a ReplicaSet.
    #[prost(message, required, tag = "4")]
    #[serde(deserialize_with = "lenient::object")]
    pub status: RevisionStatus,
}

/// The status of a ReplicaSet, as far as it tells whether the revision works.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Pods that are ready.
    #[prost(int32, tag = "1")]
    #[serde(deserialize_with = "lenient::int32")]
    pub ready_replicas: i32,
}

impl Object for Revision {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn compact(&mut self) {
        self.settings.iter_mut().filter(|s| !s.hidden).for_each(|s| redact_in_place(&mut s.value));
        self.metadata.compact();
    }
}

impl Revision {
    /// Its number: the higher, the newer.
    pub fn number(&self) -> i64 {
        let of_set = self.metadata.annotation(super::Annotation::REVISION).and_then(|n| n.parse().ok());
        of_set.unwrap_or(self.revision)
    }
}

/// One thing that a template sets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message, Deserialize, Serialize)]
pub struct Setting {
    /// Empty for what is set for the whole pod.
    #[prost(string, tag = "1")]
    pub container: String,
    /// Such as `memory limit`, `image` or `env LOG_LEVEL`.
    #[prost(string, tag = "2")]
    pub name: String,
    /// As it is written, or a digest.
    #[prost(string, tag = "3")]
    pub value: String,
    /// The value is a digest.
    #[prost(bool, tag = "4")]
    pub hidden: bool,
}

/// Probes, with the numbers of each that are shown.
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// Settings of the pod that are shown as they are.
const SHOWN: [&str; 9] = [
    "serviceAccountName",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "priorityClassName",
    "runtimeClassName",
    "hostNetwork",
    "hostPID",
    "dnsPolicy",
    "schedulerName",
];
/// Settings of which only a change is told.
const HIDDEN_OF_POD: [&str; 5] =
    ["affinity", "tolerations", "topologySpreadConstraints", "imagePullSecrets", "hostAliases"];
const HIDDEN_OF_CONTAINER: [&str; 6] = ["command", "args", "envFrom", "ports", "lifecycle", "workingDir"];

fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Setting>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    // Written by this program.
    if value.is_array() {
        return Ok(serde_json::from_value(value).unwrap_or_default());
    }
    // A ReplicaSet has it in its spec, a ControllerRevision in the spec within its data.
    let template = value.get("template").or_else(|| value.pointer("/spec/template")).unwrap_or(&Value::Null);
    let mut found = Found { container: String::new(), settings: Vec::new() };
    found.entries("annotation", &template["metadata"]["annotations"], true);
    found.pod(&template["spec"]);
    found.settings.sort();
    Ok(found.settings)
}

/// The key of the digests, another one in each process: who has a digest cannot try values.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The settings that were found so far.
struct Found {
    container: String,
    settings: Vec<Setting>,
}

impl Found {
    fn add(&mut self, name: String, value: &Value, hidden: bool) {
        let value = match (hidden, value) {
            (_, Value::Null) => return,
            (false, Value::String(text)) => text.clone(),
            (false, value) => value.to_string(),
            (true, value) => format!("{:016x}", KEY.hash_one(value.to_string())),
        };
        self.settings.push(Setting { container: self.container.clone(), name, value, hidden });
    }

    /// The entries of a map, each by its key.
    fn entries(&mut self, what: &str, map: &Value, hidden: bool) {
        for (key, value) in map.as_object().into_iter().flatten() {
            match value {
                Value::Object(_) if !hidden => self.entries(&format!("{what} {key}"), value, hidden),
                _ => self.add(format!("{what} {key}"), value, hidden),
            }
        }
    }

    /// The items of a list, each by the text that it has under a key.
    fn items(&mut self, what: &str, list: &Value, key: &str, hidden: bool) {
        for item in list.as_array().into_iter().flatten() {
            let name = item[key].as_str().unwrap_or_default();
            self.add(format!("{what} {name}"), item, hidden);
        }
    }

    fn pod(&mut self, spec: &Value) {
        SHOWN.iter().for_each(|name| self.add((*name).to_owned(), &spec[*name], false));
        HIDDEN_OF_POD.iter().for_each(|name| self.add((*name).to_owned(), &spec[*name], true));
        self.entries("securityContext", &spec["securityContext"], false);
        self.entries("nodeSelector", &spec["nodeSelector"], false);
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let name = format!("volume {}", volume["name"].as_str().unwrap_or_default());
            let source = volume.as_object().into_iter().flatten().find(|(key, _)| *key != "name");
            let Some((kind, source)) = source else { continue };
            match ["secretName", "name", "claimName"].iter().find_map(|key| source[*key].as_str()) {
                Some(of) => self.add(name, &Value::from(format!("{kind} {of}")), false),
                None => self.add(name, source, true),
            }
        }
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array().into_iter().flatten() {
                container["name"].as_str().unwrap_or_default().clone_into(&mut self.container);
                self.container(container);
            }
        }
    }

    fn container(&mut self, container: &Value) {
        self.add("image".to_owned(), &container["image"], false);
        for (of, what) in [("limits", "limit"), ("requests", "request")] {
            for (resource, quantity) in container["resources"][of].as_object().into_iter().flatten() {
                self.add(format!("{resource} {what}"), quantity, false);
            }
        }
        for probe in PROBES {
            let (numbers, handler): (Vec<_>, Vec<_>) =
                container[probe].as_object().into_iter().flatten().partition(|(_, value)| value.is_number());
            numbers.into_iter().for_each(|(name, value)| self.add(format!("{probe} {name}"), value, false));
            if !handler.is_empty() {
                self.add(
                    probe.to_owned(),
                    &handler.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                    true,
                );
            }
        }
        HIDDEN_OF_CONTAINER.iter().for_each(|name| self.add((*name).to_owned(), &container[*name], true));
        self.items("env", &container["env"], "name", true);
        self.items("mount", &container["volumeMounts"], "mountPath", true);
        self.entries("securityContext", &container["securityContext"], false);
    }
}
