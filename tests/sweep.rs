//! Sweeps end with the same bytes however often they were killed and wherever they ran.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SCENARIO: &str = r#"
duration = "20 s"
mode = "shape"
algorithms = ["token-bucket", "ewma:interval=100ms,alpha=1/8"]
reference = { rate = "1 MB/s", burst = "20 kB" }
repetitions = { model = 2 }
traffic = { pattern = "poisson", rate = "1 MB/s", size = "500 B" }

[sweep.vary]
"reference.rate" = { from = "500 kB/s", to = "2 MB/s", steps = 8, scale = "log" }
"queue" = { from = "10 kB", to = "100 kB", steps = 5 }
"#;

fn weirgate(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate"));
    command
        .current_dir(folder)
        .args(args)
        .env_remove("SLURM_ARRAY_TASK_ID")
        .env_remove("JOB_COMPLETION_INDEX")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn tables(folder: &Path) -> Vec<Vec<u8>> {
    ["plan.json", "runs.csv", "cells.csv"]
        .map(|name| fs::read(folder.join(name)).unwrap())
        .to_vec()
}

/// Cells that are kept in `folder`.
fn kept(folder: &Path) -> usize {
    let Ok(parts) = fs::read_dir(folder.join("cells")) else {
        return 0;
    };
    let count = |part: fs::DirEntry| fs::read_dir(part.path()).map_or(0, Iterator::count);
    parts.filter_map(Result::ok).map(count).sum()
}

#[test]
fn a_killed_sweep_goes_on_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("s.toml"), SCENARIO).unwrap();
    let whole = ["sweep", "s.toml", "--out", "whole"];
    assert!(weirgate(folder, &whole).status().unwrap().success());
    assert_eq!(kept(&folder.join("whole")), 40);

    let args = ["sweep", "s.toml", "--out", "killed"];
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut kills = 0;
    for least in [3, 20] {
        let mut child = weirgate(folder, &args).spawn().unwrap();
        while kept(&folder.join("killed")) < least && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "nothing is kept");
            thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL: nothing is cleaned up.
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
    }
    assert!(kills > 0, "it was never killed before its end");
    let before = kept(&folder.join("killed"));
    assert!(weirgate(folder, &args).status().unwrap().success());
    assert!(before >= 3 && kept(&folder.join("killed")) >= 40);
    assert_eq!(
        tables(&folder.join("killed")),
        tables(&folder.join("whole"))
    );
}

#[test]
fn shares_make_the_same_bytes_as_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("s.toml"), SCENARIO).unwrap();
    let short = ["--duration", "1 s"];
    let whole = [&["sweep", "s.toml", "--out", "whole"], &short[..]].concat();
    assert!(weirgate(folder, &whole).status().unwrap().success());
    let shares = ["a", "b", "c", "d"];
    for (number, out) in (1..).zip(shares) {
        let args = [&["sweep", "s.toml", "--out", out], &short[..]].concat();
        let mut command = weirgate(folder, &args);
        if number < 3 {
            command.env("SLURM_ARRAY_TASK_ID", number.to_string());
            command.env("SLURM_ARRAY_TASK_MIN", "1");
            command.env("SLURM_ARRAY_TASK_COUNT", "4");
        } else {
            command.env("JOB_COMPLETION_INDEX", (number - 1).to_string());
            command.env("JOB_COMPLETIONS", "4");
        }
        assert!(command.status().unwrap().success());
        assert!(!folder.join(out).join("runs.csv").exists());
    }
    let merge = |dirs: &[&str]| {
        let args = [&["merge", "--out", "merged"], dirs].concat();
        weirgate(folder, &args).status().unwrap().code()
    };
    assert_eq!(merge(&shares[..3]), Some(2), "a share is missing");
    assert_eq!(merge(&shares), Some(0));
    assert_eq!(
        tables(&folder.join("merged")),
        tables(&folder.join("whole"))
    );
}
