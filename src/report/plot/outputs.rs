//! The smallest bucket that each algorithm's output conforms to, at each rate.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::Grid;
use super::{Curves, LIMIT, ink};
use crate::report::format::{Unit, chosen};
use crate::report::scene::{SERIES, Stroke};
use crate::report::subject::Subject;
use crate::results::Results;

const DASHES: [&[f32]; 4] = [&[], &[6.0, 3.0], &[2.0, 2.0], &[9.0, 3.0, 2.0, 3.0]];

/// How to read it.
pub(super) fn explanation(subject: &Subject) -> String {
    format!(
        "A point (x, y) reads: what left in repetition 0 conforms to a token bucket of rate x if it is y bytes deep, and \
         not if it is shallower. Lower is smoother. Dashed: the reference, {} and {}.",
        chosen(Unit::Rate, subject.rate_Bps),
        chosen(Unit::Bytes, subject.burst_bytes)
    )
}

fn stroke(subject: &Subject, algorithm: &str) -> Stroke {
    let dash = DASHES[subject.rank(algorithm) / SERIES % DASHES.len()];
    Stroke::solid(ink(subject, algorithm), 1.7).dashed(dash)
}

/// The picture `burstiness.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let curves = Curves::of(&results.burstiness);
    let mut entries: Vec<(Sample, &str)> = subject
        .algorithms
        .iter()
        .map(|tested| {
            (
                Sample::Line(stroke(subject, &tested.label)),
                tested.label.as_str(),
            )
        })
        .collect();
    entries.push((Sample::Line(LIMIT), "reference"));
    frame.legend(&entries);
    let points = || curves.all("burstiness").flatten();
    let (low, high) = points().filter(|point| point.1 > 0.0).fold(
        (subject.burst_bytes, subject.burst_bytes),
        |(low, high), point| (low.min(point.1), high.max(point.1)),
    );
    let (slow, fast) = points().fold(
        (subject.rate_Bps, subject.rate_Bps),
        |(slow, fast), point| (slow.min(point.0), fast.max(point.0)),
    );
    let drivers: Vec<&String> = subject
        .drivers
        .iter()
        .filter(|driver| results.burstiness.iter().any(|row| row.driver == **driver))
        .collect();
    let grid = Grid {
        x: Axis::log_within(Unit::Rate, slow.min(fast / 2.0), fast),
        y: Axis::log(Unit::Bytes, low, high),
        x_title: "Rate, logarithmic",
        y_title: "Smallest bucket, logarithmic",
        least: 400.0,
        height: 300.0,
    };
    for (driver, panel) in drivers.iter().zip(grid.lay(frame, drivers.len())) {
        let (rate, burst) = (subject.rate_Bps, subject.burst_bytes);
        let (foot, edge) = (panel.y.low(), panel.x.low());
        panel.line(
            &mut frame.scene,
            &[(rate, foot), (rate, burst), (edge, burst)],
            LIMIT,
        );
        for tested in &subject.algorithms {
            let points: Vec<(f64, f64)> = curves
                .get(driver, &tested.label, "burstiness")
                .iter()
                .map(|&(x, y)| (x, y.max(foot)))
                .collect();
            panel.line(&mut frame.scene, &points, stroke(subject, &tested.label));
        }
        panel.heading(
            &mut frame.scene,
            crate::report::scene::Ink::Muted,
            driver,
            "",
        );
    }
}
