//! Expensive answers, shared and bounded: the same question within a second is answered by one rendering, and what all of
//! them take together has a limit, of which one client address may use half.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Display;
use std::hash::Hasher as _;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout_at};

use super::problem::{self, busy};

/// How long a rendering answers the same question.
const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for its turn.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer may take to be sent, whatever its client does.
pub const WHOLE: Duration = Duration::from_secs(60);
/// Bytes of all renderings that are being sent.
const BYTES: usize = 8 << 20;
/// After a rendering, the next one waits for as long as that took, and no longer than this: updates and scrapes need a core, too.
const REST: Duration = Duration::from_millis(500);
/// Requests that wait for a rendering.
const WAITING: usize = 32;
/// Different questions that are remembered.
const QUESTIONS: usize = 256;
/// Seconds between two looks of an open page: this many ...
const SOONEST: u64 = 2;
/// ... and no more than this many, however long an answer takes.
const LATEST: u64 = 16;
/// An answer takes at most this part of the time until the next look: 4 % of a core.
const PART: u32 = 25;
/// Carries it, see [`refresh_after`].
const REFRESH_AFTER: &str = "x-refresh-after";
/// Bytes that are sent at once.
pub const CHUNK: usize = 64 * 1024;

/// The server has enough to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        busy(StatusCode::SERVICE_UNAVAILABLE, "too many requests at the moment; try again in a second")
    }
}

/// A number of things, of which one address may have a part.
#[derive(Debug)]
pub(super) struct Budget {
    total: usize,
    per_address: usize,
    used: Mutex<HashMap<IpAddr, usize>>,
    freed: Notify,
}

impl Budget {
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, used: Mutex::default(), freed: Notify::new() })
    }

    pub(super) fn try_take(self: &Arc<Self>, address: IpAddr, amount: usize) -> Result<Share, Busy> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let of_all: usize = used.values().sum();
        let own = used.get(&address).copied().unwrap_or(0);
        if of_all + amount > self.total || own + amount > self.per_address {
            return Err(Busy);
        }
        used.insert(address, own + amount);
        Ok(Share { budget: Arc::clone(self), address, amount })
    }

    /// Waits for it, for as long as a request may.
    pub(super) async fn take(self: &Arc<Self>, address: IpAddr, amount: usize) -> Result<Share, Busy> {
        let until = Instant::now() + PATIENCE;
        loop {
            let freed = self.freed.notified();
            if let Ok(share) = self.try_take(address, amount) {
                return Ok(share);
            }
            timeout_at(until, freed).await.map_err(|_| Busy)?;
        }
    }
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    address: IpAddr,
    amount: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = used.get_mut(&self.address) {
            *own -= self.amount;
            if *own == 0 {
                used.remove(&self.address);
            }
        }
        drop(used);
        self.budget.freed.notify_waiters();
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Rendered {
    pub(super) fn json(bytes: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", bytes }
    }

    /// An error, in words.
    pub(super) fn problem(status: StatusCode, detail: impl Display) -> Self {
        Self { status, content_type: problem::CONTENT_TYPE, bytes: problem::json(status, detail) }
    }
}

/// An answer that is ready, for everyone who asks the same.
#[derive(Debug)]
struct Rendering {
    status: StatusCode,
    content_type: &'static str,
    bytes: Bytes,
    tag: HeaderValue,
    made: Instant,
    refresh_after: u64,
    _share: Share,
}

/// Seconds after which a client that shows the answer may ask again: powers of two, so that those who ask by the clock share the
/// next answer. It depends on the time of the rendering: everyone who shares that hears the same.
fn refresh_after(took: Duration) -> u64 {
    let periods = std::iter::successors(Some(SOONEST), |period| Some(period * 2));
    periods
        .take_while(|period| *period < LATEST)
        .find(|period| Duration::from_secs(*period) >= took * PART)
        .unwrap_or(LATEST)
}

type Cell = Arc<OnceCell<Arc<Rendering>>>;

/// The thread on which answers are made. The GNU C library keeps what a thread has freed for that thread: on many threads in turn the
/// answers would take several times the memory.
#[derive(Clone, Debug)]
struct Maker(mpsc::Sender<Box<dyn FnOnce() + Send>>);

impl Maker {
    fn new() -> Self {
        let (sender, works) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let work = move || {
            for work in works {
                // What fails has sent no answer.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        let _ = thread::Builder::new().name("answers".to_owned()).spawn(work);
        Self(sender)
    }

    /// Waits for the answer.
    fn make(&self, render: impl FnOnce() -> Rendered + Send + 'static) -> Result<Rendered, Busy> {
        let (sender, made) = mpsc::channel();
        let work = move || drop(sender.send(render()));
        self.0.send(Box::new(work)).map_err(|_| Busy)?;
        made.recv().map_err(|_| Busy)
    }
}

/// The answers.
#[derive(Debug)]
pub(super) struct Answers {
    by_question: Mutex<HashMap<String, Cell>>,
    /// One is made at a time: it takes a core.
    making: Arc<tokio::sync::Semaphore>,
    maker: Maker,
    waiting: Arc<Budget>,
    bytes: Arc<Budget>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            by_question: Mutex::default(),
            making: Arc::new(tokio::sync::Semaphore::new(1)),
            maker: Maker::new(),
            waiting: Budget::new(WAITING, WAITING / 2),
            bytes: Budget::new(BYTES, BYTES / 2),
        }
    }

    /// What `render` makes, or that it has made for somebody else just now.
    pub(super) async fn answer(
        &self,
        question: String,
        from: IpAddr,
        asked: &HeaderMap,
        render: impl FnOnce() -> Rendered + Send + 'static,
    ) -> Response {
        let rendering = match self.cell(question) {
            Ok(cell) => cell.get_or_try_init(|| self.make(from, render)).await.map(Arc::clone),
            Err(busy) => Err(busy),
        };
        match rendering {
            Ok(rendering) => respond(rendering, asked),
            Err(busy) => busy.into_response(),
        }
    }

    fn cell(&self, question: String) -> Result<Cell, Busy> {
        let mut all = self.by_question.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|_, cell| match cell.get() {
            Some(rendering) => now < rendering.made + FRESH,
            // Nobody waits for it any more.
            None => Arc::strong_count(cell) > 1,
        });
        if all.len() >= QUESTIONS && !all.contains_key(&question) {
            // What is ready costs nothing but a rendering more, if somebody asks for it again.
            let ready = all.iter().filter_map(|(question, cell)| Some((cell.get()?.made, question)));
            let oldest = ready.min_by_key(|(made, _)| *made).map(|(_, question)| question.clone());
            all.remove(&oldest.ok_or(Busy)?);
        }
        Ok(Arc::clone(all.entry(question).or_default()))
    }

    async fn make(
        &self,
        from: IpAddr,
        render: impl FnOnce() -> Rendered + Send + 'static,
    ) -> Result<Arc<Rendering>, Busy> {
        let waiting = self.waiting.try_take(from, 1)?;
        let turn = timeout_at(Instant::now() + PATIENCE, Arc::clone(&self.making).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        drop(waiting);
        let (budget, maker) = (Arc::clone(&self.bytes), self.maker.clone());
        // Not in a task: in a storm it takes longer than an update may wait. The turn lasts until it is done, even if whoever
        // asked has gone meanwhile.
        let made = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let rendered = maker.make(render);
            let took = began.elapsed();
            Handle::current().spawn(async move {
                tokio::time::sleep(took.min(REST)).await;
                drop(turn);
            });
            let Rendered { status, content_type, bytes } = rendered?;
            let refresh_after = refresh_after(took);
            let share = budget.try_take(from, bytes.len())?;
            let (tag, bytes) = (tag(&bytes), bytes.into());
            let made = Instant::now();
            Ok(Arc::new(Rendering { status, content_type, bytes, tag, made, refresh_after, _share: share }))
        });
        made.await.map_err(|_| Busy)?
    }
}

/// Where the time of the look stands in an answer, and what is behind it: a field of JSON, an element of a page.
const TIMES: [(&[u8], u8); 2] = [(b"\"observedAt\":", b','), (b" id=\"as-of\"", b'/')];
/// Bytes of an answer in which it is looked for.
const HEAD: usize = 4096;

/// Names the content, the time of the look left out: the same content has the same tag.
fn tag(bytes: &[u8]) -> HeaderValue {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let time = TIMES.iter().find_map(|(mark, end)| {
        let begins = memchr::memmem::find(head, mark)? + mark.len();
        let ends = begins + memchr::memchr(*end, bytes.get(begins..)?)?;
        Some((begins, ends))
    });
    let (begins, ends) = time.unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes.get(..begins).unwrap_or_default());
    hasher.write(bytes.get(ends..).unwrap_or_default());
    let text = format!("\"{:016x}-{:x}\"", hasher.finish(), bytes.len());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

fn respond(rendering: Arc<Rendering>, asked: &HeaderMap) -> Response {
    let tag = (header::ETAG, rendering.tag.clone());
    let again = (HeaderName::from_static(REFRESH_AFTER), HeaderValue::from(rendering.refresh_after));
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| value == rendering.tag);
    if known && rendering.status == StatusCode::OK {
        return (StatusCode::NOT_MODIFIED, [tag, again]).into_response();
    }
    let (status, kind) =
        (rendering.status, (header::CONTENT_TYPE, HeaderValue::from_static(rendering.content_type)));
    let length = (header::CONTENT_LENGTH, HeaderValue::from(rendering.bytes.len()));
    let until = Instant::now() + WHOLE;
    // In chunks, so that it is noticed when the client is too slow. Each holds on to the rendering, and it to its budget.
    let chunks = stream::try_unfold((rendering, 0), move |(rendering, at)| async move {
        in_time(until)?;
        let end = rendering.bytes.len().min(at + CHUNK);
        Ok::<_, io::Error>((at < end).then(|| (rendering.bytes.slice(at..end), (rendering, end))))
    });
    (status, [kind, length, tag, again], Body::from_stream(chunks)).into_response()
}

/// An error that breaks an answer off whose time is over.
pub(super) fn in_time(until: Instant) -> io::Result<()> {
    if Instant::now() < until { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn body(response: Response) -> Bytes {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_clients_that_ask_the_same_within_a_second_share_one_rendering() {
        let answers = Arc::new(Answers::new());
        let made = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (answers, made) = (Arc::clone(&answers), Arc::clone(&made));
            async move {
                let render = move || Rendered::json(made.fetch_add(1, Relaxed).to_string().into_bytes());
                answers.answer("a".to_owned(), HERE, &HeaderMap::new(), render).await
            }
        };
        let all = futures::future::join_all((0..200).map(|_| ask())).await;
        for response in all {
            assert_eq!((response.status(), body(response).await), (StatusCode::OK, "0".into()));
        }
        tokio::time::advance(FRESH).await;
        assert_eq!(body(ask().await).await, "1");
    }

    #[test]
    fn a_client_asks_again_the_later_the_longer_an_answer_takes() {
        let after = |ms| refresh_after(Duration::from_millis(ms));
        assert_eq!([0, 80, 81, 160, 320, 321, 60_000].map(after), [2, 2, 4, 4, 8, 16, 16]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_being_sent_has_a_limit_and_an_address_has_half_of_it() {
        let answers = Answers::new();
        let ask = async |question: &str, from: IpAddr| {
            let render = || Rendered::json(vec![b' '; BYTES / 4]);
            answers.answer(question.to_owned(), from, &HeaderMap::new(), render).await
        };
        let (first, _second) = (ask("1", HERE).await, ask("2", HERE).await);
        let busy = ask("3", HERE).await;
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
        // The same question costs nothing more, and others have their own half.
        assert_eq!(ask("1", HERE).await.status(), StatusCode::OK);
        assert_eq!(ask("3", [10, 0, 0, 1].into()).await.status(), StatusCode::OK);
        drop(first);
        tokio::time::advance(FRESH).await;
        assert_eq!(ask("4", HERE).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_that_asks_many_questions_keeps_nobody_out() {
        let answers = Answers::new();
        let ask = async |question: String, from: IpAddr| {
            answers.answer(question, from, &HeaderMap::new(), || Rendered::json(vec![b' '])).await.status()
        };
        for question in 0..2 * QUESTIONS {
            assert_eq!(ask(question.to_string(), HERE).await, StatusCode::OK);
        }
        assert_eq!(ask("another".to_owned(), [10, 0, 0, 1].into()).await, StatusCode::OK);
        assert!(answers.by_question.lock().unwrap().len() <= QUESTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_cannot_be_made_keeps_no_other_one_from_being_made() {
        let answers = Answers::new();
        let ask = |question: &str, render: fn() -> Rendered| {
            let (question, answers) = (question.to_owned(), &answers);
            async move { answers.answer(question, HERE, &HeaderMap::new(), render).await.status() }
        };
        assert_eq!(ask("1", || panic!("made to fail")).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask("2", || Rendered::json(vec![b' '])).await, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn all_answers_are_made_on_one_thread() {
        let answers = Answers::new();
        let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
        let ask = |question: usize| {
            let threads = Arc::clone(&threads);
            let render = move || {
                threads.lock().unwrap().insert(thread::current().id());
                Rendered::json(vec![b' '])
            };
            let answers = &answers;
            async move { answers.answer(question.to_string(), HERE, &HeaderMap::new(), render).await }
        };
        futures::future::join_all((0..10).map(ask)).await;
        assert_eq!(threads.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_breaks_off_when_its_time_is_over() {
        let answers = Answers::new();
        let render = || Rendered::json(vec![b' '; 3 * CHUNK]);
        let response = answers.answer(String::new(), HERE, &HeaderMap::new(), render).await;
        tokio::time::advance(WHOLE).await;
        assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_changed_is_not_sent_again_whatever_the_time_of_the_look() {
        let answers = Answers::new();
        let ask = async |text: &'static str, tag: Option<&HeaderValue>| {
            tokio::time::advance(FRESH).await;
            let asked = tag.map(|tag| (header::IF_NONE_MATCH, tag.clone())).into_iter().collect();
            answers.answer(String::new(), HERE, &asked, || Rendered::json(text.into())).await
        };
        let page =
            ask(r#"<p><time id="as-of" datetime="2026-12-01T10:00:00Z">10:00:00</time> a"#, None).await;
        let tag = page.headers()[header::ETAG].clone();
        let same = r#"<p><time id="as-of" datetime="2026-12-01T10:00:09Z">10:00:09</time> a"#;
        assert_eq!(ask(same, Some(&tag)).await.status(), StatusCode::NOT_MODIFIED);
        let other = r#"<p><time id="as-of" datetime="2026-12-01T10:00:09Z">10:00:09</time> b"#;
        assert_eq!(ask(other, Some(&tag)).await.status(), StatusCode::OK);
        let first = ask(r#"{"observedAt":"2026-12-01T10:00:00.5Z","items":[]}"#, None).await;
        let tag = first.headers()[header::ETAG].clone();
        let same = ask(r#"{"observedAt":"2026-12-01T10:00:01.7Z","items":[]}"#, Some(&tag)).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        let other = ask(r#"{"observedAt":"2026-12-01T10:00:01.7Z","items":[1]}"#, Some(&tag)).await;
        assert_eq!(
            (other.status(), body(other).await.len()),
            (StatusCode::OK, r#"{"observedAt":"2026-12-01T10:00:01.7Z","items":[1]}"#.len())
        );
    }
}
