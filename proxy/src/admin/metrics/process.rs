//! What any process tells of itself, by the names that Prometheus' clients share.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Page, as_f64};

/// Leaves out what this host does not tell.
pub(super) fn encode(page: &mut Page<'_>) -> fmt::Result {
    if let Some(files) = open_files() {
        page.gauge(("process_open_fds", "Open files"), None, as_f64(files))?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        let about = ("process_max_fds", "Files that may be open");
        page.gauge(about, None, as_f64(limit))?;
    }
    if let Some(bytes) = resident() {
        let about = ("process_resident_memory", "Memory in use");
        page.gauge(about, Some(&Unit::Bytes), as_f64(bytes))?;
    }
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = u64::try_from(cpu.tv_nsec).unwrap_or(0);
    let seconds = as_f64(u64::try_from(cpu.tv_sec).unwrap_or(0)) + as_f64(nanos) / 1e9;
    let about = ("process_cpu", "Processor time used");
    page.family(about, Some(&Unit::Seconds), MetricType::Counter, |metric| {
        metric.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
    })
}

fn open_files() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    // Reading the folder opens it.
    u64::try_from(files.count().saturating_sub(1)).ok()
}

fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(pages.saturating_mul(page))
}
