//! Who may have how many series of a metric, where not all fit: every namespace the same, what one does not need for the
//! others. So one tenant's storm does not hide another's failure. Pods without a controller share apart from the workloads
//! of their namespace.

use foldhash::HashMap;

use super::family::Family;

/// The shares of one metric in one scrape.
#[derive(Debug)]
pub struct Shares {
    /// Where the labels of a series name its namespace and the kind of its workload.
    namespace: Option<usize>,
    kind: Option<usize>,
    is_counting: bool,
    /// The largest share.
    most: usize,
    held: HashMap<String, Held>,
}

/// What a namespace has.
#[derive(Debug, Default)]
struct Held {
    workloads: usize,
    /// Of pods without a controller.
    bare: usize,
    /// Series that were left out.
    lost: u64,
}

impl Shares {
    /// Nothing is counted yet.
    pub fn of(family: &Family) -> Self {
        let place = |name: &str| family.labels.iter().position(|label| *label == name);
        Self {
            namespace: place("namespace"),
            kind: place("workload_kind"),
            is_counting: true,
            most: 0,
            held: HashMap::default(),
        }
    }

    /// Whether series are still only counted.
    pub fn is_counting(&self) -> bool {
        self.is_counting
    }

    /// Ends the counting: there is room for so many series, `usize::MAX` for any number.
    pub fn divide(&mut self, room: usize) {
        self.is_counting = false;
        let held = self.held.drain().flat_map(|(_, held)| [held.workloads, held.bare]);
        let mut held: Vec<usize> = held.filter(|series| *series > 0).collect();
        held.sort_unstable();
        // With more namespaces than room, those that come first have a row each.
        self.most = largest_share(&held, room).max(1);
    }

    /// Counts a series; whether it is to be written. It is not where there is no `room` at all.
    pub fn take(&mut self, values: &[&str], room: bool) -> bool {
        if !self.is_counting && self.most == usize::MAX && room {
            return true;
        }
        let value = |place: Option<usize>| place.and_then(|at| values.get(at)).copied().unwrap_or_default();
        let (namespace, is_bare) = (value(self.namespace), value(self.kind) == "Pod");
        if !self.held.contains_key(namespace) {
            self.held.insert(namespace.to_owned(), Held::default());
        }
        let Some(Held { workloads, bare, lost }) = self.held.get_mut(namespace) else { return false };
        let held = if is_bare { bare } else { workloads };
        *held += 1;
        let may = !self.is_counting && room && *held <= self.most;
        *lost += u64::from(!self.is_counting && !may);
        may
    }

    /// How many series of each namespace were left out.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64)> {
        self.held.iter().map(|(namespace, held)| (namespace.as_str(), held.lost)).filter(|(_, n)| *n > 0)
    }
}

/// The largest share of which all together fit into `room`. `held` is in rising order.
fn largest_share(held: &[usize], mut room: usize) -> usize {
    for (at, series) in held.iter().enumerate() {
        let share = room / (held.len() - at);
        if *series > share {
            return share;
        }
        room -= series;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_holders_are_cut_first() {
        assert_eq!(largest_share(&[], 10), usize::MAX);
        assert_eq!(largest_share(&[1, 2, 7], 10), usize::MAX);
        assert_eq!(largest_share(&[1, 2, 8], 10), 7);
        assert_eq!(largest_share(&[1, 50, 60], 11), 5);
    }

    #[test]
    fn with_more_namespaces_than_room_some_have_their_row_and_the_rest_is_counted() {
        const THINGS: Family = Family::gauge("things", "Things.", &["namespace", "workload_kind"]);
        let mut shares = Shares::of(&THINGS);
        let (room, mut written) = (2, 0);
        let series = || (0..5).flat_map(|n| [format!("ns-{n}"), format!("ns-{n}")]);
        series().for_each(|namespace| assert!(!shares.take(&[&namespace, "Deployment"], true)));
        shares.divide(room);
        for namespace in series() {
            written += usize::from(shares.take(&[&namespace, "Deployment"], written < room));
        }
        assert_eq!(written, room);
        let mut lost: Vec<_> = shares.lost().map(|(namespace, n)| (namespace.to_owned(), n)).collect();
        lost.sort();
        let wanted = [("ns-0", 1), ("ns-1", 1), ("ns-2", 2), ("ns-3", 2), ("ns-4", 2)];
        assert_eq!(lost, wanted.map(|(namespace, n)| (namespace.to_owned(), n)));
    }
}
