//! A traffic pattern as data: what a file names, and what makes generators of it.

use crate::arrival::{
    Bulk, Constant, IdleThenFlood, Level, Mmpp, OnOff, Periods, Phase, Poisson, Ramp,
    RequestResponse, Steps,
};
use crate::bursty::{self, Bursty, SleepGrain};
use crate::distribution::SizeDistribution;
use crate::generator::AnyGenerator;
use crate::seed::StreamSeed;
use flow::{ByteRate, ByteSize, Nanos};

mod check;
mod text;

/// What a connection sends, and when.
///
/// Written `constant:rate=5000B/s,size=500B`; [`Display`](std::fmt::Display)
/// writes that form and [`FromStr`](std::str::FromStr) reads it back. What is
/// read has been checked; a pattern made by hand passes [`Pattern::check`] first.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// `bursty`: the sender of seed 004 (SPEC, "The bursty sender").
    Bursty {
        /// How it sleeps.
        sleep: SleepGrain,
        /// The line its packets leave on, one after the other; `None`: at once.
        /// Unless written, [`bursty::GIGABIT_LINE`] where the sleep is cut to
        /// milliseconds, because it is then often none at all.
        line: Option<ByteRate>,
    },
    /// `constant`: packets at a constant rate.
    Constant {
        /// The rate.
        rate: ByteRate,
        /// How large packets are.
        size: SizeDistribution,
        /// When the first one is due.
        phase: Phase,
    },
    /// `poisson`: independent exponential gaps.
    Poisson {
        /// The mean rate.
        rate: ByteRate,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `on-off`: periods of sending at a peak rate between periods of silence.
    OnOff {
        /// The rate while on.
        peak_rate: ByteRate,
        /// Mean length of an on period.
        mean_on: Nanos,
        /// Mean length of an off period.
        mean_off: Nanos,
        /// How the lengths are distributed.
        periods: Periods,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `mmpp`: a Poisson process whose rate follows a Markov chain.
    Mmpp {
        /// Rate and mean length of each state.
        states: Vec<Level>,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `bulk`: as much as the limiter lets through.
    Bulk {
        /// Bytes of a send.
        chunk: ByteSize,
    },
    /// `idle-then-flood`: silence, then as much as a rate, or the limiter, lets through.
    IdleThenFlood {
        /// How long it is silent.
        idle: Nanos,
        /// The rate of the flood; `None`: each send at once.
        rate: Option<ByteRate>,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `ramp`: from one rate evenly to another.
    Ramp {
        /// The rate at the start.
        from: ByteRate,
        /// The rate at the end, and from then on.
        to: ByteRate,
        /// The time between.
        over: Nanos,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `steps`: one rate after the other.
    Steps {
        /// The rates and how long each lasts.
        levels: Vec<Level>,
        /// Whether it begins anew after the last; it has ended otherwise.
        repeat: bool,
        /// How large packets are.
        size: SizeDistribution,
    },
    /// `request-response`: a response, and when it has arrived a time to think before the next.
    RequestResponse {
        /// Mean time to think, exponential.
        think: Nanos,
        /// How large responses are.
        size: SizeDistribution,
    },
    /// `trace`: what was recorded in a file, see [`crate::trace`].
    Trace {
        /// Path of the file, as written.
        file: String,
        /// Whose packets; `None`: those of the user who has the pattern.
        user: Option<String>,
    },
}

impl Pattern {
    /// The generator of one connection; `None` for a trace, whose generators come
    /// from its file: [`crate::trace::Recording::generator`].
    #[must_use]
    pub fn generator(&self, seed: StreamSeed) -> Option<AnyGenerator> {
        Some(match self {
            Self::Bursty { sleep, line } => Bursty::new(*sleep, *line, seed).into(),
            Self::Constant { rate, size, phase } => Constant::new(*rate, size, *phase, seed).into(),
            Self::Poisson { rate, size } => Poisson::new(*rate, size, seed).into(),
            Self::OnOff {
                peak_rate,
                mean_on,
                mean_off,
                periods,
                size,
            } => OnOff::new(*peak_rate, *mean_on, *mean_off, *periods, size, seed).into(),
            Self::Mmpp { states, size } => Mmpp::new(states, size, seed).into(),
            Self::Bulk { chunk } => Bulk::new(*chunk).into(),
            Self::IdleThenFlood { idle, rate, size } => {
                IdleThenFlood::new(*idle, *rate, size, seed).into()
            }
            Self::Ramp {
                from,
                to,
                over,
                size,
            } => Ramp::new(*from, *to, *over, size, seed).into(),
            Self::Steps {
                levels,
                repeat,
                size,
            } => Steps::new(levels, *repeat, size, seed).into(),
            Self::RequestResponse { think, size } => {
                RequestResponse::new(*think, size, seed).into()
            }
            Self::Trace { .. } => return None,
        })
    }

    /// The rate in bytes per second that one connection offers in the long run
    /// and in open loop, where it is known and one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people and plans")]
    pub fn mean_rate(&self) -> Option<f64> {
        match self {
            Self::Bursty { sleep, line } => bursty::mean_rate(*sleep, *line),
            Self::Constant { rate, .. } | Self::Poisson { rate, .. } => Some(rate.get() as f64),
            Self::OnOff {
                peak_rate,
                mean_on,
                mean_off,
                ..
            } => {
                let (on, off) = (mean_on.get() as f64, mean_off.get() as f64);
                Some(peak_rate.get() as f64 * on / (on + off))
            }
            Self::Mmpp { states: levels, .. }
            | Self::Steps {
                levels,
                repeat: true,
                ..
            } => Some(mean_of_levels(levels)),
            Self::Bulk { .. }
            | Self::IdleThenFlood { .. }
            | Self::Ramp { .. }
            | Self::Steps { .. }
            | Self::RequestResponse { .. }
            | Self::Trace { .. } => None,
        }
    }

    /// Whether its time only moves if the sender is held up, so that in open loop
    /// it would send without end at one instant.
    #[must_use]
    pub const fn is_blocking_only(&self) -> bool {
        match self {
            Self::Bulk { .. } => true,
            Self::IdleThenFlood { rate, .. } => rate.is_none(),
            Self::Bursty { sleep, line } => line.is_none() && !matches!(sleep, SleepGrain::Micros),
            _ => false,
        }
    }

    /// Whether it waits for what it has sent to arrive, so that in open loop it would be
    /// something else.
    #[must_use]
    pub const fn is_closed_loop(&self) -> bool {
        matches!(self, Self::RequestResponse { .. })
    }

    /// The largest send; `None` for a trace, see [`crate::trace::Recording::largest_packet`].
    #[must_use]
    pub fn largest_packet(&self) -> Option<ByteSize> {
        match self {
            Self::Bulk { chunk } => Some(*chunk),
            Self::Bursty { .. } => Some(SizeDistribution::Wirefisher.largest()),
            Self::Trace { .. } => None,
            Self::Constant { size, .. }
            | Self::Poisson { size, .. }
            | Self::OnOff { size, .. }
            | Self::Mmpp { size, .. }
            | Self::IdleThenFlood { size, .. }
            | Self::Ramp { size, .. }
            | Self::Steps { size, .. }
            | Self::RequestResponse { size, .. } => Some(size.largest()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people and plans")]
fn mean_of_levels(levels: &[Level]) -> f64 {
    let (mut bytes, mut length) = (0.0, 0.0);
    for level in levels {
        let lasts = level.lasts.get() as f64;
        bytes += level.rate.map_or(0.0, |rate| rate.get() as f64) * lasts;
        length += lasts;
    }
    bytes / length
}
