//! SPEC, "Bounds that always hold": what passes in any interval.

use proptest::prelude::*;
use weirgate_flow::units::Weight;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Policy, Timestamp};

use crate::policies::{Step, policies, rates, spans, steps, weights};

/// What passes of what a sender who knows the limiter offers.
fn passed(policy: &Policy, steps: &[Step]) -> Vec<(Timestamp, ByteSize)> {
    let (mut limiter, mut now) = (policy.build(), Timestamp::ZERO);
    let mut passed = Vec::new();
    for step in steps {
        let (at, size) = step.resolve(&limiter, policy, now);
        if limiter.admit(at, size) {
            passed.push((at, size));
        }
        now = at;
    }
    passed
}

/// Every closed interval between two packets, with what passed in it.
fn intervals(
    passed: &[(Timestamp, ByteSize)],
) -> impl Iterator<Item = (Timestamp, Timestamp, u128)> {
    passed.iter().enumerate().flat_map(move |(i, (start, _))| {
        let mut sum = 0;
        passed.iter().skip(i).map(move |(end, size)| {
            sum += u128::from(size.get());
            (*start, *end, sum)
        })
    })
}

proptest! {
    #[test]
    fn what_passes_keeps_the_bound(policy in policies(), steps in steps(80)) {
        let passed = passed(&policy, &steps);
        let largest = passed.iter().map(|(_, size)| *size).max().unwrap_or_default();
        let bound = policy.bound();
        for (start, end, sum) in intervals(&passed) {
            if let Some(most) = bound.most_in(end.since(start), largest) {
                prop_assert!(sum <= most, "{sum} > {most} in [{start:?}, {end:?}]");
            }
        }
    }

    /// Credit earned at the old rate is kept, and no more than that.
    #[test]
    fn a_change_of_rate_keeps_the_bound_of_the_higher_rate(
        policy in policies(),
        steps in steps(60),
        changes in prop::collection::vec(rates(), 60),
    ) {
        let Some(first) = policy.rate() else { return Ok(()) };
        let most = changes.iter().copied().fold(first, ByteRate::max);
        let (mut limiter, mut now, mut passed) = (policy.build(), Timestamp::ZERO, Vec::new());
        for (step, rate) in steps.iter().zip(changes) {
            let (at, size) = step.resolve(&limiter, &policy, now);
            if limiter.admit(at, size) {
                passed.push((at, size));
            }
            limiter.set_rate(at, rate);
            now = at;
        }
        let largest = passed.iter().map(|(_, size)| *size).max().unwrap_or_default();
        // The limit of a window need not be a whole rate: before the first change it stands.
        let bounds = [policy, policy.with_rate(most)].map(|policy| policy.bound());
        for (start, end, sum) in intervals(&passed) {
            let most = bounds.map(|bound| bound.most_in(end.since(start), largest));
            let most = most.into_iter().max().flatten();
            prop_assert!(Some(sum) <= most, "{sum} > {most:?} in [{start:?}, {end:?}]");
        }
    }

    #[test]
    fn an_average_at_rest_lets_rate_x_interval_over_alpha_through(
        rate in rates(),
        interval in spans(),
        alpha in weights(),
        index in 0_u64..3,
    ) {
        let policy = Policy::Ewma { rate, interval, alpha };
        let product = u128::from(rate.get()) * u128::from(interval.get());
        let Some(product) = product.checked_mul(u128::from(alpha.denominator())) else {
            return Ok(());
        };
        let most = product / (u128::from(alpha.numerator()) * 1_000_000_000);
        let most = ByteSize::new(u64::try_from(most).unwrap_or(u64::MAX));
        let now = Timestamp::from_nanos(index * interval.get());
        prop_assert_eq!(policy.build().available(now), most);
        prop_assert_eq!(policy.largest(), most);
    }
}

#[test]
fn a_fixed_window_lets_twice_its_limit_through_across_an_edge() {
    let window = Nanos::from_millis(77);
    let origin = Timestamp::from_nanos(5);
    let limit = ByteSize::new(5_000);
    let policy = Policy::FixedWindow {
        limit,
        window,
        origin,
    };
    let mut limiter = policy.build();
    let edge = origin + window;
    assert!(limiter.admit(edge.just_before(), limit));
    assert!(!limiter.conforms(edge.just_before(), ByteSize::new(1)));
    assert!(limiter.admit(edge, limit));
    let two = policy.bound().most_in(window, limit);
    assert_eq!(two, Some(10_000));
    // Before the origin there are windows too.
    let mut limiter = policy.build();
    assert!(limiter.admit(origin.just_before(), limit));
    assert!(limiter.admit(origin, limit));
    assert!(!limiter.conforms(edge.just_before(), ByteSize::new(1)));
}

#[test]
fn a_second_interval_of_an_average_gets_what_the_first_left() {
    let policy = Policy::Ewma {
        rate: ByteRate::new(1_000).unwrap(),
        interval: Nanos::from_secs(1),
        alpha: Weight::new(1, 8).unwrap(),
    };
    let mut limiter = policy.build();
    let second = |seconds| Timestamp::ZERO + Nanos::from_secs(seconds);
    assert!(limiter.admit(second(0), ByteSize::new(8_000)));
    assert!(!limiter.conforms(second(1).just_before(), ByteSize::new(1)));
    assert_eq!(limiter.available(second(1)), ByteSize::new(1_000));
    // Idle, S falls to 875 in the second interval: (1000 - 7/8 x 875) x 8 = 1875.
    assert_eq!(limiter.available(second(2)), ByteSize::new(1_875));
}
