//! The `kubehealer` command.
fn main() {}
