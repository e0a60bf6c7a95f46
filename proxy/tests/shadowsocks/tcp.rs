//! Sessions.

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use tokio::io::AsyncWriteExt;

use crate::client::*;
use crate::support::{echo, flood};

#[tokio::test(flavor = "multi_thread")]
async fn every_method_carries_every_byte() {
    let proxy = start().await;
    let target = echo().await;
    let payload: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    for (number, method) in (1..).zip(METHODS) {
        let access = access(free_port(), method, &password(method, number));
        let name = format!("user-{number}");
        add(&proxy, &name, Limits::Unlimited, &access).await;
        let mut stream = connect(&access, target).await;
        // The crate's client panics where its first write is not taken whole.
        echoes(&mut stream, b"x").await;
        echoes(&mut stream, &payload).await;
        stream.shutdown().await.unwrap();
        ends(stream).await;
        let bytes = u64::try_from(payload.len() + 1).unwrap();
        used(&proxy, &name, bytes).await;
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_users_share_a_port_and_each_pays_for_themselves() {
    let proxy = start().await;
    let target = echo().await;
    for method in METHODS {
        let port = free_port();
        let accesses: Vec<_> = (1..=20)
            .map(|number| {
                let own = password(method, number);
                let both = format!("{}:{own}", key(method, 99));
                access(port, method, if method.is_2022() { &both } else { &own })
            })
            .collect();
        for (number, access) in accesses.iter().enumerate() {
            let name = format!("{method}-{number}");
            add(&proxy, &name, Limits::Unlimited, access).await;
        }
        for (number, access) in accesses.iter().enumerate().rev() {
            echoes_when_known(access, target, &vec![7; 1_000 + number]).await;
        }
        for number in 0..accesses.len() {
            let own = u64::try_from(1_000 + number).unwrap();
            used(&proxy, &format!("{method}-{number}"), own).await;
        }
    }
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_touches_the_user_it_is_about_and_nobody_else() {
    let proxy = start().await;
    let target = echo().await;
    let method = Method::Aes256Gcm;
    let (shared, own) = (free_port(), free_port());
    let accesses = [
        ("one", access(shared, method, "secret 1")),
        ("two", access(shared, method, "secret 2")),
        ("three", access(own, method, "secret 3")),
    ];
    for (name, access) in &accesses {
        add(&proxy, name, Limits::Unlimited, access).await;
    }
    let [one, two, three] = &accesses;
    let mut streams = [
        connect(&one.1, target).await,
        connect(&two.1, target).await,
        connect(&three.1, target).await,
    ];
    for stream in &mut streams {
        echoes(stream, b"before").await;
    }
    let [mut of_one, of_two, of_three] = streams;
    let other = access(shared, method, "another secret");
    proxy
        .users
        .set_shadowsocks("two", Some(other.clone()))
        .await
        .unwrap();
    ends(of_two).await;
    proxy.users.remove("three").await.unwrap();
    ends(of_three).await;
    closed(own).await;
    echoes(&mut of_one, b"after").await;
    echoes(&mut connect(&other, target).await, b"with the new one").await;
    proxy.users.set_enabled("one", false).await.unwrap();
    ends(of_one).await;
    proxy.users.set_enabled("two", false).await.unwrap();
    closed(shared).await;
    proxy.users.set_enabled("one", true).await.unwrap();
    open(shared).await;
    echoes(&mut connect(&one.1, target).await, b"again").await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_budget_over_shadowsocks_and_the_other_protocols() {
    let proxy = start().await;
    let limit = "token-bucket:rate=400kB/s,burst=4kB".parse().unwrap();
    let access = access(free_port(), Method::Chacha20IetfPoly1305, "secret");
    add(&proxy, "bob", Limits::Shared(limit), &access).await;
    let flood = flood().await;
    let mut streams: Vec<_> = Vec::new();
    for _ in 0..4 {
        streams.push(connect(&access, flood).await);
    }
    for stream in &mut streams {
        stream.write_all(b"go").await.unwrap();
    }
    let mut line = proxy.line_as("bob", crate::support::PASSWORD, flood).await;
    let readers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(ends(stream)))
        .collect();
    let of_line = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut line, &mut tokio::io::sink()).await;
    });
    // From a moment on when everybody is under way.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (since, before) = (
        tokio::time::Instant::now(),
        proxy.users.usage("bob").unwrap().total(),
    );
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let moved = proxy.users.usage("bob").unwrap().total() - before;
    let expected = since.elapsed().as_secs_f64() * 400_000.0;
    let off = (moved as f64 - expected).abs() / expected;
    // What is counted comes in pieces; over a longer time it is below 1 %.
    assert!(off < 0.03, "{moved} of {expected}");
    readers.iter().for_each(|reader| reader.abort());
    of_line.abort();
}
