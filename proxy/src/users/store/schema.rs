//! The tables, as migrations: each runs once in a database, and is never changed.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::Kind;

/// Number, name, and the statements for each kind of database.
type Step = (i64, &'static str, &'static str, &'static str);

const STEPS: &[Step] = &[
    (
        1,
        "users",
        include_str!("../../../migrations/sqlite/0001_users.sql"),
        include_str!("../../../migrations/postgres/0001_users.sql"),
    ),
    (
        2,
        "rules",
        include_str!("../../../migrations/sqlite/0002_rules.sql"),
        include_str!("../../../migrations/postgres/0002_rules.sql"),
    ),
    (
        3,
        "shadowsocks",
        include_str!("../../../migrations/sqlite/0003_shadowsocks.sql"),
        include_str!("../../../migrations/postgres/0003_shadowsocks.sql"),
    ),
    (
        4,
        "audit",
        include_str!("../../../migrations/sqlite/0004_audit.sql"),
        include_str!("../../../migrations/postgres/0004_audit.sql"),
    ),
    (
        5,
        "stakes",
        include_str!("../../../migrations/sqlite/0005_stakes.sql"),
        include_str!("../../../migrations/postgres/0005_stakes.sql"),
    ),
];

/// What brings a database of `kind` to the current schema.
pub(super) fn migrations(kind: Kind) -> Migrator {
    let step = |&(number, name, sqlite, postgres): &Step| {
        let sql = match kind {
            Kind::Sqlite => sqlite,
            Kind::Postgres => postgres,
        };
        let sql = sql.into_sql_str();
        Migration::new(number, name.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(STEPS.iter().map(step).collect())
}
