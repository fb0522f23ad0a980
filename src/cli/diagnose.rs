//! `kubehealer diagnose`: a look at pods, in a cluster or in files.

mod live;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::{SignedDuration, Timestamp};

use super::pager::Pager;
use super::{Trouble, completions, output, resolve};
use crate::cluster::client::{self, Connect, Failure};
use crate::cluster::snapshot::{self, Progress, Wanted};
use crate::diagnosis::{Finding, OwnerLabels, Reason, Severity, Snapshot, Survey, survey};
use crate::files;
use crate::objects::ObjectMeta;
use crate::report::{self, ClusterFlags, Look, Style};
use crate::rules::{RuleCounters, RuleSet};
use crate::select::{
    self, Kind, Selection, Selector, Target, logs_that_matter, newest_revisions, revisions_that_matter,
};

const EXAMPLES: &str = "\
Examples:
  kubehealer diagnose cart-7d9f8b6c5-x2x        one pod, in the kubeconfig's namespace
  kubehealer diagnose -n shop deployment/cart   the pods of a Deployment
  kubehealer diagnose -A                        the whole cluster
  kubehealer diagnose -n shop -w                a namespace, live
  kubehealer diagnose -A --context eu,us        two clusters, one after another
  kubectl get pods,events,nodes -A -o json | kubehealer diagnose -f -

Exit code: 0 nothing at or above --fail-on; 1 something at or above it; 2 error: cluster or input unreadable.";

/// Which pods of which cluster, and whether their logs.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Which {
    /// A pod, or the pods of deployment/x, statefulset/x, daemonset/x, job/x, cronjob/x, rollout/x, service/x, node/x and other
    /// owners; also as NAMESPACE/POD, NAMESPACE/KIND/NAME and KIND NAME; all pods if none is given
    #[arg(value_name = "POD|KIND/NAME", add = ArgValueCompleter::new(completions::targets))]
    pub(super) targets: Vec<String>,
    /// The namespace [default: that of the kubeconfig's context; with -f: all]
    #[arg(long, short)]
    #[arg(value_parser = select::valid_namespace, add = ArgValueCandidates::new(completions::namespaces))]
    pub(super) namespace: Option<String>,
    /// All namespaces; overrides -n, as in kubectl
    #[arg(long, short = 'A')]
    pub(super) all_namespaces: bool,
    /// Only pods with these labels, such as app=cart
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub(super) selector: Option<Selector>,
    /// The context of the kubeconfig; several, separated by commas, are diagnosed one after another
    #[arg(long, value_name = "NAMES", value_delimiter = ',', add = ArgValueCandidates::new(completions::contexts))]
    pub(super) context: Vec<String>,
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Do not read logs
    #[arg(long)]
    pub(super) no_logs: bool,
    /// Read the logs of crashed containers, if you have permission (the default)
    #[arg(long, overrides_with = "no_logs")]
    logs: bool,
}

/// Show what is wrong with pods now, in a cluster or in files.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) which: Which,
    /// Read files instead of a cluster: JSON or YAML from kubectl, and logs, in a file, a directory or an archive (tar, tar.gz, zip, gz);
    /// output of dump, kubectl cluster-info dump, must-gather, troubleshoot.sh or sos; a recorded watch; - for stdin
    #[arg(long, short = 'f', value_name = "FILE|DIR|-", conflicts_with_all = ["context", "kubeconfig"])]
    pub(super) file: Vec<PathBuf>,
    /// The time of the diagnosis, such as 2026-11-22T10:00:00Z [default: the cluster's clock; with -f: the newest time in the files]
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Your own rules: a file, or a directory of files; can be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) rules: Vec<PathBuf>,
    /// Labels of workloads or pods, separated by commas, that name their owner, such as team,app.kubernetes.io/part-of
    #[arg(long, env = "KUBEHEALER_OWNER_LABELS", value_delimiter = ',', value_name = "KEYS")]
    pub(super) owner_labels: Vec<String>,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Show only findings of this severity or worse
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    pub(super) severity: Option<Severity>,
    /// Show only findings with this reason; can be repeated
    #[arg(long, value_name = "REASON", add = ArgValueCandidates::new(completions::reasons))]
    pub(super) reason: Vec<String>,
    /// Show the details of every row of the table, not only the first ten
    #[arg(long)]
    all: bool,
    /// Exit with 1 if there is a finding of this severity or worse, of those that --reason and --severity select
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    fail_on: Option<Severity>,
    /// Watch: show the report again whenever something changes, until Ctrl-C
    #[arg(long, short, conflicts_with_all = ["file", "now", "fail_on", "no_logs"])]
    watch: bool,
    #[command(flatten)]
    pager: Pager,
    /// Read the newest revision of each workload, and the one before it, rather than those of failing pods.
    #[arg(skip)]
    pub(super) newest_revisions: bool,
}

/// How to print it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people: one line per problem, worst first, then the details
    #[default]
    Table,
    /// The table with one line for each pod, and all evidence
    Wide,
    /// For programs (kubehealer.dev/v1alpha1)
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
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    now: Timestamp,
    /// What could not be read, in words.
    pub(super) notes: Vec<String>,
    /// Part of what was asked for could not be looked at.
    incomplete: bool,
    /// Why what was read is no ground to say that all is well: there are no pods, or a source could not be read.
    pub(super) unproven: Vec<Trouble>,
}

impl Which {
    pub(super) fn settle(&mut self) {
        if self.all_namespaces
            && let Some(namespace) = self.namespace.take()
        {
            output::note(&format!("-A means all namespaces: ignoring -n {namespace}"));
        }
    }

    fn flags(&self, context: Option<&str>) -> ClusterFlags {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.to_string_lossy().into_owned());
        ClusterFlags::new(context, kubeconfig.as_deref())
    }
}

fn hinted(flags: &ClusterFlags, trouble: Trouble) -> Trouble {
    Trouble { hint: flags.with(&trouble.hint), ..trouble }
}

/// What a diagnosis of these pods reads of a cluster: at this time, and with these notes.
pub(super) fn gather(mut which: Which) -> Result<(Snapshot, Timestamp, Vec<String>), Trouble> {
    which.settle();
    let context = match which.context.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(Trouble::new("a dump contains one cluster", "run it once for each --context")),
    };
    let flags = which.flags(context.as_deref());
    let args = Args { which, ..Args::default() };
    let seen = || {
        let seen = in_cluster(&args, context.as_deref())?;
        match seen.unproven.into_iter().next() {
            Some(nothing) => Err(nothing),
            None => Ok((seen.snapshot, seen.now, seen.notes)),
        }
    };
    seen().map_err(|trouble| hinted(&flags, trouble))
}

/// One look for somebody who is within a runtime, and prints what it gives himself.
pub(super) async fn look_once(mut args: Args) -> Result<Looked, Trouble> {
    args.which.settle();
    let context = args.which.context.first().map(String::as_str);
    let flags = args.which.flags(context);
    let looked = async {
        let settings = args.settings()?;
        let seen = if args.file.is_empty() { look(&args, context).await? } else { in_files(&args)? };
        Ok(Looked::of(&args, &settings, seen, "", flags.clone()))
    };
    looked.await.map_err(|trouble| hinted(&flags, trouble))
}

pub(super) fn run(mut args: Args) -> Result<ExitCode, Trouble> {
    args.which.settle();
    let looks = match args.which.context.as_slice() {
        [] | [_] if args.watch => {
            if !matches!(args.output, Format::Table | Format::Wide) {
                return Err(Trouble::new("--watch supports only tables", "leave out -o, or write -o wide"));
            }
            let context = args.which.context.first().map(String::as_str);
            let flags = args.which.flags(context);
            super::blocking(live::watch(&args, context, &flags))?.map_err(|t| hinted(&flags, t))?;
            return Ok(ExitCode::SUCCESS);
        }
        _ if args.watch => {
            return Err(Trouble::new("--watch supports only one cluster", "name one context with --context"));
        }
        [] | [_] => {
            let context = args.which.context.first().map(String::as_str);
            let flags = args.which.flags(context);
            let looked = Looked::at(&args, context, "", flags.clone()).map_err(|t| hinted(&flags, t))?;
            vec![looked]
        }
        contexts => {
            let mut looks = Vec::new();
            for context in contexts {
                let flags = args.which.flags(Some(context));
                match Looked::at(&args, Some(context), context, flags.clone()) {
                    Ok(looked) => looks.push(looked),
                    // The others are looked at all the same.
                    Err(trouble) => {
                        let Trouble { what, hint } = hinted(&flags, trouble);
                        output::complain(&format!("{context}: {what}"), &hint);
                        let now = args.now.unwrap_or_else(clock);
                        looks.push(Looked::failed(context, what, flags, now));
                    }
                }
            }
            looks
        }
    };
    args.pager.print(&args.report(&looks))?;
    let mut code = 0;
    for looked in &looks {
        for trouble in &looked.seen.unproven {
            output::complain(&trouble.what, &looked.flags.with(&trouble.hint));
        }
        code = code.max(looked.code(args.fail_on));
    }
    Ok(ExitCode::from(code))
}

/// A look at one cluster, or at files.
pub(super) struct Looked {
    /// What the cluster is called; empty if it is the only one.
    cluster: String,
    /// Why it could not be looked at; empty if it was.
    error: String,
    flags: ClusterFlags,
    pub(super) seen: Seen,
    pub(super) survey: Survey,
    /// The worst of the findings that are shown.
    worst: Option<Severity>,
}

impl Looked {
    fn at(args: &Args, context: Option<&str>, cluster: &str, flags: ClusterFlags) -> Result<Self, Trouble> {
        let settings = args.settings()?;
        let seen = if args.file.is_empty() { in_cluster(args, context)? } else { in_files(args)? };
        Ok(Self::of(args, &settings, seen, cluster, flags))
    }

    /// What the user's rules and flags make of it.
    fn of(
        args: &Args,
        (rules, owner_labels): &(RuleSet, OwnerLabels),
        mut seen: Seen,
        cluster: &str,
        flags: ClusterFlags,
    ) -> Self {
        seen.snapshot.owner_labels = owner_labels.clone();
        let mut counters = RuleCounters::default();
        let mut survey = rules.survey(&seen.snapshot, seen.now, |applied| {
            let errors = counters.add(applied);
            seen.notes.extend(errors.iter().map(|e| format!("rule {} failed: {}", e.rule, e.message)));
        });
        for (rule, counts) in counters.iter().filter(|(_, counts)| counts.ignored > 0) {
            seen.notes.push(format!("ignored by the rule {rule}: {}", count(counts.ignored, "finding")));
        }
        args.choose(&mut survey, &mut seen.notes);
        let worst = survey.findings.iter().map(|f| f.severity).max();
        flags.add_to(&mut survey);
        Self { cluster: cluster.to_owned(), error: String::new(), flags, seen, survey, worst }
    }

    /// A cluster that could not be looked at.
    fn failed(cluster: &str, error: String, flags: ClusterFlags, now: Timestamp) -> Self {
        let (snapshot, notes, unproven) = (Snapshot::default(), Vec::new(), Vec::new());
        let survey = survey(&snapshot, now);
        let seen = Seen { snapshot, now, notes, incomplete: true, unproven };
        Self { cluster: cluster.to_owned(), error, flags, seen, survey, worst: None }
    }

    pub(super) fn look(&self) -> Look<'_> {
        let Self { cluster, error, seen, survey, .. } = self;
        Look { cluster, error, survey, snapshot: &seen.snapshot, notes: &seen.notes }
    }

    /// The exit code that this look alone would have.
    fn code(&self, fail_on: Option<Severity>) -> u8 {
        if self.seen.incomplete {
            return super::COULD_NOT_LOOK;
        }
        let Some(limit) = fail_on else { return 0 };
        match (self.worst >= Some(limit), self.seen.unproven.is_empty()) {
            (true, _) => 1,
            (false, true) => 0,
            // What was not looked at has not passed.
            (false, false) => super::COULD_NOT_LOOK,
        }
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl Args {
    /// What is printed. Of several clusters each is named.
    fn report(&self, looks: &[Looked]) -> String {
        let style = Style {
            width: output::width(),
            colour: output::colour(),
            wide: self.output == Format::Wide,
            all: self.all,
        };
        let looks: Vec<Look<'_>> = looks.iter().map(Looked::look).collect();
        // Of one that could not be read, a person was told on stderr.
        let read = || looks.iter().filter(|look| look.error.is_empty());
        let joined = |one: &dyn Fn(&Look<'_>) -> String| read().map(one).collect::<Vec<_>>().join("\n");
        let is_list = self.which.context.len() > 1;
        match self.output {
            Format::Table | Format::Wide => report::tables(&looks, &style),
            Format::Json if is_list => report::json_list(&looks),
            Format::Yaml if is_list => report::yaml_list(&looks),
            Format::Json => joined(&report::json),
            Format::Yaml => joined(&report::yaml),
            Format::Markdown => joined(&report::markdown),
        }
    }

    /// The user's rules, and which labels tell whose something is. A reason that neither they nor KubeHealer raise is an error.
    fn settings(&self) -> Result<(RuleSet, OwnerLabels), Trouble> {
        let rules = super::rules::load(&self.rules)?;
        for wanted in &self.reason {
            let known = || Reason::ALL.iter().map(|reason| reason.as_str()).chain(rules.reasons());
            if known().any(|reason| reason.eq_ignore_ascii_case(wanted)) {
                continue;
            }
            let near = select::near_in_any_case(wanted, known());
            let hint = match near.as_slice() {
                [] => "kubehealer explain lists all reasons".to_owned(),
                near => select::did_you_mean(near),
            };
            return Err(Trouble::new(
                format_args!("--reason {wanted}: no finding can have this reason"),
                hint,
            ));
        }
        Ok((rules, super::owner_labels(&self.owner_labels)?))
    }

    /// What the words ask for, and how.
    fn targets(&self) -> Result<(Vec<Target>, Vec<String>), Trouble> {
        let targets = select::targets(&self.which.targets)
            .map_err(|e| Trouble::new(e, "see: kubehealer diagnose --help"))?;
        let (targets, how): (Vec<Target>, Vec<_>) = targets.into_iter().map(Target::resolved).unzip();
        Ok((targets, how.into_iter().flatten().collect()))
    }

    /// No target may be in another namespace than the flag says.
    fn agree(&self, targets: &[Target]) -> Result<(), Trouble> {
        for target in targets {
            if let (Some(own), Some(given)) = (&target.namespace, &self.which.namespace)
                && own != given
            {
                return Err(Trouble::new(
                    format_args!("{target} names namespace {own}, but -n names {given}"),
                    format_args!("leave out -n {given}, or write {target}"),
                ));
            }
        }
        Ok(())
    }

    /// Leaves the findings that are to be shown.
    fn choose(&self, survey: &mut Survey, notes: &mut Vec<String>) {
        let is_wanted = |f: &Finding| {
            self.severity.is_none_or(|least| f.severity >= least)
                && (self.reason.is_empty()
                    || self.reason.iter().any(|r| r.eq_ignore_ascii_case(f.reason.as_str())))
        };
        let (wanted, others): (Vec<Finding>, Vec<Finding>) =
            std::mem::take(&mut survey.findings).into_iter().partition(is_wanted);
        *survey =
            Survey { summary: survey.summary, ..Survey::of(wanted, survey.summary.pods, survey.observed_at) };
        if !others.is_empty() {
            let hidden = count(others.len() as u64, "finding");
            // A gate that passes says what it has not judged.
            let gate = if self.fail_on.is_some() { ", also from --fail-on" } else { "" };
            notes.push(format!("{hidden} hidden by --severity or --reason{gate}"));
        }
    }

    /// The namespace that is to be read; none for all of them. A target that names none is in the usual one.
    fn place(&self, targets: &mut [Target], usual: Option<&str>) -> Option<String> {
        if self.which.all_namespaces || self.which.namespace.is_some() {
            return self.which.namespace.clone();
        }
        // Nodes have pods of all namespaces.
        if targets.iter().any(|t| t.is(Kind::Node)) {
            return None;
        }
        for target in &mut *targets {
            if target.namespace.is_none() {
                target.namespace = usual.map(str::to_owned);
            }
        }
        match targets {
            [] => usual.map(str::to_owned),
            [first, rest @ ..] if rest.iter().all(|t| t.namespace == first.namespace) => {
                first.namespace.clone()
            }
            _ => None,
        }
    }

    /// Narrows to what was asked for. The start of a name will do; a name that nothing has is an error. Gives why nothing is
    /// left, if so.
    fn narrow(
        &self,
        snapshot: &mut Snapshot,
        wanted: &[Target],
        namespace: Option<&str>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Trouble>, Trouble> {
        let known = select::names(snapshot, namespace);
        let meant =
            wanted.iter().flat_map(|target| select::meant(target, snapshot, namespace, &known, notes));
        let targets = meant.collect();
        let nothing = self.nothing(snapshot, namespace);
        let namespaces: BTreeSet<String> =
            snapshot.pods.iter().map(|pod| pod.metadata.namespace.clone()).collect();
        let selection = Selection {
            targets,
            namespace: namespace.map(str::to_owned),
            selector: self.which.selector.clone(),
        };
        let missing = selection.narrow(snapshot);
        let Some(target) = missing.first() else {
            let nodes_are_there = !wanted.is_empty() && !snapshot.nodes.is_empty();
            let only_nodes = nodes_are_there && wanted.iter().all(|t| t.is(Kind::Node));
            return Ok((snapshot.pods.is_empty() && !only_nodes).then_some(nothing));
        };
        let place = target.namespace.as_deref().or(namespace);
        let text = place.map_or(String::new(), |n| format!(" in namespace {n}"));
        let text = format!("{target}: not found{text}");
        let near = select::near_target(target, &known);
        let hint = match place {
            _ if !near.is_empty() => select::did_you_mean(&near),
            Some(place) if !namespaces.contains(place) => self.hint_of_place(target, place, &namespaces),
            Some(_) => ELSEWHERE.to_owned(),
            None if target.is(Kind::Pod) => "is the name right? see: kubectl get pods -A".to_owned(),
            None => {
                "are the kind and the name right? see: kubectl get deployments,statefulsets,daemonsets,jobs -A"
                    .to_owned()
            }
        };
        Err(Trouble::new(text, hint))
    }

    /// Why a target is not found in a namespace that has no pods. In `FIRST/NAME`, a kind may be meant by the first word.
    fn hint_of_place(&self, target: &Target, place: &str, namespaces: &BTreeSet<String>) -> String {
        let name = &target.name;
        let is_first = target.is(Kind::Pod)
            && self.which.targets.iter().any(|word| word.starts_with(&format!("{place}/")));
        let kinds = if is_first { select::near(place, Kind::long_names()) } else { Vec::new() };
        let near = select::near(place, namespaces.iter().map(String::as_str));
        match (kinds.as_slice(), near.as_slice()) {
            ([kind, ..], _) => format!("did you mean {kind}/{name}?"),
            ([], [near, ..]) if is_first => format!("did you mean {near}/{name}?"),
            ([], [near, ..]) => format!("did you mean namespace {near}?"),
            ([], []) if is_first => format!(
                "{place} is neither a kind nor a namespace with pods; write POD, KIND/NAME or NAMESPACE/POD"
            ),
            ([], []) => ELSEWHERE.to_owned(),
        }
    }

    /// What is said if nothing is left of these: why, and which name was perhaps meant.
    fn nothing(&self, snapshot: &Snapshot, namespace: Option<&str>) -> Trouble {
        let place = namespace.map_or(String::new(), |n| format!(" in namespace {n}"));
        let metas = || snapshot.pods.iter().map(|p| &p.metadata);
        let here: Vec<&ObjectMeta> = metas().filter(|m| namespace.is_none_or(|n| n == m.namespace)).collect();
        if let (Some(selector), false) = (&self.which.selector, here.is_empty()) {
            return Trouble::new(
                format_args!("no pod has the labels {}{place}", selector.text),
                selector.guess(&here).map_or("see: kubectl get pods --show-labels".to_owned(), |label| {
                    select::did_you_mean(&[label.as_str()])
                }),
            );
        }
        let namespaces: BTreeSet<&str> = metas().map(|m| m.namespace.as_str()).collect();
        let near = select::near(namespace.unwrap_or_default(), namespaces.iter().copied());
        let hint = match (near.as_slice(), self.file.is_empty()) {
            (near @ [_, ..], _) => select::did_you_mean(near),
            ([], _) if namespace.is_some() => "-A looks in all namespaces".to_owned(),
            ([], true) => String::new(),
            ([], false) => {
                format!(
                    "pods in a manifest have no status, only pods read from a cluster do: {}",
                    files::HOW_TO_DUMP
                )
            }
        };
        Trouble::new(format_args!("no pods to diagnose{place}"), hint)
    }
}

/// What to do where a namespace does not have what is asked for.
const ELSEWHERE: &str = "is it in another namespace? -A looks in all of them";

fn in_files(args: &Args) -> Result<Seen, Trouble> {
    let (mut targets, how) = args.targets()?;
    args.agree(&targets)?;
    if args.file.iter().any(|path| path.as_os_str() == "-") && io::stdin().is_terminal() {
        let pipe = "kubectl get pods,events,nodes -A -o json | kubehealer diagnose -f -";
        output::note(&format!("reading from the terminal until Ctrl-D; to read from kubectl: {pipe}"));
    }
    let mut dump = files::read(&args.file, io::stdin());
    if args.which.no_logs {
        dump.snapshot.logs.clear();
        dump.snapshot.sources.logs = false;
    }
    let found = dump.objects > 0;
    let account = files::account(&dump, &args.file);
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
    let asked = [Kind::Service, Kind::Ingress, Kind::Autoscaler];
    if let Some(target) = targets.iter().find(|t| asked.iter().any(|kind| t.is(*kind))) {
        let known =
            select::names(&dump.snapshot, target.namespace.as_deref().or(args.which.namespace.as_deref()));
        let near = select::near_target(target, &known);
        return Err(Trouble::new(
            format_args!("{target}: {}s are not read from files", target.kind),
            match near.is_empty() {
                true => "name its workload, or select its pods: -l KEY=VALUE".to_owned(),
                false => select::did_you_mean(&near),
            },
        ));
    }
    let mut notes = passed_over(&dump.snapshot);
    let mut unproven = Vec::new();
    if let Some(manifest) = &mut dump.manifest {
        let cluster = if manifest.cluster.is_empty() { "a cluster" } else { &manifest.cluster };
        let (at, version) = (manifest.observed_at, &manifest.version);
        notes.push(format!("dump of {cluster} at {at} by kubehealer {version}"));
        notes.append(&mut manifest.notes);
        unproven.extend(undecided(args, &dump.snapshot));
    }
    notes.extend(dump.broken.iter().map(|b| format!("not read: {b}")));
    notes.extend(how);
    // A clock may be an hour off; a time that lies further ahead is an error in the data.
    let clock = clock();
    let limit = clock.checked_add(SignedDuration::from_hours(1)).unwrap_or(clock);
    let now = args.now.or_else(|| dump.newest_time(limit)).unwrap_or(clock);
    let namespace = args.place(&mut targets, None);
    let mut nothing = args.narrow(&mut dump.snapshot, &targets, namespace.as_deref(), &mut notes)?;
    if let Some(nothing) = nothing.as_mut().filter(|_| !survey(&dump.snapshot, now).findings.is_empty()) {
        // Its objects have a status, so it is no manifest.
        nothing.hint.clear();
    }
    unproven.extend(nothing);
    if args.fail_on.is_some() && !dump.snapshot.undecodable.is_empty() {
        let number = count(dump.snapshot.undecodable.len() as u64, "document");
        unproven
            .push(Trouble::new(format_args!("{number} could not be read"), "they are named in the report"));
    }
    Ok(Seen { snapshot: dump.snapshot, now, notes, incomplete: !dump.broken.is_empty(), unproven })
}

/// Why `--fail-on` cannot be evaluated, if so: not everything could be read.
fn undecided(args: &Args, snapshot: &Snapshot) -> Option<Trouble> {
    let all = snapshot.sources.events && snapshot.sources.owners && snapshot.undecodable.is_empty();
    (args.fail_on.is_some() && !all).then(|| {
        Trouble::new(
            "--fail-on cannot be evaluated: not everything could be read",
            "the report says what is missing, and why",
        )
    })
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
        all.iter().take(NAMED).map(|u| format!("skipped: {}: {}", u.place, u.why)).collect();
    if all.len() > NAMED {
        notes.push(format!("skipped: {} more", all.len() - NAMED));
    }
    notes
}

/// A cluster, and what is asked for in it.
struct Cluster {
    connected: client::Connected,
    targets: Vec<Target>,
    /// None for all of them.
    namespace: Option<String>,
    /// How the targets were found.
    how: Vec<String>,
}

impl Cluster {
    async fn find(args: &Args, context: Option<&str>) -> Result<Self, Trouble> {
        let (mut targets, mut how) = args.targets()?;
        let connect = Connect {
            kubeconfig: args.which.kubeconfig.clone(),
            context: context.map(str::to_owned),
            http1: false,
        };
        let connected = client::connect(&connect).await.map_err(|e| Trouble::new(e, ""))?;
        resolve::kinds(&connected.client, &mut targets).await?;
        args.agree(&targets)?;
        let namespace = args.place(&mut targets, Some(&connected.namespace));
        let (targets, told) = resolve::resolve(&connected.client, targets, namespace.as_deref()).await?;
        how.extend(told);
        Ok(Self { connected, targets, namespace, how })
    }
}

fn in_cluster(args: &Args, context: Option<&str>) -> Result<Seen, Trouble> {
    super::blocking(async {
        tokio::select! {
            seen = look(args, context) => seen,
            _ = tokio::signal::ctrl_c() => Err(Trouble::new("interrupted", "")),
        }
    })?
}

async fn look(args: &Args, context: Option<&str>) -> Result<Seen, Trouble> {
    let Cluster { connected: cluster, targets, namespace, how } = Cluster::find(args, context).await?;
    // One pod is asked for by its name: a namespace may hold thousands.
    let field_selector = match targets.as_slice() {
        [target] if target.is(Kind::Pod) => format!("metadata.name={}", target.name),
        _ => String::new(),
    };
    let label_selector = args.which.selector.as_ref().map(|s| s.text.clone()).unwrap_or_default();
    let mut wanted = Wanted { namespace: namespace.clone(), label_selector, field_selector };
    let progress = Progress::default();
    let failed = |failure: Failure| Trouble::new(format_args!("{}: {}", cluster.server, failure.text), "");
    let work = async {
        let mut seen = snapshot::snapshot(&cluster.client, &wanted, &progress).await.map_err(failed)?;
        let narrowed = !wanted.field_selector.is_empty() || !wanted.label_selector.is_empty();
        if seen.snapshot.pods.is_empty() && narrowed {
            // There is no such pod: perhaps one with a name or a label that comes near.
            wanted.field_selector.clear();
            wanted.label_selector.clear();
            seen = snapshot::snapshot(&cluster.client, &wanted, &progress).await.map_err(failed)?;
        }
        let mut notes = seen.notes;
        notes.extend(how);
        let nothing = args.narrow(&mut seen.snapshot, &targets, namespace.as_deref(), &mut notes)?;
        let mut unproven: Vec<Trouble> = nothing.into_iter().collect();
        let clock = seen.server_time.unwrap_or_else(clock);
        let now = args.now.unwrap_or_else(|| files::not_before(&seen.snapshot, clock));
        if !args.which.no_logs {
            let wanted = logs_that_matter(&survey(&seen.snapshot, now), &seen.snapshot);
            let (logs, lacking) = snapshot::logs(&cluster.client, wanted, &progress).await;
            seen.snapshot.sources.logs = lacking.is_empty() || !logs.is_empty();
            seen.snapshot.logs = logs;
            notes.extend(lacking);
        }
        let wanted = match args.newest_revisions {
            true => newest_revisions(&seen.snapshot),
            false => revisions_that_matter(&survey(&seen.snapshot, now), &seen.snapshot),
        };
        seen.snapshot.revisions = snapshot::revisions(&cluster.client, wanted).await;
        notes.extend(passed_over(&seen.snapshot));
        if let (Some(namespace), [nothing]) = (&namespace, unproven.as_mut_slice()) {
            let all =
                snapshot::names(&cluster.client, ("", "v1", "namespaces"), None).await.unwrap_or_default();
            if !all.is_empty() && !all.contains(namespace) {
                let near = select::near(namespace, all.iter().map(String::as_str));
                nothing.what = format!("namespace {namespace} does not exist");
                nothing.hint = match near.as_slice() {
                    [] => "see: kubectl get namespaces".to_owned(),
                    near => select::did_you_mean(near),
                };
            } else {
                notes.push(format!("there are no pods in namespace {namespace}; -A looks in all of them"));
            }
        }
        unproven.extend(undecided(args, &seen.snapshot));
        Ok(Seen { snapshot: seen.snapshot, now, notes, incomplete: false, unproven })
    };
    output::with_progress(&progress, work).await
}
