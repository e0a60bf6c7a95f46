//! Each algorithm against the first, run by run on the same arrivals: a forest plot.

use std::fmt::Write as _;

use super::axis::Axis;
use super::frame::Frame;
use super::panel::Panel;
use super::rows::{self, DELAY, JITTER, Line, Measure, OVERSHOOT, THROUGHPUT};
use crate::report::Report;
use crate::report::compare::{self, Pair};
use crate::report::format::Unit;
use crate::report::metric::{self, Metric};
use crate::report::scene::{Anchor, Ink, Rect, Scene, Stroke, Style};
use crate::report::subject::Subject;
use crate::results::Results;
use crate::statistics::{Comparison, NOISE};

/// What is drawn of two reports.
const FIGURES: [Metric; 4] = [
    metric::THROUGHPUT,
    metric::DELAY_P99,
    metric::JITTER,
    metric::OVERSHOOT,
];
const MEASURES: [Measure; 4] = [THROUGHPUT, DELAY, JITTER, OVERSHOOT];
/// Changes beyond these are written and not drawn.
const MOST: (f64, f64) = (-1.0, 2.0);

/// One change against the first algorithm of the same driver, as a share of it.
struct Change {
    middle: f64,
    interval: Option<(f64, f64)>,
    n: usize,
}

impl Change {
    /// The ratio of a comparison, if it has one.
    fn of(found: &Comparison) -> Option<Self> {
        Some(Self {
            middle: found.ratio? - 1.0,
            interval: found
                .ratio_interval
                .map(|interval| (interval.low - 1.0, interval.high - 1.0)),
            n: found.n,
        })
    }
}

/// How to read it.
pub(super) fn explanation() -> String {
    format!(
        "The mean change against the first algorithm of the same driver, run against run of the same arrivals, as a ratio with \
         its 95 % interval (Student's t on logarithms). An interval across the upright line is no difference; the grey band is {} % \
         of noise. What is zero in some run has no ratio.",
        NOISE * 100.0
    )
}

/// The picture `differences.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let lines = rows::lines(subject, results);
    let found: Vec<(&str, Vec<Option<Change>>)> = MEASURES
        .iter()
        .map(|measure| (measure.title, changes(measure, &lines)))
        .collect();
    forest(frame, &lines, &found);
}

/// Every algorithm and driver that both reports have, `other` against `base`, and a CSV of what is
/// drawn; `None` if they have none in common.
pub(in crate::report) fn between(base: &Report, other: &Report) -> Option<(Scene, String)> {
    let subjects = [Subject::of(&base.scenario), Subject::of(&other.scenario)];
    let pairs = compare::pairs(&subjects, base, other);
    let of_base = rows::lines(&subjects[0], &base.results);
    let mut lines = Vec::new();
    let mut found: Vec<(&str, Vec<Option<Change>>)> =
        FIGURES.iter().map(|one| (one.title, Vec::new())).collect();
    let mut kinds = Vec::new();
    for line in of_base {
        let same = |pair: &&Pair<'_>| {
            pair.base.algorithm == line.algorithm && pair.base.driver == line.driver
        };
        let Some(pair) = pairs.iter().find(same) else {
            continue;
        };
        for (metric, (_, changes)) in FIGURES.iter().zip(&mut found) {
            let compared = compare::of_runs(metric, &pair.base.rows, &pair.other.rows);
            kinds.extend(compared.as_ref().map(|(_, paired)| *paired));
            changes.push(compared.and_then(|(comparison, _)| Change::of(&comparison)));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return None;
    }
    let mut frame = Frame::new(super::WIDE);
    let runs = if !kinds.contains(&false) {
        "run against run of the same arrivals"
    } else if kinds.contains(&true) {
        "run against run of the same arrivals where every run knows the figure"
    } else {
        "runs that are not paired"
    };
    frame.head(
        &compare::title(&subjects),
        &format!(
            "The mean change from the base, {runs}, as a ratio with its 95 % interval (Student's t on logarithms). An interval \
             across the upright line is no difference; the grey band is {} % of noise. What is zero in some run has no ratio.",
            NOISE * 100.0
        ),
    );
    forest(&mut frame, &lines, &found);
    let runs = found
        .iter()
        .flat_map(|(_, changes)| changes.iter().flatten());
    frame.foot(&format!(
        "base {} · n\u{a0}=\u{a0}{} · {} {}",
        subjects[0].name,
        runs.map(|change| change.n).max().unwrap_or(0),
        crate::report::TOOL,
        crate::report::VERSION
    ));
    Some((frame.finish(), table(&lines, &found)))
}

/// A panel for each measure, a line for each algorithm and driver.
fn forest(frame: &mut Frame, lines: &[Line<'_>], found: &[(&str, Vec<Option<Change>>)]) {
    let axes: Vec<(&str, Axis)> = found
        .iter()
        .map(|(title, changes)| (*title, axis(changes)))
        .collect();
    let panels = rows::lay(frame, lines, &axes);
    for (panel, (_, changes)) in panels.iter().zip(found) {
        noise(frame, panel);
        for (at, (line, change)) in lines.iter().zip(changes).enumerate() {
            if let Some(change) = change {
                one(frame, panel, rows::center(panel.rect.top, at), line, change);
            }
        }
    }
}

fn changes(measure: &Measure, lines: &[Line<'_>]) -> Vec<Option<Change>> {
    let values = |line: &Line<'_>| -> Vec<f64> {
        line.rows
            .iter()
            .filter_map(|row| (measure.figure)(row))
            .collect()
    };
    let change = |line: &Line<'_>| {
        let base = lines.iter().find(|base| base.driver == line.driver)?;
        if base.algorithm == line.algorithm {
            return None;
        }
        let found = Comparison::paired(&values(base), &values(line))?;
        Change::of(&found)
    };
    lines.iter().map(change).collect()
}

fn axis(changes: &[Option<Change>]) -> Axis {
    let ends = changes.iter().flatten().flat_map(|change| {
        let (low, high) = change.interval.unwrap_or((change.middle, change.middle));
        [low, high]
    });
    let (low, high) = ends
        .map(|end| end.clamp(MOST.0, MOST.1))
        .fold((-0.02, 0.02), |(low, high): (f64, f64), end| {
            (low.min(end), high.max(end))
        });
    let room = (high - low) * 0.06;
    Axis::linear(Unit::Share, low - room, high + room)
}

fn noise(frame: &mut Frame, panel: &Panel) {
    if let [(left, _), (right, _)] = rows::bar(panel, 0.0, -NOISE, NOISE)[..] {
        let band = Rect {
            left,
            right,
            ..panel.rect
        };
        frame.scene.rect(band, Ink::Shade, 0.5);
    }
    rows::upright(frame, panel, 0.0, Stroke::solid(Ink::Axis, 1.2));
}

fn one(frame: &mut Frame, panel: &Panel, y: f32, line: &Line<'_>, change: &Change) {
    let scene = &mut frame.scene;
    if change.middle > MOST.1 {
        let words = format!("{:+.0} %", change.middle * 100.0);
        let style = Style::new(10.0, Ink::Text).anchored(Anchor::End).rimmed();
        scene.text((panel.rect.right - 2.0, y + 3.6), words, style);
        return;
    }
    if let Some((low, high)) = change.interval {
        let stroke = Stroke::solid(line.ink, 1.8);
        let ends = rows::bar(panel, y, low, high);
        for &(x, _) in &ends {
            scene.line(vec![(x, y - 3.0), (x, y + 3.0)], stroke);
        }
        scene.line(ends, stroke);
    }
    if let Some(&at) = rows::bar(panel, y, change.middle, change.middle).first() {
        scene.mark(at, line.shape, 7.0, line.ink, false);
    }
}

/// Exactly what is drawn.
pub(super) fn csv(subject: &Subject, results: &Results) -> String {
    let lines = rows::lines(subject, results);
    let found: Vec<(&str, Vec<Option<Change>>)> = MEASURES
        .iter()
        .map(|measure| (measure.title, changes(measure, &lines)))
        .collect();
    table(&lines, &found)
}

fn table(lines: &[Line<'_>], found: &[(&str, Vec<Option<Change>>)]) -> String {
    let mut text = String::from("measure,driver,algorithm,change,ci_low,ci_high,n\n");
    for (measure, changes) in found {
        for (line, change) in lines.iter().zip(changes) {
            let Some(change) = change else { continue };
            let (low, high) = change
                .interval
                .map_or((String::new(), String::new()), |(low, high)| {
                    (low.to_string(), high.to_string())
                });
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{measure},{},{},{},{low},{high},{}",
                line.driver, line.algorithm, change.middle, change.n
            );
        }
    }
    text
}
