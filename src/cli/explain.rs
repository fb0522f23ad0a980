//! `kubehealer explain`: the runbook of a reason, in the terminal.

use std::process::ExitCode;

use super::{Colour, Trouble};

/// Print the runbook of a reason, or the list of reasons.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The reason, in any case, such as OOMKilled
    reason: Option<String>,
}

pub(super) fn run(_args: &Args, _colour: Colour) -> Result<ExitCode, Trouble> {
    Err(Trouble::new("explain: not built yet", ""))
}
