//! Accounts: who may use the proxy, within which limits, and what they have used.
//!
//! The database is the truth; everybody in it is also held in memory, so that
//! a login reads no table and a relay asks only the account. A change made
//! through [`Users`] takes hold at once; one made by another process (the
//! command line) when the server next looks, ten times a second.

use std::collections::HashMap;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::budget::{self, Clock};

mod account;
mod agenda;
mod books;
mod calendar;
mod contact;
mod edit;
mod floors;
mod journal;
mod ledger;
mod legacy;
mod limits;
mod lockout;
mod login;
mod password;
mod presence;
mod record;
mod rules;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod stake;
mod store;
#[cfg(any(feature = "admin", feature = "cli"))]
pub mod view;
mod waits;

pub(crate) use account::Account;
pub(crate) use account::ConnectionCount;
#[cfg(feature = "admin")]
pub(crate) use account::Live;
pub use account::{Authenticated, Revocation, Standing};
pub use calendar::{CalendarError, Moment, Period, Span};
pub use edit::{Audit, AuditEntry, Tag, UserChange};
pub use floors::{Overcommitted, check_floors};
pub use legacy::{LegacyError, LegacyUser, LegacyUsers, read_legacy};
pub use limits::{Bandwidth, Direction, LimitError, Limits, token_bucket};
pub use login::LoginError;
#[cfg(feature = "https-service")]
pub(crate) use password::random;
pub use password::{MAX_PASSWORD_LEN, PasswordCost, PasswordError, random_password};
pub(crate) use presence::{Network, TooMany};
pub use record::{Secret, UserRecord};
pub use rules::{Beyond, Cap, Expiry, Quota, RuleError, Rules, RulesChange};
#[cfg(feature = "shadowsocks")]
pub use shadowsocks::{Access, Report, Subscriber, name_of};
pub use stake::{FloorRule, Weight};
pub use store::{Database, StoreError};

use agenda::Agenda;
use journal::Journal;
use ledger::Ledger;
use lockout::Lockout;
use password::Passwords;
use store::{Change, Store};

/// The longest name: what a SOCKS5 client can send (RFC 1929).
pub const MAX_NAME_LEN: usize = 255;

/// Everybody who may use the proxy: a handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    passwords: Passwords,
    lockout: Lockout,
    clock: Clock,
    /// What is above all of them, if anything is.
    bandwidth: Mutex<Option<Bandwidth>>,
    /// The floors, bytes per second, that an operator was last told not to fit; 0: they do.
    floors_told: AtomicU64,
    accounts: RwLock<HashMap<String, Arc<Account>>>,
    /// The rules for everybody.
    everybody: RwLock<Rules>,
    /// When to look at whom again.
    agenda: Agenda,
    /// What `accounts` was read at.
    revision: AtomicI64,
    ledger: Arc<Ledger>,
    /// Where usage is kept while the database is away.
    journal: OnceLock<Journal>,
    /// One at a time writes there.
    keeping: tokio::sync::Mutex<()>,
    #[cfg(feature = "shadowsocks")]
    access: shadowsocks::Accesses,
    /// Changes and flushes, one at a time.
    writing: tokio::sync::Mutex<()>,
}

/// A user to be added.
#[derive(Clone)]
pub struct NewUser {
    /// The name: 1 to [`MAX_NAME_LEN`] bytes, no control characters, no white space.
    pub name: String,
    /// The password, 1 to [`MAX_PASSWORD_LEN`] bytes.
    pub password: Vec<u8>,
    /// The user's own rules; [`Limits`] turn into rules that say nothing else.
    pub rules: Rules,
}

/// A user, as far as an operator sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// When the account was made.
    pub created_at: Moment,
    /// The limits, own or for everybody, while the standing is good.
    pub limits: Limits,
    /// The user's own rules.
    pub own: Rules,
    /// The rules that hold: own ones, and where they say nothing those for everybody.
    pub rules: Rules,
    /// Whether they are within quota and expiry.
    pub standing: Standing,
    /// Payload bytes so far.
    pub usage: Usage,
    /// Payload bytes of the current period.
    pub period: PeriodUsage,
    /// When the current period ends, if it does.
    pub period_end: Option<Moment>,
}

/// Payload bytes, counted when written to the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From clients to targets.
    pub upload_bytes: u64,
    /// From targets to clients.
    pub download_bytes: u64,
}

/// Payload bytes of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodUsage {
    /// The first instant of the period.
    pub start: Moment,
    /// What was moved in it. Bytes belong to the period in which they are
    /// written to the database.
    pub usage: Usage,
}

/// Why an account could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The rules for everybody cannot be read.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A password that is no key of its shadowsocks method.
    #[cfg(feature = "shadowsocks")]
    #[error("shadowsocks: {0}")]
    Key(#[from] crate::protocol::shadowsocks::KeyError),
    /// What was given as a hash is none.
    #[error("the password hash is no Argon2 hash in PHC form ($argon2id$v=19$...)")]
    Hash,
    /// The name is none.
    #[error(
        "{name:?} is no name: 1 to {MAX_NAME_LEN} bytes without white space and control characters"
    )]
    Name {
        /// What was given.
        name: String,
    },
}

impl Users {
    /// Opens the database (and makes it if there is none); new passwords are
    /// hashed at `cost`.
    ///
    /// # Errors
    /// [`UserError`]
    pub async fn open(database: &Database, cost: PasswordCost) -> Result<Self, UserError> {
        let inner = Inner {
            store: Store::open(database, writer_name()?).await?,
            passwords: Passwords::new(cost)?,
            lockout: Lockout::default(),
            clock: Clock::new(),
            bandwidth: Mutex::default(),
            floors_told: AtomicU64::new(0),
            accounts: RwLock::default(),
            everybody: RwLock::default(),
            agenda: Agenda::default(),
            revision: AtomicI64::new(0),
            ledger: Arc::default(),
            journal: OnceLock::new(),
            keeping: tokio::sync::Mutex::default(),
            #[cfg(feature = "shadowsocks")]
            access: shadowsocks::Accesses::default(),
            writing: tokio::sync::Mutex::default(),
        };
        let users = Self(Arc::new(inner));
        users.reload().await?;
        Ok(users)
    }

    /// Lets go of the database, when nothing is to be written any more: a file of
    /// SQLite's is whole by itself then. The accounts can still be read.
    pub async fn close(&self) {
        self.0.store.close().await;
    }

    /// Puts a limit above those of all users; from then on only the limit itself
    /// can be changed.
    pub(crate) fn set_bandwidth(&self, bandwidth: Bandwidth) {
        match self.0.clock.cap() {
            Some(cap) => cap.set_policy(bandwidth.limit),
            None => {
                let cap = budget::Cap::new(bandwidth.limit, bandwidth.floor, Clock::new());
                self.0.clock.set_cap(cap);
            }
        }
        *self.0.bandwidth.lock() = Some(bandwidth);
        self.weigh_floors();
    }

    /// How long a database that is away keeps nobody out.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.0.ledger.contact.set_patience(patience);
    }

    /// Adds one user.
    ///
    /// # Errors
    /// [`UserError`]; [`StoreError::Exists`] if the name is taken.
    pub async fn add(&self, user: NewUser) -> Result<(), UserError> {
        self.add_many([user]).await
    }

    /// Adds all of `users` or none.
    ///
    /// # Errors
    /// [`UserError`]; [`StoreError::Exists`] for the first name that is taken.
    pub async fn add_many(
        &self,
        users: impl IntoIterator<Item = NewUser>,
    ) -> Result<(), UserError> {
        self.import(users.into_iter().map(UserRecord::from)).await
    }

    /// Changes the limits; open connections feel it with their next bytes.
    ///
    /// Where only the rate differs, the credit earned so far is kept.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_limits(&self, name: &str, limits: Limits) -> Result<(), UserError> {
        let change = RulesChange {
            limits: Some(Some(limits)),
            ..RulesChange::default()
        };
        self.set_rules(name, change).await
    }

    /// Changes some of a user's rules. Open connections feel a limit, a quota
    /// and an expiry at once; caps on connections and addresses hold for new ones.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_rules(&self, name: &str, change: RulesChange) -> Result<(), UserError> {
        self.change(name, &[Change::Rules(change)], None, None)
            .await
    }

    /// The rules for everybody.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.0.everybody.read().clone()
    }

    /// Changes some of the rules for everybody.
    ///
    /// # Errors
    /// [`UserError`]
    pub async fn set_everybodys_rules(&self, change: RulesChange) -> Result<(), UserError> {
        self.0.store.change_rules(&change, None, None).await?;
        self.reload().await
    }

    /// Changes the password and closes the user's connections.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_password(&self, name: &str, password: &[u8]) -> Result<(), UserError> {
        let hash = self.0.passwords.hash(password).await?;
        self.change(name, &[Change::PasswordHash(hash)], None, None)
            .await
    }

    /// Lets a user log in, or closes their connections and does not.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), UserError> {
        self.change(name, &[Change::Enabled(enabled)], None, None)
            .await
    }

    /// Closes a user's connections and forgets them, usage and all.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn remove(&self, name: &str) -> Result<(), UserError> {
        self.forget(name, None, None).await
    }

    async fn forget(
        &self,
        name: &str,
        expected: Option<&Tag>,
        audit: Option<&Audit<'_>>,
    ) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        let revision = self.0.store.delete(name, expected, audit).await?;
        if let Some(account) = self.0.accounts.write().remove(name) {
            account.revoke();
        }
        self.follow(revision, 1);
        self.weigh_floors();
        self.tell();
        Ok(())
    }

    /// One user; `None` if there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<User> {
        self.0
            .accounts
            .read()
            .get(name)
            .map(|account| account.user())
    }

    /// Everybody, in order of name.
    #[must_use]
    pub fn list(&self) -> Vec<User> {
        let mut users: Vec<_> = self
            .0
            .accounts
            .read()
            .values()
            .map(|account| account.user())
            .collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// The names that `wanted` says yes to, in order.
    #[cfg(feature = "admin")]
    pub(crate) fn names(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let accounts = self.0.accounts.read();
        let mut names: Vec<_> = accounts
            .keys()
            .filter(|name| wanted(name))
            .cloned()
            .collect();
        drop(accounts);
        names.sort_unstable();
        names
    }

    /// What the limit of all users would let pass now.
    #[cfg(feature = "admin")]
    pub(crate) fn cap_tokens(&self) -> Option<u64> {
        self.0.clock.cap().map(budget::Cap::available)
    }

    /// Everybody's account.
    #[cfg(feature = "admin")]
    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        self.0.accounts.read().values().map(Arc::clone).collect()
    }

    /// One user's account.
    #[cfg(feature = "admin")]
    pub(crate) fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.0.accounts.read().get(name).map(Arc::clone)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.accounts.read().len()
    }

    /// What a user has used up to this moment, flushed or not.
    #[must_use]
    pub fn usage(&self, name: &str) -> Option<Usage> {
        self.0
            .accounts
            .read()
            .get(name)
            .map(|account| account.usage())
    }
}

impl Usage {
    /// Both directions.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.upload_bytes.saturating_add(self.download_bytes)
    }

    /// The larger of both, in each direction.
    fn or_more(self, other: Self) -> Self {
        Self {
            upload_bytes: self.upload_bytes.max(other.upload_bytes),
            download_bytes: self.download_bytes.max(other.download_bytes),
        }
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            upload_bytes: self.upload_bytes.saturating_add(other.upload_bytes),
            download_bytes: self.download_bytes.saturating_add(other.download_bytes),
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            upload_bytes: self.upload_bytes.saturating_sub(other.upload_bytes),
            download_bytes: self.download_bytes.saturating_sub(other.download_bytes),
        }
    }
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

fn checked_name(name: &str) -> Result<(), UserError> {
    let length = (1..=MAX_NAME_LEN).contains(&name.len());
    if length && !name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        Ok(())
    } else {
        Err(UserError::Name {
            name: name.to_owned(),
        })
    }
}

/// A name that no other process has.
fn writer_name() -> Result<String, PasswordError> {
    Ok(format!("{:032x}", u128::from_ne_bytes(password::random()?)))
}
