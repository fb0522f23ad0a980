//! Any bytes as a log: what is said of it is short, whatever is in it.
#![no_main]

use kubehealer_core::diagnosis::logs::{LogTail, MAX_BYTES, MAX_LINES, classify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let tail = LogTail::from_bytes(data);
    assert!(tail.lines().len() <= MAX_LINES);
    assert!(tail.lines().iter().map(String::len).sum::<usize>() <= 4 * MAX_BYTES);
    for exit_code in [None, Some(1), Some(137)] {
        if let Some(verdict) = classify(&tail, exit_code) {
            assert!(verdict.text.len() <= 1024 && verdict.line.len() <= 1024);
        }
    }
});
