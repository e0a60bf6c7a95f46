//! Variation of the one-way delay from packet to packet of one connection:
//! RFC 3550, section 6.4.1 (interarrival jitter) and RFC 3393 (IPDV).

use super::histogram::Histogram;

/// One connection's smoothed jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Smoothed {
    transit: Option<u64>,
    /// J += (|D| - J) / 16, in nanoseconds.
    jitter: f64,
    /// The integer form of appendix A.8, scaled by 16.
    scaled: u64,
    most: f64,
    sum: f64,
    changes: u64,
}

impl Smoothed {
    /// RFC 3550, 6.4.1: "J(i) = J(i-1) + (|D(i-1,i)| - J(i-1))/16"; A.8:
    /// "s->jitter += d - ((s->jitter + 8) >> 4)".
    #[inline]
    fn follow(&mut self, change: u64) {
        self.jitter += (as_float(change) - self.jitter) / 16.0;
        self.scaled = self
            .scaled
            .saturating_sub((self.scaled + 8) >> 4)
            .saturating_add(change);
        if self.jitter > self.most {
            self.most = self.jitter;
        }
        self.sum += self.jitter;
        self.changes += 1;
    }
}

/// Jitter of the connections of one user.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    connections: Vec<Smoothed>,
    changes: Histogram,
}

/// What was found, over one or several connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitterFigures {
    /// Connections with at least two packets.
    connections: u64,
    last_sum: f64,
    most: f64,
    sum: f64,
    changes: u64,
    last_integer: u64,
    /// |D_i - D_(i-1)|.
    pub(crate) ipdv: Histogram,
}

impl Jitter {
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            connections: vec![Smoothed::default(); connections],
            changes: Histogram::new(),
        }
    }

    /// The next packet of `connection` took `transit` nanoseconds.
    #[inline]
    pub(crate) fn add(&mut self, connection: usize, transit: u64) {
        let smoothed = &mut self.connections[connection];
        if let Some(before) = smoothed.transit.replace(transit) {
            let change = transit.abs_diff(before);
            smoothed.follow(change);
            self.changes.record(change);
        }
    }

    pub(crate) fn figures(self) -> JitterFigures {
        let mut figures = JitterFigures {
            ipdv: self.changes,
            ..JitterFigures::default()
        };
        for smoothed in self.connections.iter().filter(|one| one.changes > 0) {
            figures.connections += 1;
            figures.last_sum += smoothed.jitter;
            figures.most = figures.most.max(smoothed.most);
            figures.sum += smoothed.sum;
            figures.changes += smoothed.changes;
            figures.last_integer = figures.last_integer.max(smoothed.scaled >> 4);
        }
        figures
    }
}

impl JitterFigures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.last_sum += other.last_sum;
        self.most = self.most.max(other.most);
        self.sum += other.sum;
        self.changes += other.changes;
        self.last_integer = self.last_integer.max(other.last_integer);
        self.ipdv.merge(&other.ipdv);
    }

    /// The last value in nanoseconds, mean over the connections.
    pub(crate) fn last(&self) -> Option<f64> {
        (self.connections > 0).then(|| self.last_sum / as_float(self.connections))
    }

    /// The last value of the integer form in nanoseconds, most over the connections.
    pub(crate) fn last_integer(&self) -> Option<u64> {
        (self.connections > 0).then_some(self.last_integer)
    }

    /// Mean over all packets, in nanoseconds.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.changes > 0).then(|| self.sum / as_float(self.changes))
    }

    /// The largest value at any packet, in nanoseconds.
    pub(crate) fn most(&self) -> Option<f64> {
        (self.changes > 0).then_some(self.most)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "RFC 3550 smooths in floating point; 53 bits are 104 days"
)]
#[inline]
fn as_float(nanos: u64) -> f64 {
    // One instruction from a signed integer, several from an unsigned one.
    i64::try_from(nanos).unwrap_or(i64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(transits: &[(usize, u64)]) -> JitterFigures {
        let mut jitter = Jitter::new(2);
        for &(connection, transit) in transits {
            jitter.add(connection, transit);
        }
        jitter.figures()
    }

    #[test]
    fn one_packet_has_no_jitter() {
        let one = of(&[(0, 5), (1, 9)]);
        assert_eq!((one.last(), one.mean(), one.most()), (None, None, None));
        assert_eq!(one.ipdv.count(), 0);
    }

    #[test]
    fn follows_the_formula_by_hand() {
        // |D| = 160, 0: J = 10, then 10 - 10/16.
        let two = of(&[(0, 0), (0, 160), (0, 160)]);
        assert_eq!(two.last(), Some(9.375));
        assert_eq!(two.most(), Some(10.0));
        assert_eq!(two.mean(), Some(9.6875));
        // 160, then 160 - (168 >> 4) = 150; 150 >> 4 = 9.
        assert_eq!(two.last_integer(), Some(9));
        assert_eq!(two.ipdv.max(), Some(160));
    }

    #[test]
    fn connections_do_not_mix() {
        let mixed = of(&[(0, 0), (1, 1000), (0, 160), (1, 1000)]);
        assert_eq!(mixed.most(), Some(10.0));
        assert_eq!(mixed.last(), Some(5.0));
        assert_eq!(mixed.ipdv.count(), 2);
    }
}
