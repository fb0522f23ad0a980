//! Exit codes and signals in words. Conventions, not proof.

use super::cause::CauseCode;

/// The name of a signal, as an exit code of 128 plus its number encodes it. The kubelet never fills in `signal`.
pub fn signal(exit_code: i32) -> Option<&'static str> {
    Some(match exit_code.checked_sub(128)? {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// The code for a first line, with the name of the signal that it stands for: `exit code 139, SIGSEGV`.
pub fn label(exit_code: i32) -> String {
    match signal(exit_code) {
        Some(name) => format!("exit code {exit_code}, {name}"),
        None if exit_code < -1 => format!("exit code 0x{exit_code:X}"),
        None => format!("exit code {exit_code}"),
    }
}

/// What an end with this code and reason means: a code of the cause, in words.
pub fn meaning(exit_code: i32, reason: &str) -> (CauseCode, String) {
    use CauseCode as C;
    let known = |cause, words: &str| (cause, format!("exit code {exit_code} ({words})"));
    if reason == "seccomp killed" {
        return known(C::BadSystemCall, "killed by seccomp: a system call that its profile forbids");
    }
    if reason == "Unknown" && exit_code == 255 {
        return known(C::NodeRestarted, "containerd restarted, and the container was gone");
    }
    match exit_code {
        0 => known(C::CommandCompleted, "success"),
        1 | 2 => (C::ApplicationError, format!("exit code {exit_code}")),
        101 => known(C::ApplicationError, "as after a panic of a Rust program"),
        125 => known(C::RuntimeError, "as when docker run itself fails"),
        126 => known(C::CommandNotExecutable, "as when a command is found but cannot be executed"),
        127 => known(C::CommandNotFound, "as when a command or a shared library is not found"),
        128 if reason == "StartError" || reason == "ContainerCannotRun" => {
            known(C::RuntimeError, "the container could not be started")
        }
        129 => known(C::Signal, "SIGHUP"),
        130 => known(C::Signal, "SIGINT, as by Ctrl-C"),
        131 => known(C::Signal, "SIGQUIT"),
        136 => known(C::Signal, "SIGFPE, as after a division by zero"),
        141 => known(C::Signal, "SIGPIPE, as after a write to a closed pipe or socket"),
        132 => known(
            C::IllegalInstruction,
            "SIGILL, an illegal instruction: as on a CPU without the features that the program needs",
        ),
        134 => known(C::Aborted, "SIGABRT, as when a program aborts itself"),
        135 => known(C::BusError, "SIGBUS, as when /dev/shm or a mapped file has no room"),
        137 => known(C::Killed, "SIGKILL"),
        139 => known(C::SegmentationFault, "SIGSEGV, a segmentation fault, signal 11"),
        143 => known(C::Terminated, "SIGTERM"),
        159 => known(C::BadSystemCall, "SIGSYS, as for a system call that seccomp forbids"),
        255 => known(C::ApplicationError, "-1"),
        -1 => known(C::ApplicationError, "the runtime could not read the code"),
        // Windows: an NTSTATUS, which people know and search for in hexadecimal.
        ..-1 => {
            let status = format!("0x{exit_code:X}");
            let (code, words) = match status.as_str() {
                "0xC0000005" => (C::SegmentationFault, ", a Windows access violation"),
                "0xC000013A" => (C::Terminated, ", Ctrl-C on Windows"),
                "0xC0000135" => (C::LibraryNotFound, ", a DLL was not found"),
                "0xC0000139" => (C::LibraryNotFound, ", a DLL lacks an entry point"),
                "0xC0000142" => (C::ApplicationError, ", a DLL could not be initialized"),
                "0xC00000FD" => (C::Panic, ", a stack overflow"),
                "0xC0000409" => (C::Aborted, ", stopped by Windows for a fatal error (fail fast)"),
                "0xC000001D" => (C::IllegalInstruction, ", an illegal instruction"),
                "0xC0000017" => (C::ResourceExhausted, ", no memory left"),
                "0xE0434352" => (C::Panic, ", an unhandled .NET exception"),
                _ => (C::ApplicationError, ""),
            };
            known(code, &format!("{status}{words}"))
        }
        64..=78 => known(C::ApplicationError, sysexit(exit_code)),
        _ => match signal(exit_code) {
            Some(name) => (C::Signal, format!("exit code {exit_code} ({name})")),
            None => (C::ApplicationError, format!("exit code {exit_code}")),
        },
    }
}

fn sysexit(exit_code: i32) -> &'static str {
    match exit_code {
        64 => "by convention: wrong usage",
        65 => "by convention: wrong input data",
        66 => "by convention: an input file cannot be read",
        67 => "by convention: unknown user",
        68 => "by convention: unknown host",
        69 => "by convention: a service is unavailable",
        70 => "by convention: an internal error",
        71 => "by convention: an operating system error",
        72 => "by convention: a system file is missing",
        73 => "by convention: an output file cannot be created",
        74 => "by convention: an input or output error",
        75 => "by convention: a temporary failure",
        76 => "by convention: a protocol error",
        77 => "by convention: permission denied",
        _ => "by convention: a configuration error",
    }
}

/// Whether the runtime made this record up because it no longer knows the container: its code proves nothing.
/// 255 with `Unknown` is containerd after a restart of its own or of the node; the other two are the kubelet's.
pub fn is_made_up(reason: &str, exit_code: i32) -> bool {
    matches!(reason, "ContainerStatusUnknown" | "RestartingAllContainers")
        || (reason == "Unknown" && exit_code == 255)
}
