//! What is known of wrappers: which parts of a chain say nothing, and what errors look like inside others.

use super::Part;
use super::names::Words;

/// A part that begins so says only through whose hands the error went.
const WRAPPERS: &[&str] = &[
    "rpc error",
    "code = ",
    "error response from daemon",
    "create pod sandbox",
    "failed to create pod sandbox",
    "failed to create pod network sandbox",
    "failed to set up sandbox container",
    "failed to setup network for sandbox",
    "failed to start sandbox container",
    "failed to create sandbox for pod",
    "failed to create a sandbox for pod",
    "rpc status",
    "internal message",
    "others(",
    "failed to create containerd task",
    "failed to create containerd container",
    "failed to create shim",
    "failed to start container",
    "failed to generate container",
    "failed to generate spec",
    "failed to apply oci options",
    "failed to handle",
    "failed to handler message",
    "oci runtime create failed",
    "oci runtime exec failed",
    "oci runtime error",
    "oci runtime start failed",
    "container create failed",
    "createcontainer",
    "create container error",
    "runc create failed",
    "runc run failed",
    "crun create failed",
    "exec failed",
    "failed to exec in container",
    "failed to start exec",
    "unable to start container process",
    "error during container init",
    "starting container process",
    "container init",
    "container_linux.go",
    "process_linux.go",
    "standard_init_linux.go",
    "rootfs_linux.go",
    "unable to retrieve oci runtime error",
    "failed to pull and unpack image",
    "failed to pull image",
    "failed to resolve reference",
    "failed to do request",
    "failed to get sandbox image",
    "failed to \"",
    "failed to prepare dynamic resources",
    "prepare dynamic resources",
    "unprepare dynamic resources",
    "mountvolume.",
    "attachvolume.",
    "mapvolume.",
    "unmountvolume.",
    "error making mount request",
    "error making api request",
    "internal error occurred",
    "error creating",
    "kuberuntimemanager",
    "failure responding to request",
    "statuscode=",
    "autorest/azure",
    "service returned an error",
    "failed to mount secrets store objects",
    "keyvault.baseclient",
    "warning",
    "error",
    "errors",
    "err",
    "failed",
    "unknown",
    "stdout",
];

/// A part that begins so follows an error and only tells where to read on.
const EPILOGUES: &[&str] = &[
    "dmesg(1) may have",
    "refer to the mount",
    "see '",
    "see http",
    "please see",
    "refer to",
    "see \"",
    "run '",
    "are you trying to mount",
    "for more information",
    "in some cases useful info",
    "attempting to ",
    "you can ",
    "try '",
    "status code: ",
    "(i.e.",
    "at ",
    "request id",
    "requestid",
    "unknown",
];

/// Words of an error that follows from another: what is cleaned up after it.
const AFTERMATH: &[&str] = &[
    "clean up",
    "cleanup",
    "teardown",
    "tear down",
    "failed (delete)",
    "failed to destroy",
    "failed to delete",
    "unmount",
    "umount",
    "killpodsandboxerror",
];

/// Words of an answer that a fallback gives.
const REFUSED: &[&str] = &[
    "unauthorized",
    "authorization failed",
    "access denied",
    "denied:",
    "401",
    "403",
    "no basic auth",
    "authentication required",
    "insufficient_scope",
];

/// Words that say only that something took too long.
const VAGUE: &[&str] = &[
    "context canceled",
    "context deadline exceeded",
    "timed out waiting for the condition",
    "not finished",
    "http response to https client",
    "server gave http",
];

/// Words of an error that explains others.
const DECISIVE: &[&str] = &[
    "no match for platform",
    "no matching manifest",
    "no image found in",
    "no space left",
    "disk quota exceeded",
    "read-only file system",
];

/// How well an error of a list explains the others.
pub(super) fn weight(error: &Words) -> i32 {
    let has = |words: &[&str]| words.iter().any(|w| error.have(w));
    let mut weight = 0;
    if has(AFTERMATH) {
        weight -= 8;
    }
    if has(REFUSED) {
        weight -= 2;
    }
    // Said of what does not exist as well: another answer tells more.
    if has(&["pull access denied", "may require authorization"]) {
        weight -= 1;
    }
    if has(VAGUE) {
        weight -= 3;
    }
    if has(DECISIVE) {
        weight += 4;
    }
    weight
}

/// The message without the recorder's remarks, and with the line ends that were escaped.
pub(super) fn prepare(message: &str) -> String {
    let mut text = message.trim();
    for mark in ["(combined from similar events): ", "Error: ", "Warning: "] {
        text = text.strip_prefix(mark).unwrap_or(text);
    }
    // `(x12 over 5m)`, as kubectl describe has it.
    if let Some((before, count)) = text.rsplit_once(" (x")
        && count.ends_with(')')
        && count.starts_with(|c: char| c.is_ascii_digit())
        && count.len() < 24
    {
        text = before;
    }
    let mut text = text.replace('\r', "");
    for (mark, end) in [("\n(extra info: {", "})"), (" extra info: {", "}")] {
        if let Some((before, rest)) = text.split_once(mark) {
            let after = rest.rsplit_once(end).map_or("", |(_, after)| after);
            text = format!("{before}{after}");
        }
    }
    text = causes_by(&text);
    text = mount_command(&text);
    text = cloud_call(&text);
    if let Some((before, rest)) = text.split_once("Retriable: ")
        && let Some((_, error)) = rest.split_once("RawError: ")
    {
        text = format!("{before}{error}");
    }
    for mark in [
        " Encoded authorization failure message: ",
        "\n\tstatus code: ",
        ", request id: ",
        ", requestID: ",
        ", RequestID: ",
    ] {
        text = without(&text, mark);
    }
    text
}

/// `Caused by:` and the numbered lines below it, as Rust programs print them, escaped or not: a chain.
fn causes_by(text: &str) -> String {
    if !text.contains("Caused by:") {
        return text.to_owned();
    }
    let flat = text.replace("\\n", "\n").replace("\\\"", "").replace('"', "").replace("Others(", "");
    let lines = flat.lines().map(|line| {
        let line = line.trim();
        let line =
            line.split_once(": ").filter(|(n, _)| n.parse::<u8>().is_ok()).map_or(line, |(_, said)| said);
        let mut line = line.trim_end_matches(": unknown");
        while line.matches(')').count() > line.matches('(').count() {
            line = line.strip_suffix(')').unwrap_or("");
        }
        line.replace("Caused by:", "")
    });
    let said = lines.map(|l| l.trim().trim_end_matches(":").to_owned());
    let mut parts: Vec<String> =
        said.filter(|l| !l.is_empty() && l != "rpc status: code: INTERNAL message").collect();
    // An I/O error is told twice: with its kind, and as what it is.
    if let [.., before, last] = parts.as_slice()
        && before.ends_with(last.as_str())
    {
        parts.pop();
    }
    parts.join(": ")
}

/// The kubelet's report of a mount command: kept is what was mounted and how, and what the command printed.
fn mount_command(text: &str) -> String {
    let Some((before, rest)) = text.split_once("Mounting command: ") else { return text.to_owned() };
    let Some((command, output)) = rest.split_once("Output: ") else { return text.to_owned() };
    let arguments = command.split_once("Mounting arguments: ").map_or("", |(_, arguments)| arguments);
    let mut words: Vec<&str> = arguments.split_whitespace().collect();
    // The command behind which systemd runs it, and the target, which the kubelet makes up.
    if let Some(at) = words.iter().position(|w| *w == "mount") {
        words.drain(..=at);
    } else if let Some(at) = words.iter().position(|w| *w == "--") {
        words.drain(..=at);
    }
    let target = words.last().copied().filter(|w| w.contains("/kubelet/")).unwrap_or_default();
    if !target.is_empty() {
        words.pop();
    }
    let before = before.trim_end().trim_end_matches("exit status 32").trim_end();
    let before = before.trim_end_matches("mount failed:").trim_end();
    let output = output
        .strip_prefix("Running scope as unit")
        .and_then(|o| o.split_once('\n'))
        .map_or(output, |(_, o)| o);
    // mount.nfs tries one version after the other: the last attempt decides.
    let last = output.rmatch_indices(": trying text-based options").next();
    let output = last.and_then(|(at, _)| output.get(at..)?.split_once('\n')).map_or(output, |(_, o)| o);
    let told = format!("mount: {target}: ");
    let output = output.trim();
    format!("{before}: mount {}: {}", words.join(" "), output.strip_prefix(told.as_str()).unwrap_or(output))
}

/// The AWS SDK's account of a call: which error of the API it was, is what counts.
fn cloud_call(text: &str) -> String {
    let Some((before, rest)) = text.split_once(", https response error StatusCode: ") else {
        return text.to_owned();
    };
    match rest.split_once(", api error ") {
        Some((_, said)) => format!("{before}: {said}"),
        None => text.to_owned(),
    }
}

/// Without a mark and the word behind it.
fn without(text: &str, mark: &str) -> String {
    let Some((before, rest)) = text.split_once(mark) else { return text.to_owned() };
    let end = rest.find([' ', '"', ')', '\n', ']']).unwrap_or(rest.len());
    format!("{before}{}", rest.get(end..).unwrap_or_default())
}

/// A log record that was passed on as an error: `time=".." level=error msg=".." error=".."`.
pub(super) struct LogRecord {
    /// What it says: its message, and the error behind it.
    pub(super) said: String,
    /// Whether its level is that of an error.
    pub(super) is_error: bool,
}

/// The log record at the beginning, and what follows it.
pub(super) fn log_record(text: &str) -> Option<(LogRecord, &str)> {
    if !["time=", "level=", "msg="].iter().any(|key| text.starts_with(key)) {
        return None;
    }
    let mut record = LogRecord { said: String::new(), is_error: false };
    let mut rest = text;
    let mut seen = Vec::new();
    // A field that comes again belongs to the next record.
    while let Some((key, behind)) =
        rest.trim_start().split_once('=').filter(|(key, _)| is_key(key) && !seen.contains(key))
    {
        let (value, after) = value(behind);
        match key {
            "level" => record.is_error = matches!(value.as_str(), "error" | "fatal" | "panic"),
            "msg" => record.said = value,
            "error" if record.said.is_empty() => record.said = value,
            "error" => record.said = format!("{}: {value}", record.said),
            _ => {}
        }
        seen.push(key);
        rest = after;
    }
    (!record.said.is_empty()).then_some((record, rest.trim_start()))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() < 32 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// The value of a field, in quotes or up to the next space, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (value.to_owned(), after);
    };
    let mut escaped = false;
    let end = quoted.char_indices().find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    match end.map(|(at, _)| quoted.split_at(at)) {
        Some((inner, after)) => (unescape(inner), after.get(1..).unwrap_or_default()),
        // The end of a long message is cut off, and the quote with it.
        None => (unescape(quoted), ""),
    }
}

/// What CRI-O says of an image that it looked for at mirrors first: their errors, and that of the registry itself, which was
/// asked last.
pub(super) fn mirrors(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("(Mirrors also failed: [")?.split_once("]): ")
}

/// What a JSON body at the beginning, or one behind few words, says.
pub(super) fn json(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let value = values.next()?.ok()?;
    let after = text.get(values.byte_offset()..)?;
    Some((body(&value, 0)?, after))
}

/// The message within a JSON body, with its code in front.
fn body(value: &serde_json::Value, depth: u8) -> Option<String> {
    use serde_json::Value;
    if depth > 4 {
        return None;
    }
    match value {
        Value::String(said) => Some(said.clone()),
        Value::Array(all) => all.iter().find_map(|one| body(one, depth + 1)),
        Value::Object(fields) => {
            let code = ["code", "reason", "status", "Code"].iter().find_map(|f| fields.get(*f)?.as_str());
            let said = [
                "message",
                "Message",
                "error",
                "errors",
                "error_description",
                "detail",
                "details",
                "msg",
                "cause",
            ]
            .iter()
            .find_map(|f| body(fields.get(*f)?, depth + 1))?;
            match code.filter(|c| !said.contains(*c)) {
                Some(code) => Some(format!("{code}: {said}")),
                None => Some(said),
            }
        }
        _ => None,
    }
}

/// A part that quotes an error at its end, or names it in fields: what is before it, and the error.
pub(super) fn quoted_error(part: &str) -> Option<(&str, String)> {
    if let Some((before, said)) = part.split_once("Message=\"") {
        let said =
            said.split_once('"').map_or(said, |(said, _)| said).replace("\\r", "").replace("\\n", "\n");
        // The lines behind the first are advice and identities.
        let said = said.lines().next().unwrap_or_default();
        let code = before.split_once("Code=\"").and_then(|(_, c)| c.split_once('"')).map_or("", |(c, _)| c);
        let before = before.split_once("Code=").map_or(before, |(before, _)| before);
        let said = said.trim();
        return Some((before, if code.is_empty() { said.to_owned() } else { format!("{code}: {said}") }));
    }
    let trimmed = part.trim_end_matches([')', ']', '.', ',', ' ']);
    let inner = trimmed.strip_suffix('"').filter(|t| !t.ends_with('\\'))?;
    // The quote that opens it is the first one that is not escaped and has no end before.
    let mut open = None;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => open = if open.is_some() { None } else { Some(at) },
            _ => {}
        }
    }
    let at = open?;
    let said = inner.get(at + 1..)?;
    let is_error = said.contains(": ")
        || said.starts_with("failed")
        || said.starts_with("Error")
        || said.contains("\\\"");
    is_error.then(|| (inner.get(..at).unwrap_or_default(), unescape(said)))
}

/// One level of escapes less.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('"' | '\\')) => out.extend(chars.next()),
            ('\\', Some('n')) => {
                chars.next();
                out.push('\n');
            }
            ('\\', Some('t')) => {
                chars.next();
                out.push(' ');
            }
            _ => out.push(c),
        }
    }
    out
}

/// The parts that say something: no wrappers, no epilogues, of a failed look-up or call only what was asked.
pub(super) fn decisive(parts: &[Part]) -> Vec<&Part> {
    let begins = |part: &Part, words: &[&str]| {
        let lower = part.text.to_lowercase();
        if lower.ends_with("\" is forbidden") {
            return true;
        }
        // Codes that say what the driver's own words may not.
        if matches!(lower.as_str(), "code = unauthenticated" | "code = permissiondenied") {
            return false;
        }
        words.iter().any(|w| {
            lower.strip_prefix(w).is_some_and(|rest| {
                // A word alone is a wrapper, the same word in front of others is the beginning of a sentence.
                w.contains(|c: char| !c.is_ascii_alphabetic()) || w.len() > 8 || rest.is_empty()
            })
        })
    };
    let mut kept: Vec<&Part> = parts.iter().collect();
    while kept.len() > 1 && kept.last().is_some_and(|p| begins(p, EPILOGUES) || is_dump(&p.text)) {
        kept.pop();
    }
    let last = kept.len().saturating_sub(1);
    let mut at = 0;
    kept.retain(|p| {
        let keep = at == last || !(begins(p, WRAPPERS) || begins(p, EPILOGUES));
        at += 1;
        keep
    });
    // runc tells a mount a second time, by the call that failed: what was to be mounted where stands in front.
    if kept.len() > 2 && kept.iter().any(|p| p.text.contains("\" to rootfs at \"")) {
        let last = kept.len() - 1;
        let mut at = 0;
        kept.retain(|p| {
            let call =
                ["mount through procfd", "mount src=", "0x", "data"].iter().any(|w| p.text.starts_with(w))
                    || (p.text.starts_with("mount ") && p.text.contains("flags"));
            let keep = at == last || !call;
            at += 1;
            keep
        });
    }
    // The arguments of a command, in front of what it printed.
    if kept.last().is_some_and(|p| !p.text.starts_with("[-")) {
        kept.retain(|p| !p.text.starts_with("[-"));
    }
    let looked_up = kept.iter().position(|p| p.text.starts_with("lookup "));
    if let Some(found) = looked_up {
        let mut at = 0;
        kept.retain(|p| {
            let call = p.text.starts_with("dial ")
                || p.text.starts_with("read udp")
                || matches!(p.text.as_str(), "read" | "write" | "connect");
            let keep = !(call && (at > found || at + 1 == found));
            at += 1;
            keep
        });
    }
    // An image or a request that names nothing new is left to the one who knows the image.
    if kept.len() > 1 {
        let last = kept.len() - 1;
        let mut at = 0;
        kept.retain(|p| {
            let request = ["Head ", "Get ", "GET ", "HEAD "].iter().any(|m| p.text.starts_with(m))
                && p.text.contains("/v2/");
            let keep = at == last || !request;
            at += 1;
            keep
        });
    }
    kept
}

/// Whether a part only prints a structure of the program's own.
fn is_dump(text: &str) -> bool {
    let inner =
        text.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']')).map_or("", |(inner, _)| inner);
    inner.len() > 100
        && inner.matches(": ").count() + inner.matches("\":").count() >= 2
        && !inner.contains("nvalid")
}

/// The prefixes of paths that a runtime makes up, which mean the root of the container.
const ROOTS: &[&str] = &[
    "/run/containerd/io.containerd.runtime.v1.linux/k8s.io/",
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io/",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/",
    "/var/lib/containers/storage/overlay/",
    "/var/lib/docker/overlay2/",
];

/// Options of an overlay mount, each with a path for every layer of the image; the error stands behind them.
const LAYERS: &[&str] = &["workdir=", "upperdir=", "lowerdir="];

/// Paths without the runtime's own prefix, and none for the layers of an image.
pub(super) fn shorten(text: &str) -> String {
    let mut text = text.to_owned();
    for option in LAYERS {
        let Some(from) = text.find(option).map(|at| at + option.len()) else { continue };
        let rest = text.get(from..).unwrap_or_default();
        let length = rest.find([' ', '"', ',', ']', '}']).unwrap_or(rest.len());
        text.replace_range(from..from + length, "...");
    }
    text = without_queries(&text);
    for root in ROOTS {
        while let Some(at) = text.find(root) {
            let rest = text.get(at + root.len()..).unwrap_or_default();
            let word = rest.find([' ', '"', ':']).unwrap_or(rest.len());
            let inside = rest.get(..word).unwrap_or_default();
            let cut =
                ["/rootfs", "/merged"].iter().find_map(|mark| inside.find(mark).map(|i| i + mark.len()));
            let Some(cut) = cut.filter(|c| *c < inside.len()) else { return text };
            text.replace_range(at..at + root.len() + cut, "");
        }
    }
    text
}

/// URLs without a long query: the signature of a download says nothing, and the error stands behind it.
fn without_queries(text: &str) -> String {
    const LONG: usize = 40;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, url)) = rest.split_once("://") {
        let end = url.find(|c: char| c.is_whitespace() || "\"'\\)]}>".contains(c)).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        let path = url.split_once('?').filter(|(_, query)| query.len() > LONG).map(|(path, _)| path);
        out.push_str(before);
        out.push_str("://");
        out.push_str(path.unwrap_or(url));
        if path.is_some() {
            out.push_str("?...");
            out.push_str(if url.ends_with(':') { ":" } else { "" });
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A path or a quoted name.
pub(super) fn object_of(text: &str) -> Option<String> {
    let quoted = super::text::between(text, "\"", "\"").filter(|q| !q.is_empty() && q.len() < 300);
    let path = || {
        text.split([' ', ',', '(', ')', '\'', '='])
            .map(|w| w.trim_end_matches([':', '.']))
            .find(|w| w.len() > 1 && (w.starts_with('/') || w.starts_with("./")))
    };
    quoted.or_else(path).map(str::to_owned)
}

/// The `host:port` that a call went to: `dial tcp 10.0.0.1:443`, `read tcp 10.0.0.2:5->10.0.0.1:443`.
pub(super) fn peer_of(text: &str) -> Option<&str> {
    let call = ["dial tcp ", "dial udp ", "read tcp ", "read udp ", "write tcp ", "dial unix "];
    let server = || text.split_once("lookup ").and_then(|(_, rest)| rest.split_once(" on "));
    let rest = call.iter().find_map(|c| text.split_once(c)).or_else(server)?.1;
    let word = rest.split([' ', ',', '"']).next()?.trim_end_matches(':');
    let peer = word.rsplit_once("->").map_or(word, |(_, peer)| peer);
    (peer.contains(':') || peer.starts_with('/')).then_some(peer)
}
