//! Policies and traffic to hold them to, from the usual to the absurd.

use proptest::prelude::*;
use weirgate_flow::policy::Oversize;
use weirgate_flow::units::Weight;
use weirgate_flow::{AnyLimiter, ByteRate, ByteSize, Limiter, Nanos, Policy, Timestamp};

/// A number from `least` to `most`, every order of magnitude equally likely.
pub(crate) fn magnitude(least: u64, most: u64) -> impl Strategy<Value = u64> {
    let bits = |n: u64| 64 - n.leading_zeros();
    (bits(least)..=bits(most), any::<u64>()).prop_map(move |(bits, random)| {
        let below = 1_u64.checked_shl(bits).map_or(u64::MAX, |limit| limit - 1);
        (random & below).clamp(least, most)
    })
}

/// 1 B/s to 400 Gbit/s, and now and then anything.
pub(crate) fn rates() -> impl Strategy<Value = ByteRate> {
    let bytes = prop_oneof![
        8 => magnitude(1, 50_000_000_000),
        2 => prop::sample::select(vec![1, 3, 1_000, 1_000_000_000, 50_000_000_000]),
        1 => magnitude(1, u64::MAX),
    ];
    bytes.prop_map(|bytes| ByteRate::new(bytes).unwrap())
}

pub(crate) fn bursts() -> impl Strategy<Value = ByteSize> {
    let bytes = prop_oneof![
        8 => magnitude(1, 1 << 36),
        1 => prop::sample::select(vec![(1 << 32) - 1, 1 << 32, (1 << 32) + 1]),
        1 => magnitude(1, u64::MAX),
    ];
    bytes.prop_map(ByteSize::new)
}

pub(crate) fn spans() -> impl Strategy<Value = Nanos> {
    magnitude(1, Policy::LONGEST_SPAN.get()).prop_map(Nanos::new)
}

pub(crate) fn weights() -> impl Strategy<Value = Weight> {
    prop_oneof![
        Just(Weight::new(1, 8).unwrap()),
        (1_u64..1_000, 0_u64..1_000_000)
            .prop_filter_map("in range", |(above, more)| Weight::new(above, above + more)),
    ]
}

/// Every kind whose promises SPEC names; not the seeds' own limiters.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let bucket =
        (rates(), bursts(), any::<u64>(), any::<bool>()).prop_map(|(rate, burst, part, debt)| {
            Policy::TokenBucket {
                rate,
                burst,
                initial: ByteSize::new(part % (burst.get().saturating_add(1))),
                oversize: if debt { Oversize::Debt } else { Oversize::Drop },
            }
        });
    let dual = (rates(), bursts(), rates(), bursts()).prop_map(|(rate, burst, peak_rate, mtu)| {
        Policy::DualTokenBucket {
            rate,
            burst,
            peak_rate: peak_rate.max(rate),
            mtu,
        }
    });
    let queue = rates().prop_map(|rate| Policy::LeakyBucket { rate, queue: None });
    let meter = (rates(), bursts());
    let meter = meter.prop_map(|(rate, burst)| Policy::LeakyBucketMeter { rate, burst });
    let gcra = (rates(), bursts()).prop_map(|(rate, burst)| Policy::Gcra { rate, burst });
    let fixed =
        (bursts(), spans(), any::<u64>()).prop_map(|(limit, window, origin)| Policy::FixedWindow {
            limit,
            window,
            origin: Timestamp::from_nanos(origin),
        });
    let log = (bursts(), spans());
    let log = log.prop_map(|(limit, window)| Policy::SlidingWindowLog { limit, window });
    let counter = (bursts(), spans());
    let counter =
        counter.prop_map(|(limit, window)| Policy::SlidingWindowCounter { limit, window });
    prop_oneof![
        bucket,
        dual,
        queue,
        meter,
        gcra,
        fixed,
        log,
        counter,
        averages(),
        markers(),
        Just(Policy::None),
    ]
}

fn averages() -> impl Strategy<Value = Policy> {
    let ewma = (rates(), spans(), weights()).prop_map(|(rate, interval, alpha)| Policy::Ewma {
        rate,
        interval,
        alpha,
    });
    let continuous = (rates(), spans()).prop_map(|(rate, time_constant)| Policy::EwmaContinuous {
        rate,
        time_constant,
    });
    prop_oneof![ewma, continuous]
}

fn markers() -> impl Strategy<Value = Policy> {
    let single =
        (rates(), bursts(), bursts(), any::<bool>()).prop_map(|(rate, cbs, ebs, drop_yellow)| {
            Policy::SrTcm {
                rate,
                cbs,
                ebs,
                drop_yellow,
            }
        });
    let two = (rates(), bursts(), rates(), bursts(), any::<bool>()).prop_map(
        |(rate, cbs, peak_rate, pbs, drop_yellow)| Policy::TrTcm {
            rate,
            cbs,
            peak_rate: peak_rate.max(rate),
            pbs,
            drop_yellow,
        },
    );
    prop_oneof![single, two]
}

/// One step of a sender who knows the limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    wait: Wait,
    size: Size,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    None,
    Nanos(u64),
    /// Until the size conforms, or one nanosecond less.
    UntilConforming {
        early: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Size {
    Bytes(u64),
    /// So many 256ths of the largest that ever conforms.
    OfLargest(u8),
    /// As much as conforms, and so many bytes more.
    Available {
        more: bool,
    },
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![
        2 => Just(Wait::None),
        2 => magnitude(1, 10_000_000_000).prop_map(Wait::Nanos),
        1 => magnitude(1, 320_000_000_000_000_000).prop_map(Wait::Nanos),
        4 => any::<bool>().prop_map(|early| Wait::UntilConforming { early }),
    ];
    let size = prop_oneof![
        3 => magnitude(0, 100_000).prop_map(Size::Bytes),
        1 => magnitude(0, u64::MAX).prop_map(Size::Bytes),
        3 => any::<u8>().prop_map(Size::OfLargest),
        2 => any::<bool>().prop_map(|more| Size::Available { more }),
    ];
    prop::collection::vec(
        (wait, size).prop_map(|(wait, size)| Step { wait, size }),
        0..most,
    )
}

impl Step {
    /// When and how much, if the last step was at `now`.
    pub(crate) fn resolve(
        self,
        limiter: &impl Limiter,
        policy: &Policy,
        now: Timestamp,
    ) -> (Timestamp, ByteSize) {
        let largest = policy.largest().get().min(1 << 40);
        let bytes = match self.size {
            Size::Bytes(bytes) => bytes,
            Size::OfLargest(part) => largest / 256 * (u64::from(part) + 1),
            Size::Available { more } => {
                let available = limiter.available(now).get().min(1 << 40);
                available + u64::from(more)
            }
        };
        let size = ByteSize::new(bytes);
        let at = match self.wait {
            Wait::None => now,
            Wait::Nanos(nanos) => now + Nanos::new(nanos),
            Wait::UntilConforming { early } => {
                let at = limiter.earliest(now, size).unwrap_or(now);
                if early { at.just_before().max(now) } else { at }
            }
        };
        (at, size)
    }
}

/// A limiter with a past, and the instant of its last packet.
pub(crate) fn used(policy: &Policy, steps: &[Step]) -> (AnyLimiter, Timestamp) {
    let (mut limiter, mut now) = (policy.build(), Timestamp::ZERO);
    for step in steps {
        let (at, size) = step.resolve(&limiter, policy, now);
        limiter.admit(at, size);
        now = at;
    }
    (limiter, now)
}
