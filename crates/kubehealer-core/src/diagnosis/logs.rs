//! What the log of a crashed container says: its bounded tail, and a verdict on it.
//!
//! Pure: bytes in, a sentence out. It must not know where the bytes come from, and it keeps no time. Whatever comes out of
//! a [`LogTail`] has passed [`crate::redact::redact`], so no caller can show a line with a secret that is known as one.
//!
//! The tail becomes records (`record`, over `formats` and `fields`), the records are ranked (`rank`), and the best of them
//! is quoted (`sentence`). What is known of a message is a table (`table`): a pattern, how specific it is, its cause code.

mod erlang;
mod fields;
mod formats;
pub mod listens;
mod matcher;
mod npm;
mod prefix;
mod rank;
mod record;
mod rule;
mod sentence;
mod table;
mod thrown;

use std::collections::VecDeque;
use std::sync::LazyLock;

use regex::Regex;

use self::rule::pattern;
use self::sentence::{floor, shortened};
use super::cause::CauseCode;
use crate::redact::{self, MAX_LINE};

/// The most lines that a tail keeps.
pub const MAX_LINES: usize = 200;

/// The most bytes of raw log that a tail keeps.
pub const MAX_BYTES: usize = 64 * 1024;

/// Raw bytes taken of one line before the frames of a stack trace in it are folded.
const MAX_FOLDED: usize = 16 * 1024;

/// Raw bytes kept of one line: more than [`MAX_LINE`], so that the redaction sees that it has to cut, and cuts at a word.
const MAX_RAW_LINE: usize = MAX_LINE + 512;

/// The longest quotation of a line, in bytes.
const MAX_QUOTE: usize = 300;

/// Takes a log in pieces of any size and keeps its last lines. Its memory is bounded by [`MAX_BYTES`] and one line,
/// however long the log is and whatever is in it. Feed it until the stream ends or the caller's time is over.
///
/// (The API's own `limitBytes` is no substitute for its bound: together with `tailLines` it cuts off the end.)
#[derive(Debug, Default)]
pub struct TailReader {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    current: Vec<u8>,
    /// A carriage return came last: if text follows, it overwrites the line, as on a terminal.
    returned: bool,
}

impl TailReader {
    /// An empty reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines of a log that is in memory already, see [`LogTail::from_bytes`].
    fn of(log: &[u8]) -> Self {
        let cut = log.iter().position(|byte| *byte == b'\n').filter(|_| log.len() >= MAX_BYTES);
        let whole = cut.and_then(|end| log.get(end + 1..)).filter(|rest| !rest.is_empty()).unwrap_or(log);
        let mut reader = Self::new();
        reader.push(whole);
        reader
    }

    /// Takes the next bytes of the log.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            // Half a character of UTF-16, or nothing that can be read.
            if *first == 0 {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            if self.returned && !matches!(first, b'\n' | b'\r') {
                self.current.clear();
                self.returned = false;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0));
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let room = MAX_FOLDED.saturating_sub(self.current.len());
            self.current.extend_from_slice(text.get(..room).unwrap_or(text));
            let Some((mark, rest)) = rest.split_first() else { return };
            match mark {
                b'\n' => self.end_line(),
                b'\r' => self.returned = true,
                _ => {}
            }
            bytes = rest;
        }
    }

    fn end_line(&mut self) {
        self.returned = false;
        // Blank lines say nothing, and would push out those that do.
        if !self.current.trim_ascii().is_empty() {
            if self.current.len() > MAX_RAW_LINE {
                fold_frames(&mut self.current);
                self.current.truncate(MAX_RAW_LINE);
            }
            self.bytes += self.current.len();
            self.lines.push_back(self.current.as_slice().into());
            while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
                self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
            }
        }
        self.current.clear();
    }

    /// The tail of what was pushed.
    pub fn finish(self) -> LogTail {
        let (times, lines): (Vec<String>, Vec<String>) = self.split().into_iter().unzip();
        let mut timed: Vec<bool> = times.iter().map(|time| !time.is_empty()).collect();
        // `kubectl logs --timestamps` dates the frames of a stack, too.
        let continued = |line: &String| line.starts_with(' ') || thrown::is_frame(line);
        if lines.iter().zip(&timed).any(|(line, timed)| *timed && continued(line)) {
            timed.fill(false);
        }
        LogTail { lines, timed }
    }

    /// The lines of what was pushed, printable and redacted, each behind the time that it began with.
    fn split(mut self) -> Vec<(String, String)> {
        self.end_line();
        let mut times = Vec::with_capacity(self.lines.len());
        let mut lines = Vec::with_capacity(self.lines.len());
        let texts: Vec<String> = self
            .lines
            .iter()
            .map(|raw| redact::clean(&String::from_utf8_lossy(raw)).into_owned())
            .filter(|text| !without_time(text).trim().is_empty())
            .collect();
        // A private key has a line of its own for each 64 characters.
        let is_key = redact::of_private_key(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut in_key = false;
        for (text, is_key) in texts.iter().zip(is_key) {
            let line = without_time(text);
            let time = text.get(..text.len() - line.len()).unwrap_or_default();
            if !is_key || !in_key {
                times.push(time.to_owned());
                lines.push(if is_key { redact::MARK } else { line }.to_owned());
            }
            in_key = is_key;
        }
        times.into_iter().zip(redacted(&lines)).collect()
    }
}

/// Which lines belong to what is written over several: YAML, of which a name may stand in one line and its value in the next, text in
/// three quotes, an element of XML.
fn of_several(lines: &[String]) -> Vec<bool> {
    static PAIR: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#"^\s*(?:- )?["']?[\w.-]+["']?:(?:\s|$)|^\s*- ["']?--?\w"#));
    let mut is_part = false;
    let mut is_open = false;
    let parts = lines.iter().map(|line| {
        let opens = line.trim_end().ends_with(['|', '>', '-'])
            || line.ends_with("\"\"\"")
            || line.ends_with("\'\'\'");
        let follows = is_open || is_part && line.starts_with([' ', '\t']);
        is_open = opens || line.trim_start().starts_with("- -");
        is_part = opens || follows || PAIR.is_match(line);
        is_part
    });
    parts.collect()
}

/// Each line without its secrets. Lines that belong together are looked at together.
fn redacted(lines: &[String]) -> Vec<String> {
    let parts = of_several(lines);
    let is_part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let alone = |line: &str| redact::redact(line).trim_end().to_owned();
    let mut shown: Vec<String> = Vec::with_capacity(lines.len());
    while let Some(line) = lines.get(shown.len()) {
        let from = shown.len();
        let mut bytes = 0;
        let run = lines.iter().enumerate().skip(from).take_while(|(at, line)| {
            bytes += line.len() + 1;
            // The marks may make it longer.
            bytes < redact::MAX_TEXT / 2 && is_part(*at)
        });
        let run: Vec<&str> = run.map(|(_, line)| line.as_str()).collect();
        if run.len() < 2 {
            shown.push(alone(line));
            continue;
        }
        let joined = run.join("\n");
        let hidden = redact::redact_text(&joined);
        // Where a secret of several lines is hidden, there are fewer.
        let mark = std::iter::repeat_with(|| redact::MARK.to_owned());
        shown.extend(hidden.split('\n').map(alone).chain(mark).take(run.len()));
    }
    shown
}

/// Takes the frames out of a stack trace that JSON holds in one line: the causes are behind them.
fn fold_frames(line: &mut Vec<u8>) {
    const FRAMES: [&[u8]; 3] = [b"\\n\\tat ", b"\\r\\n\\tat ", b"\\n    at "];
    let mut folded = Vec::with_capacity(line.len());
    let mut rest = line.as_slice();
    while let Some(first) = rest.first() {
        let frame = FRAMES.iter().find(|frame| rest.starts_with(frame));
        if let Some(frame) = frame {
            let inner = rest.get(frame.len()..).unwrap_or_default();
            // Up to the next escape or the end of the string.
            let end = inner.iter().position(|byte| matches!(byte, b'\\' | b'"')).unwrap_or(inner.len());
            rest = inner.get(end..).unwrap_or_default();
            continue;
        }
        folded.push(*first);
        rest = rest.get(1..).unwrap_or_default();
    }
    *line = folded;
}

/// The line without the time that `kubectl logs --timestamps`, the container runtime or the program put in front.
fn without_time(line: &str) -> &str {
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"^(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)\s+(?:(?:stdout|stderr) [FP] )?){1,2}",
        )
    });
    TIME.find(line).and_then(|time| line.get(time.end()..)).unwrap_or(line)
}

/// The last lines of a log: decoded, printable, redacted, without times in front, oldest first, none of them blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    lines: Vec<String>,
    /// Which of them began with a time of their own; none where something in front put one on each line.
    timed: Vec<bool>,
}

impl LogTail {
    /// The tail of a log that is in memory already. A log of [`MAX_BYTES`] or more may have been cut in the middle of a line,
    /// and half a line may hold a secret without its name: the first one is left out.
    pub fn from_bytes(log: &[u8]) -> Self {
        TailReader::of(log).finish()
    }

    /// The same as a text, with the times in front: what [`LogTail::from_bytes`] makes of it is the same again.
    pub fn text(log: &[u8]) -> String {
        TailReader::of(log).split().into_iter().map(|(time, line)| time + &line + "\n").collect()
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Whether there is not one line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether this is not a log but the kubelet's word, under HTTP 200, that the log is not there any more.
    pub fn gone(&self) -> bool {
        let [line] = self.lines.as_slice() else { return false };
        let line = line.to_ascii_lowercase();
        line.starts_with("unable to retrieve container logs for ")
            || line.starts_with("failed to try resolving symlinks in path ")
            || (line.starts_with("failed to open log file ") && line.ends_with("no such file or directory"))
            || (line.starts_with("rpc error: code = notfound ") && line.contains("container"))
    }
}

/// What a log says about the end of its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerdict {
    /// What kind of cause it is.
    pub code: CauseCode,
    /// The decisive words of the log, freed of time, level and logger, without a full stop; printable, redacted.
    pub text: String,
    /// The line it was read from: printable, redacted, at most some 300 bytes.
    pub line: String,
    /// Whether a rule of the table knows it. If not, this is the last error or the last line, in its own words.
    pub specific: bool,
    /// Whether it was logged as an error, or reads like one.
    pub error: bool,
    /// Whether the program was in no doubt: fatal, uncaught, or said again and again.
    pub strong: bool,
    /// Whether nothing stands behind it in the log.
    pub last: bool,
    /// The name of the pattern, for tests and for bug reports.
    pub rule: &'static str,
}

/// What is read from a log about one end of its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReading {
    /// Whether the log is not there any more.
    pub gone: bool,
    /// Whether it has not one line.
    pub empty: bool,
    /// None where it says nothing.
    pub verdict: Option<LogVerdict>,
}

impl LogReading {
    /// For an end with this exit code.
    pub fn of(tail: &LogTail, exit_code: Option<i32>) -> Self {
        Self { gone: tail.gone(), empty: tail.is_empty(), verdict: classify(tail, exit_code) }
    }
}

/// The names of all patterns of the table, for the test that each of them has a sample.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    table::RULES.iter().map(|rule| rule.name)
}

/// Reads why the container terminated from the tail of its log; `None` where the log is empty or gone.
///
/// The tail becomes records, the records are ranked, and the best of them is quoted: its decisive words, with a hint of
/// the rule that knows it where that adds something.
pub fn classify(tail: &LogTail, exit_code: Option<i32>) -> Option<LogVerdict> {
    if tail.gone() {
        return None;
    }
    let lines = tail.lines();
    let records = record::records(lines, &tail.timed);
    let choice = rank::choose(&records, lines, exit_code)?;
    let record = records.get(choice.record)?;
    let raw = lines.get(record.first).map_or("", String::as_str);
    let words = choice.found.as_ref().map(|found| found.words.as_str());
    let mut text = sentence::of(record, words);
    if text.is_empty() {
        text = shortened(raw.trim(), MAX_QUOTE);
    }
    let (code, specific, rule) = match &choice.found {
        Some(found) => (found.rule.cause, true, found.rule.name),
        None => (CauseCode::LoggedError, false, if choice.error { "error-line" } else { "last-line" }),
    };
    if let Some(concluded_by) = rank::conclusion(&records, choice.record) {
        let concluded = sentence::of(concluded_by, None);
        let end = text.get(floor(&text, text.len().saturating_sub(20))..).unwrap_or_default();
        let adds = !concluded.is_empty() && !text.contains(&concluded) && !concluded.contains(end);
        if adds && concluded.len() + text.len() < MAX_QUOTE {
            // With a reason of its own it may be of another matter.
            let mark = if rank::has_reason(concluded_by) { ";" } else { ":" };
            text = format!("{concluded}{mark} {text}");
        }
    }
    if rule == table::LEASE_LOST
        && let Some(tried) = rank::last_try(&records, choice.record)
    {
        let tried = sentence::of(tried, None);
        text = if tried.is_empty() || text.contains(&tried) { text } else { format!("{text}: {tried}") };
    }
    if let Some(found) = &choice.found
        && !found.hint.is_empty()
        && !text.contains(&found.hint)
    {
        text = format!("{text} ({})", found.hint);
    }
    let last = choice.record + 1 == records.len();
    Some(LogVerdict {
        code,
        text,
        line: evidence(record, lines, words),
        specific,
        rule,
        error: choice.error,
        strong: choice.strong,
        last,
    })
}

/// The record for the evidence: its first line as it stands if that is short and says it, else what it says.
fn evidence(record: &record::Record, lines: &[String], words: Option<&str>) -> String {
    let raw = lines.get(record.first).map_or("", |line| line.trim());
    let whole = record.whole();
    if raw.len() <= MAX_QUOTE && (record.lines == 1 || whole.len() <= raw.len()) {
        return raw.to_owned();
    }
    if whole.len() <= MAX_QUOTE && !whole.is_empty() {
        return redact::redact(&whole).into_owned();
    }
    let said = sentence::of(record, words);
    let at = raw.find(said.as_str()).filter(|at| *at > 80);
    match at {
        Some(at) => {
            format!("…{}", shortened(raw.get(floor(raw, at - 60)..).unwrap_or(raw).trim(), MAX_QUOTE))
        }
        None if raw.len() <= MAX_QUOTE && raw.contains(said.as_str()) => raw.to_owned(),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(log: &str) -> String {
        classify(&LogTail::from_bytes(log.as_bytes()), Some(1))
            .map(|verdict| verdict.text)
            .unwrap_or_default()
    }

    #[test]
    fn what_a_program_recovered_from_does_not_lead() {
        for (log, wanted, other) in [
            (
                r##"etcd 09:57:58.10 INFO  ==> Welcome to the Bitnami etcd container
etcd 09:57:58.12 INFO  ==> ** Starting etcd setup **
etcd 09:57:58.14 INFO  ==> Validating settings in ETCD_* env vars..
etcd 09:57:58.15 WARN  ==> You set the environment variable ALLOW_NONE_AUTHENTICATION=yes. For safety reasons, do not use this flag in a production environment.
etcd 09:57:58.20 INFO  ==> ** etcd setup finished! **
{"level":"info","ts":"2026-11-30T09:57:58.301Z","caller":"etcdmain/etcd.go:73","msg":"Running: ","args":["etcd"]}
{"level":"warn","ts":"2026-11-30T09:57:59.301Z","caller":"rafthttp/http.go:413","msg":"failed to find remote peer in cluster","local-member-id":"aa","error":"remote peer not found"}
{"level":"warn","ts":"2026-11-30T09:57:59.401Z","caller":"etcdserver/server.go:1134","msg":"server error","error":"the member has been permanently removed from the cluster"}
{"level":"warn","ts":"2026-11-30T09:57:59.402Z","caller":"etcdserver/server.go:1135","msg":"data-dir used by this member must be removed"}
"##,
                r"the member has been permanently removed",
                "production",
            ),
            (
                r##"postgresql-repmgr 09:57:58.10 INFO  ==> Welcome to the Bitnami postgresql-repmgr container
postgresql 09:57:58.15 WARN  ==> You set the environment variable ALLOW_EMPTY_PASSWORD=yes. For safety reasons, do not use this flag in a production environment.
postgresql 09:57:58.20 INFO  ==> ** Starting PostgreSQL setup **
mkdir: cannot create directory '/bitnami/postgresql/data': Permission denied
"##,
                r"cannot create directory '/bitnami/postgresql/data'",
                "ALLOW_EMPTY",
            ),
            (
                r##"2026-11-30T09:57:58Z ERROR failed to connect to redis at redis.shop.svc:6379: dial tcp: i/o timeout (attempt 1)
2026-11-30T09:57:59Z INFO retry succeeded: connected to redis.shop.svc:6379
2026-11-30T09:58:00Z INFO loading configuration from /etc/app/config.yaml
2026-11-30T09:58:01Z INFO starting scheduler
scheduler: cannot parse cron expression "61 * * * *": end of range (61) above maximum (59)
"##,
                r"cannot parse cron expression",
                "redis",
            ),
            (
                r##"2026/11/30 09:57:50 nats: connect to nats://nats.mq:4222: connection refused
2026/11/30 09:57:53 nats: connected to nats://nats.mq:4222
2026/11/30 09:57:54 schema registry ok
2026/11/30 09:57:54 stream ORDERS: consumer billing: max ack pending 1000 exceeds limit 500
"##,
                r"exceeds limit 500",
                "refused",
            ),
            (
                r##"[2026-11-30T09:57:50Z ERROR app::db] pool timed out while waiting for an open connection to pg.shop:5432
[2026-11-30T09:57:53Z INFO  app::db] connected to pg.shop:5432 after 2 retries
[2026-11-30T09:57:54Z ERROR app] feature flag file /etc/flags.json: expected `,` or `}` at line 4 column 2
"##,
                r"feature flag file /etc/flags.json",
                "pg.shop",
            ),
            (
                r##"[2026-11-30 09:57:50 +0000] [1] [INFO] Starting gunicorn 21.2.0
[2026-11-30 09:57:51 +0000] [8] [INFO] Booting worker with pid: 8
2026-11-30 09:57:52,100 ERROR statsd: could not resolve statsd.monitoring: Name or service not known
[2026-11-30 09:57:53 +0000] [8] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/usr/lib/python3/gunicorn/arbiter.py", line 589, in spawn_worker
    worker.init_process()
  File "/app/shop/plans.py", line 44, in load
    raise PlanError("tenant 7 has no plan 'gold'")
shop.plans.PlanError: tenant 7 has no plan 'gold'
[2026-11-30 09:57:53 +0000] [8] [INFO] Worker exiting (pid: 8)
[2026-11-30 09:57:54 +0000] [1] [ERROR] Worker (pid:8) exited with code 3
[2026-11-30 09:57:54 +0000] [1] [ERROR] Shutting down: Master
[2026-11-30 09:57:54 +0000] [1] [ERROR] Reason: Worker failed to boot.
"##,
                r"PlanError: tenant 7 has no plan 'gold'",
                "statsd",
            ),
            (
                r##"2026-11-30 09:57:50 ERROR geo: open /plugins/geo.mmdb: no such file or directory
2026-11-30 09:57:51 INFO cache warmed in 800ms
2026-11-30 09:57:52 ERROR store: cannot obtain exclusive lock on /data/db.lock
"##,
                r"/data/db.lock",
                "geo",
            ),
            (
                r##"time="2026-11-30T09:57:50Z" level=error msg="tracing disabled" error="dial tcp: lookup otel-collector: no such host"
time="2026-11-30T09:57:50Z" level=info msg="loading rules" dir=/rules
time="2026-11-30T09:57:52Z" level=fatal msg="rule group invalid" file=/rules/slo.yaml error="group \"slo\", rule 3: duplicate alert name HighLatency"
"##,
                r"rule 3: duplicate alert name",
                "otel",
            ),
            (
                r##"Traceback (most recent call last):
  File "/app/conf.py", line 8, in load
    return open(path)
FileNotFoundError: [Errno 2] No such file or directory: '/etc/shop/settings.toml'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 3, in <module>
    conf.load()
  File "/app/conf.py", line 11, in load
    raise ConfigError("settings could not be loaded")
conf.ConfigError: settings could not be loaded
"##,
                r"No such file or directory: '/etc/shop/settings.toml'",
                "",
            ),
            (
                r##"Exception in thread "main" kotlinx.coroutines.JobCancellationException: Parent job is Cancelling; job=StandaloneCoroutine{Cancelling}@1
Caused by: com.acme.ConfigException: cannot load profile
	at com.acme.Main.main(Main.kt:12)
Caused by: java.nio.file.NoSuchFileException: /config/application.conf
	at java.base/sun.nio.fs.UnixException.translate(UnixException.java:92)
"##,
                r"NoSuchFileException: /config/application.conf",
                "Coroutine",
            ),
            (
                r##"09:57:58.100 [notice] Application shop exited: Shop.Application.start(:normal, []) returned an error: shutdown: failed to start child: Shop.Repo
    ** (EXIT) an exception was raised:
        ** (RuntimeError) environment variable DATABASE_URL is missing.
            (shop 0.1.0) lib/shop/repo.ex:12: Shop.Repo.init/2
{"Kernel pid terminated",application_controller,"{application_start_failure,shop,{{shutdown,...}}}"}
"##,
                r"environment variable DATABASE_URL is missing",
                "Kernel pid",
            ),
            (
                r##"[2026-11-30 09:57:58] production.ERROR: SQLSTATE[42S02]: Base table or view not found: 1146 Table 'shop.sessions' doesn't exist (Connection: mysql, SQL: select * from `sessions`) {"exception":"[object] (Illuminate\\Database\\QueryException(code: 42S02): SQLSTATE[42S02] at /app/vendor/x.php:829)
[stacktrace]
#0 /app/vendor/y.php(783): runQueryCallback()
"}
"##,
                r"Table 'shop.sessions' doesn't exist",
                "[object]",
            ),
        ] {
            let text = said(log);
            assert!(text.contains(wanted), "{wanted:?} is not in: {text}");
            assert!(other.is_empty() || !text.contains(other), "{other:?} is in: {text}");
        }
    }
}
