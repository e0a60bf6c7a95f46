//! A socket that listens, and what is served to whom behind it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::Listener;
use crate::protocol::opening::{Opening, Openings};

/// Clients that the kernel completes before we accept them.
const BACKLOG: u32 = 4_096;

/// One listener.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) listener: TcpListener,
    /// The real one, if the config's had port 0.
    pub(super) address: SocketAddr,
    pub(super) rules: Rules,
}

impl Entrance {
    pub(super) fn bind(config: Listener) -> io::Result<Self> {
        let listener = listen(config.address)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            rules: Rules {
                dialects: config
                    .dialects
                    .without(Opening::Tls)
                    .without(Opening::ProxyV2),
                balancers: config.proxy_protocol_from,
            },
        })
    }
}

/// What one listener serves.
#[derive(Debug)]
pub(crate) struct Rules {
    dialects: Openings,
    balancers: Vec<IpNet>,
}

impl Rules {
    /// What a connection from `peer` may begin with.
    pub(crate) fn accepted(&self, peer: IpAddr) -> Openings {
        if self.balancers.iter().any(|net| net.contains(&peer)) {
            self.dialects.with(Opening::ProxyV2)
        } else {
            self.dialects
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
