//! One reader for error messages of the kubelet, runtimes, network and storage drivers, registries, the scheduler and
//! admission: it takes the wrappers off, and finds the error that explains the others.
//!
//! ```text
//! Message::read(text)  -> the leading error as a chain of parts, outermost first
//!   .cause()           its decisive words for a first line: wrappers and ids left out, never cut inside a part
//!   .detail()          the same with more of what is around it, for the cause's text
//!   .innermost() .operation() .object() .host() .peer()
//!   .has(&[..])        whether the leading error has one of these words (in lower case), wrappers included
//! ```
//!
//! It interprets nothing: what a message means is said by the tables of rules.

mod chain;
mod names;
mod unwrap;

pub(super) use names::Words;

use super::text;
use crate::redact;

/// How many bytes of a message are read.
const MAX_READ: usize = 8192;

/// How long the words of a first line may be, in characters.
const SHORT: usize = 190;

/// How long the words of a cause may be, in characters.
const LONG: usize = 420;

/// One part of a chain `a: b: c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What stands between it and the part before it when they are shown.
    joint: &'static str,
    /// Its words.
    text: String,
}

/// An error message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    parts: Vec<Part>,
    lower: String,
    words: Words,
    /// The other errors of its list, each in its decisive words.
    others: Vec<Vec<Part>>,
}

impl Message {
    /// Takes a message apart.
    pub fn read(message: &str) -> Self {
        Self::of_image(message, "")
    }

    /// Takes a message about an image apart: its name and its tag are not taken for words.
    pub fn of_image(message: &str, image: &str) -> Self {
        // Before anything is cut: half of a secret is known to no pattern.
        let message = redact::redact_text(message);
        let error = chain::read(&unwrap::prepare(redact::cut(&message, MAX_READ)), 0);
        let parts: Vec<Part> = error
            .parts
            .into_iter()
            .map(|p| Part { joint: p.joint, text: tidy(&redact::clean(&p.text)) })
            .filter(|p| !p.text.is_empty())
            .collect();
        let parts = decided(parts);
        let whole = join(&parts);
        let path = image.split_once('@').map_or(image, |(path, _)| path);
        let last = path.rsplit('/').next().unwrap_or_default();
        let (name, tag) = last.split_once(':').unwrap_or((last, ""));
        let words = Words::of(&whole, &[last, name, tag]);
        Self { parts, lower: whole.to_lowercase(), words, others: error.others }
    }

    /// The innermost part.
    pub fn innermost(&self) -> &str {
        self.decisive().last().map_or("", |p| p.text.as_str())
    }

    /// What was tried: the part around the innermost one.
    pub fn operation(&self) -> &str {
        let decisive = self.decisive();
        decisive.len().checked_sub(2).and_then(|at| decisive.get(at)).map_or("", |p| p.text.as_str())
    }

    /// Its decisive words, for a first line.
    pub fn cause(&self) -> String {
        fit(&self.decisive(), SHORT)
    }

    /// Its decisive words with more of what is around them, for the text of a cause.
    pub fn detail(&self) -> String {
        fit(&self.decisive(), LONG)
    }

    /// The other errors of its list in their decisive words: what follows from the leading one, as a rule.
    pub fn others(&self) -> Vec<String> {
        let all = self.others.iter().map(|parts| {
            let parts: Vec<&Part> = unwrap::decisive(parts);
            tidy(&fit(&parts, SHORT))
        });
        let own = self.cause();
        let mut all: Vec<String> = all.filter(|o| !o.is_empty() && *o != own).collect();
        all.dedup();
        all
    }

    /// Whether the leading error has one of these words, which are in lower case.
    pub fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    /// The leading error without its names: what rules are matched against.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The leading error in lower case, wrappers and names included.
    pub fn lower(&self) -> &str {
        &self.lower
    }

    /// The leading error with its wrappers.
    pub fn whole(&self) -> String {
        join(&self.parts)
    }

    /// The path or the quoted name nearest to the innermost words.
    pub fn object(&self) -> Option<String> {
        self.decisive().iter().rev().find_map(|part| unwrap::object_of(&part.text)).map(|o| text::name(&o))
    }

    /// The name that could not be looked up, else the host of the nearest URL.
    pub fn host(&self) -> Option<String> {
        if let Some((host, _)) = self.lookup() {
            return Some(host);
        }
        let url = self.parts.iter().rev().find_map(|p| p.text.split_once("://"))?.1;
        let end = url.find(|c: char| "/\"' ?,".contains(c)).unwrap_or(url.len());
        url.get(..end).filter(|h| !h.is_empty()).map(text::name)
    }

    /// The name of a failed look-up, and the name server that was asked.
    pub fn lookup(&self) -> Option<(String, Option<String>)> {
        let rest = self.parts.iter().rev().find_map(|p| p.text.split_once("lookup "))?.1;
        let mut words = rest.split([' ', ',']).map(|w| w.trim_end_matches([':', '.']));
        let host = words.next().filter(|h| !h.is_empty())?;
        let server = words.next().filter(|on| *on == "on").and_then(|_| words.next());
        Some((text::name(host), server.map(text::name)))
    }

    /// The `host:port` that was talked to.
    pub fn peer(&self) -> Option<String> {
        self.parts.iter().rev().find_map(|p| unwrap::peer_of(&p.text)).map(text::name)
    }

    /// The text between the first `before` and the next `after` within one part, or to the end of the part.
    pub fn named(&self, before: &str, after: &str) -> Option<String> {
        let rest = self.parts.iter().find_map(|p| p.text.split_once(before))?.1;
        let found = rest.split_once(after).map_or(rest, |(name, _)| name);
        Some(text::name(found)).filter(|n| !n.is_empty())
    }

    fn decisive(&self) -> Vec<&Part> {
        unwrap::decisive(&self.parts)
    }
}

/// Go names two things that may be wrong with a certificate's time, and says behind them which it is.
fn decided(mut parts: Vec<Part>) -> Vec<Part> {
    let before = parts.iter().any(|p| p.text.starts_with("current time ") && p.text.contains(" is before "));
    let after = parts.iter().any(|p| p.text.starts_with("current time ") && p.text.contains(" is after "));
    if before || after {
        let said = if after { "certificate has expired" } else { "certificate is not yet valid" };
        for part in &mut parts {
            part.text = part.text.replace("certificate has expired or is not yet valid", said);
        }
    }
    parts
}

fn join<P: std::borrow::Borrow<Part>>(parts: &[P]) -> String {
    let mut out = String::new();
    for part in parts {
        let part = part.borrow();
        if !out.is_empty() {
            // A sentence that ends in a full stop is not followed by a colon.
            if part.joint == ": " && out.ends_with(['.', ',', ';']) {
                out.push(' ')
            } else {
                out.push_str(part.joint)
            }
        }
        out.push_str(&part.text);
    }
    out
}

/// The innermost parts that fit into so many characters; outer ones are left out whole.
fn fit(parts: &[&Part], limit: usize) -> String {
    // Of several lines that a program printed, each says first what it has to say.
    let lines = parts.iter().any(|p| p.joint == "; ");
    if lines && join(parts).chars().count() > limit {
        let short = |p: &&Part| Part {
            joint: p.joint,
            text: sentences(&p.text, 24).trim_end_matches('.').to_owned(),
        };
        let short: Vec<Part> = parts.iter().map(short).collect();
        return innermost(&short.iter().collect::<Vec<_>>(), limit);
    }
    innermost(parts, limit)
}

fn innermost(parts: &[&Part], limit: usize) -> String {
    let mut from = parts.len().saturating_sub(1);
    let mut length = parts.last().map_or(0, |p| p.text.chars().count());
    // Words like `permission denied` mean nothing without what was tried.
    let least = if length < 48 { parts.len().saturating_sub(2) } else { from };
    while let Some(next) = from.checked_sub(1).and_then(|at| parts.get(at)) {
        length += next.text.chars().count() + 2;
        if length > limit && from <= least {
            break;
        }
        from -= 1;
    }
    let shown = parts.get(from..).unwrap_or_default();
    let said = match shown {
        [only] => text::shown(sentences(&only.text, limit)),
        // What is in front of a long part may name it: a webhook, a policy.
        _ => text::shown(&join(shown)),
    };
    let speaker = parts.get(..from).unwrap_or_default().iter().rev().find(|p| is_program(&p.text));
    match speaker.filter(|speaker| !said.contains(&speaker.text)) {
        Some(speaker) => format!("{}: {said}", speaker.text),
        None => said,
    }
}

/// Whether a part is the name of the program that says what follows: `nvidia-container-cli`, `mount.nfs4`.
fn is_program(text: &str) -> bool {
    let named = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
    named
        && text.len() <= 30
        && (text.contains("-cli") || text.starts_with("mount.") || text.ends_with("ctl"))
}

/// The first sentences of a text, if all of it is too long: what follows them is advice, as a rule.
fn sentences(text: &str, limit: usize) -> &str {
    if text.chars().count() <= limit {
        return text;
    }
    let ends = text.match_indices(". ").map(|(at, _)| at + 1).filter(|at| *at >= 24);
    let fits = ends.clone().take_while(|at| *at <= limit).last().or_else(|| ends.clone().next());
    fits.and_then(|at| text.get(..at)).unwrap_or(text)
}

/// Without what is new at every attempt: ids of containers and pods, numbers of temporary mounts. Names with an id in
/// them (`pvc-…`, `vol-…`, `i-…`) stay, and so do numbers.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.trim().chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
            continue;
        }
        let temporary = word.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        // A label of a host name is no id of an attempt.
        let of_host = out.ends_with('.') && c == '.';
        if is_id(&word) && !of_host {
            out.push('*');
        } else if temporary > 0 && word.len() - temporary >= 8 && !word.contains('-') {
            out.push_str(word.get(..temporary).unwrap_or_default());
            out.push('*');
        } else {
            out.push_str(&word);
        }
        word.clear();
        out.push(c);
    }
    unwrap::shorten(out.trim())
}

/// Ids are hexadecimal: of a container, a pod, a sandbox.
fn is_id(word: &str) -> bool {
    let hex = word.chars().filter(char::is_ascii_hexdigit).count();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let only = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    only && hex >= 12 && digits >= 2 && digits < hex
}

#[cfg(test)]
mod tests;
