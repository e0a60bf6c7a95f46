//! Connecting to one of several addresses, the quickest to answer (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::socket;

/// How long an address is tried alone before the next is tried beside it
/// (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers.
///
/// # Errors
/// The last failure and whose it was.
pub(super) async fn any(
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    if let &[address] = addresses {
        return one(address).await;
    }
    let mut untried = alternating(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = (
        SocketAddr::from(([0, 0, 0, 0], 0)),
        io::ErrorKind::NotFound.into(),
    );
    loop {
        if let Some(address) = untried.next() {
            attempts.spawn(one(address));
        }
        let next = attempts.join_next();
        let ended = if untried.len() > 0 {
            match tokio::time::timeout(HEAD_START, next).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            next.await
        };
        match ended {
            Some(Ok(Ok(connected))) => return Ok(connected),
            Some(Ok(Err(failed))) => failure = failed,
            Some(Err(lost)) => failure.1 = io::Error::other(lost),
            None if untried.len() == 0 => return Err(failure),
            None => {}
        }
    }
}

async fn one(address: SocketAddr) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    match connect(address).await {
        Ok(stream) => Ok((stream, address)),
        Err(error) => Err((address, error)),
    }
}

/// No bind before the connect: the kernel can then use one local port for many targets.
///
/// Nor a receive buffer of our own, not even for a slow user: one that is small before the
/// connect leaves the connection without window scaling for good, whatever the rate becomes,
/// and one that is made small later drops what the peer was told it may send.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket::prepare(&socket)?;
    socket.connect(address).await
}

/// The families by turns, the resolver's first choice first (RFC 8305, section 4).
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first);
    let mut turns = Vec::with_capacity(addresses.len());
    let mut other = other.into_iter();
    for address in preferred {
        turns.push(address);
        turns.extend(other.next());
    }
    turns.extend(other);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let order = |addresses: &[&str]| {
            let addresses: Vec<_> = addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            alternating(&addresses)
                .iter()
                .map(SocketAddr::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "1.0.0.1:1", "1.0.0.2:1", "1.0.0.3:1"]),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "1.0.0.3:1"]
        );
        assert_eq!(
            order(&["1.0.0.1:1", "1.0.0.2:1"]),
            ["1.0.0.1:1", "1.0.0.2:1"]
        );
        assert_eq!(order(&[]), [""; 0]);
    }

    #[tokio::test]
    async fn one_that_refuses_does_not_hide_one_that_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = {
            let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            unused.local_addr().unwrap()
        };
        let (_, connected) = any(&[closed, there, closed]).await.unwrap();
        assert_eq!(connected, there);
        let (_, error) = any(&[closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(any(&[]).await.is_err());
    }

    /// RFC 8305: the next address is tried beside one that says nothing.
    #[tokio::test]
    async fn one_that_is_silent_does_not_hide_one_that_answers() {
        let full = TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Room for one whom nobody accepts; whoever comes then gets no answer.
        let full = full.listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        let _first = TcpStream::connect(silent).await.unwrap();
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = open.local_addr().unwrap();
        let (_, connected) = any(&[silent, there]).await.unwrap();
        assert_eq!(connected, there);
    }
}
