//! The state of a watch, for metrics and readiness. It is ready once everything was listed, until it has been known to fail for
//! a minute or nothing is heard of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::client::{Failure, Kind};
use super::watch::{Resource, Settings, WatchScope};
use super::watching::GRACE;
use crate::objects::decode::{EventType, Unread};
use crate::redact::clean;

/// A watch that has failed for so long is not ready.
const MAX_TROUBLE: Duration = Duration::from_secs(60);
/// Objects that do not decode are worth a log line again after so long without one.
const UNREAD_AGAIN: Duration = Duration::from_secs(600);
/// How long a watch that has just been opened may take to show what happened before.
const CATCH_UP: Duration = Duration::from_secs(2);

/// The label `type` of what a watch shows, in the order of [`EventType`]; errors are counted by their kinds.
const EVENTS: [&str; 4] = ["added", "modified", "deleted", "bookmark"];

/// The state of one watch, read by metrics and readiness while it runs.
#[derive(Debug)]
pub struct WatchHealth {
    /// Of which resource.
    pub resource: &'static str,
    /// Of which namespace; none for all.
    pub namespace: Option<String>,
    listed: AtomicU64,
    /// By [`EventType`].
    events: [AtomicU64; EVENTS.len()],
    errors: [AtomicU64; Kind::ALL.len()],
    relists: AtomicU64,
    undecodable: AtomicU64,
    last_unread: Mutex<Option<Instant>>,
    /// Milliseconds since 1970; 0 for never.
    last_contact: AtomicI64,
    synced: AtomicBool,
    stale_after: Duration,
    trouble: Mutex<Option<Trouble>>,
    /// There is trouble: spares every update the lock.
    is_troubled: AtomicBool,
    /// The kinds of failures that were logged since it worked last, by bit.
    logged: AtomicU32,
    /// It has worked since the supervisor asked last.
    progress: AtomicBool,
    up_to_date: Mutex<UpToDate>,
}

/// Whether what happens is shown at once.
#[derive(Debug, Default)]
struct UpToDate {
    /// When the watch that is open was opened.
    opened: Option<Instant>,
    /// When that has not been so since, if it ever was.
    lost: Option<Instant>,
}

impl UpToDate {
    fn is_catching_up(&self) -> bool {
        self.opened.is_none_or(|at| at.elapsed() < CATCH_UP)
    }
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    text: String,
    /// Everything was listed since, so that only the watch after it has still to prove itself.
    is_listed: bool,
}

impl WatchHealth {
    /// Of a watch that has not begun.
    pub fn new(resource: &Resource, scope: &WatchScope, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            resource: resource.plural,
            namespace: scope.namespace.clone(),
            listed: AtomicU64::new(0),
            events: Default::default(),
            errors: Default::default(),
            relists: AtomicU64::new(0),
            undecodable: AtomicU64::new(0),
            last_unread: Mutex::new(None),
            last_contact: AtomicI64::new(0),
            synced: AtomicBool::new(false),
            // A watch without bookmarks is only heard of when the next one begins.
            stale_after: settings.timeout + GRACE + settings.answer,
            trouble: Mutex::new(None),
            is_troubled: AtomicBool::new(false),
            logged: AtomicU32::new(0),
            progress: AtomicBool::new(false),
            up_to_date: Mutex::default(),
        })
    }

    /// What came, by the label `type`.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let events = EVENTS.into_iter().zip(&self.events);
        std::iter::once(("listed", &self.listed))
            .chain(events)
            .map(|(kind, count)| (kind, count.load(Relaxed)))
    }

    /// What failed, by the label `kind`.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::ALL.iter().zip(&self.errors).map(|(kind, count)| (kind.as_str(), count.load(Relaxed)))
    }

    /// How many lists were begun after the first one that was completed.
    pub fn relists(&self) -> u64 {
        self.relists.load(Relaxed)
    }

    /// How many objects did not decode.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Relaxed)
    }

    /// When the server last said something that shows the watch to work.
    pub fn last_contact(&self) -> Option<Timestamp> {
        Some(self.last_contact.load(Relaxed))
            .filter(|t| *t != 0)
            .and_then(|t| Timestamp::from_millisecond(t).ok())
    }

    /// Whether a list was completed once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Relaxed)
    }

    /// What is wrong at the moment, in words.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().as_ref().filter(|trouble| !trouble.is_listed).map(|trouble| trouble.text.clone())
    }

    /// Whether the objects are known and fresh; else the reason in words.
    pub fn ready(&self, now: Timestamp) -> Result<(), String> {
        let (failing, text) = match &*self.trouble.lock() {
            Some(trouble) if !trouble.is_listed => (trouble.since.elapsed(), format!(": {}", trouble.text)),
            _ => (Duration::ZERO, String::new()),
        };
        let silent = self
            .last_contact()
            .map_or(Duration::ZERO, |t| now.duration_since(t).try_into().unwrap_or(Duration::ZERO));
        let reason = if !self.is_synced() {
            "the first list is not complete".to_owned()
        } else if failing >= MAX_TROUBLE {
            format!("failing for {} s", failing.as_secs())
        } else if silent > self.stale_after {
            format!("nothing received for {} s", silent.as_secs())
        } else {
            return Ok(());
        };
        let place = self.namespace.as_ref().map(|n| format!(" in {n}")).unwrap_or_default();
        Err(format!("{}{place}: {reason}{text}", self.resource))
    }

    /// Whether what it shows may be old, and the next state of the object a moment away: after an interruption a watch replays
    /// what was missed.
    pub fn is_catching_up(&self) -> bool {
        self.up_to_date.lock().is_catching_up()
    }

    /// For how long what it has shown may be out of date.
    pub fn out_of_date(&self) -> Option<Duration> {
        let state = self.up_to_date.lock();
        state.lost.filter(|_| state.is_catching_up()).map(|at| at.elapsed())
    }

    /// A watch is open, and shows what happens after the list or the watch before.
    pub(super) fn opened(&self) {
        self.up_to_date.lock().opened = Some(Instant::now());
    }

    /// It is not open any more.
    pub(super) fn closed(&self) {
        let mut state = self.up_to_date.lock();
        if state.opened.is_some() && (state.lost.is_none() || !state.is_catching_up()) {
            state.lost = Some(Instant::now());
        }
        state.opened = None;
    }

    /// Resource and namespace, for log lines.
    pub(super) fn names(&self) -> (&'static str, &str) {
        (self.resource, self.namespace.as_deref().unwrap_or("*"))
    }

    /// Something came from the API server.
    #[allow(
        clippy::disallowed_methods,
        reason = "the time of the contact itself; nothing is decided by it here"
    )]
    pub(super) fn alive(&self) {
        self.last_contact.store(Timestamp::now().as_millisecond(), Relaxed);
    }

    /// An event came after the first list.
    pub(super) fn count(&self, kind: EventType) {
        if let Some(counter) = self.events.get(kind as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// An object did not decode. Logged when none did so lately: a broken controller may write them all day.
    pub(super) fn skipped(&self, unread: &Unread) {
        let total = self.undecodable.fetch_add(1, Relaxed) + 1;
        let before = self.last_unread.lock().replace(Instant::now());
        if before.is_none_or(|at| at.elapsed() >= UNREAD_AGAIN) {
            let (resource, namespace) = self.names();
            let example = unread.to_string();
            let example = clean(&example);
            warn!(resource, namespace, %example, total, "skipping objects that do not decode");
        }
    }

    /// It fails since then, as will be said when it is known why.
    pub(super) fn troubled_since(&self, since: Instant) {
        self.trouble.lock().get_or_insert_with(|| Trouble { since, text: String::new(), is_listed: false });
        self.is_troubled.store(true, Relaxed);
    }

    /// It fails. Says whether that is news, whatever the words: they may hold a time or an id.
    pub(super) fn failed(&self, failure: &Failure) -> bool {
        if let Some(count) = self.errors.get(failure.kind as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.troubled_since(Instant::now());
        if let Some(trouble) = &mut *self.trouble.lock() {
            trouble.text.clone_from(&failure.text);
            trouble.is_listed = false;
        }
        let kind = 1 << failure.kind as u32;
        self.logged.fetch_or(kind, Relaxed) & kind == 0
    }

    /// A list begins.
    pub(super) fn begins_list(&self) {
        if self.is_synced() {
            self.relists.fetch_add(1, Relaxed);
        }
    }

    /// An object of a list came.
    pub(super) fn count_listed(&self) {
        self.listed.fetch_add(1, Relaxed);
    }

    /// Whether it has worked since this was asked last.
    pub(super) fn take_progress(&self) -> bool {
        self.progress.swap(false, Relaxed)
    }

    /// A list is complete. What the watch after it does has still to be seen.
    pub(super) fn listed(&self) {
        self.synced.store(true, Relaxed);
        if let Some(trouble) = &mut *self.trouble.lock() {
            trouble.is_listed = true;
        }
    }

    /// The watch delivers, or stays open.
    pub(super) fn progress(&self) {
        self.progress.store(true, Relaxed);
        if self.is_troubled.swap(false, Relaxed) {
            *self.trouble.lock() = None;
        }
    }

    /// The watch stays open.
    pub(super) fn steady(&self) {
        self.progress();
        if self.logged.swap(0, Relaxed) != 0 {
            let (resource, namespace) = self.names();
            info!(resource, namespace, "watch recovered");
        }
    }
}
