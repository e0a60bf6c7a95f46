//! The most that leaves within any window of a given width, against the rate.

use super::schedule::{Schedule, nanobytes, to_bytes};
use super::sliding::Sums;

/// The widths of SPEC, in nanoseconds: 10 ms, 100 ms, 1 s, 10 s.
pub(crate) const WIDTHS: [u64; 4] = [10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

/// What was found for one width.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Worst {
    /// max over t of A\[t, t + W) - rW, at least 0.
    pub(crate) excess_bytes: f64,
    /// max over t of A\[t, t + W) / (rW); `None` where rW is less than the
    /// largest packet, so that the ratio says nothing.
    pub(crate) ratio: Option<f64>,
}

/// Excess and ratio of the worst windows.
///
/// With a rate that changes, a window counts against what the rate earned
/// within it; the windows compared are those that begin or end with a
/// departure, among which are the worst unless the rate changes twice in one.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    sums: Sums<4>,
    largest: u64,
    schedule: Schedule,
    /// `None` while the rate is constant: then the most bytes say it all.
    stepped: Option<Box<[Peak; 4]>>,
}

/// The greatest excess in billionths of a byte, and the greatest ratio.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    excess: u128,
    ratio: f64,
}

impl Windows {
    /// Against the rate of `schedule`.
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self {
            sums: Sums::new(WIDTHS),
            largest: 0,
            stepped: (!schedule.is_constant()).then(Box::default),
            schedule,
        }
    }

    /// A packet of `size` bytes has left whole; a stream's pieces are none.
    #[inline]
    pub(crate) fn packet(&mut self, size: u64) {
        if size > self.largest {
            self.largest = size;
        }
    }

    /// `bytes` left at `at`.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        if self.stepped.is_some() {
            self.add_stepped(at, bytes);
        } else {
            self.sums.add(at, bytes);
        }
    }

    #[cold]
    fn add_stepped(&mut self, at: u64, bytes: u64) {
        self.compare_begun(Some(at));
        self.sums.add(at, bytes);
        self.compare_ended(at);
    }

    /// Excess and ratio by width; `None` if nothing left.
    pub(crate) fn worst(mut self) -> Option<[Worst; 4]> {
        if self.sums.is_empty() {
            return None;
        }
        self.compare_begun(None);
        Some(std::array::from_fn(|k| self.worst_of(k)))
    }

    fn worst_of(&self, k: usize) -> Worst {
        let width = WIDTHS[k];
        let peak = match &self.stepped {
            Some(peaks) => peaks[k],
            None => Peak::default().with(self.sums.most(k), self.schedule.earned_until(width)),
        };
        let least = u128::from(self.schedule.least_rate()) * u128::from(width);
        Worst {
            excess_bytes: to_bytes(peak.excess),
            ratio: (least >= nanobytes(self.largest)).then_some(peak.ratio),
        }
    }

    /// Compares the windows that begin with a departure and end before `now`
    /// (`None`: all that are left).
    fn compare_begun(&mut self, now: Option<u64>) {
        let Some(peaks) = &mut self.stepped else {
            return;
        };
        for (k, peak) in peaks.iter_mut().enumerate() {
            let over = |start: u64| now.is_none_or(|now| now.saturating_sub(start) >= WIDTHS[k]);
            for entry in self.sums.entries(k).take_while(|entry| over(entry.at)) {
                let end = entry.at.saturating_add(WIDTHS[k]);
                let earned = self.schedule.earned_between(entry.at, end);
                *peak = peak.with(self.sums.since(entry), earned);
            }
        }
    }

    /// Compares the windows that end with a departure at `at`, or begin with
    /// the run where that is later.
    fn compare_ended(&mut self, at: u64) {
        let Some(peaks) = &mut self.stepped else {
            return;
        };
        for (k, peak) in peaks.iter_mut().enumerate() {
            let start = at.saturating_add(1).saturating_sub(WIDTHS[k]);
            let end = start.saturating_add(WIDTHS[k]);
            let earned = self.schedule.earned_between(start, end);
            *peak = peak.with(self.sums.ending_now(k), earned);
        }
    }
}

impl Peak {
    fn with(self, bytes: u64, earned: u128) -> Self {
        let left = nanobytes(bytes);
        Self {
            excess: self.excess.max(left.saturating_sub(earned)),
            ratio: self.ratio.max(to_bytes(left) / to_bytes(earned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::{ByteRate, Timestamp};
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn rate(bytes_per_second: u64) -> ByteRate {
        ByteRate::new(bytes_per_second).unwrap()
    }

    fn worst(schedule: &Schedule, departures: &[(u64, u64)]) -> Option<[Worst; 4]> {
        let mut windows = Windows::new(schedule.clone());
        departures.iter().for_each(|&(at, bytes)| {
            windows.packet(bytes);
            windows.add(at, bytes);
        });
        windows.worst()
    }

    #[test]
    fn without_a_departure_there_is_no_worst() {
        assert_eq!(worst(&Schedule::new(rate(5), &[]), &[]), None);
    }

    #[test]
    fn a_fixed_window_passes_twice_its_limit_across_the_boundary() {
        let schedule = Schedule::new(rate(5_000), &[]);
        let found = worst(&schedule, &[(999 * MS, 5_000), (1_000 * MS, 5_000)]).unwrap();
        assert_eq!(found[2].ratio, Some(2.0));
        assert_eq!(found[2].excess_bytes, 5_000.0);
        // 10 ms and 100 ms earn less than a packet: no ratio, but an excess.
        assert_eq!((found[0].ratio, found[0].excess_bytes), (None, 9_950.0));
        assert_eq!((found[3].ratio, found[3].excess_bytes), (Some(0.2), 0.0));
    }

    #[test]
    fn windows_are_half_open() {
        let schedule = Schedule::new(rate(5_000), &[]);
        let at = |second: u64| worst(&schedule, &[(0, 5_000), (second, 5_000)]).unwrap()[2];
        assert_eq!(at(1_000 * MS).ratio, Some(1.0));
        assert_eq!(at(1_000 * MS - 1).ratio, Some(2.0));
    }

    proptest! {
        #[test]
        fn a_step_is_judged_by_what_was_earned_around_it(
            mut departures in prop::collection::vec((0u64..40, 1u64..3_000), 1..60),
            before in 100_000u64..200_000, after in 100_000u64..200_000, change in 0u64..40,
        ) {
            departures.sort_unstable();
            let step = (Timestamp::from_nanos(change * MS), rate(after));
            let schedule = Schedule::new(rate(before), &[step]);
            let departures: Vec<_> = departures.iter().map(|&(at, b)| (at * MS, b)).collect();
            let found = worst(&schedule, &departures).unwrap();
            // Every window of whole milliseconds, and those that end just after one.
            for (k, width) in WIDTHS.into_iter().enumerate().take(2) {
                let starts = (0..80).map(|start| start * MS);
                let ends = (0..81).filter_map(|end| (end * MS + 1).checked_sub(width));
                let exact = starts.chain(ends).map(|start| {
                    let sum: u64 = departures.iter()
                        .filter(|d| (start..start + width).contains(&d.0))
                        .map(|d| d.1)
                        .sum();
                    nanobytes(sum).saturating_sub(schedule.earned_between(start, start + width))
                }).max().unwrap();
                prop_assert_eq!(found[k].excess_bytes, to_bytes(exact));
            }
        }
    }
}
