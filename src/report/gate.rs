//! Whether a run is worse than another beyond error and noise: what a build is stopped for.
//!
//! A figure has regressed when its ratio less its error is: when the whole 95 %
//! interval of the ratio lies on the worse side of the noise band, and chance does
//! not explain it among all figures that were tested. Maxima are judged by the
//! values of the runs, which have an error, and not by the worst run, which has none.

use super::Report;
use super::compare::{Judgement, METRICS, corrected, judgement, of_runs, pairs};
use super::format::{fixed, significant};
use super::metric::{Better, Metric};
use super::subject::Subject;
use crate::statistics::{self, Comparison, NOISE};

/// What a gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Figures that have an error, and so could be judged.
    pub tested: usize,
    /// Those that became worse, a line each.
    pub regressions: Vec<String>,
    /// Algorithms of the base that the other has not run, with their driver.
    pub gone: Vec<String>,
}

/// Judges every figure of `other` against `base`.
#[must_use]
pub fn gate(base: &Report, other: &Report) -> Gate {
    let subjects = [Subject::of(&base.scenario), Subject::of(&other.scenario)];
    let pairs = pairs(&subjects, base, other);
    let mut tested: Vec<(String, &Metric, Comparison)> = Vec::new();
    for pair in &pairs {
        let name = format!("{}, {}", pair.base.algorithm, pair.base.driver);
        for metric in METRICS.iter().filter(|one| one.better != Better::Neither) {
            let compared = of_runs(metric, &pair.base.rows, &pair.other.rows);
            if let Some((comparison, _)) = compared
                && comparison.p.is_some()
            {
                tested.push((name.clone(), metric, comparison));
            }
        }
    }
    let chances = corrected(tested.iter().map(|(.., comparison)| comparison));
    let worse = |metric: &Metric, comparison: &Comparison, chance: Option<f64>| {
        // Asked whether more is better, so `Better` says that it grew.
        let grew = chance.map(|chance| comparison.verdict(statistics::Better::More, chance));
        grew.is_some_and(|grew| judgement(metric, comparison, grew) == Judgement::Worse)
    };
    let regressions = tested.iter().zip(chances);
    Gate {
        tested: tested.len(),
        regressions: regressions
            .filter(|((_, metric, comparison), chance)| worse(metric, comparison, *chance))
            .map(|((name, metric, comparison), _)| line(name, metric, comparison))
            .collect(),
        gone: gone(base, other),
    }
}

/// "token-bucket, model: Delay p99 is 1.103 of the base, at least 1.098 with its error".
fn line(name: &str, metric: &Metric, comparison: &Comparison) -> String {
    let title = metric.title.replace('\u{a0}', " ");
    let (Some(ratio), Some(interval)) = (comparison.ratio, comparison.ratio_interval) else {
        let digits = |value| significant(value, 4);
        return format!(
            "{name}: {title} went from {} to {}",
            digits(comparison.base),
            digits(comparison.other)
        );
    };
    let (bound, end) = if ratio > 1.0 {
        ("at least", interval.low)
    } else {
        ("at most", interval.high)
    };
    format!(
        "{name}: {title} is {} of the base, {bound} {} with its error",
        fixed(ratio, 3),
        fixed(end, 3)
    )
}

fn gone(base: &Report, other: &Report) -> Vec<String> {
    let mut gone: Vec<String> = Vec::new();
    let has = |report: &Report, algorithm: &str, driver: &str| {
        let mut rows = report.results.summary.iter();
        rows.any(|row| row.algorithm == algorithm && row.driver == driver)
    };
    for row in &base.results.summary {
        let name = format!("{}, {}", row.algorithm, row.driver);
        if !has(other, &row.algorithm, &row.driver) && !gone.contains(&name) {
            gone.push(name);
        }
    }
    gone
}

impl Gate {
    /// What it found, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for gone in &self.gone {
            text.push_str(&format!("{gone}: not run, so not judged\n"));
        }
        let count = self.regressions.len();
        let figures = if self.tested == 1 {
            "figure"
        } else {
            "figures"
        };
        let band = NOISE * 100.0;
        if count == 0 {
            text.push_str(&format!(
                "No regression: none of {} {figures} is worse by more than {band} % beyond its error.\n",
                self.tested
            ));
            return text;
        }
        let (are, of) = (if count == 1 { "is" } else { "are" }, self.tested);
        text.push_str(&format!(
            "Regression: {count} of {of} {figures} {are} worse by more than {band} % beyond the error.\n"
        ));
        for line in &self.regressions {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;
    use crate::results::Row;

    const SAMPLE: Sample = Sample {
        algorithms: 2,
        proxy: false,
        repetitions: 10,
        duration_s: 20.0,
        rate: 5000.0,
        burst: 5000.0,
        change: None,
        users: 1,
    };

    /// The last digits of a repetition as an error of up to 2 %.
    fn wobble(row: &Row) -> f64 {
        1.0 + f64::from(row.repetition * 7 % 5) / 100.0 - 0.02
    }

    #[test]
    fn what_is_worse_beyond_its_error_stops_the_build() {
        let base = SAMPLE.report(|_| {});
        let other = SAMPLE.report(|row| {
            let by = 1.1 * wobble(row);
            row.delay_p90_us = row.delay_p90_us.map(|delay| delay * by);
            row.jitter_rfc3550_us = row.jitter_rfc3550_us.map(|jitter| jitter * 0.8);
            row.overshoot_bytes = row.overshoot_bytes.map(|bytes| bytes * 1.2);
        });
        let found = gate(&base, &other);
        assert!(found.tested > 10, "{found:?}");
        let text = found.text();
        assert!(text.contains("Delay p90 is 1.1"), "{text}");
        assert!(text.contains("Overshoot is 1.200"), "{text}");
        assert!(!text.contains("Jitter"), "{text}");
        assert!(gate(&base, &base).regressions.is_empty());
    }

    #[test]
    fn an_error_as_large_as_the_change_stops_nothing() {
        let base = SAMPLE.report(|_| {});
        let other = SAMPLE.report(|row| {
            let by = 1.0 + (wobble(row) - 1.0) * 2.0;
            row.delay_p90_us = row.delay_p90_us.map(|delay| delay * by * 1.02);
        });
        let found = gate(&base, &other);
        assert!(found.regressions.is_empty(), "{found:?}");
    }

    #[test]
    fn one_run_each_cannot_be_judged_and_what_is_gone_is_named() {
        let once = Sample {
            repetitions: 1,
            ..SAMPLE
        };
        let base = once.report(|_| {});
        assert_eq!(gate(&base, &base).tested, 0);
        let none = SAMPLE.report(|row| row.driver = "proxy".into());
        let found = gate(&base, &none);
        assert_eq!((found.tested, found.gone.len()), (0, 2));
        assert!(found.text().contains("not run, so not judged"));
    }
}
