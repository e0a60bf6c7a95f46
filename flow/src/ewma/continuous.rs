//! The exponentially weighted average in continuous time.

use super::decay::Decay;
use crate::meter::{billionths, whole_bytes};
use crate::policy::Policy;
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// `ewma-continuous`: a weighted sum of what passed that decays by exp(-dt/tau).
///
/// Rule: X falls by exp(-dt/tau) over dt; a packet conforms iff (X + size)/tau
/// <= `rate`, and then adds its size. The limit of `ewma` for ever shorter
/// intervals; the load average of time-sharing systems works the same way.
///
/// Worked example, 1,000 B/s, tau = 1 s: 1,000 B conform at 0 s. 500 B more
/// conform when X has fallen to 500, ln 2 s later: at 0.693147181 s.
///
/// Precision: X is kept in units of 2^-123 of rate x tau or less and rounded
/// up, the exponential to 117 bits and rounded up: after a billion packets
/// within one tau X is less than 2^-86 of rate x tau above its real value, and
/// older errors decay with it, so it never drifts; a decision that this changes
/// is a refusal. The function is monotone to the nanosecond, so
/// `earliest` is exact with respect to it.
#[derive(Clone, Debug)]
pub struct EwmaContinuous {
    rate: ByteRate,
    tau: u64,
    decay: Decay,
    /// X at `last`, in 2^-`shift` billionths of a byte.
    sum: u128,
    shift: u32,
    /// The latest instant at which something passed.
    last: u64,
}

impl EwmaContinuous {
    /// An average at rest. `time_constant` is taken as at least one nanosecond
    /// and at most [`Policy::LONGEST_SPAN`].
    #[must_use]
    pub fn new(rate: ByteRate, time_constant: Nanos) -> Self {
        let tau = time_constant.clamp(Nanos::new(1), Policy::LONGEST_SPAN);
        let mut limiter = Self {
            rate,
            tau: tau.get(),
            decay: Decay::new(tau.get()),
            sum: 0,
            shift: 0,
            last: 0,
        };
        limiter.rescale();
        limiter
    }

    /// rate x tau, in billionths of a byte: below 2^123.
    fn most(&self) -> u128 {
        u128::from(self.rate.get()) * u128::from(self.tau)
    }

    /// Chooses the finest unit in which neither the limit nor the sum exceeds 2^124.
    fn rescale(&mut self) {
        let spare = |value: u128| value.leading_zeros().saturating_sub(4);
        let room = spare(self.sum) + self.shift;
        let shift = spare(self.most()).min(room);
        if shift >= self.shift {
            self.sum <<= shift - self.shift;
        } else {
            self.sum = self.sum.div_ceil(1 << (self.shift - shift));
        }
        self.shift = shift;
    }

    /// X at `now`.
    fn sum_at(&self, now: u64) -> u128 {
        self.decay.over(now.saturating_sub(self.last), self.sum)
    }

    /// The highest X beside which `size` conforms.
    fn highest_beside(&self, size: ByteSize) -> Option<u128> {
        let room = self.most().checked_sub(billionths(size))?;
        Some(room << self.shift)
    }
}

impl Limiter for EwmaContinuous {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.highest_beside(size)
            .is_some_and(|highest| self.sum_at(now.as_nanos()) <= highest)
    }

    /// Newton's method from below: the curve is convex, so a step never passes
    /// the instant that is sought, and the last ones are single nanoseconds.
    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let highest = self.highest_beside(size)?;
        let mut refuses = now.as_nanos().max(self.last);
        let mut sum = self.sum_at(refuses);
        if sum <= highest {
            return Some(now);
        }
        if highest == 0 {
            return None;
        }
        loop {
            let step = self.newton_step(sum, highest);
            let candidate = refuses.checked_add(step)?;
            sum = self.sum_at(candidate);
            if sum <= highest {
                return Some(self.first_between(refuses, candidate, highest));
            }
            refuses = candidate;
        }
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        let sum = self.sum_at(now.as_nanos()).div_ceil(1 << self.shift);
        whole_bytes(self.most().saturating_sub(sum))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.add(now, self.sum_at(now.as_nanos()), size);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let sum = self.sum_at(now.as_nanos());
        let conforms = self.highest_beside(size).is_some_and(|most| sum <= most);
        if conforms {
            self.add(now, sum, size);
        }
        conforms
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let given_back = billionths(size).min(self.sum >> self.shift);
        self.sum -= given_back << self.shift;
    }

    fn set_rate(&mut self, _now: Timestamp, rate: ByteRate) {
        self.rate = rate;
        self.rescale();
    }
}

impl EwmaContinuous {
    /// Adds `size` to the `sum` of `now`.
    fn add(&mut self, now: Timestamp, sum: u128, size: ByteSize) {
        self.last = self.last.max(now.as_nanos());
        let whole = (sum >> self.shift) + 1 + billionths(size);
        if whole >> (124 - self.shift) == 0 {
            self.sum = sum + (billionths(size) << self.shift);
        } else {
            // More than conforms: fall back to whole billionths, then rescale.
            self.sum = whole.min(1 << 126);
            self.shift = 0;
            self.rescale();
        }
    }

    /// tau (sum - highest) / sum in nanoseconds, rounded down but at least one.
    fn newton_step(&self, sum: u128, highest: u128) -> u64 {
        // 64 bits of both: the step is a little too short at worst.
        let cut = 64_u32.saturating_sub(sum.leading_zeros());
        let above = (sum - highest) >> cut;
        let step = above * u128::from(self.tau) / ((sum >> cut) + 1);
        u64::try_from(step).unwrap_or(u64::MAX).max(1)
    }

    /// The first instant after `refuses` and up to `fits` at which the sum is
    /// at most `highest`: `fits` itself, unless rounding took a step too far.
    fn first_between(&self, mut refuses: u64, mut fits: u64, highest: u128) -> Timestamp {
        while fits - refuses > 1 {
            let middle = refuses + (fits - refuses) / 2;
            if self.sum_at(middle) <= highest {
                fits = middle;
            } else {
                refuses = middle;
            }
        }
        Timestamp::from_nanos(fits)
    }
}
