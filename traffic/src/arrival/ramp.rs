//! A rate that grows or falls evenly.

use crate::distribution::{SizeDistribution, Sizes};
use crate::pace::Rounding;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{ByteRate, ByteSize, Nanos, Timestamp};

/// From one rate to another in a given time after its start, which it then keeps.
///
/// Each packet is followed by the time in which the rate, as it changes, carries
/// its size.
#[derive(Clone, Debug)]
pub struct Ramp {
    random: Random,
    sizes: Sizes,
    rounding: Rounding,
    slope: Slope,
    start: Option<Timestamp>,
    previous: ByteSize,
}

impl Ramp {
    /// Packets of `size`, at the start at rate `from`, from `over` on at rate `to`.
    #[must_use]
    pub fn new(
        from: ByteRate,
        to: ByteRate,
        over: Nanos,
        size: &SizeDistribution,
        seed: StreamSeed,
    ) -> Self {
        Self {
            random: seed.random(),
            sizes: size.sampler(),
            rounding: Rounding::default(),
            slope: Slope::new(from, to, over),
            start: None,
            previous: ByteSize::ZERO,
        }
    }
}

impl Generator for Ramp {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let start = *self.start.get_or_insert(now);
        let gap = self.slope.time_of(now.since(start), self.previous);
        let at = now + self.rounding.whole(gap);
        self.previous = self.sizes.draw(&mut self.random);
        Some(Send {
            at,
            size: self.previous,
        })
    }
}

/// Rates in bytes per nanosecond, times in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Slope {
    from: f64,
    to: f64,
    over: f64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that changes all the time"
)]
impl Slope {
    fn new(from: ByteRate, to: ByteRate, over: Nanos) -> Self {
        Self {
            from: from.get() as f64 / 1e9,
            to: to.get() as f64 / 1e9,
            over: over.get() as f64,
        }
    }

    /// How long `size` bytes take from `elapsed` after the start.
    fn time_of(&self, elapsed: Nanos, size: ByteSize) -> f64 {
        let left = self.over - elapsed.get() as f64;
        let size = size.get() as f64;
        if left <= 0.0 {
            return size / self.to;
        }
        let growth = (self.to - self.from) / self.over;
        let rate = self.to - growth * left;
        let on_ramp = (rate + self.to) / 2.0 * left;
        if size >= on_ramp {
            return left + (size - on_ramp) / self.to;
        }
        // The lesser root of growth t^2 / 2 + rate t = size, in the form that
        // loses no digits where growth is small.
        2.0 * size / (rate + (rate * rate + 2.0 * growth * size).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_carries_its_triangle() {
        let rate = |bytes| ByteRate::new(bytes).unwrap();
        let up = Slope::new(rate(1_000), rate(3_000), Nanos::from_secs(10));
        let whole = up.time_of(Nanos::ZERO, ByteSize::new(20_000));
        assert!((whole - 10e9).abs() < 1.0, "{whole}");
        let half = up.time_of(Nanos::ZERO, ByteSize::new(7_500));
        assert!((half - 5e9).abs() < 1.0, "{half}");
        let after = up.time_of(Nanos::from_secs(9), ByteSize::new(2_900 + 3_000));
        assert!((after - 2e9).abs() < 1.0, "{after}");
        let down = Slope::new(rate(3_000), rate(1_000), Nanos::from_secs(10));
        let half = down.time_of(Nanos::ZERO, ByteSize::new(12_500));
        assert!((half - 5e9).abs() < 1.0, "{half}");
    }
}
