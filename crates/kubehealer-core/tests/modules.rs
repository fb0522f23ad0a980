//! The modules of the analyzer form no circle, and the crate stays small enough for others to import.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules below `dir`, by path: `diagnosis::crash::kills` and its code without comments.
fn modules(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
        if path.is_dir() {
            modules(&path, &module, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code: Vec<&str> = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
            found.insert(module, code.join("\n"));
        }
    }
}

/// Every path that a `use` tree names: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn flatten(tree: &str, prefix: &str, out: &mut Vec<String>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let rest = rest.trim_end().trim_end_matches('}');
        let (mut depth, mut from) = (0, 0);
        let inner = format!("{rest},");
        for (i, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flatten(&inner[from..i], &format!("{prefix}{head}"), out);
                    from = i + 1;
                }
                _ => {}
            }
        }
    } else if !tree.is_empty() {
        out.push(format!("{prefix}{}", tree.split(" as ").next().unwrap().trim()));
    }
}

fn uses(code: &str, keyword: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in code.split(';') {
        let statement = part.trim_start().trim_start_matches("}").trim_start();
        if let Some(at) = statement.rfind(&format!("{keyword} "))
            && (at == 0 || statement[..at].ends_with(['\n', ' ']))
        {
            let tree: String =
                statement[at + keyword.len() + 1..].split_whitespace().collect::<Vec<_>>().join(" ");
            flatten(&tree, "", &mut found);
        }
    }
    found
}

/// The module that a path within `module` leads to, through the re-exports of its parents.
fn target(path: &str, module: &str, all: &BTreeMap<String, String>) -> Option<String> {
    let parent = |m: &str| m.rsplit_once("::").map_or(String::new(), |(p, _)| p.to_owned());
    let absolute = if let Some(rest) = path.strip_prefix("crate::") {
        rest.to_owned()
    } else if let Some(rest) = path.strip_prefix("self::") {
        format!("{module}::{rest}")
    } else if path.starts_with("super::") {
        let (mut base, mut rest) = (module.to_owned(), path);
        while let Some(inner) = rest.strip_prefix("super::") {
            base = parent(&base);
            rest = inner;
        }
        if base.is_empty() { rest.to_owned() } else { format!("{base}::{rest}") }
    } else {
        return None;
    };
    let mut at = absolute.as_str();
    loop {
        if all.contains_key(at) {
            break;
        }
        at = at.rsplit_once("::")?.0;
    }
    let name = absolute.strip_prefix(at).unwrap().trim_start_matches("::").split("::").next().unwrap();
    for exported in uses(&all[at], "pub use") {
        let is_name = exported.rsplit("::").next() == Some(name);
        let home = format!("{at}::{}", exported.rsplit_once("::").map_or("", |(home, _)| home));
        if is_name && all.contains_key(&home) {
            return Some(home);
        }
    }
    Some(at.to_owned())
}

#[test]
fn the_modules_form_no_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = BTreeMap::new();
    modules(&src, "", &mut all);
    all.remove("lib");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in &all {
        let parents = |of: &str| module.starts_with(&format!("{of}::"));
        let targets = uses(code, "use").into_iter().filter_map(|path| target(&path, module, &all));
        let below = |to: &str| to.starts_with(&format!("{module}::"));
        // A module and the ones below it are one: what a parent declares, its children may name.
        edges.insert(
            module.clone(),
            targets.filter(|to| to != module && !below(to) && !parents(to)).collect(),
        );
    }
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 60, "the search for imports finds too few");
    // What only leads to modules that are done is done; what is left is a circle.
    while let Some(done) =
        edges.iter().find(|(_, to)| to.iter().all(|t| !edges.contains_key(t))).map(|(m, _)| m.clone())
    {
        edges.remove(&done);
    }
    assert!(edges.is_empty(), "these modules import each other in a circle: {edges:#?}");
}

#[test]
fn importing_the_analyzer_pulls_in_few_crates_and_no_runtime() {
    let manifest: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "--format", "{p}", "--manifest-path"])
        .arg(&manifest)
        .args(["-p", "kubehealer-core"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(crates.contains("jiff"), "{text}");
    assert!(crates.len() <= 32, "{} crates: {crates:?}", crates.len());
    for heavy in ["kube", "k8s-openapi", "tokio", "axum", "hyper", "prometheus"] {
        assert!(!crates.contains(heavy), "{heavy} is pulled in");
    }
}

/// The functions of a text, with their lines: rustfmt closes each at the column where it began.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (from, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let words = ["pub ", "pub(super) ", "pub(crate) ", "const ", "fn "];
        let Some((_, rest)) =
            trimmed.split_once("fn ").filter(|_| words.iter().any(|w| trimmed.starts_with(w)))
        else {
            continue;
        };
        let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
        if let Some(length) = lines[from..].iter().position(|l| *l == end) {
            let name = rest.split(['(', '<']).next().unwrap().to_owned();
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn no_function_of_the_analyzer_is_longer_than_80_lines() {
    let mut all = BTreeMap::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnosis"), "", &mut all);
    let lengths: Vec<(String, String, usize)> = all
        .iter()
        .flat_map(|(module, code)| functions(code).into_iter().map(|(name, n)| (module.clone(), name, n)))
        .collect();
    assert!(lengths.len() > 500, "the search finds only {} functions", lengths.len());
    let long: Vec<_> = lengths.iter().filter(|(_, _, lines)| *lines > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
}
