//! `weirgate replay` against decisions and metrics that were computed
//! independently, in exact fractions: 60 cases.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("flow/tests/vectors")
}

fn cases() -> Vec<Value> {
    let index = fs::read_to_string(folder().join("index.json")).unwrap();
    let Value::Array(cases) = serde_json::from_str(&index).unwrap() else {
        panic!("the index is a list");
    };
    assert_eq!(cases.len(), 60);
    cases
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn replay(case: &Value, more: &[&str]) -> Output {
    let queue = case["queue_bytes"]
        .as_u64()
        .map(|bytes| format!("{bytes}B"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate"));
    command
        .arg("replay")
        .arg("--trace")
        .arg(folder().join(text(case, "trace")))
        .args(["--limiter", text(case, "limiter")])
        .args(["--mode", text(case, "mode")])
        .args(queue.iter().flat_map(|queue| ["--queue", queue]))
        .args(more);
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    output
}

fn metrics(output: &Output) -> Map<String, Value> {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn events_are_equal_byte_for_byte_and_metrics_agree() {
    let scratch = tempfile::tempdir().unwrap();
    let events = scratch.path().join("events.csv");
    for case in cases() {
        let name = text(&case, "events");
        let output = replay(&case, &["--json", "--events", events.to_str().unwrap()]);
        let expected = fs::read_to_string(folder().join(name)).unwrap();
        assert_eq!(fs::read_to_string(&events).unwrap(), expected, "{name}");
        let found = Value::Object(metrics(&output));
        agree(&case["metrics"], &found, name);
    }
}

/// Every expected figure is there: integers and words equal, floats to 1e-9.
fn agree(expected: &Value, found: &Value, place: &str) {
    match (expected, found) {
        (Value::Object(all), Value::Object(_)) => {
            for (key, expected) in all {
                agree(expected, &found[key], &format!("{place}: {key}"));
            }
        }
        (Value::Array(all), Value::Array(others)) => {
            assert_eq!(all.len(), others.len(), "{place}");
            for (i, (expected, found)) in all.iter().zip(others).enumerate() {
                agree(expected, found, &format!("{place}[{i}]"));
            }
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs(), "{place}: {a}, found {b}");
        }
        _ => assert_eq!(expected, found, "{place}"),
    }
}

/// Figures against a rate or a burst are there exactly where the limiter names one.
#[test]
fn what_is_not_asked_for_is_not_judged() {
    for case in cases() {
        let found = metrics(&replay(&case, &["--json"]));
        for key in [
            "utilisation",
            "min_burst_bytes",
            "efficiency",
            "overshoot_bytes",
        ] {
            let expected = case["metrics"].get(key).is_some();
            assert_eq!(
                found.contains_key(key),
                expected,
                "{} {key}",
                case["limiter"]
            );
        }
    }
}

/// One user alone is the same with a limiter of its own.
#[test]
fn a_lone_user_is_judged_as_the_whole() {
    for case in cases() {
        let found = metrics(&replay(&case, &["--json", "--per-user"]));
        let users = found["users"].as_array().unwrap();
        assert_eq!(users.len(), 1);
        agree(&case["metrics"], &users[0], text(&case, "events"));
        assert_eq!(found["passed_bytes"], case["metrics"]["passed_bytes"]);
        assert_eq!(found["trains"], users[0]["trains"]);
    }
}
