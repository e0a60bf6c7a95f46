//! Burst, delay and backlog of every run beside what theory bounds them by.

use std::fmt::Write as _;

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::Panel;
use super::rows::{self, Line};
use crate::report::format::Unit;
use crate::report::scene::{Ink, Shape, Stroke, Style};
use crate::report::subject::Subject;
use crate::results::{Results, Row};

/// How to read it.
pub(super) const EXPLANATION: &str = "Every run is a point, its bound an upright stroke; a point right of its stroke broke the bound. What \
     the algorithm promises of bursts is its own; of delay and backlog network calculus says it of the arrivals that were \
     measured. A red ring marks a run beyond its bound, and beyond what a measurement in real time may be wrong by. What is zero \
     stands at the left edge; where nothing is promised there is nothing.";

/// One of the three.
struct Bounded {
    title: &'static str,
    unit: Unit,
    found: fn(&Row) -> Option<(f64, f64)>,
    beyond: fn(&Row) -> f64,
}

const BOUNDED: [Bounded; 3] = [
    Bounded {
        title: "Burst",
        unit: Unit::Bytes,
        found: |row| row.burst_measured_bytes.zip(row.burst_bound_bytes),
        beyond: |row| row.beyond().burst_bytes,
    },
    Bounded {
        title: "Delay",
        unit: Unit::Micros,
        found: |row| row.delay_max_us.zip(row.delay_bound_us),
        beyond: |row| row.beyond().delay_us,
    },
    Bounded {
        title: "Backlog",
        unit: Unit::Bytes,
        found: |row| row.backlog_max_bytes.zip(row.backlog_bound_bytes),
        beyond: |row| row.beyond().backlog_bytes,
    },
];

/// Lines of which anything is bounded.
fn lines<'a>(subject: &'a Subject, results: &'a Results) -> Vec<Line<'a>> {
    let mut lines = rows::lines(subject, results);
    lines.retain(|line| {
        let mut all = line.rows.iter();
        all.any(|row| BOUNDED.iter().any(|one| (one.found)(row).is_some()))
    });
    lines
}

/// The picture `bounds.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let lines = lines(subject, results);
    if lines.is_empty() {
        let words = "No algorithm of this report promises anything.";
        frame.paragraph(words, Style::new(12.5, Ink::Text));
        return;
    }
    frame.legend(&[
        (Sample::Mark(Shape::Circle, Ink::Text, false), "a run"),
        (Sample::Line(BOUND), "its bound"),
        (Sample::Mark(Shape::Circle, Ink::Bad, true), "beyond it"),
    ]);
    let axes: Vec<(&str, Axis)> = BOUNDED
        .iter()
        .map(|one| (one.title, axis(one, &lines)))
        .collect();
    let panels = rows::lay(frame, &lines, &axes);
    for (one, panel) in BOUNDED.iter().zip(&panels) {
        for (at, line) in lines.iter().enumerate() {
            let y = rows::center(panel.rect.top, at);
            for row in &line.rows {
                run(frame, panel, y, line, one, row);
            }
        }
    }
}

const BOUND: Stroke = Stroke::solid(Ink::Limit, 1.4);

fn axis(one: &Bounded, lines: &[Line<'_>]) -> Axis {
    let all = lines.iter().flat_map(|line| &line.rows);
    let all = all.filter_map(|row| (one.found)(row));
    let (low, high) = all
        .flat_map(|(found, bound)| [found, bound])
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if high > 0.0 {
        // A stroke at the very edge could not be seen.
        Axis::log(one.unit, low.max(high * 1e-6) * 0.8, high * 1.25)
    } else {
        Axis::log(one.unit, 1.0, 10.0)
    }
}

fn run(frame: &mut Frame, panel: &Panel, y: f32, line: &Line<'_>, one: &Bounded, row: &Row) {
    let Some((found, bound)) = (one.found)(row) else {
        return;
    };
    let scene = &mut frame.scene;
    // At a run that waits for nothing, nothing need be bounded.
    if bound > 0.0
        && let Some(&(x, _)) = rows::bar(panel, y, bound, bound).first()
    {
        scene.line(vec![(x, y - 6.0), (x, y + 6.0)], BOUND);
    }
    if let Some(&at) = rows::bar(panel, y, found, found).first() {
        scene.mark(at, Shape::Circle, 4.6, line.ink, false);
        if (one.beyond)(row) > 0.0 {
            scene.mark(at, Shape::Circle, 10.0, Ink::Bad, true);
        }
    }
}

/// Exactly what is drawn.
pub(super) fn csv(subject: &Subject, results: &Results) -> String {
    let mut text = String::from("what,unit,driver,algorithm,repetition,measured,bound,beyond\n");
    for one in &BOUNDED {
        for line in lines(subject, results) {
            for row in &line.rows {
                let Some((found, bound)) = (one.found)(row) else {
                    continue;
                };
                let unit = if one.unit == Unit::Micros {
                    "us"
                } else {
                    "bytes"
                };
                let what = one.title.to_lowercase();
                let beyond = (one.beyond)(row);
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{what},{unit},{},{},{},{found},{bound},{beyond}",
                    line.driver, line.algorithm, row.repetition
                );
            }
        }
    }
    text
}
