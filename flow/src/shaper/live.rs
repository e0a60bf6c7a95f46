//! A shaper whose rate may change while packets wait in it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::policer::{DropReason, Verdict};
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// A packet that was accepted and has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<T> {
    /// When it arrived.
    pub arrival: Timestamp,
    /// When it leaves, unless the rate changes before.
    pub departure: Timestamp,
    /// Its bytes.
    pub size: ByteSize,
    /// What the caller knows it by.
    pub tag: T,
}

/// A shaper that keeps its packets, so that a change of rate moves the
/// departures of those that wait.
///
/// Without a change it decides exactly as [`Shaper`](super::Shaper). It keeps
/// the limiter twice: as it is, and as it will be once everything accepted has
/// left. A change of rate applies to the first and plans the queue again.
///
/// The caller [`pop`](Self::pop)s what is due before it tells of anything later.
///
/// ```
/// use weirgate_flow::shaper::LiveShaper;
/// use weirgate_flow::token_bucket::TokenBucket;
/// use weirgate_flow::{ByteRate, ByteSize, Timestamp};
///
/// let rate = |bytes| ByteRate::new(bytes).expect("not zero");
/// let second = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
/// let bucket = TokenBucket::new(rate(1_000), ByteSize::new(1_000));
/// let mut shaper = LiveShaper::new(bucket, None);
/// for tag in ["a", "b", "c"] {
///     shaper.offer(second(0), ByteSize::new(1_000), tag);
/// }
/// assert_eq!(shaper.pop(second(0)).map(|packet| packet.tag), Some("a"));
/// // "b" would leave at 1 s and "c" at 2 s; at 0 s the rate falls to a half.
/// shaper.set_rate(second(0), rate(500));
/// assert_eq!(shaper.next_departure(), Some(second(2)));
/// ```
#[derive(Clone, Debug)]
pub struct LiveShaper<L, T> {
    /// Everything that has left is committed here.
    departed: L,
    /// And here everything that was accepted.
    planned: L,
    /// The departure of the last packet accepted.
    tail: Timestamp,
    /// The departure of the last packet that left, or the last change of rate.
    settled: Timestamp,
    limit: Option<ByteSize>,
    queue: VecDeque<Waiting<T>>,
    bytes: u64,
}

impl<L: Limiter + Clone, T> LiveShaper<L, T> {
    /// Delays by `limiter` in a queue of at most `queue` waiting bytes; `None`
    /// is no limit.
    pub fn new(limiter: L, queue: Option<ByteSize>) -> Self {
        Self {
            departed: limiter.clone(),
            planned: limiter,
            tail: Timestamp::ZERO,
            settled: Timestamp::ZERO,
            limit: queue,
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Decides about `size` bytes that arrive at `at`; everything due by then
    /// must have been popped. What departs, even at once, is to be popped.
    pub fn offer(&mut self, at: Timestamp, size: ByteSize, tag: T) -> Verdict {
        let Some(departure) = self.planned.earliest(at.max(self.tail), size) else {
            return Verdict::Drop(DropReason::Oversize);
        };
        if departure > at && !self.has_room(size) {
            return Verdict::Drop(DropReason::Queue);
        }
        self.planned.commit(departure, size);
        self.tail = departure;
        self.bytes = self.bytes.saturating_add(size.get());
        self.queue.push_back(Waiting {
            arrival: at,
            departure,
            size,
            tag,
        });
        Verdict::Departs(departure)
    }

    /// When the next packet leaves, as things stand.
    #[must_use]
    pub fn next_departure(&self) -> Option<Timestamp> {
        self.queue.front().map(|packet| packet.departure)
    }

    /// Bytes that were accepted and not popped.
    #[must_use]
    pub const fn waiting(&self) -> ByteSize {
        ByteSize::new(self.bytes)
    }

    /// The next packet that has left by `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<Waiting<T>> {
        self.next_departure()
            .filter(|departure| *departure <= now)?;
        let packet = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(packet.size.get());
        self.departed.commit(packet.departure, packet.size);
        self.settled = packet.departure;
        Some(packet)
    }

    /// Changes the long-run rate from `at` on; everything due by then must have
    /// been popped. Those that wait leave when the new rate lets them, in the
    /// same order. What never conforms at the new rate is returned, dropped as
    /// oversize.
    pub fn set_rate(&mut self, at: Timestamp, rate: ByteRate) -> Vec<Waiting<T>> {
        self.departed.set_rate(at, rate);
        self.settled = self.settled.max(at);
        self.planned = self.departed.clone();
        self.tail = self.settled;
        let mut dropped = Vec::new();
        for mut packet in core::mem::take(&mut self.queue) {
            let from = packet.arrival.max(self.tail);
            if let Some(departure) = self.planned.earliest(from, packet.size) {
                self.planned.commit(departure, packet.size);
                self.tail = departure;
                packet.departure = departure;
                self.queue.push_back(packet);
            } else {
                self.bytes = self.bytes.saturating_sub(packet.size.get());
                dropped.push(packet);
            }
        }
        dropped
    }

    fn has_room(&self, size: ByteSize) -> bool {
        self.limit.is_none_or(|limit| {
            let bytes = self.bytes.checked_add(size.get());
            bytes.is_some_and(|bytes| bytes <= limit.get())
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::LiveShaper;
    use crate::fixed_window::FixedWindow;
    use crate::policer::{DropReason, Verdict};
    use crate::token_bucket::TokenBucket;
    use crate::{ByteRate, ByteSize, Nanos, Timestamp};

    fn rate(bytes: u64) -> ByteRate {
        ByteRate::new(bytes).unwrap()
    }

    fn millis(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn departures(shaper: &mut LiveShaper<TokenBucket, u32>) -> Vec<(u32, Timestamp)> {
        core::iter::from_fn(|| shaper.pop(Timestamp::MAX))
            .map(|packet| (packet.tag, packet.departure))
            .collect()
    }

    /// Four packets of 1,000 B at 0 s and 1,000 B/s: due at 0, 1, 2 and 3 s.
    fn loaded() -> LiveShaper<TokenBucket, u32> {
        let bucket = TokenBucket::new(rate(1_000), ByteSize::new(1_000));
        let mut shaper = LiveShaper::new(bucket, Some(ByteSize::new(3_000)));
        for tag in 0..4 {
            shaper.offer(Timestamp::ZERO, ByteSize::new(1_000), tag);
            while shaper.pop(Timestamp::ZERO).is_some() {}
        }
        shaper
    }

    #[test]
    fn a_higher_rate_moves_departures_forward() {
        let mut shaper = loaded();
        let full = shaper.offer(Timestamp::ZERO, ByteSize::new(1), 9);
        assert_eq!(full, Verdict::Drop(DropReason::Queue));
        // At 0.5 s half of the next packet is earned; at 10 kB/s the rest takes 50 ms.
        assert_eq!(shaper.set_rate(millis(500), rate(10_000)), []);
        let expected = [(1, millis(550)), (2, millis(650)), (3, millis(750))];
        assert_eq!(departures(&mut shaper), expected);
        assert_eq!(shaper.waiting(), ByteSize::ZERO);
    }

    #[test]
    fn a_lower_rate_moves_them_back_and_the_next_arrival_queues_behind() {
        let mut shaper = loaded();
        assert_eq!(shaper.pop(millis(1_000)).unwrap().tag, 1);
        assert!(shaper.set_rate(millis(1_500), rate(100)).is_empty());
        let verdict = shaper.offer(millis(1_600), ByteSize::new(100), 4);
        assert_eq!(verdict, Verdict::Departs(millis(17_500)));
        let expected = [(2, millis(6_500)), (3, millis(16_500)), (4, millis(17_500))];
        assert_eq!(departures(&mut shaper), expected);
    }

    #[test]
    fn what_the_new_rate_never_lets_through_is_dropped() {
        let window = FixedWindow::new(ByteSize::new(1_000), Nanos::from_secs(1), Timestamp::ZERO);
        let mut shaper = LiveShaper::new(window, None);
        for (tag, size) in [(0, 1_000), (1, 800), (2, 100)] {
            shaper.offer(Timestamp::ZERO, ByteSize::new(size), tag);
        }
        assert_eq!(shaper.pop(Timestamp::ZERO).unwrap().tag, 0);
        let dropped = shaper.set_rate(millis(1), rate(500));
        assert_eq!(
            dropped.iter().map(|packet| packet.tag).collect::<Vec<_>>(),
            [1]
        );
        assert_eq!(shaper.next_departure(), Some(millis(1_000)));
        assert_eq!(shaper.waiting(), ByteSize::new(100));
    }
}
