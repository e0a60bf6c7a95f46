//! Distributions as curves of a bounded number of points.

use crate::results::CurveRow;

use super::histogram::Histogram;

/// Points of the CCDF in each decade of probability.
const POINTS_A_DECADE: f64 = 50.0;

/// The share of values that are larger than x (in us): falling, evenly spaced on a logarithmic
/// axis, and zero at the largest value, unless that is zero itself.
pub(crate) fn ccdf(histogram: &Histogram) -> Vec<CurveRow> {
    let all = as_float(histogram.count());
    let step = 10_f64.powf(-1.0 / POINTS_A_DECADE);
    let mut rows: Vec<CurveRow> = Vec::new();
    let mut below = 1.0;
    for (value, larger) in histogram.tail() {
        let share = as_float(larger) / all;
        // A distribution of few values keeps each of them.
        let wanted = share <= below || rows.len() < 100;
        if larger > 0 && wanted {
            rows.push(point("ccdf", micros(value), share));
            below = share * step;
        }
    }
    // However many are the largest, the curve ends there and not before.
    rows.extend(
        histogram
            .max()
            .filter(|most| *most > 0)
            .map(|most| point("ccdf", micros(most), 0.0)),
    );
    rows
}

/// Percentiles: x from 0 to 100, y in us.
pub(crate) fn percentiles(curve: &str, histogram: &Histogram) -> Vec<CurveRow> {
    let whole = (0..100_u32).map(f64::from);
    let tenths = (991..=999_u32).map(|x| f64::from(x) / 10.0);
    let last = [99.95, 99.99, 99.999, 100.0];
    let at = |x: f64| {
        let y = histogram.quantile(x / 100.0)?;
        Some(point(curve, x, micros(y)))
    };
    whole.chain(tenths).chain(last).filter_map(at).collect()
}

fn point(curve: &str, x: f64, y: f64) -> CurveRow {
    CurveRow {
        curve: curve.to_owned(),
        x,
        y,
        ..CurveRow::default()
    }
}

fn micros(nanos: u64) -> f64 {
    as_float(nanos) / 1e3
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people, 53 bits suffice"
)]
fn as_float(whole: u64) -> f64 {
    whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(most: u64) -> Histogram {
        let mut histogram = Histogram::new();
        (1..=most).for_each(|value| histogram.record(value * 1_000));
        histogram
    }

    #[test]
    fn nothing_has_no_curve() {
        assert!(ccdf(&Histogram::new()).is_empty());
        assert!(percentiles("gap", &Histogram::new()).is_empty());
    }

    #[test]
    fn ccdf_says_what_is_larger() {
        let rows: Vec<_> = ccdf(&up_to(4)).iter().map(|row| row.y).collect();
        assert_eq!(rows, [0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn ccdf_ends_at_the_largest_even_if_most_are() {
        let mut histogram = up_to(2);
        (0..98).for_each(|_| histogram.record(9_000_000));
        let rows: Vec<_> = ccdf(&histogram).iter().map(|row| (row.x, row.y)).collect();
        assert_eq!(rows[..2], [(1.0, 0.99), (2.0, 0.98)]);
        assert_eq!(rows.last(), Some(&(9_000.0, 0.0)));
        assert!(ccdf(&up_to(0)).is_empty());
    }

    #[test]
    fn ccdf_is_bounded_and_falls() {
        let rows = ccdf(&up_to(200_000));
        assert!((150..600).contains(&rows.len()), "{}", rows.len());
        assert!(
            rows.windows(2)
                .all(|pair| pair[0].x < pair[1].x && pair[0].y > pair[1].y)
        );
        assert!(
            rows.iter()
                .all(|row| (row.x - (1.0 - row.y) * 200_000.0).abs() <= 0.001 * row.x + 1.0)
        );
        assert!(rows.last().unwrap().y < 1e-3);
    }

    #[test]
    fn percentiles_end_at_the_largest() {
        let rows = percentiles("pdv", &up_to(1_000));
        assert_eq!(rows.first().map(|row| (row.x, row.y)), Some((0.0, 1.0)));
        let last = rows.last().unwrap();
        assert_eq!((last.x, last.y), (100.0, 1_000.0));
        assert_eq!(rows.len(), 113);
    }
}
