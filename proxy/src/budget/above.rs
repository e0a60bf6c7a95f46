//! What is above all budgets: the limit of the whole server.

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use flow::hierarchy::Floor;
use flow::{ByteRate, Policy, Timestamp};
use parking_lot::Mutex;

use super::core::Core;
use super::{Budget, Claim, Clock, default_burst};

/// What a budget has of the limit above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stake {
    /// The share in what nobody's floor needs.
    pub(crate) weight: NonZeroU32,
    /// What is assured, if anything; the outer `None` is what the cap assures to all.
    pub(crate) floor: Option<Option<ByteRate>>,
}

impl Default for Stake {
    fn default() -> Self {
        Self {
            weight: NonZeroU32::MIN,
            floor: None,
        }
    }
}

/// One budget's place under the cap of the whole server.
///
/// Locks are taken from below: a budget's own, this one, the cap's. So whoever
/// the cap wakes is not told at once but by an alarm, which holds no lock.
#[derive(Debug)]
pub(super) struct Above {
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
    pub(super) fn new(cap: &Cap, budget: &Arc<Budget>, stake: Stake) -> Self {
        let wake = AlarmAtOnce(Arc::downgrade(budget));
        let place = Place {
            claim: cap.budget.join_as(stake.weight, cap.floor(stake)),
            waits: false,
        };
        Self {
            place: Mutex::new(place),
            waker: Waker::from(Arc::new(wake)),
        }
    }

    /// Another stake from now on.
    pub(super) fn set_stake(&self, cap: &Cap, stake: Stake) {
        let (mut place, floor) = (self.place.lock(), cap.floor(stake));
        place.claim.set_stake(stake.weight, floor);
    }

    /// Has the cap grant what `core` is short of, and gives back what it does not
    /// need any more.
    pub(super) fn settle(&self, core: &mut Core, now: Timestamp) {
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
    /// What is assured to each budget that has no say of its own.
    floor: Option<ByteRate>,
}

impl Cap {
    /// A cap with a clock of its own, and what each budget under it is assured.
    pub(crate) fn new(policy: Policy, floor: Option<ByteRate>, clock: Clock) -> Self {
        Self {
            budget: Arc::new(Budget::new(policy, clock)),
            floor,
        }
    }

    fn floor(&self, stake: Stake) -> Option<Floor> {
        let rate = stake.floor.unwrap_or(self.floor)?;
        let burst = default_burst(rate);
        Some(Floor { rate, burst })
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
