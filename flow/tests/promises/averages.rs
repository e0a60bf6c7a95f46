//! The smoothed rates against the same rule computed another way.

use proptest::prelude::*;
use weirgate_flow::units::Weight;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Policy, Timestamp};

use crate::policies::magnitude;

/// S x interval in exact fractions: `numerator` / q^`power`, in billionths of a byte.
struct Exact {
    p: u128,
    q: u128,
    most: u128,
    numerator: u128,
    power: u128,
}

impl Exact {
    /// What conforms in an interval in which `counted` bytes passed.
    fn room(&self, counted: u64) -> Option<u64> {
        let past = (self.q - self.p) * self.numerator;
        let room = (self.most * self.q * self.power).checked_sub(past)?;
        let bytes = room / (self.p * 1_000_000_000 * self.power);
        u64::try_from(bytes).ok()?.checked_sub(counted)
    }

    /// Ends an interval in which `counted` bytes passed.
    fn end(&mut self, counted: u64) {
        let new = self.p * u128::from(counted) * 1_000_000_000 * self.power;
        self.numerator = (self.q - self.p) * self.numerator + new;
        self.power *= self.q;
    }
}

proptest! {
    /// As long as the fraction fits into 128 bits; idle intervals are taken one
    /// by one here, and in one step by the limiter.
    #[test]
    fn intervals_decide_as_exact_fractions_do(
        rate in magnitude(1, 1_000_000),
        interval in magnitude(1, 1_000_000_000),
        (q, p) in (1_u64..9).prop_flat_map(|q| (Just(q), 1..=q)),
        intervals in prop::collection::vec((0_usize..4, prop::option::of(0_u8..=255)), 0..14),
    ) {
        let alpha = Weight::new(p, q).unwrap();
        let policy = Policy::Ewma {
            rate: ByteRate::new(rate).unwrap(),
            interval: Nanos::new(interval),
            alpha,
        };
        let mut limiter = policy.build();
        let mut exact = Exact {
            p: u128::from(alpha.numerator()),
            q: u128::from(alpha.denominator()),
            most: u128::from(rate) * u128::from(interval),
            numerator: 0,
            power: 1,
        };
        let mut index = 0;
        for (idle, part) in intervals {
            for _ in 0..idle {
                exact.end(0);
                index += 1;
            }
            if exact.power > 1 << 42 {
                break;
            }
            let now = Timestamp::from_nanos(index * interval);
            let room = exact.room(0).unwrap_or(0);
            prop_assert_eq!(limiter.available(now).get(), room);
            let size = part.map_or(room, |part| room / 256 * u64::from(part));
            prop_assert!(limiter.admit(now, ByteSize::new(size)));
            prop_assert_eq!(limiter.available(now).get(), exact.room(size).unwrap_or(0));
            exact.end(size);
            index += 1;
        }
    }

    /// In floating point, to a billionth of the limit.
    #[test]
    fn continuous_time_decides_as_the_formula_says(
        rate in magnitude(1_000, 10_000_000_000),
        tau in magnitude(1_000, 100_000_000_000),
        packets in prop::collection::vec((magnitude(0, 1 << 40), any::<u8>()), 1..40),
    ) {
        let policy = Policy::EwmaContinuous {
            rate: ByteRate::new(rate).unwrap(),
            time_constant: Nanos::new(tau),
        };
        let mut limiter = policy.build();
        let most = float(rate) * float(tau) / 1e9;
        let (mut sum, mut now) = (0.0, 0);
        for (wait, part) in packets {
            let wait = wait % (4 * tau);
            sum *= (-float(wait) / float(tau)).exp();
            now += wait;
            let at = Timestamp::from_nanos(now);
            let available = limiter.available(at).get();
            let error = (most - sum - float(available)).abs();
            prop_assert!(error <= 1.0 + most / 1e9, "off by {error} of {most}");
            let size = available / 256 * u64::from(part);
            prop_assert!(limiter.admit(at, ByteSize::new(size)));
            sum += float(size);
        }
    }
}

proptest! {
    /// Waits of many intervals, and of many time constants, to the nanosecond.
    #[test]
    fn a_long_wait_ends_when_it_should(
        rate in magnitude(1_000, 1_000_000_000),
        span in magnitude(1_000, 1_000_000_000),
        below in 1_u64..300,
        continuous in any::<bool>(),
        fill in 1_u64..=256,
        wanted in 1_u64..=255,
        lower in magnitude(1, 1_000_000_000),
    ) {
        let (rate, span) = (ByteRate::new(rate).unwrap(), Nanos::new(span));
        let policy = if continuous {
            Policy::EwmaContinuous { rate, time_constant: span }
        } else {
            let alpha = Weight::new(1, below).unwrap();
            Policy::Ewma { rate, interval: span, alpha }
        };
        let mut limiter = policy.build();
        let largest = policy.largest().get();
        limiter.commit(Timestamp::ZERO, ByteSize::new(largest / 256 * fill));
        for rate in [rate, ByteRate::new(lower).unwrap()] {
            limiter.set_rate(Timestamp::ZERO, rate);
            let largest = policy.with_rate(rate).largest().get();
            let size = ByteSize::new(largest / 256 * wanted);
            // Below the largest there is always an instant.
            let at = limiter.earliest(Timestamp::ZERO, size).unwrap();
            prop_assert!(limiter.conforms(at, size));
            prop_assert!(at == Timestamp::ZERO || !limiter.conforms(at.just_before(), size));
        }
    }
}

#[test]
fn an_average_never_quite_comes_to_rest() {
    let policy: Policy = "ewma:rate=9B/s,interval=1s,alpha=1/3".parse().unwrap();
    let (mut asked, mut limiter) = (policy.build(), policy.build());
    limiter.commit(Timestamp::ZERO, ByteSize::new(1));
    asked.commit(Timestamp::ZERO, ByteSize::new(1));
    for second in 1..1_000 {
        let at = Timestamp::ZERO + Nanos::from_secs(second);
        asked.commit(at, ByteSize::ZERO);
        assert!(!asked.conforms(at, ByteSize::new(27)), "{second}");
        assert!(!limiter.conforms(at, ByteSize::new(27)), "{second}");
    }
    assert_eq!(limiter.earliest(Timestamp::ZERO, ByteSize::new(27)), None);
}

#[test]
fn an_average_falls_from_the_highest_rate_to_the_lowest() {
    let mut limiter = Policy::Ewma {
        rate: ByteRate::new(u64::MAX).unwrap(),
        interval: Nanos::from_micros(1),
        alpha: Weight::new(1, 8).unwrap(),
    }
    .build();
    limiter.commit(Timestamp::ZERO, ByteSize::MAX);
    limiter.set_rate(Timestamp::ZERO, ByteRate::MIN);
    let at = limiter.earliest(Timestamp::ZERO, ByteSize::ZERO).unwrap();
    assert!(limiter.conforms(at, ByteSize::ZERO));
    assert!(!limiter.conforms(at.just_before(), ByteSize::ZERO));
}

#[test]
fn a_billionth_of_a_byte_too_little_is_too_little() {
    let policy: Policy = "ewma-continuous:rate=1B/s,time_constant=999999999ns"
        .parse()
        .unwrap();
    assert_eq!(policy.build().available(Timestamp::ZERO), ByteSize::ZERO);
    let policy: Policy = "ewma-continuous:rate=1B/s,time_constant=1s"
        .parse()
        .unwrap();
    assert_eq!(policy.build().available(Timestamp::ZERO), ByteSize::new(1));
}

#[test]
fn an_average_in_thirds_is_not_rounded_while_it_divides_evenly() {
    let policy: Policy = "ewma:rate=9B/s,interval=1s,alpha=1/3".parse().unwrap();
    let mut limiter = policy.build();
    assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(27)));
    // S is 9 after the first second, 6 after the second, 4 after the third.
    for (second, available) in [(1, 9), (2, 15), (3, 19)] {
        let at = Timestamp::ZERO + Nanos::from_secs(second);
        assert_eq!(limiter.available(at), ByteSize::new(available));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits suffice for a billionth"
)]
fn float(number: u64) -> f64 {
    number as f64
}
