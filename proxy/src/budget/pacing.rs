//! How a real clock and real buffers meet an algorithm: how much to wait for,
//! and what a late timer may cost.
//!
//! A timer is late by what the machine pleases: some 60 us when idle, a
//! scheduler's slice of several milliseconds when not. A bucket earns on while
//! one is late, up to its depth. So a wait is for no more than half the depth,
//! and the other half absorbs the lateness: no rate is lost and no bound is
//! touched. Where there is no such room (a leaky bucket has no depth at all, a
//! sliding log returns its bytes one window after they *passed*), a late grant
//! counts as of the instant it was due, at most [`CATCH_UP`] ago: what is
//! passed can exceed the algorithm's bound by `rate x CATCH_UP`, and the rate
//! holds.

use flow::{ByteRate, ByteSize, Nanos, Policy, stream};

/// The most lateness that is made up for.
pub(super) const CATCH_UP: Nanos = Nanos::from_millis(10);

/// Room for less lateness than this counts as no room.
const ROOM: Nanos = Nanos::from_millis(4);

/// Waits shorter than this cost more than they smooth, where the depth allows longer ones.
const COARSE: Nanos = Nanos::from_millis(1);

/// How long pieces are apart in a crowd: less than 200 ms, which is as long as
/// TCP waits before it takes silence for loss.
const CROWDED: Nanos = Nanos::from_millis(150);

/// The least default burst: one packet of an Ethernet.
const LEAST_BURST: u64 = 1_500;
/// The default burst is what the rate yields in this fraction of a second.
const BURSTS_PER_SECOND: u64 = 100;

/// The burst of a limit that names none: the larger of 1,500 B and what
/// the rate yields in 10 ms.
pub(crate) fn default_burst(rate: ByteRate) -> ByteSize {
    ByteSize::new((rate.get() / BURSTS_PER_SECOND).max(LEAST_BURST))
}

/// The size that a connection waits for: as in the model ([`stream::quantum`]),
/// but at fast rates enough for about a millisecond if the depth holds four
/// times that, and never more than half the depth.
pub(super) fn quantum(policy: &Policy) -> ByteSize {
    let model = stream::quantum(policy).get();
    let Some(depth) = depth(policy) else {
        return ByteSize::new(model);
    };
    let coarse = in_time(policy, COARSE).min(depth / 4);
    ByteSize::new(model.max(coarse).min(depth / 2).max(1))
}

/// The size that a connection waits for where there are crowds of users: what
/// they wake for should be worth it. It is [`CROWDED`] of the rate where the depth
/// leaves room for that, a third of it and twice [`ROOM`].
pub(super) fn crowded_quantum(policy: &Policy) -> ByteSize {
    let alone = quantum(policy);
    let Some(depth) = depth(policy) else {
        return alone;
    };
    let room = (depth / 3).max(in_time(policy, ROOM).saturating_mul(2));
    let most = depth.saturating_sub(room);
    ByteSize::new(in_time(policy, CROWDED).min(most)).max(alone)
}

/// Whether a grant that comes late counts as of when it was due.
pub(super) fn keeps_late_credit(policy: &Policy, quantum: ByteSize) -> bool {
    match policy {
        Policy::LeakyBucket { .. } | Policy::SlidingWindowLog { .. } => true,
        _ => depth(policy)
            .is_some_and(|depth| depth - quantum.get().min(depth) < in_time(policy, ROOM).max(1)),
    }
}

/// How much credit a bucket holds; `None` if it is no bucket, or one of the
/// seeds', which are run as they are.
fn depth(policy: &Policy) -> Option<u64> {
    match policy {
        Policy::TokenBucket { .. }
        | Policy::DualTokenBucket { .. }
        | Policy::LeakyBucketMeter { .. }
        | Policy::Gcra { .. } => policy
            .burst()
            .map(|burst| burst.min(policy.largest()).get()),
        _ => None,
    }
}

/// What the rate yields in `time`, rounded down.
fn in_time(policy: &Policy, time: Nanos) -> u64 {
    let rate = policy.rate().map_or(0, |rate| rate.get());
    let bytes = u128::from(rate) * u128::from(time.get()) / u128::from(flow::time::NANOS_PER_SEC);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &str) -> (u64, bool) {
        let policy: Policy = policy.parse().unwrap();
        let quantum = quantum(&policy);
        (quantum.get(), keeps_late_credit(&policy, quantum))
    }

    #[test]
    fn slow_users_wait_as_in_the_model() {
        assert_eq!(of("token-bucket:rate=5000B/s,burst=5000B"), (250, false));
        assert_eq!(of("token-bucket:rate=3000B/s,burst=1500B"), (150, false));
        assert_eq!(of("gcra:rate=1B/s,burst=1500B"), (1, false));
    }

    #[test]
    fn a_crowd_waits_longer_for_more() {
        let crowded = |policy: &str| crowded_quantum(&policy.parse().unwrap()).get();
        assert_eq!(crowded("token-bucket:rate=10kB/s,burst=1500B"), 1_000);
        assert_eq!(crowded("token-bucket:rate=3kB/s,burst=1500B"), 450);
        assert_eq!(crowded("token-bucket:rate=1MB/s,burst=10kB"), 5_000);
        assert_eq!(crowded("leaky-bucket:rate=5000B/s"), 250);
    }

    #[test]
    fn half_the_depth_is_room_for_late_timers() {
        assert_eq!(
            of("token-bucket:rate=1000000B/s,burst=10000B"),
            (5_000, false)
        );
        assert_eq!(of("token-bucket:rate=100MB/s,burst=1MB"), (100_000, false));
        assert_eq!(of("token-bucket:rate=1GB/s,burst=10MB"), (1_000_000, false));
    }

    #[test]
    fn without_room_late_grants_count_as_due() {
        assert_eq!(of("leaky-bucket:rate=5000B/s"), (250, true));
        assert_eq!(of("sliding-window-log:limit=5000B"), (250, true));
        assert_eq!(of("token-bucket:rate=1MB/s,burst=1500B"), (750, true));
        assert_eq!(of("token-bucket:rate=5B/s,burst=1B"), (1, true));
        assert!(!of("fixed-window:limit=5000B").1);
        assert!(!of("homework-sleep:rate=5000B/s").1);
    }
}
