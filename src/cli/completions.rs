//! `kubehealer completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::{Cli, Trouble, output};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: source <(kubehealer completions bash)")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kubehealer", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
