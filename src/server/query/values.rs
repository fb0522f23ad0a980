//! What there is to filter by: the values that open incidents have.

use std::collections::BTreeSet;

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

impl Values {
    /// Takes those of an incident.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        add(&mut self.namespaces, seen.namespace());
        add(&mut self.reasons, seen.compact.reason.as_str());
        add(&mut self.nodes, seen.node());
        seen.compact.labels.iter().for_each(|(_, value)| add(&mut self.owners, value));
    }
}

fn add(values: &mut BTreeSet<String>, value: &str) {
    let is_full = values.len() >= VALUES;
    if value.is_empty()
        || values.contains(value)
        || is_full && values.last().is_some_and(|last| value > &**last)
    {
        return;
    }
    values.insert(value.to_owned());
    if is_full {
        values.pop_last();
    }
}
