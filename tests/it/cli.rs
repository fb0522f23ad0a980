//! The command line, through the binary: exit codes, words, what reaches stdout and what stderr.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

#[allow(dead_code, reason = "what the build script does besides")]
#[path = "../../build.rs"]
mod build;

pub const FINAL: &str = "tests/data/recordings/final";

/// What a run of the binary gave.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubehealer"));
    // Neither the developer's cluster nor terminal may change what is tested.
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    command.env("HOME", "/nonexistent").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

pub fn kubehealer(args: &[&str]) -> Run {
    run(command().args(args).output().unwrap())
}

pub fn kubehealer_with(variables: &[(&str, &std::ffi::OsStr)], args: &[&str]) -> Run {
    run(command().envs(variables.iter().copied()).args(args).output().unwrap())
}

pub fn with_input(args: &[&str], input: &[u8]) -> Run {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    run(output)
}

pub fn run(output: Output) -> Run {
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn diagnosis(args: &[&str]) -> Value {
    let run = kubehealer(&[&["diagnose", "-o", "json"], args].concat());
    assert!(run.code == 0, "{}", run.err);
    serde_json::from_str(&run.out).unwrap()
}

/// A directory that is gone afterwards.
pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

/// The recorded pods, each with its kind, as kubectl prints single ones.
fn recorded_pods() -> Vec<Value> {
    let mut list: Value = serde_json::from_slice(&recorded("pods.json")).unwrap();
    let mut items = list["items"].as_array_mut().map(std::mem::take).unwrap();
    for item in &mut items {
        item["kind"] = json!("Pod");
        item["apiVersion"] = json!("v1");
    }
    items
}

fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(FINAL).join(name)).unwrap()
}

/// One recorded pod.
fn recorded_pod(prefix: &str) -> Value {
    recorded_pods().into_iter().find(|p| p["metadata"]["name"].as_str().unwrap().starts_with(prefix)).unwrap()
}

#[test]
fn every_subcommand_has_help_and_an_unknown_one_is_refused() {
    for command in ["watch", "diagnose", "dump", "wait", "explain", "rules", "demo", "mcp", "completions"] {
        let run = kubehealer(&[command, "--help"]);
        assert_eq!(run.code, 0, "{command}");
        assert!(run.out.contains("Usage: kubehealer"), "{command}");
    }
    assert!(kubehealer(&["--help"]).out.contains("\n  man "));
    for args in [&["watsh"][..], &["diagnose", "--unknown"], &["diagnose", "--fail-on", "bad"], &[]] {
        let run = kubehealer(args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(run.out.is_empty() && !run.err.is_empty(), "{args:?}");
    }
}

#[test]
fn every_reason_is_explained_and_a_misspelt_one_is_guessed() {
    let list = kubehealer(&["explain"]);
    assert_eq!(list.code, 0);
    for reason in kubehealer::diagnosis::Reason::ALL {
        assert!(list.out.contains(reason.as_str()), "{reason}");
        let run = kubehealer(&["explain", &reason.as_str().to_lowercase()]);
        assert_eq!(run.code, 0, "{reason}: {}", run.err);
        assert!(run.out.starts_with(&format!("{reason}\n")), "{reason}: {}", run.out);
        assert!(!run.out.contains("```") && !run.out.contains("**"), "{reason}");
    }
    assert!(kubehealer(&["explain", "ErrImagePull"]).out.contains("form of ImagePullBackOff"));
    for (wrong, words) in [
        ("OOMKiled", "did you mean OOMKilled"),
        ("crashloop", "did you mean CrashLoopBackOff"),
        ("MisingSecret", "did you mean MissingSecret"),
        ("ContainerCrashLoping", "did you mean ContainerCrashLooping"),
        ("Terminatin", "did you mean Terminating"),
        ("zzz", "lists all"),
    ] {
        let run = kubehealer(&["explain", wrong]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{wrong}");
        assert!(run.err.contains(words), "{wrong}: {}", run.err);
    }
    let guess = kubehealer(&["explain", "pull"]).err;
    assert_eq!(guess.matches("ImagePullBackOff").count(), 1, "one reason is named once: {guess}");
}

#[test]
fn what_people_call_a_failure_leads_to_its_reasons_and_causes() {
    for (said, first) in [
        ("out of memory", "OOMKilled"),
        ("dns", "DependencyNameNotResolved"),
        ("no such host", "DependencyNameNotResolved"),
        ("connection refused", "DependencyUnreachable"),
        ("disk full", "NodeDiskFull"),
        ("certificate", "RegistryTlsError"),
        ("no space left", "NodeDiskFull"),
        ("no space left on device", "NodeDiskFull"),
        ("0/2 nodes", "Unschedulable"),
        ("0/2 nodes are available: 2 Insufficient cpu.", "Unschedulable"),
        ("secret does not exist", "MissingSecret"),
    ] {
        let run = kubehealer(&["explain", said]);
        assert_eq!(run.code, 0, "{said}: {}", run.err);
        let mut lines = run.out.lines().filter(|line| !line.is_empty());
        assert!(lines.next().unwrap().contains(said), "{said}: {}", run.out);
        let row = lines.next().unwrap();
        assert!(row.trim_start().starts_with(&format!("{first} ")), "{said}: {}", run.out);
        assert!(run.out.contains(&format!("More: kubehealer explain {first}")), "{said}: {}", run.out);
    }
    let denied = kubehealer(&["explain", "permission denied"]);
    assert!(denied.out.starts_with("PermissionDenied: a cause"), "{}{}", denied.out, denied.err);
    assert!(kubehealer(&["explain", "crash loop back-off"]).out.starts_with("CrashLoopBackOff\n"));
    let quota = kubehealer(&["explain", "quota"]);
    assert!(quota.err.contains("did you mean QuotaExceeded?"), "{}{}", quota.out, quota.err);
}

#[test]
fn causes_alerts_exit_codes_and_the_words_of_kubectl_are_explained_in_a_few_lines() {
    let explain = |words: &[&str]| {
        let run = kubehealer(&[&["explain"], words].concat());
        assert_eq!(run.code, 0, "{words:?}: {}", run.err);
        let lines = run.out.lines().filter(|line| !line.trim().is_empty()).count();
        assert!((3..=12).contains(&lines), "{words:?}: {lines} lines\n{}", run.out);
        let braces = run.out.replace("up{cluster", "");
        assert!(!braces.contains('{') || braces.contains("{."), "{words:?}: {}", run.out);
        run.out
    };
    // Some causes have the name of their reason, whose runbook is printed.
    let reason =
        |code: &str| kubehealer::diagnosis::Reason::ALL.iter().any(|r| r.as_str().eq_ignore_ascii_case(code));
    for code in kubehealer::diagnosis::CauseCode::ALL.iter().filter(|code| !reason(code.as_str())) {
        assert!(
            explain(&[&code.as_str().to_lowercase()]).starts_with(&format!("{code}: a cause\n")),
            "{code}"
        );
    }
    let secret = explain(&["MissingSecret"]);
    assert!(secret.contains("A Secret does not exist") && secret.contains("Reasons: "), "{secret}");
    let rules = include_str!("../../charts/kubehealer/files/alerts.yaml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 35);
    for alert in alerts.into_iter().filter(|alert| !reason(alert)) {
        assert!(explain(&[alert]).starts_with(&format!("{alert}: an alert (")), "{alert}");
    }
    assert!(explain(&["mute"]).contains("kubehealer.dev/mute-until=TIME"));
    let line = |word: &str| explain(&[word]).split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["critical", "warning", "info"] {
        assert!(line(word).contains("critical: a whole workload or node is down"), "{word}");
    }
    for word in ["confirmed", "Probable", "possible", "likely"] {
        assert!(line(word).contains("possible: one of several explanations"), "{word}");
    }
    let init = line("Init:Error");
    assert!(init.contains("depends on the pod's restartPolicy") && !init.contains("will not be"), "{init}");
    let code = line("128");
    assert!(code.contains("StartError") && code.contains("the program itself exited with 128"), "{code}");
    let killed = explain(&["137"]);
    assert!(killed.contains("OOMKilled") && killed.contains("128 + 9"), "{killed}");
    for same in [&["SIGKILL"][..], &["exit", "137"], &["exit code 137"], &["sigkill"]] {
        assert_eq!(explain(same), killed, "{same:?}");
    }
    for word in [
        "Pending",
        "ContainerCreating",
        "Back-off",
        "Init:Error",
        "Init:CrashLoopBackOff",
        "Init:0/2",
        "Completed",
        "Terminating",
        "Unhealthy",
        "BackOff",
        "FailedScheduling",
        "FailedMount",
        "NetworkNotReady",
        "143",
        "1",
    ] {
        let text = explain(&[word]);
        assert!(text.contains("kubectl ") || text.contains("kubehealer diagnose"), "{word}: {text}");
        let named = text.rsplit_once("kubehealer explain ").unwrap().1.trim();
        assert_eq!(kubehealer(&["explain", named]).code, 0, "{word} names {named}");
    }
}

#[test]
fn a_long_report_ends_on_the_worst_and_a_pipe_gets_whole_names() {
    let mut command = command();
    command.args(["diagnose", "-f", FINAL]).env_remove("COLUMNS");
    let piped = run(command.output().unwrap()).out;
    let rows: Vec<&str> = piped.lines().skip_while(|l| !l.starts_with("SEVERITY")).skip(1).collect();
    let table: Vec<&str> = rows.iter().copied().take_while(|l| !l.is_empty()).collect();
    assert!(table.len() > 10 && table.iter().all(|row| !row.contains('…')), "{piped}");
    let end: Vec<&str> = piped.lines().rev().take(5).collect();
    assert!(end[4].starts_with("Worst first:") && end[3].starts_with("SEVERITY"), "{end:?}");
    for (row, first) in end.iter().take(3).rev().zip(&table) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(row), words(first));
    }
    let short = kubehealer(&["diagnose", "-f", FINAL, "-n", "shop", "deployment/cart"]).out;
    assert!(!short.contains("The worst"), "{short}");
    // At 80 columns names give way, which the details repeat; codes do not.
    let narrow =
        run(self::command().args(["diagnose", "-f", FINAL]).env("COLUMNS", "80").output().unwrap()).out;
    for row in narrow.lines().skip_while(|l| !l.starts_with("SEVERITY")).skip(1).take_while(|l| !l.is_empty())
    {
        assert!(row.chars().count() <= 80 && !row.ends_with('…'), "{row}");
    }
}

#[test]
fn the_version_of_a_release_has_its_commit_from_git_the_archive_or_whoever_builds() {
    let folder = folder(&[]);
    let git = |args: &[&str]| {
        let git = Command::new("git").arg("-C").arg(folder.path()).args(args).output().unwrap();
        assert!(git.status.success(), "{git:?}");
    };
    let commit = |place: &Path| build::commit(place, Some(String::new()));
    assert_eq!(commit(folder.path()), None);
    git(&["init", "-q"]);
    assert_eq!(commit(folder.path()), None, "nothing is committed yet");
    let who = ["-c", "user.name=me", "-c", "user.email=me@example.com"];
    git(&[&who[..], &["commit", "-q", "--allow-empty", "-m", "first"]].concat());
    let own = commit(folder.path()).unwrap();
    let (hash, date) = own.split_once(' ').unwrap();
    assert!(hash.len() == 12 && date.parse::<jiff::civil::Date>().is_ok(), "{own}");
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    assert_eq!(commit(&unpacked), None, "that repository is another program's");
    let archived = "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  },\n  \"path_in_vcs\": \"\"\n}";
    std::fs::write(unpacked.join(".cargo_vcs_info.json"), archived).unwrap();
    assert_eq!(commit(&unpacked).as_deref(), Some("0123456789ab"), "as cargo package writes it");
    let given = build::commit(&unpacked, Some("fedcba987654 2026-12-01\n".to_owned()));
    assert_eq!(given.as_deref(), Some("fedcba987654 2026-12-01"), "as the build of the image gives it");
    let run = kubehealer(&["--version"]);
    assert!(run.out.starts_with(concat!("kubehealer ", env!("CARGO_PKG_VERSION"))), "{}", run.out);
}

#[test]
fn the_exit_code_tells_whether_something_is_at_or_above_the_limit() {
    let code = |args: &[&str]| kubehealer(&[&["diagnose", "-f", FINAL], args].concat()).code;
    assert_eq!(code(&[]), 0, "findings alone are no failure");
    assert_eq!(code(&["--fail-on", "warning"]), 1);
    assert_eq!(code(&["--fail-on", "info"]), 1);
    assert_eq!(code(&["web-b6cf745ff", "-n", "shop", "--fail-on", "info"]), 0, "a healthy workload");
    // What --reason and --severity leave out is not judged either.
    assert_eq!(code(&["--reason", "OOMKilled", "--fail-on", "warning"]), 1);
    assert_eq!(code(&["--reason", "OOMKilled", "--fail-on", "critical"]), 0);
    let args =
        ["diagnose", "-f", FINAL, "--reason", "Evicted", "--severity", "critical", "--fail-on", "info"];
    let run = kubehealer(&args);
    assert_eq!(run.code, 0, "{}", run.out);
    assert!(run.out.contains("hidden by --severity or --reason, also from --fail-on"), "{}", run.out);
    let help = kubehealer(&["diagnose", "--help"]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("of those that --reason and --severity select"), "{help}");
}

#[test]
fn what_cannot_be_read_is_said_in_one_line_with_a_hint() {
    let pods = recorded("pods.json");
    let folder = folder(&[
        ("empty.json", b""),
        ("blank.json", b"  \n\n"),
        ("cut.json", pods.get(..50_000).unwrap()),
        ("binary", b"\x7fELF\x00\x00\x01"),
        ("packed.gz", b"\x1f\x8b\x08\x00"),
        ("table.txt", b"NAME     READY   STATUS\ncart-1   0/1     CrashLoopBackOff\n"),
        ("numbers.json", b"[1, 2, 3]"),
        ("other.json", b"{\"password\": \"hunter2\"}"),
        ("broken.yaml", b"kind: Pod\n  token: [hunter2\n"),
        ("nothing/readme.md", b"# nothing"),
    ]);
    for (name, words) in [
        ("missing.json", "no such file"),
        ("empty.json", "empty"),
        ("blank.json", "empty"),
        ("cut.json", "ends in the middle of a JSON document"),
        ("binary", "binary"),
        ("packed.gz", "cut off"),
        ("table.txt", "a table of kubectl get"),
        ("numbers.json", "no Kubernetes objects"),
        ("other.json", "no Kubernetes objects"),
        ("broken.yaml", "neither JSON nor YAML"),
        ("nothing", "no Kubernetes objects"),
    ] {
        let path = folder.path().join(name);
        let run = kubehealer(&["diagnose", "-f", path.to_str().unwrap()]);
        assert_eq!(run.code, 2, "{name}");
        assert!(run.out.is_empty(), "{name}");
        let first = run.err.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("kubehealer: ") && first.contains(name) && first.contains(words),
            "{name}: {}",
            run.err
        );
        assert!(
            run.err.lines().nth(1).is_some_and(|l| l.trim_start().starts_with("hint: ")),
            "{name}: {}",
            run.err
        );
        assert!(!run.err.contains("hunter2"), "{name}: {}", run.err);
    }
}

#[test]
fn a_broken_file_among_others_is_named_and_the_rest_is_looked_at() {
    let folder = folder(&[
        ("pods.json", &recorded("pods.json")),
        ("events.json", recorded("events.json").get(..9999).unwrap()),
    ]);
    let run = kubehealer(&["diagnose", "-f", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, 2, "part of it could not be looked at");
    assert!(run.out.contains("OOMKilled"));
    assert!(run.err.contains("events.json"), "{}", run.err);
    assert!(run.out.contains("not read:"), "{}", run.out);
}

#[test]
fn the_same_pods_give_the_same_findings_in_every_form() {
    let items = recorded_pods();
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items});
    let lines = |wrap: fn(&Value) -> Value| -> Vec<u8> {
        items.iter().map(|item| wrap(item).to_string() + "\n").collect::<String>().into_bytes()
    };
    let pretty: String =
        items.iter().map(|item| serde_json::to_string_pretty(item).unwrap() + "\n").collect();
    let yaml: String =
        items.iter().map(|item| format!("---\n{}", serde_saphyr::to_string(item).unwrap())).collect();
    let one_yaml = serde_saphyr::to_string(&list).unwrap();
    let bare: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut item = item.clone();
            item.as_object_mut().unwrap().remove("kind");
            item.as_object_mut().unwrap().remove("apiVersion");
            item
        })
        .collect();
    let raw = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": bare}).to_string();
    let reversed: Vec<&Value> = items.iter().rev().collect();
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(list.to_string().encode_utf16().flat_map(u16::to_le_bytes)).collect();

    let expected = with_input(&["diagnose", "-f", "-", "-o", "json"], list.to_string().as_bytes());
    assert!(expected.out.contains("OOMKilled"), "{}", expected.err);
    for (form, input) in [
        ("NDJSON", lines(Value::clone)),
        ("a watch", lines(|item| json!({"type": "ADDED", "object": item}))),
        ("one after the other", pretty.into_bytes()),
        ("an array", serde_json::to_vec(&items).unwrap()),
        ("reversed", serde_json::to_vec(&reversed).unwrap()),
        ("the API's own list", raw.into_bytes()),
        ("YAML documents", yaml.into_bytes()),
        ("a YAML list", one_yaml.into_bytes()),
        ("UTF-16", utf16),
    ] {
        let run = with_input(&["diagnose", "-f", "-", "-o", "json"], &input);
        assert_eq!(run.code, 0, "{form}: {}", run.err);
        assert!(run.out == expected.out, "{form} differs");
    }
}

#[test]
fn of_a_watch_the_newest_state_counts_and_the_deleted_are_gone() {
    let mut pod = recorded_pod("trainer-");
    let line = |kind: &str, pod: &Value| json!({"type": kind, "object": pod}).to_string() + "\n";
    let failing = line("ADDED", &pod);
    let deleted = line("DELETED", &pod);
    pod["status"] = json!({"phase": "Running"});
    pod["metadata"]["resourceVersion"] = json!("99999999");
    let healed = line("MODIFIED", &pod);
    let bookmark =
        "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{}}}\n";

    let look = |lines: &[&str]| {
        let run = with_input(&["diagnose", "-f", "-", "-o", "json"], lines.concat().as_bytes());
        assert_eq!(run.code, 0, "{}", run.err);
        let value: Value = serde_json::from_str(&run.out).unwrap();
        (value["summary"]["pods"].as_u64().unwrap(), value["summary"]["unhealthyPods"].as_u64().unwrap())
    };
    assert_eq!(look(&[&failing, bookmark]), (1, 1));
    assert_eq!(look(&[&failing, &healed]), (1, 0));
    assert_eq!(look(&[&healed, &failing]), (1, 0), "an older state that comes later");
    assert_eq!(look(&[&failing, &deleted]), (0, 0));
    // Cut off in the middle of a line, as Ctrl-C leaves it.
    let run =
        with_input(&["diagnose", "-f", "-"], [&failing, healed.get(..200).unwrap()].concat().as_bytes());
    assert_eq!(run.code, 0);
    assert!(
        run.out.contains("OOMKilled") && run.out.contains("skipped: standard input, line 2"),
        "{}",
        run.out
    );
}

#[test]
fn now_is_the_newest_time_in_the_data_and_not_a_deletion_a_day_ahead() {
    // stream-consumer's grace period ends a day later.
    let value = diagnosis(&["-f", FINAL]);
    let observed = value["observedAt"].as_str().unwrap();
    assert!(observed.starts_with("2026-11-22T11:23:1"), "{observed}");
    let value = diagnosis(&["-f", FINAL, "--now", "2026-11-22T12:00:00Z"]);
    assert_eq!(value["observedAt"], "2026-11-22T12:00:00Z");
}

#[test]
fn secrets_and_configmaps_in_a_dump_are_passed_over_unread() {
    let dump = json!({"kind": "List", "apiVersion": "v1", "items": [
        {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "db"}, "data": {"password": "aHVudGVyMg=="}},
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "app"}, "data": 7},
        {"kind": "Job", "apiVersion": "batch.volcano.sh/v1alpha1", "metadata": {"name": "other"}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "hostile", "namespace": "shop", "uid": "1"},
         "spec": {"containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}, "status": 7},
        null, 3, "text"
    ]});
    let run = with_input(&["diagnose", "-f", "-", "-o", "json"], dump.to_string().as_bytes());
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(!run.out.contains("hunter2") && !run.out.contains("aHVudGVyMg"));
    let value: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(value["summary"]["pods"], 1);
    assert_eq!(value["sources"]["owners"], false, "another group's Job is none of Kubernetes'");
}

#[test]
fn what_is_asked_for_is_found_by_name_kind_namespace_and_label() {
    let names = |args: &[&str]| -> Vec<String> {
        let value = diagnosis(&[&["-f", FINAL], args].concat());
        let findings = value["findings"].as_array().unwrap();
        let mut names: Vec<String> =
            findings.iter().map(|f| f["pod"].as_str().unwrap_or("").to_owned()).collect();
        names.dedup();
        names
    };
    let cart = ["cart-874c48df9-2zw2s", "cart-874c48df9-69t6r"];
    assert_eq!(names(&["cart-874c48df9-2zw2s"]), cart.get(..1).unwrap());
    for args in [
        &["deployment/cart"][..],
        &["deploy/cart", "-n", "shop"],
        &["rs/cart-874c48df9"],
        &["cart-874c48df9"],
    ] {
        let found: Vec<String> = names(args).into_iter().filter(|n| !n.is_empty()).collect();
        assert_eq!(found, cart, "{args:?}");
    }
    assert_eq!(names(&["sts/broker"]).len(), 2);
    assert!(names(&["cronjob/sync-prices"]).iter().any(|n| n.starts_with("sync-prices-")));
    assert!(names(&["-n", "ml"]).iter().any(|n| n.starts_with("trainer-")));
    assert_eq!(names(&["-l", "app=cart"]), cart);

    let run = kubehealer(&["diagnose", "-f", FINAL, "deployment/crat"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("deployment/crat: not found"), "{}", run.err);
    assert!(run.err.contains("did you mean deployment/cart"), "{}", run.err);
    let run = kubehealer(&["diagnose", "-f", FINAL, "-n", "shop", "service/cart"]);
    assert!(
        run.code == 2 && run.err.contains("service/cart: Services are not read from files"),
        "{}",
        run.err
    );
    assert!(run.err.contains("hint: did you mean deployment/cart?\n"), "{}", run.err);
    let run = kubehealer(&["diagnose", "-f", FINAL, "-n", "shop", "service/zzz"]);
    assert!(
        run.code == 2 && run.err.contains("hint: name its workload, or select its pods: -l KEY=VALUE\n"),
        "{}",
        run.err
    );
}

#[test]
fn a_name_that_is_not_found_is_guessed_by_its_own_letters() {
    for (args, hint) in [
        (
            &["foo/bar"][..],
            "foo is neither a kind nor a namespace with pods; write POD, KIND/NAME or NAMESPACE/POD",
        ),
        (
            &["prod/cart"],
            "prod is neither a kind nor a namespace with pods; write POD, KIND/NAME or NAMESPACE/POD",
        ),
        (&["deploymnt/cart"], "did you mean deployment/cart?"),
        (&["shpo/cart"], "did you mean shop/cart?"),
        (&["deployment", "crat"], "did you mean deployment/cart?"),
        (&["-n", "shop", "crat"], "did you mean deployment/cart?"),
        (&["-n", "shop", "statefulset/cart"], "did you mean deployment/cart?"),
        (&["-n", "shpo", "cart"], "did you mean namespace shop?"),
        (&["-n", "payments", "deployment/cart"], "is it in another namespace? -A looks in all of them"),
    ] {
        let run = kubehealer(&[&["diagnose", "-f", FINAL], args].concat());
        assert!(run.code == 2 && run.err.contains(&format!("hint: {hint}\n")), "{args:?}: {}", run.err);
    }
    // Nobody has written the namespace of the kubeconfig.
    let server = super::contract::Server::recorded();
    let run = server.run(&["diagnose", "crat"], &[]);
    assert!(run.code == 2 && run.err.contains("hint: is it in another namespace? -A looks"), "{}", run.err);
    let run = kubehealer(&["diagnose", "-f", "charts"]);
    assert!(
        run.err.contains(
            "hint: to save a cluster to a file: kubehealer dump -A -o dump.tar.gz; or: kubectl get "
        ),
        "{}",
        run.err
    );
}

#[test]
fn names_are_accepted_as_reports_kubectl_and_people_write_them() {
    let pods =
        |args: &[&str]| diagnosis(&[&["-f", FINAL], args].concat())["summary"]["pods"].as_u64().unwrap();
    for args in [
        &["shop/cart-874c48df9"][..],
        &["shop/Deployment/cart"],
        &["shop/Deployment/cart[cart] (2 pods)"],
        &["shop/cart-874c48df9-2zw2s[cart],", "shop/cart-874c48df9-69t6r[cart]"],
        &["deployment", "cart"],
        &["pods", "cart-874c48df9-2zw2s", "cart-874c48df9-69t6r"],
        &["Deployment/cart"],
    ] {
        assert_eq!(pods(args), 2, "{args:?}");
    }
    assert_eq!(pods(&["shop/Deployment/cart", "ml/trainer"]), 3, "of several namespaces");
    assert_eq!(pods(&["-n", "ml", "-A"]), pods(&[]), "-A wins, as with kubectl");
    let run = kubehealer(&["diagnose", "-f", FINAL, "-n", "ml", "shop/cart-874c48df9"]);
    assert!(run.code == 2 && run.err.contains("names namespace shop, but -n names ml"), "{}", run.err);
    let run = kubehealer(&["diagnose", "-f", FINAL, "ml/cart-874c48df9"]);
    assert!(
        run.code == 2 && run.err.contains("pod/cart-874c48df9: not found in namespace ml"),
        "{}",
        run.err
    );
}

#[test]
fn whatever_stands_in_the_column_where_is_accepted_as_it_is_printed() {
    let mut wide = command();
    wide.args(["diagnose", "-f", FINAL]).env("COLUMNS", "300");
    let table = run(wide.output().unwrap()).out;
    let mut lines = table.lines().skip_while(|line| !line.starts_with("SEVERITY"));
    let head = lines.next().unwrap();
    let (from, to) = (head.find("WHERE").unwrap(), head.find("CAUSE").unwrap());
    let places: Vec<&str> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| Some(line.get(from..to)?.trim()))
        .collect();
    let places: Vec<&str> = places.into_iter().filter(|place| !place.is_empty()).collect();
    let several = ["namespace/payments (2 workloads, 2 pods)"];
    assert!(places.len() > 50 && several.iter().all(|place| places.contains(place)), "{places:?}");
    for place in several.into_iter().chain(places.iter().copied().filter(|place| place.contains('('))) {
        let run = kubehealer(&["diagnose", "-f", FINAL, place]);
        assert!(run.code == 0 && !run.out.starts_with("No pods"), "{place}: {}{}", run.err, run.out);
    }
    let run = kubehealer(&[
        "diagnose",
        "-f",
        FINAL,
        "namespace/ml, namespace/shop and 2 more (9 workloads, 12 pods)",
    ]);
    assert!(run.code == 0 && run.out.contains("in 2 namespaces"), "{}{}", run.err, run.out);
}

#[test]
fn the_kind_of_an_owner_that_kubernetes_does_not_have_is_a_name_as_well() {
    let owned = |kind: &str, name: &str, uid: &str| json!([{"kind": kind, "name": name, "uid": uid, "controller": true}]);
    let dump = json!({"kind": "List", "apiVersion": "v1", "items": [
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "web-5f6d-abcde", "uid": "p",
            "ownerReferences": owned("ReplicaSet", "web-5f6d", "r")}, "spec": {"containers": []}, "status": {"phase": "Running"}},
        {"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"namespace": "shop", "name": "web-5f6d", "uid": "r",
            "ownerReferences": owned("Rollout", "web", "o")}},
        {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "db-0", "uid": "q",
            "ownerReferences": owned("Cluster", "db", "c")}, "spec": {"containers": []}, "status": {"phase": "Running"}},
    ]});
    for args in
        [&["Rollout/web"][..], &["rollout/web"], &["rollout", "web"], &["shop/Rollout/web"], &["Cluster/db"]]
    {
        let run =
            with_input(&[&["diagnose", "-f", "-", "-o", "json"], args].concat(), dump.to_string().as_bytes());
        assert!(run.code == 0 && run.out.contains("\"pods\": 1,"), "{args:?}: {} {}", run.out, run.err);
    }
}

#[test]
fn whatever_the_table_prints_under_where_and_who_can_be_pasted_behind_diagnose() {
    // So wide that no name goes on in a second line.
    let table = kubehealer_with(&[("COLUMNS", "200".as_ref())], &["diagnose", "-f", FINAL, "-o", "wide"]).out;
    let mut pasted = 0;
    let rows = table.lines().skip_while(|l| !l.starts_with("SEVERITY")).skip(1).take_while(|l| !l.is_empty());
    for line in rows.filter(|line| !line.starts_with(' ')) {
        let place = line.split_whitespace().find(|word| word.contains('/')).unwrap();
        let run = kubehealer(&["diagnose", "-f", FINAL, place]);
        assert_eq!(run.code, 0, "{place}: {}", run.err);
        pasted += 1;
    }
    assert!(pasted > 10, "{pasted}: {table}");
}

#[test]
fn an_empty_selection_is_never_a_pass() {
    let manifest = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "cart"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "cart"}}}});
    let folder = folder(&[("cart.json", manifest.to_string().as_bytes())]);
    let manifest = folder.path().join("cart.json");
    for (args, words, guess) in [
        (&["-f", FINAL, "-n", "nosuch"][..], "no pods to diagnose in namespace nosuch", "-A looks"),
        (&["-f", FINAL, "-n", "shpo"], "no pods to diagnose in namespace shpo", "did you mean shop?"),
        (&["-f", FINAL, "-l", "app=nosuch"], "no pod has the labels app=nosuch", "--show-labels"),
        (&["-f", FINAL, "-l", "app=crat"], "no pod has the labels app=crat", "did you mean app=cart?"),
        (&["-f", manifest.to_str().unwrap()], "no pods to diagnose", "kubectl get pods"),
        (&["-f", manifest.to_str().unwrap(), "deployment/cart"], "no pods to diagnose", "kubectl get pods"),
    ] {
        let run = kubehealer(&[&["diagnose"], args].concat());
        assert_eq!(run.code, 0, "{args:?}");
        assert!(run.err.contains(words) && run.err.contains(guess), "{args:?}: {}", run.err);
        for severity in ["info", "critical"] {
            let run = kubehealer(&[&["diagnose", "--fail-on", severity], args].concat());
            assert_eq!(run.code, 2, "{args:?}: {}", run.out);
            assert!(run.err.contains(words) && run.err.contains(guess), "{args:?}: {}", run.err);
        }
    }
}

#[test]
fn a_hint_about_manifests_is_only_for_what_has_no_status() {
    let stuck = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"namespace": "shop", "name": "cart", "generation": 1},
        "spec": {"replicas": 2}, "status": {"observedGeneration": 1, "conditions": [{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "lastTransitionTime": "2026-11-22T09:00:00Z"}]}});
    let run = with_input(&["diagnose", "-f", "-"], stuck.to_string().as_bytes());
    assert!(run.out.contains("ProgressDeadlineExceeded"), "{}", run.out);
    assert!(!run.err.contains("manifest"), "{}", run.err);
}

#[test]
fn a_reason_that_no_finding_can_have_is_an_error_and_those_of_rules_are_known() {
    let rules = "examples/rules/image-digest.yaml";
    for (args, hint) in [
        (&["--reason", "OOM"][..], "did you mean OOMKilled"),
        (&["--reason", "OOMKilled", "--reason", "imagepull"], "did you mean ImagePullBackOff"),
        (&["--reason", "Zzz"], "kubehealer explain lists all reasons"),
        (&["--reason", "ImageWithoutDigst", "--rules", rules], "did you mean ImageWithoutDigest"),
    ] {
        let run = kubehealer(&[&["diagnose", "-f", FINAL], args].concat());
        assert!(
            run.code == 2 && run.err.contains("no finding can have this reason"),
            "{args:?}: {}",
            run.err
        );
        assert!(run.err.contains(hint), "{args:?}: {}", run.err);
    }
    for args in [&["--reason", "oomkilled"][..], &["--reason", "ImageWithoutDigest", "--rules", rules]] {
        assert_eq!(kubehealer(&[&["diagnose", "-f", FINAL], args].concat()).code, 0, "{args:?}");
    }
}

#[test]
fn a_document_that_cannot_be_read_is_never_a_pass() {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"containers": []}, "status": {"phase": "Running"}});
    let cut = format!("{pod}\n{{\"kind\": \"Pod\", \"apiVer");
    let whole = with_input(&["diagnose", "-f", "-", "--fail-on", "info"], format!("{pod}\n").as_bytes());
    assert_eq!(whole.code, 0, "{}", whole.err);
    let run = with_input(&["diagnose", "-f", "-", "--fail-on", "info"], cut.as_bytes());
    assert!(run.code == 2 && run.err.contains("1 document could not be read"), "{}{}", run.out, run.err);
}

#[test]
fn a_workload_of_the_same_name_in_another_namespace_is_not_taken_along() {
    let deployment = |namespace: &str, progressing: &str, reason: &str| {
        json!({"kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"namespace": namespace, "name": "web", "uid": format!("d-{namespace}"), "creationTimestamp": "2026-11-22T08:00:00Z"},
            "spec": {"replicas": 1},
            "status": {"conditions": [{"type": "Progressing", "status": progressing, "reason": reason, "lastTransitionTime": "2026-11-22T09:00:00Z"}]}})
    };
    let dump = json!({"kind": "List", "apiVersion": "v1", "items": [
        {"kind": "Pod", "apiVersion": "v1",
         "metadata": {"namespace": "shop", "name": "web-5f6d-abcde", "uid": "p", "labels": {"team": "a", "pod-template-hash": "5f6d"},
            "creationTimestamp": "2026-11-22T08:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5f6d", "uid": "r", "controller": true}]},
         "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": "web"}]},
         "status": {"phase": "Running", "startTime": "2026-11-22T08:00:00Z"}},
        deployment("shop", "True", "NewReplicaSetAvailable"),
        deployment("ml", "False", "ProgressDeadlineExceeded"),
    ]});
    let findings = |args: &[&str]| {
        let args = [&["diagnose", "-f", "-", "--now", "2026-11-22T10:00:00Z", "-o", "json"], args].concat();
        with_input(&args, dump.to_string().as_bytes()).out.matches("\"ProgressDeadlineExceeded\"").count()
    };
    assert_eq!(findings(&[]), 1);
    assert_eq!(findings(&["deployment/web"]), 1, "both are asked for");
    assert_eq!(findings(&["-l", "team=a"]), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command()
        .args(["diagnose", "-f", FINAL, "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = run(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.err.lines().count()), (0, 1), "{}", run.err);
    assert!(run.err.starts_with("kubehealer: read "), "{}", run.err);
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let colour = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command();
        command.args(["diagnose", "-f", FINAL]).args(args).envs(env.iter().copied());
        run(command.output().unwrap()).out.contains('\u{1b}')
    };
    assert!(!colour(&[], &[]));
    assert!(colour(&["--color", "always"], &[]));
    assert!(!colour(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colour(&[], &[("NO_COLOR", "1")]));
    let complaint = |args: &[&str]| kubehealer(&[&["diagnose", "-f", "nowhere"], args].concat()).err;
    assert!(!complaint(&[]).contains('\u{1b}'));
    assert!(complaint(&["--color", "always"]).contains('\u{1b}'), "complaints are coloured alike");
}

#[test]
fn what_a_credential_plugin_prints_is_never_told() {
    // The first token is about to expire, so the plugin is asked again for the first request, and fails.
    let plugin = "#!/bin/sh\nif [ -e \"$0.ran\" ]; then echo token hunter2; exit 1; fi\ntouch \"$0.ran\"\n\
        echo '{\"kind\": \"ExecCredential\", \"apiVersion\": \"client.authentication.k8s.io/v1\", \"status\": \
        {\"token\": \"hunter2\", \"expirationTimestamp\": \"2026-11-22T10:00:00Z\"}}'\n";
    let folder = folder(&[("plugin", plugin.as_bytes())]);
    let path = folder.path().join("plugin");
    let config = json!({"kind": "Config", "apiVersion": "v1", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "/bin/sh", "args": [path]}}}]});
    std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
    let mut command = command();
    command.args(["diagnose", "--kubeconfig"]).arg(folder.path().join("config")).env("PATH", "/usr/bin:/bin");
    let run = run(command.output().unwrap());
    assert!(folder.path().join("plugin.ran").exists(), "{}", run.err);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("cannot get credentials") && !run.err.contains("hunter2"), "{}", run.err);
}

/// A kubeconfig of one cluster.
fn kubeconfig(server: &str, user: &Value) -> Vec<u8> {
    let config = json!({"kind": "Config", "apiVersion": "v1", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user}]});
    config.to_string().into_bytes()
}

#[test]
fn a_credential_plugin_that_fails_at_once_is_not_quoted_either() {
    let exec = |script: &str| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "/bin/sh", "args": ["-c", script]}})
    };
    let absent = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "/nowhere/hunter2"}});
    for user in [exec("echo token hunter2; exit 1"), exec("echo token hunter2"), absent] {
        let folder = folder(&[("config", &kubeconfig("http://127.0.0.1:1", &user))]);
        let run = kubehealer(&["diagnose", "--kubeconfig", folder.path().join("config").to_str().unwrap()]);
        assert_eq!((run.code, run.out.as_str()), (2, ""));
        assert!(run.err.contains("cannot get credentials") && !run.err.contains("hunter2"), "{}", run.err);
    }
}

#[test]
fn the_proxy_of_the_environment_is_not_asked_for_a_server_of_this_machine() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let folder = folder(&[
        ("here", &kubeconfig("https://127.0.0.1:1", &json!({}))),
        ("elsewhere", &kubeconfig("https://192.0.2.1:6443", &json!({}))),
    ]);
    drop(listener);
    let said = |config: &str| {
        let mut command = command();
        command.args(["diagnose", "--kubeconfig"]).arg(folder.path().join(config)).env("HTTPS_PROXY", &proxy);
        run(command.output().unwrap()).err
    };
    assert!(said("here").contains("https://127.0.0.1:1: cannot connect"), "{}", said("here"));
    let elsewhere = said("elsewhere");
    assert!(
        elsewhere.contains(&format!("https://192.0.2.1:6443 (through the proxy {proxy}): ")),
        "{elsewhere}"
    );
}

#[test]
fn an_api_server_is_told_who_asks() {
    use std::io::Read as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let head = std::thread::spawn(move || {
        let mut head = [0; 2048];
        let length = listener.accept().unwrap().0.read(&mut head).unwrap();
        String::from_utf8_lossy(&head[..length]).to_lowercase()
    });
    let folder = folder(&[("config", &kubeconfig(&server, &json!({})))]);
    kubehealer(&["diagnose", "--kubeconfig", folder.path().join("config").to_str().unwrap()]);
    let head = head.join().unwrap();
    assert!(head.contains(concat!("user-agent: kubehealer/", env!("CARGO_PKG_VERSION"))), "{head}");
}

#[test]
fn not_all_files_that_kubeconfig_lists_need_to_be_there() {
    let folder = folder(&[
        ("config", &kubeconfig("http://127.0.0.1:1", &json!({}))),
        ("without", b"kind: Config\ncurrent-context: \"\"\nclusters: null\ncontexts: null\nusers: null\n"),
    ]);
    let listed = |paths: &[&str]| {
        let list = std::env::join_paths(paths.iter().map(|path| folder.path().join(path))).unwrap();
        run(command().arg("diagnose").env("KUBECONFIG", list).output().unwrap()).err
    };
    assert!(listed(&["absent", "config", "absent too"]).contains("http://127.0.0.1:1: cannot connect"));
    assert!(listed(&["without", "config"]).contains("http://127.0.0.1:1: cannot connect"));
    assert!(listed(&["without"]).contains("has no current context"));
    assert!(listed(&["absent"]).contains("cannot read the kubeconfig"));
}

#[test]
fn a_cluster_that_cannot_be_found_or_reached_is_said_in_words() {
    let folder = folder(&[
        ("down", kubehealer::simulator::kubeconfig("127.0.0.1:1".parse().unwrap()).as_bytes()),
        ("broken", b"clusters: [token: hunter2"),
    ]);
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for (args, words) in [
        (vec!["diagnose"], "no cluster"),
        (vec!["diagnose", "--kubeconfig", path("missing").to_str().unwrap()], "kubeconfig"),
        (vec!["diagnose", "--kubeconfig", path("broken").to_str().unwrap()], "kubeconfig"),
        (vec!["diagnose", "--kubeconfig", path("down").to_str().unwrap()], "127.0.0.1:1"),
        (vec!["diagnose", "--kubeconfig", path("down").to_str().unwrap(), "--context", "nowhere"], "nowhere"),
    ] {
        let run = kubehealer(&args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(run.err.starts_with("kubehealer: ") && run.err.contains(words), "{args:?}: {}", run.err);
        assert!(!run.err.contains("hunter2"));
    }
}

#[test]
fn the_tutorial_shows_what_diagnose_prints() {
    let run = kubehealer(&["diagnose", "-f", FINAL, "-n", "shop", "deployment/cart"]);
    let tutorial = include_str!("../../docs/tutorial.md");
    assert!(
        tutorial.contains(run.out.trim_end()),
        "the example in docs/tutorial.md is no longer what this prints:\n{}",
        run.out
    );
}
