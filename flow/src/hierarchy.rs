//! Who goes next under a cap that many users share: floors first, then what is
//! left by weight.
//!
//! As in hierarchical token buckets (M. Devera, "HTB Linux queuing discipline
//! manual", 2002) a class has a *floor*, a rate that it gets whenever it wants it,
//! and may borrow beyond: what nobody's floor needs is lent to those who can use
//! it, by their weights (deficit round robin, [`crate::share`]). Its *ceiling* is a
//! limiter of its own, in front of this one. Unlike there, nothing passes that the
//! cap does not let pass: floors decide who is next, not how much there is, so
//! the bound of the cap's limiter holds to the byte. Floors are kept as long as
//! they add up to no more than the cap's rate.
//!
//! ```
//! use std::num::NonZeroU32;
//! use weirgate_flow::hierarchy::{Floor, Hierarchy};
//! use weirgate_flow::{ByteRate, ByteSize, Timestamp};
//!
//! let mut order = Hierarchy::new(ByteSize::new(1_000));
//! let rate = ByteRate::new(10_000).expect("not zero");
//! let plain = order.join(NonZeroU32::MIN, None);
//! let assured = order.join(NonZeroU32::MIN, Some(Floor { rate, burst: ByteSize::new(1_000) }));
//! let (now, much) = (Timestamp::ZERO, ByteSize::new(5_000));
//! order.want(now, plain, much);
//! order.want(now, assured, much);
//! let mut served = Vec::new();
//! for _ in 0..3 {
//!     served.extend(order.serve(now, much).map(|(class, size)| (class, size.get())));
//! }
//! // Its floor, then by turns.
//! assert_eq!(served, [(assured, 1_000), (plain, 1_000), (assured, 1_000)]);
//! ```

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::share::{Member, Share};
use crate::token_bucket::TokenBucket;
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// What a class gets whenever it wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The rate.
    pub rate: ByteRate,
    /// What a class that was quiet may take of it at once; at least a turn, or
    /// the floor is served in pieces of this size.
    pub burst: ByteSize,
}

/// The classes under one cap and the order in which they are served.
///
/// Without a floor anywhere it is a [`Share`] and keeps its promises. With floors:
/// of what is served, a class that wants more all the time gets at least its
/// floor, less one burst of it and a turn of everybody whose floor is due at the
/// same time; and what is lent is shared as a [`Share`] shares it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Those whose floor is due. Both have the same members.
    assured: Share,
    /// Everybody, for what they want beyond.
    lent: Share,
    /// By [`Member::index`].
    classes: Vec<Class>,
    /// When the floors of those that wait are due again.
    rising: BTreeSet<(Timestamp, usize)>,
    waiting: usize,
    turn: ByteSize,
}

#[derive(Clone, Debug, Default)]
struct Class {
    member: Option<Member>,
    floor: Option<TokenBucket>,
    wanted: ByteSize,
    due: Option<Timestamp>,
    /// Whether it was last served from its floor.
    from_floor: bool,
}

impl Hierarchy {
    /// A cap without classes; `turn` as in [`Share::new`].
    #[must_use]
    pub fn new(turn: ByteSize) -> Self {
        Self {
            assured: Share::new(turn),
            lent: Share::new(turn),
            classes: Vec::new(),
            rising: BTreeSet::new(),
            waiting: 0,
            turn,
        }
    }

    /// Changes the turn for turns that begin from now on.
    pub fn set_turn(&mut self, turn: ByteSize) {
        self.turn = turn;
        self.assured.set_turn(turn);
        self.lent.set_turn(turn);
    }

    /// Adds a class that wants nothing yet; its floor starts with a full burst.
    pub fn join(&mut self, weight: NonZeroU32, floor: Option<Floor>) -> Member {
        // Both see the same joins and leaves, so the numbers are the same.
        let member = self.lent.join(weight);
        self.assured.join(NonZeroU32::MIN);
        if self.classes.len() <= member.index() {
            self.classes.resize_with(member.index() + 1, Class::default);
        }
        self.classes[member.index()] = Class {
            member: Some(member),
            floor: floor.map(|floor| TokenBucket::new(floor.rate, floor.burst)),
            ..Class::default()
        };
        member
    }

    /// Changes what a class has: its weight for turns that begin from now on, its
    /// floor at once. A floor that takes the place of another starts with no more
    /// credit than that one had.
    pub fn set_class(
        &mut self,
        now: Timestamp,
        class: Member,
        weight: NonZeroU32,
        floor: Option<Floor>,
    ) {
        if !self.knows(class) {
            return;
        }
        self.lent.set_weight(class, weight);
        let before = self.classes[class.index()].floor.take();
        self.classes[class.index()].floor = floor.map(|floor| {
            let mut next = TokenBucket::new(floor.rate, floor.burst);
            if let Some(before) = before {
                let (has, had) = (next.available(now), before.available(now));
                next.commit(now, ByteSize::new(has.get().saturating_sub(had.get())));
            }
            next
        });
        self.place(now, class);
    }

    /// Removes a class, whatever it still wants.
    pub fn leave(&mut self, class: Member) {
        if self.knows(class) {
            self.set_wanted(class.index(), ByteSize::ZERO);
            self.forget(class.index());
            self.classes[class.index()] = Class::default();
            self.assured.leave(class);
            self.lent.leave(class);
        }
    }

    /// Says how much `class` wants from `now` on, instead of what it wanted before;
    /// zero withdraws. A class that waits keeps its place.
    pub fn want(&mut self, now: Timestamp, class: Member, bytes: ByteSize) {
        if self.knows(class) {
            self.set_wanted(class.index(), bytes);
            self.place(now, class);
        }
    }

    /// Who is next at `now`, and how much it wants in this turn. `None` if nobody
    /// wants anything.
    pub fn whose_turn(&mut self, now: Timestamp) -> Option<(Member, ByteSize)> {
        while let Some(&(at, index)) = self.rising.first().filter(|(at, _)| *at <= now) {
            self.rising.remove(&(at, index));
            self.classes[index].due = None;
            if let Some(member) = self.classes[index].member {
                self.place(now, member);
            }
        }
        self.assured.whose_turn().or_else(|| self.lent.whose_turn())
    }

    /// Grants the next class what it wants in this turn, at most `available` bytes:
    /// who it was, and how much. `None` if nobody wants anything or nothing is
    /// available.
    pub fn serve(&mut self, now: Timestamp, available: ByteSize) -> Option<(Member, ByteSize)> {
        self.whose_turn(now)?;
        let from_floor = self.assured.waiting() > 0;
        let line = if from_floor {
            &mut self.assured
        } else {
            &mut self.lent
        };
        let (member, granted) = line.serve(available)?;
        let class = &mut self.classes[member.index()];
        class.from_floor = from_floor;
        if let Some(floor) = class.floor.as_mut().filter(|_| from_floor) {
            floor.commit(now, granted);
        }
        let wanted = class.wanted.get().saturating_sub(granted.get());
        self.set_wanted(member.index(), ByteSize::new(wanted));
        self.place(now, member);
        Some((member, granted))
    }

    /// Takes back `bytes` of what was granted to `class` last and did not move.
    pub fn give_back(&mut self, now: Timestamp, class: Member, bytes: ByteSize) {
        if !self.knows(class) {
            return;
        }
        let kept = &mut self.classes[class.index()];
        match kept.floor.as_mut().filter(|_| kept.from_floor) {
            Some(floor) => {
                floor.refund(now, bytes);
                self.assured.give_back(class, bytes);
            }
            None => self.lent.give_back(class, bytes),
        }
    }

    /// How many classes want something.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    fn set_wanted(&mut self, index: usize, bytes: ByteSize) {
        let wanted = &mut self.classes[index].wanted;
        self.waiting -= usize::from(*wanted > ByteSize::ZERO);
        self.waiting += usize::from(bytes > ByteSize::ZERO);
        *wanted = bytes;
    }

    fn knows(&self, class: Member) -> bool {
        let known = self.classes.get(class.index());
        known.is_some_and(|known| known.member == Some(class))
    }

    /// Splits what a class wants into what its floor has for it now and the rest,
    /// and notes when the floor has more.
    fn place(&mut self, now: Timestamp, member: Member) {
        let index = member.index();
        self.forget(index);
        let class = &mut self.classes[index];
        let mut from_floor = ByteSize::ZERO;
        if let Some(floor) = class
            .floor
            .as_ref()
            .filter(|_| class.wanted > ByteSize::ZERO)
        {
            let piece = class.wanted.min(self.turn);
            match floor.earliest(now, piece).or_else(|| {
                // A floor whose burst is less than a piece.
                floor.earliest(now, ByteSize::new(1))
            }) {
                Some(due) if due <= now => from_floor = class.wanted.min(floor.available(now)),
                Some(due) => {
                    class.due = Some(due);
                    self.rising.insert((due, index));
                }
                None => {}
            }
        }
        let rest = class.wanted.get() - from_floor.get();
        self.assured.want(member, from_floor);
        self.lent.want(member, ByteSize::new(rest));
    }

    fn forget(&mut self, index: usize) {
        if let Some(due) = self.classes[index].due.take() {
            self.rising.remove(&(due, index));
        }
    }
}

#[cfg(test)]
mod tests;
