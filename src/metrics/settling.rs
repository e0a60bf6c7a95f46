//! How long the output takes to follow a step of rate or load.

use flow::{ByteRate, Timestamp};

use super::schedule::{Schedule, nanobytes};

/// Windows are at least this long, in nanoseconds: 100 ms.
const LEAST_WINDOW: u128 = 100_000_000;
/// Windows hold at least this many packets of mean size at the new rate.
const LEAST_PACKETS: u128 = 20;
/// So many windows in a row must be close to the new rate.
const IN_A_ROW: u32 = 3;

/// A step that the output has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// The load from then on, to settle at if it is below the limit; `None`:
    /// more than the limit.
    pub load: Option<ByteRate>,
}

/// How the output followed the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Settled {
    /// There was none.
    NoStep,
    /// Nanoseconds from the step to the start of the first of three windows in
    /// a row within 10 % of the rate.
    After(u64),
    /// Not before the run was over.
    Never,
}

/// Watches the output after each step.
#[derive(Clone, Debug)]
pub(crate) struct Settling {
    steps: Vec<Step>,
    /// Index of the next step, and its instant (`u64::MAX`: none left).
    next: usize,
    next_at: u64,
    watched: Option<Watch>,
    bytes: u64,
    pieces: u64,
}

/// The windows after one step.
#[derive(Clone, Copy, Debug)]
struct Watch {
    step: u64,
    rate: u64,
    width: u64,
    end: u64,
    bytes: u64,
    in_a_row: u32,
    settled: Option<u64>,
}

impl Settling {
    /// `steps` in order of time; `None` without any.
    pub(crate) fn new(steps: Vec<Step>) -> Option<Self> {
        let first = steps.first()?.at.as_nanos();
        Some(Self {
            next: 0,
            next_at: first,
            watched: None,
            bytes: 0,
            pieces: 0,
            steps,
        })
    }

    /// `bytes` left at `at` under the rate of `schedule`.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64, schedule: &Schedule) {
        if at >= self.next_at {
            self.start(at, bytes, schedule);
        }
        if let Some(watch) = &mut self.watched {
            if at >= watch.end {
                watch.close_until(at);
            }
            watch.bytes += bytes;
        }
        self.bytes += bytes;
        self.pieces += 1;
    }

    /// How the output followed the last step before `end`.
    pub(crate) fn found(mut self, end: u64, schedule: &Schedule) -> Settled {
        if end > self.next_at {
            self.start(end, 0, schedule);
        }
        let Some(mut watch) = self.watched else {
            return Settled::NoStep;
        };
        watch.close_until(end);
        watch.settled.map_or(Settled::Never, Settled::After)
    }

    fn wait_for(&mut self, next: usize) {
        self.next = next;
        self.next_at = self
            .steps
            .get(next)
            .map_or(u64::MAX, |step| step.at.as_nanos());
    }

    /// `packet` is what stands for the mean size if nothing has left yet.
    #[cold]
    fn start(&mut self, now: u64, packet: u64, schedule: &Schedule) {
        let packet = self.bytes.checked_div(self.pieces).unwrap_or(packet);
        while let Some(step) = self.steps.get(self.next)
            && step.at.as_nanos() <= now
        {
            let at = step.at.as_nanos();
            let limit = schedule.rate_at(at);
            let rate = step.load.map_or(limit, |load| load.get().min(limit));
            self.watched = Some(Watch::new(at, rate, packet));
            self.wait_for(self.next + 1);
        }
    }
}

impl Watch {
    fn new(step: u64, rate: u64, packet: u64) -> Self {
        let packets = (LEAST_PACKETS * nanobytes(packet)).div_ceil(u128::from(rate));
        let width = u64::try_from(packets.max(LEAST_WINDOW)).unwrap_or(u64::MAX);
        Self {
            step,
            rate,
            width,
            end: step.saturating_add(width),
            bytes: 0,
            in_a_row: 0,
            settled: None,
        }
    }

    /// Closes the windows that were over at `now`.
    fn close_until(&mut self, now: u64) {
        while self.end <= now && self.settled.is_none() {
            self.in_a_row = if self.is_close() {
                self.in_a_row + 1
            } else {
                0
            };
            if self.in_a_row == IN_A_ROW {
                let first = self.end - u64::from(IN_A_ROW) * self.width;
                self.settled = Some(first - self.step);
            }
            if self.bytes == 0 {
                self.skip_until(now);
            }
            self.bytes = 0;
            self.end = self.end.saturating_add(self.width);
        }
        if self.settled.is_some() {
            self.end = u64::MAX;
        }
    }

    /// Silence lasts until `now`: only the last window before it can matter.
    fn skip_until(&mut self, now: u64) {
        let silent = (now - self.end) / self.width;
        self.end += silent * self.width;
    }

    fn is_close(&self) -> bool {
        let wanted = u128::from(self.rate) * u128::from(self.width);
        (nanobytes(self.bytes).abs_diff(wanted)) * 10 <= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn rate(bytes_per_second: u64) -> ByteRate {
        ByteRate::new(bytes_per_second).unwrap()
    }

    fn step(at: u64) -> Step {
        Step {
            at: Timestamp::from_nanos(at),
            load: None,
        }
    }

    /// 10-byte packets at 10 kB/s; the windows after a step are 100 ms.
    fn run(steps: &[u64], packets: impl IntoIterator<Item = u64>, end: u64) -> Settled {
        let schedule = Schedule::new(rate(10_000), &[]);
        let Some(mut settling) = Settling::new(steps.iter().map(|&at| step(at)).collect()) else {
            return Settled::NoStep;
        };
        for at in packets.into_iter().filter(|&at| at <= end) {
            settling.add(at, 10, &schedule);
        }
        settling.found(end, &schedule)
    }

    #[test]
    fn without_a_step_there_is_nothing_to_settle() {
        assert_eq!(
            run(&[], (0..1000).map(|i| i * MS), 1000 * MS),
            Settled::NoStep
        );
        assert_eq!(
            run(&[2000 * MS], (0..1000).map(|i| i * MS), 1000 * MS),
            Settled::NoStep
        );
    }

    #[test]
    fn a_steady_output_settles_at_once() {
        assert_eq!(
            run(&[0], (0..1000).map(|i| i * MS), 1000 * MS),
            Settled::After(0)
        );
        assert_eq!(
            run(&[500 * MS], (0..1000).map(|i| i * MS), 1000 * MS),
            Settled::After(0)
        );
    }

    #[test]
    fn silence_before_the_rate_delays_it() {
        let packets = (330..1000).map(|i| i * MS);
        assert_eq!(
            run(&[0], packets.clone(), 1000 * MS),
            Settled::After(400 * MS)
        );
        assert_eq!(run(&[0], packets, 699 * MS), Settled::Never);
    }

    #[test]
    fn silence_of_years_takes_no_time() {
        let year = 365 * 86_400 * 1_000 * MS;
        let packets = (0..1000).map(|i| year + i * MS);
        let found = run(&[0], packets, year + 1000 * MS);
        assert_eq!(found, Settled::After(year));
    }

    #[test]
    fn a_load_below_the_limit_is_settled_at() {
        let schedule = Schedule::new(rate(10_000), &[]);
        let mut at_load = step(0);
        at_load.load = ByteRate::new(1_000);
        let mut settling = Settling::new(vec![at_load]).unwrap();
        (0..100).for_each(|i| settling.add(i * 10 * MS, 10, &schedule));
        assert_eq!(settling.found(1000 * MS, &schedule), Settled::After(0));
    }

    #[test]
    fn windows_hold_twenty_packets() {
        // 1000-byte packets at 10 kB/s: windows of 2 s.
        let schedule = Schedule::new(rate(10_000), &[]);
        let mut settling = Settling::new(vec![step(1)]).unwrap();
        settling.add(0, 1_000, &schedule);
        for i in 1..60 {
            settling.add(i * 100 * MS, 1_000, &schedule);
        }
        let found = settling.clone().found(6_000 * MS, &schedule);
        assert_eq!(found, Settled::Never);
        let found = settling.found(6_000 * MS + 1, &schedule);
        assert_eq!(found, Settled::After(0));
    }

    #[test]
    fn tolerance_is_a_tenth() {
        let at = |per_window: u64| {
            let window = move |w: u64| (0..per_window).map(move |i| w * 100 * MS + i);
            let packets = (0..10_u64).flat_map(window);
            run(&[0], packets, 1000 * MS)
        };
        assert_eq!(at(90), Settled::After(0));
        assert_eq!(at(110), Settled::After(0));
        assert_eq!(at(89), Settled::Never);
        assert_eq!(at(111), Settled::Never);
    }
}
