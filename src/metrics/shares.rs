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
    /// By namespace: series of workloads, and of pods without a controller.
    held: HashMap<String, [usize; 2]>,
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
        let mut held: Vec<usize> =
            self.held.drain().flat_map(|(_, held)| held).filter(|series| *series > 0).collect();
        held.sort_unstable();
        self.most = largest_share(&held, room);
    }

    /// Counts a series; whether it is to be written. It is not where there is no `room` at all.
    pub fn take(&mut self, values: &[&str], room: bool) -> bool {
        if !self.is_counting && self.most == usize::MAX && room {
            return true;
        }
        let value = |place: Option<usize>| place.and_then(|at| values.get(at)).copied().unwrap_or_default();
        let (namespace, is_bare) = (value(self.namespace), value(self.kind) == "Pod");
        if !self.held.contains_key(namespace) {
            self.held.insert(namespace.to_owned(), [0, 0]);
        }
        let Some([workloads, bare]) = self.held.get_mut(namespace) else { return false };
        let held = if is_bare { bare } else { workloads };
        *held += 1;
        !self.is_counting && room && *held <= self.most
    }

    /// How many series each namespace lost, once more than its share were taken.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64)> {
        let lost = |held: &[usize; 2]| held.iter().map(|n| n.saturating_sub(self.most) as u64).sum::<u64>();
        self.held
            .iter()
            .map(move |(namespace, held)| (namespace.as_str(), lost(held)))
            .filter(|(_, n)| *n > 0)
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
        assert_eq!(largest_share(&[5, 5, 5], 2), 0);
    }
}
