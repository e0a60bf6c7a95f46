//! The text form of a quantity: a decimal number, then its unit.

use alloc::string::String;
use core::fmt;

/// What a text was to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A number of bytes.
    Size,
    /// Bytes per second.
    Rate,
    /// A length of time.
    Time,
    /// A fraction above 0 and at most 1.
    Weight,
}

/// A text that is not the quantity it should be.
///
/// The message says what is wrong with it and which forms are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    quantity: Quantity,
    given: String,
    problem: Problem,
}

/// What is wrong with the text of a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It does not start with a number.
    NoNumber,
    /// The unit is missing.
    NoUnit,
    /// The unit is not one of this quantity's.
    UnknownUnit {
        /// The unit that was written.
        unit: String,
        /// What may have been meant.
        hint: Option<&'static str>,
    },
    /// The value is not a whole number of bytes (or nanoseconds).
    NotWhole,
    /// The value exceeds 64 bits.
    TooLarge,
    /// A rate of zero.
    Zero,
    /// A weight that is not above 0 and at most 1, or is too fine.
    OutOfRange,
}

impl UnitError {
    pub(crate) fn new(quantity: Quantity, given: &str, problem: Problem) -> Self {
        let given = shortened(given.trim());
        Self {
            quantity,
            given,
            problem,
        }
    }

    /// What is wrong.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What the text was to be read as.
    #[must_use]
    pub const fn quantity(&self) -> Quantity {
        self.quantity
    }
}

/// An error message does not repeat a megabyte of input.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => alloc::format!("{}...", &text[..end]),
        None => text.into(),
    }
}

impl Quantity {
    /// The accepted forms, for an error message.
    #[must_use]
    pub const fn forms(self) -> &'static str {
        match self {
            Self::Size => "a size like \"5000 B\", \"12 kbit\" or \"1 MiB\"",
            Self::Rate => "a rate like \"5000 B/s\", \"40 kbit/s\" or \"1 MiB/s\"",
            Self::Time => "a time like \"30s\", \"1.5 ms\" or \"250us\"",
            Self::Weight => "a weight like \"1/8\" or \"0.125\"",
        }
    }

    const fn atom(self) -> &'static str {
        match self {
            Self::Size | Self::Rate | Self::Weight => "bytes",
            Self::Time => "nanoseconds",
        }
    }

    /// The unit's worth in bytes or nanoseconds, as numerator and denominator.
    fn unit(self, name: &str) -> Option<(u64, u64)> {
        match self {
            Self::Size => size_unit(name),
            Self::Rate => size_unit(name.strip_suffix("/s")?),
            Self::Time => time_unit(name).map(|nanos| (nanos, 1)),
            Self::Weight => None,
        }
    }

    /// What somebody who wrote `unit` may have meant.
    fn hint(self, unit: &str) -> Option<&'static str> {
        match self {
            Self::Size => size_hint(unit),
            Self::Rate => rate_hint(unit),
            Self::Time => time_hint(unit),
            Self::Weight => None,
        }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.quantity.forms();
        if self.given.is_empty() {
            return write!(f, "nothing is written here; write {forms}");
        }
        write!(f, "\"{}\" ", self.given)?;
        match &self.problem {
            Problem::NoNumber => write!(f, "does not start with a number")?,
            Problem::NoUnit => write!(f, "has no unit")?,
            Problem::UnknownUnit { unit, hint } => {
                write!(f, "has the unknown unit \"{unit}\"")?;
                if let Some(hint) = hint {
                    write!(f, " ({hint})")?;
                }
            }
            Problem::NotWhole => {
                write!(f, "is not a whole number of {}", self.quantity.atom())?;
            }
            Problem::TooLarge => write!(f, "is too large")?,
            Problem::Zero => write!(f, "is zero, which limits nothing sensibly")?,
            Problem::OutOfRange => write!(
                f,
                "is not above 0 and at most 1 with a denominator up to {}",
                super::weight::Weight::MAX_DENOMINATOR
            )?,
        }
        write!(f, "; write {forms}")
    }
}

impl core::error::Error for UnitError {}

/// Reads `text` as a whole number of bytes, bytes per second or nanoseconds.
pub(super) fn parse(quantity: Quantity, text: &str) -> Result<u64, UnitError> {
    let fail = |problem| UnitError::new(quantity, text, problem);
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = trimmed.split_at(end.unwrap_or(trimmed.len()));
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(fail(Problem::NoNumber));
    }
    if unit.is_empty() {
        return Err(fail(Problem::NoUnit));
    }
    let Some((worth, parts)) = quantity.unit(unit) else {
        return Err(fail(Problem::UnknownUnit {
            unit: shortened(unit),
            hint: quantity.hint(unit),
        }));
    };
    if !is_decimal(number) {
        return Err(fail(Problem::NoNumber));
    }
    let (above, below) = decimal(number).ok_or_else(|| fail(Problem::TooLarge))?;
    let above = above.checked_mul(u128::from(worth));
    let below = below.checked_mul(u128::from(parts));
    let (Some(above), Some(below)) = (above, below) else {
        return Err(fail(Problem::TooLarge));
    };
    if above % below != 0 {
        return Err(fail(Problem::NotWhole));
    }
    u64::try_from(above / below).map_err(|_| fail(Problem::TooLarge))
}

/// Digits, and after a point at least one more digit.
fn is_decimal(number: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    }
}

/// A decimal number as an exact fraction; `None` if it is none, or has more
/// significant digits than 128 bits hold.
pub(super) fn decimal(number: &str) -> Option<(u128, u128)> {
    if !is_decimal(number) {
        return None;
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut above: u128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        above = above
            .checked_mul(10)?
            .checked_add(u128::from(digit - b'0'))?;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    Some((above, 10_u128.checked_pow(places)?))
}

/// Bytes in a unit of size.
fn size_unit(name: &str) -> Option<(u64, u64)> {
    let (prefix, parts) = match name.strip_suffix("bit") {
        Some(prefix) => (prefix, 8),
        None => (name.strip_suffix('B')?, 1),
    };
    let factor = match prefix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    Some((factor, parts))
}

/// Nanoseconds in a unit of time.
fn time_unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // The micro sign and the Greek letter look the same.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    })
}

fn size_hint(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "K" | "k" | "KB" | "Kb" | "kb" => "\"kB\" is 1000 bytes, \"KiB\" is 1024",
        "M" | "Mb" | "mb" | "mB" => "\"MB\" is 1000000 bytes, \"MiB\" is 1048576",
        "G" | "Gb" | "gb" | "gB" => "\"GB\" is 10^9 bytes, \"GiB\" is 2^30",
        "b" | "byte" | "bytes" => "a byte is \"B\", an eighth of it \"bit\"",
        _ if unit.ends_with("/s") => "that is a rate; a size is in \"B\", without \"/s\"",
        _ => return None,
    })
}

fn rate_hint(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "bps" | "BPS" | "Bps" => "write \"B/s\" for bytes, \"bit/s\" for bits",
        "kbps" | "Kbps" | "KBps" | "kBps" => "write \"kB/s\" or \"kbit/s\"",
        "Mbps" | "mbps" | "MBps" => "write \"MB/s\" or \"Mbit/s\"",
        "Gbps" | "gbps" | "GBps" => "write \"GB/s\" or \"Gbit/s\"",
        "KB/s" | "K/s" | "k/s" | "kb/s" | "Kb/s" => "\"kB/s\" is 1000 B/s, \"KiB/s\" is 1024 B/s",
        "Mb/s" | "mb/s" | "M/s" => "write \"MB/s\" or \"Mbit/s\"",
        "B" => "a rate is per second: \"B/s\"",
        "kB" => "a rate is per second: \"kB/s\"",
        "MB" => "a rate is per second: \"MB/s\"",
        "GB" => "a rate is per second: \"GB/s\"",
        _ if size_unit(unit).is_some() => "a rate is per second: add \"/s\"",
        _ => return None,
    })
}

fn time_hint(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "m" => "\"min\" is a minute, \"ms\" a millisecond",
        "S" | "sec" | "secs" | "second" | "seconds" => "a second is \"s\"",
        "usec" => "a microsecond is \"us\"",
        "msec" => "a millisecond is \"ms\"",
        "hr" | "hour" | "hours" => "an hour is \"h\"",
        "day" | "days" => "a day is \"d\"",
        _ => return None,
    })
}
