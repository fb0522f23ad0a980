//! Records of a log: what one call of a logger, or one crash, wrote over one or more lines.
//!
//! Stack traces, indented continuations, lists and pretty-printed JSON belong to the line that began them. Must not know
//! which record explains a termination.

use super::erlang;
use super::fields;
use super::formats::{Level, Line};
use super::npm;
use super::prefix;
use super::thrown::{self, MAX_TEXT, Thrown, closes, is_chain_mark, is_frame, starts_traceback};
use crate::redact;

/// The most lines that one record takes up.
const MAX_LINES: usize = 150;

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    /// Its first line in the tail, and how many there are.
    pub first: usize,
    pub lines: usize,
    pub level: Level,
    pub headed: bool,
    /// The message, without header.
    pub text: String,
    /// The error that came with it, where the message does not say it.
    pub error: String,
    /// What was thrown, the outermost first.
    pub thrown: Vec<Thrown>,
    /// It shows a stack: the program, or a part of it, broke.
    pub stack: bool,
}

impl Record {
    /// Message, error and what was thrown, in one line.
    pub(super) fn whole(&self) -> String {
        let mut all = self.text.clone();
        let mut add = |said: &str| {
            if !said.is_empty() && !all.contains(said) && all.len() < MAX_TEXT {
                if !all.is_empty() {
                    all.push_str(": ");
                }
                all.push_str(said);
            }
        };
        add(&self.error);
        for thrown in &self.thrown {
            match (thrown.class.is_empty(), thrown.message.is_empty()) {
                (true, _) => add(&thrown.message),
                (_, true) => add(&thrown.class),
                _ => add(&format!("{}: {}", thrown.class, thrown.message)),
            }
        }
        all
    }
}

/// The records of a tail, oldest first.
pub(super) fn records(lines: &[String], timed: &[bool]) -> Vec<Record> {
    let plain = prefix::without(lines);
    let (raw, lines) = (lines, &*plain);
    let mut records: Vec<Record> = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for (index, line) in lines.iter().enumerate() {
        // What continues a record needs no header, and most lines that do are told by their first character.
        let whole = raw.get(index).is_some_and(|raw| raw.len() == line.len());
        let own =
            whole && timed.get(index).copied().unwrap_or(false) && !line.starts_with(' ') && !is_frame(line);
        let mut head = None;
        if let Some(current) = &mut open
            && !(own && current.depth == 0)
            && current.takes(line, lines.get(index + 1..).unwrap_or_default(), &mut head)
        {
            continue;
        }
        if let Some(done) = open.take() {
            records.push(done.close());
        }
        let head = match head {
            Some(head) if !own => head,
            _ if own => Line::of_timed(line),
            _ => Line::of(line),
        };
        open = Some(Open::new(index, line, head));
    }
    records.extend(open.map(Open::close));
    records
}

/// A record to which lines may still come.
struct Open<'a> {
    first: usize,
    head: Line<'a>,
    lines: Vec<&'a str>,
    /// Open braces and brackets of pretty-printed JSON.
    depth: i32,
    /// A Python traceback that has not come to its exception.
    traceback: bool,
    /// A crash of a Go program, whose frames stand at the margin.
    go: bool,
    /// Its last line announces what follows: a list, the message itself.
    announced: bool,
    /// How many lines it may still take for that.
    room: usize,
    /// The line that began a framed text and that will end it.
    frame: Option<&'a str>,
    /// Its last line is the message of an exception.
    message: bool,
}

impl<'a> Open<'a> {
    fn new(first: usize, line: &'a str, head: Line<'a>) -> Self {
        let text = head.text.trim();
        let opens = matches!(text, "{" | "[") || text.ends_with(": [") || text.ends_with(": {");
        let depth = if opens { 1 } else { 0 };
        let go =
            ["panic:", "fatal error:", "goroutine ", "runtime: ", "SIGSEGV", "SIGABRT", "unexpected fault"]
                .iter()
                .any(|start| text.starts_with(start));
        let mut open = Self {
            first,
            depth,
            traceback: starts_traceback(text),
            go,
            announced: false,
            room: 0,
            frame: None,
            message: thrown::begins(text),
            head,
            lines: vec![line],
        };
        open.announce(line);
        open
    }

    /// Notes whether the line needs the ones behind it.
    fn announce(&mut self, line: &str) {
        let line = line.trim_end();
        let listed = line.ends_with(':') || line.ends_with("unmarshal errors:");
        let errors = line.contains(" validation error");
        self.announced = (listed || errors || line.ends_with(',') || is_banner(line)) && line.len() > 1;
        if self.announced && self.room == 0 {
            self.room = match (errors, is_banner(line)) {
                (true, _) => 24,
                (_, true) => 15,
                _ => 6,
            };
        }
    }

    /// Takes the line if it continues the record; leaves its header in `head` where that was read.
    fn takes(&mut self, line: &'a str, rest: &[String], head: &mut Option<Line<'a>>) -> bool {
        if self.lines.len() >= MAX_LINES {
            return false;
        }
        if let Some(continued) = self.behind_the_same_head(line) {
            self.lines.push(continued);
            return true;
        }
        let framed = self.frame.is_some();
        if !self.continues(line, rest, head) {
            return false;
        }
        // The message of an exception may have several lines.
        let text = line.trim();
        self.message = thrown::begins(text) || thrown::is_cause(text) || self.message && !is_frame(text);
        if !(is_rule(text) && (framed || self.frame.is_some())) {
            self.lines.push(line);
        }
        true
    }

    /// The rest of a line that begins with all that the first one has in front of its message, the time too, and is indented
    /// behind that: some loggers (Erlang's) write the header on each line of a message.
    fn behind_the_same_head(&self, line: &'a str) -> Option<&'a str> {
        let first = self.lines.first().filter(|_| self.head.headed && self.head.level != Level::Unknown)?;
        let same = first.bytes().zip(line.bytes()).take_while(|(a, b)| a == b).count();
        let (head, rest) = line.split_at_checked(same)?;
        let is_head = head.ends_with(' ') && head.bytes().filter(u8::is_ascii_digit).count() >= 12;
        // Levels are padded, too.
        (is_head && rest.starts_with("  ") && Line::of(line).level == self.head.level).then_some(rest)
    }

    fn continues(&mut self, line: &'a str, rest: &[String], read: &mut Option<Line<'a>>) -> bool {
        let text = line.trim();
        if self.depth > 0 {
            self.depth += braces(text);
            return true;
        }
        if let Some(frame) = self.frame {
            self.frame = Some(frame).filter(|frame| *frame != text);
            return true;
        }
        let opens =
            is_rule(text) && self.lines.len() == 1 && self.head.headed && self.head.level <= Level::Error;
        if opens && frame_closes(text, rest) {
            self.frame = Some(text);
            return true;
        }
        if self.traceback {
            // The first line at the margin is the exception.
            if !line.starts_with(' ') && !is_chain_mark(text) && !starts_traceback(text) {
                self.traceback = false;
                self.announce(line);
            }
            return true;
        }
        if line.starts_with(' ') && !shouts(text) && !text.starts_with('{') && (self.go || !timed(text)) {
            return true;
        }
        if line.starts_with('#') && self.lines.first().is_some_and(|first| first.starts_with('#')) {
            return true;
        }
        let detail = text.contains("DETAIL: ") && self.head.level <= Level::Error;
        if detail || self.lines.first().is_some_and(|first| npm::continues(first, line)) {
            return true;
        }
        let head = read.insert(Line::of(line));
        if head.headed
            && !(is_frame(text) && (head.level == Level::Unknown || text.starts_with("note: ")))
            && !self.words_of_python(text)
        {
            return false;
        }
        if self.message && !is_frame(text) && frame_follows(rest) {
            return true;
        }
        if is_chain_mark(text) || starts_traceback(text) {
            let joins = self.has_stack() || (self.head.headed && self.head.level <= Level::Warning);
            self.traceback |= joins && starts_traceback(text);
            return joins;
        }
        if text.starts_with("Caused by:") || text.starts_with("---> ") || text.starts_with("Suppressed: ") {
            return true;
        }
        let crash = self.go || self.has_stack() || self.is_exception();
        if is_frame(text)
            && (crash
                || text.starts_with("at ")
                || text.starts_with("... ")
                || closes(text)
                || self.head.level <= Level::Warning)
        {
            return true;
        }
        // The exception that a logger prints under its message.
        if thrown::begins(text) && self.head.headed && self.head.level <= Level::Warning && !self.has_stack()
        {
            self.announce(line);
            return true;
        }
        if self.go && (text.starts_with("fatal error:") || text.starts_with("runtime: ")) {
            return true;
        }
        if self.room > 0 && (self.announced || text.starts_with(['-', '*', '•'])) && !is_heading(text) {
            self.room -= 1;
            // Each item of a list may be followed by another one; errors of a validation go on until their room ends.
            self.announced =
                text.ends_with([':', ',']) || text.starts_with(['-', '*', '•']) || self.room >= 12;
            return true;
        }
        false
    }

    /// The messages of Python's validators name their fields at the margin.
    fn words_of_python(&self, text: &str) -> bool {
        self.room >= 12 && !text.contains(' ')
    }

    fn has_stack(&self) -> bool {
        self.lines.iter().skip(1).any(|line| is_frame(line)) || !self.head.trace.is_empty()
    }

    fn is_exception(&self) -> bool {
        self.lines.first().is_some_and(|line| {
            let line = line.trim();
            thrown::begins(line) || thrown::is_ruby(line) || line.contains("panicked at ")
        }) || thrown::begins(self.head.text.trim())
    }

    fn close(mut self) -> Record {
        // A pretty-printed object is read as if it stood in one line.
        if matches!(self.head.text.trim(), "{" | "[") && self.lines.len() > 2 {
            let joined: String = self.lines.iter().flat_map(|line| [line.trim(), " "]).collect();
            let joined = redact::cut(&joined, MAX_TEXT).to_owned();
            if fields::json(&joined).is_some() {
                let read = Line::of(&joined);
                self.head = Line {
                    level: read.level,
                    headed: read.headed,
                    text: read.text.into_owned().into(),
                    error: read.error,
                    class: read.class,
                    trace: read.trace,
                };
                self.lines.truncate(1);
            }
        }
        let mut lines: Vec<String> = self.lines.iter().skip(1).map(|line| (*line).to_owned()).collect();
        lines.extend(self.head.trace.iter().map(|line| redact::clean(line).into_owned()));
        let class = self.head.class.clone();
        let (text, mut thrown, stack) = thrown::parts(self.head.text.trim(), &lines);
        if thrown.is_empty() && !class.is_empty() {
            let message = if self.head.error.is_empty() { String::new() } else { self.head.error.clone() };
            thrown.push(Thrown { class, message, cause: false, frame: String::new() });
        }
        let stack = stack || self.traceback || self.go;
        let level = match self.head.level {
            Level::Unknown if text.starts_with("panic:") || text.starts_with("fatal error:") => Level::Fatal,
            // A supervisor's note of what it gave up.
            Level::Chatter if shouts_fatal(&text) => Level::Unknown,
            Level::Chatter if text.starts_with("Application ") && text.contains(" exited: ") => Level::Error,
            level => level,
        };
        let text = npm::read(&self.lines).or_else(|| erlang::read(&text)).unwrap_or(text);
        Record {
            first: self.first,
            lines: self.lines.len(),
            level,
            headed: self.head.headed,
            text: redact::clean(&text).into_owned(),
            error: redact::clean(&self.head.error).into_owned(),
            thrown,
            stack,
        }
    }
}

/// Whether frames of a stack come within a few lines, and nothing begins anew before.
fn frame_follows(lines: &[String]) -> bool {
    let frame = |line: &String| {
        let line = line.trim_start();
        line.starts_with("at ") || line.starts_with("... ")
    };
    let at = lines.iter().take(8).position(frame);
    at.is_some_and(|at| !lines.iter().take(at).any(|line| Line::of(line).headed))
}

/// A line of one sign: the beginning or the end of a text that is set off.
fn is_rule(text: &str) -> bool {
    text.len() >= 5 && ["=", "-", "*", "#", "_"].iter().any(|sign| text.trim_start_matches(sign).is_empty())
}

/// Whether the same line comes again within some lines, and nothing begins anew before.
fn frame_closes(frame: &str, lines: &[String]) -> bool {
    let at = lines.iter().take(24).position(|line| line.trim() == frame);
    at.is_some_and(|at| !lines.iter().take(at).any(|line| Line::of(line).headed))
}

/// A level in capitals begins a line of its own, also behind a blank.
fn shouts(text: &str) -> bool {
    ["FATAL ", "ERROR ", "CRITICAL ", "WARN ", "WARNING "].iter().any(|level| text.starts_with(level))
}

/// A line that begins with a time, though it is indented.
fn timed(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && Line::of(text).headed
}

/// `*** FATAL CONFIG FILE ERROR ***`: what is wrong follows.
fn is_banner(line: &str) -> bool {
    let lower = line.trim().to_ascii_lowercase();
    lower.starts_with("***")
        && lower.ends_with("***")
        && ["fatal", "error", "fail", "exception"].iter().any(|word| lower.contains(word))
}

fn shouts_fatal(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == "FATAL")
}

/// A heading of a help text or of advice is no part of a message.
fn is_heading(text: &str) -> bool {
    ["Usage", "usage", "Flags", "Options", "Commands", "Action:", "Available", "Examples"]
        .iter()
        .any(|head| text.starts_with(head))
}

fn braces(text: &str) -> i32 {
    let mut quoted = false;
    let mut escaped = false;
    let mut depth = 0;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &str) -> Vec<Record> {
        let lines: Vec<String> =
            log.lines().map(|l| redact::clean(l).into_owned()).filter(|l| !l.trim().is_empty()).collect();
        records(&lines, &[])
    }

    #[test]
    fn stack_traces_of_the_common_runtimes_are_one_record_each() {
        for (log, thrown) in [
            (
                "2026-11-30 10:00:00 ERROR [main] o.s.Boot - run failed\njava.lang.IllegalStateException: no bean 'x'\n\tat a.b.C.d(C.java:1)\nCaused by: org.postgresql.util.PSQLException: FATAL: auth\n\tat a.b.C.d(C.java:2)\n\t... 12 more",
                vec!["IllegalStateException: no bean 'x'", "PSQLException: FATAL: auth"],
            ),
            (
                "Traceback (most recent call last):\n  File \"/a.py\", line 1, in <module>\n    main()\n    ~~~~^^\nKeyError: 'DB_URL'",
                vec!["KeyError: 'DB_URL'"],
            ),
            (
                "Traceback (most recent call last):\n  File \"/a.py\", line 1\nA.BError: root\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"/a.py\", line 2\nC.DError: outer",
                vec!["DError: outer", "BError: root"],
            ),
            (
                "Unhandled exception. Npgsql.NpgsqlException (0x80004005): Failed to connect to [::1]:5432\n ---> System.Net.Sockets.SocketException (99): Cannot assign\n   at Npgsql.X.Y()\n   --- End of inner exception stack trace ---",
                vec!["NpgsqlException: Failed to connect to [::1]:5432", "SocketException: Cannot assign"],
            ),
            (
                "crit: Microsoft.AspNetCore.Server.Kestrel[0]\n      Unable to start Kestrel.\nSystem.IO.IOException: in use\n   at X.Y()",
                vec!["IOException: in use"],
            ),
            (
                "ForwardedError: Plugin 'k' failed\n    at /app/x.js:1:2\n    at async Promise.all (index 8) {\n  cause: Error: missing\n      at X (/app/y.js:1:2)\n}",
                vec!["ForwardedError: Plugin 'k' failed", "Error: missing"],
            ),
            (
                "/app/a.rb:1:in 'load': no such file (LoadError)\n\tfrom /app/b.rb:2:in 'x'",
                vec!["LoadError: no such file"],
            ),
            (
                "ERROR [main] o.s.Boot - run failed\na.BError: Validate failed\n\tat a.b.C.d(C.java:1)\nCaused by: a.CException: Validate failed\nchecksum mismatch for version 12\n-> Applied : 14\n\tat a.b.C.d(C.java:2)\n\t... 12 more",
                vec![
                    "BError: Validate failed",
                    "CException: Validate failed checksum mismatch for version 12 -> Applied : 14",
                ],
            ),
            (
                "Error: failed to load settings\n\nCaused by:\n    0: could not read /etc/a.toml\n    1: invalid type: string \"ten\", expected u16",
                vec![": could not read /etc/a.toml", ": invalid type: string \"ten\", expected u16"],
            ),
            (
                "Error: reading /etc/v.yaml\n\nCaused by:\n    missing field `type`",
                vec![": missing field `type`"],
            ),
            (
                "Error: \n   0: error connecting to nats\n   1: Connection refused\n\nLocation:\n   src/main.rs:44",
                vec![": error connecting to nats", ": Connection refused"],
            ),
            ("a.B: prose\n", vec![]),
        ] {
            let records = read(log);
            assert_eq!(records.len(), 1, "{records:?}");
            let said = |t: &Thrown| if t.class.is_empty() { format!(": {}", t.message) } else { t.said() };
            let said: Vec<String> = records[0].thrown.iter().map(said).collect();
            assert_eq!(said, thrown, "{records:?}");
        }
    }

    #[test]
    fn the_call_that_threw_is_known() {
        for (log, frame) in [
            (
                "java.lang.NullPointerException\n\tat java.util.Objects.requireNonNull(Objects.java:1)\n\tat com.acme.Tax.load(Tax.java:8)",
                "com.acme.Tax.load",
            ),
            (
                "Unhandled exception. System.ArgumentException: is empty\n   at Acme.Redis.Options.Parse(String text)",
                "Acme.Redis.Options.Parse",
            ),
            ("TypeError: no\n    at Object.<anonymous> (/app/x.js:1:2)", ""),
        ] {
            assert_eq!(read(log)[0].thrown[0].frame, frame);
        }
    }

    #[test]
    fn a_banner_is_followed_by_what_is_wrong() {
        let redis = read(
            "*** FATAL CONFIG FILE ERROR (Redis 7) ***\nReading the file, at line 4\n>>> 'monitor x'\nCan't resolve instance hostname.",
        );
        assert!(redis[0].text.ends_with("Can't resolve instance hostname."), "{redis:?}");
        assert_eq!(read("*** Starting uWSGI 2 ***\n*** Operational MODE: single ***").len(), 2);
    }

    #[test]
    fn what_continues_a_line_belongs_to_it() {
        let go = read(
            "panic: boom [recovered]\n\tpanic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:12 +0x1d\nexit status 2",
        );
        assert_eq!(go.len(), 1);
        assert!(go[0].stack && go[0].level == Level::Fatal);
        let list = read(
            "2026-11-30 10:00:00 ERROR cannot start:\n  - a is missing\n  - b is missing\n2026-11-30 10:00:00 INFO bye",
        );
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].text, "cannot start: - a is missing - b is missing");
        let framed = read(
            "2026-11-30 10:00:00 ERROR Configuration is invalid\n==========\n\nErrors:\n\n1) property 'a.b' was not used\n\n2) property 'a.c' was not used\n\n==========\n+ next",
        );
        assert_eq!(framed.len(), 2, "{framed:?}");
        assert_eq!(
            framed[0].text,
            "Configuration is invalid Errors: 1) property 'a.b' was not used 2) property 'a.c' was not used"
        );
        let json = read(
            "{\n  \"level\": \"error\",\n  \"message\": \"no\",\n  \"error\": {\n    \"message\": \"boom\"\n  }\n}\nnext",
        );
        assert_eq!((json.len(), json[0].whole().as_str()), (2, "no: boom"));
        let rust = read(
            "thread 'main' panicked at src/main.rs:10:5:\ncannot open /etc/x: none\nnote: run with `RUST_BACKTRACE=1`",
        );
        assert_eq!(rust.len(), 1);
        assert!(rust[0].text.contains("cannot open /etc/x"), "{rust:?}");
        let erlang = read(
            "2026-11-30 09:58:41.745360+00:00 [error] <0.235.0> no registry: {disabled_flag,\n2026-11-30 09:58:41.745360+00:00 [error] <0.235.0>                stream_queue}\n2026-11-30 09:58:41.745360+00:00 [error] <0.235.0> boot failed",
        );
        assert_eq!(erlang.len(), 2);
        assert_eq!(erlang[0].text, "no registry: {disabled_flag, stream_queue}");
        let spring =
            read("2026-11-30 09:58:41.123 WARNING [main] a\n2026-11-30 09:58:41.123    INFO [main] b");
        assert_eq!(spring.len(), 2);
        let detail = read(
            "2026-11-30 09:58:00.123 UTC [1] FATAL:  incompatible\n2026-11-30 09:58:00.123 UTC [1] DETAIL:  initialized by version 13",
        );
        assert_eq!(detail[0].text, "incompatible initialized by version 13");
    }
}
