//! `kubehealer explain`: the runbook of a reason, in the terminal.

use std::process::ExitCode;

use super::{Trouble, output};
use crate::diagnosis::{CauseCode, Reason, Subject};
use crate::report::{self, Style};
use crate::runbooks;

/// Print the runbook of a reason, or the list of reasons.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kubehealer explain OOMKilled")]
pub(super) struct Args {
    /// The reason, in any case, such as OOMKilled; without it, all of them are listed
    reason: Option<String>,
}

/// Words that Kubernetes uses for the same thing.
const SAME: &[(&str, &str)] = &[
    ("ErrImagePull", "ImagePullBackOff"),
    ("RegistryUnavailable", "ImagePullBackOff"),
    ("StartError", "RunContainerError"),
    ("ContainerCannotRun", "RunContainerError"),
    ("FailedPostStartHook", "PostStartHookError"),
    ("FailedScheduling", "Unschedulable"),
    ("FailedMount", "VolumeNotReady"),
    ("FailedAttachVolume", "VolumeNotReady"),
    ("Preempting", "Preempted"),
    ("OOM", "OOMKilled"),
];

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let style = Style { width: output::width(), colour: output::colour(), wide: false };
    let text = match &args.reason {
        None => list(&style),
        Some(wanted) => {
            let same = SAME.iter().find(|(word, _)| word.eq_ignore_ascii_case(wanted)).map(|(_, name)| *name);
            let runbook = runbooks::runbook(same.unwrap_or(wanted)).ok_or_else(|| unknown(wanted))?;
            let mut text = report::page(runbook, &style);
            if let Some(name) = same {
                text = format!("{wanted} is a form of {name}.\n\n{text}");
            }
            text
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn list(style: &Style) -> String {
    let mut text =
        "What can be wrong, and what it means. More about one: kubehealer explain REASON\n".to_owned();
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

/// Nothing is called so: what comes near?
fn unknown(wanted: &str) -> Trouble {
    let lower = wanted.to_lowercase();
    let words = runbooks::names().map(|name| (name, name)).chain(SAME.iter().copied());
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
    let what = format!("explain: there is no reason {wanted:?}");
    if let Some(code) = CauseCode::ALL.iter().find(|c| c.as_str().eq_ignore_ascii_case(wanted)) {
        return Trouble::new(
            what,
            format_args!("{code} is a cause; the runbook is that of the reason that diagnose names with it"),
        );
    }
    match names.as_slice() {
        [] => Trouble::new(what, "kubehealer explain lists all of them"),
        names => Trouble::new(what, format_args!("did you mean {}?", names.join(" or "))),
    }
}
