//! The commands and the admin API of a server that runs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::support::{Place, echo};

/// What an API says by the socket beside the database.
pub(crate) fn ask(place: &Place, method: &str, path: &str) -> (u16, Value) {
    ask_at(&place.path().join("users.sock"), method, path)
}

/// The same by any socket.
pub(crate) fn ask_at(socket: &Path, method: &str, path: &str) -> (u16, Value) {
    let stream = UnixStream::connect(socket).unwrap();
    let answer = exchange(stream, &format!("{method} {path}"), "", "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        status(head),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

/// Head and body of an answer to a request with these fields and this body.
fn exchange(mut stream: impl Read + Write, what: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn users_are_changed_by_the_server_while_it_runs() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("");
    let mut tunnel = server.tunnel("ada", echo());
    tunnel.write_all(b"hello").unwrap();
    tunnel.read_exact(&mut [0; 5]).unwrap();
    let user = place.json("user set ada --rate-down 5kB/s --quota 1GB/daily --json");
    assert_eq!(user["limit_down"], "token-bucket:rate=5000B/s,burst=1500B");
    // As it is counted, not as it is written.
    assert_eq!(user["download_bytes"], 5);
    place.json("user add bob --password-file password --max-connections 3 --json");
    let names: Vec<_> = place
        .json("user list --json")
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    assert_eq!(names, ["ada", "bob"]);
    let lines = String::from_utf8(place.output("user list").stdout).unwrap();
    assert!(
        lines.contains("bob  enabled  unlimited  connections 3  up 0 B  down 0 B"),
        "{lines}"
    );
    assert_eq!(
        place.json("user usage ada --json")["period"]["quota_bytes"],
        1_000_000_000
    );
    assert_eq!(place.json("user disable bob --json")["enabled"], false);
    assert_eq!(
        place.json("user set ada --reset limits --json")["limit_down"],
        Value::Null
    );
    assert_eq!(
        place.json("rules set --beyond 1kB/s --json")["beyond"],
        "1000B/s"
    );
    assert_eq!(place.json("rules show --json")["beyond"], "1000B/s");
    place.json("user passwd ada --password-file password --json");
    place.json("user del bob --json");
    for (arguments, said) in [
        ("user show bob", "there is no user \"bob\""),
        ("user add ada --password-file password", "already"),
        ("user set bob --rate 1kB/s", "there is no user"),
    ] {
        let (code, error) = place.failure(arguments);
        assert_eq!(code, Some(2), "{arguments}: {error}");
        assert!(error.contains(said), "{arguments}: {error}");
    }
    let (_, log) = ask(&place, "GET", "/api/v1/audit");
    let entries = log["entries"].as_array().unwrap();
    let actor = |index: usize| entries[index]["actor"].as_str().unwrap();
    assert!(actor(0).starts_with("socket uid="), "{log}");
    // Before there was a server.
    assert!(
        actor(entries.len() - 1).starts_with("command line"),
        "{log}"
    );
    server.signal("TERM");
    drop(tunnel);
    assert_eq!(server.ended().0, Some(0));
    assert_eq!(place.json("user show ada --json")["download_bytes"], 5);
}

#[test]
fn another_servers_socket_is_not_asked() {
    let place = Place::new();
    let other = Place::new();
    other.json("user add ada --password-file password --json");
    let server = other.serve("");
    // A socket where that of this database would be leads to a server of another one.
    std::os::unix::fs::symlink(
        other.path().join("users.sock"),
        place.path().join("users.sock"),
    )
    .unwrap();
    let (code, error) = place.failure("user show ada");
    assert_eq!(code, Some(2), "{error}");
    drop(server);
}

#[test]
fn probes_learn_whether_it_lives_and_serves() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let (code, error) = place.failure("health");
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("there is no admin API"), "{error}");
    let server = place.serve("");
    for (arguments, said) in [("health", "ready\n"), ("health --live", "alive\n")] {
        let output = place.output(arguments);
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{output:?}");
        assert_eq!(output.status.code(), Some(0));
    }
    let tunnel = server.tunnel("ada", echo());
    server.signal("TERM");
    while place.output("health").status.success() {}
    let (code, error) = place.failure("health");
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("drains"), "{error}");
    assert_eq!(place.output("health --live").status.code(), Some(0));
    drop(tunnel);
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn a_config_is_read_again_when_the_api_says_so() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let config = place.path().join("config.toml");
    std::fs::write(&config, "[timeouts]\nconnect = \"5s\"\n").unwrap();
    let server = place.serve("--config config.toml");
    std::fs::write(
        &config,
        "[timeouts]\nconnect = \"6s\"\n[caps]\nhandshakes = 9\n",
    )
    .unwrap();
    let (status, done) = ask(&place, "POST", "/api/v1/reload");
    assert_eq!(status, 200, "{done}");
    assert_eq!(done["changed"], serde_json::json!(["timeouts", "caps"]));
    std::fs::write(&config, "[timeouts]\nconnect = 6\n").unwrap();
    let (status, problem) = ask(&place, "POST", "/api/v1/reload");
    assert_eq!(status, 422, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("line 2"),
        "{problem}"
    );
    let (status, _) = ask(&place, "POST", "/api/v1/drain");
    assert_eq!(status, 202);
    assert_eq!(server.ended().0, Some(0));
}

/// Whoever holds an old token, or a cookie that was had for it, is locked out by another.
#[test]
fn the_token_is_read_again_with_the_config() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let text = format!("[admin]\nlisten = [\"{address}\"]\ntoken_file = \"token\"\n");
    std::fs::write(place.path().join("config.toml"), text).unwrap();
    let token = |token: &str| std::fs::write(place.path().join("token"), token).unwrap();
    let (first, second) = ("the-first-token-0123", "the-second-token-012");
    token(first);
    let server = place.serve("--config config.toml");
    let ask = |what: &str, fields: &str, body: &str| {
        let stream = std::net::TcpStream::connect(address).unwrap();
        exchange(stream, what, fields, body)
    };
    let users = |fields: &str| status(&ask("GET /api/v1/users", fields, ""));
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let json = "Content-Type: application/json\r\n";
    let login = ask(
        "POST /api/v1/login",
        json,
        &format!("{{\"token\": \"{first}\"}}"),
    );
    let cookie = login
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.unwrap().split(';').next().unwrap();
    let cookie = format!("Cookie: {cookie}\r\n");
    assert_eq!((users(&bearer(first)), users(&cookie)), (200, 200));
    // Nothing else than before: nobody is logged out.
    server.signal("HUP");
    server.wait_for_log("config reloaded");
    assert_eq!(users(&cookie), 200);
    // One that cannot be used leaves the old one.
    token("short");
    server.signal("HUP");
    server.wait_for_log("the new config is refused");
    assert_eq!(users(&bearer(first)), 200);
    token(second);
    server.signal("HUP");
    let since = std::time::Instant::now();
    while users(&bearer(second)) != 200 {
        assert!(since.elapsed().as_secs() < 60);
    }
    assert_eq!((users(&bearer(first)), users(&cookie)), (401, 401));
}

/// Some panels write passwords into paths.
#[test]
fn no_log_has_a_password_from_the_routes_of_older_proxies() {
    let place = Place::new();
    let config = "[admin]\nlegacy_routes = true\n";
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    let server = place.serve("--config config.toml");
    for (method, path, expected) in [
        ("POST", "/add/eve/hunter2-secret/5000", 201),
        ("PUT", "/updatepwd/eve/hunter2-secret", 200),
        ("PUT", "/updatepwd/nobody/hunter2-secret", 404),
        ("POST", "/ad/eve/hunter2-secret/5000", 404),
    ] {
        assert_eq!(ask(&place, method, path).0, expected, "{path}");
    }
    server.signal("TERM");
    let (_, log) = server.ended();
    assert!(
        log.contains("route=\"/updatepwd/{name}/{password}\""),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
}
