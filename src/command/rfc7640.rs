//! `weirgate rfc7640`: the methods of RFC 7640, with its report tables.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::{Failure, Outcome, print};
use crate::cli::Rfc7640Args;
use crate::output::OutputFile;
use crate::report::{Look, plain};
use crate::rfc7640::{Config, Figures, Metric, Test, run as run_tests};
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
    let tests = run_tests(&config);
    if let Some(out) = &args.out {
        write_csv(out, &tests)?;
    }
    print(&text(&config, &tests))?;
    Ok(Outcome::Done)
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

fn text(config: &Config, tests: &[Test]) -> String {
    let line = plain::rate(real(config.line.get()));
    let mut text = format!(
        "RFC 7640: Tr = {} runs, Td = {}, line {line}, packets of {}\n\
         In virtual time: the tester's own PD and PDV are 0, and a loss is known at once, without a loss wait threshold.\n",
        config.runs, config.duration, config.packet,
    );
    for test in tests {
        text.push('\n');
        text.push_str(&table(test));
    }
    text
}

fn table(test: &Test) -> String {
    let metrics: Vec<Metric> = test
        .runs
        .first()
        .map_or(Vec::new(), |run| run.keys().copied().collect());
    let mut head = vec!["<run"];
    head.extend(metrics.iter().map(|metric| metric.label()));
    let cells = |name: String, of: &dyn Fn(Metric) -> Option<f64>| {
        let figures = metrics.iter().map(|metric| {
            of(*metric).map_or_else(|| "–".to_owned(), |value| shown(value * metric.factor()))
        });
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
    if test.runs.len() > 1 {
        let values = |metric| -> Vec<f64> {
            test.runs
                .iter()
                .filter_map(|run| run.get(&metric).copied())
                .collect()
        };
        rows.push(cells("mean".into(), &|metric| mean(&values(metric))));
        rows.push(cells("sd".into(), &|metric| deviation(&values(metric))));
    }
    let title = format!("{}: {}, {}", test.name, test.profile, test.setting);
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

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn real(number: u64) -> f64 {
    number as f64
}

/// A row a figure, in bytes, seconds and packets.
fn write_csv(path: &Path, tests: &[Test]) -> Result<(), Failure> {
    let mut csv = String::from("test,profile,setting,run,metric,value\n");
    for test in tests {
        for (run, number) in test.runs.iter().zip(1..) {
            let _: u32 = number;
            for (metric, value) in run {
                let label = metric.label().split(" (").next().unwrap_or_default();
                // Writing to a String cannot fail.
                let _ = writeln!(
                    csv,
                    "\"{}\",\"{}\",\"{}\",{number},\"{label}\",{value}",
                    test.name,
                    test.profile.replace('"', "\"\""),
                    test.setting
                );
            }
        }
    }
    let mut file = OutputFile::create(path)?;
    file.write_all(csv.as_bytes())
        .map_err(|why| OutputFile::failed(path, why))?;
    Ok(file.finish()?)
}
