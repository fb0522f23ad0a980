//! Who may know whom: the inner rooms of the house know nothing of the outer ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The top module of a source file, and its text without comments and without its unit tests.
fn modules() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = modules_of(&root.join("src"), None);
    all.extend(modules_of(&root.join("crates/kubehealer-core/src"), None));
    for one in ["rules", "simulator"] {
        all.extend(modules_of(&root.join(format!("crates/kubehealer-{one}/src")), Some(one)));
    }
    all
}

/// `name`: what all of it counts as, where it is a crate of one purpose.
fn modules_of(root: &Path, name: Option<&str>) -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    sources(root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(root).unwrap();
            let first = inner.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
            let module = name.unwrap_or(first).to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            // A module of tests says so in its first line of code.
            let test = text.lines().find(|l| !l.starts_with("//")) == Some("#![cfg(test)]");
            let text = if test { String::new() } else { text };
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code: Vec<&str> = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
            (module, path, code.join("\n"))
        })
        .collect()
}

/// Whether the code names a path that begins with this crate or module.
fn names(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(i, _)| {
        let before = code[..i].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn offences(of: &[&str], never: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (module, path, code) in modules() {
        for what in never.iter().filter(|_| of.contains(&module.as_str())) {
            if names(&code, what) {
                found.push(format!("{} names {what}", path.display()));
            }
        }
    }
    found
}

const PURE: [&str; 7] = ["objects", "diagnosis", "rules", "incidents", "report", "redact", "files"];

#[test]
fn the_pure_modules_name_no_runtime_no_client_and_no_clock() {
    let never = [
        "tokio::",
        "axum::",
        "prometheus::",
        "kube::",
        "k8s_openapi::",
        "hyper::",
        "tower::",
        "Timestamp::now",
        "SystemTime",
        "Instant::now",
        "Zoned::now",
    ];
    let found = offences(&PURE, &never);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_room_knows_one_that_is_further_out() {
    for (inner, outer) in [
        (&["objects", "redact"][..], &["crate::diagnosis", "crate::rules", "crate::incidents"][..]),
        (&["diagnosis"], &["crate::rules", "crate::incidents", "crate::report"]),
        (&["incidents"], &["crate::report", "crate::metrics"]),
        (
            &["objects", "diagnosis", "rules", "incidents", "report", "metrics", "server", "cluster"],
            &["crate::cli", "crate::daemon", "crate::simulator"],
        ),
        // The metrics write the health of the watch as well as the incidents.
        (&["objects", "diagnosis", "rules", "incidents", "report"], &["crate::cluster", "crate::metrics"]),
        (&["metrics", "cluster"], &["crate::server"]),
        (&["daemon"], &["crate::cli", "crate::simulator"]),
    ] {
        let found = offences(inner, outer);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn only_the_command_line_uses_the_simulator() {
    let others: Vec<String> = modules()
        .into_iter()
        .map(|(m, _, _)| m)
        .filter(|m| m != "cli" && m != "simulator" && m != "lib")
        .collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let found = offences(&others, &["crate::simulator", "kubehealer_simulator"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_type_decodes_what_holds_secrets() {
    for (module, path, code) in modules() {
        if module != "objects" {
            continue;
        }
        for field in
            ["pub env:", "pub env_from:", "pub command:", "pub args:", "pub data:", "pub string_data:"]
        {
            assert!(!code.contains(field), "{} has a field {field}", path.display());
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let manifests = ["Cargo.toml"].map(str::to_owned).into_iter();
    let crates = ["core", "rules", "simulator"].map(|name| format!("crates/kubehealer-{name}/Cargo.toml"));
    let mut used = BTreeSet::new();
    for manifest in manifests.chain(crates) {
        let text = read(&manifest);
        let of = text.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
        used.extend(of.lines().filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())));
    }
    used.retain(|name| !name.starts_with("kubehealer"));
    let text = read("ARCHITECTURE.md");
    let table =
        text.split("\n## Dependencies").nth(1).unwrap().lines().skip_while(|l| !l.starts_with("|---"));
    let names = table.skip(1).filter_map(|row| row.split('|').nth(1));
    let said: BTreeSet<String> =
        names.flat_map(|names| names.split(',')).map(|n| n.trim().to_owned()).collect();
    assert_eq!(used, said, "the table of dependencies in ARCHITECTURE.md");
}

#[test]
fn the_search_for_names_finds_them() {
    assert!(names("use tokio::sync;", "tokio::"));
    assert!(names("let t = jiff::Timestamp::now();\nTimestamp::now()", "Timestamp::now"));
    assert!(!names("use crate::mytokio::x;", "tokio::"));
}
