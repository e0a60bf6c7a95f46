//! A Poisson process.

use crate::distribution::{SizeDistribution, Sizes};
use crate::pace::Rounding;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{ByteRate, Timestamp};
use rand_distr::{Distribution, Exp1};

/// Gaps are exponential and independent of everything, the first one too.
#[derive(Clone, Debug)]
pub struct Poisson {
    random: Random,
    sizes: Sizes,
    rounding: Rounding,
    /// Mean gap in nanoseconds.
    mean: f64,
}

impl Poisson {
    /// Packets of `size`, on average `rate` bytes per second.
    #[must_use]
    pub fn new(rate: ByteRate, size: &SizeDistribution, seed: StreamSeed) -> Self {
        Self {
            random: seed.random(),
            sizes: size.sampler(),
            rounding: Rounding::default(),
            mean: mean_gap(size, rate),
        }
    }
}

impl Generator for Poisson {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let unit: f64 = Exp1.sample(&mut self.random);
        Some(Send {
            at: now + self.rounding.whole(self.mean * unit),
            size: self.sizes.draw(&mut self.random),
        })
    }
}

/// Nanoseconds between packets of mean size `size` at `rate`.
#[expect(clippy::cast_precision_loss, reason = "a mean of random numbers")]
pub(super) fn mean_gap(size: &SizeDistribution, rate: ByteRate) -> f64 {
    size.mean() / rate.get() as f64 * 1e9
}
