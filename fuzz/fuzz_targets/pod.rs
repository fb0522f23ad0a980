//! Any JSON as a pod: one odd object must not block a list.
#![no_main]

use kubehealer_core::diagnosis::{Context, diagnose};
use kubehealer_core::objects::Pod;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(pod) = serde_json::from_slice::<Pod>(data) else { return };
    let now: jiff::Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
    let _ = diagnose(&pod, &Context::pod_only(), now);
});
