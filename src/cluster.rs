//! Everything that touches a Kubernetes API.
//!
//! `client` connects and says in words what is wrong; `watch` keeps up with one resource and hands every event to its sink;
//! `snapshot` looks once. Both read through kube's `Api` of `lean` objects, over a `transport` that speaks protobuf.
//! Must not know what is done with the objects, nor anything of metrics text or HTTP servers.

pub mod client;
pub mod clock;
mod connection;
mod envelope;
pub mod evidence;
mod health;
pub mod lean;
pub mod owners;
mod proxy;
pub mod review;
pub mod snapshot;
mod transport;
pub mod watch;
mod watching;

/// Directives to put behind the user's own log filter. On an answer that it cannot read, kube's client logs the whole body,
/// env values included; what fails is logged by this program's own messages, and not once for each try.
pub const FORCED_LOG_DIRECTIVES: &[&str] =
    &["kube_client::client=off", "kube_runtime=off", "rustls_platform_verifier=off"];
