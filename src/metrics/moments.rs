//! Mean and standard deviation of whole numbers, without rounding.

/// Count, sum and sum of squares as integers, so that nothing cancels and the
/// order in which parts are merged changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    count: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        self.count += 1;
        self.sum += u128::from(value);
        self.squares = self
            .squares
            .saturating_add(u128::from(value) * u128::from(value));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// `None` without any value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure for people, 53 bits suffice"
    )]
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Mean of the values less `by`, which is no more than the least of them,
    /// without cancellation; `None` without any value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure for people, 53 bits suffice"
    )]
    pub(crate) fn mean_less(&self, by: u64) -> Option<f64> {
        let less = u128::from(by) * u128::from(self.count);
        (self.count > 0).then(|| self.sum.saturating_sub(less) as f64 / self.count as f64)
    }

    /// Standard deviation of the population; `None` without any value.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure for people, 53 bits suffice"
    )]
    pub(crate) fn sd(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let n = u128::from(self.count);
        let (q, rest) = (self.sum / n, self.sum % n);
        // The squares about the whole part q of the mean are exact:
        // sum (x - q)^2 = sum x^2 - q (2 sum x - n q) = sum x^2 - q (sum x + rest).
        let about = self
            .squares
            .saturating_sub(q.saturating_mul(self.sum + rest));
        let rest = rest as f64;
        let variance = (about as f64 - rest * rest / n as f64) / n as f64;
        Some(variance.max(0.0).sqrt())
    }

    /// Standard deviation over mean; `None` without any value or with mean 0.
    pub(crate) fn coefficient_of_variation(&self) -> Option<f64> {
        let mean = self.mean()?;
        (mean > 0.0).then_some(self.sd()? / mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|&value| moments.record(value));
        moments
    }

    #[test]
    fn nothing_has_no_moments() {
        let none = Moments::default();
        assert_eq!((none.mean(), none.sd()), (None, None));
        assert_eq!(of(&[0, 0]).coefficient_of_variation(), None);
        assert_eq!(of(&[7]).sd(), Some(0.0));
    }

    #[test]
    fn a_large_offset_does_not_cancel() {
        let offset = 1 << 60;
        let sd = of(&[offset, offset + 1, offset + 2]).sd().unwrap();
        assert!((sd - (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(values in prop::collection::vec(0u64..1 << 36, 1..200), cut in 0usize..200) {
            let cut = cut.min(values.len());
            let mut merged = of(&values[..cut]);
            merged.merge(&of(&values[cut..]));
            prop_assert_eq!(merged, of(&values));
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| v as f64).sum::<f64>() / n;
            let variance = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n;
            prop_assert!((merged.mean().unwrap() - mean).abs() <= 1e-9 * mean.max(1.0));
            prop_assert!((merged.sd().unwrap() - variance.sqrt()).abs() <= 1e-6 * mean.max(1.0));
        }
    }
}
