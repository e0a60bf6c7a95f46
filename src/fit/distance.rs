//! How far two sets of packets are from each other.

use super::observed::Observed;
use super::{real, share};

/// Kolmogorov-Smirnov distances between a trace and a generator, each from 0 to 1,
/// and how far their burstiness curves are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// Of the sizes.
    pub sizes: f64,
    /// Of the gaps.
    pub gaps: f64,
    /// Of the bytes in 100 ms.
    pub load_100ms: f64,
    /// Of the bytes in 1 s.
    pub load_1s: f64,
    /// The mean absolute factor between the two smallest buckets, as a natural logarithm.
    pub curve: f64,
    /// Below this the gaps' distance is within what chance alone makes of as many
    /// packets (5 % level; gaps that depend on each other deserve more).
    pub gaps_critical: f64,
}

impl Distances {
    pub(super) fn between(
        trace: &Observed,
        other: &Observed,
        recorded: &[f64],
        curve: &[f64],
    ) -> Self {
        let factors: f64 = recorded
            .iter()
            .zip(curve)
            .filter(|(one, other)| **one > 0.0 && **other > 0.0)
            .map(|(one, other)| (one / other).ln().abs())
            .sum();
        let (n, m) = (real(trace.gaps.len() as u64), real(other.gaps.len() as u64));
        Self {
            sizes: between(&trace.sizes, &other.sizes),
            gaps: between(&trace.gaps, &other.gaps),
            load_100ms: between(&trace.loads[0], &other.loads[0]),
            load_1s: between(&trace.loads[1], &other.loads[1]),
            curve: factors / real(recorded.len().max(1) as u64),
            // Smirnov (1948): c(0.05) = 1.358.
            gaps_critical: 1.358 * ((n + m) / (n * m).max(1.0)).sqrt(),
        }
    }

    /// The mean of all of them, what the candidates are ranked by; from 0, best.
    #[must_use]
    pub fn score(&self) -> f64 {
        let curve = self.curve.min(1.0);
        (self.sizes + self.gaps + self.load_100ms + self.load_1s + curve) / 5.0
    }

    /// How good that is, in a word.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self.score() {
            score if score < 0.1 => "close",
            score if score < 0.2 => "fair",
            _ => "poor",
        }
    }
}

/// The greatest difference of the two distribution functions; both sorted. 0 if
/// both are empty, 1 if one is.
fn between(one: &[u64], other: &[u64]) -> f64 {
    if one.is_empty() || other.is_empty() {
        return if one.len() == other.len() { 0.0 } else { 1.0 };
    }
    let (mut i, mut j, mut most) = (0, 0, 0.0_f64);
    while i < one.len() && j < other.len() {
        let value = one[i].min(other[j]);
        i += one[i..].iter().take_while(|found| **found <= value).count();
        j += other[j..]
            .iter()
            .take_while(|found| **found <= value)
            .count();
        most = most.max((share(i, one.len()) - share(j, other.len())).abs());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn the_greatest_difference_of_two_distributions() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found}");
        near(between(&[1, 2, 3, 4], &[1, 2, 3, 4]), 0.0);
        near(between(&[1, 1, 1], &[2, 2]), 1.0);
        near(between(&[1, 2, 3, 4], &[3, 4, 5, 6]), 0.5);
        near(between(&[1, 1, 2], &[1, 2, 2]), 1.0 / 3.0);
        near(between(&[], &[1]), 1.0);
    }
}
