//! Distributions of nanoseconds to three digits.

/// Buckets of each power of two above [`FINE`].
const HALF: usize = 1_024;
/// The largest value that has its own bucket.
const FINE: u64 = 2_047;

/// A histogram of whole nanoseconds with the buckets of an HdrHistogram of three
/// significant digits: exact below 2048, within 0.1 % above. Two of them merge
/// into the histogram of both, which percentiles never do.
///
/// What is recorded several times per packet has to be cheap: an index from the
/// leading zeros and one addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, as long as the largest value needs.
    counts: Vec<u64>,
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
    pub const fn new() -> Self {
        Self {
            counts: Vec::new(),
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
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }

    /// The same values, each less by the least of them.
    #[must_use]
    pub(crate) fn above_least(&self) -> Self {
        let mut shifted = Self::new();
        for (bucket, &count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0)
        {
            shifted.record_many(self.value_of(bucket) - self.least, count);
        }
        if !self.is_empty() {
            shifted.least = 0;
        }
        shifted
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether no value was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.least > self.most
    }

    /// The least value, exactly; `None` without any.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.least)
    }

    /// The largest value, exactly; `None` without any.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.most)
    }

    /// The value by nearest rank at `quantile` in 0..=1, within 0.1 % and never
    /// beyond the largest; `None` without any value.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let rank = rank(quantile, self.count());
        let mut below = 0;
        let holds_rank = |count: &u64| {
            below += count;
            below >= rank
        };
        let bucket = self.counts.iter().position(holds_rank)?;
        Some(self.value_of(bucket))
    }

    /// Each distinct value with the number of values larger than it, in rising order.
    pub(crate) fn tail(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut larger = self.count();
        let used = self
            .counts
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0);
        used.map(move |(bucket, &count)| {
            larger -= count;
            (self.value_of(bucket), larger)
        })
    }

    /// The largest value of a bucket that may have been recorded.
    fn value_of(&self, bucket: usize) -> u64 {
        highest_in(bucket).clamp(self.least, self.most)
    }

    #[inline]
    fn record_many(&mut self, nanos: u64, count: u64) {
        if nanos < self.least || nanos > self.most {
            self.widen(nanos);
        }
        let bucket = bucket_of(nanos);
        if let Some(counted) = self.counts.get_mut(bucket) {
            *counted += count;
        } else {
            self.extend_to(bucket, count);
        }
    }

    #[cold]
    #[inline(never)]
    fn widen(&mut self, nanos: u64) {
        self.least = self.least.min(nanos);
        self.most = self.most.max(nanos);
    }

    #[cold]
    #[inline(never)]
    fn extend_to(&mut self, bucket: usize, count: u64) {
        // By whole powers of two, so that growing is rare.
        self.counts.resize((bucket / HALF + 1) * HALF, 0);
        self.counts[bucket] += count;
    }
}

/// The bucket of a value: its eleven leading bits after as many powers of two.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "at most 53 powers of two of 1024 buckets"
)]
const fn bucket_of(nanos: u64) -> usize {
    let power = FINE.leading_zeros() - (nanos | FINE).leading_zeros();
    (power as usize) * HALF + (nanos >> power) as usize
}

/// The largest value of a bucket.
const fn highest_in(bucket: usize) -> u64 {
    let power = (bucket / HALF).saturating_sub(1);
    let leading = (bucket - power * HALF) as u64;
    (leading << power) + ((1 << power) - 1)
}

/// Nearest rank, from 1 to `count`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank of 2^53 packets or more may be off by one; the cast saturates"
)]
fn rank(quantile: f64, count: u64) -> u64 {
    // A quantile such as 0.9 is not a float: without the slack, rank 9 of 10
    // could be taken for 9.000000000000002 and rounded up.
    let exact = quantile * count as f64;
    ((exact * (1.0 - 4.0 * f64::EPSILON)).ceil() as u64).clamp(1, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram as Hdr;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        histogram
    }

    /// Values of every magnitude.
    fn any_value() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    #[test]
    fn nothing_has_no_percentile() {
        let none = Histogram::new();
        assert_eq!(
            (none.quantile(0.5), none.min(), none.max()),
            (None, None, None)
        );
        assert_eq!(none.tail().count(), 0);
        assert_eq!(none.above_least(), none);
    }

    #[test]
    fn every_value_has_its_bucket() {
        assert_eq!(bucket_of(FINE), 2_047);
        assert_eq!(bucket_of(2_048), 2_048);
        assert_eq!(bucket_of(2_049), 2_048);
        assert_eq!(highest_in(2_048), 2_049);
        assert_eq!(highest_in(bucket_of(u64::MAX)), u64::MAX);
        let all = of(&[0, u64::MAX]);
        assert_eq!(
            (all.quantile(0.5), all.quantile(1.0)),
            (Some(0), Some(u64::MAX))
        );
    }

    #[test]
    fn ranks_are_not_pushed_up_by_rounding() {
        assert_eq!(rank(0.9, 10), 9);
        assert_eq!(rank(0.999, 1_000), 999);
        assert_eq!(rank(0.0, 10), 1);
        assert_eq!(rank(1.0, 10), 10);
        assert_eq!(rank(0.91, 10), 10);
    }

    proptest! {
        #[test]
        fn percentiles_are_nearest_rank_within_a_thousandth(
            mut values in prop::collection::vec(any_value(), 1..300),
            permille in 1usize..=1000,
        ) {
            let histogram = of(&values);
            values.sort_unstable();
            let exact = values[(values.len() * permille).div_ceil(1000) - 1];
            let found = histogram.quantile(permille as f64 / 1000.0).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / 1000, "{} {}", found, exact);
        }

        #[test]
        fn agrees_with_hdrhistogram(values in prop::collection::vec(any_value(), 1..300)) {
            let mut hdr = Hdr::<u64>::new(3).unwrap();
            values.iter().for_each(|&value| hdr.record(value).unwrap());
            let ours = of(&values);
            for quantile in [0.1, 0.5, 0.9, 0.99, 0.999] {
                let theirs = hdr.value_at_quantile(quantile).min(ours.most);
                prop_assert_eq!(ours.quantile(quantile), Some(theirs));
            }
        }

        #[test]
        fn merging_equals_counting_all(
            a in prop::collection::vec(any_value(), 0..100),
            b in prop::collection::vec(any_value(), 0..100),
        ) {
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }

        #[test]
        fn above_least_shifts(values in prop::collection::vec(5_000u64..1 << 30, 1..100)) {
            let (least, most) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            let shifted = of(&values).above_least();
            prop_assert_eq!((shifted.min(), shifted.max()), (Some(0), Some(most - least)));
            prop_assert_eq!(shifted.count(), values.len() as u64);
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
