//! A generator is found again in what it sent, and the scenario that is printed
//! for it can be run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a failure is the test's"
)]

use std::process::Command;

use flow::Timestamp;
use traffic::{Generator as _, Pattern, Purpose, StreamSeed};
use weirgate::fit::{Fit, FitError, Sample};

fn sent(pattern: &str, seconds: u64) -> Vec<Sample> {
    let pattern: Pattern = pattern.parse().unwrap();
    let seed = StreamSeed::derive(77, 0, 0, 0, Purpose::Traffic);
    let mut generator = pattern.generator(seed).unwrap();
    let mut now = Timestamp::ZERO;
    let sends = std::iter::from_fn(|| {
        let send = generator.next_send(now)?;
        now = send.at;
        Some(Sample {
            at: now.as_nanos(),
            size: send.size.get(),
        })
    });
    sends
        .take_while(|packet| packet.at < seconds * 1_000_000_000)
        .collect()
}

#[test]
fn what_a_generator_sent_is_told_to_be_its() {
    for (pattern, seconds, kind, score) in [
        ("poisson:rate=50kB/s,size=imix", 60, "poisson", 0.1),
        ("constant:rate=50kB/s,size=500B", 60, "constant", 0.05),
        (
            "on-off:peak_rate=1MB/s,mean_on=50ms,mean_off=200ms,periods=exponential,size=500B",
            120,
            "on-off",
            0.1,
        ),
        ("bursty", 4, "bursty", 0.6),
        (
            "mmpp:states=20kB/s@5s+400kB/s@5s,size=500B",
            300,
            "mmpp",
            0.25,
        ),
    ] {
        let packets = sent(pattern, seconds);
        let fit = Fit::of(&packets, 1).unwrap();
        let best = fit.best().unwrap();
        assert_eq!(best.candidate.pattern.kind(), kind, "{pattern}: {best:?}");
        assert!(best.distances.score() < score, "{pattern}: {best:?}");
    }
}

#[test]
fn a_constant_stream_needs_a_bucket_of_one_packet() {
    let fit = Fit::of(&sent("constant:rate=50kB/s,size=500B", 60), 1).unwrap();
    let at_twice = fit.bucket_at(100_000).unwrap();
    assert!((at_twice - 500.0).abs() < 1e-6, "{at_twice}");
    assert!(
        fit.curve
            .windows(2)
            .all(|pair| pair[0].trace >= pair[1].trace)
    );
}

#[test]
fn too_little_has_no_fit() {
    let few = vec![Sample { at: 0, size: 1 }; 99];
    assert_eq!(Fit::of(&few, 1).unwrap_err(), FitError::TooFew(99));
    let at_once = vec![Sample { at: 5, size: 1 }; 100];
    assert_eq!(Fit::of(&at_once, 1).unwrap_err(), FitError::NoTime);
}

#[test]
fn the_printed_scenario_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    let mut text = String::from("t_ns,size,user,connection\n");
    for packet in sent(
        "on-off:peak_rate=1MB/s,mean_on=50ms,mean_off=200ms,periods=pareto,shape=1.4,size=imix",
        30,
    ) {
        text.push_str(&format!("{},{},ada,0\n", packet.at, packet.size));
    }
    std::fs::write(&trace, text).unwrap();
    let out = folder.path().join("fitted");
    let weirgate = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_weirgate"))
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    };
    weirgate(&[
        "fit",
        trace.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ]);
    weirgate(&["check", out.join("scenario.toml").to_str().unwrap()]);
    let curve = std::fs::read_to_string(out.join("burstiness.csv")).unwrap();
    assert!(curve.lines().count() > 20, "{curve}");
    assert!(
        std::fs::read(out.join("burstiness.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
}
