//! The one schema between drivers and metrics: a driver's whole job is turning
//! offered traffic into these calls, and metrics cannot tell which one ran.

pub use flow::policer::DropReason;
use flow::{ByteSize, Nanos, Timestamp};

/// Whose bytes: indices into the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    /// Index of the user in the scenario.
    pub user: u32,
    /// Index of the connection among the user's.
    pub connection: u32,
}

/// Where a driver reports what happened.
///
/// Instants count from the start of the run. Per user, the instants of
/// `offered` never decrease, and neither do those of `delivered`; between users,
/// and between `offered` and `delivered` of one user, there is no order: a
/// shaper's departure is known, and reported, at the arrival.
pub trait Recorder {
    /// A send of `size` bytes was due (open loop) or was called (blocking) at `at`.
    fn offered(&mut self, at: Timestamp, size: ByteSize, flow: FlowId);
    /// `bytes` left the limiter (real driver: reached the receiver) at `at`; a
    /// whole packet, or a piece of a stream.
    fn delivered(&mut self, at: Timestamp, bytes: ByteSize, flow: FlowId);
    /// The last byte of a send left at `departure`; per connection in order of arrival.
    fn completed(&mut self, arrival: Timestamp, departure: Timestamp, size: ByteSize, flow: FlowId);
    /// A packet was dropped at `at`.
    fn dropped(&mut self, at: Timestamp, size: ByteSize, flow: FlowId, why: DropReason);
    /// A segment of a simulated TCP is acknowledged `after` it was sent.
    fn round_trip(&mut self, after: Nanos, flow: FlowId) {
        let _ = (after, flow);
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it was due, whenever it was sent: everything is counted from here.
    pub due: Timestamp,
    /// How much later it was sent.
    pub late: Nanos,
    /// When a worker began with it; `None`: none did.
    pub started: Option<Timestamp>,
    /// When its fate was known to who had asked.
    pub ended: Timestamp,
    /// Its fate.
    pub outcome: RequestOutcome,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestOutcome {
    /// Served.
    Good,
    /// There was no room in the queue.
    QueueFull,
    /// It waited too long.
    QueueTimeout,
    /// It ran too long.
    RequestTimeout,
    /// Something else: a connection that broke.
    Failed,
}

/// Where a driver of requests reports what happened, in any order.
pub trait RequestRecorder {
    /// One request is over.
    fn request(&mut self, record: RequestRecord);
}
