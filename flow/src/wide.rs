//! 256-bit integers and powers, for averages that must not drift.
//!
//! Only what the smoothed rates need: sums of products far beyond 128 bits,
//! divided by small numbers, and always with a stated direction of rounding.

/// An unsigned integer of 256 bits: `high` x 2^128 + `low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct U256 {
    high: u128,
    low: u128,
}

impl U256 {
    pub(crate) const ZERO: Self = Self::new(0, 0);
    pub(crate) const MAX: Self = Self::new(u128::MAX, u128::MAX);

    pub(crate) const fn new(high: u128, low: u128) -> Self {
        Self { high, low }
    }

    /// The upper half, and the lower one.
    pub(crate) const fn halves(self) -> (u128, u128) {
        (self.high, self.low)
    }

    /// `value` x 2^96.
    pub(crate) const fn shifted_96(value: u128) -> Self {
        Self::new(value >> 32, value << 96)
    }

    /// `self` / 2^96, rounded down, saturating.
    pub(crate) const fn whole_96(self) -> u128 {
        match self.high >> 96 {
            0 => self.high << 32 | self.low >> 96,
            _ => u128::MAX,
        }
    }

    /// The product, exactly.
    pub(crate) const fn product(a: u128, b: u128) -> Self {
        const HALF: u128 = u64::MAX as u128;
        let (a1, a0, b1, b0) = (a >> 64, a & HALF, b >> 64, b & HALF);
        let low = a0 * b0;
        // Neither sum can overflow: (2^64 - 1)^2 + 2 (2^64 - 1) < 2^128.
        let middle = a1 * b0 + (low >> 64);
        let other = a0 * b1 + (middle & HALF);
        Self::new(
            a1 * b1 + (middle >> 64) + (other >> 64),
            other << 64 | low & HALF,
        )
    }

    /// `self` x `factor`, saturating.
    pub(crate) fn times(self, factor: u64) -> Self {
        let low = Self::product(self.low, u128::from(factor));
        let high = Self::product(self.high, u128::from(factor));
        match (high.high, high.low.checked_add(low.high)) {
            (0, Some(high)) => Self::new(high, low.low),
            _ => Self::MAX,
        }
    }

    /// `self` + `other`, saturating.
    pub(crate) fn plus(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.high
            .checked_add(other.high)
            .and_then(|high| high.checked_add(u128::from(carry)))
            .map_or(Self::MAX, |high| Self::new(high, low))
    }

    /// `self` - `other`; `None` below zero.
    pub(crate) fn minus(self, other: Self) -> Option<Self> {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        let high = self.high.checked_sub(other.high)?;
        Some(Self::new(high.checked_sub(u128::from(borrow))?, low))
    }

    /// `self` / `divisor` rounded down, and the remainder.
    pub(crate) fn divided(self, divisor: u64) -> (Self, u64) {
        let divisor = u128::from(divisor);
        let mut rest = self.high % divisor;
        let mut low = 0;
        for shift in [64, 0] {
            let digits = rest << 64 | (self.low >> shift) & u128::from(u64::MAX);
            low = (low << 64) | (digits / divisor);
            rest = digits % divisor;
        }
        let quotient = Self::new(self.high / divisor, low);
        (quotient, u64::try_from(rest).unwrap_or(u64::MAX))
    }

    /// `self` / `divisor`, rounded up.
    pub(crate) fn divided_up(self, divisor: u64) -> Self {
        let (quotient, rest) = self.divided(divisor);
        quotient.plus(Self::new(0, u128::from(rest != 0)))
    }
}

/// A number above 0 and at most 1, as `mantissa` / 2^`shift`, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// With its highest bit set: a relative error below 2^-127 a rounding.
    mantissa: u128,
    shift: u32,
}

impl Scale {
    const ONE: Self = Self {
        mantissa: 1 << 127,
        shift: 127,
    };

    /// `value` / 2^`shift`, rounded up; `value` is not zero.
    pub(crate) fn rounded(value: U256, shift: u32) -> Self {
        let (high, low) = value.halves();
        if high == 0 {
            let spare = low.leading_zeros();
            return Self {
                mantissa: low << spare,
                shift: shift.saturating_add(spare),
            };
        }
        let bits = 128 - high.leading_zeros();
        let dropped = shift.saturating_sub(bits);
        match shifted_up([low, high, 0], bits).halves() {
            (0, mantissa) => Self {
                mantissa,
                shift: dropped,
            },
            // It was rounded up to a power of two.
            _ => Self {
                mantissa: 1 << 127,
                shift: dropped.saturating_sub(1),
            },
        }
    }

    /// (`above` / `below`)^`exponent`, for 0 < `above` <= `below`. The relative
    /// error is below (`exponent` + 1) x 2^-126.
    pub(crate) fn power(above: u32, below: u32, mut exponent: u64) -> Self {
        let ratio = U256::new(u128::from(above) << 63, 0).divided_up(u64::from(below));
        let mut square = Self::rounded(ratio, 191);
        let mut power = Self::ONE;
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power.times(square);
            }
            square = square.times(square);
            exponent >>= 1;
        }
        power
    }

    fn times(self, other: Self) -> Self {
        let product = U256::product(self.mantissa, other.mantissa);
        Self::rounded(product, self.shift.saturating_add(other.shift))
    }

    /// `value` x this, rounded up.
    pub(crate) fn of(self, value: U256) -> U256 {
        let (high, low) = value.halves();
        let (d1, d0) = U256::product(low, self.mantissa).halves();
        let upper = U256::product(high, self.mantissa).plus(U256::new(0, d1));
        let (d2, d1) = upper.halves();
        shifted_up([d0, d1, d2], self.shift)
    }
}

/// Three digits of 128 bits, the lowest first, / 2^`shift`, rounded up and saturating.
fn shifted_up(digits: [u128; 3], shift: u32) -> U256 {
    let (whole, bits) = ((shift / 128) as usize, shift % 128);
    let digit = |index: usize| digits.get(index).copied().unwrap_or(0);
    let joined = |index: usize| match bits {
        0 => digit(index),
        _ => digit(index) >> bits | digit(index + 1) << (128 - bits),
    };
    if joined(whole + 2) != 0 {
        return U256::MAX;
    }
    let quotient = U256::new(joined(whole + 1), joined(whole));
    let cut = digit(whole) & ((1_u128 << bits) - 1);
    let lost = cut != 0 || digits.iter().take(whole).any(|digit| *digit != 0);
    quotient.plus(U256::new(0, u128::from(lost)))
}

#[cfg(test)]
mod tests {
    use super::{Scale, U256};

    #[test]
    fn products_and_quotients() {
        let product = U256::product(u128::MAX, u128::MAX);
        assert_eq!(product, U256::new(u128::MAX - 1, 1));
        assert_eq!(U256::new(3, 7).times(10), U256::new(30, 70));
        assert_eq!(
            U256::new(1, u128::MAX).times(2),
            U256::new(3, u128::MAX - 1)
        );
        assert_eq!(U256::MAX.times(2), U256::MAX);
        for (high, low, divisor) in [(0, 10, 3), (7, 0, 10), (u128::MAX, 5, 1), (1, 1, u64::MAX)] {
            let value = U256::new(high, low);
            let (quotient, rest) = value.divided(divisor);
            let back = quotient.times(divisor).plus(U256::new(0, u128::from(rest)));
            assert_eq!(back, value);
            assert!(rest < divisor);
        }
        assert_eq!(U256::new(0, 10).divided_up(3), U256::new(0, 4));
        assert_eq!(U256::new(0, 9).divided_up(3), U256::new(0, 3));
    }

    #[test]
    fn sums_and_differences() {
        let one = U256::new(0, 1);
        assert_eq!(U256::new(0, u128::MAX).plus(one), U256::new(1, 0));
        assert_eq!(U256::MAX.plus(one), U256::MAX);
        assert_eq!(U256::new(1, 0).minus(one), Some(U256::new(0, u128::MAX)));
        assert_eq!(U256::ZERO.minus(one), None);
        assert_eq!(U256::shifted_96(12_345).whole_96(), 12_345);
        assert_eq!(U256::MAX.whole_96(), u128::MAX);
    }

    #[test]
    fn powers_are_exact_while_they_fit_and_rounded_up_beyond() {
        let value = U256::new(1 << 100, 0);
        for (above, below, exponent, expected) in [
            (1, 1, u64::MAX, value),
            (1, 2, 100, U256::new(1, 0)),
            (1, 2, 228, U256::new(0, 1)),
            (1, 2, 229, U256::new(0, 1)),
            (7, 8, 2, U256::new(49 << 94, 0)),
            (999_999, 1_000_000, u64::MAX, U256::new(0, 1)),
            (1, 1_000_000, u64::MAX, U256::new(0, 1)),
        ] {
            let scaled = Scale::power(above, below, exponent).of(value);
            assert_eq!(scaled, expected, "({above}/{below})^{exponent}");
        }
        assert_eq!(Scale::power(3, 7, 5).of(U256::ZERO), U256::ZERO);
    }

    #[test]
    fn a_power_is_at_least_the_steps_it_stands_for() {
        let start = U256::shifted_96(1 << 80);
        let (mut least, mut most) = (start, start);
        for exponent in 1..2_000 {
            // Rounded down and up in every step; the power lies at the upper one or just above.
            least = least.times(127).divided(128).0;
            most = most.times(127).divided_up(128);
            let power = Scale::power(127, 128, exponent).of(start);
            assert!(power >= least, "{exponent}");
            let slack = U256::new(0, 1 << 80);
            assert!(power <= most.plus(slack), "{exponent}");
        }
    }
}
