//! `kubehealer diagnose`: a look at pods, in a cluster or in files.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};

use super::select::{Kind, Selection, Selector, Target};
use super::{Trouble, output};
use crate::cluster::client::{self, Connect, Failure};
use crate::cluster::evidence::LogOf;
use crate::cluster::snapshot::{self, Progress, Wanted};
use crate::diagnosis::{Severity, Snapshot, Survey, survey};
use crate::files;
use crate::objects::{ObjectMeta, Pod};
use crate::report::{self, Look, Style};
use crate::rules::RuleCounters;

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
    #[arg(value_parser = super::namespace)]
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
    /// The time to judge by, such as 2026-11-22T10:00:00Z; else the cluster's clock, with -f the newest time in the files
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Your own rules: a file, or a directory of files; may be given several times
    #[arg(long, value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
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
    clap::builder::PossibleValuesParser::new(Severity::WORDS).try_map(|s| s.parse::<Severity>())
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

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let rules = super::rules::load(&args.rules)?;
    let mut seen = if args.file.is_empty() { in_cluster(&args)? } else { in_files(&args)? };
    let mut counters = RuleCounters::default();
    let survey = rules.survey(&seen.snapshot, seen.now, |applied| {
        let errors = counters.add(applied);
        seen.notes.extend(errors.iter().map(|e| format!("rule {} failed: {}", e.rule, e.message)));
    });
    for (rule, counts) in counters.iter().filter(|(_, counts)| counts.ignored > 0) {
        seen.notes.push(format!("ignored by the rule {rule}: {}", count(counts.ignored, "finding")));
    }
    let look = Look { survey: &survey, snapshot: &seen.snapshot, notes: &seen.notes };
    let style = Style { width: output::width(), colour: output::colour(), wide: args.output == Format::Wide };
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
    let failed = args.fail_on.is_some_and(|limit| survey.findings.iter().any(|f| f.severity >= limit));
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl Args {
    /// Narrows to what was asked for. The start of a name will do; a name that nothing has is an error.
    fn narrow(
        &self,
        snapshot: &mut Snapshot,
        namespace: Option<&str>,
        notes: &mut Vec<String>,
    ) -> Result<(), Trouble> {
        let here = |meta: &ObjectMeta| namespace.is_none_or(|n| n == meta.namespace);
        let names: Vec<&str> =
            snapshot.pods.iter().map(|p| &p.metadata).filter(|m| here(m)).map(|m| m.name.as_str()).collect();
        let mut targets = Vec::new();
        for target in &self.targets {
            let near: BTreeSet<&str> = names
                .iter()
                .copied()
                .filter(|n| n.strip_prefix(&target.name).is_some_and(|rest| rest.starts_with('-')))
                .collect();
            if target.kind != Kind::Pod || names.contains(&target.name.as_str()) || near.is_empty() {
                targets.push(target.clone());
                continue;
            }
            notes.push(match near.first() {
                Some(one) if near.len() == 1 => format!("no pod is named {}; this is {one}", target.name),
                _ => format!("no pod is named {}; these are the {} that begin so", target.name, near.len()),
            });
            targets.extend(near.into_iter().map(|name| Target { kind: Kind::Pod, name: name.to_owned() }));
        }
        let selection =
            Selection { targets, namespace: namespace.map(str::to_owned), selector: self.selector.clone() };
        let missing = selection.narrow(snapshot);
        let Some(target) = missing.first() else { return Ok(()) };
        let place = namespace.map_or(String::new(), |n| format!(" in namespace {n}"));
        let hint = match (namespace, target.kind) {
            (_, Kind::Pod) if Kind::of(&target.name).is_some() => {
                "kind and name are written as one: deployment/NAME"
            }
            (Some(_), _) => "is it in another namespace? -A looks in all of them",
            (None, Kind::Pod) => "is the name right? see: kubectl get pods -A",
            (None, _) => {
                "are kind and name right? see: kubectl get deployments,statefulsets,daemonsets,jobs -A"
            }
        };
        Err(Trouble::new(format_args!("{target}: not found{place}"), hint))
    }
}

fn in_files(args: &Args) -> Result<Seen, Trouble> {
    let mut dump = files::read(&args.file, io::stdin().lock());
    if args.no_logs {
        dump.snapshot.logs.clear();
        dump.snapshot.sources.logs = false;
    }
    let found = dump.objects > 0;
    let account = files::account(&dump);
    if let Some(account) = account.as_ref().filter(|_| found) {
        output::note(account);
    }
    for broken in &dump.broken {
        if !found {
            return Err(Trouble::new(broken, broken.hint));
        }
        output::complain(&broken.to_string(), broken.hint);
    }
    if !found {
        let places: Vec<String> = args.file.iter().map(|p| p.display().to_string()).collect();
        return Err(Trouble::new(
            format_args!(
                "{}: no Kubernetes objects in it{}",
                places.join(", "),
                account.map_or(String::new(), |account| format!(": {account}"))
            ),
            files::HOW_TO_DUMP,
        ));
    }
    let mut notes = passed_over(&dump.snapshot);
    notes.extend(dump.broken.iter().map(|b| format!("not read: {b}")));
    // A clock may be an hour off; a time that lies further ahead is an error in the data.
    let clock = clock();
    let limit = clock.checked_add(SignedDuration::from_hours(1)).unwrap_or(clock);
    let now = args.now.or_else(|| dump.newest_time(limit)).unwrap_or(clock);
    args.narrow(&mut dump.snapshot, args.namespace.as_deref(), &mut notes)?;
    Ok(Seen { snapshot: dump.snapshot, now, notes, incomplete: !dump.broken.is_empty() })
}

/// The time of this machine: for what neither the cluster nor the files tell.
#[allow(clippy::disallowed_methods, reason = "the command line's clock")]
fn clock() -> Timestamp {
    Timestamp::now()
}

/// Documents and list items that do not decode, as far as anybody would read about them.
fn passed_over(snapshot: &Snapshot) -> Vec<String> {
    const NAMED: usize = 20;
    let all = &snapshot.undecodable;
    let mut notes: Vec<String> =
        all.iter().take(NAMED).map(|u| format!("passed over: {}: {}", u.place, u.why)).collect();
    if all.len() > NAMED {
        notes.push(format!("passed over: {} more", all.len() - NAMED));
    }
    notes
}

fn in_cluster(args: &Args) -> Result<Seen, Trouble> {
    super::blocking(async {
        tokio::select! {
            seen = look(args) => seen,
            _ = tokio::signal::ctrl_c() => Err(Trouble::new("interrupted before the look was done", "")),
        }
    })?
}

async fn look(args: &Args) -> Result<Seen, Trouble> {
    let how = Connect { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let cluster = client::connect(&how).await.map_err(|e| Trouble::new(e, ""))?;
    // Nodes have pods of all namespaces.
    let everywhere = args.all_namespaces
        || (args.namespace.is_none() && args.targets.iter().any(|t| t.kind == Kind::Node));
    let namespace = match &args.namespace {
        _ if everywhere => None,
        Some(namespace) => Some(namespace.clone()),
        None => Some(cluster.namespace.clone()),
    };
    // One pod is asked for by its name: a namespace may hold thousands.
    let field_selector = match args.targets.as_slice() {
        [Target { kind: Kind::Pod, name }] => format!("metadata.name={name}"),
        _ => String::new(),
    };
    let label_selector = args.selector.as_ref().map(|s| s.text.clone()).unwrap_or_default();
    let mut wanted = Wanted { namespace: namespace.clone(), label_selector, field_selector };
    let progress = Progress::default();
    let failed = |failure: Failure| Trouble::new(format_args!("{}: {}", cluster.server, failure.text), "");
    let work = async {
        let mut seen = snapshot::snapshot(&cluster.client, &wanted, &progress).await.map_err(failed)?;
        if seen.snapshot.pods.is_empty() && !wanted.field_selector.is_empty() {
            // There is no such pod: perhaps one with a name that comes near.
            wanted.field_selector.clear();
            seen = snapshot::snapshot(&cluster.client, &wanted, &progress).await.map_err(failed)?;
        }
        let mut notes = seen.notes;
        args.narrow(&mut seen.snapshot, namespace.as_deref(), &mut notes)?;
        let clock = seen.server_time.unwrap_or_else(clock);
        let limit = clock.checked_add(SignedDuration::from_hours(24)).unwrap_or(clock);
        // Nothing can have happened after now.
        let now = args
            .now
            .unwrap_or_else(|| files::newest_time(&seen.snapshot, limit).map_or(clock, |t| t.max(clock)));
        if !args.no_logs {
            let wanted = logs_that_matter(&survey(&seen.snapshot, now), &seen.snapshot);
            let (logs, lacking) = snapshot::logs(&cluster.client, wanted, &progress).await;
            seen.snapshot.sources.logs = lacking.is_empty() || !logs.is_empty();
            seen.snapshot.logs = logs;
            notes.extend(lacking);
        }
        notes.extend(passed_over(&seen.snapshot));
        if let Some(namespace) = namespace.filter(|_| seen.snapshot.pods.is_empty()) {
            notes.push(format!("there are no pods in namespace {namespace}; -A looks in all of them"));
        }
        Ok(Seen { snapshot: seen.snapshot, now, notes, incomplete: false })
    };
    output::with_progress(&progress, work).await
}

/// Logs that are read at most: they are one request each.
const MOST_LOGS: usize = 300;
/// Of pods of one controller that fail alike, so many: the others' logs say the same.
const LOGS_ALIKE: usize = 10;

/// The logs of containers that crashed: of the present run and of the one before. Which of them holds the end depends on
/// the state, and either may be gone. Of those that run and hold something up, the log of that run.
fn logs_that_matter(survey: &Survey, snapshot: &Snapshot) -> Vec<LogOf> {
    let pods: HashMap<(&str, &str), &Pod> = snapshot
        .pods
        .iter()
        .map(|p| ((p.metadata.namespace.as_str(), p.metadata.name.as_str()), p))
        .collect();
    let mut alike: HashMap<_, usize> = HashMap::new();
    let mut wanted = Vec::new();
    for finding in &survey.findings {
        if !finding.wants_log() {
            continue;
        }
        let Some(pod) = pods.get(&(finding.namespace.as_str(), finding.pod.as_str())) else { continue };
        let controller =
            pod.metadata.controller().map_or(pod.metadata.uid.as_str(), |owner| owner.uid.as_str());
        let seen = alike.entry((controller, &finding.container, finding.reason.as_str())).or_default();
        *seen += 1;
        if *seen > LOGS_ALIKE {
            continue;
        }
        let log = |previous| LogOf {
            namespace: finding.namespace.clone(),
            pod: finding.pod.clone(),
            container: finding.container.clone(),
            previous,
        };
        if finding.is_crash() {
            wanted.push(log(true));
        }
        wanted.push(log(false));
    }
    wanted.truncate(MOST_LOGS);
    wanted
}
