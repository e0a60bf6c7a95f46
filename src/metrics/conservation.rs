//! Against the ideal (r, b) shaper: how much it would have passed, and when it
//! would have sent each packet.

use super::histogram::Histogram;
use super::schedule::{Credit, Schedule, nanobytes, to_bytes};

/// Billionths of a byte in a byte.
const NANOBYTES_SIGNED: i128 = 1_000_000_000;

/// What an ideal (r, b) shaper passes of the offered bytes by the end:
/// min over s of A_in\[0, s) + b + r(T - s), and no more than was offered
/// (min-plus convolution, Cruz 1991).
#[derive(Clone, Debug)]
pub(crate) struct IdealVolume {
    credit: Credit,
    /// A_in\[0, s) - r s in billionths of a byte, and its least value so far.
    lead: i128,
    least: i128,
}

impl IdealVolume {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self {
            credit: Credit::new(schedule),
            lead: 0,
            least: 0,
        }
    }

    /// `bytes` arrived at `at`.
    #[inline]
    pub(crate) fn offer(&mut self, at: u64, bytes: u64) {
        self.lead -= signed(self.credit.earn(at));
        self.least = self.least.min(self.lead);
        self.lead += i128::from(bytes) * NANOBYTES_SIGNED;
    }

    /// Bytes of `offered` that the ideal shaper of depth `burst` has passed by `end`.
    pub(crate) fn passed_by(&self, end: u64, offered: u64, burst: u64) -> f64 {
        let earned = signed(self.credit.schedule().earned_until(end));
        let limit = self.least + signed(nanobytes(burst)) + earned;
        let limit = u128::try_from(limit).unwrap_or(0);
        to_bytes(limit.min(nanobytes(offered)))
    }
}

fn signed(nanobytes: u128) -> i128 {
    i128::try_from(nanobytes).unwrap_or(i128::MAX)
}

/// Sends the packets that passed through an ideal shaper, a token bucket of
/// rate r and depth b before a FIFO without a limit, and compares. A packet
/// larger than b leaves when the bucket is full.
#[derive(Clone, Debug)]
pub(crate) struct Conservation {
    credit: Credit,
    burst: u128,
    /// What is missing from a full bucket, in billionths of a byte.
    missing: u128,
    figures: ConservationFigures,
}

/// Departure minus the ideal departure.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConservationFigures {
    /// Of the packets that were not early, in nanoseconds.
    pub(crate) late: Histogram,
    /// How many were early, and by how much at most.
    pub(crate) early: u64,
    pub(crate) earliest: u64,
}

impl Conservation {
    pub(crate) fn new(schedule: Schedule, burst: u64) -> Self {
        Self {
            credit: Credit::new(schedule),
            burst: nanobytes(burst),
            missing: 0,
            figures: ConservationFigures::default(),
        }
    }

    /// A packet of `size` arrived at `arrival` and left at `departure`.
    #[inline]
    pub(crate) fn add(&mut self, arrival: u64, departure: u64, size: u64) {
        let ideal = self.ideal_departure(arrival, size);
        if departure < ideal {
            self.figures.early += 1;
            self.figures.earliest = self.figures.earliest.max(ideal - departure);
        } else {
            self.figures.late.record(departure - ideal);
        }
    }

    pub(crate) fn figures(self) -> ConservationFigures {
        self.figures
    }

    #[inline]
    fn ideal_departure(&mut self, arrival: u64, size: u64) -> u64 {
        // FIFO: not before the packet in front, which left when credit was last counted.
        let mut at = arrival.max(self.credit.last());
        let size = nanobytes(size);
        self.missing = self.missing.saturating_sub(self.credit.earn(at));
        if self.missing + size > self.burst {
            at = self.wait(at, size);
        }
        self.missing += size;
        at
    }

    /// When enough is no longer missing for `size`, from `at` on.
    fn wait(&mut self, at: u64, size: u128) -> u64 {
        let may_miss = self.burst.saturating_sub(size);
        let too_much = self.missing.saturating_sub(may_miss);
        let then = at.saturating_add(self.credit.time_for(too_much));
        self.missing = self.missing.saturating_sub(self.credit.earn(then));
        then
    }
}

impl ConservationFigures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.late.merge(&other.late);
        self.early += other.early;
        self.earliest = self.earliest.max(other.earliest);
    }

    /// Share of packets that left before the ideal shaper's; `None` without any packet.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share for people, 53 bits suffice"
    )]
    pub(crate) fn early_ratio(&self) -> Option<f64> {
        let all = self.late.count() + self.early;
        (all > 0).then(|| self.early as f64 / all as f64)
    }

    /// By how much the earliest left too early; `None` without any packet.
    pub(crate) fn earliest(&self) -> Option<u64> {
        (self.late.count() + self.early > 0).then_some(self.earliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::ByteRate;
    use proptest::prelude::*;

    fn schedule(rate: u64) -> Schedule {
        Schedule::new(ByteRate::new(rate).unwrap(), &[])
    }

    fn departures(rate: u64, burst: u64, packets: &[(u64, u64)]) -> Vec<u64> {
        let mut ideal = Conservation::new(schedule(rate), burst);
        let mut leave = |&(arrival, size): &(u64, u64)| ideal.ideal_departure(arrival, size);
        packets.iter().map(&mut leave).collect()
    }

    #[test]
    fn ideal_departures_by_hand() {
        // 1 kB/s, 1500 B: the second packet misses 500 B, so half a second; the
        // third, larger than the bucket, waits until it is full.
        let second = 1_000_000_000;
        let found = departures(
            1_000,
            1_500,
            &[(0, 1_000), (0, 1_000), (second, 2_000), (second, 1)],
        );
        assert_eq!(
            found,
            [
                0,
                second / 2,
                2 * second,
                2 * second + second / 2 + 1_000_000
            ]
        );
    }

    #[test]
    fn early_and_late_are_apart() {
        let mut ideal = Conservation::new(schedule(1_000), 1_000);
        ideal.add(0, 0, 1_000);
        ideal.add(0, 300_000_000, 1_000);
        ideal.add(0, 2_000_000_005, 1_000);
        let figures = ideal.figures();
        assert_eq!(figures.earliest(), Some(700_000_000));
        assert!((figures.early_ratio().unwrap() - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(figures.late.max(), Some(5));
        assert_eq!(figures.late.count(), 2);
        assert_eq!(ConservationFigures::default().early_ratio(), None);
    }

    proptest! {
        #[test]
        fn volume_is_the_min_plus_convolution(
            mut arrivals in prop::collection::vec((0u64..5_000, 1u64..2_000), 0..40),
            rate in 1u64..3_000_000_000, burst in 0u64..3_000, after in 0u64..5_000,
        ) {
            arrivals.sort_unstable();
            let end = arrivals.last().map_or(0, |&(at, _)| at) + after;
            let mut volume = IdealVolume::new(schedule(rate));
            arrivals.iter().for_each(|&(at, bytes)| volume.offer(at, bytes));
            let offered: u64 = arrivals.iter().map(|&(_, bytes)| bytes).sum();
            let exact = (0..=end)
                .map(|s| {
                    let before: u64 = arrivals.iter().filter(|&&(at, _)| at < s).map(|&(_, bytes)| bytes).sum();
                    nanobytes(before + burst) + u128::from(rate) * u128::from(end - s)
                })
                .min()
                .unwrap()
                .min(nanobytes(offered));
            prop_assert_eq!(volume.passed_by(end, offered, burst), to_bytes(exact));
        }

        #[test]
        fn an_ideal_departure_is_the_first_that_keeps_the_bucket(
            mut packets in prop::collection::vec((0u64..3_000, 1u64..500), 1..30),
            rate in 100_000_000u64..3_000_000_000, burst in 500u64..2_000,
        ) {
            packets.sort_unstable();
            let left = departures(rate, burst, &packets);
            // A[s,t] <= b + r (t - s) for the packets up to `i`, if it left at `at`.
            let keeps = |i: usize, at: u64| (0..=i).all(|j| {
                let sent: u64 = packets[j..=i].iter().map(|&(_, size)| size).sum();
                let start = if j == i { at } else { left[j] };
                nanobytes(sent) <= nanobytes(burst) + u128::from(rate) * u128::from(at - start)
            });
            for i in 0..packets.len() {
                let floor = packets[i].0.max(if i > 0 { left[i - 1] } else { 0 });
                prop_assert!(left[i] >= floor && keeps(i, left[i]));
                prop_assert!(left[i] == floor || !keeps(i, left[i] - 1));
            }
        }
    }
}
