//! Texts with expressions in them: `{{ container.name }} was restarted`.
//!
//! Must not know where the text goes to: what it shows of a cluster is cleaned of control
//! characters and secrets, and cut, here.

use super::check::{Checked, Uses, Wrong, check};
use super::eval::{Failure, Run};
use super::functions::show;
use super::value::Type;
use kubehealer_core::redact;

/// A text that a rule writes is cut after so many bytes.
const MAX_TEXT: usize = 1024;

/// A text with expressions in it.
#[derive(Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    pub(super) uses: Uses,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Value(Checked),
}

impl Template {
    /// Reads a template. A mistake is placed by the byte of the template.
    pub(super) fn parse(source: &str) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut uses = Uses::default();
        let mut rest = source;
        let mut at = 0;
        if source.len() > 4 * MAX_TEXT {
            return Err(Wrong {
                at: 0,
                message: format!("the text has {} bytes; at most {} are allowed", source.len(), 4 * MAX_TEXT),
            });
        }
        while let Some(open) = rest.find("{{") {
            let (before, inside) = rest.split_at(open);
            parts.push(Part::Text(before.into()));
            at += open + 2;
            let inside = inside.get(2..).unwrap_or_default();
            let close =
                close(inside).ok_or_else(|| Wrong { at: at - 2, message: "{{ without its }}".into() })?;
            let expression = inside.get(..close).unwrap_or_default();
            let checked = check(expression).map_err(|w| Wrong { at: at + w.at, ..w })?;
            if matches!(checked.of, Type::List(_) | Type::Map(_) | Type::Object(_) | Type::Any) {
                let start = at + expression.len() - expression.trim_start().len();
                let hint = if matches!(checked.of, Type::List(_)) { ": write x.join(\", \")" } else { "" };
                return Err(Wrong {
                    at: start,
                    message: format!("{} cannot be written as a string{hint}", checked.of),
                });
            }
            uses = uses.and(checked.uses);
            parts.push(Part::Value(checked));
            at += close + 2;
            rest = inside.get(close + 2..).unwrap_or_default();
        }
        parts.push(Part::Text(rest.into()));
        parts.retain(|p| !matches!(p, Part::Text(t) if t.is_empty()));
        Ok(Self { parts, uses })
    }

    /// The text for one pod. What has no value is written as `?`, and comes out as the failure: a finding is not lost for
    /// the sake of its text.
    pub(super) fn render<'a>(&'a self, run: &mut Run<'a>) -> (String, Option<Failure>) {
        let mut text = String::new();
        let mut failure = None;
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Value(checked) => match run.eval(&checked.node) {
                    Ok(value) => {
                        let shown = show(&value).unwrap_or_default();
                        text.push_str(redact::cut(&redact::redact(&shown), MAX_TEXT));
                    }
                    Err(failed) => {
                        text.push('?');
                        failure.get_or_insert(failed);
                    }
                },
            }
            if text.len() > MAX_TEXT {
                break;
            }
        }
        let cut = redact::cut(&text, MAX_TEXT);
        (redact::clean(cut).trim().to_owned(), failure)
    }
}

/// Where an expression ends: at the first `}}` that is not within a text of its own, or within its brackets.
fn close(inside: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    let mut braces = 0usize;
    let mut chars = inside.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') if braces > 0 => braces -= 1,
            (None, '}') if chars.peek().is_some_and(|&(_, c)| c == '}') => return Some(i),
            _ => {}
        }
    }
    None
}
