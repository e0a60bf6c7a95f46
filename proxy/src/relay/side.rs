//! What a relay can stand between.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One end of a relay.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket that all of it goes through.
    fn tcp(&self) -> &TcpStream;

    /// The same socket if the bytes that are relayed are those on it, so that
    /// the kernel may move them; none if something lies between, as TLS does.
    fn plain(&self) -> Option<&TcpStream>;

    /// As a source: ready when it has something, or has ended. How many bytes it
    /// [holds](Side::held) then, zero at the end; none if it holds nothing and has
    /// to be read.
    fn poll_hold(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        Poll::Ready(Ok(None))
    }

    /// What it has read and nobody has [taken](Side::take).
    fn held(&self) -> &[u8] {
        &[]
    }

    /// The first `len` bytes of what it held have gone on.
    fn take(&mut self, _len: usize) {}

    /// As a sink that has been flushed: where to put up to `most` bytes that it is to
    /// be [given](Side::give), so that they need not be copied; none if it is to be
    /// written to. Whoever was lent room gives, be it nothing.
    fn room(&mut self, _most: usize) -> Option<&mut [u8]> {
        None
    }

    /// Takes the first `len` bytes of its room, all of them: what it cannot pass on
    /// at once, it passes on when it is flushed.
    fn give(&mut self, _context: &mut Context<'_>, _len: usize) -> io::Result<()> {
        Ok(())
    }
}

impl Side for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
