//! The limiters of a replay: one for all packets, or one for each user.

use flow::{ByteSize, Limiter, Policer, Shaper, Timestamp, Verdict};

/// A way to apply a limiter to packets.
pub(super) trait Apply {
    /// What becomes of `size` bytes that arrive at `at`.
    fn offer(&mut self, at: Timestamp, size: ByteSize) -> Verdict;
}

impl<L: Limiter> Apply for Policer<L> {
    fn offer(&mut self, at: Timestamp, size: ByteSize) -> Verdict {
        Self::offer(self, at, size)
    }
}

impl<L: Limiter> Apply for Shaper<L> {
    fn offer(&mut self, at: Timestamp, size: ByteSize) -> Verdict {
        Self::offer(self, at, size)
    }
}

/// One limiter for all, or a copy of it for each user.
pub(super) struct Each<A> {
    fresh: A,
    /// By user, in order of appearance; one alone if all share it.
    limiters: Vec<A>,
    per_user: bool,
}

impl<A: Apply + Clone> Each<A> {
    /// Copies of `fresh`, which nothing has passed.
    pub(super) const fn new(fresh: A, per_user: bool) -> Self {
        Self {
            fresh,
            limiters: Vec::new(),
            per_user,
        }
    }

    /// The limiter of user number `user`.
    pub(super) fn of(&mut self, user: u32) -> &mut A {
        let index = if self.per_user { user as usize } else { 0 };
        if index >= self.limiters.len() {
            self.limiters.resize(index + 1, self.fresh.clone());
        }
        &mut self.limiters[index]
    }
}
