//! Reads as it comes, verifies every byte and stamps each read.
//!
//! TCP has no packets: what a limiter let through is judged by when its bytes could
//! be read here, so the receiver must keep up. Its reads grow with what they find.

use std::{io, sync::Arc};

use flow::{ByteSize, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, Sink,
    log::LogFull,
    payload::{Payload, PayloadFault},
    window::Window,
};

/// Smallest and largest buffer of [`ReadSize::Adaptive`].
const ADAPTIVE: std::ops::RangeInclusive<usize> = (4 << 10)..=(256 << 10);
/// Reads in a row that find less than a quarter of the buffer before it shrinks.
const SMALL_READS: u32 = 64;

/// How much is asked for in one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadSize {
    /// From 4 KiB, doubled when a read fills it, up to 256 KiB, halved when it is not used.
    #[default]
    Adaptive,
    /// At most this many bytes, at least one.
    Fixed(usize),
}

/// How one flow is received.
#[derive(Clone, Debug)]
pub struct ReceivePlan {
    /// The run's clock.
    pub clock: Clock,
    /// What is read at or after this instant does not count.
    pub until: Timestamp,
    /// What must arrive; `None`: anything.
    pub payload: Option<Payload>,
    /// The buffer shared with a blocking sender.
    pub window: Option<Arc<Window>>,
    /// Size of a read.
    pub read_size: ReadSize,
    /// Ends the receiving early, without an error.
    pub stop: CancellationToken,
}

/// What a receiver saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveReport {
    /// Bytes, each the one that was sent at its place.
    pub received: ByteSize,
    /// Reads that returned bytes.
    pub reads: u64,
    /// Why it ended.
    pub end: ReceiveEnd,
}

/// Why a receiver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveEnd {
    /// The other side closed the direction in order.
    Eof,
    /// The time was up, or the run was stopped.
    Deadline,
    /// The connection broke.
    Closed(io::ErrorKind),
}

/// A flow that cannot be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// A byte is not the one that was sent.
    #[error("the data were damaged on the way")]
    Payload(#[from] PayloadFault),
    /// The log of receipts.
    #[error("cannot log a receipt")]
    Log(#[from] LogFull),
}

/// Reads from `reader` until it ends, the plan's time is up or the run is stopped.
/// Each read goes to `sink` with the instant at which it returned.
///
/// # Errors
/// A byte is wrong, or the log is full.
pub async fn receive<R, S>(
    reader: &mut R,
    plan: &ReceivePlan,
    sink: &mut S,
) -> Result<ReceiveReport, ReceiveError>
where
    R: AsyncRead + Unpin,
    S: Sink,
{
    let mut receiver = Receiver {
        plan,
        sink,
        received: 0,
        reads: 0,
    };
    let stop = async {
        tokio::select! {
            () = plan.clock.sleep_until(plan.until) => {}
            () = plan.stop.cancelled() => {}
        }
    };
    let end = tokio::select! {
        biased;
        () = stop => Ok(ReceiveEnd::Deadline),
        end = receiver.run(reader) => end,
    };
    if let Some(window) = &plan.window {
        window.close();
    }
    Ok(ReceiveReport {
        end: end?,
        received: ByteSize::new(receiver.received),
        reads: receiver.reads,
    })
}

struct Receiver<'a, S> {
    plan: &'a ReceivePlan,
    sink: &'a mut S,
    received: u64,
    reads: u64,
}

impl<S: Sink> Receiver<'_, S> {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
    ) -> Result<ReceiveEnd, ReceiveError> {
        let mut buffer = Buffer::new(self.plan.read_size);
        loop {
            let read = reader.read(buffer.space()).await;
            let at = self.plan.clock.now();
            match read {
                Ok(0) => return Ok(ReceiveEnd::Eof),
                Ok(_) if at >= self.plan.until => return Ok(ReceiveEnd::Deadline),
                Ok(length) => self.take(at, &buffer.bytes[..length])?,
                Err(error) => return Ok(ReceiveEnd::Closed(error.kind())),
            }
            buffer.adapt(read.unwrap_or(0));
        }
    }

    fn take(&mut self, at: Timestamp, bytes: &[u8]) -> Result<(), ReceiveError> {
        let length = ByteSize::new(bytes.len() as u64);
        if let Some(window) = &self.plan.window {
            window.release(length, at);
        }
        self.sink.record(at, length)?;
        if let Some(payload) = self.plan.payload {
            payload.check(self.received, bytes)?;
        }
        self.received += length.get();
        self.reads += 1;
        Ok(())
    }
}

/// Room for one read.
struct Buffer {
    bytes: Vec<u8>,
    adaptive: bool,
    small_reads: u32,
}

impl Buffer {
    fn new(size: ReadSize) -> Self {
        let (length, adaptive) = match size {
            ReadSize::Adaptive => (*ADAPTIVE.start(), true),
            ReadSize::Fixed(length) => (length.max(1), false),
        };
        Self {
            bytes: vec![0; length],
            adaptive,
            small_reads: 0,
        }
    }

    fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Learns from a read of `length` bytes.
    fn adapt(&mut self, length: usize) {
        let size = self.bytes.len();
        if !self.adaptive {
            return;
        }
        if length == size && size < *ADAPTIVE.end() {
            self.bytes.resize(size * 2, 0);
        }
        self.small_reads = if length < size / 4 {
            self.small_reads + 1
        } else {
            0
        };
        if self.small_reads >= SMALL_READS && size > *ADAPTIVE.start() {
            self.bytes.truncate(size / 2);
            self.bytes.shrink_to_fit();
            self.small_reads = 0;
        }
    }
}

#[cfg(test)]
mod tests;
