use super::*;
use crate::users::rules::Quota;

#[cfg(feature = "postgres")]
#[path = "../../../tests/common/postgres.rs"]
mod postgres;

fn row(name: &str) -> NewRow {
    NewRow {
        name: name.into(),
        password_hash: "$argon2id$".into(),
        enabled: true,
        created_at: Moment::from_unix_seconds(1),
        rules: RulesText::default(),
        usage: Usage::default(),
        period: PeriodUsage::default(),
        #[cfg(feature = "shadowsocks")]
        access: None,
    }
}

fn usage(upload_bytes: u64, download_bytes: u64) -> Usage {
    Usage {
        upload_bytes,
        download_bytes,
    }
}

async fn open(database: &Database) -> Store {
    Store::open(database, "writer".into()).await.unwrap()
}

async fn users(store: &Store) -> Vec<UserRow> {
    let mut users = store.snapshot().await.unwrap().users;
    users.sort_by(|a, b| a.name.cmp(&b.name));
    users
}

/// Everything below is said of every kind of database.
async fn all(store: &Store) {
    rows_come_back_and_names_stay_text(store).await;
    all_or_none_is_inserted(store).await;
    every_change_moves_the_revision_and_usage_does_not(store).await;
    usage_is_added_by_period(store).await;
    rules_for_everybody(store).await;
    an_id_is_never_given_twice(store).await;
    many_are_written_at_once(store).await;
}

/// As a full disk: what cannot be written now is rolled back, and what is written later is.
#[tokio::test]
async fn a_disk_that_was_full_is_written_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&Database::file(folder.path().join("users.db"))).await;
    // No more than it has.
    let full = sqlx::query("PRAGMA max_page_count = 1");
    full.execute(&store.pool).await.unwrap();
    let entry = |detail: String| crate::users::Audit {
        actor: "a test",
        action: "test",
        subject: "",
        detail,
    };
    let error = store.audit(&entry("x".repeat(1 << 20))).await.unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.contains("full"), "{error}");
    store.audit(&entry("{}".to_owned())).await.unwrap();
    assert_eq!(store.audited(None, 9).await.unwrap().len(), 1);
}

async fn forget_all(store: &Store) {
    for user in users(store).await {
        store.delete(&user.name, None, None).await.unwrap();
    }
}

async fn rows_come_back_and_names_stay_text(store: &Store) {
    let mut full = row("0123");
    full.enabled = false;
    full.rules.limits.up = Some("none".into());
    full.rules.quota = Some("10B/daily".into());
    full.usage = usage(1, 2);
    full.period.usage = usage(3, 4);
    let odd = row("x'or'1'='1 ¡ü\u{1F980}");
    store.insert(&[full, row("123"), odd], &[]).await.unwrap();
    let found = users(store).await;
    let names: Vec<_> = found.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["0123", "123", "x'or'1'='1 ¡ü\u{1F980}"]);
    assert_eq!(found[0].rules.limits.up.as_deref(), Some("none"));
    assert_eq!(found[0].rules.quota.as_deref(), Some("10B/daily"));
    assert_eq!(found[0].booked.usage, usage(1, 2));
    assert_eq!(found[0].booked.period.usage, usage(3, 4));
    assert_eq!((found[0].enabled, found[1].enabled), (false, true));
    assert_eq!(found[1].created_at, Moment::from_unix_seconds(1));
    forget_all(store).await;
}

async fn all_or_none_is_inserted(store: &Store) {
    store.insert(&[row("a")], &[]).await.unwrap();
    let error = store.insert(&[row("b"), row("a")], &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Exists { name } if name == "a"));
    assert_eq!(users(store).await.len(), 1);
    forget_all(store).await;
}

async fn every_change_moves_the_revision_and_usage_does_not(store: &Store) {
    store.insert(&[row("a")], &[]).await.unwrap();
    let mut last = store.revision().await.unwrap();
    let quota = RulesChange {
        quota: Some(Some(Quota::None)),
        ..RulesChange::default()
    };
    for change in [
        Change::Enabled(false),
        Change::PasswordHash("x".into()),
        Change::Rules(quota.clone()),
    ] {
        let (revision, row) = store
            .change("a", std::slice::from_ref(&change), None, None)
            .await
            .unwrap();
        assert_eq!(revision, last + 1, "{change:?}");
        assert_eq!(store.revision().await.unwrap(), revision);
        assert_eq!(row.name, "a");
        last = revision;
    }
    let id = users(store).await[0].id;
    let delta = Delta {
        id,
        usage: usage(3, 4),
        period_start: Moment::default(),
    };
    let gone = Delta { id: -1, ..delta };
    store.add_usage(1, &[delta, gone]).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), last);
    assert_eq!(store.delete("a", None, None).await.unwrap(), last + 1);
    let unknown = |error| matches!(error, StoreError::Unknown { .. });
    assert!(unknown(store.delete("a", None, None).await.unwrap_err()));
    for change in [Change::Enabled(true), Change::Rules(quota)] {
        assert!(unknown(
            store.change("a", &[change], None, None).await.unwrap_err()
        ));
    }
}

async fn usage_is_added_by_period(store: &Store) {
    /// In the year 2100.
    const FAR: i64 = 4_102_444_800;
    store.insert(&[row("a")], &[]).await.unwrap();
    let id = users(store).await[0].id;
    let delta = |start| Delta {
        id,
        usage: usage(3, 4),
        period_start: Moment::from_unix_seconds(start),
    };
    for (sequence, start, whole, period) in [
        (5, 100, (3, 4), (3, 4)),
        (6, 100, (6, 8), (6, 8)),
        (7, 200, (9, 12), (3, 4)),
        // A server whose clock is behind does not begin the period anew, and does not
        // end the one that has begun.
        (8, 100, (12, 16), (6, 8)),
        (9, 200, (15, 20), (9, 12)),
        // A clock that was years ahead does not put off the next period.
        (10, FAR, (18, 24), (3, 4)),
        (11, 200, (21, 28), (6, 8)),
        (12, 300, (24, 32), (3, 4)),
    ] {
        let booked = store.add_usage(sequence, &[delta(start)]).await.unwrap();
        let begun = if sequence == 8 { 200 } else { start };
        let expected = Booked {
            usage: usage(whole.0, whole.1),
            period: PeriodUsage {
                start: Moment::from_unix_seconds(begun),
                usage: usage(period.0, period.1),
            },
        };
        assert_eq!(booked, [(id, expected)]);
        assert_eq!(users(store).await[0].booked, expected);
        assert_eq!(store.last_written().await.unwrap(), sequence);
    }
    forget_all(store).await;
}

async fn rules_for_everybody(store: &Store) {
    let before = store.snapshot().await.unwrap();
    assert_eq!(before.rules, RulesText::default());
    let change = |quota| RulesChange {
        quota: Some(quota),
        ..RulesChange::default()
    };
    store
        .change_rules(&change(Some(Quota::None)), None, None)
        .await
        .unwrap();
    let after = store.snapshot().await.unwrap();
    assert_eq!(after.rules.quota.as_deref(), Some("none"));
    assert!(after.revision > before.revision);
    store.change_rules(&change(None), None, None).await.unwrap();
}

async fn an_id_is_never_given_twice(store: &Store) {
    store.insert(&[row("a")], &[]).await.unwrap();
    let first = users(store).await[0].id;
    forget_all(store).await;
    store.insert(&[row("a")], &[]).await.unwrap();
    assert_ne!(users(store).await[0].id, first);
    forget_all(store).await;
}

async fn many_are_written_at_once(store: &Store) {
    let rows: Vec<_> = (0..300)
        .map(|number| row(&format!("user{number}")))
        .collect();
    store.insert(&rows, &[]).await.unwrap();
    let everybody = users(store).await;
    let deltas: Vec<_> = everybody
        .iter()
        .zip(1..)
        .map(|(user, bytes)| Delta {
            id: user.id,
            usage: usage(bytes, 0),
            period_start: Moment::default(),
        })
        .collect();
    assert_eq!(store.add_usage(9, &deltas).await.unwrap().len(), 300);
    for (user, delta) in users(store).await.iter().zip(deltas) {
        assert_eq!(user.booked.usage, delta.usage);
    }
    forget_all(store).await;
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("deep/er/users ?#%.db"));
    all(&open(&database).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres() {
    let Some(mut server) = postgres::Postgres::start() else {
        return;
    };
    let store = open(&server.url().parse().unwrap()).await;
    all(&store).await;
    // Two processes make the tables at once, or one finds them made.
    let again = open(&server.url().parse().unwrap()).await;
    assert_eq!(users(&again).await.len(), 0);
    // A connection that is gone is made again.
    server.stop();
    assert!(store.revision().await.is_err());
    server.run();
    assert!(store.revision().await.is_ok());
    let wrong = server.url().replace("pa%3A", "no");
    let error = Store::open(&wrong.parse().unwrap(), "writer".into()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("weirgate:***@127.0.0.1"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_private_and_opens_again() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let database = Database::file(&path);
    open(&database)
        .await
        .insert(&[row("a")], &[])
        .await
        .unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(users(&open(&database).await).await.len(), 1);
}

#[tokio::test]
async fn what_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let text = "this is not SQLite, and it is longer than a header would be".repeat(20);
    std::fs::write(&path, text).unwrap();
    let opened = Store::open(&Database::file(&path), "writer".into()).await;
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("users.db"), "{error}");
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let database = Database::file(&path);
    let mut old = schema::migrations(Kind::Sqlite);
    old.migrations.to_mut().truncate(1);
    file::prepare(&database).unwrap();
    sqlx::any::install_default_drivers();
    let url = database.url().unwrap();
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    old.run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO users (name, password_hash, limit_shared, created_at) VALUES ('old', 'x', 'none', 1); \
         INSERT INTO usage (user_id, upload_bytes) VALUES (1, 7)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let found = users(&open(&database).await).await;
    assert_eq!(found[0].booked.usage, usage(7, 0));
    assert_eq!(found[0].rules.quota, None);
}
