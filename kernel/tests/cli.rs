//! The program itself: its commands, its codes, and what it leaves behind.
#![cfg(feature = "bpf")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::permitted;
use nix::sys::socket::{setsockopt, sockopt};
use tempfile::TempDir;

const RULES: &str = "[[rule]]\nname = \"in\"\ndirection = \"ingress\"\nlocal_port = 9000\nrate = \"1 MB/s\"\n\
                     [[rule]]\nname = \"out\"\nmode = \"pace\"\ndirection = \"egress\"\nremote_port = 9001\nrate = \"1 MB/s\"\n";

struct Place {
    folder: TempDir,
}

/// A `run` that is killed with this value.
struct Running(Child);

impl Place {
    fn new(rules: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(place.file(), rules).unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("rules.toml")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-kernel"));
        command.args(words).arg("--control").arg(self.socket());
        command
    }

    fn ask(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts `run` and waits until it holds.
    fn run(&self) -> Running {
        let mut child = self
            .command(&["run", self.file().to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(line.starts_with("holding 2 rules at: netfilter"), "{line}");
        Running(child)
    }

    fn listed(&self) -> serde_json::Value {
        let output = self.ask(&["list", "--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Files beside the rules.
    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| *path != self.file()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Programs of ours that this process tree has loaded, by the names that the kernel shows.
fn programs_of(pid: u32) -> usize {
    let folder = format!("/proc/{pid}/fdinfo");
    let Ok(entries) = std::fs::read_dir(Path::new(&folder)) else {
        return 0;
    };
    let texts = entries
        .flatten()
        .map(|entry| std::fs::read_to_string(entry.path()));
    texts
        .flatten()
        .filter(|text| text.contains("prog_id"))
        .count()
}

#[test]
fn holds_changes_and_ends() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    let mut running = place.run();
    assert_eq!(
        place.listed()["rules"][1]["text"],
        "out: egress remote port 9001: pace 1000000 B/s"
    );
    assert!(programs_of(running.0.id()) > 0);
    let second = place.ask(&["run", place.file().to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    // A mistake changes nothing; a right file is taken over within a second.
    std::fs::write(place.file(), "[[rule]]\n").unwrap();
    std::thread::sleep(Duration::from_millis(1_300));
    assert_eq!(place.listed()["rules"][0]["rule"], "in");
    std::fs::write(place.file(), RULES.replace("1 MB/s", "3 MB/s")).unwrap();
    let begun = Instant::now();
    while !place.listed()["rules"][0]["text"]
        .to_string()
        .contains("3000000 B/s")
    {
        assert!(begun.elapsed() < Duration::from_secs(5), "not taken over");
        std::thread::sleep(Duration::from_millis(50));
    }
    let watched = place.ask(&["watch", "--json", "--seconds", "2"]);
    let text = String::from_utf8(watched.stdout).unwrap();
    let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for key in [
        "instant_rate_bps",
        "rate_bps",
        "peak_rate_bps",
        "smoothed_rate_bps",
        "timestamp",
    ] {
        assert!(record.get(key).is_some(), "{key} in {record}");
    }
    assert!(place.ask(&["clear"]).status.success());
    assert!(running.0.wait().unwrap().success());
    assert!(place.left().is_empty(), "{:?}", place.left());
    assert_eq!(place.ask(&["list"]).status.code(), Some(1));
}

/// `watch` went on for ever behind a pipe that nobody read any more.
#[test]
fn watching_ends_with_its_reader() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    let _running = place.run();
    let mut watch = place.command(&["watch", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert!(line.ends_with("}\n"), "{line}");
    drop(stdout);
    let begun = Instant::now();
    let code = loop {
        if let Some(code) = watch.try_wait().unwrap() {
            break code;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            let _ = watch.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(code.success(), "{code}");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let watched = place
        .command(&["watch", "--json"])
        .stdout(full.unwrap())
        .output()
        .unwrap();
    assert_eq!(watched.status.code(), Some(1));
    let said = String::from_utf8_lossy(&watched.stderr);
    assert!(said.contains("No space left"), "{said}");
}

/// What a flow had sent before it was first read was in no record of it, nor in its rates.
#[test]
fn records_have_every_byte() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    let _running = place.run();
    let mut watch = place.command(&["watch", "--json", "--flows", "--seconds", "4"]);
    let watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let receiver = std::net::UdpSocket::bind("127.0.0.1:9000").unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = sender.local_addr().unwrap().port();
    for _ in 0..100 {
        sender.send_to(&[7; 500], "127.0.0.1:9000").unwrap();
    }
    drop(receiver);
    let output = watch.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let records: Vec<_> = records.filter(|record| record["rule"] == "in").collect();
    let flow = records.iter().rfind(|record| record["src_port"] == port);
    let rule = records
        .iter()
        .rfind(|record| record.get("src_port").is_none());
    for record in [flow.unwrap(), rule.unwrap()] {
        let (bytes, packets) = (&record["passed"]["bytes"], &record["passed"]["packets"]);
        assert_eq!((bytes, packets), (&52_800.into(), &100.into()), "{record}");
        assert!(
            record["passed"]["peak_Bps"].as_u64() > Some(1_000),
            "{record}"
        );
    }
}

/// A file that stands where the socket should be is somebody's, and stays.
#[test]
fn no_file_is_taken_for_a_socket() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    std::fs::write(place.socket(), "precious").unwrap();
    for words in [&["clear"][..], &["run", place.file().to_str().unwrap()]] {
        let output = place.ask(words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("choose another --control"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "precious");
}

#[test]
fn says_when_what_a_rule_names_goes() {
    if !permitted() {
        return;
    }
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let named = format!(
        "[[rule]]\ndirection = \"egress\"\nrate = \"1 MB/s\"\npid = {}\nlocal_port = 9199\n",
        process.id()
    );
    let place = Place::new(&(named + RULES));
    let mut running = place.command(&["run", place.file().to_str().unwrap()]);
    let running = running.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(running.spawn().unwrap());
    let mut line = String::new();
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    line.clear();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("it meets nothing"), "{line}");
    assert_eq!(place.listed()["rules"].as_array().unwrap().len(), 3);
}

#[test]
fn killed_leaves_nothing_that_a_restart_does_not_clean() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    let running = place.run();
    drop(running);
    assert_eq!(
        place.left().len(),
        2,
        "the socket and the note of what was paced"
    );
    // The hooks are free again: netfilter lets nobody else have this priority.
    let mut running = place.run();
    assert!(place.ask(&["clear"]).status.success());
    assert!(running.0.wait().unwrap().success());
    assert!(place.left().is_empty(), "{:?}", place.left());
    drop(place.run());
    let cleared = place.ask(&["clear"]);
    assert!(String::from_utf8_lossy(&cleared.stdout).contains("cleaned up"));
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// What a killed `run` paced is lifted from whichever network namespace that is asked for.
#[test]
fn a_pace_is_lifted_in_its_own_namespace() {
    if !permitted() {
        return;
    }
    use std::io::{Read as _, Write as _};
    const LEFT: usize = 100_000;
    std::fs::write("/proc/sys/net/ipv4/tcp_tso_rtt_log", "0").unwrap();
    let place = Place::new(&RULES.replace(
        "\"egress\"\nremote_port = 9001\nrate = \"1 MB/s\"",
        "\"egress\"\nremote_port = 9001\nrate = \"1 kB/s\"",
    ));
    let far = kernel::netns::Namespace::connected().unwrap();
    let listener = far.run(|| std::net::TcpListener::bind("10.77.0.2:9001").unwrap());
    let running = place.run();
    let mut sender = std::net::TcpStream::connect("10.77.0.2:9001").unwrap();
    let mut receiver = listener.unwrap().accept().unwrap().0;
    setsockopt(&sender, sockopt::SndBuf, &(4 * LEFT)).unwrap();
    sender.write_all(&[7; LEFT]).unwrap();
    drop(running);
    let mut clear = place.command(&["clear"]);
    let cleared = far.run(move || clear.output().unwrap()).unwrap();
    assert!(cleared.status.success(), "{cleared:?}");
    drop(sender);
    let patience = Some(Duration::from_secs(60));
    receiver.set_read_timeout(patience).unwrap();
    let begun = Instant::now();
    let mut all = Vec::new();
    receiver.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), LEFT);
    // At the pace it would take 100 s.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn says_what_is_missing() {
    if !permitted() {
        return;
    }
    let place = Place::new(RULES);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_weirgate-kernel"))
        .args(["run", "/dev/null", "--control", "/tmp/weirgate-nobody.sock"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The build's folder may be closed to nobody.
    if output.status.code() == Some(1) {
        assert!(
            said.contains("lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
            "{said}"
        );
    } else {
        assert!(said.contains("Permission denied"), "{said}");
    }
    let output = place.ask(&["run", "/nowhere/rules.toml"]);
    assert_eq!(output.status.code(), Some(2));
    std::fs::write(
        place.file(),
        "[[rule]]\ndirection = \"ingress\"\nrate = \"1 B/s\"\ninterface = \"nowhere9\"\n",
    )
    .unwrap();
    let output = place.ask(&["run", place.file().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
