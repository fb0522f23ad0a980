//! What the container itself said of its end: its log and its termination message.

use crate::diagnosis::container::View;
use crate::diagnosis::logs::{self, LogTail, LogVerdict};
use crate::diagnosis::{CauseCode, Confidence, Context, Finding, Reason, Source, exit, text};
use crate::objects::Terminated;

/// Reads the log of the run that ended, if there is one.
pub(super) fn read_log(finding: &mut Finding, view: &View<'_>, context: &Context<'_>) {
    if finding.reason.known() == Some(Reason::RunContainerError) {
        // It never ran.
        return;
    }
    // While the container has ended or waits, its current log is that of the end; once it runs again, the previous one is.
    // The other one is of another run: of the one before, which as a rule ended the same way, or of the present one.
    let order = if view.is_running() { [true, false] } else { [false, true] };
    let mut gone = false;
    for previous in order {
        let log = context.logs.iter().find(|l| l.container == view.name && l.previous == previous);
        let Some(reading) = log.map(|l| l.read(finding.exit_code)) else { continue };
        gone |= reading.gone;
        let Some(verdict) = &reading.verdict else { continue };
        let present_run = view.is_running() && !previous;
        if present_run && !verdict.specific {
            continue;
        }
        finding.add(Source::Log, verdict.line.clone(), None);
        explain(finding, verdict);
        return;
    }
    if gone {
        finding.add(Source::Log, "the log of the run that ended is gone", None);
    } else if !context.sources.logs && is_open(finding.cause.code) {
        finding.add(Source::Log, "logs were not read: they may tell why", None);
    }
}

/// Adds the termination message, which is the program's own word on why it ended; with `FallbackToLogsOnError` it is the
/// end of its log.
pub(super) fn with_message(mut finding: Finding, end: &Terminated) -> Finding {
    if end.message.trim().is_empty() {
        return finding;
    }
    let message = text::quote(&end.message);
    let tail = LogTail::from_bytes(end.message.as_bytes());
    match logs::classify(&tail, finding.exit_code) {
        Some(verdict) if tail.lines().len() > 1 => explain(&mut finding, &verdict),
        _ => {
            finding.cause.text = format!("{}: {message}", finding.cause.text);
            add_words(&mut finding, "it says", &message);
        }
    }
    finding.add(Source::Status, format!("termination message: {message}"), end.finished_at.get());
    finding
}

/// Whether the status says only how the container ended, so that its log may say why.
fn is_open(code: CauseCode) -> bool {
    matches!(
        code,
        CauseCode::ApplicationError
            | CauseCode::CommandNotFound
            | CauseCode::CommandNotExecutable
            | CauseCode::Aborted
            | CauseCode::SegmentationFault
            | CauseCode::IllegalInstruction
            | CauseCode::CommandCompleted
            | CauseCode::RuntimeError
            | CauseCode::Signal
    )
}

/// Why it ended belongs into the first line, rather than what its exit code means in general.
fn lead_with(finding: &mut Finding, why: &str) {
    let general = finding.exit_code.map(|code| exit::meaning(code, "Error").1).unwrap_or_default();
    finding.summary = match finding.summary.strip_suffix(&general).filter(|_| !general.is_empty()) {
        Some(head) if head.ends_with(": ") => format!("{head}{why}{}", ended(finding)),
        _ => format!("{}: {why}", finding.summary),
    };
}

/// Words that nobody knows how to read are added to what is known, and so much of them as fits.
fn add_words(finding: &mut Finding, whose: &str, words: &str) {
    // What a code means in general is said where it means anything.
    if finding.cause.code == CauseCode::ApplicationError
        && let Some(code) = finding.exit_code
        && let Some(head) = finding.summary.strip_suffix(&exit::meaning(code, "Error").1)
    {
        finding.summary = format!("{head}exit code {code}");
    }
    finding.summary = format!("{}; {whose}: {}", finding.summary, text::head(words, 160));
}

fn ended(finding: &Finding) -> String {
    finding.exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default()
}

/// Lets the log say why. What the status proves stays in the text.
fn explain(finding: &mut Finding, verdict: &LogVerdict) {
    if !is_open(finding.cause.code) {
        return;
    }
    let ended = ended(finding);
    if verdict.specific {
        // An end in peace stays what it is; the log only adds why.
        if finding.cause.code != CauseCode::CommandCompleted {
            finding.cause.code = verdict.code;
        }
        // What is only the general sort of thing is worth less than the program's own words.
        if verdict.code == CauseCode::LoggedError {
            finding.cause.text = format!("{}: {}{ended}", verdict.text, verdict.line);
            add_words(finding, "its log says", &verdict.line);
        } else {
            finding.cause.text = format!("{}{ended}", verdict.text);
            lead_with(finding, &verdict.text);
        }
    } else {
        finding.cause.text = format!("{}; its log says last: {}", finding.cause.text, verdict.line);
        add_words(finding, "its log says last", &verdict.line);
    }
    finding.confidence = finding.confidence.min(Confidence::Probable);
}
