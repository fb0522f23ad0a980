//! Private keys, which are many lines long: whole, cut off, without their head, without head and foot.

use std::sync::LazyLock;

use regex::Regex;

use super::{HOLE, mixed, pattern};

/// The most lines of one key.
const MOST_LINES: usize = 200;

/// How long a word of a key's body is when it stands among others, and when it has the line for itself.
const BODY: usize = 56;
const LINE: usize = 40;

/// Which of these lines belong to a private key, however each is dressed: indented, with a time in front, in JSON.
pub fn of_private_key(lines: &[&str]) -> Vec<bool> {
    let mut is_key = vec![false; lines.len()];
    let one_line = |line: &str| line.contains("BEGIN ") && line.contains("END ");
    let head = |line: &str| {
        line.contains("PRIVATE KEY") && line.contains("BEGIN ") || line.contains("PuTTY-User-Key-File")
    };
    let foot = |line: &str| line.contains("PRIVATE KEY") && line.contains("END ") && !one_line(line);
    let mut begun: Option<usize> = None;
    // Where a key may have begun whose head is not here.
    let mut loose = 0;
    for (at, line) in lines.iter().enumerate() {
        if foot(line) {
            let from = begun.map_or(loose.max(at.saturating_sub(MOST_LINES)), |begun| begun + 1);
            // A foot without a head: all that looks like a body, upwards from it.
            let rows = (from..at).rev().take_while(|row| {
                begun.is_some() || lines.get(*row).is_some_and(|l| is_body(l, *row + 1 == at))
            });
            let rows: Vec<usize> = rows.collect();
            let marked = rows.into_iter().chain([at]);
            marked.for_each(|row| is_key.get_mut(row).into_iter().for_each(|mark| *mark = true));
            (begun, loose) = (None, at + 1);
        } else if head(line) && !one_line(line) {
            is_key.get_mut(at).into_iter().for_each(|mark| *mark = true);
            begun = Some(at);
        } else if let Some(from) = begun {
            if at - from > MOST_LINES || !(is_body(line, false) || is_header(line)) {
                // What follows is no key: a foot that comes later has nothing to do with this head, but for a short last line.
                let ends = lines.get(at + 1).is_some_and(|next| foot(next));
                if !ends {
                    begun = None;
                    continue;
                }
            }
            is_key.get_mut(at).into_iter().for_each(|mark| *mark = true);
        }
    }
    is_key
}

/// Whether a line ends in base64: one of 64 characters and more, and at the end of a key a shorter one.
fn is_body(line: &str, last: bool) -> bool {
    let words = line.split(|c: char| c.is_whitespace() || "\"'`{},\\".contains(c)).filter(|w| !w.is_empty());
    let Some(word) = words.clone().last() else { return true };
    let base64 = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    base64 && (last || word.len() >= 16 || word.ends_with('=') || words.count() == 1)
}

/// `Proc-Type: 4,ENCRYPTED`, `Comment: ...`: what stands between the head and the body.
fn is_header(line: &str) -> bool {
    [
        "Proc-Type",
        "DEK-Info",
        "Comment",
        "Version",
        "Subject",
        "Encryption",
        "Public-Lines",
        "Private-Lines",
        "Private-MAC",
        "Key-Derivation",
        "Argon2",
    ]
    .iter()
    .any(|name| line.contains(name))
}

/// Hides keys and what is left of them; `None` where there is none.
pub(super) fn hide(text: &str) -> Option<String> {
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?s)-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}.*?(?:-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}|$)",
        )
    });
    static FOOT: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?:[A-Za-z0-9+/=]{8,}(?:\\+[nr]|\s)+)*(?:[A-Za-z0-9+/=]+(?:\\+[nr]|\s)*)?-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}",
        )
    });
    static PUTTY: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)PuTTY-User-Key-File-\d.*"));
    let mut changed = None;
    if text.contains("PRIVATE KEY") {
        for key in [&WHOLE, &FOOT] {
            let now: &str = changed.as_deref().unwrap_or(text);
            let next = key.replace_all(now, HOLE.to_string().as_str()).into_owned();
            if next != now {
                changed = Some(next);
            }
        }
        let now: &str = changed.as_deref().unwrap_or(text);
        let lines: Vec<&str> = now.split('\n').collect();
        let is_key = of_private_key(&lines);
        if lines.len() > 1 && is_key.contains(&true) {
            let kept = lines
                .iter()
                .zip(&is_key)
                .map(|(line, is_key)| if *is_key { HOLE.to_string() } else { (*line).to_owned() });
            changed = Some(kept.collect::<Vec<_>>().join("\n"));
        }
    }
    if text.contains("PuTTY-User-Key-File") {
        let next =
            PUTTY.replace_all(changed.as_deref().unwrap_or(text), HOLE.to_string().as_str()).into_owned();
        changed = Some(next);
    }
    changed
}

/// Whether a text has a run of base64 that may be the body of a key.
pub(super) fn may_have_body(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|byte| {
        run = if byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/' { run + 1 } else { 0 };
        run >= LINE
    })
}

/// Hides long random words in base64, with a shorter one that ends them.
pub(super) fn hide_bodies(text: &str) -> Option<String> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    let bytes = text.as_bytes();
    let of_body = |b: &u8| b.is_ascii_alphanumeric() || b"+/=".contains(b);
    let mut body_before = None;
    while at < bytes.len() {
        let length = bytes.get(at..)?.iter().take_while(|b| of_body(b)).count();
        if length == 0 {
            at += 1;
            continue;
        }
        let (start, end) = (at, at + length);
        at = end;
        let word = text.get(start..end)?;
        let alone = text.get(..start)?.rsplit('\n').next()?.trim().is_empty()
            && text.get(end..)?.split('\n').next()?.trim().is_empty();
        let random = mixed(word)
            && word.matches('/').count() * 12 <= word.len()
            && word.bytes().filter(u8::is_ascii_digit).count() >= 2;
        let follows = body_before.is_some_and(|before| {
            text.get(before..start).is_some_and(|gap| gap.trim_matches(['\\', 'n', 'r']).trim().is_empty())
        });
        let hides = random && (length >= BODY || alone && length >= LINE)
            || follows && (word.ends_with('=') || length >= 8 && mixed(word));
        if hides {
            out.push_str(text.get(copied..start)?);
            // `\n` as two characters belongs to what is in front of it, not to the word.
            out.push(HOLE);
            copied = end;
            body_before = Some(end);
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}
