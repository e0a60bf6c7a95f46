//! A counter that starts anew with each window.
//!
//! Rule: at most `limit` bytes in each \[origin + kW, origin + (k+1)W). The
//! oldest way to limit, and its flaw is part of it: a burst at the end of one
//! window and one at the start of the next put twice the limit into less than
//! one W.
//!
//! Worked example, 5,000 B in 1 s: 5,000 B pass at 0.999999999 s and 5,000 B
//! more at 1 s.

use crate::policy::window_limit;
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// `fixed-window`: see the [module](self).
#[derive(Clone, Debug)]
pub struct FixedWindow {
    limit: ByteSize,
    window: Nanos,
    /// The origin within the first window, so that windows reach back to time 0.
    phase: u64,
    /// The last nanosecond of the window that `counted` belongs to.
    until: Timestamp,
    counted: u64,
}

impl FixedWindow {
    /// An empty window. A `window` of zero is taken as one nanosecond.
    #[must_use]
    pub fn new(limit: ByteSize, window: Nanos, origin: Timestamp) -> Self {
        let window = window.max(Nanos::new(1));
        let mut limiter = Self {
            limit,
            window,
            phase: origin.as_nanos() % window.get(),
            until: Timestamp::ZERO,
            counted: 0,
        };
        limiter.until = limiter.end_of_window(Timestamp::ZERO);
        limiter
    }

    /// The last nanosecond of the window that contains `now`.
    fn end_of_window(&self, now: Timestamp) -> Timestamp {
        let window = self.window.get();
        let into = match now.as_nanos().checked_sub(self.phase) {
            Some(since_phase) => since_phase % window,
            None => window - (self.phase - now.as_nanos()),
        };
        now + Nanos::new(window - 1 - into)
    }

    fn counted_at(&self, now: Timestamp) -> u64 {
        if now <= self.until { self.counted } else { 0 }
    }
}

impl Limiter for FixedWindow {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        size <= self.available(now)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if size > self.limit {
            return None;
        }
        if self.conforms(now, size) {
            return Some(now);
        }
        let next = self.until.as_nanos().checked_add(1)?;
        Some(Timestamp::from_nanos(next))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        ByteSize::new(self.limit.get().saturating_sub(self.counted_at(now)))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        if now > self.until {
            self.until = self.end_of_window(now);
            self.counted = 0;
        }
        self.counted = self.counted.saturating_add(size.get());
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.counted = self.counted.saturating_sub(size.get());
    }

    /// The limit becomes `rate` x window, in the running window too.
    fn set_rate(&mut self, _now: Timestamp, rate: ByteRate) {
        self.limit = window_limit(rate, self.window);
    }
}
