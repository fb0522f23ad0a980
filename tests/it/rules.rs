//! The user's own rules: what they do to findings, what is refused when they are loaded, and that none can do harm.

use jiff::Timestamp;
use kubehealer::diagnosis::{Context, Finding, Severity, Stage, diagnose};
use kubehealer::objects::{Event, Pod};
use kubehealer::rules::{Applied, RuleCounters, RuleSet};
use serde_json::{Value, json};

const NOW: &str = "2026-11-22T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn load(text: &str) -> RuleSet {
    RuleSet::load(&[("rules.yaml".into(), text.into())]).unwrap_or_else(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}

/// The message for a rule file that must be refused.
fn refused(text: &str) -> String {
    let errors = RuleSet::load(&[("rules.yaml".into(), text.into())]).expect_err("refused");
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One rule that raises `Holds` where the expression is true.
fn raising(when: &str) -> String {
    let when = serde_json::to_string(when).unwrap();
    format!(
        "rules:\n- name: holds\n  when: {when}\n  raise: {{reason: Holds, severity: warning, summary: it holds}}\n"
    )
}

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

/// A pod in a crash loop: killed with 137 for the third time, two minutes ago, without a memory limit.
fn crashing() -> Pod {
    pod(json!({
        "metadata": {
            "name": "cart-7d9f-x2x", "namespace": "payments", "uid": "u-1",
            "creationTimestamp": "2026-11-22T08:00:00Z",
            "labels": {"app": "cart", "team": "checkout", "pod-template-hash": "7d9f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-7d9f", "uid": "o-1", "controller": true}],
        },
        "spec": {
            "nodeName": "node-a",
            "containers": [{"name": "cart", "image": "registry.example/cart:1.2", "resources": {"requests": {"memory": "64Mi"}}}],
        },
        "status": {
            "phase": "Running", "startTime": "2026-11-22T08:00:05Z",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-22T09:58:00Z"}],
            "containerStatuses": [{
                "name": "cart", "image": "registry.example/cart:1.2", "restartCount": 3, "ready": false,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "Error", "startedAt": "2026-11-22T09:57:00Z", "finishedAt": "2026-11-22T09:58:00Z", "containerID": "containerd://abc"}},
            }],
        },
    }))
}

fn findings(pod: &Pod) -> Vec<Finding> {
    diagnose(pod, &Context::pod_only(), now()).findings
}

fn apply(rules: &str, pod: &Pod) -> Applied {
    load(rules).apply(pod, &[], findings(pod), now())
}

/// Whether an expression is true of the crashing pod; it must not fail.
fn holds(when: &str) -> bool {
    let applied = load(&raising(when)).apply(&crashing(), &[], findings(&crashing()), now());
    assert_eq!(applied.errors, [], "{when}");
    applied.findings.iter().any(|f| f.reason.as_str() == "Holds")
}

#[test]
fn no_rules_leave_findings_as_they_are() {
    let before = findings(&crashing());
    assert!(!before.is_empty());
    let applied = RuleSet::empty().apply(&crashing(), &[], before.clone(), now());
    assert_eq!(applied, Applied { findings: before, ..Applied::default() });
}

#[test]
fn a_rule_raises_a_finding_of_its_own() {
    let applied = apply(
        "
rules:
- name: killed-without-limit
  description: a limit would have said so
  match: {namespaces: [pay*], workloads: [Deployment/*], labels: {team: '*'}, containerTypes: [app]}
  when: >-
    has(container.lastState.terminated) && container.lastState.terminated.exitCode == 137
    && !('memory' in container.resources.limits)
  raise:
    reason: KilledWithoutLimit
    severity: critical
    summary: '{{ container.name }} was killed {{ container.restartCount }} times'
    nextSteps: ['kubectl -n {{ pod.metadata.namespace }} describe pod {{ pod.metadata.name }}']
    runbookUrl: https://runbooks.example/limits
    labels: {team: \"{{ pod.metadata.labels['team'] }}\"}
",
        &crashing(),
    );
    let raised = applied.findings.iter().find(|f| f.reason.as_str() == "KilledWithoutLimit").unwrap();
    assert_eq!(raised.severity, Severity::Critical);
    assert_eq!(raised.summary, "cart was killed 3 times");
    assert_eq!(raised.brief(), raised.summary, "what a list and an alert show");
    assert_eq!(raised.container, "cart");
    assert_eq!(raised.workload.as_ref().unwrap().kind, "Deployment");
    assert_eq!(raised.next_steps, ["kubectl -n payments describe pod cart-7d9f-x2x"]);
    assert_eq!(raised.runbook_url.as_deref(), Some("https://runbooks.example/limits"));
    assert_eq!(raised.labels, [("team".to_owned(), "checkout".to_owned())]);
    assert_eq!(raised.exit_code, Some(137));
    assert_eq!(applied.hits, [("killed-without-limit".into(), 1)]);
    assert_eq!(applied.errors, []);
}

#[test]
fn a_rule_changes_what_a_finding_says_and_weighs() {
    let applied = apply(
        "
rules:
- name: ours
  match: {reasons: [CrashLoopBackOff, OOMKilled]}
  change:
    severity: critical
    text: 'Ask {{ finding.workload.name }} people.'
    nextSteps: [call them]
    labels: {team: checkout}
    runbookUrl: https://runbooks.example/cart
",
        &crashing(),
    );
    let finding = &applied.findings[0];
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.summary.ends_with(" Ask cart people."), "{}", finding.summary);
    assert_eq!(finding.next_steps[0], "call them");
    assert_eq!(finding.labels, [("team".to_owned(), "checkout".to_owned())]);
    assert!(
        finding.evidence.iter().any(|e| e.text == "changed: severity warning to critical by the rule ours")
    );
}

#[test]
fn a_grace_holds_a_finding_back_until_it_is_over() {
    let rule = |grace: &str| format!("rules:\n- name: slow\n  change: {{grace: {grace}}}\n");
    let waiting = apply(&rule("24h"), &crashing());
    assert_eq!((waiting.findings[0].stage, waiting.findings[0].severity), (Stage::Pending, Severity::Info));
    let since = waiting.findings[0].since.unwrap();
    assert_eq!(waiting.recheck, Some(since + jiff::SignedDuration::from_hours(24)));
    let over = apply(&rule("1s"), &crashing());
    assert_eq!((over.findings[0].stage, over.findings[0].severity), (Stage::Active, Severity::Warning));
}

#[test]
fn an_ignored_finding_is_counted_and_never_silent() {
    let rules = load(
        "
rules:
- name: noisy
  match: {namespaces: [payments], reasons: ['*']}
  ignore: {comment: known since March}
",
    );
    let applied = rules.apply(&crashing(), &[], findings(&crashing()), now());
    assert_eq!(applied.findings, []);
    assert_eq!(applied.ignored, [("noisy".into(), 1)]);
    let mut counters = RuleCounters::default();
    counters.reloaded(&rules);
    counters.add(&applied);
    counters.add(&applied);
    let (name, counts) = counters.iter().next().unwrap();
    assert_eq!((name, counts.ignored, counts.findings, counts.errors), ("noisy", 2, 0, 0));
}

#[test]
fn a_rule_that_fails_is_told_once_and_the_others_go_on() {
    let rules = load(
        "
rules:
- name: fails
  when: container.state.running.startedAt < now
  raise: {reason: Never, severity: warning, summary: never}
- name: holds
  when: container.restartCount > 2
  raise: {reason: Holds, severity: warning, summary: '{{ container.state.running.startedAt }} is unknown'}
",
    );
    let applied = rules.apply(&crashing(), &[], vec![], now());
    assert_eq!(applied.findings.len(), 1);
    assert_eq!(applied.findings[0].summary, "? is unknown");
    assert_eq!(applied.errors.len(), 2);
    assert!(
        applied.errors[0].message.contains("running is not set: check it with has() first, at \"running"),
        "{:?}",
        applied.errors
    );
    let mut counters = RuleCounters::default();
    assert_eq!(counters.add(&applied).len(), 2);
    assert_eq!(counters.add(&applied).len(), 0);
    assert!(counters.iter().all(|(_, c)| c.errors == 2));
}

#[test]
fn rules_apply_in_order_and_see_what_earlier_ones_raised() {
    let applied = apply(
        "
rules:
- name: raises
  match: {reasons: [CrashLoopBackOff]}
  raise: {reason: Ours, severity: warning, summary: ours}
- name: changes
  match: {reasons: [Ours]}
  change: {severity: critical}
- name: ignores
  match: {reasons: [CrashLoopBackOff]}
  ignore: {comment: told by ours}
",
        &crashing(),
    );
    let left: Vec<_> = applied.findings.iter().map(|f| (f.reason.as_str(), f.severity)).collect();
    assert_eq!(left, [("Ours", Severity::Critical)]);
}

/// All true of the crashing pod.
const EXPRESSIONS: &[&str] = &[
    "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1 && 1.5 * 2.0 == 3.0",
    "'a' + 'b' == \"ab\" && 'abc'.size() == 3 && size('äö') == 2",
    "'payments'.startsWith('pay') && 'payments'.endsWith('ts') && 'payments'.contains('men')",
    "pod.metadata.namespace.matches('^pay.*$') && 'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
    "'a,b,c'.split(',') == ['a', 'b', 'c'] && ['a', 'b'].join('-') == 'a-b' && 'abc'.substring(1, 2) == 'b'",
    "'Hello'.lowerAscii() == 'hello' && ' x '.trim() == 'x' && 'aXbX'.replace('X', 'y', 1) == 'aybX'",
    "[1, 2, 3].exists(x, x == 2) && [1, 2].all(x, x > 0) && [1, 2].exists_one(x, x == 1)",
    "[1, 2, 3].filter(x, x > 1).map(x, x * 2) == [4, 6] && [1, 2, 3].map(x, x > 1, x) == [2, 3]",
    "[3, 1, 2].min() == 1 && [3, 1, 2].max() == 3 && [1, 2].sum() == 3 && [1, 2].isSorted() && [].size() == 0",
    "1 in [1, 2] && 'app' in pod.metadata.labels && pod.metadata.labels.app == 'cart'",
    "pod.metadata.labels['team'] == 'checkout' && !has(pod.metadata.labels.nothing)",
    "{'a': 1}['a'] == 1 && {'a': 1}.all(k, k == 'a')",
    "container.restartCount > 2 ? true : false",
    // One side that decides makes up for a failure of the other.
    "true || container.state.running.startedAt < now",
    "container.state.running.startedAt < now || true",
    "!(false && 1 / 0 == 1) && [0, 1].exists(x, 1 / x == 1)",
    "duration('1h30m') == duration('90m') && duration('90m').getHours() == 1",
    "timestamp('2026-11-22T10:00:00Z') == now && now - duration('1h') < now",
    "now - pod.metadata.creationTimestamp == duration('2h')",
    "now.getHours() == 10 && now.getHours('Europe/Berlin') == 11 && now.getHours('-02:30') == 7",
    "now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 22 && now.getDayOfMonth() == 21 && now.getDayOfWeek() == 0",
    "quantity('64Mi').isLessThan(quantity('1Gi')) && quantity('1Ki').asInteger() == 1024 && isQuantity('3m') && !isQuantity('x')",
    "quantity(container.resources.requests['memory']).compareTo(quantity('64Mi')) == 0",
    "int('7') == 7 && string(7) == '7' && double(1) == 1.0 && string(true) == 'true' && bool('true')",
    "container.state.waiting.reason == 'CrashLoopBackOff' && !has(container.state.running)",
    "container.type == 'app' && container.image.endsWith(':1.2') && container.name == 'cart'",
    "container.restartsWithin(duration('10m')) == 2 && container.restartsWithin(duration('3h')) == 3",
    "container.restartsWithin(duration('1m')) == 0",
    "pod.spec.containers[0].name == 'cart' && pod.spec.nodeName == 'node-a' && pod.status.phase == 'Running'",
    "pod.status.conditions.exists(c, c.type == 'Ready' && c.status == 'False')",
    "finding.reason == 'CrashLoopBackOff' && finding.severity == 'warning' && finding.exitCode == 137",
    "events.size() == 0",
];

#[test]
fn expressions_mean_what_cel_says() {
    for when in EXPRESSIONS {
        assert!(holds(when), "{when}");
    }
}

#[test]
fn nested_loops_and_growing_texts_end_within_their_budget() {
    let range = "[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]";
    let nested = format!("{range}.all(a, {range}.all(b, {range}.all(c, a + b + c >= 0)))");
    let product = format!("{range}.map(a, {range}.map(b, {range}.map(c, [a, b, c]))).size() > 0");
    let x = "x".repeat(100);
    let growing = format!("'x'{}.size() > 0", format!(".replace('x', '{x}')").repeat(12));
    for (when, says) in [(nested, "steps"), (product, "steps"), (growing, "builds a string of")] {
        let started = std::time::Instant::now();
        let applied = load(&raising(&when)).apply(&crashing(), &[], vec![], now());
        assert_eq!(applied.errors.len(), 1);
        assert!(applied.errors[0].message.contains(says), "{:?}", applied.errors);
        assert!(started.elapsed().as_millis() < 2000, "{:?}", started.elapsed());
    }
}

#[test]
fn an_error_points_at_its_place_in_the_file() {
    let message = refused(
        "rules:
- name: typo
  when: |
    true &&
      container.restartCout > 2
  raise: {reason: X, severity: warning, summary: x}
",
    );
    assert_eq!(
        message,
        "rules.yaml:5:17: rule typo: unknown field \"restartCout\" of container; did you mean \"restartCount\"?
 5 |       container.restartCout > 2
   |                 ^"
    );
}

#[test]
fn events_can_be_asked_about() {
    let event: Event = serde_json::from_value(json!({
        "type": "Warning", "reason": "BackOff", "message": "Back-off restarting", "count": 7,
        "lastTimestamp": "2026-11-22T09:59:00Z", "involvedObject": {"kind": "Pod", "uid": "u-1"},
    }))
    .unwrap();
    let rules = load(&raising(
        "events.exists(e, e.reason == 'BackOff' && e.count > 5 && now - e.lastTimestamp < duration('5m'))",
    ));
    assert_eq!(rules.apply(&crashing(), &[event], vec![], now()).findings.len(), 1);
}

fn kubehealer(args: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_kubehealer"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_shipped_example_is_well_formed_and_passes_its_own_tests() {
    let (code, out, _) = kubehealer(&["rules", "check", "examples/rules"]);
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = kubehealer(&["rules", "test", "examples/rules"]);
    assert_eq!(code, 0, "{out}");
    for entry in std::fs::read_dir("examples/rules").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".yaml").trim_end_matches("_test");
        assert!(out.contains(&format!("{stem}_test.yaml")), "{name} has no test that ran");
    }
}

#[test]
fn a_test_that_does_not_hold_fails_and_says_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::copy("examples/rules/known-exit-code.yaml", path("known-exit-code.yaml")).unwrap();
    let test = std::fs::read_to_string("examples/rules/known-exit-code_test.yaml").unwrap();
    let test = test
        .replace("expect: []", "expect: [{reason: OOMKilled}]")
        .replace("{reason: Error,", "{reason: Error, severity: critical,");
    std::fs::write(path("x_test.yaml"), test).unwrap();
    let junit = path("junit.xml");
    let (code, out, _) = kubehealer(&["rules", "test", &path("x_test.yaml"), "--junit", &junit]);
    assert_eq!(code, 1);
    assert!(out.contains("expected and not found: {\"reason\":\"OOMKilled\"}"), "{out}");
    assert!(out.contains("nearest is Error of batch/sync-abcde/sync: severity is \"info\""), "{out}");
    assert!(out.contains("found and not expected: Error of batch/sync-abcde/sync, info"), "{out}");
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"2\""), "{xml}");
    assert!(
        xml.contains(
            "<failure message=\"line 20: expected and not found: {&quot;reason&quot;:&quot;OOMKilled&quot;}"
        ),
        "{xml}"
    );
}

#[test]
fn check_names_every_mistake_with_its_place_and_exits_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    std::fs::write(&file, "rules:\n- name: one\n  wen: true\n  ignore: {}\n- name: one\n  when: 1\n")
        .unwrap();
    let (code, out, _) = kubehealer(&["rules", "check", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    for part in [
        ":3:3: rule one: unknown field \"wen\"",
        ":4:11: rule one: `ignore` needs a `comment`",
        ":5:9: rule one: a rule with this name already exists",
        ":6:9: rule one: a condition must be true or false; this is of type int",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let (code, _, err) = kubehealer(&["rules", "check", "nowhere.yaml"]);
    assert_eq!((code, err.contains("nowhere.yaml")), (2, true), "{err}");
}

#[test]
fn diagnose_applies_rules_and_says_what_they_have_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pods.json");
    let mut pod = serde_json::to_value(crashing()).unwrap();
    pod["kind"] = "Pod".into();
    std::fs::write(&file, pod.to_string()).unwrap();
    let rules = dir.path().join("rules.yaml");
    std::fs::write(
        &rules,
        "rules:\n- name: quiet\n  match: {reasons: [CrashLoopBackOff]}\n  ignore: {comment: known}\n",
    )
    .unwrap();
    let files = ["diagnose", "-f", file.to_str().unwrap(), "--now", NOW];
    let (_, without, _) = kubehealer(&files);
    assert!(without.contains("CrashLoopBackOff"), "{without}");
    let (_, with, _) = kubehealer(&[&files[..], &["--rules", rules.to_str().unwrap()]].concat());
    assert!(!with.contains("CrashLoopBackOff"), "{with}");
    assert!(with.contains("ignored by the rule quiet: 1 finding"), "{with}");
    // The examples, on the command line and from files alike.
    let (_, with, _) = kubehealer(&[&files[..], &["--rules", "examples/rules", "-o", "json"]].concat());
    assert!(with.contains("KilledWithoutLimit") && with.contains("RestartedTwice"), "{with}");
}

/// The bad files: name, text, and what must be said of it, as `line:column message`.
fn bad_files() -> Vec<(String, String, String)> {
    let mut files: Vec<_> = std::fs::read_dir("tests/data/rules/bad")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, read(&path), read(&path.with_extension("expect")).trim_end().to_owned())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_gets_a_clear_error_with_its_place_and_at_once() {
    let files = bad_files();
    assert!(files.len() >= 140, "{}", files.len());
    for (name, text, expected) in files {
        let started = std::time::Instant::now();
        let errors = RuleSet::load(&[(name.clone(), text)]).expect_err(&name);
        let took = started.elapsed();
        let (place, says) = expected.split_once(' ').unwrap();
        let found =
            errors.iter().any(|e| format!("{}:{}", e.line, e.column) == place && e.message.contains(says));
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(found, "{name}: {expected}\n{}", all.join("\n"));
        assert!(took.as_secs() < 5, "{name} took {took:?}");
    }
}

#[test]
fn files_that_are_too_large_are_refused_at_once() {
    let rule = |i| format!("- name: r{i}\n  when: 'true'\n  ignore: {{comment: x}}\n");
    let many: String = (0..1001).map(rule).collect();
    for (text, says) in [
        (format!("rules:\n{many}"), "more than 1000 rules"),
        (format!("# {}\nrules: []\n", "x".repeat(600_000)), "at most 524288 are read"),
        (format!("rules: [{}]\n", "1,".repeat(150_000)), "more than 100000 values"),
        (
            format!(
                "rules:\n- name: r\n  match: {{namespaces: [{}]}}\n  ignore: {{comment: x}}\n",
                "a,".repeat(200)
            ),
            "more than 100 items",
        ),
        (format!("{}x", "- ".repeat(2000)), "nested more than 48 deep"),
        (
            format!("rules:\n- name: r\n  when: {}\n  ignore: {{comment: x}}\n", "(".repeat(100_000)),
            "at most 4096 are allowed",
        ),
    ] {
        let started = std::time::Instant::now();
        let message = refused(&text);
        assert!(message.contains(says), "{says}: {}", &message[..message.len().min(500)]);
        assert!(message.len() < 100_000);
        assert!(started.elapsed().as_secs() < 10, "{says}: {:?}", started.elapsed());
    }
}

#[test]
fn a_file_that_is_cut_within_a_character_is_said_to_be_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.yaml");
    std::fs::write(&file, format!("#{}", "é".repeat(1 << 20))).unwrap();
    let (code, out, err) = kubehealer(&["rules", "check", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("large.yaml: larger than 1024 KiB: split it"), "{err}");
}

#[test]
fn a_pattern_that_would_make_others_backtrack_is_matched_in_time() {
    let mut pod = crashing();
    pod.status.message = "a".repeat(30_000);
    let rules =
        load(&raising("pod.status.message.matches('^(a+)+$') && !pod.status.message.matches('^(a|a)*b$')"));
    let started = std::time::Instant::now();
    let applied = rules.apply(&pod, &[], vec![], now());
    assert_eq!((applied.findings.len(), applied.errors.len()), (1, 0), "{:?}", applied.errors);
    assert!(started.elapsed().as_millis() < 1000, "{:?}", started.elapsed());
}

/// Loads a text and, if it is accepted, applies it: neither may panic or take long, and every error must point into the
/// file. Tells whether it was accepted.
fn survives(text: &str) -> bool {
    let started = std::time::Instant::now();
    let loaded = RuleSet::load(&[("fuzz.yaml".to_owned(), text.to_owned())]);
    let took = started.elapsed();
    assert!(took.as_secs() < 20, "{took:?} to load {text:?}");
    match loaded {
        Ok(rules) => {
            let started = std::time::Instant::now();
            let pod = crashing();
            let findings = findings(&pod);
            rules.apply(&pod, &[], findings, now());
            let took = started.elapsed();
            assert!(took.as_secs() < 10, "{took:?} to apply {text:?}");
            rules.describe().for_each(drop);
            true
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.lines().count() + 1;
            for error in errors {
                assert!((1..=lines + 1).contains(&error.line) && error.column >= 1, "{error:?} of {text:?}");
                assert!(!error.message.contains("fault of KubeHealer"), "{error} of {text:?}");
                assert!(!error.message.contains("the CEL parser failed"), "{error} of {text:?}");
                assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
            }
            false
        }
    }
}

/// All rule files that there are, good and bad.
fn corpus() -> Vec<String> {
    let mut all: Vec<String> = bad_files().into_iter().map(|(_, text, _)| text).collect();
    for entry in std::fs::read_dir("examples/rules").unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with("_test.yaml") {
            // Good ones weigh more, so that many bent files are still read to the end.
            let text = std::fs::read_to_string(path).unwrap();
            all.extend(std::iter::repeat_n(text, 20));
        }
    }
    all.extend(EXPRESSIONS.iter().map(|when| raising(when)));
    all
}

/// A small generator of random numbers, so that a failure can be repeated by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// A file of the corpus, bent in one to four places: characters changed, cut, doubled, words of the language put in,
/// pieces of other files put in, brackets piled up.
fn mutated(dice: &mut Dice, corpus: &[String]) -> String {
    const WORDS: &[&str] = &[
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "{{",
        "}}",
        "'",
        "\"",
        "\\",
        "|",
        ">",
        "&a",
        "*a",
        "!x",
        "? ",
        ": ",
        "- ",
        "#",
        "\n",
        "\t",
        " ",
        "true",
        "null",
        "1",
        "-1",
        "9223372036854775807",
        "1.5e308",
        "1u",
        "b'x'",
        "r'",
        "'''",
        "//",
        "&&",
        "||",
        "==",
        "in",
        "?",
        "!",
        "-",
        ".",
        ",",
        "pod",
        "container",
        "finding",
        "events",
        "now",
        ".map(x, x)",
        ".exists(e, e)",
        ".matches('(a*)*')",
        ".size()",
        "has(",
        "duration('",
        "timestamp('",
        "quantity('",
        ".replace('a', 'aa')",
        "pod.spec.containers",
        "labels",
        "\u{0}",
        "\u{7f}",
        "é",
        "😀",
        "\u{202e}",
        "\u{feff}",
        "rules:",
        "when:",
        "match:",
        "raise:",
        "change:",
        "ignore:",
        "name:",
        "%",
        "/",
        "%YAML 9",
        "---",
        "...",
    ];
    let mut text: Vec<char> = dice.pick(corpus).chars().collect();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(text.len() + 1);
        let end = (at + dice.roll(12)).min(text.len());
        match dice.roll(7) {
            0 => {
                text.drain(at..end);
            }
            1 => {
                let piece = text[at..end].to_vec();
                text.splice(at..at, piece.repeat(1 + dice.roll(40)));
            }
            2 => {
                let word = dice.pick(WORDS).repeat(1 + dice.roll(3));
                text.splice(at..at, word.chars());
            }
            3 => {
                let word = dice.pick(WORDS).repeat(dice.roll(400));
                text.splice(at..at, word.chars());
            }
            4 => {
                let other: Vec<char> = dice.pick(corpus).chars().collect();
                let from = dice.roll(other.len() + 1);
                let to = (from + dice.roll(80)).min(other.len());
                text.splice(at..end, other[from..to].iter().copied());
            }
            5 => text.truncate(at.max(1)),
            _ => {
                if at < text.len() {
                    text[at] = char::from_u32(dice.roll(0x250) as u32).unwrap_or('x');
                }
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn bent_rule_files_never_panic_or_stall() {
    let corpus = corpus();
    // As many as there is time for: RULES_FUZZ=100000 for a long run, RULES_SEED to repeat one.
    let rounds: usize = std::env::var("RULES_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let seed: u64 =
        std::env::var("RULES_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0x9e37_79b9_7f4a_7c15);
    let mut dice = Dice(seed);
    let (mut accepted, mut slowest) = (0, std::time::Duration::ZERO);
    for _ in 0..rounds {
        let text = mutated(&mut dice, &corpus);
        let started = std::time::Instant::now();
        accepted += usize::from(survives(&text));
        slowest = slowest.max(started.elapsed());
    }
    println!("{rounds} files, {accepted} accepted, slowest {slowest:?}");
    assert!(accepted > 0 && accepted < rounds);
}

/// A random expression of a type, well typed, over constants.
fn expression(dice: &mut Dice, of: &str, depth: usize) -> String {
    let leaf = depth == 0 || dice.roll(5) == 0;
    let mut sub = |of: &str| expression(dice, of, depth.saturating_sub(1));
    match of {
        "int" if leaf => ["0", "1", "2", "7", "-3", "100"][dice.roll(6)].to_owned(),
        "double" if leaf => ["0.0", "1.5", "-2.25", "8.0"][dice.roll(4)].to_owned(),
        "text" if leaf => ["''", "'a'", "'abcab'", "'äö'", "'A b'"][dice.roll(5)].to_owned(),
        "bool" if leaf => ["true", "false"][dice.roll(2)].to_owned(),
        "list" if leaf => ["[1]", "[1, 2, 3]", "[0, 7]"][dice.roll(3)].to_owned(),
        "int" => {
            let (a, b, t, l, c) = (sub("int"), sub("int"), sub("text"), sub("list"), sub("bool"));
            match dice.roll(9) {
                0 => format!("({a} + {b})"),
                1 => format!("({a} - {b})"),
                2 => format!("({a} * {b})"),
                3 => format!("({a} / {b})"),
                4 => format!("({a} % {b})"),
                5 => format!("size({t})"),
                6 => format!("{l}.size()"),
                7 => format!("({c} ? {a} : {b})"),
                _ => format!("{l}[{a}]"),
            }
        }
        "double" => {
            let (a, b, i) = (sub("double"), sub("double"), sub("int"));
            match dice.roll(4) {
                0 => format!("({a} + {b})"),
                1 => format!("({a} * {b})"),
                2 => format!("({a} - {b})"),
                _ => format!("double({i})"),
            }
        }
        "text" => {
            let (a, b, i, c) = (sub("text"), sub("text"), sub("int"), sub("bool"));
            match dice.roll(3) {
                0 => format!("({a} + {b})"),
                1 => format!("string({i})"),
                _ => format!("({c} ? {a} : {b})"),
            }
        }
        "list" => {
            let (a, b, i) = (sub("list"), sub("list"), sub("int"));
            match dice.roll(4) {
                0 => format!("({a} + {b})"),
                1 => format!("{a}.map(x, x * {i})"),
                2 => format!("{a}.filter(x, x > {i})"),
                _ => format!("[{i}, {i}]"),
            }
        }
        _ => {
            let (a, b, c, d) = (sub("bool"), sub("bool"), sub("int"), sub("int"));
            let (t, u, l, m, x, y) =
                (sub("text"), sub("text"), sub("list"), sub("list"), sub("double"), sub("double"));
            match dice.roll(16) {
                0 => format!("({a} && {b})"),
                1 => format!("({a} || {b})"),
                2 => format!("!{a}"),
                3 => format!("({c} < {d})"),
                4 => format!("({c} == {d})"),
                5 => format!("({c} in {l})"),
                6 => format!("{t}.startsWith({u})"),
                7 => format!("{t}.endsWith({u})"),
                8 => format!("{t}.contains({u})"),
                9 => format!("({t} >= {u})"),
                10 => format!("({l} == {m})"),
                11 => format!("({x} <= {y})"),
                12 => format!("{l}.all(x, x != {c})"),
                13 => format!("{l}.exists(x, x / {c} == {d})"),
                14 => format!("{l}.exists_one(x, x == {c})"),
                _ => format!("({a} ? {a} : {b})"),
            }
        }
    }
}

#[test]
fn expressions_have_the_value_that_another_interpreter_of_cel_gives_them() {
    let rounds: usize = std::env::var("RULES_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let pod = crashing();
    let mut seen = [0; 3];
    for _ in 0..rounds {
        let source = expression(&mut dice, "bool", 4);
        if source.len() > 4000 {
            continue;
        }
        let theirs = cel::Program::compile(&source).unwrap().execute(&cel::Context::default());
        let ours = match RuleSet::load(&[("r.yaml".into(), raising(&source))]) {
            Ok(rules) => rules.apply(&pod, &[], vec![], now()),
            // Deeper than is allowed.
            Err(errors) if errors[0].message.contains("nested more than") => continue,
            Err(errors) => panic!("{}", errors[0]),
        };
        match (&theirs, ours.findings.len(), ours.errors.len()) {
            (Ok(cel::Value::Bool(true)), 1, 0) => seen[0] += 1,
            (Ok(cel::Value::Bool(false)), 0, 0) => seen[1] += 1,
            (Err(_), 0, 1) => seen[2] += 1,
            _ => panic!("{source}\ntheirs: {theirs:?}\nours: {:?} {:?}", ours.findings.len(), ours.errors),
        }
    }
    println!("{rounds} expressions: {} true, {} false, {} failed in both", seen[0], seen[1], seen[2]);
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

/// A daemon that watches a simulated cluster, with rules, at a fixed time.
async fn daemon(
    cluster: &kubehealer::simulator::Cluster,
    rules: RuleSet,
    files: Vec<std::path::PathBuf>,
    now: Timestamp,
) -> kubehealer::daemon::Running {
    use kubehealer::daemon::{Settings, Target, start};
    let mut settings =
        Settings::new(Target::Client(kubehealer::simulator::client(cluster), "a simulation".into()));
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.clock = std::sync::Arc::new(move || now);
    settings.rules = std::sync::Arc::new(rules);
    settings.rule_files = files;
    start(settings).await.unwrap()
}

/// Asks again and again, for half a minute, until the answer will do.
async fn wait_for(
    running: &kubehealer::daemon::Running,
    path: &str,
    what: &str,
    will_do: impl Fn(&str) -> bool,
) -> String {
    let mut answer = String::new();
    for _ in 0..300 {
        answer = super::daemon::get(running, path).await.1;
        if will_do(&answer) {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{what}: {answer}");
}

/// Reason, pod, container and severity of each finding, sorted.
fn named(findings: &Value) -> Vec<String> {
    let word = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|f| ["reason", "pod", "container", "severity"].map(|key| word(f, key)).join(" "))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_example_does_the_same_in_the_daemon_as_from_files() {
    let mut cases = 0;
    for entry in std::fs::read_dir("examples/rules").unwrap() {
        let path = entry.unwrap().path();
        if !kubehealer::files::rules::is_test_file(&path) {
            continue;
        }
        let tests = kubehealer::rules::read_tests("test", &std::fs::read_to_string(&path).unwrap()).unwrap();
        let rules: Vec<_> = tests.rules.iter().map(|r| path.with_file_name(r)).collect();
        for case in tests.cases {
            let now = case.now.unwrap();
            let load = || RuleSet::load(&kubehealer::files::rules::read_rules(&rules).unwrap()).unwrap();
            let list = json!({"kind": "List", "items": case.objects}).to_string();
            let dump = kubehealer::files::read(&["-".into()], std::io::Cursor::new(list));
            let expected = load().survey(&dump.snapshot, now, |_| {}).findings;
            let expected = named(&serde_json::to_value(expected).unwrap());

            let cluster = kubehealer::simulator::Cluster::new();
            cluster.set_clock(now, 0.0);
            for object in &case.objects {
                cluster.apply(object.clone()).unwrap();
            }
            let running = daemon(&cluster, load(), Vec::new(), now).await;
            wait_for(&running, "/readyz", "ready", |a| a.starts_with("ok")).await;
            wait_for(&running, "/api/v1/diagnosis", &format!("{}: {expected:?}", case.name), |answer| {
                let document: Value = serde_json::from_str(answer).unwrap();
                named(&document["findings"]) == expected
            })
            .await;
            running.stop().await;
            cases += 1;
        }
    }
    assert!(cases >= 14, "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_file_is_put_in_force_and_a_bad_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yaml");
    let rule = |reason: &str| {
        format!(
            "rules:\n- name: all\n  when: container.restartCount > 0\n  raise: {{reason: {reason}, severity: critical, summary: restarted}}\n- name: broken\n  when: container.state.terminated.exitCode == 1\n  raise: {{reason: Never, severity: info, summary: never}}\n"
        )
    };
    std::fs::write(&file, rule("First")).unwrap();
    let files = vec![file.clone()];
    let rules = RuleSet::load(&kubehealer::files::rules::read_rules(&files).unwrap()).unwrap();
    let cluster = kubehealer::simulator::Cluster::new();
    cluster.set_clock(now(), 0.0);
    // A healthy pod that was restarted long ago: at rest as far as the analyzer goes.
    cluster
        .apply(json!({
            "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-11-01T00:00:00Z"},
            "spec": {"nodeName": "n", "containers": [{"name": "web", "image": "web:1"}]},
            "status": {
                "phase": "Running", "startTime": "2026-11-01T00:00:00Z", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "web", "ready": true, "started": true, "restartCount": 1, "state": {"running": {"startedAt": "2026-11-02T00:00:00Z"}}}],
            },
        }))
        .unwrap();
    let running = daemon(&cluster, rules, files, now()).await;
    let raised = |reason: &'static str| {
        move |a: &str| a.lines().any(|l| l.starts_with("kubehealer_pod_unhealthy{") && l.contains(reason))
    };
    let metrics = wait_for(&running, "/metrics", "the first rule", raised("First")).await;
    for line in [
        "kubehealer_rules_loaded 2",
        "kubehealer_rules_last_reload_successful 1",
        "kubehealer_rules_reload_errors_total 0",
        "kubehealer_rule_ignored_total{rule=\"all\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
    // Once per look, and the pod may have been looked at again with its events.
    let errors =
        metrics.lines().find_map(|l| l.strip_prefix("kubehealer_rule_errors_total{rule=\"broken\"} "));
    assert!(errors.unwrap().parse::<u32>().unwrap() > 0, "{metrics}");

    std::fs::write(&file, "rules:\n- name: all\n  when: nonsense\n  ignore: {comment: x}\n").unwrap();
    let refused = |a: &str| a.contains("kubehealer_rules_reload_errors_total 1");
    let metrics = wait_for(&running, "/metrics", "the bad version", refused).await;
    assert!(raised("First")(&metrics), "the old version stays in force: {metrics}");
    assert!(metrics.contains("kubehealer_rules_last_reload_successful 0"), "{metrics}");
    assert!(metrics.contains("kubehealer_rules_loaded 2"), "{metrics}");

    std::fs::write(&file, rule("Second")).unwrap();
    let metrics = wait_for(&running, "/metrics", "the good version", raised("Second")).await;
    assert!(metrics.contains("kubehealer_rules_last_reload_successful 1"), "{metrics}");
    running.stop().await;
}

#[cfg(unix)]
#[test]
fn a_config_map_that_is_swapped_is_read_anew() {
    use kubehealer::daemon::rules::{Reload, ReloadingRules};
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let version = |name: &str, text: &str| {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("rules.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    version("..1", "rules:\n- name: one\n  match: {namespaces: a}\n  ignore: {comment: x}\n");
    std::os::unix::fs::symlink("..data/rules.yaml", at("rules.yaml")).unwrap();
    let paths = vec![dir.path().to_owned()];
    let rules = RuleSet::load(&kubehealer::files::rules::read_rules(&paths).unwrap()).unwrap();
    let mut reloading = ReloadingRules::new(paths, &rules);
    assert!(matches!(reloading.poll(), Reload::Same));
    version("..2", "rules:\n- name: two\n  match: {namespaces: a}\n  ignore: {comment: x}\n");
    assert!(matches!(reloading.poll(), Reload::New(rules) if rules.names().any(|n| &**n == "two")));
    version("..3", "rules: [");
    assert!(
        matches!(reloading.poll(), Reload::Refused(why) if why.contains("rules.yaml:1:8: not valid YAML"))
    );
    // Said once.
    assert!(matches!(reloading.poll(), Reload::Same));
    std::fs::remove_file(at("rules.yaml")).unwrap();
    assert!(matches!(reloading.poll(), Reload::Refused(why) if why.contains("no *.yaml files")));
}

#[test]
fn the_first_steps_of_the_manual_work_as_they_are_written() {
    let manual = std::fs::read_to_string("docs/rules.md").unwrap();
    let blocks: Vec<&str> =
        manual.split("```yaml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("restarts.yaml"), blocks[0]).unwrap();
    std::fs::write(dir.path().join("restarts_test.yaml"), blocks[1]).unwrap();
    let path = dir.path().to_str().unwrap();
    let (code, out, _) = kubehealer(&["rules", "check", path]);
    assert_eq!((code, out.contains("1 rule")), (0, true), "{out}");
    let (code, out, _) = kubehealer(&["rules", "test", path]);
    assert_eq!((code, out.ends_with("1 test, no errors\n")), (0, true), "{out}");
    // The mistake that it shows gives the message that it shows.
    std::fs::write(dir.path().join("restarts.yaml"), blocks[0].replace("restartsWithin", "restartWithin"))
        .unwrap();
    let (code, out, _) = kubehealer(&["rules", "check", path]);
    let shown =
        manual.split("$ kubehealer rules check rules/\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!((code, out.replace(path, "rules").as_str()), (1, shown));
}
