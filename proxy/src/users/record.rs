//! Users on their way from one database to another.

use std::sync::Arc;

use super::store::NewRow;
use super::{
    Audit, Moment, NewUser, PeriodUsage, Rules, Usage, UserError, Users, checked_name, password,
};

/// Everything there is to know of a user.
#[derive(Clone)]
pub struct UserRecord {
    /// The name.
    pub name: String,
    /// What they log in with.
    pub secret: Secret,
    /// Whether they may log in.
    pub enabled: bool,
    /// When the account was made.
    pub created_at: Moment,
    /// The user's own rules.
    pub rules: Rules,
    /// Payload bytes so far.
    pub usage: Usage,
    /// Payload bytes of the period that was current.
    pub period: PeriodUsage,
    /// How they get in by shadowsocks, if they do.
    #[cfg(feature = "shadowsocks")]
    pub shadowsocks: Option<super::Access>,
}

/// What somebody logs in with. Neither form is ever shown by `Debug`.
#[derive(Clone)]
pub enum Secret {
    /// An Argon2 hash, as a PHC string.
    Hash(String),
    /// A password, which is hashed before it is stored.
    Password(Vec<u8>),
}

impl Users {
    /// Everybody with their hashes, in order of name.
    #[must_use]
    pub fn export(&self) -> Vec<UserRecord> {
        let accounts: Vec<_> = self.0.accounts.read().values().map(Arc::clone).collect();
        let mut records: Vec<_> = accounts
            .iter()
            .map(|account| {
                let user = account.user();
                UserRecord {
                    #[cfg(feature = "shadowsocks")]
                    shadowsocks: self.shadowsocks(&user.name),
                    name: user.name,
                    secret: Secret::Hash(account.password_hash().to_string()),
                    enabled: user.enabled,
                    created_at: user.created_at,
                    rules: user.own,
                    usage: user.usage,
                    period: user.period,
                }
            })
            .collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// Adds all of `records` or none.
    ///
    /// # Errors
    /// Those of [`UserRecord::check`]; [`StoreError::Exists`](super::StoreError::Exists)
    /// for the first name that is taken.
    pub async fn import(
        &self,
        records: impl IntoIterator<Item = UserRecord>,
    ) -> Result<(), UserError> {
        self.take_in(records.into_iter().collect(), &[]).await
    }

    /// The same, noted in the audit log: all of it or none.
    ///
    /// # Errors
    /// As [`Users::import`].
    pub async fn take_in(
        &self,
        records: Vec<UserRecord>,
        audits: &[Audit<'_>],
    ) -> Result<(), UserError> {
        for record in &records {
            record.check()?;
        }
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let password_hash = match record.secret {
                Secret::Hash(hash) => hash,
                Secret::Password(password) => self.0.passwords.hash(&password).await?,
            };
            rows.push(NewRow {
                name: record.name,
                password_hash,
                enabled: record.enabled,
                created_at: record.created_at,
                rules: record.rules.to_text(),
                usage: record.usage,
                period: record.period,
                #[cfg(feature = "shadowsocks")]
                access: record.shadowsocks,
            });
        }
        self.0.store.insert(&rows, audits).await?;
        self.reload().await
    }
}

impl UserRecord {
    /// A user who is new now, and may log in.
    #[must_use]
    pub fn new(name: String, secret: Secret, rules: Rules) -> Self {
        Self {
            name,
            secret,
            enabled: true,
            created_at: Moment::now(),
            rules,
            usage: Usage::default(),
            period: PeriodUsage::default(),
            #[cfg(feature = "shadowsocks")]
            shadowsocks: None,
        }
    }

    /// Whether this can be a user.
    ///
    /// # Errors
    /// [`UserError::Name`], [`UserError::Password`], [`UserError::Hash`]; a key that is none.
    pub fn check(&self) -> Result<(), UserError> {
        checked_name(&self.name)?;
        #[cfg(feature = "shadowsocks")]
        if let Some(access) = &self.shadowsocks {
            access.keys()?;
        }
        match &self.secret {
            Secret::Hash(hash) if !password::is_hash(hash) => Err(UserError::Hash),
            Secret::Password(password) => Ok(password::check(password)?),
            Secret::Hash(_) => Ok(()),
        }
    }
}

impl From<NewUser> for UserRecord {
    fn from(user: NewUser) -> Self {
        Self::new(user.name, Secret::Password(user.password), user.rules)
    }
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord")
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
