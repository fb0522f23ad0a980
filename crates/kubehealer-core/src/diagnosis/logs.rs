//! What the log of a crashed container says: its bounded tail, and a verdict on it.
//!
//! Pure: bytes in, a sentence out. It must not know where the bytes come from, and it keeps no time. Whatever comes out of
//! a [`LogTail`] has passed [`crate::redact::redact`], so no caller can show a line with a secret that is known as one.
//!
//! What a log can say is a table (`table`): a pattern, how specific it is, and how to put it into words.

mod table;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use serde_json::Value;

use super::cause::CauseCode;
use crate::redact::{self, MARK, MAX_LINE};

/// The most lines that a tail keeps.
pub const MAX_LINES: usize = 200;

/// The most bytes of raw log that a tail keeps.
pub const MAX_BYTES: usize = 64 * 1024;

/// Raw bytes kept of one line: more than [`MAX_LINE`], so that the redaction sees that it has to cut, and cuts at a word.
const MAX_RAW_LINE: usize = MAX_LINE + 512;

/// The longest quotation of a line, in bytes.
const MAX_QUOTE: usize = 300;

/// The longest particular (a host, a file, a message) in a sentence, in bytes.
const MAX_PART: usize = 160;

/// Takes a log in pieces of any size and keeps its last lines. Its memory is bounded by [`MAX_BYTES`] and one line,
/// however long the log is and whatever is in it. Feed it until the stream ends or the caller's time is over.
///
/// (The API's own `limitBytes` is no substitute for its bound: together with `tailLines` it cuts off the end.)
#[derive(Debug, Default)]
pub struct TailReader {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    current: Vec<u8>,
    /// A carriage return came last: if text follows, it overwrites the line, as on a terminal.
    returned: bool,
}

impl TailReader {
    /// An empty reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the log.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            // Half a character of UTF-16, or nothing that can be read.
            if *first == 0 {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            if self.returned && !matches!(first, b'\n' | b'\r') {
                self.current.clear();
                self.returned = false;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0));
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let room = MAX_RAW_LINE - self.current.len();
            self.current.extend_from_slice(text.get(..room).unwrap_or(text));
            let Some((mark, rest)) = rest.split_first() else { return };
            match mark {
                b'\n' => self.end_line(),
                b'\r' => self.returned = true,
                _ => {}
            }
            bytes = rest;
        }
    }

    fn end_line(&mut self) {
        self.returned = false;
        // Blank lines say nothing, and would push out those that do.
        if !self.current.trim_ascii().is_empty() {
            self.bytes += self.current.len();
            self.lines.push_back(self.current.as_slice().into());
            while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
                self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
            }
        }
        self.current.clear();
    }

    /// The tail of what was pushed.
    pub fn finish(mut self) -> LogTail {
        self.end_line();
        let mut lines = Vec::with_capacity(self.lines.len());
        let mut in_key = false;
        for raw in &self.lines {
            let text = String::from_utf8_lossy(raw);
            let text = redact::clean(&text);
            let text = without_time(&text);
            if text.trim().is_empty() {
                continue;
            }
            // The body of a private key has a line of its own for each 64 characters.
            if in_key && key_body(text) {
                in_key = !text.contains("-----END");
                continue;
            }
            in_key =
                text.contains("PRIVATE KEY") && text.contains("-----BEGIN") && !text.contains("-----END");
            lines.push(redact::redact(text).trim_end().to_owned());
        }
        LogTail { lines }
    }
}

fn key_body(text: &str) -> bool {
    text.contains("-----END")
        || text.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=:,- ".contains(&byte))
}

/// The line without the time that `kubectl logs --timestamps`, the container runtime or the program put in front.
fn without_time(line: &str) -> &str {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\s+(?:(?:stdout|stderr) [FP] )?){1,2}",
        )
    });
    TIME.find(line).and_then(|time| line.get(time.end()..)).unwrap_or(line)
}

/// The last lines of a log: decoded, printable, redacted, without times in front, oldest first, none of them blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    lines: Vec<String>,
}

impl LogTail {
    /// The tail of a log that is in memory already. A log of [`MAX_BYTES`] or more may have been cut in the middle of a line,
    /// and half a line may hold a secret without its name: the first one is left out.
    pub fn from_bytes(log: &[u8]) -> Self {
        let cut = log.iter().position(|byte| *byte == b'\n').filter(|_| log.len() >= MAX_BYTES);
        let whole = cut.and_then(|end| log.get(end + 1..)).filter(|rest| !rest.is_empty()).unwrap_or(log);
        let mut reader = TailReader::new();
        reader.push(whole);
        reader.finish()
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether there is not one line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether this is not a log but the kubelet's word, under HTTP 200, that the log is not there any more.
    pub fn gone(&self) -> bool {
        let [line] = self.lines.as_slice() else { return false };
        let line = line.to_ascii_lowercase();
        line.starts_with("unable to retrieve container logs for ")
            || line.starts_with("failed to try resolving symlinks in path ")
            || (line.starts_with("failed to open log file ") && line.ends_with("no such file or directory"))
            || (line.starts_with("rpc error: code = notfound ") && line.contains("container"))
    }
}

/// What a log says about the end of its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerdict {
    /// What kind of cause it is.
    pub code: CauseCode,
    /// One plain sentence with the particulars, without a full stop.
    pub text: String,
    /// The line it was read from: printable, redacted, at most some 300 bytes.
    pub line: String,
    /// Whether a pattern of the table knew the line. If not, this is the last error or the last line, as it stands.
    pub specific: bool,
    /// The name of the pattern, for tests and for bug reports.
    pub rule: &'static str,
}

/// What is read from a log about one end of its container: all that a finding needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReading {
    /// Whether the log is not there any more.
    pub gone: bool,
    /// None where it says nothing.
    pub verdict: Option<LogVerdict>,
}

impl LogReading {
    /// Of the raw end of a log, for an end with this exit code.
    pub fn of(log: &[u8], exit_code: Option<i32>) -> Self {
        let tail = LogTail::from_bytes(log);
        Self { gone: tail.gone(), verdict: classify(&tail, exit_code) }
    }
}

/// One row of the table.
#[derive(Debug)]
struct Rule {
    name: &'static str,
    cause: CauseCode,
    /// How much it tells: 100 names the thing that has to be changed, 40 is a hint.
    rank: i32,
    find: &'static str,
    /// The sentence: `{x}` is the capture `x`; a part in brackets is left out where a capture in it is missing.
    say: &'static str,
}

/// The names of all patterns of the table, for the test that each of them has a sample.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    table::RULES.iter().map(|rule| rule.name)
}

/// The table made ready. A line is searched for the words that the patterns can not do without, in one pass; only the
/// patterns whose words are there are run. (One `RegexSet` over the table took 700 ms for 200 lines: its automaton
/// does not fit any cache.) A pattern is compiled when its words first turn up.
struct Matcher {
    words: AhoCorasick,
    /// For each word the rules that need it.
    rules: Vec<Vec<usize>>,
    patterns: Vec<OnceLock<Regex>>,
}

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
    let mut by_word = BTreeMap::<String, Vec<usize>>::new();
    for (index, rule) in table::RULES.iter().enumerate() {
        for word in words(rule.find) {
            by_word.entry(word).or_default().push(index);
        }
    }
    let (words, rules): (Vec<_>, Vec<_>) = by_word.into_iter().unzip();
    #[expect(clippy::expect_used, reason = "the words are constants, and the tests build the automaton")]
    let words = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(words)
        .expect("too many words in the log table");
    Matcher { words, rules, patterns: table::RULES.iter().map(|_| OnceLock::new()).collect() }
});

impl Matcher {
    /// The rules that may match the line, in the order of the table.
    fn candidates(&self, line: &str) -> BTreeSet<usize> {
        let words = self.words.find_overlapping_iter(line);
        words.filter_map(|word| self.rules.get(word.pattern().as_usize())).flatten().copied().collect()
    }
}

/// Words of which each match of the pattern holds at least one, whatever its case.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests parse each of them")]
fn words(find: &str) -> BTreeSet<String> {
    let hir = regex_syntax::parse(&ascii(find)).expect("a pattern of the log table does not parse");
    // A pattern without any needed word would be run on every line: the empty word is in all of them.
    needed(&hir).unwrap_or_else(|| BTreeSet::from([String::new()]))
}

fn needed(hir: &Hir) -> Option<BTreeSet<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            Some(BTreeSet::from([String::from_utf8_lossy(&literal.0).to_ascii_lowercase()]))
        }
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        // All parts are needed, so any will do: the one whose shortest word is the longest.
        HirKind::Concat(parts) => parts
            .iter()
            .filter_map(needed)
            .max_by_key(|words| words.iter().map(String::len).min().unwrap_or(0)),
        HirKind::Alternation(parts) => {
            let all = parts.iter().map(needed).collect::<Option<Vec<_>>>()?;
            Some(all.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// The pattern with the ASCII meaning of its classes: those of Unicode made the table several times slower to compile.
fn ascii(find: &str) -> String {
    [
        (r"\w", "[0-9A-Za-z_]"),
        (r"\d", "[0-9]"),
        (r"\s", r"[\t-\r ]"),
        (r"\S", r"[^\t-\r ]"),
        (r"\b", r"(?-u:\b)"),
    ]
    .iter()
    .fold(find.to_owned(), |text, (class, plain)| text.replace(class, plain))
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
fn pattern(text: &str) -> Regex {
    RegexBuilder::new(&ascii(text))
        .case_insensitive(true)
        .dfa_size_limit(256 << 10)
        .build()
        .expect("a pattern of the log table does not compile")
}

/// Reads why the container ended from the tail of its log; `None` where the log is empty or gone.
///
/// The most specific line wins, unless it is far from the end: each line behind it that is no part of a stack trace costs
/// one point of its rank, and so does a level that says that it was not serious.
pub fn classify(tail: &LogTail, exit_code: Option<i32>) -> Option<LogVerdict> {
    if tail.gone() {
        return None;
    }
    let lines = tail.lines();
    let mut best: Option<(i32, LogVerdict)> = None;
    let mut distance = 0;
    for (index, line) in lines.iter().enumerate().rev() {
        // Nothing so far from the end can win any more.
        if best.as_ref().is_some_and(|(score, _)| *score > 110 + 30 - distance) {
            break;
        }
        let view = view(lines, index);
        let level = level(line);
        // An indented line continues another, which says it better.
        let indent = if line.starts_with(' ') { 4 } else { 0 };
        let candidates = MATCHER.candidates(&view);
        let borne = if !candidates.is_empty() && borne(&view) { 60 } else { 0 };
        let weight = level.weight() - distance - indent - borne;
        for candidate in candidates {
            let (Some(rule), Some(compiled)) = (table::RULES.get(candidate), MATCHER.patterns.get(candidate))
            else {
                continue;
            };
            let score = rule.rank + weight + fit(rule.cause, exit_code);
            if score < 12 || best.as_ref().is_some_and(|(best, _)| *best >= score) {
                continue;
            }
            let regex = compiled.get_or_init(|| pattern(rule.find));
            let Some(found) = regex.captures(&view) else { continue };
            let verdict = LogVerdict {
                code: rule.cause,
                text: phrase(rule.say, &found, &view),
                line: quote(line, &view, found.get(0).map_or(0, |whole| whole.start())),
                specific: true,
                rule: rule.name,
            };
            best = Some((score, verdict));
        }
        let rank = match level {
            Level::Fatal => 52,
            Level::Error => 44,
            _ => 0,
        };
        let score = rank - distance;
        if rank > 0 && best.as_ref().is_none_or(|(best, _)| *best < score) {
            best = Some((score, unknown("error-line", "the last error in the log is", line, &view)));
        }
        if !noise(line) {
            distance += 1;
        }
    }
    if let Some((_, verdict)) = best {
        return Some(verdict);
    }
    let last = lines.iter().rposition(|line| !noise(line)).or(lines.len().checked_sub(1))?;
    Some(unknown("last-line", "the last line of the log is", lines.get(last)?, &view(lines, last)))
}

fn unknown(rule: &'static str, words: &str, line: &str, view: &str) -> LogVerdict {
    let said = message(view);
    let text = format!("{words} \"{}\"", shortened(&said, MAX_PART));
    LogVerdict { code: CauseCode::LoggedError, text, line: quote(line, view, 0), specific: false, rule }
}

/// The cause that an exit code speaks for counts a little more.
fn fit(cause: CauseCode, exit_code: Option<i32>) -> i32 {
    match (exit_code, cause) {
        (Some(127), CauseCode::CommandNotFound) => 20,
        (Some(126), CauseCode::PermissionDenied | CauseCode::ExecFormatError) => 15,
        (
            Some(132 | 134 | 135 | 136 | 139),
            CauseCode::SegmentationFault | CauseCode::Aborted | CauseCode::Panic,
        ) => 15,
        (Some(101), CauseCode::Panic) => 10,
        (Some(0 | 143), CauseCode::Terminated) => 20,
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Fatal,
    Error,
    Warning,
    Chatter,
    Unknown,
}

impl Level {
    fn weight(self) -> i32 {
        match self {
            Level::Fatal => 6,
            Level::Error | Level::Unknown => 0,
            Level::Warning => -12,
            Level::Chatter => -50,
        }
    }
}

/// The level at which the line was logged, by the conventions of the common loggers.
fn level(line: &str) -> Level {
    static LEVEL: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r#"\b(?:level|lvl|severity|levelname|log\.level|@l)["']?\s*[=:]\s*["']?(?<field>[a-z]+|\d+)"#,
            r"|^(?<klog>[IWEF])\d{4} \d\d:",
            r"|[\[<|(]\s?(?<bracket>fatal|panic|critical|crit|emerg|alert|error|err|severe|warn|warning|notice|note|info|debug|trace)\s?[\]>|)]",
            r"|^[^a-z]{0,40}(?<start>fatal|panic|critical|error|severe|warning|warn|info|debug)(?: error)?:",
            r"|:\s(?<middle>info|notice|debug|warn|warning):\s",
            r"|(?-i:\b(?<word>FATAL|PANIC|CRITICAL|ERROR|SEVERE|WARN|WARNING|INFO|DEBUG|TRACE|EMERG|NOTICE|LOG)\b)",
        ))
    });
    let head = line.get(..line.floor_boundary(240)).unwrap_or(line);
    let Some(found) = LEVEL.captures(head) else { return Level::Unknown };
    let word =
        ["field", "klog", "bracket", "start", "middle", "word"].iter().find_map(|name| found.name(name));
    match word.map_or("", |word| word.as_str()).to_ascii_lowercase().as_str() {
        "fatal" | "panic" | "critical" | "crit" | "emerg" | "alert" | "severe" | "f" | "60" => Level::Fatal,
        "error" | "err" | "e" | "50" => Level::Error,
        "warn" | "warning" | "log" | "w" | "40" => Level::Warning,
        "info" | "debug" | "trace" | "notice" | "note" | "i" | "30" | "20" | "10" => Level::Chatter,
        _ => Level::Unknown,
    }
}

/// Whether the line says itself that the program goes on in spite of it, or complains about somebody else.
fn borne(line: &str) -> bool {
    static BORNE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"\b(?:using (?:the |a )?defaults?|default(?:s|ing)? to|fall(?:ing|s)? ?back|ignor(?:ed|ing)|skipp(?:ed|ing)|continuing|non-fatal|deprecat\w+",
            r"|previous error|TLS handshake error from)\b",
        ))
    });
    BORNE.is_match(line)
}

/// Lines that come after the one that counts: stack frames, advice, epilogues of the common runtimes.
fn noise(line: &str) -> bool {
    static NOISE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^\s|^at |^\.\.\. \d+ (?:more|common frames)|^goroutine \d+|^created by |^[\w./()*-]+\(.*\)$|^exit status \d+$|^\[?signal |^rip |^r\w\w? +0x",
            r"|^note: (?:run with|some details)|^stack backtrace|^Node\.js v\d|^npm (?:ERR!|error|notice)|^error Command failed with exit code",
            r"|^For more information|^usage:|^hint:|^See |^Try '|^During handling of the above|^The above exception was|^Traceback \(most|^Aborted|^[\s~^{}()\[\];,.=#*-]+$|^#\d+ |^# ",
            r"|core dumped|^info Visit https|^(?:HINT|DETAIL|STATEMENT|LINE \d+):?\s",
        ))
    });
    NOISE.is_match(line)
}

/// The line as the patterns see it: the words of a JSON line, quotes without backslashes, and with the next line where
/// the first only announces it.
fn view<'a>(lines: &'a [String], index: usize) -> Cow<'a, str> {
    let line = lines.get(index).map_or("", String::as_str);
    if line.starts_with('{')
        && line.ends_with('}')
        && let Ok(value) = serde_json::from_str::<Value>(line)
    {
        let mut words = String::new();
        collect(&value, 0, &mut words);
        if !words.is_empty() {
            return Cow::Owned(redact::clean(&words).into_owned());
        }
    }
    // How many of the next lines say what this one announces.
    let more = match line {
        _ if line.contains("panicked at ") || line.starts_with("Unhandled exception") => {
            usize::from(line.ends_with(':'))
        }
        _ if line.ends_with("unmarshal errors:") || line == "Description:" => 1,
        _ if line.contains(" validation error") => 2,
        _ if line.starts_with("ZodError") => 10,
        _ => 0,
    };
    if more > 0 {
        let next = lines.get(index + 1..).unwrap_or_default().iter().take(more);
        return Cow::Owned(next.fold(line.to_owned(), |text, next| text + " " + next.trim()));
    }
    if line.contains("\\\"") {
        return Cow::Owned(line.replace("\\\"", "\""));
    }
    Cow::Borrowed(line)
}

/// The messages in a JSON log line, parted by ": ".
fn collect(value: &Value, depth: usize, out: &mut String) {
    const KEYS: [&str; 13] = [
        "msg",
        "message",
        "@m",
        "@mt",
        "event",
        "log",
        "error",
        "err",
        "exception",
        "reason",
        "cause",
        "detail",
        "stack",
    ];
    match value {
        Value::String(text) => {
            if !out.is_empty() {
                out.push_str(": ");
            }
            out.push_str(text);
        }
        Value::Object(fields) if depth < 3 => {
            for key in KEYS {
                if let Some(field) = fields.get(key) {
                    collect(field, depth + 1, out);
                }
            }
        }
        _ => {}
    }
}

/// What is left of a line without its level, time and source in front; of a line in `key=value` form its message and error.
fn message(line: &str) -> Cow<'_, str> {
    static HEAD: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^(?:[\[(]?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?[\])]?\s+",
            r"|\[?(?:fatal|critical|error|severe|panic|emerg)\]?:?\s+|\[\d+\]:?\s+|[EF]\d{4} [\d:.]+\s+\d+ (?:[\w.-]+:\d+\] )?)+",
        ))
    });
    static FIELD: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#"\b(?:msg|message|err|error)=("(?:[^"]|\\")*?"(?:\s|$)|\S+)"#));
    if line.contains("level=") || line.contains("lvl=") {
        let said: Vec<&str> = FIELD
            .captures_iter(line)
            .filter_map(|field| field.get(1))
            .map(|value| value.as_str().trim().trim_matches('"'))
            .collect();
        if !said.is_empty() {
            return Cow::Owned(said.join(": "));
        }
    }
    let rest = HEAD.find(line).and_then(|head| line.get(head.end()..)).unwrap_or(line);
    Cow::Borrowed(if rest.trim().is_empty() { line } else { rest.trim() })
}

/// Fills a sentence of the table.
fn phrase(say: &str, found: &Captures<'_>, view: &str) -> String {
    let mut out = String::with_capacity(say.len() + 32);
    let mut optional: Option<(usize, bool)> = None;
    let mut rest = say;
    while let Some(at) = rest.find(['{', '[', ']']) {
        let (plain, mark) = rest.split_at(at);
        out.push_str(plain);
        let mut next = mark.get(1..).unwrap_or_default();
        match mark.as_bytes().first() {
            Some(b'[') => optional = Some((out.len(), true)),
            Some(b']') => {
                if let Some((start, false)) = optional.take() {
                    out.truncate(start);
                }
            }
            _ => {
                let (name, after) = next.split_once('}').unwrap_or((next, ""));
                next = after;
                match part(name, found, view) {
                    Some(text) => out.push_str(&text),
                    None => match &mut optional {
                        Some((_, complete)) => *complete = false,
                        None => out.push_str("an unnamed one"),
                    },
                }
            }
        }
        rest = next;
    }
    out.push_str(rest);
    out
}

/// A particular by name: the capture of that name, or for `addr` and `port` what looks like one in the line.
fn part(name: &str, found: &Captures<'_>, view: &str) -> Option<String> {
    static ADDR: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r#"(?:^|[\s/"'`(\[@=,])((?:[a-z0-9](?:[\w-]*[\w])?\.)*[a-z][\w-]*|\d{1,3}(?:\.\d{1,3}){3}|\*|\[[0-9a-f:]+\])?:(\d{2,5})\b"#,
        )
    });
    static PORT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r#"\bport["']?[ :=]+["'`]?(\d{2,5})\b|['"], (\d{2,5})\)|(?:[\]*a-z\s:]|\.\d{1,3}):(\d{2,5})\b"#,
        )
    });
    let text = match (found.name(name), name) {
        (Some(text), _) => text.as_str().to_owned(),
        (None, "addr") => {
            let source = [
                ".go", ".rs", ".py", ".js", ".ts", ".java", ".rb", ".c", ".cc", ".cpp", ".h", ".php", ".cs",
                ".kt",
            ];
            ADDR.captures_iter(view).find_map(|addr| {
                let host = addr.get(1)?.as_str();
                let lower = host.to_ascii_lowercase();
                let word = matches!(lower.as_str(), "line" | "code" | "errno" | "port" | "error");
                (!word && !source.iter().any(|end| lower.ends_with(end)))
                    .then(|| format!("{host}:{}", &addr[2]))
            })?
        }
        (None, "port") => {
            let port = PORT.captures(view)?;
            port.iter().skip(1).flatten().next()?.as_str().to_owned()
        }
        _ => return None,
    };
    let text = text.trim().trim_end_matches(['.', ',', ';', ':']).trim();
    if text.is_empty() { None } else { Some(shortened(text, MAX_PART)) }
}

/// The line for the evidence: as it stands if it is short, else the part around the match.
fn quote(line: &str, view: &str, at: usize) -> String {
    if line.len() <= MAX_QUOTE {
        return line.trim().to_owned();
    }
    let from = if at > 80 { view.floor_boundary(at - 60) } else { 0 };
    let part = view.get(from..).unwrap_or(view);
    let ahead = if from > 0 { "…" } else { "" };
    format!("{ahead}{}", shortened(part.trim(), MAX_QUOTE))
}

fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let cut = text.get(..text.floor_boundary(max)).unwrap_or_default();
    // The mark of a hidden secret is not cut in two.
    let cut = cut
        .rfind('[')
        .filter(|at| MARK.starts_with(cut.get(*at..).unwrap_or_default()))
        .map_or(cut, |at| cut.get(..at).unwrap_or(cut));
    format!("{}…", cut.trim_end())
}

/// `str::floor_char_boundary`, which the oldest supported compiler does not have yet.
trait FloorBoundary {
    fn floor_boundary(&self, at: usize) -> usize;
}

impl FloorBoundary for str {
    fn floor_boundary(&self, at: usize) -> usize {
        (0..=at.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_needs_a_word() {
        for rule in table::RULES {
            pattern(rule.find);
            let shortest = words(rule.find).iter().map(String::len).min().unwrap_or(0);
            assert!(shortest >= 3, "{} would be run on too many lines: {:?}", rule.name, words(rule.find));
        }
    }
}
