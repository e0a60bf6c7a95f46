//! The discrete-event simulation of a service: the very [`flow::admission`] that
//! the real one runs, with a queue of events for a clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use flow::admission::{Admission, Entry, Event, Ticket};
use flow::{Nanos, Timestamp};

use crate::driver::Stop;
use crate::record::{RequestOutcome, RequestRecord, RequestRecorder};
use crate::scenario::requests::{Cell, Offered, Request};

/// Events between two looks at `stop`.
const LOOK: u32 = 4_096;

/// Simulates one run of `cell`, to the end of its last request.
///
/// Of one instant, what ends there comes first: who is done at the instant of a
/// time-out was in time, and who comes then finds the place that is left.
pub fn run(cell: &Cell<'_>, recorder: &mut impl RequestRecorder, stop: &Stop) {
    let mut simulation = Simulation {
        admission: Admission::new(cell.service.rules),
        requests: BTreeMap::new(),
        ends: BinaryHeap::new(),
        recorder,
    };
    let mut offered = Offered::of(cell).peekable();
    let mut events = 0_u32;
    loop {
        let due = offered.peek().map(|request| request.due);
        let Some(now) = simulation.next().into_iter().chain(due).min() else {
            return;
        };
        simulation.end(now);
        simulation.poll(now);
        while let Some(request) = offered.next_if(|request| request.due == now) {
            simulation.arrive(request);
        }
        events = events.wrapping_add(1);
        if events.is_multiple_of(LOOK) && stop.requested() {
            return;
        }
    }
}

struct Simulation<'r, R> {
    admission: Admission,
    /// Those that wait or run, and since when they run.
    requests: BTreeMap<Ticket, (Request, Option<Timestamp>)>,
    /// When those that run would be done.
    ends: BinaryHeap<Reverse<(Timestamp, Ticket)>>,
    recorder: &'r mut R,
}

impl<R: RequestRecorder> Simulation<'_, R> {
    /// When something happens next that is no arrival.
    fn next(&self) -> Option<Timestamp> {
        let end = self.ends.peek().map(|Reverse((at, _))| *at);
        end.into_iter().chain(self.admission.next_deadline()).min()
    }

    /// Requests that are done leave their workers.
    fn end(&mut self, now: Timestamp) {
        while let Some(&Reverse((at, ticket))) = self.ends.peek() {
            if at > now {
                return;
            }
            self.ends.pop();
            // Those that have timed out are known to nobody any more.
            if self.requests.contains_key(&ticket) {
                self.admission.leave(ticket);
                self.over(ticket, at, RequestOutcome::Good);
            }
        }
    }

    fn poll(&mut self, now: Timestamp) {
        while let Some(event) = self.admission.poll(now) {
            match event {
                Event::Started(ticket) => self.start(ticket, now),
                Event::QueueTimeout(ticket) => self.over(ticket, now, RequestOutcome::QueueTimeout),
                Event::RequestTimeout(ticket) => {
                    self.over(ticket, now, RequestOutcome::RequestTimeout);
                }
            }
        }
    }

    fn arrive(&mut self, request: Request) {
        let now = request.due;
        match self.admission.arrive(now) {
            Ok(Entry::Started(ticket)) => {
                self.requests.insert(ticket, (request, None));
                self.start(ticket, now);
            }
            Ok(Entry::Waiting(ticket)) => {
                self.requests.insert(ticket, (request, None));
            }
            Err(_) => self.record(request, None, now, RequestOutcome::QueueFull),
        }
    }

    fn start(&mut self, ticket: Ticket, now: Timestamp) {
        if let Some((request, started)) = self.requests.get_mut(&ticket) {
            *started = Some(now);
            let end = now + request.service_time;
            self.ends.push(Reverse((end, ticket)));
        }
    }

    fn over(&mut self, ticket: Ticket, now: Timestamp, outcome: RequestOutcome) {
        if let Some((request, started)) = self.requests.remove(&ticket) {
            self.record(request, started, now, outcome);
        }
    }

    fn record(
        &mut self,
        request: Request,
        started: Option<Timestamp>,
        ended: Timestamp,
        outcome: RequestOutcome,
    ) {
        self.recorder.request(RequestRecord {
            due: request.due,
            late: Nanos::ZERO,
            started,
            ended,
            outcome,
        });
    }
}
