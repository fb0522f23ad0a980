//! Whatever an API server does, a watch asks no more often than it may, says what is wrong, and is right again soon after.

#![allow(clippy::disallowed_methods, reason = "readiness is asked as the daemon asks it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::Request;
use kubehealer::cluster::client::Kind;
use kubehealer::cluster::snapshot::{self, Progress, Wanted};
use kubehealer::cluster::watch::{Settings, WatchScope};
use kubehealer::simulator::{Api, Cluster, Cut, Fault, client};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use crate::watch::{BY_PAGES, Running, capture, pod, run, with_pods};

/// When a fault begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Start,
    Steady,
    /// While everything is listed again.
    Relist,
}

fn requests(cluster: &Cluster) -> u64 {
    cluster.asked("list", "pods") + cluster.asked("watch", "pods")
}

/// What a fault did in ten minutes.
#[derive(Debug)]
struct Outcome {
    /// The most requests within one minute.
    most: u64,
    /// All requests.
    all: u64,
    /// After how many seconds the watch was not ready for the first time, and how many it was in all.
    first_unready: Option<u64>,
    unready: u64,
    log: Vec<String>,
}

const MINUTES: u64 = 10;

async fn outcome(fault: &[(&str, Fault)], phase: Phase, settings: Settings) -> Outcome {
    let log = Arc::default();
    let guard = capture(&log, "kubehealer=info");
    let cluster = with_pods(7);
    let begin = || fault.iter().for_each(|(target, fault)| cluster.fault(target, fault.clone()));
    if phase == Phase::Start {
        begin();
    }
    let running = run(client(&cluster), WatchScope::default(), settings);
    if phase != Phase::Start {
        running.synced().await;
        sleep(Duration::from_secs(20)).await;
        begin();
        cluster.cut_watches("pods", if phase == Phase::Steady { Cut::End } else { Cut::Gone });
    }
    let mut seen = vec![requests(&cluster)];
    let (mut first_unready, mut unready) = (None, 0);
    for second in 0..60 * MINUTES {
        sleep(Duration::from_secs(1)).await;
        seen.push(requests(&cluster));
        if running.health.ready(jiff::Timestamp::now()).is_err() {
            first_unready.get_or_insert(second + 1);
            unready += 1;
        }
    }
    cluster.heal_all();
    cluster.delete("pods", "shop", "web-001");
    cluster.apply(pod("shop", "late")).unwrap();
    let healed = Instant::now();
    running.equal(&cluster).await;
    let took = healed.elapsed();
    assert!(took < Duration::from_secs(100), "{fault:?} {phase:?}: right again after {took:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.health.ready(jiff::Timestamp::now()), Ok(()), "{fault:?} {phase:?}");
    assert_eq!(running.health.trouble(), None, "{fault:?} {phase:?}");
    drop(guard);
    let log = String::from_utf8(std::mem::take(&mut *log.lock().unwrap())).unwrap();
    Outcome {
        most: seen.iter().zip(&seen[60..]).map(|(from, to)| to - from).max().unwrap(),
        all: seen.last().unwrap() - seen[0],
        first_unready,
        unready,
        log: log.lines().map(str::to_owned).collect(),
    }
}

/// Whether a fault leaves nothing that works, so that the watch must say so.
const BLIND: bool = true;
const WORKS: bool = false;

#[tokio::test(start_paused = true)]
async fn no_fault_is_met_with_more_requests_than_the_pace_nor_with_a_log_line_each() {
    let second = Duration::from_secs(1);
    let watch = |fault| vec![("watch pods", fault)];
    let list = |fault| vec![("list pods", fault)];
    let both = |fault| vec![("* pods", fault)];
    let json = |fault| vec![("* pods", Fault::RefuseProtobuf), ("watch pods", fault)];
    let faults = [
        ("close at once", watch(Fault::CloseWatch { after: Duration::ZERO }), BLIND),
        ("close after 1 s", watch(Fault::CloseWatch { after: second }), BLIND),
        ("close after 4 s", watch(Fault::CloseWatch { after: 4 * second }), WORKS),
        ("bookmark, then close", watch(Fault::BookmarkThenClose), BLIND),
        ("bookmark, then 410", watch(Fault::BookmarkThenGone), WORKS),
        ("garbage, then close", watch(Fault::Garbage { times: 1, every: Duration::ZERO }), BLIND),
        ("garbage for ever", watch(Fault::Garbage { times: 100_000, every: second / 20 }), BLIND),
        ("garbage as JSON", json(Fault::Garbage { times: 1, every: Duration::ZERO }), BLIND),
        ("endless frame", watch(Fault::Endless), BLIND),
        ("endless line", json(Fault::Endless), BLIND),
        ("endless everything", both(Fault::Endless), BLIND),
        ("cut within the first event", watch(Fault::CutWatchMidLine { after: 0 }), WORKS),
        ("410 to each watch", watch(Fault::GoneOnWatch), BLIND),
        ("403", both(Fault::Forbidden), BLIND),
        ("500", both(Fault::InternalError), BLIND),
        ("429 for a second", both(Fault::TooManyRequests { retry_after: 1 }), BLIND),
        ("no answer", both(Fault::BlackHole), BLIND),
    ];
    for (name, fault, blind) in &faults {
        for (way, settings) in [("streaming", Settings::default()), ("pages", BY_PAGES)] {
            for phase in [Phase::Start, Phase::Steady, Phase::Relist] {
                let outcome = outcome(fault, phase, settings).await;
                let what = format!("{name}, {way}, {phase:?}: {outcome:#?}");
                println!(
                    "| {name} | {way} | {phase:?} | {} | {} | {:?} | {} | {} |",
                    outcome.most,
                    outcome.all / MINUTES,
                    outcome.first_unready,
                    outcome.unready,
                    outcome.log.len()
                );
                assert!(outcome.most <= 35 && outcome.all <= 31 * MINUTES, "{what}");
                // Objects that do not decode are logged at the first, the second, the fourth ...
                assert!(outcome.log.len() <= 16, "{what}");
                if *blind && phase != Phase::Relist {
                    assert!(outcome.first_unready.is_some_and(|at| at <= 61), "{what}");
                    assert!(outcome.unready > 60 * (MINUTES - 2), "{what}");
                }
            }
        }
    }
    for fault in [list(Fault::RepeatContinue), list(Fault::GoneOnPage), list(Fault::Endless)] {
        let outcome = outcome(&fault, Phase::Start, BY_PAGES).await;
        assert!(outcome.most <= 35 && outcome.all <= 31 * MINUTES, "{fault:?}: {outcome:#?}");
        assert_eq!(outcome.unready, 60 * MINUTES, "{fault:?}: {outcome:#?}");
        assert!(outcome.log.len() <= 4, "{fault:?}: {outcome:#?}");
    }
}

/// The simulated server, and whether it can be reached.
fn reachable(cluster: &Cluster) -> (kube::Client, Arc<AtomicBool>) {
    let is_up = Arc::new(AtomicBool::new(true));
    let (api, up) = (Api::new(cluster.clone()), Arc::clone(&is_up));
    let server = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (api, is_up) = (api.clone(), up.load(Relaxed));
        async move {
            match is_up {
                true => Ok(api.oneshot(request).await.unwrap()),
                false => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            }
        }
    });
    (kube::Client::new(server, "default"), is_up)
}

#[tokio::test(start_paused = true)]
async fn what_expired_in_an_outage_is_listed_within_two_seconds_of_the_servers_return() {
    for outage in [5, 61, 600] {
        for settings in [Settings::default(), BY_PAGES] {
            let cluster = with_pods(7);
            let (client, is_up) = reachable(&cluster);
            let running = run(client, WatchScope::default(), settings);
            running.synced().await;
            sleep(Duration::from_secs(20)).await;
            is_up.store(false, Relaxed);
            cluster.cut_watches("pods", Cut::MidLine);
            sleep(Duration::from_secs(outage)).await;
            assert_eq!(running.health.ready(jiff::Timestamp::now()).is_ok(), outage < 60, "{outage} s");
            cluster.delete("pods", "shop", "web-001");
            cluster.apply(pod("shop", "late")).unwrap();
            cluster.compact();
            let before = requests(&cluster);
            is_up.store(true, Relaxed);
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

#[tokio::test(start_paused = true)]
async fn errors_of_which_each_has_another_text_are_logged_once() {
    let log = Arc::default();
    let guard = capture(&log, "kubehealer=info");
    let count = std::sync::atomic::AtomicU64::new(0);
    let server = tower::service_fn(move |_: Request<kube::client::Body>| {
        let text = format!(
            r#"{{"kind":"Status","status":"Failure","code":500,"message":"etcdserver: request {} timed out"}}"#,
            count.fetch_add(1, Relaxed)
        );
        let answer = http::Response::builder().status(500).header("content-type", "application/json");
        std::future::ready(Ok::<_, std::convert::Infallible>(
            answer.body(http_body_util::Full::new(bytes::Bytes::from(text))).unwrap(),
        ))
    });
    let running = run(kube::Client::new(server, "default"), WatchScope::default(), Settings::default());
    sleep(Duration::from_secs(600)).await;
    assert!(running.health.errors().any(|(kind, n)| kind == "server" && n > 10));
    drop((guard, running));
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn diagnose_ends_with_words_when_a_list_does_not_end() {
    for (fault, words) in [
        (Fault::RepeatContinue, "its continue token repeats"),
        (Fault::Endless, "a page of the list is longer than 16 MiB"),
    ] {
        let cluster = with_pods(7);
        cluster.fault("list pods", fault);
        let began = Instant::now();
        let seen = snapshot::snapshot(&client(&cluster), &Wanted::default(), &Progress::default()).await;
        let failure = seen.unwrap_err();
        assert_eq!(failure.kind, Kind::Protocol);
        assert!(failure.text.contains(words), "{failure}");
        assert!(cluster.asked("list", "pods") <= 10);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
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
