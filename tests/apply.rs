//! `weirgate tune --apply`: what is asked of a proxy's admin API, in which order, and only when wanted.
//! The proxy is a socket here that answers as the API does.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

const SCENARIO: &str = r#"
duration = "500 ms"
mode = "stream"
sender = "blocking"
algorithms = ["token-bucket"]
reference = { rate = "100 kB/s", burst = "10 kB" }
traffic = { pattern = "constant", rate = "80 kB/s", size = "500 B" }
"#;

/// Answers each of `answers` to one request; the requests come out of the channel.
fn api(path: &Path, answers: &'static [&'static str]) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(path).unwrap();
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            let mut request = String::new();
            // A request of this test comes whole with its first or second piece.
            while !whole(&request) {
                let read = stream.read(&mut bytes).unwrap();
                request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            said.send(request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    heard
}

fn whole(request: &str) -> bool {
    request.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        body.len() == length.map_or(0, |length| length.parse().unwrap())
    })
}

fn tune(folder: &Path, more: &[&str]) -> Output {
    fs::write(folder.join("s.toml"), SCENARIO).unwrap();
    let args = [
        "tune",
        "s.toml",
        "--out",
        "out",
        "--apply",
        "./api.sock",
        "--user",
        "a da",
    ];
    Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder)
        .args(args)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

const BEFORE: &str =
    "HTTP/1.1 200 OK\r\nETag: \"7\"\r\n\r\n{\"limit_shared\":\"whatever\",\"limit_down\":null}";
const AFTER: &str =
    "HTTP/1.1 200 OK\r\netag: \"8\"\r\n\r\n{\"name\":\"a da\",\"limit_down\":\"as it is now\"}";

#[test]
fn the_change_is_shown_and_made_with_leave() {
    let folder = tempfile::tempdir().unwrap();
    let heard = api(&folder.path().join("api.sock"), &[BEFORE, AFTER]);
    let done = tune(folder.path(), &["--yes"]);
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(out.contains("before: limit_shared whatever"), "{out}");
    assert!(
        out.contains("then:   limit_down token-bucket:rate="),
        "{out}"
    );
    assert!(
        out.ends_with("a da now: limit_down as it is now.\n"),
        "{out}"
    );
    let show = heard.recv().unwrap();
    assert!(
        show.starts_with("GET /api/v1/users/a%20da HTTP/1.1\r\n"),
        "{show}"
    );
    let change = heard.recv().unwrap();
    assert!(
        change.starts_with("PATCH /api/v1/users/a%20da HTTP/1.1\r\n"),
        "{change}"
    );
    assert!(change.contains("\r\nIf-Match: \"7\"\r\n"), "{change}");
    assert!(
        change.contains("{\"limit_down\":\"token-bucket:rate="),
        "{change}"
    );
}

#[test]
fn without_leave_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let heard = api(&folder.path().join("api.sock"), &[BEFORE]);
    let done = tune(folder.path(), &[]);
    assert!(done.status.success());
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("nothing was changed"), "{said}");
    assert!(heard.recv().unwrap().starts_with("GET "));
    assert!(heard.recv().is_err(), "a second request");
}

#[test]
fn a_refusal_and_an_absence_are_told() {
    const NOBODY: &str =
        "HTTP/1.1 404 Not Found\r\n\r\n{\"title\":\"Not Found\",\"detail\":\"no such user\"}";
    let folder = tempfile::tempdir().unwrap();
    let _heard = api(&folder.path().join("api.sock"), &[NOBODY]);
    let refused = tune(folder.path(), &["--yes"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("404") && said.contains("no such user"),
        "{said}"
    );
    fs::remove_file(folder.path().join("api.sock")).unwrap();
    let absent = tune(folder.path(), &["--yes"]);
    let said = String::from_utf8_lossy(&absent.stderr);
    assert!(said.contains("cannot reach the admin API"), "{said}");
}
