use super::*;
use crate::users::rules::RulesText;
use crate::users::store::Booked;

const HASH: &str = "$argon2id$";

fn at(seconds: i64) -> Moment {
    Moment::from_unix_seconds(seconds)
}

fn row() -> UserRow {
    UserRow {
        id: 1,
        name: "ada".into(),
        password_hash: HASH.into(),
        enabled: true,
        created_at: at(0),
        rules: RulesText::default(),
        booked: Booked::default(),
    }
}

fn account() -> Arc<Account> {
    let ledger = Arc::new(Ledger::default());
    Arc::new(Account::new(&row(), Clock::of_the_runtime(), ledger))
}

/// Tells the account of rules at a moment that is far from any real deadline.
fn update(account: &Account, rules: &str, now: i64) -> Option<Moment> {
    account.update(&row(), read(rules), &Rules::default(), at(now))
}

/// `quota=… expires=… beyond=… rate=…`
fn read(text: &str) -> Rules {
    let mut rules = Rules::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "quota" => rules.quota = Some(value.parse().unwrap()),
            "expires" => rules.expires = Some(value.parse().unwrap()),
            "beyond" => rules.beyond = Some(value.parse().unwrap()),
            "connections" => rules.max_connections = Some(value.parse().unwrap()),
            "limit" => rules.limits = Some(Limits::Shared(value.parse().unwrap())),
            _ => panic!("{key}"),
        }
    }
    rules
}

fn rate(account: &Account) -> Option<u64> {
    let policies = account.state.lock().applied.policies();
    policies[0].map(|policy| policy.rate().unwrap().get())
}

fn is_over(admitted: &Authenticated) -> Option<Revocation> {
    let over = admitted.admission.over.is_cancelled();
    over.then(|| admitted.admission.why.get().copied().unwrap())
}

#[tokio::test]
async fn a_quota_acts_in_the_middle_of_a_connection() {
    let account = account();
    update(&account, "quota=100B", 0);
    let admitted = Arc::clone(&account).admit(HASH).unwrap();
    account.count(Direction::Up, 60);
    account.count(Direction::Down, 39);
    assert_eq!(is_over(&admitted), None);
    account.count(Direction::Up, 1);
    assert_eq!(is_over(&admitted), Some(Revocation::OverQuota));
    assert_eq!(account.user().standing, Standing::OverQuota);
    let again = Arc::clone(&account).admit(HASH);
    assert_eq!(again.unwrap_err(), Revocation::OverQuota);
    // A larger quota lets them in again.
    update(&account, "quota=200B", 0);
    assert!(Arc::clone(&account).admit(HASH).is_ok());
}

#[tokio::test]
async fn a_period_begins_anew() {
    let account = account();
    let next = update(&account, "quota=100B/daily", 86_400 + 5);
    assert_eq!(next, Some(at(2 * 86_400)));
    account.counters.set_stored(Booked {
        period: crate::users::PeriodUsage {
            start: at(86_400),
            usage: Usage {
                upload_bytes: 100,
                download_bytes: 0,
            },
        },
        ..Booked::default()
    });
    account.review(at(86_400 + 6));
    assert_eq!(account.user().standing, Standing::OverQuota);
    assert_eq!(account.review(at(2 * 86_400)), Some(at(3 * 86_400)));
    assert_eq!(account.user().standing, Standing::Good);
    assert_eq!(account.user().period.usage, Usage::default());
}

#[tokio::test]
async fn an_account_ends_when_it_says() {
    let account = account();
    let far = "expires=2100-01-01 quota=none";
    let end: Moment = "2100-01-01".parse().unwrap();
    let next = update(&account, far, end.unix_seconds() - 10);
    assert_eq!(next, Some(end));
    let admitted = Arc::clone(&account).admit(HASH).unwrap();
    account.review(at(end.unix_seconds() - 1));
    assert_eq!(is_over(&admitted), None);
    account.review(end);
    assert_eq!(is_over(&admitted), Some(Revocation::Expired));
    assert_eq!(admitted.revoked().await, Revocation::Expired);
}

#[tokio::test]
async fn whoever_is_to_be_slowed_down_goes_on_slowly() {
    let account = account();
    let rules = "quota=100B beyond=10B/s limit=token-bucket:rate=1000B/s,burst=1500B";
    update(&account, rules, 0);
    assert_eq!(rate(&account), Some(1_000));
    let admitted = Arc::clone(&account).admit(HASH).unwrap();
    account.count(Direction::Down, 100);
    assert_eq!(is_over(&admitted), None);
    assert_eq!(rate(&account), Some(10));
    assert_eq!(account.user().rules.limits, read(rules).limits);
    update(&account, &rules.replace("100B ", "200B "), 0);
    assert_eq!(rate(&account), Some(1_000));
}

#[tokio::test]
async fn somebody_unlimited_gets_a_budget_to_be_slowed_down() {
    let account = account();
    update(&account, "quota=100B beyond=10B/s", 0);
    let layout = account.layout();
    assert!(account.budget(Direction::Up).is_none());
    account.count(Direction::Down, 100);
    assert_ne!(account.layout(), layout, "open connections are told");
    assert!(account.budget(Direction::Up).is_some());
}

#[tokio::test]
async fn the_caps_that_hold_are_the_users_or_the_servers() {
    let account = account();
    update(&account, "", 0);
    let admitted = Arc::clone(&account).admit(HASH).unwrap();
    let source = [192, 0, 2, 1].into();
    let first = admitted.connection(1, source).unwrap();
    assert_eq!(
        admitted.connection(1, source).unwrap_err(),
        TooMany::Connections
    );
    update(&account, "connections=2", 0);
    let second = admitted.connection(1, source).unwrap();
    assert!(admitted.connection(1, source).is_err());
    update(&account, "connections=none", 0);
    assert!(admitted.connection(1, source).is_ok());
    drop((first, second));
}
