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
/// How deep directories are followed; must-gather needs 9.
const MAX_DEPTH: usize = 24;

#[derive(Debug, Default)]
pub struct Dump {
    /// The objects, each in its newest state. Its `undecodable` are single documents of files that were read otherwise.
    pub snapshot: Snapshot,
    /// Files and directories that could not be read as a whole: what they held is missing from the look.
    pub broken: Vec<Broken>,
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

/// A file or directory that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where, in a file down to the place.
    pub place: String,
    pub why: String,
    pub hint: &'static str,
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
            Ok(meta) if meta.is_dir() => reader.directory(path, 0),
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
}

impl Reader {
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
            let hidden = entry.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            // A link to a directory may lead back up.
            let Ok(meta) = fs::symlink_metadata(&entry) else { continue };
            if hidden {
                continue;
            } else if meta.is_dir() {
                self.directory(&entry, depth + 1);
            } else if let Some(log) = log_of(&entry) {
                self.log(&entry, log);
            } else if is_object_file(&entry) && entry.is_file() {
                self.file(&entry, true);
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
                if !among_others {
                    self.broken.push(broken("empty".to_owned(), HOW_TO_DUMP));
                }
            }
            Ok(text) => {
                let beats = newest::heartbeats(&text);
                self.heartbeats.extend(beats);
                if let Err(cut) = self.collector.documents(place, &text, among_others) {
                    self.broken.push(cut);
                }
            }
        }
    }

    fn log(&mut self, path: &Path, log: LogName) {
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
                self.logs.push(ContainerLog { namespace, pod, container, previous, tail, reading: None })
            }
            Err(e) => self.fail(path, &e),
        }
    }

    fn finish(self) -> Dump {
        let Self { collector, logs, broken, heartbeats } = self;
        let (mut snapshot, objects) = collector.finish();
        snapshot.sources.logs = !logs.is_empty();
        snapshot.logs = logs;
        Dump { snapshot, broken, objects, heartbeats }
    }
}

fn is_object_file(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ["json", "jsonl", "ndjson", "yaml", "yml"].iter().any(|x| e.eq_ignore_ascii_case(x)))
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
