//! The rate once the burst has passed.

use super::schedule::{Schedule, nanobytes, to_bytes};

/// When the first `burst` bytes had passed, and how many had by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    burst: u64,
    from: Option<(u64, u64)>,
}

impl Steady {
    pub(crate) fn new(burst: u64) -> Self {
        Self { burst, from: None }
    }

    /// Something left at `at`, with which `total` bytes have.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, total: u64) {
        if self.from.is_none() && total >= self.burst {
            self.from = Some((at, total));
        }
    }

    /// Mean rate in bytes per second from then on to the `last` departure, with
    /// which `total` bytes had left, and how far it is off the rate of
    /// `schedule`: (x - r) / r. `None` if nothing left after the burst.
    pub(crate) fn rate_and_error(
        &self,
        last: u64,
        total: u64,
        schedule: &Schedule,
    ) -> Option<(f64, f64)> {
        let (start, before) = self.from?;
        if last <= start {
            return None;
        }
        let bytes = to_bytes(nanobytes(total - before));
        let wanted = to_bytes(schedule.earned_between(start, last));
        let seconds = to_bytes(u128::from(last - start));
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
        assert_eq!(steady.rate_and_error(0, 600, &schedule), None);
        steady.add(SECOND, 1_000);
        assert_eq!(steady.rate_and_error(SECOND, 1_000, &schedule), None);
        steady.add(2 * SECOND, 1_099);
        steady.add(3 * SECOND, 1_198);
        let found = steady.rate_and_error(3 * SECOND, 1_198, &schedule);
        let (rate, error) = found.unwrap();
        assert_eq!(rate, 99.0);
        assert!((error + 0.01).abs() < 1e-12);
    }
}
