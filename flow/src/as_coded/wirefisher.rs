//! The in-kernel token bucket of seed 004.

use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// The token bucket of the eBPF programs: drops what does not conform.
///
/// `depth = (rate x time_scale) >> 2`; `tokens += elapsed x rate / 10^9` at
/// every packet, cut to whole bytes, at most `depth`.
///
/// Faults kept:
/// - The depth is a quarter of rate x time scale; its documents say an eighth.
/// - Rate and time scale are 32-bit and so is their product: 4 GiB/s is rate 0,
///   100 MiB/s over 60 s has a depth of 499,122,176 B instead of 1,572,864,000.
/// - The time scale is in whole seconds: 500 ms is 0, the depth is 0 and
///   everything is dropped.
/// - Credit is cut to whole bytes at every packet, dropped ones too: when
///   packets come faster than bytes accrue, nothing ever passes. A refusal thus
///   changes the state, which happens in [`Limiter::admit`]; the questions
///   change nothing.
/// - Packets above the depth never pass, and `elapsed x rate` wraps at 2^64:
///   after hours of idling a fast bucket may get less than it earned.
///
/// ```
/// use weirgate_flow::as_coded::Wirefisher;
/// use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};
///
/// let rate = ByteRate::new(1 << 20).expect("not zero");
/// let mut limiter = Wirefisher::new(rate, Nanos::from_secs(1));
/// assert_eq!(limiter.depth(), ByteSize::new(262_144));
/// assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(262_144)));
/// ```
#[derive(Clone, Debug)]
pub struct Wirefisher {
    rate: u32,
    time_scale_secs: u32,
    tokens: u64,
    updated_at: Timestamp,
}

impl Wirefisher {
    /// A full bucket of (`rate` x `time_scale`) / 4.
    #[must_use]
    pub fn new(rate: ByteRate, time_scale: Nanos) -> Self {
        let mut limiter = Self {
            rate: low_32_bits(rate.get()),
            time_scale_secs: low_32_bits(time_scale.get() / NANOS_PER_SEC),
            tokens: 0,
            updated_at: Timestamp::ZERO,
        };
        limiter.tokens = limiter.depth().get();
        limiter
    }

    /// The depth of the bucket, the 32-bit product cut and divided by four.
    #[must_use]
    pub const fn depth(&self) -> ByteSize {
        ByteSize::new((self.rate.wrapping_mul(self.time_scale_secs) >> 2) as u64)
    }

    /// Billionths of a byte accrued in `elapsed`, wrapping as the seed's do.
    fn accrued(&self, now: Timestamp) -> u64 {
        let elapsed = now.since(self.updated_at).get();
        elapsed.wrapping_mul(u64::from(self.rate))
    }

    fn tokens_at(&self, now: Timestamp) -> u64 {
        let credit = self.accrued(now) / NANOS_PER_SEC;
        self.tokens.saturating_add(credit).min(self.depth().get())
    }

    fn refill(&mut self, now: Timestamp) {
        self.tokens = self.tokens_at(now);
        self.updated_at = self.updated_at.max(now);
    }
}

impl Limiter for Wirefisher {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        size.get() <= self.tokens_at(now)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.conforms(now, size) {
            return Some(now);
        }
        if size > self.depth() || self.rate == 0 {
            return None;
        }
        let from = self.updated_at.max(now);
        // At most the depth, so that the product stays below 2^62.
        let needed = (size.get() - self.tokens) * NANOS_PER_SEC;
        let wait = (needed - self.accrued(from)).div_ceil(u64::from(self.rate));
        from.as_nanos().checked_add(wait).map(Timestamp::from_nanos)
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        ByteSize::new(self.tokens_at(now))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.refill(now);
        self.tokens = self.tokens.saturating_sub(size.get());
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        self.refill(now);
        let conforms = size.get() <= self.tokens;
        if conforms {
            self.tokens -= size.get();
        }
        conforms
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.tokens = self
            .tokens
            .saturating_add(size.get())
            .min(self.depth().get());
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.refill(now);
        self.rate = low_32_bits(rate.get());
    }
}

/// The fault itself: a 64-bit figure assigned to a 32-bit field.
const fn low_32_bits(value: u64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the seed's fields have 32 bits; the cut is its fault, kept"
    )]
    {
        value as u32
    }
}
