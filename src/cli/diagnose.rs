//! `kubehealer diagnose`: a look at pods, in a cluster or in files.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};

use super::select::{Selection, Selector, Target};
use super::{Colour, Trouble, output};
use crate::diagnosis::{Severity, Snapshot, Survey, survey};
use crate::files;
use crate::report::{self, Look, Style};

const EXAMPLES: &str = "\
Examples:
  kubehealer diagnose cart-7d9f8b6c5-x2x        one pod, in the kubeconfig's namespace
  kubehealer diagnose -n shop deployment/cart   the pods of a Deployment
  kubehealer diagnose -A                        the whole cluster
  kubectl get pods,events,nodes -A -o json | kubehealer diagnose -f -

Exit code: 0 looked, and nothing at or above --fail-on; 1 something at or above it; 2 could not look.";

/// Say what is wrong with pods, now: in a cluster or in files.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A pod, or the pods of deployment/x, replicaset/x, statefulset/x, daemonset/x, job/x, cronjob/x, node/x; all pods if none
    #[arg(value_name = "POD|KIND/NAME")]
    targets: Vec<Target>,
    /// The namespace; else that of the kubeconfig's context. With -f: all of them if not given
    #[arg(long, short)]
    namespace: Option<String>,
    /// All namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only pods with these labels, such as app=cart
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<Selector>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    context: Option<String>,
    /// The kubeconfig file; else $KUBECONFIG, ~/.kube/config, or the pod's own service account
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    kubeconfig: Option<PathBuf>,
    /// Read files instead of a cluster: JSON or YAML of kubectl, a directory with logs, a recorded watch, - for stdin
    #[arg(long, short = 'f', value_name = "FILE|DIR|-")]
    file: Vec<PathBuf>,
    /// With -f: when it was; else the newest time in the files
    #[arg(long, value_name = "TIME", requires = "file")]
    now: Option<Timestamp>,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Exit with 1 if there is a finding of this severity or a worse one
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    fail_on: Option<Severity>,
    /// Do not read logs
    #[arg(long)]
    no_logs: bool,
    /// Read the logs of crashed containers where you may; this is the default
    #[arg(long, overrides_with = "no_logs")]
    logs: bool,
}

/// How to print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For a person: worst first, one line each, then the details
    Table,
    /// The table with every pod on a line of its own and all evidence
    Wide,
    /// For programs: kubehealer.dev/v1alpha1
    Json,
    /// The same as YAML
    Yaml,
    /// For an issue or a chat
    Markdown,
}

fn severity() -> impl clap::builder::TypedValueParser<Value = Severity> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(["info", "warning", "critical"])
        .try_map(|s| s.parse::<Severity>())
}

/// What was read, from wherever.
struct Seen {
    snapshot: Snapshot,
    now: Timestamp,
    /// What could not be read, in words.
    notes: Vec<String>,
    /// Part of what was asked for could not be looked at.
    incomplete: bool,
}

pub(super) fn run(args: Args, colour: Colour) -> Result<ExitCode, Trouble> {
    let mut seen = if args.file.is_empty() { in_cluster(&args)? } else { in_files(&args)? };
    let selection = Selection {
        targets: args.targets.clone(),
        namespace: args.namespace.clone(),
        selector: args.selector.clone(),
    };
    let missing = selection.narrow(&mut seen.snapshot);
    if let Some(target) = missing.first() {
        let place = args.namespace.as_ref().map_or(String::new(), |n| format!(" in namespace {n}"));
        return Err(Trouble::new(
            format_args!("{target}: not found{place}"),
            "is the name right? see: kubectl get pods -A",
        ));
    }
    let survey = survey(&seen.snapshot, seen.now);
    let look = Look { survey: &survey, snapshot: &seen.snapshot, notes: &seen.notes };
    let style =
        Style { width: output::width(), colour: output::colour(colour), wide: args.output == Format::Wide };
    let text = match args.output {
        Format::Table | Format::Wide => report::table(&look, &style),
        Format::Json => report::json(&look),
        Format::Yaml => report::yaml(&look),
        Format::Markdown => report::markdown(&look),
    };
    output::print(&text)?;
    if seen.incomplete {
        return Ok(ExitCode::from(super::COULD_NOT_LOOK));
    }
    Ok(verdict(&survey, args.fail_on))
}

fn verdict(survey: &Survey, fail_on: Option<Severity>) -> ExitCode {
    let failed = fail_on.is_some_and(|limit| survey.findings.iter().any(|f| f.severity >= limit));
    if failed { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn in_files(args: &Args) -> Result<Seen, Trouble> {
    let mut dump = files::read(&args.file, io::stdin().lock());
    if args.no_logs {
        dump.snapshot.logs.clear();
        dump.snapshot.sources.logs = false;
    }
    let found = dump.objects > 0;
    for (index, broken) in dump.broken.iter().enumerate() {
        if index == 0 && !found {
            return Err(Trouble::new(broken, broken.hint));
        }
        output::complain(&broken.to_string(), broken.hint);
    }
    if !found {
        let places: Vec<String> = args.file.iter().map(|p| p.display().to_string()).collect();
        return Err(Trouble::new(
            format_args!("{}: no Kubernetes objects in it", places.join(", ")),
            files::HOW_TO_DUMP,
        ));
    }
    let mut notes: Vec<String> =
        dump.snapshot.undecodable.iter().map(|u| format!("passed over: {}: {}", u.place, u.why)).collect();
    notes.extend(dump.broken.iter().map(|b| format!("not read: {b}")));
    // A clock may be an hour off; a time that lies further ahead is an error in the data.
    let clock = Timestamp::now();
    let limit = clock.checked_add(SignedDuration::from_hours(1)).unwrap_or(clock);
    let now = args.now.or_else(|| files::newest_time(&dump.snapshot, limit)).unwrap_or(clock);
    Ok(Seen { snapshot: dump.snapshot, now, notes, incomplete: !dump.broken.is_empty() })
}

fn in_cluster(_args: &Args) -> Result<Seen, Trouble> {
    Err(Trouble::new("diagnose: looking at a cluster is not built yet", "give files with -f"))
}
