//! When enough runs have been made: sequential stopping.
//!
//! Looked at after every ten repetitions of all algorithms, never earlier, so that
//! all have the same runs and stay paired, and the same file stops at the same run
//! on every machine. Stopping by what was seen makes intervals hold the truth a
//! little less often than their level says; BENCHMARKS.md has the figure.

use std::collections::BTreeMap;

use crate::results::Row;
use crate::scenario::Until;
use crate::statistics::Summary;

/// The figures that must be known well enough.
pub(super) struct Watch<'a> {
    until: &'a Until,
    /// By algorithm, then by figure.
    seen: BTreeMap<String, Vec<Vec<f64>>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(until: &'a Until) -> Self {
        Self {
            until,
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, row: &Row) {
        let figures = self.until.of.len();
        let seen = self.seen.entry(row.algorithm.clone());
        let seen = seen.or_insert_with(|| vec![Vec::new(); figures]);
        for (values, column) in seen.iter_mut().zip(&self.until.of) {
            values.extend(row.figure(column));
        }
    }

    /// Whether every interval is narrow enough.
    pub(super) fn is_narrow(&self) -> bool {
        !self.seen.is_empty()
            && self
                .widest()
                .is_none_or(|(width, ..)| width <= self.within())
    }

    /// What is to be said after `runs` repetitions.
    pub(super) fn verdict(&self, runs: u32) -> String {
        let within = self.within() * 100.0;
        match self.widest() {
            Some((width, algorithm, column)) if width > self.within() => format!(
                "stopped at the most of {runs} repetitions: {column} of {algorithm} is known to within {:.2} % and not {within} %",
                width * 100.0
            ),
            _ => format!(
                "stopped after {runs} repetitions: every 95 % interval of {} is within {within} % of its mean",
                self.until.of.join(", ")
            ),
        }
    }

    fn within(&self) -> f64 {
        f64::from(self.until.within_ppm) / 1e6
    }

    /// The widest interval against its mean, and whose it is. A figure that no run
    /// knows, or only one does, has none.
    fn widest(&self) -> Option<(f64, &str, &str)> {
        let all = self.seen.iter().flat_map(|(algorithm, figures)| {
            let named = figures.iter().zip(&self.until.of);
            named.filter_map(move |(values, column)| {
                let summary = Summary::without_bootstrap(values)?;
                let half = summary.t?.half_width();
                let width = if half > 0.0 {
                    half / summary.mean.abs()
                } else {
                    0.0
                };
                Some((width, algorithm.as_str(), column.as_str()))
            })
        });
        all.max_by(|one, other| one.0.total_cmp(&other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(algorithm: &str, throughput: f64) -> Row {
        Row {
            algorithm: algorithm.to_owned(),
            throughput_Bps: throughput,
            ..Row::default()
        }
    }

    #[test]
    fn the_widest_interval_decides() {
        let until = Until {
            within_ppm: 50_000,
            of: vec!["throughput_Bps".to_owned(), "delay_p99_us".to_owned()],
        };
        let mut watch = Watch::new(&until);
        assert!(!watch.is_narrow());
        for _ in 0..10 {
            watch.add(&row("steady", 5.0));
        }
        assert!(watch.is_narrow(), "equal runs have no width");
        // Mean 100, sd 10.54, t = 2.262: half width 7.54 %.
        for run in 0..10 {
            watch.add(&row("noisy", if run % 2 == 0 { 90.0 } else { 110.0 }));
        }
        assert!(!watch.is_narrow());
        let said = watch.verdict(10);
        assert!(
            said.contains("of noisy is known to within 7.54 %"),
            "{said}"
        );
        for run in 0..20 {
            watch.add(&row("noisy", if run % 2 == 0 { 90.0 } else { 110.0 }));
        }
        assert!(watch.is_narrow());
        assert!(watch.verdict(30).contains("after 30 repetitions"));
    }
}
