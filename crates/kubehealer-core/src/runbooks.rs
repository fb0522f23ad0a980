//! The runbooks of all reasons, built into the program from `docs/runbooks`.

use crate::diagnosis::Reason;

/// The runbook of a reason, as Markdown; letter case does not count.
pub fn runbook(reason: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|r| r.as_str().eq_ignore_ascii_case(reason)).map(|r| r.runbook())
}

/// The names of all reasons, in the order of the vocabulary. (A pod's and a Job's `DeadlineExceeded` share one runbook.)
pub fn names() -> impl Iterator<Item = &'static str> {
    let is_first =
        |at: usize, r: &Reason| Reason::ALL.iter().take(at).all(|other| other.as_str() != r.as_str());
    Reason::ALL.iter().enumerate().filter(move |(at, r)| is_first(*at, r)).map(|(_, r)| r.as_str())
}

/// What a runbook's reason means, in its one sentence.
pub fn meaning(runbook: &str) -> &str {
    runbook.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
}
