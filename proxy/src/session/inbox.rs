//! What a client has sent and nobody has parsed yet.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::WireError;
use crate::session::SessionError;

/// How much is read at a time during a handshake: more than any one message.
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
            if let Some((message, used)) = parser(&self.bytes)? {
                self.bytes.drain(..used.min(self.bytes.len()));
                return Ok(message);
            }
            self.bytes.reserve(CHUNK);
            if self.client.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Answers the client.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.write_all(bytes).await
    }

    /// The client alone.
    pub(super) fn into_client(self) -> TcpStream {
        self.client
    }

    /// The client and what it has sent for the target already.
    pub(super) fn into_parts(self) -> (TcpStream, Box<[u8]>) {
        (self.client, self.bytes.into_boxed_slice())
    }
}
