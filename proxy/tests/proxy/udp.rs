//! UDP through SOCKS5, with headers written by hand.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy::{Caps, Limits, Usage};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::support::*;

/// An association of a client's, and its socket.
struct Client {
    control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
}

async fn associate(proxy: &Proxy, host: &str, announced: [u8; 6]) -> Client {
    associate_as(proxy, NAME, host, announced).await
}

async fn associate_as(proxy: &Proxy, name: &str, host: &str, announced: [u8; 6]) -> Client {
    let mut control = TcpStream::connect((host, proxy.address.port()))
        .await
        .unwrap();
    control
        .write_all(&socks5_login(name, PASSWORD))
        .await
        .unwrap();
    let mut request = vec![5, 3, 0, 1];
    request.extend(announced);
    control.write_all(&request).await.unwrap();
    assert_eq!(read_exact(&mut control, 4).await, [5, 2, 1, 0]);
    let reply = read_exact(&mut control, 10).await;
    assert_eq!(reply[..4], [5, 0, 0, 1]);
    let ip: [u8; 4] = reply[4..8].try_into().unwrap();
    let relay = SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]])));
    let socket = UdpSocket::bind((host, 0)).await.unwrap();
    Client {
        control,
        socket,
        relay,
    }
}

async fn any_port(proxy: &Proxy) -> Client {
    associate(proxy, "127.0.0.1", [0; 6]).await
}

fn header(target: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0];
    match target.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
    }
    bytes.extend(target.port().to_be_bytes());
    bytes
}

fn named(name: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 3, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

impl Client {
    async fn send(&self, header: Vec<u8>, data: &[u8]) {
        let bytes = [&header, data].concat();
        self.socket.send_to(&bytes, self.relay).await.unwrap();
    }

    async fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 65_535];
        let (len, from) = in_time(self.socket.recv_from(&mut bytes)).await.unwrap();
        assert_eq!(from, self.relay);
        bytes.truncate(len);
        bytes
    }

    /// Asserts that nothing came: an echo of the marker is the next thing to come.
    async fn nothing_before(&self, echo: SocketAddr) {
        self.send(header(echo), b"marker").await;
        let expected = [header(echo), b"marker".to_vec()].concat();
        assert_eq!(self.receive().await, expected);
    }
}

/// Whether datagrams of a user's get to `target`, which sends them back, by its address
/// and by a name; nothing else may come between.
pub(crate) async fn reaches(proxy: &Proxy, name: &str, target: SocketAddr, expected: bool) -> bool {
    let client = associate_as(proxy, name, "127.0.0.1", [0; 6]).await;
    let by_name = named("127.0.0.1", target.port());
    let mut answers = Vec::new();
    for header in [header(target), by_name] {
        client.send(header, b"x").await;
        let mut bytes = [0; 64];
        let heard = client.socket.recv_from(&mut bytes);
        // What is forbidden is dropped without a word.
        let patience = Duration::from_millis(if expected { 60_000 } else { 300 });
        answers.push(tokio::time::timeout(patience, heard).await.is_ok());
    }
    assert_eq!(answers[0], answers[1]);
    answers[0]
}

/// Sends back what it gets.
pub(crate) async fn udp_echo(address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..len], from).await;
        }
    });
    address
}

async fn start() -> Proxy {
    Proxy::start_with(Limits::Unlimited, |config| {
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await
}

#[tokio::test]
async fn datagrams_go_and_come_with_true_addresses() {
    let proxy = start().await;
    let client = any_port(&proxy).await;
    let (v4, v6) = (udp_echo("127.0.0.1:0").await, udp_echo("[::1]:0").await);
    let large = vec![7; 60_000];
    for (to, data, from) in [
        (header(v4), &b"hello"[..], v4),
        (header(v4), b"", v4),
        (header(v4), &large, v4),
        (header(v6), b"six", v6),
        (named("localhost", v4.port()), b"by name", v4),
        (named("127.0.0.1", v4.port()), b"as text", v4),
    ] {
        client.send(to.clone(), data).await;
        let got = client.receive().await;
        if to[3] == 3 && got[3] == 4 {
            // This host's localhost is IPv6 first.
            continue;
        }
        assert_eq!(got, [header(from), data.to_vec()].concat());
    }
}

#[tokio::test]
async fn what_is_moved_is_counted_without_the_header() {
    let proxy = start().await;
    let client = any_port(&proxy).await;
    let echo = udp_echo("127.0.0.1:0").await;
    for _ in 0..3 {
        client.send(header(echo), &[1; 100]).await;
        client.receive().await;
    }
    drop(client);
    let expected = Usage {
        upload_bytes: 300,
        download_bytes: 300,
    };
    let settled = async {
        while proxy.users.usage(NAME).unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(settled).await;
}

#[tokio::test]
async fn fragments_forbidden_targets_and_nonsense_are_dropped() {
    let proxy = start().await;
    let client = any_port(&proxy).await;
    let echo = udp_echo("127.0.0.1:0").await;
    let mut fragment = header(echo);
    fragment[2] = 1;
    client.send(fragment, b"fragment").await;
    client
        .send(header("10.255.255.1:53".parse().unwrap()), b"x")
        .await;
    client
        .send(header("[::ffff:10.255.255.1]:53".parse().unwrap()), b"x")
        .await;
    client.send(named("10.255.255.1", 53), b"x").await;
    client.send(named("no such name", 53), b"x").await;
    client
        .send(header(SocketAddr::new(echo.ip(), 0)), b"x")
        .await;
    client.send(vec![0, 0, 0, 9], b"x").await;
    client.send(vec![], b"").await;
    client.nothing_before(echo).await;
    assert_eq!(proxy.users.usage(NAME).unwrap().upload_bytes, 6);
}

/// Nobody but the client is heard, and nobody but whom it spoke to.
#[tokio::test]
async fn strangers_are_not_heard_from_either_side() {
    let proxy = start().await;
    let client = any_port(&proxy).await;
    let echo = udp_echo("127.0.0.1:0").await;
    // A neighbour with another address comes first: it does not fix the port.
    for stranger in ["127.0.0.2:0", "127.0.0.1:0"] {
        let stranger = UdpSocket::bind(stranger).await.unwrap();
        if stranger.local_addr().unwrap().ip().to_string() == "127.0.0.1" {
            // Another port, once the client's is known.
            client.nothing_before(echo).await;
        }
        let bytes = [header(echo), b"stranger".to_vec()].concat();
        stranger.send_to(&bytes, client.relay).await.unwrap();
    }
    client.nothing_before(echo).await;
    // A target that the client has not spoken to does not reach it: learn the
    // proxy's own port from one that it has.
    let known = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send(header(known.local_addr().unwrap()), b"x").await;
    let mut bytes = [0; 16];
    let (_, outside) = in_time(known.recv_from(&mut bytes)).await.unwrap();
    let unknown = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    unknown.send_to(b"unasked for", outside).await.unwrap();
    client.nothing_before(echo).await;
    known.send_to(b"asked for", outside).await.unwrap();
    let expected = [header(known.local_addr().unwrap()), b"asked for".to_vec()].concat();
    assert_eq!(client.receive().await, expected);
}

#[tokio::test]
async fn a_client_may_say_its_port_first() {
    let proxy = start().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let own = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = own.local_addr().unwrap().port().to_be_bytes();
    let mut client = associate(&proxy, "127.0.0.1", [127, 0, 0, 1, port[0], port[1]]).await;
    let bytes = [header(echo), b"other port".to_vec()].concat();
    client.socket.send_to(&bytes, client.relay).await.unwrap();
    client.socket = own;
    client.nothing_before(echo).await;
}

/// The socket is gone when the TCP connection is.
#[tokio::test]
async fn an_association_ends_with_its_connection() {
    let proxy = start().await;
    let echo = udp_echo("127.0.0.1:0").await;
    let client = any_port(&proxy).await;
    client.nothing_before(echo).await;
    let Client { control, relay, .. } = client;
    drop(control);
    let free = async {
        while UdpSocket::bind(relay).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(free).await;
    // And when the user is.
    let mut client = any_port(&proxy).await;
    proxy.users.set_enabled(NAME, false).await.unwrap();
    assert_eq!(read_to_end(&mut client.control).await, b"");
}

#[tokio::test]
async fn there_is_room_for_so_many() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.caps = Caps {
            connections: 3,
            ..Caps::default()
        };
    })
    .await;
    let first = any_port(&proxy).await;
    // An association takes two places, so there is none for the second's second.
    let mut control = proxy.connect().await;
    control
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    control
        .write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(
        read_to_end(&mut control).await,
        [5, 2, 1, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    );
    drop(first);
}

/// Datagrams draw from the budget, and one larger than the burst passes too.
#[tokio::test]
async fn datagrams_are_limited() {
    let policy = "token-bucket:rate=20kB/s,burst=1500B".parse().unwrap();
    let proxy = Proxy::start(Limits::up(policy)).await;
    let client = any_port(&proxy).await;
    let echo = udp_echo("127.0.0.1:0").await;
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        client.send(header(echo), &[1; 1_000]).await;
    }
    for _ in 0..20 {
        client.receive().await;
    }
    client.send(header(echo), &[1; 5_000]).await;
    assert_eq!(client.receive().await.len(), 5_010);
    let least = (20_000.0 + 5_000.0 - 1_500.0) / 20_000.0;
    assert!(begin.elapsed().as_secs_f64() >= least);
}
