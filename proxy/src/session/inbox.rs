//! What a client has sent and nobody has parsed yet.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::SessionError;
use super::client::Client;
use crate::protocol::WireError;
use crate::relay::{self, Side};
use crate::tls::Certificates;

/// How much is read at a time during a handshake: more than most messages.
const CHUNK: usize = 2048;

/// How much is read at a time of a client that should wait: hardly any says something.
#[cfg(feature = "https-service")]
const PIECE: usize = 64;

/// A client during its handshake. Bytes beyond the message at hand are kept
/// for the next one, and in the end for the target.
#[derive(Debug)]
pub(super) struct Inbox {
    /// None: lost in a TLS handshake that came to nothing.
    client: Option<Client>,
    bytes: Vec<u8>,
}

impl Inbox {
    pub(super) const fn new(client: TcpStream) -> Self {
        Self {
            client: Some(Client::Plain(client)),
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

    /// Reads until there is something.
    #[cfg(feature = "https-service")]
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            self.read().await?;
        }
        Ok(())
    }

    /// Returns when the client has closed its side, or the connection is broken. What it
    /// sends meanwhile is kept, and nobody who sends [much](CHUNK) is watched any longer.
    #[cfg(feature = "https-service")]
    pub(super) async fn closed(&mut self) {
        let mut piece = [0; PIECE];
        while self.bytes.len() < CHUNK {
            let Some(client) = &mut self.client else {
                return;
            };
            match client.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(len) => self
                    .bytes
                    .extend_from_slice(piece.get(..len).unwrap_or_default()),
            }
        }
        std::future::pending().await
    }

    async fn read(&mut self) -> io::Result<()> {
        self.bytes.reserve(CHUNK);
        let client = self.client.as_mut().ok_or_else(lost)?;
        match client.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Speaks TLS from here on; what was read and not parsed is its beginning.
    #[cfg(feature = "tls")]
    pub(super) async fn secure(&mut self, certificates: &Certificates) -> Result<(), SessionError> {
        let Some(Client::Plain(client)) = self.client.take() else {
            return Err(SessionError::Tls(lost()));
        };
        let early = std::mem::take(&mut self.bytes);
        let stream = certificates.accept(client, early).await;
        let stream = Box::new(stream.map_err(SessionError::Tls)?);
        self.client = Some(Client::Tls(stream));
        Ok(())
    }

    /// Does not: nothing is recognised as TLS in a program without it.
    #[cfg(not(feature = "tls"))]
    pub(super) async fn secure(&mut self, _: &Certificates) -> Result<(), SessionError> {
        Err(SessionError::Tls(lost()))
    }

    /// Whether the client has said nothing that was not understood.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Answers the client.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let client = self.client.as_mut().ok_or_else(lost)?;
        client.write_all(bytes).await?;
        client.flush().await
    }

    /// Has the client see a reset when this is dropped.
    pub(super) fn reset(&self) {
        if let Some(client) = &self.client {
            relay::reset([client.tcp()]);
        }
    }

    /// The client, and what it has sent beyond the last message.
    pub(super) fn parts(&mut self) -> io::Result<(&mut Client, &mut Vec<u8>)> {
        let client = self.client.as_mut().ok_or_else(lost)?;
        Ok((client, &mut self.bytes))
    }

    /// The client and what it has sent for the target already.
    pub(super) fn into_parts(self) -> io::Result<(Client, Box<[u8]>)> {
        let client = self.client.ok_or_else(lost)?;
        Ok((client, self.bytes.into_boxed_slice()))
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
