//! The bytes of one flow on their way into its socket.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::payload::Payload;

/// Bytes made at once, and so the largest single write.
const STAGED: usize = 32 << 10;

/// Writes the payload of one flow from its beginning; every byte is made once.
#[derive(Debug)]
pub(super) struct Outgoing {
    payload: Payload,
    staged: Vec<u8>,
    /// Bytes of `staged` that are written.
    used: usize,
    written: u64,
}

impl Outgoing {
    pub(super) const fn new(payload: Payload) -> Self {
        Self {
            payload,
            staged: Vec::new(),
            used: 0,
            written: 0,
        }
    }

    /// Bytes that the socket has taken.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes as much as the socket takes in one call, at least one byte and at most
    /// `most`, which is not zero. Nothing is written if the future is dropped.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        most: u64,
    ) -> io::Result<()> {
        if self.used == self.staged.len() {
            self.staged.resize(STAGED, 0);
            self.payload.fill(self.written, &mut self.staged);
            self.used = 0;
        }
        let rest = &self.staged[self.used..];
        let length = usize::try_from(most).map_or(rest.len(), |most| most.min(rest.len()));
        let taken = writer.write(&rest[..length]).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.used += taken;
        self.written += taken as u64;
        Ok(())
    }
}
