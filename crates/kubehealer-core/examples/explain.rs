//! Says why the pods of a `kubectl get pods,events -o json` fail.
//!
//! ```text
//! kubectl get pods,events -A -o json | cargo run -p kubehealer-core --example explain
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::io::{Read as _, Write as _};

use jiff::Timestamp;
use kubehealer_core::diagnosis::{Snapshot, survey};
use kubehealer_core::objects::{Event, from_object};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let list: Value = serde_json::from_str(&text)?;
    let mut snapshot = Snapshot::default();
    for item in list["items"].as_array().ok_or("this is no list of Kubernetes objects")? {
        match item["kind"].as_str() {
            Some("Pod") => snapshot.pods.push(from_object(item)?),
            Some("Event") => snapshot.events.push(from_object::<Event>(item)?.into()),
            _ => {}
        }
    }
    snapshot.sources.events = true;
    let mut out = std::io::stdout().lock();
    for finding in survey(&snapshot, Timestamp::now()).findings {
        writeln!(
            out,
            "{} {}/{}: {}",
            finding.reason.as_str(),
            finding.namespace,
            finding.pod,
            finding.summary
        )?;
    }
    Ok(())
}
