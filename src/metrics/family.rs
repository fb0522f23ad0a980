//! What a metric is called and what its series look like, in the types of the `prometheus` crate.

use std::collections::HashMap;
use std::io::Write;
use std::slice;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, Result, TextEncoder};

use crate::redact::clean;

/// A metric: its name, type, help and labels are a contract.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    /// A gauge or a counter.
    pub kind: MetricType,
    pub help: &'static str,
    /// The names of its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// Whether the owner labels are among them, behind the others.
    pub is_owned: bool,
}

impl Family {
    /// A metric whose value goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: MetricType::GAUGE, help, labels, is_owned: false }
    }

    /// A metric whose value only rises.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: MetricType::COUNTER, help, labels, is_owned: false }
    }

    /// The same with the owner labels.
    pub const fn owned(self) -> Self {
        Self { is_owned: true, ..self }
    }

    fn desc(&self) -> Result<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

/// Some series of a family. When it is filled again, the metrics of the last time are used again.
#[derive(Debug)]
pub struct Part {
    family: &'static Family,
    /// The names of the owner labels, if it has them.
    owner_labels: Box<[String]>,
    series: MetricFamily,
    used: usize,
}

impl Part {
    /// Without series yet.
    pub fn new(family: &'static Family) -> Self {
        Self::with(family, &[])
    }

    /// The same with these owner labels, if the family has them.
    pub fn with(family: &'static Family, owner_labels: &[String]) -> Self {
        let owner_labels = if family.is_owned { owner_labels.into() } else { Box::default() };
        let mut series = MetricFamily::default();
        series.set_name(family.name.to_owned());
        series.set_help(family.help.to_owned());
        series.set_field_type(family.kind);
        Self { family, owner_labels, series, used: 0 }
    }

    /// Adds a series.
    pub fn add(&mut self, values: &[&str], value: f64) {
        self.add_owned(values, &[], value);
    }

    /// Adds a series of what has these labels, by name. Control characters are removed from label values: a value is shown to
    /// people in the end.
    pub fn add_owned(&mut self, values: &[&str], labels: &[(String, String)], value: f64) {
        let metrics = self.series.mut_metric();
        if metrics.len() == self.used {
            let names =
                self.family.labels.iter().copied().chain(self.owner_labels.iter().map(String::as_str));
            let pairs = names.map(|name| {
                let mut label = LabelPair::default();
                label.set_name(name.to_owned());
                label
            });
            metrics.push(Metric::from_label(pairs.collect()));
        }
        let Some(metric) = metrics.get_mut(self.used) else { return };
        self.used += 1;
        let owners = self.owner_labels.iter().map(|name| {
            labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
        });
        for (label, value) in metric.mut_label().iter_mut().zip(values.iter().copied().chain(owners)) {
            let value = clean(value);
            if label.value() != value {
                label.set_value(value.into_owned());
            }
        }
        if self.family.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }

    /// Writes the series as text and forgets them. HELP and TYPE are written with the first part of a family only.
    pub fn write(&mut self, is_first: bool, text: &mut Vec<u8>, out: &mut dyn Write) -> Result<()> {
        if self.used == 0 {
            return Ok(());
        }
        self.series.mut_metric().truncate(self.used);
        self.used = 0;
        text.clear();
        TextEncoder::new().encode(slice::from_ref(&self.series), text)?;
        let head = memchr::memchr_iter(b'\n', text).nth(1).map_or(0, |end| end + 1);
        let from = if is_first { 0 } else { head };
        Ok(out.write_all(text.get(from..).unwrap_or_default())?)
    }

    fn into_family(mut self) -> MetricFamily {
        self.series.mut_metric().truncate(self.used);
        self.series
    }
}

/// A collector of families that are read when a scrape asks for them.
pub struct OnScrape<F> {
    descs: Vec<Desc>,
    read: F,
}

impl<F: Fn() -> Vec<Part> + Send + Sync> OnScrape<F> {
    /// Of these families, read by this function.
    pub fn new(families: &[&Family], read: F) -> Result<Self> {
        let descs = families.iter().map(|family| family.desc()).collect::<Result<_>>()?;
        Ok(Self { descs, read })
    }
}

impl<F: Fn() -> Vec<Part> + Send + Sync> Collector for OnScrape<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.read)().into_iter().map(Part::into_family).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Family = Family::gauge("things", "Things.", &["a", "b"]);

    fn text(parts: &[&[(&str, f64)]]) -> String {
        let (mut part, mut text, mut out) = (Part::new(&THINGS), Vec::new(), Vec::new());
        for (at, series) in parts.iter().enumerate() {
            series.iter().for_each(|(label, value)| part.add(&[label, "x"], *value));
            part.write(at == 0, &mut text, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_family_written_in_parts_is_the_family_written_at_once() {
        let whole = text(&[&[("1", 1.0), ("2", 2.0), ("3", 1_795_346_609.0)]]);
        assert_eq!(
            whole,
            "# HELP things Things.\n# TYPE things gauge\nthings{a=\"1\",b=\"x\"} 1\n\
             things{a=\"2\",b=\"x\"} 2\nthings{a=\"3\",b=\"x\"} 1795346609\n"
        );
        assert_eq!(text(&[&[("1", 1.0), ("2", 2.0)], &[], &[("3", 1_795_346_609.0)]]), whole);
        assert_eq!(text(&[&[]]), "");
    }

    #[test]
    fn hostile_values_cannot_end_a_label_or_a_line() {
        let text = text(&[&[("1\"} 5\n# evil\\ \u{1b}[2J\u{85}é", 1.0)]]);
        assert!(text.ends_with("things{a=\"1\\\"} 5 # evil\\\\  é\",b=\"x\"} 1\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
