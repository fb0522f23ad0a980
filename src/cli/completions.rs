//! `kubehealer completions`, and what is completed: words that are explained, and names in the cluster.
//!
//! The script of a shell calls this program for each completion. What a cluster does not tell within a moment is left out.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use clap_complete::env::Shells;

use super::{Trouble, explain, output};
use crate::cluster::client::{self, Connect};
use crate::cluster::snapshot;
use crate::diagnosis::Reason;
use crate::select::Kind;

/// By this variable the scripts ask for completions.
pub(super) const VARIABLE: &str = "KUBEHEALER_COMPLETE";
/// For all that a cluster is asked: nobody waits longer behind a Tab.
const PATIENCE: Duration = Duration::from_millis(1500);

const EXAMPLES: &str = "\
Examples:
  source <(kubehealer completions bash)    in ~/.bashrc
  kubehealer completions kubectl-plugin > ~/.local/bin/kubectl_complete-kubehealer
                                           for kubectl kubehealer; make it executable";

/// Print the completion script of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell; kubectl-plugin is for `kubectl kubehealer`: kubectl runs kubectl_complete-kubehealer from the PATH
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
    KubectlPlugin,
}

/// The kinds whose names are completed: group, version and plural.
const NAMED: [(Kind, (&str, &str, &str)); 10] = [
    (Kind::Pod, ("", "v1", "pods")),
    (Kind::Deployment, ("apps", "v1", "deployments")),
    (Kind::StatefulSet, ("apps", "v1", "statefulsets")),
    (Kind::DaemonSet, ("apps", "v1", "daemonsets")),
    (Kind::Job, ("batch", "v1", "jobs")),
    (Kind::CronJob, ("batch", "v1", "cronjobs")),
    (Kind::Service, ("", "v1", "services")),
    (Kind::Ingress, ("networking.k8s.io", "v1", "ingresses")),
    (Kind::Node, ("", "v1", "nodes")),
    (Kind::Namespace, ("", "v1", "namespaces")),
];

/// kubectl gives it the words; it wants one completion a line, what it means behind a tab, and then that files are no answer.
const PLUGIN: &str = "\
#!/usr/bin/env sh
KUBEHEALER_COMPLETE=fish kubectl-kubehealer -- kubectl-kubehealer \"$@\"
echo :4
";

pub(super) fn run(args: &Args) -> Result<ExitCode, Trouble> {
    let name = match args.shell {
        Shell::KubectlPlugin => {
            output::write(PLUGIN.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
    };
    let program = "kubehealer";
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(name) {
        let written = shell.write_registration(VARIABLE, program, program, program, &mut script);
        written.map_err(|e| Trouble::new(format_args!("completions {name}: {e}"), ""))?;
    }
    output::write(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn candidates<T: Into<std::ffi::OsString>>(names: impl IntoIterator<Item = T>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// What `explain` explains.
pub(super) fn words() -> Vec<CompletionCandidate> {
    candidates(explain::names())
}

/// The reasons of findings.
pub(super) fn reasons() -> Vec<CompletionCandidate> {
    candidates(Reason::ALL.iter().map(|reason| reason.as_str()))
}

/// The contexts of the kubeconfig.
pub(super) fn contexts() -> Vec<CompletionCandidate> {
    candidates(client::contexts(&connect()))
}

/// The namespaces of the cluster.
pub(super) fn namespaces() -> Vec<CompletionCandidate> {
    candidates(named(Kind::Namespace))
}

/// Pods and kinds; behind `KIND/` the names of that kind.
pub(super) fn targets(begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let (kind, names) = match begun.split_once('/') {
        Some((kind, _)) => match Kind::of(kind) {
            Some(known) => (format!("{kind}/"), named(known)),
            None => return Vec::new(),
        },
        None => {
            let kinds = NAMED.iter().map(|(kind, _)| format!("{}/", kind.name().to_ascii_lowercase()));
            (String::new(), named(Kind::Pod).into_iter().chain(kinds).collect())
        }
    };
    let all = names.into_iter().map(|name| format!("{kind}{name}"));
    candidates(all.filter(|name| name.starts_with(begun.as_ref())))
}

/// The value of a flag in the words that are being completed.
fn given(flags: &[&str]) -> Option<String> {
    let words: Vec<String> = std::env::args().collect();
    let pairs = words.windows(2).filter(|pair| flags.contains(&pair[0].as_str()));
    let joined =
        words.iter().filter_map(|word| word.split_once('=')).filter(|(flag, _)| flags.contains(flag));
    pairs.map(|pair| pair[1].clone()).chain(joined.map(|(_, value)| value.to_owned())).last()
}

fn connect() -> Connect {
    let kubeconfig = given(&["--kubeconfig"]).map(PathBuf::from);
    Connect { kubeconfig, context: given(&["--context"]), http1: false }
}

/// The names of the objects of a kind in the cluster and namespace that the words name.
fn named(kind: Kind) -> Vec<String> {
    let Some((_, resource)) = NAMED.into_iter().find(|(known, _)| *known == kind) else { return Vec::new() };
    let (answer, named) = mpsc::channel();
    // A credential plugin cannot be interrupted.
    std::thread::spawn(move || {
        let names = super::blocking(async {
            let cluster = client::connect(&connect()).await.ok()?;
            let namespace = given(&["-n", "--namespace"]).unwrap_or(cluster.namespace);
            let namespace = Some(namespace).filter(|_| !matches!(kind, Kind::Node | Kind::Namespace));
            snapshot::names(&cluster.client, resource, namespace.as_deref()).await.ok()
        });
        // Nobody waits any longer.
        let _ = answer.send(names.ok().flatten().unwrap_or_default());
    });
    named.recv_timeout(PATIENCE).unwrap_or_default()
}
