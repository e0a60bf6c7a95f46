//! One user as the running server knows them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use flow::{ByteRate, Policy};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::calendar::Moment;
use super::ledger::{Counters, Ledger};
use super::presence::{Place, Presence, TooMany};
use super::rules::{Beyond, Rules};
use super::store::{Delta, UserRow};
use super::waits::Waits;
use super::{Direction, Limits, Tag, Usage, User};
use crate::acl::RuleList;
use crate::budget::{Budget, Clock, Stake};

/// One user: lives as long as the user does, whatever connections come and go,
/// so that a new connection brings no new burst.
#[derive(Debug)]
pub(crate) struct Account {
    id: i64,
    name: String,
    created_at: Moment,
    clock: Clock,
    state: Mutex<State>,
    /// Grows when a direction gets another budget.
    layout: AtomicU64,
    presence: Presence,
    counters: Counters,
    waits: Waits,
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct State {
    password_hash: Arc<str>,
    enabled: bool,
    /// The user's own rules, and what holds with those for everybody.
    own: Rules,
    rules: Rules,
    standing: Standing,
    /// Whether the standing has been found out.
    is_known: bool,
    /// When the standing may change by itself.
    review_at: Option<Moment>,
    /// What the budgets were made of.
    applied: Limits,
    budgets: Budgets,
    /// Ended when the connections that were admitted under it must close.
    admission: Arc<Admission>,
}

/// What can be seen of a user from outside.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    /// What this process has counted.
    pub(crate) counted: Usage,
    /// Open connections.
    pub(crate) connections: u64,
    /// Where they come from.
    pub(crate) addresses: usize,
    /// Directions of connections that wait for a limit.
    pub(crate) waiting: u32,
    /// For how long at least one of them has waited.
    pub(crate) throttled: std::time::Duration,
}

/// Whether a user is within quota and expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Within.
    #[default]
    Good,
    /// The quota of the period is used up.
    OverQuota,
    /// The account has ended.
    Expired,
}

/// Why a user must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Revocation {
    /// Disabled, deleted, or with another password.
    #[error("the user was revoked")]
    Changed,
    /// See [`Standing::OverQuota`].
    #[error("the quota is used up")]
    OverQuota,
    /// See [`Standing::Expired`].
    #[error("the account has expired")]
    Expired,
    /// The database has been away for so long that nobody knows.
    #[error("the database has been away for too long")]
    Unknown,
}

#[derive(Debug, Default)]
struct Admission {
    over: CancellationToken,
    why: OnceLock<Revocation>,
}

/// At most one of `shared` and the other two.
#[derive(Debug, Default)]
struct Budgets {
    shared: Option<Arc<Budget>>,
    up: Option<Arc<Budget>>,
    down: Option<Arc<Budget>>,
    /// For directions without a limit, where the whole server has one.
    free: OnceLock<Arc<Budget>>,
    /// What each of them has of the limit of the whole server.
    stake: Stake,
}

/// Somebody who has proved who they are. Only a login makes one, and only with
/// one is a target dialled.
#[derive(Clone, Debug)]
pub struct Authenticated {
    account: Arc<Account>,
    admission: Arc<Admission>,
}

impl Account {
    /// A user who cannot log in until [`Account::update`].
    pub(crate) fn new(row: &UserRow, clock: Clock, ledger: Arc<Ledger>) -> Self {
        let state = State {
            password_hash: Arc::from(""),
            enabled: false,
            own: Rules::default(),
            rules: Rules::default(),
            standing: Standing::Good,
            is_known: false,
            review_at: None,
            applied: Limits::Unlimited,
            budgets: Budgets::default(),
            admission: Arc::default(),
        };
        Self {
            id: row.id,
            name: row.name.clone(),
            created_at: row.created_at,
            clock,
            state: Mutex::new(state),
            layout: AtomicU64::new(0),
            presence: Presence::default(),
            counters: Counters::default(),
            waits: Waits::default(),
            ledger,
        }
    }

    /// Whether the user may be served at all.
    #[cfg(feature = "shadowsocks")]
    pub(crate) fn is_enabled(&self) -> bool {
        self.state.lock().enabled
    }

    /// From how many addresses at once, if a rule says so.
    #[cfg(feature = "shadowsocks")]
    pub(crate) fn most_addresses(&self) -> Option<u64> {
        self.state.lock().rules.max_addresses?.most()
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
        let period = self.counters.period();
        User {
            name: self.name.clone(),
            enabled: state.enabled,
            created_at: self.created_at,
            limits: state.rules.limits.unwrap_or_default(),
            own: state.own.clone(),
            rules: state.rules.clone(),
            standing: state.standing,
            usage: self.usage(),
            period,
            period_end: state.rules.period().around(period.start).end,
        }
    }

    pub(crate) fn tagged(&self) -> (User, Tag) {
        let tag = {
            let state = self.state.lock();
            Tag::of(self.id, &state.password_hash, state.enabled, &state.own)
        };
        (self.user(), tag)
    }

    pub(crate) fn password_hash(&self) -> Arc<str> {
        Arc::clone(&self.state.lock().password_hash)
    }

    /// Lets somebody in who has the password that `hash` was made of.
    ///
    /// # Errors
    /// Why not: it has changed meanwhile, the user is disabled, or beyond
    /// quota or expiry.
    pub(crate) fn admit(self: Arc<Self>, hash: &str) -> Result<Authenticated, Revocation> {
        self.admit_if(|password_hash| *password_hash == *hash)
    }

    /// As [`Account::admit`], for somebody who has proved it by a key of the user's.
    #[cfg(feature = "shadowsocks")]
    pub(crate) fn admit_by_key(self: Arc<Self>) -> Result<Authenticated, Revocation> {
        self.admit_if(|_| true)
    }

    fn admit_if(self: Arc<Self>, fits: impl Fn(&str) -> bool) -> Result<Authenticated, Revocation> {
        if self.ledger.contact.is_lost() {
            return Err(Revocation::Unknown);
        }
        let now = Moment::now();
        let mut state = self.state.lock();
        if state.review_at.is_some_and(|at| at <= now) {
            self.review_locked(&mut state, now);
        }
        if !state.enabled || !fits(&state.password_hash) {
            return Err(Revocation::Changed);
        }
        if let Some(why) = state.refused() {
            return Err(why);
        }
        let admission = Arc::clone(&state.admission);
        drop(state);
        Ok(Authenticated {
            account: self,
            admission,
        })
    }

    /// Takes over what the database says; says when to [`Account::review`] it.
    pub(crate) fn update(
        &self,
        row: &UserRow,
        own: Rules,
        everybody: &Rules,
        now: Moment,
    ) -> Option<Moment> {
        self.counters.set_stored(row.booked);
        let mut state = self.state.lock();
        if !row.enabled || *state.password_hash != *row.password_hash {
            self.close_all(&mut state, Revocation::Changed);
        }
        state.enabled = row.enabled;
        if *state.password_hash != *row.password_hash {
            state.password_hash = row.password_hash.as_str().into();
        }
        state.rules = own.clone().or(everybody);
        state.own = own;
        self.review_locked(&mut state, now)
    }

    /// Finds out whether the user is within quota and expiry, and what follows;
    /// says when to do so again.
    pub(crate) fn review(&self, now: Moment) -> Option<Moment> {
        self.review_locked(&mut self.state.lock(), now)
    }

    fn review_locked(&self, state: &mut State, now: Moment) -> Option<Moment> {
        let span = state.rules.period().around(now);
        let over = self.counters.watch(state.rules.quota_bytes(), span);
        let end = state.rules.end();
        let standing = match end {
            Some(end) if end <= now => Standing::Expired,
            _ if over => Standing::OverQuota,
            _ => Standing::Good,
        };
        if state.is_known && state.standing != standing {
            tracing::info!(user = %self.name.escape_debug(), before = ?state.standing, now = ?standing, "standing changed");
        }
        state.standing = standing;
        state.is_known = true;
        if let Some(why) = state.refused() {
            self.close_all(state, why);
        }
        let limits = state.limits();
        let stake = state.rules.stake();
        if state.applied != limits || state.budgets.stake != stake {
            state.applied = limits;
            if state.budgets.change(limits, stake, &self.clock) {
                self.layout.fetch_add(1, Ordering::Release);
            }
        }
        let later = [span.end, end.filter(|end| *end > now)];
        state.review_at = later.into_iter().flatten().min();
        state.review_at
    }

    /// Closes every connection and lets nobody in again.
    pub(crate) fn revoke(&self) {
        let mut state = self.state.lock();
        state.enabled = false;
        self.close_all(&mut state, Revocation::Changed);
    }

    /// Closes every connection; what is under way is looked at anew before more of it moves.
    fn close_all(&self, state: &mut State, why: Revocation) {
        state.close_all(why);
        self.layout.fetch_add(1, Ordering::Release);
    }

    /// Grows whenever [`Account::budget`] would answer anew, and when connections are closed.
    pub(crate) fn layout(&self) -> u64 {
        self.layout.load(Ordering::Acquire)
    }

    /// What a direction draws from; `None` is no limit. Under a limit of the whole
    /// server those without one of their own draw from that.
    pub(crate) fn budget(&self, direction: Direction) -> Option<Arc<Budget>> {
        let budgets = &self.state.lock().budgets;
        let own = match direction {
            Direction::Up => &budgets.up,
            Direction::Down => &budgets.down,
        };
        let limited = budgets.shared.as_ref().or(own.as_ref());
        limited.map(Arc::clone).or_else(|| {
            self.clock.cap()?;
            let free = || {
                let budget = Budget::new(Policy::None, self.clock.clone());
                Arc::new(budget.with_stake(budgets.stake))
            };
            Some(Arc::clone(budgets.free.get_or_init(free)))
        })
    }

    /// What is assured to a user who may log in, bytes per second; where their rules say
    /// nothing of it, `everybody` to each budget.
    pub(crate) fn floors(&self, everybody: Option<ByteRate>) -> u64 {
        let state = self.state.lock();
        match state.enabled {
            true => state.rules.floors(everybody),
            false => 0,
        }
    }

    /// The rules about targets.
    pub(crate) fn egress(&self) -> RuleList {
        self.state.lock().rules.egress.clone().unwrap_or_default()
    }

    /// Bytes that may be counted before the quota is used up, at least one.
    pub(crate) fn left_of_quota(&self) -> u64 {
        self.counters.left_of_quota()
    }

    /// Counts payload that has been written to the other side.
    pub(crate) fn count(self: &Arc<Self>, direction: Direction, bytes: u64) {
        if self.ledger.count(self, direction, bytes) {
            self.review(Moment::now());
        }
    }

    /// What can be seen of the user from outside now.
    #[cfg(feature = "admin")]
    pub(crate) fn live(&self) -> Live {
        let (waiting, throttled) = self.waits.figures();
        let (connections, addresses) = self.presence.figures();
        Live {
            counted: self.counters.counted(),
            connections,
            addresses,
            waiting,
            throttled,
        }
    }

    /// Whether the user may log in, and whether they are within quota and expiry.
    #[cfg(feature = "admin")]
    pub(crate) fn standing(&self) -> (bool, Standing) {
        let state = self.state.lock();
        (state.enabled, state.standing)
    }

    /// What the budgets would let pass now: of both directions, up, down.
    #[cfg(feature = "admin")]
    pub(crate) fn tokens(&self) -> [Option<u64>; 3] {
        let state = self.state.lock();
        let Budgets {
            shared, up, down, ..
        } = &state.budgets;
        [shared, up, down].map(|budget| Some(budget.as_ref()?.available()))
    }

    /// The limits that hold with the standing that the user has.
    #[cfg(feature = "admin")]
    pub(crate) fn applied(&self) -> Limits {
        self.state.lock().applied
    }

    /// One more direction of a connection waits for a limit.
    pub(crate) fn wait(&self) {
        self.waits.begin();
    }

    /// One of them waits no more.
    pub(crate) fn end_wait(&self) {
        self.waits.end();
    }

    /// What the database does not know of yet.
    pub(crate) fn delta(&self) -> Delta {
        self.counters.taken(self.id)
    }
}

impl State {
    fn close_all(&mut self, why: Revocation) {
        let admission = std::mem::take(&mut self.admission);
        // The first reason is the one that counts.
        let _ = admission.why.set(why);
        admission.over.cancel();
    }

    /// Why the user may not be connected, as far as quota and expiry go.
    fn refused(&self) -> Option<Revocation> {
        if matches!(self.rules.beyond, Some(Beyond::SlowTo(_))) {
            return None;
        }
        match self.standing {
            Standing::Good => None,
            Standing::OverQuota => Some(Revocation::OverQuota),
            Standing::Expired => Some(Revocation::Expired),
        }
    }

    /// The limits that hold with this standing.
    fn limits(&self) -> Limits {
        let limits = self.rules.limits.unwrap_or_default();
        match (self.standing, self.rules.beyond) {
            (Standing::OverQuota | Standing::Expired, Some(Beyond::SlowTo(rate))) => {
                Beyond::slowed(limits, rate)
            }
            _ => limits,
        }
    }
}

impl Budgets {
    /// Whether a direction has another budget now.
    fn change(&mut self, limits: Limits, stake: Stake, clock: &Clock) -> bool {
        let [shared, up, down] = limits.policies();
        self.stake = stake;
        let made = |policy| Arc::new(Budget::new(policy, clock.clone()).with_stake(stake));
        // Not short-circuiting: each of the three must be changed.
        let changed = change(&mut self.shared, shared, made)
            | change(&mut self.up, up, made)
            | change(&mut self.down, down, made);
        let limited = [&self.shared, &self.up, &self.down].into_iter().flatten();
        limited
            .chain(self.free.get())
            .for_each(|budget| budget.set_stake(stake));
        changed
    }
}

fn change(
    budget: &mut Option<Arc<Budget>>,
    policy: Option<Policy>,
    made: impl Fn(Policy) -> Arc<Budget>,
) -> bool {
    match (budget.as_ref(), policy) {
        (None, None) => false,
        (Some(budget), Some(policy)) => {
            budget.set_policy(policy);
            false
        }
        (None, Some(policy)) => {
            *budget = Some(made(policy));
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

    /// Returns when the user must not go on, and why.
    pub(crate) async fn revoked(&self) -> Revocation {
        self.admission.over.cancelled().await;
        let why = self.admission.why.get();
        why.copied().unwrap_or(Revocation::Changed)
    }

    /// Counts one more connection of the user, from `source`, while the guard
    /// lives; where no rule says how many a user may have, `most`.
    ///
    /// # Errors
    /// [`TooMany`]
    pub(crate) fn connection(
        &self,
        most: usize,
        source: IpAddr,
    ) -> Result<ConnectionCount, TooMany> {
        let addresses = self.account.state.lock().rules.max_addresses;
        self.counted(most, source, addresses.and_then(|cap| cap.most()))
    }

    /// As [`Authenticated::connection`], where a new address is never one too many.
    ///
    /// # Errors
    /// [`TooMany::Connections`]
    #[cfg(feature = "shadowsocks")]
    pub(crate) fn connection_from_anywhere(
        &self,
        most: usize,
        source: IpAddr,
    ) -> Result<ConnectionCount, TooMany> {
        self.counted(most, source, None)
    }

    fn counted(
        &self,
        most: usize,
        source: IpAddr,
        addresses: Option<u64>,
    ) -> Result<ConnectionCount, TooMany> {
        let rule = self.account.state.lock().rules.max_connections;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let connections = rule.map_or(Some(most), |cap| cap.most());
        let account = Arc::clone(&self.account);
        let place = account.presence.enter(source, connections, addresses)?;
        Ok(ConnectionCount { account, place })
    }
}

/// One open connection of a user.
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    account: Arc<Account>,
    place: Place,
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.account.presence.leave(self.place);
    }
}

#[cfg(test)]
mod tests;
