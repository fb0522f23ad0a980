//! The body of an open watch: its frames become lines of JSON, and each one counts as contact with the API server. It says how the watch ended, which
//! kube-runtime would pass over in silence.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use kube::client::Body;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::PollSemaphore;

use super::client::{Failure, Kind};
use super::envelope::{Seen, Writer};
use super::transport::{ANSWER, LONG, Wire};
use crate::objects::decode::{Encoding, EventType, Frames};

/// How long after the end of its time a watch may still be silent: less than the five seconds after which kube-runtime
/// reconnects without a word.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// A watch that stays open for so long works, even if nothing happens. One that is closed each time after that asks less
/// often than the transport's pace allows.
const STEADY: Duration = Duration::from_secs(3);
/// So many frames in a row that cannot be read end a watch.
const MAX_UNREAD: u32 = 100;
/// Updates that come this close together are worth coalescing: most of what one costs is to wake up for it ...
const BURST: Duration = Duration::from_millis(1);
/// ... so those of this time are taken together. An update on a quiet watch is taken at once.
const COALESCE_WINDOW: Duration = Duration::from_millis(5);

/// The body of an open watch.
pub(super) struct Watching {
    wire: Arc<Wire>,
    body: Body,
    encoding: Encoding,
    frames: Frames,
    writer: Writer,
    /// Within the first list.
    is_initial: bool,
    is_steady: bool,
    is_over: bool,
    /// Frames that could be read.
    read: u64,
    /// An object came after the first list.
    delivered: bool,
    /// Frames in a row that could not be read.
    unread: u32,
    /// When it began, or its first list was complete.
    opened: Instant,
    /// When the last frame came that could be read.
    heard: Instant,
    timer: Pin<Box<Sleep>>,
    coalesce: Coalesce,
    turns: PollSemaphore,
    /// Held while a frame is long.
    turn: Option<OwnedSemaphorePermit>,
}

impl Watching {
    pub(super) fn new(wire: Arc<Wire>, body: Body, encoding: Encoding, is_initial: bool) -> Self {
        let now = Instant::now();
        if !is_initial {
            wire.health.opened();
        }
        Self {
            writer: Writer::new(&wire.resource),
            turns: PollSemaphore::new(Arc::clone(&wire.turn)),
            turn: None,
            wire,
            body,
            encoding,
            frames: Frames::new(encoding),
            is_initial,
            is_steady: false,
            is_over: false,
            read: 0,
            delivered: false,
            unread: 0,
            opened: now,
            heard: now,
            timer: Box::pin(sleep(STEADY)),
            coalesce: Coalesce::new(now),
        }
    }

    pub(super) fn poll_lines(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            ready!(self.coalesce.poll(cx));
            if self.poll_turn(cx).is_pending() {
                let failure = ready!(self.poll_timer(cx));
                return self.end(Err(failure));
            }
            let chunk = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => return self.end(Err(Failure::of(&error))),
                Poll::Ready(None) => return self.end(Ok(())),
                Poll::Pending if self.coalesce.is_burst => {
                    ready!(self.coalesce.yield_now(cx));
                    continue;
                }
                Poll::Pending => {
                    let failure = ready!(self.poll_timer(cx));
                    return self.end(Err(failure));
                }
            };
            match self.lines(chunk) {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Poll::Ready(Some(Ok(lines.into()))),
                Err(failure) => return self.end(Err(failure)),
            }
        }
    }

    /// Ready unless the frame is long and another watch or list reads what is long.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.frames.begun() <= LONG {
            self.turn = None;
        } else if self.turn.is_none() {
            self.turn = ready!(self.turns.poll_acquire(cx));
        }
        Poll::Ready(())
    }

    /// Notices that the watch stays open, and that it has been silent for too long.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.is_open_for(STEADY, now) {
                self.steady();
            }
            let limit = if self.is_initial { ANSWER } else { self.wire.lasts + GRACE };
            let silent_at = self.heard + limit;
            if now >= silent_at {
                let text = match self.is_initial {
                    // A server that ignores `sendInitialEvents` never says that this was all.
                    true => {
                        self.wire.no_streaming();
                        "the first list stalled".to_owned()
                    }
                    false => format!("nothing received for {} s: the connection seems dead", limit.as_secs()),
                };
                return Poll::Ready(Failure::new(Kind::Timeout, text));
            }
            let steady_at = (self.opened + STEADY).max(now + Duration::from_secs(1));
            let next = if self.is_steady { silent_at } else { steady_at.min(silent_at) };
            self.timer.as_mut().reset(next);
        }
    }

    fn is_open_for(&self, time: Duration, now: Instant) -> bool {
        !self.is_initial && self.unread == 0 && now.duration_since(self.opened) >= time
    }

    fn steady(&mut self) {
        if !std::mem::replace(&mut self.is_steady, true) {
            self.wire.health.alive();
            self.wire.health.steady();
        }
    }

    fn lines(&mut self, chunk: Bytes) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::with_capacity(chunk.len() + chunk.len() / 2);
        self.frames.push(chunk);
        let (now, read) = (Instant::now(), self.read);
        loop {
            let frame = match self.frames.next_frame() {
                Ok(Some([])) => continue,
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return Err(self.garbage(error.to_string())),
            };
            let health = &self.wire.health;
            match self.writer.frame(frame, self.encoding, &mut out) {
                Seen::Object(kind) => {
                    if !self.is_initial {
                        self.delivered = true;
                        health.count(kind);
                    }
                }
                Seen::Bookmark { initial_events_end } => {
                    health.count(EventType::Bookmark);
                    if self.is_initial && initial_events_end {
                        self.is_initial = false;
                        self.opened = now;
                        health.opened();
                    }
                }
                Seen::Error => continue,
                Seen::Unread(unread) => {
                    health.skipped(&unread);
                    self.unread += 1;
                    if self.unread > MAX_UNREAD || self.read == 0 && self.encoding == Encoding::Protobuf {
                        return Err(self.garbage("the watch sent something that is not an event".to_owned()));
                    }
                    continue;
                }
            }
            self.read += 1;
            self.unread = 0;
        }
        if self.read > read {
            self.heard = now;
            self.wire.health.alive();
            if self.delivered {
                self.wire.health.progress();
            }
            if !self.is_steady && self.is_open_for(STEADY, now) {
                self.steady();
            }
        }
        if !self.is_initial {
            self.coalesce.came(now, self.read - read);
        }
        Ok(out)
    }

    /// What came is no watch. In JSON it may be one.
    fn garbage(&self, text: String) -> Failure {
        if self.encoding == Encoding::Protobuf && self.read == 0 {
            self.wire.no_protobuf(&text);
        }
        Failure::new(Kind::Protocol, text)
    }

    fn end(&mut self, how: Result<(), Failure>) -> Poll<Option<Result<Bytes, Failure>>> {
        self.is_over = true;
        self.wire.health.closed();
        let is_within_frame = self.frames.is_within_frame();
        // kube-runtime keeps a stream that failed until it is asked for the next one, after a pause.
        self.frames = Frames::new(self.encoding);
        self.body = Body::empty();
        self.turn = None;
        let now = Instant::now();
        let how = how.and_then(|()| {
            if self.is_initial {
                return Err(Failure::new(Kind::Protocol, "the watch was closed during its first list"));
            }
            if is_within_frame {
                return Err(Failure::new(
                    Kind::Unreachable,
                    "the watch was closed in the middle of an event",
                ));
            }
            if !self.delivered && !self.is_open_for(STEADY, now) {
                let open = now.duration_since(self.opened);
                let when = if open.is_zero() { "at once".to_owned() } else { format!("after {open:.1?}") };
                return Err(Failure::new(Kind::Protocol, format!("the watch was closed {when}")));
            }
            Ok(())
        });
        Poll::Ready(match how {
            Ok(()) => {
                if self.is_open_for(STEADY, now) {
                    self.steady();
                }
                self.wire.silent.store(!self.delivered, Relaxed);
                None
            }
            Err(failure) => Some(Err(failure)),
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if !self.is_over {
            self.wire.health.closed();
        }
    }
}

/// Lets updates that come in a burst gather in the connection.
struct Coalesce {
    came: Instant,
    is_burst: bool,
    /// The connection's task had its turn.
    yielded: bool,
    window: Option<Pin<Box<Sleep>>>,
}

impl Coalesce {
    fn new(now: Instant) -> Self {
        Self { came: now, is_burst: false, yielded: false, window: None }
    }

    fn came(&mut self, now: Instant, frames: u64) {
        self.is_burst = frames > 1 || now.duration_since(self.came) < BURST;
        self.came = now;
        self.yielded = false;
    }

    /// Ready when no window is open.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(window) = &mut self.window {
            ready!(window.as_mut().poll(cx));
            self.window = None;
        }
        Poll::Ready(())
    }

    /// Nothing is there, within a burst: lets the connection's task run, which hands over one frame at a time, and if that
    /// brings nothing opens a window.
    fn yield_now(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_burst = false;
        self.window = Some(Box::pin(sleep(COALESCE_WINDOW)));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::sync::Semaphore;

    use super::super::health::WatchHealth;
    use super::super::watch::{Resource, Settings, WatchScope};
    use super::*;

    /// A watch whose only frame never ends, and how many bytes of it were read.
    async fn endless(turn: &Arc<Semaphore>) -> (Watching, Arc<std::sync::atomic::AtomicUsize>) {
        let (resource, settings) = (Resource::PODS, Settings::default());
        let health = WatchHealth::new(&resource, &WatchScope::default(), &settings);
        let wire = Arc::new(Wire::new(resource, health, &settings, Arc::clone(turn)));
        let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let count = Arc::clone(&count);
            let chunks = futures::stream::repeat_with(move || {
                let chunk = Bytes::from_static(&[b'a'; 64 << 10]);
                count.fetch_add(chunk.len(), Relaxed);
                Ok::<_, std::io::Error>(Frame::data(chunk))
            });
            std::future::ready(Ok::<_, std::io::Error>(http::Response::new(StreamBody::new(chunks))))
        });
        let client = kube::Client::new(service, "default");
        let body = client.send(http::Request::new(Body::empty())).await.unwrap().into_body();
        (Watching::new(wire, body, Encoding::Json, false), read)
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_frames_without_end_one_at_a_time_is_read_beyond_what_is_usual() {
        let turn = Arc::new(Semaphore::new(1));
        let busy = Arc::clone(&turn).acquire_owned().await.unwrap();
        let (mut watching, read) = endless(&turn).await;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(watching.poll_lines(&mut cx).is_pending());
        let held = read.load(Relaxed);
        assert!((LONG..=LONG + (64 << 10)).contains(&held), "{held}");
        drop(busy);
        // Now it is its turn, which ends with the watch, as does its memory.
        assert!(matches!(watching.poll_lines(&mut cx), Poll::Ready(Some(Err(_)))));
        assert_eq!((turn.available_permits(), watching.frames.begun()), (1, 0));
        // Nor does it wait for its turn for ever.
        let _busy = Arc::clone(&turn).acquire_owned().await.unwrap();
        let (mut watching, _) = endless(&turn).await;
        let ended = std::future::poll_fn(|cx| watching.poll_lines(cx)).await;
        assert!(matches!(ended, Some(Err(_))));
    }
}
