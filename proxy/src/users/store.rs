//! The database: users, limits and usage in SQLite.
//!
//! One connection writes and reads; nothing here is on the data path. Every
//! value is a bound parameter. The SQL stays within what SQLite and PostgreSQL
//! share.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection};
use tokio::sync::Mutex;

use super::Usage;

/// The columns that [`user`] reads.
macro_rules! select_users {
    () => {
        "SELECT id, name, password_hash, enabled, limit_shared, limit_up, limit_down, \
         upload_bytes, download_bytes FROM users JOIN usage ON user_id = id"
    };
}

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the accounts are kept: a SQLite file.
///
/// Written as a path or as a URL, `sqlite:///var/lib/weirgate/weirgate.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    path: PathBuf,
}

impl Database {
    /// The SQLite file at `path`, made if it does not exist.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl FromStr for Database {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let path = match url.split_once(':') {
            Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, rest)) if rest.starts_with("//") => {
                return Err(StoreError::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
            _ => url,
        };
        if path.is_empty() {
            return Err(StoreError::Scheme {
                scheme: url.to_owned(),
            });
        }
        Ok(Self::file(path))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.path.display())
    }
}

/// What the database could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names something other than SQLite.
    #[error("{scheme:?} is no database we know: write a path or sqlite:///absolute/path")]
    Scheme {
        /// What came before the colon.
        scheme: String,
    },
    /// The file or its folder cannot be made.
    #[error("cannot make the database {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be opened or brought to the current schema.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// The schema is not one of ours, or newer than this program.
    #[error("cannot bring the database {} to the current schema", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: sqlx::migrate::MigrateError,
    },
    /// A name is taken.
    #[error("there is a user {name:?} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// A name is not known.
    #[error("there is no user {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A statement failed.
    #[error("the database does not answer")]
    Query(#[from] sqlx::Error),
}

/// The limit columns of a user, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitText {
    /// One policy for both directions.
    pub shared: Option<String>,
    /// From the client.
    pub up: Option<String>,
    /// To the client.
    pub down: Option<String>,
}

/// A user to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    /// The name.
    pub name: String,
    /// A PHC string.
    pub password_hash: String,
    /// The limits.
    pub limits: LimitText,
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
    /// The limits.
    pub limits: LimitText,
    /// Bytes flushed so far.
    pub usage: Usage,
}

/// One change of a user.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Another password.
    PasswordHash(String),
    /// May, or may not, log in.
    Enabled(bool),
    /// Other limits.
    Limits(LimitText),
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<SqliteConnection>,
}

impl Store {
    /// Opens the database, makes it (readable by its owner alone) if it is not
    /// there, and brings it to the current schema.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn open(database: &Database) -> Result<Self, StoreError> {
        let path = database.path.clone();
        make_private(&path).map_err(|source| StoreError::Create {
            path: path.clone(),
            source,
        })?;
        let mut connection = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .disable_statement_logging()
            .connect()
            .await
            .map_err(|source| StoreError::Open {
                path: path.clone(),
                source,
            })?;
        migrations()
            .run(&mut connection)
            .await
            .map_err(|source| StoreError::Schema { path, source })?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Stores all of `rows` or none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for the first name that is taken.
    pub(crate) async fn insert(&self, rows: &[NewRow]) -> Result<(), StoreError> {
        let now = unix_seconds();
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for row in rows {
            let inserted = sqlx::query(
                "INSERT INTO users (name, password_hash, limit_shared, limit_up, limit_down, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            )
            .bind(&row.name)
            .bind(&row.password_hash)
            .bind(&row.limits.shared)
            .bind(&row.limits.up)
            .bind(&row.limits.down)
            .bind(now)
            .fetch_one(&mut *transaction)
            .await;
            let id: i64 = inserted
                .map_err(|error| taken(error, &row.name))?
                .try_get(0)?;
            sqlx::query("INSERT INTO usage (user_id) VALUES ($1)")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Changes one user, and says how they stand then and at which revision.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if there is none.
    pub(crate) async fn change(
        &self,
        name: &str,
        change: &Change,
    ) -> Result<(i64, UserRow), StoreError> {
        let query = match change {
            Change::PasswordHash(hash) => sqlx::query("UPDATE users SET password_hash = $2 WHERE name = $1").bind(name).bind(hash),
            Change::Enabled(enabled) => sqlx::query("UPDATE users SET enabled = $2 WHERE name = $1").bind(name).bind(i64::from(*enabled)),
            Change::Limits(limits) => {
                sqlx::query("UPDATE users SET limit_shared = $2, limit_up = $3, limit_down = $4 WHERE name = $1")
                    .bind(name)
                    .bind(&limits.shared)
                    .bind(&limits.up)
                    .bind(&limits.down)
            }
        };
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        found(
            query.execute(&mut *transaction).await?.rows_affected(),
            name,
        )?;
        let query = sqlx::query(concat!(select_users!(), " WHERE name = $1")).bind(name);
        let row = user(&query.fetch_one(&mut *transaction).await?)?;
        let revision = revision(&mut transaction).await?;
        transaction.commit().await?;
        Ok((revision, row))
    }

    /// Forgets one user, usage and all; says the revision after that.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if there is none.
    pub(crate) async fn delete(&self, name: &str) -> Result<i64, StoreError> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        found(done.rows_affected(), name)?;
        let revision = revision(&mut transaction).await?;
        transaction.commit().await?;
        Ok(revision)
    }

    /// Every user in order of name, and the revision they belong to.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn users(&self) -> Result<(i64, Vec<UserRow>), StoreError> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin().await?;
        let revision = revision(&mut transaction).await?;
        let query = sqlx::query(concat!(select_users!(), " ORDER BY name"));
        let rows = query.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        let users = rows.iter().map(user).collect::<Result<_, _>>()?;
        Ok((revision, users))
    }

    /// A number that grows with every change of a user, whichever process makes it.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn revision(&self) -> Result<i64, StoreError> {
        Ok(revision(&mut *self.connection.lock().await).await?)
    }

    /// Adds to the usage of users by id: all of it or, on error, none. Users
    /// that are gone are passed over.
    ///
    /// # Errors
    /// [`StoreError::Query`]
    pub(crate) async fn add_usage(&self, deltas: &HashMap<i64, Usage>) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for (id, delta) in deltas {
            sqlx::query(
                "UPDATE usage SET upload_bytes = upload_bytes + $2, download_bytes = download_bytes + $3 \
                 WHERE user_id = $1",
            )
            .bind(id)
            .bind(to_column(delta.upload_bytes))
            .bind(to_column(delta.download_bytes))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn revision(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT value FROM revision")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

fn migrations() -> Migrator {
    let users = include_str!("../../migrations/sqlite/0001_users.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "users".into(),
        MigrationType::Simple,
        users,
        false,
    )])
}

/// SQLite would make a file that everybody on the host may read.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn user(row: &SqliteRow) -> Result<UserRow, sqlx::Error> {
    let limits = LimitText {
        shared: row.try_get("limit_shared")?,
        up: row.try_get("limit_up")?,
        down: row.try_get("limit_down")?,
    };
    let usage = Usage {
        upload_bytes: from_column(row.try_get("upload_bytes")?),
        download_bytes: from_column(row.try_get("download_bytes")?),
    };
    Ok(UserRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        password_hash: row.try_get("password_hash")?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        limits,
        usage,
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

/// SQL has no unsigned integers; eight exabytes are enough for one delta.
fn to_column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn from_column(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> NewRow {
        NewRow {
            name: name.into(),
            password_hash: "$argon2id$".into(),
            limits: LimitText::default(),
        }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::file(folder.path().join("deep/er/users.db")))
            .await
            .unwrap();
        (folder, store)
    }

    #[test]
    fn urls() {
        let path = |url: &str| {
            url.parse::<Database>()
                .map(|database| database.path.display().to_string())
        };
        assert_eq!(path("sqlite:///var/lib/w.db").unwrap(), "/var/lib/w.db");
        assert_eq!(path("sqlite://w.db").unwrap(), "w.db");
        assert_eq!(path("sqlite:w.db").unwrap(), "w.db");
        assert_eq!(path("/tmp/a:b.db").unwrap(), "/tmp/a:b.db");
        assert!(matches!(
            path("postgres://x"),
            Err(StoreError::Scheme { .. })
        ));
        assert!(path("").is_err());
    }

    #[tokio::test]
    async fn rows_come_back_and_names_stay_text() {
        let (_folder, store) = store().await;
        let mut limited = row("0123");
        limited.limits.up = Some("none".into());
        store
            .insert(&[limited, row("123"), row("x'or'1'='1")])
            .await
            .unwrap();
        let (_, users) = store.users().await.unwrap();
        let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["0123", "123", "x'or'1'='1"]);
        assert_eq!(users[0].limits.up.as_deref(), Some("none"));
        assert!(users[0].enabled);
    }

    #[tokio::test]
    async fn all_or_none_is_inserted() {
        let (_folder, store) = store().await;
        store.insert(&[row("a")]).await.unwrap();
        let error = store.insert(&[row("b"), row("a")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Exists { name } if name == "a"));
        assert_eq!(store.users().await.unwrap().1.len(), 1);
    }

    #[tokio::test]
    async fn every_change_moves_the_revision_and_usage_does_not() {
        let (_folder, store) = store().await;
        store.insert(&[row("a")]).await.unwrap();
        let mut last = store.revision().await.unwrap();
        for change in [
            Change::Enabled(false),
            Change::PasswordHash("x".into()),
            Change::Limits(LimitText::default()),
        ] {
            store.change("a", &change).await.unwrap();
            let revision = store.revision().await.unwrap();
            assert!(revision > last);
            last = revision;
        }
        let id = store.users().await.unwrap().1[0].id;
        let delta = Usage {
            upload_bytes: 3,
            download_bytes: 4,
        };
        store
            .add_usage(&HashMap::from([(id, delta), (id + 1, delta)]))
            .await
            .unwrap();
        store
            .add_usage(&HashMap::from([(id, delta)]))
            .await
            .unwrap();
        let (revision, users) = store.users().await.unwrap();
        assert_eq!(revision, last);
        assert_eq!(
            users[0].usage,
            Usage {
                upload_bytes: 6,
                download_bytes: 8
            }
        );
        store.delete("a").await.unwrap();
        assert!(store.revision().await.unwrap() > last);
        assert!(matches!(
            store.delete("a").await,
            Err(StoreError::Unknown { .. })
        ));
        assert!(matches!(
            store.change("a", &Change::Enabled(true)).await,
            Err(StoreError::Unknown { .. })
        ));
    }

    #[tokio::test]
    async fn an_id_is_never_given_twice() {
        let (_folder, store) = store().await;
        store.insert(&[row("a")]).await.unwrap();
        let first = store.users().await.unwrap().1[0].id;
        store.delete("a").await.unwrap();
        store.insert(&[row("a")]).await.unwrap();
        assert_ne!(store.users().await.unwrap().1[0].id, first);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_private_and_opens_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let database = Database::file(folder.path().join("users.db"));
        Store::open(&database)
            .await
            .unwrap()
            .insert(&[row("a")])
            .await
            .unwrap();
        let mode = std::fs::metadata(database.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            Store::open(&database)
                .await
                .unwrap()
                .users()
                .await
                .unwrap()
                .1
                .len(),
            1
        );
    }

    #[tokio::test]
    async fn what_is_no_database_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.db");
        std::fs::write(
            &path,
            "this is not SQLite, and it is longer than a header would be".repeat(20),
        )
        .unwrap();
        let error = Store::open(&Database::file(&path)).await.unwrap_err();
        assert!(error.to_string().contains("users.db"), "{error}");
    }
}
