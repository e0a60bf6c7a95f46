//! What surrounds the panels of a plot: title, explanation, legend, footer.

use crate::report::scene::{Anchor, Ink, Point, Rect, Scene, Shape, Stroke, Style, text_width};

/// Room at each side of a picture.
pub(super) const MARGIN: f32 = 16.0;
/// The size of words at axes.
pub(super) const SMALL: f32 = 11.0;
const BODY: f32 = 12.5;
const TITLE: f32 = 19.0;

/// A picture that grows downwards.
pub(super) struct Frame {
    pub(super) scene: Scene,
    /// Where the next thing goes.
    pub(super) y: f32,
}

/// What a legend shows beside its words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    Line(Stroke),
    /// A line with marks on it.
    Marked(Stroke, Shape, bool),
    Band(Ink, f32),
    Mark(Shape, Ink, bool),
}

impl Frame {
    /// An empty picture.
    pub(super) fn new(width: f32) -> Self {
        Self {
            scene: Scene::new(width),
            y: 0.0,
        }
    }

    /// Says what the picture shows.
    pub(super) fn head(&mut self, title: &str, explanation: &str) {
        self.y += MARGIN;
        self.paragraph(title, Style::new(TITLE, Ink::Text).bold());
        self.y += 3.0;
        self.paragraph(explanation, Style::new(BODY, Ink::Muted));
        self.y += 6.0;
    }

    /// Room between the margins.
    pub(super) fn room(&self) -> f32 {
        self.scene.width - 2.0 * MARGIN
    }

    /// Words across the whole width, on as many lines as they need.
    pub(super) fn paragraph(&mut self, text: &str, style: Style) {
        for line in wrap(text, style.size, style.bold, self.room()) {
            self.y += style.size * 1.3;
            self.scene
                .text((MARGIN, self.y - style.size * 0.3), line, style);
        }
    }

    /// Samples with their meaning, in rows.
    pub(super) fn legend(&mut self, entries: &[(Sample, &str)]) {
        const SAMPLE: f32 = 26.0;
        let mut x = MARGIN;
        self.y += 16.0;
        for (sample, words) in entries {
            let width = SAMPLE + 6.0 + text_width(words, BODY, false);
            if x > MARGIN && x + width > self.scene.width - MARGIN {
                x = MARGIN;
                self.y += 18.0;
            }
            self.sample(*sample, x, SAMPLE);
            self.scene.text(
                (x + SAMPLE + 6.0, self.y),
                *words,
                Style::new(BODY, Ink::Text),
            );
            x += width + 20.0;
        }
        self.y += 10.0;
    }

    fn sample(&mut self, sample: Sample, x: f32, width: f32) {
        let middle = self.y - BODY * 0.35;
        match sample {
            Sample::Line(stroke) => {
                self.scene
                    .line(vec![(x, middle), (x + width, middle)], stroke);
            }
            Sample::Marked(stroke, shape, hollow) => {
                self.sample(Sample::Line(stroke), x, width);
                self.sample(Sample::Mark(shape, stroke.ink, hollow), x, width);
            }
            Sample::Mark(shape, ink, hollow) => {
                let at = (x + width / 2.0, middle);
                self.scene.mark(at, shape, 9.0, ink, hollow);
            }
            Sample::Band(ink, opacity) => self.scene.rect(
                Rect {
                    left: x,
                    top: middle - 6.0,
                    right: x + width,
                    bottom: middle + 6.0,
                },
                ink,
                opacity,
            ),
        }
    }

    /// Closes the picture, with the line that says where it comes from.
    pub(super) fn foot(&mut self, footer: &str) {
        self.y += 8.0;
        let y = self.y;
        self.scene.line(
            vec![(MARGIN, y), (self.scene.width - MARGIN, y)],
            Stroke::solid(Ink::Grid, 1.0),
        );
        self.y += 4.0;
        self.paragraph(footer, Style::new(SMALL, Ink::Muted));
        self.y += MARGIN * 0.6;
    }

    /// The picture, as high as what it holds.
    pub(super) fn finish(mut self) -> Scene {
        self.scene.height = self.y.ceil();
        self.scene
    }
}

/// `text` in lines no wider than `room`, broken at spaces; a single longer word stays whole.
pub(super) fn wrap(text: &str, size: f32, bold: bool, room: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size, bold) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `text`, cut with an ellipsis where it is wider than `room`.
pub(super) fn fitted(text: &str, size: f32, bold: bool, room: f32) -> String {
    if text_width(text, size, bold) <= room {
        return text.to_owned();
    }
    let mut cut: Vec<char> = text.chars().collect();
    while cut.pop().is_some() {
        let shorter: String = cut.iter().collect::<String>().trim_end().to_owned() + "…";
        if text_width(&shorter, size, bold) <= room {
            return shorter;
        }
    }
    String::new()
}

/// A small label that is kept inside `bounds` from left to right.
pub(super) fn label_inside(scene: &mut Scene, at: Point, text: &str, style: Style, bounds: Rect) {
    let width = text_width(text, style.size, style.bold);
    let start = match style.anchor {
        Anchor::Start => at.0,
        Anchor::Middle => at.0 - width / 2.0,
        Anchor::End => at.0 - width,
    };
    let start = start.min(bounds.right - width).max(bounds.left);
    scene.text((start, at.1), text, style.anchored(Anchor::Start));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_cut_to_their_room() {
        let lines = wrap("one two three four five six", 12.0, false, 70.0);
        assert!(lines.len() > 2, "{lines:?}");
        assert!(
            lines
                .iter()
                .all(|line| text_width(line, 12.0, false) <= 70.0)
        );
        assert_eq!(lines.join(" "), "one two three four five six");
        let cut = fitted("sliding-window-counter", 12.0, true, 80.0);
        assert!(
            cut.ends_with('…') && text_width(&cut, 12.0, true) <= 80.0,
            "{cut}"
        );
        assert_eq!(fitted("gcra", 12.0, true, 80.0), "gcra");
    }
}
