//! Cumulative bytes against the envelope, the whole run beside its worst burst.

use std::fmt::Write as _;

use super::axis::Axis;
use super::frame::{Frame, SMALL, Sample, fitted};
use super::panel::{Grid, Panel, gutter};
use super::{Curves, LIMIT, driver_legend, drivers_of, ink, stroke_of};
use crate::report::format::{Scale, Unit, chosen, quantity};
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
        left.axes(&mut frame.scene);
        lines(
            &mut frame.scene,
            &left,
            subject,
            results,
            &curves,
            &tested.label,
        );
        let worst = Worst::of(subject, results, &curves, &tested.label);
        let right = Panel {
            y: worst
                .as_ref()
                .map_or(right.y, |it| it.axis(subject, &right.y)),
            ..right
        };
        right.axes(&mut frame.scene);
        if let Some(worst) = worst {
            worst.draw(&mut frame.scene, &right, subject, results);
        }
        let figures = figures(subject, &curves, &tested.label);
        left.heading(
            &mut frame.scene,
            ink(subject, &tested.label),
            &tested.label,
            &figures,
        );
    }
}

/// How wide an inset is, in bursts of the reference at its rate, and which part of it lies before
/// the instant of the largest overshoot.
const INSET: f64 = 4.0;
const BEFORE: f64 = 0.7;

/// The worst burst of the first repetition, of whichever driver had the largest; its lines begin
/// where the inset does.
struct Worst {
    driver: String,
    algorithm: String,
    /// The instant of the largest overshoot, and b* there.
    at: f64,
    bytes: f64,
    /// Where the inset begins.
    from: f64,
    offered: Vec<(f64, f64)>,
    delivered: Vec<(f64, f64)>,
    envelope: Vec<(f64, f64)>,
}

impl Worst {
    fn of(
        subject: &Subject,
        results: &Results,
        curves: &Curves<'_>,
        algorithm: &str,
    ) -> Option<Self> {
        let first = results
            .summary
            .iter()
            .filter(|row| row.algorithm == algorithm && row.repetition == 0);
        let (driver, bytes, at) = first
            .filter_map(|row| Some((&row.driver, row.overshoot_bytes?, row.overshoot_at_s?)))
            .max_by(|one, other| one.1.total_cmp(&other.1))?;
        let width = width(subject);
        let from = (at - BEFORE * width)
            .min(subject.duration_s - width)
            .max(0.0);
        let shown = |points: &[(f64, f64)], zero: f64| -> Vec<(f64, f64)> {
            let inside = points
                .iter()
                .filter(|(t, _)| (from..=from + width).contains(t));
            let first = std::iter::once((0.0, value(points, from) - zero));
            let last = std::iter::once((width, value(points, from + width) - zero));
            let inside = inside.map(|(t, bytes)| (t - from, bytes - zero));
            first.chain(inside).chain(last).collect()
        };
        let passed = curves.get(driver, algorithm, "delivered");
        let zero = value(passed, from);
        let delivered = shown(passed, zero);
        Some(Self {
            offered: shown(curves.get(driver, algorithm, "offered"), zero),
            envelope: allowed(subject, from, &delivered),
            delivered,
            driver: driver.clone(),
            algorithm: algorithm.to_owned(),
            at,
            bytes,
            from,
        })
    }

    /// `usual`, or as high as what passed if that is higher.
    fn axis(&self, subject: &Subject, usual: &Axis) -> Axis {
        let passed = self.delivered.last().map_or(0.0, |last| last.1);
        let high = (subject.burst_bytes + subject.rate_Bps * width(subject)).max(passed);
        Axis::linear(Unit::Bytes, 0.0, high * 1.15).in_scale_of(usual)
    }

    fn draw(&self, scene: &mut Scene, panel: &Panel, subject: &Subject, results: &Results) {
        panel.line(scene, &self.offered, OFFERED);
        panel.line(scene, &self.envelope, LIMIT);
        let stroke = stroke_of(subject, results, &self.driver, &self.algorithm);
        panel.line(scene, &self.delivered, stroke);
        let at = self.at - self.from;
        let mark = Stroke::solid(Ink::Muted, 1.0);
        panel.line(scene, &[(at, panel.y.low()), (at, panel.y.high())], mark);
        let of_several = drivers_of(subject, results, &self.algorithm).len() > 1;
        let whose = if of_several { &*self.driver } else { "worst" };
        let words = format!(
            "{whose}: {} at {}",
            quantity(Unit::Bytes, self.bytes, 3),
            quantity(Unit::Seconds, self.at, 3)
        );
        let place = (panel.rect.left, panel.rect.top - 5.0);
        let words = fitted(&words, SMALL, false, panel.rect.width());
        scene.text(
            place,
            words,
            Style::new(SMALL, Ink::Muted).anchored(Anchor::Start),
        );
    }
}

/// Seconds that an inset shows.
fn width(subject: &Subject) -> f64 {
    let end = subject.duration_s.max(1e-9);
    round(
        INSET * subject.burst_bytes / subject.rate_Bps.max(1e-9),
        end / 40.0,
        end / 4.0,
    )
}

/// A cumulative curve at `t`, between its points.
fn value(points: &[(f64, f64)], t: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < t);
    match (points.get(after.wrapping_sub(1)), points.get(after)) {
        (Some(&(t0, y0)), Some(&(t1, y1))) if t1 > t0 => y0 + (y1 - y0) * (t - t0) / (t1 - t0),
        (_, Some(&(_, y))) | (Some(&(_, y)), None) => y,
        (None, None) => 0.0,
    }
}

/// What may have passed by each instant of the inset: the least of what had passed at any earlier
/// one, the burst, and what the limit yields from there; of users without a limit, nothing.
fn allowed(subject: &Subject, from: f64, delivered: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if subject.limit.is_empty() {
        return Vec::new();
    }
    let users = position_of(subject.users.len().max(1));
    let earned = |t: f64| -> f64 {
        let ends = subject.limit.iter().skip(1).map(|(at, _)| *at);
        let parts = subject.limit.iter().zip(ends.chain([f64::INFINITY]));
        parts
            .map(|((begin, rate), end)| (t.min(end) - begin).max(0.0) * rate)
            .sum()
    };
    let mut least = f64::INFINITY;
    delivered
        .iter()
        .map(|&(t, bytes)| {
            let earned = earned(from + t);
            least = least.min(bytes - earned);
            (t, least + earned + users * subject.burst_bytes)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a number of users")]
const fn position_of(users: usize) -> f64 {
    users as f64
}

/// Exactly what the insets show.
pub(in crate::report) fn insets(subject: &Subject, results: &Results) -> String {
    let curves = Curves::of(&results.arrival_curve);
    let mut text = String::from("driver,algorithm,curve,from_s,x_s,bytes\n");
    for tested in &subject.algorithms {
        let Some(worst) = Worst::of(subject, results, &curves, &tested.label) else {
            continue;
        };
        let curves = [
            ("offered", &worst.offered),
            ("delivered", &worst.delivered),
            ("envelope", &worst.envelope),
        ];
        for (curve, points) in curves {
            for (x, bytes) in points {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{curve},{},{x},{bytes}",
                    worst.driver, worst.algorithm, worst.from
                );
            }
        }
    }
    text
}

/// How to read it.
pub(super) fn explanation(subject: &Subject) -> String {
    format!(
        "Delivered bytes of repetition 0, added up. Distance below the envelope {} + {} × t is room left; \
         above it the limit was broken. Distance between offered and delivered: across is delay, down is backlog \
         and loss. Right, from a zero of its own: the worst burst, where it was largest (upright line), below the burst and the rate from \
         the least of what had passed.",
        chosen(Unit::Bytes, subject.burst_bytes),
        chosen(Unit::Rate, subject.rate_Bps)
    )
}

fn legend(subject: &Subject) -> Vec<(Sample, &str)> {
    let mut entries = driver_legend(subject);
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
        let first = width(subject);
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
    results: &Results,
    curves: &Curves<'_>,
    algorithm: &str,
) {
    for (rank, driver) in drivers_of(subject, results, algorithm).iter().enumerate() {
        if rank == 0 {
            panel.line(scene, curves.get(driver, algorithm, "offered"), OFFERED);
            panel.line(scene, curves.get(driver, algorithm, "envelope"), LIMIT);
        }
        let delivered = curves.get(driver, algorithm, "delivered");
        let stroke = stroke_of(subject, results, driver, algorithm);
        panel.line(scene, delivered, stroke);
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
