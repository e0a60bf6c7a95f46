//! The Shadowsocks Server Management API, as its specification has it.

use std::net::SocketAddr;

use proxy::Limits;
use proxy::config::{Managed, Shadowsocks};
use proxy::protocol::shadowsocks::Method;
use serde_json::{Value, json};
use shadowsocks::config::{ServerAddr, ServerConfig, ServerType};
use shadowsocks::context::Context;
use shadowsocks::crypto::CipherKind;
use shadowsocks::relay::socks5::Address;
use shadowsocks::relay::tcprelay::ProxyClientStream;
use shadowsocks::relay::udprelay::ProxySocket;
use shadowsocks::relay::udprelay::options::UdpSocketControlData;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::support::Proxy;

const PORT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const ONE: &str = "oE/s2z9Q8EWORAB8B3UCxw==";
const TWO: &str = "DL7Vrnv7sOdPPDghtxyxgg==";

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

async fn start() -> (Proxy, u16) {
    let port = free_port().await;
    let method = Method::Blake3Aes128Gcm;
    let managed = Managed::new(port, method, PORT_KEY.to_owned()).unwrap();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.admin.legacy_routes = true;
        config.shadowsocks = Some(Shadowsocks {
            listen: "127.0.0.1".parse().unwrap(),
            managed: Some(managed),
            ..Shadowsocks::default()
        });
    });
    (proxy.await, port)
}

fn user(name: &str, key: &str) -> String {
    json!({ "username": name, "uPSK": key }).to_string()
}

/// A client of the user whose key is `key`, by another's implementation.
fn client(port: u16, key: &str) -> ServerConfig {
    let address = ServerAddr::from(SocketAddr::from(([127, 0, 0, 1], port)));
    let password = format!("{PORT_KEY}:{key}");
    ServerConfig::new(address, password, CipherKind::AEAD2022_BLAKE3_AES_128_GCM).unwrap()
}

/// Sends back what it gets, by TCP and UDP on one port.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    tokio::spawn(async move {
        let mut room = [0; 2_000];
        while let Ok((length, from)) = socket.recv_from(&mut room).await {
            let _ = socket.send_to(&room[..length], from).await;
        }
    });
    address
}

#[tokio::test]
async fn users_come_change_and_go() {
    let (proxy, _) = start().await;
    for path in ["/server/v1", "/server/v1/"] {
        let info = proxy.json(path).await;
        assert_eq!(info["apiVersion"], "v1");
        assert!(info["server"].as_str().unwrap().starts_with("weirgate"));
    }
    assert_eq!(proxy.json("/users").await, json!({ "users": [] }));
    // Without a content type, too.
    let added = proxy
        .ask_with("POST", "/users", "", &user("bob", ONE))
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let added = proxy
        .ask("POST", "/server/v1/users", &user("carl", TWO))
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let all = json!({ "users": [
        { "username": "bob", "uPSK": ONE }, { "username": "carl", "uPSK": TWO },
    ] });
    assert_eq!(proxy.json("/server/v1/users").await, all);
    assert_eq!(proxy.json("/users/bob").await["uPSK"], ONE);
    let new = json!({ "uPSK": "AAAAAAAAAAAAAAAAAAAAAA==" }).to_string();
    for (method, status) in [("PATCH", 204), ("PUT", 400)] {
        // The second time it is the user's already.
        let answer = proxy.ask(method, "/users/bob", &new).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert_eq!(proxy.ask("DELETE", "/users/bob", "").await.status, 204);
    assert_eq!(proxy.ask("DELETE", "/users/bob", "").await.status, 404);
    assert!(proxy.users.get("bob").is_none());
    let log = proxy.json("/api/v1/audit").await.to_string();
    for (action, secret) in [
        ("user.create", ONE),
        ("user.shadowsocks", TWO),
        ("user.delete", PORT_KEY),
    ] {
        assert!(log.contains(action) && !log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_both() {
    let (proxy, _) = start().await;
    proxy.ask("POST", "/users", &user("bob", ONE)).await;
    for (status, method, path, body) in [
        (400, "POST", "/users", "{".to_owned()),
        (400, "POST", "/users", "{}".to_owned()),
        (400, "POST", "/users", user("bob", TWO)),
        // An account that is not one of these.
        (400, "POST", "/users", user("ada", TWO)),
        (400, "POST", "/users", user("carl", ONE)),
        (400, "POST", "/users", user("carl", "short")),
        (400, "POST", "/users", user("carl", &format!("{TWO}:{TWO}"))),
        (400, "POST", "/users", user("a b", TWO)),
        (400, "PATCH", "/users/bob", user("bob", "short")),
        (404, "PATCH", "/users/nobody", user("nobody", TWO)),
        (404, "GET", "/users/ada", String::new()),
        (404, "DELETE", "/users/ada", String::new()),
        (404, "GET", "/users/nobody", String::new()),
        (400, "GET", "/users/%ff", String::new()),
        (413, "POST", "/users", "x".repeat(70_000)),
    ] {
        let answer = proxy.ask(method, path, &body).await;
        let what = format!("{method} {path} {:?}", body.get(..80).unwrap_or(&body));
        answer.assert_problem(status, &what);
        assert!(answer.json()["error"].is_string(), "{what}");
    }
    assert!(proxy.users.get("carl").is_none());
    proxy
        .ask("DELETE", "/users", "")
        .await
        .assert_problem(405, "all");
    // Without the switch there is nothing; without a port, a friendly word.
    let off = Proxy::start().await;
    for path in ["/users", "/stats", "/server/v1"] {
        off.ask("GET", path, "").await.assert_problem(404, path);
    }
    let without = Proxy::start_with(Limits::Unlimited, |config| {
        config.admin.legacy_routes = true;
    });
    let answer = without.await.ask("GET", "/users", "").await;
    answer.assert_problem(404, "no port");
    assert!(answer.body.contains("managed"), "{}", answer.body);
}

#[tokio::test]
async fn traffic_is_counted_and_cleared() {
    let (proxy, port) = start().await;
    let target = echo().await;
    for (name, key) in [("bob", ONE), ("carl", TWO)] {
        let added = proxy.ask("POST", "/users", &user(name, key)).await;
        assert_eq!(added.status, 201, "{}", added.body);
    }
    let config = client(port, ONE);
    let context = Context::new_shared(ServerType::Local);
    let mut stream = loop {
        // The port is opened after the answer.
        let target = Address::from(target);
        match ProxyClientStream::connect(context.clone(), &config, target).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    stream.write_all(&[7; 3_000]).await.unwrap();
    stream.read_exact(&mut [0; 3_000]).await.unwrap();
    let socket = ProxySocket::connect(context.clone(), &config)
        .await
        .unwrap();
    for number in 0..2 {
        // The same once more would be a replay.
        let mut control = UdpSocketControlData::default();
        control.client_session_id = 1;
        control.packet_id = number;
        let to = Address::from(target);
        let sent = socket.send_with_ctrl(&to, &control, &[7; 100]).await;
        sent.unwrap();
        socket.recv(&mut [0; 2_000]).await.unwrap();
    }
    let figures = |bytes: u64, packets: u64, tcp: u64, udp: u64| {
        json!({ "uplinkBytes": bytes, "downlinkBytes": bytes, "uplinkPackets": packets,
            "downlinkPackets": packets, "tcpSessions": tcp, "udpSessions": udp })
    };
    let named = |name: &str, mut of: Value| {
        of["username"] = name.into();
        of
    };
    let moved = figures(3_200, 2, 1, 1);
    let mut expected = moved.clone();
    expected["users"] = json!([
        named("bob", moved.clone()),
        named("carl", figures(0, 0, 0, 0))
    ]);
    // What has been sent is counted a moment later.
    let stats = loop {
        let stats = proxy.json("/stats").await;
        if stats == expected || stats["downlinkPackets"].as_u64() > Some(2) {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(stats, expected);
    let mut bob = named("bob", moved);
    bob["uPSK"] = ONE.into();
    assert_eq!(proxy.json("/users/bob").await, bob);
    // The session goes on, and is counted anew.
    assert_eq!(proxy.json("/stats?clear=true").await, expected);
    stream.write_all(&[7; 10]).await.unwrap();
    stream.read_exact(&mut [0; 10]).await.unwrap();
    let mut after = loop {
        let stats = proxy.json("/server/v1/stats").await;
        if stats["downlinkBytes"] == 10 {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    after["users"] = Value::Null;
    let mut expected = figures(10, 0, 0, 0);
    expected["users"] = Value::Null;
    assert_eq!(after, expected);
}
