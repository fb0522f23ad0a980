//! What the container itself said of its termination: its log and its termination message.

use crate::diagnosis::container::View;
use crate::diagnosis::logs::{self, LogTail, LogVerdict};
use crate::diagnosis::{CauseCode, Confidence, Context, Finding, Reason, Source, exit, probe, text};
use crate::objects::Terminated;

/// What a step begins with that takes the exit for the end of the work.
pub(super) const IF_MEANT: &str = "if the work is meant to complete";

/// Reads the log of the run that terminated, if there is one.
pub(super) fn read_log(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
    if finding.reason.known() == Some(Reason::RunContainerError) {
        // It never ran.
        return;
    }
    // While the container is terminated or waits, its current log is that of the termination; once it runs again, the
    // previous one is. The other one is of another run: of the one before, which as a rule failed the same way, or of the
    // present one.
    let order = if view.is_running() { [true, false] } else { [false, true] };
    let mut gone = false;
    let mut empty = false;
    for previous in order {
        let log = context.logs.iter().find(|l| l.container == view.name && l.previous == previous);
        let Some(reading) = log.map(|l| l.read(finding.exit_code)) else { continue };
        gone |= reading.gone;
        // The other one, of another run, says nothing about it.
        empty |= reading.empty && previous == view.is_running();
        let Some(verdict) = &reading.verdict else { continue };
        let present_run = view.is_running() && !previous;
        if present_run && !verdict.specific {
            continue;
        }
        finding.add(Source::Log, verdict.line.clone(), None);
        if is_open(finding.cause.code) {
            explain(finding, verdict, false);
        } else {
            mention(finding, verdict);
        }
        return;
    }
    let (why, fact) = if gone {
        ("its log is no longer available", "the log of the run that terminated is no longer available")
    } else if empty {
        ("its log is empty", "the log of the run that terminated is empty")
    } else if !context.sources.logs {
        ("logs were not read", "logs were not read: they may show why")
    } else {
        return;
    };
    if !(gone || is_open(finding.cause.code)) {
        return;
    }
    let step = if empty && !gone { NO_LOG.to_owned() } else { super::log_command(finding, view) };
    if !unknown(finding, why) {
        finding.add(Source::Log, fact, None);
    } else if !finding.next_steps.contains(&step) {
        finding.next_steps.insert(0, step);
    }
}

/// What to do about a program that exits without a word.
const NO_LOG: &str =
    "it wrote nothing to its log: check its command and arguments, and whether it logs to a file";

/// Says of a bare exit code that it is no cause, and why there is none. Gives false where the cause is another.
fn unknown(finding: &mut Finding, why: &str) -> bool {
    let Some(code) = finding.exit_code else { return false };
    let bare = finding.cause.code == CauseCode::ApplicationError
        && finding.cause.text == exit::meaning(code, "Error").1;
    if !bare {
        return false;
    }
    finding.cause.text = format!("cause unknown: exit code {code}; {why}");
    finding.confidence = finding.confidence.min(Confidence::Possible);
    true
}

/// Adds the termination message, which is the program's own word on why it terminated; with `FallbackToLogsOnError` it is
/// the end of its log.
pub(super) fn with_message(mut finding: Finding, end: &Terminated) -> Finding {
    if end.message.trim().is_empty() {
        return finding;
    }
    let message = text::quote(&end.message);
    let tail = LogTail::from_bytes(end.message.as_bytes());
    if let Some(verdict) = logs::classify(&tail, finding.exit_code) {
        if is_open(finding.cause.code) {
            explain(&mut finding, &verdict, true);
        } else {
            finding.cause.text = format!("{}; termination message: {}", finding.cause.text, verdict.text);
        }
    }
    finding.add(Source::Status, format!("termination message: {message}"), end.finished_at.get());
    finding
}

/// Whether the status says only how the container terminated, so that its log may say why.
fn is_open(code: CauseCode) -> bool {
    matches!(
        code,
        CauseCode::ApplicationError
            | CauseCode::CommandNotFound
            | CauseCode::CommandNotExecutable
            | CauseCode::Aborted
            | CauseCode::SegmentationFault
            | CauseCode::IllegalInstruction
            | CauseCode::BusError
            | CauseCode::CommandCompleted
            | CauseCode::RuntimeError
            | CauseCode::Signal
            | CauseCode::Panic
    )
}

/// What the log of a container that was killed says is evidence, not the cause: the kubelet or the kernel killed it.
fn mention(finding: &mut Finding, verdict: &LogVerdict) {
    let killed_by_probe =
        matches!(finding.reason.known(), Some(Reason::LivenessProbeFailed | Reason::StartupProbeFailed));
    // A runtime that reaches a limit of its own may have itself killed: a script of the JVM does that.
    let by_itself = finding.cause.code == CauseCode::Killed
        && matches!(verdict.code, CauseCode::HeapExhausted | CauseCode::ResourceExhausted);
    // Where the program answered that it is not well, its log is its word on why, as for a readiness probe.
    let answered = killed_by_probe && probe::says_unhealthy(&finding.summary);
    let telling = verdict.strong && (verdict.specific || verdict.error) || answered && verdict.specific;
    if !(killed_by_probe && telling || by_itself) || finding.summary.contains(&verdict.text) {
        return;
    }
    if finding.summary.len() + verdict.text.len() < 300 {
        finding.cause.text = format!("{}; log: {}", finding.cause.text, verdict.text);
        finding.summary = format!("{}; log: {}", finding.summary, verdict.text);
    } else {
        // What has no room in the first line leads in the second.
        finding.cause.text = format!("log: {}; {}", verdict.text, finding.cause.text);
    }
}

/// Lets the log, or the program's own message, say why. What the status proves stays.
fn explain(finding: &mut Finding, verdict: &LogVerdict, own: bool) {
    let said = words(verdict, own);
    if finding.cause.code == CauseCode::CommandCompleted {
        // An end in order stays what it is; the log only adds why.
        finding.cause.text = format!("{}; {said}", finding.cause.text);
        finding.summary = format!("{}; {said}", finding.summary);
        if verdict.error {
            // It did not complete: it gave up.
            finding.summary = finding.summary.replacen(": completes with exit code", ": exits with code", 1);
            finding.next_steps.retain(|step| !step.starts_with(IF_MEANT));
        }
        finding.confidence = finding.confidence.min(Confidence::Probable);
        return;
    }
    if verdict.specific && verdict.code != CauseCode::LoggedError {
        finding.cause.code = verdict.code;
    } else if finding.cause.code == CauseCode::ApplicationError && verdict.error {
        finding.cause.code = CauseCode::LoggedError;
    }
    // What the code means in general is no part of a cause that the program named itself.
    finding.cause.text = match finding.exit_code {
        Some(code) => format!("{said} ({})", exit::label(code)),
        None => said.clone(),
    };
    finding.summary = format!("{}: {said}", finding.summary);
    finding.confidence = finding.confidence.min(Confidence::Probable);
}

/// The words of the log, named as what they are where they are no error.
fn words(verdict: &LogVerdict, own: bool) -> String {
    if own || verdict.specific || verdict.error {
        return verdict.text.clone();
    }
    let of = if verdict.last { "last log line" } else { "log" };
    format!("{of}: {}", verdict.text)
}
