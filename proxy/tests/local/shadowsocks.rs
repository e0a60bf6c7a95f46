//! Shadowsocks between the local proxy and the server.

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::home::*;
use crate::support::*;

/// A port that nobody has, by TCP nor by UDP.
fn both_ports() -> u16 {
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        if std::net::UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shadowsocks_to_the_server_by_tcp_and_udp() {
    let home = Home::new();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.shadowsocks = Some(proxy::config::Shadowsocks {
            listen: [127, 0, 0, 1].into(),
            ..proxy::config::Shadowsocks::default()
        });
    })
    .await;
    let (page, password) = (web().await, home.path("password"));
    // Says something before it is asked.
    let speaks_first = target(|mut client| async move {
        let _ = client.write_all(b"220 hello\r\n").await;
    })
    .await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = datagrams.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 2_048];
        while let Ok((len, from)) = datagrams.recv_from(&mut bytes).await {
            let _ = datagrams.send_to(&bytes[..len], from).await;
        }
    });
    for method in Method::ALL.into_iter().filter(|one| one.authenticates()) {
        let secret = match method.key_len() {
            16 if method.is_2022() => "AAECAwQFBgcICQoLDA0ODw==:Dw4NDAsKCQgHBgUEAwIBAA==",
            32 if method.is_2022() => "AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8=",
            _ => "pässword",
        };
        let (port, name) = (both_ports(), format!("user-{method}"));
        proxy
            .users
            .add(user(&name, Limits::Unlimited))
            .await
            .unwrap();
        let access = proxy::users::Access {
            number: None,
            port,
            method,
            password: secret.to_owned(),
        };
        let given = proxy.users.set_shadowsocks(&name, Some(access)).await;
        given.unwrap();
        in_time(async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        std::fs::write(&password, secret).unwrap();
        let how = ["--password-file", password.to_str().unwrap()];
        let how = [&how[..], &["--save-password", "--dialect", method.name()]].concat();
        let login = home.identity("login", NAME, port, &how).await;
        assert!(login.status.success(), "{method}: {login:?}");
        let (_running, address) = home.run().await;
        for scheme in ["socks5h", "http"] {
            let through = format!("{scheme}://{address}");
            let got = curl(&through, &format!("http://127.0.0.1:{page}/")).await;
            assert_eq!(got.stdout, [b'p'; 300_000], "{method} {scheme}: {got:?}");
        }
        let mut silent = TcpStream::connect(&address).await.unwrap();
        silent.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read_exact(&mut silent, 2).await, [5, 0]);
        silent
            .write_all(&socks5_connect(speaks_first))
            .await
            .unwrap();
        assert_eq!(read_exact(&mut silent, 10).await[..2], [5, 0]);
        assert_eq!(read_exact(&mut silent, 11).await, b"220 hello\r\n");

        let mut control = TcpStream::connect(&address).await.unwrap();
        control.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read_exact(&mut control, 2).await, [5, 0]);
        let associate = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
        control.write_all(&associate).await.unwrap();
        let reply = read_exact(&mut control, 10).await;
        assert_eq!(reply[..8], [5, 0, 0, 1, 127, 0, 0, 1], "{method}");
        let relay = ("127.0.0.1", u16::from_be_bytes([reply[8], reply[9]]));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for round in 0..20_u8 {
            let mut sent = vec![0, 0, 0, 1, 127, 0, 0, 1];
            sent.extend(to.port().to_be_bytes());
            sent.extend([round; 1_000]);
            socket.send_to(&sent, relay).await.unwrap();
            let mut heard = [0; 2_048];
            let len = in_time(socket.recv(&mut heard)).await.unwrap();
            assert_eq!(heard[..len], sent, "{method}");
            // One association has one client, and nonsense harms nobody.
            stranger.send_to(&sent, relay).await.unwrap();
            socket.send_to(&sent[..7], relay).await.unwrap();
        }
        let usage = proxy.users.usage(&name).unwrap();
        assert!(usage.download_bytes >= 600_000, "{method}: {usage:?}");
    }
    // A key that is none.
    std::fs::write(&password, "short").unwrap();
    let how = ["--password-file", password.to_str().unwrap()];
    let how = [&how[..], &["--dialect", "2022-blake3-aes-128-gcm"]].concat();
    let login = home.identity("login", NAME, 1, &how).await;
    assert_eq!(login.status.code(), Some(2), "{login:?}");
}
