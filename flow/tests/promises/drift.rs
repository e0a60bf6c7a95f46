//! No rounding adds up: what has passed after any number of decisions is what
//! a fraction on paper says.

use proptest::prelude::*;
use weirgate_flow::policy::Oversize;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Policy, Shaper, Timestamp, Verdict};

use crate::policies::{bursts, magnitude, policies, rates, steps, used};

/// When byte number `bytes` leaves a bucket that started full and never idled.
/// What comes in while a nanosecond is rounded up fits into the bucket if
/// packets are smaller than it by as much: then none of it is lost.
fn leaves(rate: ByteRate, burst: ByteSize, bytes: u128) -> u128 {
    let beyond = bytes.saturating_sub(u128::from(burst.get()));
    (beyond * 1_000_000_000).div_ceil(u128::from(rate.get()))
}

fn full(rate: ByteRate, burst: ByteSize) -> Policy {
    Policy::TokenBucket {
        rate,
        burst,
        initial: burst,
        oversize: Oversize::Drop,
    }
}

/// Sends `sizes` as fast as the limiter allows; checks each departure.
fn assert_greedy(
    policy: &Policy,
    sizes: impl Iterator<Item = ByteSize>,
) -> Result<u128, TestCaseError> {
    let (rate, burst) = (policy.rate().unwrap(), policy.burst().unwrap());
    let mut shaper = Shaper::new(policy.build(), None);
    let mut sent = 0;
    for size in sizes {
        sent += u128::from(size.get());
        let expected = leaves(rate, burst, sent);
        let verdict = shaper.offer(Timestamp::ZERO, size);
        match u64::try_from(expected) {
            Ok(at) => prop_assert_eq!(verdict, Verdict::Departs(Timestamp::from_nanos(at))),
            Err(_) => return Ok(sent),
        }
    }
    Ok(sent)
}

proptest! {
    #[test]
    fn the_last_byte_leaves_when_arithmetic_says(
        rate in rates(),
        burst in bursts(),
        parts in prop::collection::vec(any::<u64>(), 1..300),
        gcra in any::<bool>(),
    ) {
        let rounded = rate.get() / 1_000_000_000 + 1;
        prop_assume!(burst.get() > rounded);
        let largest = burst.get() - rounded;
        let policy = if gcra { Policy::Gcra { rate, burst } } else { full(rate, burst) };
        let sizes = parts.iter().map(|part| ByteSize::new(1 + part % largest));
        assert_greedy(&policy, sizes)?;
    }

    /// Asking and telling of nothing, at any instants between, changes nothing.
    #[test]
    fn being_asked_often_costs_nothing(
        policy in policies(),
        past in steps(24),
        between in prop::collection::vec(magnitude(1, 1 << 50), 0..40),
        after in magnitude(0, 1 << 55),
    ) {
        // Averages round once for each time they are settled: not to the byte.
        let rounds = matches!(policy, Policy::Ewma { .. } | Policy::EwmaContinuous { .. });
        prop_assume!(!rounds);
        let (limiter, mut now) = used(&policy, &past);
        let mut asked = limiter.clone();
        for wait in between {
            now = now + Nanos::new(wait);
            asked.conforms(now, ByteSize::new(1));
            asked.commit(now, ByteSize::ZERO);
        }
        now = now + Nanos::new(after);
        prop_assert_eq!(asked.available(now), limiter.available(now));
    }
}

#[test]
fn at_3_bytes_a_second_nothing_is_lost_in_a_billion_decisions() {
    let (rate, burst) = (ByteRate::new(3).unwrap(), ByteSize::new(1_000_001));
    // 10^6 decisions one by one, each byte due at a third of a second that is
    // no whole nanosecond.
    let single = std::iter::repeat_n(ByteSize::new(1), 1_000_000);
    let small = full(rate, ByteSize::new(2));
    assert_eq!(assert_greedy(&small, single).unwrap(), 1_000_000);
    // 10^9 bytes in 1,000 jumps: each leaves what a million single bytes leave.
    let jumps = std::iter::repeat_n(ByteSize::new(1_000_000), 1_000);
    let sent = assert_greedy(&full(rate, burst), jumps).unwrap();
    assert_eq!(sent, 1_000_000_000);
    assert_eq!(leaves(rate, burst, sent), 332_999_999_666_666_667);
}

#[test]
fn a_jump_leaves_the_same_state_as_its_single_bytes() {
    let (rate, burst) = (ByteRate::new(3).unwrap(), ByteSize::new(1_000));
    let (mut jump, mut single) = (full(rate, burst).build(), full(rate, burst).build());
    let mut now = Timestamp::ZERO;
    for _ in 0..1_000 {
        now = jump.earliest(now, burst).unwrap();
        jump.commit(now, burst);
        for _ in 0..burst.get() {
            assert!(single.admit(now, ByteSize::new(1)));
        }
        assert_eq!(format!("{jump:?}"), format!("{single:?}"));
    }
}

#[test]
fn from_1_byte_a_second_to_400_gigabit_and_ten_years_idle() {
    let ten_years = Nanos::from_secs(10 * 366 * 86_400);
    for bytes in [1, 3, 1_000_003, 50_000_000_000] {
        let rate = ByteRate::new(bytes).unwrap();
        let burst = ByteSize::new(bytes.max(9_000));
        let mut bucket = full(rate, burst).build();
        assert!(bucket.admit(Timestamp::ZERO, burst));
        let idle = Timestamp::ZERO + ten_years;
        assert_eq!(bucket.available(idle), burst);
        assert!(bucket.admit(idle, burst));
        assert_eq!(bucket.available(idle), ByteSize::ZERO);
        let second = idle + Nanos::from_secs(1);
        assert_eq!(bucket.available(second), ByteSize::new(bytes));
        assert!(!bucket.conforms(second.just_before(), ByteSize::new(bytes)));
    }
}
