//! Pass or drop at the arrival.

use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves at this instant.
    Departs(Timestamp),
    /// It is dropped at its arrival.
    Drop(DropReason),
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// A policer found it in excess.
    Police,
    /// It would have had to wait, and the shaper's queue had no room for it.
    Queue,
    /// It never conforms.
    Oversize,
}

/// A limiter that passes what conforms at its arrival and drops the rest.
#[derive(Clone, Debug)]
pub struct Policer<L> {
    limiter: L,
}

impl<L: Limiter> Policer<L> {
    /// Applies `limiter`.
    pub const fn new(limiter: L) -> Self {
        Self { limiter }
    }

    /// Decides about `size` bytes that arrive at `at`.
    #[inline]
    pub fn offer(&mut self, at: Timestamp, size: ByteSize) -> Verdict {
        if self.limiter.admit(at, size) {
            Verdict::Departs(at)
        } else {
            Verdict::Drop(DropReason::Police)
        }
    }

    /// Changes the long-run rate from `at` on.
    pub fn set_rate(&mut self, at: Timestamp, rate: ByteRate) {
        self.limiter.set_rate(at, rate);
    }
}

#[cfg(test)]
mod tests {
    use super::{DropReason, Policer, Verdict};
    use crate::token_bucket::TokenBucket;
    use crate::{ByteRate, ByteSize, Timestamp};

    #[test]
    fn what_conforms_passes_at_once_and_the_rest_is_dropped() {
        let bucket = TokenBucket::new(ByteRate::new(1_000).unwrap(), ByteSize::new(1_000));
        let mut policer = Policer::new(bucket);
        let (size, dropped) = (ByteSize::new(600), Verdict::Drop(DropReason::Police));
        let at = Timestamp::from_nanos(5);
        assert_eq!(policer.offer(at, size), Verdict::Departs(at));
        assert_eq!(policer.offer(at, size), dropped);
        // A drop costs nothing: 200 bytes are earned in 0.2 s, not a nanosecond earlier.
        let at = Timestamp::from_nanos(200_000_004);
        assert_eq!(policer.offer(at, size), dropped);
        let at = Timestamp::from_nanos(200_000_005);
        assert_eq!(policer.offer(at, size), Verdict::Departs(at));
        policer.set_rate(at, ByteRate::new(6_000).unwrap());
        let at = Timestamp::from_nanos(300_000_005);
        assert_eq!(policer.offer(at, size), Verdict::Departs(at));
    }
}
