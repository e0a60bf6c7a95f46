//! The client side of reaching a target: directly, by SOCKS5, by HTTP CONNECT, through a
//! plain forwarder, by shadowsocks, or by seed 001's line handshake. The codecs are pure functions of bytes; this module does the IO.

pub mod http;
pub mod line;
#[cfg(feature = "shadowsocks")]
pub mod shadowsocks;
pub mod socks5;
mod stream;
mod url;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, lookup_host},
};

pub use self::stream::Stream;
pub use self::url::ViaError;

/// A host and a port: an address, or a name that the far side resolves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address.
    Address(SocketAddr),
    /// A name and a port.
    Name(String, u16),
}

/// A user name and a password. Debug output never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The secret.
    pub password: String,
}

/// The way to a target.
///
/// In text: `direct`, `socks5://[USER:PASSWORD@]HOST:PORT`, `http://[USER:PASSWORD@]HOST:PORT`,
/// `tcp://HOST:PORT`, `line://USER:PASSWORD@HOST:PORT` or `ss://METHOD:PASSWORD@HOST:PORT`, reserved
/// characters as `%XX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// No proxy.
    Direct,
    /// SOCKS5 (RFC 1928), with username and password (RFC 1929) if there are credentials.
    Socks5 {
        /// Where the proxy listens.
        proxy: Endpoint,
        /// Who asks.
        credentials: Option<Credentials>,
    },
    /// The line handshake of seed 001.
    Line {
        /// Where the proxy listens.
        proxy: Endpoint,
        /// Who asks.
        credentials: Credentials,
    },
    /// CONNECT of HTTP/1.1 (RFC 9110), with Basic (RFC 7617) if there are credentials.
    Http {
        /// Where the proxy listens.
        proxy: Endpoint,
        /// Who asks.
        credentials: Option<Credentials>,
    },
    /// Shadowsocks; to dial, the feature of that name is needed.
    Shadowsocks {
        /// Where the server listens.
        proxy: Endpoint,
        /// The method in place of a user, and the password or the key.
        credentials: Credentials,
    },
    /// Whoever listens there passes everything on to one target, whichever is asked for.
    Forward {
        /// Where the forwarder listens.
        proxy: Endpoint,
    },
}

impl Via {
    /// Where the first connection goes; `None` without a proxy.
    #[must_use]
    pub const fn proxy(&self) -> Option<&Endpoint> {
        match self {
            Self::Direct => None,
            Self::Socks5 { proxy, .. }
            | Self::Line { proxy, .. }
            | Self::Http { proxy, .. }
            | Self::Shadowsocks { proxy, .. }
            | Self::Forward { proxy } => Some(proxy),
        }
    }
}

/// Options of a connection's own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `SO_RCVBUF` in bytes, set before connecting; `None`: the system's, which grows.
    pub receive_buffer: Option<u32>,
    /// `SO_SNDBUF` in bytes; `None`: the system's, which grows.
    pub send_buffer: Option<u32>,
    /// `TCP_MAXSEG` in bytes, both ways; `None`: what the path allows. On loopback that is as
    /// much as a first window, which a sender then finds too small for one segment.
    pub segment: Option<u32>,
    /// For all of connecting: name, TCP and handshake.
    pub timeout: Duration,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            receive_buffer: None,
            send_buffer: None,
            segment: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A connection to a target. No byte behind the handshake has been read.
#[derive(Debug)]
pub struct Connection {
    /// The bytes both ways.
    pub stream: Stream,
    /// The address that the target sees, as the proxy says; where it does not say, and
    /// without a proxy, the socket's own.
    pub bound: Endpoint,
}

/// What was going on when connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up the name of the proxy, or of the target if there is no proxy.
    Resolve,
    /// Connecting to it.
    Connect,
    /// Choosing how to authenticate.
    Greeting,
    /// Proving who asks.
    Authentication,
    /// Asking for the target.
    Request,
}

/// A target that was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system said no.
    #[error("{step} failed")]
    Io {
        /// When.
        step: Step,
        /// Why.
        source: io::Error,
    },
    /// The proxy closed the connection in place of an answer.
    #[error("the proxy closed the connection during {step}")]
    Closed {
        /// When.
        step: Step,
    },
    /// No answer in time.
    #[error("no connection after {:.1} s", after.as_secs_f64())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The proxy refused, or does not speak SOCKS5.
    #[error("SOCKS5")]
    Socks5(#[from] socks5::Socks5Error),
    /// The line cannot be written, or the answer is none.
    #[error("line handshake")]
    Line(#[from] line::LineError),
    /// The request cannot be sent, or this program is built without it.
    #[error("shadowsocks")]
    Shadowsocks(#[source] io::Error),
    /// The proxy refused, or does not speak HTTP.
    #[error("HTTP CONNECT")]
    Http(#[from] http::HttpError),
}

/// What a codec makes of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// Everything is there, and these were all its bytes.
    Done(T),
    /// At least this many more bytes belong to it, never zero.
    Need(usize),
}

/// Connects to `target` by way of `via`.
///
/// # Errors
/// See [`DialError`].
pub async fn connect(
    via: &Via,
    target: &Endpoint,
    options: &SocketOptions,
) -> Result<Connection, DialError> {
    tokio::time::timeout(options.timeout, reach(via, target, options))
        .await
        .unwrap_or(Err(DialError::Timeout {
            after: options.timeout,
        }))
}

async fn reach(
    via: &Via,
    target: &Endpoint,
    options: &SocketOptions,
) -> Result<Connection, DialError> {
    let mut stream = tcp(via.proxy().unwrap_or(target), options).await?;
    let local = stream.local_addr().map_err(during(Step::Connect))?;
    let bound = match via {
        Via::Direct | Via::Forward { .. } => local.into(),
        Via::Http { credentials, .. } => {
            http_handshake(&mut stream, credentials.as_ref(), target).await?;
            local.into()
        }
        Via::Socks5 { credentials, .. } => {
            socks5_handshake(&mut stream, credentials.as_ref(), target).await?
        }
        Via::Line { credentials, .. } => line_handshake(&mut stream, credentials, target).await?,
        Via::Shadowsocks { credentials, .. } => {
            let stream = encrypted(stream, credentials, target).await;
            return Ok(Connection {
                stream: stream.map_err(DialError::Shadowsocks)?,
                bound: local.into(),
            });
        }
    };
    Ok(Connection {
        stream: stream.into(),
        bound,
    })
}

#[cfg(feature = "shadowsocks")]
async fn encrypted(
    stream: TcpStream,
    credentials: &Credentials,
    target: &Endpoint,
) -> io::Result<Stream> {
    let stream = shadowsocks::handshake(stream, credentials, target).await?;
    Ok(Stream::Shadowsocks(Box::new(stream)))
}

#[cfg(not(feature = "shadowsocks"))]
async fn encrypted(_: TcpStream, _: &Credentials, _: &Endpoint) -> io::Result<Stream> {
    let why = "this program is built without the feature `shadowsocks`";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// The client's side of RFC 1928 with RFC 1929 on `stream`; returns the address
/// that the proxy bound.
///
/// # Errors
/// Those of [`DialError`] but `Timeout`.
pub async fn socks5_handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: Option<&Credentials>,
    target: &Endpoint,
) -> Result<Endpoint, DialError> {
    // What cannot be sent is refused before anything is.
    let request = socks5::connect_request(target)?;
    let authentication = credentials.map(socks5::authentication).transpose()?;
    let greeting = socks5::greeting(credentials.is_some());
    let method = exchange(stream, Step::Greeting, &greeting, socks5::method_choice).await?;
    match (method, &authentication) {
        (socks5::Method::Nothing, _) => {}
        (socks5::Method::UsernamePassword, Some(bytes)) => {
            let parse = socks5::authentication_reply;
            exchange(stream, Step::Authentication, bytes, parse).await?;
        }
        (socks5::Method::UsernamePassword, None) => {
            return Err(socks5::Socks5Error::MethodNotOffered { got: 2 }.into());
        }
    }
    exchange(stream, Step::Request, &request, socks5::connect_reply).await
}

/// The client's side of seed 001's handshake on `stream`; returns the address that
/// the proxy bound.
///
/// # Errors
/// Those of [`DialError`] but `Timeout`. A proxy that refuses says nothing: `Closed`.
pub async fn line_handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &Credentials,
    target: &Endpoint,
) -> Result<Endpoint, DialError> {
    let request = line::request(target, credentials)?;
    exchange(stream, Step::Request, &request, line::reply).await
}

/// The client's side of CONNECT on `stream`.
///
/// # Errors
/// Those of [`DialError`] but `Timeout`.
pub async fn http_handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: Option<&Credentials>,
    target: &Endpoint,
) -> Result<(), DialError> {
    let request = http::request(target, credentials)?;
    exchange(stream, Step::Request, &request, http::reply).await
}

/// Sends `request` and reads exactly the bytes of the reply, so that what the
/// target sends behind it stays in the stream.
async fn exchange<S, T, E>(
    stream: &mut S,
    step: Step,
    request: &[u8],
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, E>,
) -> Result<T, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    DialError: From<E>,
{
    stream.write_all(request).await.map_err(during(step))?;
    let mut reply = Vec::new();
    loop {
        let missing = match parse(&reply)? {
            Parsed::Done(answer) => return Ok(answer),
            Parsed::Need(missing) => missing,
        };
        let have = reply.len();
        reply.resize(have + missing, 0);
        let read = stream.read_exact(&mut reply[have..]).await;
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => DialError::Closed { step },
            _ => DialError::Io { step, source },
        })?;
    }
}

/// Connects to the first address of `to` that answers.
async fn tcp(to: &Endpoint, options: &SocketOptions) -> Result<TcpStream, DialError> {
    let addresses: Vec<SocketAddr> = match to {
        Endpoint::Address(address) => vec![*address],
        Endpoint::Name(name, port) => lookup_host((name.as_str(), *port))
            .await
            .map_err(during(Step::Resolve))?
            .collect(),
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match tcp_to(address, options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(during(Step::Connect)(last))
}

async fn tcp_to(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    options.apply_to(&socket)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl SocketOptions {
    pub(crate) fn apply_to(&self, socket: &TcpSocket) -> io::Result<()> {
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        if let Some(size) = self.send_buffer {
            socket.set_send_buffer_size(size)?;
        }
        if let Some(size) = self.segment {
            socket2::SockRef::from(socket).set_tcp_mss(size)?;
        }
        Ok(())
    }
}

fn during(step: Step) -> impl Fn(io::Error) -> DialError {
    move |source| DialError::Io { step, source }
}

impl Endpoint {
    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }

    /// `host`, an address or a name, and `port`.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Address(SocketAddr::new(ip, port)),
            Err(_) => Self::Name(host.to_owned(), port),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the name",
            Self::Connect => "connecting",
            Self::Greeting => "the greeting",
            Self::Authentication => "authentication",
            Self::Request => "the request",
        })
    }
}

#[cfg(test)]
mod tests;
