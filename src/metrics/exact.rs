//! The metrics of one limiter over one recorded trace. Percentiles are values
//! that occurred, by nearest rank, as long as the trace is short enough to keep
//! them; a longer one falls back on histograms.

mod figures;
mod shares;
mod values;

use flow::{ByteRate, ByteSize, Timestamp};

use super::conservation::{Conservation, IdealVolume};
use super::jitter::Jitter;
use super::level::Level;
use super::loss::{Count, Losses};
use super::schedule::{NANOBYTES, Schedule, nanobytes, to_bytes};
use super::second::Seconds;
use super::sliding::Sums;
use super::train::Trains;
use super::window::WIDTHS;
use crate::record::{DropReason, FlowId};

pub use figures::{
    BurstFigures, Distribution, DropsByReason, Figures, LimitFigures, TrainsFigures, WindowFigures,
};
use shares::Shares;
use values::Values;

/// What is measured while a trace streams by.
#[derive(Debug)]
pub struct Exact {
    offered: Count,
    passed: Count,
    losses: Losses,
    /// The last instant at which anything arrived or left.
    end: u64,
    departed: Option<u64>,
    delay_before: Option<u64>,
    delays: Values,
    changes: Values,
    gaps: Values,
    jitter: Jitter,
    trains: Tied,
    trains_offered: Tied,
    seconds: Seconds,
    shares: Shares,
    windows: Sums<4>,
    against: Option<Against>,
}

/// What needs a rate to be judged against.
#[derive(Debug)]
struct Against {
    rate: ByteRate,
    burst: Option<ByteSize>,
    offered: Level,
    passed: Level,
    ideal: IdealVolume,
    conservation: Option<Conservation>,
}

/// Trains of packets at one instant.
#[derive(Debug)]
struct Tied {
    trains: Trains,
    last: Option<u64>,
    running: u64,
    most: u64,
}

impl Exact {
    /// Against `rate`, and against `burst` too if both are known.
    #[must_use]
    pub fn new(rate: Option<ByteRate>, burst: Option<ByteSize>) -> Self {
        let against = rate.map(|rate| {
            let schedule = Schedule::new(rate, &[]);
            Against {
                rate,
                burst,
                offered: Level::new(schedule.clone()),
                passed: Level::new(schedule.clone()),
                ideal: IdealVolume::new(schedule.clone()),
                conservation: burst.map(|burst| Conservation::new(schedule, burst.get())),
            }
        });
        Self {
            offered: Count::default(),
            passed: Count::default(),
            losses: Losses::default(),
            end: 0,
            departed: None,
            delay_before: None,
            delays: Values::default(),
            changes: Values::default(),
            gaps: Values::default(),
            jitter: Jitter::new(1),
            trains: Tied::new(),
            trains_offered: Tied::new(),
            seconds: Seconds::new(),
            shares: Shares::default(),
            windows: Sums::new(WIDTHS),
            against,
        }
    }

    /// A packet arrived.
    pub fn offered(&mut self, at: Timestamp, size: ByteSize, flow: FlowId) {
        let (at, size) = (at.as_nanos(), size.get());
        self.end = self.end.max(at);
        self.offered.add(size);
        self.trains_offered.add(at, size);
        self.shares.offered(flow.user, flow.connection, size);
        if let Some(against) = &mut self.against {
            against.offered.add(at, size);
            against.ideal.offer(at, size);
        }
    }

    /// A packet was dropped.
    pub fn dropped(&mut self, size: ByteSize, why: DropReason) {
        self.losses.add(size.get(), why);
    }

    /// A packet left; departures come in order of time.
    pub fn passed(
        &mut self,
        arrival: Timestamp,
        departure: Timestamp,
        size: ByteSize,
        flow: FlowId,
    ) {
        let delay = departure.since(arrival).get();
        let (left, size) = (departure.as_nanos(), size.get());
        self.end = self.end.max(left);
        self.passed.add(size);
        self.losses.passed();
        self.delays.record(delay);
        self.jitter.add(0, delay);
        if let Some(before) = self.delay_before.replace(delay) {
            self.changes.record(delay.abs_diff(before));
        }
        if let Some(before) = self.departed.replace(left) {
            self.gaps.record(left.saturating_sub(before));
        }
        self.trains.add(left, size);
        self.seconds.add(left, size);
        self.shares.passed(flow.user, flow.connection, size);
        self.windows.add(left, size);
        if let Some(against) = &mut self.against {
            against.passed.add(left, size);
            if let Some(conservation) = &mut against.conservation {
                conservation.add(arrival.as_nanos(), left, size);
            }
        }
    }

    /// All figures, from time 0 to the last event.
    #[must_use]
    pub fn figures(mut self) -> Figures {
        let dropped = self.losses.total();
        let seconds = to_bytes(u128::from(self.end));
        let least_delay = self.delays.least();
        let jitter = self.jitter.figures();
        self.seconds.close_until(self.end);
        let seconds_extent = self.seconds.extent();
        Figures {
            duration_ns: self.end,
            offered_packets: self.offered.packets,
            offered_bytes: self.offered.bytes,
            passed_packets: self.passed.packets,
            passed_bytes: self.passed.bytes,
            dropped_packets: dropped.packets,
            dropped_bytes: dropped.bytes,
            loss_packets: ratio(dropped.packets, float(self.offered.packets)),
            loss_bytes: ratio(dropped.bytes, float(self.offered.bytes)),
            offered_Bps: ratio(self.offered.bytes, seconds),
            throughput_Bps: ratio(self.passed.bytes, seconds),
            drops_by_reason: DropsByReason::new(&self.losses),
            longest_loss_run_packets: self.losses.longest_run,
            limit: self
                .against
                .as_ref()
                .map(|against| against.limit(self.passed, self.end)),
            burst: self
                .against
                .as_ref()
                .and_then(|against| against.burst(self.offered, self.passed, self.end)),
            windows: windows(&self.windows, self.against.as_ref()),
            pdv_ns: self.delays.less(least_delay),
            delay_ns: self.delays.less(0),
            ipdv_abs_ns: self.changes.less(0),
            rfc3550_ns: jitter.last(),
            rfc3550_a8_ns: jitter.last_integer(),
            rfc3550_mean_ns: jitter.mean(),
            rfc3550_max_ns: jitter.most(),
            interdeparture_ns: self.gaps.less(0),
            trains: self.trains.figures(),
            trains_offered: self.trains_offered.figures(),
            second_min_Bps: seconds_extent.map(|[least, _, _]| least),
            second_mean_Bps: seconds_extent.map(|[_, mean, _]| mean),
            second_max_Bps: seconds_extent.map(|[_, _, most]| most),
            jain: self.shares.of_users(),
            jain_connections: self.shares.of_connections(),
        }
    }
}

impl Against {
    fn limit(&self, passed: Count, end: u64) -> LimitFigures {
        let (peak, offered) = (peak(&self.passed), peak(&self.offered));
        LimitFigures {
            utilisation: ratio(
                passed.bytes,
                float(self.rate.get()) * to_bytes(u128::from(end)),
            ),
            min_burst_bytes: to_bytes(peak),
            min_burst_bytes_exact: fraction(peak),
            min_burst_bytes_offered: to_bytes(offered),
        }
    }

    fn burst(&self, offered: Count, passed: Count, end: u64) -> Option<BurstFigures> {
        let burst = self.burst?.get();
        let ideal = self.ideal.passed_by(end, offered.bytes, burst);
        let against_ideal = self.conservation.clone()?.figures();
        let late = &against_ideal.late;
        Some(BurstFigures {
            efficiency: ratio(passed.bytes, ideal),
            overshoot_bytes: to_bytes(peak(&self.passed).saturating_sub(nanobytes(burst))),
            late_p50_ns: late.quantile(0.5),
            late_p99_ns: late.quantile(0.99),
            late_max_ns: late.max(),
            early_max_ns: against_ideal.earliest(),
            early_ratio: against_ideal.early_ratio(),
        })
    }
}

fn peak(level: &Level) -> u128 {
    level.peak().map_or(0, |(peak, _)| peak)
}

/// Billionths of a byte as a fraction of bytes in lowest terms.
fn fraction(nanobytes: u128) -> String {
    let (mut a, mut b) = (nanobytes, NANOBYTES);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let (above, below) = (nanobytes / a.max(1), NANOBYTES / a.max(1));
    if below == 1 {
        above.to_string()
    } else {
        format!("{above}/{below}")
    }
}

fn windows(sums: &Sums<4>, against: Option<&Against>) -> Vec<WindowFigures> {
    let window = |(k, width)| {
        let most = sums.most(k);
        let left = nanobytes(most);
        let earned = against.map(|a| u128::from(a.rate.get()) * u128::from(width));
        let burst = against.and_then(|a| a.burst);
        WindowFigures {
            w_ns: width,
            max_bytes: most,
            excess_over_rw: earned.map(|earned| to_bytes(left.saturating_sub(earned))),
            ratio_to_rw: earned.map(|earned| float(most) / to_bytes(earned)),
            excess_over_rw_plus_b: earned.zip(burst).map(|(earned, burst)| {
                to_bytes(left.saturating_sub(earned + nanobytes(burst.get())))
            }),
        }
    };
    WIDTHS.into_iter().enumerate().map(window).collect()
}

impl Tied {
    fn new() -> Self {
        Self {
            trains: Trains::new(0),
            last: None,
            running: 0,
            most: 0,
        }
    }

    fn add(&mut self, at: u64, bytes: u64) {
        self.trains.add(at, bytes);
        let same = self.last.replace(at) == Some(at);
        self.running = if same { self.running + 1 } else { 1 };
        self.most = self.most.max(self.running);
    }

    fn figures(self) -> TrainsFigures {
        let figures = self.trains.figures();
        TrainsFigures {
            gap_ns: 0,
            n: figures.count(),
            sbb_mean: figures.mean(),
            sbb_max: figures.most(),
            packets_max: self.most,
            sbi_mean_ns: figures.interval(),
        }
    }
}

impl DropsByReason {
    fn new(losses: &Losses) -> Self {
        let some = |count: Count| (count.packets > 0).then_some(count.packets);
        Self {
            police: some(losses.police),
            queue: some(losses.queue),
            oversize: some(losses.oversize),
        }
    }
}

/// `None` if there is nothing to divide by.
fn ratio(above: u64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| float(above) / below)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, 53 bits suffice"
)]
const fn float(value: u64) -> f64 {
    value as f64
}
