//! The log of changes: rows are added in the transaction of the change itself.

use sqlx::{AnyConnection, Row};

use super::{Store, StoreError};
use crate::users::{Audit, AuditEntry, Moment};

impl Store {
    /// Adds an entry for something that changes nothing here.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn audit(&self, audit: &Audit<'_>) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        note(&mut transaction, Some(audit)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// At most `most` entries, the newest first, older than the entry `before`.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn audited(
        &self,
        before: Option<i64>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, actor, action, subject, detail FROM audit \
             WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await?;
        let entry = |row: &sqlx::any::AnyRow| {
            Ok(AuditEntry {
                id: row.try_get("id")?,
                at: Moment::from_unix_seconds(row.try_get("at")?),
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                detail: row.try_get("detail")?,
            })
        };
        rows.iter().map(entry).collect()
    }
}

/// Adds an entry, if there is one to add, to what a transaction does.
pub(super) async fn note(
    connection: &mut AnyConnection,
    audit: Option<&Audit<'_>>,
) -> Result<(), sqlx::Error> {
    let Some(audit) = audit else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(Moment::now().unix_seconds())
    .bind(audit.actor)
    .bind(audit.action)
    .bind(audit.subject)
    .bind(audit.detail.as_str())
    .execute(connection)
    .await
    .map(drop)
}
