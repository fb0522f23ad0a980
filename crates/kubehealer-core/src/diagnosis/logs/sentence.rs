//! The decisive words of a record: what it says, freed of wrappers, whole where that fits a first line.

use std::sync::LazyLock;

use regex::Regex;

use super::record::Record;
use super::rule::pattern;
use super::thrown::Thrown;
use crate::redact::{self, MARK};

/// The longest sentence, in bytes: some 280 characters of a first line.
pub(super) const MAX_SENTENCE: usize = 280;

/// The longest words that go in front of a root cause, in bytes.
const MAX_CONTEXT: usize = 130;

/// What a record says; `matched` is the part that a rule knows and that must not be lost.
pub(super) fn of(record: &Record, matched: Option<&str>) -> String {
    let said = if record.thrown.is_empty() { message(record) } else { thrown(record) };
    let said = tidy(&said);
    let said = if matched.is_some_and(|matched| !said.contains(&*tidy(matched))) && said.len() <= MAX_SENTENCE
    {
        // A rule read another part of the record: that has to be in the sentence.
        let whole = tidy(&record.whole().replace(".: ", ": "));
        if whole.contains(&*tidy(matched.unwrap_or_default())) { whole } else { said }
    } else {
        said
    };
    let fitted = fit(without_advice(&said, matched), matched);
    redact::redact(&fitted).trim_end_matches(['.', ',', ';', ':', ' ']).to_owned()
}

fn message(record: &Record) -> String {
    // Monolog prints the exception of a message once more, as an object.
    let error = Some(record.error.trim()).filter(|error| !error.starts_with("[object] ("));
    match (record.text.trim(), error.unwrap_or_default()) {
        (text, "") => text.to_owned(),
        ("", error) => error.to_owned(),
        (text, error) => format!("{}: {error}", text.trim_end_matches(['.', ':', ' '])),
    }
}

/// Of what was thrown: the root that says something, behind what the outer ones name.
fn thrown(record: &Record) -> String {
    let all = &record.thrown;
    let telling =
        |thrown: &&Thrown| !thrown.message.is_empty() && thrown.message != "null" && thrown.message != "None";
    // The chain ends at the last one that is a cause; others were printed besides.
    let root = all.iter().rev().find(telling).or_else(|| all.last());
    let Some(root) = root else { return message(record) };
    let said = root.said();
    let mut contexts: Vec<&str> = Vec::new();
    if record.text.trim() != root.message {
        contexts.push(record.text.trim());
    }
    contexts.extend(
        all.iter()
            .filter(|thrown| !thrown.class.ends_with("CancellationException"))
            .map(|thrown| thrown.message.as_str())
            .filter(|message| *message != root.message),
    );
    if !root.message.is_empty() && record.text.contains(&root.message) && record.text.len() <= MAX_SENTENCE {
        return record.text.clone();
    }
    // An outer message that holds the root whole says it better.
    let outer = all.iter().find(|thrown| {
        thrown.message.len() > root.message.len()
            && thrown.message.contains(&root.message)
            && thrown.said().len() <= MAX_SENTENCE
    });
    if let Some(outer) = outer.filter(|_| !root.message.is_empty()) {
        return outer.said();
    }
    let named = contexts.iter().filter(|context| names_something(context) && !said.contains(**context)).map(
        |context| {
            let cut = without_classes(context.split(": Invocation of").next().unwrap_or(context));
            redact::cut(cut, MAX_CONTEXT).trim_end_matches(['.', ':', ';', ',', ' '])
        },
    );
    let named: Vec<&str> = named.filter(|context| !context.is_empty()).collect();
    // A path or a name in quotes tells more than a word with a capital.
    match named.iter().find(|context| names_exactly(context)).or(named.first()) {
        Some(context) => format!("{context}: {said}"),
        // A chain without classes is one sentence: `error connecting to nats: Connection refused`.
        None if root.class.is_empty() && root.cause && said.len() < 48 && !contexts.is_empty() => {
            format!("{}: {said}", contexts.last().map_or("", |context| redact::cut(context, MAX_CONTEXT)))
        }
        None if !root.frame.is_empty() && says_nothing(&root.message) => {
            format!("{said} (at {})", root.frame)
        }
        None => said,
    }
}

/// Whether it names a thing: a quoted or bracketed name, a path, an address.
fn names_something(text: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r#"\w (?-i:[A-Z][a-z])|['"`‘“][\w./:@ -]+['"`’”]|\[[\w./:@ -]+\]|/\w+/|\w:\d{2,5}\b|\bport \d|\b[\w-]+\.(?:ya?ml|json|conf|sql|xml|properties|toml|ini)\b|https?://|\w_\w"#,
        )
    });
    NAME.is_match(text)
}

/// A message without the classes of the exceptions that hand it on: `a.AException: a.BException: no x`.
fn without_classes(text: &str) -> &str {
    static CLASSES: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^(?-i:(?:[\w$]+\.)*[A-Z]\w*(?:Exception|Error): )+"));
    CLASSES.find(text).map_or(text, |found| text.get(found.end()..).unwrap_or(text))
}

/// Whether what it names cannot be the name of a part of the program: it is a path, an address, or stands in quotes.
fn names_exactly(text: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r#"['"`‘“][\w./:@ -]+['"`’”]|\w/\w+|/\w+/|\w:\d{2,5}\b|\.(?:ya?ml|json|conf|sql|xml|properties|toml|ini)\b|https?://"#,
        )
    });
    NAME.is_match(text)
}

/// Whether the message of an exception leaves open what it is about.
fn says_nothing(message: &str) -> bool {
    message.len() < 32 && !names_something(message) && !message.contains(|c: char| c.is_ascii_digit())
}

/// Without ids and blanks that say nothing.
fn tidy(text: &str) -> String {
    static IDS: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"std::exception\. Code: \d+, type: [\w:]+, e\.what\(\) = |\s*\[type=[^\n]*?input_type=\w+\]|[.,]?\s*(?:for (?:more|further) (?:information|details),? ?)?(?:please )?(?:see|visit|refer to)(?: also)?:? https?://\S+|\s*error code: [\w-]+ \(os error \d+\)|[,;( ]*\b(?:request ?id|requestid|trace ?id|correlation ?id|req_id)[ :=]+[\w-]{6,}\)?|\s+\(os error \d+\)",
        )
    });
    static PACKAGE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"(?-i:\b(?:[a-z][\w$]*\.){2,}(?P<class>[A-Z]\w*)|\b(?:[A-Z]\w+\.)+(?P<net>\w+Exception)\b)")
    });
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = IDS.replace_all(&joined, "");
    let said = PACKAGE.replace_all(&said, "$class$net");
    let said = said.trim().trim_start_matches("{ ");
    // Quotes around all of it are no part of it.
    let inner =
        said.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).filter(|inner| !inner.contains('"'));
    inner.unwrap_or(said).to_owned()
}

/// A text that is too long without the advice behind its first sentences, unless what a rule knows comes only then.
fn without_advice<'a>(text: &'a str, matched: Option<&str>) -> &'a str {
    static ADVICE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"[.!] (?-i:You (?:can|may|should|could|need)|Please|Take|Use|Run|Check|When|NOTE|Note|HINT|Hint|TIP|Tip|See|Try|Consider|If you|To fix|For more|This means|Make sure|Ensure)\b",
        )
    });
    if text.len() <= MAX_SENTENCE {
        return text;
    }
    // What the program itself takes for the cause is none.
    let is_cause =
        |sentence: &str| sentence.split_inclusive(". ").nth(1).unwrap_or_default().contains("because");
    let advice = ADVICE
        .find_iter(text)
        .find(|found| found.start() > 24 && !text.get(found.start()..).is_some_and(is_cause));
    let before = advice.and_then(|found| text.get(..found.start())).unwrap_or(text);
    let known = matched.map(tidy).filter(|words| text.contains(words.as_str()));
    if known.is_some_and(|words| !before.contains(&words)) { text } else { before }
}

/// As much of a text as a first line holds: of a chain `a: b: c` its end, where the cause is.
fn fit(text: &str, matched: Option<&str>) -> String {
    if text.len() <= MAX_SENTENCE {
        return text.to_owned();
    }
    let keep = matched.and_then(|matched| text.find(tidy(matched).as_str())).unwrap_or(text.len());
    // A list that is too long tells less than what it is about.
    let starts = segments(text);
    let last = starts.last().copied().unwrap_or_default();
    let is_list =
        text.get(last..).is_some_and(|end| end.len() > MAX_SENTENCE && end.matches(", ").count() > 8);
    if is_list && (keep <= last || keep == text.len()) {
        let from = starts.into_iter().find(|from| last - from <= MAX_SENTENCE * 3 / 5).unwrap_or(last);
        return shortened(text.get(from..).unwrap_or(text), MAX_SENTENCE);
    }
    let mut rest = text;
    let mut dropped = 0;
    while rest.len() > MAX_SENTENCE {
        let Some(at) = segment(rest).filter(|at| dropped + at <= keep) else { break };
        let inner = rest.get(at..).unwrap_or_default();
        // What does not fit anyway is better begun with what it is about.
        if inner.len() > MAX_SENTENCE && segment(inner).is_none() {
            break;
        }
        dropped += at;
        rest = inner;
    }
    // Where no end of a segment is near, the words around the match.
    if rest.len() > MAX_SENTENCE && keep < text.len() && keep > dropped + MAX_SENTENCE / 2 {
        let from = floor(text, keep.saturating_sub(60));
        rest = text.get(from..).and_then(|tail| tail.split_once(' ')).map_or(rest, |(_, tail)| tail);
    }
    shortened(rest, MAX_SENTENCE)
}

/// Where the segments of a chain begin.
fn segments(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some(next) = starts.last().and_then(|from| Some(from + segment(text.get(*from..)?)?)) {
        starts.push(next);
    }
    starts
}

/// Where the first segment of a chain ends, quotes and brackets left whole.
fn segment(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut depth = 0_i32;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' | b'[' | b'{' if !quoted => depth += 1,
            b')' | b']' | b'}' if !quoted => depth -= 1,
            b':' if !quoted && depth <= 0 && bytes.get(at + 1) == Some(&b' ') => {
                // What is left must still say something.
                return (text.len() - at > 24).then_some(at + 2);
            }
            _ => {}
        }
    }
    None
}

/// The last boundary of a character at or before `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The beginning of a text, with a mark where it was cut; the mark of a hidden secret is not cut in two.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let cut = redact::cut(text, max);
    // A long term without a blank is cut in itself.
    let cut = if cut.len() < max / 2 { text.get(..floor(text, max)).unwrap_or(cut) } else { cut };
    let cut = cut
        .rfind('[')
        .filter(|at| MARK.starts_with(cut.get(*at..).unwrap_or_default()))
        .map_or(cut, |at| cut.get(..at).unwrap_or(cut));
    format!("{}…", cut.trim_end())
}
