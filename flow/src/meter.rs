//! The arithmetic of every bucket: what was spent and is not yet earned back.
//!
//! Counted in billionths of a byte, so that one nanosecond at one byte per
//! second earns exactly one: nothing is rounded, however often it is asked and
//! however long it runs. Depths up to 4 GiB stay in 64 bits; beyond, the same
//! sums are done in 128.

use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Timestamp};

/// Deepest bucket that is kept in 64 bits, in bytes: 2^32 x 10^9 < 2^62.
const DEEPEST_NARROW: u64 = 1 << 32;
/// Most that may be spent in 64 bits, so that one more packet cannot overflow.
const MOST_NARROW: u128 = 1 << 63;

/// `size` in billionths of a byte.
pub(crate) const fn billionths(size: ByteSize) -> u128 {
    size.get() as u128 * NANOS_PER_SEC as u128
}

/// Whole bytes in `billionths`, rounded down and saturating.
pub(crate) fn whole_bytes(billionths: u128) -> ByteSize {
    let bytes = billionths / u128::from(NANOS_PER_SEC);
    ByteSize::new(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// A bucket of some depth, seen from the side of what is missing in it.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    rate: u64,
    depth: u64,
    /// Sizes below this are decided in 64 bits; zero while the sums need more.
    narrow_below: u64,
    /// The depth in billionths of a byte, while 64 bits are enough.
    narrow_depth: u64,
    /// The latest instant at which something changed.
    last: u64,
    /// Spent at `last`, in billionths of a byte: low and high half.
    low: u64,
    high: u64,
}

impl Meter {
    /// A bucket from which `spent` bytes are missing at the origin of time.
    pub(crate) fn new(rate: ByteRate, depth: ByteSize, spent: ByteSize) -> Self {
        let mut meter = Self {
            rate: rate.get(),
            depth: depth.get(),
            narrow_below: 0,
            narrow_depth: 0,
            last: 0,
            low: 0,
            high: 0,
        };
        meter.store(billionths(spent));
        meter
    }

    /// The most that can be missing while packets still conform.
    pub(crate) const fn depth(&self) -> ByteSize {
        ByteSize::new(self.depth)
    }

    /// The latest instant at which something changed.
    pub(crate) const fn last(&self) -> Timestamp {
        Timestamp::from_nanos(self.last)
    }

    /// What is missing at `now`, in billionths of a byte.
    pub(crate) fn spent_at(&self, now: Timestamp) -> u128 {
        let elapsed = now.as_nanos().saturating_sub(self.last);
        let earned = u128::from(elapsed) * u128::from(self.rate);
        self.spent().saturating_sub(earned)
    }

    /// Whether `size` fits into what is there at `now`.
    #[inline]
    pub(crate) fn fits(&self, now: Timestamp, size: ByteSize) -> bool {
        if self.is_narrow(size) {
            self.narrow_after(now, size).is_some()
        } else {
            self.spent_at(now).saturating_add(billionths(size)) <= billionths(self.depth())
        }
    }

    /// Takes `size` at `now`, whether it fits or not.
    #[inline]
    pub(crate) fn charge(&mut self, now: Timestamp, size: ByteSize) {
        if !self.admit(now, size) {
            self.overdraw(now, size);
        }
    }

    /// Takes `size` at `now` if it fits.
    #[inline]
    pub(crate) fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        if self.is_narrow(size) {
            self.admit_narrow(now, size)
        } else {
            self.admit_wide(now, size)
        }
    }

    /// Whether 64 bits decide about `size`, which then is at most the depth.
    #[inline]
    pub(crate) const fn is_narrow(&self, size: ByteSize) -> bool {
        size.get() < self.narrow_below
    }

    /// [`Meter::admit`] for a narrow size.
    #[inline]
    pub(crate) fn admit_narrow(&mut self, now: Timestamp, size: ByteSize) -> bool {
        match self.narrow_after(now, size) {
            Some((last, spent)) => {
                self.last = last;
                self.low = spent;
                true
            }
            None => false,
        }
    }

    /// The latest instant and what is spent once `size` has passed at `now`, if
    /// it fits. In 64 bits: `low` <= 2^63 and `size` <= `depth` <= 2^32 bytes.
    #[inline]
    fn narrow_after(&self, now: Timestamp, size: ByteSize) -> Option<(u64, u64)> {
        let elapsed = now.as_nanos().saturating_sub(self.last);
        let spent = self.low.saturating_sub(elapsed.saturating_mul(self.rate));
        let after = spent.wrapping_add(size.get().wrapping_mul(NANOS_PER_SEC));
        (after <= self.narrow_depth).then_some((self.last.wrapping_add(elapsed), after))
    }

    #[cold]
    fn admit_wide(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let fits = self.fits(now, size);
        if fits {
            self.overdraw(now, size);
        }
        fits
    }

    /// Takes `size` at `now` unasked: a debt if it does not fit.
    pub(crate) fn overdraw(&mut self, now: Timestamp, size: ByteSize) {
        let spent = self.spent_at(now).saturating_add(billionths(size));
        self.last = self.last.max(now.as_nanos());
        self.store(spent);
    }

    /// The whole bytes that fit at `now`.
    pub(crate) fn room(&self, now: Timestamp) -> ByteSize {
        whole_bytes(billionths(self.depth()).saturating_sub(self.spent_at(now)))
    }

    /// The first instant at or after `now` at which `size` fits; `None` if it
    /// never does, or not within representable time.
    #[inline]
    pub(crate) fn when_fits(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.fits(now, size) {
            return Some(now);
        }
        let most = billionths(self.depth()).checked_sub(billionths(size))?;
        self.when_spent_at_most(now, most)
    }

    /// The first instant at or after `now` at which no more than `most`
    /// billionths of a byte are missing.
    pub(crate) fn when_spent_at_most(&self, now: Timestamp, most: u128) -> Option<Timestamp> {
        let excess = self.spent().saturating_sub(most);
        // A division of 64 bits takes a fifth of the time of one of 128.
        let wait = match u64::try_from(excess) {
            Ok(excess) => excess.div_ceil(self.rate),
            Err(_) => u64::try_from(excess.div_ceil(u128::from(self.rate))).ok()?,
        };
        if wait == 0 {
            return Some(now);
        }
        let at = Timestamp::from_nanos(self.last.checked_add(wait)?);
        Some(at.max(now))
    }

    /// Undoes `size` bytes of the last charge, exactly.
    pub(crate) fn give_back(&mut self, size: ByteSize) {
        self.store(self.spent().saturating_sub(billionths(size)));
    }

    /// Earns at `rate` from `now` on; what was earned before stays.
    pub(crate) fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        let spent = self.spent_at(now);
        self.last = self.last.max(now.as_nanos());
        self.rate = rate.get();
        self.store(spent);
    }

    fn spent(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of 128 bits"
    )]
    fn store(&mut self, spent: u128) {
        self.low = spent as u64;
        self.high = (spent >> 64) as u64;
        let narrow = self.depth <= DEEPEST_NARROW && spent <= MOST_NARROW;
        self.narrow_below = if narrow { self.depth + 1 } else { 0 };
        self.narrow_depth = if narrow {
            self.depth * NANOS_PER_SEC
        } else {
            0
        };
    }
}
