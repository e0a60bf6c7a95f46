//! Stream mode: senders behind a finite buffer, a limiter that reads what
//! conforms, and back-pressure between the two, as of TCP through a relay.
//!
//! A blocking sender's call returns when its last byte has found room in the
//! buffer (of a closed loop: when all of it has left); the limiter sees no more than the buffer holds. An open-loop sender
//! has all the room that [`MOST_WAITING`] gives. The connections of a user take
//! turns by deficit round robin.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::num::NonZeroU32;

use flow::share::{Member, Share};
use flow::stream::Grant;
use flow::stream::Stream;
use flow::{ByteRate, ByteSize, Limiter, Timestamp};
use traffic::{AnyGenerator, Generator, Send};

use super::{ModelError, STOP_EVERY, UserRun};
use crate::record::{FlowId, Recorder};
use crate::scenario::SenderKind;

/// The most that open-loop senders of one user may have waiting.
const MOST_WAITING: u64 = 256 << 20;

/// One connection: its sender, and what waits in front of the limiter.
struct Connection {
    generator: AnyGenerator,
    member: Member,
    /// Sends that have not left whole, oldest first.
    pending: VecDeque<Pending>,
    /// Bytes of `pending` that have not left.
    waiting: u64,
    /// Its last send has not found room yet.
    blocked: bool,
    /// What it sends next, unless it is blocked or has ended.
    next: Option<Send>,
}

#[derive(Clone, Copy)]
struct Pending {
    arrival: Timestamp,
    size: ByteSize,
    left: u64,
}

/// The state of one user's simulation.
struct Simulation<'a, R, L> {
    user: u32,
    recorder: &'a mut R,
    stream: Stream<L>,
    share: Share,
    connections: Vec<Connection>,
    /// Which connection each member of the share is.
    connection_of: BTreeMap<Member, usize>,
    /// When which connection sends next; ties go to the lower number.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// What a connection may have in front of the limiter; `None`: no bound.
    buffer: Option<u64>,
    /// Bytes that wait, over all connections.
    waiting: u64,
}

impl<R: Recorder> UserRun<'_, R> {
    /// Lets senders and limiter meet until the end of the run.
    pub(super) fn stream<L: Limiter>(self, limiter: L) -> Result<(), ModelError> {
        let (end, stop, user) = (self.end(), self.stop, self.user);
        let mut changes = self.rate_changes().iter().peekable();
        let mut simulation = self.simulation(limiter);
        let mut now = user.start;
        for turn in 0u64.. {
            let wake = simulation.serve(now);
            let due = simulation.next_due();
            let change = changes.peek().map(|change| change.at.max(now));
            let Some(next) = [wake, due, change].into_iter().flatten().min() else {
                break;
            };
            if next >= end || (turn.is_multiple_of(STOP_EVERY) && stop.requested()) {
                break;
            }
            now = next;
            while let Some(change) = changes.next_if(|change| change.at <= now) {
                simulation.set_rate(now, change.rate);
            }
            simulation.send_due(now);
            if simulation.waiting > MOST_WAITING {
                return Err(ModelError::Overrun {
                    user: user.name.clone(),
                    at: now.since(Timestamp::ZERO),
                    limit: ByteSize::new(MOST_WAITING),
                });
            }
        }
        Ok(())
    }
}

impl<'a, R: Recorder> UserRun<'a, R> {
    fn simulation<L: Limiter>(self, limiter: L) -> Simulation<'a, R, L> {
        let stream = Stream::new(self.policy, limiter);
        let mut simulation = Simulation {
            user: self.index,
            share: Share::new(stream.quantum()),
            stream,
            connections: Vec::new(),
            connection_of: BTreeMap::new(),
            due: BinaryHeap::new(),
            buffer: (self.scenario.sender == SenderKind::Blocking)
                .then(|| self.scenario.buffer.get()),
            waiting: 0,
            recorder: self.recorder,
        };
        for connection in 0..self.user.connections {
            let scenario = self.scenario;
            let generator = scenario.generator(self.repetition, self.index, connection);
            simulation.join(generator, self.user.start);
        }
        simulation
    }
}

impl<R: Recorder, L: Limiter> Simulation<'_, R, L> {
    /// One more connection, opened at `start`.
    fn join(&mut self, mut generator: AnyGenerator, start: Timestamp) {
        let index = self.connections.len();
        let member = self.share.join(NonZeroU32::MIN);
        self.connection_of.insert(member, index);
        let next = generator.next_send(start);
        self.due.extend(next.map(|send| Reverse((send.at, index))));
        self.connections.push(Connection {
            generator,
            member,
            next,
            pending: VecDeque::new(),
            waiting: 0,
            blocked: false,
        });
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.stream.set_rate(now, rate);
        self.share.set_turn(self.stream.quantum());
    }

    /// Takes up every send that is due at `now`.
    fn send_due(&mut self, now: Timestamp) {
        while let Some(Reverse((at, index))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            let Some(send) = self.connections[index].next.take() else {
                continue;
            };
            self.recorder.offered(at, send.size, self.flow(index));
            let connection = &mut self.connections[index];
            connection.pending.push_back(Pending {
                arrival: at,
                size: send.size,
                left: send.size.get(),
            });
            connection.waiting += send.size.get();
            connection.blocked = true;
            self.waiting += send.size.get();
            self.settle(index, now);
        }
    }

    /// Moves all that may move at `now`; when to come back, if anything waits.
    fn serve(&mut self, now: Timestamp) -> Option<Timestamp> {
        while let Some((_, wanted)) = self.share.whose_turn() {
            match self.stream.grant(now, wanted) {
                Grant::Now(available) => {
                    let (member, granted) = self.share.serve(available)?;
                    self.stream.commit(now, granted);
                    let index = *self.connection_of.get(&member)?;
                    self.deliver(index, now, granted.get());
                }
                Grant::At(later) => return Some(later),
                Grant::Never => return None,
            }
        }
        None
    }

    /// `bytes` of a connection leave at `now`.
    fn deliver(&mut self, index: usize, now: Timestamp, bytes: u64) {
        let flow = self.flow(index);
        self.recorder.delivered(now, ByteSize::new(bytes), flow);
        let connection = &mut self.connections[index];
        connection.waiting -= bytes;
        self.waiting -= bytes;
        let mut rest = bytes;
        while let Some(oldest) = connection.pending.front_mut() {
            let part = rest.min(oldest.left);
            oldest.left -= part;
            rest -= part;
            if oldest.left > 0 {
                break;
            }
            self.recorder
                .completed(oldest.arrival, now, oldest.size, flow);
            connection.pending.pop_front();
        }
        self.settle(index, now);
    }

    /// Tells the share what waits, and lets a sender go on that has found room.
    fn settle(&mut self, index: usize, now: Timestamp) {
        let connection = &mut self.connections[index];
        let visible = self.buffer.unwrap_or(u64::MAX).min(connection.waiting);
        self.share.want(connection.member, ByteSize::new(visible));
        let taken = if connection.generator.awaits_delivery() {
            connection.waiting == 0
        } else {
            visible == connection.waiting
        };
        if connection.blocked && taken {
            connection.blocked = false;
            connection.next = connection.generator.next_send(now);
            let due = connection.next.map(|send| Reverse((send.at, index)));
            self.due.extend(due);
        }
    }

    fn flow(&self, index: usize) -> FlowId {
        FlowId {
            user: self.user,
            connection: u32::try_from(index).unwrap_or(u32::MAX),
        }
    }
}
