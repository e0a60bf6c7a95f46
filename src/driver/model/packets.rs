//! Policer and shaper: packets that arrive on schedule, whatever happens.

use flow::policer::{Policer, Verdict};
use flow::shaper::{LiveShaper, Shaper, Waiting};
use flow::{Limiter, Timestamp};
use traffic::{Mix, Packet, Source};

use super::{STOP_EVERY, UserRun};
use crate::record::{FlowId, Recorder};

impl<'a, R: Recorder> UserRun<'a, R> {
    /// Passes or drops each packet as it arrives.
    pub(super) fn police<L: Limiter>(self, limiter: L) {
        let mut policer = Policer::new(limiter);
        let mut changes = self.rate_changes().iter().peekable();
        for packet in self.arrivals() {
            while let Some(change) = changes.next_if(|change| change.at <= packet.at) {
                policer.set_rate(change.at, change.rate);
            }
            let verdict = policer.offer(packet.at, packet.size);
            decided(self.recorder, &packet, verdict);
        }
    }

    /// Delays each packet in a FIFO.
    pub(super) fn shape<L: Limiter + Clone>(self, limiter: L) {
        if !self.rate_changes().is_empty() {
            return self.shape_live(limiter);
        }
        let mut shaper = Shaper::new(limiter, self.queue());
        for packet in self.arrivals() {
            let verdict = shaper.offer(packet.at, packet.size);
            decided(self.recorder, &packet, verdict);
        }
    }

    /// The same while the rate changes, which moves departures.
    fn shape_live<L: Limiter + Clone>(self, limiter: L) {
        let (end, arrivals) = (self.end(), self.arrivals());
        let mut changes = self.rate_changes().iter().peekable();
        let mut shaper = LiveShaper::new(limiter, self.queue());
        let recorder = self.recorder;
        for packet in arrivals {
            while let Some(change) = changes.next_if(|change| change.at <= packet.at) {
                leave_until(recorder, &mut shaper, change.at);
                shaper.set_rate(change.at, change.rate);
            }
            leave_until(recorder, &mut shaper, packet.at);
            let flow = flow_of(&packet);
            recorder.offered(packet.at, packet.size, flow);
            if let Verdict::Drop(why) = shaper.offer(packet.at, packet.size, flow) {
                recorder.dropped(packet.at, packet.size, flow, why);
            }
        }
        for change in changes.take_while(|change| change.at < end) {
            leave_until(recorder, &mut shaper, change.at);
            shaper.set_rate(change.at, change.rate);
        }
        leave_until(recorder, &mut shaper, end);
    }

    /// The packets of the user until the end of the run or the stop.
    fn arrivals(&self) -> impl Iterator<Item = Packet> + use<'a, R> {
        let (end, stop) = (self.end(), self.stop);
        let sources = (0..self.user.connections).map(|connection| Source {
            user: self.index,
            connection,
            start: self.user.start,
            generator: self
                .scenario
                .generator(self.repetition, self.index, connection),
        });
        let mut count = 0u64;
        Mix::new(sources).take_while(move |packet| {
            count += 1;
            packet.at < end && !(count.is_multiple_of(STOP_EVERY) && stop.requested())
        })
    }
}

/// Reports a packet whose fate is known at its arrival.
#[inline]
fn decided<R: Recorder>(recorder: &mut R, packet: &Packet, verdict: Verdict) {
    let flow = flow_of(packet);
    recorder.offered(packet.at, packet.size, flow);
    match verdict {
        Verdict::Departs(at) => {
            recorder.delivered(at, packet.size, flow);
            recorder.completed(packet.at, at, packet.size, flow);
        }
        Verdict::Drop(why) => recorder.dropped(packet.at, packet.size, flow, why),
    }
}

/// Reports all departures until `until`, that instant included.
fn leave_until<R: Recorder, L: Limiter + Clone>(
    recorder: &mut R,
    shaper: &mut LiveShaper<L, FlowId>,
    until: Timestamp,
) {
    while let Some(Waiting {
        arrival,
        departure,
        size,
        tag: flow,
    }) = shaper.pop(until)
    {
        recorder.delivered(departure, size, flow);
        recorder.completed(arrival, departure, size, flow);
    }
}

/// Whose packet it is.
#[inline]
fn flow_of(packet: &Packet) -> FlowId {
    FlowId {
        user: packet.user,
        connection: packet.connection,
    }
}
