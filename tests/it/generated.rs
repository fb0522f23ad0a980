//! What is written from the rows of the reasons is fresh: the table of docs/reasons.md, the runbook links of docs/alerts.md, the
//! lists of reasons in the alert rules and their copy for plain Prometheus.
//!
//! `UPDATE_GENERATED=1 cargo test --test it generated::` writes them anew; look at the difference before you keep it.

use std::path::{Path, PathBuf};

use kubehealer::diagnosis::{Context, Reason, diagnose};

const ALERTS: &str = "charts/kubehealer/files/alerts.yaml";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn fresh(file: &str, wanted: &str) {
    if read(file) == wanted {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_GENERATED").is_some(),
        "{file} is behind the rows of crates/kubehealer-core/src/diagnosis/reason.rs: run \
         `UPDATE_GENERATED=1 cargo test --test it generated::`"
    );
    std::fs::write(path(file), wanted).unwrap();
}

fn names<'r>(reasons: impl Iterator<Item = &'r Reason>) -> Vec<&'static str> {
    let mut names: Vec<&str> = reasons.map(|r| r.as_str()).collect();
    // The DeadlineExceeded of a pod and that of a Job.
    let mut seen = std::collections::HashSet::new();
    names.retain(|n| seen.insert(*n));
    names
}

fn of_alert(alert: &str) -> Vec<&'static str> {
    // A loop of kills is an alert of its own beside the one of each kill.
    let alert = if alert == "ContainerOOMKillLoop" { "ContainerOOMKilled" } else { alert };
    names(Reason::ALL.iter().filter(|r| r.alert() == alert))
}

fn grace(reason: Reason) -> String {
    match reason.grace().as_secs() {
        0 => "none".to_owned(),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// `reason=~"A|B"` of the first selector after `from` becomes these.
fn replace_reasons(text: &mut String, from: usize, operator: &str, reasons: &[&str]) {
    let at = text[from..].find(operator).map(|i| from + i + operator.len());
    let start = at.unwrap_or_else(|| panic!("no {operator} after {:?}", text[from..].lines().next()));
    let end = start + text[start..].find('"').expect("a closing quote");
    text.replace_range(start..end, &reasons.join("|"));
}

#[test]
fn the_table_of_reasons_is_fresh() {
    let text = read("docs/reasons.md");
    let head = "| reason | subject | severity | grace | resolves on its own | how it is detected |\n|---|---|---|---|---|---|\n";
    let mut table = head.to_owned();
    for reason in Reason::ALL {
        let subject = format!("{:?}", reason.subject()).to_lowercase();
        let severity = reason.severity().as_str();
        table += &format!(
            "| `{reason}` | {subject} | {severity} | {} | {} | {} |\n",
            grace(*reason),
            reason.heals().as_str(),
            reason.detected()
        );
    }
    let (before, rest) = text.split_once(head).expect("the table");
    let (_, after) = rest.split_once("<!-- end -->").expect("the end of the table");
    fresh("docs/reasons.md", &format!("{before}{table}<!-- end -->{after}"));
}

#[test]
fn the_lists_of_reasons_in_the_alert_rules_are_fresh() {
    let mut text = read(ALERTS);
    let at =
        text.find("- record: kubehealer:workload_down:pods").expect("the rule of workloads that are down");
    replace_reasons(&mut text, at, "reason=~\"", &names(Reason::ALL.iter().filter(|r| r.is_down())));
    let at = text.find("- alert: RuleMatched").expect("the alert of rules");
    let mut all = names(Reason::ALL.iter());
    all.sort_unstable();
    replace_reasons(&mut text, at, "reason!~\"", &all);
    let alerts = names_of_alerts();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        let at =
            text.find(&format!("- alert: {alert}\n")).unwrap_or_else(|| panic!("{ALERTS} has no {alert}"));
        let reasons = of_alert(alert);
        // One reason alone may be compared for equality, and an alert may join others to it.
        let block = &text[at..at + text[at + 1..].find("- alert: ").unwrap_or(text.len() - at - 1)];
        if let [one] = reasons[..]
            && block.contains(&format!("reason=\"{one}\""))
        {
            continue;
        }
        replace_reasons(&mut text, at, "reason=~\"", &reasons);
    }
    fresh(ALERTS, &text);
    fresh("deploy/prometheus/alerts.yaml", &text);
}

fn names_of_alerts() -> Vec<&'static str> {
    let mut alerts: Vec<&str> = Reason::ALL.iter().map(|r| r.alert()).collect();
    alerts.sort_unstable();
    alerts.dedup();
    alerts
}

#[test]
fn the_runbook_links_of_the_alerts_are_fresh() {
    let text = read("docs/alerts.md");
    let mut wanted = String::new();
    for line in text.split_inclusive('\n') {
        let alert = line.strip_prefix("| `").and_then(|l| l.split_once('`')).map(|(name, _)| name);
        match alert.map(|a| (a, of_alert(a))).filter(|(_, reasons)| !reasons.is_empty()) {
            Some((_, reasons)) => {
                let links: Vec<String> = reasons.iter().map(|r| format!("[{r}](runbooks/{r}.md)")).collect();
                let cells: Vec<&str> = line.trim_end().trim_end_matches('|').rsplitn(2, '|').collect();
                wanted += &format!("{}| {} |\n", cells[1], links.join(" "));
            }
            None => wanted += line,
        }
    }
    fresh("docs/alerts.md", &wanted);
}

#[test]
fn every_reason_has_an_alert_and_a_way_to_detect_it() {
    for reason in Reason::ALL {
        assert!(!reason.alert().is_empty(), "{reason} has no alert");
        assert!(reason.detected().len() > 10, "{reason} does not say how it is detected");
        assert!(
            reason.runbook().starts_with(&format!("# {reason}\n")),
            "{reason} has another reason's runbook"
        );
    }
}

#[test]
fn every_rejection_of_the_kubelet_is_named() {
    for reason in
        Reason::ALL.iter().filter(|r| r.alert() == "PodRejected" && **r != Reason::AdmissionRejected)
    {
        let pod = serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c"},
            "status": {"phase": "Failed", "reason": reason.as_str(), "message": "Pod was rejected: for a test"}
        });
        let pod = kubehealer::objects::from_object(&pod).unwrap();
        let now = "2026-11-30T10:00:00Z".parse().unwrap();
        let found = diagnose(&pod, &Context::pod_only(), now).findings;
        assert_eq!(found[0].reason.known(), Some(*reason));
    }
}

#[test]
fn every_reason_is_raised_by_a_test() {
    let mut tests = String::new();
    for folder in ["tests/it", "crates/kubehealer-core/tests"] {
        for entry in std::fs::read_dir(path(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("generated.rs") {
                tests += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    // What other people's failures lead with is raised by tests/it/accuracy.rs.
    for case in std::fs::read_dir(path("tests/data/field/learn")).unwrap() {
        tests += &std::fs::read_to_string(case.unwrap().path().join("truth.json")).unwrap();
    }
    let names = |word: String| {
        tests.match_indices(&word).any(|(at, _)| !tests[at + word.len()..].starts_with(char::is_alphanumeric))
    };
    let is_raised = |r: &Reason| {
        r.alert() == "PodRejected"
            || names(format!("R::{r:?}"))
            || names(format!("Reason::{r:?}"))
            || tests.contains(&format!("\"{r}\""))
    };
    let never: Vec<&Reason> = Reason::ALL.iter().filter(|r| !is_raised(r)).collect();
    assert!(never.is_empty(), "no test raises {never:?}");
}
