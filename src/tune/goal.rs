//! What is wanted: conditions that every run must meet, and what should be most or least.

use crate::results::Row;
use crate::scenario::metric::{Unit, names};
use crate::scenario::problem::remedy;

/// Conditions and an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What every run must meet.
    pub conditions: Vec<Condition>,
    /// What should be most or least.
    pub objective: Objective,
}

/// A bound of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    /// Column of `summary.csv`.
    pub column: String,
    /// Whether the figure must be below the bound, or above it.
    pub below: bool,
    /// The bound, in the column's unit.
    pub bound: f64,
}

/// A figure that should be most or least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// Column of `summary.csv`.
    pub column: String,
    /// Whether more is better.
    pub more: bool,
}

/// What is no condition, or no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// It has no comparison.
    #[error("\"{0}\" compares nothing; write for example 'delay_p99 < 50ms'")]
    NoComparison(String),
    /// There is no such figure.
    #[error("there is no figure \"{given}\": {help}")]
    Unknown {
        /// As it was written.
        given: String,
        /// What was meant perhaps.
        help: String,
    },
    /// The bound cannot be read.
    #[error("\"{given}\" is no bound for {column}; write for example {example}")]
    Bound {
        /// As it was written.
        given: String,
        /// The column.
        column: String,
        /// A bound.
        example: &'static str,
    },
}

impl Condition {
    /// By how much `row` misses the bound, as a share of it; a figure that nobody knows misses it whole.
    #[must_use]
    pub fn missed(&self, row: &Row) -> f64 {
        let Some(value) = row.figure(&self.column) else {
            return 1.0;
        };
        let beyond = if self.below {
            value - self.bound
        } else {
            self.bound - value
        };
        (beyond / self.bound.abs().max(f64::MIN_POSITIVE)).clamp(0.0, 1e6)
    }

    /// Of `values`, the one nearest to the bound or furthest beyond it.
    #[must_use]
    pub fn worst(&self, values: &[f64]) -> Option<f64> {
        let pick = if self.below { f64::max } else { f64::min };
        values.iter().copied().reduce(pick)
    }
}

impl std::str::FromStr for Condition {
    type Err = GoalError;

    /// "delay_p99 < 50ms".
    fn from_str(text: &str) -> Result<Self, GoalError> {
        let nothing = || GoalError::NoComparison(text.to_owned());
        let at = text.find(['<', '>']).ok_or_else(nothing)?;
        let (name, rest) = text.split_at(at);
        let below = rest.starts_with('<');
        let bound = rest[1..].strip_prefix('=').unwrap_or(&rest[1..]).trim();
        let column = column(name.trim())?;
        let unit = Unit::of(&column);
        let read = match unit {
            Unit::None => bound.parse().ok().filter(|value: &f64| value.is_finite()),
            unit => unit.read(bound).ok(),
        };
        let bound = read.ok_or_else(|| GoalError::Bound {
            given: bound.to_owned(),
            column: column.clone(),
            example: unit.example().unwrap_or("0.9"),
        })?;
        Ok(Self {
            text: text.trim().to_owned(),
            column,
            below,
            bound,
        })
    }
}

/// The column that `given` names, with or without its unit.
///
/// # Errors
/// If there is none.
pub fn column(given: &str) -> Result<String, GoalError> {
    let known = names();
    let units = ["", "_us", "_bytes", "_Bps", "_ratio", "_ms", "_s"];
    let mut written = units.iter().map(|unit| format!("{given}{unit}"));
    if let Some(found) = written.find(|name| known.contains(name)) {
        return Ok(found);
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(GoalError::Unknown {
        given: given.to_owned(),
        help: remedy(given, &known, "figures"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_units_and_names_need_none() {
        let found: Condition = "delay_p99 < 50ms".parse().unwrap();
        assert_eq!(
            (found.column.as_str(), found.below, found.bound),
            ("delay_p99_us", true, 50_000.0)
        );
        let found: Condition = "overshoot<=16KiB".parse().unwrap();
        assert_eq!(
            (found.column.as_str(), found.bound),
            ("overshoot_bytes", 16_384.0)
        );
        let found: Condition = "utilisation > 0.9".parse().unwrap();
        assert!(!found.below);
        let row = Row {
            utilisation: Some(0.45),
            ..Row::default()
        };
        assert!((found.missed(&row) - 0.5).abs() < 1e-12);
        assert_eq!(found.missed(&Row::default()), 1.0);
        for wrong in [
            "delay_p99",
            "delay < ",
            "dela_p99_us < 5ms",
            "delay_p99 < 50",
            "jain > NaN",
        ] {
            assert!(wrong.parse::<Condition>().is_err(), "{wrong}");
        }
    }
}
