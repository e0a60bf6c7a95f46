//! Who may reach what, and how many at once.

use std::net::SocketAddr;

use proxy::{Limits, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

async fn code(proxy: &Proxy, name: &str, target: SocketAddr) -> u8 {
    let mut client = proxy.connect().await;
    client
        .write_all(&socks5_login(name, PASSWORD))
        .await
        .unwrap();
    client.write_all(&socks5_connect(target)).await.unwrap();
    read_exact(&mut client, 6).await[5]
}

#[tokio::test]
async fn rules_for_everybody_and_for_one_user() {
    let (first, second) = (echo().await, echo().await);
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        let rule = |text: String| text.parse().unwrap();
        config.egress.everybody = vec![rule(format!("deny * {}", first.port()))];
        let own = vec![
            rule(format!("allow 127.0.0.1 {}", first.port())),
            rule("deny 127.0.0.0/8".to_owned()),
        ];
        config.egress.users.insert("bob".to_owned(), own);
    })
    .await;
    let bob = user("bob", Limits::Unlimited);
    proxy.users.add(bob).await.unwrap();
    let codes = [
        code(&proxy, NAME, first).await,
        code(&proxy, NAME, second).await,
        code(&proxy, "bob", first).await,
        code(&proxy, "bob", second).await,
    ];
    assert_eq!(codes, [2, 0, 0, 2]);
}

/// What each way through the proxy says of a target: whether it lets a user there.
async fn ways(proxy: &Proxy, name: &str, target: SocketAddr, expected: bool) -> [bool; 6] {
    let said = async |words: Vec<u8>| {
        let mut client = proxy.connect().await;
        client.write_all(&words).await.unwrap();
        client.shutdown().await.unwrap();
        read_to_end(&mut client).await
    };
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{name}:{PASSWORD}"),
    );
    let http = async |what: &str| {
        let words = format!(
            "{what} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {basic}\r\n\r\nx"
        );
        let answer = said(words.into_bytes()).await;
        !answer.starts_with(b"HTTP/1.1 403")
    };
    let line = format!("{} {} {name} {PASSWORD}\r\nx", target.ip(), target.port());
    let auth = [
        crate::auth_target::auth(1, name, PASSWORD),
        crate::auth_target::ask(target, name),
        b"x".to_vec(),
    ];
    [
        code(proxy, name, target).await == 0,
        http(&format!("CONNECT {target}")).await,
        http(&format!("GET http://{target}/")).await,
        said(line.into_bytes()).await.ends_with(b"x"),
        said(auth.concat()).await.ends_with(b"x"),
        crate::udp::reaches(proxy, name, target, expected).await,
    ]
}

/// Rules about targets in the account, on every way through the proxy, changed while
/// it runs; and nobody else's.
#[tokio::test]
async fn an_accounts_rules_about_targets_hold_on_every_way() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        // After those of the accounts.
        config.egress.everybody = vec!["deny 127.0.0.1".parse().unwrap()];
        config.allow_egress.clear();
    })
    .await;
    let bob = user("bob", Limits::Unlimited);
    proxy.users.add(bob).await.unwrap();
    let target = echo().await;
    crate::udp::udp_echo(&target.to_string()).await;
    let change = |rules: &str| proxy::users::RulesChange {
        egress: Some((rules != "-").then(|| rules.parse().unwrap())),
        ..Default::default()
    };
    let port = target.port();
    let allow = format!("allow 127.0.0.0/8 {port}");
    for (everybody, ada, lets_in) in [
        ("-", "-", [false, false]),
        ("-", &allow, [true, false]),
        ("-", &format!("deny * {port}, {allow}"), [false, false]),
        // A user's own instead of those for every account; none is none.
        (&allow, "none", [false, true]),
        (&allow, "-", [true, true]),
    ] {
        let users = &proxy.users;
        users.set_everybodys_rules(change(everybody)).await.unwrap();
        users.set_rules(NAME, change(ada)).await.unwrap();
        for (name, expected) in [NAME, "bob"].into_iter().zip(lets_in) {
            let found = ways(&proxy, name, target, expected).await;
            assert_eq!(found, [expected; 6], "{name}: {everybody:?}, {ada:?}");
        }
    }
}

#[tokio::test]
async fn one_address_has_only_so_many_connections() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.caps.connections_per_address = Some(2);
        let mut balanced = Listener::new("127.0.0.1:0".parse().unwrap());
        balanced.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.listeners.push(balanced);
    })
    .await;
    let target = echo().await;
    let open = [proxy.line(target).await, proxy.connect().await];
    let mut third = proxy.connect().await;
    assert!(!matches!(in_time(third.read(&mut [0])).await, Ok(1..)));
    // From behind a balancer it is the address in the header that counts.
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    let mut behind = Vec::new();
    for (last, served) in [(7, true), (7, true), (8, true), (7, false)] {
        let mut client = TcpStream::connect(proxy.addresses[1]).await.unwrap();
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        bytes.extend([192, 0, 2, last, 192, 0, 2, 9, 0, 7, 0, 8]);
        bytes.extend(line.as_bytes());
        client.write_all(&bytes).await.unwrap();
        let answered = matches!(in_time(client.read(&mut [0])).await, Ok(1));
        assert_eq!(answered, served, "{last}");
        behind.push(client);
    }
    drop(open);
    let again = async {
        loop {
            let mut client = proxy.connect().await;
            let _ = client.write_all(line.as_bytes()).await;
            if matches!(client.read(&mut [0]).await, Ok(1)) {
                break;
            }
        }
    };
    in_time(again).await;
}
