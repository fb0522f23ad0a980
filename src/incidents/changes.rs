//! What has changed, in the order in which it did, for readers that keep what they have made of it.
//!
//! A reader remembers the place up to which it knows everything. What is forgotten in the meantime is as much as all that is
//! there: whoever is that far behind has less to do when it looks at all of it.
//!
//! Pure: must not know what it is, nor who reads.

use std::collections::VecDeque;

/// So many changes are remembered, however little there is.
const FEW: usize = 1024;

/// A place in the order of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

/// The newest changes.
#[derive(Clone, Debug)]
pub struct Changes<T> {
    newest: VecDeque<T>,
    /// How many came before these.
    forgotten: u64,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { newest: VecDeque::new(), forgotten: 0 }
    }
}

impl<T: Clone> Changes<T> {
    /// Takes note that this has changed, one of so many.
    pub fn note(&mut self, this: T, all: usize) {
        self.newest.push_back(this);
        while self.newest.len() > all + FEW {
            self.newest.pop_front();
            self.forgotten += 1;
        }
        if self.newest.capacity() > 4 * (all + FEW) {
            self.newest.shrink_to(2 * (all + FEW));
        }
    }

    /// The place after all changes so far.
    pub fn place(&self) -> Place {
        Place(self.forgotten + self.newest.len() as u64)
    }

    /// What has changed since, some of it more than once; none if that is too long ago.
    pub fn since(&self, place: Place) -> Option<impl Iterator<Item = T>> {
        let known = usize::try_from(place.0.checked_sub(self.forgotten)?).ok()?;
        (known <= self.newest.len()).then(|| self.newest.range(known..).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(changes: &Changes<char>, place: Place) -> Option<Vec<char>> {
        changes.since(place).map(Iterator::collect)
    }

    #[test]
    fn a_reader_is_told_what_has_changed_since_it_looked_last() {
        let (mut changes, [a, b]) = (Changes::default(), ['a', 'b']);
        let start = changes.place();
        assert_eq!(since(&changes, start), Some(vec![]));
        changes.note(a, 2);
        let first = changes.place();
        changes.note(b, 2);
        changes.note(a, 2);
        assert_eq!(since(&changes, start), Some(vec![a, b, a]));
        assert_eq!(since(&changes, first), Some(vec![b, a]));
        assert_eq!(since(&changes, changes.place()), Some(vec![]));
        assert_eq!(since(&changes, Place(4)), None, "a place that never was");
    }

    #[test]
    fn what_nobody_asks_for_does_not_pile_up() {
        let (mut changes, a) = (Changes::default(), 'a');
        let start = changes.place();
        (0..100_000).for_each(|_| changes.note(a, 50_000));
        assert_eq!(changes.newest.len(), 50_000 + FEW);
        assert_eq!(since(&changes, start), None);
        changes.note(a, 0);
        assert_eq!(changes.newest.len(), FEW);
        assert!(changes.newest.capacity() <= 4 * FEW);
        assert_eq!(changes.place(), Place(100_001));
        assert_eq!(since(&changes, Place(100_000)), Some(vec![a]));
    }
}
