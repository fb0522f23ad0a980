//! Whatever an API server does, a watch asks no more often than it may, says what is wrong, and is right again soon after.

#![allow(clippy::disallowed_methods, reason = "readiness is asked as the daemon asks it")]

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use kubehealer::cluster::client::Kind;
use kubehealer::cluster::evidence;
use kubehealer::cluster::lean::BoundedClient;
use kubehealer::cluster::snapshot::{self, Progress, Wanted};
use kubehealer::cluster::watch::{Resource, Settings, Watch, WatchScope};
use kubehealer::objects::Pod;
use kubehealer::simulator::{Api, Cluster, Cut, Fault, client};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use crate::watch::{BY_PAGES, Running, capture, pod, run, with_pods};

/// When a fault begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Start,
    /// In the middle of the first list.
    FirstList,
    Steady,
    /// While everything is listed again.
    Relist,
}

const PHASES: [Phase; 4] = [Phase::Start, Phase::FirstList, Phase::Steady, Phase::Relist];

/// What goes wrong: answers of the server, or the network between.
#[derive(Clone, Debug)]
enum Trouble {
    Server(&'static str, Fault),
    Network(Network),
}

fn requests(cluster: &Cluster) -> u64 {
    cluster.asked("list", "pods") + cluster.asked("watch", "pods")
}

/// What a fault did in five minutes.
#[derive(Debug)]
struct Outcome {
    /// The most requests within one minute.
    most: u64,
    /// All requests.
    all: u64,
    /// After how many seconds the watch was not ready for the first time, and how many it was in all.
    first_unready: Option<u64>,
    unready: u64,
    /// What was said to be wrong in the end.
    trouble: Option<String>,
    /// How long it took to be right again.
    recovered: Duration,
    log: Vec<String>,
}

const MINUTES: u64 = 5;

async fn outcome(troubles: &[Trouble], phase: Phase, settings: Settings) -> Outcome {
    let log = Arc::default();
    let guard = capture(&log, "kubehealer=info");
    let cluster = with_pods(7);
    let (client, network) = network(&cluster);
    let begin = || {
        for trouble in troubles {
            match trouble {
                Trouble::Server(target, fault) => cluster.fault(target, fault.clone()),
                Trouble::Network(fault) => network.set(*fault),
            }
        }
    };
    match phase {
        Phase::Start => begin(),
        Phase::FirstList => {
            cluster.fault("watch pods", Fault::CutWatchMidLine { after: 3 });
            cluster.fault("list pods", Fault::CutList);
        }
        Phase::Steady | Phase::Relist => {}
    }
    let running = run(client, WatchScope::default(), settings);
    match phase {
        Phase::Start => {}
        Phase::FirstList => {
            sleep(Duration::from_millis(300)).await;
            cluster.heal_all();
            begin();
        }
        Phase::Steady | Phase::Relist => {
            running.synced().await;
            sleep(Duration::from_secs(20)).await;
            begin();
            cluster.cut_watches("pods", if phase == Phase::Steady { Cut::End } else { Cut::Gone });
        }
    }
    let mut seen = vec![requests(&cluster) + network.refused()];
    let (mut first_unready, mut unready) = (None, 0);
    for second in 0..60 * MINUTES {
        sleep(Duration::from_secs(1)).await;
        seen.push(requests(&cluster) + network.refused());
        if running.health.ready(jiff::Timestamp::now()).is_err() {
            first_unready.get_or_insert(second + 1);
            unready += 1;
        }
    }
    let trouble = running.health.trouble();
    cluster.heal_all();
    network.set(Network::Up);
    cluster.delete("pods", "shop", "web-001");
    cluster.apply(pod("shop", "late")).unwrap();
    if running.health.undecodable() > 0 {
        // What could not be read is read when it changes, or in the next list.
        cluster.cut_watches("pods", Cut::Gone);
    }
    let healed = Instant::now();
    running.equal(&cluster).await;
    let recovered = healed.elapsed();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.health.ready(jiff::Timestamp::now()), Ok(()), "{troubles:?} {phase:?}");
    assert_eq!(running.health.trouble(), None, "{troubles:?} {phase:?}");
    drop(guard);
    let log = String::from_utf8(std::mem::take(&mut *log.lock().unwrap())).unwrap();
    Outcome {
        most: seen.iter().zip(&seen[60..]).map(|(from, to)| to - from).max().unwrap(),
        all: seen.last().unwrap() - seen[0],
        first_unready,
        unready,
        trouble,
        recovered,
        log: log.lines().map(str::to_owned).collect(),
    }
}

/// A fault that leaves nothing that works, so that the watch must say so within a minute.
const BLIND: bool = true;
const WORKS: bool = false;

fn answer(status: u16, body: &'static str) -> Fault {
    Fault::Answer { status, content_type: "application/json", headers: &[], body: body.as_bytes() }
}

fn page(status: u16) -> Fault {
    let body = b"<html><h1>Bad gateway \x1b[31m</h1></html>";
    Fault::Answer { status, content_type: "text/html", headers: &[], body }
}

fn faults() -> Vec<(&'static str, Vec<Trouble>, bool)> {
    let second = Duration::from_secs(1);
    let watch = |fault| vec![Trouble::Server("watch pods", fault)];
    let list = |fault| vec![Trouble::Server("list pods", fault)];
    let both = |fault| vec![Trouble::Server("* pods", fault)];
    let json =
        |fault| vec![Trouble::Server("* pods", Fault::RefuseProtobuf), Trouble::Server("watch pods", fault)];
    let net = |fault| vec![Trouble::Network(fault)];
    let redirect = Fault::Answer {
        status: 302,
        content_type: "text/plain",
        headers: &[("location", "http://127.0.0.1:9/")],
        body: b"",
    };
    let gzip = Fault::Answer {
        status: 200,
        content_type: "application/json",
        headers: &[("content-encoding", "gzip")],
        body: b"no gzip",
    };
    let wrong: Bytes =
        Bytes::from_static(br#"{"kind":"Pod","metadata":{"name":7},"spec":[],"status":"none"}"#);
    vec![
        ("watch closes at once", watch(Fault::CloseWatch { after: Duration::ZERO }), BLIND),
        ("watch closes after 1 s", watch(Fault::CloseWatch { after: second }), BLIND),
        ("watch closes after 4 s", watch(Fault::CloseWatch { after: 4 * second }), WORKS),
        ("watch closes after a bookmark", watch(Fault::BookmarkThenClose), BLIND),
        ("410 after a bookmark", watch(Fault::BookmarkThenGone), WORKS),
        ("garbage, then the watch closes", watch(Fault::Garbage { times: 1, every: Duration::ZERO }), BLIND),
        ("garbage for ever", watch(Fault::Garbage { times: 100_000, every: second / 20 }), BLIND),
        ("garbage in JSON", json(Fault::Garbage { times: 1, every: Duration::ZERO }), BLIND),
        ("garbage in protobuf", both(Fault::BrokenProtobuf), WORKS),
        ("a frame without end", watch(Fault::Endless), BLIND),
        ("a line without end", json(Fault::Endless), BLIND),
        ("every body without end", both(Fault::Endless), BLIND),
        ("list without end", list(Fault::Endless), WORKS),
        ("a byte every 5 s", both(Fault::Drip { every: 5 * second }), WORKS),
        ("watch cut within its first event", watch(Fault::CutWatchMidLine { after: 0 }), WORKS),
        ("watch cut after two events", watch(Fault::CutWatchMidLine { after: 2 }), WORKS),
        ("watch ends after one event", watch(Fault::CutWatch { after: 1 }), WORKS),
        ("list cut in the middle", list(Fault::CutList), WORKS),
        ("continue token repeats", list(Fault::RepeatContinue), WORKS),
        ("continue token has expired", list(Fault::GoneOnPage), WORKS),
        ("list from an old cache", list(Fault::Behind { version: 5 }), WORKS),
        ("watch is silent", watch(Fault::StallWatch), WORKS),
        ("no bookmarks", watch(Fault::NoBookmarks), WORKS),
        ("no streaming list", watch(Fault::RefuseWatchList), WORKS),
        ("no protobuf", both(Fault::RefuseProtobuf), WORKS),
        ("an object of wrong types", both(Fault::BadItem { at: 2, json: wrong }), WORKS),
        ("an object that is null", both(Fault::BadItem { at: 2, json: Bytes::from_static(b"null") }), WORKS),
        ("no answer", both(Fault::BlackHole), BLIND),
        ("answers 20 s late", both(Fault::Delay(20 * second)), WORKS),
        ("400", both(answer(400, "{}")), BLIND),
        ("401", both(Fault::Unauthorized), BLIND),
        ("403", both(Fault::Forbidden), BLIND),
        ("404", both(answer(404, "404 page not found")), BLIND),
        ("405", both(answer(405, "")), BLIND),
        ("406", both(answer(406, "")), BLIND),
        ("410 to each watch", watch(Fault::GoneOnWatch), BLIND),
        ("410 to everything", both(answer(410, "")), BLIND),
        ("422", both(answer(422, "{}")), BLIND),
        ("429, again in 1 s", both(Fault::TooManyRequests { retry_after: 1 }), BLIND),
        ("429, again in an hour", both(Fault::TooManyRequests { retry_after: 3600 }), BLIND),
        ("500", both(Fault::InternalError), BLIND),
        ("502, a page of a proxy", both(page(502)), BLIND),
        ("503", both(Fault::Unavailable { retry_after: None }), BLIND),
        ("503, again in 5 s", both(Fault::Unavailable { retry_after: Some(5) }), BLIND),
        ("504", both(answer(504, "")), BLIND),
        ("200, a page to log in", both(page(200)), BLIND),
        ("200, no body", both(answer(200, "")), BLIND),
        ("200, an empty object", both(answer(200, "{}")), BLIND),
        ("200, null", both(answer(200, "null")), BLIND),
        ("redirect", both(redirect), BLIND),
        ("broken gzip", both(gzip), BLIND),
        ("connection refused", net(Network::Refused), BLIND),
        ("connection reset", net(Network::Reset), BLIND),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_fault_is_met_with_more_requests_than_the_pace_nor_with_a_log_line_each() {
    let mut table = String::from(
        "| fault | what `/readyz` and the log say | steady watch not ready after | requests a minute, at most | up to date again after | lost |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut failures = Vec::new();
    for (name, troubles, blind) in faults() {
        let (mut most, mut recovered, mut unready, mut said) = (0, Duration::ZERO, None, String::new());
        for (way, settings) in [("streaming", Settings::default()), ("pages", BY_PAGES)] {
            for phase in PHASES {
                let outcome = outcome(&troubles, phase, settings).await;
                let what = format!("{name}, {way}, {phase:?}: {outcome:#?}");
                if std::env::var_os("SHOW").is_some() {
                    println!("{what}");
                }
                let mut is_well = outcome.most <= 35 && outcome.all <= 31 * MINUTES;
                is_well &= outcome.recovered < Duration::from_secs(100);
                is_well &= outcome.log.len() <= 16;
                // One line for objects that do not decode, however many there are.
                let unread = outcome.log.iter().filter(|line| line.contains("skipping objects"));
                is_well &= unread.count() <= 1;
                if blind && phase != Phase::Relist {
                    is_well &= outcome.first_unready.is_some_and(|at| at <= 61);
                    is_well &= outcome.unready > 60 * (MINUTES - 2);
                }
                if !is_well {
                    failures.push(what);
                }
                most = most.max(outcome.most);
                recovered = recovered.max(outcome.recovered);
                if phase == Phase::Steady {
                    unready = unready.max(outcome.first_unready);
                }
                if said.is_empty() {
                    said = outcome.trouble.unwrap_or_default();
                }
            }
        }
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {most} | {} s | {} |",
            said.replace('|', "\\|"),
            unready.map_or("stays ready".to_owned(), |s| format!("{s} s")),
            recovered.as_secs() + 1,
            if name.starts_with("an object") {
                "the object, until it changes or is listed again"
            } else {
                "nothing"
            },
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    keep(&table);
}

/// The table of docs/reliability.md: `UPDATE_GENERATED=1` writes it; else each fault has its row. How often and how long differ
/// from run to run, within the bounds above.
fn keep(table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- faults -->\n", "<!-- end of faults -->");
    let from = text.find(begin).unwrap() + begin.len();
    let to = text.find(end).unwrap();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    let names = |table: &str| -> Vec<String> {
        table.lines().filter_map(|row| Some(row.split('|').nth(1)?.trim().to_owned())).collect()
    };
    assert_eq!(
        names(&text[from..to]),
        names(table),
        "docs/reliability.md is behind: UPDATE_GENERATED=1 cargo test --test it faults::no_fault"
    );
}

/// What lies between client and server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Network {
    #[default]
    Up,
    /// Nothing listens.
    Refused,
    /// The connection breaks before the head of the answer.
    Reset,
}

#[derive(Clone, Default)]
struct Line(Arc<Mutex<(Network, u64)>>);

impl Line {
    fn set(&self, network: Network) {
        self.0.lock().unwrap().0 = network;
    }

    /// How many requests did not reach the server.
    fn refused(&self) -> u64 {
        self.0.lock().unwrap().1
    }

    fn pass(&self) -> std::io::Result<()> {
        let mut line = self.0.lock().unwrap();
        let kind = match line.0 {
            Network::Up => return Ok(()),
            Network::Refused => std::io::ErrorKind::ConnectionRefused,
            Network::Reset => std::io::ErrorKind::ConnectionReset,
        };
        line.1 += 1;
        Err(kind.into())
    }
}

/// A client of the simulated server, and the network to it.
fn network(cluster: &Cluster) -> (kube::Client, Line) {
    let line = Line::default();
    let (api, of_server) = (Api::new(cluster.clone()), line.clone());
    let server = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (api, line) = (api.clone(), of_server.clone());
        async move {
            line.pass()?;
            Ok::<_, std::io::Error>(api.oneshot(request).await.unwrap())
        }
    });
    (kube::Client::new(server, "default"), line)
}

#[tokio::test(start_paused = true)]
async fn what_expired_in_an_outage_is_listed_within_two_seconds_of_the_servers_return() {
    for outage in [5, 61, 600] {
        for settings in [Settings::default(), BY_PAGES] {
            let cluster = with_pods(7);
            let (client, line) = network(&cluster);
            let running = run(client, WatchScope::default(), settings);
            running.synced().await;
            sleep(Duration::from_secs(20)).await;
            line.set(Network::Refused);
            cluster.cut_watches("pods", Cut::MidLine);
            sleep(Duration::from_secs(outage)).await;
            assert_eq!(running.health.ready(jiff::Timestamp::now()).is_ok(), outage < 60, "{outage} s");
            cluster.delete("pods", "shop", "web-001");
            cluster.apply(pod("shop", "late")).unwrap();
            cluster.compact();
            let before = requests(&cluster);
            line.set(Network::Up);
            let back = Instant::now();
            running.equal(&cluster).await;
            let took = back.elapsed();
            assert!(took <= Duration::from_millis(2100), "{outage} s: {took:?}");
            assert!(requests(&cluster) - before <= 6, "{outage} s");
            assert_eq!(running.health.ready(jiff::Timestamp::now()), Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_bookmark_of_a_broken_watch_has_skipped_is_listed() {
    let cluster = with_pods(7);
    let running = run(client(&cluster), WatchScope::default(), Settings::default());
    running.synced().await;
    // Each watch says that everything up to now was shown, shows nothing, and closes.
    cluster.fault("watch pods", Fault::BookmarkThenClose);
    cluster.cut_watches("pods", Cut::End);
    sleep(Duration::from_secs(10)).await;
    cluster.apply(pod("shop", "late")).unwrap();
    sleep(Duration::from_secs(120)).await;
    cluster.heal_all();
    let healed = Instant::now();
    running.equal(&cluster).await;
    assert!(healed.elapsed() <= Duration::from_secs(40), "{:?}", healed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_whose_watch_has_never_worked_is_not_relied_on() {
    let cluster = with_pods(7);
    let running = run(client(&cluster), WatchScope::default(), Settings::default());
    running.synced().await;
    // Each list is said to be complete without one pod, and each watch closes at once.
    cluster.fault("watch pods", Fault::EmptyThenClose);
    cluster.cut_watches("pods", Cut::End);
    sleep(Duration::from_secs(300)).await;
    let before = requests(&cluster);
    sleep(Duration::from_secs(120)).await;
    let asked = requests(&cluster) - before;
    assert!(asked <= 60, "{asked} requests in two minutes");
    cluster.heal_all();
    let healed = Instant::now();
    running.equal(&cluster).await;
    assert!(healed.elapsed() <= Duration::from_secs(40), "{:?}", healed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_expired_while_the_server_refused_is_listed_as_soon_as_it_answers() {
    let cluster = with_pods(7);
    let running = run(client(&cluster), WatchScope::default(), Settings::default());
    running.synced().await;
    cluster.fault("*", Fault::Unauthorized);
    cluster.cut_watches("pods", Cut::End);
    sleep(Duration::from_secs(120)).await;
    cluster.apply(pod("shop", "late")).unwrap();
    cluster.compact();
    cluster.heal_all();
    let before = requests(&cluster);
    while requests(&cluster) == before {
        sleep(Duration::from_millis(50)).await;
    }
    let answered = Instant::now();
    running.equal(&cluster).await;
    assert!(answered.elapsed() <= Duration::from_secs(2), "{:?}", answered.elapsed());
}

/// A server with answers of its own: what `answer` makes of the query and the number of the request, with this status.
fn server(
    status: u16,
    answer: impl Fn(&str, u64) -> String + Clone + Send + 'static,
) -> (kube::Client, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let text = answer(request.uri().query().unwrap_or_default(), count.fetch_add(1, Relaxed));
        let head = http::Response::builder().status(status).header("content-type", "application/json");
        let head = if status == 429 { head.header("retry-after", u64::MAX) } else { head };
        std::future::ready(Ok::<_, std::convert::Infallible>(
            head.body(http_body_util::Full::new(Bytes::from(text))).unwrap(),
        ))
    });
    (kube::Client::new(service, "default"), asked)
}

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":"web","uid":"1","resourceVersion":"7"}}"#;

#[tokio::test(start_paused = true)]
async fn a_list_with_ever_new_continue_tokens_is_given_up_and_not_asked_for_in_a_loop() {
    let endless = || {
        server(200, |_, n| {
            let meta = format!(r#"{{"resourceVersion":"7","continue":"{}{n}"}}"#, "t".repeat(1200));
            format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{meta},"items":[{POD}]}}"#)
        })
    };
    let (client, asked) = endless();
    let running = run(client, WatchScope::default(), Settings { page: 500, ..BY_PAGES });
    sleep(Duration::from_secs(600)).await;
    assert!((50..350).contains(&asked.load(Relaxed)), "{} in ten minutes", asked.load(Relaxed));
    let unready = running.health.ready(jiff::Timestamp::now()).unwrap_err();
    assert!(unready.contains("the list has no end"), "{unready}");

    let (client, asked) = endless();
    let seen = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await;
    assert!(seen.unwrap_err().text.contains("the list has no end"));
    assert!(asked.load(Relaxed) < 200, "{}", asked.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_expires_after_each_event_is_listed_again_ever_more_slowly() {
    let event = format!(r#"{{"type":"MODIFIED","object":{POD}}}"#);
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old"}}"#;
    let watch = format!("{event}\n{gone}\n");
    let list = format!(
        r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{POD}]}}"#
    );
    let (client, asked) =
        server(200, move |query, _| if query.contains("watch=true") { watch.clone() } else { list.clone() });
    let running = run(client, WatchScope::default(), BY_PAGES);
    sleep(Duration::from_secs(600)).await;
    assert!((20..150).contains(&asked.load(Relaxed)), "{} in ten minutes", asked.load(Relaxed));
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_half_an_eternity_is_no_reason_to_panic() {
    let (client, _) = server(429, |_, _| String::new());
    let seen = snapshot::snapshot(&client, &Wanted::default(), &Progress::default()).await;
    assert_eq!(seen.unwrap_err().kind, Kind::Throttled);
}

#[tokio::test(start_paused = true)]
async fn errors_of_which_each_has_another_text_are_logged_once() {
    let log = Arc::default();
    let guard = capture(&log, "kubehealer=info");
    let (client, _) = server(500, |_, n| {
        format!(
            r#"{{"kind":"Status","status":"Failure","code":500,"message":"etcdserver: request {n} timed out"}}"#
        )
    });
    let running = run(client, WatchScope::default(), Settings::default());
    sleep(Duration::from_secs(600)).await;
    assert!(running.health.errors().any(|(kind, n)| kind == "server" && n > 10));
    drop((guard, running));
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn diagnose_ends_with_words_when_a_list_does_not_end() {
    let drip = Fault::Drip { every: Duration::from_secs(5) };
    for (fault, kind, words, seconds) in [
        (Fault::RepeatContinue, Kind::Protocol, "repeats a continue token", 30),
        (Fault::Endless, Kind::Protocol, "a page of the list is longer than 4 MiB", 30),
        (drip, Kind::Timeout, "the answer stalled for 30 s", 31),
    ] {
        let cluster = with_pods(7);
        cluster.fault("list pods", fault);
        let began = Instant::now();
        let seen = snapshot::snapshot(&client(&cluster), &Wanted::default(), &Progress::default()).await;
        let failure = seen.unwrap_err();
        assert_eq!(failure.kind, kind);
        assert!(failure.text.contains(words), "{failure}");
        assert!(cluster.asked("list", "pods") <= 10);
        assert!(began.elapsed() < Duration::from_secs(seconds), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_without_end_are_held_by_one_watch_or_reader_of_evidence_at_a_time() {
    /// What a body has brought until it is dropped.
    struct Held(Arc<AtomicUsize>, usize);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Relaxed);
        }
    }
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (Arc::clone(&held), Arc::clone(&most));
    let server = tower::service_fn(move |_: Request<kube::client::Body>| {
        let (held, most) = counters.clone();
        let body = futures::stream::unfold(Held(held, 0), move |mut body| {
            let most = Arc::clone(&most);
            async move {
                tokio::task::yield_now().await;
                let chunk = Bytes::from_static(&[b' '; 64 << 10]);
                body.1 += chunk.len();
                most.fetch_max(body.0.fetch_add(chunk.len(), Relaxed) + chunk.len(), Relaxed);
                Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(chunk)), body))
            }
        });
        let answer = http::Response::builder().header("content-type", "application/json");
        let body = http_body_util::StreamBody::new(Box::pin(body));
        std::future::ready(Ok::<_, std::convert::Infallible>(answer.body(body).unwrap()))
    });
    let client = BoundedClient::from(kube::Client::new(server, "default"));
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let (client, watch) = (client.clone(), Watch::new(Resource::PODS, WatchScope::default(), BY_PAGES));
        tasks.spawn(async move { match watch.run::<Pod>(client, |_| {}).await {} });
    }
    for _ in 0..2 {
        let client = client.clone();
        tasks.spawn(async move { drop(evidence::pods_with(&client, "shop", "app", "web").await) });
    }
    sleep(Duration::from_secs(120)).await;
    let most = most.load(Relaxed);
    assert!((4 << 20..8 << 20).contains(&most), "{} MiB", most >> 20);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_long_is_asked_for_in_smaller_pages() {
    let cluster = Cluster::new();
    for number in 0..60 {
        let mut pod = pod("shop", &format!("web-{number:03}"));
        pod["metadata"]["annotations"] = serde_json::json!({"notes": "x".repeat(1 << 20)});
        cluster.apply(pod).unwrap();
    }
    for protobuf in [true, false] {
        let settings = Settings { page: 500, protobuf, ..BY_PAGES };
        let running: Running = run(client(&cluster), WatchScope::default(), settings);
        running.synced().await;
        running.equal(&cluster).await;
        assert_eq!(running.health.errors().map(|(_, n)| n).sum::<u64>(), 0);
    }
}
