//! How much delays and gaps vary: percentiles on a logarithmic axis.

use super::axis::Axis;
use super::frame::{Frame, MARGIN, Sample, fitted};
use super::panel::{Panel, position};
use super::{Curves, drivers_of, ink};
use crate::report::format::Unit;
use crate::report::scene::{Anchor, Ink, Rect, Scene, Shape, Stroke, Style, text_width};
use crate::report::subject::Subject;
use crate::results::Results;

const ROW: f32 = 17.0;
const GAP: f32 = 9.0;
const NAME: f32 = 12.0;
/// Between the two halves.
const SPACE: f32 = 48.0;
/// How to read it.
pub(super) const EXPLANATION: &str = "Delay variation is the delay above the least delay (RFC 5481), a gap the time from one departure \
     to the next. Bars reach from the 25th to the 75th percentile, lines from the 1st to the 99th; the notch is the median, \
     the ring the 99.9th, the diamond the maximum. Narrow is even. What lies on the left edge is at or below it, often zero.";

/// The picture `jitter.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let curves = Curves::of(&results.jitter);
    frame.legend(&legend(subject));
    let layout = Layout::of(subject, results, frame.scene.width);
    let top = frame.y;
    for (at, (curve, title)) in [
        ("pdv", "Delay variation, log"),
        ("gap", "Gap between departures, log"),
    ]
    .into_iter()
    .enumerate()
    {
        let rect = layout.place(at, top);
        let panel = Panel {
            rect,
            x: axis(&curves, curve),
            y: Axis::linear(Unit::Number, 0.0, 1.0),
        };
        panel.across(&mut frame.scene);
        frame.scene.text(
            (rect.left, rect.top - 8.0),
            title,
            Style::new(12.5, Ink::Text).bold(),
        );
        layout.rows(&mut frame.scene, &panel, subject, &curves, curve);
        if at == 0 || !layout.wide {
            layout.labels(&mut frame.scene, rect);
        }
        frame.y = rect.bottom + 30.0;
    }
}

/// Two panels side by side, names at the left; one above the other on narrow
/// paper, where names stand above their bars.
struct Layout {
    wide: bool,
    names: f32,
    each: f32,
    /// Room for a name above its bars.
    above: f32,
    groups: Vec<Group>,
    height: f32,
}

/// The bars of one algorithm.
struct Group {
    algorithm: String,
    /// The drivers that ran it, by their place among all.
    drivers: Vec<(usize, String)>,
    top: f32,
    bottom: f32,
}

impl Layout {
    fn of(subject: &Subject, results: &Results, width: f32) -> Self {
        let wide = width > 700.0;
        let widest = subject
            .algorithms
            .iter()
            .map(|tested| text_width(&tested.label, NAME, true))
            .fold(0.0, f32::max);
        let names = if wide {
            (widest + 12.0).min(width * 0.3)
        } else {
            0.0
        };
        let room = width - 2.0 * MARGIN - names - 14.0;
        let above = if wide { 0.0 } else { NAME + 4.0 };
        let groups = groups(subject, results, above);
        Self {
            wide,
            names,
            each: if wide { (room - SPACE) / 2.0 } else { room },
            above,
            height: groups.last().map_or(0.0, |group| group.bottom),
            groups,
        }
    }

    fn place(&self, at: usize, top: f32) -> Rect {
        let (right, down) = if self.wide {
            (self.each + SPACE, 0.0)
        } else {
            (0.0, self.height + 66.0)
        };
        let left = MARGIN + self.names + position(at) * right;
        let top = top + 24.0 + position(at) * down;
        Rect {
            left,
            top,
            right: left + self.each,
            bottom: top + self.height,
        }
    }

    fn labels(&self, scene: &mut Scene, rect: Rect) {
        let style = Style::new(NAME, Ink::Text).bold();
        for group in &self.groups {
            if self.wide {
                let middle = rect.top + group.top.midpoint(group.bottom) + NAME * 0.36;
                let name = fitted(&group.algorithm, NAME, true, self.names - 10.0);
                scene.text((rect.left - 8.0, middle), name, style.anchored(Anchor::End));
            } else {
                let name = fitted(&group.algorithm, NAME, true, rect.width() - 8.0);
                scene.text(
                    (rect.left + 5.0, rect.top + group.top + NAME + 2.0),
                    name,
                    style.rimmed(),
                );
            }
        }
    }

    fn rows(
        &self,
        scene: &mut Scene,
        panel: &Panel,
        subject: &Subject,
        curves: &Curves<'_>,
        curve: &str,
    ) {
        for (at, group) in self.groups.iter().enumerate() {
            let top = panel.rect.top + group.top;
            if at > 0 {
                let line = vec![(panel.rect.left, top), (panel.rect.right, top)];
                scene.line(line, Stroke::solid(Ink::Grid, 1.0));
            }
            let look = |rank| look(rank, ink(subject, &group.algorithm));
            for (row, (rank, driver)) in group.drivers.iter().enumerate() {
                let middle = top + self.above + GAP / 2.0 + (position(row) + 0.5) * ROW;
                bar(
                    scene,
                    panel,
                    curves.get(driver, &group.algorithm, curve),
                    middle,
                    look(*rank),
                );
            }
        }
    }
}

fn groups(subject: &Subject, results: &Results, above: f32) -> Vec<Group> {
    let mut top = 0.0;
    let mut groups = Vec::new();
    for tested in &subject.algorithms {
        let drivers: Vec<(usize, String)> = drivers_of(subject, results, &tested.label)
            .into_iter()
            .map(|driver| (subject.driver_rank(driver), driver.to_owned()))
            .collect();
        let bottom = top + above + GAP + position(drivers.len().max(1)) * ROW;
        groups.push(Group {
            algorithm: tested.label.clone(),
            drivers,
            top,
            bottom,
        });
        top = bottom;
    }
    groups
}

fn legend(subject: &Subject) -> Vec<(Sample, &str)> {
    subject
        .drivers
        .iter()
        .enumerate()
        .map(|(rank, driver)| {
            let (ink, opacity) = look(rank, Ink::Series(0));
            (Sample::Band(ink, opacity), driver.as_str())
        })
        .collect()
}

/// The bar of a driver: the first in the algorithm's colour, others dark.
const fn look(rank: usize, ink: Ink) -> (Ink, f32) {
    match rank {
        0 => (ink, 0.75),
        1 => (Ink::Text, 0.55),
        _ => (Ink::Muted, 0.35),
    }
}

fn axis(curves: &Curves<'_>, curve: &'static str) -> Axis {
    let ys = || {
        curves
            .all(curve)
            .flatten()
            .map(|point| point.1)
            .filter(|y| *y > 0.0)
    };
    let high = ys().fold(0.0, f64::max);
    if high <= 0.0 {
        return Axis::log(Unit::Micros, 1.0, 1000.0);
    }
    Axis::log(
        Unit::Micros,
        ys().fold(high, f64::min).max(high * 1e-7),
        high,
    )
}

fn bar(
    scene: &mut Scene,
    panel: &Panel,
    points: &[(f64, f64)],
    middle: f32,
    (ink, opacity): (Ink, f32),
) {
    let at = |percentile: f64| {
        let value = value(points, percentile)?.max(panel.x.low());
        Some(
            panel
                .at(value, 0.0)
                .0
                .clamp(panel.rect.left, panel.rect.right),
        )
    };
    let (Some(p1), Some(p25), Some(p50)) = (at(1.0), at(25.0), at(50.0)) else {
        return;
    };
    let (Some(p75), Some(p99), Some(p999), Some(most)) = (at(75.0), at(99.0), at(99.9), at(100.0))
    else {
        return;
    };
    scene.line(
        vec![(p99, middle), (most, middle)],
        Stroke::solid(ink, 1.0).dashed(&[1.5, 2.5]),
    );
    scene.line(vec![(p1, middle), (p99, middle)], Stroke::solid(ink, 1.6));
    let (top, bottom) = (middle - ROW * 0.33, middle + ROW * 0.33);
    // A bar of no width would vanish.
    let bar = Rect {
        left: p25 - 0.8,
        top,
        right: p75 + 0.8,
        bottom,
    };
    scene.rect(bar, Ink::Paper, 1.0);
    scene.rect(bar, ink, opacity);
    scene.line(
        vec![(p50, top - 1.5), (p50, bottom + 1.5)],
        Stroke::solid(Ink::Text, 2.0),
    );
    scene.mark((p999, middle), Shape::Circle, 6.0, ink, true);
    scene.mark((most, middle), Shape::Diamond, 5.5, ink, false);
}

/// The value at a percentile, between the nearest two that are known.
fn value(points: &[(f64, f64)], percentile: f64) -> Option<f64> {
    let above = points.iter().position(|point| point.0 >= percentile);
    match above {
        None => points.last().map(|point| point.1),
        Some(0) => points.first().map(|point| point.1),
        Some(at) => {
            let ((x0, y0), (x1, y1)) = (points[at - 1], points[at]);
            Some(y0 + (y1 - y0) * (percentile - x0) / (x1 - x0))
        }
    }
}
