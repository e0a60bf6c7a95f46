//! `weirgate scenario`, `report` and `compare` as a user meets them.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Bursty traffic through two algorithms, in virtual time.
const SMALL: &str = r#"
question = "Is everything there?"
duration = "3 s"
mode = "stream"
sender = "blocking"
algorithms = ["token-bucket", "fixed-window"]
reference = { rate = "5000 B/s", burst = "5000 B" }
repetitions = { model = 2 }
traffic = { pattern = "bursty" }
"#;

fn weirgate(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with the scenario `small.toml`.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), text).unwrap();
    folder
}

/// The files of a report but the one that says where and when it was made.
fn report(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let repeatable = files.filter(|path| !path.ends_with("host.json"));
    repeatable
        .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_report_is_whole_and_the_same_for_any_number_of_threads() {
    let folder = folder(SMALL);
    let one = Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder.path())
        .env("RAYON_NUM_THREADS", "1")
        .args(["scenario", "small.toml"])
        .output()
        .unwrap();
    assert_eq!(code(&one), 0, "{}", stderr(&one));
    let first = report(&folder.path().join("reports/small"));
    for file in [
        "summary.csv",
        "timeseries.csv",
        "summary.json",
        "run.toml",
        "index.html",
        "throughput.png",
        "arrival-curve.png",
        "overshoot.png",
        "delay.png",
        "jitter.png",
    ] {
        assert!(first.contains_key(Path::new(file)), "{file}");
    }
    let two = weirgate(
        folder.path(),
        &["scenario", "reports/small/run.toml", "--out", "again"],
    );
    assert_eq!(code(&two), 0, "{}", stderr(&two));
    let again = report(&folder.path().join("again"));
    assert!(first.keys().eq(again.keys()));
    for (name, content) in first {
        assert!(again[&name] == content, "{} differs", name.display());
    }
    assert_eq!(one.stdout, two.stdout);
}

#[test]
fn the_command_line_stands_above_the_file() {
    let folder = folder(SMALL);
    let args = [
        "scenario",
        "small.toml",
        "--duration",
        "1 s",
        "--repetitions",
        "1",
        "--seed",
        "9",
        "--driver",
        "model",
        "--no-plots",
        "--json",
        "--out",
        "out",
    ];
    let output = weirgate(folder.path(), &args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let run = fs::read_to_string(folder.path().join("out/run.toml")).unwrap();
    for line in [
        "duration = \"1s\"",
        "seed = 9",
        "model = 1",
        "drivers = [\"model\"]",
    ] {
        assert!(run.contains(line), "{line} in {run}");
    }
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["schema_version"].is_u64());
    assert!(!folder.path().join("out/throughput.png").exists());
}

#[test]
fn a_broken_claim_leaves_a_report_and_exit_code_3() {
    let claim = "\n[[expect]]\nmetric = \"loss_ratio\"\nat_least = 0.5\n";
    let folder = folder(&format!("{SMALL}{claim}"));
    let output = weirgate(folder.path(), &["scenario", "small.toml", "--no-plots"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(folder.path().join("reports/small/summary.csv").exists());
}

#[test]
fn a_mistake_in_one_file_runs_none() {
    let folder = folder(SMALL);
    let broken = SMALL.replace("\"3 s\"", "3");
    fs::write(folder.path().join("broken.toml"), broken).unwrap();
    let output = weirgate(folder.path(), &["scenario", "small.toml", "broken.toml"]);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("broken.toml:3:12"),
        "{}",
        stderr(&output)
    );
    assert!(!folder.path().join("reports").exists());
}

#[test]
fn reports_that_would_overwrite_each_other_are_refused() {
    let folder = folder(SMALL);
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/small.toml"), SMALL).unwrap();
    let output = weirgate(
        folder.path(),
        &["scenario", "small.toml", "other/small.toml"],
    );
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("two of these scenarios"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_is_no_report_is_not_overwritten() {
    let folder = folder(SMALL);
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/thesis.txt"), "two years of work").unwrap();
    let output = weirgate(folder.path(), &["scenario", "small.toml", "--out", "mine"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("mine"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_failure_of_the_environment() {
    let folder = folder(SMALL);
    let output = weirgate(
        folder.path(),
        &["scenario", "small.toml", "--out", "/proc/report"],
    );
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("/proc/report"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_report_is_drawn_again_from_its_rows() {
    let folder = folder(SMALL);
    let made = weirgate(folder.path(), &["scenario", "small.toml", "--out", "out"]);
    let dir = folder.path().join("out");
    let before = report(&dir);
    for lost in ["delay.png", "index.html"] {
        fs::remove_file(dir.join(lost)).unwrap();
    }
    let drawn = weirgate(folder.path(), &["report", "out"]);
    assert_eq!(code(&drawn), 0, "{}", stderr(&drawn));
    assert_eq!(drawn.stdout, made.stdout);
    assert!(report(&dir) == before);
}

#[test]
fn what_is_no_report_cannot_be_drawn() {
    let folder = folder(SMALL);
    for dir in [".", "nowhere"] {
        let output = weirgate(folder.path(), &["report", dir]);
        assert_eq!(code(&output), 2, "{dir}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_claim_of_the_repository_holds_in_the_model() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<String> = fs::read_dir(scenarios)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10);
    let folder = tempfile::tempdir().unwrap();
    let mut args = vec![
        "scenario",
        "--driver",
        "model",
        "--repetitions",
        "2",
        "--no-plots",
    ];
    args.extend(files.iter().map(String::as_str));
    let output = weirgate(folder.path(), &args);
    let found = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code(&output), 0, "{found}\n{}", stderr(&output));
}
