//! Many runs as one figure.

use super::metric::{Metric, OverRuns};
use crate::results::Row;

/// A figure over the runs of one algorithm under one driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The mean of the runs, or the largest.
    pub(super) value: f64,
    /// Half the width of the mean's 95 % interval; `None` for one run and for maxima.
    pub(super) half_width: Option<f64>,
}

impl Estimate {
    /// What `rows` say of `metric`; `None` when none of them knows it.
    pub(super) fn of(metric: &Metric, rows: &[&Row]) -> Option<Self> {
        let values: Vec<f64> = rows.iter().filter_map(|row| (metric.figure)(row)).collect();
        match metric.over_runs {
            OverRuns::Mean => Self::mean(&values),
            OverRuns::Most => values.into_iter().reduce(f64::max).map(|value| Self {
                value,
                half_width: None,
            }),
        }
    }

    /// The mean of `values`; `None` of none.
    pub(super) fn mean(values: &[f64]) -> Option<Self> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number of runs is far below 2^52"
        )]
        let n = values.len() as f64;
        (!values.is_empty()).then(|| Self {
            value: values.iter().sum::<f64>() / n,
            half_width: None,
        })
    }
}
