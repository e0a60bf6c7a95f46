//! Starting from nothing, the config, and what systemd and signals say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

const LONG: Duration = Duration::from_secs(60);

fn stdout(place: &Place, arguments: &str) -> String {
    let output = place.output(arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn config(place: &Place, text: &str) {
    std::fs::write(place.path().join("config.toml"), text).unwrap();
}

/// The reply to a line handshake; empty if there is none.
fn asks(address: SocketAddr, name: &str, password: &str, target: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "127.0.0.1 {} {name} {password}\r\n", target.port()).unwrap();
    let mut reply = String::new();
    // A reset is no reply either.
    let _ = BufReader::new(client).read_line(&mut reply);
    reply
}

#[test]
fn init_writes_a_config_and_the_first_user() {
    let place = Place::new();
    let said = stdout(&place, "init --config w.toml --user ada");
    let login = said
        .lines()
        .find_map(|line| line.strip_prefix("login ada "));
    let password = login.unwrap();
    assert_eq!(password.len(), 20);
    assert_eq!(stdout(&place, "check-config --config w.toml"), "ok\n");
    let server = place.serve("--config w.toml");
    assert!(!asks(server.address, "ada", password, echo()).is_empty());
    drop(server);
    let (code, error) = place.failure("init --config w.toml --user bob");
    assert_eq!(code, Some(2));
    assert!(error.contains("w.toml"), "{error}");
    // Nothing is left behind that would be in the way of the next attempt.
    let (code, error) = place.failure("init --config v.toml --user a\u{1}b");
    assert_eq!(code, Some(2), "{error}");
    assert!(!place.path().join("v.toml").exists());
    let (code, error) = place.failure("init --config v.toml --user ada");
    assert_eq!(code, Some(2));
    assert!(error.contains("already") && !place.path().join("v.toml").exists());
    // With a password of one's own, none is printed.
    let said = stdout(
        &place,
        "init --config v.toml --user bob --password-file password",
    );
    assert!(
        said.ends_with("user bob\n") && !said.contains(PASSWORD),
        "{said}"
    );
}

/// What stands behind a # in the config of `init` is what holds without it.
#[test]
fn the_commented_config_shows_the_defaults() {
    let place = Place::new();
    stdout(&place, "init --config w.toml");
    let text = std::fs::read_to_string(place.path().join("w.toml")).unwrap();
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") => setting,
            _ => line,
        })
        .collect();
    config(&place, &uncommented.join("\n"));
    let effective = |arguments: &str| {
        let arguments = format!("check-config --show-effective --json {arguments}");
        let mut value = place.json(&arguments);
        let sources = value["sources"].take();
        (value["effective"].take(), sources)
    };
    let (mut defaults, _) = effective("");
    let (mut written, sources) = effective("--config config.toml");
    // That depends on the machine.
    for value in [&mut defaults, &mut written] {
        value["caps"]["connections"] = Value::Null;
        value["caps"]["handshakes"] = Value::Null;
    }
    assert_eq!(written, defaults);
    assert_eq!(sources["timeouts"]["drain"], "file");
    assert_eq!(sources["database"], "flag or environment");
}

#[test]
fn without_any_config_it_runs_and_prints_a_login() {
    let place = Place::new();
    let start = || {
        let mut command = place.command("run --listen 127.0.0.1:0 --allow-egress 127.0.0.0/8");
        command
            .env_remove("WEIRGATE_DATABASE")
            .env("HOME", place.path());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address: SocketAddr = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        (child, said, address)
    };
    let (mut child, mut said, address) = start();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let password = line
        .trim_end()
        .strip_prefix("login weirgate ")
        .unwrap()
        .to_owned();
    let target = echo();
    assert!(!asks(address, "weirgate", &password, target).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    // The second time there is somebody already.
    let (mut child, mut said, address) = start();
    assert!(!asks(address, "weirgate", &password, target).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    line.clear();
    while said.read_line(&mut line).unwrap() > 0 {}
    assert!(!line.contains("login"), "{line}");
}

#[test]
fn mistakes_in_a_config_are_shown_where_they_are() {
    let place = Place::new();
    for (text, said, line, column) in [
        ("lisen = []", "unknown field `lisen`", 1, 1),
        ("\n[timeouts]\ndrain = 10", "has no unit", 3, 9),
        ("[https_service]\nlisten = []", "the list is empty", 2, 10),
        ("accounting_interval = \"0s\"", "above zero", 1, 23),
        ("listen = []", "no address", 1, 1),
        (
            "listen = [\"127.0.0.1:9\", \"[::1]:9\"]\n[admin]\nlisten = [\"127.0.0.1:9\"]",
            "127.0.0.1:9 is given twice",
            1,
            1,
        ),
        (
            "[caps]\n\n[tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"",
            "no.pem",
            3,
            2,
        ),
    ] {
        config(&place, text);
        let (code, error) = place.failure("check-config --config config.toml");
        assert_eq!(code, Some(2), "{error}");
        let shown = text.lines().nth(line - 1).unwrap();
        assert!(error.contains(shown), "{error}");
        assert_eq!(error.matches(said).count(), 1, "said once: {error}");
        assert!(
            error.contains(&format!("line {line}, column {column}")),
            "{error}"
        );
        let output = place.output("check-config --config config.toml --json");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), &value["ok"]),
            (Some(2), &false.into())
        );
        let problem = &value["problems"][0];
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&line.into(), &column.into())
        );
        assert!(
            problem["message"].as_str().unwrap().contains(said),
            "{problem}"
        );
        let start = usize::try_from(problem["start"].as_u64().unwrap()).unwrap();
        assert!(text.get(start..).is_some());
        // The server says the same.
        assert_eq!(
            place.failure("run --config config.toml").0,
            Some(
                if ["no.pem", "no address", "127.0.0.1:9 is given twice"].contains(&said) {
                    1
                } else {
                    2
                }
            )
        );
    }
}

#[test]
fn secrets_are_masked_and_sources_are_told() {
    let place = Place::new();
    config(
        &place,
        "listen = [\"127.0.0.1:7\"]\n[timeouts]\nidle = \"1500ms\"\n",
    );
    let mut command = place.command("check-config --config config.toml --show-effective");
    command.env("WEIRGATE_DATABASE", "postgres://w:secret@db/w");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "listen = [\"127.0.0.1:7\"] # file",
        "database = \"postgres://w:***@db/w\" # flag or environment",
        "idle = \"1500ms\" # file",
        "drain = \"30s\" # default",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    assert!(!text.contains("secret"));
    // It is a config.
    config(&place, &text);
    assert_eq!(stdout(&place, "check-config --config config.toml"), "ok\n");
}

/// Tables within tables and the service's keys too: what is shown is a config of the same meaning.
#[test]
fn what_is_shown_reads_back() {
    let place = Place::new();
    let text = r#"
        listener = [{ address = "127.0.0.1:8080", protocols = ["http"], proxy_protocol_from = ["10.0.0.0/24"] }]
        [egress]
        users.ada = ["allow 10.3.0.0/16", "deny * 6881-6889"]
        [https_service]
        queue = 7
        queue_timeout = "1500ms"
        guest = { name = "ada", from = ["10.0.0.0/24"] }
        per_address = { requests = 600, bytes = "1 GiB", window = "30s" }
        [[https_service.upstream]]
        origin = "https://api.example"
        instances = ["10.1.0.1:443", "10.1.0.2:443"]
        balance = "least-connections"
        check_path = "/health"
    "#;
    config(&place, text);
    let effective = || {
        let mut value = place.json("check-config --show-effective --json --config config.toml");
        (value["effective"].take(), value["sources"].take())
    };
    let (written, sources) = effective();
    let service = &written["https_service"];
    assert_eq!(service["queue"], 7);
    assert_eq!(service["workers"], 100);
    assert_eq!(service["guest"]["name"], "ada");
    assert_eq!(service["upstream"][0]["origin"], "https://api.example:443");
    assert_eq!(service["upstream"][0]["rise"], 2);
    assert_eq!(service["per_user"], Value::Null);
    assert_eq!(sources["https_service"]["queue"], "file");
    assert_eq!(sources["https_service"]["workers"], "default");
    let shown = stdout(&place, "check-config --show-effective --config config.toml");
    config(&place, &shown);
    assert_eq!(effective().0, written, "{shown}");
}

/// Keys, tokens and URLs that hold them are known to be there, and not what they are.
#[cfg(feature = "shadowsocks")]
#[test]
fn the_tables_of_shadowsocks_and_tls_are_shown_without_secrets() {
    let place = Place::new();
    config(
        &place,
        r#"
        [shadowsocks]
        panel = "http://panel.example/api/?token=s3cret"
        idle = "5s"
        managed = { port = 8388, method = "2022-blake3-aes-128-gcm", key = "c3MzY3JldHMzY3JldHMzYw==" }
        grpc = { listen = "127.0.0.1:5000", token = "s3cret" }
        "#,
    );
    let arguments = "check-config --show-effective --config config.toml --json";
    let mut command = place.command(arguments);
    command
        .env("SS_SYNC_TIME", "7")
        .env("SS_TCP_CONN_LIMIT", "9");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        !text.contains("s3cret") && !text.contains("c3MzY3"),
        "{text}"
    );
    let shown: Value = serde_json::from_str(&text).unwrap();
    let (effective, sources) = (&shown["effective"], &shown["sources"]);
    let front = &effective["shadowsocks"];
    assert_eq!(front["panel"], "http://panel.example/...");
    assert_eq!(front["managed"]["key"], "***");
    assert_eq!(front["grpc"]["token"], "***");
    assert_eq!(front["sync"], "7s");
    assert_eq!(front["idle"], "5s");
    let from = |table: &str, key: &str| sources[table][key].as_str().unwrap().to_owned();
    assert_eq!(from("shadowsocks", "sync"), "flag or environment");
    assert_eq!(from("caps", "connections_per_user"), "flag or environment");
    assert_eq!(from("shadowsocks", "idle"), "file");
    assert_eq!(from("shadowsocks", "udp"), "default");
    assert_eq!(effective["caps"]["connections_per_user"], 9);
}

#[test]
fn a_signal_reads_the_config_again_whole_or_not_at_all() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    config(&place, "[caps]\nconnections_per_user = 1\n");
    let server = place.serve("--config config.toml");
    let target = echo();
    let _first = server.tunnel("ada", target);
    let may = || !asks(server.address, "ada", PASSWORD, target).is_empty();
    assert!(!may());
    config(
        &place,
        "listen = [\"127.0.0.1:9\"]\n[caps]\nconnections_per_user = 8\nconnections = 0.5\n",
    );
    server.signal("HUP");
    server.wait_for_log("the new config is refused");
    assert!(!may(), "what is wrong is refused whole");
    for (signal, most) in [("HUP", 8), ("USR1", 1)] {
        config(
            &place,
            &format!("database = \"other.db\"\n[caps]\nconnections_per_user = {most}\n"),
        );
        server.signal(signal);
        let since = Instant::now();
        while may() != (most == 8) {
            assert!(since.elapsed() < LONG);
        }
    }
    server.signal("TERM");
    drop(_first);
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(
        log.contains("the new config is refused, the old one stays"),
        "{log}"
    );
    let reloaded = "config reloaded changed=[\"caps\"] needs_restart=[]";
    assert_eq!(log.matches(reloaded).count(), 2, "{log}");
}

/// Nobody waits for what does not come: a pipe may have no other end.
#[test]
fn a_config_that_is_a_pipe_is_not_read_again() {
    let place = Place::new();
    config(&place, "[caps]\nconnections_per_user = 1\n");
    let server = place.serve("--config config.toml");
    let path = place.path().join("config.toml");
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    server.signal("HUP");
    server.wait_for_log("config.toml is no file that can be read again");
    std::fs::remove_file(&path).unwrap();
    config(&place, "[caps]\nconnections_per_user = 2\n");
    server.signal("HUP");
    server.wait_for_log("config reloaded");
}

#[test]
fn what_cannot_change_live_is_named() {
    let place = Place::new();
    config(
        &place,
        "allow_egress = [\"10.0.0.0/8\"]\n[log]\nlevel = \"info\"\n",
    );
    let server = Place::serve_by({
        let mut command = place.command("run --config config.toml");
        command.env("WEIRGATE_LISTEN", "127.0.0.1:0");
        command
    });
    config(
        &place,
        "allow_egress = [\"10.0.0.0/9\"]\naccounting_interval = \"2s\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
    );
    server.signal("HUP");
    let logged = server.wait_for_log("config reloaded");
    let expected = "changed=[\"allow_egress\", \"accounting_interval\"] needs_restart=[\"listener\", \"log.format\"]";
    assert!(logged.contains(expected), "{logged}");
}

#[test]
fn systemd_is_told_and_the_watchdog_fed() {
    let place = Place::new();
    let socket = place.path().join("notify");
    let notified = UnixDatagram::bind(&socket).unwrap();
    notified.set_read_timeout(Some(LONG)).unwrap();
    let mut command = place.command(&format!("run {ON_LOOPBACK}"));
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000");
    let server = Place::serve_by(command);
    let mut seen = Vec::new();
    let mut until = |wanted: &str| {
        loop {
            let mut message = [0; 256];
            let len = notified.recv(&mut message).expect(wanted);
            let message = String::from_utf8_lossy(&message[..len]).into_owned();
            seen.push(message.clone());
            if message.lines().any(|line| line.starts_with(wanted)) {
                return message;
            }
        }
    };
    until("READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    server.signal("HUP");
    let reloading = until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    until("READY=1");
    server.signal("TERM");
    until("STOPPING=1");
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn sockets_of_systemd_are_served() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let program = env!("CARGO_BIN_EXE_weirgate-proxy");
    let mut command = std::process::Command::new("sh");
    command.current_dir(place.path()).env_clear();
    command.env("WEIRGATE_DATABASE", place.path().join("users.db"));
    // The socket comes in as standard input and is put where systemd puts it.
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    command.args([
        "-c",
        &format!("LISTEN_FDS=1 LISTEN_PID=$$ exec {program} run --allow-egress 127.0.0.0/8 3<&0 0</dev/null"),
    ]);
    let server = Place::serve_by(command);
    // That one, and not the default address beside it.
    assert_eq!(server.address, address);
    let mut client = server.tunnel("ada", echo());
    client.write_all(b"hello").unwrap();
    let mut echoed = [0; 5];
    client.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
    server.signal("HUP");
    server.wait_for_log("config reloaded changed=[] needs_restart=[]");
}
