//! Periods of sending at a peak rate, and periods of silence.

use crate::distribution::{SizeDistribution, Sizes};
use crate::pace::{Pace, Rounding};
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::{ByteRate, ByteSize, Nanos, Timestamp};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, Pareto};

/// How long periods last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Periods {
    /// Exponentially distributed.
    #[default]
    Exponential,
    /// Pareto distributed with this tail index, above 1. Between 1 and 2 the sum of
    /// many such senders is self-similar, with Hurst parameter (3 - shape) / 2
    /// (Willinger, Taqqu, Sherman and Wilson, SIGCOMM 1995).
    Pareto(f64),
}

/// Sends at the peak rate during its on periods.
///
/// What an on period's end cuts off a packet's time passes in the next one, so
/// the mean rate is the peak rate times the share of on time, exactly. It starts
/// on with that probability. Periods are of the sender's own time: they stand
/// still while it is blocked.
#[derive(Clone, Debug)]
pub struct OnOff {
    random: Random,
    sizes: Sizes,
    pace: Pace,
    on: Lengths,
    off: Lengths,
    rounding: Rounding,
    /// What is left of the on period.
    left: Nanos,
    /// The previous size; `None` before the first send.
    previous: Option<ByteSize>,
}

impl OnOff {
    /// Packets of `size` at `peak_rate` in periods of mean length `mean_on`,
    /// between silences of mean length `mean_off`.
    #[must_use]
    pub fn new(
        peak_rate: ByteRate,
        mean_on: Nanos,
        mean_off: Nanos,
        periods: Periods,
        size: &SizeDistribution,
        seed: StreamSeed,
    ) -> Self {
        Self {
            random: seed.random(),
            sizes: size.sampler(),
            pace: Pace::new(peak_rate),
            on: Lengths::new(periods, mean_on),
            off: Lengths::new(periods, mean_off),
            rounding: Rounding::default(),
            left: Nanos::ZERO,
            previous: None,
        }
    }

    /// Time until the sender has spent `on` more in its on periods.
    fn spend(&mut self, mut on: Nanos) -> Nanos {
        let mut wait = 0_u64;
        while on > self.left {
            on = Nanos::new(on.get() - self.left.get());
            wait = wait.saturating_add(self.left.get());
            let silence = self.off.draw(&mut self.random, &mut self.rounding);
            wait = wait.saturating_add(silence.get());
            self.left = self.on.draw(&mut self.random, &mut self.rounding);
        }
        self.left = Nanos::new(self.left.get() - on.get());
        Nanos::new(wait.saturating_add(on.get()))
    }

    /// Silence before the first packet.
    fn begin(&mut self) -> Nanos {
        self.left = self.on.draw(&mut self.random, &mut self.rounding);
        let place: f64 = self.random.random();
        if place * (self.on.mean + self.off.mean) < self.on.mean {
            return Nanos::ZERO;
        }
        self.off.draw(&mut self.random, &mut self.rounding)
    }
}

impl Generator for OnOff {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let wait = match self.previous {
            None => self.begin(),
            Some(size) => {
                let on = self.pace.gap(size);
                self.spend(on)
            }
        };
        let size = self.sizes.draw(&mut self.random);
        self.previous = Some(size);
        Some(Send {
            at: now + wait,
            size,
        })
    }
}

/// Draws the lengths of periods of one kind.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// In nanoseconds, at least 1.
    mean: f64,
    pareto: Option<Pareto<f64>>,
}

impl Lengths {
    #[expect(clippy::cast_precision_loss, reason = "a mean of random numbers")]
    fn new(periods: Periods, mean: Nanos) -> Self {
        let mean = mean.get().max(1) as f64;
        let pareto = match periods {
            Periods::Exponential => None,
            Periods::Pareto(shape) => Pareto::new(mean * (shape - 1.0) / shape, shape).ok(),
        };
        Self { mean, pareto }
    }

    fn draw(&self, random: &mut Random, rounding: &mut Rounding) -> Nanos {
        let length = match &self.pareto {
            None => self.mean * exp1(random),
            Some(pareto) => pareto.sample(random),
        };
        rounding.whole(length)
    }
}

fn exp1(random: &mut Random) -> f64 {
    Exp1.sample(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pareto_periods_have_the_mean_that_was_asked_for() {
        let lengths = Lengths::new(Periods::Pareto(1.5), Nanos::from_millis(30));
        let pareto = lengths.pareto.unwrap();
        let least = 30e6 / 3.0;
        let mut random =
            crate::seed::StreamSeed::derive(1, 0, 0, 0, crate::seed::Purpose::Traffic).random();
        for _ in 0..10_000 {
            assert!(pareto.sample(&mut random) >= least);
        }
    }
}
