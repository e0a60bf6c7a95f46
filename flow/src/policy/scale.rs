//! A policy for another rate, and for another user.

use super::Policy;
use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Nanos};

impl Policy {
    /// The same policy at another long-run rate, as
    /// [`Limiter::set_rate`](crate::Limiter::set_rate) leaves it: bursts and
    /// spans stay, limits of windows follow the rate, a peak rate is raised if
    /// it would fall below it.
    #[must_use]
    pub fn with_rate(self, new: ByteRate) -> Self {
        let mut policy = self;
        match &mut policy {
            Self::None => {}
            Self::TokenBucket { rate, .. }
            | Self::LeakyBucket { rate, .. }
            | Self::LeakyBucketMeter { rate, .. }
            | Self::Gcra { rate, .. }
            | Self::Ewma { rate, .. }
            | Self::EwmaContinuous { rate, .. }
            | Self::SrTcm { rate, .. }
            | Self::HomeworkPolling { rate }
            | Self::HomeworkSleep { rate }
            | Self::ShadowsocksClose { rate }
            | Self::ShadowsocksDebt { rate }
            | Self::Wirefisher { rate, .. } => *rate = new,
            Self::DualTokenBucket {
                rate, peak_rate, ..
            }
            | Self::TrTcm {
                rate, peak_rate, ..
            } => {
                *rate = new;
                *peak_rate = new.max(*peak_rate);
            }
            Self::FixedWindow { limit, window, .. }
            | Self::SlidingWindowLog { limit, window }
            | Self::SlidingWindowCounter { limit, window } => {
                *limit = window_limit(new, *window);
            }
        }
        policy
    }

    /// The same kind for another user's rate and burst: peak rates, excess
    /// bursts and initial tokens keep their proportion, rounded down.
    #[must_use]
    pub fn scaled_to(self, new_rate: ByteRate, new_burst: ByteSize) -> Self {
        let mut policy = self.with_rate(new_rate);
        let old_burst = self.burst().unwrap_or(new_burst);
        let sized = |size: ByteSize| scaled(size.get(), new_burst.get(), old_burst.get());
        match &mut policy {
            Self::TokenBucket { burst, initial, .. } => {
                *initial = ByteSize::new(sized(*initial));
                *burst = new_burst;
            }
            Self::LeakyBucketMeter { burst, .. } | Self::Gcra { burst, .. } => *burst = new_burst,
            Self::DualTokenBucket {
                burst, peak_rate, ..
            } => {
                *burst = new_burst;
                *peak_rate = self.scaled_peak(new_rate);
            }
            Self::SrTcm { cbs, ebs, .. } => {
                *ebs = ByteSize::new(sized(*ebs));
                *cbs = new_burst;
            }
            Self::TrTcm {
                cbs,
                peak_rate,
                pbs,
                ..
            } => {
                *pbs = ByteSize::new(sized(*pbs).max(1));
                *cbs = new_burst;
                *peak_rate = self.scaled_peak(new_rate);
            }
            _ => {}
        }
        policy
    }

    /// The peak rate in its proportion to `new`, at least `new`.
    fn scaled_peak(&self, new: ByteRate) -> ByteRate {
        match *self {
            Self::DualTokenBucket {
                rate, peak_rate, ..
            }
            | Self::TrTcm {
                rate, peak_rate, ..
            } => {
                let peak = scaled(peak_rate.get(), new.get(), rate.get());
                ByteRate::new(peak).unwrap_or(new).max(new)
            }
            _ => new,
        }
    }
}

/// `limit / window` in whole bytes per second, at least one.
pub(super) fn window_rate(limit: ByteSize, window: Nanos) -> ByteRate {
    let rate = scaled(limit.get(), NANOS_PER_SEC, window.get());
    ByteRate::new(rate).unwrap_or(ByteRate::MIN)
}

/// `rate x window` in whole bytes, at least one.
pub(crate) fn window_limit(rate: ByteRate, window: Nanos) -> ByteSize {
    ByteSize::new(scaled(rate.get(), window.get(), NANOS_PER_SEC).max(1))
}

/// `value x to / from`, rounded down, saturating; `from` = 0 leaves `value`.
pub(super) fn scaled(value: u64, to: u64, from: u64) -> u64 {
    (u128::from(value) * u128::from(to))
        .checked_div(u128::from(from))
        .map_or(value, |scaled| u64::try_from(scaled).unwrap_or(u64::MAX))
}
