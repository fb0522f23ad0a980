//! What `diagnose` prints: golden texts, checked by hand, and what must hold for any text from a cluster.
//! `UPDATE_GOLDEN=1 cargo test --test it report::` writes them anew; look at the difference before you keep it.

use jiff::Timestamp;
use kubehealer::diagnosis::{
    Cause, CauseCode, Confidence, ContainerType, Evidence, Finding, Mute, Problem, Reach, Reason, Scope,
    Severity, Snapshot, Source, Sources, Stage, Summary, Survey, WorkloadRef,
};
use kubehealer::objects::Pod;
use kubehealer::report::{self, Look, Style};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::cli::with_input;

fn at(time: &str) -> Timestamp {
    format!("2026-11-22T{time}Z").parse().unwrap()
}

fn finding(
    reason: Reason,
    pod: &str,
    container: &str,
    workload: &str,
    code: CauseCode,
    cause: &str,
) -> Finding {
    Finding {
        reason: reason.into(),
        severity: Severity::Warning,
        confidence: Confidence::Confirmed,
        stage: Stage::Active,
        namespace: "shop".to_owned(),
        pod: pod.to_owned(),
        uid: format!("uid-{pod}"),
        container: container.to_owned(),
        container_type: (!container.is_empty()).then_some(ContainerType::App),
        workload: Some(WorkloadRef { kind: "Deployment".to_owned(), name: workload.to_owned() }),
        node: "node-a".to_owned(),
        since: Some(at("09:48:10")),
        summary: format!("container {container} fails"),
        cause: Cause { code, text: cause.to_owned() },
        restart_count: Some(7),
        exit_code: Some(137),
        image: String::new(),
        scope: None,
        evidence: vec![
            Evidence {
                source: Source::Status,
                text: "ended: OOMKilled with exit code 137".to_owned(),
                at: Some(at("09:59:01")),
            },
            Evidence { source: Source::Spec, text: "memory limit 256Mi, request 128Mi".to_owned(), at: None },
        ],
        next_steps: vec![
            format!("kubectl -n shop logs {pod} -c {container} --previous"),
            "raise the limit".to_owned(),
        ],
        runbook_url: None,
        labels: Vec::new(),
        muted: None,
    }
}

#[test]
fn the_headline_does_not_count_what_pods_inform_of_among_the_problems_of_workloads() {
    let mut job = finding(
        Reason::BackoffLimitExceeded,
        "",
        "",
        "nightly",
        CauseCode::TooManyFailures,
        "its pods failed",
    );
    job.workload = Some(WorkloadRef { kind: "Job".to_owned(), name: "nightly".to_owned() });
    let mut failed =
        finding(Reason::Error, "nightly-1", "report", "nightly", CauseCode::LoggedError, "exit code 3");
    failed.severity = Severity::Info;
    let survey = Survey::of(vec![job, failed.clone(), failed], 5, at("10:00:00"));
    let snapshot = Snapshot::default();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    let style = Style { width: 80, colour: false, wide: false, all: false };
    let table = report::table(&look, &style);
    assert!(
        table.starts_with("0 of 5 pods unhealthy; workloads and nodes: 1 warning; also 2 info.\n"),
        "{table}"
    );
}

/// One of each kind: an out-of-memory kill, one bad image in two Deployments, a workload, a node, one that recovered.
fn findings() -> Vec<Finding> {
    let mut findings = vec![];
    let mut node = finding(
        Reason::NodeNotReady,
        "",
        "",
        "",
        CauseCode::KubeletStopped,
        "Kubelet stopped posting node status.",
    );
    node.severity = Severity::Critical;
    node.workload = None;
    node.namespace.clear();
    node.restart_count = None;
    node.exit_code = None;
    node.summary =
        "node node-a is not ready: its kubelet stopped posting status; 12 pods run there".to_owned();
    findings.push(node);
    for (pod, workload) in [("api-5f6d-aaaaa", "api"), ("api-5f6d-bbbbb", "api"), ("web-7c9b-ccccc", "web")] {
        let mut image = finding(
            Reason::ImagePullBackOff,
            pod,
            "app",
            workload,
            CauseCode::ImageNotFound,
            "image registry.example/shop/app:1.9.0-rc1 was not found: its repository or tag does not exist at registry.example",
        );
        image.restart_count = Some(0);
        image.exit_code = None;
        findings.push(image);
    }
    findings.push(finding(
        Reason::OOMKilled,
        "cart-7d9f-x2x",
        "cart",
        "cart",
        CauseCode::MemoryLimitReached,
        "it reached its memory limit of 256Mi",
    ));
    let mut create = finding(
        Reason::FailedCreate,
        "",
        "",
        "orders",
        CauseCode::QuotaExceeded,
        "exceeded quota: pods, used: 10, limited: 10",
    );
    create.restart_count = None;
    create.exit_code = None;
    create.node.clear();
    findings.push(create);
    let mut past = finding(
        Reason::CrashLoopBackOff,
        "search-0",
        "search",
        "search",
        CauseCode::ApplicationError,
        "it ended with exit code 1",
    );
    past.severity = Severity::Info;
    past.stage = Stage::Recovered;
    findings.push(past);
    findings
}

fn survey(findings: Vec<Finding>) -> Survey {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let summary = Summary {
        pods: 120,
        unhealthy_pods: 4,
        critical: count(Severity::Critical),
        warning: count(Severity::Warning),
        info: count(Severity::Info),
        muted: 0,
    };
    let same: Vec<usize> =
        (0..findings.len()).filter(|&i| findings[i].cause.code == CauseCode::ImageNotFound).collect();
    let problems = same.first().map(|&first| Problem {
        cause: findings[first].cause.clone(),
        scope: Scope { kind: "image", name: "registry.example/shop/app:1.9.0-rc1".to_owned() },
        severity: Severity::Warning,
        reach: Reach { pods: 3, workloads: 2, nodes: 1 },
        findings: same.clone(),
    });
    Survey { observed_at: at("10:00:00"), findings, problems: problems.into_iter().collect(), summary }
}

fn snapshot() -> Snapshot {
    let pod = |n: usize| Pod {
        metadata: kubehealer::objects::ObjectMeta {
            name: format!("pod-{n}"),
            namespace: format!("ns-{}", n % 6),
            ..Default::default()
        },
        ..Pod::default()
    };
    Snapshot {
        pods: (0..120).map(pod).collect(),
        sources: Sources { events: false, ..Sources::ALL },
        ..Snapshot::default()
    }
}

fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{name} differs; it is now:\n{text}");
}

#[test]
fn each_form_prints_as_the_golden_texts_do() {
    let survey = survey(findings());
    let snapshot = snapshot();
    let notes = ["without events: not allowed: events is forbidden".to_owned()];
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &notes };
    let table = |width, wide, colour| report::table(&look, &Style { width, wide, colour, all: false });
    golden("table-80.txt", &table(80, false, false));
    golden("table-200.txt", &table(200, false, false));
    golden("wide-120.txt", &table(120, true, false));
    golden("table-80-colour.txt", &table(80, false, true));
    golden("diagnosis.json", &report::json(&look));
    golden("diagnosis.yaml", &report::yaml(&look));
    golden("diagnosis.md", &report::markdown(&look));
}

#[test]
fn yaml_says_the_same_as_json() {
    let survey = survey(findings());
    let snapshot = snapshot();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    let json: Value = serde_json::from_str(&report::json(&look)).unwrap();
    let yaml: Value = serde_saphyr::from_str(&report::yaml(&look)).unwrap();
    assert_eq!(json, yaml);
}

#[test]
fn with_nothing_at_fault_it_says_so_and_what_it_looked_at() {
    let mut survey = survey(Vec::new());
    survey.summary.unhealthy_pods = 0;
    let snapshot = snapshot();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    let text = report::table(&look, &Style { width: 80, wide: false, colour: false, all: false });
    golden("healthy-80.txt", &text);
}

#[test]
fn no_line_is_wider_than_the_screen_but_commands() {
    let survey = survey(findings());
    let snapshot = snapshot();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    for width in [60, 80, 100, 132, 200] {
        let text = report::table(&look, &Style { width, wide: true, colour: false, all: false });
        let too_wide = text.lines().find(|l| l.width() > width && !l.contains("kubectl"));
        assert_eq!(too_wide, None, "at {width}");
    }
}

#[test]
fn names_and_causes_are_never_cut_and_ten_rows_are_shown_in_detail() {
    let long = "metrics-agent-with-a-name-that-is-longer-than-most-6d4956d49-m6v72";
    let findings: Vec<Finding> = (0..12)
        .map(|n| {
            let cause = "dial tcp: lookup redis.shop.svc.cluster.local on 10.43.0.10:53: no such host";
            let code = CauseCode::DependencyNameNotResolved;
            let mut finding =
                finding(Reason::FailedPrepareDynamicResources, long, "agent", &format!("w{n}"), code, cause);
            finding.summary = format!("container agent: crash loop (exit code 1): {cause}");
            finding
        })
        .collect();
    let survey = survey(findings);
    let snapshot = snapshot();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    for width in [40, 80, 120, 200, 10_000] {
        let text = report::table(&look, &Style { width, wide: false, colour: false, all: false });
        let joined: String = text.split_whitespace().collect();
        assert!(!text.contains('…'), "at {width}: {text}");
        assert!(width < 80 || joined.contains(long), "at {width}: {text}");
        assert!(text.contains("  FailedPrepareDynamicResources"), "at {width}: {text}");
        assert!(text.contains("2 more rows"), "at {width}: {text}");
        assert_eq!(text.matches("  next steps  ").count(), 10, "at {width}");
        let all = report::table(&look, &Style { width, wide: false, colour: false, all: true });
        assert_eq!(all.matches("  next steps  ").count(), 12, "at {width}");
    }
}

#[test]
fn what_is_muted_is_not_repeated_among_the_worst_at_the_end() {
    let of = |n| {
        let pod = format!("w{n:02}-1");
        let cause = format!("key {n} is not in its ConfigMap");
        finding(Reason::CreateContainerConfigError, &pod, "agent", &pod, CauseCode::LoggedError, &cause)
    };
    let mut findings: Vec<_> = (0..12).map(of).collect();
    findings[0].severity = Severity::Critical;
    findings[0].muted = Some(Mute { until: at("12:00:00"), reason: String::new() });
    let survey = survey(findings);
    let snapshot = snapshot();
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
    let text = report::table(&look, &Style { width: 120, wide: false, colour: false, all: false });
    let (_, end) = text.split_once("Worst first:").unwrap_or_else(|| panic!("{text}"));
    let named: Vec<bool> = (0..5).map(|n| end.contains(&format!("w{n:02}-1"))).collect();
    assert_eq!(named, [false, true, true, true, false], "{end}");
}

#[test]
fn text_from_a_cluster_cannot_command_a_terminal_or_a_page() {
    let hostile = "evil\u{1b}[2J\u{1b}]0;title\u{7}\u{202e}gnp\u{0}\u{9b}31m | <script>alert(1)</script> @everyone `x` [l](http://x)";
    let mut findings = findings();
    for finding in &mut findings {
        finding.namespace = hostile.to_owned();
        finding.pod = hostile.to_owned();
        finding.container = hostile.to_owned();
        finding.node = hostile.to_owned();
        finding.summary = hostile.to_owned();
        finding.cause.text = hostile.to_owned();
        finding.workload = Some(WorkloadRef { kind: hostile.to_owned(), name: hostile.to_owned() });
        finding.evidence[0].text = format!("{hostile}\nsecond line\r\nthird ``` fence");
        finding.next_steps = vec![hostile.to_owned()];
        finding.runbook_url = Some(hostile.to_owned());
    }
    let survey = survey(findings);
    let snapshot = snapshot();
    let notes = [hostile.to_owned()];
    let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &notes };
    let forbidden = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    for wide in [false, true] {
        let text = report::table(&look, &Style { width: 80, wide, colour: false, all: false });
        assert_eq!(text.chars().find(|c| forbidden(*c)), None);
    }
    let text = report::markdown(&look);
    assert_eq!(text.chars().find(|c| forbidden(*c)), None);
    // Outside of code, markup is escaped; inside, the fence is longer than any that the text holds.
    for line in text.lines().filter(|l| !l.contains("``")) {
        assert!(!line.contains("<script") && !line.replace("\\](http", "").contains("](http"), "{line}");
    }
    let json = report::json(&look);
    assert_eq!(json.chars().find(|c| forbidden(*c)), None);
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["findings"][0]["summary"], hostile, "escaped, not lost");
    let yaml = report::yaml(&look);
    assert_eq!(yaml.chars().find(|c| forbidden(*c)), None);
    serde_saphyr::from_str::<Value>(&yaml).unwrap();
}

#[test]
fn many_bare_pods_of_which_the_same_is_said_share_a_line_and_few_do_not() {
    let lines = |number: usize| {
        let findings = (0..number)
            .map(|n| {
                let pod = format!("job-{n}");
                let mut finding = finding(
                    Reason::Error,
                    &pod,
                    "app",
                    &pod,
                    CauseCode::ApplicationError,
                    "it ended with exit code 3",
                );
                finding.workload = Some(WorkloadRef { kind: "Pod".to_owned(), name: pod.clone() });
                finding
            })
            .collect();
        let survey = survey(findings);
        let snapshot = snapshot();
        let look = Look { cluster: "", error: "", survey: &survey, snapshot: &snapshot, notes: &[] };
        let text = report::table(&look, &Style { width: 120, wide: false, colour: false, all: false });
        text.lines().filter(|l| l.starts_with("warning ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(3).len(), 3);
    let many = lines(2000);
    assert!(many.len() == 1 && many[0].contains("2,000 pods"), "{many:?}");
}

#[test]
fn two_thousand_pods_that_fail_from_one_image_are_one_line() {
    let image = "registry.example/shop/web:1.9.0-rc1";
    let pods: Vec<Value> = (0..2000)
        .map(|n| {
            let workload = format!("web-{}", n % 20);
            json!({"kind": "Pod", "apiVersion": "v1",
                "metadata": {"namespace": "shop", "name": format!("{workload}-5f6d-{n:05}"), "uid": format!("uid-{n}"),
                    "labels": {"pod-template-hash": "5f6d"}, "creationTimestamp": "2026-11-22T09:00:00Z",
                    "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{workload}-5f6d"), "uid": format!("rs-{workload}"), "controller": true}]},
                "spec": {"nodeName": format!("node-{}", n % 50), "containers": [{"name": "web", "image": image}]},
                "status": {"phase": "Pending", "startTime": "2026-11-22T09:00:00Z",
                    "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T09:00:00Z"}],
                    "containerStatuses": [{"name": "web", "image": image, "ready": false, "restartCount": 0, "state": {"waiting": {
                        "reason": "ImagePullBackOff", "message": format!("Back-off pulling image \"{image}\": ErrImagePull: rpc error: code = NotFound desc = {image}: not found")}}}]}})
        })
        .collect();
    let list = json!({"kind": "List", "apiVersion": "v1", "items": pods}).to_string();
    let run = with_input(&["diagnose", "-f", "-", "--now", "2026-11-22T10:00:00Z"], list.as_bytes());
    assert_eq!(run.code, 0, "{}", run.err);
    let lines: Vec<&str> = run.out.lines().filter(|l| l.starts_with("warning")).collect();
    assert_eq!(lines.len(), 1, "{}", run.out);
    assert!(lines[0].contains("2,000 pods"), "{}", lines[0]);
    assert!(run.out.lines().count() < 40, "{}", run.out);
}
