//! Cumulative bytes against the envelope, the whole run beside its first seconds.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::{Grid, Panel, gutter};
use super::{Curves, LIMIT, driver_stroke, ink};
use crate::report::format::{Scale, Unit, chosen};
use crate::report::scene::{Anchor, Ink, Rect, Scene, Stroke, Style};
use crate::report::subject::Subject;
use crate::results::Results;

const OFFERED: Stroke = Stroke::solid(Ink::Shade, 2.2);

/// The picture `arrival-curve.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let curves = Curves::of(&results.arrival_curve);
    frame.legend(&legend(subject));
    let whole = Whole::of(subject, &curves);
    let grid = Grid {
        x: whole.x,
        y: whole.y,
        x_title: "Time since the start",
        y_title: "Bytes so far",
        least: if subject.algorithms.len() > 2 {
            380.0
        } else {
            600.0
        },
        height: if subject.algorithms.len() > 2 {
            130.0
        } else {
            200.0
        },
    };
    let places = grid.places(frame, subject.algorithms.len());
    for (tested, place) in subject.algorithms.iter().zip(places) {
        let (left, right) = whole.split(place);
        for panel in [&left, &right] {
            panel.axes(&mut frame.scene);
            lines(&mut frame.scene, panel, subject, &curves, &tested.label);
        }
        let at = (right.rect.left, right.rect.top - 5.0);
        let words = format!("first {}", chosen(Unit::Seconds, right.x.high()));
        frame.scene.text(
            at,
            words,
            Style::new(11.0, Ink::Muted).anchored(Anchor::Start),
        );
        let figures = figures(subject, &curves, &tested.label);
        left.heading(
            &mut frame.scene,
            ink(subject, &tested.label),
            &tested.label,
            &figures,
        );
    }
}

/// How to read it.
pub(super) fn explanation(subject: &Subject) -> String {
    format!(
        "Delivered bytes of repetition 0, added up. Distance below the envelope {} + {} × t is room left; \
         above it the limit was broken. Distance between offered and delivered: across is delay, down is backlog \
         and loss.",
        chosen(Unit::Bytes, subject.burst_bytes),
        chosen(Unit::Rate, subject.rate_Bps)
    )
}

fn legend(subject: &Subject) -> Vec<(Sample, &str)> {
    let mut entries: Vec<(Sample, &str)> = subject
        .drivers
        .iter()
        .enumerate()
        .map(|(rank, driver)| {
            (
                Sample::Line(driver_stroke(rank, Ink::Series(0))),
                driver.as_str(),
            )
        })
        .collect();
    entries.push((Sample::Line(OFFERED), "offered"));
    entries.push((Sample::Line(LIMIT), "envelope"));
    entries
}

/// The axes of the two halves of each panel.
struct Whole {
    x: Axis,
    y: Axis,
    zoom_x: Axis,
    zoom_y: Axis,
}

impl Whole {
    fn of(subject: &Subject, curves: &Curves<'_>) -> Self {
        let end = subject.duration_s.max(1e-9);
        let envelope = curves
            .all("envelope")
            .filter_map(|points| points.last())
            .map(|p| p.1)
            .fold(0.0, f64::max);
        let passed = curves
            .all("delivered")
            .filter_map(|points| points.last())
            .map(|p| p.1)
            .fold(0.0, f64::max);
        let high = if envelope > 0.0 {
            envelope * 1.1
        } else {
            passed * 1.05
        };
        let first = round(
            6.0 * subject.burst_bytes / subject.rate_Bps.max(1e-9),
            end / 40.0,
            end / 4.0,
        );
        let zoom = (subject.burst_bytes + subject.rate_Bps * first) * 1.15;
        let (x, y) = (
            Axis::linear(Unit::Seconds, 0.0, end),
            Axis::linear(Unit::Bytes, 0.0, high),
        );
        Self {
            x,
            y,
            zoom_x: Axis::linear(Unit::Seconds, 0.0, first).in_scale_of(&x),
            zoom_y: Axis::linear(Unit::Bytes, 0.0, zoom).in_scale_of(&y),
        }
    }

    fn split(&self, place: Rect) -> (Panel, Panel) {
        let middle = gutter(&self.zoom_y) + 10.0;
        let half = (place.width() - middle) * 0.58;
        let left = Rect {
            right: place.left + half,
            ..place
        };
        let right = Rect {
            left: left.right + middle,
            ..place
        };
        (
            Panel {
                rect: left,
                x: self.x,
                y: self.y,
            },
            Panel {
                rect: right,
                x: self.zoom_x,
                y: self.zoom_y,
            },
        )
    }
}

/// A round number near `wanted`, kept between `low` and `high`.
fn round(wanted: f64, low: f64, high: f64) -> f64 {
    let wanted = wanted.clamp(low, high.max(low));
    let power = 10f64.powf(wanted.log10().floor());
    [5.0, 4.0, 3.0, 2.0, 1.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|&x| x <= wanted)
        .unwrap_or(power)
}

fn lines(
    scene: &mut Scene,
    panel: &Panel,
    subject: &Subject,
    curves: &Curves<'_>,
    algorithm: &str,
) {
    for (rank, driver) in subject.drivers.iter().enumerate() {
        if rank == 0 {
            panel.line(scene, curves.get(driver, algorithm, "offered"), OFFERED);
            panel.line(scene, curves.get(driver, algorithm, "envelope"), LIMIT);
        }
        let delivered = curves.get(driver, algorithm, "delivered");
        panel.line(
            scene,
            delivered,
            driver_stroke(rank, ink(subject, algorithm)),
        );
    }
}

/// "model 102, proxy 103 kB".
fn figures(subject: &Subject, curves: &Curves<'_>, algorithm: &str) -> String {
    let last = |driver: &str| {
        curves
            .get(driver, algorithm, "delivered")
            .last()
            .map(|point| point.1)
    };
    let Some(first) = subject.drivers.iter().find_map(|driver| last(driver)) else {
        return String::new();
    };
    let scale = Scale::of(Unit::Bytes, first);
    let passed: Vec<String> = subject
        .drivers
        .iter()
        .filter_map(|driver| Some(format!("{driver} {}", scale.number(last(driver)?, 3))))
        .collect();
    format!("{} {}", passed.join(", "), scale.symbol())
}
