//! Any text as an error message.
#![no_main]

use kubehealer_core::diagnosis::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = Message::read(&String::from_utf8_lossy(data));
    let shown = (message.cause(), message.detail(), message.others(), message.object(), message.host());
    assert!(shown.0.chars().count() <= 8192 && shown.1.chars().count() <= 8192);
    let _ = (message.innermost(), message.operation(), message.peer(), message.lookup());
});
