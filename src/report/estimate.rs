//! Many runs as one figure.

use super::metric::{Metric, OverRuns};
use crate::results::Row;
use crate::statistics::{Maximum, Summary};

/// A figure over the runs of one algorithm under one driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The mean of the runs, or the largest.
    pub(super) value: f64,
    /// Half the width of the mean's 95 % interval (Student's t); `None` for one run and for maxima.
    pub(super) half_width: Option<f64>,
}

impl Estimate {
    /// What `rows` say of `metric`; `None` when none of them knows it.
    pub(super) fn of(metric: &Metric, rows: &[&Row]) -> Option<Self> {
        let values: Vec<f64> = rows.iter().filter_map(|row| (metric.figure)(row)).collect();
        match metric.over_runs {
            OverRuns::Mean => Self::mean(&values),
            OverRuns::Most => Maximum::of(&values).map(|most| Self {
                value: most.value,
                half_width: None,
            }),
        }
    }

    /// The mean of `values`; `None` of none.
    pub(super) fn mean(values: &[f64]) -> Option<Self> {
        let summary = Summary::without_bootstrap(values)?;
        let half_width = summary.t.map(|interval| interval.half_width());
        Some(Self {
            value: summary.mean,
            half_width,
        })
    }
}
