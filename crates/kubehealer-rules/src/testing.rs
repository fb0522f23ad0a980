//! Tests of rules, in YAML beside the rules: objects and a time in, expected findings out.
//!
//! Must not know where the files are: whoever runs the tests reads rules and objects, and hands them in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::check::suggest;
use super::matcher::{Glob, Names};
use super::yaml::{self, Kind, Node};
use super::{RuleError, RuleSet, functions};
use kubehealer_core::diagnosis::{Finding, Snapshot};

/// What a test file holds.
#[derive(Debug)]
pub struct TestFile {
    /// The rule files under test, relative to this one.
    pub rules: Vec<String>,
    /// The tests.
    pub cases: Vec<TestCase>,
}

/// One test.
#[derive(Debug)]
pub struct TestCase {
    /// Its name.
    pub name: String,
    /// The time to judge by; none: the newest time of the objects.
    pub now: Option<Timestamp>,
    /// Objects that are written out, as Kubernetes writes them.
    pub objects: Vec<Value>,
    /// Files with objects, relative to the test file.
    pub files: Vec<String>,
    expect: Vec<Expected>,
    ignored: Option<BTreeMap<String, u32>>,
    errors: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Expected {
    line: usize,
    fields: Map<String, Value>,
}

/// What a test may say of a finding.
const FIELDS: &[&str] = &[
    "reason",
    "severity",
    "confidence",
    "stage",
    "namespace",
    "pod",
    "container",
    "containerType",
    "workload",
    "node",
    "since",
    "summary",
    "cause",
    "restartCount",
    "exitCode",
    "image",
    "nextSteps",
    "runbookUrl",
    "labels",
];

/// Reads a test file.
pub fn read_tests(file: &str, text: &str) -> Result<TestFile, Vec<RuleError>> {
    let mut reader = Reader { file, text, errors: Vec::new() };
    let read = reader.file();
    match read {
        Some(read) if reader.errors.is_empty() => Ok(read),
        _ => Err(reader.errors),
    }
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    errors: Vec<RuleError>,
}

impl Reader<'_> {
    fn error(&mut self, at: usize, message: impl Into<String>) {
        RuleError::add(&mut self.errors, || {
            RuleError::new(self.file, self.text, at, None, message.into(), None)
        });
    }

    fn file(&mut self) -> Option<TestFile> {
        let documents = match yaml::parse(self.text) {
            Ok(documents) => documents,
            Err(fault) => {
                self.error(fault.at, fault.message);
                return None;
            }
        };
        let [document] = documents.as_slice() else {
            self.error(0, "a test file holds one document with `rules:` and `tests:`");
            return None;
        };
        let fields = self.fields(document, "a test file", &["rules", "tests"])?;
        let rules = self.texts(fields.get("rules").copied(), "rules");
        if rules.is_empty() {
            self.error(document.at, "there is no `rules:` with the files under test");
        }
        let mut cases = Vec::new();
        match fields.get("tests").map(|n| (&n.kind, n.at)) {
            Some((Kind::List(items), _)) => {
                for item in items {
                    cases.extend(self.case(item));
                }
            }
            Some((_, at)) => self.error(at, "`tests` must be a list of tests"),
            None => self.error(document.at, "there is no `tests:` with a list of tests"),
        }
        Some(TestFile { rules, cases })
    }

    fn case(&mut self, node: &Node) -> Option<TestCase> {
        let known = ["name", "now", "objects", "files", "expect", "ignored", "errors"];
        let fields = self.fields(node, "a test", &known)?;
        let name = self.texts(fields.get("name").copied(), "name").pop();
        if name.is_none() {
            self.error(node.at, "the test has no `name`");
        }
        let now = self.texts(fields.get("now").copied(), "now").pop().and_then(|text| {
            functions::timestamp(&text)
                .map_err(|m| self.error(fields.get("now").map_or(node.at, |n| n.at), m))
                .ok()
        });
        let objects = match fields.get("objects").map(|n| (&n.kind, n.at)) {
            Some((Kind::List(items), _)) => items.iter().map(Node::to_json).collect(),
            Some((_, at)) => {
                self.error(at, "`objects` must be a list of objects");
                Vec::new()
            }
            None => Vec::new(),
        };
        let files = self.texts(fields.get("files").copied(), "files");
        if objects.is_empty() && files.is_empty() {
            self.error(node.at, "the test has neither `objects` nor `files`");
        }
        let mut expect = Vec::new();
        match fields.get("expect").map(|n| (&n.kind, n.at)) {
            Some((Kind::List(items), _)) => {
                for item in items {
                    if self.fields(item, "an expected finding", FIELDS).is_some()
                        && let Value::Object(fields) = item.to_json()
                    {
                        expect.push(Expected { line: yaml::line_and_column(self.text, item.at).0, fields });
                    }
                }
            }
            Some((_, at)) => self.error(at, "`expect` must be a list of findings: [] for none"),
            None => self.error(node.at, "the test has no `expect` with a list of findings: [] for none"),
        }
        Some(TestCase {
            name: name.unwrap_or_default(),
            now,
            objects,
            files,
            expect,
            ignored: fields.get("ignored").map(|n| self.counts(n, "ignored")),
            errors: fields.get("errors").map(|n| self.counts(n, "errors")).unwrap_or_default(),
        })
    }

    fn counts(&mut self, node: &Node, what: &str) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        let Value::Object(map) = node.to_json() else {
            self.error(node.at, format!("`{what}` maps the names of rules to counts"));
            return counts;
        };
        for (rule, count) in map {
            match count.as_u64().and_then(|c| u32::try_from(c).ok()) {
                Some(count) => {
                    counts.insert(rule, count);
                }
                None => self.error(node.at, format!("`{what}` maps the names of rules to counts")),
            }
        }
        counts
    }

    fn texts(&mut self, node: Option<&Node>, what: &str) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        match &node.kind {
            Kind::Scalar(text, _) if !node.is_null() => vec![text.clone()],
            Kind::List(items) => items.iter().flat_map(|item| self.texts(Some(item), what)).collect(),
            _ => {
                self.error(node.at, format!("`{what}` must be a string; this is {}", node.describe()));
                Vec::new()
            }
        }
    }

    fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Option<BTreeMap<&'n str, &'n Node>> {
        let Kind::Map(entries) = &node.kind else {
            self.error(node.at, format!("{what} must be a mapping; this is {}", node.describe()));
            return None;
        };
        let mut fields = BTreeMap::new();
        for (key, value) in entries {
            match &key.kind {
                Kind::Scalar(text, _) if !known.contains(&text.as_str()) => {
                    let hint = suggest(text, known.iter().copied());
                    self.error(key.at, format!("unknown field {text:?} of {what}{hint}"));
                }
                Kind::Scalar(text, _) if fields.insert(text.as_str(), value).is_some() => {
                    self.error(key.at, format!("{text:?} appears twice in {what}"));
                }
                Kind::Scalar(..) => {}
                _ => self.error(key.at, format!("the keys of {what} must be strings")),
            }
        }
        Some(fields)
    }
}

impl TestCase {
    /// Runs the test on the objects that it names. Gives what is not as expected; nothing: passed.
    pub fn run(&self, rules: &RuleSet, snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
        let mut ignored: BTreeMap<String, u32> = BTreeMap::new();
        let mut errors: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
        let survey = rules.survey(snapshot, now, |applied| {
            for (rule, n) in &applied.ignored {
                *ignored.entry(rule.to_string()).or_default() += n;
            }
            for error in &applied.errors {
                errors.entry(Arc::clone(&error.rule)).or_default().push(error.message.clone());
            }
        });
        let mut failures = Vec::new();
        let mut left: Vec<(&Finding, Value)> =
            survey.findings.iter().map(|f| (f, serde_json::to_value(f).unwrap_or_default())).collect();
        // What asks for most picks first, so that a loose expectation does not take what a strict one needs.
        let mut expected: Vec<&Expected> = self.expect.iter().collect();
        expected.sort_by_key(|e| std::cmp::Reverse(e.fields.len()));
        for expected in expected {
            let wanted = Value::Object(expected.fields.clone());
            match left.iter().position(|(_, found)| fits(&wanted, found)) {
                Some(i) => {
                    left.remove(i);
                }
                None => {
                    let near = left
                        .iter()
                        .map(|(f, found)| (differences(&expected.fields, found), f))
                        .min_by_key(|(d, _)| d.len())
                        .map(|(d, f)| format!("; nearest is {}: {}", name(f), d.join(", ")));
                    failures.push(format!(
                        "line {}: expected and not found: {wanted}{}",
                        expected.line,
                        near.unwrap_or_default()
                    ));
                }
            }
        }
        for (finding, _) in left {
            failures.push(format!(
                "found and not expected: {}, {}: {}",
                name(finding),
                finding.severity.as_str(),
                finding.summary
            ));
        }
        if let Some(wanted) = &self.ignored
            && *wanted != ignored
        {
            failures.push(format!("ignored: expected {wanted:?}, found {ignored:?}"));
        }
        for (rule, messages) in &errors {
            let wanted = self.errors.get(&**rule).copied().unwrap_or_default() as usize;
            if wanted != messages.len() {
                let first = messages.first().map_or("", String::as_str);
                failures
                    .push(format!("rule {rule} failed {} times, expected {wanted}: {first}", messages.len()));
            }
        }
        for (rule, wanted) in &self.errors {
            if *wanted > 0 && !errors.contains_key(rule.as_str()) {
                failures.push(format!("rule {rule} did not fail, expected {wanted} times"));
            }
        }
        failures
    }
}

fn name(finding: &Finding) -> String {
    let place = [&finding.namespace, &finding.pod, &finding.container];
    let place: Vec<&str> = place.into_iter().filter(|p| !p.is_empty()).map(String::as_str).collect();
    format!("{} of {}", finding.reason.as_str(), place.join("/"))
}

/// Whether what was found has at least what was wanted. A text may have `*` for any characters.
fn fits(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(key, wanted)| fits(wanted, found.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.iter().all(|wanted| found.iter().any(|found| fits(wanted, found)))
        }
        (Value::String(wanted), Value::String(found)) if wanted.contains('*') && !wanted.starts_with('!') => {
            Names(vec![Glob::new(wanted)]).fit(found)
        }
        // What is empty is left out of the JSON.
        (Value::String(wanted), Value::Null) => wanted.is_empty(),
        (Value::Array(wanted), Value::Null) => wanted.is_empty(),
        (Value::Object(wanted), Value::Null) => wanted.is_empty(),
        _ => wanted == found,
    }
}

fn differences(wanted: &Map<String, Value>, found: &Value) -> Vec<String> {
    wanted
        .iter()
        .filter(|(key, wanted)| !fits(wanted, found.get(key.as_str()).unwrap_or(&Value::Null)))
        .map(|(key, _)| format!("{key} is {}", found.get(key.as_str()).unwrap_or(&Value::Null)))
        .collect()
}
