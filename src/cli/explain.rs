//! `kubehealer explain`: the runbook of a reason in the terminal, and in a few lines what else is printed: causes, alerts, exit
//! codes, the words of kubectl and of events.

mod words;

use std::process::ExitCode;

use clap_complete::ArgValueCandidates;

use super::pager::Pager;
use super::{Trouble, completions, output};
use crate::diagnosis::{CauseCode, Reason, Subject, steps};
use crate::report::{self, Style};
use crate::runbooks;

const EXAMPLES: &str = "\
Examples:
  kubehealer explain OOMKilled              the runbook of a reason
  kubehealer explain MissingSecret          a cause
  kubehealer explain ContainerCrashLooping  an alert
  kubehealer explain exit 137               an exit code; also SIGKILL, Pending, Init:Error, FailedMount
  kubehealer explain out of memory          reasons and causes by what they mean";

/// Print the runbook for a reason, or list all reasons; or what a cause, an alert, an exit code or a word of kubectl means.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A reason, cause, alert, severity, confidence, exit code, signal, STATUS of a pod or reason of an event, in upper or lower case, or
    /// what an error says; without it, all reasons are listed
    #[arg(value_name = "WORD", add = ArgValueCandidates::new(completions::words))]
    words: Vec<String>,
    #[command(flatten)]
    pager: Pager,
}

/// The alerts, with what makes them fire: a table, then sections.
const ALERTS: &str = include_str!("../../docs/alerts.md");

/// Words that Kubernetes uses for the same thing.
const SAME: &[(&str, &str)] = &[
    ("ErrImagePull", "ImagePullBackOff"),
    ("RegistryUnavailable", "ImagePullBackOff"),
    ("StartError", "RunContainerError"),
    ("ContainerCannotRun", "RunContainerError"),
    ("FailedPostStartHook", "PostStartHookError"),
    ("Preempting", "Preempted"),
    ("OOM", "OOMKilled"),
];

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let style = Style { width: output::width(), colour: output::colour(), wide: false, all: false };
    args.pager.print(&text(&args.words.join(" "), &style)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed of a word; without one, the list of all reasons.
pub(super) fn text(wanted: &str, style: &Style) -> Result<String, Trouble> {
    if wanted.is_empty() {
        return Ok(list(style));
    }
    let named = runbook(wanted, style).or_else(|| short(wanted, style));
    named
        .or_else(|| by_meaning(wanted, style))
        .or_else(|| in_one_word(wanted, style))
        .ok_or_else(|| unknown(wanted))
}

/// What people say of a failure, where no name and no meaning below has these words.
const SAID: &[(&str, &[&str])] = &[
    ("out of memory", &["OOMKilled", "OutOfmemory", "HeapExhausted", "InsufficientResources"]),
    ("dns", &["DependencyNameNotResolved", "RegistryNameNotResolved"]),
    ("no such host", &["DependencyNameNotResolved", "RegistryNameNotResolved"]),
    ("no space left", &["NodeDiskFull", "ResourceExhausted", "Evicted"]),
    ("disk full", &["NodeDiskFull", "ResourceExhausted", "Evicted"]),
    ("nodes are available", &["Unschedulable"]),
];

/// Reasons and causes whose meaning has these words.
fn by_meaning(wanted: &str, style: &Style) -> Option<String> {
    const SHOWN: usize = 6;
    let lower = wanted.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    // The scheduler counts nodes: `0/2 nodes`.
    let counts = |word: &str| {
        word.split_once('/').is_some_and(|(n, m)| n.parse::<u32>().and(m.parse::<u32>()).is_ok())
    };
    let is_scheduler =
        matches!(words.as_slice(), [count, nodes, ..] if counts(count) && nodes.starts_with("node"));
    let said = if is_scheduler { "nodes are available" } else { &lower };
    let said =
        SAID.iter().filter(|(text, _)| said.contains(text) && (text.contains(' ') || words.contains(text)));
    let mut fitting: Vec<&str> = said.flat_map(|(_, names)| *names).copied().collect();
    if fitting.is_empty() && lower.len() > 3 && !names().any(|name| name.to_lowercase().contains(&lower)) {
        let meanings = CauseCode::ALL.iter().map(|code| (code.as_str(), code.meaning()));
        let meanings = meanings.chain(runbooks::names().map(|name| (name, meaning(name))));
        let fits = |text: &str| {
            words.iter().all(|word| text.split(|c: char| !c.is_alphanumeric()).any(|t| same_word(word, t)))
        };
        fitting.extend(meanings.filter(|(_, text)| fits(&text.to_lowercase())).map(|(name, _)| name));
    }
    fitting.truncate(SHOWN);
    let first = fitting.first()?;
    let list = report::glossary(fitting.iter().map(|name| (*name, meaning(name))), style);
    Some(format!("Reasons and causes for {wanted:?}:\n\n{list}\nMore: kubehealer explain {first}\n"))
}

/// What a reason or a cause means.
fn meaning(name: &str) -> &'static str {
    match (runbooks::runbook(name), CauseCode::of(name)) {
        (Some(runbook), _) => runbooks::meaning(runbook),
        (None, code) => code.map_or("", CauseCode::meaning),
    }
}

/// Whether two words are forms of one: `refused` and `refuses`.
fn same_word(a: &str, b: &str) -> bool {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    a == b || common > 3 && common + 2 >= a.len().max(b.len())
}

/// A name that is written in several words: `permission denied`.
fn in_one_word(wanted: &str, style: &Style) -> Option<String> {
    let bare: String = wanted.chars().filter(|c| c.is_alphanumeric()).collect();
    if bare == wanted { None } else { runbook(&bare, style).or_else(|| short(&bare, style)) }
}

fn runbook(wanted: &str, style: &Style) -> Option<String> {
    let same = SAME.iter().find(|(word, _)| word.eq_ignore_ascii_case(wanted)).map(|(_, name)| *name);
    let text = report::page(runbooks::runbook(same.unwrap_or(wanted))?, style);
    Some(match same {
        Some(name) => format!("{wanted} is a form of {name}.\n\n{text}"),
        None => text,
    })
}

/// The reasons that causes usually come with: those of a row hold from its cause on, in the order of [`CauseCode::ALL`].
const USUAL: &[(CauseCode, &[&str])] = &[
    (CauseCode::ImageNotFound, &["ImagePullBackOff"]),
    (CauseCode::InvalidImageReference, &["InvalidImageName"]),
    (CauseCode::ImageShortName, &["ImageInspectError", "ImagePullBackOff"]),
    (CauseCode::ImageSignature, &["SignatureValidationFailed"]),
    (CauseCode::ImageCorrupt, &["ImagePullBackOff"]),
    (CauseCode::ImageNotPresent, &["ErrImageNeverPull"]),
    (CauseCode::ImagePullFailed, &["ImagePullBackOff", "PodNotStarted"]),
    (CauseCode::MissingConfigMap, &["CreateContainerConfigError", "VolumeNotReady"]),
    (CauseCode::RunAsNonRootViolated, &["CreateContainerConfigError"]),
    (CauseCode::MountFailed, &["RunContainerError", "CreateContainerError"]),
    (CauseCode::HookFailed, &["PostStartHookError", "FailedPreStopHook"]),
    (CauseCode::MemoryLimitReached, &["OOMKilled"]),
    (CauseCode::Killed, &["CrashLoopBackOff", "Error"]),
    (CauseCode::CommandCompleted, &["CompletedLoop"]),
    (CauseCode::CommandNotExecutable, &["CrashLoopBackOff", "Error"]),
    (CauseCode::LivenessProbe, &["LivenessProbeFailed"]),
    (CauseCode::StartupProbe, &["StartupProbeFailed"]),
    (CauseCode::ReadinessProbe, &["ReadinessProbeFailed"]),
    (CauseCode::ContainerVanished, &["ContainerStatusUnknown"]),
    (CauseCode::NodeRestarted, &["NodeRestart"]),
    (CauseCode::RestartRule, &["RestartingAllContainers"]),
    (CauseCode::Panic, &["CrashLoopBackOff", "Error"]),
    (CauseCode::InsufficientResources, &["Unschedulable"]),
    (CauseCode::SchedulingGate, &["SchedulingGated"]),
    (CauseCode::VolumeMountFailed, &["VolumeNotReady"]),
    (CauseCode::NetworkSetupFailed, &["FailedCreatePodSandBox"]),
    (CauseCode::DeviceAllocationFailed, &["FailedPrepareDynamicResources"]),
    (CauseCode::DeviceUnhealthy, &["DeviceUnhealthy"]),
    (CauseCode::KubeletSilent, &["PodNotStarted"]),
    (CauseCode::InitWaiting, &["InitStuck"]),
    (CauseCode::ReadinessGate, &["ReadinessGatesNotReady"]),
    (CauseCode::NodePressure, &["Evicted"]),
    (CauseCode::DeadlineReached, &["DeadlineExceeded"]),
    (CauseCode::NodeFull, &["OutOfcpu", "OutOfmemory", "OutOfpods"]),
    (CauseCode::NodeRefused, &["AdmissionRejected"]),
    (CauseCode::Preemption, &["Preempted"]),
    (CauseCode::NodeShutDown, &["NodeShutdown"]),
    (CauseCode::Disruption, &[]),
    (CauseCode::Finalizer, &["StuckTerminating"]),
    (CauseCode::ResizeRefused, &["ResizeDeferred", "ResizeInfeasible"]),
    (CauseCode::QuotaExceeded, &["FailedCreate"]),
    (CauseCode::BadRevision, &["ProgressDeadlineExceeded"]),
    (CauseCode::TooManyFailures, &["BackoffLimitExceeded"]),
    (CauseCode::WorkDone, &["SidecarStillRunning"]),
    (CauseCode::FailurePolicy, &["PodFailurePolicy"]),
    (CauseCode::KubeletStopped, &["NodeNotReady"]),
    (CauseCode::NodeProblem, &["NodeProblem"]),
    (CauseCode::UserRule, &[]),
];

/// What is no reason, in a few lines.
fn short(wanted: &str, style: &Style) -> Option<String> {
    let text = init(wanted).or_else(|| cause(wanted)).or_else(|| alert(wanted)).or_else(|| word(wanted))?;
    Some(report::page(&text, style))
}

/// `Init:X`: X of an init container.
fn init(wanted: &str) -> Option<String> {
    if words::of(wanted).is_some() {
        return None;
    }
    let of = wanted.get(..5).filter(|p| p.eq_ignore_ascii_case("init:")).and_then(|_| wanted.get(5..))?;
    let same = SAME.iter().find(|(word, _)| word.eq_ignore_ascii_case(of)).map_or(of, |(_, name)| name);
    let (name, runbook) = (name_of(same)?, runbooks::runbook(same)?);
    Some(format!(
        "# Init:{name}: in kubectl's STATUS column\n\nAn init container; the containers of the pod wait for it. {}\n\n{}{}",
        runbooks::meaning(runbook),
        look(&[
            "kubectl -n NAMESPACE logs POD -c INIT_CONTAINER --previous",
            "kubehealer diagnose -n NAMESPACE POD"
        ]),
        more(&[name])
    ))
}

/// The name of a reason as it is written.
fn name_of(wanted: &str) -> Option<&'static str> {
    runbooks::names().find(|name| name.eq_ignore_ascii_case(wanted))
}

fn word(wanted: &str) -> Option<String> {
    let words::Word { names, what, meaning, look: steps, reasons } = words::of(wanted)?;
    Some(format!("# {}: {what}\n\n{meaning}\n\n{}{}", names.join(", "), look(steps), more(reasons)))
}

fn cause(wanted: &str) -> Option<String> {
    let code = CauseCode::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(wanted))?;
    // Names of a finding are in braces.
    let step = |step: &&str| {
        let mut text = String::new();
        let mut inside = false;
        for part in step.split_inclusive(['{', '}']) {
            let bare = part.trim_end_matches(['{', '}']);
            let name = inside && part.ends_with('}') && bare.bytes().all(|b| b.is_ascii_lowercase());
            if name {
                text.pop();
                text.push_str(&bare.to_ascii_uppercase());
            } else {
                text.push_str(part);
            }
            inside = part.ends_with('{');
        }
        text
    };
    let steps: Vec<String> = steps::of(*code).iter().map(step).collect();
    let steps: Vec<&str> = match steps.is_empty() {
        true => vec!["kubehealer diagnose -n NAMESPACE POD"],
        false => steps.iter().map(String::as_str).collect(),
    };
    let reasons = USUAL.iter().take_while(|(first, _)| first <= code).last().map_or(&[][..], |(_, r)| *r);
    Some(format!("# {code}: a cause\n\n{}\n\n{}{}", code.meaning(), look(&steps), more(reasons)))
}

fn alert(wanted: &str) -> Option<String> {
    let (name, severity, when) = alerts().find(|(name, ..)| name.eq_ignore_ascii_case(wanted))?;
    let section = ALERTS.split_once(&format!("### {name}\n")).map(|(_, text)| text);
    let section = section.and_then(|text| text.split("\n#").next()).unwrap_or_default().trim();
    let mut reasons: Vec<&str> = Vec::new();
    for reason in Reason::ALL.iter().filter(|reason| reason.alert() == name) {
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason.as_str());
        }
    }
    let look = match section.is_empty() {
        true => look(&["kubehealer diagnose -n NAMESPACE KIND/NAME, with the labels of the alert"]),
        false => format!("{section}\n\n"),
    };
    Some(format!("# {name}: an alert ({severity})\n\nFires when {when}.\n\n{look}{}", more(&reasons)))
}

/// Name, severity, and when it fires.
fn alerts() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ALERTS.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`'), cells.next()?, cells.next()?))
    })
}

fn look(steps: &[&str]) -> String {
    steps.iter().map(|step| format!("- {step}\n")).collect::<String>() + "\n"
}

/// Where to go on: the reasons, the first few of them.
fn more(reasons: &[&str]) -> String {
    const NAMED: usize = 6;
    let named = reasons.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let rest = match reasons.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    match reasons.first() {
        None => String::new(),
        // On a line of its own, so that the command stays whole.
        Some(first) => format!("Reasons: {named}{rest}\n\nMore: kubehealer explain {first}\n"),
    }
}

fn list(style: &Style) -> String {
    let mut text = "All reasons and what they mean. For one of them: kubehealer explain REASON\n".to_owned();
    for (subject, title) in [
        (Subject::Container, "A container"),
        (Subject::Pod, "A pod"),
        (Subject::Workload, "A workload"),
        (Subject::Node, "A node"),
    ] {
        text.push_str(&format!("\n{title}\n"));
        let of_subject =
            runbooks::names().filter(|name| Reason::of(name).is_some_and(|r| r.subject() == subject));
        let entries = of_subject.map(|name| (name, runbooks::runbook(name).map_or("", runbooks::meaning)));
        text.push_str(&report::glossary(entries, style));
    }
    text
}

/// All that is explained, but for exit codes.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let others = words::WORDS.iter().flat_map(|word| word.names).filter(|name| name.len() > 3);
    let names = runbooks::names().chain(CauseCode::WORDS.iter().copied());
    names.chain(alerts().map(|(name, ..)| name)).chain(others.copied())
}

/// Nothing is called so: what comes near?
fn unknown(wanted: &str) -> Trouble {
    let lower = wanted.to_lowercase();
    let words = names().map(|name| (name, name)).chain(SAME.iter().copied());
    let mut near: Vec<(f64, &str)> = words
        .map(|(word, name)| {
            let other = word.to_lowercase();
            let within = lower.len() > 2 && other.contains(&lower);
            (strsim::jaro_winkler(&lower, &other) + f64::from(u8::from(within)), name)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut names: Vec<&str> = Vec::new();
    for (_, name) in near {
        // Several words may stand for one reason.
        if names.len() < 3 && !names.contains(&name) {
            names.push(name);
        }
    }
    let what = format!("explain: {wanted:?} is not a known reason, cause, alert or status");
    match names.as_slice() {
        [] => Trouble::new(what, "kubehealer explain lists all reasons"),
        names => Trouble::new(what, crate::select::did_you_mean(names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_that_is_named_exists_and_the_causes_are_in_order() {
        assert!(USUAL.is_sorted_by(|(a, _), (b, _)| a < b));
        let usual = USUAL.iter().flat_map(|(_, reasons)| reasons.iter());
        for name in usual.chain(words::WORDS.iter().flat_map(|word| word.reasons)) {
            assert!(Reason::of(name).is_some(), "{name}");
        }
        for name in SAID.iter().flat_map(|(_, names)| *names) {
            assert!(!meaning(name).is_empty(), "{name}");
        }
        for step in words::WORDS.iter().flat_map(|word| word.look) {
            let cause = step.strip_prefix("see the cause ");
            assert!(cause.is_none_or(|cause| CauseCode::of(cause).is_some()), "{step}");
        }
    }
}
