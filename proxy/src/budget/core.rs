//! The rules of a budget as functions of time: no clock, no task, no lock.

use std::num::NonZeroU32;
use std::task::Waker;

use flow::hierarchy::{Floor, Hierarchy};
use flow::policy::AnyLimiter;
use flow::share::Member;
use flow::stream::{Grant, Stream};
use flow::{ByteSize, Limiter, Policy, Timestamp};

use super::Refusal;
use super::pacing::{self, CATCH_UP};

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many bytes, at least one, are its own.
    Granted(ByteSize),
    /// Not yet: it is woken when there is something.
    Wait,
    /// Nothing, ever.
    Refused(Refusal),
}

/// A limiter and those that wait for it.
#[derive(Debug)]
pub(super) struct Core {
    stream: Stream<AnyLimiter>,
    share: Hierarchy,
    /// By [`Member::index`].
    seats: Vec<Seat>,
    /// When what the next in line wants will conform.
    due: Option<Timestamp>,
    /// For when an alarm has been set and not gone off.
    armed: Option<Timestamp>,
    /// Whether a grant that comes late counts as of when it was due.
    keeps_late_credit: bool,
    /// The last grant: when it counted and when it was made.
    last: Option<(Timestamp, Timestamp)>,
    retired: bool,
    /// Whether there are crowds of users.
    crowded: bool,
    above: Above,
    woken: Vec<Waker>,
}

/// What the cap above lets pass, if there is one.
#[derive(Debug, Default)]
struct Above {
    capped: bool,
    /// Bytes that it has granted and that nobody here has been.
    granted: u64,
    /// Bytes that would be granted here if it granted them.
    short: u64,
}

/// What one member has been told and not yet heard.
#[derive(Debug, Default)]
struct Seat {
    granted: u64,
    never: bool,
    waker: Option<Waker>,
}

impl Core {
    pub(super) fn new(policy: Policy) -> Self {
        let mut core = Self {
            stream: Stream::new(policy, policy.build()),
            share: Hierarchy::new(ByteSize::new(1)),
            seats: Vec::new(),
            due: None,
            armed: None,
            keeps_late_credit: false,
            last: None,
            retired: false,
            crowded: false,
            above: Above::default(),
            woken: Vec::new(),
        };
        core.pace();
        core
    }

    /// Whether others wait as well, so many that each should wake seldom.
    pub(super) fn set_crowded(&mut self, crowded: bool) {
        if self.crowded != crowded {
            self.crowded = crowded;
            self.pace();
        }
    }

    pub(super) fn join(&mut self, weight: NonZeroU32, floor: Option<Floor>) -> Member {
        let member = self.share.join(weight, floor);
        if self.seats.len() <= member.index() {
            self.seats.resize_with(member.index() + 1, Seat::default);
        }
        member
    }

    /// Another share, and another assured rate, from `now` on.
    pub(super) fn set_stake(
        &mut self,
        now: Timestamp,
        member: Member,
        weight: NonZeroU32,
        floor: Option<Floor>,
    ) {
        self.share.set_class(now, member, weight, floor);
        self.dispatch(now);
    }

    /// Removes a member; what it was granted and has not heard of goes back.
    pub(super) fn leave(&mut self, now: Timestamp, member: Member) {
        self.cancel(now, member);
        self.share.leave(member);
    }

    /// `member` wants nothing more; what it was granted and has not heard of goes
    /// back.
    pub(super) fn cancel(&mut self, now: Timestamp, member: Member) {
        let unheard = ByteSize::new(std::mem::take(self.seat(member)).granted);
        self.withdraw(now, member);
        self.share.give_back(now, member, unheard);
        self.refund(now, unheard);
        self.dispatch(now);
    }

    /// `member` wants up to `wanted` bytes (at least one) and will take fewer.
    /// Asking again replaces the request and keeps the place.
    pub(super) fn ask(&mut self, now: Timestamp, member: Member, wanted: ByteSize) -> Answer {
        if self.retired {
            return Answer::Refused(Refusal::Retired);
        }
        if self.seat(member).granted == 0 {
            self.share.want(now, member, wanted.max(ByteSize::new(1)));
            self.dispatch(now);
        }
        let seat = std::mem::take(self.seat(member));
        if seat.granted > 0 {
            self.withdraw(now, member);
            Answer::Granted(ByteSize::new(seat.granted))
        } else if seat.never {
            Answer::Refused(Refusal::Never)
        } else {
            Answer::Wait
        }
    }

    /// Grants `member` all of `wanted` bytes, or nothing and changes nothing: if
    /// somebody waits, if there is a cap above, if it is too much, or if the limiter
    /// would remember what was given back.
    pub(super) fn grants_at_once(
        &mut self,
        now: Timestamp,
        member: Member,
        wanted: ByteSize,
    ) -> bool {
        let linear = matches!(
            self.stream.policy(),
            Policy::TokenBucket { .. } | Policy::Gcra { .. }
        );
        if !linear
            || self.retired
            || self.above.capped
            || self.share.waiting() > 0
            || self.seat(member).granted > 0
            || self.stream.grant(now, wanted) != Grant::Now(wanted)
        {
            return false;
        }
        match self.ask(now, member, wanted) {
            Answer::Granted(granted) if granted == wanted => true,
            Answer::Granted(granted) => {
                self.give_back(now, member, granted);
                false
            }
            Answer::Wait | Answer::Refused(_) => {
                self.cancel(now, member);
                false
            }
        }
    }

    /// Whom to wake when there is something for `member`.
    pub(super) fn wake_with(&mut self, member: Member, waker: &Waker) {
        self.seat(member)
            .waker
            .get_or_insert_with(|| waker.clone())
            .clone_from(waker);
    }

    /// `bytes` of what `member` was granted last did not move.
    pub(super) fn give_back(&mut self, now: Timestamp, member: Member, bytes: ByteSize) {
        self.share.give_back(now, member, bytes);
        self.refund(now, bytes);
        self.dispatch(now);
    }

    pub(super) fn set_policy(&mut self, now: Timestamp, policy: Policy) {
        let old = *self.stream.policy();
        if policy == old {
            return;
        }
        match policy.rate().filter(|&rate| old.with_rate(rate) == policy) {
            Some(rate) => self.stream.set_rate(now, rate),
            None => self.replace(now, policy),
        }
        self.pace();
        self.dispatch(now);
    }

    /// What the limiter would let pass at `now`.
    #[cfg(feature = "admin")]
    pub(super) fn available(&self, now: Timestamp) -> ByteSize {
        self.stream.limiter().available(now)
    }

    pub(super) fn retire(&mut self) {
        self.retired = true;
        let waiting = self.seats.iter_mut().filter_map(|seat| seat.waker.take());
        self.woken.extend(waiting);
    }

    /// Grants all that may be granted at `now`, in order, and finds out when
    /// there will be more.
    pub(super) fn dispatch(&mut self, now: Timestamp) {
        let mut at = self.resume(now);
        let waited = self.due.take().is_some();
        self.above.short = 0;
        while let Some((member, wanted)) = self.share.whose_turn(at) {
            match self.stream.grant(at, wanted) {
                Grant::Now(available) => {
                    let piece = if waited {
                        self.whole_pieces(wanted, available)
                    } else {
                        available
                    };
                    let piece = self.above.allows(piece.min(wanted));
                    let Some((member, granted)) = self.share.serve(at, piece) else {
                        return;
                    };
                    self.above.pass(granted);
                    self.stream.commit(at, granted);
                    self.last = Some((at, now));
                    self.tell(member, |seat| {
                        seat.granted = seat.granted.saturating_add(granted.get())
                    });
                }
                Grant::At(later) if later <= now => at = later.max(earliest_late(now)),
                Grant::At(later) => {
                    self.due = Some(later);
                    return;
                }
                Grant::Never => {
                    self.share.want(at, member, ByteSize::ZERO);
                    self.tell(member, |seat| seat.never = true);
                }
            }
        }
    }

    /// From here on nothing is granted that the cap above has not granted.
    pub(super) fn cap(&mut self) {
        self.above.capped = true;
    }

    /// What to ask the cap above for; then [`Core::allow`] and dispatch again.
    pub(super) fn short(&self) -> Option<u64> {
        Some(self.above.short).filter(|&short| short > 0 && !self.retired)
    }

    /// The cap above has granted `bytes`.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.above.granted = self.above.granted.saturating_add(bytes);
    }

    /// What the cap above has granted and nobody wants any more.
    pub(super) fn take_surplus(&mut self) -> u64 {
        if self.share.waiting() > 0 {
            return 0;
        }
        std::mem::take(&mut self.above.granted)
    }

    /// When an alarm must be set, if there is none that goes off in time.
    pub(super) fn alarm_to_set(&mut self) -> Option<Timestamp> {
        let due = self
            .due
            .filter(|&due| self.armed.is_none_or(|armed| due < armed))?;
        self.armed = Some(due);
        self.armed
    }

    /// The alarm went off.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// Those to be woken.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// What comes after a wait keeps to the schedule of the quantum: what a late
    /// alarm earned beyond it stays for the next piece. So the pieces in a
    /// second are those of the schedule, and not a few bytes more.
    fn whole_pieces(&self, wanted: ByteSize, available: ByteSize) -> ByteSize {
        let quantum = self.stream.quantum().get();
        if available < wanted && available.get() > quantum {
            ByteSize::new(available.get() - available.get() % quantum)
        } else {
            available
        }
    }

    /// The instant that the next grant counts as: `now`, unless the limiter
    /// would lose by that what it earned while a timer or a thread was late.
    fn resume(&self, now: Timestamp) -> Timestamp {
        if !self.keeps_late_credit {
            return now;
        }
        let floor = earliest_late(now);
        let since = match (self.due, self.last) {
            (Some(due), _) => due,
            (None, Some((counted, made))) if made >= floor => counted,
            _ => now,
        };
        since.max(floor).min(now)
    }

    /// Another algorithm, with no more credit than the old one had. One that
    /// passes any size when it is idle holds no credit to speak of.
    /// What `member` still wanted it will ask for again.
    fn withdraw(&mut self, now: Timestamp, member: Member) {
        self.share.want(now, member, ByteSize::ZERO);
        if self.share.waiting() == 0 {
            self.due = None;
        }
    }

    fn replace(&mut self, now: Timestamp, policy: Policy) {
        let mut limiter = policy.build();
        if policy.largest() < ByteSize::MAX {
            let had = self.stream.limiter().available(now).get();
            let has = limiter.available(now).get();
            limiter.commit(now, ByteSize::new(has.saturating_sub(had)));
        }
        self.stream = Stream::new(policy, limiter);
    }

    fn pace(&mut self) {
        let policy = *self.stream.policy();
        let quantum = if self.crowded {
            pacing::crowded_quantum(&policy)
        } else {
            pacing::quantum(&policy)
        };
        self.stream.set_quantum(quantum);
        self.share.set_turn(quantum);
        self.keeps_late_credit = pacing::keeps_late_credit(&policy, quantum);
    }

    fn refund(&mut self, now: Timestamp, bytes: ByteSize) {
        if bytes > ByteSize::ZERO {
            self.stream.refund(now, bytes);
            if self.above.capped {
                self.allow(bytes.get());
            }
            // The source had less than it was granted: it is not behind.
            self.last = None;
        }
    }

    fn tell(&mut self, member: Member, change: impl FnOnce(&mut Seat)) {
        let seat = self.seat(member);
        change(seat);
        let waker = seat.waker.take();
        self.woken.extend(waker);
    }

    fn seat(&mut self, member: Member) -> &mut Seat {
        &mut self.seats[member.index()]
    }
}

impl Above {
    /// How much of `piece` may pass; what is missing is what we are short of.
    fn allows(&mut self, piece: ByteSize) -> ByteSize {
        if !self.capped {
            return piece;
        }
        if self.granted == 0 {
            self.short = piece.get();
        }
        piece.min(ByteSize::new(self.granted))
    }

    fn pass(&mut self, granted: ByteSize) {
        self.granted = self.granted.saturating_sub(granted.get());
    }
}

/// The earliest instant that a grant made at `now` may count as.
fn earliest_late(now: Timestamp) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(CATCH_UP.get()))
}

#[cfg(test)]
mod tests;
