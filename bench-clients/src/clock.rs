//! One origin for every flow of a run.

use std::time::Duration;

use flow::Timestamp;
use tokio::time::Instant;

/// How far ahead an instant lies that no clock can represent.
const FAR_AHEAD: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A monotonic clock whose zero is the start of a run.
///
/// Copies share the origin. It reads `CLOCK_MONOTONIC` through tokio, so a paused
/// tokio runtime makes it virtual.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    #[must_use]
    pub fn starting_now() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// A clock that stands at zero until `lead` has passed and runs from then on:
    /// time for every flow of a run to be ready at the common start.
    #[must_use]
    pub fn starting_in(lead: Duration) -> Self {
        Self {
            origin: later(Instant::now(), lead),
        }
    }

    /// Nanoseconds since the start of the run, zero before it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since = Instant::now().saturating_duration_since(self.origin);
        Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether the run has started: before, the clock reads zero as it does then.
    #[must_use]
    pub fn has_started(&self) -> bool {
        Instant::now() >= self.origin
    }

    /// `at` as an instant of tokio's timers.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        later(self.origin, Duration::from_nanos(at.as_nanos()))
    }

    /// Waits until `at`, to the millisecond of tokio's timers; a sender that needs
    /// better uses [`crate::pace::Pacer`].
    pub async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.instant(at)).await;
    }
}

fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by).unwrap_or_else(|| from + FAR_AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stands_at_zero_until_the_start() {
        let clock = Clock::starting_in(Duration::from_millis(20));
        assert_eq!(clock.now(), Timestamp::ZERO);
        tokio::time::advance(Duration::from_millis(19)).await;
        assert_eq!(clock.now(), Timestamp::ZERO);
        assert!(!clock.has_started());
        tokio::time::advance(Duration::from_millis(3)).await;
        assert!(clock.has_started());
        assert_eq!(clock.now(), Timestamp::from_nanos(2_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_instant_out_of_range_lies_far_ahead_and_does_not_panic() {
        let clock = Clock::starting_now();
        assert!(clock.instant(Timestamp::MAX) > Instant::now() + Duration::from_secs(86_400));
    }
}
