//! The tables of shadowsocks.

use sqlx::Row;

use super::changes::found;
use super::rows::{from_column, to_column};
use super::{Store, StoreError};
use crate::users::{Access, Usage};

/// One row of access.
pub(crate) struct AccessRow {
    pub(crate) user_id: i64,
    pub(crate) number: Option<i64>,
    pub(crate) port: i64,
    pub(crate) method: String,
    pub(crate) password: String,
}

/// What a user has used that no report has told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    pub(crate) user_id: i64,
    pub(crate) number: i64,
    pub(crate) usage: Usage,
}

impl AccessRow {
    /// `None` if it was written by something that knows more methods than we do.
    pub(crate) fn access(&self) -> Option<Access> {
        let access = Access {
            number: self.number,
            port: u16::try_from(self.port).ok().filter(|&port| port > 0)?,
            method: self.method.parse().ok()?,
            password: self.password.clone(),
        };
        access.keys().is_ok().then_some(access)
    }
}

/// Gives a user who is new an access; what they bring in usage counts as reported.
///
/// # Errors
/// [`StoreError::Query`], as for a number that another user has.
pub(super) async fn insert(
    connection: &mut sqlx::AnyConnection,
    user_id: i64,
    access: &Access,
    usage: Usage,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO shadowsocks (user_id, number, port, method, password, \
         reported_upload_bytes, reported_download_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(user_id)
    .bind(access.number)
    .bind(i64::from(access.port))
    .bind(access.method.name())
    .bind(access.password.as_str())
    .bind(to_column(usage.upload_bytes))
    .bind(to_column(usage.download_bytes))
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Everybody's.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn accesses(&self) -> Result<Vec<AccessRow>, StoreError> {
        let query = sqlx::query("SELECT user_id, number, port, method, password FROM shadowsocks");
        let rows = query.fetch_all(&self.pool).await?;
        let row = |row: &sqlx::any::AnyRow| {
            Ok(AccessRow {
                user_id: row.try_get("user_id")?,
                number: row.try_get("number")?,
                port: row.try_get("port")?,
                method: row.try_get("method")?,
                password: row.try_get("password")?,
            })
        };
        rows.iter().map(row).collect()
    }

    /// Gives these users access, or takes it: all of them or none. What was
    /// reported of them stays.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] for the first that is none.
    pub(crate) async fn set_access(
        &self,
        accesses: &[(&str, Option<&Access>)],
    ) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        for (name, access) in accesses {
            let Some(access) = access else {
                sqlx::query("DELETE FROM shadowsocks WHERE user_id = (SELECT id FROM users WHERE name = $1)")
                    .bind(*name)
                    .execute(&mut *transaction)
                    .await?;
                continue;
            };
            let done = sqlx::query(
                "INSERT INTO shadowsocks (user_id, number, port, method, password) \
                 SELECT id, $2, $3, $4, $5 FROM users WHERE name = $1 \
                 ON CONFLICT (user_id) DO UPDATE SET number = excluded.number, \
                 port = excluded.port, method = excluded.method, password = excluded.password",
            )
            .bind(*name)
            .bind(access.number)
            .bind(i64::from(access.port))
            .bind(access.method.name())
            .bind(access.password.as_str())
            .execute(&mut *transaction)
            .await?;
            found(done.rows_affected(), name)?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The report under way, or a new one of everything that none has told of;
    /// `None` if there is nothing to tell.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn report(
        &self,
        id: &str,
        write: impl FnOnce(&[Reported]) -> String,
    ) -> Result<Option<(String, String)>, StoreError> {
        let mut transaction = self.write().await?;
        let under_way = sqlx::query("SELECT id, body FROM shadowsocks_report")
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = under_way {
            return Ok(Some((row.try_get("id")?, row.try_get("body")?)));
        }
        let rows = sqlx::query(
            "SELECT s.user_id AS user_id, number, \
             upload_bytes - reported_upload_bytes AS up, \
             download_bytes - reported_download_bytes AS down \
             FROM shadowsocks s JOIN usage ON usage.user_id = s.user_id \
             WHERE number IS NOT NULL AND (upload_bytes > reported_upload_bytes \
             OR download_bytes > reported_download_bytes) ORDER BY number",
        )
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let reported = |row: &sqlx::any::AnyRow| {
            Ok::<_, sqlx::Error>(Reported {
                user_id: row.try_get("user_id")?,
                number: row.try_get("number")?,
                usage: Usage {
                    upload_bytes: from_column(row.try_get("up")?),
                    download_bytes: from_column(row.try_get("down")?),
                },
            })
        };
        let parts = rows.iter().map(reported).collect::<Result<Vec<_>, _>>()?;
        let body = write(&parts);
        sqlx::query("INSERT INTO shadowsocks_report (only_row, id, body) VALUES (1, $1, $2)")
            .bind(id)
            .bind(body.as_str())
            .execute(&mut *transaction)
            .await?;
        for part in &parts {
            sqlx::query(
                "INSERT INTO shadowsocks_report_part (user_id, upload_bytes, download_bytes) \
                 VALUES ($1, $2, $3)",
            )
            .bind(part.user_id)
            .bind(to_column(part.usage.upload_bytes))
            .bind(to_column(part.usage.download_bytes))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(Some((id.to_owned(), body)))
    }

    /// What the report under way holds has been told; nothing if it is another one.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn acknowledge(&self, id: &str) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        let done = sqlx::query("DELETE FROM shadowsocks_report WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query(
            "UPDATE shadowsocks SET \
             reported_upload_bytes = reported_upload_bytes + part.upload_bytes, \
             reported_download_bytes = reported_download_bytes + part.download_bytes \
             FROM shadowsocks_report_part AS part WHERE part.user_id = shadowsocks.user_id",
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM shadowsocks_report_part")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
