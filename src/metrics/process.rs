//! The `process_*` metrics that every Prometheus client has, read from `/proc`. Where that is missing, so are they.
//!
//! The crate's own collector counts the CPU time in whole seconds, of which this program uses few.

use std::fs;

use prometheus::core::Collector;

use super::family::{Family, OnScrape, Part};

const CPU: Family =
    Family::counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", &[]);
const THREADS: Family = Family::gauge("process_threads", "Number of OS threads in the process.", &[]);
const START_TIME: Family = Family::gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
    &[],
);
const RESIDENT: Family =
    Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[]);
const VIRTUAL: Family = Family::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[]);
const OPEN_FDS: Family = Family::gauge("process_open_fds", "Number of open file descriptors.", &[]);
const MAX_FDS: Family = Family::gauge("process_max_fds", "Maximum number of open file descriptors.", &[]);

/// Linux tells user space of 100 ticks per second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// The collector of them.
pub fn collector() -> prometheus::Result<impl Collector> {
    OnScrape::new(&[&CPU, &THREADS, &START_TIME, &RESIDENT, &VIRTUAL, &OPEN_FDS, &MAX_FDS], read)
}

fn read() -> Vec<Part> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<f64>().ok());
    let boot = value_of("/proc/stat", "btime ");
    let kilobytes = |name| value_of("/proc/self/status", name).map(|kb| kb * 1024.0);
    let values = [
        (&CPU, field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS_PER_SECOND)),
        (&THREADS, field(20)),
        (&START_TIME, boot.zip(field(22)).map(|(boot, start)| boot + start / TICKS_PER_SECOND)),
        (&RESIDENT, kilobytes("VmRSS:")),
        (&VIRTUAL, kilobytes("VmSize:")),
        (&OPEN_FDS, fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64)),
        (&MAX_FDS, value_of("/proc/self/limits", "Max open files")),
    ];
    let part = |(family, value): (&'static Family, Option<f64>)| {
        let mut part = Part::new(family);
        part.add(&[], value?);
        Some(part)
    };
    values.into_iter().filter_map(part).collect()
}

/// The first number of the line that begins with this name; none if it is no number.
fn value_of(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
