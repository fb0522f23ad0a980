//! `kubehealer man`: what packages install below `share/man/man1`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;

use super::{Cli, Trouble};

/// Write the man pages of all commands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An existing directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(|e| {
        Trouble::new(format_args!("{}: {e}", args.directory.display()), "pass an existing directory")
    })?;
    Ok(ExitCode::SUCCESS)
}
