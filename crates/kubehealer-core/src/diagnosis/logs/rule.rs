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
pub(super) fn pattern(text: &str) -> Regex {
    compile(text, ROOM)
}

/// A pattern of the reader itself that only says whether a line matches. It does without the search for literals that
/// a match may begin with: in an alternation of a hundred words that has none to offer, and took half of the time of
/// compiling.
#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
pub(super) fn test(text: &str) -> meta::Regex {
    meta::Builder::new()
        .configure(meta::Config::new().auto_prefilter(false).hybrid_cache_capacity(ROOM))
        .syntax(syntax::Config::new().case_insensitive(true))
        .build(&ascii(text))
        .expect("a pattern of the log reader does not compile")
}

/// A pattern of the table: there are hundreds, and each runs seldom.
pub(super) fn of_table(text: &str) -> Regex {
    compile(text, 256 << 10)
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and the tests compile each of them")]
fn compile(text: &str, room: usize) -> Regex {
    RegexBuilder::new(&ascii(text))
        .case_insensitive(true)
        .dfa_size_limit(room)
        .build()
        .expect("a pattern of the log table does not compile")
}
