//! What the service counts, and the line in which it says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

/// Of so many requests the mean time is told, as the seed does.
const RECENT: usize = 1_000;

/// The type of error of those who did not wait for their answer.
pub(super) const CLIENT_GONE: &str = "client_gone";

/// Counts of one service since it started.
#[derive(Debug)]
pub(crate) struct Statistics {
    since: Instant,
    requests: AtomicU64,
    success: AtomicU64,
    errors: AtomicU64,
    timeouts: AtomicU64,
    rejected: AtomicU64,
    connections: AtomicU64,
    active: AtomicU64,
    busy: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    times: VecDeque<Duration>,
    error_types: BTreeMap<&'static str, u64>,
    /// Requests as of the last report, and when that was.
    reported: Option<(u64, Instant)>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The target has answered, whatever it says.
    Success,
    /// The request or the target is at fault.
    Error(&'static str),
    /// It took too long, in the queue or at its worker.
    Timeout(&'static str),
    /// There was no room for it.
    Rejected(&'static str),
}

/// The seed's 14 figures at one instant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) uptime_seconds: f64,
    /// Whole requests, finished.
    pub(crate) total_requests: u64,
    pub(crate) total_success: u64,
    pub(crate) total_errors: u64,
    pub(crate) total_timeout: u64,
    /// Requests, and connections beyond their limit.
    pub(crate) total_rejected: u64,
    pub(crate) total_connections: u64,
    pub(crate) active_connections: u64,
    /// Those of them without a request under way.
    pub(crate) idle_connections: u64,
    pub(crate) active_workers: usize,
    pub(crate) queue_size: usize,
    /// Since the report before this one.
    pub(crate) requests_per_second: f64,
    /// Of the last 1,000.
    pub(crate) avg_request_time_ms: f64,
    pub(crate) error_types: BTreeMap<&'static str, u64>,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Statistics>);

/// One request under way.
#[derive(Debug)]
pub(crate) struct Busy {
    statistics: Arc<Statistics>,
    since: Instant,
    outcome: Outcome,
}

impl Statistics {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            requests: AtomicU64::new(0),
            success: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            active: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            recent: Mutex::default(),
        }
    }

    /// Counts a connection, until the guard is dropped.
    pub(crate) fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Counts a request, when the guard is dropped: as one whose client has gone
    /// unless the guard is told better.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy {
            statistics: Arc::clone(self),
            since: Instant::now(),
            outcome: Outcome::Error(CLIENT_GONE),
        }
    }

    /// A connection for which there is no place.
    pub(crate) fn connection_refused(&self) {
        self.count(Outcome::Rejected("connection_limit"));
    }

    fn count(&self, outcome: Outcome) {
        let (counter, kind) = match outcome {
            Outcome::Success => (&self.success, None),
            Outcome::Error(kind) => (&self.errors, Some(kind)),
            Outcome::Timeout(kind) => (&self.timeouts, Some(kind)),
            Outcome::Rejected(kind) => (&self.rejected, Some(kind)),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(kind) = kind {
            *self.recent.lock().error_types.entry(kind).or_default() += 1;
        }
    }

    /// The figures now, from which the next rate counts.
    pub(crate) fn report(&self, active_workers: usize, queue_size: usize) -> Report {
        let report = self.figures(active_workers, queue_size);
        self.recent.lock().reported = Some((report.total_requests, Instant::now()));
        report
    }

    /// The figures now; the rate is that since the last report.
    pub(crate) fn figures(&self, active_workers: usize, queue_size: usize) -> Report {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (now, requests) = (Instant::now(), load(&self.requests));
        let (active, busy) = (load(&self.active), load(&self.busy));
        let recent = self.recent.lock();
        let (before, then) = recent.reported.unwrap_or((0, self.since));
        let window = now.duration_since(then).as_secs_f64().max(f64::EPSILON);
        let mean = match u32::try_from(recent.times.len()) {
            Ok(count @ 1..) => recent.times.iter().sum::<Duration>() / count,
            _ => Duration::ZERO,
        };
        Report {
            uptime_seconds: self.since.elapsed().as_secs_f64(),
            total_requests: requests,
            total_success: load(&self.success),
            total_errors: load(&self.errors),
            total_timeout: load(&self.timeouts),
            total_rejected: load(&self.rejected),
            total_connections: load(&self.connections),
            active_connections: active,
            idle_connections: active.saturating_sub(busy),
            active_workers,
            queue_size,
            requests_per_second: to_f64(requests.saturating_sub(before)) / window,
            avg_request_time_ms: mean.as_secs_f64() * 1e3,
            error_types: recent.error_types.clone(),
        }
    }
}

impl Report {
    /// One event with the seed's keys.
    pub(crate) fn log(&self) {
        let error_types = serde_json::to_string(&self.error_types).unwrap_or_default();
        tracing::info!(
            uptime_seconds = self.uptime_seconds,
            total_requests = self.total_requests,
            total_success = self.total_success,
            total_errors = self.total_errors,
            total_timeout = self.total_timeout,
            total_rejected = self.total_rejected,
            total_connections = self.total_connections,
            active_connections = self.active_connections,
            idle_connections = self.idle_connections,
            active_workers = self.active_workers,
            queue_size = self.queue_size,
            requests_per_second = self.requests_per_second,
            avg_request_time_ms = self.avg_request_time_ms,
            error_types,
            "statistics"
        );
    }
}

impl Busy {
    /// What has become of the request.
    pub(crate) fn ends(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let statistics = &self.statistics;
        statistics.busy.fetch_sub(1, Ordering::Relaxed);
        statistics.requests.fetch_add(1, Ordering::Relaxed);
        statistics.count(self.outcome);
        let mut recent = statistics.recent.lock();
        if recent.times.len() == RECENT {
            recent.times.pop_front();
        }
        recent.times.push_back(self.since.elapsed());
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, 53 bits suffice"
)]
pub(crate) const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn figures_are_those_of_this_moment() {
        let statistics = Arc::new(Statistics::new());
        let idle = statistics.connected();
        let working = statistics.connected();
        let mut done = statistics.busy();
        done.ends(Outcome::Success);
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(done);
        let mut late = statistics.busy();
        late.ends(Outcome::Timeout("request_timeout"));
        drop(late);
        statistics.connection_refused();
        let under_way = statistics.busy();
        let report = statistics.report(1, 0);
        assert_eq!((report.total_requests, report.total_success), (2, 1));
        assert_eq!((report.total_timeout, report.total_rejected), (1, 1));
        assert_eq!((report.active_connections, report.idle_connections), (2, 1));
        assert_eq!(report.error_types["request_timeout"], 1);
        assert!((report.requests_per_second - 1.0).abs() < 1e-9);
        assert!((report.avg_request_time_ms - 1_000.0).abs() < 1e-9);
        drop((under_way, idle, working));
        tokio::time::advance(Duration::from_secs(1)).await;
        let report = statistics.report(0, 0);
        assert!(
            (report.requests_per_second - 1.0).abs() < 1e-9,
            "since then"
        );
        assert_eq!((report.active_connections, report.total_errors), (0, 1));
        let keys = serde_json::to_value(&report).unwrap();
        assert_eq!(keys.as_object().unwrap().len(), 14);
    }
}
