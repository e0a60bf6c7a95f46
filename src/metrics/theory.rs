//! What network calculus promises of delay and backlog (Le Boudec and Thiran, 2001, chapter 1).
//!
//! A limiter that holds bytes back serves at least beta(t) = burst + rate x (t - latency): a
//! bucket its depth and rate at once, a window its limit once a window. Arrivals conform to
//! a bucket b*(rate), which is measured; so no byte waits longer than the level distance of the
//! two, latency + (b* - burst) / rate, and no more of them wait than b* - burst + rate x latency
//! and the packet that is on its way. What a policer drops does not wait.

use flow::{ByteRate, ByteSize, Nanos, Policy, stream};

use super::level::Level;
use super::schedule::{Schedule, nanobytes, to_bytes};
use super::spec::UserSpec;

/// One part of a service curve, with the arrivals' level at its rate.
#[derive(Clone, Debug)]
struct Part {
    rate: u64,
    /// In billionths of a byte.
    burst: u128,
    latency: u64,
    arrivals: Level,
}

/// Follows arrivals and backlog of one user.
#[derive(Clone, Debug)]
pub(crate) struct Theory {
    parts: Vec<Part>,
    queue: Option<u64>,
    /// One connection alone is served in order.
    in_order: bool,
    slack: u64,
    largest: u64,
    waiting: u64,
    most_waiting: u64,
    now: u64,
}

/// What was promised, and what was found of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Promised {
    /// In nanoseconds; `None` where several connections share.
    pub(crate) delay: Option<u64>,
    /// In bytes.
    pub(crate) backlog: f64,
    /// Most bytes that waited over any length of time.
    pub(crate) waited: u64,
}

impl Theory {
    /// `None` where nothing is promised: a policer, no limit, averages and the
    /// seeds' own limiters, and rates that change.
    pub(crate) fn new(spec: &UserSpec) -> Option<Self> {
        let policy = spec.policy.filter(|_| spec.rate_changes.is_empty())?;
        let application = spec.application?;
        let quantum = application.stream.then(|| stream::quantum(&policy));
        let curves = service(&policy, quantum, application.largest)?;
        let part = |(rate, burst, latency): (ByteRate, ByteSize, Nanos)| Part {
            rate: rate.get(),
            burst: nanobytes(burst.get()),
            latency: latency.get(),
            arrivals: Level::new(Schedule::new(rate, &[])),
        };
        Some(Self {
            parts: curves.into_iter().map(part).collect(),
            queue: application.queue.map(ByteSize::get),
            in_order: spec.connections <= 1,
            slack: spec.timing_slack.get(),
            largest: 0,
            waiting: 0,
            most_waiting: 0,
            now: 0,
        })
    }

    #[inline]
    pub(crate) fn offered(&mut self, at: u64, bytes: u64) {
        self.pass_to(at);
        self.waiting += bytes;
        self.largest = self.largest.max(bytes);
        for part in &mut self.parts {
            part.arrivals.add(at, bytes);
        }
    }

    #[inline]
    pub(crate) fn delivered(&mut self, at: u64, bytes: u64) {
        self.pass_to(at);
        self.waiting = self.waiting.saturating_sub(bytes);
    }

    /// At the instant of the arrival.
    #[inline]
    pub(crate) fn dropped(&mut self, bytes: u64) {
        self.waiting = self.waiting.saturating_sub(bytes);
    }

    /// What waits at an instant that is over has waited.
    #[inline]
    fn pass_to(&mut self, at: u64) {
        if at > self.now {
            self.most_waiting = self.most_waiting.max(self.waiting);
            self.now = at;
        }
    }

    pub(crate) fn promised(&self) -> Promised {
        let over = |part: &Part| {
            let (peak, _) = part.arrivals.peak().unwrap_or((0, 0));
            peak.saturating_sub(part.burst)
        };
        let delay = |part: &Part| {
            let wait = over(part).div_ceil(u128::from(part.rate));
            let queued = self
                .queue
                .map(|queue| nanobytes(queue).div_ceil(u128::from(part.rate)));
            let wait = queued.map_or(wait, |queued| wait.min(queued));
            u64::try_from(wait)
                .unwrap_or(u64::MAX)
                .saturating_add(part.latency)
        };
        let backlog = |part: &Part| {
            let meanwhile = u128::from(part.rate) * u128::from(part.latency + self.slack);
            // What serves late has not passed its burst either when all of the arrivals' is there.
            let at_once = if self.slack > 0 { 0 } else { part.burst };
            let (peak, _) = part.arrivals.peak().unwrap_or((0, 0));
            peak.saturating_sub(at_once) + meanwhile
        };
        let delay = self.parts.iter().map(delay).max().unwrap_or(0);
        let backlog = self.parts.iter().map(backlog).max().unwrap_or(0);
        let backlog = match self.queue {
            Some(queue) => backlog.min(nanobytes(queue)),
            None => backlog,
        };
        Promised {
            delay: self.in_order.then(|| delay.saturating_add(self.slack)),
            backlog: to_bytes(backlog + nanobytes(self.largest)),
            waited: self.most_waiting,
        }
    }
}

/// The parts of the service curve, each a rate, a burst and a latency: a limiter serves at least
/// the least of them. `quantum`: what a stream waits for; otherwise whole packets, of `largest`
/// at most, are waited for.
fn service(
    policy: &Policy,
    quantum: Option<ByteSize>,
    largest: ByteSize,
) -> Option<Vec<(ByteRate, ByteSize, Nanos)>> {
    // A stream moves nothing before a quantum may move.
    let gathering = |rate: ByteRate| {
        let bytes = u128::from(quantum.map_or(0, ByteSize::get));
        let nanos = (bytes * 1_000_000_000).div_ceil(u128::from(rate.get()));
        Nanos::new(u64::try_from(nanos).unwrap_or(u64::MAX))
    };
    let bucket = |rate, burst| (rate, burst, gathering(rate));
    // The last piece that does not fit any more is left to the next window.
    let windows = |limit: ByteSize, window: Nanos, latency: u64| {
        let left = limit.get().checked_sub(quantum.unwrap_or(largest).get())?;
        let rate = u128::from(left) * 1_000_000_000 / u128::from(window.get().max(1));
        let rate = ByteRate::new(u64::try_from(rate).ok()?)?;
        let latency = Nanos::new(window.get().checked_mul(latency)?);
        Some(vec![(rate, ByteSize::ZERO, latency)])
    };
    match *policy {
        Policy::TokenBucket {
            rate,
            burst,
            initial,
            ..
        } => Some(vec![bucket(rate, burst.min(initial))]),
        Policy::LeakyBucketMeter { rate, burst } | Policy::Gcra { rate, burst } => {
            Some(vec![bucket(rate, burst)])
        }
        Policy::DualTokenBucket {
            rate,
            burst,
            peak_rate,
            mtu,
        } => Some(vec![bucket(rate, burst), bucket(peak_rate, mtu)]),
        Policy::LeakyBucket { rate, .. } => Some(vec![bucket(rate, ByteSize::ZERO)]),
        Policy::FixedWindow { limit, window, .. } | Policy::SlidingWindowLog { limit, window } => {
            windows(limit, window, 1)
        }
        Policy::SlidingWindowCounter { limit, window } => windows(limit, window, 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::spec::Application;

    /// 10 packets of 1,000 B at once and one a second later, in order, one connection.
    fn promised(policy: &str, application: Application) -> Option<Promised> {
        late(policy, application, Nanos::ZERO)
    }

    fn late(policy: &str, application: Application, by: Nanos) -> Option<Promised> {
        let spec = UserSpec {
            timing_slack: by,
            connections: 1,
            policy: Some(policy.parse().unwrap()),
            application: Some(application),
            ..UserSpec::default()
        };
        let mut theory = Theory::new(&spec)?;
        for _ in 0..10 {
            theory.offered(0, 1_000);
        }
        theory.delivered(0, 4_000);
        theory.delivered(1_000_000_000, 1_000);
        theory.offered(1_000_000_000, 1_000);
        Some(theory.promised())
    }

    const PACKETS: Application = Application {
        stream: false,
        queue: None,
        largest: ByteSize::new(1_000),
    };

    #[test]
    fn a_bucket_serves_its_depth_at_once_and_then_its_rate() {
        // 10,000 B arrive, 4,000 pass at once, 6,000 wait at 1,000 B/s; later 10,000 again.
        let found = promised("token-bucket:rate=1000B/s,burst=4000B", PACKETS).unwrap();
        assert_eq!(found.delay, Some(6_000_000_000));
        assert_eq!(found.backlog, 7_000.0);
        assert_eq!(found.waited, 6_000);
    }

    #[test]
    fn until_a_late_server_begins_all_waits() {
        let by = Nanos::from_millis(10);
        let found = late("token-bucket:rate=1000B/s,burst=4000B", PACKETS, by).unwrap();
        assert_eq!(found.delay, Some(6_010_000_000));
        assert_eq!(found.backlog, 10_000.0 + 10.0 + 1_000.0);
    }

    #[test]
    fn a_queue_bounds_what_waits_and_a_quantum_delays() {
        let queued = Application {
            queue: Some(ByteSize::new(2_000)),
            ..PACKETS
        };
        let found = promised("gcra:rate=1000B/s,burst=4000B", queued).unwrap();
        assert_eq!((found.delay, found.backlog), (Some(2_000_000_000), 3_000.0));
        let stream = Application {
            stream: true,
            ..PACKETS
        };
        // Its quantum is a twentieth of a second.
        let found = promised("gcra:rate=1000B/s,burst=4000B", stream).unwrap();
        assert_eq!(found.delay, Some(6_050_000_000));
    }

    #[test]
    fn a_window_serves_its_limit_but_a_packet_once_a_window() {
        // (4,000 - 1,000) B a second from the end of the first second on.
        let found = promised("fixed-window:limit=4000B,window=1s", PACKETS).unwrap();
        assert_eq!(found.delay, Some(1_000_000_000 + 3_333_333_334));
    }

    #[test]
    fn averages_and_policers_promise_nothing() {
        assert_eq!(promised("ewma:rate=1000B/s", PACKETS), None);
        assert_eq!(promised("none", PACKETS), None);
        let policed = UserSpec {
            policy: "gcra:rate=1000B/s,burst=4000B".parse().ok(),
            ..UserSpec::default()
        };
        assert!(Theory::new(&policed).is_none());
    }
}
