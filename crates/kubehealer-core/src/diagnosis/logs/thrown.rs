//! What was thrown: exceptions and chains of causes in the lines of a record, and what is only their stack.

use std::sync::LazyLock;

use regex::Regex;
use regex_automata::meta;

use super::rule::{pattern, test};

/// The longest text of a record, in bytes: what follows is left out.
pub(super) const MAX_TEXT: usize = 4096;

/// An error in a record: an exception, with the words that came with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Thrown {
    /// Its class, with the package where one is printed.
    pub class: String,
    /// Its message.
    pub message: String,
    /// The printed line began with `Caused by` or the like.
    pub cause: bool,
    /// The call in which it was thrown, where the stack names it.
    pub frame: String,
}

impl Thrown {
    /// Class and message, without the package.
    pub(super) fn said(&self) -> String {
        let class = short_class(&self.class);
        match (class.is_empty(), self.message.is_empty()) {
            (true, _) => self.message.clone(),
            (_, true) => class,
            _ => format!("{class}: {}", self.message),
        }
    }
}

/// An exception at the start of a line, with its class and its message.
static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r#"^(?P<lead>Caused by: |Suppressed: |-{1,3}> |\[cause\]: |cause: |Unhandled exception[.:]? *|Uncaught exception:? |Uncaught |Exception in thread "[^"]*" |PHP (?:Fatal|Parse) error: +(?:Uncaught )?|Fatal error: Uncaught |\*\* \()?"#,
        r"(?P<class>(?-i:(?:[A-Za-z_$][\w$]*(?:\.|::|\+|/|\\))*(?:[A-Z][\w$]*)?(?:Error|Exception|Interrupt|Failure|DoesNotExist|NotFound|Timeout|Fault|Exit)))",
        r"(?:\s?\((?:0x)?[\w-]+\))?(?: \[[\w-]+\])?(?:(?:\) |:\s*)(?P<message>.*))?$",
    ))
});

/// A cause whose class has no telling name.
static CAUSE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:Caused by: |-{1,3}> |\[cause\]: )(?P<class>[\w.$+:/-]+)(?:: (?P<message>.*))?$")
});

/// Ruby puts the class behind the message.
static RUBY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[^\s:]+:\d+:in [`'][^']*': (?P<message>.+?) \((?P<class>[A-Z][\w:]+)\)$"));

/// A frame of a stack, by the habits of the common runtimes.
static FRAME: LazyLock<meta::Regex> = LazyLock::new(|| {
    test(concat!(
        r"^(?:at [\w$.<>/@\[(*{]|\.\.\. \d+ |\d+: +(?:0x|[\w<:])|File \x22|goroutine \d+|created by |from /|from [\w./-]+:\d+:in|",
        r"(?:[A-Z]:)?[\w./@<>+-]+\.(?:rb|go|rs|py|js|mjs|ts|java|cs|php|ex|exs|erl|cc|cpp|c|h):\d+(?::\d+)?(?::in\b.*| \+0x.*|\)?)$|",
        r"--- End of|stack backtrace:|stack traceback:|\[C\]: in |\S+:\d+: in (?:main chunk|function|upvalue|local|method|field)\b|\[?signal |note: (?:run with|some details)|#\d+ |\(\w+ [\d.]+\) |runtime stack:|\d+\. [^\n]* @ 0x[\da-f]+|",
        r"[\w./*$@:{}\[\]()-]*[./:][\w.*$\[\]{}()-]+\([^()]*\)(?: \+0x\S+| in \S+)?$|[~^\s|-]+$|[\s})\];,]+$|[^\s:]+:\d+:in [`'].*'$|[\w.@-]+\.[\w-]+/[\w./@-]+\.[\w.()*\[\]$]+$|(?:main\.main|runtime\.(?:main|goexit))$|exit status \d+$|rip +0x|r\w\w? +0x)",
    ))
});

/// One error of a numbered chain.
static CHAIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\d{1,2}: (?P<said>[^:]+(?:: .*)?)$"));

/// The call of a frame: `at a.b.C.d(C.java:1)`, `at A.B.C(String x) in ..`.
static CALL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^at ([\w$.<>/+]+)\("));

/// Whether a line begins with an exception.
pub(super) fn begins(line: &str) -> bool {
    EXCEPTION.is_match(line)
}

/// Whether a line begins with a cause of any name.
pub(super) fn is_cause(line: &str) -> bool {
    CAUSE.is_match(line)
}

/// Whether a line is an exception as Ruby prints it.
pub(super) fn is_ruby(line: &str) -> bool {
    RUBY.is_match(line)
}

/// Whether a line is a frame of a stack.
pub(super) fn is_frame(line: &str) -> bool {
    FRAME.is_match(line.trim_start())
}

pub(super) fn starts_traceback(text: &str) -> bool {
    text.starts_with("Traceback (most recent call last)")
        || text.ends_with("Traceback (most recent call last):")
}

pub(super) fn is_chain_mark(text: &str) -> bool {
    text.starts_with("During handling of the above exception")
        || text.starts_with("The above exception was the direct cause")
}

pub(super) fn closes(text: &str) -> bool {
    text.bytes().all(|b| b"})];, ".contains(&b))
}

/// `org.postgresql.util.PSQLException` is `PSQLException`.
fn short_class(class: &str) -> String {
    let short = class.rsplit(['.', '/', '+', '\\']).next().unwrap_or(class);
    short.trim_start_matches('$').to_owned()
}

/// Splits a record into its message and what was thrown.
pub(super) fn parts(head: &str, lines: &[String]) -> (String, Vec<Thrown>, bool) {
    let mut text = String::new();
    let mut thrown: Vec<Thrown> = Vec::new();
    let mut stack = false;
    let mut direct = true;
    let mut python = starts_traceback(head);
    // Where words that continue go: to the message, to the last exception, or nowhere (behind a frame).
    let mut sink = Sink::Text;
    for raw in std::iter::once(head).chain(lines.iter().map(String::as_str)) {
        // The JVM writes its last words behind hashes.
        let line = raw.trim().trim_start_matches("# ").trim();
        if line.is_empty() || line.chars().all(|c| "=*#_-".contains(c)) {
            continue;
        }
        if starts_traceback(line) {
            python = true;
            stack = true;
            let before = line.trim_end_matches("Traceback (most recent call last):").trim();
            if !before.is_empty() && !before.starts_with("Traceback") {
                text.push_str(before);
            }
            sink = Sink::Frames;
            continue;
        }
        if is_chain_mark(line) {
            direct &= line.starts_with("The above exception");
            sink = Sink::Frames;
            continue;
        }
        if closes(line) {
            continue;
        }
        if takes_chain(line, text.is_empty(), &mut thrown, &mut sink) {
            continue;
        }
        let margin = python && matches!(sink, Sink::Frames);
        let bare = margin && !raw.starts_with(' ') && !is_frame(line);
        if let Some(found) = exception(line).or_else(|| bare.then(|| at_margin(line))) {
            let suppressed = line.starts_with("Suppressed: ");
            if !suppressed {
                push(&mut thrown, found);
            }
            sink = if suppressed { Sink::Nowhere } else { Sink::Thrown };
            continue;
        }
        if is_frame(line) && !(text.is_empty() && thrown.is_empty()) || (margin && line.starts_with("File "))
        {
            stack = true;
            if let Some(last) = thrown.last_mut().filter(|last| last.frame.is_empty()) {
                last.frame = call(line);
            }
            sink = if python { Sink::Frames } else { Sink::Nowhere };
            continue;
        }
        let detail = line.split_once("DETAIL: ").map(|(_, said)| said.trim());
        match (&sink, detail) {
            (_, Some(said)) => extend(&mut text, said),
            (Sink::Text, _) => extend(&mut text, line),
            (Sink::Thrown, _) => {
                if let Some(last) = thrown.last_mut() {
                    extend(&mut last.message, line);
                }
            }
            (Sink::Causes, _) => match thrown.last_mut().filter(|last| last.cause) {
                Some(last) => extend(&mut last.message, line),
                None => thrown.push(Thrown { message: line.to_owned(), cause: true, ..Thrown::default() }),
            },
            (Sink::Frames | Sink::Nowhere, _) => {}
        }
    }
    if python && thrown.len() > 1 {
        outermost_first(&mut thrown, direct);
    }
    (text, thrown, stack)
}

/// Python prints the root first, and last what came of it. Of what came up while another one was handled, the last one alone
/// counts, unless it names nothing and the first one does.
fn outermost_first(thrown: &mut Vec<Thrown>, direct: bool) {
    let names =
        |thrown: &Thrown| thrown.message.contains(|c: char| c.is_ascii_digit() || "'\"/_".contains(c));
    if direct || thrown.first().is_some_and(names) && !thrown.last().is_some_and(names) {
        thrown.reverse();
    } else {
        thrown.drain(..thrown.len() - 1);
    }
}

/// Takes a line of the chain that Rust's error crates print below `Caused by:`, or below a bare `Error:`, mostly numbered.
fn takes_chain(line: &str, bare: bool, thrown: &mut Vec<Thrown>, sink: &mut Sink) -> bool {
    match line {
        "Caused by:" => *sink = Sink::Causes,
        "Location:" | "Stack backtrace:" | "Backtrace:" | "stack backtrace:" => *sink = Sink::Nowhere,
        _ => {
            let said = CHAIN.captures(line).and_then(|found| found.get(1));
            // A bare `Error:` was read as an exception without a message.
            let bare = bare && thrown.iter().all(|t| t.message.is_empty());
            let Some(said) = said.filter(|_| bare || matches!(sink, Sink::Causes)) else { return false };
            if bare {
                thrown.clear();
            }
            *sink = Sink::Causes;
            thrown.push(Thrown { message: said.as_str().to_owned(), cause: true, ..Thrown::default() });
        }
    }
    true
}

/// The call that a frame of the JVM or of .NET names; none for the runtime's own helpers, which tell nothing.
fn call(line: &str) -> String {
    let found = CALL.captures(line).and_then(|found| found.get(1)).map_or("", |call| call.as_str());
    let own = ["java.", "jdk.", "sun.", "node:"].iter().any(|start| found.starts_with(start));
    if own || found.contains(['<', '/']) { String::new() } else { found.to_owned() }
}

enum Sink {
    Text,
    Thrown,
    /// A chain of causes, one a line.
    Causes,
    /// Frames and source lines of Python, up to the exception.
    Frames,
    Nowhere,
}

/// Adds a line to a text, up to its bound.
fn extend(text: &mut String, line: &str) {
    if text.len() + line.len() > MAX_TEXT
        || text.contains(line)
        || line.starts_with("For further information visit")
    {
        return;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
}

/// An exception, and what .NET and Spring write behind it in the same line.
fn push(thrown: &mut Vec<Thrown>, found: Thrown) {
    let mut rest = found.message.as_str();
    let mut first = true;
    loop {
        let cut = [" ---> ", "; nested exception is "]
            .iter()
            .filter_map(|mark| rest.find(mark).map(|at| (at, mark.len())))
            .min();
        let (part, next) = match cut {
            Some((at, len)) => (rest.get(..at).unwrap_or(rest), rest.get(at + len..)),
            None => (rest, None),
        };
        let of = if first {
            Thrown { message: part.trim().to_owned(), ..found.clone() }
        } else {
            let bare = || Thrown { message: part.to_owned(), ..Thrown::default() };
            Thrown { cause: true, ..exception(part).unwrap_or_else(bare) }
        };
        if thrown.len() < 20 {
            thrown.push(of);
        }
        first = false;
        match next {
            Some(next) => rest = next,
            None => break,
        }
    }
}

/// The line at the margin that ends a Python traceback: class and message, whatever the class is called.
fn at_margin(line: &str) -> Thrown {
    let (class, message) = line.split_once(": ").unwrap_or((line, ""));
    let named = !class.contains(' ');
    Thrown {
        class: if named { class.trim_end_matches(':').to_owned() } else { String::new() },
        message: if named { message.trim().to_owned() } else { line.to_owned() },
        ..Thrown::default()
    }
}

/// The exception that a line begins with.
fn exception(line: &str) -> Option<Thrown> {
    let found = EXCEPTION.captures(line).or_else(|| CAUSE.captures(line)).or_else(|| RUBY.captures(line))?;
    let class = found.name("class").map_or("", |m| m.as_str());
    let message = found.name("message").map_or("", |m| m.as_str()).trim();
    // Prose that only ends in such a word: `Unexpected Error`.
    if !message.is_empty() && class.is_empty() {
        return None;
    }
    let lead = ["Caused by: ", "---> ", "--> ", "-> ", "[cause]", "cause: "];
    Some(Thrown {
        class: class.to_owned(),
        message: message.to_owned(),
        cause: lead.iter().any(|lead| line.starts_with(lead)),
        frame: String::new(),
    })
}
