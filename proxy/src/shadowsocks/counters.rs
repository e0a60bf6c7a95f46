//! What the front end counts, in the names of aioshadowsocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::shadowsocks::Refused;

/// The upper bounds of the histograms, in nanoseconds: those of the seed's.
const BOUNDS: [u64; 14] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Counters that only grow.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) replays: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) transmitted: AtomicU64,
    pub(super) find: Histogram,
    pub(super) encrypt: Histogram,
    pub(super) decrypt: Histogram,
}

/// How long something took.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Of each bound those that are not within the one before.
    counts: [AtomicU64; 14],
    total: AtomicU64,
    nanos: AtomicU64,
}

impl Counters {
    /// One more connection.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Payload has passed.
    pub(super) fn transmitted(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.transmitted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A client was found.
    pub(super) fn found(&self, after: Duration) {
        self.find.observe(after);
    }

    /// A client, or a datagram, was refused.
    pub(super) fn refused(&self, why: &Refused) {
        let counter = match why {
            Refused::Replay => &self.replays,
            _ => &self.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Histogram {
    /// Counts by upper bound in seconds, the count of all, and the sum in seconds.
    #[cfg(any(feature = "panel", test))]
    pub(super) fn read(&self) -> ([(f64, u64); 14], u64, f64) {
        let mut buckets = [(0.0, 0); 14];
        let counts = BOUNDS.iter().zip(&self.counts);
        let mut below = 0_u64;
        for (bucket, (bound, count)) in buckets.iter_mut().zip(counts) {
            let bound = Duration::from_nanos(*bound).as_secs_f64();
            below = below.wrapping_add(count.load(Ordering::Relaxed));
            *bucket = (bound, below);
        }
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed));
        (
            buckets,
            self.total.load(Ordering::Relaxed),
            sum.as_secs_f64(),
        )
    }

    /// Counts one.
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // One of them: it is done for every chunk. Reading adds those below.
        let mut bounds = BOUNDS.iter().zip(&self.counts);
        if let Some((_, count)) = bounds.find(|(bound, _)| nanos <= **bound) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_those_below_it_too() {
        let histogram = Histogram::default();
        for milliseconds in [1, 5, 6, 20_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let (buckets, total, sum) = histogram.read();
        assert_eq!(buckets[..3], [(0.005, 2), (0.01, 3), (0.025, 3)]);
        assert_eq!((buckets[13], total), ((10.0, 3), 4));
        assert!((sum - 20.012).abs() < 1e-9, "{sum}");
    }
}
