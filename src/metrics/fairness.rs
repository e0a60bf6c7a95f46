//! Jain's index (Jain, Chiu and Hawe 1984) and the max-min fair shares it is
//! taken over.

use super::schedule::{Schedule, nanobytes};
use super::second::SECOND;

/// Jain's index (sum x)^2 / (n sum x^2), between 1/n and 1; `None` if there is
/// nothing to share.
pub(crate) fn jain(shares: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0_u32, 0.0, 0.0);
    for share in shares {
        count += 1;
        sum += share;
        squares += share * share;
    }
    (squares > 0.0).then(|| sum * sum / (f64::from(count) * squares))
}

/// What each of `demands` gets when `capacity` is shared max-min fairly.
pub(crate) fn max_min_shares(demands: &[u64], capacity: u64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_unstable_by_key(|&one| demands[one]);
    let mut shares = vec![0.0; demands.len()];
    let (mut left, mut waiting) = (as_float(capacity), as_float(demands.len() as u64));
    for one in order {
        let share = as_float(demands[one]).min(left / waiting);
        shares[one] = share;
        left -= share;
        waiting -= 1.0;
    }
    shares
}

/// What the connections of one user offered and got.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    offered: Vec<u64>,
    delivered: Vec<u64>,
    seconds: Option<Box<SecondShares>>,
}

/// The same within the running second.
#[derive(Clone, Debug)]
struct SecondShares {
    end: u64,
    bytes: Vec<u64>,
    limit: Schedule,
    /// The largest piece, and the least index so far.
    largest: u64,
    least: Option<f64>,
}

impl Connections {
    /// Seconds are looked at if there is a limit.
    pub(crate) fn new(connections: usize, limit: Option<&Schedule>) -> Self {
        let seconds = limit.map(|limit| {
            Box::new(SecondShares {
                end: SECOND,
                bytes: vec![0; connections],
                limit: limit.clone(),
                largest: 0,
                least: None,
            })
        });
        Self {
            offered: vec![0; connections],
            delivered: vec![0; connections],
            seconds,
        }
    }

    #[inline]
    pub(crate) fn offer(&mut self, connection: usize, bytes: u64) {
        self.offered[connection] += bytes;
    }

    #[inline]
    pub(crate) fn deliver(&mut self, at: u64, connection: usize, bytes: u64) {
        self.delivered[connection] += bytes;
        if let Some(seconds) = &mut self.seconds {
            seconds.add(at, connection, bytes);
        }
    }

    /// Jain's index over the connections of what each got of its fair share:
    /// max-min by what was offered, or equal where a sender that waits offers
    /// only as fast as it is served. `None` if nothing was delivered.
    pub(crate) fn index(&self, waits: bool) -> Option<f64> {
        let got = self.delivered.iter().map(|&bytes| as_float(bytes));
        if waits {
            return jain(got);
        }
        let shares = max_min_shares(&self.offered, self.delivered.iter().sum());
        let of_share = got.zip(shares).filter(|&(_, share)| share > 0.0);
        jain(of_share.map(|(got, share)| got / share))
    }

    /// The least index in any whole second until `end` in which at least nine
    /// tenths of the limit were used, so that there was something to share;
    /// `None` where an equal share of a second is less than the largest piece,
    /// so that the index would only say how few pieces there are.
    pub(crate) fn least_in_a_second(&mut self, end: u64) -> Option<f64> {
        let seconds = self.seconds.as_mut()?;
        if end >= seconds.end {
            seconds.close(end);
        }
        let share = seconds.limit.least_rate() / seconds.bytes.len() as u64;
        seconds.least.filter(|_| share >= seconds.largest)
    }
}

impl SecondShares {
    #[inline]
    fn add(&mut self, at: u64, connection: usize, bytes: u64) {
        if at >= self.end {
            self.close(at);
        }
        self.bytes[connection] += bytes;
        self.largest = self.largest.max(bytes);
    }

    fn close(&mut self, at: u64) {
        let limit = self.limit.earned_between(self.end - SECOND, self.end);
        if nanobytes(self.bytes.iter().sum()) * 10 >= limit * 9
            && let Some(index) = jain(self.bytes.iter().map(|&bytes| as_float(bytes)))
        {
            self.least = Some(self.least.map_or(index, |least| least.min(index)));
        }
        self.bytes.fill(0);
        self.end = (at / SECOND + 1).saturating_mul(SECOND);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an index for people, 53 bits suffice"
)]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::ByteRate;

    #[test]
    fn index_of_known_shares() {
        assert_eq!(jain([]), None);
        assert_eq!(jain([0.0, 0.0]), None);
        assert_eq!(jain([3.0, 3.0, 3.0]), Some(1.0));
        assert_eq!(jain([1.0, 0.0, 0.0, 0.0]), Some(0.25));
        // Jain's own example: 1, 2, 3 -> 36 / (3 * 14).
        assert!((jain([1.0, 2.0, 3.0]).unwrap() - 36.0 / 42.0).abs() < 1e-15);
    }

    #[test]
    fn max_min_gives_small_demands_whole() {
        assert_eq!(max_min_shares(&[10, 2, 10], 12), [5.0, 2.0, 5.0]);
        assert_eq!(max_min_shares(&[1, 2], 12), [1.0, 2.0]);
        assert_eq!(max_min_shares(&[4, 4], 0), [0.0, 0.0]);
        assert!(max_min_shares(&[], 5).is_empty());
    }

    #[test]
    fn a_small_demand_that_was_met_is_fair() {
        let mut connections = Connections::new(2, None);
        connections.offer(0, 10);
        connections.offer(1, 1000);
        connections.deliver(0, 0, 10);
        connections.deliver(0, 1, 90);
        assert_eq!(connections.index(false), Some(1.0));
        assert!(connections.index(true).unwrap() < 0.7);
        assert_eq!(Connections::new(2, None).index(true), None);
    }

    #[test]
    fn only_full_seconds_are_judged() {
        let limit = Schedule::new(ByteRate::new(100).unwrap(), &[]);
        let mut connections = Connections::new(2, Some(&limit));
        connections.deliver(0, 0, 50);
        connections.deliver(10, 1, 50);
        connections.deliver(SECOND, 0, 10);
        connections.deliver(2 * SECOND, 0, 45);
        connections.deliver(2 * SECOND + 9, 0, 45);
        assert_eq!(connections.least_in_a_second(3 * SECOND - 1), Some(1.0));
        assert_eq!(connections.least_in_a_second(3 * SECOND), Some(0.5));
    }

    #[test]
    fn a_second_of_few_pieces_says_nothing() {
        let limit = Schedule::new(ByteRate::new(100).unwrap(), &[]);
        let mut connections = Connections::new(3, Some(&limit));
        for (connection, bytes) in [(0, 33), (1, 33), (2, 33)] {
            connections.deliver(0, connection, bytes);
        }
        assert_eq!(connections.clone().least_in_a_second(SECOND), Some(1.0));
        connections.deliver(1, 0, 34);
        assert_eq!(connections.least_in_a_second(SECOND), None);
    }
}
