//! Bytes per calendar second: the seeds' own figure.

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Bytes in whole calendar seconds from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds {
    /// End of the running second, and what left in it.
    end: u64,
    bytes: u64,
    count: u64,
    sum: u64,
    least: u64,
    most: u64,
    /// The same without the first second, in which a bucket empties or TCP finds its pace.
    later_least: u64,
    later_most: u64,
}

impl Seconds {
    pub(crate) fn new() -> Self {
        Self {
            end: SECOND,
            bytes: 0,
            count: 0,
            sum: 0,
            least: u64::MAX,
            most: 0,
            later_least: u64::MAX,
            later_most: 0,
        }
    }

    /// `bytes` left at `at`; a second begins with its first nanosecond.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        if at >= self.end {
            self.close_until(at);
        }
        self.bytes += bytes;
    }

    /// Closes the seconds that were over at `at`.
    pub(crate) fn close_until(&mut self, at: u64) {
        let over = at / SECOND - (self.end / SECOND - 1);
        if over == 0 {
            return;
        }
        if self.count > 0 {
            self.later_least = self.later_least.min(self.bytes);
            self.later_most = self.later_most.max(self.bytes);
        }
        if over > 1 {
            self.later_least = 0;
        }
        self.count += over;
        self.sum += self.bytes;
        self.most = self.most.max(self.bytes);
        self.least = self.least.min(if over > 1 { 0 } else { self.bytes });
        self.bytes = 0;
        self.end = self.end.saturating_add(over.saturating_mul(SECOND));
    }

    /// Least, mean and most over the whole seconds; `None` if there was none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures for people, 53 bits suffice"
    )]
    pub(crate) fn extent(&self) -> Option<[f64; 3]> {
        (self.count > 0).then(|| {
            [
                self.least as f64,
                self.sum as f64 / self.count as f64,
                self.most as f64,
            ]
        })
    }

    /// All that is told of them.
    pub(crate) fn extents(&self) -> Extents {
        Extents {
            all: self.extent(),
            later: self.later_extent(),
        }
    }

    /// Least and most over the whole seconds after the first; `None` if there was none.
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures for people, 53 bits suffice"
    )]
    fn later_extent(&self) -> Option<[f64; 2]> {
        (self.count > 1).then_some([self.later_least as f64, self.later_most as f64])
    }
}

/// What whole seconds held, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extents {
    /// Least, mean and most of all of them.
    pub(crate) all: Option<[f64; 3]>,
    /// Least and most of those after the first.
    pub(crate) later: Option<[f64; 2]>,
}

/// Bytes in each second over several users, whose instants come in no common order.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecondTotals {
    bytes: Vec<u64>,
}

impl SecondTotals {
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        // A second beyond the address space cannot be reached in a run.
        let second = usize::try_from(at / SECOND).unwrap_or(usize::MAX);
        if second >= self.bytes.len() {
            self.bytes.resize(second.saturating_add(1), 0);
        }
        self.bytes[second] += bytes;
    }

    /// The same, in order of time until `end`.
    pub(crate) fn until(&self, end: u64) -> Seconds {
        let mut seconds = Seconds::new();
        for (at, &bytes) in (0..).step_by(1_000_000_000).zip(&self.bytes) {
            seconds.add(at, bytes);
        }
        seconds.close_until(end);
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_shorter_than_a_second_has_none() {
        let mut seconds = Seconds::new();
        seconds.add(5, 100);
        seconds.close_until(SECOND - 1);
        assert_eq!(seconds.extent(), None);
    }

    #[test]
    fn a_departure_at_the_end_belongs_to_a_second_that_is_not_whole() {
        let mut seconds = Seconds::new();
        seconds.add(0, 7);
        seconds.add(2 * SECOND, 100);
        seconds.close_until(2 * SECOND);
        assert_eq!(seconds.extent(), Some([0.0, 3.5, 7.0]));
    }

    proptest! {
        #[test]
        fn agrees_with_a_table_of_seconds(
            mut departures in prop::collection::vec((0u64..8 * SECOND, 1u64..2000), 0..60),
            end in 0u64..9 * SECOND,
        ) {
            departures.retain(|&(at, _)| at <= end);
            departures.sort_unstable();
            let mut table = vec![0u64; (end / SECOND) as usize];
            let mut totals = SecondTotals::default();
            let mut seconds = Seconds::new();
            for &(at, bytes) in &departures {
                seconds.add(at, bytes);
                if let Some(second) = table.get_mut((at / SECOND) as usize) {
                    *second += bytes;
                }
            }
            for &(at, bytes) in departures.iter().rev() {
                totals.add(at, bytes);
            }
            seconds.close_until(end);
            let exact = (!table.is_empty()).then(|| [
                *table.iter().min().unwrap() as f64,
                table.iter().sum::<u64>() as f64 / table.len() as f64,
                *table.iter().max().unwrap() as f64,
            ]);
            prop_assert_eq!(seconds.extent(), exact);
            prop_assert_eq!(totals.until(end).extent(), exact);
            let later = table.get(1..).filter(|later| !later.is_empty()).map(|later| [
                *later.iter().min().unwrap() as f64,
                *later.iter().max().unwrap() as f64,
            ]);
            prop_assert_eq!(seconds.extents().later, later);
            prop_assert_eq!(totals.until(end).extents().later, later);
        }
    }
}
