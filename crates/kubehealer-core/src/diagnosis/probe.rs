//! Probes: what they allow, what they said, and which setting would have let a slow starter live.
//!
//! The kubelet kills a container for its liveness or startup probe and leaves no trace of that in the pod: exit code 137,
//! 143, or whatever the program ends with when it is asked to. Only events name the probe.

use jiff::SignedDuration;

use super::container::{View, uptime};
use super::finding::{Finding, Source};
use super::text;
use crate::objects::{ConditionType, Probe, Terminated};

/// A probe in words.
pub fn describe(name: &str, probe: &Probe) -> String {
    let handler = &probe.handler;
    let what = if let Some(get) = &handler.http_get {
        let scheme = if get.scheme == "HTTPS" { "https://" } else { "" };
        format!("GET {scheme}:{}{}", text::name(&get.port.to_string()), text::quote(&get.path))
    } else if let Some(tcp) = &handler.tcp_socket {
        format!("TCP port {}", text::name(&tcp.port.to_string()))
    } else if let Some(grpc) = &handler.grpc {
        format!("gRPC port {}", grpc.port)
    } else {
        "a command".to_owned()
    };
    format!(
        "{name} probe: {what}, initialDelaySeconds {}, periodSeconds {}, timeoutSeconds {}, failureThreshold {}: {}s until it acts",
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
    /// In a few words; empty where the complaint is none that is known.
    pub short: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Complaint {
    fn new(short: impl Into<String>, hint: &str) -> Self {
        Self { short: short.into(), hint: Some(hint.to_owned()).filter(|h| !h.is_empty()) }
    }

    /// Adds to a finding what the probe said: why it fails belongs into the first line, and what to do before all else.
    pub fn tell(self, finding: &mut Finding) {
        if !self.short.is_empty() {
            finding.summary = format!("{}: {}", finding.summary, self.short);
        }
        if let Some(hint) = self.hint {
            finding.next_steps.insert(0, hint);
        }
    }
}

/// Reads what a probe said: the text behind `probe failed: ` or `probe errored: `.
pub fn read(said: &str, probe: Option<&Probe>) -> Complaint {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let command = probe.is_some_and(|p| {
        p.handler.http_get.is_none() && p.handler.tcp_socket.is_none() && p.handler.grpc.is_none()
    });
    let slow = has(&["timeout exceeded", "deadline exceeded", "timed out", "did not complete within"]);
    let late = |short: &str| {
        let timeout = probe.map_or(1, Probe::timeout);
        let hint = format!(
            "the answer takes longer than timeoutSeconds {timeout}: raise it, or make the check cheaper"
        );
        Complaint::new(short, &hint)
    };
    // The runtime's word on the command, not the command's own.
    let not_run = has(&["exec failed", "failed to exec", "executable file not found", "not found in $path"]);
    if not_run && has(&["executable file not found", "no such file or directory", "not found in $path"]) {
        return Complaint::new("its command is not in the image", "the probe's command is not in the image");
    }
    if not_run && has(&["permission denied"]) {
        return Complaint::new("its command may not be executed", "the probe's command may not be executed");
    }
    if command && !not_run {
        if slow {
            return late("its command does not end in time");
        }
        // What it prints is of its own matters, whatever the words are.
        let printed = said.trim().lines().next().unwrap_or_default();
        let short =
            if printed.is_empty() { String::new() } else { format!("its command says {}", cut(printed)) };
        return Complaint::new(short, "run the probe's command by hand in the container: kubectl exec");
    }
    if let Some((_, rest)) = lower.split_once("statuscode: ") {
        let status: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let hint = match status.as_str() {
            "404" => "the probe's path does not exist in the program: check path and port",
            "401" | "403" => "the probe's path wants credentials: give it one that does not, or a header",
            "400" if lower.contains("https server") => {
                "the port speaks HTTPS: set the probe's scheme to HTTPS"
            }
            s if s.starts_with('5') => "the program itself says that it is not well: its log may tell why",
            s if s.starts_with('3') => {
                "the probe's path leads to another place: give it the one that answers itself"
            }
            _ => "the program does not accept the probe's request: check path, port and headers",
        };
        return Complaint::new(format!("HTTP status {status}"), hint);
    }
    if has(&["not_serving"]) {
        let hint = "the program itself says that it does not serve: its log may tell why";
        return Complaint::new("it answers NOT_SERVING", hint);
    }
    if has(&["connection refused"]) {
        return Complaint::new(
            "connection refused",
            "nothing listens on the probe's port, or not yet: check the port and how long the program takes to start",
        );
    }
    let dialling = has(&["dial tcp", "failed to connect"]);
    if has(&["no route to host", "network is unreachable"]) || dialling && (slow || has(&["i/o timeout"])) {
        return Complaint::new(
            "no connection comes about",
            "the node does not reach the pod's port: check network policies and the CNI, and whether the program is stuck",
        );
    }
    if has(&["tls handshake timeout"]) {
        return late("the TLS handshake does not end in time");
    }
    if slow || has(&["i/o timeout"]) {
        return late("no answer in time");
    }
    if has(&["server gave http response to https client", "first record does not look like a tls handshake"])
    {
        return Complaint::new(
            "the port speaks no TLS",
            "the port speaks HTTP and the probe HTTPS: set scheme HTTP",
        );
    }
    if has(&["malformed http", "http request to an https server", "eof"]) {
        return Complaint::new(
            "the port speaks no plain HTTP",
            "the port does not speak plain HTTP: check port and scheme (HTTPS, gRPC?)",
        );
    }
    if has(&["x509:", "tls:"]) {
        return Complaint::new(
            "the TLS handshake fails",
            "the TLS handshake of the probe fails: check the program's certificate and TLS settings",
        );
    }
    if has(&["connection reset", "broken pipe"]) {
        return Complaint::new(
            "the connection is broken off",
            "the program breaks the probe's connection off: check port and scheme, and its log",
        );
    }
    if has(&["does not implement the grpc health protocol", "unknown service"]) {
        return Complaint::new(
            "it has no gRPC health service",
            "the program has no gRPC health service (or not under that name): add it, or use another kind of probe",
        );
    }
    if has(&["redirects"]) {
        let hint = "the probe's path leads to another place: give it the one that answers itself";
        return Complaint::new("it redirects", hint);
    }
    if has(&["strconv.atoi", "couldn't find port", "invalid port"]) {
        let hint =
            "the probe names a port that the container does not have: compare it with the names in ports";
        return Complaint::new("its port is not one of the container's", hint);
    }
    Complaint::default()
}

/// The beginning of what a command printed, without what changes from try to try.
fn cut(printed: &str) -> String {
    format!("\"{}\"", text::head(&text::quote(&text::normalise(printed)), 80))
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
        "a startupProbe with periodSeconds {period} and failureThreshold {threshold} ({}s) would let it live",
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
        Some(needed) => needs_longer(finding, probe, needed, "the present run"),
        None if name == "startup" => finding.next_steps.push(format!(
            "{SLOW_START}: raise failureThreshold of its startup probe, until periodSeconds x failureThreshold is above its start-up time"
        )),
        None => finding.next_steps.push(format!(
            "{SLOW_START}: give it a startupProbe with periodSeconds x failureThreshold above its start-up time, so that the {name} probe waits"
        )),
    }
}

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
            "{which} was ready after {took}, the probe kills at {budget}s: it is slow to start, not dead"
        ),
        None,
    );
    finding.next_steps.retain(|s| !s.starts_with(SLOW_START));
    finding.next_steps.insert(0, setting);
}
