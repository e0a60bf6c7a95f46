//! What users' shadowsocks clients are told: a port, a method, a password.
//!
//! The keys derive from the password, so it is kept in the clear, apart from
//! the hashed one that the other protocols ask for: neither opens the other's door.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::account::Account;
use super::store::{Reported, StoreError};
use super::{Rules, Secret, UserError, UserRecord, Users, random_password};
use crate::protocol::shadowsocks::{KeyError, Keys, Method};

/// A user's access by shadowsocks; `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The number by which panels and gRPC call the user.
    pub number: Option<i64>,
    /// The port, not 0.
    pub port: u16,
    /// The cipher.
    pub method: Method,
    /// A password; for the 2022 edition a key in base64, or "key of the port:key of the user".
    pub password: String,
}

/// Everybody's access, as the database has it.
#[derive(Debug)]
pub(super) struct Accesses {
    /// By the user's id.
    known: RwLock<HashMap<i64, Arc<Access>>>,
    changed: watch::Sender<u64>,
}

/// One user on the way into the database from a file or a panel.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// What the clients are told; the number names the user.
    pub access: Access,
    /// Whether they may connect.
    pub enabled: bool,
    /// The limits, if something is said about them.
    pub limits: Option<super::Limits>,
}

/// What a user with a number has used, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The user's number.
    pub number: i64,
    /// Payload that is in the report and was in none before.
    pub usage: super::Usage,
}

impl Default for Accesses {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Accesses {
    /// Has whoever serves look at everybody again.
    pub(super) fn touch(&self) {
        self.changed
            .send_modify(|times| *times = times.wrapping_add(1));
    }
}

impl Access {
    /// The keys.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn keys(&self) -> Result<Keys, KeyError> {
        Keys::parse(self.method, &self.password)
    }
}

/// What a user of this number is called.
#[must_use]
pub fn name_of(number: i64) -> String {
    format!("ss-{number}")
}

impl Users {
    /// Lets a user in by shadowsocks, or no longer. Sessions under another
    /// access of that user end, nobody else's.
    ///
    /// # Errors
    /// [`UserError`]; [`StoreError::Unknown`] if there is no such user.
    pub async fn set_shadowsocks(
        &self,
        name: &str,
        access: Option<Access>,
    ) -> Result<(), UserError> {
        if let Some(access) = &access {
            access.keys()?;
        }
        self.0.store.set_access(&[(name, access.as_ref())]).await?;
        self.reload().await
    }

    /// How a user gets in by shadowsocks.
    #[must_use]
    pub fn shadowsocks(&self, name: &str) -> Option<Access> {
        let id = self.0.accounts.read().get(name)?.id();
        let known = self.0.access.known.read();
        known.get(&id).map(|access| Access::clone(access))
    }

    /// The name of the user with this number.
    #[must_use]
    pub fn numbered(&self, number: i64) -> Option<String> {
        let everybody = self.subscribed();
        let mut fits = everybody
            .iter()
            .filter(|(_, access)| access.number == Some(number));
        fits.next().map(|(account, _)| account.name().to_owned())
    }

    /// Everybody who may get in by shadowsocks.
    pub(crate) fn subscribed(&self) -> Vec<(Arc<Account>, Arc<Access>)> {
        let known = self.0.access.known.read();
        if known.is_empty() {
            return Vec::new();
        }
        let accounts = self.0.accounts.read();
        let with_access = |account: &Arc<Account>| {
            let access = known.get(&account.id())?;
            Some((Arc::clone(account), Arc::clone(access)))
        };
        accounts.values().filter_map(with_access).collect()
    }

    /// Hears of every change of a user.
    pub(crate) fn watch_subscribed(&self) -> watch::Receiver<u64> {
        self.0.access.changed.subscribe()
    }

    /// Brings those with a number to what `wanted` says: adds, changes, and lets
    /// those out that it leaves out. Who is as they should be is not touched.
    /// Says how many were changed. Those in `kept` stay as they are.
    ///
    /// # Errors
    /// [`UserError`]; what was done before it stays done.
    pub async fn subscribe_all(
        &self,
        wanted: &[Subscriber],
        kept: &[i64],
    ) -> Result<usize, UserError> {
        let mut before: HashMap<i64, String> = HashMap::new();
        for (account, access) in self.subscribed() {
            if let Some(number) = access.number {
                before.insert(number, account.name().to_owned());
            }
        }
        let mut changes = self.subscribe(wanted).await?;
        for subscriber in wanted {
            if let Some(number) = subscriber.access.number {
                before.remove(&number);
            }
        }
        for number in kept {
            before.remove(number);
        }
        for name in before.into_values() {
            if self.get(&name).is_some_and(|user| user.enabled) {
                self.set_enabled(&name, false).await?;
                changes += 1;
            }
        }
        Ok(changes)
    }

    /// Adds and changes those of `wanted`, and nobody else.
    ///
    /// # Errors
    /// As [`Users::subscribe_all`].
    pub async fn subscribe(&self, wanted: &[Subscriber]) -> Result<usize, UserError> {
        let mut named: HashMap<i64, (String, Arc<Access>)> = HashMap::new();
        for (account, access) in self.subscribed() {
            if let Some(number) = access.number {
                named.insert(number, (account.name().to_owned(), access));
            }
        }
        let mut new = Vec::new();
        let mut accesses = Vec::new();
        let mut changes = 0;
        // Nobody logs in with it; one hash for all costs as much as one.
        let mut nobodys_hash = None;
        for subscriber in wanted {
            let Some(number) = subscriber.access.number else {
                continue;
            };
            let (name, known) = match named.get(&number) {
                Some((name, access)) => (name.clone(), Some(access)),
                None => (name_of(number), None),
            };
            if known.is_none_or(|known| **known != subscriber.access) {
                accesses.push((name.clone(), &subscriber.access));
                changes += 1;
            }
            match self.get(&name) {
                Some(user) => {
                    changes += self.adapt(&user, subscriber).await?;
                }
                None => {
                    let hash = match &nobodys_hash {
                        Some(hash) => String::clone(hash),
                        None => {
                            let password = random_password()?;
                            let hash = self.0.passwords.hash(password.as_bytes()).await?;
                            nobodys_hash.insert(hash).clone()
                        }
                    };
                    let rules = subscriber.limits.map(Rules::from).unwrap_or_default();
                    let mut record = UserRecord::new(name, Secret::Hash(hash), rules);
                    record.enabled = subscriber.enabled;
                    new.push(record);
                }
            }
        }
        if !new.is_empty() {
            self.import(new).await?;
        }
        if !accesses.is_empty() {
            let accesses: Vec<_> = accesses
                .iter()
                .map(|(name, access)| (name.as_str(), Some(*access)))
                .collect();
            self.0.store.set_access(&accesses).await?;
            self.reload().await?;
        }
        Ok(changes)
    }

    /// Changes what differs of one who is there.
    async fn adapt(&self, user: &super::User, subscriber: &Subscriber) -> Result<usize, UserError> {
        let mut changes = 0;
        if let Some(limits) = subscriber.limits
            && user.own.limits != Some(limits)
        {
            self.set_limits(&user.name, limits).await?;
            changes += 1;
        }
        if user.enabled != subscriber.enabled {
            self.set_enabled(&user.name, subscriber.enabled).await?;
            changes += 1;
        }
        Ok(changes)
    }

    /// The report to a panel that is under way, or a new one if something was
    /// used that none has told of: an id and a body that stay the same until
    /// [`Users::acknowledge`]. `write` makes the body.
    ///
    /// # Errors
    /// [`UserError`]
    pub async fn report(
        &self,
        write: impl FnOnce(&[Report]) -> String,
    ) -> Result<Option<(String, String)>, UserError> {
        self.flush().await?;
        let _writing = self.0.writing.lock().await;
        let id = random_password()?;
        let made = self.0.store.report(&id, |rows: &[Reported]| {
            let reports: Vec<_> = rows
                .iter()
                .map(|row| Report {
                    number: row.number,
                    usage: row.usage,
                })
                .collect();
            write(&reports)
        });
        Ok(made.await?)
    }

    /// The report under way has arrived.
    ///
    /// # Errors
    /// [`UserError`]: then it must be sent again.
    pub async fn acknowledge(&self, id: &str) -> Result<(), UserError> {
        let _writing = self.0.writing.lock().await;
        Ok(self.0.store.acknowledge(id).await?)
    }

    pub(super) async fn reload_access(&self) -> Result<(), StoreError> {
        let rows = self.0.store.accesses().await?;
        let mut before = self.0.access.known.write();
        let mut after = HashMap::with_capacity(rows.len());
        for row in rows {
            let Some(access) = row.access() else {
                tracing::error!(user_id = row.user_id, method = %row.method.escape_debug(), "shadowsocks access that we cannot read is none");
                continue;
            };
            let known = before.remove(&row.user_id);
            let same = known.filter(|known| **known == access);
            after.insert(row.user_id, same.unwrap_or_else(|| Arc::new(access)));
        }
        *before = after;
        drop(before);
        self.0.access.touch();
        Ok(())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("number", &self.number)
            .field("port", &self.port)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
