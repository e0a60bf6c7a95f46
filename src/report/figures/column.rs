//! One metric down a table: one unit, as many decimals, the best marked.

use super::group::Group;
use crate::report::estimate::Estimate;
use crate::report::format::{Scale, Unit};
use crate::report::metric::{Metric, OverRuns};
use crate::report::subject::Subject;
use crate::report::table::{Cell, Mark};

/// One metric over all groups, in one unit.
pub(super) struct Column {
    pub(super) scale: Scale,
    pub(super) cells: Vec<Cell>,
    /// Which of them are the best of their driver.
    pub(super) best: Vec<usize>,
}

impl Column {
    pub(super) fn of(metric: &Metric, subject: &Subject, groups: &[Group<'_>]) -> Self {
        let estimates: Vec<Option<Estimate>> = groups
            .iter()
            .map(|group| Estimate::of(metric, &group.rows))
            .collect();
        let style = Style::of(metric, estimates.iter().flatten());
        let mut cells: Vec<Cell> = estimates
            .iter()
            .map(|estimate| {
                estimate.map_or_else(Cell::unknown, |estimate| Cell::new(style.text(estimate)))
            })
            .collect();
        let best = best(metric, subject, groups, &estimates, &cells);
        for &at in &best {
            cells[at].mark = Mark::Best;
        }
        Self {
            scale: style.scale,
            cells,
            best,
        }
    }

    pub(super) fn unit(&self) -> String {
        self.scale.symbol()
    }
}

/// The value in the middle, so that few outliers do not choose the unit.
fn typical<'a>(estimates: impl Iterator<Item = &'a Estimate>) -> f64 {
    let mut values: Vec<f64> = estimates
        .map(|estimate| estimate.value.abs())
        .filter(|value| *value > 0.0)
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How the figures of one column are written: one unit, as many decimals.
#[derive(Clone, Copy)]
pub(in crate::report) struct Style {
    pub(in crate::report) scale: Scale,
    decimals: usize,
}

impl Style {
    pub(super) fn of<'a>(metric: &Metric, estimates: impl Iterator<Item = &'a Estimate>) -> Self {
        let digits = if metric.over_runs == OverRuns::Most {
            3
        } else {
            4
        };
        Self::in_unit(metric.unit, digits, estimates)
    }

    /// So that most of `estimates` have so many digits.
    pub(in crate::report) fn in_unit<'a>(
        unit: Unit,
        digits: usize,
        estimates: impl Iterator<Item = &'a Estimate>,
    ) -> Self {
        let typical = typical(estimates);
        let scale = Scale::of(unit, typical);
        let decimals = if typical == 0.0 {
            0
        } else {
            scale.decimals(typical, digits)
        };
        Self { scale, decimals }
    }

    pub(in crate::report) fn text(self, estimate: Estimate) -> String {
        let value = self.scale.with_decimals(estimate.value, self.decimals);
        match estimate.half_width {
            Some(0.0) => format!("{value} ±0"),
            Some(half_width) => format!(
                "{value} ±{}",
                self.scale.with_decimals(half_width, self.decimals)
            ),
            None => value,
        }
    }
}

/// The groups with the best value of their driver, ties in what is shown
/// included; none where all show the same.
fn best(
    metric: &Metric,
    subject: &Subject,
    groups: &[Group<'_>],
    estimates: &[Option<Estimate>],
    cells: &[Cell],
) -> Vec<usize> {
    let mut all = Vec::new();
    for driver in &subject.drivers {
        let competing: Vec<(usize, f64)> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.driver == driver && group.competes(subject))
            .filter_map(|(at, _)| Some((at, metric.badness(estimates[at]?.value)?)))
            .collect();
        let Some(&(winner, _)) = competing
            .iter()
            .min_by(|one, other| one.1.total_cmp(&other.1))
        else {
            continue;
        };
        let value = |at: usize| cells[at].text.split(' ').next().map(str::to_owned);
        let tied = competing
            .iter()
            .map(|&(at, _)| at)
            .filter(|&at| value(at) == value(winner));
        let tied: Vec<usize> = tied.collect();
        if tied.len() * 2 <= competing.len() {
            all.extend(tied);
        }
    }
    all
}
