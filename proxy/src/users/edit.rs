//! Changes by operators: several at once, only of what they have seen, and noted
//! in the audit log together with the change itself.

use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest};

use super::store::{Change, UserRow};
use super::{Moment, RuleError, Rules, RulesChange, User, UserError, UserRecord, Users};

/// What is changed of a user; whatever is `None` stays.
#[derive(Clone, Default)]
pub struct UserChange {
    /// Whether they may log in; if not, their connections are closed.
    pub enabled: Option<bool>,
    /// Another password closes their connections.
    pub password: Option<Vec<u8>>,
    /// Their own rules.
    pub rules: RulesChange,
}

/// What a user's settings are, as a short name for them: another change, another tag.
/// Usage is no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// An entry for the audit log.
#[derive(Clone, Debug)]
pub struct Audit<'a> {
    /// Who asks, and the way they came.
    pub actor: &'a str,
    /// What is done, as in `user.change`.
    pub action: &'static str,
    /// To whom or what.
    pub subject: &'a str,
    /// What it is, as JSON without secrets.
    pub detail: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; later ones are larger.
    pub id: i64,
    /// When it was done.
    pub at: Moment,
    /// As in [`Audit`].
    pub actor: String,
    /// As in [`Audit`].
    pub action: String,
    /// As in [`Audit`].
    pub subject: String,
    /// As in [`Audit`].
    pub detail: String,
}

impl Tag {
    /// A tag that somebody was given.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As text: hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of(id: i64, password_hash: &str, enabled: bool, own: &Rules) -> Self {
        let mut hash = Blake2b::<U16>::new();
        hash.update(id.to_le_bytes());
        hash.update([u8::from(enabled)]);
        hash.update(password_hash);
        for column in own.to_text().columns() {
            hash.update([0]);
            hash.update(column.as_deref().unwrap_or("\0"));
        }
        let digits = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(digits)
    }

    pub(super) fn of_row(row: &UserRow) -> Result<Self, RuleError> {
        let own = Rules::from_text(&row.rules)?;
        Ok(Self::of(row.id, &row.password_hash, row.enabled, &own))
    }
}

impl Users {
    /// One user and what their settings are called.
    #[must_use]
    pub fn tagged(&self, name: &str) -> Option<(User, Tag)> {
        let accounts = self.0.accounts.read();
        accounts.get(name).map(|account| account.tagged())
    }

    /// What the rules for everybody are called.
    #[must_use]
    pub fn rules_tag(&self) -> Tag {
        Tag::of(0, "", true, &self.rules())
    }

    /// Adds one user.
    ///
    /// # Errors
    /// As [`Users::import`].
    pub async fn create(&self, record: UserRecord, audit: &Audit<'_>) -> Result<(), UserError> {
        self.take_in(vec![record], std::slice::from_ref(audit))
            .await
    }

    /// Changes one user, in one piece, if `expected` is still what their settings are
    /// called (`None`: whatever they are).
    ///
    /// # Errors
    /// [`StoreError::Stale`](super::StoreError::Stale),
    /// [`StoreError::Unknown`](super::StoreError::Unknown) or another [`UserError`].
    pub async fn edit(
        &self,
        name: &str,
        change: UserChange,
        expected: Option<&Tag>,
        audit: &Audit<'_>,
    ) -> Result<(), UserError> {
        let mut changes = Vec::new();
        if let Some(password) = change.password {
            let hash = self.0.passwords.hash(&password).await?;
            changes.push(Change::PasswordHash(hash));
        }
        changes.extend(change.enabled.map(Change::Enabled));
        if change.rules != RulesChange::default() {
            changes.push(Change::Rules(change.rules));
        }
        self.change(name, &changes, expected, Some(audit)).await
    }

    /// Forgets one user as [`Users::remove`] does, if `expected` is still what their
    /// settings are called.
    ///
    /// # Errors
    /// As [`Users::edit`].
    pub async fn delete(
        &self,
        name: &str,
        expected: Option<&Tag>,
        audit: &Audit<'_>,
    ) -> Result<(), UserError> {
        self.forget(name, expected, Some(audit)).await
    }

    /// Changes the rules for everybody, if `expected` is still what they are called.
    ///
    /// # Errors
    /// As [`Users::edit`].
    pub async fn edit_rules(
        &self,
        change: RulesChange,
        expected: Option<&Tag>,
        audit: &Audit<'_>,
    ) -> Result<(), UserError> {
        let changed = self.0.store.change_rules(&change, expected, Some(audit));
        changed.await?;
        self.reload().await
    }

    /// Notes something in the audit log that is no change of an account.
    ///
    /// # Errors
    /// [`UserError::Store`]
    pub async fn note(&self, audit: &Audit<'_>) -> Result<(), UserError> {
        Ok(self.0.store.audit(audit).await?)
    }

    /// At most `most` entries of the audit log, the newest first, older than the
    /// entry `before`.
    ///
    /// # Errors
    /// [`UserError::Store`]
    pub async fn audited(
        &self,
        before: Option<i64>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, UserError> {
        Ok(self.0.store.audited(before, most).await?)
    }
}

impl std::fmt::Debug for UserChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserChange")
            .field("enabled", &self.enabled)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("rules", &self.rules)
            .finish()
    }
}
