use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flow::ByteRate;

use super::*;

impl Claim {
    async fn acquire(&mut self, wanted: u64) -> Result<u64, Refusal> {
        std::future::poll_fn(|context| self.poll_acquire(wanted, context)).await
    }
}

fn budget(policy: &str) -> Arc<Budget> {
    Arc::new(Budget::new(
        policy.parse().unwrap(),
        Clock::of_the_runtime(),
    ))
}

/// Tasks that always want more, and what they were granted together.
fn flood(budget: &Arc<Budget>, tasks: usize) -> Arc<AtomicU64> {
    let moved = Arc::new(AtomicU64::new(0));
    for _ in 0..tasks {
        let (mut claim, moved) = (budget.join(), Arc::clone(&moved));
        tokio::spawn(async move {
            while let Ok(granted) = claim.acquire(16_384).await {
                moved.fetch_add(granted, Ordering::Relaxed);
            }
        });
    }
    moved
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_share_one_limit_and_one_timer() {
    let moved = flood(&budget("token-bucket:rate=100kB/s,burst=1500B"), 1_000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (moved, all) = (moved.load(Ordering::Relaxed), 1_500 + 60 * 100_000);
    assert!(
        moved <= all && all - moved < all / 1_000,
        "{moved} of {all}"
    );
}

/// What budgets without a limit of their own get in ten seconds under a cap, each with
/// its stake; then they have those of `later`, and what they get in ten more.
async fn staked(floor: Option<u64>, stakes: &[Stake], later: &[Stake]) -> [Vec<u64>; 2] {
    let clock = Clock::of_the_runtime();
    let cap = "token-bucket:rate=100kB/s,burst=4kB".parse().unwrap();
    let floor = floor.and_then(ByteRate::new);
    clock.set_cap(Cap::new(cap, floor, Clock::of_the_runtime()));
    let budget = |stake: &Stake| {
        let budget = Budget::new("none".parse().unwrap(), clock.clone());
        Arc::new(budget.with_stake(*stake))
    };
    let budgets: Vec<_> = stakes.iter().map(budget).collect();
    let moved: Vec<_> = budgets.iter().map(|budget| flood(budget, 3)).collect();
    let mut taken = vec![0; stakes.len()];
    let mut period = async || {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let now: Vec<_> = moved.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let before = std::mem::replace(&mut taken, now.clone());
        now.iter()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect()
    };
    let first = period().await;
    for (budget, stake) in budgets.iter().zip(later) {
        budget.set_stake(*stake);
    }
    [first, period().await]
}

fn stake(weight: u32, floor: Option<u64>) -> Stake {
    Stake {
        weight: NonZeroU32::new(weight).unwrap(),
        floor: floor.map(ByteRate::new),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cap_lends_goes_by_weight_and_another_weight_holds_at_once() {
    let [first, then] = staked(
        None,
        &[stake(1, None), stake(3, None)],
        &[stake(4, None), stake(1, None)],
    )
    .await;
    for (got, parts) in [(first, [1, 3]), (then, [4, 1])] {
        let all: u64 = got.iter().sum();
        assert!((990_000..=1_005_000).contains(&all), "{got:?}");
        let fair = all / (parts[0] + parts[1]) * parts[0];
        assert!(got[0].abs_diff(fair) <= all / 50, "{got:?} of {parts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn floors_of_single_budgets_are_kept_and_changed_beside_that_of_all() {
    // Nine with the 5 kB/s of everybody, one with 40 kB/s, one with none; then the
    // one with none has 40 kB/s, and the other nothing.
    let mut stakes = vec![stake(1, None); 9];
    stakes.extend([stake(1, Some(40_000)), stake(1, Some(0))]);
    let mut later = stakes.clone();
    later.swap(9, 10);
    for (got, floor) in staked(Some(5_000), &stakes, &later)
        .await
        .iter()
        .zip([9, 10])
    {
        assert!(got[..9].iter().all(|&got| got >= 48_000), "{got:?}");
        assert!(got[floor] >= 390_000, "{got:?}");
        // What nobody's floor needs, 15 kB/s, is lent to all eleven.
        assert!(got[19 - floor] <= 30_000, "{got:?}");
        assert!(got.iter().sum::<u64>() <= 1_005_000, "{got:?}");
    }
}

/// What each of `policies` gets in ten seconds under a cap.
async fn capped(cap: &str, floor: Option<u64>, policies: &[&str]) -> Vec<u64> {
    let clock = Clock::of_the_runtime();
    let floor = floor.and_then(ByteRate::new);
    let cap = Cap::new(cap.parse().unwrap(), floor, Clock::of_the_runtime());
    clock.set_cap(cap);
    let moved: Vec<_> = policies
        .iter()
        .map(|policy| {
            let budget = Budget::new(policy.parse().unwrap(), clock.clone());
            flood(&Arc::new(budget), 3)
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(10)).await;
    moved
        .iter()
        .map(|moved| moved.load(Ordering::Relaxed))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_cap_holds_for_all_and_lends_what_some_do_not_need() {
    let slow = "token-bucket:rate=10kB/s,burst=1500B";
    let fast = "token-bucket:rate=1MB/s,burst=10kB";
    let got = capped(
        "token-bucket:rate=200kB/s,burst=4kB",
        None,
        &[slow, fast, "none"],
    )
    .await;
    let all: u64 = got.iter().sum();
    assert!((1_990_000..=2_004_000).contains(&all), "{got:?}");
    assert!((100_000..=101_500).contains(&got[0]), "{got:?}");
    assert!(got[1].abs_diff(got[2]) < 20_000, "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_floor_is_kept_under_a_cap() {
    let fast = ["none"; 20];
    let cap = "token-bucket:rate=100kB/s,burst=4kB";
    let got = capped(cap, Some(5_000), &fast).await;
    assert!(got.iter().all(|&got| got >= 44_000), "{got:?}");
    assert!(got.iter().sum::<u64>() <= 1_004_000, "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_cap_granted_and_nobody_moved_goes_back() {
    let clock = Clock::of_the_runtime();
    let cap = "token-bucket:rate=1B/s,burst=100B".parse().unwrap();
    clock.set_cap(Cap::new(cap, None, Clock::of_the_runtime()));
    let budget = |policy: &str| Arc::new(Budget::new(policy.parse().unwrap(), clock.clone()));
    let (one, other) = (budget("none"), budget("none"));
    let (mut first, mut second) = (one.join(), other.join());
    assert_eq!(first.acquire(100).await, Ok(100));
    first.give_back(60);
    assert_eq!(second.acquire(100).await, Ok(60));
    let waiting = tokio::spawn(async move { first.acquire(100).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    waiting.abort();
    let _ = waiting.await;
    second.give_back(60);
    assert_eq!(second.acquire(50).await, Ok(50));
}

#[tokio::test(start_paused = true)]
async fn a_changed_rate_reaches_those_that_wait() {
    let budget = budget("token-bucket:rate=1B/s,burst=1500B");
    let moved = flood(&budget, 2);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = moved.load(Ordering::Relaxed);
    budget.set_policy("token-bucket:rate=1000kB/s,burst=1500B".parse().unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = moved.load(Ordering::Relaxed) - before;
    assert!((90_000..=101_500).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_retired_budget_sends_everybody_away() {
    let budget = budget("token-bucket:rate=1B/s,burst=1B");
    let mut claim = budget.join();
    assert_eq!(claim.acquire(10).await, Ok(1));
    let waiting = tokio::spawn(async move { claim.acquire(10).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    budget.retire();
    assert_eq!(waiting.await.unwrap(), Err(Refusal::Retired));
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_to_one_that_left_goes_to_the_others() {
    let budget = budget("token-bucket:rate=1B/s,burst=100B");
    let mut stays = budget.join();
    let mut leaves = budget.join();
    assert_eq!(leaves.acquire(100).await, Ok(100));
    leaves.give_back(40);
    assert_eq!(stays.acquire(100).await, Ok(40));
}

#[tokio::test(start_paused = true)]
async fn windows_begin_with_the_traffic() {
    let budget = budget("fixed-window:limit=100B,window=1s");
    let mut claim = budget.join();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(claim.acquire(100).await, Ok(100));
    let start = tokio::time::Instant::now();
    assert_eq!(claim.acquire(100).await, Ok(100));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_limit_may_end_a_connection() {
    let budget = budget("shadowsocks-close:rate=1000B/s");
    let mut claim = budget.join();
    assert_eq!(claim.acquire(1_000).await, Ok(1_000));
    assert_eq!(claim.acquire(1_000).await, Err(Refusal::Never));
}
