//! Rows of the database as values.

use sqlx::any::AnyRow;
use sqlx::{Any, Row};

use super::{Booked, UserRow};
use crate::users::calendar::Moment;
use crate::users::limits::LimitText;
use crate::users::rules::RulesText;
use crate::users::{PeriodUsage, Usage};

/// The columns of a rule, in the order of [`RulesText::columns`].
macro_rules! rule_columns {
    () => {
        "limit_shared, limit_up, limit_down, max_connections, max_addresses, quota, expires, beyond, \
         egress, weight, floor"
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

pub(super) use {rule_columns, select_users};

pub(super) type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

pub(super) fn bind_rules<'q>(query: Query<'q>, rules: &RulesText) -> Query<'q> {
    rules
        .columns()
        .into_iter()
        .fold(query, |query, column| query.bind(column.clone()))
}

pub(super) fn user(row: &AnyRow) -> Result<UserRow, sqlx::Error> {
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

pub(super) fn rules(row: &AnyRow) -> Result<RulesText, sqlx::Error> {
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
        egress: row.try_get("egress")?,
        weight: row.try_get("weight")?,
        floor: row.try_get("floor")?,
    })
}

pub(super) fn booked(row: &AnyRow) -> Result<Booked, sqlx::Error> {
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

/// SQL has no unsigned integers; eight exabytes are enough for one delta.
pub(super) fn to_column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn from_column(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}
