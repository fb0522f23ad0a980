//! What the analyzer may look at besides the pod itself.

use super::container::View;
use super::finding::ContainerType;
use super::survey::ContainerLog;
use crate::objects::{Event, Node};

/// Which sources could be read. A finding whose cause may lie in one that could not says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Logs of this pod's containers.
    pub logs: &'a [ContainerLog],
    /// The node it runs on.
    pub node: Option<&'a Node>,
}

impl<'a> Context<'a> {
    /// The pod alone.
    pub const fn pod_only() -> Self {
        Self { sources: Sources::NONE, events: &[], logs: &[], node: None }
    }

    /// The events about one container: those whose field path names it, oldest first. An event that the recorder has
    /// combined from similar ones carries the field path of the first (taxonomy 5.2), so it counts only where the pod has
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
        found.sort_by_key(|e| e.last_seen());
        found.into_iter()
    }
}
