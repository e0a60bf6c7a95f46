//! What every algorithm answers, and nothing more.

use crate::{ByteRate, ByteSize, Timestamp};

/// One flow-control algorithm with its state.
///
/// The four questions of SPEC: three ask, one tells. Nothing reads a clock;
/// a `now` that runs backwards is treated as the latest one seen. For every
/// limiter except the seeds' own (kept with their faults),
/// `conforms(earliest(t, n), n)` holds and one nanosecond earlier it does not.
pub trait Limiter {
    /// Whether `size` bytes may pass at `now`.
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool;

    /// The first instant at or after `now` at which `size` bytes conform if
    /// nothing else passes first; `None` if they never do.
    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp>;

    /// The most bytes that conform at `now`: what a stream may move of what it has.
    fn available(&self, now: Timestamp) -> ByteSize;

    /// Records that `size` bytes pass at `now`. The caller has asked first.
    fn commit(&mut self, now: Timestamp, size: ByteSize);

    /// Asks and, if the answer is yes, tells: one decision of a policer.
    ///
    /// Always equal to `conforms` followed by `commit`; an algorithm overrides
    /// it where both share work.
    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let conforms = self.conforms(now, size);
        if conforms {
            self.commit(now, size);
        }
        conforms
    }

    /// Gives back `size` bytes of what was committed last and did not pass.
    ///
    /// Never makes the limiter more generous than if they had not been
    /// committed at all.
    fn refund(&mut self, now: Timestamp, size: ByteSize);

    /// Changes the long-run rate from `now` on; credit earned until `now` at
    /// the old rate is kept. Limits of windows scale with the rate.
    fn set_rate(&mut self, now: Timestamp, rate: ByteRate);
}

/// `none`: everything conforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlimited;

impl Limiter for Unlimited {
    fn conforms(&self, _now: Timestamp, _size: ByteSize) -> bool {
        true
    }

    fn earliest(&self, now: Timestamp, _size: ByteSize) -> Option<Timestamp> {
        Some(now)
    }

    fn available(&self, _now: Timestamp) -> ByteSize {
        ByteSize::MAX
    }

    fn commit(&mut self, _now: Timestamp, _size: ByteSize) {}

    fn refund(&mut self, _now: Timestamp, _size: ByteSize) {}

    fn set_rate(&mut self, _now: Timestamp, _rate: ByteRate) {}
}
