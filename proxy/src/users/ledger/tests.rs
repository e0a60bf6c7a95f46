use super::*;

fn up(bytes: u64) -> Usage {
    Usage {
        upload_bytes: bytes,
        download_bytes: 0,
    }
}

fn booked(usage: u64, start: i64, period: u64) -> Booked {
    Booked {
        usage: up(usage),
        period: PeriodUsage {
            start: Moment::from_unix_seconds(start),
            usage: up(period),
        },
    }
}

/// An account in a database, and a ledger for it.
async fn books() -> (tempfile::TempDir, Store, Arc<Ledger>, Arc<Account>) {
    use crate::budget::Clock;
    use crate::users::{Database, Rules, Secret, UserRecord, Users};
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("users.db"));
    let users = Users::open(&database, crate::users::PasswordCost::LEAST);
    let users = users.await.unwrap();
    let secret = Secret::Password(b"secret".to_vec());
    let record = UserRecord::new("ada".into(), secret, Rules::default());
    users.import([record]).await.unwrap();
    let store = Store::open(&database, "writer".into()).await.unwrap();
    let row = store.snapshot().await.unwrap().users.remove(0);
    let ledger = Arc::new(Ledger::default());
    let account = Account::new(&row, Clock::of_the_runtime(), Arc::clone(&ledger));
    (folder, store, ledger, Arc::new(account))
}

async fn stored(store: &Store) -> u64 {
    let users = store.snapshot().await.unwrap().users;
    users[0].booked.usage.total()
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_neither_lost_nor_done_twice() {
    let (_folder, store, ledger, account) = books().await;
    for was_done in [true, false] {
        let before = stored(&store).await;
        account.count(Direction::Up, 10);
        // As `flush` does, but nobody hears of the outcome.
        let (sequence, deltas) = ledger.begin().unwrap();
        if was_done {
            store.add_usage(sequence, &deltas).await.unwrap();
        }
        account.count(Direction::Up, 1);
        assert_eq!(account.usage().total(), before + 11);
        ledger.flush(&store).await.unwrap();
        assert_eq!(stored(&store).await, before + 11, "done: {was_done}");
        assert_eq!(account.usage().total(), before + 11);
    }
}

/// A quota is one, whichever servers it is used up by.
#[tokio::test]
async fn what_another_server_has_counted_uses_up_the_quota_too() {
    use crate::users::{Database, Quota, Rules, Secret, Standing, UserRecord, Users};
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("users.db"));
    let open = async || {
        let users = Users::open(&database, crate::users::PasswordCost::LEAST);
        users.await.unwrap()
    };
    let one = open().await;
    let rules = Rules {
        quota: Some("100B".parse::<Quota>().unwrap()),
        ..Rules::default()
    };
    let secret = Secret::Password(b"secret".to_vec());
    let record = UserRecord::new("ada".into(), secret, rules);
    one.import([record]).await.unwrap();
    let two = open().await;
    let uses = async |users: &Users, bytes| {
        let account = Arc::clone(&users.0.accounts.read()["ada"]);
        account.count(Direction::Up, bytes);
        users.flush().await.unwrap();
        users.get("ada").unwrap().standing
    };
    assert_eq!(uses(&one, 60).await, Standing::Good);
    assert_eq!(uses(&two, 39).await, Standing::Good);
    assert_eq!(uses(&one, 1).await, Standing::OverQuota, "61, and 39 there");
    assert_eq!(uses(&two, 1).await, Standing::OverQuota);
}

/// However far the database came, what it and the journal have together is all.
#[tokio::test]
async fn the_journal_has_what_the_database_has_not_and_nothing_twice() {
    for was_done in [true, false] {
        let (_folder, store, ledger, account) = books().await;
        account.count(Direction::Up, 1);
        ledger.flush(&store).await.unwrap();
        let mut journal = Vec::new();
        account.count(Direction::Up, 10);
        let (sequence, deltas) = ledger.begin().unwrap();
        account.count(Direction::Down, 100);
        journal.extend(ledger.to_keep().entries);
        account.count(Direction::Up, 1_000);
        ledger.to_keep().forget();
        journal.extend(ledger.to_keep().entries);
        assert!(ledger.to_keep().entries.is_empty());
        if was_done {
            store.add_usage(sequence, &deltas).await.unwrap();
        }
        let all: u64 = journal
            .iter()
            .filter(|entry| !was_done || entry.sequence > sequence)
            .flat_map(|entry| &entry.deltas)
            .map(|delta| delta.usage.total())
            .sum();
        assert_eq!(stored(&store).await + all, 1_111, "done: {was_done}");
        // The process is killed here; another one brings over the rest, once.
        let next = store.of_another("next");
        for _ in 0..2 {
            next.add_left("writer", &journal).await.unwrap();
            assert_eq!(stored(&store).await, 1_111, "done: {was_done}");
        }
    }
}

#[tokio::test]
async fn once_the_database_has_a_write_the_journal_before_it_is_void() {
    let (_folder, store, ledger, account) = books().await;
    account.count(Direction::Up, 10);
    let before = ledger.to_keep().entries;
    account.count(Direction::Up, 5);
    let done = ledger.flush(&store).await.unwrap();
    assert!(before.iter().all(|entry| entry.sequence <= done));
    account.count(Direction::Up, 1);
    let after = ledger.to_keep().entries;
    assert!(after.iter().all(|entry| entry.sequence > done));
    let journal = [before, after].concat();
    store.add_left("writer", &journal).await.unwrap();
    assert_eq!(stored(&store).await, 16);
}

#[tokio::test]
async fn what_was_left_behind_belongs_to_its_own_period() {
    let (_folder, store, _ledger, account) = books().await;
    let entry = |sequence, start, bytes| Entry {
        sequence,
        at: Moment::now(),
        deltas: vec![Delta {
            id: account.id(),
            usage: up(bytes),
            period_start: Moment::from_unix_seconds(start),
        }],
    };
    let entries = [entry(1, 100, 1), entry(2, 200, 10), entry(3, 100, 100)];
    store.add_left("gone", &entries).await.unwrap();
    store
        .add_left("older", &[entry(1, 100, 1_000)])
        .await
        .unwrap();
    let user = store.snapshot().await.unwrap().users.remove(0);
    assert_eq!(user.booked, booked(1_111, 200, 10));
}

fn span(start: i64, end: i64) -> Span {
    Span {
        start: Moment::from_unix_seconds(start),
        end: Some(Moment::from_unix_seconds(end)),
    }
}

/// Nobody gets another quota by a clock that is set back, or keeps one that is used up
/// for longer than the period after it.
#[test]
fn a_clock_that_is_set_back_begins_no_period_anew() {
    let counters = Counters::default();
    counters.set_stored(booked(1_000, 200, 100));
    let quota = Some(100);
    assert!(counters.watch(quota, span(200, 300)));
    assert!(counters.watch(quota, span(100, 200)), "back by a period");
    assert_eq!(counters.taken(1).period_start.unix_seconds(), 200);
    assert!(counters.watch(quota, span(0, 100)), "and by two");
    assert_eq!(counters.taken(1).period_start.unix_seconds(), 0);
    assert!(
        counters.watch(quota, span(200, 300)),
        "nothing was written meanwhile"
    );
    assert!(!counters.watch(quota, span(300, 400)));
}

#[test]
fn a_quota_is_used_up_once() {
    let counters = Counters::default();
    let start = span(100, 200);
    counters.set_stored(booked(1_000, 100, 60));
    assert!(!counters.watch(Some(100), start));
    counters.add(Direction::Up, 39);
    assert!(!counters.trips());
    counters.add(Direction::Down, 1);
    assert!(counters.trips());
    assert!(!counters.trips(), "only one is told");
    assert!(counters.watch(Some(100), start), "and whoever asks");
    // A new period, in which nothing has been written yet.
    let delta = counters.taken(1);
    assert_eq!(delta.usage.total(), 40);
    counters.settle(delta.usage, Some(booked(1_040, 100, 100)));
    assert!(!counters.watch(Some(100), span(200, 300)));
    assert_eq!(counters.period().usage.total(), 0);
    assert_eq!(counters.usage().total(), 1_040);
}

#[test]
fn a_quota_without_a_period_counts_all_there_ever_was() {
    let counters = Counters::default();
    counters.set_stored(booked(1_000, 100, 60));
    let never = Period::Never.around(Moment::from_unix_seconds(500));
    assert!(!counters.watch(Some(1_001), never));
    counters.add(Direction::Up, 1);
    assert!(counters.trips());
    assert_eq!(counters.period().usage, up(1_001));
}

#[test]
fn what_others_wrote_counts_too() {
    let counters = Counters::default();
    counters.watch(Some(100), span(7, 8));
    counters.add(Direction::Up, 10);
    let delta = counters.taken(1);
    counters.add(Direction::Up, 5);
    // Another server has written 50 meanwhile.
    counters.settle(delta.usage, Some(booked(60, 7, 60)));
    assert_eq!(counters.usage(), up(65));
    assert_eq!(counters.period().usage, up(65));
    // Found out later that it had been written.
    let delta = counters.taken(1);
    counters.settle(delta.usage, None);
    assert_eq!(counters.usage(), up(65));
    assert_eq!(counters.taken(1).usage, Usage::default());
}
