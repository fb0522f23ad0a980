//! What is remembered from one scrape to the next: what each pod that is not at rest looked like, and what is counted over
//! all of them. A scrape looks at the pods that have changed since the last, a few at a time.
//!
//! While nobody scrapes, nothing is remembered but what the last scrape has seen.
//!
//! Must not know how the text is handed on.

use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;

use super::address::ByAddress;
use super::counts::{self, Counts};
use super::pages::Pages;
use super::series::Writer;
use crate::incidents::changes::Place;
use crate::incidents::kept::Kept;
use crate::incidents::store::{Home, Uid};
use crate::incidents::terminations::Ended;
use crate::incidents::{ActivePod, Incidents, RECENT};

/// Pods that are looked at under one lock.
const CHUNK: usize = 400;
/// How long the lock is left alone before each piece: a writer that is woken for it is not to find it taken again, as it did
/// for the whole of a scrape.
const PAUSE: Duration = Duration::from_micros(100);

/// What the last scrape has seen, always of the same [`Incidents`].
#[derive(Debug, Default)]
pub struct Memory {
    /// Up to where all changes are known; none before the first scrape, and after one that broke off.
    known: Option<Known>,
    seen: HashMap<Uid, Seen>,
    /// Of pods: that they have incidents, since when, and their ends.
    pub pods: Pages<3>,
    /// What is counted over them.
    pub counts: Counts,
    containers: HashMap<ByAddress<Ended>, usize>,
    /// The ends of containers.
    pub ends: Pages<1>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    pods: Place,
    ends: Place,
    at: Timestamp,
}

/// A pod with series.
#[derive(Debug)]
struct Seen {
    place: usize,
    home: Arc<Home>,
    /// The findings of its incidents.
    incidents: Box<[Arc<Kept>]>,
    /// When the first of its ends is not recent any more, seconds since 1970.
    until: i64,
}

impl Memory {
    /// Looks at what has changed. Waits for the lock now and then.
    pub fn look(&mut self, incidents: &RwLock<Incidents>, now: Timestamp) {
        let read = || incidents.read().unwrap_or_else(PoisonError::into_inner);
        let next = || {
            std::thread::sleep(PAUSE);
            read()
        };
        // By a clock that was set back, ends may be recent again.
        let known = self.known.take().filter(|known| known.at <= now);
        let (known, mut uids, ended) = {
            let incidents = read();
            let (pods, ends) = (incidents.changes(), incidents.terminations().changes());
            let changed = known.and_then(|known| {
                Some((
                    pods.since(known.pods)?.collect::<Vec<_>>(),
                    ends.since(known.ends)?.collect::<Vec<_>>(),
                ))
            });
            let (uids, ended) = changed.unwrap_or_else(|| {
                *self = Self::default();
                let ended = incidents.terminations().iter().cloned().collect();
                (incidents.active_uids().collect(), ended)
            });
            (Known { pods: pods.place(), ends: ends.place(), at: now }, uids, ended)
        };
        let over = self.seen.iter().filter(|(_, seen)| seen.until <= now.as_second());
        uids.extend(over.map(|(uid, _)| uid));
        uids.sort_unstable();
        uids.dedup();
        let mut writer = Writer::default();
        for chunk in uids.chunks(CHUNK) {
            writer.clear();
            let looks = {
                let incidents = next();
                let found = incidents.several(chunk);
                fetch(&found);
                let mut found = found.into_iter().peekable();
                let pods = chunk.iter().map(|uid| (*uid, found.next_if(|pod| pod.uid == *uid)));
                pods.map(|(uid, pod)| (uid, pod.and_then(|pod| Look::at(&pod, now, &mut writer))))
                    .collect::<Vec<_>>()
            };
            let mut from = [0; 3];
            for (uid, look) in looks {
                match look {
                    Some(look) => {
                        let to = look.lengths;
                        self.see(uid, look, writer.texts_between(from, to));
                        from = to;
                    }
                    None => self.forget(uid),
                }
            }
        }
        let mut writer = Writer::default();
        for ended in ended {
            writer.clear();
            writer.ended(&ended);
            let ended = ByAddress(ended);
            if writer.texts() != [""] {
                let place = *self.containers.entry(ended).or_insert_with(|| self.ends.take());
                self.ends.set(place, writer.texts());
            } else if let Some(place) = self.containers.remove(&ended) {
                self.ends.give_back(place);
            }
        }
        self.counts.write_workloads();
        self.known = Some(known);
    }

    fn see(&mut self, uid: Uid, look: Look, texts: [&str; 3]) {
        let Look { home, incidents, until, .. } = look;
        match self.seen.entry(uid) {
            Entry::Vacant(entry) => {
                let place = self.pods.take();
                self.pods.set(place, texts);
                self.counts.add(&home, &incidents);
                entry.insert(Seen { place, home, incidents, until });
            }
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                self.pods.set(seen.place, texts);
                let counts_as_before =
                    Arc::ptr_eq(&seen.home, &home) && counts::same(&seen.incidents, &incidents);
                if !counts_as_before {
                    // In this order, so that its workload is not left without a pod in between.
                    self.counts.add(&home, &incidents);
                    self.counts.remove(&seen.home, &seen.incidents);
                }
                *seen = Seen { place: seen.place, home, incidents, until };
            }
        }
    }

    fn forget(&mut self, uid: Uid) {
        if let Some(seen) = self.seen.remove(&uid) {
            self.pods.give_back(seen.place);
            self.counts.remove(&seen.home, &seen.incidents);
        }
    }
}

/// A pod with series, as it is now.
struct Look {
    home: Arc<Home>,
    incidents: Box<[Arc<Kept>]>,
    until: i64,
    /// Where its text ends.
    lengths: [usize; 3],
}

impl Look {
    /// None of a pod without series. What is done here, the watch may have to wait for.
    fn at(pod: &ActivePod<'_>, now: Timestamp, writer: &mut Writer<3>) -> Option<Self> {
        let over = pod.recent_ends(now).filter_map(|end| end.at.checked_add(RECENT).ok()).min();
        if pod.incidents.is_empty() && over.is_none() {
            return None;
        }
        let Home { namespace, workload, .. } = &**pod.home;
        let kept = pod.incidents.iter().map(|incident| &incident.kept);
        let names = (&**namespace, pod.name, Some(workload));
        writer.object(names, pod.node, kept.clone().map(|kept| &**kept), pod.recent_ends(now));
        Some(Self {
            home: Arc::clone(pod.home),
            incidents: kept.cloned().collect(),
            until: over.map_or(i64::MAX, Timestamp::as_second),
            lengths: writer.texts().map(str::len),
        })
    }
}

/// Reads a byte of each text that is about to be written. Of many pods in a loop of their own, the processor fetches them
/// at once; in the course of writing it would wait for each in turn, which took longer than all the rest.
fn fetch(pods: &[ActivePod<'_>]) {
    let kept: Vec<&Kept> = pods.iter().flat_map(|p| p.incidents).map(|i| &*i.kept).collect();
    let of_pods = pods.iter().map(|p| {
        let ends: u32 = p.ends().iter().map(|e| first_byte(&e.container)).sum();
        first_byte(p.name) + first_byte(p.node) + first_bytes(p.home) + ends
    });
    let of_kept =
        kept.iter().map(|k| first_byte(&k.container) + k.scope.as_ref().map_or(0, |s| first_byte(&s.name)));
    std::hint::black_box(of_pods.chain(of_kept).sum::<u32>());
}

fn first_bytes(home: &Home) -> u32 {
    first_byte(&home.namespace) + first_byte(&home.workload.kind) + first_byte(&home.workload.name)
}

fn first_byte(text: &str) -> u32 {
    text.as_bytes().first().copied().unwrap_or_default().into()
}
