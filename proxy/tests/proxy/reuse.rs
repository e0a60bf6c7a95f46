//! When a connection to an origin is used again by the HTTP proxy, and when not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy::Limits;
use proxy::users::RulesChange;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{BASIC, connect, get, head};
use crate::support::*;

/// `bob:secret`.
const BOB: &str = "Proxy-Authorization: Basic Ym9iOnNlY3JldA==\r\n";

/// An origin that answers each request with the number of the connection that it came
/// by, and what its path asks for: `/more` something beyond the answer, `/bye` the end
/// of the connection after it, `/close` the same and says so.
async fn origin() -> SocketAddr {
    let connections = Arc::new(AtomicUsize::new(0));
    target(move |mut client: TcpStream| {
        let connections = Arc::clone(&connections);
        async move {
            let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
            loop {
                let request = head(&mut client).await;
                if request.is_empty() {
                    return;
                }
                if request.contains("Content-Length: 1\r\n") {
                    read_exact(&mut client, 1).await;
                }
                let path = request.split(' ').nth(1).unwrap_or_default();
                let close = if path == "/close" {
                    "Connection: close\r\n"
                } else {
                    ""
                };
                let more = if path == "/more" {
                    "HTTP/1.1 200 OK\r\n"
                } else {
                    ""
                };
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 1\r\n\r\n{number}{more}");
                if client.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                if ["/bye", "/close"].contains(&path) || request.contains("Connection: close") {
                    return;
                }
            }
        }
    })
    .await
}

/// The number that the origin answers with.
async fn ask(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = head(client).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    String::from_utf8(read_exact(client, 1).await).unwrap()
}

#[tokio::test]
async fn one_client_asks_an_origin_again_on_the_same_connection() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (first, second) = (origin().await, origin().await);
    let mut client = proxy.connect().await;
    let post = get(first, "/")
        .replace("GET", "POST")
        .replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx");
    for (request, number) in [
        (get(first, "/"), "1"),
        (get(first, "/a"), "1"),
        (get(first, "/").replace("GET", "OPTIONS"), "1"),
        // What must not be sent twice goes by a new one, which is kept.
        (post.clone(), "2"),
        (get(first, "/"), "2"),
        (post, "3"),
        // Another origin, and back.
        (get(second, "/"), "1"),
        (get(first, "/"), "4"),
        // One that ends, with and without saying so: nobody notices.
        (get(first, "/close"), "4"),
        (get(first, "/bye"), "5"),
        (get(first, "/"), "6"),
        // One that has said too much is not asked again.
        (get(first, "/more"), "6"),
        (get(first, "/"), "7"),
    ] {
        assert_eq!(ask(&mut client, &request).await, number, "{request}");
    }
    // Pipelined requests, too, and a tunnel is never a connection that was used.
    let two = [get(first, "/"), get(first, "/")].concat();
    assert_eq!(ask(&mut client, &two).await, "7");
    assert_eq!(ask(&mut client, "").await, "7");
    client.write_all(connect(first).as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    let through = format!("GET / HTTP/1.1\r\nHost: {first}\r\n\r\n");
    assert_eq!(ask(&mut client, &through).await, "8");
}

#[tokio::test]
async fn nobody_else_gets_a_kept_connection() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let bob = user("bob", Limits::Unlimited);
    proxy.users.add(bob).await.unwrap();
    let origin = origin().await;
    let (mut one, mut other) = (proxy.connect().await, proxy.connect().await);
    let adas = get(origin, "/");
    let bobs = adas.replace(BASIC, BOB);
    assert_eq!(ask(&mut one, &adas).await, "1");
    assert_eq!(ask(&mut other, &adas).await, "2", "another client");
    assert_eq!(ask(&mut one, &bobs).await, "3", "another user");
    assert_eq!(ask(&mut one, &adas).await, "4", "and back");
    // Rules about targets hold for the next request.
    let change = RulesChange {
        egress: Some(Some(format!("deny * {}", origin.port()).parse().unwrap())),
        ..RulesChange::default()
    };
    proxy.users.set_rules(NAME, change).await.unwrap();
    one.write_all(adas.as_bytes()).await.unwrap();
    let answer = head(&mut one).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(ask(&mut other, &bobs).await, "5");
}
