//! Reads rule files as text. Must not know what a rule is.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file of more bytes is not read to its end. Well above what a rule file may have, which whoever loads it says better.
const MAX_FILE: u64 = 1 << 20;

/// Whether a file holds tests of rules rather than rules: by the end of its name.
pub fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".yaml", ".yml"].iter().any(|end| name.strip_suffix(end).is_some_and(|stem| stem.ends_with("_test")))
}

/// The YAML files of a directory that are wanted, by name; hidden ones never: a ConfigMap keeps its versions in them.
fn listed(directory: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        // Follows links: the files of a ConfigMap are links.
        if yaml && !name.starts_with('.') && path.is_file() && wanted(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Files stand for themselves, directories for the files in them that are wanted.
pub fn expand(paths: &[PathBuf], wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let found = listed(path, &wanted).map_err(|e| format!("{}: {e}", path.display()))?;
        if found.is_empty() {
            return Err(format!("{}: no *.yaml files in this directory", path.display()));
        }
        all.extend(found);
    }
    Ok(all)
}

pub fn read_text(path: &Path) -> Result<String, String> {
    if fs::metadata(path).is_ok_and(|meta| super::is_named_pipe(path, &meta)) {
        return Err(format!("{}: a named pipe, not a file", path.display()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{}: larger than {} KiB: split it", path.display(), MAX_FILE >> 10));
    }
    String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8 text", path.display()))
}

/// Reads rule files, and those in directories but for tests (`*_test.yaml`), as pairs of name and text.
pub fn read_rules(paths: &[PathBuf]) -> Result<Vec<(String, String)>, String> {
    expand(paths, |path| !is_test_file(path))?
        .iter()
        .map(|path| Ok((path.display().to_string(), read_text(path)?)))
        .collect()
}
