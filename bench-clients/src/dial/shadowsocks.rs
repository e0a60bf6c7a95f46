//! The client's side of shadowsocks, by the crate of that name: TCP and datagrams.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use shadowsocks::config::{ServerConfig, ServerType};
use shadowsocks::context::Context as Shared;
use shadowsocks::crypto::CipherKind;
use shadowsocks::relay::socks5::Address;
use shadowsocks::relay::tcprelay::ProxyClientStream;
use shadowsocks::relay::udprelay::ProxySocket;
use shadowsocks::relay::udprelay::options::UdpSocketControlData;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Credentials, Endpoint};

/// What is encrypted at once, at most.
const CHUNK: usize = 32 << 10;

/// A tunnel. What was taken and is not written is kept, so that a write that was
/// given up and begun again with other bytes is in order.
#[derive(Debug)]
pub struct Encrypted {
    stream: ProxyClientStream<TcpStream>,
    outbox: Vec<u8>,
    sent: usize,
}

/// Datagrams of one client.
pub struct Datagrams {
    socket: ProxySocket<shadowsocks::net::UdpSocket>,
    session: u64,
    next: AtomicU64,
}

/// Asks for `target` on a connection to the server; nothing is answered.
pub(super) async fn handshake(
    socket: TcpStream,
    credentials: &Credentials,
    target: &Endpoint,
) -> io::Result<Encrypted> {
    let server = server(socket.peer_addr()?, credentials)?;
    let context = Shared::new_shared(ServerType::Local);
    let mut stream = ProxyClientStream::from_stream(context, socket, &server, address(target));
    // Sends the request without a byte of payload.
    poll_fn(|context| Pin::new(&mut stream).poll_write(context, &[])).await?;
    Ok(Encrypted {
        stream,
        outbox: Vec::new(),
        sent: 0,
    })
}

impl Datagrams {
    /// A socket to the server.
    ///
    /// # Errors
    /// There is no socket, or the method or the key is none.
    pub async fn connect(proxy: SocketAddr, credentials: &Credentials) -> io::Result<Self> {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let context = Shared::new_shared(ServerType::Local);
        let socket = ProxySocket::connect(context, &server(proxy, credentials)?).await;
        Ok(Self {
            socket: socket.map_err(io::Error::other)?,
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            next: AtomicU64::new(0),
        })
    }

    /// Sends one.
    ///
    /// # Errors
    /// The system refuses it.
    pub async fn send(&self, target: SocketAddr, data: &[u8]) -> io::Result<()> {
        let mut control = UdpSocketControlData::default();
        control.client_session_id = self.session;
        control.packet_id = self.next.fetch_add(1, Ordering::Relaxed);
        let target = Address::SocketAddress(target);
        let sent = self.socket.send_with_ctrl(&target, &control, data).await;
        sent.map(drop).map_err(io::Error::other)
    }

    /// Receives one: how many bytes of `room` it has.
    ///
    /// # Errors
    /// The socket breaks, or what was received is not authentic.
    pub async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let received = self.socket.recv(room).await;
        received.map(|(len, ..)| len).map_err(io::Error::other)
    }
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").finish_non_exhaustive()
    }
}

fn server(proxy: SocketAddr, credentials: &Credentials) -> io::Result<ServerConfig> {
    let Credentials { user, password } = credentials;
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "no method of shadowsocks");
    let method: CipherKind = user.parse().map_err(|_| refused())?;
    ServerConfig::new(proxy, password.clone(), method).map_err(io::Error::other)
}

fn address(target: &Endpoint) -> Address {
    match target {
        Endpoint::Address(address) => Address::SocketAddress(*address),
        Endpoint::Name(name, port) => Address::DomainNameAddress(name.clone(), *port),
    }
}

impl Encrypted {
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.outbox.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, room)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        let taken = bytes.get(..CHUNK).unwrap_or(bytes);
        this.outbox.extend_from_slice(taken);
        if let Poll::Ready(Err(error)) = this.poll_empty(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
