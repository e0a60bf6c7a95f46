//! Who goes next inside one budget: deficit round robin.
//!
//! Many connections wait for the bytes of one limiter. Each in turn may move up
//! to its *turn*, so many bytes for each unit of its weight, then goes to the
//! back (M. Shreedhar, G. Varghese, "Efficient Fair Queueing using Deficit Round
//! Robin", SIGCOMM 1995; a stream can be cut anywhere, so no deficit is carried
//! over). A connection that was quiet goes before those that are busy, for one
//! turn, as the new queues of RFC 8290 do: its small request need not wait for
//! a round of large ones.
//!
//! Every call takes the same time however many wait (those of [`Share::whose_turn`]
//! taken together), so one timer and one queue serve thousands:
//!
//! ```
//! use std::num::NonZeroU32;
//! use weirgate_flow::share::Share;
//! use weirgate_flow::stream::{Grant, Stream};
//! use weirgate_flow::{ByteSize, Limiter, Timestamp};
//!
//! /// Grants what the budget allows at `now` and answers when to call again.
//! fn dispatch<L: Limiter>(
//!     share: &mut Share,
//!     budget: &mut Stream<L>,
//!     now: Timestamp,
//!     mut wake: impl FnMut(weirgate_flow::share::Member, ByteSize),
//! ) -> Option<Timestamp> {
//!     while let Some((_, wanted)) = share.whose_turn() {
//!         match budget.grant(now, wanted) {
//!             Grant::Now(available) => {
//!                 let (member, granted) = share.serve(available)?;
//!                 budget.commit(now, granted);
//!                 wake(member, granted);
//!             }
//!             Grant::At(later) => return Some(later),
//!             Grant::Never => return None,
//!         }
//!     }
//!     None
//! }
//!
//! # let rate = weirgate_flow::ByteRate::new(16_384).expect("not zero");
//! # let limiter = weirgate_flow::as_coded::ShadowsocksDebt::new(rate);
//! # let mut budget = Stream::new(weirgate_flow::Policy::ShadowsocksDebt { rate }, limiter);
//! let mut share = Share::new(ByteSize::new(1_500));
//! let (one, other) = (share.join(NonZeroU32::MIN), share.join(NonZeroU32::MIN));
//! share.want(one, ByteSize::new(2_000));
//! share.want(other, ByteSize::new(100));
//! let mut woken = Vec::new();
//! dispatch(&mut share, &mut budget, Timestamp::ZERO, |member, granted| {
//!     woken.push((member, granted.get()));
//! });
//! assert_eq!(woken, [(one, 1_500), (other, 100), (one, 500)]);
//! ```

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::ByteSize;

mod line;

use line::{Line, Links, NOBODY};

/// One connection among those that share a budget.
///
/// It means nothing to another [`Share`], and nothing after [`Share::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    slot: u32,
    /// Tells members apart that had the same slot one after the other.
    generation: u32,
}

impl Member {
    /// A small number that no other present member has: the place to keep what
    /// else is known of it. Numbers of those that left are given again.
    #[must_use]
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

/// The connections of one budget and the order in which they are served.
///
/// Promises, for members that want more all the time: what two of them were
/// served, each divided by its weight, never differs by more than two turns;
/// nobody is served more than one turn between another's request and the first
/// byte of its answer; among equal weights it is first come, first served. As
/// long as anybody wants anything, [`Share::whose_turn`] names somebody.
#[derive(Clone, Debug)]
pub struct Share {
    turn: u64,
    slots: Vec<Slot>,
    /// A list of free slots, linked by `links.next`.
    free: u32,
    /// Those that were quiet until they asked; served first, once.
    fresh: Line,
    /// Those that have been served and may come again, also if just now they
    /// want nothing: who was served goes to the back before it is fresh again.
    round: Line,
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    weight: u32,
    wanted: u64,
    /// What is left of the turn.
    left: u64,
    place: Place,
    links: Links,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Idle,
    Fresh,
    Round,
}

impl Share {
    /// A budget without members. A turn is `turn` bytes (at least 1) for each
    /// unit of weight: the quantum of the stream in front is a good one, since
    /// smaller turns cut pieces and larger ones make the others wait.
    #[must_use]
    pub fn new(turn: ByteSize) -> Self {
        Self {
            turn: turn.get().max(1),
            slots: Vec::new(),
            free: NOBODY,
            fresh: Line::EMPTY,
            round: Line::EMPTY,
            waiting: 0,
        }
    }

    /// Changes the turn for turns that begin from now on.
    pub fn set_turn(&mut self, turn: ByteSize) {
        self.turn = turn.get().max(1);
    }

    /// Adds a member of the given weight that wants nothing yet.
    pub fn join(&mut self, weight: NonZeroU32) -> Member {
        let index = self.take_slot();
        let slot = &mut self.slots[index as usize];
        slot.weight = weight.get();
        slot.wanted = 0;
        slot.place = Place::Idle;
        Member {
            slot: index,
            generation: slot.generation,
        }
    }

    /// Removes a member, whatever it still wants.
    pub fn leave(&mut self, member: Member) {
        if !self.knows(member) {
            return;
        }
        self.set_wanted(member.slot, 0);
        self.remove(member.slot);
        let slot = &mut self.slots[member.slot as usize];
        slot.place = Place::Free;
        slot.generation = slot.generation.wrapping_add(1);
        slot.links.next = self.free;
        self.free = member.slot;
    }

    /// Changes a member's weight for turns that begin from now on.
    pub fn set_weight(&mut self, member: Member, weight: NonZeroU32) {
        if self.knows(member) {
            self.slots[member.slot as usize].weight = weight.get();
        }
    }

    /// Says how much `member` wants from now on, instead of what it wanted
    /// before; zero withdraws. A member that waits keeps its place.
    pub fn want(&mut self, member: Member, bytes: ByteSize) {
        if !self.knows(member) {
            return;
        }
        self.set_wanted(member.slot, bytes.get());
        let idle = self.slots[member.slot as usize].place == Place::Idle;
        if idle && bytes > ByteSize::ZERO {
            self.append(Place::Fresh, member.slot);
        }
    }

    /// Who is next, and how much it wants in this turn: all it wants if nobody
    /// else is about. `None` if nobody wants anything.
    pub fn whose_turn(&mut self) -> Option<(Member, ByteSize)> {
        loop {
            let (head, place) = match (self.fresh.head(), self.round.head()) {
                (Some(head), _) => (head, Place::Fresh),
                (None, Some(head)) => (head, Place::Round),
                (None, None) => return None,
            };
            let slot = self.slots[head as usize];
            if slot.wanted > 0 {
                let alone = self.fresh.len() + self.round.len() == 1;
                let most = if alone { u64::MAX } else { slot.left };
                let member = Member {
                    slot: head,
                    generation: slot.generation,
                };
                return Some((member, ByteSize::new(slot.wanted.min(most))));
            }
            // Who has had a part of its turn comes back behind the others.
            let had_some = place == Place::Fresh || slot.left < self.whole_turn(head);
            self.remove(head);
            if had_some {
                self.append(Place::Round, head);
            }
        }
    }

    /// Grants the next member what it wants in this turn, at most `available`
    /// bytes: who it was, and how much. `None` if nobody wants anything or
    /// nothing is available.
    pub fn serve(&mut self, available: ByteSize) -> Option<(Member, ByteSize)> {
        if available == ByteSize::ZERO {
            return None;
        }
        let (member, wanted) = self.whose_turn()?;
        let granted = wanted.min(available);
        let slot = &mut self.slots[member.slot as usize];
        slot.left = slot.left.saturating_sub(granted.get());
        let wanted = slot.wanted - granted.get();
        let turn_ends = slot.left == 0 || wanted == 0;
        self.set_wanted(member.slot, wanted);
        if turn_ends {
            self.remove(member.slot);
            self.append(Place::Round, member.slot);
        }
        Some((member, granted))
    }

    /// Takes back `bytes` that were granted to `member` and did not move: they
    /// do not count for its present turn. One that is over is over.
    pub fn give_back(&mut self, member: Member, bytes: ByteSize) {
        if self.knows(member) {
            let whole = self.whole_turn(member.slot);
            let slot = &mut self.slots[member.slot as usize];
            slot.left = slot.left.saturating_add(bytes.get()).min(whole);
        }
    }

    /// How many members want something.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn knows(&self, member: Member) -> bool {
        self.slots
            .get(member.slot as usize)
            .is_some_and(|slot| slot.place != Place::Free && slot.generation == member.generation)
    }

    fn whole_turn(&self, index: u32) -> u64 {
        let weight = self.slots[index as usize].weight;
        self.turn.saturating_mul(u64::from(weight))
    }

    fn set_wanted(&mut self, index: u32, bytes: u64) {
        let slot = &mut self.slots[index as usize];
        self.waiting -= usize::from(slot.wanted > 0);
        self.waiting += usize::from(bytes > 0);
        slot.wanted = bytes;
    }

    /// Puts an idle member at the back of a line, a whole turn before it.
    fn append(&mut self, place: Place, index: u32) {
        let whole = self.whole_turn(index);
        let slot = &mut self.slots[index as usize];
        slot.left = whole;
        slot.place = place;
        match place {
            Place::Fresh => self.fresh.push_back(&mut self.slots, index),
            Place::Round => self.round.push_back(&mut self.slots, index),
            Place::Free | Place::Idle => {}
        }
    }

    /// Takes a member out of the line it stands in; it is idle then.
    fn remove(&mut self, index: u32) {
        match self.slots[index as usize].place {
            Place::Fresh => self.fresh.remove(&mut self.slots, index),
            Place::Round => self.round.remove(&mut self.slots, index),
            Place::Free | Place::Idle => {}
        }
        self.slots[index as usize].place = Place::Idle;
    }

    fn take_slot(&mut self) -> u32 {
        if self.free != NOBODY {
            let index = self.free;
            self.free = self.slots[index as usize].links.next;
            return index;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(NOBODY);
        self.slots.push(Slot {
            generation: 0,
            weight: 1,
            wanted: 0,
            left: 0,
            place: Place::Free,
            links: Links::default(),
        });
        index
    }
}
