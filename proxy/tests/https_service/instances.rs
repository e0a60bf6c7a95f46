//! Several instances of one host: whose turn it is, which are healthy; for frames,
//! requests and tunnels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proxy::config::https_service::{Balance, Check, Upstream};
use proxy::protocol::{Host, Target};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{ask, get, http, ok, origin, read_request, service};
use crate::support::in_time;

fn upstream(instances: &[SocketAddr], balance: Balance) -> Upstream {
    let target = |address: &SocketAddr| Target {
        host: Host::Address(address.ip()),
        port: address.port(),
    };
    Upstream {
        tls: false,
        host: Target {
            host: Host::Name("api.example".into()),
            port: 80,
        },
        instances: instances.iter().map(target).collect(),
        balance,
        check: Check {
            interval: Duration::from_millis(30),
            path: Some("/health".into()),
            ..Check::default()
        },
    }
}

#[tokio::test]
async fn instances_take_turns_and_the_sick_ones_are_passed_over() {
    let sick = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ill = Arc::clone(&sick);
    let one = origin(move |head, _| {
        let ill = ill.load(Ordering::Relaxed) && head.starts_with("GET /health");
        async move {
            match ill {
                true => b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
                false => ok("", format!("one {head}").as_bytes()),
            }
        }
    })
    .await;
    let two = origin(|_, _| async { ok("", b"two") }).await;
    let group = upstream(&[one, two], Balance::RoundRobin);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let fetch = async || {
        let answer = ask(proxy.address, &get("http://api.example/x")).await;
        answer["body"].as_str().unwrap().to_owned()
    };
    let mut bodies = [fetch().await, fetch().await, fetch().await];
    bodies.sort();
    assert!(
        bodies[0].starts_with("one GET /x HTTP/1.1\r\n"),
        "{bodies:?}"
    );
    assert!(bodies[0].contains("host: api.example\r\n"), "{bodies:?}");
    assert_eq!(bodies[2], "two");
    sick.store(true, Ordering::Relaxed);
    let only = async |body: &str| {
        for _ in 0..200 {
            let all = [fetch().await, fetch().await];
            if all.iter().all(|got| got.starts_with(body)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{body} does not serve alone");
    };
    only("two").await;
    sick.store(false, Ordering::Relaxed);
    for _ in 0..200 {
        if fetch().await.starts_with("one") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the healed one serves again");
}

/// A request of a client of HTTP that logs in with it.
async fn send(client: &mut TcpStream, request: &str) {
    let head = format!("{request} HTTP/1.1\r\nHost: api.example\r\n");
    let login = "Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n";
    client.write_all((head + login).as_bytes()).await.unwrap();
}

/// The body of the next answer on a client's connection.
async fn body(client: &mut TcpStream) -> String {
    let (head, body) = in_time(read_request(client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    String::from_utf8(body).unwrap()
}

/// A tunnel to one of the instances, and what that one says.
async fn tunnel(address: SocketAddr) -> (TcpStream, String) {
    let mut client = TcpStream::connect(address).await.unwrap();
    send(&mut client, "CONNECT api.example:80").await;
    assert_eq!(body(&mut client).await, "");
    let inner = b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n";
    client.write_all(inner).await.unwrap();
    let said = body(&mut client).await;
    (client, said)
}

async fn one_and_two() -> [SocketAddr; 2] {
    [
        origin(|_, _| async { ok("", b"one") }).await,
        origin(|_, _| async { ok("", b"two") }).await,
    ]
}

#[tokio::test]
async fn tunnels_go_to_the_instances_in_turn() {
    let group = upstream(&one_and_two().await, Balance::RoundRobin);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let mut said = [tunnel(proxy.address).await.1, tunnel(proxy.address).await.1];
    said.sort();
    assert_eq!(said, ["one", "two"]);
    // A port that the group does not have is no business of its.
    let elsewhere = http(proxy.address, "GET http://api.example:81/x").await;
    assert!(elsewhere.starts_with("HTTP/1.1 502"), "{elsewhere}");
}

#[tokio::test]
async fn requests_on_one_connection_go_to_the_instances_in_turn() {
    let group = upstream(&one_and_two().await, Balance::RoundRobin);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let mut said = Vec::new();
    for _ in 0..4 {
        send(&mut client, "GET http://api.example/x").await;
        said.push(body(&mut client).await);
    }
    assert_ne!(said[0], said[1]);
    assert_eq!(said[..2], said[2..]);
}

#[tokio::test]
async fn the_same_client_of_http_goes_to_the_same_instance() {
    let group = upstream(&one_and_two().await, Balance::Source);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let (_tunnel, said) = tunnel(proxy.address).await;
    for _ in 0..3 {
        let answer = http(proxy.address, "GET http://api.example/x").await;
        assert!(answer.ends_with(&said), "{said} {answer}");
        let frame = ask(proxy.address, &get("http://api.example/x")).await;
        assert_eq!(frame["body"], said);
    }
}

#[tokio::test]
async fn a_tunnel_counts_to_its_end_and_a_request_to_its_answer() {
    let group = upstream(&one_and_two().await, Balance::LeastConnections);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let (tunnel, taken) = tunnel(proxy.address).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let mut next = async || {
        send(&mut client, "GET http://api.example/x").await;
        body(&mut client).await
    };
    for _ in 0..4 {
        assert_ne!(next().await, taken, "the other one has less to do");
    }
    drop(tunnel);
    for _ in 0..200 {
        if next().await == taken {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the tunnel counts still");
}

#[tokio::test]
async fn an_instance_that_is_not_reached_has_nothing_more_to_do() {
    let gone = ([127, 0, 0, 1], crate::support::closed_port().await).into();
    let [one, _] = one_and_two().await;
    let mut group = upstream(&[gone, one], Balance::LeastConnections);
    // Looked at once in this test, which is not enough to call it sick.
    group.check.interval = Duration::from_secs(3_600);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    let mut failed = 0;
    for _ in 0..4 {
        let answer = http(proxy.address, "GET http://api.example/x").await;
        failed += usize::from(answer.starts_with("HTTP/1.1 502"));
    }
    assert_eq!(failed, 2, "they take turns, as neither has anything to do");
}

#[tokio::test]
async fn without_a_healthy_instance_there_is_503() {
    let gone = ([127, 0, 0, 1], crate::support::closed_port().await).into();
    let group = upstream(&[gone], Balance::Source);
    let proxy = service(|service| service.upstreams = vec![group]).await;
    for _ in 0..200 {
        let answer = ask(proxy.address, &get("http://api.example/")).await;
        if answer["status_code"] == 503 {
            assert_eq!(answer["error"], "no instance of api.example:80 is healthy");
            let plain = http(proxy.address, "GET http://api.example/").await;
            assert!(plain.starts_with("HTTP/1.1 503"), "{plain}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is never found to be gone");
}
