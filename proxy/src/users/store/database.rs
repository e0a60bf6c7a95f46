//! Where the accounts are kept, and what can go wrong there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::users::rules::RuleError;

/// Where the accounts are kept: a SQLite file or a PostgreSQL database.
///
/// Written as a path, as `sqlite:///var/lib/weirgate/weirgate.db` or as
/// `postgres://user:password@host:5432/database`. A password in a URL is
/// never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Database(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(String),
}

/// What the database could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names a database that this program does not speak to.
    #[error("{scheme:?} is no database we know: write a path, {KNOWN}")]
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
    /// The database cannot be opened.
    #[error("cannot open the database {database}")]
    Open {
        /// Which one.
        database: Database,
        /// Why not.
        source: sqlx::Error,
    },
    /// The schema is not one of ours, or newer than this program.
    #[error("cannot bring the database {database} to the current schema")]
    Schema {
        /// Which one.
        database: Database,
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
    /// A user, or the rules, were changed since somebody looked.
    #[error("{name:?} has been changed meanwhile")]
    Stale {
        /// Whose settings, or `rules` for everybody's.
        name: String,
    },
    /// A rule in the database is not one that this program can read.
    #[error("the database has a rule that we cannot read")]
    Rule(#[from] RuleError),
    /// A statement failed.
    #[error("the database does not answer")]
    Query(#[from] sqlx::Error),
}

#[cfg(feature = "postgres")]
const KNOWN: &str = "sqlite:///absolute/path or postgres://user@host/database";
#[cfg(not(feature = "postgres"))]
const KNOWN: &str = "or sqlite:///absolute/path (this build has no PostgreSQL)";

impl Database {
    /// The SQLite file at `path`, made if it does not exist.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => None,
        }
    }

    /// The URL to connect to; that of a file needs its folder to exist.
    pub(super) fn url(&self) -> io::Result<String> {
        match &self.0 {
            Place::File(path) => file_url(path),
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => Ok(url.clone()),
        }
    }
}

/// A URL cannot hold `..`, nor a path that is relative.
fn file_url(path: &Path) -> io::Result<String> {
    let path = path.canonicalize()?;
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not Unicode"))?;
    let mut url = String::from("sqlite://");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(url)
}

impl FromStr for Database {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let path = match url.split_once(':') {
            Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                return Ok(Self(Place::Postgres(url.to_owned())));
            }
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
        match &self.0 {
            Place::File(path) => write!(f, "sqlite://{}", path.display()),
            #[cfg(feature = "postgres")]
            Place::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL with every password in it replaced.
#[cfg(feature = "postgres")]
fn masked(url: &str) -> String {
    let (rest, query) = match url.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (url, None),
    };
    let mut masked = match rest.split_once("://") {
        Some((scheme, rest)) => {
            // The last @ of all: an unescaped one may stand in a password.
            match rest.rsplit_once('@') {
                Some((login, host)) => {
                    let name = login.split_once(':').map(|(name, _)| name);
                    let name = name.map_or(login.to_owned(), |name| format!("{name}:***"));
                    format!("{scheme}://{name}@{host}")
                }
                None => format!("{scheme}://{rest}"),
            }
        }
        None => rest.to_owned(),
    };
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((key, _)) if key.to_ascii_lowercase().contains("password") => {
                format!("{key}=***")
            }
            _ => pair.to_owned(),
        });
        masked.push('?');
        masked.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let path = |url: &str| {
            let database = url.parse::<Database>();
            database.map(|database| database.path().map(|path| path.display().to_string()))
        };
        let file = |name: &str| Some(name.to_owned());
        assert_eq!(
            path("sqlite:///var/lib/w.db").unwrap(),
            file("/var/lib/w.db")
        );
        assert_eq!(path("sqlite://w.db").unwrap(), file("w.db"));
        assert_eq!(path("sqlite:w.db").unwrap(), file("w.db"));
        assert_eq!(path("/tmp/a:b.db").unwrap(), file("/tmp/a:b.db"));
        assert!(matches!(path("mysql://x"), Err(StoreError::Scheme { .. })));
        assert!(path("").is_err());
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            (
                "postgres://w:se:cr@et@db:5432/w",
                "postgres://w:***@db:5432/w",
            ),
            ("postgres://w@db/w", "postgres://w@db/w"),
            ("postgres://db/w", "postgres://db/w"),
            (
                "postgresql://db/w?user=w&password=secret",
                "postgresql://db/w?user=w&password=***",
            ),
        ] {
            let database: Database = url.parse().unwrap();
            assert_eq!(database.to_string(), shown);
            assert_eq!(format!("{database:?}"), shown);
            assert_eq!(database.url().unwrap(), url);
            assert_eq!(database.path(), None);
        }
    }

    #[test]
    fn the_url_of_a_file_holds_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?c#d%41.db");
        std::fs::write(&path, "").unwrap();
        let url = Database::file(&path).url().unwrap();
        assert!(url.ends_with("/a%20b%3Fc%23d%2541.db"), "{url}");
    }
}
