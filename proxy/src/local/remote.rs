//! The remote proxy: reaching it, logging in, asking for targets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proxy::protocol::auth_target::{Operation, Reply};
use proxy::protocol::client::{Unsendable, auth_target, http, line, socks5};
use proxy::protocol::socks5::{Code, Command};
use proxy::protocol::{Credentials, Dialect, Host, Target, WireError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::account::{Account, Server};
use crate::datagrams::Datagrams;
use crate::failure::Failure;
#[cfg(feature = "shadowsocks")]
use crate::shadowsocks::{Encrypted, Secret, datagrams::Association};
use crate::speech::Speech;

/// From the first packet to the remote's verdict about a target.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection, under TLS or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One account at one server.
pub(crate) struct Remote {
    server: Server,
    speech: Speech,
    credentials: Credentials,
    tls: Option<Tls>,
    /// Whether datagrams may go in the clear where streams are under TLS.
    plain_datagrams: bool,
    #[cfg(feature = "shadowsocks")]
    secret: Option<Secret>,
}

/// Why the remote does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error("cannot reach {server}: {source}")]
    Unreachable { server: String, source: io::Error },
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server says what it should not: {0}")]
    Wire(#[from] WireError),
    #[error("name or password is wrong")]
    Login,
    #[error("{0}")]
    Refused(&'static str),
    #[error("the server does not connect to the target: {0:?}")]
    Target(Code),
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error("no datagrams: {0}")]
    NoDatagrams(&'static str),
    #[cfg(feature = "shadowsocks")]
    #[error("the password is no key: {0}")]
    Key(proxy::protocol::shadowsocks::KeyError),
    #[error("cannot trust anybody: {0}")]
    Roots(String),
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Login | RemoteError::Unsendable(_) | RemoteError::Refused(_) => {
                Self::Request(error.to_string())
            }
            #[cfg(feature = "shadowsocks")]
            RemoteError::Key(_) => Self::Request(error.to_string()),
            _ => Self::Environment(error.to_string()),
        }
    }
}

/// What was opened, and what its other end has sent already.
pub(crate) struct Tunnel {
    pub(crate) stream: Box<dyn Duplex>,
    pub(crate) early: Vec<u8>,
}

impl Remote {
    pub(crate) fn new(account: &Account, password: Vec<u8>) -> Result<Self, RemoteError> {
        let tls = account
            .tls
            .then(|| connector(&account.server, account.roots.as_deref()));
        Ok(Self {
            #[cfg(feature = "shadowsocks")]
            secret: secret(account.dialect, &password)?,
            server: account.server.clone(),
            speech: account.dialect,
            credentials: Credentials {
                name: account.name.clone().into_bytes(),
                password,
            },
            tls: tls.transpose()?,
            plain_datagrams: false,
        })
    }

    /// Lets datagrams go, which are never under TLS, although streams are.
    pub(crate) fn allow_plain_datagrams(&mut self) {
        self.plain_datagrams = true;
    }

    /// Makes the account.
    pub(crate) async fn register(&self) -> Result<(), RemoteError> {
        let words = auth_target::auth(Operation::Register, &self.credentials)?;
        let registered = async {
            let mut talk = self.connect().await?;
            talk.say(&words).await?;
            match talk.hear(auth_target::reply).await {
                Ok(Reply::Registered) => Ok(()),
                // The dialect has no word for "no".
                Ok(_) | Err(RemoteError::Broken(_)) => Err(RemoteError::Refused(
                    "no: the name is taken, or nobody registers there",
                )),
                Err(error) => Err(error),
            }
        };
        in_time(registered).await
    }

    /// Whether name and password are right; `false` if the dialect does not
    /// tell without a target.
    pub(crate) async fn check(&self) -> Result<bool, RemoteError> {
        let checked = async {
            let mut talk = self.connect().await?;
            match self.speech {
                Speech::Dialect(Dialect::Socks5) => self.socks5_login(&mut talk).await?,
                Speech::Dialect(Dialect::AuthTarget) => self.auth(&mut talk).await?,
                _ => return Ok(false),
            }
            Ok(true)
        };
        in_time(checked).await
    }

    /// A stream to `target`.
    pub(crate) async fn open(&self, target: &Target) -> Result<Tunnel, RemoteError> {
        let opened = async {
            let mut talk = self.connect().await?;
            let dialect = match self.speech {
                Speech::Dialect(dialect) => dialect,
                #[cfg(feature = "shadowsocks")]
                Speech::Shadowsocks(_) => return self.encrypted(talk.stream, target),
            };
            match dialect {
                Dialect::Socks5 => self.socks5(&mut talk, target).await?,
                Dialect::Http => self.http(&mut talk, target).await?,
                Dialect::Line => {
                    talk.say(&line::request(target, &self.credentials)?).await?;
                    talk.hear(line::reply).await?;
                }
                Dialect::AuthTarget => {
                    self.auth(&mut talk).await?;
                    let words = auth_target::target(target, &self.credentials.name)?;
                    talk.say(&words).await?;
                }
            }
            Ok(Tunnel {
                stream: talk.stream,
                early: talk.heard,
            })
        };
        in_time(opened).await
    }

    /// A way for datagrams, where the dialect has one.
    pub(crate) async fn associate(&self) -> Result<Datagrams, RemoteError> {
        if self.speech != Speech::Dialect(Dialect::Socks5) {
            return Err(RemoteError::NoDatagrams(
                "the dialect that is spoken with the server has none; log in with --dialect socks5",
            ));
        }
        if self.tls.is_some() && !self.plain_datagrams {
            return Err(RemoteError::NoDatagrams(
                "they would not be under TLS; run with --plain-datagrams if they may be read on the way",
            ));
        }
        let associated = async {
            let mut talk = self.connect().await?;
            let peer = talk.peer.ip();
            let anywhere = Target {
                host: Host::Address(Ipv4Addr::UNSPECIFIED.into()),
                port: 0,
            };
            let request = socks5::request(Command::UdpAssociate, &anywhere)?;
            self.socks5_login(&mut talk).await?;
            talk.say(&request).await?;
            let reply = talk.hear(socks5::reply).await?;
            match reply.code {
                Code::Succeeded => Datagrams::new(talk.stream, peer, &reply.bound).await,
                code => Err(RemoteError::Target(code)),
            }
        };
        in_time(associated).await
    }

    /// A stream to `target` under shadowsocks; nothing says whether there is one.
    #[cfg(feature = "shadowsocks")]
    fn encrypted(&self, socket: Box<dyn Duplex>, target: &Target) -> Result<Tunnel, RemoteError> {
        let secret = self.secret.clone().ok_or(RemoteError::Login)?;
        Ok(Tunnel {
            stream: Box::new(Encrypted::new(socket, secret, target.clone())?),
            early: Vec::new(),
        })
    }

    /// Whether datagrams go there under shadowsocks.
    #[cfg(feature = "shadowsocks")]
    pub(crate) const fn carries_datagrams(&self) -> bool {
        self.speech.is_shadowsocks()
    }

    /// A way for the datagrams of `application`.
    #[cfg(feature = "shadowsocks")]
    pub(crate) async fn associate_encrypted(
        &self,
        application: &TcpStream,
    ) -> Result<Association, RemoteError> {
        let secret = self.secret.clone().ok_or(RemoteError::Login)?;
        let opened = Association::open(secret, &self.server, application).await;
        opened.map_err(|source| RemoteError::Unreachable {
            server: self.server.to_string(),
            source,
        })
    }

    async fn socks5_login(&self, talk: &mut Talk) -> Result<(), RemoteError> {
        let words = [&socks5::GREETING[..], &socks5::password(&self.credentials)?].concat();
        talk.say(&words).await?;
        if talk.hear(socks5::method).await? && talk.hear(socks5::status).await? {
            Ok(())
        } else {
            Err(RemoteError::Login)
        }
    }

    async fn socks5(&self, talk: &mut Talk, target: &Target) -> Result<(), RemoteError> {
        let request = socks5::request(Command::Connect, target)?;
        self.socks5_login(talk).await?;
        talk.say(&request).await?;
        match talk.hear(socks5::reply).await?.code {
            Code::Succeeded => Ok(()),
            code => Err(RemoteError::Target(code)),
        }
    }

    async fn http(&self, talk: &mut Talk, target: &Target) -> Result<(), RemoteError> {
        talk.say(&http::connect(target, &self.credentials)?).await?;
        match talk.hear(http::reply).await? {
            200..300 => Ok(()),
            407 => Err(RemoteError::Login),
            403 => Err(RemoteError::Target(Code::NotAllowed)),
            502 | 504 => Err(RemoteError::Target(Code::HostUnreachable)),
            _ => Err(RemoteError::Target(Code::GeneralFailure)),
        }
    }

    async fn auth(&self, talk: &mut Talk) -> Result<(), RemoteError> {
        let words = auth_target::auth(Operation::Login, &self.credentials)?;
        talk.say(&words).await?;
        match talk.hear(auth_target::reply).await? {
            Reply::LoggedIn => Ok(()),
            _ => Err(RemoteError::Login),
        }
    }

    async fn connect(&self) -> Result<Talk, RemoteError> {
        let (stream, peer) = connect(&self.server, self.tls.as_ref()).await?;
        Ok(Talk::new(stream, peer))
    }
}

/// The keys that a password stands for; none of a dialect.
#[cfg(feature = "shadowsocks")]
fn secret(speech: Speech, password: &[u8]) -> Result<Option<Secret>, RemoteError> {
    use proxy::protocol::shadowsocks::{Key, KeyError, Keys};
    let Speech::Shadowsocks(method) = speech else {
        return Ok(None);
    };
    let keys = match std::str::from_utf8(password) {
        Ok(text) => Keys::parse(method, text).map_err(RemoteError::Key)?,
        Err(_) if method.is_2022() => return Err(RemoteError::Key(KeyError::NotAKey { method })),
        Err(_) => Keys {
            user: Key::from_password(method, password),
            port: None,
        },
    };
    Ok(Some(Secret { method, keys }))
}

type Tls = (TlsConnector, ServerName<'static>);

/// A connection to a server, and where that is.
async fn connect(
    server: &Server,
    tls: Option<&Tls>,
) -> Result<(Box<dyn Duplex>, SocketAddr), RemoteError> {
    let unreachable = |source| RemoteError::Unreachable {
        server: server.to_string(),
        source,
    };
    let socket = TcpStream::connect((server.host.as_str(), server.port))
        .await
        .map_err(unreachable)?;
    socket.set_nodelay(true)?;
    let peer = socket.peer_addr()?;
    match tls {
        None => Ok((Box::new(socket), peer)),
        Some((connector, name)) => {
            let secured = connector.connect(name.clone(), socket).await;
            Ok((Box::new(secured.map_err(unreachable)?), peer))
        }
    }
}

/// A connection to a server that no account is at.
#[cfg(feature = "https-service")]
pub(crate) async fn dial(
    server: &Server,
    tls: bool,
    roots: Option<&Path>,
) -> Result<(Box<dyn Duplex>, SocketAddr), RemoteError> {
    let tls = tls.then(|| connector(server, roots)).transpose()?;
    connect(server, tls.as_ref()).await
}

async fn in_time<T>(work: impl Future<Output = Result<T, RemoteError>>) -> Result<T, RemoteError> {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or(Err(RemoteError::Timeout))
}

/// A connection in its handshake.
pub(crate) struct Talk {
    stream: Box<dyn Duplex>,
    peer: SocketAddr,
    heard: Vec<u8>,
}

impl Talk {
    pub(crate) fn new(stream: Box<dyn Duplex>, peer: SocketAddr) -> Self {
        let heard = Vec::new();
        Self {
            stream,
            peer,
            heard,
        }
    }

    pub(crate) async fn say(&mut self, words: &[u8]) -> io::Result<()> {
        self.stream.write_all(words).await?;
        self.stream.flush().await
    }

    pub(crate) async fn hear<T>(
        &mut self,
        parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    ) -> Result<T, RemoteError> {
        loop {
            if let Some((message, used)) = parser(&self.heard)? {
                self.heard.drain(..used.min(self.heard.len()));
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Err(RemoteError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// TLS that trusts the certificates in `roots`, or those of the system.
fn connector(
    server: &Server,
    roots: Option<&Path>,
) -> Result<(TlsConnector, ServerName<'static>), RemoteError> {
    let fault = |why: String| RemoteError::Roots(why);
    let name =
        ServerName::try_from(server.host.clone()).map_err(|error| fault(error.to_string()))?;
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
            let found = read().map_err(|error| fault(format!("{}: {error}", path.display())))?;
            store.add_parsable_certificates(found);
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
    }
    if store.is_empty() {
        return Err(fault("there is no root certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}
