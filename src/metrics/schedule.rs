//! A reference rate over time, and the credit that it earns.

use flow::{ByteRate, Timestamp};

/// Billionths of a byte in a byte: one nanosecond at 1 B/s earns one of them,
/// so that every credit is a whole number.
pub(crate) const NANOBYTES: u128 = 1_000_000_000;

/// Whole bytes as billionths of a byte.
#[inline]
pub(crate) fn nanobytes(bytes: u64) -> u128 {
    u128::from(bytes) * NANOBYTES
}

/// Billionths of a byte as bytes, for people.
#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, 53 bits suffice"
)]
pub(crate) fn to_bytes(nanobytes: u128) -> f64 {
    // Whole bytes and the rest apart, so that a whole number stays one.
    (nanobytes / NANOBYTES) as f64 + (nanobytes % NANOBYTES) as f64 / 1e9
}

/// From `start` on the rate is `rate`; `earned` came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    start: u64,
    rate: u64,
    earned: u128,
}

/// A rate that changes at known instants: r(t), and its integral R(t).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// In order of time, the first from 0 on; never empty.
    phases: Vec<Phase>,
}

impl Schedule {
    /// `initial` from 0 on, then each of `changes`, which are in order of time.
    pub(crate) fn new(initial: ByteRate, changes: &[(Timestamp, ByteRate)]) -> Self {
        let mut phases = vec![Phase {
            start: 0,
            rate: initial.get(),
            earned: 0,
        }];
        for &(at, rate) in changes {
            push_phase(&mut phases, at.as_nanos(), rate.get());
        }
        Self { phases }
    }

    /// Whether the rate never changes.
    pub(crate) fn is_constant(&self) -> bool {
        self.phases.len() == 1
    }

    /// The rate in force from `at` on, in bytes per second.
    pub(crate) fn rate_at(&self, at: u64) -> u64 {
        self.phases[self.phase_at(at)].rate
    }

    /// The least rate of all.
    pub(crate) fn least_rate(&self) -> u64 {
        self.phases
            .iter()
            .map(|phase| phase.rate)
            .min()
            .unwrap_or(0)
    }

    /// Credit earned from 0 to `at`, in billionths of a byte.
    pub(crate) fn earned_until(&self, at: u64) -> u128 {
        let phase = &self.phases[self.phase_at(at)];
        phase.earned + u128::from(phase.rate) * u128::from(at - phase.start)
    }

    /// Credit earned from `from` to `to`, in billionths of a byte.
    pub(crate) fn earned_between(&self, from: u64, to: u64) -> u128 {
        self.earned_until(to)
            .saturating_sub(self.earned_until(from))
    }

    fn phase_at(&self, at: u64) -> usize {
        self.phases
            .partition_point(|phase| phase.start <= at)
            .saturating_sub(1)
    }
}

fn push_phase(phases: &mut Vec<Phase>, start: u64, rate: u64) {
    let Some(last) = phases.last_mut() else {
        return;
    };
    if start <= last.start {
        last.rate = rate;
        return;
    }
    let earned = last.earned + u128::from(last.rate) * u128::from(start - last.start);
    phases.push(Phase {
        start,
        rate,
        earned,
    });
}

/// Walks along a [`Schedule`] and says what was earned since the last question.
#[derive(Clone, Debug)]
pub(crate) struct Credit {
    schedule: Schedule,
    rate: u64,
    last: u64,
    /// The next change; `u64::MAX` if there is none.
    until: u64,
    phase: usize,
}

impl Credit {
    pub(crate) fn new(schedule: Schedule) -> Self {
        let mut credit = Self {
            rate: 0,
            last: 0,
            until: 0,
            phase: 0,
            schedule,
        };
        credit.enter(0);
        credit
    }

    /// Credit earned since the last call, in billionths of a byte. Time that
    /// runs backwards stands still.
    #[inline]
    pub(crate) fn earn(&mut self, now: u64) -> u128 {
        if now >= self.until {
            return self.earn_across(now);
        }
        if now <= self.last {
            return 0;
        }
        let earned = u128::from(self.rate) * u128::from(now - self.last);
        self.last = now;
        earned
    }

    /// The least whole number of nanoseconds from the last call on in which
    /// `wanted` is earned.
    #[inline]
    pub(crate) fn time_for(&self, wanted: u128) -> u64 {
        let wait = div_ceil(wanted, self.rate);
        if self.last.saturating_add(wait) <= self.until {
            wait
        } else {
            self.time_across(wanted)
        }
    }

    /// The latest instant asked about.
    #[inline]
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The schedule that is walked.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    #[cold]
    fn earn_across(&mut self, now: u64) -> u128 {
        let earned = self.schedule.earned_between(self.last, now);
        self.last = self.last.max(now);
        while now >= self.until && self.until != u64::MAX {
            self.enter(self.phase + 1);
        }
        earned
    }

    #[cold]
    fn time_across(&self, wanted: u128) -> u64 {
        let target = self.schedule.earned_until(self.last) + wanted;
        let phases = &self.schedule.phases;
        let phase = &phases[phases
            .partition_point(|phase| phase.earned < target)
            .saturating_sub(1)];
        let at = phase
            .start
            .saturating_add(div_ceil(target - phase.earned, phase.rate));
        at.saturating_sub(self.last)
    }

    fn enter(&mut self, phase: usize) {
        let phases = &self.schedule.phases;
        self.phase = phase;
        self.rate = phases[phase].rate;
        self.until = phases.get(phase + 1).map_or(u64::MAX, |next| next.start);
    }
}

/// `amount / rate`, rounded up, saturating.
#[inline]
fn div_ceil(amount: u128, rate: u64) -> u64 {
    match u64::try_from(amount) {
        Ok(amount) => amount.div_ceil(rate),
        Err(_) => u64::try_from(amount.div_ceil(u128::from(rate))).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_second: u64) -> ByteRate {
        ByteRate::new(bytes_per_second).unwrap()
    }

    fn stepped() -> Schedule {
        Schedule::new(
            rate(100),
            &[
                (Timestamp::from_nanos(1_000), rate(7)),
                (Timestamp::from_nanos(1_500), rate(30)),
            ],
        )
    }

    #[test]
    fn integral_follows_every_change() {
        let schedule = stepped();
        assert_eq!(schedule.earned_until(1_000), 100_000);
        assert_eq!(schedule.earned_until(1_500), 103_500);
        assert_eq!(schedule.earned_until(1_502), 103_560);
        assert_eq!(schedule.rate_at(999), 100);
        assert_eq!(schedule.rate_at(1_000), 7);
        assert_eq!(schedule.least_rate(), 7);
        assert!(!schedule.is_constant());
    }

    #[test]
    fn a_change_at_the_start_or_twice_at_an_instant_replaces() {
        let at = Timestamp::from_nanos(5);
        let schedule = Schedule::new(
            rate(1),
            &[(Timestamp::ZERO, rate(2)), (at, rate(3)), (at, rate(4))],
        );
        assert_eq!(schedule.earned_until(5), 10);
        assert_eq!(schedule.earned_until(6), 14);
    }

    #[test]
    fn walking_in_any_steps_earns_the_integral() {
        for step in [1, 3, 250, 999, 1_000, 4_000] {
            let mut credit = Credit::new(stepped());
            let mut sum = 0;
            let mut now = 0;
            while now < 4_000 {
                now += step;
                sum += credit.earn(now);
                assert_eq!(sum, stepped().earned_until(now), "step {step}");
                assert_eq!(credit.earn(now.saturating_sub(2)), 0);
            }
        }
    }

    #[test]
    fn time_for_is_the_least_that_suffices() {
        for start in [0, 500, 999, 1_000, 1_499, 1_500] {
            let mut credit = Credit::new(stepped());
            credit.earn(start);
            for wanted in [1, 7, 99, 100, 101, 3_499, 100_000, 103_501, 1_000_000] {
                let wait = credit.time_for(wanted);
                assert!(stepped().earned_between(start, start + wait) >= wanted);
                assert!(stepped().earned_between(start, start + wait - 1) < wanted);
            }
        }
    }

    #[test]
    fn bytes_are_shown_exactly_where_a_float_can() {
        assert!((to_bytes(nanobytes(41_328)) - 41_328.0).abs() < f64::EPSILON);
        assert!((to_bytes(4_500_999_995_000) - 4_500.999_995).abs() < 1e-9);
    }
}
