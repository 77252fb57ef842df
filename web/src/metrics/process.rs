//! This process, as Linux sees it, under the names that all of Prometheus' clients have. Elsewhere there is nothing.

use nix::sys::resource::{Resource, getrlimit};

use super::text::Text;

/// Ticks in a second, in everything that Linux tells programs, whatever it counts in itself.
const TICKS: f64 = 100.0;

/// Writes what can be found out.
pub(super) fn write(text: &mut Text) {
    // Of `/proc/self/stat` what comes behind the name, which may hold anything: the state is the first.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let seconds = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).map(|all| all / TICKS);
    if let (Some(user), Some(kernel)) = (seconds(11), seconds(12)) {
        text.counter("process_cpu_seconds_total", "Time of processors that was used, seconds.", user + kernel);
    }
    if let (Some(since_boot), Some(boot)) = (seconds(19), number_in("/proc/stat", "btime")) {
        let about = "When the process was started, seconds since 1970.";
        text.gauge("process_start_time_seconds", about, boot + since_boot);
    }
    if let Some(bytes) = memory_bytes() {
        text.gauge("process_resident_memory_bytes", "What of the process is in memory.", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open files.", open.count());
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        text.gauge("process_max_fds", "Open files that are allowed.", soft);
    }
}

/// What of the process is in memory, bytes.
pub(super) fn memory_bytes() -> Option<u64> {
    number_in("/proc/self/status", "VmRSS:").map(|kib| kib as u64 * 1024)
}

/// The first number of the line that begins with that word.
fn number_in(file: &str, word: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}
