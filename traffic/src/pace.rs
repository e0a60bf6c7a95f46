//! From bytes at a rate to whole nanoseconds, with nothing lost on the way.

use flow::time::NANOS_PER_SEC;
use flow::{ByteRate, ByteSize, Nanos};

/// The time that sends take at a constant rate, exact in the sum: what a whole
/// number of nanoseconds cuts off is carried to the next gap.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    rate: u64,
    /// Billionths of a byte already sent and not yet waited for, below `rate`.
    carry: u64,
}

impl Pace {
    pub(crate) const fn new(rate: ByteRate) -> Self {
        Self {
            rate: rate.get(),
            carry: 0,
        }
    }

    /// How long `size` bytes take.
    #[inline]
    pub(crate) fn gap(&mut self, size: ByteSize) -> Nanos {
        let need = size
            .get()
            .checked_mul(NANOS_PER_SEC)
            .and_then(|need| need.checked_add(self.carry));
        match need {
            Some(need) => {
                self.carry = need % self.rate;
                Nanos::new(need / self.rate)
            }
            None => self.long_gap(size),
        }
    }

    #[cold]
    fn long_gap(&mut self, size: ByteSize) -> Nanos {
        let need = u128::from(size.get()) * u128::from(NANOS_PER_SEC) + u128::from(self.carry);
        let rate = u128::from(self.rate);
        self.carry = u64::try_from(need % rate).unwrap_or(0);
        Nanos::new(u64::try_from(need / rate).unwrap_or(u64::MAX))
    }
}

/// Rounds a series of real lengths of time to whole nanoseconds so that the sum
/// stays within one nanosecond of the real sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounding {
    /// Below one nanosecond.
    carry: f64,
}

impl Rounding {
    /// `exact` nanoseconds, never negative; longer than 584 years is cut to that.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "cut to the range of u64 first; a float cast saturates"
    )]
    pub(crate) fn whole(&mut self, exact: f64) -> Nanos {
        let total = exact.max(0.0).min(u64::MAX as f64) + self.carry;
        let whole = total.floor();
        self.carry = total - whole;
        Nanos::new(whole as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_sum_to_the_exact_time(
            rate in 1..=u64::MAX,
            sizes in proptest::collection::vec(1..=u64::MAX >> 34, 1..200),
        ) {
            let mut pace = Pace::new(ByteRate::new(rate).unwrap());
            let (mut waited, mut sent) = (0u128, 0u128);
            for size in sizes {
                waited += u128::from(pace.gap(ByteSize::new(size)).get());
                sent += u128::from(size);
                prop_assert_eq!(waited, sent * 1_000_000_000 / u128::from(rate));
            }
        }

        #[test]
        fn rounding_keeps_the_sum(gaps in proptest::collection::vec(0.0..1e6, 1..200)) {
            let mut rounding = Rounding::default();
            let whole: u64 = gaps.iter().map(|gap| rounding.whole(*gap).get()).sum();
            let exact: f64 = gaps.iter().sum();
            prop_assert!((whole as f64 - exact).abs() < 1.001);
        }
    }

    #[test]
    fn no_length_is_too_long() {
        let mut rounding = Rounding::default();
        assert_eq!(rounding.whole(f64::INFINITY).get(), u64::MAX);
        assert_eq!(rounding.whole(-1.0).get(), 0);
        assert_eq!(rounding.whole(1.0).get(), 1);
        let mut pace = Pace::new(ByteRate::new(1).unwrap());
        assert_eq!(pace.gap(ByteSize::MAX).get(), u64::MAX);
    }
}
