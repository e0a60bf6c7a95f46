//! The figures of RFC 7640 where they can be known beforehand.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use weirgate::rfc7640::{Config, Metric, Test, run};

const PLAN: &str = r#"
line = "125 MB/s"
duration = "3 s"
runs = 3
[[policer]]
name = "policer"
cir = "12.5 MB/s"
cbs = "64 kB"
[[queue]]
name = "queue"
ql = "100 kB"
bb = "12.5 MB/s"
[[shaper]]
name = "shaper"
sr = "6.25 MB/s"
bc = "10 kB"
ql = "512 kB"
"#;

fn tests() -> Vec<Test> {
    let config: Config = toml::from_str(PLAN).unwrap();
    assert_eq!(config.problem(), None);
    run(&config)
}

fn figure(tests: &[Test], name: &str, metric: Metric) -> Vec<f64> {
    let test = tests
        .iter()
        .find(|test| test.name.starts_with(name))
        .unwrap();
    test.runs.iter().map(|run| run[&metric]).collect()
}

#[test]
fn the_refill_during_a_burst_is_found_and_taken_off_again() {
    let tests = tests();
    // 64,000 B at 12.5 of 125 MB/s: 71,111 B pass, in steps of 1,000 B.
    assert_eq!(
        figure(&tests, "burst hunt, policer", Metric::Bsa),
        [71_000.0]
    );
    let corrected = figure(&tests, "burst hunt, policer", Metric::BsaCorrected)[0];
    assert!((63_000.0..=64_000.0).contains(&corrected), "{corrected}");
}

#[test]
fn what_conforms_passes_and_what_exceeds_is_lost_at_the_bucket() {
    let tests = tests();
    for (metric, value) in [
        (Metric::Lp, 0.0),
        (Metric::Bsa, 64_000.0),
        (Metric::Oos, 0.0),
        (Metric::Pd, 0.0),
    ] {
        assert_eq!(
            figure(&tests, "policer, compliant", metric),
            [value; 3],
            "{metric:?}"
        );
    }
    assert_eq!(
        figure(&tests, "policer, excess", Metric::Bsa),
        [65_000.0; 3]
    );
    assert_eq!(figure(&tests, "queue", Metric::Lp), [0.0; 3]);
}

#[test]
fn a_shaper_holds_its_rate_and_spaces_its_packets() {
    let tests = tests();
    assert_eq!(figure(&tests, "shaper (", Metric::Lp), [0.0; 3]);
    for rate in figure(&tests, "shaper (", Metric::Sr) {
        assert!((5_900_000.0..=6_250_000.0 * 1.01).contains(&rate), "{rate}");
    }
    for train in figure(&tests, "shaper (", Metric::Sbb) {
        assert!((1_000.0..=11_000.0).contains(&train), "{train}");
    }
}

#[test]
fn a_shaper_delays_what_a_policer_loses() {
    let tests = tests();
    let efficiency = |name| figure(&tests, name, Metric::Efficiency)[0];
    let delay = |name| figure(&tests, name, Metric::BufferDelay)[0];
    assert!(efficiency("shaper, stateful") > efficiency("policer, stateful"));
    assert!(delay("shaper, stateful") > delay("policer, stateful"));
    for name in ["policer, stateful", "queue, stateful", "shaper, stateful"] {
        // Two seconds' worth of the limit, in no less time; a policer's losses cost a Reno sender most of its rate.
        let times = figure(&tests, name, Metric::Ttpet);
        assert!(
            times.iter().all(|time| (1.9..60.0).contains(time)),
            "{name}: {times:?}"
        );
    }
}
