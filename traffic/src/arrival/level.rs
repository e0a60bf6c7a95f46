//! Rates that last for a time, and their text form.

use flow::spec::ValueError;
use flow::{ByteRate, Nanos};
use std::fmt;
use std::str::FromStr;

/// A rate and how long it lasts: one step, or one state of a Markov chain.
///
/// Written `5000B/s@10s`, and `idle@10s` for silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level {
    /// `None`: silence.
    pub rate: Option<ByteRate>,
    /// How long it lasts; on average, for a state.
    pub lasts: Nanos,
}

/// Levels in order, written `5000B/s@10s+idle@5s`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Levels(pub Vec<Level>);

impl FromStr for Level {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Some((rate, lasts)) = text.split_once('@') else {
            return Err(ValueError::Range {
                given: text.trim().to_owned(),
                range: "RATE@TIME or idle@TIME, as in \"5000B/s@10s+idle@5s\"",
            });
        };
        let rate = match rate.trim() {
            "idle" => None,
            rate => Some(rate.parse()?),
        };
        let lasts = lasts.parse()?;
        Ok(Self { rate, lasts })
    }
}

impl FromStr for Levels {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let levels: Result<_, _> = text.split('+').map(str::parse).collect();
        levels.map(Self)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "{rate:#}@{}", self.lasts),
            None => write!(f, "idle@{}", self.lasts),
        }
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, level) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "+" };
            write!(f, "{separator}{level}")?;
        }
        Ok(())
    }
}
