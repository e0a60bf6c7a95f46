//! A Markov-modulated Poisson process.

use super::Level;
use super::poisson::mean_gap;
use crate::distribution::{SizeDistribution, Sizes, below};
use crate::pace::Rounding;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::Timestamp;
use rand::RngExt;
use rand_distr::{Distribution, Exp1};

/// In each state, packets come as a Poisson process of the state's rate; a state
/// lasts an exponential time and is followed by each other one with the same
/// probability. The first state is drawn by the share of time each has. States
/// last in the sender's own time: they stand still while it is blocked.
#[derive(Clone, Debug)]
pub struct Mmpp {
    random: Random,
    sizes: Sizes,
    rounding: Rounding,
    states: Box<[State]>,
    current: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Packets per nanosecond.
    arrivals: f64,
    /// Ends per nanosecond.
    ends: f64,
}

impl Mmpp {
    /// Packets of `size` in `states` of a rate and a mean length each.
    #[must_use]
    pub fn new(states: &[Level], size: &SizeDistribution, seed: StreamSeed) -> Self {
        let mut random = seed.random();
        let current = first_state(states, random.random());
        Self {
            random,
            sizes: size.sampler(),
            rounding: Rounding::default(),
            states: states.iter().map(|state| State::new(state, size)).collect(),
            current,
        }
    }

    /// Nanoseconds to the next packet; `None` if no state ever sends.
    ///
    /// In each state the next packet and the end of the state compete: whichever
    /// comes first, the other one, being memoryless, is drawn anew.
    fn gap(&mut self) -> Option<f64> {
        self.states.iter().find(|state| state.arrivals > 0.0)?;
        let mut gap = 0.0;
        loop {
            let state = self.states.get(self.current)?;
            let unit: f64 = Exp1.sample(&mut self.random);
            gap += unit / (state.arrivals + state.ends);
            let place: f64 = self.random.random();
            if place * (state.arrivals + state.ends) < state.arrivals {
                return Some(gap);
            }
            self.change_state();
        }
    }

    fn change_state(&mut self) {
        let others = self.states.len().saturating_sub(1) as u64;
        if others == 0 {
            return;
        }
        let step = 1 + below(&mut self.random, others);
        let next = (self.current as u64 + step) % (others + 1);
        self.current = usize::try_from(next).unwrap_or(0);
    }
}

impl Generator for Mmpp {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let gap = self.gap()?;
        Some(Send {
            at: now + self.rounding.whole(gap),
            size: self.sizes.draw(&mut self.random),
        })
    }
}

impl State {
    #[expect(clippy::cast_precision_loss, reason = "a mean of random numbers")]
    fn new(level: &Level, size: &SizeDistribution) -> Self {
        Self {
            arrivals: level.rate.map_or(0.0, |rate| 1.0 / mean_gap(size, rate)),
            ends: 1.0 / level.lasts.get().max(1) as f64,
        }
    }
}

/// The state at `place` in [0, 1) of the sum of mean lengths.
#[expect(clippy::cast_precision_loss, reason = "a probability")]
fn first_state(states: &[Level], place: f64) -> usize {
    let lengths = states.iter().map(|state| state.lasts.get() as f64);
    let total: f64 = lengths.clone().sum();
    let mut end = 0.0;
    for (index, length) in lengths.enumerate() {
        end += length;
        if place * total < end {
            return index;
        }
    }
    0
}
