//! A scene in pixels. Nothing here depends on the machine or the time, so the
//! same scene is always the same bytes.

use tiny_skia::{
    FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, StrokeDash, Transform,
};
use ttf_parser::OutlineBuilder;

use super::{Anchor, Ink, Item, Point, Scene, Shape, Stroke, Style, corners, font};

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::report) enum PngError {
    /// Too large, or of no size.
    #[error("a picture of {width} x {height} pixels cannot be made")]
    Size { width: u32, height: u32 },
    /// The encoder refused.
    #[error("the picture cannot be encoded")]
    Encode(#[from] png::EncodingError),
}

/// `scene` as a PNG file, `width` pixels wide.
pub(super) fn encode(scene: &Scene, width: u32) -> Result<Vec<u8>, PngError> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a picture's width is far below 2^24"
    )]
    let scale = width as f32 / scene.width;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's cast saturates, and the size is checked below"
    )]
    let height = (scene.height * scale).ceil() as u32;
    let mut canvas = Canvas {
        pixels: Pixmap::new(width, height).ok_or(PngError::Size { width, height })?,
        transform: Transform::from_scale(scale, scale),
    };
    canvas.pixels.fill(color(Ink::Paper, 1.0));
    for item in &scene.items {
        canvas.draw(item);
    }
    compress(&canvas.pixels)
}

fn compress(pixels: &Pixmap) -> Result<Vec<u8>, PngError> {
    // The paper is opaque, so every pixel is.
    let rgb: Vec<u8> = pixels
        .pixels()
        .iter()
        .flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()])
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(file)
}

struct Canvas {
    pixels: Pixmap,
    transform: Transform,
}

impl Canvas {
    fn draw(&mut self, item: &Item) {
        match item {
            Item::Line { points, stroke } => self.stroke(polygon(points, false), stroke),
            Item::Area {
                points,
                ink,
                opacity,
            } => self.fill(polygon(points, true), *ink, *opacity),
            Item::Mark {
                at,
                shape,
                size,
                ink,
                hollow,
            } => {
                let outline = outline(*at, *shape, *size);
                self.fill(
                    outline.clone(),
                    if *hollow { Ink::Paper } else { *ink },
                    1.0,
                );
                self.stroke(outline, &Stroke::solid(*ink, 1.2));
            }
            Item::Text { at, text, style } => self.text(*at, text, style),
        }
    }

    fn fill(&mut self, path: Option<Path>, ink: Ink, opacity: f32) {
        if let Some(path) = path {
            self.pixels.fill_path(
                &path,
                &paint(ink, opacity),
                FillRule::Winding,
                self.transform,
                None,
            );
        }
    }

    fn stroke(&mut self, path: Option<Path>, stroke: &Stroke) {
        let Some(path) = path else { return };
        let style = tiny_skia::Stroke {
            width: stroke.width,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            dash: StrokeDash::new(stroke.dash.to_vec(), 0.0),
            ..tiny_skia::Stroke::default()
        };
        self.pixels.stroke_path(
            &path,
            &paint(stroke.ink, stroke.opacity),
            &style,
            self.transform,
            None,
        );
    }

    fn text(&mut self, at: Point, text: &str, style: &Style) {
        let Some(path) = words(text, style).and_then(|path| {
            let turn = if style.upright {
                Transform::from_rotate(-90.0)
            } else {
                Transform::identity()
            };
            path.transform(turn.post_translate(at.0, at.1))
        }) else {
            return;
        };
        if style.rimmed {
            self.stroke(
                Some(path.clone()),
                &Stroke::solid(Ink::Paper, 3.0).faint(0.85),
            );
        }
        self.fill(Some(path), style.ink, 1.0);
    }
}

fn polygon(points: &[Point], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    builder.move_to(first.0, first.1);
    for point in rest {
        builder.line_to(point.0, point.1);
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

fn outline(at: Point, shape: Shape, size: f32) -> Option<Path> {
    corners(at, shape, size).map_or_else(
        || PathBuilder::from_circle(at.0, at.1, size / 2.0),
        |points| polygon(&points, true),
    )
}

/// The outlines of `text`, anchored at the origin.
fn words(text: &str, style: &Style) -> Option<Path> {
    let face = font::face(style.bold)?;
    let scale = style.size / f32::from(face.units_per_em());
    let shift = match style.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => 0.5,
        Anchor::End => 1.0,
    };
    let mut pen = Pen {
        path: PathBuilder::new(),
        x: -shift * font::width(text, style.size, style.bold),
        scale,
    };
    for letter in text.chars() {
        let glyph = font::glyph(face, letter);
        face.outline_glyph(glyph, &mut pen);
        pen.x += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    }
    pen.path.finish()
}

/// Puts a glyph's outline where the pen stands; the font's y axis points up.
struct Pen {
    path: PathBuilder,
    x: f32,
    scale: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> Point {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        self.path.move_to(to.0, to.1);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        self.path.line_to(to.0, to.1);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (by, to) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(by.0, by.1, to.0, to.1);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (by, and, to) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(by.0, by.1, and.0, and.1, to.0, to.1);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

fn paint(ink: Ink, opacity: f32) -> Paint<'static> {
    let mut paint = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    paint.set_color(color(ink, opacity));
    paint
}

fn color(ink: Ink, opacity: f32) -> tiny_skia::Color {
    let [_, red, green, blue] = super::palette::light(ink).to_be_bytes();
    let mut color = tiny_skia::Color::from_rgba8(red, green, blue, 255);
    color.apply_opacity(opacity);
    color
}
