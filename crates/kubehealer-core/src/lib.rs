//! Why a Kubernetes pod fails, from its objects, events and logs.
//!
//! The analyzer of [KubeHealer](https://github.com/kubehealer/kubehealer) as a library: no I/O, no async, no clock. Time comes
//! in as a [`jiff::Timestamp`].
//!
//! ```text
//! objects      what is read from Kubernetes: slim types, decoded leniently from JSON and protobuf
//! diagnosis    the analyzer: (objects, events, logs, now) -> findings
//! redact       text from a cluster made safe to show
//! runbooks     what to do about each reason, built in from docs/runbooks
//! ```

#[macro_use]
mod words;

pub mod diagnosis;
pub mod objects;
pub mod redact;
pub mod runbooks;

/// The version of what is a contract: the JSON of `diagnose` and of the API, and rule files.
pub const API_VERSION: &str = "kubehealer.dev/v1alpha1";
