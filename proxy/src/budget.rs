//! One user's limit, shared by all of their connections and live: the only
//! place where an algorithm of `flow` meets a clock.
//!
//! A connection asks how much it may move ([`Claim::acquire`]), moves at most
//! that, and gives back what it did not. Those that have to wait stand in one
//! queue ([`flow::share`]) behind one alarm; the alarm grants the next pieces
//! and wakes whom they are for. The rules are in [`core`], without a clock.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use flow::share::Member;
use flow::{ByteSize, Policy, Timestamp};
use parking_lot::Mutex;

mod clock;
mod core;
mod pacing;

pub(crate) use clock::Clock;

use self::core::{Answer, Core};

/// One limit.
#[derive(Debug)]
pub(crate) struct Budget {
    core: Mutex<Core>,
    clock: Clock,
    /// The limiter's time counts from the first moment that somebody asks, so
    /// that the windows of a window counter begin with the traffic.
    origin: OnceLock<Timestamp>,
    /// See [`Budget::receive_buffer`]; 0 is none.
    receive_buffer: AtomicUsize,
}

/// Why nothing is granted, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The user has another budget now: ask that one.
    #[error("the limit was replaced")]
    Retired,
    /// The algorithm does not let this connection go on.
    #[error("the limit ends the connection")]
    Never,
}

impl Budget {
    pub(crate) fn new(policy: Policy, clock: Clock) -> Self {
        let receive_buffer = AtomicUsize::new(pacing::receive_buffer(&policy).unwrap_or(0));
        Self {
            receive_buffer,
            core: Mutex::new(Core::new(policy)),
            clock,
            origin: OnceLock::new(),
        }
    }

    /// Another policy from now on, for those that wait too. Where only the rate
    /// differs, credit is kept; otherwise the new limiter starts with no more
    /// credit than the old one had.
    pub(crate) fn set_policy(self: &Arc<Self>, policy: Policy) {
        let receive_buffer = pacing::receive_buffer(&policy).unwrap_or(0);
        self.receive_buffer.store(receive_buffer, Ordering::Relaxed);
        self.with_core(|core, now| core.set_policy(now, policy));
    }

    /// How much a source's socket should hold at most (`SO_RCVBUF`, bytes): what
    /// would take seconds at this rate had better wait at the sender. None is as
    /// much as the system likes.
    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        Some(self.receive_buffer.load(Ordering::Relaxed)).filter(|&size| size > 0)
    }

    /// Sends everybody away; they will not come back.
    pub(crate) fn retire(self: &Arc<Self>) {
        self.with_core(|core, _| core.retire());
    }

    /// The alarm went off.
    pub(crate) fn alarm(self: &Arc<Self>) {
        self.with_core(|core, now| {
            core.disarm();
            core.dispatch(now);
        });
    }

    /// One connection's way in, with an equal share.
    pub(crate) fn join(self: &Arc<Self>) -> Claim {
        let member = self.core.lock().join(NonZeroU32::MIN);
        Claim {
            budget: Arc::clone(self),
            member,
        }
    }

    /// Does something to the core, then what follows from it outside: the
    /// alarm is set and those that were granted something are woken.
    fn with_core<T>(self: &Arc<Self>, change: impl FnOnce(&mut Core, Timestamp) -> T) -> T {
        let origin = self.origin.get().copied();
        self.since(origin.unwrap_or_else(|| self.clock.now()), change)
    }

    /// The same, with the limiter's time counted from `origin`.
    fn since<T>(
        self: &Arc<Self>,
        origin: Timestamp,
        change: impl FnOnce(&mut Core, Timestamp) -> T,
    ) -> T {
        let now = Timestamp::ZERO + self.clock.now().since(origin);
        let crowded = self.clock.is_crowded();
        let mut core = self.core.lock();
        core.set_crowded(crowded);
        let outcome = change(&mut core, now);
        let alarm = core.alarm_to_set();
        let woken = core.take_woken();
        drop(core);
        if let Some(at) = alarm {
            self.clock
                .set_alarm(origin + at.since(Timestamp::ZERO), Arc::downgrade(self));
        }
        woken.into_iter().for_each(Waker::wake);
        outcome
    }
}

/// One connection's place at a budget, in one direction.
#[derive(Debug)]
pub(crate) struct Claim {
    budget: Arc<Budget>,
    member: Member,
}

impl Claim {
    /// As [`Budget::receive_buffer`].
    pub(crate) fn receive_buffer(&self) -> Option<usize> {
        self.budget.receive_buffer()
    }

    /// `bytes` of what was granted last did not move.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if bytes > 0 {
            self.budget
                .with_core(|core, now| core.give_back(now, self.member, ByteSize::new(bytes)));
        }
    }

    /// Ready when at least one of `wanted` bytes may move: how many. They count
    /// as moved until they are given back.
    pub(crate) fn poll_acquire(
        &mut self,
        wanted: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<u64, Refusal>> {
        let budget = &self.budget;
        let origin = *budget.origin.get_or_init(|| budget.clock.now());
        let answer = budget.since(origin, |core, now| {
            let answer = core.ask(now, self.member, ByteSize::new(wanted));
            if answer == Answer::Wait {
                core.wake_with(self.member, context.waker());
            }
            answer
        });
        match answer {
            Answer::Granted(bytes) => Poll::Ready(Ok(bytes.get())),
            Answer::Wait => Poll::Pending,
            Answer::Refused(refusal) => Poll::Ready(Err(refusal)),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget
            .with_core(|core, now| core.leave(now, self.member));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;

    impl Claim {
        async fn acquire(&mut self, wanted: u64) -> Result<u64, Refusal> {
            std::future::poll_fn(|context| self.poll_acquire(wanted, context)).await
        }
    }

    fn budget(policy: &str) -> Arc<Budget> {
        Arc::new(Budget::new(
            policy.parse().unwrap(),
            Clock::of_the_runtime(),
        ))
    }

    /// Tasks that always want more, and what they were granted together.
    fn flood(budget: &Arc<Budget>, tasks: usize) -> Arc<AtomicU64> {
        let moved = Arc::new(AtomicU64::new(0));
        for _ in 0..tasks {
            let (mut claim, moved) = (budget.join(), Arc::clone(&moved));
            tokio::spawn(async move {
                while let Ok(granted) = claim.acquire(16_384).await {
                    moved.fetch_add(granted, Ordering::Relaxed);
                }
            });
        }
        moved
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_tasks_share_one_limit_and_one_timer() {
        let moved = flood(&budget("token-bucket:rate=100kB/s,burst=1500B"), 1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (moved, all) = (moved.load(Ordering::Relaxed), 1_500 + 60 * 100_000);
        assert!(
            moved <= all && all - moved < all / 1_000,
            "{moved} of {all}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_rate_reaches_those_that_wait() {
        let budget = budget("token-bucket:rate=1B/s,burst=1500B");
        let moved = flood(&budget, 2);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = moved.load(Ordering::Relaxed);
        budget.set_policy("token-bucket:rate=1000kB/s,burst=1500B".parse().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let after = moved.load(Ordering::Relaxed) - before;
        assert!((90_000..=101_500).contains(&after), "{after}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retired_budget_sends_everybody_away() {
        let budget = budget("token-bucket:rate=1B/s,burst=1B");
        let mut claim = budget.join();
        assert_eq!(claim.acquire(10).await, Ok(1));
        let waiting = tokio::spawn(async move { claim.acquire(10).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        budget.retire();
        assert_eq!(waiting.await.unwrap(), Err(Refusal::Retired));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_granted_to_one_that_left_goes_to_the_others() {
        let budget = budget("token-bucket:rate=1B/s,burst=100B");
        let mut stays = budget.join();
        let mut leaves = budget.join();
        assert_eq!(leaves.acquire(100).await, Ok(100));
        leaves.give_back(40);
        assert_eq!(stays.acquire(100).await, Ok(40));
    }

    #[tokio::test(start_paused = true)]
    async fn windows_begin_with_the_traffic() {
        let budget = budget("fixed-window:limit=100B,window=1s");
        let mut claim = budget.join();
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(claim.acquire(100).await, Ok(100));
        let start = tokio::time::Instant::now();
        assert_eq!(claim.acquire(100).await, Ok(100));
        assert!(start.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_may_end_a_connection() {
        let budget = budget("shadowsocks-close:rate=1000B/s");
        let mut claim = budget.join();
        assert_eq!(claim.acquire(1_000).await, Ok(1_000));
        assert_eq!(claim.acquire(1_000).await, Err(Refusal::Never));
    }
}
