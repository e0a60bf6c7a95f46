//! Accounts: who may use the proxy, within which limits, and what they have used.
//!
//! The database is the truth; everybody in it is also held in memory, so that
//! a login reads no table and a relay asks only the account. A change made
//! through [`Users`] takes hold at once; one made by another process (the
//! command line) when the server next looks, ten times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;

use crate::budget::Clock;
use crate::protocol::Credentials;

mod account;
mod ledger;
mod limits;
mod password;
mod store;

pub(crate) use account::Account;
pub use account::Authenticated;
pub use limits::{Direction, LimitError, Limits, token_bucket};
pub use password::{MAX_PASSWORD_LEN, PasswordCost, PasswordError};
pub use store::{Database, StoreError};

use ledger::Ledger;
use password::Passwords;
use store::{Change, NewRow, Store, UserRow};

/// The longest name: what a SOCKS5 client can send (RFC 1929).
pub const MAX_NAME_LEN: usize = 255;

/// Everybody who may use the proxy: a handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    passwords: Passwords,
    clock: Clock,
    accounts: RwLock<HashMap<String, Arc<Account>>>,
    /// What `accounts` was read at.
    revision: AtomicI64,
    ledger: Arc<Ledger>,
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
    /// The limits.
    pub limits: Limits,
}

/// A user, as far as an operator sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// The limits.
    pub limits: Limits,
    /// Payload bytes so far.
    pub usage: Usage,
}

/// Payload bytes, counted when written to the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From clients to targets.
    pub upload_bytes: u64,
    /// From targets to clients.
    pub download_bytes: u64,
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
    /// The name is none.
    #[error(
        "{name:?} is no name: 1 to {MAX_NAME_LEN} bytes without white space and control characters"
    )]
    Name {
        /// What was given.
        name: String,
    },
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Unknown name, wrong password or disabled user: which, nobody is told.
    #[error("name or password is wrong")]
    Refused,
    /// Not the client's fault.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl Users {
    /// Opens the database (and makes it if there is none); new passwords are
    /// hashed at `cost`.
    ///
    /// # Errors
    /// [`UserError`]
    pub async fn open(database: &Database, cost: PasswordCost) -> Result<Self, UserError> {
        let inner = Inner {
            store: Store::open(database).await?,
            passwords: Passwords::new(cost)?,
            clock: Clock::new(),
            accounts: RwLock::default(),
            revision: AtomicI64::new(0),
            ledger: Arc::default(),
            writing: tokio::sync::Mutex::default(),
        };
        let users = Self(Arc::new(inner));
        users.reload().await?;
        Ok(users)
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
        let mut rows = Vec::new();
        for user in users {
            let name = checked_name(user.name)?;
            let password_hash = self.0.passwords.hash(&user.password).await?;
            rows.push(NewRow {
                name,
                password_hash,
                limits: user.limits.to_text(),
            });
        }
        self.0.store.insert(&rows).await?;
        self.reload().await
    }

    /// Changes the limits; open connections feel it with their next bytes.
    ///
    /// Where only the rate differs, the credit earned so far is kept.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_limits(&self, name: &str, limits: Limits) -> Result<(), UserError> {
        self.change(name, Change::Limits(limits.to_text())).await
    }

    /// Changes the password and closes the user's connections.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_password(&self, name: &str, password: &[u8]) -> Result<(), UserError> {
        let hash = self.0.passwords.hash(password).await?;
        self.change(name, Change::PasswordHash(hash)).await
    }

    /// Lets a user log in, or closes their connections and does not.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), UserError> {
        self.change(name, Change::Enabled(enabled)).await
    }

    /// Closes a user's connections and forgets them, usage and all.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or another [`UserError`].
    pub async fn remove(&self, name: &str) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        let revision = self.0.store.delete(name).await?;
        if let Some(account) = self.0.accounts.write().remove(name) {
            account.revoke();
        }
        self.follow(revision);
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

    /// What a user has used up to this moment, flushed or not.
    #[must_use]
    pub fn usage(&self, name: &str) -> Option<Usage> {
        self.0
            .accounts
            .read()
            .get(name)
            .map(|account| account.usage())
    }

    /// Checks a name and a password; costs the same whether the name exists or not.
    pub(crate) async fn authenticate(
        &self,
        credentials: &Credentials,
    ) -> Result<Authenticated, LoginError> {
        let name = std::str::from_utf8(&credentials.name).unwrap_or_default();
        let account = self.0.accounts.read().get(name).map(Arc::clone);
        let hash = account.as_ref().map(|account| account.password_hash());
        let fits = self
            .0
            .passwords
            .verify(hash.clone(), &credentials.password)
            .await?;
        let (Some(account), Some(hash), true) = (account, hash, fits) else {
            return Err(LoginError::Refused);
        };
        account.admit(&hash).ok_or(LoginError::Refused)
    }

    /// Writes what was counted since the last time; what cannot be written now
    /// is written next time.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let _writing = self.0.writing.lock().await;
        self.0.ledger.flush(&self.0.store).await
    }

    /// Reads everybody again if another process has changed somebody.
    pub(crate) async fn refresh(&self) -> Result<(), UserError> {
        if self.0.store.revision().await? == self.0.revision.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.reload().await
    }

    async fn change(&self, name: &str, change: Change) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        let (revision, row) = self.0.store.change(name, &change).await?;
        let known = self.0.accounts.read().get(name).map(Arc::clone);
        let updated = self.updated(known, row);
        let mut accounts = self.0.accounts.write();
        match updated {
            Some(account) => accounts.insert(name.to_owned(), account),
            None => accounts.remove(name),
        };
        drop(accounts);
        self.follow(revision);
        Ok(())
    }

    /// The accounts are as of `revision`, which one change has led to, unless
    /// others have made changes too: then the next [`Users::refresh`] reads them.
    fn follow(&self, revision: i64) {
        let before = revision.wrapping_sub(1);
        let _ = self.0.revision.compare_exchange(
            before,
            revision,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    async fn reload(&self) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        let (revision, rows) = self.0.store.users().await?;
        let mut accounts = self.0.accounts.write();
        let mut before = std::mem::take(&mut *accounts);
        for row in rows {
            let known = before.remove(&row.name);
            if let Some(account) = self.updated(known, row) {
                accounts.insert(account.name().to_owned(), account);
            }
        }
        before.values().for_each(|gone| gone.revoke());
        self.0.revision.store(revision, Ordering::Relaxed);
        Ok(())
    }

    /// The account of a row: the one we know if it is the same user, which
    /// keeps its connections, budgets and counters.
    fn updated(&self, known: Option<Arc<Account>>, row: UserRow) -> Option<Arc<Account>> {
        let limits = match Limits::from_text(&row.limits) {
            Ok(limits) => limits,
            Err(error) => {
                tracing::error!(name = %row.name, %error, "a user has limits that we cannot read, and is locked out");
                known.inspect(|account| account.revoke());
                return None;
            }
        };
        let known = known.filter(|account| {
            let same = account.id() == row.id;
            if !same {
                account.revoke();
            }
            same
        });
        let account = known.unwrap_or_else(|| {
            let (clock, ledger) = (self.0.clock.clone(), Arc::clone(&self.0.ledger));
            Arc::new(Account::new(row.id, row.name.clone(), clock, ledger))
        });
        account.update(&row, limits);
        Some(account)
    }
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn checked_name(name: String) -> Result<String, UserError> {
    let length = (1..=MAX_NAME_LEN).contains(&name.len());
    if length && !name.contains(|c: char| c.is_control() || c.is_whitespace()) {
        Ok(name)
    } else {
        Err(UserError::Name { name })
    }
}
