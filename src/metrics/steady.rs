//! The rate once the burst has passed.

use super::schedule::{Schedule, nanobytes, to_bytes};

/// What left from the instant at which the first `burst` bytes had passed to
/// the last departure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    burst: u64,
    total: u64,
    last: u64,
    /// Instant and total when the burst had passed.
    from: Option<(u64, u64)>,
}

impl Steady {
    pub(crate) fn new(burst: u64) -> Self {
        Self {
            burst,
            total: 0,
            last: 0,
            from: None,
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        self.total += bytes;
        self.last = at;
        if self.from.is_none() && self.total >= self.burst {
            self.from = Some((at, self.total));
        }
    }

    /// Mean rate in bytes per second, and how far it is off the rate of
    /// `schedule`: (x - r) / r. `None` if nothing left after the burst.
    pub(crate) fn rate_and_error(&self, schedule: &Schedule) -> Option<(f64, f64)> {
        let (start, before) = self.from?;
        if self.last <= start {
            return None;
        }
        let bytes = to_bytes(nanobytes(self.total - before));
        let wanted = to_bytes(schedule.earned_between(start, self.last));
        let seconds = to_bytes(u128::from(self.last - start));
        Some((bytes / seconds, (bytes - wanted) / wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::ByteRate;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_burst_itself_does_not_count() {
        let schedule = Schedule::new(ByteRate::new(100).unwrap(), &[]);
        let mut steady = Steady::new(1_000);
        steady.add(0, 600);
        assert_eq!(steady.rate_and_error(&schedule), None);
        steady.add(SECOND, 400);
        assert_eq!(steady.rate_and_error(&schedule), None);
        steady.add(2 * SECOND, 99);
        steady.add(3 * SECOND, 99);
        let (rate, error) = steady.rate_and_error(&schedule).unwrap();
        assert_eq!(rate, 99.0);
        assert!((error + 0.01).abs() < 1e-12);
    }
}
