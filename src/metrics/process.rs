//! The `process_*` metrics that every Prometheus client has, read from `/proc`. Where that is missing, so are they.

use std::fs;

use super::text::{Kind, single};

/// Linux tells user space of 100 ticks per second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes them.
pub fn write(out: &mut String) {
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<f64>().ok());
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            let seconds = (user + system) / TICKS_PER_SECOND;
            single(
                out,
                "process_cpu_seconds_total",
                Kind::Counter,
                "Total user and system CPU time spent in seconds.",
                seconds,
            );
        }
        if let Some(threads) = field(20) {
            single(out, "process_threads", Kind::Gauge, "Number of OS threads in the process.", threads);
        }
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| {
            stat.lines().find_map(|l| l.strip_prefix("btime ")).and_then(|t| t.trim().parse::<f64>().ok())
        });
        if let (Some(boot), Some(start)) = (boot, field(22)) {
            let help = "Start time of the process since unix epoch in seconds.";
            single(out, "process_start_time_seconds", Kind::Gauge, help, boot + start / TICKS_PER_SECOND);
        }
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        if let Some(kb) = kilobytes("VmRSS:") {
            single(
                out,
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Resident memory size in bytes.",
                kb * 1024,
            );
        }
        if let Some(kb) = kilobytes("VmSize:") {
            single(
                out,
                "process_virtual_memory_bytes",
                Kind::Gauge,
                "Virtual memory size in bytes.",
                kb * 1024,
            );
        }
    }
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        single(out, "process_open_fds", Kind::Gauge, "Number of open file descriptors.", fds.count());
    }
    if let Ok(limits) = fs::read_to_string("/proc/self/limits") {
        let soft = limits
            .lines()
            .find_map(|l| l.strip_prefix("Max open files"))
            .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(soft) = soft {
            single(out, "process_max_fds", Kind::Gauge, "Maximum number of open file descriptors.", soft);
        }
    }
}
