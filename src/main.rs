//! The `kubehealer` command.

fn main() -> std::process::ExitCode {
    kubehealer::cli::main()
}
