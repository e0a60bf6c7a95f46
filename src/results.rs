//! What a set of runs found: plain rows, in the form in which they are saved.
//!
//! The report draws from these rows and from nothing else, so that a folder of
//! CSV files can be drawn again without running anything.

mod requests;

use serde::{Deserialize, Serialize};

pub use requests::RequestRow;

/// One run of one algorithm under one driver: a row of `summary.csv`, and with
/// `user` filled in a row of `users.csv`. What a driver cannot know is `None`
/// and an empty cell, never zero.
///
/// Rows of a whole run with several users add up bytes and rates, merge delays,
/// and take the worst user for overshoot, windows and settling.
#[expect(
    missing_docs,
    reason = "a column whose name and unit say it all has no more to say"
)]
#[expect(
    non_snake_case,
    reason = "field names are the column names, and B/s is written Bps there"
)]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    // The columns that SPEC.md fixes, in its order.
    pub scenario: String,
    pub driver: String,
    pub algorithm: String,
    pub repetition: u32,
    pub seed: u64,
    pub duration_s: f64,
    pub rate_Bps: Option<f64>,
    pub burst_bytes: Option<f64>,
    pub offered_bytes: u64,
    pub delivered_bytes: u64,
    pub dropped_bytes: u64,
    pub throughput_Bps: f64,
    pub utilisation: Option<f64>,
    pub overshoot_bytes: Option<f64>,
    pub overshoot_excess_bytes: Option<f64>,
    pub window_10ms_ratio: Option<f64>,
    pub window_100ms_ratio: Option<f64>,
    pub window_1s_ratio: Option<f64>,
    pub window_10s_ratio: Option<f64>,
    pub second_min_Bps: Option<f64>,
    pub second_mean_Bps: Option<f64>,
    pub second_max_Bps: Option<f64>,
    pub jitter_rfc3550_us: Option<f64>,
    pub pdv_p99_us: Option<f64>,
    pub gap_cov: Option<f64>,
    pub delay_p50_us: Option<f64>,
    pub delay_p90_us: Option<f64>,
    pub delay_p99_us: Option<f64>,
    pub delay_p999_us: Option<f64>,
    pub delay_max_us: Option<f64>,
    pub loss_ratio: Option<f64>,
    pub jain: Option<f64>,
    // More, to the right.
    /// Empty in `summary.csv`.
    pub user: String,
    /// `police`, `shape` or `stream`.
    pub mode: String,
    /// The policy in the text form that `replay --limiter` takes.
    pub limiter: String,
    pub offered_packets: u64,
    pub delivered_packets: u64,
    pub dropped_packets: u64,
    pub dropped_police_packets: u64,
    pub dropped_police_bytes: u64,
    pub dropped_queue_packets: u64,
    pub dropped_queue_bytes: u64,
    pub dropped_oversize_packets: u64,
    pub dropped_oversize_bytes: u64,
    pub longest_loss_run_packets: u64,
    /// Delivered over what an ideal (r, b) shaper passes of the same arrivals.
    pub efficiency: Option<f64>,
    /// Where the overshoot peaked.
    pub overshoot_at_s: Option<f64>,
    pub window_10ms_excess_bytes: Option<f64>,
    pub window_100ms_excess_bytes: Option<f64>,
    pub window_1s_excess_bytes: Option<f64>,
    pub window_10s_excess_bytes: Option<f64>,
    /// Mean rate from the instant the first `burst` bytes had passed to the last delivery.
    pub steady_Bps: Option<f64>,
    /// `steady_Bps` against the reference rate: (x - r) / r.
    pub steady_error: Option<f64>,
    /// The last value in the integer arithmetic of RFC 3550, A.8.
    pub jitter_rfc3550_integer_ns: Option<u64>,
    /// Largest smoothed value, and mean of it, beside the last one above.
    pub jitter_rfc3550_mean_us: Option<f64>,
    pub jitter_rfc3550_max_us: Option<f64>,
    pub pdv_p50_us: Option<f64>,
    pub pdv_p95_us: Option<f64>,
    pub pdv_p999_us: Option<f64>,
    pub ipdv_p99_us: Option<f64>,
    pub delay_mean_us: Option<f64>,
    pub gap_mean_us: Option<f64>,
    pub gap_sd_us: Option<f64>,
    pub gap_p50_us: Option<f64>,
    pub gap_p90_us: Option<f64>,
    pub gap_p99_us: Option<f64>,
    pub gap_p999_us: Option<f64>,
    pub gap_max_us: Option<f64>,
    /// RFC 7640 trains, sent and received.
    pub burst_sent_mean_bytes: Option<f64>,
    pub burst_sent_max_bytes: Option<f64>,
    pub burst_received_mean_bytes: Option<f64>,
    pub burst_received_max_bytes: Option<f64>,
    pub burst_interval_mean_us: Option<f64>,
    /// Jain's index over the connections of a user (worst user).
    pub jain_connections: Option<f64>,
    /// Least Jain's index over the connections in any whole second in which at
    /// least 90 % of the limit were used; empty where an equal share of a second
    /// is less than the largest piece.
    pub jain_connections_min_1s: Option<f64>,
    /// After the last change of rate or load.
    pub settling_ms: Option<f64>,
    /// Departure minus the ideal (r, b) shaper's of the same packet, late ones.
    pub late_p50_us: Option<f64>,
    pub late_p99_us: Option<f64>,
    pub late_max_us: Option<f64>,
    /// The same, early ones: by how much at most, and which share of packets.
    pub early_max_us: Option<f64>,
    pub early_ratio: Option<f64>,
    /// Bytes of limiter state a user costs.
    pub state_bytes: Option<u64>,
    /// By how much the algorithm's own bound (SPEC, "Bounds") was exceeded; 0 when it held.
    pub bound_excess_bytes: Option<f64>,
    /// Real drivers: how late the sender was against its schedule.
    pub sender_late_p50_us: Option<f64>,
    pub sender_late_p99_us: Option<f64>,
    pub sender_late_max_us: Option<f64>,
    /// Real drivers: CPU seconds of the limiter's process per 10^9 bytes delivered.
    pub cpu_s_per_GB: Option<f64>,
    /// What theory bounds the delay by (largest over users), and by how much the longest was
    /// beyond its own; empty where nothing is promised.
    pub delay_bound_us: Option<f64>,
    pub delay_beyond_us: Option<f64>,
    /// The same of the bytes that waited.
    pub backlog_max_bytes: Option<f64>,
    pub backlog_bound_bytes: Option<f64>,
    pub backlog_beyond_bytes: Option<f64>,
    /// Driver `external`: resident bytes of the server's processes at the end of the run.
    pub memory_bytes: Option<u64>,
    /// Real drivers: what the same set-up shows without a limiter, sending at the reference
    /// rate. Beyond one packet.
    pub setup_overshoot_bytes: Option<f64>,
    /// RFC 3550, as `jitter_rfc3550_us`.
    pub setup_jitter_us: Option<f64>,
    pub setup_delay_p99_us: Option<f64>,
    pub setup_late_p99_us: Option<f64>,
    /// Round trips of a simulated TCP, with what its segments waited.
    pub rtt_p50_us: Option<f64>,
    pub rtt_p99_us: Option<f64>,
    /// What the algorithm's own bound is about: the bytes that came nearest to it, or furthest
    /// beyond (of a window: within one), and what the bound allows.
    pub burst_measured_bytes: Option<f64>,
    pub burst_bound_bytes: Option<f64>,
    /// Real drivers: what the longest delay of the set-up without a limiter was.
    pub setup_delay_max_us: Option<f64>,
    /// The least and the greatest whole second but the first, in which a bucket empties and TCP
    /// finds its pace.
    pub later_second_min_Bps: Option<f64>,
    pub later_second_max_Bps: Option<f64>,
}

/// How late what lies on its way may arrive together, at a receiver in real time, in seconds: of
/// the rate, this is no burst of the limiter's.
pub const ON_THE_WAY_S: f64 = 0.1;

/// By how much a run was beyond what its algorithm promises, and beyond what the measurement may
/// be wrong by; 0 where a bound held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Beyond {
    /// Its burst, in bytes.
    pub burst_bytes: f64,
    /// Its delay, in microseconds.
    pub delay_us: f64,
    /// What waited, in bytes.
    pub backlog_bytes: f64,
}

impl Beyond {
    /// Whether any bound was exceeded.
    #[must_use]
    pub fn any(&self) -> bool {
        self.burst_bytes > 0.0 || self.delay_us > 0.0 || self.backlog_bytes > 0.0
    }
}

impl Row {
    /// How far the run was beyond its bounds. The model is exact. A real driver is allowed what
    /// its set-up shows without a limiter: the longest delay and [`ON_THE_WAY_S`], what the rate
    /// yields in it, and its overshoot (the bounds themselves allow for late timers).
    #[must_use]
    pub fn beyond(&self) -> Beyond {
        let (mut late_us, mut bytes) = (0.0, 0.0);
        if self.driver != "model" {
            let longest = self.setup_delay_max_us.or(self.setup_delay_p99_us);
            late_us = longest.unwrap_or(0.0) + ON_THE_WAY_S * 1e6;
            let rate = self.rate_Bps.unwrap_or(0.0);
            bytes = self.setup_overshoot_bytes.unwrap_or(0.0) + rate * late_us / 1e6;
        }
        let less = |excess: Option<f64>, allowed: f64| (excess.unwrap_or(0.0) - allowed).max(0.0);
        Beyond {
            burst_bytes: less(self.bound_excess_bytes, bytes),
            delay_us: less(self.delay_beyond_us, late_us),
            backlog_bytes: less(self.backlog_beyond_bytes, bytes),
        }
    }

    /// The figure in `column`; `None` if the driver does not know it, or there is no such figure.
    #[must_use]
    pub fn figure(&self, column: &str) -> Option<f64> {
        serde_json::to_value(self).ok()?.get(column)?.as_f64()
    }
}

/// A row of `timeseries.csv`: one bin of one run, over all users.
#[expect(
    missing_docs,
    reason = "a column whose name and unit say it all has no more to say"
)]
#[expect(
    non_snake_case,
    reason = "field names are the column names, and B/s is written Bps there"
)]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesRow {
    pub driver: String,
    pub algorithm: String,
    pub repetition: u32,
    /// Start of the bin.
    pub t_s: f64,
    pub offered_Bps: f64,
    pub delivered_Bps: f64,
    /// The seed's monitor: 7/8 old + 1/8 new, over the bins.
    pub smoothed_Bps: f64,
    /// At the end of the bin; empty for a sender whose backlog is unknown.
    pub backlog_bytes: Option<u64>,
    /// Empty where nobody counts what is dropped.
    pub dropped_Bps: Option<f64>,
}

/// A row of a curve file (`arrival-curve.csv`, `overshoot.csv`, `delay.csv`,
/// `jitter.csv`): exactly what is drawn. `x` and `y` carry the units that the
/// file's documentation in REPORTS.md states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurveRow {
    /// Which driver ran.
    pub driver: String,
    /// Label of the algorithm.
    pub algorithm: String,
    /// Which line: for example `delivered`, `envelope`, `ccdf`, `gap`.
    pub curve: String,
    /// Along.
    pub x: f64,
    /// Up.
    pub y: f64,
}

/// Everything a set of runs found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// `summary.csv`.
    pub summary: Vec<Row>,
    /// `users.csv`.
    pub users: Vec<Row>,
    /// `timeseries.csv`.
    pub series: Vec<SeriesRow>,
    /// `arrival-curve.csv`: x in s, y in bytes; curves `offered`, `delivered`, `envelope` of repetition 0.
    pub arrival_curve: Vec<CurveRow>,
    /// `overshoot.csv`: x = window in s, y = worst window over its rate (A / rW), worst of all repetitions; curve `ratio`.
    pub overshoot: Vec<CurveRow>,
    /// `delay.csv`: x in us, y = share of packets with a larger delay (0 at the longest), all repetitions merged; curve `ccdf`; and what theory bounds the delay by, curve `bound`.
    pub delay: Vec<CurveRow>,
    /// `jitter.csv`: x = percentile 0..100, y in us; curves `pdv`, `gap`, `ipdv`, all repetitions merged.
    pub jitter: Vec<CurveRow>,
    /// `burstiness.csv`: x = rate in B/s, y = smallest bucket in bytes, of repetition 0; curve `burstiness`.
    pub burstiness: Vec<CurveRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_run_is_allowed_what_its_set_up_shows_and_the_model_nothing() {
        let model = Row {
            driver: "model".to_owned(),
            rate_Bps: Some(1_000.0),
            bound_excess_bytes: Some(300.0),
            delay_beyond_us: Some(150_000.0),
            backlog_beyond_bytes: Some(0.0),
            setup_overshoot_bytes: Some(50.0),
            setup_delay_max_us: Some(20_000.0),
            ..Row::default()
        };
        let real = Row {
            driver: "proxy".to_owned(),
            ..model.clone()
        };
        let exact = Beyond {
            burst_bytes: 300.0,
            delay_us: 150_000.0,
            backlog_bytes: 0.0,
        };
        assert_eq!(model.beyond(), exact);
        // 50 B and 120 ms of 1,000 B/s; 120 ms.
        let found = real.beyond();
        assert_eq!((found.burst_bytes, found.delay_us), (130.0, 30_000.0));
        let held = Row {
            bound_excess_bytes: Some(170.0),
            delay_beyond_us: Some(120_000.0),
            ..real
        };
        assert!(found.any() && !held.beyond().any());
    }
}
