//! A limiter in front of a byte stream: the sender waits, nothing is dropped.
//!
//! A relay that may read as little as it likes needs no packets: it reads what
//! the limiter lets through now, and otherwise waits until a piece worth waking
//! up for conforms. That piece is the *quantum*.

use crate::as_coded::{HomeworkPolling, HomeworkSleep, ShadowsocksClose, ShadowsocksDebt};
use crate::policy::Oversize;
use crate::{ByteRate, ByteSize, Limiter, Policy, Timestamp};

/// The longest quantum: one buffer of a relay.
const LONGEST: ByteSize = ByteSize::new(16_384);

/// The size that a waiting stream under `policy` waits for.
///
/// It is 50 ms of the rate, at least 1 byte, at most 16 KiB, and never more than
/// can conform. Without a rate it is 16 KiB; the seeds' own limiters have the
/// buffers of their programs.
///
/// ```
/// use weirgate_flow::{ByteSize, Policy, stream};
///
/// let quantum = |policy: &str| policy.parse().map(|policy: Policy| stream::quantum(&policy));
/// // Every 50 ms 150 bytes.
/// assert_eq!(quantum("token-bucket:rate=3kB/s,burst=1500B")?, ByteSize::new(150));
/// // Every second one.
/// assert_eq!(quantum("gcra:rate=1B/s,burst=1500B")?, ByteSize::new(1));
/// // No more than the bucket holds.
/// assert_eq!(quantum("gcra:rate=1MB/s,burst=1500B")?, ByteSize::new(1_500));
/// # Ok::<(), weirgate_flow::spec::SpecError>(())
/// ```
#[must_use]
pub fn quantum(policy: &Policy) -> ByteSize {
    match policy {
        Policy::HomeworkPolling { .. } => HomeworkPolling::READ,
        Policy::HomeworkSleep { .. } => HomeworkSleep::READ,
        Policy::ShadowsocksClose { .. } => ShadowsocksClose::READ,
        Policy::ShadowsocksDebt { .. } => ShadowsocksDebt::READ,
        _ => by_rate(policy.rate())
            .min(repeatable(policy))
            .min(policy.burst().unwrap_or(LONGEST))
            .max(ByteSize::new(1)),
    }
}

/// The largest size that conforms again and again: an average that never quite
/// returns to rest passes the largest of all only once.
fn repeatable(policy: &Policy) -> ByteSize {
    match policy {
        Policy::Ewma { .. } | Policy::EwmaContinuous { .. } => {
            ByteSize::new(policy.largest().get() / 2)
        }
        _ => policy.largest(),
    }
}

fn by_rate(rate: Option<ByteRate>) -> ByteSize {
    rate.map_or(LONGEST, |rate| LONGEST.min(ByteSize::new(rate.get() / 20)))
}

/// Whether a stream under `policy` never moves more than a quantum at a time:
/// some limiters pass anything once they pass something, another looks at whole
/// buffers. So a bucket that takes oversize packets as a debt has none here.
fn in_pieces(policy: &Policy) -> bool {
    matches!(
        policy,
        Policy::LeakyBucket { .. }
            | Policy::ShadowsocksClose { .. }
            | Policy::TokenBucket {
                oversize: Oversize::Debt,
                ..
            }
    )
}

/// What a [`Stream`] answers to "may I move so many bytes?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes may move now, at least 1 and at most what was wanted
    /// (none if none were wanted). They are [`Stream::commit`]ted when they do.
    Now(ByteSize),
    /// Nothing now; ask again at this instant, later than now.
    At(Timestamp),
    /// Nothing, ever: the limiter will not let this connection go on.
    Never,
}

/// A limiter that paces a byte stream.
///
/// ```
/// use weirgate_flow::as_coded::ShadowsocksDebt;
/// use weirgate_flow::stream::{Grant, Stream};
/// use weirgate_flow::{ByteRate, ByteSize, Policy, Timestamp};
///
/// let rate = ByteRate::new(16_384).expect("not zero");
/// let policy = Policy::ShadowsocksDebt { rate };
/// let mut stream = Stream::new(policy, ShadowsocksDebt::new(rate));
/// let buffer = ByteSize::new(16_384);
/// assert_eq!(stream.grant(Timestamp::ZERO, buffer), Grant::Now(buffer));
/// stream.commit(Timestamp::ZERO, buffer);
/// stream.commit(Timestamp::ZERO, buffer);
/// let second = Timestamp::from_nanos(1_000_000_000);
/// assert_eq!(stream.grant(Timestamp::ZERO, buffer), Grant::At(second));
/// ```
#[derive(Clone, Debug)]
pub struct Stream<L> {
    limiter: L,
    policy: Policy,
    quantum: ByteSize,
    in_pieces: bool,
}

impl<L: Limiter> Stream<L> {
    /// A stream through `limiter`, which was built from `policy`.
    #[must_use]
    pub fn new(policy: Policy, limiter: L) -> Self {
        Self {
            limiter,
            policy,
            quantum: quantum(&policy),
            in_pieces: in_pieces(&policy),
        }
    }

    /// How many of `wanted` bytes may move at `now`, or when to ask again.
    ///
    /// Less than a quantum is granted only if less is wanted: crumbs would cost
    /// a system call each.
    #[must_use]
    pub fn grant(&self, now: Timestamp, wanted: ByteSize) -> Grant {
        let piece = wanted.min(self.quantum);
        match self.limiter.earliest(now, piece) {
            Some(at) if at > now => Grant::At(at),
            Some(_) if self.in_pieces => Grant::Now(piece),
            Some(_) => Grant::Now(wanted.min(self.limiter.available(now)).max(piece)),
            None => Grant::Never,
        }
    }

    /// Records that `size` bytes have moved at `now`.
    pub fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.limiter.commit(now, size);
    }

    /// Gives back `size` bytes of the last commit that did not move after all.
    pub fn refund(&mut self, now: Timestamp, size: ByteSize) {
        self.limiter.refund(now, size);
    }

    /// Moves the next piece of a source that has `backlog` bytes ready at
    /// `now`: when it moves, and how much. `None` if it never does.
    ///
    /// Calling it again with the instant it answered is the whole loop of a
    /// relay that takes no time for itself.
    pub fn move_next(
        &mut self,
        now: Timestamp,
        backlog: ByteSize,
    ) -> Option<(Timestamp, ByteSize)> {
        let mut at = now;
        loop {
            match self.grant(at, backlog) {
                Grant::Now(size) => {
                    self.commit(at, size);
                    return Some((at, size));
                }
                Grant::At(later) => at = later,
                Grant::Never => return None,
            }
        }
    }

    /// Changes the rate from `now` on, and with it the quantum.
    pub fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.limiter.set_rate(now, rate);
        self.policy = self.policy.with_rate(rate);
        self.quantum = quantum(&self.policy);
    }

    /// Waits for `quantum` bytes (at least 1, and no more than can conform) from
    /// now on, until the rate changes: for a driver whose timers are late.
    pub fn set_quantum(&mut self, quantum: ByteSize) {
        self.quantum = quantum.max(ByteSize::new(1));
    }

    /// Kind and parameters, the rate as last set.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The size that a wait is for.
    #[must_use]
    pub fn quantum(&self) -> ByteSize {
        self.quantum
    }

    /// The limiter with its state.
    #[must_use]
    pub fn limiter(&self) -> &L {
        &self.limiter
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, Stream};
    use crate::{ByteSize, Policy, Timestamp};

    /// What a source that never ends gets in ten seconds, and the largest piece.
    fn saturated(policy: &str) -> (u64, ByteSize) {
        let policy: Policy = policy.parse().unwrap();
        let mut stream = Stream::new(policy, policy.build());
        let (mut now, mut sum, mut largest) = (Timestamp::ZERO, 0, ByteSize::ZERO);
        while let Some((at, size)) = stream.move_next(now, ByteSize::new(65_536)) {
            if at >= Timestamp::from_nanos(10_000_000_000) {
                break;
            }
            (now, sum, largest) = (at, sum + size.get(), largest.max(size));
        }
        (sum, largest)
    }

    #[test]
    fn a_stream_runs_up_no_debt() {
        let (sum, largest) = saturated("token-bucket:rate=5000B/s,burst=5000B,oversize=debt");
        assert!(largest <= ByteSize::new(250), "{largest}");
        assert!((54_500..=55_000).contains(&sum), "{sum}");
    }

    #[test]
    fn an_average_with_a_short_memory_goes_on() {
        // 50 ms of the rate is all that this average ever lets through at once.
        let (sum, _) = saturated("ewma-continuous:rate=5000B/s,time_constant=50ms");
        assert!((35_000..=50_250).contains(&sum), "{sum}");
        let none = Stream::new(Policy::None, Policy::None.build());
        let all = ByteSize::new(65_536);
        assert_eq!(none.grant(Timestamp::ZERO, all), Grant::Now(all));
    }
}
