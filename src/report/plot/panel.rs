//! Panels with axes, many of them in a grid.

use super::axis::{Axis, Tick};
use super::frame::{Frame, MARGIN, SMALL, fitted};
use crate::report::scene::{Anchor, Ink, Point, Rect, Scene, Shape, Stroke, Style, text_width};

/// Words above a panel.
const HEADING: f32 = 13.0;
/// Room above a panel for its heading and a line of figures.
const HEAD: f32 = 36.0;
/// Room below a panel for the ticks' labels.
const FOOT: f32 = 18.0;

/// One plot: a rectangle and its two axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel {
    pub(super) rect: Rect,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

/// How the panels of a grid look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid<'a> {
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// The quantities, without units.
    pub(super) x_title: &'a str,
    pub(super) y_title: &'a str,
    /// The panels' least width; with more room they grow.
    pub(super) least: f32,
    pub(super) height: f32,
}

impl Grid<'_> {
    /// `count` panels with their axes below what `frame` already holds.
    pub(super) fn lay(&self, frame: &mut Frame, count: usize) -> Vec<Panel> {
        let panels: Vec<Panel> = self
            .places(frame, count)
            .into_iter()
            .map(|rect| Panel {
                rect,
                x: self.x,
                y: self.y,
            })
            .collect();
        for panel in &panels {
            panel.axes(&mut frame.scene);
        }
        panels
    }

    /// The places of `count` panels, and the titles around them.
    pub(super) fn places(&self, frame: &mut Frame, count: usize) -> Vec<Rect> {
        let gutter = gutter(&self.y);
        let left = MARGIN + SMALL + 4.0 + gutter;
        let gap = gutter.max(14.0) + 8.0;
        let (columns, width) = columns(
            frame.scene.width - MARGIN - 6.0 - left,
            gap,
            self.least,
            count,
        );
        let rows = count.div_ceil(columns);
        let top = frame.y;
        let pitch = HEAD + self.height + FOOT;
        let panels = (0..count)
            .map(|at| {
                let (column, row) = (position(at % columns), position(at / columns));
                let left = left + column * (width + gap);
                let top = top + row * pitch + HEAD;
                Rect {
                    left,
                    top,
                    right: left + width,
                    bottom: top + self.height,
                }
            })
            .collect();
        frame.y = top + position(rows) * pitch;
        self.titles(frame, top + HEAD, left);
        panels
    }

    fn titles(&self, frame: &mut Frame, top: f32, left: f32) {
        let style = Style::new(SMALL + 0.5, Ink::Text).anchored(Anchor::Middle);
        if self.x_title.is_empty() && self.y_title.is_empty() {
            return;
        }
        let y_title = format!("{}{}", self.y_title, self.y.unit_note());
        let x_title = format!("{}{}", self.x_title, self.x.unit_note());
        let half = text_width(&y_title, style.size, false) / 2.0;
        let middle = (top + self.height / 2.0).max(top - HEAD + half);
        frame
            .scene
            .text((MARGIN + SMALL, middle), y_title, style.upright());
        frame.y += SMALL + 3.0;
        let center = left.midpoint(frame.scene.width - MARGIN);
        frame.scene.text((center, frame.y - 2.0), x_title, style);
        frame.y += 4.0;
    }
}

impl Panel {
    /// A place in the panel; outside for values beyond the axes.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.rect.left + self.x.place(x) * self.rect.width(),
            self.rect.bottom - self.y.place(y) * self.rect.height(),
        )
    }

    /// Grid, frame and the labels of the ticks.
    pub(super) fn axes(&self, scene: &mut Scene) {
        self.up(scene);
        self.across(scene);
    }

    /// The axes of a panel, or of one with another `below` that has its level axis and the
    /// largest value of its own.
    pub(super) fn frame(&self, scene: &mut Scene, below: Option<&Self>) {
        let Some(below) = below else {
            self.axes(scene);
            return;
        };
        let Rect {
            left,
            top,
            right,
            bottom,
        } = self.rect;
        self.up(scene);
        for tick in self.fitting_x_ticks() {
            let x = self.at(tick.value, self.y.low()).0;
            scene.line(vec![(x, top), (x, bottom)], Stroke::solid(Ink::Grid, 1.0));
        }
        let edge = Stroke::solid(Ink::Axis, 1.0);
        scene.line(vec![(left, top), (left, bottom), (right, bottom)], edge);
        below.across(scene);
        let style = Style::new(SMALL - 1.0, Ink::Muted).rimmed();
        let top = below.rect.top;
        scene.text((left + 4.0, top + SMALL - 2.0), "dropped", style);
    }

    /// Grid and labels of the upright axis.
    fn up(&self, scene: &mut Scene) {
        let Rect { left, right, .. } = self.rect;
        let style = Style::new(SMALL, Ink::Muted);
        for tick in self.y.ticks(if self.rect.height() < 90.0 { 3 } else { 5 }) {
            let y = self.at(self.x.low(), tick.value).1;
            scene.line(vec![(left, y), (right, y)], Stroke::solid(Ink::Grid, 1.0));
            scene.text(
                (left - 5.0, y + SMALL * 0.36),
                tick.label,
                style.anchored(Anchor::End),
            );
        }
    }

    /// Grid and labels of the level axis alone.
    pub(super) fn across(&self, scene: &mut Scene) {
        let Rect {
            left,
            top,
            right,
            bottom,
        } = self.rect;
        for tick in self.fitting_x_ticks() {
            let x = self.at(tick.value, self.y.low()).0;
            scene.line(vec![(x, top), (x, bottom)], Stroke::solid(Ink::Grid, 1.0));
            scene.line(
                vec![(x, bottom), (x, bottom + 4.0)],
                Stroke::solid(Ink::Axis, 1.0),
            );
            let style = Style::new(SMALL, Ink::Muted).anchored(Anchor::Middle);
            scene.text((x, bottom + SMALL + 5.0), tick.label, style);
        }
        scene.line(
            vec![(left, top), (left, bottom), (right, bottom)],
            Stroke::solid(Ink::Axis, 1.0),
        );
    }

    /// As many ticks as have room for their labels side by side.
    fn fitting_x_ticks(&self) -> Vec<Tick> {
        (1..=10)
            .rev()
            .map(|wanted| self.x.ticks(wanted))
            .find(|ticks| {
                let widest = widest(ticks) + 12.0;
                ticks
                    .windows(2)
                    .all(|pair| self.x_distance(&pair[0], &pair[1]) >= widest)
            })
            .unwrap_or_default()
    }

    fn x_distance(&self, one: &Tick, other: &Tick) -> f32 {
        (self.x.place(other.value) - self.x.place(one.value)) * self.rect.width()
    }

    /// The panel's name with its colour, and figures below it.
    pub(super) fn heading(&self, scene: &mut Scene, ink: Ink, name: &str, figures: &str) {
        let (left, top) = (self.rect.left, self.rect.top);
        let room = self.rect.width();
        scene.mark(
            (left + 5.0, top - HEAD + 14.5),
            Shape::Square,
            10.0,
            ink,
            false,
        );
        scene.text(
            (left + 15.0, top - HEAD + 19.0),
            fitted(name, HEADING, true, room - 15.0),
            Style::new(HEADING, Ink::Text).bold(),
        );
        scene.text(
            (left, top - 5.0),
            fitted(figures, SMALL, false, room),
            Style::new(SMALL, Ink::Muted),
        );
    }

    /// A line, as far as it lies inside.
    pub(super) fn line(&self, scene: &mut Scene, points: &[(f64, f64)], stroke: Stroke) {
        let points = thinned(points.iter().map(|&(x, y)| self.at(x, y)));
        for piece in clip(&points, self.rect) {
            scene.line(piece, stroke);
        }
    }

    /// The area between two lines over the same xs, flattened at the panel's edges.
    pub(super) fn band(
        &self,
        scene: &mut Scene,
        low: &[(f64, f64)],
        high: &[(f64, f64)],
        ink: Ink,
        opacity: f32,
    ) {
        let inside = |&(x, y): &(f64, f64)| {
            let (x, y) = self.at(x, y);
            (
                x.clamp(self.rect.left, self.rect.right),
                y.clamp(self.rect.top, self.rect.bottom),
            )
        };
        let points = low
            .iter()
            .map(inside)
            .chain(high.iter().rev().map(inside))
            .collect();
        scene.area(points, ink, opacity);
    }
}

/// How many columns `count` panels of at least `least` have side by side, and how wide they are.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a handful of columns; a float's cast saturates"
)]
fn columns(room: f32, gap: f32, least: f32, count: usize) -> (usize, f32) {
    let most = (((room + gap) / (least + gap)).floor() as usize).clamp(1, count.max(1));
    let rows = count.max(1).div_ceil(most);
    let columns = count.max(1).div_ceil(rows);
    let columns_f = position(columns);
    (columns, (room - gap * (columns_f - 1.0)) / columns_f)
}

#[expect(clippy::cast_precision_loss, reason = "a handful of panels")]
pub(super) const fn position(at: usize) -> f32 {
    at as f32
}

/// Room for the labels of an upright axis.
pub(super) fn gutter(y: &Axis) -> f32 {
    widest(&y.ticks(5)) + 12.0
}

fn widest(ticks: &[Tick]) -> f32 {
    ticks
        .iter()
        .map(|tick| text_width(&tick.label, SMALL, false))
        .fold(0.0, f32::max)
}

/// The points without those that nobody could tell from the one before.
fn thinned(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    let mut skipped = None;
    for point in points {
        match kept.last() {
            Some(last) if (last.0 - point.0).abs() + (last.1 - point.1).abs() < 0.3 => {
                skipped = Some(point)
            }
            _ => {
                kept.push(point);
                skipped = None;
            }
        }
    }
    kept.extend(skipped);
    kept
}

/// The pieces of a line that lie inside `rect`.
fn clip(points: &[Point], rect: Rect) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = clip_segment(pair[0], pair[1], rect) else {
            continue;
        };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

/// Liang and Barsky (1984): the part of a segment inside a rectangle.
fn clip_segment(from: Point, to: Point, rect: Rect) -> Option<(Point, Point)> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let mut enter = 0.0_f32;
    let mut leave = 1.0_f32;
    for (slope, room) in [
        (-dx, from.0 - rect.left),
        (dx, rect.right - from.0),
        (-dy, from.1 - rect.top),
        (dy, rect.bottom - from.1),
    ] {
        if slope == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if slope < 0.0 {
            enter = enter.max(room / slope);
        } else {
            leave = leave.min(room / slope);
        }
    }
    let along = |share: f32| match share {
        0.0 => from,
        1.0 => to,
        _ => (from.0 + share * dx, from.1 + share * dy),
    };
    (enter <= leave).then(|| (along(enter), along(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Rect = Rect {
        left: 0.0,
        top: 0.0,
        right: 10.0,
        bottom: 10.0,
    };

    #[test]
    fn lines_end_at_the_edge_and_go_on_where_they_come_back() {
        let pieces = clip(
            &[
                (-5.0, 5.0),
                (5.0, 5.0),
                (5.0, 20.0),
                (8.0, 20.0),
                (8.0, 5.0),
            ],
            BOX,
        );
        assert_eq!(
            pieces,
            [
                vec![(0.0, 5.0), (5.0, 5.0), (5.0, 10.0)],
                vec![(8.0, 10.0), (8.0, 5.0)]
            ]
        );
        assert!(clip(&[(11.0, 0.0), (11.0, 10.0)], BOX).is_empty());
    }

    #[test]
    fn panels_share_their_rows_evenly() {
        assert_eq!(columns(1000.0, 20.0, 300.0, 18).0, 3);
        assert_eq!(columns(1000.0, 20.0, 300.0, 4).0, 2);
        assert_eq!(columns(1000.0, 20.0, 300.0, 1), (1, 1000.0));
        assert_eq!(columns(200.0, 20.0, 300.0, 5).0, 1);
    }
}
