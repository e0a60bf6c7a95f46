//! Usage: what the database adds up.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::rows::{booked, to_column};
use super::{Booked, Store, StoreError, Transaction};
use crate::users::Usage;
use crate::users::calendar::Moment;
use crate::users::journal::Entry;

/// How long a process that wrote usage is remembered: longer than what it left behind
/// is believed.
const WRITERS_KEPT: i64 = 400 * 86_400;

/// Rows in one statement: one of these numbers, so that there are few
/// different statements to prepare.
const BATCHES: [usize; 4] = [256, 32, 4, 1];

/// Usage to be added to what the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The user's id.
    pub id: i64,
    /// What was moved since the last write.
    pub usage: Usage,
    /// The first instant of the current period.
    pub period_start: Moment,
}

impl Store {
    /// Adds to usage as this process' write number `sequence`: all of it or, on
    /// error, none. Says what the users have then; those that are gone are
    /// passed over.
    ///
    /// # Errors
    /// [`StoreError::Query`]; whether the write was done then says
    /// [`Store::last_written`].
    pub(crate) async fn add_usage(
        &self,
        sequence: i64,
        deltas: &[Delta],
    ) -> Result<Vec<(i64, Booked)>, StoreError> {
        let mut transaction = self.write().await?;
        let now = reach(&mut transaction, &self.writer, sequence).await?;
        if sequence == 1 {
            sqlx::query("DELETE FROM writers WHERE seen_at < $1")
                .bind(now - WRITERS_KEPT)
                .execute(&mut *transaction)
                .await?;
        }
        let booked = add_all(&mut transaction, deltas, When::Now).await?;
        transaction.commit().await?;
        Ok(booked)
    }

    /// Adds what a process that is gone has left behind, but for what it has brought
    /// here itself, or others have; says of how many users that was anything. What
    /// belongs to a period that has gone by counts for the life of the account alone.
    ///
    /// # Errors
    /// [`StoreError::Query`]; then nothing was added, or all of it was and another
    /// attempt adds nothing.
    pub(crate) async fn add_left(
        &self,
        writer: &str,
        entries: &[Entry],
    ) -> Result<usize, StoreError> {
        let mut transaction = self.write().await?;
        let done = last_written(&mut transaction, writer).await?;
        let missing = entries.iter().filter(|entry| entry.sequence > done);
        let Some(sequence) = missing.clone().map(|entry| entry.sequence).max() else {
            return Ok(0);
        };
        reach(&mut transaction, writer, sequence).await?;
        // A statement changes each user once.
        let mut periods: BTreeMap<Moment, BTreeMap<i64, Usage>> = BTreeMap::new();
        for delta in missing.flat_map(|entry| &entry.deltas) {
            let period = periods.entry(delta.period_start).or_default();
            let sum = period.entry(delta.id).or_default();
            *sum = *sum + delta.usage;
        }
        let mut users = 0;
        for (period_start, sums) in periods {
            let delta = |(id, usage)| Delta {
                id,
                usage,
                period_start,
            };
            let deltas: Vec<_> = sums.into_iter().map(delta).collect();
            users += add_all(&mut transaction, &deltas, When::Late).await?.len();
        }
        transaction.commit().await?;
        Ok(users)
    }

    /// The number of the last write of usage that this process has done.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn last_written(&self) -> Result<i64, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(last_written(&mut connection, &self.writer).await?)
    }

    /// By which a journal knows this database.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn identity(&self) -> Result<String, StoreError> {
        let row = sqlx::query("SELECT value FROM identity");
        Ok(row.fetch_one(&self.pool).await?.try_get(0)?)
    }
}

/// To which period usage belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// To the current one: to the one that it says, or to a later one that has begun by
    /// a clock that is ahead of ours.
    Now,
    /// To the one that it says, unless a later one has begun.
    Late,
}

/// By how many seconds another server's clock may be ahead of ours. What has begun later
/// than that is given up for the period that ours shows, with what was moved in it: a
/// clock that was wrong once must not put off the next period for years.
const AHEAD: i64 = 86_400;

async fn last_written(connection: &mut AnyConnection, writer: &str) -> Result<i64, sqlx::Error> {
    let row = sqlx::query("SELECT sequence FROM writers WHERE id = $1")
        .bind(writer)
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| row.try_get(0))
}

/// Notes the number of the last write of `writer`; says what the time is.
async fn reach(
    transaction: &mut Transaction,
    writer: &str,
    sequence: i64,
) -> Result<i64, sqlx::Error> {
    let now = Moment::now().unix_seconds();
    sqlx::query(
        "INSERT INTO writers (id, sequence, seen_at) VALUES ($1, $2, $3) \
         ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, seen_at = excluded.seen_at",
    )
    .bind(writer)
    .bind(sequence)
    .bind(now)
    .execute(&mut **transaction)
    .await?;
    Ok(now)
}

async fn add_all(
    transaction: &mut Transaction,
    deltas: &[Delta],
    when: When,
) -> Result<Vec<(i64, Booked)>, sqlx::Error> {
    let mut booked = Vec::with_capacity(deltas.len());
    let mut rest = deltas;
    while let Some(most) = BATCHES.into_iter().find(|&most| most <= rest.len()) {
        let (batch, later) = rest.split_at(most);
        booked.extend(add_batch(transaction, batch, when).await?);
        rest = later;
    }
    Ok(booked)
}

/// The sizes of batches are few, and so are these statements.
async fn add_batch(
    connection: &mut AnyConnection,
    deltas: &[Delta],
    when: When,
) -> Result<Vec<(i64, Booked)>, sqlx::Error> {
    let row = |index: usize| {
        let first = index * 4;
        format!(
            "(${}, ${}, ${}, ${})",
            first + 1,
            first + 2,
            first + 3,
            first + 4
        )
    };
    let rows = (0..deltas.len()).map(row).collect::<Vec<_>>().join(", ");
    let (adds, soon) = match when {
        When::Now => (
            "period_start >= since",
            Moment::now().unix_seconds().saturating_add(AHEAD),
        ),
        When::Late => ("period_start = since", i64::MAX),
    };
    let of_period = |column: &str, moved: &str| {
        format!(
            "{column} = CASE WHEN {adds} THEN {column} + {moved} \
             WHEN period_start > since THEN {column} ELSE {moved} END"
        )
    };
    let (up, down) = (
        of_period("period_upload_bytes", "up"),
        of_period("period_download_bytes", "down"),
    );
    let statement = format!(
        "WITH delta (id, up, down, since) AS (VALUES {rows}) UPDATE usage SET \
         upload_bytes = upload_bytes + up, download_bytes = download_bytes + down, {up}, {down}, \
         period_start = CASE WHEN period_start > since AND period_start <= ${soon_at} \
         THEN period_start ELSE since END FROM delta WHERE user_id = delta.id \
         RETURNING user_id, upload_bytes, download_bytes, \
         period_start, period_upload_bytes, period_download_bytes",
        soon_at = deltas.len() * 4 + 1
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for delta in deltas {
        query = query
            .bind(delta.id)
            .bind(to_column(delta.usage.upload_bytes))
            .bind(to_column(delta.usage.download_bytes))
            .bind(delta.period_start.unix_seconds());
    }
    let rows = query.bind(soon).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("user_id")?, booked(row)?)))
        .collect()
}
