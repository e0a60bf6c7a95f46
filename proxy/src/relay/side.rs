//! What a relay can stand between.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One end of a relay.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket that all of it goes through.
    fn tcp(&self) -> &TcpStream;

    /// The same socket if the bytes that are relayed are those on it, so that
    /// the kernel may move them; none if something lies between, as TLS does.
    fn plain(&self) -> Option<&TcpStream>;
}

impl Side for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}
