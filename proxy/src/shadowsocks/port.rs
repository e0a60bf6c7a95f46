//! One port: its users, and the sockets that listen for them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::roster::{Members, Roster};
use super::{Front, tcp, udp};
use crate::server::{Shared, Workers, accept, listen};

/// A port that is served.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) members: Members,
    /// It is not served any longer.
    pub(super) closed: CancellationToken,
}

/// The sockets of a port.
#[derive(Debug)]
pub(super) struct Sockets {
    listener: TcpListener,
    datagrams: UdpSocket,
}

/// What clients come into.
#[derive(Clone, Debug)]
pub(crate) struct Venue {
    /// The settings of the moment.
    pub(crate) current: watch::Receiver<Arc<Shared>>,
    /// Nothing new is begun.
    pub(crate) stopping: CancellationToken,
    /// Every session.
    pub(crate) sessions: TaskTracker,
    /// Who serves.
    pub(crate) workers: Workers,
}

impl Port {
    /// Listens for `roster` at `address`.
    pub(super) async fn bind(
        address: SocketAddr,
        roster: Roster,
    ) -> std::io::Result<(Arc<Self>, Sockets)> {
        let sockets = Sockets {
            listener: listen(address)?,
            datagrams: UdpSocket::bind(address).await?,
        };
        let port = Self {
            number: address.port(),
            members: Members::new(roster),
            closed: CancellationToken::new(),
        };
        Ok((Arc::new(port), sockets))
    }

    /// Serves until the port is closed or the server stops.
    pub(super) fn serve(self: Arc<Self>, sockets: Sockets, front: Arc<Front>, venue: Venue) {
        let over = venue.stopping.child_token();
        let (closed, ended) = (self.closed.clone(), over.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => ended.cancel(),
                () = ended.cancelled() => {}
            }
        });
        let Sockets {
            listener,
            datagrams,
        } = sockets;
        let (port, of, at) = (Arc::clone(&self), Arc::clone(&front), venue.clone());
        let admit = move |client, source| admit(client, source, &port, &of, &at);
        let workers = &venue.workers;
        workers
            .runtime(usize::from(self.number))
            .spawn(accept(listener, over.clone(), admit));
        tokio::spawn(udp::serve(datagrams, self, front, venue, over));
    }
}

/// Serves a client, or closes it at once if there are too many.
fn admit(
    client: TcpStream,
    source: SocketAddr,
    port: &Arc<Port>,
    front: &Arc<Front>,
    venue: &Venue,
) {
    let shared = Arc::clone(&venue.current.borrow());
    let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() else {
        tracing::warn!(%source, "refused: too many connections");
        return;
    };
    front.counters.connected();
    let (here, sessions) = (usize::from(port.number), &venue.sessions);
    let (port, front) = (Arc::clone(port), Arc::clone(front));
    let place = shared.handshakes.enter();
    let serve = move |client| async move {
        let _permit = permit;
        tcp::serve(client, source, port, front, place, shared).await;
    };
    venue.workers.serve(here, sessions, client, serve);
}
