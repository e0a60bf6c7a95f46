//! The program as an operator uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
const ON_LOOPBACK: &str = "--listen 127.0.0.1:0 --allow-egress 127.0.0.0/8";

/// A folder with a database and a password file in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.path());
        command
            .env_clear()
            .env("WEIRGATE_DATABASE", self.path().join("users.db"));
        command
    }

    fn output(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The JSON that a command prints.
    fn json(&self, arguments: &str) -> Value {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the error that a command ends with.
    fn failure(&self, arguments: &str) -> (Option<i32>, String) {
        let output = self.output(arguments);
        assert!(output.stdout.is_empty(), "{arguments}: {output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn serve(&self, arguments: &str) -> Serving {
        Self::serve_by(self.command(&format!("run {ON_LOOPBACK} {arguments}")))
    }

    fn serve_by(mut command: Command) -> Serving {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("WEIRGATE_LOG", "trace");
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("listening ")
            .expect("what it says first")
            .parse()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        Serving {
            child,
            address,
            log: Some(log),
        }
    }
}

/// A running server; killed when dropped.
struct Serving {
    child: Child,
    address: SocketAddr,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Serving {
    fn tunnel(&self, name: &str, target: SocketAddr) -> TcpStream {
        self.try_tunnel(name, target).expect("an answer")
    }

    fn try_tunnel(&self, name: &str, target: SocketAddr) -> std::io::Result<TcpStream> {
        let mut client = TcpStream::connect(self.address)?;
        client.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(client, "127.0.0.1 {} {name} {PASSWORD}\r\n", target.port())?;
        let mut byte = [0];
        while byte[0] != b'\n' {
            client.read_exact(&mut byte)?;
        }
        Ok(client)
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The exit code and the log.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || {
                let client = client.unwrap();
                let _ = std::io::copy(&mut &client, &mut &client);
            });
        }
    });
    address
}

/// What a user's JSON says of their own rules.
const RULES: [&str; 8] = [
    "limit_shared",
    "limit_up",
    "limit_down",
    "max_connections",
    "max_addresses",
    "quota",
    "expires",
    "beyond",
];

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_users_life() {
    let place = Place::new();
    let added =
        place.json("user add ada --password-file password --rate 5000B/s --burst 5000B --json");
    let mut shape = Vec::from(RULES);
    shape.extend(["name", "enabled", "created", "standing", "rules", "period"]);
    shape.extend(["upload_bytes", "download_bytes"]);
    shape.sort_unstable();
    assert_eq!(keys(&added), shape);
    let mut rules = Vec::from(RULES);
    rules.sort_unstable();
    assert_eq!(keys(&added["rules"]), rules);
    assert_eq!(
        (&added["name"], &added["enabled"], &added["standing"]),
        (&json!("ada"), &json!(true), &json!("good"))
    );
    let limit = "token-bucket:rate=5000B/s,burst=5000B";
    assert_eq!(added["limit_shared"], limit);
    assert_eq!(added["rules"]["limit_shared"], limit);
    // The burst is 10 ms of the rate, at least 1,500 B.
    let set = place.json("user set ada --rate 1MB/s --algorithm gcra --json");
    assert_eq!(set["limit_shared"], "gcra:rate=1000000B/s,burst=10000B");
    let set = place.json("user set ada --rate-down 40kbit/s --json");
    assert_eq!(set["limit_down"], "token-bucket:rate=5000B/s,burst=1500B");
    assert_eq!(
        (&set["limit_up"], &set["limit_shared"]),
        (&Value::Null, &Value::Null)
    );
    let set = place.json("user set ada --unlimited --json");
    assert_eq!(set["limit_shared"], "none");
    assert_eq!(set["limit_down"], Value::Null);
    assert_eq!(place.json("user disable ada --json")["enabled"], false);
    assert_eq!(place.json("user enable ada --json")["enabled"], true);
    place.json("user add bob --password-file password --json");
    let names: Vec<_> = place
        .json("user list --json")
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    assert_eq!(names, ["ada", "bob"]);
    place.json("user del bob --json");
    assert_eq!(place.json("user list --json").as_array().unwrap().len(), 1);
    let text = String::from_utf8(place.output("user show ada").stdout).unwrap();
    assert_eq!(text, "ada  enabled  unlimited  up 0 B  down 0 B\n");
}

#[test]
fn rules_of_a_user_go_before_those_for_everybody() {
    let place = Place::new();
    place.json("user add ada --password-file password --max-connections 5 --json");
    let everybody =
        place.json("rules set --rate 1MB/s --max-connections 2 --max-addresses none --json");
    assert_eq!(everybody["max_connections"], 2);
    assert_eq!(place.json("rules show --json"), everybody);
    let ada = place.json("user show ada --json");
    assert_eq!(
        (&ada["max_connections"], &ada["limit_shared"]),
        (&json!(5), &Value::Null)
    );
    assert_eq!(ada["rules"]["max_connections"], 5);
    assert_eq!(ada["rules"]["max_addresses"], "none");
    assert_eq!(
        ada["rules"]["limit_shared"],
        "token-bucket:rate=1000000B/s,burst=10000B"
    );
    let ada = place.json("user set ada --reset max-connections --unlimited --json");
    assert_eq!(ada["max_connections"], Value::Null);
    assert_eq!(ada["rules"]["max_connections"], 2);
    assert_eq!(ada["rules"]["limit_shared"], "none");
    place.json("rules set --reset limits,max-connections,max-addresses --json");
    let text = String::from_utf8(place.output("rules show").stdout).unwrap();
    assert_eq!(text, "no rules for everybody\n");
}

#[test]
fn quota_and_expiry_are_shown_with_what_is_left() {
    let place = Place::new();
    let ada = place.json(
        "user add ada --password-file password --quota 1GB/monthly@31 --expires 2100-01-31 --beyond 8kB/s --json",
    );
    assert_eq!(ada["quota"], "1000000000B/monthly@31");
    assert_eq!(ada["expires"], "2100-01-31T00:00:00Z");
    assert_eq!(ada["beyond"], "8000B/s");
    let usage = place.json("user usage ada --json");
    assert_eq!(
        keys(&usage),
        [
            "download_bytes",
            "name",
            "period",
            "standing",
            "upload_bytes"
        ]
    );
    assert_eq!(
        keys(&usage["period"]),
        [
            "download_bytes",
            "end",
            "left_bytes",
            "quota_bytes",
            "start",
            "upload_bytes"
        ]
    );
    assert_eq!(usage["period"]["left_bytes"], 1_000_000_000);
    let text = String::from_utf8(place.output("user usage ada").stdout).unwrap();
    assert!(text.contains("1000000000 B left of 1000000000 B"), "{text}");
    place.json("user set ada --expires 2000-01-01 --json");
    let text = String::from_utf8(place.output("user show ada").stdout).unwrap();
    let shown = "ada  expired  unlimited  quota 1000000000B/monthly@31  \
        expires 2000-01-01T00:00:00Z  then 8000B/s  up 0 B  down 0 B\n";
    assert_eq!(text, shown);
}

#[test]
fn passwords_come_from_standard_input_too() {
    let place = Place::new();
    let mut command = place.command("user add ada --password-file - --json");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(PASSWORD.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    let server = place.serve("");
    drop(server.tunnel("ada", echo()));
}

#[test]
fn mistakes_are_named_and_have_their_exit_code() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    for (arguments, said) in [
        ("user show nobody", "\"nobody\""),
        ("user add ada --password-file password", "already"),
        ("user add bob --password-file nowhere", "nowhere"),
        ("user add bob --password-file /dev/null", "1 to 255"),
        ("user add bob --password-file password --rate 5000", "B/s"),
        (
            "user add bob --password-file password --rate 7bit/s",
            "7bit/s",
        ),
        (
            "user add bob --password-file password --rate 1kB/s --algorithm tokenbucket",
            "token-bucket",
        ),
        (
            "user add bob --password-file password --rate 1kB/s --algorithm leaky-bucket --burst 1B",
            "no burst",
        ),
        ("user add bob --password-file password --burst 1kB", "rate"),
        (
            "user add bob --password-file password --rate 1kB/s --rate-up 1kB/s",
            "--rate-up",
        ),
        ("user add bob", "--password-file"),
        ("user set ada", "--rate"),
        ("user set ada --quota 10", "no unit"),
        ("user set ada --quota 10GB/yearly", "monthly"),
        ("user set ada --expires soon", "2027-01-31"),
        ("user set ada --max-connections 0", "1 or more"),
        ("user set ada --beyond stop", "stop"),
        ("user set ada --quota none --reset quota", "both"),
        ("rules set", "nothing to set"),
        ("user list --database mysql://host/db", "mysql"),
        ("run --listen 127.0.0.1", "127.0.0.1"),
        ("run --allow-egress 10.0.0.0/33", "10.0.0.0/33"),
        ("run --config nowhere.toml", "nowhere.toml"),
    ] {
        let (code, error) = place.failure(arguments);
        assert_eq!(code, Some(2), "{arguments}: {error}");
        assert!(error.contains(said), "{arguments}: {error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, error) = place.failure(&format!("run --listen {address}"));
    assert_eq!(code, Some(1));
    assert!(
        error.contains(&address.to_string()) && error.contains("choose another port"),
        "{error}"
    );
    std::fs::write(place.path().join("no.db"), [b'x'; 8192]).unwrap();
    let (code, error) = place.failure("user list --database no.db");
    assert_eq!(code, Some(1));
    assert!(error.contains("no.db"), "{error}");
}

#[test]
fn a_running_server_follows_the_command_line_and_stops_in_order() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("");
    let mut client = server.tunnel("ada", echo());
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    // Somebody who is new while it runs.
    place.json("user add bob --password-file password --json");
    let known = Instant::now();
    while known.elapsed() < Duration::from_secs(60) {
        let mut newcomer = TcpStream::connect(server.address).unwrap();
        write!(newcomer, "127.0.0.1 {} bob {PASSWORD}\r\n", echo().port()).unwrap();
        if newcomer.read(&mut [0]).unwrap() == 1 {
            break;
        }
    }
    drop(client);
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(
        !log.contains(PASSWORD) && !log.contains("horse"),
        "a password in the log"
    );
    assert!(!log.contains("hello"), "payload in the log");
    assert_eq!(moved(&place), (5, 5));
}

/// What was counted more than an interval ago survives even SIGKILL.
#[test]
fn a_killed_server_loses_at_most_an_interval() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    std::fs::write(
        place.path().join("config.toml"),
        "accounting_interval = \"50ms\"\n",
    )
    .unwrap();
    let server = place.serve("--config config.toml");
    let mut client = server.tunnel("ada", echo());
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let written = Instant::now();
    while moved(&place) != (5, 5) {
        assert!(written.elapsed() < Duration::from_secs(60));
    }
    server.signal("KILL");
    assert_eq!(server.ended().0, None);
    assert_eq!(moved(&place), (5, 5));
}

/// What ada has moved, up and down.
fn moved(place: &Place) -> (u64, u64) {
    let usage = place.json("user usage ada --json");
    let bytes = |key| usage[key].as_u64().unwrap();
    (bytes("upload_bytes"), bytes("download_bytes"))
}

#[test]
fn a_second_signal_does_not_wait() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("");
    let _open = server.tunnel("ada", echo());
    let before = Instant::now();
    server.signal("INT");
    while TcpStream::connect(server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal("INT");
    assert_eq!(server.ended().0, Some(1));
    assert!(
        before.elapsed() < Duration::from_secs(30),
        "it waited for the open connection"
    );
}

/// Where descriptors run out, clients are turned away and nothing spins; when
/// there are some again, clients are served again.
#[test]
fn running_out_of_descriptors_passes() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    // More connections than there are descriptors for.
    let caps = "[caps]\nconnections = 1000\nhandshakes = 1000\n";
    std::fs::write(place.path().join("config.toml"), caps).unwrap();
    let program = env!("CARGO_BIN_EXE_weirgate-proxy");
    let mut command = Command::new("sh");
    command
        .current_dir(place.path())
        .env_clear()
        .env("WEIRGATE_DATABASE", place.path().join("users.db"));
    command.args([
        "-c",
        &format!("ulimit -n 40; exec {program} run --config config.toml {ON_LOOPBACK}"),
    ]);
    let server = Place::serve_by(command);
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(server.address).unwrap())
        .collect();
    // Those that are turned away see it.
    let mut turned_away = 0;
    let before = Instant::now();
    while turned_away < 10 {
        assert!(before.elapsed() < Duration::from_secs(60));
        turned_away = crowd.iter().filter(|client| is_closed(client)).count();
    }
    let ticks = cpu_ticks(server.child.id());
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu_ticks(server.child.id()) - ticks < 25, "half of a core");
    drop(crowd);
    // As soon as the server has noticed that the crowd is gone.
    let (target, before) = (echo(), Instant::now());
    while let Err(error) = server.try_tunnel("ada", target) {
        assert!(before.elapsed() < Duration::from_secs(60), "{error}");
    }
}

fn is_closed(mut client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    !matches!(client.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Hundredths of a second that a process has run.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}
