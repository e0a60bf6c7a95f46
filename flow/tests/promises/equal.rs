//! Three descriptions of one rule: GCRA, the leaky bucket as a meter, and the
//! token bucket decide alike, whatever is done to them.

use proptest::prelude::*;
use weirgate_flow::policy::Oversize;
use weirgate_flow::{AnyLimiter, ByteRate, ByteSize, Limiter, Policy, Timestamp};

use crate::policies::{bursts, rates, steps};

fn three(rate: ByteRate, burst: ByteSize) -> [Policy; 3] {
    let bucket = Policy::TokenBucket {
        rate,
        burst,
        initial: burst,
        oversize: Oversize::Drop,
    };
    let meter = Policy::LeakyBucketMeter { rate, burst };
    [bucket, meter, Policy::Gcra { rate, burst }]
}

fn alike<T: PartialEq + std::fmt::Debug>(
    limiters: &mut [AnyLimiter; 3],
    ask: impl Fn(&mut AnyLimiter) -> T,
) -> Result<T, TestCaseError> {
    let [bucket, meter, gcra] = limiters;
    let answer = ask(bucket);
    prop_assert_eq!(&answer, &ask(meter));
    prop_assert_eq!(&answer, &ask(gcra));
    Ok(answer)
}

proptest! {
    #[test]
    fn they_decide_alike(
        rate in rates(),
        burst in bursts(),
        steps in steps(60),
        changes in prop::collection::vec((0_u8..6, rates(), any::<u64>()), 60),
    ) {
        let policies = three(rate, burst);
        let mut limiters = policies.map(|policy| policy.build());
        let mut now = Timestamp::ZERO;
        for (step, (change, rate, part)) in steps.into_iter().zip(changes) {
            let (at, size) = step.resolve(&limiters[0], &policies[0], now);
            alike(&mut limiters, |limiter| limiter.available(at))?;
            alike(&mut limiters, |limiter| limiter.earliest(at, size))?;
            if alike(&mut limiters, |limiter| limiter.admit(at, size))? && change == 0 {
                let back = ByteSize::new(part % (size.get().saturating_add(1)));
                alike(&mut limiters, |limiter| limiter.refund(at, back))?;
            }
            if change == 1 {
                alike(&mut limiters, |limiter| limiter.set_rate(at, rate))?;
            }
            now = at;
        }
    }
}
