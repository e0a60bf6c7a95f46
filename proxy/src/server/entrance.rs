//! A socket that listens, and what is served to whom behind it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use ipnet::IpNet;
use tokio::net::TcpSocket;

use crate::config::{Listener, ListenerTls};
use crate::protocol::opening::{Opening, Openings};
use crate::socket;
use crate::tls::Certificates;

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
    pub(super) fn bind(config: Listener, certificates: &Certificates) -> io::Result<Self> {
        let listener = listen(config.address)?;
        Self::new(listener, config, certificates)
    }

    /// A socket that listens already: every dialect.
    pub(super) fn inherit(listener: TcpListener, certificates: &Certificates) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let config = Listener::new(listener.local_addr()?);
        Self::new(listener, config, certificates)
    }

    /// A listener of the HTTPS service: its frames, and HTTP.
    #[cfg(feature = "https-service")]
    pub(super) fn service(
        address: SocketAddr,
        config: &crate::config::HttpsService,
        certificates: &Certificates,
    ) -> io::Result<Self> {
        let listener = Listener {
            dialects: Openings::NONE.with(Opening::Http).with(Opening::HttpsRelay),
            tls: config.tls,
            proxy_protocol_from: config.proxy_protocol_from.clone(),
            ..Listener::new(address)
        };
        Self::bind(listener, certificates)
    }

    fn new(
        listener: TcpListener,
        config: Listener,
        certificates: &Certificates,
    ) -> io::Result<Self> {
        let dialects = config
            .dialects
            .without(Opening::Tls)
            .without(Opening::ProxyV2);
        let outer = match config.tls {
            ListenerTls::Off => dialects,
            ListenerTls::Recognised if !certificates.is_some() => dialects,
            ListenerTls::Recognised => dialects.with(Opening::Tls),
            ListenerTls::Required => Openings::NONE.with(Opening::Tls),
        };
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            rules: Rules {
                outer,
                dialects,
                balancers: config.proxy_protocol_from,
                certificates: certificates.clone(),
            },
        })
    }
}

/// What one listener serves.
#[derive(Debug)]
pub(crate) struct Rules {
    /// What a connection may begin with.
    outer: Openings,
    /// What it may go on with under TLS.
    dialects: Openings,
    balancers: Vec<IpNet>,
    certificates: Certificates,
}

impl Rules {
    /// What a connection from `peer` may begin with.
    pub(crate) fn accepted(&self, peer: IpAddr) -> Openings {
        if self.is_balancer(peer) {
            self.outer.with(Opening::ProxyV2)
        } else {
            self.outer
        }
    }

    /// Whether `peer` may speak for others.
    pub(crate) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.balancers.iter().any(|net| net.contains(&peer))
    }

    /// Whether this is a listener of the HTTPS service.
    #[cfg(feature = "https-service")]
    pub(crate) const fn is_service(&self) -> bool {
        self.dialects.contains(Opening::HttpsRelay)
    }

    /// What may be said under TLS.
    pub(crate) const fn under_tls(&self) -> Openings {
        self.dialects
    }

    pub(crate) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }
}

/// A socket that listens at `address`, prepared for all of its clients.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // For all of its clients at once.
    socket::prepare(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
