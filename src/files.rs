//! Reading a look at a cluster from files: what `kubectl get ... -o json` printed, a directory of such files with logs,
//! a recorded watch, must-gather.
//!
//! Secrets, ConfigMaps and everything else that the analyzer does not know are skipped unread. What cannot be decoded is
//! named by its place, never by its content. Must not know the analyzer's rules, nor a cluster.

mod documents;
mod newest;
pub mod rules;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::diagnosis::logs::MAX_BYTES;
use crate::diagnosis::{ContainerLog, Snapshot, Undecodable};
use documents::Collector;

pub use newest::newest_time;

/// How much is read of one file, in bytes: an input without end must not eat the memory.
const MAX_FILE: u64 = 4 << 30;
/// How many files and directories are looked at.
const MAX_ENTRIES: usize = 200_000;
/// How many logs are kept, of each its end.
const MAX_LOGS: usize = 10_000;
/// How deep directories are followed; must-gather needs 9.
const MAX_DEPTH: usize = 24;

#[derive(Debug, Default)]
pub struct Dump {
    /// The objects, each in its newest state. Its `undecodable` are single documents of files that were read otherwise.
    pub snapshot: Snapshot,
    /// Files and directories that could not be read as a whole: what they held is missing from the look.
    pub broken: Vec<Broken>,
    /// Files that were read.
    pub read: usize,
    /// Files that were not looked at, or that hold nothing to look at.
    pub skipped: Vec<Skipped>,
    /// Documents of a kind that Kubernetes knows or that has at least a kind.
    pub objects: usize,
    /// Heartbeats of nodes and renewals of leases: what tells how old a dump without events is.
    pub heartbeats: Vec<Timestamp>,
}

impl Dump {
    /// The instant at which the files were written, as far as they tell: see [`newest_time`].
    pub fn newest_time(&self, limit: Timestamp) -> Option<Timestamp> {
        let beat = self.heartbeats.iter().copied().filter(|&t| t <= limit).max();
        newest_time(&self.snapshot, limit).max(beat)
    }
}

/// A file that was not looked at, or that holds nothing to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub place: String,
    /// Why, in words.
    pub why: &'static str,
}

/// A file or directory that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where, in a file down to the place.
    pub place: String,
    pub why: String,
    pub hint: &'static str,
}

/// What was read and what was not, in one line: `read 14 files, skipped 2: empty (a.json), hidden (.b)`. None where nothing was skipped.
pub fn account(dump: &Dump) -> Option<String> {
    const NAMED: usize = 3;
    if dump.skipped.is_empty() {
        return None;
    }
    let mut by_reason: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for skipped in &dump.skipped {
        by_reason.entry(skipped.why).or_default().push(&skipped.place);
    }
    let reasons = by_reason.into_iter().map(|(why, places)| {
        let named = places.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        match places.len().saturating_sub(NAMED) {
            0 => format!("{why} ({named})"),
            more => format!("{why} ({named} and {more} more)"),
        }
    });
    let plural = if dump.read == 1 { "" } else { "s" };
    Some(format!(
        "read {} file{plural}, skipped {}: {}",
        dump.read,
        dump.skipped.len(),
        reasons.collect::<Vec<_>>().join("; ")
    ))
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// How to write a file that can be read.
pub const HOW_TO_DUMP: &str = "write one with: kubectl get pods,events,nodes,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs -A -o json";

/// Reads files, directories, and `-` for `stdin`, all into one.
pub fn read(paths: &[PathBuf], stdin: impl Read) -> Dump {
    let mut reader = Reader::default();
    let mut stdin = Some(stdin);
    for path in paths {
        if path.as_os_str() == "-" {
            if let Some(stdin) = stdin.take() {
                reader.text("standard input", stdin, false);
            }
            continue;
        }
        match fs::metadata(path) {
            Err(e) => reader.fail(path, &e),
            Ok(meta) if meta.is_dir() => {
                reader.root = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                reader.directory(path, 0);
            }
            // A pipe is fine here, as a shell's `<(...)` is one. A device may have no end.
            Ok(meta) if is_device(&meta) => reader.broken.push(Broken {
                place: path.display().to_string(),
                why: "a device, not a file".to_owned(),
                hint: HOW_TO_DUMP,
            }),
            Ok(_) => reader.file(path, false),
        }
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    collector: Collector,
    logs: Vec<ContainerLog>,
    broken: Vec<Broken>,
    heartbeats: Vec<Timestamp>,
    read: usize,
    skipped: Vec<Skipped>,
    /// Files and directories that were come by.
    entries: usize,
    /// The directory that was asked for, without links: nothing outside of it is read.
    root: PathBuf,
}

#[cfg(unix)]
fn is_device(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    meta.file_type().is_char_device() || meta.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &fs::Metadata) -> bool {
    false
}

impl Reader {
    fn skip(&mut self, path: &Path, why: &'static str) {
        self.skipped.push(Skipped { place: path.display().to_string(), why });
    }

    /// Why a link is not followed: out of the directory it may lead to anything on this machine.
    fn flaw_of_link(&self, link: &Path) -> Option<&'static str> {
        let Ok(target) = fs::canonicalize(link) else { return Some("a link that leads nowhere") };
        if !target.starts_with(&self.root) {
            return Some("a link that leads out of the directory");
        }
        // It may lead back up, and what it leads to is read at its own place.
        target.is_dir().then_some("a link to a directory")
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        let (why, hint) = match error.kind() {
            io::ErrorKind::NotFound => {
                ("there is no such file or directory".to_owned(), "is the path right?")
            }
            io::ErrorKind::PermissionDenied => ("you may not read it".to_owned(), "who owns it? try: ls -l"),
            _ => (error.to_string(), "can it be read otherwise?"),
        };
        self.broken.push(Broken { place: path.display().to_string(), why, hint });
    }

    /// Every file below, in the order of the names: the same directory gives the same look.
    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            return self.broken.push(Broken {
                place: path.display().to_string(),
                why: format!("more than {MAX_DEPTH} directories deep"),
                hint: "give this directory itself, too",
            });
        }
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(e) => return self.fail(path, &e),
        };
        let mut entries: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).collect();
        entries.sort();
        for entry in entries {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return self.broken.push(Broken {
                    place: entry.display().to_string(),
                    why: format!("not read, nor what follows: more than {MAX_ENTRIES} files"),
                    hint: "give the directories that matter one by one",
                });
            }
            let meta = match fs::symlink_metadata(&entry) {
                Ok(meta) => meta,
                Err(e) => {
                    self.fail(&entry, &e);
                    continue;
                }
            };
            let hidden = entry.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            let flaw = if hidden {
                Some("hidden")
            } else if meta.is_symlink() {
                self.flaw_of_link(&entry)
            } else {
                None
            };
            // Opening a pipe that nobody writes to would wait for ever.
            let regular = fs::metadata(&entry).is_ok_and(|m| m.is_file());
            if let Some(why) = flaw {
                self.skip(&entry, why);
            } else if meta.is_dir() {
                self.directory(&entry, depth + 1);
            } else if !regular {
                self.skip(&entry, "not a regular file");
            } else if let Some(log) = log_of(&entry) {
                self.log(&entry, log);
            } else if is_object_file(&entry) {
                self.file(&entry, true);
            } else if is_compressed(&entry) {
                self.skip(&entry, "compressed: unpack it first");
            } else {
                self.skip(&entry, "neither JSON, YAML nor a container's log by its name");
            }
        }
    }

    fn file(&mut self, path: &Path, among_others: bool) {
        match File::open(path) {
            Ok(file) => self.text(&path.display().to_string(), file, among_others),
            Err(e) => self.fail(path, &e),
        }
    }

    fn text(&mut self, place: &str, input: impl Read, among_others: bool) {
        let mut bytes = Vec::new();
        let broken = |why: String, hint| Broken { place: place.to_owned(), why, hint };
        match input.take(MAX_FILE + 1).read_to_end(&mut bytes) {
            Err(e) => return self.broken.push(broken(e.to_string(), "can it be read otherwise?")),
            Ok(n) if n as u64 > MAX_FILE => {
                let why = format!("larger than {} GiB", MAX_FILE >> 30);
                return self
                    .broken
                    .push(broken(why, "write one file per kind or namespace, into a directory"));
            }
            Ok(_) => {}
        }
        match decode_text(bytes) {
            Err((why, hint)) => self.broken.push(broken(why.to_owned(), hint)),
            // Tools that gather whole clusters leave empty files where there was nothing to gather.
            Ok(text) if text.trim().is_empty() => {
                if among_others {
                    self.skip(Path::new(place), "empty");
                } else {
                    self.broken.push(broken("empty".to_owned(), HOW_TO_DUMP));
                }
            }
            Ok(text) => {
                let beats = newest::heartbeats(&text);
                self.heartbeats.extend(beats);
                let before = self.collector.objects();
                match self.collector.documents(place, &text, among_others) {
                    Err(cut) => self.broken.push(cut),
                    Ok(()) if self.collector.objects() == before => {
                        if among_others {
                            self.skip(Path::new(place), "no Kubernetes objects in it");
                        }
                    }
                    Ok(()) => self.read += 1,
                }
            }
        }
    }

    fn log(&mut self, path: &Path, log: LogName) {
        if self.logs.len() >= MAX_LOGS {
            return self.skip(path, "too many logs: the first 10000 are read");
        }
        let tail = File::open(path).and_then(|mut file| {
            let length = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(length.saturating_sub(MAX_BYTES as u64)))?;
            let mut tail = Vec::new();
            file.take(MAX_BYTES as u64).read_to_end(&mut tail)?;
            Ok(tail)
        });
        let LogName { namespace, pod, container, previous } = log;
        match tail {
            Ok(tail) => {
                self.read += 1;
                self.logs.push(ContainerLog { namespace, pod, container, previous, tail, reading: None })
            }
            Err(e) => self.fail(path, &e),
        }
    }

    fn finish(self) -> Dump {
        let Self { collector, logs, broken, heartbeats, read, skipped, .. } = self;
        let (mut snapshot, objects) = collector.finish();
        snapshot.sources.logs = !logs.is_empty();
        snapshot.logs = logs;
        Dump { snapshot, broken, read, skipped, objects, heartbeats }
    }
}

fn is_object_file(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ["json", "jsonl", "ndjson", "yaml", "yml"].iter().any(|x| e.eq_ignore_ascii_case(x)))
}

fn is_compressed(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
        ["gz", "tgz", "zip", "xz", "zst", "bz2", "tar"].iter().any(|x| e.eq_ignore_ascii_case(x))
    })
}

#[derive(Debug, PartialEq)]
struct LogName {
    namespace: String,
    pod: String,
    container: String,
    previous: bool,
}

/// Whose log a file holds, by its name: `NS.POD.CONTAINER.{previous,current}.log`, or must-gather's
/// `namespaces/NS/pods/POD/CONTAINER/CONTAINER/logs/{previous,current}.log`. Namespaces and containers have no dots in their
/// names, pods may.
fn log_of(path: &Path) -> Option<LogName> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    let (whose, which) = name.rsplit_once('.').unwrap_or(("", name));
    let previous = match which {
        "previous" => true,
        "current" => false,
        _ => return None,
    };
    let (namespace, pod, container) = if whose.is_empty() {
        let mut up = path.parent()?.iter().rev().map(|part| part.to_str().unwrap_or_default());
        let mut next = || up.next().unwrap_or_default();
        match (next(), next(), next(), next(), next(), next()) {
            ("logs", container, same, pod, "pods", namespace) if container == same => {
                (namespace, pod, container)
            }
            _ => return None,
        }
    } else {
        let (namespace, rest) = whose.split_once('.')?;
        let (pod, container) = rest.rsplit_once('.')?;
        (namespace, pod, container)
    };
    let own = str::to_owned;
    Some(LogName { namespace: own(namespace), pod: own(pod), container: own(container), previous })
}

/// Text as shells and tools write it: UTF-8, or the UTF-16 of PowerShell's `>`.
fn decode_text(bytes: Vec<u8>) -> Result<String, (&'static str, &'static str)> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest
            .chunks_exact(2)
            .map(|pair| unit([pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => return Ok(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => return Ok(utf16(rest, u16::from_be_bytes)),
        [0x1f, 0x8b, ..] => return Err(("compressed with gzip", "unpack it first: gunzip, or tar -xzf")),
        [b'P', b'K', 3, 4, ..] => return Err(("a zip archive", "unpack it first: unzip")),
        _ => {}
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err(("a tar archive", "unpack it first: tar -xf, and give the directory"));
    }
    if bytes.starts_with(b"k8s\0") {
        return Err(("Kubernetes' protobuf encoding", "write it as JSON: kubectl get ... -o json"));
    }
    if bytes.contains(&0) {
        return Err(("neither JSON nor YAML, but binary", HOW_TO_DUMP));
    }
    let text =
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// A document that was passed over.
fn undecodable(place: String, why: &str) -> Undecodable {
    Undecodable { place, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_log_says_whose_it_is() {
        let name =
            |path: &str| log_of(Path::new(path)).map(|l| (l.namespace, l.pod, l.container, l.previous));
        let own = |ns: &str, pod: &str, c: &str, previous| {
            Some((ns.to_owned(), pod.to_owned(), c.to_owned(), previous))
        };
        assert_eq!(name("logs/shop.cart-1.cart.previous.log"), own("shop", "cart-1", "cart", true));
        assert_eq!(
            name("shop.a.pod.with.dots.cart.current.log"),
            own("shop", "a.pod.with.dots", "cart", false)
        );
        assert_eq!(
            name("mg/namespaces/shop/pods/cart-1/cart/cart/logs/previous.log"),
            own("shop", "cart-1", "cart", true)
        );
        for other in [
            "logs/kubelet.log",
            "logs/current.log",
            "a.b.previous.log",
            "x.previous.txt",
            "logs/shop.cart.cart.err",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn text_of_powershell_is_read_and_archives_are_named() {
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("{\"kind\":\"Pod\"}".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(decode_text(utf16).as_deref(), Ok("{\"kind\":\"Pod\"}"));
        assert_eq!(decode_text(b"\xef\xbb\xbf{}".to_vec()).as_deref(), Ok("{}"));
        assert!(decode_text(vec![0x1f, 0x8b, 8]).is_err());
        assert!(decode_text(b"abc\0def".to_vec()).is_err());
    }
}
