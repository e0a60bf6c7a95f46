//! Made-up but lifelike results for the tests of the report: a crude shaper
//! behind bursty arrivals, in floating point, the same on every machine.

#![expect(
    clippy::cast_possible_truncation,
    reason = "made-up figures; a cast that saturates makes up others"
)]

use super::subject::Subject;
use super::{Host, Report};
use crate::results::{CurveRow, Results, Row, SeriesRow};
use crate::scenario::{Origin, Overrides, Scenario, parse};

const KINDS: [&str; 18] = [
    "token-bucket",
    "leaky-bucket",
    "gcra",
    "fixed-window",
    "sliding-window-log",
    "ewma",
    "sliding-window-counter",
    "dual-token-bucket",
    "leaky-bucket-meter",
    "ewma-continuous",
    "sr-tcm",
    "tr-tcm",
    "none",
    "wirefisher",
    "homework-polling",
    "homework-sleep",
    "shadowsocks-close",
    "shadowsocks-debt",
];
const CLAIMS: &str = r#"
[[expect]]
metric = "throughput_Bps"
driver = "model"
at_most = "5500 B/s"
[[expect]]
metric = "overshoot_excess_bytes"
algorithm = "token-bucket"
at_most = "0 B"
"#;
const WINDOWS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// What to make up.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) algorithms: usize,
    pub(super) proxy: bool,
    pub(super) repetitions: u32,
    pub(super) duration_s: f64,
    pub(super) rate: f64,
    pub(super) burst: f64,
    pub(super) change: Option<(f64, f64)>,
    pub(super) users: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            algorithms: 6,
            proxy: true,
            repetitions: 3,
            duration_s: 20.0,
            rate: 5000.0,
            burst: 5000.0,
            change: None,
            users: 1,
        }
    }
}

impl Sample {
    /// The scenario that the results are said to be of.
    pub(super) fn scenario(self) -> Scenario {
        let drivers = if self.proxy {
            r#"["model", "proxy"]"#
        } else {
            r#"["model"]"#
        };
        let mut text = format!(
            "name = \"5000bps\"\nquestion = \"Does our limit hold better than 4,700 to 5,000 B/s?\"\n\
             duration = \"{} s\"\nseed = 42\ndrivers = {drivers}\nmode = \"stream\"\nsender = \"blocking\"\n\
             bin = \"100 ms\"\n[reference]\nrate = \"{} B/s\"\nburst = \"{} B\"\n\
             [repetitions]\nmodel = {}\nproxy = 1\n",
            self.duration_s, self.rate, self.burst, self.repetitions
        );
        for user in 0..self.users {
            text.push_str(&format!(
                "[[user]]\nname = \"user-{user}\"\ntraffic = {{ pattern = \"bursty\" }}\n"
            ));
        }
        for kind in &KINDS[..self.algorithms] {
            let rest = match *kind {
                "dual-token-bucket" => "peak_rate = \"10 kB/s\"\nmtu = \"1500 B\"",
                "sr-tcm" => "ebs = \"5000 B\"\nmode = \"police\"",
                "tr-tcm" => "peak_rate = \"10 kB/s\"\npbs = \"5000 B\"\nmode = \"police\"",
                "ewma-continuous" => "time_constant = \"1 s\"",
                "fixed-window" | "sliding-window-log" | "sliding-window-counter" => {
                    "window = \"1 s\""
                }
                _ => "",
            };
            text.push_str(&format!("[[algorithm]]\nkind = \"{kind}\"\n{rest}\n"));
        }
        if let Some((at, rate)) = self.change {
            text.push_str(&format!(
                "[[rate_change]]\nat = \"{at} s\"\nrate = \"{rate} B/s\"\n"
            ));
        }
        text.push_str(CLAIMS);
        let origin = Origin {
            shown: "sample.toml",
            stem: "sample",
            folder: None,
        };
        match parse(&text, origin, &Overrides::default()) {
            Ok(scenario) => scenario,
            Err(problems) => panic!("{problems:?}"),
        }
    }

    /// A report of them, each row changed by `change`.
    pub(super) fn report(self, change: impl Fn(&mut Row)) -> Report {
        let mut results = self.results();
        results.summary.iter_mut().for_each(change);
        Report {
            scenario: self.scenario(),
            results,
            host: Host::default(),
        }
    }

    pub(super) fn subject(self) -> Subject {
        Subject::of(&self.scenario())
    }

    pub(super) fn results(self) -> Results {
        let mut results = Results::default();
        let subject = self.subject();
        for driver in &subject.drivers {
            let runs = if driver == "model" {
                self.repetitions
            } else {
                1
            };
            let driven = |mode: &str| driver == "model" || mode == "stream";
            for tested in subject
                .algorithms
                .iter()
                .filter(|tested| driven(&tested.mode))
            {
                let curve = |(x, y): (f64, f64)| CurveRow {
                    driver: driver.clone(),
                    algorithm: tested.label.clone(),
                    curve: "burstiness".to_owned(),
                    x: x * self.rate,
                    y: y * self.burst,
                };
                let points = [(0.5, 4.0), (1.0, 1.0), (2.0, 0.5), (4.0, 0.3)];
                results.burstiness.extend(points.map(curve));
                for repetition in 0..runs {
                    let run = self.run(driver, &tested.label, repetition);
                    run.record(self, driver, &tested.label, repetition, &mut results);
                }
            }
        }
        results
    }

    fn run(self, driver: &str, kind: &str, repetition: u32) -> Run {
        let mut random = Random(u64::from(repetition) * 7919 + 12345);
        let mut noise = Random(u64::from(repetition) + 99);
        let mut run = Run::default();
        let mut gate = Gate {
            tokens: self.burst,
            ..Gate::default()
        };
        let mut t = 0.0;
        while t < self.duration_s {
            let size = (64.0 + random.unit() * 1400.0).floor();
            t += if random.unit() < 0.3 {
                0.0
            } else {
                random.unit().powi(3) * 4.0 * 0.35 * 5000.0 / self.rate
            };
            let rate = self
                .change
                .filter(|(at, _)| t >= *at)
                .map_or(self.rate, |(_, rate)| rate);
            run.offered.push((t, size));
            let start = run.passed.last().map_or(t, |last| last.0.max(t));
            if start - t > 6.0 && kind != "none" {
                run.dropped.push(size);
                run.lost.push((t, size));
                continue;
            }
            let mut departure = gate.pass(kind, start, size, rate, self.burst);
            if driver == "proxy" {
                departure += 0.0003 + 0.0012 * noise.unit().powi(4);
            }
            if departure < self.duration_s {
                run.delays.push(departure - t);
                run.passed.push((departure, size));
            }
        }
        run
    }
}

/// One crude limiter.
#[derive(Default)]
struct Gate {
    tokens: f64,
    at: f64,
    window: f64,
    used: f64,
}

impl Gate {
    fn pass(&mut self, kind: &str, start: f64, size: f64, rate: f64, burst: f64) -> f64 {
        match kind {
            "none" => start,
            "leaky-bucket" | "homework-sleep" => {
                let begin = start.max(self.at);
                self.at = begin + size / rate;
                begin
            }
            "fixed-window" | "sliding-window-counter" | "wirefisher" | "homework-polling" => self
                .slot(
                    start,
                    size,
                    rate,
                    if kind == "homework-polling" { 0.5 } else { 1.0 },
                    1.0,
                ),
            "ewma" => self.slot(start, size, rate, 8.0, 1.0),
            _ => {
                self.tokens = (self.tokens + (start - self.at).max(0.0) * rate).min(burst);
                let wait = ((size - self.tokens) / rate).max(0.0);
                self.tokens += wait * rate - size;
                self.at = start + wait;
                self.at
            }
        }
    }

    fn slot(&mut self, start: f64, size: f64, rate: f64, width: f64, fill: f64) -> f64 {
        let mut t = start;
        loop {
            let window = (t / width).floor();
            if window > self.window {
                self.window = window;
                self.used = 0.0;
            }
            if self.used == 0.0 || self.used + size <= rate * width * fill {
                self.used += size;
                return t;
            }
            t = (window + 1.0) * width + 1e-9;
        }
    }
}

#[derive(Default)]
struct Run {
    offered: Vec<(f64, f64)>,
    passed: Vec<(f64, f64)>,
    delays: Vec<f64>,
    dropped: Vec<f64>,
    lost: Vec<(f64, f64)>,
}

impl Run {
    fn record(
        &self,
        sample: Sample,
        driver: &str,
        algorithm: &str,
        repetition: u32,
        results: &mut Results,
    ) {
        let row = self.summary(sample, driver, algorithm, repetition);
        for user in 0..if sample.users > 1 { sample.users } else { 0 } {
            results.users.push(Row {
                user: format!("user-{user}"),
                throughput_Bps: row.throughput_Bps / f64::from(sample.users),
                ..row.clone()
            });
        }
        results.summary.push(row);
        self.series(sample, driver, algorithm, repetition, &mut results.series);
        if repetition == 0 {
            self.curves(sample, driver, algorithm, results);
        }
    }

    fn series(
        &self,
        sample: Sample,
        driver: &str,
        algorithm: &str,
        repetition: u32,
        series: &mut Vec<SeriesRow>,
    ) {
        let bins = (sample.duration_s / 0.1).round() as usize;
        let mut delivered = vec![0.0; bins];
        let mut offered = vec![0.0; bins];
        let mut dropped = vec![0.0; bins];
        for (list, bins) in [
            (&self.passed, &mut delivered),
            (&self.offered, &mut offered),
            (&self.lost, &mut dropped),
        ] {
            for (t, size) in list {
                if let Some(bin) = bins.get_mut((t / 0.1) as usize) {
                    *bin += size / 0.1;
                }
            }
        }
        let mut smoothed = delivered[0];
        for bin in 0..bins {
            smoothed = 0.875 * smoothed + 0.125 * delivered[bin];
            series.push(SeriesRow {
                driver: driver.into(),
                algorithm: algorithm.into(),
                repetition,
                t_s: bin as f64 / 10.0,
                offered_Bps: offered[bin],
                delivered_Bps: delivered[bin],
                smoothed_Bps: smoothed,
                dropped_Bps: Some(dropped[bin]),
                backlog_bytes: (driver == "model").then_some(0),
            });
        }
    }

    fn curves(&self, sample: Sample, driver: &str, algorithm: &str, results: &mut Results) {
        let row = |curve: &str, x, y| CurveRow {
            driver: driver.into(),
            algorithm: algorithm.into(),
            curve: curve.into(),
            x,
            y,
        };
        for (curve, list) in [("offered", &self.offered), ("delivered", &self.passed)] {
            let mut sum = 0.0;
            results.arrival_curve.push(row(curve, 0.0, 0.0));
            for (t, size) in list {
                sum += size;
                results.arrival_curve.push(row(curve, *t, sum));
            }
        }
        for step in 0..=200 {
            let t = f64::from(step) * sample.duration_s / 200.0;
            results
                .arrival_curve
                .push(row("envelope", t, sample.burst + sample.rate * t));
        }
        for window in WINDOWS {
            if window * sample.rate >= 1464.0 || window >= 1.0 {
                results.overshoot.push(row(
                    "ratio",
                    window,
                    self.worst(window) / (sample.rate * window),
                ));
            }
        }
        let mut delays = self.delays.clone();
        delays.sort_by(f64::total_cmp);
        for step in 0..120 {
            let share = 10f64.powf(-f64::from(step) / 40.0);
            let at = ((1.0 - share) * delays.len() as f64) as usize;
            results
                .delay
                .push(row("ccdf", delays[at.min(delays.len() - 1)] * 1e6, share));
        }
        let mut gaps: Vec<f64> = self
            .passed
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .collect();
        gaps.sort_by(f64::total_cmp);
        let pdv: Vec<f64> = delays.iter().map(|delay| delay - delays[0]).collect();
        for (curve, values) in [("pdv", &pdv), ("gap", &gaps)] {
            for percentile in [
                1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0,
            ] {
                let at =
                    ((percentile / 100.0 * values.len() as f64) as usize).min(values.len() - 1);
                results
                    .jitter
                    .push(row(curve, percentile, values[at] * 1e6));
            }
        }
    }

    fn summary(&self, sample: Sample, driver: &str, algorithm: &str, repetition: u32) -> Row {
        let bytes = |list: &[(f64, f64)]| list.iter().map(|p| p.1).sum::<f64>();
        let mut delays = self.delays.clone();
        delays.sort_by(f64::total_cmp);
        let delay = |share: f64| {
            Some(delays[((share * delays.len() as f64) as usize).min(delays.len() - 1)] * 1e6)
        };
        let overshoot = self.overshoot(sample.rate);
        let ratio = |window: f64| Some(self.worst(window) / window / sample.rate);
        let dropped: f64 = self.dropped.iter().sum();
        let throughput = bytes(&self.passed) / sample.duration_s;
        Row {
            scenario: "5000bps".into(),
            driver: driver.into(),
            algorithm: algorithm.into(),
            repetition,
            seed: 42 + u64::from(repetition),
            duration_s: sample.duration_s,
            rate_Bps: Some(sample.rate),
            burst_bytes: Some(sample.burst),
            offered_bytes: bytes(&self.offered) as u64,
            delivered_bytes: bytes(&self.passed) as u64,
            dropped_bytes: dropped as u64,
            throughput_Bps: throughput,
            utilisation: Some(
                (throughput / (sample.rate + sample.burst / sample.duration_s)).min(1.0),
            ),
            overshoot_bytes: Some(overshoot),
            overshoot_excess_bytes: Some((overshoot - sample.burst).max(0.0)),
            overshoot_at_s: Some(1.0),
            window_10ms_ratio: (sample.rate * 0.01 > 1464.0).then_some(1.0),
            window_100ms_ratio: ratio(0.1),
            window_1s_ratio: ratio(1.0),
            window_10s_ratio: ratio(10.0),
            jitter_rfc3550_us: Some(1200.0 + 100.0 * f64::from(repetition)),
            pdv_p99_us: delay(0.99),
            gap_cov: Some(1.3),
            delay_p50_us: delay(0.5),
            delay_p90_us: delay(0.9),
            delay_p99_us: delay(0.99),
            delay_p999_us: delay(0.999),
            delay_max_us: delay(1.0),
            loss_ratio: Some(dropped / bytes(&self.offered)),
            jain: (sample.users > 1).then_some(0.999),
            mode: "shape".into(),
            limiter: format!("{algorithm}:rate=5000B/s"),
            bound_excess_bytes: Some(if algorithm == "homework-polling" {
                321.0
            } else {
                0.0
            }),
            burst_measured_bytes: Some(overshoot),
            burst_bound_bytes: Some(if algorithm == "homework-polling" {
                overshoot - 321.0
            } else {
                overshoot.max(sample.burst)
            }),
            ..Row::default()
        }
    }

    fn overshoot(&self, rate: f64) -> f64 {
        let (mut level, mut most, mut last) = (0.0_f64, 0.0_f64, 0.0);
        for (t, size) in &self.passed {
            level = (level - rate * (t - last)).max(0.0) + size;
            last = *t;
            most = most.max(level);
        }
        (most * 1e3).round() / 1e3
    }

    fn worst(&self, window: f64) -> f64 {
        let (mut from, mut sum, mut most) = (0, 0.0, 0.0_f64);
        for (t, size) in &self.passed {
            sum += size;
            while self.passed[from].0 <= t - window {
                sum -= self.passed[from].1;
                from += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
