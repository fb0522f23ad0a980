//! The last hours as a picture: what opened, resolved and terminated per five minutes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::count;
use crate::incidents::history::{BUCKET, BUCKETS};
use crate::server::query::Bucket;

/// Of a bucket in the picture.
const WIDTH: u32 = 5;
/// Of the three bands: opened above a line, resolved below it, terminations at the bottom.
const OPENED: u32 = 40;
const RESOLVED: u32 = 26;
const ENDED: u32 = 18;
const GAP: u32 = 5;
/// Reasons of terminations that are counted one by one.
const REASONS: usize = 4;

/// What has happened, with its numbers in words below. None if that is nothing.
pub(super) fn strip(buckets: &[Bucket], now: Timestamp) -> Option<Markup> {
    let ended = |bucket: &Bucket| bucket.terminations.values().sum::<u32>();
    let sum = |of: fn(&Bucket) -> u32| buckets.iter().map(|bucket| of(bucket) as usize).sum::<usize>();
    let (opened, resolved) = (sum(|b| b.opened), sum(|b| b.resolved));
    let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, times) in buckets.iter().flat_map(|bucket| &bucket.terminations) {
        *by_reason.entry(reason).or_default() += *times as usize;
    }
    let terminations: usize = by_reason.values().sum();
    if opened + resolved + terminations == 0 {
        return None;
    }
    // Both on one scale, so that they compare.
    let most = buckets.iter().map(|b| b.opened.max(b.resolved)).max().unwrap_or(0);
    let most_ended = buckets.iter().map(ended).max().unwrap_or(0);
    let width = BUCKETS as u32 * WIDTH;
    let bottom = OPENED + RESOLVED + GAP + ENDED;
    let mut reasons: Vec<(&str, usize)> = by_reason.into_iter().collect();
    reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    Some(html! {
        svg.strip viewBox={ "0 0 " (width) " " (bottom) } preserveAspectRatio="none" role="img"
            aria-label="Incidents that opened and resolved, and terminations, per five minutes over the last six hours" {
            @for bucket in buckets {
                @let x = place(bucket, now) * WIDTH;
                @let up = height(bucket.opened, most, OPENED);
                @let down = height(bucket.resolved, most, RESOLVED);
                @let low = height(ended(bucket), most_ended, ENDED);
                @if up > 0 { rect.opened x=(x) y=(OPENED - up) width=(WIDTH - 1) height=(up) {} }
                @if down > 0 { rect.resolved x=(x) y=(OPENED) width=(WIDTH - 1) height=(down) {} }
                @if low > 0 { rect.ended x=(x) y=(bottom - low) width=(WIDTH - 1) height=(low) {} }
            }
            line.axis x1="0" x2=(width) y1=(OPENED) y2=(OPENED) {}
            line.axis x1="0" x2=(width) y1=(bottom) y2=(bottom) {}
        }
        p.ticks aria-hidden="true" { span { "6 h ago" } span { "3 h ago" } span { "now" } }
        p.key {
            span { (swatch("opened")) (opened) " opened" }
            span { (swatch("resolved")) (resolved) " resolved" }
            span {
                (swatch("ended")) (count(terminations, "termination"))
                @for (at, (reason, times)) in reasons.iter().take(REASONS).enumerate() {
                    (if at == 0 { ": " } else { ", " })
                    // One reason has the number of all.
                    @if reasons.len() > 1 { (times) " " }
                    (reason)
                }
            }
        }
    })
}

/// From the left.
fn place(bucket: &Bucket, now: Timestamp) -> u32 {
    let back = now.duration_since(bucket.at).as_secs() / BUCKET.as_secs();
    (BUCKETS as u32 - 1).saturating_sub(u32::try_from(back).unwrap_or(0))
}

/// What is more than nothing is seen.
fn height(number: u32, most: u32, full: u32) -> u32 {
    match number {
        0 => 0,
        _ => (u64::from(number) * u64::from(full) / u64::from(most.max(1))).max(2) as u32,
    }
}

fn swatch(class: &str) -> Markup {
    html! { svg viewBox="0 0 8 8" aria-hidden="true" { rect class=(class) width="8" height="8" rx="2" {} } }
}
