//! What crash logs say: the recorded ones, a sample for each row of the table, and hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use kubehealer_core::diagnosis::CauseCode;
use kubehealer_core::diagnosis::logs::{
    LogTail, LogVerdict, MAX_BYTES, MAX_LINES, TailReader, classify, rule_names,
};
use kubehealer_core::redact::{MARK, MAX_LINE};
use proptest::prelude::*;

struct Sample {
    rule: String,
    exit_code: Option<i32>,
    words: Vec<String>,
    log: String,
    line: usize,
}

fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for (index, text) in include_str!("../../../tests/data/logs.txt").lines().enumerate() {
        if let Some(head) = text.strip_prefix("## ") {
            let mut parts = head.split(' ');
            let rule = parts.next().unwrap_or_default().to_owned();
            let exit_code =
                parts.next().and_then(|part| part.strip_prefix("exit=")).and_then(|code| code.parse().ok());
            samples.push(Sample { rule, exit_code, words: Vec::new(), log: String::new(), line: index + 1 });
        } else if let Some(sample) = samples.last_mut() {
            match text.strip_prefix("> ") {
                Some(words) if sample.words.is_empty() => {
                    sample.words = words.split(" | ").map(str::to_lowercase).collect();
                }
                _ => {
                    sample.log.push_str(text);
                    sample.log.push('\n');
                }
            }
        }
    }
    samples
}

fn read(log: &str, exit_code: Option<i32>) -> LogVerdict {
    classify(&LogTail::from_bytes(log.as_bytes()), exit_code)
        .unwrap_or_else(|| panic!("nothing read from: {log}"))
}

fn says(verdict: &LogVerdict, word: &str) -> bool {
    verdict.text.to_lowercase().contains(word) || verdict.line.to_lowercase().contains(word)
}

#[test]
fn each_sample_is_read_by_the_rule_that_knows_it_and_with_its_particulars() {
    let mut wrong = Vec::new();
    let samples = samples();
    for sample in &samples {
        let verdict = read(&sample.log, sample.exit_code);
        let missing: Vec<_> = sample.words.iter().filter(|word| !says(&verdict, word)).collect();
        if verdict.rule != sample.rule || !missing.is_empty() || verdict.text.contains("an unnamed one") {
            wrong.push(format!(
                "line {}: {} expected, lacks {missing:?}: {verdict:?}",
                sample.line, sample.rule
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} samples are wrong:\n{}",
        wrong.len(),
        samples.len(),
        wrong.join("\n")
    );
}

#[test]
fn each_rule_of_the_table_has_a_sample_and_a_name_of_its_own() {
    let samples: BTreeSet<String> = samples().into_iter().map(|sample| sample.rule).collect();
    let mut names = BTreeSet::new();
    for name in rule_names() {
        assert!(samples.contains(name), "the rule {name} has no sample");
        assert!(names.insert(name), "two rules are called {name}");
    }
}

#[test]
fn each_rule_still_wins_when_the_log_is_json_of_a_common_shape() {
    // What is one line stays one line in JSON; anchored runtime messages never come wrapped.
    for (line, rule) in [
        ("dial tcp: lookup redis.shop.svc: no such host", "dns-lookup"),
        ("relation \"accounts\" does not exist", "schema-relation"),
        ("open /etc/shop/config.yaml: no such file or directory", "file-missing-before"),
        ("PAYOUT_WINDOW is not set", "env-not-set"),
    ] {
        for json in [
            serde_json::json!({"level": "error", "ts": 1, "msg": line}),
            serde_json::json!({"severity": "ERROR", "message": "start failed", "error": line}),
            serde_json::json!({"level": 50, "err": {"type": "Error", "message": line, "stack": "Error\n  at x"}}),
        ] {
            assert_eq!(read(&json.to_string(), Some(1)).rule, rule, "{json}");
        }
    }
}

#[test]
fn the_recorded_logs_give_the_expected_causes() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/recordings");
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(data.join("expected.json")).expect("expected.json"))
            .expect("JSON");
    let mut checked = 0;
    for case in expected["cases"].as_array().expect("cases") {
        if !case["needs"].as_array().is_some_and(|needs| needs.iter().any(|need| need == "log")) {
            continue;
        }
        let start =
            format!("{}.{}", case["namespace"].as_str().unwrap(), case["pod_prefix"].as_str().unwrap());
        let container = format!(".{}.", case["container"].as_str().unwrap());
        let verdicts: Vec<LogVerdict> = std::fs::read_dir(data.join("final/logs"))
            .expect("logs")
            .map(|entry| entry.expect("entry").path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with(&start) && name.contains(&container) && name.ends_with(".log")
            })
            .filter_map(|path| classify(&LogTail::from_bytes(&std::fs::read(path).expect("log")), None))
            .collect();
        assert!(!verdicts.is_empty(), "no log of {start} says anything");
        // Exit codes and limits stand in the Pod, and are not a log's to say.
        let words: Vec<String> = case["cause_keywords"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_lowercase())
            .filter(|word| word == "502" || !word.bytes().all(|b| b.is_ascii_digit()) && word != "64mi")
            .collect();
        for verdict in &verdicts {
            assert!(verdict.specific, "{start}: {verdict:?}");
            assert!(
                words.iter().all(|word| says(verdict, word)),
                "{start} lacks one of {words:?}: {verdict:?}"
            );
        }
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} cases checked");
}

#[test]
fn the_kubelets_word_that_a_log_is_gone_is_no_log() {
    let gone = "unable to retrieve container logs for containerd://7de29e6b07dcbb59b7784ea59d2e9cab327714a8f23453f5e2029489e35f0062";
    let tail = LogTail::from_bytes(gone.as_bytes());
    assert!(tail.gone());
    assert_eq!(classify(&tail, Some(1)), None);
    assert!(
        !LogTail::from_bytes(format!("starting\n{gone}").as_bytes()).gone(),
        "a program may quote that sentence"
    );
    assert!(!LogTail::from_bytes(b"").gone());
}

#[test]
fn an_empty_or_blank_log_says_nothing() {
    for log in ["", "\n\n\r\n", " \t \n", "\0\0\0"] {
        let tail = LogTail::from_bytes(log.as_bytes());
        assert!(tail.is_empty(), "{log:?}");
        assert_eq!(classify(&tail, Some(1)), None);
    }
}

#[test]
fn a_log_that_is_cut_anywhere_gives_the_same_tail() {
    let log = "2026-11-22T11:22:48+00:00 INFO grüße\r\nprogress 1%\rprogress 99%\rdone\n\nERROR Ünd Schluß"
        .as_bytes();
    let whole = LogTail::from_bytes(log);
    assert_eq!(whole.lines(), ["INFO grüße", "done", "ERROR Ünd Schluß"]);
    for cut in 0..log.len() {
        let mut reader = TailReader::new();
        reader.push(&log[..cut]);
        reader.push(&log[cut..]);
        assert_eq!(reader.finish(), whole, "cut at {cut}");
    }
}

#[test]
fn an_endless_log_costs_no_more_than_its_bound() {
    let mut reader = TailReader::new();
    let block: String = (0..1000).map(|n| format!("2026-11-22T10:00:00Z INFO line {n} of many\n")).collect();
    for _ in 0..500 {
        reader.push(block.as_bytes());
    }
    reader.push(b"fatal: cannot open /etc/app.toml\n");
    let tail = reader.finish();
    assert_eq!(tail.lines().len(), MAX_LINES);
    assert_eq!(classify(&tail, Some(6)).expect("a verdict").rule, "file-missing-config");
}

#[test]
fn a_log_that_was_cut_within_a_line_does_not_show_the_half_of_it() {
    let mut log = "hunter2 of a line that began with a name\n".to_owned();
    while log.len() < MAX_BYTES {
        log.push_str(&"word ".repeat(700));
        log.push('\n');
    }
    let tail = LogTail::from_bytes(&log.as_bytes()[..MAX_BYTES]);
    assert!(tail.lines().len() < MAX_LINES && !tail.lines().iter().any(|line| line.contains("hunter2")));
    let short = LogTail::from_bytes(b"first\nsecond");
    assert_eq!(short.lines(), ["first", "second"]);
}

#[test]
fn a_line_without_end_and_binary_bytes_cost_no_more_than_their_bound() {
    for block in [
        vec![b'x'; 65_536],
        (0..=255).cycle().take(65_536).collect::<Vec<u8>>(),
        "\u{1b}[31mé\0".repeat(9000).into_bytes(),
    ] {
        let mut reader = TailReader::new();
        for _ in 0..64 {
            reader.push(&block);
        }
        let tail = reader.finish();
        let bytes: usize = tail.lines().iter().map(String::len).sum();
        assert!(bytes <= MAX_BYTES * 3, "{bytes} bytes: invalid bytes become three each");
        assert!(
            tail.lines().iter().all(|line| line.len() <= MAX_LINE && !line.chars().any(char::is_control))
        );
        if let Some(verdict) = classify(&tail, None) {
            assert!(verdict.line.len() <= 400 && verdict.text.len() <= 600, "{verdict:?}");
        }
    }
}

#[test]
fn text_in_utf16_is_readable() {
    let bytes: Vec<u8> =
        "Unhandled exception. System.Exception: boom\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let verdict = classify(&LogTail::from_bytes(&bytes), Some(1)).expect("a verdict");
    assert_eq!(verdict.rule, "dotnet-exception");
    assert!(verdict.text.contains("boom"));
}

#[test]
fn no_secret_of_a_log_comes_out_with_a_verdict() {
    for log in [
        "panic: cannot connect to postgres://app:hunter2@db:5432/shop: connection refused",
        "DB_PASSWORD=hunter2 is not set",
        "{\"level\":\"fatal\",\"msg\":\"login failed\",\"error\":\"password=hunter2\"}",
        "ERROR token: hunter2 rejected",
        "-----BEGIN PRIVATE KEY-----\nhunter2AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----",
    ] {
        let tail = LogTail::from_bytes(log.as_bytes());
        assert!(!tail.lines().iter().any(|line| line.contains("hunter2")), "{:?}", tail.lines());
        let verdict = classify(&tail, Some(1)).expect("a verdict");
        assert!(!says(&verdict, "hunter2") && verdict.line.contains(MARK), "{verdict:?}");
    }
}

#[test]
fn the_exit_code_speaks_for_one_of_two_causes() {
    let log = "sh: migrate: not found\nERROR: relation \"accounts\" does not exist\n";
    assert_eq!(read(log, Some(127)).code, CauseCode::CommandNotFound);
    let log = "INFO shutting down\nERROR flush failed\n";
    assert_eq!(read(log, Some(1)).code, CauseCode::LoggedError);
}

#[test]
fn what_fails_while_a_program_goes_down_is_not_why_it_goes_down() {
    let log = "ERROR invalid value for LOG_LEVEL: \"verbos\"\nINFO shutting down\nERROR failed to close redis pool: dial tcp 10.0.0.7:6379: connect: connection refused\nERROR failed to flush traces: Post \"http://otel:4318/v1/traces\": dial tcp: lookup otel: no such host\n";
    let verdict = read(log, Some(1));
    assert!(verdict.code == CauseCode::InvalidConfiguration && says(&verdict, "log_level"), "{verdict:?}");
    // Where nothing else is said, it is all there is.
    let log = "INFO shutting down\nERROR failed to flush traces: Post \"http://otel:4318/v1/traces\": dial tcp: lookup otel: no such host\n";
    assert!(says(&read(log, Some(1)), "otel"));
}

#[test]
fn a_long_line_is_quoted_around_what_counts() {
    let log = format!(
        "{} dial tcp: lookup redis.shop.svc: no such host {}",
        "prefix ".repeat(200),
        "tail ".repeat(200)
    );
    let verdict = read(&log, Some(1));
    assert!(verdict.line.len() < 400 && verdict.line.contains("redis.shop.svc"), "{verdict:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_leave_a_control_character(bytes in prop::collection::vec(any::<u8>(), 0..2000), exit in any::<i32>()) {
        let tail = LogTail::from_bytes(&bytes);
        if let Some(verdict) = classify(&tail, Some(exit)) {
            prop_assert!(!verdict.text.chars().chain(verdict.line.chars()).any(char::is_control));
        }
    }
}
