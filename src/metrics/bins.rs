//! Bytes in bins of time whose width is found on the way: a stream is read once, however long.

/// Bins that are kept at most.
const MOST: u64 = 1_000;
/// Nanoseconds of a bin at first; ten times as many whenever there would be too many.
const FIRST_WIDTH: u64 = 1_000;

/// Sums of several lanes over the same bins, from the first instant on.
#[derive(Clone, Debug)]
pub struct Bins {
    start: Option<u64>,
    width: u64,
    /// The last bin that holds anything.
    last: u64,
    lanes: Vec<Vec<u64>>,
}

impl Bins {
    /// `lanes` of them, all empty.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self {
            start: None,
            width: FIRST_WIDTH,
            last: 0,
            lanes: vec![Vec::new(); lanes],
        }
    }

    /// `bytes` at `at` nanoseconds; what comes before the first that was added counts with it. A
    /// lane that is not there takes nothing.
    pub fn add(&mut self, lane: usize, at: u64, bytes: u64) {
        let since = at.saturating_sub(*self.start.get_or_insert(at));
        while since / self.width >= MOST {
            self.coarsen();
        }
        let bin = since / self.width;
        self.last = self.last.max(bin);
        // Below MOST, and so on every machine an index.
        let (Some(lane), Ok(bin)) = (self.lanes.get_mut(lane), usize::try_from(bin)) else {
            return;
        };
        if lane.len() <= bin {
            lane.resize(bin + 1, 0);
        }
        lane[bin] = lane[bin].saturating_add(bytes);
    }

    fn coarsen(&mut self) {
        self.width = self.width.saturating_mul(10);
        self.last /= 10;
        for lane in &mut self.lanes {
            let sum = |ten: &[u64]| ten.iter().copied().fold(0, u64::saturating_add);
            *lane = lane.chunks(10).map(sum).collect();
        }
    }

    /// Nanoseconds of a bin.
    #[must_use]
    pub const fn width(&self) -> u64 {
        self.width
    }

    /// The bytes of each bin of `lane`, all lanes equally many; none of nothing.
    pub fn lane(&self, lane: usize) -> impl Iterator<Item = u64> + '_ {
        let count = self.start.map_or(0, |_| self.last + 1);
        let sums = self.lanes.get(lane).into_iter().flatten().copied();
        (0..count)
            .zip(sums.chain(std::iter::repeat(0)))
            .map(|(_, sum)| sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_grow_by_tens_and_lose_nothing() {
        let mut bins = Bins::new(2);
        assert_eq!(bins.lane(0).count(), 0);
        for at in 0..10_000_u64 {
            bins.add(usize::from(at % 10 == 0), 5_000_000_000 + at * 1_000_000, 7);
        }
        // Ten seconds in bins of 10 ms.
        assert_eq!(bins.width(), 10_000_000);
        assert_eq!(bins.lane(0).count(), 1_000);
        assert_eq!(bins.lane(1).count(), 1_000);
        assert_eq!(bins.lane(0).sum::<u64>(), 9_000 * 7);
        assert!(bins.lane(0).all(|sum| sum == 9 * 7));
        assert!(bins.lane(1).all(|sum| sum == 7));
    }

    #[test]
    fn the_ends_of_time_have_a_bin() {
        let mut bins = Bins::new(1);
        bins.add(0, 3, 1);
        bins.add(0, 0, 2);
        bins.add(0, u64::MAX, 4);
        bins.add(9, 5, 8);
        assert_eq!(bins.lane(0).sum::<u64>(), 7);
        assert_eq!(bins.lane(9).sum::<u64>(), 0);
    }
}
