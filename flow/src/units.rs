//! Sizes and rates as types, and the text that people write them in.
//!
//! A quantity is a number and its unit: `5000 B/s`, `40 kbit/s`, `1.5 MiB`,
//! `250us`. Prefixes `k M G T` are decimal, `Ki Mi Gi Ti` binary, and a `bit`
//! is an eighth of a byte. A number without its unit is refused, and so is
//! what is not a whole number of bytes or nanoseconds: nothing is ever rounded.

use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

use crate::Nanos;

#[cfg(feature = "serde")]
mod serde;
mod text;
mod weight;

pub use text::{Problem, Quantity, UnitError};
pub use weight::Weight;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest size.
    pub const MAX: Self = Self(u64::MAX);

    /// A size of `bytes` bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A data rate in whole bytes per second, never zero: "no limit" is a kind of
/// its own, not a magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(NonZeroU64);

impl ByteRate {
    /// One byte per second, the least rate.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    /// `None` for zero.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Option<Self> {
        match NonZeroU64::new(bytes_per_second) {
            Some(rate) => Some(Self(rate)),
            None => None,
        }
    }

    /// `None` for zero and for bit rates that are not whole bytes.
    #[must_use]
    pub const fn from_bits_per_sec(bits: u64) -> Option<Self> {
        if bits.is_multiple_of(8) {
            Self::new(bits / 8)
        } else {
            None
        }
    }

    /// Bytes per second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// `5000 B`, and with `{:#}` without the space, as inside a policy's text.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if f.alternate() { "" } else { " " };
        write!(f, "{}{gap}B", self.0)
    }
}

/// `5000 B/s`, and with `{:#}` without the space, as inside a policy's text.
impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if f.alternate() { "" } else { " " };
        write!(f, "{}{gap}B/s", self.0)
    }
}

/// In the largest unit up to the second that is exact: `30s`, `77ms`, `1500us`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        let exact = |&&(unit, _): &&(u64, &str)| self.get().is_multiple_of(unit);
        let (unit, name) = *UNITS.iter().find(exact).unwrap_or(&(1, "ns"));
        write!(f, "{}{name}", self.get() / unit)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text::parse(Quantity::Size, text).map(Self)
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bytes = text::parse(Quantity::Rate, text)?;
        Self::new(bytes).ok_or_else(|| UnitError::new(Quantity::Rate, text, Problem::Zero))
    }
}

impl FromStr for Nanos {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text::parse(Quantity::Time, text).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{ByteRate, ByteSize};
    use crate::Nanos;

    fn size(text: &str) -> Result<u64, alloc::string::String> {
        let parsed: Result<ByteSize, _> = text.parse();
        parsed.map(ByteSize::get).map_err(|e| e.to_string())
    }

    fn rate(text: &str) -> Result<u64, alloc::string::String> {
        let parsed: Result<ByteRate, _> = text.parse();
        parsed.map(ByteRate::get).map_err(|e| e.to_string())
    }

    fn time(text: &str) -> Result<u64, alloc::string::String> {
        let parsed: Result<Nanos, _> = text.parse();
        parsed.map(Nanos::get).map_err(|e| e.to_string())
    }

    #[test]
    fn sizes() {
        assert_eq!(size("5000 B"), Ok(5000));
        assert_eq!(size("5000B"), Ok(5000));
        assert_eq!(size(" 1 MiB "), Ok(1 << 20));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("0.001kB"), Ok(1));
        assert_eq!(size("12 kbit"), Ok(1500));
        assert_eq!(size("0 B"), Ok(0));
        assert_eq!(size("18446744073709551615 B"), Ok(u64::MAX));
    }

    #[test]
    fn rates() {
        assert_eq!(rate("5000 B/s"), Ok(5000));
        assert_eq!(rate("40 kbit/s"), Ok(5000));
        assert_eq!(rate("400Gbit/s"), Ok(50_000_000_000));
        assert_eq!(rate("1 MiB/s"), Ok(1 << 20));
        assert_eq!(rate("8 bit/s"), Ok(1));
    }

    #[test]
    fn times() {
        assert_eq!(time("30s"), Ok(30_000_000_000));
        assert_eq!(time("250us"), Ok(250_000));
        assert_eq!(time("250 µs"), Ok(250_000));
        assert_eq!(time("1.5 ms"), Ok(1_500_000));
        assert_eq!(time("2 min"), Ok(120_000_000_000));
        assert_eq!(time("1d"), Ok(86_400_000_000_000));
    }

    #[test]
    fn refusals_say_what_and_which_forms_are_accepted() {
        let error = rate("5000").unwrap_err();
        assert_eq!(
            error,
            "\"5000\" has no unit; write a rate like \"5000 B/s\", \"40 kbit/s\" or \"1 MiB/s\""
        );
        let error = rate("12 bit/s").unwrap_err();
        assert!(error.contains("not a whole number of bytes"), "{error}");
        let error = rate("0 B/s").unwrap_err();
        assert!(error.contains("zero"), "{error}");
        let error = rate("5 MB").unwrap_err();
        assert!(error.contains("\"MB/s\""), "{error}");
        let error = rate("5 Mbps").unwrap_err();
        assert!(error.contains("\"Mbit/s\""), "{error}");
        let error = size("5 KB").unwrap_err();
        assert!(
            error.contains("\"kB\"") && error.contains("\"KiB\""),
            "{error}"
        );
        let error = size("5000 B/s").unwrap_err();
        assert!(error.contains("\"B\""), "{error}");
        let error = size("20000 TiB GiB").unwrap_err();
        assert!(error.contains("TiB GiB"), "{error}");
        let error = size("20000000 TiB").unwrap_err();
        assert!(error.contains("too large"), "{error}");
        let error = time("5 m").unwrap_err();
        assert!(error.contains("\"min\""), "{error}");
        let error = time("0.1ns").unwrap_err();
        assert!(
            error.contains("not a whole number of nanoseconds"),
            "{error}"
        );
        for text in ["", "B", "-1 B", ".", "1..5 B", "1e3 B", "٣ B"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_long_number_is_refused_and_not_a_panic() {
        let digits = "9".repeat(10_000);
        assert!(size(&alloc::format!("{digits} B")).is_err());
        assert!(size(&alloc::format!("0.{digits} B")).is_err());
        let zeros = "0".repeat(10_000);
        assert_eq!(size(&alloc::format!("{zeros}7.{zeros} B")), Ok(7));
    }

    #[test]
    fn texts_parse_back() {
        for bytes in [0, 1, 5000, 1 << 20, u64::MAX] {
            let size = ByteSize::new(bytes);
            assert_eq!(size.to_string().parse(), Ok(size));
            assert_eq!(alloc::format!("{size:#}").parse(), Ok(size));
            let nanos = Nanos::new(bytes);
            assert_eq!(nanos.to_string().parse(), Ok(nanos));
        }
        assert_eq!(Nanos::from_millis(77).to_string(), "77ms");
        assert_eq!(Nanos::from_millis(1500).to_string(), "1500ms");
        assert_eq!(Nanos::ZERO.to_string(), "0s");
    }
}
