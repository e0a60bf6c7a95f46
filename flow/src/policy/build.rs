//! From data to what decides.

use super::Policy;
use crate::as_coded::{
    HomeworkPolling, HomeworkSleep, ShadowsocksClose, ShadowsocksDebt, Wirefisher,
};
use crate::color_marker::{SrTcm, TrTcm};
use crate::ewma::{Ewma, EwmaContinuous};
use crate::fixed_window::FixedWindow;
use crate::gcra::Gcra;
use crate::leaky_bucket::{LeakyBucket, LeakyBucketMeter};
use crate::limiter::Unlimited;
use crate::sliding_window::{SlidingWindowCounter, SlidingWindowLog};
use crate::token_bucket::{DualTokenBucket, TokenBucket};
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// Code to be run with the limiter of a policy, compiled for each kind by itself.
pub trait Visitor {
    /// What it yields.
    type Out;

    /// Runs with `limiter`.
    fn visit<L: Limiter + Clone + Send + Into<AnyLimiter> + 'static>(self, limiter: L)
    -> Self::Out;
}

impl Policy {
    /// Runs `visitor` with the limiter that this policy describes: the way to
    /// decide about millions of packets without a branch on the kind for each.
    pub fn visit<V: Visitor>(&self, visitor: V) -> V::Out {
        match *self {
            Self::None => visitor.visit(Unlimited),
            Self::TokenBucket {
                rate,
                burst,
                initial,
                oversize,
            } => visitor.visit(TokenBucket::with(rate, burst, initial, oversize)),
            Self::DualTokenBucket {
                rate,
                burst,
                peak_rate,
                mtu,
            } => visitor.visit(DualTokenBucket::new(rate, burst, peak_rate, mtu)),
            Self::LeakyBucket { rate, .. } => visitor.visit(LeakyBucket::new(rate)),
            Self::LeakyBucketMeter { rate, burst } => {
                visitor.visit(LeakyBucketMeter::new(rate, burst))
            }
            Self::Gcra { rate, burst } => visitor.visit(Gcra::new(rate, burst)),
            Self::FixedWindow {
                limit,
                window,
                origin,
            } => visitor.visit(FixedWindow::new(limit, window, origin)),
            Self::SlidingWindowLog { limit, window } => {
                visitor.visit(SlidingWindowLog::new(limit, window))
            }
            Self::SlidingWindowCounter { limit, window } => {
                visitor.visit(SlidingWindowCounter::new(limit, window))
            }
            Self::Ewma {
                rate,
                interval,
                alpha,
            } => visitor.visit(Ewma::new(rate, interval, alpha)),
            Self::EwmaContinuous {
                rate,
                time_constant,
            } => visitor.visit(EwmaContinuous::new(rate, time_constant)),
            Self::SrTcm {
                rate,
                cbs,
                ebs,
                drop_yellow,
            } => visitor.visit(SrTcm::new(rate, cbs, ebs, drop_yellow)),
            Self::TrTcm {
                rate,
                cbs,
                peak_rate,
                pbs,
                drop_yellow,
            } => visitor.visit(TrTcm::new(rate, cbs, peak_rate, pbs, drop_yellow)),
            Self::HomeworkPolling { rate } => visitor.visit(HomeworkPolling::new(rate)),
            Self::HomeworkSleep { rate } => visitor.visit(HomeworkSleep::new(rate)),
            Self::ShadowsocksClose { rate } => visitor.visit(ShadowsocksClose::new(rate)),
            Self::ShadowsocksDebt { rate } => visitor.visit(ShadowsocksDebt::new(rate)),
            Self::Wirefisher { rate, time_scale } => {
                visitor.visit(Wirefisher::new(rate, time_scale))
            }
        }
    }

    /// The limiter that this policy describes, as one type for every kind.
    #[must_use]
    pub fn build(&self) -> AnyLimiter {
        self.visit(Build)
    }

    /// Bytes of state per user: the limiter itself and, for the log, its heap
    /// at worst (an entry for every byte of the limit or every nanosecond of
    /// the window, in a queue that doubles as it grows).
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let heap = match *self {
            Self::SlidingWindowLog { limit, window } => {
                let entries = limit.get().min(window.get()).max(1);
                let capacity = entries.checked_next_power_of_two().unwrap_or(u64::MAX);
                capacity.saturating_mul(SlidingWindowLog::ENTRY_BYTES as u64)
            }
            _ => 0,
        };
        heap.saturating_add(self.visit(Measure))
    }
}

struct Measure;

impl Visitor for Measure {
    type Out = u64;

    fn visit<L>(self, _limiter: L) -> u64 {
        size_of::<L>() as u64
    }
}

struct Build;

impl Visitor for Build {
    type Out = AnyLimiter;

    fn visit<L: Into<AnyLimiter>>(self, limiter: L) -> AnyLimiter {
        limiter.into()
    }
}

macro_rules! any_limiter {
    ($($kind:ident),+ $(,)?) => {
        /// A limiter of any kind: each question is passed on to the one inside.
        #[derive(Clone, Debug)]
        #[expect(missing_docs, reason = "each variant holds the limiter it is named after")]
        pub enum AnyLimiter {
            $($kind($kind),)+
        }

        $(
            impl From<$kind> for AnyLimiter {
                fn from(limiter: $kind) -> Self {
                    Self::$kind(limiter)
                }
            }
        )+

        impl Limiter for AnyLimiter {
            fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
                match self {
                    $(Self::$kind(limiter) => limiter.conforms(now, size),)+
                }
            }

            fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
                match self {
                    $(Self::$kind(limiter) => limiter.earliest(now, size),)+
                }
            }

            fn available(&self, now: Timestamp) -> ByteSize {
                match self {
                    $(Self::$kind(limiter) => limiter.available(now),)+
                }
            }

            fn commit(&mut self, now: Timestamp, size: ByteSize) {
                match self {
                    $(Self::$kind(limiter) => limiter.commit(now, size),)+
                }
            }

            fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
                match self {
                    $(Self::$kind(limiter) => limiter.admit(now, size),)+
                }
            }

            fn refund(&mut self, now: Timestamp, size: ByteSize) {
                match self {
                    $(Self::$kind(limiter) => limiter.refund(now, size),)+
                }
            }

            fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
                match self {
                    $(Self::$kind(limiter) => limiter.set_rate(now, rate),)+
                }
            }
        }
    };
}

any_limiter!(
    Unlimited,
    TokenBucket,
    DualTokenBucket,
    LeakyBucket,
    LeakyBucketMeter,
    Gcra,
    FixedWindow,
    SlidingWindowLog,
    SlidingWindowCounter,
    Ewma,
    EwmaContinuous,
    SrTcm,
    TrTcm,
    HomeworkPolling,
    HomeworkSleep,
    ShadowsocksClose,
    ShadowsocksDebt,
    Wirefisher,
);
