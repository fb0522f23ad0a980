//! The text of a scrape, written as it is read: in pieces, of which there is one at a time.
//!
//! In a storm it has 26 MB. To have them all at once takes the memory and, since the system must give it and takes it back, a
//! fifth of the time. Nothing is locked by a reader that is slow, and nothing is left of one that has gone.
//!
//! Must not know what is written, nor HTTP.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::{Bytes, BytesMut};

use super::pages::Page;

/// Bytes after which a piece is full.
const PIECE: usize = 64 * 1024;
/// What is often written to one that was not full yet.
const MORE: usize = 16 * 1024;

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// What it begins with.
    pub head: String,
    /// Its series.
    pub pages: Vec<Arc<Page>>,
    /// How many of them are written at most.
    pub limit: usize,
}

/// The text, piece by piece. What is read and dropped makes room for the next.
#[derive(Debug)]
pub struct Pieces {
    families: IntoIter<Family>,
    pages: IntoIter<Arc<Page>>,
    /// Series that may still be written of these.
    left: usize,
    /// What comes after all of them.
    rest: Option<String>,
    piece: BytesMut,
}

impl Pieces {
    /// These metrics, without those that have no series, and what comes after them.
    pub fn new(families: Vec<Family>, rest: String) -> Self {
        Self {
            families: families.into_iter(),
            pages: IntoIter::default(),
            left: 0,
            rest: Some(rest),
            piece: BytesMut::new(),
        }
    }

    /// All of it.
    pub fn text(self) -> String {
        let bytes: Vec<u8> = self.flatten().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn write(&mut self, page: &Page) {
        let text = page.text();
        let text = if page.series() <= self.left {
            text
        } else {
            let end = self.left.checked_sub(1).and_then(|last| memchr::memchr_iter(b'\n', text).nth(last));
            end.and_then(|end| text.get(..=end)).unwrap_or_default()
        };
        self.left = self.left.saturating_sub(page.series());
        self.piece.extend_from_slice(text);
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.piece.reserve(PIECE + MORE);
        while self.piece.len() < PIECE {
            if let Some(page) = self.pages.next() {
                self.write(&page);
            } else if let Some(family) = self.families.find(|f| f.limit > 0 && !f.pages.is_empty()) {
                self.piece.extend_from_slice(family.head.as_bytes());
                self.pages = family.pages.into_iter();
                self.left = family.limit;
            } else {
                self.piece.extend_from_slice(self.rest.take().unwrap_or_default().as_bytes());
                break;
            }
        }
        (!self.piece.is_empty()).then(|| self.piece.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn family(name: &str, pages: &[usize], limit: usize) -> Family {
        let mut series = 0..;
        let page = |n: &usize| {
            let text: String = series.by_ref().take(*n).map(|n| format!("{name}{{a=\"{n}\"}} 1\n")).collect();
            Arc::new(Page::new(&text))
        };
        Family { head: format!("# {name}\n"), pages: pages.iter().map(page).collect(), limit }
    }

    #[test]
    fn a_metric_has_its_head_and_as_many_series_as_it_may() {
        for (limit, series) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 5), (usize::MAX, 5)] {
            let families = vec![family("x", &[0, 2, 1, 2], limit), family("y", &[1], 1)];
            let text = Pieces::new(families, "z 1\n".to_owned()).text();
            let lines: Vec<&str> = text.lines().collect();
            let wanted = (0..series).map(|n| format!("x{{a=\"{n}\"}} 1"));
            let wanted: Vec<String> =
                (series > 0).then(|| "# x".to_owned()).into_iter().chain(wanted).collect();
            assert_eq!(lines[..wanted.len()], wanted, "of {limit}");
            assert_eq!(lines[wanted.len()..], ["# y", "y{a=\"0\"} 1", "z 1"], "of {limit}");
        }
    }

    #[test]
    fn one_piece_of_a_long_text_is_there_at_a_time() {
        let pieces = || {
            let families = vec![family("x", &[100; 1_000], usize::MAX), family("y", &[1], 1)];
            Pieces::new(families, "z 1\n".to_owned())
        };
        let whole = pieces().text();
        assert_eq!(whole.lines().count(), 1 + 100_000 + 1 + 1 + 1);
        let (mut read, mut places) = (String::new(), BTreeSet::new());
        for piece in pieces() {
            assert!(piece.len() <= PIECE + MORE);
            places.insert(piece.as_ptr().addr());
            read.push_str(std::str::from_utf8(&piece).unwrap());
        }
        assert_eq!(read, whole);
        assert_eq!(places.len(), 1, "all pieces are written to the same memory");
        assert_eq!(pieces().collect::<Vec<_>>().concat(), whole.as_bytes(), "unless they are kept");
    }
}
