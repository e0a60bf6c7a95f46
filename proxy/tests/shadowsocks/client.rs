//! A proxy with shadowsocks ports, and the crate's client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use proxy::config::Shadowsocks;
use proxy::protocol::shadowsocks::Method;
use proxy::users::Access;
use proxy::{Config, Limits};
use shadowsocks::config::{ServerConfig, ServerType};
use shadowsocks::context::Context;
use shadowsocks::crypto::CipherKind;
use shadowsocks::relay::socks5::Address;
use shadowsocks::relay::tcprelay::ProxyClientStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Proxy, in_time, user};

pub(crate) type Stream = ProxyClientStream<shadowsocks::net::TcpStream>;

pub(crate) const METHODS: [Method; 5] = [
    Method::Aes128Gcm,
    Method::Aes256Gcm,
    Method::Chacha20IetfPoly1305,
    Method::Blake3Aes128Gcm,
    Method::Blake3Aes256Gcm,
];

/// The settings of a front end on loopback.
pub(crate) fn settings() -> Shadowsocks {
    Shadowsocks {
        listen: [127, 0, 0, 1].into(),
        ..Shadowsocks::default()
    }
}

/// A proxy with a front end and nobody but the first user, who has no access.
pub(crate) async fn start() -> Proxy {
    start_with(settings(), |_| ()).await
}

pub(crate) async fn start_with(settings: Shadowsocks, change: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start_with(Limits::Unlimited, |config| {
        config.shadowsocks = Some(settings);
        change(config);
    })
    .await
}

/// A port that nobody listens on, by TCP nor by UDP.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + u16::try_from(std::process::id() % 9_000).unwrap();
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        let tcp = std::net::TcpListener::bind(("127.0.0.1", port));
        if tcp.is_ok() && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A key of the 2022 edition that `number` tells from others.
pub(crate) fn key(method: Method, number: u8) -> String {
    let bytes = vec![number; method.key_len()];
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// A password that fits the method.
pub(crate) fn password(method: Method, number: u8) -> String {
    if method.is_2022() {
        key(method, number)
    } else {
        format!("secret {number}")
    }
}

pub(crate) fn access(port: u16, method: Method, password: &str) -> Access {
    Access {
        number: None,
        port,
        method,
        password: password.to_owned(),
    }
}

/// Adds a user with an access, and waits until the port is open.
pub(crate) async fn add(proxy: &Proxy, name: &str, limits: Limits, access: &Access) {
    proxy.users.add(user(name, limits)).await.unwrap();
    let given = proxy.users.set_shadowsocks(name, Some(access.clone()));
    given.await.unwrap();
    open(access.port).await;
}

/// Waits until a port is open.
pub(crate) async fn open(port: u16) {
    in_time(async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until a port is closed.
pub(crate) async fn closed(port: u16) {
    in_time(async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn server(access: &Access) -> ServerConfig {
    let address: SocketAddr = ([127, 0, 0, 1], access.port).into();
    let kind: CipherKind = access.method.name().parse().unwrap();
    ServerConfig::new(address, access.password.clone(), kind).unwrap()
}

/// A tunnel by the crate's client.
pub(crate) async fn connect(access: &Access, target: SocketAddr) -> Stream {
    let context = Context::new_shared(ServerType::Local);
    let target = Address::SocketAddress(target);
    in_time(ProxyClientStream::connect(context, &server(access), target))
        .await
        .unwrap()
}

/// Sends and hears the same again.
pub(crate) async fn echoes(stream: &mut Stream, payload: &[u8]) {
    let (mut source, mut sink) = tokio::io::split(stream);
    let mut heard = vec![0; payload.len()];
    let (sent, got) =
        in_time(async { tokio::join!(sink.write_all(payload), source.read_exact(&mut heard)) })
            .await;
    sent.unwrap();
    got.unwrap();
    assert!(heard == payload, "the echo differs");
}

/// As [`echoes`], on a connection of its own; again until the server knows the user.
pub(crate) async fn echoes_when_known(access: &Access, target: SocketAddr, payload: &[u8]) {
    let mut heard = vec![0; payload.len()];
    in_time(async {
        loop {
            let mut stream = connect(access, target).await;
            if stream.write_all(payload).await.is_ok()
                && stream.read_exact(&mut heard).await.is_ok()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(heard == payload, "the echo differs");
}

/// Whether the session is over.
pub(crate) async fn ends(mut stream: Stream) {
    let mut rest = Vec::new();
    let _ = in_time(stream.read_to_end(&mut rest)).await;
}

/// A file in the folder of a test.
pub(crate) fn salts(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("salts")
}

/// Waits until a user has used as much in both directions, and not a byte more.
pub(crate) async fn used(proxy: &Proxy, name: &str, bytes: u64) {
    let usage = || proxy.users.usage(name).unwrap();
    in_time(async {
        while usage().upload_bytes < bytes || usage().download_bytes < bytes {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        (usage().upload_bytes, usage().download_bytes),
        (bytes, bytes),
        "{name}"
    );
}
