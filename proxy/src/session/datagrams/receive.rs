//! Receiving datagrams of any length without a buffer of that length for each
//! association.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// The longest datagram there is.
const LONGEST: usize = 65_535;

thread_local! {
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into_boxed_slice());
}

/// The next datagram and where it came from.
pub(crate) async fn from(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    loop {
        socket.readable().await?;
        let received: io::Result<_> = ROOM.with_borrow_mut(|room| {
            let (len, from) = socket.try_recv_from(room)?;
            Ok((room.get(..len).unwrap_or_default().to_vec(), from))
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An answer of the network to something that was sent: nobody's to hear.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            received => return received,
        }
        tokio::task::consume_budget().await;
    }
}

/// As [`from`]; from no socket, never.
pub(crate) async fn from_if(socket: Option<&UdpSocket>) -> io::Result<(Vec<u8>, SocketAddr)> {
    match socket {
        Some(socket) => from(socket).await,
        None => std::future::pending().await,
    }
}
