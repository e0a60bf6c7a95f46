//! The side of an association that faces targets: a socket for each family of
//! addresses, every address judged, names looked up aside, and answers from where
//! something was sent alone.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::receive;
use super::table::Table;
use crate::protocol::{Host, Target};
use crate::relay::{Ending, Purse};
use crate::server::Shared;
use crate::users::Authenticated;

/// Names that are being looked up at once; a datagram to one more is dropped.
const MOST_LOOKUPS: usize = 16;

/// Towards targets, on behalf of a user.
pub(crate) struct Outer {
    shared: Arc<Shared>,
    user: Authenticated,
    /// IPv4, IPv6: a host may lack one of them.
    sockets: [Option<UdpSocket>; 2],
    table: Mutex<Table>,
}

/// Datagrams that wait for the address of a name; dropped, they are.
#[derive(Default)]
pub(crate) struct LookUps(JoinSet<(Target, Option<SocketAddr>, Vec<u8>)>);

impl Outer {
    pub(crate) async fn open(shared: &Arc<Shared>, user: &Authenticated) -> Self {
        let bind = |ip: IpAddr| UdpSocket::bind(SocketAddr::new(ip, 0));
        Self {
            shared: Arc::clone(shared),
            user: user.clone(),
            sockets: [
                bind(Ipv4Addr::UNSPECIFIED.into()).await.ok(),
                bind(Ipv6Addr::UNSPECIFIED.into()).await.ok(),
            ],
            table: Mutex::default(),
        }
    }

    /// Where a datagram to `target` may go now. If a name must be looked up first,
    /// [`Outer::found`] has it later.
    pub(crate) fn route(
        &self,
        target: Target,
        data: &[u8],
        lookups: &mut LookUps,
    ) -> Option<SocketAddr> {
        let address = match &target.host {
            Host::Address(ip) => SocketAddr::new(ip.to_canonical(), target.port),
            Host::Name(_) => match self.table.lock().known(&target) {
                Some(address) => address,
                None => {
                    if lookups.0.len() < MOST_LOOKUPS {
                        lookups.0.spawn(self.look_up(target, data.to_vec()));
                    }
                    return None;
                }
            },
        };
        // A name that was found before is judged again, too: rules may have changed.
        let judged = self.shared.egress.judge(&self.user, address);
        judged.ok().map(|()| address)
    }

    /// The next datagram whose name has an address that it may go to; those without
    /// are dropped. Never, if none waits. Nothing is lost if it is not waited for.
    pub(crate) async fn found(&self, lookups: &mut LookUps) -> (Vec<u8>, SocketAddr) {
        loop {
            match lookups.0.join_next().await {
                Some(Ok((target, Some(address), data))) => {
                    self.table.lock().remember(target, address);
                    return (data, address);
                }
                Some(_) => {}
                None => pending().await,
            }
        }
    }

    fn look_up(
        &self,
        target: Target,
        data: Vec<u8>,
    ) -> impl Future<Output = (Target, Option<SocketAddr>, Vec<u8>)> + Send + 'static {
        let (shared, user) = (Arc::clone(&self.shared), self.user.clone());
        let families = self.sockets.each_ref().map(Option::is_some);
        async move {
            let found = shared.egress.addresses(&user, &target).await;
            let usable = |address: &SocketAddr| families[usize::from(address.is_ipv6())];
            let first = found.ok().and_then(|found| found.into_iter().find(usable));
            (target, first, data)
        }
    }

    /// Sends `data` to a judged address if the budget lets it; says whether it was sent.
    pub(crate) async fn send(
        &self,
        data: &[u8],
        address: SocketAddr,
        purse: &mut Purse<'_>,
    ) -> Result<bool, Ending> {
        let Some(socket) = &self.sockets[usize::from(address.is_ipv6())] else {
            return Ok(false);
        };
        if !purse.pay(data.len()).await? {
            return Ok(false);
        }
        self.table.lock().sent_to(address);
        let sent = socket.send_to(data, address).await.is_ok();
        if sent {
            purse.count(data.len());
        } else {
            // No route, or too large for it: lost, as on the way.
            purse.keep(data.len());
        }
        Ok(sent)
    }

    /// The next datagram from where something was sent to, and where that is.
    pub(crate) async fn receive(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        let [v4, v6] = &self.sockets;
        loop {
            let (data, from) = tokio::select! {
                received = receive::from_if(v4.as_ref()) => received?,
                received = receive::from_if(v6.as_ref()) => received?,
            };
            let from = SocketAddr::new(from.ip().to_canonical(), from.port());
            if self.table.lock().is_peer(from) {
                return Ok((data, from));
            }
        }
    }
}
