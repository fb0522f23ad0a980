//! Puts the parts together: watches a cluster, keeps the incidents, serves them, and ends cleanly.
//!
//! ```text
//! cluster::watch -> Engine (diagnose, incidents) -> log lines, evidence jobs
//!                        ^ evidence, timer            server reads, when asked
//! ```
//!
//! The watch never waits for evidence, for a scrape, or for a log line. Must not know Kubernetes' wire formats, nor how
//! metrics are written.

mod announce;
mod engine;
mod evidence;
#[cfg(test)]
mod histories;
pub mod rules;
mod state;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::watcher;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::FORCED_LOG_DIRECTIVES;
use crate::cluster::client::{Connect, ConnectError, connect};
use crate::cluster::watch::{self, Resource, Selection, Watch};
use crate::incidents::Incidents;
use crate::metrics::Metrics;
use crate::objects::Object;
use crate::rules::RuleSet;
use crate::server::{BindError, Bound, Shown};
use engine::Engine;

/// The time that incidents know: the real one, or a simulated cluster's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The real time.
pub fn wall_clock() -> Clock {
    Arc::new(wall_time)
}

#[expect(clippy::disallowed_methods, reason = "the daemon's clock")]
fn wall_time() -> Timestamp {
    Timestamp::now()
}

/// The port that is served on unless another one is asked for.
pub const PORT: u16 = 8080;
/// Series per metric at most, unless another number is asked for.
pub const MAX_SERIES: usize = 20_000;

/// Where the cluster is.
#[derive(Clone)]
pub enum Target {
    /// To be found as kubectl finds it.
    Find(Connect),
    /// This client, of a cluster that is called so.
    Client(Client, String),
}

/// Everything that can be set.
#[derive(Clone)]
pub struct Settings {
    /// Where the cluster is.
    pub target: Target,
    /// Which pods to watch.
    pub selection: Selection,
    /// How to watch.
    pub watch: watch::Settings,
    /// Where to serve; port 0 picks one.
    pub listen: SocketAddr,
    /// Whether events are read.
    pub events: bool,
    /// Whether the logs of failing containers are read.
    pub logs: bool,
    /// Whether owners of pods are watched.
    pub owners: bool,
    /// Whether nodes are watched.
    pub nodes: bool,
    /// Series per metric at most.
    pub max_series: usize,
    /// The user's own rules.
    pub rules: Arc<RuleSet>,
    /// The files that they were read from: read again when they change.
    pub rule_files: Vec<PathBuf>,
    /// The time.
    pub clock: Clock,
}

impl Settings {
    /// The defaults of the command line.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            selection: Selection::default(),
            watch: watch::Settings::default(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
            events: true,
            logs: false,
            owners: true,
            nodes: true,
            max_series: MAX_SERIES,
            rules: Arc::default(),
            rule_files: Vec::new(),
            clock: wall_clock(),
        }
    }
}

/// Why it cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kubeconfig.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Two metrics have one name.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A part of it has panicked; where, the panic itself has told.
    #[error("a part of the daemon has failed: it ends rather than go on without it")]
    Failed,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to write log lines to stderr, as `RUST_LOG` says (`info` if it says nothing). What must never be logged stays off
/// whatever it says. Does nothing if the process logs already.
pub fn init_logging(format: LogFormat) {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};

    let info = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let (mut filter, wrong) = match info.from_env() {
        Ok(filter) => (filter, None),
        Err(error) => (info.parse_lossy(""), Some(error)),
    };
    for directive in FORCED_LOG_DIRECTIVES {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    // An error means that somebody else has set this up, which is as good.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    if let Some(error) = wrong {
        tracing::warn!(
            "RUST_LOG cannot be read, info is used instead: {error}; write it as in: warn,kubehealer=debug"
        );
    }
}

/// Runs until a signal ends it: SIGTERM or Ctrl-C, and at once with a second one.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let mut running = start(settings).await?;
    let signal = tokio::select! {
        signal = end_signal() => signal,
        () = running.failed() => return Err(StartError::Failed),
    };
    tracing::info!("{signal}: ending; once more ends at once");
    end_at_once_with_the_next_signal();
    running.stop().await;
    tracing::info!("ended");
    Ok(())
}

/// Whoever asks a second time does not want to wait any longer.
pub fn end_at_once_with_the_next_signal() {
    tokio::spawn(async {
        end_signal().await;
        std::process::exit(130);
    });
}

/// Waits for a signal that asks the process to end, and names it.
pub async fn end_signal() -> &'static str {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        return tokio::select! {
            _ = interrupt => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        };
    }
    let _ = interrupt.await;
    "Ctrl-C"
}

/// A daemon that runs.
pub struct Running {
    /// Where it serves.
    pub address: SocketAddr,
    /// The incidents, to be read.
    pub incidents: Arc<RwLock<Incidents>>,
    tasks: Tasks,
}

impl Running {
    /// Waits until a part of it has failed. No part ends by itself: one that does has panicked, and without it the rest would
    /// look alive and be blind.
    pub async fn failed(&mut self) {
        self.tasks.running.join_next().await;
    }

    /// Ends it: the server answers what it has begun to answer, everything else is dropped.
    pub async fn stop(mut self) {
        self.tasks.stop.cancel();
        while self.tasks.running.join_next().await.is_some() {}
    }
}

/// The parts that run side by side until they are told to stop.
struct Tasks {
    running: JoinSet<()>,
    stop: CancellationToken,
    client: Client,
    metrics: Arc<Metrics>,
}

impl Tasks {
    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.running.spawn(async move {
            stop.run_until_cancelled_owned(work).await;
        });
    }

    fn watch<T: Object>(&mut self, watch: Watch, sink: impl FnMut(watcher::Event<T>) + Send + 'static) {
        self.metrics.sources.add(watch.health());
        let client = self.client.clone();
        self.spawn(async move { match watch.run(client, sink).await {} });
    }
}

/// Binds, connects, and begins to watch. Whether the cluster answers shows in `/readyz`.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let bound = Bound::to(settings.listen).await?;
    let address = bound.address().unwrap_or(settings.listen);
    let (client, name) = match &settings.target {
        Target::Client(client, name) => (client.clone(), name.clone()),
        Target::Find(how) => {
            let found = connect(how).await?;
            (found.client, format!("{} from {}", found.server, found.source))
        }
    };
    tracing::info!(%address, "watching {name}; serving http://{address}/");

    let incidents = Arc::new(RwLock::new(Incidents::new()));
    let metrics = Arc::new(Metrics::new(settings.max_series)?);
    metrics.sources.loaded_rules(&settings.rules, (settings.clock)());
    metrics.sources.set_scope(settings.selection.scope());
    let pulse = Arc::new(AtomicI64::new(wall_time().as_second()));
    let (jobs, queue) = evidence::queue();
    let engine = Arc::new(Engine::new(&settings, Arc::clone(&incidents), Arc::clone(&metrics), jobs));
    let mut tasks = Tasks {
        running: JoinSet::new(),
        stop: CancellationToken::new(),
        client: client.clone(),
        metrics: Arc::clone(&metrics),
    };

    for scope in settings.selection.pods() {
        let namespace = scope.namespace.clone();
        let watch = Watch::new(Resource::PODS, scope, settings.watch);
        engine.relist_pods_with(watch.relist());
        tasks.watch(watch, Arc::clone(&engine).pods(namespace));
    }
    let watches = |resource: Resource| {
        let scopes = settings.selection.others(&resource);
        scopes.into_iter().map(move |scope| Watch::new(resource, scope, settings.watch))
    };
    if settings.owners {
        for resource in
            [Resource::REPLICA_SETS, Resource::DEPLOYMENTS, Resource::STATEFUL_SETS, Resource::DAEMON_SETS]
        {
            for watch in watches(resource) {
                tasks.watch(watch, Arc::clone(&engine).workloads(engine::kind_of(&resource)));
            }
        }
        for watch in watches(Resource::JOBS) {
            tasks.watch(watch, Arc::clone(&engine).jobs());
        }
        for watch in watches(Resource::CRON_JOBS) {
            tasks.watch(watch, Arc::clone(&engine).cron_jobs());
        }
    }
    if settings.nodes {
        for watch in watches(Resource::NODES) {
            tasks.watch(watch, Arc::clone(&engine).nodes());
        }
    }
    for worker in evidence::workers(client, queue, &engine) {
        tasks.spawn(worker);
    }
    if !settings.rule_files.is_empty() {
        let rules = rules::ReloadingRules::new(settings.rule_files.clone(), &settings.rules);
        tasks.spawn(rules::watch_files(rules, Arc::clone(&engine)));
    }
    tasks.spawn(tick(Arc::clone(&engine), Arc::clone(&pulse)));

    let shown = Arc::new(Shown {
        incidents: Arc::clone(&incidents),
        metrics,
        clock: Arc::clone(&settings.clock),
        wall_clock: wall_time,
        pulse,
        diagnosis: Box::new({
            let engine = Arc::clone(&engine);
            move || engine.document()
        }),
    });
    // It drains by itself when it is told to stop.
    tasks.running.spawn(bound.serve(shown, tasks.stop.clone()));
    Ok(Running { address, incidents, tasks })
}

/// How often is looked whether time alone has changed something. Costs nothing when it has not.
const TICK: Duration = Duration::from_millis(500);

async fn tick(engine: Arc<Engine>, pulse: Arc<AtomicI64>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.time_passes();
        pulse.store(wall_time().as_second(), Relaxed);
    }
}
