//! What the analyzer may look at besides the pod itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::container::View;
use super::finding::ContainerType;
use super::logs::{LogReading, LogTail, listens};
use crate::objects::{Event, Node};

/// Which sources could be read. A finding whose cause may lie in one that could not says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sources {
    /// Events.
    pub events: bool,
    /// Owners of pods.
    pub owners: bool,
    /// Nodes.
    pub nodes: bool,
    /// Logs.
    pub logs: bool,
}

impl Sources {
    /// Pods alone.
    pub const NONE: Self = Self { events: false, owners: false, nodes: false, logs: false };
    /// All of them.
    pub const ALL: Self = Self { events: true, owners: true, nodes: true, logs: true };
}

/// The surroundings of one pod.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Which sources could be read.
    pub sources: Sources,
    /// Events about this pod, matched by uid, in any order.
    pub events: &'a [Event],
    /// Events about the claims and NodeClaims that a pod without a node waits for, in any order.
    pub claim_events: &'a [Event],
    /// Logs of this pod's containers.
    pub logs: &'a [ContainerLog],
    /// The node it runs on.
    pub node: Option<&'a Node>,
    /// Events about that node, in any order.
    pub node_events: &'a [Event],
}

/// By time, and where that is the same by content: never by the order in which a list came.
pub fn oldest_first(a: &Event, b: &Event) -> std::cmp::Ordering {
    fn key(e: &Event) -> impl Ord + '_ {
        (e.last_seen(), e.first_seen(), e.reason.as_str(), e.message.as_str(), e.metadata.name.as_str())
    }
    key(a).cmp(&key(b))
}

impl<'a> Context<'a> {
    /// The pod alone.
    pub const fn pod_only() -> Self {
        Self {
            sources: Sources::NONE,
            events: &[],
            claim_events: &[],
            logs: &[],
            node: None,
            node_events: &[],
        }
    }

    /// The events about one container: those whose field path names it, oldest first. An event that the recorder has
    /// combined from similar ones carries the field path of the first, so it counts only where the pod has
    /// no other container that it could be about.
    pub fn container_events(&self, view: &View<'a>) -> impl Iterator<Item = &'a Event> + use<'a> {
        let list = match view.kind {
            ContainerType::App => "spec.containers{",
            ContainerType::Init | ContainerType::Sidecar => "spec.initContainers{",
            ContainerType::Ephemeral => "spec.ephemeralContainers{",
        };
        let name = view.name;
        let single = view.pod.spec.containers.len() + view.pod.spec.init_containers.len() == 1;
        let mut found: Vec<&'a Event> = self
            .events
            .iter()
            .filter(|e| {
                let path = e.involved_object.field_path.as_str();
                let named = path.strip_prefix(list).and_then(|p| p.strip_suffix('}')) == Some(name);
                let combined = e.message.starts_with("(combined from similar events)");
                (named && (!combined || single)) || (single && path.is_empty())
            })
            .collect();
        found.sort_by(|a, b| oldest_first(a, b));
        found.into_iter()
    }

    /// The newest event that `wanted` takes; of several at the same time always the same one.
    pub fn newest_event(&self, wanted: impl Fn(&Event) -> bool) -> Option<&'a Event> {
        self.events.iter().filter(|e| wanted(e)).max_by(|a, b| oldest_first(a, b))
    }
}

/// The end of one container's log, raw and bounded.
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// Of the pod.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Of the container before the present one.
    pub previous: bool,
    /// The last bytes, any encoding; neither cleaned nor redacted. Empty once it is read.
    pub tail: Vec<u8>,
    /// What it says, if it was read already.
    pub reading: Option<SettledLog>,
}

/// All that a finding may need of a log whose text is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledLog {
    /// What it says about the end.
    pub reading: LogReading,
    /// The addresses on which the program says that it listens.
    pub listens: Vec<String>,
}

impl ContainerLog {
    /// Reads it, for an end with this exit code, and lets the text go: a log may be larger than all else that is known of a
    /// pod, and reading it takes longer than all else of a look.
    pub fn settle(&mut self, exit_code: Option<i32>) {
        if self.reading.is_some() {
            return;
        }
        let tail = LogTail::from_bytes(&self.tail);
        let (reading, listens) = (LogReading::of(&tail, exit_code), listens::of(tail.lines()));
        self.reading = Some(SettledLog { reading, listens });
        self.tail = Vec::new();
    }

    /// What it says about an end with this exit code.
    pub fn read(&self, exit_code: Option<i32>) -> Cow<'_, LogReading> {
        match &self.reading {
            Some(settled) => Cow::Borrowed(&settled.reading),
            None => Cow::Owned(LogReading::of(&LogTail::from_bytes(&self.tail), exit_code)),
        }
    }

    /// The addresses on which the program says in it that it listens.
    pub fn listens(&self) -> Cow<'_, [String]> {
        match &self.reading {
            Some(settled) => Cow::Borrowed(&settled.listens),
            None => Cow::Owned(listens::of(LogTail::from_bytes(&self.tail).lines())),
        }
    }
}

/// The tail may hold secrets: it never appears in debug output.
impl std::fmt::Debug for ContainerLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerLog")
            .field("namespace", &self.namespace)
            .field("pod", &self.pod)
            .field("container", &self.container)
            .field("previous", &self.previous)
            .field("bytes", &self.tail.len())
            .field("reading", &self.reading)
            .finish()
    }
}
