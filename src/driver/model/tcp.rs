//! TCP behind a policer or a shaper: a closed loop of window, round-trip time, loss recovery and
//! retransmission time-out, in virtual time.
//!
//! One connection sends segments of [`MSS`] bytes while its window allows and its buffer holds
//! any. Each meets the limiter at once; what passes is delivered half a round-trip time after it
//! left and acknowledged (cumulatively, with selective acknowledgements) half another later. Loss is
//! found when three segments sent after it have been acknowledged (RFC 6675, section 5) and
//! repaired once; what is lost again waits for the time-out (RFC 6298, at least 200 ms as Linux
//! has it, doubled each time). Windows are those of RFC 5681 (Reno) and RFC 9438 (CUBIC).
//! What is offered to the limiter is every transmission, again or not; delays count from the
//! application's call. Left out: delayed acknowledgements, the handshake, headers, pacing, segmentation offload.

mod congestion;
mod sender;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use flow::{ByteRate, ByteSize, Limiter, Nanos, Policer, Shaper, Timestamp, Verdict};
use traffic::{AnyGenerator, Generator as _, Send};

pub(crate) use self::sender::{Segment, Sender};
use super::{ModelError, STOP_EVERY, UserRun};
use crate::record::{FlowId, Recorder};
use crate::scenario::{Mode, SenderKind, TcpSender};

/// Bytes of payload in a full segment over Ethernet with time stamps.
const MSS: u64 = 1_448;

/// What happens next on one connection; ties go to the earlier kind, then the lower number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A segment arrives at the receiver.
    Arrives(Segment),
    /// Its acknowledgement arrives at the sender.
    Acknowledged(Segment),
    /// The sender's timer, if it is still this one.
    TimeOut(u64),
    /// The application sends.
    Offered,
}

/// One connection with its application and its receiver.
struct Connection {
    flow: FlowId,
    generator: AnyGenerator,
    next: Option<Send>,
    /// The last send has not found room yet.
    blocked: bool,
    sender: Sender,
    /// Sends that have not arrived whole: when, how many bytes, and up to which byte.
    pending: std::collections::VecDeque<(Timestamp, ByteSize, u64)>,
    /// Bytes that the application has handed over.
    written: u64,
    /// Which bytes have arrived, of those behind a gap.
    received: Received,
}

/// The receiver's side: all bytes below `next`, and ranges above.
#[derive(Default)]
struct Received {
    next: u64,
    above: std::collections::BTreeMap<u64, u64>,
}

impl Received {
    /// Bytes `from..to` arrive; how many have become whole from the start.
    fn take(&mut self, from: u64, to: u64) -> u64 {
        let before = self.next;
        let end = self.above.entry(from).or_insert(to);
        *end = (*end).max(to);
        while let Some((&start, &end)) = self.above.first_key_value() {
            if start > self.next {
                break;
            }
            self.next = self.next.max(end);
            self.above.remove(&start);
        }
        self.next - before
    }
}

impl<R: Recorder> UserRun<'_, R> {
    /// Lets TCP senders and the limiter meet until the end of the run.
    pub(super) fn tcp<L: Limiter>(self, tcp: TcpSender, limiter: L) -> Result<(), ModelError> {
        let (end, stop) = (self.end(), self.stop);
        let changes = self.rate_changes();
        let mut changes = changes.iter().peekable();
        let mut simulation = Simulation::new(self, tcp, limiter);
        for turn in 0u64.. {
            let Some(Reverse((now, index, event))) = simulation.queue.pop() else {
                break;
            };
            if now >= end || (turn.is_multiple_of(STOP_EVERY) && stop.requested()) {
                break;
            }
            while let Some(change) = changes.next_if(|change| change.at <= now) {
                simulation.gate.set_rate(change.at, change.rate);
            }
            simulation.handle(now, index, event);
        }
        Ok(())
    }
}

/// What every segment meets.
enum Gate<L> {
    Policer(Policer<L>),
    Shaper(Box<Shaper<L>>),
}

impl<L: Limiter> Gate<L> {
    fn offer(&mut self, now: Timestamp, size: ByteSize) -> Verdict {
        match self {
            Self::Policer(policer) => policer.offer(now, size),
            Self::Shaper(shaper) => shaper.offer(now, size),
        }
    }

    /// Scenarios with changes of rate and a TCP before a shaper are refused: what waits has its
    /// departure.
    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        if let Self::Policer(policer) = self {
            policer.set_rate(now, rate);
        }
    }
}

struct Simulation<'a, R, L> {
    recorder: &'a mut R,
    gate: Gate<L>,
    half_rtt: Nanos,
    /// Bytes between application and receiver; `None`: no bound.
    buffer: Option<u64>,
    connections: Vec<Connection>,
    queue: BinaryHeap<Reverse<(Timestamp, usize, Event)>>,
}

impl<'a, R: Recorder, L: Limiter> Simulation<'a, R, L> {
    fn new(run: UserRun<'a, R>, tcp: TcpSender, limiter: L) -> Self {
        let (scenario, start) = (run.scenario, run.user.start);
        let gate = match run.mode {
            Mode::Shape => Gate::Shaper(Box::new(Shaper::new(limiter, run.queue()))),
            Mode::Police | Mode::Stream => Gate::Policer(Policer::new(limiter)),
        };
        let mut simulation = Self {
            recorder: run.recorder,
            gate,
            half_rtt: Nanos::new(tcp.rtt.get() / 2),
            buffer: (scenario.sender == SenderKind::Blocking).then(|| scenario.buffer.get()),
            connections: Vec::new(),
            queue: BinaryHeap::new(),
        };
        for connection in 0..run.user.connections {
            let mut generator = scenario.generator(run.repetition, run.index, connection);
            let next = generator.next_send(start);
            let index = simulation.connections.len();
            simulation.connections.push(Connection {
                flow: FlowId {
                    user: run.index,
                    connection,
                },
                generator,
                next,
                blocked: false,
                sender: Sender::new(tcp.congestion, MSS),
                pending: std::collections::VecDeque::new(),
                written: 0,
                received: Received::default(),
            });
            if let Some(send) = next {
                let event = Reverse((send.at, index, Event::Offered));
                simulation.queue.push(event);
            }
        }
        simulation
    }

    fn handle(&mut self, now: Timestamp, index: usize, event: Event) {
        match event {
            Event::Offered => self.offer(now, index),
            Event::Arrives(segment) => self.arrive(now, index, segment),
            Event::Acknowledged(segment) => {
                let connection = &mut self.connections[index];
                connection.sender.acknowledged(now, segment);
                self.room(now, index);
            }
            Event::TimeOut(number) => {
                let connection = &mut self.connections[index];
                if !connection.sender.timed_out(now, number) {
                    return;
                }
            }
        }
        self.transmit(now, index);
    }

    /// The application's send: all of it is taken, and the next one waits for room.
    fn offer(&mut self, now: Timestamp, index: usize) {
        let connection = &mut self.connections[index];
        let Some(send) = connection.next.take() else {
            return;
        };
        connection.written += send.size.get();
        let entry = (send.at, send.size, connection.written);
        connection.pending.push_back(entry);
        connection.blocked = true;
        connection.sender.available(connection.written);
        self.room(now, index);
    }

    /// Lets the application go on if what is under way leaves room.
    fn room(&mut self, now: Timestamp, index: usize) {
        let connection = &mut self.connections[index];
        let under_way = connection.written - connection.sender.acknowledged_to();
        let most = if connection.generator.awaits_delivery() {
            Some(0)
        } else {
            self.buffer
        };
        if !connection.blocked || most.is_some_and(|most| under_way > most) {
            return;
        }
        connection.blocked = false;
        connection.next = connection.generator.next_send(now);
        if let Some(send) = connection.next {
            let event = Reverse((send.at.max(now), index, Event::Offered));
            self.queue.push(event);
        }
    }

    /// Everything that the window allows, past the limiter.
    fn transmit(&mut self, now: Timestamp, index: usize) {
        let connection = &mut self.connections[index];
        while let Some(segment) = connection.sender.next(now) {
            let size = ByteSize::new(segment.to - segment.from);
            self.recorder.offered(now, size, connection.flow);
            match self.gate.offer(now, size) {
                Verdict::Departs(left) => {
                    let at = left + self.half_rtt;
                    let back = at + self.half_rtt;
                    self.recorder.round_trip(back.since(now), connection.flow);
                    self.queue
                        .push(Reverse((at, index, Event::Arrives(segment))));
                }
                Verdict::Drop(why) => self.recorder.dropped(now, size, connection.flow, why),
            }
        }
        if let Some((at, number)) = connection.sender.arm(now) {
            self.queue
                .push(Reverse((at, index, Event::TimeOut(number))));
        }
    }

    /// Bytes reach the application in order, and their acknowledgement leaves.
    fn arrive(&mut self, now: Timestamp, index: usize, segment: Segment) {
        let connection = &mut self.connections[index];
        let fresh = connection.received.take(segment.from, segment.to);
        if fresh > 0 {
            let flow = connection.flow;
            self.recorder.delivered(now, ByteSize::new(fresh), flow);
            while let Some((arrival, size, end)) = connection.pending.front().copied() {
                if end > connection.received.next {
                    break;
                }
                self.recorder.completed(arrival, now, size, flow);
                connection.pending.pop_front();
            }
        }
        let at = now + self.half_rtt;
        let event = Event::Acknowledged(segment);
        self.queue.push(Reverse((at, index, event)));
    }
}

#[cfg(test)]
mod tests;
