//! Which commit a release is built from, for `--version`.

use std::path::Path;
use std::process::Command;

/// What a build without a repository, such as that of the image, names its commit by.
const GIVEN: &str = "KUBEHEALER_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={GIVEN}");
    // Only for releases: else every commit would build the whole program again.
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    if let Some(commit) = commit(Path::new(&root), std::env::var(GIVEN).ok()) {
        println!("cargo::rustc-env=KUBEHEALER_VERSION={} ({commit})", env!("CARGO_PKG_VERSION"));
        if let Some(log) = git(Path::new(&root), &["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo::rerun-if-changed={log}");
        }
    }
}

/// The commit and its date, `0123456789ab 2026-11-30`: the one that is given, else that of the repository whose root this directory
/// is (one above it is of something else), else, without a date, the one that `cargo package` has written into its archive.
pub fn commit(root: &Path, given: Option<String>) -> Option<String> {
    let given = given.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    given.or_else(|| of_repository(root)).or_else(|| of_archive(root))
}

fn of_repository(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    git(root, &["log", "-1", "--abbrev=12", "--format=%h %cs"])
}

fn of_archive(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join(".cargo_vcs_info.json")).ok()?;
    let (_, hash) = text.split_once("\"sha1\": \"")?;
    hash.get(..12).map(str::to_owned)
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty() && !text.contains('\n')).then_some(text)
}
