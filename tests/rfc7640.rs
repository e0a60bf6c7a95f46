//! The figures of RFC 7640 where they can be known beforehand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failure is the test's"
)]

use weirgate::driver::Stop;
use weirgate::progress::Progress;
use weirgate::rfc7640::{Against, Config, Metric, Test, run, run_against};

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

/// Two customers of one limit each who are sent 80 and 20 % of what both may have together.
const SHARES: &str = r#"
line = "125 MB/s"
duration = "3 s"
runs = 2
[[policer]]
name = "much"
cir = "5 MB/s"
cbs = "64 kB"
[[policer]]
name = "little"
cir = "5 MB/s"
cbs = "64 kB"
[[concurrent]]
name = "mix"
class = [{ profile = "much", share = 80 }, { profile = "little", share = 20 }]
"#;

#[test]
fn of_two_at_once_only_the_one_that_gets_more_than_it_may_loses() {
    let config: Config = toml::from_str(SHARES).unwrap();
    assert_eq!(config.problem(), None);
    let tests = run(&config);
    let mixed: Vec<&Test> = tests
        .iter()
        .filter(|test| test.name == "concurrent, mix (80/20) (6.4)")
        .collect();
    let [much, little] = mixed.as_slice() else {
        panic!("{} tables", mixed.len());
    };
    // 8 MB/s are offered to a limit of 5: 3/8 are lost.
    for run in &much.runs {
        let lost = run[&Metric::Lp] * 1_000.0 / (8e6 * 3.0);
        assert!((lost - 0.375).abs() < 0.01, "{lost}");
        assert!((run[&Metric::Sr] - 5e6).abs() < 5e4, "{run:?}");
    }
    for run in &little.runs {
        assert_eq!(run[&Metric::Lp], 0.0, "{run:?}");
        assert!((run[&Metric::Sr] - 2e6).abs() < 5e4, "{run:?}");
    }
}

#[test]
fn a_mix_that_makes_no_sense_is_refused() {
    for (from, to) in [
        ("share = 20", "share = 30"),
        ("profile = \"little\", share", "profile = \"less\", share"),
        ("profile = \"little\", share", "profile = \"much\", share"),
        ("name = \"little\"", "name = \"much\""),
        ("name = \"mix\"", "name = \"mix\"\nload = \"1 GB/s\""),
    ] {
        let config: Config = toml::from_str(&SHARES.replace(from, to)).unwrap();
        assert!(config.problem().is_some(), "{from} -> {to}");
    }
}

/// Three customers with a policer each on each of two ports, and a shaper.
const CROWD: &str = r#"
line = "125 MB/s"
duration = "2 s"
runs = 2
ports = 2
capacity = { most = 40, loss = 5 }
[[policer]]
name = "small"
cir = "5 MB/s"
cbs = "20 kB"
customers = 3
[[policer]]
name = "large"
cir = "20 MB/s"
cbs = "100 kB"
[[shaper]]
name = "shaped"
sr = "10 MB/s"
bc = "10 kB"
ql = "100 kB"
[[pattern]]
name = "page"
objects = ["10 kB", "7 kB", "7 kB"]
pause = "100 ms"
[[stateful]]
name = "office"
class = [
    { profile = "small", sessions = 4, pattern = "page" },
    { profile = "large", sessions = 2 },
    { profile = "shaped" },
]
"#;

fn crowd() -> Vec<Test> {
    let config: Config = toml::from_str(CROWD).unwrap();
    assert_eq!(config.problem(), None);
    run(&config)
}

/// All figures of the first test of that name and profile.
fn of(tests: &[Test], name: &str, profile: &str, metric: Metric) -> Vec<f64> {
    let test = tests
        .iter()
        .find(|test| test.name == name && test.profile == profile);
    let runs = test.unwrap_or_else(|| panic!("no {name} of {profile}"));
    runs.runs.iter().map(|run| run[&metric]).collect()
}

#[test]
fn many_policers_share_one_port_and_several() {
    let tests = crowd();
    let one = "policer capacity, one port (6.1.2.1)";
    assert_eq!(of(&tests, one, "small", Metric::Limiters), [3.0; 2]);
    assert_eq!(of(&tests, one, "large", Metric::Limiters), [1.0; 2]);
    assert_eq!(of(&tests, one, "all together", Metric::Limiters), [4.0; 2]);
    let all = "policer capacity, all ports (6.1.2.3)";
    assert_eq!(of(&tests, all, "small", Metric::Limiters), [6.0; 2]);
    for (name, rate) in [(one, 35e6), (all, 70e6)] {
        for passed in of(&tests, name, "all together", Metric::Sr) {
            assert!((passed / rate - 1.0).abs() < 0.05, "{name}: {passed}");
        }
    }
    // Alone on their ports, none waits for another, and nothing is lost.
    for (name, profile) in [
        ("policer capacity, one on each port (6.1.2.2)", "small"),
        ("policer capacity, one on each port (6.1.2.2)", "large"),
        ("shaper capacity, one on each port (6.3.2.1)", "shaped"),
    ] {
        assert_eq!(of(&tests, name, profile, Metric::Limiters), [2.0; 2]);
        assert_eq!(of(&tests, name, profile, Metric::Lp), [0.0; 2], "{profile}");
        assert_eq!(of(&tests, name, profile, Metric::Held), [2.0; 2]);
    }
}

#[test]
fn the_most_that_hold_are_no_more_than_the_lines_carry() {
    let tests = crowd();
    let name = "policer capacity, the most at once";
    let profile = "profiles in turn over 2 ports";
    let tried = of(&tests, name, profile, Metric::Limiters);
    let held = of(&tests, name, profile, Metric::Held);
    assert!(
        tried.len() > 2 && tried[0] == 1.0 && held[0] == 1.0,
        "{tried:?}"
    );
    // A pair needs 25 MB/s: five pairs fill a port, ten both.
    assert!(tried.iter().all(|count| *count <= 20.0), "{tried:?}");
    let passing = tried.iter().zip(&held).filter(|(all, held)| all == held);
    let most = passing.map(|(all, _)| *all).fold(0.0, f64::max);
    let again = format!("{name}, {most:.0} of them");
    assert_eq!(
        of(&tests, &again, "all together", Metric::Limiters),
        [most; 2]
    );
    // A shaper loses nothing of what waits for the line before it.
    let name = "shaper capacity, the most at once";
    let held = of(&tests, name, profile, Metric::Held);
    assert_eq!(held, of(&tests, name, profile, Metric::Limiters));
}

#[test]
fn several_profiles_under_tcp_each_keep_their_limit() {
    let tests = crowd();
    let name = "concurrent stateful, office (6.4)";
    for (profile, rate, least) in [("large", 20e6, 0.05), ("shaped", 10e6, 0.5)] {
        for got in of(&tests, name, profile, Metric::Sr) {
            assert!(got <= rate * 1.05 && got > rate * least, "{profile}: {got}");
        }
    }
    // Three round trips and two pauses at least; more than that only to repair a loss.
    for time in of(&tests, name, "small", Metric::TtpetMin) {
        assert!((0.32..0.6).contains(&time), "{time}");
    }
    for efficiency in of(&tests, name, "shaped", Metric::Efficiency) {
        assert!((95.0..=100.0).contains(&efficiency), "{efficiency}");
    }
    let again = crowd();
    for (one, other) in tests.iter().zip(&again) {
        assert_eq!(one.runs, other.runs, "{}", one.name);
    }
}

#[test]
fn a_crowd_that_makes_no_sense_is_refused() {
    for (from, to) in [
        ("ports = 2", "ports = 0"),
        ("ports = 2", "ports = 400"),
        ("customers = 3", "customers = 0"),
        ("customers = 3", "customers = 600"),
        ("most = 40", "most = 0"),
        ("loss = 5", "loss = 90"),
        ("profile = \"large\"", "profile = \"small\""),
        ("profile = \"large\"", "profile = \"larger\""),
        ("sessions = 2", "sessions = 0"),
        ("pattern = \"page\"", "pattern = \"pages\""),
        ("name = \"page\"", "name = \"bulk\""),
        ("\"10 kB\", \"7 kB\", \"7 kB\"", ""),
        ("\"10 kB\"", "\"0 B\""),
        ("\"10 kB\"", "\"18446744073709551615 B\""),
        ("100 ms", "100 s"),
    ] {
        let text = CROWD.replace(from, to);
        assert_ne!(text, CROWD, "{from}");
        let config: Config = toml::from_str(&text).unwrap();
        assert!(config.problem().is_some(), "{from} -> {to}");
    }
}

/// Limits that a few seconds of real time show.
const REAL: &str = r#"
line = "125 MB/s"
duration = "3 s"
runs = 1
loss_wait = "300 ms"
capacity = { most = 3, loss = 50 }
[[policer]]
name = "policed"
cir = "400 kB/s"
cbs = "40 kB"
[[shaper]]
name = "shaped"
sr = "400 kB/s"
bc = "10 kB"
ql = "100 kB"
"#;

#[test]
fn a_real_server_shows_the_limits_that_it_was_given() {
    let config: Config = toml::from_str(REAL).unwrap();
    assert_eq!(config.problem(), None);
    let found = run_against(&config, &Against::Own, Progress::Silent, &Stop::default()).unwrap();
    assert!(!found.interrupted);
    assert!(
        found
            .own_delay
            .iter()
            .all(|delay| (0.0..1.0).contains(delay))
    );
    let tests = found.tests;
    // The bucket passes at once, and no more than comes back while a packet may wait.
    let burst = figure(&tests, "burst hunt, policer", Metric::Bsa)[0];
    assert!((38_000.0..=200_000.0).contains(&burst), "{burst}");
    for name in ["policer, compliant", "shaper (", "concurrent"] {
        for rate in figure(&tests, name, Metric::Sr) {
            assert!((300_000.0..=440_000.0).contains(&rate), "{name}: {rate}");
        }
        assert_eq!(figure(&tests, name, Metric::Oos)[0], 0.0);
    }
    // Users of their own: three policers at once get three times the rate.
    let name = "policer capacity, the most at once";
    let tried = figure(&tests, name, Metric::Limiters);
    let passed = figure(&tests, name, Metric::Sr);
    assert_eq!(tried, [1.0, 2.0, 3.0]);
    for (count, rate) in tried.iter().zip(passed) {
        assert!((0.7..=1.1).contains(&(rate / count / 400e3)), "{rate}");
    }
    for rate in figure(&tests, "concurrent stateful", Metric::Sr) {
        assert!((300_000.0..=440_000.0).contains(&rate), "{rate}");
    }
    for name in ["policer, stateful", "shaper, stateful"] {
        // 800,000 B at 400 kB/s, less the bucket and what lies on the way at first.
        let least = figure(&tests, name, Metric::TtpetMin)[0];
        assert!(least > 1.4, "{name}: {least}");
        let added = figure(&tests, name, Metric::BufferDelay)[0];
        assert!(added > 0.0, "{name}: {added}");
    }
}

#[test]
fn a_server_that_is_stopped_on_the_way_leaves_what_is_whole() {
    let config: Config = toml::from_str(REAL).unwrap();
    let stop = Stop::default();
    stop.request();
    let found = run_against(&config, &Against::Own, Progress::Silent, &stop).unwrap();
    assert!(found.interrupted && found.tests.is_empty());
}
