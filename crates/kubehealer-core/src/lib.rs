//! Why a Kubernetes pod fails, from its objects, events and logs.
//!
//! The analyzer of [KubeHealer](https://github.com/kubehealer/kubehealer) as a library: no I/O, no async, no clock. Time comes
//! in as a [`jiff::Timestamp`].
//!
//! ```
//! use jiff::Timestamp;
//! use kubehealer_core::diagnosis::{Context, diagnose};
//! use kubehealer_core::objects::{Pod, from_object};
//!
//! // From JSON; an object of `k8s_openapi` goes the same way.
//! let pod: Pod = from_object(&serde_json::json!({
//!     "metadata": {"name": "cart-0", "namespace": "shop", "uid": "1"},
//!     "spec": {"containers": [{"name": "cart", "image": "registry.example.com/cart:1"}]},
//!     "status": {"phase": "Pending", "containerStatuses": [{"name": "cart", "state": {"waiting":
//!         {"reason": "InvalidImageName", "message": "couldn't parse image name"}}}]},
//! }))?;
//! let now: Timestamp = "2026-11-30T10:00:00Z".parse()?;
//! let diagnosis = diagnose(&pod, &Context::pod_only(), now);
//! assert_eq!(diagnosis.findings[0].reason.as_str(), "InvalidImageName");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For many pods with their events, nodes, owners and logs there is [`diagnosis::survey`].
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
