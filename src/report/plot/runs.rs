//! Every run as a point, with a box round the middle half: how far runs differ.

use std::fmt::Write as _;

use super::axis::Axis;
use super::frame::Frame;
use super::panel::Panel;
use super::quantile;
use super::rows::{self, DELAY, JITTER, Line, Measure, OVERSHOOT, UTILISATION};
use crate::report::scene::{Ink, Rect, Shape, Stroke};
use crate::report::subject::Subject;
use crate::results::Results;

const MEASURES: [Measure; 4] = [UTILISATION, DELAY, JITTER, OVERSHOOT];
/// Largest over least from which on an axis is logarithmic.
const WIDE: f64 = 100.0;

/// How to read it.
pub(super) const EXPLANATION: &str = "Every run is a point. The box holds the middle half of the \
     runs, the line in it is the median, the line through it reaches from the least to the most. Axes that \
     span more than two decades are logarithmic; what is zero stands at their left edge.";

/// The picture `runs.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let lines = rows::lines(subject, results);
    let axes: Vec<(&str, Axis)> = MEASURES
        .iter()
        .map(|measure| (measure.title, axis(measure, &lines)))
        .collect();
    let panels = rows::lay(frame, &lines, &axes);
    for (measure, panel) in MEASURES.iter().zip(&panels) {
        for (at, line) in lines.iter().enumerate() {
            let y = rows::center(panel.rect.top, at);
            one(frame, panel, y, line, &values(line, measure));
        }
    }
}

fn values(line: &Line<'_>, measure: &Measure) -> Vec<f64> {
    line.rows
        .iter()
        .filter_map(|row| (measure.figure)(row))
        .collect()
}

fn axis(measure: &Measure, lines: &[Line<'_>]) -> Axis {
    let all = || lines.iter().flat_map(|line| values(line, measure));
    let high = all().fold(0.0, f64::max);
    let low = all().filter(|value| *value > 0.0).fold(high, f64::min);
    if high > low * WIDE {
        Axis::log(measure.unit, low.max(high * 1e-7), high)
    } else {
        Axis::linear(measure.unit, 0.0, high * 1.04)
    }
}

/// Least, quartiles and most.
fn five(values: &[f64]) -> [f64; 5] {
    [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| quantile(values.to_vec(), f64::max(share, 1e-9)))
}

fn one(frame: &mut Frame, panel: &Panel, y: f32, line: &Line<'_>, values: &[f64]) {
    if values.is_empty() {
        return;
    }
    let [least, low, middle, high, most] = five(values);
    let scene = &mut frame.scene;
    scene.line(
        rows::bar(panel, y, least, most),
        Stroke::solid(line.ink, 1.0),
    );
    if let [(left, _), (right, _)] = rows::bar(panel, y, low, high)[..] {
        let rect = Rect {
            left,
            top: y - 4.5,
            right: right.max(left + 1.0),
            bottom: y + 4.5,
        };
        scene.rect(rect, line.ink, 0.3);
    }
    if let Some(&(x, _)) = rows::bar(panel, y, middle, middle).first() {
        let stroke = Stroke::solid(line.ink, 2.2);
        scene.line(vec![(x, y - 5.0), (x, y + 5.0)], stroke);
    }
    for (number, value) in values.iter().enumerate() {
        if let Some(&(x, _)) = rows::bar(panel, y, *value, *value).first() {
            // Runs of one value lie beside each other.
            let aside = [0.0, -2.5, 2.5, -1.2, 1.2][number % 5];
            scene.mark((x, y + aside), Shape::Circle, 2.4, Ink::Text, false);
        }
    }
}

/// Exactly what is drawn.
pub(super) fn csv(subject: &Subject, results: &Results) -> String {
    let mut text = String::from("measure,driver,algorithm,what,value\n");
    for measure in &MEASURES {
        for line in rows::lines(subject, results) {
            let values = values(&line, measure);
            if values.is_empty() {
                continue;
            }
            let named = ["least", "q1", "median", "q3", "most"]
                .into_iter()
                .zip(five(&values));
            let runs = values.iter().map(|value| ("run", *value));
            for (what, value) in named.chain(runs) {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{},{what},{value}",
                    measure.title, line.driver, line.algorithm
                );
            }
        }
    }
    text
}
