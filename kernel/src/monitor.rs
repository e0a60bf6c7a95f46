//! Rates from counts that are read now and then.

use flow::monitor::RateMonitor;
use flow::{ByteSize, Timestamp};

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
