//! What one decision costs on this machine.
//!
//! The one figure of the model that depends on the machine: it goes to the
//! terminal and to `host.json`, never into a file that must be the same twice.

use std::hint::black_box;
use std::time::Instant;

use flow::policy::Visitor;
use flow::{ByteSize, Limiter, Timestamp};

use crate::report::DecisionCost;
use crate::scenario::Algorithm;

/// Decisions in a sample, and samples of which the fastest counts.
const DECISIONS: u64 = 20_000;
const SAMPLES: usize = 5;

/// Times the decisions of each algorithm: 700-byte packets at twice its rate.
#[must_use]
pub(crate) fn decisions(algorithms: &[Algorithm]) -> Vec<DecisionCost> {
    let cost = |algorithm: &Algorithm| {
        let rate = algorithm.policy.rate().map_or(1_000_000, |rate| rate.get());
        DecisionCost {
            algorithm: algorithm.label.clone(),
            ns: algorithm.policy.visit(Timing { rate }),
        }
    };
    let models = algorithms
        .iter()
        .filter(|algorithm| !algorithm.is_special());
    models.map(cost).collect()
}

struct Timing {
    rate: u64,
}

impl Visitor for Timing {
    type Out = f64;

    fn visit<L: Limiter + Clone + Send + 'static>(self, limiter: L) -> f64 {
        let size = ByteSize::new(700);
        let gap = (700 * 1_000_000_000 / self.rate.saturating_mul(2).max(1)).max(1);
        let sample = || {
            let mut limiter = limiter.clone();
            let begun = Instant::now();
            for number in 0..DECISIONS {
                let now = Timestamp::from_nanos(number.saturating_mul(gap));
                black_box(limiter.admit(black_box(now), black_box(size)));
            }
            begun.elapsed()
        };
        let fastest = (0..SAMPLES).map(|_| sample()).min().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let decisions = DECISIONS as f64;
        fastest.as_secs_f64() * 1e9 / decisions
    }
}
