//! The shared token bucket: the same decisions as the one of one thread, and
//! exact bounds with several.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;
use weirgate_flow::shared::SharedTokenBucket;
use weirgate_flow::token_bucket::TokenBucket;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Timestamp};

fn rate(bytes_per_second: u64) -> ByteRate {
    ByteRate::new(bytes_per_second).unwrap_or(ByteRate::MIN)
}

fn bytes(size: u64) -> ByteSize {
    ByteSize::new(size)
}

/// What can be done to a bucket, a while after what was done before.
#[derive(Clone, Copy, Debug)]
enum Act {
    Take(u64),
    TakeUpTo(u64),
    /// Gives back a part, in 256ths, of what was taken last.
    GiveBack(u64),
    SetRate(u64),
}

fn rates() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..10_u64,
        1..10_000_000_u64,
        (1..1_000_u64).prop_map(|thousands| 1_000_000 * thousands),
        Just(50_000_000_000),
        1..u64::MAX,
    ]
}

fn bursts() -> impl Strategy<Value = u64> {
    prop_oneof![1..3_000_u64, 1..10_000_000_u64, 1..=1_u64 << 30]
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let size = || prop_oneof![0..2_000_u64, 0..10_000_000_u64, any::<u64>()];
    let act = prop_oneof![
        8 => size().prop_map(Act::Take),
        4 => size().prop_map(Act::TakeUpTo),
        2 => (0..=256_u64).prop_map(Act::GiveBack),
        1 => rates().prop_map(Act::SetRate),
    ];
    let year = 366 * 86_400 * 1_000_000_000_u64;
    let gap = prop_oneof![Just(0), 0..10_000_u64, 0..10_000_000_000_u64, 0..year];
    proptest::collection::vec((gap, act), 1..200)
}

proptest! {
    #[test]
    fn decides_as_the_bucket_of_one_thread(
        first_rate in rates(),
        burst in bursts(),
        acts in acts(),
        probe in prop_oneof![1..3_000_u64, any::<u64>()],
    ) {
        let shared = SharedTokenBucket::new(rate(first_rate), bytes(burst)).expect("below 1 GiB");
        let mut single = TokenBucket::new(rate(first_rate), bytes(burst));
        let (mut now, mut taken) = (Timestamp::ZERO, ByteSize::ZERO);
        for (gap, act) in acts {
            // Ten years at most: the promise of the types.
            now = Timestamp::from_nanos((now.as_nanos() + gap).min(10 * 366 * 86_400 * 1_000_000_000));
            match act {
                Act::Take(size) => {
                    let conforms = single.admit(now, bytes(size));
                    prop_assert_eq!(shared.try_take(now, bytes(size)), conforms);
                    taken = if conforms { bytes(size) } else { ByteSize::ZERO };
                }
                Act::TakeUpTo(most) => {
                    taken = single.available(now).min(bytes(most));
                    single.commit(now, taken);
                    prop_assert_eq!(shared.take_up_to(now, bytes(most)), taken);
                }
                Act::GiveBack(part) => {
                    let back = u128::from(taken.get()) * u128::from(part) / 256;
                    let back = bytes(u64::try_from(back).unwrap_or(0));
                    single.refund(now, back);
                    shared.give_back(back);
                    taken = ByteSize::ZERO;
                }
                Act::SetRate(new) => {
                    single.set_rate(now, rate(new));
                    shared.set_rate(now, rate(new));
                    taken = ByteSize::ZERO;
                }
            }
            prop_assert_eq!(shared.available(now), single.available(now));
            for size in [bytes(probe), bytes(burst)] {
                prop_assert_eq!(shared.earliest(now, size), single.earliest(now, size));
            }
        }
    }

    #[test]
    fn earliest_is_exact(
        bytes_per_second in rates(),
        burst in bursts(),
        taken in any::<u64>(),
        size in any::<u64>(),
    ) {
        let shared = SharedTokenBucket::new(rate(bytes_per_second), bytes(burst)).expect("below 1 GiB");
        shared.take_up_to(Timestamp::ZERO, bytes(taken));
        let size = bytes(size % burst.max(1) + 1).min(bytes(burst));
        if let Some(at) = shared.earliest(Timestamp::ZERO, size) {
            prop_assert!(at == Timestamp::ZERO || !shared.try_take(at.just_before(), size));
            prop_assert!(shared.try_take(at, size));
        }
    }

    #[test]
    fn a_new_burst_keeps_what_fits_of_the_credit(
        burst in 1..100_000_u64,
        taken in 0..100_000_u64,
        new_burst in 1..100_000_u64,
    ) {
        let shared = SharedTokenBucket::new(rate(1_000), bytes(burst)).expect("below 1 GiB");
        let now = Timestamp::from_nanos(5_000_000_000);
        let taken = shared.take_up_to(now, bytes(taken)).get();
        prop_assert!(shared.set_limits(now, rate(7), bytes(new_burst)));
        prop_assert_eq!(shared.available(now).get(), (burst - taken).min(new_burst));
        let later = now + weirgate_flow::Nanos::from_secs(1_000_000);
        prop_assert_eq!(shared.available(later).get(), new_burst);
    }
}

/// Runs `work` on four threads at once and answers the sum of what it returns.
fn on_four_threads(work: impl Fn() -> u64 + Sync) -> u64 {
    thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(&work));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum()
    })
}

/// Four threads take all they can of 700,000,003 B/s for 400,000 steps of
/// `step` nanoseconds, and must have taken what there was, to the byte.
fn threads_take_everything(step: u64) {
    const RATE: u64 = 700_000_003;
    let (end, earned_a_step) = (400_000 * step, RATE * step / 1_000_000_000);
    // Deep enough for what is earned while all threads are held up at once.
    let burst = 40 * earned_a_step;
    let bucket = SharedTokenBucket::new(rate(RATE), bytes(burst)).expect("below 1 GiB");
    let clock = AtomicU64::new(0);
    let taken = on_four_threads(|| {
        let mut taken = 0;
        loop {
            let now = clock.fetch_add(step, Ordering::Relaxed);
            if now >= end {
                return taken;
            }
            let now = Timestamp::from_nanos(now);
            // Packets of one and a half steps, and some of the crumbs left.
            let packet = earned_a_step * 3 / 2;
            taken += u64::from(bucket.try_take(now, bytes(packet))) * packet;
            let part = bucket.take_up_to(now, bytes(earned_a_step / 2)).get();
            bucket.give_back(bytes(part / 3));
            taken += part - part / 3;
        }
    });
    let rest = bucket.take_up_to(Timestamp::from_nanos(end), ByteSize::MAX);
    let earned = u128::from(RATE) * u128::from(end) / 1_000_000_000;
    assert_eq!(u128::from(taken + rest.get()), earned + u128::from(burst));
}

#[test]
fn threads_take_every_byte_and_not_one_more() {
    threads_take_everything(1_777);
}

#[test]
fn threads_lose_nothing_when_the_anchor_moves() {
    // 2^60 billionths of a byte are 1.6 s of this rate: some 9,000 spans.
    threads_take_everything(37_777_777);
}

#[test]
fn limits_change_under_four_threads() {
    const STEP: u64 = 1_000;
    const END: u64 = 200_000 * STEP;
    let (slow, fast) = (100_000_000, 200_000_000);
    let bucket = SharedTokenBucket::new(rate(slow), bytes(3_000)).expect("below 1 GiB");
    let clock = AtomicU64::new(0);
    let taken = on_four_threads(|| {
        let mut taken = 0;
        loop {
            let now = clock.fetch_add(STEP, Ordering::Relaxed);
            if now >= END {
                return taken;
            }
            let at = Timestamp::from_nanos(now);
            if now.is_multiple_of(50 * STEP) {
                let new = if now.is_multiple_of(100 * STEP) {
                    slow
                } else {
                    fast
                };
                bucket.set_rate(at, rate(new));
            }
            taken += bucket.take_up_to(at, ByteSize::MAX).get();
        }
    });
    let rest = bucket
        .take_up_to(Timestamp::from_nanos(END), ByteSize::MAX)
        .get();
    let seconds_in_nanos = 1_000_000_000;
    let at_least = slow * END / seconds_in_nanos;
    let at_most = fast * END / seconds_in_nanos + 3_000;
    assert!(
        (at_least..=at_most).contains(&(taken + rest)),
        "{taken} {rest}"
    );
}

#[test]
fn the_highest_rates_and_latest_instants_do_not_wrap() {
    let bucket = SharedTokenBucket::new(rate(u64::MAX), SharedTokenBucket::LARGEST_BURST)
        .expect("not above 1 GiB");
    for nanos in [0, 1, 1 << 62, 1 << 63, u64::MAX] {
        let now = Timestamp::from_nanos(nanos);
        assert!(bucket.try_take(now, bytes(1)));
        bucket.set_rate(now, rate(u64::MAX - nanos / 2));
    }
    assert_eq!(bucket.earliest(Timestamp::ZERO, ByteSize::MAX), None);
    assert!(!bucket.try_take(Timestamp::MAX, ByteSize::MAX));
}

#[test]
fn larger_bursts_are_refused() {
    let burst = bytes(SharedTokenBucket::LARGEST_BURST.get() + 1);
    assert!(SharedTokenBucket::new(rate(1), burst).is_none());
    let bucket = SharedTokenBucket::new(rate(1), bytes(10)).expect("below 1 GiB");
    assert!(!bucket.set_limits(Timestamp::ZERO, rate(2), burst));
    assert_eq!(bucket.available(Timestamp::MAX), bytes(10));
}
