//! The database: users, rules and usage, in SQLite or PostgreSQL.
//!
//! One connection writes and reads; nothing here is on the data path. Every
//! value is a bound parameter. Apart from how a transaction begins and the
//! migrations, both databases get the same statements.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Row};

use super::calendar::Moment;
use super::limits::LimitText;
use super::rules::{Rules, RulesChange, RulesText};
use super::{Audit, PeriodUsage, Tag, Usage};

mod audit;
mod database;
mod file;
mod schema;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
#[cfg(test)]
mod tests;

pub use database::{Database, StoreError};
#[cfg(feature = "shadowsocks")]
pub(crate) use shadowsocks::Reported;

type Transaction = sqlx::Transaction<'static, Any>;

/// The columns of a rule, in the order of [`RulesText::columns`].
macro_rules! rule_columns {
    () => {
        "limit_shared, limit_up, limit_down, max_connections, max_addresses, quota, expires, beyond"
    };
}

/// The columns that [`user`] reads.
macro_rules! select_users {
    () => {
        concat!(
            "SELECT id, name, password_hash, enabled, created_at, ",
            rule_columns!(),
            ", upload_bytes, download_bytes, \
             period_start, period_upload_bytes, period_download_bytes \
             FROM users JOIN usage ON user_id = id"
        )
    };
}

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a database may be away before a statement fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a process that wrote usage is remembered.
const WRITERS_KEPT: i64 = 7 * 86_400;

/// Users that are read in one go: ten thousand at once would keep the
/// connections of this thread waiting.
const PAGE: i64 = 128;

/// Rows in one statement: one of these numbers, so that there are few
/// different statements to prepare.
const BATCHES: [usize; 4] = [256, 32, 4, 1];

/// What speaks SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// A user to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    /// The name.
    pub name: String,
    /// A PHC string.
    pub password_hash: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// When the account was made.
    pub created_at: Moment,
    /// The user's own rules.
    pub rules: RulesText,
    /// What was used elsewhere.
    pub usage: Usage,
    /// What of it in the period that is current.
    pub period: PeriodUsage,
}

/// A user as stored.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    /// Never given twice.
    pub id: i64,
    /// The name.
    pub name: String,
    /// A PHC string.
    pub password_hash: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// When the account was made.
    pub created_at: Moment,
    /// The user's own rules.
    pub rules: RulesText,
    /// What the database knows of.
    pub booked: Booked,
}

/// Usage as the database has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Booked {
    /// Of the account's life.
    pub usage: Usage,
    /// Of the last period in which anything was written.
    pub period: PeriodUsage,
}

/// Everything that a server holds in memory.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub revision: i64,
    /// The rules for everybody.
    pub rules: RulesText,
    pub users: Vec<UserRow>,
}

/// One change of a user.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Another password.
    PasswordHash(String),
    /// May, or may not, log in.
    Enabled(bool),
    /// Other rules.
    Rules(RulesChange),
}

/// Usage to be added to what the database has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delta {
    /// The user's id.
    pub id: i64,
    /// What was moved since the last write.
    pub usage: Usage,
    /// The first instant of the current period.
    pub period_start: Moment,
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    pool: AnyPool,
    kind: Kind,
    /// The name of this process among those that write usage.
    writer: String,
}

impl Store {
    /// Opens the database, makes it if it is a file that is not there (readable
    /// by its owner alone), and brings it to the current schema. `writer` is a
    /// name that no other process has.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn open(database: &Database, writer: String) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let open = |source| StoreError::Open {
            database: database.clone(),
            source,
        };
        let kind = file::prepare(database)?;
        let url = database.url().map_err(|error| open(error.into()))?;
        let options: AnyConnectOptions = url.parse().map_err(open)?;
        let options = options.disable_statement_logging();
        // Not by the pool: it would try again and again where there is no database.
        let mut first = options.connect().await.map_err(open)?;
        prepare(kind, &mut first).await.map_err(open)?;
        migrate(kind, &mut first)
            .await
            .map_err(|source| StoreError::Schema {
                database: database.clone(),
                source,
            })?;
        first.close().await.map_err(open)?;
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(kind == Kind::Postgres)
            .after_connect(move |connection, _| Box::pin(prepare(kind, connection)))
            .connect_with(options)
            .await
            .map_err(open)?;
        Ok(Self { pool, kind, writer })
    }

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
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id"
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
                    ") = ($2, $3, $4, $5, $6, $7, $8, $9) WHERE name = $1"
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
            unless_stale("rules", expected, &Tag::of(0, "", true, rules))?;
        }
        audit::note(&mut transaction, audit).await?;
        let rules = rules.changed(change).to_text();
        let query = sqlx::query(concat!(
            "UPDATE rules SET (",
            rule_columns!(),
            ") = ($1, $2, $3, $4, $5, $6, $7, $8)"
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

    /// Everything there is, as of one revision.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let begin = match self.kind {
            Kind::Sqlite => "BEGIN",
            Kind::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut transaction = self.pool.begin_with(begin).await?;
        let revision = revision(&mut transaction).await?;
        let rules = everybodys_rules(&mut transaction).await?;
        let mut users: Vec<UserRow> = Vec::new();
        loop {
            let after = users.last().map_or(i64::MIN, |user| user.id);
            let query = sqlx::query(concat!(
                select_users!(),
                " WHERE id > $1 ORDER BY id LIMIT $2"
            ));
            let rows = query
                .bind(after)
                .bind(PAGE)
                .fetch_all(&mut *transaction)
                .await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                users.push(user(row)?);
            }
        }
        transaction.commit().await?;
        Ok(Snapshot {
            revision,
            rules,
            users,
        })
    }

    /// A number that grows with every change of a user or a rule, whichever
    /// process makes it.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn revision(&self) -> Result<i64, StoreError> {
        Ok(revision(&mut *self.pool.acquire().await?).await?)
    }

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
        let now = Moment::now().unix_seconds();
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO writers (id, sequence, seen_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, seen_at = excluded.seen_at",
        )
        .bind(self.writer.as_str())
        .bind(sequence)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        if sequence == 1 {
            sqlx::query("DELETE FROM writers WHERE seen_at < $1")
                .bind(now - WRITERS_KEPT)
                .execute(&mut *transaction)
                .await?;
        }
        let mut booked = Vec::with_capacity(deltas.len());
        let mut rest = deltas;
        while let Some(most) = BATCHES.into_iter().find(|&most| most <= rest.len()) {
            let (batch, later) = rest.split_at(most);
            booked.extend(add_batch(&mut transaction, batch).await?);
            rest = later;
        }
        transaction.commit().await?;
        Ok(booked)
    }

    /// The number of the last write of usage that this process has done.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn last_written(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT sequence FROM writers WHERE id = $1")
            .bind(self.writer.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
    }

    async fn write(&self) -> Result<Transaction, StoreError> {
        let begin = match self.kind {
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// One user, whom nobody else changes before the transaction ends.
    async fn locked_user(
        &self,
        transaction: &mut Transaction,
        name: &str,
    ) -> Result<UserRow, StoreError> {
        let query = match self.kind {
            Kind::Sqlite => concat!(select_users!(), " WHERE name = $1"),
            Kind::Postgres => concat!(select_users!(), " WHERE name = $1 FOR UPDATE"),
        };
        let row = sqlx::query(query)
            .bind(name)
            .fetch_optional(&mut **transaction)
            .await?;
        let row = row.ok_or_else(|| StoreError::Unknown {
            name: name.to_owned(),
        })?;
        Ok(user(&row)?)
    }
}

/// What every connection is told first.
async fn prepare(kind: Kind, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let busy = BUSY_TIMEOUT.as_millis();
    let statements = match kind {
        Kind::Sqlite => format!(
            "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; \
             PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON"
        ),
        Kind::Postgres => format!(
            "SET application_name = 'weirgate-proxy'; SET statement_timeout = {busy}; \
             SET client_min_messages = warning"
        ),
    };
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map(drop)
}

/// Where two processes make the same database at once, one of them fails the
/// first time and finds it made the second time.
async fn migrate(
    kind: Kind,
    connection: &mut AnyConnection,
) -> Result<(), sqlx::migrate::MigrateError> {
    let migrations = schema::migrations(kind);
    if migrations.run(&mut *connection).await.is_ok() {
        return Ok(());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    migrations.run(connection).await
}

async fn revision(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT value FROM revision")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

async fn everybodys_rules(connection: &mut AnyConnection) -> Result<RulesText, sqlx::Error> {
    let query = sqlx::query(concat!("SELECT ", rule_columns!(), " FROM rules"));
    rules(&query.fetch_one(connection).await?)
}

/// The sizes of batches are few, and so are these statements.
async fn add_batch(
    connection: &mut AnyConnection,
    deltas: &[Delta],
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
    let statement = format!(
        "WITH delta (id, up, down, since) AS (VALUES {rows}) UPDATE usage SET \
         upload_bytes = upload_bytes + up, download_bytes = download_bytes + down, \
         period_upload_bytes = CASE WHEN period_start = since THEN period_upload_bytes + up ELSE up END, \
         period_download_bytes = CASE WHEN period_start = since THEN period_download_bytes + down ELSE down END, \
         period_start = since FROM delta WHERE user_id = delta.id \
         RETURNING user_id, upload_bytes, download_bytes, \
         period_start, period_upload_bytes, period_download_bytes"
    );
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for delta in deltas {
        query = query
            .bind(delta.id)
            .bind(to_column(delta.usage.upload_bytes))
            .bind(to_column(delta.usage.download_bytes))
            .bind(delta.period_start.unix_seconds());
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("user_id")?, booked(row)?)))
        .collect()
}

type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

fn bind_rules<'q>(query: Query<'q>, rules: &RulesText) -> Query<'q> {
    rules
        .columns()
        .into_iter()
        .fold(query, |query, column| query.bind(column.clone()))
}

fn user(row: &AnyRow) -> Result<UserRow, sqlx::Error> {
    Ok(UserRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        password_hash: row.try_get("password_hash")?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        created_at: Moment::from_unix_seconds(row.try_get("created_at")?),
        rules: rules(row)?,
        booked: booked(row)?,
    })
}

fn rules(row: &AnyRow) -> Result<RulesText, sqlx::Error> {
    Ok(RulesText {
        limits: LimitText {
            shared: row.try_get("limit_shared")?,
            up: row.try_get("limit_up")?,
            down: row.try_get("limit_down")?,
        },
        max_connections: row.try_get("max_connections")?,
        max_addresses: row.try_get("max_addresses")?,
        quota: row.try_get("quota")?,
        expires: row.try_get("expires")?,
        beyond: row.try_get("beyond")?,
    })
}

fn booked(row: &AnyRow) -> Result<Booked, sqlx::Error> {
    let bytes = |column| Ok::<_, sqlx::Error>(from_column(row.try_get(column)?));
    Ok(Booked {
        usage: Usage {
            upload_bytes: bytes("upload_bytes")?,
            download_bytes: bytes("download_bytes")?,
        },
        period: PeriodUsage {
            start: Moment::from_unix_seconds(row.try_get("period_start")?),
            usage: Usage {
                upload_bytes: bytes("period_upload_bytes")?,
                download_bytes: bytes("period_download_bytes")?,
            },
        },
    })
}

fn taken(error: sqlx::Error, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Exists {
            name: name.to_owned(),
        },
        _ => error.into(),
    }
}

fn found(rows: u64, name: &str) -> Result<(), StoreError> {
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

/// SQL has no unsigned integers; eight exabytes are enough for one delta.
fn to_column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn from_column(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}
