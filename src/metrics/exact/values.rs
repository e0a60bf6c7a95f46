//! Values of which every percentile is wanted, exactly while they can be kept.

use super::super::histogram::Histogram;
use super::super::moments::Moments;
use super::figures::Distribution;
use super::float;

/// So many values are kept as they are; beyond, a histogram of three digits takes over.
const KEPT: usize = 1 << 20;

/// Values of which percentiles are wanted.
#[derive(Debug, Default)]
pub(super) struct Values {
    moments: Moments,
    kept: Vec<u64>,
    /// Instead of `kept`, once there are too many.
    binned: Option<Box<Histogram>>,
}

impl Values {
    pub(super) fn record(&mut self, value: u64) {
        self.moments.record(value);
        if let Some(histogram) = &mut self.binned {
            histogram.record(value);
        } else {
            self.kept.push(value);
            if self.kept.len() > KEPT {
                self.bin();
            }
        }
    }

    fn bin(&mut self) {
        let mut histogram = Box::new(Histogram::new());
        for value in std::mem::take(&mut self.kept) {
            histogram.record(value);
        }
        self.binned = Some(histogram);
    }

    pub(super) fn least(&mut self) -> u64 {
        self.kept.sort_unstable();
        let binned = self.binned.as_ref().and_then(|histogram| histogram.min());
        binned.or_else(|| self.kept.first().copied()).unwrap_or(0)
    }

    /// The distribution of every value less `by`; `None` without values.
    pub(super) fn less(&mut self, by: u64) -> Option<Distribution> {
        let least = self.least();
        let (mean, sd) = (self.moments.mean_less(by)?, self.moments.sd()?);
        let at = |permille| float(self.percentile(permille).saturating_sub(by));
        Some(Distribution {
            n: self.moments.count(),
            min: float(least - by),
            mean,
            sd,
            cov: (mean > 0.0).then(|| sd / mean),
            p50: at(500),
            p90: at(900),
            p95: at(950),
            p99: at(990),
            p999: at(999),
            max: at(1000),
        })
    }

    /// By nearest rank; `kept` is sorted.
    fn percentile(&self, permille: usize) -> u64 {
        match &self.binned {
            Some(histogram) => {
                let quantile = f64::from(u16::try_from(permille).unwrap_or(1000)) / 1000.0;
                histogram.quantile(quantile).unwrap_or(0)
            }
            None => {
                let rank = (self.kept.len() * permille).div_ceil(1000).max(1);
                self.kept.get(rank - 1).copied().unwrap_or(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_values_of_nearest_rank() {
        let mut values = Values::default();
        (1..=10).rev().for_each(|value| values.record(value * 10));
        let found = values.less(0).unwrap();
        assert_eq!((found.p50, found.p90, found.p95), (50.0, 90.0, 100.0));
        let shifted = values.less(10).unwrap();
        assert_eq!((shifted.min, shifted.p50, shifted.mean), (0.0, 40.0, 45.0));
    }

    #[test]
    fn more_values_than_are_kept_are_binned() {
        let mut values = Values::default();
        (0..=KEPT as u64).for_each(|value| values.record(value));
        assert!(values.kept.is_empty());
        let found = values.less(0).unwrap();
        assert_eq!(
            (found.n, found.min, found.max),
            (KEPT as u64 + 1, 0.0, KEPT as f64)
        );
        assert!((found.p50 / (KEPT as f64 / 2.0) - 1.0).abs() < 0.001);
    }

    #[test]
    fn no_value_has_no_distribution() {
        assert_eq!(Values::default().less(0), None);
    }
}
