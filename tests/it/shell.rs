//! How it behaves in a shell: on a terminal, with a pager, with completions, as a plugin of kubectl.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::cli::{FINAL, Run, command, folder, kubehealer, kubehealer_with, run, with_input};
use super::contract::Server;

/// What a terminal of so many columns and rows gets from it, stdout and stderr alike. Only Ctrl-D is typed.
pub fn on_terminal((columns, rows): (u16, u16), args: &[&str], variables: &[(&str, &str)]) -> Run {
    let program = env!("CARGO_BIN_EXE_kubehealer");
    let line = format!("stty columns {columns} rows {rows}; exec {program} {}", args.join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    script.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("PATH", "/usr/bin:/bin");
    script.env("HOME", "/nonexistent").env("TERM", "xterm").envs(variables.iter().copied());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\x04").unwrap();
    let run = run(child.wait_with_output().unwrap());
    Run { out: run.out.replace("\r\n", "\n"), ..run }
}

#[test]
fn a_terminal_that_is_closed_ends_the_demo_and_its_kubeconfig() {
    let folder = folder(&[]);
    let program = env!("CARGO_BIN_EXE_kubehealer");
    let line =
        format!("exec {program} demo --listen 127.0.0.1:0 --kubernetes-listen 127.0.0.1:0 --duration 60");
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = script.env("TMPDIR", folder.path()).spawn().unwrap();
    let files =
        || std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
    let begun = std::time::Instant::now();
    let patient =
        || assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", files().collect::<Vec<_>>());
    let name = loop {
        patient();
        if let Some(name) = files().next() {
            break name;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let pid =
        name.strip_prefix("kubehealer-demo-").and_then(|rest| rest.strip_suffix(".kubeconfig")).unwrap();
    assert!(Command::new("kill").args(["-HUP", pid]).status().unwrap().success());
    while files().next().is_some() {
        patient();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.wait().unwrap();
}

#[test]
fn what_is_read_from_a_terminal_is_said_before_it_waits() {
    let run = on_terminal((80, 24), &["diagnose", "-f", "-"], &[]);
    assert!(run.out.starts_with("kubehealer: reading from the terminal until Ctrl-D"), "{}", run.out);
    assert!(
        run.out.contains("kubectl get pods,events,nodes -A -o json | kubehealer diagnose -f -"),
        "{}",
        run.out
    );
    let piped = with_input(&["diagnose", "-f", "-"], b"");
    assert!(!piped.err.contains("Ctrl-D"), "{}", piped.err);
}

#[test]
fn as_a_plugin_of_kubectl_it_says_kubectl_kubehealer() {
    let folder = folder(&[]);
    let plugin = folder.path().join("kubectl-kubehealer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubehealer"), &plugin).unwrap();
    for (args, words) in [
        (&["--help"][..], "Usage: kubectl kubehealer "),
        (&["diagnose", "--help"], "\n  kubectl kubehealer diagnose -A "),
        (&["diagnose", "--nosuch"], "Usage: kubectl kubehealer diagnose"),
        (&["diagnose", "-f", FINAL], "More about a reason: kubectl kubehealer explain "),
        (&["explain"], "kubectl kubehealer explain REASON"),
        (&["explain", "137"], "kubectl kubehealer explain OOMKilled"),
        (&["explain", "zzz"], "hint: kubectl kubehealer explain lists all reasons"),
    ] {
        let mut command = Command::new(&plugin);
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("COLUMNS", "100");
        let run = run(command.output().unwrap());
        let said = run.out + &run.err;
        assert!(said.contains(words), "{args:?}: {said}");
        let bare = said.replace("kubectl kubehealer ", "");
        assert!(
            !bare.contains("kubehealer explain") && !bare.contains("kubehealer diagnose"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn completions_are_printed_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = kubehealer(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(run.out.contains("kubehealer") && run.out.contains("KUBEHEALER_COMPLETE"), "{shell}");
    }
}

/// What is offered for the last of these words, which is being typed.
fn completed(words: &[&str], kubeconfig: &Path) -> Vec<String> {
    let mut command = command();
    command.env("KUBEHEALER_COMPLETE", "fish").env("KUBECONFIG", kubeconfig);
    let run = run(command.args(["--", "kubehealer"]).args(words).output().unwrap());
    assert_eq!(run.code, 0, "{words:?}: {}", run.err);
    run.out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn commands_flags_reasons_and_the_names_in_the_cluster_are_completed() {
    let server = super::contract::Server::recorded();
    server
        .cluster
        .apply(json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}))
        .unwrap();
    let config = server.kubeconfig.path().join("config");
    let offers = |words: &[&str], name: &str| {
        let offered = completed(words, &config);
        assert!(offered.iter().any(|offer| offer == name), "{words:?}: {offered:?}");
    };
    offers(&["diag"], "diagnose");
    offers(&["diagnose", "--sev"], "--severity");
    offers(&["diagnose", "--reason", "OOM"], "OOMKilled");
    offers(&["explain", "Missing"], "MissingSecret");
    offers(&["explain", "ContainerCrash"], "ContainerCrashLooping");
    offers(&["diagnose", "-n", "sh"], "shop");
    offers(&["diagnose", "--context", ""], "simulated");
    offers(&["diagnose", "-n", "shop", "cart-"], "cart-874c48df9-2zw2s");
    offers(&["diagnose", "-n", "shop", "dep"], "deployment/");
    offers(&["wait", "--namespace=shop", "deployment/ca"], "deployment/cart");
    // Without a cluster there is nothing to offer, and no error.
    let none = completed(&["diagnose", "-n", "sh"], Path::new("/nonexistent"));
    assert_eq!(none, [""; 0]);
}

#[test]
fn as_a_plugin_of_kubectl_it_completes_what_kubectl_asks_for() {
    let folder = folder(&[(
        "kubectl_complete-kubehealer",
        kubehealer(&["completions", "kubectl-plugin"]).out.as_bytes(),
    )]);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubehealer"), folder.path().join("kubectl-kubehealer"))
        .unwrap();
    let mut script = Command::new("sh");
    script.arg(folder.path().join("kubectl_complete-kubehealer")).args(["diagnose", "--reason", "OOM"]);
    script.env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    let run = run(script.output().unwrap());
    assert_eq!((run.code, run.out.as_str()), (0, "OOMKilled\n:4\n"), "{}", run.err);
}

#[test]
fn each_command_has_a_man_page() {
    let folder = folder(&[]);
    let run = kubehealer(&["man", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.err);
    for page in [
        "kubehealer.1",
        "kubehealer-diagnose.1",
        "kubehealer-wait.1",
        "kubehealer-rules-test.1",
        "kubehealer-man.1",
    ] {
        let text =
            std::fs::read_to_string(folder.path().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert_eq!(kubehealer(&["man", "/nonexistent"]).code, 2);
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_a_pager() {
    let long = ["diagnose", "-f", FINAL];
    let short = ["explain", "137"];
    let paged = |args: &[&str], rows: u16, variables: &[(&str, &str)]| {
        let run = on_terminal((100, rows), args, variables);
        assert_eq!(run.code, 0, "{}", run.out);
        assert!(run.out.lines().count() > 5, "{}", run.out);
        run.out.lines().filter(|line| line.starts_with("paged: ")).count() > 5
    };
    let pager = [("PAGER", "sed s/^/paged:\\x20/")];
    assert!(paged(&long, 40, &pager));
    assert!(paged(&["explain", "OOMKilled", "--color", "never"], 10, &pager));
    assert!(!paged(&short, 40, &pager), "it fits");
    assert!(!paged(&[&long[..], &["--no-pager"]].concat(), 40, &pager));
    assert!(!paged(&long, 40, &[("PAGER", "sed s/^/paged:\\x20/"), ("KUBEHEALER_PAGER", "cat")]));
    for none in ["", "/nonexistent/pager -x"] {
        assert!(!paged(&long, 40, &[("PAGER", none)]), "{none:?}");
    }
    let piped = kubehealer_with(&[("PAGER", "sed s/^/paged:\\x20/".as_ref())], &long);
    assert!(!piped.out.contains("paged: "));
}

#[test]
fn on_a_terminal_the_outcome_of_a_wait_is_not_broken_within_a_word() {
    let server = Server::recorded();
    let config = server.kubeconfig.path().join("config");
    let variables = [("KUBECONFIG", config.to_str().unwrap())];
    let run = on_terminal((60, 20), &["wait", "-n", "payments", "pod/settlement"], &variables);
    assert_eq!(run.code, 1, "{}", run.out);
    let (_, outcome) = run.out.split_once("pod/settlement cannot become ready").unwrap();
    let further: Vec<&str> = outcome.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    assert!(further.len() > 2, "{outcome}");
    assert!(further.iter().all(|line| line.starts_with("  ") && line.len() <= 60), "{outcome}");
}
