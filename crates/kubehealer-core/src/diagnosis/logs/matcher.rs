//! The table of rules made ready: finds the rule that knows a text best.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use regex_syntax::hir::{Hir, HirKind};

use super::rule::{Rule, ascii, of_table};
use super::sentence::shortened;
use super::table;
use crate::diagnosis::cause::CauseCode;

/// The longest particular in a hint, in bytes.
const MAX_PART: usize = 160;

/// The table made ready. A line is searched for the words that the patterns can not do without, in one pass; only the
/// patterns whose words are there are run. (One `RegexSet` over the table took 700 ms for 200 lines: its automaton
/// does not fit any cache.) A pattern is compiled when its words first turn up.
pub(super) struct Matcher {
    words: AhoCorasick,
    /// For each word the rules that need it.
    rules: Vec<Vec<usize>>,
    patterns: Vec<OnceLock<Regex>>,
    refuted: Vec<OnceLock<Regex>>,
}

pub(super) static MATCHER: LazyLock<Matcher> = LazyLock::new(|| {
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
    let locks = || table::RULES.iter().map(|_| OnceLock::new()).collect();
    Matcher { words, rules, patterns: locks(), refuted: locks() }
});

/// A rule that knows a text.
#[derive(Debug)]
pub(super) struct Found {
    pub rule: &'static Rule,
    /// Its rank, with what the exit code speaks for.
    pub rank: i32,
    /// The words that it knows.
    pub words: String,
    /// Its hint, filled.
    pub hint: String,
}

impl Matcher {
    /// The rule that knows a record best, by its words or by its first line as it stands.
    pub(super) fn best(&self, whole: &str, raw: &str, exit_code: Option<i32>) -> Option<Found> {
        let mut best: Option<Found> = None;
        for text in [whole, raw] {
            for candidate in self.candidates(text) {
                let (Some(rule), Some(compiled)) =
                    (table::RULES.get(candidate), self.patterns.get(candidate))
                else {
                    continue;
                };
                let rank = rule.rank + fit(rule.cause, exit_code);
                if best.as_ref().is_some_and(|best| best.rank >= rank) {
                    continue;
                }
                let pattern = compiled.get_or_init(|| of_table(rule.find));
                let mut found = pattern.create_captures();
                pattern.captures(text, &mut found);
                let Some(words) = found.get_match().and_then(|words| text.get(words.range())) else {
                    continue;
                };
                if self.is_refuted(candidate, rule, whole) {
                    continue;
                }
                let hint = phrase(rule.hint, text, &found);
                best = Some(Found { rule, rank, words: words.trim().to_owned(), hint });
            }
        }
        best
    }

    fn is_refuted(&self, at: usize, rule: &Rule, whole: &str) -> bool {
        let lock = self.refuted.get(at).filter(|_| !rule.unless.is_empty());
        lock.is_some_and(|lock| lock.get_or_init(|| of_table(rule.unless)).is_match(whole))
    }

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

/// The cause that an exit code speaks for counts a little more.
fn fit(cause: CauseCode, exit_code: Option<i32>) -> i32 {
    match (exit_code, cause) {
        (Some(127), CauseCode::CommandNotFound) => 30,
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

/// Fills a hint of the table.
fn phrase(say: &str, text: &str, found: &Captures) -> String {
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
                match part(name, text, found) {
                    Some(named) => out.push_str(&named),
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

/// A particular by name.
fn part(name: &str, text: &str, found: &Captures) -> Option<String> {
    let text = text
        .get(found.get_group_by_name(name)?.range())?
        .trim()
        .trim_end_matches(['.', ',', ';', ':'])
        .trim();
    if text.is_empty() { None } else { Some(shortened(text, MAX_PART)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_needs_a_word() {
        for rule in table::RULES {
            of_table(rule.find);
            of_table(rule.unless);
            let shortest = words(rule.find).iter().map(String::len).min().unwrap_or(0);
            assert!(shortest >= 3, "{} would be run on too many lines: {:?}", rule.name, words(rule.find));
        }
    }

    /// Records that have the words of a rule, and others that refute it.
    const REFUTED: &[(&str, &str)] = &[
        ("cpu-unsupported", "*** Program crashed: Illegal instruction at 0x00007f5d0c4b1c1e ***"),
        (
            "chown-capability",
            "chown: changing ownership of '/mnt/nfs': Operation not permitted (root squash)",
        ),
        ("setgid-capability", "setgid(33) failed: Operation not permitted, on nfs with root squash"),
        ("setuid-capability", "setuid(33) failed: Operation not permitted, on nfs with root squash"),
        (
            "thread-not-permitted",
            "pthread_create failed (EPERM), then EAGAIN: Resource temporarily unavailable",
        ),
        ("data-newer", "schema version 12 is newer than the database (10): run the migrations"),
        ("instance-metadata", "cannot parse instance metadata: unexpected field"),
        ("config-json", "cannot read users: invalid character '<' looking for beginning of value"),
        ("flag-unknown", "mount: Invalid argument on /dev/sdb"),
        ("lock-held", "account app is already locked"),
        ("env-not-set", "Column \"USER_ID\" not found"),
        ("data-checksum", "verifying github.com/acme/lib@v1.2.3: checksum mismatch: go.sum: h1:def="),
        (
            "file-missing-after",
            "cannot stat \"/data/cache/reset\": stat /data/cache/reset: input/output error",
        ),
    ];

    /// Hints that follow from the words of their pattern alone, whatever else is there.
    const CERTAIN: &[(&str, &str)] = &[
        ("exec-format", "the kernel's ENOEXEC has these causes and no other"),
        ("interpreter", "ENOENT of execve is of the file, its interpreter or its loader"),
        ("bad-interpreter", "the shell names the interpreter"),
        ("shebang-cr", "the carriage return is in the message"),
        ("carriage-return", "the carriage return is what is reported"),
        ("host-tool-missing", "nsenter names the tool"),
        ("jvm-heap", "the JVM throws it at its own limit"),
        ("node-heap", "V8 aborts at its own limit"),
        ("shared-memory", "the segment or the limit is named"),
        ("php-memory", "PHP names its own limit"),
        ("mlock", "the capability is what lifts the limit"),
        ("worker-killed", "the signal is named, its reason is only called frequent"),
        ("shell-killed", "the shell prints it for SIGKILL"),
        ("usage", "it is what the text is"),
        ("endpoint-not-configured", "the server reads its upstreams there"),
    ];

    #[test]
    fn each_hint_has_what_refutes_it_or_is_certain() {
        for rule in table::RULES {
            let refuted = REFUTED.iter().find(|(name, _)| *name == rule.name);
            assert_eq!(!rule.unless.is_empty(), refuted.is_some(), "{}", rule.name);
            if let Some((_, record)) = refuted {
                assert!(of_table(rule.find).is_match(record), "{}: its words are not in {record}", rule.name);
                let best = MATCHER.best(record, "", None);
                assert!(
                    best.is_none_or(|found| found.rule.name != rule.name),
                    "{} is not refuted",
                    rule.name
                );
            } else if !rule.hint.is_empty() {
                assert!(
                    CERTAIN.iter().any(|(name, _)| *name == rule.name),
                    "{}: what refutes it?",
                    rule.name
                );
            }
        }
    }
}
