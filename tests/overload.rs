//! Scenarios of requests: the model against theory, the real service beside it, and
//! what a user sees of both.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use weirgate::driver::Stop;
use weirgate::driver::requests::{leave_out_what_cannot_run, real};
use weirgate::progress::Progress;
use weirgate::results::RequestRow;
use weirgate::run;
use weirgate::scenario::requests::Loaded;
use weirgate::scenario::{DriverKind, Overrides, RequestScenario};

/// Four workers at 20 ms: 200 requests a second.
const SMALL: &str = r#"
name = "small"
question = "Does it collapse?"
duration = "2 s"
seed = 7
repetitions = { model = 4 }

[requests]
arrivals = "poisson"
service_time = "exponential:20ms"
loads = [0.5, 3]
warm_up = "500 ms"

[[service]]
workers = 4
queue = 20
queue_timeout = "1 s"
request_timeout = "1 s"

[[expect]]
metric = "goodput_of_peak"
load = 3
at_least = 0.95
"#;

fn requests(text: &str, overrides: &Overrides) -> RequestScenario {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.toml");
    fs::write(&path, text).unwrap();
    match Loaded::load(&path, overrides).unwrap() {
        Loaded::Requests(scenario) => *scenario,
        Loaded::Bytes(_) => unreachable!("it is one of requests"),
    }
}

fn model(text: &str) -> Vec<RequestRow> {
    let scenario = requests(text, &Overrides::default());
    let finished = run::requests(&scenario, Progress::Silent, &Stop::default()).unwrap();
    assert!(!finished.interrupted);
    finished.rows
}

fn mean(rows: &[RequestRow], figure: impl Fn(&RequestRow) -> Option<f64>) -> f64 {
    let values: Vec<f64> = rows.iter().filter_map(figure).collect();
    assert_eq!(values.len(), rows.len(), "every run knows it");
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
}

/// Four hundred seconds of ten runs are within some percent of what they tend to.
#[test]
fn the_model_is_as_theory_has_it() {
    let long = SMALL
        .replace("duration = \"2 s\"", "duration = \"410 s\"")
        .replace("model = 4", "model = 10")
        .replace("warm_up = \"500 ms\"", "warm_up = \"10 s\"")
        .replace("[0.5, 3]", "[0.5, 0.9, 1, 1.5]")
        .replace("load = 3", "load = 1.5");
    let rows = model(&long);
    for load in [0.5, 0.9, 1.0, 1.5] {
        let of: Vec<_> = rows
            .iter()
            .filter(|row| row.load == load)
            .cloned()
            .collect();
        assert_eq!(of.len(), 10);
        let near = |figure: fn(&RequestRow) -> Option<f64>,
                    theory: fn(&RequestRow) -> Option<f64>,
                    within: f64| {
            let (found, expected) = (mean(&of, figure), mean(&of, theory));
            assert!(
                (found - expected).abs() <= within * expected + 1e-3,
                "load {load}: {found} and not {expected}"
            );
        };
        near(
            |row| Some(row.goodput_rps),
            |row| row.theory_goodput_rps,
            0.01,
        );
        near(
            |row| Some(row.rejected_ratio),
            |row| row.theory_rejected_ratio,
            0.05,
        );
        near(|row| row.waited_ratio, |row| row.theory_waited_ratio, 0.03);
        near(
            |row| row.queue_delay_mean_us,
            |row| row.theory_queue_delay_mean_us,
            0.05,
        );
        near(
            |row| row.queue_delay_p99_us,
            |row| row.theory_queue_delay_p99_us,
            0.05,
        );
    }
    let formulas: Vec<&str> = rows.iter().step_by(10).map(|row| &*row.theory).collect();
    assert_eq!(formulas, ["M/M/c/K"; 4]);
}

/// Erlang B holds for service times of any distribution that meets no time-out.
#[test]
fn without_a_queue_it_is_as_erlang_has_it() {
    let none = SMALL
        .replace("queue = 20", "queue = 0")
        .replace("exponential:20ms", "constant:20ms")
        .replace("duration = \"2 s\"", "duration = \"200 s\"");
    for row in model(&none) {
        assert_eq!(row.theory, "Erlang B");
        let (found, expected) = (row.rejected_ratio, row.theory_rejected_ratio.unwrap());
        assert!((found - expected).abs() < 0.01, "{found} {expected}");
        assert_eq!(row.queue_delay_max_us, Some(0.0), "nobody waits");
    }
}

/// Every distribution and arrival process runs, and each request has one fate.
#[test]
fn every_request_has_one_fate() {
    for (arrivals, service_time) in [
        ("arrivals = \"constant\"", "lognormal:20ms:2"),
        (
            "arrivals = \"on-off\"\nmean_on = \"50 ms\"\nmean_off = \"150 ms\"",
            "constant:20ms",
        ),
        (
            "arrivals = \"on-off\"\nmean_on = \"50 ms\"\nmean_off = \"150 ms\"\nshape = 1.5",
            "pareto:1.2:4ms..10s",
        ),
    ] {
        let text = SMALL
            .replace("arrivals = \"poisson\"", arrivals)
            .replace("exponential:20ms", service_time)
            .replace("queue_timeout = \"1 s\"", "queue_timeout = \"40 ms\"")
            .replace("request_timeout = \"1 s\"", "request_timeout = \"80 ms\"");
        for row in model(&text) {
            let fates = row.good_requests
                + row.queue_full_requests
                + row.queue_timeout_requests
                + row.request_timeout_requests;
            assert_eq!((fates, row.failed_requests), (row.offered_requests, 0));
            assert!(row.offered_requests > 0 && row.theory.is_empty());
            assert!(row.queue_delay_max_us.unwrap() <= 40_000.0);
            assert!(row.response_max_us.unwrap() <= 120_000.0);
        }
    }
}

/// The real service at half and at three times what it can do. Where this build has
/// none, that is said, and nothing else is run.
#[test]
fn the_real_service_is_as_its_model() {
    let overrides = Overrides {
        drivers: Some(vec![DriverKind::Proxy]),
        ..Overrides::default()
    };
    let mut scenario = requests(SMALL, &overrides);
    let notes = leave_out_what_cannot_run(&mut scenario);
    if let Some(note) = notes.first() {
        assert!(note.contains("--features https-service"), "{note}");
        assert!(scenario.drivers.is_empty());
        return;
    }
    let stage = Progress::Silent.stage("", 0);
    let rows = real::run(&scenario, &stage, &Stop::default()).unwrap();
    let [half, thrice] = &rows[..] else {
        unreachable!("one run of each load, not {}", rows.len());
    };
    for row in &rows {
        assert_eq!(row.failed_requests, 0, "{row:?}");
        assert!(row.cpu_us_per_request.unwrap() > 0.0 && row.waited_ratio.is_none());
        // Who waits for a worker is counted from when they were due.
        assert!(row.response_p50_us >= row.queue_delay_p50_us);
    }
    assert_eq!(half.rejected_ratio, 0.0, "{half:?}");
    assert!(thrice.queue_full_requests > 0, "{thrice:?}");
    assert!(thrice.good_requests > 0, "{thrice:?}");
    // Twenty wait for four workers of 20 ms each: 100 ms, and what the machine adds.
    assert!(thrice.queue_delay_p50_us.unwrap() > 40_000.0, "{thrice:?}");
}

fn weirgate(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_report_is_whole_and_is_drawn_again_from_its_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let ran = weirgate(folder.path(), &["scenario", "small.toml"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    insta::assert_snapshot!("tables", text(&ran.stdout));
    let report = folder.path().join("reports/small");
    let files = [
        "summary.csv",
        "summary.json",
        "run.toml",
        "index.html",
        "goodput.png",
        "queue-delay.png",
        "response.png",
        "rejections.png",
    ];
    let read = || files.map(|name| fs::read(report.join(name)).unwrap());
    let first = read();
    let again = weirgate(folder.path(), &["report", "reports/small"]);
    assert_eq!(text(&again.stdout), text(&ran.stdout));
    let second = read();
    for ((one, other), name) in first.iter().zip(&second).zip(files) {
        assert!(one == other && one.len() > 60, "{name}");
    }
    let page = text(&first[3]);
    assert!(page.contains("Does it collapse?") && page.matches("<svg").count() == 8);
    // The same scenario again, from what it was resolved to.
    let resolved = weirgate(
        folder.path(),
        &["scenario", "reports/small/run.toml", "--out", "again"],
    );
    assert_eq!(text(&resolved.stdout), text(&ran.stdout));
}

#[test]
fn a_claim_that_does_not_hold_is_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let impossible = SMALL.replace("at_least = 0.95", "at_most = 0.1");
    fs::write(folder.path().join("small.toml"), impossible).unwrap();
    let ran = weirgate(folder.path(), &["scenario", "small.toml", "--no-plots"]);
    assert_eq!(ran.status.code(), Some(3));
    assert!(text(&ran.stdout).contains("BROKEN"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong, said) in [
        ("\"poisson\"", "\"poison\"", "did you mean `poisson`?"),
        ("exponential:20ms", "exponential", "is not a distribution"),
        ("[0.5, 3]", "[3, 0.5]", "rising"),
        ("[0.5, 3]", "[0.5, \"3\"]", "a load is a number"),
        ("workers = 4", "workers = 0", "from 1 to 100000"),
        ("load = 3", "load = 2", "no run has this load"),
        (
            "goodput_of_peak",
            "goodput_of_pea",
            "did you mean `goodput_of_peak`?",
        ),
        (
            "warm_up = \"500 ms\"",
            "warm_up = \"3 s\"",
            "nothing is left",
        ),
        ("seed = 7", "drivers = [\"kernel\"]", "serves no requests"),
        ("seed = 7", "mode = \"shape\"", "unknown key `mode`"),
        (
            "model = 4",
            "until = \"1 %\"",
            "`until` is for scenarios of bytes",
        ),
    ] {
        assert!(SMALL.contains(right), "{right}");
        let text_of = SMALL.replace(right, wrong);
        fs::write(folder.path().join("wrong.toml"), text_of).unwrap();
        let checked = weirgate(folder.path(), &["check", "wrong.toml"]);
        let words = text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(2), "{wrong}");
        assert!(words.contains(said), "{wrong}: {words}");
    }
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let checked = weirgate(folder.path(), &["check", "small.toml"]);
    let line = "small.toml: ok, 1 service, 2 loads, 8 runs of 2s, 1 claim\n";
    assert_eq!(text(&checked.stdout), line);
    let traffic = weirgate(folder.path(), &["traffic", "small.toml", "--out", "t.csv"]);
    assert!(text(&traffic.stderr).contains("of requests, not of bytes"));
}
