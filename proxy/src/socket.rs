//! What every TCP socket of the proxy is set to.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence after which the other end is asked whether it is still there, and
/// how often then.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(20));

/// No delay: pieces leave when they are written, and a limiter makes small ones.
/// Keep-alive: a peer that vanished does not hold its connection for ever. What is
/// accepted from a listener that was prepared is prepared, on Linux.
pub(crate) fn prepare(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}
