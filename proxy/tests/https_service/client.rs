//! A client of seed 003's protocol after its description, and targets for it.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use proxy::config::https_service::Guest;
use proxy::{HttpsService, Limits};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{NAME, PASSWORD, Proxy, in_time, read_to_end, target};

/// One of SEEDS' magics.
pub(crate) const MAGIC: [u8; 8] = [0xde, 0xad, 0xbe, 0xef, 0x84, 0x0e, 0x12, 0xfa];

/// A server whose only listener is that of the service; `127.0.0.1` needs no login.
pub(crate) async fn service(change: impl FnOnce(&mut HttpsService)) -> Proxy {
    service_with(Limits::default(), change).await
}

pub(crate) async fn service_with(limits: Limits, change: impl FnOnce(&mut HttpsService)) -> Proxy {
    let mut service = HttpsService {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        guest: Some(Guest {
            name: NAME.into(),
            from: vec![net("127.0.0.0/8")],
        }),
        ..HttpsService::default()
    };
    change(&mut service);
    Proxy::start_with(limits, |config| {
        config.listen.clear();
        config.https_service = Some(service);
    })
    .await
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn login(mut request: Value) -> Value {
    request["user"] = NAME.into();
    request["password"] = PASSWORD.into();
    request
}

pub(crate) fn get(url: &str) -> Value {
    json!({ "url": url, "headers": {} })
}

pub(crate) fn blob(key_len: u8, data: &[u8]) -> Vec<u8> {
    let key: Vec<u8> = (0..key_len).map(|i| i.wrapping_mul(37) ^ 0xa5).collect();
    let hidden = data.iter().zip(key.iter().cycle()).map(|(d, k)| d ^ k);
    let mut blob = vec![key_len];
    blob.extend(&key);
    blob.extend(hidden);
    blob
}

pub(crate) fn frame(data: &[u8]) -> Vec<u8> {
    let blob = blob(40, data);
    let len = u32::try_from(blob.len()).unwrap();
    [&MAGIC[..], &len.to_be_bytes(), &blob].concat()
}

/// The next answer on a connection.
pub(crate) async fn hear(client: &mut TcpStream) -> Value {
    in_time(async {
        let len = client.read_u32().await.unwrap();
        assert!(len <= 10 * 1024 * 1024);
        let mut blob = vec![0; usize::try_from(len).unwrap()];
        client.read_exact(&mut blob).await.unwrap();
        let key_len = usize::from(blob[0]);
        assert!((33..=200).contains(&key_len));
        let (key, data) = blob[1..].split_at(key_len);
        let shown: Vec<_> = data
            .iter()
            .zip(key.iter().cycle())
            .map(|(d, k)| d ^ k)
            .collect();
        serde_json::from_slice(&shown).unwrap()
    })
    .await
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: &Value) -> Value {
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(&frame(request.to_string().as_bytes()))
        .await
        .unwrap();
    hear(&mut client).await
}

/// All that a client of HTTP gets who logs in and asks once.
pub(crate) async fn http(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&http_request(request)).await.unwrap();
    String::from_utf8(read_to_end(&mut client).await).unwrap()
}

/// A request of a client of HTTP that logs in with it and asks for no more.
pub(crate) fn http_request(line: &str) -> Vec<u8> {
    let fields =
        "Host: a.example\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\nConnection: close";
    format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes()
}

/// What the origin got: head and body.
pub(crate) async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match client.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// An HTTP/1.1 origin that answers each request with `answer`, whole.
pub(crate) async fn origin<F>(
    answer: impl Fn(String, Vec<u8>) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Vec<u8>> + Send + 'static,
{
    target(move |mut client| {
        let answer = answer.clone();
        async move {
            while let Some((head, body)) = read_request(&mut client).await {
                let words = answer(head, body).await;
                if client.write_all(&words).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// 200 with fields and a body.
pub(crate) fn ok(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An origin that takes so long to say "slow".
pub(crate) async fn slow(after: Duration) -> SocketAddr {
    origin(move |_, _| async move {
        tokio::time::sleep(after).await;
        ok("", b"slow")
    })
    .await
}
