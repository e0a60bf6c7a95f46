//! From the request on: the target is dialled, the client answered, bytes relayed.

use std::fmt;

use tokio::net::TcpStream;

use super::inbox::Inbox;
use super::turn::{Instance, Turn};
use super::{Log, Opened, Peer, SessionError, answer, dial, ended, patience, refuse, turn};
use crate::relay::{self, Ending, Lanes, Side as _};
use crate::server::Shared;
use crate::users::ConnectionCount;

/// Serves a tunnel to its end.
pub(super) async fn serve(mut inbox: Inbox, shared: &Shared, peer: &Peer, opened: &Opened) {
    let log = Log::new(shared, peer, opened);
    // Boxed what is over when bytes are relayed: a tunnel carries no memory of it.
    let reached = Box::pin(reach(&mut inbox, shared, peer, &log));
    // The tunnel counts as a connection of its user's, and at its instance, to its end.
    let (target, _instance, _connection) = match reached.await {
        Ok(target) => target,
        Err(error @ (SessionError::Revoked(_) | SessionError::Killed | SessionError::Stopping)) => {
            return log.refused(&error);
        }
        Err(error) => return Box::pin(refuse(inbox, &log, &error)).await,
    };
    let mut lanes = log.lanes();
    match connected(inbox, target, shared, &log, &mut lanes).await {
        Ok(reason) => {
            if let Reason::Cut(error) = &reason {
                log.failed(error);
            }
            turn::moved(peer, opened, &lanes);
            log.closed(&lanes, Some(200), &reason);
        }
        Err(error) => log.refused(&error),
    }
}

/// Connects to the target in its turn.
async fn reach(
    inbox: &mut Inbox,
    shared: &Shared,
    peer: &Peer,
    log: &Log<'_>,
) -> Result<(TcpStream, Instance, ConnectionCount), SessionError> {
    let opened = log.opened;
    let mut turn = Turn::begin(peer, opened);
    let reached = async {
        let most = shared.caps.connections_per_user;
        let connection = opened.user.connection(most, peer.source.ip())?;
        turn.wait(inbox).await?;
        log.has_worker();
        let instance = Instance::of(peer, opened)?;
        let dialled = turn.run(dial(shared, log, &instance)).await;
        let target = dialled.unwrap_or(Err(SessionError::Slow))?;
        Ok((target, instance, connection))
    };
    let reached = reached.await;
    match &reached {
        Ok(_) => turn.served(),
        Err(error) => turn.refused(error),
    }
    reached
}

async fn connected(
    mut inbox: Inbox,
    mut target: TcpStream,
    shared: &Shared,
    log: &Log<'_>,
    lanes: &mut Lanes,
) -> Result<Reason, SessionError> {
    let (bound, opened) = (target.local_addr()?, log.opened);
    inbox.write(&answer::connected(opened, bound)).await?;
    let (mut client, early) = inbox.into_parts()?;
    let patience = patience(shared);
    let reason = tokio::select! {
        // First: what has ended moves nothing more.
        biased;
        error = ended(log.session(), &opened.user) => Reason::Cut(error),
        ending = relay::relay(&mut client, &mut target, &early, lanes, patience) => Reason::Ending(ending),
    };
    if let Reason::Cut(_) = reason {
        relay::reset([client.tcp(), &target]);
    }
    Ok(reason)
}

/// How a relay ended: by itself or by us.
enum Reason {
    Ending(Ending),
    Cut(SessionError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending(ending) => ending.fmt(f),
            Self::Cut(error) => error.fmt(f),
        }
    }
}
