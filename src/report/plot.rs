//! The pictures of a report. Each is a scene drawn from the rows of one CSV file, or has a
//! CSV file of what is drawn, the same for the PNG in the folder and for the page.

pub(super) mod arrival;
mod axis;
mod bounds;
pub(super) mod burstiness;
mod delay;
pub(super) mod differences;
mod frame;
mod jitter;
pub(super) mod lines;
mod outputs;
mod overshoot;
mod panel;
pub(super) mod pareto;
pub(super) mod requests;
mod rows;
mod runs;
mod throughput;

use std::collections::BTreeMap;

use self::frame::Frame;
use super::format::{Unit, chosen};
use super::scene::{Ink, Scene, Stroke};
use super::subject::Subject;
use crate::results::{CurveRow, Results, SeriesRow};

/// The width, in its own unit, of the pictures in the folder and on a wide page.
pub(super) const WIDE: f32 = 1000.0;
/// The width of the pictures on a narrow page.
pub(super) const NARROW: f32 = 400.0;

/// Dashes of the limit's line.
const LIMIT: Stroke = Stroke::solid(Ink::Limit, 1.3).dashed(&[7.0, 4.0]);

/// One of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Picture {
    Throughput,
    Arrival,
    Overshoot,
    Delay,
    Jitter,
    Runs,
    Burstiness,
    Pareto,
    Differences,
    Bounds,
}

impl Picture {
    pub(super) const ALL: [Self; 10] = [
        Self::Throughput,
        Self::Arrival,
        Self::Overshoot,
        Self::Delay,
        Self::Jitter,
        Self::Runs,
        Self::Burstiness,
        Self::Pareto,
        Self::Differences,
        Self::Bounds,
    ];

    /// Its file, and the CSV file it is drawn from, without the ending.
    pub(super) const fn stem(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Arrival => "arrival-curve",
            Self::Overshoot => "overshoot",
            Self::Delay => "delay",
            Self::Jitter => "jitter",
            Self::Runs => "runs",
            Self::Burstiness => "burstiness",
            Self::Pareto => "pareto",
            Self::Differences => "differences",
            Self::Bounds => "bounds",
        }
    }

    /// What it is called in a list of contents.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "Throughput",
            Self::Arrival => "Arrival curve",
            Self::Overshoot => "Overshoot",
            Self::Delay => "Delay",
            Self::Jitter => "Jitter",
            Self::Runs => "Runs",
            Self::Burstiness => "Burstiness",
            Self::Pareto => "Gain and cost",
            Self::Differences => "Differences",
            Self::Bounds => "Bounds",
        }
    }

    /// What it shows.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "Throughput over time against the limit",
            Self::Arrival => "Bytes that passed against the envelope of rate and burst",
            Self::Overshoot => "Overshoot by window size",
            Self::Delay => "Delay: share of packets that waited longer",
            Self::Jitter => "Jitter: delay variation and gaps between departures",
            Self::Runs => "How far the runs of each algorithm differ",
            Self::Burstiness => "Smallest bucket that the output conforms to, at each rate",
            Self::Pareto => "Utilisation against what it costs",
            Self::Differences => "Differences from the first algorithm, run against run",
            Self::Bounds => "Burst, delay and backlog against what theory bounds them by",
        }
    }

    /// How to read it.
    pub(super) fn explanation(self, subject: &Subject, results: &Results) -> String {
        match self {
            Self::Throughput => throughput::explanation(subject, results),
            Self::Arrival => arrival::explanation(subject),
            Self::Overshoot => overshoot::explanation(subject),
            Self::Delay => delay::explanation(subject),
            Self::Jitter => jitter::EXPLANATION.into(),
            Self::Runs => runs::EXPLANATION.into(),
            Self::Burstiness => outputs::explanation(subject),
            Self::Pareto => pareto::RUNS.into(),
            Self::Differences => differences::explanation(),
            Self::Bounds => bounds::EXPLANATION.into(),
        }
    }

    /// The picture that stands for itself: with title, explanation and origin.
    pub(super) fn whole(self, subject: &Subject, results: &Results, width: f32) -> Scene {
        let mut frame = Frame::new(width);
        frame.head(self.title(), &self.explanation(subject, results));
        self.draw(&mut frame, subject, results);
        frame.foot(&footer(subject, results, &self.method(subject)));
        frame.finish()
    }

    /// The drawing alone, for a page that has the words beside it.
    pub(super) fn bare(self, subject: &Subject, results: &Results, width: f32) -> Scene {
        let mut frame = Frame::new(width);
        self.draw(&mut frame, subject, results);
        frame.finish()
    }

    fn draw(self, frame: &mut Frame, subject: &Subject, results: &Results) {
        match self {
            Self::Throughput => throughput::draw(frame, subject, results),
            Self::Arrival => arrival::draw(frame, subject, results),
            Self::Overshoot => overshoot::draw(frame, subject, results),
            Self::Delay => delay::draw(frame, subject, results),
            Self::Jitter => jitter::draw(frame, subject, results),
            Self::Runs => runs::draw(frame, subject, results),
            Self::Burstiness => outputs::draw(frame, subject, results),
            Self::Pareto => {
                pareto::of_results(frame, subject, results);
            }
            Self::Differences => differences::draw(frame, subject, results),
            Self::Bounds => bounds::draw(frame, subject, results),
        }
    }

    /// What is drawn, where no file of the results is just that.
    pub(super) fn csv(self, subject: &Subject, results: &Results) -> Option<String> {
        match self {
            Self::Runs => Some(runs::csv(subject, results)),
            Self::Pareto => Some(pareto::of_results(&mut Frame::new(WIDE), subject, results)),
            Self::Differences => Some(differences::csv(subject, results)),
            Self::Bounds => Some(bounds::csv(subject, results)),
            _ => None,
        }
    }

    fn method(self, subject: &Subject) -> String {
        match self {
            Self::Throughput => format!("bins of {}", chosen(Unit::Seconds, subject.bin_s)),
            Self::Arrival => "repetition 0".into(),
            Self::Overshoot => "worst of all repetitions".into(),
            Self::Delay | Self::Jitter => "all repetitions merged".into(),
            Self::Burstiness => "repetition 0".into(),
            Self::Runs | Self::Pareto | Self::Bounds => "every run".into(),
            Self::Differences => "paired, 95 % intervals".into(),
        }
    }
}

/// The colour of an algorithm, the same in all pictures.
fn ink(subject: &Subject, algorithm: &str) -> Ink {
    Ink::Series(subject.rank(algorithm))
}

/// The line of a driver: dashes by its rank in the report; the first that ran the algorithm in
/// the algorithm's colour, others dark, so that two on top of each other can be told apart.
const fn driver_stroke(rank: usize, first: bool, ink: Ink) -> Stroke {
    let ink = match (first, rank) {
        (true, _) => ink,
        (false, 1) => Ink::Text,
        (false, _) => Ink::Muted,
    };
    match rank {
        0 => Stroke::solid(ink, 1.8),
        1 => Stroke::solid(ink, 1.4).dashed(&[2.0, 2.0]),
        _ => Stroke::solid(ink, 1.6).dashed(&[6.0, 2.0, 1.5, 2.0]),
    }
}

/// The look of each driver in the legend.
fn driver_legend(subject: &Subject) -> Vec<(frame::Sample, &str)> {
    let drivers = subject.drivers.iter().enumerate();
    drivers
        .map(|(rank, driver)| {
            let stroke = driver_stroke(rank, rank == 0, Ink::Series(0));
            (frame::Sample::Line(stroke), driver.as_str())
        })
        .collect()
}

/// The line of `driver` for `algorithm`.
fn stroke_of(subject: &Subject, results: &Results, driver: &str, algorithm: &str) -> Stroke {
    let first = drivers_of(subject, results, algorithm).first() == Some(&driver);
    driver_stroke(subject.driver_rank(driver), first, ink(subject, algorithm))
}

/// The line at the foot of every picture.
fn footer(subject: &Subject, results: &Results, method: &str) -> String {
    let runs: Vec<String> = subject
        .drivers
        .iter()
        .map(|driver| (driver, runs(results, driver)))
        .filter(|(_, runs)| *runs > 0)
        .map(|(driver, runs)| format!("{driver} n\u{a0}=\u{a0}{runs}"))
        .collect();
    format!(
        "{} · seed {} · {} · {} · {}, reference {}, burst {} · {} {}",
        subject.name,
        subject.seed,
        runs.join(", "),
        method,
        chosen(Unit::Seconds, subject.duration_s),
        chosen(Unit::Rate, subject.rate_Bps),
        chosen(Unit::Bytes, subject.burst_bytes),
        super::TOOL,
        super::VERSION,
    )
}

/// The drivers that ran `algorithm`, in order.
fn drivers_of<'a>(subject: &'a Subject, results: &Results, algorithm: &str) -> Vec<&'a str> {
    let ran = |driver: &&str| {
        results
            .summary
            .iter()
            .any(|row| row.driver == *driver && row.algorithm == algorithm)
    };
    subject
        .drivers
        .iter()
        .map(String::as_str)
        .filter(ran)
        .collect()
}

/// How often `driver` ran each algorithm, at most.
pub(super) fn runs(results: &Results, driver: &str) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in results.summary.iter().filter(|row| row.driver == driver) {
        *counts.entry(&row.algorithm).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Rows of a curve file by driver, algorithm and curve.
struct Curves<'a>(BTreeMap<[&'a str; 3], Vec<(f64, f64)>>);

impl<'a> Curves<'a> {
    fn of(rows: &'a [CurveRow]) -> Self {
        let mut curves: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in rows
            .iter()
            .filter(|row| row.x.is_finite() && row.y.is_finite())
        {
            let key = [
                row.driver.as_str(),
                row.algorithm.as_str(),
                row.curve.as_str(),
            ];
            curves.entry(key).or_default().push((row.x, row.y));
        }
        Self(curves)
    }

    /// The points of one line; none if nothing is known.
    fn get<'s>(&'s self, driver: &'s str, algorithm: &'s str, curve: &'s str) -> &'s [(f64, f64)] {
        self.0
            .get(&[driver, algorithm, curve])
            .map_or(&[], Vec::as_slice)
    }

    /// The points of every line of that name.
    fn all(&self, curve: &'static str) -> impl Iterator<Item = &[(f64, f64)]> {
        self.0
            .iter()
            .filter(move |(key, _)| key[2] == curve)
            .map(|(_, points)| points.as_slice())
    }
}

/// Rows of the time series by driver and algorithm, then by repetition.
type Series<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<u32, Vec<&'a SeriesRow>>>;

fn series(results: &Results) -> Series<'_> {
    let mut series = Series::new();
    for row in &results.series {
        series
            .entry((&row.driver, &row.algorithm))
            .or_default()
            .entry(row.repetition)
            .or_default()
            .push(row);
    }
    series
}

/// The mean over the runs of one driver and algorithm; `None` when no run knows it.
fn mean(
    results: &Results,
    driver: &str,
    algorithm: &str,
    figure: impl Fn(&crate::results::Row) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> = results
        .summary
        .iter()
        .filter(|row| row.driver == driver && row.algorithm == algorithm)
        .filter_map(figure)
        .collect();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number of runs is far below 2^52"
    )]
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A level line drawn as steps: each value holds until the next place; `end` closes the last.
fn steps(points: impl IntoIterator<Item = (f64, f64)>, end: f64) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    for (x, y) in points {
        if let Some(&(_, before)) = out.last() {
            out.push((x, before));
        }
        out.push((x, y));
    }
    if let Some(&(_, last)) = out.last() {
        out.push((end, last));
    }
    out
}

/// The `share` quantile of `values`, by nearest rank; 0 of none.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among as many values as memory holds"
    )]
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}
