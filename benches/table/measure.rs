//! What the operating system says of this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// CPU time of all threads that live, to the nanosecond.
pub fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// CPU time of all threads, those that are over as well, to a hundredth of a second: blocking work comes and goes with its thread.
pub fn cpu_of_all() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program comes first, in brackets.
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Anonymous resident memory, bytes.
pub fn anonymous() -> u64 {
    status("RssAnon:")
}

/// Resident memory with the program's text, bytes.
pub fn resident() -> u64 {
    status("VmRSS:")
}

/// The most that ever was resident, bytes.
pub fn peak() -> u64 {
    status("VmHWM:")
}

/// Nanoseconds since 1970: the same clock in all processes.
pub fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}
