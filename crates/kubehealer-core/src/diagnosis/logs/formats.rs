//! One line of a log: level, header, message and error, whatever logger wrote it.
//!
//! A format is told by its shape, never by the program. Must not know what a message means.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::fields::{self, Fields};
use super::rule::pattern;

/// How serious a line is by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Fatal,
    Error,
    Warning,
    Unknown,
    Chatter,
}

impl Level {
    /// By the word or number that a logger writes.
    fn of(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "fatal" | "panic" | "critical" | "crit" | "emerg" | "emergency" | "alert" | "severe" | "f"
            | "c" | "60" | "dpanic" | "fata" | "ftl" | "pani" => Level::Fatal,
            // Those of PostgreSQL and others in German, French and Italian, too.
            "error" | "err" | "e" | "50" | "eror" | "erro" | "fail" | "failure" | "fehler" | "erreur"
            | "errore" => Level::Error,
            // PostgreSQL reports at `LOG` what is wrong with its settings.
            "warn" | "warning" | "w" | "40" | "wrn" | "log" => Level::Warning,
            "info" | "information" | "informational" | "inf" | "debug" | "dbg" | "debu" | "trace"
            | "trce" | "notice" | "note" | "statement" | "hint" | "detail" | "verbose" | "i" | "d" | "n"
            | "t" | "v" | "30" | "20" | "10" | "fine" | "finer" | "finest" | "config" | "system"
            | "default" => Level::Chatter,
            _ => Level::Unknown,
        }
    }
}

/// What a line says, apart from its header.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub level: Level,
    /// It begins with a time, a level or the like, so that it is no continuation of another.
    pub headed: bool,
    /// The message.
    pub text: Cow<'a, str>,
    /// What a field for errors holds, where the message does not say it.
    pub error: String,
    /// The class of the error, where a field names it.
    pub class: String,
    /// A stack trace that a field holds, by lines.
    pub trace: Vec<String>,
}

impl<'a> Line<'a> {
    fn plain(level: Level, headed: bool, text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            level,
            headed,
            text: text.into(),
            error: String::new(),
            class: String::new(),
            trace: Vec::new(),
        }
    }

    /// Reads a line.
    pub(super) fn of(line: &'a str) -> Self {
        Self::read(line, false)
    }

    /// Reads a line whose time was taken off already.
    pub(super) fn of_timed(line: &'a str) -> Self {
        Self::read(line, true)
    }

    fn read(line: &'a str, timed: bool) -> Self {
        if let Some(fields) = fields::json(line.trim_start()) {
            return Self::structured(&fields, 0).unwrap_or_else(|| Self::plain(Level::Unknown, true, line));
        }
        let (level, headed, rest) = head(line, timed);
        let structured = (line.contains("level=") || line.contains("lvl=") || line.contains("severity="))
            || (line.contains("msg=") && (line.contains("time=") || line.contains("ts=")));
        if structured {
            let (_, fields) = fields::pairs(line);
            if let Some(mut of) = Self::structured(&fields, 0) {
                if of.level == Level::Unknown {
                    of.level = level;
                }
                return of;
            }
        }
        if headed
            && let Some(fields) = fields::json(rest)
            && let Some(mut of) = Self::structured(&fields, 0)
        {
            if of.level == Level::Unknown {
                of.level = level;
            }
            return of;
        }
        let mut of = Self::plain(level, headed, rest);
        of.tail(rest);
        of
    }

    /// Structured data behind a plain message: a JSON object, or pairs.
    fn tail(&mut self, rest: &'a str) {
        if let Some((head, fields)) = fields::json_at_end(rest) {
            let whole = std::mem::replace(&mut self.text, Cow::Borrowed(head));
            self.errors(&fields);
            if !self.headed && self.error.is_empty() {
                self.text = whole;
            }
            return;
        }
        if !rest.contains('=') {
            return;
        }
        let (at, fields) = fields::pairs(rest);
        if at == 0 && !rest.starts_with('"') {
            return;
        }
        let whole = match fields.iter().find(|(key, _)| key == "msg") {
            Some((_, said)) => std::mem::replace(&mut self.text, Cow::Owned(said.clone())),
            None => std::mem::replace(&mut self.text, Cow::Borrowed(rest.get(..at).unwrap_or(rest).trim())),
        };
        self.errors(&fields);
        // Pairs without an error are part of the message: `timeout=10s`.
        if self.error.is_empty() && !rest.starts_with('"') && !fields.iter().any(|(key, _)| key == "msg") {
            self.text = whole;
        }
        if let Cow::Borrowed(text) = self.text
            && let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'))
        {
            self.text = Cow::Borrowed(inner);
        }
    }

    /// From fields; `None` where there is neither a message nor an error among them.
    fn structured(fields: &Fields, depth: usize) -> Option<Self> {
        let find = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| fields.iter().find(|(key, said)| key == name && !said.trim().is_empty()))
        };
        let level = find(LEVELS).map_or(Level::Unknown, |(_, word)| Level::of(word));
        // Kibana and others keep it among their tags.
        let level = match level {
            Level::Unknown => fields
                .iter()
                .filter(|(key, _)| key == "tags")
                .map(|(_, tag)| Level::of(tag))
                .min()
                .unwrap_or(Level::Unknown),
            level => level,
        };
        let said = find(MESSAGES);
        // A message that only names the field with the record of another program: `"msg":"record","record":{..}`.
        if let Some((_, word)) = said.filter(|(_, word)| depth == 0 && !word.contains(' ')) {
            let within = format!("{}.", word.to_ascii_lowercase());
            let inner = fields.iter().filter_map(|(key, said)| Some((key.strip_prefix(&within)?, said)));
            let inner: Fields = inner.map(|(key, said)| (key.to_owned(), said.clone())).collect();
            if inner.iter().any(|(key, _)| MESSAGES.contains(&key.as_str())) {
                return Self::structured(&inner, depth + 1);
            }
        }
        // The runtime's own wrapper around a line of the program.
        if let Some((key, inner)) = said
            && key == "log"
            && depth == 0
        {
            let inner = inner.trim_end().to_owned();
            let read = Line::of(&inner);
            let level = if read.level == Level::Unknown { level } else { read.level };
            return Some(Self {
                level,
                headed: true,
                text: Cow::Owned(read.text.into_owned()),
                error: read.error,
                class: read.class,
                trace: read.trace,
            });
        }
        let mut text = said.map(|(_, said)| said.clone()).unwrap_or_default();
        if text.contains('{') {
            text = fill(&text, fields);
        }
        let mut lines = text.lines();
        // Levels in front of the message are none of it.
        let first = lines.next().unwrap_or_default().trim();
        let (own, _, first) = head(first, false);
        // Some programs give an error at the level of a note: `level=info msg="Error: .."`.
        let level = if level == Level::Chatter && own <= Level::Error { Level::Unknown } else { level };
        let first = first.to_owned();
        let mut more: Vec<String> = lines.map(str::to_owned).collect();
        // What follows an error in a paragraph of its own is advice, unless it is a stack.
        let stack = |line: &String| {
            ["\tat ", "    at ", "Caused by", "Traceback", "  File \""].iter().any(|s| line.starts_with(s))
        };
        if first.contains(": ") && !more.iter().any(stack) {
            more.truncate(more.iter().position(|line| line.trim().is_empty()).unwrap_or(more.len()));
        }
        let mut of = Self::plain(level, true, first);
        of.errors(fields);
        if !more.is_empty() {
            of.trace.splice(0..0, more);
        }
        (!of.text.is_empty() || !of.error.is_empty() || !of.trace.is_empty()).then_some(of)
    }

    /// What the fields say of an error.
    fn errors(&mut self, fields: &Fields) {
        for name in ERRORS {
            for (key, said) in fields {
                let said = said.trim();
                if key != name || said.is_empty() || matches!(said, "null" | "true" | "false" | "{}") {
                    continue;
                }
                if let Some(item) = first_item(said).filter(|_| !STACKS.contains(name)) {
                    if self.error.is_empty() && !self.text.contains(item) {
                        self.error = item.to_owned();
                    }
                } else if said.contains('\n') {
                    if self.trace.is_empty() {
                        self.trace = said.lines().map(str::to_owned).collect();
                    }
                    let first = said.lines().next().unwrap_or_default();
                    if self.error.is_empty() && !STACKS.contains(name) && !self.text.contains(first) {
                        self.error = first.trim().to_owned();
                    }
                } else if self.error.is_empty()
                    && !STACKS.contains(name)
                    && !self.text.contains(said)
                    && !said.bytes().all(|b| b.is_ascii_digit() || b == b'-')
                {
                    self.error = said.to_owned();
                }
            }
        }
        if let Some((_, class)) = fields.iter().find(|(key, _)| CLASSES.contains(&key.as_str())) {
            self.class.clone_from(class);
        }
    }
}

/// The first of several errors, one a line, that begin alike: a heading in front of them says nothing.
fn first_item(said: &str) -> Option<&str> {
    let start = |line: &str| {
        let start = line.split_once(": ").map(|(start, _)| start.to_owned());
        start.filter(|s| s.len() > 3 && s != "Caused by" && s != "Suppressed")
    };
    let mut lines = said.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if start(line).is_some_and(|s| lines.clone().any(|other| start(other).as_ref() == Some(&s))) {
            return Some(line);
        }
    }
    None
}

const LEVELS: &[&str] = &[
    "level",
    "lvl",
    "severity",
    "levelname",
    "log.level",
    "@l",
    "@level",
    "loglevel",
    "s",
    "sev",
    "level_name",
    "levelname",
    "fields.level",
    "log_level",
    "level.name",
    "record.level.name",
    "error_severity",
    "priority",
    "log.severity",
    "severitytext",
];

const MESSAGES: &[&str] = &[
    "message",
    "msg",
    "@message",
    "@m",
    "renderedmessage",
    "@mt",
    "messagetemplate",
    "fields.message",
    "event",
    "log",
    "text",
    "body",
    "short_message",
    "full_message",
    "jsonpayload.message",
    "textpayload",
    "record.message",
    "event.message",
    "fields.msg",
    "event.original",
    "title",
    "description",
];

/// Fields that name an error, the most telling first.
const ERRORS: &[&str] = &[
    "error",
    "err",
    "error.message",
    "err.message",
    "exception.message",
    "data.error",
    "data.err",
    "attr.error",
    "attr.error.errmsg",
    "thrown.message",
    "thrown.localizedmessage",
    "exception.exception.message",
    "error.msg",
    "err.msg",
    "exception",
    "exc_info",
    "exc",
    "exc_text",
    "@x",
    "throwable",
    "throwable.message",
    "fields.error",
    "fields.err",
    "attr.reason",
    "attr.error.reason",
    "cause",
    "reason",
    "error.reason",
    "error.cause",
    "error.errmsg",
    "error.error",
    "errormessage",
    "error_message",
    "errmsg",
    "err_msg",
    "exception_message",
    "error.detail",
    "error.details",
    "errors",
    "stderr",
    "attr.message",
    "detail",
    "details",
    "err.cause.message",
    "thrown.cause.message",
    "error.stack_trace",
    "stack_trace",
    "stacktrace",
    "stack",
    "err.stack",
    "error.stack",
    "exception.stacktrace",
    "exception.stack_trace",
    "thrown.extendedstacktrace",
    "traceback",
    "error.stacktrace",
    "exceptions",
];

/// Those of them that hold a stack and no message.
const STACKS: &[&str] = &[
    "error.stack_trace",
    "stack_trace",
    "stacktrace",
    "stack",
    "err.stack",
    "error.stack",
    "exception.stacktrace",
    "exception.stack_trace",
    "thrown.extendedstacktrace",
    "traceback",
    "error.stacktrace",
];

const CLASSES: &[&str] = &[
    "error.type",
    "err.type",
    "err.name",
    "error.name",
    "exception.type",
    "exception.exceptiontype",
    "thrown.name",
    "exception.class",
    "exception.exception.exceptiontype",
];

/// A message template with its holes filled from the fields, as Serilog's compact form leaves it to the reader.
fn fill(text: &str, fields: &Fields) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('{') {
        out.push_str(head);
        let Some((name, after)) = tail.split_once('}') else {
            out.push('{');
            rest = tail;
            continue;
        };
        let key = name
            .trim_start_matches(['@', '$'])
            .split([':', ','])
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let said = fields.iter().find(|(field, _)| {
            !key.is_empty()
                && (*field == key
                    || field.strip_prefix("properties.") == Some(&key)
                    || field.strip_prefix("state.") == Some(&key))
        });
        match said {
            Some((_, said)) => out.push_str(said.lines().next().unwrap_or_default()),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

const NAMES: &str = "fatal|panic|critical|crit|emergency|emerg|alert|error|errore|erreur|fehler|err|erro|severe|fail|warning|warn|wrn|notice|note|information|informational|info|inf|debug|dbg|debu|trace|trce|verbose|log|system|hint|detail|statement|fata|ftl|pani|dpanic";

/// One piece of a header at the start of a text.
static PIECE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        concat!(
            r"^(?:",
            // Ceph's, with thread and level.
            r"(?P<ceph>(?:debug )?(?:\s*-?\d+> )?\d{{4}}-\d\d-\d\dt[\d:.]+(?:z|[+-]\d\d:?\d\d)? [0-9a-f]{{10,16}} +(?:-1|\d{{1,2}})\s)|",
            // Process, day and time of Zabbix.
            r"(?P<zabbix>\s*\d+:\d{{8}}:\d{{6}}\.\d{{3}}\s)|",
            // Dates with times, times alone, the kernel's and the JVM's seconds.
            r"(?P<time>[\[(]?(?:(?:mon|tue|wed|thu|fri|sat|sun),? )?(?:\d{{4}}[-/.]\d\d[-/.]\d\d[t _:]\d\d:\d\d:\d\d|\d\d[-/. ](?:\d\d|[a-z]{{3}})[-/. ]\d{{4}}[t :]\d\d:\d\d:\d\d|\d{{1,2}}[-/. ][a-z]{{3}} \d\d:\d\d:\d\d|\d\d-\d\d \d\d:\d\d:\d\d|[a-z]{{3}} +\d{{1,2}},? (?:\d{{4}},? )?\d\d?:\d\d:\d\d(?: [ap]m)?|\d\d/\d\d/\d\d \d\d:\d\d:\d\d|\d\d:\d\d:\d\d)(?:[.,:]\d{{1,9}})?(?: \d{{4}})?(?: ?(?:z|utc|gmt|cet|cest|[+-]\d\d:?\d\d))?[\])]?[:,]?|\[\s*\d+\.\d+s?\]|\d{{10}}(?:\.\d+)?\s|ts=\S+\s)",
            r"|(?P<klog>[iwef]\d{{4}} [\d:.]+\s+\d+ [\w./-]+:\d+\]|[iwef]\d{{6}} [\d:.]+ \d+ [\w./@-]+:\d+|[iwef] [\w./-]+\.(?:cc|cpp|cu|h):\d+\])",
            r"|(?P<redis>\d+(?::\d+)?:[mscx] \d+ [a-z]{{3}} \d{{4}} [\d:.]+ [#*.-])\s",
            r"|(?P<ruby>[diwefa], \[[^\]]{{1,60}}\]\s)",
            r"|\[(?P<tornado>[diwec]) (?:\d{{6}}|\d{{4}}-\d\d-\d\d) \d\d:\d\d:\d\d[^\]]{{0,60}}\]:?",
            r"|[\[<(|]\s*(?:[\w-]+:)?(?P<bracket>{names})\s*[\]>)|]:?",
            // What is left of `[time: LEVEL/Process]`.
            r"|(?P<process>{names})/[\w-]+\]",
            // Chromium's, behind its month, day and time.
            r"|\[(?:\d+:\d+:)?\d{{4}}/\d{{6}}\.\d+:(?P<chromium>{names}):[\w./-]+(?:\(\d+\)|:\d+)\]",
            r"|(?P<dotnet>crit|fail|warn|info|dbug|trce): [\w.]+\[\d+\]",
            r"|[\w./-]{{1,60}}: (?P<middle>info|notice|debug|warn|warning|error|fatal|emerg):\s",
            r"|(?P<colon>{names}):(?:\s|$)",
            r"|(?-i:(?P<caps>FATAL|PANIC|CRITICAL|CRIT|EMERG|ALERT|ERROR|ERRO|SEVERE|FAIL|WARNING|WARN|NOTICE|INFORMATION|INFO|DEBUG|TRACE|FATA|DEBU|LOG|SYSTEM|EROR|ERR|WRN|INF|DBG|FTL))(?:\[\d+\])?(?:\s*:|\s|\||$)",
            r"|(?P<other>\[[^\[\]\x22'/{{}}]{{0,80}}\]:?|\[[\w./ -]+:\d+\]|\d+#\d+:|<\d+(?:\.\d+)+>|\{{\}}|\{{[\w./-]+:\d+\}}|\((?:[\w ./#-]{{0,40}}(?:thread|main|worker|pool)[\w ./#-]{{0,20}})\)|\d+ ---|\d{{1,7}}\s|(?:pid|tid|thread|class)=\S+",
            r"|(?:[a-z][\w$-]*\.){{1,12}}[\w$-]+(?:\[\d+\])?\s*(?:-|:)\s|(?-i:(?:[a-z]\w*::)+\w+)(?:\{{[^}}]*\}})?:|(?-i:[a-z]\w*(?:::[a-z]\w*)*)\]\s|[a-z]+(?:_[a-z]+)+:\s|[\w./-]+\.(?:go|py|rs|cc|cpp|c|h|js|ts|java|rb|scala|kt|ex|erl|sh|php|pl):\d+[\]:]?:?\s|\*\d+\s",
            // Thread and class of airlift's logger (Trino).
            r"|(?:main|[\w-]*(?:thread|pool|worker|executor)[\w-]*|[\w-]+-\d+)\s(?-i:(?:[a-z]\w*\.){{2,12}}[A-Z][\w$]*)\s)",
            r"|(?P<tag>[\w.-]{{1,40}} \d\d:\d\d:\d\d(?:[.,]\d+)?\s)",
            r")[\s|⋮]*(?:(?:-{{1,2}}|:|==>)\s+)*",
        ),
        names = NAMES
    ))
});

/// The level in small letters behind a time, as zap's console writes it, and what follows; none where it is a word of the
/// sentence: `error connecting to x`.
fn console(rest: &str) -> Option<(Level, &str)> {
    const GOES_ON: &str = "in on at from while when during with for of to was is has code occurred";
    let (word, next) = rest.split_once(' ')?;
    let next = next.trim_start();
    let follows = next.split(' ').next().unwrap_or_default();
    let sentence = follows.ends_with("ing") || GOES_ON.split(' ').any(|word| word == follows);
    let level = match word {
        "info" | "debug" | "warn" => Level::of(word),
        "error" | "fatal" | "panic" | "dpanic" if !sentence => Level::of(word),
        _ => return None,
    };
    Some((level, next)).filter(|_| !next.is_empty())
}

/// Level and rest of a plain line, and whether there was a header at all.
fn head(line: &str, timed: bool) -> (Level, bool, &str) {
    let indented = line.starts_with(' ');
    let mut rest = line.trim();
    let mut level = Level::Unknown;
    let mut headed = timed;
    let mut stamped = timed;
    for _ in 0..10 {
        if let Some((of, next)) = console(rest).filter(|_| stamped && level == Level::Unknown) {
            (level, rest) = (of, next);
        }
        let Some(found) = PIECE.captures(rest) else { break };
        let whole = found.get(0).map_or(0, |m| m.end());
        if found.name("other").is_some() && !headed {
            break;
        }
        let word = ["bracket", "colon", "caps", "dotnet", "middle", "process", "chromium"]
            .iter()
            .find_map(|name| found.name(name));
        if let Some(word) = word {
            let of = Level::of(match word.as_str().to_ascii_lowercase().as_str() {
                "dbug" => "debug",
                word => word,
            });
            // A second word for the level is the message's own: `ERROR: FATAL: password ...`; the worst of them counts.
            level = if level == Level::Unknown { of } else { level.min(of) };
            // `panic: ` is a word of the message.
            if word.as_str().eq_ignore_ascii_case("panic") && found.name("colon").is_some() {
                headed |= !indented;
                break;
            }
        } else if let Some(klog) = ["klog", "ruby", "tornado"].iter().find_map(|name| found.name(name)) {
            level = Level::of(klog.as_str().get(..1).unwrap_or_default());
        } else if let Some(ceph) = found.name("ceph") {
            level = if ceph.as_str().ends_with("-1 ") { Level::Error } else { Level::Chatter };
        } else if let Some(redis) = found.name("redis") {
            level = if redis.as_str().ends_with('#') { Level::Warning } else { Level::Chatter };
        }
        let next = rest.get(whole..).unwrap_or_default();
        // A line that is nothing but a header keeps its last word.
        if next.trim().is_empty() {
            if found.name("dotnet").or_else(|| found.name("tornado")).is_some() {
                return (level, true, "");
            }
            break;
        }
        headed |= !indented || found.name("time").is_some() || found.name("zabbix").is_some();
        stamped = found.name("time").is_some_and(|time| time.as_str().contains('T'));
        rest = next.trim_start();
    }
    (level, headed, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as loggers write them, with the level and the text that has to be read.
    const SHAPES: &[(&str, Level, &str)] = &[
        (
            r#"{"level":"error","ts":1.5,"msg":"sync failed","error":"boom: x"}"#,
            Level::Error,
            "sync failed|boom: x",
        ),
        (r#"{"level":"fatal","time":"2026","message":"cannot listen"}"#, Level::Fatal, "cannot listen|"),
        (
            r#"{"level":50,"time":1,"pid":1,"err":{"type":"Error","message":"boom","stack":"Error: boom\n at x"},"msg":"boot"}"#,
            Level::Error,
            "boot|boom",
        ),
        (
            r#"{"name":"api","hostname":"x","pid":1,"level":60,"msg":"listen EADDRINUSE","v":0}"#,
            Level::Fatal,
            "listen EADDRINUSE|",
        ),
        (
            r#"{"@timestamp":"2026","log.level":"ERROR","message":"run failed","error.message":"no x","error.type":"a.B"}"#,
            Level::Error,
            "run failed|no x",
        ),
        (
            r#"{"@timestamp":"2026","log":{"level":"ERROR"},"message":"run failed","error":{"message":"no x"}}"#,
            Level::Error,
            "run failed|no x",
        ),
        (
            r#"{"@t":"2026","@mt":"cannot open '{path}'","@l":"Fatal","path":"/a"}"#,
            Level::Fatal,
            "cannot open '/a'|",
        ),
        (
            r#"{"Timestamp":"2026","Level":"Error","MessageTemplate":"no {Name}","Properties":{"Name":"db"}}"#,
            Level::Error,
            "no db|",
        ),
        (
            r#"{"EventId":0,"LogLevel":"Critical","Category":"X","Message":"down","Exception":"System.Exception: boom"}"#,
            Level::Fatal,
            "down|System.Exception: boom",
        ),
        (
            r#"{"t":{"$date":"2026"},"s":"F","c":"CONTROL","msg":"Wrong version","attr":{"error":"found 4.2"}}"#,
            Level::Fatal,
            "Wrong version|found 4.2",
        ),
        (r#"{"type":"log","tags":["fatal","root"],"message":"boom"}"#, Level::Fatal, "boom|"),
        (
            r#"{"@level":"error","@message":"core: no","@module":"core","error":"x"}"#,
            Level::Error,
            "core: no|x",
        ),
        (r#"{"severity":"CRITICAL","message":"gone"}"#, Level::Fatal, "gone|"),
        (
            r#"{"timestamp":"2026","level":"ERROR","fields":{"message":"bind failed","error":"in use"},"target":"x"}"#,
            Level::Error,
            "bind failed|in use",
        ),
        (
            r#"{"timestamp":"2026","level":"ERROR","loggerName":"x","message":"no JDBC","exception":{"refId":1,"exceptionType":"a.B","message":"FATAL: auth"}}"#,
            Level::Error,
            "no JDBC|FATAL: auth",
        ),
        (
            r#"{"log":"E1130 09:58:09.760571       1 run.go:72] no\n","stream":"stderr","time":"2026"}"#,
            Level::Error,
            "no|",
        ),
        (
            r#"time="2026-11-30T09:56:24Z" level=fatal msg="Error starting: no x" component=a"#,
            Level::Fatal,
            "Error starting: no x|",
        ),
        (
            r#"ts=2026-11-30T09:56:24Z caller=main.go:1 level=error msg="boot" err="open /a: no""#,
            Level::Error,
            "boot|open /a: no",
        ),
        (
            r#"E1130 09:58:09.760571       1 run.go:72] "command failed" err="unknown flag: --x""#,
            Level::Error,
            "command failed|unknown flag: --x",
        ),
        (
            r#"E1130 05:01:08.513192 1 main.go:167] adapter "msg"="error connecting" "error"="open /a" "address"="x:1""#,
            Level::Error,
            "error connecting|open /a",
        ),
        (
            "2026-11-30T09:57:57Z ERROR setup problem running {\"error\": \"boom\"}",
            Level::Error,
            "setup problem running|boom",
        ),
        ("2026/11/30 09:59:50 [emerg] 29#29: bind() failed", Level::Fatal, "bind() failed|"),
        ("2026-11-30 09:58:00.123 UTC [1] FATAL:  no role", Level::Fatal, "no role|"),
        ("1:M 30 Nov 2026 09:58:00.123 # Fatal error loading", Level::Warning, "Fatal error loading|"),
        ("2026-11-30T09:58:00.123456Z 0 [ERROR] [MY-010119] [Server] Aborting", Level::Error, "Aborting|"),
        (
            "[2026-11-30 09:58:00.123][1][critical][main] [source/server/server.cc:117] error initializing",
            Level::Fatal,
            "error initializing|",
        ),
        ("[2026-11-30 09:57:05 +0000] [1] [ERROR] Worker died", Level::Error, "Worker died|"),
        ("[2026-11-30T09:57:54Z ERROR app::db] pool timed out", Level::Error, "pool timed out|"),
        ("[2026-11-30T09:57:54Z ERROR app] no such flag", Level::Error, "no such flag|"),
        (
            "2026-11-30 09:56:28,635 [myid:2] - ERROR [main:QuorumPeerMain@114] - Unexpected exception",
            Level::Error,
            "Unexpected exception|",
        ),
        (
            "2026-11-30 10:00:00.000 ERROR 1 --- [           main] o.s.boot.SpringApplication               : Application run failed",
            Level::Error,
            "Application run failed|",
        ),
        (
            "2026.11.30 09:57:58.710145 [ 1 ] {} <Error> Application: DB::Exception: no",
            Level::Error,
            "Application: DB::Exception: no|",
        ),
        (
            "[Mon Nov 30 09:57:10.111222 2026] [core:error] [pid 1:tid 140] AH00094: no",
            Level::Error,
            "AH00094: no|",
        ),
        (
            "2026-11-30T09:58:16.057580Z ERROR linkerd_network_validator: Failed to validate",
            Level::Error,
            "Failed to validate|",
        ),
        (
            "2026-11-30T09:58:16.057580Z ERROR vector::cli: Configuration error. error=missing field `x`",
            Level::Error,
            "Configuration error.|missing field `x`",
        ),
        ("Nov 30 09:58:00 host app[12]: error: no", Level::Unknown, "host app[12]: error: no|"),
        ("rabbitmq 09:58:37.41 INFO  ==> ** Starting **", Level::Chatter, "** Starting **|"),
        ("[0.003s][warning][os,thread] Failed to start", Level::Warning, "Failed to start|"),
        ("ERRO[0000] no such thing   error=\"x\"", Level::Error, "no such thing|x"),
        ("Error: connect ECONNREFUSED 10.0.0.1:5432", Level::Error, "connect ECONNREFUSED 10.0.0.1:5432|"),
        (
            "2026-11-30 09:58:53.100000: F tensorflow/compiler/cuda_driver.cc:268] Check failed: 0 vs. 3",
            Level::Fatal,
            "Check failed: 0 vs. 3|",
        ),
        (
            "09:58:54,200 FATAL [org.jboss.as.server] (Controller Boot Thread) WFLYSRV0056: boot failed",
            Level::Fatal,
            "WFLYSRV0056: boot failed|",
        ),
        (
            r#"{"level":"info","msg":"record","record":{"error_severity":"FATAL","message":"no role"}}"#,
            Level::Fatal,
            "no role|",
        ),
        (r#"time="2026" level=info msg="Error: cannot load x""#, Level::Unknown, "cannot load x|"),
        ("panic: boom", Level::Fatal, "panic: boom|"),
        (
            "2026-11-30T09:57:59.417Z ERROR main io.trino.server.Server Configuration is invalid",
            Level::Error,
            "Configuration is invalid|",
        ),
        (
            "10:00:00 ERROR class com.acme.Tax has two bases",
            Level::Error,
            "class com.acme.Tax has two bases|",
        ),
        (
            "[2026-11-30T09:54:58.593+0000] {webserver_command.py:222} ERROR - No response from gunicorn",
            Level::Error,
            "No response from gunicorn|",
        ),
        (
            "[1130/095615.516204:FATAL:zygote_host_impl_linux.cc(117)] No usable sandbox!",
            Level::Fatal,
            "No usable sandbox!|",
        ),
        (
            "2026-11-30T09:56:23.412871Z error iptables validation failed; workload is not ready",
            Level::Error,
            "iptables validation failed; workload is not ready|",
        ),
        (
            "2026-11-30T09:56:23.412871Z error connecting to db:5432",
            Level::Unknown,
            "error connecting to db:5432|",
        ),
        (
            "debug 2026-11-30T09:55:51.434+0000 7f3b1c5d4640 -1 bluefs _allocate allocation failed, needed 0x80cbb",
            Level::Error,
            "bluefs _allocate allocation failed, needed 0x80cbb|",
        ),
        ("debug 2026-11-30T09:55:50.011+0000 7f3b1c5d4640  1 bluefs mount", Level::Chatter, "bluefs mount|"),
        (
            "     7:20261130:095823.183 cannot use database \"zabbix\": its \"users\" table is empty",
            Level::Unknown,
            "cannot use database \"zabbix\": its \"users\" table is empty|",
        ),
        ("FEHLER:  Datenbank »shop« existiert nicht", Level::Error, "Datenbank »shop« existiert nicht|"),
        ("I, [2026-11-30T09:57:57.000000 #1]  INFO -- : Raven", Level::Chatter, "Raven|"),
        ("[W 2026-11-30 09:58:26.900 JupyterHub app:1831] No admins", Level::Warning, "No admins|"),
        ("[E 261130 09:58:26 web:2271]", Level::Error, "|"),
    ];

    #[test]
    fn the_shapes_of_the_common_loggers_are_read() {
        let mut wrong = Vec::new();
        for (line, level, text) in SHAPES {
            let read = Line::of(line);
            let said = format!("{}|{}", read.text, read.error);
            if (read.level, said.as_str()) != (*level, *text) {
                wrong.push(format!("{line}\n   {:?} {said}", read.level));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
