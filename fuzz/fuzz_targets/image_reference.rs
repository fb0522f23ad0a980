//! Any text as an image, with any text as what its pull came to.
#![no_main]

use kubehealer_core::diagnosis::image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (name, message) = text.split_once('\n').unwrap_or((&text, "not found"));
    let _ = image::registry_of(name);
    let _ = image::classify(name, "node-a", message);
});
