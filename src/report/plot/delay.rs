//! Which share of packets waited longer than x, both axes logarithmic.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::{Grid, Panel};
use super::{Curves, LIMIT, driver_legend, ink, mean, steps, stroke_of};
use crate::report::format::{Unit, quantity};
use crate::report::scene::{Anchor, Ink, Scene, Stroke, Style};
use crate::report::subject::Subject;
use crate::results::Results;

const OTHERS: Stroke = Stroke::solid(Ink::Shade, 1.0);

/// The picture `delay.png`.
pub(super) fn draw(frame: &mut Frame, subject: &Subject, results: &Results) {
    let curves = Curves::of(&results.delay);
    let many = subject.algorithms.len() > 1;
    frame.legend(&legend(subject, many));
    let grid = Grid {
        x: delays(&curves),
        y: shares(&curves),
        x_title: "Delay, logarithmic",
        y_title: "Share of packets",
        least: if subject.algorithms.len() > 6 {
            250.0
        } else {
            360.0
        },
        height: if subject.algorithms.len() > 2 {
            130.0
        } else {
            220.0
        },
    };
    let panels = grid.lay(frame, subject.algorithms.len());
    for (tested, panel) in subject.algorithms.iter().zip(panels) {
        let algorithm = tested.label.as_str();
        if let Some(driver) = subject.drivers.first() {
            for other in subject
                .algorithms
                .iter()
                .filter(|other| other.label != algorithm)
            {
                line(
                    &mut frame.scene,
                    &panel,
                    curves.get(driver, &other.label, "ccdf"),
                    OTHERS,
                );
            }
        }
        for driver in &subject.drivers {
            let points = curves.get(driver, algorithm, "ccdf");
            let stroke = stroke_of(subject, results, driver, algorithm);
            line(&mut frame.scene, &panel, points, stroke);
        }
        for (rank, driver) in subject.drivers.iter().enumerate() {
            bound(
                &mut frame.scene,
                &panel,
                curves.get(driver, algorithm, "bound"),
                rank,
            );
        }
        remark(&mut frame.scene, &panel, subject, results, algorithm);
        let figures = figures(subject, results, algorithm);
        panel.heading(
            &mut frame.scene,
            ink(subject, algorithm),
            algorithm,
            &figures,
        );
    }
}

/// How to read it.
pub(super) fn explanation(subject: &Subject) -> String {
    let many = subject.algorithms.len() > 1;
    let others = if many {
        " Grey: the other algorithms."
    } else {
        ""
    };
    format!(
        "From the instant a send was due to its last byte's departure. A point (x, y) reads: the share y \
         of all packets that passed was delayed by more than x; further left is better. Dashed: what theory bounds the delay by, from the arrivals and the \
         algorithm alone.{others}"
    )
}

fn legend(subject: &Subject, many: bool) -> Vec<(Sample, &str)> {
    let mut entries = driver_legend(subject);
    if let (true, Some(driver)) = (many, subject.drivers.first()) {
        entries.push((
            Sample::Line(OTHERS),
            if driver == "model" {
                "the others, model"
            } else {
                "the others"
            },
        ));
    }
    entries.push((Sample::Line(LIMIT), "bound of the delay"));
    entries
}

/// From the least delay that a tenth of some algorithm's packets stays below,
/// over seven decades at most: the very first packets do not stretch the axis.
fn delays(curves: &Curves<'_>) -> Axis {
    let delayed = |points: &[(f64, f64)]| {
        points
            .iter()
            .find(|&&(x, y)| x > 0.0 && y <= 0.9)
            .map(|point| point.0)
    };
    let high = curves
        .all("ccdf")
        .flatten()
        .map(|point| point.0)
        .fold(0.0, f64::max);
    if high <= 0.0 {
        return Axis::log(Unit::Micros, 1.0, 1000.0);
    }
    let low = curves.all("ccdf").filter_map(delayed).fold(high, f64::min);
    Axis::log(Unit::Micros, low.max(high * 1e-7), high)
}

fn shares(curves: &Curves<'_>) -> Axis {
    let least = curves
        .all("ccdf")
        .flatten()
        .map(|point| point.1)
        .filter(|y| *y > 0.0)
        .fold(0.1, f64::min);
    Axis::log(Unit::Share, least.max(1e-6), 1.0)
}

/// No delay lies on the left edge; the line ends at the foot.
fn line(scene: &mut Scene, panel: &Panel, points: &[(f64, f64)], stroke: Stroke) {
    let (low, floor) = (panel.x.low(), panel.y.low() / 10.0);
    let Some(&(last, _)) = points.last() else {
        return;
    };
    let all = std::iter::once((low, 1.0));
    let inside = points.iter().map(|&(x, y)| (x.max(low), y.max(floor)));
    let mut inside = steps(all.chain(inside), last.max(low));
    inside.push((last.max(low), floor));
    panel.line(scene, &inside, stroke);
}

/// What theory says that no packet waits longer than.
fn bound(scene: &mut Scene, panel: &Panel, points: &[(f64, f64)], rank: usize) {
    let Some(&(bound, _)) = points.first().filter(|point| point.0 > 0.0) else {
        return;
    };
    let line = [(bound, panel.y.low()), (bound, panel.y.high())];
    panel.line(scene, &line, LIMIT);
    let (x, y) = panel.at(bound, panel.y.high());
    if rank == 0 && (panel.rect.left..=panel.rect.right).contains(&x) {
        let words = format!("bound {}", quantity(Unit::Micros, bound, 3));
        let style = Style::new(10.5, Ink::Text).anchored(Anchor::End).rimmed();
        scene.text((x - 3.0, y + 11.0), words, style);
    }
}

/// What a panel says where there is nothing to draw.
fn remark(scene: &mut Scene, panel: &Panel, subject: &Subject, results: &Results, algorithm: &str) {
    let most = |driver: &String| mean(results, driver, algorithm, |row| row.delay_max_us);
    let words = match subject.drivers.iter().filter_map(most).reduce(f64::max) {
        None => "no packet passed, or no delay is known",
        Some(most) if most <= 0.0 => "no delay: what passed, passed at once",
        Some(_) => return,
    };
    let at = (
        panel.rect.left.midpoint(panel.rect.right),
        panel.rect.top.midpoint(panel.rect.bottom),
    );
    scene.text(
        at,
        words,
        Style::new(11.5, Ink::Text)
            .anchored(Anchor::Middle)
            .rimmed(),
    );
}

/// "p99: model 80.1 ms, proxy 81.3 ms".
fn figures(subject: &Subject, results: &Results, algorithm: &str) -> String {
    let figures: Vec<String> = subject
        .drivers
        .iter()
        .filter_map(|driver| {
            let p99 = mean(results, driver, algorithm, |row| row.delay_p99_us)?;
            Some(format!("{driver} {}", quantity(Unit::Micros, p99, 3)))
        })
        .collect();
    if figures.is_empty() {
        String::new()
    } else {
        format!("p99: {}", figures.join(", "))
    }
}
