//! Pages of a list: a bounded part of it in order, and an opaque token for where the next one begins.
//!
//! A page begins behind a key, not at a number: what opens or resolves between two pages moves nothing else.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer, Serialize};

/// Items of a page if nothing else is asked for.
pub const ITEMS: usize = 500;
/// Items of a page at most.
pub const MAX_ITEMS: usize = 5_000;
/// Bytes that the items of a page may take as they are kept; written as JSON they take two to three times as much.
pub const MAX_BYTES: usize = 512 << 10;

/// Where a finding stands among others, worst first as `diagnose` sorts them; the number tells findings of one subject apart.
pub type FindingKey =
    (Reverse<u8>, u8, String, String, String, Option<(String, String)>, String, String, usize);

/// Which page is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The token of the page before.
    pub after: Option<String>,
    /// Items at most.
    pub limit: Option<usize>,
    /// How the list is sorted, if there is a choice. A key of one order says nothing about a place in another.
    pub order: &'static str,
}

/// The `limit` of a query, where an empty one is as good as none. A page may always have fewer items than asked for, and says by its
/// token that there are more: a larger number is as good as the largest.
pub fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let number =
        text.parse::<u64>().ok().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0);
    let number = number.map(|number| number.min(MAX_ITEMS));
    number.map(Some).ok_or_else(|| D::Error::custom("must be a whole number from 1"))
}

/// The `continue` of a query, where an empty one is as good as none.
pub fn token<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|token| !token.is_empty()))
}

/// A token that leads to no page of this list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("invalid continue token: take it unchanged from the page before, or leave it out to start again")]
    Unknown,
    #[error(
        "the continue token is of a list with another sort: use the same sort, or leave the token out to start again"
    )]
    OtherOrder,
}

/// Picks the items of one page out of all, which may come in any order. It holds no more than a page.
#[derive(Debug)]
pub struct Page<K, T> {
    after: Option<K>,
    limit: usize,
    order: &'static str,
    kept: BTreeMap<K, T>,
    /// All items that were offered, those of other pages too.
    pub total: usize,
    has_more: bool,
}

impl<K: Ord + Serialize + DeserializeOwned, T> Page<K, T> {
    /// The page that is asked for.
    pub fn new(wanted: &Wanted) -> Result<Self, BadToken> {
        let decode = |token: &String| {
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken::Unknown)?;
            let (order, key): (String, K) = serde_json::from_slice(&bytes).map_err(|_| BadToken::Unknown)?;
            if order == wanted.order { Ok(key) } else { Err(BadToken::OtherOrder) }
        };
        let after = wanted.after.as_ref().map(decode).transpose()?;
        // A page without items would have no key to go on from.
        let limit = wanted.limit.unwrap_or(ITEMS).clamp(1, MAX_ITEMS);
        Ok(Self { after, limit, order: wanted.order, kept: BTreeMap::new(), total: 0, has_more: false })
    }

    /// An item of the list. `key` is its own alone.
    pub fn offer(&mut self, key: K, item: impl FnOnce() -> T) {
        self.total += 1;
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        let is_full = self.kept.len() >= self.limit;
        if is_full {
            self.has_more = true;
            if self.kept.last_key_value().is_some_and(|(last, _)| key > *last) {
                return;
            }
            self.kept.pop_last();
        }
        self.kept.insert(key, item());
    }

    /// The items in order, and the token of the next page, if there is one. `size` is what an item takes, see [`MAX_BYTES`].
    pub fn done(self, size: impl Fn(&T) -> usize) -> (Vec<T>, Option<String>) {
        let Self { kept, mut has_more, order, .. } = self;
        let (mut items, mut last, mut bytes) = (Vec::with_capacity(kept.len()), None, 0);
        for (key, item) in kept {
            bytes += size(&item);
            if bytes > MAX_BYTES && !items.is_empty() {
                has_more = true;
                break;
            }
            items.push(item);
            last = Some(key);
        }
        let token = last.filter(|_| has_more).and_then(|key| serde_json::to_vec(&(order, key)).ok());
        (items, token.map(|key| URL_SAFE_NO_PAD.encode(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[u32], after: Option<String>, limit: usize, size: usize) -> (Vec<u32>, Option<String>) {
        let mut page =
            Page::<u32, u32>::new(&Wanted { after, limit: Some(limit), ..Wanted::default() }).unwrap();
        items.iter().for_each(|n| page.offer(*n, || *n));
        page.done(|_| size)
    }

    #[test]
    fn pages_one_after_another_hold_every_item_once_in_order() {
        let items: Vec<u32> = (0..100).map(|n| n * 37 % 101).collect();
        let mut sorted = items.clone();
        sorted.sort_unstable();
        for (limit, size) in
            [(1, 1), (7, 1), (99, 1), (100, 1), (5_000, 1), (50, MAX_BYTES / 3), (9, MAX_BYTES * 2)]
        {
            let (mut seen, mut token) = (Vec::new(), None);
            loop {
                let (mut part, next) = page(&items, token, limit, size);
                assert!(part.len() <= limit && !part.is_empty());
                seen.append(&mut part);
                token = next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen, sorted, "limit {limit}");
        }
    }

    #[test]
    fn what_opens_or_resolves_between_two_pages_moves_nothing_else() {
        let (first, token) = page(&[10, 20, 30, 40], None, 2, 1);
        assert_eq!(first, [10, 20]);
        assert_eq!(page(&[5, 10, 30, 40], token, 2, 1), (vec![30, 40], None));
    }

    #[test]
    fn a_limit_is_bounded_and_a_token_of_somebody_else_is_refused() {
        let items: Vec<u32> = (0..6_000).collect();
        assert_eq!(page(&items, None, 0, 1).0, [0]);
        assert_eq!(page(&items, None, usize::MAX, 1).0.len(), MAX_ITEMS);
        for token in ["", "x", "!!", "bnVsbA", &"a".repeat(10_000)] {
            let wanted = Wanted { after: Some(token.to_owned()), ..Wanted::default() };
            assert_eq!(Page::<u32, u32>::new(&wanted).unwrap_err(), BadToken::Unknown, "{token}");
        }
    }
}
