//! The two dialects byte by byte.

use std::time::Duration;

use proxy::{Caps, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::*;

#[tokio::test]
async fn the_line_handshake_connects_and_names_the_bound_address() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = whoami().await;
    let mut client = proxy.connect().await;
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    client.write_all(line.as_bytes()).await.unwrap();
    let bound = read_line(&mut client).await;
    assert_eq!(read_line(&mut client).await, bound);
    assert_eq!(read_to_end(&mut client).await, b"");
}

#[tokio::test]
async fn socks5_connects_and_names_the_bound_address() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = whoami().await;
    let mut client = proxy.connect().await;
    client.write_all(&[5, 2, 0, 2]).await.unwrap();
    assert_eq!(read_exact(&mut client, 2).await, [5, 2]);
    client
        .write_all(&socks5_login(NAME, PASSWORD)[3..])
        .await
        .unwrap();
    assert_eq!(read_exact(&mut client, 2).await, [1, 0]);
    client.write_all(&socks5_connect(target)).await.unwrap();
    let reply = read_exact(&mut client, 10).await;
    assert_eq!(reply[..8], [5, 0, 0, 1, 127, 0, 0, 1]);
    let port = u16::from_be_bytes([reply[8], reply[9]]);
    assert_eq!(
        read_line(&mut client).await,
        format!("127.0.0.1 {port}\r\n")
    );
}

#[tokio::test]
async fn names_and_ipv6_addresses_are_targets_too() {
    let loopback =
        |config: &mut proxy::Config| config.allow_egress.push("::1/128".parse().unwrap());
    let proxy = Proxy::start_with(Limits::Unlimited, loopback).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for (host, expected) in [
        ("::1", "::1 "),
        ("[::1]", "::1 "),
        ("ip6-localhost", "::1 "),
    ] {
        let mut client = proxy.connect().await;
        client
            .write_all(format!("{host} {port} {NAME} {PASSWORD}\r\n").as_bytes())
            .await
            .unwrap();
        let reply = read_line(&mut client).await;
        if host == "ip6-localhost" && reply.is_empty() {
            continue; // Not every host has that name.
        }
        assert!(reply.starts_with(expected), "{host}: {reply:?}");
    }
    let mut client = proxy.connect().await;
    let mut request = socks5_login(NAME, PASSWORD);
    request.extend([5, 1, 0, 4]);
    request.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    request.extend(port.to_be_bytes());
    client.write_all(&request).await.unwrap();
    assert_eq!(read_exact(&mut client, 4).await, [5, 2, 1, 0]);
    let reply = read_exact(&mut client, 22).await;
    assert_eq!(reply[..4], [5, 0, 0, 4]);
    assert_eq!(reply[4..20], std::net::Ipv6Addr::LOCALHOST.octets());
}

/// Bytes that come one at a time, and all at once with payload behind them.
#[tokio::test]
async fn fragments_and_pipelining_make_no_difference() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port()).into_bytes();
    let socks5 = [socks5_login(NAME, PASSWORD), socks5_connect(target)].concat();
    for (handshake, reply_len) in [(line, None), (socks5, Some(14))] {
        let mut whole = handshake.clone();
        whole.extend(b"early payload");
        for step in [1, whole.len()] {
            let mut client = proxy.connect().await;
            client.set_nodelay(true).unwrap();
            for piece in whole.chunks(step) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            match reply_len {
                Some(len) => drop(read_exact(&mut client, len).await),
                None => drop(read_line(&mut client).await),
            }
            assert_eq!(
                read_to_end(&mut client).await,
                b"early payload",
                "{step} at a time"
            );
        }
    }
}

/// Whatever goes wrong, the line dialect says nothing and closes in order.
#[tokio::test]
async fn the_line_handshake_fails_silently() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let port = echo().await.port();
    let closed = closed_port().await;
    let mut long = vec![b'a'; 5_000];
    long.extend(b"\r\n");
    let lines = [
        format!("127.0.0.1 {port} {NAME} wrong\r\n"),
        format!("127.0.0.1 {port} nobody {PASSWORD}\r\n"),
        format!("127.0.0.1 {port} x'or'1'='1 x\r\n"),
        format!("127.0.0.1 {port} x'union/**/select/**/'pw',1000000000-- pw\r\n"),
        format!("127.0.0.1 {port} {NAME}\r\n"),
        format!("127.0.0.1 {port} {NAME} {PASSWORD}\n"),
        format!("127.0.0.1 {closed} {NAME} {PASSWORD}\r\n"),
        format!("10.255.255.1 {port} {NAME} {PASSWORD}\r\n"),
        "\u{4}\u{1}".to_owned(),
        "\r\n".to_owned(),
        String::from_utf8(long).unwrap(),
    ];
    for line in lines {
        let mut client = proxy.connect().await;
        client.write_all(line.as_bytes()).await.unwrap();
        client.write_all(b"more, unasked for").await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"", "{line:?}");
    }
}

#[tokio::test]
async fn socks5_says_what_is_wrong() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let port = echo().await.port().to_be_bytes();
    let closed = closed_port().await.to_be_bytes();
    let ipv4 = |address: [u8; 4], port: [u8; 2]| [&[5, 1, 0, 1][..], &address, &port].concat();
    let refused = |code: u8| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    for (request, reply) in [
        (ipv4([127, 0, 0, 1], closed), refused(5)),
        (ipv4([10, 255, 255, 1], port), refused(2)),
        (ipv4([169, 254, 169, 254], port), refused(2)),
        (
            b"\x05\x01\x00\x03\x0ex.y.z.invalid.\x00\x50".to_vec(),
            refused(4),
        ),
        (vec![5, 2, 0, 1, 127, 0, 0, 1, 0, 80], refused(7)),
        (vec![5, 9, 0, 1, 0, 0, 0, 0, 0, 0], refused(7)),
        (vec![5, 1, 0, 2, 0, 0], refused(8)),
        (vec![5, 1, 0, 3, 0, 0, 80], refused(1)),
        (vec![4, 1, 0, 1, 0, 0, 0, 0, 0, 0], refused(1)),
    ] {
        let mut client = proxy.connect().await;
        client
            .write_all(&socks5_login(NAME, PASSWORD))
            .await
            .unwrap();
        client.write_all(&request).await.unwrap();
        let said = read_to_end(&mut client).await;
        assert_eq!(said[..4], [5, 2, 1, 0]);
        assert_eq!(said[4..], reply, "{request:?}");
    }
}

/// A host that drops what it gets keeps nobody waiting for longer than the config says.
#[tokio::test]
async fn a_target_that_does_not_answer_is_given_up() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.timeouts.connect = Duration::from_millis(200);
    })
    .await;
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // Room for one whom nobody accepts; whoever comes then gets no answer.
    let silent = silent.listen(0).unwrap();
    let target = silent.local_addr().unwrap();
    let _first = TcpStream::connect(target).await.unwrap();
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    let get = format!(
        "GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\
         Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
    );
    let socks5 = [socks5_login(NAME, PASSWORD), socks5_connect(target)].concat();
    for (request, answer) in [
        (line.into_bytes(), &b""[..]),
        (get.into_bytes(), b"HTTP/1.1 504 "),
        (socks5, &[5, 2, 1, 0, 5, 4, 0, 1]),
    ] {
        let mut client = proxy.connect().await;
        client.write_all(&request).await.unwrap();
        let said = read_to_end(&mut client).await;
        assert!(said.starts_with(answer), "{said:?}");
        assert_eq!(said.is_empty(), answer.is_empty());
    }
}

#[tokio::test]
async fn socks5_serves_nobody_without_the_right_password() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    for greeting in [&[5, 1, 0][..], &[5, 2, 0, 1], &[5, 0]] {
        let mut client = proxy.connect().await;
        client.write_all(greeting).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, [5, 0xff]);
    }
    for (name, password) in [(NAME, "wrong"), ("nobody", PASSWORD), ("", ""), (NAME, "")] {
        let mut client = proxy.connect().await;
        client
            .write_all(&socks5_login(name, password))
            .await
            .unwrap();
        client
            .write_all(&socks5_connect(echo().await))
            .await
            .unwrap();
        assert_eq!(read_to_end(&mut client).await, [5, 2, 1, 1], "{name:?}");
    }
    // A right password does not open the door for the next one from the same address.
    drop(proxy.socks5(echo().await).await);
    let mut client = proxy.connect().await;
    client.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(read_to_end(&mut client).await, [5, 0xff]);
}

#[tokio::test]
async fn a_password_may_hold_spaces_and_anything_but_the_end_of_a_line() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let password = " two  spaces ' \" ; -- \u{fc} ";
    let mut user = user("bob", Limits::Unlimited);
    user.password = password.into();
    proxy.users.add(user).await.unwrap();
    drop(proxy.line_as("bob", password, target).await);
}

/// The deadline is one for the whole handshake: dripping does not extend it.
#[tokio::test]
async fn a_handshake_has_one_deadline() {
    let deadline = Duration::from_millis(300);
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.timeouts.handshake = deadline
    })
    .await;
    let mut silent = proxy.connect().await;
    let (mut source, mut sink) = proxy.connect().await.into_split();
    let drip = tokio::spawn(async move {
        while sink.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(read_to_end(&mut silent).await, b"");
    let mut end = Vec::new();
    // It may end in a reset: what dripped last was never read.
    let _ = in_time(source.read_to_end(&mut end)).await;
    assert_eq!(end, b"");
    in_time(drip).await.unwrap();
}

#[tokio::test]
async fn silent_clients_do_not_keep_an_honest_one_out() {
    let few = Caps {
        handshakes: 8,
        ..Caps::default()
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.caps = few).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(proxy.connect().await);
    }
    let mut honest = proxy.line(echo().await).await;
    honest.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut honest, 5).await, b"hello");
    assert_eq!(
        read_to_end(&mut silent[0]).await,
        b"",
        "the oldest gave way"
    );
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_go_on() {
    let two = Caps {
        connections: 2,
        ..Caps::default()
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.caps = two).await;
    let target = echo().await;
    let mut open = [proxy.line(target).await, proxy.socks5(target).await];
    let mut refused = proxy.connect().await;
    let _ = in_time(refused.read(&mut [0])).await;
    for client in &mut open {
        client.write_all(b"still here").await.unwrap();
        assert_eq!(read_exact(client, 10).await, b"still here");
    }
    drop(open);
    // Places are given again, as soon as the proxy has seen the ends.
    let again = async {
        loop {
            let mut client = proxy.connect().await;
            let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
            let _ = client.write_all(line.as_bytes()).await;
            if matches!(client.read(&mut [0]).await, Ok(1)) {
                break;
            }
        }
    };
    in_time(again).await;
}

#[tokio::test]
async fn one_user_has_only_so_many_connections() {
    let one = Caps {
        connections_per_user: 1,
        ..Caps::default()
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.caps = one).await;
    let target = echo().await;
    let first = proxy.socks5(target).await;
    let mut second = proxy.connect().await;
    second
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    second.write_all(&socks5_connect(target)).await.unwrap();
    assert_eq!(
        read_to_end(&mut second).await,
        [5, 2, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]
    );
    proxy
        .users
        .add(user("bob", Limits::Unlimited))
        .await
        .unwrap();
    drop(proxy.line_as("bob", PASSWORD, target).await);
    drop(first);
}

/// Tells each client where it comes from.
async fn whoami() -> std::net::SocketAddr {
    target(|mut client: TcpStream| async move {
        let peer = client.peer_addr().unwrap();
        let said = format!("{} {}\r\n", peer.ip(), peer.port());
        let _ = client.write_all(said.as_bytes()).await;
    })
    .await
}
