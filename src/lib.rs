//! KubeHealer tells the truth about failing containers.
//!
//! ```text
//! objects      what is read from Kubernetes: slim types, decoded leniently from JSON and protobuf
//! diagnosis    the analyzer, pure: (objects, events, logs, now) -> findings
//! rules        the user's own rules over pods and findings
//! incidents    findings over time: open, update, resolve; every termination counted once; problems
//! cluster      everything that touches a Kubernetes API: client, watch, logs, events
//! metrics      what Prometheus scrapes, written from the incidents at scrape time
//! server       /metrics, probes, API, status page
//! report       what `diagnose` prints
//! redact       text from a cluster made safe to show
//! runbooks     what to do about each reason, built in from docs/runbooks
//! files        what `diagnose -f` reads and `dump` writes
//! select       which pods are meant: names, kinds, namespaces, labels
//! wait         follows workloads until their outcome is certain
//! words        closed sets of words, for all of the above
//! cli          flags -> checked settings -> one call
//! daemon       puts the parts together
//! simulator    a simulated cluster, for the demo, the tests and the benchmarks
//! ```
//!
//! `objects`, `diagnosis`, `rules`, `incidents`, `report`, `redact`, `files` and `select` name no runtime, no client and no metrics
//! library, and read no clock: time comes in as a [`jiff::Timestamp`]. A test holds who may know whom.
#![allow(missing_docs, reason = "the libraries are kubehealer-core and kubehealer-rules")]

pub use kubehealer_core::{API_VERSION, diagnosis, objects, redact, runbooks};
pub use kubehealer_rules as rules;
pub use kubehealer_simulator as simulator;

pub mod cli;
pub mod cluster;
pub mod daemon;
pub mod files;
pub mod incidents;
pub mod metrics;
pub mod report;
pub mod select;
pub mod server;
pub mod wait;
