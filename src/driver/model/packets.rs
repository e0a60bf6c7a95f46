//! Policer and shaper: packets that arrive on schedule, whatever happens.

use flow::Limiter;
use traffic::{Mix, Packet, Source};

use super::{STOP_EVERY, UserRun};
use crate::record::{DropReason, FlowId, Recorder};

impl<'a, R: Recorder> UserRun<'a, R> {
    /// The packets of the user until the end of the run or the stop.
    fn arrivals(&self) -> impl Iterator<Item = Packet> + use<'a, R> {
        let (end, stop) = (self.end(), self.stop);
        let sources = (0..self.user.connections).map(|connection| Source {
            user: self.index,
            connection,
            start: self.user.start,
            generator: self.scenario.generator(self.repetition, self.index, connection),
        });
        let mut count = 0u64;
        Mix::new(sources).take_while(move |packet| {
            count += 1;
            packet.at < end && !(count.is_multiple_of(STOP_EVERY) && stop.requested())
        })
    }
}
