//! How long requests take at a worker, as a distribution.

use std::fmt;
use std::str::FromStr;

use flow::Nanos;
use flow::spec::ValueError;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, LogNormal};

use crate::pace::Rounding;
use crate::seed::{Random, StreamSeed};

/// The longest time that may be a parameter: an hour.
pub const LONGEST: Nanos = Nanos::from_secs(3_600);

/// How long a request takes.
///
/// [`Display`](fmt::Display) writes the form that [`FromStr`] reads. What is read
/// has been checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServiceTime {
    /// Always the same: `constant:50ms`.
    Constant(Nanos),
    /// `exponential:50ms`, the mean.
    Exponential(Nanos),
    /// `lognormal:50ms:1.5`: mean, and standard deviation over mean.
    Lognormal {
        /// The mean, not that of the logarithm.
        mean: Nanos,
        /// Standard deviation over mean, in [0.01, 100].
        variation: f64,
    },
    /// Bounded Pareto: `pareto:1.5:10ms..10s`.
    Pareto {
        /// Tail index, in [0.1, 100].
        shape: f64,
        /// The least.
        least: Nanos,
        /// The greatest, above the least.
        greatest: Nanos,
    },
}

const FORMS: &str = "a distribution of service times such as \"constant:50ms\", \"exponential:50ms\", \
    \"lognormal:50ms:1.5\" (mean, standard deviation over mean) or \"pareto:1.5:10ms..10s\" \
    (tail index, least and greatest), of times from 1 us to 1 h";

impl ServiceTime {
    /// The mean in nanoseconds: exact but for rounding.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match *self {
            Self::Constant(mean) | Self::Exponential(mean) | Self::Lognormal { mean, .. } => {
                float(mean)
            }
            Self::Pareto {
                shape,
                least,
                greatest,
            } => pareto_mean(shape, float(least), float(greatest)),
        }
    }

    /// What draws from it: the same times for the same seed.
    #[must_use]
    pub fn sampler(&self, seed: StreamSeed) -> ServiceTimes {
        let lognormal = match *self {
            Self::Lognormal { mean, variation } => {
                LogNormal::from_mean_cv(float(mean), variation).ok()
            }
            _ => None,
        };
        ServiceTimes {
            of: *self,
            lognormal,
            random: seed.random(),
            rounding: Rounding::default(),
        }
    }

    fn is_good(&self) -> bool {
        let times = Nanos::from_micros(1)..=LONGEST;
        match self {
            Self::Constant(mean) | Self::Exponential(mean) => times.contains(mean),
            Self::Lognormal { mean, variation } => {
                times.contains(mean) && (0.01..=100.0).contains(variation)
            }
            Self::Pareto {
                shape,
                least,
                greatest,
            } => {
                times.contains(least)
                    && times.contains(greatest)
                    && least < greatest
                    && (0.1..=100.0).contains(shape)
            }
        }
    }
}

/// Draws from a [`ServiceTime`].
#[derive(Clone, Debug)]
pub struct ServiceTimes {
    of: ServiceTime,
    lognormal: Option<LogNormal<f64>>,
    random: Random,
    rounding: Rounding,
}

impl ServiceTimes {
    /// The time of the next request.
    pub fn draw(&mut self) -> Nanos {
        let exact = match self.of {
            ServiceTime::Constant(time) => return time,
            ServiceTime::Exponential(mean) => {
                let unit: f64 = Exp1.sample(&mut self.random);
                float(mean) * unit
            }
            ServiceTime::Lognormal { mean, .. } => match &self.lognormal {
                Some(lognormal) => lognormal.sample(&mut self.random),
                None => float(mean),
            },
            ServiceTime::Pareto {
                shape,
                least,
                greatest,
            } => {
                let place: f64 = self.random.random();
                let (least, greatest) = (float(least), float(greatest));
                let inside = 1.0 - (least / greatest).powf(shape);
                least * (1.0 - place * inside).powf(-1.0 / shape)
            }
        };
        self.rounding.whole(exact)
    }
}

/// The mean of a Pareto distribution of tail index `a` cut to [l, h].
fn pareto_mean(a: f64, l: f64, h: f64) -> f64 {
    let inside = 1.0 - (l / h).powf(a);
    if (a - 1.0).abs() < 1e-9 {
        return l * (h / l).ln() / inside;
    }
    a * l / (a - 1.0) * (1.0 - (l / h).powf(a - 1.0)) / inside
}

#[expect(clippy::cast_precision_loss, reason = "at most an hour of nanoseconds")]
const fn float(time: Nanos) -> f64 {
    time.get() as f64
}

impl FromStr for ServiceTime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::Range {
            given: text.to_owned(),
            range: FORMS,
        };
        let parts: Vec<_> = text.split(':').map(str::trim).collect();
        let read = match parts[..] {
            ["constant", time] => Self::Constant(time.parse()?),
            ["exponential", mean] => Self::Exponential(mean.parse()?),
            ["lognormal", mean, variation] => Self::Lognormal {
                mean: mean.parse()?,
                variation: variation.parse()?,
            },
            ["pareto", shape, range] => {
                let (least, greatest) = range.split_once("..").ok_or_else(refused)?;
                Self::Pareto {
                    shape: shape.parse()?,
                    least: least.parse()?,
                    greatest: greatest.parse()?,
                }
            }
            _ => return Err(refused()),
        };
        if read.is_good() {
            Ok(read)
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(time) => write!(f, "constant:{time}"),
            Self::Exponential(mean) => write!(f, "exponential:{mean}"),
            Self::Lognormal { mean, variation } => write!(f, "lognormal:{mean}:{variation}"),
            Self::Pareto {
                shape,
                least,
                greatest,
            } => write!(f, "pareto:{shape}:{least}..{greatest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Purpose;

    fn seed() -> StreamSeed {
        StreamSeed::derive(1, 0, 0, 0, Purpose::Service)
    }

    fn read(text: &str) -> ServiceTime {
        text.parse().unwrap()
    }

    #[test]
    fn the_mean_is_that_of_the_draws() {
        for text in [
            "constant:50ms",
            "exponential:50ms",
            "lognormal:50ms:1.5",
            "pareto:1.5:10ms..10s",
            "pareto:1:10ms..1s",
            "pareto:3:10ms..1s",
        ] {
            let time = read(text);
            let mut sampler = time.sampler(seed());
            let sum: f64 = (0..1_000_000).map(|_| float(sampler.draw())).sum();
            let mean = sum / 1e6;
            assert!((mean / time.mean() - 1.0).abs() < 0.01, "{text}: {mean}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "constant:50ms",
            "exponential:1500us",
            "lognormal:50ms:1.5",
            "pareto:1.2:10ms..10s",
        ] {
            assert_eq!(read(text).to_string(), text);
            assert_eq!(read(&read(text).to_string()), read(text));
        }
    }

    #[test]
    fn pareto_stays_in_its_range() {
        let mut sampler = read("pareto:0.5:10ms..1s").sampler(seed());
        for _ in 0..100_000 {
            let drawn = sampler.draw();
            assert!(drawn >= Nanos::new(9_999_999) && drawn <= Nanos::from_secs(1));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "50ms",
            "constant",
            "constant:0s",
            "exponential:2h",
            "lognormal:50ms:0",
            "lognormal:50ms:nan",
            "pareto:1.5:10ms",
            "pareto:1.5:10ms..10ms",
            "pareto:inf:10ms..20ms",
            "weibull:50ms",
        ] {
            assert!(text.parse::<ServiceTime>().is_err(), "{text}");
        }
    }
}
