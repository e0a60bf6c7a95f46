//! The pictures of a report of requests: figures against the load, a panel for each
//! service.

use super::axis::Axis;
use super::frame::{Frame, Sample};
use super::panel::{Grid, Panel};
use super::{LIMIT, WIDE};
use crate::report::format::Unit;
use crate::report::requests::{Figure, Group, runs};
use crate::report::scene::{Ink, Scene, Shape, Stroke};
use crate::results::RequestRow;
use crate::scenario::requests::{RequestScenario, Service};

/// One of the pictures.
pub(in crate::report) struct Picture {
    /// Its file, without the ending.
    pub(in crate::report) stem: &'static str,
    /// What it is called in a list of contents.
    pub(in crate::report) name: &'static str,
    /// What it shows.
    pub(in crate::report) title: &'static str,
    /// How to read it.
    pub(in crate::report) explanation: &'static str,
    y_title: &'static str,
    unit: Unit,
    /// Decades instead of even steps.
    log: bool,
    /// Whether what could be served at most is drawn.
    ideal: bool,
    lines: &'static [Line],
}

/// One figure.
struct Line {
    words: &'static str,
    figure: Figure,
    theory: Option<Figure>,
}

impl Picture {
    /// In the order of the report.
    pub(in crate::report) const ALL: [Self; 4] = [
        Self {
            stem: "goodput",
            name: "Goodput",
            title: "Goodput against the offered load",
            explanation: "Requests served a second, means over runs. Dashed: what workers that are never idle \
                while somebody asks could serve. A service that collapses bends down beyond 1.",
            y_title: "Served (1/s)",
            unit: Unit::Number,
            log: false,
            ideal: true,
            lines: &[Line {
                words: "goodput",
                figure: |row| Some(row.goodput_rps),
                theory: Some(|row| row.theory_goodput_rps),
            }],
        },
        Self {
            stem: "queue-delay",
            name: "Queue delay",
            title: "Queue delay against the offered load",
            explanation: "From the instant a request was due to when a worker began with it, percentiles of those \
                that got one, means over runs. The axis is logarithmic: what is zero stands at its foot. The real service's \
                has the way to the origin in it.",
            y_title: "Queue delay, logarithmic",
            unit: Unit::Micros,
            log: true,
            ideal: false,
            lines: &[
                Line {
                    words: "p50",
                    figure: |row| row.queue_delay_p50_us,
                    theory: Some(|row| row.theory_queue_delay_p50_us),
                },
                Line {
                    words: "p90",
                    figure: |row| row.queue_delay_p90_us,
                    theory: None,
                },
                Line {
                    words: "p99",
                    figure: |row| row.queue_delay_p99_us,
                    theory: Some(|row| row.theory_queue_delay_p99_us),
                },
            ],
        },
        Self {
            stem: "response",
            name: "Response times",
            title: "Response time against the offered load",
            explanation: "From the instant a request was due to its answer, percentiles of those that were served, means \
                over runs. Logarithmic.",
            y_title: "Response time, logarithmic",
            unit: Unit::Micros,
            log: true,
            ideal: false,
            lines: &[
                Line {
                    words: "p50",
                    figure: |row| row.response_p50_us,
                    theory: None,
                },
                Line {
                    words: "p90",
                    figure: |row| row.response_p90_us,
                    theory: None,
                },
                Line {
                    words: "p99",
                    figure: |row| row.response_p99_us,
                    theory: None,
                },
            ],
        },
        Self {
            stem: "rejections",
            name: "Rejections",
            title: "Requests that were not served, by reason",
            explanation: "Of the requests offered, the share that found the queue full, waited in it too long, or ran too \
                long at a worker; means over runs.",
            y_title: "Of those offered",
            unit: Unit::Share,
            log: false,
            ideal: false,
            lines: &[
                Line {
                    words: "queue full",
                    figure: |row| row.share(row.queue_full_requests),
                    theory: Some(|row| row.theory_rejected_ratio),
                },
                Line {
                    words: "queue time-out",
                    figure: |row| row.share(row.queue_timeout_requests),
                    theory: None,
                },
                Line {
                    words: "request time-out",
                    figure: |row| row.share(row.request_timeout_requests),
                    theory: None,
                },
            ],
        },
    ];

    /// The picture that stands for itself: with title, explanation and origin.
    pub(in crate::report) fn whole(
        &self,
        scenario: &RequestScenario,
        rows: &[RequestRow],
        width: f32,
    ) -> Scene {
        let mut frame = Frame::new(width);
        frame.head(self.title, self.explanation);
        self.draw(&mut frame, scenario, rows);
        frame.foot(&footer(scenario, rows));
        frame.finish()
    }

    /// The drawing alone, for a page that has the words beside it.
    pub(in crate::report) fn bare(
        &self,
        scenario: &RequestScenario,
        rows: &[RequestRow],
        width: f32,
    ) -> Scene {
        let mut frame = Frame::new(width);
        self.draw(&mut frame, scenario, rows);
        frame.finish()
    }

    fn draw(&self, frame: &mut Frame, scenario: &RequestScenario, rows: &[RequestRow]) {
        self.legend(frame, scenario, rows);
        let last = scenario.loads.last().copied().unwrap_or(1.0);
        let grid = Grid {
            x: Axis::linear(Unit::Number, 0.0, last * 1.04),
            y: self.axis(scenario, rows),
            x_title: "Offered, in multiples of what the workers can do",
            y_title: self.y_title,
            least: 300.0,
            height: if frame.scene.width < WIDE {
                240.0
            } else {
                340.0
            },
        };
        let panels = grid.lay(frame, scenario.services.len());
        for (service, panel) in scenario.services.iter().zip(panels) {
            let groups = Group::of(scenario, service, rows);
            if self.ideal {
                let capacity = scenario.capacity(service);
                let most = panel.x.high();
                let ideal = [(0.0, 0.0), (1.0, capacity), (most, capacity)];
                panel.line(&mut frame.scene, &ideal, LIMIT);
            }
            for (at, line) in self.lines.iter().enumerate() {
                line.draw(&mut frame.scene, &panel, scenario, &groups, Ink::Series(at));
            }
            let rules = &service.rules;
            let figures = format!(
                "{} workers, {} in the queue, time-outs {} and {}",
                rules.workers, rules.queue, rules.queue_timeout, rules.request_timeout
            );
            panel.heading(&mut frame.scene, Ink::Muted, &service.label, &figures);
        }
    }

    fn legend(&self, frame: &mut Frame, scenario: &RequestScenario, rows: &[RequestRow]) {
        let mut entries: Vec<(Sample, &str)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(at, line)| {
                (
                    Sample::Line(Stroke::solid(Ink::Series(at), 2.0)),
                    line.words,
                )
            })
            .collect();
        for (rank, driver) in scenario.drivers.iter().enumerate() {
            let (shape, hollow) = mark(rank);
            entries.push((Sample::Mark(shape, Ink::Text, hollow), driver.name()));
        }
        let has_theory = |line: &Line| {
            let figure = line.theory;
            figure.is_some_and(|figure| rows.iter().any(|row| figure(row).is_some()))
        };
        if self.lines.iter().any(has_theory) {
            entries.push((Sample::Mark(Shape::Diamond, Ink::Limit, true), "theory"));
        }
        if self.ideal {
            entries.push((Sample::Line(LIMIT), "at best"));
        }
        frame.legend(&entries);
    }

    fn axis(&self, scenario: &RequestScenario, rows: &[RequestRow]) -> Axis {
        let all = || {
            let of_row = |row| self.lines.iter().filter_map(move |line| (line.figure)(row));
            rows.iter().flat_map(of_row)
        };
        let most = all().fold(0.0, f64::max);
        if self.log {
            let positive = all().filter(|value| *value > 0.0);
            // A percentile of zero and some nanoseconds of a run make no decades.
            let least = positive.fold(most, f64::min).max(most * 1e-5);
            return Axis::log(self.unit, least, most);
        }
        if self.unit == Unit::Share {
            return Axis::linear(self.unit, 0.0, 1.0);
        }
        let capacity = |service: &Service| scenario.capacity(service);
        let best = scenario.services.iter().map(capacity).fold(most, f64::max);
        Axis::linear(self.unit, 0.0, best * 1.1)
    }
}

impl Line {
    fn draw(
        &self,
        scene: &mut Scene,
        panel: &Panel,
        scenario: &RequestScenario,
        groups: &[Group<'_>],
        ink: Ink,
    ) {
        self.draw_theory(scene, panel, scenario, groups);
        for (rank, driver) in scenario.drivers.iter().enumerate() {
            let own = groups.iter().filter(|group| group.driver == driver.name());
            let points: Vec<(f64, f64)> =
                own.filter_map(|group| point(group, self.figure)).collect();
            let points = above_the_foot(panel, &points);
            let stroke = match rank {
                0 => Stroke::solid(ink, 2.0),
                _ => Stroke::solid(ink, 1.6).dashed(&[5.0, 3.0]),
            };
            panel.line(scene, &points, stroke);
            let (shape, hollow) = mark(rank);
            for (x, y) in points {
                scene.mark(panel.at(x, y), shape, 8.0, ink, hollow);
            }
        }
    }

    /// Below the others' marks: whoever agrees stands in its diamond.
    fn draw_theory(
        &self,
        scene: &mut Scene,
        panel: &Panel,
        scenario: &RequestScenario,
        groups: &[Group<'_>],
    ) {
        let Some(theory) = self.theory else { return };
        let first = scenario.drivers.first().map(|driver| driver.name());
        let own = groups.iter().filter(|group| Some(group.driver) == first);
        let points: Vec<(f64, f64)> = own.filter_map(|group| point(group, theory)).collect();
        for (x, y) in above_the_foot(panel, &points) {
            scene.mark(panel.at(x, y), Shape::Diamond, 15.0, Ink::Limit, true);
        }
    }
}

/// The mean of the runs at its load.
fn point(group: &Group<'_>, figure: Figure) -> Option<(f64, f64)> {
    let values = group.values(figure);
    #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
    let count = values.len() as f64;
    (count > 0.0).then(|| (group.load, values.iter().sum::<f64>() / count))
}

/// What lies below the axis stands at its foot.
fn above_the_foot(panel: &Panel, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let foot = panel.y.low();
    points.iter().map(|&(x, y)| (x, y.max(foot))).collect()
}

const fn mark(rank: usize) -> (Shape, bool) {
    match rank {
        0 => (Shape::Circle, false),
        _ => (Shape::Square, true),
    }
}

fn footer(scenario: &RequestScenario, rows: &[RequestRow]) -> String {
    let drivers = scenario.drivers.iter().map(|driver| driver.name());
    let runs: Vec<String> = drivers
        .map(|driver| format!("{driver} n\u{a0}=\u{a0}{}", runs(rows, driver)))
        .collect();
    format!(
        "{} · seed {} · {} · {} of {} · {} {}",
        scenario.name,
        scenario.seed,
        runs.join(", "),
        scenario.service_time,
        scenario.duration,
        crate::report::TOOL,
        crate::report::VERSION,
    )
}
