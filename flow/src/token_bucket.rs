//! Token buckets, one and two in series.
//!
//! Rule: tokens accrue at `rate` up to `burst`; a packet conforms iff there are
//! at least as many tokens as it has bytes, and takes them. Source: RFC 2698,
//! section 3 (token counts that rise up to their depth); RFC 3290, section 5.1.3.
//!
//! Worked example, 5,000 B/s and 5,000 B, full: 1,500 + 1,500 + 1,500 B pass at
//! 0 s and leave 500. The next 1,500 B conform when 1,000 more have accrued, at
//! 0.2 s.
//!
//! ```
//! use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp, token_bucket::TokenBucket};
//!
//! let rate = ByteRate::new(5_000).expect("not zero");
//! let mut bucket = TokenBucket::new(rate, ByteSize::new(5_000));
//! let packet = ByteSize::new(1_500);
//! assert!((0..3).all(|_| bucket.admit(Timestamp::ZERO, packet)));
//! assert!(!bucket.admit(Timestamp::ZERO, packet));
//! let next = bucket.earliest(Timestamp::ZERO, packet);
//! assert_eq!(next, Some(Timestamp::from_nanos(200_000_000)));
//! ```

use crate::meter::Meter;
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// `token-bucket`: see the [module](self).
///
/// Everything that passes in an interval of length t is at most
/// `burst + rate x t`.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    meter: Meter,
    oversize: Oversize,
}

/// What a token bucket does with a packet larger than its depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// It never conforms.
    #[default]
    Drop,
    /// It conforms when the bucket is full and leaves it in debt: for packets
    /// that must pass and cannot be split.
    Debt,
}

impl TokenBucket {
    /// A bucket that is full at the origin of time.
    #[must_use]
    pub fn new(rate: ByteRate, burst: ByteSize) -> Self {
        Self::with(rate, burst, burst, Oversize::Drop)
    }

    /// A bucket that holds `initial` tokens (at most `burst`) at the origin of time.
    #[must_use]
    pub fn with(rate: ByteRate, burst: ByteSize, initial: ByteSize, oversize: Oversize) -> Self {
        let missing = ByteSize::new(burst.get().saturating_sub(initial.get()));
        Self {
            meter: Meter::new(rate, burst, missing),
            oversize,
        }
    }

    /// Whether `size` only passes as a debt.
    #[inline]
    fn as_debt(&self, size: ByteSize) -> bool {
        self.oversize == Oversize::Debt && size > self.meter.depth()
    }
}

impl Limiter for TokenBucket {
    #[inline]
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.meter.fits(now, size) || self.as_debt(size) && self.meter.spent_at(now) == 0
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.as_debt(size) {
            return self.meter.when_spent_at_most(now, 0);
        }
        self.meter.when_fits(now, size)
    }

    /// With [`Oversize::Debt`] anything conforms while the bucket is full.
    fn available(&self, now: Timestamp) -> ByteSize {
        match self.oversize {
            Oversize::Debt if self.meter.spent_at(now) == 0 => ByteSize::MAX,
            _ => self.meter.room(now),
        }
    }

    #[inline]
    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.meter.charge(now, size);
    }

    #[inline]
    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        if self.meter.is_narrow(size) {
            self.meter.admit_narrow(now, size)
        } else {
            self.admit_rare(now, size)
        }
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.meter.give_back(size);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.meter.set_rate(now, rate);
    }
}

impl TokenBucket {
    /// A packet larger than the bucket, or a bucket that needs long sums.
    #[cold]
    fn admit_rare(&mut self, now: Timestamp, size: ByteSize) -> bool {
        if !self.as_debt(size) {
            return self.meter.admit(now, size);
        }
        let full = self.meter.spent_at(now) == 0;
        if full {
            self.meter.overdraw(now, size);
        }
        full
    }
}

/// `dual-token-bucket`: a bucket of (`rate`, `burst`) and one of (`peak_rate`,
/// `mtu`) in series; a packet needs the tokens of both.
///
/// Source: the TSpec of RFC 2210, section 3.2, and the peak rate of Linux's
/// `tbf`. Worked example, 1,000 B/s and 3,000 B beside a peak of 2,000 B/s and
/// 1,000 B: six packets of 1,000 B offered at once leave at 0, 0.5, 1, 1.5 and
/// 2 s by the peak rate, and then at 3 s by the long-run rate.
#[derive(Clone, Debug)]
pub struct DualTokenBucket {
    sustained: Meter,
    peak: Meter,
    peak_rate: ByteRate,
}

impl DualTokenBucket {
    /// Two full buckets. A `peak_rate` below `rate` is raised to it.
    #[must_use]
    pub fn new(rate: ByteRate, burst: ByteSize, peak_rate: ByteRate, mtu: ByteSize) -> Self {
        Self {
            sustained: Meter::new(rate, burst, ByteSize::ZERO),
            peak: Meter::new(peak_rate.max(rate), mtu, ByteSize::ZERO),
            peak_rate,
        }
    }
}

impl Limiter for DualTokenBucket {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.sustained.fits(now, size) && self.peak.fits(now, size)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let sustained = self.sustained.when_fits(now, size)?;
        Some(sustained.max(self.peak.when_fits(now, size)?))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        self.sustained.room(now).min(self.peak.room(now))
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.sustained.charge(now, size);
        self.peak.charge(now, size);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let conforms = self.sustained.fits(now, size) && self.peak.admit(now, size);
        if conforms {
            self.sustained.charge(now, size);
        }
        conforms
    }

    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        self.sustained.give_back(size);
        self.peak.give_back(size);
    }

    /// The peak rate stays as configured, but never below `rate`.
    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.sustained.set_rate(now, rate);
        self.peak.set_rate(now, self.peak_rate.max(rate));
    }
}
