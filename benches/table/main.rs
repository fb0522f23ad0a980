//! KubeHealer beside a small program of the usual kind: memory, CPU and latency, in one run on one machine.
//!
//! `cargo bench --bench table` prints the table of `docs/performance.md`; `-- --plot` measures at several sizes and draws
//! `docs/growth.svg`. Server and clients are processes of their own, so that what the operating system says of a client is the
//! client's alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod client;
mod fleet;
mod measure;
mod pages;
mod parent;
mod plot;
mod scrape;
mod server;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        args.iter().position(|a| a == name).map(|at| args.get(at + 1).cloned().unwrap_or_default())
    };
    match flag("--role").as_deref() {
        Some("server") => {
            server::run(flag("--pods").unwrap().parse().unwrap(), flag("--failing").unwrap().parse().unwrap())
        }
        Some("client") => client::run(&flag("--kind").unwrap(), &flag("--kubeconfig").unwrap()),
        _ => {
            let pods = flag("--pods").map_or(100_000, |n| n.parse().unwrap());
            let only = flag("--only");
            if flag("--plot").is_some() {
                parent::plot();
            } else if flag("--scrape").is_some() {
                scrape::run();
            } else if flag("--pages").is_some() {
                pages::pages(flag("--pods").map_or(30_000, |n| n.parse().unwrap()));
            } else if flag("--storm").is_some() {
                parent::storm(flag("--pods").map_or(150_000, |n| n.parse().unwrap()));
            } else {
                let rate = flag("--rate").map_or(parent::RATE, |n| n.parse().unwrap());
                parent::table(pods, rate, only.as_deref());
            }
        }
    }
}
