//! Lines in panels, for commands whose figures are no report's.

use std::fmt::Write as _;

use super::WIDE;
use super::axis::Axis;
use super::frame::{Frame, SMALL, Sample, fitted};
use super::panel::{Grid, Panel, gutter};
use super::rows;
use crate::report::format::Unit;
use crate::report::scene::{Ink, Stroke, Style};
use crate::report::{PIXELS, ReportError, TOOL, VERSION};

/// A picture of one or more panels, and the CSV of exactly what it shows.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub explanation: String,
    /// In reading order.
    pub charts: Vec<Chart>,
    /// Where it comes from.
    pub footer: String,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Along.
    pub x: Side,
    /// Up.
    pub y: Side,
    /// From back to front.
    pub lines: Vec<Line>,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Side {
    /// The quantity, without its unit.
    pub title: String,
    /// Its unit.
    pub unit: Quantity,
    /// Even factors instead of even steps.
    pub logarithmic: bool,
}

/// What an axis measures, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes a second.
    Rate,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Micros,
    /// A share of one.
    Share,
    /// A bare number.
    Number,
}

/// One line; of the same name everywhere in the same look.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its place among the names, and so its colour.
    pub rank: usize,
    /// In order along.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper end at each point; empty: none.
    pub band: Vec<(f64, f64)>,
    /// Whether each point is marked.
    pub marked: bool,
    /// Whether it is dashed, as what is computed beside what was found.
    pub dashed: bool,
}

impl Quantity {
    const fn unit(self) -> Unit {
        match self {
            Self::Rate => Unit::Rate,
            Self::Bytes => Unit::Bytes,
            Self::Seconds => Unit::Seconds,
            Self::Micros => Unit::Micros,
            Self::Share => Unit::Share,
            Self::Number => Unit::Number,
        }
    }
}

/// What tells lines without marks apart where there is no colour.
const DASHES: [&[f32]; 4] = [&[], &[9.0, 3.0, 2.0, 3.0], &[2.0, 2.0], &[12.0, 4.0]];

impl Line {
    fn stroke(&self) -> Stroke {
        let stroke = Stroke::solid(Ink::Series(self.rank), 1.8);
        if self.dashed {
            stroke.dashed(&[6.0, 3.0])
        } else if self.marked {
            stroke
        } else {
            stroke.dashed(DASHES[self.rank % DASHES.len()])
        }
    }

    fn sample(&self) -> Sample {
        if self.marked {
            let (shape, hollow) = rows::shape(self.rank);
            Sample::Marked(self.stroke(), shape, hollow)
        } else {
            Sample::Line(self.stroke())
        }
    }
}

impl Drawing {
    /// The picture as PNG.
    ///
    /// # Errors
    /// [`ReportError::Draw`] if it cannot be drawn.
    pub fn png(&self, name: &str) -> Result<Vec<u8>, ReportError> {
        let mut frame = Frame::new(WIDE);
        frame.head(&self.title, &self.explanation);
        self.legend(&mut frame);
        let axes: Vec<(Axis, Axis)> = self.charts.iter().map(Chart::axes).collect();
        let widest = axes
            .iter()
            .map(|(_, y)| *y)
            .max_by(|one, other| gutter(one).total_cmp(&gutter(other)));
        let Some(y) = widest else {
            return Ok(Vec::new());
        };
        let grid = Grid {
            x: y,
            y,
            x_title: "",
            y_title: "",
            least: match self.charts.len() {
                1 | 2 | 4 => 380.0,
                _ => 260.0,
            },
            height: if self.charts.len() > 4 { 170.0 } else { 240.0 },
        };
        let rects = grid.places(&mut frame, self.charts.len());
        for ((chart, (x, y)), rect) in self.charts.iter().zip(axes).zip(rects) {
            let panel = Panel { rect, x, y };
            panel.axes(&mut frame.scene);
            chart.draw(&mut frame, &panel);
        }
        frame.foot(&format!("{} · {TOOL} {VERSION}", self.footer));
        let png = frame.finish().png(PIXELS);
        png.map_err(|source| ReportError::Draw {
            name: name.to_owned(),
            source: Box::new(source),
        })
    }

    fn legend(&self, frame: &mut Frame) {
        let mut entries: Vec<(Sample, &str)> = Vec::new();
        for line in self.charts.iter().flat_map(|chart| &chart.lines) {
            if entries.iter().all(|(_, name)| *name != line.name) {
                entries.push((line.sample(), &line.name));
            }
        }
        frame.legend(&entries);
    }

    /// Exactly what is drawn.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("panel,line,x,y,low,high\n");
        for chart in &self.charts {
            for line in &chart.lines {
                let bands = line.band.iter().map(Some).chain(std::iter::repeat(None));
                for ((x, y), band) in line.points.iter().zip(bands) {
                    let ends =
                        band.map_or_else(|| ",".to_owned(), |(low, high)| format!("{low},{high}"));
                    // Writing to a string cannot fail.
                    let _ = writeln!(
                        text,
                        "{},{},{x},{y},{ends}",
                        quoted(&chart.title),
                        quoted(&line.name)
                    );
                }
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl Chart {
    fn axes(&self) -> (Axis, Axis) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let bands = self.lines.iter().flat_map(|line| &line.band);
        let ys = points().map(|point| point.1);
        let ends = bands.flat_map(|(low, high)| [*low, *high]);
        (
            self.x.axis(points().map(|point| point.0), false),
            self.y.axis(ys.chain(ends), true),
        )
    }

    fn draw(&self, frame: &mut Frame, panel: &Panel) {
        for line in &self.lines {
            if !line.band.is_empty() {
                let along = || line.points.iter().map(|point| point.0);
                let low: Vec<(f64, f64)> = along().zip(line.band.iter().map(|b| b.0)).collect();
                let high: Vec<(f64, f64)> = along().zip(line.band.iter().map(|b| b.1)).collect();
                panel.band(&mut frame.scene, &low, &high, Ink::Series(line.rank), 0.15);
            }
            panel.line(&mut frame.scene, &line.points, line.stroke());
            if line.marked {
                let (shape, hollow) = rows::shape(line.rank);
                for (x, y) in &line.points {
                    let at = panel.at(*x, *y);
                    frame
                        .scene
                        .mark(at, shape, 6.0, Ink::Series(line.rank), hollow);
                }
            }
        }
        let along = format!("along: {}{}", self.x.title, panel.x.unit_note());
        let title = format!("{}{}", self.title, panel.y.unit_note());
        let (left, top) = (panel.rect.left, panel.rect.top);
        let style = Style::new(13.0, Ink::Text).bold();
        let title = fitted(&title, 13.0, true, panel.rect.width());
        frame.scene.text((left, top - 18.0), title, style);
        let along = fitted(&along, SMALL, false, panel.rect.width());
        let style = Style::new(SMALL, Ink::Muted);
        frame.scene.text((left, top - 5.0), along, style);
    }
}

impl Side {
    fn axis(&self, values: impl Iterator<Item = f64>, from_zero: bool) -> Axis {
        let unit = self.unit.unit();
        let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let counts = self.unit == Quantity::Number && finite.iter().all(|one| one.fract() == 0.0);
        let (low, high) = finite
            .into_iter()
            .filter(|value| !self.logarithmic || *value > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return Axis::linear(unit, 0.0, 1.0);
        }
        if self.logarithmic {
            return Axis::log(unit, low, high);
        }
        let low = if from_zero { low.min(0.0) } else { low };
        let room = if from_zero { (high - low) * 0.05 } else { 0.0 };
        let high = if high > low { high + room } else { low + 1.0 };
        let axis = Axis::linear(unit, low, high);
        if counts {
            axis.of_whole_numbers()
        } else {
            axis
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(unit: Quantity) -> Side {
        Side {
            title: "Time".to_owned(),
            unit,
            logarithmic: false,
        }
    }

    #[test]
    fn the_table_holds_what_is_drawn() {
        let line = |points: Vec<(f64, f64)>, band| Line {
            name: "a, b".to_owned(),
            rank: 0,
            points,
            band,
            marked: true,
            dashed: false,
        };
        let chart = Chart {
            title: "Bytes".to_owned(),
            x: side(Quantity::Seconds),
            y: side(Quantity::Bytes),
            lines: vec![
                line(vec![(0.0, 1.0), (1.0, 2.0)], vec![(0.5, 1.5), (1.0, 3.0)]),
                line(vec![(2.0, f64::NAN)], Vec::new()),
            ],
        };
        let drawing = Drawing {
            title: "Title".to_owned(),
            explanation: "Read it.".to_owned(),
            charts: vec![chart],
            footer: "here".to_owned(),
        };
        assert_eq!(
            drawing.csv(),
            "panel,line,x,y,low,high\n\
             Bytes,\"a, b\",0,1,0.5,1.5\nBytes,\"a, b\",1,2,1,3\nBytes,\"a, b\",2,NaN,,\n"
        );
        let png = drawing.png("test.png").unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        assert_eq!(drawing.png("test.png").unwrap(), png);
    }
}
