//! `kubehealer watch`: flags and environment -> settings of the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Trouble;

/// Watch a cluster: the daemon, with metrics, an API and a status page.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Namespaces to watch, separated by commas; all of them if not given. With them, Roles are enough
    #[arg(long, short = 'n', env = "KUBEHEALER_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    namespaces: Vec<String>,
    /// Only pods with these labels
    #[arg(long, short = 'l', env = "KUBEHEALER_SELECTOR", value_name = "LABELS")]
    selector: Option<String>,
    /// Only pods with these fields, such as spec.nodeName=node-a
    #[arg(long, env = "KUBEHEALER_FIELD_SELECTOR", value_name = "FIELDS")]
    field_selector: Option<String>,
    /// Where metrics, probes, API and status page are served
    #[arg(long, env = "KUBEHEALER_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How log lines are written
    #[arg(long, env = "KUBEHEALER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Read the logs of crashed containers as evidence; needs the permission to get pods/log
    #[arg(long, env = "KUBEHEALER_LOGS", value_parser = clap::builder::FalseyValueParser::new())]
    logs: bool,
    /// Do not read events
    #[arg(long, env = "KUBEHEALER_NO_EVENTS", value_parser = clap::builder::FalseyValueParser::new())]
    no_events: bool,
    /// Do not watch owners of pods: workloads are told by the pods alone
    #[arg(long, env = "KUBEHEALER_NO_OWNERS", value_parser = clap::builder::FalseyValueParser::new())]
    no_owners: bool,
    /// Do not watch nodes
    #[arg(long, env = "KUBEHEALER_NO_NODES", value_parser = clap::builder::FalseyValueParser::new())]
    no_nodes: bool,
    /// Your own rules: a file, or a directory of files; may be given several times
    #[arg(long, env = "KUBEHEALER_RULES", value_delimiter = ',', value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
    /// Series that /metrics may hold per metric; what is over it is counted
    #[arg(long, env = "KUBEHEALER_MAX_SERIES", default_value_t = 20_000, value_name = "NUMBER")]
    max_series: usize,
    /// Only pods on this node: for one KubeHealer per node
    #[arg(long, env = "KUBEHEALER_NODE", value_name = "NAME", conflicts_with_all = ["unscheduled", "field_selector"])]
    node: Option<String>,
    /// Only pods that have no node yet: beside one KubeHealer per node
    #[arg(long, env = "KUBEHEALER_UNSCHEDULED", value_parser = clap::builder::FalseyValueParser::new(), conflicts_with = "field_selector")]
    unscheduled: bool,
    /// Which part of the namespaces this one watches, such as 0/3
    #[arg(long, env = "KUBEHEALER_SHARD", value_name = "INDEX/COUNT", conflicts_with_all = ["shard_from_name", "shards"])]
    shard: Option<String>,
    /// The index of the shard is the number at the end of this name: that of a StatefulSet's pod
    #[arg(long, env = "KUBEHEALER_SHARD_FROM_NAME", value_name = "NAME", requires = "shards")]
    shard_from_name: Option<String>,
    /// How many shards there are
    #[arg(long, env = "KUBEHEALER_SHARDS", value_name = "COUNT", requires = "shard_from_name")]
    shards: Option<u32>,
    /// The context of the kubeconfig
    #[arg(long, env = "KUBEHEALER_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file; else $KUBECONFIG, ~/.kube/config, or the pod's own service account
    #[arg(long, env = "KUBEHEALER_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

pub(super) fn run(_args: Args) -> Result<ExitCode, Trouble> {
    Err(Trouble::new("watch: not built yet", ""))
}
