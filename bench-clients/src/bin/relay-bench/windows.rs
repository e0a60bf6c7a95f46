//! What arrived when, and the most that did in any window.

use std::time::{Duration, Instant};

/// Arrivals of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<(Instant, u64)>);

impl Series {
    pub(crate) fn add(&mut self, at: Instant, bytes: u64) {
        self.0.push((at, bytes));
    }

    /// All of them in order of time.
    pub(crate) fn merged(all: &[Self]) -> Self {
        let mut merged: Vec<_> = all.iter().flat_map(|one| one.0.iter().copied()).collect();
        merged.sort();
        Self(merged)
    }

    /// Bytes until `end`, that instant excluded.
    pub(crate) fn until(&self, end: Instant) -> u64 {
        let before = self.0.iter().take_while(|(at, _)| *at < end);
        before.map(|(_, bytes)| bytes).sum()
    }

    /// The most bytes in any window of `length`.
    pub(crate) fn most_in(&self, length: Duration) -> u64 {
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for (at, bytes) in &self.0 {
            sum += bytes;
            while let Some((then, gone)) =
                self.0.get(first).filter(|(then, _)| *then + length <= *at)
            {
                debug_assert!(then <= at);
                sum -= gone;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }

    /// The longest time without anything.
    pub(crate) fn longest_gap(&self) -> Duration {
        let gaps = self.0.windows(2).map(|pair| match pair {
            [(before, _), (after, _)] => *after - *before,
            _ => Duration::ZERO,
        });
        gaps.max().unwrap_or_default()
    }

    /// When the first arrived.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The median size of what arrived at once.
    pub(crate) fn median_piece(&self) -> u64 {
        let mut sizes: Vec<_> = self.0.iter().map(|(_, bytes)| *bytes).collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut series = Series::default();
        for (millis, bytes) in [(0, 10), (50, 20), (99, 5), (100, 7), (300, 1)] {
            series.add(at(millis), bytes);
        }
        assert_eq!(series.most_in(Duration::from_millis(100)), 35);
        assert_eq!(series.most_in(Duration::from_millis(101)), 42);
        assert_eq!(series.until(at(100)), 35);
        assert_eq!(series.longest_gap(), Duration::from_millis(200));
        assert_eq!(series.median_piece(), 7);
    }
}
