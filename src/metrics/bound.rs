//! By how much an algorithm broke its own promise (SPEC, "Bounds").

use flow::policy::Bound;
use flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};

use super::level::Level;
use super::schedule::{Schedule, nanobytes};
use super::sliding::Sums;

/// Holds a policy's output to its bound. After a change of rate the bound is
/// that of the policy with the new rate, and a window that began before it may
/// hold what either allowed.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    checks: Vec<Check>,
    largest: u64,
    /// Whether every check is left to the reference's level and the largest
    /// packet does not matter, so that there is nothing to follow.
    shared: bool,
}

#[derive(Clone, Debug)]
enum Check {
    Affine(Affine),
    Window(Box<Window>),
}

/// A\[s, t\] <= burst + rate (t - s).
#[derive(Clone, Debug)]
struct Affine {
    schedule: Schedule,
    /// `None`: the reference has the same rate, and its level serves both.
    level: Option<Level>,
    burst: u64,
    /// What the rate yields in the slack of the clock, in billionths of a byte.
    allowed: u128,
    /// Whether a packet larger than `burst` may stand for it.
    or_packet: bool,
}

/// At most a limit in every half-open window.
#[derive(Clone, Debug)]
struct Window {
    sums: Sums<1>,
    /// From when on how much, in order of time; limits of windows that straddle
    /// a change are the larger of both.
    limits: Vec<(u64, u64)>,
    width: u64,
    excess: u64,
    /// The most in any window, and the limit that it was held to.
    most: u64,
    most_limit: u64,
}

/// What came nearest to a bound, or went furthest beyond it, in billionths of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nearest {
    pub(crate) measured: u128,
    pub(crate) bound: u128,
}

impl Promise {
    /// What `policy` promises if its rate changes as `changes` say; `None` if it
    /// promises nothing. Instants that may be wrong by `slack` narrow windows and
    /// deepen bursts by what the rate yields in it.
    pub(crate) fn new(
        policy: Policy,
        changes: &[(Timestamp, ByteRate)],
        slack: Nanos,
    ) -> Option<Self> {
        let later = |&(at, rate): &(Timestamp, ByteRate)| (at, policy.with_rate(rate).bound());
        let later: Vec<_> = changes.iter().map(later).collect();
        let checks = match policy.bound() {
            Bound::None => return None,
            Bound::Affine { rate, burst } => vec![affine((rate, burst), &later, first, slack)],
            Bound::AffineOrPacket { rate, burst } => {
                vec![or_packet(affine((rate, burst), &later, first, slack))]
            }
            Bound::Dual {
                rate,
                burst,
                peak_rate,
                mtu,
            } => vec![
                affine((rate, burst), &later, first, slack),
                affine((peak_rate, mtu), &later, second, slack),
            ],
            Bound::Aligned { limit, window } => {
                vec![windowed(limit, &later, narrower(window, slack), 2)]
            }
            Bound::Sliding { limit, window } => {
                vec![windowed(limit, &later, narrower(window, slack), 1)]
            }
        };
        Some(Self {
            checks,
            largest: 0,
            shared: false,
        })
    }

    /// `bytes` left at `at`.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, bytes: u64) {
        if !self.shared {
            self.follow(at, bytes);
        }
    }

    fn follow(&mut self, at: u64, bytes: u64) {
        self.largest = self.largest.max(bytes);
        for check in &mut self.checks {
            match check {
                Check::Affine(affine) => affine.add(at, bytes),
                Check::Window(window) => window.add(at, bytes),
            }
        }
    }

    /// Leaves to the level against the reference rate `schedule` what it knows
    /// anyway; its peak has to be given to [`Self::excess`].
    pub(crate) fn share(&mut self, schedule: &Schedule) {
        for check in &mut self.checks {
            if let Check::Affine(affine) = check
                && affine.schedule == *schedule
            {
                affine.level = None;
            }
        }
        let is_shared = |check: &Check| match check {
            Check::Affine(affine) => affine.level.is_none() && !affine.or_packet,
            Check::Window(_) => false,
        };
        self.shared = self.checks.iter().all(is_shared);
    }

    /// The most by which the promise was exceeded, in billionths of a byte; 0 if
    /// it held. `peak` is b* at the reference rate.
    pub(crate) fn excess(&self, peak: u128) -> u128 {
        let excess = |check: &Check| match check {
            Check::Affine(affine) => affine.excess(peak, self.largest),
            Check::Window(window) => nanobytes(window.excess),
        };
        self.checks.iter().map(excess).max().unwrap_or(0)
    }
}

impl Promise {
    /// The check that came nearest to its bound; `peak` as for [`Self::excess`].
    pub(crate) fn nearest(&self, peak: u128) -> Option<Nearest> {
        let of = |check: &Check| match check {
            Check::Affine(affine) => affine.nearest(peak, self.largest),
            Check::Window(window) => Nearest {
                measured: nanobytes(window.most),
                bound: nanobytes(window.most_limit),
            },
        };
        // Differences, not ratios: exact, and what is beyond comes first.
        let distance = |one: &Nearest| {
            let beyond = one.measured.saturating_sub(one.bound);
            (
                beyond,
                std::cmp::Reverse(one.bound.saturating_sub(one.measured)),
            )
        };
        self.checks.iter().map(of).max_by_key(distance)
    }
}

impl Affine {
    fn nearest(&self, shared: u128, largest: u64) -> Nearest {
        let burst = if self.or_packet {
            self.burst.max(largest)
        } else {
            self.burst
        };
        Nearest {
            measured: match &self.level {
                Some(level) => level.peak().map_or(0, |(peak, _)| peak),
                None => shared,
            },
            bound: nanobytes(burst) + self.allowed,
        }
    }

    #[inline]
    fn add(&mut self, at: u64, bytes: u64) {
        if let Some(level) = &mut self.level {
            level.add(at, bytes);
        }
    }

    fn excess(&self, shared: u128, largest: u64) -> u128 {
        let Nearest { measured, bound } = self.nearest(shared, largest);
        measured.saturating_sub(bound)
    }
}

impl Window {
    #[inline]
    fn add(&mut self, at: u64, bytes: u64) {
        self.sums.add(at, bytes);
        let within = self.sums.ending_now(0);
        if within > self.most {
            self.most = within;
            self.most_limit = self.limit_now(at);
        }
        if within > self.limits[0].1 || self.limits.len() > 1 {
            self.excess = self.excess.max(within.saturating_sub(self.limit_at(at)));
        }
    }

    fn limit_now(&self, at: u64) -> u64 {
        match self.limits.as_slice() {
            [(_, limit)] => *limit,
            _ => self.limit_at(at),
        }
    }

    /// The largest limit in force within the window that ends at `at`.
    #[cold]
    fn limit_at(&self, at: u64) -> u64 {
        let start = at.saturating_sub(self.width);
        let ends = self.limits.iter().skip(1).map(|&(start, _)| start);
        self.limits
            .iter()
            .zip(ends.chain([u64::MAX]))
            .filter(|&(&(from, _), until)| from <= at && until > start)
            .map(|(&(_, limit), _)| limit)
            .max()
            .unwrap_or(u64::MAX)
    }
}

type Pair = (ByteRate, ByteSize);

/// The check of one affine part that `part` picks of the `later` bounds; after
/// a change the larger burst holds.
fn affine(
    (rate, burst): Pair,
    later: &[(Timestamp, Bound)],
    part: fn(&Bound) -> Option<Pair>,
    slack: Nanos,
) -> Check {
    let later: Vec<_> = later
        .iter()
        .filter_map(|(at, bound)| Some((*at, part(bound)?)))
        .collect();
    let changes: Vec<_> = later.iter().map(|&(at, (rate, _))| (at, rate)).collect();
    let burst = later
        .iter()
        .fold(burst, |most, &(_, (_, burst))| most.max(burst));
    let schedule = Schedule::new(rate, &changes);
    let fastest = changes.iter().fold(rate, |most, &(_, rate)| most.max(rate));
    Check::Affine(Affine {
        level: Some(Level::new(schedule.clone())),
        schedule,
        burst: burst.get(),
        allowed: u128::from(fastest.get()) * u128::from(slack.get()),
        or_packet: false,
    })
}

/// The same bound, where a packet larger than the burst may stand for it.
fn or_packet(check: Check) -> Check {
    match check {
        Check::Affine(affine) => Check::Affine(Affine {
            or_packet: true,
            ..affine
        }),
        Check::Window(window) => Check::Window(window),
    }
}

fn narrower(window: Nanos, slack: Nanos) -> Nanos {
    Nanos::new(window.get().saturating_sub(slack.get()))
}

fn first(bound: &Bound) -> Option<Pair> {
    match *bound {
        Bound::Affine { rate, burst }
        | Bound::AffineOrPacket { rate, burst }
        | Bound::Dual { rate, burst, .. } => Some((rate, burst)),
        Bound::None | Bound::Aligned { .. } | Bound::Sliding { .. } => None,
    }
}

fn second(bound: &Bound) -> Option<Pair> {
    match *bound {
        Bound::Dual { peak_rate, mtu, .. } => Some((peak_rate, mtu)),
        _ => None,
    }
}

/// The check of `times` the limit in any window of length `window`.
fn windowed(limit: ByteSize, later: &[(Timestamp, Bound)], window: Nanos, times: u64) -> Check {
    let mut limits = vec![(0, limit.get().saturating_mul(times))];
    limits.extend(later.iter().filter_map(|(at, bound)| match *bound {
        Bound::Aligned { limit, .. } | Bound::Sliding { limit, .. } => {
            Some((at.as_nanos(), limit.get().saturating_mul(times)))
        }
        _ => None,
    }));
    let width = window.get().max(1);
    Check::Window(Box::new(Window {
        sums: Sums::new([width]),
        limits,
        width,
        excess: 0,
        most: 0,
        most_limit: limit.get().saturating_mul(times),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn excess(policy: &str, changes: &[(u64, u64)], packets: &[(u64, u64)]) -> Option<u128> {
        let change = |&(at, rate)| (Timestamp::from_nanos(at), ByteRate::new(rate).unwrap());
        let changes: Vec<_> = changes.iter().map(change).collect();
        let mut promise = Promise::new(policy.parse().unwrap(), &changes, Nanos::ZERO)?;
        packets
            .iter()
            .for_each(|&(at, bytes)| promise.add(at, bytes));
        Some(promise.excess(0))
    }

    #[test]
    fn who_promises_nothing_breaks_nothing() {
        assert_eq!(excess("none", &[], &[(0, 1 << 40)]), None);
    }

    #[test]
    fn a_nanosecond_too_early_is_seen() {
        let policy = "token-bucket:rate=1000B/s,burst=1000B";
        assert_eq!(excess(policy, &[], &[(0, 1000), (MS, 1)]), Some(0));
        assert_eq!(excess(policy, &[], &[(0, 1000), (MS - 1, 1)]), Some(1_000));
        // From 2 ms on a nanosecond earns half.
        let changes = [(2 * MS, 500)];
        assert_eq!(
            excess(policy, &changes, &[(2 * MS, 1000), (4 * MS, 1)]),
            Some(0)
        );
        assert_eq!(
            excess(policy, &changes, &[(2 * MS, 1000), (4 * MS - 1, 1)]),
            Some(500)
        );
    }

    #[test]
    fn a_level_of_the_same_rate_serves_both() {
        let rate = ByteRate::new(1000).unwrap();
        let policy = "token-bucket:rate=1000B/s,burst=1000B";
        let mut promise = Promise::new(policy.parse().unwrap(), &[], Nanos::ZERO).unwrap();
        promise.share(&Schedule::new(rate, &[]));
        promise.add(0, 5000);
        assert_eq!(promise.excess(nanobytes(1003)), nanobytes(3));
    }

    #[test]
    fn a_clock_that_may_be_wrong_gets_the_benefit_of_the_doubt() {
        let slack = Nanos::from_millis(2);
        let excess = |policy: &str, packets: &[(u64, u64)]| {
            let mut promise = Promise::new(policy.parse().unwrap(), &[], slack).unwrap();
            packets
                .iter()
                .for_each(|&(at, bytes)| promise.add(at, bytes));
            promise.excess(0)
        };
        let bucket = "token-bucket:rate=1000B/s,burst=1000B";
        assert_eq!(excess(bucket, &[(0, 1002)]), 0);
        assert_eq!(excess(bucket, &[(0, 1003)]), nanobytes(1));
        let log = "sliding-window-log:limit=1000B,window=1s";
        assert_eq!(excess(log, &[(0, 1000), (998 * MS, 1000)]), 0);
        assert_eq!(excess(log, &[(0, 1000), (997 * MS, 1000)]), nanobytes(1000));
    }

    #[test]
    fn a_leaky_bucket_is_one_packet_deep() {
        let policy = "leaky-bucket:rate=1000B/s";
        assert_eq!(excess(policy, &[], &[(0, 10), (10 * MS, 7)]), Some(0));
        assert_eq!(excess(policy, &[], &[(0, 10), (0, 7)]), Some(7_000_000_000));
    }

    #[test]
    fn both_buckets_count() {
        let policy = "dual-token-bucket:rate=1000B/s,burst=3000B,peak_rate=2000B/s,mtu=1500B";
        assert_eq!(excess(policy, &[], &[(0, 1500)]), Some(0));
        assert_eq!(excess(policy, &[], &[(0, 1501)]), Some(1_000_000_000));
        let long = [(0, 1500), (750 * MS, 1500), (1500 * MS, 1501)];
        assert_eq!(excess(policy, &[], &long), Some(1_000_000_000));
    }

    #[test]
    fn a_window_may_hold_its_limit_or_two_of_them() {
        let late = [(0, 1), (999 * MS, 999), (1000 * MS, 1000)];
        let policy = "fixed-window:limit=1000B,window=1s";
        assert_eq!(excess(policy, &[], &late), Some(0));
        assert_eq!(excess(policy, &[], &[(0, 2001)]), Some(1_000_000_000));
        let policy = "sliding-window-log:limit=1000B,window=1s";
        assert_eq!(excess(policy, &[], &late), Some(999_000_000_000));
        assert_eq!(
            excess(policy, &[], &[(0, 1000), (1000 * MS, 1000)]),
            Some(0)
        );
    }

    #[test]
    fn a_window_across_a_change_may_hold_the_larger_limit() {
        let policy = "sliding-window-log:limit=1000B,window=1s";
        let halved = [(5000 * MS, 500)];
        assert_eq!(
            excess(policy, &halved, &[(4500 * MS, 900), (5499 * MS, 100)]),
            Some(0)
        );
        assert_eq!(
            excess(policy, &halved, &[(6000 * MS, 501)]),
            Some(1_000_000_000)
        );
        assert_eq!(excess(policy, &halved, &[(5999 * MS, 501)]), Some(0));
    }
}
