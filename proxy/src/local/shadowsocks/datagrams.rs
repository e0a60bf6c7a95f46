//! An application's SOCKS5 datagrams, to the server and back.

use std::io;
use std::net::SocketAddr;

use proxy::protocol::shadowsocks::datagram::{self, Sender};
use proxy::protocol::socks5_udp;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::{Secret, broken, salt, unix_now};
use crate::account::Server;

/// The longest datagram there is.
const LONGEST: usize = 65_535;

/// What an association of an application goes through.
pub(crate) struct Association {
    secret: Secret,
    /// Towards the application.
    inner: UdpSocket,
    /// Towards the server.
    outer: UdpSocket,
    sender: Sender,
}

impl Association {
    /// Makes sockets towards both sides; the application's is at the same address as
    /// its connection.
    pub(crate) async fn open(
        secret: Secret,
        server: &Server,
        application: &TcpStream,
    ) -> io::Result<Self> {
        let inner = UdpSocket::bind((application.local_addr()?.ip(), 0)).await?;
        let outer = towards(server).await?;
        let session = salt(proxy::protocol::shadowsocks::Method::Aes128Gcm)?;
        let session = session.first_chunk().copied().unwrap_or_default();
        let session = u64::from_be_bytes(session);
        let sender = Sender::client(secret.method, &secret.keys, session).map_err(broken)?;
        Ok(Self {
            secret,
            inner,
            outer,
            sender,
        })
    }

    /// Where the application sends its datagrams.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Serves until the application's connection ends.
    pub(crate) async fn run(mut self, mut application: TcpStream) -> io::Result<()> {
        let owner = application.peer_addr()?.ip();
        let mut client = None;
        let (mut from_inner, mut from_outer) = (vec![0; LONGEST], vec![0; LONGEST]);
        let mut ignored = [0; 256];
        loop {
            tokio::select! {
                read = application.read(&mut ignored) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                received = self.inner.recv_from(&mut from_inner) => {
                    let (len, source) = received?;
                    // The first socket of the application has the association.
                    if source.ip() == owner && *client.get_or_insert(source) == source {
                        self.up(from_inner.get(..len).unwrap_or_default()).await;
                    }
                }
                received = self.outer.recv(&mut from_outer) => match received {
                    Ok(len) => {
                        if let Some(client) = client {
                            self.down(from_outer.get(..len).unwrap_or_default(), client).await;
                        }
                    }
                    // The server's host answered that nobody is there: perhaps later.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// What cannot be sent is lost, as on the way.
    async fn up(&mut self, bytes: &[u8]) {
        let Ok(asked) = socks5_udp::parse(bytes) else {
            return;
        };
        let Ok(salt) = salt(self.secret.method) else {
            return;
        };
        let sealed = self
            .sender
            .ask(&salt, &asked.target, asked.data, unix_now());
        if let Ok(sealed) = sealed {
            let _ = self.outer.send(&sealed).await;
        }
    }

    /// What is not authentic is nobody's answer.
    async fn down(&self, bytes: &[u8], client: SocketAddr) {
        let Secret { method, keys } = &self.secret;
        let session = self.sender.session();
        let opened = datagram::open_answer(*method, &keys.user, session, bytes, unix_now());
        let Ok(opened) = opened else {
            return;
        };
        let mut answer = Vec::with_capacity(socks5_udp::MAX_HEADER + opened.data.len());
        if socks5_udp::write_target_header(&mut answer, &opened.target).is_ok() {
            answer.extend_from_slice(&opened.data);
            let _ = self.inner.send_to(&answer, client).await;
        }
    }
}

/// A socket that hears the server alone.
async fn towards(server: &Server) -> io::Result<UdpSocket> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in lookup_host((server.host.as_str(), server.port)).await? {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let connected = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            Ok(socket)
        };
        match connected.await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
