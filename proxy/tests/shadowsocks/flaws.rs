//! The flaws of seed 002, one after the other, each with a test that ours lacks it.
//! The rest of them stand where what they are about is tested:
//!
//! ```text
//! a replayed session or datagram is served, on a port for one, after a restart   probes, udp
//! a replay is forgotten when a filter is full                                    ../../src/shadowsocks/replay.rs
//! a port for one counts its connections down to -1                               ../../src/shadowsocks/presence.rs
//! a file is read once, or a user without "enable" breaks it                      sources: a_file_is_read...
//! an error of the panel counts as success, what moves meanwhile is lost          sources: a_panel_that_fails...
//! Create, Update and Delete of gRPC fail, its health is a constant               ../grpc: every_call...
//! a user's limit is none, or is theirs once for each protocol                    crowd: a_speed_limit..., tcp: one_budget...
//! everybody's key is tried while everybody waits                                 crowd: a_thousand_users...
//! the table of datagrams grows, or is cleaned by traffic alone                   udp: the_table_is_bounded...
//! a change of one user restarts the servers of all                               tcp: a_change_touches...
//! ```

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use proxy::users::Access;
use shadowsocks::ProxySocket;
use shadowsocks::config::ServerType;
use shadowsocks::context::Context;
use shadowsocks::relay::socks5::Address;
use shadowsocks::relay::tcprelay::ProxyClientStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::client::*;
use crate::support::{echo, flood, in_time, target, user};

/// A tunnel from another address of this host.
async fn connect_from(
    source: [u8; 4],
    access: &Access,
    target: SocketAddr,
) -> ProxyClientStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    let server_address = ([127, 0, 0, 1], access.port).into();
    let socket = in_time(socket.connect(server_address)).await.unwrap();
    let context = Context::new_shared(ServerType::Local);
    let target = Address::SocketAddress(target);
    ProxyClientStream::from_stream(context, socket, &server(access), target)
}

async fn hears_itself(stream: &mut ProxyClientStream<TcpStream>) -> bool {
    let mut heard = [0; 5];
    let said = stream.write_all(b"hello").await.is_ok();
    said && in_time(stream.read_exact(&mut heard)).await.is_ok() && heard == *b"hello"
}

/// Sends back what it gets.
async fn datagram_echo(at: &str) -> SocketAddr {
    let socket = UdpSocket::bind(at).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let _ = socket.send_to(&bytes[..len], from).await;
        }
    });
    address
}

/// Upstream: a port with one user records no address, so no limit on them holds, and
/// the third address waits for the others to go.
#[tokio::test(flavor = "multi_thread")]
async fn s2_the_newest_address_wins_also_on_a_port_for_one() {
    let proxy = start().await;
    let target = echo().await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    let mut bob = user("bob", Limits::Unlimited);
    bob.rules.max_addresses = Some("1".parse().unwrap());
    proxy.users.add(bob).await.unwrap();
    let given = proxy.users.set_shadowsocks("bob", Some(access.clone()));
    given.await.unwrap();
    open(access.port).await;
    let mut before = connect_from([127, 0, 0, 1], &access, target).await;
    assert!(hears_itself(&mut before).await);
    let mut beside = connect_from([127, 0, 0, 1], &access, target).await;
    assert!(hears_itself(&mut beside).await, "the same address again");
    for last in [2, 3, 1] {
        let mut newest = connect_from([127, 0, 0, last], &access, target).await;
        assert!(hears_itself(&mut newest).await, "{last}");
        // Those from the address before are over.
        let mut rest = Vec::new();
        let _ = in_time(before.read_to_end(&mut rest)).await;
        before = newest;
    }
    let mut rest = Vec::new();
    let _ = in_time(beside.read_to_end(&mut rest)).await;
    assert!(hears_itself(&mut before).await, "the newest goes on");
    // Datagrams count as well.
    let context = Context::new_shared(ServerType::Local);
    let options = shadowsocks::net::ConnectOpts {
        bind_local_addr: Some("127.0.0.9:0".parse().unwrap()),
        ..shadowsocks::net::ConnectOpts::default()
    };
    let config = server(&access);
    let client = ProxySocket::connect_with_opts(context, &config, &options);
    let client = client.await.unwrap();
    let to = Address::SocketAddress(datagram_echo("127.0.0.1:0").await);
    client.send(&to, b"here").await.unwrap();
    let mut room = [0; 512];
    assert_eq!(in_time(client.recv(&mut room)).await.unwrap().0, 4);
    let mut rest = Vec::new();
    let _ = in_time(before.read_to_end(&mut rest)).await;
    proxy.stop().await;
}

/// Upstream: with one user on a port nobody asks whether the user is enabled, and the
/// ports of the removed and the disabled are never closed.
#[tokio::test(flavor = "multi_thread")]
async fn s2_the_disabled_and_the_removed_have_no_port() {
    let proxy = start().await;
    let target = echo().await;
    let access = access(free_port(), Method::Aes256Gcm, "secret");
    add(&proxy, "bob", Limits::Unlimited, &access).await;
    let mut stream = connect(&access, target).await;
    echoes(&mut stream, b"enabled").await;
    proxy.users.set_enabled("bob", false).await.unwrap();
    ends(stream).await;
    closed(access.port).await;
    proxy.users.set_enabled("bob", true).await.unwrap();
    open(access.port).await;
    echoes(&mut connect(&access, target).await, b"again").await;
    proxy.users.remove("bob").await.unwrap();
    closed(access.port).await;
    proxy.stop().await;
}

/// Upstream: a client's second destination gets what the first one was sent, and
/// whatever comes back is said to come from an IPv4 address.
#[tokio::test(flavor = "multi_thread")]
async fn s2_datagrams_go_where_they_are_sent_and_answers_say_whence() {
    let proxy = start_with(settings(), |config| {
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    add(&proxy, "bob", Limits::Unlimited, &access).await;
    let context = Context::new_shared(ServerType::Local);
    let client = ProxySocket::connect(context, &server(&access))
        .await
        .unwrap();
    let mut targets = vec![datagram_echo("127.0.0.1:0").await];
    targets.push(datagram_echo("127.0.0.2:0").await);
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        targets.push(datagram_echo("[::1]:0").await);
    }
    for target in targets {
        let to = Address::SocketAddress(target);
        client
            .send(&to, target.to_string().as_bytes())
            .await
            .unwrap();
        let mut room = [0; 512];
        let (len, from, _) = in_time(client.recv(&mut room)).await.unwrap();
        assert_eq!(&room[..len], target.to_string().as_bytes());
        assert_eq!(from, to);
    }
    proxy.stop().await;
}

/// Upstream: what goes up counts with its encryption, what comes down without.
#[tokio::test(flavor = "multi_thread")]
async fn s2_both_directions_count_the_payload_alone() {
    let proxy = start().await;
    let target = echo().await;
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let mut stream = connect(&access, target).await;
        // Many small chunks, each with two tags.
        for _ in 0..100 {
            echoes(&mut stream, b"x").await;
        }
        used(&proxy, &name, 100).await;
    }
    proxy.stop().await;
}

/// Upstream: passwords stand in the log at the start.
#[tokio::test(flavor = "multi_thread")]
async fn s2_no_password_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("userconfigs.json");
    let access = access(
        free_port(),
        Method::Aes128Gcm,
        "a-word-that-is-nowhere-else",
    );
    let users = format!(
        r#"{{"users":[{{"user_id":1,"port":{},"method":"aes-128-gcm","password":"{}"}}]}}"#,
        access.port, access.password
    );
    std::fs::write(&path, users).unwrap();
    let database = format!("sqlite://{}", folder.path().join("users.db").display());
    let mut server = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"))
        .args(["run", "--log-level", "trace", "--listen", "127.0.0.1:0"])
        .args([
            "--ss-listen-host",
            "127.0.0.1",
            "--allow-egress",
            "127.0.0.0/8",
        ])
        .args(["--database", &database])
        .arg("--ss-users")
        .arg(&path)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = server.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        errors.read_to_string(&mut log).unwrap();
        log
    });
    open(access.port).await;
    echoes(&mut connect(&access, echo().await).await, b"hello").await;
    server.kill().unwrap();
    server.wait().unwrap();
    let log = reading.join().unwrap();
    assert!(log.contains("shadowsocks port opened"), "{log}");
    assert!(!log.contains(&access.password), "{log}");
}

/// Upstream: no two users may have the same password.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_password_need_not_be_unique() {
    let proxy = start().await;
    let target = echo().await;
    for name in ["ann", "bob"] {
        let access = access(free_port(), Method::Aes128Gcm, "the same");
        add(&proxy, name, Limits::Unlimited, &access).await;
        echoes(&mut connect(&access, target).await, b"hello").await;
        used(&proxy, name, 5).await;
    }
    proxy.stop().await;
}

/// Upstream: the time-out and the limit on connections are read and not used.
#[tokio::test(flavor = "multi_thread")]
async fn s2_silence_ends_and_connections_are_limited() {
    let mut settings = settings();
    settings.idle = Some(Duration::from_millis(400));
    let proxy = start_with(settings, |config| config.caps.connections_per_user = 2).await;
    let target = echo().await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    add(&proxy, "bob", Limits::Unlimited, &access).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&access, target).await;
        echoes(&mut stream, b"hello").await;
        streams.push(stream);
    }
    let mut third = connect(&access, target).await;
    let _ = third.write_all(b"hello").await;
    let mut heard = Vec::new();
    let _ = in_time(third.read_to_end(&mut heard)).await;
    assert!(heard.is_empty(), "one too many was served");
    for stream in streams {
        ends(stream).await;
    }
    echoes(&mut connect(&access, target).await, b"there is room again").await;
    proxy.stop().await;
}

/// Upstream: beyond the limit a connection is closed, or a new one refused.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_limit_neither_closes_nor_refuses() {
    let proxy = start().await;
    let limit = "token-bucket:rate=100kB/s,burst=1kB".parse().unwrap();
    let access = access(free_port(), Method::Chacha20IetfPoly1305, "secret");
    add(&proxy, "bob", Limits::down(limit), &access).await;
    let (flood, echo) = (flood().await, echo().await);
    let mut first = connect(&access, flood).await;
    first.write_all(b"go").await.unwrap();
    let mut bytes = vec![0; 30_000];
    in_time(first.read_exact(&mut bytes)).await.unwrap();
    // While it is above its limit.
    let mut second = connect(&access, echo).await;
    echoes(&mut second, b"served beside").await;
    in_time(first.read_exact(&mut bytes)).await.unwrap();
    proxy.stop().await;
}

/// Upstream: the end of one direction closes both.
#[tokio::test(flavor = "multi_thread")]
async fn s2_half_closed_is_half_open() {
    let proxy = start().await;
    let late = target(|mut client| async move {
        let mut words = Vec::new();
        let _ = client.read_to_end(&mut words).await;
        let _ = client.write_all(&words).await;
    })
    .await;
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        add(
            &proxy,
            &format!("user-{number}"),
            Limits::Unlimited,
            &access,
        )
        .await;
        let mut stream = connect(&access, late).await;
        stream.write_all(b"after the end").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        in_time(stream.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, b"after the end", "{method}");
    }
    proxy.stop().await;
}

/// Upstream: `none` and cfb serve whoever comes, whatever the operator thinks of it.
#[tokio::test(flavor = "multi_thread")]
async fn s2_without_encryption_nobody_is_served_unless_that_is_allowed() {
    let (target, datagrams) = (echo().await, datagram_echo("127.0.0.1:0").await);
    let header = |to: SocketAddr| {
        let mut bytes = vec![1, 127, 0, 0, 1];
        bytes.extend(to.port().to_be_bytes());
        bytes
    };
    for allowed in [false, true] {
        let mut settings = settings();
        settings.allow_unencrypted = allowed;
        let proxy = start_with(settings, |_| ()).await;
        let plain = access(free_port(), Method::None, "");
        let other = access(free_port(), Method::Aes128Gcm, "secret");
        proxy
            .users
            .add(user("plain", Limits::Unlimited))
            .await
            .unwrap();
        let given = proxy.users.set_shadowsocks("plain", Some(plain.clone()));
        given.await.unwrap();
        // After it, so that the ports of both are decided.
        add(&proxy, "other", Limits::Unlimited, &other).await;
        if !allowed {
            assert!(TcpStream::connect(("127.0.0.1", plain.port)).await.is_err());
            for (name, method) in [
                ("short", Method::Aes128Cfb),
                ("middle", Method::Aes192Cfb),
                ("long", Method::Aes256Cfb),
            ] {
                let old = access(free_port(), method, "secret");
                proxy
                    .users
                    .add(user(name, Limits::Unlimited))
                    .await
                    .unwrap();
                let given = proxy.users.set_shadowsocks(name, Some(old.clone()));
                given.await.unwrap();
                let after = access(free_port(), Method::Aes128Gcm, "secret");
                add(&proxy, &format!("after-{name}"), Limits::Unlimited, &after).await;
                assert!(TcpStream::connect(("127.0.0.1", old.port)).await.is_err());
            }
            proxy.stop().await;
            continue;
        }
        open(plain.port).await;
        let mut client = TcpStream::connect(("127.0.0.1", plain.port)).await.unwrap();
        // In two pieces.
        let words = [&header(target)[..], b"hello"].concat();
        client.write_all(&words[..3]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.write_all(&words[3..]).await.unwrap();
        let mut heard = [0; 5];
        in_time(client.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"hello");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sent = [&header(datagrams)[..], b"hello"].concat();
        let to = ("127.0.0.1", plain.port);
        socket.send_to(&sent, to).await.unwrap();
        let mut room = [0; 512];
        let len = in_time(socket.recv(&mut room)).await.unwrap();
        assert_eq!(room[..len], sent, "as it was sent, from where it went");
        used(&proxy, "plain", 10).await;
        // One user alone: nothing tells two apart.
        let twin = access(plain.port, Method::None, "");
        proxy
            .users
            .add(user("twin", Limits::Unlimited))
            .await
            .unwrap();
        let given = proxy.users.set_shadowsocks("twin", Some(twin));
        given.await.unwrap();
        let mut nonsense = TcpStream::connect(("127.0.0.1", plain.port)).await.unwrap();
        nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(200), nonsense.read(&mut room));
        assert!(heard.await.is_err(), "not an address, and nothing is said");
        proxy.stop().await;
    }
}
