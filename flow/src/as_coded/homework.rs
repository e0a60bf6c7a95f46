//! The two course-work proxies: a relay that asks before every read.
//!
//! Both loop over "ask the bucket, read one buffer, write it". The bucket is
//! asked *before* the read, so an idle connection holds a grant it has already
//! been given, and the whole future up to the next read follows from the state
//! after the last one. [`Pump`] is that loop, [`Gate`] the bucket.

use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Limiter, Nanos, Timestamp};

/// The relay of seed 000: a token bucket on a clock of whole seconds.
///
/// Per user `c` tokens (at most the rate) and `l`, the second of the last
/// refill. A read of up to 2,048 bytes is made when `c >= 2048`.
///
/// Faults kept:
/// - The clock has whole seconds, so it is a fixed window: 2,048 x floor(rate /
///   2,048) bytes in each second, and twice that across a tick.
/// - Below 2,048 B/s it never grants (the program then spins for ever).
/// - At a tick the increment is added more than once; only the cap hides it.
///
/// ```
/// use weirgate_flow::as_coded::HomeworkPolling;
/// use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp};
///
/// let mut limiter = HomeworkPolling::new(ByteRate::new(5_000).expect("not zero"));
/// let buffer = ByteSize::new(2_048);
/// assert!(limiter.admit(Timestamp::ZERO, buffer));
/// assert!(limiter.admit(Timestamp::ZERO, buffer));
/// // 904 tokens are left: nothing passes before the next whole second.
/// assert!(!limiter.admit(Timestamp::from_nanos(999_999_999), buffer));
/// assert!(limiter.admit(Timestamp::from_nanos(1_000_000_000), buffer));
/// ```
pub type HomeworkPolling = Pump<Polling>;

/// The relay of seed 001: a token bucket that sleeps half a second when empty.
///
/// A read of up to 1,024 bytes is made when there are more than 1,024 tokens,
/// and costs 1,024 of them whatever was read.
///
/// Faults kept:
/// - Up to 100 seconds of rate accumulate; beyond, the bucket falls to one.
/// - Each update cuts the credit to whole bytes and forgets the rest.
/// - A short read is charged as a whole buffer, and nothing is given back.
/// - After a refusal it looks again half a second later, not when credit is
///   there (the program sleeps with its whole event loop).
/// - At 10 B/s and below it never grants: the bucket falls to the rate before
///   it can hold a buffer.
///
/// ```
/// use weirgate_flow::as_coded::HomeworkSleep;
/// use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp};
///
/// let mut limiter = HomeworkSleep::new(ByteRate::new(3_000).expect("not zero"));
/// assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(1)));
/// assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(1)));
/// // 952 tokens are left; the next look comes half a second later.
/// assert_eq!(
///     limiter.earliest(Timestamp::ZERO, ByteSize::new(1)),
///     Some(Timestamp::from_nanos(500_000_000)),
/// );
/// ```
pub type HomeworkSleep = Pump<Sleeping>;

/// A bucket that a relay asks before each read.
pub trait Gate: Clone {
    /// Bytes in the relay's buffer: the most that one grant lets through.
    const READ: u64;

    /// Asks at `now` for one read, changing the state whatever the answer.
    fn ask(&mut self, now: Timestamp) -> bool;

    /// When the relay asks again with a chance after a refusal at `now`;
    /// `None` if no later question would ever be granted.
    fn retry(&self, now: Timestamp) -> Option<Timestamp>;

    /// Goes through the refusals from the first question at `asked_at` to
    /// `until` (not before it) and answers when the relay asks next.
    fn refused_until(&mut self, asked_at: Timestamp, until: Timestamp) -> Timestamp;

    /// Takes note that the granted read brought `len` bytes.
    fn read(&mut self, len: u64);

    /// Takes note that the last read brought `len` bytes fewer.
    fn unread(&mut self, len: u64);

    /// Sets the rate; what has accrued stays.
    fn set_rate(&mut self, rate: ByteRate);
}

/// A relay's loop around a [`Gate`]: ask, read, ask again at once.
///
/// The connection is taken to be opened at the origin of time. A packet longer
/// than the buffer needs several reads; it passes as a whole when the last of
/// them is granted, the earlier ones having been made as soon as they could.
/// Packets above 64 KiB never pass in one piece.
#[derive(Clone, Debug)]
pub struct Pump<G> {
    /// The state when the relay began to ask for its next read.
    asked: G,
    asked_at: Timestamp,
    /// The state after the grant, if there will be one.
    gate: G,
    granted_at: Option<Timestamp>,
}

/// The longest packet that passes in one piece.
const LARGEST: u64 = 65_536;

impl<G: Gate> Pump<G> {
    /// Bytes in the relay's buffer: the most that one grant lets through.
    pub const READ: ByteSize = ByteSize::new(G::READ);

    /// The longest packet that passes in one piece; zero if none ever does.
    #[must_use]
    pub const fn largest(&self) -> ByteSize {
        match self.granted_at {
            Some(_) => ByteSize::new(LARGEST),
            None => ByteSize::ZERO,
        }
    }

    fn asking(gate: G, now: Timestamp) -> Self {
        let asked = gate.clone();
        let mut gate = gate;
        let granted_at = next_grant(&mut gate, now);
        Self {
            asked,
            asked_at: now,
            gate,
            granted_at,
        }
    }

    /// The state and instant of the grant for the last of the reads that
    /// `size` bytes take, and the length of that read.
    fn last_read(&self, size: ByteSize) -> Option<(G, Timestamp, u64)> {
        let mut rest = size.get();
        if rest > LARGEST {
            return None;
        }
        let mut gate = self.gate.clone();
        let mut at = self.granted_at?;
        while rest > G::READ {
            gate.read(G::READ);
            at = next_grant(&mut gate, at)?;
            rest -= G::READ;
        }
        Some((gate, at, rest))
    }
}

/// Asks from `now` on as the relay does until it is granted a read.
fn next_grant<G: Gate>(gate: &mut G, now: Timestamp) -> Option<Timestamp> {
    let mut at = now;
    while !gate.ask(at) {
        at = gate.retry(at).filter(|later| *later > at)?;
    }
    Some(at)
}

impl<G: Gate> Limiter for Pump<G> {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.earliest(now, size) == Some(now)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if size == ByteSize::ZERO {
            return Some(now);
        }
        self.last_read(size).map(|(_, at, _)| at.max(now))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        match self.granted_at {
            Some(at) if at <= now => Self::READ,
            _ => ByteSize::ZERO,
        }
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        if size == ByteSize::ZERO {
            return;
        }
        if let Some((mut gate, at, len)) = self.last_read(size) {
            gate.read(len);
            *self = Self::asking(gate, now.max(at));
        }
    }

    fn refund(&mut self, now: Timestamp, size: ByteSize) {
        self.asked.unread(size.get());
        if self.granted_at.is_some_and(|at| at <= now) {
            self.gate.unread(size.get());
        } else {
            *self = Self::asking(self.asked.clone(), self.asked_at);
        }
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        if self.granted_at.is_some_and(|at| at <= now) {
            self.asked.set_rate(rate);
            self.gate.set_rate(rate);
            return;
        }
        let mut gate = self.asked.clone();
        let next = if self.asked_at <= now {
            gate.refused_until(self.asked_at, now)
        } else {
            self.asked_at
        };
        gate.set_rate(rate);
        *self = Self::asking(gate, next);
    }
}

/// The bucket of seed 000: see [`HomeworkPolling`].
#[derive(Clone, Debug)]
pub struct Polling {
    rate: u64,
    tokens: u64,
    refilled_at_secs: u64,
}

impl Pump<Polling> {
    /// A full bucket of `rate` bytes, refilled at whole seconds.
    #[must_use]
    pub fn new(rate: ByteRate) -> Self {
        let gate = Polling {
            rate: rate.get(),
            tokens: rate.get(),
            refilled_at_secs: 0,
        };
        Self::asking(gate, Timestamp::ZERO)
    }
}

impl Gate for Polling {
    const READ: u64 = 2_048;

    fn ask(&mut self, now: Timestamp) -> bool {
        let secs = now.as_nanos() / NANOS_PER_SEC;
        let credit = (secs - self.refilled_at_secs.min(secs)).saturating_mul(self.rate);
        self.tokens = self.tokens.saturating_add(credit).min(self.rate);
        let granted = self.tokens >= Self::READ;
        if granted {
            self.refilled_at_secs = secs;
        }
        granted
    }

    fn retry(&self, now: Timestamp) -> Option<Timestamp> {
        let next_tick = (now.as_nanos() / NANOS_PER_SEC + 1).checked_mul(NANOS_PER_SEC)?;
        (self.rate >= Self::READ).then_some(Timestamp::from_nanos(next_tick))
    }

    /// It spins: the next question comes at once, and refusals change nothing.
    fn refused_until(&mut self, _asked_at: Timestamp, until: Timestamp) -> Timestamp {
        until
    }

    fn read(&mut self, len: u64) {
        self.tokens = self.tokens.saturating_sub(len);
    }

    fn unread(&mut self, len: u64) {
        self.tokens = self.tokens.saturating_add(len).min(self.rate);
    }

    fn set_rate(&mut self, rate: ByteRate) {
        self.rate = rate.get();
    }
}

/// The bucket of seed 001: see [`HomeworkSleep`].
#[derive(Clone, Debug)]
pub struct Sleeping {
    rate: u128,
    tokens: u128,
    updated_at: Timestamp,
}

/// How long the relay of seed 001 sleeps after a refusal.
const SLEEP: Nanos = Nanos::from_millis(500);

impl Pump<Sleeping> {
    /// A bucket that holds one second of `rate`.
    ///
    /// The seed starts it at zero and means to remember the first instant, but
    /// compares where it should assign: the first credit is reckoned from the
    /// epoch of the clock, overflows the bucket and leaves exactly `rate`.
    #[must_use]
    pub fn new(rate: ByteRate) -> Self {
        let gate = Sleeping {
            rate: u128::from(rate.get()),
            tokens: u128::from(rate.get()),
            updated_at: Timestamp::ZERO,
        };
        Self::asking(gate, Timestamp::ZERO)
    }
}

impl Gate for Sleeping {
    const READ: u64 = 1_024;

    fn ask(&mut self, now: Timestamp) -> bool {
        let waited = u128::from(now.since(self.updated_at).get());
        let credit = waited * self.rate / u128::from(NANOS_PER_SEC);
        if credit != 0 {
            self.tokens = self.tokens.saturating_add(credit);
            self.updated_at = now;
        }
        if self.tokens > 100 * self.rate {
            self.tokens = self.rate;
        }
        let granted = self.tokens > u128::from(Self::READ);
        if granted {
            self.tokens -= u128::from(Self::READ);
        }
        granted
    }

    fn retry(&self, now: Timestamp) -> Option<Timestamp> {
        (100 * self.rate > u128::from(Self::READ)).then_some(now + SLEEP)
    }

    fn refused_until(&mut self, asked_at: Timestamp, until: Timestamp) -> Timestamp {
        let questions = until.since(asked_at).get() / SLEEP.get();
        // A bucket that can be granted at all is so within 203 questions; of
        // one that cannot, what came before the last resets leaves no trace.
        for question in questions.saturating_sub(512)..=questions {
            self.ask(asked_at + Nanos::new(question * SLEEP.get()));
        }
        asked_at + Nanos::new(questions * SLEEP.get()) + SLEEP
    }

    fn read(&mut self, _len: u64) {}

    fn unread(&mut self, _len: u64) {}

    fn set_rate(&mut self, rate: ByteRate) {
        self.rate = u128::from(rate.get());
    }
}
