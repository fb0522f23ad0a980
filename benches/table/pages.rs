//! What open status pages cost the daemon with tens of thousands of incidents, and how long a filter takes.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::parent::{Server, goal, number};

const PAGES: usize = 100;
const SECONDS: u64 = 20;
/// Updates a second while incidents change.
const RATE: u32 = 200;
/// What a page shows, and how often it asks for it at most.
const SHOWN: &str = "/api/v1/groups?limit=100";
const EVERY: Duration = Duration::from_secs(5);

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

    let before = figures();
    let open: Vec<_> = (0..PAGES).map(|n| runtime.spawn(page(address.clone(), n))).collect();
    for (what, rate) in [("nothing changes", 0), ("200 updates a second", RATE)] {
        // The first load of every page is over.
        runtime.block_on(tokio::time::sleep(EVERY));
        let alone = figures();
        let written = std::env::temp_dir().join("kubehealer-written");
        server.0.say(&format!("rate {rate} {SECONDS} {}", written.display()));
        runtime.block_on(tokio::time::sleep(Duration::from_secs(SECONDS)));
        let after = figures();
        server.0.line();
        let share = (number(&after, "cpu") - number(&alone, "cpu")) / SECONDS as f64;
        let grown = (number(&after, "peak") - number(&before, "peak")) / f64::from(1 << 20);
        goal(
            &format!("{PAGES} pages under 5 % of a core and 50 MiB, {what}"),
            &format!("{:.1} %, peak {grown:+.0} MiB", share * 100.0),
            share < 0.05 && grown < 50.0,
        );
    }
    drop(open);
}

/// A page: it listens, and asks again for what it shows when something has changed.
async fn page(address: String, number: usize) {
    let from = [127, 0, 1, number as u8];
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut is_new = false;
    let mut next = tokio::time::Instant::now() + EVERY.mul_f64(number as f64 / PAGES as f64);
    loop {
        tokio::select! {
            line = lines.next_line() => is_new |= line.unwrap().expect("the stream goes on").starts_with("data: "),
            () = tokio::time::sleep_until(next), if is_new => {
                get(&address, SHOWN).await;
                (is_new, next) = (false, tokio::time::Instant::now() + EVERY);
            }
        }
    }
}

async fn get(address: &str, path: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text:.200}");
}
