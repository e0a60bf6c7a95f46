//! For how long at least one connection of a user has waited for a limit.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Those of a user that wait.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: u32,
    since: Option<Instant>,
    total: Duration,
}

impl Waits {
    pub(super) fn begin(&self) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.saturating_add(1);
        state.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.waiting = state.waiting.saturating_sub(1);
        if state.waiting == 0
            && let Some(since) = state.since.take()
        {
            state.total = state.total.saturating_add(since.elapsed());
        }
    }

    /// How many wait now, and for how long somebody has waited in all.
    #[cfg_attr(
        not(feature = "admin"),
        allow(dead_code, reason = "who asks is not built")
    )]
    pub(super) fn figures(&self) -> (u32, Duration) {
        let state = self.0.lock();
        let under_way = state.since.map(|since| since.elapsed());
        let total = state.total.saturating_add(under_way.unwrap_or_default());
        (state.waiting, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_at_once_count_once() {
        let second = || tokio::time::sleep(Duration::from_secs(1));
        let waits = Waits::default();
        waits.begin();
        second().await;
        waits.begin();
        second().await;
        waits.end();
        second().await;
        assert_eq!(waits.figures(), (1, Duration::from_secs(3)));
        waits.end();
        second().await;
        assert_eq!(waits.figures(), (0, Duration::from_secs(3)));
    }
}
