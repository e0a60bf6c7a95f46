//! The figures that a claim can be about, and the units in which its bounds are written.

use flow::units::UnitError;
use flow::{ByteRate, ByteSize, Nanos};
use serde::Serialize;
use serde_json::Value;

use crate::results::{RequestRow, Row};

/// What a column is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes per second.
    Rate,
    /// Bytes.
    Size,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// A count, a ratio, a share.
    None,
}

/// Columns that say which run a row is of, and so measure nothing.
const IDENTITY: [&str; 4] = ["repetition", "seed", "rate_Bps", "burst_bytes"];
/// The same of a scenario of requests.
const IDENTITY_OF_REQUESTS: [&str; 6] = [
    "repetition",
    "seed",
    "load",
    "workers",
    "queue",
    "capacity_rps",
];

/// Every column that holds a figure, in alphabetical order.
pub(crate) fn names() -> Vec<String> {
    columns::<Row>(&IDENTITY)
}

/// The same of `summary.csv` of a scenario of requests.
pub(crate) fn names_of_requests() -> Vec<String> {
    columns::<RequestRow>(&IDENTITY_OF_REQUESTS)
}

/// The columns of `T` that hold figures.
fn columns<T: Serialize + Default>(identity: &[&str]) -> Vec<String> {
    let Ok(Value::Object(row)) = serde_json::to_value(T::default()) else {
        return Vec::new();
    };
    row.into_iter()
        .filter(|(name, value)| !value.is_string() && !identity.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect()
}

impl Unit {
    /// The unit that a column's name ends in.
    pub(crate) fn of(column: &str) -> Self {
        match column.rsplit_once('_').map(|(_, unit)| unit) {
            Some("Bps") => Self::Rate,
            Some("bytes") => Self::Size,
            Some("s") => Self::Seconds,
            Some("ms") => Self::Millis,
            Some("us") => Self::Micros,
            _ => Self::None,
        }
    }

    /// A bound written with its unit; `None`: the column has none, write a number.
    pub(crate) const fn example(self) -> Option<&'static str> {
        match self {
            Self::Rate => Some("5000 B/s"),
            Self::Size => Some("5000 B"),
            Self::Seconds => Some("1.5 s"),
            Self::Millis | Self::Micros => Some("20 ms"),
            Self::None => None,
        }
    }

    /// The bound `text` in the column's unit.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bound is compared with a figure that is a float itself"
    )]
    pub(crate) fn read(self, text: &str) -> Result<f64, UnitError> {
        Ok(match self {
            Self::Rate => text.parse::<ByteRate>()?.get() as f64,
            Self::Size => text.parse::<ByteSize>()?.get() as f64,
            Self::Seconds => text.parse::<Nanos>()?.get() as f64 / 1e9,
            Self::Millis => text.parse::<Nanos>()?.get() as f64 / 1e6,
            Self::Micros | Self::None => text.parse::<Nanos>()?.get() as f64 / 1e3,
        })
    }

    /// The bound `value` as [`Self::read`] takes it.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{value} B/s"),
            Self::Size => format!("{value} B"),
            Self::Seconds => nanos(value * 1e9),
            Self::Millis => nanos(value * 1e6),
            Self::Micros => nanos(value * 1e3),
            Self::None => format!("{value:?}"),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "came from whole nanoseconds, and the cast saturates"
)]
fn nanos(value: f64) -> String {
    format!("{}", Nanos::new(value.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_claimable_and_labels_are_not() {
        let names = names();
        for name in [
            "throughput_Bps",
            "overshoot_excess_bytes",
            "jain",
            "delay_p99_us",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        for name in ["scenario", "driver", "seed", "limiter"] {
            assert!(!names.iter().any(|n| n == name), "{name}");
        }
    }

    #[test]
    fn units_follow_the_names() {
        assert_eq!(Unit::of("steady_Bps"), Unit::Rate);
        assert_eq!(Unit::of("bound_excess_bytes"), Unit::Size);
        assert_eq!(Unit::of("settling_ms"), Unit::Millis);
        assert_eq!(Unit::of("overshoot_at_s"), Unit::Seconds);
        assert_eq!(Unit::of("jain_connections_min_1s"), Unit::None);
        assert_eq!(Unit::of("window_1s_ratio"), Unit::None);
        assert_eq!(Unit::of("cpu_s_per_GB"), Unit::None);
    }
}
