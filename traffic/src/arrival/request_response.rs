//! A user who reads what came before asking for more.

use crate::distribution::{SizeDistribution, Sizes};
use crate::pace::Rounding;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{Nanos, Timestamp};
use rand_distr::{Distribution, Exp1};

/// A closed loop: a response, and when all of it has arrived an exponential time to think
/// before the next. The first one follows a time to think, too.
#[derive(Clone, Debug)]
pub struct RequestResponse {
    random: Random,
    sizes: Sizes,
    rounding: Rounding,
    /// Mean time to think in nanoseconds.
    think: f64,
}

impl RequestResponse {
    /// Responses of `size`, with `think` on average between one's end and the next one's begin.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of random numbers")]
    pub fn new(think: Nanos, size: &SizeDistribution, seed: StreamSeed) -> Self {
        Self {
            random: seed.random(),
            sizes: size.sampler(),
            rounding: Rounding::default(),
            think: think.get() as f64,
        }
    }
}

impl Generator for RequestResponse {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let unit: f64 = Exp1.sample(&mut self.random);
        Some(Send {
            at: now + self.rounding.whole(self.think * unit),
            size: self.sizes.draw(&mut self.random),
        })
    }

    fn awaits_delivery(&self) -> bool {
        true
    }
}
