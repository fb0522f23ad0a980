//! Text in columns: widths as a terminal shows them, cutting, wrapping, ages.
//!
//! Must not know what a text says.

use std::collections::HashSet;

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The longest start of `text` that fits.
fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// The text within `columns`, cut at its end.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    format!("{}…", head(text, columns.saturating_sub(1)).trim_end())
}

/// The text filled up with blanks.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Whether a text has a word that the sentence above it does not have.
pub fn adds_to(sentence: &str, text: &str) -> bool {
    let words = |text: &str| -> HashSet<String> {
        let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
    };
    !words(text).is_subset(&words(sentence))
}

/// The text in lines of at most `columns`, broken between words; a word that is longer than a line is broken too.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(16);
    let mut lines = Vec::new();
    let mut line = String::new();
    for mut word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        while width(word) > columns {
            // A wide character may leave a column over, but something always fits.
            let part = head(word, columns);
            // A name is broken where it has parts, if that is not too early.
            let end = part.rfind(['/', '-']).filter(|at| at * 2 > part.len());
            let part = end.and_then(|at| part.get(..=at)).unwrap_or(part);
            lines.push(part.to_owned());
            word = word.get(part.len()..).unwrap_or_default();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// How long ago, as people say it: `40s`, `12m`, `3h20m`, `5d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    if seconds < 0 {
        return format!("in {}", span(-seconds));
    }
    format!("{} ago", span(seconds))
}

/// How long, in the same way.
pub fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{minutes}m"),
        7200..86_400 if minutes % 60 > 0 && hours < 10 => format!("{hours}h{:02}m", minutes % 60),
        7200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// `1 pod`, `2 pods`.
pub fn count(number: usize, one: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{} {one}{many}", thousands(number))
}

/// With a comma between thousands.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_wide_characters() {
        assert_eq!(cut("short", 20), "short");
        assert_eq!(cut("日本語のなまえ", 7), "日本語…");
        assert_eq!(width(&cut("日本語のなまえ", 8)), 7);
        assert_eq!(pad("日本", 6), "日本  ");
    }

    #[test]
    fn wrapping_breaks_between_words_and_long_words_where_it_must() {
        assert_eq!(wrap("one two three four five", 16), ["one two three", "four five"]);
        assert_eq!(wrap("aaaaaaaaaaaaaaaaaaaa b", 16), ["aaaaaaaaaaaaaaaa", "aaaa b"]);
        assert_eq!(wrap("shop/metrics-agent-x2lkv", 20), ["shop/metrics-agent-", "x2lkv"]);
        assert_eq!(wrap("", 16), [""]);
        let name = "日".repeat(40);
        assert!(wrap(&name, 17).iter().all(|l| width(l) <= 17));
    }

    #[test]
    fn ages_read_as_people_say_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap_or_default();
        let ago =
            |seconds: i64| age(Timestamp::from_second(now.as_second() - seconds).unwrap_or_default(), now);
        assert_eq!(ago(0), "0s ago");
        assert_eq!(ago(119), "119s ago");
        assert_eq!(ago(720), "12m ago");
        assert_eq!(ago(12_000), "3h20m ago");
        assert_eq!(ago(90_000), "25h ago");
        assert_eq!(ago(500_000), "5d ago");
        assert_eq!(ago(-86_400), "in 24h");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1, "pod"), "1 pod");
        assert_eq!(count(150_000, "pod"), "150,000 pods");
    }
}
