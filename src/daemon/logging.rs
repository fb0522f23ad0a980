//! How the log lines of the daemon are written: for people, for somebody who looks on at the demo, as JSON, or as JSON in the names of OpenTelemetry's semantic
//! conventions, for pipelines that join logs by them.

use std::collections::BTreeMap;
use std::fmt;

use anstyle::AnsiColor;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cluster::FORCED_LOG_DIRECTIVES;
use crate::redact::clean;
use crate::report::wrap;

/// How log lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For somebody who looks on: each incident in one short line.
    Brief,
    /// One JSON object a line.
    Json,
    /// One JSON object a line: OpenTelemetry's log record, with `k8s.pod.name` and the like as attributes.
    OtelJson {
        /// `k8s.cluster.name` of each line, whatever it is about; empty if the cluster has no name.
        cluster: String,
    },
}

/// Begins to write log lines, as `RUST_LOG` says (from `least` on if it says nothing). What must never be logged stays off
/// whatever it says. Does nothing if the process logs already.
pub fn init(format: LogFormat, least: LevelFilter, writer: BoxMakeWriter) {
    let usual = EnvFilter::builder().with_default_directive(least.into());
    let (mut filter, wrong) = match usual.from_env() {
        Ok(filter) => (filter, None),
        Err(error) => (usual.parse_lossy(""), Some(error)),
    };
    for directive in FORCED_LOG_DIRECTIVES {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    // An error means that somebody else has set this up, which is as good.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(colour).with_target(false).try_init(),
        LogFormat::Brief => lines.with_ansi(colour).event_format(Brief { columns }).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::OtelJson { cluster } => lines.event_format(OtelJson::of(&cluster)).try_init(),
    };
    if let Some(error) = wrong {
        let example = "warn,kubehealer=debug";
        tracing::warn!(%error, using = %least, example, "invalid RUST_LOG");
    }
}

/// A log record as OpenTelemetry's data model has it, one a line.
pub struct OtelJson {
    /// Who writes it: attributes that all lines have.
    resource: Value,
}

impl OtelJson {
    fn of(cluster: &str) -> Self {
        let mut resource =
            json!({"service.name": "kubehealer", "service.version": env!("CARGO_PKG_VERSION")});
        if !cluster.is_empty() {
            resource["k8s.cluster.name"] = cluster.into();
        }
        Self { resource }
    }
}

#[allow(clippy::disallowed_methods, reason = "the time of the line itself")]
impl<S, N> FormatEvent<S, N> for OtelJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut record = Record::default();
        event.record(&mut record);
        let level = *event.metadata().level();
        let line = json!({
            "timestamp": jiff::Timestamp::now().to_string(),
            "severity_text": level.as_str(),
            "severity_number": severity_number(level),
            "body": record.body,
            "attributes": record.attributes,
            "resource": self.resource,
            "scope": {"name": event.metadata().target()},
        });
        writeln!(writer, "{line}")
    }
}

/// Columns of the terminal that stderr is.
fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(usize::MAX, |(columns, _)| columns.0.into())
}

/// The time, what has happened to which object, its reason and the sentence.
struct Brief {
    /// Longer lines are broken between words.
    columns: fn() -> usize,
}

/// Columns of the time and of what has happened.
const HEAD: usize = 18;

#[allow(clippy::disallowed_methods, reason = "the time of the line itself")]
impl<S, N> FormatEvent<S, N> for Brief
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut words = Words::default();
        event.record(&mut words);
        let level = *event.metadata().level();
        let colour = if level > Level::WARN { AnsiColor::Green } else { AnsiColor::Yellow }.on_default();
        let (on, off) = match writer.has_ansi_escapes() {
            true => (colour.render().to_string(), colour.render_reset().to_string()),
            false => (String::new(), String::new()),
        };
        let time = jiff::Timestamp::now().strftime("%H:%M:%S");
        let sentence = wrap(&clean(&words.sentence()), (self.columns)().saturating_sub(HEAD));
        let sentence = sentence.join(&format!("\n{:HEAD$}", ""));
        writeln!(writer, "{time} {on}{:<8}{off} {sentence}", clean(words.what(level)))
    }
}

/// The fields of an event, as texts.
#[derive(Default)]
struct Words(BTreeMap<&'static str, String>);

impl Words {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// What has happened to an incident, else the level.
    fn what(&self, level: Level) -> &str {
        match self.get("event") {
            "" => level.as_str(),
            event => event,
        }
    }

    fn sentence(&self) -> String {
        let message = self.get("message");
        if self.get("incident").is_empty() {
            let others = self.0.iter().filter(|(name, _)| **name != "message");
            return others.fold(message.to_owned(), |line, (name, value)| format!("{line} {name}={value}"));
        }
        let (namespace, container) = (self.get("namespace"), self.get("container"));
        let subject = match (self.get("pod"), self.get("workload"), container) {
            ("", "", _) => format!("node/{}", self.get("node")),
            ("", workload, _) => format!("{namespace}/{workload}"),
            (pod, _, "") => format!("{namespace}/{pod}"),
            (pod, ..) => format!("{namespace}/{pod}[{container}]"),
        };
        // The subject names the container already.
        let text = message.strip_prefix(&format!("container {container}: ")).unwrap_or(message);
        format!("{subject} {}: {text}", self.get("reason"))
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// The first number of the range that the data model gives each severity.
fn severity_number(level: Level) -> u8 {
    match level {
        Level::TRACE => 1,
        Level::DEBUG => 5,
        Level::INFO => 9,
        Level::WARN => 13,
        Level::ERROR => 17,
    }
}

#[derive(Default)]
struct Record {
    body: String,
    attributes: Map<String, Value>,
}

impl Record {
    fn put(&mut self, field: &Field, value: Value) {
        let text = value.as_str();
        let name = match (field.name(), text.and_then(|text| text.split_once('/'))) {
            ("message", _) => {
                self.body = text.unwrap_or_default().to_owned();
                return;
            }
            ("workload", Some((kind, name))) => {
                let kind = kind.to_lowercase();
                // The conventions have no other kinds.
                if matches!(
                    kind.as_str(),
                    "deployment" | "statefulset" | "daemonset" | "replicaset" | "job" | "cronjob"
                ) {
                    self.attributes.insert(format!("k8s.{kind}.name"), name.into());
                }
                "kubehealer.workload".to_owned()
            }
            ("event", _) => {
                let event = format!("kubehealer.incident.{}", text.unwrap_or_default());
                self.attributes.insert("event.name".to_owned(), event.into());
                return;
            }
            (name @ ("namespace" | "pod" | "container" | "node" | "cluster"), _) => {
                format!("k8s.{name}.name")
            }
            (name, _) => format!("kubehealer.{name}"),
        };
        self.attributes.insert(name, value);
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_incident_is_one_short_line_for_somebody_who_looks_on() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Brief { columns: || 60 })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                event = "opened",
                incident = %"46d4b72a79b60b32",
                reason = "ImagePullBackOff",
                namespace = "payments",
                pod = "api-1",
                container = Some("api"),
                workload = "Deployment/api",
                "container api: image not found: api:4.9.9\u{1b}[2J"
            );
            tracing::info!(count = 3, "end of the recording");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.get("12:00:00 ".len()..)).collect();
        let opened =
            ["opened   payments/api-1[api] ImagePullBackOff:", "         image not found: api:4.9.9"];
        assert_eq!(lines, [opened[0], opened[1], "INFO     end of the recording count=3"]);
    }

    #[test]
    fn a_line_has_the_names_of_the_semantic_conventions() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(OtelJson::of("eu-1"))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                event = "opened",
                namespace = "shop",
                pod = "cart-1",
                container = Some("app"),
                node = None::<&str>,
                workload = "Deployment/cart",
                reason = "OOMKilled",
                "killed: \"memory\"\u{1b}"
            );
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["body"], "killed: \"memory\"\u{1b}");
        assert_eq!(
            (line["severity_text"].as_str(), line["severity_number"].as_u64()),
            (Some("WARN"), Some(13))
        );
        assert!(line["timestamp"].as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()));
        let attributes = json!({
            "event.name": "kubehealer.incident.opened", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1",
            "k8s.container.name": "app", "k8s.deployment.name": "cart", "kubehealer.workload": "Deployment/cart",
            "kubehealer.reason": "OOMKilled",
        });
        assert_eq!(line["attributes"], attributes);
        assert_eq!(line["resource"]["k8s.cluster.name"], "eu-1");
    }
}
