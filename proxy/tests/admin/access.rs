//! Who is let in, and by what.

use std::os::unix::fs::PermissionsExt as _;

use proxy::{BindError, Config, Database, Limits, Server};

use super::support::Proxy;

const TOKEN: &str = "0123456789abcdef-token";

async fn guarded() -> Proxy {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.admin.token_file = Some(file)
    });
    proxy.await
}

#[tokio::test]
async fn a_token_opens_tcp_and_the_file_system_the_socket() {
    let proxy = guarded().await;
    let ask = async |method: &str, path: &str, fields: &str, body: &str| {
        let fields = format!("Host: {}\r\n{fields}", proxy.tcp);
        proxy.ask_tcp(method, path, &fields, body).await
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for path in ["/api/v1/users", "/metrics", "/api/v1/events", "/nothing"] {
        let answer = ask("GET", path, "", "").await;
        answer.assert_problem(401, path);
        assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    }
    for wrong in ["x", "", &TOKEN[1..]] {
        ask("GET", "/api/v1/users", &bearer(wrong), "")
            .await
            .assert_problem(401, wrong);
    }
    assert_eq!(
        ask("GET", "/api/v1/users", &bearer(TOKEN), "").await.status,
        200
    );
    for open in ["/livez", "/readyz", "/", "/api/v1/openapi.json"] {
        assert_eq!(ask("GET", open, "", "").await.status, 200, "{open}");
    }
    assert_eq!(
        proxy.ask("GET", "/api/v1/users", "").await.status,
        200,
        "by the socket"
    );

    let login = async |token: &str| {
        let body = format!(r#"{{"token": "{token}"}}"#);
        ask(
            "POST",
            "/api/v1/login",
            "Content-Type: application/json\r\n",
            &body,
        )
        .await
    };
    login("wrong").await.assert_problem(401, "login");
    let answer = login(TOKEN).await;
    assert_eq!(answer.status, 204);
    let cookie = answer.field("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN));
    let held = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(ask("GET", "/api/v1/users", &held, "").await.status, 200);
    assert_eq!(ask("POST", "/api/v1/logout", &held, "").await.status, 204);
    ask("GET", "/api/v1/users", &held, "")
        .await
        .assert_problem(401, "logged out");
}

#[tokio::test]
async fn other_sites_cannot_use_a_browser() {
    let proxy = Proxy::start().await;
    let own = format!("Host: {}\r\n", proxy.tcp);
    for (status, fields) in [
        (200, own.clone()),
        (200, format!("{own}Origin: http://{}\r\n", proxy.tcp)),
        (200, format!("Host: localhost:{}\r\n", proxy.tcp.port())),
        (403, format!("{own}Origin: http://evil.example\r\n")),
        (403, format!("{own}Origin: null\r\n")),
        (403, format!("{own}Sec-Fetch-Site: cross-site\r\n")),
        (421, "Host: evil.example\r\n".to_owned()),
        (421, String::new()),
    ] {
        let answer = proxy.ask_tcp("GET", "/api/v1/users", &fields, "").await;
        assert_eq!(answer.status, status, "{fields}: {}", answer.body);
        if status == 200 {
            let policy = answer.field("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'self'"), "{policy}");
            assert_eq!(answer.field("access-control-allow-origin"), None);
        }
    }
}

#[tokio::test]
async fn users_cannot_reach_the_operators_side() {
    let proxy = Proxy::start().await;
    let mut client = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let line = format!("127.0.0.1 {} ada secret\r\n", proxy.tcp.port());
    tokio::io::AsyncWriteExt::write_all(&mut client, line.as_bytes())
        .await
        .unwrap();
    let mut said = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut client, &mut said)
        .await
        .unwrap();
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test]
async fn nothing_listens_for_everybody() {
    let bind = async |change: &dyn Fn(&mut Config)| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin.listen = vec!["0.0.0.0:0".parse().unwrap()];
        change(&mut config);
        Server::bind(config).await.map(drop)
    };
    assert!(matches!(bind(&|_| ()).await, Err(BindError::Admin(_))));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "short").unwrap();
    let with_token = |config: &mut Config| config.admin.token_file = Some(file.clone());
    let error = bind(&with_token).await.unwrap_err();
    assert!(error.to_string().contains("16 characters"), "{error}");
    std::fs::write(&file, TOKEN).unwrap();
    assert!(bind(&with_token).await.is_ok());
}

#[tokio::test]
async fn the_socket_is_private_and_a_stale_one_is_replaced() {
    let proxy = Proxy::start().await;
    let mode = std::fs::metadata(&proxy.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = |path: std::path::PathBuf| async move {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin.listen = vec![path.display().to_string().parse().unwrap()];
        Server::bind(config).await
    };
    let error = again(proxy.socket.clone()).await.unwrap_err();
    assert!(error.to_string().contains("admin.sock"), "{error}");
    // One that nobody listens on any more, as a killed server leaves it.
    let stale = proxy.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    drop(again(stale.clone()).await.unwrap());
    assert!(!stale.exists(), "removed in the end");
    let file = proxy.folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(again(file.clone()).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}
