//! Many connections behind one limiter, one queue and one timer.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use weirgate_flow::policy::AnyLimiter;
use weirgate_flow::share::{Member, Share};
use weirgate_flow::stream::{Grant, Stream};
use weirgate_flow::{ByteSize, Nanos, Policy, Timestamp};

const SECOND: u64 = 1_000_000_000;
const BUFFER: ByteSize = ByteSize::new(16_384);

/// A user's budget as a relay has it.
struct Budget {
    stream: Stream<AnyLimiter>,
    share: Share,
    now: Timestamp,
    /// How often the timer went off.
    wakes: u64,
    granted: BTreeMap<Member, u64>,
    order: Vec<Member>,
}

impl Budget {
    fn new(policy: &str) -> Self {
        let policy: Policy = policy.parse().expect("valid");
        let stream = Stream::new(policy, policy.build());
        Self {
            share: Share::new(stream.quantum()),
            stream,
            now: Timestamp::ZERO,
            wakes: 0,
            granted: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    fn join(&mut self, count: usize) -> Vec<Member> {
        (0..count)
            .map(|_| self.share.join(NonZeroU32::MIN))
            .collect()
    }

    /// Grants what can be granted now; when to look again.
    fn dispatch(&mut self, comes_again: impl Fn(Member) -> bool) -> Option<Timestamp> {
        while let Some((_, wanted)) = self.share.whose_turn() {
            match self.stream.grant(self.now, wanted) {
                Grant::Now(available) => {
                    let (member, granted) = self.share.serve(available)?;
                    self.stream.commit(self.now, granted);
                    *self.granted.entry(member).or_default() += granted.get();
                    self.order.push(member);
                    if comes_again(member) {
                        self.share.want(member, BUFFER);
                    }
                }
                Grant::At(later) => return Some(later),
                Grant::Never => return None,
            }
        }
        None
    }

    fn run_until(&mut self, end: Timestamp, comes_again: impl Fn(Member) -> bool) {
        while let Some(later) = self.dispatch(&comes_again) {
            if later > end {
                break;
            }
            self.now = later;
            self.wakes += 1;
        }
        self.now = end;
    }
}

#[test]
fn a_thousand_waiters_get_every_byte_in_order() {
    let mut budget = Budget::new("token-bucket:rate=100kB/s,burst=1500B");
    let members = budget.join(1_000);
    for member in &members {
        budget.share.want(*member, BUFFER);
    }
    budget.run_until(Timestamp::from_nanos(600 * SECOND), |_| true);
    let total: u64 = budget.granted.values().sum();
    let promised = 600 * 100_000 + 1_500;
    assert!((promised - 1_500..=promised).contains(&total), "{total}");
    // Turn after turn in the order they came in; a turn may have two pieces.
    budget.order.dedup();
    let mut in_turn = budget.order.iter().zip(members.iter().cycle());
    assert!(in_turn.all(|(who, expected)| who == expected));
    let least = budget.granted.values().min().expect("all were served");
    let most = budget.granted.values().max().expect("all were served");
    assert!(most - least <= 2 * 1_500, "{least} {most}");
    // One timer: it goes off once a piece, not once a waiter.
    assert!(budget.wakes <= total / 1_500 + 2, "{}", budget.wakes);
}

#[test]
fn the_sum_is_the_limit_for_any_number_of_connections() {
    for count in [1, 4, 32, 64, 1_000] {
        for rate in [1_u64, 1_000, 5_000, 1_000_003, 100_000_000] {
            let mut budget = Budget::new(&format!("token-bucket:rate={rate}B/s,burst=1500B"));
            for member in budget.join(count) {
                budget.share.want(member, BUFFER);
            }
            let seconds = if rate > 10_000_000 { 1 } else { 60 };
            budget.run_until(Timestamp::from_nanos(seconds * SECOND), |_| true);
            let total: u64 = budget.granted.values().sum();
            let promised = seconds * rate + 1_500;
            let quantum = budget.stream.quantum().get();
            let expected = promised.saturating_sub(quantum)..=promised;
            assert!(expected.contains(&total), "{count} at {rate}: {total}");
        }
    }
}

#[test]
fn an_echo_beside_busy_ones_waits_for_its_own_bytes_only() {
    let mut budget = Budget::new("token-bucket:rate=1MB/s,burst=10kB");
    let busy = budget.join(31);
    let quiet = budget.share.join(NonZeroU32::MIN);
    for member in busy {
        budget.share.want(member, BUFFER);
    }
    // After their first round, at odd moments within the wait for a piece.
    for echo in 4..400 {
        let asked_at = Timestamp::from_nanos(echo * 103_777_777);
        budget.run_until(asked_at, |member| member != quiet);
        budget.share.want(quiet, ByteSize::new(64));
        let granted_before = budget.granted.get(&quiet).copied().unwrap_or_default();
        // 64 bytes take 64 us at worst.
        let granted_by = asked_at + Nanos::from_micros(64);
        budget.run_until(granted_by, |member| member != quiet);
        assert_eq!(budget.granted.get(&quiet), Some(&(granted_before + 64)));
    }
}
