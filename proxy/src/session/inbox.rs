//! What a client has sent and nobody has parsed yet.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::WireError;
use crate::session::SessionError;

/// How much is read at a time during a handshake: more than most messages.
const CHUNK: usize = 2048;

/// A client during its handshake. Bytes beyond the message at hand are kept
/// for the next one, and in the end for the target.
#[derive(Debug)]
pub(super) struct Inbox {
    client: TcpStream,
    bytes: Vec<u8>,
}

impl Inbox {
    pub(super) const fn new(client: TcpStream) -> Self {
        Self {
            client,
            bytes: Vec::new(),
        }
    }

    /// Reads until `parser` has a whole message, and takes that out.
    ///
    /// Every parser has a longest message, so what is held is bounded by that
    /// and one chunk.
    pub(super) async fn parse<T>(
        &mut self,
        parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    ) -> Result<T, SessionError> {
        loop {
            if let Some(message) = self.take(&parser)? {
                return Ok(message);
            }
            self.read().await?;
        }
    }

    /// As [`Inbox::parse`], for messages of lines, at most `longest` bytes
    /// long: whoever sends them byte by byte does not have them parsed as often.
    pub(super) async fn parse_lines<T>(
        &mut self,
        parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
        longest: usize,
    ) -> Result<T, SessionError> {
        let mut seen = 0;
        loop {
            let new = self.bytes.get(seen..).unwrap_or_default();
            if (new.contains(&b'\n') || self.bytes.len() >= longest)
                && let Some(message) = self.take(&parser)?
            {
                return Ok(message);
            }
            seen = self.bytes.len();
            self.read().await?;
        }
    }

    fn take<T>(
        &mut self,
        parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    ) -> Result<Option<T>, WireError> {
        Ok(parser(&self.bytes)?.map(|(message, used)| {
            self.bytes.drain(..used.min(self.bytes.len()));
            message
        }))
    }

    async fn read(&mut self) -> io::Result<()> {
        self.bytes.reserve(CHUNK);
        match self.client.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Whether the client has said nothing that was not understood.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Answers the client.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.write_all(bytes).await
    }

    /// What is to be reset to cut the client off.
    pub(super) const fn sockets(&self) -> [&TcpStream; 1] {
        [&self.client]
    }

    /// The client, and what it has sent beyond the last message.
    pub(super) const fn parts(&mut self) -> (&mut TcpStream, &mut Vec<u8>) {
        (&mut self.client, &mut self.bytes)
    }

    /// The client and what it has sent for the target already.
    pub(super) fn into_parts(self) -> (TcpStream, Box<[u8]>) {
        (self.client, self.bytes.into_boxed_slice())
    }
}
