//! Probes: what they allow, what they said, and which setting would have let a slow starter live.
//!
//! The kubelet kills a container for its liveness or startup probe and leaves no trace of that in the pod: exit code 137,
//! 143, or whatever the program ends with when it is asked to. Only events name the probe.

use jiff::SignedDuration;

use super::container::{View, uptime};
use super::finding::{Finding, Source};
use super::logs::listens;
use super::message::Message;
use super::text;
use crate::objects::{ConditionType, Event, Probe, Terminated};

/// What a probe asks, in a few words: `GET :8080/ready`, `TCP :5432`, `gRPC :9090`, `command pg_isready`.
pub fn target(probe: &Probe) -> String {
    let handler = &probe.handler;
    if let Some(get) = &handler.http_get {
        let scheme = if get.scheme == "HTTPS" { "https://" } else { "" };
        // A query may hold a key.
        let path = get.path.split('?').next().unwrap_or_default();
        format!("GET {scheme}:{}{}", text::name(&get.port.to_string()), text::quote(path))
    } else if let Some(tcp) = &handler.tcp_socket {
        format!("TCP :{}", text::name(&tcp.port.to_string()))
    } else if let Some(grpc) = &handler.grpc {
        let service = text::name(&grpc.service);
        let service = if service.is_empty() { service } else { format!(" service {service}") };
        format!("gRPC :{}{service}", grpc.port)
    } else {
        match handler.exec.as_ref().map(|e| text::name(&e.program)) {
            // A shell says nothing about the check.
            Some(program) if !program.is_empty() && !is_shell(&program) => format!("command {program}"),
            _ => "a command".to_owned(),
        }
    }
}

/// Whether a program is a shell, whose script is what matters.
pub fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "ash" | "dash" | "zsh" | "ksh" | "busybox" | "cmd" | "powershell" | "pwsh")
}

/// A probe in words.
pub fn describe(name: &str, probe: &Probe) -> String {
    format!(
        "{name} probe: {}, initialDelaySeconds {}, periodSeconds {}, timeoutSeconds {}, failureThreshold {}: {}s until the kubelet acts",
        target(probe),
        probe.initial_delay_seconds,
        probe.period(),
        probe.timeout(),
        probe.threshold(),
        probe.budget(),
    )
}

/// Seconds that a container may take to stop, as far as they matter to compare times: an hour at most.
pub fn grace(view: &View<'_>) -> i64 {
    view.pod.spec.termination_grace_period_seconds.unwrap_or(30).clamp(0, 3600)
}

/// The longest run of a container that never passed this probe: its budget, and the time until the kill is done.
pub fn longest_run(view: &View<'_>, probe: &Probe) -> i64 {
    probe.budget() + probe.period() + probe.timeout() + grace(view) + 5
}

/// The probe whose patience fits the length of the run: startup before liveness, since liveness waits for it.
pub fn suspect<'a>(view: &View<'a>, end: &Terminated) -> Option<(&'static str, &'a Probe)> {
    let spec = view.spec?;
    let lasted = uptime(end)?.as_secs();
    let candidates =
        [("startup", spec.startup_probe.as_deref()), ("liveness", spec.liveness_probe.as_deref())];
    candidates.into_iter().find_map(|(name, probe)| {
        let probe = probe?;
        // The first probe may come at once and the failures span one period less than there are of them.
        let least = (probe.budget() - probe.period()).max(1);
        (least..=longest_run(view, probe)).contains(&lasted).then_some((name, probe))
    })
}

/// What a probe's complaint comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// In a few words; empty where nothing was said.
    pub short: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether a program that is only slow to start would be complained of like this: one that answers is not.
    pub may_be_slow: bool,
    /// Whether the program's own log may say why.
    pub of_program: bool,
}

impl Complaint {
    /// Adds to a finding what the probe said: why it fails belongs into the first line, and what to do before all else.
    pub fn tell(self, finding: &mut Finding) {
        if !self.short.is_empty() {
            finding.summary = format!("{}: {}", finding.summary, self.short);
        }
        if !self.may_be_slow {
            finding.next_steps.retain(|s| !s.starts_with(SLOW_START));
        }
        if let Some(hint) = self.hint {
            finding.next_steps.insert(0, hint);
        }
    }
}

/// One kind of complaint of a probe that the kubelet carries out itself.
struct Rule {
    /// One of these, in lower case.
    any: &'static [&'static str],
    /// And one of these, where there are any.
    with: &'static [&'static str],
    short: &'static str,
    hint: &'static str,
    may_be_slow: bool,
    of_program: bool,
}

/// That the answer takes too long: what to do is the same for all kinds.
const LATE: &str = "LATE";
/// That the words of the error say more than a sentence about all of its kind.
const QUOTE: &str = "QUOTE";
const SLOW: [&str; 5] =
    ["timeout exceeded", "deadline exceeded", "timed out", "did not complete within", "i/o timeout"];

/// The first that fits counts.
const RULES: &[Rule] = &[
    Rule {
        any: &["not_serving"],
        with: &[],
        short: "answers NOT_SERVING",
        hint: "the program itself reports that it is not serving: read its log",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        // A probe with a host of its own is made from the node: this is the node's loopback, not the pod's.
        any: &["dial tcp 127.", "dial tcp [::1]:"],
        with: &["connection refused", "actively refused"],
        short: "connection refused",
        hint: "the probe's host is the node's own loopback address: it reaches the program only with hostNetwork: true; without it, remove host from the probe; with it, compare the port with that in the program's log",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &["connection refused", "actively refused"],
        with: &[],
        short: "connection refused",
        hint: "nothing listens on this port of the pod's address, or not yet: compare with the port and address in the program's log (the kubelet cannot reach 127.0.0.1), and how long it takes to start",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &["no route to host", "network is unreachable"],
        with: &[],
        short: "no route to the pod",
        hint: "the node cannot reach the pod's port: check network policies and the network plugin",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        // The kubelet's gRPC client tries again until the time is over, also where the port refuses it.
        any: &["failed to connect service"],
        with: &SLOW,
        short: "failed to connect within timeoutSeconds",
        hint: "either nothing listens on this port of the pod's address, or the connection takes too long: compare with the port and address in the program's log, then check network policies",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &["dial tcp", "failed to connect"],
        with: &SLOW,
        short: "the connection times out",
        hint: "the node cannot reach the pod's port: check network policies and the network plugin, and whether the program is stuck",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &["tls handshake timeout"],
        with: &[],
        short: "the TLS handshake times out",
        hint: LATE,
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &SLOW,
        with: &[],
        short: "no answer in time",
        hint: LATE,
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        any: &["server gave http response to https client"],
        with: &[],
        short: "server gave HTTP response to HTTPS client",
        hint: "the probe uses HTTPS, but the port speaks HTTP: set the probe's scheme to HTTP",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["first record does not look like a tls handshake"],
        with: &[],
        short: "tls: first record does not look like a TLS handshake",
        hint: "the probe uses HTTPS, but the port does not speak TLS: check the probe's port and kind (httpGet, grpc, tcpSocket)",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &[": eof", "unexpected eof"],
        with: &[],
        short: "EOF: the connection was closed without an answer",
        hint: "the program closes the probe's connection: read its log, and check the probe's port",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        // The first bytes of a TLS record: an alert, or a handshake.
        any: &["malformed http response \"\\x15\\x03", "malformed http response \"\\x16\\x03"],
        with: &[],
        short: "the port answers with TLS",
        hint: "the port speaks TLS: set the probe's scheme to HTTPS",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["malformed http", "http request to an https server"],
        with: &[],
        short: "the port does not speak plain HTTP",
        hint: "check the probe's port and scheme (HTTPS, gRPC?)",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["tls: certificate required", "tls: bad certificate"],
        with: &["remote error"],
        short: QUOTE,
        hint: "the server requires a client certificate, and a probe has none: serve the checks on a port without client certificates, or use a tcpSocket or exec probe",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["x509:", "tls:"],
        with: &[],
        short: QUOTE,
        hint: "check the program's certificate and TLS settings",
        may_be_slow: false,
        of_program: true,
    },
    Rule {
        any: &["connection reset", "broken pipe"],
        with: &[],
        short: "the connection is reset",
        hint: "the program closes the probe's connection: check port and scheme, and its log",
        may_be_slow: true,
        of_program: true,
    },
    Rule {
        // That it knows the health service, and not what was asked for.
        any: &["code = notfound"],
        with: &["unknown service"],
        short: "unknown service: the program's gRPC health server does not know what the probe asks for",
        hint: "set the probe's grpc.service to a name that the program registers with its health server, or leave it out for the server as a whole",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["does not implement the grpc health protocol", "unknown service"],
        with: &[],
        short: "the program does not implement the gRPC health service (grpc.health.v1.Health)",
        hint: "add the gRPC health service to the program (or name the service that it has), or use another kind of probe",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["redirects"],
        with: &[],
        short: "the answer is a redirect",
        hint: "set the probe's path to one that answers without a redirect",
        may_be_slow: false,
        of_program: false,
    },
    Rule {
        any: &["strconv.atoi", "couldn't find port", "invalid port"],
        with: &[],
        short: "its port is not one of the container's",
        hint: "the probe names a port that the container does not have: compare it with the names in ports",
        may_be_slow: false,
        of_program: false,
    },
];

/// Reads what a probe said: the text behind `probe failed: ` or `probe errored: `.
pub fn read(said: &str, probe: Option<&Probe>) -> Complaint {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let command = probe.is_some_and(|p| {
        p.handler.http_get.is_none() && p.handler.tcp_socket.is_none() && p.handler.grpc.is_none()
    });
    // The runtime's word on the command, not the command's own. "failed to exec in container: timeout 1s exceeded" is how
    // containerd says that the command ran too long.
    let complaint = if !lower.contains("code = deadlineexceeded")
        && has(&["exec failed", "failed to exec", "executable file not found", "not found in $path"])
    {
        not_run(said, probe)
    } else if command {
        of_command(said, probe, has(&SLOW))
    } else if let Some((_, rest)) = lower.split_once("statuscode: ") {
        of_status(rest, &lower)
    } else {
        let fits = |r: &&Rule| has(r.any) && (r.with.is_empty() || has(r.with));
        match RULES.iter().find(fits) {
            Some(rule) => Complaint {
                short: if rule.short == QUOTE { quoted(said) } else { rule.short.to_owned() },
                hint: Some(if rule.hint == LATE { late(probe) } else { rule.hint.to_owned() }),
                may_be_slow: rule.may_be_slow,
                of_program: rule.of_program,
            },
            // What no rule knows is quoted.
            None => Complaint { short: quoted(said), hint: None, may_be_slow: true, of_program: true },
        }
    };
    with_target(complaint, said, probe)
}

/// The error itself, whole.
fn quoted(said: &str) -> String {
    let cause = Message::read(said).cause();
    // The address stands before it already.
    let words = cause.split_once("\": ").filter(|(head, _)| head.starts_with("Get \""));
    text::head(words.map_or(cause.as_str(), |(_, words)| words), 200)
}

/// Puts what was asked before the complaint: by the address that the kubelet names, else by the probe.
fn with_target(mut complaint: Complaint, said: &str, probe: Option<&Probe>) -> Complaint {
    let url = text::between(said, "Get \"", "\"").map(|url| url.split('?').next().unwrap_or_default());
    let asked = match (url, probe) {
        (Some(url), _) => format!("GET {}", text::quote(url)),
        (None, Some(probe)) => match target(probe) {
            asked if asked == "a command" => "probe command".to_owned(),
            asked => asked,
        },
        (None, None) => return complaint,
    };
    complaint.short =
        if complaint.short.is_empty() { asked } else { format!("{asked}: {}", complaint.short) };
    complaint
}

fn late(probe: Option<&Probe>) -> String {
    let timeout = probe.map_or(1, Probe::timeout);
    format!("the answer takes longer than timeoutSeconds {timeout}: raise it, or make the check cheaper")
}

/// The runtime could not run the command at all.
fn not_run(said: &str, probe: Option<&Probe>) -> Complaint {
    let lower = said.to_lowercase();
    let named = text::between(said, "exec: \"", "\"")
        .map(text::name)
        .or_else(|| probe.and_then(|p| p.handler.exec.as_ref()).map(|e| text::name(&e.program)));
    let named = named.unwrap_or_default();
    let missing = ["executable file not found", "no such file or directory", "not found in $path"];
    let (short, hint) = if missing.iter().any(|w| lower.contains(w)) {
        (
            format!("{named} not found in the image"),
            "the probe's command is not in the image: add it, or use another probe",
        )
    } else {
        (
            format!("{named} cannot be executed: {}", Message::read(said).innermost()),
            "the probe's command cannot be executed in the container: check its mode and file capabilities, the user and the securityContext",
        )
    };
    Complaint {
        short: short.trim_start().to_owned(),
        hint: Some(hint.to_owned()),
        may_be_slow: false,
        of_program: false,
    }
}

/// What a command printed is of its own matters, whatever the words are.
fn of_command(said: &str, probe: Option<&Probe>, slow: bool) -> Complaint {
    if said.trim().is_empty() {
        let timeout = probe.map_or(1, Probe::timeout);
        let hint = "run the probe's command by hand in the container: kubectl exec; a command that is killed after timeoutSeconds prints nothing either";
        let short = format!("failed without output (timeoutSeconds {timeout})");
        return Complaint { short, hint: Some(hint.to_owned()), may_be_slow: true, of_program: true };
    }
    let by_kubelet = said.trim_start().to_lowercase();
    if slow
        && (by_kubelet.starts_with("command ")
            || by_kubelet.contains("rpc error") && by_kubelet.lines().count() == 1)
    {
        let timeout = probe.map_or(1, Probe::timeout);
        let short = format!("did not finish within timeoutSeconds {timeout} (timed out)");
        return Complaint { short, hint: Some(late(probe)), may_be_slow: true, of_program: true };
    }
    let short = conclusion(said);
    let missing = not_found(&short);
    let hint = match &missing {
        Some(tool) => format!("the image has no {tool}: add it, or use an httpGet, tcpSocket or grpc probe"),
        None => "run the probe's command by hand in the container: kubectl exec".to_owned(),
    };
    Complaint { short, hint: Some(hint), may_be_slow: missing.is_none() && !is_error(said), of_program: true }
}

/// The tool that a shell did not find: `sh: 1: curl: not found`, `bash: line 1: nc: command not found`.
fn not_found(said: &str) -> Option<String> {
    let before = said.strip_suffix(": not found").or_else(|| said.strip_suffix(": command not found"))?;
    let (shell, tool) = before.rsplit_once(": ")?;
    let shell = shell.split(':').next().unwrap_or_default();
    let plain = !tool.is_empty() && tool.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    (plain && is_shell(shell)).then(|| tool.to_owned())
}

/// Whether nothing accepted the probe's connection: what the log says of addresses matters then alone.
pub fn is_refused(said: &str) -> bool {
    said.contains("connection refused")
}

/// Compares a refused connection with the addresses on which the program's own log says that it listens: in the log's
/// words, what no probe reaches, or another port.
pub fn compare_with_log(finding: &mut Finding, said: &str, listens: &[String]) {
    if !is_refused(said) || listens.is_empty() {
        return;
    }
    let asked = text::between(said, "dial tcp ", ": ").and_then(|peer| peer.rsplit_once(':'));
    let Some((host, asked)) = asked else { return };
    // On a loopback address one that is bound to it is reached: of the node with its network, of the pod in a command.
    let on_loopback = listens::is_loopback(&format!("{host}:"));
    let by_kubelet = said.starts_with("Get \"") || said.starts_with("dial tcp ");
    // A command may ask another pod.
    if !by_kubelet && !on_loopback {
        return;
    }
    let of_port: Vec<&String> =
        listens.iter().filter(|a| a.rsplit_once(':').is_some_and(|(_, port)| port == asked)).collect();
    let loopback = !on_loopback && of_port.iter().all(|a| listens::is_loopback(a));
    // It did listen there, so it stopped, or that was before.
    if !of_port.is_empty() && !loopback {
        return;
    }
    let shown = match of_port.first() {
        Some(address) => (*address).clone(),
        None => listens.join(", "),
    };
    finding.summary = format!("{}; its log: listens on {shown}", finding.summary);
    let hint = if of_port.is_empty() {
        format!(
            "the log says that the program listens on {shown}, but the probe uses port {asked}: correct the probe's port or the program's, unless it opens port {asked} later"
        )
    } else {
        format!(
            "the log says that the program listens on {shown}, which only its own pod can reach: make it listen on 0.0.0.0 (or ::)"
        )
    };
    finding.next_steps.retain(|s| !s.starts_with(SLOW_START) && !s.starts_with(NOTHING_LISTENS));
    finding.next_steps.insert(0, hint);
}

/// Whether a program broke at the command itself, rather than told how things are.
fn is_error(said: &str) -> bool {
    said.lines().any(|line| {
        let word = line.trim().split([':', ' ']).next().unwrap_or_default();
        word.len() > 5 && (word.ends_with("Error") || word.ends_with("Exception"))
    })
}

/// What several lines of output come to: the line that names the error, else the last one, on which most programs conclude.
/// Lines of a stack, of a banner, or a caret under a bad line are none.
fn conclusion(said: &str) -> String {
    let lines: Vec<&str> =
        said.lines().map(str::trim).filter(|l| l.chars().any(char::is_alphanumeric)).collect();
    let of_stack = |l: &str| l.starts_with("at ") || l.starts_with("File \"") || l.starts_with("Node.js v");
    let mut lines: Vec<&str> = lines.into_iter().filter(|l| !of_stack(l)).collect();
    // Clients warn of a password on their command line before each answer.
    let warns_of_password = |l: &str| l.contains("arning") && l.contains("Using a password");
    if !lines.iter().all(|l| warns_of_password(l)) {
        lines.retain(|l| !warns_of_password(l));
    }
    let whole = text::quote(&text::normalise(&lines.join(" ")));
    if whole.chars().count() <= 160 {
        return whole;
    }
    let words = [
        "error",
        "exception",
        "failed",
        "fatal",
        "cannot",
        "could not",
        "unable",
        "refused",
        "denied",
        "timed out",
    ];
    let tells = |l: &&&str| {
        let lower = l.to_lowercase();
        words.iter().any(|w| lower.contains(w))
    };
    let named = lines.iter().find(|l| is_error(l)).or_else(|| lines.iter().rfind(tells));
    let line = named.or(lines.last()).copied().unwrap_or_default();
    text::head(&text::quote(&text::normalise(line)), 200)
}

/// Whether a first line tells of a program that answered its probe, and that it is not well.
pub fn says_unhealthy(summary: &str) -> bool {
    summary.contains(": HTTP status 5") || summary.contains(": answers NOT_SERVING")
}

/// What a status code comes to. `rest` begins with it.
fn of_status(rest: &str, lower: &str) -> Complaint {
    let status: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let hint = match status.as_str() {
        "404" => "the probe's path does not exist in the program: check path and port",
        "401" | "403" => "the probe's path requires credentials: use a path that does not, or set a header",
        "400" if lower.contains("https server") => "the port speaks HTTPS: set the probe's scheme to HTTPS",
        s if s.starts_with('5') => "the program itself reports that it is not healthy: read its log",
        s if s.starts_with('3') => "set the probe's path to one that answers without a redirect",
        _ => "the program does not accept the probe's request: check path, port and headers",
    };
    // One that answers 503 may still be warming up.
    let may_be_slow = status.starts_with('5');
    Complaint {
        short: format!("HTTP status {status}"),
        hint: Some(hint.to_owned()),
        may_be_slow,
        // Why it does not accept a request, it may log as well.
        of_program: may_be_slow || matches!(status.as_str(), "400" | "403" | "421" | "429"),
    }
}

/// What the probe said, in the kubelet's event about it.
pub fn words_of(event: &Event) -> &str {
    let said = text::uncombined(&event.message);
    for head in [
        "probe failed: ",
        "probe errored and resulted in unknown state: ",
        "probe errored and resulted in Unknown state: ",
        "probe errored: ",
    ] {
        if let Some((before, said)) = said.split_once(head)
            && before.len() < 16
        {
            return said;
        }
    }
    said.split_once(": ").map_or(said, |(_, said)| said)
}

/// How long the present run took until the pod was ready, if both times are known. Without a readiness or startup probe a
/// container is ready as soon as it runs, which proves nothing.
pub fn ready_after(view: &View<'_>) -> Option<SignedDuration> {
    let spec = view.spec?;
    let probed = spec.readiness_probe.is_some() || spec.startup_probe.is_some();
    let started = view.running_since().filter(|_| probed && view.status.ready)?;
    let ready = view.pod.status.condition(&ConditionType::Ready).filter(|c| c.is_true())?;
    let ready = ready.last_transition_time.get()?;
    (ready >= started).then(|| ready.duration_since(started))
}

/// The setting that lets a container live that needs `needed` to start, with half of that to spare; none if the probe as it
/// is allows for it.
pub fn setting_for(probe: &Probe, needed: SignedDuration) -> Option<String> {
    let wanted = needed.as_secs().max(0).saturating_mul(3) / 2;
    if needed.as_secs() < probe.budget() - probe.period() {
        return None;
    }
    let period = probe.period();
    let threshold = (wanted + period - 1) / period;
    Some(format!(
        "a startupProbe with periodSeconds {period} and failureThreshold {threshold} ({}s) would give it enough time",
        threshold.saturating_mul(period)
    ))
}

/// The probe's settings, what they allow, and how that compares with the run that ended and with the present one.
pub fn add_facts(
    finding: &mut Finding,
    view: &View<'_>,
    name: &str,
    probe: Option<&Probe>,
    end: &Terminated,
) {
    let Some(probe) = probe else { return };
    finding.add(Source::Spec, describe(name, probe), None);
    let Some(lasted) = uptime(end) else { return };
    let budget = probe.budget();
    // The container is killed within a period of its budget, and its grace period comes on top.
    if lasted.as_secs() > longest_run(view, probe) {
        let words = format!(
            "it had passed before: the run lasted {}, the probe allows {budget}s without a pass",
            text::duration(lasted)
        );
        finding.add(Source::Status, words, end.finished_at.get());
        return;
    }
    let words =
        format!("it never passed: the run lasted {}, the probe allows {budget}s", text::duration(lasted));
    finding.add(Source::Status, words, end.finished_at.get());
    match ready_after(view) {
        Some(needed) => needs_longer(finding, probe, needed, "the current run"),
        None if name == "startup" => finding.next_steps.push(format!(
            "{SLOW_START}: raise failureThreshold of its startup probe, until periodSeconds x failureThreshold is above its start-up time"
        )),
        None => finding.next_steps.push(format!(
            "{SLOW_START}: give it a startupProbe with periodSeconds x failureThreshold above its start-up time, so that the {name} probe waits"
        )),
    }
}

/// What the advice for a refused connection begins with.
const NOTHING_LISTENS: &str = "nothing listens on this port";

/// What an advice begins with that is given where nothing tells how long a start takes.
const SLOW_START: &str = "if it is only slow to start";

/// Adds how long the container takes to become ready, and the setting that would have let it live.
pub fn needs_longer(finding: &mut Finding, probe: &Probe, needed: SignedDuration, which: &str) {
    let took = text::duration(needed);
    let Some(setting) = setting_for(probe, needed) else {
        finding.add(Source::Status, format!("{which} was ready after {took}"), None);
        return;
    };
    let budget = probe.budget();
    finding.add(
        Source::Status,
        format!(
            "{which} was ready after {took}, but the probe kills it at {budget}s: it is slow to start, not hung"
        ),
        None,
    );
    finding.next_steps.retain(|s| !s.starts_with(SLOW_START));
    finding.next_steps.insert(0, setting);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_sample_that_it_takes() {
        let samples = [
            "service unhealthy (responded with \"NOT_SERVING\")",
            "Get \"https://127.0.0.1:10257/healthz\": dial tcp 127.0.0.1:10257: connect: connection refused",
            "Get \"http://10.1.1.1:8080/ready\": dial tcp 10.1.1.1:8080: connect: connection refused",
            "Get \"http://10.1.1.1:8080/ready\": dial tcp 10.1.1.1:8080: connect: no route to host",
            "timeout: failed to connect service \"10.1.1.1:9090\" within 1s: context deadline exceeded",
            "dial tcp 10.1.1.1:8080: i/o timeout",
            "Get \"https://10.1.1.1:8443/ready\": net/http: TLS handshake timeout",
            "Get \"http://10.1.1.1:8080/ready\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            "Get \"https://10.1.1.1:8080/ready\": http: server gave HTTP response to HTTPS client",
            "Get \"https://10.1.1.1:50051/ready\": tls: first record does not look like a TLS handshake",
            "Get \"http://10.1.1.1:8080/ready\": EOF",
            "Get \"http://10.1.1.1:8080/ready\": net/http: HTTP/1.x transport connection broken: malformed HTTP response \"\\x15\\x03\\x01\\x00\\x02\\x02P\"",
            "Get \"http://10.1.1.1:8080/ready\": net/http: HTTP/1.x transport connection broken: malformed HTTP response",
            "Get \"https://10.1.1.1:8443/ready\": remote error: tls: certificate required",
            "Get \"https://10.1.1.1:8443/ready\": remote error: tls: handshake failure",
            "Get \"http://10.1.1.1:8080/ready\": read tcp 10.0.0.1:1->10.1.1.1:8080: read: connection reset by peer",
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)",
            "Probe terminated redirects, Response body: x",
            "strconv.Atoi: parsing \"http\": invalid syntax",
        ];
        assert_eq!(samples.len(), RULES.len());
        for (said, rule) in samples.iter().zip(RULES) {
            let complaint = read(said, None);
            let short = if rule.short == QUOTE { quoted(said) } else { rule.short.to_owned() };
            assert!(!short.is_empty() && complaint.short.ends_with(&short), "{said}: {}", complaint.short);
            assert_eq!(complaint.may_be_slow, rule.may_be_slow, "{said}");
        }
        // What no rule knows is quoted.
        assert!(read("something entirely new: 7", None).short.contains("something entirely new: 7"));
    }

    #[test]
    fn a_program_that_answers_is_not_slow_to_start() {
        for (said, slow) in [
            ("HTTP probe failed with statuscode: 401", false),
            ("HTTP probe failed with statuscode: 404", false),
            ("HTTP probe failed with statuscode: 503", true),
            ("dial tcp 10.1.1.1:8080: connect: connection refused", true),
        ] {
            assert_eq!(read(said, None).may_be_slow, slow, "{said}");
        }
    }

    #[test]
    fn a_tool_that_the_shell_does_not_find_is_named() {
        for (said, tool) in [
            ("/bin/sh: curl: not found", Some("curl")),
            ("sh: 1: curl: not found", Some("curl")),
            ("bash: line 1: nc: command not found", Some("nc")),
            ("key: session: not found", None),
            ("node 3 not found", None),
        ] {
            assert_eq!(not_found(said).as_deref(), tool, "{said}");
        }
    }

    #[test]
    fn a_refused_port_is_compared_with_the_addresses_of_the_log() {
        let said = "Get \"http://10.1.1.1:8000/ping\": dial tcp 10.1.1.1:8000: connect: connection refused";
        let compared = |listens: &[&str]| {
            let mut finding =
                Finding::of_pod(&crate::objects::Pod::default(), super::super::Reason::ReadinessProbeFailed)
                    .summary("refused".to_owned())
                    .next_step(format!("{NOTHING_LISTENS} of the pod"));
            let listens: Vec<String> = listens.iter().map(|l| (*l).to_owned()).collect();
            compare_with_log(&mut finding, said, &listens);
            (finding.summary.clone(), finding.next_steps.join("\n"))
        };
        let (summary, steps) = compared(&["127.0.0.1:8000"]);
        assert!(summary.ends_with("; its log: listens on 127.0.0.1:8000"), "{summary}");
        assert!(steps.contains("0.0.0.0") && !steps.contains(NOTHING_LISTENS), "{steps}");
        let (summary, steps) = compared(&["0.0.0.0:5000"]);
        assert!(summary.ends_with("; its log: listens on 0.0.0.0:5000"), "{summary}");
        assert!(steps.contains("port 8000"), "{steps}");
        for listens in [&["0.0.0.0:8000"][..], &["127.0.0.1:8000", ":8000"], &[]] {
            let (summary, steps) = compared(listens);
            assert_eq!(summary, "refused", "{listens:?}");
            assert!(steps.contains(NOTHING_LISTENS), "{listens:?}");
        }
    }

    #[test]
    fn a_program_is_not_opened_to_the_network_for_a_probe_of_a_loopback_address() {
        for (said, listens, tells) in [
            (
                "Get \"http://127.0.0.1:10257/healthz\": dial tcp 127.0.0.1:10257: connect: connection refused",
                "127.0.0.1:10257",
                "",
            ),
            ("dial tcp [::1]:9100: connect: connection refused", "[::1]:9100", ""),
            (
                "Get \"http://127.0.0.1:9099/live\": dial tcp 127.0.0.1:9099: connect: connection refused",
                "127.0.0.1:9098",
                "port 9099",
            ),
            ("check failed: dial tcp 127.0.0.1:8080: connect: connection refused", "127.0.0.1:8080", ""),
            ("health: dial tcp 10.9.0.4:5432: connect: connection refused", "0.0.0.0:8080", ""),
        ] {
            let mut finding =
                Finding::of_pod(&crate::objects::Pod::default(), super::super::Reason::LivenessProbeFailed);
            let command: Probe = serde_json::from_str(r#"{"exec":{"command":["check"]}}"#).unwrap();
            let by_kubelet = said.starts_with("Get") || said.starts_with("dial");
            read(said, (!by_kubelet).then_some(&command)).tell(&mut finding);
            compare_with_log(&mut finding, said, &[listens.to_owned()]);
            let steps = finding.next_steps.join("\n");
            assert!(!steps.contains("0.0.0.0") && !steps.contains("of the pod's address"), "{said}: {steps}");
            assert!(steps.contains(tells), "{said}: {steps}");
            assert_eq!(finding.summary.contains("listens on"), !tells.is_empty(), "{}", finding.summary);
        }
    }

    #[test]
    fn an_answer_that_it_is_not_well_is_told_from_silence() {
        for (said, answers) in [
            ("HTTP probe failed with statuscode: 503", true),
            ("service unhealthy (responded with \"NOT_SERVING\")", true),
            ("HTTP probe failed with statuscode: 404", false),
            ("dial tcp 10.1.1.1:8080: i/o timeout", false),
        ] {
            let summary = format!("container a: killed: {}", read(said, None).short);
            assert_eq!(says_unhealthy(&summary), answers, "{summary}");
        }
    }

    #[test]
    fn the_tls_error_is_quoted() {
        let said = "Get \"https://10.1.1.1:8443/readyz\": remote error: tls: certificate required";
        let complaint = read(said, None);
        assert!(complaint.short.ends_with("tls: certificate required"), "{}", complaint.short);
        assert!(!complaint.short.contains("Get \""), "{}", complaint.short);
        assert!(complaint.hint.unwrap_or_default().contains("client certificate"));
    }

    #[test]
    fn of_several_lines_of_output_the_one_that_concludes_is_taken() {
        let node = "/app/extra/healthcheck:1\nELF\n^\n\nSyntaxError: Invalid or unexpected token\n    at internalCompileFunction (node:internal/vm:76:18)\n    at wrapSafe (node:internal/modules/cjs/loader:1283:20)\n    at Module._compile (node:internal/modules/cjs/loader:1328:27)\n\nNode.js v18.20.3\n";
        assert_eq!(conclusion(node), "/app/extra/healthcheck:1 ELF SyntaxError: Invalid or unexpected token");
        let long = format!(
            "starting checks\n{}\nhealth check rpc failed: rpc error: code = DeadlineExceeded\n",
            "x".repeat(200)
        );
        assert_eq!(conclusion(&long), "health check rpc failed: rpc error: code = DeadlineExceeded");
        let redis = "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.\nLOADING Redis is loading the dataset in memory\n";
        assert_eq!(conclusion(redis), "LOADING Redis is loading the dataset in memory");
        let plain = format!("checking {}\nnode is not in sync yet\n", "y".repeat(200));
        assert_eq!(conclusion(&plain), "node is not in sync yet");
    }
}
