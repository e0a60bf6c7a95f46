//! A record of everything that passed in the last window.

use alloc::collections::VecDeque;

use crate::policy::window_limit;
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// `sliding-window-log`: at most `limit` bytes in every (t - W, t].
///
/// Rule: remember each packet for W; one more conforms iff it fits beside the
/// remembered ones. Exact, and paid for in memory: an entry of 16 bytes for
/// every instant at which something passed.
///
/// Worked example, 1,500 B in 1 s: 1,000 B at 0 s and 500 B at 0.3 s fill the
/// window; another 500 B conform at 1 s, when the first entry leaves it, and
/// 1,500 B at 1.3 s.
#[derive(Clone, Debug)]
pub struct SlidingWindowLog {
    limit: ByteSize,
    window: Nanos,
    entries: VecDeque<Entry>,
    /// Everything that passed before the first entry, modulo 2^64.
    forgotten: u64,
    /// The latest instant at which something passed.
    last: Timestamp,
}

/// What passed until one instant.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    /// Everything that passed up to and at this instant, modulo 2^64.
    total: u64,
}

impl SlidingWindowLog {
    /// Bytes of heap per entry.
    pub const ENTRY_BYTES: usize = size_of::<Entry>();

    /// An empty log. A `window` of zero is taken as one nanosecond.
    #[must_use]
    pub fn new(limit: ByteSize, window: Nanos) -> Self {
        Self {
            limit,
            window: window.max(Nanos::new(1)),
            entries: VecDeque::new(),
            forgotten: 0,
            last: Timestamp::ZERO,
        }
    }

    /// Entries at this instant or before have left the window at `now`. For a
    /// clock that runs backwards they have been forgotten already.
    fn horizon(&self, now: Timestamp) -> Option<u64> {
        now.as_nanos().checked_sub(self.window.get())
    }

    /// How many entries have left the window at `now`.
    fn left(&self, now: Timestamp) -> usize {
        let Some(horizon) = self.horizon(now) else {
            return 0;
        };
        // Mostly none or one: look there before halving.
        let inside = |index| {
            self.entries
                .get(index)
                .is_none_or(|e: &Entry| e.at > horizon)
        };
        if inside(0) {
            0
        } else if inside(1) {
            1
        } else {
            self.entries.partition_point(|entry| entry.at <= horizon)
        }
    }

    /// Everything that passed up to the last of the first `count` entries.
    fn total_of(&self, count: usize) -> u64 {
        count
            .checked_sub(1)
            .and_then(|index| self.entries.get(index))
            .map_or(self.forgotten, |entry| entry.total)
    }

    /// Bytes in (now - W, now]. At most 2^64 - 1 are ever recorded in a window.
    fn in_window(&self, now: Timestamp) -> u64 {
        let total = self.total_of(self.entries.len());
        total.wrapping_sub(self.total_of(self.left(now)))
    }
}

impl Limiter for SlidingWindowLog {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        size <= self.available(now)
    }

    /// When enough of the oldest entries have left the window.
    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let beside = self.limit.get().checked_sub(size.get())?;
        let left = self.left(now);
        let before = self.total_of(left);
        let total = self.total_of(self.entries.len()).wrapping_sub(before);
        let Some(excess) = total.checked_sub(beside).filter(|excess| *excess > 0) else {
            return Some(now);
        };
        let horizon = self.horizon(now);
        let too_few =
            |entry: &Entry| Some(entry.at) <= horizon || entry.total.wrapping_sub(before) < excess;
        let last = self.entries.get(self.entries.partition_point(too_few))?;
        let at = last.at.checked_add(self.window.get())?;
        Some(Timestamp::from_nanos(at))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        ByteSize::new(self.limit.get().saturating_sub(self.in_window(now)))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.last = self.last.max(now);
        let left = self.left(now);
        self.forgotten = self.total_of(left);
        self.entries.drain(..left);
        let most = u64::MAX - self.in_window(now);
        let total = self.total_of(self.entries.len());
        let total = total.wrapping_add(size.get().min(most));
        match self.entries.back_mut() {
            Some(latest) if latest.at == self.last.as_nanos() => latest.total = total,
            _ if size == ByteSize::ZERO => {}
            _ => self.entries.push_back(Entry {
                at: self.last.as_nanos(),
                total,
            }),
        }
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let before = self.total_of(self.entries.len().saturating_sub(1));
        if let Some(latest) = self.entries.back_mut() {
            let counted = latest.total.wrapping_sub(before);
            latest.total = latest.total.wrapping_sub(size.get().min(counted));
            if latest.total == before {
                self.entries.pop_back();
            }
        }
    }

    /// The limit becomes `rate` x window at once.
    fn set_rate(&mut self, _now: Timestamp, rate: ByteRate) {
        self.limit = window_limit(rate, self.window);
    }
}
