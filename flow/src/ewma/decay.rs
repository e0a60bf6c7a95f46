//! exp(-t / tau) as an integer function: the same everywhere, and monotone.

use crate::wide::{Scale, U256};

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

/// exp(-`elapsed` / `tau`), rounded up, for `elapsed` > 0 and 0 < `tau` < 2^60.
///
/// The relative error is below 2^-118 while the value is above 2^-512. One
/// nanosecond changes the value by at least a 2^-60th of itself, so a later
/// instant never has the larger value.
pub(super) fn decay(elapsed: u64, tau: u64) -> Scale {
    // elapsed / tau / ln 2 = n + f: the value is 2^-n x 2^-f.
    let doublings =
        U256::new(u128::from(elapsed), 0).plus(U256::product(u128::from(elapsed), LOG2_E_FRACTION));
    let (n, f) = doublings.divided(tau).0.halves();
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    Scale::rounded(U256::new(0, exp2(f)), n.saturating_add(127))
}

/// 2^-f for f = `fraction` / 2^128, times 2^127, rounded up; the error is below
/// 16 units.
fn exp2(fraction: u128) -> u128 {
    /// Less than 2^-132 is missing from the series after so many terms.
    const TERMS: u128 = 18;
    const BELOW_A_SIXTEENTH: u128 = u128::MAX >> 4;
    let sixteenth = SIXTEENTHS[(fraction >> 124) as usize & 15];
    // exp(-z) = 1 - z (1 - z/2 (1 - z/3 (...))), z < ln 2 / 16.
    let z = high(fraction & BELOW_A_SIXTEENTH, LN_2);
    let series = (1..=TERMS)
        .rev()
        .fold(ONE, |sum, term| ONE - high(z, sum) / term);
    // Each term is off by less than two units, times z; four cover them all.
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
    use super::{ONE, SIXTEENTHS, decay, exp2};
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
            let found = decay(elapsed, tau).of(U256::new(0, 1 << 116)).halves().1;
            assert!(found > expected && found - expected <= 2, "{elapsed} {tau}");
        }
        let unit = U256::new(1 << 64, 0);
        assert_eq!(decay(u64::MAX, 1).of(unit), U256::new(0, 1));
    }

    #[test]
    fn later_is_never_more() {
        let start = U256::new(0, 1 << 120);
        for tau in [1, 7, 1_000_000_000, (1 << 59) - 1] {
            let mut before = start;
            for step in 0..20_000_u64 {
                let elapsed = step * step * step / 7 + step + 1;
                let after = decay(elapsed, tau).of(start);
                assert!(after <= before, "{elapsed} {tau}");
                assert!(decay(elapsed + 1, tau).of(start) <= after);
                before = after;
            }
        }
    }
}
