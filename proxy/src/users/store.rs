//! The database: users, rules and usage, in SQLite or PostgreSQL.
//!
//! One connection writes and reads; nothing here is on the data path. Every
//! value is a bound parameter. Apart from how a transaction begins and the
//! migrations, both databases get the same statements.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Row};

use super::calendar::Moment;
use super::rules::{RulesChange, RulesText};
use super::{PeriodUsage, Usage};

mod audit;
mod changes;
mod database;
mod file;
mod rows;
mod schema;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
#[cfg(test)]
mod tests;
mod usage;

pub use database::{Database, StoreError};
#[cfg(feature = "shadowsocks")]
pub(crate) use shadowsocks::Reported;
pub(crate) use usage::Delta;

use rows::{rule_columns, rules, select_users, user};

type Transaction = sqlx::Transaction<'static, Any>;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a database may be away before a statement fails.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Users that are read in one go: ten thousand at once would keep the
/// connections of this thread waiting.
const PAGE: i64 = 128;

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
    /// How they get in by shadowsocks, if they do.
    #[cfg(feature = "shadowsocks")]
    pub access: Option<super::Access>,
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
            .before_acquire(move |connection, _| {
                // SQLite itself rolls back where it cannot write (a full disk). What has been
                // rolled back already cannot be rolled back again, and would be taken to be
                // under way for ever: then another connection begins anew.
                let stuck = kind == Kind::Sqlite && connection.is_in_transaction();
                Box::pin(async move { Ok(!stuck) })
            })
            .after_connect(move |connection, _| Box::pin(prepare(kind, connection)))
            .connect_with(options)
            .await
            .map_err(open)?;
        Ok(Self { pool, kind, writer })
    }

    /// Lets go of the database; nothing can be asked of it afterwards. A file is whole
    /// by itself then, without the log beside it. One that is silent is left to itself.
    pub(crate) async fn close(&self) {
        // Gone in order or not, every transaction has ended.
        let _ = tokio::time::timeout(ACQUIRE_TIMEOUT, self.pool.close()).await;
    }

    /// The name of this process.
    pub(crate) fn writer(&self) -> &str {
        &self.writer
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

    /// The rules for everybody and those of each user who may log in, from a database
    /// as it is: nothing is made or brought to another schema. `None` if it is a file
    /// that is not there.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn read_rules(
        database: &Database,
    ) -> Result<Option<(RulesText, Vec<RulesText>)>, StoreError> {
        sqlx::any::install_default_drivers();
        if database.path().is_some_and(|path| !path.exists()) {
            return Ok(None);
        }
        let open = |source| StoreError::Open {
            database: database.clone(),
            source,
        };
        let url = database.url().map_err(|error| open(error.into()))?;
        let url = match database.path() {
            Some(_) => format!("{url}?mode=ro"),
            None => url,
        };
        let options: AnyConnectOptions = url.parse().map_err(open)?;
        let mut connection = options
            .disable_statement_logging()
            .connect()
            .await
            .map_err(open)?;
        let everybody = everybodys_rules(&mut connection).await?;
        let query = concat!("SELECT ", rule_columns!(), " FROM users WHERE enabled <> 0");
        let rows = sqlx::query(query).fetch_all(&mut connection).await?;
        let users = rows.iter().map(rules).collect::<Result<_, _>>()?;
        connection.close().await.map_err(open)?;
        Ok(Some((everybody, users)))
    }

    /// A number that grows with every change of a user or a rule, whichever
    /// process makes it.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn revision(&self) -> Result<i64, StoreError> {
        Ok(revision(&mut *self.pool.acquire().await?).await?)
    }

    /// The same database for another process.
    #[cfg(test)]
    pub(crate) fn of_another(&self, writer: &str) -> Self {
        Self {
            pool: self.pool.clone(),
            kind: self.kind,
            writer: writer.to_owned(),
        }
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
