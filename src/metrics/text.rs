//! The text format 0.0.4, written by hand: a series is a few `push_str`s into one buffer. Labels that several series share
//! are written once ([`label`]) and copied.
//!
//! Label values come from a cluster. They are escaped as the format wants it; other control characters are dropped, since
//! a value is shown to people in the end.

use std::fmt::Write;

/// Bytes after which a piece is full: what a larger text costs is to be copied as it grows.
const PIECE: usize = 64 * 1024;

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

/// One metric with its series.
#[derive(Debug)]
pub struct FamilyText {
    name: &'static str,
    /// Full ones.
    pieces: Vec<String>,
    /// The one that is written to; the first begins with the metric's head.
    text: String,
    count: usize,
    limit: usize,
    dropped: u64,
}

impl FamilyText {
    /// Without series yet; takes `limit` of them.
    pub fn new(name: &'static str, kind: Kind, help: &str, limit: usize) -> Self {
        let mut text = String::new();
        head(&mut text, name, kind, help);
        Self { name, pieces: Vec::new(), text, count: 0, limit, dropped: 0 }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Series that did not fit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a series.
    pub fn series(&mut self, labels: &[(&str, &str)], value: i64) {
        let mut text = String::new();
        for (at, (name, value)) in labels.iter().enumerate() {
            text.push_str(if at == 0 { "{" } else { "\"," });
            text.push_str(name);
            text.push_str("=\"");
            escape(&mut text, value);
        }
        self.add(&text, value);
    }

    /// Adds a series with the labels that [`label`] and [`word`] have written.
    pub fn add(&mut self, labels: &str, value: i64) {
        if self.count >= self.limit {
            self.dropped += 1;
            return;
        }
        self.count += 1;
        if self.text.len() >= PIECE {
            let next = String::with_capacity(self.text.capacity());
            self.pieces.push(std::mem::replace(&mut self.text, next));
        }
        let out = &mut self.text;
        out.push_str(self.name);
        out.push_str(labels);
        out.push_str(if labels.is_empty() { " " } else { "\"} " });
        out.push_str(itoa::Buffer::new().format(value));
        out.push('\n');
    }

    /// The metric, in pieces; none if it has no series.
    pub fn finish(self) -> impl Iterator<Item = String> {
        let last = (self.count > 0).then_some(self.text);
        self.pieces.into_iter().chain(last)
    }
}

/// Begins a label, of which the next one or [`FamilyText::add`] writes the closing quote: `open` is all that stands before its
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

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
}

/// Writes a metric of one series without labels.
pub fn single(out: &mut String, name: &str, kind: Kind, help: &str, value: impl std::fmt::Display) {
    head(out, name, kind, help);
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

    fn text(family: FamilyText) -> String {
        family.finish().collect()
    }

    #[test]
    fn a_family_has_its_help_its_type_and_its_series() {
        let mut family = FamilyText::new("x_total", Kind::Counter, "Things.", 10);
        family.series(&[("a", "1"), ("b", "2")], 7);
        family.series(&[], -1);
        assert_eq!(
            text(family),
            "# HELP x_total Things.\n# TYPE x_total counter\nx_total{a=\"1\",b=\"2\"} 7\nx_total -1\n"
        );
    }

    #[test]
    fn a_family_without_series_is_not_written() {
        assert_eq!(text(FamilyText::new("x", Kind::Gauge, "Things.", 10)), "");
    }

    #[test]
    fn hostile_values_cannot_end_a_label_or_a_line() {
        let mut family = FamilyText::new("x", Kind::Gauge, "Things.", 10);
        family.series(&[("a", "1\"} 5\n# evil\\ \u{1b}[2J\u{85}é")], 1);
        let text = text(family);
        assert!(text.ends_with("x{a=\"1\\\"} 5\\n# evil\\\\ [2Jé\"} 1\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn series_over_the_limit_are_counted_and_left_out() {
        let mut family = FamilyText::new("x", Kind::Gauge, "Things.", 2);
        for value in 0..5 {
            family.series(&[], value);
        }
        assert_eq!(family.dropped(), 3);
        assert_eq!(text(family).lines().count(), 4);
    }
}
