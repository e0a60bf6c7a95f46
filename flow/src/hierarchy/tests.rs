use alloc::vec::Vec;
use core::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::stream::{Grant, Stream};
use crate::{Policy, Timestamp};

const RATE: u64 = 100_000;
const BURST: u64 = 3_000;
const TURN: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

/// A class: weight, floor in bytes per second (0 is none), and its ceiling.
type Kind = (u32, u64, u64);

/// What classes get in ten seconds under a cap, and the most that passed beyond
/// `rate x time + burst`. Each asks for a piece at a time, as its ceiling lets it.
fn run(kinds: &[Kind]) -> Vec<u64> {
    let cap: Policy = "token-bucket:rate=100kB/s,burst=3kB".parse().unwrap();
    let mut cap = Stream::new(cap, cap.build());
    cap.set_quantum(ByteSize::new(TURN));
    let mut order = Hierarchy::new(ByteSize::new(TURN));
    let classes: Vec<_> = kinds
        .iter()
        .map(|&(weight, floor, _)| {
            let floor = ByteRate::new(floor).map(|rate| Floor {
                rate,
                burst: ByteSize::new(2 * TURN),
            });
            order.join(NonZeroU32::new(weight).unwrap(), floor)
        })
        .collect();
    let mut got = alloc::vec![0; kinds.len()];
    let mut now = Timestamp::ZERO;
    let end = Timestamp::from_nanos(10 * SECOND);
    while now < end {
        for ((&class, &(_, _, ceiling)), got) in classes.iter().zip(kinds).zip(&got) {
            let allowed = ceiling.saturating_mul(now.as_nanos()) / SECOND + TURN;
            let wanted = (allowed - got).min(4 * TURN);
            order.want(now, class, ByteSize::new(wanted));
        }
        let Some((_, wanted)) = order.whose_turn(now) else {
            now = Timestamp::from_nanos(now.as_nanos() + SECOND / 1_000);
            continue;
        };
        match cap.grant(now, wanted) {
            Grant::Now(available) => {
                let (class, granted) = order.serve(now, available).unwrap();
                cap.commit(now, granted);
                let index = classes.iter().position(|&one| one == class).unwrap();
                got[index] += granted.get();
                let all: u64 = got.iter().sum();
                let most = RATE * now.as_nanos() / SECOND + BURST;
                assert!(all <= most, "{all} of {most}");
            }
            Grant::At(later) => now = later,
            Grant::Never => panic!("never"),
        }
    }
    got
}

const FREE: u64 = u64::MAX / SECOND / 100;

#[test]
fn what_is_left_goes_by_weight() {
    let got = run(&[(1, 0, FREE), (3, 0, FREE)]);
    assert!(got[1].abs_diff(3 * got[0]) <= 8 * TURN, "{got:?}");
}

#[test]
fn slack_is_lent_to_those_who_can_use_it() {
    // The first uses a tenth of its floor; the others share the rest.
    let got = run(&[(1, 50_000, 5_000), (1, 0, FREE), (1, 0, FREE)]);
    assert!(got[0] >= 49_000, "{got:?}");
    assert!(got[1].abs_diff(got[2]) <= 4 * TURN, "{got:?}");
    assert!(got.iter().sum::<u64>() >= 10 * RATE - 2 * TURN, "{got:?}");
}

#[test]
fn a_floor_is_kept_beside_a_hundred_others() {
    let mut kinds = alloc::vec![(1, 0, FREE); 100];
    kinds.push((1, 40_000, FREE));
    let got = run(&kinds);
    assert!(got[100] >= 400_000 - 3 * TURN, "{}", got[100]);
    // And no more than its floor, its burst and an equal part of the rest.
    assert!(got[100] <= 400_000 + 2 * TURN + 10 * TURN, "{}", got[100]);
}

#[test]
fn a_class_can_be_changed_while_it_waits() {
    let weight = |weight| NonZeroU32::new(weight).unwrap();
    let floor = |rate| {
        ByteRate::new(rate).map(|rate| Floor {
            rate,
            burst: ByteSize::new(2 * TURN),
        })
    };
    let mut order = Hierarchy::new(ByteSize::new(TURN));
    let one = order.join(weight(1), None);
    let other = order.join(weight(1), None);
    let (now, much) = (Timestamp::ZERO, ByteSize::new(1_000 * TURN));
    let served = |order: &mut Hierarchy, turns| {
        let mut ones = 0;
        for _ in 0..turns {
            order.want(now, one, much);
            order.want(now, other, much);
            let (who, _) = order.serve(now, ByteSize::new(TURN)).unwrap();
            ones += u64::from(who == one);
        }
        ones
    };
    assert_eq!(served(&mut order, 10), 5);
    order.set_class(now, one, weight(3), None);
    assert!(served(&mut order, 40).abs_diff(30) <= 1);
    // A new floor has a burst of two turns at once, another rate for it has no more.
    order.set_class(now, one, weight(1), floor(1_000));
    order.set_class(now, other, weight(1), None);
    assert_eq!(served(&mut order, 2), 2);
    order.set_class(now, one, weight(1), floor(2_000));
    assert!(served(&mut order, 40).abs_diff(20) <= 2);
    // Whoever has left has nothing.
    order.leave(other);
    order.set_class(now, other, weight(1), floor(1_000));
    assert_eq!(served(&mut order, 5), 5);
}

#[test]
fn whoever_left_is_not_served() {
    let mut order = Hierarchy::new(ByteSize::new(TURN));
    let rate = ByteRate::new(1_000).unwrap();
    let burst = ByteSize::new(TURN);
    let gone = order.join(NonZeroU32::MIN, Some(Floor { rate, burst }));
    order.want(Timestamp::ZERO, gone, ByteSize::new(5_000));
    assert_eq!(order.waiting(), 1);
    order.leave(gone);
    let late = Timestamp::from_nanos(100 * SECOND);
    assert_eq!(order.waiting(), 0);
    assert_eq!(order.serve(late, ByteSize::MAX), None);
    let next = order.join(NonZeroU32::MIN, None);
    order.want(late, gone, ByteSize::new(5_000));
    assert_eq!(order.serve(late, ByteSize::MAX), None);
    order.want(late, next, ByteSize::new(1));
    assert_eq!(
        order.serve(late, ByteSize::MAX),
        Some((next, ByteSize::new(1)))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The cap holds (asserted in `run`) and is used up, every floor is kept, and
    /// those without a floor get equal parts, weighted.
    #[test]
    fn floors_are_kept_and_the_rest_is_shared(
        floors in proptest::collection::vec(0_u64..20_000, 1..6),
        weights in proptest::collection::vec(1_u32..5, 1..5),
    ) {
        let assured = floors.iter().map(|&floor| (1, floor, FREE));
        let plain = weights.iter().map(|&weight| (weight, 0, FREE));
        // They add up to the cap at most.
        let kinds: Vec<Kind> = assured.chain(plain).collect();
        let got = run(&kinds);
        let all: u64 = got.iter().sum();
        prop_assert!(all >= 10 * RATE - 2 * TURN, "{all}");
        for (got, floor) in got.iter().zip(&floors) {
            let slack = (floors.len() as u64 + 3) * TURN;
            prop_assert!(got + slack >= 10 * floor, "{got} of {}", 10 * floor);
        }
        let rest: Vec<_> = got[floors.len()..]
            .iter()
            .zip(&weights)
            .map(|(got, &weight)| got / u64::from(weight))
            .collect();
        let spread = rest.iter().max().unwrap() - rest.iter().min().unwrap();
        prop_assert!(spread <= 3 * TURN, "{rest:?}");
    }
}
