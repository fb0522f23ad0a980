//! `diagnose --watch`: the same findings as one look, live on a terminal, a report for each change elsewhere.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kubehealer::cluster::snapshot::{Progress, Wanted, snapshot};
use kubehealer::diagnosis::survey;
use kubehealer::simulator::{self, Cluster, Cut, Fault};
use kubehealer::wait::{Clock, Looks};
use serde_json::json;

use super::cli::command;
use super::contract::Server;

fn recorded() -> (Cluster, Clock) {
    let cluster = Cluster::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(super::cli::FINAL);
    simulator::replay::load(&cluster, &folder).unwrap();
    let now = "2026-11-22T11:23:29Z".parse().unwrap();
    (cluster, Arc::new(move || now))
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_what_one_look_shows_and_each_change_within_a_second() {
    let (cluster, clock) = recorded();
    let client = simulator::client(&cluster);
    let mut looks = Looks::new(&client, None, Arc::clone(&clock));
    let first = looks.next(|_| {}).await.unwrap();
    assert_eq!((first.snapshot.pods.len(), first.notes.len()), (123, 0), "{:?}", first.notes);
    let mut once = snapshot(&client, &Wanted::default(), &Progress::default()).await.unwrap().snapshot;
    once.logs.clone_from(&first.snapshot.logs);
    once.revisions.clone_from(&first.snapshot.revisions);
    once.sources.logs = true;
    let (one, other) = (survey(&first.snapshot, first.now), survey(&once, first.now));
    assert_eq!(one.findings, other.findings);
    assert!(first.snapshot.logs.len() > 10 && !first.snapshot.claims.is_empty());

    let began = tokio::time::Instant::now();
    let pod = first.snapshot.pods.iter().find(|pod| pod.metadata.name.starts_with("cart-")).unwrap();
    cluster.delete("pods", &pod.metadata.namespace, &pod.metadata.name);
    while looks.next(|_| {}).await.unwrap().snapshot.pods.len() == 123 {}
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_pods_that_may_not_be_listed_ends_and_one_that_breaks_later_says_so() {
    let (cluster, clock) = recorded();
    let client = simulator::client(&cluster);
    let mut looks = Looks::new(&client, Some("shop"), Arc::clone(&clock));
    looks.next(|_| {}).await.unwrap();
    cluster.fault("pods", Fault::InternalError);
    cluster.cut_watches("pods", Cut::End);
    let mut notes = Vec::new();
    for _ in 0..60 {
        notes = looks.next(|_| {}).await.unwrap().notes;
        if !notes.is_empty() {
            break;
        }
    }
    assert!(notes.iter().any(|note| note.starts_with("pods may be out of date: ")), "{notes:?}");

    cluster.heal_all();
    cluster.fault("pods", Fault::Forbidden);
    let error = Looks::new(&client, Some("shop"), clock).next(|_| {}).await.err().unwrap();
    assert!(error.what.contains("cannot watch pods: not allowed"), "{}", error.what);
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn elsewhere_than_on_a_terminal_a_report_is_printed_for_each_change_of_the_findings() {
    let server = Server::recorded();
    let child = command()
        .args(["diagnose", "-w", "-n", "shop", "deployment/cart"])
        .env("KUBECONFIG", server.kubeconfig.path().join("config"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut report = || {
        let head = lines.next().unwrap_or_default();
        let time = head.strip_prefix("=== ").unwrap_or_else(|| panic!("{head}"));
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{head}");
        let mut text = String::new();
        while !text.contains("More about a reason") && !text.contains("No problems found") {
            text += &(lines.next().expect("more of the report") + "\n");
        }
        // The blank line behind it.
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        text
    };
    let first = report();
    assert!(first.contains("shop/Deployment/cart[cart] (2 pods)"), "{first}");
    // What is no finding prints nothing.
    let pods = server.cluster.all("pods");
    let carts = pods
        .iter()
        .filter(|p| p["metadata"]["labels"]["app"] == "cart" && p["metadata"]["namespace"] == "shop");
    let names: Vec<&str> = carts.map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect();
    server.cluster.update("pods", "shop", names[0], |pod| pod["metadata"]["labels"]["seen"] = json!("yes"));
    server.cluster.delete("pods", "shop", names[0]);
    let second = report();
    assert!(second.contains(&format!("shop/{}[cart]", names[1])) && !second.contains("(2 pods)"), "{second}");
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn on_a_terminal_it_is_drawn_in_place_until_ctrl_c_and_the_last_report_stays() {
    let server = Server::recorded();
    let program = env!("CARGO_BIN_EXE_kubehealer");
    let line = format!("stty columns 100 rows 20; exec {program} diagnose -A -w --color always");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    script
        .env("HOME", "/nonexistent")
        .env("TERM", "xterm")
        .env("KUBECONFIG", server.kubeconfig.path().join("config"));
    let mut running = Running(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut out = running.0.stdout.take().unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"live, Ctrl-C to stop") {
        assert!(out.read(&mut byte).unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    running.0.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("\x1b[?1049h"), "{seen}");
    let (_, frame) = seen.rsplit_once("\x1b[H").unwrap();
    assert_eq!(frame.lines().count(), 20, "{frame}");
    assert!(frame.contains("critical") && frame.contains("SEVERITY"), "{frame}");
    let (_, last) = rest.split_once("\x1b[?1049l").unwrap();
    assert!(last.contains("Looked at 123 pods") && last.lines().count() > 100, "{last}");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_watch_cannot_show_is_refused() {
    let server = Server::recorded();
    for (args, words) in [
        (&["-o", "json"][..], "--watch supports only tables"),
        (&["--context", "a,b"], "--watch supports only one cluster"),
        (&["-f", "x"], "cannot be used with"),
        (&["-n", "shop", "deployment/crat"], "did you mean deployment/cart"),
    ] {
        let run = server.diagnose(&[&["--watch"], args].concat());
        assert!(run.code == 2 && run.err.contains(words), "{args:?}: {}", run.err);
    }
}
