//! Sockets of the operator's side, and HTTP on them, bounded.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Way;
use crate::config::{AdminAddress, AdminError};
use crate::tls::Certificates;

/// Connections at once, on each socket; more of them wait.
const MOST_CONNECTIONS: usize = 256;
/// The largest head of a request, and how many fields it may have.
const MAX_HEAD: usize = 32 * 1024;
const MAX_FIELDS: usize = 64;
/// From the first moment of a connection, or the last answer, to a whole head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const BACKLOG: i32 = 128;
/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(100);

/// One socket that listens.
#[derive(Debug)]
pub(super) enum Door {
    Socket(UnixListener, Remains),
    Tcp(TcpListener, SocketAddr),
}

/// The file of a socket, which is removed with this.
#[derive(Debug)]
pub(super) struct Remains(PathBuf);

impl Door {
    /// Listens; `None` where that cannot be and need not.
    ///
    /// # Errors
    /// [`AdminError::Listen`]
    pub(super) async fn open(address: &AdminAddress) -> Result<Option<Self>, AdminError> {
        let failed = |source| AdminError::Listen {
            address: address.clone(),
            source,
        };
        match address {
            AdminAddress::Tcp(tcp) => {
                let listener = TcpListener::bind(tcp).await.map_err(failed)?;
                let tcp = listener.local_addr().map_err(failed)?;
                Ok(Some(Self::Tcp(listener, tcp)))
            }
            AdminAddress::Socket { path, optional } => match listen(path).await {
                Ok(listener) => Ok(Some(Self::Socket(listener, Remains(path.clone())))),
                Err(error) if *optional => {
                    tracing::warn!(path = %path.display(), %error, "no admin API: its socket cannot be opened");
                    Ok(None)
                }
                Err(error) => Err(failed(error)),
            },
        }
    }

    pub(super) fn address(&self) -> AdminAddress {
        match self {
            Self::Socket(_, Remains(path)) => AdminAddress::Socket {
                path: path.clone(),
                optional: false,
            },
            Self::Tcp(_, address) => AdminAddress::Tcp(*address),
        }
    }

    /// Serves until told to stop.
    pub(super) async fn serve(
        self,
        router: Router,
        certificates: Certificates,
        stop: CancellationToken,
    ) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let next = async {
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, self.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => return,
                next = next => next,
            };
            let client = match accepted {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(%error, "the admin API cannot accept a client");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, certificates) = (router.clone(), certificates.clone());
            let stop = stop.clone();
            tokio::spawn(async move {
                let _place = place;
                client.serve(router, &certificates, stop).await;
            });
        }
    }

    async fn accept(&self) -> io::Result<Client> {
        match self {
            Self::Socket(listener, _) => Ok(Client::Socket(listener.accept().await?.0)),
            Self::Tcp(listener, _) => {
                let (stream, source) = listener.accept().await?;
                Ok(Client::Tcp(stream, source))
            }
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Whether it is still there matters to nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A client that has connected.
enum Client {
    Socket(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

impl Client {
    async fn serve(self, router: Router, certificates: &Certificates, stop: CancellationToken) {
        match self {
            Self::Socket(stream) => {
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                http(stream, Way::Socket { uid }, router, stop).await;
            }
            Self::Tcp(stream, source) if certificates.is_some() => {
                let accepted = certificates.accept(stream, Vec::new());
                match tokio::time::timeout(HEAD_TIMEOUT, accepted).await {
                    Ok(Ok(stream)) => http(stream, Way::Tls { source }, router, stop).await,
                    Ok(Err(error)) => tracing::debug!(%source, %error, "no TLS with the admin API"),
                    Err(_) => tracing::debug!(%source, "no TLS with the admin API in time"),
                }
            }
            Self::Tcp(stream, source) => http(stream, Way::Tcp { source }, router, stop).await,
        }
    }
}

async fn http<S>(stream: S, way: Way, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let routes = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(way);
        routes.call(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Streams of events would never end.
            let rest = tokio::time::timeout(PAUSE, connection).await;
            rest.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, ?way, "a client of the admin API went away");
    }
}

/// A socket that only our own user can open, also in the moment when it is made.
async fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    remove_stale(path).await?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Removes the socket of a server that is gone.
async fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name, and it is no socket",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another server listens there",
        )),
        // Nobody listens there any more. Any other error is one of a server that lives.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}
