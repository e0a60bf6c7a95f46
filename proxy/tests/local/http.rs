//! Plain HTTP through the local proxy, and `weirgate-local fetch`.

use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::home::*;
use crate::support::*;

/// An origin that says what it got, as often as it is asked on one connection.
async fn mirror() -> u16 {
    let address = target(|mut client| async move {
        let mut got = Vec::new();
        while client.read_buf(&mut got).await.unwrap_or(0) > 0 {
            let text = String::from_utf8_lossy(&got).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.to_ascii_lowercase();
            let length = length
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                );
                let _ = client.write_all(answer.as_bytes()).await;
                got.clear();
            }
        }
    })
    .await;
    address.port()
}

#[tokio::test]
async fn plain_http_goes_through_without_a_tunnel() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let server = format!("localhost:{}", proxy.addresses[1].port());
    let mut login = home.local(&["login", NAME, "--server", &server, "--insecure-plain"]);
    login
        .arg("--save-password")
        .env("WEIRGATE_PASSWORD", PASSWORD);
    assert!(in_time(login.output()).await.unwrap().status.success());
    let (_running, address) = home.run().await;
    let url = format!("http://127.0.0.1:{}/x?y", mirror().await);
    let large = "z".repeat(200_000);
    std::fs::write(home.path("body"), &large).unwrap();
    let file = format!("@{}", home.path("body").display());
    for (more, expected) in [
        (vec![url.as_str(), &url], "GET /x?y HTTP/1.1"),
        (vec!["--data-binary", &file, &url], "POST /x?y HTTP/1.1"),
    ] {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "50", "--proxy"]);
        let got = in_time(command.arg(&address).args(&more).output())
            .await
            .unwrap();
        let text = String::from_utf8(got.stdout).unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("Via: 1.1 weirgate\r\n") && text.contains("Connection: close"));
        match more[0] {
            "--data-binary" => assert!(text.ends_with(&large)),
            // Two requests, though a connection carries one.
            _ => assert_eq!(text.matches(expected).count(), 2, "{text}"),
        }
    }
}

#[cfg(feature = "https-service")]
#[tokio::test]
async fn fetch_prints_and_tells_by_its_exit_code() {
    let home = Home::new();
    let service = proxy::HttpsService {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..proxy::HttpsService::default()
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.listen.clear();
        config.https_service = Some(service);
        config.tls = Some(home.files.clone());
    })
    .await;
    let port = proxy.address.port().to_string();
    let url = format!("http://127.0.0.1:{}/", mirror().await);
    let roots = home.path("roots.pem");
    let roots = roots.to_str().unwrap();
    let secure = ["--user", NAME, "--tls", "--roots", roots];
    let fetch = async |arguments: &[&str]| {
        let mut command = home.local(&["fetch"]);
        command.args(arguments).env("WEIRGATE_PASSWORD", PASSWORD);
        let output = in_time(command.output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let post = [&[&url, "POST", "localhost", &port, "a=1"], &secure[..]].concat();
    let (code, out, err) = fetch(&post).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Status: 200\n"), "{out}");
    assert!(out.contains("POST / HTTP/1.1") && out.contains("a=1"));
    let file = home.path("page");
    let output = ["-H", "X-A: 1", "--json", "--output", file.to_str().unwrap()];
    let get = [&[&url, "GET", "localhost", &port], &output[..], &secure].concat();
    let (code, out, _) = fetch(&get).await;
    assert_eq!(code, Some(0));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(answer["body"], page);
    assert!(page.contains("x-a: 1\r\n"), "{page}");
    let refused = ["http://10.0.0.1/", "GET", "localhost", &port];
    for (arguments, expected) in [
        // Nobody says who asks; the target is forbidden; the target is not there.
        (vec![&url, "GET", "localhost", &port], 4),
        ([&refused, &secure[..]].concat(), 4),
        (
            [&["http://127.0.0.1:1/"], &refused[1..], &secure].concat(),
            5,
        ),
        // The password would be seen; nobody listens.
        (vec![&url, "GET", "localhost", &port, "--user", NAME], 2),
        (vec![&url, "GET", "localhost", "1"], 1),
    ] {
        let (code, _, err) = fetch(&arguments).await;
        assert_eq!(code, Some(expected), "{arguments:?}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
}
