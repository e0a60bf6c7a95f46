//! `ss-local` of shadowsocks-libev, where it is installed: SOCKS5 in front of it,
//! TCP and UDP. `WEIRGATE_REQUIRE_SS_LOCAL` has its absence fail,
//! `WEIRGATE_SS_MEGABYTES` says how much is moved by TCP (100 for a full run).

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::client::*;
use crate::support::{echo, in_time, read_exact, socks5_connect};

struct SsLocal {
    child: Child,
    port: u16,
}

impl SsLocal {
    /// `None` if there is no such program.
    async fn start(access: &proxy::users::Access) -> Option<Self> {
        let port = free_port();
        let child = Command::new("ss-local")
            .args(["-s", "127.0.0.1", "-b", "127.0.0.1", "-u", "-t", "30"])
            .args(["-p", &access.port.to_string(), "-l", &port.to_string()])
            .args(["-k", &access.password, "-m", access.method.name()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            let required = std::env::var_os("WEIRGATE_REQUIRE_SS_LOCAL").is_some();
            assert!(!required, "ss-local is not installed");
            return None;
        };
        open(port).await;
        Some(Self { child, port })
    }

    async fn socks5(&self, request: &[u8]) -> (TcpStream, SocketAddr) {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
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
}

impl Drop for SsLocal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A byte that its place says.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

/// Sends so many bytes and compares what comes back with them.
async fn comes_back(client: TcpStream, bytes: usize) {
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

fn megabytes() -> usize {
    let said = std::env::var("WEIRGATE_SS_MEGABYTES").ok();
    said.map_or(4, |said| said.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn ss_local_carries_tcp_and_udp() {
    let proxy = start().await;
    let target = echo().await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = datagrams.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 2_048];
        while let Ok((len, from)) = datagrams.recv_from(&mut bytes).await {
            let _ = datagrams.send_to(&bytes[..len], from).await;
        }
    });
    for (number, method) in [
        (1, Method::Aes128Gcm),
        (2, Method::Aes256Gcm),
        (3, Method::Chacha20IetfPoly1305),
    ] {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let Some(local) = SsLocal::start(&access).await else {
            return;
        };
        let (client, _) = local.socks5(&socks5_connect(target)).await;
        let bytes = megabytes() * 1_000_000;
        comes_back(client, bytes).await;
        used(&proxy, &name, u64::try_from(bytes).unwrap()).await;

        let (_control, relay) = local.socks5(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut header = vec![0, 0, 0, 1, 127, 0, 0, 1];
        header.extend(to.port().to_be_bytes());
        for round in 0..200 {
            let data: Vec<u8> = (round..round + 1_000).map(byte).collect();
            let sent = [&header[..], &data].concat();
            socket.send_to(&sent, relay).await.unwrap();
            let mut heard = vec![0; 2_048];
            let len = in_time(socket.recv(&mut heard)).await.unwrap();
            assert!(
                heard[..len] == sent,
                "{method} {round}: another datagram came back"
            );
        }
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crates_client_carries_as_much() {
    let proxy = start().await;
    let target = echo().await;
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let bytes = megabytes() * 1_000_000;
        let mut stream = connect(&access, target).await;
        echoes(&mut stream, b"x").await;
        let (mut source, mut sink) = tokio::io::split(stream);
        let sending = tokio::spawn(async move {
            for from in (0..bytes).step_by(50_000) {
                let block: Vec<u8> = (from..from + 50_000).map(byte).collect();
                sink.write_all(&block).await.unwrap();
            }
            sink
        });
        let mut block = vec![0; 50_000];
        for from in (0..bytes).step_by(50_000) {
            in_time(source.read_exact(&mut block)).await.unwrap();
            let same = block
                .iter()
                .enumerate()
                .all(|(at, &got)| got == byte(from + at));
            assert!(same, "{method}: other bytes after {from}");
        }
        drop(sending.await.unwrap());
        used(&proxy, &name, u64::try_from(bytes + 1).unwrap()).await;
    }
    proxy.stop().await;
}
