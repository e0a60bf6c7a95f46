//! When requests come, and what each asks for.

use flow::{ByteRate, ByteSize, Nanos, Timestamp};
use traffic::arrival::{Periods, Phase};
use traffic::service_time::ServiceTimes;
use traffic::{AnyGenerator, Generator as _, Pattern, Purpose, SizeDistribution, StreamSeed};

use super::Cell;

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// One after the other at equal distances.
    Constant,
    /// Independent exponential gaps.
    Poisson,
    /// At equal distances in on periods, none between them.
    OnOff {
        /// Mean length of an on period.
        mean_on: Nanos,
        /// Mean length of an off period.
        mean_off: Nanos,
        /// How the lengths are distributed.
        periods: Periods,
    },
}

/// To the generators of traffic a request is a packet of this size, so that their
/// rates in whole bytes a second are rates in millionths of a request.
const REQUEST: ByteSize = ByteSize::new(1_000_000);

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it is due.
    pub due: Timestamp,
    /// How long it takes at a worker.
    pub service_time: Nanos,
}

/// The requests of one run, in order of time: the same for every driver and service
/// of equal capacity, and at another load the same at another pace.
#[derive(Clone, Debug)]
pub struct Offered {
    generator: Option<AnyGenerator>,
    times: ServiceTimes,
    last: Timestamp,
    end: Timestamp,
}

impl Offered {
    /// Those of `cell`.
    #[must_use]
    pub fn of(cell: &Cell<'_>) -> Self {
        let scenario = cell.scenario;
        let seed = |purpose| StreamSeed::derive(scenario.seed, cell.repetition, 0, 0, purpose);
        let pattern = scenario.arrivals.pattern(cell.rate());
        Self {
            generator: pattern.generator(seed(Purpose::Traffic)),
            times: scenario.service_time.sampler(seed(Purpose::Service)),
            last: Timestamp::ZERO,
            end: Timestamp::ZERO + scenario.duration,
        }
    }
}

impl Iterator for Offered {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let send = self.generator.as_mut()?.next_send(self.last)?;
        self.last = send.at;
        (send.at < self.end).then(|| Request {
            due: send.at,
            service_time: self.times.draw(),
        })
    }
}

/// Which process [`Arrivals`] are, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum ArrivalKind {
    Constant,
    Poisson,
    OnOff,
}

impl Arrivals {
    pub(in crate::scenario) const fn kind(&self) -> ArrivalKind {
        match self {
            Self::Constant => ArrivalKind::Constant,
            Self::Poisson => ArrivalKind::Poisson,
            Self::OnOff { .. } => ArrivalKind::OnOff,
        }
    }

    /// As traffic of `rate` requests a second.
    fn pattern(&self, rate: f64) -> Pattern {
        let size = SizeDistribution::Fixed(REQUEST);
        match *self {
            Self::Constant => Pattern::Constant {
                rate: as_bytes(rate),
                size,
                phase: Phase::default(),
            },
            Self::Poisson => Pattern::Poisson {
                rate: as_bytes(rate),
                size,
            },
            Self::OnOff {
                mean_on,
                mean_off,
                periods,
            } => Pattern::OnOff {
                peak_rate: as_bytes(rate * (1.0 + seconds(mean_off) / seconds(mean_on))),
                mean_on,
                mean_off,
                periods,
                size,
            },
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "rates are bounded where they are read, and a float's cast saturates"
)]
fn as_bytes(rate: f64) -> ByteRate {
    let bytes = (rate * REQUEST.get() as f64).round() as u64;
    ByteRate::new(bytes).unwrap_or(ByteRate::MIN)
}

fn seconds(length: Nanos) -> f64 {
    length.as_secs_f64()
}
