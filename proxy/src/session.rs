//! One client from its first byte to its last: recognise, authenticate,
//! connect, relay.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::egress::EgressError;
use crate::protocol::{Dialect, Target, WireError, line, socks5};
use crate::relay::{self, Ending, Lane, Lanes};
use crate::server::Shared;
use crate::users::{Authenticated, Direction, LoginError, Revocation, TooMany};

mod handshake;
mod inbox;

use inbox::Inbox;

/// After a refusal: how long, and how much, a client may go on talking before
/// it is cut off. A socket closed with bytes unread would reset the connection
/// and take the answer with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// Why a session ended before it relayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The client broke its protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client does not offer a password.
    #[error("the client offers no username/password authentication")]
    NoPassword,
    /// The client is not who it says.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The user has as many connections, or addresses, as one may have.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The target was not reached.
    #[error("{}", chain(.0))]
    Egress(#[from] EgressError),
    /// The request was not there in time.
    #[error("no whole request in time")]
    Timeout,
    /// Others needed the place of this handshake.
    #[error("too many handshakes at once")]
    Evicted,
    /// The client went away.
    #[error("the client went away: {0}")]
    Client(#[from] io::Error),
    /// The user was disabled, deleted or given another password, or is beyond
    /// quota or expiry.
    #[error(transparent)]
    Revoked(#[from] Revocation),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

/// A client that has proved who it is and said where it wants to go.
#[derive(Debug)]
struct Opened {
    dialect: Dialect,
    user: Authenticated,
    target: Target,
}

/// Serves one client. Whatever happens is logged here and ends here.
pub(crate) async fn serve(client: TcpStream, source: SocketAddr, shared: Arc<Shared>) {
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    let id = shared.next_id();
    let mut inbox = Inbox::new(client);
    match open(&mut inbox, &shared, source.ip()).await {
        Ok(opened) => {
            let log = Log {
                id,
                source,
                opened: &opened,
                since: Instant::now(),
            };
            if let Err(error) = connected(inbox, &shared, &log).await {
                log.refused(&error);
            }
        }
        Err(error) => {
            tracing::info!(id, %source, reason = %error, "refused");
            if !matches!(
                error,
                SessionError::Timeout | SessionError::Evicted | SessionError::Client(_)
            ) {
                linger(inbox.into_client()).await;
            }
        }
    }
}

/// Everything up to the whole request, within one deadline.
async fn open(inbox: &mut Inbox, shared: &Shared, source: IpAddr) -> Result<Opened, SessionError> {
    let place = shared.handshakes.enter();
    tokio::select! {
        opened = handshake::run(inbox, &shared.users, source) => opened,
        () = tokio::time::sleep(shared.timeouts.handshake) => Err(SessionError::Timeout),
        () = place.evicted() => Err(SessionError::Evicted),
        () = shared.stopping.cancelled() => Err(SessionError::Stopping),
    }
}

/// From the request on: the target is dialled, the client answered, bytes relayed.
async fn connected(mut inbox: Inbox, shared: &Shared, log: &Log<'_>) -> Result<(), SessionError> {
    let Opened {
        dialect,
        user,
        target,
    } = log.opened;
    let _connection = match user.connection(shared.caps.connections_per_user, log.source.ip()) {
        Ok(connection) => connection,
        Err(too_many) => {
            refuse(inbox, *dialect, socks5::Code::NotAllowed).await;
            return Err(too_many.into());
        }
    };
    let dialled = tokio::select! {
        dialled = shared.egress.connect(user, target) => dialled,
        why = user.revoked() => return Err(why.into()),
        () = shared.cut.cancelled() => return Err(SessionError::Stopping),
    };
    let mut stream = match dialled {
        Ok(stream) => stream,
        Err(error) => {
            refuse(inbox, *dialect, code(&error)).await;
            return Err(error.into());
        }
    };
    let bound = stream.local_addr()?;
    inbox.write(&accepted(*dialect, bound)).await?;
    let (mut client, early) = inbox.into_parts();
    let mut lanes = Lanes {
        up: Lane::new(user, Direction::Up),
        down: Lane::new(user, Direction::Down),
    };
    let patience = relay::Patience {
        open: shared.timeouts.idle,
        half_closed: shared.timeouts.half_closed,
    };
    let reason: Reason = tokio::select! {
        ending = relay::relay(&mut client, &mut stream, &early, &mut lanes, patience) => ending.into(),
        why = user.revoked() => SessionError::from(why).into(),
        () = shared.cut.cancelled() => SessionError::Stopping.into(),
    };
    if let Reason::Cut(_) = reason {
        relay::reset([&client, &stream]);
    }
    log.closed(&lanes, &reason);
    Ok(())
}

/// The answer that says "connected"; `bound` is our address towards the target.
fn accepted(dialect: Dialect, bound: SocketAddr) -> Vec<u8> {
    match dialect {
        Dialect::Socks5 => socks5::reply(socks5::Code::Succeeded, bound),
        Dialect::Line => line::reply(bound),
    }
}

/// Says no in the client's own dialect, where that has a word for it.
async fn refuse(mut inbox: Inbox, dialect: Dialect, code: socks5::Code) {
    let said = match dialect {
        Dialect::Socks5 => inbox.write(&socks5::reply(code, socks5::UNBOUND)).await,
        Dialect::Line => Ok(()),
    };
    if said.is_ok() {
        linger(inbox.into_client()).await;
    }
}

/// What SOCKS5 calls a failure to reach a target.
fn code(error: &EgressError) -> socks5::Code {
    match error {
        EgressError::Denied { .. } => socks5::Code::NotAllowed,
        EgressError::Resolve { .. } | EgressError::Timeout { .. } => socks5::Code::HostUnreachable,
        EgressError::Connect { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused => socks5::Code::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable => socks5::Code::NetworkUnreachable,
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => {
                socks5::Code::HostUnreachable
            }
            _ => socks5::Code::GeneralFailure,
        },
    }
}

/// Lets the client read what it was told: says that this was all, and takes
/// what it still sends.
async fn linger(mut client: TcpStream) {
    let drained = async {
        client.shutdown().await?;
        let mut rest = client.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, drained).await {
        tracing::trace!(%error, "a refused client went away");
    }
}

/// How a relay ended: by itself or by us.
enum Reason {
    Ending(Ending),
    Cut(SessionError),
}

impl From<Ending> for Reason {
    fn from(ending: Ending) -> Self {
        Self::Ending(ending)
    }
}

impl From<SessionError> for Reason {
    fn from(error: SessionError) -> Self {
        Self::Cut(error)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending(ending) => ending.fmt(f),
            Self::Cut(error) => error.fmt(f),
        }
    }
}

/// One event for each client that got as far as a request.
struct Log<'a> {
    id: u64,
    source: SocketAddr,
    opened: &'a Opened,
    since: Instant,
}

impl Log<'_> {
    fn refused(&self, error: &SessionError) {
        let Opened {
            dialect,
            user,
            target,
        } = self.opened;
        tracing::info!(
            id = self.id, user = user.name(), protocol = %dialect, source = %self.source,
            ?target, reason = %error, "refused"
        );
    }

    fn closed(&self, lanes: &Lanes, reason: &Reason) {
        let Opened {
            dialect,
            user,
            target,
        } = self.opened;
        tracing::info!(
            id = self.id, user = user.name(), protocol = %dialect, source = %self.source, ?target,
            upload_bytes = lanes.up.moved(), download_bytes = lanes.down.moved(),
            seconds = self.since.elapsed().as_secs_f64(), %reason, "closed"
        );
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
