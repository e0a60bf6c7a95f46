//! One-way delay, and the gaps between departures.

use super::histogram::Histogram;
use super::moments::Moments;

/// A distribution with its exact mean and deviation, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) histogram: Histogram,
    pub(crate) moments: Moments,
}

impl Spread {
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.histogram.record(nanos);
        self.moments.record(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.moments.merge(&other.moments);
    }

    /// PDV (RFC 5481): each value less the least.
    pub(crate) fn variation(&self) -> Histogram {
        let mut variation = Histogram::new();
        let least = self.histogram.min().unwrap_or(0);
        variation.merge_shifted(&self.histogram, least);
        variation
    }
}

/// Gaps from one departure to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    last: Option<u64>,
    pub(crate) spread: Spread,
}

impl Gaps {
    /// Something left at `at`.
    #[inline]
    pub(crate) fn add(&mut self, at: u64) {
        if let Some(last) = self.last.replace(at) {
            self.spread.record(at.saturating_sub(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_departure_has_no_gap() {
        let mut gaps = Gaps::default();
        gaps.add(7);
        assert_eq!(gaps.spread.moments.count(), 0);
        gaps.add(7);
        gaps.add(17);
        assert_eq!(gaps.spread.moments.mean(), Some(5.0));
        assert_eq!(gaps.spread.histogram.max(), Some(10));
    }

    #[test]
    fn variation_starts_at_zero() {
        let mut delays = Spread::default();
        [1_000, 1_005, 1_020]
            .iter()
            .for_each(|&delay| delays.record(delay));
        let variation = delays.variation();
        assert_eq!((variation.min(), variation.max()), (Some(0), Some(20)));
        assert_eq!(variation.quantile(0.5), Some(5));
        assert_eq!(Spread::default().variation().count(), 0);
    }
}
