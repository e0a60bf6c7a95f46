//! Sums over windows that slide with every departure.

/// What had left before the instant `at` at which something left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) before: u64,
}

/// One width, and the window of it that ends now.
#[derive(Clone, Copy, Debug)]
struct Tail {
    width: u64,
    /// Position of the first entry of the window.
    first: usize,
    /// What had left before that entry, and the first instant at which the
    /// window no longer holds it.
    before: u64,
    expires: u64,
    /// The most in any window that has ended.
    most: u64,
}

/// A\[t, t + W) for several widths over one ring of departures that spans the
/// widest window, whatever the length of the run.
#[derive(Clone, Debug)]
pub(crate) struct Sums<const N: usize> {
    /// A power of two long; position `i` is at `i & (len - 1)`.
    ring: Vec<Entry>,
    /// The position after the last entry.
    next: usize,
    /// The first instant that needs an entry of its own.
    new_at: u64,
    total: u64,
    tails: [Tail; N],
}

impl<const N: usize> Sums<N> {
    /// `widths` in nanoseconds, above zero and in rising order.
    pub(crate) fn new(widths: [u64; N]) -> Self {
        Self {
            ring: vec![Entry::default(); 64],
            next: 0,
            new_at: 0,
            total: 0,
            tails: widths.map(|width| Tail {
                width,
                first: 0,
                before: 0,
                expires: u64::MAX,
                most: 0,
            }),
        }
    }

    /// `bytes` left at `at`, which never decreases.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        if at >= self.new_at {
            self.push(at);
        }
        self.total += bytes;
    }

    /// Bytes in the window of width `k` that ends with the last departure.
    #[inline]
    pub(crate) fn ending_now(&self, k: usize) -> u64 {
        self.total - self.tails[k].before
    }

    /// The most bytes in any window of width `k`.
    pub(crate) fn most(&self, k: usize) -> u64 {
        // What a window holds only shrinks when an entry leaves it.
        self.tails[k].most.max(self.ending_now(k))
    }

    /// The departures that a window of width `k` can still begin with.
    pub(crate) fn entries(&self, k: usize) -> impl Iterator<Item = Entry> + '_ {
        (self.tails[k].first..self.next).map(|position| self.entry(position))
    }

    /// Bytes from `entry` to the last departure.
    pub(crate) fn since(&self, entry: Entry) -> u64 {
        self.total - entry.before
    }

    /// Whether nothing has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == 0
    }

    fn entry(&self, position: usize) -> Entry {
        self.ring[position & (self.ring.len() - 1)]
    }

    #[inline]
    fn push(&mut self, at: u64) {
        let entry = Entry {
            at,
            before: self.total,
        };
        if self.next - self.tails[N - 1].first == self.ring.len() {
            self.grow();
        }
        let mask = self.ring.len() - 1;
        self.ring[self.next & mask] = entry;
        if self.next == 0 {
            self.begin(entry);
        }
        for tail in &mut self.tails {
            if at >= tail.expires {
                tail.most = tail.most.max(self.total - tail.before);
                tail.advance(at, &self.ring);
            }
        }
        self.new_at = at.saturating_add(1);
        self.next += 1;
    }

    #[cold]
    fn begin(&mut self, entry: Entry) {
        for tail in &mut self.tails {
            tail.begin_with(entry);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let (old, new) = (self.ring.len(), self.ring.len() * 2);
        let mut ring = vec![Entry::default(); new];
        for position in self.tails[N - 1].first..self.next {
            ring[position & (new - 1)] = self.ring[position & (old - 1)];
        }
        self.ring = ring;
    }
}

impl Tail {
    /// Drops the entries that a window ending at `at` does not hold.
    #[inline]
    fn advance(&mut self, at: u64, ring: &[Entry]) {
        let mask = ring.len() - 1;
        while at >= self.expires {
            self.first += 1;
            self.begin_with(ring[self.first & mask]);
        }
    }

    #[inline]
    fn begin_with(&mut self, entry: Entry) {
        self.before = entry.before;
        self.expires = entry.at.saturating_add(self.width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ring_is_as_long_as_the_widest_window() {
        let mut sums = Sums::new([10, 1_000]);
        for i in 0..1_000_000 {
            sums.add(i, 1);
        }
        assert_eq!(sums.ring.len(), 1_024);
        assert_eq!((sums.most(0), sums.most(1)), (10, 1_000));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            gaps in prop::collection::vec((0u64..40, 1u64..100), 1..200),
            narrow in 1u64..50, wider in 0u64..2_000,
        ) {
            let widths = [narrow, narrow + wider];
            let mut sums = Sums::new(widths);
            let mut departures = Vec::new();
            let mut at = 0;
            for (gap, bytes) in gaps {
                at += gap;
                departures.push((at, bytes));
                sums.add(at, bytes);
            }
            let sum = |from: u64, to: u64| -> u64 {
                departures.iter().filter(|d| (from..to).contains(&d.0)).map(|d| d.1).sum()
            };
            for (k, width) in widths.into_iter().enumerate() {
                let exact = departures.iter().map(|d| sum(d.0, d.0 + width)).max().unwrap();
                prop_assert_eq!(sums.most(k), exact);
                prop_assert_eq!(sums.ending_now(k), sum((at + 1).saturating_sub(width), at + 1));
            }
        }
    }
}
