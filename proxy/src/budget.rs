//! One user's limit, shared by all of their connections and live: the only
//! place where an algorithm of `flow` meets a clock.
//!
//! A connection asks how much it may move ([`Claim::acquire`]), moves at most
//! that, and gives back what it did not. Those that have to wait stand in one
//! queue ([`flow::share`]) behind one alarm; the alarm grants the next pieces
//! and wakes whom they are for. The rules are in [`core`], without a clock.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use flow::hierarchy::Floor;
use flow::share::Member;
use flow::{ByteSize, Policy, Timestamp};
use parking_lot::Mutex;

mod above;
mod clock;
mod core;
mod pacing;

pub(crate) use above::{Cap, Stake};
pub(crate) use clock::{Clock, serve_alarms_apart};
pub(crate) use pacing::default_burst;

use self::above::Above;
use self::core::{Answer, Core};

/// One limit.
#[derive(Debug)]
pub(crate) struct Budget {
    core: Mutex<Core>,
    clock: Clock,
    /// The limiter's time counts from the first moment that somebody asks, so
    /// that the windows of a window counter begin with the traffic.
    origin: OnceLock<Timestamp>,
    /// The place under the server's own limit, once there is one.
    above: OnceLock<Above>,
    /// What it has there; changed only while `core` is held.
    stake: Mutex<Stake>,
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
        Self {
            above: OnceLock::new(),
            stake: Mutex::default(),
            core: Mutex::new(Core::new(policy)),
            clock,
            origin: OnceLock::new(),
        }
    }

    /// The same with `stake` in the limit above.
    pub(crate) fn with_stake(self, stake: Stake) -> Self {
        *self.stake.lock() = stake;
        self
    }

    /// Another stake in the limit above from now on, for those that wait too.
    pub(crate) fn set_stake(&self, stake: Stake) {
        let _core = self.core.lock();
        if std::mem::replace(&mut *self.stake.lock(), stake) == stake {
            return;
        }
        if let (Some(above), Some(cap)) = (self.above.get(), self.clock.cap()) {
            above.set_stake(cap, stake);
        }
    }

    /// Another policy from now on, for those that wait too. Where only the rate
    /// differs, credit is kept; otherwise the new limiter starts with no more
    /// credit than the old one had.
    pub(crate) fn set_policy(self: &Arc<Self>, policy: Policy) {
        self.with_core(|core, now| core.set_policy(now, policy));
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
        self.join_as(NonZeroU32::MIN, None)
    }

    /// The way in of somebody with a share of their own, and maybe an assured rate.
    fn join_as(self: &Arc<Self>, weight: NonZeroU32, floor: Option<Floor>) -> Claim {
        let member = self.core.lock().join(weight, floor);
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
            Above::new(cap, self, *self.stake.lock())
        }))
    }
}

/// One connection's place at a budget, in one direction.
#[derive(Debug)]
pub(crate) struct Claim {
    budget: Arc<Budget>,
    member: Member,
}

impl Claim {
    /// Another share, and another assured rate, from now on.
    fn set_stake(&mut self, weight: NonZeroU32, floor: Option<Floor>) {
        self.budget
            .with_core(|core, now| core.set_stake(now, self.member, weight, floor));
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
mod tests;
