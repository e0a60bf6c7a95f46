//! What a run of requests found.

use serde::{Deserialize, Serialize};

/// One run of one service at one load under one driver: a row of `summary.csv`
/// of a scenario of requests. What a driver cannot know is `None` and an empty
/// cell, never zero.
///
/// Counted are the requests that were due after the warm-up; what was served
/// counts for the goodput by when it was served, so that neither the queue of the
/// warm-up nor the one that is left over changes it.
#[expect(
    missing_docs,
    reason = "a column whose name and unit say it all has no more to say"
)]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    pub scenario: String,
    pub driver: String,
    pub service: String,
    /// In multiples of the capacity.
    pub load: f64,
    pub repetition: u32,
    pub seed: u64,
    /// Without the warm-up.
    pub duration_s: f64,
    pub workers: u64,
    pub queue: u64,
    /// Workers over mean service time.
    pub capacity_rps: f64,
    pub offered_requests: u64,
    pub offered_rps: f64,
    pub good_requests: u64,
    pub goodput_rps: f64,
    pub goodput_of_capacity: f64,
    /// Against the best load of the same driver, service and repetition.
    pub goodput_of_peak: Option<f64>,
    pub queue_full_requests: u64,
    pub queue_timeout_requests: u64,
    pub request_timeout_requests: u64,
    pub failed_requests: u64,
    /// Of those offered, the ones that were not served.
    pub rejected_ratio: f64,
    /// Of those that a worker began with, the ones that waited for it.
    pub waited_ratio: Option<f64>,
    /// From when a request was due to when a worker began with it.
    pub queue_delay_mean_us: Option<f64>,
    pub queue_delay_p50_us: Option<f64>,
    pub queue_delay_p90_us: Option<f64>,
    pub queue_delay_p99_us: Option<f64>,
    pub queue_delay_p999_us: Option<f64>,
    pub queue_delay_max_us: Option<f64>,
    /// From when a request was due to when it was served.
    pub response_mean_us: Option<f64>,
    pub response_p50_us: Option<f64>,
    pub response_p90_us: Option<f64>,
    pub response_p99_us: Option<f64>,
    pub response_p999_us: Option<f64>,
    pub response_max_us: Option<f64>,
    /// Real drivers: by how much requests were sent after they were due.
    pub sender_late_p99_us: Option<f64>,
    pub sender_late_max_us: Option<f64>,
    /// Real drivers: CPU time of the service for each request offered.
    pub cpu_us_per_request: Option<f64>,
    /// The formula behind the columns that follow; empty where none applies.
    pub theory: String,
    pub theory_goodput_rps: Option<f64>,
    pub theory_rejected_ratio: Option<f64>,
    pub theory_waited_ratio: Option<f64>,
    pub theory_queue_delay_mean_us: Option<f64>,
    pub theory_queue_delay_p50_us: Option<f64>,
    pub theory_queue_delay_p99_us: Option<f64>,
}

impl RequestRow {
    /// The share that so many requests are of those offered; `None` if none were.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn share(&self, requests: u64) -> Option<f64> {
        (self.offered_requests > 0).then(|| requests as f64 / self.offered_requests as f64)
    }
}
