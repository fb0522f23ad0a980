//! Any JSON as an event.
#![no_main]

use kubehealer_core::objects::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
    let _ = (event.first_seen(), event.last_seen());
});
