//! The two limiters that aioshadowsocks had in 2019 and 2020.

use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// `check_traffic_rate` of 2019-09: too much data closes the connection.
///
/// One second of rate accrues. Data is looked at after it has been read: what
/// exceeds the bucket closes the connection, so there is no instant at which
/// the same data would pass later, and [`Limiter::earliest`] is `None` for all
/// that does not conform now. Driven as a stream, a `None` is that close.
///
/// Faults kept:
/// - It ends connections where it should delay them.
/// - A refusal keeps the credit it has just added but not the instant, so the
///   same time is credited again at the next look. This happens in
///   [`Limiter::admit`]; the questions change nothing.
///
/// ```
/// use weirgate_flow::as_coded::ShadowsocksClose;
/// use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp};
///
/// let limiter = ShadowsocksClose::new(ByteRate::new(384_000).expect("not zero"));
/// let now = Timestamp::ZERO;
/// assert!(limiter.conforms(now, ByteSize::new(384_000)));
/// assert_eq!(limiter.earliest(now, ByteSize::new(384_001)), None);
/// ```
#[derive(Clone, Debug)]
pub struct ShadowsocksClose {
    rate: u128,
    /// Billionths of a byte, at most one second of rate.
    remaining: u128,
    updated_at: Timestamp,
}

impl ShadowsocksClose {
    /// What one read of the relay brings at most.
    pub const READ: ByteSize = ByteSize::new(16_384);

    /// A bucket that holds one second of `rate`, full.
    #[must_use]
    pub fn new(rate: ByteRate) -> Self {
        let rate = u128::from(rate.get());
        Self {
            rate,
            remaining: rate * u128::from(NANOS_PER_SEC),
            updated_at: Timestamp::ZERO,
        }
    }

    fn remaining_at(&self, now: Timestamp) -> u128 {
        let credit = u128::from(now.since(self.updated_at).get()) * self.rate;
        let depth = self.rate * u128::from(NANOS_PER_SEC);
        self.remaining.saturating_add(credit).min(depth)
    }
}

impl Limiter for ShadowsocksClose {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        billionths(size) <= self.remaining_at(now)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        self.conforms(now, size).then_some(now)
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        let bytes = self.remaining_at(now) / u128::from(NANOS_PER_SEC);
        ByteSize::new(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.remaining = self.remaining_at(now).saturating_sub(billionths(size));
        self.updated_at = self.updated_at.max(now);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let conforms = self.conforms(now, size);
        if conforms {
            self.commit(now, size);
        } else {
            self.remaining = self.remaining_at(now);
        }
        conforms
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let depth = self.rate * u128::from(NANOS_PER_SEC);
        self.remaining = (self.remaining + billionths(size)).min(depth);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.remaining = self.remaining_at(now);
        self.updated_at = self.updated_at.max(now);
        self.rate = u128::from(rate.get());
    }
}

/// The debt bucket of 2019-10 to 2020-04: read first, pause afterwards.
///
/// Whatever was read is charged, the bucket may go below zero, and reading
/// pauses until the debt is paid at the rate.
///
/// Faults kept:
/// - The bucket is full at the start and a read may overdraw it, so the first
///   second passes about twice the rate.
/// - Credit that ends a debt is not capped: after a long idle time one read
///   finds all of it (the next read finds at most one second of rate).
///
/// ```
/// use weirgate_flow::as_coded::ShadowsocksDebt;
/// use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp};
///
/// let mut limiter = ShadowsocksDebt::new(ByteRate::new(1_000).expect("not zero"));
/// // 1,000 bytes of credit pay for a read of 16,384: 15.384 s of pause.
/// assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(16_384)));
/// assert_eq!(
///     limiter.earliest(Timestamp::ZERO, ByteSize::new(1)),
///     Some(Timestamp::from_nanos(15_384_000_000)),
/// );
/// ```
#[derive(Clone, Debug)]
pub struct ShadowsocksDebt {
    rate: i128,
    /// Billionths of a byte; below zero while reading pauses.
    remaining: i128,
    updated_at: Timestamp,
}

impl ShadowsocksDebt {
    /// What one read of the relay brings at most.
    pub const READ: ByteSize = ByteSize::new(16_384);

    /// A bucket that holds one second of `rate`, full.
    #[must_use]
    pub fn new(rate: ByteRate) -> Self {
        let rate = i128::from(rate.get());
        Self {
            rate,
            remaining: rate * i128::from(NANOS_PER_SEC),
            updated_at: Timestamp::ZERO,
        }
    }

    fn remaining_at(&self, now: Timestamp) -> i128 {
        let credit = i128::from(now.since(self.updated_at).get()).saturating_mul(self.rate);
        if self.remaining < 0 {
            self.remaining.saturating_add(credit)
        } else {
            let depth = self.rate * i128::from(NANOS_PER_SEC);
            self.remaining.saturating_add(credit).min(depth)
        }
    }
}

impl Limiter for ShadowsocksDebt {
    fn conforms(&self, now: Timestamp, _size: ByteSize) -> bool {
        self.remaining_at(now) >= 0
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.conforms(now, size) {
            return Some(now);
        }
        let debt = self.remaining.unsigned_abs();
        let pause = debt.div_ceil(self.rate.unsigned_abs());
        let ends = u128::from(self.updated_at.as_nanos()).checked_add(pause)?;
        u64::try_from(ends).ok().map(Timestamp::from_nanos)
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        if self.conforms(now, Self::READ) {
            Self::READ
        } else {
            ByteSize::ZERO
        }
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        let charge = i128::from(size.get()) * i128::from(NANOS_PER_SEC);
        self.remaining = self.remaining_at(now).saturating_sub(charge);
        self.updated_at = self.updated_at.max(now);
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let charge = i128::from(size.get()) * i128::from(NANOS_PER_SEC);
        self.remaining = self.remaining.saturating_add(charge);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.remaining = self.remaining_at(now);
        self.updated_at = self.updated_at.max(now);
        self.rate = i128::from(rate.get());
    }
}

fn billionths(size: ByteSize) -> u128 {
    u128::from(size.get()) * u128::from(NANOS_PER_SEC)
}
