//! Sequential bursts (RFC 7640): packets closer than a given gap are one train.

use super::moments::Moments;

/// Cuts a stream of bytes into trains.
#[derive(Clone, Debug)]
pub(crate) struct Trains {
    gap: u64,
    /// Of the running train; `None` before the first packet.
    running: Option<Train>,
    sizes: Moments,
    intervals: Moments,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    start: u64,
    last: u64,
    bytes: u64,
}

/// Sizes of all trains in bytes, and nanoseconds from the start of one to the
/// start of the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrainFigures {
    pub(crate) sizes: Moments,
    pub(crate) intervals: Moments,
}

impl Trains {
    /// Two packets are of one train iff at most `gap` nanoseconds lie between them.
    pub(crate) fn new(gap: u64) -> Self {
        Self {
            gap,
            running: None,
            sizes: Moments::default(),
            intervals: Moments::default(),
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        match &mut self.running {
            Some(train) if at.saturating_sub(train.last) <= self.gap => {
                train.bytes += bytes;
                train.last = at;
            }
            running => {
                let train = Train {
                    start: at,
                    last: at,
                    bytes,
                };
                if let Some(before) = running.replace(train) {
                    self.sizes.record(before.bytes);
                    self.intervals.record(at - before.start);
                }
            }
        }
    }

    pub(crate) fn figures(mut self) -> TrainFigures {
        if let Some(train) = self.running {
            self.sizes.record(train.bytes);
        }
        TrainFigures {
            sizes: self.sizes,
            intervals: self.intervals,
        }
    }
}

impl TrainFigures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.sizes.merge(&other.sizes);
        self.intervals.merge(&other.intervals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(gap: u64, packets: &[(u64, u64)]) -> TrainFigures {
        let mut trains = Trains::new(gap);
        for &(at, bytes) in packets {
            trains.add(at, bytes);
        }
        trains.figures()
    }

    #[test]
    fn no_packet_is_no_train() {
        assert_eq!(of(0, &[]).sizes.count(), 0);
    }

    #[test]
    fn a_train_ends_where_the_gap_is_wider() {
        let packets = [(0, 5), (10, 5), (21, 7), (31, 1)];
        let ten = of(10, &packets);
        assert_eq!((ten.sizes.count(), ten.sizes.max()), (2, Some(10)));
        assert_eq!(ten.sizes.mean(), Some(9.0));
        assert_eq!(ten.intervals.mean(), Some(21.0));
        assert_eq!(of(11, &packets).sizes.count(), 1);
        assert_eq!(of(0, &packets).sizes.count(), 4);
    }
}
