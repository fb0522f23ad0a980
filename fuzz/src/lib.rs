//! The targets, over the libraries alone: `files` is the program's own module, linked in, since the whole program takes minutes to
//! build.

use kubehealer_core::{API_VERSION, diagnosis, objects, redact};

pub mod files;
pub mod seeds;
pub mod targets;

/// Runs a target.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = targets::TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    target(data);
}
