//! Byte scripts of seed 003's protocol, PROXY headers, logins, HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{MAGIC, ask, blob, frame, get, hear, login, net, ok, origin, service};
use crate::support::{in_time, read_to_end};

/// An origin that sends back what it got.
async fn mirror() -> std::net::SocketAddr {
    origin(|head, body| async move {
        let body = String::from_utf8(body).unwrap();
        ok("", format!("{head}{body}").as_bytes())
    })
    .await
}

#[tokio::test]
async fn every_golden_magic_begins_a_frame_and_splits_do_not_matter() {
    let mirror = mirror().await;
    let proxy = service(|_| ()).await;
    let frame = frame(get(&format!("http://{mirror}/x?y")).to_string().as_bytes());
    for magic in [
        "000000005a71889f",
        "010203045b6f87a3",
        "ffffffffa5bcd3ea",
        "deadbeef840e12fa",
    ] {
        let mut bytes = frame.clone();
        for (at, byte) in bytes[..8].iter_mut().enumerate() {
            *byte = u8::from_str_radix(&magic[2 * at..2 * at + 2], 16).unwrap();
        }
        let mut client = proxy.connect().await;
        client.set_nodelay(true).unwrap();
        for byte in bytes.chunks(7) {
            client.write_all(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = hear(&mut client).await;
        assert_eq!(answer["status_code"], 200, "{answer}");
        let got = answer["body"].as_str().unwrap();
        assert!(got.starts_with("GET /x?y HTTP/1.1\r\n"), "{got}");
        let mut rest = Vec::new();
        in_time(client.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"", "closed after one answer");
    }
}

#[tokio::test]
async fn a_connection_that_stays_serves_what_was_sent_ahead() {
    let mirror = mirror().await;
    let proxy = service(|service| service.close_after_response = false).await;
    let one = frame(get(&format!("http://{mirror}/1")).to_string().as_bytes());
    let post = json!({ "url": format!("http://{mirror}/2"), "headers": {}, "post_data": "a=1" });
    let two = frame(post.to_string().as_bytes());
    let mut client = proxy.connect().await;
    client.write_all(&[one, two].concat()).await.unwrap();
    let first = hear(&mut client).await;
    assert!(first["body"].as_str().unwrap().starts_with("GET /1 "));
    let second = hear(&mut client).await["body"].as_str().unwrap().to_owned();
    assert!(second.starts_with("POST /2 ") && second.ends_with("\r\n\r\na=1"));
}

#[tokio::test]
async fn what_is_no_frame_is_closed_without_a_word() {
    let proxy = service(|_| ()).await;
    let mut no_magic = MAGIC;
    no_magic[7] ^= 1;
    let too_long = [&MAGIC[..], &0x00a0_0001_u32.to_be_bytes()].concat();
    for bytes in [&no_magic[..], &too_long, &[0x80; 64]] {
        let mut client = proxy.connect().await;
        client.write_all(bytes).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"", "{bytes:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_gets_the_status_of_the_seed() {
    let proxy = service(|_| ()).await;
    for (blob, status) in [
        (blob(40, b"{}"), 400),
        (blob(40, b"not json"), 400),
        (blob(40, br#"{"headers":{}}"#), 400),
        (blob(33, br#"{"url":"http://127.0.0.1:1/"}"#), 500),
        (blob(32, b"{}"), 500),
        (blob(201, b"{}"), 500),
        (Vec::new(), 500),
    ] {
        let len = u32::try_from(blob.len()).unwrap().to_be_bytes();
        let mut client = proxy.connect().await;
        client
            .write_all(&[&MAGIC[..], &len, &blob].concat())
            .await
            .unwrap();
        let answer = hear(&mut client).await;
        assert_eq!(answer["status_code"], status, "{answer}");
        assert_eq!(answer["headers"], json!({}));
        assert_eq!(answer["body"], "");
    }
}

#[tokio::test]
async fn without_a_login_there_is_nothing() {
    let mirror = mirror().await;
    let proxy = service(|service| service.guest = None).await;
    let url = format!("http://{mirror}/");
    let status = async |request: Value| ask(proxy.address, &request).await["status_code"].clone();
    assert_eq!(status(get(&url)).await, 407);
    assert_eq!(status(login(get(&url))).await, 200);
    let mut wrong = login(get(&url));
    wrong["password"] = "wrong".into();
    assert_eq!(status(wrong).await, 407);
    let mut header = get(&url);
    header["headers"] = json!({ "Proxy-Authorization": "Basic YWRhOnNlY3JldA==" });
    let answer = ask(proxy.address, &header).await;
    assert_eq!(answer["status_code"], 200);
    let got = answer["body"].as_str().unwrap().to_ascii_lowercase();
    assert!(!got.contains("authorization"), "{got}");
}

#[tokio::test]
async fn targets_that_the_rules_forbid_are_not_reached() {
    let proxy = service(|_| ()).await;
    let own = format!("http://{}/", proxy.address);
    for url in [
        "https://10.0.0.1/",
        "http://[::ffff:169.254.169.254]/latest",
        "http://[::1]/",
        &own,
    ] {
        let answer = ask(proxy.address, &get(url)).await;
        assert_eq!(answer["status_code"], 403, "{url} {answer}");
    }
}

/// Rules about targets of an account, also where a connection to the target is pooled.
#[tokio::test]
async fn an_accounts_rules_about_targets_hold_for_the_next_request() {
    let mirror = mirror().await;
    let proxy = service(|_| ()).await;
    let status = async |path: &str| {
        let request = login(get(&format!("http://{mirror}/{path}")));
        ask(proxy.address, &request).await["status_code"].clone()
    };
    let change = |rules: &str| proxy::users::RulesChange {
        egress: Some(Some(rules.parse().unwrap())),
        ..proxy::users::RulesChange::default()
    };
    assert_eq!(status("1").await, 200);
    let deny = change(&format!("deny * {}", mirror.port()));
    let name = crate::support::NAME;
    proxy.users.set_rules(name, deny).await.unwrap();
    assert_eq!(status("2").await, 403);
    proxy.users.set_rules(name, change("none")).await.unwrap();
    assert_eq!(status("3").await, 200);
}

/// A PROXY header, version 2, that names `source`.
fn header(source: &str) -> Vec<u8> {
    let source: std::net::IpAddr = source.parse().unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let addresses = match source {
        std::net::IpAddr::V4(source) => {
            header.push(0x11);
            [source.octets(), [10, 0, 0, 1]].concat()
        }
        std::net::IpAddr::V6(source) => {
            header.push(0x21);
            [source.octets(), [0; 16]].concat()
        }
    };
    let len = u16::try_from(addresses.len() + 4).unwrap();
    header.extend(len.to_be_bytes());
    header.extend(addresses);
    header.extend([0x30, 0x39, 0x22, 0xb8]);
    header
}

#[tokio::test]
async fn a_listed_balancer_names_the_client_and_nobody_else_does() {
    let mirror = mirror().await;
    let request = login(get(&format!("http://{mirror}/")));
    let bytes = frame(request.to_string().as_bytes());
    let proxy = service(|service| {
        service.proxy_protocol_from = vec![net("127.0.0.1/32")];
    })
    .await;
    for source in ["203.0.113.9", "2001:db8::9"] {
        let mut client = proxy.connect().await;
        let whole = [header(source), bytes.clone()].concat();
        client.write_all(&whole).await.unwrap();
        let answer = hear(&mut client).await;
        let got = answer["body"].as_str().unwrap().to_ascii_lowercase();
        assert!(got.contains(&format!("\r\nx-forwarded-for: {source}\r\n")));
    }
    let plain = ask(proxy.address, &request).await;
    let got = plain["body"].as_str().unwrap().to_ascii_lowercase();
    assert!(!got.contains("x-forwarded-for"), "{got}");
    let request = format!(
        "GET http://{mirror}/ HTTP/1.1\r\nHost: {mirror}\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\
        X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n"
    );
    for source in ["203.0.113.9", "2001:db8::9"] {
        let mut client = proxy.connect().await;
        let whole = [header(source), request.clone().into_bytes()].concat();
        client.write_all(&whole).await.unwrap();
        let got = String::from_utf8(read_to_end(&mut client).await).unwrap();
        let named: Vec<_> = got.matches("X-Forwarded-For: ").collect();
        assert_eq!(named.len(), 1, "{got}");
        assert!(
            got.contains(&format!("X-Forwarded-For: {source}\r\n")),
            "{got}"
        );
        assert!(got.contains("X-Request-Id: "), "{got}");
    }
    let unlisted = service(|_| ()).await;
    let mut client = unlisted.connect().await;
    let whole = [header("203.0.113.9"), bytes].concat();
    client.write_all(&whole).await.unwrap();
    assert_eq!(read_to_end(&mut client).await, b"");
}

#[tokio::test]
async fn http_is_served_beside_the_frames() {
    let mirror = mirror().await;
    let proxy = service(|_| ()).await;
    let login = "Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n";
    let mut plain = proxy.connect().await;
    let request = format!(
        "GET http://{mirror}/a HTTP/1.1\r\nHost: {mirror}\r\n{login}Connection: close\r\n\r\n"
    );
    plain.write_all(request.as_bytes()).await.unwrap();
    let words = String::from_utf8(read_to_end(&mut plain).await).unwrap();
    assert!(words.starts_with("HTTP/1.1 200 "), "{words}");
    let mut tunnel = proxy.connect().await;
    let request = format!("CONNECT {mirror} HTTP/1.1\r\nHost: {mirror}\r\n{login}\r\n");
    tunnel.write_all(request.as_bytes()).await.unwrap();
    let mut established = Vec::new();
    while !established.ends_with(b"\r\n\r\n") {
        established.push(in_time(tunnel.read_u8()).await.unwrap());
    }
    assert!(established.starts_with(b"HTTP/1.1 200 "));
    tunnel
        .write_all(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0; 12];
    in_time(tunnel.read_exact(&mut byte)).await.unwrap();
    assert_eq!(&byte, b"HTTP/1.1 200");
}

#[tokio::test]
async fn silent_connections_do_not_hold_a_place_for_ever() {
    let proxy = service(|service| {
        service.keep_alive = Duration::from_millis(200);
        service.close_after_response = false;
    })
    .await;
    let mut client: TcpStream = proxy.connect().await;
    client.write_all(&frame(b"{}")).await.unwrap();
    assert_eq!(hear(&mut client).await["status_code"], 400);
    assert_eq!(read_to_end(&mut client).await, b"");
}
