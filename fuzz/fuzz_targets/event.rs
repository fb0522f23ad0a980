#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubehealer_fuzz::run("event", data));
