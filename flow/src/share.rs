//! Who goes next inside one budget: deficit round robin.
//!
//! Many connections wait for the bytes of one limiter. Each in turn may move up
//! to its *turn*, so many bytes for each unit of its weight, then goes to the
//! back (M. Shreedhar, G. Varghese, "Efficient Fair Queueing using Deficit Round
//! Robin", SIGCOMM 1995; a stream can be cut anywhere, so no deficit is carried
//! over). A connection that has not used up its turn of this round goes before
//! those that wait for their next, as the new queues of RFC 8290 do: the small
//! requests of a quiet one need not wait for a round of large ones.
//!
//! Every call takes the same time however many wait, so one timer and one queue
//! serve thousands:
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
/// Promises: of members that want more all the time, what two were served, each
/// divided by its weight, never differs by more than two turns; nobody is served
/// more than two turns while another waits, none more than one if that other has
/// something left of its turn; among equal weights it is first come, first
/// served. As long as anybody wants anything, [`Share::whose_turn`] names
/// somebody.
#[derive(Clone, Debug)]
pub struct Share {
    turn: u64,
    slots: Vec<Slot>,
    /// A list of free slots, linked by `links.next`.
    free: u32,
    /// Those with something left of their turn; served first.
    fresh: Line,
    /// Those that wait for their turn of the next round, and before them those
    /// that have not had it in this one.
    round: Line,
    /// Number of the round; each member has one turn in each.
    present: u64,
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    weight: u32,
    wanted: u64,
    /// The round of the turn.
    round: u64,
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
            present: 1,
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
        // Something left of an earlier turn: whoever is new has been quiet.
        (slot.round, slot.left) = (0, 1);
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
        if bytes > ByteSize::ZERO && self.slots[member.slot as usize].place == Place::Idle {
            self.line_up(member.slot);
        }
    }

    /// Who is next, and how much it wants in this turn: all it wants if nobody
    /// else waits. `None` if nobody wants anything.
    pub fn whose_turn(&self) -> Option<(Member, ByteSize)> {
        let head = self.fresh.head().or(self.round.head())?;
        let slot = self.slots[head as usize];
        let alone = self.fresh.len() + self.round.len() == 1;
        let most = if alone { u64::MAX } else { slot.left };
        let member = Member {
            slot: head,
            generation: slot.generation,
        };
        Some((member, ByteSize::new(slot.wanted.min(most))))
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
        // The round begins with its first byte, not when somebody looks who is
        // next: whoever was served last and asks again meanwhile is behind.
        self.present = self.present.max(slot.round);
        slot.left = slot.left.saturating_sub(granted.get());
        let turn_ends = slot.left == 0;
        let wanted = slot.wanted - granted.get();
        self.set_wanted(member.slot, wanted);
        if turn_ends && wanted > 0 {
            self.remove(member.slot);
            self.line_up(member.slot);
        }
        Some((member, granted))
    }

    /// Takes back `bytes` that were granted to `member` and did not move: they
    /// do not count for its turn, if that is one of the present round.
    pub fn give_back(&mut self, member: Member, bytes: ByteSize) {
        if self.knows(member) {
            let whole = self.whole_turn(member.slot);
            let slot = &mut self.slots[member.slot as usize];
            if slot.round == self.present {
                slot.left = slot.left.saturating_add(bytes.get()).min(whole);
            }
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

    /// Notes what a member wants; who wants nothing stands in no line.
    fn set_wanted(&mut self, index: u32, bytes: u64) {
        let slot = &mut self.slots[index as usize];
        self.waiting -= usize::from(slot.wanted > 0);
        self.waiting += usize::from(bytes > 0);
        slot.wanted = bytes;
        if bytes == 0 {
            self.forgo(index);
            self.remove(index);
        }
    }

    /// Takes back the turn of a member that leaves the line before it came:
    /// otherwise it would seem to have something left when it asks again.
    fn forgo(&mut self, index: u32) {
        let whole = self.whole_turn(index);
        let slot = &mut self.slots[index as usize];
        if slot.place == Place::Round && slot.left == whole {
            (slot.round, slot.left) = (slot.round.saturating_sub(1), 0);
        }
    }

    /// Puts an idle member at the back of the line that it belongs to.
    fn line_up(&mut self, index: u32) {
        let whole = self.whole_turn(index);
        let slot = &mut self.slots[index as usize];
        let ahead = slot.left > 0 || slot.round + 1 < self.present;
        if slot.left == 0 || slot.round < self.present {
            // Who used up a turn may come back when the next round has begun
            // already: it is no quieter than those that wait for theirs.
            (slot.round, slot.left) = ((slot.round + 1).max(self.present), whole);
        }
        if ahead && slot.round == self.present {
            slot.place = Place::Fresh;
            self.fresh.push_back(&mut self.slots, index);
        } else {
            slot.place = Place::Round;
            self.round.push_back(&mut self.slots, index);
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
            round: 0,
            left: 0,
            place: Place::Free,
            links: Links::default(),
        });
        index
    }
}
