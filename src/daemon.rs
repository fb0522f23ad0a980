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
pub mod logging;
mod queue;
pub mod rules;
mod state;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::watcher;
use parking_lot::RwLock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::client::{Connect, ConnectError, connect};
pub use crate::cluster::clock::Clock;
use crate::cluster::clock::ClusterClock;
use crate::cluster::lean::BoundedClient;
use crate::cluster::review::{self, Review};
use crate::cluster::watch::{self, Resource, Selection, Watch};
use crate::diagnosis::OwnerLabels;
use crate::incidents::Incidents;
use crate::metrics::Metrics;
use crate::objects::Object;
use crate::rules::RuleSet;
use crate::server::access::{self, Access, Verdict};
use crate::server::hosts::Hosts;
use crate::server::tls::{self, Certificate, TlsError};
use crate::server::{self, BindError, Bound, Instance, Limits, PageSettings, Server, Shown};
use engine::Engine;

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
    pub watch: watch::Settings,
    /// Where to serve; port 0 picks one.
    pub listen: SocketAddr,
    /// Where to serve the probes alone, beside that.
    pub probe_listen: Option<SocketAddr>,
    /// Names in the `Host` header that are allowed beside addresses and names of Services.
    pub allowed_hosts: Vec<String>,
    /// Certificate and key, if it is to serve TLS.
    pub tls: Option<tls::Files>,
    /// Whether the API server is asked who may look.
    pub authorization: bool,
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
    /// Which labels of workloads and pods tell whose they are.
    pub owner_labels: OwnerLabels,
    /// What the cluster is called; empty if it has no name.
    pub cluster_name: String,
    pub page: PageSettings,
    /// The user's own rules.
    pub rules: Arc<RuleSet>,
    /// The files that they were read from: read again when they change.
    pub rule_files: Vec<PathBuf>,
    /// The time of this process: the real one, or a simulated cluster's.
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
            probe_listen: None,
            allowed_hosts: Vec::new(),
            tls: None,
            authorization: false,
            events: true,
            logs: false,
            owners: true,
            nodes: true,
            max_series: MAX_SERIES,
            owner_labels: OwnerLabels::default(),
            cluster_name: String::new(),
            page: PageSettings::default(),
            rules: Arc::default(),
            rule_files: Vec::new(),
            clock: wall_clock(),
        }
    }
}

/// Why it cannot begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS itself.
    #[error("cannot serve TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// Two metrics have one name.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(
        "the owner label {0} has the name of a label that the metrics or Prometheus have already: choose another one"
    )]
    OwnerLabel(String),
    /// A part of it has panicked; where, the panic itself has said.
    #[error("a task of the daemon failed; shutting down")]
    Failed,
}

/// Runs until a signal ends it: SIGTERM or Ctrl-C, and at once with a second one.
pub async fn run(settings: Settings) -> Result<(), StartError> {
    let mut running = start(settings).await?;
    let signal = tokio::select! {
        signal = end_signal() => signal,
        () = running.failed() => return Err(StartError::Failed),
    };
    tracing::info!(signal, "shutting down; send the signal again to exit immediately");
    end_at_once_with_the_next_signal();
    running.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Whoever asks a second time does not want to wait any longer. `timeout` of GNU coreutils asks twice within a
/// millisecond: the process, and then its whole group.
pub fn end_at_once_with_the_next_signal() {
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(200)).await;
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
    pub address: SocketAddr,
    /// Where it serves the probes alone.
    pub probe_address: Option<SocketAddr>,
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
    client: BoundedClient,
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
pub async fn start(mut settings: Settings) -> Result<Running, StartError> {
    let bound = Bound::to(settings.listen, "--listen")?;
    let address = bound.address().unwrap_or(settings.listen);
    let probe_bound =
        settings.probe_listen.map(|address| Bound::to(address, "--probe-listen")).transpose()?;
    let probe_address = probe_bound.as_ref().and_then(|bound| bound.address().ok());
    let certificate = settings.tls.clone().map(Certificate::read).transpose()?;
    let acceptor = certificate.as_ref().map(Certificate::acceptor).transpose()?;
    let (client, name) = match &settings.target {
        Target::Client(client, name) => (client.clone(), name.clone()),
        Target::Find(how) => {
            let found = connect(how).await?;
            (found.client, format!("{} from {}", found.server, found.source))
        }
    };
    let clock = ClusterClock::new(Arc::clone(&settings.clock));
    let client = clock.set_by(client);
    settings.clock = Arc::new({
        let clock = Arc::clone(&clock);
        move || clock.now()
    });
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}/");
    tracing::info!(api_server = name, %address, url, "watching the cluster and serving the status page");

    let incidents = Arc::new(RwLock::new(Incidents::new()));
    let metrics = Metrics::new(settings.max_series)?;
    let metrics = metrics.labelled(&settings.owner_labels, &settings.cluster_name);
    let metrics = Arc::new(metrics.map_err(StartError::OwnerLabel)?);
    metrics.sources.loaded_rules(&settings.rules, (settings.clock)());
    metrics.sources.set_scope(settings.selection.scope());
    metrics.sources.set_clock(clock);
    let pulse = Arc::new(AtomicI64::new(wall_time().as_second()));
    let queue = queue::Queue::default();
    let engine =
        Arc::new(Engine::new(&settings, Arc::clone(&incidents), Arc::clone(&metrics), queue.clone()));
    let mut tasks = Tasks {
        running: JoinSet::new(),
        stop: CancellationToken::new(),
        client: client.clone().into(),
        metrics: Arc::clone(&metrics),
    };

    for scope in settings.selection.pods() {
        let watch = Watch::new(Resource::PODS, scope, settings.watch);
        let sink = Arc::clone(&engine).pods(&watch);
        tasks.watch(watch, sink);
    }
    let watches = |resource: Resource| {
        let scopes = settings.selection.scopes_of(&resource);
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
    for worker in evidence::workers(tasks.client.clone(), queue, &engine) {
        tasks.spawn(worker);
    }
    if !settings.rule_files.is_empty() {
        let rules = rules::ReloadingRules::new(settings.rule_files.clone(), &settings.rules);
        tasks.spawn(rules::watch_files(rules, Arc::clone(&engine)));
    }
    tasks.spawn(tick(Arc::clone(&engine), Arc::clone(&pulse)));

    let instance = Instance {
        cluster: settings.cluster_name.clone(),
        scope: settings.selection.scope(),
        others: settings.selection.others(),
    };
    let shown = Arc::new(Shown {
        incidents: Arc::clone(&incidents),
        metrics,
        clock: Arc::clone(&settings.clock),
        wall_clock: wall_time,
        pulse,
        diagnosis: Box::new({
            let (engine, instance) = (Arc::clone(&engine), instance.clone());
            move |wanted| engine.document(wanted, &instance)
        }),
        instance,
        page: settings.page,
    });
    // They drain by themselves when they are told to stop.
    if let Some(bound) = probe_bound {
        let probes = server::probes(Arc::clone(&shown));
        tasks.running.spawn(bound.serve_apart(probes, Limits::PROBES, tasks.stop.clone()));
    }
    if let Some(certificate) = certificate {
        tasks.spawn(certificate.follow());
    }
    let access = settings.authorization.then(|| Access::new(reviews(client)));
    let router = Server::new(shown, Hosts::new(&settings.allowed_hosts), access).router();
    tasks.running.spawn(bound.serve(router, acceptor, Limits::MAIN, tasks.stop.clone()));
    Ok(Running { address, probe_address, incidents, tasks })
}

/// Asks the API server who may look.
fn reviews(client: Client) -> access::Review {
    let is_failing = Arc::new(AtomicBool::new(false));
    Box::new(move |token, path| {
        let (client, is_failing) = (client.clone(), Arc::clone(&is_failing));
        Box::pin(async move {
            let reviewed = review::review(&client, &token, &path).await;
            // One line for each change, however many ask.
            let was_failing = is_failing.swap(reviewed.is_err(), Relaxed);
            match &reviewed {
                Err(failure) if !was_failing => {
                    tracing::warn!(error = %failure, "API server does not answer access reviews, denying new clients");
                }
                Ok(_) if was_failing => tracing::info!("API server answers access reviews again"),
                _ => {}
            }
            reviewed.map_err(|failure| failure.text).map(|review| match review {
                Review::Allowed => Verdict::Allowed,
                Review::Unknown => Verdict::Unknown,
                Review::Forbidden(user) => Verdict::Forbidden(user),
            })
        })
    })
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
