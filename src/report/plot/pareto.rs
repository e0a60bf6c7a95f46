//! `pareto.png`: what one gains against what it costs, every run a faint point.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::{Grid, Panel};
use super::rows;
use crate::report::format::{Unit, chosen};
use crate::report::scene::{Anchor, Ink, Point, Rect, Scene, Shape, Stroke, Style};
use crate::report::subject::Subject;
use crate::report::{PIXELS, ReportError, TOOL, VERSION};
use crate::results::{Results, Row};
use crate::statistics::{Interval, Summary};

/// One setting on the picture.
#[derive(Clone, Copy, Debug)]
pub struct Dot<'a> {
    /// Its place among the algorithms.
    pub rank: usize,
    /// Its algorithm.
    pub label: &'a str,
    /// Its parameters.
    pub name: &'a str,
    /// Its runs.
    pub rows: &'a [Row],
    /// Whether it is the choice.
    pub chosen: bool,
}

/// Of fewer runs an interval covers the whole panel and says nothing.
const LEAST_RUNS: usize = 5;
/// With more settings than these, a mean has no cross of its intervals.
const MOST_CROSSES: usize = 40;

/// The bounds that were asked for, if any: p99 delay in microseconds, overshoot in bytes.
pub type Bounds = [Option<f64>; 2];

/// One cost, with the words for it, and what is had for it.
struct Cost {
    title: &'static str,
    unit: Unit,
    figure: fn(&Row) -> Option<f64>,
    gain: Gain,
}

/// What stands upright.
struct Gain {
    title: &'static str,
    figure: fn(&Row) -> Option<f64>,
    /// Whether less of it is better.
    is_cost: bool,
}

const USED: Gain = Gain {
    title: "Utilisation",
    figure: |row| row.utilisation,
    is_cost: false,
};

const COSTS: [Cost; 2] = [
    Cost {
        title: "p99 delay (logarithmic)",
        unit: Unit::Micros,
        figure: |row| row.delay_p99_us,
        gain: USED,
    },
    Cost {
        title: "overshoot b*(r) (logarithmic)",
        unit: Unit::Bytes,
        figure: |row| row.overshoot_bytes,
        gain: USED,
    },
];

/// What a TCP pays with where its limiter polices, and where it shapes.
const LOOP: Cost = Cost {
    title: "p99 round trip of TCP (logarithmic)",
    unit: Unit::Micros,
    figure: |row| row.rtt_p99_us,
    gain: Gain {
        title: "Share lost",
        figure: |row| row.rtt_p99_us.and(row.loss_ratio),
        is_cost: true,
    },
};

/// The picture as PNG, and a CSV of exactly what is drawn.
///
/// # Errors
/// If it cannot be drawn.
pub fn pareto(
    dots: &[Dot<'_>],
    bounds: Bounds,
    footer: &str,
) -> Result<(Vec<u8>, String), ReportError> {
    let mut frame = Frame::new(super::WIDE);
    frame.head(
        "Utilisation against what it costs",
        "Each faint point is a run, each mark the mean of a setting, by shape and colour; up and to the left is better. The line joins the settings that none \
         beats in both; dashed: the bound that was asked for. A cost of zero stands at the left edge.",
    );
    let csv = body(&mut frame, dots, bounds);
    frame.foot(&format!("{footer} · {TOOL} {VERSION}"));
    let png = frame
        .finish()
        .png(PIXELS)
        .map_err(|source| ReportError::Draw {
            name: "pareto.png".to_owned(),
            source: Box::new(source),
        })?;
    Ok((png, csv))
}

/// How to read it in the report of a scenario.
pub(in crate::report) const RUNS: &str = "Each faint point is a run, each mark the mean of an algorithm, by shape and \
     colour, with the cross of its 95 % intervals from five runs on; the arrow points to where it is better. The line joins those that none beats in both. A cost of zero stands at the left edge.";

/// The runs of a report, an algorithm under a driver for a setting; returns what is drawn as CSV.
pub(super) fn of_results(frame: &mut Frame, subject: &Subject, results: &Results) -> String {
    let lines = rows::lines(subject, results);
    let runs: Vec<Vec<Row>> = lines
        .iter()
        .map(|line| line.rows.iter().map(|row| (*row).clone()).collect())
        .collect();
    let dots: Vec<Dot<'_>> = lines
        .iter()
        .zip(&runs)
        .map(|(line, rows)| Dot {
            rank: subject.rank(line.algorithm),
            label: line.algorithm,
            name: &line.name,
            rows,
            chosen: false,
        })
        .collect();
    body(frame, &dots, [None, None])
}

/// Legend and panels; returns what is drawn as CSV.
fn body(frame: &mut Frame, dots: &[Dot<'_>], bounds: Bounds) -> String {
    legend(frame, dots);
    let mut csv = String::from("panel,what,algorithm,setting,x,y,x_low,x_high,y_low,y_high\n");
    let bounded: Vec<(&Cost, Option<f64>)> = COSTS.iter().zip(bounds).collect();
    panels(frame, dots, &bounded, &mut csv);
    let simulated: Vec<Dot<'_>> = dots
        .iter()
        .filter(|dot| dot.rows.iter().any(|row| row.rtt_p99_us.is_some()))
        .copied()
        .collect();
    if !simulated.is_empty() {
        panels(frame, &simulated, &[(&LOOP, None)], &mut csv);
    }
    csv
}

/// Panels with one upright axis.
fn panels(frame: &mut Frame, dots: &[Dot<'_>], all: &[(&Cost, Option<f64>)], csv: &mut String) {
    let Some((first, _)) = all.first() else {
        return;
    };
    let y = gains(&first.gain, dots);
    let grid = Grid {
        x: Axis::log(Unit::Micros, 1.0, 10.0),
        y,
        x_title: "",
        y_title: first.gain.title,
        least: 420.0,
        height: 330.0,
    };
    let rects = grid.places(frame, all.len());
    for ((cost, bound), rect) in all.iter().zip(rects) {
        let panel = Panel {
            rect,
            x: costs(cost, dots, *bound),
            y,
        };
        panel.axes(&mut frame.scene);
        draw(&mut frame.scene, &panel, cost, dots, *bound, csv);
    }
}

fn legend(frame: &mut Frame, dots: &[Dot<'_>]) {
    let mut entries: Vec<(Sample, &str)> = Vec::new();
    for dot in dots {
        if entries.iter().all(|(_, label)| *label != dot.label) {
            let (shape, hollow) = rows::shape(dot.rank);
            entries.push((
                Sample::Mark(shape, Ink::Series(dot.rank), hollow),
                dot.label,
            ));
        }
    }
    entries.push((Sample::Line(FRONT), "not beaten in both"));
    frame.legend(&entries);
}

const FRONT: Stroke = Stroke::solid(Ink::Text, 1.3);

fn gains(gain: &Gain, dots: &[Dot<'_>]) -> Axis {
    let all = dots
        .iter()
        .flat_map(|dot| dot.rows)
        .filter_map(|row| (gain.figure)(row));
    if gain.is_cost {
        return Axis::linear(Unit::Share, 0.0, all.fold(0.0, f64::max).max(1e-4) * 1.08);
    }
    let (low, high) = all.fold((1.0_f64, 0.0_f64), |(low, high), one| {
        (low.min(one), high.max(one))
    });
    let room = ((high - low) * 0.08).max(0.005);
    Axis::linear(Unit::Share, (low - room).max(0.0), high + room)
}

fn costs(cost: &Cost, dots: &[Dot<'_>], bound: Option<f64>) -> Axis {
    let all = dots
        .iter()
        .flat_map(|dot| dot.rows)
        .filter_map(cost.figure)
        .chain(bound);
    let (low, high) = all
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0_f64), |(low, high), one| {
            (low.min(one), high.max(one))
        });
    if high > 0.0 {
        Axis::log(cost.unit, low.max(high * 1e-6), high)
    } else {
        Axis::log(cost.unit, 1.0, 10.0)
    }
}

fn draw(
    scene: &mut Scene,
    panel: &Panel,
    cost: &Cost,
    dots: &[Dot<'_>],
    bound: Option<f64>,
    csv: &mut String,
) {
    let place = |x: f64, y: f64| panel.at(x.max(panel.x.low()), y);
    let mut note = |what: &str, dot: &Dot<'_>, x: f64, y: f64, ends: [Option<Interval>; 2]| {
        let ends: String = ends
            .iter()
            .map(|ends| ends.map_or_else(|| ",,".to_owned(), |e| format!(",{},{}", e.low, e.high)))
            .collect();
        let setting = dot.name.replace('"', "");
        csv.push_str(&format!(
            "{},{what},{},\"{setting}\",{x},{y}{ends}\n",
            cost.title.trim_end_matches(" (logarithmic)"),
            dot.label
        ));
    };
    for dot in dots {
        for (x, y) in dot
            .rows
            .iter()
            .filter_map(|row| (cost.figure)(row).zip((cost.gain.figure)(row)))
        {
            faint(scene, place(x, y), Ink::Series(dot.rank));
            note("run", dot, x, y, [None, None]);
        }
    }
    let crosses = dots.len() <= MOST_CROSSES;
    let mut means: Vec<(&Dot<'_>, f64, f64)> = Vec::new();
    for dot in dots {
        let found = mean(dot.rows, cost.figure).zip(mean(dot.rows, cost.gain.figure));
        let Some(((x, across), (y, up))) = found else {
            continue;
        };
        means.push((dot, x, y));
        let ends = if crosses { [across, up] } else { [None, None] };
        note("mean", dot, x, y, ends);
        cross(scene, panel, (x, y), ends, Ink::Series(dot.rank));
    }
    let mut order: Vec<(f64, f64)> = means.iter().map(|(_, x, y)| (*x, *y)).collect();
    let is_better = |one: f64, other: f64| {
        if cost.gain.is_cost {
            one < other
        } else {
            one > other
        }
    };
    let upright = |one: f64, other: f64| {
        let less_first = one.total_cmp(&other);
        if cost.gain.is_cost {
            less_first
        } else {
            less_first.reverse()
        }
    };
    order.sort_by(|one, other| one.0.total_cmp(&other.0).then(upright(one.1, other.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for (x, y) in order {
        if front.last().is_none_or(|(_, best)| is_better(y, *best)) {
            front.push((x, y));
        }
    }
    let line: Vec<Point> = front.iter().map(|(x, y)| place(*x, *y)).collect();
    scene.line(line, FRONT);
    for (dot, x, y) in &means {
        let (shape, hollow) = rows::shape(dot.rank);
        let size = if dots.len() > 40 { 5.5 } else { 9.0 };
        scene.mark(place(*x, *y), shape, size, Ink::Series(dot.rank), hollow);
    }
    if let Some(bound) = bound {
        let x = place(bound, panel.y.low()).0;
        let line = vec![(x, panel.rect.top), (x, panel.rect.bottom)];
        scene.line(line, Stroke::solid(Ink::Limit, 1.4).dashed(&[5.0, 3.0]));
        let words = chosen(cost.unit, bound);
        scene.text(
            (x - 4.0, panel.rect.bottom - 6.0),
            words,
            Style::new(11.0, Ink::Text).anchored(Anchor::End).rimmed(),
        );
    }
    for (dot, x, y) in means.iter().filter(|(dot, ..)| dot.chosen) {
        let at = place(*x, *y);
        scene.mark(at, Shape::Circle, 15.0, Ink::Text, true);
        let (shape, hollow) = rows::shape(dot.rank);
        scene.mark(at, shape, 6.5, Ink::Series(dot.rank), hollow);
        let style = Style::new(12.0, Ink::Text).bold().rimmed();
        let words = format!("chosen: {}", dot.label);
        if at.0 > panel.rect.left + panel.rect.width() * 0.55 {
            scene.text(
                (at.0 - 6.0, at.1 - 14.0),
                words,
                style.anchored(Anchor::End),
            );
        } else {
            scene.text((at.0 + 6.0, at.1 - 14.0), words, style);
        }
    }
    let Rect {
        left, top, bottom, ..
    } = panel.rect;
    if cost.gain.is_cost {
        better(scene, (left + 12.0, bottom - 12.0), -1.0);
    } else {
        better(scene, (left + 12.0, top + 12.0), 1.0);
    }
    scene.text(
        (left, top - 8.0),
        format!("Against {}", cost.title),
        Style::new(13.0, Ink::Text).bold(),
    );
}

/// An arrow to the corner that one wants to be in: from below, or (`down` = -1) from above.
fn better(scene: &mut Scene, (x, y): Point, down: f32) {
    let stroke = Stroke::solid(Ink::Muted, 1.6);
    scene.line(vec![(x + 16.0, y + 16.0 * down), (x, y)], stroke);
    scene.line(vec![(x + 7.0, y), (x, y), (x, y + 7.0 * down)], stroke);
    let style = Style::new(12.0, Ink::Muted).rimmed();
    scene.text((x + 20.0, y + 20.0 * down), "better", style);
}

/// A run.
fn faint(scene: &mut Scene, (x, y): Point, ink: Ink) {
    const R: f32 = 2.2;
    let corners = vec![(x - R, y), (x, y - R), (x + R, y), (x, y + R)];
    scene.area(corners, ink, 0.3);
}

/// The intervals of a mean across and up, as far as they lie in the panel.
fn cross(
    scene: &mut Scene,
    panel: &Panel,
    (x, y): (f64, f64),
    ends: [Option<Interval>; 2],
    ink: Ink,
) {
    let inside = |x: f64, y: f64| {
        let (x, y) = panel.at(x.max(panel.x.low()), y);
        let Rect {
            left,
            top,
            right,
            bottom,
        } = panel.rect;
        (x.clamp(left, right), y.clamp(top, bottom))
    };
    let stroke = Stroke::solid(ink, 1.2);
    if let Some(Interval { low, high }) = ends[0] {
        scene.line(vec![inside(low, y), inside(high, y)], stroke);
    }
    if let Some(Interval { low, high }) = ends[1] {
        scene.line(vec![inside(x, low), inside(x, high)], stroke);
    }
}

/// The mean, with its 95 % interval if there are runs enough.
fn mean(rows: &[Row], figure: impl Fn(&Row) -> Option<f64>) -> Option<(f64, Option<Interval>)> {
    let values: Vec<f64> = rows.iter().filter_map(figure).collect();
    let found = Summary::without_bootstrap(&values)?;
    Some((found.mean, found.t.filter(|_| found.n >= LEAST_RUNS)))
}
