//! One open watch: what has changed since it began, as frames of the answer's body.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::api::status;
use super::cluster::{Change, Cluster, Object, Opened};
use super::encoding::Encoding;
use super::fault::{Cut, Fault};
use super::resources::RESOURCES;
use super::selector::Filter;

/// Bookmarks come about once a minute, as the API server's do.
const BOOKMARK: Duration = Duration::from_secs(60);
/// Frames are gathered into chunks of about this size.
const PIECE: usize = 32 * 1024;

/// How a watch begins.
#[derive(Debug)]
pub(super) enum Start {
    /// With every change after this version.
    After(u64),
    /// With the present objects as ADDED; when `marked`, a bookmark then says that this was all.
    Everything { marked: bool },
}

/// What a watch request asked for.
pub(super) struct Asked {
    pub resource: usize,
    pub filter: Filter,
    pub encoding: Encoding,
    pub bookmarks: bool,
    pub timeout: Duration,
    pub start: Start,
}

enum End {
    Ordered,
    Broken,
}

struct Watch {
    cluster: Cluster,
    asked: Asked,
    /// What there was at the beginning, and how much of it has been said.
    initial: Option<(Arc<Vec<Arc<Object>>>, usize)>,
    marked: bool,
    columns_sent: bool,
    cursor: u64,
    waker: Receiver<()>,
    bookmark_at: Instant,
    deadline: Instant,
    cuts_seen: u64,
    cut_after: Option<(usize, Cut)>,
    bad: Option<(usize, Bytes)>,
    sent: usize,
    out: Vec<u8>,
    end: Option<End>,
    opened: Opened,
}

/// The frames of a watch, until it times out or is cut.
pub(super) fn frames(cluster: Cluster, asked: Asked) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let plural = RESOURCES[asked.resource].plural;
    let (mut cut_after, mut bad, mut bookmarks) = (None, None, asked.bookmarks);
    for fault in cluster.faults("watch", plural) {
        match fault {
            Fault::CutWatch { after } => cut_after = Some((after, Cut::End)),
            Fault::CutWatchMidLine { after } => cut_after = Some((after, Cut::MidLine)),
            Fault::BadItem { at, json } => bad = Some((at, json)),
            Fault::NoBookmarks => bookmarks = false,
            _ => {}
        }
    }
    // Subscribed before the first look, so that no write falls between.
    let waker = cluster.waker(asked.resource);
    let (cursor, initial, marked) = match asked.start {
        Start::After(version) => (version, None, false),
        Start::Everything { marked } => {
            let (version, objects) = cluster.snapshot(asked.resource);
            (version, Some((objects, 0)), marked)
        }
    };
    let now = Instant::now();
    let watch = Watch {
        initial,
        marked,
        columns_sent: false,
        cursor,
        waker,
        bookmark_at: now + BOOKMARK,
        deadline: now + asked.timeout,
        cuts_seen: cluster.cuts(asked.resource).0,
        cut_after,
        bad,
        sent: 0,
        out: Vec::new(),
        end: None,
        opened: cluster.opened(asked.resource),
        asked: Asked { bookmarks, ..asked },
        cluster,
    };
    futures::stream::unfold(watch, Watch::next)
}

impl Watch {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        loop {
            self.fill();
            if self.initial.is_none() {
                self.opened.said(self.cursor);
            }
            if !self.out.is_empty() {
                let chunk = Bytes::from(std::mem::take(&mut self.out));
                return Some((Ok(Frame::data(chunk)), self));
            }
            match self.end.take() {
                Some(End::Ordered) => return None,
                Some(End::Broken) => {
                    self.end = Some(End::Ordered);
                    let error =
                        io::Error::new(io::ErrorKind::ConnectionReset, "the simulated connection broke");
                    return Some((Err(error), self));
                }
                None => {}
            }
            let next = if self.asked.bookmarks { self.bookmark_at.min(self.deadline) } else { self.deadline };
            tokio::select! {
                changed = self.waker.changed() => if changed.is_err() { return None },
                () = sleep_until(next) => {}
            }
        }
    }

    /// Writes what there is to say into `out`.
    fn fill(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.waker.borrow_and_update();
        let resource = self.asked.resource;
        let (cuts, how) = self.cluster.cuts(resource);
        if let Some(how) = how.filter(|_| cuts != self.cuts_seen) {
            self.cuts_seen = cuts;
            self.cut(how);
            return;
        }
        let now = Instant::now();
        if now >= self.deadline {
            // The API server's last bookmark, which spares the next watch what this one has seen.
            self.bookmark(None);
            self.end = Some(End::Ordered);
            return;
        }
        if self.cluster.faults("watch", RESOURCES[resource].plural).contains(&Fault::StallWatch) {
            self.bookmark_at = now + BOOKMARK;
            return;
        }
        if let Some((objects, mut said)) = self.initial.take() {
            while let Some(object) = objects.get(said) {
                if self.out.len() >= PIECE || self.end.is_some() {
                    self.initial = Some((objects, said));
                    return;
                }
                if self.asked.filter.matches(object) {
                    self.event("ADDED", object);
                }
                said += 1;
            }
            if self.end.is_some() {
                return;
            }
            if self.marked {
                self.bookmark(Some(json!({"k8s.io/initial-events-end": "true"})));
            }
        }
        // Read before the changes: with none to come, everything up to it has been seen.
        let version = self.cluster.version();
        let Some(changes) = self.cluster.changes(resource, self.cursor, 256) else {
            self.cut(Cut::Gone);
            return;
        };
        if changes.is_empty() {
            self.cursor = self.cursor.max(version);
        }
        for change in &changes {
            self.cursor = change.version;
            self.change(change);
            if self.end.is_some() {
                return;
            }
        }
        if changes.len() == 256 {
            // There may be more, which no new write announces.
            self.waker.mark_changed();
        }
        if self.asked.bookmarks && now >= self.bookmark_at {
            self.bookmark_at = now + BOOKMARK;
            self.bookmark(None);
        }
    }

    /// A change as the selectors show it: an object that enters is ADDED, one that leaves is DELETED.
    fn change(&mut self, change: &Change) {
        let before = change.old.as_ref().is_some_and(|old| self.asked.filter.matches(old));
        let after = !change.deleted && self.asked.filter.matches(&change.new);
        match (before, after) {
            (false, true) => self.event("ADDED", &change.new),
            (true, true) => self.event("MODIFIED", &change.new),
            (true, false) if change.deleted => self.event("DELETED", &change.new),
            (true, false) => {
                // The API server shows the object as it was when it still matched, at the version at which it left.
                let left = change.old.as_ref().map(|old| old.at_version(change.version));
                self.event("DELETED", left.as_ref().unwrap_or(&change.new));
            }
            (false, false) => {}
        }
    }

    fn event(&mut self, kind: &str, object: &Arc<Object>) {
        if let Some((_, how)) = self.cut_after.filter(|(after, _)| *after == self.sent) {
            self.cut(how);
            return;
        }
        match &self.bad {
            Some((at, json)) if *at == self.sent => {
                self.asked.encoding.write_raw_event(kind, json, &mut self.out);
            }
            _ => {
                let now = self.cluster.now();
                self.asked.encoding.write_event(kind, object, !self.columns_sent, now, &mut self.out);
                self.columns_sent = true;
            }
        }
        self.sent += 1;
    }

    fn bookmark(&mut self, annotations: Option<Value>) {
        if !self.asked.bookmarks && annotations.is_none() {
            return;
        }
        // Of a watch from a version that is yet to come nothing is said, not even how far it is.
        if self.cursor > self.cluster.version() {
            return;
        }
        let resource = &RESOURCES[self.asked.resource];
        let mut metadata = json!({"resourceVersion": self.cursor.to_string()});
        if let Some(annotations) = annotations {
            metadata["annotations"] = annotations;
        }
        let object =
            json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
        self.asked.encoding.write_value_event("BOOKMARK", &object, &mut self.out);
    }

    fn cut(&mut self, how: Cut) {
        self.end = Some(match how {
            Cut::End => End::Ordered,
            Cut::MidLine => {
                self.asked.encoding.write_half_event(&mut self.out);
                End::Broken
            }
            Cut::Gone => {
                let message =
                    format!("too old resource version: {} ({})", self.cursor, self.cluster.version());
                let gone = status(410, "Expired", &message, Value::Null);
                self.asked.encoding.write_value_event("ERROR", &gone, &mut self.out);
                End::Ordered
            }
        });
    }
}
