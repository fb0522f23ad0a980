//! Server-sent events: what has changed, once a second at most, in one rendering for all who listen.
//!
//! Listeners are bounded, of all addresses and of one. One that falls behind is dropped and connects again by itself.
//! Nothing is done while nobody listens.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::answers::{Budget, Share};
use super::listen::Client;
use super::problem::busy;
use super::{Served, Server, Shown};
use crate::incidents::changes::Change;
use crate::incidents::{Counts, IncidentId};

/// Listeners at the same time, and those of one address.
const LISTENERS: usize = 160;
const LISTENERS_OF_ADDRESS: usize = 112;
/// How often changes are told at most.
const EVERY: Duration = Duration::from_secs(1);
/// After how long without a change a comment tells that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a connection lasts: who may look is asked again with the next one.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Messages that a listener may fall behind.
const BEHIND: usize = 8;

pub(super) struct Live {
    messages: Sender<Bytes>,
    is_running: Mutex<bool>,
    listeners: Arc<Budget>,
}

/// What is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    /// Rises with each change of an incident, and begins again with the process.
    version: u64,
    observed_at: Timestamp,
    tracked_pods: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    /// All open incidents.
    open: Counts,
    opened: Vec<IncidentId>,
    updated: Vec<IncidentId>,
    resolved: Vec<IncidentId>,
    /// Changes beside those.
    more: u64,
}

impl Message {
    /// What has changed after a version.
    fn since(version: u64, shown: &Shown) -> Self {
        let not_ready = shown.ready().err();
        let observed_at = (shown.clock)();
        let incidents = shown.incidents.read();
        let changes = incidents.changes();
        let (mut last, mut told) = (HashMap::<IncidentId, Change>::new(), 0);
        for (id, change) in changes.since(version) {
            told += 1;
            let of = last.entry(id).or_insert(change);
            // What is new is new to the listener, whatever else has changed of it.
            if (*of, change) != (Change::Opened, Change::Updated) {
                *of = change;
            }
        }
        let with = |wanted: Change| {
            let mut ids: Vec<_> = last.iter().filter(|(_, is)| **is == wanted).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            version: changes.version(),
            observed_at,
            tracked_pods: incidents.pods(),
            not_ready,
            open: incidents.counts(),
            opened: with(Change::Opened),
            updated: with(Change::Updated),
            resolved: with(Change::Resolved),
            more: (changes.version() - version).saturating_sub(told),
        }
    }

    fn bytes(&self) -> Bytes {
        let data = serde_json::to_string(self).unwrap_or_default();
        format!("event: change\nid: {}\ndata: {data}\n\n", self.version).into()
    }
}

impl Live {
    pub(super) fn new() -> Self {
        let listeners = Budget::new(LISTENERS, LISTENERS_OF_ADDRESS);
        Self { messages: Sender::new(BEHIND), is_running: Mutex::new(false), listeners }
    }

    fn listen(&self, server: &Arc<Server>, version: u64) -> Receiver<Bytes> {
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.messages.subscribe();
        if !std::mem::replace(&mut *is_running, true) {
            tokio::spawn(tell(Arc::downgrade(server), version));
        }
        receiver
    }

    /// Whether nobody listens any more, which ends the telling.
    fn is_over(&self) -> bool {
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        *is_running = self.messages.receiver_count() > 0;
        !*is_running
    }
}

/// Tells what changes for as long as somebody listens.
async fn tell(server: Weak<Server>, mut version: u64) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut not_ready = None;
    loop {
        ticks.tick().await;
        let Some(server) = server.upgrade() else { return };
        if server.live.is_over() {
            return;
        }
        let message = Message::since(version, &server.shown);
        if message.version != version || message.not_ready != not_ready {
            // Whoever listens no more has gone.
            let _ = server.live.messages.send(message.bytes());
            (version, not_ready) = (message.version, message.not_ready);
        }
    }
}

pub(super) async fn events(State(server): Served, Extension(client): Extension<Client>) -> Response {
    let Ok(share) = server.live.listeners.try_take(client.0, 1) else {
        let words = "too many clients are streaming changes; poll the lists instead";
        return busy(StatusCode::SERVICE_UNAVAILABLE, words);
    };
    let version = server.shown.incidents.read().changes().version();
    let receiver = server.live.listen(&server, version);
    // A change in between is told twice rather than never.
    let first =
        [Bytes::from_static(b"retry: 3000\n"), Message::since(version, &server.shown).bytes()].concat();
    let messages = messages(first.into(), receiver, share);
    // Proxies are not to collect it.
    let headers = [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    (headers, Body::from_stream(messages)).into_response()
}

/// What one listener gets. It ends when its time is over, and when the listener has fallen behind.
fn messages(
    first: Bytes,
    receiver: Receiver<Bytes>,
    share: Share,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let until = Instant::now() + LIFETIME;
    stream::unfold((Some(first), receiver, share), move |(first, mut receiver, share)| async move {
        let message = match first {
            Some(first) => first,
            None if Instant::now() >= until => return None,
            None => match timeout(HEARTBEAT, receiver.recv()).await {
                Ok(message) => message.ok()?,
                Err(_) => Bytes::from_static(b":\n\n"),
            },
        };
        Some((Ok(message), (None, receiver, share)))
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    async fn next(stream: &mut (impl Stream<Item = Result<Bytes, Infallible>> + Unpin)) -> Option<Bytes> {
        stream.next().await.map(|message| message.unwrap_or_else(|never| match never {}))
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_falls_behind_is_dropped_and_its_place_is_free_again() {
        let live = Live::new();
        let share = || live.listeners.try_take([10, 0, 0, 1].into(), LISTENERS_OF_ADDRESS);
        let mut slow = Box::pin(messages("first".into(), live.messages.subscribe(), share().unwrap()));
        assert_eq!(next(&mut slow).await.unwrap(), "first");
        live.messages.send("second".into()).unwrap();
        assert_eq!(next(&mut slow).await.unwrap(), "second");
        for _ in 0..=BEHIND {
            live.messages.send("more".into()).unwrap();
        }
        assert!(share().is_err());
        assert_eq!(next(&mut slow).await, None);
        assert!(share().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_tells_that_a_connection_lives_until_its_time_is_over() {
        let (live, began) = (Live::new(), Instant::now());
        let share = live.listeners.try_take([10, 0, 0, 1].into(), 1).unwrap();
        let mut quiet = Box::pin(messages("first".into(), live.messages.subscribe(), share));
        let mut comments = 0;
        while let Some(message) = next(&mut quiet).await {
            comments += u64::from(message == ":\n\n");
        }
        assert_eq!((began.elapsed(), comments), (LIFETIME, LIFETIME.as_secs() / HEARTBEAT.as_secs()));
    }
}
