//! The rate monitor of seed 004: what went by, how fast, and how fast at most.

mod counted;

pub use counted::{Meter, Rates};

use crate::time::NANOS_PER_SEC;
use crate::{ByteSize, Nanos, Timestamp};

/// The shortest interval over which an instantaneous rate is taken.
const INTERVAL: Nanos = Nanos::from_secs(1);

/// Fractional bits that the smoothed rate is kept with.
const FRACTION_BITS: u32 = 32;
const HALF: u128 = 1 << (FRACTION_BITS - 1);

/// Total, average, instantaneous, peak and smoothed rate of one flow.
///
/// A rate is taken when a packet arrives, over the time since the one before
/// was taken, once that is at least a second; it counts the packets before this
/// one. The smoothed rate is 7/8 of itself and 1/8 of each new instantaneous
/// one, and the first as it is. All rates are in whole bytes per second, cut
/// (the smoothed one rounded); nothing wraps: figures beyond 64 bits stay at the
/// largest.
///
/// ```
/// use weirgate_flow::monitor::RateMonitor;
/// use weirgate_flow::{ByteSize, Timestamp};
///
/// let mut monitor = RateMonitor::new();
/// for second in 0..=10 {
///     monitor.record(Timestamp::from_nanos(second * 1_000_000_000), ByteSize::new(500));
/// }
/// assert_eq!(monitor.total(), ByteSize::new(5_500));
/// assert_eq!(monitor.average(), Some(550));
/// assert_eq!(monitor.instantaneous(), Some(500));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RateMonitor {
    as_coded: bool,
    /// Of the first packet, if there was one.
    started_at: Option<Timestamp>,
    total: u128,
    average: Option<u64>,
    /// Of the last packet at which a rate was taken.
    taken_at: Timestamp,
    since_taken: u128,
    instantaneous: Option<u64>,
    peak: u64,
    /// In fractions of a byte per second, so that it settles where it should.
    smoothed: Option<u128>,
}

impl RateMonitor {
    /// A monitor that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The monitor as seed 004 has it, with two faults.
    ///
    /// It counts the first packet twice (once to make the record, once to
    /// update it), and cuts both parts of the smoothed rate to whole bytes, so
    /// that it comes to rest up to 14 bytes per second off.
    #[must_use]
    pub fn as_coded() -> Self {
        Self {
            as_coded: true,
            ..Self::default()
        }
    }

    /// Takes note of `size` bytes at `now`; a `now` that runs backwards counts
    /// as the last instant a rate was taken.
    pub fn record(&mut self, now: Timestamp, size: ByteSize) {
        let bytes = u128::from(size.get());
        let started_at = self.started_at.unwrap_or_else(|| {
            self.taken_at = now;
            if self.as_coded {
                self.total = bytes;
                self.since_taken = bytes;
            }
            now
        });
        self.started_at = Some(started_at);
        self.total = self.total.saturating_add(bytes);
        self.average = rate(self.total, now.since(started_at));
        let elapsed = now.since(self.taken_at);
        if elapsed >= INTERVAL {
            self.take(rate(self.since_taken, elapsed).unwrap_or_default());
            self.taken_at = now;
            self.since_taken = 0;
        }
        self.since_taken = self.since_taken.saturating_add(bytes);
    }

    fn take(&mut self, instantaneous: u64) {
        self.instantaneous = Some(instantaneous);
        self.peak = self.peak.max(instantaneous);
        let sample = u128::from(instantaneous) << FRACTION_BITS;
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(old) if self.as_coded => smooth_as_coded(old, sample),
            Some(old) => (7 * old + sample) >> 3,
        });
    }

    /// All bytes.
    #[must_use]
    pub fn total(&self) -> ByteSize {
        ByteSize::new(saturated(self.total))
    }

    /// Bytes per second from the first to the latest packet; `None` before two
    /// packets at different instants.
    #[must_use]
    pub fn average(&self) -> Option<u64> {
        self.average
    }

    /// Bytes per second over the latest interval; `None` in the first second.
    #[must_use]
    pub fn instantaneous(&self) -> Option<u64> {
        self.instantaneous
    }

    /// The largest instantaneous rate; `None` in the first second.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        self.instantaneous.map(|_| self.peak)
    }

    /// The smoothed rate in bytes per second; `None` in the first second.
    #[must_use]
    pub fn smoothed(&self) -> Option<u64> {
        self.smoothed
            .map(|smoothed| saturated((smoothed + HALF) >> FRACTION_BITS))
    }
}

/// `s - (s >> 3) + (r >> 3)` on whole bytes, and a zero taken for "no sample".
fn smooth_as_coded(old: u128, sample: u128) -> u128 {
    let (old, sample) = (old >> FRACTION_BITS, sample >> FRACTION_BITS);
    let smoothed = if old == 0 {
        sample
    } else {
        old - (old >> 3) + (sample >> 3)
    };
    smoothed << FRACTION_BITS
}

/// `None` over no time.
fn rate(bytes: u128, over: Nanos) -> Option<u64> {
    bytes
        .saturating_mul(u128::from(NANOS_PER_SEC))
        .checked_div(u128::from(over.get()))
        .map(saturated)
}

fn saturated(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// average, instantaneous, peak, smoothed
    type Figures = [Option<u64>; 4];

    fn figures(monitor: &RateMonitor) -> Figures {
        [
            monitor.average(),
            monitor.instantaneous(),
            monitor.peak(),
            monitor.smoothed(),
        ]
    }

    /// The seed's series: 1,000 B each 0.1 s to 2.0 s, 4,000 B each 0.1 s to
    /// 4.0 s, 1,000 B at 14.0 s; the figures at 1, 2, 3, 4 and 14 s.
    fn series(mut monitor: RateMonitor) -> std::vec::Vec<Figures> {
        let early = (0..=20_u64).map(|tenth| (tenth, 1_000));
        let late = (21..=40_u64).map(|tenth| (tenth, 4_000));
        let mut seen = std::vec::Vec::new();
        for (tenth, size) in early.chain(late).chain([(140, 1_000)]) {
            let now = Timestamp::from_nanos(tenth * 100_000_000);
            monitor.record(now, ByteSize::new(size));
            if [10, 20, 30, 40, 140].contains(&tenth) {
                seen.push(figures(&monitor));
            }
        }
        seen
    }

    #[test]
    fn as_coded_follows_the_seeds_series() {
        let expected = [
            [12_000, 11_000, 11_000, 11_000],
            [11_000, 10_000, 11_000, 10_875],
            [20_666, 37_000, 37_000, 14_141],
            [25_500, 40_000, 40_000, 17_374],
            [7_357, 400, 40_000, 15_253],
        ];
        let expected = expected.map(|row| row.map(Some));
        assert_eq!(series(RateMonitor::as_coded()), expected);
    }

    #[test]
    fn counts_the_first_packet_once() {
        let expected = [
            [11_000, 10_000, 10_000, 10_000],
            [10_500, 10_000, 10_000, 10_000],
            [20_333, 37_000, 37_000, 13_375],
            [25_250, 40_000, 40_000, 16_703],
            [7_285, 400, 40_000, 14_665],
        ];
        let expected = expected.map(|row| row.map(Some));
        assert_eq!(series(RateMonitor::new()), expected);
    }

    #[test]
    fn says_nothing_before_it_knows() {
        let mut monitor = RateMonitor::new();
        assert_eq!(figures(&monitor), [None; 4]);
        monitor.record(Timestamp::ZERO, ByteSize::new(1));
        assert_eq!(figures(&monitor), [None; 4]);
        assert_eq!(monitor.total(), ByteSize::new(1));
    }

    #[test]
    fn smoothed_settles_exactly() {
        for first in [9_000, 1] {
            let mut monitor = RateMonitor::new();
            for second in 0..2_000_u64 {
                let size = if second < 10 { first } else { 1_003 };
                let now = Timestamp::from_nanos(second * NANOS_PER_SEC);
                monitor.record(now, ByteSize::new(size));
            }
            assert_eq!(monitor.smoothed(), Some(1_003));
        }
    }

    #[test]
    fn the_largest_figures_do_not_wrap() {
        let mut monitor = RateMonitor::new();
        for second in 0..4 {
            monitor.record(Timestamp::from_nanos(second * NANOS_PER_SEC), ByteSize::MAX);
        }
        assert_eq!(monitor.total(), ByteSize::MAX);
        assert_eq!(figures(&monitor), [Some(u64::MAX); 4]);
    }

    proptest! {
        #[test]
        fn figures_stay_within_what_went_by(
            packets in proptest::collection::vec((0..5 * NANOS_PER_SEC, 1..100_000_u64), 1..200)
        ) {
            let mut monitor = RateMonitor::new();
            let (mut now, mut total) = (0, 0);
            for (gap, size) in packets {
                now += gap;
                total += size;
                monitor.record(Timestamp::from_nanos(now), ByteSize::new(size));
                prop_assert_eq!(monitor.total().get(), total);
                prop_assert!(monitor.instantaneous() <= monitor.peak());
                prop_assert!(monitor.smoothed() <= monitor.peak());
            }
        }
    }
}
