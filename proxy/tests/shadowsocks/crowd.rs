//! A thousand users on one port, also beside a flood; and a limit over many
//! connections and datagrams together.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use proxy::users::{Access, Subscriber};
use shadowsocks::ProxySocket;
use shadowsocks::config::ServerType;
use shadowsocks::context::Context;
use shadowsocks::relay::socks5::Address;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::Instant;

use crate::client::*;
use crate::support::{echo, flood};

/// Says a figure, to be read with --nocapture: tests have no clock to fail by.
macro_rules! tell {
    ($($what:tt)*) => {
        let _ = writeln!(std::io::stdout(), $($what)*);
    };
}

const USERS: i64 = 1_000;

fn subscribers(port: u16, method: Method) -> Vec<Subscriber> {
    let access = |number: i64| {
        let mut own = format!("secret {number}");
        if method.is_2022() {
            let mut bytes = vec![0; method.key_len()];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
            own = format!("{}:{text}", key(method, 9));
        }
        Access {
            number: Some(number),
            port,
            method,
            password: own,
        }
    };
    let all = (0..USERS).map(|number| Subscriber {
        access: access(number),
        enabled: true,
        limits: None,
    });
    all.collect()
}

/// Where a flood comes from.
#[derive(Clone, Copy, Debug)]
enum Flood {
    None,
    OneAddress,
    ManyAddresses,
}

impl Flood {
    fn source(self, number: u32) -> std::net::SocketAddr {
        let [_, _, high, low] = number.to_be_bytes();
        match self {
            Self::None | Self::OneAddress => ([127, 0, 0, 2], 0).into(),
            Self::ManyAddresses => ([127, 1, high, low], 0).into(),
        }
    }
}

/// Random handshakes and datagrams until told to stop.
fn noise(port: u16, flood: Flood, stop: &Arc<AtomicBool>) {
    for task in 0..8 {
        let stop = Arc::clone(stop);
        tokio::spawn(async move {
            for number in (task..).step_by(8) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let socket = TcpSocket::new_v4().unwrap();
                if socket.bind(flood.source(number)).is_err() {
                    continue;
                }
                let address = ([127, 0, 0, 1], port).into();
                let Ok(mut client) = socket.connect(address).await else {
                    continue;
                };
                let _ = client.write_all(&[0x5a; 100]).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                // No address is to be kept for a minute after each of thousands.
                let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
            }
        });
    }
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if let Ok(socket) = UdpSocket::bind(flood.source(number)).await {
                let _ = socket.send_to(&[0x5a; 200], ("127.0.0.1", port)).await;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    });
}

/// Every user once: how long from the first byte to the answer, in order.
async fn times(accesses: &[Subscriber], target: std::net::SocketAddr) -> Vec<Duration> {
    let mut times = Vec::new();
    for subscriber in accesses {
        let since = Instant::now();
        let mut stream = connect(&subscriber.access, target).await;
        echoes(&mut stream, b"hello").await;
        times.push(since.elapsed());
    }
    times.sort();
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_share_a_port_also_beside_a_flood() {
    let proxy = start_with(settings(), |config| config.caps.handshakes = 4_096).await;
    let target = echo().await;
    for method in [Method::Aes256Gcm, Method::Blake3Aes128Gcm] {
        let port = free_port();
        let everybody = subscribers(port, method);
        proxy.users.subscribe_all(&everybody, &[]).await.unwrap();
        open(port).await;
        for flood in [Flood::None, Flood::OneAddress, Flood::ManyAddresses] {
            let stop = Arc::new(AtomicBool::new(false));
            if !matches!(flood, Flood::None) {
                noise(port, flood, &stop);
            }
            let times = times(&everybody, target).await;
            stop.store(true, Ordering::Relaxed);
            tell!(
                "{method}, flood {flood:?}: p50 {:?} p99 {:?} most {:?}",
                times[times.len() / 2],
                times[times.len() * 99 / 100],
                times[times.len() - 1]
            );
        }
        for number in [0, USERS / 2, USERS - 1] {
            let usage = proxy.users.usage(&format!("ss-{number}")).unwrap();
            assert!(usage.upload_bytes >= 10, "{number}: {usage:?}");
        }
    }
}

/// What passes in so many seconds over TCP and UDP together, of the bytes of a limit.
async fn held(connections: usize, seconds: u64) -> f64 {
    const RATE: u64 = 1_000_000;
    let proxy = start().await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    // A tenth of a second: a busy machine does not let us run every 10 ms.
    let limit = format!("token-bucket:rate={RATE}B/s,burst=100kB")
        .parse()
        .unwrap();
    add(&proxy, "bob", Limits::Shared(limit), &access).await;
    let flood = flood().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut stream = connect(&access, flood).await;
        stream.write_all(b"x").await.unwrap();
        tasks.spawn(async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
    }
    // Beside them datagrams, more than there is room for.
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Address::SocketAddress(sink.local_addr().unwrap());
    let context = Context::new_shared(ServerType::Local);
    let socket = ProxySocket::connect(context, &server(&access))
        .await
        .unwrap();
    tasks.spawn(async move {
        loop {
            let _ = socket.send(&to, &[1; 1_000]).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let moved = || proxy.users.usage("bob").unwrap().total();
    let (since, before) = (Instant::now(), moved());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (after, passed) = (moved(), since.elapsed());
    tasks.abort_all();
    let fair = passed.as_secs_f64() * RATE as f64;
    (after - before) as f64 / fair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speed_limit_holds_over_tcp_and_udp_together() {
    let seconds = std::env::var("WEIRGATE_SS_SECONDS").ok();
    let seconds: u64 = seconds.map_or(4, |said| said.parse().unwrap());
    for connections in [1, 8, 32] {
        let held = held(connections, seconds).await;
        tell!("{connections} connections and datagrams: {held:.5} of the limit over {seconds} s");
        // What is counted comes in pieces, and the bucket holds a tenth of a second.
        let slack = 0.01 + 0.1 / seconds as f64;
        assert!((held - 1.0).abs() < slack, "{connections}: {held}");
    }
}
