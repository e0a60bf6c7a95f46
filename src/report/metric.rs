//! The figures that tables show: which column, in which unit, and what is good.

use super::format::Unit;
use crate::results::Row;

/// One column of `summary.csv` as reports speak of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// A head for a table, short.
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    pub(super) better: Better,
    pub(super) over_runs: OverRuns,
    pub(super) figure: fn(&Row) -> Option<f64>,
}

/// What is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Better {
    /// Less.
    Less,
    /// More.
    More,
    /// As near to this as can be.
    Near(f64),
    /// It depends.
    Neither,
}

/// How runs become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverRuns {
    /// Their mean, with an interval.
    Mean,
    /// The largest, which has no useful interval.
    Most,
}

impl Metric {
    const fn mean(
        title: &'static str,
        unit: Unit,
        better: Better,
        figure: fn(&Row) -> Option<f64>,
    ) -> Self {
        Self {
            title,
            unit,
            better,
            over_runs: OverRuns::Mean,
            figure,
        }
    }

    const fn most(title: &'static str, unit: Unit, figure: fn(&Row) -> Option<f64>) -> Self {
        Self {
            title,
            unit,
            better: Better::Less,
            over_runs: OverRuns::Most,
            figure,
        }
    }

    /// How far a figure is from the best there could be, if one is better than another.
    pub(super) fn badness(&self, value: f64) -> Option<f64> {
        match self.better {
            Better::Less => Some(value),
            Better::More => Some(-value),
            Better::Near(best) => Some((value - best).abs()),
            Better::Neither => None,
        }
    }
}

use Better::{Less, More, Near, Neither};
use Unit::{Bytes, Micros, Millis, Number, Rate, Share};

pub(super) const THROUGHPUT: Metric =
    Metric::mean("Throughput", Rate, Neither, |row| Some(row.throughput_Bps));
pub(super) const UTILISATION: Metric =
    Metric::mean("Limit used", Share, Near(1.0), |row| row.utilisation);
pub(super) const EXCESS: Metric =
    Metric::most("Beyond burst", Bytes, |row| row.overshoot_excess_bytes);
pub(super) const OVERSHOOT: Metric = Metric::most("Overshoot", Bytes, |row| row.overshoot_bytes);
pub(super) const WINDOW_1S: Metric =
    Metric::most("Worst 1\u{a0}s", Number, |row| row.window_1s_ratio);
pub(super) const DELAY_P50: Metric =
    Metric::mean("Delay p50", Micros, Less, |row| row.delay_p50_us);
pub(super) const DELAY_P90: Metric =
    Metric::mean("Delay p90", Micros, Less, |row| row.delay_p90_us);
pub(super) const DELAY_P99: Metric =
    Metric::mean("Delay p99", Micros, Less, |row| row.delay_p99_us);
pub(super) const JITTER: Metric = Metric::mean("Jitter", Micros, Less, |row| row.jitter_rfc3550_us);
pub(super) const PDV_P99: Metric = Metric::mean("PDV p99", Micros, Less, |row| row.pdv_p99_us);
pub(super) const GAP_COV: Metric = Metric::mean("Gap CoV", Number, Less, |row| row.gap_cov);
pub(super) const LOSS: Metric = Metric::mean("Loss", Share, Less, |row| row.loss_ratio);
pub(super) const JAIN: Metric = Metric::mean("Fairness", Number, More, |row| row.jain);
pub(super) const BOUND: Metric = Metric::most("Own bound", Bytes, |row| row.bound_excess_bytes);

pub(super) const RTT_P50: Metric = Metric::mean("RTT p50", Micros, Less, |row| row.rtt_p50_us);
pub(super) const RTT_P99: Metric = Metric::mean("RTT p99", Micros, Less, |row| row.rtt_p99_us);
pub(super) const BURST_MEASURED: Metric =
    Metric::most("Burst", Bytes, |row| row.burst_measured_bytes);
pub(super) const BURST_BOUND: Metric =
    Metric::most("Its bound", Bytes, |row| row.burst_bound_bytes);
pub(super) const DELAY_MAX: Metric = Metric::most("Longest delay", Micros, |row| {
    row.delay_bound_us.and(row.delay_max_us)
});
pub(super) const DELAY_BOUND: Metric = Metric::most("Its bound", Micros, |row| row.delay_bound_us);
pub(super) const BACKLOG_MAX: Metric =
    Metric::most("Most waiting", Bytes, |row| row.backlog_max_bytes);
pub(super) const BACKLOG_BOUND: Metric =
    Metric::most("Its bound", Bytes, |row| row.backlog_bound_bytes);

/// Behind `throughput.png`.
pub(super) const THROUGHPUTS: [Metric; 12] = [
    THROUGHPUT,
    UTILISATION,
    Metric::mean("Once the burst has passed", Rate, Neither, |row| {
        row.steady_Bps
    }),
    Metric::mean("The same against the rate", Share, Near(0.0), |row| {
        row.steady_error
    }),
    Metric::mean("Least second", Rate, Neither, |row| row.second_min_Bps),
    Metric::mean("Mean second", Rate, Neither, |row| row.second_mean_Bps),
    Metric::mean("Greatest second", Rate, Neither, |row| row.second_max_Bps),
    Metric::mean("Least after the first", Rate, Neither, |row| {
        row.later_second_min_Bps
    }),
    Metric::mean("Greatest after the first", Rate, Neither, |row| {
        row.later_second_max_Bps
    }),
    Metric::mean("Settling time", Millis, Less, |row| row.settling_ms),
    Metric::mean("CPU seconds per GB", Number, Less, |row| row.cpu_s_per_GB),
    Metric::mean("Memory", Bytes, Less, |row| row.memory_bytes.map(whole)),
];

/// Behind `arrival-curve.png`.
pub(super) const ARRIVALS: [Metric; 13] = [
    Metric::mean("Offered", Bytes, Neither, |row| {
        Some(whole(row.offered_bytes))
    }),
    Metric::mean("Delivered", Bytes, Neither, |row| {
        Some(whole(row.delivered_bytes))
    }),
    Metric::mean("Against an ideal shaper", Share, Near(1.0), |row| {
        row.efficiency
    }),
    LOSS,
    Metric::mean("Dropped by the policer", Bytes, Less, |row| {
        Some(whole(row.dropped_police_bytes))
    }),
    Metric::mean("Dropped at the queue", Bytes, Less, |row| {
        Some(whole(row.dropped_queue_bytes))
    }),
    Metric::mean("Dropped as oversize", Bytes, Less, |row| {
        Some(whole(row.dropped_oversize_bytes))
    }),
    Metric::most("Longest loss, packets", Number, |row| {
        Some(whole(row.longest_loss_run_packets))
    }),
    Metric::mean("Late p50", Micros, Less, |row| row.late_p50_us),
    Metric::mean("Late p99", Micros, Less, |row| row.late_p99_us),
    Metric::most("Late max", Micros, |row| row.late_max_us),
    Metric::most("Early max", Micros, |row| row.early_max_us),
    Metric::mean("Early packets", Share, Less, |row| row.early_ratio),
];

/// Behind `overshoot.png`.
pub(super) const OVERSHOOTS: [Metric; 13] = [
    OVERSHOOT,
    EXCESS,
    Metric::most("Set-up alone", Bytes, |row| row.setup_overshoot_bytes),
    Metric::most("A/(rW), 10\u{a0}ms", Number, |row| row.window_10ms_ratio),
    Metric::most("A/(rW), 100\u{a0}ms", Number, |row| row.window_100ms_ratio),
    Metric::most("A/(rW), 1\u{a0}s", Number, |row| row.window_1s_ratio),
    Metric::most("A/(rW), 10\u{a0}s", Number, |row| row.window_10s_ratio),
    Metric::most("A\u{a0}−\u{a0}rW, 10\u{a0}ms", Bytes, |row| {
        row.window_10ms_excess_bytes
    }),
    Metric::most("A\u{a0}−\u{a0}rW, 100\u{a0}ms", Bytes, |row| {
        row.window_100ms_excess_bytes
    }),
    Metric::most("A\u{a0}−\u{a0}rW, 1\u{a0}s", Bytes, |row| {
        row.window_1s_excess_bytes
    }),
    Metric::most("A\u{a0}−\u{a0}rW, 10\u{a0}s", Bytes, |row| {
        row.window_10s_excess_bytes
    }),
    BOUND,
    Metric::mean("State per user", Bytes, Less, |row| {
        row.state_bytes.map(whole)
    }),
];

/// Behind `delay.png`.
pub(super) const DELAYS: [Metric; 11] = [
    Metric::mean("Mean", Micros, Less, |row| row.delay_mean_us),
    Metric::mean("p50", Micros, Less, |row| row.delay_p50_us),
    Metric::mean("p90", Micros, Less, |row| row.delay_p90_us),
    Metric::mean("p99", Micros, Less, |row| row.delay_p99_us),
    Metric::mean("p99.9", Micros, Less, |row| row.delay_p999_us),
    Metric::most("Max", Micros, |row| row.delay_max_us),
    Metric::mean("Sender late p50", Micros, Less, |row| {
        row.sender_late_p50_us
    }),
    Metric::mean("Sender late p99", Micros, Less, |row| {
        row.sender_late_p99_us
    }),
    Metric::most("Sender late max", Micros, |row| row.sender_late_max_us),
    Metric::mean("Set-up alone p99", Micros, Less, |row| {
        row.setup_delay_p99_us
    }),
    Metric::mean("Its sender late p99", Micros, Less, |row| {
        row.setup_late_p99_us
    }),
];

/// Behind `jitter.png`.
pub(super) const JITTERS: [Metric; 22] = [
    JITTER,
    Metric::mean("Set-up alone", Micros, Less, |row| row.setup_jitter_us),
    Metric::mean("Jitter, mean", Micros, Less, |row| {
        row.jitter_rfc3550_mean_us
    }),
    Metric::most("Jitter, max", Micros, |row| row.jitter_rfc3550_max_us),
    Metric::mean("PDV p50", Micros, Less, |row| row.pdv_p50_us),
    Metric::mean("PDV p95", Micros, Less, |row| row.pdv_p95_us),
    PDV_P99,
    Metric::mean("PDV p99.9", Micros, Less, |row| row.pdv_p999_us),
    Metric::mean("IPDV p99", Micros, Less, |row| row.ipdv_p99_us),
    Metric::mean("Gap mean", Micros, Neither, |row| row.gap_mean_us),
    Metric::mean("Gap sd", Micros, Less, |row| row.gap_sd_us),
    GAP_COV,
    Metric::mean("Gap p50", Micros, Neither, |row| row.gap_p50_us),
    Metric::mean("Gap p90", Micros, Less, |row| row.gap_p90_us),
    Metric::mean("Gap p99", Micros, Less, |row| row.gap_p99_us),
    Metric::mean("Gap p99.9", Micros, Less, |row| row.gap_p999_us),
    Metric::most("Gap max", Micros, |row| row.gap_max_us),
    Metric::mean("Burst sent, mean", Bytes, Neither, |row| {
        row.burst_sent_mean_bytes
    }),
    Metric::most("Burst sent, max", Bytes, |row| row.burst_sent_max_bytes),
    Metric::mean("Burst received, mean", Bytes, Less, |row| {
        row.burst_received_mean_bytes
    }),
    Metric::most("Burst received, max", Bytes, |row| {
        row.burst_received_max_bytes
    }),
    Metric::mean("Between bursts", Micros, Neither, |row| {
        row.burst_interval_mean_us
    }),
];

/// In the table of fairness, where there are several users or connections.
pub(super) const FAIRNESS: [Metric; 3] = [
    JAIN,
    Metric::mean("Connections of a user", Number, More, |row| {
        row.jain_connections
    }),
    Metric::mean("The same, worst second", Number, More, |row| {
        row.jain_connections_min_1s
    }),
];

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for a table of three or four digits"
)]
const fn whole(count: u64) -> f64 {
    count as f64
}
