//! The generic cell rate algorithm as virtual scheduling.
//!
//! Rule: keep the theoretical arrival time TAT of the next packet; one of
//! `size` bytes at t conforms iff max(t, TAT) + size/rate - t <= burst/rate, and
//! then moves TAT to max(t, TAT) + size/rate. Source: ITU-T I.371, annex A; ATM
//! Forum TM 4.1, section 4.4.2 (there for cells, with the increment T = 1/rate
//! and the limit tau = burst/rate - T).
//!
//! Time is counted here in units of 1/rate nanoseconds, so that a byte lasts a
//! billion of them and nothing is ever rounded. It decides exactly as a full
//! token bucket of the same parameters.
//!
//! Worked example, 1,000 B/s and 1,500 B: 1,500 B at 0 s move TAT to 1.5 s; 500
//! B more conform from 0.5 s on, where 1.5 + 0.5 - 0.5 <= 1.5.

use crate::meter::{billionths, whole_bytes};
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// `gcra`: see the [module](self).
#[derive(Clone, Debug)]
pub struct Gcra {
    rate: ByteRate,
    burst: ByteSize,
    /// Theoretical arrival time, in 1/rate nanoseconds.
    tat: u128,
    /// The latest instant at which something passed.
    last: Timestamp,
}

impl Gcra {
    /// A schedule on which nothing has arrived yet.
    #[must_use]
    pub const fn new(rate: ByteRate, burst: ByteSize) -> Self {
        Self {
            rate,
            burst,
            tat: 0,
            last: Timestamp::ZERO,
        }
    }

    /// `now`, or the latest instant if the clock ran backwards, in 1/rate nanoseconds.
    fn scaled(&self, now: Timestamp) -> u128 {
        u128::from(now.max(self.last).as_nanos()) * u128::from(self.rate.get())
    }

    /// max(t, TAT) - t.
    fn ahead(&self, now: Timestamp) -> u128 {
        self.tat.saturating_sub(self.scaled(now))
    }
}

impl Limiter for Gcra {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.ahead(now).saturating_add(billionths(size)) <= billionths(self.burst)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let slack = billionths(self.burst).checked_sub(billionths(size))?;
        if self.ahead(now) <= slack {
            return Some(now);
        }
        let at = (self.tat - slack).div_ceil(u128::from(self.rate.get()));
        u64::try_from(at).ok().map(Timestamp::from_nanos)
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        whole_bytes(billionths(self.burst).saturating_sub(self.ahead(now)))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        let start = self.scaled(now).max(self.tat);
        self.tat = start.saturating_add(billionths(size));
        self.last = self.last.max(now);
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.tat = self.tat.saturating_sub(billionths(size));
    }

    /// Keeps the bytes that are ahead of schedule, not the time they took.
    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        let ahead = self.ahead(now);
        self.last = self.last.max(now);
        self.rate = rate;
        self.tat = self.scaled(now).saturating_add(ahead);
    }
}
