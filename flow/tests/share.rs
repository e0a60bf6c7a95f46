//! The promises of deficit round robin.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;
use weirgate_flow::ByteSize;
use weirgate_flow::share::{Member, Share};

const ONE: NonZeroU32 = NonZeroU32::MIN;
const PLENTY: ByteSize = ByteSize::new(1 << 40);

fn weight(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap_or(ONE)
}

fn bytes(size: u64) -> ByteSize {
    ByteSize::new(size)
}

/// What happens to a share; members are named by the order they joined in.
#[derive(Clone, Debug)]
enum Event {
    Join { weight: u32 },
    Leave { who: usize },
    Want { who: usize, bytes: u64 },
    Serve { available: u64 },
    GiveBack { who: usize, bytes: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let who = 0..12_usize;
    let event = prop_oneof![
        1 => (1..6_u32).prop_map(|weight| Event::Join { weight }),
        1 => who.clone().prop_map(|who| Event::Leave { who }),
        6 => (who.clone(), prop_oneof![Just(0), 1..20_000_u64])
            .prop_map(|(who, bytes)| Event::Want { who, bytes }),
        12 => prop_oneof![Just(0), 1..100_u64, 1..20_000_u64]
            .prop_map(|available| Event::Serve { available }),
        1 => (who, 0..5_000_u64).prop_map(|(who, bytes)| Event::GiveBack { who, bytes }),
    ];
    proptest::collection::vec(event, 1..120)
}

/// A share beside the plainest account of what it must have done.
struct Watched {
    share: Share,
    joined: Vec<Member>,
    wanted: BTreeMap<Member, u64>,
    served: BTreeMap<Member, u64>,
}

impl Watched {
    fn new(turn: u64) -> Self {
        Self {
            share: Share::new(bytes(turn)),
            joined: Vec::new(),
            wanted: BTreeMap::new(),
            served: BTreeMap::new(),
        }
    }

    fn join(&mut self, weight: NonZeroU32) -> Member {
        let member = self.share.join(weight);
        assert_eq!(self.wanted.insert(member, 0), None, "a member twice");
        self.joined.push(member);
        member
    }

    fn want(&mut self, member: Member, size: u64) {
        self.share.want(member, bytes(size));
        if let Some(wanted) = self.wanted.get_mut(&member) {
            *wanted = size;
        }
    }

    /// Serves once and checks what came of it.
    fn serve(&mut self, available: u64) -> Option<(Member, u64)> {
        let somebody = self.wanted.values().any(|wanted| *wanted > 0);
        let named = self.share.whose_turn();
        assert_eq!(named.is_some(), somebody, "work conservation");
        let served = self.share.serve(bytes(available));
        assert_eq!(served.is_some(), somebody && available > 0);
        let (member, granted) = served?;
        let (next, most) = named?;
        assert_eq!((member, granted), (next, most.min(bytes(available))));
        let wanted = self.wanted.get_mut(&member)?;
        assert!((1..=*wanted).contains(&granted.get()));
        *wanted -= granted.get();
        *self.served.entry(member).or_default() += granted.get();
        Some((member, granted.get()))
    }

    fn apply(&mut self, event: &Event) -> Option<(Member, u64)> {
        match *event {
            Event::Join { weight: value } => {
                self.join(weight(value));
            }
            Event::Leave { who } => {
                if let Some(member) = self.joined.get(who).copied() {
                    self.share.leave(member);
                    self.wanted.remove(&member);
                }
            }
            Event::Want { who, bytes } => {
                if let Some(member) = self.joined.get(who).copied() {
                    self.want(member, bytes);
                }
            }
            Event::Serve { available } => return self.serve(available),
            Event::GiveBack { who, bytes: size } => {
                if let Some(member) = self.joined.get(who) {
                    self.share.give_back(*member, bytes(size));
                }
            }
        }
        None
    }

    fn served(&self, member: Member) -> u64 {
        self.served.get(&member).copied().unwrap_or_default()
    }
}

proptest! {
    /// Whatever happens, somebody who wants is served what it wants or less,
    /// and those who left or want nothing are not.
    #[test]
    fn serves_who_wants(turn in 1..5_000_u64, events in events()) {
        let mut watched = Watched::new(turn);
        for event in &events {
            watched.apply(event);
            let waiting = watched.wanted.values().filter(|wanted| **wanted > 0).count();
            prop_assert_eq!(watched.share.waiting(), waiting);
        }
        // All that is wanted is served in the end, and then nobody is left.
        for member in watched.joined.clone() {
            if watched.wanted.contains_key(&member) {
                watched.want(member, 2_000);
            }
        }
        while watched.serve(700).is_some() {}
        prop_assert_eq!(watched.share.waiting(), 0);
        prop_assert!(watched.share.whose_turn().is_none());
    }

    /// Two that want more all the time never drift more than two turns apart,
    /// over any stretch of time and whatever the others do.
    #[test]
    fn the_backlogged_stay_together(
        turn in 1..5_000_u64,
        weights in (1..6_u32, 1..6_u32),
        before in events(),
        events in events(),
    ) {
        let mut watched = Watched::new(turn);
        for event in &before {
            watched.apply(event);
        }
        let (one, other) = (watched.join(weight(weights.0)), watched.join(weight(weights.1)));
        let (mut least, mut most) = (0_i128, 0_i128);
        for event in &events {
            let others_only = match event {
                Event::Leave { who } | Event::Want { who, .. } | Event::GiveBack { who, .. } => {
                    watched.joined.get(*who).is_none_or(|who| ![one, other].contains(who))
                }
                Event::Join { .. } | Event::Serve { .. } => true,
            };
            watched.want(one, PLENTY.get());
            watched.want(other, PLENTY.get());
            if others_only {
                watched.apply(event);
            }
            let lead = i128::from(watched.served(one)) * i128::from(weights.1)
                - i128::from(watched.served(other)) * i128::from(weights.0);
            (least, most) = (least.min(lead), most.max(lead));
            let bound = 2 * i128::from(turn) * i128::from(weights.0) * i128::from(weights.1);
            prop_assert!(most - least <= bound, "{least} to {most}, bound {bound}");
        }
    }

    /// While one waits nobody else is served more than two turns, however
    /// eagerly it comes back.
    #[test]
    fn nobody_waits_more_than_a_round(
        turn in 1..5_000_u64,
        before in events(),
        events in events(),
        size in prop_oneof![Just(1_u64), Just(PLENTY.get())],
    ) {
        let mut watched = Watched::new(turn);
        for event in &before {
            watched.apply(event);
        }
        let waiter = watched.join(ONE);
        let mut others = BTreeMap::<Member, u64>::new();
        for event in &events {
            let others_only = match event {
                Event::Leave { who } | Event::Want { who, .. } => {
                    watched.joined.get(*who) != Some(&waiter)
                }
                // What is given back may be had again in the same turn.
                Event::GiveBack { .. } => false,
                Event::Join { .. } | Event::Serve { .. } => true,
            };
            watched.want(waiter, size);
            match others_only.then(|| watched.apply(event)).flatten() {
                Some((who, _)) if who == waiter => others.clear(),
                Some((who, granted)) => {
                    let total = others.entry(who).or_default();
                    *total += granted;
                    prop_assert!(*total <= 2 * 5 * turn, "the largest weight is 5");
                    watched.want(who, granted);
                }
                None => {}
            }
        }
    }
}

/// Jain's index times 1,000, cut.
fn jain_permille(shares: &[u64]) -> u128 {
    let sum: u128 = shares.iter().copied().map(u128::from).sum();
    let squares: u128 = shares.iter().map(|share| u128::from(*share).pow(2)).sum();
    1_000 * sum * sum / (squares * shares.len() as u128)
}

#[test]
fn always_backlogged_members_get_equal_shares() {
    for (count, turn) in [(4, 150), (32, 1_500), (64, 16_384), (1_000, 5_000)] {
        let mut share = Share::new(bytes(turn));
        let members: Vec<Member> = (0..count).map(|_| share.join(ONE)).collect();
        for member in &members {
            share.want(*member, PLENTY);
        }
        let mut served = BTreeMap::<Member, u64>::new();
        let mut state = 1_u64;
        for _ in 0..count * 400 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if let Some((member, granted)) = share.serve(bytes(1 + (state >> 33) % 20_000)) {
                *served.entry(member).or_default() += granted.get();
            }
        }
        let shares: Vec<u64> = served.into_values().collect();
        assert_eq!(shares.len() as u64, count);
        assert!(jain_permille(&shares) >= 999, "{count} members");
    }
}

#[test]
fn weights_divide_the_budget() {
    let mut share = Share::new(bytes(100));
    let light = share.join(ONE);
    let heavy = share.join(weight(3));
    let mut served = BTreeMap::<Member, u64>::new();
    for _ in 0..400 {
        share.want(light, PLENTY);
        share.want(heavy, PLENTY);
        if let Some((member, granted)) = share.serve(bytes(100)) {
            *served.entry(member).or_default() += granted.get();
        }
    }
    assert_eq!(served, BTreeMap::from([(light, 10_000), (heavy, 30_000)]));
}

#[test]
fn equal_weights_are_served_first_come_first_served() {
    let mut share = Share::new(bytes(1_000));
    let members: Vec<Member> = (0..1_000).map(|_| share.join(ONE)).collect();
    // They come in an order of their own, and come again as soon as served.
    let order: Vec<Member> = (0..1_000).map(|turn| members[turn * 7 % 1_000]).collect();
    for member in &order {
        share.want(*member, bytes(1_000));
    }
    for round in 0..3 {
        for expected in &order {
            let (member, granted) = share.serve(bytes(1_000)).expect("somebody waits");
            assert_eq!(
                (member, granted),
                (*expected, bytes(1_000)),
                "round {round}"
            );
            share.want(member, bytes(1_000));
        }
    }
}

#[test]
fn a_quiet_member_goes_before_the_busy_ones() {
    let mut share = Share::new(bytes(1_500));
    let busy: Vec<Member> = (0..31).map(|_| share.join(ONE)).collect();
    let quiet = share.join(ONE);
    for member in &busy {
        share.want(*member, PLENTY);
    }
    for _ in 0..200 {
        share.serve(bytes(700));
    }
    // As often as it likes within its turn, here within one round.
    for _ in 0..23 {
        share.want(quiet, bytes(64));
        assert_eq!(share.serve(bytes(700)), Some((quiet, bytes(64))));
    }
    share.want(quiet, bytes(64));
    assert_eq!(share.serve(bytes(700)), Some((quiet, bytes(28))));
    // Then it waits like the others, for a round at most.
    let mut before = 0;
    while let Some((_, granted)) = share.serve(bytes(1_500)).filter(|(who, _)| *who != quiet) {
        before += granted.get();
    }
    assert!((30 * 1_500..=31 * 1_500).contains(&before), "{before}");
}

/// As a relay asks: for more than its turn, and anew after each grant.
#[test]
fn who_used_up_a_turn_is_not_quiet_when_it_asks_anew() {
    let mut share = Share::new(bytes(1_500));
    let busy: Vec<_> = (0..5).map(|_| share.join(ONE)).collect();
    let quiet = share.join(ONE);
    busy.iter()
        .for_each(|&member| share.want(member, bytes(10_000)));
    for turns in 0..20 {
        // Two at once, so that a round ends between a grant and the next request.
        let served: Vec<_> = (0..2).map(|_| share.serve(bytes(1_500)).unwrap()).collect();
        for (member, granted) in served {
            assert_eq!(granted, bytes(1_500));
            share.want(member, ByteSize::ZERO);
            share.want(member, bytes(10_000));
        }
        // In the first round all of them are new.
        if turns >= 3 {
            share.want(quiet, bytes(1));
            assert_eq!(share.serve(bytes(1_500)), Some((quiet, bytes(1))));
        }
    }
}

#[test]
fn one_alone_is_not_held_to_its_turn() {
    let mut share = Share::new(bytes(1_500));
    let (one, other) = (share.join(ONE), share.join(ONE));
    share.want(one, bytes(1 << 20));
    assert_eq!(share.whose_turn(), Some((one, bytes(1 << 20))));
    share.want(other, bytes(1 << 20));
    assert_eq!(share.serve(PLENTY), Some((one, bytes(1_500))));
    assert_eq!(share.serve(PLENTY), Some((other, bytes(1_500))));
}

#[test]
fn what_is_given_back_counts_for_nothing() {
    let mut share = Share::new(bytes(1_500));
    let (one, other) = (share.join(ONE), share.join(ONE));
    share.want(one, bytes(10_000));
    share.want(other, bytes(10_000));
    assert_eq!(share.serve(bytes(1_000)), Some((one, bytes(1_000))));
    share.give_back(one, bytes(900));
    assert_eq!(share.serve(PLENTY), Some((one, bytes(1_400))));
    // No more than a turn, and not when the turn is over.
    share.give_back(one, bytes(1_400));
    assert_eq!(share.serve(PLENTY), Some((other, bytes(1_500))));
    assert_eq!(share.serve(PLENTY), Some((one, bytes(1_500))));
}

#[test]
fn who_left_is_forgotten() {
    let mut share = Share::new(bytes(1_500));
    let gone = share.join(ONE);
    share.want(gone, bytes(10));
    share.leave(gone);
    assert_eq!(share.whose_turn(), None);
    // The slot is used again; the old name does not reach the new member.
    let here = share.join(ONE);
    share.want(gone, bytes(10));
    share.leave(gone);
    assert_eq!(share.whose_turn(), None);
    share.want(here, bytes(10));
    assert_eq!(share.serve(PLENTY), Some((here, bytes(10))));
}

#[test]
fn a_request_can_be_withdrawn() {
    let mut share = Share::new(bytes(1_500));
    let (one, other) = (share.join(ONE), share.join(ONE));
    share.want(one, bytes(10));
    share.want(other, bytes(10));
    share.want(one, bytes(0));
    assert_eq!(share.waiting(), 1);
    assert_eq!(share.serve(PLENTY), Some((other, bytes(10))));
    assert_eq!(share.serve(PLENTY), None);
}
