//! What there is to filter by: the values that open incidents have.

use std::collections::BTreeSet;

use super::each_open;
use crate::server::Shown;

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

/// The values of all open incidents.
pub fn values(shown: &Shown) -> Values {
    let mut values = Values::default();
    each_open(&shown.incidents, |seen| {
        add(&mut values.namespaces, seen.namespace());
        add(&mut values.reasons, seen.compact.reason.as_str());
        add(&mut values.nodes, seen.node());
        seen.compact.labels.iter().for_each(|(_, value)| add(&mut values.owners, value));
    });
    values
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
