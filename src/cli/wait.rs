//! `kubehealer wait`: a gate for deploy jobs.

mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap_complete::{ArgValueCandidates, ArgValueCompleter};
use jiff::{SignedDuration, Timestamp};

use super::{Trouble, completions, output, resolve};
use crate::cluster::client::{self, Connect};
use crate::cluster::snapshot;
use crate::report::ClusterFlags;
use crate::select::{self, Selector, Target};
use crate::wait::{self, Clock, CouldNotLook, Patience, Settings, Verdict};

const EXAMPLES: &str = "\
Examples:
  kubehealer wait -n shop deployment/cart                    after kubectl apply or helm upgrade
  kubehealer wait -n shop deployment/cart job/migrate -o github
  kubehealer wait -n shop -l app.kubernetes.io/instance=shop --timeout 5m

Exit code: 0 everything is ready; 1 something cannot become ready without a change; 2 error: cluster or input unreadable; 3 timed out.";

/// Wait until workloads are ready or cannot become ready: a gate for deployment jobs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What to wait for: deployment/x, statefulset/x, daemonset/x, job/x, cronjob/x (its newest Job), rollout/x, a pod, and anything
    /// else that `diagnose` accepts
    #[arg(value_name = "KIND/NAME", required_unless_present = "selector", add = ArgValueCompleter::new(completions::targets))]
    targets: Vec<String>,
    /// The state to wait for
    #[arg(long = "for", value_enum, default_value_t = For::Ready, value_name = "STATE")]
    state: For,
    /// Time after which to give up, such as 90s or 10m
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = timeout)]
    timeout: Duration,
    /// Also fail on problems that may resolve on their own, once they have lasted longer than their grace period
    #[arg(long, conflicts_with = "patient")]
    strict: bool,
    /// Never fail early: wait until everything is ready or the time is up
    #[arg(long)]
    patient: bool,
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short, value_parser = select::valid_namespace, add = ArgValueCandidates::new(completions::namespaces))]
    namespace: Option<String>,
    /// Workloads and pods with these labels, such as app=cart
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<Selector>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::contexts))]
    context: Option<String>,
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Output format
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// The state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum For {
    /// A workload: as in `kubectl rollout status`; a Job: complete; a pod: ready or succeeded
    Ready,
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: kubehealer.dev/v1alpha1
    Json,
    /// A test report: one case for each object
    Junit,
    /// Annotations of GitHub Actions, and Markdown in $GITHUB_STEP_SUMMARY
    Github,
    /// For a comment on a merge request
    Markdown,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| "write a time such as 90s, 10m or 1h".to_owned())
}

impl From<CouldNotLook> for Trouble {
    fn from(why: CouldNotLook) -> Self {
        Self::new(why.what, why.hint)
    }
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let kubeconfig = args.kubeconfig.as_ref().map(|path| path.to_string_lossy().into_owned());
    let flags = ClusterFlags::new(args.context.as_deref(), kubeconfig.as_deref());
    let For::Ready = args.state;
    super::blocking(async {
        tokio::select! {
            done = wait(args, &flags) => done,
            _ = tokio::signal::ctrl_c() => Err(Trouble::new("interrupted", "")),
        }
    })?
    .map_err(|trouble| Trouble { hint: flags.with(&trouble.hint), ..trouble })
}

async fn wait(args: Args, flags: &ClusterFlags) -> Result<ExitCode, Trouble> {
    let targets =
        select::targets(&args.targets).map_err(|e| Trouble::new(e, "see: kubehealer wait --help"))?;
    let how = Connect { kubeconfig: args.kubeconfig, context: args.context, http1: false };
    let cluster = client::connect(&how).await.map_err(|e| Trouble::new(e, ""))?;
    let namespace = args.namespace.unwrap_or_else(|| cluster.namespace.clone());
    let (mut targets, how): (Vec<Target>, Vec<_>) = targets.into_iter().map(Target::resolved).unzip();
    resolve::kinds(&cluster.client, &mut targets).await?;
    targets.extend(args.selector.map(|selector| Target::labelled(selector, None)));
    for target in &mut targets {
        target.namespace.get_or_insert_with(|| namespace.clone());
    }
    let named = resolve::words(&cluster.client, &mut targets).await;
    let (targets, told) = resolve::resolve(&cluster.client, targets, None).await?;
    how.iter().flatten().chain(&named).chain(&told).for_each(|how| output::note(how));
    let settings = Settings {
        targets,
        timeout: args.timeout,
        patience: match (args.strict, args.patient) {
            (true, _) => Patience::Strict,
            (false, true) => Patience::Patient,
            (false, false) => Patience::Usual,
        },
    };
    let clock = clock(&cluster, &namespace).await?;
    let mut screen = output::Screen::new();
    let outcome = wait::follow(&cluster.client, &settings, &clock, |items, elapsed| {
        let live = screen.is_live();
        screen.show(print::progress(items, elapsed, live), elapsed);
    })
    .await;
    screen.clear();
    let outcome = outcome?;
    let text = match args.output {
        Format::Text => print::text(&outcome, flags),
        Format::Json => print::json(&outcome, flags),
        Format::Junit => print::junit(&outcome, flags),
        Format::Github => print::github(&outcome, flags)?,
        Format::Markdown => print::markdown(&outcome, flags),
    };
    output::print(&text)?;
    Ok(ExitCode::from(match outcome.verdict {
        Verdict::Ready => 0,
        Verdict::Failed => 1,
        Verdict::TimedOut => 3,
    }))
}

/// The API server's time: graces are counted from the times in its objects, and the clock of a build machine may be off.
#[allow(clippy::disallowed_methods, reason = "the command line's clock")]
pub(super) async fn clock(cluster: &client::Connected, namespace: &str) -> Result<Clock, Trouble> {
    let server = snapshot::server_time(&cluster.client, namespace).await;
    let server = server.map_err(|f| Trouble::new(format_args!("{}: {}", cluster.server, f.text), ""))?;
    let ahead = server.map_or(SignedDuration::ZERO, |server| server.duration_since(Timestamp::now()));
    Ok(Arc::new(move || {
        let now = Timestamp::now();
        now.checked_add(ahead).unwrap_or(now)
    }))
}
