//! Much through the local half of another implementation, by SOCKS5, there and back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::support::{in_time, read_exact};

/// Datagrams under way.
const WINDOW: usize = 8;

/// How much is moved: `WEIRGATE_SS_MEGABYTES`, 100 for a full run.
pub(crate) fn megabytes() -> usize {
    let said = std::env::var("WEIRGATE_SS_MEGABYTES").ok();
    said.map_or(4, |said| said.parse().unwrap())
}

/// A byte that its place says.
pub(crate) fn byte(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

/// Asks a local half at `port`: the connection, and the address in its reply.
pub(crate) async fn socks5(port: u16, request: &[u8]) -> (TcpStream, SocketAddr) {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(read_exact(&mut client, 2).await, [5, 0]);
    client.write_all(request).await.unwrap();
    let reply = read_exact(&mut client, 10).await;
    assert_eq!(reply[..4], [5, 0, 0, 1]);
    let ip: [u8; 4] = reply[4..8].try_into().unwrap();
    (
        client,
        SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]]))),
    )
}

/// Sends so many bytes and compares what comes back with them.
pub(crate) async fn comes_back(client: TcpStream, bytes: usize) {
    let (mut source, mut sink) = client.into_split();
    let sending = tokio::spawn(async move {
        let mut at = 0;
        while at < bytes {
            let len = (bytes - at).min(64 * 1_024);
            let block: Vec<u8> = (at..at + len).map(byte).collect();
            sink.write_all(&block).await.unwrap();
            at += len;
        }
        // Not shut down before everything is back: ss-local ends both directions then.
        sink
    });
    let mut heard = 0;
    let mut block = vec![0; 64 * 1_024];
    while heard < bytes {
        let len = in_time(source.read(&mut block)).await.unwrap();
        assert!(len > 0, "the end after {heard}");
        let same = block[..len]
            .iter()
            .enumerate()
            .all(|(at, &got)| got == byte(heard + at));
        assert!(same, "other bytes after {heard}");
        heard += len;
    }
    assert_eq!(heard, bytes);
    drop(sending.await.unwrap());
}

/// Sends back every datagram.
pub(crate) async fn datagram_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..len], from).await;
        }
    });
    address
}

/// Sends so many bytes in datagrams of `size` by a local half at `port` to an echo at
/// `to`, until each has come back with its own bytes; what is lost is sent again.
pub(crate) async fn datagrams_come_back(port: u16, to: SocketAddr, size: usize, bytes: usize) {
    let (_control, relay) = socks5(port, &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut header = vec![0, 0, 0, 1, 127, 0, 0, 1];
    header.extend(to.port().to_be_bytes());
    let datagram = |number: usize| {
        let mut sent = header.clone();
        sent.extend(u64::try_from(number).unwrap().to_be_bytes());
        sent.extend((number * size + 8..(number + 1) * size).map(byte));
        sent
    };
    let all = bytes.div_ceil(size);
    let mut heard = vec![0; 65_535];
    for first in (0..all).step_by(WINDOW) {
        let mut missing: Vec<usize> = (first..all.min(first + WINDOW)).collect();
        let back = async {
            while !missing.is_empty() {
                for &number in &missing {
                    socket.send_to(&datagram(number), relay).await.unwrap();
                }
                let patience = Duration::from_millis(500);
                while let Ok(Ok(len)) =
                    tokio::time::timeout(patience, socket.recv(&mut heard)).await
                {
                    let number = heard[header.len()..].first_chunk().unwrap();
                    let number = usize::try_from(u64::from_be_bytes(*number)).unwrap();
                    assert!(heard[..len] == datagram(number), "{number} is another one");
                    missing.retain(|&other| other != number);
                    if missing.is_empty() {
                        break;
                    }
                }
            }
        };
        in_time(back).await;
    }
}
