//! How often our own 95 % intervals hold the truth, in 1,000 campaigns of real model
//! runs: bursty traffic, a token bucket that shapes, each run one virtual second.
//!
//! `cargo bench --bench coverage`. The truth is the mean over the runs of all campaigns.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench that cannot run shall say so and end; its counts are small"
)]

use rayon::prelude::*;
use weirgate::driver::{Stop, label, model};
use weirgate::metrics::{RunMetrics, RunSpec};
use weirgate::results::Row;
use weirgate::scenario::{DriverKind, Origin, Overrides, Scenario, parse};
use weirgate::statistics::Summary;

const CAMPAIGNS: usize = 1_000;
const MOST: usize = 30;
const FIGURES: [&str; 4] = [
    "throughput_Bps",
    "delay_mean_us",
    "delay_p99_us",
    "jitter_rfc3550_mean_us",
];

const SCENARIO: &str = r#"
duration = "1 s"
mode = "shape"
algorithms = ["token-bucket"]
[reference]
rate = "20 MB/s"
burst = "20 kB"
[traffic]
pattern = "bursty"
"#;

fn main() {
    let origin = Origin {
        stem: "coverage",
        shown: "coverage.toml",
        folder: None,
    };
    let scenario = parse(SCENARIO, origin, &Overrides::default()).expect("a valid scenario");
    let all = u32::try_from(CAMPAIGNS * MOST).expect("few runs");
    let rows: Vec<Row> = (0..all)
        .into_par_iter()
        .map(|n| run(&scenario, n))
        .collect();
    for figure in FIGURES {
        let values: Vec<f64> = rows.iter().filter_map(|row| row.figure(figure)).collect();
        let truth = values.iter().sum::<f64>() / values.len() as f64;
        for runs in [10, MOST] {
            one(figure, truth, runs, &values);
        }
        sequential(figure, truth, &values);
    }
}

fn run(scenario: &Scenario, repetition: u32) -> Row {
    let algorithm = &scenario.algorithms[0];
    let driver = DriverKind::Model;
    let mut metrics = RunMetrics::new(&RunSpec::new(scenario, algorithm, driver));
    model::run(
        scenario,
        algorithm,
        repetition,
        &mut metrics,
        &Stop::default(),
    )
    .expect("a run");
    metrics
        .finish(&label(scenario, algorithm, driver, repetition))
        .row
}

fn one(figure: &str, truth: f64, runs: usize, values: &[f64]) {
    let summaries: Vec<Summary> = values
        .par_chunks(MOST)
        .filter_map(|campaign| Summary::of(&campaign[..runs]))
        .collect();
    let count = |held: fn(&Summary, f64) -> Option<bool>| {
        let all: Vec<bool> = summaries
            .iter()
            .filter_map(|one| held(one, truth))
            .collect();
        let held = all.iter().filter(|held| **held).count();
        (!all.is_empty()).then(|| 100.0 * held as f64 / all.len() as f64)
    };
    let t = count(|one, truth| Some(one.t?.contains(truth)));
    let bca = count(|one, truth| Some(one.bootstrap?.contains(truth)));
    println!("{figure}, {runs} runs: t {t:.1?} %, BCa {bca:.1?} %");
}

/// Campaigns that stop when the interval is within 5 % of its mean: 10, 20 or 30 runs.
fn sequential(figure: &str, truth: f64, values: &[f64]) {
    let stopped = |campaign: &[f64]| {
        let looks = [10, 20, MOST].into_iter();
        let mut summaries =
            looks.filter_map(|n| Some((n, Summary::without_bootstrap(&campaign[..n])?)));
        let narrow = |(n, one): &(usize, Summary)| {
            *n == MOST || one.t.is_some_and(|t| t.half_width() <= 0.05 * one.mean)
        };
        let (n, found) = summaries.find(narrow)?;
        Some((n, found.t?.contains(truth)))
    };
    let all: Vec<(usize, bool)> = values.chunks(MOST).filter_map(stopped).collect();
    let held = all.iter().filter(|(_, held)| *held).count() as f64 / all.len() as f64;
    let runs = all.iter().map(|(n, _)| *n).sum::<usize>() as f64 / all.len() as f64;
    println!(
        "{figure}, stopped within 5 % after {runs:.1} runs on average: t {:.1} %",
        100.0 * held
    );
}
