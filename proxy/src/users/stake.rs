//! What a user gets of the limit of the whole server, where there is one: a weight
//! and a floor. The ceiling is the user's own limit.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use flow::ByteRate;

use super::RuleError;
use crate::budget::Stake;

/// The most that a weight can be: a turn of a heavy user is so many of a light one's,
/// and the others wait for it.
const MOST_WEIGHT: u32 = 1_000;

/// How much of what nobody's floor needs, beside others: 1 to 1,000. Default: 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(NonZeroU32);

/// What each of a user's budgets gets whenever it wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorRule {
    /// Nothing in particular. Written `none`.
    None,
    /// This rate.
    AtLeast(ByteRate),
}

impl Weight {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Stake {
    /// What these rules come to.
    pub(super) fn of(weight: Option<Weight>, floor: Option<FloorRule>) -> Self {
        Self {
            weight: weight.map_or(NonZeroU32::MIN, |weight| weight.0),
            floor: floor.map(|floor| match floor {
                FloorRule::None => None,
                FloorRule::AtLeast(rate) => Some(rate),
            }),
        }
    }
}

impl FromStr for Weight {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let weight = text.trim().parse::<NonZeroU32>().ok();
        let weight = weight.filter(|weight| weight.get() <= MOST_WEIGHT);
        weight.map(Self).ok_or_else(|| RuleError::Weight {
            given: text.to_owned(),
        })
    }
}

impl FromStr for FloorRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text.trim() {
            "none" => Ok(Self::None),
            rate => Ok(Self::AtLeast(rate.parse()?)),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for FloorRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtLeast(rate) => write!(f, "{}B/s", rate.get()),
        }
    }
}
