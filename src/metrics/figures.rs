//! One user's figures, and how those of several make a row.

use crate::results::Row;

use super::bound::Nearest;
use super::conservation::ConservationFigures;
use super::delay::{Delays, GapFigures};
use super::fairness::jain;
use super::histogram::Histogram;
use super::jitter::JitterFigures;
use super::loss::{Count, Losses};
use super::schedule::{Schedule, nanobytes, to_bytes};
use super::second::Extents;
use super::settling::Settled;
use super::theory::Promised;
use super::train::TrainFigures;
use super::window::Worst;

/// What was found for one user.
#[derive(Clone, Debug)]
pub(crate) struct UserFigures {
    pub(crate) name: String,
    pub(crate) state_bytes: Option<u64>,
    /// Jain's index over its connections, and the least in any second.
    pub(crate) jain: Option<f64>,
    pub(crate) jain_least: Option<f64>,
    /// What whole seconds held.
    pub(crate) seconds: Extents,
    /// By how much its policy's own bound was exceeded, in billionths of a byte.
    pub(crate) broken: Option<u128>,
    /// What came nearest to that bound.
    pub(crate) nearest: Option<Nearest>,
    /// What theory says of delay and backlog.
    pub(crate) promised: Option<Promised>,
    pub(crate) pooled: Pooled,
    pub(crate) limit: Option<LimitFigures>,
}

/// Counts and distributions: those of several users are those of all their packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pooled {
    pub(crate) offered: Count,
    pub(crate) delivered: Count,
    pub(crate) losses: Losses,
    pub(crate) sent: TrainFigures,
    pub(crate) received: TrainFigures,
    pub(crate) delays: Delays,
    pub(crate) pdv: Histogram,
    pub(crate) gaps: GapFigures,
    pub(crate) jitter: JitterFigures,
    pub(crate) conservation: ConservationFigures,
    pub(crate) sender_late: Histogram,
    pub(crate) round_trips: Histogram,
}

/// What was found against the user's (r, b).
#[derive(Clone, Debug)]
pub(crate) struct LimitFigures {
    pub(crate) schedule: Schedule,
    pub(crate) burst: u64,
    /// b* in billionths of a byte, and when it was reached.
    pub(crate) peak: Option<(u128, u64)>,
    pub(crate) windows: Option<[Worst; 4]>,
    /// What an ideal (r, b) shaper passes by the end.
    pub(crate) ideal_bytes: f64,
    /// Rate in B/s once the burst has passed, and its relative error.
    pub(crate) steady: Option<(f64, f64)>,
    pub(crate) settled: Settled,
}

/// The row of `users` together in a run of `end` nanoseconds, with the labels
/// left empty. `pooled` is what they have together, `seconds` likewise.
pub(crate) fn row(users: &[UserFigures], pooled: &Pooled, seconds: Extents, end: u64) -> Row {
    let mut row = Row {
        duration_s: to_bytes(u128::from(end)),
        throughput_Bps: ratio(as_float(pooled.delivered.bytes), to_bytes(u128::from(end)))
            .unwrap_or(0.0),
        second_min_Bps: seconds.all.map(|[least, ..]| least),
        second_mean_Bps: seconds.all.map(|[_, mean, _]| mean),
        second_max_Bps: seconds.all.map(|[.., most]| most),
        later_second_min_Bps: seconds.later.map(|[least, _]| least),
        later_second_max_Bps: seconds.later.map(|[_, most]| most),
        jain: jain(users.iter().filter_map(|user| user.share(end))),
        jain_connections: least(users.iter().filter_map(|user| user.jain)),
        jain_connections_min_1s: least(users.iter().filter_map(|user| user.jain_least)),
        bound_excess_bytes: users
            .iter()
            .filter_map(|user| user.broken)
            .max()
            .map(to_bytes),
        state_bytes: users.iter().filter_map(|user| user.state_bytes).max(),
        ..Row::default()
    };
    let nearness = |one: &Nearest| to_bytes(one.measured) / to_bytes(one.bound).max(1.0);
    let nearest = users
        .iter()
        .filter_map(|user| user.nearest)
        .max_by(|one, other| nearness(one).total_cmp(&nearness(other)));
    row.burst_measured_bytes = nearest.map(|nearest| to_bytes(nearest.measured));
    row.burst_bound_bytes = nearest.map(|nearest| to_bytes(nearest.bound));
    pooled.fill_counts(&mut row);
    pooled.fill_times(&mut row);
    fill_limits(&mut row, users, end);
    fill_promised(&mut row, users);
    row
}

/// The largest bounds of all users, and by how much the worst is beyond its own.
fn fill_promised(row: &mut Row, users: &[UserFigures]) {
    // Of a mixture with users whose delay nobody bounds, the row has no bound.
    let all = |user: &UserFigures| {
        user.promised
            .is_some_and(|promised| promised.delay.is_some())
    };
    let all_bounded = users.iter().all(all);
    for (user, promised) in users.iter().filter_map(|user| Some((user, user.promised?))) {
        let waited = as_float(promised.waited);
        raise(&mut row.backlog_bound_bytes, promised.backlog);
        raise(&mut row.backlog_max_bytes, waited);
        raise(
            &mut row.backlog_beyond_bytes,
            (waited - promised.backlog).max(0.0),
        );
        if let Some(bound) = promised.delay {
            let longest = user.pooled.delays.histogram.max().unwrap_or(0);
            if all_bounded {
                raise(&mut row.delay_bound_us, micros(as_float(bound)));
            }
            raise(
                &mut row.delay_beyond_us,
                micros(as_float(longest.saturating_sub(bound))),
            );
        }
    }
}

impl UserFigures {
    /// Its row in a run of `end` nanoseconds, with the labels left empty.
    pub(crate) fn row(&self, end: u64) -> Row {
        row(std::slice::from_ref(self), &self.pooled, self.seconds, end)
    }

    /// Rate and depth of its envelope.
    pub(crate) fn envelope(&self) -> Option<(&Schedule, u64)> {
        self.limit
            .as_ref()
            .map(|limit| (&limit.schedule, limit.burst))
    }

    /// What it got of its fair share: no more than it offered, nor than its limit.
    fn share(&self, end: u64) -> Option<f64> {
        let offered = nanobytes(self.pooled.offered.bytes);
        let fair = match &self.limit {
            Some(limit) => limit.capacity(end).min(offered),
            None => offered,
        };
        ratio(as_float(self.pooled.delivered.bytes), to_bytes(fair))
    }
}

impl LimitFigures {
    /// r T + b, in billionths of a byte.
    fn capacity(&self, end: u64) -> u128 {
        self.schedule.earned_until(end) + nanobytes(self.burst)
    }
}

fn fill_limits(row: &mut Row, users: &[UserFigures], end: u64) {
    let limited = || {
        users
            .iter()
            .filter_map(|user| Some((user, user.limit.as_ref()?)))
    };
    let limits = || limited().map(|(_, limit)| limit);
    let delivered: u64 = limited().map(|(user, _)| user.pooled.delivered.bytes).sum();
    let passable: u128 = limited()
        .map(|(user, limit)| {
            limit
                .capacity(end)
                .min(nanobytes(user.pooled.offered.bytes))
        })
        .sum();
    row.rate_Bps = sum(limits().map(|limit| as_float(limit.schedule.rate_at(0))));
    row.burst_bytes = sum(limits().map(|limit| as_float(limit.burst)));
    row.utilisation = ratio(as_float(delivered), to_bytes(passable));
    row.efficiency = ratio(
        as_float(delivered),
        limits().map(|limit| limit.ideal_bytes).sum(),
    );
    row.steady_Bps = sum(limits().filter_map(|limit| Some(limit.steady?.0)));
    row.steady_error = limits()
        .filter_map(|limit| Some(limit.steady?.1))
        .max_by(|a, b| a.abs().total_cmp(&b.abs()));
    row.settling_ms = match limits().map(|limit| limit.settled).max() {
        Some(Settled::After(nanos)) => Some(as_float(nanos) / 1e6),
        Some(Settled::NoStep | Settled::Never) | None => None,
    };
    fill_overshoot(row, limits());
    fill_windows(row, limits());
}

fn fill_overshoot<'a>(row: &mut Row, limits: impl Iterator<Item = &'a LimitFigures>) {
    for limit in limits {
        let Some((peak, at)) = limit.peak else {
            continue;
        };
        let overshoot = to_bytes(peak);
        if row.overshoot_bytes.is_none_or(|worst| overshoot > worst) {
            row.overshoot_bytes = Some(overshoot);
            row.overshoot_at_s = Some(to_bytes(u128::from(at)));
        }
        let excess = to_bytes(peak.saturating_sub(nanobytes(limit.burst)));
        raise(&mut row.overshoot_excess_bytes, excess);
    }
}

fn fill_windows<'a>(row: &mut Row, limits: impl Iterator<Item = &'a LimitFigures>) {
    for windows in limits.filter_map(|limit| limit.windows) {
        let columns = [
            (
                &mut row.window_10ms_ratio,
                &mut row.window_10ms_excess_bytes,
            ),
            (
                &mut row.window_100ms_ratio,
                &mut row.window_100ms_excess_bytes,
            ),
            (&mut row.window_1s_ratio, &mut row.window_1s_excess_bytes),
            (&mut row.window_10s_ratio, &mut row.window_10s_excess_bytes),
        ];
        for ((ratio, excess), worst) in columns.into_iter().zip(windows) {
            raise(excess, worst.excess_bytes);
            if let Some(found) = worst.ratio {
                raise(ratio, found);
            }
        }
    }
}

impl Pooled {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.offered.merge(other.offered);
        self.delivered.merge(other.delivered);
        self.losses.merge(&other.losses);
        self.sent.merge(&other.sent);
        self.received.merge(&other.received);
        self.delays.merge(&other.delays);
        self.pdv.merge(&other.pdv);
        self.gaps.merge(&other.gaps);
        self.jitter.merge(&other.jitter);
        self.conservation.merge(&other.conservation);
        self.sender_late.merge(&other.sender_late);
        self.round_trips.merge(&other.round_trips);
    }

    fn fill_counts(&self, row: &mut Row) {
        let losses = &self.losses;
        let dropped = losses.total();
        row.offered_packets = self.offered.packets;
        row.offered_bytes = self.offered.bytes;
        row.delivered_packets = self.delivered.packets;
        row.delivered_bytes = self.delivered.bytes;
        row.dropped_packets = dropped.packets;
        row.dropped_bytes = dropped.bytes;
        row.dropped_police_packets = losses.police.packets;
        row.dropped_police_bytes = losses.police.bytes;
        row.dropped_queue_packets = losses.queue.packets;
        row.dropped_queue_bytes = losses.queue.bytes;
        row.dropped_oversize_packets = losses.oversize.packets;
        row.dropped_oversize_bytes = losses.oversize.bytes;
        row.longest_loss_run_packets = losses.longest_run;
        row.loss_ratio = ratio(as_float(dropped.packets), as_float(self.offered.packets));
        row.burst_sent_mean_bytes = self.sent.mean();
        row.burst_sent_max_bytes = self.sent.most().map(as_float);
        row.burst_received_mean_bytes = self.received.mean();
        row.burst_received_max_bytes = self.received.most().map(as_float);
        row.burst_interval_mean_us = self.received.interval().map(micros);
    }

    fn fill_times(&self, row: &mut Row) {
        row.delay_mean_us = self.delays.mean().map(micros);
        [
            row.delay_p50_us,
            row.delay_p90_us,
            row.delay_p99_us,
            row.delay_p999_us,
        ] = percentiles(&self.delays.histogram, [0.5, 0.9, 0.99, 0.999]);
        row.delay_max_us = most(&self.delays.histogram);
        [
            row.pdv_p50_us,
            row.pdv_p95_us,
            row.pdv_p99_us,
            row.pdv_p999_us,
        ] = percentiles(&self.pdv, [0.5, 0.95, 0.99, 0.999]);
        row.gap_mean_us = self.gaps.moments.mean().map(micros);
        row.gap_sd_us = self.gaps.moments.sd().map(micros);
        row.gap_cov = self.gaps.moments.coefficient_of_variation();
        [
            row.gap_p50_us,
            row.gap_p90_us,
            row.gap_p99_us,
            row.gap_p999_us,
        ] = percentiles(&self.gaps.histogram, [0.5, 0.9, 0.99, 0.999]);
        row.gap_max_us = most(&self.gaps.histogram);
        row.jitter_rfc3550_us = self.jitter.last().map(micros);
        row.jitter_rfc3550_integer_ns = self.jitter.last_integer();
        row.jitter_rfc3550_mean_us = self.jitter.mean().map(micros);
        row.jitter_rfc3550_max_us = self.jitter.most().map(micros);
        [row.ipdv_p99_us] = percentiles(&self.jitter.ipdv, [0.99]);
        let late = &self.conservation.late;
        [row.late_p50_us, row.late_p99_us] = percentiles(late, [0.5, 0.99]);
        row.late_max_us = most(late);
        row.early_max_us = self.conservation.earliest().map(as_float).map(micros);
        row.early_ratio = self.conservation.early_ratio();
        [row.sender_late_p50_us, row.sender_late_p99_us] =
            percentiles(&self.sender_late, [0.5, 0.99]);
        row.sender_late_max_us = most(&self.sender_late);
        [row.rtt_p50_us, row.rtt_p99_us] = percentiles(&self.round_trips, [0.5, 0.99]);
    }
}

fn percentiles<const N: usize>(histogram: &Histogram, at: [f64; N]) -> [Option<f64>; N] {
    at.map(|quantile| histogram.quantile(quantile).map(as_float).map(micros))
}

fn most(histogram: &Histogram) -> Option<f64> {
    histogram.max().map(as_float).map(micros)
}

fn micros(nanos: f64) -> f64 {
    nanos / 1e3
}

/// `None` if there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// `None` for the sum of nothing.
fn sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn least(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.min_by(f64::total_cmp)
}

fn raise(most: &mut Option<f64>, value: f64) {
    *most = Some(most.map_or(value, |most| most.max(value)));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people, 53 bits suffice"
)]
fn as_float(whole: u64) -> f64 {
    whole as f64
}
