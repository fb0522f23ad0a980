//! `kubehealer demo`: a simulated cluster and the daemon watching it, in one process.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Trouble, output};
use crate::daemon::{self, Running, Settings, StartError, Target};
use crate::report::ClusterFlags;
use crate::simulator::replay::Recording;
use crate::simulator::{self, Cluster};

const EXAMPLES: &str = "\
Examples:
  kubehealer demo                                  failures of all kinds, ten times faster than real time
  kubehealer demo --speed 1                        in real time: the first incidents take two minutes
  kubehealer demo --replay pods.jsonl --speed 20   a recorded watch of your own cluster";

/// Watch a simulated cluster with real failures: no cluster needed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Speed, as a multiple of real time
    #[arg(long, default_value_t = 10.0, value_name = "FACTOR", value_parser = speed)]
    speed: f64,
    /// Play a recorded watch (kubectl get pods -A -w --output-watch-events -o json) instead of the built-in failures; several
    /// recordings of one cluster are played together
    #[arg(long, value_name = "FILE")]
    replay: Vec<PathBuf>,
    /// Address of metrics, API and status page [default: 127.0.0.1:8080, or another port if that one is in use]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the simulated API server; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    kubernetes_listen: SocketAddr,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|s| (0.1..=1000.0).contains(s));
    speed.ok_or_else(|| "a number from 0.1 to 1000".to_owned())
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let recording = recording(&args.replay)?;
    super::with_threads(play(args, recording))??;
    Ok(ExitCode::SUCCESS)
}

fn recording(paths: &[PathBuf]) -> Result<Option<Recording>, Trouble> {
    let mut files = Vec::new();
    for path in paths {
        let file = File::open(path).map_err(|e| {
            Trouble::new(format_args!("{}: {e}", path.display()), "give a file with a recorded watch")
        })?;
        files.push(std::io::BufReader::new(file));
    }
    if files.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    Recording::read(files).map(Some).map_err(|e| {
        Trouble::new(
            format_args!("{}: {e}", names.join(", ")),
            "record one with: kubectl get pods -A -w --output-watch-events -o json > pods.jsonl",
        )
    })
}

async fn play(args: Args, recording: Option<Recording>) -> Result<(), Trouble> {
    let listener = TcpListener::bind(args.kubernetes_listen).await.map_err(|e| {
        Trouble::new(
            format_args!("cannot listen on {}: {e}", args.kubernetes_listen),
            "choose another address with --kubernetes-listen, or port 0",
        )
    })?;
    let kubernetes = listener.local_addr().unwrap_or(args.kubernetes_listen);
    let kubeconfig = Kubeconfig::write(&simulator::kubeconfig(kubernetes))?;
    let cluster = match recording {
        None => simulator::demo(args.speed),
        Some(recording) => replayed(recording, args.speed),
    };
    tokio::spawn(simulator::serve(listener, cluster.clone()));
    let mut running = start(&args, &cluster, &kubeconfig.0).await?;
    output::print(&what_to_try(&running, &kubeconfig.0, &args))?;
    // Only now, so that what to try comes first.
    daemon::logging::init(daemon::logging::LogFormat::Text);
    tokio::select! {
        () = end(args.duration) => {}
        () = running.failed() => return Err(StartError::Failed.into()),
    }
    running.stop().await;
    Ok(())
}

fn replayed(recording: Recording, speed: f64) -> Cluster {
    let cluster = Cluster::new();
    cluster.set_clock(recording.start(), speed);
    let playing = cluster.clone();
    tokio::spawn(async move {
        recording.play(&playing, speed).await;
        tracing::info!("end of the recording; the cluster stays as it is");
    });
    cluster
}

/// Begins to watch. The usual port may be taken: unless it was asked for, any other will do.
async fn start(args: &Args, cluster: &Cluster, kubeconfig: &Path) -> Result<Running, StartError> {
    let client = simulator::client(cluster);
    let mut settings = Settings::new(Target::Client(client, "a simulated cluster".to_owned()));
    settings.logs = true;
    settings.page.banner = format!("Demo: {}, {} times faster than real time.", what(args), args.speed);
    settings.page.flags = ClusterFlags::new(None, Some(&kubeconfig.display().to_string()));
    let clock = cluster.clone();
    settings.clock = std::sync::Arc::new(move || clock.now());
    settings.listen = args.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, daemon::PORT)));
    match daemon::start(settings.clone()).await {
        Err(StartError::Bind(_)) if args.listen.is_none() => {
            settings.listen.set_port(0);
            daemon::start(settings).await
        }
        result => result,
    }
}

fn what(args: &Args) -> &'static str {
    match args.replay.is_empty() {
        true => "a simulated cluster with real failures",
        false => "a recording",
    }
}

fn what_to_try(running: &Running, kubeconfig: &Path, args: &Args) -> String {
    let (web, config) = (running.address, kubeconfig.display());
    let what = what(args);
    let soon = match args.replay.is_empty() && args.speed >= 5.0 {
        true => {
            "Within a minute pods crash, run out of memory and miss their images, and one of them recovers.\n"
        }
        false => "",
    };
    format!(
        "KubeHealer watches {what}, {} times faster than real time. Ctrl-C stops it.\n{soon}\n\
         \x20 status page   http://{web}/\n\
         \x20 incidents     curl -s http://{web}/api/v1/incidents\n\
         \x20 metrics       curl -s http://{web}/metrics | grep ^kubehealer_\n\
         \x20 diagnose      kubehealer diagnose -A --kubeconfig {config}\n\
         \x20 kubectl       kubectl --kubeconfig {config} get pods -A -w\n\n",
        args.speed
    )
}

/// Waits for the end: the time is over, or somebody wants it. A second wish is granted at once.
async fn end(duration: Option<u64>) {
    let time = async {
        match duration {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        _ = daemon::end_signal() => daemon::end_at_once_with_the_next_signal(),
    }
}

/// A kubeconfig in the directory for temporary files, for as long as this lives.
struct Kubeconfig(PathBuf);

impl Kubeconfig {
    fn write(text: &str) -> Result<Self, Trouble> {
        let path = std::env::temp_dir().join(format!("kubehealer-demo-{}.kubeconfig", std::process::id()));
        // A file of this name that is there already is somebody else's.
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| {
            Trouble::new(
                format_args!("cannot write {}: {e}", path.display()),
                "set TMPDIR to another directory",
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
