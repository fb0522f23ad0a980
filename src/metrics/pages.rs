//! The series of many pods, kept as the text that a scrape hands on, and changed where a pod has changed.
//!
//! Some neighbours stand in one piece of memory, a page: to copy what is scattered takes four times as long. A page that is
//! still being read is not changed, but replaced.
//!
//! Must not know what the text says, but that each line of it is a series.

use std::ops::Range;
use std::sync::Arc;

/// How many neighbours: a page has 5 to 15 KB.
const NEIGHBOURS: usize = 32;

/// The series of some neighbours.
#[derive(Clone, Debug, Default)]
pub struct Page {
    text: Vec<u8>,
    lengths: [usize; NEIGHBOURS],
    series: usize,
}

impl Page {
    /// With this text.
    pub fn new(text: &str) -> Self {
        let mut page =
            Self { text: text.as_bytes().to_vec(), series: lines(text.as_bytes()), ..Self::default() };
        page.lengths[0] = text.len();
        page
    }

    /// Its text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many series that is.
    pub fn series(&self) -> usize {
        self.series
    }

    fn range(&self, place: usize) -> Range<usize> {
        let start = self.lengths.iter().take(place).sum();
        start..start + self.lengths.get(place).copied().unwrap_or_default()
    }

    fn get(&self, place: usize) -> &[u8] {
        self.text.get(self.range(place)).unwrap_or_default()
    }

    fn set(&mut self, place: usize, new: &[u8]) {
        let range = self.range(place);
        self.series = (self.series + lines(new)).saturating_sub(lines(self.get(place)));
        let was = self.text.len();
        let is = was - range.len() + new.len();
        if was != is {
            // Neighbours are about as long as each other, and what becomes longer does so by little.
            let room = if was == 0 { NEIGHBOURS * is } else { is - is.min(was) + is / 16 };
            if is > self.text.capacity() {
                self.text.reserve_exact(room);
            }
            self.text.resize(is.max(was), 0);
            self.text.copy_within(range.end..was, range.start + new.len());
            self.text.truncate(is);
            self.lengths.get_mut(place).into_iter().for_each(|length| *length = new.len());
        }
        let place = self.text.get_mut(range.start..range.start + new.len());
        place.into_iter().for_each(|place| place.copy_from_slice(new));
    }
}

fn lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// The series of one metric.
#[derive(Debug, Default)]
struct Column(Vec<Arc<Page>>);

impl Column {
    fn set(&mut self, place: usize, text: &[u8]) {
        let (at, place) = (place / NEIGHBOURS, place % NEIGHBOURS);
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Arc::default);
        }
        if let Some(page) = self.0.get_mut(at).filter(|page| page.get(place) != text) {
            Arc::make_mut(page).set(place, text);
        }
    }
}

/// The series of things that each have a place of their own as long as they are there: of so many metrics.
#[derive(Debug)]
pub struct Pages<const METRICS: usize> {
    columns: [Column; METRICS],
    /// Places that are free again.
    free: Vec<usize>,
    /// Places that have ever been taken.
    taken: usize,
}

impl<const METRICS: usize> Default for Pages<METRICS> {
    fn default() -> Self {
        Self { columns: std::array::from_fn(|_| Column::default()), free: Vec::new(), taken: 0 }
    }
}

impl<const METRICS: usize> Pages<METRICS> {
    /// A place for something.
    pub fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.taken += 1;
            self.taken - 1
        })
    }

    /// Sets what stands there.
    pub fn set(&mut self, place: usize, texts: [&str; METRICS]) {
        for (column, text) in self.columns.iter_mut().zip(texts) {
            column.set(place, text.as_bytes());
        }
    }

    /// Gives a place back.
    pub fn give_back(&mut self, place: usize) {
        self.set(place, [""; METRICS]);
        self.free.push(place);
    }

    /// The text of each metric as it is now.
    pub fn pages(&self) -> [Vec<Arc<Page>>; METRICS] {
        self.columns.each_ref().map(|column| column.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pages: &[Arc<Page>]) -> String {
        pages.iter().map(|page| std::str::from_utf8(page.text()).unwrap()).collect()
    }

    #[test]
    fn every_text_is_where_it_was_put_last() {
        let mut pages = Pages::<2>::default();
        let mut wanted: Vec<Option<[String; 2]>> = Vec::new();
        let mut random = 1_u64;
        for n in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (at, length) = ((random >> 33) as usize % 100, (random >> 50) as usize % 4);
            if wanted.get(at).is_none_or(Option::is_none) {
                let place = pages.take();
                wanted.resize(wanted.len().max(place + 1), None);
                assert!(wanted[place].replace(Default::default()).is_none(), "{place} was taken");
            } else if n % 7 == 0 {
                pages.give_back(at);
                wanted[at] = None;
            } else {
                let texts = [format!("{n}\n").repeat(length), format!("{at}\n")];
                pages.set(at, [&texts[0], &texts[1]]);
                wanted[at] = Some(texts);
            }
        }
        assert!(wanted.len() > 2 * NEIGHBOURS);
        for metric in 0..2 {
            let wanted: String = wanted.iter().flatten().map(|texts| &*texts[metric]).collect();
            assert_eq!(text(&pages.pages()[metric]), wanted);
            let series: usize = pages.pages()[metric].iter().map(|page| page.series()).sum();
            assert_eq!(series, wanted.lines().count());
        }
    }

    #[test]
    fn what_is_being_read_does_not_change() {
        let mut pages = Pages::<1>::default();
        let place = pages.take();
        pages.set(place, ["a\n"]);
        let [read] = pages.pages();
        pages.set(place, ["b\n"]);
        let [then] = pages.pages();
        pages.set(place, ["b\n"]);
        assert_eq!((text(&read), text(&then)), ("a\n".to_owned(), "b\n".to_owned()));
        assert!(Arc::ptr_eq(&then[0], &pages.pages()[0][0]), "the same text is not written again");
    }
}
