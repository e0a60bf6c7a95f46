//! Delivered bytes a second over time, a panel for each algorithm.

use super::axis::Axis;
use super::frame::{Frame, Sample, label_inside};
use super::panel::{Grid, Panel};
use super::{LIMIT, driver_legend, drivers_of, ink, mean, quantile, series, steps, stroke_of};
use crate::report::format::{Scale, Unit, chosen, quantity};
use crate::report::scene::{Anchor, Ink, Rect, Scene, Shape, Stroke, Style};
use crate::report::subject::Subject;
use crate::results::{Results, SeriesRow};

type Points = Vec<(f64, f64)>;
type Runs<'a> = std::collections::BTreeMap<u32, Vec<&'a SeriesRow>>;

/// The picture `throughput.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let series = series(results);
    let high = ceiling(subject, series.values());
    frame.legend(&legend(subject, series.values().any(|runs| runs.len() > 1)));
    let grid = Grid {
        x: Axis::linear(Unit::Seconds, 0.0, subject.duration_s),
        y: Axis::linear(Unit::Rate, 0.0, high),
        x_title: "Time since the start",
        y_title: "Throughput",
        least: if subject.algorithms.len() > 6 {
            250.0
        } else {
            360.0
        },
        height: if subject.algorithms.len() > 2 {
            120.0
        } else {
            200.0
        },
    };
    let most = most_dropped(results);
    for (tested, place) in subject
        .algorithms
        .iter()
        .zip(grid.places(frame, subject.algorithms.len()))
    {
        let algorithm = tested.label.as_str();
        let ink = ink(subject, algorithm);
        // Where nothing was dropped the room stays, so that all panels have one scale.
        let (panel, below) = split(&grid, place, most > 0.0, usual_drops(results, algorithm));
        panel.frame(&mut frame.scene, below.as_ref());
        limit(&mut frame.scene, &panel, subject);
        let drivers = drivers_of(subject, results, algorithm);
        for (rank, driver) in drivers.iter().enumerate() {
            if let Some(runs) = series.get(&(*driver, algorithm)) {
                let stroke = stroke_of(subject, results, driver, algorithm);
                runs_of_driver(&mut frame.scene, &panel, runs, rank == 0, stroke, subject);
                if let Some(below) = &below {
                    drops(&mut frame.scene, below, runs, stroke, subject);
                }
            }
        }
        limit_labels(&mut frame.scene, &panel, subject);
        panel.heading(
            &mut frame.scene,
            ink,
            algorithm,
            &figures(subject, results, algorithm),
        );
    }
}

/// How to read it.
pub(super) fn explanation(subject: &Subject, results: &Results) -> String {
    let users = match subject.users.len() {
        0 | 1 => String::new(),
        users => format!(" All {users} users together."),
    };
    let peak = results
        .series
        .iter()
        .map(|row| row.offered_Bps)
        .fold(0.0, f64::max);
    let dropped = match most_dropped(results) {
        0.0 => String::new(),
        most => format!(
            " Below, each in a scale of its own: what was dropped, at most {}.",
            quantity(Unit::Rate, most, 3)
        ),
    };
    format!(
        "Steps: bytes delivered in each bin of repetition 0. A triangle marks a bin above the panel. \
         Offered at most {}.{dropped}{users}",
        quantity(Unit::Rate, peak, 3)
    )
}

fn legend(subject: &Subject, repeated: bool) -> Vec<(Sample, &str)> {
    let mut entries = driver_legend(subject);
    if repeated {
        entries.push((
            Sample::Band(Ink::Series(0), 0.18),
            "least to most of all repetitions",
        ));
    }
    entries.push((Sample::Line(SMOOTHED), "smoothed, 7/8 old + 1/8 new"));
    if !subject.limit.is_empty() {
        entries.push((Sample::Line(LIMIT), "limit"));
    }
    if subject.has_rate_changes() {
        entries.push((Sample::Line(CHANGE), "rate changes"));
    }
    entries
}

const SMOOTHED: Stroke = Stroke::solid(Ink::Axis, 1.0);
const CHANGE: Stroke = Stroke::solid(Ink::Muted, 1.0);

/// How high the panels reach: where most bins of most algorithms lie, and twice
/// the limit at least, so that one algorithm that lets everything through, or a
/// first burst, does not press all others to the floor.
fn ceiling<'a>(subject: &Subject, series: impl Iterator<Item = &'a Runs<'a>>) -> f64 {
    let limit = subject
        .limit
        .iter()
        .map(|&(_, rate)| rate)
        .fold(0.0, f64::max);
    let mut highest = 0.0_f64;
    let typical = series
        .filter_map(|runs| runs.values().next())
        .map(|rows| {
            let values: Vec<f64> = rows.iter().map(|row| row.delivered_Bps).collect();
            highest = values.iter().copied().fold(highest, f64::max);
            quantile(values, 0.95)
        })
        .collect();
    let wanted = (1.2 * quantile(typical, 0.6)).max(2.0 * limit);
    let high = if highest <= 1.6 * wanted {
        1.05 * highest.max(1.1 * limit)
    } else {
        wanted
    };
    if high > 0.0 { high } else { 1.0 }
}

/// One driver's lines: the first repetition in steps, the range of all of them
/// behind it, and for the first driver the smoothed rate.
fn runs_of_driver(
    scene: &mut Scene,
    panel: &Panel,
    runs: &Runs<'_>,
    is_first: bool,
    stroke: Stroke,
    subject: &Subject,
) {
    let Some(first) = runs.values().next() else {
        return;
    };
    let in_steps = |points: Points| steps(thinned(panel, points), subject.duration_s);
    if runs.len() > 1 {
        let (low, high) = extent(runs);
        panel.band(scene, &in_steps(low), &in_steps(high), stroke.ink, 0.18);
    }
    if is_first {
        let middle = |row: &&SeriesRow| (row.t_s + subject.bin_s / 2.0, row.smoothed_Bps);
        panel.line(
            scene,
            &thinned(panel, first.iter().map(middle).collect()),
            SMOOTHED,
        );
    }
    let delivered: Points = first
        .iter()
        .map(|row| (row.t_s, row.delivered_Bps))
        .collect();
    let thin = Stroke {
        width: stroke.width * 0.8,
        ..stroke
    };
    panel.line(scene, &in_steps(delivered.clone()), thin);
    for &(t, rate) in thinned(panel, delivered)
        .iter()
        .filter(|(_, rate)| *rate > panel.y.high())
    {
        let x = panel
            .at(t + subject.bin_s / 2.0, rate)
            .0
            .min(panel.rect.right);
        scene.mark(
            (x, panel.rect.top + 4.0),
            Shape::Up,
            6.0,
            stroke.ink,
            !is_first,
        );
    }
}

/// What is dropped stands in a panel of its own below, as high as this.
const BELOW: f32 = 24.0;
/// Between the two.
const GAP: f32 = 7.0;

/// The largest rate at which anything was dropped, of the first repetitions.
fn most_dropped(results: &Results) -> f64 {
    let first = results.series.iter().filter(|row| row.repetition == 0);
    first.filter_map(|row| row.dropped_Bps).fold(0.0, f64::max)
}

/// As high as most bins of `algorithm` reach in which anything was dropped: the losses of a slow
/// start do not press all others to the floor. 0 if nothing was dropped.
fn usual_drops(results: &Results, algorithm: &str) -> f64 {
    let first = results.series.iter().filter(|row| row.repetition == 0);
    let own = first.filter(|row| row.algorithm == algorithm);
    let some = own.filter_map(|row| row.dropped_Bps.filter(|rate| *rate > 0.0));
    quantile(some.collect(), 0.95)
}

/// The panel of the throughput, and that of what was dropped if anything was.
fn split(grid: &Grid<'_>, place: Rect, room: bool, usual: f64) -> (Panel, Option<Panel>) {
    let whole = Panel {
        rect: place,
        x: grid.x,
        y: grid.y,
    };
    if !room {
        return (whole, None);
    }
    let upper = Rect {
        bottom: place.bottom - BELOW - GAP,
        ..place
    };
    let lower = Rect {
        top: place.bottom - BELOW,
        ..place
    };
    let below = Panel {
        rect: lower,
        x: grid.x,
        y: Axis::linear(Unit::Rate, 0.0, usual * 1.2).in_scale_of(&grid.y),
    };
    let panel = Panel {
        rect: upper,
        ..whole
    };
    (panel, (usual > 0.0).then_some(below))
}

/// What was dropped in each bin of the first repetition.
fn drops(scene: &mut Scene, panel: &Panel, runs: &Runs<'_>, stroke: Stroke, subject: &Subject) {
    let Some(first) = runs.values().next() else {
        return;
    };
    let dropped: Points = first
        .iter()
        .filter_map(|row| Some((row.t_s, row.dropped_Bps?)))
        .collect();
    if dropped.iter().all(|(_, rate)| *rate <= 0.0) {
        return;
    }
    let high = steps(thinned(panel, dropped), subject.duration_s);
    let low: Points = high.iter().map(|(t, _)| (*t, 0.0)).collect();
    panel.band(scene, &low, &high, stroke.ink, 0.45);
    panel.line(scene, &high, Stroke::solid(stroke.ink, 1.0));
}

/// The least and the largest rate of all repetitions, bin by bin.
fn extent(runs: &Runs<'_>) -> (Points, Points) {
    let bins = runs.values().map(Vec::len).min().unwrap_or(0);
    (0..bins)
        .filter_map(|bin| {
            let values = runs.values().filter_map(|rows| rows.get(bin));
            let t = runs.values().next()?.get(bin)?.t_s;
            let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), row| {
                (low.min(row.delivered_Bps), high.max(row.delivered_Bps))
            });
            Some(((t, low), (t, high)))
        })
        .unzip()
}

/// No more points than the panel has room for: neighbours are averaged, which keeps the sum of bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of bins a panel is wide"
)]
fn thinned(panel: &Panel, points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let room = (panel.rect.width() as usize).max(1);
    let each = points.len().div_ceil(room).max(1);
    if each == 1 {
        return points;
    }
    points
        .chunks(each)
        .map(|chunk| {
            (
                chunk[0].0,
                chunk.iter().map(|point| point.1).sum::<f64>() / chunk.len() as f64,
            )
        })
        .collect()
}

fn limit(scene: &mut Scene, panel: &Panel, subject: &Subject) {
    for &(t, _) in subject.limit.iter().skip(1) {
        panel.line(scene, &[(t, 0.0), (t, panel.y.high())], CHANGE);
    }
    panel.line(
        scene,
        &steps(subject.limit.iter().copied(), subject.duration_s),
        LIMIT,
    );
}

/// What the limit is, written at its line.
fn limit_labels(scene: &mut Scene, panel: &Panel, subject: &Subject) {
    let style = Style::new(10.5, Ink::Text).anchored(Anchor::End).rimmed();
    for (at, &(t, rate)) in subject.limit.iter().enumerate() {
        let end = subject
            .limit
            .get(at + 1)
            .map_or(subject.duration_s, |next| next.0);
        if end <= t {
            continue;
        }
        let (x, y) = panel.at(end, rate);
        label_inside(
            scene,
            (x - 3.0, y - 4.0),
            &chosen(Unit::Rate, rate),
            style,
            panel.rect,
        );
    }
}

/// "model 4.98, proxy 4.97, peak 52.2 kB/s".
fn figures(subject: &Subject, results: &Results, algorithm: &str) -> String {
    let peak = results
        .series
        .iter()
        .filter(|row| row.algorithm == algorithm && row.repetition == 0)
        .map(|row| row.delivered_Bps)
        .fold(0.0, f64::max);
    let means: Vec<(&str, f64)> = subject
        .drivers
        .iter()
        .filter_map(|driver| {
            Some((
                driver.as_str(),
                mean(results, driver, algorithm, |row| Some(row.throughput_Bps))?,
            ))
        })
        .collect();
    let Some(&(_, first)) = means.first() else {
        return String::new();
    };
    let scale = Scale::of(Unit::Rate, first);
    let means: Vec<String> = means
        .iter()
        .map(|(driver, mean)| format!("{driver} {}", scale.number(*mean, 3)))
        .collect();
    format!(
        "{}, peak {} {}",
        means.join(", "),
        scale.number(peak, 3),
        scale.symbol()
    )
}
