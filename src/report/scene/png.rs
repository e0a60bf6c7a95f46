//! A scene in pixels, through plotters' bitmap backend. Nothing here depends on
//! the machine or the time, so the same scene is always the same bytes.
//!
//! It is drawn [`FINER`] times as large and averaged down: the backend places
//! everything on whole pixels, and thin slanted lines want parts of them.

use std::sync::OnceLock;

use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBAColor, TextStyle, register_font,
};

use super::{Anchor, Ink, Item, Point, Scene, Stroke, Style, corners, font};

/// Pixels of the drawing for one of the picture, each way.
const FINER: u32 = 3;
/// The most pixels of a drawing: 300 MB of them.
const MOST_PIXELS: u64 = 100_000_000;
/// Corners that stand for a circle.
const ROUND: u8 = 24;
/// The family that the shipped faces are registered as.
const FAMILY: &str = "DejaVu Sans";

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::report) enum PngError {
    /// Too large, or of no size.
    #[error("a picture of {width} x {height} pixels cannot be made")]
    Size { width: u32, height: u32 },
    /// The backend refused.
    #[error("the picture cannot be drawn: {0}")]
    Draw(String),
    /// The encoder refused.
    #[error("the picture cannot be encoded")]
    Encode(#[from] png::EncodingError),
}

/// `scene` as a PNG file, `width` pixels wide.
pub(super) fn encode(scene: &Scene, width: u32) -> Result<Vec<u8>, PngError> {
    let height = whole(scene.height * real(width) / scene.width).unsigned_abs() + 1;
    let (wide, high) = (width.saturating_mul(FINER), height.saturating_mul(FINER));
    let pixels = u64::from(wide) * u64::from(high);
    let size = usize::try_from(pixels)
        .ok()
        .filter(|_| (1..=MOST_PIXELS).contains(&pixels));
    let size = size.ok_or(PngError::Size { width, height })?;
    register_fonts()?;
    let mut drawing = vec![0xff; size * 3];
    let mut canvas = Canvas {
        backend: BitMapBackend::with_buffer(&mut drawing, (wide, high)),
        scale: real(wide) / scene.width,
    };
    for item in &scene.items {
        canvas.draw(item)?;
    }
    drop(canvas);
    compress(&averaged(&drawing, width, height), width, height)
}

/// The shipped faces, made known to plotters once.
fn register_fonts() -> Result<(), PngError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let register = || {
        register_font(FAMILY, FontStyle::Normal, font::REGULAR).is_ok()
            && register_font(FAMILY, FontStyle::Bold, font::BOLD).is_ok()
    };
    if *DONE.get_or_init(register) {
        Ok(())
    } else {
        Err(PngError::Draw("the shipped font is damaged".into()))
    }
}

/// Each pixel the mean of those that it was drawn with.
fn averaged(drawing: &[u8], width: u32, height: u32) -> Vec<u8> {
    let (finer, row) = (FINER as usize, (width * FINER * 3) as usize);
    let mut picture = Vec::with_capacity((width * height * 3) as usize);
    for lines in drawing.chunks_exact(row * finer) {
        for left in (0..row).step_by(3 * finer) {
            for channel in 0..3 {
                let sum: u32 = (0..finer * finer)
                    .map(|at| lines[(at / finer) * row + left + (at % finer) * 3 + channel])
                    .map(u32::from)
                    .sum();
                picture.push(u8::try_from(sum / (FINER * FINER)).unwrap_or(u8::MAX));
            }
        }
    }
    picture
}

fn compress(picture: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PngError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    writer.finish()?;
    Ok(file)
}

struct Canvas<'a> {
    backend: BitMapBackend<'a>,
    scale: f32,
}

impl Canvas<'_> {
    fn draw(&mut self, item: &Item) -> Result<(), PngError> {
        match item {
            Item::Line { points, stroke } => self.line(points, stroke),
            Item::Area {
                points,
                ink,
                opacity,
            } => self.fill(points, *ink, *opacity),
            Item::Mark {
                at,
                shape,
                size,
                ink,
                hollow,
            } => {
                let outline = corners(*at, *shape, *size).unwrap_or_else(|| circle(*at, *size));
                self.fill(&outline, if *hollow { Ink::Paper } else { *ink }, 1.0)?;
                let closed: Vec<Point> = outline.iter().chain(outline.first()).copied().collect();
                self.line(&closed, &Stroke::solid(*ink, 1.2))
            }
            Item::Text { at, text, style } => self.text(*at, text, style),
        }
    }

    fn fill(&mut self, points: &[Point], ink: Ink, opacity: f32) -> Result<(), PngError> {
        let corners: Vec<(i32, i32)> = points.iter().map(|point| self.pixel(*point)).collect();
        let paint = color(ink, opacity);
        let drawn = match rectangle(&corners) {
            Some((from, to)) if from.0 == to.0 || from.1 == to.1 => Ok(()),
            // The backend counts the last row and column in.
            Some((from, to)) => self
                .backend
                .draw_rect(from, (to.0 - 1, to.1 - 1), &paint, true),
            None => self.backend.fill_polygon(corners, &paint),
        };
        drawn.map_err(draw_error)
    }

    /// A line as the areas of its pieces, each a little longer than its
    /// neighbours are apart, so that corners close.
    fn line(&mut self, points: &[Point], stroke: &Stroke) -> Result<(), PngError> {
        let half = (stroke.width / 2.0).max(0.5 / self.scale);
        for piece in dashes(points, stroke.dash) {
            let last = piece.len().saturating_sub(2);
            for (index, pair) in piece.windows(2).enumerate() {
                let &[from, to] = pair else { continue };
                let (along, length) = direction(from, to);
                if length == 0.0 {
                    continue;
                }
                let before = if index == 0 { 0.0 } else { half };
                let after = if index == last { 0.0 } else { half };
                let from = (from.0 - along.0 * before, from.1 - along.1 * before);
                let to = (to.0 + along.0 * after, to.1 + along.1 * after);
                let aside = (-along.1 * half, along.0 * half);
                let corners = [
                    (from.0 + aside.0, from.1 + aside.1),
                    (to.0 + aside.0, to.1 + aside.1),
                    (to.0 - aside.0, to.1 - aside.1),
                    (from.0 - aside.0, from.1 - aside.1),
                ];
                self.fill(&corners, stroke.ink, stroke.opacity)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, at: Point, text: &str, style: &Style) -> Result<(), PngError> {
        if style.rimmed {
            for (x, y) in circle((0.0, 0.0), 3.0).into_iter().step_by(3) {
                self.letters((at.0 + x, at.1 + y), text, style, Ink::Paper)?;
            }
        }
        self.letters(at, text, style, style.ink)
    }

    /// Letter by letter, at the advances that the layout was made with.
    fn letters(&mut self, at: Point, text: &str, style: &Style, ink: Ink) -> Result<(), PngError> {
        let Some(face) = font::face(style.bold) else {
            return Ok(());
        };
        let shift = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5,
            Anchor::End => 1.0,
        };
        let em = style.size / f32::from(face.units_per_em());
        // Its faces are scaled by ascent plus descent, and half of that is
        // what it puts between a text's place and its base line.
        let height = f32::from(face.height()) * em * self.scale;
        let weight = if style.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let turn = if style.upright {
            FontTransform::Rotate270
        } else {
            FontTransform::None
        };
        let look = (FontFamily::Name(FAMILY), f64::from(height), weight)
            .into_font()
            .transform(turn);
        let paint = color(ink, 1.0);
        let look = TextStyle::from(look)
            .color(&paint)
            .pos(Pos::new(HPos::Left, VPos::Top));
        let mut pen = -shift * font::width(text, style.size, style.bold);
        for letter in text.chars() {
            let glyph = font::glyph(face, letter);
            let bearing = face
                .glyph_bounding_box(glyph)
                .map_or(0, |bounds| bounds.x_min);
            let along = pen + f32::from(bearing) * em;
            let lift = height / (2.0 * self.scale);
            let place = if style.upright {
                (at.0 - lift, at.1 - along)
            } else {
                (at.0 + along, at.1 - lift)
            };
            let place = self.pixel(place);
            let mut word = [0; 4];
            self.backend
                .draw_text(letter.encode_utf8(&mut word), &look, place)
                .map_err(draw_error)?;
            pen += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * em;
        }
        Ok(())
    }

    fn pixel(&self, point: Point) -> (i32, i32) {
        (whole(point.0 * self.scale), whole(point.1 * self.scale))
    }
}

/// The upper left and lower right corner, if the four lie so.
fn rectangle(corners: &[(i32, i32)]) -> Option<((i32, i32), (i32, i32))> {
    let &[a, b, c, d] = corners else { return None };
    let upright = a.0 == d.0 && b.0 == c.0 && a.1 == b.1 && c.1 == d.1;
    let turned = a.0 == b.0 && c.0 == d.0 && a.1 == d.1 && b.1 == c.1;
    (upright || turned).then(|| ((a.0.min(c.0), a.1.min(c.1)), (a.0.max(c.0), a.1.max(c.1))))
}

/// The drawn pieces of a line: all of it, or dash by dash.
fn dashes(points: &[Point], pattern: &[f32]) -> Vec<Vec<Point>> {
    if pattern.is_empty() || pattern.iter().any(|length| *length <= 0.0) {
        return vec![points.to_vec()];
    }
    let mut lengths = pattern.iter().copied().cycle();
    let (mut left, mut drawn) = (lengths.next().unwrap_or(1.0), true);
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    for pair in points.windows(2) {
        let &[mut from, to] = pair else { continue };
        let (along, mut length) = direction(from, to);
        while length > left {
            from = (from.0 + along.0 * left, from.1 + along.1 * left);
            length -= left;
            piece.push(from);
            if drawn {
                pieces.push(std::mem::take(&mut piece));
            }
            piece = vec![from];
            drawn = !drawn;
            left = lengths.next().unwrap_or(1.0);
        }
        left -= length;
        piece.push(to);
    }
    if drawn {
        pieces.push(piece);
    }
    pieces
}

/// The unit vector from one point to another, and how far that is.
fn direction(from: Point, to: Point) -> (Point, f32) {
    let (x, y) = (to.0 - from.0, to.1 - from.1);
    let length = x.hypot(y);
    if length > 0.0 {
        ((x / length, y / length), length)
    } else {
        ((0.0, 0.0), 0.0)
    }
}

fn circle(at: Point, size: f32) -> Vec<Point> {
    let corner = |index: u8| {
        let angle = f32::from(index) / f32::from(ROUND) * std::f32::consts::TAU;
        (
            at.0 + angle.cos() * size / 2.0,
            at.1 + angle.sin() * size / 2.0,
        )
    };
    (0..ROUND).map(corner).collect()
}

fn color(ink: Ink, opacity: f32) -> RGBAColor {
    let [_, red, green, blue] = super::palette::light(ink).to_be_bytes();
    RGBAColor(red, green, blue, 1.0).mix(f64::from(opacity))
}

/// To the nearest pixel.
#[expect(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
fn whole(length: f32) -> i32 {
    length.round() as i32
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture's width is far below 2^24"
)]
fn real(pixels: u32) -> f32 {
    pixels as f32
}

fn draw_error(error: impl std::fmt::Display) -> PngError {
    PngError::Draw(error.to_string())
}
