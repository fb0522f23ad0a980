//! The ends of logs, of any length: one to a file, or those of many containers one after the other.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::Input;
use super::layouts::LogOf;
use crate::diagnosis::logs::{MAX_BYTES, MAX_LINES};

/// What `kubectl cluster-info dump` writes before and behind each log.
const START: &str = "==== START logs for container ";
const END: &str = "==== END logs for container ";
/// What it writes in place of one that it could not read.
const NO_LOG: [&[u8]; 2] = [b"Request log error: ", b"Create log request error: "];

/// The end of what passes.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 4 * MAX_BYTES {
            self.0.drain(..self.0.len() - MAX_BYTES);
        }
    }

    /// As many bytes and lines as are asked for in a cluster.
    fn finish(mut self) -> Vec<u8> {
        let mut from = self.0.len().saturating_sub(MAX_BYTES);
        let end = self.0.trim_ascii_end().len();
        let lines = self.0.get(from..end).unwrap_or_default();
        if let Some(before) = memchr::memrchr_iter(b'\n', lines).nth(MAX_LINES - 1) {
            from += before + 1;
        }
        self.0.split_off(from)
    }
}

/// The end of a log that is all of its file.
pub(super) fn tail(head: &[u8], input: &mut Input<'_>) -> io::Result<Vec<u8>> {
    let mut tail = Tail::default();
    if let Input::File(file) = &mut *input
        && let Ok(length) = file.seek(SeekFrom::End(0))
    {
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_BYTES as u64)))?;
    } else {
        tail.push(head);
    }
    let mut buffer = vec![0; MAX_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(tail.finish()),
            Ok(count) => tail.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether logs of several containers are in a text.
pub(super) fn has_sections(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), START.as_bytes()).is_some()
}

/// Takes the logs out of a text, and hands them on. What is between them goes to `rest`.
pub(super) fn sections(
    mut input: impl BufRead,
    mut rest: Option<&mut Vec<u8>>,
    mut found: impl FnMut(LogOf, Vec<u8>),
) -> io::Result<()> {
    let mut open: Option<(LogOf, Tail)> = None;
    let mut close = |open: &mut Option<(LogOf, Tail)>| {
        if let Some((of, tail)) = open.take()
            && !NO_LOG.iter().any(|error| tail.0.starts_with(error))
        {
            found(of, tail.finish());
        }
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line may be of any length.
        if input.by_ref().take(MAX_BYTES as u64).read_until(b'\n', &mut line)? == 0 {
            close(&mut open);
            return Ok(());
        }
        if let Some(of) = log_after(&line) {
            close(&mut open);
            open = Some((of, Tail::default()));
        } else if let Some((_, tail)) = &mut open {
            // A log need not end with a line feed.
            let end = memchr::memmem::rfind(&line, END.as_bytes());
            tail.push(line.get(..end.unwrap_or(line.len())).unwrap_or_default());
            if end.is_some() {
                close(&mut open);
            }
        } else if let Some(rest) = &mut rest {
            rest.extend_from_slice(&line);
        }
    }
}

/// Whose log follows: `==== START logs for container CONTAINER of pod NAMESPACE/POD ====`.
fn log_after(line: &[u8]) -> Option<LogOf> {
    let line = line.strip_prefix(START.as_bytes())?;
    let (container, pod) =
        std::str::from_utf8(line).ok()?.trim_end().strip_suffix(" ====")?.split_once(" of pod ")?;
    let (namespace, pod) = pod.split_once('/')?;
    let own = str::to_owned;
    Some(LogOf { namespace: own(namespace), pod: own(pod), container: own(container), previous: false })
}
