//! A client that many people use: curl.

use std::net::SocketAddr;
use std::process::Output;

use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::support::*;

/// A web server with one page.
async fn web() -> SocketAddr {
    target(|mut client| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n")
            && client.read_buf(&mut request).await.unwrap_or(0) > 0
        {}
        let page = "a page";
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
            page.len()
        );
        let _ = client.write_all(answer.as_bytes()).await;
    })
    .await
}

async fn curl(proxy: &Proxy, login: &str, url: &str) -> Output {
    let proxy = format!("socks5h://{login}@{}", proxy.address);
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "50",
        "--proxy",
        &proxy,
        url,
    ]);
    command
        .output()
        .await
        .expect("curl is installed: .ci/run sees to that")
}

#[tokio::test]
async fn curl_gets_a_page_by_address_and_by_name() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.allow_egress.push("::1/128".parse().unwrap());
    })
    .await;
    let port = web().await.port();
    for host in ["127.0.0.1", "localhost"] {
        let got = curl(&proxy, "ada:secret", &format!("http://{host}:{port}/")).await;
        assert_eq!(String::from_utf8_lossy(&got.stdout), "a page", "{got:?}");
    }
}

#[tokio::test]
async fn curl_is_told_what_is_wrong() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let port = web().await.port();
    // 97: the proxy handshake failed.
    for (login, url) in [
        ("ada:wrong", format!("http://127.0.0.1:{port}/")),
        ("nobody:secret", format!("http://127.0.0.1:{port}/")),
        ("ada:secret", format!("http://10.255.255.1:{port}/")),
        (
            "ada:secret",
            format!("http://[::ffff:10.255.255.1]:{port}/"),
        ),
        ("ada:secret", format!("http://0x0aff0001:{port}/")),
    ] {
        let got = curl(&proxy, login, &url).await;
        assert_eq!(got.status.code(), Some(97), "{login} {url}: {got:?}");
    }
}
