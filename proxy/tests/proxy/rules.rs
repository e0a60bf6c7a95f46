//! Rules through sockets: quota and expiry in the middle of a connection, caps
//! on connections and addresses, rules for everybody.

use std::time::Duration;

use proxy::users::{Beyond, Cap, Expiry, Moment, Quota, RulesChange, Standing};
use proxy::{Limits, Rules};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::*;

fn change(rules: Rules) -> RulesChange {
    RulesChange {
        quota: rules.quota.map(Some),
        expires: rules.expires.map(Some),
        beyond: rules.beyond.map(Some),
        max_connections: rules.max_connections.map(Some),
        max_addresses: rules.max_addresses.map(Some),
        ..RulesChange::default()
    }
}

fn quota(text: &str) -> Rules {
    Rules {
        quota: Some(text.parse::<Quota>().unwrap()),
        ..Rules::default()
    }
}

/// Bytes that arrive until the connection ends, and whether that was a reset.
async fn until_the_end(client: &mut tokio::net::TcpStream) -> (u64, bool) {
    let mut moved = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match in_time(client.read(&mut buffer)).await {
            Ok(0) => return (moved, false),
            Ok(len) => moved += u64::try_from(len).unwrap(),
            Err(_) => return (moved, true),
        }
    }
}

#[tokio::test]
async fn a_used_up_quota_ends_a_connection_and_the_next_login() {
    const QUOTA: u64 = 3_000_000;
    let proxy = Proxy::start(
        "token-bucket:rate=100MB/s,burst=100kB"
            .parse()
            .map(Limits::down)
            .unwrap(),
    )
    .await;
    let rules = change(quota("3 MB/monthly"));
    proxy.users.set_rules(NAME, rules).await.unwrap();
    let target = flood().await;
    let mut client = proxy.line(target).await;
    // A reset takes what was not read yet with it.
    let (received, was_reset) = until_the_end(&mut client).await;
    assert!(was_reset);
    let used = proxy.users.usage(NAME).unwrap().total();
    assert!(received <= used, "{received} of {used}");
    assert_eq!(used, QUOTA, "to the byte");
    let user = proxy.users.get(NAME).unwrap();
    assert_eq!(user.standing, Standing::OverQuota);
    assert_eq!(user.period.usage.total(), used);
    let mut refused = proxy.connect().await;
    refused
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    assert_ne!(read_to_end(&mut refused).await, [5, 2, 1, 0]);
    proxy
        .users
        .set_rules(NAME, change(quota("none")))
        .await
        .unwrap();
    drop(proxy.line(target).await);
}

#[tokio::test]
async fn beyond_the_quota_a_connection_may_go_on_slowly() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let rules = Rules {
        beyond: Some(Beyond::SlowTo("10 kB/s".parse().unwrap())),
        ..quota("1 MB")
    };
    proxy.users.set_rules(NAME, change(rules)).await.unwrap();
    let mut client = proxy.line(flood().await).await;
    let mut moved = 0;
    let mut buffer = vec![0; 64 * 1024];
    let mut fast = async || {
        while proxy.users.get(NAME).unwrap().standing == Standing::Good {
            moved += client.read(&mut buffer).await.unwrap();
        }
    };
    in_time(fast()).await;
    // What was under way arrives at once; after that it drips.
    let drip = async {
        let mut quiet = 0;
        while quiet < 3 {
            let read = tokio::time::timeout(Duration::from_millis(40), client.read(&mut buffer));
            match read.await {
                Ok(len) => assert!(len.unwrap() > 0, "it goes on"),
                Err(_) => quiet += 1,
            }
        }
    };
    in_time(drip).await;
    let before = proxy.users.usage(NAME).unwrap().download_bytes;
    let since = tokio::time::Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        let left = Duration::from_millis(20);
        let _ = tokio::time::timeout(left, client.read(&mut buffer)).await;
    }
    let seconds = since.elapsed().as_secs_f64();
    let moved = proxy.users.usage(NAME).unwrap().download_bytes - before;
    #[allow(clippy::cast_precision_loss, reason = "small figures")]
    let most = 10_000.0 * seconds + 1_500.0;
    #[allow(clippy::cast_precision_loss, reason = "small figures")]
    let moved = moved as f64;
    assert!(moved > 0.0 && moved <= most, "{moved} in {seconds} s");
}

#[tokio::test]
async fn an_account_that_expires_ends_its_connections() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let mut client = proxy.line(echo().await).await;
    // In whole seconds, so that the first of these may be over at once.
    let soon = Moment::from_unix_seconds(Moment::now().unix_seconds() + 3);
    let rules = Rules {
        expires: Some(Expiry::At(soon)),
        ..Rules::default()
    };
    proxy.users.set_rules(NAME, change(rules)).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    until_the_end(&mut client).await;
    assert!(Moment::now() >= soon);
    let mut refused = proxy.connect().await;
    refused
        .write_all(&socks5_login(NAME, PASSWORD))
        .await
        .unwrap();
    assert_ne!(read_to_end(&mut refused).await, [5, 2, 1, 0]);
}

#[tokio::test]
async fn caps_hold_and_rules_for_everybody_do_where_there_are_no_others() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let rules = Rules {
        max_connections: Some(Cap::AtMost(1)),
        ..Rules::default()
    };
    proxy
        .users
        .set_everybodys_rules(change(rules))
        .await
        .unwrap();
    let first = proxy.line(target).await;
    assert!(!is_served(&proxy, [127, 0, 0, 1], target).await);
    let rules = Rules {
        max_connections: Some(Cap::None),
        max_addresses: Some(Cap::AtMost(2)),
        ..Rules::default()
    };
    proxy.users.set_rules(NAME, change(rules)).await.unwrap();
    let _second = proxy.line(target).await;
    let mut third = from(&proxy, [127, 0, 0, 2]).await;
    assert!(asks(&mut third, target).await);
    assert!(!is_served(&proxy, [127, 0, 0, 3], target).await);
    assert!(is_served(&proxy, [127, 0, 0, 2], target).await);
    drop(third);
    // As soon as the server has noticed.
    let free = async { while !is_served(&proxy, [127, 0, 0, 3], target).await {} };
    in_time(free).await;
    drop(first);
}

async fn from(proxy: &Proxy, source: [u8; 4]) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(proxy.address).await.unwrap()
}

/// Whether the line handshake gets a reply.
async fn asks(client: &mut tokio::net::TcpStream, target: std::net::SocketAddr) -> bool {
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    client.write_all(line.as_bytes()).await.unwrap();
    !read_line(client).await.is_empty()
}

async fn is_served(proxy: &Proxy, source: [u8; 4], target: std::net::SocketAddr) -> bool {
    asks(&mut from(proxy, source).await, target).await
}
