//! Captures of real traffic, pcap and pcapng, as traces: each sending host is a
//! user, each flow (addresses, protocol, ports; one direction) a connection.
//!
//! A packet's size is that of its IP datagram, whatever carried it and however
//! little of it was captured. Instants count from the earliest packet.

mod blocks;
mod error;
mod frame;

pub use error::CaptureFault;

use self::blocks::{Blocks, Frame};
use self::frame::{Datagram, Flow};
use super::reader::Users;
use super::{MAX_CONNECTIONS, TraceError};
use crate::source::Packet;
use flow::{ByteSize, Timestamp};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::io::Read;

/// A capture may be out of order by as many packets: several processors and
/// several interfaces write into one file.
const OUT_OF_ORDER: usize = 1 << 12;

/// Whether a file that begins like this is a capture, or one that was compressed.
pub(super) fn is_capture(start: &[u8]) -> bool {
    blocks::is_pcap(start) || blocks::is_pcapng(start) || error::compression(start).is_some()
}

/// The packets of a capture in order of time.
pub(super) struct CaptureReader<R: Read> {
    blocks: Blocks<R>,
    flows: HashMap<Flow, (u32, u32)>,
    /// Connections of each user so far.
    connections: Vec<u32>,
    /// The earliest packets that have been read and not been handed out.
    waiting: BinaryHeap<Reverse<Waiting>>,
    ended: bool,
    start: Option<i128>,
    previous: i128,
    skipped: u64,
}

/// Ordered by instant, then by place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: i128,
    frame: u64,
    size: u64,
    user: u32,
    connection: u32,
}

impl<R: Read> CaptureReader<R> {
    /// Begins to read `input`, whose first bytes are `start`.
    pub(super) fn new(start: &[u8], input: R) -> Result<Self, TraceError> {
        Ok(Self {
            blocks: Blocks::new(start, input).map_err(at_frame(0))?,
            flows: HashMap::new(),
            connections: Vec::new(),
            waiting: BinaryHeap::new(),
            ended: false,
            start: None,
            previous: i128::MIN,
            skipped: 0,
        })
    }

    /// The frame that was read last, from 1; 0 before the first.
    pub(super) const fn frames(&self) -> u64 {
        self.blocks.frames()
    }

    /// Frames so far that carry no IP datagram.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next packet; `None` at the end.
    pub(super) fn packet(&mut self, users: &mut Users) -> Result<Option<Packet>, TraceError> {
        while !self.ended && self.waiting.len() <= OUT_OF_ORDER {
            self.read(users)?;
        }
        let Some(Reverse(next)) = self.waiting.pop() else {
            return self.finish();
        };
        if next.at < self.previous {
            return Err(at_frame(next.frame)(CaptureFault::OutOfOrder));
        }
        self.previous = next.at;
        let start = *self.start.get_or_insert(next.at);
        let at = u64::try_from(next.at - start)
            .map_err(|_| at_frame(next.frame)(CaptureFault::TooLong))?;
        Ok(Some(Packet {
            at: Timestamp::from_nanos(at),
            size: ByteSize::new(next.size),
            user: next.user,
            connection: next.connection,
        }))
    }

    /// One frame more, or the end.
    fn read(&mut self, users: &mut Users) -> Result<(), TraceError> {
        let number = self.blocks.frames() + 1;
        let fault = at_frame(number);
        let Some(Frame { at, datagram }) = self.blocks.frame().map_err(&fault)? else {
            self.ended = true;
            return Ok(());
        };
        let Some(Datagram { flow, size }) = datagram else {
            self.skipped += 1;
            return Ok(());
        };
        let (user, connection) = self.sender(flow, number, users)?;
        self.waiting.push(Reverse(Waiting {
            at,
            frame: number,
            size,
            user,
            connection,
        }));
        Ok(())
    }

    fn sender(
        &mut self,
        flow: Flow,
        frame: u64,
        users: &mut Users,
    ) -> Result<(u32, u32), TraceError> {
        if let Some(sender) = self.flows.get(&flow) {
            return Ok(*sender);
        }
        let fault = at_frame(frame);
        if self.flows.len() >= MAX_CONNECTIONS as usize {
            return Err(fault(CaptureFault::TooManyFlows));
        }
        let host = flow.source.to_string();
        let user = users
            .number(host.as_bytes(), frame)
            .map_err(|error| match error {
                TraceError::UnknownUser { .. } => fault(CaptureFault::UnknownHost(host)),
                _ => fault(CaptureFault::TooManyHosts),
            })?;
        let index = user as usize;
        if index >= self.connections.len() {
            self.connections.resize(index + 1, 0);
        }
        let connection = self.connections[index];
        self.connections[index] += 1;
        self.flows.insert(flow, (user, connection));
        Ok((user, connection))
    }

    /// A capture in which no frame is of use is a mistake, not a silence.
    fn finish(&self) -> Result<Option<Packet>, TraceError> {
        if self.skipped > 0 && self.start.is_none() {
            return Err(at_frame(self.frames())(CaptureFault::NoDatagram));
        }
        Ok(None)
    }
}

/// Says in which frame something is wrong.
fn at_frame(frame: u64) -> impl Fn(CaptureFault) -> TraceError {
    move |fault| TraceError::Capture { frame, fault }
}

impl<R: Read> fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureReader")
            .field("frames", &self.frames())
            .field("flows", &self.flows.len())
            .finish_non_exhaustive()
    }
}
