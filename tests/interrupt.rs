//! Ctrl-C leaves whole files and exit code 130.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SCENARIO: &str = r#"
duration = "360 d"
algorithms = ["none"]
reference = { rate = "1 kB/s", burst = "1 kB" }
traffic = { pattern = "bursty" }
"#;

fn weirgate(folder: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
}

/// Waits until `folder` holds `count` files.
fn await_files(folder: &Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_dir(folder).unwrap().count() < count {
        assert!(Instant::now() < deadline, "nothing is written");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn half_a_trace_is_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("long.toml"), SCENARIO).unwrap();
    let mut child = weirgate(
        folder.path(),
        &["traffic", "long.toml", "--out", "trace.csv"],
    );
    await_files(folder.path(), 2);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A pipe that never ends, as a trace.
#[test]
fn an_interrupted_replay_leaves_whole_events() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("trace.csv");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let args = [
        "replay",
        "--trace",
        "trace.csv",
        "--limiter",
        "none",
        "--mode",
        "police",
    ];
    let mut child = weirgate(
        folder.path(),
        &[&args[..], &["--events", "events.csv"]].concat(),
    );
    let feeder = thread::spawn(move || feed(&pipe));
    await_files(folder.path(), 2);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    feeder.join().unwrap();
    let events = fs::read_to_string(folder.path().join("events.csv")).unwrap();
    assert!(events.ends_with(",\n"), "the last line is whole");
    let last = events.lines().next_back().unwrap();
    assert_eq!(last.split(',').count(), 6);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn an_interrupted_scenario_leaves_a_whole_report_or_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("long.toml"), SCENARIO).unwrap();
    let args = ["scenario", "long.toml", "--out", "reports/long"];
    let mut child = weirgate(folder.path(), &args);
    // The place of the report is tried out when signals are watched, before the first run.
    await_files(folder.path(), 2);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = folder.path().join("reports/long");
    // Before the first run is complete there is nothing to report.
    if !report.exists() {
        let left = fs::read_dir(folder.path().join("reports")).unwrap();
        assert_eq!(left.count(), 0, "half a report was left");
        return;
    }
    for file in ["summary.csv", "summary.json", "run.toml", "index.html"] {
        let file = report.join(file);
        assert!(fs::metadata(&file).unwrap().len() > 0, "{}", file.display());
    }
}

/// Writes packets until nobody reads them any more.
fn feed(pipe: &Path) {
    use std::io::Write as _;
    let mut trace = fs::File::options().write(true).open(pipe).unwrap();
    let mut lines = String::from("t_ns,size,user,connection\n");
    for at in 0_u64.. {
        lines.push_str(&format!("{at},1,u,0\n"));
        if lines.len() > 60_000 {
            if trace.write_all(lines.as_bytes()).is_err() {
                return;
            }
            lines.clear();
        }
    }
}
