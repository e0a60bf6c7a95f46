//! The one font of all pictures, shipped with the program.

use ttf_parser::{Face, GlyphId};

pub(super) static REGULAR: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
pub(super) static BOLD: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");

/// A face of the font; `None` only if the shipped file were damaged.
pub(super) fn face(bold: bool) -> Option<&'static Face<'static>> {
    use std::sync::OnceLock;
    static FACES: [OnceLock<Option<Face<'static>>>; 2] = [OnceLock::new(), OnceLock::new()];
    FACES[usize::from(bold)]
        .get_or_init(|| Face::parse(if bold { BOLD } else { REGULAR }, 0).ok())
        .as_ref()
}

/// The glyph of `letter`, or the one that stands for a missing glyph.
pub(super) fn glyph(face: &Face<'_>, letter: char) -> GlyphId {
    face.glyph_index(letter)
        .or_else(|| face.glyph_index('\u{fffd}'))
        .unwrap_or(GlyphId(0))
}

/// How wide `text` is in letters of `size`.
pub(in crate::report) fn width(text: &str, size: f32, bold: bool) -> f32 {
    face(bold).map_or(0.0, |face| {
        let units: f32 = text
            .chars()
            .filter_map(|letter| face.glyph_hor_advance(glyph(face, letter)))
            .map(f32::from)
            .sum();
        units * size / f32::from(face.units_per_em())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_fonts_have_what_the_plots_write() {
        for bold in [false, true] {
            let face = face(bold).unwrap();
            for letter in "AZaz09µ±×≤≥−–—∞▲▼●✓✗·…σü²\u{a0}".chars() {
                assert!(face.glyph_index(letter).is_some(), "{letter:?} bold={bold}");
            }
        }
        assert!(width("WW", 12.0, true) > width("ii", 12.0, true));
    }
}
