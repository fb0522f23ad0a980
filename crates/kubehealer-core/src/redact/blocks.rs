//! Blocks of YAML behind the name of a secret: `password: |` and the lines that are indented below it, also where a log has put
//! something in front of every line.

use std::sync::LazyLock;

use regex::Regex;

use super::pairs::secret_key;
use super::{HOLE, harmless, pattern};

/// What is in front of the name, and the name.
static HEAD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(.*?)([\w.-]+)[\x22']?:[ \t]*[|>][+-]?\d?[+-]?[ \t]*[\x22']?$"));

/// Hides the lines; `None` where there is none.
pub(super) fn hide(text: &str) -> Option<String> {
    let mut lines = text.split('\n');
    let mut shown: Vec<String> = Vec::new();
    let mut is_changed = false;
    let mut next = lines.next();
    while let Some(line) = next {
        shown.push(line.to_owned());
        next = lines.next();
        let Some(head) = HEAD.captures(line) else { continue };
        let (front, key) = (head.get(1).map_or("", |m| m.as_str()), head.get(2).map_or("", |m| m.as_str()));
        if secret_key(key).is_none() {
            continue;
        }
        while let Some(value) = next.and_then(|line| below(line, front)) {
            let line = next.unwrap_or_default();
            let is_empty = harmless(value) || value.contains(HOLE);
            let head = line.strip_suffix(value).unwrap_or(line);
            shown.push(if is_empty { line.to_owned() } else { format!("{head}{HOLE}") });
            is_changed |= !is_empty;
            next = lines.next();
        }
    }
    is_changed.then(|| shown.join("\n"))
}

/// What a line holds that is indented farther than the name, which has this in front: the words of a message, and what a log puts in
/// front of every line.
fn below<'t>(line: &'t str, front: &str) -> Option<&'t str> {
    let words = front.trim_end();
    let parts = |c: char| c.is_whitespace() || "\"'`([{".contains(c);
    let begins =
        |at: usize| words.get(..at).is_some_and(|before| before.is_empty() || before.ends_with(parts));
    let mut prefixes = (0..words.len()).filter(|at| begins(*at)).filter_map(|at| words.get(at..));
    let prefix = prefixes.find(|prefix| line.get(..prefix.len()).is_some_and(|same| alike(same, prefix)));
    let (indent, rest) = match prefix {
        Some(prefix) => (front.len() - words.len(), line.get(prefix.len()..)?),
        None => (0, line),
    };
    let value = rest.trim_start_matches([' ', '\t']);
    (rest.len() - value.len() > indent && !value.trim().is_empty()).then_some(value)
}

/// The same but for digits, as the times of two lines are.
fn alike(a: &str, b: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || a.is_ascii_digit() && b.is_ascii_digit();
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(same)
}
