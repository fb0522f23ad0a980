//! `kubehealer demo`: a simulated cluster and the daemon watching it, in one process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Trouble;

/// Watch a simulated cluster with real failures: no cluster needed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many times faster than life
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed: f64,
    /// Play a recorded watch of pods (kubectl get pods -A -w --output-watch-events -o json) instead of the built-in failures
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Where metrics, API and status page are served
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the simulated cluster answers kubectl; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    kubernetes_listen: SocketAddr,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
}

pub(super) fn run(_args: Args) -> Result<ExitCode, Trouble> {
    Err(Trouble::new("demo: not built yet", ""))
}
