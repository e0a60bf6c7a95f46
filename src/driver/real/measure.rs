//! The logs of both ends of each connection, told to the metrics in order of time.

use bench_clients::FlowLog;
use flow::{ByteSize, Nanos, Timestamp};

use super::Used;
use super::plan::Run;
use crate::driver::label;
use crate::metrics::{Calibration, RunFigures, RunMetrics, RunSpec};
use crate::record::{FlowId, Recorder};
use crate::scenario::{DriverKind, Scenario};

/// What happened at one instant on one connection; of one instant, sends come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Timestamp,
    received: bool,
    connection: u32,
    size: ByteSize,
}

/// The sends of a connection of which the last byte has not arrived.
#[derive(Default)]
struct Sends {
    pending: std::collections::VecDeque<(Timestamp, ByteSize, u64)>,
}

/// What all runs of a batch share.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealRun {
    pub(super) driver: DriverKind,
    /// The run may have been stopped early.
    pub(super) lasted: Nanos,
    /// By the limiter, if it can be told apart.
    pub(super) used: Used,
    /// What the set-up shows without a limiter.
    pub(super) calibration: Option<Calibration>,
}

/// The figures of one run: `logs` of its connections by user.
pub(super) fn figures(
    scenario: &Scenario,
    all: &RealRun,
    run: &Run<'_>,
    logs: &[Vec<FlowLog>],
) -> RunFigures {
    let mut spec = RunSpec::new(scenario, run.algorithm, all.driver);
    spec.duration = Some(all.lasted);
    if run.repetition == 0 {
        spec.with_burstiness(scenario);
    }
    let slack = timing_slack(logs);
    for user in &mut spec.users {
        user.timing_slack = slack;
    }
    let mut metrics = RunMetrics::new(&spec);
    for (user, flows) in (0u32..).zip(logs) {
        tell(&mut metrics, user, flows);
        for late in flows.iter().flat_map(|flow| flow.lateness.iter_recorded()) {
            let nanos = Nanos::new(late.value_iterated_to());
            for _ in 0..late.count_at_value() {
                metrics.sender_late(user, nanos);
            }
        }
    }
    let mut label = label(scenario, run.algorithm, all.driver, run.repetition);
    label.cpu_seconds = all.used.cpu_seconds;
    label.memory_bytes = all.used.memory_bytes;
    label.calibration = all.calibration;
    metrics.finish(&label)
}

/// What the proxy may make up for after a late timer (its own bound on that),
/// and how late the same machine woke the senders: a receiver is woken no sooner.
const CATCH_UP: Nanos = Nanos::from_millis(10);

fn timing_slack(logs: &[Vec<FlowLog>]) -> Nanos {
    let latest = logs.iter().flatten().map(|flow| flow.lateness.max()).max();
    Nanos::new(CATCH_UP.get().saturating_add(latest.unwrap_or(0)))
}

/// Tells `recorder` everything that happened on the connections of one user.
fn tell<R: Recorder>(recorder: &mut R, user: u32, flows: &[FlowLog]) {
    let mut events: Vec<Event> = Vec::new();
    for (connection, flow) in (0u32..).zip(flows) {
        let event = move |received| {
            move |(at, size)| Event {
                at,
                received,
                connection,
                size,
            }
        };
        events.extend(flow.sends.iter().map(event(false)));
        events.extend(flow.receipts.iter().map(event(true)));
    }
    // Stable: what one connection did at one instant stays in its order.
    events.sort_by_key(|event| (event.at, event.received, event.connection));
    let mut sends: Vec<Sends> = flows.iter().map(|_| Sends::default()).collect();
    for event in events {
        let flow = FlowId {
            user,
            connection: event.connection,
        };
        let Some(sends) = sends.get_mut(event.connection as usize) else {
            continue;
        };
        if event.received {
            recorder.delivered(event.at, event.size, flow);
            sends.receive(event.at, event.size.get(), |arrival, size| {
                recorder.completed(arrival, event.at, size, flow);
            });
        } else {
            recorder.offered(event.at, event.size, flow);
            sends.send(event.at, event.size);
        }
    }
}

impl Sends {
    fn send(&mut self, at: Timestamp, size: ByteSize) {
        self.pending.push_back((at, size, size.get()));
    }

    /// `bytes` have arrived; tells of each send that is complete with them.
    fn receive(
        &mut self,
        _at: Timestamp,
        bytes: u64,
        mut complete: impl FnMut(Timestamp, ByteSize),
    ) {
        let mut rest = bytes;
        while let Some((arrival, size, left)) = self.pending.front_mut() {
            let part = rest.min(*left);
            *left -= part;
            rest -= part;
            if *left > 0 {
                break;
            }
            complete(*arrival, *size);
            self.pending.pop_front();
        }
    }
}
