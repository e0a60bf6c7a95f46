//! One sender's behaviour, and many senders merged into one stream.

use flow::{ByteSize, Timestamp};

/// One send of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The instant it is due.
    pub at: Timestamp,
    /// Bytes handed over in one call.
    pub size: ByteSize,
}

/// The behaviour of one sending connection.
pub trait Generator {
    /// The next send, if the previous one returned at `now` (at the start: the
    /// instant the connection opened). Never due before `now`. `None`: it has ended.
    ///
    /// An open-loop caller passes the previous send's own `at`; a caller whose
    /// send was blocked passes the instant it returned.
    fn next_send(&mut self, now: Timestamp) -> Option<Send>;

    /// Whether a send has returned only when all of it has arrived at the receiver: the sender
    /// of a closed loop. Others return when their last byte has found room.
    fn awaits_delivery(&self) -> bool {
        false
    }
}

/// One packet of the merged open-loop stream of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Arrival at the limiter.
    pub at: Timestamp,
    /// Bytes.
    pub size: ByteSize,
    /// Index of the user in the scenario.
    pub user: u32,
    /// Index of the connection among the user's.
    pub connection: u32,
}
