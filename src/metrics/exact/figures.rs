//! The figures of a replay under the names that `replay --json` prints.

use serde::Serialize;

/// Every figure of a replay, under the names and in the units that `replay --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(
    non_snake_case,
    reason = "field names are the names in the file, and B/s is Bps there"
)]
#[expect(missing_docs, reason = "each name says what it is and in which unit")]
pub struct Figures {
    pub duration_ns: u64,
    pub offered_packets: u64,
    pub offered_bytes: u64,
    pub passed_packets: u64,
    pub passed_bytes: u64,
    pub dropped_packets: u64,
    pub dropped_bytes: u64,
    pub loss_packets: Option<f64>,
    pub loss_bytes: Option<f64>,
    pub offered_Bps: Option<f64>,
    pub throughput_Bps: Option<f64>,
    pub drops_by_reason: DropsByReason,
    pub longest_loss_run_packets: u64,
    #[serde(flatten)]
    pub limit: Option<LimitFigures>,
    #[serde(flatten)]
    pub burst: Option<BurstFigures>,
    pub windows: Vec<WindowFigures>,
    pub delay_ns: Option<Distribution>,
    pub pdv_ns: Option<Distribution>,
    pub ipdv_abs_ns: Option<Distribution>,
    pub rfc3550_ns: Option<f64>,
    pub rfc3550_a8_ns: Option<u64>,
    pub rfc3550_mean_ns: Option<f64>,
    pub rfc3550_max_ns: Option<f64>,
    pub interdeparture_ns: Option<Distribution>,
    pub trains: TrainsFigures,
    pub trains_offered: TrainsFigures,
    pub second_min_Bps: Option<f64>,
    pub second_mean_Bps: Option<f64>,
    pub second_max_Bps: Option<f64>,
    /// Over the users: what each got of its max-min fair share; `None` for a user alone.
    pub jain: Option<f64>,
    /// Over the connections of a user, the worst user.
    pub jain_connections: Option<f64>,
}

/// Dropped packets; a reason that did not occur is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the reasons of SPEC, \"Files of a run\"")]
pub struct DropsByReason {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub police: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oversize: Option<u64>,
}

/// Against the rate that the limiter names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each name says what it is and in which unit")]
pub struct LimitFigures {
    pub utilisation: Option<f64>,
    /// b*(r), the smallest bucket that the output conforms to.
    pub min_burst_bytes: f64,
    /// The same as a fraction.
    pub min_burst_bytes_exact: String,
    pub min_burst_bytes_offered: f64,
}

/// Against the rate and the burst that the limiter names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each name says what it is and in which unit")]
pub struct BurstFigures {
    /// Passed over what an ideal (r, b) shaper passes of the same arrivals.
    pub efficiency: Option<f64>,
    pub overshoot_bytes: f64,
    /// Departure minus that of the ideal (r, b) shaper, of packets that were not early.
    pub late_p50_ns: Option<u64>,
    pub late_p99_ns: Option<u64>,
    pub late_max_ns: Option<u64>,
    /// By how much the earliest was early, and the share of early packets.
    pub early_max_ns: Option<u64>,
    pub early_ratio: Option<f64>,
}

/// The worst window of one width.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each name says what it is and in which unit")]
pub struct WindowFigures {
    pub w_ns: u64,
    pub max_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_over_rw: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_rw: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_over_rw_plus_b: Option<f64>,
}

/// Moments (of the population) and percentiles (nearest rank).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the usual names")]
pub struct Distribution {
    pub n: u64,
    pub min: f64,
    pub mean: f64,
    pub sd: f64,
    pub cov: Option<f64>,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Bursts that left at one instant (RFC 7640).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each name says what it is and in which unit")]
pub struct TrainsFigures {
    pub gap_ns: u64,
    pub n: u64,
    pub sbb_mean: Option<f64>,
    pub sbb_max: Option<u64>,
    pub packets_max: u64,
    pub sbi_mean_ns: Option<f64>,
}
