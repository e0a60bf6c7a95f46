//! A trace held in memory, so that each of its senders can be replayed alone.

use super::{TraceError, TraceReader};
use crate::source::{Generator, Send};
use flow::{ByteSize, Timestamp};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// What one connection sent.
type Track = Arc<[Send]>;

/// All packets of a trace by user and connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recording {
    users: Arc<[String]>,
    tracks: Arc<BTreeMap<(u32, u32), Track>>,
    largest: ByteSize,
}

impl Recording {
    /// The most packets that are held: 160 MB of them.
    pub const MAX_PACKETS: usize = 10_000_000;

    /// Reads `trace` to its end.
    ///
    /// # Errors
    /// The trace's first error, or [`TraceError::TooManyPackets`].
    pub fn read<R: Read>(trace: TraceReader<R>) -> Result<Self, TraceError> {
        Self::read_at_most(Self::MAX_PACKETS, trace)
    }

    fn read_at_most<R: Read>(most: usize, mut trace: TraceReader<R>) -> Result<Self, TraceError> {
        let mut tracks: BTreeMap<_, Vec<Send>> = BTreeMap::new();
        let mut largest = ByteSize::ZERO;
        let mut held = 0;
        while let Some(packet) = trace.next().transpose()? {
            if held == most {
                return Err(trace.too_many_packets(most));
            }
            held += 1;
            largest = largest.max(packet.size);
            let track = tracks.entry((packet.user, packet.connection)).or_default();
            track.push(Send {
                at: packet.at,
                size: packet.size,
            });
        }
        let tracks = tracks.into_iter().map(|(who, track)| (who, track.into()));
        Ok(Self {
            users: trace.users().into(),
            tracks: Arc::new(tracks.collect()),
            largest,
        })
    }

    /// The users' names in order of their numbers.
    #[must_use]
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Who sends: (user, connection), in order.
    pub fn senders(&self) -> impl Iterator<Item = (u32, u32)> {
        self.tracks.keys().copied()
    }

    /// The number of the user called `name`.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<u32> {
        let index = self.users.iter().position(|user| user == name)?;
        u32::try_from(index).ok()
    }

    /// What `connection` of `user` sent, to be sent again. A connection that is
    /// not in the trace sends nothing.
    #[must_use]
    pub fn generator(&self, user: u32, connection: u32) -> Recorded {
        let track = self.tracks.get(&(user, connection)).cloned();
        Recorded::new(track.unwrap_or_else(|| Arc::new([])))
    }

    /// The largest packet of all.
    #[must_use]
    pub const fn largest_packet(&self) -> ByteSize {
        self.largest
    }
}

/// Sends what was recorded, with its gaps, the first counted from its start.
#[derive(Clone, Debug)]
pub struct Recorded {
    sends: Track,
    next: usize,
    previous: Timestamp,
}

impl Recorded {
    /// Replays `sends`, whose instants count from the start. One that is earlier
    /// than the one before it follows at once.
    #[must_use]
    pub const fn new(sends: Arc<[Send]>) -> Self {
        Self {
            sends,
            next: 0,
            previous: Timestamp::ZERO,
        }
    }
}

impl Generator for Recorded {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let send = *self.sends.get(self.next)?;
        self.next += 1;
        let gap = send.at.since(self.previous);
        self.previous = send.at;
        Some(Send {
            at: now + gap,
            size: send.size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_holds_no_more_than_it_says() {
        let text = "t_ns,size,user,connection\n0,1,a,0\n\n1,1,a,0\n";
        let reader = || TraceReader::new(text.as_bytes()).unwrap();
        assert!(Recording::read_at_most(2, reader()).is_ok());
        let error = Recording::read_at_most(1, reader()).unwrap_err();
        assert!(matches!(
            error,
            TraceError::TooManyPackets { line: 4, most: 1 }
        ));
    }
}
