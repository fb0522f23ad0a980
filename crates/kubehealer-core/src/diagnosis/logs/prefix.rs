//! What stands in front of each line of a record and is none of it: the worker process that a supervisor names, and the
//! header that some loggers repeat before every line of a traceback.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::rule::pattern;

/// `(EngineCore_0 pid=271) `, `(RayTrainWorker pid=411, ip=10.0.2.4) `.
static WORKER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\([\w.:<>-]{1,60}(?:,? \w+=[\w.:-]+)* ?\bpid=\d+(?:,? \w+=[\w.:-]+)*\) ?"));

const TRACEBACK: &str = "Traceback (most recent call last):";

/// The lines without their prefixes.
pub(super) fn without(lines: &[String]) -> Cow<'_, [String]> {
    let prefixed = |line: &String| {
        line.starts_with('(') && line.contains("pid=") || line.find(TRACEBACK).is_some_and(|at| at > 0)
    };
    if !lines.iter().any(prefixed) {
        return Cow::Borrowed(lines);
    }
    let mut header = "";
    let mut plain = Vec::with_capacity(lines.len());
    for line in lines {
        let end = WORKER.find(line).map_or(0, |worker| worker.end());
        let line = line.get(end..).unwrap_or_default();
        let rest = line
            .split_at_checked(header.len())
            .filter(|(head, _)| !header.is_empty() && (*head == header || is_stamp(head, header)));
        if let Some((_, rest)) = rest {
            plain.push(rest.to_owned());
            continue;
        }
        let before = line.find(TRACEBACK).and_then(|at| line.get(..at)).unwrap_or_default();
        header = if before.trim().is_empty() { "" } else { before };
        plain.push(line.to_owned());
    }
    Cow::Owned(plain)
}

/// Whether it is a time in the form of this one: a supervisor writes it before every line of what it runs.
fn is_stamp(text: &str, like: &str) -> bool {
    let same =
        |(a, b): (u8, u8)| a == b && b"-:.,TZ+[] ".contains(&a) || a.is_ascii_digit() && b.is_ascii_digit();
    text.len() == like.len() && like.len() >= 19 && text.bytes().zip(like.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    fn without(log: &str) -> Vec<String> {
        super::without(&log.lines().map(str::to_owned).collect::<Vec<_>>()).into_owned()
    }

    #[test]
    fn the_name_of_a_worker_is_taken_off() {
        assert_eq!(
            without(
                "(Worker pid=4, ip=10.0.2.4)   File \"a.py\"\n(Core_0 pid=271) ValueError: x\n(2 of 3) done"
            ),
            ["  File \"a.py\"", "ValueError: x", "(2 of 3) done"]
        );
    }

    #[test]
    fn the_header_before_each_line_of_a_traceback_is_taken_off() {
        let log = "ERROR 11-30 [a.py:7] Traceback (most recent call last):\nERROR 11-30 [a.py:7]   File \"b.py\"\nERROR 11-30 [a.py:7] ValueError: x\nERROR 11-30 [a.py:8] next";
        assert_eq!(
            without(log),
            [
                "ERROR 11-30 [a.py:7] Traceback (most recent call last):",
                "  File \"b.py\"",
                "ValueError: x",
                "ERROR 11-30 [a.py:8] next"
            ]
        );
    }

    #[test]
    fn the_time_that_a_supervisor_writes_before_each_line_is_taken_off() {
        let log = "2026-11-30 09:56:49.029116254  Traceback (most recent call last):\n2026-11-30 09:56:49.029118612    File \"a.py\", line 3\n2026-11-30 09:56:49.029148021  yaml.parser.ParserError: x\nservice: stopped";
        assert_eq!(
            without(log)[1..],
            ["  File \"a.py\", line 3", "yaml.parser.ParserError: x", "service: stopped"]
        );
    }
}
