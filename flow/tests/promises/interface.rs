//! The interface: the four questions agree with each other at every instant.

use proptest::prelude::*;
use weirgate_flow::spec::Fields;
use weirgate_flow::{AnyLimiter, ByteSize, Limiter, Nanos, Policy, Timestamp};

use crate::policies::{magnitude, policies, rates, steps, used};

const FAR: Nanos = Nanos::from_secs(10 * 366 * 86_400);

fn assert_earliest_is_exact(
    limiter: &AnyLimiter,
    now: Timestamp,
    size: ByteSize,
) -> Result<(), TestCaseError> {
    match limiter.earliest(now, size) {
        Some(at) => {
            prop_assert!(at >= now);
            prop_assert!(limiter.conforms(at, size), "not at {at:?}");
            let before = at.just_before();
            prop_assert!(at == now || !limiter.conforms(before, size), "early");
        }
        None => {
            prop_assert!(!limiter.conforms(now, size));
            prop_assert!(!limiter.conforms(now + FAR, size));
            prop_assert!(!limiter.conforms(Timestamp::MAX, size));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn earliest_is_the_first_nanosecond(
        policy in policies(),
        past in steps(24),
        next in steps(6),
    ) {
        let (limiter, mut now) = used(&policy, &past);
        for step in next {
            let (at, size) = step.resolve(&limiter, &policy, now);
            assert_earliest_is_exact(&limiter, at, size)?;
            now = at;
        }
    }

    #[test]
    fn available_is_the_largest_that_conforms(
        policy in policies(),
        past in steps(24),
        later in magnitude(0, 1 << 60),
    ) {
        let (limiter, now) = used(&policy, &past);
        let now = now + Nanos::new(later);
        let available = limiter.available(now);
        // A busy queue and an average above its limit refuse even an empty packet.
        prop_assert!(limiter.conforms(now, available) || available == ByteSize::ZERO);
        let more = available.get().checked_add(1).map(ByteSize::new);
        prop_assert!(more.is_none_or(|more| !limiter.conforms(now, more)));
    }

    #[test]
    fn what_conforms_at_an_instant_conforms_later(
        policy in policies(),
        past in steps(24),
        waits in prop::collection::vec(magnitude(0, 1 << 58), 8),
    ) {
        let (limiter, mut now) = used(&policy, &past);
        let mut available = limiter.available(now);
        for wait in waits {
            now = now + Nanos::new(wait);
            let after = limiter.available(now);
            // A window may only be entered from below.
            prop_assert!(after >= available);
            available = after;
        }
    }

    #[test]
    fn admit_is_conforms_and_commit(policy in policies(), steps in steps(40)) {
        let mut one = policy.build();
        let mut two = one.clone();
        let mut now = Timestamp::ZERO;
        for step in steps {
            let (at, size) = step.resolve(&one, &policy, now);
            let conforms = two.conforms(at, size);
            if conforms {
                two.commit(at, size);
            }
            prop_assert_eq!(one.admit(at, size), conforms);
            prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
            now = at;
        }
    }

    #[test]
    fn the_largest_size_is_the_largest_that_ever_conforms(policy in policies()) {
        let limiter = policy.build();
        let largest = policy.largest();
        prop_assert!(limiter.earliest(Timestamp::ZERO, largest).is_some() || beyond_time(&policy));
        let more = largest.get().checked_add(1).map(ByteSize::new);
        let ever = more.and_then(|more| limiter.earliest(Timestamp::ZERO, more));
        prop_assert_eq!(ever, None);
    }

    #[test]
    fn a_refund_is_as_if_it_had_not_passed(
        policy in policies(),
        past in steps(24),
        last in steps(2),
        parts in (any::<u64>(), any::<u64>()),
        waits in prop::collection::vec(magnitude(0, 1 << 58), 6),
    ) {
        let (mut limiter, now) = used(&policy, &past);
        let Some((at, size)) = last.first().map(|step| step.resolve(&limiter, &policy, now)) else {
            return Ok(());
        };
        let back = parts.0 % (size.get().saturating_add(1));
        let mut without = limiter.clone();
        if !limiter.admit(at, size) {
            return Ok(());
        }
        without.commit(at, ByteSize::new(size.get() - back));
        // In two parts, and after some time.
        let later = at + Nanos::new(waits[0]);
        let first = parts.1 % (back.saturating_add(1));
        limiter.refund(later, ByteSize::new(first));
        limiter.refund(later, ByteSize::new(back - first));
        let mut now = at;
        for wait in waits {
            prop_assert!(limiter.available(now) <= without.available(now), "at {now:?}");
            now = now + Nanos::new(wait);
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_stands_still(
        policy in policies(),
        past in steps(24),
        back in magnitude(1, u64::MAX),
        size in magnitude(0, 1 << 40),
    ) {
        let (mut limiter, now) = used(&policy, &past);
        limiter.commit(now, ByteSize::ZERO);
        let earlier = Timestamp::from_nanos(now.as_nanos().saturating_sub(back));
        let size = ByteSize::new(size);
        prop_assert_eq!(limiter.available(earlier), limiter.available(now));
        prop_assert_eq!(limiter.conforms(earlier, size), limiter.conforms(now, size));
        let expected = match limiter.earliest(now, size) {
            Some(at) if at == now => Some(earlier),
            other => other,
        };
        prop_assert_eq!(limiter.earliest(earlier, size), expected);
        let mut two = limiter.clone();
        limiter.commit(earlier, size);
        two.commit(now, size);
        prop_assert_eq!(limiter.available(now), two.available(now));
    }

    #[test]
    fn no_input_panics(
        policy in policies(),
        calls in prop::collection::vec((0_u8..5, any::<u64>(), any::<u64>(), rates()), 0..60),
    ) {
        let mut limiter = policy.build();
        for (call, now, size, rate) in calls {
            let (now, size) = (Timestamp::from_nanos(now), ByteSize::new(size));
            match call {
                0 => { limiter.admit(now, size); }
                1 => limiter.commit(now, size),
                2 => limiter.refund(now, size),
                3 => limiter.set_rate(now, rate),
                _ => assert_earliest_is_exact(&limiter, now, size)?,
            }
            limiter.available(now);
        }
    }

    #[test]
    fn a_policy_at_another_rate_is_the_limiter_at_that_rate(
        policy in policies(),
        rate in rates(),
        steps in steps(24),
    ) {
        let changed = policy.with_rate(rate);
        let (mut one, mut two) = (policy.build(), changed.build());
        one.set_rate(Timestamp::ZERO, rate);
        let mut now = Timestamp::ZERO;
        for step in steps {
            let (at, size) = step.resolve(&two, &changed, now);
            prop_assert_eq!(one.earliest(at, size), two.earliest(at, size));
            prop_assert_eq!(one.admit(at, size), two.admit(at, size));
            now = at;
        }
    }

    #[test]
    fn a_policy_scaled_to_itself_is_itself(policy in policies()) {
        if let (Some(rate), Some(burst)) = (policy.rate(), policy.burst()) {
            prop_assert_eq!(policy.scaled_to(rate, burst), policy);
        }
    }

    #[test]
    fn a_policy_reads_back(policy in policies()) {
        prop_assert_eq!(policy.to_string().parse(), Ok(policy));
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = text.parse::<Policy>();
        for kind in Policy::KINDS {
            let _ = format!("{kind}:{text}").parse::<Policy>();
            for key in Policy::fields(kind).unwrap() {
                let mut fields = Fields::new();
                fields.insert(key, &text).unwrap();
                let _ = Policy::from_fields(kind, &fields, &Default::default());
            }
        }
    }
}

#[test]
fn a_log_remembers_how_late_it_was_when_nothing_passed() {
    let policy: Policy = "sliding-window-log:limit=1B,window=1ns".parse().unwrap();
    let mut limiter = policy.build();
    let at = Timestamp::from_nanos;
    limiter.commit(at(9), ByteSize::ZERO);
    limiter.commit(at(8), ByteSize::new(1));
    assert!(!limiter.conforms(at(9), ByteSize::new(1)));
    assert_eq!(limiter.earliest(at(8), ByteSize::new(1)), Some(at(10)));
}

/// A bucket so slow and deep that it does not fill within representable time.
fn beyond_time(policy: &Policy) -> bool {
    matches!(policy, Policy::TokenBucket { rate, burst, initial, .. }
        if (burst.get() - initial.get()) / rate.get() > u64::MAX / 1_000_000_000 - 1)
}
