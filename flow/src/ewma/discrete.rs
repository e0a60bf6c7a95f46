//! The exponentially weighted moving average over intervals.

use crate::meter::billionths;
use crate::policy::Policy;
use crate::units::Weight;
use crate::wide::{Scale, U256};
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// `ewma`: a limit on the average over intervals that lie end to end from the
/// origin of time.
///
/// Rule: S' = (1 - alpha) S + alpha x (bytes of the interval) / interval, and a
/// packet conforms iff the S' that the running interval would end with, this
/// packet included, is at most `rate`. S starts at 0, and an idle interval
/// counts as 0. Source: the fifth mechanism of Rathgeb, "Modeling and
/// performance comparison of policing mechanisms for ATM networks", IEEE JSAC
/// 9(3), 1991; a first interval from rest lets rate x interval / alpha through.
///
/// Worked example, 1,000 B/s, 1 s, 1/8: 8,000 B conform in the first second and
/// S is 1,000. In the second one (1,000 - 7/8 x 1,000) x 8 = 1,000 B conform.
///
/// Precision: S x interval is kept in units of 2^-96 billionths of a byte and
/// rounded up. A value that needs no rounding is never rounded, so wherever the
/// exact rule decides by equality, this does too: with alpha = p/q in lowest
/// terms, a fraction that S x interval once has in the primes of q grows by a
/// factor of q in each interval and never goes away, while equality needs a
/// whole number of billionths. Otherwise the value is never below the exact one
/// and, for rate x interval up to 2^60 B and any alpha, never 10^-13 B above it,
/// however long it runs, since errors decay as the average does; a decision
/// differs from the exact rule's only if that one leaves less than this over a
/// whole number of bytes, and then it refuses.
#[derive(Clone, Debug)]
pub struct Ewma {
    rate: ByteRate,
    interval: u64,
    alpha: Weight,
    /// Which interval `before` and `counted` belong to.
    index: u64,
    /// S x interval at the start of that interval, in 2^-96 billionths of a byte.
    before: U256,
    /// Bytes that passed in it.
    counted: u64,
    /// Bytes that may pass in it: see [`Self::allowance`].
    allowance: Option<u64>,
}

impl Ewma {
    /// An average at rest. `interval` is taken as at least one nanosecond and
    /// at most [`Policy::LONGEST_SPAN`].
    #[must_use]
    pub fn new(rate: ByteRate, interval: Nanos, alpha: Weight) -> Self {
        let mut limiter = Self {
            rate,
            interval: interval.clamp(Nanos::new(1), Policy::LONGEST_SPAN).get(),
            alpha,
            index: 0,
            before: U256::ZERO,
            counted: 0,
            allowance: None,
        };
        limiter.allowance = limiter.allowance(U256::ZERO);
        limiter
    }

    /// rate x interval / alpha: what one interval lets through from rest.
    #[must_use]
    pub fn from_rest(&self) -> ByteSize {
        ByteSize::new(self.allowance(U256::ZERO).unwrap_or(0))
    }

    /// The bytes of an interval that starts at `before` and ends at S' = rate:
    /// (rate x interval - (1 - alpha) before) / alpha, rounded down. `None` if
    /// the average would be too high even without any.
    fn allowance(&self, before: U256) -> Option<u64> {
        let (above, below) = (self.alpha.numerator(), self.alpha.denominator());
        let most = u128::from(self.rate.get()) * u128::from(self.interval);
        let most = U256::shifted_96(most).times(u64::from(below));
        let room = most.minus(before.times(u64::from(below - above)))?;
        let per_byte = billionths(ByteSize::new(u64::from(above)));
        let bytes = room.whole_96() / per_byte;
        Some(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// S x interval at the start of interval `index`, if nothing passes until then.
    fn before(&self, index: u64) -> U256 {
        let Some(idle) = index.checked_sub(self.index + 1) else {
            return self.before;
        };
        let (above, below) = (self.alpha.numerator(), self.alpha.denominator());
        let bytes = U256::shifted_96(billionths(ByteSize::new(self.counted)));
        let past = self.before.times(u64::from(below - above));
        let after = past.plus(bytes.times(u64::from(above)));
        let after = after.divided_up(u64::from(below));
        self.decayed(after, idle)
    }

    /// `value` x (1 - alpha)^`intervals`: exactly as long as it divides evenly,
    /// then rounded up.
    fn decayed(&self, mut value: U256, mut intervals: u64) -> U256 {
        let below = self.alpha.denominator();
        let kept = below - self.alpha.numerator();
        while intervals > 0 && value != U256::ZERO {
            let (quotient, rest) = value.times(u64::from(kept)).divided(u64::from(below));
            if rest != 0 {
                return Scale::power(kept, below, intervals).of(value);
            }
            value = quotient;
            intervals -= 1;
        }
        value
    }

    /// The interval at `now`, never before the one of the last packet.
    fn index_at(&self, now: Timestamp) -> u64 {
        (now.as_nanos() / self.interval).max(self.index)
    }

    /// What may still pass in interval `index`; `None` if not even nothing.
    fn room(&self, index: u64) -> Option<u64> {
        if index == self.index {
            return self.allowance?.checked_sub(self.counted);
        }
        self.allowance(self.before(index))
    }

    fn fits(&self, index: u64, size: ByteSize) -> bool {
        self.room(index).is_some_and(|room| size.get() <= room)
    }

    /// After so many idle intervals the average no longer falls: less than one
    /// unit is left of it, and that is rounded up.
    fn longest_decay(&self) -> u64 {
        let (above, below) = (self.alpha.numerator(), self.alpha.denominator());
        // 256 bits, each gone after less than ln 2 / alpha intervals.
        2 + 180 * u64::from(below) / u64::from(above)
    }
}

impl Limiter for Ewma {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.fits(self.index_at(now), size)
    }

    /// The start of the first interval in which `size` fits: the average falls
    /// from one idle interval to the next, so it is found by halving.
    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let current = self.index_at(now);
        if self.fits(current, size) {
            return Some(now);
        }
        let end = current.checked_add(self.longest_decay())?;
        let (mut refuses, mut step) = (current, 1);
        let mut fits = loop {
            let candidate = end.min(refuses.saturating_add(step));
            if self.fits(candidate, size) {
                break candidate;
            }
            if candidate == end {
                return None;
            }
            refuses = candidate;
            step *= 2;
        };
        while fits - refuses > 1 {
            let middle = refuses + (fits - refuses) / 2;
            if self.fits(middle, size) {
                fits = middle;
            } else {
                refuses = middle;
            }
        }
        let start = fits.checked_mul(self.interval)?;
        Some(Timestamp::from_nanos(start))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        ByteSize::new(self.room(self.index_at(now)).unwrap_or(0))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        let index = self.index_at(now);
        if index != self.index {
            self.before = self.before(index);
            self.allowance = self.allowance(self.before);
            self.index = index;
            self.counted = 0;
        }
        self.counted = self.counted.saturating_add(size.get());
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.counted = self.counted.saturating_sub(size.get());
    }

    /// What passed stays in the average; only its limit changes.
    fn set_rate(&mut self, _now: Timestamp, rate: ByteRate) {
        self.rate = rate;
        self.allowance = self.allowance(self.before);
    }
}
