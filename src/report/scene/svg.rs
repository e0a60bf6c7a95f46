//! A scene as an SVG element whose colours come from the page's style sheet,
//! so that one drawing serves light and dark paper.

use std::fmt::Write as _;

use super::{Anchor, HEATS, Ink, Item, Point, SERIES, Scene, Style, corners, palette};
use crate::report::html::escape;

/// The page's rules for the classes used here.
pub(in crate::report) fn style() -> String {
    let inks = inks();
    let colors = |of: fn(Ink) -> u32| {
        inks.iter().fold(String::new(), |mut css, &ink| {
            // Writing to a string cannot fail.
            let _ = write!(css, "--{}:#{:06x};", name(ink), of(ink));
            css
        })
    };
    let mut css = format!(
        ":root{{{}}}\n@media(prefers-color-scheme:dark){{:root{{{}}}}}\n",
        colors(palette::light),
        colors(palette::dark)
    );
    for ink in inks {
        let _ = write!(css, ".{0}{{--k:var(--{0})}}", name(ink));
    }
    css.push_str(
        "\n.l{fill:none;stroke:var(--k);stroke-linejoin:round}.f{fill:var(--k)}\
         .h{fill:var(--paper);stroke:var(--k);stroke-width:1.2}\
         .w{fill:var(--k);font-family:'DejaVu Sans',Verdana,system-ui,sans-serif;white-space:pre}\
         .b{font-weight:700}.m{text-anchor:middle}.e{text-anchor:end}\
         .r{paint-order:stroke;stroke:var(--paper);stroke-width:3;stroke-opacity:.85;stroke-linejoin:round}\n",
    );
    css
}

/// `scene` as an element; see `Scene::svg`.
pub(super) fn element(scene: &Scene, label: &str, class: &str) -> String {
    let mut svg = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
        number(scene.width),
        number(scene.height),
        escape(label)
    );
    for item in &scene.items {
        write_item(&mut svg, item);
        svg.push('\n');
    }
    svg.push_str("</svg>");
    svg
}

fn write_item(svg: &mut String, item: &Item) {
    // Writing to a string cannot fail.
    let _ = match item {
        Item::Line { points, stroke } => {
            let _ = write!(
                svg,
                "<path class=\"l {}\" d=\"{}\" stroke-width=\"{}\"",
                name(stroke.ink),
                path(points),
                number(stroke.width)
            );
            if !stroke.dash.is_empty() {
                let dash: Vec<_> = stroke.dash.iter().map(|&length| number(length)).collect();
                let _ = write!(svg, " stroke-dasharray=\"{}\"", dash.join(" "));
            }
            write!(svg, "{}/>", opacity("stroke-opacity", stroke.opacity))
        }
        Item::Area {
            points,
            ink,
            opacity: share,
        } => write!(
            svg,
            "<path class=\"f {}\" d=\"{}z\"{}/>",
            name(*ink),
            path(points),
            opacity("fill-opacity", *share)
        ),
        Item::Mark {
            at,
            shape,
            size,
            ink,
            hollow,
        } => {
            let class = format!("{} {}", if *hollow { "h" } else { "f" }, name(*ink));
            match corners(*at, *shape, *size) {
                Some(points) => write!(svg, "<path class=\"{class}\" d=\"{}z\"/>", path(&points)),
                None => write!(
                    svg,
                    "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
                    number(at.0),
                    number(at.1),
                    number(size / 2.0)
                ),
            }
        }
        Item::Text { at, text, style } => write_text(svg, *at, text, style),
    };
}

fn write_text(svg: &mut String, at: Point, text: &str, style: &Style) -> std::fmt::Result {
    let mut class = format!("w {}", name(style.ink));
    for (wanted, letter) in [
        (style.bold, " b"),
        (style.anchor == Anchor::Middle, " m"),
        (style.anchor == Anchor::End, " e"),
        (style.rimmed, " r"),
    ] {
        if wanted {
            class.push_str(letter);
        }
    }
    let (x, y) = (number(at.0), number(at.1));
    let turn = if style.upright {
        format!(" transform=\"rotate(-90 {x} {y})\"")
    } else {
        String::new()
    };
    write!(
        svg,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" font-size=\"{}\"{turn}>{}</text>",
        number(style.size),
        escape(text)
    )
}

fn opacity(attribute: &str, share: f32) -> String {
    if share < 1.0 {
        format!(" {attribute}=\"{share:.2}\"")
    } else {
        String::new()
    }
}

/// Path data, absolute, with the short forms for level and upright pieces.
fn path(points: &[Point]) -> String {
    let mut data = String::new();
    let mut last: Option<(String, String)> = None;
    for &(x, y) in points {
        let (x, y) = (number(x), number(y));
        let _ = match &last {
            None => write!(data, "M{x} {y}"),
            Some((at_x, at_y)) if *at_x == x && *at_y == y => Ok(()),
            Some((_, at_y)) if *at_y == y => write!(data, "H{x}"),
            Some((at_x, _)) if *at_x == x => write!(data, "V{y}"),
            Some(_) => write!(data, "L{x} {y}"),
        };
        last = Some((x, y));
    }
    data
}

/// A tenth of a unit is finer than a screen.
fn number(value: f32) -> String {
    let text = format!("{value:.1}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

fn inks() -> Vec<Ink> {
    let mut inks = vec![
        Ink::Paper,
        Ink::Text,
        Ink::Muted,
        Ink::Axis,
        Ink::Grid,
        Ink::Shade,
        Ink::Limit,
        Ink::Bad,
    ];
    inks.extend((0..SERIES).map(Ink::Series));
    inks.extend((0..HEATS).flat_map(|step| [Ink::Heat(step), Ink::OnHeat(step)]));
    inks
}

/// The class, and custom property, of an ink.
fn name(ink: Ink) -> String {
    match ink {
        Ink::Paper => "paper".into(),
        Ink::Text => "text".into(),
        Ink::Muted => "muted".into(),
        Ink::Axis => "axis".into(),
        Ink::Grid => "grid".into(),
        Ink::Shade => "shade".into(),
        Ink::Limit => "limit".into(),
        Ink::Bad => "bad".into(),
        Ink::Series(n) => format!("s{}", n % SERIES),
        Ink::Heat(n) => format!("h{}", n.min(HEATS - 1)),
        Ink::OnHeat(n) => format!("o{}", n.min(HEATS - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::scene::Stroke;

    #[test]
    fn words_from_files_stay_words() {
        let mut scene = Scene::new(10.0);
        scene.text((1.0, 2.0), "<script>&\"'", Style::new(12.0, Ink::Text));
        let svg = scene.svg("a \"label\" <b>", "c");
        assert!(
            svg.contains("&lt;script&gt;&amp;&quot;&#39;</text>"),
            "{svg}"
        );
        assert!(
            svg.contains("aria-label=\"a &quot;label&quot; &lt;b&gt;\""),
            "{svg}"
        );
    }

    #[test]
    fn steps_are_written_short() {
        let mut scene = Scene::new(10.0);
        scene.line(
            vec![(0.0, 1.0), (2.0, 1.0), (2.0, 3.46), (2.001, 3.46)],
            Stroke::solid(Ink::Limit, 1.5)
                .dashed(&[4.0, 2.0])
                .faint(0.5),
        );
        let svg = scene.svg("", "c");
        let path = "d=\"M0 1H2V3.5\" stroke-width=\"1.5\" stroke-dasharray=\"4 2\" stroke-opacity=\"0.50\"/>";
        assert!(svg.contains(path), "{svg}");
    }
}
