//! Changes of users and of the rules for everybody: each all of it or nothing.

use sqlx::Row;

use super::rows::{bind_rules, rule_columns, to_column};
use super::{
    Change, NewRow, Store, StoreError, Transaction, UserRow, audit, everybodys_rules, revision,
};
use crate::users::rules::{Rules, RulesChange};
use crate::users::{Audit, Tag};

impl Store {
    /// Stores all of `rows` or none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for the first name that is taken.
    pub(crate) async fn insert(
        &self,
        rows: &[NewRow],
        audits: &[Audit<'_>],
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        for row in rows {
            let query = sqlx::query(concat!(
                "INSERT INTO users (name, password_hash, enabled, created_at, ",
                rule_columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 RETURNING id"
            ));
            let query = query
                .bind(row.name.as_str())
                .bind(row.password_hash.as_str())
                .bind(i64::from(row.enabled))
                .bind(row.created_at.unix_seconds());
            let inserted = bind_rules(query, &row.rules)
                .fetch_one(&mut *transaction)
                .await;
            let id: i64 = inserted
                .map_err(|error| taken(error, &row.name))?
                .try_get(0)?;
            sqlx::query(
                "INSERT INTO usage (user_id, upload_bytes, download_bytes, \
                 period_start, period_upload_bytes, period_download_bytes) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(id)
            .bind(to_column(row.usage.upload_bytes))
            .bind(to_column(row.usage.download_bytes))
            .bind(row.period.start.unix_seconds())
            .bind(to_column(row.period.usage.upload_bytes))
            .bind(to_column(row.period.usage.download_bytes))
            .execute(&mut *transaction)
            .await?;
            #[cfg(feature = "shadowsocks")]
            if let Some(access) = &row.access {
                super::shadowsocks::insert(&mut transaction, id, access, row.usage).await?;
            }
        }
        for audit in audits {
            audit::note(&mut transaction, Some(audit)).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Changes one user, all of it or, on error, nothing, and says how they stand
    /// then and at which revision.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if there is none, [`StoreError::Stale`] if their
    /// settings are not those that were expected.
    pub(crate) async fn change(
        &self,
        name: &str,
        changes: &[Change],
        expected: Option<&Tag>,
        audit: Option<&Audit<'_>>,
    ) -> Result<(i64, UserRow), StoreError> {
        let mut transaction = self.write().await?;
        self.expect(&mut transaction, name, expected).await?;
        for change in changes {
            self.change_one(&mut transaction, name, change).await?;
        }
        audit::note(&mut transaction, audit).await?;
        let row = self.locked_user(&mut transaction, name).await?;
        let revision = revision(&mut transaction).await?;
        transaction.commit().await?;
        Ok((revision, row))
    }

    /// Whether the settings of `name` are the expected ones.
    async fn expect(
        &self,
        transaction: &mut Transaction,
        name: &str,
        expected: Option<&Tag>,
    ) -> Result<(), StoreError> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let row = self.locked_user(transaction, name).await?;
        unless_stale(name, expected, &Tag::of_row(&row)?)
    }

    async fn change_one(
        &self,
        transaction: &mut Transaction,
        name: &str,
        change: &Change,
    ) -> Result<(), StoreError> {
        let query = match change {
            Change::PasswordHash(hash) => {
                sqlx::query("UPDATE users SET password_hash = $2 WHERE name = $1")
                    .bind(name)
                    .bind(hash.as_str())
            }
            Change::Enabled(enabled) => {
                sqlx::query("UPDATE users SET enabled = $2 WHERE name = $1")
                    .bind(name)
                    .bind(i64::from(*enabled))
            }
            Change::Rules(change) => {
                let row = self.locked_user(transaction, name).await?;
                let rules = Rules::from_text(&row.rules)?.changed(change).to_text();
                let query = sqlx::query(concat!(
                    "UPDATE users SET (",
                    rule_columns!(),
                    ") = ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) WHERE name = $1"
                ));
                bind_rules(query.bind(name), &rules)
            }
        };
        let changed = query.execute(&mut **transaction).await?;
        found(changed.rows_affected(), name)
    }

    /// Changes the rules for everybody.
    ///
    /// # Errors
    /// [`StoreError::Query`], [`StoreError::Rule`], [`StoreError::Stale`]
    pub(crate) async fn change_rules(
        &self,
        change: &RulesChange,
        expected: Option<&Tag>,
        audit: Option<&Audit<'_>>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let text = everybodys_rules(&mut transaction).await?;
        let rules = Rules::from_text(&text)?;
        if let Some(expected) = expected {
            unless_stale("rules", expected, &Tag::of(0, "", true, &rules))?;
        }
        audit::note(&mut transaction, audit).await?;
        let rules = rules.changed(change).to_text();
        let query = sqlx::query(concat!(
            "UPDATE rules SET (",
            rule_columns!(),
            ") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        ));
        bind_rules(query, &rules).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets one user, usage and all; says the revision after that.
    ///
    /// # Errors
    /// As [`Store::change`].
    pub(crate) async fn delete(
        &self,
        name: &str,
        expected: Option<&Tag>,
        audit: Option<&Audit<'_>>,
    ) -> Result<i64, StoreError> {
        let mut transaction = self.write().await?;
        self.expect(&mut transaction, name, expected).await?;
        let done = sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        found(done.rows_affected(), name)?;
        audit::note(&mut transaction, audit).await?;
        let revision = revision(&mut transaction).await?;
        transaction.commit().await?;
        Ok(revision)
    }
}

fn taken(error: sqlx::Error, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Exists {
            name: name.to_owned(),
        },
        _ => error.into(),
    }
}

pub(super) fn found(rows: u64, name: &str) -> Result<(), StoreError> {
    if rows == 0 {
        Err(StoreError::Unknown {
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}

fn unless_stale(name: &str, expected: &Tag, found: &Tag) -> Result<(), StoreError> {
    if found == expected {
        Ok(())
    } else {
        Err(StoreError::Stale {
            name: name.to_owned(),
        })
    }
}
