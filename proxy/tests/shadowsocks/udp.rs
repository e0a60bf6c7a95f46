//! Datagrams.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proxy::config::UdpLimit;
use proxy::protocol::shadowsocks::Method;
use proxy::users::Access;
use proxy::{Limits, Usage};
use shadowsocks::ProxySocket;
use shadowsocks::config::ServerType;
use shadowsocks::context::Context;
use shadowsocks::relay::socks5::Address;
use shadowsocks::relay::udprelay::options::UdpSocketControlData;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use crate::client::*;
use crate::support::in_time;

/// The crate's client.
struct Client {
    socket: ProxySocket<shadowsocks::net::UdpSocket>,
    session: u64,
    next: AtomicU64,
}

impl Client {
    async fn new(access: &Access) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let context = Context::new_shared(ServerType::Local);
        Self {
            socket: ProxySocket::connect(context, &server(access))
                .await
                .unwrap(),
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            next: AtomicU64::new(0),
        }
    }

    async fn send(&self, target: &Address, data: &[u8]) {
        let mut control = UdpSocketControlData::default();
        control.client_session_id = self.session;
        control.packet_id = self.next.fetch_add(1, Ordering::Relaxed);
        self.socket
            .send_with_ctrl(target, &control, data)
            .await
            .unwrap();
    }

    async fn receive(&self) -> (Vec<u8>, Address) {
        let mut bytes = vec![0; 65_535];
        let (len, from, _) = in_time(self.socket.recv(&mut bytes)).await.unwrap();
        bytes.truncate(len);
        (bytes, from)
    }

    async fn hears_nothing(&self) {
        let mut bytes = vec![0; 65_535];
        let heard = tokio::time::timeout(Duration::from_millis(300), self.socket.recv(&mut bytes));
        assert!(heard.await.is_err(), "something was heard");
    }
}

/// Sends back what it gets, with its own port in front.
async fn echo(at: &str) -> SocketAddr {
    let socket = UdpSocket::bind(at).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let answer = [&address.port().to_be_bytes()[..], &bytes[..len]].concat();
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

fn from(target: SocketAddr, data: &[u8]) -> (Vec<u8>, Address) {
    let answer = [&target.port().to_be_bytes()[..], data].concat();
    (answer, Address::SocketAddress(target))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_destination_hears_its_own_and_answers_in_its_name() {
    let proxy = start_with(settings(), |config| {
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await;
    let mut targets = vec![echo("127.0.0.1:0").await, echo("127.0.0.1:0").await];
    if let Ok(address) = std::net::UdpSocket::bind("[::1]:0") {
        drop(address);
        targets.push(echo("[::1]:0").await);
    }
    for (number, method) in (1..).zip(METHODS) {
        for with_port in [false, true] {
            let mut secret = password(method, number);
            if with_port && method.is_2022() {
                secret = format!("{}:{secret}", key(method, 77));
            }
            let access = access(free_port(), method, &secret);
            let name = format!("user-{number}-{with_port}");
            add(&proxy, &name, Limits::Unlimited, &access).await;
            let client = Client::new(&access).await;
            for round in 0..3_u8 {
                for &target in &targets {
                    client
                        .send(&Address::SocketAddress(target), &[round; 100])
                        .await;
                    assert_eq!(
                        client.receive().await,
                        from(target, &[round; 100]),
                        "{method}"
                    );
                }
            }
            // A name, and the longest datagram that fits with a tag.
            let named = Address::DomainNameAddress("localhost".into(), targets[0].port());
            client.send(&named, b"by name").await;
            assert_eq!(client.receive().await.0, from(targets[0], b"by name").0);
            client
                .send(&Address::SocketAddress(targets[0]), &[1; 60_000])
                .await;
            assert_eq!(client.receive().await.0.len(), 60_002);
        }
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_users_share_a_port_and_each_pays_for_themselves() {
    let proxy = start().await;
    let target = echo("127.0.0.1:0").await;
    let port = free_port();
    let mut clients = Vec::new();
    for number in 0..30 {
        let access = access(port, Method::Aes128Gcm, &format!("secret {number}"));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        clients.push((name, Client::new(&access).await));
    }
    for round in 1..4 {
        for (_, client) in &clients {
            client.send(&Address::SocketAddress(target), &[7; 98]).await;
        }
        for (name, client) in &clients {
            assert_eq!(client.receive().await, from(target, &[7; 98]));
            let expected = Usage {
                upload_bytes: round * 98,
                download_bytes: round * 100,
            };
            in_time(async {
                while proxy.users.usage(name) != Some(expected) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_is_served_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let target = echo("127.0.0.1:0").await;
    for method in METHODS {
        let port = free_port();
        let access = access(port, method, &password(method, 1));
        // What the client sends, recorded.
        let tap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut at_tap = access.clone();
        at_tap.port = tap.local_addr().unwrap().port();
        let client = Client::new(&at_tap).await;
        client.send(&Address::SocketAddress(target), b"once").await;
        let mut bytes = vec![0; 2_048];
        let len = in_time(tap.recv(&mut bytes)).await.unwrap();
        bytes.truncate(len);
        for round in 0..2 {
            let mut settings = settings();
            settings.replay_file = Some(salts(&folder));
            let proxy = start_with(settings, |_| ()).await;
            add(&proxy, "known", Limits::Unlimited, &access).await;
            for copy in 0..3 {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.send_to(&bytes, ("127.0.0.1", port)).await.unwrap();
                let mut answer = [0; 256];
                let heard =
                    tokio::time::timeout(Duration::from_millis(250), socket.recv(&mut answer));
                let served = matches!(heard.await, Ok(Ok(_)));
                assert_eq!(served, round == 0 && copy == 0, "{method} {round} {copy}");
            }
            proxy.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_bounded_and_forgets_the_silent() {
    let mut settings = settings();
    settings.udp_associations = 3;
    settings.udp_idle = Duration::from_millis(400);
    let proxy = start_with(settings, |_| ()).await;
    let target = echo("127.0.0.1:0").await;
    let access = access(free_port(), Method::Chacha20IetfPoly1305, "secret");
    add(&proxy, "known", Limits::Unlimited, &access).await;
    // A target that answers late, when the association may be gone.
    let late = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = Client::new(&access).await;
    let to_late = Address::SocketAddress(late.local_addr().unwrap());
    silent.send(&to_late, b"wait").await;
    let mut bytes = [0; 64];
    let (_, relay) = in_time(late.recv_from(&mut bytes)).await.unwrap();
    late.send_to(b"early", relay).await.unwrap();
    assert_eq!(silent.receive().await.0, b"early");
    for _ in 0..3 {
        let client = Client::new(&access).await;
        client.send(&Address::SocketAddress(target), b"x").await;
        client.receive().await;
    }
    late.send_to(b"late", relay).await.unwrap();
    silent.hears_nothing().await;
    // With room again it is a new association.
    silent.send(&to_late, b"again").await;
    let (_, relay) = in_time(late.recv_from(&mut bytes)).await.unwrap();
    late.send_to(b"back", relay).await.unwrap();
    assert_eq!(silent.receive().await.0, b"back");
    tokio::time::sleep(Duration::from_millis(600)).await;
    late.send_to(b"too late", relay).await.unwrap();
    silent.hears_nothing().await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_delays_datagrams_or_drops_them_as_configured() {
    for (udp, most_answers) in [(UdpLimit::Shape, 20), (UdpLimit::Police, 6)] {
        let mut settings = settings();
        settings.udp = udp;
        let proxy = start_with(settings, |_| ()).await;
        let target = echo("127.0.0.1:0").await;
        let limit = "token-bucket:rate=30kB/s,burst=3kB".parse().unwrap();
        let access = access(free_port(), Method::Aes256Gcm, "secret");
        add(&proxy, "known", Limits::up(limit), &access).await;
        let client = Client::new(&access).await;
        for _ in 0..20 {
            client
                .send(&Address::SocketAddress(target), &[1; 1_000])
                .await;
        }
        let mut answers = 0;
        let mut bytes = vec![0; 2_048];
        while tokio::time::timeout(Duration::from_millis(500), client.socket.recv(&mut bytes))
            .await
            .is_ok()
        {
            answers += 1;
        }
        match udp {
            UdpLimit::Shape => assert_eq!(answers, most_answers),
            UdpLimit::Police => assert!((3..=most_answers).contains(&answers), "{answers}"),
        }
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_judged_and_removal_ends_the_association() {
    let proxy = start_with(settings(), |config| config.allow_egress.clear()).await;
    let target = echo("127.0.0.1:0").await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    add(&proxy, "known", Limits::Unlimited, &access).await;
    let client = Client::new(&access).await;
    client
        .send(&Address::SocketAddress(target), b"private")
        .await;
    client.hears_nothing().await;
    assert_eq!(proxy.users.usage("known"), Some(Usage::default()));
    // The account's own rules let it there, by datagrams and by a session.
    let change = |rules: String| proxy::users::RulesChange {
        egress: Some(Some(rules.parse().unwrap())),
        ..proxy::users::RulesChange::default()
    };
    let session = crate::support::echo().await;
    let allow = [target, session].map(|it| format!("allow 127.0.0.1 {}", it.port()));
    let allow = change(allow.join(","));
    proxy.users.set_rules("known", allow).await.unwrap();
    client
        .send(&Address::SocketAddress(target), b"allowed")
        .await;
    assert_eq!(client.receive().await, from(target, b"allowed"));
    let mut stream = connect(&access, session).await;
    echoes(&mut stream, b"allowed").await;
    let none = change("none".to_owned());
    proxy.users.set_rules("known", none).await.unwrap();
    client
        .send(&Address::SocketAddress(target), b"private")
        .await;
    client.hears_nothing().await;
    let mut refused = connect(&access, session).await;
    let mut byte = [0];
    let _ = refused.write_all(b"x").await;
    assert!(!matches!(in_time(refused.read(&mut byte)).await, Ok(1..)));
    echoes(&mut stream, b"what is open stays open").await;
    drop(stream);
    proxy.users.remove("known").await.unwrap();
    closed(access.port).await;
    let socket = in_time(async {
        loop {
            if let Ok(socket) = UdpSocket::bind(("127.0.0.1", access.port)).await {
                return socket;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    drop(socket.await);
    proxy.stop().await;
}
