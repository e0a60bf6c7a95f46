//! Fractions of one.

use core::fmt;
use core::str::FromStr;

use super::text::{Problem, Quantity, UnitError, decimal};

/// A fraction in lowest terms, above 0 and at most 1: the weight of an average.
///
/// Written `1/8` or `0.125`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    numerator: u32,
    denominator: u32,
}

impl Weight {
    /// The largest denominator, in lowest terms.
    pub const MAX_DENOMINATOR: u32 = 1_000_000;

    /// `None` unless 0 < `numerator` <= `denominator`, and in lowest terms the
    /// denominator is at most [`Self::MAX_DENOMINATOR`].
    #[must_use]
    pub fn new(numerator: u64, denominator: u64) -> Option<Self> {
        if numerator == 0 || numerator > denominator {
            return None;
        }
        let divisor = gcd(numerator, denominator);
        let denominator = u32::try_from(denominator / divisor).ok()?;
        let numerator = u32::try_from(numerator / divisor).ok()?;
        (denominator <= Self::MAX_DENOMINATOR).then_some(Self {
            numerator,
            denominator,
        })
    }

    /// The number above the line.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The number below the line.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator
    }
}

/// `1/8`.
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl FromStr for Weight {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fraction = match text.split_once('/') {
            Some((above, below)) => Some((above.trim().parse().ok(), below.trim().parse().ok())),
            None => decimal(text.trim()).map(|(above, below)| {
                let below = u64::try_from(below).ok();
                (u64::try_from(above).ok(), below)
            }),
        };
        let Some((Some(above), Some(below))) = fraction else {
            return Err(UnitError::new(Quantity::Weight, text, Problem::NoNumber));
        };
        Self::new(above, below)
            .ok_or_else(|| UnitError::new(Quantity::Weight, text, Problem::OutOfRange))
    }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::Weight;

    #[test]
    fn weights() {
        let eighth = Weight::new(1, 8).unwrap();
        for text in ["1/8", "0.125", "2/16", " 1 / 8 "] {
            assert_eq!(text.parse(), Ok(eighth), "{text:?}");
        }
        assert_eq!(eighth.to_string(), "1/8");
        assert_eq!("1".parse(), Ok(Weight::new(1, 1).unwrap()));
        for text in ["0", "9/8", "1/0", "", "1/2/3", "0.0000001", "one"] {
            assert!(text.parse::<Weight>().is_err(), "{text:?}");
        }
    }
}
