//! From the request on: the target is dialled, the client answered, bytes relayed.

use std::fmt;

use super::inbox::Inbox;
use super::turn::{Instance, Turn};
use super::{Log, Opened, Peer, SessionError, answer, dial, ended, patience, refuse};
use crate::relay::{self, Ending, Lanes, Side as _};
use crate::server::Shared;

/// Serves a tunnel to its end.
pub(super) async fn serve(inbox: Inbox, shared: &Shared, peer: &Peer, opened: &Opened) {
    let log = Log::new(shared, peer, opened);
    let most = shared.caps.connections_per_user;
    let _connection = match opened.user.connection(most, peer.source.ip()) {
        Ok(connection) => connection,
        Err(too_many) => {
            return Box::pin(refuse(inbox, &log, &too_many.into())).await;
        }
    };
    // Boxed what is over when bytes are relayed: a tunnel carries no memory of it.
    let dialled = Box::pin(async {
        let mut turn = Turn::take(peer).await?;
        let dialled = async {
            let instance = Instance::of(peer, opened)?;
            let dialled = turn.run(dial(shared, &log, &instance)).await;
            Ok((dialled.unwrap_or(Err(SessionError::Slow))?, instance))
        };
        let dialled = dialled.await;
        if dialled.is_err() {
            turn.failed();
        }
        dialled
    });
    // The tunnel counts at its instance to its end.
    let (target, _instance) = match dialled.await {
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
            log.closed(&lanes, &reason);
        }
        Err(error) => log.refused(&error),
    }
}

async fn connected(
    mut inbox: Inbox,
    mut target: tokio::net::TcpStream,
    shared: &Shared,
    log: &Log<'_>,
    lanes: &mut Lanes,
) -> Result<Reason, SessionError> {
    let (bound, opened) = (target.local_addr()?, log.opened);
    inbox.write(&answer::connected(opened, bound)).await?;
    let (mut client, early) = inbox.into_parts()?;
    let patience = patience(shared);
    let reason = tokio::select! {
        ending = relay::relay(&mut client, &mut target, &early, lanes, patience) => Reason::Ending(ending),
        error = ended(log.session(), &opened.user) => Reason::Cut(error),
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
