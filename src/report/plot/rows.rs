//! A line for each algorithm and driver, a panel for each measure: the layout of the
//! pictures that stand runs beside each other.

use super::axis::Axis;
use super::frame::{Frame, MARGIN, SMALL, fitted};
use super::ink;
use super::panel::{Panel, position};
use crate::report::format::Unit;
use crate::report::scene::{Anchor, Ink, Rect, Shape, Stroke, Style, text_width};
use crate::report::subject::Subject;
use crate::results::{Results, Row};

/// Height of a line.
const PITCH: f32 = 16.0;
/// Above a panel, for its title.
const TITLE: f32 = 26.0;
/// Below it, for the ticks.
const TICKS: f32 = 24.0;

/// One figure of a run.
pub(super) struct Measure {
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    pub(super) figure: fn(&Row) -> Option<f64>,
}

pub(super) const UTILISATION: Measure = Measure {
    title: "Limit used",
    unit: Unit::Share,
    figure: |row| row.utilisation,
};
pub(super) const THROUGHPUT: Measure = Measure {
    title: "Throughput",
    unit: Unit::Rate,
    figure: |row| Some(row.throughput_Bps),
};
pub(super) const DELAY: Measure = Measure {
    title: "Delay p99",
    unit: Unit::Micros,
    figure: |row| row.delay_p99_us,
};
pub(super) const JITTER: Measure = Measure {
    title: "Jitter",
    unit: Unit::Micros,
    figure: |row| row.jitter_rfc3550_us,
};
pub(super) const OVERSHOOT: Measure = Measure {
    title: "Overshoot",
    unit: Unit::Bytes,
    figure: |row| row.overshoot_bytes,
};

/// All runs of one algorithm under one driver.
pub(super) struct Line<'a> {
    pub(super) driver: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) name: String,
    pub(super) ink: Ink,
    pub(super) shape: Shape,
    /// In order of their repetitions.
    pub(super) rows: Vec<&'a Row>,
}

/// The shape of a mark by the rank of its algorithm: with the colour, 24 that differ.
pub(super) const fn shape(rank: usize) -> (Shape, bool) {
    let shapes = [Shape::Circle, Shape::Square, Shape::Diamond, Shape::Up];
    (shapes[rank % 4], (rank / 4) % 2 == 1)
}

/// In the order of the report.
pub(super) fn lines<'a>(subject: &'a Subject, results: &'a Results) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for tested in &subject.algorithms {
        for driver in &subject.drivers {
            let of = |row: &&Row| row.algorithm == tested.label && row.driver == *driver;
            let mut rows: Vec<&Row> = results.summary.iter().filter(of).collect();
            rows.sort_by_key(|row| row.repetition);
            if rows.is_empty() {
                continue;
            }
            lines.push(Line {
                driver,
                algorithm: &tested.label,
                name: if subject.drivers.len() > 1 {
                    format!("{}, {driver}", tested.label)
                } else {
                    tested.label.clone()
                },
                ink: ink(subject, &tested.label),
                shape: shape(subject.rank(&tested.label)).0,
                rows,
            });
        }
    }
    lines
}

/// Lays out a panel for each of `axes`, with the lines' names at the left.
pub(super) fn lay(frame: &mut Frame, lines: &[Line<'_>], axes: &[(&str, Axis)]) -> Vec<Panel> {
    let widest = lines
        .iter()
        .map(|line| text_width(&line.name, SMALL, false))
        .fold(60.0, f32::max);
    let gutter = widest.min(frame.room() * 0.36) + 22.0;
    let columns = if frame.scene.width > 700.0 {
        axes.len()
    } else {
        1
    };
    let gap = 42.0;
    let room = frame.room() - gutter - 10.0;
    let width = (room - gap * (position(columns) - 1.0)) / position(columns);
    let height = position(lines.len()) * PITCH;
    let mut panels = Vec::new();
    for group in axes.chunks(columns) {
        let top = frame.y + TITLE;
        names(frame, lines, top, gutter);
        for (at, (title, x)) in group.iter().enumerate() {
            let left = MARGIN + gutter + position(at) * (width + gap);
            let rect = Rect {
                left,
                top,
                right: left + width,
                bottom: top + height,
            };
            let panel = Panel {
                rect,
                x: *x,
                y: Axis::linear(Unit::Number, 0.0, 1.0),
            };
            panel.across(&mut frame.scene);
            let title = format!("{title}{}", x.unit_note());
            let title = fitted(&title, SMALL + 1.0, true, width);
            let style = Style::new(SMALL + 1.0, Ink::Text).bold();
            frame.scene.text((left, top - 8.0), title, style);
            panels.push(panel);
        }
        frame.y = top + height + TICKS;
    }
    panels
}

fn names(frame: &mut Frame, lines: &[Line<'_>], top: f32, gutter: f32) {
    for (at, line) in lines.iter().enumerate() {
        let y = center(top, at);
        if at % 2 == 1 {
            let band = Rect {
                left: MARGIN,
                top: y - PITCH / 2.0,
                right: frame.scene.width - MARGIN,
                bottom: y + PITCH / 2.0,
            };
            frame.scene.rect(band, Ink::Grid, 0.35);
        }
        frame
            .scene
            .mark((MARGIN + 5.0, y), line.shape, 8.0, line.ink, false);
        let name = fitted(&line.name, SMALL, false, gutter - 18.0);
        let style = Style::new(SMALL, Ink::Text).anchored(Anchor::Start);
        frame
            .scene
            .text((MARGIN + 14.0, y + SMALL * 0.36), name, style);
    }
}

/// The middle of line number `at` of a panel that begins at `top`.
pub(super) fn center(top: f32, at: usize) -> f32 {
    top + (position(at) + 0.5) * PITCH
}

/// A line across part of a panel, at one height.
pub(super) fn bar(panel: &Panel, y: f32, from: f64, to: f64) -> Vec<(f32, f32)> {
    let place = |value: f64| {
        let x = panel.at(value, 0.0).0;
        (x.clamp(panel.rect.left, panel.rect.right), y)
    };
    vec![place(from), place(to)]
}

/// A line down a panel.
pub(super) fn upright(frame: &mut Frame, panel: &Panel, value: f64, stroke: Stroke) {
    let x = panel.at(value, 0.0).0;
    if (panel.rect.left..=panel.rect.right).contains(&x) {
        let line = vec![(x, panel.rect.top), (x, panel.rect.bottom)];
        frame.scene.line(line, stroke);
    }
}
