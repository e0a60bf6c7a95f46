//! Senders that do not wait, and one that sleeps first.

use super::{Constant, Phase};
use crate::distribution::{SizeDistribution, Sizes};
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{ByteRate, ByteSize, Nanos, Timestamp};

/// As much as the limiter lets through: the next chunk is due at once. It only
/// makes sense for a sender that waits for room, as time never moves otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    chunk: ByteSize,
}

impl Bulk {
    /// Sends of `chunk` bytes.
    #[must_use]
    pub const fn new(chunk: ByteSize) -> Self {
        Self { chunk }
    }
}

impl Generator for Bulk {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        Some(Send {
            at: now,
            size: self.chunk,
        })
    }
}

/// Silence, then a flood: at a rate, or as much as the limiter lets through.
#[derive(Clone, Debug)]
pub struct IdleThenFlood {
    idle: Nanos,
    flood: Flood,
}

#[derive(Clone, Debug)]
enum Flood {
    Constant(Constant),
    Bulk { sizes: Sizes, random: Random },
}

impl IdleThenFlood {
    /// After `idle`, packets of `size` at `rate`, or at once without one.
    #[must_use]
    pub fn new(
        idle: Nanos,
        rate: Option<ByteRate>,
        size: &SizeDistribution,
        seed: StreamSeed,
    ) -> Self {
        let flood = match rate {
            Some(rate) => Flood::Constant(Constant::new(rate, size, Phase::Zero, seed)),
            None => Flood::Bulk {
                sizes: size.sampler(),
                random: seed.random(),
            },
        };
        Self { idle, flood }
    }
}

impl Generator for IdleThenFlood {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let now = now + core::mem::take(&mut self.idle);
        match &mut self.flood {
            Flood::Constant(constant) => constant.next_send(now),
            Flood::Bulk { sizes, random } => Some(Send {
                at: now,
                size: sizes.draw(random),
            }),
        }
    }
}
