//! All metrics of one user, fed packet by packet.

use flow::Nanos;

use crate::record::DropReason;

use super::bound::Promise;
use super::conservation::{Conservation, ConservationFigures, IdealVolume};
use super::delay::{Delays, Gaps};
use super::fairness::Connections;
use super::figures::{LimitFigures, Pooled, UserFigures};
use super::histogram::Histogram;
use super::jitter::Jitter;
use super::level::Level;
use super::loss::{Count, Losses};
use super::schedule::Schedule;
use super::second::Seconds;
use super::settling::{Settled, Settling};
use super::spec::UserSpec;
use super::steady::Steady;
use super::theory::Theory;
use super::train::Trains;
use super::window::Windows;

/// One user's accumulators.
#[derive(Clone, Debug)]
pub(crate) struct UserMetrics {
    name: String,
    state_bytes: Option<u64>,
    offered: Count,
    last_offered: u64,
    delivered_bytes: u64,
    losses: Losses,
    /// Only if there are several.
    connections: Option<Box<Connections>>,
    sent: Trains,
    received: Trains,
    seconds: Seconds,
    gaps: Gaps,
    delays: Delays,
    jitter: Jitter,
    sender_late: Histogram,
    round_trips: Histogram,
    promise: Option<Promise>,
    theory: Option<Box<Theory>>,
    limit: Option<Limit>,
}

/// What only a user with a reference (r, b) has.
#[derive(Clone, Debug)]
struct Limit {
    schedule: Schedule,
    burst: u64,
    level: Level,
    windows: Windows,
    volume: IdealVolume,
    conservation: Conservation,
    steady: Steady,
    settling: Option<Box<Settling>>,
}

impl UserMetrics {
    pub(crate) fn new(spec: &UserSpec, train_gap: Nanos) -> Self {
        let connections = usize::try_from(spec.connections.max(1)).unwrap_or(usize::MAX);
        let limit = Limit::new(spec);
        let schedule = limit.as_ref().map(|limit| &limit.schedule);
        let mut promise = spec
            .policy
            .and_then(|policy| Promise::new(policy, &spec.changes(), spec.timing_slack));
        if let (Some(promise), Some(schedule)) = (&mut promise, schedule) {
            promise.share(schedule);
        }
        Self {
            name: spec.name.clone(),
            state_bytes: spec.state_bytes,
            offered: Count::default(),
            last_offered: 0,
            delivered_bytes: 0,
            losses: Losses::default(),
            connections: (connections > 1)
                .then(|| Box::new(Connections::new(connections, schedule))),
            sent: Trains::new(train_gap.get()),
            received: Trains::new(train_gap.get()),
            seconds: Seconds::new(),
            gaps: Gaps::default(),
            delays: Delays::default(),
            jitter: Jitter::new(connections),
            sender_late: Histogram::new(),
            round_trips: Histogram::new(),
            promise,
            theory: Theory::new(spec).map(Box::new),
            limit,
        }
    }

    #[inline]
    pub(crate) fn offered(&mut self, at: u64, bytes: u64, connection: usize) {
        self.offered.add(bytes);
        self.last_offered = at;
        if let Some(connections) = &mut self.connections {
            connections.offer(connection, bytes);
        }
        self.sent.add(at, bytes);
        if let Some(theory) = &mut self.theory {
            theory.offered(at, bytes);
        }
        if let Some(limit) = &mut self.limit {
            limit.volume.offer(at, bytes);
        }
    }

    #[inline]
    pub(crate) fn delivered(&mut self, at: u64, bytes: u64, connection: usize) {
        self.delivered_bytes += bytes;
        if let Some(connections) = &mut self.connections {
            connections.deliver(at, connection, bytes);
        }
        self.received.add(at, bytes);
        self.seconds.add(at, bytes);
        self.gaps.add(at);
        if let Some(promise) = &mut self.promise {
            promise.add(at, bytes);
        }
        if let Some(theory) = &mut self.theory {
            theory.delivered(at, bytes);
        }
        if let Some(limit) = &mut self.limit {
            limit.level.add(at, bytes);
            limit.windows.add(at, bytes);
            limit.steady.add(at, self.delivered_bytes);
            if let Some(settling) = &mut limit.settling {
                settling.add(at, bytes, &limit.schedule);
            }
        }
    }

    #[inline]
    pub(crate) fn completed(&mut self, arrival: u64, departure: u64, size: u64, connection: usize) {
        let transit = departure.saturating_sub(arrival);
        self.delays.record(transit);
        self.jitter.add(connection, transit);
        if let Some(limit) = &mut self.limit {
            limit.conservation.add(arrival, departure, size);
            limit.windows.packet(size);
        }
    }

    /// A packet passed, whether or not it left before the end.
    #[inline]
    pub(crate) fn passed(&mut self) {
        self.losses.passed();
    }

    #[inline]
    pub(crate) fn dropped(&mut self, bytes: u64, why: DropReason) {
        self.losses.add(bytes, why);
        if let Some(theory) = &mut self.theory {
            theory.dropped(bytes);
        }
    }

    pub(crate) fn round_trip(&mut self, after: u64) {
        self.round_trips.record(after);
    }

    pub(crate) fn sender_late(&mut self, late: u64) {
        self.sender_late.record(late);
    }

    /// The last instant at which anything was offered or delivered.
    pub(crate) fn last(&self) -> u64 {
        self.gaps.last().unwrap_or(0).max(self.last_offered)
    }

    /// What was found in a run that ended at `end`.
    pub(crate) fn figures(mut self, end: u64, waits: bool) -> UserFigures {
        self.seconds.close_until(end);
        let peak = self.limit.as_ref().and_then(|limit| limit.level.peak());
        let peak = peak.map_or(0, |(peak, _)| peak);
        let nearest = self.promise.as_ref().and_then(|it| it.nearest(peak));
        let broken = self.promise.map(|promise| promise.excess(peak));
        let (limit, conservation) = match self.limit {
            Some(limit) => {
                let steady = self.gaps.last().and_then(|last| {
                    limit
                        .steady
                        .rate_and_error(last, self.delivered_bytes, &limit.schedule)
                });
                let (figures, conservation) = limit.figures(end, self.offered.bytes, steady);
                (Some(figures), conservation)
            }
            None => (None, ConservationFigures::default()),
        };
        UserFigures {
            name: self.name,
            state_bytes: self.state_bytes,
            jain: self
                .connections
                .as_ref()
                .and_then(|connections| connections.index(waits)),
            jain_least: self
                .connections
                .and_then(|mut connections| connections.least_in_a_second(end)),
            seconds: self.seconds.extents(),
            broken,
            nearest,
            promised: self.theory.map(|theory| theory.promised()),
            limit,
            pooled: Pooled {
                offered: self.offered,
                delivered: Count {
                    packets: self.delays.histogram.count(),
                    bytes: self.delivered_bytes,
                },
                losses: self.losses,
                sent: self.sent.figures(),
                received: self.received.figures(),
                pdv: self.delays.histogram.above_least(),
                delays: self.delays,
                gaps: self.gaps.figures(),
                jitter: self.jitter.figures(),
                conservation,
                sender_late: self.sender_late,
                round_trips: self.round_trips,
            },
        }
    }
}

impl Limit {
    fn new(spec: &UserSpec) -> Option<Self> {
        let reference = spec.reference?;
        let burst = reference.burst.get();
        let schedule = Schedule::new(reference.rate, &spec.changes());
        Some(Self {
            burst,
            level: Level::new(schedule.clone()),
            windows: Windows::new(schedule.clone()),
            volume: IdealVolume::new(schedule.clone()),
            conservation: Conservation::new(schedule.clone(), burst),
            steady: Steady::new(burst),
            settling: Settling::new(spec.steps()).map(Box::new),
            schedule,
        })
    }

    fn figures(
        self,
        end: u64,
        offered: u64,
        steady: Option<(f64, f64)>,
    ) -> (LimitFigures, ConservationFigures) {
        let figures = LimitFigures {
            peak: self.level.peak(),
            windows: self.windows.worst(),
            ideal_bytes: self.volume.passed_by(end, offered, self.burst),
            steady,
            settled: self.settling.map_or(Settled::NoStep, |settling| {
                settling.found(end, &self.schedule)
            }),
            schedule: self.schedule,
            burst: self.burst,
        };
        (figures, self.conservation.figures())
    }
}
