//! The command line: flags -> checked settings -> one call. One file per subcommand.
//!
//! Every mistake of the user's ends in one line `kubehealer: what: why`, a hint, and exit code 2.
//!
//! Must not know how anything is found out: what is more than a call belongs into the room that is called.

mod completions;
mod demo;
mod diagnose;
mod dump;
mod explain;
mod man;
mod mcp;
mod output;
mod pager;
mod resolve;
mod rules;
mod wait;
mod watch;

use std::fmt::Display;
use std::io::Write as _;
use std::panic::UnwindSafe;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::daemon::StartError;
use crate::diagnosis::OwnerLabels;

/// Of a release with its commit and date, where the build knew them.
const VERSION: &str = match option_env!("KUBEHEALER_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Shows why Kubernetes pods fail, read-only: the cause, the evidence and the next command
#[derive(Debug, Parser)]
#[command(name = "kubehealer", version = VERSION, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use color; NO_COLOR is respected.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", display_order = 1000)]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a cluster: the daemon, with metrics, an API and a status page
    Watch(Box<watch::Args>),
    /// Show what is wrong with pods now, in a cluster or in files
    Diagnose(Box<diagnose::Args>),
    /// Write everything that a diagnosis reads to a redacted file, for people without access to the cluster
    Dump(Box<dump::Args>),
    /// Wait until workloads are ready or cannot become ready: a gate for deployment jobs
    Wait(Box<wait::Args>),
    /// Print the runbook for a reason, or list all reasons
    Explain(explain::Args),
    /// Check, test and print your own rules
    Rules(rules::Args),
    /// Watch a simulated cluster with real failures: no cluster needed
    Demo(demo::Args),
    /// Run a Model Context Protocol (MCP) server for AI assistants: read-only, on stdin and stdout
    Mcp(mcp::Args),
    /// Print a completion script for a shell: commands, reasons, namespaces, pods
    Completions(completions::Args),
    /// Write the man pages
    Man(man::Args),
}

/// When to use color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Something that stops a command, in words.
#[derive(Debug)]
struct Trouble {
    /// `what: why`.
    what: String,
    /// What to do.
    hint: String,
}

impl Trouble {
    fn new(what: impl Display, hint: impl Display) -> Self {
        Self { what: what.to_string(), hint: hint.to_string() }
    }
}

/// 0: nothing at or above `--fail-on`. 1: something is. 2: the cluster or the input is unreadable.
const COULD_NOT_LOOK: u8 = 2;

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).var(completions::VARIABLE).complete();
    guarded(|| run(parse()))
}

/// The arguments; help and mistakes end it here.
fn parse() -> Cli {
    let command = Cli::command();
    let command = if output::is_plugin() { command.bin_name("kubectl kubehealer") } else { command };
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        let text = error.render().ansi().to_string();
        let text = output::typed(&text);
        // That nobody reads it is no reason to fail otherwise.
        let _ = match error.use_stderr() {
            true => anstream::stderr().write_all(text.as_bytes()),
            false => anstream::stdout().write_all(text.as_bytes()),
        };
        std::process::exit(error.exit_code())
    })
}

/// Whatever goes wrong in the work ends in words and in an exit code, a bug of ours as well.
fn guarded(work: impl FnOnce() -> Result<ExitCode, Trouble> + UnwindSafe) -> ExitCode {
    std::panic::set_hook(Box::new(panicked));
    match std::panic::catch_unwind(work) {
        Ok(Ok(code)) => code,
        Ok(Err(trouble)) => {
            output::complain(&trouble.what, &trouble.hint);
            ExitCode::from(COULD_NOT_LOOK)
        }
        // The hook has spoken.
        Err(_) => ExitCode::from(COULD_NOT_LOOK),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Trouble> {
    match cli.color {
        Colour::Auto => ColorChoice::Auto,
        Colour::Always => ColorChoice::Always,
        Colour::Never => ColorChoice::Never,
    }
    .write_global();
    match cli.command {
        Command::Watch(args) => watch::run(*args),
        Command::Diagnose(args) => diagnose::run(*args),
        Command::Dump(args) => dump::run(*args),
        Command::Wait(args) => wait::run(*args),
        Command::Explain(args) => explain::run(&args),
        Command::Rules(args) => rules::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Mcp(args) => mcp::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Runs a command that waits for a network. One thread: an update of a pod takes microseconds, waking up another thread for
/// it as much again.
fn blocking<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    let done = runtime.block_on(work);
    // A look-up of a name that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(done)
}

/// Runs the demonstration: a daemon, and the cluster that it watches.
fn with_threads<T>(work: impl Future<Output = T>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(no_runtime)?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

fn no_runtime(error: std::io::Error) -> Trouble {
    Trouble::new(format_args!("cannot start: {error}"), "check the limits of the process: ulimit -a")
}

impl From<StartError> for Trouble {
    fn from(error: StartError) -> Self {
        Self::new(error, "")
    }
}

/// Which labels tell whose something is.
fn owner_labels(keys: &[String]) -> Result<OwnerLabels, Trouble> {
    let hint = "pass label keys, such as --owner-labels team,app.kubernetes.io/part-of";
    OwnerLabels::new(keys).map_err(|why| Trouble::new(format_args!("--owner-labels: {why}"), hint))
}

/// The name of a cluster: it stands in labels, log lines and reports.
fn cluster_name(text: &str) -> Result<String, String> {
    let valid = text.len() <= 100 && text.chars().all(|c| !c.is_control());
    if valid {
        Ok(text.to_owned())
    } else {
        Err("a name has at most 100 bytes and no control characters".to_owned())
    }
}

/// A bug of ours, in words instead of a trace.
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let what =
        payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("no message");
    let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
    output::complain(
        &format!("internal error at {place}: {}", crate::redact::redact(what)),
        &format!("this is a bug in kubehealer {VERSION}: please report this line, with the command you ran"),
    );
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "for the test below, which runs it in a process of its own: a hook is the whole process'"]
    fn panics() {
        let code = guarded(|| panic!("lost the pod with token=hunter2"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(COULD_NOT_LOOK)));
    }

    #[test]
    fn a_bug_of_ours_is_told_with_its_place_and_what_to_do_and_without_secrets() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output =
            child.args(["--ignored", "--exact", "--nocapture", "cli::tests::panics"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        let [what, hint] = lines.as_slice() else { panic!("{told}") };
        assert!(what.starts_with("kubehealer: internal error at src/cli.rs:"), "{what}");
        assert!(what.ends_with(": lost the pod with token=[redacted]"), "{what}");
        assert!(hint.contains("this is a bug in kubehealer 0.1.0: please report"), "{hint}");
    }
}
