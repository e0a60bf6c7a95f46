//! What happened when: a compact log, or the caller's own callback.

use flow::{ByteSize, Nanos, Timestamp};

/// Entries a log holds unless told otherwise: 64 Mi, 768 MiB of memory at most.
pub const DEFAULT_CAPACITY: usize = 64 << 20;

/// Where sends and receipts of one flow go, in order of time.
pub trait Sink: Send {
    /// `bytes` were sent or received at `at`.
    ///
    /// # Errors
    /// There is no room; the run ends.
    fn record(&mut self, at: Timestamp, bytes: ByteSize) -> Result<(), LogFull>;
}

impl<F: FnMut(Timestamp, ByteSize) + Send> Sink for F {
    fn record(&mut self, at: Timestamp, bytes: ByteSize) -> Result<(), LogFull> {
        self(at, bytes);
        Ok(())
    }
}

/// A log has as many entries as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log of this flow is full after {capacity} entries: shorten the run, merge receipts that are further apart, or take the events by callback"
)]
pub struct LogFull {
    /// Entries it holds.
    pub capacity: usize,
}

/// Instants and sizes in memory, 12 bytes an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    instants: Vec<u64>,
    sizes: Vec<u32>,
    merge_within: Nanos,
    capacity: usize,
}

impl Log {
    /// A log that keeps every entry, at most [`DEFAULT_CAPACITY`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            instants: Vec::new(),
            sizes: Vec::new(),
            merge_within: Nanos::ZERO,
            capacity: DEFAULT_CAPACITY,
        }
    }

    /// A log for receipts: what follows an entry's first receipt by less than a
    /// microsecond is added to it, as one read would have returned it.
    #[must_use]
    pub const fn of_receipts() -> Self {
        Self::new().merging_within(Nanos::from_micros(1))
    }

    /// The same log, adding what follows an entry's instant by less than `gap` to
    /// that entry (at the entry's instant, so bytes look at most `gap` early).
    #[must_use]
    pub const fn merging_within(mut self, gap: Nanos) -> Self {
        self.merge_within = gap;
        self
    }

    /// The same log, full after `capacity` entries.
    #[must_use]
    pub const fn with_capacity_limit(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instants.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instants.is_empty()
    }

    /// The entries in order of time.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Timestamp, ByteSize)> + '_ {
        let instants = self.instants.iter().copied().map(Timestamp::from_nanos);
        let sizes = self
            .sizes
            .iter()
            .map(|&size| ByteSize::new(u64::from(size)));
        instants.zip(sizes)
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn total(&self) -> ByteSize {
        ByteSize::new(self.sizes.iter().map(|&size| u64::from(size)).sum())
    }

    /// The size of the last entry with `bytes` added, if `at` belongs to it and it fits.
    fn merged(&self, at: Timestamp, bytes: u64) -> Option<u32> {
        let entry = Timestamp::from_nanos(*self.instants.last()?);
        if at.since(entry) >= self.merge_within {
            return None;
        }
        let total = u64::from(*self.sizes.last()?).checked_add(bytes)?;
        u32::try_from(total).ok()
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink for Log {
    fn record(&mut self, at: Timestamp, bytes: ByteSize) -> Result<(), LogFull> {
        if let (Some(total), Some(last)) = (self.merged(at, bytes.get()), self.sizes.last_mut()) {
            *last = total;
            return Ok(());
        }
        let mut left = bytes.get();
        loop {
            if self.len() >= self.capacity {
                return Err(LogFull {
                    capacity: self.capacity,
                });
            }
            let piece = u32::try_from(left).unwrap_or(u32::MAX);
            self.instants.push(at.as_nanos());
            self.sizes.push(piece);
            left -= u64::from(piece);
            if left == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(mut log: Log, entries: &[(u64, u64)]) -> Result<Vec<(u64, u64)>, LogFull> {
        for &(at, bytes) in entries {
            log.record(Timestamp::from_nanos(at), ByteSize::new(bytes))?;
        }
        Ok(log
            .iter()
            .map(|(at, bytes)| (at.as_nanos(), bytes.get()))
            .collect())
    }

    #[test]
    fn sends_are_kept_one_by_one() {
        let entries = [(0, 64), (0, 65), (5, 0), (9, 1472)];
        assert_eq!(log(Log::new(), &entries), Ok(entries.to_vec()));
    }

    #[test]
    fn receipts_merge_into_the_first_within_a_microsecond_of_it() {
        let entries = [(0, 1), (999, 2), (1000, 4), (1998, 8), (2000, 16)];
        let merged = vec![(0, 3), (1000, 12), (2000, 16)];
        assert_eq!(log(Log::of_receipts(), &entries), Ok(merged));
    }

    #[test]
    fn a_size_beyond_32_bits_is_kept_in_pieces() {
        let most = u64::from(u32::MAX);
        assert_eq!(
            log(Log::new(), &[(1, most + 5)]),
            Ok(vec![(1, most), (1, 5)])
        );
        let entries = [(1, most), (2, 1)];
        assert_eq!(log(Log::of_receipts(), &entries), Ok(entries.to_vec()));
    }

    #[test]
    fn a_full_log_says_so() {
        let full = Log::new().with_capacity_limit(2);
        assert_eq!(
            log(full, &[(1, 1), (2, 1), (3, 1)]),
            Err(LogFull { capacity: 2 })
        );
    }

    #[test]
    fn a_callback_is_a_sink() {
        let mut total = 0;
        let mut sink = |_: Timestamp, bytes: ByteSize| total += bytes.get();
        sink.record(Timestamp::ZERO, ByteSize::new(3)).unwrap();
        sink.record(Timestamp::ZERO, ByteSize::new(4)).unwrap();
        assert_eq!(total, 7);
    }
}
