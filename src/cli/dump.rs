//! `kubehealer dump`: what a diagnosis reads of a cluster, as a file that `diagnose -f` reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::diagnose::{self, Which};
use super::{Trouble, output};
use crate::files::{self, Manifest};
use crate::report::count;
use crate::select;

const EXAMPLES: &str = "\
Examples:
  kubehealer dump -n shop deployment/cart -o cart.tar.gz   the pods of a Deployment
  kubehealer dump -A -o dump.tar.gz                        the whole cluster
  kubehealer diagnose -f dump.tar.gz                       the same findings, anywhere

A dump contains pods, events, nodes, owners, claims, and the last lines of logs of failing containers.
With KIND/NAME or -l: those pods, and the events about them and their owners, nodes and claims.
It never contains Secrets, ConfigMaps, values of environment variables, commands or arguments.
Messages and logs are redacted. Names, images and labels are kept.

Exit code: 0 written; 2 error: no such pods, cluster unreadable, or file not written.";

/// Write everything that a diagnosis reads to a redacted file, for people without access to the cluster.
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
    let is_part = !which.targets.is_empty() || which.selector.is_some();
    let (mut snapshot, now, notes) = diagnose::gather(which)?;
    if is_part {
        select::narrow_events(&mut snapshot);
    }
    for note in &notes {
        output::note(note);
    }
    let manifest = Manifest::new(now, cluster_name, snapshot.sources, notes);
    let written = if to_stdout {
        files::write(io::stdout().lock(), &snapshot, manifest)
    } else {
        private(&output).and_then(|file| {
            let written = files::write(BufWriter::new(file), &snapshot, manifest);
            if written.is_err() && fs::metadata(&output).is_ok_and(|meta| meta.is_file()) {
                // Half of one helps nobody.
                let _ = fs::remove_file(&output);
            }
            written
        })
    };
    let place = if to_stdout { "standard output".to_owned() } else { output.display().to_string() };
    written.map_err(|error| Trouble::new(format_args!("{place}: {error}"), hint(&error, &output)))?;
    let written = [
        count(snapshot.pods.len(), "pod"),
        count(snapshot.events.len(), "event"),
        count(snapshot.logs.len(), "log"),
    ];
    output::note(&format!("wrote {place}: {}", written.join(", ")));
    Ok(ExitCode::SUCCESS)
}

/// What to do about an archive that could not be written.
fn hint(error: &io::Error, output: &Path) -> String {
    match (error.kind(), output.parent()) {
        (io::ErrorKind::NotFound, Some(folder)) if !folder.as_os_str().is_empty() => {
            format!("the directory {} does not exist: create it, or name another one", folder.display())
        }
        (io::ErrorKind::IsADirectory, _) => {
            format!("name a file in it: -o {}", output.join("dump.tar.gz").display())
        }
        (io::ErrorKind::PermissionDenied, _) => {
            "you have no permission to write there: name another place with -o".to_owned()
        }
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "free some space, or name another place with -o".to_owned()
        }
        (io::ErrorKind::BrokenPipe, _) => "the program that reads the archive has exited".to_owned(),
        _ => String::new(),
    }
}

/// A file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
