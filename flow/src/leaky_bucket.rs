//! The leaky bucket in its two meanings: a queue, and a meter.
//!
//! Turner's bucket (IEEE Communications Magazine 24(10), 1986) is a counter
//! that leaks; Tanenbaum's is a queue with a constant outflow. Both names
//! stand for both, so here they are two kinds.

use crate::meter::Meter;
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// `leaky-bucket`: the bucket as a queue with a server of constant `rate`.
///
/// Rule: a packet starts when the one before it has been served, service takes
/// size / rate, and it departs when its service starts. It conforms iff the
/// server is idle; applied by a shaper it waits until then.
///
/// Worked example, 1,000 B/s, four packets of 500 B at 0 s: they depart at 0,
/// 0.5, 1 and 1.5 s; no two bursts ever leave together.
#[derive(Clone, Debug)]
pub struct LeakyBucket {
    /// What the server still has to serve.
    backlog: Meter,
}

impl LeakyBucket {
    /// An idle server.
    #[must_use]
    pub fn new(rate: ByteRate) -> Self {
        Self {
            backlog: Meter::new(rate, ByteSize::ZERO, ByteSize::ZERO),
        }
    }
}

impl Limiter for LeakyBucket {
    fn conforms(&self, now: Timestamp, _size: ByteSize) -> bool {
        self.backlog.spent_at(now) == 0
    }

    fn earliest(&self, now: Timestamp, _size: ByteSize) -> Option<Timestamp> {
        self.backlog.when_spent_at_most(now, 0)
    }

    /// Anything while the server is idle, nothing while it serves.
    fn available(&self, now: Timestamp) -> ByteSize {
        if self.backlog.spent_at(now) == 0 {
            ByteSize::MAX
        } else {
            ByteSize::ZERO
        }
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.backlog.overdraw(now, size);
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.backlog.give_back(size);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.backlog.set_rate(now, rate);
    }
}

/// `leaky-bucket-meter`: a level that drains at `rate`.
///
/// Rule: a packet conforms iff level + size <= burst, and then raises the level
/// by its size. Source: ITU-T I.371, annex A (the continuous-state leaky
/// bucket). It decides exactly as a full token bucket of the same parameters:
/// the level is what the tokens lack.
///
/// Worked example, 1,000 B/s and 1,500 B: 1,500 B raise the level to its
/// height at 0 s; another 500 B conform when it has drained to 1,000, at 0.5 s.
#[derive(Clone, Debug)]
pub struct LeakyBucketMeter {
    level: Meter,
}

impl LeakyBucketMeter {
    /// An empty bucket of height `burst`.
    #[must_use]
    pub fn new(rate: ByteRate, burst: ByteSize) -> Self {
        Self {
            level: Meter::new(rate, burst, ByteSize::ZERO),
        }
    }
}

impl Limiter for LeakyBucketMeter {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.level.fits(now, size)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        self.level.when_fits(now, size)
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        self.level.room(now)
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.level.charge(now, size);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        self.level.admit(now, size)
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.level.give_back(size);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.level.set_rate(now, rate);
    }
}
