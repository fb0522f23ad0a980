//! Which commit a release is built from, for `--version`. Without a repository (a crate archive, an image) there is none to name.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Only for releases: else every commit would build the whole program again.
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    if let Some(commit) = commit(Path::new(&root)) {
        println!("cargo::rustc-env=KUBEHEALER_VERSION={} ({commit})", env!("CARGO_PKG_VERSION"));
        if let Some(log) = git(Path::new(&root), &["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
}

/// The commit and its date, `0123456789ab 2026-11-30`, if this directory is the root of a repository: one above it is of
/// something else.
pub fn commit(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    git(root, &["log", "-1", "--abbrev=12", "--format=%h %cs"])
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty() && !text.contains('\n')).then_some(text)
}
