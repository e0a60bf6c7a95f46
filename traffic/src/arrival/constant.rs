//! A constant rate.

use crate::distribution::{SizeDistribution, Sizes, below};
use crate::pace::Pace;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{ByteRate, Nanos, Timestamp};

/// When a sender of constant rate sends first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// At its start: several senders go in step.
    #[default]
    Zero,
    /// Within the time of its first packet, equally likely: senders are spread.
    Random,
}

/// Each packet is followed by the time that its size takes at the rate.
#[derive(Clone, Debug)]
pub struct Constant {
    random: Random,
    sizes: Sizes,
    pace: Pace,
    /// The gap that the previous send is followed by.
    gap: Nanos,
}

impl Constant {
    /// A sender of packets of `size` at `rate`.
    #[must_use]
    pub fn new(rate: ByteRate, size: &SizeDistribution, phase: Phase, seed: StreamSeed) -> Self {
        let mut random = seed.random();
        let mut sizes = size.sampler();
        let gap = match phase {
            Phase::Zero => Nanos::ZERO,
            Phase::Random => {
                let first = Pace::new(rate).gap(sizes.draw(&mut random));
                Nanos::new(below(&mut random, first.get().max(1)))
            }
        };
        Self {
            random,
            sizes,
            pace: Pace::new(rate),
            gap,
        }
    }
}

impl Generator for Constant {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let at = now + self.gap;
        let size = self.sizes.draw(&mut self.random);
        self.gap = self.pace.gap(size);
        Some(Send { at, size })
    }
}
