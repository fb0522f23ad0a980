//! A row of the table of rules, and how patterns are compiled.

use regex::{Regex, RegexBuilder};
use regex_automata::meta;
use regex_automata::util::syntax;

use crate::diagnosis::cause::CauseCode;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: &'static str,
    pub cause: CauseCode,
    /// How much it tells: 100 names the thing that has to be changed, 40 is a hint.
    pub rank: i32,
    pub find: &'static str,
    /// What is certain and the words do not say, for behind them in parentheses: `{x}` is the capture `x`; a part in
    /// brackets is left out where a capture in it is missing. Mostly empty: the program says it best itself.
    pub hint: &'static str,
    /// What refutes it: a pattern in the same record; empty for none.
    pub unless: &'static str,
}

/// The pattern with the ASCII meaning of its classes: those of Unicode made the table several times slower to compile.
pub(super) fn ascii(find: &str) -> String {
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

/// Room for the automaton of a pattern that runs on every line.
const ROOM: usize = 2 << 20;

/// A pattern of the reader itself, which runs on every line.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
pub(super) fn pattern(text: &str) -> Regex {
    RegexBuilder::new(&ascii(text))
        .case_insensitive(true)
        .dfa_size_limit(ROOM)
        .build()
        .expect("a pattern of the log reader does not compile")
}

/// A pattern of the reader itself that only says whether a line matches.
pub(super) fn test(text: &str) -> meta::Regex {
    compile(text, ROOM)
}

/// A pattern of the table: there are hundreds, and each runs seldom.
pub(super) fn of_table(text: &str) -> meta::Regex {
    compile(text, 256 << 10)
}

/// Without the search for literals that a match may begin with: to look for them took half of the time of compiling. An
/// alternation of a hundred words has none to offer, and a pattern of the table is run on a few lines.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
fn compile(text: &str, room: usize) -> meta::Regex {
    meta::Builder::new()
        .configure(meta::Config::new().auto_prefilter(false).hybrid_cache_capacity(room))
        .syntax(syntax::Config::new().case_insensitive(true))
        .build(&ascii(text))
        .expect("a pattern of the log reader does not compile")
}
