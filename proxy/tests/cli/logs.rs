//! What the log says, and what it never says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::support::*;

const PAYLOAD: &[u8] = b"payload-of-a-user";

/// Sends `opening`, answered by `answers` bytes, then an echoed payload.
fn tunnel(server: &Serving, steps: &[(&[u8], usize)]) {
    let mut client = TcpStream::connect(server.address).unwrap();
    for (said, answer) in steps {
        client.write_all(said).unwrap();
        client.read_exact(&mut vec![0; *answer]).unwrap();
    }
    client.write_all(PAYLOAD).unwrap();
    client.read_exact(&mut [0; PAYLOAD.len()]).unwrap();
}

fn login(version: &[u8], name: &str, password: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut bytes = version.to_vec();
    bytes.push(length(name));
    bytes.extend(name.bytes());
    bytes.push(length(password));
    bytes.extend(password.bytes());
    bytes
}

fn by_socks5(server: &Serving, target: SocketAddr) {
    let login = login(&[1], "ada", PASSWORD);
    let port = target.port().to_be_bytes();
    let request = [5, 1, 0, 1, 127, 0, 0, 1, port[0], port[1]];
    tunnel(server, &[(&[5, 1, 2], 2), (&login, 2), (&request, 10)]);
}

fn by_auth_target(server: &Serving, target: SocketAddr) {
    let login = login(&[1], "ada", PASSWORD);
    let mut request = vec![9];
    request.extend(b"127.0.0.1");
    request.extend(target.port().to_be_bytes());
    request.extend([3, b'a', b'd', b'a']);
    tunnel(server, &[(&login, 1), (&request, 0)]);
}

fn by_http(server: &Serving, target: SocketAddr, credentials: &str) {
    let head = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
    );
    let mut client = TcpStream::connect(server.address).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    if answer.starts_with(b"HTTP/1.1 200") {
        client.write_all(PAYLOAD).unwrap();
        client.read_exact(&mut [0; PAYLOAD.len()]).unwrap();
    }
}

/// At the finest level, in every dialect, whether the login succeeds or not.
#[test]
fn no_password_and_no_payload_is_ever_logged() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("--log-level trace");
    let target = echo();
    let line = format!("127.0.0.1 {} ada {PASSWORD}\r\n", target.port());
    // The reply is "127.0.0.1 PORT\r\n"; how long the port is, nobody knows.
    let mut client = server.tunnel("ada", target);
    client.write_all(PAYLOAD).unwrap();
    client.read_exact(&mut [0; PAYLOAD.len()]).unwrap();
    by_socks5(&server, target);
    by_auth_target(&server, target);
    // "ada:correct horse battery"
    by_http(&server, target, "YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==");
    // "ada:wrong-secret"
    by_http(&server, target, "YWRhOndyb25nLXNlY3JldA==");
    let mut wrong = TcpStream::connect(server.address).unwrap();
    let guess = line.replace(PASSWORD, "wrong-secret");
    wrong.write_all(guess.as_bytes()).unwrap();
    assert_eq!(wrong.read(&mut [0]).unwrap(), 0);
    drop(client);
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert_eq!(log.matches(" closed ").count(), 4, "{log}");
    assert!(log.matches("auth_failed").count() >= 2, "{log}");
    for secret in [
        PASSWORD,
        "horse",
        "YWRhOmNvcnJlY3",
        "wrong-secret",
        "YWRhOndyb25n",
        "payload-of",
        "$argon2",
    ] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

#[test]
fn a_closed_connection_is_one_json_object() {
    let place = Place::new();
    place.json("user add ada --password-file password --rate 1kB/s --burst 10B --json");
    let server = place.serve("--log-format json --log-level info");
    let target = echo();
    by_socks5(&server, target);
    server.signal("TERM");
    let (_, log) = server.ended();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let closed: Vec<_> = events
        .filter(|event| event["message"] == "closed")
        .collect();
    assert_eq!(closed.len(), 1, "{log}");
    let event = &closed[0];
    let bytes = u64::try_from(PAYLOAD.len()).unwrap();
    assert_eq!(event["level"], "INFO");
    assert_eq!(event["user"], "ada");
    assert_eq!(event["protocol"], "socks5");
    assert!(event["source"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(event["target"], target.to_string());
    assert_eq!(
        (&event["upload_bytes"], &event["download_bytes"]),
        (&bytes.into(), &bytes.into())
    );
    assert!(event["throttled_seconds"].is_number());
    let seconds = |key: &str| event[key].as_f64().unwrap();
    // 34 bytes through a bucket of 10 at 1 kB/s.
    assert!(seconds("throttled_seconds") > 0.005, "{event}");
    assert!(seconds("seconds") > 0.0);
    assert!(event["id"].is_u64() && event["reason"].is_string() && event["timestamp"].is_string());
}

/// The documented line, with a name that would like to be another line.
#[test]
fn a_failed_login_is_one_line_that_tools_can_read() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("--log-level warn");
    let mut client = TcpStream::connect(server.address).unwrap();
    client.write_all(&[5, 1, 2]).unwrap();
    let name = "x\n2026 WARN auth_failed source=192.0.2.9 \u{1b}[2J\"";
    client.write_all(&login(&[1], name, "guess")).unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    drop(client);
    server.signal("TERM");
    let (_, log) = server.ended();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line = lines[0];
    let (_time, rest) = line.split_once(char::is_whitespace).unwrap();
    let expected = "WARN auth_failed source=127.0.0.1 reason=\"credentials\" user=\"x\\n2026 WARN \
        auth_failed source=192.0.2.9 \\u{1b}[2J\\\"\"";
    assert_eq!(rest.trim_start(), expected);
}

/// One connection, three requests: the client is told the numbers that the log has.
#[test]
fn the_client_and_the_log_know_a_request_by_the_same_number() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("--log-format json --log-level info");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = closed.local_addr().unwrap();
    drop(closed);
    let mut client = TcpStream::connect(server.address).unwrap();
    let mut ids = Vec::new();
    // "ada:correct horse battery"
    let login = "Proxy-Authorization: Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==\r\n";
    for (fields, expected) in [("", "407"), (login, "502")] {
        let head = format!("CONNECT {nowhere} HTTP/1.1\r\nHost: {nowhere}\r\n{fields}\r\n");
        client.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{answer}"
        );
        let id = answer.split("X-Request-Id: ").nth(1).expect("a number");
        ids.push(id.trim_end().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    drop(client);
    let mut malformed = TcpStream::connect(server.address).unwrap();
    malformed.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    malformed.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let id = answer.split("X-Request-Id: ").nth(1).expect("a number");
    ids.push(id.trim_end().to_owned());
    server.signal("TERM");
    let (_, log) = server.ended();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<_> = events
        .filter(|event| event["message"] == "refused")
        .collect();
    // Whoever repeats the request with a login is not in the log for the first one.
    let logged: Vec<_> = refused.iter().map(|event| &event["request_id"]).collect();
    assert_eq!(
        logged,
        [&Value::from(&*ids[1]), &Value::from(&*ids[2])],
        "{log}"
    );
    let connection = |id: &str| id.split('-').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(refused[0]["id"], connection(&ids[0]));
    assert_eq!(refused[1]["id"], connection(&ids[2]));
}
