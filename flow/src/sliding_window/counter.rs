//! Two counters, the older one weighted by how much of it the window still covers.

use crate::policy::{Policy, window_limit};
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// `sliding-window-counter`: previous x (1 - elapsed fraction) + current + size <= limit.
///
/// Windows lie end to end from the origin of time; the weighted count stands
/// for a sliding window as if the previous one's bytes had come evenly. The
/// approximation of web front-ends (Cloudflare, "How we built rate limiting
/// capable of scaling to millions of domains", 2017). Both sides are
/// multiplied by W, so nothing is rounded.
///
/// Worked example, 1,000 B in 1 s: 1,000 B pass at 0.9 s. At 1.25 s three
/// quarters of them still count, so 250 B conform; 1,000 B conform at 2 s.
#[derive(Clone, Debug)]
pub struct SlidingWindowCounter {
    limit: ByteSize,
    window: u64,
    counts: Counts,
    /// Start of the window that `counts` belong to.
    start: u64,
    /// The latest instant at which something passed.
    last: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    previous: u64,
    current: u64,
}

impl SlidingWindowCounter {
    /// Empty counters. `window` is taken as at least one nanosecond and at
    /// most [`Policy::LONGEST_SPAN`].
    #[must_use]
    pub fn new(limit: ByteSize, window: Nanos) -> Self {
        Self {
            limit,
            window: window.clamp(Nanos::new(1), Policy::LONGEST_SPAN).get(),
            counts: Counts::default(),
            start: 0,
            last: Timestamp::ZERO,
        }
    }

    /// Start of the window at `now`, and the counts there.
    fn at(&self, now: Timestamp) -> (u64, Counts) {
        let now = now.max(self.last).as_nanos();
        if now - self.start < self.window {
            return (self.start, self.counts);
        }
        let windows = (now - self.start) / self.window;
        let start = self.start + windows * self.window;
        let counts = match windows {
            1 => self.counts.next(),
            _ => Counts::default(),
        };
        (start, counts)
    }

    /// What the window that ends at `now` holds by the weighted count, times W.
    fn weighted(&self, now: Timestamp) -> u128 {
        let (start, counts) = self.at(now);
        let covered = self.window - (now.max(self.last).as_nanos() - start);
        u128::from(counts.previous) * u128::from(covered)
            + u128::from(counts.current) * u128::from(self.window)
    }

    /// The first elapsed time within a window, if any, at which `size` conforms
    /// beside `counts`.
    fn fits_from(&self, counts: Counts, size: ByteSize) -> Option<u64> {
        let slack = self.limit.get().checked_sub(size.get())?;
        let slack = u128::from(slack.checked_sub(counts.current)?);
        let window = u128::from(self.window);
        let Some(covered) = (slack * window).checked_div(u128::from(counts.previous)) else {
            return Some(0);
        };
        // The previous window may weigh `covered / window` of itself.
        let elapsed = window.saturating_sub(covered);
        u64::try_from(elapsed)
            .ok()
            .filter(|elapsed| *elapsed < self.window)
    }
}

impl Counts {
    /// The counts as the next window sees them.
    const fn next(self) -> Self {
        Self {
            previous: self.current,
            current: 0,
        }
    }
}

impl Limiter for SlidingWindowCounter {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        let window = u128::from(self.window);
        let with = self.weighted(now) + u128::from(size.get()) * window;
        with <= u128::from(self.limit.get()) * window
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.conforms(now, size) {
            return Some(now);
        }
        let (mut start, mut counts) = self.at(now);
        // After two windows without traffic both counters are zero.
        for _ in 0..=2 {
            if let Some(elapsed) = self.fits_from(counts, size) {
                let at = start.checked_add(elapsed)?;
                return Some(Timestamp::from_nanos(at));
            }
            start = start.checked_add(self.window)?;
            counts = counts.next();
        }
        None
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        let counted = self.weighted(now).div_ceil(u128::from(self.window));
        let counted = u64::try_from(counted).unwrap_or(u64::MAX);
        ByteSize::new(self.limit.get().saturating_sub(counted))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        (self.start, self.counts) = self.at(now);
        self.counts.current = self.counts.current.saturating_add(size.get());
        self.last = self.last.max(now);
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.counts.current = self.counts.current.saturating_sub(size.get());
    }

    /// The limit becomes `rate` x window at once.
    fn set_rate(&mut self, _now: Timestamp, rate: ByteRate) {
        self.limit = window_limit(rate, Nanos::new(self.window));
    }
}
