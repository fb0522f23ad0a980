//! The time of the cluster. Every answer of the API server says what time it is there. Where the clock of this process is far
//! from that, the server's time is used: with a clock that is an hour behind, a failure would be hidden for an hour, with one
//! that is ahead, no failure would have a grace period.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, header};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// What tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A difference up to this is of no account.
const NEAR: SignedDuration = SignedDuration::from_secs(5);
/// One of more than this is worth a line in the log ...
const LOGGED: SignedDuration = SignedDuration::from_secs(30);
/// ... so often at most: several API servers may disagree.
const LOG_EVERY: Duration = Duration::from_secs(3600);
/// A server that is farther away than this does not know the time.
const FAR: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The time of the cluster: that of this process, or the API server's where they differ.
pub struct ClusterClock {
    own: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The server's time, and when it was that, if it differs. From there on time is counted, so that it stays right when the
    /// clock of this process is set.
    server: Option<(Timestamp, Instant)>,
    logged: Option<Instant>,
}

impl ClusterClock {
    /// Until the server has answered, the time is the process' own.
    pub fn new(own: Clock) -> Arc<Self> {
        Arc::new(Self { own, state: Mutex::default() })
    }

    /// The same client, of which every answer sets the clock.
    pub fn set_by(self: &Arc<Self>, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let clock = Arc::clone(self);
        let send = move |request: Request<Body>| {
            let (client, clock) = (client.clone(), Arc::clone(&clock));
            async move {
                let asked = (clock.own)();
                let response = client.send(request).await?;
                if let Some(said) = server_time(response.headers()) {
                    clock.set(said, asked);
                }
                Ok::<_, kube::Error>(response)
            }
        };
        Client::new(tower::service_fn(send), namespace)
    }

    pub fn now(&self) -> Timestamp {
        self.server().unwrap_or_else(|| (self.own)())
    }

    /// How far the server's clock is ahead of that of this process; zero when they are near.
    pub fn skew(&self) -> SignedDuration {
        self.server().map_or(SignedDuration::ZERO, |server| server.duration_since((self.own)()))
    }

    /// The server's time, if it differs.
    fn server(&self) -> Option<Timestamp> {
        let (time, at) = self.state.lock().server?;
        time.checked_add(at.elapsed()).ok()
    }

    /// The answer to a request of that time said this one.
    fn set(&self, said: Timestamp, asked: Timestamp) {
        let now = (self.own)();
        // It was that time at some moment between request and answer, and within a second from there.
        let (least, most) =
            (said.duration_since(now), said.duration_since(asked) + SignedDuration::from_secs(1));
        let skew = SignedDuration::ZERO.max(least).min(most.max(least));
        let differs = NEAR < skew.abs() && skew.abs() < FAR;
        let mut state = self.state.lock();
        state.server = now.checked_add(skew).ok().filter(|_| differs).map(|time| (time, Instant::now()));
        let is_due = state.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if differs && skew.abs() > LOGGED && is_due {
            state.logged = Some(Instant::now());
            drop(state);
            warn!(ahead_seconds = skew.as_secs(), "clock skew: using the API server's time");
        }
    }
}

/// The time that a server gives with its answer.
pub(super) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let said = headers.get(header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(said).ok()
}
