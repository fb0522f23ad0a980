//! `demo` and `watch` through the binary: what they print first, what they serve, how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cli::{command, folder, kubehealer};
use super::shell::on_terminal;

/// A child that does not outlive its test.
struct Running {
    child: Child,
    address: String,
    kubeconfig: String,
    first: Vec<String>,
    stderr: BufReader<ChildStderr>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn demo(args: &[&str]) -> Running {
    let mut child = command()
        .args(["demo", "--listen", "127.0.0.1:0"])
        .args(args)
        .env("TMPDIR", std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let done = line.trim_start().starts_with("kubectl ");
        first.push(line);
        if done {
            break;
        }
    }
    let word = |with: &str, of: &str| -> String {
        let line = first.iter().find(|l| l.contains(with)).unwrap_or_else(|| panic!("{first:?}"));
        line.split_whitespace().find(|w| w.contains(of)).unwrap().to_owned()
    };
    let address = word("status page", "http://").replace("http://", "").replace('/', "");
    let kubeconfig = word("kubectl ", ".kubeconfig");
    let stderr = BufReader::new(child.stderr.take().unwrap());
    Running { child, address, kubeconfig, first, stderr }
}

impl Running {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: kubehealer\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Asks again and again until the answer will do.
    fn wait_for(&self, path: &str, what: &str, will_do: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.get(path);
            if will_do(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {answer}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
}

#[test]
fn the_demo_shows_failures_and_a_recovery_within_a_minute_and_ends_with_ctrl_c() {
    let mut demo = demo(&["--speed", "40"]);
    assert!(demo.first[0].starts_with("KubeHealer watches a simulated cluster"), "{:?}", demo.first);
    for reason in ["CrashLoopBackOff", "OOMKilled", "ImagePullBackOff"] {
        demo.wait_for("/api/v1/incidents", reason, |answer| {
            answer.contains(&format!("\"reason\":\"{reason}\""))
        });
        let series = format!("reason=\"{reason}\"");
        demo.wait_for("/metrics", reason, |answer| {
            answer.lines().any(|l| l.starts_with("kubehealer_pod_unhealthy{") && l.contains(&series))
        });
    }

    let owned = |line: &str| {
        line.starts_with("kubehealer_workload_unhealthy_pods{") && line.contains("team=\"checkout\"")
    };
    demo.wait_for("/metrics", "owners", |answer| answer.lines().any(owned));
    let muted =
        |line: &str| line.starts_with("kubehealer_incidents_muted{") && line.contains("namespace=\"ml\"");
    demo.wait_for("/metrics", "a mute", |answer| answer.lines().any(muted));

    // The command line sees the same cluster, at the cluster's own time.
    let said = demo.first.iter().find_map(|line| line.split_once("kubehealer diagnose ")).unwrap().1;
    let words: Vec<&str> = ["diagnose"].into_iter().chain(said.split(' ')).chain(["-o", "json"]).collect();
    let run = kubehealer(&words);
    assert_eq!(run.code, 0, "{}", run.err);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    let of = |name: &str, wanted: &str| -> Value {
        let is_of = |f: &&Value| f["pod"].as_str().is_some_and(|pod| pod.starts_with(name));
        value["findings"].as_array().unwrap().iter().find(is_of).unwrap()[wanted].clone()
    };
    assert_eq!(of("cart-", "labels")["team"], "checkout");
    assert_eq!(of("llm-", "muted")["reason"], "larger nodes are ordered");
    assert!(value["summary"]["unhealthyPods"].as_u64().unwrap() > 3, "{}", run.out);
    assert_eq!(value["sources"]["logs"], true);

    let mut log = String::new();
    let begun = Instant::now();
    while !log.contains(" resolved ") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing healed: {log}");
        demo.stderr.read_line(&mut log).unwrap();
    }
    // An incident is one line, and a short one.
    for line in log.lines().filter(|line| line.contains(" opened ")) {
        assert!(line.len() < 400 && !line.contains("incident="), "{line}");
    }
    let begun = Instant::now();
    demo.interrupt();
    let status = demo.child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "ended after {:?}", begun.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!(!std::path::Path::new(&demo.kubeconfig).exists(), "the kubeconfig is gone with it");
}

#[test]
fn on_a_terminal_the_addresses_stay_below_the_incidents() {
    let run = on_terminal(
        (120, 40),
        &["demo", "--listen", "127.0.0.1:0", "--speed", "100", "--duration", "5"],
        &[],
    );
    assert_eq!(run.code, 0, "{}", run.out);
    let opened = run.out.rfind("opened").unwrap_or_else(|| panic!("nothing failed: {}", run.out));
    let below = &run.out[opened..];
    assert!(below.contains("\n\n  status page   http://127.0.0.1:"), "{below}");
    assert!(below.trim_end().ends_with("get pods -A -w"), "{below}");
    // What stood there before is taken away first.
    assert!(
        run.out.matches("status page").count() - 1 == run.out.matches("\u{1b}[6A\u{1b}[J").count(),
        "{}",
        run.out
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // When the server has read what the client sent cannot be seen from here. Until it has, nothing keeps it from an end in
    // good order before the second signal, so there are several tries, each with more time.
    let code = |wait| {
        let mut demo = demo(&[]);
        // A client that has sent half a request is waited for, if only for a moment.
        let mut client = TcpStream::connect(&demo.address).unwrap();
        client.write_all(b"GET / HTT").unwrap();
        std::thread::sleep(wait);
        let begun = Instant::now();
        loop {
            demo.interrupt();
            std::thread::sleep(Duration::from_millis(50));
            if let Some(status) = demo.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not end");
        }
    };
    let waits = [100, 300, 1000, 3000].map(Duration::from_millis);
    let codes: Vec<_> = waits.into_iter().map(code).take_while(|c| *c != Some(130)).collect();
    assert!(codes.len() < waits.len(), "it never ended at once: {codes:?}");
}

#[test]
fn the_demo_replays_a_recorded_watch_and_ends_after_its_time() {
    let mut demo = demo(&[
        "--replay",
        "tests/data/recordings/changes/watch/pods-watch.jsonl",
        "--speed",
        "1000",
        "--duration",
        "6",
    ]);
    assert!(demo.first[0].starts_with("KubeHealer watches a recording"), "{:?}", demo.first);
    let mut log = String::new();
    demo.stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains(" opened ") && log.contains(" resolved "), "{log}");
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_keeps_demo_and_watch_from_beginning_is_said_in_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = folder(&[("empty", b""), ("text", b"hello"), ("config", b"clusters: [token: hunter2")]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (args, words) in [
        (vec!["demo", "--listen", &taken], "another program is using the port"),
        (vec!["demo", "--kubernetes-listen", &taken], "cannot listen"),
        (vec!["demo", "--speed", "0"], "--speed"),
        (vec!["demo", "--replay", "/nonexistent"], "/nonexistent"),
        (vec!["demo", "--replay", &path("empty")], "no object"),
        (vec!["demo", "--replay", &path("text")], "cannot be read"),
        (vec!["watch", "--listen", &taken], "another program is using the port"),
        (vec!["watch", "--listen", "127.0.0.1:0"], "no cluster"),
        (vec!["watch", "--listen", "127.0.0.1:0", "--kubeconfig", &path("config")], "kubeconfig"),
        (vec!["watch", "--shard", "3/3"], "INDEX/COUNT"),
        (vec!["watch", "--shards", "3"], "--shard-from-name"),
        (vec!["watch", "--shards", "3", "--shard-from-name", "kubehealer-3"], "kubehealer-3"),
        (vec!["watch", "--namespaces", "a b"], "namespace"),
        (vec!["watch", "--listen", "127.0.0.1:0", "--selector", "a="], "cluster"),
    ] {
        let run = kubehealer(&args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.err);
        assert!(run.err.contains(words), "{args:?}: {}", run.err);
        assert!(!run.err.contains("hunter2") && !run.err.contains("panicked"), "{args:?}: {}", run.err);
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_said_and_info_is_used_instead() {
    for (filter, said) in [("kubehealer=lots", true), ("", false), ("warn,kubehealer=info", false)] {
        let mut command = command();
        command.args(["watch", "--listen", "127.0.0.1:0", "--color", "never"]).env("RUST_LOG", filter);
        let told = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert_eq!(told.contains("WARN invalid RUST_LOG") && told.contains("using=info"), said, "{told}");
    }
}

#[test]
fn flags_of_watch_can_be_set_by_the_environment() {
    let mut command = command();
    command.args(["watch"]).env("KUBEHEALER_LISTEN", "nonsense");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--listen"));
    let help = kubehealer(&["watch", "--help"]).out;
    for flag in [
        "NAMESPACES",
        "SELECTOR",
        "FIELD_SELECTOR",
        "LISTEN",
        "LOG_FORMAT",
        "LOGS",
        "NO_EVENTS",
        "NO_OWNERS",
        "NO_NODES",
        "RULES",
        "MAX_SERIES",
        "NODE",
        "UNSCHEDULED",
        "SHARD",
        "SHARD_FROM_NAME",
        "SHARDS",
        "CONTEXT",
        "KUBECONFIG",
    ] {
        assert!(help.contains(&format!("[env: KUBEHEALER_{flag}=")), "{flag}");
    }
}
