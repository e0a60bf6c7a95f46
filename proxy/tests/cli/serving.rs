//! A server that runs: what it follows, what it survives, how it stops.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::*;

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
    let left = |end: &str| place.path().join(format!("users.db{end}")).exists();
    assert!(
        left("") && !left("-wal") && !left("-shm"),
        "the file alone is whole"
    );
    assert_eq!(moved(&place), (5, 5));
}

/// What was counted more than an interval ago survives even SIGKILL.
#[test]
fn a_killed_server_loses_at_most_an_interval() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    std::fs::write(
        place.path().join("config.toml"),
        // Without the admin API, which would tell what is not written yet.
        "accounting_interval = \"50ms\"\n[admin]\nlisten = []\n",
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

/// Without a cap in the config there are as many connections as there are descriptors
/// for: the next one hears so at once, and nothing ever runs out.
#[test]
fn the_tunnel_after_the_last_is_refused_cleanly() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let program = env!("CARGO_BIN_EXE_weirgate-proxy");
    let mut command = Command::new("sh");
    command
        .current_dir(place.path())
        .env_clear()
        .env("WEIRGATE_DATABASE", place.path().join("users.db"));
    command.args([
        "-c",
        &format!("ulimit -n 256; exec {program} run {ON_LOOPBACK}"),
    ]);
    let server = Place::serve_by(command);
    let target = echo();
    let mut tunnels = Vec::new();
    let refused = loop {
        match server.try_tunnel("ada", target) {
            Ok(tunnel) => tunnels.push(tunnel),
            Err(error) => break error,
        }
        assert!(tunnels.len() < 256, "more than there are descriptors for");
    };
    // The end of the stream, or a reset: not a wait until the time-out.
    let waited = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
    assert!(!waited.contains(&refused.kind()), "{refused}");
    assert!(tunnels.len() >= 50, "{} tunnels", tunnels.len());
    let ticks = cpu_ticks(server.child.id());
    std::thread::sleep(Duration::from_millis(500));
    assert!(cpu_ticks(server.child.id()) - ticks < 25, "half of a core");
    for tunnel in &mut tunnels {
        tunnel.write_all(b"hello").unwrap();
        tunnel.read_exact(&mut [0; 5]).unwrap();
    }
    // One that ends makes room for one.
    tunnels.pop();
    let before = Instant::now();
    let again = loop {
        match server.try_tunnel("ada", target) {
            Ok(tunnel) => break tunnel,
            Err(error) => assert!(before.elapsed() < Duration::from_secs(60), "{error}"),
        }
    };
    drop((again, tunnels));
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(
        !log.contains("cannot accept clients") && !log.contains("os error 24"),
        "{log}"
    );
}

/// Bytes that pass at the old rate after a change has been answered are less than it
/// yields in 100 ms, however late this test is to look.
#[cfg(feature = "admin")]
#[test]
fn a_changed_rate_holds_on_open_connections_within_100_ms() {
    let place = Place::new();
    place.json("user add ada --password-file password --rate 20MB/s --json");
    let server = place.serve("");
    let mut client = server.tunnel("ada", flood());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(1..) = client.read(&mut buffer) {}
    });
    let reaches = |bytes: u64| {
        let before = Instant::now();
        while moved(&place).1 < bytes {
            assert!(before.elapsed() < Duration::from_secs(60));
        }
    };
    reaches(1_000_000);
    for _ in 0..2 {
        place.json("user set ada --rate 10kB/s --json");
        let (since, before) = (Instant::now(), moved(&place).1);
        std::thread::sleep(Duration::from_millis(500));
        let after = moved(&place).1 - before;
        let fair = 10_000.0 * since.elapsed().as_secs_f64() + 200_000.0;
        assert!(
            (after as f64) < fair + 2_000_000.0,
            "{after} B of {fair} B and 100 ms"
        );
        // At the old rate it would take a quarter of an hour.
        place.json("user set ada --rate 20MB/s --json");
        reaches(moved(&place).1 + 10_000_000);
    }
}

/// Sends as fast as it can.
#[cfg(feature = "admin")]
fn flood() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || while client.write_all(&[7; 16_384]).is_ok() {});
        }
    });
    address
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
