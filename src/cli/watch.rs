//! `kubehealer watch`: flags and environment -> settings of the daemon.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::Trouble;
use crate::cluster::client::Connect;
use crate::cluster::watch::{Selection, Shard};
use crate::daemon::{self, Settings, Target, logging};
use crate::report::ClusterFlags;
use crate::select::{self, Selector};
use crate::server::tls;

/// Watch a cluster: the daemon, with metrics, an API and a status page.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Namespaces to watch, separated by commas [default: all]. Roles are then enough: no ClusterRole is needed
    #[arg(long, short = 'n', env = "KUBEHEALER_NAMESPACES", value_delimiter = ',', value_name = "NAMES",
        value_parser = select::valid_namespace)]
    namespaces: Vec<String>,
    /// Only pods with these labels
    #[arg(long, short = 'l', env = "KUBEHEALER_SELECTOR", value_name = "LABELS")]
    selector: Option<Selector>,
    /// Only pods with these fields, such as spec.nodeName=node-a
    #[arg(long, env = "KUBEHEALER_FIELD_SELECTOR", value_name = "FIELDS")]
    field_selector: Option<String>,
    /// Address of metrics, probes, API and status page; [::] means every address, IPv4 and IPv6
    #[arg(long, env = "KUBEHEALER_LISTEN", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, daemon::PORT)), value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address of a separate port for /livez and /readyz, such as [::]:8081: load on the main port does not delay the probes
    #[arg(long, env = "KUBEHEALER_PROBE_LISTEN", value_name = "ADDRESS")]
    probe_listen: Option<SocketAddr>,
    /// Additional host names, separated by commas, that requests may use besides IP addresses, localhost and NAME.NAMESPACE.svc;
    /// *.NAME allows all names below it
    #[arg(long, env = "KUBEHEALER_ALLOWED_HOSTS", value_delimiter = ',', value_name = "NAMES")]
    allowed_hosts: Vec<String>,
    /// Serve TLS with this certificate (PEM, with intermediates); reloaded when it changes
    #[arg(long, env = "KUBEHEALER_TLS_CERT_FILE", value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// The private key of --tls-cert-file
    #[arg(long, env = "KUBEHEALER_TLS_PRIVATE_KEY_FILE", value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Authorize requests with the API server: metrics, API and status page require a bearer token whose user is allowed to get the path
    #[arg(long, env = "KUBEHEALER_AUTHORIZATION", value_parser = clap::builder::FalseyValueParser::new())]
    authorization: bool,
    /// Log format; set the level with RUST_LOG, such as warn,kubehealer=debug
    #[arg(long, env = "KUBEHEALER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Read logs of crashed containers as evidence; needs permission to get pods/log
    #[arg(long, env = "KUBEHEALER_LOGS", value_parser = clap::builder::FalseyValueParser::new())]
    logs: bool,
    /// Do not read events
    #[arg(long, env = "KUBEHEALER_NO_EVENTS", value_parser = clap::builder::FalseyValueParser::new())]
    no_events: bool,
    /// Do not watch owners of pods: workloads are inferred from ownerReferences
    #[arg(long, env = "KUBEHEALER_NO_OWNERS", value_parser = clap::builder::FalseyValueParser::new())]
    no_owners: bool,
    /// Do not watch nodes
    #[arg(long, env = "KUBEHEALER_NO_NODES", value_parser = clap::builder::FalseyValueParser::new())]
    no_nodes: bool,
    /// Your own rules: a file, or a directory of files; can be repeated
    #[arg(long, env = "KUBEHEALER_RULES", value_delimiter = ',', value_name = "FILE|DIR")]
    rules: Vec<PathBuf>,
    /// Maximum number of series per metric; series above the limit are dropped and counted in kubehealer_series_dropped_total
    #[arg(long, env = "KUBEHEALER_MAX_SERIES", default_value_t = daemon::MAX_SERIES, value_name = "NUMBER")]
    max_series: usize,
    /// Labels of workloads or pods, separated by commas, that name their owner, such as team,app.kubernetes.io/part-of: they become
    /// labels of metrics and alerts, with _ for each character that a metric label may not contain
    #[arg(long, env = "KUBEHEALER_OWNER_LABELS", value_delimiter = ',', value_name = "KEYS")]
    owner_labels: Vec<String>,
    /// Name of the cluster if you have several: shown in log lines, API, status page and kubehealer_incident_info
    #[arg(long, env = "KUBEHEALER_CLUSTER_NAME", default_value = "", value_name = "NAME", value_parser = super::cluster_name)]
    cluster_name: String,
    /// URL at which people open Alertmanager, such as https://alertmanager.example.com: the status page links to it
    #[arg(long, env = "KUBEHEALER_ALERTMANAGER_URL", default_value = "", value_name = "URL", value_parser = web_address)]
    alertmanager_url: String,
    /// Only pods on this node, to run one KubeHealer per node
    #[arg(long, env = "KUBEHEALER_NODE", value_name = "NAME", conflicts_with = "unscheduled")]
    node: Option<String>,
    /// Only pods that have no node yet, to run beside one KubeHealer per node
    #[arg(long, env = "KUBEHEALER_UNSCHEDULED", value_parser = clap::builder::FalseyValueParser::new())]
    unscheduled: bool,
    /// The shard of pods to watch (by pod UID), counted from 0, such as 0/3
    #[arg(long, env = "KUBEHEALER_SHARD", value_name = "INDEX/COUNT", conflicts_with_all = ["shard_from_name", "shards"])]
    shard: Option<Share>,
    /// Take the index of the shard from the end of this name, such as a StatefulSet's pod name
    #[arg(long, env = "KUBEHEALER_SHARD_FROM_NAME", value_name = "NAME", requires = "shards")]
    shard_from_name: Option<String>,
    /// Number of shards
    #[arg(long, env = "KUBEHEALER_SHARDS", value_name = "COUNT", requires = "shard_from_name")]
    shards: Option<u32>,
    /// The context of the kubeconfig
    #[arg(long, env = "KUBEHEALER_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the pod's ServiceAccount]
    #[arg(long, env = "KUBEHEALER_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
    /// One JSON object per line, with OpenTelemetry's names: k8s.pod.name, severity_text
    OtelJson,
}

/// `INDEX/COUNT`.
#[derive(Clone, Copy, Debug)]
struct Share(Shard);

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let shard = parts.and_then(|(index, of)| Shard::new(index, of));
        shard.map(Self).ok_or_else(|| "write INDEX/COUNT, counted from 0, such as 0/3".to_owned())
    }
}

/// An address that a browser opens, or none.
fn web_address(text: &str) -> Result<String, String> {
    let is_web = |uri: http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    if text.is_empty() || text.parse().is_ok_and(is_web) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("write an address with http:// or https://".to_owned())
    }
}

impl Args {
    fn settings(self) -> Result<Settings, Trouble> {
        let shard = match (self.shard, &self.shard_from_name, self.shards) {
            (Some(Share(shard)), ..) => Some(shard),
            (None, Some(name), Some(of)) => Some(share_of(name, of)?),
            (None, ..) => None,
        };
        // Each namespace has its eight watches.
        let http1 = self.namespaces.len() > 10;
        let kubeconfig = self.kubeconfig.as_deref().map(|path| path.display().to_string());
        let flags = ClusterFlags::new(self.context.as_deref(), kubeconfig.as_deref());
        let target = Target::Find(Connect { kubeconfig: self.kubeconfig, context: self.context, http1 });
        let mut settings = Settings::new(target);
        settings.selection = Selection {
            namespaces: self.namespaces,
            labels: self.selector.map(|s| s.text).unwrap_or_default(),
            fields: self.field_selector.unwrap_or_default(),
            node: self.node,
            unscheduled: self.unscheduled,
            shard,
            stateful_set: set_of(self.shard_from_name.as_deref()),
        };
        settings.listen = self.listen;
        settings.probe_listen = self.probe_listen;
        settings.allowed_hosts = self.allowed_hosts;
        settings.tls =
            self.tls_cert_file.zip(self.tls_private_key_file).map(|(cert, key)| tls::Files { cert, key });
        settings.authorization = self.authorization;
        settings.events = !self.no_events;
        settings.owners = !self.no_owners;
        settings.nodes = !self.no_nodes;
        settings.logs = self.logs;
        settings.max_series = self.max_series;
        settings.owner_labels = super::owner_labels(&self.owner_labels)?;
        settings.cluster_name = self.cluster_name;
        settings.page.alertmanager_url = self.alertmanager_url;
        settings.page.flags = flags;
        settings.rules = Arc::new(super::rules::load(&self.rules)?);
        settings.rule_files = self.rules;
        Ok(settings)
    }
}

/// The number at the end of a StatefulSet's pod's name is its share.
fn share_of(name: &str, of: u32) -> Result<Shard, Trouble> {
    let index = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    index.and_then(|index| Shard::new(index, of)).ok_or_else(|| {
        Trouble::new(
            format_args!("--shard-from-name {name}: does not end in a number below --shards {of}"),
            "pass the name of a StatefulSet's pod, such as kubehealer-0, and the number of its replicas",
        )
    })
}

/// What its pod's name is without the number.
fn set_of(name: Option<&str>) -> String {
    name.and_then(|name| name.rsplit_once('-')).map(|(set, _)| set.to_owned()).unwrap_or_default()
}

pub(super) fn run(args: Args) -> Result<ExitCode, Trouble> {
    let log_format = args.log_format;
    let settings = args.settings()?;
    let format = match log_format {
        LogFormat::Text => logging::LogFormat::Text,
        LogFormat::Json => logging::LogFormat::Json,
        LogFormat::OtelJson => logging::LogFormat::OtelJson { cluster: settings.cluster_name.clone() },
    };
    logging::init(format, LevelFilter::INFO, BoxMakeWriter::new(std::io::stderr));
    super::blocking(daemon::run(settings))??;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_alertmanager_is_one_that_a_browser_opens() {
        assert_eq!(web_address("https://am.example.com/x/").as_deref(), Ok("https://am.example.com/x"));
        assert_eq!(web_address("").as_deref(), Ok(""));
        for bad in ["am.example.com", "/alerts", "javascript:alert(1)", "ftp://am", "https://a b"] {
            assert!(web_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_share_is_taken_from_the_end_of_a_name() {
        assert_eq!(share_of("kubehealer-2", 3).ok(), Shard::new(2, 3));
        for (name, of) in
            [("kubehealer-3", 3), ("kubehealer", 3), ("kubehealer-7d9f8b6c5-x2x", 3), ("kubehealer-0", 0)]
        {
            assert!(share_of(name, of).is_err(), "{name} of {of}");
        }
        assert!("0/3".parse::<Share>().is_ok());
        for bad in ["3/3", "0", "a/b", "-1/3", "0/0"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
