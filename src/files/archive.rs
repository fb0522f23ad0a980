//! Archives, told by their first bytes and read as they come: nothing is written to the disk, and a path in one is only a name.

use std::cell::Cell;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use zip::result::ZipError;

use super::{At, Input, Reader};
use crate::redact::clean;

/// Bytes of the name of a file, and of what comes before it in a tar archive.
const MAX_NAME: u64 = 64 << 10;
/// Bytes of the directory of a zip archive, which is kept as a whole.
const ZIP_DIRECTORY: u64 = 8 << 20;

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Gzip,
    Tar,
    Zip,
    /// Compressed in a way that is not read.
    Other,
}

impl Form {
    /// By the first bytes of a file.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        const MAGIC: [(usize, &[u8], Form); 7] = [
            (0, b"\x1f\x8b", Form::Gzip),
            (257, b"ustar", Form::Tar),
            (0, b"PK\x03\x04", Form::Zip),
            (0, b"PK\x05\x06", Form::Zip),
            (0, b"\xfd7zXZ\0", Form::Other),
            (0, b"\x28\xb5\x2f\xfd", Form::Other),
            (0, b"BZh", Form::Other),
        ];
        let is = |(at, magic, _): &&(usize, &[u8], Form)| {
            head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
        };
        MAGIC.iter().find(is).map(|(.., form)| *form)
    }
}

/// A limit was reached.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
struct Limit {
    why: String,
    hint: &'static str,
}

pub(super) fn limit(why: String, hint: &'static str) -> io::Error {
    io::Error::other(Limit { why, hint })
}

/// What an error says of an archive, without a word that stands in it. None for an error of the system.
pub(super) fn words(error: &io::Error) -> Option<(String, &'static str)> {
    if let Some(Limit { why, hint }) = error.get_ref().and_then(|e| e.downcast_ref()) {
        return Some((why.clone(), hint));
    }
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "cut off",
        _ if error.raw_os_error().is_none() => "damaged, or not an archive",
        _ => return None,
    };
    Some((format!("{why}: the rest is not read"), "copy the whole file again"))
}

/// Counts what comes out of archives.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(count as u64) else {
            let why = "too large when unpacked: the rest is not read".to_owned();
            return Err(limit(why, "unpack the files that you need, and pass the directory"));
        };
        self.left.set(left);
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl Reader {
    pub(super) fn archive(
        &mut self,
        at: &At<'_>,
        form: Form,
        head: &[u8],
        input: Input<'_>,
    ) -> io::Result<()> {
        if form == Form::Other {
            self.nothing(
                at,
                "compressed: unpack it first",
                "gzip and zip are read, xz, zstd and bzip2 are not",
            );
            return Ok(());
        }
        if at.layers >= self.limits.layers {
            self.broke(at.place, "archives are nested too deep", "unpack it, and pass the directory");
            return Ok(());
        }
        let at = At { layers: at.layers + 1, ..*at };
        match form {
            Form::Gzip => {
                let left = Rc::clone(&self.unpacked);
                let mut inner = Metered { inner: MultiGzDecoder::new(head.chain(input)), left };
                let path = at.path.to_string_lossy();
                let path = Path::new(path.strip_suffix(".gz").unwrap_or(&path));
                self.open(&At { path, ..at }, Input::Stream(&mut inner))
            }
            Form::Zip => {
                // What is in it is said at its end.
                if let Input::File(mut file) = input {
                    if file.rewind().is_ok() {
                        return self.zip(&at, BufReader::new(file));
                    }
                    return self.zip_in_memory(&at, head.chain(file));
                }
                self.zip_in_memory(&at, head.chain(input))
            }
            _ => self.tar(&at, BufReader::new(head.chain(input))),
        }
    }

    fn tar(&mut self, at: &At<'_>, input: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(input);
        // Raw, since long names are read without a bound otherwise.
        let entries = archive.entries()?.raw(true);
        let mut long_name: Option<Vec<u8>> = None;
        let mut failed = false;
        for entry in entries {
            let mut entry = match entry {
                Ok(entry) => entry,
                // The same damage has been told of the file in it.
                Err(_) if failed => return Ok(()),
                Err(error) => return Err(error),
            };
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
                let mut bytes = Vec::new();
                entry.by_ref().take(MAX_NAME).read_to_end(&mut bytes)?;
                let name = if kind.is_gnu_longname() { Some(bytes) } else { pax_path(&bytes) };
                long_name = name.or(long_name);
                continue;
            }
            if kind.is_pax_global_extensions() || kind.is_gnu_longlink() || kind.is_dir() {
                if kind.is_dir() {
                    long_name = None;
                }
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            let flaw = match kind {
                kind if kind.is_symlink() || kind.is_hard_link() => Some("a link in an archive"),
                kind if kind.is_file() || kind.is_contiguous() => None,
                _ => Some("not a regular file"),
            };
            failed = self.member(at, &name, flaw, &mut entry)?;
        }
        // Behind the last file there may be more, and only its end tells that it is whole.
        match io::copy(&mut archive.into_inner(), &mut io::sink()) {
            Err(error) if !failed => Err(error),
            _ => Ok(()),
        }
    }

    fn zip_in_memory(&mut self, at: &At<'_>, input: impl Read) -> io::Result<()> {
        let most = self.limits.text;
        let mut bytes = Vec::new();
        if input.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
            let why = format!(
                "a zip archive of more than {} MiB inside another one or on standard input",
                most >> 20
            );
            self.broke(at.place, why, "save it as a file, and pass that file");
            return Ok(());
        }
        self.zip(at, Cursor::new(bytes))
    }

    fn zip(&mut self, at: &At<'_>, inner: impl Read + Seek) -> io::Result<()> {
        let left = Rc::new(Cell::new(ZIP_DIRECTORY));
        let input = Metered { inner, left: Rc::clone(&left) };
        let mut archive = zip::ZipArchive::new(input).map_err(zip_error)?;
        left.set(u64::MAX);
        for index in 0..archive.len() {
            let name = archive.name_for_index(index).unwrap_or_default().to_owned();
            match archive.by_index(index) {
                Ok(file) if file.is_dir() => {}
                Ok(file) => {
                    let flaw = file.is_symlink().then_some("a link in an archive");
                    let mut file = Metered { inner: file, left: Rc::clone(&self.unpacked) };
                    self.member(at, name.as_bytes(), flaw, &mut file)?;
                }
                Err(error) => {
                    self.count()?;
                    match error {
                        ZipError::Io(_) | ZipError::InvalidArchive(_) => {
                            self.fail(&named(at, name.as_bytes()), &zip_error(error));
                        }
                        _ => {
                            let why = "encrypted, or compressed with a method that is not supported";
                            self.skip(&named(at, name.as_bytes()), why);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a file of an archive. Says whether that failed.
    fn member(
        &mut self,
        at: &At<'_>,
        name: &[u8],
        flaw: Option<&'static str>,
        input: &mut dyn Read,
    ) -> io::Result<bool> {
        self.count()?;
        let place = named(at, name);
        let path = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        let path = Path::new(&path);
        let hidden = path.iter().any(|part| {
            let part = part.as_encoded_bytes();
            part.starts_with(b".") && !matches!(part, b"." | b"..")
        });
        if let Some(why) = flaw.or(hidden.then_some("hidden")) {
            self.skip(&place, why);
            return Ok(false);
        }
        let inner = At { place: &place, path, given: false, layers: at.layers };
        match self.open(&inner, Input::Stream(input)) {
            // The archives around it are at their end, too.
            Err(error) if error.get_ref().is_some_and(|e| e.is::<Limit>()) => Err(error),
            Err(error) => {
                self.fail(&place, &error);
                Ok(true)
            }
            Ok(()) => Ok(false),
        }
    }
}

fn zip_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// What a file in an archive is called. Its name may be anything.
fn named(at: &At<'_>, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!("{}: {}", at.place, clean(name.trim_end_matches('\0')))
}

/// The path in a pax header: lines of `LENGTH KEY=VALUE`.
fn pax_path(header: &[u8]) -> Option<Vec<u8>> {
    let mut extensions = tar::PaxExtensions::new(header).flatten();
    extensions.find(|e| e.key_bytes() == b"path").map(|e| e.value_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Dump, LIMITS, Limits};
    use super::*;

    fn read(bytes: &[u8], limits: Limits) -> Dump {
        let mut reader = Reader::new(limits);
        let at = At { place: "x", path: Path::new("x"), given: true, layers: 0 };
        let mut input = bytes;
        if let Err(error) = reader.open(&at, Input::Stream(&mut input)) {
            reader.fail("x", &error);
        }
        reader.finish()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    fn tar<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn pod(name: &str, restarts: u32) -> Vec<u8> {
        let state =
            format!(r#""containerStatuses":[{{"name":"app","ready":true,"restartCount":{restarts}}}]"#);
        let meta = format!(r#""metadata":{{"namespace":"shop","name":"{name}","uid":"{name}"}}"#);
        format!(r#"{{"kind":"Pod","apiVersion":"v1",{meta},"status":{{{state}}}}}"#).into_bytes()
    }

    fn broken(dump: &Dump) -> Vec<String> {
        dump.broken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end_and_what_came_before_it_counts() {
        let limits = Limits { unpacked: 4 << 20, ..LIMITS };
        let bomb =
            tar([("pod.json", pod("a", 0)), ("bomb", vec![b' '; 8 << 20]), ("pod-b.json", pod("b", 0))]);
        let dump = read(&gzip(&bomb), limits);
        assert_eq!(dump.snapshot.pods.len(), 1);
        assert_eq!(broken(&dump), ["x: too large when unpacked: the rest is not read"]);
        let dump = read(&gzip(&gzip(&vec![b' '; 8 << 20])), limits);
        assert_eq!(broken(&dump), ["x: too large when unpacked: the rest is not read"]);
    }

    #[test]
    fn a_file_that_is_too_large_is_named_and_spoils_no_other() {
        let limits = Limits { text: 1 << 20, ..LIMITS };
        let files = [("a.json", vec![b' '; 2 << 20]), ("pod.json", pod("a", 0))];
        let dump = read(&gzip(&tar(files)), limits);
        assert_eq!(
            (dump.snapshot.pods.len(), broken(&dump)),
            (1, vec!["x: a.json: larger than 1 MiB".to_owned()])
        );
    }

    #[test]
    fn files_are_counted_in_archives_as_well() {
        let names: Vec<String> = (0..20).map(|n| format!("{n}.json")).collect();
        let files = names.iter().map(|name| (name.as_str(), pod(name, 0)));
        let dump = read(&tar(files), Limits { entries: 12, ..LIMITS });
        assert_eq!(dump.snapshot.pods.len(), 12);
        assert_eq!(broken(&dump), ["x: not read, like all that follow: more than 12 files"]);
    }

    #[test]
    fn archives_in_archives_end() {
        let mut nested = pod("a", 0);
        for _ in 0..4 {
            nested = gzip(&nested);
        }
        assert_eq!(read(&nested, LIMITS).snapshot.pods.len(), 1);
        assert_eq!(broken(&read(&gzip(&nested), LIMITS)), ["x: archives are nested too deep"]);
    }

    #[test]
    fn the_name_of_a_file_is_bounded() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(8 << 20);
        header.set_cksum();
        let mut bytes = [header.as_bytes().as_slice(), &vec![b'a'; 8 << 20]].concat();
        bytes.extend(tar([("pod.json", pod("a", 0))]));
        let dump = read(&bytes, LIMITS);
        assert!(dump.skipped.iter().all(|s| s.place.len() < 100_000));
    }

    #[test]
    fn of_too_many_logs_those_of_containers_that_failed_are_kept() {
        let log = vec![b'x'; 40 << 10];
        let names: Vec<String> = (0..50).map(|n| format!("shop.well-{n}.app.current.log")).collect();
        let mut files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), log.clone())).collect();
        let pods: Vec<Vec<u8>> = (0..50).map(|n| pod(&format!("well-{n}"), 0)).collect();
        files.insert(0, ("pods.json", [pods.concat(), pod("ill", 3)].concat()));
        files.push(("shop.ill.app.previous.log", log));
        let dump = read(&tar(files), Limits { logs: 256 << 10, ..LIMITS });
        assert!(dump.snapshot.logs.iter().any(|log| log.pod == "ill") && dump.snapshot.logs.len() < 8);
        assert_eq!((dump.skipped.len(), broken(&dump)), (0, Vec::<String>::new()));
        let names = ["a", "b"].map(|pod| format!("shop.{pod}.app.previous.log"));
        let files = names.iter().map(|name| (name.as_str(), vec![b'x'; 40 << 10]));
        let dump = read(&tar(files), Limits { logs: 50 << 10, ..LIMITS });
        assert_eq!((dump.snapshot.logs.len(), dump.skipped.len()), (1, 1));
    }
}
