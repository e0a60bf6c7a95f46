//! `weirgate rfc7640`: the methods of RFC 7640, with its report tables.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::picture::{real, side};
use super::sweep::write_file;
use super::{Failure, Outcome, note, print};
use crate::cli::{Rfc7640Args, ServerArg};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{Chart, Drawing, Line, Look, Quantity, plain};
use crate::rfc7640::{
    Against, Config, EASE, Figures, Found, Metric, Part, ServerError, Test, run as run_tests,
    run_against,
};
use crate::scenario::problem::{FileProblems, Problem};

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum BadPlan {
    #[error("cannot read the test plan {}", path.display())]
    #[diagnostic(help("plans/rfc7640.toml is one"))]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {what}", path.display())]
    Plan {
        path: PathBuf,
        what: String,
        #[help]
        instead: String,
    },
}

/// A server that could not be tested.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot test the server")]
#[diagnostic(help(
    "does it run, and does it know the users of the plan? `user` of a profile is its user there"
))]
struct CannotTest {
    source: ServerError,
}

pub(super) fn run(args: &Rfc7640Args) -> Result<Outcome, Failure> {
    let mut config = load(&args.file)?;
    config.runs = args.runs.unwrap_or(config.runs);
    config.duration = args.duration.unwrap_or(config.duration);
    if let Some((what, instead)) = config.problem() {
        let path = args.file.clone();
        return Err(Failure::input(BadPlan::Plan {
            path,
            what,
            instead,
        }));
    }
    let (found, about) = match &args.server {
        None => {
            let tests = run_tests(&config);
            (
                Found {
                    tests,
                    ..Found::default()
                },
                VIRTUAL.to_owned(),
            )
        }
        Some(server) => {
            let against = match server {
                ServerArg::Own => Against::Own,
                ServerArg::By(via) => Against::By {
                    via: via.clone(),
                    target: args.target,
                },
            };
            let stop = interrupt::watch();
            let found = run_against(&config, &against, Progress::of_stderr(), &stop);
            let found = found.map_err(|source| Failure::environment(CannotTest { source }))?;
            let about = in_real_time(&config, found.own_delay);
            (found, about)
        }
    };
    if let Some(out) = &args.out {
        write_csv(out, &found.tests)?;
        let drawing = drawing(&config, &found.tests);
        let picture = out.with_extension("png");
        let png = drawing.png(&picture.display().to_string());
        write_file(&picture, &png.map_err(Failure::environment)?)?;
    }
    print(&text(&config, &about, &found.tests))?;
    Ok(if found.interrupted {
        note("interrupted: the tables hold the tests that were completed");
        Outcome::Interrupted
    } else {
        Outcome::Done
    })
}

const VIRTUAL: &str = "In virtual time: the tester's own PD and PDV are 0, and a loss is known at once, without a loss wait threshold.";

/// What must stand beside figures of a server.
fn in_real_time(config: &Config, [delay, variation]: [f64; 2]) -> String {
    format!(
        "In real time over TCP: loss wait threshold {} (and what a queue may take): what a relay holds back for longer counts as lost,\n\
         and what the rate yields within it is part of the burst size achieved. The tester's own PD of {} and PDV of {} are taken off. TCP efficiency is of all segments that this machine sent meanwhile.\n\
         Bursts into queues and shapers come {EASE} % further apart than written below, so that what was late once can catch up.",
        config.loss_wait,
        plain::seconds(delay),
        plain::seconds(variation),
    )
}

fn load(path: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(path).map_err(|source| {
        let path = path.to_owned();
        Failure::input(BadPlan::Read { path, source })
    })?;
    toml::from_str(&text).map_err(|why| {
        let problem = Problem::new(why.span().unwrap_or(0..0), why.message());
        let shown = path.display().to_string();
        Failure::input(FileProblems::new(&shown, &text, vec![problem]))
    })
}

fn text(config: &Config, about: &str, tests: &[Test]) -> String {
    let line = plain::rate(real(config.line.get()));
    let mut text = format!(
        "RFC 7640: Tr = {} runs, Td = {}, line {line}, packets of {}\n{about}\n",
        config.runs, config.duration, config.packet,
    );
    for test in tests {
        text.push('\n');
        text.push_str(&table(test));
    }
    if let Some(table) = overview(tests) {
        text.push('\n');
        text.push_str(&table);
    }
    text
}

/// The figures that are drawn: of which test, what they are called, and in which unit.
const DRAWN: [(Part, Metric, &str, Quantity); 6] = [
    (
        Part::Main,
        Metric::Bsa,
        "Burst size achieved",
        Quantity::Bytes,
    ),
    (
        Part::Main,
        Metric::Pdv,
        "Delay variation (p99)",
        Quantity::Seconds,
    ),
    (Part::Main, Metric::Sr, "Output rate", Quantity::Rate),
    (
        Part::Stateful,
        Metric::Ttpet,
        "Transfer time",
        Quantity::Seconds,
    ),
    (
        Part::Stateful,
        Metric::Efficiency,
        "TCP efficiency in %",
        Quantity::Number,
    ),
    (
        Part::Stateful,
        Metric::BufferDelay,
        "Buffer delay in %",
        Quantity::Number,
    ),
];

/// Every run of every profile.
fn drawing(config: &Config, tests: &[Test]) -> Drawing {
    let mut profiles: Vec<&str> = Vec::new();
    for test in tests.iter().filter(|test| test.part == Part::Main) {
        profiles.push(&test.profile);
    }
    let charts = DRAWN.iter().map(|(part, metric, title, unit)| {
        let of = tests.iter().filter(|test| test.part == *part);
        let lines = of.filter_map(|test| {
            let rank = profiles.iter().position(|name| *name == test.profile)?;
            Some(line(test, rank, *metric))
        });
        Chart {
            title: (*title).to_owned(),
            x: side("run", Quantity::Number),
            y: side(title, *unit),
            lines: lines.collect(),
        }
    });
    let mut charts: Vec<Chart> = charts.collect();
    charts.extend(together(tests, &profiles));
    charts.extend(held(tests, profiles.len()));
    Drawing {
        title: "RFC 7640: every run of every profile".to_owned(),
        explanation: "First the stateless tests, bursts as large as each profile takes at once, then the stateful ones, transfers again \
                      and again with a micro burst each second: each profile alone, and the first of the concurrent tests. At last \
                      how many limiters held of as many as were loaded at once."
            .to_owned(),
        charts,
        footer: format!(
            "Tr = {} · Td = {} · line {} · packets of {}",
            config.runs,
            config.duration,
            plain::rate(real(config.line.get())),
            config.packet
        ),
    }
}

/// Transfer times of the first test in which several profiles are under TCP at once.
fn together(tests: &[Test], profiles: &[&str]) -> Option<Chart> {
    let concurrent = |test: &&Test| test.name.starts_with("concurrent stateful");
    let first = tests.iter().find(concurrent)?;
    let lines = tests.iter().filter(|test| test.name == first.name);
    let lines = lines.map(|test| {
        let rank = profiles.iter().position(|name| *name == test.profile);
        line(test, rank.unwrap_or(profiles.len()), Metric::Ttpet)
    });
    Some(Chart {
        title: "Pattern time, all at once".to_owned(),
        x: side("run", Quantity::Number),
        y: side("Pattern time", Quantity::Seconds),
        lines: lines.collect(),
    })
}

/// Of every trial of capacity, how many limiters held.
fn held(tests: &[Test], first_rank: usize) -> Option<Chart> {
    let trials: Vec<&Test> = tests
        .iter()
        .filter(|test| test.part == Part::Trials)
        .collect();
    let lines = trials.iter().zip(first_rank..).map(|(test, rank)| {
        let mut points: Vec<(f64, f64)> = test
            .runs
            .iter()
            .filter_map(|run| Some((*run.get(&Metric::Limiters)?, *run.get(&Metric::Held)?)))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line {
            name: test.name.clone(),
            rank,
            points,
            band: Vec::new(),
            marked: true,
            dashed: false,
        }
    });
    (!trials.is_empty()).then(|| Chart {
        title: "Limiters that held".to_owned(),
        x: side("limiters at once", Quantity::Number),
        y: side("held", Quantity::Number),
        lines: lines.collect(),
    })
}

/// A figure of every run of a test.
fn line(test: &Test, rank: usize, metric: Metric) -> Line {
    let runs = (1_u32..).zip(&test.runs);
    let points = runs.filter_map(|(run, found)| Some((f64::from(run), *found.get(&metric)?)));
    Line {
        name: test.profile.clone(),
        rank,
        points: points.collect(),
        band: Vec::new(),
        marked: true,
        dashed: false,
    }
}

/// The eleven figures of each profile, means over the runs: burst hunt, then the stateless and the
/// stateful test.
fn overview(tests: &[Test]) -> Option<String> {
    let mut profiles: Vec<&str> = Vec::new();
    let told = |test: &&Test| !matches!(test.part, Part::Other | Part::Trials);
    for test in tests.iter().filter(told) {
        if !profiles.contains(&test.profile.as_str()) {
            profiles.push(&test.profile);
        }
    }
    let value = |profile: &str, metric: Metric| {
        let of = |part: Part| {
            let mut own = tests.iter();
            let test = own.find(|test| test.profile == profile && test.part == part)?;
            mean(&values(test, metric))
        };
        [Part::Hunt, Part::Main, Part::Stateful]
            .into_iter()
            .find_map(of)
    };
    let mut head = vec!["<profile"];
    head.extend(Metric::ALL.iter().map(|metric| metric.label()));
    let rows: Vec<Vec<String>> = profiles
        .iter()
        .map(|profile| {
            let figures = Metric::ALL
                .iter()
                .map(|metric| cell(value(profile, *metric), *metric));
            std::iter::once((*profile).to_owned())
                .chain(figures)
                .collect()
        })
        .collect();
    let title = "All figures, means over the runs: burst hunt, stateless test, stateful test";
    (!rows.is_empty()).then(|| plain::table(title, &head, &rows, "", Look::of_stdout()))
}

fn values(test: &Test, metric: Metric) -> Vec<f64> {
    let runs = test.runs.iter();
    runs.filter_map(|run| run.get(&metric).copied()).collect()
}

fn cell(value: Option<f64>, metric: Metric) -> String {
    value.map_or_else(|| "–".to_owned(), |value| shown(value * metric.factor()))
}

fn table(test: &Test) -> String {
    let trials = test.part == Part::Trials;
    let title = format!("{}: {}, {}", test.name, test.profile, test.setting);
    if test.runs.is_empty() {
        return format!("{title}\n");
    }
    let mut head = vec![if trials { "<trial" } else { "<run" }];
    head.extend(test.columns.iter().map(|metric| metric.label()));
    let cells = |name: String, of: &dyn Fn(Metric) -> Option<f64>| {
        let figures = test.columns.iter().map(|metric| cell(of(*metric), *metric));
        std::iter::once(name).chain(figures).collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> = test
        .runs
        .iter()
        .zip(1..)
        .map(|(run, number): (&Figures, u32)| {
            cells(number.to_string(), &|metric| run.get(&metric).copied())
        })
        .collect();
    if test.runs.len() > 1 && !trials {
        let of = |metric| values(test, metric);
        rows.push(cells("mean".into(), &|metric| mean(&of(metric))));
        rows.push(cells("sd".into(), &|metric| deviation(&of(metric))));
    }
    plain::table(&title, &head, &rows, "", Look::of_stdout())
}

fn shown(value: f64) -> String {
    let digits = if value == value.trunc() || value.abs() >= 1e5 {
        0
    } else {
        3
    };
    format!("{value:.digits$}")
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values))
}

fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count(values) - 1.0)).sqrt())
}

#[expect(clippy::cast_precision_loss, reason = "at most a thousand runs")]
const fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// A row a figure, in bytes, seconds and packets.
fn write_csv(path: &Path, tests: &[Test]) -> Result<(), Failure> {
    let mut csv = String::from("test,profile,setting,run,metric,value\n");
    for test in tests {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let (name, profile) = (quoted(&test.name), quoted(&test.profile));
        let setting = quoted(&test.setting);
        for (run, number) in test.runs.iter().zip(1..) {
            let _: u32 = number;
            for (metric, value) in run {
                let label = metric.label().split(" (").next().unwrap_or_default();
                // Writing to a String cannot fail.
                let _ = writeln!(
                    csv,
                    "{name},{profile},{setting},{number},\"{label}\",{value}",
                );
            }
        }
    }
    write_file(path, csv.as_bytes())
}
