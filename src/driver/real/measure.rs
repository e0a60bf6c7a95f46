//! The logs of both ends of each connection, told to the metrics in order of time.

use bench_clients::FlowLog;
use flow::policer::DropReason;
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
    /// Which of its datagrams, from 1; 0 of a stream.
    number: u32,
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
            move |((at, size), number)| Event {
                at,
                received,
                connection,
                size,
                number,
            }
        };
        let streams = std::iter::repeat(0);
        match &flow.arrived {
            None => {
                events.extend(flow.sends.iter().zip(streams.clone()).map(event(false)));
                events.extend(flow.receipts.iter().zip(streams).map(event(true)));
            }
            Some(arrived) => {
                events.extend(flow.sends.iter().zip(1..).map(event(false)));
                let arrived = arrived.iter().copied();
                events.extend(flow.receipts.iter().zip(arrived).map(event(true)));
            }
        }
    }
    // Stable: what one connection did at one instant stays in its order.
    events.sort_by_key(|event| (event.at, event.received, event.connection));
    let mut sends: Vec<Sends> = flows.iter().map(|_| Sends::default()).collect();
    let mut datagrams: Vec<Option<Datagrams>> = flows.iter().map(Datagrams::of).collect();
    for event in events {
        let flow = FlowId {
            user,
            connection: event.connection,
        };
        let Some(sends) = sends.get_mut(event.connection as usize) else {
            continue;
        };
        if let Some(Some(datagrams)) = datagrams.get_mut(event.connection as usize) {
            datagrams.tell(recorder, event, flow);
        } else if event.received {
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

/// The datagrams of a connection: each arrives whole, or not at all.
struct Datagrams {
    /// When each was sent, if it arrives, from the first on.
    sent: Vec<Option<Timestamp>>,
    /// The last one that is told as complete: none is out of order.
    last: u32,
}

impl Datagrams {
    fn of(flow: &FlowLog) -> Option<Self> {
        let mut sent: Vec<_> = flow.sends.iter().map(|_| None).collect();
        let times: Vec<_> = flow.sends.iter().map(|(at, _)| at).collect();
        for number in flow.arrived.as_ref()? {
            let index = (*number as usize).wrapping_sub(1);
            if let (Some(sent), Some(at)) = (sent.get_mut(index), times.get(index)) {
                *sent = Some(*at);
            }
        }
        Some(Self { sent, last: 0 })
    }

    fn tell<R: Recorder>(&mut self, recorder: &mut R, event: Event, flow: FlowId) {
        let Event {
            at, size, number, ..
        } = event;
        let index = (number as usize).wrapping_sub(1);
        let sent = self.sent.get(index).copied().flatten();
        if !event.received {
            recorder.offered(at, size, flow);
            if sent.is_none() {
                recorder.dropped(at, size, flow, DropReason::Police);
            }
        } else if number > self.last
            && let Some(sent) = sent
        {
            self.last = number;
            recorder.delivered(at, size, flow);
            recorder.completed(sent, at, size, flow);
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
