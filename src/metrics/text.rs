//! The text format 0.0.4, written by hand: a series is a few `push_str`s into one buffer.
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

/// One metric with its series.
#[derive(Debug)]
pub struct FamilyText {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    series: String,
    count: usize,
    limit: usize,
    dropped: u64,
}

impl FamilyText {
    /// Without series yet; takes `limit` of them.
    pub fn new(name: &'static str, kind: Kind, help: &'static str, limit: usize) -> Self {
        Self { name, kind, help, series: String::new(), count: 0, limit, dropped: 0 }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Series that did not fit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a series.
    pub fn series(&mut self, labels: &[(&str, &str)], value: i64) {
        if self.count >= self.limit {
            self.dropped += 1;
            return;
        }
        self.count += 1;
        let out = &mut self.series;
        out.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            out.push(if at == 0 { '{' } else { ',' });
            out.push_str(name);
            out.push_str("=\"");
            escape(out, value);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(out, " {value}");
    }

    /// Writes the metric, unless it has no series.
    pub fn finish(self, out: &mut String) {
        if self.series.is_empty() {
            return;
        }
        head(out, self.name, self.kind, self.help);
        out.push_str(&self.series);
    }
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
    if !value.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'"' || b == b'\\' || b >= 0x80) {
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
        let mut out = String::new();
        family.finish(&mut out);
        out
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
