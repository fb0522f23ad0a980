//! The corpus in `tests/data/redaction.txt`: what must be hidden, and what only looks like it.

use kubehealer::redact::{MARK, MAX_LINE, redact};
use proptest::prelude::*;

const CORPUS: &str = include_str!("../data/redaction.txt");

struct Sample {
    kind: String,
    line: String,
    shown: String,
}

fn corpus() -> Vec<Sample> {
    let mut samples = Vec::new();
    let (mut kind, mut input) = (String::new(), None);
    for (number, text) in CORPUS.lines().enumerate() {
        let text = text.replace('¦', "");
        if let Some(name) = text.strip_prefix("## ") {
            kind = name.to_owned();
        } else if let Some(line) = text.strip_prefix("in:  ") {
            assert!(input.replace(line.to_owned()).is_none(), "line {}: two inputs in a row", number + 1);
        } else if let Some(shown) = text.strip_prefix("out: ") {
            let line = input.take().unwrap_or_else(|| panic!("line {}: an output without input", number + 1));
            samples.push(Sample { kind: kind.clone(), line, shown: shown.to_owned() });
        } else if let Some(line) = text.strip_prefix("same: ") {
            samples.push(Sample { kind: kind.clone(), line: line.to_owned(), shown: line.to_owned() });
        } else {
            assert!(text.is_empty() || text.starts_with('#'), "line {}: not understood: {text}", number + 1);
        }
    }
    samples
}

#[test]
fn every_secret_of_the_corpus_is_hidden_and_every_look_alike_stays_readable() {
    let samples = corpus();
    let wrong: Vec<String> = samples
        .iter()
        .filter(|sample| redact(&sample.line) != sample.shown)
        .map(|s| {
            format!("{}\n    line  {}\n    want  {}\n    shown {}", s.kind, s.line, s.shown, redact(&s.line))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} samples are wrong:\n{}",
        wrong.len(),
        samples.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_corpus_has_at_least_a_hundred_look_alikes() {
    let samples = corpus();
    let secrets = samples.iter().filter(|sample| sample.shown.contains(MARK)).count();
    assert!(secrets >= 60, "{secrets} secrets");
    assert!(samples.len() - secrets >= 100, "{} look-alikes", samples.len() - secrets);
}

#[test]
fn a_line_that_is_redacted_already_does_not_change_again() {
    for sample in corpus() {
        let once = redact(&sample.line).into_owned();
        assert_eq!(redact(&once), once, "of {}", sample.line);
    }
}

#[test]
fn a_secret_stays_hidden_inside_of_a_json_log_line() {
    for sample in corpus().iter().filter(|sample| sample.kind == "URL user info" || sample.kind == "JWT") {
        let json = serde_json::json!({"level": "error", "msg": sample.line}).to_string();
        let want = serde_json::json!({"level": "error", "msg": sample.shown}).to_string();
        assert_eq!(redact(&json), want);
    }
}

#[test]
fn hostile_lines_are_bounded_in_size_and_in_time() {
    let started = std::time::Instant::now();
    for unit in [
        "password=",
        "a=",
        "://a:",
        "@",
        "\"token\":\"",
        "\\\"",
        "Bearer ",
        "eyJ",
        "-",
        "é",
        "\u{1b}[",
        "key ",
        "?code=",
    ] {
        let shown = redact(&unit.repeat(200_000)).into_owned();
        assert!(shown.len() <= MAX_LINE * 3, "{unit}: {} bytes", shown.len());
    }
    assert!(started.elapsed().as_secs() < 20, "took {:?}", started.elapsed());
}

#[test]
fn a_value_goes_on_behind_a_colon_and_a_full_stop() {
    let hidden = "&password=[redacted] ";
    assert_eq!(redact("&password=a:.a(শa0Σ\u{1bc90}0A "), hidden);
    assert_eq!(redact(hidden), hidden);
    assert_eq!(
        redact("login with (password=hunter2x). Then wait"),
        "login with (password=[redacted]). Then wait"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_leaves_a_control_character(text in "\\PC{0,40}[\\x00-\\x9f]{0,8}(password|token|auth)[=:]\\PC{0,40}") {
        let shown = redact(&text);
        prop_assert!(!shown.chars().any(char::is_control));
        let again = redact(&shown).into_owned();
        prop_assert_eq!(again.as_str(), shown.as_ref());
    }

    #[test]
    fn a_value_behind_a_secrets_name_never_shows(value in "[A-Za-z0-9+/!#%^*_~-]{9,40}", name in prop::sample::select(vec![
        "password", "DB_PASSWORD", "clientSecret", "token", "api-key", "AWS_SECRET_ACCESS_KEY", "x-auth-token",
    ])) {
        prop_assume!(value.chars().any(|c| c.is_ascii_uppercase()) && value.chars().any(|c| c.is_ascii_digit()));
        for line in [format!("{name}={value}"), format!("{{\"{name}\":\"{value}\"}}"), format!("a b {name}: {value} c"), format!("--{name} {value}")] {
            if line.starts_with("--") && value.starts_with('-') { continue; }
            prop_assert!(!redact(&line).contains(&value), "{}", redact(&line));
        }
    }
}

/// All strings of a JSON value under a key of this name.
fn texts<'a>(value: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    serde_json::Value::String(text) if name == key => found.push(text),
                    _ => texts(field, key, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_recorded_messages_hold_no_secret_and_stay_as_they_are() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recordings");
    let mut seen = 0;
    for file in [
        "final/events.json",
        "final/pods.json",
        "final/jobs.json",
        "changes/final/events.json",
        "changes/final/pods.json",
    ] {
        let list: serde_json::Value =
            serde_json::from_slice(&std::fs::read(data.join(file)).unwrap()).unwrap();
        let mut found = Vec::new();
        texts(&list, "message", &mut found);
        for text in found {
            let clean = kubehealer::redact::clean(text);
            assert_eq!(redact(text), clean, "in {file}");
            seen += 1;
        }
    }
    assert!(seen > 1000, "only {seen} messages");
}
