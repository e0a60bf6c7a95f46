//! Queue, workers, time-outs, limits of connections.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{ask, get, login, ok, origin, service, slow};
use crate::support::in_time;

#[tokio::test]
async fn twelve_slow_requests_give_only_503_and_504_and_leave_no_worker_busy() {
    let slow = slow(Duration::from_secs(60)).await;
    let proxy = service(|service| {
        service.queue = 3;
        service.workers = 2.try_into().unwrap();
        service.request_timeout = Duration::from_millis(300);
        service.close_after_response = false;
    })
    .await;
    let url = format!("http://{slow}/");
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (address, request) = (proxy.address, get(&url));
            tokio::spawn(async move { ask(address, &request).await })
        })
        .collect();
    let (mut full, mut late) = (0, 0);
    for task in tasks {
        let answer = in_time(task).await.unwrap();
        match answer["status_code"].as_u64() {
            Some(503) => {
                assert_eq!(answer["error"], "the queue is full");
                full += 1;
            }
            Some(504) => late += 1,
            _ => panic!("{answer}"),
        }
        assert_eq!(answer["headers"], json!({}));
        assert_eq!(answer["body"], "");
    }
    assert_eq!((full, late), (7, 5));
    // No worker is busy: as many as there are serve at once.
    let quick = origin(|_, _| async { ok("", b"quick") }).await;
    for _ in 0..4 {
        let answer = ask(proxy.address, &get(&format!("http://{quick}/"))).await;
        assert_eq!(answer["body"], "quick");
    }
}

#[tokio::test]
async fn who_waits_too_long_in_the_queue_is_told_so() {
    let slow = slow(Duration::from_secs(60)).await;
    let proxy = service(|service| {
        service.workers = 1.try_into().unwrap();
        service.queue_timeout = Duration::from_millis(200);
        service.request_timeout = Duration::from_secs(5);
    })
    .await;
    let request = get(&format!("http://{slow}/"));
    let mut first = TcpStream::connect(proxy.address).await.unwrap();
    let frame = crate::client::frame(request.to_string().as_bytes());
    first.write_all(&frame).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = ask(proxy.address, &request).await;
    assert_eq!(answer["status_code"], 503);
    let why = "no worker was free within the queue time-out";
    assert_eq!(answer["error"], why);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_without_a_word() {
    let proxy = service(|service| service.max_connections = 2).await;
    let _kept = [proxy.connect().await, proxy.connect().await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..2 {
        let mut refused = proxy.connect().await;
        let mut rest = Vec::new();
        in_time(refused.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn http_waits_in_the_same_queue() {
    let slow = slow(Duration::from_secs(60)).await;
    let proxy = service(|service| {
        service.queue = 0;
        service.workers = 1.try_into().unwrap();
        service.request_timeout = Duration::from_millis(500);
    })
    .await;
    let request = format!(
        "GET http://{slow}/ HTTP/1.1\r\nHost: {slow}\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\nConnection: close\r\n\r\n"
    );
    let mut first = proxy.connect().await;
    first.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let frame = ask(proxy.address, &login(get(&format!("http://{slow}/")))).await;
    assert_eq!(frame["status_code"], 503, "the worker is busy: {frame}");
    let mut second = proxy.connect().await;
    second.write_all(request.as_bytes()).await.unwrap();
    let words = crate::support::read_to_end(&mut second).await;
    assert!(words.starts_with(b"HTTP/1.1 503 "), "{words:?}");
    let words = crate::support::read_to_end(&mut first).await;
    assert!(words.starts_with(b"HTTP/1.1 504 "), "{words:?}");
}

#[tokio::test]
async fn what_is_held_in_memory_is_bounded() {
    let large = origin(|_, _| async { ok("", &vec![b'x'; 1 << 20]) }).await;
    let proxy = service(|service| service.memory = flow::ByteSize::new(256 << 10)).await;
    let answer = ask(proxy.address, &get(&format!("http://{large}/"))).await;
    assert_eq!(answer["status_code"], 503);
    let mut request: Value = get(&format!("http://{large}/"));
    request["post_data"] = "y".repeat(1 << 20).into();
    let answer = ask(proxy.address, &request).await;
    assert_eq!(answer["error"], "no memory is left for this request");
    let small = origin(|_, _| async { ok("", b"small") }).await;
    let answer = ask(proxy.address, &get(&format!("http://{small}/"))).await;
    assert_eq!(answer["body"], "small", "memory is free again");
}
