//! One direction of one connection: what it may move, what it has moved.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::Ending;
use crate::budget::{Claim, Refusal};
use crate::sessions::Session;
use crate::users::{Account, Authenticated, Direction};

/// One direction's way to its user's budget and counters.
#[derive(Debug)]
pub(crate) struct Lane {
    account: Arc<Account>,
    direction: Direction,
    /// Where it tells what it has moved, if anywhere.
    session: Option<Arc<Session>>,
    /// The account's layout that `claim` belongs to.
    layout: u64,
    /// None: unlimited.
    claim: Option<Claim>,
    moved: u64,
    /// Since when it has been waiting for the budget.
    waiting: Option<Instant>,
    throttled: Duration,
}

impl Lane {
    pub(crate) fn new(user: &Authenticated, direction: Direction) -> Self {
        let account = Arc::clone(user.account());
        let mut lane = Self {
            account,
            direction,
            session: None,
            layout: 0,
            claim: None,
            moved: 0,
            waiting: None,
            throttled: Duration::ZERO,
        };
        lane.renew();
        lane
    }

    /// Tells `session` from now on what it moves and how long it waits.
    pub(crate) fn tell(&mut self, session: &Arc<Session>) {
        self.session = Some(Arc::clone(session));
    }

    /// A datagram was dropped for want of budget.
    pub(super) fn drop_one(&self) {
        if let Some(session) = &self.session {
            session.drop_one(self.direction);
        }
    }

    /// A datagram has passed.
    pub(super) fn pass_one(&self) {
        if let Some(session) = &self.session {
            session.pass_one(self.direction);
        }
    }

    /// Bytes written so far.
    pub(crate) const fn moved(&self) -> u64 {
        self.moved
    }

    /// How long it has waited for the budget.
    pub(crate) fn throttled(&self) -> Duration {
        let waiting = self.waiting.map(|since| since.elapsed());
        self.throttled + waiting.unwrap_or_default()
    }

    /// Whether a budget is to be asked.
    pub(super) const fn is_limited(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether what was granted was granted by the limit that holds now.
    pub(super) fn is_current(&self) -> bool {
        self.layout == self.account.layout()
    }

    /// Ready when some of `most` bytes may move: how many. They are its own
    /// until they are counted or given back.
    pub(super) fn poll_acquire(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<usize, Ending>> {
        let polled = self.poll_claim(context, most);
        match (polled.is_pending(), self.waiting) {
            (true, None) => {
                self.waiting = Some(Instant::now());
                self.account.wait();
            }
            (false, Some(_)) => self.end_wait(),
            _ => {}
        }
        polled
    }

    fn end_wait(&mut self) {
        let Some(since) = self.waiting.take() else {
            return;
        };
        self.throttled += since.elapsed();
        self.account.end_wait();
        if let Some(session) = &self.session {
            session.set_waited(self.direction, self.throttled);
        }
    }

    /// Whether `bytes` may move at this very moment, with nobody else waiting: then
    /// they are its own as with [`Lane::poll_acquire`]. If not, nothing has changed.
    pub(super) fn acquires_at_once(&mut self, bytes: usize) -> bool {
        self.is_current()
            && to_u64(bytes) <= self.account.left_of_quota()
            && self
                .claim
                .as_mut()
                .is_some_and(|claim| claim.acquires_at_once(to_u64(bytes)))
    }

    /// Grants no more than a quota has left, so that one connection alone uses it up to
    /// the byte. Where something has changed it gives way first: whoever looks after the
    /// session may find that it has ended.
    fn poll_claim(
        &mut self,
        context: &mut Context<'_>,
        most: usize,
    ) -> Poll<Result<usize, Ending>> {
        if self.renews() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = most.min(usize::try_from(self.account.left_of_quota()).unwrap_or(usize::MAX));
        loop {
            let Some(claim) = &mut self.claim else {
                return Poll::Ready(Ok(most));
            };
            match ready!(claim.poll_acquire(to_u64(most), context)) {
                Ok(granted) => {
                    return Poll::Ready(Ok(usize::try_from(granted).unwrap_or(most)));
                }
                Err(Refusal::Never) => return Poll::Ready(Err(Ending::Limit)),
                Err(Refusal::Retired) => self.renew(),
            }
        }
    }

    /// `bytes` of what was granted last did not move.
    pub(super) fn give_back(&mut self, bytes: usize) {
        if let Some(claim) = &mut self.claim {
            claim.give_back(to_u64(bytes));
        }
    }

    /// `bytes` have been written.
    pub(super) fn count(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(to_u64(bytes));
        self.account.count(self.direction, to_u64(bytes));
        if let Some(session) = &self.session {
            session.set_moved(self.direction, self.moved);
        }
    }

    /// Goes by what holds now; says whether that was something else before.
    pub(super) fn renews(&mut self) -> bool {
        let changed = !self.is_current();
        if changed {
            self.renew();
        }
        changed
    }

    fn renew(&mut self) {
        // The layout first: if it changes in between, we only come here again.
        self.layout = self.account.layout();
        self.claim = self
            .account
            .budget(self.direction)
            .map(|budget| budget.join());
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.end_wait();
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
