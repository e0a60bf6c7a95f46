//! Datagrams of applications (SOCKS5's UDP ASSOCIATE), carried to a remote that speaks
//! SOCKS5, too.
//!
//! ```text
//! application -- datagrams with a SOCKS header --> weirgate-local -- the same --> weirgate-proxy
//! ```
//!
//! Both sides have the same header, so a datagram goes on as it is. An association
//! lives as long as the application's TCP connection and the one to the remote do.
//! Heard are on one side the application's address, from the first port of it that
//! sends, on the other the remote's port for this association alone.

use std::io;
use std::net::{IpAddr, SocketAddr};

use proxy::protocol::socks5::{self, Code};
use proxy::protocol::{Host, Target, socks5_udp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::remote::{Duplex, RemoteError};

/// The longest datagram there is.
const LONGEST: usize = 65_535;

/// The remote's side of an association.
pub(crate) struct Datagrams {
    /// As long as it lives, so does the association.
    control: Box<dyn Duplex>,
    /// Connected to where the remote takes datagrams.
    socket: UdpSocket,
}

impl Datagrams {
    /// What the remote, which is at `peer`, takes at `bound`.
    pub(crate) async fn new(
        control: Box<dyn Duplex>,
        peer: IpAddr,
        bound: &Target,
    ) -> Result<Self, RemoteError> {
        let ip = match bound.host {
            // As RFC 1928 is often read: where the connection goes.
            Host::Address(ip) if ip.is_unspecified() => peer,
            Host::Address(ip) => ip,
            Host::Name(_) => {
                return Err(RemoteError::Refused(
                    "the server does not say where it takes datagrams",
                ));
            }
        };
        let any: IpAddr = match ip {
            IpAddr::V4(_) => [0; 4].into(),
            IpAddr::V6(_) => [0; 16].into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect((ip, bound.port)).await?;
        Ok(Self { control, socket })
    }

    /// Serves an application, which has announced that it will send from `announced`,
    /// until one of the connections ends.
    pub(crate) async fn serve(
        self,
        application: &mut TcpStream,
        announced: &Target,
    ) -> io::Result<()> {
        let own = application.local_addr()?.ip();
        let inner = UdpSocket::bind((own, 0)).await?;
        let reply = socks5::reply(Code::Succeeded, inner.local_addr()?);
        application.write_all(&reply).await?;
        let ip = application.peer_addr()?.ip();
        let port = match announced.host {
            Host::Address(named) if named.is_unspecified() || named == ip => announced.port,
            _ => 0,
        };
        tokio::select! {
            passed = pass(&inner, SocketAddr::new(ip, port), &self.socket) => passed,
            () = ended(self.control) => Ok(()),
            () = ended(application) => Ok(()),
        }
    }
}

/// Passes datagrams both ways. Whatever is no datagram of the protocol is dropped.
async fn pass(inner: &UdpSocket, mut application: SocketAddr, outer: &UdpSocket) -> io::Result<()> {
    let (mut up, mut down) = (vec![0; LONGEST], vec![0; LONGEST]);
    loop {
        tokio::select! {
            received = inner.recv_from(&mut up) => {
                let Some((len, from)) = heard(received)? else {
                    continue;
                };
                if application.port() == 0 && from.ip() == application.ip() {
                    application.set_port(from.port());
                }
                let datagram = up.get(..len).unwrap_or_default();
                if from == application && socks5_udp::parse(datagram).is_ok() {
                    lost(outer.send(datagram).await);
                }
            }
            received = outer.recv(&mut down) => {
                let Some(len) = heard(received)? else {
                    continue;
                };
                let datagram = down.get(..len).unwrap_or_default();
                if application.port() != 0 && socks5_udp::parse(datagram).is_ok() {
                    lost(inner.send_to(datagram, application).await);
                }
            }
        }
    }
}

/// What the network says of something that was sent before is nobody's to hear.
fn heard<T>(received: io::Result<T>) -> io::Result<Option<T>> {
    match received {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        received => received.map(Some),
    }
}

/// What cannot be sent is lost, as on the way.
fn lost(sent: io::Result<usize>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a datagram was dropped");
    }
}

/// Returns when a connection ends; whatever comes through it is dropped.
async fn ended(mut connection: impl AsyncRead + Unpin) {
    let mut ignored = [0; 64];
    while let Ok(1..) = connection.read(&mut ignored).await {}
}
