//! What open status pages cost the daemon with tens of thousands of incidents, and how long a filter takes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::parent::{Server, goal, number};

const PAGES: usize = 100;
const SECONDS: u64 = 20;
/// Until the first load of every page is over.
const LOADED: Duration = Duration::from_secs(10);
/// Updates a second while incidents change.
const RATE: u32 = 200;
/// What a page shows.
const SHOWN: &str = "/";

pub fn pages(pods: u32) {
    let mut server = Server::start(pods, 1.0);
    let mut client = server.client("daemon");
    client.figures();
    std::thread::sleep(Duration::from_secs(5));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut figures = || -> Value { serde_json::from_str(&client.ask("figures")).unwrap() };
    let address = figures()["address"].as_str().unwrap().to_owned();
    println!("{} incidents\n\n| goal | measured | |\n|---|---|---|", figures()["open"]);

    let mut worst = Duration::ZERO;
    for query in [
        "namespace=none",
        "severity=warning",
        "owner=none",
        "node=none",
        "q=app+no",
        "q=NOTHING",
        "q=probe+image",
    ] {
        for list in ["groups", "incidents"] {
            let began = Instant::now();
            runtime.block_on(get(&address, &format!("/api/v1/{list}?{query}&limit=100")));
            println!("| {list}?{query} | {:.0} ms | |", began.elapsed().as_secs_f64() * 1e3);
            worst = worst.max(began.elapsed());
        }
    }
    goal(
        "a filter within 200 ms",
        &format!("{:.0} ms at worst", worst.as_secs_f64() * 1e3),
        worst.as_millis() < 200,
    );

    // The share of a core that the daemon uses while so many pods change a second, and its peak.
    let mut share = |rate: u32| {
        let began = figures();
        server.0.say(&format!(
            "rate {rate} {SECONDS} {}",
            std::env::temp_dir().join("kubehealer-written").display()
        ));
        runtime.block_on(async { tokio::time::sleep(Duration::from_secs(SECONDS)).await });
        let ended = figures();
        server.0.line();
        ((number(&ended, "cpu") - number(&began, "cpu")) / SECONDS as f64, number(&ended, "peak"))
    };
    let (without, peak) = share(RATE);
    let open: Vec<_> = (0..PAGES).map(|n| runtime.spawn(page(address.clone(), n))).collect();
    runtime.block_on(async { tokio::time::sleep(LOADED).await });
    for (what, rate, without) in [("nothing changes", 0, 0.0), ("200 updates a second", RATE, without)] {
        let (used, highest) = share(rate);
        let (more, grown) = (used - without, (highest - peak) / f64::from(1 << 20));
        goal(
            &format!("{PAGES} pages under 5 % of a core and 50 MiB, {what}"),
            &format!(
                "{:.1} % beside {:.1} % without pages, peak {grown:+.0} MiB",
                more * 100.0,
                without * 100.0
            ),
            more < 0.05 && grown < 50.0,
        );
    }
    drop(open);
}

/// A page, as its script has it: it listens, and asks again for what it shows when something has changed. All ask at the
/// same moments of the clock, so that they share an answer, after as many seconds as the last one said.
async fn page(address: String, number: usize) {
    let from = [127, 0, 1, number as u8];
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = None;
    let mut period = 2_000;
    loop {
        let at = next.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            line = lines.next_line() => {
                if line.unwrap().expect("the stream goes on").starts_with("data: ") && next.is_none() {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
                    let rest = period - now as u64 % period;
                    next = Some(tokio::time::Instant::now() + Duration::from_millis(rest));
                }
            }
            () = tokio::time::sleep_until(at), if next.is_some() => {
                let answer = get(&address, SHOWN).await;
                let after = answer.lines().find_map(|line| line.strip_prefix("x-refresh-after: "));
                (next, period) = (None, after.unwrap().parse::<u64>().unwrap() * 1_000);
            }
        }
    }
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text:.200}");
    text
}
