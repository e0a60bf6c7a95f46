//! What an algorithm promises about everything that passes it (SPEC, "Bounds").

use super::{Oversize, Policy};
use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Nanos};

/// An upper bound of A\[s, t\], the bytes that pass in the closed interval from
/// s to t, whatever is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// None is promised.
    None,
    /// A\[s, t\] <= burst + rate (t - s).
    Affine {
        /// r.
        rate: ByteRate,
        /// b.
        burst: ByteSize,
    },
    /// A\[s, t\] <= max(burst, largest packet) + rate (t - s).
    AffineOrPacket {
        /// r.
        rate: ByteRate,
        /// b, zero for a leaky bucket.
        burst: ByteSize,
    },
    /// Two affine bounds at once.
    Dual {
        /// r.
        rate: ByteRate,
        /// b.
        burst: ByteSize,
        /// Peak rate.
        peak_rate: ByteRate,
        /// Depth at the peak rate.
        mtu: ByteSize,
    },
    /// At most `limit` in each of the windows that lie end to end: twice that
    /// in any window of the same length.
    Aligned {
        /// Most bytes in one of them.
        limit: ByteSize,
        /// Their length.
        window: Nanos,
    },
    /// At most `limit` in every (t - window, t].
    Sliding {
        /// Most bytes in one window.
        limit: ByteSize,
        /// Its length.
        window: Nanos,
    },
}

impl Bound {
    /// The most bytes that may pass in a closed interval of the given `length`
    /// if no packet exceeds `largest`; `None`: any number.
    #[must_use]
    pub fn most_in(&self, length: Nanos, largest: ByteSize) -> Option<u128> {
        let times = |limit: ByteSize, windows: u64| u128::from(limit.get()) * u128::from(windows);
        match *self {
            Self::None => None,
            Self::Affine { rate, burst } => Some(envelope(rate, burst, length)),
            Self::AffineOrPacket { rate, burst } => {
                Some(envelope(rate, burst.max(largest), length))
            }
            Self::Dual {
                rate,
                burst,
                peak_rate,
                mtu,
            } => Some(envelope(rate, burst, length).min(envelope(peak_rate, mtu, length))),
            Self::Aligned { limit, window } => {
                let windows = length.get().div_ceil(window.get().max(1));
                Some(times(limit, windows.saturating_add(1)))
            }
            Self::Sliding { limit, window } => {
                let windows = length.get() / window.get().max(1);
                Some(times(limit, windows.saturating_add(1)))
            }
        }
    }
}

/// burst + rate x length, in whole bytes.
fn envelope(rate: ByteRate, burst: ByteSize, length: Nanos) -> u128 {
    let earned = u128::from(rate.get()) * u128::from(length.get()) / u128::from(NANOS_PER_SEC);
    u128::from(burst.get()) + earned
}

/// Billionths of a byte as bytes, rounded up and saturating.
fn rounded_up(billionths: u128) -> ByteSize {
    let bytes = billionths.div_ceil(u128::from(NANOS_PER_SEC));
    ByteSize::new(u64::try_from(bytes).unwrap_or(u64::MAX))
}

impl Policy {
    /// What this policy promises about everything that passes it. The seeds'
    /// own limiters promise nothing.
    #[must_use]
    pub fn bound(&self) -> Bound {
        match *self {
            Self::TokenBucket {
                rate,
                burst,
                oversize,
                ..
            } => match oversize {
                Oversize::Drop => Bound::Affine { rate, burst },
                Oversize::Debt => Bound::AffineOrPacket { rate, burst },
            },
            Self::LeakyBucketMeter { rate, burst } | Self::Gcra { rate, burst } => {
                Bound::Affine { rate, burst }
            }
            Self::LeakyBucket { rate, .. } => Bound::AffineOrPacket {
                rate,
                burst: ByteSize::ZERO,
            },
            Self::DualTokenBucket {
                rate,
                burst,
                peak_rate,
                mtu,
            } => Bound::Dual {
                rate,
                burst,
                peak_rate,
                mtu,
            },
            Self::FixedWindow { limit, window, .. }
            | Self::SlidingWindowCounter { limit, window } => Bound::Aligned { limit, window },
            Self::SlidingWindowLog { limit, window } => Bound::Sliding { limit, window },
            Self::Ewma { rate, .. } => Bound::Affine {
                rate,
                burst: self.smoothed_burst(),
            },
            Self::EwmaContinuous {
                rate,
                time_constant,
            } => Bound::Affine {
                rate,
                burst: rounded_up(u128::from(rate.get()) * u128::from(time_constant.get())),
            },
            Self::SrTcm { .. } | Self::TrTcm { .. } => self.marker_bound(),
            Self::None
            | Self::HomeworkPolling { .. }
            | Self::HomeworkSleep { .. }
            | Self::ShadowsocksClose { .. }
            | Self::ShadowsocksDebt { .. }
            | Self::Wirefisher { .. } => Bound::None,
        }
    }

    /// rate x interval x (1/alpha + 1), rounded up.
    ///
    /// Over n whole intervals from any state, S' <= rate in each of them sums
    /// to at most rate x interval x (1/alpha + n - 1) bytes, and a stretch of
    /// time of length d touches at most d/interval + 2 intervals.
    fn smoothed_burst(&self) -> ByteSize {
        let Self::Ewma { rate, interval, .. } = *self else {
            return ByteSize::ZERO;
        };
        let one = rounded_up(u128::from(rate.get()) * u128::from(interval.get()));
        let first = self.largest().get().saturating_add(1);
        ByteSize::new(first.saturating_add(one.get()))
    }

    fn marker_bound(&self) -> Bound {
        match *self {
            Self::SrTcm {
                rate,
                cbs,
                ebs,
                drop_yellow,
            } => {
                let excess = if drop_yellow { 0 } else { ebs.get() };
                let burst = ByteSize::new(cbs.get().saturating_add(excess));
                Bound::Affine { rate, burst }
            }
            Self::TrTcm {
                rate,
                cbs,
                peak_rate,
                pbs,
                drop_yellow: true,
            } => Bound::Dual {
                rate,
                burst: cbs,
                peak_rate,
                mtu: pbs,
            },
            Self::TrTcm { peak_rate, pbs, .. } => Bound::Affine {
                rate: peak_rate,
                burst: pbs,
            },
            _ => Bound::None,
        }
    }
}
