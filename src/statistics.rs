//! Many runs as one figure, and two sets of runs compared.
//!
//! The unit is a run, never a packet: what happens to one packet depends on what
//! happened to the one before it. The mean of n runs has a 95 % interval by
//! Student's t, and from 30 runs on a bootstrap interval beside it; a maximum
//! has none, only the run in which it occurred.

mod bootstrap;
mod compare;
#[cfg(test)]
mod coverage;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

pub use compare::{Better, Comparison, NOISE, Verdict, holm};

/// The confidence level of every interval.
pub const LEVEL: f64 = 0.95;
/// So many runs are the least for a bootstrap interval.
pub const LEAST_FOR_BOOTSTRAP: usize = 30;

/// A range that holds the true value with probability [`LEVEL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What n runs say of a figure's mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many runs know the figure.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of the sample; `None` for one run.
    pub sd: Option<f64>,
    /// Student's t interval of the mean; `None` for one run.
    pub t: Option<Interval>,
    /// Bias-corrected and accelerated bootstrap interval of the mean (Efron
    /// 1987) with the tails of a small sample (Hesterberg 2015), 10,000 resamples of a fixed seed; `None` for less than 30 runs.
    pub bootstrap: Option<Interval>,
}

/// The largest figure of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Maximum {
    /// The figure.
    pub value: f64,
    /// Index of the first run that has it.
    pub run: usize,
}

impl Interval {
    /// Half its width.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether `value` lies in it.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn around(value: f64, half_width: f64) -> Self {
        Self {
            low: value - half_width,
            high: value + half_width,
        }
    }

    fn map(self, by: impl Fn(f64) -> f64) -> Self {
        Self {
            low: by(self.low),
            high: by(self.high),
        }
    }
}

impl Summary {
    /// `None` without any value, or if one is not finite.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let summary = Self::without_bootstrap(values)?;
        let bootstrap =
            (values.len() >= LEAST_FOR_BOOTSTRAP).then(|| bootstrap::bca(values, self::mean));
        Some(Self {
            bootstrap,
            ..summary
        })
    }

    /// The same without the bootstrap interval, which takes a millisecond.
    #[must_use]
    pub fn without_bootstrap(values: &[f64]) -> Option<Self> {
        if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let (n, mean, sd) = (values.len(), mean(values), sd(values));
        let t = sd.map(|sd| {
            let error = sd / as_float(n).sqrt();
            Interval::around(mean, error * t_quantile(as_float(n) - 1.0))
        });
        Some(Self {
            n,
            mean,
            sd,
            t,
            bootstrap: None,
        })
    }
}

impl Maximum {
    /// `None` without any value.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut runs = values.iter().copied().enumerate();
        let (run, value) = runs.next()?;
        let first = Self { value, run };
        Some(runs.fold(first, |most, (run, value)| {
            if value > most.value {
                Self { value, run }
            } else {
                most
            }
        }))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / as_float(values.len())
}

/// Standard deviation of the sample; `None` for less than two values.
fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (as_float(values.len()) - 1.0)).sqrt())
}

/// How many standard errors lie on each side of a mean at [`LEVEL`], with one
/// degree of freedom or more.
fn t_quantile(freedom: f64) -> f64 {
    // 12.7 with one degree. Halving is slow but always ends, other than the
    // iteration behind the library's own inverse.
    let (mut low, mut high) = (1.0, 16.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if t_chance(middle, freedom) > 1.0 - LEVEL {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance that a mean without effect lies at least `errors` standard errors
/// from zero, on either side.
fn t_chance(errors: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(1.0, |t| 2.0 * t.cdf(-errors.abs()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of runs is far below 2^52"
)]
fn as_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, within: f64) -> bool {
        (found - expected).abs() <= within
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided 95 %, as printed in any table of Student's t.
        let table = [
            (1.0, 12.706_2),
            (2.0, 4.302_7),
            (4.0, 2.776_4),
            (9.0, 2.262_2),
            (19.0, 2.093_0),
            (29.0, 2.045_2),
            (120.0, 1.979_9),
        ];
        for (freedom, expected) in table {
            let found = t_quantile(freedom);
            assert!(close(found, expected, 5e-5), "{freedom}: {found}");
            assert!(close(t_chance(found, freedom), 0.05, 1e-9));
        }
        assert!(close(t_quantile(1e5), 1.959_964, 5e-5));
    }

    #[test]
    fn interval_of_a_textbook_sample() {
        // n = 5, mean 6, sd sqrt(10): 6 +- 2.7764 sqrt(10 / 5).
        let summary = Summary::of(&[2.0, 4.0, 6.0, 8.0, 10.0]).unwrap();
        assert_eq!((summary.n, summary.mean), (5, 6.0));
        assert!(close(summary.sd.unwrap(), 10_f64.sqrt(), 1e-12));
        let t = summary.t.unwrap();
        assert!(
            close(t.low, 2.073_5, 1e-3) && close(t.high, 9.926_5, 1e-3),
            "{t:?}"
        );
        assert!(t.contains(6.0) && close(t.half_width(), 3.926_5, 1e-3));
        assert_eq!(summary.bootstrap, None);
    }

    #[test]
    fn one_run_has_no_interval() {
        let one = Summary::of(&[3.0]).unwrap();
        assert_eq!((one.mean, one.sd, one.t), (3.0, None, None));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn thirty_runs_have_both_intervals_and_they_agree() {
        let values: Vec<f64> = (0..30).map(|i| f64::from(i * i % 31)).collect();
        let summary = Summary::of(&values).unwrap();
        let (t, bootstrap) = (summary.t.unwrap(), summary.bootstrap.unwrap());
        assert!(close(t.low, bootstrap.low, 0.1 * t.half_width() * 2.0));
        assert!(close(t.high, bootstrap.high, 0.1 * t.half_width() * 2.0));
        assert_eq!(Summary::of(&values), Some(summary));
    }

    #[test]
    fn equal_runs_have_an_interval_without_width() {
        let summary = Summary::of(&[4.0; 40]).unwrap();
        let point = Interval {
            low: 4.0,
            high: 4.0,
        };
        assert_eq!((summary.t, summary.bootstrap), (Some(point), Some(point)));
    }

    #[test]
    fn a_maximum_says_where() {
        assert_eq!(Maximum::of(&[]), None);
        let most = Maximum::of(&[1.0, 7.0, 7.0, 3.0]);
        assert_eq!(most, Some(Maximum { value: 7.0, run: 1 }));
    }
}
