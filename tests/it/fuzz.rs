//! The fuzz targets without a fuzzer: their seeds, what was found once, and inputs that repeat themselves.

use std::path::Path;
use std::time::{Duration, Instant};

use kubehealer::files;
use serde_json::Value;

#[path = "../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// What takes seconds for some KiB takes hours for a file. Unoptimised, beside other tests.
const SLOW: Duration = Duration::from_secs(10);

fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    let began = Instant::now();
    target(input);
    let took = began.elapsed();
    let begin = String::from_utf8_lossy(&input[..input.len().min(200)]).into_owned();
    assert!(took < SLOW, "{name} takes {took:?} for {} bytes: {begin}", input.len());
}

#[test]
fn seeds_and_what_was_found_do_no_harm() {
    // All of them with FUZZ_SEEDS=all.
    let most = if std::env::var_os("FUZZ_SEEDS").is_some() { usize::MAX } else { 60 };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (seeds, found) = (seeds::seeds(root), seeds::found(root));
    for (name, target) in targets::TARGETS {
        let seeds = &seeds[name];
        let step = seeds.len().div_ceil(most);
        let some = seeds.iter().step_by(step).chain(found.get(name).into_iter().flatten());
        some.for_each(|input| run(name, target, input));
    }
}

/// They open what they never close, or begin over and over.
const TEXTS: [&str; 18] = [
    "a",
    " ",
    "\n",
    "\"",
    "(",
    "[",
    "{",
    "- ",
    "a: ",
    ": ",
    ", error ",
    "\u{1b}]",
    "\u{9b}",
    "renewTime",
    "password: |\n",
    "x=\"",
    "-----BEGIN PRIVATE KEY-----\n",
    "\tat a.b(C.java:1)\n",
];

#[test]
fn an_input_that_repeats_itself_takes_no_longer_than_its_length_explains() {
    let lines =
        ["token: ", "ERROR ", "{\"msg\": \"", ""].map(|begin| format!("{begin}{}\n", "word ".repeat(64)));
    for (name, target) in targets::TARGETS {
        for text in TEXTS.into_iter().chain(lines.iter().map(String::as_str)) {
            run(name, target, text.repeat((256 << 10) / text.len()).as_bytes());
        }
    }
}

#[test]
fn an_object_with_very_many_of_everything_takes_no_longer_than_its_length_explains() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = seeds::seeds(root);
    for (name, target) in
        targets::TARGETS.into_iter().filter(|(name, _)| ["pod", "event", "node"].contains(name))
    {
        let longest =
            seeds[name].iter().filter(|seed| seed.starts_with(b"{")).max_by_key(|seed| seed.len()).unwrap();
        let mut object: Value = serde_json::from_slice(longest).unwrap();
        multiply(&mut object, 1000);
        run(name, target, object.to_string().as_bytes());
    }
}

/// Every list gets so many elements, with names of their own, but those within others.
fn multiply(value: &mut Value, times: usize) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| multiply(field, times)),
        Value::Array(elements) => {
            let Some(first) = elements.first().cloned() else { return };
            elements.extend((0..times).map(|n| {
                let mut element = first.clone();
                for field in ["name", "uid", "type", "key", "ip"] {
                    if let Some(Value::String(text)) = element.get_mut(field) {
                        text.push_str(&n.to_string());
                    }
                }
                element
            }));
        }
        _ => {}
    }
}
