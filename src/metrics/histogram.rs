//! Distributions of nanoseconds to three digits.

use hdrhistogram::Histogram as Hdr;

/// An HdrHistogram of whole nanoseconds with three significant digits. Two of
/// them merge into the histogram of both, which percentiles never do.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Hdr<u64>,
    least: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Without any value.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the arguments are constant and within the documented range"
    )]
    pub fn new() -> Self {
        Self {
            counts: Hdr::new(3).expect("three digits are allowed"),
            least: u64::MAX,
            most: 0,
        }
    }

    /// Counts one value.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.record_many(nanos, 1);
    }

    /// Adds every value of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.merge_shifted(other, 0);
    }

    /// Adds every value of `other`, each less by `by` (zero where it is smaller).
    pub(crate) fn merge_shifted(&mut self, other: &Self, by: u64) {
        for step in other.counts.iter_recorded() {
            let value = step.value_iterated_to().clamp(other.least, other.most);
            self.record_many(value.saturating_sub(by), step.count_since_last_iteration());
        }
        if other.count() > 0 {
            self.least = self.least.min(other.least.saturating_sub(by));
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The least value, exactly; `None` without any.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.least)
    }

    /// The largest value, exactly; `None` without any.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.most)
    }

    /// The value by nearest rank at `quantile` in 0..=1, within 0.1 % and never
    /// beyond the largest; `None` without any value.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        (self.count() > 0).then(|| {
            self.counts
                .value_at_quantile(quantile)
                .clamp(self.least, self.most)
        })
    }

    /// Each distinct value with the number of values larger than it, in rising order.
    pub(crate) fn tail(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut larger = self.count();
        self.counts.iter_recorded().map(move |step| {
            larger -= step.count_since_last_iteration();
            (step.value_iterated_to().min(self.most), larger)
        })
    }

    #[inline]
    fn record_many(&mut self, nanos: u64, count: u64) {
        self.least = self.least.min(nanos);
        self.most = self.most.max(nanos);
        if self.counts.record_n(nanos, count).is_err() {
            self.counts.saturating_record_n(nanos, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        histogram
    }

    #[test]
    fn nothing_has_no_percentile() {
        let none = Histogram::new();
        assert_eq!(
            (none.quantile(0.5), none.min(), none.max()),
            (None, None, None)
        );
        assert_eq!(none.tail().count(), 0);
    }

    #[test]
    fn any_value_can_be_counted() {
        let all = of(&[0, u64::MAX]);
        assert_eq!((all.min(), all.max()), (Some(0), Some(u64::MAX)));
        assert_eq!(all.quantile(0.5), Some(0));
    }

    proptest! {
        #[test]
        fn percentiles_are_nearest_rank_within_a_thousandth(
            mut values in prop::collection::vec(0u64..1 << 40, 1..300),
            permille in 1usize..=1000,
        ) {
            let histogram = of(&values);
            values.sort_unstable();
            let exact = values[(values.len() * permille).div_ceil(1000) - 1];
            let found = histogram.quantile(permille as f64 / 1000.0).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / 1000 + 1, "{} {}", found, exact);
        }

        #[test]
        fn merging_equals_counting_all(
            a in prop::collection::vec(0u64..1 << 40, 0..100),
            b in prop::collection::vec(0u64..1 << 40, 0..100),
        ) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            let all = of(&[a, b].concat());
            prop_assert_eq!((merged.min(), merged.max()), (all.min(), all.max()));
            for permille in [1, 500, 900, 999, 1000] {
                let q = f64::from(permille) / 1000.0;
                prop_assert_eq!(merged.quantile(q), all.quantile(q));
            }
        }

        #[test]
        fn tail_counts_what_is_larger(values in prop::collection::vec(0u64..2000, 1..100)) {
            for (value, larger) in of(&values).tail() {
                let exact = values.iter().filter(|&&v| v > value).count();
                prop_assert_eq!(larger, exact as u64);
            }
        }
    }
}
