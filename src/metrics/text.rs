//! The text format 0.0.4, written by hand: a series is a few `push_str`s into one buffer. Labels that several series share
//! are written once ([`label`]) and copied.
//!
//! Label values come from a cluster. They are escaped as the format wants it; other control characters are dropped, since
//! a value is shown to people in the end.

use std::fmt::Write;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only rises.
    Counter,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One metric with its series, of which there are few.
#[derive(Debug)]
pub struct FamilyText {
    name: &'static str,
    text: String,
    is_empty: bool,
}

impl FamilyText {
    /// Without series yet.
    pub fn new(name: &'static str, kind: Kind, help: &str) -> Self {
        Self { name, text: head(name, kind, help), is_empty: true }
    }

    /// Adds a series.
    pub fn series(&mut self, labels: &[(&str, &str)], value: u64) {
        self.is_empty = false;
        self.text.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push_str(if at == 0 { "{" } else { "\"," });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value);
        }
        self.text.push_str(if labels.is_empty() { " " } else { "\"} " });
        self.text.push_str(itoa::Buffer::new().format(value));
        self.text.push('\n');
    }

    /// The metric; nothing if it has no series.
    pub fn finish(self) -> String {
        if self.is_empty { String::new() } else { self.text }
    }
}

/// Begins a label, of which the next one, or the value, writes the closing quote: `open` is all that stands before its
/// value, such as `{namespace="` or `",pod="`.
pub fn label(out: &mut String, open: &'static str, value: &str) {
    out.push_str(open);
    escape(out, value);
}

/// The same with a value that holds nothing to escape.
pub fn word(out: &mut String, open: &'static str, value: &'static str) {
    out.push_str(open);
    out.push_str(value);
}

/// What a metric begins with.
pub fn head(name: &str, kind: Kind, help: &str) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str())
}

/// Writes a metric of one series without labels.
pub fn single(out: &mut String, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) {
    out.push_str(&head(name, kind, help));
    let _ = writeln!(out, "{name} {value}");
}

fn escape(out: &mut String, value: &str) {
    // Names hold none of these: one scan and one copy.
    if value.bytes().fold(true, |plain, b| plain & matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\')) {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_help_its_type_and_its_series() {
        let mut family = FamilyText::new("x_total", Kind::Counter, "Things.");
        family.series(&[("a", "1"), ("b", "2")], 7);
        family.series(&[], 1);
        assert_eq!(
            family.finish(),
            "# HELP x_total Things.\n# TYPE x_total counter\nx_total{a=\"1\",b=\"2\"} 7\nx_total 1\n"
        );
    }

    #[test]
    fn a_family_without_series_is_not_written() {
        assert_eq!(FamilyText::new("x", Kind::Gauge, "Things.").finish(), "");
    }

    #[test]
    fn hostile_values_cannot_end_a_label_or_a_line() {
        let mut family = FamilyText::new("x", Kind::Gauge, "Things.");
        family.series(&[("a", "1\"} 5\n# evil\\ \u{1b}[2J\u{85}é")], 1);
        let text = family.finish();
        assert!(text.ends_with("x{a=\"1\\\"} 5\\n# evil\\\\ [2Jé\"} 1\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
