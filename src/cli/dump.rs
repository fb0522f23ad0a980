//! `kubehealer dump`: what a diagnosis reads of a cluster, as a file that `diagnose -f` reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::diagnose::{self, Which};
use super::{Trouble, output};
use crate::files::{self, Manifest};

const EXAMPLES: &str = "\
Examples:
  kubehealer dump -n shop deployment/cart -o cart.tar.gz   the pods of a Deployment
  kubehealer dump -A -o dump.tar.gz                        the whole cluster
  kubehealer diagnose -f dump.tar.gz                       the same findings, anywhere

A dump contains pods, events, nodes, owners, claims, and the last lines of logs of failing containers.
It never contains Secrets, ConfigMaps, values of environment variables, commands or arguments.
Messages and logs are redacted. Names, images and labels are kept.

Exit code: 0 written; 2 error: no such pods, cluster unreadable, or file not written.";

/// Write all that a diagnosis reads to a redacted file, for people without access to the cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The file to write, a tar.gz archive; - for stdout
    #[arg(long, short, value_name = "FILE.tar.gz|-")]
    output: PathBuf,
    /// The name of the cluster, for the manifest
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, value_parser = super::cluster_name)]
    cluster_name: String,
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let Args { which, output, cluster_name } = args;
    let to_stdout = output.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Trouble::new("cannot write an archive to a terminal", "name a file: -o dump.tar.gz"));
    }
    let (snapshot, now, notes) = diagnose::gather(which)?;
    for note in &notes {
        output::note(note);
    }
    let manifest = Manifest::new(now, cluster_name, snapshot.sources, notes);
    let written = if to_stdout {
        files::write(io::stdout().lock(), &snapshot, manifest)
    } else {
        private(&output).and_then(|file| files::write(BufWriter::new(file), &snapshot, manifest))
    };
    let place = if to_stdout { "standard output".to_owned() } else { output.display().to_string() };
    if let Err(error) = written {
        if !to_stdout {
            // Half of one helps nobody.
            let _ = fs::remove_file(&output);
        }
        return Err(Trouble::new(
            format_args!("{place}: {error}"),
            "is the disk full? do you have permission to write there?",
        ));
    }
    let (pods, events, logs) = (snapshot.pods.len(), snapshot.events.len(), snapshot.logs.len());
    output::note(&format!("wrote {place}: pods {pods}, events {events}, logs {logs}"));
    Ok(ExitCode::SUCCESS)
}

/// A file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
