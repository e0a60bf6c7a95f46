//! The shaper: order, delay, and the same plan whether it is made at the
//! arrival or kept open.

use proptest::prelude::*;
use weirgate_flow::policy::Oversize;
use weirgate_flow::shaper::LiveShaper;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Policy, Shaper, Timestamp, Verdict};

use crate::policies::{magnitude, policies, rates};

fn arrivals() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((magnitude(0, 3_000_000_000), magnitude(1, 9_000)), 1..60)
}

fn queues() -> impl Strategy<Value = Option<ByteSize>> {
    prop::option::of(magnitude(0, 1 << 20).prop_map(ByteSize::new))
}

fn bucket(rate: ByteRate, burst: u64) -> Policy {
    let burst = ByteSize::new(burst);
    Policy::TokenBucket {
        rate,
        burst,
        initial: burst,
        oversize: Oversize::Drop,
    }
}

proptest! {
    #[test]
    fn departures_conform_in_order_of_arrival(
        policy in policies(),
        queue in queues(),
        arrivals in arrivals(),
    ) {
        let mut shaper = Shaper::new(policy.build(), queue);
        let mut limiter = policy.build();
        let (mut now, mut before) = (Timestamp::ZERO, Timestamp::ZERO);
        for (gap, size) in arrivals {
            now = now + Nanos::new(gap);
            let size = ByteSize::new(size);
            if let Verdict::Departs(at) = shaper.offer(now, size) {
                prop_assert!(at >= now && at >= before);
                prop_assert!(limiter.admit(at, size));
                before = at;
            }
        }
    }

    #[test]
    fn a_shaper_kept_open_decides_the_same(
        policy in policies(),
        queue in queues(),
        arrivals in arrivals(),
    ) {
        let mut planned = Shaper::new(policy.build(), queue);
        let mut live = LiveShaper::new(policy.build(), queue);
        let (mut now, mut due, mut left) = (Timestamp::ZERO, Vec::new(), Vec::new());
        for (gap, size) in arrivals {
            now = now + Nanos::new(gap);
            left.extend(std::iter::from_fn(|| live.pop(now)).map(|packet| packet.departure));
            let verdict = planned.offer(now, ByteSize::new(size));
            prop_assert_eq!(live.offer(now, ByteSize::new(size), ()), verdict);
            if let Verdict::Departs(at) = verdict {
                due.push(at);
            }
        }
        left.extend(std::iter::from_fn(|| live.pop(Timestamp::MAX)).map(|packet| packet.departure));
        prop_assert_eq!(left, due);
        prop_assert_eq!(live.waiting(), ByteSize::ZERO);
    }

    /// Nothing is lost or overtakes, every packet leaves at the first instant
    /// at which a limiter with the same past lets it, and never before a change.
    #[test]
    fn a_change_of_rate_plans_again(
        policy in policies(),
        queue in queues(),
        arrivals in arrivals(),
        changes in prop::collection::vec(prop::option::weighted(0.3, rates()), 60),
    ) {
        let mut live = LiveShaper::new(policy.build(), queue);
        let mut limiter = policy.build();
        let mut now = Timestamp::ZERO;
        let (mut accepted, mut left, mut lost, mut before) = (0, 0, 0, Timestamp::ZERO);
        for (tag, ((gap, size), change)) in arrivals.into_iter().zip(changes).enumerate() {
            now = now + Nanos::new(gap);
            while let Some(packet) = live.pop(now) {
                let from = packet.arrival.max(before);
                prop_assert_eq!(limiter.earliest(from, packet.size), Some(packet.departure));
                limiter.commit(packet.departure, packet.size);
                before = packet.departure;
                left += 1;
            }
            if let Some(rate) = change {
                lost += live.set_rate(now, rate).len();
                limiter.set_rate(now, rate);
                before = before.max(now);
            }
            if let Verdict::Departs(at) = live.offer(now, ByteSize::new(size), tag) {
                prop_assert!(at >= now);
                accepted += 1;
            }
        }
        left += std::iter::from_fn(|| live.pop(Timestamp::MAX)).count();
        prop_assert_eq!(accepted, left + lost);
        prop_assert_eq!(live.waiting(), ByteSize::ZERO);
    }

    /// Network calculus: a source within (r, b) waits at most b / rate in a
    /// shaper of at least r (Le Boudec and Thiran, theorem 1.4.2).
    #[test]
    fn a_bounded_source_waits_at_most_burst_over_rate(
        rate in magnitude(1, 50_000_000_000),
        faster in magnitude(0, 1_000_000),
        burst in magnitude(9_000, 1 << 24),
        depth in magnitude(9_000, 1 << 20),
        arrivals in arrivals(),
        server in any::<bool>(),
    ) {
        let source = ByteRate::new(rate).unwrap();
        let rate = ByteRate::new(rate + faster).unwrap();
        let policy = match server {
            true => Policy::LeakyBucket { rate, queue: None },
            false => bucket(rate, depth),
        };
        let mut source = bucket(source, burst).build();
        let mut shaper = Shaper::new(policy.build(), None);
        let most = (u128::from(burst) * 1_000_000_000).div_ceil(u128::from(rate.get()));
        let mut now = Timestamp::ZERO;
        for (waiting, (gap, size)) in arrivals.into_iter().enumerate() {
            now = now + Nanos::new(gap);
            let size = ByteSize::new(size);
            if source.admit(now, size) {
                let Verdict::Departs(at) = shaper.offer(now, size) else {
                    panic!("nothing is dropped");
                };
                let delay = u128::from(at.since(now).get());
                // A server starts each packet at a whole nanosecond.
                let rounding = if server { waiting as u128 } else { 0 };
                prop_assert!(delay <= most + rounding, "{delay} > {most}");
            }
        }
    }
}
