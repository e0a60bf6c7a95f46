//! Senders that react: request-response users, and TCP behind a policer and behind a shaper.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a failure is the test's"
)]

use weirgate::driver::Stop;
use weirgate::progress::Progress;
use weirgate::results::Row;
use weirgate::run;
use weirgate::scenario::{Origin, Overrides, parse};

fn read(text: &str) -> Result<weirgate::scenario::Scenario, String> {
    let origin = Origin {
        shown: "test.toml",
        stem: "test",
        folder: None,
    };
    parse(text, origin, &Overrides::default()).map_err(|mistakes| mistakes.to_string())
}

fn rows(text: &str) -> Vec<Row> {
    let scenario = read(text).unwrap();
    assert_eq!(read(&scenario.to_toml()).unwrap(), scenario);
    let finished = run::run(&scenario, Progress::Silent, &Stop::default()).unwrap();
    finished.results.summary
}

/// Four users who read 10,000 B and think for half a second, before `limit`.
fn users(duration: &str, drivers: &str, limit: &str) -> String {
    format!(
        r#"
duration = "{duration}"
drivers = [{drivers}]
mode = "stream"
sender = "blocking"
buffer = "1 MiB"
reference = {{ rate = "10 kB/s", burst = "10 kB" }}
repetitions = {{ model = 3 }}
[[user]]
name = "readers"
connections = 4
traffic = {{ pattern = "request-response", think = "500 ms", size = "10000 B" }}
[[algorithm]]
{limit}
"#
    )
}

#[test]
fn users_ask_again_when_they_have_what_they_asked_for() {
    // Nobody waits: a response each 0.5 s on average, from each of four.
    for row in rows(&users("200 s", "\"model\"", "kind = \"none\"")) {
        let responses = row.throughput_Bps / 10_000.0;
        assert!((7.0..=9.0).contains(&responses), "{responses}");
        assert_eq!(row.delay_max_us, Some(0.0));
    }
    // Of a tenth of that, each has one response under way and no more, whatever the buffer holds.
    for row in rows(&users("200 s", "\"model\"", "kind = \"token-bucket\"")) {
        assert!((row.throughput_Bps - 10_000.0).abs() < 300.0, "{row:?}");
        let waiting = row.backlog_max_bytes.unwrap();
        assert!((30_000.0..=40_000.0).contains(&waiting), "{waiting}");
        // Four share 10 kB/s: a response takes the time of four, less the thinking.
        let response = row.delay_p50_us.unwrap() / 1e6;
        assert!((3.0..=4.5).contains(&response), "{response}");
        assert_eq!(row.dropped_packets, 0);
    }
}

#[test]
fn real_users_ask_again_when_they_have_what_they_asked_for() {
    let text = users("4 s", "\"proxy\"", "kind = \"token-bucket\"");
    let [row] = rows(&text).try_into().unwrap();
    // No more than the limit allows, and no more than one response of each is ever due.
    assert!(
        row.delivered_bytes <= 10_000 + 4 * 10_000 + 10_000,
        "{row:?}"
    );
    let unfinished = row.offered_bytes - row.delivered_bytes;
    assert!(unfinished <= 40_000, "{row:?}");
    assert!(row.delivered_bytes > 20_000, "{row:?}");
}

/// A transfer and readers over TCP, before a policer and before shapers.
fn tcp(limits: &str) -> String {
    format!(
        r#"
duration = "60 s"
sender = "blocking"
buffer = "4 MiB"
queue = "200 kB"
reference = {{ rate = "1 MB/s", burst = "30 kB" }}
repetitions = {{ model = 2 }}
[[user]]
name = "bulk"
traffic = {{ pattern = "bulk", chunk = "16 KiB" }}
[[user]]
name = "readers"
connections = 4
traffic = {{ pattern = "request-response", think = "1 s", size = "50 kB" }}
{limits}
"#
    )
}

#[test]
fn a_policer_costs_losses_and_a_shaper_costs_round_trips() {
    for congestion in ["reno", "cubic"] {
        let limits = format!(
            r#"
[[algorithm]]
kind = "token-bucket"
label = "policed"
tcp = "{congestion}"
rtt = "20 ms"
[[algorithm]]
kind = "token-bucket"
label = "shaped"
mode = "shape"
tcp = "{congestion}"
rtt = "20 ms"
"#
        );
        let rows = rows(&tcp(&limits));
        let of = |label: &str| -> Vec<&Row> {
            rows.iter().filter(|row| row.algorithm == label).collect()
        };
        for (policed, shaped) in of("policed").into_iter().zip(of("shaped")) {
            assert_eq!(
                (policed.mode.as_str(), shaped.mode.as_str()),
                ("police", "shape")
            );
            // Nothing waits in a policer: every round trip is the path's.
            assert_eq!(policed.rtt_p50_us.map(f64::round), Some(20_000.0));
            assert!(policed.rtt_p99_us.unwrap() < 20_100.0, "{policed:?}");
            assert!(shaped.rtt_p99_us.unwrap() > 60_000.0, "{shaped:?}");
            // And what does not fit is lost: several times as much.
            let [lost, kept] = [policed, shaped].map(|row| row.loss_ratio.unwrap());
            assert!(lost > 3.0 * kept && lost > 0.002, "{lost} and {kept}");
            assert_eq!(shaped.dropped_police_packets, 0);
            assert_eq!(policed.dropped_queue_packets, 0);
            // The transfer gets more out of a limit that lets it wait.
            assert!(
                shaped.throughput_Bps > policed.throughput_Bps,
                "{congestion}"
            );
            // What TCP hands over in order is no promise of the limiter.
            assert_eq!(policed.bound_excess_bytes, None);
        }
    }
}

#[test]
fn what_is_no_closed_loop_is_refused() {
    let open = users("1 s", "\"model\"", "kind = \"token-bucket\"")
        .replace("sender = \"blocking\"", "sender = \"open-loop\"");
    let packets = users("1 s", "\"model\"", "kind = \"token-bucket\"")
        .replace("mode = \"stream\"", "mode = \"shape\"");
    let stream = tcp("[[algorithm]]\nkind = \"token-bucket\"\ntcp = \"reno\"\nmode = \"stream\"\n");
    let change = tcp(
        "[[algorithm]]\nkind = \"token-bucket\"\ntcp = \"reno\"\nmode = \"shape\"\n\
         [[rate_change]]\nat = \"1 s\"\nrate = \"2 MB/s\"\n",
    );
    for (text, why) in [
        (open, "would not wait for what it sent to arrive"),
        (packets, "would not wait for what it sent to arrive"),
        (stream, "says twice how the algorithm is applied"),
        (change, "behind a simulated TCP cannot change"),
    ] {
        let mistake = read(&text).unwrap_err();
        assert!(mistake.contains(why), "{mistake}");
    }
}
