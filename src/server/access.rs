//! Who may look: the API server itself is asked whose a token is and whether that user may `get` the path.
//!
//! Its answers hold for a while, and it is asked a bounded number of times a second, whatever clients send. Where it cannot be
//! asked nobody is let in. A token is kept only as a digest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::problem::{busy, problem};

/// How long it holds that somebody may look ...
const ALLOWED: Duration = Duration::from_secs(60);
/// ... that somebody may not ...
const REFUSED: Duration = Duration::from_secs(10);
/// ... and that the API server could not be asked.
const FAILED: Duration = Duration::from_secs(1);
/// How long a token that was let in, and the address it came from, have questions of their own.
const KNOWN: Duration = Duration::from_secs(600);
/// Tokens, and as many addresses, that have questions of their own.
const MAX_KNOWN: usize = 512;
/// Addresses for which one token vouches.
const ADDRESSES_OF_TOKEN: usize = 4;
/// Questions a second that each of them may ask whatever others do, and so many at once: a page with its parts.
const RATE_OF_KNOWN: (f64, f64) = (2.0, 10.0);
/// Questions a second about all other tokens.
const RATE: f64 = 10.0;
/// The part of it that one client address may use.
const RATE_OF_ADDRESS: f64 = 5.0;
/// How long the API server has for its answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest token that is taken.
const TOKEN: usize = 8 * 1024;
/// Verdicts and addresses that are kept without looking for old ones among them.
const KEPT: usize = 1024;

/// What the API server says of a token and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user may get the path.
    Allowed,
    /// The token is nobody's.
    Unknown,
    /// This user may not.
    Forbidden(String),
}

/// Asks the API server about a token and a path; fails in words.
pub type Review = Box<dyn Fn(String, String) -> BoxFuture<'static, Result<Verdict, String>> + Send + Sync>;

/// SHA-256 of a token and a path.
type Digest = [u8; 32];

/// The verdict on one token and path, once there is one; the lock is held while it is asked for.
type Entry = Arc<tokio::sync::Mutex<Option<Known>>>;

#[derive(Clone, Debug)]
struct Known {
    verdict: Result<Verdict, String>,
    until: Instant,
}

/// The gate.
pub struct Access {
    review: Review,
    state: Mutex<State>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

struct State {
    entries: HashMap<Digest, Entry>,
    known: HashMap<Who, LetIn>,
    strangers: Bucket,
    by_address: HashMap<IpAddr, Bucket>,
}

/// A token that was let in, or where it came from: when it is rotated, the next one comes from the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Token(Digest),
    Address(IpAddr),
}

#[derive(Debug)]
struct LetIn {
    last: Instant,
    /// The token that vouches for it: that of the address, or itself.
    by: Digest,
    questions: Bucket,
}

impl Access {
    /// With whom to ask.
    pub fn new(review: Review) -> Self {
        let state = State {
            entries: HashMap::new(),
            known: HashMap::new(),
            strangers: Bucket::new(RATE, RATE),
            by_address: HashMap::new(),
        };
        Self { review, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may be answered; else the refusal.
    pub(super) async fn check(&self, headers: &HeaderMap, path: &str, from: IpAddr) -> Result<(), Response> {
        let Some(token) = token(headers) else {
            return Err(unauthorized("a bearer token is required, such as one from `kubectl create token`"));
        };
        match self.verdict(token, path, from).await {
            None => {
                let words = "too many tokens to check at the moment; try again in a second";
                Err(busy(StatusCode::TOO_MANY_REQUESTS, words))
            }
            Some(Ok(Verdict::Allowed)) => Ok(()),
            Some(Ok(Verdict::Unknown)) => {
                Err(unauthorized("the API server rejects this token: it is unknown or has expired"))
            }
            Some(Ok(Verdict::Forbidden(user))) => {
                let words = format!(
                    "{user} is not allowed to get {path}: it needs the verb get for this nonResourceURL"
                );
                Err(problem(StatusCode::FORBIDDEN, words))
            }
            Some(Err(why)) => {
                let words = format!("the token cannot be checked: {why}");
                Err(busy(StatusCode::SERVICE_UNAVAILABLE, words))
            }
        }
    }

    /// None if too many ask.
    async fn verdict(&self, token: &str, path: &str, from: IpAddr) -> Option<Result<Verdict, String>> {
        let (whose, digest) = (digest(token, ""), digest(token, path));
        let known = self.state().entries.get(&digest).map(Arc::clone);
        // Of a token that was never asked about nothing is kept, unless it may be asked about.
        let is_new = known.is_none();
        let entry = match known {
            Some(entry) => entry,
            None => self.state().admit(digest, whose, from)?,
        };
        let mut entry = entry.lock().await;
        if let Some(known) = entry.as_ref().filter(|known| Instant::now() < known.until) {
            if known.verdict == Ok(Verdict::Allowed) {
                self.state().touch(whose, from);
            }
            return Some(known.verdict.clone());
        }
        // For a new one this has been settled already.
        if (entry.is_some() || !is_new) && !self.state().may_ask(whose, from) {
            return None;
        }
        let verdict = match timeout(ANSWER, (self.review)(token.to_owned(), path.to_owned())).await {
            Ok(verdict) => verdict,
            Err(_) => Err("the API server does not answer".to_owned()),
        };
        let holds = match &verdict {
            Ok(Verdict::Allowed) => ALLOWED,
            Ok(_) => REFUSED,
            Err(_) => FAILED,
        };
        let now = Instant::now();
        if verdict == Ok(Verdict::Allowed) {
            self.state().let_in(whose, from);
        }
        *entry = Some(Known { verdict: verdict.clone(), until: now + holds });
        Some(verdict)
    }
}

impl State {
    fn admit(&mut self, digest: Digest, whose: Digest, from: IpAddr) -> Option<Entry> {
        if !self.may_ask(whose, from) {
            return None;
        }
        if self.entries.len() >= KEPT {
            let now = Instant::now();
            self.entries.retain(|_, entry| match entry.try_lock().as_deref() {
                // It is being asked about.
                Err(_) => true,
                Ok(None) => false,
                Ok(Some(known)) => now < known.until,
            });
        }
        Some(Arc::clone(self.entries.entry(digest).or_default()))
    }

    /// Notes that the API server let this token in. Where there are too many, the one that was let in longest ago gives way.
    fn let_in(&mut self, token: Digest, from: IpAddr) {
        self.touch(token, from);
        self.known.retain(|_, known| Instant::now() < known.last + KNOWN);
        for who in [Who::Token(token), Who::Address(from)] {
            let by = self.known.values().filter(|known| known.by == token).count();
            if self.known.contains_key(&who) || by > ADDRESSES_OF_TOKEN {
                continue;
            }
            let alike = |other: &Who| matches!(other, Who::Token(_)) == matches!(who, Who::Token(_));
            let others = self.known.iter().filter(|(other, _)| alike(other));
            if others.clone().count() >= MAX_KNOWN
                && let Some(oldest) = others.min_by_key(|(_, known)| known.last).map(|(other, _)| *other)
            {
                self.known.remove(&oldest);
            }
            let (rate, most) = RATE_OF_KNOWN;
            self.known
                .insert(who, LetIn { last: Instant::now(), by: token, questions: Bucket::new(rate, most) });
        }
    }

    fn touch(&mut self, token: Digest, from: IpAddr) {
        for who in [Who::Token(token), Who::Address(from)] {
            if let Some(known) = self.known.get_mut(&who) {
                known.last = Instant::now();
            }
        }
    }

    /// None if it was never let in, or too long ago.
    fn take_own(&mut self, who: Who) -> Option<bool> {
        let known = self.known.get_mut(&who).filter(|known| Instant::now() < known.last + KNOWN)?;
        Some(known.questions.take())
    }

    fn may_ask(&mut self, token: Digest, from: IpAddr) -> bool {
        if let Some(may) = self.take_own(Who::Token(token)) {
            return may;
        }
        if self.take_own(Who::Address(from)) == Some(true) {
            return true;
        }
        if self.by_address.len() >= KEPT {
            self.by_address.retain(|_, bucket| !bucket.is_full());
        }
        let own =
            self.by_address.entry(from).or_insert_with(|| Bucket::new(RATE_OF_ADDRESS, RATE_OF_ADDRESS));
        own.take() && self.strangers.take()
    }
}

/// So many a second, and so many at once.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    most: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: f64, most: f64) -> Self {
        Self { rate, most, left: most, at: Instant::now() }
    }

    fn fill(&mut self) {
        let now = Instant::now();
        self.left = (self.left + (now - self.at).as_secs_f64() * self.rate).min(self.most);
        self.at = now;
    }

    fn is_full(&mut self) -> bool {
        self.fill();
        self.left >= self.most
    }

    fn take(&mut self) -> bool {
        self.fill();
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN).then_some(token)
}

fn digest(token: &str, path: &str) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [token.as_bytes(), b"\0", path.as_bytes()] {
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

fn unauthorized(why: &str) -> Response {
    ([(header::WWW_AUTHENTICATE, "Bearer")], problem(StatusCode::UNAUTHORIZED, why)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// `good` is allowed, `poor` forbidden, `down` finds no API server; every other one is unknown.
    fn access() -> (Access, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let review: Review = Box::new(move |token, _| {
            counted.fetch_add(1, Relaxed);
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                match token.as_str() {
                    "good" | "good too" | "good next" => Ok(Verdict::Allowed),
                    "poor" => Ok(Verdict::Forbidden("poor".to_owned())),
                    "down" => Err("connection refused".to_owned()),
                    "slow" => std::future::pending().await,
                    _ => Ok(Verdict::Unknown),
                }
            })
        });
        (Access::new(review), asked)
    }

    async fn status(access: &Access, token: &str, from: IpAddr) -> u16 {
        status_of(access, token, "/metrics", from).await
    }

    async fn status_of(access: &Access, token: &str, path: &str, from: IpAddr) -> u16 {
        let headers =
            [(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect();
        access.check(&headers, path, from).await.err().map_or(200, |refusal| refusal.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn each_verdict_has_its_status_and_holds_for_its_time() {
        let (access, asked) = access();
        for (token, wanted, holds) in
            [("good", 200, 60), ("poor", 403, 10), ("other", 401, 10), ("down", 503, 1)]
        {
            let before = asked.load(Relaxed);
            for _ in 0..5 {
                assert_eq!(status(&access, token, HERE).await, wanted, "{token}");
            }
            tokio::time::advance(Duration::from_millis(holds * 1000 - 10)).await;
            status(&access, token, HERE).await;
            assert_eq!(asked.load(Relaxed) - before, 1, "{token}: asked again before its time");
            tokio::time::advance(Duration::from_millis(20)).await;
            status(&access, token, HERE).await;
            assert_eq!(asked.load(Relaxed) - before, 2, "{token}: not asked again");
        }
        assert_eq!(status(&access, "slow", HERE).await, 503);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_without_a_bearer_token_never_reach_the_api_server() {
        let (access, asked) = access();
        let long = format!("Bearer {}", "a".repeat(TOKEN + 1));
        for value in [None, Some("Basic Zm9v"), Some("Bearer"), Some("Bearer "), Some(long.as_str())] {
            let headers = value.map(|v| (header::AUTHORIZATION, v.parse().unwrap())).into_iter().collect();
            let refusal = access.check(&headers, "/", HERE).await.unwrap_err();
            assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(refusal.headers()[header::WWW_AUTHENTICATE], "Bearer");
        }
        assert_eq!(asked.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_bad_tokens_asks_ten_times_a_second_and_keeps_nobody_out_who_was_let_in() {
        let (access, asked) = access();
        assert_eq!(status(&access, "good", [10, 0, 0, 9].into()).await, 200);
        let (mut refused, seconds) = (0, 120);
        for second in 0..seconds {
            for n in 0..200u8 {
                // From many addresses, one of which asks alone for every other token.
                let from = [10, 0, 1, if n % 2 == 0 { 0 } else { n }].into();
                refused += usize::from(status(&access, &format!("{second}-{n}"), from).await == 429);
            }
            assert_eq!(status(&access, "good", [10, 0, 0, 9].into()).await, 200, "in second {second}");
            tokio::time::advance(Duration::from_millis(900)).await;
        }
        let asked = asked.load(Relaxed);
        assert!((seconds * 8..=seconds * 11 + 20).contains(&asked), "{asked} in about {seconds} s");
        assert!(refused > seconds * 150, "{refused}");
        assert!(access.state().entries.len() <= KEPT + 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_let_in_is_kept_out_by_no_other_token_and_no_other_path() {
        let (access, asked) = access();
        let prometheus = IpAddr::from([10, 0, 0, 9]);
        assert_eq!(status(&access, "good", prometheus).await, 200);
        assert_eq!(status(&access, "good too", HERE).await, 200);
        let seconds = 300;
        for second in 0..seconds {
            for n in 0..50u8 {
                let from = [10, 0, 1, n].into();
                status_of(&access, "good too", &format!("/incidents/{second}-{n}"), from).await;
                status(&access, &format!("bad {second}-{n}"), from).await;
            }
            assert_eq!(status(&access, "good", prometheus).await, 200, "in second {second}");
            tokio::time::advance(Duration::from_millis(900)).await;
        }
        // A rotated token is a new one, but it comes from where the old one came from.
        assert_eq!(status(&access, "good next", prometheus).await, 200);
        let asked = asked.load(Relaxed);
        assert!(asked <= seconds * 20, "{asked} in about {seconds} s");
        assert!(access.state().known.len() <= 2 * MAX_KNOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_uses_half_of_the_questions_and_leaves_the_rest_to_others() {
        let (access, _) = access();
        for n in 0..100 {
            status(&access, &format!("bad-{n}"), HERE).await;
        }
        assert_eq!(status(&access, "more", HERE).await, 429);
        assert_eq!(status(&access, "good", [10, 0, 0, 1].into()).await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn many_requests_with_one_token_ask_once() {
        let (access, asked) = access();
        let all = futures::future::join_all((0..200).map(|_| status(&access, "good", HERE))).await;
        assert!(all.iter().filter(|status| **status == 200).count() >= 195, "{all:?}");
        assert!(asked.load(Relaxed) <= 5);
    }
}
