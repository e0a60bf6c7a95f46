//! One user's limit, shared by all of their connections and live: the only
//! place where an algorithm of `flow` meets a clock.
//!
//! A connection asks how much it may move ([`Claim::acquire`]), moves at most
//! that, and gives back what it did not. Those that have to wait stand in one
//! queue ([`flow::share`]) behind one alarm; the alarm grants the next pieces
//! and wakes whom they are for. The rules are in [`core`], without a clock.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};

use flow::hierarchy::Floor;
use flow::share::Member;
use flow::{ByteRate, ByteSize, Policy, Timestamp};
use parking_lot::Mutex;

mod clock;
mod core;
mod pacing;

pub(crate) use clock::{Clock, serve_alarms_apart};

use self::core::{Answer, Core};
use crate::users::Limits;

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
    /// The place under the server's own limit, once there is one.
    above: OnceLock<Above>,
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
            above: OnceLock::new(),
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

    /// What would pass now, in bytes.
    #[cfg(feature = "admin")]
    pub(crate) fn available(&self) -> u64 {
        let origin = self.origin.get().copied();
        let now = self.clock.now();
        let now = Timestamp::ZERO + now.since(origin.unwrap_or(now));
        self.core.lock().available(now).get()
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
        self.join_as(None)
    }

    /// The way in of somebody to whom a floor is assured.
    fn join_as(self: &Arc<Self>, floor: Option<Floor>) -> Claim {
        let member = self.core.lock().join(NonZeroU32::MIN, floor);
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
        let above = self.above(&mut core);
        core.set_crowded(crowded);
        let outcome = change(&mut core, now);
        if let Some(above) = above {
            above.settle(&mut core, now);
        }
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

    fn above(self: &Arc<Self>, core: &mut Core) -> Option<&Above> {
        let cap = self.clock.cap()?;
        Some(self.above.get_or_init(|| {
            core.cap();
            Above::new(cap, self)
        }))
    }
}

/// One budget's place under the cap of the whole server.
///
/// Locks are taken from below: a budget's own, this one, the cap's. So whoever
/// the cap wakes is not told at once but by an alarm, which holds no lock.
#[derive(Debug)]
struct Above {
    place: Mutex<Place>,
    waker: Waker,
}

#[derive(Debug)]
struct Place {
    claim: Claim,
    /// Whether the cap has been asked for something that it has not granted.
    waits: bool,
}

impl Above {
    fn new(cap: &Cap, budget: &Arc<Budget>) -> Self {
        let wake = AlarmAtOnce(Arc::downgrade(budget));
        let place = Place {
            claim: cap.budget.join_as(cap.floor),
            waits: false,
        };
        Self {
            place: Mutex::new(place),
            waker: Waker::from(Arc::new(wake)),
        }
    }

    /// Has the cap grant what `core` is short of, and gives back what it does not
    /// need any more.
    fn settle(&self, core: &mut Core, now: Timestamp) {
        let mut place = self.place.lock();
        let waited = std::mem::take(&mut place.waits);
        while let Some(short) = core.short() {
            let mut context = Context::from_waker(&self.waker);
            match place.claim.poll_acquire(short, &mut context) {
                Poll::Ready(Ok(granted)) => {
                    core.allow(granted);
                    core.dispatch(now);
                }
                Poll::Ready(Err(_)) | Poll::Pending => {
                    place.waits = true;
                    break;
                }
            }
        }
        if waited && !place.waits {
            place.claim.withdraw();
        }
        place.claim.give_back(core.take_surplus());
    }
}

struct AlarmAtOnce(Weak<Budget>);

impl Wake for AlarmAtOnce {
    fn wake(self: Arc<Self>) {
        if let Some(budget) = self.0.upgrade() {
            budget
                .clock
                .set_alarm(budget.clock.now(), Weak::clone(&self.0));
        }
    }
}

/// The limit of the whole server: what users are granted, it grants too.
#[derive(Debug)]
pub(crate) struct Cap {
    budget: Arc<Budget>,
    floor: Option<Floor>,
}

impl Cap {
    /// A cap with a clock of its own, and what each budget under it is assured.
    pub(crate) fn new(policy: Policy, floor: Option<ByteRate>, clock: Clock) -> Self {
        let floor = floor.map(|rate| Floor {
            rate,
            burst: Limits::default_burst(rate),
        });
        Self {
            budget: Arc::new(Budget::new(policy, clock)),
            floor,
        }
    }

    /// As [`Budget::available`].
    #[cfg(feature = "admin")]
    pub(crate) fn available(&self) -> u64 {
        self.budget.available()
    }

    /// As [`Budget::set_policy`].
    pub(crate) fn set_policy(&self, policy: Policy) {
        self.budget.set_policy(policy);
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

    /// Nothing more is wanted; what was granted and not heard of goes back.
    fn withdraw(&mut self) {
        self.budget
            .with_core(|core, now| core.cancel(now, self.member));
    }

    /// `bytes` of what was granted last did not move.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if bytes > 0 {
            self.budget
                .with_core(|core, now| core.give_back(now, self.member, ByteSize::new(bytes)));
        }
    }

    /// Whether all of `bytes` may move now, with nobody waiting and a limiter for
    /// which it makes no difference if they are given back at once: then they count
    /// as moved. If not, nothing has changed.
    pub(crate) fn acquires_at_once(&mut self, bytes: u64) -> bool {
        let budget = &self.budget;
        let origin = *budget.origin.get_or_init(|| budget.clock.now());
        budget.since(origin, |core, now| {
            core.grants_at_once(now, self.member, ByteSize::new(bytes))
        })
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

    /// What each of `policies` gets in ten seconds under a cap.
    async fn capped(cap: &str, floor: Option<u64>, policies: &[&str]) -> Vec<u64> {
        let clock = Clock::of_the_runtime();
        let floor = floor.and_then(ByteRate::new);
        let cap = Cap::new(cap.parse().unwrap(), floor, Clock::of_the_runtime());
        clock.set_cap(cap);
        let moved: Vec<_> = policies
            .iter()
            .map(|policy| {
                let budget = Budget::new(policy.parse().unwrap(), clock.clone());
                flood(&Arc::new(budget), 3)
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(10)).await;
        moved
            .iter()
            .map(|moved| moved.load(Ordering::Relaxed))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_holds_for_all_and_lends_what_some_do_not_need() {
        let slow = "token-bucket:rate=10kB/s,burst=1500B";
        let fast = "token-bucket:rate=1MB/s,burst=10kB";
        let got = capped(
            "token-bucket:rate=200kB/s,burst=4kB",
            None,
            &[slow, fast, "none"],
        )
        .await;
        let all: u64 = got.iter().sum();
        assert!((1_990_000..=2_004_000).contains(&all), "{got:?}");
        assert!((100_000..=101_500).contains(&got[0]), "{got:?}");
        assert!(got[1].abs_diff(got[2]) < 20_000, "{got:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_is_kept_under_a_cap() {
        let fast = ["none"; 20];
        let cap = "token-bucket:rate=100kB/s,burst=4kB";
        let got = capped(cap, Some(5_000), &fast).await;
        assert!(got.iter().all(|&got| got >= 44_000), "{got:?}");
        assert!(got.iter().sum::<u64>() <= 1_004_000, "{got:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_cap_granted_and_nobody_moved_goes_back() {
        let clock = Clock::of_the_runtime();
        let cap = "token-bucket:rate=1B/s,burst=100B".parse().unwrap();
        clock.set_cap(Cap::new(cap, None, Clock::of_the_runtime()));
        let budget = |policy: &str| Arc::new(Budget::new(policy.parse().unwrap(), clock.clone()));
        let (one, other) = (budget("none"), budget("none"));
        let (mut first, mut second) = (one.join(), other.join());
        assert_eq!(first.acquire(100).await, Ok(100));
        first.give_back(60);
        assert_eq!(second.acquire(100).await, Ok(60));
        let waiting = tokio::spawn(async move { first.acquire(100).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        waiting.abort();
        let _ = waiting.await;
        second.give_back(60);
        assert_eq!(second.acquire(50).await, Ok(50));
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
