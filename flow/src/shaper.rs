//! Delay in a FIFO until the limiter lets a packet through.
//!
//! Rule: packet i leaves at `earliest(max(arrival_i, departure_{i-1}), size_i)`
//! and is committed at that instant. One that would have to wait while the
//! bytes of those that wait, plus its own, exceed the queue limit is dropped at
//! the tail; one that never conforms is dropped as oversize.
//!
//! Worked example, a token bucket of 1,000 B/s and 1,000 B, queue 1,000 B, four
//! packets of 500 B at 0 s and one more: two leave at once, the others at 0.5
//! and 1 s, and the fifth finds the queue full.

use alloc::collections::VecDeque;

use crate::policer::{DropReason, Verdict};
use crate::{ByteSize, Limiter, Timestamp};

mod live;

pub use live::{LiveShaper, Waiting};

/// A shaper that knows each departure at the arrival.
///
/// Nothing can change a departure once it is known, so there is no
/// `set_rate`: a shaper whose rate changes while packets wait is a
/// [`LiveShaper`]. Memory: 16 bytes for each waiting packet if the queue has a
/// limit, none otherwise.
#[derive(Clone, Debug)]
pub struct Shaper<L> {
    limiter: L,
    tail: Timestamp,
    queue: Option<Queue>,
}

/// Who waits.
#[derive(Clone, Debug)]
struct Queue {
    limit: ByteSize,
    departures: VecDeque<(Timestamp, ByteSize)>,
    bytes: u64,
}

impl<L: Limiter> Shaper<L> {
    /// Delays by `limiter` in a queue of at most `queue` waiting bytes; `None`
    /// is no limit.
    pub fn new(limiter: L, queue: Option<ByteSize>) -> Self {
        Self {
            limiter,
            tail: Timestamp::ZERO,
            queue: queue.map(Queue::new),
        }
    }

    /// Decides about `size` bytes that arrive at `at`. Arrivals never decrease;
    /// one that does counts as no earlier than the last departure.
    pub fn offer(&mut self, at: Timestamp, size: ByteSize) -> Verdict {
        let Some(departs) = self.limiter.earliest(at.max(self.tail), size) else {
            return Verdict::Drop(DropReason::Oversize);
        };
        if let Some(queue) = &mut self.queue {
            queue.release(at);
            if departs > at && !queue.push(departs, size) {
                return Verdict::Drop(DropReason::Queue);
            }
        }
        self.limiter.commit(departs, size);
        self.tail = departs;
        Verdict::Departs(departs)
    }
}

impl Queue {
    const fn new(limit: ByteSize) -> Self {
        Self {
            limit,
            departures: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Forgets those that have left by `now`.
    fn release(&mut self, now: Timestamp) {
        while let Some((departure, size)) = self.departures.front() {
            if *departure > now {
                break;
            }
            self.bytes -= size.get();
            self.departures.pop_front();
        }
    }

    /// Lets `size` wait until `departs` if there is room.
    fn push(&mut self, departs: Timestamp, size: ByteSize) -> bool {
        let bytes = self.bytes.checked_add(size.get());
        let Some(bytes) = bytes.filter(|bytes| *bytes <= self.limit.get()) else {
            return false;
        };
        self.bytes = bytes;
        self.departures.push_back((departs, size));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Shaper;
    use crate::leaky_bucket::LeakyBucket;
    use crate::policer::{DropReason, Verdict};
    use crate::token_bucket::TokenBucket;
    use crate::{ByteRate, ByteSize, Timestamp};

    fn departs(millis: u64) -> Verdict {
        Verdict::Departs(Timestamp::from_nanos(millis * 1_000_000))
    }

    #[test]
    fn the_worked_example() {
        let bucket = TokenBucket::new(ByteRate::new(1_000).unwrap(), ByteSize::new(1_000));
        let mut shaper = Shaper::new(bucket, Some(ByteSize::new(1_000)));
        let mut offer = |millis: u64, size| {
            let at = Timestamp::from_nanos(millis * 1_000_000);
            shaper.offer(at, ByteSize::new(size))
        };
        assert_eq!(offer(0, 1_001), Verdict::Drop(DropReason::Oversize));
        for millis in [0, 0, 500, 1_000] {
            assert_eq!(offer(0, 500), departs(millis));
        }
        assert_eq!(offer(0, 500), Verdict::Drop(DropReason::Queue));
        assert_eq!(offer(499, 1), Verdict::Drop(DropReason::Queue));
        // At 0.5 s the first of those that wait has left.
        assert_eq!(offer(500, 500), departs(1_500));
        assert_eq!(offer(1_500, 500), departs(2_000));
    }

    #[test]
    fn a_packet_that_need_not_wait_needs_no_room() {
        let server = LeakyBucket::new(ByteRate::new(1_000).unwrap());
        let mut shaper = Shaper::new(server, Some(ByteSize::ZERO));
        let size = ByteSize::new(500);
        assert_eq!(shaper.offer(Timestamp::ZERO, size), departs(0));
        let early = Timestamp::from_nanos(499_999_999);
        let full = Verdict::Drop(DropReason::Queue);
        assert_eq!(shaper.offer(early, size), full);
        let idle = Timestamp::from_nanos(500_000_000);
        assert_eq!(shaper.offer(idle, size), departs(500));
    }
}
