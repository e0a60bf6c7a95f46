//! The program itself: its commands, its codes, and what it leaves behind.
#![cfg(feature = "bpf")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::permitted;
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
