//! Takes a message apart at the joints of its wrappers.

use super::Part;
use super::names::Words;
use super::unwrap;

/// An error, and the others that came in the same list.
#[derive(Debug, Default)]
pub(super) struct Error {
    pub(super) parts: Vec<Part>,
    pub(super) others: Vec<Vec<Part>>,
}

/// Errors within errors are read so deep.
const DEEPEST: u8 = 8;

/// More errors of a list are not read.
const MOST: usize = 12;

/// What stands between a wrapper and what it wraps, and what is shown there.
const JOINTS: &[(&str, &str)] = &[
    (": ", ": "),
    (":\n", ": "),
    (" caused: ", ": "),
    (" caused by: ", ": "),
    (" caused by ", ": "),
    (" desc = ", ": "),
    (", err: ", ", error: "),
    (", error: ", ", error: "),
    (" - error: ", ", error: "),
    (" with error: ", ", error: "),
    (", api error ", ", error: "),
    (", stderr: ", ": "),
    (", message: ", ": "),
    (" output:(", ": "),
    (" output: ", ": "),
    (" caused \"", ": "),
];

/// Reads an error.
pub(super) fn read(text: &str, depth: u8) -> Error {
    let mut error = Error::default();
    let mut rest = text.trim();
    let mut joint = ": ";
    if depth > DEEPEST {
        error.push(joint, rest);
        return error;
    }
    if let Some(items) = loose_list(rest) {
        error.take(list(&items, depth));
        return error;
    }
    while !rest.is_empty() {
        if let Some((records, after)) = records(rest, depth) {
            error.take(records);
            (rest, joint) = (after, ": ");
            continue;
        }
        if let Some((mirrors, after)) = unwrap::mirrors(rest) {
            error.others.extend(items_of(mirrors).iter().map(|item| read(item, depth + 1).parts));
            error.take(read(after, depth + 1));
            return error;
        }
        if let Some((said, after)) = unwrap::json(rest) {
            error.take(read(&said, depth + 1));
            (rest, joint) = (after.trim_start_matches([',', ';', ')', '}', ']']).trim(), ": ");
            continue;
        }
        if let Some((inner, after)) = bracketed(rest) {
            error.take(list(&items_of(inner), depth));
            (rest, joint) = (after, ": ");
            continue;
        }
        let (part, next, after) = next_part(rest);
        let is_last = matches!(after.trim(), "" | "unknown" | "]" | ")" | "]: unknown");
        match unwrap::quoted_error(part).filter(|_| is_last || depth > 0) {
            Some((before, inner)) => {
                error.push(joint, before);
                error.take(read(&inner, depth + 1));
            }
            None => error.push(joint, part),
        }
        (rest, joint) = (after, next);
    }
    error
}

impl Error {
    fn push(&mut self, joint: &'static str, text: &str) {
        let text = text.trim().trim_start_matches("* ").trim_matches(|c| c == ':' || c == ',').trim();
        let repeated = self.parts.last().is_some_and(|p| p.text == text);
        // gRPC's own errors within others: `connection error: desc = "transport: .."`.
        if !text.is_empty() && text != "desc =" && !repeated && self.parts.len() < 64 {
            self.parts.push(Part { joint, text: text.to_owned() });
        }
    }

    fn take(&mut self, inner: Self) {
        for part in inner.parts {
            self.push(part.joint, &part.text);
        }
        self.others.extend(inner.others);
    }
}

/// The error of a list that explains the others, with those beside it.
fn list(items: &[&str], depth: u8) -> Error {
    let mut read: Vec<Error> = items.iter().take(MOST).map(|item| self::read(item, depth + 1)).collect();
    let mut best = (0, i32::MIN);
    for (at, error) in read.iter().enumerate() {
        let weight = unwrap::weight(&Words::of(&super::join(&error.parts), &[]));
        if weight > best.1 {
            best = (at, weight);
        }
    }
    if best.0 >= read.len() {
        return Error::default();
    }
    let mut lead = read.remove(best.0);
    lead.others.extend(read.into_iter().map(|e| e.parts));
    lead
}

/// Log records: the program ends with the last error; what it warned of before is beside it.
fn records(text: &str, depth: u8) -> Option<(Error, &str)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((record, after)) = unwrap::log_record(rest) {
        all.push(record);
        rest = after;
    }
    let lead = all.iter().rposition(|record| record.is_error).or(all.len().checked_sub(1))?;
    let lead = all.remove(lead);
    let mut error = read(&lead.said, depth + 1);
    error.others.extend(all.iter().take(MOST).map(|record| read(&record.said, depth + 1).parts));
    Some((error, rest))
}

/// What a bracketed list at the beginning has in it, and what follows.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('[')?;
    let (inner, after) = match closing(text, 0) {
        Some(end) => (text.get(1..end)?, text.get(end + 1..)?),
        // The end of a long message is cut off, and the bracket with it.
        None => (rest, ""),
    };
    let after = after.trim_start_matches([':', ' ', ')', ']', '"']);
    let is_error = inner.contains(": ") || inner.contains("failed");
    (is_error && (after.is_empty() || after.starts_with("unknown"))).then_some((inner, after))
}

/// The errors of a list without brackets: lines that begin with a star, or two results joined by a semicolon.
fn loose_list(text: &str) -> Option<Vec<&str>> {
    if let Some((_, list)) = text.split_once("occurred:\n") {
        let items: Vec<&str> = list
            .split("\n")
            .map(|l| l.trim_start_matches([' ', '\t', '*', '-']).trim())
            .filter(|l| !l.is_empty())
            .collect();
        return Some(items).filter(|i| i.len() > 1);
    }
    if let Some((first, second)) = text.split_once("; artifact err: ") {
        return Some(vec![first, second]);
    }
    let items = items_of(text);
    (items.len() > 1 && items.iter().all(|i| i.starts_with("rpc error") || i.ends_with(" not found")))
        .then_some(items)
}

/// How an error begins: where one follows a comma, it is the next of a list.
const BEGINNINGS: &[&str] = &[
    "rpc error",
    "failed to ",
    "error ",
    "error: ",
    "unable to ",
    "cannot ",
    "couldn't ",
    "could not ",
    "networkplugin ",
    "plugin type=",
    "configmap \"",
    "secret \"",
    "references non-existent",
    "\"rpc error",
    "\"failed",
];

fn items_of<'a>(text: &'a str) -> Vec<&'a str> {
    let first: String = text.chars().take_while(|c| *c != ' ').collect::<String>().to_lowercase();
    let mut items = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(rest) = text.get(at..) {
        let Some(c) = rest.chars().next() else { break };
        if matches!(c, '"' | '(' | '{' | '[')
            && let Some(end) = closing(text, at)
        {
            at = end + 1;
            continue;
        }
        if let Some(next) = rest.strip_prefix(", ") {
            let next = next.to_lowercase();
            let alike = first.len() > 4 && next.starts_with(&first) && !first.ends_with(':');
            if alike || BEGINNINGS.iter().any(|b| next.starts_with(b)) {
                items.extend(text.get(from..at));
                from = at + 2;
            }
        }
        at += c.len_utf8();
    }
    items.extend(text.get(from..));
    let bare = |i: &'a str| i.strip_prefix('"').and_then(|i| i.strip_suffix('"')).unwrap_or(i);
    items.into_iter().map(|i| bare(i.trim())).filter(|i| !i.is_empty()).collect()
}

/// The first part, the joint behind it, and what follows.
fn next_part(text: &str) -> (&str, &'static str, &str) {
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let Some(c) = rest.chars().next() else { break };
        if matches!(c, '"' | '`' | '(' | '{' | '[')
            && let Some(end) = closing(text, at)
        {
            at = end + 1;
            continue;
        }
        if c == '\n' {
            return (text.get(..at).unwrap_or_default(), "; ", rest.trim_start());
        }
        if let Some((found, shown)) = JOINTS.iter().find(|(j, _)| rest.starts_with(j)) {
            // A list of fields behind a word in quotes stays with it: `exec: "x": ..` is one operation.
            let kept = if found.ends_with('"') { found.len() - 1 } else { found.len() };
            let after = rest.get(kept..).unwrap_or_default();
            return (text.get(..at).unwrap_or_default(), shown, after.trim_start());
        }
        at += c.len_utf8();
    }
    (text, ": ", "")
}

/// Where what is opened at `at` is closed; quotes know escapes, and brackets within each other are counted.
fn closing(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let open = rest.chars().next()?;
    if open == '"' || open == '`' {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if open == '"' => escaped = true,
                _ if c == open => return Some(at + i),
                _ => {}
            }
        }
        return None;
    }
    let close = match open {
        '(' => ')',
        '{' => '}',
        _ => ']',
    };
    let mut depth = 0_u32;
    for (i, c) in rest.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + i);
            }
        }
    }
    None
}
