//! `kubehealer rules`: check, test and print the user's own rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::{Trouble, output};
use crate::diagnosis::text::arg;
use crate::files::{self, rules as rule_files};
use crate::redact;
use crate::rules::{RuleError, RuleSet, TestCase, read_tests};

const EXAMPLES: &str = "\
Examples:
  kubehealer rules check rules/
  kubehealer rules test rules/ --junit report.xml
  kubehealer diagnose -A --rules rules/

Exit code: 0 no errors; 1 a rule has an error or a test failed; 2 error: input unreadable.";

/// Check, test and print your own rules.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check rule files and print their errors
    Check(Reported),
    /// Run the tests of rules: files named *_test.yaml next to the rules
    Test(Reported),
    /// Print the rules in the order in which they apply
    Print(Paths),
}

#[derive(Debug, clap::Args)]
struct Paths {
    /// Rule files or directories
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Reported {
    #[command(flatten)]
    paths: Paths,
    /// Also write the results to this file, as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    match args.action {
        Action::Check(args) => report("check", check(&args.paths.paths)?, args.junit.as_deref()),
        Action::Test(args) => report("test", test(&args.paths.paths)?, args.junit.as_deref()),
        Action::Print(args) => print(&args.paths),
    }
}

/// Reads and checks the rules that a command is to apply.
pub(super) fn load(paths: &[PathBuf]) -> Result<RuleSet, Trouble> {
    if paths.is_empty() {
        return Ok(RuleSet::empty());
    }
    RuleSet::load(&read(paths)?).map_err(|errors| {
        let first = errors.first().map(place).unwrap_or_default();
        let more = match errors.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let all: Vec<_> = paths.iter().map(|path| arg(&path.to_string_lossy())).collect();
        let all = all.join(" ");
        Trouble::new(
            format_args!("rules: {first}{more}"),
            format!("see them all: kubehealer rules check {all}"),
        )
    })
}

/// An error on one line.
fn place(error: &RuleError) -> String {
    let rule = error.rule.as_ref().map(|r| format!("rule {r}: ")).unwrap_or_default();
    format!("{}:{}:{}: {rule}{}", error.file, error.line, error.column, error.message)
}

fn read(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Trouble> {
    rule_files::read_rules(paths).map_err(|e| Trouble::new(e, RULE_FILES))
}

const RULE_FILES: &str = "pass YAML rule files, or directories that contain some";

/// One file that was checked, or one test that was run.
struct Case {
    file: String,
    name: String,
    passed: String,
    failures: Vec<String>,
}

fn check(paths: &[PathBuf]) -> Result<Vec<Case>, Trouble> {
    let files = read(paths)?;
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    match RuleSet::load(&files) {
        Ok(rules) => {
            for rule in rules.describe() {
                let file = rule.place.rsplit_once(':').map_or("", |(file, _)| file);
                *counts.entry(file.to_owned()).or_default() += 1;
            }
        }
        Err(found) => {
            for error in found {
                errors.entry(error.file.clone()).or_default().push(error.to_string());
            }
        }
    }
    let mut cases: Vec<Case> = files
        .into_iter()
        .map(|(file, _)| Case {
            failures: errors.remove(&file).unwrap_or_default(),
            passed: match counts.get(&file) {
                Some(1) => "1 rule".to_owned(),
                Some(n) => format!("{n} rules"),
                None => "no errors in this file".to_owned(),
            },
            name: file.clone(),
            file,
        })
        .collect();
    // About all rules together.
    cases.extend(errors.into_iter().map(|(file, failures)| Case {
        name: file.clone(),
        file,
        passed: String::new(),
        failures,
    }));
    Ok(cases)
}

fn test(paths: &[PathBuf]) -> Result<Vec<Case>, Trouble> {
    let paths = rule_files::expand(paths, rule_files::is_test_file)
        .map_err(|e| Trouble::new(e, "tests are in files whose names end in _test.yaml"))?;
    let mut cases = Vec::new();
    for path in paths {
        let file = path.display().to_string();
        let text = rule_files::read_text(&path).map_err(|e| Trouble::new(e, RULE_FILES))?;
        let failed =
            |failures| Case { name: file.clone(), file: file.clone(), passed: String::new(), failures };
        let tests = match read_tests(&file, &text) {
            Ok(tests) => tests,
            Err(errors) => {
                cases.push(failed(errors.iter().map(ToString::to_string).collect()));
                continue;
            }
        };
        let beside = |name: &String| path.parent().unwrap_or(Path::new("")).join(name);
        let rules: Vec<PathBuf> = tests.rules.iter().map(beside).collect();
        let rules = match read(&rules).map(|files| RuleSet::load(&files)) {
            Ok(Ok(rules)) => rules,
            Ok(Err(errors)) => {
                cases.push(failed(errors.iter().map(ToString::to_string).collect()));
                continue;
            }
            Err(trouble) => {
                cases.push(failed(vec![trouble.what]));
                continue;
            }
        };
        for case in tests.cases {
            cases.push(Case {
                failures: run_case(&case, &rules, &beside),
                file: file.clone(),
                name: case.name,
                passed: "passed".to_owned(),
            });
        }
    }
    Ok(cases)
}

fn run_case(case: &TestCase, rules: &RuleSet, beside: &dyn Fn(&String) -> PathBuf) -> Vec<String> {
    let written = json!({"apiVersion": "v1", "kind": "List", "items": case.objects}).to_string();
    let mut paths: Vec<PathBuf> = case.files.iter().map(beside).collect();
    if !case.objects.is_empty() {
        paths.push("-".into());
    }
    let dump = files::read(&paths, Cursor::new(written));
    let mut failures: Vec<String> = dump.broken.iter().map(ToString::to_string).collect();
    failures.extend(dump.snapshot.undecodable.iter().map(|u| format!("{}: {}", u.place, u.why)));
    if dump.objects == 0 {
        failures.push("the test has no Kubernetes objects: does each have a kind?".to_owned());
    }
    let Some(now) = case.now.or_else(|| dump.newest_time(Timestamp::MAX)) else {
        failures.push("the objects contain no time: set `now` in the test".to_owned());
        return failures;
    };
    if failures.is_empty() {
        failures = case.run(rules, &dump.snapshot, now);
    }
    failures
}

fn report(what: &str, cases: Vec<Case>, junit: Option<&Path>) -> Result<ExitCode, Trouble> {
    let failed = cases.iter().filter(|c| !c.failures.is_empty()).count();
    let mut text = String::new();
    let clean = |t: &str| redact::clean(t).into_owned();
    for case in &cases {
        let name = if case.name == case.file {
            clean(&case.file)
        } else {
            format!("{}: {}", clean(&case.file), clean(&case.name))
        };
        if case.failures.is_empty() {
            let _ = writeln!(text, "ok    {name}: {}", case.passed);
            continue;
        }
        let _ = writeln!(text, "FAIL  {name}");
        for line in case.failures.iter().flat_map(|f| f.lines()) {
            let _ = writeln!(text, "      {}", clean(line));
        }
    }
    let all = cases.len();
    let unit = match (what, all) {
        ("check", 1) => "file",
        ("check", _) => "files",
        (_, 1) => "test",
        _ => "tests",
    };
    let _ = match failed {
        0 => writeln!(text, "{all} {unit}, no errors"),
        _ => writeln!(text, "{failed} of {all} {unit} failed"),
    };
    if let Some(path) = junit {
        fs::write(path, to_junit(what, &cases))
            .map_err(|e| Trouble::new(format_args!("{}: {e}", path.display()), "can the file be written?"))?;
    }
    output::print(&text)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// As CI systems read it: a suite per file.
fn to_junit(what: &str, cases: &[Case]) -> String {
    let failed = cases.iter().filter(|c| !c.failures.is_empty()).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"kubehealer rules {what}\" tests=\"{}\" failures=\"{failed}\">\n",
        cases.len()
    );
    let mut files: Vec<&str> = cases.iter().map(|c| c.file.as_str()).collect();
    files.dedup();
    for file in files {
        let of_file: Vec<&Case> = cases.iter().filter(|c| c.file == file).collect();
        let failed = of_file.iter().filter(|c| !c.failures.is_empty()).count();
        let file = output::xml(file);
        let _ =
            writeln!(xml, "  <testsuite name=\"{file}\" tests=\"{}\" failures=\"{failed}\">", of_file.len());
        for case in of_file {
            let _ = write!(xml, "    <testcase classname=\"{file}\" name=\"{}\"", output::xml(&case.name));
            match case.failures.first().and_then(|f| f.lines().next()) {
                None => xml.push_str("/>\n"),
                Some(first) => {
                    let all = output::xml(&case.failures.join("\n"));
                    let _ = writeln!(
                        xml,
                        "><failure message=\"{}\">{all}</failure></testcase>",
                        output::xml(first)
                    );
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn print(paths: &[PathBuf]) -> Result<ExitCode, Trouble> {
    let rules = load(paths)?;
    let mut text = String::new();
    for rule in rules.describe() {
        let _ = writeln!(text, "{}  {} {}", rule.name, rule.action, redact::clean(&rule.effect));
        let _ = writeln!(text, "    at     {}, checked for each {}", redact::clean(&rule.place), rule.over);
        for (what, said) in [("for", &rule.description), ("match", &rule.matches), ("when", &rule.when)] {
            if !said.is_empty() {
                let _ = writeln!(text, "    {what:<6} {}", redact::clean(said));
            }
        }
    }
    let count = rules.len();
    let _ = writeln!(text, "{count} rule{}, applied in this order", if count == 1 { "" } else { "s" });
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
