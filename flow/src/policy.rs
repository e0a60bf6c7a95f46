//! Kind and parameters of an algorithm as data: what a file names and a report prints.
//!
//! A [`Policy`] can be compared, printed and scaled to another user; what
//! decides about packets is built from it.

use self::scale::{scaled, window_rate};
use crate::as_coded::{HomeworkPolling, HomeworkSleep, Wirefisher};
use crate::ewma::Ewma;
use crate::time::NANOS_PER_SEC;
pub use crate::token_bucket::Oversize;
use crate::units::Weight;
use crate::{ByteRate, ByteSize, Nanos, Timestamp};

mod bound;
mod build;
mod fields;
mod scale;
mod text;

pub use bound::Bound;
pub use build::{AnyLimiter, Visitor};
pub use fields::Defaults;
pub(crate) use scale::window_limit;

/// One flow-control algorithm with its parameters (SPEC, "Algorithms").
///
/// Written `token-bucket:rate=5000B/s,burst=5000B`; [`Display`](core::fmt::Display)
/// writes that form and [`FromStr`](core::str::FromStr) reads it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `none`: everything conforms.
    None,
    /// `token-bucket`: tokens accrue at `rate` up to `burst`.
    TokenBucket {
        /// Long-run rate.
        rate: ByteRate,
        /// Depth of the bucket, above zero.
        burst: ByteSize,
        /// Tokens at the start, at most `burst`.
        initial: ByteSize,
        /// What happens to a packet larger than the bucket.
        oversize: Oversize,
    },
    /// `dual-token-bucket`: two token buckets in series.
    DualTokenBucket {
        /// Long-run rate.
        rate: ByteRate,
        /// Depth of the first bucket, above zero.
        burst: ByteSize,
        /// Rate of the second bucket, at least `rate`.
        peak_rate: ByteRate,
        /// Depth of the second bucket: the largest packet at full line speed.
        mtu: ByteSize,
    },
    /// `leaky-bucket`: the bucket as a queue with a server of constant rate.
    LeakyBucket {
        /// Rate of the server.
        rate: ByteRate,
        /// Depth of the queue, for the shaper that applies it; `None`: as the shaper says.
        queue: Option<ByteSize>,
    },
    /// `leaky-bucket-meter`: a level that drains at `rate`.
    LeakyBucketMeter {
        /// Long-run rate.
        rate: ByteRate,
        /// Highest level, above zero.
        burst: ByteSize,
    },
    /// `gcra`: virtual scheduling.
    Gcra {
        /// Long-run rate.
        rate: ByteRate,
        /// Tolerance in bytes, above zero.
        burst: ByteSize,
    },
    /// `fixed-window`: a counter that starts anew with each window.
    FixedWindow {
        /// Most bytes in a window.
        limit: ByteSize,
        /// Length of a window, above zero.
        window: Nanos,
        /// Start of window 0.
        origin: Timestamp,
    },
    /// `sliding-window-log`: a record of everything in the last window.
    SlidingWindowLog {
        /// Most bytes in any window.
        limit: ByteSize,
        /// Length of the window, above zero.
        window: Nanos,
    },
    /// `sliding-window-counter`: two counters, the older one weighted.
    SlidingWindowCounter {
        /// Most bytes, by the weighted count.
        limit: ByteSize,
        /// Length of a window, above zero.
        window: Nanos,
    },
    /// `ewma`: a smoothed rate over intervals.
    Ewma {
        /// Highest smoothed rate.
        rate: ByteRate,
        /// Length of an interval, above zero.
        interval: Nanos,
        /// Weight of the newest interval.
        alpha: Weight,
    },
    /// `ewma-continuous`: a smoothed rate that decays exponentially.
    EwmaContinuous {
        /// Highest smoothed rate.
        rate: ByteRate,
        /// Time in which the past falls to 1/e, above zero.
        time_constant: Nanos,
    },
    /// `sr-tcm`: the single rate three colour marker, colour-blind, policing only.
    SrTcm {
        /// Committed information rate.
        rate: ByteRate,
        /// Committed burst size.
        cbs: ByteSize,
        /// Excess burst size.
        ebs: ByteSize,
        /// Whether yellow packets are dropped like red ones.
        drop_yellow: bool,
    },
    /// `tr-tcm`: the two rate three colour marker, colour-blind, policing only.
    TrTcm {
        /// Committed information rate.
        rate: ByteRate,
        /// Committed burst size.
        cbs: ByteSize,
        /// Peak information rate, at least `rate`.
        peak_rate: ByteRate,
        /// Peak burst size.
        pbs: ByteSize,
        /// Whether yellow packets are dropped like red ones.
        drop_yellow: bool,
    },
    /// `homework-polling`: see [`crate::as_coded::HomeworkPolling`].
    HomeworkPolling {
        /// Nominal rate.
        rate: ByteRate,
    },
    /// `homework-sleep`: see [`crate::as_coded::HomeworkSleep`].
    HomeworkSleep {
        /// Nominal rate.
        rate: ByteRate,
    },
    /// `shadowsocks-close`: see [`crate::as_coded::ShadowsocksClose`].
    ShadowsocksClose {
        /// Nominal rate.
        rate: ByteRate,
    },
    /// `shadowsocks-debt`: see [`crate::as_coded::ShadowsocksDebt`].
    ShadowsocksDebt {
        /// Nominal rate.
        rate: ByteRate,
    },
    /// `wirefisher`: see [`crate::as_coded::Wirefisher`].
    Wirefisher {
        /// Nominal rate.
        rate: ByteRate,
        /// Cut to whole seconds; a quarter of what the rate yields in it is the depth.
        time_scale: Nanos,
    },
}

/// The ways in which it makes sense to apply an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Pass or drop at the arrival.
    pub police: bool,
    /// Delay in a FIFO.
    pub shape: bool,
    /// Read no more than conforms.
    pub stream: bool,
}

impl Policy {
    /// Every kind, as it is written.
    pub const KINDS: &'static [&'static str] = &[
        "token-bucket",
        "dual-token-bucket",
        "leaky-bucket",
        "leaky-bucket-meter",
        "gcra",
        "fixed-window",
        "sliding-window-log",
        "sliding-window-counter",
        "ewma",
        "ewma-continuous",
        "sr-tcm",
        "tr-tcm",
        "wirefisher",
        "homework-polling",
        "homework-sleep",
        "shadowsocks-close",
        "shadowsocks-debt",
        "none",
    ];

    /// The longest window, interval or time constant: ten years of 366 days.
    pub const LONGEST_SPAN: Nanos = Nanos::from_secs(3_660 * 86_400);

    /// The kind, as it is written.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TokenBucket { .. } => "token-bucket",
            Self::DualTokenBucket { .. } => "dual-token-bucket",
            Self::LeakyBucket { .. } => "leaky-bucket",
            Self::LeakyBucketMeter { .. } => "leaky-bucket-meter",
            Self::Gcra { .. } => "gcra",
            Self::FixedWindow { .. } => "fixed-window",
            Self::SlidingWindowLog { .. } => "sliding-window-log",
            Self::SlidingWindowCounter { .. } => "sliding-window-counter",
            Self::Ewma { .. } => "ewma",
            Self::EwmaContinuous { .. } => "ewma-continuous",
            Self::SrTcm { .. } => "sr-tcm",
            Self::TrTcm { .. } => "tr-tcm",
            Self::HomeworkPolling { .. } => "homework-polling",
            Self::HomeworkSleep { .. } => "homework-sleep",
            Self::ShadowsocksClose { .. } => "shadowsocks-close",
            Self::ShadowsocksDebt { .. } => "shadowsocks-debt",
            Self::Wirefisher { .. } => "wirefisher",
        }
    }

    /// The long-run rate: for windows `limit / window`, rounded down to whole
    /// bytes per second; `None` for `none`.
    #[must_use]
    pub fn rate(&self) -> Option<ByteRate> {
        match *self {
            Self::None => None,
            Self::TokenBucket { rate, .. }
            | Self::DualTokenBucket { rate, .. }
            | Self::LeakyBucket { rate, .. }
            | Self::LeakyBucketMeter { rate, .. }
            | Self::Gcra { rate, .. }
            | Self::Ewma { rate, .. }
            | Self::EwmaContinuous { rate, .. }
            | Self::SrTcm { rate, .. }
            | Self::TrTcm { rate, .. }
            | Self::HomeworkPolling { rate }
            | Self::HomeworkSleep { rate }
            | Self::ShadowsocksClose { rate }
            | Self::ShadowsocksDebt { rate }
            | Self::Wirefisher { rate, .. } => Some(rate),
            Self::FixedWindow { limit, window, .. }
            | Self::SlidingWindowLog { limit, window }
            | Self::SlidingWindowCounter { limit, window } => Some(window_rate(limit, window)),
        }
    }

    /// The burst that was asked for (for the colour markers, the committed
    /// one); `None` for a kind without one. What may really pass: [`Self::bound`].
    #[must_use]
    pub fn burst(&self) -> Option<ByteSize> {
        match *self {
            Self::TokenBucket { burst, .. }
            | Self::DualTokenBucket { burst, .. }
            | Self::LeakyBucketMeter { burst, .. }
            | Self::Gcra { burst, .. } => Some(burst),
            Self::SrTcm { cbs, .. } | Self::TrTcm { cbs, .. } => Some(cbs),
            Self::Wirefisher { rate, time_scale } => {
                Some(Wirefisher::new(rate, time_scale).depth())
            }
            _ => None,
        }
    }

    /// The queue limit that a `leaky-bucket` brings along for its shaper.
    #[must_use]
    pub const fn queue(&self) -> Option<ByteSize> {
        match self {
            Self::LeakyBucket { queue, .. } => *queue,
            _ => None,
        }
    }

    /// The ways in which it makes sense to apply this kind.
    #[must_use]
    pub const fn modes(&self) -> Modes {
        let waits = !matches!(self, Self::SrTcm { .. } | Self::TrTcm { .. });
        Modes {
            police: true,
            shape: waits,
            stream: waits,
        }
    }

    /// The largest packet that can ever conform.
    #[must_use]
    pub fn largest(&self) -> ByteSize {
        match *self {
            Self::None
            | Self::LeakyBucket { .. }
            | Self::ShadowsocksDebt { .. }
            | Self::TokenBucket {
                oversize: Oversize::Debt,
                ..
            } => ByteSize::MAX,
            Self::TokenBucket { burst, .. }
            | Self::LeakyBucketMeter { burst, .. }
            | Self::Gcra { burst, .. } => burst,
            Self::DualTokenBucket { burst, mtu, .. } => burst.min(mtu),
            Self::FixedWindow { limit, .. }
            | Self::SlidingWindowLog { limit, .. }
            | Self::SlidingWindowCounter { limit, .. } => limit,
            Self::Ewma {
                rate,
                interval,
                alpha,
            } => Ewma::new(rate, interval, alpha).from_rest(),
            Self::EwmaContinuous {
                rate,
                time_constant,
            } => ByteSize::new(scaled(rate.get(), time_constant.get(), NANOS_PER_SEC)),
            Self::SrTcm {
                cbs,
                ebs,
                drop_yellow,
                ..
            } => {
                if drop_yellow {
                    cbs
                } else {
                    cbs.max(ebs)
                }
            }
            Self::TrTcm {
                cbs,
                pbs,
                drop_yellow,
                ..
            } => {
                if drop_yellow {
                    cbs.min(pbs)
                } else {
                    pbs
                }
            }
            Self::HomeworkPolling { rate } => HomeworkPolling::new(rate).largest(),
            Self::HomeworkSleep { rate } => HomeworkSleep::new(rate).largest(),
            Self::ShadowsocksClose { rate } => ByteSize::new(rate.get()),
            Self::Wirefisher { rate, time_scale } => Wirefisher::new(rate, time_scale).depth(),
        }
    }
}
