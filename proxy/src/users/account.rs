//! One user as the running server knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use flow::Policy;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::ledger::{Counters, Ledger};
use super::store::UserRow;
use super::{Direction, Limits, Usage, User};
use crate::budget::{Budget, Clock};

/// One user: lives as long as the user does, whatever connections come and go,
/// so that a new connection brings no new burst.
#[derive(Debug)]
pub(crate) struct Account {
    id: i64,
    name: String,
    clock: Clock,
    state: Mutex<State>,
    /// Grows when a direction gets another budget.
    layout: AtomicU64,
    connections: AtomicUsize,
    counters: Counters,
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct State {
    password_hash: Arc<str>,
    enabled: bool,
    limits: Limits,
    budgets: Budgets,
    /// Cancelled when the connections that were admitted under it must close.
    admission: CancellationToken,
}

/// At most one of `shared` and the other two.
#[derive(Debug, Default)]
struct Budgets {
    shared: Option<Arc<Budget>>,
    up: Option<Arc<Budget>>,
    down: Option<Arc<Budget>>,
}

/// Somebody who has proved who they are. Only a login makes one, and only with
/// one is a target dialled.
#[derive(Debug)]
pub struct Authenticated {
    account: Arc<Account>,
    admission: CancellationToken,
}

impl Account {
    /// A user who cannot log in until [`Account::update`].
    pub(crate) fn new(id: i64, name: String, clock: Clock, ledger: Arc<Ledger>) -> Self {
        let state = State {
            password_hash: Arc::from(""),
            enabled: false,
            limits: Limits::Unlimited,
            budgets: Budgets::default(),
            admission: CancellationToken::new(),
        };
        Self {
            id,
            name,
            clock,
            state: Mutex::new(state),
            layout: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            counters: Counters::default(),
            ledger,
        }
    }

    pub(crate) const fn id(&self) -> i64 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn usage(&self) -> Usage {
        self.counters.usage()
    }

    pub(crate) fn user(&self) -> User {
        let state = self.state.lock();
        User {
            name: self.name.clone(),
            enabled: state.enabled,
            limits: state.limits,
            usage: self.usage(),
        }
    }

    pub(crate) fn password_hash(&self) -> Arc<str> {
        Arc::clone(&self.state.lock().password_hash)
    }

    /// Lets somebody in who has the password that `hash` was made of, unless
    /// it has changed meanwhile or the user is disabled.
    pub(crate) fn admit(self: Arc<Self>, hash: &str) -> Option<Authenticated> {
        let state = self.state.lock();
        let admitted = state.enabled && *state.password_hash == *hash;
        let admission = state.admission.clone();
        drop(state);
        admitted.then_some(Authenticated {
            account: self,
            admission,
        })
    }

    /// Takes over what the database says.
    pub(crate) fn update(&self, row: &UserRow, limits: Limits) {
        self.counters.set_stored(row.usage);
        let mut state = self.state.lock();
        if !row.enabled || *state.password_hash != *row.password_hash {
            state.close_all();
        }
        state.enabled = row.enabled;
        if *state.password_hash != *row.password_hash {
            state.password_hash = row.password_hash.as_str().into();
        }
        if state.limits != limits {
            state.limits = limits;
            if state.budgets.change(limits, &self.clock) {
                self.layout.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Closes every connection and lets nobody in again.
    pub(crate) fn revoke(&self) {
        let mut state = self.state.lock();
        state.enabled = false;
        state.close_all();
    }

    /// Grows whenever [`Account::budget`] would answer anew.
    pub(crate) fn layout(&self) -> u64 {
        self.layout.load(Ordering::Acquire)
    }

    /// What a direction draws from; `None` is no limit.
    pub(crate) fn budget(&self, direction: Direction) -> Option<Arc<Budget>> {
        let budgets = &self.state.lock().budgets;
        let own = match direction {
            Direction::Up => &budgets.up,
            Direction::Down => &budgets.down,
        };
        budgets.shared.as_ref().or(own.as_ref()).map(Arc::clone)
    }

    /// Counts payload that has been written to the other side.
    pub(crate) fn count(self: &Arc<Self>, direction: Direction, bytes: u64) {
        self.ledger.count(self, direction, bytes);
    }
}

impl State {
    fn close_all(&mut self) {
        std::mem::take(&mut self.admission).cancel();
    }
}

impl Budgets {
    /// Whether a direction has another budget now.
    fn change(&mut self, limits: Limits, clock: &Clock) -> bool {
        let [shared, up, down] = limits.policies();
        // Not short-circuiting: each of the three must be changed.
        change(&mut self.shared, shared, clock)
            | change(&mut self.up, up, clock)
            | change(&mut self.down, down, clock)
    }
}

fn change(budget: &mut Option<Arc<Budget>>, policy: Option<Policy>, clock: &Clock) -> bool {
    match (budget.as_ref(), policy) {
        (None, None) => false,
        (Some(budget), Some(policy)) => {
            budget.set_policy(policy);
            false
        }
        (None, Some(policy)) => {
            *budget = Some(Arc::new(Budget::new(policy, clock.clone())));
            true
        }
        (Some(old), None) => {
            old.retire();
            *budget = None;
            true
        }
    }
}

impl Authenticated {
    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.account.name()
    }

    pub(crate) const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Returns when the user must not go on.
    pub(crate) async fn revoked(&self) {
        self.admission.cancelled().await;
    }

    /// Counts one more connection of the user while the guard lives; `None`
    /// if there are `most` already.
    pub(crate) fn connection(&self, most: usize) -> Option<ConnectionCount> {
        let count = ConnectionCount(Arc::clone(&self.account));
        let before = self.account.connections.fetch_add(1, Ordering::AcqRel);
        (before < most).then_some(count)
    }
}

/// One open connection of a user.
#[derive(Debug)]
pub(crate) struct ConnectionCount(Arc<Account>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}
