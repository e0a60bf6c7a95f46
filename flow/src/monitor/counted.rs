//! Rates from counts that are read now and then.

use super::RateMonitor;
use crate::{ByteSize, Timestamp};

/// The rates of one counter, by the rules of [`RateMonitor`].
///
/// What was counted between two readings counts as of the first of them, so that a rate taken
/// at the second covers it. Unlike a monitor that is only told of packets, a silent flow's
/// rate falls to zero.
#[derive(Clone, Debug)]
pub struct Meter {
    monitor: RateMonitor,
    read_at: Timestamp,
    counted: u64,
}

/// What a meter shows; rates in whole bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes since the meter was made.
    pub total: u64,
    /// Over the last interval of at least a second; `None` in the first.
    pub instantaneous: Option<u64>,
    /// Since the meter was made.
    pub average: Option<u64>,
    /// The largest instantaneous rate.
    pub peak: Option<u64>,
    /// 7/8 of itself and 1/8 of each new instantaneous rate.
    pub smoothed: Option<u64>,
}

impl Meter {
    /// A meter that starts at `now`, when the counter stands at `counted`.
    #[must_use]
    pub fn new(now: Timestamp, counted: u64) -> Self {
        let mut monitor = RateMonitor::new();
        monitor.record(now, ByteSize::ZERO);
        Self {
            monitor,
            read_at: now,
            counted,
        }
    }

    /// The counter stands at `counted` at `now`; one that has fallen began anew.
    pub fn read(&mut self, now: Timestamp, counted: u64) {
        let more = counted.checked_sub(self.counted).unwrap_or(counted);
        self.monitor.record(self.read_at, ByteSize::new(more));
        self.monitor.record(now, ByteSize::ZERO);
        self.read_at = self.read_at.max(now);
        self.counted = counted;
    }

    /// What it shows now.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            total: self.monitor.total().get(),
            instantaneous: self.monitor.instantaneous(),
            average: self.monitor.average(),
            peak: self.monitor.peak(),
            smoothed: self.monitor.smoothed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: u64 = 100_000_000;

    /// The series that seed 004's rules are checked with: 1,000 B each 0.1 s to 2.0 s, 4,000 B
    /// each 0.1 s to 4.0 s, 1,000 B at 14.0 s.
    fn packets() -> impl Iterator<Item = (u64, u64)> {
        let early = (0..=20).map(|tenth| (tenth, 1_000));
        let late = (21..=40).map(|tenth| (tenth, 4_000));
        early.chain(late).chain([(140, 1_000)])
    }

    /// Instantaneous, peak and smoothed at 1, 2, 3, 4 and 14 s.
    const EXPECTED: [[u64; 3]; 5] = [
        [10_000, 10_000, 10_000],
        [10_000, 10_000, 10_000],
        [37_000, 37_000, 13_375],
        [40_000, 40_000, 16_703],
        [400, 40_000, 14_665],
    ];

    /// Readings as a packet comes find the rates that a monitor finds which is told of each.
    #[test]
    fn follows_the_series() {
        let mut meter = Meter::new(Timestamp::ZERO, 5);
        let (mut counted, mut seen) = (5, std::vec::Vec::new());
        for (tenth, size) in packets() {
            meter.read(Timestamp::from_nanos(tenth * TENTH), counted);
            counted += size;
            if [10, 20, 30, 40, 140].contains(&tenth) {
                let rates = meter.rates();
                let shown = [rates.instantaneous, rates.peak, rates.smoothed];
                seen.push(shown.map(Option::unwrap));
            }
        }
        assert_eq!(seen, EXPECTED);
    }

    /// The seed's own figures, by the same code with the seed's two faults left in.
    #[test]
    fn the_seeds_figures_come_from_the_same_code() {
        let mut monitor = RateMonitor::as_coded();
        for (tenth, size) in packets() {
            monitor.record(Timestamp::from_nanos(tenth * TENTH), ByteSize::new(size));
        }
        let seen = [
            monitor.average(),
            monitor.instantaneous(),
            monitor.peak(),
            monitor.smoothed(),
        ];
        assert_eq!(seen, [7_357, 400, 40_000, 15_253].map(Some));
    }

    /// S4: an idle flow shows its last rate for ever.
    #[test]
    fn silence_is_seen() {
        let second = |n: u64| Timestamp::from_nanos(n * 1_000_000_000);
        let mut meter = Meter::new(second(0), 0);
        meter.read(second(1), 8_000);
        assert_eq!(meter.rates().instantaneous, Some(8_000));
        meter.read(second(2), 8_000);
        let rates = meter.rates();
        assert_eq!(rates.instantaneous, Some(0));
        assert_eq!((rates.smoothed, rates.peak), (Some(7_000), Some(8_000)));
        assert_eq!((rates.total, rates.average), (8_000, Some(4_000)));
        // A counter that was emptied does not make a rate without bounds.
        meter.read(second(3), 100);
        assert_eq!(meter.rates().total, 8_100);
    }
}
