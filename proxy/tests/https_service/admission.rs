//! Queue, workers, time-outs, limits of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::{ask, get, hear, http_request, login, ok, origin, service, slow};
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

/// An answer may be longer as JSON than it was.
#[tokio::test]
async fn the_memory_of_answers_is_that_of_their_frames() {
    let target = origin(|_, _| async { ok("", &vec![1; 200 << 10]) }).await;
    let proxy = service(|service| service.memory = flow::ByteSize::new(1 << 20)).await;
    let mut request = get(&format!("http://{target}/"));
    let answer = ask(proxy.address, &request).await;
    assert_eq!(answer["error"], "no memory is left for this request");
    request["body_encoding"] = "base64".into();
    assert_eq!(ask(proxy.address, &request).await["status_code"], 200);
}

/// Nobody works for those who have gone while they waited: otherwise a queue full of
/// them would leave nothing to those who have not.
#[tokio::test]
async fn who_closes_in_the_queue_is_asked_for_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Semaphore::new(0));
    let (counted, held) = (Arc::clone(&asked), Arc::clone(&release));
    let target = origin(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let held = Arc::clone(&held);
        async move {
            held.acquire().await.unwrap().forget();
            ok("", b"served")
        }
    })
    .await;
    let proxy = service(|service| service.workers = 1.try_into().unwrap()).await;
    let url = format!("http://{target}/");
    let frame = crate::client::frame(get(&url).to_string().as_bytes());
    let mut first = proxy.connect().await;
    first.write_all(&frame).await.unwrap();
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One is still there to hear it; the other two have gone.
    let mut half = proxy.connect().await;
    half.write_all(&frame).await.unwrap();
    half.shutdown().await.unwrap();
    assert_eq!(
        hear(&mut half).await["error"],
        "the client has closed while its request waited"
    );
    for bytes in [
        http_request(&format!("GET {url}")),
        http_request(&format!("CONNECT {target}")),
    ] {
        let mut gone = proxy.connect().await;
        gone.write_all(&bytes).await.unwrap();
        gone.shutdown().await.unwrap();
        let words = crate::support::read_to_end(&mut gone).await;
        assert!(words.starts_with(b"HTTP/1.1 503 "), "{words:?}");
    }
    release.add_permits(2);
    assert_eq!(hear(&mut first).await["body"], "served");
    assert_eq!(ask(proxy.address, &get(&url)).await["body"], "served");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// A worker that is free serves those too who have nothing more to say.
#[tokio::test]
async fn who_closes_its_side_is_served_where_nobody_waits() {
    let target = origin(|_, _| async { ok("", b"served") }).await;
    let proxy = service(|_| ()).await;
    let url = format!("http://{target}/");
    let mut client = proxy.connect().await;
    let frame = crate::client::frame(get(&url).to_string().as_bytes());
    client.write_all(&frame).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(hear(&mut client).await["body"], "served");
    let mut client = proxy.connect().await;
    client
        .write_all(&http_request(&format!("GET {url}")))
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    let words = crate::support::read_to_end(&mut client).await;
    assert!(words.ends_with(b"\r\n\r\nserved"), "{words:?}");
}
