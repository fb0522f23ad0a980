//! Reading a look at a cluster from files: what `kubectl get ... -o json` printed, a directory or an archive of such files with
//! logs, a recorded watch, and what the usual tools gather; and writing one.
//!
//! Secrets, ConfigMaps and everything else that the analyzer does not know are skipped unread. What cannot be decoded is
//! named by its place, never by its content. Must not know the analyzer's rules, nor a cluster.

mod archive;
mod documents;
mod layouts;
mod logs;
mod newest;
pub mod rules;
mod text;
mod write;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use jiff::Timestamp;

use crate::diagnosis::{ContainerLog, Snapshot, Undecodable};
use documents::Collector;
use layouts::{LogOf, Told};

pub use newest::{newest_time, not_before};
pub use write::{Manifest, write};

/// How much is read of one file, in bytes: an input without end must not eat the memory.
const MAX_FILE: u64 = 4 << 30;
/// Why a file is skipped of which nothing tells what it is.
const UNKNOWN: &str = "unknown format";
/// How much of a file tells what it is.
const HEAD: u64 = 512;
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
    /// What `kubehealer dump` says of what it wrote.
    pub manifest: Option<Manifest>,
}

impl Dump {
    /// The instant at which the files were written, as far as they tell: see [`newest_time`].
    pub fn newest_time(&self, limit: Timestamp) -> Option<Timestamp> {
        if let Some(manifest) = &self.manifest {
            return Some(manifest.observed_at);
        }
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

/// What was read of these files and directories and what was not, in one line: `read 14 files, skipped 2: empty (a.json), hidden
/// (.b)`. None where nothing was skipped.
pub fn account(dump: &Dump, paths: &[PathBuf]) -> Option<String> {
    const NAMED: usize = 3;
    if dump.skipped.is_empty() {
        return None;
    }
    let roots: Vec<String> =
        paths.iter().map(|path| path.display().to_string().trim_end_matches('/').to_owned()).collect();
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Skipped { place, why } in &dump.skipped {
        // In a directory or an archive that was given, its path within that says enough.
        let within = roots.iter().find_map(|root| {
            let rest = place.strip_prefix(root)?;
            rest.strip_prefix('/').or_else(|| rest.strip_prefix(": "))
        });
        by_reason.entry(why).or_default().push(within.unwrap_or(place));
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
pub const HOW_TO_DUMP: &str = "to save a cluster to a file: kubehealer dump -A -o dump.tar.gz; or: kubectl get pods,events,nodes,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs -A -o json > dump.json";

/// Reads files, directories, and `-` for `stdin`, all into one.
pub fn read(paths: &[PathBuf], stdin: impl Read) -> Dump {
    let mut reader = Reader::new(LIMITS);
    let mut stdin = Some(stdin);
    for path in paths {
        let place = path.display().to_string();
        if path.as_os_str() == "-" {
            let at = At { place: "standard input", path, given: true, layers: 0 };
            let read = stdin.take().map_or(Ok(()), |mut stdin| reader.open(&at, Input::Stream(&mut stdin)));
            if let Err(e) = read {
                reader.fail(at.place, &e);
            }
            continue;
        }
        match fs::metadata(path) {
            Err(e) => reader.fail(&place, &e),
            Ok(meta) if meta.is_dir() => {
                reader.root = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                reader.directory(path, 0);
            }
            // A device may have no end.
            Ok(meta) if is_device(&meta) => reader.broke(&place, "a device, not a file", HOW_TO_DUMP),
            Ok(meta) if is_named_pipe(path, &meta) => reader.broke(
                &place,
                "a named pipe, not a file",
                "to read from a pipe, pass - and redirect the standard input",
            ),
            Ok(_) => reader.file(path, true),
        }
    }
    reader.finish()
}

/// What is read at most, however much there is.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Files and directories, in archives as well.
    entries: usize,
    /// Bytes of one text that comes out of an archive; a text on the disk is bounded by [`MAX_FILE`].
    text: u64,
    /// Bytes that come out of all archives.
    unpacked: u64,
    /// Archives in archives; each compression counts.
    layers: usize,
    /// Bytes of all ends of logs.
    logs: usize,
}

const LIMITS: Limits =
    Limits { entries: 200_000, text: 64 << 20, unpacked: 16 << 30, layers: 4, logs: 32 << 20 };

/// A file, on the disk or in an archive.
#[derive(Clone, Copy)]
struct At<'a> {
    /// What it is called when something is said of it.
    place: &'a str,
    /// By which its layout is told. In an archive it is only a name.
    path: &'a Path,
    /// Whether the user named it. Of others it is no error that they hold nothing to look at.
    given: bool,
    /// In how many archives it is.
    layers: usize,
}

/// Where the bytes of a file come from.
enum Input<'a> {
    File(File),
    Stream(&'a mut dyn Read),
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

struct Reader {
    limits: Limits,
    collector: Collector,
    logs: BTreeMap<LogOf, Vec<u8>>,
    /// Bytes of these.
    log_bytes: usize,
    /// The containers that are well, as of so many objects; asked for once there are too many logs.
    well: (usize, HashSet<[String; 3]>),
    broken: Vec<Broken>,
    heartbeats: Vec<Timestamp>,
    read: usize,
    skipped: Vec<Skipped>,
    /// Files and directories that were come by.
    entries: usize,
    /// Bytes that may still come out of archives.
    unpacked: Rc<Cell<u64>>,
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

#[cfg(unix)]
fn is_pipe(meta: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&meta.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &fs::Metadata) -> bool {
    false
}

/// Whether opening it may wait for ever for somebody who writes to it. The pipe of a shell's `<(...)` is open.
fn is_named_pipe(path: &Path, meta: &fs::Metadata) -> bool {
    is_pipe(meta) && !is_inherited(path)
}

/// Whether the path is a file that was open when this program began.
fn is_inherited(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}

impl Reader {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            collector: Collector::default(),
            logs: BTreeMap::new(),
            log_bytes: 0,
            well: (0, HashSet::new()),
            broken: Vec::new(),
            heartbeats: Vec::new(),
            read: 0,
            skipped: Vec::new(),
            entries: 0,
            unpacked: Rc::new(Cell::new(limits.unpacked)),
            root: PathBuf::new(),
        }
    }

    fn skip(&mut self, place: &str, why: &'static str) {
        self.skipped.push(Skipped { place: place.to_owned(), why });
    }

    fn broke(&mut self, place: &str, why: impl Into<String>, hint: &'static str) {
        self.broken.push(Broken { place: place.to_owned(), why: why.into(), hint });
    }

    /// A file holds nothing to look at: what it is, and what to give instead.
    fn nothing(&mut self, at: &At<'_>, what: &'static str, hint: &'static str) {
        match at.given {
            true => self.broke(at.place, what, hint),
            false => self.skip(at.place, what),
        }
    }

    /// Why a link is not followed: out of the directory it may lead to anything on this machine.
    fn flaw_of_link(&self, link: &Path) -> Option<&'static str> {
        let Ok(target) = fs::canonicalize(link) else { return Some("a broken link") };
        if !target.starts_with(&self.root) {
            return Some("a link that points outside the directory");
        }
        // It may lead back up, and what it leads to is read at its own place.
        target.is_dir().then_some("a link to a directory")
    }

    fn fail(&mut self, place: &str, error: &io::Error) {
        let (why, hint) = match error.kind() {
            io::ErrorKind::NotFound => {
                ("there is no such file or directory".to_owned(), "is the path right?")
            }
            io::ErrorKind::PermissionDenied => ("permission denied".to_owned(), "who owns it? try: ls -l"),
            _ => archive::words(error).unwrap_or_else(|| (error.to_string(), "can another program read it?")),
        };
        self.broke(place, why, hint);
    }

    /// Every file below, in the order of the names: the same directory gives the same look.
    fn directory(&mut self, path: &Path, depth: usize) {
        let place = path.display().to_string();
        if depth > MAX_DEPTH {
            return self.broke(
                &place,
                format!("more than {MAX_DEPTH} directories deep"),
                "pass this directory as well",
            );
        }
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(e) => return self.fail(&place, &e),
        };
        let mut entries: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).collect();
        entries.sort();
        for entry in entries {
            let place = entry.display().to_string();
            if let Err(e) = self.count() {
                return self.fail(&place, &e);
            }
            let meta = match fs::symlink_metadata(&entry) {
                Ok(meta) => meta,
                Err(e) => {
                    self.fail(&place, &e);
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
                self.skip(&place, why);
            } else if meta.is_dir() {
                self.directory(&entry, depth + 1);
            } else if regular {
                self.file(&entry, false);
            } else {
                self.skip(&place, "not a regular file");
            }
        }
    }

    /// One file or directory more.
    fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        let most = self.limits.entries;
        if self.entries > most {
            return Err(archive::limit(
                format!("not read, like all that follow: more than {most} files"),
                "pass the directories that you need one by one",
            ));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, given: bool) {
        let place = path.display().to_string();
        let at = At { place: &place, path, given, layers: 0 };
        let read = File::open(path).and_then(|file| self.open(&at, Input::File(file)));
        if let Err(e) = read {
            self.fail(&place, &e);
        }
    }

    /// Reads a file, whatever it is: its first bytes say whether it is an archive.
    fn open(&mut self, at: &At<'_>, mut input: Input<'_>) -> io::Result<()> {
        let mut head = Vec::new();
        input.by_ref().take(HEAD).read_to_end(&mut head)?;
        match archive::Form::of(&head) {
            Some(form) => self.archive(at, form, &head, input),
            None => self.content(at, &head, input),
        }
    }

    fn content(&mut self, at: &At<'_>, head: &[u8], mut input: Input<'_>) -> io::Result<()> {
        match layouts::told(at.path) {
            Some(Told::Log(of)) => {
                let tail = logs::tail(head, &mut input)?;
                self.read += 1;
                self.log(at, of, tail);
                Ok(())
            }
            Some(Told::Logs) => {
                match self.sections(at, BufReader::new(head.chain(input)), None)? {
                    0 => self.skip(at.place, UNKNOWN),
                    _ => self.read += 1,
                }
                Ok(())
            }
            Some(Told::Error) => {
                self.skip(at.place, "not a log, but a tool's message that it could not read the log");
                Ok(())
            }
            Some(Told::Items { api_version, kind }) => self.text(at, head, input, Some((api_version, kind))),
            None if at.given || is_object_file(at.path) || text::begins_as_objects(head) => {
                self.text(at, head, input, None)
            }
            None => {
                let what = text::for_people(&String::from_utf8_lossy(head)).map(|(what, _)| what);
                self.skip(at.place, what.unwrap_or(UNKNOWN));
                Ok(())
            }
        }
    }

    fn text(
        &mut self,
        at: &At<'_>,
        head: &[u8],
        input: Input<'_>,
        items: Option<(&'static str, &'static str)>,
    ) -> io::Result<()> {
        let most = if at.layers == 0 { MAX_FILE } else { self.limits.text };
        let bytes = match text::read(head.chain(input).take(most + 1))? {
            Ok(bytes) => bytes,
            Err((why, hint)) => {
                self.broke(at.place, why, hint);
                return Ok(());
            }
        };
        if bytes.len() as u64 > most {
            let hint = if at.layers == 0 {
                "write one file per kind or namespace, into a directory"
            } else {
                "unpack the archive, and pass the directory"
            };
            self.broke(at.place, format!("larger than {} MiB", most >> 20), hint);
            return Ok(());
        }
        let mut text = match text::decode(bytes) {
            Ok(text) => text,
            Err((why, hint)) => {
                self.broke(at.place, why, hint);
                return Ok(());
            }
        };
        // Tools that gather whole clusters leave empty files where there was nothing to gather.
        let empty = text.trim().is_empty().then_some(("empty", HOW_TO_DUMP));
        if let Some((what, hint)) = empty.or_else(|| text::for_people(&text)) {
            self.nothing(at, what, hint);
            return Ok(());
        }
        if logs::has_sections(&text) {
            // `kubectl cluster-info dump` to standard output.
            let mut rest = Vec::new();
            self.sections(at, text.as_bytes(), Some(&mut rest))?;
            text = String::from_utf8(rest).unwrap_or_default();
        }
        self.heartbeats.extend(newest::heartbeats(&text));
        let before = self.collector.objects();
        match self.collector.documents(at.place, &text, !at.given, items) {
            Ok(()) if self.collector.objects() > before => self.read += 1,
            Ok(()) if at.given => {}
            // Only its beginning promised objects.
            Err(_) if !at.given && !is_object_file(at.path) => {
                self.skip(at.place, "neither JSON nor YAML of Kubernetes objects");
            }
            Ok(()) => self.skip(at.place, "no Kubernetes objects in it"),
            Err(broken) => self.broken.push(broken),
        }
        Ok(())
    }

    fn sections(
        &mut self,
        at: &At<'_>,
        input: impl BufRead,
        rest: Option<&mut Vec<u8>>,
    ) -> io::Result<usize> {
        logs::sections(input, rest, |of, tail| self.log(at, of, tail))
    }

    fn log(&mut self, at: &At<'_>, of: LogOf, tail: Vec<u8>) {
        if self.well.1.contains(&of.container()) {
            return;
        }
        self.log_bytes += tail.len();
        let replaced = self.logs.insert(of.clone(), tail);
        self.log_bytes -= replaced.map_or(0, |tail| tail.len());
        if self.log_bytes <= self.limits.logs {
            return;
        }
        // Those of containers that never failed are not looked at.
        let objects = self.collector.objects();
        if self.well.0 != objects {
            self.well = (objects, self.collector.well());
            self.logs.retain(|of, _| !self.well.1.contains(&of.container()));
            self.log_bytes = self.logs.values().map(Vec::len).sum();
        }
        if self.log_bytes > self.limits.logs
            && let Some(tail) = self.logs.remove(&of)
        {
            self.log_bytes -= tail.len();
            self.skip(at.place, "too many logs");
        }
    }

    fn finish(self) -> Dump {
        let Self { collector, logs, broken, heartbeats, read, skipped, .. } = self;
        let (mut snapshot, manifest, objects) = collector.finish();
        snapshot.sources.logs = !logs.is_empty();
        let log = |(of, tail): (LogOf, Vec<u8>)| {
            let LogOf { namespace, pod, container, previous } = of;
            ContainerLog { namespace, pod, container, previous, tail, reading: None }
        };
        snapshot.logs = logs.into_iter().map(log).collect();
        if let Some(manifest) = &manifest {
            snapshot.sources = manifest.sources;
        }
        Dump { snapshot, broken, read, skipped, objects, heartbeats, manifest }
    }
}

fn is_object_file(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ["json", "jsonl", "ndjson", "yaml", "yml"].iter().any(|x| e.eq_ignore_ascii_case(x)))
}

/// A document that was passed over.
fn undecodable(place: String, why: &str) -> Undecodable {
    Undecodable { place, why: why.to_owned() }
}
