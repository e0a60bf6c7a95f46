//! exp(-t / tau) as an integer function: the same everywhere, and monotone.

use crate::wide::U256;

/// The fraction of 1 / ln 2 = 1.4427..., times 2^128, rounded down.
const LOG2_E_FRACTION: u128 = 0x71547652_b82fe177_7d0ffda0_d23a7d11;
/// ln 2, times 2^128, rounded down.
const LN_2: u128 = 0xb17217f7_d1cf79ab_c9e3b398_03f2f6af;
/// One, in the arithmetic of [`exp2`].
const ONE: u128 = 1 << 127;
/// 2^(-i/16), times 2^127, rounded up.
const SIXTEENTHS: [u128; 16] = [
    0x80000000_00000000_00000000_00000000,
    0x7a92be8a_92436616_3dce863d_76cc07e2,
    0x75606373_ee921c97_6816bad9_b8372a7e,
    0x70666f76_154a7088_832c4a82_46e999e6,
    0x6ba27e65_6b4eb57a_1cd345dc_c8169ff0,
    0x6712460a_8fc24071_f11ac1c7_caf96377,
    0x62b39508_aa836d6e_9f156864_b26ecf9c,
    0x5e8451cf_ac061b5f_54408fdb_3687d7be,
    0x5a827999_fcef3242_2cbec4d9_baa55f50,
    0x56ac1f75_2150a563_24c05464_7acd1763,
    0x52ff6b54_d8a89c75_0e5ebfb1_0b88380e,
    0x4f7a9930_48d088d6_d0488f84_f5dcfee9,
    0x4c1bf828_c6dc54b7_a356918c_17217b7c,
    0x48e1e9b9_d588e19b_07eb6c70_572d64ed,
    0x45cae0f1_f545eb73_7df23143_ac529e49,
    0x42d561b3_e6243d8a_62e4adc6_10aa60da,
];

/// 1/k! for k = 1 to 18, times 2^127, rounded down. Less than 2^-132 is missing
/// from a series to so many terms for z < ln 2 / 16.
const INVERSE_FACTORIALS: [u128; 18] = [
    0x80000000_00000000_00000000_00000000,
    0x40000000_00000000_00000000_00000000,
    0x15555555_55555555_55555555_55555555,
    0x05555555_55555555_55555555_55555555,
    0x01111111_11111111_11111111_11111111,
    0x002d82d8_2d82d82d_82d82d82_d82d82d8,
    0x00068068_06806806_80680680_68068068,
    0x0000d00d_00d00d00_d00d00d0_0d00d00d,
    0x0000171d_e3a556c7_338faac1_c88e5001,
    0x0000024f_c9f6ef13_eb8e5de0_2da7d4cc,
    0x00000035_cc8acfea_89c71fce_8fc9706f,
    0x00000004_7bb63bfe_3625ed51_36a61eb3,
    0x00000000_5849184e_a1b425f2_8e0cc748,
    0x00000000_064e5d2a_301f2748_2eb7c517,
    0x00000000_006b9fcf_9ccee07c_476195ac,
    0x00000000_0006b9fc_f9ccee07_c476195a,
    0x00000000_0000654b_1dc0c2b5_29ac9814,
    0x00000000_000005a0_9e18ee5f_65deec01,
];

/// exp(-t / tau) for one tau.
///
/// The relative error is below 2^-117, always upwards, while t <= 350 tau. One
/// nanosecond changes the value by at least a 2^-60th of itself, so a later
/// instant never has the larger value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay {
    /// 1 / (tau ln 2), times 2^(120 + `shift`), rounded down.
    per_nano: u128,
    shift: u32,
}

impl Decay {
    /// For 0 < `tau` < 2^60 nanoseconds.
    pub(super) fn new(tau: u64) -> Self {
        // (1 + the fraction) x 2^254 / tau has 194 to 255 bits; 128 are kept.
        let dividend = U256::new(1 << 126 | LOG2_E_FRACTION >> 2, LOG2_E_FRACTION << 126);
        let (high, low) = dividend.divided(tau).0.halves();
        let spare = high.leading_zeros();
        Self {
            per_nano: high << spare | low.checked_shr(128 - spare).unwrap_or(0),
            shift: 6 + spare,
        }
    }

    /// `value` x exp(-`elapsed` / tau), rounded up, for `value` < 2^127.
    pub(super) fn over(&self, elapsed: u64, value: u128) -> u128 {
        if value == 0 || elapsed == 0 {
            return value;
        }
        // elapsed / tau / ln 2 = n + f: the factor is 2^-n x 2^-f.
        let (high, low) = U256::product(u128::from(elapsed), self.per_nano).halves();
        let lower = low >> self.shift | high << (128 - self.shift);
        let n = (high >> self.shift) << 8 | lower >> 120;
        let (high, low) = U256::product(value, exp2(lower << 8)).halves();
        let Some(beyond) = n.checked_sub(1) else {
            return (high << 1 | low >> 127) + u128::from(low << 1 != 0);
        };
        let beyond = u32::try_from(beyond).unwrap_or(u32::MAX).min(127);
        (high >> beyond) + u128::from(low != 0 || (high >> beyond) << beyond != high)
    }
}

/// 2^-f for f = `fraction` / 2^128, times 2^127, rounded up; the error is below
/// 16 units.
fn exp2(fraction: u128) -> u128 {
    const BELOW_A_SIXTEENTH: u128 = u128::MAX >> 4;
    let sixteenth = SIXTEENTHS[(fraction >> 124) as usize & 15];
    // exp(-z) = 1 - z (1/1! - z (1/2! - z (...))), z < ln 2 / 16.
    let z = high(fraction & BELOW_A_SIXTEENTH, LN_2);
    let inner = INVERSE_FACTORIALS
        .iter()
        .rev()
        .fold(0, |sum, coefficient| coefficient - high(z, sum));
    let series = ONE - high(z, inner);
    // Each step is off by at most two units, times z; four cover them all.
    let series = (series + 4).min(ONE);
    let (product, rest) = U256::product(sixteenth, series).halves();
    (product << 1 | rest >> 127) + 1
}

/// The upper half of the product.
const fn high(a: u128, b: u128) -> u128 {
    U256::product(a, b).halves().0
}

#[cfg(test)]
mod tests {
    use super::{Decay, INVERSE_FACTORIALS, ONE, SIXTEENTHS, exp2};
    use crate::wide::U256;

    /// `left` and `right` differ by at most `units`.
    fn near(left: u128, right: u128, units: u128) -> bool {
        left.abs_diff(right) <= units
    }

    #[test]
    fn the_table_is_a_geometric_sequence_from_one_to_a_half() {
        let product = |a, b| {
            let (high, low) = U256::product(a, b).halves();
            high << 1 | low >> 127
        };
        for (i, left) in SIXTEENTHS.iter().enumerate() {
            for (j, right) in SIXTEENTHS.iter().enumerate() {
                let expected = match i + j {
                    sum @ 0..16 => SIXTEENTHS[sum],
                    sum => SIXTEENTHS[sum - 16] / 2,
                };
                assert!(near(product(*left, *right), expected, 3), "{i} {j}");
            }
        }
        assert_eq!(SIXTEENTHS[0], ONE);
    }

    #[test]
    fn the_coefficients_are_the_inverse_factorials() {
        let mut factorial = 1;
        for (index, coefficient) in INVERSE_FACTORIALS.iter().enumerate() {
            factorial *= index as u128 + 1;
            assert_eq!(*coefficient, ONE / factorial);
        }
    }

    #[test]
    fn the_series_meets_the_table() {
        for i in 1..16_u128 {
            let (at, before) = (exp2(i << 124), exp2((i << 124) - 1));
            assert!(near(at, SIXTEENTHS[i as usize], 16), "{i}");
            assert!(near(before, at, 32), "{i}");
        }
        assert!(near(exp2(u128::MAX), ONE / 2, 32));
        // A functional equation that no wrong series meets: f(x) f(y) = f(x + y).
        for (x, y) in [(1 << 120, 3 << 121), (0xabc << 110, 0x123_4567 << 98)] {
            let (high, low) = U256::product(exp2(x), exp2(y)).halves();
            assert!(near(high << 1 | low >> 127, exp2(x + y), 48));
        }
    }

    #[test]
    fn known_values() {
        // From a computation with 120 decimal places.
        for (elapsed, tau, expected) in [
            (
                1_000_000_000,
                1_000_000_000,
                30_562_228_267_424_446_317_688_165_600_134_479,
            ),
            (20, 1, 171_233_943_659_926_464_193_995_402),
            (1, 3, 59_527_092_366_946_061_499_857_081_104_404_158),
            (77, 10, 37_619_410_546_596_675_556_480_545_185_355),
        ] {
            let found = Decay::new(tau).over(elapsed, 1 << 116);
            assert!(found > expected && found - expected <= 2, "{elapsed} {tau}");
        }
        assert_eq!(Decay::new(1).over(u64::MAX, 1 << 126), 1);
        assert_eq!(Decay::new(1).over(0, 7), 7);
        assert_eq!(Decay::new(1).over(7, 0), 0);
    }

    #[test]
    fn later_is_never_more() {
        let start = 1 << 120;
        for tau in [1, 2, 7, 1_000_000_000, (1 << 59) - 1] {
            let decay = Decay::new(tau);
            let mut before = start;
            for step in 0..20_000_u64 {
                let elapsed = step * step * step / 7 + step + 1;
                let after = decay.over(elapsed, start);
                assert!(after <= before, "{elapsed} {tau}");
                assert!(decay.over(elapsed + 1, start) <= after);
                before = after;
            }
        }
    }
}
