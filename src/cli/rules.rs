//! `kubehealer rules`: check, test and print the user's own rules.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Trouble;

/// Check, test and print your own rules.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read rule files and say what is wrong with them
    Check(Paths),
    /// Run the tests that rule files hold
    Test(Paths),
    /// Print the rules in force
    Print(Paths),
}

#[derive(Debug, clap::Args)]
struct Paths {
    /// Rule files or directories
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let (Action::Check(paths) | Action::Test(paths) | Action::Print(paths)) = args.action;
    Err(Trouble::new(format_args!("rules: not built yet ({} paths)", paths.paths.len()), ""))
}
