//! Documents of Kubernetes objects in text: JSON and YAML; single, in lists, one after the other, or as a watch stream.
//!
//! Must not know what the objects mean, nor where a text came from.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Broken, HOW_TO_DUMP, Manifest, undecodable};
use crate::API_VERSION;
use crate::diagnosis::{OwnerLabels, Snapshot, Sources, Undecodable};
use crate::objects::{
    CronJob, Event, Job, Node, Object, Packed, PersistentVolumeClaim, Pod, Revision, Workload, lenient,
};

/// What says which kind of thing an object is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Head {
    #[serde(deserialize_with = "lenient::text")]
    kind: String,
    #[serde(deserialize_with = "lenient::text")]
    api_version: String,
}

/// An element that may be no object at all.
#[derive(Deserialize)]
struct Slot(#[serde(deserialize_with = "lenient::object")] Head);

/// The first pass over a document: which kinds are where. Everything else is skipped unread.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Outline {
    #[serde(deserialize_with = "lenient::text")]
    kind: String,
    #[serde(deserialize_with = "lenient::text")]
    api_version: String,
    /// Of a line of a watch: `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`.
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    event: String,
    items: Option<Vec<Slot>>,
    #[serde(deserialize_with = "lenient::some_object")]
    object: Option<Head>,
}

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pod,
    Event,
    Node,
    ReplicaSet,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Claim,
    ControllerRevision,
}

impl Kind {
    /// Others may use the same names in groups of their own (`Job` of `batch.volcano.sh`).
    fn of(kind: &str, api_version: &str) -> Option<Self> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let (kind, groups): (Self, &[&str]) = match kind {
            "Pod" => (Self::Pod, &[""]),
            "Event" => (Self::Event, &["", "events.k8s.io"]),
            "Node" => (Self::Node, &[""]),
            "PersistentVolumeClaim" => (Self::Claim, &[""]),
            "ReplicaSet" => (Self::ReplicaSet, &["apps", "extensions"]),
            "Deployment" => (Self::Deployment, &["apps", "extensions"]),
            "StatefulSet" => (Self::StatefulSet, &["apps"]),
            "DaemonSet" => (Self::DaemonSet, &["apps", "extensions"]),
            "Job" => (Self::Job, &["batch"]),
            "CronJob" => (Self::CronJob, &["batch"]),
            "ControllerRevision" => (Self::ControllerRevision, &["apps"]),
            _ => return None,
        };
        groups.contains(&group).then_some(kind)
    }
}

impl Head {
    /// The kind of an item; one of a typed list (`PodList`) need not say it again.
    fn known(&self, list: &Outline) -> Option<Kind> {
        if self.kind.is_empty() {
            Kind::of(list.kind.strip_suffix("List")?, &list.api_version)
        } else {
            Kind::of(&self.kind, &self.api_version)
        }
    }
}

/// Objects by identity, each in its newest state, in the order in which they were first seen.
struct Newest<T, Kept = T> {
    places: HashMap<String, usize>,
    slots: Vec<(u64, Option<Kept>)>,
    of: PhantomData<T>,
}

impl<T, Kept> Default for Newest<T, Kept> {
    fn default() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), of: PhantomData }
    }
}

impl<T: Object, Kept: From<T>> Newest<T, Kept> {
    /// Takes a state in. Of two states the one with the higher resourceVersion is newer (Kubernetes 1.35 made them
    /// comparable, and they have been so ever since); without, the later one.
    fn put(&mut self, mut object: T, deleted: bool) {
        object.compact();
        let meta = object.meta();
        let key = match meta.uid.as_str() {
            "" => format!("{}/{}", meta.namespace, meta.name),
            uid => uid.to_owned(),
        };
        let version: u64 = meta.resource_version.parse().unwrap_or(0);
        let state = (version, (!deleted).then(|| object.into()));
        match self.places.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(self.slots.len());
                self.slots.push(state);
            }
            Entry::Occupied(place) => {
                if let Some(slot) = self.slots.get_mut(*place.get())
                    && (version == 0 || version >= slot.0)
                {
                    *slot = state;
                }
            }
        }
    }

    fn finish(self) -> Vec<Kept> {
        self.slots.into_iter().filter_map(|(_, object)| object).collect()
    }
}

/// Takes documents in, and gives the objects out.
#[derive(Default)]
pub(super) struct Collector {
    pods: Newest<Pod>,
    /// Of these there are by far the most.
    events: Newest<Event, Packed<Event>>,
    nodes: Newest<Node>,
    replica_sets: Newest<Workload>,
    deployments: Newest<Workload>,
    stateful_sets: Newest<Workload>,
    daemon_sets: Newest<Workload>,
    jobs: Newest<Job>,
    cron_jobs: Newest<CronJob>,
    claims: Newest<PersistentVolumeClaim>,
    revisions: Newest<Revision>,
    sources: Option<Sources>,
    undecodable: Vec<Undecodable>,
    manifest: Option<Manifest>,
    objects: usize,
    /// What the items of a list are that do not say it: API version and kind.
    items: Option<(&'static str, &'static str)>,
}

const CUT: &str = "ends in the middle of a JSON document";

/// What stopped a document.
enum Stop {
    /// It is cut off or no document at all.
    Broken { line: Option<usize>, why: &'static str },
    /// It is a document, and not one of Kubernetes'.
    Other,
}

impl Collector {
    /// How many documents were Kubernetes objects.
    pub(super) fn objects(&self) -> usize {
        self.objects
    }

    /// The containers that are ready and never terminated: by namespace, pod and name.
    pub(super) fn well(&self) -> HashSet<[String; 3]> {
        let pods = self.pods.slots.iter().filter_map(|(_, pod)| pod.as_ref());
        let containers =
            pods.flat_map(|pod| pod.status.container_statuses.iter().map(move |c| (&pod.metadata, c)));
        containers
            .filter(|(_, c)| c.ready && c.restart_count == 0 && c.last_state.terminated.is_none())
            .map(|(meta, c)| [&meta.namespace, &meta.name, &c.name].map(String::clone))
            .collect()
    }

    /// Takes all documents of a text in. An error is about the text as a whole: nothing of it, or only a part, was taken.
    /// Among other files (in a directory) one may well be something else.
    pub(super) fn documents(
        &mut self,
        place: &str,
        text: &str,
        among_others: bool,
        items: Option<(&'static str, &'static str)>,
    ) -> Result<(), Broken> {
        self.items = items;
        let before = self.objects;
        let stop = match text.trim_start().chars().next() {
            Some('{' | '[') => self.json(place, text),
            _ => self.yaml(place, text),
        };
        match stop {
            Some(Stop::Broken { line, why }) => Err(Broken {
                place: line.map_or(place.to_owned(), |line| format!("{place}, line {line}")),
                why: why.to_owned(),
                hint: match why {
                    CUT => "it may be cut off: write the whole file again",
                    _ => HOW_TO_DUMP,
                },
            }),
            Some(Stop::Other) if self.objects == before && !among_others => Err(Broken {
                place: place.to_owned(),
                why: "contains no Kubernetes objects in JSON or YAML".to_owned(),
                hint: HOW_TO_DUMP,
            }),
            _ => Ok(()),
        }
    }

    /// JSON documents, one after the other. After one that is broken, the next that begins a line is looked for: a recorded
    /// stream may have been cut anywhere. A text with no whole document is broken itself.
    fn json(&mut self, place: &str, text: &str) -> Option<Stop> {
        let mut at = 0;
        let mut lines = Lines { text, line: 1, offset: 0 };
        let mut whole = 0;
        let mut broken = None;
        let mut other = None;
        // A broken document may be read to the end of the text before it shows, and the next one again.
        let mut patience = lines.in_all().saturating_mul(16).saturating_add(1000);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.trim_start().is_empty()) {
            let start = at + (rest.len() - rest.trim_start().len());
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
            match stream.next() {
                Some(Ok(document)) => {
                    whole += 1;
                    at += stream.byte_offset();
                    if let Err(stop) = self.json_document(place, lines.of(start), document.get()) {
                        other = Some(stop);
                    }
                }
                Some(Err(error)) => {
                    let line = lines.of(at) - 1 + error.line();
                    let why = if error.is_eof() { CUT } else { "not JSON" };
                    broken.get_or_insert(Stop::Broken { line: Some(line), why });
                    self.undecodable.push(undecodable(format!("{place}, line {line}"), why));
                    let next = text.get(start + 1..).and_then(|rest| rest.find("\n{"));
                    match (next, patience.checked_sub(error.line())) {
                        (Some(next), Some(left)) => (at, patience) = (start + 1 + next + 1, left),
                        _ => break,
                    }
                }
                None => break,
            }
        }
        if whole == 0 && broken.is_some() {
            // Named as the whole file's fault, not as one document of it.
            self.undecodable.pop();
            return broken;
        }
        other
    }

    fn json_document(&mut self, place: &str, line: usize, text: &str) -> Result<(), Stop> {
        // What `jq` makes of a list.
        if text.starts_with('[') {
            let list = serde_json::from_str::<Vec<&RawValue>>(text).map_err(|_| Stop::Other)?;
            for item in list.iter().filter(|item| item.get().starts_with('{')) {
                self.json_document(place, line, item.get())?;
            }
            return Ok(());
        }
        let mut outline: Outline = serde_json::from_str(text).map_err(|_| Stop::Other)?;
        if outline.kind == Manifest::KIND && outline.api_version == API_VERSION {
            self.objects += 1;
            self.manifest = Some(serde_json::from_str(text).map_err(|_| Stop::Other)?);
            return Ok(());
        }
        if let (Some((api_version, kind)), "", None) = (self.items, outline.kind.as_str(), &outline.items) {
            (outline.kind, outline.api_version) = (kind.to_owned(), api_version.to_owned());
        }
        self.document(&outline, || format!("{place}, line {line}"), text)
    }

    /// YAML documents between lines of `---`.
    fn yaml(&mut self, place: &str, text: &str) -> Option<Stop> {
        let before = self.undecodable.len();
        let mut stop = None;
        let mut whole = 0;
        for (line, document) in yaml_documents(text) {
            let json = match json_of_yaml(document) {
                Ok(json) => json,
                Err(at) => {
                    let line = line + at.saturating_sub(1);
                    self.undecodable.push(undecodable(
                        format!("{place}, line {line}"),
                        "not YAML of a Kubernetes object",
                    ));
                    stop.get_or_insert(Stop::Broken {
                        line: Some(line),
                        why: "neither JSON nor YAML of Kubernetes objects",
                    });
                    continue;
                }
            };
            match self.json_document(place, line, &json) {
                Ok(()) => whole += 1,
                Err(other) => stop = Some(other),
            }
        }
        if whole == 0 {
            self.undecodable.truncate(before);
            return stop;
        }
        stop.filter(|stop| matches!(stop, Stop::Other))
    }

    /// Takes in what the outline promises.
    fn document(&mut self, outline: &Outline, place: impl Fn() -> String, text: &str) -> Result<(), Stop> {
        let (key, deleted, kinds): (_, bool, Vec<Option<Kind>>) = match (&outline.items, &outline.object) {
            (Some(items), _) => {
                self.objects += 1;
                // An empty list tells that there are none, where its kind tells of what.
                if let Some(kind) =
                    outline.kind.strip_suffix("List").and_then(|k| Kind::of(k, &outline.api_version))
                {
                    self.note(kind);
                }
                ("items", false, items.iter().map(|Slot(head)| head.known(outline)).collect())
            }
            (None, Some(object)) if !outline.event.is_empty() => {
                self.objects += 1;
                let kind = match outline.event.as_str() {
                    "ADDED" | "MODIFIED" | "DELETED" => object.known(outline),
                    _ => None,
                };
                ("object", outline.event == "DELETED", vec![kind])
            }
            _ if outline.kind.is_empty() => return Err(Stop::Other),
            _ => {
                self.objects += 1;
                ("", false, vec![Kind::of(&outline.kind, &outline.api_version)])
            }
        };
        if kinds.iter().all(Option::is_none) {
            return Ok(());
        }
        let list = key == "items";
        let body = Body { collector: self, key, kinds: &kinds, deleted, place: &place };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let result = if list || key == "object" {
            deserializer.deserialize_map(body)
        } else {
            body.item(0).deserialize(&mut deserializer)
        };
        if result.is_err() {
            self.undecodable.push(undecodable(place(), "cannot be decoded"));
        }
        Ok(())
    }

    fn note(&mut self, kind: Kind) {
        let sources = self.sources.get_or_insert(Sources::NONE);
        match kind {
            Kind::Event => sources.events = true,
            Kind::Node => sources.nodes = true,
            Kind::Pod | Kind::Claim => {}
            _ => sources.owners = true,
        }
    }

    pub(super) fn finish(self) -> (Snapshot, Option<Manifest>, usize) {
        let snapshot = Snapshot {
            pods: self.pods.finish(),
            events: self.events.finish(),
            nodes: self.nodes.finish(),
            replica_sets: self.replica_sets.finish(),
            deployments: self.deployments.finish(),
            stateful_sets: self.stateful_sets.finish(),
            daemon_sets: self.daemon_sets.finish(),
            jobs: self.jobs.finish(),
            cron_jobs: self.cron_jobs.finish(),
            claims: self.claims.finish(),
            revisions: self.revisions.finish(),
            logs: Vec::new(),
            sources: self.sources.unwrap_or(Sources::NONE),
            owner_labels: OwnerLabels::default(),
            undecodable: self.undecodable,
        };
        (snapshot, self.manifest, self.objects)
    }
}

/// The second pass over a document: what the outline found is decoded into its type, the rest is skipped.
struct Body<'a, P> {
    collector: &'a mut Collector,
    key: &'a str,
    kinds: &'a [Option<Kind>],
    deleted: bool,
    place: &'a P,
}

impl<'a, P: Fn() -> String> Body<'a, P> {
    fn item(self, index: usize) -> Item<'a, P> {
        let kind = self.kinds.get(index).copied().flatten();
        Item {
            collector: self.collector,
            kind,
            index: (self.key == "items").then_some(index),
            deleted: self.deleted,
            place: self.place,
        }
    }

    fn again(&mut self) -> Body<'_, P> {
        Body {
            collector: self.collector,
            key: self.key,
            kinds: self.kinds,
            deleted: self.deleted,
            place: self.place,
        }
    }
}

impl<'de, P: Fn() -> String> Visitor<'de> for Body<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key != self.key {
                map.next_value::<IgnoredAny>()?;
            } else if key == "items" {
                map.next_value_seed(self.again())?;
            } else {
                map.next_value_seed(self.again().item(0))?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while seq.next_element_seed(self.again().item(index))?.is_some() {
            index += 1;
        }
        Ok(())
    }
}

/// The list of a document's items.
impl<'de, P: Fn() -> String> DeserializeSeed<'de> for Body<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

struct Item<'a, P> {
    collector: &'a mut Collector,
    kind: Option<Kind>,
    index: Option<usize>,
    deleted: bool,
    place: &'a P,
}

impl<'de, P: Fn() -> String> DeserializeSeed<'de> for Item<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Some(kind) = self.kind else {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(());
        };
        let collector = self.collector;
        let deleted = self.deleted;
        macro_rules! take {
            ($list:ident, $item:expr) => {
                Deserialize::deserialize($item).map(|object| collector.$list.put(object, deleted))
            };
        }
        collector.note(kind);
        // Set apart first, so that one that does not decode spoils no other.
        let raw = <&RawValue>::deserialize(deserializer)?;
        if kind == Kind::ReplicaSet
            && let Ok(revision) = serde_json::from_str::<Revision>(raw.get())
            && !revision.settings.is_empty()
        {
            // It is a workload, and a revision of one.
            collector.revisions.put(revision, deleted);
        }
        let mut item = serde_json::Deserializer::from_str(raw.get());
        let taken = match kind {
            Kind::Pod => take!(pods, &mut item),
            Kind::Event => take!(events, &mut item),
            Kind::Node => take!(nodes, &mut item),
            Kind::ReplicaSet => take!(replica_sets, &mut item),
            Kind::Deployment => take!(deployments, &mut item),
            Kind::StatefulSet => take!(stateful_sets, &mut item),
            Kind::DaemonSet => take!(daemon_sets, &mut item),
            Kind::Job => take!(jobs, &mut item),
            Kind::CronJob => take!(cron_jobs, &mut item),
            Kind::Claim => take!(claims, &mut item),
            Kind::ControllerRevision => take!(revisions, &mut item),
        };
        if taken.is_err() {
            let place = match self.index {
                Some(index) => format!("{}, item {}", (self.place)(), index + 1),
                None => (self.place)(),
            };
            collector.undecodable.push(undecodable(place, "cannot be decoded"));
        }
        Ok(())
    }
}

/// Counts lines from 1, each only once: offsets are asked for in rising order.
struct Lines<'t> {
    text: &'t str,
    line: usize,
    offset: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> usize {
        let passed = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', passed).count();
        self.offset = self.offset.max(offset);
        self.line
    }

    fn in_all(&self) -> usize {
        memchr::memchr_iter(b'\n', self.text.as_bytes()).count() + 1
    }
}

/// The documents of a YAML text with the lines on which they begin; empty ones and comments are left out.
fn yaml_documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let mut start = (1, 0);
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        let bare = line.trim_end();
        if bare == "---" || bare.starts_with("--- ") || bare == "..." {
            documents.push((start.0, text.get(start.1..offset).unwrap_or_default()));
            start = (number + 2, end);
        }
        offset = end;
    }
    documents.push((start.0, text.get(start.1..).unwrap_or_default()));
    documents.retain(|(_, d)| d.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#')));
    documents
}

/// How deep a YAML document may be nested: objects of Kubernetes need some thirty levels, and each takes some of the stack.
const MAX_DEPTH: usize = 64;

/// A YAML document as JSON, as kubectl reads YAML too, or the line on which it breaks. A cluster's dump is large, and repeats
/// nothing by aliases: a document makes no more events than it has characters, or nearly so. A key that stands twice is no
/// reason to lose the file.
fn json_of_yaml(document: &str) -> Result<String, usize> {
    let events = document.len().saturating_mul(4).saturating_add(10_000);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: events,
            max_nodes: events,
            max_total_scalar_bytes: events,
            max_depth: MAX_DEPTH,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    let mut json = Vec::new();
    let written = serde_saphyr::with_deserializer_from_str_with_options(document, options.clone(), |yaml| {
        Ok(serde_transcode::transcode(yaml, &mut serde_json::Serializer::new(&mut json)))
    });
    if let (Ok(Ok(())), Ok(json)) = (written, String::from_utf8(json)) {
        return Ok(json);
    }
    // The error's own words quote the text: only its place is told.
    let error = serde_saphyr::from_str_with_options::<IgnoredAny>(document, options).err();
    Err(error.and_then(|error| error.location()).map_or(0, |at| at.line() as usize))
}
