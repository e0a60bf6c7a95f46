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

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50"]);
    command.args(arguments);
    command
        .output()
        .await
        .expect("curl is installed: .ci/run sees to that")
}

/// Both ways of an HTTP proxy: CONNECT, and the message itself.
#[tokio::test]
async fn curl_gets_pages_and_puts_data_through_the_http_proxy() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let port = web().await.port();
    let url = format!("http://127.0.0.1:{port}/");
    for login in ["ada:secret", "ada:wrong"] {
        let through = format!("http://{login}@{}", proxy.address);
        for how in [&["--proxytunnel"][..], &[], &["--proxy-anyauth"]] {
            let got = run(&[&["--proxy", &through, &url], how].concat()).await;
            let page = String::from_utf8_lossy(&got.stdout) == "a page";
            assert_eq!(page, login == "ada:secret", "{how:?}: {got:?}");
        }
        // Two pages on one connection.
        let twice = run(&["--proxy", &through, "--fail", &url, &url]).await;
        let pages = String::from_utf8_lossy(&twice.stdout) == "a pagea page";
        assert_eq!(pages, login == "ada:secret", "{twice:?}");
    }
    for (status, target) in [("403", "10.255.255.1:80"), ("502", "127.0.0.1:1")] {
        let through = format!("http://ada:secret@{}", proxy.address);
        let url = format!("http://{target}/");
        let got = run(&["--proxy", &through, "--write-out", "%{http_code}", &url]).await;
        assert_eq!(String::from_utf8_lossy(&got.stdout), status, "{got:?}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn curl_speaks_with_the_proxy_under_tls() {
    let (authority, folder) = (crate::tls::Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.files(folder.path());
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, &authority.pem).unwrap();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.tls = Some(files)).await;
    let url = format!("http://127.0.0.1:{}/", web().await.port());
    let through = format!("https://ada:secret@{}", proxy.address);
    let roots = roots.to_str().unwrap();
    let arguments = ["--proxy", &through, "--proxy-cacert", roots, &url];
    for how in [&["--proxytunnel"][..], &[]] {
        let got = run(&[&arguments, how].concat()).await;
        assert_eq!(String::from_utf8_lossy(&got.stdout), "a page", "{got:?}");
    }
    let untrusting = run(&["--proxy", &through, &url]).await;
    assert_eq!(untrusting.status.code(), Some(60), "{untrusting:?}");
}
