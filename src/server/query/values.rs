//! What there is to filter by: the values that open incidents have.

use std::collections::BTreeSet;

use foldhash::HashSet;

use super::Seen;

/// Values of each field at most, the first ones by name: somebody types what is not among them.
const VALUES: usize = 200;

/// Sorted.
#[derive(Debug, Default)]
pub struct Values {
    pub namespaces: BTreeSet<String>,
    pub reasons: BTreeSet<String>,
    /// Values of owner labels.
    pub owners: BTreeSet<String>,
    pub nodes: BTreeSet<String>,
}

/// All values, while the incidents are looked at: tens of thousands have the same few.
#[derive(Default)]
pub(super) struct All {
    namespaces: HashSet<String>,
    reasons: HashSet<String>,
    owners: HashSet<String>,
    nodes: HashSet<String>,
}

impl All {
    /// Takes those of an incident.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        add(&mut self.namespaces, seen.namespace());
        add(&mut self.reasons, seen.compact.reason.as_str());
        add(&mut self.nodes, seen.node());
        seen.compact.labels.iter().for_each(|(_, value)| add(&mut self.owners, value));
    }

    pub(super) fn first(self) -> Values {
        Values {
            namespaces: first(self.namespaces),
            reasons: first(self.reasons),
            owners: first(self.owners),
            nodes: first(self.nodes),
        }
    }
}

fn add(values: &mut HashSet<String>, value: &str) {
    if !value.is_empty() && !values.contains(value) {
        values.insert(value.to_owned());
    }
}

fn first(values: HashSet<String>) -> BTreeSet<String> {
    let sorted: BTreeSet<String> = values.into_iter().collect();
    sorted.into_iter().take(VALUES).collect()
}
