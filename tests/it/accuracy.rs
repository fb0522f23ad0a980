//! How often the first line is right on failures that other people met: `tests/data/field`, see its README.
//!
//! `UPDATE_GENERATED=1 cargo test --test it accuracy::` writes the tables of docs/accuracy.md; with `SHOW=learn` or `SHOW=NAME` and
//! `--nocapture` it prints what is said of the cases that are not right. Do not look at single cases of the measuring half.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use kubehealer::diagnosis::{self, Finding, Severity};
use kubehealer::files;
use serde_json::Value;

/// Of the learning half, so many are right today; no change may make it fewer.
const RIGHT: usize = 526;
/// What of a summary or a cause is read.
const CUT: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Right,
    /// Something is found, and not said as it should be.
    ClassOnly,
    /// Something false or misleading is said.
    False,
    /// Nothing is found.
    Silent,
    /// A healthy case without an alarm, and with one.
    Quiet,
    Alarm,
}

fn field(half: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/field").join(half)
}

fn findings(case: &Path) -> Vec<Finding> {
    survey(case).findings
}

fn survey(case: &Path) -> diagnosis::Survey {
    let inputs = std::fs::read_dir(case).unwrap().map(|e| e.unwrap().path());
    let mut inputs: Vec<PathBuf> = inputs.filter(|p| !p.ends_with("truth.json")).collect();
    inputs.sort();
    // As in a directory of their own: files alone are objects, and logs are found by their names.
    let folder = tempfile::tempdir().unwrap();
    for input in &inputs {
        std::fs::copy(input, folder.path().join(input.file_name().unwrap())).unwrap();
    }
    let dump = files::read(&[folder.path().to_owned()], std::io::empty());
    assert!(dump.broken.is_empty() && dump.objects > 0, "{}: {:?}", case.display(), dump.broken);
    let limit = "2026-12-31T00:00:00Z".parse().unwrap();
    let now = files::newest_time(&dump.snapshot, limit).expect("a time");
    diagnosis::survey(&dump.snapshot, now)
}

fn matches(pattern: &str, text: &str) -> bool {
    let regex = Regex::new(&format!("(?i:{pattern})"));
    regex.unwrap_or_else(|e| panic!("{pattern}: {e}")).is_match(text).unwrap()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().expect("a string"))
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(CUT).map_or(text, |(at, _)| &text[..at])
}

fn is_about(f: &Finding, subject: &Value) -> bool {
    let text = |key: &str| subject[key].as_str();
    if f.namespace.is_empty() {
        return text("node") == Some(&f.node) || strings(&subject["nodes"]).any(|n| n == f.node);
    }
    if text("namespace") != Some(&f.namespace)
        || text("container").is_some_and(|c| !f.container.is_empty() && f.container != c)
    {
        return false;
    }
    match (text("pod_prefix"), &subject["workload"]) {
        (Some(prefix), _) if !f.pod.is_empty() => f.pod.starts_with(prefix),
        (prefix, Value::Null) => prefix.is_none(),
        (_, of) => f.workload.as_ref().is_some_and(|w| of["kind"] == *w.kind && of["name"] == *w.name),
    }
}

/// The verdict on one subject, and what keeps it from being right.
fn judge(findings: &[Finding], truth: &Value) -> (Verdict, String) {
    let mine: Vec<&Finding> = findings.iter().filter(|f| is_about(f, &truth["subject"])).collect();
    let mut faults = String::new();
    for f in &mine {
        let texts = [cut(&f.summary), cut(&f.cause.text)];
        let texts = texts.into_iter().chain(f.next_steps.iter().map(String::as_str));
        for text in texts {
            for pattern in strings(&truth["never"]).filter(|p| matches(p, text)) {
                let _ = writeln!(faults, "    false: /{pattern}/ in: {text}");
            }
        }
    }
    if !faults.is_empty() {
        return (Verdict::False, faults);
    }
    let Some(lead) = mine.first() else { return (Verdict::Silent, "    nothing is found\n".to_owned()) };
    let reasons: Vec<&str> = strings(&truth["reason"]).collect();
    if !reasons.contains(&"*") && !reasons.contains(&lead.reason.as_str()) {
        let _ = writeln!(faults, "    reason {}, not {}", lead.reason.as_str(), reasons.join(" or "));
    }
    let (summary, cause) = (cut(&lead.summary), cut(&lead.cause.text));
    let groups: Vec<Vec<&str>> =
        truth["says"].as_array().into_iter().flatten().map(|g| strings(g).collect()).collect();
    let says = |group: &[&str], text: &str| group.iter().any(|p| matches(p, text));
    for group in groups.iter().filter(|g| !says(g, summary) && !says(g, cause)) {
        let _ = writeln!(faults, "    does not say {}", group.join(" | "));
    }
    if faults.is_empty() && !groups.is_empty() && !groups.iter().any(|g| says(g, summary)) {
        faults += "    only the cause says it, nothing of it is in the summary\n";
    }
    match faults.is_empty() {
        true => (Verdict::Right, faults),
        false => (Verdict::ClassOnly, format!("    {summary}\n    {cause}\n{faults}")),
    }
}

fn verdict(findings: &[Finding], truth: &Value) -> (Verdict, String) {
    let also: Vec<&Value> = truth["also"].as_array().into_iter().flatten().collect();
    let is_loud = |of: &Value, all: bool| {
        let limit = of["severity_at_most"].as_str().unwrap_or("info").parse::<Severity>().unwrap();
        let loud: Vec<&Finding> =
            findings.iter().filter(|f| f.severity > limit && (all || is_about(f, &of["subject"]))).collect();
        loud.first().map(|f| f.summary.clone())
    };
    if truth["healthy"] == true {
        return match is_loud(truth, true) {
            Some(loud) => (Verdict::Alarm, format!("    {loud}\n")),
            None => (Verdict::Quiet, String::new()),
        };
    }
    let mut worst = judge(findings, truth);
    for of in also {
        let one = match of["healthy"] == true {
            true => is_loud(of, false).map(|loud| (Verdict::ClassOnly, format!("    alarm: {loud}\n"))),
            false => Some(judge(findings, of)),
        };
        if let Some((verdict, faults)) = one
            && verdict > Verdict::Right
        {
            worst = (worst.0.max(verdict), worst.1 + &faults);
        }
    }
    worst
}

/// By family: how many of each verdict.
fn measure(half: &str) -> BTreeMap<String, BTreeMap<Verdict, usize>> {
    let show = std::env::var("SHOW").unwrap_or_default();
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(field(half)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    assert!(cases.len() > 100, "{} cases in {half}", cases.len());
    let mut families: BTreeMap<String, BTreeMap<Verdict, usize>> = BTreeMap::new();
    for case in cases {
        let truth: Value =
            serde_json::from_str(&std::fs::read_to_string(case.join("truth.json")).unwrap()).unwrap();
        let (verdict, faults) = verdict(&findings(&case), &truth);
        let family = truth["family"].as_str().unwrap_or("mixed");
        let family = if truth["healthy"] == true { "healthy" } else { family };
        *families.entry(family.to_owned()).or_default().entry(verdict).or_default() += 1;
        let name = case.file_name().unwrap().to_str().unwrap();
        let is_shown = half == "learn" && (show == half || !show.is_empty() && name.contains(&show));
        if is_shown && !matches!(verdict, Verdict::Right | Verdict::Quiet) {
            println!("{verdict:?} {name}: {}\n{faults}", truth["situation"]);
        }
    }
    families
}

fn table(families: &BTreeMap<String, BTreeMap<Verdict, usize>>) -> String {
    use Verdict as V;
    let mut text =
        "| family | right | class only | false | silent | of |\n|---|---|---|---|---|---|\n".to_owned();
    let mut total = BTreeMap::<V, usize>::new();
    for (family, counts) in families.iter().filter(|(f, _)| *f != "healthy") {
        counts.iter().for_each(|(verdict, n)| *total.entry(*verdict).or_default() += n);
        text += &row(family, counts);
    }
    text += &row("**all**", &total);
    let healthy = families.get("healthy").cloned().unwrap_or_default();
    let (quiet, alarms) = (healthy.get(&V::Quiet).unwrap_or(&0), healthy.get(&V::Alarm).unwrap_or(&0));
    let _ = writeln!(text, "\nFalse alarms: {alarms} of {} healthy cases.", quiet + alarms);
    text
}

fn row(family: &str, counts: &BTreeMap<Verdict, usize>) -> String {
    use Verdict as V;
    let of = |v: V| counts.get(&v).copied().unwrap_or_default();
    let all: usize = counts.values().sum();
    let share = of(V::Right) * 100 / all.max(1);
    format!(
        "| {family} | {} ({share} %) | {} | {} | {} | {all} |\n",
        of(V::Right),
        of(V::ClassOnly),
        of(V::False),
        of(V::Silent)
    )
}

#[test]
fn the_first_line_is_right_as_often_as_docs_accuracy_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/accuracy.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let before = text.clone();
    for half in ["learn", "measure"] {
        let families = measure(half);
        let (start, end) = (format!("<!-- {half} -->\n"), "<!-- end -->");
        let from = text.find(&start).expect(&start) + start.len();
        let to = from + text[from..].find(end).expect(end);
        text.replace_range(from..to, &table(&families));
        if half == "learn" {
            let sum = |v: Verdict| families.values().filter_map(|f| f.get(&v)).sum::<usize>();
            assert!(
                sum(Verdict::Right) >= RIGHT,
                "{} right, not {RIGHT}\n{}",
                sum(Verdict::Right),
                table(&families)
            );
            assert_eq!((sum(Verdict::False), sum(Verdict::Alarm)), (0, 0), "\n{}", table(&families));
        }
    }
    if text != before {
        assert!(
            std::env::var_os("UPDATE_GENERATED").is_some(),
            "docs/accuracy.md is behind: UPDATE_GENERATED=1 cargo test --test it accuracy:: writes\n{text}"
        );
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn a_network_plugin_that_fails_and_the_pods_without_network_are_one_problem() {
    let survey = survey(&field("learn").join("field-a01-flannel-br-netfilter"));
    let problem =
        survey.problems.iter().find(|p| p.scope.name.contains("kube-flannel-ds")).expect("a problem");
    let pods: Vec<&str> = problem.findings.iter().map(|&at| survey.findings[at].pod.as_str()).collect();
    assert!(
        pods.iter().any(|p| p.starts_with("kube-flannel-ds-"))
            && pods.iter().any(|p| p.starts_with("coredns-")),
        "{pods:?}"
    );
    assert!(problem.cause.text.contains("br_netfilter"), "{}", problem.cause.text);
    assert_eq!(survey.problems.iter().filter(|p| p.scope.name.contains("coredns")).count(), 0);
}

#[test]
fn of_a_log_of_a_gigabyte_only_the_end_is_read() {
    let case = field("learn").join("u10-mysql-lower-case");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(case.join("objects.json"), folder.path().join("objects.json")).unwrap();
    let name = "u10.mysql-0.mysql.previous.log";
    // A file with a hole: as long as it says, and written at once.
    let mut log = std::fs::File::create(folder.path().join(name)).unwrap();
    log.set_len(1 << 30).unwrap();
    std::io::Seek::seek(&mut log, std::io::SeekFrom::End(0)).unwrap();
    std::io::Write::write_all(&mut log, &std::fs::read(case.join(name)).unwrap()).unwrap();
    let dump = files::read(&[folder.path().to_owned()], std::io::empty());
    let kept: usize = dump.snapshot.logs.iter().map(|log| log.tail.len()).sum();
    assert!(kept > 0 && kept <= diagnosis::logs::MAX_BYTES, "{kept} bytes");
    let now = files::newest_time(&dump.snapshot, "2026-12-31T00:00:00Z".parse().unwrap()).expect("a time");
    let found = diagnosis::survey(&dump.snapshot, now).findings;
    assert!(found[0].summary.contains("lower_case_table_names"), "{}", found[0].summary);
}
