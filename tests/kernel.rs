//! The driver `kernel`: real limiters of this machine beside the model, or left out with the reason.

use weirgate::driver::{Stop, kernel, leave_out_what_cannot_run};
use weirgate::progress::Progress;
use weirgate::scenario::{DriverKind, Origin, Overrides, Scenario, parse};

const TEXT: &str = r#"
duration = "3 s"
drivers = ["model", "kernel"]
mode = "stream"
sender = "blocking"
buffer = "256 KiB"
reference = { rate = "1 MB/s", burst = "250 kB" }
traffic = { pattern = "bulk" }
repetitions = { model = 1 }

[[algorithm]]
kind = "token-bucket"

[[algorithm]]
kind = "token-bucket"
label = "cubic"
tcp = "cubic"

[[algorithm]]
kind = "token-bucket"
label = "dropped"
kernel = "cgroup"

[[algorithm]]
kind = "token-bucket"
label = "paced"
kernel = "pacing"

[[expect]]
metric = "throughput_Bps"
algorithm = "paced"
at_least = "1 B/s"

[[expect]]
metric = "throughput_Bps"
at_least = "1 B/s"
"#;

fn scenario(text: &str) -> Result<Scenario, String> {
    let origin = Origin {
        shown: "test.toml",
        stem: "test",
        folder: None,
    };
    let read = parse(text, origin, &Overrides::default());
    read.map_err(|mistakes| mistakes.to_string())
}

fn labels(scenario: &Scenario, driver: DriverKind) -> Vec<&str> {
    let of = scenario.algorithms_for(driver);
    of.map(|algorithm| algorithm.label.as_str()).collect()
}

#[test]
fn each_driver_runs_its_own() {
    let scenario = scenario(TEXT).unwrap();
    assert_eq!(
        labels(&scenario, DriverKind::Model),
        ["token-bucket", "cubic"]
    );
    assert_eq!(labels(&scenario, DriverKind::Proxy), ["token-bucket"]);
    assert_eq!(labels(&scenario, DriverKind::Kernel), ["dropped", "paced"]);
}

#[test]
fn it_runs_or_is_left_out_with_its_claims() {
    let mut scenario = scenario(TEXT).unwrap();
    let reason = kernel::unavailable();
    let notes = leave_out_what_cannot_run(&mut scenario);
    let required = std::env::var_os("WEIRGATE_KERNEL_TESTS").is_some_and(|is| is == "required");
    if let Some(reason) = reason {
        assert!(!(required && cfg!(feature = "kernel")), "{reason}");
        assert!(notes[0].contains(&reason), "{notes:?}");
        assert_eq!(scenario.drivers, [DriverKind::Model]);
        assert_eq!(scenario.algorithms.len(), 2);
        assert_eq!(scenario.claims.len(), 1);
        return;
    }
    assert!(notes.is_empty(), "{notes:?}");
    let finished = weirgate::run::run(&scenario, Progress::Silent, &Stop::default()).unwrap();
    let rates = finished.results.summary.iter().map(|row| {
        let row = serde_json::to_value(row).unwrap();
        let word = |key: &str| row[key].as_str().unwrap().to_owned();
        let rate = row["throughput_Bps"].as_f64().unwrap();
        (word("driver"), word("algorithm"), rate)
    });
    let rates: Vec<_> = rates.collect();
    assert_eq!(rates.len(), 4, "{rates:?}");
    for (driver, algorithm, rate) in &rates {
        // Three seconds of the rate, and a burst; TCP behind a policer may get less.
        let most = 1e6 * 1.02 + 320_000.0 / 3.0;
        assert!(*rate <= most && *rate > 2e5, "{driver} {algorithm}: {rate}");
    }
    assert!(
        finished
            .notes
            .iter()
            .any(|line| line.contains("dropped, user"))
    );
}

#[test]
fn what_cannot_be_is_refused() {
    for (from, to, says) in [
        ("kernel = \"cgroup\"", "kernel = \"iptables\"", "iptables"),
        (
            "kernel = \"cgroup\"",
            "kernel = \"tc\"\nmode = \"shape\"",
            "says twice",
        ),
        (
            "tcp = \"cubic\"",
            "tcp = \"cubic\"\nrtt = \"1 h\"",
            "out of range",
        ),
        ("tcp = \"cubic\"", "rtt = \"1 ms\"", "without `tcp`"),
        (
            "label = \"paced\"\nkernel",
            "kind = \"gcra\"\nkernel",
            "token buckets",
        ),
    ] {
        let mut text = TEXT.replace(from, to);
        if to.contains("gcra") {
            text = TEXT.replace(
                "kind = \"token-bucket\"\nlabel = \"paced\"",
                "kind = \"gcra\"\nlabel = \"paced\"",
            );
        }
        let error = scenario(&text).unwrap_err();
        assert!(error.contains(says), "{to}: {error}");
    }
}
