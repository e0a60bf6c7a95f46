//! The `user.db` files of the two course-work proxies: SQLite tables with
//! passwords in plain text and rates in bytes per second.
//!
//! - `user(usrname, usrpassword)`, sometimes with `bandwidth`, `cur_amount` and
//!   `last_time`: one bucket for both directions.
//! - `user(username, password, rate)`: downloads alone are limited.

use std::path::Path;

use flow::ByteRate;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row};

use super::limits::token_bucket;
use super::{Limits, Rules, Secret, UserRecord};
use crate::budget::default_burst;

/// A row of such a file.
#[derive(Debug)]
pub struct LegacyUser {
    /// The name as it stands there.
    pub name: String,
    /// The user, or why there can be none.
    pub record: Result<UserRecord, String>,
}

/// What such a file holds.
#[derive(Debug)]
pub struct LegacyUsers {
    /// Everybody, in the order of the file.
    pub users: Vec<LegacyUser>,
    /// What of the file means nothing here.
    pub notes: Vec<String>,
}

/// Why a file is none of the two.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// It is no SQLite database, or cannot be read.
    #[error("cannot read it as a SQLite database")]
    Read(#[from] sqlx::Error),
    /// It has no table of users that we know.
    #[error(
        "it has no table user(usrname, usrpassword) or user(username, password, rate), but {found}"
    )]
    Unknown {
        /// What it has.
        found: String,
    },
}

/// One of the two kinds of tables.
struct Layout {
    query: &'static str,
    limits: fn(ByteRate) -> Limits,
    note: &'static str,
}

/// What each column is cast to keeps what is there: names that look like
/// numbers were stored as numbers.
const WITHOUT_RATE: Layout = Layout {
    query: "SELECT CAST(usrname AS TEXT), CAST(usrpassword AS TEXT), 'none' FROM user ORDER BY rowid",
    limits: shared,
    note: "this file has no rates: whoever is taken is limited as everybody",
};
const WITH_BANDWIDTH: Layout = Layout {
    query: "SELECT CAST(usrname AS TEXT), CAST(usrpassword AS TEXT), CAST(bandwidth AS TEXT) FROM user ORDER BY rowid",
    limits: shared,
    note: "bandwidth is bytes per second, one budget for both directions",
};
const WITH_RATE: Layout = Layout {
    query: "SELECT CAST(username AS TEXT), CAST(password AS TEXT), CAST(rate AS TEXT) FROM user ORDER BY rowid",
    limits: down,
    note: "rate is bytes per second from the targets to the user; uploads were not limited and are not",
};

/// Reads such a file, and changes nothing in it.
///
/// # Errors
/// [`LegacyError`]
pub async fn read_legacy(path: &Path) -> Result<LegacyUsers, LegacyError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .disable_statement_logging()
        .connect()
        .await?;
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info('user')")
        .fetch_all(&mut connection)
        .await?;
    let has = |names: &[&str]| {
        let has = |name: &&str| columns.iter().any(|column| column == name);
        names.iter().all(has)
    };
    let layout = if has(&["username", "password", "rate"]) {
        WITH_RATE
    } else if has(&["usrname", "usrpassword", "bandwidth"]) {
        WITH_BANDWIDTH
    } else if has(&["usrname", "usrpassword"]) {
        WITHOUT_RATE
    } else {
        let found = match columns.as_slice() {
            [] => "no such table".to_owned(),
            columns => format!("user({})", columns.join(", ")),
        };
        return Err(LegacyError::Unknown { found });
    };
    let rows = sqlx::query(layout.query).fetch_all(&mut connection).await?;
    connection.close().await?;
    let mut notes = vec![layout.note.to_owned()];
    for column in ["cur_amount", "last_time"] {
        if has(&[column]) {
            notes.push(format!("{column} is not taken: a bucket begins anew"));
        }
    }
    let users = rows.iter().map(|row| user(row, &layout)).collect();
    Ok(LegacyUsers { users, notes })
}

fn user(row: &SqliteRow, layout: &Layout) -> LegacyUser {
    let text = |index: usize| row.try_get::<Option<String>, _>(index).ok().flatten();
    let name = text(0).unwrap_or_default();
    let record = match (text(1), text(2)) {
        (None, _) => Err("there is no password".to_owned()),
        (_, None) => Err("there is no rate".to_owned()),
        (Some(password), Some(rate)) => rules(&rate, layout.limits).map(|rules| {
            let secret = Secret::Password(password.into_bytes());
            UserRecord::new(name.clone(), secret, rules)
        }),
    };
    let record = record.and_then(|record| match record.check() {
        Ok(()) => Ok(record),
        Err(error) => Err(error.to_string()),
    });
    LegacyUser { name, record }
}

fn rules(rate: &str, limits: fn(ByteRate) -> Limits) -> Result<Rules, String> {
    if rate == "none" {
        return Ok(Rules::default());
    }
    let whole = rate.parse().ok().and_then(ByteRate::new);
    let rate = whole.ok_or_else(|| format!("{rate:?} is no whole number of bytes per second"))?;
    Ok(limits(rate).into())
}

fn shared(rate: ByteRate) -> Limits {
    Limits::Shared(token_bucket(rate, default_burst(rate)))
}

fn down(rate: ByteRate) -> Limits {
    Limits::down(token_bucket(rate, default_burst(rate)))
}
