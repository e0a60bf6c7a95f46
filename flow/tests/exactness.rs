//! Rates that do not fit a grid of whole nanoseconds, and neighbours that keep
//! to one.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use weirgate_flow::shared::SharedTokenBucket;
use weirgate_flow::{ByteRate, ByteSize, Timestamp};

const STEP_NANOS: u64 = 500;
const STEPS: u64 = 20_000;
const PACKET: u32 = 100;
const BURST: u32 = 1_500;

/// What passes in 10 ms, asked for a packet until refused every 500 ns.
fn greedy(mut step: impl FnMut(Timestamp) -> bool) -> u64 {
    let mut passed = 0;
    for number in 0..=STEPS {
        while step(Timestamp::from_nanos(number * STEP_NANOS)) {
            passed += u64::from(PACKET);
        }
    }
    passed
}

fn ours(bytes_per_second: u32) -> u64 {
    let rate = ByteRate::new(u64::from(bytes_per_second)).unwrap_or(ByteRate::MIN);
    let bucket =
        SharedTokenBucket::new(rate, ByteSize::new(u64::from(BURST))).expect("below 1 GiB");
    greedy(|now| bucket.try_take(now, ByteSize::new(u64::from(PACKET))))
}

fn governor(bytes_per_second: u32) -> Option<u64> {
    let clock = FakeRelativeClock::default();
    let quota =
        Quota::per_second(NonZeroU32::new(bytes_per_second)?).allow_burst(NonZeroU32::new(BURST)?);
    let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
    let packet = NonZeroU32::new(PACKET)?;
    let mut last = Timestamp::ZERO;
    Some(greedy(|now| {
        clock.advance(Duration::from_nanos(now.since(last).get()));
        last = now;
        limiter
            .check_n(packet)
            .is_ok_and(|decision| decision.is_ok())
    }))
}

/// What may pass in 10 ms: rate x time + burst.
fn promised(bytes_per_second: u32) -> u64 {
    u64::from(bytes_per_second) / 100 + u64::from(BURST)
}

#[test]
fn a_shared_bucket_is_exact_at_any_rate() {
    for rate in [700_000_000, 300_000_001, 999_999_937, 1_000_000_000, 123] {
        let (passed, promised) = (ours(rate), promised(rate));
        // The rest is less than a packet.
        assert!(
            passed <= promised && promised - passed < u64::from(PACKET),
            "{rate}"
        );
    }
}

#[test]
fn governor_rounds_the_time_of_a_byte_to_nanoseconds() {
    // 1.43 ns a byte is cut to 1 ns.
    let billion = promised(1_000_000_000);
    assert_eq!(
        governor(700_000_000),
        Some(billion - billion % u64::from(PACKET))
    );
    assert_eq!(ours(700_000_000), 7_001_500);
}
