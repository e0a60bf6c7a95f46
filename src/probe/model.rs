//! A flood through a model of known parameters, as its receiver sees it.

use flow::policy::Visitor;
use flow::{ByteSize, Limiter, Nanos, Policer, Policy, Shaper, Timestamp, Verdict};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::Arrival;

/// A sender that knows no limit.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Bytes a second that it sends at.
    pub rate: u64,
    /// The least and the greatest packet, both included: every size between is
    /// equally likely. Sizes that differ tell a policer from a shaper.
    pub sizes: (u64, u64),
    /// How long it sends.
    pub lasts: Nanos,
    /// Of the sizes.
    pub seed: u64,
}

impl Flood {
    /// What `policy` lets through, shaped or policed; at the shaper's end when it
    /// leaves. A shaper's queue is without limit, and what has not left it by the
    /// end of the flood is not waited for.
    #[must_use]
    pub fn through(&self, policy: &Policy, shaped: bool) -> Vec<Arrival> {
        policy.visit(Through {
            flood: *self,
            shaped,
        })
    }
}

/// The arrivals of `packets` as they were sent, without any limiter.
pub fn arrivals(packets: impl IntoIterator<Item = (Timestamp, ByteSize)>) -> Vec<Arrival> {
    packets
        .into_iter()
        .map(|(at, size)| Arrival {
            at: at.as_nanos(),
            size: size.get(),
        })
        .collect()
}

struct Through {
    flood: Flood,
    shaped: bool,
}

impl Visitor for Through {
    type Out = Vec<Arrival>;

    fn visit<L: Limiter + Clone + Send + 'static>(self, limiter: L) -> Self::Out {
        if self.shaped {
            let mut shaper = Shaper::new(limiter, None);
            self.run(|at, size| shaper.offer(at, size))
        } else {
            let mut policer = Policer::new(limiter);
            self.run(|at, size| policer.offer(at, size))
        }
    }
}

impl Through {
    fn run(self, mut offer: impl FnMut(Timestamp, ByteSize) -> Verdict) -> Vec<Arrival> {
        let Flood {
            rate,
            sizes: (least, greatest),
            lasts,
            seed,
        } = self.flood;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut arrivals = Vec::new();
        let mut sent: u128 = 0;
        loop {
            let at = sent * 1_000_000_000 / u128::from(rate.max(1));
            let Ok(at) = u64::try_from(at) else { break };
            if at >= lasts.get() {
                break;
            }
            let size = least + random.next_u64() % (greatest.saturating_sub(least) + 1);
            sent += u128::from(size);
            match offer(Timestamp::from_nanos(at), ByteSize::new(size)) {
                Verdict::Departs(left) if left.as_nanos() >= lasts.get() => break,
                Verdict::Departs(left) => arrivals.push(Arrival {
                    at: left.as_nanos(),
                    size,
                }),
                Verdict::Drop(_) => {}
            }
        }
        arrivals
    }
}
