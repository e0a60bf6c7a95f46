//! The worst window of each size as a heat map, a row for each algorithm and driver.

use super::frame::{Frame, MARGIN, SMALL, fitted};
use super::panel::position;
use super::{Curves, drivers_of};
use crate::report::format::{Unit, chosen, quantity, significant};
use crate::report::scene::{Anchor, HEATS, Ink, Rect, Stroke, Style, text_width};
use crate::report::subject::Subject;
use crate::results::{Results, Row};

const ROW: f32 = 22.0;
const GAP: f32 = 8.0;
const NAME: f32 = 12.0;
/// Shares of what rate and burst allow at which the colour changes.
const STEPS: [f64; HEATS - 1] = [0.5, 1.000_5, 1.25, 1.5, 2.0, 4.0, 8.0, 16.0];
/// Which of them is all of it, but for rounding.
const BROKEN: usize = 1;
/// Less than this is rounding, and the delay of a byte on its way.
const A_BYTE: f64 = 1.0;

/// The picture `overshoot.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let curves = Curves::of(&results.overshoot);
    scale(frame);
    let map = Map::of(subject, &curves, frame.scene.width);
    map.head(frame);
    map.allowed(frame, subject);
    for tested in &subject.algorithms {
        map.algorithm(frame, subject, results, &curves, &tested.label);
    }
}

/// How to read it.
pub(super) fn explanation(subject: &Subject) -> String {
    format!(
        "Most bytes in any window of width W, over what the rate {} alone carries in W: 1 is exactly the rate. \
         The colour compares with what rate and burst allow together, 1 + b/(rW); ▲ marks more than that. \
         Beyond burst: by how much the smallest bucket that the output fits exceeds {}. \
         Empty: a single packet is larger than rW.",
        chosen(Unit::Rate, subject.rate_Bps),
        chosen(Unit::Bytes, subject.burst_bytes)
    )
}

/// What the colours mean.
fn scale(frame: &mut Frame) {
    const CELL: f32 = 40.0;
    frame.y += 4.0;
    let style = Style::new(SMALL, Ink::Muted);
    let words = "Share of the allowed:";
    frame.scene.text(
        (MARGIN, frame.y + 10.0),
        words,
        Style::new(SMALL, Ink::Text),
    );
    let own_line = frame.scene.width < 600.0;
    let left = if own_line {
        MARGIN
    } else {
        MARGIN + text_width(words, SMALL, false) + 10.0
    };
    if own_line {
        frame.y += 16.0;
    }
    for step in 0..HEATS {
        let x = left + position(step) * CELL;
        let rect = Rect {
            left: x,
            top: frame.y,
            right: x + CELL,
            bottom: frame.y + 13.0,
        };
        frame.scene.rect(rect, Ink::Heat(step), 1.0);
    }
    for (step, share) in STEPS.into_iter().enumerate() {
        let x = left + position(step + 1) * CELL;
        let label = format!("{:.0}%", share * 100.0);
        frame
            .scene
            .text((x, frame.y + 25.0), label, style.anchored(Anchor::Middle));
    }
    frame.y += 38.0;
}

/// The columns of the map.
struct Map {
    windows: Vec<f64>,
    left: f32,
    cell: f32,
    beyond: f32,
    /// Names stand above their rows instead of beside them.
    stacked: bool,
}

impl Map {
    fn of(subject: &Subject, curves: &Curves<'_>, width: f32) -> Self {
        let mut windows: Vec<f64> = curves.all("ratio").flatten().map(|point| point.0).collect();
        windows.sort_by(f64::total_cmp);
        windows.dedup();
        let stacked = width < 600.0;
        let drivers = widest(
            subject
                .drivers
                .iter()
                .map(String::as_str)
                .chain(["allowed"]),
            false,
        );
        let names = widest(
            subject
                .algorithms
                .iter()
                .map(|tested| tested.label.as_str()),
            true,
        );
        let left = MARGIN
            + drivers
            + 10.0
            + if stacked {
                0.0
            } else {
                names.min(width * 0.3) + 14.0
            };
        let beyond = if stacked { 74.0 } else { 120.0 };
        let room = width - MARGIN - left - beyond;
        let cell = (room / position(windows.len().max(1))).min(220.0);
        Self {
            windows,
            left,
            cell,
            beyond,
            stacked,
        }
    }

    fn rect(&self, column: usize, top: f32) -> Rect {
        let left = self.left + position(column) * self.cell;
        Rect {
            left,
            top,
            right: left + self.cell - 1.5,
            bottom: top + ROW - 1.5,
        }
    }

    fn end(&self) -> f32 {
        self.left + position(self.windows.len()) * self.cell + self.beyond
    }

    fn head(&self, frame: &mut Frame) {
        let style = Style::new(NAME, Ink::Text).bold();
        frame.y += 14.0;
        for (column, &window) in self.windows.iter().enumerate() {
            let rect = self.rect(column, frame.y);
            let words = format!(
                "{}{}",
                if self.stacked { "" } else { "W = " },
                chosen(Unit::Seconds, window)
            );
            let at = (rect.left.midpoint(rect.right), frame.y);
            frame.scene.text(at, words, style.anchored(Anchor::Middle));
        }
        let words = if self.stacked {
            "Beyond b"
        } else {
            "Beyond burst"
        };
        frame
            .scene
            .text((self.end(), frame.y), words, style.anchored(Anchor::End));
        frame.y += 8.0;
    }

    /// What rate and burst allow, for comparison.
    fn allowed(&self, frame: &mut Frame, subject: &Subject) {
        let words = if self.stacked {
            "allowed"
        } else {
            "allowed by rate and burst"
        };
        let baseline = frame.y + ROW * 0.66;
        let at = (self.left - 10.0, baseline);
        frame.scene.text(
            at,
            words,
            Style::new(NAME, Ink::Muted).anchored(Anchor::End),
        );
        for (column, &window) in self.windows.iter().enumerate() {
            let rect = self.rect(column, frame.y);
            let at = (rect.left.midpoint(rect.right), baseline);
            let allowed = significant(allowed(subject, window), 3);
            frame.scene.text(
                at,
                allowed,
                Style::new(NAME, Ink::Muted).anchored(Anchor::Middle),
            );
        }
        frame.y += ROW + 4.0;
    }

    fn algorithm(
        &self,
        frame: &mut Frame,
        subject: &Subject,
        results: &Results,
        curves: &Curves<'_>,
        algorithm: &str,
    ) {
        let style = Style::new(NAME, Ink::Text).bold();
        let drivers = drivers_of(subject, results, algorithm);
        frame.scene.line(
            vec![(MARGIN, frame.y), (self.end(), frame.y)],
            Stroke::solid(Ink::Grid, 1.0),
        );
        frame.y += GAP / 2.0;
        if self.stacked {
            frame.scene.text(
                (MARGIN, frame.y + 12.0),
                fitted(algorithm, NAME, true, frame.room()),
                style,
            );
            frame.y += 18.0;
        } else {
            let middle = frame.y + position(drivers.len()) * ROW / 2.0;
            let room = self.left - MARGIN - 20.0;
            frame.scene.text(
                (MARGIN, middle + NAME * 0.36),
                fitted(algorithm, NAME, true, room),
                style,
            );
        }
        for driver in drivers {
            self.row(
                frame,
                subject,
                curves.get(driver, algorithm, "ratio"),
                driver,
            );
            let rows = || {
                results
                    .summary
                    .iter()
                    .filter(|row| row.driver == driver && row.algorithm == algorithm)
            };
            self.beyond_burst(frame, rows());
            frame.y += ROW;
        }
        frame.y += GAP / 2.0;
    }

    fn row(&self, frame: &mut Frame, subject: &Subject, points: &[(f64, f64)], driver: &str) {
        let baseline = frame.y + ROW * 0.64;
        let style = Style::new(SMALL, Ink::Muted).anchored(Anchor::End);
        frame
            .scene
            .text((self.left - 10.0, baseline), driver, style);
        for (column, &window) in self.windows.iter().enumerate() {
            let rect = self.rect(column, frame.y);
            let Some(&(_, ratio)) = points.iter().find(|point| point.0 == window) else {
                continue;
            };
            let share = ratio / allowed(subject, window);
            let step = STEPS.iter().filter(|&&step| share > step).count();
            let broken = share > STEPS[BROKEN];
            frame.scene.rect(rect, Ink::Heat(step), 1.0);
            let words = format!(
                "{}{}",
                if broken { "▲ " } else { "" },
                significant(ratio, 3)
            );
            let style = Style::new(NAME, Ink::OnHeat(step)).anchored(Anchor::Middle);
            let style = if broken { style.bold() } else { style };
            frame
                .scene
                .text((rect.left.midpoint(rect.right), baseline), words, style);
        }
    }

    fn beyond_burst<'a>(&self, frame: &mut Frame, rows: impl Iterator<Item = &'a Row>) {
        let Some(most) = rows
            .filter_map(|row| row.overshoot_excess_bytes)
            .reduce(f64::max)
        else {
            return;
        };
        let (mark, ink) = if most >= A_BYTE {
            ("▲ ", Ink::Bad)
        } else {
            ("", Ink::Text)
        };
        let most = if most >= A_BYTE { most } else { 0.0 };
        let words = format!("{mark}{}", quantity(Unit::Bytes, most, 3));
        let style = Style::new(NAME, ink).anchored(Anchor::End);
        frame
            .scene
            .text((self.end(), frame.y + ROW * 0.64), words, style);
    }
}

/// The largest A/(rW) that a bucket of the reference allows.
fn allowed(subject: &Subject, window: f64) -> f64 {
    1.0 + subject.burst_bytes / (subject.rate_Bps * window).max(1e-300)
}

fn widest<'a>(names: impl Iterator<Item = &'a str>, bold: bool) -> f32 {
    names
        .map(|name| text_width(name, NAME, bold))
        .fold(0.0, f32::max)
}
