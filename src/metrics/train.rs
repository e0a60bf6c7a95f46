//! Sequential bursts (RFC 7640): packets closer than a given gap are one train.

/// Cuts a stream of bytes into trains.
#[derive(Clone, Debug)]
pub(crate) struct Trains {
    gap: u64,
    /// The last instant at which a packet still belongs to the running train.
    until: u64,
    bytes: u64,
    start: u64,
    /// Where the first train began.
    first: u64,
    done: TrainFigures,
}

/// All trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrainFigures {
    trains: u64,
    bytes: u64,
    most: u64,
    intervals: u64,
    nanos: u64,
}

impl Trains {
    /// Two packets are of one train iff at most `gap` nanoseconds lie between them.
    pub(crate) fn new(gap: u64) -> Self {
        // Before the first packet an empty train runs at instant 0 only.
        Self {
            gap,
            until: 0,
            bytes: 0,
            start: 0,
            first: 0,
            done: TrainFigures::default(),
        }
    }

    /// `bytes`, more than none, at `at`, which never decreases.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        if at > self.until {
            self.start(at);
        }
        self.bytes += bytes;
        self.until = at.saturating_add(self.gap);
    }

    #[inline]
    fn start(&mut self, at: u64) {
        if self.bytes == 0 {
            self.first = at;
        }
        self.close();
        self.start = at;
    }

    #[inline]
    fn close(&mut self) {
        self.done.trains += u64::from(self.bytes > 0);
        self.done.bytes += self.bytes;
        self.done.most = self.done.most.max(self.bytes);
        self.bytes = 0;
    }

    pub(crate) fn figures(mut self) -> TrainFigures {
        self.close();
        TrainFigures {
            intervals: self.done.trains.saturating_sub(1),
            nanos: self.start - self.first,
            ..self.done
        }
    }
}

impl TrainFigures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.trains += other.trains;
        self.bytes += other.bytes;
        self.most = self.most.max(other.most);
        self.intervals += other.intervals;
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.trains
    }

    /// Mean size in bytes; `None` without any.
    pub(crate) fn mean(&self) -> Option<f64> {
        mean(self.bytes, self.trains)
    }

    /// Size of the largest in bytes; `None` without any.
    pub(crate) fn most(&self) -> Option<u64> {
        (self.trains > 0).then_some(self.most)
    }

    /// Mean time from the start of one to the start of the next, in nanoseconds;
    /// `None` for less than two.
    pub(crate) fn interval(&self) -> Option<f64> {
        mean(self.nanos, self.intervals)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people, 53 bits suffice"
)]
fn mean(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
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
        let none = of(0, &[]);
        assert_eq!(
            (none.mean(), none.most(), none.interval()),
            (None, None, None)
        );
        assert_eq!(of(0, &[(7, 5)]).interval(), None);
    }

    #[test]
    fn a_train_ends_where_the_gap_is_wider() {
        let packets = [(0, 5), (10, 5), (21, 7), (31, 1)];
        let ten = of(10, &packets);
        assert_eq!((ten.trains, ten.most()), (2, Some(10)));
        assert_eq!(ten.mean(), Some(9.0));
        assert_eq!(ten.interval(), Some(21.0));
        assert_eq!(of(11, &packets).trains, 1);
        assert_eq!(of(0, &packets).trains, 4);
    }

    #[test]
    fn users_pool_their_trains() {
        let mut both = of(0, &[(100, 4), (110, 2)]);
        both.merge(&of(0, &[(0, 9), (30, 1)]));
        assert_eq!((both.mean(), both.most()), (Some(4.0), Some(9)));
        assert_eq!(both.interval(), Some(20.0));
    }
}
