//! Tables of rules: what a message of each family means. A rule gives a code, what the cause is about, and steps; it adds to
//! the message's own words only what is certain, and takes none of them away.
//!
//! [`generic`] has the facts that mean the same in every family (DNS, TLS, a full disk ...), so that their words stand in one
//! place; the tables of the families say what such a fact is there.

pub mod generic;
pub mod image;
pub mod runtime;
pub mod sandbox;
pub mod volume;

use super::cause::CauseCode;
use super::message::{Message, Words};
use generic::Fact;

/// What a cause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What the caller knows: the image, the claim, the workload.
    Subject,
    /// The node.
    Node,
    /// The registry.
    Registry,
    /// The RuntimeClass.
    RuntimeClass,
}

/// A rule: the first of a table that matches wins.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it is called in tests.
    pub name: &'static str,
    facts: &'static [Fact],
    all: &'static [&'static str],
    any: &'static [&'static str],
    none: &'static [&'static str],
    /// The kind of cause.
    pub code: CauseCode,
    /// What the cause is about.
    pub of: Of,
    /// What is certain and not in the message's own words; a template. Shown in parentheses behind them.
    pub note: &'static str,
    /// What to do, before the steps of the code; templates.
    pub steps: &'static [&'static str],
    /// Whether only its own steps fit.
    pub only: bool,
}

/// Begins a rule.
pub const fn rule(name: &'static str, code: CauseCode) -> Rule {
    Rule {
        name,
        facts: &[],
        all: &[],
        any: &[],
        none: &[],
        code,
        of: Of::Subject,
        note: "",
        steps: &[],
        only: false,
    }
}

impl Rule {
    /// One of these facts must hold.
    pub const fn fact(mut self, facts: &'static [Fact]) -> Self {
        self.facts = facts;
        self
    }

    /// All of these words (in lower case) must be there.
    pub const fn all(mut self, words: &'static [&'static str]) -> Self {
        self.all = words;
        self
    }

    /// One of these words must be there.
    pub const fn any(mut self, words: &'static [&'static str]) -> Self {
        self.any = words;
        self
    }

    /// None of these words may be there.
    pub const fn none(mut self, words: &'static [&'static str]) -> Self {
        self.none = words;
        self
    }

    /// What the cause is about.
    pub const fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }

    /// What is certain besides the message's own words.
    pub const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// What to do, before the steps of the code.
    pub const fn steps(mut self, steps: &'static [&'static str]) -> Self {
        self.steps = steps;
        self
    }

    /// What to do, in place of the steps of the code.
    pub const fn only(mut self, steps: &'static [&'static str]) -> Self {
        self.steps = steps;
        self.only = true;
        self
    }

    fn matches(&self, message: &Message) -> bool {
        let has = |word: &&str| mentions(message.lower(), message.words(), word);
        (self.any.is_empty() || self.any.iter().any(has))
            && self.all.iter().all(has)
            && !self.none.iter().any(has)
            && (self.facts.is_empty() || self.facts.iter().any(|f| f.holds(message.words())))
    }
}

/// Whether a message has the word of a rule. One with a part of a path, a URL or a quoted name is looked for in names as well.
pub fn mentions(lower: &str, words: &Words, word: &str) -> bool {
    if word.contains(['/', '"', '\'', '.', '\\']) { lower.contains(word) } else { words.have(word) }
}

/// The first rule of a table that a message matches.
pub fn find(table: &'static [Rule], message: &Message) -> Option<&'static Rule> {
    table.iter().find(|rule| rule.matches(message))
}

#[cfg(test)]
mod tests;
