//! `kubehealer demo`: a simulated cluster and the daemon watching it, in one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use unicode_width::UnicodeWidthStr as _;

use super::{Trouble, output};
use crate::daemon::{self, Running, Settings, StartError, Target};
use crate::diagnosis::OwnerLabels;
use crate::report::ClusterFlags;
use crate::server::PageSettings;
use crate::simulator::replay::Recording;
use crate::simulator::{self, Cluster};

const EXAMPLES: &str = "\
Examples:
  kubehealer demo                                  failures of all kinds, at ten times real speed
  kubehealer demo --speed 1                        at real speed: the first incidents take two minutes
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
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|s| (0.1..=1000.0).contains(s));
    speed.ok_or_else(|| "write a number from 0.1 to 1000".to_owned())
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
            Trouble::new(
                format_args!("cannot read {}: {e}", path.display()),
                "pass a file with a recorded watch",
            )
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
    // From now on, so that nothing stays behind.
    let closed = closed();
    let kubeconfig = Kubeconfig::write(&simulator::kubeconfig(kubernetes))?;
    let (cluster, owner_labels) = match recording {
        None => (simulator::demo(args.speed), super::owner_labels(&[OWNER_LABEL.to_owned()])?),
        Some(recording) => (replayed(recording, args.speed), OwnerLabels::default()),
    };
    tokio::spawn(simulator::serve(listener, cluster.clone()));
    let page = PageSettings {
        banner: format!("Demo: {}, at {}x speed.", what(&args), args.speed),
        flags: ClusterFlags::new(None, Some(&kubeconfig.0.display().to_string())),
        ..PageSettings::default()
    };
    let mut running = start(args.listen, USUAL, page, owner_labels, &cluster).await?;
    let try_them = what_to_try(&running, &kubeconfig.0, &args);
    let try_them = output::typed(&try_them);
    output::print(&format!("{}\n{try_them}\n", what_it_is(&args)))?;
    // Only now, so that what to try comes first.
    let is_live = io::stdout().is_terminal() && io::stderr().is_terminal();
    let pinned: Arc<str> = if is_live { try_them.into() } else { "".into() };
    let lines = BoxMakeWriter::new(move || Above(Arc::clone(&pinned)));
    daemon::logging::init(daemon::logging::LogFormat::Brief, LevelFilter::INFO, lines);
    tokio::select! {
        () = end(args.duration, closed) => {}
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

/// Which label of the built-in workloads tells whose they are.
const OWNER_LABEL: &str = "team";

/// Where it serves, unless another address is asked for.
const USUAL: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, daemon::PORT));

/// Begins to watch. The usual port may be taken: unless it was asked for, any other will do.
async fn start(
    asked: Option<SocketAddr>,
    usual: SocketAddr,
    page: PageSettings,
    owner_labels: OwnerLabels,
    cluster: &Cluster,
) -> Result<Running, StartError> {
    let client = simulator::client(cluster);
    let mut settings = Settings::new(Target::Client(client, "a simulated cluster".to_owned()));
    settings.logs = true;
    settings.page = page;
    settings.owner_labels = owner_labels;
    let clock = cluster.clone();
    settings.clock = Arc::new(move || clock.now());
    settings.listen = asked.unwrap_or(usual);
    match daemon::start(settings.clone()).await {
        Err(StartError::Bind(_)) if asked.is_none() => {
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

fn what_it_is(args: &Args) -> String {
    let what = what(args);
    let soon = match args.replay.is_empty() && args.speed >= 5.0 {
        true => {
            "Within a minute, pods crash, run out of memory and fail to pull images, and one of them recovers.\n"
        }
        false => "",
    };
    format!("KubeHealer watches {what}, at {}x speed. Ctrl-C stops it.\n{soon}", args.speed)
}

/// The addresses. Which one is served on is not known beforehand where any other than the usual one will do.
fn what_to_try(running: &Running, kubeconfig: &Path, args: &Args) -> String {
    let (web, config) = (running.address, kubeconfig.display());
    let owners = match args.replay.is_empty() {
        true => format!(" --owner-labels {OWNER_LABEL}"),
        false => String::new(),
    };
    let other = match args.listen.is_none() && web != USUAL {
        true => format!("   (port {} is in use)", USUAL.port()),
        false => String::new(),
    };
    format!(
        "\x20 status page   http://{web}/{other}\n\
         \x20 incidents     curl -s http://{web}/api/v1/incidents\n\
         \x20 metrics       curl -s http://{web}/metrics | grep ^kubehealer_\n\
         \x20 diagnose      kubehealer diagnose -A --kubeconfig {config}{owners}\n\
         \x20 kubectl       kubectl --kubeconfig {config} get pods -A -w\n"
    )
}

/// Writes log lines above what stays at the bottom of the terminal; the latter is empty where there is no terminal.
struct Above(Arc<str>);

impl Write for Above {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        let (columns, rows) = output::terminal_size();
        // Narrow terminals break lines.
        let height: usize = self.0.lines().map(|line| line.width().div_ceil(columns).max(1)).sum();
        if height == 0 || height + 3 > rows {
            return out.write(line);
        }
        let below = self.0.as_bytes();
        out.write_all(&[format!("\x1b[{}A\x1b[J", height + 1).as_bytes(), line, b"\n", below].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for the end: the time is over, or somebody wants it. A second wish is granted at once.
async fn end(duration: Option<u64>, closed: impl Future<Output = ()>) {
    let time = async {
        match duration {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        () = closed => {}
        _ = daemon::end_signal() => daemon::end_at_once_with_the_next_signal(),
    }
}

/// Listens from now on to the end of the terminal. Without one, nohup may have asked that it is ignored.
fn closed() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let mut hangup = io::stdout()
        .is_terminal()
        .then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()))
        .and_then(Result::ok);
    async move {
        #[cfg(unix)]
        if let Some(hangup) = &mut hangup {
            hangup.recv().await;
            return;
        }
        std::future::pending().await
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Parsed {
        #[command(flatten)]
        args: Args,
    }

    #[tokio::test]
    async fn a_port_that_is_in_use_is_said_with_the_address_that_is_served_instead() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
        let running = start(None, taken.1, PageSettings::default(), OwnerLabels::default(), &Cluster::new())
            .await
            .unwrap();
        assert_ne!(running.address.port(), taken.1.port());
        let args = |words: &[&str]| Parsed::try_parse_from([&["demo"], words].concat()).unwrap().args;
        let text = what_to_try(&running, Path::new("config"), &args(&[]));
        let first = format!("  status page   http://{}/   (port 8080 is in use)", running.address);
        assert_eq!(text.lines().next(), Some(first.as_str()));
        let asked = args(&["--listen", "127.0.0.1:0"]);
        assert!(!what_to_try(&running, Path::new("config"), &asked).contains("in use"));
        assert!(
            start(Some(taken.1), USUAL, PageSettings::default(), OwnerLabels::default(), &Cluster::new())
                .await
                .is_err(),
            "it was asked for"
        );
        running.stop().await;
    }
}
