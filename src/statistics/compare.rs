//! Whether one set of runs is better than another.

use super::{Interval, Summary, as_float, mean, t_chance, t_quantile};

/// A change smaller than this share is noise.
pub const NOISE: f64 = 0.01;
/// The chance of calling noise a difference.
const CHANCE: f64 = 0.05;

/// What is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less.
    Less,
    /// More.
    More,
}

/// How the other runs stand against the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval of the change is better by more than [`NOISE`].
    Better,
    /// The whole interval of the change is worse by more than [`NOISE`].
    Worse,
    /// Neither can be said.
    NoDifference,
    /// One run each is no comparison.
    Unknown,
}

/// The runs `other` against the runs `base`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Runs, or pairs of runs, that know the figure; the smaller of both.
    pub n: usize,
    /// Mean of `base`.
    pub base: f64,
    /// Mean of `other`.
    pub other: f64,
    /// Mean of `other` less mean of `base`.
    pub difference: f64,
    /// Its interval; `None` for one run each.
    pub interval: Option<Interval>,
    /// Geometric mean of `other` over `base`; `None` unless all are above zero.
    pub ratio: Option<f64>,
    /// Its interval.
    pub ratio_interval: Option<Interval>,
    /// The chance of such a ratio, or without one of such a difference, between
    /// runs that do not differ (t test, two-sided), before [`holm`]; `None` for
    /// one run each.
    pub p: Option<f64>,
}

/// A mean effect, its standard error and its degrees of freedom.
struct Effect {
    mean: f64,
    spread: Option<(f64, f64)>,
}

impl Comparison {
    /// Runs that saw the same arrivals, in the same order: what they have in
    /// common cancels. `None` without pairs, or if a figure is not finite.
    #[must_use]
    pub fn paired(base: &[f64], other: &[f64]) -> Option<Self> {
        if base.len() != other.len() {
            return None;
        }
        Self::of(base, other, |base, other| {
            let differences: Vec<f64> = base.iter().zip(other).map(|(a, b)| b - a).collect();
            Effect::of_mean(&differences)
        })
    }

    /// Runs that have nothing in common (Welch's test). `None` without runs, or
    /// if a figure is not finite.
    #[must_use]
    pub fn independent(base: &[f64], other: &[f64]) -> Option<Self> {
        Self::of(base, other, Effect::of_independent)
    }

    /// How `other` stands, when `p` is the chance that [`holm`] corrected for
    /// everything in the same table.
    #[must_use]
    pub fn verdict(&self, better: Better, p: f64) -> Verdict {
        let Some(change) = self.relative_change() else {
            return Verdict::Unknown;
        };
        let less = change.high < -NOISE;
        let more = change.low > NOISE;
        if p > CHANCE || !(less || more) {
            Verdict::NoDifference
        } else if less == (better == Better::Less) {
            Verdict::Better
        } else {
            Verdict::Worse
        }
    }

    /// The interval of the change as a share of the base.
    fn relative_change(&self) -> Option<Interval> {
        if let Some(ratio) = self.ratio_interval {
            return Some(ratio.map(|ratio| ratio - 1.0));
        }
        let base = self.base.abs();
        // Against nothing, any difference is infinitely large.
        let share = |difference: f64| {
            if difference == 0.0 {
                0.0
            } else {
                difference / base
            }
        };
        self.interval.map(|interval| interval.map(share))
    }

    fn of(
        base: &[f64],
        other: &[f64],
        effect: fn(&[f64], &[f64]) -> Option<Effect>,
    ) -> Option<Self> {
        let (a, b) = (Summary::of(base)?, Summary::of(other)?);
        let difference = effect(base, other)?;
        let logs = |values: &[f64]| -> Option<Vec<f64>> {
            let log = |&value: &f64| (value > 0.0).then(|| value.ln());
            values.iter().map(log).collect()
        };
        let ratio = logs(base)
            .zip(logs(other))
            .and_then(|(a, b)| effect(&a, &b));
        let p = ratio.as_ref().unwrap_or(&difference).chance();
        Some(Self {
            n: a.n.min(b.n),
            base: a.mean,
            other: b.mean,
            difference: difference.mean,
            interval: difference.interval(),
            ratio: ratio.as_ref().map(|ratio| ratio.mean.exp()),
            ratio_interval: ratio
                .and_then(|ratio| ratio.interval())
                .map(|logs| logs.map(f64::exp)),
            p,
        })
    }
}

impl Effect {
    fn of_mean(values: &[f64]) -> Option<Self> {
        let summary = Summary::of(values)?;
        let n = as_float(summary.n);
        Some(Self {
            mean: summary.mean,
            spread: summary.sd.map(|sd| (sd / n.sqrt(), n - 1.0)),
        })
    }

    /// Welch 1947, with the degrees of freedom of Satterthwaite.
    fn of_independent(base: &[f64], other: &[f64]) -> Option<Self> {
        let (a, b) = (Self::of_mean(base)?, Self::of_mean(other)?);
        let spread = a.spread.zip(b.spread).map(|((a, n), (b, m))| {
            let (a, b) = (a * a, b * b);
            let freedom = (a + b).powi(2) / (a * a / n + b * b / m);
            // Without any spread there is nothing to weigh.
            let freedom = if freedom.is_finite() { freedom } else { n + m };
            ((a + b).sqrt(), freedom)
        });
        Some(Self {
            mean: mean(other) - mean(base),
            spread,
        })
    }

    fn interval(&self) -> Option<Interval> {
        let (error, freedom) = self.spread?;
        Some(Interval::around(self.mean, error * t_quantile(freedom)))
    }

    fn chance(&self) -> Option<f64> {
        let (error, freedom) = self.spread?;
        Some(if error > 0.0 {
            t_chance(self.mean / error, freedom)
        } else if self.mean == 0.0 {
            1.0
        } else {
            0.0
        })
    }
}

/// Corrects the chances of a table for their number (Holm 1979), so that the
/// chance of any wrong difference in it stays what that of one was: in the given
/// order, never smaller than before, at most 1.
#[must_use]
pub fn holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|&one, &other| chances[one].total_cmp(&chances[other]));
    let mut corrected = vec![0.0; chances.len()];
    let mut least = 0.0_f64;
    for (rank, &at) in order.iter().enumerate() {
        let factor = as_float(chances.len() - rank);
        least = least.max((chances[at] * factor).min(1.0));
        corrected[at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-3 * expected.abs()
    }

    #[test]
    fn student_s_sleep_data() {
        // Student 1908, the additional sleep of ten patients with two drugs, as
        // in R's `sleep`: paired t = 4.0621, p = 0.002833, interval 0.70 to 2.46;
        // Welch t = 1.8608, freedom 17.776, p = 0.07939, interval -0.205 to 3.365.
        let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let paired = Comparison::paired(&one, &two).unwrap();
        assert!(close(paired.difference, 1.58) && close(paired.p.unwrap(), 0.002_833));
        let interval = paired.interval.unwrap();
        assert!(close(interval.low, 0.700_114) && close(interval.high, 2.459_886));
        assert_eq!(paired.ratio, None);
        let independent = Comparison::independent(&one, &two).unwrap();
        assert!(close(independent.p.unwrap(), 0.079_39));
        let interval = independent.interval.unwrap();
        assert!(close(interval.low, -0.205_483) && close(interval.high, 3.365_483));
        assert_eq!(
            paired.verdict(Better::More, paired.p.unwrap()),
            Verdict::Better
        );
        assert_eq!(
            paired.verdict(Better::Less, paired.p.unwrap()),
            Verdict::Worse
        );
        let chance = independent.p.unwrap();
        assert_eq!(
            independent.verdict(Better::More, chance),
            Verdict::NoDifference
        );
    }

    #[test]
    fn common_arrivals_cancel() {
        let base = [100.0, 200.0, 400.0, 800.0];
        let other = base.map(|value| value * 1.1);
        let paired = Comparison::paired(&base, &other).unwrap();
        assert!(close(paired.ratio.unwrap(), 1.1));
        assert!(paired.ratio_interval.unwrap().half_width() < 1e-9);
        assert_eq!(paired.verdict(Better::Less, 0.01), Verdict::Worse);
        assert_eq!(paired.verdict(Better::Less, 0.06), Verdict::NoDifference);
        let apart = Comparison::independent(&base, &other).unwrap();
        assert_eq!(
            apart.verdict(Better::Less, apart.p.unwrap()),
            Verdict::NoDifference
        );
    }

    #[test]
    fn a_change_within_the_noise_is_none() {
        let base = [100.0, 200.0, 400.0, 800.0];
        let other = base.map(|value| value * 1.009);
        let paired = Comparison::paired(&base, &other).unwrap();
        assert_eq!(paired.verdict(Better::Less, 0.0), Verdict::NoDifference);
        let less = base.map(|value| value * 0.98);
        let paired = Comparison::paired(&base, &less).unwrap();
        assert_eq!(paired.verdict(Better::Less, 0.0), Verdict::Better);
    }

    #[test]
    fn equal_runs_do_not_differ() {
        for values in [[0.0; 3], [5.0; 3]] {
            let equal = Comparison::paired(&values, &values).unwrap();
            assert_eq!((equal.difference, equal.p), (0.0, Some(1.0)));
            assert_eq!(equal.verdict(Better::Less, 1.0), Verdict::NoDifference);
            let equal = Comparison::independent(&values, &values).unwrap();
            assert_eq!(
                equal.verdict(Better::Less, equal.p.unwrap()),
                Verdict::NoDifference
            );
        }
        let worse = Comparison::paired(&[0.0; 3], &[1.0; 3]).unwrap();
        assert_eq!(
            worse.verdict(Better::Less, worse.p.unwrap()),
            Verdict::Worse
        );
    }

    #[test]
    fn one_run_each_is_no_comparison() {
        let one = Comparison::paired(&[2.0], &[3.0]).unwrap();
        assert_eq!((one.difference, one.interval, one.p), (1.0, None, None));
        assert_eq!(one.ratio.map(|ratio| close(ratio, 1.5)), Some(true));
        assert_eq!(one.verdict(Better::Less, 0.0), Verdict::Unknown);
        assert_eq!(Comparison::paired(&[2.0], &[]), None);
        assert_eq!(Comparison::independent(&[2.0], &[]), None);
    }

    #[test]
    fn holm_by_hand() {
        // 0.01 x 4, 0.02 x 3, then 0.03 x 2 may not fall below, 0.04 x 1 neither.
        assert_eq!(holm(&[0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
