//! Runs in, everything that is saved out.

use crate::results::{CurveRow, Results, Row};

use super::curve::{ccdf, percentiles};
use super::second::SECOND;
use super::window::WIDTHS;
use super::{Distributions, RunFigures};

/// Gathers the runs of a scenario; repetitions of one algorithm under one
/// driver become one line of each curve, from merged histograms.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    results: Results,
    lines: Vec<Line>,
}

/// All repetitions of one algorithm under one driver.
#[derive(Clone, Debug)]
struct Line {
    driver: String,
    algorithm: String,
    distributions: Distributions,
    ratios: [Option<f64>; 4],
    /// The largest bound of the delay, in us.
    bound: Option<f64>,
}

impl Collector {
    /// Without any run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a run. Rows stand in the files in the order of these calls.
    pub fn add(&mut self, run: RunFigures) {
        let line = self.line(&run.row);
        line.distributions.merge(&run.distributions);
        line.raise_ratios(&run.row);
        if run.row.repetition == 0 {
            self.results.arrival_curve.extend(run.arrival_curve);
            self.results.burstiness.extend(run.burstiness);
        }
        self.results.users.extend(run.users);
        self.results.series.extend(run.series);
        self.results.summary.push(run.row);
    }

    /// Everything that the runs found.
    #[must_use]
    pub fn finish(self) -> Results {
        let Self { mut results, lines } = self;
        for line in &lines {
            let Distributions {
                delay,
                pdv,
                gap,
                ipdv,
            } = &line.distributions;
            results.overshoot.extend(line.label(line.ratios()));
            results.delay.extend(line.label(ccdf(delay)));
            let bound = line.bound.map(|x| CurveRow {
                curve: "bound".to_owned(),
                x,
                y: 1.0,
                ..CurveRow::default()
            });
            results
                .delay
                .extend(line.label(bound.into_iter().collect()));
            for (curve, histogram) in [("pdv", pdv), ("gap", gap), ("ipdv", ipdv)] {
                let rows = percentiles(curve, histogram);
                results.jitter.extend(line.label(rows));
            }
        }
        results
    }

    fn line(&mut self, row: &Row) -> &mut Line {
        let is_it = |line: &Line| line.driver == row.driver && line.algorithm == row.algorithm;
        let index = self.lines.iter().position(is_it).unwrap_or_else(|| {
            self.lines.push(Line::new(row));
            self.lines.len() - 1
        });
        &mut self.lines[index]
    }
}

impl Line {
    fn new(row: &Row) -> Self {
        Self {
            driver: row.driver.clone(),
            algorithm: row.algorithm.clone(),
            distributions: Distributions::default(),
            ratios: [None; 4],
            bound: None,
        }
    }

    fn raise_ratios(&mut self, row: &Row) {
        let found = [
            row.window_10ms_ratio,
            row.window_100ms_ratio,
            row.window_1s_ratio,
            row.window_10s_ratio,
        ];
        self.bound = self
            .bound
            .into_iter()
            .chain(row.delay_bound_us)
            .reduce(f64::max);
        for (worst, found) in self.ratios.iter_mut().zip(found) {
            *worst = (*worst).into_iter().chain(found).reduce(f64::max);
        }
    }

    /// Worst window over its rate, by width.
    #[expect(clippy::cast_precision_loss, reason = "widths in seconds, for a plot")]
    fn ratios(&self) -> Vec<CurveRow> {
        let row = |(width, ratio): (u64, Option<f64>)| CurveRow {
            curve: "ratio".to_owned(),
            x: width as f64 / SECOND as f64,
            y: ratio.unwrap_or_default(),
            ..CurveRow::default()
        };
        let found = WIDTHS.into_iter().zip(self.ratios);
        found
            .filter(|(_, ratio)| ratio.is_some())
            .map(row)
            .collect()
    }

    fn label(&self, rows: Vec<CurveRow>) -> impl Iterator<Item = CurveRow> + '_ {
        rows.into_iter().map(|row| CurveRow {
            driver: self.driver.clone(),
            algorithm: self.algorithm.clone(),
            ..row
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::Histogram;

    fn run(algorithm: &str, repetition: u32, delay: u64, ratio: Option<f64>) -> RunFigures {
        let mut histogram = Histogram::new();
        histogram.record(delay);
        RunFigures {
            row: Row {
                algorithm: algorithm.to_owned(),
                repetition,
                window_1s_ratio: ratio,
                ..Row::default()
            },
            users: vec![Row::default()],
            series: Vec::new(),
            arrival_curve: vec![CurveRow::default()],
            burstiness: Vec::new(),
            distributions: Distributions {
                delay: histogram,
                ..Distributions::default()
            },
        }
    }

    #[test]
    fn repetitions_make_one_line() {
        let mut collector = Collector::new();
        collector.add(run("a", 0, 1_000, Some(1.5)));
        collector.add(run("b", 0, 5_000, None));
        collector.add(run("a", 1, 3_000, Some(1.25)));
        let results = collector.finish();
        assert_eq!((results.summary.len(), results.users.len()), (3, 3));
        assert_eq!(results.arrival_curve.len(), 2);
        let overshoot: Vec<_> = results.overshoot.iter().map(|r| (r.x, r.y)).collect();
        assert_eq!(overshoot, [(1.0, 1.5)]);
        let of_a: Vec<_> = results
            .delay
            .iter()
            .filter(|row| row.algorithm == "a")
            .map(|row| (row.x, row.y))
            .collect();
        assert_eq!(of_a, [(1.0, 0.5), (3.0, 0.0)]);
    }
}
