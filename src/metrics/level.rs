//! The smallest bucket that an output conforms to: b*(r).

use flow::ByteRate;

use super::schedule::{Credit, Schedule, nanobytes, to_bytes};

/// b*(r) = max over s <= t of A\[s,t\] - r(t - s), in O(1) a packet: the level
/// of a bucket without a limit that drains at r, and its peak. Exact, in
/// billionths of a byte.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    credit: Credit,
    level: u128,
    peak: u128,
    peak_at: u64,
}

impl Level {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self {
            credit: Credit::new(schedule),
            level: 0,
            peak: 0,
            peak_at: 0,
        }
    }

    /// `bytes` left at `at`.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        let earned = self.credit.earn(at);
        self.level = self.level.saturating_sub(earned) + nanobytes(bytes);
        if self.level > self.peak {
            self.peak = self.level;
            self.peak_at = at;
        }
    }

    /// The peak in billionths of a byte and the first instant at which it was
    /// reached; `None` if nothing left.
    pub(crate) fn peak(&self) -> Option<(u128, u64)> {
        (self.peak > 0).then_some((self.peak, self.peak_at))
    }
}

/// b* of one stream at each of `rates`, in bytes: the smallest bucket of that
/// rate that everything conforms to. `departures` are (nanoseconds, bytes) in
/// order of time; without any all are zero.
#[must_use]
pub fn smallest_buckets(
    rates: &[ByteRate],
    departures: impl IntoIterator<Item = (u64, u64)>,
) -> Vec<f64> {
    let mut levels: Vec<Level> = rates
        .iter()
        .map(|rate| Level::new(Schedule::new(*rate, &[])))
        .collect();
    for (at, bytes) in departures {
        for level in &mut levels {
            level.add(at, bytes);
        }
    }
    levels
        .iter()
        .map(|level| level.peak().map_or(0.0, |(peak, _)| to_bytes(peak)))
        .collect()
}
