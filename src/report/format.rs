//! Numbers as people read them: a few digits and an SI prefix.

/// A unit of the result files and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes a second.
    Rate,
    /// Bytes.
    Bytes,
    /// Seconds, in the file too.
    Seconds,
    /// Seconds; microseconds in the file.
    Micros,
    /// Seconds; milliseconds in the file.
    Millis,
    /// A share, shown in percent.
    Share,
    /// A bare number.
    Number,
}

impl Unit {
    /// What one of the file's unit is in the unit shown, before any prefix.
    pub(super) const fn factor(self) -> f64 {
        match self {
            Self::Micros => 1e-6,
            Self::Millis => 1e-3,
            Self::Share => 100.0,
            Self::Rate | Self::Bytes | Self::Seconds | Self::Number => 1.0,
        }
    }

    const fn symbol(self) -> &'static str {
        match self {
            Self::Rate => "B/s",
            Self::Bytes => "B",
            Self::Seconds | Self::Micros | Self::Millis => "s",
            Self::Share => "%",
            Self::Number => "",
        }
    }

    const fn takes_prefix(self) -> bool {
        !matches!(self, Self::Share | Self::Number)
    }
}

/// A unit with the prefix chosen: what stands in a table's head or at an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    unit: Unit,
    divisor: f64,
    prefix: &'static str,
}

const PREFIXES: [(f64, &str); 8] = [
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
];

impl Scale {
    /// The scale in which `value`, in the file's unit, reads best.
    pub(super) fn of(unit: Unit, value: f64) -> Self {
        let shown = (value * unit.factor()).abs();
        let least = if matches!(unit, Unit::Rate | Unit::Bytes) {
            1.0
        } else {
            1e-9
        };
        let (divisor, prefix) = if !unit.takes_prefix() || shown == 0.0 || !shown.is_finite() {
            (1.0, "")
        } else {
            // 999.96 rounds to 1.000 k.
            PREFIXES
                .into_iter()
                .find(|&(size, _)| shown * 1.0005 >= size || size <= least)
                .unwrap_or((1.0, ""))
        };
        Self {
            unit,
            divisor,
            prefix,
        }
    }

    /// The unit with its prefix, "kB/s"; nothing for a bare number.
    pub(super) fn symbol(self) -> String {
        format!("{}{}", self.prefix, self.unit.symbol())
    }

    /// `value`, in the file's unit, in this scale.
    pub(super) fn apply(self, value: f64) -> f64 {
        value * self.unit.factor() / self.divisor
    }

    /// `value`, in the file's unit, to `digits` significant digits in this scale, without the unit.
    pub(super) fn number(self, value: f64, digits: usize) -> String {
        significant(self.apply(value), digits)
    }

    /// How many decimals show `value`, in the file's unit, in `digits` significant digits.
    pub(super) fn decimals(self, value: f64, digits: usize) -> usize {
        // There is no part of a byte.
        if self.unit == Unit::Bytes && self.divisor == 1.0 {
            return 0;
        }
        let wanted = i32::try_from(digits).unwrap_or(3) - 1;
        usize::try_from(wanted - magnitude(self.apply(value), digits))
            .unwrap_or(0)
            .min(9)
    }

    /// `value`, in the file's unit, with so many decimals; what is too small for them is said to be.
    pub(super) fn with_decimals(self, value: f64, decimals: usize) -> String {
        let shown = self.apply(value);
        let least = 10f64.powi(-i32::try_from(decimals).unwrap_or(9));
        if shown > 0.0 && shown < least / 2.0 {
            return format!("<{}", fixed(least, decimals));
        }
        fixed(shown, decimals)
    }
}

/// "4.98 kB/s": `value`, in the file's unit, to `digits` significant digits, with prefix and unit.
pub(super) fn quantity(unit: Unit, value: f64, digits: usize) -> String {
    let scale = Scale::of(unit, value);
    let symbol = scale.symbol();
    let number = scale.number(value, digits);
    if symbol.is_empty() {
        number
    } else {
        format!("{number}\u{a0}{symbol}")
    }
}

/// "5 kB/s": a value that somebody chose, with no more digits than it has, six at most.
pub(super) fn chosen(unit: Unit, value: f64) -> String {
    let scale = Scale::of(unit, value);
    let number = scale.number(value, 6);
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    let symbol = scale.symbol();
    if symbol.is_empty() {
        number.to_owned()
    } else {
        format!("{number}\u{a0}{symbol}")
    }
}

/// `value` to `digits` significant digits, without an exponent where that is short.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "?".into()
        } else {
            format!("{}∞", if value < 0.0 { "−" } else { "" })
        };
    }
    let size = magnitude(value, digits);
    if !(-4..9).contains(&size) {
        return format!("{value:.*e}", digits.saturating_sub(1)).replace('-', "−");
    }
    let wanted = i32::try_from(digits).unwrap_or(3) - 1;
    fixed(value, usize::try_from((wanted - size).max(0)).unwrap_or(0))
}

/// `value` with `places` decimals, thousands set apart, a real minus sign.
pub(super) fn fixed(value: f64, places: usize) -> String {
    let text = format!("{:.places$}", value.abs());
    let (whole, rest) = text
        .find('.')
        .map_or((text.as_str(), ""), |at| text.split_at(at));
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !zero { "−" } else { "" };
    format!("{sign}{}{rest}", grouped(whole))
}

/// Thousands set apart by a comma from 10,000 on.
fn grouped(digits: &str) -> String {
    if digits.len() < 5 {
        return digits.to_owned();
    }
    let first = digits.len() % 3;
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The power of ten of the first digit, after rounding to `digits` digits.
fn magnitude(value: f64, digits: usize) -> i32 {
    let text = format!("{value:.*e}", digits.saturating_sub(1));
    text.split_once('e')
        .and_then(|(_, power)| power.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_prefix_and_unit() {
        let shown = |unit, value| quantity(unit, value, 3).replace('\u{a0}', " ");
        assert_eq!(shown(Unit::Rate, 5000.0), "5.00 kB/s");
        assert_eq!(shown(Unit::Rate, 999.96), "1.00 kB/s");
        assert_eq!(shown(Unit::Rate, 0.25), "0.250 B/s");
        assert_eq!(shown(Unit::Bytes, 0.0), "0 B");
        assert_eq!(shown(Unit::Micros, 1500.0), "1.50 ms");
        assert_eq!(shown(Unit::Micros, 0.02), "20.0 ns");
        assert_eq!(shown(Unit::Millis, 2500.0), "2.50 s");
        assert_eq!(shown(Unit::Share, 0.997), "99.7 %");
        assert_eq!(shown(Unit::Number, 12.0), "12.0");
        assert_eq!(chosen(Unit::Rate, 5000.0), "5\u{a0}kB/s");
        assert_eq!(chosen(Unit::Rate, 1_048_576.0), "1.04858\u{a0}MB/s");
    }

    #[test]
    fn digits_are_significant_ones() {
        assert_eq!(significant(123_456.0, 3), "123,456");
        assert_eq!(significant(-0.001_234, 3), "−0.00123");
        assert_eq!(significant(1.0e-7, 2), "1.0e−7");
        assert_eq!(significant(f64::INFINITY, 3), "∞");
        assert_eq!(fixed(-0.001, 2), "0.00");
    }

    #[test]
    fn columns_share_their_decimals() {
        let scale = Scale::of(Unit::Micros, 20_000.0);
        assert_eq!(scale.decimals(20_000.0, 4), 2);
        assert_eq!(scale.with_decimals(20_000.0, 2), "20.00");
        assert_eq!(scale.with_decimals(0.0, 2), "0.00");
        assert_eq!(scale.with_decimals(4.0, 2), "<0.01");
        assert_eq!(Scale::of(Unit::Bytes, 16_384.0).decimals(16_384.0, 3), 1);
    }
}
