//! The HTTP proxy byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy::{Limits, Usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::support::*;

/// `ada:secret`.
pub(crate) const BASIC: &str = "Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n";

pub(crate) fn connect(target: SocketAddr) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{BASIC}\r\n")
}

pub(crate) fn get(target: SocketAddr, path: &str) -> String {
    format!("GET http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n{BASIC}\r\n")
}

/// A head, its empty line included.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    loop {
        let line = read_line(stream).await;
        head.push_str(&line);
        if line == "\r\n" || line.is_empty() {
            return head;
        }
    }
}

/// An origin that gives every request the next of `answers`, and keeps what it heard.
async fn origin(answers: &'static [&'static str]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let address = target(move |mut client| {
        let log = Arc::clone(&log);
        async move {
            let mut request = head(&mut client).await;
            if let Some(length) = request.split("Content-Length: ").nth(1) {
                let length = length.split("\r\n").next().unwrap().parse().unwrap();
                let body = read_exact(&mut client, length).await;
                request.push_str(&String::from_utf8(body).unwrap());
            }
            let number = {
                let mut log = log.lock().await;
                log.push(request);
                log.len() - 1
            };
            let answer = answers[number.min(answers.len() - 1)];
            let _ = client.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (address, heard)
}

#[tokio::test]
async fn connect_opens_a_tunnel_however_the_request_is_split() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let whole = [connect(target).as_bytes(), b"early payload"].concat();
    for (connection, step) in [1, 7, whole.len()].into_iter().enumerate() {
        let mut client = proxy.connect().await;
        client.set_nodelay(true).unwrap();
        for piece in whole.chunks(step) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(
            head(&mut client).await,
            format!("HTTP/1.1 200 Connection established\r\nX-Request-Id: {connection}-1\r\n\r\n")
        );
        assert_eq!(read_to_end(&mut client).await, b"early payload", "{step}");
    }
}

#[tokio::test]
async fn every_refusal_has_its_status() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let open = echo().await;
    let closed: SocketAddr = ([127, 0, 0, 1], closed_port().await).into();
    let private: SocketAddr = "10.255.255.1:80".parse().unwrap();
    let wrong = "Proxy-Authorization: Basic YWRhOndyb25n\r\n";
    let nobody = "Proxy-Authorization: Basic bm9ib2R5OnNlY3JldA==\r\n";
    for (request, status) in [
        (connect(open).replace(BASIC, wrong), "407"),
        (connect(open).replace(BASIC, nobody), "407"),
        (get(open, "/").replace(BASIC, wrong), "407"),
        (connect(open).replace(BASIC, "Connection: close\r\n"), "407"),
        (connect(closed), "502"),
        (get(closed, "/"), "502"),
        (connect(private), "403"),
        (get(private, "/"), "403"),
        (connect(open).replace("Host", "Bad Name"), "400"),
        (connect(open).replace("HTTP/1.1", "HTTP/2.0"), "505"),
        (get(open, "/").replace("http://", "ftp://"), "400"),
        (get(open, "/").replace("http://", "https://"), "400"),
        (
            format!("GET / HTTP/1.1\r\nHost: {open}\r\n{BASIC}\r\n"),
            "400",
        ),
        (
            get(open, "/").replace(
                "\r\n\r\n",
                "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ),
            "400",
        ),
        (
            get(open, "/").replace(
                "\r\n\r\n",
                "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            "400",
        ),
        (
            get(open, "/").replace("\r\n\r\n", "\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            "501",
        ),
        (get(open, &format!("/{}", "a".repeat(70_000))), "431"),
    ] {
        let mut client = proxy.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
        let start = format!("HTTP/1.1 {status} ");
        let shown = request.get(..60).unwrap_or(&request);
        assert!(answer.starts_with(&start), "{shown:?}: {answer:?}");
        assert!(answer.contains("Connection: close"), "{shown:?}");
        assert!(
            answer.contains("-1\r\n\r\n") && answer.contains("X-Request-Id: "),
            "{shown:?}"
        );
        let challenged = answer.contains("Proxy-Authenticate: Basic realm=");
        assert_eq!(challenged, status == "407", "{shown:?}");
    }
}

#[tokio::test]
async fn a_client_may_ask_without_credentials_first() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let mut client = proxy.connect().await;
    let without = connect(target).replace(BASIC, "");
    client.write_all(without.as_bytes()).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 407 "), "{answer}");
    assert!(!answer.contains("close"), "{answer}");
    client.write_all(connect(target).as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
}

#[tokio::test]
async fn a_message_goes_on_without_what_is_for_the_proxy() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (origin, heard) = origin(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\r\nhello",
    ])
    .await;
    let mut client = proxy.connect().await;
    let request = format!(
        "POST http://{origin}/a?b HTTP/1.1\r\nHost: elsewhere.example\r\n{BASIC}Connection: X-Mine\r\n\
         X-Mine: 1\r\nUpgrade: websocket\r\nX-Other: 2\r\nContent-Length: 3\r\n\r\nabc"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut client).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nX-Kept: 2\r\nContent-Length: 5\r\nVia: 1.1 weirgate\r\n\r\n"
    );
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    let heard = heard.lock().await.join("");
    let onward = format!(
        "POST /a?b HTTP/1.1\r\nHost: {origin}\r\nX-Other: 2\r\nContent-Length: 3\r\n\
         Via: 1.1 weirgate\r\n\r\nabc"
    );
    assert_eq!(heard, onward);
    // What was passed on is what was counted.
    drop(client);
    let expected = Usage {
        upload_bytes: onward.len() as u64,
        download_bytes: answer.len() as u64 + 5,
    };
    assert_eq!(proxy.users.usage(NAME).unwrap(), expected);
}

/// One login says nothing about the next request on the same connection.
#[tokio::test]
async fn each_request_of_a_connection_is_judged_for_itself() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (first, _) = origin(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"]).await;
    let (second, heard) =
        origin(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nT: 1\r\n\r\nmore"])
            .await;
    let mut client = proxy.connect().await;
    // Pipelined: two good ones, one without credentials, one to a forbidden target.
    let private: SocketAddr = "10.255.255.1:80".parse().unwrap();
    let requests = [
        get(first, "/"),
        get(second, "/"),
        get(first, "/").replace(BASIC, ""),
        get(private, "/"),
        get(first, "/never"),
    ];
    client
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read_exact(&mut client, 3).await, b"one");
    assert!(
        head(&mut client)
            .await
            .contains("Transfer-Encoding: chunked\r\n")
    );
    assert_eq!(read_exact(&mut client, 13).await, b"3\r\ntwo\r\n0\r\n\r\n");
    assert!(head(&mut client).await.starts_with("HTTP/1.1 407 "));
    let last = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert!(last.starts_with("HTTP/1.1 403 "), "{last}");
    assert!(!last.contains("200"), "{last}");
    assert_eq!(heard.lock().await.len(), 1);
}

#[tokio::test]
async fn a_tunnel_may_follow_a_message() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (origin, _) = origin(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let echo = echo().await;
    let mut client = proxy.connect().await;
    let requests = [get(origin, "/"), connect(echo), "hello".to_owned()];
    client
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 204 "));
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
}

#[tokio::test]
async fn an_answer_that_is_malformed_is_not_passed_on() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    for bad in [
        &["no http\r\n\r\n"][..],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1"],
        &["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-"],
        &[""],
    ] {
        let (origin, _) = origin(bad).await;
        let mut client = proxy.connect().await;
        client.write_all(get(origin, "/").as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{bad:?}: {answer}");
    }
    // An endless row of interim answers ends.
    let (origin, _) = origin(&[
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ])
    .await;
    let mut client = proxy.connect().await;
    client.write_all(get(origin, "/").as_bytes()).await.unwrap();
    for status in ["102", "100", "200"] {
        let head = head(&mut client).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    let endless = target(|mut client: TcpStream| async move {
        while client
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    let mut client = proxy.connect().await;
    client
        .write_all(get(endless, "/").as_bytes())
        .await
        .unwrap();
    let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert!(answer.contains("HTTP/1.1 502 "), "{answer}");
}

/// A body that was cut short must not look whole.
#[tokio::test]
async fn a_truncated_answer_ends_in_a_reset() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    for short in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"][..],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"],
    ] {
        let (origin, _) = origin(short).await;
        let mut client = proxy.connect().await;
        client.write_all(get(origin, "/").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let error = in_time(client.read_to_end(&mut answer)).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn an_old_client_gets_the_end_of_the_connection() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (origin, _) = origin(&[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
    ])
    .await;
    let mut client = proxy.connect().await;
    let request = get(origin, "/").replace("HTTP/1.1", "HTTP/1.0");
    client.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nVia: 1.1 weirgate\r\nConnection: close\r\n\r\ntwo"
    );
}

/// The answer comes while the request is still being sent.
#[tokio::test]
async fn an_early_answer_arrives_and_ends_the_connection() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (origin, _) = early().await;
    let mut client = proxy.connect().await;
    let request = get(origin, "/")
        .replace("GET", "PUT")
        .replace("\r\n\r\n", "\r\nContent-Length: 100000000\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client.write_all(&[b'x'; 1000]).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("Connection: close"), "{answer}");
}

async fn early() -> (SocketAddr, ()) {
    let address = target(|mut client: TcpStream| async move {
        let _ = head(&mut client).await;
        let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        let _ = client.write_all(answer).await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    })
    .await;
    (address, ())
}

/// Messages draw from the budget that tunnels draw from.
#[tokio::test]
async fn messages_are_limited_like_tunnels() {
    let policy = "token-bucket:rate=100kB/s,burst=1500B".parse().unwrap();
    let proxy = Proxy::start(Limits::Shared(policy)).await;
    let body: &'static str = Box::leak("x".repeat(30_000).into_boxed_str());
    let answer: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n{body}").into());
    let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
    let (origin, _) = origin(answers).await;
    let begin = std::time::Instant::now();
    let mut client = proxy.connect().await;
    client.write_all(get(origin, "/").as_bytes()).await.unwrap();
    let head = head(&mut client).await;
    assert_eq!(read_exact(&mut client, 30_000).await.len(), 30_000);
    let least = (30_000 - 1_500) as f64 / 100_000.0;
    assert!(begin.elapsed().as_secs_f64() >= least, "{head}");
}

#[tokio::test]
async fn a_silent_origin_ends_in_a_504_and_a_silent_client_in_nothing() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.timeouts.half_closed = Duration::from_millis(200);
        config.timeouts.keep_alive = Duration::from_millis(200);
    })
    .await;
    let silent = sink().await;
    let mut client = proxy.connect().await;
    client.write_all(get(silent, "/").as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    let (origin, _) = origin(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).await;
    let mut client = proxy.connect().await;
    client.write_all(get(origin, "/").as_bytes()).await.unwrap();
    let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("close"), "{answer}");
}
