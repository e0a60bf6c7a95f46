//! The smallest bucket at each rate, both axes logarithmic.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::Grid;
use super::{LIMIT, WIDE};
use crate::fit::CurvePoint;
use crate::report::format::{Unit, chosen, quantity};
use crate::report::scene::{Anchor, Ink, Scene, Shape, Stroke, Style};

const TRACE: Stroke = Stroke::solid(Ink::Series(0), 2.2);
const FITTED: Stroke = Stroke::solid(Ink::Series(1), 1.8).dashed(&[6.0, 3.0]);

/// What the picture is of.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// The trace's name.
    pub name: &'a str,
    /// The generator that was fitted, in a few words.
    pub generator: &'a str,
    /// Its mean rate in bytes a second.
    pub mean: f64,
    /// Its largest packet in bytes.
    pub largest: f64,
    /// From the lowest rate to the highest.
    pub points: &'a [CurvePoint],
}

/// The picture `burstiness.png`.
pub(in crate::report) fn scene(curve: &Curve<'_>) -> Scene {
    let mut frame = Frame::new(WIDE);
    frame.head(
        "Which bucket the traffic needs at each rate",
        "A point (x, y) reads: a token bucket of rate x passes everything if it is y bytes deep, and not if it \
         is shallower. The rates begin at the mean; no bucket is smaller than the largest packet.",
    );
    frame.legend(&[
        (Sample::Line(TRACE), "the trace"),
        (Sample::Line(FITTED), curve.generator),
        (Sample::Line(LIMIT), "largest packet"),
    ]);
    let values = || curve.points.iter().flat_map(|p| [p.trace, p.fitted]);
    let (low, high) = bounds(values().filter(|value| *value > 0.0), curve.largest);
    let rates = curve.points.iter().map(|point| as_rate(point.rate));
    let (slow, fast) = bounds(rates, curve.mean);
    let grid = Grid {
        x: Axis::log_within(Unit::Rate, slow, fast),
        y: Axis::log(Unit::Bytes, low, high),
        x_title: "Rate, logarithmic",
        y_title: "Smallest bucket, logarithmic",
        least: 300.0,
        height: 380.0,
    };
    for panel in grid.lay(&mut frame, 1) {
        let line = |of: fn(&CurvePoint) -> f64| -> Vec<(f64, f64)> {
            let points = curve.points.iter().filter(|point| of(point) > 0.0);
            points
                .map(|point| (as_rate(point.rate), of(point)))
                .collect()
        };
        let across = [
            (panel.x.low(), curve.largest),
            (panel.x.high(), curve.largest),
        ];
        panel.line(&mut frame.scene, &across, LIMIT);
        panel.line(&mut frame.scene, &line(|point| point.fitted), FITTED);
        let points = line(|point| point.trace);
        panel.line(&mut frame.scene, &points, TRACE);
        for (at, point) in points.iter().enumerate() {
            if at % 10 == 0 {
                let place = panel.at(point.0, point.1);
                frame
                    .scene
                    .mark(place, Shape::Circle, 7.0, Ink::Series(0), false);
                let words = format!(
                    "{} at {}",
                    quantity(Unit::Bytes, point.1, 3),
                    quantity(Unit::Rate, point.0, 3)
                );
                // The last one has no room at its right.
                let (x, anchor) = if at + 1 == points.len() {
                    (place.0, Anchor::End)
                } else {
                    (place.0 + 7.0, Anchor::Start)
                };
                frame.scene.text(
                    (x, place.1 - 9.0),
                    words,
                    Style::new(11.0, Ink::Text).anchored(anchor).rimmed(),
                );
            }
        }
    }
    frame.foot(&format!(
        "{} · mean rate {} · largest packet {} · {} {}",
        curve.name,
        quantity(Unit::Rate, curve.mean, 4),
        chosen(Unit::Bytes, curve.largest),
        crate::report::TOOL,
        crate::report::VERSION,
    ));
    frame.finish()
}

fn bounds(values: impl Iterator<Item = f64>, also: f64) -> (f64, f64) {
    values.fold((also, also), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a place on a picture")]
const fn as_rate(rate: u64) -> f64 {
    rate as f64
}
