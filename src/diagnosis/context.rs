//! What the analyzer may look at besides the pod itself.

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
    /// The node it runs on.
    pub node: Option<&'a Node>,
}

impl Context<'_> {
    /// The pod alone.
    pub const fn pod_only() -> Self {
        Self { sources: Sources::NONE, events: &[], node: None }
    }
}
