//! A limiter in front of a byte stream: the sender waits, nothing is dropped.
//!
//! A relay that may read as little as it likes needs no packets: it reads what
//! the limiter lets through now, and otherwise waits until a piece worth waking
//! up for conforms. That piece is the *quantum*.

use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// The longest quantum: one buffer of a relay.
const LONGEST: u64 = 16_384;

/// The size a waiting stream waits for: 50 ms of `rate`, at least 1 byte, at
/// most 16 KiB, and never more than `largest`, the largest size that can ever
/// conform. Without a rate it is 16 KiB.
///
/// At 3 kB/s the pieces have 150 bytes and come every 50 ms; at 1 B/s a byte
/// comes every second.
///
/// ```
/// use weirgate_flow::{ByteRate, ByteSize, stream};
///
/// let rate = ByteRate::new(3_000);
/// assert_eq!(stream::quantum(rate, None), ByteSize::new(150));
/// assert_eq!(stream::quantum(ByteRate::new(1), None), ByteSize::new(1));
/// assert_eq!(stream::quantum(None, Some(ByteSize::new(1_500))), ByteSize::new(1_500));
/// ```
#[must_use]
pub fn quantum(rate: Option<ByteRate>, largest: Option<ByteSize>) -> ByteSize {
    let by_rate = rate.map_or(LONGEST, |rate| (rate.get() / 20).clamp(1, LONGEST));
    let largest = largest.map_or(LONGEST, ByteSize::get);
    ByteSize::new(by_rate.min(largest).max(1))
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
/// use weirgate_flow::stream::{Grant, Stream, quantum};
/// use weirgate_flow::{ByteRate, ByteSize, Timestamp};
///
/// let rate = ByteRate::new(16_384).expect("not zero");
/// let mut stream = Stream::new(ShadowsocksDebt::new(rate), quantum(Some(rate), None));
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
    quantum: ByteSize,
    in_pieces: bool,
}

impl<L: Limiter> Stream<L> {
    /// A stream through `limiter` that waits for `quantum` bytes (at least 1),
    /// which must be a size that can conform.
    #[must_use]
    pub fn new(limiter: L, quantum: ByteSize) -> Self {
        Self {
            limiter,
            quantum: quantum.max(ByteSize::new(1)),
            in_pieces: false,
        }
    }

    /// The same, never granting more than a quantum at a time: for a limiter
    /// that passes anything once it passes something, as a queue that is served
    /// at a constant rate does.
    #[must_use]
    pub fn in_pieces(limiter: L, quantum: ByteSize) -> Self {
        Self {
            in_pieces: true,
            ..Self::new(limiter, quantum)
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

    /// Changes the rate from `now` on, and with it the quantum: see [`quantum`].
    pub fn set_rate(&mut self, now: Timestamp, rate: ByteRate, quantum: ByteSize) {
        self.limiter.set_rate(now, rate);
        self.quantum = quantum.max(ByteSize::new(1));
    }

    /// The size a wait is for.
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
