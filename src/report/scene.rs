//! A picture as data: lines, areas, marks and words at their places, in inks
//! that have names instead of colours. PNG and SVG are two ways to write it
//! out, so that a plot in the folder and on the page cannot differ.

mod font;
mod palette;
mod png;
mod svg;

pub(super) use font::width as text_width;
pub(super) use svg::style as svg_style;

/// A place on the picture, in its own unit, from the upper left corner.
pub(super) type Point = (f32, f32);

/// How many inks algorithms share.
pub(super) const SERIES: usize = 6;
/// How many steps a heat map has.
pub(super) const HEATS: usize = 9;

/// What something is drawn in, by role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// The paper.
    Paper,
    /// Words that matter.
    Text,
    /// Words that explain.
    Muted,
    /// Axes and frames.
    Axis,
    /// Grid lines.
    Grid,
    /// What stands behind for comparison.
    Shade,
    /// The limit, the envelope.
    Limit,
    /// A broken bound.
    Bad,
    /// An algorithm, modulo `SERIES`.
    Series(usize),
    /// A step of the heat map, below `HEATS`.
    Heat(usize),
    /// Words on a step of the heat map.
    OnHeat(usize),
}

/// A line's look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub(super) ink: Ink,
    pub(super) width: f32,
    /// Lengths of dash and gap in turn; empty is solid.
    pub(super) dash: &'static [f32],
    pub(super) opacity: f32,
}

impl Stroke {
    /// A solid line.
    pub(super) const fn solid(ink: Ink, width: f32) -> Self {
        Self {
            ink,
            width,
            dash: &[],
            opacity: 1.0,
        }
    }

    /// The same line, dashed.
    pub(super) const fn dashed(self, dash: &'static [f32]) -> Self {
        Self { dash, ..self }
    }

    /// The same line, fainter.
    #[cfg(test)]
    pub(super) const fn faint(self, opacity: f32) -> Self {
        Self { opacity, ..self }
    }
}

/// Where a text's anchor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text's look. Its place is the base line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) bold: bool,
    pub(super) ink: Ink,
    pub(super) anchor: Anchor,
    /// Reads upwards.
    pub(super) upright: bool,
    /// Stands on lines: a rim of paper keeps it readable.
    pub(super) rimmed: bool,
}

impl Style {
    /// Plain words.
    pub(super) const fn new(size: f32, ink: Ink) -> Self {
        Self {
            size,
            bold: false,
            ink,
            anchor: Anchor::Start,
            upright: false,
            rimmed: false,
        }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) const fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(super) const fn upright(self) -> Self {
        Self {
            upright: true,
            ..self
        }
    }

    pub(super) const fn rimmed(self) -> Self {
        Self {
            rimmed: true,
            ..self
        }
    }
}

/// The shapes of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Diamond,
    Up,
}

/// Something drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Line {
        points: Vec<Point>,
        stroke: Stroke,
    },
    Area {
        points: Vec<Point>,
        ink: Ink,
        opacity: f32,
    },
    Mark {
        at: Point,
        shape: Shape,
        size: f32,
        ink: Ink,
        hollow: bool,
    },
    Text {
        at: Point,
        text: String,
        style: Style,
    },
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) items: Vec<Item>,
}

impl Scene {
    /// An empty picture whose height is not known yet.
    pub(super) const fn new(width: f32) -> Self {
        Self {
            width,
            height: 0.0,
            items: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, points: Vec<Point>, stroke: Stroke) {
        if points.len() > 1 {
            self.items.push(Item::Line { points, stroke });
        }
    }

    pub(super) fn area(&mut self, points: Vec<Point>, ink: Ink, opacity: f32) {
        if points.len() > 2 {
            self.items.push(Item::Area {
                points,
                ink,
                opacity,
            });
        }
    }

    pub(super) fn rect(&mut self, rect: Rect, ink: Ink, opacity: f32) {
        self.area(rect.corners().to_vec(), ink, opacity);
    }

    pub(super) fn mark(&mut self, at: Point, shape: Shape, size: f32, ink: Ink, hollow: bool) {
        self.items.push(Item::Mark {
            at,
            shape,
            size,
            ink,
            hollow,
        });
    }

    pub(super) fn text(&mut self, at: Point, text: impl Into<String>, style: Style) {
        let text = text.into();
        if !text.is_empty() {
            self.items.push(Item::Text { at, text, style });
        }
    }

    /// The picture as PNG, `pixels` wide.
    ///
    /// # Errors
    /// When a picture of that size cannot be made.
    pub(super) fn png(&self, pixels: u32) -> Result<Vec<u8>, png::PngError> {
        png::encode(self, pixels)
    }

    /// The picture as an SVG element, for a page that has `svg_style`. `label`
    /// says to a screen reader what it shows.
    pub(super) fn svg(&self, label: &str, class: &str) -> String {
        svg::element(self, label, class)
    }
}

/// An upright rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Rect {
    pub(super) const fn corners(self) -> [Point; 4] {
        [
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
        ]
    }

    pub(super) fn width(self) -> f32 {
        self.right - self.left
    }

    pub(super) fn height(self) -> f32 {
        self.bottom - self.top
    }
}

/// The corners of a mark, for the shapes that have corners.
fn corners(at: Point, shape: Shape, size: f32) -> Option<Vec<Point>> {
    let (x, y) = at;
    let r = size / 2.0;
    Some(match shape {
        Shape::Circle => return None,
        Shape::Square => vec![
            (x - r, y - r),
            (x + r, y - r),
            (x + r, y + r),
            (x - r, y + r),
        ],
        Shape::Diamond => vec![
            (x, y - r * 1.3),
            (x + r * 1.3, y),
            (x, y + r * 1.3),
            (x - r * 1.3, y),
        ],
        Shape::Up => vec![(x, y - r), (x + r, y + r * 0.8), (x - r, y + r * 0.8)],
    })
}
