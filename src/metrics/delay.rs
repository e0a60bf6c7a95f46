//! One-way delay, and the gaps between departures.

use super::histogram::Histogram;
use super::moments::Moments;

/// Delays of one or several users, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) histogram: Histogram,
    sum: u128,
}

impl Delays {
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.histogram.record(nanos);
        self.sum += u128::from(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.sum += other.sum;
    }

    /// In nanoseconds; `None` without any.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure for people, 53 bits suffice"
    )]
    pub(crate) fn mean(&self) -> Option<f64> {
        let count = self.histogram.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }
}

/// Gaps from one departure of a user to the next, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps {
    last: Option<u64>,
    figures: GapFigures,
}

/// Gaps of one or several users.
#[derive(Clone, Debug, Default)]
pub(crate) struct GapFigures {
    pub(crate) histogram: Histogram,
    pub(crate) moments: Moments,
}

impl Gaps {
    /// Something left at `at`, which never decreases.
    #[inline]
    pub(crate) fn add(&mut self, at: u64) {
        if let Some(last) = self.last.replace(at) {
            self.figures.histogram.record(at - last);
            self.figures.moments.record(at - last);
        }
    }

    /// When something left last.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    pub(crate) fn figures(self) -> GapFigures {
        self.figures
    }
}

impl GapFigures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
        self.moments.merge(&other.moments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_departure_has_no_gap() {
        let mut gaps = Gaps::default();
        gaps.add(7);
        assert_eq!(gaps.figures.moments.mean(), None);
        gaps.add(7);
        gaps.add(17);
        assert_eq!(gaps.last(), Some(17));
        let figures = gaps.figures();
        assert_eq!(figures.moments.mean(), Some(5.0));
        assert_eq!(figures.histogram.max(), Some(10));
    }

    #[test]
    fn delays_have_an_exact_mean() {
        let mut delays = Delays::default();
        assert_eq!(delays.mean(), None);
        [u64::MAX, u64::MAX]
            .iter()
            .for_each(|&delay| delays.record(delay));
        assert_eq!(delays.mean(), Some(u64::MAX as f64));
    }
}
